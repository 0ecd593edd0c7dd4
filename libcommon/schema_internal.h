/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the schema share: checked setters, so that msgpack and JSON obey the same limits. */
#pragma once

#include <string.h>

#include "libcommon/schema.h"

#define SCHEMA_MAX_FIELDS 64  /* of one record */
#define SCHEMA_MAX_ITEMS  256 /* of one list */

static inline void *schema_at(void *value, const struct ak_field *f)
{
        return (char *)value + f->offset;
}

static inline const void *schema_at_const(const void *value, const struct ak_field *f)
{
        return (const char *)value + f->offset;
}

/* What every TEXTLIST looks like; copied in and out, for its own type of `items` is another. */
struct schema_textlist {
        uint32_t count;
        char *items;
};

static inline bool schema_is_list(const struct ak_field *f)
{
        return f->kind == AK_FIELD_STRLIST || f->kind == AK_FIELD_U64LIST || f->kind == AK_FIELD_TEXTLIST;
}

/* Lists: `items` follow `count`, at the alignment of their type; of a TEXTLIST, they are where it points. */
static inline char *schema_list_str(const struct ak_field *f, void *list, uint32_t i)
{
        char *items = (char *)list + sizeof(uint32_t);

        if (f->kind == AK_FIELD_TEXTLIST)
                memcpy(&items, (char *)list + offsetof(struct schema_textlist, items), sizeof(items));
        return items + (size_t)i * (f->max_len + 1);
}

static inline uint64_t *schema_list_u64(void *list, uint32_t i)
{
        return (uint64_t *)(void *)((char *)list + sizeof(uint64_t)) + i;
}

uint32_t schema_list_count(const void *value, const struct ak_field *f);
void schema_list_set_count(void *value, const struct ak_field *f, uint32_t count);
/* Room for the items of a list, before they are set: 0, -ENOMEM. */
int schema_list_reserve(void *value, const struct ak_field *f, uint32_t count);
/* NULL where there is none. `likely` is tried first: fields mostly come in their order. */
const struct ak_field *schema_find(const struct ak_record *r, const char *key, size_t len, size_t likely);
/* Is the field its zero value (and so left out where optional)? */
bool schema_is_zero(const struct ak_field *f, const void *value);

/* 0, -EBADMSG with text, -ENOMEM. */
int schema_set_str(const struct ak_record *r, const struct ak_field *f, void *value, const char *s,
                   size_t len, char *error);
int schema_set_u64(const struct ak_record *r, const struct ak_field *f, void *value, uint64_t v, char *error);
int schema_set_list_str(const struct ak_record *r, const struct ak_field *f, void *value, uint32_t i,
                        const char *s, size_t len, char *error);
int schema_check_count(const struct ak_record *r, const struct ak_field *f, size_t count, char *error);
/* Every required field seen? `seen` is one flag for each field. */
int schema_check_required(const struct ak_record *r, const bool *seen, char *error);
/* Writes "<record>.<field>: <text>" and returns -EBADMSG. */
int schema_fail(const struct ak_record *r, const struct ak_field *f, char *error, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));
