/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may say what, over real taps: anti-spoofing with its counters, security groups changed under traffic,
 * IPv6, bandwidth, link flaps, DNS, renewal after a dnsmasq's death. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
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
#include "services/network/backends/dhcp.h"
#include "services/network/backends/filter.h"
#include "services/network/backends/netns.h"
#include "services/network/label.h"
#include "services/network/test_guest.h"
#include "services/network/test_spec.h"

static char state_root[] = "/tmp/alkaid-test-security-XXXXXX";

#define NODE "test-security"
static const char table[] = "alkaid-" NODE;

/* Two guests of one subnet with leases: a is 10.0.1.11, b is 10.0.1.12. */
struct pair {
        struct vpc_backend *backend;
        struct net_port_spec a_spec, b_spec;
        struct guest *a, *b;
        struct filter *filter; /* another view on the node's table */
        uint64_t before[FILTER_REASON_COUNT];
};

static void prepare(struct pair *p, const struct net_port_spec *s)
{
        struct net_prepared prepared = {0};
        struct net_error error = {0};
        int r = p->backend->ops->prepare(p->backend, s, &prepared, &error);

        if (r < 0)
                fail_msg("prepare: %d %s: %s", r, error.reason, error.message);
}

static void give_ipv6(struct net_port_spec *s)
{
        uint8_t m[6];
        char text[64];

        ak_mac_bytes(s->mac, m);
        snprintf(text, sizeof(text), "fd00:1::%02x%02x:%02xff:fe%02x:%02x%02x", m[0] ^ 2, m[1], m[2], m[3],
                 m[4], m[5]);
        (void)ak_ip_parse(text, &s->address6);
        (void)ak_cidr_parse("fd00:1::/64", &s->cidr6);
        (void)ak_ip_parse("fd00:1::1", &s->gateway6);
}

static struct guest *start(const char *name, const struct net_port_spec *s)
{
        struct guest *g = guest_new(name, net_tap_name(s->key.port_id).s, s->mac);
        char lease[256];

        assert_non_null(g);
        assert_true(guest_dhcp(g, 4, lease, sizeof(lease)));
        return g;
}

static struct vpc_backend *make_backend(void)
{
        struct vpc_backend *b = NULL;
        struct net_error error;
        struct bridge_options options = {.node = NODE,
                                         .state_dir = state_root,
                                         .dnsmasq_path = "/usr/sbin/dnsmasq",
                                         .lease_seconds = 600,
                                         .anti_spoofing = true};

        return vpc_bridge_new(&b, &options, &error) == 0 ? b : NULL;
}

static int set_up(void **state)
{
        struct pair *p = calloc(1, sizeof(*p));

        *state = p;
        p->backend = make_backend();
        p->a_spec = test_spec(1, 1, 1);
        p->b_spec = test_spec(1, 1, 2);
        give_ipv6(&p->a_spec);
        give_ipv6(&p->b_spec);
        snprintf(p->b_spec.host_name, sizeof(p->b_spec.host_name), "eth1-web");
        prepare(p, &p->a_spec);
        prepare(p, &p->b_spec);
        p->a = start("a", &p->a_spec);
        p->b = start("b", &p->b_spec);
        return filter_new(&p->filter, NODE);
}

static int tear_down(void **state)
{
        struct pair *p = *state;
        struct net_error error = {0};

        guest_free(p->a);
        guest_free(p->b);
        int r = p->backend->ops->teardown(p->backend, &error);
        vpc_backend_free(p->backend);
        filter_free(p->filter);
        free(p);
        char left[2048];
        (void)host_run(left, sizeof(left),
                       RUN("sh", "-c",
                           "ip -o link | grep -v ' lo:'; ls /run/netns; nft list tables | grep -v "
                           "'inet filter'"));
        assert_string_equal(left, "");
        return r;
}

/* ------------------------------------------------------------------ counters */

static void read_counters(struct pair *p, uint64_t packets[FILTER_REASON_COUNT])
{
        struct net_error error = {0};

        if (filter_count(p->filter, packets, &error) < 0)
                fail_msg("%s", error.message);
}

static void mark_counters(struct pair *p)
{
        read_counters(p, p->before);
}

static uint64_t counted(struct pair *p, enum filter_reason reason)
{
        uint64_t now[FILTER_REASON_COUNT];

        read_counters(p, now);
        return now[reason] - p->before[reason];
}

/* ------------------------------------------------------------------ anti-spoofing */

static void put_mac(uint8_t *at, const char *mac)
{
        ak_mac_bytes(mac, at);
}

/* Ethernet and IPv4 (UDP) without checksums: the filter looks before anybody computes them. */
static size_t udp_frame(uint8_t out[128], const char *from_mac, const char *from, uint16_t sport,
                        uint16_t dport)
{
        memset(out, 0, 128);
        memset(out, 0xff, 6);
        put_mac(out + 6, from_mac);
        out[12] = 0x08;
        out[14] = 0x45;
        out[17] = 28 + 20;
        out[22] = 64;
        out[23] = 17;
        assert_int_equal(inet_pton(AF_INET, from, out + 26), 1);
        memset(out + 30, 0xff, 4);
        out[34] = (uint8_t)(sport >> 8);
        out[35] = (uint8_t)sport;
        out[36] = (uint8_t)(dport >> 8);
        out[37] = (uint8_t)dport;
        out[39] = 28;
        return 14 + 20 + 28;
}

static size_t arp_frame(uint8_t out[128], const char *mac, const char *sender_mac, const char *sender)
{
        static const uint8_t fixed[] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2};

        memset(out, 0, 128);
        memset(out, 0xff, 6);
        put_mac(out + 6, mac);
        memcpy(out + 12, fixed, sizeof(fixed));
        put_mac(out + 22, sender_mac);
        assert_int_equal(inet_pton(AF_INET, sender, out + 28), 1);
        return 42;
}

/* ICMPv6 of `type` with a target behind 4 bytes; hop limit 255. */
static size_t icmp6_frame(uint8_t out[128], const char *mac, const char *from, uint8_t type,
                          const char *target)
{
        memset(out, 0, 128);
        out[0] = out[1] = 0x33;
        out[5] = 1;
        put_mac(out + 6, mac);
        out[12] = 0x86;
        out[13] = 0xdd;
        out[14] = 0x60;
        out[19] = 24;
        out[20] = 58;
        out[21] = 255;
        assert_int_equal(inet_pton(AF_INET6, from, out + 22), 1);
        assert_int_equal(inet_pton(AF_INET6, "ff02::1", out + 38), 1);
        out[54] = type;
        assert_int_equal(inet_pton(AF_INET6, target, out + 62), 1);
        return 14 + 40 + 24;
}

static void send_and_count(struct pair *p, const uint8_t *frame, size_t len, enum filter_reason reason)
{
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;

        mark_counters(p);
        for (int i = 0; i < 3; i++)
                assert_int_equal(guest_send_frame(p->a, frame, len), 0);
        while (counted(p, reason) < 3 && ak_clock_monotonic_us() < end_us)
                (void)poll(NULL, 0, 5);       /* the frames are on their way through the guest's wire */
        assert_true(counted(p, reason) >= 3); /* a guest says more than it is asked to */
}

static void what_is_not_ones_own_is_dropped_and_counted(void **state)
{
        struct pair *p = *state;
        const char *own = p->a_spec.mac, *other = p->b_spec.mac;
        uint8_t f[128];

        send_and_count(p, f, udp_frame(f, other, "10.0.1.11", 1000, 1000), FILTER_spoofed_mac);
        send_and_count(p, f, udp_frame(f, own, "10.0.1.12", 1000, 1000), FILTER_spoofed_ip);
        send_and_count(p, f, udp_frame(f, own, "10.0.1.11", 67, 68), FILTER_rogue_dhcp);
        send_and_count(p, f, arp_frame(f, own, other, "10.0.1.11"), FILTER_spoofed_arp);
        send_and_count(p, f, arp_frame(f, own, own, "10.0.1.1"), FILTER_spoofed_arp);
        send_and_count(p, f, icmp6_frame(f, own, "fe80::1", 134, "::"), FILTER_rogue_ra);
        send_and_count(p, f, icmp6_frame(f, own, "fd00:1::1", 136, "fd00:1::1"), FILTER_spoofed_nd);
        send_and_count(p, f, icmp6_frame(f, own, "fd00:1::99", 128, "::"), FILTER_spoofed_ip);
        memset(f, 0xff, 6);
        f[12] = 0x88; /* LLDP */
        f[13] = 0xcc;
        send_and_count(p, f, 60, FILTER_other_protocol);
        assert_true(guest_ping(p->a, "10.0.1.12"));
}

/* What it is that an older version left is looked for in tear_down. */
static void a_table_of_an_older_version_goes_at_teardown(void **state)
{
        char old[64];

        (void)state;
        snprintf(old, sizeof(old), "alkaid-%s", NODE);
        assert_int_equal(host_run(NULL, 0, RUN("nft", "add", "table", "netdev", old)), 0);
}

/*
 * A filter at the tap's ingress is there before what a switch of the kernel takes frames with, a bridge's as
 * the Open vSwitch datapath's (netdev_rx_handler_register): the bridge's own filter sees nothing of what it
 * drops.
 */
static void an_ingress_filter_comes_before_the_switch(void **state)
{
        struct pair *p = *state;
        struct net_name tap = net_tap_name(p->a_spec.key.port_id);
        struct net_error error = {0};
        struct filter *ingress = NULL, *bridge = p->filter;
        uint64_t now[FILTER_REASON_COUNT];
        uint8_t f[128];

        assert_int_equal(filter_new_ingress(&ingress, "test-ingress"), 0);
        if (filter_set_port(ingress, tap.s, &p->a_spec, &error) < 0)
                fail_msg("%s", error.message);
        assert_true(guest_ping(p->a, "10.0.1.12"));
        p->filter = ingress;
        send_and_count(p, f, icmp6_frame(f, p->a_spec.mac, "fe80::1", 134, "::"), FILTER_rogue_ra);
        send_and_count(p, f, udp_frame(f, p->b_spec.mac, "10.0.1.11", 5000, 5001), FILTER_spoofed_mac);
        p->filter = bridge;
        read_counters(p, now);
        assert_int_equal(now[FILTER_rogue_ra], 0);
        assert_int_equal(now[FILTER_spoofed_mac], 0);
        assert_true(guest_ping(p->a, "10.0.1.12"));
        assert_int_equal(filter_clear_port(ingress, tap.s, &error), 0);
        send_and_count(p, f, icmp6_frame(f, p->a_spec.mac, "fe80::1", 134, "::"), FILTER_rogue_ra);
        assert_int_equal(filter_teardown_if_empty(ingress, &error), 0);
        filter_free(ingress);
}

static void a_port_without_ipv6_sends_none(void **state)
{
        struct pair *p = *state;
        struct net_port_spec s = p->a_spec;
        uint8_t f[128];

        memset(&s.address6, 0, sizeof(s.address6));
        memset(&s.cidr6, 0, sizeof(s.cidr6));
        prepare(p, &s);
        send_and_count(p, f, icmp6_frame(f, s.mac, "fd00:1::99", 128, "::"), FILTER_other_protocol);
        send_and_count(p, f, icmp6_frame(f, s.mac, "fe80::1", 134, "::"), FILTER_rogue_ra);
}

static void a_tap_made_again_is_guarded_again(void **state)
{
        struct pair *p = *state;
        uint8_t f[128];

        guest_free(p->a);
        p->a = NULL;
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_tap_name(p->a_spec.key.port_id).s)),
                         0);
        prepare(p, &p->a_spec);
        p->a = start("a", &p->a_spec);
        send_and_count(p, f, udp_frame(f, p->a_spec.mac, "10.0.1.12", 1000, 1000), FILTER_spoofed_ip);
        send_and_count(p, f, udp_frame(f, p->b_spec.mac, "10.0.1.11", 1000, 1000), FILTER_spoofed_mac);
}

struct by_port {
        const char *tap;
        uint64_t packets[FILTER_REASON_COUNT];
};

static void note_port(void *arg, const char *tap, enum filter_reason reason, uint64_t packets)
{
        struct by_port *b = arg;

        if (strcmp(tap, b->tap) == 0)
                b->packets[reason] = packets;
}

static void drops_are_counted_by_port(void **state)
{
        struct pair *p = *state;
        struct net_name a = net_tap_name(p->a_spec.key.port_id), b = net_tap_name(p->b_spec.key.port_id);
        struct by_port of_a = {.tap = a.s}, of_b = {.tap = b.s};
        struct net_error error = {0};
        uint8_t f[128];

        send_and_count(p, f, udp_frame(f, p->b_spec.mac, "10.0.1.11", 1000, 1000), FILTER_spoofed_mac);
        send_and_count(p, f, udp_frame(f, p->a_spec.mac, "10.0.1.11", 67, 68), FILTER_rogue_dhcp);
        assert_int_equal(filter_count_by_port(p->filter, note_port, &of_a, &error), 0);
        assert_int_equal(filter_count_by_port(p->filter, note_port, &of_b, &error), 0);
        assert_int_equal(of_a.packets[FILTER_spoofed_mac], 3);
        assert_int_equal(of_a.packets[FILTER_rogue_dhcp], 3);
        assert_int_equal(of_b.packets[FILTER_spoofed_mac], 0);
}

static void a_table_that_was_removed_is_put_back_whole(void **state)
{
        struct pair *p = *state;
        uint8_t f[128];

        assert_int_equal(host_run(NULL, 0, RUN("nft", "delete", "table", "bridge", table)), 0);
        prepare(p, &p->b_spec); /* the next call for any port */
        send_and_count(p, f, udp_frame(f, p->a_spec.mac, "10.0.1.12", 1000, 1000), FILTER_spoofed_ip);
        assert_true(guest_ping(p->a, "10.0.1.12"));
}

/* ------------------------------------------------------------------ security groups */

/* b's rules, "a|b|c". */
static void restrict_b(struct pair *p, const char *rules)
{
        AK_AUTOFREE char *copy = strdup(rules);

        p->b_spec.restricted = true;
        p->b_spec.rule_count = 0;
        for (char *save = NULL, *r = strtok_r(copy, "|", &save); r; r = strtok_r(NULL, "|", &save))
                snprintf(p->b_spec.rules[p->b_spec.rule_count++], sizeof(p->b_spec.rules[0]), "%s", r);
        prepare(p, &p->b_spec);
}

#define OUT "out any - 0.0.0.0/0,::/0"

static bool connects(struct guest *from, struct guest *to, const char *address, uint16_t port)
{
        AK_AUTOCLOSE int server = guest_listen(to, SOCK_STREAM, port);
        AK_AUTOCLOSE int client = guest_connect(from, address, port, 700);

        assert_true(server >= 0);
        return client >= 0;
}

static bool wait_readable(int fd, int timeout_ms)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, timeout_ms) == 1;
}

/* One datagram there and, if it came, one back. */
static bool udp_echo(struct guest *from, struct guest *to, const char *address, uint16_t port, bool *answered)
{
        AK_AUTOCLOSE int server = guest_listen(to, SOCK_DGRAM, port);
        AK_AUTOCLOSE int client = guest_socket(from, AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
        struct sockaddr_in6 peer;
        socklen_t len = sizeof(peer);
        char text[8];

        assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
        assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
        assert_int_equal(send(client, "ping", 4, 0), 4);
        *answered = false;
        if (!wait_readable(server, 700))
                return false;
        assert_int_equal(recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&peer, &len), 4);
        assert_int_equal(sendto(server, "pong", 4, 0, (struct sockaddr *)&peer, len), 4);
        *answered = wait_readable(client, 700);
        return true;
}

static void rules_by_protocol_and_port(void **state)
{
        struct pair *p = *state;
        bool answered;

        restrict_b(p, OUT);
        assert_false(connects(p->a, p->b, "10.0.1.12", 80));
        assert_false(guest_ping(p->a, "10.0.1.12"));
        restrict_b(p, "in tcp 80-81 0.0.0.0/0|" OUT);
        assert_true(connects(p->a, p->b, "10.0.1.12", 80));
        assert_true(connects(p->a, p->b, "10.0.1.12", 81));
        assert_false(connects(p->a, p->b, "10.0.1.12", 82));
        assert_false(udp_echo(p->a, p->b, "10.0.1.12", 80, &answered));
        assert_false(guest_ping(p->a, "10.0.1.12"));
        restrict_b(p, "in udp 53-53 0.0.0.0/0|" OUT);
        assert_true(udp_echo(p->a, p->b, "10.0.1.12", 53, &answered));
        assert_true(answered);
        assert_false(connects(p->a, p->b, "10.0.1.12", 53));
        restrict_b(p, "in icmp - 0.0.0.0/0|" OUT);
        assert_true(guest_ping(p->a, "10.0.1.12"));
        assert_false(connects(p->a, p->b, "10.0.1.12", 80));
        restrict_b(p, "in any - 0.0.0.0/0|" OUT);
        assert_true(guest_ping(p->a, "10.0.1.12"));
        assert_true(connects(p->a, p->b, "10.0.1.12", 4242));
        mark_counters(p);
        restrict_b(p, OUT);
        assert_false(connects(p->a, p->b, "10.0.1.12", 80));
        assert_true(counted(p, FILTER_denied_in) > 0);
}

static void rules_by_peer(void **state)
{
        struct pair *p = *state;

        restrict_b(p, "in tcp 80-80 10.0.1.0/28|" OUT);
        assert_true(connects(p->a, p->b, "10.0.1.12", 80));
        restrict_b(p, "in tcp 80-80 10.0.1.16/28,192.0.2.0/24|" OUT);
        assert_false(connects(p->a, p->b, "10.0.1.12", 80));
        /* members of a group, as the API compiles them */
        restrict_b(p, "in tcp 80-80 10.0.1.40,10.0.1.11,fd00:1::5|" OUT);
        assert_true(connects(p->a, p->b, "10.0.1.12", 80));
        restrict_b(p, "in tcp 80-80 10.0.1.40|" OUT);
        assert_false(connects(p->a, p->b, "10.0.1.12", 80));
}

static void rules_for_what_the_vm_begins(void **state)
{
        struct pair *p = *state;

        restrict_b(p, "out tcp 443-443 10.0.1.0/24|in tcp 22-22 0.0.0.0/0");
        assert_true(connects(p->b, p->a, "10.0.1.11", 443));
        mark_counters(p);
        assert_false(connects(p->b, p->a, "10.0.1.11", 80));
        assert_true(counted(p, FILTER_denied_out) > 0);
        assert_false(guest_ping(p->b, "10.0.1.11"));
        /* answers to what others began need no rule */
        assert_true(connects(p->a, p->b, "10.0.1.12", 22));
        restrict_b(p, "out icmp - 10.0.1.11");
        assert_true(guest_ping(p->b, "10.0.1.11"));
        assert_false(guest_ping(p->a, "10.0.1.12"));
        restrict_b(p, OUT);
        assert_true(connects(p->b, p->a, "10.0.1.11", 80));
        assert_true(guest_ping(p->b, "10.0.1.11"));
}

static void restricted_guests_still_get_an_address(void **state)
{
        struct pair *p = *state;
        char lease[256];

        restrict_b(p, "in tcp 1-1 192.0.2.1|out tcp 1-1 192.0.2.1");
        guest_free(p->b);
        p->b = guest_new("b", net_tap_name(p->b_spec.key.port_id).s, p->b_spec.mac);
        assert_non_null(p->b);
        assert_true(guest_dhcp(p->b, 4, lease, sizeof(lease)));
        assert_false(guest_ping(p->b, "10.0.1.1"));
}

static bool passes(int from, int to, int timeout_ms)
{
        char text[64];

        if (send(from, "x", 1, MSG_NOSIGNAL) != 1 || !wait_readable(to, timeout_ms))
                return false;
        return recv(to, text, sizeof(text), 0) > 0;
}

static void rules_change_under_traffic(void **state)
{
        struct pair *p = *state;
        AK_AUTOCLOSE int server = guest_listen(p->b, SOCK_STREAM, 80);

        restrict_b(p, "in tcp 80-80 0.0.0.0/0|" OUT);
        AK_AUTOCLOSE int client = guest_connect(p->a, "10.0.1.12", 80, 2000);
        assert_true(client >= 0);
        assert_true(wait_readable(server, 1000));
        AK_AUTOCLOSE int accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        assert_true(passes(client, accepted, 1000));
        /* set again as they are: nothing stutters */
        prepare(p, &p->b_spec);
        assert_true(passes(client, accepted, 150));
        assert_true(passes(accepted, client, 150));
        /* taken away: the connection stands still, also from within */
        restrict_b(p, "in tcp 22-22 0.0.0.0/0|out udp - 0.0.0.0/0");
        assert_false(passes(client, accepted, 500));
        assert_false(passes(accepted, client, 500));
        /* and goes on where it stopped */
        restrict_b(p, "in tcp 80-80 10.0.1.11|" OUT);
        assert_true(wait_readable(accepted, 10000));
        assert_true(wait_readable(client, 10000));
        /* no group at all: everything passes */
        p->b_spec.restricted = false;
        p->b_spec.rule_count = 0;
        prepare(p, &p->b_spec);
        assert_true(connects(p->a, p->b, "10.0.1.12", 4242));
}

static bool comes_to_pass(int from, int to)
{
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;

        while (!passes(from, to, 200))
                if (ak_clock_monotonic_us() > end_us)
                        return false;
        return true;
}

static bool comes_to_ping(struct guest *from, const char *address)
{
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;

        while (!guest_ping(from, address))
                if (ak_clock_monotonic_us() > end_us)
                        return false;
        return true;
}

static void drain(int fd)
{
        char text[64];

        while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0)
                ;
}

/* Two sockets that exchange datagrams all the time, and what b's rules say of it: yes, no, yes, … */
static void each_kind_of_rule_changes_under_traffic(void **state)
{
        static const struct {
                bool b_sends;
                const char *allow, *deny;
        } kinds[] = {
            {false, "in udp - 0.0.0.0/0", "in tcp - 0.0.0.0/0"},                   /* protocol */
            {false, "in udp 53-53 0.0.0.0/0", "in udp 54-60 0.0.0.0/0"},           /* port */
            {false, "in udp 53-53 10.0.1.0/28", "in udp 53-53 10.0.1.16/28"},      /* CIDR */
            {false, "in udp 53-53 10.0.1.40,10.0.1.11", "in udp 53-53 10.0.1.40"}, /* group */
            {false, "in any - 0.0.0.0/0", "in icmp - 0.0.0.0/0"},                  /* all */
            {true, "out udp - 0.0.0.0/0", "out tcp - 0.0.0.0/0"},
            {true, "out udp 53-53 10.0.1.0/28", "out udp 54-60 10.0.1.0/28"},
            {true, "out udp 53-53 10.0.1.40,10.0.1.11", "out udp 53-53 10.0.1.40"},
        };
        struct pair *p = *state;

        for (size_t i = 0; i < AK_ARRAY_SIZE(kinds); i++) {
                struct guest *from = kinds[i].b_sends ? p->b : p->a, *to = kinds[i].b_sends ? p->a : p->b;
                AK_AUTOCLOSE int server = guest_listen(to, SOCK_DGRAM, 53);
                AK_AUTOCLOSE int client = guest_socket(from, AF_INET, SOCK_DGRAM, 0);
                struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};

                assert_int_equal(
                    inet_pton(AF_INET, kinds[i].b_sends ? "10.0.1.11" : "10.0.1.12", &at.sin_addr), 1);
                assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
                for (int round = 0; round < 2; round++) {
                        restrict_b(p, kinds[i].allow);
                        if (!comes_to_pass(client, server))
                                fail_msg("%s: does not pass", kinds[i].allow);
                        restrict_b(p, kinds[i].deny);
                        drain(server);
                        if (passes(client, server, 300))
                                fail_msg("%s: passes", kinds[i].deny);
                }
        }
        restrict_b(p, "in icmp - 10.0.1.11");
        assert_true(comes_to_ping(p->a, "10.0.1.12"));
        restrict_b(p, "in udp - 10.0.1.11");
        assert_false(guest_ping(p->a, "10.0.1.12"));
        restrict_b(p, "out icmp - 10.0.1.11");
        assert_true(comes_to_ping(p->b, "10.0.1.11"));
        restrict_b(p, "out udp - 10.0.1.11");
        assert_false(guest_ping(p->b, "10.0.1.11"));
}

/* How often the word occurs in what nftables has of the node. */
static int in_table(const char *word)
{
        char text[65536] = "";
        int n = 0;

        assert_int_equal(host_run(text, sizeof(text), RUN("nft", "list", "table", "bridge", table)), 0);
        for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
                n++;
        return n;
}

static void what_an_earlier_process_made_is_changed_and_removed(void **state)
{
        struct pair *p = *state;
        struct net_error error = {0};
        AK_AUTOCLOSE int server = guest_listen(p->b, SOCK_STREAM, 80);

        p->b_spec.egress_kbps = 80000;
        restrict_b(p, "in tcp 80-80 0.0.0.0/0|" OUT);
        AK_AUTOCLOSE int client = guest_connect(p->a, "10.0.1.12", 80, 2000);
        assert_true(client >= 0);
        assert_true(wait_readable(server, 1000));
        AK_AUTOCLOSE int accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        vpc_backend_free(p->backend);
        p->backend = make_backend();
        prepare(p, &p->b_spec); /* the same: what has begun goes on */
        assert_true(passes(client, accepted, 1000));
        vpc_backend_free(p->backend);
        p->backend = make_backend();
        p->b_spec.egress_kbps = 0;
        restrict_b(p, "in tcp 22-22 0.0.0.0/0|" OUT);
        assert_false(passes(client, accepted, 500));
        assert_int_equal(in_table("\tchain i-"), 1);
        assert_int_equal(in_table("\tchain to {"), 1);
        assert_int_equal(in_table("\tlimit l-"), 0);
        vpc_backend_free(p->backend);
        p->backend = make_backend();
        guest_free(p->b);
        p->b = NULL;
        if (p->backend->ops->release(p->backend, &p->b_spec.key, &error) < 0)
                fail_msg("%s", error.message);
        assert_int_equal(in_table("10.0.1.12"), 0);
        assert_int_equal(in_table(net_tap_name(p->b_spec.key.port_id).s), 0);
        assert_int_equal(in_table("\tchain i-"), 0);
        assert_int_equal(in_table("\tchain to {"), 0); /* no frame is looked at on its way to a VM */
        assert_true(guest_ping(p->a, "10.0.1.1"));
}

static void ports_share_the_chains_of_the_same_rules(void **state)
{
        struct pair *p = *state;

        restrict_b(p, "in tcp 80-80 0.0.0.0/0|" OUT);
        p->a_spec.restricted = true;
        p->a_spec.rule_count = p->b_spec.rule_count;
        memcpy(p->a_spec.rules, p->b_spec.rules, sizeof(p->a_spec.rules));
        prepare(p, &p->a_spec);
        assert_int_equal(in_table("\tchain i-"), 1);
        assert_true(connects(p->a, p->b, "10.0.1.12", 80));
        assert_true(connects(p->b, p->a, "10.0.1.11", 80));
        assert_false(connects(p->b, p->a, "10.0.1.11", 81));
        restrict_b(p, "in tcp 81-81 0.0.0.0/0|" OUT);
        assert_int_equal(in_table("\tchain i-"), 2);
        assert_true(connects(p->b, p->a, "10.0.1.11", 80));
        assert_false(connects(p->a, p->b, "10.0.1.12", 80));
}

/* ------------------------------------------------------------------ IPv6 */

static bool wait_for_address(struct guest *g, const char *address)
{
        uint64_t end_us = ak_clock_monotonic_us() + 15000000;
        char text[2048] = "";

        while (ak_clock_monotonic_us() < end_us) {
                (void)guest_run(g, text, sizeof(text), RUN("ip", "-6", "address", "show", "dev", "eth0"));
                if (strstr(text, address) && !strstr(text, "tentative"))
                        return true;
                (void)poll(NULL, 0, 50);
        }
        fprintf(stderr, "%s not in: %s\n", address, text);
        return false;
}

static bool ping6(struct guest *g, const char *address)
{
        return guest_run(g, NULL, 0, RUN("ping", "-6", "-c", "1", "-W", "1", address)) == 0;
}

static void ipv6_by_router_advertisement(void **state)
{
        struct pair *p = *state;
        char a[AK_IP_SIZE], b[AK_IP_SIZE];

        ak_ip_format(&p->a_spec.address6, a);
        ak_ip_format(&p->b_spec.address6, b);
        assert_true(wait_for_address(p->a, a));
        assert_true(wait_for_address(p->b, b));
        assert_true(ping6(p->a, b));
        assert_true(ping6(p->a, "fd00:1::1"));
        assert_true(connects(p->a, p->b, b, 80));
        restrict_b(p, "in tcp 80-80 fd00:1::/64|" OUT);
        assert_true(connects(p->a, p->b, b, 80));
        assert_false(connects(p->a, p->b, b, 81));
        assert_false(ping6(p->a, b));
        restrict_b(p, "in icmp - ::/0|" OUT);
        assert_true(ping6(p->a, b));
        assert_false(connects(p->a, p->b, b, 80));
}

/* ------------------------------------------------------------------ bandwidth */

/* Kilobits per second that arrive of UDP sent as fast as it goes. */
static double udp_rate(struct guest *from, struct guest *to, const char *address)
{
        AK_AUTOCLOSE int server = guest_listen(to, SOCK_DGRAM, 9000);
        AK_AUTOCLOSE int client = guest_socket(from, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9000)};
        uint64_t start_us = ak_clock_monotonic_us(), now_us, bytes = 0, settle_us = start_us + 500000;
        char data[1400] = {0};

        assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
        do {
                ssize_t n;

                now_us = ak_clock_monotonic_us();
                if (now_us < settle_us)
                        bytes = 0; /* the bucket's first fill does not count */
                (void)sendto(client, data, sizeof(data), 0, (struct sockaddr *)&at, sizeof(at));
                while ((n = recv(server, data, sizeof(data), 0)) > 0)
                        bytes += (uint64_t)n + 42;
                (void)poll(NULL, 0, 0);
        } while (now_us < settle_us + 2000000);
        return (double)bytes * 8000.0 / (double)(now_us - settle_us);
}

static void assert_about(double kbps, double cap)
{
        printf("cap %.0f kbit/s, measured %.0f\n", cap, kbps);
        assert_true(kbps > cap * 0.8 && kbps < cap * 1.1);
}

static void bandwidth_is_capped_live(void **state)
{
        struct pair *p = *state;
        double open = udp_rate(p->a, p->b, "10.0.1.12");

        printf("without a cap %.0f kbit/s\n", open);
        assert_true(open > 16000);
        p->b_spec.ingress_kbps = 8000;
        prepare(p, &p->b_spec);
        assert_about(udp_rate(p->a, p->b, "10.0.1.12"), 8000);
        p->b_spec.ingress_kbps = 4000;
        prepare(p, &p->b_spec);
        assert_about(udp_rate(p->a, p->b, "10.0.1.12"), 4000);
        p->b_spec.ingress_kbps = 0;
        p->a_spec.egress_kbps = 8000;
        prepare(p, &p->b_spec);
        prepare(p, &p->a_spec);
        mark_counters(p);
        assert_about(udp_rate(p->a, p->b, "10.0.1.12"), 8000);
        assert_true(counted(p, FILTER_over_rate) > 0);
        p->a_spec.egress_kbps = 0;
        prepare(p, &p->a_spec);
        assert_true(udp_rate(p->a, p->b, "10.0.1.12") > 16000);
}

/* ------------------------------------------------------------------ the rest */

static void a_link_flap_is_survived(void **state)
{
        struct pair *p = *state;
        const char *tap = net_tap_name(p->b_spec.key.port_id).s;

        assert_true(guest_ping(p->a, "10.0.1.12"));
        for (int i = 0; i < 5; i++) {
                assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "set", tap, "down")), 0);
                assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "set", tap, "up")), 0);
        }
        assert_true(guest_ping(p->a, "10.0.1.12"));
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "set", tap, "down")), 0);
        assert_false(guest_ping(p->a, "10.0.1.12"));
        prepare(p, &p->b_spec); /* puts it right */
        assert_true(guest_ping(p->a, "10.0.1.12"));
}

static void names_are_known_by_dns(void **state)
{
        struct pair *p = *state;
        char text[1024];

        assert_int_equal(guest_run(p->a, text, sizeof(text),
                                   RUN("busybox", "nslookup", "eth1-web.alkaid.internal", "10.0.1.1")),
                         0);
        assert_non_null(strstr(text, "10.0.1.12"));
        assert_int_not_equal(guest_run(p->a, text, sizeof(text),
                                       RUN("busybox", "nslookup", "nobody.alkaid.internal", "10.0.1.1")),
                             0);
}

static pid_t server_pid(const struct net_port_spec *s)
{
        struct dhcp_server server = {0, -1};
        AK_AUTOCLOSE int fd = netns_open(net_netns_name(s->vpc_id).s);

        assert_true(fd >= 0);
        assert_int_equal(dhcp_find(fd, s->key.subnet_id, &server), 0);
        (void)close(server.pidfd);
        return server.pid;
}

static bool wait_for_file(const char *path)
{
        uint64_t end_us = ak_clock_monotonic_us() + 10000000;

        while (access(path, F_OK) != 0 && ak_clock_monotonic_us() < end_us)
                (void)poll(NULL, 0, 10);
        return access(path, F_OK) == 0;
}

static void a_lease_is_renewed_after_the_servers_death(void **state)
{
        struct pair *p = *state;
        char file[64], variable[96], lease[128] = "";
        struct vpc_event e;
        bool lost = false;

        snprintf(file, sizeof(file), "/tmp/%s-%d.renew", NODE, (int)getpid());
        snprintf(variable, sizeof(variable), "RENEW_FILE=%s", file);
        pid_t client = guest_spawn(p->a, RUN("env", variable, "LEASE_FILE=/dev/null", "busybox", "udhcpc",
                                             "-f", "-i", "eth0", "-t", "3", "-T", "1", "-A", "1", "-s",
                                             "services/network/testdata/lease.sh"));
        assert_true(client > 0);
        assert_true(wait_for_file(file)); /* bound */
        assert_int_equal(unlink(file), 0);
        assert_int_equal(kill(server_pid(&p->a_spec), SIGKILL), 0);
        for (int i = 0; i < 500 && !lost; i++) {
                struct pollfd fd = {.fd = p->backend->ops->event_fd(p->backend), .events = POLLIN};

                (void)poll(&fd, 1, 10);
                while (p->backend->ops->next_event(p->backend, &e) == 1)
                        lost |= e.type == VPC_EVENT_DHCP_LOST;
        }
        assert_true(lost);
        prepare(p, &p->a_spec); /* as the core does on that event */
        assert_int_equal(kill(client, SIGUSR1), 0);
        bool renewed = wait_for_file(file), read = false;
        FILE *f = renewed ? fopen(file, "r") : NULL;
        if (f) {
                read = fgets(lease, sizeof(lease), f) != NULL;
                (void)fclose(f);
        }
        (void)unlink(file);
        assert_true(renewed && read);
        assert_string_equal(lease, "renew 10.0.1.11\n");
}

/* ------------------------------------------------------------------ the way out */

/* A machine beside the host: 198.51.100.2, behind the host's 198.51.100.1. */
static void make_outside(void)
{
        static const char make[] =
            "ip netns add outside && ip link add out0 type veth peer name eth0 netns outside && "
            "ip address add 198.51.100.1/24 dev out0 && ip link set out0 up && "
            "ip -n outside address add 198.51.100.2/24 dev eth0 && "
            "ip address add 2001:db8::1/64 dev out0 nodad && "
            "ip -n outside address add 2001:db8::2/64 dev eth0 nodad && "
            "ip -n outside link set eth0 up && ip -n outside link set lo up";

        assert_int_equal(host_run(NULL, 0, RUN("sh", "-c", make)), 0);
}

static void source_nat_is_the_only_way_out(void **state)
{
        struct pair *p = *state;
        struct net_port_spec other = test_spec(2, 1, 1); /* another VPC, the same addresses */

        make_outside();
        bool before = guest_ping(p->a, "198.51.100.2");
        p->a_spec.source_nat = p->b_spec.source_nat = other.source_nat = true;
        prepare(p, &p->a_spec);
        prepare(p, &p->b_spec);
        prepare(p, &other);
        struct guest *c = start("c", &other);
        bool out = guest_ping(p->a, "198.51.100.2"), out_too = guest_ping(c, "198.51.100.2");
        bool host = guest_ping(p->a, "198.51.100.1"), between = guest_ping(p->a, "10.0.1.12");
        char address[64] = "";
        (void)host_run(address, sizeof(address),
                       RUN("sh", "-c",
                           "ip -o -4 address show | sed -n 's|.*inet \\(169[.0-9]*\\)/.*|\\1|p' | "
                           "head -n 1 | tr -d '\\n'"));
        bool link = guest_ping(c, address);
        guest_free(c);
        p->a_spec.source_nat = false;
        prepare(p, &p->a_spec);
        bool after = guest_ping(p->a, "198.51.100.2");
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", "out0")), 0);
        assert_int_equal(host_run(NULL, 0, RUN("ip", "netns", "del", "outside")), 0);
        assert_false(before);
        assert_true(out && out_too && between);
        assert_false(host || link);
        assert_false(after);
        assert_true(strncmp(address, "169.254.", 8) == 0);
}

/* "accept_ra" of a link of the host. */
static char accepts_advertisements(const char *link)
{
        char path[96], value = '?';

        snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", link);
        FILE *f = fopen(path, "r");
        if (f) {
                value = (char)fgetc(f);
                (void)fclose(f);
        }
        return value;
}

/* The same over IPv6; outside is asked whom it saw, and has no way back but to the host itself. */
static void source_nat_hides_ipv6_too(void **state)
{
        struct pair *p = *state;
        struct net_port_spec other = test_spec(2, 1, 1);
        char a[AK_IP_SIZE], o[AK_IP_SIZE], address[64] = "", link[64] = "";

        make_outside();
        ak_ip_format(&p->a_spec.address6, a);
        assert_true(wait_for_address(p->a, a));
        bool before = ping6(p->a, "2001:db8::2");
        p->a_spec.source_nat = p->b_spec.source_nat = other.source_nat = true;
        prepare(p, &p->a_spec);
        prepare(p, &p->b_spec);
        give_ipv6(&other);
        prepare(p, &other);
        struct guest *c = start("c", &other);
        ak_ip_format(&other.address6, o);
        bool has = wait_for_address(c, o);
        bool out = ping6(p->a, "2001:db8::2"), out_too = ping6(c, "2001:db8::2");
        (void)host_run(address, sizeof(address),
                       RUN("sh", "-c",
                           "ip -o -6 address show | sed -n 's|.*inet6 \\(fda1:[0-9a-f:]*\\)/.*|\\1|p' | "
                           "head -n 1 | tr -d '\\n'"));
        bool host = ping6(p->a, "2001:db8::1"), leg = ping6(p->a, address), leg_too = ping6(c, address);
        bool gateway = ping6(p->a, "fd00:1::1");
        char advertisements = accepts_advertisements("out0");
        guest_free(c);
        p->a_spec.source_nat = false;
        prepare(p, &p->a_spec);
        bool after = ping6(p->a, "2001:db8::2");
        (void)host_run(link, sizeof(link), RUN("sh", "-c", "ip -o link show type veth | grep -c ' aku'"));
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", "out0")), 0);
        assert_int_equal(host_run(NULL, 0, RUN("ip", "netns", "del", "outside")), 0);
        assert_false(before);
        assert_true(has && out && out_too && gateway);
        assert_false(host || leg || leg_too);
        assert_false(after);
        assert_true(strncmp(address, "fda1:ca1d:", 10) == 0);
        assert_int_equal(advertisements, '2');
        assert_string_equal(link, "1\n");
}

#define PAIR(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* argv[1]: only tests whose names match, "a_*". */
int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
            PAIR(what_is_not_ones_own_is_dropped_and_counted),
            PAIR(a_table_of_an_older_version_goes_at_teardown),
            PAIR(an_ingress_filter_comes_before_the_switch),
            PAIR(a_port_without_ipv6_sends_none),
            PAIR(a_tap_made_again_is_guarded_again),
            PAIR(rules_by_protocol_and_port),
            PAIR(rules_by_peer),
            PAIR(rules_for_what_the_vm_begins),
            PAIR(restricted_guests_still_get_an_address),
            PAIR(rules_change_under_traffic),
            PAIR(each_kind_of_rule_changes_under_traffic),
            PAIR(drops_are_counted_by_port),
            PAIR(a_table_that_was_removed_is_put_back_whole),
            PAIR(what_an_earlier_process_made_is_changed_and_removed),
            PAIR(ports_share_the_chains_of_the_same_rules),
            PAIR(ipv6_by_router_advertisement),
            PAIR(bandwidth_is_capped_live),
            PAIR(source_nat_is_the_only_way_out),
            PAIR(source_nat_hides_ipv6_too),
            PAIR(a_link_flap_is_survived),
            PAIR(names_are_known_by_dns),
            PAIR(a_lease_is_renewed_after_the_servers_death),
        };

        if (host_isolate() < 0 || !mkdtemp(state_root))
                return 1;
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        int failures = cmocka_run_group_tests_name("security", tests, NULL, NULL);
        failures += host_run(NULL, 0, RUN("rm", "-rf", state_root)) != 0;
        return failures;
}
