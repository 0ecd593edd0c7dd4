/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subnet across nodes: one VXLAN link per subnet in its bridge, told by the watcher which ports are where
 * (peers.h). It learns nothing and floods nothing, so a frame reaches only the node that has its port, and
 * a node that is gone leaves entries only until the watcher says what is there now.
 */
#include <errno.h>
#include <netlink/route/link/vxlan.h>
#include <stdio.h>
#include <string.h>

#include "services/network/backends/bridge_internal.h"
#include "services/network/backends/peers.h"

#define OVERHEAD_4 50 /* outer Ethernet excluded: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 */
#define OVERHEAD_6 70

static int failed(const char *name, int r, struct net_error *error)
{
        net_error_set(error, "VXLANFailed", "%s: %s", name, strerror(-r));
        return r;
}

int vxlan_init(struct bridge *b, const char *vtep, struct net_error *error)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        uint32_t mtu = 0;

        if (!vtep || vtep[0] == '\0')
                return 0;
        int r = ak_ip_parse(vtep, &b->vtep);
        if (r == 0)
                r = rtnl_open(&sock);
        if (r == 0)
                r = rtnl_mtu_of_address(sock, &b->vtep, &mtu);
        if (r < 0) {
                net_error_set(error, "InvalidOptions", "vtep \"%.60s\": must be an address of this host: %s",
                              vtep, strerror(-r));
                return r == -EADDRNOTAVAIL ? -EINVAL : r;
        }
        uint32_t overhead = b->vtep.family == 6 ? OVERHEAD_6 : OVERHEAD_4;
        if (mtu < NET_MTU_MIN + overhead) {
                net_error_set(error, "InvalidOptions", "vtep \"%.60s\": its link's MTU of %u is too small",
                              vtep, mtu);
                return -EINVAL;
        }
        b->mtu_limit = mtu - overhead;
        return 0;
}

static bool ours_or_bare(const struct bridge *b, struct rtnl_link *link, const char *subnet_id)
{
        const char *alias = rtnl_link_get_ifalias(link);
        struct net_label l;

        if (!rtnl_is(link, "vxlan"))
                return false;
        return !alias || alias[0] == '\0' ||
               (bridge_owns(b, link, NET_LABEL_SUBNET, &l) && strcmp(l.subnet_id, subnet_id) == 0);
}

/* The link as it should be, made anew where its VNI is another. */
static int find_or_add(struct bridge *b, struct nl_sock *sock, const struct subnet *s, uint32_t vni,
                       struct rtnl_link **out, struct net_error *error)
{
        struct net_name name = net_vxlan_name(s->id);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        uint32_t id = 0;
        int r = rtnl_get(sock, name.s, &link);

        if (r == 0 && !ours_or_bare(b, link, s->id)) {
                net_error_set(error, "NameTaken", "the link %s of this host is not ours; remove or rename it",
                              name.s);
                return -EEXIST;
        }
        if (r == 0 && (rtnl_link_vxlan_get_id(link, &id) < 0 || id != vni)) {
                r = rtnl_delete(sock, name.s);
                rtnl_link_put(link);
                link = NULL;
                r = r == 0 ? -ENODEV : r;
        }
        if (r == -ENODEV) {
                r = rtnl_add_vxlan(sock, name.s, vni, &b->vtep, b->mtu_limit);
                if (r == 0)
                        r = rtnl_get(sock, name.s, &link);
        }
        if (r < 0)
                return failed(name.s, r, error);
        *out = AK_STEAL(link);
        return 0;
}

int vxlan_ensure(struct bridge *b, struct nl_sock *sock, const struct subnet *s,
                 const struct net_port_spec *spec, int bridge, const char *label, struct net_error *error)
{
        struct net_name name = net_vxlan_name(s->id);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;

        if (b->vtep.family == 0 || spec->vni == 0)
                return 0;
        int r = find_or_add(b, sock, s, spec->vni, &link, error);
        if (r < 0)
                return r;
        r = rtnl_disable_ipv6(name.s);
        if (r == 0)
                r = rtnl_apply(sock, link,
                               &(struct rtnl_wish){.alias = label, .master = bridge, .no_ipv6 = true});
        if (r == 0)
                r = rtnl_quiet_port(sock, rtnl_link_get_ifindex(link));
        if (r == 0)
                r = rtnl_apply(sock, link, &(struct rtnl_wish){.up = true});
        if (r < 0)
                return failed(name.s, r, error);
        return s->peers ? peers_apply(sock, rtnl_link_get_ifindex(link), s->peers, error) : 0;
}

bool vxlan_is_right(struct bridge *b, struct nl_sock *sock, const char *subnet_id, int bridge)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;

        return b->vtep.family == 0 || (rtnl_get(sock, net_vxlan_name(subnet_id).s, &link) == 0 &&
                                       rtnl_link_get_master(link) == bridge);
}

static int apply(struct bridge *b, struct nl_sock *sock, const struct subnet *s, struct net_error *error)
{
        struct net_name name = net_vxlan_name(s->id);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, name.s, &link);

        if (r == -ENODEV)
                return 0; /* the subnet is not here; applied when it is made */
        if (r < 0)
                return failed(name.s, r, error);
        return ours_or_bare(b, link, s->id) ? peers_apply(sock, rtnl_link_get_ifindex(link), s->peers, error)
                                            : 0;
}

int bridge_set_peers(struct vpc_backend *backend, const char *subnet_id, const char *vpc_id,
                     const char *peers, struct net_error *error)
{
        struct bridge *b = bridge_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        int r = peers_check(peers, error);

        if (r < 0 || b->vtep.family == 0)
                return r;
        AK_AUTOFREE char *copy = strdup(peers);
        r = copy ? rtnl_open(&sock) : -ENOMEM;
        struct subnet *s = r == 0 ? subnet_enter(b, subnet_id, vpc_id, NULL) : NULL;
        if (!s)
                return failed("peers", r < 0 ? r : -ENOMEM, error);
        free(s->peers);
        s->peers = AK_STEAL(copy);
        r = apply(b, sock, s, error);
        subnet_leave(b, s);
        return r;
}
