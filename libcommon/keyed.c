/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/keyed.h"

#include <czmq.h>
#include <errno.h>

struct ak_keyed {
        zhashx_t *items;
        size_t item_size, most;
};

static void free_item(void **item)
{
        free(*item);
        *item = NULL;
}

int ak_keyed_new(struct ak_keyed **out, size_t item_size, size_t most)
{
        AK_CLEANUP(ak_keyed_freep) struct ak_keyed *t = calloc(1, sizeof(*t));

        if (!t)
                return -ENOMEM;
        t->item_size = item_size;
        t->most = most;
        t->items = zhashx_new();
        if (!t->items)
                return -ENOMEM;
        zhashx_set_destructor(t->items, free_item);
        *out = AK_STEAL(t);
        return 0;
}

struct ak_keyed *ak_keyed_free(struct ak_keyed *t)
{
        if (!t)
                return NULL;
        zhashx_destroy(&t->items);
        free(t);
        return NULL;
}

void *ak_keyed_find(const struct ak_keyed *t, const char *key)
{
        return zhashx_lookup(t->items, key);
}

void *ak_keyed_get(struct ak_keyed *t, const char *key)
{
        void *item = ak_keyed_find(t, key);

        if (item || zhashx_size(t->items) >= t->most)
                return item;
        item = calloc(1, t->item_size);
        if (item && zhashx_insert(t->items, key, item) == 0)
                return item;
        free(item);
        return NULL;
}

void ak_keyed_drop(struct ak_keyed *t, const char *key)
{
        zhashx_delete(t->items, key);
}
