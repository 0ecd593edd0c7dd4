/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI v2 document as protobuf (gnostic's openapi.v2), for clients that accept nothing else: the
 * JSON document, walked once into protobuf-c's structs, and packed.
 *
 * The structs borrow their strings from the JSON; what they need beside is taken from one arena that goes
 * away as a whole. Maps are repeated name/value pairs in that format, and whatever begins with "x-" is a
 * pair whose value is YAML text.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "openapi_v2.pb-c.h"
#include "services/apiserver/openapi.h"
#include "services/apiserver/openapi_internal.h"

struct chunk {
        struct chunk *next;
        max_align_t data[];
};

struct arena {
        struct chunk *chunks;
};

static void arena_deinit(struct arena *a)
{
        while (a->chunks) {
                struct chunk *next = a->chunks->next;
                free(a->chunks);
                a->chunks = next;
        }
}

static void *take(struct arena *a, size_t size)
{
        struct chunk *c = calloc(1, sizeof(*c) + size);

        if (!c)
                abort();
        c->next = a->chunks;
        a->chunks = c;
        return c->data;
}

static void *take_pointers(struct arena *a, size_t count)
{
        return take(a, count * sizeof(void *));
}

/* A fresh message of protobuf-c type T, e.g. NEW(a, Oapb__Schema, oapb__schema). */
#define NEW(arena, T, prefix)                                                                                \
        __extension__({                                                                                      \
                T *new_ = take(arena, sizeof(T));                                                            \
                prefix##__init(new_);                                                                        \
                new_;                                                                                        \
        })

static void text(char **field, const json_t *object, const char *key)
{
        const char *value = json_string_value(json_object_get(object, key));

        if (value)
                *field = (char *)value;
}

static size_t texts(struct arena *a, char ***field, const json_t *array)
{
        size_t n = json_array_size(array);

        *field = take_pointers(a, n);
        for (size_t i = 0; i < n; i++)
                (*field)[i] = (char *)json_string_value(json_array_get(array, i));
        return n;
}

static Oapb__Any *any(struct arena *a, const json_t *value)
{
        Oapb__Any *out = NEW(a, Oapb__Any, oapb__any);
        AK_AUTOFREE char *yaml = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

        if (!yaml)
                abort();
        out->yaml = take(a, strlen(yaml) + 1);
        memcpy(out->yaml, yaml, strlen(yaml));
        return out;
}

static size_t extensions(struct arena *a, Oapb__NamedAny ***field, json_t *object)
{
        const char *key;
        json_t *value;
        size_t n = 0;

        *field = take_pointers(a, json_object_size(object));
        json_object_foreach(object, key, value)
        {
                if (strncmp(key, "x-", 2) != 0)
                        continue;
                Oapb__NamedAny *named = NEW(a, Oapb__NamedAny, oapb__named_any);
                named->name = (char *)key;
                named->value = any(a, value);
                (*field)[n++] = named;
        }
        return n;
}

/* ------------------------------------------------------------------ schemas */

static Oapb__Schema *schema(struct arena *a, json_t *json);

static size_t named_schemas(struct arena *a, Oapb__NamedSchema ***field, json_t *object)
{
        const char *key;
        json_t *value;
        size_t n = 0;

        *field = take_pointers(a, json_object_size(object));
        json_object_foreach(object, key, value)
        {
                Oapb__NamedSchema *named = NEW(a, Oapb__NamedSchema, oapb__named_schema);
                named->name = (char *)key;
                named->value = schema(a, value);
                (*field)[n++] = named;
        }
        return n;
}

static Oapb__Type *type(struct arena *a, const json_t *name)
{
        Oapb__Type *out = NEW(a, Oapb__Type, oapb__type);

        out->value = take_pointers(a, 1);
        out->value[0] = (char *)json_string_value(name);
        out->n_value = 1;
        return out;
}

static Oapb__Items *items(struct arena *a, json_t *json)
{
        Oapb__Items *out = NEW(a, Oapb__Items, oapb__items);

        out->schema = take_pointers(a, 1);
        out->schema[0] = schema(a, json);
        out->n_schema = 1;
        return out;
}

static Oapb__Properties *properties(struct arena *a, json_t *json)
{
        Oapb__Properties *out = NEW(a, Oapb__Properties, oapb__properties);

        out->n_items = named_schemas(a, &out->items, json);
        return out;
}

static Oapb__AdditionalProperties *additional(struct arena *a, json_t *json)
{
        Oapb__AdditionalProperties *out = NEW(a, Oapb__AdditionalProperties, oapb__additional_properties);

        out->schema = schema(a, json);
        return out;
}

static void schema_shape(struct arena *a, Oapb__Schema *out, json_t *json)
{
        json_t *member;

        if ((member = json_object_get(json, "type")))
                out->type = type(a, member);
        if ((member = json_object_get(json, "items")))
                out->items = items(a, member);
        if ((member = json_object_get(json, "properties")))
                out->properties = properties(a, member);
        if ((member = json_object_get(json, "additionalProperties")))
                out->additional_properties = additional(a, member);
}

static void schema_limits(struct arena *a, Oapb__Schema *out, json_t *json)
{
        const json_t *choices = json_object_get(json, "enum");

        out->minimum = json_number_value(json_object_get(json, "minimum"));
        out->maximum = json_number_value(json_object_get(json, "maximum"));
        out->max_length = json_integer_value(json_object_get(json, "maxLength"));
        out->max_items = json_integer_value(json_object_get(json, "maxItems"));
        out->n_required = texts(a, &out->required, json_object_get(json, "required"));
        out->n_choices = json_array_size(choices);
        out->choices = take_pointers(a, out->n_choices);
        for (size_t i = 0; i < out->n_choices; i++)
                out->choices[i] = any(a, json_array_get(choices, i));
}

static Oapb__Schema *schema(struct arena *a, json_t *json)
{
        Oapb__Schema *out = NEW(a, Oapb__Schema, oapb__schema);

        text(&out->ref, json, "$ref");
        text(&out->format, json, "format");
        text(&out->description, json, "description");
        schema_shape(a, out, json);
        schema_limits(a, out, json);
        out->n_extensions = extensions(a, &out->extensions, json);
        return out;
}

/* ------------------------------------------------------------------ parameters and answers */

static Oapb__BodyParameter *body_parameter(struct arena *a, json_t *json)
{
        Oapb__BodyParameter *out = NEW(a, Oapb__BodyParameter, oapb__body_parameter);

        text(&out->name, json, "name");
        text(&out->in, json, "in");
        out->required = json_is_true(json_object_get(json, "required"));
        out->schema = schema(a, json_object_get(json, "schema"));
        return out;
}

static Oapb__PathParameter *path_parameter(struct arena *a, json_t *json)
{
        Oapb__PathParameter *out = NEW(a, Oapb__PathParameter, oapb__path_parameter);

        text(&out->name, json, "name");
        text(&out->in, json, "in");
        text(&out->description, json, "description");
        text(&out->type, json, "type");
        out->required = json_is_true(json_object_get(json, "required"));
        out->unique_items = json_is_true(json_object_get(json, "uniqueItems"));
        return out;
}

static Oapb__QueryParameter *query_parameter(struct arena *a, json_t *json)
{
        Oapb__QueryParameter *out = NEW(a, Oapb__QueryParameter, oapb__query_parameter);

        text(&out->name, json, "name");
        text(&out->in, json, "in");
        text(&out->description, json, "description");
        text(&out->type, json, "type");
        out->required = json_is_true(json_object_get(json, "required"));
        out->unique_items = json_is_true(json_object_get(json, "uniqueItems"));
        return out;
}

static Oapb__NonBodyParameter *non_body_parameter(struct arena *a, json_t *json, const char *in)
{
        Oapb__NonBodyParameter *out = NEW(a, Oapb__NonBodyParameter, oapb__non_body_parameter);

        if (strcmp(in, "path") == 0) {
                out->kind_case = OAPB__NON_BODY_PARAMETER__KIND_PATH;
                out->path = path_parameter(a, json);
        } else {
                out->kind_case = OAPB__NON_BODY_PARAMETER__KIND_QUERY;
                out->query = query_parameter(a, json);
        }
        return out;
}

static Oapb__ParametersItem *parameter(struct arena *a, json_t *json)
{
        const char *in = json_string_value(json_object_get(json, "in"));
        Oapb__ParametersItem *out = NEW(a, Oapb__ParametersItem, oapb__parameters_item);

        out->parameter = NEW(a, Oapb__Parameter, oapb__parameter);
        if (strcmp(in, "body") == 0) {
                out->parameter->kind_case = OAPB__PARAMETER__KIND_BODY;
                out->parameter->body = body_parameter(a, json);
        } else {
                out->parameter->kind_case = OAPB__PARAMETER__KIND_OTHER;
                out->parameter->other = non_body_parameter(a, json, in);
        }
        return out;
}

static size_t parameters(struct arena *a, Oapb__ParametersItem ***field, const json_t *array)
{
        size_t n = json_array_size(array);

        *field = take_pointers(a, n);
        for (size_t i = 0; i < n; i++)
                (*field)[i] = parameter(a, json_array_get(array, i));
        return n;
}

static Oapb__NamedResponse *response(struct arena *a, const char *code, json_t *json)
{
        Oapb__NamedResponse *out = NEW(a, Oapb__NamedResponse, oapb__named_response);
        Oapb__Response *value = NEW(a, Oapb__Response, oapb__response);

        text(&value->description, json, "description");
        value->schema = NEW(a, Oapb__SchemaItem, oapb__schema_item);
        value->schema->schema = schema(a, json_object_get(json, "schema"));
        out->name = (char *)code;
        out->value = NEW(a, Oapb__ResponseValue, oapb__response_value);
        out->value->response = value;
        return out;
}

static Oapb__Responses *responses(struct arena *a, json_t *json)
{
        Oapb__Responses *out = NEW(a, Oapb__Responses, oapb__responses);
        const char *key;
        json_t *value;

        out->codes = take_pointers(a, json_object_size(json));
        json_object_foreach(json, key, value) out->codes[out->n_codes++] = response(a, key, value);
        return out;
}

/* ------------------------------------------------------------------ paths */

static Oapb__Operation *operation(struct arena *a, json_t *json)
{
        if (!json)
                return NULL;
        Oapb__Operation *out = NEW(a, Oapb__Operation, oapb__operation);

        text(&out->description, json, "description");
        text(&out->operation_id, json, "operationId");
        out->n_tags = texts(a, &out->tags, json_object_get(json, "tags"));
        out->n_produces = texts(a, &out->produces, json_object_get(json, "produces"));
        out->n_consumes = texts(a, &out->consumes, json_object_get(json, "consumes"));
        out->n_parameters = parameters(a, &out->parameters, json_object_get(json, "parameters"));
        out->responses = responses(a, json_object_get(json, "responses"));
        out->n_extensions = extensions(a, &out->extensions, json);
        return out;
}

static Oapb__PathItem *path_item(struct arena *a, json_t *json)
{
        Oapb__PathItem *out = NEW(a, Oapb__PathItem, oapb__path_item);

        out->get = operation(a, json_object_get(json, "get"));
        out->put = operation(a, json_object_get(json, "put"));
        out->post = operation(a, json_object_get(json, "post"));
        out->del = operation(a, json_object_get(json, "delete"));
        out->patch = operation(a, json_object_get(json, "patch"));
        out->n_parameters = parameters(a, &out->parameters, json_object_get(json, "parameters"));
        return out;
}

static Oapb__Paths *paths(struct arena *a, json_t *json)
{
        Oapb__Paths *out = NEW(a, Oapb__Paths, oapb__paths);
        const char *key;
        json_t *value;

        out->items = take_pointers(a, json_object_size(json));
        json_object_foreach(json, key, value)
        {
                Oapb__NamedPathItem *named = NEW(a, Oapb__NamedPathItem, oapb__named_path_item);
                named->name = (char *)key;
                named->value = path_item(a, value);
                out->items[out->n_items++] = named;
        }
        return out;
}

static Oapb__Document *document(struct arena *a, json_t *json)
{
        Oapb__Document *out = NEW(a, Oapb__Document, oapb__document);
        json_t *info = json_object_get(json, "info");

        text(&out->swagger, json, "swagger");
        out->info = NEW(a, Oapb__Info, oapb__info);
        text(&out->info->title, info, "title");
        text(&out->info->version, info, "version");
        text(&out->info->description, info, "description");
        out->paths = paths(a, json_object_get(json, "paths"));
        out->definitions = NEW(a, Oapb__Definitions, oapb__definitions);
        out->definitions->n_items =
            named_schemas(a, &out->definitions->items, json_object_get(json, "definitions"));
        return out;
}

int api_openapi_v2_protobuf(uint8_t **out, size_t *len)
{
        AK_CLEANUP(arena_deinit) struct arena arena = {NULL};
        json_t *json = api_openapi_v2();
        const Oapb__Document *doc = document(&arena, json);
        size_t size = oapb__document__get_packed_size(doc);
        uint8_t *packed = malloc(size);

        if (packed) {
                *len = oapb__document__pack(doc, packed);
                *out = packed;
        }
        json_decref(json);
        return packed ? 0 : -ENOMEM;
}
