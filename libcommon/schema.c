/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what does not depend on an encoding. The codecs are schema_msgpack.c and schema_json.c. */
#include "libcommon/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/schema_internal.h"
#include "libcommon/utf8.h"

int schema_fail(const struct ak_record *r, const struct ak_field *f, char *error, const char *format, ...)
{
        int n = snprintf(error, AK_SCHEMA_ERROR_SIZE, "%s%s%s: ", r->name, f ? "." : "", f ? f->name : "");
        va_list ap;

        if (n < 0 || n >= AK_SCHEMA_ERROR_SIZE)
                return -EBADMSG;
        va_start(ap, format);
        (void)vsnprintf(error + n, AK_SCHEMA_ERROR_SIZE - (size_t)n, format, ap);
        va_end(ap);
        return -EBADMSG;
}

uint32_t schema_list_count(const void *value, const struct ak_field *f)
{
        uint32_t count;

        memcpy(&count, schema_at_const(value, f), sizeof(count));
        return count;
}

void schema_list_set_count(void *value, const struct ak_field *f, uint32_t count)
{
        memcpy(schema_at(value, f), &count, sizeof(count));
}

int schema_list_reserve(void *value, const struct ak_field *f, uint32_t count)
{
        struct schema_textlist list = {0};

        if (f->kind != AK_FIELD_TEXTLIST)
                return 0;
        ak_textlist_clear(schema_at(value, f)); /* should a key come twice */
        if (count == 0)
                return 0;
        list.items = calloc(count, f->max_len + (size_t)1);
        if (!list.items)
                return -ENOMEM;
        memcpy(schema_at(value, f), &list, sizeof(list));
        return 0;
}

static bool is_named(const struct ak_field *f, const char *key, size_t len)
{
        return strlen(f->name) == len && memcmp(f->name, key, len) == 0; /* a key may hold NUL */
}

const struct ak_field *schema_find(const struct ak_record *r, const char *key, size_t len, size_t likely)
{
        if (len == 0)
                return NULL; /* the parser may give no address then */
        if (likely < r->field_count && is_named(&r->fields[likely], key, len))
                return &r->fields[likely];
        for (size_t i = 0; i < r->field_count; i++)
                if (is_named(&r->fields[i], key, len))
                        return &r->fields[i];
        return NULL;
}

bool schema_is_zero(const struct ak_field *f, const void *value)
{
        const void *p = schema_at_const(value, f);

        switch (f->kind) {
        case AK_FIELD_BOOL:
                return !*(const bool *)p;
        case AK_FIELD_U64:
                return *(const uint64_t *)p == 0;
        case AK_FIELD_STR:
                return *(const char *)p == '\0';
        case AK_FIELD_TEXT:
                return !*(char *const *)p || **(char *const *)p == '\0';
        case AK_FIELD_ENUM:
                return *(const int *)p == 0;
        case AK_FIELD_STRLIST:
        case AK_FIELD_U64LIST:
        case AK_FIELD_TEXTLIST:
                return schema_list_count(value, f) == 0;
        }
        return true;
}

/* --- checked setters -------------------------------------------------------- */

static int check_text(const struct ak_record *r, const struct ak_field *f, const char *s, size_t len,
                      char *error)
{
        if (len > f->max_len)
                return schema_fail(r, f, error, "%zu bytes, at most %u are allowed", len, f->max_len);
        if (!ak_utf8_valid(s, len))
                return schema_fail(r, f, error, "not valid UTF-8, or contains NUL");
        return 0;
}

static void set_bytes(char *dst, const char *s, size_t len)
{
        if (len > 0)
                memcpy(dst, s, len);
        dst[len] = '\0';
}

static int set_enum(const struct ak_record *r, const struct ak_field *f, void *value, const char *s,
                    size_t len, char *error)
{
        for (int i = 0; f->names[i]; i++) {
                if (strlen(f->names[i]) == len && memcmp(f->names[i], s, len) == 0) {
                        *(int *)schema_at(value, f) = i;
                        return 0;
                }
        }
        return schema_fail(r, f, error, "not one of the known values, of which the first is \"%s\"",
                           f->names[0]);
}

int schema_set_str(const struct ak_record *r, const struct ak_field *f, void *value, const char *s,
                   size_t len, char *error)
{
        char **text = schema_at(value, f);
        int rc;

        if (f->kind == AK_FIELD_ENUM)
                return len == 0 ? schema_fail(r, f, error, "empty") : set_enum(r, f, value, s, len, error);
        if (f->kind != AK_FIELD_STR && f->kind != AK_FIELD_TEXT)
                return schema_fail(r, f, error, "is no string");
        rc = check_text(r, f, s, len, error);
        if (rc < 0)
                return rc;
        if (f->kind == AK_FIELD_STR) {
                set_bytes(schema_at(value, f), s, len);
                return 0;
        }
        if (len == 0)
                return 0;
        *text = malloc(len + 1);
        if (!*text)
                return -ENOMEM;
        set_bytes(*text, s, len);
        return 0;
}

static int check_u64(const struct ak_record *r, const struct ak_field *f, uint64_t v, char *error)
{
        if (v > f->max_value)
                return schema_fail(r, f, error, "%" PRIu64 " is more than %" PRIu64, v, f->max_value);
        return 0;
}

int schema_set_u64(const struct ak_record *r, const struct ak_field *f, void *value, uint64_t v, char *error)
{
        int rc;

        if (f->kind != AK_FIELD_U64)
                return schema_fail(r, f, error, "is no number");
        rc = check_u64(r, f, v, error);
        if (rc == 0)
                *(uint64_t *)schema_at(value, f) = v;
        return rc;
}

int schema_set_list_str(const struct ak_record *r, const struct ak_field *f, void *value, uint32_t i,
                        const char *s, size_t len, char *error)
{
        int rc = check_text(r, f, s, len, error);

        if (rc == 0)
                set_bytes(schema_list_str(f, schema_at(value, f), i), s, len);
        return rc;
}

int schema_check_count(const struct ak_record *r, const struct ak_field *f, size_t count, char *error)
{
        if (count > f->max_count || count > SCHEMA_MAX_ITEMS)
                return schema_fail(r, f, error, "%zu items, at most %u are allowed", count, f->max_count);
        return 0;
}

int schema_check_required(const struct ak_record *r, const bool *seen, char *error)
{
        for (size_t i = 0; i < r->field_count; i++)
                if (r->fields[i].required && !seen[i])
                        return schema_fail(r, &r->fields[i], error, "missing, but required");
        return 0;
}

/* --- whole records ------------------------------------------------------------ */

int ak_textlist_copy(void *dst, const void *src, size_t item_size)
{
        struct schema_textlist from, to = {0};

        memcpy(&from, src, sizeof(from));
        if (from.count > 0) {
                to.items = malloc(from.count * item_size);
                if (!to.items)
                        return -ENOMEM;
                memcpy(to.items, from.items, from.count * item_size);
                to.count = from.count;
        }
        ak_textlist_clear(dst);
        memcpy(dst, &to, sizeof(to));
        return 0;
}

int ak_textlist_add(void *list, size_t item_size, const char *text)
{
        struct schema_textlist l;
        char *items;

        memcpy(&l, list, sizeof(l));
        items = realloc(l.items, (l.count + (size_t)1) * item_size);
        if (!items)
                return -ENOMEM;
        (void)snprintf(items + l.count * item_size, item_size, "%s", text);
        l = (struct schema_textlist){.count = l.count + 1, .items = items};
        memcpy(list, &l, sizeof(l));
        return 0;
}

void ak_textlist_clear(void *list)
{
        struct schema_textlist l;

        memcpy(&l, list, sizeof(l));
        free(l.items);
        l = (struct schema_textlist){0};
        memcpy(list, &l, sizeof(l));
}

void ak_record_deinit(const struct ak_record *r, void *value)
{
        for (size_t i = 0; i < r->field_count; i++) {
                const struct ak_field *f = &r->fields[i];

                if (f->kind == AK_FIELD_TEXT)
                        free(*(char **)schema_at(value, f));
                else if (f->kind == AK_FIELD_TEXTLIST)
                        ak_textlist_clear(schema_at(value, f));
        }
        memset(value, 0, r->size);
}

static int copy_text(char **dst, const char *src)
{
        if (!src)
                return 0;
        *dst = strdup(src);
        return *dst ? 0 : -ENOMEM;
}

int ak_record_copy(const struct ak_record *r, void *dst, const void *src)
{
        int rc = 0;

        memcpy(dst, src, r->size);
        for (size_t i = 0; i < r->field_count; i++) { /* never shared with src */
                const struct ak_field *f = &r->fields[i];

                if (f->kind == AK_FIELD_TEXT)
                        *(char **)schema_at(dst, f) = NULL;
                else if (f->kind == AK_FIELD_TEXTLIST)
                        memset(schema_at(dst, f), 0, sizeof(struct schema_textlist));
        }
        for (size_t i = 0; i < r->field_count && rc == 0; i++) {
                const struct ak_field *f = &r->fields[i];

                if (f->kind == AK_FIELD_TEXT)
                        rc = copy_text(schema_at(dst, f), *(char *const *)schema_at_const(src, f));
                else if (f->kind == AK_FIELD_TEXTLIST)
                        rc = ak_textlist_copy(schema_at(dst, f), schema_at_const(src, f),
                                              f->max_len + (size_t)1);
        }
        if (rc < 0)
                ak_record_deinit(r, dst);
        return rc;
}

static bool list_equal(const struct ak_field *f, void *a, void *b, uint32_t count)
{
        for (uint32_t i = 0; i < count; i++) {
                if (f->kind == AK_FIELD_U64LIST) {
                        if (*schema_list_u64(a, i) != *schema_list_u64(b, i))
                                return false;
                } else if (strcmp(schema_list_str(f, a, i), schema_list_str(f, b, i)) != 0) {
                        return false;
                }
        }
        return true;
}

static bool field_equal(const struct ak_field *f, const void *a, const void *b)
{
        const void *x = schema_at_const(a, f), *y = schema_at_const(b, f);

        switch (f->kind) {
        case AK_FIELD_BOOL:
                return *(const bool *)x == *(const bool *)y;
        case AK_FIELD_U64:
                return *(const uint64_t *)x == *(const uint64_t *)y;
        case AK_FIELD_STR:
                return strcmp(x, y) == 0;
        case AK_FIELD_TEXT:
                if (schema_is_zero(f, a) || schema_is_zero(f, b))
                        return schema_is_zero(f, a) == schema_is_zero(f, b);
                return strcmp(*(char *const *)x, *(char *const *)y) == 0;
        case AK_FIELD_ENUM:
                return *(const int *)x == *(const int *)y;
        case AK_FIELD_STRLIST:
        case AK_FIELD_U64LIST:
        case AK_FIELD_TEXTLIST:
                return schema_list_count(a, f) == schema_list_count(b, f) &&
                       list_equal(f, (void *)(uintptr_t)x, (void *)(uintptr_t)y, schema_list_count(a, f));
        }
        return false;
}

bool ak_record_equal(const struct ak_record *r, const void *a, const void *b)
{
        for (size_t i = 0; i < r->field_count; i++)
                if (!field_equal(&r->fields[i], a, b))
                        return false;
        return true;
}

/* --- reference page ------------------------------------------------------------- */

static void write_type(const struct ak_field *f, FILE *out)
{
        switch (f->kind) {
        case AK_FIELD_BOOL:
                (void)fputs("boolean | ", out);
                break;
        case AK_FIELD_U64:
                (void)fputs("integer | ", out);
                if (f->max_value != UINT64_MAX)
                        (void)fprintf(out, "at most %" PRIu64, f->max_value);
                break;
        case AK_FIELD_STR:
        case AK_FIELD_TEXT:
                (void)fprintf(out, "string | %u bytes", f->max_len);
                break;
        case AK_FIELD_ENUM:
                (void)fputs("string | ", out);
                for (size_t i = 0; f->names[i]; i++)
                        (void)fprintf(out, "%s`%s`", i ? ", " : "one of ", f->names[i]);
                break;
        case AK_FIELD_STRLIST:
        case AK_FIELD_TEXTLIST:
                (void)fprintf(out, "list of strings | %u items of %u bytes", f->max_count, f->max_len);
                break;
        case AK_FIELD_U64LIST:
                (void)fprintf(out, "list of integers | %u items", f->max_count);
                break;
        }
}

void ak_record_reference(const struct ak_record *r, FILE *out)
{
        (void)fprintf(out, "## %s\n\n%s\n\n", r->name, r->doc);
        (void)fputs("| field | type | limit | required | meaning |\n|-|-|-|-|-|\n", out);
        for (size_t i = 0; i < r->field_count; i++) {
                const struct ak_field *f = &r->fields[i];

                (void)fprintf(out, "| `%s` | ", f->name);
                write_type(f, out);
                (void)fprintf(out, " | %s | %s |\n", f->required ? "yes" : "", f->doc);
        }
}
