/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of spec.nics, and the ports behind them: allocation, release, reuse only after Released. */
#include "services/apiserver/test_core_util.h"

#include <string.h>

static int patch_nics(struct world *w, const char *pod, const char *nics)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "{'spec': {'nics': %s}}", nics) > 0);
        return w_patch(w, &api_kind_pod, pod, API_PATCH_STRATEGIC, body);
}

static int delete_nic(struct world *w, const char *pod, const char *nic)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "[{'$patch': 'delete', 'name': '%s'}]", nic) > 0);
        return patch_nics(w, pod, body);
}

static const char *address(const json_t *port)
{
        return json_string_value(json_array_get(api_at(port, "spec.ipAddresses"), 0));
}

static json_int_t slot(const json_t *port)
{
        assert_true(json_is_integer(api_at(port, "spec.slot")));
        return json_integer_value(api_at(port, "spec.slot"));
}

/* A pod on a node, so that its ports are released in two steps. */
static void placed_pod(struct world *w, const char *name, const char *nics)
{
        if (!api_find(w->core, &api_kind_node, "", "node1"))
                w_node(w, "node1");
        assert_int_equal(w_pod(w, name, nics), 201);
        (void)w_tick(w);
        assert_string_equal(api_text(w_stored(w, &api_kind_pod, name), "spec.nodeName"), "node1");
}

static void test_a_port_as_documented(void **state)
{
        struct world *w = *state;
        const json_t *port, *vpc, *subnet;
        char mac[AK_MAC_SIZE];

        placed_pod(w, "p", "eth0");
        port = w_port(w, "p", "eth0");
        vpc = w_stored(w, &api_kind_vpc, "vpcdemo");
        subnet = w_stored(w, &api_kind_subnet, "vpcdemo-default");
        assert_string_equal(api_text(vpc, "spec.cidr"), "10.200.0.0/16");
        assert_string_equal(api_text(subnet, "spec.cidr"), "10.200.0.0/24");
        assert_string_equal(api_text(subnet, "spec.gateway"), "10.200.0.1");
        assert_string_equal(address(port), "10.200.0.2");
        assert_string_equal(api_text(port, "spec.vpc"), "vpcdemo");
        assert_string_equal(api_text(port, "spec.subnet"), "vpcdemo-default");
        assert_int_equal(ak_mac_parse(api_text(port, "spec.macAddress"), mac), 0);
        assert_memory_equal(mac, "06:", 3);
        assert_string_equal(api_text(port, "spec.nodeName"), "node1");
        assert_string_equal(api_text(port, "spec.boundTo.kind"), "Pod");
        assert_string_equal(api_text(port, "spec.boundTo.name"), "p");
        assert_string_equal(api_text(port, "spec.boundTo.nic"), "eth0");
        assert_string_equal(api_text(port, "spec.boundTo.uid"), api_uid(w_stored(w, &api_kind_pod, "p")));
        assert_int_equal(slot(port), 0);
        assert_true(json_is_true(api_at(port, "spec.autoCreated")));
        assert_string_equal(api_text(port, "status.phase"), "Bound");
        assert_string_equal(api_text(port, "status.vpcID"), api_uid(vpc));
        assert_string_equal(api_text(port, "status.subnetID"), api_uid(subnet));
        assert_string_equal(api_text(port, "status.cidr"), "10.200.0.0/24");
        assert_string_equal(api_text(port, "status.gateway"), "10.200.0.1");
        assert_true(json_is_true(api_at(port, "status.dhcp")));
        assert_int_equal(json_integer_value(api_at(port, "status.vni")), 4097);
        assert_int_equal(json_integer_value(api_at(port, "status.mtu")), 1500);
        assert_string_equal(api_text(json_array_get(api_at(port, "metadata.ownerReferences"), 0), "uid"),
                            api_text(port, "spec.boundTo.uid"));
}

static void test_unplug_holds_until_released(void **state)
{
        struct world *w = *state;
        char id[AK_UUID_SIZE], taken[32];

        placed_pod(w, "p", "eth0 eth1");
        (void)snprintf(id, sizeof(id), "%s", api_name(w_port(w, "p", "eth1")));
        (void)snprintf(taken, sizeof(taken), "%s", address(w_port(w, "p", "eth1")));
        assert_int_equal(w_released(w, id), 409); /* still Bound */
        assert_int_equal(delete_nic(w, "p", "eth1"), 200);
        assert_string_equal(api_text(w_stored(w, &api_kind_port, id), "status.phase"), "Releasing");

        /* Neither the address nor the slot is handed out again yet, not even on demand. */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1'}]"), 200);
        assert_string_not_equal(api_name(w_port(w, "p", "eth1")), id);
        assert_string_not_equal(address(w_port(w, "p", "eth1")), taken);
        assert_int_equal(slot(w_port(w, "p", "eth1")), 2);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth2', 'ipAddress': '10.200.0.3'}]"), 422);
        assert_cause(w, "spec.nics[2].ipAddress", "taken by NIC eth1 of pod p, which is releasing it");

        assert_int_equal(w_released(w, id), 200);
        assert_null(w_stored(w, &api_kind_port, id));
        assert_int_equal(w_released(w, id), 404);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth2', 'ipAddress': '10.200.0.3'}]"), 200);
        assert_int_equal(slot(w_port(w, "p", "eth2")), 1);
}

static void test_only_released_may_be_reported(void **state)
{
        struct world *w = *state;
        char id[AK_UUID_SIZE];

        placed_pod(w, "p", "eth0 eth1");
        (void)snprintf(id, sizeof(id), "%s", api_name(w_port(w, "p", "eth1")));
        assert_int_equal(w_patch_status(w, &api_kind_port, id, "{'status': {'phase': 'Unbound'}}"), 422);
        assert_cause(w, "status.phase", "Forbidden");
        assert_int_equal(w_patch_status(w, &api_kind_port, id, "{'status': {'phase': 'Gone'}}"), 422);
        assert_int_equal(delete_nic(w, "p", "eth1"), 200);
        /* A stale version is a conflict: the watcher reads again. */
        assert_int_equal(
            w_patch_status(w, &api_kind_port, id,
                           "{'metadata': {'resourceVersion': '1'}, 'status': {'phase': 'Released'}}"),
            409);
        /* The main resource does not take it. */
        assert_int_equal(w_patch(w, &api_kind_port, id, API_PATCH_MERGE, "{'status': {'phase': 'Released'}}"),
                         200);
        assert_string_equal(api_text(w_stored(w, &api_kind_port, id), "status.phase"), "Releasing");
        assert_int_equal(w_released(w, id), 200);
}

static void test_primary_is_protected(void **state)
{
        struct world *w = *state;

        placed_pod(w, "p", "net7 eth0");
        assert_int_equal(delete_nic(w, "p", "net7"), 422);
        assert_cause(w, "spec.nics", "pod updates may not delete primary nic net7");
        /* Reordering does not make another NIC the primary one. */
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE,
                                 "{'spec': {'nics': [{'name': 'eth0'}, {'name': 'net7'}]}}"),
                         200);
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE,
                                 "{'metadata': {'annotations': null}, 'spec': {'nics': [{'name': 'eth0'}]}}"),
                         422);
        assert_cause(w, "spec.nics", "primary nic net7");
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE, "{'spec': {'nics': []}}"), 422);
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE, "{'spec': {'nics': null}}"), 422);
        assert_int_equal(delete_nic(w, "p", "eth0"), 200);
}

static void test_reorder_is_nothing(void **state)
{
        struct world *w = *state;

        placed_pod(w, "p", "eth0 eth1 eth2");
        assert_int_equal(
            w_patch(w, &api_kind_pod, "p", API_PATCH_MERGE,
                    "{'spec': {'nics': [{'name': 'eth2'}, {'name': 'eth0'}, {'name': 'eth1'}]}}"),
            200);
        assert_int_equal(w->last.change_count, 0);
        assert_string_equal(api_text(json_array_get(api_at(w->last.object, "spec.nics"), 0), "name"), "eth0");
}

static void test_port_id_is_fixed(void **state)
{
        struct world *w = *state;

        placed_pod(w, "p", "eth0 eth1");
        assert_int_equal(
            patch_nics(w, "p", "[{'name': 'eth1', 'portId': '00000000-0000-4000-8000-000000000001'}]"), 422);
        assert_cause(w, "spec.nics[1].portId", "pod updates may not modify eth1 portId");
        /* Left out, it stays. */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1', 'portId': null}]"), 200);
        assert_int_equal(w->last.change_count, 0);
}

static void test_plugged_nic_keeps_its_addresses(void **state)
{
        struct world *w = *state;
        static const char *const refused[][2] = {
            {"[{'name': 'eth1', 'ipAddress': '10.200.0.77'}]", "spec.nics[1].ipAddress"},
            {"[{'name': 'eth1', 'macAddress': '06:00:00:00:00:01'}]", "spec.nics[1].macAddress"},
            {"[{'name': 'eth1', 'subnetName': 'other'}]", "spec.nics[1].subnetName"},
            {"[{'name': 'eth1', 'mtu': 1400}]", "spec.nics[1].mtu"},
        };

        placed_pod(w, "p", "eth0 eth1");
        for (size_t i = 0; i < AK_ARRAY_SIZE(refused); i++) {
                assert_int_equal(patch_nics(w, "p", refused[i][0]), 422);
                assert_cause(w, refused[i][1], "remove the NIC and add it again");
        }
        /* What it has already may be said. */
        assert_int_equal(patch_nics(w, "p",
                                    "[{'name': 'eth1', 'ipAddress': '10.200.0.3', 'subnetName': "
                                    "'vpcdemo-default', 'linkState': 'down'}]"),
                         200);
        assert_string_equal(api_text(json_array_get(api_at(w->last.object, "spec.nics"), 1), "linkState"),
                            "down");
}

static void test_immutable_fields(void **state)
{
        struct world *w = *state;
        static const char *const refused[][2] = {
            {"{'spec': {'vpc': 'other'}}", "spec.vpc"},
            {"{'spec': {'virtualMachine': {'image': 'h/other'}}}", "spec.virtualMachine.image"},
            {"{'spec': {'virtualMachine': {'name': 'vm2'}}}", "spec.virtualMachine.name"},
            {"{'spec': {'virtualMachine': {'resources': {'limits': {'cpu': '2'}}}}}",
             "spec.virtualMachine.resources"},
            {"{'spec': {'restartPolicy': 'Never'}}", "spec.restartPolicy"},
            {"{'spec': {'nodeName': 'node2'}}", "spec.nodeName"},
        };

        placed_pod(w, "p", "eth0");
        for (size_t i = 0; i < AK_ARRAY_SIZE(refused); i++) {
                assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_STRATEGIC, refused[i][0]), 422);
                assert_message(w, refused[i][1]);
        }
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_STRATEGIC,
                                 "{'spec': {'virtualMachine': {'powerSpec': 'Paused'}}}"),
                         200);
}

static void test_replace_by_the_first_manifest(void **state)
{
        struct world *w = *state;
        char id[AK_UUID_SIZE];

        placed_pod(w, "p", "eth0 eth1");
        (void)snprintf(id, sizeof(id), "%s", api_name(w_port(w, "p", "eth0")));
        assert_int_equal(
            w_update(w, &api_kind_pod, "p",
                     "{'metadata': {'name': 'p'}, 'spec': {'vpc': 'vpcdemo', 'nics': [{'name': "
                     "'eth0'}], 'virtualMachine': {'name': 'vm', 'image': 'example.org/vm.img'}}}"),
            200);
        assert_string_equal(api_name(w_port(w, "p", "eth0")), id);
        assert_string_equal(w_text(w, "spec.nodeName"), "node1");
        assert_string_equal(w_text(w, "status.phase"), "Pending");
}

static void test_plug_and_unplug_in_one_patch(void **state)
{
        struct world *w = *state;
        char id[AK_UUID_SIZE];

        placed_pod(w, "p", "eth0 eth1");
        (void)snprintf(id, sizeof(id), "%s", api_name(w_port(w, "p", "eth1")));
        assert_int_equal(patch_nics(w, "p", "[{'$patch': 'delete', 'name': 'eth1'}, {'name': 'eth2'}]"), 200);
        assert_string_equal(api_text(w_stored(w, &api_kind_port, id), "status.phase"), "Releasing");
        assert_string_equal(api_text(w_port(w, "p", "eth2"), "status.phase"), "Bound");
        /* A patch of which one half is refused leaves the other half undone. */
        assert_int_equal(patch_nics(w, "p", "[{'$patch': 'delete', 'name': 'eth2'}, {'name': 'x/y'}]"), 422);
        assert_string_equal(api_text(w_port(w, "p", "eth2"), "status.phase"), "Bound");
}

/* What kubectl apply sends for a manifest that names eth0 twice. */
static void test_a_name_twice_in_a_manifest(void **state)
{
        struct world *w = *state;

        placed_pod(w, "p", "eth0");
        assert_int_equal(w_patch(w, &api_kind_pod, "p", API_PATCH_STRATEGIC,
                                 "{'spec': {'$setElementOrder/nics': [{'name': 'eth0'}, {'name': 'eth0'}]}}"),
                         422);
        assert_cause(w, "spec.nics[1].name", "Duplicate value: \"eth0\"");
}

static void test_slots(void **state)
{
        struct world *w = *state;
        char id[AK_UUID_SIZE];

        placed_pod(w, "p", "a0 a1 a2 a3 a4 a5 a6 a7");
        for (int i = 0; i < 8; i++) {
                char nic[8];
                (void)snprintf(nic, sizeof(nic), "a%d", i);
                assert_int_equal(slot(w_port(w, "p", nic)), i);
        }
        assert_int_equal(patch_nics(w, "p", "[{'name': 'a8'}]"), 422);
        assert_cause(w, "spec.nics", "8 hotplug slots");
        (void)snprintf(id, sizeof(id), "%s", api_name(w_port(w, "p", "a3")));
        /* The slot of a NIC on its way out is not free yet. */
        assert_int_equal(patch_nics(w, "p", "[{'$patch': 'delete', 'name': 'a3'}, {'name': 'a8'}]"), 422);
        assert_message(w, "until the guest lets go");
        assert_int_equal(delete_nic(w, "p", "a3"), 200);
        assert_int_equal(w_released(w, id), 200);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'a8'}]"), 200);
        assert_int_equal(slot(w_port(w, "p", "a8")), 3);
}

/* Started when a VM had fewer: more would be refused by the hypervisor. */
static void test_slots_of_a_vm_that_runs(void **state)
{
        struct world *w = *state;

        placed_pod(w, "p", "a0 a1");
        assert_int_equal(
            w_patch_status(w, &api_kind_pod, "p", "{'status': {'virtualMachineStatus': {'nicSlots': 3}}}"),
            200);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'a2'}, {'name': 'a3'}]"), 422);
        assert_cause(w, "spec.nics", "a VM has 3 hotplug slots");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'a2'}]"), 200);
        assert_int_equal(patch_nics(w, "p", "[{'$patch': 'delete', 'name': 'a1'}, {'name': 'a3'}]"), 422);
        assert_cause(w, "spec.nics", "3 hotplug slots and none is free");
        /* It never counts for more than what may be asked for. */
        assert_int_equal(
            w_patch_status(w, &api_kind_pod, "p", "{'status': {'virtualMachineStatus': {'nicSlots': 60}}}"),
            200);
        assert_int_equal(patch_nics(w, "p",
                                    "[{'name': 'a3'}, {'name': 'a4'}, {'name': 'a5'}, {'name': 'a6'}, "
                                    "{'name': 'a7'}, {'name': 'a8'}]"),
                         422);
        assert_cause(w, "spec.nics", "8 hotplug slots");
}

#define PORT_ID "00000000-0000-4000-8000-00000000000a"

static void user_port(struct world *w)
{
        assert_int_equal(w_create(w, &api_kind_port,
                                  "{'metadata': {'name': '" PORT_ID
                                  "'}, 'spec': {'vpc': 'vpcdemo', 'ipAddresses': "
                                  "['10.200.0.50'], 'macAddress': '06:00:00:00:00:0A'}}"),
                         201);
        assert_string_equal(w_text(w, "status.phase"), "Unbound");
        assert_string_equal(w_text(w, "spec.macAddress"), "06:00:00:00:00:0a");
}

static void test_user_port_is_unbound_never_deleted(void **state)
{
        struct world *w = *state;
        const json_t *port;

        placed_pod(w, "p", "eth0");
        placed_pod(w, "q", "eth0");
        user_port(w);
        assert_int_equal(patch_nics(w, "p",
                                    "[{'name': 'eth1', 'portId': '" PORT_ID "', 'ipAddress': "
                                    "'10.200.0.51'}]"),
                         422);
        assert_cause(w, "spec.nics[1].ipAddress", "not the address of the port");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1', 'portId': '" PORT_ID "'}]"), 200);
        port = w_port(w, "p", "eth1");
        assert_string_equal(api_text(port, "status.phase"), "Bound");
        assert_string_equal(api_text(port, "spec.nodeName"), "node1");
        assert_int_equal(slot(port), 1);
        assert_false(json_is_true(api_at(port, "spec.autoCreated")));

        assert_int_equal(patch_nics(w, "q", "[{'name': 'eth1', 'portId': '" PORT_ID "'}]"), 422);
        assert_cause(w, "spec.nics[1].portId", "in use by NIC eth1 of pod p");
        assert_int_equal(w_delete(w, &api_kind_port, PORT_ID, NULL), 409);
        assert_message(w, "NIC eth1 of pod p");

        assert_int_equal(delete_nic(w, "p", "eth1"), 200);
        assert_int_equal(patch_nics(w, "q", "[{'name': 'eth1', 'portId': '" PORT_ID "'}]"), 422);
        assert_int_equal(w_released(w, PORT_ID), 200);
        port = w_stored(w, &api_kind_port, PORT_ID);
        assert_string_equal(api_text(port, "status.phase"), "Unbound");
        assert_null(api_at(port, "spec.boundTo"));
        assert_null(api_at(port, "spec.slot"));
        assert_null(api_at(port, "spec.nodeName"));
        assert_string_equal(address(port), "10.200.0.50");
        assert_int_equal(w_released(w, PORT_ID), 409);
        /* Moved to another VM. */
        assert_int_equal(patch_nics(w, "q", "[{'name': 'eth1', 'portId': '" PORT_ID "'}]"), 200);
        assert_string_equal(api_text(w_port(w, "q", "eth1"), "spec.boundTo.name"), "q");
}

static void test_refused_ports(void **state)
{
        struct world *w = *state;
        static const struct {
                const char *spec, *field, *message;
        } cases[] = {
            {"{'vpc': 'vpcdemo', 'ipAddresses': ['10.200.0.2']}", "spec.ipAddresses",
             "taken by NIC eth0 of pod p"},
            {"{'vpc': 'vpcdemo', 'ipAddresses': ['10.200.0.9', '10.200.0.2']}", "spec.ipAddresses",
             "taken by NIC eth0 of pod p"},
            {"{'vpc': 'vpcdemo', 'ipAddresses': ['10.200.0.9', '10.200.0.9']}", "spec.ipAddresses",
             "Duplicate"},
            {"{'vpc': 'vpcdemo', 'ipAddresses': ['10.200.0.9', '1.2.3.4']}", "spec.ipAddresses",
             "must lie in"},
            {"{'vpc': 'vpcdemo', 'ipAddresses': ['']}", "spec.ipAddresses", "valid IP address"},
            {"{'vpc': 'vpcdemo', 'subnet': 'none'}", "spec.subnet", "Not found"},
            {"{'vpc': 'vpcdemo', 'boundTo': {'name': 'p'}}", "spec.boundTo", "set by the server"},
            {"{'vpc': 'vpcdemo', 'slot': 3}", "spec.slot", "set by the server"},
            {"{}", "spec.vpc", "Required value"},
        };

        placed_pod(w, "p", "eth0");
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                AK_AUTOFREE char *body = NULL;
                assert_true(
                    asprintf(&body, "{'metadata': {'name': '" PORT_ID "'}, 'spec': %s}", cases[i].spec) > 0);
                assert_int_equal(w_create(w, &api_kind_port, body), 422);
                assert_message(w, cases[i].field);
                assert_message(w, cases[i].message);
        }
        assert_int_equal(
            w_create(w, &api_kind_port, "{'metadata': {'name': 'web'}, 'spec': {'vpc': 'vpcdemo'}}"), 422);
        assert_cause(w, "metadata.name", "UUID");
        /* An empty MAC is none: one is chosen. */
        assert_int_equal(w_create(w, &api_kind_port, "{'spec': {'vpc': 'vpcdemo', 'macAddress': ''}}"), 201);
        assert_true(ak_uuid_valid(w_text(w, "metadata.name")));
        assert_int_equal(strlen(w_text(w, "spec.macAddress")), 17);
}

static void test_two_vpcs_do_not_meet(void **state)
{
        struct world *w = *state;

        user_port(w);
        assert_int_equal(
            w_create(w, &api_kind_pod,
                     "{'metadata': {'name': 'p'}, 'spec': {'vpc': 'v2', 'nics': [{'name': 'eth0', "
                     "'ipAddress': '10.200.0.50', 'macAddress': '06:00:00:00:00:0a'}], "
                     "'virtualMachine': {'name': 'vm', 'image': 'h/i'}}}"),
            201);
        assert_string_equal(address(w_port(w, "p", "eth0")), "10.200.0.50");
        assert_int_not_equal(json_integer_value(api_at(w_port(w, "p", "eth0"), "status.vni")),
                             json_integer_value(api_at(w_stored(w, &api_kind_port, PORT_ID), "status.vni")));
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1', 'portId': '" PORT_ID "'}]"), 422);
        assert_cause(w, "spec.nics[1].portId", "another VPC");
}

static void test_subnet_runs_out(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'vpcdemo'}, 'spec': {'cidr': '10.1.0.0/16'}}"),
            201);
        assert_int_equal(
            w_create(w, &api_kind_subnet,
                     "{'metadata': {'name': 'vpcdemo-default'}, 'spec': {'vpc': 'vpcdemo', 'cidr': "
                     "'10.1.2.0/29'}}"),
            201);
        placed_pod(w, "p", "eth0 eth1 eth2 eth3 eth4"); /* 6 hosts less the gateway */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth5'}]"), 422);
        assert_cause(w, "spec.nics[5].ipAddress", "no free address");
        char id[AK_UUID_SIZE];
        (void)snprintf(id, sizeof(id), "%s", api_name(w_port(w, "p", "eth2")));
        assert_int_equal(delete_nic(w, "p", "eth2"), 200);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth5'}]"), 422);
        assert_int_equal(w_released(w, id), 200);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth5'}]"), 200);
        assert_string_equal(address(w_port(w, "p", "eth5")), "10.1.2.4");
}

static void test_an_unplaced_pod_lets_go_at_once(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p", "eth0 eth1"), 201);
        assert_int_equal(delete_nic(w, "p", "eth1"), 200);
        assert_int_equal(api_objects(w->core, &api_kind_port)->count, 1);
        assert_int_equal(w_delete(w, &api_kind_pod, "p", NULL), 200);
        assert_int_equal(api_objects(w->core, &api_kind_port)->count, 0);
        assert_null(w_stored(w, &api_kind_pod, "p"));
}

static void test_dry_run_takes_nothing(void **state)
{
        struct world *w = *state;
        uint64_t version;

        placed_pod(w, "p", "eth0");
        version = api_core_resource_version(w->core);
        w->request.dry_run = true;
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1'}]"), 200);
        assert_int_equal(json_array_size(api_at(w->last.object, "spec.nics")), 2);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(api_core_resource_version(w->core), version);
        assert_int_equal(api_objects(w->core, &api_kind_port)->count, 1);
        w->request.dry_run = true;
        assert_int_equal(patch_nics(w, "p", "[{'name': 'x/y'}]"), 422);
        /* The address that the dry run saw is still the next one. */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1'}]"), 200);
        assert_string_equal(address(w_port(w, "p", "eth1")), "10.200.0.3");
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            T(test_a_port_as_documented),
            T(test_unplug_holds_until_released),
            T(test_only_released_may_be_reported),
            T(test_primary_is_protected),
            T(test_reorder_is_nothing),
            T(test_port_id_is_fixed),
            T(test_plugged_nic_keeps_its_addresses),
            T(test_immutable_fields),
            T(test_replace_by_the_first_manifest),
            T(test_plug_and_unplug_in_one_patch),
            T(test_a_name_twice_in_a_manifest),
            T(test_slots),
            T(test_slots_of_a_vm_that_runs),
            T(test_user_port_is_unbound_never_deleted),
            T(test_refused_ports),
            T(test_two_vpcs_do_not_meet),
            T(test_subnet_runs_out),
            T(test_an_unplaced_pod_lets_go_at_once),
            T(test_dry_run_takes_nothing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
