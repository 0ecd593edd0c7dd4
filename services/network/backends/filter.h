/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may leave a VM and what may reach it.
 *
 * From a VM: only frames of its own MAC and addresses; no DHCP server, no router advertisement, no IPv6 for a
 * port without. What is dropped is counted by reason. To and from a VM with security groups: what the rules
 * let begin, and what belongs to it. And nothing from a VM or a gateway leg reaches the host itself, which
 * answers ARP for any of its addresses on any of its links.
 *
 * Two nftables tables per node, both named alkaid-NODE. Of the bridge family:
 *
 *   set legs { type ifname }    taps and veth legs
 *   chain host (input)          iifname @legs drop
 *
 * and of the netdev family, whose chains hang on one device each:
 *
 *   chain p-TAP (ingress)       what the VM sends
 *   chain t-TAP (egress)        what it gets; only of a restricted port
 *   set f4 f6 i4 i6             flows of restricted ports, with timeouts
 *   counter spoofed_mac …       one per reason (FILTER_REASONS)
 *
 * Why not chains that a map leads to: for each element that leads to a chain the kernel walks all of them
 * anew, so that the 500th port took three times as long as the first. Here no chain knows another.
 *
 * Stateful without conntrack, which bridges have in few kernels and which knows nothing of VPCs whose
 * addresses overlap: the frame that a rule lets begin notes (mark, peer, protocol, the VM's port, the peer's
 * port) in a set, and whatever bears a noted key passes, either way, and renews it. The mark names port and
 * rules: with other rules a port has another mark, so what was begun under the old ones ends at once, unless
 * the new ones let it begin, too.
 *
 * A port's chains are replaced in one transaction. Thread-safe.
 */
#pragma once

#include "services/network/spec.h"

/* R(counter, what was dropped) */
#define FILTER_REASONS(R)                                                                                    \
        R(spoofed_mac, "frames of another MAC")                                                              \
        R(spoofed_arp, "ARP of another MAC or address")                                                      \
        R(spoofed_ip, "packets of another address")                                                          \
        R(rogue_dhcp, "DHCP server messages")                                                                \
        R(rogue_ra, "router advertisements and redirects")                                                   \
        R(spoofed_nd, "neighbour advertisements of another address")                                         \
        R(other_protocol, "what is neither ARP nor an IP that the port has")                                 \
        R(over_rate, "what exceeded the bandwidth from the VM")                                              \
        R(denied_in, "what no security group lets in")                                                       \
        R(denied_out, "what no security group lets out")

enum filter_reason {
#define FILTER_REASON(name, doc) FILTER_##name,
        FILTER_REASONS(FILTER_REASON)
#undef FILTER_REASON
            FILTER_REASON_COUNT
};

struct filter;

int filter_new(struct filter **out, const char *node);
struct filter *filter_free(struct filter *f); /* leaves the rules */
/* Sets the port's rules; to be called before its tap is up. */
int filter_set_port(struct filter *f, const char *tap, const struct net_port_spec *spec,
                    struct net_error *error);
int filter_clear_port(struct filter *f, const char *tap, struct net_error *error);
int filter_set_leg(struct filter *f, const char *leg, struct net_error *error);
int filter_clear_leg(struct filter *f, const char *leg, struct net_error *error);
/* Packets dropped since the table was made, by enum filter_reason. */
int filter_count(struct filter *f, uint64_t packets[FILTER_REASON_COUNT], struct net_error *error);
/* Removes the table. 0 as well when there is none. */
int filter_teardown(struct filter *f, struct net_error *error);

/* filter_port.c: the commands that set a port's chains. Free with free(); NULL when out of memory. */
char *filter_port_commands(const char *table, const char *tap, const struct net_port_spec *spec);
