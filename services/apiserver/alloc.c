/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, MACs, slots, VNIs. Everything handed out here stays taken until the port object that holds it
 * is gone, and that happens only after the node has confirmed the release (design: an IP or MAC is handed
 * out again only then).
 *
 * Addresses go round robin through the subnet: a cursor per subnet, so that a search does not begin with
 * the crowded end each time and an address rests before it comes again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define DEFAULT_MTU      1500
#define AUTO_SUBNET_BITS 24
#define FIRST_VNI        4097
#define MAC_TRIES        64

static void field_path(char out[256], const char *field, const char *name)
{
        (void)snprintf(out, 256, "%s.%s", field, name);
}

/* ---- VPCs and subnets made on the fly ---- */

static json_t *new_object(struct api_txn *t, const struct api_kind *kind, const char *name_space,
                          const char *name)
{
        char uuid[AK_UUID_SIZE];

        api_random_uuid(t->core, uuid);
        return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:o, s:i}}", "apiVersion", "vpc.alkaid.io/v1", "kind",
                         kind->kind, "metadata", "name", name, "namespace", name_space, "uid", uuid,
                         "creationTimestamp", api_time(t->real_us), "generation", 1);
}

static void auto_create_vpc(struct api_txn *t, const char *name_space, const char *vpc)
{
        char cidr[AK_CIDR_SIZE], name[300];
        struct ak_cidr range = t->core->auto_vpc_cidr;
        json_t *object = new_object(t, &api_kind_vpc, name_space, vpc);

        ak_cidr_format(&range, cidr);
        (void)api_set(object, "spec.cidr", json_string(cidr));
        (void)api_set(object, "status.phase", json_string("Ready"));
        if (api_txn_put(t, &api_kind_vpc, object) < 0)
                return;
        if (range.prefix_len < AUTO_SUBNET_BITS && range.addr.family == 4)
                range.prefix_len = AUTO_SUBNET_BITS;
        ak_cidr_format(&range, cidr);
        (void)snprintf(name, sizeof(name), "%.240s-default", vpc);
        if (api_find(t->core, &api_kind_subnet, name_space, name))
                return; /* another VPC's: not to be overwritten */
        object = new_object(t, &api_kind_subnet, name_space, name);
        (void)api_set(object, "spec.vpc", json_string(vpc));
        (void)api_set(object, "spec.cidr", json_string(cidr));
        struct api_causes causes = {0};
        api_check_subnet(t, object, &causes);
        if (api_causes_any(&causes))
                json_decref(object);
        else
                (void)api_txn_put(t, &api_kind_subnet, object);
        api_causes_deinit(&causes);
}

json_t *api_resolve_subnet(struct api_txn *t, const char *name_space, const char *vpc, const char *subnet,
                           const char *field, const char *vpc_field, struct api_causes *causes)
{
        json_t *value = json_string(*subnet ? subnet : vpc), *found;
        const char *leaf = strcmp(field, "spec") == 0 ? "subnet" : "subnetName"; /* a Port's or a NIC's */
        char name[300], path[256], detail[400];

        if (!api_find(t->core, &api_kind_vpc, name_space, vpc) && t->core->auto_create_vpc)
                auto_create_vpc(t, name_space, vpc);
        if (!api_find(t->core, &api_kind_vpc, name_space, vpc)) {
                (void)snprintf(detail, sizeof(detail), "no VPC of that name in namespace %s; create it first",
                               name_space);
                api_cause(causes, API_NOT_FOUND, vpc_field, value, detail);
                json_decref(value);
                return NULL;
        }
        (void)snprintf(name, sizeof(name), "%.240s-default", vpc);
        found = api_find(t->core, &api_kind_subnet, name_space, *subnet ? subnet : name);
        if (found && strcmp(api_text(found, "spec.vpc"), vpc) != 0)
                found = NULL;
        if (!found) {
                (void)snprintf(detail, sizeof(detail),
                               *subnet ? "no subnet of that name in VPC %.200s"
                                       : "VPC %.200s has no default subnet; name one",
                               vpc);
                field_path(path, field, leaf);
                api_cause(causes, *subnet ? API_NOT_FOUND : API_REQUIRED, path, value, detail);
        }
        json_decref(value);
        return found;
}

/* Number of addresses of an IPv4 network. */
static uint64_t range_size(const struct ak_cidr *range)
{
        return UINT64_C(1) << (32 - range->prefix_len);
}

static void check_gateway(json_t *subnet, const struct ak_cidr *range, struct api_causes *causes)
{
        const char *text = api_text(subnet, "spec.gateway");
        char gateway[AK_IP_SIZE];
        struct ak_ip ip;
        uint64_t index;

        if (*text) {
                if (ak_ip_parse(text, &ip) == 0 &&
                    (!ak_cidr_contains(range, &ip) || ak_cidr_index(range, &ip, &index) < 0 || index == 0 ||
                     index == range_size(range) - 1))
                        api_cause(causes, API_INVALID, "spec.gateway", api_at(subnet, "spec.gateway"),
                                  "must be the address of a host in spec.cidr");
                return;
        }
        if (ak_cidr_nth(range, 1, &ip) < 0)
                return;
        ak_ip_format(&ip, gateway);
        (void)api_set(subnet, "spec.gateway", json_string(gateway));
}

static void check_range(struct api_txn *t, const json_t *subnet, const struct ak_cidr *range,
                        struct api_causes *causes)
{
        const struct api_table_of_kind *subnets = api_objects(t->core, &api_kind_subnet);
        const json_t *value = api_at(subnet, "spec.cidr");
        const json_t *vpc =
            api_find(t->core, &api_kind_vpc, api_namespace(subnet), api_text(subnet, "spec.vpc"));
        struct ak_cidr other;
        char detail[400];

        if (!vpc)
                api_cause(causes, API_NOT_FOUND, "spec.vpc", api_at(subnet, "spec.vpc"),
                          "no VPC of that name");
        else if (ak_cidr_parse(api_text(vpc, "spec.cidr"), &other) == 0 &&
                 (!ak_cidr_contains(&other, &range->addr) || range->prefix_len < other.prefix_len))
                api_cause(causes, API_INVALID, "spec.cidr", value, "must lie in the VPC's cidr");
        for (size_t i = 0; i < subnets->count; i++) {
                const json_t *s = api_tree(t->core, &subnets->items[i]);
                if (strcmp(api_namespace(s), api_namespace(subnet)) != 0 ||
                    strcmp(api_text(s, "spec.vpc"), api_text(subnet, "spec.vpc")) != 0 ||
                    strcmp(api_name(s), api_name(subnet)) == 0 ||
                    ak_cidr_parse(api_text(s, "spec.cidr"), &other) < 0 || !ak_cidr_overlaps(range, &other))
                        continue;
                (void)snprintf(detail, sizeof(detail), "overlaps subnet %.250s of the VPC", api_name(s));
                api_cause(causes, API_INVALID, "spec.cidr", value, detail);
        }
}

static void check_cidr6(struct api_txn *t, const json_t *subnet, struct api_causes *causes)
{
        const struct api_table_of_kind *subnets = api_objects(t->core, &api_kind_subnet);
        const json_t *value = api_at(subnet, "spec.cidr6");
        struct ak_cidr range, other;
        struct ak_ip network;
        char detail[400];

        if (!value || ak_cidr_parse(api_text(subnet, "spec.cidr6"), &range) < 0)
                return; /* none, or the schema has said so */
        if (range.addr.family != 6 || range.prefix_len != 64 || ak_cidr_nth(&range, 0, &network) < 0 ||
            ak_ip_compare(&network, &range.addr) != 0) {
                api_cause(causes, API_INVALID, "spec.cidr6", value,
                          "must be an IPv6 network address with a prefix of 64 bits");
                return;
        }
        for (size_t i = 0; i < subnets->count; i++) {
                const json_t *s = api_tree(t->core, &subnets->items[i]);
                if (strcmp(api_namespace(s), api_namespace(subnet)) != 0 ||
                    strcmp(api_text(s, "spec.vpc"), api_text(subnet, "spec.vpc")) != 0 ||
                    strcmp(api_name(s), api_name(subnet)) == 0 ||
                    ak_cidr_parse(api_text(s, "spec.cidr6"), &other) < 0 || !ak_cidr_overlaps(&range, &other))
                        continue;
                (void)snprintf(detail, sizeof(detail), "overlaps subnet %.250s of the VPC", api_name(s));
                api_cause(causes, API_INVALID, "spec.cidr6", value, detail);
        }
}

void api_check_subnet(struct api_txn *t, json_t *subnet, struct api_causes *causes)
{
        struct ak_cidr range;
        struct ak_ip network;

        if (ak_cidr_parse(api_text(subnet, "spec.cidr"), &range) < 0)
                return; /* the schema has said so */
        if (range.addr.family != 4 || range.prefix_len > 30 || range.prefix_len < 8 ||
            ak_cidr_nth(&range, 0, &network) < 0 || ak_ip_compare(&network, &range.addr) != 0) {
                api_cause(causes, API_INVALID, "spec.cidr", api_at(subnet, "spec.cidr"),
                          "must be an IPv4 network address with a prefix of 8 to 30 bits");
                return;
        }
        check_range(t, subnet, &range, causes);
        check_cidr6(t, subnet, causes);
        check_gateway(subnet, &range, causes);
        if (!api_at(subnet, "spec.dhcp"))
                (void)api_set(subnet, "spec.dhcp", json_true());
        if (!api_at(subnet, "spec.mtu"))
                (void)api_set(subnet, "spec.mtu", json_integer(DEFAULT_MTU));
        if (!api_at(subnet, "spec.dns"))
                (void)api_set(subnet, "spec.dns", json_pack("[s]", api_text(subnet, "spec.gateway")));
        if (!api_at(subnet, "status.vni")) {
                if (t->core->next_vni < FIRST_VNI)
                        t->core->next_vni = FIRST_VNI;
                (void)api_set(subnet, "status.vni", json_integer((json_int_t)t->core->next_vni));
        }
        (void)api_set(subnet, "status.phase", json_string("Ready"));
}

/* ---- addresses ---- */

static bool ip_free(const struct api_txn *t, const json_t *subnet, const struct ak_ip *ip,
                    char text[AK_IP_SIZE])
{
        ak_ip_format(ip, text);
        return strcmp(text, api_text(subnet, "spec.gateway")) != 0 &&
               !api_index_get(t->core, "ip/%s/%s", api_uid(subnet), text);
}

static bool pick_ip(struct api_txn *t, const json_t *subnet, const struct ak_cidr *range,
                    char text[AK_IP_SIZE])
{
        uint64_t size = range_size(range), usable = size - 2, at;
        json_t *cursor = json_object_get(t->core->ip_cursors, api_uid(subnet));

        at = cursor ? (uint64_t)json_integer_value(cursor) : 1;
        for (uint64_t tries = 0; tries < usable; tries++, at++) {
                struct ak_ip ip;

                if (at < 1 || at > usable)
                        at = 1;
                if (ak_cidr_nth(range, at, &ip) == 0 && ip_free(t, subnet, &ip, text)) {
                        api_txn_keep_cursor(t, api_uid(subnet));
                        (void)json_object_set_new(t->core->ip_cursors, api_uid(subnet),
                                                  json_integer((json_int_t)at + 1));
                        return true;
                }
        }
        return false;
}

static void holder_text(const struct api_core *core, const char *what, const char *port_key, char out[400])
{
        const json_t *port = api_find_key(core, &api_kind_port, port_key);
        const char *pod = api_text(port, "spec.boundTo.name");

        if (*pod)
                (void)snprintf(out, 400, "%s is taken by NIC %.32s of pod %.200s%s", what,
                               api_text(port, "spec.boundTo.nic"), pod,
                               strcmp(api_text(port, "status.phase"), "Releasing") == 0
                                   ? ", which is releasing it"
                                   : "");
        else
                (void)snprintf(out, 400, "%s is taken by port %.200s", what, api_name(port));
}

static void check_ip(struct api_txn *t, const json_t *value, const json_t *subnet,
                     const struct ak_cidr *range, const char *path, struct api_causes *causes)
{
        const char *text = json_string_value(value), *holder;
        char canonical[AK_IP_SIZE], detail[400];
        struct ak_ip ip;
        uint64_t index;

        if (!text || ak_ip_parse(text, &ip) < 0) {
                if (text && !*text) /* of all that is malformed, the schema lets this pass */
                        api_cause(causes, API_INVALID, path, value, "must be a valid IP address");
                return;
        }
        if (!ak_cidr_contains(range, &ip) || ak_cidr_index(range, &ip, &index) < 0) {
                (void)snprintf(detail, sizeof(detail), "must lie in subnet %.250s (%s)", api_name(subnet),
                               api_text(subnet, "spec.cidr"));
                api_cause(causes, API_INVALID, path, value, detail);
                return;
        }
        ak_ip_format(&ip, canonical);
        if (index == 0 || index == range_size(range) - 1 ||
            strcmp(canonical, api_text(subnet, "spec.gateway")) == 0) {
                api_cause(causes, API_INVALID, path, value,
                          index == 0 ? "is the subnet's network address"
                          : strcmp(canonical, api_text(subnet, "spec.gateway")) == 0
                              ? "is the subnet's gateway"
                              : "is the subnet's broadcast address");
                return;
        }
        holder = api_index_get(t->core, "ip/%s/%s", api_uid(subnet), canonical);
        if (holder) {
                holder_text(t->core, "the address", holder, detail);
                api_cause(causes, API_INVALID, path, value, detail);
        }
}

static void check_ips(struct api_txn *t, const json_t *wanted, const json_t *subnet,
                      const struct ak_cidr *range, const char *path, struct api_causes *causes)
{
        json_t *value, *seen = json_object();
        size_t i;

        json_array_foreach((json_t *)wanted, i, value)
        {
                if (json_object_get(seen, json_string_value(value)))
                        api_cause(causes, API_DUPLICATE, path, value, "");
                else
                        check_ip(t, value, subnet, range, path, causes);
                (void)json_object_set_new(seen, json_string_value(value), json_true());
        }
        json_decref(seen);
}

static void allocate_ip(struct api_txn *t, json_t *port, const json_t *subnet, const char *path,
                        struct api_causes *causes)
{
        const json_t *wanted = api_at(port, "spec.ipAddresses");
        struct ak_cidr range;
        char text[AK_IP_SIZE], detail[400];

        if (ak_cidr_parse(api_text(subnet, "spec.cidr"), &range) < 0)
                return;
        if (json_array_size(wanted) > 0) {
                check_ips(t, wanted, subnet, &range, path, causes);
        } else if (pick_ip(t, subnet, &range, text)) {
                (void)api_set(port, "spec.ipAddresses", json_pack("[s]", text));
        } else {
                (void)snprintf(detail, sizeof(detail), "subnet %.250s has no free address", api_name(subnet));
                api_cause(causes, API_INVALID, path, NULL, detail);
        }
}

static void allocate_mac(struct api_txn *t, json_t *port, const char *vpc_uid, const char *path,
                         struct api_causes *causes)
{
        const json_t *wanted = *api_text(port, "spec.macAddress") ? api_at(port, "spec.macAddress") : NULL;
        char mac[AK_MAC_SIZE], detail[400];
        const char *holder;

        if (wanted) {
                if (ak_mac_parse(json_string_value(wanted), mac) < 0)
                        return; /* the schema has said so */
                holder = api_index_get(t->core, "mac/%s/%s", vpc_uid, mac);
                if (holder) {
                        holder_text(t->core, "the MAC", holder, detail);
                        api_cause(causes, API_INVALID, path, wanted, detail);
                        return;
                }
                (void)api_set(port, "spec.macAddress", json_string(mac));
                return;
        }
        for (int i = 0; i < MAC_TRIES; i++) {
                ak_mac_from_bits(api_random(t->core), mac);
                if (!api_index_get(t->core, "mac/%s/%s", vpc_uid, mac)) {
                        (void)api_set(port, "spec.macAddress", json_string(mac));
                        return;
                }
        }
        api_cause(causes, API_INVALID, path, NULL, "no free MAC was found");
}

/* ---- IPv6 ---- */

/* fd, 40 bits of the VPC's UID (RFC 4193: random), the VNI. */
static const json_t *with_cidr6(struct api_txn *t, const json_t *subnet, const char *vpc_uid)
{
        unsigned int vni = (unsigned int)json_integer_value(api_at(subnet, "status.vni"));
        char cidr[AK_CIDR_SIZE];
        json_t *copy;

        if (*api_text(subnet, "spec.cidr6"))
                return subnet;
        (void)snprintf(cidr, sizeof(cidr), "fd%.2s:%.4s:%.4s:%x::/64", vpc_uid, vpc_uid + 2, vpc_uid + 9,
                       vni & 0xffffU);
        copy = api_copy(subnet);
        (void)api_set(copy, "spec.cidr6", json_string(cidr));
        return api_txn_put(t, &api_kind_subnet, copy) == 0 ? copy : subnet; /* the table holds it */
}

/*
 * The network and the MAC's modified EUI-64 (RFC 4291, appendix A): what the guest takes by itself from a
 * router advertisement. As unique as the MAC, so there is nothing to allocate.
 */
static void address6(const struct ak_cidr *net, const char *mac, char out[AK_IP_SIZE])
{
        struct ak_ip ip = net->addr;
        uint8_t m[6];

        ak_mac_bytes(mac, m);
        const uint8_t id[8] = {m[0] ^ 2U, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
        memcpy(ip.bytes + 8, id, sizeof(id));
        ak_ip_format(&ip, out);
}

/* After the MAC and the IPv4 address. */
static void allocate_ip6(json_t *port, const json_t *subnet)
{
        char text[AK_IP_SIZE], gateway[AK_IP_SIZE];
        struct ak_cidr net;
        struct ak_ip router;

        if (ak_cidr_parse(api_text(subnet, "spec.cidr6"), &net) < 0 || ak_cidr_nth(&net, 1, &router) < 0)
                return;
        address6(&net, api_text(port, "spec.macAddress"), text);
        ak_ip_format(&router, gateway);
        (void)json_array_append_new(api_at(port, "spec.ipAddresses"), json_string(text));
        (void)api_set(port, "status.cidr6", json_string(api_text(subnet, "spec.cidr6")));
        (void)api_set(port, "status.gateway6", json_string(gateway));
}

/* ---- quota ---- */

bool api_port_quota(struct api_txn *t, const char *name_space)
{
        const struct api_table_of_kind *ports = api_objects(t->core, &api_kind_port);
        const json_t *ns = api_find(t->core, &api_kind_namespace, "", name_space);
        const char *text =
            json_string_value(json_object_get(api_at(ns, "metadata.annotations"), API_QUOTA_ANNOTATION));
        char key[API_KEY_SIZE], *end;

        if (!text)
                return true;
        unsigned long most = strtoul(text, &end, 10);
        (void)snprintf(key, sizeof(key), "%s0", name_space); /* '0' follows '/' */
        size_t used = api_lower_bound(ports, key);
        (void)snprintf(key, sizeof(key), "%s/", name_space);
        used -= api_lower_bound(ports, key);
        if (*text && *end == '\0' && used < most)
                return true;
        api_fail_fmt(
            t->out, 403, "Forbidden", &api_kind_port, "",
            "exceeded quota of ports: namespace %.100s has %zu, and its annotation " API_QUOTA_ANNOTATION
            " allows %.20s; a NIC being removed counts until its guest lets go",
            name_space, used, text);
        return false;
}

void api_allocate_port(struct api_txn *t, json_t *port, const json_t *subnet, const char *field, bool of_nic,
                       struct api_causes *causes)
{
        bool ipv6 = json_is_true(api_at(port, "spec.ipv6Enabled"));
        const json_t *vpc =
            api_find(t->core, &api_kind_vpc, api_namespace(subnet), api_text(subnet, "spec.vpc"));
        if (ipv6 && !api_causes_any(causes))
                subnet = with_cidr6(t, subnet, api_uid(vpc));
        json_t *status =
            json_pack("{s:s, s:s, s:s, s:s, s:O*, s:O*, s:O*, s:O*, s:O*}", "vpcID", api_uid(vpc), "subnetID",
                      api_uid(subnet), "cidr", api_text(subnet, "spec.cidr"), "gateway",
                      api_text(subnet, "spec.gateway"), "dns", api_at(subnet, "spec.dns"), "dhcp",
                      api_at(subnet, "spec.dhcp"), "vni", api_at(subnet, "status.vni"), "mtu",
                      api_at(subnet, "spec.mtu"), "sourceNAT", api_at(vpc, "spec.sourceNAT"));
        char path[256];

        (void)api_set(status, "phase", json_string("Unbound"));
        (void)json_object_set_new(port, "status", status);
        (void)api_set(port, "spec.subnet", json_string(api_name(subnet)));
        field_path(path, field, of_nic ? "ipAddress" : "ipAddresses");
        allocate_ip(t, port, subnet, path, causes);
        field_path(path, field, "macAddress");
        allocate_mac(t, port, api_uid(vpc), path, causes);
        if (ipv6 && !api_causes_any(causes))
                allocate_ip6(port, subnet);
}

int api_free_slot(const struct api_core *core, const char *pod_uid, uint32_t slots)
{
        for (uint32_t n = 0; n < slots; n++)
                if (!api_index_get(core, "slot/%s/%u", pod_uid, n))
                        return (int)n;
        return -1;
}

static json_t *with_phase(const json_t *port, const char *phase)
{
        json_t *copy = api_copy(port);

        (void)api_set(copy, "status.phase", json_string(phase));
        return copy;
}

void api_finish_port(struct api_txn *t, const json_t *port)
{
        json_t *copy, *spec;

        if (json_is_true(api_at(port, "spec.autoCreated"))) {
                struct api_causes none = {0}; /* fewer members never come to more lines */

                api_groups_port(t, port, NULL, "spec", &none);
                api_causes_deinit(&none);
                (void)api_txn_delete(t, &api_kind_port, (json_t *)port);
                return;
        }
        copy = with_phase(port, "Unbound");
        spec = json_object_get(copy, "spec");
        (void)json_object_del(spec, "boundTo");
        (void)json_object_del(spec, "nodeName");
        (void)json_object_del(spec, "slot");
        (void)api_txn_put(t, &api_kind_port, copy);
}

void api_release_ports(struct api_txn *t, const char *pod_uid, const char *port_name)
{
        json_t *keys = json_copy(json_object_get(t->core->pod_ports, pod_uid)), *unused;
        const char *key;

        json_object_foreach(keys, key, unused)
        {
                const json_t *port = api_find_key(t->core, &api_kind_port, key);

                if (!port || (port_name && strcmp(api_name(port), port_name) != 0) ||
                    strcmp(api_text(port, "status.phase"), "Bound") != 0)
                        continue;
                if (*api_text(port, "spec.nodeName"))
                        (void)api_txn_put(t, &api_kind_port, with_phase(port, "Releasing"));
                else /* no node ever had it, so none has to let go */
                        api_finish_port(t, port);
        }
        json_decref(keys);
}
