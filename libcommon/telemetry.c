/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/telemetry.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics_http.h"
#include "libcommon/metrics_process.h"
#include "libcommon/otlp.h"
#include "libcommon/trace.h"

static const struct ak_metric_spec event_spec = {
    .name = "alkaid_core_event_seconds",
    .help = "Events given to the core until what it asked for was carried out or handed on.",
    .kind = AK_HISTOGRAM,
    .labels = {"event"}};
static const struct ak_metric_spec action_spec = {.name = "alkaid_core_actions_total",
                                                  .help = "What the core asked for.",
                                                  .kind = AK_COUNTER,
                                                  .labels = {"action"}};
static const struct ak_metric_spec refused_spec = {.name = "alkaid_messages_refused_total",
                                                   .help = "Bus messages whose body was not understood.",
                                                   .kind = AK_COUNTER,
                                                   .labels = {"publisher"},
                                                   .max_series = 16};
static const struct ak_metric_spec publish_spec = {.name = "alkaid_bus_publish_failures_total",
                                                   .help = "Messages that could not be published.",
                                                   .kind = AK_COUNTER};
static const struct ak_metric_spec step_spec = {.name = "alkaid_nic_step_seconds",
                                                .help = "Steps of a NIC's life, by outcome.",
                                                .kind = AK_HISTOGRAM,
                                                .labels = {"step", "outcome"}};

/* B(member of struct ak_bus_stats, kind, metric, help) */
#define BUS_METRICS(B)                                                                                       \
        B(published, AK_COUNTER, "alkaid_bus_published_total", "Messages published.")                        \
        B(received, AK_COUNTER, "alkaid_bus_received_total", "Messages received.")                           \
        B(replayed, AK_COUNTER, "alkaid_bus_replayed_total", "Last values sent again.")                      \
        B(replays_received, AK_COUNTER, "alkaid_bus_replays_received_total", "Last values received again.")  \
        B(gaps, AK_COUNTER, "alkaid_bus_gaps_total", "Gaps in a peer's numbers: messages were lost.")        \
        B(duplicates, AK_COUNTER, "alkaid_bus_duplicates_total", "Messages that came twice.")                \
        B(rejected, AK_COUNTER, "alkaid_bus_rejected_total", "Frames that were refused.")                    \
        B(refused_keys, AK_COUNTER, "alkaid_bus_refused_keys_total",                                         \
          "Connections with a key not in the list.")                                                         \
        B(refused_roles, AK_COUNTER, "alkaid_bus_refused_roles_total",                                       \
          "Connections and peers of a wrong role.")                                                          \
        B(refused_handshakes, AK_COUNTER, "alkaid_bus_refused_handshakes_total",                             \
          "Connections without a CURVE handshake.")                                                          \
        B(refused_topics, AK_COUNTER, "alkaid_bus_refused_topics_total",                                     \
          "Messages whose publisher's role may not say that.")                                               \
        B(sync_requests, AK_COUNTER, "alkaid_bus_sync_requests_total", "Requests for a peer's state.")       \
        B(subscriptions, AK_COUNTER, "alkaid_bus_subscriptions_total", "Subscriptions taken.")               \
        B(retained, AK_GAUGE, "alkaid_bus_retained_topics", "Topics of which the last value is kept.")

#define BUS_SPEC(member, metric_kind, metric, text) {.name = (metric), .help = (text), .kind = (metric_kind)},
static const struct ak_metric_spec bus_specs[] = {BUS_METRICS(BUS_SPEC)};

struct ak_telemetry {
        struct ak_metrics *metrics;
        struct ak_process_metrics *process;
        struct ak_metrics_http *http;
        struct ak_otlp *otlp; /* NULL = none */
        const struct ak_bus *bus;
        struct ak_metric *events, *actions, *refused, *steps, *publish_failures;
        struct ak_metric *bus_metrics[AK_ARRAY_SIZE(bus_specs)];
};

static void collect_bus(void *arg)
{
        struct ak_telemetry *t = arg;
        struct ak_metric **metric = t->bus_metrics;
        struct ak_bus_stats stats;

        ak_bus_stats(t->bus, &stats);
#define BUS_SET(member, kind, name, help) ak_metric_set(*metric++, NULL, (double)stats.member);
        BUS_METRICS(BUS_SET)
}

void ak_telemetry_bus(struct ak_telemetry *t, const struct ak_bus *bus)
{
        if (!t || t->bus)
                return;
        t->bus = bus;
        for (size_t i = 0; i < AK_ARRAY_SIZE(bus_specs); i++)
                t->bus_metrics[i] = ak_metrics_register(t->metrics, &bus_specs[i]);
        (void)ak_metrics_on_collect(t->metrics, collect_bus, t);
}

void ak_telemetry_event(struct ak_telemetry *t, const char *event, uint64_t took_us)
{
        if (t)
                ak_metric_observe(t->events, AK_LABELS(event), (double)took_us / 1e6);
}

void ak_telemetry_action(struct ak_telemetry *t, const char *action)
{
        if (t)
                ak_metric_add(t->actions, AK_LABELS(action), 1);
}

void ak_telemetry_refused(struct ak_telemetry *t, const char *publisher)
{
        if (t)
                ak_metric_add(t->refused, AK_LABELS(publisher), 1);
}

void ak_telemetry_publish_failed(struct ak_telemetry *t)
{
        if (t)
                ak_metric_add(t->publish_failures, NULL, 1);
}

/* ------------------------------------------------------------------ steps and spans */

static const char *or_null(const char *text)
{
        return text && text[0] ? text : NULL;
}

static void log_span(const struct ak_step *step, const struct ak_otlp_span *s)
{
        ak_log(AK_LOG_INFO, "span", "name", s->name, "trace", s->trace, "span", s->span, "parent",
               or_null(s->parent), "pod", or_null(step->pod), "nic", or_null(step->nic), "port",
               or_null(step->port), "start_us", AK_FMT("%" PRIu64, s->start_us), "us",
               AK_FMT("%" PRIu64, s->took_us), "outcome", or_null(step->failure) ? step->failure : "ok",
               NULL);
}

#define COPY(member, text) ((void)snprintf(member, sizeof(member), "%s", (text) ? (text) : ""))

static void fill_span(struct ak_otlp_span *s, const struct ak_step *step, const struct ak_trace *trace)
{
        COPY(s->trace, trace->id);
        COPY(s->name, step->name);
        COPY(s->pod, step->pod);
        COPY(s->nic, step->nic);
        COPY(s->port, step->port);
        COPY(s->failure, step->failure);
        COPY(s->parent, step->span ? step->parent : trace->parent);
        s->took_us = step->took_us;
        s->start_us = ak_clock_realtime_us() - step->took_us;
        if (step->span)
                COPY(s->span, step->span);
        else
                ak_trace_child(trace, step->name, s->port, s->start_us, s->span);
}

void ak_telemetry_step(struct ak_telemetry *t, const struct ak_step *step)
{
        struct ak_otlp_span span = {0};
        struct ak_trace trace;

        if (!t)
                return;
        ak_metric_observe(t->steps, AK_LABELS(step->name, or_null(step->failure) ? "failed" : "ok"),
                          (double)step->took_us / 1e6);
        if (ak_trace_parse(step->trace ? step->trace : "", &trace) < 0)
                return;
        fill_span(&span, step, &trace);
        log_span(step, &span);
        if (trace.sampled)
                ak_otlp_add(t->otlp, &span);
}

/* ------------------------------------------------------------------ life */

static void register_all(struct ak_telemetry *t)
{
        t->events = ak_metrics_register(t->metrics, &event_spec);
        t->actions = ak_metrics_register(t->metrics, &action_spec);
        t->refused = ak_metrics_register(t->metrics, &refused_spec);
        t->steps = ak_metrics_register(t->metrics, &step_spec);
        t->publish_failures = ak_metrics_register(t->metrics, &publish_spec);
}

static int listen_for_scrapes(struct ak_telemetry *t, zloop_t *loop, const char *address)
{
        char error[AK_METRICS_HTTP_ERROR_SIZE] = "";
        int r = address ? ak_metrics_http_new(&t->http, loop, t->metrics, address, error) : 0;

        if (r < 0)
                ak_log(AK_LOG_ERROR, "cannot_start", "option", "metrics", "error", error, "remedy",
                       "give --metrics an address of this host and a free port, or leave it out", NULL);
        return r;
}

static int export_spans(struct ak_telemetry *t, const struct ak_telemetry_options *o)
{
        int r = o->otlp ? ak_otlp_new(&t->otlp, o->otlp, o->service, o->node, t->metrics) : 0;

        if (r < 0)
                ak_log(AK_LOG_ERROR, "cannot_start", "option", "otlp", "value", o->otlp, "error",
                       strerror(-r), "remedy", "give --otlp http://HOST:4318/v1/traces, or leave it out",
                       NULL);
        return r;
}

int ak_telemetry_new(struct ak_telemetry **out, zloop_t *loop, const struct ak_telemetry_options *options)
{
        AK_CLEANUP(ak_telemetry_freep) struct ak_telemetry *t = calloc(1, sizeof(*t));
        int r;

        if (!t)
                return -ENOMEM;
        r = ak_metrics_new(&t->metrics);
        if (r == 0)
                r = ak_process_metrics_new(&t->process, t->metrics, options->service, options->node);
        if (r < 0)
                return r;
        register_all(t);
        r = listen_for_scrapes(t, loop, options->metrics);
        if (r == 0)
                r = export_spans(t, options);
        if (r < 0)
                return r;
        *out = AK_STEAL(t);
        return 0;
}

struct ak_telemetry *ak_telemetry_free(struct ak_telemetry *t)
{
        if (!t)
                return NULL;
        ak_metrics_http_free(t->http);
        ak_otlp_free(t->otlp);
        ak_process_metrics_free(t->process);
        ak_metrics_free(t->metrics);
        free(t);
        return NULL;
}

struct ak_metrics *ak_telemetry_metrics(struct ak_telemetry *t)
{
        return t ? t->metrics : NULL;
}
