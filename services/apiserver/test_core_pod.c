/* SPDX-License-Identifier: Apache-2.0 */
/* Pods: defaults, and what admission refuses, with the words it uses. */
#include "services/apiserver/test_core_util.h"

#include <string.h>

#define POD_WITH                                                                                             \
        "{'metadata': {'name': 'p'}, 'spec': {'vpc': 'v', 'nics': %s, "                                      \
        "'virtualMachine': {'name': 'vm', 'image': 'h/i'}}}"

/* Creates pod "p" with this spec.nics. */
static int create_nics(struct world *w, const char *nics)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, POD_WITH, nics) > 0);
        return w_create(w, &api_kind_pod, body);
}

static int create_vm(struct world *w, const char *vm)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body,
                             "{'metadata': {'name': 'p'}, 'spec': {'vpc': 'v', 'nics': [{'name': 'eth0'}], "
                             "'virtualMachine': %s}}",
                             vm) > 0);
        return w_create(w, &api_kind_pod, body);
}

static void test_defaults(void **state)
{
        struct world *w = *state;
        const json_t *pod, *container;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        pod = w->last.object;
        assert_string_equal(api_text(pod, "metadata.namespace"), "default");
        assert_string_equal(api_text(pod, "metadata.creationTimestamp"), "2026-01-01T00:00:00Z");
        assert_true(ak_uuid_valid(api_uid(pod)));
        assert_int_equal(json_integer_value(api_at(pod, "metadata.generation")), 1);
        assert_string_equal(api_text(pod, "spec.restartPolicy"), "Always");
        assert_int_equal(json_integer_value(api_at(pod, "spec.terminationGracePeriodSeconds")), 30);
        assert_string_equal(api_text(pod, "spec.virtualMachine.imagePullPolicy"), "IfNotPresent");
        assert_string_equal(api_text(pod, "spec.virtualMachine.resources.limits.cpu"), "1");
        assert_string_equal(api_text(pod, "status.phase"), "Pending");
        assert_true(ak_uuid_valid(api_text(json_array_get(api_at(pod, "spec.nics"), 0), "portId")));
        container = json_array_get(api_at(pod, "spec.containers"), 0);
        assert_string_equal(api_text(container, "name"), "vm");
        assert_string_equal(api_text(container, "image"), "example.org/vm.img");
        assert_true(json_is_true(json_object_get(container, "stdin")));
        assert_true(json_is_true(json_object_get(container, "tty")));
        /* VPC, subnet, port, pod: one transaction. */
        assert_int_equal(w->last.change_count, 4);
}

static void test_the_documents_pod(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_pod,
                     "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'nginx-vm'}, 'spec': "
                     "{'vpc': 'vpcdemo', 'nics': [{'name': 'eth0'}], 'virtualMachine': {'name': "
                     "'cirros-vm', 'image': "
                     "'download.cirros-cloud.net/0.3.5/cirros-0.3.5-x86_64-disk.img', "
                     "'imagePullPolicy': 'IfNotPresent', 'resources': {'limits': {'cpu': '1', "
                     "'memory': '200Mi'}}}}}"),
            201);
        assert_int_equal(w_patch(w, &api_kind_pod, "nginx-vm", API_PATCH_STRATEGIC,
                                 "{'spec': {'nics': [{'name': 'eth1'}]}}"),
                         200);
        assert_int_equal(json_array_size(api_at(w->last.object, "spec.nics")), 2);
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.generation")), 2);
        assert_non_null(w_port(w, "nginx-vm", "eth1"));
        assert_int_equal(w_patch(w, &api_kind_pod, "nginx-vm", API_PATCH_STRATEGIC,
                                 "{'spec': {'nics': [{'$patch': 'delete', 'name': 'eth1'}]}}"),
                         200);
        assert_int_equal(json_array_size(api_at(w->last.object, "spec.nics")), 1);
}

static void test_without_vm(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_pod,
                     "{'metadata': {'name': 'p'}, 'spec': {'containers': [{'name': 'c', 'image': "
                     "'nginx'}]}}"),
            422);
        assert_message(w, "spec.virtualMachine: Required value");
        assert_message(w, "VM pods are served here");
}

#define POD_WITH_CONTAINER                                                                                   \
        "{'metadata': {'name': 'p'}, 'spec': {'vpc': 'v', 'nics': [{'name': 'eth0'}], 'containers': "        \
        "[{'name': '%s', 'image': '%s'}], 'virtualMachine': {'name': 'vm', 'image': 'h/i'}}}"

static void test_containers_of_the_client(void **state)
{
        struct world *w = *state;
        AK_AUTOFREE char *other = NULL, *ours = NULL;

        assert_true(asprintf(&other, POD_WITH_CONTAINER, "nginx", "nginx") > 0);
        assert_true(asprintf(&ours, POD_WITH_CONTAINER, "vm", "h/i") > 0);
        assert_int_equal(w_create(w, &api_kind_pod, other), 422);
        assert_cause(w, "spec.containers", "VM pods are served here");
        assert_int_equal(w_create(w, &api_kind_pod, ours), 201);
}

static void test_refused_nics(void **state)
{
        struct world *w = *state;
        static const struct {
                const char *nics, *field, *message;
        } cases[] = {
            {"[{'tag': 'x'}]", "spec.nics[0].name", "Required value"},
            {"[{'name': ''}]", "spec.nics[0].name", "Required value"},
            {"[{'name': 'eth0'}, {'tag': 'x'}]", "spec.nics[1].name", "Required value"},
            {"[{'name': 'eth0'}, {'name': 'eth0'}]", "spec.nics[1].name", "Duplicate value: \"eth0\""},
            {"[{'name': 'eth0/1'}]", "spec.nics[0].name", "interface name"},
            {"[{'name': '0eth'}]", "spec.nics[0].name", "interface name"},
            {"[{'name': 'abcdefghijklmnop'}]", "spec.nics[0].name", "15"},
            {"[{'name': 'eth 0'}]", "spec.nics[0].name", "interface name"},
            {"[]", "spec.nics", "Required value"},
            {"[{'name': 'eth0', 'ipAddress': '10.0.0.300'}]", "spec.nics[0].ipAddress", "valid IP address"},
            {"[{'name': 'eth0', 'ipAddress': '10.9.0.5'}]", "spec.nics[0].ipAddress", "must lie in subnet"},
            {"[{'name': 'eth0', 'ipAddress': 'fe80::1'}]", "spec.nics[0].ipAddress", "must lie in subnet"},
            {"[{'name': 'eth0', 'ipAddress': '10.200.0.0'}]", "spec.nics[0].ipAddress", "network address"},
            {"[{'name': 'eth0', 'ipAddress': '10.200.0.255'}]", "spec.nics[0].ipAddress",
             "broadcast address"},
            {"[{'name': 'eth0', 'ipAddress': '10.200.0.1'}]", "spec.nics[0].ipAddress", "gateway"},
            {"[{'name': 'eth0', 'ipAddress': '10.200.0.9'}, {'name': 'eth1', 'ipAddress': '10.200.0.9'}]",
             "spec.nics[1].ipAddress", "taken by NIC eth0 of pod p"},
            {"[{'name': 'eth0', 'macAddress': '06:00:00:00:00'}]", "spec.nics[0].macAddress", "MAC address"},
            {"[{'name': 'eth0', 'macAddress': '01:00:00:00:00:01'}]", "spec.nics[0].macAddress", "unicast"},
            {"[{'name': 'eth0', 'macAddress': '06:00:00:00:00:0A'}, {'name': 'eth1', 'macAddress': "
             "'06:00:00:00:00:0a'}]",
             "spec.nics[1].macAddress", "taken by NIC eth0 of pod p"},
            {"[{'name': 'eth0', 'subnetName': 'nope'}]", "spec.nics[0].subnetName", "Not found: \"nope\""},
            {"[{'name': 'eth0', 'portId': 'eth0'}]", "spec.nics[0].portId", "UUID"},
            {"[{'name': 'eth0', 'portId': '00000000-0000-4000-8000-000000000001'}]", "spec.nics[0].portId",
             "Not found"},
            {"[{'name': 'eth0', 'linkState': 'sideways'}]", "spec.nics[0].linkState",
             "supported values: \"up\", \"down\""},
            {"[{'name': 'eth0', 'mtu': 67}]", "spec.nics[0].mtu", "between 576 and"},
            {"[{'name': 'eth0', 'mtu': '1500'}]", "spec.nics[0].mtu", "must be of type integer"},
            {"'eth0'", "spec.nics", "must be of type array"},
            {"['eth0']", "spec.nics[0]", "must be of type object"},
            {"[{'name': 'a0'}, {'name': 'a1'}, {'name': 'a2'}, {'name': 'a3'}, {'name': 'a4'}, {'name': "
             "'a5'}, "
             "{'name': 'a6'}, {'name': 'a7'}, {'name': 'a8'}]",
             "spec.nics", "8 hotplug slots"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                assert_int_equal(create_nics(w, cases[i].nics), 422);
                assert_cause(w, cases[i].field, cases[i].message);
                assert_memory_equal(w_message(w), "Pod \"p\" is invalid: ", 20);
        }
        /* Nothing half-made is left: no VPC, no subnet, no port. */
        assert_null(w_stored(w, &api_kind_vpc, "v"));
        assert_int_equal(api_objects(w->core, &api_kind_subnet)->count, 0);
        assert_int_equal(api_objects(w->core, &api_kind_port)->count, 0);
}

static void test_wording(void **state)
{
        struct world *w = *state;

        assert_int_equal(create_nics(w, "[{'name': 'eth0'}, {'tag': 'x'}]"), 422);
        assert_memory_equal(w_message(w), "Pod \"p\" is invalid: spec.nics[1].name: Required value", 53);
        assert_string_equal(w_text(w, "status"), "Failure");
        assert_string_equal(w_text(w, "details.name"), "p");
        assert_string_equal(w_text(w, "details.kind"), "Pod");
        assert_string_equal(api_text(json_array_get(api_at(w->last.object, "details.causes"), 0), "reason"),
                            "FieldValueRequired");
        /* Two faults: both are told. */
        assert_int_equal(create_nics(w, "[{'name': 'eth0', 'mtu': 1}, {'tag': 'x'}]"), 422);
        assert_int_equal(json_array_size(api_at(w->last.object, "details.causes")), 2);
        assert_message(w, "spec.nics[0].mtu");
        assert_message(w, "spec.nics[1].name");
}

static void test_unknown_fields(void **state)
{
        struct world *w = *state;
        static const char *const nics = "[{'name': 'eth0', 'foo': 1}]";

        w->request.field_validation = API_FIELDS_STRICT;
        assert_int_equal(create_nics(w, nics), 400);
        assert_string_equal(w_message(w),
                            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: "
                            "unknown field \"spec.nics[0].foo\"");
        w->request.field_validation = API_FIELDS_WARN;
        assert_int_equal(create_nics(w, nics), 201);
        assert_int_equal(w->last.warning_count, 1);
        assert_string_equal(w->last.warnings[0], "unknown field \"spec.nics[0].foo\"");
        assert_null(json_object_get(json_array_get(api_at(w->last.object, "spec.nics"), 0), "foo"));
        w->request.field_validation = API_FIELDS_IGNORE;
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE, "{'spec': {'bar': 1}}"), 200);
        assert_int_equal(w->last.warning_count, 0);
        assert_int_equal(w->last.change_count, 0); /* dropped, so nothing changed */
        w->request.field_validation = API_FIELDS_STRICT;
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_STRATEGIC,
                                 "{'spec': {'nics': [{'name': 'eth1', 'bar': 2}]}}"),
                         400);
        assert_message(w, "unknown field \"spec.nics[1].bar\"");
}

static void test_images(void **state)
{
        struct world *w = *state;
        static const char *const good[] = {
            "http://h/i.img",
            "https://h.example.org:8080/a/b.qcow2",
            "download.example.org/0.3.5/x.img",
            "localhost:8080/x.img",
            "/var/lib/images/x.img",
            "HTTPS://h/i",
        };
        static const char *const bad[] = {
            "file:///etc/passwd",
            "file:/etc/passwd",
            "FILE:///etc/passwd",
            "ftp://h/i",
            "gopher://h/i",
            "data:x",
            "https://h/../i",
            "/images/../etc/x",
            "http://h/i\\u0007",
            "",
            "https://",
            "https:///etc",
            "h /i",
            "http:/h/i",
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++) {
                AK_AUTOFREE char *vm = NULL;
                assert_true(asprintf(&vm, "{'name': 'vm', 'image': '%s'}", good[i]) > 0);
                w->request.dry_run = true;
                if (create_vm(w, vm) != 201)
                        fail_msg("%s: %s", good[i], w_message(w));
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                AK_AUTOFREE char *vm = NULL;
                assert_true(asprintf(&vm, "{'name': 'vm', 'image': '%s'}", bad[i]) > 0);
                if (create_vm(w, vm) != 422)
                        fail_msg("\"%s\" was accepted", bad[i]);
                assert_cause(w, "spec.virtualMachine.image", "");
        }
}

#define VM_OF_SIZE "{'name': 'vm', 'image': 'h/i', 'resources': {'limits': {'cpu': %s, 'memory': %s}}}"

static void test_sizes(void **state)
{
        struct world *w = *state;
        static const char *const good[][2] = {
            {"'500m'", "'64Mi'"}, {"2", "'1Gi'"}, {"0.5", "268435456"}, {"'1.5'", "'200M'"}};
        static const char *const bad[][2] = {
            {"'-1'", "'64Mi'"},      {"'0'", "'64Mi'"},  {"'1'", "'1'"},
            {"'1'", "'99999999Gi'"}, {"'x'", "'64Mi'"},  {"100000", "'64Mi'"},
            {"'1'", "'64Mi '"},      {"true", "'64Mi'"}, {"'99999999999999999999'", "'64Mi'"},
            {"1e300", "'64Mi'"},     {"'1'", "'1e'"},    {"-0.5", "'64Mi'"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(asprintf(&body, VM_OF_SIZE, good[i][0], good[i][1]) > 0);
                w->request.dry_run = true;
                if (create_vm(w, body) != 201)
                        fail_msg("%s %s: %s", good[i][0], good[i][1], w_message(w));
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(asprintf(&body, VM_OF_SIZE, bad[i][0], bad[i][1]) > 0);
                if (create_vm(w, body) != 422)
                        fail_msg("%s %s was accepted", bad[i][0], bad[i][1]);
                assert_message(w, "spec.virtualMachine.resources.limits.");
        }
        assert_int_equal(create_vm(w, "{'name': 'vm', 'image': 'h/i', 'resources': {'limits': {'cpu': '1'}, "
                                      "'requests': {'cpu': '2'}}}"),
                         422);
        assert_cause(w, "spec.virtualMachine.resources.requests.cpu", "limit");
}

/* kubectl apply compares with what it sent, so the form of a quantity is kept; the amount is what counts. */
static void test_forms_of_an_amount(void **state)
{
        struct world *w = *state;
        static const char *const same[] = {"'1'", "1", "1.0", "'1000m'"};

        assert_int_equal(create_vm(w, "{'name': 'vm', 'image': 'h/i', 'resources': {'limits': {'cpu': 1}}}"),
                         201);
        assert_true(json_is_integer(api_at(w->last.object, "spec.virtualMachine.resources.limits.cpu")));
        for (size_t i = 0; i < AK_ARRAY_SIZE(same); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(asprintf(&body,
                                     "{'spec': {'virtualMachine': {'resources': {'limits': {'cpu': %s}}}}}",
                                     same[i]) > 0);
                assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE, body), 200);
                assert_int_equal(w->last.change_count, 0);
        }
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE,
                                 "{'spec': {'virtualMachine': {'resources': {'limits': {'cpu': 1.5}}}}}"),
                         422);
        assert_message(w, "spec.virtualMachine.resources");
}

static void test_malformed_bodies(void **state)
{
        struct world *w = *state;
        static const struct {
                const char *body;
                int code;
        } cases[] = {
            {"[]", 400},
            {"'x'", 400},
            {"null", 400},
            {"{}", 422},
            {"{'metadata': 1, 'spec': 2}", 422},
            {"{'metadata': {'name': 'p'}, 'spec': []}", 422},
            {"{'metadata': {'name': 5}, 'spec': {}}", 422},
            {"{'metadata': {'name': 'UPPER'}, 'spec': {}}", 422},
            {"{'metadata': {'name': '../x'}, 'spec': {}}", 422},
            {"{'metadata': {'name': 'p'}, 'spec': {'nics': {}, 'virtualMachine': 1, 'vpc': []}}", 422},
            {"{'kind': 'Node', 'metadata': {'name': 'p'}}", 400},
            {"{'apiVersion': 'v2', 'kind': 'Pod', 'metadata': {'name': 'p'}}", 400},
            {"{'metadata': {'name': 'p', 'namespace': 'other'}}", 400},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++)
                if (w_create(w, &api_kind_pod, cases[i].body) != cases[i].code)
                        fail_msg("%s: %d %s", cases[i].body, w->last.code, w_message(w));
}

static void test_absent_vpc(void **state)
{
        struct world off;
        struct api_core_config config = world_config;

        (void)state;
        config.auto_create_vpc = false;
        world_init(&off, &config);
        assert_int_equal(w_pod(&off, "p", "eth0"), 422);
        assert_cause(&off, "spec.vpc", "Not found: \"vpcdemo\"");
        assert_message(&off, "create it first");
        assert_int_equal(w_create(&off, &api_kind_vpc,
                                  "{'metadata': {'name': 'vpcdemo'}, 'spec': {'cidr': '10.0.0.0/16'}}"),
                         201);
        assert_int_equal(w_pod(&off, "p", "eth0"), 422);
        assert_cause(&off, "spec.nics[0].subnetName", "Required value");
        assert_int_equal(
            w_create(&off, &api_kind_subnet,
                     "{'metadata': {'name': 'vpcdemo-default'}, 'spec': {'vpc': 'vpcdemo', 'cidr': "
                     "'10.0.3.0/24'}}"),
            201);
        assert_int_equal(w_pod(&off, "p", "eth0"), 201);
        world_deinit(&off);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_defaults, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_the_documents_pod, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_without_vm, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_containers_of_the_client, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_refused_nics, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_wording, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_unknown_fields, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_images, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_sizes, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_forms_of_an_amount, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_malformed_bodies, world_setup, world_teardown),
            cmocka_unit_test_setup_teardown(test_absent_vpc, world_setup, world_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
