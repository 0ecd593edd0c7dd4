/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's types as tables: of each kind its names, verbs and fields. Validation, unknown-field checks,
 * strategic merge keys, OpenAPI and discovery all read these tables; a field is added in one place.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum api_type {
        API_TYPE_STRING,
        API_TYPE_BOOL,
        API_TYPE_INT,      /* integer, min..max */
        API_TYPE_QUANTITY, /* resource.Quantity: "200Mi", "1", "500m", or a number */
        API_TYPE_TIME,     /* RFC 3339 string */
        API_TYPE_INT_OR_STRING,
        API_TYPE_OBJECT, /* fields[] */
        API_TYPE_LIST,   /* of `item` */
        API_TYPE_MAP,    /* string keys, values of `item` */
        API_TYPE_ANY,    /* any JSON: kept, not looked into (bounded by the body limit) */
};

enum api_merge {
        API_MERGE_DEFAULT, /* objects merge, lists and scalars are replaced */
        API_MERGE_BY_KEY,  /* list of objects merged by merge_key (x-kubernetes-patch-strategy: merge) */
        API_MERGE_SET,     /* list of scalars treated as a set */
        API_MERGE_RETAIN_KEYS,
};

struct api_field;

struct api_schema {
        enum api_type type;
        const char *name; /* OpenAPI definition name, e.g. "io.k8s.api.core.v1.PodSpec"; NULL = inlined */
        const char *doc;
        const struct api_field *fields; /* API_TYPE_OBJECT */
        size_t field_count;
        const struct api_schema *item; /* API_TYPE_LIST, API_TYPE_MAP */
        enum api_merge merge;          /* API_TYPE_LIST */
        const char *merge_key;
        uint32_t max_items;         /* 0 = no bound of its own */
        uint32_t max_len;           /* strings, bytes; 0 = no bound of its own */
        int64_t min, max;           /* API_TYPE_INT, where max > min */
        const char *const *choices; /* strings: NULL-terminated, NULL = free */
        /* Format check of a string beyond the above; returns NULL or what is expected ("an IPv4 or IPv6
         * address"). */
        const char *(*check)(const char *value);
        const char *(*check_key)(const char *key); /* the same for the keys of API_TYPE_MAP */
};

struct api_field {
        const char *name;
        const struct api_schema *schema;
        bool required;
        const char *doc;
};

/* A column of `kubectl get`. */
struct api_column {
        const char *name;   /* "Nics" */
        const char *type;   /* "string", "integer", "date" */
        const char *format; /* "name" or "" */
        const char *doc;
        int priority; /* 0 = always, 1 = -o wide */
};

struct api_kind {
        const char *group;   /* "" = core */
        const char *version; /* "v1" */
        const char *kind, *list_kind, *plural, *singular;
        const char *const *short_names; /* NULL-terminated, may be NULL */
        const char *const *categories;  /* "all" */
        bool namespaced;
        bool has_status; /* serves the status subresource */
        const char *const
            *subresources; /* further ones for discovery: "attach", "log"; NULL-terminated or NULL */
        const struct api_schema *schema; /* of the whole object, apiVersion/kind/metadata included */
        const struct api_column *columns;
        size_t column_count;
};

/* All kinds that are served, in discovery order. */
extern const struct api_kind *const api_kinds[];
extern const size_t api_kind_count;
/* NULL when not served. */
const struct api_kind *api_kind_by_plural(const char *group, const char *version, const char *plural);
const struct api_kind *api_kind_by_name(const char *group, const char *version, const char *kind);
