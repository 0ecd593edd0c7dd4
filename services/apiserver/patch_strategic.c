/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategic merge patch, as Kubernetes documents it (sig-api-machinery/strategic-merge-patch.md): objects
 * merge, lists of a schema with a merge key merge by that key, other lists are replaced, null deletes.
 * Directives: $patch (replace, delete, merge), $setElementOrder/<list>, $deleteFromPrimitiveList/<list>,
 * $retainKeys.
 */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define ORDER  "$setElementOrder/"
#define DELETE "$deleteFromPrimitiveList/"
#define DEPTH  64
/* Merging lists compares every pair of items: no list that is merged may be longer than this. */
#define LIST_MAX 1024

struct merge {
        char *error; /* API_ERROR_SIZE; first byte 0 = none yet */
        int depth;
};

static json_t *merge_object(struct merge *m, const struct api_schema *s, const json_t *original,
                            const json_t *patch, const char *path);

static void fail(struct merge *m, const char *path, const char *what)
{
        if (!m->error[0])
                (void)snprintf(m->error, API_ERROR_SIZE, "%.200s: %s", *path ? path : "patch", what);
}

static bool has_prefix(const char *text, const char *prefix)
{
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const struct api_schema *child_schema(const struct api_schema *s, const char *name)
{
        if (!s)
                return NULL;
        if (s->type == API_TYPE_MAP)
                return s->item;
        for (size_t i = 0; i < s->field_count; i++)
                if (strcmp(s->fields[i].name, name) == 0)
                        return s->fields[i].schema;
        return NULL;
}

/* Index of the item whose merge key equals that of `like`; -1 when none. */
static ssize_t find_by_key(const json_t *list, const char *key, const json_t *like)
{
        const json_t *wanted = json_object_get(like, key), *item;
        size_t i;

        json_array_foreach((json_t *)list, i, item)
        {
                if (json_equal(json_object_get(item, key), wanted))
                        return (ssize_t)i;
        }
        return -1;
}

static ssize_t find_value(const json_t *list, const json_t *value)
{
        const json_t *item;
        size_t i;

        json_array_foreach((json_t *)list, i, item)
        {
                if (json_equal(item, value))
                        return (ssize_t)i;
        }
        return -1;
}

/* {"$patch": "replace"} among the items: the list becomes the other items. */
static bool list_replaced(const json_t *patch)
{
        const json_t *item;
        size_t i;

        json_array_foreach((json_t *)patch, i, item)
        {
                const char *directive = json_string_value(json_object_get(item, "$patch"));
                if (directive && strcmp(directive, "replace") == 0)
                        return true;
        }
        return false;
}

static void apply_item(struct merge *m, const struct api_schema *s, json_t *result, const json_t *item,
                       const char *path)
{
        const char *directive = json_string_value(json_object_get(item, "$patch"));
        json_t *merged;
        ssize_t at;
        char what[128];

        if (!json_is_object(item) || !json_object_get(item, s->merge_key)) {
                (void)snprintf(what, sizeof(what), "does not contain declared merge key: %s", s->merge_key);
                fail(m, path, what);
                return;
        }
        at = find_by_key(result, s->merge_key, item);
        if (directive && strcmp(directive, "delete") == 0) {
                if (at >= 0)
                        (void)json_array_remove(result, (size_t)at);
                return;
        }
        merged = merge_object(m, s->item, at >= 0 ? json_array_get(result, (size_t)at) : NULL, item, path);
        if (!merged)
                return;
        if (at >= 0)
                (void)json_array_set_new(result, (size_t)at, merged);
        else
                (void)json_array_append_new(result, merged);
}

static json_t *merge_list(struct merge *m, const struct api_schema *s, const json_t *original,
                          const json_t *patch, const char *path)
{
        bool replaced = list_replaced(patch);
        json_t *result = original && !replaced ? json_copy((json_t *)original) : json_array(), *item;
        size_t i;

        json_array_foreach((json_t *)patch, i, item)
        {
                char at[256];
                if (replaced && json_object_get(item, "$patch"))
                        continue;
                (void)snprintf(at, sizeof(at), "%.200s[%zu]", path, i);
                apply_item(m, s, result, item, at);
        }
        return result;
}

static json_t *merge_set(const json_t *original, const json_t *patch)
{
        json_t *result = original ? json_copy((json_t *)original) : json_array(), *item;
        size_t i;

        json_array_foreach((json_t *)patch, i, item)
        {
                if (find_value(result, item) < 0)
                        (void)json_array_append(result, item);
        }
        return result;
}

static ssize_t place_of(const struct api_schema *s, const json_t *list, const json_t *item)
{
        return s && s->merge == API_MERGE_BY_KEY ? find_by_key(list, s->merge_key, item)
                                                 : find_value(list, item);
}

/* Whether a stands before b in the list; false as well where one of them is not in it. */
static bool stands_before(const struct api_schema *s, const json_t *list, const json_t *a, const json_t *b)
{
        ssize_t at = place_of(s, list, a);

        return at >= 0 && b && at < place_of(s, list, b);
}

/*
 * $setElementOrder: the listed items stand in that order, those that the patch's author did not know in the
 * server's; one of the latter goes before the first listed item that it stands before on the server.
 *
 * A key that is listed twice comes out twice: a manifest with two NICs of one name reaches us only in this
 * directive (kubectl has merged the items), and validation is to refuse it by its path.
 */
static json_t *in_order(const struct api_schema *s, const json_t *list, const json_t *order,
                        const json_t *server)
{
        bool keyed = s && s->merge == API_MERGE_BY_KEY;
        json_t *listed = json_array(), *result = json_array(), *item;
        size_t i, next = 0;

        json_array_foreach((json_t *)order, i, item)
        {
                ssize_t at = place_of(s, list, item);
                if (at >= 0 && (keyed || find_value(listed, item) < 0))
                        (void)json_array_append(listed, json_array_get(list, (size_t)at));
        }
        json_array_foreach((json_t *)list, i, item)
        {
                if (place_of(s, listed, item) >= 0)
                        continue;
                while (next < json_array_size(listed) &&
                       !stands_before(s, server, item, json_array_get(listed, next)))
                        (void)json_array_append(result, json_array_get(listed, next++));
                (void)json_array_append(result, item);
        }
        for (; next < json_array_size(listed); next++)
                (void)json_array_append(result, json_array_get(listed, next));
        json_decref(listed);
        return result;
}

static json_t *without(const json_t *list, const json_t *unwanted)
{
        json_t *result = json_array(), *item;
        size_t i;

        json_array_foreach((json_t *)list, i, item)
        {
                if (find_value(unwanted, item) < 0)
                        (void)json_array_append(result, item);
        }
        return result;
}

static void apply_list_directive(struct merge *m, const struct api_schema *s, const json_t *original,
                                 json_t *result, const char *key, const json_t *value)
{
        const char *name = strchr(key, '/') + 1;
        const struct api_schema *of_list = child_schema(s, name);
        json_t *list = json_object_get(result, name);

        if (!json_is_array(value) || json_array_size(value) > LIST_MAX) {
                fail(m, key, "the directive takes a list of at most 1024 items");
                return;
        }
        if (!json_is_array(list) || json_array_size(list) > LIST_MAX)
                return;
        list = has_prefix(key, ORDER) ? in_order(of_list, list, value, json_object_get(original, name))
                                      : without(list, value);
        (void)json_object_set_new(result, name, list);
}

/* Whether every field that the patch sets is among the keys to retain; Kubernetes refuses others. */
static bool retains_all(const json_t *keys, const json_t *patch)
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)patch, key, value)
        {
                json_t *name = json_string(key);
                bool listed = key[0] == '$' || json_is_null(value) || find_value(keys, name) >= 0;

                json_decref(name);
                if (!listed)
                        return false;
        }
        return true;
}

static void retain_keys(struct merge *m, json_t *result, const json_t *keys, const json_t *patch,
                        const char *path)
{
        const char *key;
        json_t *value;
        void *tmp;

        if (!json_is_array(keys) || json_array_size(keys) > LIST_MAX) {
                fail(m, path, "$retainKeys takes a list of at most 1024 names");
                return;
        }
        if (!retains_all(keys, patch)) {
                fail(m, path, "$retainKeys must list every field that the patch sets");
                return;
        }
        json_object_foreach_safe(result, tmp, key, value)
        {
                json_t *name = json_string(key);
                if (find_value(keys, name) < 0)
                        (void)json_object_del(result, key);
                json_decref(name);
        }
}

static json_t *merge_value(struct merge *m, const struct api_schema *s, const json_t *original,
                           const json_t *value, const char *path)
{
        if (json_is_object(value))
                return merge_object(m, s, json_is_object(original) ? original : NULL, value, path);
        if (json_is_array(value) && s && s->type == API_TYPE_LIST) {
                const json_t *list = json_is_array(original) ? original : NULL;
                if (s->merge != API_MERGE_DEFAULT &&
                    json_array_size(list) + json_array_size(value) > LIST_MAX)
                        fail(m, path, "must have at most 1024 items");
                else if (s->merge == API_MERGE_BY_KEY)
                        return merge_list(m, s, list, value, path);
                else if (s->merge == API_MERGE_SET)
                        return merge_set(list, value);
        }
        return json_incref((json_t *)value);
}

static void merge_fields(struct merge *m, const struct api_schema *s, const json_t *original, json_t *result,
                         const json_t *patch, const char *path)
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)patch, key, value)
        {
                char at[256];

                (void)snprintf(at, sizeof(at), "%.180s%s%.64s", path, *path ? "." : "", key);
                if (strcmp(key, "$patch") == 0 || strcmp(key, "$retainKeys") == 0 || has_prefix(key, ORDER) ||
                    has_prefix(key, DELETE))
                        continue;
                if (key[0] == '$')
                        fail(m, at, "unknown directive");
                else if (json_is_null(value))
                        (void)json_object_del(result, key);
                else
                        (void)json_object_set_new(
                            result, key,
                            merge_value(m, child_schema(s, key), json_object_get(result, key), value, at));
        }
        json_object_foreach((json_t *)patch, key, value)
        {
                if (has_prefix(key, ORDER) || has_prefix(key, DELETE))
                        apply_list_directive(m, s, original, result, key, value);
        }
}

static json_t *merge_object(struct merge *m, const struct api_schema *s, const json_t *original,
                            const json_t *patch, const char *path)
{
        const char *directive = json_string_value(json_object_get(patch, "$patch"));
        const json_t *retain = json_object_get(patch, "$retainKeys");
        json_t *result;

        if (json_object_get(patch, "$patch") &&
            (!directive || (strcmp(directive, "replace") != 0 && strcmp(directive, "delete") != 0 &&
                            strcmp(directive, "merge") != 0)))
                fail(m, path, "$patch must be replace, delete or merge");
        if (++m->depth > DEPTH) {
                fail(m, path, "nested too deep");
                m->depth--;
                return json_object();
        }
        bool afresh = !original || (directive && strcmp(directive, "merge") != 0);
        result = afresh ? json_object() : json_copy((json_t *)original);
        if (!directive || strcmp(directive, "delete") != 0)
                merge_fields(m, s, original, result, patch, path);
        if (retain)
                retain_keys(m, result, retain, patch, path);
        m->depth--;
        return result;
}

json_t *api_patch_strategic(const struct api_schema *schema, const json_t *original, const json_t *patch,
                            char error[API_ERROR_SIZE])
{
        struct merge m = {.error = error};
        json_t *result;

        error[0] = '\0';
        if (!json_is_object(patch)) {
                fail(&m, "", "must be an object");
                return NULL;
        }
        result = merge_object(&m, schema, original, patch, "");
        if (error[0]) {
                json_decref(result);
                return NULL;
        }
        return result;
}
