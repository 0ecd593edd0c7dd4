/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tables of schema.h to JSON schema, in the two dialects that clients read.
 *
 * They differ in little: where definitions live, and what may stand beside a $ref. In v2 Kubernetes puts
 * description and extensions next to it; in v3 that is not allowed, so the reference goes into an allOf of
 * one element, which is also the only form that kubectl's patch builder resolves.
 *
 * The merge keys belong to the *property* (kubectl looks for them there, not in what it refers to).
 */
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/openapi_internal.h"

static json_t *type_only(const char *type)
{
        return oa_check(json_pack("{s:s}", "type", type));
}

static json_t *string_or(const struct oa_doc *doc, const char *other, const char *format)
{
        if (doc->flavour == OA_V2)
                return oa_check(json_pack("{s:s, s:s*}", "type", "string", "format", format));
        return oa_check(json_pack("{s:[{s:s}, {s:s}], s:s*}", "oneOf", "type", "string", "type", other,
                                  "format", format));
}

static json_t *string_schema(struct oa_doc *doc AK_UNUSED, const struct api_schema *s)
{
        json_t *out = type_only("string");

        if (s->choices)
                oa_set(out, "enum", oa_strings(s->choices));
        /* The bound is in bytes, JSON schema counts characters: a looser bound, but a true one. */
        if (s->max_len)
                oa_set(out, "maxLength", json_integer(s->max_len));
        return out;
}

static json_t *bool_schema(struct oa_doc *doc AK_UNUSED, const struct api_schema *s AK_UNUSED)
{
        return type_only("boolean");
}

static json_t *int_schema(struct oa_doc *doc AK_UNUSED, const struct api_schema *s)
{
        json_t *out = oa_check(json_pack("{s:s, s:s}", "type", "integer", "format", "int64"));

        if (s->max > s->min) {
                oa_set(out, "minimum", json_integer(s->min));
                oa_set(out, "maximum", json_integer(s->max));
        }
        return out;
}

static json_t *quantity_schema(struct oa_doc *doc, const struct api_schema *s AK_UNUSED)
{
        return string_or(doc, "number", NULL);
}

static json_t *time_schema(struct oa_doc *doc AK_UNUSED, const struct api_schema *s AK_UNUSED)
{
        return oa_check(json_pack("{s:s, s:s}", "type", "string", "format", "date-time"));
}

static json_t *int_or_string_schema(struct oa_doc *doc, const struct api_schema *s AK_UNUSED)
{
        return string_or(doc, "integer", "int-or-string");
}

static json_t *any_schema(struct oa_doc *doc AK_UNUSED, const struct api_schema *s AK_UNUSED)
{
        return oa_check(json_object());
}

/* A schema that says more than a reference does: {"$ref"} may stand alone, or must be wrapped. */
static json_t *open_for_more(const struct oa_doc *doc, json_t *schema)
{
        if (doc->flavour == OA_V2 || !json_object_get(schema, "$ref"))
                return schema;
        return oa_check(json_pack("{s:[o]}", "allOf", schema));
}

static const char *merge_strategy(enum api_merge merge)
{
        switch (merge) {
        case API_MERGE_BY_KEY:
        case API_MERGE_SET:
                return "merge";
        case API_MERGE_RETAIN_KEYS:
                return "retainKeys";
        case API_MERGE_DEFAULT:
                break;
        }
        return NULL;
}

static json_t *with_merge(const struct oa_doc *doc, json_t *out, const struct api_schema *s)
{
        const char *strategy = merge_strategy(s->merge);

        if (!strategy)
                return out;
        out = open_for_more(doc, out);
        oa_set(out, "x-kubernetes-patch-strategy", json_string(strategy));
        if (s->merge == API_MERGE_BY_KEY) {
                oa_set(out, "x-kubernetes-patch-merge-key", json_string(s->merge_key));
                oa_set(out, "x-kubernetes-list-type", json_string("map"));
                oa_set(out, "x-kubernetes-list-map-keys", oa_check(json_pack("[s]", s->merge_key)));
        } else if (s->merge == API_MERGE_SET) {
                oa_set(out, "x-kubernetes-list-type", json_string("set"));
        }
        return out;
}

static json_t *property(struct oa_doc *doc, const struct api_field *field)
{
        json_t *out = with_merge(doc, oa_schema(doc, field->schema), field->schema);
        const char *text = field->doc ? field->doc : field->schema->doc;

        if (!text)
                return out;
        out = open_for_more(doc, out);
        oa_set(out, "description", json_string(text));
        return out;
}

static json_t *object_schema(struct oa_doc *doc, const struct api_schema *s)
{
        json_t *out = type_only("object");
        json_t *properties = oa_check(json_object());
        json_t *required = oa_check(json_array());

        for (size_t i = 0; i < s->field_count; i++) {
                oa_set(properties, s->fields[i].name, property(doc, &s->fields[i]));
                if (s->fields[i].required)
                        oa_push(required, json_string(s->fields[i].name));
        }
        if (json_array_size(required) > 0)
                oa_set(out, "required", json_incref(required));
        if (s->field_count > 0)
                oa_set(out, "properties", json_incref(properties));
        json_decref(required);
        json_decref(properties);
        return out;
}

static json_t *list_schema(struct oa_doc *doc, const struct api_schema *s)
{
        json_t *out = type_only("array");

        oa_set(out, "items", oa_schema(doc, s->item));
        if (s->max_items)
                oa_set(out, "maxItems", json_integer(s->max_items));
        return out;
}

static json_t *map_schema(struct oa_doc *doc, const struct api_schema *s)
{
        json_t *out = type_only("object");

        oa_set(out, "additionalProperties", oa_schema(doc, s->item));
        return out;
}

static json_t *inlined(struct oa_doc *doc, const struct api_schema *s)
{
        static json_t *(*const makers[])(struct oa_doc *, const struct api_schema *) = {
            [API_TYPE_STRING] = string_schema, [API_TYPE_BOOL] = bool_schema,
            [API_TYPE_INT] = int_schema,       [API_TYPE_QUANTITY] = quantity_schema,
            [API_TYPE_TIME] = time_schema,     [API_TYPE_INT_OR_STRING] = int_or_string_schema,
            [API_TYPE_OBJECT] = object_schema, [API_TYPE_LIST] = list_schema,
            [API_TYPE_MAP] = map_schema,       [API_TYPE_ANY] = any_schema,
        };
        return makers[s->type](doc, s);
}

static json_t *reference(const struct oa_doc *doc, const char *name)
{
        const char *where = doc->flavour == OA_V2 ? "#/definitions/" : "#/components/schemas/";
        json_t *out = oa_check(json_object());

        oa_set(out, "$ref", oa_format("%s%s", where, name));
        return out;
}

/* The place of a definition is taken before it is filled, so that a type may contain itself. */
static json_t *define(struct oa_doc *doc, const struct api_schema *s)
{
        json_t *definition = oa_check(json_object());

        oa_set(doc->definitions, s->name, definition);
        if (s->doc)
                oa_set(definition, "description", json_string(s->doc));
        json_t *body = inlined(doc, s);
        if (json_object_update(definition, body) < 0)
                abort();
        json_decref(body);
        return definition;
}

json_t *oa_schema(struct oa_doc *doc, const struct api_schema *s)
{
        if (!s->name)
                return inlined(doc, s);
        if (!json_object_get(doc->definitions, s->name))
                define(doc, s);
        return reference(doc, s->name);
}

static void claim(json_t *definition, const struct api_kind *kind, const char *name)
{
        if (!json_object_get(definition, OA_GVK))
                oa_set(definition, OA_GVK,
                       oa_check(json_pack("[o]", oa_gvk(kind->group, kind->version, name))));
}

json_t *oa_object_ref(struct oa_doc *doc, const struct api_kind *kind)
{
        json_t *ref = oa_schema(doc, kind->schema);

        claim(json_object_get(doc->definitions, kind->schema->name), kind, kind->kind);
        return ref;
}

/* "io.k8s.api.core.v1.Pod", "PodList" -> "io.k8s.api.core.v1.PodList" */
static char *sibling_name(const char *name, const char *sibling)
{
        const char *dot = strrchr(name, '.');
        char *out = NULL;

        if (asprintf(&out, "%.*s%s", dot ? (int)(dot - name + 1) : 0, name, sibling) < 0)
                abort();
        return out;
}

json_t *oa_list_ref(struct oa_doc *doc, const struct api_kind *kind)
{
        static const struct api_schema text = {.type = API_TYPE_STRING};
        AK_AUTOFREE char *name = sibling_name(kind->schema->name, kind->list_kind);
        const struct api_schema items = {.type = API_TYPE_LIST, .item = kind->schema};
        const struct api_field fields[] = {
            {"apiVersion", &text, false, "Version of this representation of the object."},
            {"kind", &text, false, "What this object is."},
            {"metadata", &oa_schema_list_meta, false, "Of the list."},
            {"items", &items, true, "The objects."},
        };
        const struct api_schema list = {
            .type = API_TYPE_OBJECT,
            .name = name,
            .doc = "A list of objects.",
            .fields = fields,
            .field_count = AK_ARRAY_SIZE(fields),
        };
        json_t *ref = oa_schema(doc, &list);

        claim(json_object_get(doc->definitions, name), kind, kind->list_kind);
        return ref;
}
