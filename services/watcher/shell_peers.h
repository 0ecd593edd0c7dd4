/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the cluster's Ports and Nodes, and tells the network service what other nodes have (peers.h). */
#pragma once

#include <czmq.h>

#include "libcommon/bus.h"
#include "libcommon/cleanup.h"
#include "libcommon/kube/kubeconfig.h"

struct watcher_shell_peers;

/* Borrows loop, bus and kubeconfig. */
int watcher_shell_peers_new(struct watcher_shell_peers **out, zloop_t *loop, struct ak_bus *bus,
                            const struct ak_kubeconfig *kubeconfig, const char *node, uint64_t seed);
struct watcher_shell_peers *watcher_shell_peers_free(struct watcher_shell_peers *peers);
