/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by bridge.c, bridge_subnet.c and bridge_monitor.c only. */
#pragma once

#include <pthread.h>

#include "services/network/backends/backend.h"
#include "services/network/backends/dhcp.h"
#include "services/network/backends/filter.h"
#include "services/network/backends/rtnl.h"

#define BRIDGE_MAX_MTUS 16

/*
 * A subnet that we know of. While `busy`, one thread owns all of it but `standing`, which the monitor clears;
 * else everything belongs to whoever holds the backend's lock.
 */
struct subnet {
        char id[AK_UUID_SIZE], vpc_id[AK_UUID_SIZE];
        bool busy;
        char busy_port[AK_UUID_SIZE];              /* "" = none in particular */
        bool gone;                                 /* dropped: leaves the table when no longer busy */
        bool standing;                             /* made or checked by us, and no loss reported since */
        struct net_port_spec as;                   /* what it was made from; valid once `standing` was set */
        uint32_t mtus[BRIDGE_MAX_MTUS], mtu_count; /* of `as` and its like */
        struct dhcp_server server;
        char *peers;                   /* on other nodes; NULL = nobody has told */
        struct net_port_spec *transit; /* what to make it from while it has no port here; NULL = do not */
};

#define MONITOR_MAX 4096

struct monitor {
        int epoll_fd;
        struct nl_sock *events; /* RTNLGRP_LINK */
        struct nl_sock *ask;    /* to look whether a loss is true */
        struct vpc_event *queue;
        size_t head, count; /* a ring of MONITOR_MAX */
        bool lost;          /* events were lost */
};

struct bridge {
        struct vpc_backend base;
        char *node, *state_dir, *dnsmasq_path;
        struct dhcp_options dhcp;
        struct filter *filter; /* NULL: no anti-spoofing */
        bool fix_nf_call;
        struct ak_ip vtep;    /* family 0 = none */
        uint32_t mtu_limit;   /* what fits into the encapsulation; 0 = no limit */
        pthread_mutex_t lock; /* the table of subnets */
        pthread_cond_t calm;  /* a subnet is no longer busy */
        struct subnet **subnets;
        size_t subnet_count, subnet_capacity;
        /* Held while namespaces and bridges come and go: a namespace is in use while a bridge names its VPC.
         */
        pthread_mutex_t vpc_lock;
        struct monitor monitor;
};

static inline struct bridge *bridge_of(struct vpc_backend *b)
{
        return (struct bridge *)b;
}

/* bridge_subnet.c */

/* IDs of the VPC's subnets that we know of, at most max. */
size_t subnet_list(struct bridge *b, const char *vpc_id, char (*ids)[AK_UUID_SIZE], size_t max);
/* Waits until nobody works on the subnet, then owns it. NULL when out of memory. vpc_id may be NULL. */
struct subnet *subnet_enter(struct bridge *b, const char *id, const char *vpc_id, const char *port_id);
void subnet_leave(struct bridge *b, struct subnet *s);
/* Notes a subnet found on the host and the server that serves it. */
int subnet_adopt(struct bridge *b, const char *id, const char *vpc_id);
/* bridge_vxlan.c */

int vxlan_init(struct bridge *b, const char *vtep, struct net_error *error);
/* Makes the subnet's VXLAN link stand, with the peers that are known. 0 as well where there is none to be. */
int vxlan_ensure(struct bridge *b, struct nl_sock *sock, const struct subnet *s,
                 const struct net_port_spec *spec, int bridge, const char *label, struct net_error *error);
bool vxlan_is_right(struct bridge *b, struct nl_sock *sock, const char *subnet_id, int bridge);
int bridge_set_peers(struct vpc_backend *backend, const struct ak_subnet_peers *peers,
                     struct net_error *error);
/* Makes the VPC's subnets stand that have ports on other nodes only. Owns no subnet when called. */
int vxlan_ensure_transit(struct bridge *b, struct nl_sock *sock, const char *vpc_id, struct net_error *error);
/* Drops the VPC's subnets that have no port, if it has no port here at all. Owns no subnet when called. */
int vxlan_drop_transit(struct bridge *b, struct nl_sock *sock, const char *vpc_id, struct net_error *error);

/* Makes namespace, bridge, gateway leg and DHCP server stand. *ifindex: of the bridge. */
int subnet_ensure(struct bridge *b, struct nl_sock *sock, struct subnet *s, const struct net_port_spec *spec,
                  int *ifindex, struct net_error *error);
/* Removes the subnet if it has no port, and its VPC if that has no subnet. */
int subnet_drop_if_empty(struct bridge *b, struct nl_sock *sock, struct subnet *s, struct net_error *error);
/* Namespaces of ours that no bridge names. */
int subnet_sweep_namespaces(struct bridge *b, struct nl_sock *sock, struct net_error *error);
/* Calls fn for each namespace with a label of ours. */
void subnet_each_namespace(struct bridge *b, void (*fn)(void *arg, const char *name, const char *vpc_id),
                           void *arg);
/* The VPC's namespace, if it is our node's: fd or -ENOENT. */
int subnet_namespace(struct bridge *b, const struct subnet *s);
bool bridge_owns(const struct bridge *b, struct rtnl_link *link, enum net_label_kind kind,
                 struct net_label *out);

/* bridge_monitor.c */
int monitor_init(struct bridge *b);
void monitor_deinit(struct bridge *b);
/* Reports the end of the server, once; again after each call. */
void monitor_watch(struct bridge *b, const struct subnet *s);
int bridge_event_fd(struct vpc_backend *b);
int bridge_next_event(struct vpc_backend *b, struct vpc_event *out);
