/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table-driven records: a C struct described once by an array of fields, from which come the msgpack
 * codec, the JSON dump, the limits and the reference page. proto/messages.def is the main user; the bus
 * envelope is another.
 *
 * On the wire a record is a msgpack map with string keys. Rules: an unknown key is ignored (later minor
 * version), a missing required key, a wrong type or a value past its limit is an error, a missing optional
 * key is the zero value. Zero values of optional fields are not sent. Bounds are checked before a byte is
 * allocated; nothing recursive is accepted, so depth is bounded by construction.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum ak_field_kind {
        AK_FIELD_BOOL,     /* bool */
        AK_FIELD_U64,      /* uint64_t, at most max_value */
        AK_FIELD_STR,      /* char[max_len + 1], NUL-terminated, valid UTF-8 without NUL */
        AK_FIELD_TEXT,     /* char * on the heap, at most max_len bytes, NULL when empty */
        AK_FIELD_ENUM,     /* int holding an index into `names`; its name on the wire */
        AK_FIELD_STRLIST,  /* struct { uint32_t count; char items[max_count][max_len + 1]; } */
        AK_FIELD_U64LIST,  /* struct { uint32_t count; uint64_t items[max_count]; } */
        AK_FIELD_TEXTLIST, /* struct { uint32_t count; char (*items)[max_len + 1]; }, on the heap, NULL when
                              empty; ak_textlist_add() */
};

struct ak_field {
        const char *name;
        enum ak_field_kind kind;
        bool required;
        size_t offset;
        uint64_t max_value;       /* U64 */
        uint32_t max_len;         /* STR, TEXT, STRLIST, TEXTLIST */
        uint32_t max_count;       /* lists */
        const char *const *names; /* ENUM: NULL-terminated */
        const char *doc;
};

struct ak_record {
        const char *name;
        size_t size; /* sizeof the struct */
        const struct ak_field *fields;
        size_t field_count;
        const char *doc;
};

/* Longest error text that the functions below write. */
#define AK_SCHEMA_ERROR_SIZE 160
#define AK_SCHEMA_MAX_BYTES  (256 * 1024) /* one record on the wire */

/* Appends the record to a growing buffer that the caller frees with free(). 0, -ENOMEM, -EMSGSIZE, -EINVAL.
 */
int ak_record_encode(const struct ak_record *r, const void *value, uint8_t **out, size_t *out_len);
/* Fills *value (zeroed first); on failure it is left zeroed. 0, -EBADMSG, -EMSGSIZE, -ENOMEM; text says which
 * field. */
int ak_record_decode(const struct ak_record *r, const uint8_t *data, size_t len, void *value,
                     char error[AK_SCHEMA_ERROR_SIZE]);
/* Frees TEXT and TEXTLIST fields, zeroes. */
void ak_record_deinit(const struct ak_record *r, void *value);
int ak_record_copy(const struct ak_record *r, void *dst, const void *src); /* deep; dst uninitialised */
bool ak_record_equal(const struct ak_record *r, const void *a, const void *b);
/*
 * Of a TEXTLIST, made by hand: an item more, cut at its end, 0 or -ENOMEM; none left. `list` is the address
 * of the field.
 */
#define AK_TEXTLIST_ADD(list, text) ak_textlist_add((list), sizeof(*(list)->items), (text))
int ak_textlist_add(void *list, size_t item_size, const char *text);
void ak_textlist_clear(void *list);
/* Takes the place of what was in `dst`. 0, -ENOMEM: nothing has changed. */
#define AK_TEXTLIST_COPY(dst, src) ak_textlist_copy((dst), (src), sizeof(*(src)->items))
int ak_textlist_copy(void *dst, const void *src, size_t item_size);
/* New reference, or NULL when out of memory. Zero values of optional fields are left out. */
json_t *ak_record_to_json(const struct ak_record *r, const void *value);
int ak_record_from_json(const struct ak_record *r, const json_t *json, void *value,
                        char error[AK_SCHEMA_ERROR_SIZE]);
/* One Markdown section: title, doc, table of fields with type, limit, required, meaning. */
void ak_record_reference(const struct ak_record *r, FILE *out);
