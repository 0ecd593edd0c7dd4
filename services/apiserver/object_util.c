/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/apiserver/core_internal.h"

json_t *api_at(const json_t *object, const char *path)
{
        json_t *at = (json_t *)object;

        while (at && *path) {
                size_t len = strcspn(path, ".");
                at = json_object_getn(at, path, len);
                path += len + (path[len] == '.');
        }
        return at;
}

json_t *api_copy(const json_t *value)
{
        json_t *copy, *item;
        const char *key;
        size_t i, len;

        if (json_is_array(value)) {
                copy = json_array();
                json_array_foreach((json_t *)value, i, item)
                {
                        (void)json_array_append_new(copy, api_copy(item));
                }
                return copy;
        }
        if (!json_is_object(value))
                return json_incref((json_t *)value);
        copy = json_object();
        json_object_keylen_foreach((json_t *)value, key, len, item)
        {
                (void)json_object_setn_new_nocheck(copy, key, len, api_copy(item));
        }
        return copy;
}

const char *api_text(const json_t *object, const char *path)
{
        const char *text = json_string_value(api_at(object, path));

        return text ? text : "";
}

const char *api_name(const json_t *object)
{
        return api_text(object, "metadata.name");
}

const char *api_namespace(const json_t *object)
{
        return api_text(object, "metadata.namespace");
}

const char *api_uid(const json_t *object)
{
        return api_text(object, "metadata.uid");
}

bool api_is_deleting(const json_t *object)
{
        return api_at(object, "metadata.deletionTimestamp") != NULL;
}

json_t *api_time(uint64_t real_us)
{
        char text[AK_RFC3339_SIZE];

        ak_rfc3339_format(real_us, false, text);
        return json_string(text);
}

/* splitmix64: one seed gives one sequence, which is what simulation and replay need. */
uint64_t api_random(struct api_core *core)
{
        uint64_t z = core->random_state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

void api_random_uuid(struct api_core *core, char out[AK_UUID_SIZE])
{
        uint64_t a = api_random(core), b = api_random(core);

        /* Version 4, variant 1: RFC 9562. */
        (void)snprintf(out, AK_UUID_SIZE, "%08x-%04x-4%03x-%04x-%012" PRIx64, (unsigned)(a >> 32),
                       (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
                       0x8000U | ((unsigned)(b >> 48) & 0x3fff), b & UINT64_C(0xffffffffffff));
}

int api_set(json_t *object, const char *path, json_t *value)
{
        char key[64];
        const char *dot;

        while ((dot = strchr(path, '.'))) {
                json_t *next;

                (void)snprintf(key, sizeof(key), "%.*s", (int)(dot - path), path);
                next = json_object_get(object, key);
                if (!json_is_object(next)) {
                        next = json_object();
                        if (json_object_set_new(object, key, next) < 0) {
                                json_decref(value);
                                return -ENOMEM;
                        }
                }
                object = next;
                path = dot + 1;
        }
        return json_object_set_new(object, path, value) < 0 ? -ENOMEM : 0;
}

static json_t *event_object(struct api_txn *t, const json_t *object, const struct api_kind *kind,
                            const char *type, const char *reason, const char *message)
{
        char name[300];
        const char *name_space = kind->namespaced ? api_namespace(object) : "default";

        (void)snprintf(name, sizeof(name), "%s.%016" PRIx64, api_name(object), api_random(t->core));
        return json_pack(
            "{s:s, s:s, s:{s:s, s:s, s:o}, s:{s:s, s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:i, "
            "s:{s:s}, s:s, s:s, s:o, s:o}",
            "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", name_space,
            "creationTimestamp", api_time(t->real_us), "involvedObject", "apiVersion", "v1", "kind",
            kind->kind, "namespace", api_namespace(object), "name", api_name(object), "uid", api_uid(object),
            "resourceVersion", api_text(object, "metadata.resourceVersion"), "type", type, "reason", reason,
            "message", message, "count", 1, "source", "component", "alkaid-apiserver", "reportingComponent",
            "alkaid-apiserver", "reportingInstance", "", "firstTimestamp", api_time(t->real_us),
            "lastTimestamp", api_time(t->real_us));
}

int api_record_event(struct api_txn *t, const json_t *object, const struct api_kind *kind, const char *type,
                     const char *reason, const char *message)
{
        json_t *event = event_object(t, object, kind, type, reason, message);
        char uuid[AK_UUID_SIZE];

        if (!event)
                return -ENOMEM;
        api_random_uuid(t->core, uuid);
        (void)api_set(event, "metadata.uid", json_string(uuid));
        return api_txn_put(t, &api_kind_event, event);
}
