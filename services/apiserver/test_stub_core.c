/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A core without rules, for tests of the shell alone: objects of two kinds are kept as they come. Field
 * selectors know metadata.name and spec.nodeName, label selectors know key=value.
 */
#include <czmq.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core.h"

static const struct api_schema any = {.type = API_TYPE_OBJECT, .name = "test.Any"};
static const char *const pod_subresources[] = {"attach", "log", NULL};
static const struct api_kind pod = {.group = "",
                                    .version = "v1",
                                    .kind = "Pod",
                                    .list_kind = "PodList",
                                    .plural = "pods",
                                    .singular = "pod",
                                    .namespaced = true,
                                    .has_status = true,
                                    .subresources = pod_subresources,
                                    .schema = &any};
static const struct api_kind node = {.group = "",
                                     .version = "v1",
                                     .kind = "Node",
                                     .list_kind = "NodeList",
                                     .plural = "nodes",
                                     .singular = "node",
                                     .has_status = true,
                                     .schema = &any};
static const struct api_kind name_space = {.group = "",
                                           .version = "v1",
                                           .kind = "Namespace",
                                           .list_kind = "NamespaceList",
                                           .plural = "namespaces",
                                           .singular = "namespace",
                                           .has_status = true,
                                           .schema = &any};
static const struct api_kind port = {.group = "vpc.alkaid.io",
                                     .version = "v1",
                                     .kind = "Port",
                                     .list_kind = "PortList",
                                     .plural = "ports",
                                     .singular = "port",
                                     .namespaced = true,
                                     .has_status = true,
                                     .schema = &any};
const struct api_kind *const api_kinds[] = {&pod, &node, &name_space, &port};
const size_t api_kind_count = AK_ARRAY_SIZE(api_kinds);

const struct api_kind *api_kind_by_plural(const char *group, const char *version, const char *plural)
{
        for (size_t i = 0; i < api_kind_count; i++) {
                if (strcmp(api_kinds[i]->group, group) == 0 && strcmp(api_kinds[i]->version, version) == 0 &&
                    strcmp(api_kinds[i]->plural, plural) == 0)
                        return api_kinds[i];
        }
        return NULL;
}

struct api_core {
        json_t *objects; /* "Kind/namespace/name" -> object */
        uint64_t version;
};

int api_core_new(struct api_core **out, const struct api_core_config *config)
{
        struct api_core *core = calloc(1, sizeof(*core));

        (void)config;
        if (!core)
                return -ENOMEM;
        core->objects = json_object();
        *out = core;
        return 0;
}

struct api_core *api_core_free(struct api_core *core)
{
        if (core) {
                json_decref(core->objects);
                free(core);
        }
        return NULL;
}

static const char *meta(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

        return text ? text : "";
}

static void key_of(char out[700], const struct api_kind *kind, const char *ns, const char *name)
{
        (void)snprintf(out, 700, "%s/%s/%s", kind->kind, ns, name);
}

int api_core_load(struct api_core *core, const struct api_kind *kind, json_t *object,
                  uint64_t resource_version)
{
        char key[700];

        key_of(key, kind, meta(object, "namespace"), meta(object, "name"));
        if (resource_version > core->version)
                core->version = resource_version;
        return json_object_set(core->objects, key, object);
}

void api_core_set_resource_version(struct api_core *core, uint64_t resource_version)
{
        if (resource_version > core->version)
                core->version = resource_version;
}

bool api_core_vpc_on_node(const struct api_core *core, const char *vpc, const char *node_name)
{
        (void)core;
        (void)vpc;
        (void)node_name;
        return false;
}

bool api_core_vpcs_on_node(const struct api_core *core, const char *fields, const char *node_name)
{
        return api_core_vpc_on_node(core, fields, node_name);
}

int api_core_start(struct api_core *core, uint64_t real_us, struct api_result *out)
{
        (void)core;
        (void)real_us;
        *out = (struct api_result){.code = 200};
        return 0;
}

uint64_t api_core_resource_version(const struct api_core *core)
{
        return core->version;
}

int api_core_tick(struct api_core *core, uint64_t real_us, struct api_result *out, uint64_t *next_us)
{
        *next_us = 0;
        return api_core_start(core, real_us, out);
}

void api_result_deinit(struct api_result *r)
{
        json_decref(r->object);
        for (size_t i = 0; i < r->change_count; i++) {
                json_decref(r->changes[i].object);
                json_decref(r->changes[i].old);
                (void)api_image_unref(r->changes[i].image);
                (void)api_image_unref(r->changes[i].old_image);
        }
        free(r->changes);
        for (size_t i = 0; i < r->image_count; i++)
                (void)api_image_unref(r->images[i]);
        free(r->images);
        *r = (struct api_result){0};
}

static int refuse(struct api_result *out, int code, const char *reason, const char *message)
{
        out->code = code;
        out->object = api_status_failure(code, reason, NULL, NULL, NULL, message);
        return 0;
}

static void stamp(json_t *object, const struct api_request *q, uint64_t version)
{
        json_t *m = json_object_get(object, "metadata");
        char text[24];

        (void)snprintf(text, sizeof(text), "%" PRIu64, version);
        (void)json_object_set_new(m, "resourceVersion", json_string(text));
        if (*q->name_space)
                (void)json_object_set_new(m, "namespace", json_string(q->name_space));
        (void)json_object_set_new(object, "kind", json_string(q->kind->kind));
        (void)json_object_set_new(object, "apiVersion",
                                  json_string(*q->kind->group ? "vpc.alkaid.io/v1" : "v1"));
}

static int change(struct api_core *core, const struct api_request *q, const char *key,
                  enum api_change_type type, json_t *object, json_t *old, struct api_result *out)
{
        out->changes = calloc(1, sizeof(*out->changes));
        out->change_count = 1;
        stamp(object, q, ++core->version);
        out->changes[0] =
            (struct api_change){.type = type,
                                .kind = q->kind,
                                .object = json_incref(object),
                                .old = json_incref(old),
                                .resource_version = core->version,
                                .image = api_image_new(object, core->version, NULL, 0),
                                .old_image = old ? api_image_new(old, core->version, NULL, 0) : NULL};
        if (type == API_DELETED)
                (void)json_object_del(core->objects, key);
        else
                (void)json_object_set(core->objects, key, object);
        out->code = type == API_ADDED ? 201 : 200;
        out->object = object;
        return 0;
}

static void list_images(json_t *items, uint64_t version, struct api_result *out)
{
        json_t *object;
        size_t i;

        out->images = calloc(json_array_size(items) + 1, sizeof(struct api_image *));
        json_array_foreach(items, i, object)
        {
                out->images[out->image_count++] = api_image_new(object, version, NULL, 0);
        }
        (void)json_array_clear(items);
}

static int list(struct api_core *core, const struct api_request *q, struct api_result *out)
{
        struct api_selector *s = NULL;
        json_t *items = json_array(), *object;
        const char *key;
        char error[256], version[24];

        if (api_selector_new(&s, q->kind, q->label_selector, q->field_selector, error) < 0)
                return refuse(out, 400, "BadRequest", error);
        json_object_foreach(core->objects, key, object)
        {
                if (strncmp(key, q->kind->kind, strlen(q->kind->kind)) == 0 &&
                    api_selector_matches(s, object) &&
                    (!*q->name_space || strcmp(q->name_space, meta(object, "namespace")) == 0))
                        (void)json_array_append(items, object);
        }
        (void)api_selector_free(s);
        (void)snprintf(version, sizeof(version), "%" PRIu64, core->version);
        out->code = 200;
        if (q->images)
                list_images(items, core->version, out);
        out->object = json_pack("{s:s, s:s, s:{s:s}, s:o}", "kind", q->kind->list_kind, "apiVersion", "v1",
                                "metadata", "resourceVersion", version, "items", items);
        return 0;
}

static json_t *patched(const json_t *old, const json_t *body)
{
        json_t *object = json_deep_copy(old);

        (void)json_object_update_recursive(object, (json_t *)body);
        return object;
}

int api_core_handle(struct api_core *core, const struct api_request *q, struct api_result *out)
{
        const char *name = q->verb == API_CREATE ? meta(q->body, "name") : q->name;
        char key[700];
        json_t *old;

        *out = (struct api_result){0};
        key_of(key, q->kind, q->name_space, name);
        old = json_object_get(core->objects, key);
        if (q->verb == API_LIST)
                return list(core, q, out);
        if (q->verb == API_CREATE) {
                if (old)
                        return refuse(out, 409, "AlreadyExists", "there is one already");
                return change(core, q, key, API_ADDED, json_deep_copy(q->body), NULL, out);
        }
        if (!old)
                return refuse(out, 404, "NotFound", "there is none");
        if (q->verb == API_DELETE)
                return change(core, q, key, API_DELETED, json_deep_copy(old), old, out);
        if (q->verb == API_UPDATE || q->verb == API_PATCH) {
                json_t *object = q->verb == API_PATCH ? patched(old, q->body) : json_deep_copy(q->body);
                int rc;

                json_incref(old);
                rc = change(core, q, key, API_MODIFIED, object, old, out);
                json_decref(old);
                return rc;
        }
        out->code = 200;
        out->object = json_incref(old);
        return 0;
}

struct api_selector {
        char label[128], value[128], field[128], field_value[128];
        json_t *keys;
};

int api_selector_new(struct api_selector **out, const struct api_kind *kind, const char *labels,
                     const char *fields, char error[256])
{
        struct api_selector *s = calloc(1, sizeof(*s));

        (void)kind;
        if (!s)
                return -ENOMEM;
        if ((labels && sscanf(labels, "%127[^=]=%127s", s->label, s->value) != 2) ||
            (fields && sscanf(fields, "%127[^=]=%127s", s->field, s->field_value) != 2)) {
                (void)snprintf(error, 256, "unable to parse the selector");
                free(s);
                return -EINVAL;
        }
        if (strcmp(s->field, "spec.nodeName") == 0)
                s->keys = json_pack("{s:b}", s->field_value, true);
        *out = s;
        return 0;
}

struct api_selector *api_selector_free(struct api_selector *s)
{
        if (s)
                json_decref(s->keys);
        free(s);
        return NULL;
}

const json_t *api_selector_keys(const struct api_selector *s, int *field)
{
        *field = 0;
        return s->keys;
}

const char *api_image_key(const struct api_kind *kind, const struct api_image *image, int field)
{
        static char text[2][64]; /* asked of an object and of the one before */
        static int turn;
        json_t *object = api_image_object(image);
        const char *value = json_string_value(json_object_get(json_object_get(object, "spec"), "nodeName"));

        (void)kind;
        turn = !turn;
        (void)snprintf(text[turn], sizeof(text[turn]), "%s", value ? value : "");
        json_decref(object);
        return field == 0 ? text[turn] : NULL;
}

bool api_selector_matches(const struct api_selector *s, const json_t *object)
{
        const json_t *label_map = json_object_get(json_object_get(object, "metadata"), "labels");
        const char *value = json_string_value(json_object_get(label_map, s->label));
        const char *node_name =
            json_string_value(json_object_get(json_object_get(object, "spec"), "nodeName"));
        const char *field = strcmp(s->field, "metadata.name") == 0 ? meta(object, "name") : node_name;

        if (*s->label && (!value || strcmp(value, s->value) != 0))
                return false;
        return !*s->field || (field && strcmp(field, s->field_value) == 0);
}

bool api_selector_matches_image(const struct api_selector *s, const struct api_image *image)
{
        json_t *object = api_image_object(image);
        bool matches = api_selector_matches(s, object);

        json_decref(object);
        return matches;
}

json_t *api_status_failure(int code, const char *reason, const struct api_kind *kind, const char *name,
                           const char *field, const char *message)
{
        (void)kind;
        (void)name;
        (void)field;
        return json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1",
                         "metadata", "status", "Failure", "message", message, "reason", reason, "code", code);
}

json_t *api_table(const struct api_kind *kind, json_t *object_or_list, const char *include_object,
                  uint64_t real_us)
{
        (void)kind;
        (void)include_object;
        (void)real_us;
        return json_pack("{s:s, s:s, s:[{s:O}]}", "kind", "Table", "apiVersion", "meta.k8s.io/v1", "rows",
                         "object", object_or_list);
}
