/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on the wire: msgpack maps with string keys.
 *
 * Decoding instantiates msgpack-c's own parser template (msgpack/unpack_template.h, the one from which its
 * msgpack_unpack_next() is made) with callbacks that write into the record directly. So no tree of objects
 * is built: nothing is allocated but the TEXT fields, each after its length has been checked, and a header
 * that promises four thousand million items costs nothing. Depth is bounded by MAX_DEPTH.
 *
 * The items of a list arrive before the parser hands out the key that they belong to, so they wait in
 * `items` (pointers into the input), which is enough because lists of lists do not exist here.
 */
#include <errno.h>
#include <msgpack/pack.h>
#include <msgpack/sbuffer.h>
#include <msgpack/sysdep.h>
#include <msgpack/unpack.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/schema_internal.h"
#include "libcommon/utf8.h"

#define SMALL_RECORD 512

/* --- encoding --------------------------------------------------------------------- */

static void pack_str(msgpack_packer *pk, const char *s, size_t len)
{
        msgpack_pack_str(pk, len);
        msgpack_pack_str_body(pk, s, len);
}

static bool text_fits(const struct ak_field *f, const char *s, size_t *len)
{
        *len = strnlen(s, (size_t)f->max_len + 1);
        return *len <= f->max_len && ak_utf8_valid(s, *len);
}

static int pack_text(msgpack_packer *pk, const struct ak_field *f, const char *s)
{
        size_t len;

        if (!text_fits(f, s, &len))
                return -EINVAL;
        pack_str(pk, s, len);
        return 0;
}

static int pack_enum(msgpack_packer *pk, const struct ak_field *f, int value)
{
        for (int i = 0; f->names[i]; i++) {
                if (i == value) {
                        pack_str(pk, f->names[i], strlen(f->names[i]));
                        return 0;
                }
        }
        return -EINVAL;
}

static int pack_u64(msgpack_packer *pk, const struct ak_field *f, uint64_t value)
{
        if (value > f->max_value)
                return -EINVAL;
        msgpack_pack_uint64(pk, value);
        return 0;
}

static int pack_list(msgpack_packer *pk, const struct ak_field *f, const void *value)
{
        void *list = (void *)(uintptr_t)schema_at_const(value, f);
        uint32_t count = schema_list_count(value, f);
        int rc = count > f->max_count ? -EINVAL : 0;

        if (rc == 0)
                msgpack_pack_array(pk, count);
        for (uint32_t i = 0; i < count && rc == 0; i++) {
                if (f->kind != AK_FIELD_U64LIST)
                        rc = pack_text(pk, f, schema_list_str(f, list, i));
                else
                        msgpack_pack_uint64(pk, *schema_list_u64(list, i));
        }
        return rc;
}

static int pack_field(msgpack_packer *pk, const struct ak_field *f, const void *value)
{
        const void *p = schema_at_const(value, f);

        pack_str(pk, f->name, strlen(f->name));
        switch (f->kind) {
        case AK_FIELD_BOOL:
                return *(const bool *)p ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
        case AK_FIELD_U64:
                return pack_u64(pk, f, *(const uint64_t *)p);
        case AK_FIELD_STR:
                return pack_text(pk, f, p);
        case AK_FIELD_TEXT:
                return pack_text(pk, f, *(char *const *)p ? *(char *const *)p : "");
        case AK_FIELD_ENUM:
                return pack_enum(pk, f, *(const int *)p);
        case AK_FIELD_STRLIST:
        case AK_FIELD_U64LIST:
        case AK_FIELD_TEXTLIST:
                return pack_list(pk, f, value);
        }
        return -EINVAL;
}

static int pack_record(msgpack_packer *pk, const struct ak_record *r, const void *value)
{
        size_t count = 0;

        for (size_t i = 0; i < r->field_count; i++)
                count += r->fields[i].required || !schema_is_zero(&r->fields[i], value);
        msgpack_pack_map(pk, count);
        for (size_t i = 0; i < r->field_count; i++) {
                int rc = 0;

                if (r->fields[i].required || !schema_is_zero(&r->fields[i], value))
                        rc = pack_field(pk, &r->fields[i], value);
                if (rc < 0)
                        return rc;
        }
        return 0;
}

int ak_record_encode(const struct ak_record *r, const void *value, uint8_t **out, size_t *out_len)
{
        msgpack_sbuffer buffer;
        msgpack_packer pk;
        int rc;

        /* Most records are small; the 8 KiB that msgpack-c begins with cost more than the encoding. */
        buffer = (msgpack_sbuffer){.data = malloc(SMALL_RECORD), .alloc = SMALL_RECORD};
        if (!buffer.data)
                return -ENOMEM;
        msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
        rc = pack_record(&pk, r, value);
        if (rc == 0 && buffer.size > AK_SCHEMA_MAX_BYTES)
                rc = -EMSGSIZE;
        if (rc == 0) {
                *out_len = buffer.size;
                *out = (uint8_t *)msgpack_sbuffer_release(&buffer);
        }
        msgpack_sbuffer_destroy(&buffer);
        return rc;
}

/* --- decoding ----------------------------------------------------------------------- */

#define MAX_DEPTH 8

enum value_kind { V_NIL, V_BOOL, V_UINT, V_OTHER, V_STR, V_LIST, V_MAP };

/* One parsed value; a container holds its depth and how many items are still to come. */
struct value {
        enum value_kind kind;
        uint32_t len; /* STR: bytes; LIST: items in all */
        uint32_t left, depth;
        union {
                uint64_t u;
                const char *s;
        };
};

struct decoder {
        const struct ak_record *r;
        void *value;
        char *error;
        int rc;
        uint32_t depth; /* containers that are open */
        bool seen[SCHEMA_MAX_FIELDS];
        size_t likely; /* the field that should come next */
        uint32_t item_count;
        struct value items[SCHEMA_MAX_ITEMS];
};

static int set_bool(struct decoder *d, const struct ak_field *f, const struct value *v)
{
        if (f->kind != AK_FIELD_BOOL)
                return schema_fail(d->r, f, d->error, "is no boolean");
        *(bool *)schema_at(d->value, f) = v->u != 0;
        return 0;
}

static int set_item(struct decoder *d, const struct ak_field *f, uint32_t i)
{
        const struct value *v = &d->items[i];

        if (f->kind != AK_FIELD_U64LIST) {
                if (v->kind != V_STR)
                        return schema_fail(d->r, f, d->error, "item %u is not a string", i);
                return schema_set_list_str(d->r, f, d->value, i, v->s, v->len, d->error);
        }
        if (v->kind != V_UINT)
                return schema_fail(d->r, f, d->error, "item %u is not an unsigned integer", i);
        *schema_list_u64(schema_at(d->value, f), i) = v->u;
        return 0;
}

static int set_list(struct decoder *d, const struct ak_field *f, const struct value *v)
{
        int rc = schema_is_list(f) ? schema_check_count(d->r, f, v->len, d->error)
                                   : schema_fail(d->r, f, d->error, "is no list");

        if (rc == 0)
                rc = schema_list_reserve(d->value, f, v->len);
        for (uint32_t i = 0; i < v->len && rc == 0; i++)
                rc = set_item(d, f, i);
        if (rc == 0)
                schema_list_set_count(d->value, f, v->len);
        return rc;
}

static int set_field(struct decoder *d, const struct ak_field *f, const struct value *v)
{
        switch (v->kind) {
        case V_BOOL:
                return set_bool(d, f, v);
        case V_UINT:
                return schema_set_u64(d->r, f, d->value, v->u, d->error);
        case V_STR:
                return schema_set_str(d->r, f, d->value, v->s, v->len, d->error);
        case V_LIST:
                return set_list(d, f, v);
        case V_NIL:
        case V_MAP:
        case V_OTHER:
                break;
        }
        return schema_fail(d->r, f, d->error,
                           "has a type that no field has (nil, map, binary, negative or float)");
}

static int root_item(struct decoder *d, const struct value *key, const struct value *v)
{
        const struct ak_field *f;

        if (key->kind != V_STR)
                return schema_fail(d->r, NULL, d->error, "a key is not a string");
        f = schema_find(d->r, key->s, key->len, d->likely);
        if (!f)
                return 0; /* of a later minor version */
        if (d->seen[f - d->r->fields])
                return schema_fail(d->r, f, d->error, "appears twice");
        d->seen[f - d->r->fields] = true;
        d->likely = (size_t)(f - d->r->fields) + 1;
        return set_field(d, f, v);
}

static int open_container(struct decoder *d, struct value *o, enum value_kind kind, uint32_t n)
{
        if (d->depth == 0 && kind != V_MAP)
                return d->rc = schema_fail(d->r, NULL, d->error, "the body is not a map");
        if (d->depth >= MAX_DEPTH)
                return d->rc = schema_fail(d->r, NULL, d->error, "nested deeper than %d", MAX_DEPTH);
        *o = (struct value){.kind = kind, .len = n, .left = n, .depth = d->depth};
        if (kind == V_LIST && d->depth == 1)
                d->item_count = 0;
        if (n > 0)
                d->depth++;
        return 0;
}

static void close_item(struct decoder *d, struct value *container)
{
        if (--container->left == 0)
                d->depth--;
}

static inline int scalar(struct decoder *d, struct value *o, struct value v)
{
        if (d->depth == 0)
                return d->rc = schema_fail(d->r, NULL, d->error, "the body is not a map");
        *o = v;
        return 0;
}

/* The names are those that the template calls. */
static inline struct value record_root(struct decoder *d AK_UNUSED)
{
        return (struct value){.kind = V_NIL};
}

#define RECORD_UINT(suffix, type)                                                                            \
        static inline int record_##suffix(struct decoder *d, type n, struct value *o)                        \
        {                                                                                                    \
                return scalar(d, o, (struct value){.kind = V_UINT, .u = n});                                 \
        }
#define RECORD_INT(suffix, type)                                                                             \
        static inline int record_##suffix(struct decoder *d, type n, struct value *o)                        \
        {                                                                                                    \
                return scalar(d, o, (struct value){.kind = n < 0 ? V_OTHER : V_UINT, .u = (uint64_t)n});     \
        }
#define RECORD_OTHER(suffix, type)                                                                           \
        static inline int record_##suffix(struct decoder *d, type n AK_UNUSED, struct value *o)              \
        {                                                                                                    \
                return scalar(d, o, (struct value){.kind = V_OTHER});                                        \
        }
#define RECORD_BYTES(suffix, k)                                                                              \
        static inline int record_##suffix(struct decoder *d, const char *base AK_UNUSED, const char *p,      \
                                          unsigned int len, struct value *o)                                 \
        {                                                                                                    \
                return scalar(d, o, (struct value){.kind = k, .len = len, .s = p});                          \
        }
#define RECORD_SIMPLE(suffix, k, n)                                                                          \
        static inline int record_##suffix(struct decoder *d, struct value *o)                                \
        {                                                                                                    \
                return scalar(d, o, (struct value){.kind = k, .u = n});                                      \
        }
RECORD_UINT(uint8, uint8_t)
RECORD_UINT(uint16, uint16_t)
RECORD_UINT(uint32, uint32_t)
RECORD_UINT(uint64, uint64_t)
RECORD_INT(int8, int8_t)
RECORD_INT(int16, int16_t)
RECORD_INT(int32, int32_t)
RECORD_INT(int64, int64_t)
RECORD_OTHER(float, float)
RECORD_OTHER(double, double)
RECORD_BYTES(str, V_STR)
RECORD_BYTES(bin, V_OTHER)
RECORD_BYTES(ext, V_OTHER)
RECORD_SIMPLE(nil, V_NIL, 0)
RECORD_SIMPLE(true, V_BOOL, 1)
RECORD_SIMPLE(false, V_BOOL, 0)

static inline int record_array(struct decoder *d, unsigned int n, struct value *o)
{
        return open_container(d, o, V_LIST, n);
}

static inline int record_map(struct decoder *d, unsigned int n, struct value *o)
{
        return open_container(d, o, V_MAP, n);
}

static inline int record_array_item(struct decoder *d, struct value *list, struct value item)
{
        if (list->depth == 1 && d->item_count < SCHEMA_MAX_ITEMS)
                d->items[d->item_count++] = item;
        close_item(d, list);
        return 0;
}

static inline int record_map_item(struct decoder *d, struct value *map, struct value key, struct value v)
{
        if (map->depth == 0)
                d->rc = root_item(d, &key, &v);
        close_item(d, map);
        return d->rc;
}

#define msgpack_unpack_struct(name)    struct record_unpack##name
#define msgpack_unpack_func(ret, name) static AK_UNUSED ret record_unpack##name
#define msgpack_unpack_callback(name)  record##name
#define msgpack_unpack_object          struct value
#define msgpack_unpack_user            struct decoder
#include <msgpack/unpack_define.h>
#include <msgpack/unpack_template.h>

static int run_decoder(struct record_unpack_context *ctx, const uint8_t *data, size_t len)
{
        struct decoder *d = &ctx->user;
        size_t off = 0;
        int rc = record_unpack_execute(ctx, (const char *)data, len, &off);

        if (rc < 0)
                return d->rc < 0 ? d->rc
                                 : schema_fail(d->r, NULL, d->error, "not msgpack, or nested too deeply");
        if (rc == 0)
                return schema_fail(d->r, NULL, d->error, "cut off after %zu bytes", len);
        if (off != len)
                return schema_fail(d->r, NULL, d->error, "%zu bytes follow the body", len - off);
        return schema_check_required(d->r, d->seen, d->error);
}

int ak_record_decode(const struct ak_record *r, const uint8_t *data, size_t len, void *value,
                     char error[AK_SCHEMA_ERROR_SIZE])
{
        struct record_unpack_context ctx;
        int rc;

        memset(value, 0, r->size);
        error[0] = '\0';
        if (len > AK_SCHEMA_MAX_BYTES) {
                (void)schema_fail(r, NULL, error, "%zu bytes, at most %d are allowed", len,
                                  AK_SCHEMA_MAX_BYTES);
                return -EMSGSIZE;
        }
        if (r->field_count > SCHEMA_MAX_FIELDS)
                return -EINVAL;
        ctx.user.r = r;
        ctx.user.value = value;
        ctx.user.error = error;
        ctx.user.rc = 0;
        ctx.user.depth = 0;
        ctx.user.item_count = 0;
        ctx.user.likely = 0;
        memset(ctx.user.seen, 0, sizeof(ctx.user.seen));
        record_unpack_init(&ctx);
        rc = run_decoder(&ctx, data, len);
        if (rc < 0)
                ak_record_deinit(r, value);
        return rc;
}
