/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All objects in memory, one sorted array per kind (lists come out in order, a look-up is a binary search),
 * and the indexes that keep an allocation's cost independent of how much there is. The indexes follow every
 * put and removal here, so they cannot drift from the objects.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

void api_key(const char *name_space, const char *name, char out[API_KEY_SIZE])
{
        (void)snprintf(out, API_KEY_SIZE, "%s/%s", name_space, name);
}

static struct api_table_of_kind *table_of(const struct api_core *core, const struct api_kind *kind)
{
        for (size_t i = 0; i < api_kind_count; i++)
                if (api_kinds[i] == kind)
                        return &core->tables[i];
        return NULL;
}

const struct api_table_of_kind *api_objects(const struct api_core *core, const struct api_kind *kind)
{
        return table_of(core, kind);
}

/* Of items[low..high]; what comes before `low` is less. */
static size_t lower_bound(const struct api_table_of_kind *t, size_t low, size_t high, const char *key)
{
        while (low < high) {
                size_t mid = low + (high - low) / 2;
                if (strcmp(t->items[mid].key, key) < 0)
                        low = mid + 1;
                else
                        high = mid;
        }
        return low;
}

size_t api_lower_bound(const struct api_table_of_kind *t, const char *key)
{
        return lower_bound(t, 0, t->count, key);
}

size_t api_lower_bound_from(const struct api_table_of_kind *t, size_t from, const char *key)
{
        size_t high = from;

        for (size_t step = 1; high < t->count && strcmp(t->items[high].key, key) < 0; step *= 2) {
                from = high + 1;
                high += step;
        }
        return lower_bound(t, from, high < t->count ? high : t->count, key);
}

struct api_image *api_find_image(const struct api_core *core, const struct api_kind *kind, const char *key)
{
        const struct api_table_of_kind *t = table_of(core, kind);
        size_t at = api_lower_bound(t, key);

        return at < t->count && strcmp(t->items[at].key, key) == 0 ? t->items[at].image : NULL;
}

json_t *api_tree(const struct api_core *core, const struct api_object *place)
{
        return api_hot_tree(core->hot, place->image);
}

json_t *api_find_key(const struct api_core *core, const struct api_kind *kind, const char *key)
{
        struct api_image *image = api_find_image(core, kind, key);

        return image ? api_hot_tree(core->hot, image) : NULL;
}

json_t *api_find(const struct api_core *core, const struct api_kind *kind, const char *name_space,
                 const char *name)
{
        char key[API_KEY_SIZE];

        api_key(kind->namespaced ? name_space : "", name, key);
        return api_find_key(core, kind, key);
}

/* ---- indexes ---- */

const char *api_index_get(const struct api_core *core, const char *format, ...)
{
        char key[API_KEY_SIZE];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(key, sizeof(key), format, args);
        va_end(args);
        return zhashx_lookup(core->index, key);
}

static void index_put(struct api_core *core, bool present, const char *key, const char *value)
{
        if (present)
                zhashx_update(core->index, key, (void *)value);
        else if (zhashx_lookup(core->index, key) && strcmp(zhashx_lookup(core->index, key), value) == 0)
                zhashx_delete(core->index, key);
}

static void index_binding(struct api_core *core, bool present, const char *key, const json_t *port)
{
        const char *pod = api_text(port, "spec.boundTo.uid");
        json_t *ports = json_object_get(core->pod_ports, pod);
        char slot[API_KEY_SIZE];

        if (!*pod)
                return;
        if (!ports) {
                ports = json_object();
                (void)json_object_set_new(core->pod_ports, pod, ports);
        }
        if (present)
                (void)json_object_set_new(ports, key, json_true());
        else
                (void)json_object_del(ports, key);
        if (json_object_size(ports) == 0)
                (void)json_object_del(core->pod_ports, pod);
        (void)snprintf(slot, sizeof(slot), "slot/%s/%lld", pod,
                       (long long)json_integer_value(api_at(port, "spec.slot")));
        index_put(core, present, slot, key);
        api_owner_touched(core, pod);
}

static void index_port(struct api_core *core, bool present, const char *key, const json_t *port)
{
        char entry[API_KEY_SIZE];
        json_t *ip;
        size_t i;

        json_array_foreach(api_at(port, "spec.ipAddresses"), i, ip)
        {
                (void)snprintf(entry, sizeof(entry), "ip/%s/%s", api_text(port, "status.subnetID"),
                               json_string_value(ip));
                index_put(core, present, entry, key);
        }
        (void)snprintf(entry, sizeof(entry), "mac/%s/%s", api_text(port, "status.vpcID"),
                       api_text(port, "spec.macAddress"));
        index_put(core, present, entry, key);
        index_binding(core, present, key, port);
}

static void index_pod(struct api_core *core, bool present, const char *key, const json_t *pod)
{
        const char *node = api_text(pod, "spec.nodeName");

        api_load_count(core, pod, present ? 1 : -1);
        if (present && !*node && !api_is_deleting(pod)) {
                (void)json_object_set_new(core->unscheduled, key, json_true());
                core->schedule_due = true;
        } else {
                (void)json_object_del(core->unscheduled, key);
        }
}

static void index_object(struct api_core *core, const struct api_kind *kind, bool present, const char *key,
                         const json_t *object)
{
        api_index_owners(core, kind, present, key, object);
        if (kind == &api_kind_port)
                index_port(core, present, key, object);
        else if (kind == &api_kind_pod)
                index_pod(core, present, key, object);
        else if (kind == &api_kind_node)
                core->schedule_due = true;
        else if (kind == &api_kind_subnet && present) {
                uint64_t vni = (uint64_t)json_integer_value(api_at(object, "status.vni"));
                if (vni >= core->next_vni)
                        core->next_vni = vni + 1;
        } else if (kind == &api_kind_subnet)
                (void)json_object_del(core->ip_cursors, api_uid(object));
}

/* ---- the arrays ---- */

static int make_room(struct api_table_of_kind *t)
{
        struct api_object *items;
        size_t room = t->room ? t->room * 2 : 64;

        if (t->count < t->room)
                return 0;
        items = realloc(t->items, room * sizeof(*items));
        if (!items)
                return -ENOMEM;
        t->items = items;
        t->room = room;
        return 0;
}

static int insert(struct api_core *core, struct api_table_of_kind *t, size_t at, const char *key,
                  struct api_image *image)
{
        char *copy;

        if (core->object_count >= core->max_objects)
                return -ENOSPC;
        if (make_room(t) < 0)
                return -ENOMEM;
        copy = strdup(key);
        if (!copy)
                return -ENOMEM;
        memmove(&t->items[at + 1], &t->items[at], (t->count - at) * sizeof(t->items[0]));
        t->items[at] = (struct api_object){.key = copy, .image = api_image_ref(image)};
        t->count++;
        core->object_count++;
        return 0;
}

static void remove_at(struct api_core *core, const struct api_kind *kind, size_t at)
{
        struct api_table_of_kind *t = table_of(core, kind);

        api_fields_remove(core, kind, t->items[at].key, t->items[at].image);
        free(t->items[at].key);
        api_hot_forget(core->hot, t->items[at].image);
        (void)api_image_unref(t->items[at].image);
        t->count--;
        memmove(&t->items[at], &t->items[at + 1], (t->count - at) * sizeof(t->items[0]));
        core->object_count--;
}

/* A change that lets no waiting pod fit better: the scheduler, which looks at all of them, need not run. */
static bool idle_change(const struct api_kind *kind, const json_t *old, const json_t *object)
{
        return kind == &api_kind_pod && old && object && api_is_deleting(old) == api_is_deleting(object) &&
               strcmp(api_text(old, "status.phase"), api_text(object, "status.phase")) == 0 &&
               json_equal(json_object_get(old, "spec"), json_object_get(object, "spec"));
}

/*
 * Of pods, ports and events there may be any number, so most of them are kept as text. What rules look
 * through across objects stays decoded: the few of the other kinds, and the ports that security groups list.
 */
static bool stays(const struct api_kind *kind, const json_t *object)
{
        if (kind == &api_kind_port)
                return json_array_size(api_at(object, "spec.securityGroups")) > 0;
        return kind != &api_kind_pod && kind != &api_kind_event;
}

static int replace(struct api_core *core, const struct api_kind *kind, struct api_object *place,
                   struct api_image *image)
{
        struct api_image *before = place->image;
        int rc = 0;

        if (!api_fields_same(kind, before, image)) {
                api_fields_remove(core, kind, place->key, before);
                rc = api_fields_put(core, kind, place->key, image);
        }
        place->image = api_image_ref(image);
        api_hot_forget(core->hot, before);
        (void)api_image_unref(before);
        return rc;
}

static int put(struct api_core *core, const struct api_kind *kind, size_t at, bool found, const char *key,
               struct api_image *image)
{
        struct api_table_of_kind *t = table_of(core, kind);
        json_t *object = api_hot_tree(core->hot, image);
        int rc = 0;

        if (!object)
                return -ENOMEM;
        image->kept = stays(kind, object);
        if (found)
                rc = replace(core, kind, &t->items[at], image);
        else
                rc = insert(core, t, at, key, image);
        if (rc == 0 && !found)
                rc = api_fields_put(core, kind, t->items[at].key, image);
        if (rc == 0)
                index_object(core, kind, true, key, object);
        return rc;
}

int api_objects_set(struct api_core *core, const struct api_kind *kind, const char *key,
                    struct api_image *image)
{
        struct api_table_of_kind *t = table_of(core, kind);
        size_t at = api_lower_bound(t, key);
        bool found = at < t->count && strcmp(t->items[at].key, key) == 0, due = core->schedule_due;
        json_t *old = found ? json_incref(api_tree(core, &t->items[at])) : NULL;
        bool idle = image && idle_change(kind, old, api_hot_tree(core->hot, image));
        int rc = 0;

        if (found && !old)
                return -ENOMEM;
        if (found)
                index_object(core, kind, false, key, old);
        if (image)
                rc = put(core, kind, at, found, key, image);
        else if (found)
                remove_at(core, kind, at);
        if (idle)
                core->schedule_due = due;
        json_decref(old);
        return rc;
}
