/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network service must know of other nodes: for each subnet of a VPC that has a port here, the ports
 * that it has elsewhere. From the cluster's Ports and Nodes (whose InternalIP is their VXLAN address) follows
 * one subnet.peers message per subnet. Pure: objects in, messages out; what has not changed is not said
 * again.
 *
 * Apart from the core, because it decides nothing about NICs: a peer's port is neither wished nor reported.
 */
#pragma once

#include <czmq.h>
#include <jansson.h>

#include "libcommon/cleanup.h"
#include "proto/proto.h"

struct watcher_peers;

int watcher_peers_new(struct watcher_peers **out, const char *node);
struct watcher_peers *watcher_peers_free(struct watcher_peers *peers);
AK_DEFINE_CLEANUP(struct watcher_peers *, watcher_peers_free)

/*
 * An object as it is now, or gone. -ENOMEM. Objects that cannot be read count as gone. `from` is who says so
 * of a port: that it is gone counts only from who put it last.
 */
int watcher_peers_port(struct watcher_peers *peers, const json_t *port, bool gone, const void *from);
int watcher_peers_node(struct watcher_peers *peers, const json_t *node, bool gone, const void *from);

/* Counts one more, or less, of the key, in a table of size_t from the heap: how many there were before, or
 * -ENOMEM. A key that there is none of is not in the table. */
int64_t watcher_peers_count(zhashx_t *counts, const char *key, bool more);

/* The other nodes that the ports are on, as keys; borrowed, until the next call. */
zhashx_t *watcher_peers_elsewhere(struct watcher_peers *peers);

/* For each subnet: a message to be kept as its last value, or (NULL) its topic to be forgotten. */
typedef void (*watcher_peers_say)(void *arg, const char *topic, const struct ak_message *message);
/* Says what has changed since the last call. -ENOMEM: the next call says the rest. */
int watcher_peers_flush(struct watcher_peers *peers, watcher_peers_say say, void *arg);
