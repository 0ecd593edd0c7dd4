/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links and addresses through libnl-route, in the network namespace in which the socket was opened.
 *
 * All return 0 or a negative errno; -ENODEV where there is no such link.
 */
#pragma once

#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "libcommon/netaddr.h"
#include "services/network/label.h"

AK_DEFINE_CLEANUP(struct nl_sock *, nl_socket_free)
AK_DEFINE_CLEANUP(struct rtnl_link *, rtnl_link_put)
AK_DEFINE_CLEANUP(struct nl_cache *, nl_cache_free)

int rtnl_errno(int nl_error); /* libnl's -NLE_* to a negative errno */
int rtnl_open(struct nl_sock **out);
int rtnl_get(struct nl_sock *sock, const char *name, struct rtnl_link **out);
int rtnl_all(struct nl_sock *sock, struct nl_cache **out);
/* The label of a link, if it has one of ours (any node's). */
bool rtnl_label(struct rtnl_link *link, struct net_label *out);
bool rtnl_is(struct rtnl_link *link, const char *kind); /* "bridge", "veth", "tun" */

/* Both come down, unlabelled; -EEXIST. */
int rtnl_add_bridge(struct nl_sock *sock, const char *name, uint32_t mtu);
int rtnl_add_veth(struct nl_sock *sock, const char *name, uint32_t mtu, const char *peer, int peer_ns_fd);
/* A VXLAN link that learns nothing and answers ARP from its neighbours; port 4789. */
int rtnl_add_vxlan(struct nl_sock *sock, const char *name, uint32_t vni, const struct ak_ip *local,
                   uint32_t mtu);
/* The bridge port learns no MAC, and gets no frames for unknown ones. */
int rtnl_quiet_port(struct nl_sock *sock, int ifindex);
/* MTU of the link that has this address; -EADDRNOTAVAIL. */
int rtnl_mtu_of_address(struct nl_sock *sock, const struct ak_ip *ip, uint32_t *out);
/* A persistent tap with virtio-net header, one queue, as libvirt opens it with managed='no'. */
int rtnl_add_tap(const char *name);

/* What a link should be; zero members are left as they are. */
struct rtnl_wish {
        const char *alias;
        int master; /* ifindex */
        uint32_t mtu;
        bool up;
        bool no_ipv6; /* no address of its own, ever */
};
/* Changes what differs from `now`, in one request; none when nothing differs. */
int rtnl_apply(struct nl_sock *sock, struct rtnl_link *now, const struct rtnl_wish *wish);
int rtnl_delete(struct nl_sock *sock, const char *name); /* 0 as well when there is none */

/* Makes `cidr` the only IPv4 address of the link. */
int rtnl_set_ipv4(struct nl_sock *sock, int ifindex, const struct ak_cidr *cidr);
/* Adds an address of either family; 0 as well when it is there. IPv6: without duplicate address detection. */
int rtnl_add_address(struct nl_sock *sock, int ifindex, const struct ak_cidr *cidr);
/* Caps what leaves by the link with a token bucket; 0 takes the cap away. */
int rtnl_set_rate(struct nl_sock *sock, struct rtnl_link *link, uint32_t kbps);
/* The kernel computes checksums for what leaves by this link (a DHCP client sees no unfinished ones). In the
 * caller's network namespace. */
int rtnl_tx_checksum_off(const char *name);
/* Keeps IPv6 off an interface of the caller's network namespace. 0 as well without IPv6 in the kernel. */
int rtnl_disable_ipv6(const char *name);
int rtnl_enable_ipv6(const char *name);
