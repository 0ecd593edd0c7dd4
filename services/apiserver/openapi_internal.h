/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files behind openapi.h share.
 *
 * A document is made from constant tables, so its size is known before it is built: running out of memory
 * on the way aborts (oa_set, oa_push) instead of being threaded through a hundred callers.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "services/apiserver/schema.h"

#define OA_GVK "x-kubernetes-group-version-kind"

enum oa_flavour { OA_V2, OA_V3 };

/* One document under construction; `definitions` collects the named schemas that were referred to. */
struct oa_doc {
        enum oa_flavour flavour;
        json_t *definitions;
};

/* All steal `value`; NULL (out of memory) aborts. */
void oa_set(json_t *object, const char *key, json_t *value);
void oa_push(json_t *array, json_t *value);
json_t *oa_check(json_t *value);
json_t *oa_strings(const char *const *strings); /* NULL-terminated or NULL -> array */
/* printf to a JSON string. */
json_t *oa_format(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* {"group": …, "version": …, "kind": …} */
json_t *oa_gvk(const char *group, const char *version, const char *kind);

/* openapi_schema.c: schemas. The named ones land in doc->definitions, a reference is returned for them. */
json_t *oa_schema(struct oa_doc *doc, const struct api_schema *schema);
json_t *oa_object_ref(struct oa_doc *doc, const struct api_kind *kind);
json_t *oa_list_ref(struct oa_doc *doc, const struct api_kind *kind);

/* openapi_meta.c: what every group uses (meta.k8s.io/v1). */
extern const struct api_schema oa_schema_status;
extern const struct api_schema oa_schema_delete_options;
extern const struct api_schema oa_schema_list_meta;
extern const struct api_schema oa_schema_patch;

/* openapi_paths.c: adds all paths of a kind. */
void oa_paths_of_kind(struct oa_doc *doc, json_t *paths, const struct api_kind *kind);

/* A subresource beside "status": what it answers and how it is called. Shared by discovery and paths. */
struct oa_subresource {
        const char *name;
        const char *kind;           /* of what it takes or answers; NULL = the resource's own */
        const char *const *verbs;   /* discovery */
        const char *const *methods; /* HTTP, lower case */
        const char *content_type;   /* of the answer */
        unsigned int query;         /* oa_query bits */
        bool has_body;
        const char *group, *version; /* of that kind; NULL = the resource's own */
};
const struct oa_subresource *oa_subresource_find(const char *name);

/* Groups of query parameters; openapi_paths.c holds the table. */
enum oa_query {
        OA_QUERY_PRETTY = 1U << 0,
        OA_QUERY_LIST = 1U << 1,
        OA_QUERY_WATCH = 1U << 2,
        OA_QUERY_WRITE = 1U << 3,
        OA_QUERY_VALIDATE = 1U << 4,
        OA_QUERY_DELETE = 1U << 5,
        OA_QUERY_ATTACH = 1U << 6,
        OA_QUERY_LOG = 1U << 7,
};

/* "/api/v1" or "/apis/GROUP/VERSION" without the first slash, as in the OpenAPI v3 index. */
json_t *oa_gv_path(const char *group, const char *version);
