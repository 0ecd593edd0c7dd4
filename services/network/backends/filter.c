/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/filter.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/network/backends/filter_internal.h"
#include "services/network/label.h"

struct filter {
        pthread_mutex_t lock;
        struct nft_ctx *nft;
        char node[NET_NODE_MAX + 1];
        char table[NET_NODE_MAX + 16]; /* with its family: bridge alkaid-NODE */
        bool ready;                    /* the table is known to stand, and state to be true of it */
        struct filter_state state;
};

static int new_filter(struct filter **out, const char *node, bool ingress)
{
        struct filter *f = calloc(1, sizeof(*f));

        if (!f)
                return -ENOMEM;
        pthread_mutex_init(&f->lock, NULL);
        snprintf(f->node, sizeof(f->node), "%s", node);
        snprintf(f->table, sizeof(f->table), "%s alkaid-%s", ingress ? "netdev" : "bridge", node);
        f->state.ingress = ingress;
        f->nft = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!f->nft || nft_ctx_buffer_error(f->nft) != 0 || nft_ctx_buffer_output(f->nft) != 0) {
                filter_free(f);
                return -ENOMEM;
        }
        *out = f;
        return 0;
}

int filter_new(struct filter **out, const char *node)
{
        return new_filter(out, node, false);
}

int filter_new_ingress(struct filter **out, const char *node)
{
        return new_filter(out, node, true);
}

struct filter *filter_free(struct filter *f)
{
        if (!f)
                return NULL;
        if (f->nft)
                nft_ctx_free(f->nft);
        filter_state_deinit(&f->state);
        pthread_mutex_destroy(&f->lock);
        free(f);
        return NULL;
}

/* ------------------------------------------------------------------ libnftables */

static int no_memory(struct net_error *error)
{
        net_error_set(error, "FilterFailed", "out of memory");
        return -ENOMEM;
}

/* Runs one transaction. The names in it are ours: hex digits, MACs, addresses, a validated node name. */
static int run(struct filter *f, const char *commands, struct net_error *error)
{
        if (!commands)
                return no_memory(error);
        if (nft_run_cmd_from_buffer(f->nft, commands) == 0)
                return 0;
        const char *words = nft_ctx_get_error_buffer(f->nft);
        char first[300];
        snprintf(first, sizeof(first), "%.*s", (int)strcspn(words, "\n"), words);
        net_error_set(error, "FilterFailed",
                      "nftables: %s (needs a kernel with nftables' %s family; --anti-spoofing=false does "
                      "without)",
                      first, f->state.ingress ? "netdev" : "bridge");
        f->ready = false; /* someone may have removed the table */
        return -EIO;
}

/* The answer to a list command; NULL: there is none. */
static json_t *list(struct filter *f, const char *command)
{
        nft_ctx_output_set_flags(f->nft, NFT_CTX_OUTPUT_JSON);
        int r = nft_run_cmd_from_buffer(f->nft, command);
        nft_ctx_output_set_flags(f->nft, 0);
        return r == 0 ? json_loads(nft_ctx_get_output_buffer(f->nft), 0, NULL) : NULL;
}

/* The elements of {"nftables": […, {KIND: {"name": NAME, "elem": […]}}]}: an array, empty where there are
 * none. */
static json_t *elements_of(const json_t *answer, const char *kind)
{
        json_t *item;
        size_t i;

        json_array_foreach(json_object_get(answer, "nftables"), i, item)
        {
                const json_t *set = json_object_get(item, kind);

                if (set) {
                        json_t *elements = json_object_get(set, "elem");

                        return elements ? json_incref(elements) : json_array();
                }
        }
        return NULL;
}

static json_t *list_elements(void *arg, const char *kind, const char *name)
{
        struct filter *f = arg;
        char command[NET_NODE_MAX + 64];

        snprintf(command, sizeof(command), "list %s %s %s", kind, f->table, name);
        json_auto_t *answer = list(f, command);
        return elements_of(answer, kind);
}

/* ------------------------------------------------------------------ the table */

static int make_table(struct filter *f, struct net_error *error)
{
        AK_AUTOFREE char *commands = filter_table_commands(f->table, f->state.ingress);

        return run(f, commands, error);
}

static int load(struct filter *f, struct net_error *error)
{
        filter_state_deinit(&f->state);
        int r = filter_state_load(&f->state, list_elements, f);
        if (r < 0) {
                filter_state_deinit(&f->state);
                net_error_set(error, "FilterFailed", "cannot read table %s: %s", f->table, strerror(-r));
        }
        return r;
}

/* Of a table that was tampered with: puts back what we know; where that fails, what stands is what we know.
 */
static int restore(struct filter *f, struct net_error *error)
{
        AK_AUTOFREE char *commands = filter_restore_commands(f->table, &f->state);
        struct net_error ignored;

        return run(f, commands, &ignored) == 0 ? 0 : load(f, error);
}

static int ensure_table(struct filter *f, bool known, struct net_error *error)
{
        int r = make_table(f, error);

        if (r == 0)
                r = known ? restore(f, error) : load(f, error);
        f->ready = r == 0;
        return r;
}

/* ------------------------------------------------------------------ ports */

/* Rules by their text: those that another port has, or new ones. */
static int find_rules(struct filter *f, const struct net_port_spec *spec, struct filter_rules **out)
{
        char hash[FILTER_HASH_SIZE];

        filter_rules_hash(spec, hash);
        struct filter_rules *r = filter_state_rules(&f->state, hash);
        if (!r) {
                r = calloc(1, sizeof(*r));
                if (!r)
                        return -ENOMEM;
                memcpy(r->hash, hash, sizeof(hash));
                r->id = filter_state_draw(&f->state);
                r->commands = filter_rules_commands(f->table, hash, spec);
                if (!r->commands || filter_state_put_rules(&f->state, r) < 0) {
                        filter_rules_free(r);
                        return -ENOMEM;
                }
        }
        if (!r->commands) /* made by an earlier process */
                r->commands = filter_rules_commands(f->table, hash, spec);
        *out = r;
        return r->commands ? 0 : -ENOMEM;
}

/* near, far: NULL, or the ends of the tap's wire. */
struct wish {
        const char *tap, *near, *far;
        const struct net_port_spec *spec; /* NULL: the port has nothing */
};

static struct filter_port *make_port(struct filter *f, const struct wish *w, const struct filter_port *old)
{
        struct filter_port *p = calloc(1, sizeof(*p));

        if (!p)
                return NULL;
        snprintf(p->tap, sizeof(p->tap), "%s", w->tap);
        snprintf(p->near, sizeof(p->near), "%s", w->near ? w->near : "");
        snprintf(p->far, sizeof(p->far), "%s", w->far ? w->far : "");
        p->ingress = f->state.ingress;
        p->egress_kbps = w->spec->egress_kbps;
        if (w->spec->restricted && !p->ingress && find_rules(f, w->spec, &p->rules) < 0)
                return filter_port_free(p);
        p->mark = old && old->rules == p->rules ? old->mark : filter_state_draw(&f->state);
        p->elements = filter_port_elements(p, w->spec);
        return p->elements ? p : filter_port_free(p);
}

/* Drops the rules if nobody has them. */
static void forget_rules(struct filter *f, struct filter_rules *r)
{
        if (r && r->refs == 0)
                filter_state_drop_rules(&f->state, r);
}

/* Whether no port but this one has rules. */
static bool is_alone(const struct filter *f, const char *tap)
{
        for (size_t i = 0; i < f->state.port_count; i++)
                if (f->state.ports[i]->rules && strcmp(f->state.ports[i]->tap, tap) != 0)
                        return false;
        return true;
}

/* Turns what `tap` has into `p`, which may be NULL. Takes p. */
static int change(struct filter *f, const char *tap, struct filter_port *p, struct net_error *error)
{
        struct filter_port *old = filter_state_port(&f->state, tap);
        struct filter_rules *was = old ? old->rules : NULL, *is = p ? p->rules : NULL;
        AK_AUTOFREE char *commands = filter_change_commands(
            f->table, old, p, is && is->refs == 0, was && was != is && was->refs == 1, is_alone(f, tap));
        int r = run(f, commands, error);

        if (r == 0 && p && filter_state_put(&f->state, p) < 0) {
                f->ready = false; /* read it anew */
                r = no_memory(error);
        }
        if (r < 0) {
                forget_rules(f, is);
                filter_port_free(p);
                return r;
        }
        if (!p)
                filter_state_drop(&f->state, tap);
        if (is)
                is->refs++;
        if (was)
                was->refs--;
        forget_rules(f, was);
        return 0;
}

static int try_port(struct filter *f, const struct wish *w, struct net_error *error)
{
        struct filter_port *p = w->spec ? make_port(f, w, filter_state_port(&f->state, w->tap)) : NULL;

        return w->spec && !p ? no_memory(error) : change(f, w->tap, p, error);
}

/* Once more where the table turns out to have been tampered with. */
static int set_port(struct filter *f, const struct wish *w, struct net_error *error)
{
        pthread_mutex_lock(&f->lock);
        bool fresh = !f->ready;
        int r = fresh ? ensure_table(f, f->state.port_count > 0, error) : 0;
        if (r == 0)
                r = try_port(f, w, error);
        if (r < 0 && !fresh && (r = ensure_table(f, true, error)) == 0)
                r = try_port(f, w, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_set_port(struct filter *f, const char *tap, const struct net_port_spec *spec,
                    struct net_error *error)
{
        return set_port(f, &(struct wish){.tap = tap, .spec = spec}, error);
}

int filter_set_wired_port(struct filter *f, const char *tap, const char *near, const char *far,
                          const struct net_port_spec *spec, struct net_error *error)
{
        return set_port(f, &(struct wish){.tap = tap, .near = near, .far = far, .spec = spec}, error);
}

int filter_clear_port(struct filter *f, const char *tap, struct net_error *error)
{
        return set_port(f, &(struct wish){.tap = tap}, error);
}

/* ------------------------------------------------------------------ legs */

static int run_in_table(struct filter *f, const char *commands, struct net_error *error)
{
        pthread_mutex_lock(&f->lock);
        bool fresh = !f->ready;
        int r = fresh ? ensure_table(f, f->state.port_count > 0, error) : 0;
        if (r == 0)
                r = run(f, commands, error);
        if (r < 0 && !fresh && (r = ensure_table(f, true, error)) == 0)
                r = run(f, commands, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_set_leg(struct filter *f, const char *leg, struct net_error *error)
{
        char c[256];

        snprintf(c, sizeof(c), "add element %s legs { \"%s\" }\n", f->table, leg);
        return run_in_table(f, c, error);
}

/* "add" before "delete" makes a delete of what is not there no error, in one transaction. */
int filter_clear_leg(struct filter *f, const char *leg, struct net_error *error)
{
        char c[256];

        snprintf(c, sizeof(c),
                 "add element %1$s legs { \"%2$s\" }\n"
                 "delete element %1$s legs { \"%2$s\" }\n",
                 f->table, leg);
        return run_in_table(f, c, error);
}

/* ------------------------------------------------------------------ counters */

static const char *const reason_names[] = {
#define NAME(name, doc) #name,
    FILTER_REASONS(NAME)
#undef NAME
};

const char *filter_reason_name(enum filter_reason reason)
{
        return reason_names[reason];
}

/* {"nftables": [{"counter": {"name": …, "packets": …}}, …]} */
static int read_counters(const json_t *answer, uint64_t packets[FILTER_REASON_COUNT])
{
        json_t *item;
        size_t i;

        if (!json_is_object(answer))
                return -EIO;
        json_array_foreach(json_object_get(answer, "nftables"), i, item)
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

static int cannot_count(const struct filter *f, struct net_error *error)
{
        net_error_set(error, "FilterFailed", "cannot read the counters of table %s", f->table);
        return -EIO;
}

int filter_count(struct filter *f, uint64_t packets[FILTER_REASON_COUNT], struct net_error *error)
{
        char c[NET_NODE_MAX + 64];

        memset(packets, 0, FILTER_REASON_COUNT * sizeof(*packets));
        snprintf(c, sizeof(c), "list counters table %s", f->table);
        pthread_mutex_lock(&f->lock);
        bool ready = f->ready;
        json_auto_t *answer = list(f, c);
        pthread_mutex_unlock(&f->lock);
        if (!answer && !ready)
                return 0; /* no port, no table */
        return read_counters(answer, packets) < 0 ? cannot_count(f, error) : 0;
}

/* {"elem": {"val": TAP, …, "counter": {"packets": …}}} */
static uint64_t packets_of(const json_t *element, const char **tap)
{
        const json_t *e = json_object_get(element, "elem");

        *tap = json_string_value(json_object_get(e, "val"));
        return (uint64_t)json_integer_value(json_object_get(json_object_get(e, "counter"), "packets"));
}

int filter_count_by_port(struct filter *f,
                         void (*fn)(void *arg, const char *tap, enum filter_reason reason, uint64_t packets),
                         void *arg, struct net_error *error)
{
        for (size_t n = 0; n < FILTER_REASON_COUNT; n++) {
                char name[48];
                const char *tap;
                size_t i;
                json_t *element;

                snprintf(name, sizeof(name), "by_%s", reason_names[n]);
                pthread_mutex_lock(&f->lock);
                bool ready = f->ready;
                json_auto_t *elements = list_elements(f, "set", name);
                pthread_mutex_unlock(&f->lock);
                if (!elements)
                        return ready ? cannot_count(f, error) : 0;
                json_array_foreach(elements, i, element)
                {
                        uint64_t packets = packets_of(element, &tap);

                        if (tap && packets > 0)
                                fn(arg, tap, (enum filter_reason)n, packets);
                }
        }
        return 0;
}

struct drops {
        filter_drops_fn *fn;
        void *arg;
};

static void tell_port(void *arg, const char *tap, enum filter_reason reason, uint64_t packets)
{
        const struct drops *d = arg;

        d->fn(d->arg, tap, filter_reason_name(reason), packets);
}

int filter_drops(struct filter *f, bool by_port, filter_drops_fn *fn, void *arg, struct net_error *error)
{
        uint64_t packets[FILTER_REASON_COUNT];
        struct drops d = {fn, arg};
        int r = f ? filter_count(f, packets, error) : 0;

        if (r < 0 || !f)
                return r;
        for (int i = 0; i < FILTER_REASON_COUNT; i++)
                fn(arg, NULL, filter_reason_name((enum filter_reason)i), packets[i]);
        return by_port ? filter_count_by_port(f, tell_port, &d, error) : 0;
}

/* Before a port was a handful of elements it was chains of a table of another family. */
static int remove_old_table(struct filter *f, struct net_error *error)
{
        char c[2 * NET_NODE_MAX + 64];

        if (f->state.ingress)
                return 0;
        snprintf(c, sizeof(c), "list table netdev alkaid-%s", f->node);
        json_auto_t *old = list(f, c);
        if (!old)
                return 0;
        snprintf(c, sizeof(c), "delete table netdev alkaid-%s\n", f->node);
        return run(f, c, error);
}

static int tear_down(struct filter *f, struct net_error *error)
{
        char c[2 * NET_NODE_MAX + 64];

        snprintf(c, sizeof(c), "add table %1$s\ndelete table %1$s\n", f->table);
        int r = run(f, c, error);
        if (r == 0)
                r = remove_old_table(f, error);
        f->ready = false;
        filter_state_deinit(&f->state);
        return r;
}

int filter_teardown(struct filter *f, struct net_error *error)
{
        pthread_mutex_lock(&f->lock);
        int r = tear_down(f, error);
        pthread_mutex_unlock(&f->lock);
        return r;
}

int filter_teardown_if_empty(struct filter *f, struct net_error *error)
{
        pthread_mutex_lock(&f->lock);
        int r = f->ready && f->state.port_count == 0 ? tear_down(f, error) : 0;
        pthread_mutex_unlock(&f->lock);
        return r;
}
