/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the Ports of this node's VPCs and the Nodes that they are on, and tells the network service what
 * other nodes have (peers.h). */
#pragma once

#include <czmq.h>
#include <jansson.h>

#include "libcommon/bus.h"
#include "libcommon/cleanup.h"
#include "libcommon/kube/kubeconfig.h"

struct watcher_shell_peers;

/* Borrows loop, bus and kubeconfig. */
int watcher_shell_peers_new(struct watcher_shell_peers **out, zloop_t *loop, struct ak_bus *bus,
                            const struct ak_kubeconfig *kubeconfig, const char *node, uint64_t seed);
/* One of this node's own ports, as it is now or gone; and that their first list is complete. */
void watcher_shell_peers_own(struct watcher_shell_peers *peers, const json_t *port, bool gone);
void watcher_shell_peers_own_synced(struct watcher_shell_peers *peers);
struct watcher_shell_peers *watcher_shell_peers_free(struct watcher_shell_peers *peers);
