/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as JSON: for people, captures and tests. jansson's integers are signed, so that a number past
 * INT64_MAX is a string of digits; both forms are read. Unlike on the wire, an unknown key is an error: a
 * hand-written file with a typo should say so.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/schema_internal.h"

/* --- to JSON ------------------------------------------------------------------ */

static json_t *u64_to_json(uint64_t v)
{
        if (v > INT64_MAX)
                return json_sprintf("%" PRIu64, v);
        return json_integer((json_int_t)v);
}

static json_t *enum_to_json(const struct ak_field *f, int value)
{
        for (int i = 0; f->names[i]; i++)
                if (i == value)
                        return json_string(f->names[i]);
        return NULL;
}

static json_t *list_to_json(const struct ak_field *f, const void *value)
{
        void *list = (void *)(uintptr_t)schema_at_const(value, f);
        json_t *array = json_array();

        for (uint32_t i = 0; array && i < schema_list_count(value, f); i++) {
                json_t *item = f->kind == AK_FIELD_U64LIST ? u64_to_json(*schema_list_u64(list, i))
                                                           : json_string(schema_list_str(f, list, i));

                if (json_array_append_new(array, item) < 0) {
                        json_decref(array);
                        return NULL;
                }
        }
        return array;
}

static json_t *field_to_json(const struct ak_field *f, const void *value)
{
        const void *p = schema_at_const(value, f);

        switch (f->kind) {
        case AK_FIELD_BOOL:
                return json_boolean(*(const bool *)p);
        case AK_FIELD_U64:
                return u64_to_json(*(const uint64_t *)p);
        case AK_FIELD_STR:
                return json_string(p);
        case AK_FIELD_TEXT:
                return json_string(*(char *const *)p ? *(char *const *)p : "");
        case AK_FIELD_ENUM:
                return enum_to_json(f, *(const int *)p);
        case AK_FIELD_STRLIST:
        case AK_FIELD_U64LIST:
        case AK_FIELD_TEXTLIST:
                return list_to_json(f, value);
        }
        return NULL;
}

json_t *ak_record_to_json(const struct ak_record *r, const void *value)
{
        json_t *object = json_object();

        for (size_t i = 0; object && i < r->field_count; i++) {
                const struct ak_field *f = &r->fields[i];

                if (!f->required && schema_is_zero(f, value))
                        continue;
                if (json_object_set_new(object, f->name, field_to_json(f, value)) < 0) {
                        json_decref(object);
                        return NULL;
                }
        }
        return object;
}

/* --- from JSON ---------------------------------------------------------------- */

static int read_u64(const json_t *json, uint64_t *out)
{
        const char *s = json_string_value(json);
        char *end;

        if (json_is_integer(json)) {
                if (json_integer_value(json) < 0)
                        return -EBADMSG;
                *out = (uint64_t)json_integer_value(json);
                return 0;
        }
        if (!s || *s < '0' || *s > '9')
                return -EBADMSG;
        errno = 0;
        *out = strtoull(s, &end, 10);
        return errno != 0 || *end != '\0' ? -EBADMSG : 0;
}

static int u64_from_json(const struct ak_record *r, const struct ak_field *f, const json_t *json, void *value,
                         char *error)
{
        uint64_t v;

        if (read_u64(json, &v) < 0)
                return schema_fail(r, f, error, "is not an unsigned integer");
        return schema_set_u64(r, f, value, v, error);
}

static int item_from_json(const struct ak_record *r, const struct ak_field *f, const json_t *item,
                          void *value, uint32_t i, char *error)
{
        uint64_t v;

        if (f->kind != AK_FIELD_U64LIST) {
                if (!json_is_string(item))
                        return schema_fail(r, f, error, "item %u is not a string", i);
                return schema_set_list_str(r, f, value, i, json_string_value(item), json_string_length(item),
                                           error);
        }
        if (read_u64(item, &v) < 0)
                return schema_fail(r, f, error, "item %u is not an unsigned integer", i);
        *schema_list_u64(schema_at(value, f), i) = v;
        return 0;
}

static int list_from_json(const struct ak_record *r, const struct ak_field *f, const json_t *json,
                          void *value, char *error)
{
        size_t count = json_array_size(json);
        int rc = json_is_array(json) ? schema_check_count(r, f, count, error)
                                     : schema_fail(r, f, error, "is not a list");

        if (rc == 0)
                rc = schema_list_reserve(value, f, (uint32_t)count);
        for (size_t i = 0; i < count && rc == 0; i++)
                rc = item_from_json(r, f, json_array_get(json, i), value, (uint32_t)i, error);
        if (rc == 0)
                schema_list_set_count(value, f, (uint32_t)count);
        return rc;
}

static int field_from_json(const struct ak_record *r, const struct ak_field *f, const json_t *json,
                           void *value, char *error)
{
        switch (f->kind) {
        case AK_FIELD_BOOL:
                if (!json_is_boolean(json))
                        return schema_fail(r, f, error, "is not a boolean");
                *(bool *)schema_at(value, f) = json_is_true(json);
                return 0;
        case AK_FIELD_U64:
                return u64_from_json(r, f, json, value, error);
        case AK_FIELD_STR:
        case AK_FIELD_TEXT:
        case AK_FIELD_ENUM:
                if (!json_is_string(json))
                        return schema_fail(r, f, error, "is not a string");
                return schema_set_str(r, f, value, json_string_value(json), json_string_length(json), error);
        case AK_FIELD_STRLIST:
        case AK_FIELD_U64LIST:
        case AK_FIELD_TEXTLIST:
                return list_from_json(r, f, json, value, error);
        }
        return -EINVAL;
}

static int object_from_json(const struct ak_record *r, const json_t *json, void *value, char *error)
{
        bool seen[SCHEMA_MAX_FIELDS] = {false};
        const char *key;
        json_t *item;

        if (!json_is_object(json))
                return schema_fail(r, NULL, error, "is not a JSON object");
        json_object_foreach((json_t *)(uintptr_t)json, key, item)
        {
                const struct ak_field *f = schema_find(r, key, strlen(key), 0);
                int rc = f ? field_from_json(r, f, item, value, error)
                           : schema_fail(r, NULL, error, "unknown field \"%.64s\"", key);

                if (rc < 0)
                        return rc;
                seen[f - r->fields] = true;
        }
        return schema_check_required(r, seen, error);
}

int ak_record_from_json(const struct ak_record *r, const json_t *json, void *value,
                        char error[AK_SCHEMA_ERROR_SIZE])
{
        int rc;

        memset(value, 0, r->size);
        error[0] = '\0';
        if (r->field_count > SCHEMA_MAX_FIELDS)
                return -EINVAL;
        rc = object_from_json(r, json, value, error);
        if (rc < 0)
                ak_record_deinit(r, value);
        return rc;
}
