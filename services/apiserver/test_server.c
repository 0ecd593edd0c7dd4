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

static void create_pod(const struct harness *h, const char *name, const char *node)
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

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_public_paths, setup, teardown),
            cmocka_unit_test_setup_teardown(test_crud, setup, teardown),
        };

        (void)curl_global_init(CURL_GLOBAL_ALL);
        return cmocka_run_group_tests_name("apiserver_http", tests, NULL, NULL);
}
