/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds share: versions, preconditions, status, deletion, namespaces. */
#include "services/apiserver/test_core_util.h"

#include <string.h>

static int merge_patch(struct world *w, const struct api_kind *kind, const char *name, const char *body)
{
        return w_patch(w, kind, name, API_PATCH_MERGE, body);
}

static void test_create(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(w_pod(w, "p", "eth0"), 409);
        assert_string_equal(w_text(w, "reason"), "AlreadyExists");
        assert_string_equal(w_message(w), "pods \"p\" already exists");
        assert_int_equal(w_get(w, &api_kind_pod, "q"), 404);
        assert_string_equal(w_message(w), "pods \"q\" not found");
        assert_int_equal(w_get(w, &api_kind_vpc, "q"), 404);
        assert_string_equal(w_message(w), "vpcs.vpc.alkaid.io \"q\" not found");
        w->request.name_space = "nope";
        assert_int_equal(w_create(w, &api_kind_pod, "{'metadata': {'name': 'p'}}"), 404);
        assert_string_equal(w_message(w), "namespaces \"nope\" not found");
}

static void test_generate_name(void **state)
{
        struct world *w = *state;
        char first[64];

        assert_int_equal(w_create(w, &api_kind_namespace, "{'metadata': {'generateName': 'ns-'}}"), 201);
        (void)snprintf(first, sizeof(first), "%s", w_text(w, "metadata.name"));
        assert_memory_equal(first, "ns-", 3);
        assert_int_equal(strlen(first), 8);
        assert_int_equal(w_create(w, &api_kind_namespace, "{'metadata': {'generateName': 'ns-'}}"), 201);
        assert_string_not_equal(w_text(w, "metadata.name"), first);
        assert_int_equal(w_create(w, &api_kind_namespace, "{'metadata': {}}"), 422);
        assert_cause(w, "metadata.name", "generateName is required");
        assert_int_equal(w_create(w, &api_kind_namespace, "{'metadata': {'generateName': 'NS_'}}"), 422);
}

static void test_versions(void **state)
{
        struct world *w = *state;
        uint64_t before;
        char version[32], body[256];

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        before = api_core_resource_version(w->core);
        assert_int_equal(strtoull(w_text(w, "metadata.resourceVersion"), NULL, 10), before);
        (void)snprintf(version, sizeof(version), "%s", w_text(w, "metadata.resourceVersion"));

        /* Nothing changes: the same version, no event. */
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", "{'spec': {'vpc': 'vpcdemo'}}"), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_string_equal(w_text(w, "metadata.resourceVersion"), version);
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", "{}"), 200);
        assert_int_equal(w->last.change_count, 0);

        /* Metadata changes: a version, no generation. */
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", "{'metadata': {'labels': {'a': 'b'}}}"), 200);
        assert_int_equal(w->last.change_count, 1);
        assert_int_equal(w->last.changes[0].type, API_MODIFIED);
        assert_null(api_at(w->last.changes[0].old, "metadata.labels"));
        assert_int_equal(w->last.changes[0].resource_version, before + 1);
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.generation")), 1);

        /* A stale version is a conflict, in a patch as in an update. */
        (void)snprintf(body, sizeof(body), "{'metadata': {'resourceVersion': '%s', 'labels': {'a': 'c'}}}",
                       version);
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", body), 409);
        assert_string_equal(w_text(w, "reason"), "Conflict");
        assert_message(w, "Operation cannot be fulfilled on pods \"p\": the object has been modified");
        (void)snprintf(body, sizeof(body), "{'metadata': {'uid': '%s'}}",
                       "00000000-0000-4000-8000-000000000001");
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", body), 409);
        assert_message(w, "UID in precondition");
}

static void test_labels(void **state)
{
        struct world *w = *state;
        static const char *const bad[] = {
            "{'labels': {'a b': '1'}}",      "{'labels': {'': '1'}}",
            "{'labels': {'x/y/z': '1'}}",    "{'labels': {'-a': '1'}}",
            "{'labels': {'EX.org/a': '1'}}", "{'labels': {'a': 'b c'}}",
            "{'labels': {'a': 1}}",          "{'annotations': {'a b': 'text'}}",
            "{'labels': {'a': '-'}}",
        };

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(asprintf(&body, "{'metadata': %s}", bad[i]) > 0);
                if (merge_patch(w, &api_kind_pod, "p", body) != 422)
                        fail_msg("%s: %d", bad[i], w->last.code);
        }
        assert_int_equal(
            merge_patch(w, &api_kind_pod, "p",
                        "{'metadata': {'labels': {'example.org/a_b': 'v.1', 'e': ''}, 'annotations': "
                        "{'example.org/n': 'any text: {}'}}}"),
            200);
        assert_int_equal(w_list(w, &api_kind_pod, "example.org/a_b=v.1,e=", NULL), 200);
        assert_int_equal(json_array_size(json_object_get(w->last.object, "items")), 1);
}

static void test_json_patch_with_test(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(
            w_patch(w, &api_kind_pod, "p", API_PATCH_JSON,
                    "[{'op': 'test', 'path': '/spec/nics/0/name', 'value': 'eth0'}, {'op': 'add', "
                    "'path': '/spec/nics/-', 'value': {'name': 'eth1'}}]"),
            200);
        assert_non_null(w_port(w, "p", "eth1"));
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_JSON,
                                 "[{'op': 'test', 'path': '/spec/nics/0/name', 'value': 'eth9'}]"),
                         422);
        assert_message(w, "test failed");
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_JSON, "{}"), 400);
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", "[]"), 400);
        assert_int_equal(
            w_patch(w, &api_kind_pod, "p", API_PATCH_JSON, "[{'op': 'replace', 'path': '', 'value': 5}]"),
            400);
}

static void test_status(void **state)
{
        struct world *w = *state;
        uint64_t version;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        /* The main resource keeps the status, the status write keeps all else. */
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", "{'status': {'phase': 'Running'}}"), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(
            w_patch_status(w, &api_kind_pod, "p",
                           "{'spec': {'vpc': 'other'}, 'metadata': {'labels': {'a': 'b'}}, 'status': "
                           "{'phase': 'Running', 'nicStatuses': [{'name': 'eth0', 'state': "
                           "'Ready'}]}}"),
            200);
        assert_string_equal(w_text(w, "status.phase"), "Running");
        assert_string_equal(w_text(w, "spec.vpc"), "vpcdemo");
        assert_null(api_at(w->last.object, "metadata.labels"));
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.generation")), 1);
        assert_string_equal(w_text(w, "status.qosClass"), "Guaranteed");
        version = api_core_resource_version(w->core);
        assert_int_equal(w_patch_status(w, &api_kind_pod, "p", "{'status': {'phase': 'Running'}}"), 200);
        assert_int_equal(api_core_resource_version(w->core), version);
        assert_int_equal(w_patch_status(w, &api_kind_pod, "p", "{'status': {'phase': 'Sleeping'}}"), 422);
        assert_cause(w, "status.phase", "supported values: \"Pending\", \"Running\"");
        assert_int_equal(
            w_patch_status(w, &api_kind_pod, "p", "{'status': {'nicStatuses': [{'state': 'x'}]}}"), 422);
        assert_int_equal(w_patch_status(w, &api_kind_pod, "p",
                                        "{'metadata': {'uid': '00000000-0000-4000-8000-000000000001'}}"),
                         409);
        assert_int_equal(w_do(w, API_GET, &api_kind_event, "e", "status", NULL), 404);
}

static void test_delete_with_grace(void **state)
{
        struct world *w = *state;
        char port[AK_UUID_SIZE];

        w_node(w, "node1");
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        (void)w_tick(w);
        (void)snprintf(port, sizeof(port), "%s", api_name(w_port(w, "p", "eth0")));

        assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'preconditions': {'uid': 'other'}}"), 409);
        assert_int_equal(w_delete(w, &api_kind_pod, "p", NULL), 200);
        assert_string_equal(w_text(w, "metadata.deletionTimestamp"), "2026-01-01T00:00:30Z");
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.deletionGracePeriodSeconds")),
                         30);
        /* What is wanted has changed, and the node must be able to tell. */
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.generation")), 2);
        assert_string_equal(api_text(w_stored(w, &api_kind_port, port), "status.phase"), "Releasing");
        assert_int_equal(w_delete(w, &api_kind_pod, "p", NULL), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(
            w_patch(w, &api_kind_pod, "p", API_PATCH_STRATEGIC, "{'spec': {'nics': [{'name': 'eth1'}]}}"),
            422);
        assert_cause(w, "spec.nics[1]", "is being deleted");

        w->request.dry_run = true;
        assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'gracePeriodSeconds': 0}"), 200);
        assert_non_null(w_stored(w, &api_kind_pod, "p"));
        assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'gracePeriodSeconds': 0}"), 200);
        assert_null(w_stored(w, &api_kind_pod, "p"));
        assert_int_equal(w->last.changes[w->last.change_count - 1].type, API_DELETED);
        /* The node has not said that it let go of the port. */
        assert_string_equal(api_text(w_stored(w, &api_kind_port, port), "status.phase"), "Releasing");
        assert_int_equal(w_released(w, port), 200);
        assert_null(w_stored(w, &api_kind_port, port));
        assert_int_equal(w_delete(w, &api_kind_pod, "p", NULL), 404);
}

static void test_delete_options(void **state)
{
        struct world *w = *state;
        static const char *const bad[] = {"[]",
                                          "'now'",
                                          "{'kind': 'Pod'}",
                                          "{'gracePeriodSeconds': '0'}",
                                          "{'gracePeriodSeconds': -1}",
                                          "{'gracePeriodSeconds': 9223372036854775807}",
                                          "{'propagationPolicy': 1}",
                                          "{'orphanDependents': 'yes'}",
                                          "{'preconditions': 'x'}"};

        w_node(w, "node1");
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(merge_patch(w, &api_kind_pod, "p", "{'spec': {'terminationGracePeriodSeconds': 0}}"),
                         200);
        (void)w_tick(w);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_int_equal(w_delete(w, &api_kind_pod, "p", bad[i]), 400);
        assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'propagationPolicy': 'Sideways'}"), 422);
        assert_cause(w, "propagationPolicy", "supported values: \"Background\", \"Foreground\", \"Orphan\"");
        assert_int_equal(
            w_delete(w, &api_kind_pod, "p", "{'propagationPolicy': 'Orphan', 'orphanDependents': true}"),
            422);
        assert_cause(w, "propagationPolicy", "cannot both be set");
        /* No grace for the guest, but the node still confirms. */
        assert_int_equal(
            w_delete(w, &api_kind_pod, "p", "{'kind': 'DeleteOptions', 'gracePeriodSeconds': null}"), 200);
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.deletionGracePeriodSeconds")),
                         1);
        assert_non_null(w_stored(w, &api_kind_pod, "p"));
}

static void test_replace_keeps_what_the_server_filled_in(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'v'}, 'spec': {'cidr': '10.0.0.0/16'}}"), 201);
        assert_int_equal(w_create(w, &api_kind_subnet,
                                  "{'metadata': {'name': 's'}, 'spec': {'vpc': 'v', 'cidr': '10.0.1.0/24'}}"),
                         201);
        assert_int_equal(w_update(w, &api_kind_subnet, "s",
                                  "{'metadata': {'name': 's'}, 'spec': {'vpc': 'v', 'cidr': '10.0.1.0/24'}}"),
                         200);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(w_create(w, &api_kind_port, "{'spec': {'vpc': 'v', 'subnet': 's'}}"), 201);
        char port[AK_UUID_SIZE];
        (void)snprintf(port, sizeof(port), "%s", w_text(w, "metadata.name"));
        assert_int_equal(
            w_update(w, &api_kind_port, port, "{'metadata': {'labels': {'a': 'b'}}, 'spec': {'vpc': 'v'}}"),
            200);
        assert_string_not_equal(w_text(w, "spec.macAddress"), "");
        assert_int_equal(
            w_update(
                w, &api_kind_port, port,
                "{'spec': {'vpc': 'v', 'macAddress': '06:00:00:00:00:01', 'ipAddresses': ['10.0.1.9']}}"),
            422);
        assert_message(w, "spec.macAddress: Forbidden: cannot be changed");
        assert_message(w, "spec.ipAddresses: Forbidden: cannot be changed");
}

static void test_finalizers(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_vpc,
                     "{'metadata': {'name': 'v', 'finalizers': ['a/b', 'c/d']}, 'spec': {'cidr': "
                     "'10.0.0.0/16'}}"),
            201);
        assert_int_equal(w_delete(w, &api_kind_vpc, "v", NULL), 200);
        assert_string_not_equal(w_text(w, "metadata.deletionTimestamp"), "");
        assert_int_equal(merge_patch(w, &api_kind_vpc, "v", "{'metadata': {'finalizers': ['c/d']}}"), 200);
        assert_non_null(w_stored(w, &api_kind_vpc, "v"));
        assert_int_equal(w_patch(w, &api_kind_vpc, "v", API_PATCH_STRATEGIC,
                                 "{'metadata': {'$deleteFromPrimitiveList/finalizers': ['c/d']}}"),
                         200);
        assert_null(w_stored(w, &api_kind_vpc, "v"));
        assert_int_equal(w->last.changes[0].type, API_DELETED);
}

static void test_delete_collection(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p1", "eth0"), 201);
        assert_int_equal(w_pod(w, "p2", "eth0"), 201);
        assert_int_equal(merge_patch(w, &api_kind_pod, "p2", "{'metadata': {'labels': {'keep': 'yes'}}}"),
                         200);
        w->request.label_selector = "!keep";
        w->request.images = true; /* as a server asks, whatever the verb */
        assert_int_equal(w_do(w, API_DELETE_COLLECTION, &api_kind_pod, "", "", NULL), 200);
        assert_null(w_stored(w, &api_kind_pod, "p1"));
        assert_non_null(w_stored(w, &api_kind_pod, "p2"));
        w->request.label_selector = "((";
        assert_int_equal(w_do(w, API_DELETE_COLLECTION, &api_kind_pod, "", "", NULL), 400);
}

static void test_vpcs_and_subnets(void **state)
{
        struct world *w = *state;
        static const char *const bad_vpcs[] = {"",          "10.0.0.0", "10.0.0.1/16", "10.0.0.0/33",
                                               "0.0.0.0/0", "fd00::/64"};
        static const struct {
                const char *spec, *field;
        } bad_subnets[] = {
            {"{'vpc': 'v', 'cidr': '10.1.0.0/24'}", "spec.cidr"},
            {"{'vpc': 'v', 'cidr': '10.0.5.1/24'}", "spec.cidr"},
            {"{'vpc': 'v', 'cidr': '10.0.1.128/25'}", "spec.cidr"},
            {"{'vpc': 'v', 'cidr': '10.0.2.0/31'}", "spec.cidr"},
            {"{'vpc': 'x', 'cidr': '10.0.2.0/24'}", "spec.vpc"},
            {"{'vpc': 'v', 'cidr': '10.0.2.0/24', 'gateway': '10.0.3.1'}", "spec.gateway"},
            {"{'vpc': 'v', 'cidr': '10.0.2.0/24', 'gateway': '10.0.2.0'}", "spec.gateway"},
            {"{'vpc': 'v', 'cidr': '10.0.2.0/24', 'gateway': '10.0.2.255'}", "spec.gateway"},
            {"{'cidr': '10.0.2.0/24'}", "spec.vpc"},
            {"{'vpc': 'v'}", "spec.cidr"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad_vpcs); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(
                    asprintf(&body, "{'metadata': {'name': 'v'}, 'spec': {'cidr': '%s'}}", bad_vpcs[i]) > 0);
                assert_int_equal(w_create(w, &api_kind_vpc, body), 422);
                assert_cause(w, "spec.cidr", "");
        }
        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'v'}, 'spec': {'cidr': '10.0.0.0/16'}}"), 201);
        assert_int_equal(
            w_create(w, &api_kind_subnet,
                     "{'metadata': {'name': 's1'}, 'spec': {'vpc': 'v', 'cidr': '10.0.1.0/24', 'dns': "
                     "['9.9.9.9']}}"),
            201);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad_subnets); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(asprintf(&body, "{'metadata': {'name': 's2'}, 'spec': %s}", bad_subnets[i].spec) >
                            0);
                if (w_create(w, &api_kind_subnet, body) != 422)
                        fail_msg("%s: %d", bad_subnets[i].spec, w->last.code);
                assert_cause(w, bad_subnets[i].field, "");
        }
        assert_int_equal(merge_patch(w, &api_kind_subnet, "s1", "{'spec': {'cidr': '10.0.2.0/24'}}"), 422);
        assert_int_equal(merge_patch(w, &api_kind_vpc, "v", "{'spec': {'cidr': '10.0.0.0/8'}}"), 422);

        assert_int_equal(w_create(w, &api_kind_port, "{'spec': {'vpc': 'v', 'subnet': 's1'}}"), 201);
        char port[AK_UUID_SIZE];
        (void)snprintf(port, sizeof(port), "%s", w_text(w, "metadata.name"));
        assert_string_equal(json_string_value(json_array_get(api_at(w->last.object, "status.dns"), 0)),
                            "9.9.9.9");
        assert_int_equal(w_delete(w, &api_kind_vpc, "v", NULL), 409);
        assert_int_equal(w_delete(w, &api_kind_subnet, "s1", NULL), 409);
        assert_message(w, port);
        assert_int_equal(w_delete(w, &api_kind_port, port, NULL), 200);
        assert_int_equal(w_delete(w, &api_kind_subnet, "s1", NULL), 200);
        assert_int_equal(w_delete(w, &api_kind_vpc, "v", NULL), 200);
}

/* A subnet that happens to bear the name of another VPC's default subnet is not taken over. */
static void test_auto_vpc_respects_what_is_there(void **state)
{
        struct world *w = *state;
        char uid[AK_UUID_SIZE];

        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'v'}, 'spec': {'cidr': '10.0.0.0/16'}}"), 201);
        assert_int_equal(w_create(w, &api_kind_subnet,
                                  "{'metadata': {'name': 'vpcdemo-default'}, 'spec': {'vpc': 'v', 'cidr': "
                                  "'10.0.1.0/24'}}"),
                         201);
        (void)snprintf(uid, sizeof(uid), "%s", w_text(w, "metadata.uid"));
        assert_int_equal(w_pod(w, "p", "eth0"), 422);
        assert_message(w, "spec.nics[0].subnetName");
        assert_string_equal(api_uid(w_stored(w, &api_kind_subnet, "vpcdemo-default")), uid);
}

static void test_namespaces(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_delete(w, &api_kind_namespace, "default", NULL), 403);
        assert_int_equal(w_create(w, &api_kind_namespace, "{'metadata': {'name': 'a.b'}}"), 422);
        assert_int_equal(w_create(w, &api_kind_namespace, "{'metadata': {'name': 'team'}}"), 201);
        assert_string_equal(w_text(w, "status.phase"), "Active");
        w->request.name_space = "team";
        assert_int_equal(
            w_create(w, &api_kind_pod,
                     "{'metadata': {'name': 'p'}, 'spec': {'vpc': 'v', 'nics': [{'name': 'eth0'}], "
                     "'virtualMachine': {'name': 'vm', 'image': 'h/i'}}}"),
            201);
        w->request.name_space = "team";
        assert_int_equal(w_create(w, &api_kind_port, "{'spec': {'vpc': 'v'}}"), 201);
        w_node(w, "node1");
        (void)w_tick(w);
        assert_int_equal(w_delete(w, &api_kind_namespace, "team", NULL), 200);
        assert_string_equal(w_text(w, "status.phase"), "Terminating");
        w->request.name_space = "team";
        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'w'}, 'spec': {'cidr': '10.0.0.0/16'}}"), 403);
        assert_message(w, "because it is being terminated");
        (void)w_tick(w);
        (void)w_tick(w);
        /* The pod waits for its node … */
        const json_t *pod = api_find(w->core, &api_kind_pod, "team", "p");
        assert_true(api_is_deleting(pod));
        char port[AK_UUID_SIZE];
        (void)snprintf(port, sizeof(port), "%s",
                       api_text(json_array_get(api_at(pod, "spec.nics"), 0), "portId"));
        w->request.name_space = "team";
        assert_int_equal(w_released(w, port), 200);
        w->request.name_space = "team";
        assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'gracePeriodSeconds': 0}"), 200);
        /* … and all the rest goes, a user's port, VPC, subnet and events included. */
        for (int i = 0; i < 5; i++)
                (void)w_tick(w);
        assert_null(api_find(w->core, &api_kind_namespace, "", "team"));
        assert_int_equal(api_objects(w->core, &api_kind_port)->count, 0);
        assert_int_equal(api_objects(w->core, &api_kind_vpc)->count, 0);
        assert_int_equal(api_objects(w->core, &api_kind_event)->count, 0);
}

static void test_binding(void **state)
{
        struct world *w = *state;

        w_node(w, "node1");
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "binding", "{'target': {'kind': 'Node'}}"),
                         422);
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "q", "binding", "{'target': {'name': 'node1'}}"),
                         404);
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "binding", "{'target': {'name': 'node1'}}"),
                         201);
        assert_string_equal(api_text(w_stored(w, &api_kind_pod, "p"), "spec.nodeName"), "node1");
        assert_string_equal(api_text(w_port(w, "p", "eth0"), "spec.nodeName"), "node1");
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "binding", "{'target': {'name': 'node1'}}"),
                         409);
}

static void test_eviction(void **state)
{
        struct world *w = *state;
        static const char *const bad[] = {"{'kind': 'Binding'}", "{'apiVersion': 'v1'}",
                                          "{'metadata': {'name': 'other'}}",
                                          "{'deleteOptions': {'gracePeriodSeconds': -1}}"};

        w_node(w, "node1");
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        (void)w_tick(w);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "eviction", bad[i]), 400);
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "q", "eviction", "{}"), 404);
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "eviction",
                              "{'deleteOptions': {'preconditions': {'uid': 'other'}}}"),
                         409);
        w->request.dry_run = true;
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "eviction", "{}"), 201);
        assert_false(api_is_deleting(w_stored(w, &api_kind_pod, "p")));
        assert_int_equal(w_do(w, API_CREATE, &api_kind_pod, "p", "eviction",
                              "{'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'p'}, "
                              "'deleteOptions': {'gracePeriodSeconds': 5}}"),
                         201);
        assert_string_equal(w_text(w, "status"), "Success");
        assert_int_equal(json_integer_value(
                             api_at(w_stored(w, &api_kind_pod, "p"), "metadata.deletionGracePeriodSeconds")),
                         5);
}

static void test_reload(void **state)
{
        struct world *w = *state, again;
        const struct api_kind *const *kinds = api_kinds;

        w_node(w, "node1");
        assert_int_equal(w_pod(w, "p", "eth0 eth1"), 201);
        (void)w_tick(w);
        again = (struct world){.now_us = w->now_us};
        struct api_core_config config = world_config;
        config.seed = 7;
        assert_int_equal(api_core_new(&again.core, &config), 0);
        for (size_t k = 0; k < api_kind_count; k++) {
                const struct api_table_of_kind *t = api_objects(w->core, kinds[k]);
                for (size_t i = 0; i < t->count; i++)
                        assert_int_equal(api_core_load(again.core, kinds[k], api_tree(w->core, &t->items[i]),
                                                       t->items[i].image->resource_version),
                                         0);
        }
        struct api_result started;
        assert_int_equal(api_core_start(again.core, again.now_us, &started), 0);
        assert_int_equal(started.change_count, 0);
        api_result_deinit(&started);
        assert_int_equal(api_core_resource_version(again.core), api_core_resource_version(w->core));
        /* What was taken is taken still. */
        assert_int_equal(w_patch(&again, &api_kind_pod, "p", API_PATCH_STRATEGIC,
                                 "{'spec': {'nics': [{'name': 'eth2', 'ipAddress': '10.200.0.3'}]}}"),
                         422);
        assert_cause(&again, "spec.nics[2].ipAddress", "taken by NIC eth1 of pod p");
        assert_int_equal(w_patch(&again, &api_kind_pod, "p", API_PATCH_STRATEGIC,
                                 "{'spec': {'nics': [{'name': 'eth2'}]}}"),
                         200);
        assert_string_equal(
            json_string_value(json_array_get(api_at(w_port(&again, "p", "eth2"), "spec.ipAddresses"), 0)),
            "10.200.0.4");
        assert_int_equal(json_integer_value(api_at(w_port(&again, "p", "eth2"), "spec.slot")), 2);
        assert_int_equal(w_patch(&again, &api_kind_pod, "p", API_PATCH_STRATEGIC,
                                 "{'spec': {'nics': [{'$patch': 'delete', 'name': 'eth0'}]}}"),
                         422);
        world_deinit(&again);
}

static void test_too_many_objects(void **state)
{
        struct world small;
        struct api_core_config config = world_config;

        (void)state;
        config.max_objects = 5;
        world_init(&small, &config);
        assert_int_equal(w_pod(&small, "p", "eth0"), 507);
        assert_null(w_stored(&small, &api_kind_vpc, "vpcdemo"));
        assert_int_equal(w_create(&small, &api_kind_namespace, "{'metadata': {'name': 'x'}}"), 201);
        world_deinit(&small);
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

/* A refusal may quote what the client sent, and cut it in the middle of a character. */
static void test_texts_that_are_no_utf8(void **state)
{
        json_t *status =
            api_status_failure(415, "UnsupportedMediaType", NULL, NULL, "f", "a \xff\xc3\xa4 \xe2\x82");

        (void)state;
        assert_string_equal(api_text(status, "message"), "a ?\xc3\xa4 ??");
        json_decref(status);
}

static void test_leases(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_lease,
                     "{'metadata': {'name': 'n1'}, 'spec': {'holderIdentity': 'n1', 'leaseDurationSeconds': "
                     "40, 'renewTime': '2026-01-02T03:04:05.123456Z'}}"),
            201);
        assert_int_equal(
            w_patch(w, &api_kind_lease, "n1", API_PATCH_MERGE, "{'spec': {'leaseDurationSeconds': 0}}"), 422);
        assert_int_equal(w_patch(w, &api_kind_lease, "n1", API_PATCH_MERGE, "{'spec': {'renewTime': 'now'}}"),
                         422);
        assert_int_equal(w_patch(w, &api_kind_lease, "n1", API_PATCH_MERGE,
                                 "{'spec': {'renewTime': '2026-01-02T03:04:15.000000Z'}}"),
                         200);
        assert_int_equal(w_do(w, API_GET, &api_kind_lease, "n1", "status", NULL), 404);
        assert_int_equal(w_delete(w, &api_kind_lease, "n1", NULL), 200);
        assert_int_equal(w_delete(w, &api_kind_namespace, API_NODE_LEASES, NULL), 403);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            T(test_create),
            T(test_generate_name),
            T(test_versions),
            T(test_labels),
            T(test_json_patch_with_test),
            T(test_status),
            T(test_delete_with_grace),
            T(test_delete_options),
            T(test_replace_keeps_what_the_server_filled_in),
            T(test_finalizers),
            T(test_delete_collection),
            T(test_vpcs_and_subnets),
            T(test_auto_vpc_respects_what_is_there),
            T(test_namespaces),
            T(test_leases),
            cmocka_unit_test(test_texts_that_are_no_utf8),
            T(test_binding),
            T(test_eviction),
            T(test_reload),
            T(test_too_many_objects),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
