/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service tells about itself: its metrics with the endpoint for them, and the steps that it has done
 * for a NIC, each of which becomes an observation of alkaid_nic_step_seconds and a span, that is a log line
 *
 *   event=span name=port trace=<32 hex> span=<16 hex> parent=<16 hex> pod=… nic=… port=… start_us=… us=…
 * outcome=ok
 *
 * `alkaidctl trace` draws these. A span's parent is the one that the wish's traceparent names: the write of
 * the pod in the API server.
 *
 * All functions take NULL for the telemetry and then do nothing. One thread, that of the loop, but for what
 * is reached through ak_telemetry_metrics().
 */
#pragma once

#include <czmq.h>
#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/metrics.h"

struct ak_telemetry_options {
        const char *service;
        const char *node;    /* NULL = of no node */
        const char *metrics; /* address of the endpoint; NULL = none */
        const char *otlp;    /* URL of a collector for the spans; NULL = none */
};

/* Rows of an options table: `metrics` and `otlp` of `owner`, both char *. */
#define AK_TELEMETRY_OPTIONS(owner)                                                                          \
        {.name = "metrics",                                                                                  \
         .type = AK_OPT_STRING,                                                                              \
         .offset = offsetof(owner, metrics),                                                                 \
         .help =                                                                                             \
             "where Prometheus finds /metrics, without TLS: ADDRESS:PORT or unix:/PATH (default: nowhere)"}, \
        {                                                                                                    \
                .name = "otlp", .type = AK_OPT_STRING, .offset = offsetof(owner, otlp),                      \
                .help =                                                                                      \
                    "collector that gets the spans of traces, http://HOST:4318/v1/traces (default: none)"    \
        }

struct ak_telemetry;

/* 0, or negative errno after a log line that says what is wrong. The loop outlives it. */
int ak_telemetry_new(struct ak_telemetry **out, zloop_t *loop, const struct ak_telemetry_options *options);
struct ak_telemetry *ak_telemetry_free(struct ak_telemetry *telemetry);
AK_DEFINE_CLEANUP(struct ak_telemetry *, ak_telemetry_free)

struct ak_metrics *ak_telemetry_metrics(struct ak_telemetry *telemetry);
/* Exposes the figures of a bus, which is freed later than the telemetry. */
void ak_telemetry_bus(struct ak_telemetry *telemetry, const struct ak_bus *bus);

/* One event was given to the core, and what came out was carried out. */
void ak_telemetry_event(struct ak_telemetry *telemetry, const char *event, uint64_t took_us);
/* Something that the core asked for. */
void ak_telemetry_action(struct ak_telemetry *telemetry, const char *action);
/* A message that was not understood. */
void ak_telemetry_refused(struct ak_telemetry *telemetry, const char *publisher);
void ak_telemetry_publish_failed(struct ak_telemetry *telemetry);

struct ak_step {
        const char *name;             /* port, attach, … : one of a fixed few */
        const char *trace;            /* traceparent of the wish; NULL or "" = none, then there is no span */
        const char *span, *parent;    /* NULL: made up below the trace's; else its own, and "" = a root */
        const char *pod, *nic, *port; /* UID, name, ID; NULL or "" = of none */
        uint64_t took_us;             /* it has just ended */
        const char *failure;          /* reason; NULL or "" = it went well */
};
void ak_telemetry_step(struct ak_telemetry *telemetry, const struct ak_step *step);
