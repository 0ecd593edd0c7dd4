/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chains that all ports share, and those of a set of security rules, as text for libnftables. Pure.
 *
 * Named sets instead of anonymous ones wherever it can be: libnftables reads the list of all sets before each
 * transaction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/network/backends/filter_internal.h"

struct text {
        FILE *f;
        const char *table;                /* with its family */
        char chain[FILTER_HASH_SIZE + 2]; /* under way */
        bool out;                         /* of what VMs send */
};

/* One rule of the chain under way. */
AK_PRINTF(2, 3) static void rule(const struct text *t, const char *format, ...)
{
        va_list ap;

        fprintf(t->f, "add rule %s %s ", t->table, t->chain);
        va_start(ap, format);
        vfprintf(t->f, format, ap);
        va_end(ap);
        fputc('\n', t->f);
}

/* Begins a chain, empty; what follows are its rules. */
static void chain(struct text *t, const char *name, const char *hook)
{
        snprintf(t->chain, sizeof(t->chain), "%s", name);
        fprintf(t->f, "add chain %1$s %2$s%3$s\nflush chain %1$s %2$s\n", t->table, name, hook);
}

static const char *port_name(const struct text *t)
{
        return t->out ? "iifname" : "oifname";
}

/* Counts, for the node and for the port, and drops what `format` matches. */
static void drop(const struct text *t, const char *match, enum filter_reason reason)
{
        const char *name = filter_reason_name(reason);

        rule(t, "%s counter name %s update @by_%s { %s } drop", match, name, name, port_name(t));
}

/* ------------------------------------------------------------------ sets */

#define ERRORS "destination-unreachable, time-exceeded, parameter-problem"
#define ND_GUEST                                                                                             \
        "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report, "                  \
        "mld2-listener-report"
#define ND_TO_GUEST                                                                                          \
        "nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, nd-redirect, mld-listener-query"

static void add_sets(const struct text *t)
{
        static const struct {
                const char *kind, *definition;
        } sets[] = {
            {"map", "marks { type ifname : mark ; size 16384 ; }"},
            {"set", "plain4 { typeof iifname . ether saddr . ip saddr ; size 65536 ; }"},
            {"set", "macs { typeof meta mark . ether saddr ; size 16384 ; }"},
            {"set", "own4 { typeof meta mark . ip saddr ; size 65536 ; }"},
            {"set", "own6 { typeof meta mark . ip6 saddr ; }"},
            {"set", "nd6 { typeof meta mark . @th,64,128 ; }"},
            {"set", "six { type mark ; size 16384 ; }"},
            {"map", "caps { type mark : limit ; size 16384 ; }"},
            {"set", "restricted { type mark ; size 16384 ; }"},
            {"map", "guarded { type ifname : mark ; size 16384 ; }"},
            {"map", "rulesets { type mark : mark ; }"},
            {"map", "rules_in { type mark : verdict ; }"},
            {"map", "rules_out { type mark : verdict ; }"},
            {"set", "legs { type ifname ; }"},
            {"set", "with_ports { type inet_proto ; size 2 ; elements = { tcp, udp } ; }"},
            {"set", "echo4 { type icmp_type ; elements = { echo-request, echo-reply } ; }"},
            {"set", "echo6 { type icmpv6_type ; elements = { echo-request, echo-reply } ; }"},
            {"set", "errors4 { type icmp_type ; elements = { " ERRORS " } ; }"},
            {"set", "errors6 { type icmpv6_type ; elements = { packet-too-big, " ERRORS " } ; }"},
            {"set", "nd_router { type icmpv6_type ; elements = { nd-router-advert, nd-redirect } ; }"},
            {"set", "nd_guest { type icmpv6_type ; elements = { " ND_GUEST " } ; }"},
            {"set", "nd_to_guest { type icmpv6_type ; elements = { " ND_TO_GUEST " } ; }"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(sets); i++)
                fprintf(t->f, "add %s %s %s\n", sets[i].kind, t->table, sets[i].definition);
        for (int r = 0; r < FILTER_REASON_COUNT; r++)
                fprintf(t->f,
                        "add counter %1$s %2$s\nadd set %1$s by_%2$s { type ifname ; size 8192 ; "
                        "flags dynamic,timeout ; timeout 1d ; counter ; }\n",
                        t->table, filter_reason_name((enum filter_reason)r));
}

static void add_flow_sets(const struct text *t)
{
        for (int six = 0; six <= 1; six++) {
                const char *ip = six ? "ip6" : "ip";

                fprintf(t->f,
                        "add set %s f%d { typeof meta mark . %s saddr . meta l4proto . th sport . th "
                        "dport ; "
                        "size 262144 ; flags dynamic,timeout ; timeout 5m ; }\n",
                        t->table, six ? 6 : 4, ip);
                fprintf(t->f,
                        "add set %s i%d { typeof meta mark . %s saddr . %s id ; size 65536 ; "
                        "flags dynamic,timeout ; timeout 30s ; }\n",
                        t->table, six ? 6 : 4, ip, six ? "icmpv6" : "icmp");
        }
}

/* ------------------------------------------------------------------ flows */

/* The peer's address, the VM's port and the peer's port in the direction of the chain. */
static struct flow_key {
        char ports[96], echo[96];
} flow_key(const struct text *t, bool six)
{
        struct flow_key k;
        const char *ip = six ? "ip6" : "ip";

        snprintf(k.ports, sizeof(k.ports), "meta mark . %s %s . meta l4proto . th %s . th %s", ip,
                 t->out ? "daddr" : "saddr", t->out ? "sport" : "dport", t->out ? "dport" : "sport");
        snprintf(k.echo, sizeof(k.echo), "meta mark . %s %s . %s id", ip, t->out ? "daddr" : "saddr",
                 six ? "icmpv6" : "icmp");
        return k;
}

/* Towards the VM: addresses are needed before anything can be allowed. What VMs send of these has been looked
 * at where it came from. After the flows, which nearly all frames belong to. */
static void pass_what_gives_addresses(const struct text *t, bool six)
{
        if (!t->out)
                rule(t, "%s", six ? "icmpv6 type @nd_to_guest accept" : "udp sport 67 udp dport 68 accept");
}

/*
 * What belongs to a flow passes, and so do errors about one. A fragment that is not the first cannot be told,
 * and is of no use without it.
 */
static void pass_flows(struct text *t, bool six)
{
        struct flow_key k = flow_key(t, six);
        int n = six ? 6 : 4;
        char name[16];

        snprintf(name, sizeof(name), "%s_%d", t->out ? "out" : "in", n);
        chain(t, name, "");
        rule(t, "meta l4proto @with_ports %s @f%d update @f%d { %s } accept", k.ports, n, n, k.ports);
        rule(t, "%s type @echo%d %s @i%d update @i%d { %s } accept", six ? "icmpv6" : "icmp", n, k.echo, n, n,
             k.echo);
        rule(t, "%s type @errors%d accept", six ? "icmpv6" : "icmp", n);
        if (!six)
                rule(t, "ip frag-off & 0x1fff != 0 accept");
        pass_what_gives_addresses(t, six);
        rule(t, "goto %s_rules", t->out ? "out" : "in");
}

/* Where a rule leads to that lets a flow begin. In the rules' chains the mark is theirs, not the port's. */
static void begin_flows(struct text *t, bool six)
{
        struct flow_key k = flow_key(t, six);
        const char *direction = t->out ? "out" : "in";
        int n = six ? 6 : 4;
        char name[32];

        snprintf(name, sizeof(name), "begin_%s_ports%d", direction, n);
        chain(t, name, "");
        rule(t, "meta mark set %s map @marks update @f%d { %s } accept", port_name(t), n, k.ports);
        snprintf(name, sizeof(name), "begin_%s_echo%d", direction, n);
        chain(t, name, "");
        rule(t, "meta mark set %s map @marks update @i%d { %s } accept", port_name(t), n, k.echo);
}

static void restrict_ports(struct text *t)
{
        begin_flows(t, false);
        begin_flows(t, true);
        chain(t, t->out ? "out_rules" : "in_rules", "");
        rule(t, "meta mark set meta mark map @rulesets");
        rule(t, "meta mark vmap @rules_%s", t->out ? "out" : "in");
        drop(t, "", t->out ? FILTER_denied_out : FILTER_denied_in);
        pass_flows(t, false);
        pass_flows(t, true);
}

/* ------------------------------------------------------------------ what VMs send */

static void from_arp(struct text *t)
{
        chain(t, "from_arp", "");
        drop(t, "meta mark . arp saddr ether != @macs", FILTER_spoofed_arp);
        rule(t, "meta mark . arp saddr ip @own4 accept");
        rule(t, "arp saddr ip 0.0.0.0 accept"); /* a probe, RFC 5227 */
        drop(t, "", FILTER_spoofed_arp);
}

static void from_ip4(struct text *t)
{
        chain(t, "from_dhcp", "");
        drop(t, "udp sport 67", FILTER_rogue_dhcp);
        rule(t, "ip saddr 0.0.0.0 udp dport 67 accept");
        drop(t, "meta mark . ip saddr != @own4", FILTER_spoofed_ip);
        rule(t, "udp dport 67 accept");
        rule(t, "meta mark @restricted goto out_4");
        chain(t, "from_ip", "");
        rule(t, "ip protocol udp udp sport 67-68 goto from_dhcp");
        drop(t, "meta mark . ip saddr != @own4", FILTER_spoofed_ip);
        rule(t, "meta mark @restricted goto out_4");
}

static void from_ip6(struct text *t)
{
        chain(t, "from_ip6", "");
        drop(t, "icmpv6 type @nd_router", FILTER_rogue_ra);
        drop(t, "udp sport 547", FILTER_rogue_dhcp);
        drop(t, "meta mark != @six", FILTER_other_protocol);
        /* the target of an advertisement: what it says to have */
        drop(t, "icmpv6 type nd-neighbor-advert meta mark . @th,64,128 != @nd6", FILTER_spoofed_nd);
        /* Duplicate address detection and its like come from no address. */
        rule(t, "ip6 saddr :: icmpv6 type @nd_guest accept");
        drop(t, "meta mark . ip6 saddr != @own6", FILTER_spoofed_ip);
        rule(t, "icmpv6 type @nd_guest accept");
        rule(t, "meta mark @restricted goto out_6");
}

static void from_vms(struct text *t, bool ingress)
{
        t->out = true;
        restrict_ports(t);
        from_arp(t);
        from_ip4(t);
        from_ip6(t);
        chain(t, "from_vm", "");
        drop(t, "meta mark . ether saddr != @macs", FILTER_spoofed_mac);
        drop(t, "limit name meta mark map @caps", FILTER_over_rate);
        rule(t, "ether type vmap { ip : goto from_ip, ip6 : goto from_ip6, arp : goto from_arp }");
        drop(t, "", FILTER_other_protocol);
        /* Nearly all frames: of a port that is neither restricted nor capped, from its address. */
        chain(t, "from_plain", "");
        drop(t, "udp sport 67", FILTER_rogue_dhcp);
        chain(t, "from", ingress ? "" : " { type filter hook prerouting priority -300 ; }");
        rule(t, "iifname . ether saddr . ip saddr @plain4 goto from_plain");
        rule(t, "meta mark set iifname map @marks goto from_vm");
}

/* ------------------------------------------------------------------ what VMs get */

static void to_vms(struct text *t)
{
        t->out = false;
        restrict_ports(t);
        chain(t, "to_vm", "");
        rule(t, "ether type vmap { ip : goto in_4, ip6 : goto in_6, arp : accept }");
        drop(t, "", FILTER_denied_in);
}

static char *finish(FILE *f, char **text)
{
        bool bad = ferror(f);

        if (fclose(f) != 0 || bad) {
                free(*text);
                return NULL;
        }
        return *text;
}

char *filter_table_commands(const char *table, bool ingress)
{
        char *commands = NULL;
        size_t size;
        struct text t = {.f = open_memstream(&commands, &size), .table = table};

        if (!t.f)
                return NULL;
        fprintf(t.f, "add table %s\n", table);
        add_sets(&t);
        add_flow_sets(&t);
        from_vms(&t, ingress);
        if (!ingress) {
                to_vms(&t);
                chain(&t, "host", " { type filter hook input priority -300 ; }");
                rule(&t, "iifname @legs drop");
        }
        return finish(t.f, &commands);
}

/* ------------------------------------------------------------------ security rules */

static void begin_ports(const struct text *t, const struct net_rule *r, bool six, const char *peers)
{
        char ports[32] = "";

        if (r->low)
                snprintf(ports, sizeof(ports), " th dport %u-%u", r->low, r->high);
        rule(t, "meta l4proto %s%s %s goto begin_%s_ports%d",
             r->protocol == NET_TCP   ? "tcp"
             : r->protocol == NET_UDP ? "udp"
                                      : "@with_ports",
             ports, peers, t->out ? "out" : "in", six ? 6 : 4);
}

static void one_rule(const struct text *t, const struct net_rule *r, bool six)
{
        char network[AK_CIDR_SIZE], peers[AK_LEN_RULE + 256];
        const char *cursor = r->networks;
        bool any = false, many = strchr(cursor, ',') != NULL;
        size_t used = (size_t)snprintf(peers, sizeof(peers), "%s %s%s", six ? "ip6" : "ip",
                                       t->out ? "daddr" : "saddr", many ? " {" : "");

        while (net_rule_network(&cursor, six ? 6 : 4, network)) {
                used +=
                    (size_t)snprintf(peers + used, sizeof(peers) - used, "%s %s", any ? "," : "", network);
                any = true;
        }
        if (!any)
                return;
        snprintf(peers + used, sizeof(peers) - used, "%s", many ? " }" : "");
        if (r->protocol != NET_ICMP)
                begin_ports(t, r, six, peers);
        if (r->protocol == NET_ANY || r->protocol == NET_ICMP)
                rule(t, "%s type echo-request %s goto begin_%s_echo%d", six ? "icmpv6" : "icmp", peers,
                     t->out ? "out" : "in", six ? 6 : 4);
        if (r->protocol == NET_ICMP)
                rule(t, "meta l4proto %s %s accept", six ? "ipv6-icmp" : "icmp", peers);
        if (r->protocol == NET_ANY)
                rule(t, "%s accept", peers);
}

static void rules_of(struct text *t, const char *hash, const struct net_port_spec *spec)
{
        struct net_rule r;
        char name[FILTER_HASH_SIZE + 2];

        snprintf(name, sizeof(name), "%s-%s", t->out ? "o" : "i", hash);
        chain(t, name, "");
        for (int six = 0; six <= 1; six++)
                for (uint32_t i = 0; i < spec->rule_count; i++)
                        if (net_rule_parse(spec->rules[i], &r) == 0 && r.out == t->out)
                                one_rule(t, &r, six);
        drop(t, "", t->out ? FILTER_denied_out : FILTER_denied_in);
}

char *filter_rules_commands(const char *table, const char *hash, const struct net_port_spec *spec)
{
        char *commands = NULL;
        size_t size;
        struct text t = {.f = open_memstream(&commands, &size), .table = table, .out = true};

        if (!t.f)
                return NULL;
        rules_of(&t, hash, spec);
        t.out = false;
        rules_of(&t, hash, spec);
        return finish(t.f, &commands);
}
