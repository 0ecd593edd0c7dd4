/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests that libnl has no call for (bridge attributes, the label in the same request as the rest) are
 * built from its attributes; the layouts are those of linux/if_link.h and linux/veth.h.
 */
#include "services/network/backends/rtnl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <netlink/msg.h>
#include <netlink/route/addr.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/vxlan.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/tbf.h>
#include <netlink/route/tc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

AK_DEFINE_CLEANUP(struct rtnl_addr *, rtnl_addr_put)
AK_DEFINE_CLEANUP(struct nl_addr *, nl_addr_put)
AK_DEFINE_CLEANUP(struct rtnl_qdisc *, rtnl_qdisc_put)

int rtnl_errno(int nl_error)
{
        switch (nl_error < 0 ? -nl_error : 0) {
        case 0:
                return 0;
        case NLE_NODEV:
        case NLE_OBJ_NOTFOUND:
                return -ENODEV;
        case NLE_EXIST:
                return -EEXIST;
        case NLE_NOMEM:
                return -ENOMEM;
        case NLE_PERM:
                return -EPERM;
        case NLE_NOACCESS:
                return -EACCES;
        case NLE_INVAL:
                return -EINVAL;
        case NLE_BUSY:
                return -EBUSY;
        case NLE_OPNOTSUPP:
                return -EOPNOTSUPP;
        case NLE_AGAIN:
                return -EAGAIN;
        case NLE_DUMP_INTR:
                return -EINTR;
        default:
                return -EIO;
        }
}

int rtnl_open(struct nl_sock **out)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = nl_socket_alloc();

        if (!sock)
                return -ENOMEM;
        int r = nl_connect(sock, NETLINK_ROUTE);
        if (r < 0)
                return rtnl_errno(r);
        *out = AK_STEAL(sock);
        return 0;
}

int rtnl_get(struct nl_sock *sock, const char *name, struct rtnl_link **out)
{
        return rtnl_errno(rtnl_link_get_kernel(sock, 0, name, out));
}

int rtnl_all(struct nl_sock *sock, struct nl_cache **out)
{
        int r;

        do /* a dump during which something changed is taken again */
                r = rtnl_link_alloc_cache(sock, AF_UNSPEC, out);
        while (r == -NLE_DUMP_INTR);
        return rtnl_errno(r);
}

bool rtnl_label(struct rtnl_link *link, struct net_label *out)
{
        const char *alias = rtnl_link_get_ifalias(link);

        return alias && net_label_parse(alias, out) == 0;
}

bool rtnl_is(struct rtnl_link *link, const char *kind)
{
        const char *type = rtnl_link_get_type(link);

        return type && strcmp(type, kind) == 0;
}

/* ------------------------------------------------------------------ requests */

static struct nl_msg *link_request(int flags, int ifindex, unsigned int ifflags, unsigned int change)
{
        struct ifinfomsg info = {.ifi_index = ifindex, .ifi_flags = ifflags, .ifi_change = change};
        struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, flags);

        if (msg && nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0) {
                nlmsg_free(msg);
                return NULL;
        }
        return msg;
}

/* Takes the message. */
static int send_sync(struct nl_sock *sock, struct nl_msg *msg)
{
        return rtnl_errno(nl_send_sync(sock, msg));
}

static int fill_bridge(struct nl_msg *msg, const char *name, uint32_t mtu)
{
        struct nlattr *info, *data;
        int r = 0;

        r |= nla_put_string(msg, IFLA_IFNAME, name);
        r |= nla_put_u32(msg, IFLA_MTU, mtu);
        info = nla_nest_start(msg, IFLA_LINKINFO);
        r |= nla_put_string(msg, IFLA_INFO_KIND, "bridge");
        data = nla_nest_start(msg, IFLA_INFO_DATA);
        r |= nla_put_u32(msg, IFLA_BR_STP_STATE, 0);
        r |= nla_put_u32(msg, IFLA_BR_FORWARD_DELAY, 0);
        r |= nla_put_u8(msg, IFLA_BR_MCAST_SNOOPING, 0); /* no querier here: flood */
        if (r != 0 || !info || !data)
                return -ENOMEM;
        nla_nest_end(msg, data);
        nla_nest_end(msg, info);
        return 0;
}

int rtnl_add_bridge(struct nl_sock *sock, const char *name, uint32_t mtu)
{
        struct nl_msg *msg = link_request(NLM_F_CREATE | NLM_F_EXCL, 0, 0, 0);

        if (!msg || fill_bridge(msg, name, mtu) < 0) {
                nlmsg_free(msg);
                return -ENOMEM;
        }
        return send_sync(sock, msg);
}

static int fill_veth(struct nl_msg *msg, const char *name, uint32_t mtu, const char *peer, int peer_ns_fd)
{
        struct nlattr *info, *data, *other;
        struct ifinfomsg empty = {0};
        int r = 0;

        r |= nla_put_string(msg, IFLA_IFNAME, name);
        r |= nla_put_u32(msg, IFLA_MTU, mtu);
        info = nla_nest_start(msg, IFLA_LINKINFO);
        r |= nla_put_string(msg, IFLA_INFO_KIND, "veth");
        data = nla_nest_start(msg, IFLA_INFO_DATA);
        other = nla_nest_start(msg, VETH_INFO_PEER);
        r |= nlmsg_append(msg, &empty, sizeof(empty), NLMSG_ALIGNTO);
        r |= nla_put_string(msg, IFLA_IFNAME, peer);
        r |= nla_put_u32(msg, IFLA_MTU, mtu);
        r |= nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)peer_ns_fd);
        if (r != 0 || !info || !data || !other)
                return -ENOMEM;
        nla_nest_end(msg, other);
        nla_nest_end(msg, data);
        nla_nest_end(msg, info);
        return 0;
}

int rtnl_add_veth(struct nl_sock *sock, const char *name, uint32_t mtu, const char *peer, int peer_ns_fd)
{
        struct nl_msg *msg = link_request(NLM_F_CREATE | NLM_F_EXCL, 0, 0, 0);

        if (!msg || fill_veth(msg, name, mtu, peer, peer_ns_fd) < 0) {
                nlmsg_free(msg);
                return -ENOMEM;
        }
        return send_sync(sock, msg);
}

#define VXLAN_PORT 4789 /* IANA */

int rtnl_add_vxlan(struct nl_sock *sock, const char *name, uint32_t vni, const struct ak_ip *local,
                   uint32_t mtu)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = rtnl_link_vxlan_alloc();
        bool six = local->family == 6;
        AK_CLEANUP(nl_addr_putp)
        struct nl_addr *from = nl_addr_build(six ? AF_INET6 : AF_INET, local->bytes, six ? 16 : 4);

        if (!link || !from)
                return -ENOMEM;
        rtnl_link_set_name(link, name);
        rtnl_link_set_mtu(link, mtu);
        rtnl_link_vxlan_set_id(link, vni);
        rtnl_link_vxlan_set_local(link, from);
        rtnl_link_vxlan_set_port(link, VXLAN_PORT);
        rtnl_link_vxlan_set_learning(link, 0);
        rtnl_link_vxlan_set_proxy(link, 1);
        return rtnl_errno(rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL));
}

int rtnl_quiet_port(struct nl_sock *sock, int ifindex)
{
        struct ifinfomsg info = {.ifi_family = AF_BRIDGE, .ifi_index = ifindex};
        struct nl_msg *msg = nlmsg_alloc_simple(RTM_SETLINK, 0);
        struct nlattr *port = NULL;

        if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
            !(port = nla_nest_start(msg, IFLA_PROTINFO | NLA_F_NESTED)) ||
            nla_put_u8(msg, IFLA_BRPORT_LEARNING, 0) < 0 ||
            nla_put_u8(msg, IFLA_BRPORT_UNICAST_FLOOD, 0) < 0) {
                nlmsg_free(msg);
                return -ENOMEM;
        }
        nla_nest_end(msg, port);
        return send_sync(sock, msg);
}

static int mtu_of_link(struct nl_sock *sock, int ifindex, uint32_t *out)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_errno(rtnl_link_get_kernel(sock, ifindex, NULL, &link));

        if (r == 0)
                *out = rtnl_link_get_mtu(link);
        return r;
}

int rtnl_mtu_of_address(struct nl_sock *sock, const struct ak_ip *ip, uint32_t *out)
{
        AK_CLEANUP(nl_cache_freep) struct nl_cache *cache = NULL;
        size_t len = ip->family == 6 ? 16 : 4;
        int r = rtnl_errno(rtnl_addr_alloc_cache(sock, &cache));

        if (r < 0)
                return r;
        for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
                struct rtnl_addr *addr = (struct rtnl_addr *)o;
                struct nl_addr *local = rtnl_addr_get_local(addr);

                if (local && nl_addr_get_len(local) == len &&
                    memcmp(nl_addr_get_binary_addr(local), ip->bytes, len) == 0)
                        return mtu_of_link(sock, rtnl_addr_get_ifindex(addr), out);
        }
        return -EADDRNOTAVAIL;
}

int rtnl_add_tap(const char *name)
{
        struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL};
        AK_AUTOCLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
        /* IFF_TUN_EXCL: -EBUSY where there is one of the name */
        if (ioctl(fd, TUNSETIFF, &request) < 0)
                return errno == EBUSY ? -EEXIST : -errno;
        return ioctl(fd, TUNSETPERSIST, 1) < 0 ? -errno : 0;
}

/* Whether the wish's alias differs from the link's. */
static bool alias_differs(struct rtnl_link *now, const char *alias)
{
        const char *has = rtnl_link_get_ifalias(now);

        return alias && (!has || strcmp(has, alias) != 0);
}

static bool ipv6_differs(struct rtnl_link *now)
{
        uint8_t mode;

        return rtnl_link_inet6_get_addr_gen_mode(now, &mode) == 0 && mode != IN6_ADDR_GEN_MODE_NONE;
}

static int fill_no_ipv6(struct nl_msg *msg)
{
        struct nlattr *spec = nla_nest_start(msg, IFLA_AF_SPEC);
        struct nlattr *inet6 = spec ? nla_nest_start(msg, AF_INET6) : NULL;

        if (!inet6 || nla_put_u8(msg, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE) < 0)
                return -ENOMEM;
        nla_nest_end(msg, inet6);
        nla_nest_end(msg, spec);
        return 0;
}

int rtnl_apply(struct nl_sock *sock, struct rtnl_link *now, const struct rtnl_wish *wish)
{
        bool up = wish->up && !(rtnl_link_get_flags(now) & IFF_UP);
        struct nl_msg *msg = link_request(0, rtnl_link_get_ifindex(now), up ? IFF_UP : 0, up ? IFF_UP : 0);
        bool changes = up;
        int r = 0;

        if (!msg)
                return -ENOMEM;
        if (alias_differs(now, wish->alias)) {
                r |= nla_put_string(msg, IFLA_IFALIAS, wish->alias);
                changes = true;
        }
        if (wish->mtu != 0 && wish->mtu != rtnl_link_get_mtu(now)) {
                r |= nla_put_u32(msg, IFLA_MTU, wish->mtu);
                changes = true;
        }
        if (wish->master != 0 && wish->master != rtnl_link_get_master(now)) {
                r |= nla_put_u32(msg, IFLA_MASTER, (uint32_t)wish->master);
                changes = true;
        }
        if (wish->no_ipv6 && ipv6_differs(now)) {
                r |= fill_no_ipv6(msg);
                changes = true;
        }
        if (r != 0 || !changes) {
                nlmsg_free(msg);
                return r != 0 ? -ENOMEM : 0;
        }
        return send_sync(sock, msg);
}

int rtnl_delete(struct nl_sock *sock, const char *name)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = rtnl_link_alloc();

        if (!link)
                return -ENOMEM;
        rtnl_link_set_name(link, name);
        int r = rtnl_errno(rtnl_link_delete(sock, link));
        return r == -ENODEV ? 0 : r;
}

/* ------------------------------------------------------------------ addresses */

static int new_addr(int ifindex, const struct ak_cidr *cidr, struct rtnl_addr **out)
{
        AK_CLEANUP(rtnl_addr_putp) struct rtnl_addr *addr = rtnl_addr_alloc();
        bool six = cidr->addr.family == 6;
        AK_CLEANUP(nl_addr_putp)
        struct nl_addr *local = nl_addr_build(six ? AF_INET6 : AF_INET, cidr->addr.bytes, six ? 16 : 4);

        if (!addr || !local)
                return -ENOMEM;
        nl_addr_set_prefixlen(local, cidr->prefix_len);
        rtnl_addr_set_ifindex(addr, ifindex);
        if (six)
                rtnl_addr_set_flags(addr, IFA_F_NODAD);
        int r = rtnl_addr_set_local(addr, local);
        if (r < 0)
                return rtnl_errno(r);
        *out = AK_STEAL(addr);
        return 0;
}

static bool is_other(struct nl_object *object, int ifindex, struct rtnl_addr *wanted)
{
        struct rtnl_addr *addr = (struct rtnl_addr *)object;
        struct nl_addr *a = rtnl_addr_get_local(addr), *b = rtnl_addr_get_local(wanted);

        return rtnl_addr_get_ifindex(addr) == ifindex && rtnl_addr_get_family(addr) == AF_INET &&
               (nl_addr_cmp(a, b) != 0 || nl_addr_get_prefixlen(a) != nl_addr_get_prefixlen(b));
}

int rtnl_set_ipv4(struct nl_sock *sock, int ifindex, const struct ak_cidr *cidr)
{
        AK_CLEANUP(rtnl_addr_putp) struct rtnl_addr *addr = NULL;
        AK_CLEANUP(nl_cache_freep) struct nl_cache *cache = NULL;
        int r = new_addr(ifindex, cidr, &addr);

        if (r < 0)
                return r;
        r = rtnl_errno(rtnl_addr_alloc_cache(sock, &cache));
        if (r < 0)
                return r;
        for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
                if (is_other(o, ifindex, addr))
                        (void)rtnl_addr_delete(sock, (struct rtnl_addr *)o, 0);
        r = rtnl_errno(rtnl_addr_add(sock, addr, 0));
        return r == -EEXIST ? 0 : r;
}

int rtnl_add_address(struct nl_sock *sock, int ifindex, const struct ak_cidr *cidr)
{
        AK_CLEANUP(rtnl_addr_putp) struct rtnl_addr *addr = NULL;
        int r = new_addr(ifindex, cidr, &addr);

        if (r == 0)
                r = rtnl_errno(rtnl_addr_add(sock, addr, 0));
        return r == -EEXIST ? 0 : r;
}

/* ------------------------------------------------------------------ rate */

#define RATE_LATENCY_US 50000
#define RATE_BURST_MIN  65536 /* one frame of segmentation offload */

static int root_qdisc(const struct rtnl_link *link, struct rtnl_qdisc **out)
{
        struct rtnl_qdisc *q = rtnl_qdisc_alloc();

        if (!q)
                return -ENOMEM;
        rtnl_tc_set_link(TC_CAST(q), (struct rtnl_link *)link);
        rtnl_tc_set_parent(TC_CAST(q), TC_H_ROOT);
        rtnl_tc_set_handle(TC_CAST(q), TC_HANDLE(1, 0));
        *out = q;
        return 0;
}

static int remove_rate(struct nl_sock *sock, struct rtnl_link *link)
{
        AK_CLEANUP(nl_cache_freep) struct nl_cache *cache = NULL;
        AK_CLEANUP(rtnl_qdisc_putp) struct rtnl_qdisc *q = NULL;
        int r = rtnl_errno(rtnl_qdisc_alloc_cache(sock, &cache));

        if (r < 0)
                return r;
        q = rtnl_qdisc_get_by_parent(cache, rtnl_link_get_ifindex(link), TC_H_ROOT);
        const char *kind = q ? rtnl_tc_get_kind(TC_CAST(q)) : NULL;
        return kind && strcmp(kind, "tbf") == 0 ? rtnl_errno(rtnl_qdisc_delete(sock, q)) : 0;
}

int rtnl_set_rate(struct nl_sock *sock, struct rtnl_link *link, uint32_t kbps)
{
        AK_CLEANUP(rtnl_qdisc_putp) struct rtnl_qdisc *q = NULL;
        uint64_t bytes = (uint64_t)kbps * 125, burst = bytes / 50;
        int r = 0;

        if (kbps == 0)
                return remove_rate(sock, link);
        if (bytes > INT32_MAX)
                bytes = INT32_MAX; /* what libnl takes: 17 Gbit/s */
        r = root_qdisc(link, &q);
        if (r < 0)
                return r;
        if (rtnl_tc_set_kind(TC_CAST(q), "tbf") < 0)
                return -EOPNOTSUPP;
        if (burst < RATE_BURST_MIN)
                burst = RATE_BURST_MIN;
        rtnl_qdisc_tbf_set_rate(q, (int)bytes, (int)burst, 0);
        r = rtnl_qdisc_tbf_set_limit_by_latency(q, RATE_LATENCY_US);
        if (r == 0)
                r = rtnl_qdisc_add(sock, q, NLM_F_CREATE | NLM_F_REPLACE);
        return rtnl_errno(r);
}

/* ------------------------------------------------------------------ knobs */

int rtnl_tx_checksum_off(const char *name)
{
        struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM, .data = 0};
        struct ifreq request = {.ifr_data = (void *)&value};
        AK_AUTOCLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
        return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static int set_ipv6_off(const char *name, const char *value)
{
        char path[96];

        snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
        AK_AUTOCLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) /* read-only /proc/sys (a container): no_ipv6 of rtnl_apply() must do */
                return errno == ENOENT || errno == EROFS || errno == EACCES ? 0 : -errno;
        return write(fd, value, 1) == 1 ? 0 : -errno;
}

int rtnl_disable_ipv6(const char *name)
{
        return set_ipv6_off(name, "1");
}

int rtnl_enable_ipv6(const char *name)
{
        return set_ipv6_off(name, "0");
}
