/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One dnsmasq per subnet, in the VPC's namespace: DHCP and DNS for the subnet's ports and for nobody else.
 *
 * Reservations are files of a directory that dnsmasq watches with inotify (--dhcp-hostsdir), one per port,
 * so that a port costs a rename and no process. No acknowledgement is needed: dnsmasq's one loop looks at
 * its inotify queue and its signal pipe before its DHCP socket, so a DISCOVER that arrives after the
 * rename(2) is answered after the file was read (dnsmasq.c, the order of poll_check()s).
 *
 * dnsmasq only ever adds from that directory; a removal takes a SIGHUP, which reads all of it again, and a
 * DHCPRELEASE that ends the lease. Leases live in its memory alone (leasefile-ro): a server that starts anew
 * is authoritative, knows the reservations, and so gives everyone the address that it had.
 *
 * It runs as nobody. The state directory may be closed to that user, so the reservations are mounted on /mnt
 * in a mount namespace of the server's own.
 *
 * Running servers are found by what the kernel says (namespace and command line), not by a PID file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "services/network/spec.h"

#define DHCP_MIN_LEASE_S 120 /* dnsmasq takes no less */
#define DHCP_MAX_LEASES  8192
#define DHCP_DOMAIN      "alkaid.internal"

struct dhcp_options {
        const char *state_dir, *dnsmasq_path;
        uint32_t lease_seconds;
};

/* A server, watched. */
struct dhcp_server {
        pid_t pid;
        int pidfd; /* -1 = none; readable when it has ended */
};

/*
 * Makes a server with spec's settings run: keeps one that does, ends one that differs, starts one. *server
 * holds what is known of it (pidfd -1: look for it). Up to 5 s when it does not start.
 */
int dhcp_ensure(const struct dhcp_options *o, int ns_fd, const struct net_port_spec *spec,
                struct dhcp_server *server, struct net_error *error);
/* Finds the subnet's running server; -ENOENT. Others of the same subnet are ended. */
int dhcp_find(int ns_fd, const char *subnet_id, struct dhcp_server *out);
/* Ends it and waits until it is gone. */
void dhcp_stop(struct dhcp_server *server);
bool dhcp_alive(const struct dhcp_server *server);
/* Ends every DHCP server of ours in the namespace. */
void dhcp_stop_all(int ns_fd);

/* Gives the spec's MAC its first address, from the return on; another reservation of the port is withdrawn.
 */
int dhcp_reserve(const struct dhcp_options *o, int ns_fd, const struct net_port_spec *spec,
                 const struct dhcp_server *server, struct net_error *error);
/*
 * Takes a port's reservation and lease back; 0 as well when there is none. server: may be without a process
 * (nothing to tell then).
 */
int dhcp_withdraw(const struct dhcp_options *o, int ns_fd, const struct net_port_key *key,
                  const struct dhcp_server *server, struct net_error *error);
/* Removes the files of a subnet; of all subnets where subnet_id is NULL. */
void dhcp_forget(const struct dhcp_options *o, const char *subnet_id);
/* Calls fn for each subnet that has files, and for each port with a reservation (port_id NULL for none). */
void dhcp_each(const struct dhcp_options *o,
               void (*fn)(void *arg, const char *subnet_id, const char *port_id), void *arg);

/* A reservation's text, as written by dhcp_reserve(): "MAC,id:*,ADDRESS[,NAME]". -EINVAL for anything else.
 */
int dhcp_reservation_parse(const char *text, char mac[AK_MAC_SIZE], struct ak_ip *address);
