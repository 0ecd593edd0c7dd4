/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.ownerReferences: what belongs to an object goes with it, in the same transaction, so that no crash
 * leaves half of it. An object of several owners stays until the last is gone; propagationPolicy Orphan takes
 * only the references away, at once, though the owner itself may have to wait. Ports that were made for a
 * pod's NIC are left alone: they stay until the node has let go of them (rules of pods and ports).
 *
 * Background: owner and dependents go at once; a dependent that has to wait (for a node, for a finalizer)
 * does not hold up its owner. Foreground: the owner waits, marked by the finalizer foregroundDeletion, until
 * no dependent with blockOwnerDeletion is left, and no port of a pod. Every change of a dependent has its
 * waiting owner looked at (`due`).
 *
 * A dependent whose own rules refuse (a VPC in use) stays; it is asked again every RETRY_US.
 *
 * What is gone is queued and worked off by a loop, because a chain of owners may be as long as clients like.
 */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define ENTRY_SIZE (API_KEY_SIZE + 32) /* "KIND-NUMBER KEY" */
#define FOREGROUND "foregroundDeletion"
#define ORPHAN     "orphan"
#define RETRY_US   (UINT64_C(5) * 1000 * 1000)

/* What core->owned tells of a dependent without a look at it. */
enum { BLOCKS = 1, DELETING = 2, WAITS = 4 };

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

static bool has_finalizer(const json_t *object, const char *name)
{
        json_t *finalizer;
        size_t i;

        json_array_foreach(api_at(object, "metadata.finalizers"), i, finalizer)
        {
                if (json_is_string(finalizer) && strcmp(json_string_value(finalizer), name) == 0)
                        return true;
        }
        return false;
}

/* ---- the index ---- */

void api_owner_touched(struct api_core *core, const char *uid)
{
        if (json_object_get(core->waiting, uid))
                (void)json_object_set_new(core->due, uid, json_true());
}

static void index_one(struct api_core *core, bool present, const char *uid, const char *entry, int flags)
{
        json_t *owned = json_object_get(core->owned, uid);

        if (present && !owned) {
                owned = json_object();
                (void)json_object_set_new(core->owned, uid, owned);
        }
        if (present)
                (void)json_object_set_new(owned, entry, json_integer(flags));
        else
                (void)json_object_del(owned, entry);
        if (json_object_size(owned) == 0)
                (void)json_object_del(core->owned, uid);
        api_owner_touched(core, uid);
}

static void index_waiting(struct api_core *core, bool waits, const char *uid, const char *entry)
{
        if (waits)
                (void)json_object_set_new(core->waiting, uid, json_string(entry));
        else
                (void)json_object_del(core->waiting, uid);
        api_owner_touched(core, uid);
}

void api_index_owners(struct api_core *core, const struct api_kind *kind, bool present, const char *key,
                      const json_t *object)
{
        bool deleting = api_is_deleting(object), waits = deleting && has_finalizer(object, FOREGROUND);
        char entry[ENTRY_SIZE];
        json_t *reference;
        size_t i;

        (void)snprintf(entry, sizeof(entry), "%zu %s", kind_number(kind), key);
        if (waits)
                index_waiting(core, present, api_uid(object), entry);
        if (outlives_owner(kind, object))
                return;
        json_array_foreach(api_at(object, "metadata.ownerReferences"), i, reference)
        {
                bool blocks = json_is_true(json_object_get(reference, "blockOwnerDeletion"));
                int flags = (blocks ? BLOCKS : 0) | (deleting ? DELETING : 0) | (waits ? WAITS : 0);

                if (*api_text(reference, "uid"))
                        index_one(core, present, api_text(reference, "uid"), entry, flags);
        }
}

static bool any_dependent(const struct api_core *core, const char *uid, int flags, int value)
{
        const char *entry;
        json_t *known;

        json_object_foreach(json_object_get(core->owned, uid), entry, known)
        {
                if (((int)json_integer_value(known) & flags) == value)
                        return true;
        }
        return false;
}

static bool is_held(const struct api_core *core, const char *uid)
{
        return json_object_get(core->pod_ports, uid) || any_dependent(core, uid, BLOCKS, BLOCKS);
}

/* ---- what a deletion says ---- */

enum api_policy api_policy_of(const json_t *object, const json_t *options)
{
        const char *policy = api_text(options, "propagationPolicy");
        const json_t *orphan = json_object_get(options, "orphanDependents");

        if (*policy)
                return strcmp(policy, "Foreground") == 0 ? API_POLICY_FOREGROUND
                       : strcmp(policy, "Orphan") == 0   ? API_POLICY_ORPHAN
                                                         : API_POLICY_BACKGROUND;
        if (json_is_boolean(orphan))
                return json_is_true(orphan) ? API_POLICY_ORPHAN : API_POLICY_BACKGROUND;
        if (has_finalizer(object, FOREGROUND))
                return API_POLICY_FOREGROUND;
        return has_finalizer(object, ORPHAN) ? API_POLICY_ORPHAN : API_POLICY_BACKGROUND;
}

json_t *api_policy_mark(const struct api_core *core, json_t *object, enum api_policy policy)
{
        bool wanted = policy == API_POLICY_FOREGROUND && (json_object_get(core->owned, api_uid(object)) ||
                                                          json_object_get(core->pod_ports, api_uid(object)));
        bool marked = has_finalizer(object, FOREGROUND);
        json_t *left, *finalizer, *copy;
        size_t i;

        if (wanted == marked && !has_finalizer(object, ORPHAN))
                return json_incref(object);
        left = json_array();
        json_array_foreach(api_at(object, "metadata.finalizers"), i, finalizer)
        {
                const char *name = json_string_value(finalizer);

                if (name && strcmp(name, FOREGROUND) != 0 && strcmp(name, ORPHAN) != 0)
                        (void)json_array_append(left, finalizer);
        }
        if (wanted)
                (void)json_array_append_new(left, json_string(FOREGROUND));
        copy = api_copy(object);
        (void)api_set(copy, "metadata.finalizers", left);
        if (json_array_size(left) == 0)
                (void)json_object_del(json_object_get(copy, "metadata"), "finalizers");
        return copy;
}

void api_owner_gone(struct api_txn *t, const json_t *object, bool orphan)
{
        if (!json_object_get(t->core->owned, api_uid(object)))
                return;
        if (!t->gone)
                t->gone = json_array();
        (void)json_array_append_new(t->gone, json_pack("[s, b]", api_uid(object), orphan));
}

/* ---- dependents ---- */

/* The request's own answer stays what it was; a refusal leaves the dependent where it is. */
static void delete_dependent(struct api_txn *t, const struct api_kind *kind, json_t *object, bool foreground)
{
        json_t *options = foreground ? json_pack("{s:s}", "propagationPolicy", "Foreground") : NULL;
        json_t *answer = t->out->object;
        int code = t->out->code;

        t->out->code = 0;
        t->out->object = NULL;
        api_delete_object(t, kind, object, options);
        json_decref(options);
        json_decref(t->out->object);
        t->out->code = code;
        t->out->object = answer;
}

/* The references that are left: without this owner, or (uid NULL) without all that wait for their dependents.
 */
static json_t *without(const struct api_core *core, const json_t *references, const char *uid)
{
        json_t *left = json_array(), *reference;
        size_t i;

        json_array_foreach((json_t *)references, i, reference)
        {
                const char *of = api_text(reference, "uid");

                if (uid ? strcmp(of, uid) != 0 : !json_object_get(core->waiting, of))
                        (void)json_array_append_new(left, api_copy(reference));
        }
        return left;
}

static json_t *dependent_of_entry(const struct api_core *core, const char *entry,
                                  const struct api_kind **kind)
{
        *kind = api_kinds[strtoul(entry, NULL, 10)];
        return json_incref(api_find_key(core, *kind, strchr(entry, ' ') + 1));
}

static void keep_dependent(struct api_txn *t, const struct api_kind *kind, const json_t *object, json_t *left)
{
        json_t *copy = api_copy(object);

        (void)api_set(copy, "metadata.ownerReferences", left);
        if (json_array_size(left) == 0)
                (void)json_object_del(json_object_get(copy, "metadata"), "ownerReferences");
        (void)api_txn_put(t, kind, copy);
}

/* Its owner is gone (uid), or waits for it (NULL). */
static void lose_owner(struct api_txn *t, const char *entry, const char *uid, bool orphan)
{
        const struct api_kind *kind;
        json_t *object = dependent_of_entry(t->core, entry, &kind), *left;
        /* Going down in the foreground, too; not where it owns one that waits for it in turn. */
        bool foreground = !uid && json_object_get(t->core->owned, api_uid(object)) &&
                          !any_dependent(t->core, api_uid(object), WAITS, WAITS);

        if (!object)
                return;
        left = without(t->core, api_at(object, "metadata.ownerReferences"), uid);
        if (json_array_size(left) > 0 || orphan) {
                keep_dependent(t, kind, object, left);
        } else {
                json_decref(left);
                delete_dependent(t, kind, object, foreground);
        }
        json_decref(object);
}

static void dependents_lose(struct api_txn *t, const char *uid, const char *gone, bool orphan)
{
        json_t *owned = json_copy(json_object_get(t->core->owned, uid)), *flags;
        const char *entry;

        json_object_foreach(owned, entry, flags)
        {
                if (gone || !(json_integer_value(flags) & DELETING))
                        lose_owner(t, entry, gone, orphan);
        }
        json_decref(owned);
}

/* Nothing holds the owner any more. */
static void let_go(struct api_txn *t, const char *entry)
{
        const struct api_kind *kind;
        json_t *object = dependent_of_entry(t->core, entry, &kind), *free_of_it;

        if (!object)
                return;
        free_of_it = api_policy_mark(t->core, object, API_POLICY_BACKGROUND);
        if (!api_is_free(free_of_it))
                (void)api_txn_put(t, kind, json_incref(free_of_it));
        else if (api_txn_delete(t, kind, free_of_it) == 0)
                api_owner_gone(t, free_of_it, false);
        json_decref(free_of_it);
        json_decref(object);
}

static void look_after(struct api_txn *t, const char *uid)
{
        AK_AUTOFREE char *entry = NULL;

        if (!json_object_get(t->core->waiting, uid))
                return;
        dependents_lose(t, uid, NULL, false);
        if (is_held(t->core, uid) || !json_object_get(t->core->waiting, uid))
                return;
        entry = strdup(json_string_value(json_object_get(t->core->waiting, uid)));
        if (entry)
                let_go(t, entry);
}

/* One of those that are due; false where none is. */
static bool next_due(struct api_core *core, char uid[API_KEY_SIZE])
{
        void *first = json_object_iter(core->due);

        if (!first)
                return false;
        (void)snprintf(uid, API_KEY_SIZE, "%s", json_object_iter_key(first));
        (void)json_object_del(core->due, uid);
        return true;
}

void api_collect_dependents(struct api_txn *t)
{
        char uid[API_KEY_SIZE];
        size_t i = 0;

        do {
                for (; i < json_array_size(t->gone); i++) {
                        const json_t *gone = json_array_get(t->gone, i);
                        const char *owner = json_string_value(json_array_get(gone, 0));

                        dependents_lose(t, owner, owner, json_is_true(json_array_get(gone, 1)));
                }
                while (next_due(t->core, uid))
                        look_after(t, uid);
        } while (i < json_array_size(t->gone));
}

/* ---- those that refused ---- */

void api_owners_remember(struct api_txn *t)
{
        const json_t *gone;
        size_t i;

        json_array_foreach(t->gone, i, gone)
        {
                const char *uid = json_string_value(json_array_get(gone, 0));

                if (any_dependent(t->core, uid, DELETING, 0))
                        (void)json_object_set_new(t->core->lost, uid, json_true());
                else
                        (void)json_object_del(t->core->lost, uid);
        }
}

void api_owners_retry(struct api_txn *t)
{
        struct api_core *core = t->core;
        const char *uid;
        json_t *unused;

        if (t->real_us < core->next_retry_us && core->next_retry_us <= t->real_us + RETRY_US)
                return;
        core->next_retry_us = t->real_us + RETRY_US;
        json_object_foreach(core->waiting, uid, unused)
        {
                api_owner_touched(core, uid);
        }
        if (!t->gone)
                t->gone = json_array();
        json_object_foreach(core->lost, uid, unused)
        {
                (void)json_array_append_new(t->gone, json_pack("[s, b]", uid, 0));
        }
}

uint64_t api_owners_next_us(const struct api_core *core)
{
        bool any = json_object_size(core->waiting) > 0 || json_object_size(core->lost) > 0;

        return any ? core->next_retry_us : 0;
}
