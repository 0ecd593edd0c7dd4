/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock for the whole registry guards who is in it; values are atomic and need none. A counter is a double
 * like everything in Prometheus: whole up to 2^53.
 */
#include "libcommon/metrics.h"

#include <czmq.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

#include "libcommon/utf8.h"

#define KEY_SIZE (AK_METRIC_MAX_LABELS * (AK_METRIC_VALUE_MAX + 1) + 1)

const double ak_seconds[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                             0.25,   0.5,    1,     2.5,    5,     10,   30,    60};
const size_t ak_seconds_count = AK_ARRAY_SIZE(ak_seconds);

struct ak_series {
        TAILQ_ENTRY(ak_series) link;
        struct ak_metric *metric;
        char values[AK_METRIC_MAX_LABELS][AK_METRIC_VALUE_MAX + 1];
        _Atomic double value;           /* histogram: the sum */
        atomic_uint_fast64_t buckets[]; /* histogram: not cumulative, the last one is +Inf */
};
TAILQ_HEAD(series_list, ak_series);

struct ak_metric {
        struct ak_metrics *registry;
        const struct ak_metric_spec *spec;
        const double *buckets;
        size_t bucket_count, label_count, max_series;
        zhashx_t *index; /* joined label values -> struct ak_series, which it owns */
        struct series_list series;
};

struct collector {
        void (*collect)(void *arg);
        void *arg;
};

struct ak_metrics {
        pthread_mutex_t lock;
        struct ak_metric *items[AK_METRIC_MAX_METRICS];
        size_t count;
        struct collector collectors[AK_METRIC_MAX_COLLECTORS];
        size_t collector_count;
        atomic_uint_fast64_t dropped;
};

/* ------------------------------------------------------------------ registry */

static struct ak_metric *metric_free(struct ak_metric *metric)
{
        if (metric)
                zhashx_destroy(&metric->index);
        free(metric);
        return NULL;
}
AK_DEFINE_CLEANUP(struct ak_metric *, metric_free)

int ak_metrics_new(struct ak_metrics **out)
{
        struct ak_metrics *metrics = calloc(1, sizeof(*metrics));

        if (!metrics)
                return -ENOMEM;
        (void)pthread_mutex_init(&metrics->lock, NULL);
        *out = metrics;
        return 0;
}

struct ak_metrics *ak_metrics_free(struct ak_metrics *metrics)
{
        if (!metrics)
                return NULL;
        for (size_t i = 0; i < metrics->count; i++)
                metric_free(metrics->items[i]);
        (void)pthread_mutex_destroy(&metrics->lock);
        free(metrics);
        return NULL;
}

static void free_series(void **item)
{
        free(*item);
        *item = NULL;
}

/* [a-zA-Z_][a-zA-Z0-9_]*, as Prometheus' data model has it; the colon is for rules. */
static bool name_valid(const char *name)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

        return name && name[0] && strchr(letters, name[0]) &&
               strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") ==
                   strlen(name);
}

static bool buckets_valid(const struct ak_metric *metric)
{
        for (size_t i = 1; i < metric->bucket_count; i++)
                if (metric->buckets[i] <= metric->buckets[i - 1])
                        return false;
        return metric->bucket_count <= AK_METRIC_MAX_BUCKETS;
}

static bool spec_valid(const struct ak_metric *metric)
{
        const struct ak_metric_spec *spec = metric->spec;

        for (size_t i = 0; i < metric->label_count; i++)
                if (!name_valid(spec->labels[i]))
                        return false;
        return name_valid(spec->name) && spec->help && buckets_valid(metric);
}

static int metric_new(struct ak_metric **out, struct ak_metrics *metrics, const struct ak_metric_spec *spec)
{
        AK_CLEANUP(metric_freep) struct ak_metric *metric = calloc(1, sizeof(*metric));

        if (!metric)
                return -ENOMEM;
        metric->registry = metrics;
        metric->spec = spec;
        while (metric->label_count < AK_METRIC_MAX_LABELS && spec->labels[metric->label_count])
                metric->label_count++;
        if (spec->kind == AK_HISTOGRAM) {
                metric->buckets = spec->buckets ? spec->buckets : ak_seconds;
                metric->bucket_count = spec->buckets ? spec->bucket_count : ak_seconds_count;
        }
        metric->max_series = spec->max_series ? spec->max_series : AK_METRIC_MAX_SERIES;
        TAILQ_INIT(&metric->series);
        metric->index = zhashx_new();
        if (!metric->index)
                return -ENOMEM;
        zhashx_set_destructor(metric->index, free_series);
        if (!spec_valid(metric))
                return -EINVAL;
        *out = AK_STEAL(metric);
        return 0;
}

static bool is_taken(const struct ak_metrics *metrics, const char *name)
{
        for (size_t i = 0; i < metrics->count; i++)
                if (strcmp(metrics->items[i]->spec->name, name) == 0)
                        return true;
        return false;
}

struct ak_metric *ak_metrics_register(struct ak_metrics *metrics, const struct ak_metric_spec *spec)
{
        AK_CLEANUP(metric_freep) struct ak_metric *metric = NULL;
        struct ak_metric *result = NULL;

        if (!metrics || metric_new(&metric, metrics, spec) < 0)
                return NULL;
        (void)pthread_mutex_lock(&metrics->lock);
        if (metrics->count < AK_METRIC_MAX_METRICS && !is_taken(metrics, spec->name))
                result = metrics->items[metrics->count++] = AK_STEAL(metric);
        (void)pthread_mutex_unlock(&metrics->lock);
        if (result && result->label_count == 0)
                (void)ak_metric_series(result, NULL); /* 0 is said from the start */
        return result;
}

int ak_metrics_on_collect(struct ak_metrics *metrics, void (*collect)(void *arg), void *arg)
{
        if (!metrics)
                return 0;
        if (metrics->collector_count == AK_METRIC_MAX_COLLECTORS)
                return -ENOSPC;
        metrics->collectors[metrics->collector_count++] = (struct collector){collect, arg};
        return 0;
}

void ak_metrics_end_collect(struct ak_metrics *metrics, const void *arg)
{
        size_t kept = 0;

        for (size_t i = 0; metrics && i < metrics->collector_count; i++)
                if (metrics->collectors[i].arg != arg)
                        metrics->collectors[kept++] = metrics->collectors[i];
        if (metrics)
                metrics->collector_count = kept;
}

/* ------------------------------------------------------------------ series */

/* A value as it is exposed: of bounded length, in UTF-8. */
static void set_value(char out[AK_METRIC_VALUE_MAX + 1], const char *value)
{
        size_t len = strnlen(value, AK_METRIC_VALUE_MAX);

        if (!ak_utf8_valid(value, len)) {
                value = "invalid";
                len = strlen(value);
        }
        memcpy(out, value, len);
        out[len] = '\0';
}

/* Values joined by a byte that UTF-8 does not have. False: fewer values than labels. */
static bool make_key(const struct ak_metric *metric, const char *const *values, char key[KEY_SIZE])
{
        char value[AK_METRIC_VALUE_MAX + 1];
        size_t len = 0;

        for (size_t i = 0; i < metric->label_count; i++) {
                if (!values || !values[i])
                        return false;
                set_value(value, values[i]);
                len += (size_t)snprintf(key + len, KEY_SIZE - len, "%s\xff", value);
        }
        key[len] = '\0';
        return true;
}

static struct ak_series *series_new(struct ak_metric *metric, const char *const *values, const char *key)
{
        size_t buckets = metric->spec->kind == AK_HISTOGRAM ? metric->bucket_count + 1 : 0;
        struct ak_series *series;

        if (zhashx_size(metric->index) >= metric->max_series)
                return NULL;
        series = calloc(1, sizeof(*series) + buckets * sizeof(series->buckets[0]));
        if (!series)
                return NULL;
        series->metric = metric;
        for (size_t i = 0; i < metric->label_count; i++)
                set_value(series->values[i], values[i]);
        (void)zhashx_insert(metric->index, key, series);
        TAILQ_INSERT_TAIL(&metric->series, series, link);
        return series;
}

struct ak_series *ak_metric_series(struct ak_metric *metric, const char *const *values)
{
        struct ak_series *series;
        char key[KEY_SIZE];

        if (!metric || !make_key(metric, values, key))
                return NULL;
        (void)pthread_mutex_lock(&metric->registry->lock);
        series = zhashx_lookup(metric->index, key);
        if (!series)
                series = series_new(metric, values, key);
        (void)pthread_mutex_unlock(&metric->registry->lock);
        if (!series)
                atomic_fetch_add_explicit(&metric->registry->dropped, 1, memory_order_relaxed);
        return series;
}

void ak_metric_remove(struct ak_metric *metric, const char *const *values)
{
        struct ak_series *series;
        char key[KEY_SIZE];

        if (!metric || !make_key(metric, values, key))
                return;
        (void)pthread_mutex_lock(&metric->registry->lock);
        series = zhashx_lookup(metric->index, key);
        if (series) {
                TAILQ_REMOVE(&metric->series, series, link);
                zhashx_delete(metric->index, key);
        }
        (void)pthread_mutex_unlock(&metric->registry->lock);
}

void ak_metric_clear(struct ak_metric *metric)
{
        if (!metric)
                return;
        (void)pthread_mutex_lock(&metric->registry->lock);
        TAILQ_INIT(&metric->series);
        zhashx_purge(metric->index);
        (void)pthread_mutex_unlock(&metric->registry->lock);
}

static void add_value(_Atomic double *value, double n)
{
        double old = atomic_load_explicit(value, memory_order_relaxed);

        while (!atomic_compare_exchange_weak_explicit(value, &old, old + n, memory_order_relaxed,
                                                      memory_order_relaxed))
                ;
}

void ak_series_add(struct ak_series *series, double n)
{
        if (series && (n >= 0 || series->metric->spec->kind == AK_GAUGE))
                add_value(&series->value, n);
}

void ak_series_set(struct ak_series *series, double v)
{
        if (series)
                atomic_store_explicit(&series->value, v, memory_order_relaxed);
}

void ak_series_observe(struct ak_series *series, double v)
{
        size_t i = 0;

        if (!series || series->metric->spec->kind != AK_HISTOGRAM || !isfinite(v))
                return;
        while (i < series->metric->bucket_count && v > series->metric->buckets[i])
                i++;
        atomic_fetch_add_explicit(&series->buckets[i], 1, memory_order_relaxed);
        add_value(&series->value, v);
}

void ak_metric_add(struct ak_metric *metric, const char *const *values, double n)
{
        ak_series_add(ak_metric_series(metric, values), n);
}

void ak_metric_set(struct ak_metric *metric, const char *const *values, double v)
{
        ak_series_set(ak_metric_series(metric, values), v);
}

void ak_metric_observe(struct ak_metric *metric, const char *const *values, double v)
{
        ak_series_observe(ak_metric_series(metric, values), v);
}

/* ------------------------------------------------------------------ text */

/* https://prometheus.io/docs/instrumenting/exposition_formats/: backslash, quote and newline are escaped. */
static void write_escaped(FILE *out, const char *text)
{
        for (; *text; text++) {
                if (*text == '\n')
                        (void)fputs("\\n", out);
                else if (*text == '\\' || *text == '"')
                        (void)fprintf(out, "\\%c", *text);
                else
                        (void)fputc(*text, out);
        }
}

static void write_labels(FILE *out, const struct ak_series *series, const char *bound)
{
        const struct ak_metric *metric = series->metric;

        if (metric->label_count == 0 && !bound)
                return;
        (void)fputc('{', out);
        for (size_t i = 0; i < metric->label_count; i++) {
                (void)fprintf(out, "%s%s=\"", i ? "," : "", metric->spec->labels[i]);
                write_escaped(out, series->values[i]);
                (void)fputc('"', out);
        }
        if (bound)
                (void)fprintf(out, "%sle=\"%s\"", metric->label_count ? "," : "", bound);
        (void)fputc('}', out);
}

static void write_histogram(FILE *out, struct ak_series *series)
{
        const struct ak_metric *metric = series->metric;
        const char *name = metric->spec->name;
        uint64_t total = 0;
        char bound[32];

        for (size_t i = 0; i <= metric->bucket_count; i++) {
                total += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
                if (i < metric->bucket_count)
                        (void)snprintf(bound, sizeof(bound), "%.9g", metric->buckets[i]);
                (void)fprintf(out, "%s_bucket", name);
                write_labels(out, series, i < metric->bucket_count ? bound : "+Inf");
                (void)fprintf(out, " %" PRIu64 "\n", total);
        }
        (void)fprintf(out, "%s_sum", name);
        write_labels(out, series, NULL);
        (void)fprintf(out, " %.15g\n%s_count", atomic_load_explicit(&series->value, memory_order_relaxed),
                      name);
        write_labels(out, series, NULL);
        (void)fprintf(out, " %" PRIu64 "\n", total);
}

static void write_metric(FILE *out, struct ak_metric *metric)
{
        static const char *const kinds[] = {
            [AK_COUNTER] = "counter", [AK_GAUGE] = "gauge", [AK_HISTOGRAM] = "histogram"};

        (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->spec->name, metric->spec->help,
                      metric->spec->name, kinds[metric->spec->kind]);
        for (struct ak_series *series = TAILQ_FIRST(&metric->series); series;
             series = TAILQ_NEXT(series, link)) {
                if (metric->spec->kind == AK_HISTOGRAM) {
                        write_histogram(out, series);
                        continue;
                }
                (void)fputs(metric->spec->name, out);
                write_labels(out, series, NULL);
                (void)fprintf(out, " %.15g\n", atomic_load_explicit(&series->value, memory_order_relaxed));
        }
}

static void write_dropped(FILE *out, struct ak_metrics *metrics)
{
        (void)fprintf(
            out,
            "# HELP alkaid_metrics_series_dropped_total Values that found no place in their metric.\n"
            "# TYPE alkaid_metrics_series_dropped_total counter\n"
            "alkaid_metrics_series_dropped_total %" PRIu64 "\n",
            (uint64_t)atomic_load_explicit(&metrics->dropped, memory_order_relaxed));
}

int ak_metrics_text(struct ak_metrics *metrics, char **out, size_t *len)
{
        AK_AUTOFREE char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);

        if (!stream)
                return -ENOMEM;
        for (size_t i = 0; i < metrics->collector_count; i++)
                metrics->collectors[i].collect(metrics->collectors[i].arg);
        (void)pthread_mutex_lock(&metrics->lock);
        for (size_t i = 0; i < metrics->count; i++)
                write_metric(stream, metrics->items[i]);
        (void)pthread_mutex_unlock(&metrics->lock);
        write_dropped(stream, metrics);
        if (fclose(stream) != 0)
                return -ENOMEM;
        *out = AK_STEAL(text);
        *len = size;
        return 0;
}
