/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/metrics.h"

#include "libcommon/log.h"

static const struct ak_metric_spec calls = {.name = "alkaid_backend_call_seconds",
                                            .help = "Calls of the network backend, by outcome.",
                                            .kind = AK_HISTOGRAM,
                                            .labels = {"call", "outcome"}};
static const struct ak_metric_spec losses = {
    .name = "alkaid_network_drift_total",
    .help = "Taps, bridges and DHCP servers that went behind our back, and lost kernel events.",
    .kind = AK_COUNTER,
    .labels = {"what"}};
static const struct ak_metric_spec ports = {
    .name = "alkaid_ports", .help = "Ports that the service keeps track of.", .kind = AK_GAUGE};
static const struct ak_metric_spec queued = {
    .name = "alkaid_queue_depth", .help = "Work that waits.", .kind = AK_GAUGE, .labels = {"queue"}};
static const struct ak_metric_spec dropped = {
    .name = "alkaid_network_dropped_packets_total",
    .help = "Packets of VMs that anti-spoofing, security groups and caps dropped, by reason.",
    .kind = AK_COUNTER,
    .labels = {"reason"}};
static const struct ak_metric_spec dropped_by_port = {
    .name = "alkaid_network_port_dropped_packets",
    .help = "Packets dropped at a port, by its tap and the reason; forgotten after a day without.",
    .kind = AK_GAUGE,
    .labels = {"tap", "reason"}};

void net_metrics_init(struct net_metrics *m, struct ak_metrics *registry)
{
        m->calls = ak_metrics_register(registry, &calls);
        m->losses = ak_metrics_register(registry, &losses);
        m->ports = ak_metrics_register(registry, &ports);
        m->queued = ak_metrics_register(registry, &queued);
        m->dropped = ak_metrics_register(registry, &dropped);
        m->dropped_by_port = ak_metrics_register(registry, &dropped_by_port);
}

struct drops {
        struct net_metrics *metrics;
        double sum;
};

static void note_drops(void *arg, const char *port, const char *reason, uint64_t packets)
{
        struct drops *d = arg;

        if (port) {
                ak_metric_set(d->metrics->dropped_by_port, AK_LABELS(port, reason), (double)packets);
                return;
        }
        ak_metric_set(d->metrics->dropped, AK_LABELS(reason), (double)packets);
        d->sum += (double)packets;
}

void net_metrics_drops(struct net_metrics *m, struct vpc_backend *backend)
{
        struct drops d = {.metrics = m};
        struct net_error error = {0};

        if (!backend->ops->drops)
                return;
        int r = backend->ops->drops(backend, false, note_drops, &d, &error);
        if (r == 0 && d.sum != m->dropped_before) {
                ak_metric_clear(m->dropped_by_port);
                m->dropped_before = d.sum;
                r = backend->ops->drops(backend, true, note_drops, &d, &error);
        }
        if (r < 0)
                ak_log(AK_LOG_WARN, "drops_not_read", "reason", error.reason, "message", error.message, NULL);
}

void net_metrics_job(struct net_metrics *m, const struct net_job *job)
{
        static const char *const names[] = {
            [NET_JOB_PREPARE] = "prepare", [NET_JOB_RELEASE] = "release",     [NET_JOB_PEERS] = "set_peers",
            [NET_JOB_SWEEP] = "sweep",     [NET_JOB_INVENTORY] = "inventory",
        };

        ak_metric_observe(m->calls, AK_LABELS(names[job->type], job->error < 0 ? "failed" : "ok"),
                          (double)job->took_us / 1e6);
}

void net_metrics_loss(struct net_metrics *m, const char *what)
{
        ak_metric_add(m->losses, AK_LABELS(what), 1);
}

const char *net_metrics_event_name(enum net_event_type type)
{
        static const char *const names[] = {
            [NET_EVENT_MESSAGE] = "message",
            [NET_EVENT_PEER] = "peer",
            [NET_EVENT_INVENTORY] = "inventory",
            [NET_EVENT_PREPARED] = "prepared",
            [NET_EVENT_RELEASED] = "released",
            [NET_EVENT_PORT_LOST] = "port_lost",
            [NET_EVENT_SUBNET_LOST] = "subnet_lost",
            [NET_EVENT_DHCP_LOST] = "dhcp_lost",
            [NET_EVENT_TICK] = "tick",
        };

        return (size_t)type < AK_ARRAY_SIZE(names) && names[type] ? names[type] : "other";
}

const char *net_metrics_action_name(enum net_action_type type)
{
        static const char *const names[] = {
            [NET_ACTION_PUBLISH] = "publish", [NET_ACTION_FORGET] = "forget",
            [NET_ACTION_PREPARE] = "prepare", [NET_ACTION_RELEASE] = "release",
            [NET_ACTION_PEERS] = "peers",     [NET_ACTION_SWEEP] = "sweep",
            [NET_ACTION_WAKE] = "wake",
        };

        return (size_t)type < AK_ARRAY_SIZE(names) && names[type] ? names[type] : "other";
}
