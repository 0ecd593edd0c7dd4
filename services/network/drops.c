/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/drops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/cleanup.h"
#include "libcommon/log.h"

struct look {
        const struct net_core *core;
        zhashx_t *before, *now;
        size_t lines, more;
};

static void free_count(void **count)
{
        free(*count);
        *count = NULL;
}

static void say(struct look *l, const char *tap, const char *reason, uint64_t packets)
{
        const struct net_port_key *key = net_core_key_of_tap(l->core, tap);

        if (l->lines >= DROPS_LINES) {
                l->more++;
                return;
        }
        l->lines++;
        ak_log(AK_LOG_WARN, "packets_dropped", "pod", key ? key->pod_uid : NULL, "port",
               key ? key->port_id : NULL, "tap", tap, "reason", reason, "packets",
               AK_FMT("%llu", (unsigned long long)packets), NULL);
}

static void note(void *arg, const char *tap, const char *reason, uint64_t packets)
{
        struct look *l = arg;
        char key[96];

        if (!tap)
                return;
        snprintf(key, sizeof(key), "%s %s", tap, reason);
        const uint64_t *before = l->before ? zhashx_lookup(l->before, key) : NULL;
        uint64_t known = before && *before <= packets ? *before : 0; /* a count ends after a day of silence */
        if (l->before && packets > known)
                say(l, tap, reason, packets - known);
        uint64_t *count = malloc(sizeof(*count));
        if (!count)
                return;
        *count = packets;
        if (zhashx_insert(l->now, key, count) != 0)
                free(count);
}

static int look(struct net_drops *d, struct vpc_backend *backend, const struct net_core *core,
                struct net_error *error)
{
        struct look l = {.core = core, .before = d->counts, .now = zhashx_new()};

        if (!l.now)
                return -ENOMEM;
        zhashx_set_destructor(l.now, free_count);
        int r = backend->ops->drops(backend, true, note, &l, error);
        if (r < 0) {
                zhashx_destroy(&l.now);
                return r;
        }
        if (l.more > 0)
                ak_log(AK_LOG_WARN, "packets_dropped_more", "lines", AK_FMT("%zu", l.more), "note",
                       "not said, to keep the log short; /metrics has all", NULL);
        zhashx_destroy(&d->counts);
        d->counts = l.now;
        return 0;
}

static void add_up(void *arg, const char *tap, const char *reason AK_UNUSED, uint64_t packets)
{
        if (!tap)
                *(uint64_t *)arg += packets;
}

void net_drops_look(struct net_drops *d, struct vpc_backend *backend, const struct net_core *core)
{
        struct net_error error = {0};
        uint64_t sum = 0;

        if (!backend->ops->drops)
                return;
        int r = backend->ops->drops(backend, false, add_up, &sum, &error);
        if (r == 0 && (sum != d->sum || !d->counts)) {
                d->sum = sum;
                r = look(d, backend, core, &error);
        }
        if (r < 0)
                ak_log(AK_LOG_WARN, "drops_not_read", "reason", error.reason, "message", error.message, NULL);
}

void net_drops_deinit(struct net_drops *d)
{
        zhashx_destroy(&d->counts);
}
