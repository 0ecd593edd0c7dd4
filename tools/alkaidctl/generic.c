/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/generic.h"

#include <inttypes.h>
#include <msgpack.h>

#define MAX_DEPTH 16

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

        msgpack_unpacked_init(&unpacked);
        if (msgpack_unpack_next(&unpacked, (const char *)data, len, &end) == MSGPACK_UNPACK_SUCCESS &&
            end == len)
                out = to_json(&unpacked.data, 0);
        msgpack_unpacked_destroy(&unpacked);
        return out;
}
