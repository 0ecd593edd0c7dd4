/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/filter.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/network/label.h"

#define COMMAND_MAX 8192

struct filter {
        pthread_mutex_t lock;
        struct nft_ctx *nft;
        char table[NET_NODE_MAX + 8]; /* alkaid-NODE */
        bool ready;                   /* the table is known to stand */
};

int filter_new(struct filter **out, const char *node)
{
        struct filter *f = calloc(1, sizeof(*f));

        if (!f)
                return -ENOMEM;
        pthread_mutex_init(&f->lock, NULL);
        snprintf(f->table, sizeof(f->table), "alkaid-%s", node);
        f->nft = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!f->nft || nft_ctx_buffer_error(f->nft) != 0 || nft_ctx_buffer_output(f->nft) != 0) {
                filter_free(f);
                return -ENOMEM;
        }
        *out = f;
        return 0;
}

struct filter *filter_free(struct filter *f)
{
        if (!f)
                return NULL;
        if (f->nft)
                nft_ctx_free(f->nft);
        pthread_mutex_destroy(&f->lock);
        free(f);
        return NULL;
}

/* Runs one transaction. The names in it are ours: hex digits, MACs, addresses, a validated node name. */
static int run(struct filter *f, const char *commands, struct net_error *error)
{
        if (nft_run_cmd_from_buffer(f->nft, commands) == 0)
                return 0;
        const char *words = nft_ctx_get_error_buffer(f->nft);
        char first[300];
        snprintf(first, sizeof(first), "%.*s", (int)strcspn(words, "\n"), words);
        net_error_set(error, "FilterFailed",
                      "nftables: %s (needs a kernel with nftables' bridge family; --anti-spoofing=false does "
                      "without)",
                      first);
        f->ready = false; /* someone may have removed the table */
        return -EIO;
}

/* The chains' rules are replaced, elements stay: so it is right for a fresh table and for an adopted one. */
static int make_table(struct filter *f, struct net_error *error)
{
        char c[COMMAND_MAX];
        const char *t = f->table;

        snprintf(c, sizeof(c),
                 "add table bridge %s\n"
                 "add map bridge %s ports { type ifname : verdict; }\n"
                 "add set bridge %s legs { type ifname; }\n"
                 "add chain bridge %s guests { type filter hook prerouting priority -300; }\n"
                 "flush chain bridge %s guests\n"
                 "add rule bridge %s guests iifname vmap @ports\n"
                 "add chain bridge %s host { type filter hook input priority -300; }\n"
                 "flush chain bridge %s host\n"
                 "add rule bridge %s host iifname @legs drop\n",
                 t, t, t, t, t, t, t, t, t);
        int r = run(f, c, error);
        f->ready = r == 0;
        return r;
}

static void print_addresses(FILE *o, const struct net_port_spec *spec, bool or_none)
{
        char text[AK_IP_SIZE];

        fprintf(o, "{ ");
        if (or_none)
                fprintf(o, "0.0.0.0, ");
        for (uint32_t i = 0; i < spec->address_count; i++) {
                ak_ip_format(&spec->addresses[i].addr, text);
                fprintf(o, "%s%s", i > 0 ? ", " : "", text);
        }
        fprintf(o, " }");
}

static int print_port(const struct filter *f, const char *tap, const struct net_port_spec *spec, char *out)
{
        FILE *o = fmemopen(out, COMMAND_MAX, "w");
        char rule[256];

        if (!o)
                return -ENOMEM;
        snprintf(rule, sizeof(rule), "add rule bridge %s p-%s", f->table, tap);
        fprintf(o, "add chain bridge %s p-%s\nflush chain bridge %s p-%s\n", f->table, tap, f->table, tap);
        fprintf(o, "%s ether saddr != %s drop\n", rule, spec->mac);
        fprintf(o, "%s ether type arp arp saddr ether != %s drop\n", rule, spec->mac);
        fprintf(o, "%s ether type arp arp saddr ip ", rule); /* 0.0.0.0: a probe, RFC 5227 */
        print_addresses(o, spec, true);
        fprintf(o, " accept\n%s ether type ip udp sport 68 udp dport 67 ip saddr ", rule);
        print_addresses(o, spec, true);
        fprintf(o, " accept\n%s ether type ip udp sport 67 drop\n", rule);
        fprintf(o, "%s ether type ip ip saddr ", rule);
        print_addresses(o, spec, false);
        fprintf(o, " accept\n%s drop\n", rule);
        fprintf(o, "add element bridge %s ports { \"%s\" : jump p-%s }\n", f->table, tap, tap);
        fprintf(o, "add element bridge %s legs { \"%s\" }\n", f->table, tap);
        bool full = ferror(o) || ftell(o) >= COMMAND_MAX - 1;
        return fclose(o) != 0 || full ? -ENOSPC : 0;
}

/* Makes the table where need be, then runs; once more where the table turns out to have vanished. */
static int run_in_table(struct filter *f, const char *commands, struct net_error *error)
{
        bool fresh = !f->ready;
        int r = fresh ? make_table(f, error) : 0;

        if (r == 0)
                r = run(f, commands, error);
        if (r < 0 && !fresh && (r = make_table(f, error)) == 0)
                r = run(f, commands, error);
        return r;
}

int filter_set_port(struct filter *f, const char *tap, const struct net_port_spec *spec,
                    struct net_error *error)
{
        char commands[COMMAND_MAX];
        int r = print_port(f, tap, spec, commands);

        if (r < 0)
                return r;
        pthread_mutex_lock(&f->lock);
        r = run_in_table(f, commands, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

/* "add" before "delete" makes a delete of what is not there no error, in one transaction. */
int filter_clear_port(struct filter *f, const char *tap, struct net_error *error)
{
        char c[COMMAND_MAX];
        const char *t = f->table;

        snprintf(c, sizeof(c),
                 "add chain bridge %s p-%s\n"
                 "add element bridge %s ports { \"%s\" : jump p-%s }\n"
                 "delete element bridge %s ports { \"%s\" : jump p-%s }\n"
                 "flush chain bridge %s p-%s\n"
                 "delete chain bridge %s p-%s\n"
                 "add element bridge %s legs { \"%s\" }\n"
                 "delete element bridge %s legs { \"%s\" }\n",
                 t, tap, t, tap, tap, t, tap, tap, t, tap, t, tap, t, tap, t, tap);
        pthread_mutex_lock(&f->lock);
        int r = run_in_table(f, c, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_set_leg(struct filter *f, const char *leg, struct net_error *error)
{
        char c[COMMAND_MAX];

        snprintf(c, sizeof(c), "add element bridge %s legs { \"%s\" }\n", f->table, leg);
        pthread_mutex_lock(&f->lock);
        int r = run_in_table(f, c, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_clear_leg(struct filter *f, const char *leg, struct net_error *error)
{
        char c[COMMAND_MAX];

        snprintf(c, sizeof(c),
                 "add element bridge %s legs { \"%s\" }\ndelete element bridge %s legs { \"%s\" }\n",
                 f->table, leg, f->table, leg);
        pthread_mutex_lock(&f->lock);
        int r = run_in_table(f, c, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_teardown(struct filter *f, struct net_error *error)
{
        char c[COMMAND_MAX];

        snprintf(c, sizeof(c), "add table bridge %s\ndelete table bridge %s\n", f->table, f->table);
        pthread_mutex_lock(&f->lock);
        int r = run(f, c, error);
        f->ready = false;
        pthread_mutex_unlock(&f->lock);
        return r;
}
