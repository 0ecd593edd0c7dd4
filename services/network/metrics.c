/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/metrics.h"

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

void net_metrics_init(struct net_metrics *m, struct ak_metrics *registry)
{
        m->calls = ak_metrics_register(registry, &calls);
        m->losses = ak_metrics_register(registry, &losses);
        m->ports = ak_metrics_register(registry, &ports);
        m->queued = ak_metrics_register(registry, &queued);
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
