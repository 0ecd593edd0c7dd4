/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may leave a VM and what may reach it.
 *
 * From a VM: only frames of its own MAC and addresses; no DHCP server, no router advertisement, no IPv6 for a
 * port without. What is dropped is counted by reason, for the node and for each port. To and from a VM with
 * security groups: what the rules let begin, and what belongs to it. And nothing from a VM or a gateway leg
 * reaches the host itself, which answers ARP for any of its addresses on any of its links.
 *
 * One nftables table of the bridge family per node, alkaid-NODE, with chains that are the same for every port
 * (filter_table.c) and look up what is a port's own in sets and maps:
 *
 *   marks { tap : mark }               every port's; the mark stands for the port in all that follows
 *   macs own4 own6 nd6 six caps        { mark . MAC }, { mark . address }, …: what the VM may say
 *   plain4 { tap . MAC . address }     of ports without groups and cap: nearly all frames need no more than
 * that restricted guarded rulesets        ports with security groups, and by which rules rules_in rules_out {
 * id : chain }  chains i-HASH, o-HASH: the rules, shared by all ports that have the same f4 f6 i4 i6 flows
 * that a rule let begin, with timeouts counter spoofed_mac …, set by_…    what was dropped, by reason
 * (FILTER_REASONS) legs { tap, leg }                  what does not reach the host
 *
 * The chain that looks at frames towards VMs (to) is there only while a port has rules: it costs every frame.
 *
 * So a port is a handful of elements, whose cost does not depend on how many ports there are. Why not a chain
 * for each port: libnftables reads the list of all chains before each transaction, and for each element that
 * leads to a chain the kernel walks all of them anew; the 500th port took ten times as long as the first.
 *
 * Stateful without conntrack, which bridges have in few kernels and which knows nothing of VPCs whose
 * addresses overlap: the frame that a rule lets begin notes (mark, peer, protocol, the VM's port, the peer's
 * port) in a set, and whatever bears a noted key passes, either way, and renews it. With other rules a port
 * gets another mark, so what was begun under the old ones ends at once, unless the new ones let it begin,
 * too. Marks are drawn by chance and never two ports': nobody can choose rules so that flows are taken for
 * another's.
 *
 * What a port's elements are is remembered, and read from the kernel once after a start; a port is changed in
 * one transaction. Where the table was tampered with, everything remembered is put back. Thread-safe.
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
/*
 * The same for taps that are in no bridge: a table of the netdev family, and chains at each tap's ingress.
 * Only what VMs send, and no security groups: spec->restricted is not looked at.
 */
int filter_new_ingress(struct filter **out, const char *node);
struct filter *filter_free(struct filter *f); /* leaves the rules */
/* Sets the port's rules; to be called before its tap is up. */
int filter_set_port(struct filter *f, const char *tap, const struct net_port_spec *spec,
                    struct net_error *error);
/*
 * Of an ingress filter: the tap and the veth end `near` are one cable, so that whoever reads `far`, the other
 * end, with a packet socket gets only what passed. Names, or NULL: the tap itself is in a switch of the
 * kernel. To be called again when a link was made anew.
 */
int filter_set_wired_port(struct filter *f, const char *tap, const char *near, const char *far,
                          const struct net_port_spec *spec, struct net_error *error);
int filter_clear_port(struct filter *f, const char *tap, struct net_error *error);
int filter_set_leg(struct filter *f, const char *leg, struct net_error *error);
int filter_clear_leg(struct filter *f, const char *leg, struct net_error *error);
/* Packets dropped since the table was made, by enum filter_reason. */
int filter_count(struct filter *f, uint64_t packets[FILTER_REASON_COUNT], struct net_error *error);
/* Packets dropped by port and reason since the port last was silent for a day; calls fn where it is not 0. */
int filter_count_by_port(struct filter *f,
                         void (*fn)(void *arg, const char *tap, enum filter_reason reason, uint64_t packets),
                         void *arg, struct net_error *error);
/* Both, as a backend tells them; tap NULL: of all. Nothing where f is NULL. */
typedef void filter_drops_fn(void *arg, const char *tap, const char *reason, uint64_t packets);
int filter_drops(struct filter *f, bool by_port, filter_drops_fn *fn, void *arg, struct net_error *error);
const char *filter_reason_name(enum filter_reason reason);
/* Removes the table, and what an older version had in its place. 0 as well when there is none. */
int filter_teardown(struct filter *f, struct net_error *error);
/* The same if no port is in it. */
int filter_teardown_if_empty(struct filter *f, struct net_error *error);
