/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/scope.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct part {
        struct watcher_scope *scope;
        struct ak_informer *informer;
        zhashx_t *values;
        bool changed, synced;
};

struct watcher_scope {
        zloop_t *loop;
        const struct ak_kubeconfig *kubeconfig;
        struct watcher_scope_options options;
        struct watcher_scope_handler handler;
        zlistx_t *parts;
};

static void put(void *arg, json_t *object)
{
        struct part *p = arg;

        p->scope->handler.put(p->scope->handler.arg, object, p);
}

static void gone(void *arg, json_t *object)
{
        struct part *p = arg;

        p->scope->handler.gone(p->scope->handler.arg, object, p);
}

static void synced(void *arg)
{
        struct part *p = arg;

        p->synced = true;
        p->scope->handler.synced(p->scope->handler.arg);
}

static void part_free(void **item)
{
        struct part *p = *item;

        ak_informer_free(p->informer);
        zhashx_destroy(&p->values);
        free(p);
        *item = NULL;
}

int watcher_scope_new(struct watcher_scope **out, zloop_t *loop, const struct ak_kubeconfig *kubeconfig,
                      const struct watcher_scope_options *options,
                      const struct watcher_scope_handler *handler)
{
        AK_CLEANUP(watcher_scope_freep) struct watcher_scope *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        *s = (struct watcher_scope){.loop = loop,
                                    .kubeconfig = kubeconfig,
                                    .options = *options,
                                    .handler = *handler,
                                    .parts = zlistx_new()};
        if (!s->parts)
                return -ENOMEM;
        zlistx_set_destructor(s->parts, part_free);
        *out = AK_STEAL(s);
        return 0;
}

struct watcher_scope *watcher_scope_free(struct watcher_scope *s)
{
        if (!s)
                return NULL;
        zlistx_destroy(&s->parts);
        free(s);
        return NULL;
}

/* "FIELD in (A,B)"; NULL when out of memory. */
static char *selector_of(const struct part *p)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        const char *comma = "";

        if (!f)
                return NULL;
        (void)fprintf(f, "%s in (", p->scope->options.field);
        for (void *v = zhashx_first(p->values); v; v = zhashx_next(p->values)) {
                (void)fprintf(f, "%s%s", comma, (const char *)zhashx_cursor(p->values));
                comma = ",";
        }
        (void)fputc(')', f);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

static int begin(struct part *p, const char *selector)
{
        struct watcher_scope *s = p->scope;
        struct ak_informer_handler handler = {.put = put, .gone = gone, .synced = synced, .arg = p};
        struct ak_informer_options options = {.path = s->options.path,
                                              .field_selector = selector,
                                              .user_agent = s->options.user_agent,
                                              .seed = s->options.seed};

        return ak_informer_new(&p->informer, s->loop, s->kubeconfig, &options, &handler);
}

static int follow(struct part *p)
{
        bool any = zhashx_size(p->values) > 0;
        AK_AUTOFREE char *selector = any ? selector_of(p) : NULL;
        int r = any && !selector ? -ENOMEM : 0;

        if (r == 0 && p->informer)
                r = ak_informer_select(p->informer, selector);
        else if (r == 0 && any)
                r = begin(p, selector);
        else if (r == 0)
                p->synced = true; /* all left before it began */
        p->changed = r < 0;
        return r;
}

static void leave(struct part *p, zhashx_t *values)
{
        zlistx_t *keys = zhashx_keys(p->values);

        for (const char *key = zlistx_first(keys); key; key = zlistx_next(keys)) {
                if (zhashx_lookup(values, key))
                        continue;
                zhashx_delete(p->values, key);
                p->changed = true;
        }
        zlistx_destroy(&keys);
}

static bool followed(const struct watcher_scope *s, const char *value)
{
        for (struct part *p = zlistx_first(s->parts); p; p = zlistx_next(s->parts))
                if (zhashx_lookup(p->values, value))
                        return true;
        return false;
}

/* One that has room, or another one. */
static struct part *room(struct watcher_scope *s)
{
        struct part *p = zlistx_first(s->parts);

        while (p && zhashx_size(p->values) >= s->options.most)
                p = zlistx_next(s->parts);
        if (p)
                return p;
        p = calloc(1, sizeof(*p));
        if (!p)
                return NULL;
        *p = (struct part){.scope = s, .values = zhashx_new()};
        if (!p->values || !zlistx_add_end(s->parts, p))
                part_free((void **)&p);
        return p;
}

static int join(struct watcher_scope *s, const char *value)
{
        struct part *p = room(s);

        if (!p || zhashx_insert(p->values, value, "") != 0)
                return -ENOMEM;
        p->changed = true;
        return 0;
}

int watcher_scope_set(struct watcher_scope *s, zhashx_t *values)
{
        int r = 0;

        for (struct part *p = zlistx_first(s->parts); p; p = zlistx_next(s->parts))
                leave(p, values);
        for (void *v = zhashx_first(values); v && r == 0; v = zhashx_next(values)) {
                const char *value = zhashx_cursor(values);

                r = followed(s, value) ? 0 : join(s, value);
        }
        for (struct part *p = zlistx_first(s->parts); p && r == 0; p = zlistx_next(s->parts))
                r = p->changed ? follow(p) : 0;
        return r;
}

bool watcher_scope_synced(const struct watcher_scope *s)
{
        for (struct part *p = zlistx_first(s->parts); p; p = zlistx_next(s->parts))
                if (!p->synced)
                        return false;
        return true;
}

size_t watcher_scope_informers(const struct watcher_scope *s)
{
        return zlistx_size(s->parts);
}
