/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tools/alkaidctl/stats.h"

#define T0 UINT64_C(1700000000000000)

static struct ctl_stats *stats;

static int setup(void **state AK_UNUSED)
{
        return ctl_stats_new(&stats);
}

static int teardown(void **state AK_UNUSED)
{
        stats = ctl_stats_free(stats);
        return 0;
}

static void hear(const struct ak_bus_frame *frame, uint64_t received_us)
{
        struct ak_bus_frame f = *frame;

        f.publisher = f.publisher ? f.publisher : "watcher";
        f.topic = f.topic ? f.topic : "nic.diff/u/p";
        f.epoch = f.epoch ? f.epoch : 1;
        f.sent_us = f.sent_us ? f.sent_us : received_us;
        f.trace = "";
        f.body = f.body ? f.body : (const uint8_t *)"0123456789";
        f.body_len = f.body_len ? f.body_len : 10;
        ctl_stats_take(stats, &f, received_us);
}

static const struct ctl_stats_row *row_of(const char *type)
{
        size_t count;
        const struct ctl_stats_row *rows = ctl_stats_rows(stats, &count);

        for (size_t i = 0; i < count; i++)
                if (strcmp(rows[i].type, type) == 0)
                        return &rows[i];
        fail_msg("no row of %s", type);
        return NULL;
}

static void hear_mark(uint64_t epoch, uint64_t seq, uint64_t replay_seq)
{
        struct ak_bus_mark mark = {
            .types = {1, {"nic.diff"}}, .seqs = {1, {seq}}, .replay_seqs = {1, {replay_seq}}};
        uint8_t *body = NULL;
        size_t len = 0;

        assert_int_equal(ak_record_encode(&ak_bus_mark_record, &mark, &body, &len), 0);
        hear(&(struct ak_bus_frame){.topic = "sync.mark", .epoch = epoch, .body = body, .body_len = len}, T0);
        free(body);
}

static void test_losses(void **state AK_UNUSED)
{
        hear(&(struct ak_bus_frame){.seq = 5}, T0); /* where we came in */
        hear(&(struct ak_bus_frame){.seq = 6}, T0);
        assert_int_equal(ctl_stats_lost(stats), 0);
        hear(&(struct ak_bus_frame){.seq = 10}, T0);
        assert_int_equal(ctl_stats_lost(stats), 3);
        hear(&(struct ak_bus_frame){.seq = 10}, T0);
        assert_int_equal(row_of("nic.diff")->repeated, 1);
        /* Replayed ones have numbers of their own. */
        hear(&(struct ak_bus_frame){.seq = 2, .replayed = true, .replay_seq = 1}, T0);
        hear(&(struct ak_bus_frame){.seq = 3, .replayed = true, .replay_seq = 3}, T0);
        assert_int_equal(ctl_stats_lost(stats), 4);
        /* What was lost at the end only the mark tells; told twice it counts once. */
        hear_mark(1, 12, 3);
        hear_mark(1, 12, 3);
        assert_int_equal(ctl_stats_lost(stats), 6);
        /* A mark of another life of the publisher says nothing of this one. */
        hear_mark(2, 99, 99);
        assert_int_equal(ctl_stats_lost(stats), 6);
}

static void test_restart(void **state AK_UNUSED)
{
        hear(&(struct ak_bus_frame){.seq = 500}, T0);
        hear(&(struct ak_bus_frame){.seq = 1, .epoch = 2}, T0);
        hear(&(struct ak_bus_frame){.seq = 2, .epoch = 2}, T0);
        assert_int_equal(ctl_stats_lost(stats), 0);
        assert_int_equal(row_of("nic.diff")->restarts, 1);
        assert_int_equal(row_of("nic.diff")->repeated, 0);
}

static void test_rates(void **state AK_UNUSED)
{
        for (uint64_t i = 0; i < 20; i++)
                hear(&(struct ak_bus_frame){.seq = i + 1, .sent_us = T0 + i * 100000 - 2000},
                     T0 + i * 100000);
        json_t *line = ctl_stats_json(stats, T0 + 4000000);
        json_t *row = json_array_get(json_object_get(line, "rows"), 0);
        assert_float_equal(json_real_value(json_object_get(row, "per_second")), 5, 1e-6);
        assert_float_equal(json_real_value(json_object_get(row, "bytes_per_second")), 50, 1e-6);
        assert_float_equal(json_real_value(json_object_get(row, "age_seconds")), 2.1, 1e-6);
        assert_float_equal(json_real_value(json_object_get(row, "delay_ms")), 2, 1e-6);
        assert_int_equal(json_integer_value(json_object_get(row, "topics")), 1);
        json_decref(line);
        /* of the time since then: nothing */
        line = ctl_stats_json(stats, T0 + 5000000);
        row = json_array_get(json_object_get(line, "rows"), 0);
        assert_float_equal(json_real_value(json_object_get(row, "per_second")), 0, 1e-6);
        assert_int_equal(json_integer_value(json_object_get(row, "messages")), 20);
        json_decref(line);
}

/* A hostile bus: as many publishers and types as it likes. */
static void test_bounds(void **state AK_UNUSED)
{
        size_t count;

        for (int i = 0; i < 1000; i++) {
                char topic[32];
                (void)snprintf(topic, sizeof(topic), "type-%d/x", i);
                hear(&(struct ak_bus_frame){.topic = topic, .seq = 1}, T0);
        }
        const struct ctl_stats_row *rows = ctl_stats_rows(stats, &count);
        assert_int_equal(count, CTL_STATS_ROWS);
        assert_string_equal(rows[CTL_STATS_ROWS - 1].type, "(others)");
        assert_int_equal(rows[CTL_STATS_ROWS - 1].messages, 1000 - (CTL_STATS_ROWS - 1));
        assert_int_equal(rows[CTL_STATS_ROWS - 1].lost, 0);
}

static void test_table(void **state AK_UNUSED)
{
        char out[4096];
        FILE *file = fmemopen(out, sizeof(out), "w");

        assert_non_null(file);
        hear(&(struct ak_bus_frame){.seq = 1}, T0);
        hear(&(struct ak_bus_frame){.seq = 4}, T0 + 1000000);
        ctl_stats_show(stats, T0 + 2000000, file);
        assert_int_equal(fclose(file), 0);
        assert_non_null(strstr(out, "PUBLISHER"));
        assert_non_null(strstr(out, "watcher      nic.diff               2      1.0        10       1       0"
                                    "      2      1.0"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_losses, setup, teardown),
            cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
            cmocka_unit_test_setup_teardown(test_rates, setup, teardown),
            cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
            cmocka_unit_test_setup_teardown(test_table, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
