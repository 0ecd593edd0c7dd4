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

static int take_addresses(const struct ak_nic_diff *d, struct net_port_spec *s, struct net_error *error)
{
        for (uint32_t i = 0; i < d->addresses.count && i < AK_MAX_ADDRS; i++) {
                const char *text = d->addresses.items[i];
                struct ak_cidr *c = &s->addresses[i];

                if (ak_cidr_parse(text, c) < 0)
                        return invalid(error, "addresses", text, "must be an address and a prefix length");
                if (c->addr.family != 4 || !usable(&s->cidr, &c->addr))
                        return invalid(error, "addresses", text, "must be a host address of the subnet");
                if (ak_ip_compare(&c->addr, &s->gateway) == 0)
                        return invalid(error, "addresses", text, "is the gateway's address");
                s->address_count = i + 1;
        }
        if (s->address_count == 0)
                return invalid(error, "addresses", "", "at least one address is needed");
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

int net_spec_from_diff(const struct ak_nic_diff *d, uint32_t fabric_mtu, struct net_port_spec *out,
                       struct net_error *error)
{
        struct net_port_spec s;

        memset(&s, 0, sizeof(s));
        s.dhcp = d->dhcp;
        s.mtu = d->mtu == 0 ? fabric_mtu : (uint32_t)d->mtu;
        int r = take_ids(d, &s, error);
        if (r == 0)
                r = take_cidr(d, &s, error);
        if (r == 0)
                r = take_gateway(d, &s, error);
        if (r == 0)
                r = take_addresses(d, &s, error);
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

bool net_spec_equal(const struct net_port_spec *a, const struct net_port_spec *b)
{
        return memcmp(&a->key, &b->key, sizeof(a->key)) == 0 && strcmp(a->vpc_id, b->vpc_id) == 0 &&
               strcmp(a->mac, b->mac) == 0 && a->dhcp == b->dhcp && a->mtu == b->mtu &&
               a->address_count == b->address_count && a->dns_count == b->dns_count &&
               cidrs_equal(&a->cidr, &b->cidr, 1) && ak_ip_compare(&a->gateway, &b->gateway) == 0 &&
               cidrs_equal(a->addresses, b->addresses, a->address_count) &&
               ips_equal(a->dns, b->dns, a->dns_count);
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

json_t *net_spec_to_json(const struct net_port_spec *s)
{
        json_t *addresses = json_array(), *dns = json_array();

        for (uint32_t i = 0; i < s->address_count; i++)
                json_array_append_new(addresses, cidr_json(&s->addresses[i]));
        for (uint32_t i = 0; i < s->dns_count; i++)
                json_array_append_new(dns, ip_json(&s->dns[i]));
        return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:b,s:i}", "port_id", s->key.port_id,
                         "pod_uid", s->key.pod_uid, "subnet_id", s->key.subnet_id, "vpc_id", s->vpc_id, "mac",
                         s->mac, "addresses", addresses, "cidr", cidr_json(&s->cidr), "gateway",
                         ip_json(&s->gateway), "dns", dns, "dhcp", s->dhcp ? 1 : 0, "mtu", (int)s->mtu);
}
