/* SPDX-License-Identifier: Apache-2.0 */
/* Form of the documents, against the small table of test_openapi_table.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/openapi.h"

/* Member of a document by path: "spec", "nics", …; fails the test where there is none. */
static json_t *at(json_t *json, ...)
{
        va_list keys;
        const char *key;

        va_start(keys, json);
        while ((key = va_arg(keys, const char *))) {
                if (!json_object_get(json, key))
                        print_error("no member '%s'\n", key);
                assert_non_null(json_object_get(json, key));
                json = json_object_get(json, key);
        }
        va_end(keys);
        return json;
}

static void assert_json(json_t *got, const char *want)
{
        json_t *expected = json_loads(want, JSON_DECODE_ANY, NULL);
        AK_AUTOFREE char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);

        assert_non_null(expected);
        if (!json_equal(got, expected))
                print_error("got  %s\nwant %s\n", text, want);
        assert_true(json_equal(got, expected));
        json_decref(expected);
}

static json_t *find(json_t *array, const char *key, const char *value)
{
        size_t i;
        json_t *item;

        json_array_foreach(array, i, item) if (strcmp(json_string_value(json_object_get(item, key)), value) ==
                                               0) return item;
        return NULL;
}

static void test_plain_discovery(void **state AK_UNUSED)
{
        json_t *versions = api_discovery_versions();
        json_t *groups = api_discovery_groups();
        json_t *group = api_discovery_group("vpc.alkaid.io");

        assert_json(at(versions, "versions", NULL), "[\"v1\"]");
        assert_json(
            groups,
            "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"vpc.alkaid.io\","
            "\"versions\":[{\"groupVersion\":\"vpc.alkaid.io/v1\",\"version\":\"v1\"}],"
            "\"preferredVersion\":{\"groupVersion\":\"vpc.alkaid.io/v1\",\"version\":\"v1\"}},"
            "{\"name\":\"authentication.k8s.io\",\"versions\":[{\"groupVersion\":\"authentication.k8s.io/"
            "v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"authentication.k8s.io/"
            "v1\",\"version\":\"v1\"}},"
            "{\"name\":\"authorization.k8s.io\",\"versions\":[{\"groupVersion\":\"authorization.k8s.io/"
            "v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"authorization.k8s.io/"
            "v1\",\"version\":\"v1\"}},"
            "{\"name\":\"node.alkaid.io\",\"versions\":[{\"groupVersion\":\"node.alkaid.io/v1\","
            "\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"node.alkaid.io/v1\","
            "\"version\":\"v1\"}}]}");
        assert_string_equal(json_string_value(at(group, "kind", NULL)), "APIGroup");
        assert_null(api_discovery_group("apps"));
        assert_null(api_discovery_group(""));
        json_decref(versions);
        json_decref(groups);
        json_decref(group);
}

static void test_resources(void **state AK_UNUSED)
{
        json_t *list = api_discovery_resources("", "v1");
        json_t *vpc = api_discovery_resources("vpc.alkaid.io", "v1");

        assert_json(at(list, "groupVersion", NULL), "\"v1\"");
        assert_json(at(vpc, "groupVersion", NULL), "\"vpc.alkaid.io/v1\"");
        assert_json(find(at(list, "resources", NULL), "name", "pods"),
                    "{\"name\":\"pods\",\"singularName\":\"pod\",\"namespaced\":true,\"kind\":\"Pod\","
                    "\"shortNames\":[\"po\"],\"categories\":[\"all\"],\"verbs\":[\"create\",\"delete\","
                    "\"deletecollection\",\"get\",\"list\",\"patch\",\"update\",\"watch\"]}");
        assert_json(find(at(list, "resources", NULL), "name", "pods/attach"),
                    "{\"name\":\"pods/attach\",\"singularName\":\"\",\"namespaced\":true,"
                    "\"kind\":\"PodAttachOptions\",\"verbs\":[\"create\",\"get\"]}");
        assert_non_null(find(at(list, "resources", NULL), "name", "pods/status"));
        assert_null(find(at(list, "resources", NULL), "name", "nodes/status"));
        assert_null(api_discovery_resources("", "v2"));
        json_decref(list);
        json_decref(vpc);
}

static void test_aggregated(void **state AK_UNUSED)
{
        json_t *core = api_discovery_aggregated(1, "v2");
        json_t *apis = api_discovery_aggregated(0, "v2beta1");
        json_t *item = json_array_get(at(core, "items", NULL), 0);
        json_t *version = json_array_get(at(item, "versions", NULL), 0);
        json_t *pods = find(at(version, "resources", NULL), "resource", "pods");

        assert_json(at(core, "apiVersion", NULL), "\"apidiscovery.k8s.io/v2\"");
        assert_json(at(apis, "apiVersion", NULL), "\"apidiscovery.k8s.io/v2beta1\"");
        assert_int_equal(json_array_size(at(core, "items", NULL)), 1);
        assert_int_equal(json_array_size(at(version, "resources", NULL)), 2);
        assert_json(at(pods, "responseKind", NULL), "{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"}");
        assert_json(at(pods, "scope", NULL), "\"Namespaced\"");
        assert_json(
            find(at(pods, "subresources", NULL), "subresource", "status"),
            "{\"subresource\":\"status\",\"responseKind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":"
            "\"Pod\"},\"verbs\":[\"get\",\"patch\",\"update\"]}");
        assert_json(at(json_array_get(at(apis, "items", NULL), 0), "metadata", "name", NULL),
                    "\"vpc.alkaid.io\"");
        json_decref(core);
        json_decref(apis);
}

static void test_v3_schemas(void **state AK_UNUSED)
{
        json_t *doc = api_openapi_v3("", "v1");
        json_t *schemas = at(doc, "components", "schemas", NULL);
        json_t *spec = at(schemas, "io.k8s.api.core.v1.PodSpec", "properties", NULL);

        assert_json(
            at(spec, "nics", NULL),
            "{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/io.k8s.api.core.v1.Nic\"},"
            "\"maxItems\":64,\"description\":\"NICs that the VM should have.\","
            "\"x-kubernetes-patch-strategy\":\"merge\",\"x-kubernetes-patch-merge-key\":\"name\","
            "\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"name\"]}");
        assert_json(at(spec, "strategy", NULL),
                    "{\"allOf\":[{\"$ref\":\"#/components/schemas/io.k8s.api.core.v1.Strategy\"}],"
                    "\"x-kubernetes-patch-strategy\":\"retainKeys\",\"description\":\"How.\"}");
        assert_json(at(spec, "imagePullPolicy", NULL),
                    "{\"type\":\"string\",\"enum\":[\"Always\",\"Never\"]}");
        assert_json(at(spec, "limits", NULL),
                    "{\"type\":\"object\",\"additionalProperties\":{\"oneOf\":[{\"type\":\"string\"},"
                    "{\"type\":\"number\"}]}}");
        assert_json(
            at(spec, "percent", NULL),
            "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"format\":\"int-or-string\"}");
        assert_json(at(spec, "anything", NULL), "{}");
        assert_json(
            at(schemas, "io.k8s.api.core.v1.Nic", NULL),
            "{\"type\":\"object\",\"description\":\"A NIC of a VM.\",\"required\":[\"name\"],"
            "\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":253,"
            "\"description\":\"Name of the NIC.\"},\"mtu\":{\"type\":\"integer\",\"format\":\"int64\","
            "\"minimum\":68,\"maximum\":65535}}}");
        assert_json(at(schemas, "io.k8s.api.core.v1.Pod", "x-kubernetes-group-version-kind", NULL),
                    "[{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"}]");
        assert_null(json_object_get(schemas, "io.alkaid.vpc.v1.VPC"));
        assert_null(api_openapi_v3("", "v2"));
        json_decref(doc);
}

static void test_v3_paths(void **state AK_UNUSED)
{
        json_t *doc = api_openapi_v3("", "v1");
        json_t *paths = at(doc, "paths", NULL);
        json_t *item = at(paths, "/api/v1/namespaces/{namespace}/pods/{name}", NULL);
        json_t *patch = at(item, "patch", NULL);

        assert_json(at(patch, "x-kubernetes-group-version-kind", NULL),
                    "{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"}");
        assert_json(at(patch, "operationId", NULL), "\"patchCoreV1NamespacedPod\"");
        assert_non_null(find(at(patch, "parameters", NULL), "name", "fieldValidation"));
        assert_non_null(find(at(patch, "parameters", NULL), "name", "dryRun"));
        assert_non_null(find(at(patch, "parameters", NULL), "name", "fieldManager"));
        at(patch, "requestBody", "content", "application/strategic-merge-patch+json", "schema", NULL);
        assert_int_equal(json_array_size(at(item, "parameters", NULL)), 2);
        at(paths, "/api/v1/pods", "get", NULL);
        at(paths, "/api/v1/nodes/{name}", "put", NULL);
        at(paths, "/api/v1/namespaces/{namespace}/pods/{name}/status", "patch", NULL);
        at(paths, "/api/v1/namespaces/{namespace}/pods/{name}/attach", "post", NULL);
        at(paths, "/api/v1/namespaces/{namespace}/pods/{name}/binding", "post", "requestBody", NULL);
        at(paths, "/api/v1/namespaces/{namespace}/pods/{name}/proxy", "get", NULL);
        assert_null(json_object_get(paths, "/api/v1/namespaces/{namespace}/nodes"));
        assert_null(json_object_get(paths, "/api/v1/nodes/{name}/status"));
        json_decref(doc);
}

static void test_v2(void **state AK_UNUSED)
{
        json_t *doc = api_openapi_v2();
        json_t *spec = at(doc, "definitions", "io.k8s.api.core.v1.PodSpec", "properties", NULL);
        json_t *patch =
            at(doc, "paths", "/apis/vpc.alkaid.io/v1/namespaces/{namespace}/vpcs/{name}", "patch", NULL);

        assert_json(at(doc, "swagger", NULL), "\"2.0\"");
        assert_json(at(spec, "strategy", NULL),
                    "{\"$ref\":\"#/definitions/io.k8s.api.core.v1.Strategy\",\"description\":\"How.\","
                    "\"x-kubernetes-patch-strategy\":\"retainKeys\"}");
        assert_json(at(spec, "percent", NULL), "{\"type\":\"string\",\"format\":\"int-or-string\"}");
        assert_json(at(spec, "limits", "additionalProperties", NULL), "{\"type\":\"string\"}");
        assert_json(at(patch, "operationId", NULL), "\"patchVpcAlkaidIoV1NamespacedVPC\"");
        assert_json(find(at(patch, "parameters", NULL), "in", "body"),
                    "{\"in\":\"body\",\"name\":\"body\",\"required\":true,"
                    "\"schema\":{\"$ref\":\"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch\"}}");
        json_decref(doc);
}

static void test_v3_index(void **state AK_UNUSED)
{
        json_t *index = api_openapi_v3_index();
        json_t *again = api_openapi_v3_index();
        const char *url =
            json_string_value(at(index, "paths", "apis/vpc.alkaid.io/v1", "serverRelativeURL", NULL));

        assert_int_equal(json_object_size(at(index, "paths", NULL)), 2);
        assert_int_equal(strncmp(url, "/openapi/v3/apis/vpc.alkaid.io/v1?hash=", 39), 0);
        assert_int_equal(strlen(url), 39 + 64);
        assert_true(json_equal(index, again));
        json_decref(index);
        json_decref(again);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_plain_discovery), cmocka_unit_test(test_resources),
            cmocka_unit_test(test_aggregated),      cmocka_unit_test(test_v3_schemas),
            cmocka_unit_test(test_v3_paths),        cmocka_unit_test(test_v2),
            cmocka_unit_test(test_v3_index),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
