/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.ownerReferences: what belongs to an object goes with it, in the same transaction, so that no crash
 * leaves half of it. An object of several owners stays until the last is gone; propagationPolicy Orphan takes
 * only the references away. Foreground and Background do the same here: owner and dependents go at once, but
 * a dependent that has to wait (for a node, for a finalizer) does not hold up its owner. Ports that were made
 * for a pod's NIC are left alone: they stay until the node has let go of them (rules of pods and ports).
 *
 * What is gone is queued and worked off by a loop, because a chain of owners may be as long as clients like.
 */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define ENTRY_SIZE (API_KEY_SIZE + 32) /* "KIND-NUMBER KEY" */

static bool outlives_owner(const struct api_kind *kind, const json_t *object)
{
        return kind == &api_kind_port && json_is_true(api_at(object, "spec.autoCreated"));
}

static size_t kind_number(const struct api_kind *kind)
{
        size_t k = 0;

        while (k < api_kind_count && api_kinds[k] != kind)
                k++;
        return k;
}

static void index_one(struct api_core *core, bool present, const char *uid, const char *entry)
{
        json_t *owned = json_object_get(core->owned, uid);

        if (present && !owned) {
                owned = json_object();
                (void)json_object_set_new(core->owned, uid, owned);
        }
        if (present)
                (void)json_object_set_new(owned, entry, json_true());
        else
                (void)json_object_del(owned, entry);
        if (json_object_size(owned) == 0)
                (void)json_object_del(core->owned, uid);
}

void api_index_owners(struct api_core *core, const struct api_kind *kind, bool present, const char *key,
                      const json_t *object)
{
        char entry[ENTRY_SIZE];
        json_t *reference;
        size_t i;

        if (outlives_owner(kind, object))
                return;
        (void)snprintf(entry, sizeof(entry), "%zu %s", kind_number(kind), key);
        json_array_foreach(api_at(object, "metadata.ownerReferences"), i, reference)
        {
                if (*api_text(reference, "uid"))
                        index_one(core, present, api_text(reference, "uid"), entry);
        }
}

void api_owner_gone(struct api_txn *t, const json_t *object, const json_t *options)
{
        bool orphan = strcmp(api_text(options, "propagationPolicy"), "Orphan") == 0;

        if (!json_object_get(t->core->owned, api_uid(object)))
                return;
        if (!t->gone)
                t->gone = json_array();
        (void)json_array_append_new(t->gone, json_pack("[s, b]", api_uid(object), orphan));
}

/* The request's own answer stays what it was; a refusal leaves the dependent where it is. */
static void delete_dependent(struct api_txn *t, const struct api_kind *kind, json_t *object)
{
        int code = t->out->code;
        json_t *answer = t->out->object;

        t->out->code = 0;
        t->out->object = NULL;
        api_delete_object(t, kind, object, NULL);
        json_decref(t->out->object);
        t->out->code = code;
        t->out->object = answer;
}

static json_t *without(const json_t *references, const char *uid)
{
        json_t *left = json_array(), *reference;
        size_t i;

        json_array_foreach((json_t *)references, i, reference)
        {
                if (strcmp(api_text(reference, "uid"), uid) != 0)
                        (void)json_array_append_new(left, api_copy(reference));
        }
        return left;
}

static void lose_owner(struct api_txn *t, const char *entry, const char *uid, bool orphan)
{
        const struct api_kind *kind = api_kinds[strtoul(entry, NULL, 10)];
        json_t *object = json_incref(api_find_key(t->core, kind, strchr(entry, ' ') + 1)), *copy, *left;

        if (!object)
                return;
        left = without(api_at(object, "metadata.ownerReferences"), uid);
        if (json_array_size(left) == 0 && !orphan) {
                json_decref(left);
                delete_dependent(t, kind, object);
        } else {
                copy = api_copy(object);
                (void)api_set(copy, "metadata.ownerReferences", left);
                if (json_array_size(left) == 0)
                        (void)json_object_del(json_object_get(copy, "metadata"), "ownerReferences");
                (void)api_txn_put(t, kind, copy);
        }
        json_decref(object);
}

void api_collect_dependents(struct api_txn *t)
{
        for (size_t i = 0; i < json_array_size(t->gone); i++) {
                const json_t *gone = json_array_get(t->gone, i);
                const char *uid = json_string_value(json_array_get(gone, 0)), *entry;
                json_t *owned = json_copy(json_object_get(t->core->owned, uid)), *unused;

                json_object_foreach(owned, entry, unused)
                {
                        lose_owner(t, entry, uid, json_is_true(json_array_get(gone, 1)));
                }
                json_decref(owned);
        }
}
