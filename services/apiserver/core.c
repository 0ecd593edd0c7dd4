/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the core, and the work that time or other changes ask for: namespaces, old events; see core_nodes.c
 * too. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libcommon/clock.h"
#include "proto/messages.h"
#include "services/apiserver/core_internal.h"

#define MAX_OBJECTS_DEFAULT 1000000
#define EVENT_TTL_US        (UINT64_C(3600) * 1000 * 1000)
#define EVENTS_MAX          10000
#define SWEEP_INTERVAL_US   (UINT64_C(60) * 1000 * 1000)

static void *dup_text(const void *text)
{
        return strdup(text);
}

static void free_text(void **text)
{
        free(*text);
        *text = NULL;
}

int api_core_new(struct api_core **out, const struct api_core_config *config)
{
        AK_CLEANUP(api_core_freep) struct api_core *core = calloc(1, sizeof(*core));

        if (!core)
                return -ENOMEM;
        if (ak_cidr_parse(config->auto_vpc_cidr ? config->auto_vpc_cidr : "10.200.0.0/16",
                          &core->auto_vpc_cidr) < 0 ||
            config->nic_slots < 1 || config->nic_slots > AK_MAX_NICS)
                return -EINVAL;
        core->random_state = config->seed;
        core->auto_create_vpc = config->auto_create_vpc;
        core->nic_slots = config->nic_slots;
        core->max_objects = config->max_objects ? config->max_objects : MAX_OBJECTS_DEFAULT;
        core->tables = calloc(api_kind_count, sizeof(*core->tables));
        core->hot = api_hot_new();
        core->index = zhashx_new();
        core->fields = zhashx_new();
        core->pod_ports = json_object();
        core->unscheduled = json_object();
        core->node_pods = json_object();
        core->heard = json_object();
        core->node_grace_us = config->node_grace_us ? config->node_grace_us : API_NODE_GRACE_US;
        core->ip_cursors = json_object();
        core->owned = json_object();
        core->waiting = json_object();
        core->due = json_object();
        core->lost = json_object();
        if (!core->tables || !core->hot || !core->index || !core->fields || !core->pod_ports ||
            !core->unscheduled || !core->node_pods || !core->ip_cursors || !core->owned || !core->waiting ||
            !core->due || !core->lost || !core->heard)
                return -ENOMEM;
        zhashx_set_duplicator(core->index, dup_text);
        zhashx_set_destructor(core->index, free_text);
        zhashx_set_destructor(core->fields, api_fields_free);
        *out = AK_STEAL(core);
        return 0;
}

struct api_core *api_core_free(struct api_core *core)
{
        if (!core)
                return NULL;
        for (size_t k = 0; core->tables && k < api_kind_count; k++) {
                for (size_t i = 0; i < core->tables[k].count; i++) {
                        free(core->tables[k].items[i].key);
                        (void)api_image_unref(core->tables[k].items[i].image);
                }
                free(core->tables[k].items);
        }
        free(core->tables);
        core->hot = api_hot_free(core->hot);
        zhashx_destroy(&core->index);
        zhashx_destroy(&core->fields);
        json_decref(core->pod_ports);
        json_decref(core->unscheduled);
        json_decref(core->node_pods);
        json_decref(core->heard);
        json_decref(core->ip_cursors);
        json_decref(core->owned);
        json_decref(core->waiting);
        json_decref(core->due);
        json_decref(core->lost);
        free(core);
        return NULL;
}

int api_core_load(struct api_core *core, const struct api_kind *kind, json_t *object,
                  uint64_t resource_version)
{
        AK_CLEANUP(api_image_unrefp) struct api_image *image = NULL;
        char key[API_KEY_SIZE];
        int rc;

        if (!kind || !*api_name(object))
                return -EINVAL;
        image = api_image_of(kind, object, resource_version);
        if (!image)
                return -ENOMEM;
        api_key(kind->namespaced ? api_namespace(object) : "", api_name(object), key);
        api_core_set_resource_version(core, resource_version);
        rc = api_objects_set(core, kind, key, image);
        api_hot_cool(core->hot);
        return rc;
}

void api_core_set_resource_version(struct api_core *core, uint64_t resource_version)
{
        if (resource_version > core->resource_version)
                core->resource_version = resource_version;
}

uint64_t api_core_resource_version(const struct api_core *core)
{
        return core->resource_version;
}

int api_core_start(struct api_core *core, uint64_t real_us, struct api_result *out)
{
        static const char *const names[] = {"default", "kube-system", API_NODE_LEASES};
        struct api_txn t;

        *out = (struct api_result){.code = 200};
        api_txn_begin(&t, core, real_us, out);
        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++) {
                char uuid[AK_UUID_SIZE];

                if (api_find(core, &api_kind_namespace, "", names[i]))
                        continue;
                api_random_uuid(core, uuid);
                int r =
                    api_txn_put(&t, &api_kind_namespace,
                                json_pack("{s:s, s:s, s:{s:s, s:s, s:o}, s:{s:[s]}, s:{s:s}}", "apiVersion",
                                          "v1", "kind", "Namespace", "metadata", "name", names[i], "uid",
                                          uuid, "creationTimestamp", api_time(real_us), "spec", "finalizers",
                                          "kubernetes", "status", "phase", "Active"));
                if (r < 0)
                        return r;
        }
        api_nodes_start(core, real_us);
        return 0;
}

/* ---- namespaces that are going ---- */

static bool empty_kind(struct api_txn *t, const struct api_kind *kind, const char *name_space)
{
        const struct api_table_of_kind *objects = api_objects(t->core, kind);
        bool empty = true;

        for (size_t i = objects->count; i > 0; i--) {
                struct api_result ignored = {0}, *out = t->out;
                json_t *object;

                if (strcmp(objects->items[i - 1].image->name_space, name_space) != 0)
                        continue;
                object = api_tree(t->core, &objects->items[i - 1]);
                empty = false;
                if (api_is_deleting(object))
                        continue;
                /* The object's own answer does not matter here, only its changes. */
                ignored = *out;
                *out = (struct api_result){.changes = ignored.changes, .change_count = ignored.change_count};
                api_delete_object(t, kind, object, NULL);
                json_decref(out->object);
                ignored.changes = out->changes;
                ignored.change_count = out->change_count;
                *out = ignored;
                if (i > objects->count)
                        i = objects->count + 1;
        }
        return empty;
}

/* It is empty; finalizers of others may hold it all the same. */
static void end_namespace(struct api_txn *t, json_t *ns)
{
        json_t *copy;

        if (json_array_size(api_at(ns, "metadata.finalizers")) == 0) {
                if (api_txn_delete(t, &api_kind_namespace, ns) == 0)
                        api_owner_gone(t, ns, false);
        } else if (json_array_size(api_at(ns, "spec.finalizers")) > 0) {
                copy = api_copy(ns);
                (void)api_set(copy, "spec.finalizers", json_array());
                (void)api_txn_put(t, &api_kind_namespace, copy);
        }
}

static void sweep_namespaces(struct api_txn *t)
{
        static const struct api_kind *const order[] = {
            &api_kind_pod,   &api_kind_port, &api_kind_subnet, &api_kind_vpc, &api_kind_security_group,
            &api_kind_lease, &api_kind_event};
        const struct api_table_of_kind *namespaces = api_objects(t->core, &api_kind_namespace);

        for (size_t i = namespaces->count; i > 0; i--) {
                json_t *ns = api_tree(t->core, &namespaces->items[i - 1]);
                bool empty = true;

                if (!api_is_deleting(ns))
                        continue;
                for (size_t k = 0; k < AK_ARRAY_SIZE(order) && empty; k++)
                        empty = empty_kind(t, order[k], api_name(ns));
                if (empty)
                        end_namespace(t, ns);
        }
}

/* ---- old events ---- */

struct aged_event {
        uint64_t version; /* of its last change: the smaller, the older */
        struct api_image *image;
};

static int by_version(const void *a, const void *b)
{
        const struct aged_event *x = a, *y = b;

        return x->version < y->version ? -1 : x->version > y->version;
}

static bool outlived(const struct api_image *event, uint64_t real_us)
{
        const char *last = api_image_field(&api_kind_event, event, "lastTimestamp");
        uint64_t us;

        if (!*last)
                last = api_image_field(&api_kind_event, event, "metadata.creationTimestamp");
        if (ak_rfc3339_parse(last, &us) < 0)
                return true;
        return us + EVENT_TTL_US <= real_us;
}

/* Those past their time, and the oldest of those that are too many. */
static void sweep_events(struct api_txn *t)
{
        const struct api_table_of_kind *events = api_objects(t->core, &api_kind_event);
        size_t count = events->count, excess = count > EVENTS_MAX ? count - EVENTS_MAX : 0;
        AK_AUTOFREE struct aged_event *aged = calloc(count ? count : 1, sizeof(*aged));

        if (!aged)
                return; /* the next sweep may have more luck */
        for (size_t i = 0; i < count; i++) {
                struct api_image *image = events->items[i].image;

                aged[i] =
                    (struct aged_event){.version = image->resource_version, .image = api_image_ref(image)};
        }
        if (excess)
                qsort(aged, count, sizeof(*aged), by_version);
        for (size_t i = 0; i < count; i++) {
                if (i < excess || outlived(aged[i].image, t->real_us))
                        (void)api_txn_delete(t, &api_kind_event, api_hot_tree(t->core->hot, aged[i].image));
                (void)api_image_unref(aged[i].image);
        }
}

static bool sweep_is_due(const struct api_core *core, uint64_t real_us)
{
        return real_us >= core->next_sweep_us || core->next_sweep_us > real_us + 2 * SWEEP_INTERVAL_US ||
               api_objects(core, &api_kind_event)->count > EVENTS_MAX + EVENTS_MAX / 10;
}

/* 0 = never. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
        return a && (!b || a < b) ? a : b;
}

static uint64_t next_tick_us(const struct api_core *core)
{
        uint64_t sweep_us = api_objects(core, &api_kind_event)->count ? core->next_sweep_us : 0;

        return sooner(sooner(sweep_us, api_owners_next_us(core)), api_nodes_next_us(core));
}

int api_core_tick(struct api_core *core, uint64_t real_us, struct api_result *out, uint64_t *next_us)
{
        struct api_txn t;

        *out = (struct api_result){.code = 200};
        api_txn_begin(&t, core, real_us, out);
        api_nodes_look(&t);
        api_schedule(&t);
        sweep_namespaces(&t);
        if (sweep_is_due(core, real_us)) {
                sweep_events(&t);
                core->next_sweep_us = real_us + SWEEP_INTERVAL_US;
        }
        api_owners_retry(&t);
        api_collect_dependents(&t);
        api_owners_remember(&t);
        api_txn_deinit(&t);
        api_hot_cool(core->hot);
        *next_us = next_tick_us(core);
        return 0;
}
