/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/core_past.h"

#include <stdlib.h>
#include <string.h>

static void note(void *arg, const struct api_image *now, struct api_image *before)
{
        struct api_past *past = arg;
        struct api_past_object *o;
        char key[API_KEY_SIZE];

        if (past->count == past->room) {
                size_t room = past->room ? 2 * past->room : 64;
                struct api_past_object *items = reallocarray(past->items, room, sizeof(*items));

                if (!items) {
                        past->failed = true;
                        return;
                }
                past->items = items;
                past->room = room;
        }
        api_key(now->name_space, now->name, key);
        o = &past->items[past->count];
        *o = (struct api_past_object){.key = strdup(key), .image = before, .order = past->count};
        if (o->key)
                past->count++;
        else
                past->failed = true;
}

static int by_key(const void *a, const void *b)
{
        const struct api_past_object *x = a, *y = b;
        int order = strcmp(x->key, y->key);

        return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

/* Of several changes of one object the first says what was there before. */
static void keep_first(struct api_past *past)
{
        size_t kept = 0;

        for (size_t i = 0; i < past->count; i++) {
                if (kept > 0 && strcmp(past->items[kept - 1].key, past->items[i].key) == 0)
                        free(past->items[i].key);
                else
                        past->items[kept++] = past->items[i];
        }
        past->count = kept;
}

void api_past_init(struct api_past *past, const struct api_history *history, const struct api_kind *kind,
                   uint64_t version)
{
        *past = (struct api_past){0};
        if (!history)
                return;
        history->after(history->arg, kind, version, note, past);
        if (past->count > 0)
                qsort(past->items, past->count, sizeof(*past->items), by_key);
        keep_first(past);
}

void api_past_deinit(struct api_past *past)
{
        for (size_t i = 0; i < past->count; i++)
                free(past->items[i].key);
        free(past->items);
        *past = (struct api_past){0};
}

void api_past_walk(struct api_past_walk *w, const struct api_table_of_kind *table,
                   const struct api_past *past, const char *from)
{
        *w = (struct api_past_walk){.table = table, .past = past, .at = api_lower_bound(table, from)};
        while (w->past_at < past->count && strcmp(past->items[w->past_at].key, from) < 0)
                w->past_at++;
}

/* The next key of the two, as it was. */
static bool step(struct api_past_walk *w)
{
        const struct api_object *now = w->at < w->table->count ? &w->table->items[w->at] : NULL;
        const struct api_past_object *then = w->past_at < w->past->count ? &w->past->items[w->past_at] : NULL;
        int order = !now ? 1 : !then ? -1 : strcmp(now->key, then->key);

        if (!now && !then)
                return false;
        w->key = order < 0 ? now->key : then->key;
        w->image = order < 0 ? now->image : then->image;
        w->at += order <= 0;
        w->past_at += order >= 0;
        return true;
}

bool api_past_next(struct api_past_walk *w)
{
        while (step(w)) {
                if (w->image)
                        return true;
        }
        return false;
}
