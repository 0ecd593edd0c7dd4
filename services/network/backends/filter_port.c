/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port as elements of the node's sets, and the transaction from one such list to another. Pure.
 */
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/network/backends/filter_internal.h"

#define LIMIT_BURST_MIN 65536 /* bytes: room for one frame of segmentation offload */

/* Of each line with its end, so that "a|bc" and "ab|c" differ. */
void filter_rules_hash(const struct net_port_spec *spec, char out[FILTER_HASH_SIZE])
{
        uint8_t digest[32] = {0};
        gnutls_hash_hd_t hash;

        if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
                abort(); /* out of memory */
        for (uint32_t i = 0; i < spec->rule_count; i++)
                (void)gnutls_hash(hash, spec->rules[i], strlen(spec->rules[i]) + 1);
        gnutls_hash_deinit(hash, digest);
        for (size_t i = 0; i < (FILTER_HASH_SIZE - 1) / 2; i++)
                snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* Another rate is another object: nftables changes none in place. */
struct filter_name filter_limit_name(uint32_t mark, uint32_t kbps)
{
        struct filter_name name;

        snprintf(name.s, sizeof(name.s), "l-%08x-%u", mark, kbps);
        return name;
}

/* ------------------------------------------------------------------ elements */

/* fe80:: and the MAC's modified EUI-64, RFC 4291. */
static void link_local(const struct net_port_spec *spec, struct ak_ip *out)
{
        uint8_t m[6];

        ak_mac_bytes(spec->mac, m);
        *out = (struct ak_ip){.family = 6, .bytes = {0xfe, 0x80}};
        const uint8_t id[8] = {m[0] ^ 2U, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
        memcpy(out->bytes + 8, id, sizeof(id));
}

static void print_address6(FILE *f, uint32_t mark, const struct ak_ip *ip)
{
        char text[AK_IP_SIZE];

        ak_ip_format(ip, text);
        fprintf(f, "own6 0x%08x . %s\nnd6 0x%08x . 0x", mark, text, mark);
        for (size_t i = 0; i < 16; i++)
                fprintf(f, "%02x", ip->bytes[i]);
        fputc('\n', f);
}

static void print_addresses(FILE *f, const struct filter_port *p, const struct net_port_spec *spec)
{
        bool plain = !p->rules && p->egress_kbps == 0;
        uint32_t mark = p->mark;
        char text[AK_IP_SIZE];
        struct ak_ip local;

        for (uint32_t i = 0; i < spec->address_count; i++) {
                ak_ip_format(&spec->addresses[i].addr, text);
                fprintf(f, "own4 0x%08x . %s\n", mark, text);
                if (plain)
                        fprintf(f, "plain4 \"%s\" . %s . %s\n", p->tap, spec->mac, text);
        }
        if (spec->address6.family == 0)
                return;
        link_local(spec, &local);
        fprintf(f, "six 0x%08x\n", mark);
        print_address6(f, mark, &spec->address6);
        print_address6(f, mark, &local);
}

static void print_port(FILE *f, const struct filter_port *p, const struct net_port_spec *spec)
{
        if (!p->ingress)
                fprintf(f, "legs \"%s\"\n", p->tap);
        fprintf(f, "marks \"%s\" : 0x%08x\n", p->tap, p->mark);
        fprintf(f, "macs 0x%08x . %s\n", p->mark, spec->mac);
        print_addresses(f, p, spec);
        if (p->egress_kbps > 0)
                fprintf(f, "caps 0x%08x : \"%s\"\n", p->mark, filter_limit_name(p->mark, p->egress_kbps).s);
        if (p->rules)
                fprintf(f, "rulesets 0x%08x : 0x%08x\nrestricted 0x%08x\nguarded \"%s\" : 0x%08x\n", p->mark,
                        p->rules->id, p->mark, p->tap, p->mark);
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

char *filter_port_elements(const struct filter_port *p, const struct net_port_spec *spec)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        print_port(f, p, spec);
        return finish(f, &text);
}

/* ------------------------------------------------------------------ transactions */

/* Whether `line` (with its newline) is a line of `text`. */
static bool has_line(const char *text, const char *line, size_t len)
{
        for (const char *at = text; (at = memmem(at, strlen(at), line, len)); at++)
                if (at == text || at[-1] == '\n')
                        return true;
        return false;
}

/* One command per line of `text` that `except` has not. */
static void each_element(FILE *f, const char *command, const char *table, const char *text,
                         const char *except)
{
        for (const char *line = text; line && *line;) {
                const char *end = strchr(line, '\n');
                int name = (int)strcspn(line, " ");

                if (!except || !has_line(except, line, (size_t)(end - line) + 1))
                        fprintf(f, "%s element %s %.*s {%.*s }\n", command, table, name, line,
                                (int)(end - line) - name, line + name);
                line = end + 1;
        }
}

/* Policed, not queued: a queue for what a VM sends would need a device of its own. */
static void add_limit(FILE *f, const char *table, const struct filter_port *p)
{
        uint64_t bytes = (uint64_t)p->egress_kbps * 125, burst = bytes / 10;

        if (p->egress_kbps > 0)
                fprintf(f, "add limit %s %s { rate over %llu bytes/second burst %llu bytes ; }\n", table,
                        filter_limit_name(p->mark, p->egress_kbps).s, (unsigned long long)bytes,
                        (unsigned long long)(burst < LIMIT_BURST_MIN ? LIMIT_BURST_MIN : burst));
}

static bool same_limit(const struct filter_port *a, const struct filter_port *b)
{
        return a && b && a->mark == b->mark && a->egress_kbps == b->egress_kbps;
}

/* The elements that lead to the rules' chains. */
static void print_ways(FILE *f, const char *verb, const char *table, const struct filter_rules *r)
{
        fprintf(f, "%s element %s rules_in { 0x%08x : goto i-%s }\n", verb, table, r->id, r->hash);
        fprintf(f, "%s element %s rules_out { 0x%08x : goto o-%s }\n", verb, table, r->id, r->hash);
}

static void add_rules(FILE *f, const char *table, const struct filter_rules *r)
{
        fputs(r->commands ? r->commands : "", f);
        print_ways(f, "add", table, r);
}

static void delete_rules(FILE *f, const char *table, const struct filter_rules *r)
{
        print_ways(f, "delete", table, r);
        for (const char *c = "io"; *c; c++) {
                fprintf(f, "flush chain %s %c-%s\n", table, *c, r->hash);
                fprintf(f, "delete chain %s %c-%s\n", table, *c, r->hash);
        }
}

/* What was counted of it. "add" before "delete": most ports never had anything dropped. */
static void forget_counts(FILE *f, const char *table, const char *tap)
{
        for (int r = 0; r < FILTER_REASON_COUNT; r++)
                fprintf(f,
                        "add element %1$s by_%2$s { \"%3$s\" }\n"
                        "delete element %1$s by_%2$s { \"%3$s\" }\n",
                        table, filter_reason_name((enum filter_reason)r), tap);
}

/* ------------------------------------------------------------------ hooks */

static void hook(FILE *f, const char *table, char kind, const struct filter_port *p, const char *device,
                 int priority)
{
        fprintf(f,
                "add chain %1$s %2$c-%3$s { type filter hook ingress device \"%4$s\" priority %5$d ; }\n"
                "flush chain %1$s %2$c-%3$s\n",
                table, kind, p->tap, device, priority);
}

/*
 * What ties an ingress table's chains to the tap: g- looks at what the VM sends, w- does what is to be done
 * with what passed (an "accept" ends one hook, not the next). On a wire it crosses over to the near end, what
 * comes back (b-) crosses to the tap, and the far end (d-) belongs to the switch alone, which reads it as a
 * packet socket does, before this.
 */
static void add_hooks(FILE *f, const char *table, const struct filter_port *p)
{
        hook(f, table, 'g', p, p->tap, 0);
        fprintf(f, "add rule %s g-%s goto from\n", table, p->tap);
        hook(f, table, 'w', p, p->tap, 10);
        fprintf(f, "add rule %s w-%s meta mark set 0\n", table, p->tap); /* a port's mark is no route's */
        if (p->near[0] == '\0')
                return;
        fprintf(f, "add rule %s w-%s fwd to \"%s\"\n", table, p->tap, p->near);
        hook(f, table, 'b', p, p->near, 0);
        fprintf(f, "add rule %s b-%s fwd to \"%s\"\n", table, p->tap, p->tap);
        hook(f, table, 'd', p, p->far, 0);
        fprintf(f, "add rule %s d-%s drop\n", table, p->tap);
}

/* Older kernels drop such a chain with its device. */
static void delete_hooks(FILE *f, const char *table, const char *tap)
{
        for (const char *c = "gwbd"; *c; c++)
                fprintf(f,
                        "add chain %1$s %2$c-%3$s\nflush chain %1$s %2$c-%3$s\ndelete chain %1$s %2$c-%3$s\n",
                        table, *c, tap);
}

/* What looks at each frame towards a VM is there only while a port has rules. */
static void receive_hook(FILE *f, const char *table, bool wanted)
{
        fprintf(f, "add chain %1$s to { type filter hook postrouting priority 300 ; }\nflush chain %1$s to\n",
                table);
        if (wanted)
                fprintf(f, "add rule %s to meta mark set oifname map @guarded goto to_vm\n", table);
        else
                fprintf(f, "delete chain %s to\n", table);
}

char *filter_change_commands(const char *table, const struct filter_port *old, const struct filter_port *new,
                             bool fresh, bool stale, bool alone)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        if (new &&new->rules && fresh)
                add_rules(f, table, new->rules);
        if (new && !same_limit(old, new))
                add_limit(f, table, new);
        if (old)
                each_element(f, "delete", table, old->elements, new ? new->elements : NULL);
        if (new)
                each_element(f, "add", table, new->elements, NULL);
        else if (old)
                forget_counts(f, table, old->tap);
        if (new &&new->ingress)
                add_hooks(f, table, new);
        else if (old && old->ingress)
                delete_hooks(f, table, old->tap);
        bool had = old && old->rules, has = new &&new->rules;
        if (alone && (had || has))
                receive_hook(f, table, has);
        if (had && stale)
                delete_rules(f, table, old->rules);
        if (old && old->egress_kbps > 0 && !same_limit(old, new))
                fprintf(f, "delete limit %s %s\n", table, filter_limit_name(old->mark, old->egress_kbps).s);
        return finish(f, &text);
}

char *filter_restore_commands(const char *table, const struct filter_state *state)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < state->rules_count; i++)
                if (state->rules[i]->commands)
                        add_rules(f, table, state->rules[i]);
        if (state->rules_count > 0)
                receive_hook(f, table, true);
        for (size_t i = 0; i < state->port_count; i++) {
                add_limit(f, table, state->ports[i]);
                each_element(f, "add", table, state->ports[i]->elements, NULL);
                if (state->ports[i]->ingress && if_nametoindex(state->ports[i]->tap) != 0)
                        add_hooks(f, table, state->ports[i]);
        }
        return finish(f, &text);
}
