/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/metrics.h"

#include <errno.h>

#include "libcommon/telemetry.h"

enum { REQUESTS, COMMITS, COMMITTED, CONNECTIONS, WAITING, WATCHES, CONSOLES, VERSION, COUNT };

static const struct ak_metric_spec specs[COUNT] = {
    [REQUESTS] = {.name = "alkaid_http_request_seconds",
                  .help = "Requests until they were answered, by Kubernetes' verb and HTTP status.",
                  .kind = AK_HISTOGRAM,
                  .labels = {"verb", "code"},
                  .max_series = 128},
    [COMMITS] = {.name = "alkaid_commits_total", .help = "Batches written to the disk.", .kind = AK_COUNTER},
    [COMMITTED] = {.name = "alkaid_committed_changes_total",
                   .help = "Changes of objects written to the disk.",
                   .kind = AK_COUNTER},
    [CONNECTIONS] = {.name = "alkaid_http_connections", .help = "Open connections.", .kind = AK_GAUGE},
    [WAITING] = {.name = "alkaid_http_writes_waiting",
                 .help = "Writes that wait for the disk; --max-inflight bounds them.",
                 .kind = AK_GAUGE},
    [WATCHES] = {.name = "alkaid_http_watches", .help = "Open watches.", .kind = AK_GAUGE},
    [CONSOLES] = {.name = "alkaid_consoles", .help = "Open console sessions.", .kind = AK_GAUGE},
    [VERSION] = {.name = "alkaid_resource_version",
                 .help = "resourceVersion of the last change.",
                 .kind = AK_GAUGE},
};

struct api_metrics {
        struct api_server *server;
        struct ak_metric *items[COUNT];
};

static void collect(void *arg)
{
        struct api_metrics *m = arg;
        struct api_server *s = m->server;
        size_t connections = 0, waiting = 0;

        if (s->http)
                api_http_load(s->http, &connections, &waiting);
        ak_metric_set(m->items[CONNECTIONS], NULL, (double)connections);
        ak_metric_set(m->items[WAITING], NULL, (double)waiting);
        ak_metric_set(m->items[WATCHES], NULL, (double)api_hub_watchers(s->hub));
        ak_metric_set(m->items[CONSOLES], NULL, (double)s->consoles);
        ak_metric_set(m->items[VERSION], NULL, (double)api_core_resource_version(s->core));
}

int api_metrics_new(struct api_metrics **out, struct api_server *server)
{
        struct api_metrics *m = calloc(1, sizeof(*m));

        if (!m)
                return -ENOMEM;
        m->server = server;
        for (size_t i = 0; i < COUNT; i++)
                m->items[i] = ak_metrics_register(ak_telemetry_metrics(server->telemetry), &specs[i]);
        (void)ak_metrics_on_collect(ak_telemetry_metrics(server->telemetry), collect, m);
        *out = m;
        return 0;
}

struct api_metrics *api_metrics_free(struct api_metrics *m)
{
        if (!m)
                return NULL;
        ak_metrics_end_collect(ak_telemetry_metrics(m->server->telemetry), m);
        free(m);
        return NULL;
}

/* A write that changed what a pod wishes is the first span of its trace. */
static void tell_step(struct api_metrics *m, const struct api_call *call, uint64_t took_us)
{
        struct ak_trace trace;

        if (!call->trace.pod[0] || ak_trace_parse(call->trace.traceparent, &trace) < 0)
                return;
        ak_telemetry_step(m->server->telemetry, &(struct ak_step){.name = rest_verb_name(&call->rest),
                                                                  .trace = call->trace.traceparent,
                                                                  .span = trace.parent,
                                                                  .parent = call->trace.parent,
                                                                  .pod = call->trace.pod,
                                                                  .took_us = took_us});
}

void api_metrics_request(struct api_metrics *m, const struct api_call *call, uint64_t took_us)
{
        char code[8];

        if (!m)
                return;
        (void)snprintf(code, sizeof(code), "%u", call->code);
        tell_step(m, call, took_us);
        ak_metric_observe(m->items[REQUESTS],
                          AK_LABELS(call->rest.path ? rest_verb_name(&call->rest) : "none", code),
                          (double)took_us / 1e6);
}

void api_metrics_commit(struct api_metrics *m, size_t changes)
{
        if (!m)
                return;
        ak_metric_add(m->items[COMMITS], NULL, 1);
        ak_metric_add(m->items[COMMITTED], NULL, (double)changes);
}

void api_metrics_answer(struct api_call *call)
{
        if (ak_metrics_text(ak_telemetry_metrics(call->server->telemetry), &call->text, &call->text_len) <
            0) {
                api_call_fail(call, 503, "ServiceUnavailable",
                              "the server is out of memory; try again later");
                return;
        }
        call->code = 200;
        call->type = AK_METRICS_CONTENT_TYPE;
}
