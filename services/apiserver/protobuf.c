/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/protobuf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kube.pb-c.h"
#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/utf8.h"

static const char magic[4] = {'k', '8', 's', '\0'};

/* The kinds that are read; DeleteOptions comes with the API version of whatever is deleted. */
static const struct {
        const char *version, *kind;
        const ProtobufCMessageDescriptor *descriptor;
} kinds[] = {
    {"v1", "Namespace", &kubepb__namespace__descriptor},
    {"v1", "Event", &kubepb__event__descriptor},
    {"coordination.k8s.io/v1", "Lease", &kubepb__lease__descriptor},
    {"v1", "Binding", &kubepb__binding__descriptor},
    {"policy/v1", "Eviction", &kubepb__eviction__descriptor},
    {NULL, "DeleteOptions", &kubepb__delete_options__descriptor},
    {"authorization.k8s.io/v1", "SelfSubjectAccessReview", &kubepb__self_subject_access_review__descriptor},
    {"authorization.k8s.io/v1", "SelfSubjectRulesReview", &kubepb__self_subject_rules_review__descriptor},
    {"authentication.k8s.io/v1", "SelfSubjectReview", &kubepb__self_subject_review__descriptor},
};

static json_t *message_to_json(const ProtobufCMessage *message);

/* ---- one value; NULL = left out ---- */

static json_t *string_to_json(const char *text)
{
        return text && *text && ak_utf8_valid(text, strlen(text)) ? json_string(text) : NULL;
}

static json_t *time_to_json(const Kubepb__Time *time)
{
        char text[AK_RFC3339_SIZE];

        /* Go's zero time, and what lies outside of the years 1970 to 9999. */
        if (time->seconds <= 0 || time->seconds > INT64_C(253402300799) || time->nanos < 0)
                return NULL;
        ak_rfc3339_format((uint64_t)time->seconds * 1000000 + (uint64_t)time->nanos / 1000, time->nanos != 0,
                          text);
        return json_string(text);
}

static json_t *nested_to_json(const ProtobufCMessage *message)
{
        json_t *object;

        if (message->descriptor == &kubepb__time__descriptor)
                return time_to_json((const Kubepb__Time *)(const void *)message);
        object = message_to_json(message);
        if (object && json_object_size(object) == 0) {
                json_decref(object);
                return NULL;
        }
        return object;
}

/* A number or truth value that the client set; equal to the default in kube.proto it was not. */
static json_t *scalar_to_json(const ProtobufCFieldDescriptor *f, const void *member)
{
        int64_t value;

        if (f->type == PROTOBUF_C_TYPE_BOOL)
                return json_boolean(*(const protobuf_c_boolean *)member);
        value = f->type == PROTOBUF_C_TYPE_INT32 ? *(const int32_t *)member : *(const int64_t *)member;
        return f->default_value && value == 0 ? NULL : json_integer(value);
}

static json_t *value_to_json(const ProtobufCFieldDescriptor *f, const void *member)
{
        const void *const *pointer = member;

        switch (f->type) {
        case PROTOBUF_C_TYPE_STRING:
                return string_to_json(*pointer);
        case PROTOBUF_C_TYPE_MESSAGE:
                return *pointer ? nested_to_json(*pointer) : NULL;
        default:
                return scalar_to_json(f, member);
        }
}

/* ---- fields of a message ---- */

static json_t *map_to_json(Kubepb__StringEntry *const *entries, size_t count)
{
        json_t *map = json_object();

        for (size_t i = 0; i < count; i++)
                (void)json_object_set_new(map, entries[i]->key ? entries[i]->key : "",
                                          json_string(entries[i]->value ? entries[i]->value : ""));
        return map;
}

static json_t *repeated_to_json(const ProtobufCFieldDescriptor *f, const void *items, size_t count)
{
        const void *const *pointers = items;
        json_t *list;

        if (count == 0)
                return NULL;
        if (f->descriptor == &kubepb__string_entry__descriptor)
                return map_to_json(items, count);
        list = json_array();
        for (size_t i = 0; i < count; i++) {
                json_t *value = value_to_json(f, &pointers[i]);

                (void)json_array_append_new(list, value                               ? value
                                                  : f->type == PROTOBUF_C_TYPE_STRING ? json_string("")
                                                                                      : json_object());
        }
        return list;
}

static json_t *field_to_json(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
        const char *base = (const char *)message;
        const void *member = base + f->offset, *quantifier = base + f->quantifier_offset;
        bool pointer = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;

        if (f->label == PROTOBUF_C_LABEL_REPEATED)
                return repeated_to_json(f, *(const void *const *)member, *(const size_t *)quantifier);
        if (!pointer && !*(const protobuf_c_boolean *)quantifier)
                return NULL;
        return value_to_json(f, member);
}

static json_t *message_to_json(const ProtobufCMessage *message)
{
        const ProtobufCMessageDescriptor *d = message->descriptor;
        json_t *object = json_object();

        for (unsigned int i = 0; i < d->n_fields; i++) {
                json_t *value = field_to_json(message, &d->fields[i]);

                if (value && json_object_set_new(object, d->fields[i].name, value) < 0) {
                        json_decref(object);
                        return NULL;
                }
        }
        return object;
}

/* ---- the envelope ---- */

static int fail(int rc, char error[PROTOBUF_ERROR_SIZE], const char *what, const char *detail)
{
        (void)snprintf(error, PROTOBUF_ERROR_SIZE, "%s%.120s", what, detail);
        return rc;
}

static const ProtobufCMessageDescriptor *find_kind(const Kubepb__TypeMeta *type)
{
        if (!type || !type->kind)
                return NULL;
        for (size_t i = 0; i < AK_ARRAY_SIZE(kinds); i++) {
                if (strcmp(kinds[i].kind, type->kind) == 0 &&
                    (!kinds[i].version ||
                     (type->apiversion && strcmp(kinds[i].version, type->apiversion) == 0)))
                        return kinds[i].descriptor;
        }
        return NULL;
}

static int object_to_json(const Kubepb__Envelope *e, json_t **out, char error[PROTOBUF_ERROR_SIZE])
{
        const ProtobufCMessageDescriptor *descriptor = find_kind(e->typemeta);
        ProtobufCMessage *message;
        json_t *object;

        if (!descriptor)
                return fail(-ENOTSUP, error,
                            "send this kind as application/json; as protobuf it is not read: ",
                            e->typemeta && e->typemeta->kind ? e->typemeta->kind : "(no kind)");
        message = protobuf_c_message_unpack(descriptor, NULL, e->raw.len, e->raw.data);
        if (!message)
                return fail(-EINVAL, error, "the body is not valid protobuf of a ", e->typemeta->kind);
        object = message_to_json(message);
        protobuf_c_message_free_unpacked(message, NULL);
        if (!object)
                return fail(-ENOMEM, error, "out of memory", "");
        (void)json_object_set_new(object, "kind", json_string(e->typemeta->kind));
        if (e->typemeta->apiversion)
                (void)json_object_set_new(object, "apiVersion", json_string(e->typemeta->apiversion));
        *out = object;
        return 0;
}

int protobuf_to_json(const void *bytes, size_t len, json_t **out, char error[PROTOBUF_ERROR_SIZE])
{
        Kubepb__Envelope *envelope;
        int rc;

        if (len > PROTOBUF_MAX)
                return fail(-E2BIG, error, "a protobuf body may have 256 KiB at most; send JSON", "");
        if (len < sizeof(magic) || memcmp(bytes, magic, sizeof(magic)) != 0)
                return fail(-EINVAL, error, "the body does not begin as Kubernetes protobuf does (k8s\\0)",
                            "");
        envelope =
            kubepb__envelope__unpack(NULL, len - sizeof(magic), (const uint8_t *)bytes + sizeof(magic));
        if (!envelope)
                return fail(-EINVAL, error, "the protobuf envelope is malformed", "");
        rc = object_to_json(envelope, out, error);
        kubepb__envelope__free_unpacked(envelope, NULL);
        return rc;
}
