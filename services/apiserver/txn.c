/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The changes of one request. Each is applied to memory at once, so that later steps of the request see it,
 * and recorded; a refusal or a dry run takes all of them back in reverse order.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

void api_txn_begin(struct api_txn *t, struct api_core *core, uint64_t real_us, struct api_result *out)
{
        *t = (struct api_txn){
            .core = core, .real_us = real_us, .first_version = core->resource_version, .out = out};
}

static int record(struct api_txn *t, const struct api_change *change)
{
        struct api_result *out = t->out;
        struct api_change *changes = realloc(out->changes, (out->change_count + 1) * sizeof(*changes));

        if (!changes)
                return -ENOMEM;
        out->changes = changes;
        changes[out->change_count++] = *change;
        return 0;
}

static void stamp(struct api_txn *t, json_t *object)
{
        char version[24];

        (void)snprintf(version, sizeof(version), "%" PRIu64, ++t->core->resource_version);
        (void)api_set(object, "metadata.resourceVersion", json_string(version));
}

/* What is changed and what it is changed to; both are held. */
static int look_up(struct api_txn *t, const char *key, struct api_change *c)
{
        struct api_image *old = api_find_image(t->core, c->kind, key);

        c->image = api_image_of(c->kind, c->object, c->resource_version);
        if (!c->image)
                return -ENOMEM;
        if (!old)
                return 0;
        c->old = json_incref(api_hot_tree(t->core->hot, old));
        c->old_image = c->old ? api_image_ref(old) : NULL;
        return c->old ? 0 : -ENOMEM;
}

static void change_deinit(struct api_change *c)
{
        json_decref(c->object);
        json_decref(c->old);
        (void)api_image_unref(c->image);
        (void)api_image_unref(c->old_image);
}

static int change(struct api_txn *t, const struct api_kind *kind, json_t *object, bool removal)
{
        char key[API_KEY_SIZE];
        struct api_change c = {.kind = kind, .object = object};
        int r;

        api_key(kind->namespaced ? api_namespace(object) : "", api_name(object), key);
        stamp(t, object);
        c.resource_version = t->core->resource_version;
        r = look_up(t, key, &c);
        c.type = removal ? API_DELETED : c.old ? API_MODIFIED : API_ADDED;
        if (r == 0)
                r = api_objects_set(t->core, kind, key, removal ? NULL : c.image);
        if (r == 0)
                r = record(t, &c);
        if (r < 0) {
                api_fail(t->out, 507, "InsufficientStorage", kind, api_name(object),
                         r == -ENOSPC ? "the server holds as many objects as it may" : "out of memory");
                change_deinit(&c);
        }
        return r;
}

int api_txn_put(struct api_txn *t, const struct api_kind *kind, json_t *object)
{
        return object ? change(t, kind, object, false) : -ENOMEM;
}

int api_txn_delete(struct api_txn *t, const struct api_kind *kind, json_t *object)
{
        json_t *last = json_copy(object);

        if (!last)
                return -ENOMEM;
        /* metadata gets a new resourceVersion; the stored object must not change under its holders. */
        (void)json_object_set_new(last, "metadata", json_copy(json_object_get(object, "metadata")));
        return change(t, kind, last, true);
}

void api_txn_keep_cursor(struct api_txn *t, const char *subnet_uid)
{
        json_t *cursor = json_object_get(t->core->ip_cursors, subnet_uid);

        if (!t->cursors)
                t->cursors = json_object();
        if (!json_object_get(t->cursors, subnet_uid))
                (void)json_object_set_new(t->cursors, subnet_uid, cursor ? json_incref(cursor) : json_null());
}

static void restore_cursors(struct api_txn *t)
{
        const char *uid;
        json_t *cursor;

        json_object_foreach(t->cursors, uid, cursor)
        {
                if (json_is_null(cursor))
                        (void)json_object_del(t->core->ip_cursors, uid);
                else
                        (void)json_object_set(t->core->ip_cursors, uid, cursor);
        }
}

void api_txn_deinit(struct api_txn *t)
{
        json_decref(t->cursors);
        json_decref(t->gone);
        t->cursors = t->gone = NULL;
}

void api_txn_rollback(struct api_txn *t)
{
        struct api_result *out = t->out;

        while (out->change_count) {
                struct api_change *c = &out->changes[--out->change_count];
                char key[API_KEY_SIZE];

                api_key(c->kind->namespaced ? api_namespace(c->object) : "", api_name(c->object), key);
                (void)api_objects_set(t->core, c->kind, key, c->old_image);
                change_deinit(c);
        }
        restore_cursors(t);
        t->core->resource_version = t->first_version;
}
