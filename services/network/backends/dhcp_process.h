/* SPDX-License-Identifier: Apache-2.0 */
/* dnsmasq processes: start, find, end. Used by dhcp.c only. */
#pragma once

#include "services/network/backends/dhcp.h"

#define DHCP_HOSTS_MOUNT "/mnt" /* where the server sees its reservations */
#define DHCP_CONF_FLAG   "--conf-file="

struct dhcp_start {
        const char *dnsmasq_path, *conf_path, *hosts_path;
};
/* Runs dnsmasq, which goes to the background once it serves. -ETIMEDOUT, -ECHILD: *error has its words. */
int dhcp_process_start(int ns_fd, const struct dhcp_start *start, struct net_error *error);
/* Whether the server sees the directory `hosts_path` as its reservations. */
bool dhcp_process_sees(const struct dhcp_server *server, const char *hosts_path);
