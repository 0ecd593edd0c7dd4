/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/filter.h"

#include <errno.h>
#include <jansson.h>
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
                      "nftables: %s (needs a kernel with nftables' bridge and netdev families; "
                      "--anti-spoofing=false does "
                      "without)",
                      first);
        f->ready = false; /* someone may have removed the table */
        return -EIO;
}

#define FLOWS(name, address, rest, size, timeout)                                                            \
        "add set netdev %1$s " name " { typeof meta mark . " address " saddr . " rest                        \
        " ; flags dynamic,timeout ; size " size " ; timeout " timeout " ; }\n"

#define CONSTANT(type, name, elements)                                                                       \
        "add set netdev %1$s " name " { type " type " ; }\nadd element netdev %1$s " name " { " elements     \
        " }\n"

/* The chains' rules are replaced, elements stay: so it is right for a fresh table and for an adopted one. */
static int make_table(struct filter *f, struct net_error *error)
{
        char c[COMMAND_MAX];

#define COUNTER(name, doc) "add counter netdev %1$s " #name "\n"
        snprintf(
            c, sizeof(c),
            "add table netdev %1$s\n" FILTER_REASONS(COUNTER)
                FLOWS("f4", "ip", "meta l4proto . th sport . th dport", "262144", "5m")
                    FLOWS("f6", "ip6", "meta l4proto . th sport . th dport", "262144", "5m") FLOWS(
                        "i4", "ip", "icmp id", "65536", "30s") FLOWS("i6", "ip6", "icmpv6 id", "65536", "30s")
                        CONSTANT("inet_proto", "with_ports", "tcp, udp") CONSTANT("icmp_type", "echo4",
                                                                                  "echo-request, echo-reply")
                            CONSTANT("icmpv6_type", "echo6", "echo-request, echo-reply")
                                CONSTANT("icmp_type", "errors4",
                                         "destination-unreachable, time-exceeded, parameter-problem")
                                    CONSTANT("icmpv6_type", "errors6",
                                             "destination-unreachable, packet-too-big, time-exceeded, "
                                             "parameter-problem")
                                        CONSTANT("icmpv6_type", "nd_router", "nd-router-advert, nd-redirect")
                                            CONSTANT("icmpv6_type", "nd_guest",
                                                     "nd-neighbor-solicit, nd-neighbor-advert, "
                                                     "nd-router-solicit, mld-listener-report, "
                                                     "mld2-listener-report")
                                                CONSTANT("icmpv6_type", "nd_to_guest",
                                                         "nd-neighbor-solicit, nd-neighbor-advert, "
                                                         "nd-router-advert, nd-redirect, "
                                                         "mld-listener-query") "add table bridge %1$s\n"
                                                                               "add set bridge %1$s legs "
                                                                               "{ type ifname; }\n"
                                                                               "add chain bridge %1$s "
                                                                               "host { type filter hook "
                                                                               "input priority -300; }\n"
                                                                               "flush chain bridge %1$s "
                                                                               "host\n"
                                                                               "add rule bridge %1$s host "
                                                                               "iifname @legs drop\n",
            f->table);
#undef COUNTER
        int r = run(f, c, error);
        f->ready = r == 0;
        return r;
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
        AK_AUTOFREE char *commands = filter_port_commands(f->table, tap, spec);

        if (!commands) {
                net_error_set(error, "FilterFailed", "out of memory");
                return -ENOMEM;
        }
        pthread_mutex_lock(&f->lock);
        int r = run_in_table(f, commands, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

static void leg_commands(const struct filter *f, const char *leg, char out[256])
{
        snprintf(out, 256,
                 "add element bridge %1$s legs { \"%2$s\" }\n"
                 "delete element bridge %1$s legs { \"%2$s\" }\n",
                 f->table, leg);
}

/* "add" before "delete" makes a delete of what is not there no error, in one transaction. */
int filter_clear_port(struct filter *f, const char *tap, struct net_error *error)
{
        char c[COMMAND_MAX], legs[256];

        leg_commands(f, tap, legs);
        snprintf(c, sizeof(c),
                 "add chain netdev %1$s p-%2$s { type filter hook ingress device \"%2$s\" priority 0 ; }\n"
                 "flush chain netdev %1$s p-%2$s\n"
                 "delete chain netdev %1$s p-%2$s\n"
                 "add chain netdev %1$s t-%2$s { type filter hook egress device \"%2$s\" priority 0 ; }\n"
                 "flush chain netdev %1$s t-%2$s\n"
                 "delete chain netdev %1$s t-%2$s\n"
                 "%3$s",
                 f->table, tap, legs);
        pthread_mutex_lock(&f->lock);
        int r = run_in_table(f, c, error);
        if (r < 0) /* without the tap: older kernels have taken its chains along, and make none for it */
                r = run_in_table(f, legs, error);
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
        char c[256];

        leg_commands(f, leg, c);
        pthread_mutex_lock(&f->lock);
        int r = run_in_table(f, c, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

static const char *const reason_names[] = {
#define NAME(name, doc) #name,
    FILTER_REASONS(NAME)
#undef NAME
};

/* {"nftables": [{"counter": {"name": …, "packets": …}}, …]} */
static int read_counters(const char *text, uint64_t packets[FILTER_REASON_COUNT])
{
        json_auto_t *json = json_loads(text, 0, NULL);
        json_t *item;
        size_t i;

        if (!json_is_object(json))
                return -EBADMSG;
        json_array_foreach(json_object_get(json, "nftables"), i, item)
        {
                const json_t *counter = json_object_get(item, "counter");
                const char *name = json_string_value(json_object_get(counter, "name"));

                for (size_t n = 0; name && n < FILTER_REASON_COUNT; n++)
                        if (strcmp(name, reason_names[n]) == 0)
                                packets[n] =
                                    (uint64_t)json_integer_value(json_object_get(counter, "packets"));
        }
        return 0;
}

int filter_count(struct filter *f, uint64_t packets[FILTER_REASON_COUNT], struct net_error *error)
{
        char c[NET_NODE_MAX + 64];

        memset(packets, 0, FILTER_REASON_COUNT * sizeof(*packets));
        snprintf(c, sizeof(c), "list counters table netdev %s", f->table);
        pthread_mutex_lock(&f->lock);
        int r = f->ready ? 0 : make_table(f, error);
        if (r == 0) {
                nft_ctx_output_set_flags(f->nft, NFT_CTX_OUTPUT_JSON);
                r = run(f, c, error);
                nft_ctx_output_set_flags(f->nft, 0);
        }
        if (r == 0)
                r = read_counters(nft_ctx_get_output_buffer(f->nft), packets);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_teardown(struct filter *f, struct net_error *error)
{
        char c[COMMAND_MAX];

        snprintf(c, sizeof(c),
                 "add table bridge %1$s\ndelete table bridge %1$s\nadd table netdev %1$s\ndelete table "
                 "netdev %1$s\n",
                 f->table);
        pthread_mutex_lock(&f->lock);
        int r = run(f, c, error);
        f->ready = false;
        pthread_mutex_unlock(&f->lock);
        return r;
}
