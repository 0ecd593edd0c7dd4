/* SPDX-License-Identifier: Apache-2.0 */
/* Names, labels, reservations: what is written is what is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/network/backends/dhcp.h"
#include "services/network/label.h"
#include "services/network/test_spec.h"

#define PORT   "a0010101-7e57-4000-8000-000000010101"
#define POD    "b0000001-7e57-4000-8000-000000000001"
#define SUBNET "c0000101-7e57-4000-8000-000000000101"
#define VPC    "d0000001-7e57-4000-8000-000000000001"

static void names_fit_an_interface(void **state)
{
        (void)state;
        assert_string_equal(net_tap_name(PORT).s, "aka00101017e574");
        assert_string_equal(net_bridge_name(SUBNET).s, "akbc00001017e57");
        assert_string_equal(net_veth_name(SUBNET).s, "akvc00001017e57");
        assert_string_equal(net_gateway_name(SUBNET).s, "akgc00001017e57");
        assert_string_equal(net_netns_name(VPC).s, "ak-d00000017e57");
}

static void labels_are_read_as_written(void **state)
{
        static const char *const texts[] = {
            "alkaid node=node1 port=" PORT " pod=" POD " subnet=" SUBNET,
            "alkaid node=node-2.example.org subnet=" SUBNET " vpc=" VPC,
            "alkaid node=n vpc=" VPC,
        };
        static const enum net_label_kind kinds[] = {NET_LABEL_PORT, NET_LABEL_SUBNET, NET_LABEL_VPC};

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(texts); i++) {
                struct net_label label;
                char out[NET_LABEL_SIZE];

                assert_int_equal(net_label_parse(texts[i], &label), 0);
                assert_int_equal(label.kind, kinds[i]);
                net_label_format(&label, out);
                assert_string_equal(out, texts[i]);
        }
}

static void longest_label_fits_an_alias(void **state)
{
        char node[NET_NODE_MAX + 2], text[2 * NET_LABEL_SIZE];
        struct net_label label;

        (void)state;
        memset(node, 'n', sizeof(node));
        node[NET_NODE_MAX] = '\0';
        snprintf(text, sizeof(text), "alkaid node=%s port=" PORT " pod=" POD " subnet=" SUBNET, node);
        assert_true(strlen(text) < NET_LABEL_SIZE);
        assert_true(net_node_valid(node));
        assert_int_equal(net_label_parse(text, &label), 0);
        node[NET_NODE_MAX] = 'n';
        node[NET_NODE_MAX + 1] = '\0';
        assert_false(net_node_valid(node));
}

static void other_texts_are_no_labels(void **state)
{
        static const char *const texts[] = {
            "",
            "alkaid",
            "alkaid ",
            "somebody else's",
            "alkaid node=n",
            "alkaid node= vpc=" VPC,
            "alkaid node=N vpc=" VPC,
            "alkaid node=n_n vpc=" VPC,
            "alkaid  node=n vpc=" VPC,
            "alkaid node=n vpc=" VPC " ",
            "alkaid node=n vpc=" VPC "0",
            "alkaid node=n vpc=D0000001-7E57-4000-8000-000000000001",
            "alkaid node=n subnet=" SUBNET,
            "alkaid node=n vpc=" VPC " subnet=" SUBNET,
            "alkaid node=n subnet=c0000101-7e57-4000-8000-00000000010! vpc=" VPC,
            "alkaid node=n port=" PORT " pod=" POD,
            "alkaid node=n port=" PORT " pod=" POD " subnet=" SUBNET " vpc=" VPC,
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(texts); i++) {
                struct net_label label;

                if (net_label_parse(texts[i], &label) == 0)
                        fail_msg("taken: %s", texts[i]);
        }
        assert_int_equal(net_label_parse(NULL, NULL), -22);
}

static void reservations_are_read_as_written(void **state)
{
        static const char *const bad[] = {
            "",
            "06:00:00:01:01:01",
            "06:00:00:01:01:01,id:*,",
            "06:00:00:01:01:01,id:*,10.0.1.256",
            "06:00:00:01:01:01,id:*,10.0.1.11\n\n",
            "06:00:00:01:01:01,id:*,10.0.1.11,ex_tra",
            "06:00:00:01:01:01,id:*,10.0.1.11,a,b",
            "01:00:5e:00:00:01,id:*,10.0.1.11",
            "06-00-00-01-01-01,id:*,10.0.1.11",
            "06:00:00:01:01:01,10.0.1.11",
        };
        char mac[AK_MAC_SIZE], text[AK_IP_SIZE];
        struct ak_ip ip;

        (void)state;
        assert_int_equal(dhcp_reservation_parse("06:00:00:01:01:01,id:*,10.0.1.11\n", mac, &ip), 0);
        assert_string_equal(mac, "06:00:00:01:01:01");
        ak_ip_format(&ip, text);
        assert_string_equal(text, "10.0.1.11");
        assert_int_equal(dhcp_reservation_parse("06:00:00:01:01:01,id:*,10.0.1.12,eth1-web\n", mac, &ip), 0);
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (dhcp_reservation_parse(bad[i], mac, &ip) == 0)
                        fail_msg("taken: %s", bad[i]);
}

static void rules_are_read_or_refused(void **state)
{
        static const char *const bad[] = {
            "",
            "in",
            "in tcp",
            "in tcp 22-22",
            "in tcp 22-22 ",
            "into tcp 22-22 10.0.0.0/8",
            "up tcp 22-22 10.0.0.0/8",
            "in gre - 10.0.0.0/8",
            "in icmp 8-8 10.0.0.0/8",
            "in any 1-2 10.0.0.0/8",
            "in tcp 0-22 10.0.0.0/8",
            "in tcp 23-22 10.0.0.0/8",
            "in tcp 22-65536 10.0.0.0/8",
            "in tcp 22-22x 10.0.0.0/8",
            "in tcp - 10.0.0.0/33",
            "in tcp - 10.0.0.0/8,",
            "in tcp - 10.0.0.0/8,,10.0.0.1",
            "in tcp - 10.0.0.0/8 accept",
            "in tcp - 10.0.0.1; flush ruleset",
            "in tcp - }",
        };
        struct net_rule r;
        char network[AK_CIDR_SIZE];

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (net_rule_parse(bad[i], &r) == 0)
                        fail_msg("taken: %s", bad[i]);
        assert_int_equal(net_rule_parse("out udp 53-54 10.0.0.0/8,fd00::/8,192.0.2.1", &r), 0);
        assert_true(r.out && r.protocol == NET_UDP && r.low == 53 && r.high == 54);
        const char *cursor = r.networks;
        assert_true(net_rule_network(&cursor, 4, network));
        assert_string_equal(network, "10.0.0.0/8");
        assert_true(net_rule_network(&cursor, 4, network));
        assert_string_equal(network, "192.0.2.1");
        assert_false(net_rule_network(&cursor, 4, network));
        cursor = r.networks;
        assert_true(net_rule_network(&cursor, 6, network));
        assert_string_equal(network, "fd00::/8");
        assert_false(net_rule_network(&cursor, 6, network));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(names_fit_an_interface),           cmocka_unit_test(labels_are_read_as_written),
            cmocka_unit_test(longest_label_fits_an_alias),      cmocka_unit_test(other_texts_are_no_labels),
            cmocka_unit_test(reservations_are_read_as_written), cmocka_unit_test(rules_are_read_or_refused),
        };

        return cmocka_run_group_tests_name("network labels", tests, NULL, NULL);
}
