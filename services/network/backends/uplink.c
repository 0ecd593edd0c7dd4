/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/uplink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netlink/route/addr.h>
#include <netlink/route/route.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "services/network/backends/netns.h"

AK_DEFINE_CLEANUP(struct rtnl_route *, rtnl_route_put)
AK_DEFINE_CLEANUP(struct nl_addr *, nl_addr_put)

#define NETS 16384 /* of 4 addresses in 169.254.0.0/16 */
#define NET_FIRST                                                                                            \
        1 /* 169.254.0.0/24 and .255.0/24 are reserved (RFC 3927), cloud metadata is 169.254.169.254 */
#define CONF6 "/proc/sys/net/ipv6/conf" /* absent: a kernel without IPv6 */
#define NET6  "fda1:ca1d"               /* unique local addresses (RFC 4193) that never leave the host */

struct uplink {
        struct net_name outer, inner;
        struct ak_cidr host, ns;
        struct ak_cidr host6, ns6;
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

/* What goes out is hidden behind the host; nothing comes in, goes across to another VPC, or reaches the host.
 */
static int host_rules(const char *node, bool six, struct net_error *error)
{
        char c[2560], neighbours[256];

        /* Of the other end itself: what is forwarded has fewer hops left. */
        snprintf(neighbours, sizeof(neighbours),
                 "add rule ip6 alkaid-%s host iifname \"aku*\" ip6 hoplimit 255 icmpv6 type "
                 "{ nd-neighbor-solicit, nd-neighbor-advert } accept\n",
                 node);
        snprintf(c, sizeof(c),
                 "add table %2$s alkaid-%1$s\n"
                 "add chain %2$s alkaid-%1$s out { type nat hook postrouting priority 100; }\n"
                 "flush chain %2$s alkaid-%1$s out\n"
                 "add rule %2$s alkaid-%1$s out %2$s saddr %3$s oifname != \"aku*\" masquerade\n"
                 "add chain %2$s alkaid-%1$s across { type filter hook forward priority -10; }\n"
                 "flush chain %2$s alkaid-%1$s across\n"
                 "add rule %2$s alkaid-%1$s across iifname \"aku*\" oifname \"aku*\" drop\n"
                 "add rule %2$s alkaid-%1$s across oifname \"aku*\" ct state new drop\n"
                 "add chain %2$s alkaid-%1$s host { type filter hook input priority -10; }\n"
                 "flush chain %2$s alkaid-%1$s host\n"
                 "%4$s"
                 "add rule %2$s alkaid-%1$s host iifname \"aku*\" drop\n",
                 node, six ? "ip6" : "ip", six ? NET6 "::/32" : "169.254.0.0/16", six ? neighbours : "");
        return run_nft(c, error);
}

static int remove_table(const char *family, const char *node, struct net_error *error)
{
        char c[256];

        snprintf(c, sizeof(c), "add table %1$s alkaid-%2$s\ndelete table %1$s alkaid-%2$s\n", family, node);
        return run_nft(c, error);
}

int uplink_teardown(const char *node, struct net_error *error)
{
        int r = remove_table("ip", node, error);

        return r == 0 && access(CONF6, F_OK) == 0 ? remove_table("ip6", node, error) : r;
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

/* 64 bits of the VPC's ID make the net: nobody has to look whether it is free. */
static void make_net6(const char *vpc_id, struct uplink *u)
{
        uint64_t hash = UINT64_C(14695981039346656037);

        for (const char *c = vpc_id; *c; c++)
                hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
        u->host6 = (struct ak_cidr){{6, {0xfd, 0xa1, 0xca, 0x1d, [15] = 1}}, 126};
        for (int b = 0; b < 8; b++)
                u->host6.addr.bytes[4 + b] = (uint8_t)(hash >> (56 - 8 * b));
        u->ns6 = u->host6;
        u->ns6.addr.bytes[15] = 2;
}

/* ------------------------------------------------------------------ inside */

static int add_default_route(struct nl_sock *sock, int ifindex, const struct ak_cidr *via)
{
        AK_CLEANUP(rtnl_route_putp) struct rtnl_route *route = rtnl_route_alloc();
        int family = via->addr.family == 6 ? AF_INET6 : AF_INET;
        AK_CLEANUP(nl_addr_putp)
        struct nl_addr *gateway = nl_addr_build(family, via->addr.bytes, family == AF_INET6 ? 16 : 4);
        AK_CLEANUP(nl_addr_putp) struct nl_addr *all = nl_addr_build(family, NULL, 0);
        struct rtnl_nexthop *hop = rtnl_route_nh_alloc();

        if (!route || !gateway || !all || !hop) {
                rtnl_route_nh_free(hop);
                return -ENOMEM;
        }
        rtnl_route_nh_set_ifindex(hop, ifindex);
        rtnl_route_nh_set_gateway(hop, gateway);
        rtnl_route_add_nexthop(route, hop);
        rtnl_route_set_family(route, (uint8_t)family);
        int r = rtnl_route_set_dst(route, all);
        if (r == 0)
                r = rtnl_route_add(sock, route, NLM_F_CREATE | NLM_F_REPLACE);
        return rtnl_errno(r);
}

static int hide_inside(const struct uplink *u, const char *family)
{
        char c[512];

        snprintf(
            c, sizeof(c),
            "add table %1$s alkaid\nadd chain %1$s alkaid out { type nat hook postrouting priority 100; }\n"
            "flush chain %1$s alkaid out\nadd rule %1$s alkaid out oifname \"%2$s\" masquerade\n",
            family, u->inner.s);
        return run_nft(c, u->error);
}

static int inner_link(const struct uplink *u, struct nl_sock **sock, struct rtnl_link **link)
{
        int r = rtnl_open(sock);

        if (r == 0)
                r = rtnl_get(*sock, u->inner.s, link);
        return r == 0 ? rtnl_apply(*sock, *link, &(struct rtnl_wish){.up = true, .no_ipv6 = true}) : r;
}

static int configure_inside(void *arg)
{
        const struct uplink *u = arg;
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = inner_link(u, &sock, &link);

        if (r == 0)
                r = rtnl_set_ipv4(sock, rtnl_link_get_ifindex(link), &u->ns);
        if (r == 0)
                r = add_default_route(sock, rtnl_link_get_ifindex(link), &u->host);
        return r < 0 ? failed(u->inner.s, r, u->error) : hide_inside(u, "ip");
}

static int configure_inside6(void *arg)
{
        const struct uplink *u = arg;
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = inner_link(u, &sock, &link);

        if (r == 0)
                r = rtnl_enable_ipv6(u->inner.s);
        if (r == 0)
                r = rtnl_add_address(sock, rtnl_link_get_ifindex(link), &u->ns6);
        if (r == 0)
                r = add_default_route(sock, rtnl_link_get_ifindex(link), &u->host6);
        return r < 0 ? failed(u->inner.s, r, u->error) : hide_inside(u, "ip6");
}

/* ------------------------------------------------------------------ outside */

static int read_knob(const char *path, char *value)
{
        AK_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, value, 1);

        return n == 1 ? 0 : n == 0 ? -EIO : -errno;
}

static int write_knob(const char *path, char value)
{
        AK_AUTOCLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && write(fd, &value, 1) == 1 ? 0 : -errno;
}

/*
 * A kernel that forwards IPv6 takes no router advertisements where accept_ra is 1, and forgets the routes
 * that it has from them: the host would lose its own way out. 2 means: also when forwarding.
 */
static void keep_advertised_routes(void)
{
        DIR *d = opendir(CONF6);
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                char path[sizeof(CONF6) + sizeof(entry->d_name) + 16], value = '0';

                snprintf(path, sizeof(path), CONF6 "/%s/accept_ra", entry->d_name);
                if (entry->d_name[0] != '.' && read_knob(path, &value) == 0 && value == '1')
                        (void)write_knob(path, '2');
        }
        if (d)
                closedir(d);
}

static int let_the_host_forward(bool six)
{
        const char *path = six ? CONF6 "/all/forwarding" : "/proc/sys/net/ipv4/ip_forward";
        char value = '0';
        int r = read_knob(path, &value);

        if (r < 0 || value != '0')
                return r;
        if (six)
                keep_advertised_routes();
        r = write_knob(path, '1');
        if (r == 0)
                ak_log(AK_LOG_WARN, six ? "ipv6_forwarding_turned_on" : "ip_forward_turned_on", "why",
                       "a VPC with sourceNAT", NULL);
        return r;
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
                r = let_the_host_forward(false);
        if (r < 0)
                return failed(u->outer.s, r, u->error);
        r = host_rules(node, false, u->error);
        if (r == 0)
                r = netns_run(ns_fd, configure_inside, u);
        /* The label comes last: a pair without is one that a crash left half made. */
        if (r == 0 && (r = rtnl_apply(sock, link,
                                      &(struct rtnl_wish){.alias = label, .up = true, .no_ipv6 = true})) < 0)
                return failed(u->outer.s, r, u->error);
        return r;
}

/* Twice: nothing new. */
static int add_ipv6(struct nl_sock *sock, int ns_fd, const char *node, struct uplink *u)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, u->outer.s, &link);

        if (r == 0)
                r = rtnl_enable_ipv6(u->outer.s);
        if (r == 0)
                r = rtnl_add_address(sock, rtnl_link_get_ifindex(link), &u->host6);
        if (r == 0)
                r = let_the_host_forward(true);
        if (r < 0)
                return failed(u->outer.s, r, u->error);
        r = host_rules(node, true, u->error);
        return r == 0 ? netns_run(ns_fd, configure_inside6, u) : r;
}

static struct uplink uplink_of(const char *vpc_id, struct net_error *error)
{
        struct uplink u = {
            .outer = net_uplink_name(vpc_id), .inner = net_uplink_inner_name(vpc_id), .error = error};

        make_net6(vpc_id, &u);
        return u;
}

static int ensure_pair(struct nl_sock *sock, int ns_fd, const char *node, const char *vpc_id,
                       struct uplink *u)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, u->outer.s, &link);

        if (r == 0 && owns(link, node, vpc_id))
                return host_rules(node, false, u->error);
        if (r == 0 && rtnl_link_get_ifalias(link)) {
                net_error_set(u->error, "NameTaken",
                              "the link %s of this host is not ours; remove or rename it", u->outer.s);
                return -EEXIST;
        }
        if (r == 0)
                r = rtnl_delete(sock, u->outer.s);
        if (r < 0 && r != -ENODEV)
                return failed(u->outer.s, r, u->error);
        r = make_pair(sock, ns_fd, node, vpc_id, u);
        if (r < 0)
                (void)rtnl_delete(sock, u->outer.s);
        return r;
}

int uplink_ensure(struct nl_sock *sock, int ns_fd, const char *node, const char *vpc_id, bool ipv6,
                  struct net_error *error)
{
        struct uplink u = uplink_of(vpc_id, error);
        int r = ensure_pair(sock, ns_fd, node, vpc_id, &u);

        return r == 0 && ipv6 ? add_ipv6(sock, ns_fd, node, &u) : r;
}

int uplink_remove(struct nl_sock *sock, const char *node, const char *vpc_id, struct net_error *error)
{
        struct uplink u = uplink_of(vpc_id, error);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, u.outer.s, &link);

        if (r == 0 && owns(link, node, vpc_id))
                r = rtnl_delete(sock, u.outer.s);
        return r < 0 && r != -ENODEV ? failed(u.outer.s, r, error) : 0;
}
