/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/watch_index.h"

#include <czmq.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_SIZE 512

struct bucket {
        void **watchers;
        size_t count, room;
};

struct api_watch_index {
        zhashx_t *buckets; /* "kind/field=value" -> struct bucket; "kind/" for those that name no value */
};

static void bucket_free(void **item)
{
        struct bucket *b = *item;

        free(b->watchers);
        free(b);
        *item = NULL;
}

int api_watch_index_new(struct api_watch_index **out)
{
        struct api_watch_index *index = calloc(1, sizeof(*index));

        if (index)
                index->buckets = zhashx_new();
        if (!index || !index->buckets) {
                free(index);
                return -ENOMEM;
        }
        zhashx_set_destructor(index->buckets, bucket_free);
        *out = index;
        return 0;
}

struct api_watch_index *api_watch_index_free(struct api_watch_index *index)
{
        if (index)
                zhashx_destroy(&index->buckets);
        free(index);
        return NULL;
}

static void name_bucket(char out[NAME_SIZE], const struct api_kind *kind, int field, const char *value)
{
        (void)snprintf(out, NAME_SIZE, "%s/%d=%s", kind->plural, field, value);
}

static int add(struct api_watch_index *index, const char *name, void *watcher)
{
        struct bucket *b = zhashx_lookup(index->buckets, name);

        if (!b) {
                b = calloc(1, sizeof(*b));
                if (!b || zhashx_insert(index->buckets, name, b) != 0) {
                        free(b);
                        return -ENOMEM;
                }
        }
        if (b->count == b->room) {
                size_t room = b->room ? 2 * b->room : 1;
                void **watchers = reallocarray(b->watchers, room, sizeof(*watchers));

                if (!watchers)
                        return -ENOMEM;
                b->watchers = watchers;
                b->room = room;
        }
        b->watchers[b->count++] = watcher;
        return 0;
}

static int drop(struct api_watch_index *index, const char *name, void *watcher)
{
        struct bucket *b = zhashx_lookup(index->buckets, name);

        for (size_t i = 0; b && i < b->count; i++) {
                if (b->watchers[i] == watcher)
                        b->watchers[i--] = b->watchers[--b->count];
        }
        if (b && b->count == 0)
                zhashx_delete(index->buckets, name);
        return 0;
}

typedef int (*bucket_fn)(struct api_watch_index *index, const char *name, void *watcher);

/* For the bucket of each value that the selector names. */
static int each_of(struct api_watch_index *index, const struct api_kind *kind, const struct api_selector *s,
                   bucket_fn fn, void *watcher)
{
        int field = -1, rc = 0;
        const json_t *keys = api_selector_keys(s, &field);
        char name[NAME_SIZE];
        const char *value;
        json_t *unused;

        if (!keys) {
                name_bucket(name, kind, -1, "");
                return fn(index, name, watcher);
        }
        json_object_foreach((json_t *)keys, value, unused)
        {
                name_bucket(name, kind, field, value);
                if (rc == 0)
                        rc = fn(index, name, watcher);
        }
        return rc;
}

int api_watch_index_add(struct api_watch_index *index, const struct api_kind *kind,
                        const struct api_selector *s, void *watcher)
{
        int rc = each_of(index, kind, s, add, watcher);

        if (rc < 0)
                api_watch_index_remove(index, kind, s, watcher);
        return rc;
}

void api_watch_index_remove(struct api_watch_index *index, const struct api_kind *kind,
                            const struct api_selector *s, void *watcher)
{
        (void)each_of(index, kind, s, drop, watcher);
}

static void visit(struct api_watch_index *index, const struct api_kind *kind, int field, const char *value,
                  api_watch_index_fn fn, void *arg)
{
        char name[NAME_SIZE];
        const struct bucket *b;

        name_bucket(name, kind, field, value);
        b = zhashx_lookup(index->buckets, name);
        for (size_t i = 0; b && i < b->count; i++)
                fn(arg, b->watchers[i]);
}

void api_watch_index_each(struct api_watch_index *index, const struct api_event *e, api_watch_index_fn fn,
                          void *arg)
{
        const char *now, *before;

        visit(index, e->kind, -1, "", fn, arg);
        for (int field = 0; (now = api_image_key(e->kind, e->image, field)); field++) {
                visit(index, e->kind, field, now, fn, arg);
                before = e->old ? api_image_key(e->kind, e->old, field) : now;
                if (strcmp(now, before) != 0)
                        visit(index, e->kind, field, before, fn, arg);
        }
}
