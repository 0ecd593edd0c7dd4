/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge backend: ports. Subnets are in bridge_subnet.c, what happens behind our back in
 * bridge_monitor.c.
 *
 * A port is a persistent tap, and the tap is its anchor: it is made first and removed last, so that whatever
 * else there is of a port (filters, DHCP entry) is found through it after a crash. It comes up only when its
 * filters stand.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/network/backends/bridge_internal.h"
#include "services/network/backends/brnf.h"
#include "services/network/backends/netns.h"
#include "services/network/backends/uplink.h"

static int failed(const char *what, int r, struct net_error *error)
{
        net_error_set(error, "LinkFailed", "%s: %s", what, strerror(-r));
        return r;
}

/* ------------------------------------------------------------------ prepare */

/* Whether an existing link may become, or is, the tap of this port. */
static bool is_tap_of(const struct bridge *b, struct rtnl_link *link, const struct net_port_spec *spec)
{
        const char *alias = rtnl_link_get_ifalias(link);
        struct net_label l;

        if (!rtnl_is(link, "tun"))
                return false;
        if (!alias || alias[0] == '\0')
                return true; /* a crash left it before it got its label */
        return bridge_owns(b, link, NET_LABEL_PORT, &l) && strcmp(l.port_id, spec->key.port_id) == 0 &&
               strcmp(l.pod_uid, spec->key.pod_uid) == 0;
}

static int ensure_tap(struct bridge *b, struct nl_sock *sock, const struct net_port_spec *spec, int master,
                      bool *made, struct rtnl_link **out, struct net_error *error)
{
        struct net_name name = net_tap_name(spec->key.port_id);
        char label[NET_LABEL_SIZE];
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, name.s, &link);

        if (r == -ENODEV) {
                r = rtnl_add_tap(name.s);
                if (r < 0) {
                        net_error_set(error, "TapFailed", "%s: %s; is /dev/net/tun there and writable?",
                                      name.s, strerror(-r));
                        return r;
                }
                *made = true;
                r = rtnl_get(sock, name.s, &link);
        }
        if (r < 0)
                return failed(name.s, r, error);
        if (!is_tap_of(b, link, spec)) {
                net_error_set(error, "NameTaken", "the link %s of this host is not this port's", name.s);
                return -EEXIST;
        }
        net_port_label(b->node, &spec->key, label);
        r = rtnl_disable_ipv6(name.s);
        if (r == 0)
                r = rtnl_apply(
                    sock, link,
                    &(struct rtnl_wish){.alias = label, .master = master, .mtu = spec->mtu, .no_ipv6 = true});
        if (r < 0)
                return failed(name.s, r, error);
        *out = AK_STEAL(link);
        return 0;
}

/* What may pass, and how much of it. */
static int ensure_limits(struct bridge *b, struct nl_sock *sock, struct rtnl_link *link,
                         const struct net_port_spec *spec, bool fresh, struct net_error *error)
{
        if (!b->filter && (spec->restricted || spec->egress_kbps > 0)) {
                net_error_set(error, "FiltersOff",
                              "the port has %s, which this node cannot enforce: it runs with "
                              "--anti-spoofing=false",
                              spec->restricted ? "security groups" : "a cap on what its VM sends");
                return -EOPNOTSUPP;
        }
        int r = b->filter ? filter_set_port(b->filter, rtnl_link_get_name(link), spec, error) : 0;
        if (r < 0 || (fresh && spec->ingress_kbps == 0))
                return r;
        r = rtnl_set_rate(sock, link, spec->ingress_kbps);
        if (r < 0)
                net_error_set(error, "BandwidthFailed", "token bucket on %s: %s", rtnl_link_get_name(link),
                              strerror(-r));
        return r;
}

static int ensure_dhcp_entry(struct bridge *b, struct subnet *s, const struct net_port_spec *spec,
                             struct net_error *error)
{
        AK_AUTOCLOSE int ns_fd = subnet_namespace(b, s);

        if (ns_fd < 0)
                return failed("network namespace of the VPC", ns_fd, error);
        return spec->dhcp ? dhcp_reserve(&b->dhcp, ns_fd, spec, &s->server, error)
                          : dhcp_withdraw(&b->dhcp, ns_fd, &spec->key, &s->server, error);
}

static int prepare_port(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                        const struct net_port_spec *spec, bool *made, struct net_prepared *out,
                        struct net_error *error)
{
        struct net_name name = net_tap_name(spec->key.port_id);
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int master;

        brnf_check(b->fix_nf_call);
        int r = subnet_ensure(b, sock, s, spec, &master, error);

        if (r == 0)
                r = ensure_tap(b, sock, spec, master, made, &link, error);
        if (r == 0)
                r = ensure_limits(b, sock, link, spec, *made, error);
        if (r == 0)
                r = ensure_dhcp_entry(b, s, spec, error);
        if (r < 0)
                return r;
        r = rtnl_apply(sock, link, &(struct rtnl_wish){.up = true});
        if (r < 0)
                return failed(name.s, r, error);
        memcpy(out->ifname, name.s, sizeof(out->ifname));
        out->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
        out->mtu = spec->mtu;
        return 0;
}

/* ------------------------------------------------------------------ release */

/* 1: the tap is ours and *label is its; 0: there is none of ours by this name. */
static int find_tap(struct bridge *b, struct nl_sock *sock, const char *port_id, struct net_label *label)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, net_tap_name(port_id).s, &link);

        if (r < 0)
                return r == -ENODEV ? 0 : r;
        return bridge_owns(b, link, NET_LABEL_PORT, label) && strcmp(label->port_id, port_id) == 0;
}

/* In the order of the contract: the address ends before the device does. */
static int remove_port(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                       const struct net_port_key *key, bool has_tap, struct net_error *error)
{
        struct net_name name = net_tap_name(key->port_id);
        AK_AUTOCLOSE int ns_fd = subnet_namespace(b, s);
        int r = b->filter ? filter_clear_port(b->filter, name.s, error) : 0;

        if (r == 0)
                r = dhcp_withdraw(&b->dhcp, ns_fd, key, &s->server, error);
        if (r < 0 || !has_tap)
                return r;
        r = rtnl_delete(sock, name.s);
        return r < 0 ? failed(name.s, r, error) : 0;
}

static int release_port(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                        const struct net_port_key *key, struct net_error *error)
{
        struct net_label label;
        int tap = find_tap(b, sock, key->port_id, &label);

        if (tap < 0)
                return failed("tap", tap, error);
        if (tap == 1 && strcmp(label.pod_uid, key->pod_uid) != 0)
                return 0; /* another pod's by now */
        int r = remove_port(b, sock, s, key, tap == 1, error);
        return r < 0 ? r : subnet_drop_if_empty(b, sock, s, error);
}

static int bridge_release(struct vpc_backend *backend, const struct net_port_key *key,
                          struct net_error *error)
{
        struct bridge *b = bridge_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        int r = rtnl_open(&sock);

        if (r < 0)
                return failed("netlink", r, error);
        struct subnet *s = subnet_enter(b, key->subnet_id, NULL, key->port_id);
        if (!s)
                return failed("subnet", -ENOMEM, error);
        char vpc_id[AK_UUID_SIZE];
        memcpy(vpc_id, s->vpc_id, sizeof(vpc_id));
        r = release_port(b, sock, s, key, error);
        subnet_leave(b, s);
        return r == 0 ? vxlan_drop_transit(b, sock, vpc_id, error) : r;
}

static int bridge_prepare(struct vpc_backend *backend, const struct net_port_spec *wished,
                          struct net_prepared *out, struct net_error *error)
{
        AK_AUTOFREE struct net_port_spec *spec = malloc(sizeof(*spec));
        struct bridge *b = bridge_of(backend);
        uint64_t start_us = ak_clock_monotonic_us();
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        struct net_prepared prepared = {0};
        struct net_error ignored;
        bool made = false;
        int r = spec ? rtnl_open(&sock) : -ENOMEM;

        if (r < 0)
                return failed("netlink", r, error);
        *spec = *wished;
        if (b->mtu_limit != 0 && spec->mtu > b->mtu_limit)
                spec->mtu = b->mtu_limit;
        struct subnet *s = subnet_enter(b, spec->key.subnet_id, spec->vpc_id, spec->key.port_id);
        if (!s)
                return failed("subnet", -ENOMEM, error);
        r = prepare_port(b, sock, s, spec, &made, &prepared, error);
        if (r < 0 && made)
                (void)remove_port(b, sock, s, &spec->key, true, &ignored);
        if (r < 0)
                (void)subnet_drop_if_empty(b, sock, s, &ignored);
        subnet_leave(b, s);
        if (r == 0)
                r = vxlan_ensure_transit(b, sock, spec->vpc_id, error);
        if (r < 0)
                return r;
        prepared.took_us = ak_clock_monotonic_us() - start_us;
        *out = prepared;
        return 0;
}

/* ------------------------------------------------------------------ inventory, sweep */

static int note_link(struct bridge *b, struct rtnl_link *link, struct vpc_inventory *out)
{
        struct net_label l;

        if (bridge_owns(b, link, NET_LABEL_SUBNET, &l) && rtnl_is(link, "bridge"))
                return subnet_adopt(b, l.subnet_id, l.vpc_id);
        if (!bridge_owns(b, link, NET_LABEL_PORT, &l) || !rtnl_is(link, "tun"))
                return 0;
        struct net_found_port *f = &out->ports[out->count++];
        memcpy(f->key.port_id, l.port_id, sizeof(l.port_id));
        memcpy(f->key.pod_uid, l.pod_uid, sizeof(l.pod_uid));
        memcpy(f->key.subnet_id, l.subnet_id, sizeof(l.subnet_id));
        snprintf(f->ifname, sizeof(f->ifname), "%s", rtnl_link_get_name(link));
        f->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
        return 0;
}

static int bridge_inventory(struct vpc_backend *backend, struct vpc_inventory *out, struct net_error *error)
{
        struct bridge *b = bridge_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
        struct vpc_inventory found = {0};
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_all(sock, &links);
        if (r < 0)
                return failed("links of this host", r, error);
        found.ports = calloc((size_t)nl_cache_nitems(links) + 1, sizeof(*found.ports));
        if (!found.ports)
                return failed("links of this host", -ENOMEM, error);
        for (struct nl_object *o = nl_cache_get_first(links); r == 0 && o; o = nl_cache_get_next(o))
                r = note_link(b, (struct rtnl_link *)o, &found);
        if (r < 0) {
                free(found.ports);
                return failed("links of this host", r, error);
        }
        *out = found;
        return 0;
}

static int sweep_subnet(struct bridge *b, struct nl_sock *sock, const char *id, const char *vpc_id,
                        struct net_error *error)
{
        struct subnet *s = subnet_enter(b, id, vpc_id, NULL);

        if (!s)
                return -ENOMEM;
        int r = subnet_drop_if_empty(b, sock, s, error);
        subnet_leave(b, s);
        return r;
}

struct file_sweep {
        struct bridge *bridge;
        struct nl_sock *sock;
};

/* Files of a subnet that has no bridge, reservations of a port that has no tap. */
static void sweep_file(void *arg, const char *subnet_id, const char *port_id)
{
        struct file_sweep *sweep = arg;
        struct bridge *b = sweep->bridge;
        struct net_port_key key = {0};
        struct net_error ignored;
        struct net_label label;
        struct subnet *s = subnet_enter(b, subnet_id, NULL, port_id);

        if (!s)
                return;
        if (!port_id) {
                if (s->vpc_id[0] == '\0') {
                        dhcp_forget(&b->dhcp, subnet_id);
                        s->gone = true;
                }
        } else if (find_tap(b, sweep->sock, port_id, &label) == 0) {
                AK_AUTOCLOSE int ns_fd = subnet_namespace(b, s);

                memcpy(key.port_id, port_id, sizeof(key.port_id));
                memcpy(key.subnet_id, subnet_id, sizeof(key.subnet_id));
                (void)dhcp_withdraw(&b->dhcp, ns_fd, &key, &s->server, &ignored);
        }
        subnet_leave(b, s);
}

static int bridge_sweep(struct vpc_backend *backend, struct net_error *error)
{
        struct bridge *b = bridge_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
        struct net_label l;
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_all(sock, &links);
        if (r < 0)
                return failed("links of this host", r, error);
        for (struct nl_object *o = nl_cache_get_first(links); r == 0 && o; o = nl_cache_get_next(o)) {
                struct rtnl_link *link = (struct rtnl_link *)o;

                if (bridge_owns(b, link, NET_LABEL_SUBNET, &l) && rtnl_is(link, "bridge"))
                        r = sweep_subnet(b, sock, l.subnet_id, l.vpc_id, error);
        }
        dhcp_each(&b->dhcp, sweep_file, &(struct file_sweep){b, sock});
        return r == 0 ? subnet_sweep_namespaces(b, sock, error) : r;
}

/* ------------------------------------------------------------------ drops */

static int bridge_drops(struct vpc_backend *backend, bool by_port, vpc_drops_fn *fn, void *arg,
                        struct net_error *error)
{
        return filter_drops(bridge_of(backend)->filter, by_port, fn, arg, error);
}

/* ------------------------------------------------------------------ teardown */

static void stop_servers(void *arg, const char *name, const char *vpc_id)
{
        AK_AUTOCLOSE int fd = netns_open(name);

        (void)arg;
        (void)vpc_id;
        if (fd >= 0)
                dhcp_stop_all(fd);
}

static void remove_name(void *arg, const char *name, const char *vpc_id)
{
        (void)arg;
        (void)vpc_id;
        (void)netns_remove(name);
}

/* Deletes the links of ours of one kind; *left counts those that would not go. */
static int delete_links(struct bridge *b, struct nl_sock *sock, const char *kind, size_t *left)
{
        AK_CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
        struct net_label l;
        int r = rtnl_all(sock, &links);

        if (r < 0)
                return r;
        for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
                struct rtnl_link *link = (struct rtnl_link *)o;

                if (rtnl_label(link, &l) && strcmp(l.node, b->node) == 0 && rtnl_is(link, kind))
                        *left += rtnl_delete(sock, rtnl_link_get_name(link)) < 0;
        }
        return 0;
}

static void count_one(void *arg, const char *name, const char *vpc_id)
{
        (void)name;
        (void)vpc_id;
        ++*(size_t *)arg;
}

static void forget_subnets(struct bridge *b)
{
        pthread_mutex_lock(&b->lock);
        while (b->subnet_count > 0) {
                struct subnet *s = b->subnets[--b->subnet_count];

                if (s->server.pidfd >= 0)
                        (void)close(s->server.pidfd);
                free(s->peers);
                free(s->transit);
                free(s);
        }
        pthread_mutex_unlock(&b->lock);
}

static int bridge_teardown(struct vpc_backend *backend, struct net_error *error)
{
        static const char *const kinds[] = {"tun", "vxlan", "veth", "bridge"};
        struct bridge *b = bridge_of(backend);
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        size_t left = 0;
        int r = rtnl_open(&sock);

        forget_subnets(b);
        subnet_each_namespace(b, stop_servers, NULL);
        for (size_t i = 0; r == 0 && i < AK_ARRAY_SIZE(kinds); i++)
                r = delete_links(b, sock, kinds[i], &left);
        if (r < 0)
                return failed("links of this host", r, error);
        subnet_each_namespace(b, remove_name, NULL);
        subnet_each_namespace(b, count_one, &left);
        dhcp_forget(&b->dhcp, NULL);
        if (b->filter && (r = filter_teardown(b->filter, error)) < 0)
                return r;
        if ((r = uplink_teardown(b->node, error)) < 0)
                return r;
        if (left > 0) {
                net_error_set(error, "TeardownIncomplete", "%zu links or namespaces of node %s would not go",
                              left, b->node);
                return -EBUSY;
        }
        return 0;
}

/* ------------------------------------------------------------------ life */

static void bridge_free(struct vpc_backend *backend)
{
        struct bridge *b = bridge_of(backend);

        monitor_deinit(b);
        forget_subnets(b);
        free(b->subnets);
        filter_free(b->filter);
        free(b->node);
        free(b->state_dir);
        free(b->dnsmasq_path);
        pthread_cond_destroy(&b->calm);
        pthread_mutex_destroy(&b->lock);
        pthread_mutex_destroy(&b->vpc_lock);
        free(b);
}

static const struct vpc_backend_ops bridge_ops = {
    .name = "bridge",
    .inventory = bridge_inventory,
    .prepare = bridge_prepare,
    .release = bridge_release,
    .set_peers = bridge_set_peers,
    .sweep = bridge_sweep,
    .drops = bridge_drops,
    .teardown = bridge_teardown,
    .event_fd = bridge_event_fd,
    .next_event = bridge_next_event,
    .free = bridge_free,
};

static int fill(struct bridge *b, const struct bridge_options *o)
{
        b->node = strdup(o->node);
        b->state_dir = strdup(o->state_dir);
        b->dnsmasq_path = strdup(o->dnsmasq_path);
        if (!b->node || !b->state_dir || !b->dnsmasq_path)
                return -ENOMEM;
        b->dhcp = (struct dhcp_options){b->state_dir, b->dnsmasq_path, o->lease_seconds};
        b->fix_nf_call = !o->keep_bridge_nf_call;
        int r = o->anti_spoofing ? filter_new(&b->filter, o->node) : 0;
        return r < 0 ? r : monitor_init(b);
}

int vpc_bridge_new(struct vpc_backend **out, const struct bridge_options *options, struct net_error *error)
{
        struct bridge *b = NULL;

        if (!net_node_valid(options->node) || options->state_dir[0] != '/' ||
            options->dnsmasq_path[0] != '/' || options->lease_seconds < DHCP_MIN_LEASE_S) {
                net_error_set(error, "InvalidOptions",
                              "node-name must be a DNS-1123 name of at most %d bytes, state-dir and "
                              "dnsmasq-path absolute paths, dhcp-lease at least %d s",
                              NET_NODE_MAX, DHCP_MIN_LEASE_S);
                return -EINVAL;
        }
        b = calloc(1, sizeof(*b));
        if (!b)
                return failed("backend", -ENOMEM, error);
        b->base.ops = &bridge_ops;
        b->monitor.epoll_fd = -1;
        pthread_mutex_init(&b->lock, NULL);
        pthread_mutex_init(&b->vpc_lock, NULL);
        pthread_cond_init(&b->calm, NULL);
        int r = vxlan_init(b, options->vtep, error);
        if (r < 0) {
                bridge_free(&b->base);
                return r;
        }
        r = fill(b, options);
        if (r < 0) {
                bridge_free(&b->base);
                return failed("kernel events", r, error);
        }
        *out = &b->base;
        return 0;
}
