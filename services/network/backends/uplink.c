/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/uplink.h"

#include <errno.h>
#include <fcntl.h>
#include <netlink/route/addr.h>
#include <netlink/route/route.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "libcommon/log.h"
#include "services/network/backends/netns.h"

AK_DEFINE_CLEANUP(struct rtnl_route *, rtnl_route_put)
AK_DEFINE_CLEANUP(struct nl_addr *, nl_addr_put)

#define NETS 16384 /* of 4 addresses in 169.254.0.0/16 */
#define NET_FIRST                                                                                            \
        1 /* 169.254.0.0/24 and .255.0/24 are reserved (RFC 3927), cloud metadata is 169.254.169.254 */

struct uplink {
        struct net_name outer, inner;
        struct ak_cidr host, ns;
        struct net_error *error;
};

static int failed(const char *what, int r, struct net_error *error)
{
        net_error_set(error, "UplinkFailed", "%s: %s", what, strerror(-r));
        return r;
}

/* ------------------------------------------------------------------ nftables */

static int run_nft(const char *commands, struct net_error *error)
{
        struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

        if (!nft)
                return -ENOMEM;
        int r = nft_ctx_buffer_error(nft) != 0 ? -ENOMEM : 0;
        if (r == 0 && nft_run_cmd_from_buffer(nft, commands) != 0) {
                const char *words = nft_ctx_get_error_buffer(nft);

                net_error_set(error, "UplinkFailed", "nftables: %.*s", (int)strcspn(words, "\n"), words);
                r = -EIO;
        }
        nft_ctx_free(nft);
        return r;
}

static int host_rules(const char *node, struct net_error *error)
{
        char c[2048];

        snprintf(c, sizeof(c),
                 "add table ip alkaid-%1$s\n"
                 "add chain ip alkaid-%1$s out { type nat hook postrouting priority 100; }\n"
                 "flush chain ip alkaid-%1$s out\n"
                 "add rule ip alkaid-%1$s out ip saddr 169.254.0.0/16 oifname != \"aku*\" masquerade\n"
                 "add chain ip alkaid-%1$s across { type filter hook forward priority -10; }\n"
                 "flush chain ip alkaid-%1$s across\n"
                 "add rule ip alkaid-%1$s across iifname \"aku*\" oifname \"aku*\" drop\n"
                 "add rule ip alkaid-%1$s across oifname \"aku*\" ct state new drop\n"
                 "add chain ip alkaid-%1$s host { type filter hook input priority -10; }\n"
                 "flush chain ip alkaid-%1$s host\n"
                 "add rule ip alkaid-%1$s host iifname \"aku*\" drop\n",
                 node);
        return run_nft(c, error);
}

int uplink_teardown(const char *node, struct net_error *error)
{
        char c[256];

        snprintf(c, sizeof(c), "add table ip alkaid-%1$s\ndelete table ip alkaid-%1$s\n", node);
        return run_nft(c, error);
}

/* ------------------------------------------------------------------ addresses */

static void make_net(uint32_t index, struct uplink *u)
{
        uint32_t base = (169U << 24 | 254U << 16) + index * 4;

        for (uint32_t i = 1; i <= 2; i++) {
                struct ak_cidr *c = i == 1 ? &u->host : &u->ns;

                *c = (struct ak_cidr){.addr = {.family = 4}, .prefix_len = 30};
                for (int b = 0; b < 4; b++)
                        c->addr.bytes[b] = (uint8_t)((base + i) >> (24 - 8 * b));
        }
}

static bool reserved(uint32_t index)
{
        uint32_t third = index / 64;

        return third < NET_FIRST || third == 255 || (third == 169 && index % 64 == 63);
}

static bool in_use(struct nl_cache *addresses, const struct ak_cidr *host)
{
        for (struct nl_object *o = nl_cache_get_first(addresses); o; o = nl_cache_get_next(o)) {
                struct nl_addr *a = rtnl_addr_get_local((struct rtnl_addr *)o);

                if (a && nl_addr_get_family(a) == AF_INET &&
                    memcmp(nl_addr_get_binary_addr(a), host->addr.bytes, 4) == 0)
                        return true;
        }
        return false;
}

/* From the VPC's ID on, the first that no link of the host has. */
static int choose_net(struct nl_sock *sock, const char *vpc_id, struct uplink *u)
{
        AK_CLEANUP(nl_cache_freep) struct nl_cache *addresses = NULL;
        uint32_t start = 2166136261U;
        int r = rtnl_errno(rtnl_addr_alloc_cache(sock, &addresses));

        for (const char *c = vpc_id; *c; c++)
                start = (start ^ (uint8_t)*c) * 16777619U;
        for (uint32_t i = 0; r == 0 && i < NETS; i++) {
                uint32_t index = (start + i) % NETS;

                make_net(index, u);
                if (!reserved(index) && !in_use(addresses, &u->host))
                        return 0;
        }
        return r < 0 ? r : -EADDRNOTAVAIL;
}

/* ------------------------------------------------------------------ inside */

static int add_default_route(struct nl_sock *sock, int ifindex, const struct ak_cidr *via)
{
        AK_CLEANUP(rtnl_route_putp) struct rtnl_route *route = rtnl_route_alloc();
        AK_CLEANUP(nl_addr_putp) struct nl_addr *gateway = nl_addr_build(AF_INET, via->addr.bytes, 4);
        AK_CLEANUP(nl_addr_putp) struct nl_addr *all = nl_addr_build(AF_INET, NULL, 0);
        struct rtnl_nexthop *hop = rtnl_route_nh_alloc();

        if (!route || !gateway || !all || !hop) {
                rtnl_route_nh_free(hop);
                return -ENOMEM;
        }
        rtnl_route_nh_set_ifindex(hop, ifindex);
        rtnl_route_nh_set_gateway(hop, gateway);
        rtnl_route_add_nexthop(route, hop);
        rtnl_route_set_family(route, AF_INET);
        int r = rtnl_route_set_dst(route, all);
        if (r == 0)
                r = rtnl_route_add(sock, route, NLM_F_CREATE | NLM_F_REPLACE);
        return rtnl_errno(r);
}

static int configure_inside(void *arg)
{
        const struct uplink *u = arg;
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        char c[512];
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_get(sock, u->inner.s, &link);
        if (r == 0)
                r = rtnl_apply(sock, link, &(struct rtnl_wish){.up = true, .no_ipv6 = true});
        if (r == 0)
                r = rtnl_set_ipv4(sock, rtnl_link_get_ifindex(link), &u->ns);
        if (r == 0)
                r = add_default_route(sock, rtnl_link_get_ifindex(link), &u->host);
        if (r < 0)
                return failed(u->inner.s, r, u->error);
        snprintf(c, sizeof(c),
                 "add table ip alkaid\nadd chain ip alkaid out { type nat hook postrouting priority 100; }\n"
                 "flush chain ip alkaid out\nadd rule ip alkaid out oifname \"%s\" masquerade\n",
                 u->inner.s);
        return run_nft(c, u->error);
}

/* ------------------------------------------------------------------ outside */

static int let_the_host_forward(void)
{
        AK_AUTOCLOSE int fd = open("/proc/sys/net/ipv4/ip_forward", O_RDWR | O_CLOEXEC);
        char value = '0';

        if (fd < 0 || read(fd, &value, 1) != 1)
                return -errno;
        if (value != '0')
                return 0;
        if (pwrite(fd, "1", 1, 0) != 1)
                return -errno;
        ak_log(AK_LOG_WARN, "ip_forward_turned_on", "why", "a VPC with sourceNAT", NULL);
        return 0;
}

static void label_of(const char *node, const char *vpc_id, char out[NET_LABEL_SIZE])
{
        struct net_label l = {.kind = NET_LABEL_VPC};

        snprintf(l.node, sizeof(l.node), "%s", node);
        snprintf(l.vpc_id, sizeof(l.vpc_id), "%s", vpc_id);
        net_label_format(&l, out);
}

static bool owns(struct rtnl_link *link, const char *node, const char *vpc_id)
{
        struct net_label l;

        return rtnl_label(link, &l) && l.kind == NET_LABEL_VPC && strcmp(l.node, node) == 0 &&
               strcmp(l.vpc_id, vpc_id) == 0;
}

static int make_pair(struct nl_sock *sock, int ns_fd, const char *node, const char *vpc_id, struct uplink *u)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        char label[NET_LABEL_SIZE];
        int r = choose_net(sock, vpc_id, u);

        if (r == 0)
                r = rtnl_add_veth(sock, u->outer.s, 1500, u->inner.s, ns_fd);
        if (r == 0)
                r = rtnl_get(sock, u->outer.s, &link);
        label_of(node, vpc_id, label);
        if (r == 0)
                r = rtnl_disable_ipv6(u->outer.s);
        if (r == 0)
                r = rtnl_set_ipv4(sock, rtnl_link_get_ifindex(link), &u->host);
        if (r == 0)
                r = let_the_host_forward();
        if (r < 0)
                return failed(u->outer.s, r, u->error);
        r = host_rules(node, u->error);
        if (r == 0)
                r = netns_run(ns_fd, configure_inside, u);
        /* The label comes last: a pair without is one that a crash left half made. */
        if (r == 0 && (r = rtnl_apply(sock, link,
                                      &(struct rtnl_wish){.alias = label, .up = true, .no_ipv6 = true})) < 0)
                return failed(u->outer.s, r, u->error);
        return r;
}

static struct uplink names_of(const char *vpc_id, struct net_error *error)
{
        return (struct uplink){
            .outer = net_uplink_name(vpc_id), .inner = net_uplink_inner_name(vpc_id), .error = error};
}

int uplink_ensure(struct nl_sock *sock, int ns_fd, const char *node, const char *vpc_id,
                  struct net_error *error)
{
        struct uplink u = names_of(vpc_id, error);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, u.outer.s, &link);

        if (r == 0 && owns(link, node, vpc_id))
                return host_rules(node, error);
        if (r == 0 && rtnl_link_get_ifalias(link)) {
                net_error_set(error, "NameTaken", "the link %s of this host is not ours; remove or rename it",
                              u.outer.s);
                return -EEXIST;
        }
        if (r == 0)
                r = rtnl_delete(sock, u.outer.s);
        if (r < 0 && r != -ENODEV)
                return failed(u.outer.s, r, error);
        r = make_pair(sock, ns_fd, node, vpc_id, &u);
        if (r < 0)
                (void)rtnl_delete(sock, u.outer.s);
        return r;
}

int uplink_remove(struct nl_sock *sock, const char *node, const char *vpc_id, struct net_error *error)
{
        struct uplink u = names_of(vpc_id, error);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, u.outer.s, &link);

        if (r == 0 && owns(link, node, vpc_id))
                r = rtnl_delete(sock, u.outer.s);
        return r < 0 && r != -ENODEV ? failed(u.outer.s, r, error) : 0;
}
