/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of messages.h as C: structs, enums, and one tagged union over them with its codec.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "libcommon/schema.h"
#include "proto/messages.h"

/* enum ak_vm_phase { AK_VM_PHASE_ABSENT, … }; const char *ak_vm_phase_name(enum ak_vm_phase); … */
#define AK_PROTO_ENUM_VALUE(x, c, wire) c,
#define AK_PROTO_ENUM(tag, values)                                                                           \
        enum tag { values(AK_PROTO_ENUM_VALUE, ) };                                                          \
        const char *tag##_name(enum tag value);
AK_ENUMS(AK_PROTO_ENUM)
#undef AK_PROTO_ENUM
#undef AK_PROTO_ENUM_VALUE

#define AK_PROTO_DECLARE_STR(name, a, b)  char name[(a) + 1];
#define AK_PROTO_DECLARE_TEXT(name, a, b) char *name;
#define AK_PROTO_DECLARE_U64(name, a, b)  uint64_t name;
#define AK_PROTO_DECLARE_BOOL(name, a, b) bool name;
#define AK_PROTO_DECLARE_ENUM(name, a, b) enum a name;
#define AK_PROTO_DECLARE_TEXTLIST(name, a, b)                                                                \
        struct {                                                                                             \
                uint32_t count;                                                                              \
                char (*items)[(a) + 1]; /* AK_TEXTLIST_ADD() */                                              \
        } name;
#define AK_PROTO_DECLARE_U64LIST(name, a, b)                                                                 \
        struct {                                                                                             \
                uint32_t count;                                                                              \
                uint64_t items[b];                                                                           \
        } name;
#define AK_PROTO_DECLARE(kind, name, a, b, presence, doc) AK_PROTO_DECLARE_##kind(name, a, b)
#define AK_PROTO_STRUCT(name, type, key, from, to, fields, doc, twice)                                       \
        struct ak_##name {                                                                                   \
                fields(AK_PROTO_DECLARE)                                                                     \
        };
AK_MESSAGES(AK_PROTO_STRUCT)
#undef AK_PROTO_STRUCT

/*
 * Those with a TEXT or TEXTLIST own memory: assigned, two would own the same. _copy takes the place of what
 * is in `dst`: 0, or -ENOMEM and nothing has changed.
 */
int ak_vm_diff_copy(struct ak_vm_diff *dst, const struct ak_vm_diff *src);
int ak_nic_diff_copy(struct ak_nic_diff *dst, const struct ak_nic_diff *src);
void ak_vm_diff_deinit(struct ak_vm_diff *diff);
void ak_nic_diff_deinit(struct ak_nic_diff *diff);

/* enum ak_message_type { AK_MESSAGE_VM_DIFF … } in the order of AK_MESSAGES. */
enum ak_message_type {
#define AK_PROTO_TYPE(name, type, key, from, to, fields, doc, twice) ak_message_##name,
        AK_MESSAGES(AK_PROTO_TYPE)
#undef AK_PROTO_TYPE
            AK_MESSAGE_TYPE_COUNT
};

struct ak_message_info {
        const char *type; /* "nic.diff" */
        const char *key;  /* "<pod uid>/<port id>" */
        const char *publisher, *listeners, *doc;
        const char *twice; /* what the listeners do when they get it again */
        struct ak_record record;
};
const struct ak_message_info *ak_message_info(enum ak_message_type type);
/* Type of a topic ("nic.diff/…" -> ak_message_nic_diff); -ENOENT where unknown. */
int ak_message_type_of_topic(const char *topic, enum ak_message_type *out);

/* Whether it is this publisher's to say. A type that is not known is nobody's business: nobody acts on it. */
bool ak_message_may_publish(const char *publisher, const char *topic);
/* Roles of certificates that may listen on the bus; NULL-terminated. */
extern const char *const ak_bus_roles[];

/*
 * One message. Its texts and lists are on the heap, so ak_message_deinit() must be called. One on the heap
 * has room for the body of its type only: it is never assigned whole, ak_message_dup() copies it.
 */
struct ak_message {
        enum ak_message_type type;
        union {
#define AK_PROTO_MEMBER(name, type, key, from, to, fields, doc, twice) struct ak_##name name;
                AK_MESSAGES(AK_PROTO_MEMBER)
#undef AK_PROTO_MEMBER
        };
};

struct ak_message *ak_message_new(enum ak_message_type type); /* zeroed; NULL when out of memory */
struct ak_message *ak_message_free(struct ak_message *m);
AK_DEFINE_CLEANUP(struct ak_message *, ak_message_free)
struct ak_message *ak_message_dup(const struct ak_message *m);
void ak_message_deinit(struct ak_message *m);
bool ak_message_equal(const struct ak_message *a, const struct ak_message *b);

/* Topic of a message from its key fields, e.g. "nic.diff/UID/PORT". */
#define AK_TOPIC_SIZE 256
void ak_message_topic(const struct ak_message *m, char out[AK_TOPIC_SIZE]);

/* 0 or the errors of ak_record_encode(), -EINVAL also for a key that no topic may have. *out is freed with
 * free(). */
int ak_message_encode(const struct ak_message *m, uint8_t **out, size_t *out_len);
/*
 * Decodes the body of `topic` and checks that the topic's key is the body's. -ENOENT for an unknown type
 * (a later version: ignore), else as ak_record_decode().
 */
int ak_message_decode(const char *topic, const uint8_t *body, size_t len, struct ak_message **out,
                      char error[AK_SCHEMA_ERROR_SIZE]);
json_t *ak_message_to_json(const struct ak_message *m); /* {"type": …, fields…} */
int ak_message_from_json(const json_t *json, struct ak_message **out, char error[AK_SCHEMA_ERROR_SIZE]);
