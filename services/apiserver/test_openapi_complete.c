/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true of the documents whatever the table holds. Linked twice: with the small table of the
 * tests and with the real one, so that a kind added there without a name, a list or a merge key shows here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "openapi_v2.pb-c.h"
#include "services/apiserver/openapi.h"
#include "services/apiserver/openapi_internal.h"

/* ------------------------------------------------------------------ references */

static void check_refs(json_t *root, json_t *json, size_t *seen)
{
        const char *key;
        json_t *value;
        size_t i;

        json_array_foreach(json, i, value) check_refs(root, value, seen);
        json_object_foreach(json, key, value)
        {
                check_refs(root, value, seen);
                if (strcmp(key, "$ref") != 0)
                        continue;
                const char *name = strrchr(json_string_value(value), '/') + 1;
                if (!json_object_get(root, name))
                        print_error("reference to %s leads nowhere\n", name);
                assert_non_null(json_object_get(root, name));
                (*seen)++;
        }
}

static void test_references_resolve(void **state AK_UNUSED)
{
        json_t *v2 = api_openapi_v2();
        size_t seen = 0;

        check_refs(json_object_get(v2, "definitions"), v2, &seen);
        assert_true(seen > 20);
        for (size_t i = 0; i < api_kind_count; i++) {
                json_t *v3 = api_openapi_v3(api_kinds[i]->group, api_kinds[i]->version);
                seen = 0;
                check_refs(json_object_get(json_object_get(v3, "components"), "schemas"), v3, &seen);
                assert_true(seen > 10);
                json_decref(v3);
        }
        json_decref(v2);
}

/* ------------------------------------------------------------------ every kind is there */

static bool has_gvk(json_t *definitions, const char *group, const char *version, const char *kind)
{
        json_t *want = oa_gvk(group, version, kind);
        const char *name;
        json_t *definition;
        bool found = false;

        json_object_foreach(definitions, name,
                            definition) if (json_equal(json_array_get(json_object_get(definition, OA_GVK), 0),
                                                       want)) found = true;
        json_decref(want);
        return found;
}

/* How many path items have a PATCH of this kind with the parameter and the patch type that kubectl looks for.
 */
static int patches_of_kind(json_t *paths, json_t *gvk)
{
        const char *path;
        json_t *item;
        int n = 0;

        json_object_foreach(paths, path, item)
        {
                json_t *patch = json_object_get(item, "patch");
                if (!patch || !json_equal(json_object_get(patch, OA_GVK), gvk))
                        continue;
                AK_AUTOFREE char *text = json_dumps(patch, 0);
                assert_non_null(strstr(text, "\"fieldValidation\""));
                assert_non_null(strstr(text, "\"dryRun\""));
                assert_non_null(strstr(text, "application/strategic-merge-patch+json"));
                n++;
        }
        return n;
}

/* kubectl apply looks each nested map up, and fails on one that is not in the schema. */
static void check_metadata(json_t *schemas, const struct api_kind *k)
{
        json_t *object = json_object_get(schemas, k->schema->name);
        json_t *metadata = json_object_get(json_object_get(object, "properties"), "metadata");
        json_t *ref = json_object_get(metadata, "$ref");

        if (!ref)
                ref = json_object_get(json_array_get(json_object_get(metadata, "allOf"), 0), "$ref");
        if (ref)
                metadata = json_object_get(schemas, strrchr(json_string_value(ref), '/') + 1);
        assert_non_null(json_object_get(json_object_get(metadata, "properties"), "annotations"));
        assert_non_null(json_object_get(json_object_get(metadata, "properties"), "labels"));
}

static void test_every_kind(void **state AK_UNUSED)
{
        json_t *v2 = api_openapi_v2();

        for (size_t i = 0; i < api_kind_count; i++) {
                const struct api_kind *k = api_kinds[i];
                json_t *v3 = api_openapi_v3(k->group, k->version);
                json_t *schemas = json_object_get(json_object_get(v3, "components"), "schemas");
                json_t *gvk = oa_gvk(k->group, k->version, k->kind);
                int patches = k->has_status ? 2 : 1;

                check_metadata(schemas, k);
                assert_true(has_gvk(schemas, k->group, k->version, k->kind));
                assert_true(has_gvk(schemas, k->group, k->version, k->list_kind));
                assert_true(has_gvk(json_object_get(v2, "definitions"), k->group, k->version, k->kind));
                assert_int_equal(patches_of_kind(json_object_get(v3, "paths"), gvk), patches);
                assert_int_equal(patches_of_kind(json_object_get(v2, "paths"), gvk), patches);
                json_decref(gvk);
                json_decref(v3);
        }
        json_decref(v2);
}

/* Strategy and key stand together, and the key is a field of the list's items. */
static void check_merge_keys(json_t *definitions, json_t *json)
{
        const char *key;
        json_t *value;

        json_object_foreach(json, key, value)
        {
                check_merge_keys(definitions, value);
                if (strcmp(key, "x-kubernetes-patch-merge-key") != 0)
                        continue;
                json_t *items = json_object_get(json, "items");
                json_t *ref = json_object_get(items, "$ref");
                if (ref)
                        items = json_object_get(definitions, strrchr(json_string_value(ref), '/') + 1);
                assert_non_null(
                    json_object_get(json_object_get(items, "properties"), json_string_value(value)));
        }
}

static void test_merge_keys(void **state AK_UNUSED)
{
        json_t *v2 = api_openapi_v2();
        AK_AUTOFREE char *text = json_dumps(v2, 0);

        assert_non_null(strstr(text, "x-kubernetes-patch-merge-key"));
        check_merge_keys(json_object_get(v2, "definitions"), v2);
        json_decref(v2);
}

static void test_operation_ids_differ(void **state AK_UNUSED)
{
        json_t *v2 = api_openapi_v2();
        json_t *seen = json_object();
        const char *path, *method;
        json_t *item, *op;

        json_object_foreach(json_object_get(v2, "paths"), path, item) json_object_foreach(item, method, op)
        {
                const char *id = json_string_value(json_object_get(op, "operationId"));
                if (!id)
                        continue;
                assert_null(json_object_get(seen, id));
                json_object_set_new(seen, id, json_true());
        }
        assert_true(json_object_size(seen) >= api_kind_count * 8);
        json_decref(seen);
        json_decref(v2);
}

static void test_discovery_lists_every_kind(void **state AK_UNUSED)
{
        for (size_t i = 0; i < api_kind_count; i++) {
                const struct api_kind *k = api_kinds[i];
                json_t *plain = api_discovery_resources(k->group, k->version);
                json_t *aggregated = api_discovery_aggregated(!*k->group, "v2");
                AK_AUTOFREE char *a = json_dumps(plain, 0);
                AK_AUTOFREE char *b = json_dumps(aggregated, 0);
                char want[300];

                (void)snprintf(want, sizeof(want), "\"name\": \"%s\"", k->plural);
                assert_non_null(strstr(a, want));
                (void)snprintf(want, sizeof(want), "\"resource\": \"%s\"", k->plural);
                assert_non_null(strstr(b, want));
                json_decref(plain);
                json_decref(aggregated);
        }
}

/* ------------------------------------------------------------------ protobuf decodes back to the JSON */

static void put_text(json_t *o, const char *key, const char *value)
{
        if (*value)
                oa_set(o, key, json_string(value));
}

static void put_texts(json_t *o, const char *key, size_t n, char **values)
{
        json_t *array = oa_check(json_array());

        for (size_t i = 0; i < n; i++)
                oa_push(array, json_string(values[i]));
        if (n > 0)
                oa_set(o, key, json_incref(array));
        json_decref(array);
}

static json_t *from_any(const Oapb__Any *any)
{
        return oa_check(json_loads(any->yaml, JSON_DECODE_ANY, NULL));
}

static void put_extensions(json_t *o, size_t n, Oapb__NamedAny **named)
{
        for (size_t i = 0; i < n; i++)
                oa_set(o, named[i]->name, from_any(named[i]->value));
}

static json_t *from_schema(const Oapb__Schema *s);

static json_t *from_named(size_t n, Oapb__NamedSchema **named)
{
        json_t *out = oa_check(json_object());

        for (size_t i = 0; i < n; i++)
                oa_set(out, named[i]->name, from_schema(named[i]->value));
        return out;
}

static void put_limits(json_t *o, const Oapb__Schema *s)
{
        if (s->maximum > s->minimum) {
                oa_set(o, "minimum", json_integer((json_int_t)s->minimum));
                oa_set(o, "maximum", json_integer((json_int_t)s->maximum));
        }
        if (s->max_length)
                oa_set(o, "maxLength", json_integer(s->max_length));
        if (s->max_items)
                oa_set(o, "maxItems", json_integer(s->max_items));
        if (s->n_choices) {
                json_t *choices = oa_check(json_array());
                for (size_t i = 0; i < s->n_choices; i++)
                        oa_push(choices, from_any(s->choices[i]));
                oa_set(o, "enum", choices);
        }
}

static json_t *from_schema(const Oapb__Schema *s)
{
        json_t *o = oa_check(json_object());

        put_text(o, "$ref", s->ref);
        put_text(o, "format", s->format);
        put_text(o, "description", s->description);
        put_limits(o, s);
        put_texts(o, "required", s->n_required, s->required);
        put_extensions(o, s->n_extensions, s->extensions);
        if (s->type)
                put_text(o, "type", s->type->value[0]);
        if (s->items)
                oa_set(o, "items", from_schema(s->items->schema[0]));
        if (s->properties)
                oa_set(o, "properties", from_named(s->properties->n_items, s->properties->items));
        if (s->additional_properties)
                oa_set(o, "additionalProperties", from_schema(s->additional_properties->schema));
        return o;
}

static json_t *from_body(const Oapb__BodyParameter *p)
{
        json_t *o = oa_check(
            json_pack("{s:s, s:s, s:o}", "name", p->name, "in", p->in, "schema", from_schema(p->schema)));

        if (p->required)
                oa_set(o, "required", json_true());
        return o;
}

static json_t *from_plain(const char *name, const char *in, const char *text, const char *type, int required,
                          int unique)
{
        json_t *o = oa_check(
            json_pack("{s:s, s:s, s:s, s:s}", "name", name, "in", in, "description", text, "type", type));

        if (required)
                oa_set(o, "required", json_true());
        if (unique)
                oa_set(o, "uniqueItems", json_true());
        return o;
}

static json_t *from_parameter(const Oapb__Parameter *p)
{
        if (p->kind_case == OAPB__PARAMETER__KIND_BODY)
                return from_body(p->body);
        assert_int_equal(p->kind_case, OAPB__PARAMETER__KIND_OTHER);
        if (p->other->kind_case == OAPB__NON_BODY_PARAMETER__KIND_PATH) {
                const Oapb__PathParameter *q = p->other->path;
                return from_plain(q->name, q->in, q->description, q->type, q->required, q->unique_items);
        }
        assert_int_equal(p->other->kind_case, OAPB__NON_BODY_PARAMETER__KIND_QUERY);
        const Oapb__QueryParameter *q = p->other->query;
        return from_plain(q->name, q->in, q->description, q->type, q->required, q->unique_items);
}

static void put_parameters(json_t *o, size_t n, Oapb__ParametersItem **items, bool always)
{
        json_t *array = oa_check(json_array());

        for (size_t i = 0; i < n; i++)
                oa_push(array, from_parameter(items[i]->parameter));
        if (n > 0 || always)
                oa_set(o, "parameters", json_incref(array));
        json_decref(array);
}

static json_t *from_responses(const Oapb__Responses *r)
{
        json_t *out = oa_check(json_object());

        for (size_t i = 0; i < r->n_codes; i++) {
                const Oapb__Response *value = r->codes[i]->value->response;
                oa_set(out, r->codes[i]->name,
                       oa_check(json_pack("{s:s, s:o}", "description", value->description, "schema",
                                          from_schema(value->schema->schema))));
        }
        return out;
}

static void put_operation(json_t *item, const char *method, const Oapb__Operation *op)
{
        if (!op)
                return;
        json_t *o = oa_check(json_object());
        put_text(o, "description", op->description);
        put_text(o, "operationId", op->operation_id);
        put_texts(o, "tags", op->n_tags, op->tags);
        put_texts(o, "produces", op->n_produces, op->produces);
        put_texts(o, "consumes", op->n_consumes, op->consumes);
        put_parameters(o, op->n_parameters, op->parameters, true);
        put_extensions(o, op->n_extensions, op->extensions);
        oa_set(o, "responses", from_responses(op->responses));
        oa_set(item, method, o);
}

static json_t *from_document(const Oapb__Document *doc)
{
        json_t *paths = oa_check(json_object());

        for (size_t i = 0; i < doc->paths->n_items; i++) {
                const Oapb__PathItem *value = doc->paths->items[i]->value;
                json_t *item = oa_check(json_object());
                put_operation(item, "get", value->get);
                put_operation(item, "put", value->put);
                put_operation(item, "post", value->post);
                put_operation(item, "delete", value->del);
                put_operation(item, "patch", value->patch);
                put_parameters(item, value->n_parameters, value->parameters, false);
                oa_set(paths, doc->paths->items[i]->name, item);
        }
        return oa_check(json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:o}", "swagger", doc->swagger, "info",
                                  "title", doc->info->title, "version", doc->info->version, "description",
                                  doc->info->description, "paths", paths, "definitions",
                                  from_named(doc->definitions->n_items, doc->definitions->items)));
}

static void assert_members_equal(json_t *got, json_t *want)
{
        const char *key;
        json_t *value;

        json_object_foreach(want, key, value)
        {
                AK_AUTOFREE char *a = json_dumps(json_object_get(got, key), JSON_SORT_KEYS | JSON_ENCODE_ANY);
                AK_AUTOFREE char *b = json_dumps(value, JSON_SORT_KEYS | JSON_ENCODE_ANY);
                if (!a || strcmp(a, b) != 0)
                        print_error("%s differs:\n got  %s\n want %s\n", key, a ? a : "nothing", b);
                assert_non_null(a);
                assert_string_equal(a, b);
        }
        assert_int_equal(json_object_size(got), json_object_size(want));
}

static void test_protobuf_round_trip(void **state AK_UNUSED)
{
        AK_AUTOFREE uint8_t *packed = NULL;
        size_t len = 0;
        json_t *want = api_openapi_v2();

        assert_int_equal(api_openapi_v2_protobuf(&packed, &len), 0);
        Oapb__Document *doc = oapb__document__unpack(NULL, len, packed);
        assert_non_null(doc);
        json_t *got = from_document(doc);
        assert_members_equal(json_object_get(got, "definitions"), json_object_get(want, "definitions"));
        assert_members_equal(json_object_get(got, "paths"), json_object_get(want, "paths"));
        assert_true(json_equal(got, want));
        oapb__document__free_unpacked(doc, NULL);
        json_decref(got);
        json_decref(want);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_references_resolve),
            cmocka_unit_test(test_every_kind),
            cmocka_unit_test(test_merge_keys),
            cmocka_unit_test(test_operation_ids_differ),
            cmocka_unit_test(test_discovery_lists_every_kind),
            cmocka_unit_test(test_protobuf_round_trip),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
