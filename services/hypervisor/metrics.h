/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hypervisor service tells beside what all services do (libcommon/telemetry.h): libvirt calls,
 * images, VMs; and the steps attach, guest and detach of a NIC, start of a VM, with the trace of the wish
 * they serve.
 */
#pragma once

#include "libcommon/telemetry.h"
#include "services/hypervisor/core.h"
#include "services/hypervisor/images.h"
#include "services/hypervisor/queue.h"

struct hv_metrics;

/* 0 or -ENOMEM. `telemetry` may be NULL, and outlives it. */
int hv_metrics_new(struct hv_metrics **out, struct ak_telemetry *telemetry);
struct hv_metrics *hv_metrics_free(struct hv_metrics *metrics);

/* Before the text is made. */
void hv_metrics_collect(struct hv_metrics *metrics, const struct hv_core *core, struct hv_queue *queue,
                        struct hv_images *images);
/* A wish came: what follows on its topic's key ("<pod uid>[/<port id>]") has its trace. */
void hv_metrics_wish(struct hv_metrics *metrics, const char *key, const char *trace);
/* Traceparent of the last wish; "" where unknown. */
const char *hv_metrics_trace(const struct hv_metrics *metrics, const char *key);
void hv_metrics_forget(struct hv_metrics *metrics, const char *key);

/* An event on its way to the core: driver calls and images count. */
void hv_metrics_event(struct hv_metrics *metrics, const struct hv_event *event);
/* A nic.status that is published; one that only repeats the last counts once. */
void hv_metrics_nic(struct hv_metrics *metrics, const char *key, const struct ak_nic_status *nic);
void hv_metrics_overflow(struct hv_metrics *metrics);
