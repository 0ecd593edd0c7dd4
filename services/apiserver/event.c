/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STALE_US UINT64_C(1000000)

#define EVENT_TEXTS ((API_DELETED + 1) * API_EVENT_FORMS)

static const char *const type_names[] = {
    [API_ADDED] = "ADDED", [API_MODIFIED] = "MODIFIED", [API_DELETED] = "DELETED"};
static const char *const heads[] = {[API_ADDED] = "{\"type\":\"ADDED\",\"object\":",
                                    [API_MODIFIED] = "{\"type\":\"MODIFIED\",\"object\":",
                                    [API_DELETED] = "{\"type\":\"DELETED\",\"object\":"};
static const char tail[] = "}\n";

const char *api_object_meta(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

        return text ? text : "";
}

int api_event_encode(const char *type, const json_t *object, char **out, size_t *out_len)
{
        AK_AUTOFREE char *text = NULL;
        char head[64];
        size_t head_len, len;

        head_len = (size_t)snprintf(head, sizeof(head), "{\"type\":\"%s\",\"object\":", type);
        len = json_dumpb(object, NULL, 0, JSON_COMPACT);
        if (len == 0)
                return -ENOMEM;
        text = malloc(head_len + len + sizeof(tail));
        if (!text)
                return -ENOMEM;
        memcpy(text, head, head_len);
        if (json_dumpb(object, text + head_len, len, JSON_COMPACT) != len)
                return -ENOMEM;
        memcpy(text + head_len + len, tail, sizeof(tail));
        *out = AK_STEAL(text);
        *out_len = head_len + len + strlen(tail);
        return 0;
}

struct api_event *api_event_new(const struct api_change *change)
{
        struct api_event *e;

        if (api_image_encode(change->image) < 0)
                return NULL;
        e = calloc(1, sizeof(*e));
        if (!e)
                return NULL;
        e->refs = 1;
        e->type = change->type;
        e->kind = change->kind;
        e->resource_version = change->resource_version;
        e->image = api_image_ref(change->image);
        e->old = change->old_image ? api_image_ref(change->old_image) : NULL;
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
        for (size_t i = 0; event->texts && i < EVENT_TEXTS; i++)
                free(event->texts[i].text);
        free(event->texts);
        (void)api_image_unref(event->image);
        (void)api_image_unref(event->old);
        free(event);
        return NULL;
}

/* The object that ceased to match, with the number of the change that made it so. */
static json_t *old_with_version(const struct api_event *e)
{
        json_t *old = api_image_object(e->old);
        json_t *object = json_copy(old);
        json_t *meta = json_copy(json_object_get(old, "metadata"));
        char version[24];

        (void)snprintf(version, sizeof(version), "%" PRIu64, e->resource_version);
        if (json_object_set_new(meta, "resourceVersion", json_string(version)) < 0 ||
            json_object_set_new(object, "metadata", json_incref(meta)) < 0) {
                json_decref(object);
                object = NULL;
        }
        json_decref(meta);
        json_decref(old);
        return object;
}

/* The object as it was before: DELETED for those who no longer see it. */
static bool leaves(const struct api_event *e, enum api_change_type type)
{
        return type == API_DELETED && e->type == API_MODIFIED;
}

static const char *const include_names[] = {[API_EVENT_TABLE_METADATA] = "Metadata",
                                            [API_EVENT_TABLE_OBJECT] = "Object",
                                            [API_EVENT_TABLE_NONE] = "None"};

static void make_text(struct api_event *e, enum api_change_type type, enum api_event_form form,
                      uint64_t real_us, struct api_event_text *t)
{
        json_t *object = leaves(e, type) ? old_with_version(e) : api_image_object(e->image);
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

static int own_line(struct api_event *e, enum api_change_type type, enum api_event_form form,
                    uint64_t real_us, struct api_line *out)
{
        struct api_event_text *t;

        if (!e->texts)
                e->texts = calloc(EVENT_TEXTS, sizeof(*e->texts));
        if (!e->texts)
                return -ENOMEM;
        t = &e->texts[(size_t)type * API_EVENT_FORMS + form];
        if (!t->text || (form != API_EVENT_OBJECT && real_us - t->made_us > STALE_US))
                make_text(e, type, form, real_us, t);
        if (!t->text)
                return -ENOMEM;
        *out = (struct api_line){.pieces = {{t->text, t->len}}};
        return 0;
}

static void shared_line(enum api_change_type type, const struct api_image *image, struct api_line *out)
{
        *out = (struct api_line){
            .pieces = {{heads[type], strlen(heads[type])}, {image->text, image->len}, {tail, strlen(tail)}}};
}

int api_event_line(struct api_event *event, enum api_change_type type, enum api_event_form form,
                   uint64_t real_us, struct api_line *out)
{
        if (form != API_EVENT_OBJECT || leaves(event, type))
                return own_line(event, type, form, real_us, out);
        shared_line(type, event->image, out);
        return 0;
}

int api_event_added(struct api_image *image, struct api_line *out)
{
        if (api_image_encode(image) < 0)
                return -ENOMEM;
        shared_line(API_ADDED, image, out);
        return 0;
}

void api_event_record(const struct api_event *event, struct api_store_record *out)
{
        *out = (struct api_store_record){.group = event->kind->group,
                                         .kind = event->kind->kind,
                                         .name_space = event->image->name_space,
                                         .name = event->image->name,
                                         .resource_version = event->resource_version};
        if (event->type != API_DELETED) {
                out->json = event->image->text;
                out->json_len = event->image->len;
        }
}

size_t api_event_size(const struct api_event *event)
{
        return sizeof(*event) + api_image_size(event->image);
}
