/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subnet on a host: a bridge in the host's namespace, without an address of the host; a namespace per VPC
 * that holds, per subnet, one end of a veth pair with the gateway's address and a DHCP server on it. The
 * namespace routes between the subnets of its VPC and has no way out; two VPCs share nothing, so their
 * addresses may overlap.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "services/network/backends/bridge_internal.h"
#include "services/network/backends/netns.h"
#include "services/network/backends/uplink.h"

/* ------------------------------------------------------------------ table */

static struct subnet *find(const struct bridge *b, const char *id)
{
        for (size_t i = 0; i < b->subnet_count; i++)
                if (strcmp(b->subnets[i]->id, id) == 0)
                        return b->subnets[i];
        return NULL;
}

static struct subnet *add(struct bridge *b, const char *id)
{
        if (b->subnet_count == b->subnet_capacity) {
                size_t capacity = b->subnet_capacity ? b->subnet_capacity * 2 : 16;
                struct subnet **subnets = realloc(b->subnets, capacity * sizeof(*subnets));

                if (!subnets)
                        return NULL;
                b->subnets = subnets;
                b->subnet_capacity = capacity;
        }
        struct subnet *s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        snprintf(s->id, sizeof(s->id), "%s", id);
        s->server.pidfd = -1;
        b->subnets[b->subnet_count++] = s;
        return s;
}

static void discard(struct bridge *b, struct subnet *s)
{
        for (size_t i = 0; i < b->subnet_count; i++)
                if (b->subnets[i] == s)
                        b->subnets[i] = b->subnets[--b->subnet_count];
        free(s->peers);
        free(s->transit);
        free(s);
}

size_t subnet_list(struct bridge *b, const char *vpc_id, char (*ids)[AK_UUID_SIZE], size_t max)
{
        size_t count = 0;

        pthread_mutex_lock(&b->lock);
        for (size_t i = 0; i < b->subnet_count && count < max; i++)
                if (strcmp(b->subnets[i]->vpc_id, vpc_id) == 0)
                        memcpy(ids[count++], b->subnets[i]->id, AK_UUID_SIZE);
        pthread_mutex_unlock(&b->lock);
        return count;
}

struct subnet *subnet_enter(struct bridge *b, const char *id, const char *vpc_id, const char *port_id)
{
        struct subnet *s;

        pthread_mutex_lock(&b->lock);
        while ((s = find(b, id)) && s->busy)
                pthread_cond_wait(&b->calm, &b->lock);
        if (!s)
                s = add(b, id);
        if (s) {
                s->busy = true;
                s->gone = false;
                snprintf(s->busy_port, sizeof(s->busy_port), "%s", port_id ? port_id : "");
                if (vpc_id && s->vpc_id[0] == '\0')
                        snprintf(s->vpc_id, sizeof(s->vpc_id), "%s", vpc_id);
        }
        pthread_mutex_unlock(&b->lock);
        return s;
}

void subnet_leave(struct bridge *b, struct subnet *s)
{
        pthread_mutex_lock(&b->lock);
        s->busy = false;
        s->busy_port[0] = '\0';
        if (s->gone)
                discard(b, s);
        else if (s->server.pidfd >= 0)
                monitor_watch(b, s);
        pthread_cond_broadcast(&b->calm);
        pthread_mutex_unlock(&b->lock);
}

int subnet_adopt(struct bridge *b, const char *id, const char *vpc_id)
{
        struct subnet *s = subnet_enter(b, id, vpc_id, NULL);

        if (!s)
                return -ENOMEM;
        if (s->server.pidfd < 0) {
                AK_AUTOCLOSE int ns_fd = subnet_namespace(b, s);

                if (ns_fd >= 0)
                        (void)dhcp_find(ns_fd, id, &s->server); /* none: the next prepare starts it */
        }
        subnet_leave(b, s);
        return 0;
}

bool bridge_owns(const struct bridge *b, struct rtnl_link *link, enum net_label_kind kind,
                 struct net_label *out)
{
        return rtnl_label(link, out) && out->kind == kind && strcmp(out->node, b->node) == 0;
}

/* ------------------------------------------------------------------ namespace */

struct vpc_label {
        const char *node, *vpc_id;
        struct net_label found;
};

/* Inside: reads whose namespace this is. -ENODATA: it bears no label. */
static int read_label(void *arg)
{
        struct vpc_label *l = arg;
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *lo = NULL;
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_get(sock, "lo", &lo);
        if (r < 0)
                return r;
        return rtnl_label(lo, &l->found) && l->found.kind == NET_LABEL_VPC ? 0 : -ENODATA;
}

/* A namespace of the VPC's name may be another node's: its label decides. */
static int open_own(const struct bridge *b, const char *vpc_id)
{
        struct vpc_label label = {.node = b->node};
        AK_AUTOCLOSE int fd = vpc_id[0] == '\0' ? -ENOENT : netns_open(net_netns_name(vpc_id).s);

        if (fd < 0)
                return fd;
        if (netns_run(fd, read_label, &label) < 0 || strcmp(label.found.node, b->node) != 0 ||
            strcmp(label.found.vpc_id, vpc_id) != 0)
                return -ENOENT;
        int result = fd;
        fd = -1;
        return result;
}

static bool standing(struct bridge *b, const struct subnet *s)
{
        pthread_mutex_lock(&b->lock);
        bool result = s->standing;
        pthread_mutex_unlock(&b->lock);
        return result;
}

int subnet_namespace(struct bridge *b, const struct subnet *s)
{
        /* The label was looked at when it was made to stand. */
        return standing(b, s) ? netns_open(net_netns_name(s->vpc_id).s) : open_own(b, s->vpc_id);
}

static int write_knob(const char *path, const char *value)
{
        AK_AUTOCLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && write(fd, value, strlen(value)) > 0 ? 0 : -errno;
}

/* Inside a new namespace: labels it, lets it route between the subnets of its VPC. */
static int furnish(void *arg)
{
        const struct vpc_label *l = arg;
        struct net_label label = {.kind = NET_LABEL_VPC};
        char text[NET_LABEL_SIZE];
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *lo = NULL;
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_get(sock, "lo", &lo);
        if (r < 0)
                return r;
        snprintf(label.node, sizeof(label.node), "%s", l->node);
        snprintf(label.vpc_id, sizeof(label.vpc_id), "%s", l->vpc_id);
        net_label_format(&label, text);
        r = rtnl_apply(sock, lo, &(struct rtnl_wish){.alias = text, .up = true});
        return r < 0 ? r : write_knob("/proc/sys/net/ipv4/ip_forward", "1");
}

static int ensure_namespace(struct bridge *b, const char *vpc_id, struct net_error *error)
{
        struct net_name name = net_netns_name(vpc_id);
        struct vpc_label label = {.node = b->node, .vpc_id = vpc_id};
        AK_AUTOCLOSE int fd = netns_open(name.s);
        int r = fd;

        if (fd == -ENOENT)
                r = fd = netns_create(name.s);
        if (fd >= 0) {
                r = netns_run(fd, read_label, &label);
                if (r == -ENODATA)
                        r = netns_run(fd, furnish, &label);
                else if (r == 0 &&
                         (strcmp(label.found.node, b->node) != 0 || strcmp(label.found.vpc_id, vpc_id) != 0))
                        r = -EEXIST;
        }
        if (r < 0) {
                net_error_set(error, r == -EEXIST ? "NameTaken" : "NamespaceFailed",
                              "network namespace %s: %s", name.s,
                              r == -EEXIST ? "belongs to another VPC or node of this host" : strerror(-r));
                return r;
        }
        r = fd;
        fd = -1;
        return r;
}

/* ------------------------------------------------------------------ bridge and leg */

static void subnet_label(const struct bridge *b, const struct subnet *s, char out[NET_LABEL_SIZE])
{
        struct net_label l = {.kind = NET_LABEL_SUBNET};

        snprintf(l.node, sizeof(l.node), "%s", b->node);
        memcpy(l.subnet_id, s->id, sizeof(l.subnet_id));
        memcpy(l.vpc_id, s->vpc_id, sizeof(l.vpc_id));
        net_label_format(&l, out);
}

/* A link with our label, or one that a crash left before it got any. */
static bool ours_or_bare(const struct bridge *b, struct rtnl_link *link, const char *kind, const char *subnet)
{
        const char *alias = rtnl_link_get_ifalias(link);
        struct net_label l;

        if (!rtnl_is(link, kind))
                return false;
        if (!alias || alias[0] == '\0')
                return true;
        return bridge_owns(b, link, NET_LABEL_SUBNET, &l) && strcmp(l.subnet_id, subnet) == 0;
}

static int name_taken(const char *name, struct net_error *error)
{
        net_error_set(error, "NameTaken", "the link %s of this host is not ours; remove or rename it", name);
        return -EEXIST;
}

static int link_failed(const char *what, const char *name, int r, struct net_error *error)
{
        net_error_set(error, "LinkFailed", "%s %s: %s", what, name, strerror(-r));
        return r;
}

static int ensure_bridge(struct bridge *b, struct nl_sock *sock, const struct subnet *s, uint32_t mtu,
                         int *ifindex, struct net_error *error)
{
        struct net_name name = net_bridge_name(s->id);
        char label[NET_LABEL_SIZE];
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, name.s, &link);

        if (r == -ENODEV) {
                r = rtnl_add_bridge(sock, name.s, mtu);
                if (r == 0)
                        r = rtnl_get(sock, name.s, &link);
        }
        if (r < 0)
                return link_failed("bridge", name.s, r, error);
        if (!ours_or_bare(b, link, "bridge", s->id))
                return name_taken(name.s, error);
        subnet_label(b, s, label);
        r = rtnl_disable_ipv6(name.s);
        if (r == 0)
                r = rtnl_apply(sock, link, &(struct rtnl_wish){.alias = label, .up = true, .no_ipv6 = true});
        if (r < 0)
                return link_failed("bridge", name.s, r, error);
        *ifindex = rtnl_link_get_ifindex(link);
        return 0;
}

struct leg {
        const char *name;
        struct ak_cidr address, address6; /* address6: prefix_len 0 = leave IPv6 as it is */
        uint32_t mtu;
};

/* The router's link-local address, which advertisements come from: the same on every node. */
static const struct ak_cidr router_local = {{6, {0xfe, 0x80, [15] = 1}}, 64};

/* Inside. */
static int configure_ipv6(struct nl_sock *sock, const struct leg *leg, int ifindex)
{
        int r = rtnl_enable_ipv6(leg->name);

        if (r == 0)
                r = write_knob("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        if (r == 0)
                r = rtnl_add_address(sock, ifindex, &router_local);
        return r == 0 ? rtnl_add_address(sock, ifindex, &leg->address6) : r;
}

/* Inside. -ENODEV: the leg is not there. */
static int configure_leg(void *arg)
{
        const struct leg *leg = arg;
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_get(sock, leg->name, &link);
        if (r == 0 && rtnl_link_get_master(link) == 0 && !(rtnl_link_get_flags(link) & IFF_UP))
                r = rtnl_disable_ipv6(leg->name); /* fresh */
        if (r == 0)
                r = rtnl_tx_checksum_off(leg->name);
        if (r == 0)
                r = rtnl_apply(sock, link, &(struct rtnl_wish){.mtu = leg->mtu, .up = true, .no_ipv6 = true});
        if (r == 0)
                r = rtnl_set_ipv4(sock, rtnl_link_get_ifindex(link), &leg->address);
        return r == 0 && leg->address6.prefix_len != 0
                   ? configure_ipv6(sock, leg, rtnl_link_get_ifindex(link))
                   : r;
}

static int add_leg(struct nl_sock *sock, const char *name, const struct leg *leg, int ns_fd)
{
        int r = rtnl_delete(sock, name);

        if (r == 0)
                r = rtnl_add_veth(sock, name, leg->mtu, leg->name, ns_fd);
        return r == 0 ? netns_run(ns_fd, configure_leg, (void *)leg) : r;
}

static int ensure_leg(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                      const struct net_port_spec *spec, int ns_fd, int master, struct net_error *error)
{
        struct net_name name = net_veth_name(s->id), inner = net_gateway_name(s->id);
        struct leg leg = {inner.s,
                          {spec->gateway, spec->cidr.prefix_len},
                          {spec->gateway6, spec->cidr6.prefix_len},
                          spec->mtu};
        char label[NET_LABEL_SIZE];
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        int r = rtnl_get(sock, name.s, &link);

        if (r == 0 && !ours_or_bare(b, link, "veth", s->id))
                return name_taken(name.s, error);
        if (r == 0) {
                if (rtnl_link_get_mtu(link) > leg.mtu)
                        leg.mtu = rtnl_link_get_mtu(link); /* of another port: never lowered */
                r = netns_run(ns_fd, configure_leg, &leg);
        }
        if (r == -ENODEV) {
                dhcp_stop(&s->server); /* it listens on the leg that was */
                r = add_leg(sock, name.s, &leg, ns_fd);
                rtnl_link_put(link);
                link = NULL;
                if (r == 0)
                        r = rtnl_get(sock, name.s, &link);
        }
        if (r == 0)
                r = rtnl_disable_ipv6(name.s);
        if (r < 0)
                return link_failed("gateway leg", name.s, r, error);
        if (b->filter && (r = filter_set_leg(b->filter, name.s, error)) < 0)
                return r;
        subnet_label(b, s, label);
        r = rtnl_apply(sock, link,
                       &(struct rtnl_wish){
                           .alias = label, .master = master, .mtu = leg.mtu, .up = true, .no_ipv6 = true});
        return r < 0 ? link_failed("gateway leg", name.s, r, error) : 0;
}

/* ------------------------------------------------------------------ ensure */

/* IPv6 is there once one port has asked for it. */
static bool same_subnet(const struct subnet *s, const struct net_port_spec *spec)
{
        bool known = false;

        for (uint32_t i = 0; i < s->mtu_count; i++)
                known |= s->mtus[i] == spec->mtu;
        return known && net_spec_same_subnet(&s->as, spec) &&
               (spec->cidr6.prefix_len == 0 ||
                (s->as.cidr6.prefix_len != 0 && ak_ip_compare(&s->as.gateway6, &spec->gateway6) == 0));
}

static bool is_standing(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                        const struct net_port_spec *spec, int *ifindex)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        struct net_label l;

        if (!standing(b, s) || !same_subnet(s, spec) || (spec->dhcp && !dhcp_alive(&s->server)) ||
            rtnl_get(sock, net_bridge_name(s->id).s, &link) < 0 ||
            !bridge_owns(b, link, NET_LABEL_SUBNET, &l))
                return false;
        *ifindex = rtnl_link_get_ifindex(link);
        return true;
}

static void note_standing(struct bridge *b, struct subnet *s, const struct net_port_spec *spec)
{
        bool known = false;

        struct net_port_spec before = s->as;

        s->as = *spec;
        if (spec->cidr6.prefix_len == 0) {
                s->as.cidr6 = before.cidr6;
                s->as.gateway6 = before.gateway6;
        }
        for (uint32_t i = 0; i < s->mtu_count; i++)
                known |= s->mtus[i] == spec->mtu;
        if (!known && s->mtu_count < BRIDGE_MAX_MTUS)
                s->mtus[s->mtu_count++] = spec->mtu;
        pthread_mutex_lock(&b->lock);
        s->standing = true;
        pthread_mutex_unlock(&b->lock);
}

static int ensure_links(struct bridge *b, struct nl_sock *sock, struct subnet *s,
                        const struct net_port_spec *spec, int *ifindex, struct net_error *error)
{
        AK_AUTOCLOSE int ns_fd = ensure_namespace(b, s->vpc_id, error);
        int r = ns_fd;

        if (r < 0)
                return r;
        r = ensure_bridge(b, sock, s, spec->mtu, ifindex, error);
        if (r == 0)
                r = ensure_leg(b, sock, s, spec, ns_fd, *ifindex, error);
        char label[NET_LABEL_SIZE];
        subnet_label(b, s, label);
        if (r == 0)
                r = vxlan_ensure(b, sock, s, spec, *ifindex, label, error);
        if (r == 0)
                r = spec->source_nat
                        ? uplink_ensure(sock, ns_fd, b->node, s->vpc_id, spec->cidr6.prefix_len != 0, error)
                        : uplink_remove(sock, b->node, s->vpc_id, error);
        if (r < 0)
                return r;
        r = ns_fd;
        ns_fd = -1;
        return r;
}

int subnet_ensure(struct bridge *b, struct nl_sock *sock, struct subnet *s, const struct net_port_spec *spec,
                  int *ifindex, struct net_error *error)
{
        if (is_standing(b, sock, s, spec, ifindex))
                return 0;
        if (strcmp(s->vpc_id, spec->vpc_id) != 0) {
                net_error_set(error, "InvalidPort", "subnet %s belongs to VPC %s, not %s", s->id, s->vpc_id,
                              spec->vpc_id);
                return -EINVAL;
        }
        pthread_mutex_lock(&b->vpc_lock);
        AK_AUTOCLOSE int ns_fd = ensure_links(b, sock, s, spec, ifindex, error);
        pthread_mutex_unlock(&b->vpc_lock);
        if (ns_fd < 0)
                return ns_fd;
        if (!spec->dhcp)
                dhcp_stop(&s->server);
        int r = spec->dhcp ? dhcp_ensure(&b->dhcp, ns_fd, spec, &s->server, error) : 0;
        if (r == 0)
                note_standing(b, s, spec);
        return r;
}

/* ------------------------------------------------------------------ drop */

struct census {
        size_t ports_of_subnet, ports_of_vpc, bridges, bridges_of_vpc;
};

static bool in_vpc(struct bridge *b, const char *subnet_id, const char *vpc_id)
{
        pthread_mutex_lock(&b->lock);
        const struct subnet *s = find(b, subnet_id);
        bool result = s && strcmp(s->vpc_id, vpc_id) == 0;
        pthread_mutex_unlock(&b->lock);
        return result;
}

static int take_census(struct bridge *b, struct nl_sock *sock, const char *subnet_id, const char *vpc_id,
                       struct census *out)
{
        AK_CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
        struct net_label l;
        int r = rtnl_all(sock, &links);

        if (r < 0)
                return r;
        *out = (struct census){0};
        for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
                struct rtnl_link *link = (struct rtnl_link *)o;

                if (!rtnl_label(link, &l) || strcmp(l.node, b->node) != 0)
                        continue;
                if (l.kind == NET_LABEL_PORT) {
                        out->ports_of_subnet += strcmp(l.subnet_id, subnet_id) == 0;
                        out->ports_of_vpc += in_vpc(b, l.subnet_id, vpc_id);
                } else if (rtnl_is(link, "bridge")) {
                        out->bridges++;
                        out->bridges_of_vpc += strcmp(l.vpc_id, vpc_id) == 0;
                }
        }
        return 0;
}

static int remove_namespace(struct bridge *b, const char *vpc_id, struct net_error *error)
{
        struct net_name name = net_netns_name(vpc_id);
        AK_AUTOCLOSE int fd = open_own(b, vpc_id);

        if (fd < 0)
                return 0;
        dhcp_stop_all(fd);
        int r = netns_remove(name.s);
        if (r < 0)
                net_error_set(error, "NamespaceFailed", "cannot remove %s: %s", name.s, strerror(-r));
        return r;
}

static int drop_links(struct bridge *b, struct nl_sock *sock, struct subnet *s, struct net_error *error)
{
        struct net_name leg = net_veth_name(s->id);
        const struct net_name names[] = {net_vxlan_name(s->id), leg, net_bridge_name(s->id)};

        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++) {
                AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
                struct net_label l;
                int r = rtnl_get(sock, names[i].s, &link);

                if (r == 0 && bridge_owns(b, link, NET_LABEL_SUBNET, &l))
                        r = rtnl_delete(sock, names[i].s);
                if (r < 0 && r != -ENODEV)
                        return link_failed("cannot remove", names[i].s, r, error);
        }
        return b->filter ? filter_clear_leg(b->filter, leg.s, error) : 0;
}

static int drop_vpc_if_empty(struct bridge *b, struct nl_sock *sock, const struct subnet *s,
                             struct net_error *error)
{
        struct census census;
        int r = take_census(b, sock, s->id, s->vpc_id, &census);

        if (r < 0)
                return link_failed("links", "of this host", r, error);
        if (census.bridges_of_vpc == 0 && s->vpc_id[0] != '\0')
                r = remove_namespace(b, s->vpc_id, error);
        if (r == 0 && census.bridges == 0 && b->filter)
                r = filter_teardown(b->filter, error);
        if (r == 0 && census.bridges == 0)
                r = uplink_teardown(b->node, error);
        return r;
}

int subnet_drop_if_empty(struct bridge *b, struct nl_sock *sock, struct subnet *s, struct net_error *error)
{
        struct census census;
        int r = take_census(b, sock, s->id, s->vpc_id, &census);

        if (r < 0)
                return link_failed("links", "of this host", r, error);
        /* One that others of the VPC reach other nodes through stays as long as they do. */
        if (census.ports_of_subnet > 0 ||
            (census.ports_of_vpc > 0 && s->transit && s->peers && s->peers[0] != '\0'))
                return 0;
        AK_AUTOCLOSE int ns_fd = subnet_namespace(b, s);
        if (s->server.pidfd < 0 && ns_fd >= 0)
                (void)dhcp_find(ns_fd, s->id, &s->server);
        dhcp_stop(&s->server);
        pthread_mutex_lock(&b->vpc_lock);
        r = drop_links(b, sock, s, error);
        if (r == 0)
                r = drop_vpc_if_empty(b, sock, s, error);
        pthread_mutex_unlock(&b->vpc_lock);
        if (r < 0)
                return r;
        dhcp_forget(&b->dhcp, s->id);
        s->standing = false;
        s->gone = !s->peers; /* what is known of other nodes is not said again */
        return 0;
}

/* ------------------------------------------------------------------ namespaces */

void subnet_each_namespace(struct bridge *b, void (*fn)(void *arg, const char *name, const char *vpc_id),
                           void *arg)
{
        DIR *d = opendir(NETNS_DIR);
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                struct vpc_label label = {.node = b->node};

                if (strncmp(entry->d_name, "ak-", 3) != 0)
                        continue;
                AK_AUTOCLOSE int fd = netns_open(entry->d_name);
                if (fd >= 0 && netns_run(fd, read_label, &label) == 0 &&
                    strcmp(label.found.node, b->node) == 0)
                        fn(arg, entry->d_name, label.found.vpc_id);
        }
        if (d)
                closedir(d);
}

struct namespace_sweep {
        struct bridge *bridge;
        struct nl_sock *sock;
        struct net_error *error;
        int result;
};

static void sweep_namespace(void *arg, const char *name, const char *vpc_id)
{
        struct namespace_sweep *s = arg;
        struct census census;

        (void)name;
        if (take_census(s->bridge, s->sock, "", vpc_id, &census) < 0 || census.bridges_of_vpc > 0)
                return;
        int r = remove_namespace(s->bridge, vpc_id, s->error);
        if (r < 0)
                s->result = r;
}

int subnet_sweep_namespaces(struct bridge *b, struct nl_sock *sock, struct net_error *error)
{
        struct namespace_sweep sweep = {b, sock, error, 0};

        pthread_mutex_lock(&b->vpc_lock);
        subnet_each_namespace(b, sweep_namespace, &sweep);
        pthread_mutex_unlock(&b->vpc_lock);
        return sweep.result;
}
