/* SPDX-License-Identifier: Apache-2.0 */
/* The whole shell over HTTPS, with a core without rules behind it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/test_harness.h"

#define PODS "/api/v1/namespaces/default/pods"

static int setup(void **state)
{
        static struct harness h;

        harness_init(&h);
        *state = &h;
        return harness_start(&h);
}

static int teardown(void **state)
{
        harness_deinit(*state);
        return 0;
}

static void pod_body(char out[512], const char *name, const char *node)
{
        (void)snprintf(
            out, 512,
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"nodeName\":"
            "\"%s\"}}",
            name, node);
}

static void create_pod(struct harness *h, const char *name, const char *node)
{
        char body[512];

        pod_body(body, name, node);
        assert_int_equal(harness_do(h, "POST", PODS, body, NULL), 201);
}

static const char *reason_of(const struct reply *r)
{
        const char *reason = json_string_value(json_object_get(r->json, "reason"));

        return reason ? reason : "";
}

static void test_public_paths(void **state)
{
        static const char *const public_paths[] = {"/version", "/healthz", "/livez", "/readyz"};
        static const char *const closed[] = {"/api", "/apis",     "/openapi/v2",
                                             PODS,   "/nonsense", "/api/v1/nonsense"};
        struct reply r;

        for (size_t i = 0; i < AK_ARRAY_SIZE(public_paths); i++) {
                harness_call(*state, NULL,
                             &(struct call){.user = AS_NOBODY, .method = "GET", .path = public_paths[i]}, &r);
                assert_int_equal(r.code, 200);
                reply_deinit(&r);
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(closed); i++) {
                harness_call(*state, NULL,
                             &(struct call){.user = AS_NOBODY, .method = "GET", .path = closed[i]}, &r);
                assert_int_equal(r.code, 401);
                assert_string_equal(reason_of(&r), "Unauthorized");
                reply_deinit(&r);
        }
        harness_call(*state, NULL, &(struct call){.user = AS_SERVER, .method = "GET", .path = PODS}, &r);
        assert_int_equal(r.code, 401);
        reply_deinit(&r);
}

/* For system:masters and system:monitoring only, since it tells about everybody. */
static void test_metrics(void **state)
{
        struct reply r;
        char *text = NULL;

        create_pod(*state, "a", "n");
        assert_int_equal(harness_do(*state, "GET", "/metrics", NULL, &text), 200);
        assert_non_null(strstr(text, "alkaid_http_request_seconds_count{verb=\"create\",code=\"201\"} 1\n"));
        assert_non_null(strstr(text, "\nalkaid_committed_changes_total "));
        assert_non_null(strstr(text, "alkaid_build_info{service=\"apiserver\""));
        free(text);
        assert_int_equal(harness_do(*state, "POST", "/metrics", "{}", NULL), 405);
        harness_call(*state, NULL, &(struct call){.user = AS_NODE, .method = "GET", .path = "/metrics"}, &r);
        assert_int_equal(r.code, 403);
        assert_non_null(strstr(r.text, "cannot get path \\\"/metrics\\\""));
        reply_deinit(&r);
        harness_call(*state, NULL, &(struct call){.user = AS_NOBODY, .method = "GET", .path = "/metrics"},
                     &r);
        assert_int_equal(r.code, 401);
        reply_deinit(&r);
}

static void test_crud(void **state)
{
        char *text = NULL;

        create_pod(*state, "a", "n");
        assert_int_equal(harness_do(*state, "GET", PODS "/a", NULL, &text), 200);
        assert_non_null(strstr(text, "\"resourceVersion\":\"1\""));
        free(text);
        assert_int_equal(harness_do(*state, "POST", PODS, "{\"metadata\":{\"name\":\"a\"}}", NULL), 409);
        assert_int_equal(
            harness_do(*state, "PUT", PODS "/a", "{\"metadata\":{\"name\":\"a\"},\"x\":1}", NULL), 200);
        assert_int_equal(harness_do(*state, "GET", "/api/v1/pods", NULL, &text), 200);
        assert_non_null(strstr(text, "\"x\":1"));
        free(text);
        assert_int_equal(harness_do(*state, "DELETE", PODS "/a", NULL, NULL), 200);
        assert_int_equal(harness_do(*state, "GET", PODS "/a", NULL, NULL), 404);
}

/* What a request that cannot be served is answered with. */
static void test_refusals(void **state)
{
        static const struct {
                const char *method, *path, *body, *content_type, *accept;
                long code;
                const char *reason, *says;
        } cases[] = {
            {"GET", "/nonsense", NULL, NULL, NULL, 404, "NotFound", "could not find"},
            {"GET", "/api/v1/nonsense", NULL, NULL, NULL, 404, "NotFound", "could not find"},
            {"GET", "/api/v2/pods", NULL, NULL, NULL, 404, "NotFound", "could not find"},
            {"GET", PODS "/a/nonsense", NULL, NULL, NULL, 404, "NotFound", "could not find"},
            {"GET", PODS "/%zz", NULL, NULL, NULL, 400, "BadRequest", "percent"},
            {"GET", PODS "/%2e%2e", NULL, NULL, NULL, 400, "BadRequest", "not valid"},
            {"GET", PODS "?limit=-1", NULL, NULL, NULL, 400, "BadRequest", "limit"},
            {"GET", PODS "?resourceVersion=old", NULL, NULL, NULL, 400, "BadRequest", "resourceVersion"},
            {"GET", PODS "?fieldSelector=x", NULL, NULL, NULL, 400, "BadRequest", "selector"},
            {"GET", PODS "?watch=1&labelSelector=x", NULL, NULL, NULL, 400, "BadRequest", "selector"},
            {"GET", PODS "?resourceVersion=999&resourceVersionMatch=Exact", NULL, NULL, NULL, 504, "Timeout",
             "Too large resource version"},
            {"GET", PODS "?watch=1&resourceVersion=999", NULL, NULL, NULL, 504, "Timeout", "Too large"},
            {"GET", PODS, NULL, NULL, "application/vnd.kubernetes.protobuf", 406, "NotAcceptable", "json"},
            {"POST", "/api/v1/pods", "{}", NULL, NULL, 405, "MethodNotAllowed", "POST"},
            {"POST", PODS "/a", "{}", NULL, NULL, 405, "MethodNotAllowed", "POST"},
            {"BREW", PODS, "{}", NULL, NULL, 405, "MethodNotAllowed", "BREW"},
            {"POST", PODS, "{\"a\": 1,\n  oops}", NULL, NULL, 400, "BadRequest", "line 2, column 6"},
            {"POST", PODS, "{\"a\":1,\"a\":2}", NULL, NULL, 400, "BadRequest", "duplicate"},
            {"POST", PODS, "\"text\"", NULL, NULL, 400, "BadRequest", "not valid JSON"},
            {"POST", PODS, "{\"a\":\"\xff\"}", NULL, NULL, 400, "BadRequest", "0xff"},
            {"POST", PODS, "", NULL, NULL, 400, "BadRequest", "no body"},
            {"POST", PODS, "a: 1", "application/yaml", NULL, 415, "UnsupportedMediaType", "application/json"},
            {"PATCH", PODS "/a", "a: 1", "application/apply-patch+yaml", NULL, 415, "UnsupportedMediaType",
             "without --server-side"},
            {"PATCH", PODS "/a", "{}", "application/json", NULL, 415, "UnsupportedMediaType",
             "application/strategic-merge-patch+json"},
            {"GET", PODS "/absent", NULL, NULL, NULL, 404, "NotFound", ""},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                const struct call call = {.method = cases[i].method,
                                          .path = cases[i].path,
                                          .body = cases[i].body,
                                          .content_type = cases[i].content_type,
                                          .accept = cases[i].accept};
                struct reply r;

                harness_call(*state, NULL, &call, &r);
                assert_int_equal(r.code, cases[i].code);
                assert_string_equal(reason_of(&r), cases[i].reason);
                assert_string_equal(json_string_value(json_object_get(r.json, "kind")), "Status");
                assert_non_null(strstr(json_string_value(json_object_get(r.json, "message")), cases[i].says));
                reply_deinit(&r);
        }
}

static void test_large_bodies(void **state)
{
        static const struct {
                size_t size;
                long code;
        } cases[] = {{60 * 1024, 201}, {100 * 1024, 413}, {2048 * 1024, 413}};

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                char *body = malloc(cases[i].size + 1);
                int head = snprintf(body, cases[i].size, "{\"metadata\":{\"name\":\"big\"},\"x\":\"");
                struct reply r;

                memset(body + head, 'x', cases[i].size - (size_t)head - 2);
                memcpy(body + cases[i].size - 2, "\"}", 3);
                harness_call(*state, NULL, &(struct call){.method = "POST", .path = PODS, .body = body}, &r);
                /* Four times the limit is not read to its end: the client may lose the answer with the
                 * connection. */
                if (r.code != 0 || cases[i].size < 256 * 1024)
                        assert_int_equal(r.code, cases[i].code);
                reply_deinit(&r);
                free(body);
        }
        assert_int_equal(harness_do(*state, "GET", "/readyz", NULL, NULL), 200);
}

static void test_deep_and_long(void **state)
{
        char body[4000] = "";
        char path[12000];
        struct reply r;

        memset(body, '[', 1000);
        assert_int_equal(harness_do(*state, "POST", PODS, body, NULL), 400);
        for (size_t i = 0; i < 100; i++)
                memcpy(body + 5 * i, "{\"a\":", 5);
        memset(body + 500, '1', 1);
        memset(body + 501, '}', 100);
        body[601] = '\0';
        harness_call(*state, NULL, &(struct call){.method = "POST", .path = PODS, .body = body}, &r);
        assert_int_equal(r.code, 400);
        assert_non_null(strstr(r.text, "nested deeper"));
        reply_deinit(&r);
        (void)snprintf(path, sizeof(path), "/api/v1/%0*d", 1800, 0);
        assert_int_equal(harness_do(*state, "GET", path, NULL, NULL), 400);
        assert_int_equal(harness_do(*state, "GET", "/readyz", NULL, NULL), 200);
}

static void test_forms(void **state)
{
        static const char table[] =
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;"
            "g=meta.k8s.io,application/json";
        struct reply r;

        create_pod(*state, "a", "n");
        harness_call(*state, NULL, &(struct call){.method = "GET", .path = PODS, .accept = table}, &r);
        assert_string_equal(json_string_value(json_object_get(r.json, "kind")), "Table");
        reply_deinit(&r);
        harness_call(*state, NULL, &(struct call){.method = "GET", .path = PODS "/x", .accept = table}, &r);
        assert_string_equal(json_string_value(json_object_get(r.json, "kind")), "Status");
        reply_deinit(&r);
        harness_call(*state, NULL, &(struct call){.method = "GET", .path = PODS "/a?pretty=true"}, &r);
        assert_non_null(strstr(r.text, "\n  \"metadata\""));
        reply_deinit(&r);
        harness_call(
            *state, NULL,
            &(struct call){.method = "GET",
                           .path = "/apis",
                           .accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"},
            &r);
        assert_string_equal(json_string_value(json_object_get(r.json, "kind")), "APIGroupDiscoveryList");
        assert_non_null(strstr(r.headers, "as=APIGroupDiscoveryList"));
        reply_deinit(&r);
        harness_call(*state, NULL, &(struct call){.method = "GET", .path = "/version"}, &r);
        assert_non_null(strstr(r.text, "v1.32.0-alkaid"));
        reply_deinit(&r);
}

static void test_node_rights(void **state)
{
        static const struct {
                const char *method, *path, *body;
                long code;
        } cases[] = {
            {"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1", NULL, 200},
            {"GET", "/api/v1/namespaces", NULL, 200},
            {"GET", "/api/v1/pods?fieldSelector=a%3Db,spec.nodeName%3D%3Dnode1", NULL, 200},
            {"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode11", NULL, 403},
            {"GET", "/api/v1/pods?fieldSelector=spec.nodeName!%3Dnode1", NULL, 403},
            {"GET", "/api/v1/pods?watch=1", NULL, 403},
            {"GET", PODS "/other", NULL, 403},
            {"GET", PODS "/none", NULL, 404},
            {"PATCH", PODS "/other/status", "{\"status\":{}}", 403},
            {"DELETE", PODS "/other", NULL, 403},
            {"GET", "/apis/vpc.alkaid.io/v1/ports", NULL, 403},
            {"GET", "/apis/vpc.alkaid.io/v1/ports?watch=1&timeoutSeconds=1", NULL, 403},
            {"GET", "/apis/vpc.alkaid.io/v1/ports?fieldSelector=status.vpcID%3Dother", NULL, 403},
            {"GET", "/apis/vpc.alkaid.io/v1/ports?fieldSelector=spec.nodeName%3Dnode1", NULL, 200},
            {"GET", "/openapi/v3", NULL, 200},
            {"POST", PODS, "{\"metadata\":{\"name\":\"x\"}}", 403},
            {"PATCH", PODS "/a", "{}", 403},
            {"PATCH", PODS "/a/status", "{\"status\":{}}", 200},
            {"POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"node1\"}}", 201},
            {"POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"node2\"}}", 403},
            {"PATCH", "/api/v1/nodes/node1/status", "{}", 200},
            {"PATCH", "/api/v1/nodes/node2/status", "{}", 403},
            {"DELETE", "/api/v1/nodes/node1", NULL, 403},
            {"DELETE", PODS "/a", NULL, 200},
            {"DELETE", PODS, NULL, 403},
            {"POST", "/apis/vpc.alkaid.io/v1/namespaces/default/ports", "{\"metadata\":{\"name\":\"x\"}}",
             403},
            {"GET", PODS "/a/attach", NULL, 403},
        };

        create_pod(*state, "a", "node1");
        create_pod(*state, "other", "node11");
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct reply r;

                harness_call(*state, NULL,
                             &(struct call){.user = AS_NODE,
                                            .method = cases[i].method,
                                            .path = cases[i].path,
                                            .body = cases[i].body,
                                            .content_type = strcmp(cases[i].method, "PATCH") == 0
                                                                ? "application/merge-patch+json"
                                                                : NULL},
                             &r);
                assert_int_equal(r.code, cases[i].code);
                if (r.code == 403)
                        assert_non_null(strstr(r.text, "User \\\"system:node:node1\\\" cannot"));
                reply_deinit(&r);
        }
}

/* Deleting with the options in the query and with a body. */
static void test_delete_options(void **state)
{
        create_pod(*state, "a", "n");
        create_pod(*state, "b", "n");
        assert_int_equal(harness_do(*state, "DELETE", PODS "/a?gracePeriodSeconds=0", NULL, NULL), 200);
        assert_int_equal(harness_do(*state, "DELETE", PODS "/b", "{\"gracePeriodSeconds\":0}", NULL), 200);
        assert_int_equal(harness_do(*state, "DELETE", PODS "/b?gracePeriodSeconds=x", NULL, NULL), 400);
}

/* Many requests on one connection, and pipelines of connections that come and go. */
static void test_keep_alive(void **state)
{
        CURL *curl = harness_curl(*state, AS_ADMIN);
        char path[200];

        for (int i = 0; i < 200; i++) {
                char body[512], name[32];
                struct reply r;

                (void)snprintf(name, sizeof(name), "p%d", i);
                pod_body(body, name, "n");
                harness_call(*state, curl, &(struct call){.method = "POST", .path = PODS, .body = body}, &r);
                assert_int_equal(r.code, 201);
                reply_deinit(&r);
                (void)snprintf(path, sizeof(path), PODS "/%s", name);
                harness_call(*state, curl, &(struct call){.method = "GET", .path = path}, &r);
                assert_int_equal(r.code, 200);
                reply_deinit(&r);
        }
        curl_easy_cleanup(curl);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_public_paths, setup, teardown),
            cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
            cmocka_unit_test_setup_teardown(test_crud, setup, teardown),
            cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
            cmocka_unit_test_setup_teardown(test_large_bodies, setup, teardown),
            cmocka_unit_test_setup_teardown(test_deep_and_long, setup, teardown),
            cmocka_unit_test_setup_teardown(test_forms, setup, teardown),
            cmocka_unit_test_setup_teardown(test_node_rights, setup, teardown),
            cmocka_unit_test_setup_teardown(test_delete_options, setup, teardown),
            cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        };

        (void)curl_global_init(CURL_GLOBAL_ALL);
        return cmocka_run_group_tests_name("apiserver_http", tests, NULL, NULL);
}
