/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/generic.h"

#include <inttypes.h>
#include <msgpack.h>
#include <stdbool.h>

#define MAX_DEPTH 16

/* ------------------------------------------------------------------ can it be what it promises? */

/*
 * msgpack-c reserves memory for as many items as a header promises, before it has seen one. So a look first:
 * each item takes a byte at least, and no header may promise more of them than bytes are left.
 */
struct token {
        uint8_t number;  /* bytes of the number behind the first byte: a length or a count */
        uint8_t payload; /* further bytes */
        uint8_t items;   /* 0: the number is of bytes; 1: of items, 2: of pairs */
};

/* What begins with 0xc4 to 0xdf: bin, ext, float, uint, int, fixext, str, array, map. */
static const struct token tokens[] = {
    {1, 0, 0}, {2, 0, 0}, {4, 0, 0}, {1, 1, 0}, {2, 1, 0}, {4, 1, 0}, {0, 4, 0},
    {0, 8, 0}, {0, 1, 0}, {0, 2, 0}, {0, 4, 0}, {0, 8, 0}, {0, 1, 0}, {0, 2, 0},
    {0, 4, 0}, {0, 8, 0}, {0, 2, 0}, {0, 3, 0}, {0, 5, 0}, {0, 9, 0}, {0, 17, 0},
    {1, 0, 0}, {2, 0, 0}, {4, 0, 0}, {2, 0, 1}, {4, 0, 1}, {2, 0, 2}, {4, 0, 2},
};

/* Bytes behind the first one, and items that follow; false where the data ends inside. */
static bool look_at(const uint8_t *p, size_t left, uint64_t *bytes, uint64_t *items)
{
        uint64_t number = 0;

        *bytes = *items = 0;
        if (*p >= 0x80 && *p <= 0x9f)
                *items = (*p & 0x0fU) * (*p < 0x90 ? 2U : 1U);
        else if (*p >= 0xa0 && *p <= 0xbf)
                *bytes = *p & 0x1fU;
        if (*p < 0xc4 || *p > 0xdf)
                return *bytes < left;
        const struct token *t = &tokens[*p - 0xc4];
        if (left < (size_t)1 + t->number)
                return false;
        for (uint8_t i = 0; i < t->number; i++)
                number = number << 8 | p[1 + i];
        *items = number * t->items;
        *bytes = t->number + (uint64_t)t->payload + (t->items ? 0 : number);
        return *bytes < left;
}

static bool keeps_its_promise(const uint8_t *data, size_t len)
{
        uint64_t pending = 1, bytes, items;
        size_t at = 0;

        while (pending > 0) {
                if (at >= len || !look_at(data + at, len - at, &bytes, &items))
                        return false;
                at += 1 + (size_t)bytes;
                pending += items - 1;
                if (pending > len - at)
                        return false;
        }
        return at == len;
}

/* ------------------------------------------------------------------ msgpack to JSON */

static json_t *to_json(const msgpack_object *o, unsigned depth);

static json_t *text(const char *data, uint32_t len)
{
        json_t *s = json_stringn(data, len);

        return s ? s : json_sprintf("(%" PRIu32 " bytes)", len);
}

static json_t *array(const msgpack_object_array *a, unsigned depth)
{
        json_t *out = json_array();

        for (uint32_t i = 0; i < a->size; i++) {
                json_t *item = to_json(&a->ptr[i], depth + 1);
                if (!item || json_array_append_new(out, item) < 0) {
                        json_decref(out);
                        return NULL;
                }
        }
        return out;
}

static int put(json_t *out, const msgpack_object_kv *kv, unsigned depth)
{
        if (kv->key.type != MSGPACK_OBJECT_STR)
                return 0;
        json_t *key = text(kv->key.via.str.ptr, kv->key.via.str.size);
        json_t *value = to_json(&kv->val, depth + 1);
        int r = key && value ? json_object_set(out, json_string_value(key), value) : -1;

        json_decref(key);
        json_decref(value);
        return r;
}

static json_t *map(const msgpack_object_map *m, unsigned depth)
{
        json_t *out = json_object();

        for (uint32_t i = 0; i < m->size; i++) {
                if (put(out, &m->ptr[i], depth) < 0) {
                        json_decref(out);
                        return NULL;
                }
        }
        return out;
}

static json_t *number(uint64_t u)
{
        return u <= INT64_MAX ? json_integer((json_int_t)u) : json_sprintf("%" PRIu64, u);
}

static json_t *to_json(const msgpack_object *o, unsigned depth)
{
        if (depth > MAX_DEPTH)
                return NULL;
        switch (o->type) {
        case MSGPACK_OBJECT_NIL:
                return json_null();
        case MSGPACK_OBJECT_BOOLEAN:
                return json_boolean(o->via.boolean);
        case MSGPACK_OBJECT_POSITIVE_INTEGER:
                return number(o->via.u64);
        case MSGPACK_OBJECT_NEGATIVE_INTEGER:
                return json_integer(o->via.i64);
        case MSGPACK_OBJECT_FLOAT32:
        case MSGPACK_OBJECT_FLOAT64: {
                json_t *real = json_real(o->via.f64);
                return real ? real : json_string("(not a number)");
        }
        case MSGPACK_OBJECT_STR:
                return text(o->via.str.ptr, o->via.str.size);
        case MSGPACK_OBJECT_ARRAY:
                return array(&o->via.array, depth);
        case MSGPACK_OBJECT_MAP:
                return map(&o->via.map, depth);
        case MSGPACK_OBJECT_BIN:
                return json_sprintf("(%" PRIu32 " bytes)", o->via.bin.size);
        case MSGPACK_OBJECT_EXT:
                return json_sprintf("(%" PRIu32 " bytes)", o->via.ext.size);
        }
        return NULL;
}

json_t *ctl_generic_json(const uint8_t *data, size_t len)
{
        msgpack_unpacked unpacked;
        json_t *out = NULL;
        size_t end = 0;

        if (!keeps_its_promise(data, len))
                return NULL;
        msgpack_unpacked_init(&unpacked);
        if (msgpack_unpack_next(&unpacked, (const char *)data, len, &end) == MSGPACK_UNPACK_SUCCESS &&
            end == len)
                out = to_json(&unpacked.data, 0);
        msgpack_unpacked_destroy(&unpacked);
        return out;
}
