/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract over the OVN backend, then what guests see: DHCP, routing, isolation, spoofing, security
 * groups. OVN and Open vSwitch are Debian's, in the test's own network namespace, with the userspace
 * datapath. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/clock.h"
#include "services/network/backends/backend.h"
#include "services/network/label.h"
#include "services/network/test_contract.h"
#include "services/network/test_guest.h"
#include "services/network/test_spec.h"

static char root[] = "/tmp/alkaid-test-ovn-XXXXXX";

#define SCRIPT "services/network/testdata/ovn"

static struct vpc_backend *make(const char *node)
{
        struct vpc_backend *b = NULL;
        struct net_error error;
        char nb[96], ovs[96];

        snprintf(nb, sizeof(nb), "unix:%s/ovn/nb.sock", root);
        snprintf(ovs, sizeof(ovs), "unix:%s/ovn/ovs.sock", root);
        struct ovn_options options = {
            .node = node, .nb = nb, .ovs = ovs, .lease_seconds = 600, .anti_spoofing = true};
        if (vpc_ovn_new(&b, &options, &error) < 0) {
                fprintf(stderr, "%s: %s\n", error.reason, error.message);
                return NULL;
        }
        return b;
}

static struct vpc_backend *restart(struct vpc_backend *b, const char *node)
{
        (void)vpc_backend_free(b);
        return make(node);
}

static void lose_port(struct vpc_backend *b, const char *port_id)
{
        (void)b;
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_tap_name(port_id).s)), 0);
}

static void lose_subnet(struct vpc_backend *b, const char *subnet_id)
{
        char nb[96], name[48];

        (void)b;
        snprintf(nb, sizeof(nb), "--db=unix:%s/ovn/nb.sock", root);
        snprintf(name, sizeof(name), "ak-%s", subnet_id);
        assert_int_equal(host_run(NULL, 0, RUN("ovn-nbctl", nb, "ls-del", name)), 0);
}

static int run_ovn(const char *verb)
{
        char dir[64], words[4096];

        snprintf(dir, sizeof(dir), "%s/ovn", root);
        int r = host_run(words, sizeof(words), RUN(SCRIPT, verb, dir));
        if (r != 0)
                fprintf(stderr, "ovn %s: %d %s\n", verb, r, words);
        return r;
}

struct host {
        struct vpc_backend *b;
        struct guest *guests[4];
};

static int set_up(void **state)
{
        struct host *h = calloc(1, sizeof(*h));

        h->b = make("test-ovn");
        *state = h;
        return h->b ? 0 : -1;
}

static int tear_down(void **state)
{
        struct host *h = *state;
        struct net_error error = {0};
        char left[2048], command[512];

        for (size_t i = 0; i < AK_ARRAY_SIZE(h->guests); i++)
                guest_free(h->guests[i]);
        int r = h->b->ops->teardown(h->b, &error);
        if (r < 0)
                fprintf(stderr, "teardown: %s\n", error.message);
        vpc_backend_free(h->b);
        free(h);
        snprintf(command, sizeof(command),
                 "ovn-nbctl --db=unix:%1$s/ovn/nb.sock show; ovn-nbctl --db=unix:%1$s/ovn/nb.sock list "
                 "dhcp_options; "
                 "ovn-nbctl --db=unix:%1$s/ovn/nb.sock list port_group; ip -o link | grep 'alkaid node'; ip "
                 "-o link | "
                 "grep -E ' ak[wz]'; nft list tables; "
                 "ovs-vsctl "
                 "--db=unix:%1$s/ovn/ovs.sock list-ports br-int; ls /run/netns",
                 root);
        (void)host_run(left, sizeof(left), RUN("sh", "-c", command));
        assert_string_equal(left, "");
        return r;
}

static struct net_prepared prepare(struct host *h, const struct net_port_spec *s)
{
        struct net_prepared p = {0};
        struct net_error error = {0};
        int r = h->b->ops->prepare(h->b, s, &p, &error);

        if (r < 0)
                fail_msg("prepare: %d %s: %s", r, error.reason, error.message);
        return p;
}

static struct guest *plug(struct host *h, size_t i, const struct net_port_spec *s, const char *address)
{
        char name[8], lease[256] = "", expected[64];

        prepare(h, s);
        snprintf(name, sizeof(name), "o%zu", i);
        h->guests[i] = guest_new(name, net_tap_name(s->key.port_id).s, s->mac);
        assert_non_null(h->guests[i]);
        assert_true(guest_dhcp(h->guests[i], 6, lease, sizeof(lease)));
        snprintf(expected, sizeof(expected), "ip=%s ", address);
        if (strncmp(lease, expected, strlen(expected)) != 0)
                fail_msg("lease %s, expected %s", lease, expected);
        return h->guests[i];
}

static void guests_of_a_vpc_reach_each_other(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2), s3 = test_spec(1, 2, 3);

        struct guest *a = plug(h, 0, &s1, "10.0.1.11");
        (void)plug(h, 1, &s2, "10.0.1.12");
        (void)plug(h, 2, &s3, "10.0.2.13");
        assert_true(guest_ping(a, "10.0.1.12"));
        assert_true(guest_ping(a, "10.0.1.1"));
        assert_true(guest_ping(a, "10.0.2.13"));
}

static void vpcs_with_the_same_addresses_do_not_meet(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(2, 1, 1), s3 = test_spec(2, 1, 2);

        struct guest *a = plug(h, 0, &s1, "10.0.1.11");
        struct guest *b = plug(h, 1, &s2, "10.0.1.11");
        (void)plug(h, 2, &s3, "10.0.1.12");
        assert_true(guest_ping(b, "10.0.1.12"));
        assert_false(guest_ping(a, "10.0.1.12"));
}

static void spoofed_frames_do_not_leave(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);

        struct guest *a = plug(h, 0, &s1, "10.0.1.11"), *b = plug(h, 1, &s2, "10.0.1.12");
        assert_true(guest_ping(a, "10.0.1.12"));
        guest_set_address(a, "192.0.2.1/24");
        guest_set_address(b, "192.0.2.2/24");
        assert_false(guest_ping(a, "192.0.2.2"));
        assert_true(guest_ping(a, "10.0.1.12"));
        assert_int_equal(
            guest_run(a, NULL, 0, RUN("ip", "link", "set", "eth0", "address", "06:66:66:66:66:66")), 0);
        assert_false(guest_ping(a, "10.0.1.12"));
}

static const uint8_t lla[16] = {0xfe, 0x80, [8] = 0x04, 0, 0, 0xff, 0xfe, 1, 1, 1}; /* of 06:00:00:01:01:01 */

/* To all nodes, without a checksum: nobody has to take it. */
static size_t icmp6_frame(uint8_t f[78], uint8_t type)
{
        memset(f, 0, 78);
        f[0] = f[1] = 0x33;
        f[5] = 1;
        (void)ak_mac_bytes("06:00:00:01:01:01", f + 6);
        f[12] = 0x86;
        f[13] = 0xdd;
        f[14] = 0x60;
        f[19] = 24;
        f[20] = 58;
        f[21] = 255;
        memcpy(f + 22, lla, sizeof(lla));
        f[38] = 0xff;
        f[39] = 2;
        f[53] = 1;
        f[54] = type;
        return 78;
}

/* Which types of ICMPv6 messages come from port 1 until there is none for 200 ms, as bits from 128 on. */
static unsigned int types_of(int wire)
{
        uint8_t f[2048], mac[6];
        struct pollfd p = {.fd = wire, .events = POLLIN};
        unsigned int types = 0;

        (void)ak_mac_bytes("06:00:00:01:01:01", mac);
        while (poll(&p, 1, 200) == 1) {
                ssize_t n = recv(wire, f, sizeof(f), 0);

                if (n > 54 && memcmp(f + 6, mac, 6) == 0 && f[20] == 58 && f[54] >= 128 && f[54] < 160)
                        types |= 1U << (f[54] - 128);
        }
        return types;
}

#define ECHO_REQUEST  (1U << 0)
#define ADVERTISEMENT (1U << (134 - 128))
#define REDIRECT      (1U << (137 - 128))

/* An advertisement and a redirect, then an echo request, until one of these arrives. */
static unsigned int what_passes(struct guest *from, int wire)
{
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;
        unsigned int types = 0;
        uint8_t f[78];

        while (!(types & ECHO_REQUEST) && ak_clock_monotonic_us() < end_us) {
                assert_int_equal(guest_send_frame(from, f, icmp6_frame(f, 134)), 0);
                assert_int_equal(guest_send_frame(from, f, icmp6_frame(f, 137)), 0);
                assert_int_equal(guest_send_frame(from, f, icmp6_frame(f, 128)), 0);
                types |= types_of(wire);
        }
        return types & (ECHO_REQUEST | ADVERTISEMENT | REDIRECT);
}

static void say_from(struct guest *from, uint16_t port, const char *peer, const char *text)
{
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)},
                           to = {.sin_family = AF_INET, .sin_port = htons(9999)};
        AK_AUTOCLOSE int fd = guest_socket(from, AF_INET, SOCK_DGRAM, 0);

        (void)inet_pton(AF_INET, peer, &to.sin_addr);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
        assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof(to)),
                         (ssize_t)strlen(text));
}

/* Until ovn-controller has done what the database says. */
static void wait_hv(void)
{
        char nb[96];

        snprintf(nb, sizeof(nb), "--db=unix:%s/ovn/nb.sock", root);
        assert_int_equal(host_run(NULL, 0, RUN("ovn-nbctl", nb, "--timeout=30", "--wait=hv", "sync")), 0);
}

static void give_ipv6(struct net_port_spec *s, const char *address)
{
        (void)ak_ip_parse(address, &s->address6);
        (void)ak_cidr_parse("fd00:1::/64", &s->cidr6);
        (void)ak_ip_parse("fd00:1::1", &s->gateway6);
}

/* What comes from a DHCP server or a router among the guests is dropped; what was sent after it comes first.
 */
static void guests_are_no_dhcp_servers_and_no_routers(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);
        char text[16] = "";

        give_ipv6(&s1, "fd00:1::400:ff:fe01:101");
        give_ipv6(&s2, "fd00:1::400:ff:fe01:102");
        struct guest *a = plug(h, 0, &s1, "10.0.1.11"), *b = plug(h, 1, &s2, "10.0.1.12");
        assert_true(guest_ping(a, "10.0.1.12"));
        AK_AUTOCLOSE int server = guest_listen(b, SOCK_DGRAM, 9999);
        struct pollfd p = {.fd = server, .events = POLLIN};
        say_from(a, 67, "10.0.1.12", "rogue");
        say_from(a, 68, "10.0.1.12", "client");
        assert_int_equal(poll(&p, 1, 30000), 1);
        assert_int_equal(recv(server, text, sizeof(text) - 1, 0), 6);
        assert_string_equal(text, "client");
        AK_AUTOCLOSE int wire = guest_socket(b, AF_PACKET, SOCK_RAW, htons(ETH_P_IPV6));
        assert_int_equal(what_passes(a, wire), ECHO_REQUEST);
        /* nor where the switch has stateful ACLs, which let neighbour discovery pass */
        s1.restricted = s2.restricted = true;
        s1.rule_count = s2.rule_count = 2;
        snprintf(s1.rules[0], sizeof(s1.rules[0]), "in any - 0.0.0.0/0,::/0");
        snprintf(s1.rules[1], sizeof(s1.rules[1]), "out any - 0.0.0.0/0,::/0");
        memcpy(s2.rules, s1.rules, sizeof(s2.rules));
        prepare(h, &s1);
        prepare(h, &s2);
        wait_hv();
        assert_int_equal(what_passes(a, wire), ECHO_REQUEST);
}

struct lost {
        const char *tap, *reason;
        uint64_t of_all, of_port;
};

static void note_lost(void *arg, const char *tap, const char *reason, uint64_t packets)
{
        struct lost *l = arg;

        if (strcmp(reason, l->reason) != 0)
                return;
        if (!tap)
                l->of_all = packets;
        else if (strcmp(tap, l->tap) == 0)
                l->of_port = packets;
}

/* Until something of that reason is counted, of the node and of the port. */
static void comes_to_be_counted(struct host *h, const struct net_port_spec *s, const char *reason)
{
        struct net_name tap = net_tap_name(s->key.port_id);
        struct lost l = {.tap = tap.s, .reason = reason};
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;
        struct net_error error = {0};

        while ((l.of_port == 0 || l.of_all < l.of_port) && ak_clock_monotonic_us() < end_us) {
                if (h->b->ops->drops(h->b, true, note_lost, &l, &error) < 0)
                        fail_msg("%s", error.message);
                if (l.of_port == 0)
                        (void)poll(NULL, 0, 20);
        }
        if (l.of_port == 0 || l.of_all < l.of_port)
                fail_msg("%s: %llu, of the port %llu", reason, (unsigned long long)l.of_all,
                         (unsigned long long)l.of_port);
}

static void what_is_dropped_is_counted(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        static const uint8_t arp[] = {0, 1, 8, 0, 6, 4, 0, 1, 6, 0, 0, 1, 1, 1, 10, 0, 1, 99};
        uint8_t f[78];

        give_ipv6(&s, "fd00:1::400:ff:fe01:101");
        struct guest *a = plug(h, 0, &s, "10.0.1.11");
        say_from(a, 67, "10.0.1.1", "rogue");
        comes_to_be_counted(h, &s, "rogue_dhcp");
        assert_int_equal(guest_send_frame(a, f, icmp6_frame(f, 134)), 0);
        comes_to_be_counted(h, &s, "rogue_ra");
        (void)icmp6_frame(f, 128);
        f[11] ^= 1;
        assert_int_equal(guest_send_frame(a, f, sizeof(f)), 0);
        comes_to_be_counted(h, &s, "spoofed_mac");
        (void)icmp6_frame(f, 128);
        f[37] ^= 1;
        assert_int_equal(guest_send_frame(a, f, sizeof(f)), 0);
        comes_to_be_counted(h, &s, "spoofed_ip");
        (void)icmp6_frame(f, 0);
        f[13] = 0x06;
        f[12] = 0x08;
        memcpy(f + 14, arp, sizeof(arp));
        assert_int_equal(guest_send_frame(a, f, 60), 0);
        comes_to_be_counted(h, &s, "spoofed_arp");
        f[12] = 0x12;
        assert_int_equal(guest_send_frame(a, f, 60), 0);
        comes_to_be_counted(h, &s, "other_protocol");
        s.egress_kbps = 64;
        prepare(h, &s);
        for (int i = 0; i < 2000; i++)
                say_from(a, 68, "10.0.1.1",
                         "much, and more of it, so that it is more than the cap lets pass");
        comes_to_be_counted(h, &s, "over_rate");
        h->guests[0] = guest_free(a);
        struct net_error error = {0};
        if (h->b->ops->release(h->b, &s.key, &error) < 0)
                fail_msg("%s", error.message);
        char left[256] = "";
        (void)host_run(left, sizeof(left),
                       RUN("sh", "-c", "nft list tables; ip -o link | grep -E ' ak(w|z)'"));
        assert_string_equal(left, "");
}

static bool connects(struct guest *from, struct guest *to, const char *address, uint16_t port)
{
        AK_AUTOCLOSE int server = guest_listen(to, SOCK_STREAM, port);
        AK_AUTOCLOSE int client = guest_connect(from, address, port, 1500);

        assert_true(server >= 0);
        return client >= 0;
}

/* ovn-controller follows the database: until what is wished shows, for at most 30 s. */
static bool becomes(struct guest *from, struct guest *to, uint16_t port, bool wished)
{
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;

        while (connects(from, to, "10.0.1.12", port) != wished)
                if (ak_clock_monotonic_us() > end_us)
                        return false;
        return true;
}

static void security_groups_change_live(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);

        struct guest *a = plug(h, 0, &s1, "10.0.1.11"), *b = plug(h, 1, &s2, "10.0.1.12");
        assert_true(connects(a, b, "10.0.1.12", 80));
        s2.restricted = true;
        s2.rule_count = 2;
        snprintf(s2.rules[0], sizeof(s2.rules[0]), "in tcp 80-81 10.0.1.0/24");
        snprintf(s2.rules[1], sizeof(s2.rules[1]), "out any - 0.0.0.0/0,::/0");
        prepare(h, &s2);
        assert_true(becomes(a, b, 82, false));
        assert_true(connects(a, b, "10.0.1.12", 80));
        assert_true(connects(a, b, "10.0.1.12", 81));
        assert_false(guest_ping(a, "10.0.1.12"));
        assert_true(guest_ping(b, "10.0.1.11")); /* begun within, answered */
        snprintf(s2.rules[0], sizeof(s2.rules[0]), "in tcp 80-81 10.0.1.99");
        prepare(h, &s2);
        assert_true(becomes(a, b, 80, false));
        s2.restricted = false;
        s2.rule_count = 0;
        prepare(h, &s2);
        assert_true(becomes(a, b, 82, true));
}

static void a_tap_made_anew_carries_packets(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);

        struct guest *a = plug(h, 0, &s1, "10.0.1.11");
        (void)plug(h, 1, &s2, "10.0.1.12");
        assert_true(guest_ping(a, "10.0.1.12"));
        h->guests[1] = guest_free(h->guests[1]);
        lose_port(h->b, s2.key.port_id);
        (void)plug(h, 1, &s2, "10.0.1.12");
        assert_true(guest_ping(a, "10.0.1.12"));
}

/* The userspace datapath's: the tap stays, a VM has it open. */
static void a_wire_made_anew_carries_packets(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;
        struct vpc_event e = {0};

        struct guest *a = plug(h, 0, &s1, "10.0.1.11");
        (void)plug(h, 1, &s2, "10.0.1.12");
        assert_true(guest_ping(a, "10.0.1.12"));
        uint32_t tap = prepare(h, &s2).ifindex;
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_wire_name(s2.key.port_id).s)), 0);
        while (strcmp(e.id, s2.key.port_id) != 0 && ak_clock_monotonic_us() < end_us) {
                struct pollfd p = {.fd = h->b->ops->event_fd(h->b), .events = POLLIN};

                (void)poll(&p, 1, 200);
                while (h->b->ops->next_event(h->b, &e) == 1 && strcmp(e.id, s2.key.port_id) != 0)
                        ;
        }
        assert_string_equal(e.id, s2.key.port_id);
        assert_int_equal(e.type, VPC_EVENT_PORT_LOST);
        assert_int_equal(prepare(h, &s2).ifindex, tap);
        wait_hv();
        assert_true(guest_ping(a, "10.0.1.12"));
}

static void what_it_cannot_do_is_said(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p;
        struct net_error error = {0};

        s.source_nat = true;
        assert_int_equal(h->b->ops->prepare(h->b, &s, &p, &error), -EOPNOTSUPP);
        assert_string_equal(error.reason, "SourceNATUnsupported");
}

static void a_database_that_is_away_is_an_error(void **state)
{
        struct vpc_backend *b = NULL;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct ovn_options options = {
            "test-ovn", "unix:/nonexistent/nb.sock", "unix:/nonexistent/ovs.sock", 600, NULL, true};
        struct net_prepared p;
        struct net_error error = {0};

        (void)state;
        assert_int_equal(vpc_ovn_new(&b, &options, &error), 0);
        assert_int_equal(b->ops->prepare(b, &s, &p, &error), -ENOENT);
        assert_non_null(strstr(error.message, "/nonexistent/nb.sock"));
        vpc_backend_free(b);
        options.nb = "ssl:1.2.3.4:6641";
        assert_int_equal(vpc_ovn_new(&b, &options, &error), -EINVAL);
        assert_int_not_equal(host_run(NULL, 0, RUN("ip", "link", "show", net_tap_name(s.key.port_id).s)), 0);
}

#define HOST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* argv[1]: only tests whose names match, "a_*". */
int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
            HOST(guests_of_a_vpc_reach_each_other), HOST(vpcs_with_the_same_addresses_do_not_meet),
            HOST(spoofed_frames_do_not_leave),      HOST(guests_are_no_dhcp_servers_and_no_routers),
            HOST(what_is_dropped_is_counted),       HOST(security_groups_change_live),
            HOST(a_tap_made_anew_carries_packets),  HOST(a_wire_made_anew_carries_packets),
            HOST(what_it_cannot_do_is_said),        HOST(a_database_that_is_away_is_an_error),
        };

        if (access("/usr/bin/ovn-northd", X_OK) != 0 || access("/usr/sbin/ovs-vswitchd", X_OK) != 0) {
                printf("skipped: OVN is not installed (ovn-central, ovn-host)\n");
                return 77;
        }
        if (host_isolate() < 0 || !mkdtemp(root))
                return 1;
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        int failures = run_ovn("start");
        if (failures == 0) {
                failures += contract_run(&(struct contract_host){make, restart, lose_port, lose_subnet});
                failures += cmocka_run_group_tests_name("ovn", tests, NULL, NULL);
        }
        failures += run_ovn("stop") != 0;
        failures += host_run(NULL, 0, RUN("rm", "-rf", root)) != 0;
        return failures;
}
