/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may leave a VM: only frames of its own MAC and addresses; no DHCP server, no router advertisement, no
 * IPv6 as long as ports have no IPv6 addresses. And nothing from a VM or a gateway leg reaches the host
 * itself, which answers ARP for any of its addresses on any of its links.
 *
 * One nftables table per node, bridge family:
 *
 *   map ports { type ifname : verdict }       tap -> jump p-TAP
 *   set legs  { type ifname }                 taps and veth legs: nothing from these to the host
 *   chain guests (prerouting)                 iifname vmap @ports
 *   chain host (input)                        iifname @legs drop
 *   chain p-TAP                               the rules of one port, ends with drop
 *
 * A port's chain is replaced in one transaction. Thread-safe.
 */
#pragma once

#include "services/network/spec.h"

struct filter;

int filter_new(struct filter **out, const char *node);
struct filter *filter_free(struct filter *f); /* leaves the rules */
/* Sets the port's rules; to be called before its tap is up. */
int filter_set_port(struct filter *f, const char *tap, const struct net_port_spec *spec,
                    struct net_error *error);
int filter_clear_port(struct filter *f, const char *tap, struct net_error *error);
int filter_set_leg(struct filter *f, const char *leg, struct net_error *error);
int filter_clear_leg(struct filter *f, const char *leg, struct net_error *error);
/* Removes the table. 0 as well when there is none. */
int filter_teardown(struct filter *f, struct net_error *error);
