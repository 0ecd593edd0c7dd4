/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is behind a subnet's VXLAN link: for each port on another node one entry of the link's forwarding table
 * (MAC -> node), one of the bridge's (MAC -> this link), and one neighbour per address, from which the link
 * answers ARP and neighbour solicitations itself. There is no entry for unknown or broadcast MACs: what is
 * not known goes nowhere.
 *
 * peers_apply() compares with what the kernel has, so it makes no difference what was there before.
 */
#pragma once

#include <netlink/netlink.h>

#include "services/network/spec.h"

/* `text` as subnet.peers has it. 0, or -EINVAL with the line in *error. Nothing is changed then. */
int peers_apply(struct nl_sock *sock, int vxlan_ifindex, const char *text, struct net_error *error);
/* Checks only. */
int peers_check(const char *text, struct net_error *error);
