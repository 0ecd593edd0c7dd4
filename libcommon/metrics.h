/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: counters, gauges and histograms in Prometheus' text format.
 *
 * A metric is described by a static table row and registered once; each set of its label values is a series.
 * The number of series per metric is bounded: what comes past the bound is not kept, but counted in
 * alkaid_metrics_series_dropped_total. Cores know nothing of this: shells count what they carry out.
 *
 * Every function takes NULL for a metric, a series or the registry and then does nothing, so that a part of a
 * service works, and is tested, without any. Adding to a series is lock-free and may be done in any thread;
 * finding one takes a lock. The text is made in the thread that asks for it, and so are the collectors
 * called (metrics_http.h: the thread of the loop).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "libcommon/cleanup.h"

#define AK_METRIC_MAX_LABELS     4
#define AK_METRIC_MAX_SERIES     512
#define AK_METRIC_VALUE_MAX      127 /* bytes of a label's value; a longer one is cut */
#define AK_METRIC_MAX_BUCKETS    24
#define AK_METRIC_MAX_METRICS    128
#define AK_METRIC_MAX_COLLECTORS 16

enum ak_metric_kind { AK_COUNTER, AK_GAUGE, AK_HISTOGRAM };

struct ak_metric_spec {
        const char *name; /* alkaid_…_total for counters, …_seconds, …_bytes: base units */
        const char *help; /* one line */
        enum ak_metric_kind kind;
        const char *labels[AK_METRIC_MAX_LABELS + 1]; /* names, NULL-terminated */
        const double *buckets;                        /* histogram: upper bounds, rising; NULL = ak_seconds */
        size_t bucket_count;
        size_t max_series; /* 0 = AK_METRIC_MAX_SERIES */
};

/* 0.1 ms … 60 s, for what a NIC goes through. */
extern const double ak_seconds[];
extern const size_t ak_seconds_count;

struct ak_metrics;
struct ak_metric;
struct ak_series;

int ak_metrics_new(struct ak_metrics **out);
struct ak_metrics *ak_metrics_free(struct ak_metrics *metrics);
AK_DEFINE_CLEANUP(struct ak_metrics *, ak_metrics_free)

/* The row must outlive the registry. NULL: no registry, an ill-formed row, a name taken, or out of memory. */
struct ak_metric *ak_metrics_register(struct ak_metrics *metrics, const struct ak_metric_spec *spec);
/* Called before each exposition, to bring values up to date. 0 or -ENOSPC. */
int ak_metrics_on_collect(struct ak_metrics *metrics, void (*collect)(void *arg), void *arg);
/* Forgets the collectors of `arg`, which is about to go. */
void ak_metrics_end_collect(struct ak_metrics *metrics, const void *arg);

/* Values in the order of the metric's label names: AK_LABELS("tcp", "ok"); none: NULL. */
#define AK_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Finds or makes a series, to be kept for a hot path; NULL past the bound. */
struct ak_series *ak_metric_series(struct ak_metric *metric, const char *const *values);
void ak_series_add(struct ak_series *series, double n);     /* counter, gauge */
void ak_series_set(struct ak_series *series, double v);     /* gauge; counter: a total kept elsewhere */
void ak_series_observe(struct ak_series *series, double v); /* histogram */

/* The same by label values. */
void ak_metric_add(struct ak_metric *metric, const char *const *values, double n);
void ak_metric_set(struct ak_metric *metric, const char *const *values, double v);
void ak_metric_observe(struct ak_metric *metric, const char *const *values, double v);
/* The thing that the labels name is gone. Pointers to the series are dead. */
void ak_metric_remove(struct ak_metric *metric, const char *const *values);
/* Forgets all series of a metric, before a collector tells them anew. */
void ak_metric_clear(struct ak_metric *metric);

/* What the text is, in HTTP's words. */
#define AK_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The text of all metrics, malloc'd; 0 or -ENOMEM. */
int ak_metrics_text(struct ak_metrics *metrics, char **out, size_t *len);
