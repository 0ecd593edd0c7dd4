/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bridged frames and the host's iptables.
 *
 * Where the module br_netfilter is loaded (Docker loads it), IPv4 between two ports of any bridge passes the
 * host's FORWARD chain, whose policy Docker sets to drop: guests then get no DHCP and no ping, and nothing
 * says why. A bridge cannot opt out, only net.bridge.bridge-nf-call-* of the whole network namespace can; 0
 * is what hypervisor hosts are told to set. Docker sets it to 1 when it starts, so it is looked at with each
 * port and whenever a foreign bridge changes.
 */
#pragma once

#include <stdbool.h>

/* With `fix`, sets what is 1 to 0 and logs it; else logs it only. Cheap: three small files. */
void brnf_check(bool fix);
