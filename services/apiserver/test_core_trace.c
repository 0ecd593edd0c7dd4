/* SPDX-License-Identifier: Apache-2.0 */
/* Traces begin with the writes that change a pod's wish, and with no others. */
#include <string.h>

#include "libcommon/test.h"
#include "services/apiserver/core_internal.h"
#include "services/apiserver/test_core_util.h"

#define A          "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-aaaaaaaaaaaaaaaa-01"
#define B          "00-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-bbbbbbbbbbbbbbbb-01"
#define ADD_NIC    "{\"spec\":{\"nics\":[{\"name\":\"eth1\"}]}}"
#define ANNOTATION "{\"metadata\":{\"annotations\":{\"alkaid.io/traceparent\":"

static const char *trace_of_pod(struct world *w)
{
        json_t *annotations = api_at(w_stored(w, &api_kind_pod, "vm"), "metadata.annotations");
        const char *text = json_string_value(json_object_get(annotations, API_TRACE_ANNOTATION));

        return text ? text : "";
}

static int make_pod(struct world *w, const char *trace)
{
        w->request.traceparent = trace;
        return w_pod(w, "vm", "eth0");
}

static int patch(struct world *w, const char *trace, const char *body)
{
        w->request.traceparent = trace;
        return w_patch(w, &api_kind_pod, "vm", API_PATCH_STRATEGIC, body);
}

static void a_create_and_a_new_spec_leave_their_trace(void **state)
{
        struct world *w = *state;

        assert_int_equal(make_pod(w, A), 201);
        assert_string_equal(trace_of_pod(w), A);
        assert_int_equal(patch(w, B, ADD_NIC), 200);
        assert_string_equal(trace_of_pod(w), B);
}

static void without_a_trace_there_is_no_annotation(void **state)
{
        struct world *w = *state;

        assert_int_equal(make_pod(w, NULL), 201);
        assert_int_equal(patch(w, "", ADD_NIC), 200);
        assert_string_equal(trace_of_pod(w), "");
}

static void what_changes_no_wish_leaves_none(void **state)
{
        static const char *const bodies[] = {"{}", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
                                             "{\"spec\":{\"nics\":[{\"name\":\"eth0\"}]}}"};
        struct world *w = *state;

        assert_int_equal(make_pod(w, A), 201);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bodies); i++) {
                assert_int_equal(patch(w, B, bodies[i]), 200);
                assert_string_equal(trace_of_pod(w), A);
        }
        w->request.traceparent = B;
        assert_int_equal(w_patch_status(w, &api_kind_pod, "vm", "{\"status\":{\"phase\":\"Running\"}}"), 200);
        assert_string_equal(trace_of_pod(w), A);
        w->request.dry_run = true;
        assert_int_equal(patch(w, B, ADD_NIC), 200);
        assert_string_equal(trace_of_pod(w), A);
}

static void a_write_without_effect_stays_so(void **state)
{
        struct world *w = *state;
        AK_AUTOFREE char *version = NULL;

        assert_int_equal(make_pod(w, A), 201);
        version = strdup(api_text(w_stored(w, &api_kind_pod, "vm"), "metadata.resourceVersion"));
        assert_int_equal(patch(w, B, "{\"spec\":{\"nics\":[{\"name\":\"eth0\"}]}}"), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(patch(w, B, ANNOTATION "null}}}"), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(patch(w, B, ANNOTATION "\"" B "\"}}}"), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_string_equal(w_text(w, "metadata.resourceVersion"), version);
}

static void clients_do_not_make_it(void **state)
{
        struct world *w = *state;

        assert_int_equal(make_pod(w, NULL), 201);
        assert_int_equal(patch(w, NULL, ANNOTATION "\"" B "\"}}}"), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_string_equal(trace_of_pod(w), "");
        assert_int_equal(patch(w, NULL, ANNOTATION "\"" B "\",\"mine\":\"x\"}}}"), 200);
        assert_string_equal(trace_of_pod(w), "");
        assert_string_equal(json_string_value(json_object_get(
                                api_at(w_stored(w, &api_kind_pod, "vm"), "metadata.annotations"), "mine")),
                            "x");
}

static void a_replace_without_it_keeps_it(void **state)
{
        struct world *w = *state;
        AK_AUTOFREE char *body = NULL;
        json_t *pod;

        assert_int_equal(make_pod(w, A), 201);
        pod = json_deep_copy(w_stored(w, &api_kind_pod, "vm"));
        (void)json_object_del(json_object_get(pod, "metadata"), "annotations");
        body = json_dumps(pod, 0);
        json_decref(pod);
        w->request.traceparent = B;
        assert_int_equal(w_update(w, &api_kind_pod, "vm", body), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_string_equal(trace_of_pod(w), A);
}

static void a_deletion_leaves_its_trace(void **state)
{
        struct world *w = *state;

        w_node(w, "node1");
        assert_int_equal(make_pod(w, A), 201);
        (void)w_tick(w);
        assert_string_not_equal(api_text(w_stored(w, &api_kind_pod, "vm"), "spec.nodeName"), "");
        w->request.traceparent = B;
        assert_int_equal(w_delete(w, &api_kind_pod, "vm", NULL), 200);
        assert_string_equal(trace_of_pod(w), B);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
        const struct CMUnitTest tests[] = {
            TEST(a_create_and_a_new_spec_leave_their_trace),
            TEST(without_a_trace_there_is_no_annotation),
            TEST(what_changes_no_wish_leaves_none),
            TEST(a_write_without_effect_stays_so),
            TEST(clients_do_not_make_it),
            TEST(a_replace_without_it_keeps_it),
            TEST(a_deletion_leaves_its_trace),
        };

        return cmocka_run_group_tests_name("core traces", tests, NULL, NULL);
}
