/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of messages.h, expanded once more: names of enums, field tables, and a codec over the tagged
 * union. Nothing here knows a single message by name.
 */
#include "proto/proto.h"

#include <errno.h>
#include <string.h>

#include "libcommon/bus_keys.h"

#define ENUM_NAME(x, c, wire) wire,
#define ENUM_TABLE(tag, values)                                                                              \
        static const char *const tag##_names[] = {values(ENUM_NAME, ) NULL};                                 \
        const char *tag##_name(enum tag value)                                                               \
        {                                                                                                    \
                return (size_t)value + 1 < AK_ARRAY_SIZE(tag##_names) ? tag##_names[value] : "?";            \
        }
AK_ENUMS(ENUM_TABLE)

#define REQUIRED            true
#define OPTIONAL            false
#define KIND_STR(a, b)      .kind = AK_FIELD_STR, .max_len = (a)
#define KIND_TEXT(a, b)     .kind = AK_FIELD_TEXT, .max_len = (a)
#define KIND_U64(a, b)      .kind = AK_FIELD_U64, .max_value = (a)
#define KIND_BOOL(a, b)     .kind = AK_FIELD_BOOL
#define KIND_ENUM(a, b)     .kind = AK_FIELD_ENUM, .names = a##_names
#define KIND_TEXTLIST(a, b) .kind = AK_FIELD_TEXTLIST, .max_len = (a), .max_count = (b)
#define KIND_U64LIST(a, b)  .kind = AK_FIELD_U64LIST, .max_count = (b)
#define FIELD(knd, field, a, b, presence, text)                                                              \
        {.name = #field,                                                                                     \
         KIND_##knd(a, b),                                                                                   \
         .required = presence,                                                                               \
         .offset = offsetof(this_record, field),                                                             \
         .doc = text},

/* One function per message, so that `this_record` can name its struct while the field list expands. */
#define MESSAGE_INFO(message, wire, topic_key, from, to, fields_of, text, repeat)                            \
        static const struct ak_message_info *message##_info(void)                                            \
        {                                                                                                    \
                typedef struct ak_##message this_record;                                                     \
                static const struct ak_field fields[] = {fields_of(FIELD)};                                  \
                static const struct ak_message_info info = {.type = wire,                                    \
                                                            .key = topic_key,                                \
                                                            .publisher = from,                               \
                                                            .listeners = to,                                 \
                                                            .doc = text,                                     \
                                                            .twice = repeat,                                 \
                                                            .record = {.name = wire,                         \
                                                                       .size = sizeof(this_record),          \
                                                                       .fields = fields,                     \
                                                                       .field_count = AK_ARRAY_SIZE(fields), \
                                                                       .doc = text}};                        \
                return &info;                                                                                \
        }
AK_MESSAGES(MESSAGE_INFO)

const struct ak_message_info *ak_message_info(enum ak_message_type type)
{
#define INFO_CALL(message, wire, topic_key, from, to, fields_of, text, repeat) message##_info,
        static const struct ak_message_info *(*const infos[])(void) = {AK_MESSAGES(INFO_CALL)};
        return (size_t)type < AK_ARRAY_SIZE(infos) ? infos[type]() : NULL;
}

int ak_message_type_of_topic(const char *topic, enum ak_message_type *out)
{
        size_t len = strcspn(topic, "/");

        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++) {
                const char *type = ak_message_info(t)->type;
                if (strlen(type) == len && memcmp(type, topic, len) == 0) {
                        *out = t;
                        return 0;
                }
        }
        return -ENOENT;
}

bool ak_message_may_publish(const char *publisher, const char *topic)
{
        enum ak_message_type type;

        return ak_message_type_of_topic(topic, &type) < 0 ||
               strcmp(ak_message_info(type)->publisher, publisher) == 0;
}

const char *const ak_bus_roles[] = {"watcher", "network", "hypervisor", AK_BUS_ROLE_LISTENER, NULL};

#define MESSAGE_COPY(message)                                                                                \
        int ak_##message##_copy(struct ak_##message *dst, const struct ak_##message *src)                    \
        {                                                                                                    \
                struct ak_##message copy;                                                                    \
                int r = ak_record_copy(&message##_info()->record, &copy, src);                               \
                                                                                                             \
                if (r < 0)                                                                                   \
                        return r;                                                                            \
                ak_record_deinit(&message##_info()->record, dst);                                            \
                *dst = copy;                                                                                 \
                return 0;                                                                                    \
        }                                                                                                    \
        void ak_##message##_deinit(struct ak_##message *body)                                                \
        {                                                                                                    \
                ak_record_deinit(&message##_info()->record, body);                                           \
        }
MESSAGE_COPY(nic_diff)
MESSAGE_COPY(vm_diff)

static void *body_of(const struct ak_message *m)
{
        /* All members of the union begin at the same address. */
        return (void *)&m->vm_diff;
}

static const struct ak_record *record_of(const struct ak_message *m)
{
        return &ak_message_info(m->type)->record;
}

struct ak_message *ak_message_new(enum ak_message_type type)
{
        /* As large as its body is, not as the largest of all: cores keep some for every NIC. */
        struct ak_message *m =
            calloc(1, offsetof(struct ak_message, vm_diff) + ak_message_info(type)->record.size);

        if (m)
                m->type = type;
        return m;
}

void ak_message_deinit(struct ak_message *m)
{
        if (m)
                ak_record_deinit(record_of(m), body_of(m));
}

struct ak_message *ak_message_free(struct ak_message *m)
{
        ak_message_deinit(m);
        free(m);
        return NULL;
}

struct ak_message *ak_message_dup(const struct ak_message *m)
{
        size_t head = offsetof(struct ak_message, vm_diff);
        struct ak_message *copy = malloc(head + record_of(m)->size);

        if (!copy)
                return NULL;
        memcpy(copy, m, head);
        if (ak_record_copy(record_of(m), body_of(copy), body_of(m)) < 0) {
                free(copy);
                return NULL;
        }
        return copy;
}

bool ak_message_equal(const struct ak_message *a, const struct ak_message *b)
{
        return a->type == b->type && ak_record_equal(record_of(a), body_of(a), body_of(b));
}

/* NULL where the message has no such field. */
static const char *string_field(const struct ak_message *m, const char *name)
{
        const struct ak_record *r = record_of(m);

        for (size_t i = 0; i < r->field_count; i++)
                if (strcmp(r->fields[i].name, name) == 0)
                        return (const char *)body_of(m) + r->fields[i].offset;
        return NULL;
}

void ak_message_topic(const struct ak_message *m, char out[AK_TOPIC_SIZE])
{
        const struct ak_message_info *info = ak_message_info(m->type);
        const char *pod_uid = string_field(m, "pod_uid");
        const char *port_id = string_field(m, "port_id");

        if (port_id)
                (void)snprintf(out, AK_TOPIC_SIZE, "%s/%s/%s", info->type, pod_uid, port_id);
        else
                (void)snprintf(out, AK_TOPIC_SIZE, "%s/%s", info->type,
                               pod_uid ? pod_uid : string_field(m, "subnet_id"));
}

/* A key is part of a topic: it must not be empty, nor hold what separates or could forge one. */
static bool key_valid(const char *key)
{
        size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

        return len > 0 && key[len] == '\0';
}

static int check_keys(const struct ak_message *m, char error[AK_SCHEMA_ERROR_SIZE])
{
        /* Of a message about a pod, a subnet is no part of the key. */
        static const char *const names[] = {"pod_uid", "port_id", "subnet_id"};
        size_t count = string_field(m, "pod_uid") ? 2 : 3;

        for (size_t i = 0; i < count; i++) {
                const char *key = string_field(m, names[i]);

                if (key && !key_valid(key)) {
                        (void)snprintf(error, AK_SCHEMA_ERROR_SIZE,
                                       "%s.%s: empty, or has other characters than letters, digits, '.', "
                                       "'_' and '-'",
                                       record_of(m)->name, names[i]);
                        return -EBADMSG;
                }
        }
        return 0;
}

int ak_message_encode(const struct ak_message *m, uint8_t **out, size_t *out_len)
{
        char error[AK_SCHEMA_ERROR_SIZE];

        if (check_keys(m, error) < 0)
                return -EINVAL;
        return ak_record_encode(record_of(m), body_of(m), out, out_len);
}

int ak_message_decode(const char *topic, const uint8_t *body, size_t len, struct ak_message **out,
                      char error[AK_SCHEMA_ERROR_SIZE])
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        enum ak_message_type type;
        char expected[AK_TOPIC_SIZE];
        int r = ak_message_type_of_topic(topic, &type);

        if (r < 0) {
                (void)snprintf(error, AK_SCHEMA_ERROR_SIZE, "unknown message type");
                return r;
        }
        m = ak_message_new(type);
        if (!m)
                return -ENOMEM;
        r = ak_record_decode(record_of(m), body, len, body_of(m), error);
        if (r == 0)
                r = check_keys(m, error);
        if (r < 0)
                return r;
        ak_message_topic(m, expected);
        if (strcmp(expected, topic) != 0) {
                (void)snprintf(error, AK_SCHEMA_ERROR_SIZE, "topic does not match the key in the body");
                return -EBADMSG;
        }
        *out = AK_STEAL(m);
        return 0;
}

json_t *ak_message_to_json(const struct ak_message *m)
{
        json_t *json = json_pack("{s:s}", "type", ak_message_info(m->type)->type);
        json_t *body = ak_record_to_json(record_of(m), body_of(m));

        if (!json || !body || json_object_update(json, body) < 0) {
                json_decref(json);
                json = NULL;
        }
        json_decref(body);
        return json;
}

static int message_from_json(const json_t *json, struct ak_message *m, char error[AK_SCHEMA_ERROR_SIZE])
{
        json_t *body = json_copy((json_t *)json);
        int r;

        if (!body)
                return -ENOMEM;
        (void)json_object_del(body, "type");
        r = ak_record_from_json(record_of(m), body, body_of(m), error);
        json_decref(body);
        return r < 0 ? r : check_keys(m, error);
}

int ak_message_from_json(const json_t *json, struct ak_message **out, char error[AK_SCHEMA_ERROR_SIZE])
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        const char *type_name = json_string_value(json_object_get(json, "type"));
        enum ak_message_type type;
        int r;

        if (!type_name || ak_message_type_of_topic(type_name, &type) < 0) {
                (void)snprintf(error, AK_SCHEMA_ERROR_SIZE, "type: not a message type");
                return -EBADMSG;
        }
        m = ak_message_new(type);
        if (!m)
                return -ENOMEM;
        r = message_from_json(json, m, error);
        if (r < 0)
                return r;
        *out = AK_STEAL(m);
        return 0;
}
