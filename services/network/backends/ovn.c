/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OVN backend: VPC -> logical router, subnet -> logical switch with DHCP options, port -> logical switch
 * port with port security, security rules -> a port group of the port and its ACLs. The tap joins br-int with
 * its iface-id, and a port is ready when OVN says that it is up.
 *
 * Two OVSDB connections: the northbound database, which all nodes share, and the Open vSwitch of this node.
 * All transactions may be run twice. What several nodes may make at once (router, switch) is made under a
 * "wait" that it is absent; who comes second finds it.
 *
 * The tap is the anchor, as in the bridge backend: its label says whose it is. Not here: source NAT.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/network/backends/ovn_internal.h"

#define UP_TIMEOUT_MS       10000
#define VSWITCHD_TIMEOUT_MS 5000
#define GENEVE_OVERHEAD     58 /* IPv4 20, UDP 8, Geneve 8 + 8 of options, inner Ethernet 14 */

static int failed(const char *what, int r, struct net_error *error)
{
        net_error_set(error, "LinkFailed", "%s: %s", what, strerror(-r));
        return r;
}

/* ------------------------------------------------------------------ tap */

static bool is_tap_of(const struct ovn *o, struct rtnl_link *link, const struct net_port_key *key)
{
        const char *alias = rtnl_link_get_ifalias(link);
        struct net_label l;

        if (!rtnl_is(link, "tun"))
                return false;
        if (!alias || alias[0] == '\0')
                return true; /* a crash left it before it got its label */
        return rtnl_label(link, &l) && l.kind == NET_LABEL_PORT && strcmp(l.node, o->node) == 0 &&
               strcmp(l.port_id, key->port_id) == 0 && strcmp(l.pod_uid, key->pod_uid) == 0;
}

static int ensure_tap(struct ovn *o, struct nl_sock *sock, const struct net_port_spec *spec, bool *made,
                      struct rtnl_link **out, struct net_error *error)
{
        struct net_name name = net_tap_name(spec->key.port_id);
        char label[NET_LABEL_SIZE];
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, name.s, &link);

        if (r == -ENODEV) {
                r = rtnl_add_tap(name.s);
                *made = r == 0;
                if (r == 0)
                        r = rtnl_get(sock, name.s, &link);
        }
        if (r < 0)
                return failed(name.s, r, error);
        if (!is_tap_of(o, link, &spec->key)) {
                net_error_set(error, "NameTaken", "the link %s of this host is not this port's", name.s);
                return -EEXIST;
        }
        net_port_label(o->node, &spec->key, label);
        r = rtnl_disable_ipv6(name.s);
        if (r == 0)
                r = rtnl_apply(sock, link,
                               &(struct rtnl_wish){.alias = label, .mtu = spec->mtu, .no_ipv6 = true});
        if (r == 0)
                r = rtnl_set_rate(sock, link, spec->ingress_kbps);
        if (r < 0)
                return failed(name.s, r, error);
        *out = AK_STEAL(link);
        return 0;
}

/* ------------------------------------------------------------------ the node's Open vSwitch */

/* All but the name, which is fixed. */
static json_t *interface_row(const struct ovn *o, const struct net_port_spec *spec)
{
        const char *const ids[] = {"iface-id", spec->key.port_id, "attached-mac", spec->mac, NULL};

        return json_pack("{s:o, s:i}", "external_ids", ovsdb_map(ids), "ingress_policing_rate",
                         o->filter ? 0 : (int)spec->egress_kbps); /* the filter's */
}

static json_t *new_interface(const struct ovn *o, const struct net_port_spec *spec, const char *device)
{
        json_t *row = interface_row(o, spec);

        (void)json_object_set_new(row, "name", json_string(device));
        return row;
}

/* The UUID of the row so named, or -ENOENT. */
static int find_uuid(struct ovsdb *db, const char *table, const char *name, char out[AK_UUID_SIZE],
                     struct net_error *error)
{
        static const char *const columns[] = {"_uuid", NULL};
        json_auto_t *results = NULL;
        int r = ovsdb_transact(db, json_pack("[o]", ovsdb_select(table, ovsdb_where("name", name), columns)),
                               &results, error);

        if (r < 0)
                return r;
        const json_t *row = json_array_get(json_object_get(json_array_get(results, 0), "rows"), 0);
        const char *uuid = json_string_value(json_array_get(json_object_get(row, "_uuid"), 1));
        if (!uuid)
                return -ENOENT;
        snprintf(out, AK_UUID_SIZE, "%s", uuid);
        return 0;
}

static int join_bridge(struct ovn *o, const struct net_port_spec *spec, const char *device,
                       struct net_error *error)
{
        char uuid[AK_UUID_SIZE];
        int r = find_uuid(o->ovs, "Port", device, uuid, error);

        if (r == 0)
                return ovsdb_transact(o->ovs,
                                      json_pack("[o]", ovsdb_update("Interface", ovsdb_where("name", device),
                                                                    interface_row(o, spec))),
                                      NULL, error);
        if (r != -ENOENT)
                return r;
        json_t *port = json_pack("{s:s, s:o}", "name", device, "interfaces", ovsdb_named_uuid("i"));
        return ovsdb_transact(
            o->ovs,
            json_pack("[o, o, o, o]", ovsdb_assert_absent("Port", "name", device),
                      ovsdb_insert("Interface", "i", new_interface(o, spec, device)),
                      ovsdb_insert("Port", "p", port),
                      ovsdb_mutate("Bridge", ovsdb_where("name", OVN_BRIDGE), "ports", "insert",
                                   json_pack("[s, [o]]", "set", ovsdb_named_uuid("p")))),
            NULL, error);
}

/* Waits until ovs-vswitchd has done what the database said at next_cfg; ovs-vswitchd.conf.db(5). */
static int await_vswitchd(struct ovn *o, json_int_t next_cfg, struct net_error *error)
{
        int r =
            ovsdb_transact(o->ovs,
                           json_pack("[{s:s, s:i, s:s, s:[[s, s, I]], s:[s], s:s, s:[]}]", "op", "wait",
                                     "timeout", VSWITCHD_TIMEOUT_MS, "table", "Open_vSwitch", "where",
                                     "cur_cfg", "<", next_cfg, "columns", "cur_cfg", "until", "==", "rows"),
                           NULL, error);

        if (r == -EAGAIN)
                net_error_set(error, "OVSDBFailed",
                              "ovs-vswitchd has not let go of a port within %d ms; does it run?",
                              VSWITCHD_TIMEOUT_MS);
        return r == -EAGAIN ? -ETIMEDOUT : r;
}

/*
 * Returns when the datapath has let go of the device: a switch that sees a port go and one of the same name
 * come in one look keeps its socket on the device that was.
 */
static int leave_bridge(struct ovn *o, const char *device, struct net_error *error)
{
        static const char *const columns[] = {"next_cfg", NULL};
        json_auto_t *results = NULL;
        char uuid[AK_UUID_SIZE];
        int r = find_uuid(o->ovs, "Port", device, uuid, error);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = ovsdb_transact(
            o->ovs,
            json_pack("[o, o, o]",
                      ovsdb_mutate("Bridge", ovsdb_where("name", OVN_BRIDGE), "ports", "delete",
                                   json_pack("[s, s]", "uuid", uuid)),
                      ovsdb_mutate("Open_vSwitch", json_array(), "next_cfg", "+=", json_integer(1)),
                      ovsdb_select("Open_vSwitch", json_array(), columns)),
            &results, error);
        if (r < 0)
                return r;
        const json_t *row = json_array_get(json_object_get(json_array_get(results, 2), "rows"), 0);
        return await_vswitchd(o, json_integer_value(json_object_get(row, "next_cfg")), error);
}

/* ------------------------------------------------------------------ prepare, release */

/* In the order of the contract: the address ends before the device does. */
static int remove_port(struct ovn *o, struct nl_sock *sock, const struct net_port_key *key, bool has_tap,
                       struct net_error *error)
{
        struct net_name name = net_tap_name(key->port_id);
        int r = ovn_drop_port(o, key, error);

        if (r == 0)
                r = leave_bridge(o, name.s, error);
        if (r == 0)
                r = leave_bridge(o, net_wire_far_name(key->port_id).s, error);
        if (r == 0)
                r = ovn_unguard(o, sock, key->port_id, error);
        if (r < 0 || !has_tap)
                return r;
        r = rtnl_delete(sock, name.s);
        return r < 0 ? failed(name.s, r, error) : 0;
}

static int prepare_port(struct ovn *o, struct nl_sock *sock, const struct net_port_spec *spec, bool *made,
                        struct net_prepared *out, struct net_error *error)
{
        struct net_name name = net_tap_name(spec->key.port_id), device = {0};
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        bool fresh = false;
        int r = ensure_tap(o, sock, spec, made, &link, error);

        if (r == 0)
                r = ovn_ensure_subnet(o, spec, error);
        if (r == 0)
                r = ovn_ensure_port(o, spec, error);
        if (r == 0)
                r = ovn_guard(o, sock, spec, &device, &fresh, error);
        fresh |= *made && strcmp(device.s, name.s) == 0;
        if (r == 0 && strcmp(device.s, name.s) != 0)
                r = leave_bridge(o, name.s, error); /* it is its wire now */
        if (r == 0 && fresh)
                r = leave_bridge(o, device.s, error); /* of a link that was */
        if (r < 0)
                return r;
        /*
         * Before it joins: ovs-vswitchd makes an interface promiscuous by reading its flags and writing them
         * back (netdev-linux), which takes an "up" away that comes in between.
         */
        r = rtnl_apply(sock, link, &(struct rtnl_wish){.up = true});
        if (r < 0)
                return failed(name.s, r, error);
        r = join_bridge(o, spec, device.s, error);
        if (r < 0)
                return r;
        r = ovsdb_wait_true(o->nb, "Logical_Switch_Port", "name", spec->key.port_id, "up", UP_TIMEOUT_MS,
                            error);
        if (r < 0)
                return r;
        memcpy(out->ifname, name.s, sizeof(out->ifname));
        out->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
        out->mtu = spec->mtu;
        return 0;
}

static int refuse(const struct net_port_spec *spec, struct net_error *error)
{
        if (!spec->source_nat)
                return 0;
        net_error_set(error, "SourceNATUnsupported",
                      "the ovn backend has no way out of a VPC; set the VPC's spec.sourceNAT to false");
        return -EOPNOTSUPP;
}

static int ovn_prepare(struct vpc_backend *backend, const struct net_port_spec *wished,
                       struct net_prepared *out, struct net_error *error)
{
        struct ovn *o = ovn_of(backend);
        AK_AUTOFREE struct net_port_spec *spec = malloc(sizeof(*spec));
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        uint64_t start_us = ak_clock_monotonic_us();
        struct net_prepared prepared = {0};
        struct net_error ignored;
        bool made = false;
        int r = spec ? rtnl_open(&sock) : -ENOMEM;

        if (r < 0)
                return failed("netlink", r, error);
        *spec = *wished;
        if (o->mtu_limit != 0 && spec->mtu > o->mtu_limit)
                spec->mtu = o->mtu_limit;
        r = refuse(spec, error);
        if (r == 0)
                r = prepare_port(o, sock, spec, &made, &prepared, error);
        if (r < 0 && made) {
                if (remove_port(o, sock, &spec->key, true, &ignored) < 0)
                        (void)rtnl_delete(sock, net_tap_name(spec->key.port_id).s);
                (void)ovn_drop_subnet_if_empty(o, spec->key.subnet_id, &ignored);
        }
        if (r < 0)
                return r;
        prepared.took_us = ak_clock_monotonic_us() - start_us;
        *out = prepared;
        return 0;
}

static int ovn_release(struct vpc_backend *backend, const struct net_port_key *key, struct net_error *error)
{
        struct ovn *o = ovn_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_get(sock, net_tap_name(key->port_id).s, &link);
        if (r < 0 && r != -ENODEV)
                return failed("tap", r, error);
        if (r == 0 && !is_tap_of(o, link, key))
                return 0; /* another pod's by now, or nobody of ours */
        r = remove_port(o, sock, key, r == 0, error);
        return r == 0 ? ovn_drop_subnet_if_empty(o, key->subnet_id, error) : r;
}

/* ------------------------------------------------------------------ inventory, sweep, teardown */

static void note_link(struct ovn *o, struct rtnl_link *link, struct vpc_inventory *out)
{
        struct net_label l;

        if (!rtnl_is(link, "tun") || !rtnl_label(link, &l) || l.kind != NET_LABEL_PORT ||
            strcmp(l.node, o->node) != 0)
                return;
        struct net_found_port *f = &out->ports[out->count++];
        memcpy(f->key.port_id, l.port_id, sizeof(l.port_id));
        memcpy(f->key.pod_uid, l.pod_uid, sizeof(l.pod_uid));
        memcpy(f->key.subnet_id, l.subnet_id, sizeof(l.subnet_id));
        snprintf(f->ifname, sizeof(f->ifname), "%s", rtnl_link_get_name(link));
        f->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
}

static int ovn_inventory(struct vpc_backend *backend, struct vpc_inventory *out, struct net_error *error)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
        struct vpc_inventory found = {0};
        int r = ovsdb_connect(ovn_of(backend)->nb, error);

        if (r < 0)
                return r;
        r = rtnl_open(&sock);
        if (r == 0)
                r = rtnl_all(sock, &links);
        if (r == 0 && !(found.ports = calloc((size_t)nl_cache_nitems(links) + 1, sizeof(*found.ports))))
                r = -ENOMEM;
        if (r != 0 || !found.ports)
                return failed("links of this host", r, error);
        for (struct nl_object *l = nl_cache_get_first(links); l; l = nl_cache_get_next(l))
                note_link(ovn_of(backend), (struct rtnl_link *)l, &found);
        *out = found;
        return 0;
}

static int ovn_set_peers(struct vpc_backend *b AK_UNUSED, const struct ak_subnet_peers *peers,
                         struct net_error *error)
{
        return peers_check(peers->peers ? peers->peers : "",
                           error); /* the databases know where every port is */
}

static int ovn_sweep(struct vpc_backend *backend, struct net_error *error)
{
        return ovn_drop_empty_subnets(ovn_of(backend), error);
}

static int ovn_teardown(struct vpc_backend *backend, struct net_error *error)
{
        struct ovn *o = ovn_of(backend);
        struct vpc_inventory all = {0};
        int r = ovn_inventory(backend, &all, error);

        for (size_t i = 0; r == 0 && i < all.count; i++)
                r = ovn_release(backend, &all.ports[i].key, error);
        free(all.ports);
        if (r == 0)
                r = ovn_drop_ports_of_node(o, error);
        if (r == 0 && o->filter)
                r = filter_teardown(o->filter, error);
        return r == 0 ? ovn_drop_empty_subnets(o, error) : r;
}

/* ------------------------------------------------------------------ life */

static void ovn_free(struct vpc_backend *backend)
{
        struct ovn *o = ovn_of(backend);

        ovsdb_free(o->nb);
        ovsdb_free(o->ovs);
        ovn_monitor_deinit(o);
        filter_free(o->filter);
        free(o->node);
        free(o);
}

static const struct vpc_backend_ops ovn_ops = {
    .name = "ovn",
    .inventory = ovn_inventory,
    .prepare = ovn_prepare,
    .release = ovn_release,
    .set_peers = ovn_set_peers,
    .sweep = ovn_sweep,
    .drops = ovn_drops,
    .teardown = ovn_teardown,
    .event_fd = ovn_event_fd,
    .next_event = ovn_next_event,
    .free = ovn_free,
};

/* What fits into Geneve on the link that has the address. */
static int limit_mtu(struct ovn *o, const char *encap_ip, struct net_error *error)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        struct ak_ip ip;
        uint32_t mtu = 0;

        if (!encap_ip || encap_ip[0] == '\0')
                return 0;
        int r = ak_ip_parse(encap_ip, &ip);
        if (r == 0)
                r = rtnl_open(&sock);
        if (r == 0)
                r = rtnl_mtu_of_address(sock, &ip, &mtu);
        if (r < 0 || mtu < NET_MTU_MIN + GENEVE_OVERHEAD) {
                net_error_set(error, "InvalidOptions", "vtep \"%.60s\": must be an address of this host",
                              encap_ip);
                return -EINVAL;
        }
        o->mtu_limit = mtu - GENEVE_OVERHEAD;
        return 0;
}

static int fill(struct ovn *o, const struct ovn_options *options, struct net_error *error)
{
        o->lease_seconds = options->lease_seconds;
        o->node = strdup(options->node);
        int r = o->node ? ovsdb_new(&o->nb, options->nb, "OVN_Northbound") : -ENOMEM;
        if (r == 0)
                r = ovsdb_new(&o->ovs, options->ovs, "Open_vSwitch");
        if (r < 0) {
                net_error_set(error, "InvalidOptions",
                              "ovn-nb and ovs-db must be unix:PATH or tcp:ADDRESS:PORT: %s", strerror(-r));
                return r;
        }
        r = options->anti_spoofing ? filter_new_ingress(&o->filter, o->node) : 0;
        if (r < 0)
                return failed("filter", r, error);
        r = ovn_monitor_init(o);
        return r < 0 ? failed("kernel events", r, error) : limit_mtu(o, options->encap_ip, error);
}

int vpc_ovn_new(struct vpc_backend **out, const struct ovn_options *options, struct net_error *error)
{
        struct ovn *o = NULL;

        if (!net_node_valid(options->node)) {
                net_error_set(error, "InvalidOptions",
                              "node-name must be a DNS-1123 name of at most %d bytes", NET_NODE_MAX);
                return -EINVAL;
        }
        o = calloc(1, sizeof(*o));
        if (!o)
                return failed("backend", -ENOMEM, error);
        o->base.ops = &ovn_ops;
        o->monitor.epoll_fd = o->monitor.wake_fd = -1;
        pthread_mutex_init(&o->monitor.lock, NULL);
        int r = fill(o, options, error);
        if (r < 0) {
                ovn_free(&o->base);
                return r;
        }
        *out = &o->base;
        return 0;
}
