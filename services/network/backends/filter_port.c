/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of one port as text for libnftables. Pure.
 *
 * Without anonymous sets where it can be: libnftables reads the list of all sets before each transaction, and
 * a handful per port made the 240th port cost twice the first. What all ports share is a named set
 * (filter.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/network/backends/filter.h"

#define LIMIT_BURST_MIN 65536 /* bytes: room for one frame of segmentation offload */

struct text {
        FILE *f;
        const char *table, *tap;
        const struct net_port_spec *spec;
        bool out;      /* the chain of what the VM sends */
        uint32_t mark; /* of its flows */
};

/* One rule of the chain under way. */
AK_PRINTF(2, 3) static void rule(const struct text *t, const char *format, ...)
{
        va_list ap;

        fprintf(t->f, "add rule netdev %s %s-%s ", t->table, t->out ? "p" : "t", t->tap);
        va_start(ap, format);
        vfprintf(t->f, format, ap);
        va_end(ap);
        fputc('\n', t->f);
}

/* ------------------------------------------------------------------ anti-spoofing */

/* " ip saddr != A ip saddr != B": none of the port's own. */
static void not_own(const struct net_port_spec *spec, const char *field, char out[512])
{
        size_t used = 0;
        char text[AK_IP_SIZE];

        out[0] = '\0';
        for (uint32_t i = 0; i < spec->address_count; i++) {
                ak_ip_format(&spec->addresses[i].addr, text);
                used += (size_t)snprintf(out + used, 512 - used, " %s != %s", field, text);
        }
}

/* fe80:: and the MAC's modified EUI-64, RFC 4291. */
static void link_local(const struct net_port_spec *spec, struct ak_ip *out)
{
        uint8_t m[6];

        ak_mac_bytes(spec->mac, m);
        *out = (struct ak_ip){.family = 6, .bytes = {0xfe, 0x80}};
        const uint8_t id[8] = {m[0] ^ 2U, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
        memcpy(out->bytes + 8, id, sizeof(id));
}

static void hex_of(const struct ak_ip *ip, char out[35])
{
        snprintf(out, 35, "0x");
        for (size_t i = 0; i < 16; i++)
                snprintf(out + 2 + 2 * i, 3, "%02x", ip->bytes[i]);
}

static void own_arp(const struct text *t)
{
        char foreign[512];

        not_own(t->spec, "arp saddr ip", foreign);
        rule(t, "ether type arp arp saddr ether != %s counter name spoofed_arp drop", t->spec->mac);
        /* 0.0.0.0: a probe, RFC 5227 */
        rule(t, "ether type arp arp saddr ip != 0.0.0.0%s counter name spoofed_arp drop", foreign);
        rule(t, "ether type arp accept");
}

static void own_ipv4(const struct text *t)
{
        char foreign[512];

        not_own(t->spec, "ip saddr", foreign);
        rule(t, "ether type ip udp sport 67 counter name rogue_dhcp drop");
        rule(t, "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept");
        rule(t, "ether type ip%s counter name spoofed_ip drop", foreign);
        rule(t, "ether type ip udp sport 68 udp dport 67 accept");
}

static void own_ipv6(const struct text *t)
{
        char text[AK_IP_SIZE], local_text[AK_IP_SIZE], hex[35], local_hex[35];
        struct ak_ip local;

        rule(t, "ether type ip6 icmpv6 type @nd_router counter name rogue_ra drop");
        rule(t, "ether type ip6 udp sport 547 counter name rogue_dhcp drop");
        if (t->spec->address6.family == 0)
                return;
        link_local(t->spec, &local);
        ak_ip_format(&t->spec->address6, text);
        ak_ip_format(&local, local_text);
        hex_of(&t->spec->address6, hex);
        hex_of(&local, local_hex);
        /* the target of an advertisement: what it says to have */
        rule(t,
             "ether type ip6 icmpv6 type nd-neighbor-advert @th,64,128 != %s @th,64,128 != %s counter name "
             "spoofed_nd drop",
             hex, local_hex);
        /* Duplicate address detection and its like come from no address. */
        rule(t, "ether type ip6 ip6 saddr :: icmpv6 type @nd_guest accept");
        rule(t, "ether type ip6 ip6 saddr != %s ip6 saddr != %s counter name spoofed_ip drop", text,
             local_text);
        rule(t, "ether type ip6 icmpv6 type @nd_guest accept");
}

static void own_protocols(const struct text *t)
{
        rule(t, "ether type != ip%s counter name other_protocol drop",
             t->spec->address6.family == 0 ? "" : " ether type != ip6");
}

/* Policed, not queued: a queue for what a VM sends would need a device of its own. */
static void cap_egress(const struct text *t)
{
        uint64_t bytes = (uint64_t)t->spec->egress_kbps * 125, burst = bytes / 10;

        if (bytes > 0)
                rule(t, "limit rate over %llu bytes/second burst %llu bytes counter name over_rate drop",
                     (unsigned long long)bytes,
                     (unsigned long long)(burst < LIMIT_BURST_MIN ? LIMIT_BURST_MIN : burst));
}

/* ------------------------------------------------------------------ flows */

/* The peer's address, the VM's port and the peer's port in the direction of the chain. */
static void flow_key(const struct text *t, int family, char out[96])
{
        snprintf(out, 96, "meta mark . %s %s . meta l4proto . th %s . th %s", family == 4 ? "ip" : "ip6",
                 t->out ? "daddr" : "saddr", t->out ? "sport" : "dport", t->out ? "dport" : "sport");
}

static void echo_key(const struct text *t, int family, char out[96])
{
        snprintf(out, 96, "meta mark . %s %s . %s id", family == 4 ? "ip" : "ip6", t->out ? "daddr" : "saddr",
                 family == 4 ? "icmp" : "icmpv6");
}

/* What belongs to a flow passes, and so do errors about one. A fragment that is not the first cannot be told,
 * and is of no use without it. */
static void pass_flows(const struct text *t, int family)
{
        char key[96];

        flow_key(t, family, key);
        rule(t, "meta l4proto @with_ports %s @f%d update @f%d { %s } accept", key, family, family, key);
        echo_key(t, family, key);
        rule(t, "%s type @echo%d %s @i%d update @i%d { %s } accept", family == 4 ? "icmp" : "icmpv6", family,
             key, family, family, key);
        if (family == 4) {
                rule(t, "icmp type @errors4 accept");
                rule(t, "ether type ip ip frag-off & 0x1fff != 0 accept");
        } else {
                rule(t, "icmpv6 type @errors6 accept");
        }
}

/* ------------------------------------------------------------------ rules */

static void begin_ports(const struct text *t, const struct net_rule *r, int family, const char *peers)
{
        char key[96], ports[32] = "";

        flow_key(t, family, key);
        if (r->low)
                snprintf(ports, sizeof(ports), " th dport %u-%u", r->low, r->high);
        rule(t, "meta l4proto %s%s %s update @f%d { %s } accept",
             r->protocol == NET_TCP   ? "tcp"
             : r->protocol == NET_UDP ? "udp"
                                      : "@with_ports",
             ports, peers, family, key);
}

static void begin_echo(const struct text *t, int family, const char *peers)
{
        char key[96];

        echo_key(t, family, key);
        rule(t, "%s type echo-request %s update @i%d { %s } accept", family == 4 ? "icmp" : "icmpv6", peers,
             family, key);
}

static void one_rule(const struct text *t, const struct net_rule *r, int family)
{
        char network[AK_CIDR_SIZE], peers[AK_LEN_RULE + 256];
        const char *cursor = r->networks, *ip = family == 4 ? "ip" : "ip6";
        bool any = false, many = strchr(cursor, ',') != NULL;
        size_t used = (size_t)snprintf(peers, sizeof(peers), "%s %s%s", ip, t->out ? "daddr" : "saddr",
                                       many ? " {" : "");

        while (net_rule_network(&cursor, (uint8_t)family, network)) {
                used +=
                    (size_t)snprintf(peers + used, sizeof(peers) - used, "%s %s", any ? "," : "", network);
                any = true;
        }
        if (!any)
                return;
        snprintf(peers + used, sizeof(peers) - used, "%s", many ? " }" : "");
        if (r->protocol != NET_ICMP)
                begin_ports(t, r, family, peers);
        if (r->protocol == NET_ANY || r->protocol == NET_ICMP)
                begin_echo(t, family, peers);
        if (r->protocol == NET_ICMP)
                rule(t, "meta l4proto %s %s accept", family == 4 ? "icmp" : "ipv6-icmp", peers);
        if (r->protocol == NET_ANY)
                rule(t, "%s accept", peers);
}

static void rules_of(const struct text *t, int family)
{
        struct net_rule r;

        for (uint32_t i = 0; i < t->spec->rule_count; i++)
                if (net_rule_parse(t->spec->rules[i], &r) == 0 && r.out == t->out)
                        one_rule(t, &r, family);
}

/* Addresses are needed before anything can be allowed: ARP, neighbours, DHCP and advertisements pass. What
 * the VM sends of these has passed further up. */
static void pass_addressing(const struct text *t)
{
        if (t->out)
                return;
        rule(t, "ether type arp accept");
        rule(t, "ether type ip udp sport 67 udp dport 68 accept");
        rule(t, "icmpv6 type @nd_to_guest accept");
}

static void restrict_port(const struct text *t)
{
        if (!t->spec->restricted)
                return;
        pass_addressing(t);
        rule(t, "meta mark set 0x%08x", t->mark);
        for (int family = 4; family <= (t->spec->address6.family ? 6 : 4); family += 2) {
                pass_flows(t, family);
                rules_of(t, family);
        }
        rule(t, "counter name denied_%s drop", t->out ? "out" : "in");
}

/* FNV-1a: the same port with the same rules has the same mark, today and after a restart. */
static uint32_t mark_of(const struct net_port_spec *spec)
{
        uint32_t hash = 2166136261U;

        for (const char *c = spec->key.port_id; *c; c++)
                hash = (hash ^ (uint8_t)*c) * 16777619U;
        for (uint32_t i = 0; i < spec->rule_count; i++)
                for (const char *c = spec->rules[i]; *c; c++)
                        hash = (hash ^ (uint8_t)*c) * 16777619U;
        return hash ? hash : 1;
}

static void begin_chain(struct text *t, bool out)
{
        t->out = out;
        fprintf(t->f,
                "add chain netdev %1$s %2$s-%3$s { type filter hook %4$s device \"%3$s\" priority 0 ; }\n"
                "flush chain netdev %1$s %2$s-%3$s\n",
                t->table, out ? "p" : "t", t->tap, out ? "ingress" : "egress");
}

static void print(struct text *t)
{
        begin_chain(t, true);
        rule(t, "ether saddr != %s counter name spoofed_mac drop", t->spec->mac);
        cap_egress(t);
        own_arp(t);
        own_ipv4(t);
        own_ipv6(t);
        own_protocols(t);
        restrict_port(t);
        begin_chain(t, false);
        restrict_port(t);
        fprintf(t->f, "add element bridge %s legs { \"%s\" }\n", t->table, t->tap);
}

char *filter_port_commands(const char *table, const char *tap, const struct net_port_spec *spec)
{
        char *commands = NULL;
        size_t size;
        FILE *f = open_memstream(&commands, &size);
        struct text t = {.f = f, .table = table, .tap = tap, .spec = spec, .mark = mark_of(spec)};

        if (!f)
                return NULL;
        print(&t);
        bool failed = ferror(f);
        if (fclose(f) != 0 || failed) {
                free(commands);
                return NULL;
        }
        return commands;
}
