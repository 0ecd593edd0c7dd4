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

/* ------------------------------------------------------------------ subnets without a port here */

/* NULL: the message says too little to make the subnet from. */
static struct net_port_spec *spec_of(const struct ak_subnet_peers *p, uint32_t mtu_limit)
{
        AK_AUTOFREE struct net_port_spec *s = calloc(1, sizeof(*s));

        if (!s || ak_cidr_parse(p->cidr, &s->cidr) < 0 || ak_cidr_nth(&s->cidr, 0, &s->cidr.addr) < 0 ||
            ak_ip_parse(p->gateway, &s->gateway) < 0 || p->vni == 0)
                return NULL;
        if (p->cidr6[0] != '\0' &&
            (ak_cidr_parse(p->cidr6, &s->cidr6) < 0 || ak_ip_parse(p->gateway6, &s->gateway6) < 0))
                return NULL;
        snprintf(s->key.subnet_id, sizeof(s->key.subnet_id), "%s", p->subnet_id);
        snprintf(s->vpc_id, sizeof(s->vpc_id), "%s", p->vpc_id);
        s->vni = (uint32_t)p->vni;
        s->source_nat = p->source_nat;
        s->mtu = p->mtu == 0 || p->mtu > mtu_limit ? mtu_limit : (uint32_t)p->mtu;
        return AK_STEAL(s);
}

static bool is_needed(const struct subnet *s)
{
        return s->transit && s->peers && s->peers[0] != '\0';
}

/* The subnet is entered. Nothing where it stands, is not needed, or its VPC has nothing here. */
static int ensure_transit(struct bridge *b, struct nl_sock *sock, struct subnet *s, struct net_error *error)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int ifindex, r = rtnl_get(sock, net_bridge_name(s->id).s, &link);

        if (r != -ENODEV || !is_needed(s))
                return r == -ENODEV ? 0 : r;
        AK_AUTOCLOSE int ns_fd = subnet_namespace(b, s);
        if (ns_fd < 0)
                return 0;
        r = subnet_ensure(b, sock, s, s->transit, &ifindex, error);
        /* The VPC's last port may have gone meanwhile. */
        return r == 0 ? subnet_drop_if_empty(b, sock, s, error) : r;
}

#define MAX_SUBNETS 256 /* of one VPC on one node */

static int each_subnet(struct bridge *b, struct nl_sock *sock, const char *vpc_id,
                       int (*fn)(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                                 struct net_error *error),
                       struct net_error *error)
{
        char(*ids)[AK_UUID_SIZE] = calloc(MAX_SUBNETS, sizeof(*ids));
        size_t count = ids ? subnet_list(b, vpc_id, ids, MAX_SUBNETS) : 0;
        int r = ids ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < count; i++) {
                struct subnet *s = subnet_enter(b, ids[i], vpc_id, NULL);

                r = s ? fn(b, sock, s, error) : -ENOMEM;
                if (s)
                        subnet_leave(b, s);
        }
        free(ids);
        return r;
}

int vxlan_ensure_transit(struct bridge *b, struct nl_sock *sock, const char *vpc_id, struct net_error *error)
{
        return b->vtep.family == 0 ? 0 : each_subnet(b, sock, vpc_id, ensure_transit, error);
}

int vxlan_drop_transit(struct bridge *b, struct nl_sock *sock, const char *vpc_id, struct net_error *error)
{
        return b->vtep.family == 0 ? 0 : each_subnet(b, sock, vpc_id, subnet_drop_if_empty, error);
}

/* ------------------------------------------------------------------ told */

int bridge_set_peers(struct vpc_backend *backend, const struct ak_subnet_peers *p, struct net_error *error)
{
        struct bridge *b = bridge_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        const char *text = p->peers ? p->peers : "";
        int r = peers_check(text, error);

        if (r < 0 || b->vtep.family == 0)
                return r;
        AK_AUTOFREE char *copy = strdup(text);
        r = copy ? rtnl_open(&sock) : -ENOMEM;
        struct subnet *s = r == 0 ? subnet_enter(b, p->subnet_id, p->vpc_id, NULL) : NULL;
        if (!s)
                return failed("peers", r < 0 ? r : -ENOMEM, error);
        free(s->peers);
        free(s->transit);
        s->peers = AK_STEAL(copy);
        s->transit = spec_of(p, b->mtu_limit);
        r = apply(b, sock, s, error);
        if (r == 0)
                r = is_needed(s) ? ensure_transit(b, sock, s, error)
                                 : subnet_drop_if_empty(b, sock, s, error);
        subnet_leave(b, s);
        return r;
}
