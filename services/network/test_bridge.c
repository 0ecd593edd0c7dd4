/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract over the bridge backend, then what only it can show: DHCP, isolation, drift, restart, two
 * nodes on one host, nothing left. Needs root, /dev/net/tun, dnsmasq, busybox.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "libcommon/clock.h"
#include "services/network/backends/backend.h"
#include "services/network/backends/dhcp.h"
#include "services/network/backends/netns.h"
#include "services/network/backends/rtnl.h"
#include "services/network/test_contract.h"
#include "services/network/test_guest.h"
#include "services/network/test_spec.h"

static char state_root[] = "/tmp/alkaid-test-bridge-XXXXXX";

static struct vpc_backend *make(const char *node)
{
        struct vpc_backend *b = NULL;
        struct net_error error;
        char dir[128];

        snprintf(dir, sizeof(dir), "%s/%s", state_root, node);
        struct bridge_options options = {node, dir, "/usr/sbin/dnsmasq", 600, true};
        if (vpc_bridge_new(&b, &options, &error) < 0) {
                fprintf(stderr, "%s: %s\n", error.reason, error.message);
                return NULL;
        }
        return b;
}

struct host {
        struct vpc_backend *a, *b; /* b: another node, made where a test wants it */
        struct guest *guests[8];   /* ended with the test, however it ends */
        size_t guest_count;
};

/* What bears the names of this test's nodes; others use the host at the same time. */
static void assert_nothing_left(void)
{
        static const char find[] = "ip -d -o link | grep -E 'alkaid node=(test-|contract)'; "
                                   "ls /run/netns 2>/dev/null | grep -E '^(ak-d00000[0-9]+7e57|nettest-)'; "
                                   "nft list tables bridge | grep -E 'alkaid-(test-|contract)'; pgrep -af "
                                   "'[a]lkaid-test-bridge-.*dnsmasq.conf$'";
        char left[4096];

        (void)host_run(left, sizeof(left), RUN("sh", "-c", find));
        if (left[0] != '\0')
                fail_msg("left on the host: %s", left);
}

static int set_up(void **state)
{
        struct host *h = calloc(1, sizeof(*h));

        h->a = make("test-a");
        *state = h;
        return h->a ? 0 : -1;
}

static int tear_down(void **state)
{
        struct host *h = *state;
        struct net_error error = {0};
        while (h->guest_count > 0)
                guest_free(h->guests[--h->guest_count]);
        int r = h->a->ops->teardown(h->a, &error);

        if (r == 0 && h->b)
                r = h->b->ops->teardown(h->b, &error);
        if (r < 0)
                fprintf(stderr, "teardown: %s\n", error.message);
        h->a = vpc_backend_free(h->a);
        h->b = vpc_backend_free(h->b);
        free(h);
        assert_nothing_left();
        return r;
}

static struct net_prepared prepare(struct vpc_backend *b, const struct net_port_spec *s)
{
        struct net_prepared p = {0};
        struct net_error error = {0};
        int r = b->ops->prepare(b, s, &p, &error);

        if (r < 0)
                fail_msg("prepare: %d %s: %s", r, error.reason, error.message);
        return p;
}

static void release(struct vpc_backend *b, const struct net_port_spec *s)
{
        struct net_error error = {0};

        if (b->ops->release(b, &s->key, &error) < 0)
                fail_msg("release: %s: %s", error.reason, error.message);
}

/* Waits for an event of this type; others on the way are let pass. */
static bool wait_event(struct vpc_backend *b, enum vpc_event_type type, const char *id)
{
        uint64_t end_us = ak_clock_monotonic_us() + 5000000;
        struct vpc_event e;

        while (ak_clock_monotonic_us() < end_us) {
                struct pollfd p = {.fd = b->ops->event_fd(b), .events = POLLIN};

                (void)poll(&p, 1, 200);
                while (b->ops->next_event(b, &e) == 1)
                        if (e.type == type && strcmp(e.id, id) == 0)
                                return true;
        }
        return false;
}

static struct guest *start_guest_as(struct host *h, const char *name, const struct net_port_spec *s,
                                    const char *mac)
{
        struct guest *g = guest_new(name, net_tap_name(s->key.port_id).s, mac);

        assert_non_null(g);
        assert_true(h->guest_count < AK_ARRAY_SIZE(h->guests));
        h->guests[h->guest_count++] = g;
        return g;
}

static struct guest *start_guest(struct host *h, const char *name, const struct net_port_spec *s)
{
        return start_guest_as(h, name, s, s->mac);
}

static void end_guest(struct host *h)
{
        guest_free(h->guests[--h->guest_count]);
}

static void expect_lease(struct guest *g, const char *address)
{
        char lease[256] = "", expected[64];

        assert_true(guest_dhcp(g, 4, lease, sizeof(lease)));
        snprintf(expected, sizeof(expected), "ip=%s ", address);
        if (strncmp(lease, expected, strlen(expected)) != 0)
                fail_msg("lease %s, expected %s", lease, expected);
}

static void dhcp_hands_out_the_ports_address(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        char lease[256];

        s.mtu = 1400;
        prepare(h->a, &s);
        struct guest *g = start_guest(h, "a", &s);
        assert_true(guest_dhcp(g, 4, lease, sizeof(lease)));
        assert_string_equal(lease, "ip=10.0.1.11 mask=24 router=10.0.1.1 dns=10.0.1.1 mtu=1400 lease=600\n");
}

static void guests_of_a_vpc_reach_each_other_and_the_gateway(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2), s3 = test_spec(1, 2, 3);

        prepare(h->a, &s1);
        prepare(h->a, &s2);
        prepare(h->a, &s3);
        struct guest *g1 = start_guest(h, "a", &s1), *g2 = start_guest(h, "b", &s2),
                     *g3 = start_guest(h, "c", &s3);
        expect_lease(g1, "10.0.1.11");
        expect_lease(g2, "10.0.1.12");
        expect_lease(g3, "10.0.2.13");
        assert_true(guest_ping(g1, "10.0.1.12"));
        assert_true(guest_ping(g2, "10.0.1.11"));
        assert_true(guest_ping(g1, "10.0.1.1"));
        assert_true(guest_ping(g1, "10.0.2.13")); /* the next subnet, through the gateway */
}

static void vpcs_with_the_same_addresses_do_not_meet(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(2, 1, 1), s3 = test_spec(2, 1, 2);

        prepare(h->a, &s1);
        prepare(h->a, &s2);
        prepare(h->a, &s3);
        struct guest *g1 = start_guest(h, "a", &s1), *g2 = start_guest(h, "b", &s2),
                     *g3 = start_guest(h, "c", &s3);
        expect_lease(g1, "10.0.1.11");
        expect_lease(g2, "10.0.1.11");
        expect_lease(g3, "10.0.1.12");
        assert_true(guest_ping(g2, "10.0.1.12"));
        assert_false(guest_ping(g1, "10.0.1.12")); /* is in the other VPC */
}

/* A frame from the guest that is not its own must not come out at the neighbour. */
static void spoofed_frames_do_not_leave(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);

        prepare(h->a, &s1);
        prepare(h->a, &s2);
        struct guest *g1 = start_guest(h, "a", &s1), *g2 = start_guest(h, "b", &s2);
        expect_lease(g1, "10.0.1.11");
        expect_lease(g2, "10.0.1.12");
        assert_true(guest_ping(g1, "10.0.1.12"));
        /* another address of its own choice */
        guest_set_address(g1, "10.0.1.99/24");
        assert_int_not_equal(
            guest_run(g1, NULL, 0,
                      RUN("busybox", "ping", "-c", "1", "-W", "1", "-I", "10.0.1.99", "10.0.1.12")),
            0);
        /* an address of another subnet, reached by ARP on the wire */
        guest_set_address(g1, "192.0.2.1/24");
        guest_set_address(g2, "192.0.2.2/24");
        assert_false(guest_ping(g1, "192.0.2.2"));
        assert_true(guest_ping(g1, "10.0.1.12"));
        /* another MAC */
        assert_int_equal(
            guest_run(g1, NULL, 0, RUN("ip", "link", "set", "eth0", "address", "06:66:66:66:66:66")), 0);
        assert_false(guest_ping(g1, "10.0.1.12"));
}

/* The host has no address on the bridge, but Linux answers ARP for all of its addresses on every link. */
static void guests_do_not_reach_the_host(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        char label[64];

        prepare(h->a, &s);
        snprintf(label, sizeof(label), "%s", net_bridge_name(s.key.subnet_id).s);
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
        /* an address that only the host has, put on a link that only this test has */
        assert_int_equal(host_run(NULL, 0, RUN("ip", "address", "add", "10.0.1.77/32", "dev", "lo")), 0);
        bool reached = guest_ping(g, "10.0.1.77");
        assert_int_equal(host_run(NULL, 0, RUN("ip", "address", "del", "10.0.1.77/32", "dev", "lo")), 0);
        assert_false(reached);
}

static void strangers_get_no_lease(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1), other = test_spec(1, 1, 2);
        char lease[256];

        prepare(h->a, &s);
        prepare(h->a, &other);
        /* withdraw the second's entry by giving it an address by hand: the subnet still has DHCP */
        struct guest *g = start_guest_as(h, "x", &s, other.mac);
        assert_false(guest_dhcp(g, 2, lease, sizeof(lease))); /* the MAC is not this port's */
}

static void an_address_passes_to_the_next_port_at_once(void **state)
{
        struct host *h = *state;
        struct net_port_spec keep = test_spec(1, 1, 9), s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);

        s2.addresses[0] = s1.addresses[0];
        prepare(h->a, &keep); /* so that the server stays */
        for (int round = 0; round < 3; round++) {
                prepare(h->a, &s1);
                struct guest *g = start_guest(h, "a", &s1);
                expect_lease(g, "10.0.1.11");
                end_guest(h);
                release(h->a, &s1);
                prepare(h->a, &s2);
                g = start_guest(h, "b", &s2);
                expect_lease(g, "10.0.1.11");
                end_guest(h);
                release(h->a, &s2);
        }
}

static void a_changed_port_is_served_as_it_is_now(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        char lease[256];

        prepare(h->a, &s);
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
        end_guest(h);
        assert_int_equal(ak_cidr_parse("10.0.1.50/24", &s.addresses[0]), 0);
        s.mtu = 1300;
        assert_int_equal(prepare(h->a, &s).mtu, 1300);
        g = start_guest(h, "b", &s);
        assert_true(guest_dhcp(g, 4, lease, sizeof(lease)));
        assert_string_equal(lease, "ip=10.0.1.50 mask=24 router=10.0.1.1 dns=10.0.1.1 mtu= lease=600\n");
}

/* Each subnet hands out its own; between them the VPC's router says what does not fit. */
static void subnets_have_mtus_of_their_own(void **state)
{
        struct host *h = *state;
        struct net_port_spec wide = test_spec(1, 1, 1), narrow = test_spec(1, 2, 2);
        char lease[256], text[1024] = "";

        narrow.mtu = 1300;
        prepare(h->a, &wide);
        assert_int_equal(prepare(h->a, &narrow).mtu, 1300);
        struct guest *g = start_guest(h, "a", &wide), *n = start_guest(h, "b", &narrow);
        expect_lease(g, "10.0.1.11");
        assert_true(guest_dhcp(n, 4, lease, sizeof(lease)));
        assert_non_null(strstr(lease, "mtu=1300 "));
        assert_int_equal(
            guest_run(g, NULL, 0, RUN("ping", "-M", "do", "-s", "1272", "-c", "1", "-W", "1", "10.0.2.12")),
            0);
        assert_int_not_equal(
            guest_run(g, text, sizeof(text),
                      RUN("ping", "-M", "do", "-s", "1273", "-c", "1", "-W", "1", "10.0.2.12")),
            0);
        assert_non_null(strstr(text, "mtu = 1300"));
}

static void the_last_port_takes_subnet_and_vpc_along(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 2, 1);

        prepare(h->a, &s1);
        prepare(h->a, &s2);
        release(h->a, &s1);
        int fd = netns_open(net_netns_name(s1.vpc_id).s);
        assert_true(fd >= 0); /* the other subnet is in it */
        (void)close(fd);
        release(h->a, &s2);
        assert_nothing_left();
}

static void a_tap_deleted_by_hand_is_reported_and_made_again(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p = prepare(h->a, &s);

        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", p.ifname)), 0);
        assert_true(wait_event(h->a, VPC_EVENT_PORT_LOST, s.key.port_id));
        assert_int_not_equal(prepare(h->a, &s).ifindex, p.ifindex);
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
}

static void a_tap_taken_out_of_its_bridge_is_put_back(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p = prepare(h->a, &s);

        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "set", p.ifname, "nomaster")), 0);
        assert_true(wait_event(h->a, VPC_EVENT_PORT_LOST, s.key.port_id));
        assert_int_equal(prepare(h->a, &s).ifindex, p.ifindex);
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
}

static void a_bridge_deleted_by_hand_is_made_again(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(1, 1, 2);

        prepare(h->a, &s1);
        prepare(h->a, &s2);
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_bridge_name(s1.key.subnet_id).s)), 0);
        assert_true(wait_event(h->a, VPC_EVENT_SUBNET_LOST, s1.key.subnet_id));
        prepare(h->a, &s1);
        prepare(h->a, &s2);
        struct guest *g1 = start_guest(h, "a", &s1), *g2 = start_guest(h, "b", &s2);
        expect_lease(g1, "10.0.1.11");
        expect_lease(g2, "10.0.1.12");
        assert_true(guest_ping(g1, "10.0.1.12"));
}

static void a_gateway_leg_deleted_by_hand_is_made_again(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        prepare(h->a, &s);
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_veth_name(s.key.subnet_id).s)), 0);
        assert_true(wait_event(h->a, VPC_EVENT_SUBNET_LOST, s.key.subnet_id));
        prepare(h->a, &s);
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
        assert_true(guest_ping(g, "10.0.1.1"));
}

static pid_t server_pid(const struct net_port_spec *s)
{
        struct dhcp_server server = {0, -1};
        AK_AUTOCLOSE int fd = netns_open(net_netns_name(s->vpc_id).s);

        assert_true(fd >= 0);
        if (dhcp_find(fd, s->key.subnet_id, &server) < 0)
                return 0;
        (void)close(server.pidfd);
        return server.pid;
}

static void a_killed_dnsmasq_is_reported_and_started_again(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        prepare(h->a, &s);
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
        end_guest(h);
        pid_t first = server_pid(&s);
        assert_true(first > 0);
        assert_int_equal(kill(first, SIGKILL), 0);
        assert_true(wait_event(h->a, VPC_EVENT_DHCP_LOST, s.key.subnet_id));
        prepare(h->a, &s);
        assert_true(server_pid(&s) > 0);
        assert_int_not_equal(server_pid(&s), first);
        g = start_guest(h, "b", &s);
        expect_lease(g, "10.0.1.11");
        end_guest(h);
        /* and once more: it is watched again */
        assert_int_equal(kill(server_pid(&s), SIGKILL), 0);
        assert_true(wait_event(h->a, VPC_EVENT_DHCP_LOST, s.key.subnet_id));
}

static void restart(struct host *h)
{
        struct vpc_inventory inventory;
        struct net_error error;

        h->a = vpc_backend_free(h->a);
        h->a = make("test-a");
        assert_int_equal(h->a->ops->inventory(h->a, &inventory, &error), 0);
        free(inventory.ports);
}

static void a_restart_touches_nothing(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p = prepare(h->a, &s);
        struct guest *g = start_guest(h, "a", &s);
        pid_t pid = server_pid(&s);
        struct vpc_event e;

        expect_lease(g, "10.0.1.11");
        restart(h);
        assert_int_equal(prepare(h->a, &s).ifindex, p.ifindex);
        assert_int_equal(server_pid(&s), pid);
        assert_true(guest_ping(g, "10.0.1.1"));
        assert_int_equal(h->a->ops->next_event(h->a, &e), 0);
        /* adopted means watched */
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(wait_event(h->a, VPC_EVENT_DHCP_LOST, s.key.subnet_id));
}

static void a_lost_state_directory_is_made_again(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        char dir[128];

        prepare(h->a, &s);
        pid_t pid = server_pid(&s);
        snprintf(dir, sizeof(dir), "%s/test-a", state_root);
        assert_int_equal(host_run(NULL, 0, RUN("rm", "-rf", dir)), 0);
        restart(h);
        prepare(h->a, &s);
        assert_int_not_equal(server_pid(&s), pid); /* the old one read a directory that is no more */
        struct guest *g = start_guest(h, "a", &s);
        expect_lease(g, "10.0.1.11");
}

static void sweep_removes_what_a_crash_left(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p = prepare(h->a, &s);
        struct net_error error;

        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", p.ifname)), 0);
        restart(h);
        assert_int_equal(h->a->ops->sweep(h->a, &error), 0);
        assert_nothing_left();
}

/* More link events than the socket's buffer holds, while nobody reads; a tap is lost among them. */
static void lost_kernel_events_mean_resync(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p = prepare(h->a, &s);
        char command[512];
        struct vpc_event e;
        bool resync = false;

        while (h->a->ops->next_event(h->a, &e) == 1)
                ;
        snprintf(
            command, sizeof(command),
            "ip link add flood0 up type bridge && for i in $(seq 4000); do echo link set flood0 alias $i; "
            "done | ip "
            "-batch - && ip link del %s && ip link del flood0",
            p.ifname);
        assert_int_equal(host_run(NULL, 0, RUN("sh", "-c", command)), 0);
        while (h->a->ops->next_event(h->a, &e) == 1)
                resync |= e.type == VPC_EVENT_RESYNC;
        assert_true(resync);
        /* what the core does then finds the loss, and events are heard again */
        struct vpc_inventory inventory;
        struct net_error error;
        assert_int_equal(h->a->ops->inventory(h->a, &inventory, &error), 0);
        free(inventory.ports);
        assert_int_equal(inventory.count, 0);
        prepare(h->a, &s);
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", p.ifname)), 0);
        assert_true(wait_event(h->a, VPC_EVENT_PORT_LOST, s.key.port_id));
}

static void two_nodes_side_by_side(void **state)
{
        struct host *h = *state;
        struct net_port_spec s1 = test_spec(1, 1, 1), s2 = test_spec(2, 2, 2);
        struct net_prepared p;
        struct net_error error = {0};
        struct vpc_inventory inventory;

        h->b = make("test-b");
        prepare(h->a, &s1);
        prepare(h->b, &s2);
        assert_int_equal(h->a->ops->inventory(h->a, &inventory, &error), 0);
        assert_int_equal(inventory.count, 1);
        free(inventory.ports);
        /* what is the other's is refused, not taken */
        assert_int_equal(h->a->ops->prepare(h->a, &s2, &p, &error), -EEXIST);
        assert_string_equal(error.reason, "NameTaken");
        assert_int_equal(h->a->ops->release(h->a, &s2.key, &error), 0);
        assert_int_equal(h->a->ops->sweep(h->a, &error), 0);
        assert_int_equal(h->a->ops->teardown(h->a, &error), 0);
        struct guest *g = start_guest(h, "a", &s2);
        expect_lease(g, "10.0.2.12");
        assert_true(guest_ping(g, "10.0.2.1"));
}

static void a_foreign_link_of_our_name_is_left_alone(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        const char *name = net_tap_name(s.key.port_id).s;
        struct net_prepared p;
        struct net_error error = {0};

        assert_int_equal(host_run(NULL, 0, RUN("ip", "tuntap", "add", name, "mode", "tap")), 0);
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "set", name, "alias", "somebody else's")), 0);
        int r = h->a->ops->prepare(h->a, &s, &p, &error);
        assert_int_equal(h->a->ops->release(h->a, &s.key, &error), 0);
        int still = host_run(NULL, 0, RUN("ip", "link", "show", name));
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", name)), 0);
        assert_int_equal(r, -EEXIST);
        assert_int_equal(still, 0);
}

static void a_dnsmasq_that_does_not_start_leaves_nothing(void **state)
{
        struct host *h = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct vpc_backend *b = NULL;
        struct net_prepared p;
        struct net_error error = {0};
        char dir[128];

        (void)h;
        snprintf(dir, sizeof(dir), "%s/broken", state_root);
        struct bridge_options options = {"test-broken", dir, "/bin/false", 600, true};
        assert_int_equal(vpc_bridge_new(&b, &options, &error), 0);
        assert_int_equal(b->ops->prepare(b, &s, &p, &error), -ECHILD);
        assert_string_equal(error.reason, "DHCPServerFailed");
        assert_nothing_left();
        vpc_backend_free(b);
}

#define HOST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* argv[1]: only tests whose names match, "a_*". */
static struct vpc_backend *restart_node(struct vpc_backend *b, const char *node)
{
        vpc_backend_free(b);
        return make(node);
}

static void lose_port(struct vpc_backend *b, const char *port_id)
{
        (void)b;
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_tap_name(port_id).s)), 0);
}

static void lose_subnet(struct vpc_backend *b, const char *subnet_id)
{
        (void)b;
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_bridge_name(subnet_id).s)), 0);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
            HOST(dhcp_hands_out_the_ports_address),
            HOST(guests_of_a_vpc_reach_each_other_and_the_gateway),
            HOST(vpcs_with_the_same_addresses_do_not_meet),
            HOST(spoofed_frames_do_not_leave),
            HOST(guests_do_not_reach_the_host),
            HOST(strangers_get_no_lease),
            HOST(an_address_passes_to_the_next_port_at_once),
            HOST(a_changed_port_is_served_as_it_is_now),
            HOST(subnets_have_mtus_of_their_own),
            HOST(the_last_port_takes_subnet_and_vpc_along),
            HOST(a_tap_deleted_by_hand_is_reported_and_made_again),
            HOST(a_tap_taken_out_of_its_bridge_is_put_back),
            HOST(a_bridge_deleted_by_hand_is_made_again),
            HOST(a_gateway_leg_deleted_by_hand_is_made_again),
            HOST(a_killed_dnsmasq_is_reported_and_started_again),
            HOST(a_restart_touches_nothing),
            HOST(a_lost_state_directory_is_made_again),
            HOST(sweep_removes_what_a_crash_left),
            HOST(lost_kernel_events_mean_resync),
            HOST(two_nodes_side_by_side),
            HOST(a_foreign_link_of_our_name_is_left_alone),
            HOST(a_dnsmasq_that_does_not_start_leaves_nothing),
        };

        const struct contract_host host = {make, restart_node, lose_port, lose_subnet};

        if (host_isolate() < 0 || !mkdtemp(state_root))
                return 1;
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        int failures = contract_run(&host);
        failures += cmocka_run_group_tests_name("bridge", tests, NULL, NULL);
        failures += host_run(NULL, 0, RUN("rm", "-rf", state_root)) != 0;
        return failures;
}
