/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/apiserver/auth.h"
#include "services/apiserver/rest.h"

static void test_routes(void **state)
{
        static const struct {
                const char *method, *uri;
                enum rest_target target;
                enum api_verb verb;
                const char *kind, *name_space, *name, *subresource;
        } cases[] = {
            {"GET", "/api/v1/pods", REST_OBJECTS, API_LIST, "Pod", "", "", ""},
            {"GET", "/api/v1/pods/", REST_OBJECTS, API_LIST, "Pod", "", "", ""},
            {"GET", "/api/v1/namespaces/ns/pods?limit=5", REST_OBJECTS, API_LIST, "Pod", "ns", "", ""},
            {"GET", "/api/v1/namespaces/ns/pods?watch=true", REST_WATCH, API_LIST, "Pod", "ns", "", ""},
            {"POST", "/api/v1/namespaces/ns/pods", REST_OBJECTS, API_CREATE, "Pod", "ns", "", ""},
            {"DELETE", "/api/v1/namespaces/ns/pods", REST_OBJECTS, API_DELETE_COLLECTION, "Pod", "ns", "",
             ""},
            {"GET", "/api/v1/namespaces/ns/pods/p", REST_OBJECTS, API_GET, "Pod", "ns", "p", ""},
            {"PUT", "/api/v1/namespaces/ns/pods/p", REST_OBJECTS, API_UPDATE, "Pod", "ns", "p", ""},
            {"PATCH", "/api/v1/namespaces/ns/pods/p/status", REST_OBJECTS, API_PATCH, "Pod", "ns", "p",
             "status"},
            {"GET", "/api/v1/namespaces/ns/pods/p/log", REST_LOG, API_GET, "Pod", "ns", "p", "log"},
            {"GET", "/api/v1/namespaces/ns/pods/p/attach?stdin=1", REST_ATTACH, API_GET, "Pod", "ns", "p",
             "attach"},
            {"GET", "/api/v1/namespaces", REST_OBJECTS, API_LIST, "Namespace", "", "", ""},
            {"GET", "/api/v1/namespaces/ns", REST_OBJECTS, API_GET, "Namespace", "", "ns", ""},
            {"PATCH", "/api/v1/namespaces/ns/status", REST_OBJECTS, API_PATCH, "Namespace", "", "ns",
             "status"},
            {"PATCH", "/api/v1/nodes/n/status", REST_OBJECTS, API_PATCH, "Node", "", "n", "status"},
            {"GET", "/apis/vpc.alkaid.io/v1/namespaces/ns/ports/x", REST_OBJECTS, API_GET, "Port", "ns", "x",
             ""},
            {"GET", "/api/v1/namespaces/ns/pods/a%2Db", REST_OBJECTS, API_GET, "Pod", "ns", "a-b", ""},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct rest_request r;
                struct rest_error e;

                assert_int_equal(rest_decode(cases[i].method, cases[i].uri, &r, &e), 0);
                assert_int_equal(r.target, cases[i].target);
                assert_int_equal(r.api.verb, cases[i].verb);
                assert_string_equal(r.api.kind->kind, cases[i].kind);
                assert_string_equal(r.api.name_space, cases[i].name_space);
                assert_string_equal(r.api.name, cases[i].name);
                assert_string_equal(r.api.subresource, cases[i].subresource);
                rest_request_deinit(&r);
        }
}

static void test_document_routes(void **state)
{
        static const struct {
                const char *uri;
                enum rest_target target;
                const char *group, *version;
        } cases[] = {
            {"/", REST_ROOT, "", ""},
            {"/api", REST_VERSIONS, "", ""},
            {"/api/v1", REST_RESOURCES, "", "v1"},
            {"/apis/", REST_GROUPS, "", ""},
            {"/apis/g", REST_GROUP, "g", ""},
            {"/apis/g/v1", REST_RESOURCES, "g", "v1"},
            {"/openapi/v2", REST_OPENAPI_V2, "", ""},
            {"/openapi/v3", REST_OPENAPI_V3_INDEX, "", ""},
            {"/openapi/v3/api/v1?hash=1", REST_OPENAPI_V3, "", "v1"},
            {"/openapi/v3/apis/g/v1", REST_OPENAPI_V3, "g", "v1"},
            {"/version", REST_VERSION, "", ""},
            {"/readyz?verbose", REST_HEALTH, "", ""},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct rest_request r;
                struct rest_error e;

                assert_int_equal(rest_decode("GET", cases[i].uri, &r, &e), 0);
                assert_int_equal(r.target, cases[i].target);
                assert_string_equal(r.group, cases[i].group);
                assert_string_equal(r.version, cases[i].version);
                rest_request_deinit(&r);
                assert_int_equal(rest_decode("POST", cases[i].uri, &r, &e), -EINVAL);
                assert_int_equal(e.code, 405);
        }
}

static void test_refused(void **state)
{
        static const struct {
                const char *method, *uri;
                int code;
        } cases[] = {
            {"GET", "", 400},
            {"GET", "api", 400},
            {"GET", "//", 404},
            {"GET", "/api//v1", 404},
            {"GET", "/api/v1/namespaces/ns/nodes", 404},
            {"GET", "/api/v1/pods/p", 404},
            {"GET", "/api/v1/namespaces/ns/pods/p/log/x", 404},
            {"GET", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n", 404},
            {"GET", "/api/v1/namespaces/ns/pods/p/exec", 404},
            {"GET", "/api/v1/namespaces/ns/pods/a%2Fb", 400},
            {"GET", "/api/v1/namespaces/ns/pods/a%00b", 400},
            {"GET", "/api/v1/namespaces/ns/pods/a%0ab", 400},
            {"GET", "/api/v1/namespaces/ns/pods/%ff", 400},
            {"GET", "/api/v1/namespaces/ns/pods/%", 400},
            {"GET", "/api/v1/namespaces/ns/pods/%4", 400},
            {"GET", "/api/v1/namespaces/ns/pods/..", 400},
            {"GET", "/api/v1/pods?watch=maybe", 400},
            {"GET", "/api/v1/pods?limit=99999999999999999999", 400},
            {"GET", "/api/v1/pods?resourceVersion=-1", 400},
            {"GET", "/api/v1/pods?resourceVersionMatch=Exact", 400},
            {"GET", "/api/v1/pods?resourceVersionMatch=Exact&resourceVersion=0", 400},
            {"GET", "/api/v1/pods?resourceVersionMatch=Often&resourceVersion=1", 400},
            {"GET", "/api/v1/pods?sendInitialEvents=true", 400},
            {"GET", "/api/v1/pods?watch=1&sendInitialEvents=true", 400},
            {"GET", "/api/v1/pods?watch=1&resourceVersionMatch=NotOlderThan", 400},
            {"POST", "/api/v1/namespaces/ns/pods?dryRun=Some", 400},
            {"POST", "/api/v1/namespaces/ns/pods?fieldValidation=Lax", 400},
            {"DELETE", "/api/v1/namespaces/ns/pods/p?gracePeriodSeconds=-1", 400},
            {"GET", "/api/v1/pods?includeObject=All", 400},
            {"GET", "/api/v1/pods?labelSelector=%", 400},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct rest_request r;
                struct rest_error e;

                assert_int_equal(rest_decode(cases[i].method, cases[i].uri, &r, &e), -EINVAL);
                assert_int_equal(e.code, cases[i].code);
                assert_true(*e.message);
        }
}

static void test_parameters(void **state)
{
        struct rest_request r;
        struct rest_error e;

        (void)state;
        assert_int_equal(
            rest_decode("GET",
                        "/api/v1/pods?watch&fieldSelector=spec.nodeName%3Dn1&labelSelector=a+in+(b)"
                        "&resourceVersion=18446744073709551615&timeoutSeconds=30&allowWatchBookmarks=1"
                        "&unknown=1&&pretty&includeObject=Object",
                        &r, &e),
            0);
        assert_int_equal(r.target, REST_WATCH);
        assert_string_equal(r.api.field_selector, "spec.nodeName=n1");
        assert_string_equal(r.api.label_selector, "a in (b)");
        assert_int_equal(r.freshness, REST_NOT_OLDER_THAN);
        assert_true(r.resource_version == UINT64_MAX);
        assert_int_equal(r.timeout_seconds, 30);
        assert_true(r.bookmarks && r.pretty);
        assert_string_equal(r.include_object, "Object");
        assert_string_equal(rest_verb_name(&r), "watch");
        rest_request_deinit(&r);
        assert_int_equal(
            rest_decode(
                "DELETE",
                "/api/v1/namespaces/n/pods/p?gracePeriodSeconds=0&propagationPolicy=Background&dryRun=All",
                &r, &e),
            0);
        assert_int_equal(r.grace_seconds, 0);
        assert_string_equal(r.propagation, "Background");
        assert_true(r.api.dry_run);
        rest_request_deinit(&r);
        assert_int_equal(
            rest_decode("GET", "/api/v1/namespaces/n/pods/p/log?follow=true&tailLines=0", &r, &e), 0);
        assert_true(r.follow);
        assert_int_equal(r.tail_lines, 0);
        assert_int_equal(r.limit_bytes, -1);
        rest_request_deinit(&r);
}

static void test_uri_limit(void **state)
{
        char *uri = malloc(REST_MAX_URI + 2);
        struct rest_request r;
        struct rest_error e;

        (void)state;
        memset(uri, 'a', REST_MAX_URI + 1);
        uri[0] = '/';
        uri[REST_MAX_URI + 1] = '\0';
        assert_int_equal(rest_decode("GET", uri, &r, &e), -EINVAL);
        assert_int_equal(e.code, 414);
        free(uri);
}

#define OFFER(form) (1U << (form))

static void test_accept(void **state)
{
        const unsigned int objects = OFFER(REST_FORM_JSON) | OFFER(REST_FORM_TABLE);
        const unsigned int openapi = OFFER(REST_FORM_JSON) | OFFER(REST_FORM_OPENAPI_PROTOBUF);
        const struct {
                const char *header;
                unsigned int offered;
                int form; /* -1 = none */
        } cases[] = {
            {NULL, objects, REST_FORM_JSON},
            {"", objects, REST_FORM_JSON},
            {"*/*", objects, REST_FORM_JSON},
            {"application/*", objects, REST_FORM_JSON},
            {"application/json", objects, REST_FORM_JSON},
            {"Application/JSON; charset=utf-8", objects, REST_FORM_JSON},
            {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", objects, REST_FORM_TABLE},
            {"application/json;as=Table;v=v9;g=meta.k8s.io,application/json", objects, REST_FORM_JSON},
            {"application/json;q=0.5,application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9", objects,
             REST_FORM_TABLE},
            {"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", objects, -1},
            {"application/vnd.kubernetes.protobuf,application/json", objects, REST_FORM_JSON},
            {"application/vnd.kubernetes.protobuf", objects, -1},
            {"text/html", objects, -1},
            {"application/json;q=0", objects, -1},
            {"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", openapi,
             REST_FORM_OPENAPI_PROTOBUF},
            {"application/json, */*", openapi, REST_FORM_JSON},
            {",,;;=,", objects, -1},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                enum rest_form form = REST_FORM_TEXT;
                int rc = rest_accept(cases[i].header, cases[i].offered, &form);

                assert_int_equal(rc, cases[i].form < 0 ? -ENOTSUP : 0);
                if (rc == 0)
                        assert_int_equal((int)form, cases[i].form);
        }
}

static void test_patch_types(void **state)
{
        struct rest_error e;
        enum api_patch type;

        (void)state;
        assert_int_equal(rest_patch_type("application/strategic-merge-patch+json; charset=x", &type, &e), 0);
        assert_int_equal(type, API_PATCH_STRATEGIC);
        assert_int_equal(rest_patch_type("application/json-patch+json", &type, &e), 0);
        assert_int_equal(type, API_PATCH_JSON);
        assert_int_equal(rest_patch_type("application/merge-patch+jsonx", &type, &e), -EINVAL);
        assert_int_equal(rest_patch_type(NULL, &type, &e), -EINVAL);
        assert_int_equal(e.code, 415);
}

static struct rest_request decoded(const char *method, const char *uri)
{
        struct rest_request r;
        struct rest_error e;

        assert_int_equal(rest_decode(method, uri, &r, &e), 0);
        return r;
}

static void test_rights(void **state)
{
        const char *const nodes[] = {ACCESS_NODES, NULL}, *const none[] = {NULL},
                          *const masters[] = {ACCESS_MASTERS, NULL};
        const struct api_user node = {"system:node:n1", nodes}, nobody = {"joe", none},
                              admin = {"admin", masters};
        struct rest_request r = decoded("PATCH", "/api/v1/nodes/n1/status");
        char text[400];

        (void)state;
        assert_true(auth_allowed(NULL, &node, &r, "n1"));
        assert_false(auth_allowed(NULL, &node, &r, "n2"));
        assert_true(auth_allowed(NULL, &admin, &r, "n2"));
        assert_false(auth_allowed(NULL, &nobody, &r, "n1"));
        rest_request_deinit(&r);
        r = decoded("GET", "/openapi/v2");
        assert_true(auth_allowed(NULL, &nobody, &r, ""));
        rest_request_deinit(&r);
        r = decoded("GET", "/api/v1/namespaces/default/pods");
        assert_true(auth_allowed(NULL, &node, &r, ""));
        auth_refusal(&nobody, &r, text, sizeof(text));
        assert_string_equal(
            text, "pods is forbidden: User \"joe\" cannot list resource \"pods\" in API group \"\" in the "
                  "namespace \"default\"");
        rest_request_deinit(&r);
        r = decoded("PATCH", "/apis/vpc.alkaid.io/v1/namespaces/default/ports/x/status");
        assert_true(auth_allowed(NULL, &node, &r, "x"));
        auth_refusal(&nobody, &r, text, sizeof(text));
        assert_string_equal(
            text, "ports \"x\" is forbidden: User \"joe\" cannot patch resource \"ports/status\" in API "
                  "group \"vpc.alkaid.io\" in the namespace \"default\"");
        rest_request_deinit(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_routes),      cmocka_unit_test(test_document_routes),
            cmocka_unit_test(test_refused),     cmocka_unit_test(test_parameters),
            cmocka_unit_test(test_uri_limit),   cmocka_unit_test(test_accept),
            cmocka_unit_test(test_patch_types), cmocka_unit_test(test_rights),
        };

        return cmocka_run_group_tests_name("apiserver_rest", tests, NULL, NULL);
}
