/* SPDX-License-Identifier: Apache-2.0 */
/* Security groups and what they come to in the ports; IPv6, source NAT, quota. */
#include "services/apiserver/test_core_util.h"

#include <string.h>

#include "proto/messages.h"

static void group(struct world *w, const char *name, const char *rules)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "{'metadata': {'name': '%s'}, 'spec': {'rules': %s}}", name, rules) > 0);
        if (w_create(w, &api_kind_security_group, body) != 201)
                fail_msg("%s: %s", rules, w_message(w));
}

static int patch_group(struct world *w, const char *name, const char *rules)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "{'spec': {'rules': %s}}", rules) > 0);
        return w_patch(w, &api_kind_security_group, name, API_PATCH_MERGE, body);
}

static int patch_nics(struct world *w, const char *pod, const char *nics)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "{'spec': {'nics': %s}}", nics) > 0);
        return w_patch(w, &api_kind_pod, pod, API_PATCH_STRATEGIC, body);
}

/* "line|line" of a port. */
static void assert_rules(const json_t *port, const char *expected)
{
        char text[4096] = "";
        json_t *line;
        size_t i, used = 0;

        assert_non_null(port);
        json_array_foreach(api_at(port, "status.securityRules"), i, line)
        {
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? "|" : "",
                                         json_string_value(line));
        }
        assert_string_equal(text, expected);
}

#define ALL_OUT "out any - 0.0.0.0/0,::/0"

static void test_rules_come_to_lines(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p", "eth0 eth1"), 201);
        group(w, "web",
              "[{'protocol': 'tcp', 'port': 80}, {'protocol': 'udp', 'port': 500, 'endPort': 510, 'cidr': "
              "'10.1.2.3/8'}, {'protocol': 'icmp', 'cidr': 'fd00::/8'}]");
        group(w, "out", "[{'direction': 'egress', 'cidr': '10.0.0.0/8'}]");
        assert_rules(w_port(w, "p", "eth0"), "");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['web']}]"), 200);
        assert_rules(w_port(w, "p", "eth0"),
                     "in tcp 80-80 0.0.0.0/0,::/0|in udp 500-510 10.0.0.0/8|in icmp - fd00::/8|" ALL_OUT);
        assert_rules(w_port(w, "p", "eth1"), "");
        /* an egress rule in any of the groups: only what these allow */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['web', 'out']}]"), 200);
        assert_rules(
            w_port(w, "p", "eth0"),
            "in tcp 80-80 0.0.0.0/0,::/0|in udp 500-510 10.0.0.0/8|in icmp - fd00::/8|out any - 10.0.0.0/8");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': null}]"), 200);
        assert_rules(w_port(w, "p", "eth0"), "");
        assert_null(api_at(w_port(w, "p", "eth0"), "spec.securityGroups"));
}

static void test_a_changed_group_changes_its_ports(void **state)
{
        struct world *w = *state;
        const char *before;
        json_t *unused;

        group(w, "g", "[]");
        assert_int_equal(w_pod(w, "p", "eth0 eth1"), 201);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['g']}]"), 200);
        assert_rules(w_port(w, "p", "eth0"), ALL_OUT);
        unused = json_incref(w_port(w, "p", "eth1"));
        before = api_text(unused, "metadata.resourceVersion");
        assert_int_equal(patch_group(w, "g", "[{'protocol': 'tcp', 'port': 22, 'cidr': '192.0.2.0/24'}]"),
                         200);
        assert_rules(w_port(w, "p", "eth0"), "in tcp 22-22 192.0.2.0/24|" ALL_OUT);
        assert_string_equal(api_text(w_port(w, "p", "eth1"), "metadata.resourceVersion"), before);
        json_decref(unused);
        /* a dry run changes no port */
        w->request.dry_run = true;
        assert_int_equal(patch_group(w, "g", "[]"), 200);
        assert_rules(w_port(w, "p", "eth0"), "in tcp 22-22 192.0.2.0/24|" ALL_OUT);
}

static void test_members_come_and_go(void **state)
{
        struct world *w = *state;

        w_node(w, "node1");
        group(w, "db", "[]");
        group(w, "web", "[]");
        assert_int_equal(patch_group(w, "db", "[{'protocol': 'tcp', 'port': 5432, 'group': 'web'}]"), 200);
        assert_int_equal(w_pod(w, "d", "eth0"), 201);
        assert_int_equal(w_pod(w, "a", "eth0 eth1"), 201);
        (void)w_tick(w);
        assert_int_equal(patch_nics(w, "d", "[{'name': 'eth0', 'securityGroups': ['db']}]"), 200);
        assert_rules(w_port(w, "d", "eth0"), ALL_OUT);
        assert_int_equal(patch_nics(w, "a", "[{'name': 'eth1', 'securityGroups': ['web']}]"), 200);
        assert_rules(w_port(w, "d", "eth0"), "in tcp 5432-5432 10.200.0.4|" ALL_OUT);
        assert_int_equal(patch_nics(w, "a", "[{'name': 'eth0', 'securityGroups': ['web']}]"), 200);
        assert_int_equal(json_array_size(api_at(w_port(w, "d", "eth0"), "status.securityRules")), 2);
        /* a NIC that is unplugged is a member until its guest let go */
        AK_AUTOFREE char *port = strdup(api_name(w_port(w, "a", "eth1")));
        assert_int_equal(patch_nics(w, "a", "[{'$patch': 'delete', 'name': 'eth1'}]"), 200);
        assert_true(strstr(json_string_value(
                               json_array_get(api_at(w_port(w, "d", "eth0"), "status.securityRules"), 0)),
                           "10.200.0.4") != NULL);
        assert_int_equal(w_released(w, port), 200);
        assert_rules(w_port(w, "d", "eth0"), "in tcp 5432-5432 10.200.0.3|" ALL_OUT);
}

static void test_members_of_another_vpc_do_not_count(void **state)
{
        struct world *w = *state;

        group(w, "g", "[]");
        assert_int_equal(patch_group(w, "g", "[{'group': 'g'}]"), 200);
        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'v'}, 'spec': {'cidr': '10.200.0.0/16'}}"),
            201);
        assert_int_equal(
            w_create(w, &api_kind_subnet,
                     "{'metadata': {'name': 's'}, 'spec': {'vpc': 'v', 'cidr': '10.200.0.0/24'}}"),
            201);
        assert_int_equal(w_create(w, &api_kind_port,
                                  "{'spec': {'vpc': 'v', 'subnet': 's', 'securityGroups': ['g'], "
                                  "'ipAddresses': ['10.200.0.99']}}"),
                         201);
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['g']}]"), 200);
        assert_rules(w_port(w, "p", "eth0"), "in any - 10.200.0.2|" ALL_OUT);
}

static void test_bad_groups(void **state)
{
        struct world *w = *state;
        static const struct {
                const char *rules, *field, *words;
        } bad[] = {
            {"[{'port': 80}]", "spec.rules[0].port", "tcp or udp"},
            {"[{'protocol': 'icmp', 'port': 8}]", "spec.rules[0].port", "tcp or udp"},
            {"[{'protocol': 'tcp', 'port': 80, 'endPort': 79}]", "spec.rules[0].endPort", "not lower"},
            {"[{'protocol': 'tcp', 'endPort': 79}]", "spec.rules[0].endPort", "must be given"},
            {"[{'protocol': 'tcp', 'port': 0}]", "spec.rules[0].port", "1"},
            {"[{'protocol': 'tcp', 'port': 65536}]", "spec.rules[0].port", "65535"},
            {"[{'protocol': 'gre'}]", "spec.rules[0].protocol", "tcp"},
            {"[{'direction': 'in'}]", "spec.rules[0].direction", "ingress"},
            {"[{'cidr': '10.0.0.0'}]", "spec.rules[0].cidr", ""},
            {"[{'cidr': '10.0.0.0/33'}]", "spec.rules[0].cidr", ""},
            {"[{'cidr': '10.0.0.0/8', 'group': 'bad'}]", "spec.rules[0].group", "not both"},
            {"[{'group': 'nobody'}]", "spec.rules[0].group", "no security group"},
            {"['tcp']", "spec.rules[0]", ""},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                AK_AUTOFREE char *body = NULL;

                assert_true(asprintf(&body, "{'metadata': {'name': 'bad'}, 'spec': {'rules': %s}}",
                                     bad[i].rules) > 0);
                if (w_create(w, &api_kind_security_group, body) != 422)
                        fail_msg("%s: %d", bad[i].rules, w->last.code);
                assert_cause(w, bad[i].field, bad[i].words);
        }
        assert_int_equal(
            w_create(w, &api_kind_security_group, "{'metadata': {'name': 'bad'}, 'spec': {'rule': []}}"),
            400);
}

static void test_a_group_in_use_stays(void **state)
{
        struct world *w = *state;

        group(w, "a", "[]");
        group(w, "b", "[{'group': 'a'}]");
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['b']}]"), 200);
        assert_int_equal(w_delete(w, &api_kind_security_group, "a", NULL), 409);
        assert_message(w, "a rule of security group b");
        assert_int_equal(w_delete(w, &api_kind_security_group, "b", NULL), 409);
        assert_message(w, "is in use by port");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': null}]"), 200);
        assert_int_equal(w_delete(w, &api_kind_security_group, "b", NULL), 200);
        assert_int_equal(w_delete(w, &api_kind_security_group, "a", NULL), 200);
        /* what does not exist cannot be named, nor one twice */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['a']}]"), 422);
        assert_cause(w, "spec.nics[0].securityGroups", "no security group of that name");
        group(w, "a", "[]");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'securityGroups': ['a', 'a']}]"), 422);
}

static void test_groups_of_a_users_port(void **state)
{
        struct world *w = *state;
        const char *id = "11111111-2222-4333-8444-555555555555";
        char body[256];

        group(w, "g", "[{'protocol': 'tcp', 'port': 22}]");
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(
            w_create(w, &api_kind_port,
                     "{'metadata': {'name': '11111111-2222-4333-8444-555555555555'}, 'spec': {'vpc': "
                     "'vpcdemo', 'securityGroups': ['g']}}"),
            201);
        (void)snprintf(body, sizeof(body), "[{'name': 'eth1', 'portId': '%s'}]", id);
        assert_int_equal(patch_nics(w, "p", body), 200);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1', 'securityGroups': ['x']}]"), 422);
        assert_cause(w, "spec.nics[1].securityGroups", "change them there");
        /* changed where they belong, live */
        assert_int_equal(
            w_patch(w, &api_kind_port, id, API_PATCH_MERGE, "{'spec': {'securityGroups': null}}"), 200);
        assert_rules(w_stored(w, &api_kind_port, id), "");
        /* the port of a NIC is not */
        assert_int_equal(w_patch(w, &api_kind_port, api_name(w_port(w, "p", "eth0")), API_PATCH_MERGE,
                                 "{'spec': {'securityGroups': ['g']}}"),
                         422);
        assert_cause(w, "spec.securityGroups", "change them there");
}

static void test_more_members_than_a_node_takes(void **state)
{
        struct world *w = *state;
        int code = 201;

        group(w, "g", "[]");
        assert_int_equal(patch_group(w, "g", "[{'group': 'g'}]"), 200);
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        for (int i = 0; i < 1000 && code == 201; i++)
                code = w_create(w, &api_kind_port, "{'spec': {'vpc': 'vpcdemo', 'securityGroups': ['g']}}");
        /* the subnet has 253 addresses: it ends before the group is too large for a node */
        assert_int_equal(code, 422);
        assert_cause(w, "spec.ipAddresses", "no free address");
        assert_int_equal(patch_group(w, "g", "[{'group': 'g'}, {'protocol': 'tcp', 'group': 'g'}]"), 422);
        assert_message(w, "name a CIDR in place of a large group");
}

/* ---- IPv6 ---- */

static void test_ipv6_beside_ipv4(void **state)
{
        struct world *w = *state;
        const json_t *port;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_null(api_at(w_port(w, "p", "eth0"), "status.cidr6"));
        assert_int_equal(
            patch_nics(w, "p", "[{'name': 'eth1', 'ipv6Enabled': true, 'macAddress': '06:00:00:00:00:01'}]"),
            200);
        port = w_port(w, "p", "eth1");
        const char *address = json_string_value(json_array_get(api_at(port, "spec.ipAddresses"), 1));
        struct ak_cidr net;
        struct ak_ip ip;
        assert_int_equal(ak_cidr_parse(api_text(port, "status.cidr6"), &net), 0);
        assert_int_equal(net.prefix_len, 64);
        assert_int_equal(net.addr.bytes[0], 0xfd);
        assert_non_null(address);
        assert_int_equal(ak_ip_parse(address, &ip), 0);
        assert_true(ak_cidr_contains(&net, &ip));
        assert_non_null(strstr(address, ":400:ff:fe00:1"));
        assert_string_equal(api_text(w_stored(w, &api_kind_subnet, "vpcdemo-default"), "spec.cidr6"),
                            api_text(port, "status.cidr6"));
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth0', 'ipv6Enabled': true}]"), 422);
        assert_cause(w, "spec.nics[0].ipv6Enabled", "add it again");
}

static void test_bad_cidr6(void **state)
{
        struct world *w = *state;
        static const char *const bad[] = {"fd00::/48", "fd00::1/64", "10.0.0.0/24", "fd00::", "x"};

        assert_int_equal(
            w_create(w, &api_kind_vpc, "{'metadata': {'name': 'v'}, 'spec': {'cidr': '10.0.0.0/16'}}"), 201);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                AK_AUTOFREE char *body = NULL;

                assert_true(
                    asprintf(&body,
                             "{'metadata': {'name': 's'}, 'spec': {'vpc': 'v', 'cidr': '10.0.0.0/24', "
                             "'cidr6': '%s'}}",
                             bad[i]) > 0);
                if (w_create(w, &api_kind_subnet, body) != 422)
                        fail_msg("%s: %d", bad[i], w->last.code);
                assert_cause(w, "spec.cidr6", "");
        }
        assert_int_equal(
            w_create(w, &api_kind_subnet,
                     "{'metadata': {'name': 's'}, 'spec': {'vpc': 'v', 'cidr': '10.0.0.0/24', 'cidr6': "
                     "'fd00::/64'}}"),
            201);
        assert_int_equal(
            w_create(w, &api_kind_subnet,
                     "{'metadata': {'name': 't'}, 'spec': {'vpc': 'v', 'cidr': '10.0.1.0/24', 'cidr6': "
                     "'fd00::/64'}}"),
            422);
        assert_cause(w, "spec.cidr6", "overlaps subnet s");
}

/* ---- VPC, quota, one address twice ---- */

static void test_source_nat_reaches_the_ports(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_false(json_is_true(api_at(w_port(w, "p", "eth0"), "status.sourceNAT")));
        assert_int_equal(
            w_patch(w, &api_kind_vpc, "vpcdemo", API_PATCH_MERGE, "{'spec': {'sourceNAT': true}}"), 200);
        assert_true(json_is_true(api_at(w_port(w, "p", "eth0"), "status.sourceNAT")));
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1'}]"), 200);
        assert_true(json_is_true(api_at(w_port(w, "p", "eth1"), "status.sourceNAT")));
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth2', 'ipv6Enabled': true}]"), 200);
        assert_true(json_is_true(api_at(w_port(w, "p", "eth2"), "status.sourceNAT")));
        assert_int_equal(w->last.warning_count, 0);
}

static void quota(struct world *w, const char *value)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "{'metadata': {'annotations': {'vpc.alkaid.io/max-ports': %s}}}", value) >
                    0);
        assert_int_equal(w_patch(w, &api_kind_namespace, "default", API_PATCH_MERGE, body), 200);
}

static void test_quota_of_ports(void **state)
{
        struct world *w = *state;

        quota(w, "'2'");
        assert_int_equal(w_pod(w, "p", "eth0 eth1"), 201);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth2'}]"), 403);
        assert_message(w, "exceeded quota of ports: namespace default has 2");
        assert_int_equal(w_create(w, &api_kind_port, "{'spec': {'vpc': 'vpcdemo'}}"), 403);
        assert_int_equal(w_pod(w, "q", "eth0"), 403);
        assert_null(w_stored(w, &api_kind_pod, "q"));
        quota(w, "'3'");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth2'}]"), 200);
        quota(w, "'many'"); /* what cannot be read allows nothing */
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth3'}]"), 403);
        quota(w, "null");
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth3'}]"), 200);
}

static void test_of_two_patches_for_one_address_one_wins(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(w_pod(w, "q", "eth0"), 201);
        assert_int_equal(patch_nics(w, "p", "[{'name': 'eth1', 'ipAddress': '10.200.0.77'}]"), 200);
        assert_int_equal(patch_nics(w, "q", "[{'name': 'eth1', 'ipAddress': '10.200.0.77'}]"), 422);
        assert_cause(w, "spec.nics[1].ipAddress", "taken by NIC eth1 of pod p");
        assert_null(w_port(w, "q", "eth1"));
}

static void test_columns_and_finalizers(void **state)
{
        struct world *w = *state;
        json_t *table;

        group(w, "g", "[{'protocol': 'icmp'}]");
        assert_int_equal(w_get(w, &api_kind_security_group, "g"), 200);
        table = api_table(&api_kind_security_group, w->last.object, NULL, w->now_us);
        assert_int_equal(json_integer_value(json_array_get(
                             json_object_get(json_array_get(json_object_get(table, "rows"), 0), "cells"), 1)),
                         1);
        assert_int_equal(
            json_array_size(json_object_get(table, "columnDefinitions")),
            json_array_size(json_object_get(json_array_get(json_object_get(table, "rows"), 0), "cells")));
        json_decref(table);
        assert_int_equal(w_patch(w, &api_kind_security_group, "g", API_PATCH_MERGE,
                                 "{'metadata': {'finalizers': ['example.org/audit']}}"),
                         200);
        assert_int_equal(w_delete(w, &api_kind_security_group, "g", NULL), 200);
        assert_non_null(w_stored(w, &api_kind_security_group, "g"));
        assert_int_equal(
            w_patch(w, &api_kind_security_group, "g", API_PATCH_MERGE, "{'metadata': {'finalizers': null}}"),
            200);
        assert_null(w_stored(w, &api_kind_security_group, "g"));
}

#define WORLD(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            WORLD(test_rules_come_to_lines),
            WORLD(test_a_changed_group_changes_its_ports),
            WORLD(test_members_come_and_go),
            WORLD(test_members_of_another_vpc_do_not_count),
            WORLD(test_bad_groups),
            WORLD(test_a_group_in_use_stays),
            WORLD(test_groups_of_a_users_port),
            WORLD(test_more_members_than_a_node_takes),
            WORLD(test_ipv6_beside_ipv4),
            WORLD(test_bad_cidr6),
            WORLD(test_source_nat_reaches_the_ports),
            WORLD(test_quota_of_ports),
            WORLD(test_of_two_patches_for_one_address_one_wins),
            WORLD(test_columns_and_finalizers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
