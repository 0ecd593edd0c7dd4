/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's sign of life: its Lease in kube-node-lease, renewed every so often for as long as the loop runs.
 * A server that misses it calls the node NotReady; that decides nothing here, which is why it is no part of
 * the core.
 */
#pragma once

#include <czmq.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "libcommon/kube/client.h"

struct watcher_lease;

/* Renews at once, then every `every_ms`. `back` runs when a renewal came late or after others had failed: the
 * server may have called the node silent. -ENOMEM. */
int watcher_lease_new(struct watcher_lease **out, zloop_t *loop, struct ak_kube_client *client,
                      const char *node, size_t every_ms, void (*back)(void *arg), void *arg);
/* Before the client is freed no answer may come any more: free the client first. */
struct watcher_lease *watcher_lease_free(struct watcher_lease *lease);
