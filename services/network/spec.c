/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/spec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void net_error_set(struct net_error *error, const char *reason, const char *format, ...)
{
        va_list ap;

        snprintf(error->reason, sizeof(error->reason), "%s", reason);
        va_start(ap, format);
        vsnprintf(error->message, sizeof(error->message), format, ap);
        va_end(ap);
}

static int invalid(struct net_error *error, const char *field, const char *value, const char *rule)
{
        net_error_set(error, "InvalidPort", "nic.diff %s \"%.64s\": %s", field, value, rule);
        return -EINVAL;
}

static int take_uuid(const char *field, const char *text, char out[AK_UUID_SIZE], struct net_error *error)
{
        if (!ak_uuid_valid(text))
                return invalid(error, field, text, "must be a lower-case UUID");
        memcpy(out, text, AK_UUID_SIZE);
        return 0;
}

static int take_ids(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        int r = take_uuid("port_id", d->port_id, s->key.port_id, error);

        if (r == 0)
                r = take_uuid("pod_uid", d->pod_uid, s->key.pod_uid, error);
        if (r == 0)
                r = take_uuid("subnet_id", d->subnet_id, s->key.subnet_id, error);
        if (r == 0)
                r = take_uuid("vpc_id", d->vpc_id, s->vpc_id, error);
        if (r == 0 && ak_mac_parse(d->mac, s->mac) < 0)
                r = invalid(error, "mac", d->mac, "must be a unicast MAC address");
        return r;
}

static int take_cidr(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        struct ak_cidr c;

        if (ak_cidr_parse(d->cidr, &c) < 0)
                return invalid(error, "cidr", d->cidr, "must be an address and a prefix length");
        if (c.addr.family != 4)
                return invalid(error, "cidr", d->cidr, "only IPv4 subnets are served by this backend");
        if (c.prefix_len < NET_PREFIX_MIN || c.prefix_len > NET_PREFIX_MAX)
                return invalid(error, "cidr", d->cidr, "the prefix length must be 8 to 30");
        s->cidr = c;
        return ak_cidr_nth(&c, 0, &s->cidr.addr);
}

/* Neither the network's own address nor its broadcast address. */
static bool usable(const struct ak_cidr *net, const struct ak_ip *ip)
{
        uint64_t index, last = (UINT64_C(1) << (32 - net->prefix_len)) - 1;

        return ak_cidr_index(net, ip, &index) == 0 && index != 0 && index != last;
}

static int take_gateway(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        struct ak_cidr with_prefix;

        if (ak_ip_parse(d->gateway, &s->gateway) < 0) {
                if (ak_cidr_parse(d->gateway, &with_prefix) < 0)
                        return invalid(error, "gateway", d->gateway, "must be an IP address");
                s->gateway = with_prefix.addr;
        }
        if (s->gateway.family != 4 || !usable(&s->cidr, &s->gateway))
                return invalid(error, "gateway", d->gateway, "must be a host address of the subnet");
        return 0;
}

static int take_ipv6_net(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        if (d->cidr6[0] == '\0')
                return 0;
        if (ak_cidr_parse(d->cidr6, &s->cidr6) < 0 || s->cidr6.addr.family != 6 || s->cidr6.prefix_len != 64)
                return invalid(error, "cidr6", d->cidr6, "must be an IPv6 network of 64 bits");
        if (ak_ip_parse(d->gateway6, &s->gateway6) < 0 || !ak_cidr_contains(&s->cidr6, &s->gateway6))
                return invalid(error, "gateway6", d->gateway6, "must be an address of cidr6");
        return ak_cidr_nth(&s->cidr6, 0, &s->cidr6.addr);
}

static int take_address6(const char *text, const struct ak_ip *ip, struct net_port_spec *s,
                         struct net_error *error)
{
        if (s->cidr6.prefix_len == 0 || !ak_cidr_contains(&s->cidr6, ip) ||
            ak_ip_compare(ip, &s->gateway6) == 0)
                return invalid(error, "addresses", text, "must be a host address of cidr6");
        if (s->address6.family != 0)
                return invalid(error, "addresses", text, "a port has one IPv6 address");
        s->address6 = *ip;
        return 0;
}

static int take_address4(const char *text, const struct ak_cidr *c, struct net_port_spec *s,
                         struct net_error *error)
{
        if (!usable(&s->cidr, &c->addr))
                return invalid(error, "addresses", text, "must be a host address of the subnet");
        if (ak_ip_compare(&c->addr, &s->gateway) == 0)
                return invalid(error, "addresses", text, "is the gateway's address");
        s->addresses[s->address_count++] = *c;
        return 0;
}

static int take_addresses(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        for (uint32_t i = 0; i < d->addresses.count && i < AK_MAX_ADDRS; i++) {
                const char *text = d->addresses.items[i];
                struct ak_cidr c;

                if (ak_cidr_parse(text, &c) < 0)
                        return invalid(error, "addresses", text, "must be an address and a prefix length");
                int r = c.addr.family == 6 ? take_address6(text, &c.addr, s, error)
                                           : take_address4(text, &c, s, error);
                if (r < 0)
                        return r;
        }
        if (s->address_count == 0)
                return invalid(error, "addresses", "", "at least one IPv4 address is needed");
        return 0;
}

static int take_dns(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        for (uint32_t i = 0; i < d->dns.count && i < AK_MAX_ADDRS; i++) {
                struct ak_ip ip;

                if (ak_ip_parse(d->dns.items[i], &ip) < 0)
                        return invalid(error, "dns", d->dns.items[i], "must be an IP address");
                if (ip.family == 4)
                        s->dns[s->dns_count++] = ip;
        }
        return 0;
}

/* ------------------------------------------------------------------ security rules */

static int parse_ports(const char *text, struct net_rule *r)
{
        unsigned long low, high;
        char *end;

        if (strcmp(text, "-") == 0)
                return 0;
        low = strtoul(text, &end, 10);
        if (*end != '-')
                return -EINVAL;
        high = strtoul(end + 1, &end, 10);
        if (*end != '\0' || low < 1 || high > 65535 || low > high ||
            (r->protocol != NET_TCP && r->protocol != NET_UDP))
                return -EINVAL;
        r->low = (uint16_t)low;
        r->high = (uint16_t)high;
        return 0;
}

static int parse_protocol(const char *text, enum net_protocol *out)
{
        static const char *const names[] = {"any", "tcp", "udp", "icmp"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++)
                if (strcmp(text, names[i]) == 0) {
                        *out = (enum net_protocol)i;
                        return 0;
                }
        return -EINVAL;
}

/* Copies the item before the next comma. False: there is none, or it is no network. */
static bool next_network(const char **cursor, char text[AK_CIDR_SIZE], struct ak_ip *ip)
{
        size_t len = strcspn(*cursor, ",");
        struct ak_cidr cidr;

        if (len == 0 || len >= AK_CIDR_SIZE)
                return false;
        memcpy(text, *cursor, len);
        text[len] = '\0';
        *cursor += len + ((*cursor)[len] == ',');
        if (ak_ip_parse(text, ip) == 0)
                return true;
        if (ak_cidr_parse(text, &cidr) < 0)
                return false;
        *ip = cidr.addr;
        return true;
}

bool net_rule_network(const char **cursor, uint8_t family, char out[AK_CIDR_SIZE])
{
        struct ak_ip ip;

        while (next_network(cursor, out, &ip))
                if (ip.family == family)
                        return true;
        return false;
}

int net_rule_parse(const char *text, struct net_rule *out)
{
        char direction[4], protocol[5], ports[12], network[AK_CIDR_SIZE];
        struct net_rule r = {0};
        struct ak_ip ip;
        int end = -1;

        if (strlen(text) > AK_LEN_RULE ||
            sscanf(text, "%3s %4s %11s %n", direction, protocol, ports, &end) != 3 || end < 0)
                return -EINVAL;
        r.out = strcmp(direction, "out") == 0;
        if ((!r.out && strcmp(direction, "in") != 0) || parse_protocol(protocol, &r.protocol) < 0 ||
            parse_ports(ports, &r) < 0)
                return -EINVAL;
        snprintf(r.networks, sizeof(r.networks), "%s", text + end);
        const char *cursor = r.networks;
        if (r.networks[0] != '\0' && r.networks[strlen(r.networks) - 1] == ',')
                return -EINVAL;
        do
                if (!next_network(&cursor, network, &ip))
                        return -EINVAL;
        while (*cursor != '\0');
        *out = r;
        return 0;
}

static int take_security(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        struct net_rule rule;

        s->restricted = d->restricted;
        s->ingress_kbps = (uint32_t)d->ingress_kbps;
        s->egress_kbps = (uint32_t)d->egress_kbps;
        for (uint32_t i = 0; i < d->rules.count && i < AK_MAX_RULES; i++) {
                if (net_rule_parse(d->rules.items[i], &rule) < 0)
                        return invalid(error, "rules", d->rules.items[i],
                                       "must be in|out, a protocol, LOW-HIGH or -, and networks");
                memcpy(s->rules[s->rule_count++], d->rules.items[i], sizeof(s->rules[0]));
        }
        return 0;
}

/* The primary NIC answers to the pod's name, the others to NIC-POD. Where that is no label: to none. */
static void take_name(const struct ak_nic_diff *d, struct net_port_spec *s)
{
        char name[AK_LEN_NAME + AK_LEN_NIC + 2];

        snprintf(name, sizeof(name), "%s%s%s", d->primary ? "" : d->nic, d->primary ? "" : "-", d->pod_name);
        if (ak_dns1123_label_valid(name))
                snprintf(s->host_name, sizeof(s->host_name), "%.63s", name);
}

int net_spec_from_diff(const struct ak_nic_diff *d, uint32_t fabric_mtu, struct net_port_spec *out,
                       struct net_error *error)
{
        struct net_port_spec s;

        memset(&s, 0, sizeof(s));
        s.dhcp = d->dhcp;
        s.vni = (uint32_t)d->vni;
        s.source_nat = d->source_nat;
        s.mtu = d->mtu == 0 ? fabric_mtu : (uint32_t)d->mtu;
        int r = take_ids(d, &s, error);
        if (r == 0)
                r = take_cidr(d, &s, error);
        if (r == 0)
                r = take_gateway(d, &s, error);
        if (r == 0)
                r = take_ipv6_net(d, &s, error);
        if (r == 0)
                r = take_addresses(d, &s, error);
        if (r == 0)
                r = take_security(d, &s, error);
        take_name(d, &s);
        if (r == 0)
                r = take_dns(d, &s, error);
        if (r == 0 && (s.mtu < NET_MTU_MIN || s.mtu > NET_MTU_MAX)) {
                net_error_set(error, "InvalidPort", "nic.diff mtu %u: must be %d to %d", s.mtu, NET_MTU_MIN,
                              NET_MTU_MAX);
                r = -EINVAL;
        }
        if (r == 0)
                *out = s;
        return r;
}

static bool ips_equal(const struct ak_ip *a, const struct ak_ip *b, uint32_t count)
{
        for (uint32_t i = 0; i < count; i++)
                if (ak_ip_compare(&a[i], &b[i]) != 0)
                        return false;
        return true;
}

static bool cidrs_equal(const struct ak_cidr *a, const struct ak_cidr *b, uint32_t count)
{
        for (uint32_t i = 0; i < count; i++)
                if (a[i].prefix_len != b[i].prefix_len || ak_ip_compare(&a[i].addr, &b[i].addr) != 0)
                        return false;
        return true;
}

static bool same_family(const struct ak_ip *a, const struct ak_ip *b)
{
        return a->family == b->family && (a->family == 0 || ak_ip_compare(a, b) == 0);
}

bool net_spec_same_subnet(const struct net_port_spec *a, const struct net_port_spec *b)
{
        return strcmp(a->key.subnet_id, b->key.subnet_id) == 0 && strcmp(a->vpc_id, b->vpc_id) == 0 &&
               a->dhcp == b->dhcp && a->dns_count == b->dns_count && a->vni == b->vni &&
               a->source_nat == b->source_nat && cidrs_equal(&a->cidr, &b->cidr, 1) &&
               ak_ip_compare(&a->gateway, &b->gateway) == 0 && ips_equal(a->dns, b->dns, a->dns_count);
}

static bool same_security(const struct net_port_spec *a, const struct net_port_spec *b)
{
        if (a->restricted != b->restricted || a->rule_count != b->rule_count ||
            a->ingress_kbps != b->ingress_kbps || a->egress_kbps != b->egress_kbps)
                return false;
        for (uint32_t i = 0; i < a->rule_count; i++)
                if (strcmp(a->rules[i], b->rules[i]) != 0)
                        return false;
        return true;
}

bool net_spec_equal(const struct net_port_spec *a, const struct net_port_spec *b)
{
        return memcmp(&a->key, &b->key, sizeof(a->key)) == 0 && net_spec_same_subnet(a, b) &&
               strcmp(a->mac, b->mac) == 0 && a->mtu == b->mtu && a->address_count == b->address_count &&
               cidrs_equal(a->addresses, b->addresses, a->address_count) &&
               same_family(&a->cidr6.addr, &b->cidr6.addr) && same_family(&a->address6, &b->address6) &&
               strcmp(a->host_name, b->host_name) == 0 && same_security(a, b);
}

static json_t *cidr_json(const struct ak_cidr *c)
{
        char text[AK_CIDR_SIZE];

        ak_cidr_format(c, text);
        return json_string(text);
}

static json_t *ip_json(const struct ak_ip *ip)
{
        char text[AK_IP_SIZE];

        ak_ip_format(ip, text);
        return json_string(text);
}

/* What most ports do not have is not shown. */
static json_t *add_extras(json_t *json, const struct net_port_spec *s)
{
        json_t *rules = json_array();

        if (s->address6.family != 0) {
                json_object_set_new(json, "address6", ip_json(&s->address6));
                json_object_set_new(json, "cidr6", cidr_json(&s->cidr6));
        }
        for (uint32_t i = 0; i < s->rule_count; i++)
                json_array_append_new(rules, json_string(s->rules[i]));
        if (s->restricted)
                json_object_set(json, "rules", rules);
        json_decref(rules);
        if (s->ingress_kbps)
                json_object_set_new(json, "ingress_kbps", json_integer(s->ingress_kbps));
        if (s->egress_kbps)
                json_object_set_new(json, "egress_kbps", json_integer(s->egress_kbps));
        if (s->source_nat)
                json_object_set_new(json, "source_nat", json_true());
        return json;
}

json_t *net_spec_to_json(const struct net_port_spec *s)
{
        json_t *addresses = json_array(), *dns = json_array();

        for (uint32_t i = 0; i < s->address_count; i++)
                json_array_append_new(addresses, cidr_json(&s->addresses[i]));
        for (uint32_t i = 0; i < s->dns_count; i++)
                json_array_append_new(dns, ip_json(&s->dns[i]));
        json_t *json =
            json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:b,s:i}", "port_id", s->key.port_id, "pod_uid",
                      s->key.pod_uid, "subnet_id", s->key.subnet_id, "vpc_id", s->vpc_id, "mac", s->mac,
                      "addresses", addresses, "cidr", cidr_json(&s->cidr), "gateway", ip_json(&s->gateway),
                      "dns", dns, "dhcp", s->dhcp ? 1 : 0, "mtu", (int)s->mtu);
        return json ? add_extras(json, s) : NULL;
}
