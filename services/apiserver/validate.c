/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation by table. One walk over value and schema together; depth is bounded by the schema, except below
 * API_TYPE_ANY, which is not looked into. A null is the same as an absent field, as in Kubernetes.
 */
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/apiserver/core_internal.h"

#define PATH_MAX_LEN 512
#define ITEMS_MAX    10000

struct walk {
        struct api_causes *causes;
        json_t *unknown;
        char path[PATH_MAX_LEN];
};

static void validate(struct walk *w, const struct api_schema *s, json_t *value);

static const char *type_name(enum api_type type)
{
        static const char *const names[] = {
            [API_TYPE_STRING] = "string", [API_TYPE_BOOL] = "boolean",
            [API_TYPE_INT] = "integer",   [API_TYPE_QUANTITY] = "quantity",
            [API_TYPE_TIME] = "string",   [API_TYPE_INT_OR_STRING] = "integer or string",
            [API_TYPE_OBJECT] = "object", [API_TYPE_LIST] = "array",
            [API_TYPE_MAP] = "object",    [API_TYPE_ANY] = "any",
        };
        return names[type];
}

static void wrong_type(struct walk *w, const struct api_schema *s, const json_t *value)
{
        char detail[64];

        (void)snprintf(detail, sizeof(detail), "must be of type %s", type_name(s->type));
        api_cause(w->causes, API_WRONG_TYPE, w->path, value, detail);
}

/* Appends ".name" or "[index]" to the path and returns its former length, to be given to leave(). */
static size_t enter(struct walk *w, const char *name, size_t index)
{
        size_t len = strlen(w->path);

        if (name)
                (void)snprintf(w->path + len, sizeof(w->path) - len, "%s%.64s", len ? "." : "", name);
        else
                (void)snprintf(w->path + len, sizeof(w->path) - len, "[%zu]", index);
        return len;
}

static void leave(struct walk *w, size_t len)
{
        w->path[len] = '\0';
}

static const struct api_field *field_of(const struct api_schema *s, const char *name)
{
        for (size_t i = 0; i < s->field_count; i++)
                if (strcmp(s->fields[i].name, name) == 0)
                        return &s->fields[i];
        return NULL;
}

static void check_required(struct walk *w, const struct api_schema *s, const json_t *value)
{
        for (size_t i = 0; i < s->field_count; i++) {
                const json_t *v = json_object_get(value, s->fields[i].name);
                bool empty = json_is_string(v) && json_string_length(v) == 0;

                if (!s->fields[i].required || (v && !json_is_null(v) && !empty))
                        continue;
                size_t at = enter(w, s->fields[i].name, 0);
                api_cause(w->causes, API_REQUIRED, w->path, NULL, "");
                leave(w, at);
        }
}

static void validate_object(struct walk *w, const struct api_schema *s, json_t *value)
{
        const char *key;
        json_t *item;
        void *tmp;

        check_required(w, s, value);
        json_object_foreach_safe(value, tmp, key, item)
        {
                const struct api_field *f = field_of(s, key);
                size_t at = enter(w, key, 0);

                if (!f) {
                        if (json_array_size(w->unknown) < 64)
                                (void)json_array_append_new(w->unknown, json_string(w->path));
                        (void)json_object_del(value, key);
                } else if (json_is_null(item)) {
                        (void)json_object_del(value, key);
                } else {
                        validate(w, f->schema, item);
                }
                leave(w, at);
        }
}

static void check_key(struct walk *w, const struct api_schema *s, const char *key)
{
        const char *expected = s->check_key ? s->check_key(key) : NULL;
        json_t *value;

        if (!expected)
                return;
        value = json_string(key);
        api_cause(w->causes, API_INVALID, w->path, value, expected);
        json_decref(value);
}

static void validate_map(struct walk *w, const struct api_schema *s, json_t *value)
{
        const char *key;
        json_t *item;
        void *tmp;

        json_object_foreach_safe(value, tmp, key, item)
        {
                check_key(w, s, key);
                size_t at = enter(w, key, 0);

                if (json_is_null(item))
                        (void)json_object_del(value, key);
                else
                        validate(w, s->item, item);
                leave(w, at);
        }
}

static void check_unique(struct walk *w, const struct api_schema *s, const json_t *list)
{
        json_t *seen = json_object(), *item;
        char field[PATH_MAX_LEN];
        size_t i;

        json_array_foreach(list, i, item)
        {
                const char *name = json_string_value(json_object_get(item, s->merge_key));

                if (name && *name && json_object_get(seen, name)) {
                        (void)snprintf(field, sizeof(field), "%.400s[%zu].%s", w->path, i, s->merge_key);
                        api_cause(w->causes, API_DUPLICATE, field, json_object_get(item, s->merge_key), "");
                }
                if (name)
                        (void)json_object_set_new(seen, name, json_true());
        }
        json_decref(seen);
}

static void validate_list(struct walk *w, const struct api_schema *s, json_t *value)
{
        uint32_t bound = s->max_items ? s->max_items : ITEMS_MAX;
        json_t *item;
        size_t i;

        if (json_array_size(value) > bound) {
                char detail[64];
                (void)snprintf(detail, sizeof(detail), "must have at most %u items", bound);
                api_cause(w->causes, API_TOO_MANY, w->path, NULL, detail);
                return;
        }
        json_array_foreach(value, i, item)
        {
                size_t at = enter(w, NULL, i);
                validate(w, s->item, item);
                leave(w, at);
        }
        if (s->merge == API_MERGE_BY_KEY)
                check_unique(w, s, value);
}

static void check_choice(struct walk *w, const struct api_schema *s, const json_t *value)
{
        char detail[256] = "supported values: ";
        const char *text = json_string_value(value);

        for (const char *const *c = s->choices; *c; c++) {
                size_t used = strlen(detail);
                if (strcmp(*c, text) == 0)
                        return;
                (void)snprintf(detail + used, sizeof(detail) - used, "%s\"%s\"", c == s->choices ? "" : ", ",
                               *c);
        }
        api_cause(w->causes, API_NOT_SUPPORTED, w->path, value, detail);
}

static void validate_string(struct walk *w, const struct api_schema *s, const json_t *value)
{
        const char *text = json_string_value(value), *expected;

        if (s->max_len && json_string_length(value) > s->max_len) {
                char detail[64];
                (void)snprintf(detail, sizeof(detail), "must be at most %u bytes", s->max_len);
                api_cause(w->causes, API_INVALID, w->path, value, detail);
                return;
        }
        if (!*text) /* empty is absent; `required` has been checked by the object */
                return;
        if (s->choices)
                check_choice(w, s, value);
        expected = s->check ? s->check(text) : NULL;
        if (expected)
                api_cause(w->causes, API_INVALID, w->path, value, expected);
}

static void validate_int(struct walk *w, const struct api_schema *s, const json_t *value)
{
        json_int_t n = json_integer_value(value);
        char detail[96];

        if (s->max <= s->min || (n >= s->min && n <= s->max))
                return;
        (void)snprintf(detail, sizeof(detail), "must be between %lld and %lld", (long long)s->min,
                       (long long)s->max);
        api_cause(w->causes, API_INVALID, w->path, value, detail);
}

static void validate_quantity(struct walk *w, const json_t *value)
{
        int64_t milli;
        bool good = json_is_string(value) ? api_quantity_parse(json_string_value(value), &milli) == 0
                                          : json_number_value(value) >= 0 && json_number_value(value) < 1e15;

        if (!good)
                api_cause(w->causes, API_INVALID, w->path, value,
                          "quantities must be non-negative numbers with an optional suffix such as m, k, Ki, "
                          "Mi, Gi");
}

static void validate_time(struct walk *w, const json_t *value)
{
        uint64_t us;

        if (ak_rfc3339_parse(json_string_value(value), &us) < 0)
                api_cause(w->causes, API_INVALID, w->path, value, "must be an RFC 3339 time");
}

static bool type_fits(enum api_type type, const json_t *value)
{
        switch (type) {
        case API_TYPE_STRING:
        case API_TYPE_TIME:
                return json_is_string(value);
        case API_TYPE_BOOL:
                return json_is_boolean(value);
        case API_TYPE_INT:
                return json_is_integer(value);
        case API_TYPE_QUANTITY:
                return json_is_string(value) || json_is_number(value);
        case API_TYPE_INT_OR_STRING:
                return json_is_string(value) || json_is_integer(value);
        case API_TYPE_OBJECT:
        case API_TYPE_MAP:
                return json_is_object(value);
        case API_TYPE_LIST:
                return json_is_array(value);
        default:
                return true;
        }
}

static void validate(struct walk *w, const struct api_schema *s, json_t *value)
{
        if (!type_fits(s->type, value)) {
                wrong_type(w, s, value);
                return;
        }
        switch (s->type) {
        case API_TYPE_OBJECT:
                validate_object(w, s, value);
                break;
        case API_TYPE_MAP:
                validate_map(w, s, value);
                break;
        case API_TYPE_LIST:
                validate_list(w, s, value);
                break;
        case API_TYPE_STRING:
                validate_string(w, s, value);
                break;
        case API_TYPE_INT:
                validate_int(w, s, value);
                break;
        case API_TYPE_QUANTITY:
                validate_quantity(w, value);
                break;
        case API_TYPE_TIME:
                validate_time(w, value);
                break;
        default:
                break;
        }
}

void api_validate(const struct api_schema *schema, json_t *value, const char *path, struct api_causes *causes,
                  json_t *unknown)
{
        struct walk w = {.causes = causes, .unknown = unknown};

        (void)snprintf(w.path, sizeof(w.path), "%s", path);
        validate(&w, schema, value);
}
