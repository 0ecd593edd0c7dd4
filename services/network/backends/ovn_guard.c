/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM may send, looked at and counted at its tap, before OVN sees it: the rules of the bridge backend,
 * in a table of the netdev family (filter.h). OVN's port security and ACLs stay; they drop what it lets pass
 * of another node's guests, count nothing, and let a router advertisement through (ovn_nb.c).
 *
 * The kernel's datapath takes frames from a tap after its ingress hook, so the tap itself is in br-int. The
 * userspace datapath reads with a packet socket, which sees them before: there the tap is one end of a wire,
 * a veth pair whose far end is in br-int, and the hooks carry across it what passed. Either way the host's
 * own stack gets nothing of a wire.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "services/network/backends/ovn_internal.h"

static int failed(const char *what, int r, struct net_error *error)
{
        net_error_set(error, "LinkFailed", "%s: %s", what, strerror(-r));
        return r;
}

/* Whether br-int has the userspace datapath; ovs-vswitchd.conf.db(5), Bridge. */
static int is_userspace(struct ovn *o, bool *out, struct net_error *error)
{
        static const char *const columns[] = {"datapath_type", NULL};
        json_auto_t *results = NULL;
        int r = ovsdb_transact(
            o->ovs, json_pack("[o]", ovsdb_select("Bridge", ovsdb_where("name", OVN_BRIDGE), columns)),
            &results, error);
        const json_t *row = json_array_get(json_object_get(json_array_get(results, 0), "rows"), 0);
        const char *type = json_string_value(json_object_get(row, "datapath_type"));

        if (r == 0)
                *out = type && strcmp(type, "netdev") == 0;
        return r;
}

/* ------------------------------------------------------------------ wire */

struct wire {
        struct net_name near, far;
};

static struct wire wire_of(const char *port_id)
{
        return (struct wire){net_wire_name(port_id), net_wire_far_name(port_id)};
}

static bool is_ours(const struct ovn *o, struct rtnl_link *link, const char *port_id)
{
        const char *alias = rtnl_link_get_ifalias(link);
        struct net_label l;

        if (!rtnl_is(link, "veth"))
                return false;
        if (!alias || alias[0] == '\0')
                return true; /* a crash left it before it got its label */
        return rtnl_label(link, &l) && l.kind == NET_LABEL_PORT && strcmp(l.node, o->node) == 0 &&
               strcmp(l.port_id, port_id) == 0;
}

/* Up, without an address of its own; checksums are finished and segments cut before a packet socket reads
 * them. */
static int ready_end(struct nl_sock *sock, const char *name, uint32_t mtu, const char *label)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, name, &link);

        if (r == 0)
                r = rtnl_disable_ipv6(name);
        if (r == 0)
                r = rtnl_tx_checksum_off(name);
        return r == 0
                   ? rtnl_apply(sock, link,
                                &(struct rtnl_wish){.alias = label, .mtu = mtu, .up = true, .no_ipv6 = true})
                   : r;
}

static int add_wire(struct nl_sock *sock, const struct wire *w, uint32_t mtu)
{
        AK_AUTOCLOSE int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

        return own < 0 ? -errno : rtnl_add_veth(sock, w->near.s, mtu, w->far.s, own);
}

static int ensure_wire(struct ovn *o, struct nl_sock *sock, const struct net_port_spec *spec,
                       const struct wire *w, bool *fresh, struct net_error *error)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        char label[NET_LABEL_SIZE];
        int r = rtnl_get(sock, w->near.s, &link);

        if (r == 0 && !is_ours(o, link, spec->key.port_id)) {
                net_error_set(error, "NameTaken", "the link %s of this host is not this port's", w->near.s);
                return -EEXIST;
        }
        if (r == -ENODEV) {
                r = add_wire(sock, w, spec->mtu);
                *fresh = r == 0;
        }
        net_port_label(o->node, &spec->key, label);
        if (r == 0)
                r = ready_end(sock, w->far.s, spec->mtu, NULL);
        if (r == 0)
                r = ready_end(sock, w->near.s, spec->mtu, label);
        return r < 0 ? failed(w->near.s, r, error) : 0;
}

/* ------------------------------------------------------------------ guard */

int ovn_guard(struct ovn *o, struct nl_sock *sock, const struct net_port_spec *spec, struct net_name *device,
              bool *fresh, struct net_error *error)
{
        struct net_name tap = net_tap_name(spec->key.port_id);
        struct wire w = wire_of(spec->key.port_id);
        bool wired = false;
        int r = o->filter ? is_userspace(o, &wired, error) : 0;

        *device = wired ? w.far : tap;
        if (r < 0 || !o->filter)
                return r;
        atomic_store(&o->wired, wired);
        if (wired)
                r = ensure_wire(o, sock, spec, &w, fresh, error);
        return r == 0 ? filter_set_wired_port(o->filter, tap.s, wired ? w.near.s : NULL,
                                              wired ? w.far.s : NULL, spec, error)
                      : r;
}

int ovn_unguard(struct ovn *o, struct nl_sock *sock, const char *port_id, struct net_error *error)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        struct wire w = wire_of(port_id);
        int r = o->filter ? filter_clear_port(o->filter, net_tap_name(port_id).s, error) : 0;

        if (r < 0)
                return r;
        r = rtnl_get(sock, w.near.s, &link);
        if (r == 0 && is_ours(o, link, port_id))
                r = rtnl_delete(sock, w.near.s);
        if (r < 0 && r != -ENODEV)
                return failed(w.near.s, r, error);
        return o->filter ? filter_teardown_if_empty(o->filter, error) : 0;
}

int ovn_drops(struct vpc_backend *backend, bool by_port, vpc_drops_fn *fn, void *arg, struct net_error *error)
{
        return filter_drops(ovn_of(backend)->filter, by_port, fn, arg, error);
}
