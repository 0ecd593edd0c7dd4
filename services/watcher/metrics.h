/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the watcher tells beside what all services do (libcommon/telemetry.h): API calls, back-off, and the
 * steps of which it sees both ends:
 *
 *   diff      an event came in, until the wish that follows from it was published
 *   plug      a wish for a NIC was published, until the hypervisor said ready (tries and waiting included)
 *   unplug    likewise, until it said detached
 *   status    a pod's status was written, until the API answered
 */
#pragma once

#include "libcommon/telemetry.h"
#include "services/watcher/core.h"

struct watcher_metrics;

/* 0 or -ENOMEM. `telemetry` may be NULL, and outlives it. */
int watcher_metrics_new(struct watcher_metrics **out, struct ak_telemetry *telemetry);
struct watcher_metrics *watcher_metrics_free(struct watcher_metrics *metrics);

/* Before the text is made. */
void watcher_metrics_collect(struct watcher_metrics *metrics, const struct watcher_core *core);
void watcher_metrics_api(struct watcher_metrics *metrics, bool connected);
/* A wish was published; the event that led to it was taken up at event_us. Times are monotonic. */
void watcher_metrics_wish(struct watcher_metrics *metrics, const struct ak_message *message,
                          const char *trace, uint64_t event_us, uint64_t now_us);
void watcher_metrics_forget(struct watcher_metrics *metrics, const char *topic);
/* Something came from the bus. */
void watcher_metrics_message(struct watcher_metrics *metrics, const struct ak_message *message,
                             uint64_t now_us);
/* A call was answered; `pod` is the UID that its body names, "" = none. */
void watcher_metrics_call(struct watcher_metrics *metrics, enum watcher_call_type call, const char *pod,
                          enum watcher_outcome outcome, uint64_t took_us);
