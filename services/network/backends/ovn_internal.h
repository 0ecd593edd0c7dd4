/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by ovn.c and ovn_nb.c only. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "services/network/backends/backend.h"
#include "services/network/backends/filter.h"
#include "services/network/backends/ovsdb.h"
#include "services/network/backends/peers.h"
#include "services/network/backends/rtnl.h"

#define OVN_BRIDGE "br-int"

#define OVN_MAX_EVENTS 1024

struct ovn_monitor {
        pthread_mutex_t lock; /* queue, count, lost: pushed to by the database's reader, too */
        struct vpc_event queue[OVN_MAX_EVENTS];
        size_t count;
        bool lost; /* events were lost */
        int epoll_fd, wake_fd;
        struct nl_sock *events, *ask; /* RTNLGRP_LINK; to look whether a loss is true */
};

struct ovn {
        struct vpc_backend base;
        char *node;
        struct ovsdb *nb, *ovs;
        uint32_t lease_seconds, mtu_limit;
        struct filter *filter; /* NULL: only OVN looks at what VMs send */
        atomic_bool wired;     /* ports have wires */
        struct ovn_monitor monitor;
};

static inline struct ovn *ovn_of(struct vpc_backend *b)
{
        return (struct ovn *)b;
}

/* ovn_monitor.c */
int ovn_monitor_init(struct ovn *o);
void ovn_monitor_deinit(struct ovn *o);
int ovn_event_fd(struct vpc_backend *backend);
int ovn_next_event(struct vpc_backend *backend, struct vpc_event *out);

/* ovn_guard.c: filters at the tap. Nothing without o->filter. */

/*
 * Guards the port's tap. *device: what joins br-int, the tap or the far end of its wire; *fresh: it was made
 * just now.
 */
int ovn_guard(struct ovn *o, struct nl_sock *sock, const struct net_port_spec *spec, struct net_name *device,
              bool *fresh, struct net_error *error);
/* Takes the guard away, and the wire. Twice: 0. */
int ovn_unguard(struct ovn *o, struct nl_sock *sock, const char *port_id, struct net_error *error);
int ovn_drops(struct vpc_backend *backend, bool by_port, vpc_drops_fn *fn, void *arg,
              struct net_error *error);

/* ovn_nb.c: the northbound database. All may be called twice. */

/* Router, switch, the port between them, DHCP options. */
int ovn_ensure_subnet(struct ovn *o, const struct net_port_spec *spec, struct net_error *error);
/* The logical switch port and its ACLs. -EEXIST: another pod has it. */
int ovn_ensure_port(struct ovn *o, const struct net_port_spec *spec, struct net_error *error);
int ovn_drop_port(struct ovn *o, const struct net_port_key *key, struct net_error *error);
int ovn_drop_subnet_if_empty(struct ovn *o, const char *subnet_id, struct net_error *error);
int ovn_drop_empty_subnets(struct ovn *o, struct net_error *error);
/* Ports of our node that have no tap any more. */
int ovn_drop_ports_of_node(struct ovn *o, struct net_error *error);
