/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/watcher/peers.h"

/* What is said, "topic: lines" one behind the other. */
struct heard {
        char text[2048];
};

static void hear(void *arg, const char *topic, const struct ak_message *m)
{
        struct heard *h = arg;
        size_t used = strlen(h->text);

        (void)snprintf(h->text + used, sizeof(h->text) - used, "%s: %s|", topic,
                       m ? m->subnet_peers.peers : "-");
}

static void assert_said(struct watcher_peers *p, const char *expected)
{
        struct heard h = {""};

        assert_int_equal(watcher_peers_flush(p, hear, &h), 0);
        assert_string_equal(h.text, expected);
        h.text[0] = '\0';
        assert_int_equal(watcher_peers_flush(p, hear, &h), 0);
        assert_string_equal(h.text, ""); /* nothing twice */
}

static void port(struct watcher_peers *p, const char *id, const char *vpc, const char *subnet,
                 const char *node, int n, const char *phase)
{
        char mac[32], ip[32];

        (void)snprintf(mac, sizeof(mac), "06:00:00:00:00:%02x", n);
        (void)snprintf(ip, sizeof(ip), "10.0.0.%d", n);
        json_auto_t *json =
            json_pack("{s:{s:s}, s:{s:s, s:s, s:[s, s]}, s:{s:s, s:s, s:s}}", "metadata", "name", id, "spec",
                      "nodeName", node, "macAddress", mac, "ipAddresses", ip, "fd00::5", "status", "phase",
                      phase, "subnetID", subnet, "vpcID", vpc);
        assert_int_equal(watcher_peers_port(p, json, false, NULL), 0);
}

static void gone(struct watcher_peers *p, const char *id)
{
        json_auto_t *json = json_pack("{s:{s:s}}", "metadata", "name", id);

        assert_int_equal(watcher_peers_port(p, json, true, NULL), 0);
}

static void node(struct watcher_peers *p, const char *name, const char *address)
{
        json_auto_t *json = json_pack("{s:{s:s}, s:{s:[{s:s, s:s}, {s:s, s:s}]}}", "metadata", "name", name,
                                      "status", "addresses", "type", "Hostname", "address", name, "type",
                                      "InternalIP", "address", address);
        assert_int_equal(watcher_peers_node(p, json, false, NULL), 0);
}

#define B5 "06:00:00:00:00:05 192.0.2.2 10.0.0.5,fd00::5\n"

static void ports_elsewhere_are_told(void **state)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = NULL;

        (void)state;
        assert_int_equal(watcher_peers_new(&p, "a"), 0);
        node(p, "a", "192.0.2.1");
        node(p, "b", "192.0.2.2");
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        assert_said(p, ""); /* the VPC is not here */
        port(p, "p2", "v1", "s2", "a", 6, "Bound");
        assert_said(p, "subnet.peers/s1: " B5 "|subnet.peers/s2: |"); /* routed between: all subnets of it */
        port(p, "p1", "v1", "s1", "b", 5, "Releasing");
        assert_said(p, "");
        port(p, "p1", "v1", "s1", "b", 5, "Unbound");
        assert_said(p, "subnet.peers/s1: -|");
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        assert_said(p, "subnet.peers/s1: " B5 "|");
        gone(p, "p2");
        assert_said(p, "subnet.peers/s1: -|subnet.peers/s2: -|");
}

static void a_node_that_goes_takes_its_ports_along(void **state)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = NULL;

        (void)state;
        assert_int_equal(watcher_peers_new(&p, "a"), 0);
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        port(p, "p2", "v1", "s1", "a", 6, "Bound");
        assert_said(p, "subnet.peers/s1: |"); /* where it is is not known */
        node(p, "b", "192.0.2.2");
        assert_said(p, "subnet.peers/s1: " B5 "|");
        node(p, "b", "192.0.2.22");
        assert_said(p, "subnet.peers/s1: 06:00:00:00:00:05 192.0.2.22 10.0.0.5,fd00::5\n|");
        node(p, "b", "nowhere");
        assert_said(p, "subnet.peers/s1: |");
}

/* Only what has changed is looked at, so the VPC's other subnets must be thought of, and those of no other.
 */
static void a_vpc_comes_here_and_leaves(void **state)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = NULL;

        (void)state;
        assert_int_equal(watcher_peers_new(&p, "a"), 0);
        node(p, "b", "192.0.2.2");
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        port(p, "p2", "v1", "s2", "b", 6, "Bound");
        port(p, "p3", "v2", "s3", "b", 7, "Bound");
        assert_said(p, "");
        port(p, "p4", "v1", "s4", "a", 8, "Bound");
        port(p, "p5", "v1", "s4", "a", 9, "Bound");
        assert_said(p, "subnet.peers/s1: " B5
                       "|subnet.peers/s2: 06:00:00:00:00:06 192.0.2.2 10.0.0.6,fd00::5\n|subnet.peers/s4: |");
        gone(p, "p4");
        assert_said(p, ""); /* p5 is still here */
        port(p, "p5", "v1", "s4", "b", 9, "Bound");
        assert_said(p, "subnet.peers/s1: -|subnet.peers/s2: -|subnet.peers/s4: -|");
        port(p, "p6", "v1", "s1", "a", 10, "Bound");
        gone(p, "p2");
        assert_said(p, "subnet.peers/s1: " B5
                       "|subnet.peers/s4: 06:00:00:00:00:09 192.0.2.2 10.0.0.9,fd00::5\n|");
}

static void what_cannot_be_read_counts_as_gone(void **state)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = NULL;
        json_auto_t *bad =
            json_pack("{s:{s:s}, s:{s:s}}", "metadata", "name", "p1", "status", "phase", "Bound");

        (void)state;
        assert_int_equal(watcher_peers_new(&p, "a"), 0);
        node(p, "b", "192.0.2.2");
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        port(p, "p2", "v1", "s1", "a", 6, "Bound");
        assert_said(p, "subnet.peers/s1: " B5 "|");
        assert_int_equal(watcher_peers_port(p, bad, false, NULL), 0);
        assert_said(p, "subnet.peers/s1: |");
}

/* A VPC's ports come from one informer, then from another: the first one's farewell comes late. */
static void gone_counts_from_who_put_last(void **state)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = NULL;
        json_auto_t *there = json_pack("{s:{s:s}, s:{s:[{s:s, s:s}]}}", "metadata", "name", "b", "status",
                                       "addresses", "type", "InternalIP", "address", "192.0.2.2");
        json_auto_t *port1 = json_pack("{s:{s:s}}", "metadata", "name", "p1");

        (void)state;
        assert_int_equal(watcher_peers_new(&p, "a"), 0);
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        port(p, "p2", "v1", "s1", "a", 6, "Bound");
        assert_int_equal(watcher_peers_node(p, there, false, "one"), 0);
        assert_int_equal(watcher_peers_node(p, there, false, "two"), 0);
        assert_int_equal(watcher_peers_node(p, there, true, "one"), 0);
        assert_int_equal(watcher_peers_port(p, port1, true, "one"), 0);
        assert_said(p, "subnet.peers/s1: " B5 "|");
        assert_int_equal(watcher_peers_port(p, port1, true, NULL), 0);
        assert_said(p, "subnet.peers/s1: |");
        port(p, "p1", "v1", "s1", "b", 5, "Bound");
        assert_int_equal(watcher_peers_node(p, there, true, "two"), 0);
        assert_said(p, "");
}

static void nodes_of_interest_follow_the_ports(void **state)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = NULL;

        (void)state;
        assert_int_equal(watcher_peers_new(&p, "a"), 0);
        port(p, "p1", "v1", "s1", "a", 5, "Bound");
        assert_int_equal(zhashx_size(watcher_peers_elsewhere(p)), 0); /* not this one */
        port(p, "p2", "v1", "s1", "b", 6, "Bound");
        port(p, "p3", "v1", "s1", "b", 7, "Releasing");
        port(p, "p4", "v1", "s1", "c", 8, "Unbound");
        assert_int_equal(zhashx_size(watcher_peers_elsewhere(p)), 1);
        assert_non_null(zhashx_lookup(watcher_peers_elsewhere(p), "b"));
        gone(p, "p2");
        assert_non_null(zhashx_lookup(watcher_peers_elsewhere(p), "b"));
        port(p, "p3", "v1", "s1", "c", 7, "Bound"); /* moved */
        assert_int_equal(zhashx_size(watcher_peers_elsewhere(p)), 1);
        assert_non_null(zhashx_lookup(watcher_peers_elsewhere(p), "c"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(ports_elsewhere_are_told),
            cmocka_unit_test(a_node_that_goes_takes_its_ports_along),
            cmocka_unit_test(a_vpc_comes_here_and_leaves),
            cmocka_unit_test(what_cannot_be_read_counts_as_gone),
            cmocka_unit_test(gone_counts_from_who_put_last),
            cmocka_unit_test(nodes_of_interest_follow_the_ports),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
