/* SPDX-License-Identifier: Apache-2.0 */
/* What the backend writes into OVN's northbound database; ovn-nb(5) has the tables. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/network/backends/ovn_internal.h"

#define TRIES 3 /* of a transaction that another node may be faster with */

struct names {
        char lrouter[48], lswitch[48], router_port[48], switch_port[48];
};

static void names_of(const char *vpc_id, const char *subnet_id, struct names *n)
{
        snprintf(n->lrouter, sizeof(n->lrouter), "ak-%s", vpc_id);
        snprintf(n->lswitch, sizeof(n->lswitch), "ak-%s", subnet_id);
        snprintf(n->router_port, sizeof(n->router_port), "akr-%s", subnet_id);
        snprintf(n->switch_port, sizeof(n->switch_port), "aks-%s", subnet_id);
}

static json_t *has_id(const char *key, const char *value)
{
        const char *const pair[] = {key, value, NULL};

        return json_pack("[[s, s, o]]", "external_ids", "includes", ovsdb_map(pair));
}

/* The rows that a select of one operation found; new reference. */
static int rows_of(struct ovn *o, const char *table, json_t *where, const char *const columns[], json_t **out,
                   struct net_error *error)
{
        json_auto_t *results = NULL;
        int r = ovsdb_transact(o->nb, json_pack("[o]", ovsdb_select(table, where, columns)), &results, error);

        if (r == 0)
                *out = json_incref(json_object_get(json_array_get(results, 0), "rows"));
        return r;
}

static const char *uuid_of(const json_t *row)
{
        return json_string_value(json_array_get(json_object_get(row, "_uuid"), 1));
}

/* A column of UUIDs is ["uuid", X] or ["set", [["uuid", X], …]]. */
static size_t count_uuids(const json_t *column)
{
        const char *kind = json_string_value(json_array_get(column, 0));

        return kind && strcmp(kind, "set") == 0 ? json_array_size(json_array_get(column, 1)) : 1;
}

static const char *map_value(const json_t *column, const char *key)
{
        json_t *pair;
        size_t i;

        json_array_foreach(json_array_get(column, 1), i, pair)
        {
                if (strcmp(json_string_value(json_array_get(pair, 0)), key) == 0)
                        return json_string_value(json_array_get(pair, 1));
        }
        return "";
}

/* ------------------------------------------------------------------ subnet */

/* A MAC for the subnet's gateway that all nodes come to. */
static void gateway_mac(const char *subnet_id, char out[AK_MAC_SIZE])
{
        uint64_t hash = UINT64_C(14695981039346656037);

        for (const char *c = subnet_id; *c; c++)
                hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
        ak_mac_from_bits(hash, out);
}

static json_t *gateway_networks(const struct net_port_spec *spec)
{
        char four[AK_CIDR_SIZE], six[AK_CIDR_SIZE] = "";
        struct ak_cidr gateway = {spec->gateway, spec->cidr.prefix_len};

        ak_cidr_format(&gateway, four);
        if (spec->cidr6.prefix_len != 0) {
                gateway = (struct ak_cidr){spec->gateway6, spec->cidr6.prefix_len};
                ak_cidr_format(&gateway, six);
        }
        const char *const values[] = {four, six[0] ? six : NULL, NULL};
        return ovsdb_set(values);
}

static json_t *ra_configs(const struct net_port_spec *spec)
{
        char mtu[16];
        const char *const pairs[] = {"address_mode", "slaac", "send_periodic", "true", "mtu", mtu, NULL};
        static const char *const none[] = {NULL};

        snprintf(mtu, sizeof(mtu), "%u", spec->mtu);
        return ovsdb_map(spec->cidr6.prefix_len != 0 ? pairs : none);
}

static void dns_text(const struct net_port_spec *spec, char *out, size_t size)
{
        size_t used = (size_t)snprintf(out, size, "{");
        char text[AK_IP_SIZE];

        for (uint32_t i = 0; i < spec->dns_count; i++) {
                ak_ip_format(&spec->dns[i], text);
                used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", text);
        }
        snprintf(out + used, size - used, "}");
}

static json_t *dhcp_options(struct ovn *o, const struct net_port_spec *spec)
{
        char gateway[AK_IP_SIZE], mac[AK_MAC_SIZE], lease[16], mtu[16], dns[AK_MAX_ADDRS * AK_IP_SIZE];

        ak_ip_format(&spec->gateway, gateway);
        gateway_mac(spec->key.subnet_id, mac);
        snprintf(lease, sizeof(lease), "%u", o->lease_seconds);
        snprintf(mtu, sizeof(mtu), "%u", spec->mtu);
        dns_text(spec, dns, sizeof(dns));
        const char *const pairs[] = {"server_id",
                                     gateway,
                                     "server_mac",
                                     mac,
                                     "lease_time",
                                     lease,
                                     "router",
                                     gateway,
                                     "mtu",
                                     mtu,
                                     spec->dns_count ? "dns_server" : NULL,
                                     dns,
                                     NULL};
        return ovsdb_map(pairs);
}

static json_t *dhcp_row(struct ovn *o, const struct net_port_spec *spec)
{
        char cidr[AK_CIDR_SIZE];
        const char *const ids[] = {"alkaid-subnet", spec->key.subnet_id, NULL};

        ak_cidr_format(&spec->cidr, cidr);
        return json_pack("{s:s, s:o, s:o}", "cidr", cidr, "options", dhcp_options(o, spec), "external_ids",
                         ovsdb_map(ids));
}

static json_t *router_port_row(const struct net_port_spec *spec, const struct names *n)
{
        char mac[AK_MAC_SIZE];

        gateway_mac(spec->key.subnet_id, mac);
        return json_pack("{s:s, s:s, s:o, s:o}", "name", n->router_port, "mac", mac, "networks",
                         gateway_networks(spec), "ipv6_ra_configs", ra_configs(spec));
}

static json_t *switch_port_row(const struct names *n)
{
        const char *const options[] = {"router-port", n->router_port, NULL};

        return json_pack("{s:s, s:s, s:s, s:o}", "name", n->switch_port, "type", "router", "addresses",
                         "router", "options", ovsdb_map(options));
}

static json_t *set_of(json_t *uuid)
{
        return json_pack("[s, [o]]", "set", uuid);
}

static json_t *switch_row(const struct net_port_spec *spec, const struct names *n)
{
        const char *const ids[] = {"alkaid-subnet", spec->key.subnet_id, "alkaid-vpc", spec->vpc_id, NULL};

        return json_pack("{s:s, s:o, s:o, s:o}", "name", n->lswitch, "ports", ovsdb_named_uuid("sp"),
                         "external_ids", ovsdb_map(ids), "acls", set_of(ovsdb_named_uuid("guard")));
}

/*
 * What port security lets pass: DHCP servers among the VMs, redirects. The router's MAC is no VM's, which is
 * port security's work. Above all that security groups allow; a router advertisement is allowed by northd
 * above everything, and dropped at the tap (ovn_guard.c).
 */
static json_t *guard_acl(const struct net_port_spec *spec)
{
        char mac[AK_MAC_SIZE], match[160];

        gateway_mac(spec->key.subnet_id, mac);
        snprintf(match, sizeof(match), "eth.src != %s && (udp.src == {67, 547} || icmp6.type == 137)", mac);
        return ovsdb_insert("ACL", "guard",
                            json_pack("{s:s, s:s, s:s, s:i}", "direction", "from-lport", "action", "drop",
                                      "match", match, "priority", 32000));
}

/* What is left of a subnet whose switch somebody deleted: DHCP options, the router's port. */
static int add_clearing(struct ovn *o, json_t *ops, const char *subnet_id, const struct names *n,
                        struct net_error *error)
{
        static const char *const columns[] = {"_uuid", NULL};
        json_auto_t *rows = NULL;
        int r = rows_of(o, "Logical_Router_Port", ovsdb_where("name", n->router_port), columns, &rows, error);
        const char *uuid = uuid_of(json_array_get(rows, 0));

        (void)json_array_append_new(ops, ovsdb_delete("DHCP_Options", has_id("alkaid-subnet", subnet_id)));
        if (uuid)
                (void)json_array_append_new(ops, ovsdb_mutate("Logical_Router",
                                                              ovsdb_where("name", n->lrouter), "ports",
                                                              "delete", json_pack("[s, s]", "uuid", uuid)));
        return r;
}

static int make_subnet(struct ovn *o, const struct net_port_spec *spec, const struct names *n, bool router,
                       struct net_error *error)
{
        json_t *ops = json_array();
        int r = add_clearing(o, ops, spec->key.subnet_id, n, error);

        if (r < 0) {
                json_decref(ops);
                return r;
        }

        (void)json_array_append_new(ops, ovsdb_assert_absent("Logical_Switch", "name", n->lswitch));
        if (!router) {
                (void)json_array_append_new(ops, ovsdb_assert_absent("Logical_Router", "name", n->lrouter));
                (void)json_array_append_new(
                    ops, ovsdb_insert("Logical_Router", NULL, json_pack("{s:s}", "name", n->lrouter)));
        }
        (void)json_array_append_new(ops, ovsdb_insert("Logical_Router_Port", "rp", router_port_row(spec, n)));
        (void)json_array_append_new(ops, ovsdb_mutate("Logical_Router", ovsdb_where("name", n->lrouter),
                                                      "ports", "insert", set_of(ovsdb_named_uuid("rp"))));
        (void)json_array_append_new(ops, ovsdb_insert("DHCP_Options", NULL, dhcp_row(o, spec)));
        (void)json_array_append_new(ops, ovsdb_insert("Logical_Switch_Port", "sp", switch_port_row(n)));
        (void)json_array_append_new(ops, guard_acl(spec));
        (void)json_array_append_new(ops, ovsdb_insert("Logical_Switch", NULL, switch_row(spec, n)));
        return ovsdb_transact(o->nb, ops, NULL, error);
}

static int exists(struct ovn *o, const char *table, const char *name, struct net_error *error)
{
        static const char *const columns[] = {"_uuid", NULL};
        json_auto_t *rows = NULL;
        int r = rows_of(o, table, ovsdb_where("name", name), columns, &rows, error);

        return r < 0 ? r : json_array_size(rows) > 0;
}

/* A switch that an earlier version made has no guard. */
static int has_guard(struct ovn *o, const struct names *n, struct net_error *error)
{
        static const char *const columns[] = {"acls", NULL};
        json_auto_t *rows = NULL;
        int r = rows_of(o, "Logical_Switch", ovsdb_where("name", n->lswitch), columns, &rows, error);
        const json_t *acls = json_object_get(json_array_get(rows, 0), "acls"); /* ["set", […]], ["uuid", …] */

        return r < 0
                   ? r
                   : json_is_string(json_array_get(acls, 1)) || json_array_size(json_array_get(acls, 1)) > 0;
}

/* IPv6 comes with the first port that asks for it, and stays. */
static int refresh_subnet(struct ovn *o, const struct net_port_spec *spec, const struct names *n,
                          struct net_error *error)
{
        int guarded = has_guard(o, n, error);
        if (guarded < 0)
                return guarded;
        json_t *ops =
            json_pack("[o]", ovsdb_update("DHCP_Options", has_id("alkaid-subnet", spec->key.subnet_id),
                                          json_pack("{s:o}", "options", dhcp_options(o, spec))));

        if (!guarded) {
                (void)json_array_append_new(ops, guard_acl(spec));
                (void)json_array_append_new(
                    ops, ovsdb_update("Logical_Switch", ovsdb_where("name", n->lswitch),
                                      json_pack("{s:o}", "acls", set_of(ovsdb_named_uuid("guard")))));
        }
        if (spec->cidr6.prefix_len != 0)
                (void)json_array_append_new(ops, ovsdb_update("Logical_Router_Port",
                                                              ovsdb_where("name", n->router_port),
                                                              router_port_row(spec, n)));
        return ovsdb_transact(o->nb, ops, NULL, error);
}

int ovn_ensure_subnet(struct ovn *o, const struct net_port_spec *spec, struct net_error *error)
{
        struct names n = {0};
        int r = -EAGAIN;

        names_of(spec->vpc_id, spec->key.subnet_id, &n);
        for (int tries = 0; r == -EAGAIN && tries < TRIES; tries++) {
                int lswitch = exists(o, "Logical_Switch", n.lswitch, error);

                if (lswitch != 0)
                        return lswitch < 0 ? lswitch : refresh_subnet(o, spec, &n, error);
                int router = exists(o, "Logical_Router", n.lrouter, error);
                r = router < 0 ? router : make_subnet(o, spec, &n, router == 1, error);
        }
        return r;
}

/* ------------------------------------------------------------------ rules */

static void group_name(const char *port_id, char out[48])
{
        snprintf(out, 48, "ak_%s", port_id);
        for (char *c = out; *c; c++)
                if (*c == '-')
                        *c = '_';
}

static bool match_of(const struct net_rule *rule, uint8_t family, const char *group, char *out, size_t size)
{
        static const char *const protocols[][2] = {[NET_ANY] = {"", ""},
                                                   [NET_TCP] = {" && tcp", " && tcp"},
                                                   [NET_UDP] = {" && udp", " && udp"},
                                                   [NET_ICMP] = {" && icmp4", " && icmp6"}};
        char network[AK_CIDR_SIZE];
        const char *cursor = rule->networks, *transport = rule->protocol == NET_TCP ? "tcp" : "udp";
        bool any = false;
        size_t used = (size_t)snprintf(
            out, size, "%s == @%s%s && ip%d.%s == {", rule->out ? "inport" : "outport", group,
            protocols[rule->protocol][family == 6], family, rule->out ? "dst" : "src");

        while (net_rule_network(&cursor, family, network)) {
                used += (size_t)snprintf(out + used, size - used, "%s%s", any ? ", " : "", network);
                any = true;
        }
        used += (size_t)snprintf(out + used, size - used, "}");
        if (rule->low)
                snprintf(out + used, size - used, " && %s.dst >= %u && %s.dst <= %u", transport, rule->low,
                         transport, rule->high);
        return any;
}

struct acls {
        json_t *ops, *uuids;
        char group[48];
};

static void add_acl(struct acls *a, bool out, int priority, const char *action, const char *match)
{
        char name[16];

        snprintf(name, sizeof(name), "a%zu", json_array_size(a->uuids));
        (void)json_array_append_new(
            a->ops,
            ovsdb_insert("ACL", name,
                         json_pack("{s:s, s:s, s:s, s:i}", "direction", out ? "from-lport" : "to-lport",
                                   "action", action, "match", match, "priority", priority)));
        (void)json_array_append_new(a->uuids, ovsdb_named_uuid(name));
}

/* Neighbours and advertisements pass; what no rule lets begin is dropped. DHCP has rules of OVN's own. */
static void add_defaults(struct acls *a)
{
        char match[256];

        for (int out = 0; out <= 1; out++) {
                snprintf(match, sizeof(match), "%sport == @%s && (nd || nd_rs || nd_ra)", out ? "in" : "out",
                         a->group);
                add_acl(a, out, 1003, "allow", match);
                snprintf(match, sizeof(match), "%sport == @%s && ip", out ? "in" : "out", a->group);
                add_acl(a, out, 1001, "drop", match);
        }
}

/* The port's group, made anew with its ACLs; lsp: its UUID, stolen. */
static void add_group(json_t *ops, const struct net_port_spec *spec, json_t *lsp)
{
        struct acls a = {.ops = ops, .uuids = json_array()};
        char match[AK_LEN_RULE + 256];
        struct net_rule rule;

        group_name(spec->key.port_id, a.group);
        (void)json_array_append_new(ops, ovsdb_delete("Port_Group", ovsdb_where("name", a.group)));
        if (!spec->restricted) {
                json_decref(a.uuids);
                json_decref(lsp);
                return;
        }
        add_defaults(&a);
        for (uint32_t i = 0; i < spec->rule_count; i++) {
                if (net_rule_parse(spec->rules[i], &rule) < 0)
                        continue;
                for (uint8_t family = 4; family <= 6; family += 2)
                        if (match_of(&rule, family, a.group, match, sizeof(match)))
                                add_acl(&a, rule.out, 1002, "allow-related", match);
        }
        (void)json_array_append_new(
            ops, ovsdb_insert("Port_Group", NULL,
                              json_pack("{s:s, s:o, s:o}", "name", a.group, "ports", set_of(lsp), "acls",
                                        json_pack("[s, o]", "set", a.uuids))));
}

/* ------------------------------------------------------------------ port */

/* "MAC IP …": what OVN delivers there, and what may come from there. */
static void addresses_text(const struct net_port_spec *spec, char *out, size_t size)
{
        size_t used = (size_t)snprintf(out, size, "%s", spec->mac);
        char text[AK_IP_SIZE];

        for (uint32_t i = 0; i < spec->address_count; i++) {
                ak_ip_format(&spec->addresses[i].addr, text);
                used += (size_t)snprintf(out + used, size - used, " %s", text);
        }
        if (spec->address6.family != 0) {
                ak_ip_format(&spec->address6, text);
                snprintf(out + used, size - used, " %s", text);
        }
}

static json_t *port_row(const struct ovn *o, const struct net_port_spec *spec, const char *dhcp)
{
        char text[512];
        const char *const ids[] = {
            "alkaid-node",       o->node, "alkaid-pod", spec->key.pod_uid, "alkaid-subnet",
            spec->key.subnet_id, NULL};
        static const char *const none[] = {NULL};

        addresses_text(spec, text, sizeof(text));
        return json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", spec->key.port_id, "addresses", text,
                         "port_security", text, "external_ids", ovsdb_map(ids), "dhcpv4_options",
                         spec->dhcp && dhcp ? json_pack("[s, s]", "uuid", dhcp) : ovsdb_set(none));
}

/* *rows: the port's, if it has one. -EEXIST: another pod's. */
static int find_port(struct ovn *o, const struct net_port_key *key, json_t **rows, struct net_error *error)
{
        static const char *const columns[] = {"_uuid", "external_ids", NULL};
        int r = rows_of(o, "Logical_Switch_Port", ovsdb_where("name", key->port_id), columns, rows, error);
        const json_t *row = r == 0 ? json_array_get(*rows, 0) : NULL;
        const char *pod = row ? map_value(json_object_get(row, "external_ids"), "alkaid-pod") : key->pod_uid;

        if (r == 0 && strcmp(pod, key->pod_uid) != 0) {
                net_error_set(error, "NameTaken", "port %s is held for pod %s", key->port_id, pod);
                json_decref(*rows);
                *rows = NULL;
                return -EEXIST;
        }
        return r;
}

static int write_port(struct ovn *o, const struct net_port_spec *spec, const char *uuid, const char *dhcp,
                      struct net_error *error)
{
        struct names n = {0};
        json_t *ops = json_array();

        names_of(spec->vpc_id, spec->key.subnet_id, &n);
        if (uuid) {
                (void)json_array_append_new(ops, ovsdb_update("Logical_Switch_Port",
                                                              ovsdb_where("name", spec->key.port_id),
                                                              port_row(o, spec, dhcp)));
        } else {
                (void)json_array_append_new(
                    ops, ovsdb_insert("Logical_Switch_Port", "lsp", port_row(o, spec, dhcp)));
                (void)json_array_append_new(ops,
                                            ovsdb_mutate("Logical_Switch", ovsdb_where("name", n.lswitch),
                                                         "ports", "insert", set_of(ovsdb_named_uuid("lsp"))));
        }
        add_group(ops, spec, uuid ? json_pack("[s, s]", "uuid", uuid) : ovsdb_named_uuid("lsp"));
        return ovsdb_transact(o->nb, ops, NULL, error);
}

int ovn_ensure_port(struct ovn *o, const struct net_port_spec *spec, struct net_error *error)
{
        static const char *const columns[] = {"_uuid", NULL};
        json_auto_t *rows = NULL, *dhcp = NULL;
        int r = find_port(o, &spec->key, &rows, error);

        if (r == 0)
                r = rows_of(o, "DHCP_Options", has_id("alkaid-subnet", spec->key.subnet_id), columns, &dhcp,
                            error);
        return r == 0 ? write_port(o, spec, uuid_of(json_array_get(rows, 0)),
                                   uuid_of(json_array_get(dhcp, 0)), error)
                      : r;
}

static int drop_row(struct ovn *o, const char *name, const char *uuid, const char *subnet_id,
                    struct net_error *error)
{
        struct names n = {0};
        char group[48];

        names_of("", subnet_id, &n);
        group_name(name, group);
        return ovsdb_transact(o->nb,
                              json_pack("[o, o]",
                                        ovsdb_mutate("Logical_Switch", ovsdb_where("name", n.lswitch),
                                                     "ports", "delete", json_pack("[s, s]", "uuid", uuid)),
                                        ovsdb_delete("Port_Group", ovsdb_where("name", group))),
                              NULL, error);
}

int ovn_drop_port(struct ovn *o, const struct net_port_key *key, struct net_error *error)
{
        json_auto_t *rows = NULL;
        int r = find_port(o, key, &rows, error);
        const char *uuid = uuid_of(json_array_get(rows, 0));

        if (r < 0)
                return r == -EEXIST ? 0 : r; /* another pod's by now */
        return uuid ? drop_row(o, key->port_id, uuid, key->subnet_id, error) : 0;
}

int ovn_drop_ports_of_node(struct ovn *o, struct net_error *error)
{
        static const char *const columns[] = {"_uuid", "name", "external_ids", NULL};
        json_auto_t *rows = NULL;
        json_t *row;
        size_t i;
        int r = rows_of(o, "Logical_Switch_Port", has_id("alkaid-node", o->node), columns, &rows, error);

        json_array_foreach(rows, i, row)
        {
                const char *subnet = map_value(json_object_get(row, "external_ids"), "alkaid-subnet");

                if (r == 0)
                        r = drop_row(o, json_string_value(json_object_get(row, "name")), uuid_of(row), subnet,
                                     error);
        }
        return r;
}

/* ------------------------------------------------------------------ the end of a subnet */

/* Of a switch with its router's port alone; another node's new port makes the "wait" fail. */
static int drop_switch(struct ovn *o, const char *subnet_id, const char *vpc_id, const json_t *ports,
                       bool router, struct net_error *error)
{
        struct names n = {0};
        char uuid[AK_UUID_SIZE] = "";
        static const char *const columns[] = {"_uuid", NULL};
        json_auto_t *rows = NULL;

        names_of(vpc_id, subnet_id, &n);
        int r = rows_of(o, "Logical_Router_Port", ovsdb_where("name", n.router_port), columns, &rows, error);
        if (r < 0)
                return r;
        if (uuid_of(json_array_get(rows, 0)))
                snprintf(uuid, sizeof(uuid), "%s", uuid_of(json_array_get(rows, 0)));
        json_t *ops = json_pack(
            "[{s:s, s:i, s:s, s:o, s:[s], s:s, s:[{s:O}]}, o, o]", "op", "wait", "timeout", 0, "table",
            "Logical_Switch", "where", ovsdb_where("name", n.lswitch), "columns", "ports", "until",
            "==", "rows", "ports", ports, ovsdb_delete("Logical_Switch", ovsdb_where("name", n.lswitch)),
            ovsdb_delete("DHCP_Options", has_id("alkaid-subnet", subnet_id)));
        if (router)
                (void)json_array_append_new(ops,
                                            ovsdb_delete("Logical_Router", ovsdb_where("name", n.lrouter)));
        else if (uuid[0])
                (void)json_array_append_new(ops, ovsdb_mutate("Logical_Router",
                                                              ovsdb_where("name", n.lrouter), "ports",
                                                              "delete", json_pack("[s, s]", "uuid", uuid)));
        r = ovsdb_transact(o->nb, ops, NULL, error);
        return r == -EAGAIN ? 0 : r;
}

static int drop_if_empty(struct ovn *o, const json_t *row, struct net_error *error)
{
        static const char *const columns[] = {"ports", NULL};
        const json_t *ids = json_object_get(row, "external_ids"), *ports = json_object_get(row, "ports");
        const char *vpc = map_value(ids, "alkaid-vpc");
        json_auto_t *routers = NULL;
        struct names n = {0};

        if (count_uuids(ports) > 1)
                return 0;
        names_of(vpc, "", &n);
        int r = rows_of(o, "Logical_Router", ovsdb_where("name", n.lrouter), columns, &routers, error);
        if (r < 0)
                return r;
        bool last = count_uuids(json_object_get(json_array_get(routers, 0), "ports")) <= 1;
        return drop_switch(o, map_value(ids, "alkaid-subnet"), vpc, ports, last, error);
}

static int drop_those(struct ovn *o, json_t *where, struct net_error *error)
{
        static const char *const columns[] = {"ports", "external_ids", NULL};
        json_auto_t *rows = NULL;
        json_t *row;
        size_t i;
        int r = rows_of(o, "Logical_Switch", where, columns, &rows, error);

        json_array_foreach(rows, i, row)
        {
                if (r == 0 && map_value(json_object_get(row, "external_ids"), "alkaid-subnet")[0])
                        r = drop_if_empty(o, row, error);
        }
        return r;
}

int ovn_drop_subnet_if_empty(struct ovn *o, const char *subnet_id, struct net_error *error)
{
        struct names n = {0};

        names_of("", subnet_id, &n);
        return drop_those(o, ovsdb_where("name", n.lswitch), error);
}

int ovn_drop_empty_subnets(struct ovn *o, struct net_error *error)
{
        return drop_those(o, json_array(), error);
}
