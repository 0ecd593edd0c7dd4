/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads in which the driver's blocking calls run: one actor per VM, made at its first operation and
 * ended when the VM is forgotten, and one for the connection and its inventory. Calls of one VM keep their
 * order; a VM that hangs holds up nothing but itself. Answers go to the queue.
 */
#pragma once

#include "services/hypervisor/backends/driver.h"
#include "services/hypervisor/queue.h"

struct hv_workers;

int hv_workers_new(struct hv_workers **out, const struct hv_driver_ops *ops, struct hv_driver *driver,
                   struct hv_queue *queue);
/* Waits for the calls under way. */
struct hv_workers *hv_workers_free(struct hv_workers *workers);
AK_DEFINE_CLEANUP(struct hv_workers *, hv_workers_free)

/* HV_ACTION_CONNECT, _LIST or _DRIVER; takes the action's contents over. -ENOMEM. */
int hv_workers_run(struct hv_workers *workers, struct hv_action *action);
/* The VM is forgotten: its actor ends once idle. */
void hv_workers_drop(struct hv_workers *workers, const char *pod_uid);
