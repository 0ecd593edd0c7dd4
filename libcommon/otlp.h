/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Export of spans in OTLP/HTTP with JSON encoding (https://opentelemetry.io/docs/specs/otlp/), in batches,
 * from a thread of its own. Whoever has a span to tell never waits: it goes into a bounded queue, and where
 * that is full, or the collector does not take a batch, spans are dropped and counted.
 */
#pragma once

#include <stdint.h>

#include "libcommon/metrics.h"
#include "libcommon/trace.h"

#define AK_OTLP_QUEUE 2048 /* spans that wait */
#define AK_OTLP_BATCH 512  /* spans of a request */

struct ak_otlp_span {
        char trace[AK_TRACE_ID_SIZE];
        char span[AK_SPAN_ID_SIZE], parent[AK_SPAN_ID_SIZE]; /* parent "" = none */
        char name[32], pod[64], nic[16], port[64], failure[64];
        uint64_t start_us, took_us;
};

struct ak_otlp;

/*
 * `url`: http(s)://HOST[:PORT]/v1/traces. 0, -EINVAL (not such a URL), -ENOMEM. The registry outlives it;
 * `node` may be NULL.
 */
int ak_otlp_new(struct ak_otlp **out, const char *url, const char *service, const char *node,
                struct ak_metrics *metrics);
/* Tries for two seconds at most to get rid of what waits. */
struct ak_otlp *ak_otlp_free(struct ak_otlp *otlp);
AK_DEFINE_CLEANUP(struct ak_otlp *, ak_otlp_free)
/* Copies. Any thread. */
void ak_otlp_add(struct ak_otlp *otlp, const struct ak_otlp_span *span);
