/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STALE_US UINT64_C(1000000)

static const char *const type_names[] = {
    [API_ADDED] = "ADDED", [API_MODIFIED] = "MODIFIED", [API_DELETED] = "DELETED"};

const char *api_object_meta(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

        return text ? text : "";
}

/* {"type":"ADDED","object":<object>}\n */
static int encode(const char *type, const json_t *object, char **out, size_t *out_len, size_t *object_at,
                  size_t *object_len)
{
        AK_AUTOFREE char *text = NULL;
        char head[64];
        size_t head_len, len;

        head_len = (size_t)snprintf(head, sizeof(head), "{\"type\":\"%s\",\"object\":", type);
        len = json_dumpb(object, NULL, 0, JSON_COMPACT);
        if (len == 0)
                return -ENOMEM;
        text = malloc(head_len + len + 3);
        if (!text)
                return -ENOMEM;
        memcpy(text, head, head_len);
        if (json_dumpb(object, text + head_len, len, JSON_COMPACT) != len)
                return -ENOMEM;
        memcpy(text + head_len + len, "}\n", 3);
        *out = AK_STEAL(text);
        *out_len = head_len + len + 2;
        *object_at = head_len;
        *object_len = len;
        return 0;
}

int api_event_encode(const char *type, const json_t *object, char **out, size_t *out_len)
{
        size_t at, len;

        return encode(type, object, out, out_len, &at, &len);
}

struct api_event *api_event_new(const struct api_change *change)
{
        struct api_event *e = calloc(1, sizeof(*e));
        struct api_event_text *own;

        if (!e)
                return NULL;
        e->refs = 1;
        e->type = change->type;
        e->kind = change->kind;
        e->resource_version = change->resource_version;
        e->object = json_incref(change->object);
        e->old = json_incref(change->old);
        own = &e->texts[e->type][API_EVENT_OBJECT];
        if (encode(type_names[e->type], e->object, &own->text, &own->len, &e->object_at, &e->object_len) < 0)
                return api_event_unref(e);
        return e;
}

struct api_event *api_event_ref(struct api_event *event)
{
        event->refs++;
        return event;
}

struct api_event *api_event_unref(struct api_event *event)
{
        if (!event || --event->refs > 0)
                return NULL;
        for (size_t t = 0; t < AK_ARRAY_SIZE(event->texts); t++) {
                for (size_t f = 0; f < API_EVENT_FORMS; f++)
                        free(event->texts[t][f].text);
        }
        json_decref(event->object);
        json_decref(event->old);
        free(event);
        return NULL;
}

/* The object that ceased to match, with the number of the change that made it so. */
static json_t *old_with_version(const struct api_event *e)
{
        json_t *object = json_copy(e->old);
        json_t *meta = json_copy(json_object_get(e->old, "metadata"));
        char version[24];

        (void)snprintf(version, sizeof(version), "%" PRIu64, e->resource_version);
        if (json_object_set_new(meta, "resourceVersion", json_string(version)) < 0 ||
            json_object_set_new(object, "metadata", json_incref(meta)) < 0) {
                json_decref(object);
                object = NULL;
        }
        json_decref(meta);
        return object;
}

static json_t *object_as(const struct api_event *e, enum api_change_type type)
{
        if (type == API_DELETED && e->type == API_MODIFIED)
                return old_with_version(e);
        return json_incref(e->object);
}

static const char *const include_names[] = {[API_EVENT_TABLE_METADATA] = "Metadata",
                                            [API_EVENT_TABLE_OBJECT] = "Object",
                                            [API_EVENT_TABLE_NONE] = "None"};

static void make_text(struct api_event *e, enum api_change_type type, enum api_event_form form,
                      uint64_t real_us)
{
        struct api_event_text *t = &e->texts[type][form];
        json_t *object = object_as(e, type);
        char *text = NULL;

        if (object && form != API_EVENT_OBJECT) {
                json_t *table = api_table(e->kind, object, include_names[form], real_us);

                json_decref(object);
                object = table;
        }
        if (object && api_event_encode(type_names[type], object, &text, &t->len) == 0) {
                free(t->text);
                t->text = text;
                t->made_us = real_us;
        }
        json_decref(object);
}

const struct api_event_text *api_event_text(struct api_event *event, enum api_change_type type,
                                            enum api_event_form form, uint64_t real_us)
{
        struct api_event_text *t = &event->texts[type][form];

        if (!t->text || (form != API_EVENT_OBJECT && real_us - t->made_us > STALE_US))
                make_text(event, type, form, real_us);
        return t->text ? t : NULL;
}

void api_event_record(const struct api_event *event, struct api_store_record *out)
{
        const struct api_event_text *own = &event->texts[event->type][API_EVENT_OBJECT];

        *out = (struct api_store_record){.group = event->kind->group,
                                         .kind = event->kind->kind,
                                         .name_space = api_object_meta(event->object, "namespace"),
                                         .name = api_object_meta(event->object, "name"),
                                         .resource_version = event->resource_version};
        if (event->type != API_DELETED) {
                out->json = own->text + event->object_at;
                out->json_len = event->object_len;
        }
}

size_t api_event_size(const struct api_event *event)
{
        /* A tree of json_t takes several times its text; old and new share most of it. */
        return sizeof(*event) + 6 * event->object_len;
}
