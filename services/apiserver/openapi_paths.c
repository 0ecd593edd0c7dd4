/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths of a kind: one table of operations, from which each path item comes.
 *
 * kubectl reads more from here than from the schemas: a PATCH operation that names the kind and lists
 * `fieldValidation`, `dryRun` and `strategic-merge-patch+json` decides whether it validates on the server,
 * offers --dry-run=server, and how it computes the patch of an apply; `explain` finds the kind of a resource
 * by the path of its list.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/openapi_internal.h"

struct parameter {
        enum oa_query group;
        const char *name, *type, *doc;
};

static const struct parameter parameters[] = {
    {OA_QUERY_PRETTY, "pretty", "string", "Indent the answer when \"true\"."},
    {OA_QUERY_LIST, "continue", "string", "Token of the next piece of a limited list."},
    {OA_QUERY_LIST, "fieldSelector", "string", "Only objects whose fields match."},
    {OA_QUERY_LIST, "labelSelector", "string", "Only objects whose labels match."},
    {OA_QUERY_LIST, "limit", "integer", "Longest list to return; the rest by `continue`."},
    {OA_QUERY_LIST, "resourceVersion", "string", "State to read, or to start the watch after."},
    {OA_QUERY_WATCH, "allowWatchBookmarks", "boolean", "Send BOOKMARK events."},
    {OA_QUERY_WATCH, "timeoutSeconds", "integer", "End the watch after this time."},
    {OA_QUERY_WATCH, "watch", "boolean", "Stream changes instead of a list."},
    {OA_QUERY_WRITE, "dryRun", "string", "\"All\": run every check, store nothing."},
    {OA_QUERY_WRITE, "fieldManager", "string", "Name of who makes the change."},
    {OA_QUERY_VALIDATE, "fieldValidation", "string",
     "What to do with unknown and duplicate fields: Strict (refuse), Warn, Ignore."},
    {OA_QUERY_DELETE, "dryRun", "string", "\"All\": run every check, store nothing."},
    {OA_QUERY_DELETE, "gracePeriodSeconds", "integer", "Time for the VM to shut down; 0 = at once."},
    {OA_QUERY_DELETE, "orphanDependents", "boolean", "The older form: true is Orphan, false Background."},
    {OA_QUERY_DELETE, "propagationPolicy", "string",
     "What becomes of dependents: Background (deleted), Foreground (deleted first), Orphan (kept)."},
    {OA_QUERY_ATTACH, "container", "string", "The VM; there is only one."},
    {OA_QUERY_ATTACH, "stdin", "boolean", "Connect the keyboard."},
    {OA_QUERY_ATTACH, "stdout", "boolean", "Connect the output."},
    {OA_QUERY_ATTACH, "stderr", "boolean", "A serial console has none."},
    {OA_QUERY_ATTACH, "tty", "boolean", "Raw terminal."},
    {OA_QUERY_LOG, "container", "string", "The VM; there is only one."},
    {OA_QUERY_LOG, "follow", "boolean", "Stream on."},
    {OA_QUERY_LOG, "limitBytes", "integer", "Stop after this many bytes."},
    {OA_QUERY_LOG, "tailLines", "integer", "Only the last lines."},
};

enum place { PLACE_ALL, PLACE_COLLECTION, PLACE_ITEM, PLACE_STATUS };
enum body { BODY_NONE, BODY_OBJECT, BODY_PATCH, BODY_DELETE };
enum answer { ANSWER_OBJECT, ANSWER_LIST, ANSWER_STATUS };

struct operation {
        enum place place;
        const char *method, *action, *verb; /* verb: of the operation ID, "replace" */
        enum body body;
        enum answer answer;
        unsigned int query;
        int also; /* a second success code, 0 = none */
        const char *doc;
};

#define LIST_QUERY   (OA_QUERY_PRETTY | OA_QUERY_LIST | OA_QUERY_WATCH)
#define WRITE_QUERY  (OA_QUERY_PRETTY | OA_QUERY_WRITE | OA_QUERY_VALIDATE)
#define DELETE_QUERY (OA_QUERY_PRETTY | OA_QUERY_DELETE)

static const struct operation operations[] = {
    {PLACE_ALL, "get", "list", "list", BODY_NONE, ANSWER_LIST, LIST_QUERY, 0,
     "list or watch, all namespaces:"},
    {PLACE_COLLECTION, "get", "list", "list", BODY_NONE, ANSWER_LIST, LIST_QUERY, 0, "list or watch:"},
    {PLACE_COLLECTION, "post", "post", "create", BODY_OBJECT, ANSWER_OBJECT, WRITE_QUERY, 201, "create:"},
    {PLACE_COLLECTION, "delete", "deletecollection", "deleteCollection", BODY_DELETE, ANSWER_LIST,
     DELETE_QUERY | OA_QUERY_LIST, 0, "delete all that match:"},
    {PLACE_ITEM, "get", "get", "read", BODY_NONE, ANSWER_OBJECT, OA_QUERY_PRETTY, 0, "read:"},
    {PLACE_ITEM, "put", "put", "replace", BODY_OBJECT, ANSWER_OBJECT, WRITE_QUERY, 0, "replace:"},
    {PLACE_ITEM, "patch", "patch", "patch", BODY_PATCH, ANSWER_OBJECT, WRITE_QUERY, 0, "patch:"},
    {PLACE_ITEM, "delete", "delete", "delete", BODY_DELETE, ANSWER_STATUS, DELETE_QUERY, 202, "delete:"},
    {PLACE_STATUS, "get", "get", "read", BODY_NONE, ANSWER_OBJECT, OA_QUERY_PRETTY, 0, "read the status of:"},
    {PLACE_STATUS, "put", "put", "replace", BODY_OBJECT, ANSWER_OBJECT, WRITE_QUERY, 0,
     "replace the status of:"},
    {PLACE_STATUS, "patch", "patch", "patch", BODY_PATCH, ANSWER_OBJECT, WRITE_QUERY, 0,
     "patch the status of:"},
};

static const char *const patch_types[] = {"application/json-patch+json", "application/merge-patch+json",
                                          "application/strategic-merge-patch+json", NULL};
static const char *const json_only[] = {"application/json", NULL};

static const char *const connect_verbs[] = {"create", "get", NULL};
static const char *const get_verb[] = {"get", NULL};
static const char *const create_verb[] = {"create", NULL};
static const char *const connect_methods[] = {"get", "post", NULL};
static const char *const post_method[] = {"post", NULL};

static const struct oa_subresource subresources[] = {
    {"attach", "PodAttachOptions", connect_verbs, connect_methods, "*/*", OA_QUERY_ATTACH, false, NULL, NULL},
    {"log", NULL, get_verb, get_verb, "text/plain", OA_QUERY_LOG, false, NULL, NULL},
    {"binding", "Binding", create_verb, post_method, "application/json", OA_QUERY_WRITE, true, NULL, NULL},
    {"eviction", "Eviction", create_verb, post_method, "application/json", OA_QUERY_WRITE, true, "policy",
     "v1"},
};

static const struct oa_subresource other_subresource = {
    NULL, NULL, get_verb, get_verb, "application/json", OA_QUERY_PRETTY, false, NULL, NULL};

const struct oa_subresource *oa_subresource_find(const char *name)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(subresources); i++)
                if (strcmp(subresources[i].name, name) == 0)
                        return &subresources[i];
        return &other_subresource;
}

/* ------------------------------------------------------------------ parameters */

static json_t *plain_parameter(const struct oa_doc *doc, const char *in, const char *name, const char *type,
                               const char *text)
{
        json_t *out = oa_check(json_pack("{s:s, s:s, s:s}", "name", name, "in", in, "description", text));

        if (strcmp(in, "path") == 0)
                oa_set(out, "required", json_true());
        if (doc->flavour == OA_V2) {
                oa_set(out, "type", json_string(type));
                oa_set(out, "uniqueItems", json_true());
        } else {
                oa_set(out, "schema", oa_check(json_pack("{s:s, s:b}", "type", type, "uniqueItems", 1)));
        }
        return out;
}

static json_t *query_parameters(const struct oa_doc *doc, unsigned int groups)
{
        json_t *out = oa_check(json_array());

        for (size_t i = 0; i < AK_ARRAY_SIZE(parameters); i++)
                if (groups & parameters[i].group)
                        oa_push(out, plain_parameter(doc, "query", parameters[i].name, parameters[i].type,
                                                     parameters[i].doc));
        return out;
}

static json_t *path_parameters(const struct oa_doc *doc, bool name, bool name_space)
{
        json_t *out = oa_check(json_array());

        if (name)
                oa_push(out, plain_parameter(doc, "path", "name", "string", "Name of the object."));
        if (name_space)
                oa_push(out, plain_parameter(doc, "path", "namespace", "string", "Namespace of the object."));
        return out;
}

/* ------------------------------------------------------------------ bodies and answers */

/* {TYPE: {"schema": S}, …}; takes the reference of `schema`. */
static json_t *content(const char *const *types, json_t *schema)
{
        json_t *out = oa_check(json_object());

        for (; *types; types++)
                oa_set(out, *types, oa_check(json_pack("{s:O}", "schema", schema)));
        json_decref(schema);
        return out;
}

static void set_body(const struct oa_doc *doc, json_t *op, const char *const *types, bool required,
                     json_t *schema)
{
        if (doc->flavour == OA_V3) {
                json_t *body = oa_check(json_pack("{s:o}", "content", content(types, schema)));
                if (required)
                        oa_set(body, "required", json_true());
                oa_set(op, "requestBody", body);
                return;
        }
        json_t *body = oa_check(json_pack("{s:s, s:s, s:o}", "in", "body", "name", "body", "schema", schema));
        if (required)
                oa_set(body, "required", json_true());
        oa_push(json_object_get(op, "parameters"), body);
        oa_set(op, "consumes", oa_strings(types));
}

static void set_answers(const struct oa_doc *doc, json_t *op, const char *type, int also, json_t *schema)
{
        const char *const types[] = {type, NULL};
        json_t *answer = oa_check(json_pack("{s:s}", "description", "Success"));
        json_t *answers = oa_check(json_object());

        if (doc->flavour == OA_V3) {
                oa_set(answer, "content", content(types, schema));
        } else {
                oa_set(answer, "schema", schema);
                oa_set(op, "produces", oa_strings(types));
        }
        oa_set(answers, "200", answer);
        if (also) {
                char code[12];
                (void)snprintf(code, sizeof(code), "%d", also);
                oa_set(answers, code, json_incref(answer));
        }
        oa_set(op, "responses", answers);
}

static json_t *answer_schema(struct oa_doc *doc, const struct api_kind *kind, enum answer answer)
{
        switch (answer) {
        case ANSWER_LIST:
                return oa_list_ref(doc, kind);
        case ANSWER_STATUS:
                return oa_schema(doc, &oa_schema_status);
        case ANSWER_OBJECT:
                break;
        }
        return oa_object_ref(doc, kind);
}

static void set_operation_body(struct oa_doc *doc, json_t *op, const struct api_kind *kind, enum body body)
{
        if (body == BODY_OBJECT)
                set_body(doc, op, json_only, true, oa_object_ref(doc, kind));
        else if (body == BODY_PATCH)
                set_body(doc, op, patch_types, true, oa_schema(doc, &oa_schema_patch));
        else if (body == BODY_DELETE)
                set_body(doc, op, json_only, false, oa_schema(doc, &oa_schema_delete_options));
}

/* ------------------------------------------------------------------ operations */

/* "vpc.alkaid.io", "v1" -> "VpcAlkaidIoV1"; "" -> "CoreV1" */
static void group_title(const struct api_kind *kind, char *out, size_t size)
{
        bool start = true;
        size_t n = 0;

        if (!*kind->group)
                n = (size_t)snprintf(out, size, "Core");
        for (const char *c = kind->group; *c && n + 4 < size; c++) {
                bool word = isalnum((unsigned char)*c);
                if (word)
                        out[n++] = (char)(start ? toupper((unsigned char)*c) : *c);
                start = !word;
        }
        (void)snprintf(out + n, size - n, "%c%s", toupper((unsigned char)kind->version[0]),
                       kind->version + 1);
}

static json_t *operation_id(const struct api_kind *kind, enum place place, const char *verb, const char *sub)
{
        const char first[] = {(char)toupper((unsigned char)*sub), '\0'};
        char title[128];

        group_title(kind, title, sizeof(title));
        return oa_format("%s%s%s%s%s%s%s", verb, title,
                         kind->namespaced && place != PLACE_ALL ? "Namespaced" : "", kind->kind, first,
                         *sub ? sub + 1 : "", place == PLACE_ALL ? "ForAllNamespaces" : "");
}

static json_t *new_operation(const struct oa_doc *doc, const struct api_kind *kind, const char *action,
                             unsigned int query)
{
        json_t *op = oa_check(json_object());

        oa_set(op, "tags", json_pack("[o]", oa_gv_path(kind->group, kind->version)));
        oa_set(op, "parameters", query_parameters(doc, query));
        oa_set(op, "x-kubernetes-action", json_string(action));
        return op;
}

static json_t *operation(struct oa_doc *doc, const struct api_kind *kind, const struct operation *o)
{
        json_t *op = new_operation(doc, kind, o->action, o->query);

        oa_set(op, "description", oa_format("%s %s", o->doc, kind->kind));
        oa_set(op, "operationId",
               operation_id(kind, o->place, o->verb, o->place == PLACE_STATUS ? "status" : ""));
        oa_set(op, OA_GVK, oa_gvk(kind->group, kind->version, kind->kind));
        set_operation_body(doc, op, kind, o->body);
        set_answers(doc, op, "application/json", o->also, answer_schema(doc, kind, o->answer));
        return op;
}

static json_t *sub_operation(struct oa_doc *doc, const struct api_kind *kind, const char *name,
                             const char *method)
{
        const struct oa_subresource *sub = oa_subresource_find(name);
        json_t *op = new_operation(doc, kind, "connect", sub->query);

        oa_set(op, "description", oa_format("%s of: %s", name, kind->kind));
        oa_set(op, "operationId", operation_id(kind, PLACE_ITEM, method, name));
        oa_set(op, OA_GVK,
               oa_gvk(sub->group ? sub->group : kind->group, sub->version ? sub->version : kind->version,
                      sub->kind ? sub->kind : kind->kind));
        if (sub->has_body)
                set_body(doc, op, json_only, true, oa_check(json_pack("{s:s}", "type", "object")));
        set_answers(doc, op, sub->content_type, 0, oa_check(json_pack("{s:s}", "type", "string")));
        return op;
}

/* ------------------------------------------------------------------ path items */

static json_t *path_name(const struct api_kind *kind, enum place place, const char *sub)
{
        json_t *base = oa_gv_path(kind->group, kind->version);
        json_t *out = oa_format("/%s%s/%s%s%s%s", json_string_value(base),
                                kind->namespaced && place != PLACE_ALL ? "/namespaces/{namespace}" : "",
                                kind->plural, place >= PLACE_ITEM ? "/{name}" : "", *sub ? "/" : "", sub);

        json_decref(base);
        return out;
}

static void add_item(struct oa_doc *doc, json_t *paths, const struct api_kind *kind, enum place place,
                     const char *sub, json_t *item)
{
        json_t *name = path_name(kind, place, sub);
        json_t *common = path_parameters(doc, place >= PLACE_ITEM, kind->namespaced && place != PLACE_ALL);

        if (json_array_size(common) > 0)
                oa_set(item, "parameters", json_incref(common));
        json_decref(common);
        oa_set(paths, json_string_value(name), item);
        json_decref(name);
}

static void add_place(struct oa_doc *doc, json_t *paths, const struct api_kind *kind, enum place place)
{
        json_t *item = oa_check(json_object());

        for (size_t i = 0; i < AK_ARRAY_SIZE(operations); i++)
                if (operations[i].place == place)
                        oa_set(item, operations[i].method, operation(doc, kind, &operations[i]));
        add_item(doc, paths, kind, place, place == PLACE_STATUS ? "status" : "", item);
}

static void add_subresource(struct oa_doc *doc, json_t *paths, const struct api_kind *kind, const char *name)
{
        const struct oa_subresource *sub = oa_subresource_find(name);
        json_t *item = oa_check(json_object());

        for (const char *const *m = sub->methods; *m; m++)
                oa_set(item, *m, sub_operation(doc, kind, name, *m));
        add_item(doc, paths, kind, PLACE_ITEM, name, item);
}

void oa_paths_of_kind(struct oa_doc *doc, json_t *paths, const struct api_kind *kind)
{
        if (kind->namespaced)
                add_place(doc, paths, kind, PLACE_ALL);
        add_place(doc, paths, kind, PLACE_COLLECTION);
        add_place(doc, paths, kind, PLACE_ITEM);
        if (kind->has_status)
                add_place(doc, paths, kind, PLACE_STATUS);
        for (const char *const *s = kind->subresources; s && *s; s++)
                add_subresource(doc, paths, kind, *s);
}
