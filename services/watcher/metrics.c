/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/keyed.h"

#define MAX_WISHES 65536

enum { CALLS, CONNECTED, RETRIES, SYNCED, VMS, VMS_RUNNING, NICS, NICS_READY, NICS_SETTLED, PORTS, COUNT };

static const struct ak_metric_spec specs[COUNT] = {
    [CALLS] = {.name = "alkaid_api_call_seconds",
               .help = "Calls of the API, by outcome.",
               .kind = AK_HISTOGRAM,
               .labels = {"call", "outcome"}},
    [CONNECTED] = {.name = "alkaid_api_connected",
                   .help = "1 while the watch of this node's pods runs.",
                   .kind = AK_GAUGE},
    [RETRIES] = {.name = "alkaid_nic_retries_total",
                 .help = "Wishes said again with a higher attempt, after back-off.",
                 .kind = AK_COUNTER,
                 .labels = {"wanted"}},
    [SYNCED] = {.name = "alkaid_watcher_synced",
                .help = "1 once the lists of pods and ports were complete.",
                .kind = AK_GAUGE},
    [VMS] = {.name = "alkaid_watcher_vms", .help = "VM pods of this node.", .kind = AK_GAUGE},
    [VMS_RUNNING] = {.name = "alkaid_watcher_vms_running", .help = "Of those, running.", .kind = AK_GAUGE},
    [NICS] = {.name = "alkaid_watcher_nics", .help = "NICs of this node's pods.", .kind = AK_GAUGE},
    [NICS_READY] = {.name = "alkaid_watcher_nics_ready", .help = "Of those, Ready.", .kind = AK_GAUGE},
    [NICS_SETTLED] = {.name = "alkaid_watcher_nics_settled",
                      .help = "Of those, as they are wished, said by both services since they were started.",
                      .kind = AK_GAUGE},
    [PORTS] = {.name = "alkaid_watcher_ports", .help = "Ports of this node.", .kind = AK_GAUGE},
};

struct wish {
        char trace[AK_BUS_TRACE_MAX + 1];
        uint64_t generation, attempt, since_us;
        bool said, present, settled;
};

struct watcher_metrics {
        struct ak_telemetry *telemetry;
        struct ak_metric *items[COUNT];
        struct ak_keyed *wishes; /* "<pod uid>[/<port id>]" -> struct wish */
};

/* ------------------------------------------------------------------ life */

int watcher_metrics_new(struct watcher_metrics **out, struct ak_telemetry *telemetry)
{
        struct watcher_metrics *m = calloc(1, sizeof(*m));

        if (!m)
                return -ENOMEM;
        m->telemetry = telemetry;
        if (ak_keyed_new(&m->wishes, sizeof(struct wish), MAX_WISHES) < 0) {
                free(m);
                return -ENOMEM;
        }
        for (size_t i = 0; i < COUNT; i++)
                m->items[i] = ak_metrics_register(ak_telemetry_metrics(telemetry), &specs[i]);
        *out = m;
        return 0;
}

struct watcher_metrics *watcher_metrics_free(struct watcher_metrics *m)
{
        if (!m)
                return NULL;
        ak_keyed_free(m->wishes);
        free(m);
        return NULL;
}

void watcher_metrics_collect(struct watcher_metrics *m, const struct watcher_core *core)
{
        struct watcher_core_stats stats;

        watcher_core_stats(core, &stats);
        ak_metric_set(m->items[SYNCED], NULL, stats.synced);
        ak_metric_set(m->items[VMS], NULL, (double)stats.vms);
        ak_metric_set(m->items[VMS_RUNNING], NULL, (double)stats.vms_running);
        ak_metric_set(m->items[NICS], NULL, (double)stats.nics);
        ak_metric_set(m->items[NICS_READY], NULL, (double)stats.nics_ready);
        ak_metric_set(m->items[NICS_SETTLED], NULL, (double)stats.nics_settled);
        ak_metric_set(m->items[PORTS], NULL, (double)stats.ports);
}

void watcher_metrics_api(struct watcher_metrics *m, bool connected)
{
        ak_metric_set(m->items[CONNECTED], NULL, connected);
}

/* ------------------------------------------------------------------ wishes */

/* "nic.diff/<pod>/<port>" -> "<pod>/<port>" */
static const char *key_of(const char *topic)
{
        const char *slash = strchr(topic, '/');

        return slash ? slash + 1 : "";
}

void watcher_metrics_forget(struct watcher_metrics *m, const char *topic)
{
        ak_keyed_drop(m->wishes, key_of(topic));
}

static void said(struct watcher_metrics *m, struct wish *wish, const struct ak_nic_diff *diff,
                 uint64_t event_us, uint64_t now_us)
{
        bool present = diff->wanted == AK_NIC_WANTED_PRESENT;
        bool turned = !wish->said || wish->present != present;
        struct ak_step step = {.name = "diff",
                               .trace = wish->trace,
                               .pod = diff->pod_uid,
                               .nic = diff->nic,
                               .port = diff->port_id,
                               .took_us = now_us - event_us};

        if (wish->said && !turned && wish->generation == diff->generation && wish->attempt == diff->attempt)
                return; /* repeated, because it is not settled */
        if (!turned && diff->attempt > wish->attempt)
                ak_metric_add(m->items[RETRIES], AK_LABELS(ak_nic_wanted_name(diff->wanted)), 1);
        if (turned || wish->settled)
                wish->since_us = now_us;
        wish->said = true;
        wish->present = present;
        wish->settled = false;
        wish->generation = diff->generation;
        wish->attempt = diff->attempt;
        ak_telemetry_step(m->telemetry, &step);
}

static struct wish *note_trace(struct watcher_metrics *m, const char *key, const char *trace)
{
        struct wish *wish = ak_keyed_get(m->wishes, key);

        if (wish)
                (void)snprintf(wish->trace, sizeof(wish->trace), "%s", trace);
        return wish;
}

/* The pod's status is told of in the trace of its last wish, whatever that was for. */
void watcher_metrics_wish(struct watcher_metrics *m, const struct ak_message *message, const char *trace,
                          uint64_t event_us, uint64_t now_us)
{
        char topic[AK_TOPIC_SIZE];
        struct wish *wish;

        ak_message_topic(message, topic);
        wish = note_trace(m, key_of(topic), trace);
        if (!wish || message->type != ak_message_nic_diff)
                return;
        (void)note_trace(m, message->nic_diff.pod_uid, trace);
        said(m, wish, &message->nic_diff, event_us, now_us);
}

/* ------------------------------------------------------------------ answers */

static bool answers(const struct wish *wish, const struct ak_nic_status *n)
{
        if (n->generation != wish->generation || n->attempt != wish->attempt)
                return false;
        return wish->present ? n->state == AK_NIC_READY : n->state == AK_NIC_DETACHED;
}

void watcher_metrics_message(struct watcher_metrics *m, const struct ak_message *message, uint64_t now_us)
{
        const struct ak_nic_status *n = &message->nic_status;
        char topic[AK_TOPIC_SIZE];
        struct wish *wish;

        if (message->type != ak_message_nic_status)
                return;
        ak_message_topic(message, topic);
        wish = ak_keyed_find(m->wishes, key_of(topic));
        if (!wish || !wish->said || wish->settled || !answers(wish, n))
                return;
        wish->settled = true;
        ak_telemetry_step(m->telemetry, &(struct ak_step){.name = wish->present ? "plug" : "unplug",
                                                          .trace = wish->trace,
                                                          .pod = n->pod_uid,
                                                          .nic = n->nic,
                                                          .port = n->port_id,
                                                          .took_us = now_us - wish->since_us});
}

void watcher_metrics_call(struct watcher_metrics *m, enum watcher_call_type call, const char *pod,
                          enum watcher_outcome outcome, uint64_t took_us)
{
        const struct wish *wish = ak_keyed_find(m->wishes, pod);
        const char *name = watcher_outcome_name(outcome);

        ak_metric_observe(m->items[CALLS], AK_LABELS(watcher_call_type_name(call), name),
                          (double)took_us / 1e6);
        if (call != WATCHER_CALL_POD_STATUS)
                return;
        ak_telemetry_step(m->telemetry, &(struct ak_step){.name = "status",
                                                          .trace = wish ? wish->trace : "",
                                                          .pod = pod,
                                                          .took_us = took_us,
                                                          .failure = outcome == WATCHER_OK ? NULL : name});
}
