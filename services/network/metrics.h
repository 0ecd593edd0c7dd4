/* SPDX-License-Identifier: Apache-2.0 */
/* What the network service counts beside what all services do (libcommon/telemetry.h). */
#pragma once

#include "libcommon/metrics.h"
#include "services/network/backends/backend.h"
#include "services/network/core.h"
#include "services/network/workers.h"

struct net_metrics {
        struct ak_metric *calls, *losses, *ports, *queued, *dropped, *dropped_by_port;
        double dropped_before; /* of all reasons, when last looked */
};

void net_metrics_init(struct net_metrics *metrics, struct ak_metrics *registry);
/* A job has ended. */
void net_metrics_job(struct net_metrics *metrics, const struct net_job *job);
/* Something of ours went from the host, or a kernel event was lost. */
void net_metrics_loss(struct net_metrics *metrics, const char *what);
/* Reads what the filters dropped; port by port only where there is more than the last time. */
void net_metrics_drops(struct net_metrics *metrics, struct vpc_backend *backend);

const char *net_metrics_event_name(enum net_event_type type);
const char *net_metrics_action_name(enum net_action_type type);
