/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "libcommon/test.h"

#define THREADS 4
#define ROUNDS  20000

static const struct ak_metric_spec counter = {.name = "t_calls_total",
                                              .help = "Calls.",
                                              .kind = AK_COUNTER,
                                              .labels = {"op", "outcome"},
                                              .max_series = 3};
static const struct ak_metric_spec plain = {.name = "t_depth", .help = "Depth.", .kind = AK_GAUGE};
static const double bounds[] = {0.1, 1};
static const struct ak_metric_spec histogram = {.name = "t_seconds",
                                                .help = "Time.",
                                                .kind = AK_HISTOGRAM,
                                                .labels = {"op"},
                                                .buckets = bounds,
                                                .bucket_count = 2};

static int setup(void **state)
{
        struct ak_metrics *metrics = NULL;
        int r = ak_metrics_new(&metrics);

        *state = metrics;
        return r;
}

static int teardown(void **state)
{
        ak_metrics_free(*state);
        return 0;
}

static void expect(struct ak_metrics *metrics, const char *want)
{
        AK_AUTOFREE char *text = NULL;
        size_t len;

        assert_int_equal(ak_metrics_text(metrics, &text, &len), 0);
        assert_int_equal(strlen(text), len);
        if (!strstr(text, want))
                fail_msg("no \"%s\" in:\n%s", want, text);
}

static void expect_not(struct ak_metrics *metrics, const char *unwanted)
{
        AK_AUTOFREE char *text = NULL;
        size_t len;

        assert_int_equal(ak_metrics_text(metrics, &text, &len), 0);
        assert_null(strstr(text, unwanted));
}

static void counters_count_by_label(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &counter);

        assert_non_null(m);
        ak_metric_add(m, AK_LABELS("attach", "ok"), 1);
        ak_metric_add(m, AK_LABELS("attach", "ok"), 2);
        ak_metric_add(m, AK_LABELS("detach", "ok"), 1);
        ak_metric_add(m, AK_LABELS("detach", "ok"), -5); /* a counter only rises */
        expect(*state, "# HELP t_calls_total Calls.\n# TYPE t_calls_total counter\n"
                       "t_calls_total{op=\"attach\",outcome=\"ok\"} 3\n"
                       "t_calls_total{op=\"detach\",outcome=\"ok\"} 1\n");
}

static void a_metric_without_labels_is_there_from_the_start(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &plain);

        expect(*state, "\nt_depth 0\n");
        ak_metric_add(m, NULL, 4);
        ak_metric_add(m, NULL, -1.5);
        expect(*state, "\nt_depth 2.5\n");
}

static void histograms_are_cumulative(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &histogram);
        static const double values[] = {0.05, 0.1, 0.5, 7};

        for (size_t i = 0; i < AK_ARRAY_SIZE(values); i++)
                ak_metric_observe(m, AK_LABELS("a"), values[i]);
        ak_metric_observe(m, AK_LABELS("a"), 0.0 / 0.0); /* not a number: no observation */
        expect(*state, "t_seconds_bucket{op=\"a\",le=\"0.1\"} 2\nt_seconds_bucket{op=\"a\",le=\"1\"} 3\n"
                       "t_seconds_bucket{op=\"a\",le=\"+Inf\"} 4\nt_seconds_sum{op=\"a\"} 7.65\n"
                       "t_seconds_count{op=\"a\"} 4\n");
}

static void series_are_bounded(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &counter);
        char op[16];

        for (unsigned i = 0; i < 1000; i++) {
                (void)snprintf(op, sizeof(op), "op%u", i);
                ak_metric_add(m, AK_LABELS(op, "ok"), 1);
        }
        expect(*state, "op=\"op2\"");
        expect_not(*state, "op=\"op3\"");
        expect(*state, "alkaid_metrics_series_dropped_total 997\n");
        ak_metric_remove(m, AK_LABELS("op1", "ok"));
        ak_metric_add(m, AK_LABELS("op3", "ok"), 1);
        expect_not(*state, "op=\"op1\"");
        expect(*state, "op=\"op3\"");
        ak_metric_clear(m);
        expect_not(*state, "op=\"");
}

static void values_are_made_safe(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &counter);
        char long_value[4096];

        memset(long_value, 'x', sizeof(long_value) - 1);
        long_value[sizeof(long_value) - 1] = '\0';
        ak_metric_add(m, AK_LABELS("a\"b\\c\nd", "\xff\xfe"), 1);
        ak_metric_add(m, AK_LABELS(long_value, "ok"), 1);
        expect(*state, "{op=\"a\\\"b\\\\c\\nd\",outcome=\"invalid\"} 1\n");
        long_value[AK_METRIC_VALUE_MAX + 1] = '\0';
        expect_not(*state, long_value);
        long_value[AK_METRIC_VALUE_MAX] = '\0';
        expect(*state, long_value);
}

static void what_is_wrong_is_not_registered(void **state)
{
        static const double falling[] = {2, 1};
        static const struct ak_metric_spec bad[] = {
            {.name = "1a", .help = "x"},
            {.name = "a-b", .help = "x"},
            {.name = "", .help = "x"},
            {.name = "ok"},
            {.name = "ok", .help = "x", .labels = {"le:"}},
            {.name = "ok", .help = "x", .kind = AK_HISTOGRAM, .buckets = falling, .bucket_count = 2},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_null(ak_metrics_register(*state, &bad[i]));
        assert_non_null(ak_metrics_register(*state, &plain));
        assert_null(ak_metrics_register(*state, &plain));
}

static void nothing_is_done_for_nobody(void **state AK_UNUSED)
{
        assert_null(ak_metrics_register(NULL, &plain));
        assert_int_equal(ak_metrics_on_collect(NULL, NULL, NULL), 0);
        ak_metrics_end_collect(NULL, NULL);
        ak_metric_add(NULL, AK_LABELS("a"), 1);
        ak_metric_set(NULL, NULL, 1);
        ak_metric_observe(NULL, NULL, 1);
        ak_metric_remove(NULL, NULL);
        ak_metric_clear(NULL);
        ak_series_add(NULL, 1);
        assert_null(ak_metrics_free(NULL));
}

static void too_few_label_values_make_no_series(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &counter);

        assert_null(ak_metric_series(m, AK_LABELS("attach")));
        assert_null(ak_metric_series(m, NULL));
        expect_not(*state, "t_calls_total{");
}

static void set_to_five(void *arg)
{
        ak_metric_set(arg, NULL, 5);
}

static void collectors_run_before_the_text(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &plain);

        assert_int_equal(ak_metrics_on_collect(*state, set_to_five, m), 0);
        expect(*state, "\nt_depth 5\n");
        ak_metric_set(m, NULL, 1);
        ak_metrics_end_collect(*state, m);
        expect(*state, "\nt_depth 1\n");
}

static void *count(void *arg)
{
        for (unsigned i = 0; i < ROUNDS; i++)
                ak_metric_add(arg, AK_LABELS("attach", i & 1 ? "ok" : "failed"), 1);
        return NULL;
}

static void threads_lose_nothing(void **state)
{
        struct ak_metric *m = ak_metrics_register(*state, &counter);
        pthread_t threads[THREADS];
        char want[64];

        for (size_t i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, count, m), 0);
        for (size_t i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        (void)snprintf(want, sizeof(want), "outcome=\"ok\"} %d\n", THREADS * ROUNDS / 2);
        expect(*state, want);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
            TEST(counters_count_by_label),        TEST(a_metric_without_labels_is_there_from_the_start),
            TEST(histograms_are_cumulative),      TEST(series_are_bounded),
            TEST(values_are_made_safe),           TEST(what_is_wrong_is_not_registered),
            TEST(nothing_is_done_for_nobody),     TEST(too_few_label_values_make_no_series),
            TEST(collectors_run_before_the_text), TEST(threads_lose_nothing),
        };

        return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
