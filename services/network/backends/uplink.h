/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of a VPC: a veth pair between its namespace and the host, with a /30 of 169.254.0.0/16.
 *
 * Source NAT twice: the namespace hides its subnets behind its end of the pair, so that VPCs whose addresses
 * overlap meet the host with different ones; the host hides those behind its own. What comes from a VPC
 * reaches neither the host itself nor another VPC's pair. IPv6 the same way, with a /126 of fda1:ca1d::/32,
 * once a port of the VPC has it.
 *
 *   host: link aku+VPC, tables "ip alkaid-NODE" and "ip6 alkaid-NODE" (postrouting, forward, input)
 *   namespace: link aki+VPC, default routes, tables "ip alkaid" and "ip6 alkaid"
 */
#pragma once

#include "services/network/backends/rtnl.h"
#include "services/network/spec.h"

/* Makes it stand; what was there for IPv6 stays without `ipv6`. `sock` is the host's. Twice: 0. */
int uplink_ensure(struct nl_sock *sock, int ns_fd, const char *node, const char *vpc_id, bool ipv6,
                  struct net_error *error);
/* Takes it away; 0 as well when there is none. */
int uplink_remove(struct nl_sock *sock, const char *node, const char *vpc_id, struct net_error *error);
/* Removes the host's tables. 0 as well when there are none. */
int uplink_teardown(const char *node, struct net_error *error);
