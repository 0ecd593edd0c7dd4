/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which objects have a value in a field: what a node asks for (its pods, its ports, the ports of its VPCs) is
 * found without a look at the hundred thousands of all nodes. For each value an array of keys, which are
 * those of the tables: eight bytes an object. Not sorted; whoever asks, sorts.
 */
#include <errno.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

struct bucket {
        const char **keys;
        size_t count, room;
};

static const char *const *fields_of(const struct api_kind *kind)
{
        static const char *const pod[] = {"spec.nodeName", NULL};
        static const char *const port[] = {"spec.nodeName", "status.vpcID", NULL};
        static const char *const none[] = {NULL};

        return kind == &api_kind_pod ? pod : kind == &api_kind_port ? port : none;
}

void api_fields_free(void **item)
{
        struct bucket *b = *item;

        free(b->keys);
        free(b);
        *item = NULL;
}

static struct bucket *lookup(const struct api_core *core, const struct api_kind *kind, const char *field,
                             const char *value, char name[API_KEY_SIZE])
{
        (void)snprintf(name, API_KEY_SIZE, "%s/%s=%s", kind->plural, field, value);
        return zhashx_lookup(core->fields, name);
}

static int add(struct api_core *core, const struct api_kind *kind, const char *field, const char *value,
               const char *key)
{
        char name[API_KEY_SIZE];
        struct bucket *b = lookup(core, kind, field, value, name);

        if (!b) {
                b = calloc(1, sizeof(*b));
                if (!b || zhashx_insert(core->fields, name, b) != 0) {
                        free(b);
                        return -ENOMEM;
                }
        }
        if (b->count == b->room) {
                size_t room = b->room ? b->room + b->room / 2 : 8;
                const char **keys = reallocarray(b->keys, room, sizeof(*keys));

                if (!keys)
                        return -ENOMEM;
                b->keys = keys;
                b->room = room;
        }
        b->keys[b->count++] = key;
        return 0;
}

int api_fields_put(struct api_core *core, const struct api_kind *kind, const char *key,
                   const struct api_image *image)
{
        int rc = 0;

        for (const char *const *f = fields_of(kind); *f && rc == 0; f++) {
                const char *value = api_image_field(kind, image, *f);

                rc = *value ? add(core, kind, *f, value, key) : 0;
        }
        return rc;
}

static void drop(struct api_core *core, const struct api_kind *kind, const char *field, const char *value,
                 const char *key)
{
        char name[API_KEY_SIZE];
        struct bucket *b = lookup(core, kind, field, value, name);

        for (size_t i = 0; b && i < b->count; i++) {
                if (b->keys[i] != key)
                        continue;
                b->keys[i] = b->keys[--b->count];
                if (b->count == 0)
                        zhashx_delete(core->fields, name);
                return;
        }
}

void api_fields_remove(struct api_core *core, const struct api_kind *kind, const char *key,
                       const struct api_image *image)
{
        for (const char *const *f = fields_of(kind); *f; f++) {
                const char *value = api_image_field(kind, image, *f);

                if (*value)
                        drop(core, kind, *f, value, key);
        }
}

bool api_fields_same(const struct api_kind *kind, const struct api_image *a, const struct api_image *b)
{
        for (const char *const *f = fields_of(kind); *f; f++) {
                if (strcmp(api_image_field(kind, a, *f), api_image_field(kind, b, *f)) != 0)
                        return false;
        }
        return true;
}

/* ---- questions ---- */

/* The first of the kind's fields that the selector names values of; at NULL = there is none. */
static const char *const *named(const struct api_kind *kind, const struct api_selector *s)
{
        const char *const *f = fields_of(kind);

        while (*f && !api_selector_values(s, *f))
                f++;
        return f;
}

const json_t *api_selector_keys(const struct api_selector *s, int *field)
{
        const struct api_kind *kind = api_selector_kind(s);
        const char *const *f = named(kind, s);

        *field = (int)(f - fields_of(kind));
        return *f ? api_selector_values(s, *f) : NULL;
}

const char *api_image_key(const struct api_kind *kind, const struct api_image *image, int field)
{
        const char *const *fields = fields_of(kind);

        for (int i = 0; i <= field; i++) {
                if (!fields[i])
                        return NULL;
        }
        return api_image_field(kind, image, fields[field]);
}

static int by_text(const void *a, const void *b)
{
        const char *const *x = a, *const *y = b;

        return strcmp(*x, *y);
}

bool api_fields_find(const struct api_core *core, const struct api_kind *kind, const struct api_selector *s,
                     const char ***keys, size_t *count)
{
        const char *field = *named(kind, s), *value, **found = NULL;
        const json_t *values = field ? api_selector_values(s, field) : NULL;
        char name[API_KEY_SIZE];
        size_t n = 0, all = 0;
        json_t *unused;

        if (!values || json_object_get(values, "")) /* objects without the field are in no bucket */
                return false;
        json_object_foreach((json_t *)values, value, unused)
        {
                const struct bucket *b = lookup(core, kind, field, value, name);

                all += b ? b->count : 0;
        }
        found = calloc(all + 1, sizeof(*found));
        if (!found)
                return false;
        json_object_foreach((json_t *)values, value, unused)
        {
                const struct bucket *b = lookup(core, kind, field, value, name);

                if (b)
                        memcpy(found + n, b->keys, b->count * sizeof(*found));
                n += b ? b->count : 0;
        }
        qsort(found, n, sizeof(*found), by_text);
        *keys = found;
        *count = n;
        return true;
}

/* ---- what a node may see ---- */

bool api_core_vpc_on_node(const struct api_core *core, const char *vpc, const char *node)
{
        char name[API_KEY_SIZE];
        const struct bucket *b = lookup(core, &api_kind_port, "spec.nodeName", node, name);

        for (size_t i = 0; b && i < b->count; i++) {
                const struct api_image *port = api_find_image(core, &api_kind_port, b->keys[i]);

                if (port && strcmp(api_image_field(&api_kind_port, port, "status.vpcID"), vpc) == 0)
                        return true;
        }
        return false;
}

bool api_core_vpcs_on_node(const struct api_core *core, const char *fields, const char *node)
{
        AK_CLEANUP(api_selector_freep) struct api_selector *s = NULL;
        const json_t *values;
        const char *vpc;
        json_t *unused;
        char error[256];

        if (api_selector_new(&s, &api_kind_port, NULL, fields, error) < 0)
                return false;
        values = api_selector_values(s, "status.vpcID");
        json_object_foreach((json_t *)values, vpc, unused)
        {
                if (!api_core_vpc_on_node(core, vpc, node))
                        return false;
        }
        return json_object_size(values) > 0;
}
