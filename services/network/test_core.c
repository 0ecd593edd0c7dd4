/* SPDX-License-Identifier: Apache-2.0 */
/* The core, one behaviour after the other. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/network/label.h"
#include "services/network/test_core_util.h"
#include "services/network/test_spec.h"

static int set_up(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));

        bench_init(b, 0);
        bench_inventory(b, NULL, 0);
        *state = b;
        return 0;
}

static int tear_down(void **state)
{
        bench_deinit(*state);
        free(*state);
        return 0;
}

static void say(struct bench *b, struct ak_message m)
{
        bench_message(b, &m);
}

static void expect(const struct bench *b, enum ak_port_state state, const char *reason, uint64_t generation)
{
        const struct ak_port_status *s = bench_status(b);

        assert_non_null(s);
        assert_string_equal(ak_port_state_name(s->state), ak_port_state_name(state));
        assert_string_equal(s->reason, reason);
        assert_int_equal(s->generation, generation);
}

static uint64_t op_of(const struct bench *b, enum net_action_type type)
{
        const struct net_action *a = bench_action(b, type);

        assert_non_null(a);
        return type == NET_ACTION_PREPARE ? a->prepare.op : a->release.op;
}

/* Port 1 of pod 1, ready for generation 1. */
static void make_ready(struct bench *b)
{
        say(b, bench_wish(1, 1, true, 1, 0));
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 5);
        expect(b, AK_PORT_READY, "Ready", 1);
}

/* … wanted absent for generation 2, and still held. */
static void make_held(struct bench *b)
{
        make_ready(b);
        say(b, bench_wish(1, 1, false, 2, 0));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 2);
        assert_null(bench_action(b, NET_ACTION_RELEASE));
}

static struct net_found_port found(unsigned int n, unsigned int pod, uint32_t ifindex)
{
        struct net_found_port f = {.ifindex = ifindex};
        struct net_port_spec s = test_spec(1, 1, n);

        f.key = s.key;
        test_uuid(f.key.pod_uid, 0xb0, pod);
        snprintf(f.ifname, sizeof(f.ifname), "%s", net_tap_name(s.key.port_id).s);
        return f;
}

/* ------------------------------------------------------------------ plug */

static void wanted_port_is_prepared_and_ready(void **state)
{
        struct bench *b = *state;

        say(b, bench_wish(1, 1, true, 1, 3));
        expect(b, AK_PORT_PREPARING, "Preparing", 1);
        const struct net_action *a = bench_action(b, NET_ACTION_PREPARE);
        assert_non_null(a);
        assert_string_equal(a->prepare.spec->mac, "06:00:00:01:01:01");
        assert_int_equal(a->prepare.spec->mtu, 1500);
        bench_prepared(b, a->prepare.op, 0, 5);
        expect(b, AK_PORT_READY, "Ready", 1);
        const struct ak_port_status *s = bench_status(b);
        assert_string_equal(s->ifname, "ak5");
        assert_int_equal(s->ifindex, 5);
        assert_string_equal(s->mac, "06:00:00:01:01:01");
        assert_string_equal(s->nic, "eth1");
        assert_int_equal(s->attempt, 3);
        assert_int_equal(s->slot, 1);
        assert_int_equal(s->mtu, 1500);
}

static void repeated_wish_is_answered_again_at_once(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_wish(1, 1, true, 1, 0));
        expect(b, AK_PORT_READY, "Ready", 1);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        say(b, bench_wish(1, 1, true, 7, 0)); /* something else of the pod changed */
        expect(b, AK_PORT_READY, "Ready", 7);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
}

static void repeated_wish_while_preparing_does_not_prepare_twice(void **state)
{
        struct bench *b = *state;

        say(b, bench_wish(1, 1, true, 1, 0));
        uint64_t op = op_of(b, NET_ACTION_PREPARE);
        say(b, bench_wish(1, 1, true, 1, 0));
        expect(b, AK_PORT_PREPARING, "Preparing", 1);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        bench_prepared(b, op, 0, 5);
        expect(b, AK_PORT_READY, "Ready", 1);
}

static void changed_port_is_prepared_as_it_is_now(void **state)
{
        struct bench *b = *state;
        struct ak_message m = bench_wish(1, 1, true, 2, 0);

        make_ready(b);
        m.nic_diff.mtu = 1400;
        bench_message(b, &m);
        const struct net_action *a = bench_action(b, NET_ACTION_PREPARE);
        assert_non_null(a);
        assert_int_equal(a->prepare.spec->mtu, 1400);
        bench_prepared(b, a->prepare.op, 0, 5);
        expect(b, AK_PORT_READY, "Ready", 2);
}

static void change_during_preparing_is_prepared_after_it(void **state)
{
        struct bench *b = *state;
        struct ak_message m = bench_wish(1, 1, true, 2, 0);

        say(b, bench_wish(1, 1, true, 1, 0));
        uint64_t op = op_of(b, NET_ACTION_PREPARE);
        m.nic_diff.mtu = 1400;
        bench_message(b, &m);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        bench_prepared(b, op, 0, 5);
        const struct net_action *a = bench_action(b, NET_ACTION_PREPARE);
        assert_non_null(a);
        assert_int_equal(a->prepare.spec->mtu, 1400);
        const struct ak_port_status *s = bench_status(b);
        assert_true(!s || s->state != AK_PORT_READY);
}

static void link_and_slot_alone_need_no_work(void **state)
{
        struct bench *b = *state;
        struct ak_message m = bench_wish(1, 1, true, 2, 0);

        make_ready(b);
        m.nic_diff.link_down = true;
        bench_message(b, &m);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        expect(b, AK_PORT_READY, "Ready", 2);
        assert_true(bench_status(b)->link_down);
}

static void failure_is_tried_once_per_attempt(void **state)
{
        struct bench *b = *state;

        say(b, bench_wish(1, 1, true, 1, 0));
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), -EIO, 0);
        expect(b, AK_PORT_FAILED, "TestFailure", 1);
        assert_string_equal(bench_status(b)->message, "the test said so");
        say(b, bench_wish(1, 1, true, 1, 0));
        expect(b, AK_PORT_FAILED, "TestFailure", 1);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        say(b, bench_wish(1, 1, true, 1, 1));
        assert_non_null(bench_action(b, NET_ACTION_PREPARE));
        expect(b, AK_PORT_PREPARING, "Preparing", 1);
}

static void newer_wish_during_a_failing_prepare_is_tried_at_once(void **state)
{
        struct bench *b = *state;

        say(b, bench_wish(1, 1, true, 1, 0));
        uint64_t op = op_of(b, NET_ACTION_PREPARE);
        say(b, bench_wish(1, 1, true, 2, 0));
        bench_prepared(b, op, -EIO, 0);
        assert_non_null(bench_action(b, NET_ACTION_PREPARE));
}

static void older_generation_never_overrides(void **state)
{
        struct bench *b = *state;

        say(b, bench_wish(1, 1, true, 5, 0));
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 5);
        say(b, bench_wish(1, 1, false, 4, 9));
        expect(b, AK_PORT_READY, "Ready", 5); /* told what is, changes nothing */
        say(b, bench_wish(1, 1, true, 4, 0));
        expect(b, AK_PORT_READY, "Ready", 5);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 9));
        assert_null(bench_action(b, NET_ACTION_RELEASE));
}

static void late_copy_of_the_plug_does_not_undo_the_unplug(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_wish(1, 1, false, 1, 0)); /* within one generation: a deletion */
        expect(b, AK_PORT_HELD, "WaitingForDetach", 1);
        say(b, bench_wish(1, 1, true, 1, 0));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 1);
}

/* The later attempt is the later wish, whatever its direction. */
static void attempts_order_wishes_within_a_generation(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_wish(1, 1, false, 1, 1));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 1);
        say(b, bench_wish(1, 1, true, 1, 2));
        expect(b, AK_PORT_READY, "Ready", 1);
        say(b, bench_wish(1, 1, false, 1, 1)); /* late */
        expect(b, AK_PORT_READY, "Ready", 1);
        say(b, bench_wish(1, 1, false, 1, 3));
        say(b, bench_nic_attempt(1, 1, AK_NIC_DETACHED, 1, 1)); /* of the unplug that was taken back */
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_nic_attempt(1, 1, AK_NIC_DETACHED, 1, 3));
        assert_non_null(bench_action(b, NET_ACTION_RELEASE));
}

struct bad_field {
        const char *field;
        void (*spoil)(struct ak_nic_diff *d);
};

#define SPOIL(name, statement)                                                                               \
        static void name(struct ak_nic_diff *d)                                                              \
        {                                                                                                    \
                statement;                                                                                   \
        }
SPOIL(no_mac, d->mac[0] = '\0')
SPOIL(multicast_mac, snprintf(d->mac, sizeof(d->mac), "01:00:5e:00:00:01"))
SPOIL(no_cidr, d->cidr[0] = '\0')
SPOIL(ipv6_cidr, snprintf(d->cidr, sizeof(d->cidr), "fd00::/64"))
SPOIL(host_cidr, snprintf(d->cidr, sizeof(d->cidr), "10.0.1.0/32"))
SPOIL(no_gateway, d->gateway[0] = '\0')
SPOIL(far_gateway, snprintf(d->gateway, sizeof(d->gateway), "10.0.2.1"))
SPOIL(network_gateway, snprintf(d->gateway, sizeof(d->gateway), "10.0.1.0"))
SPOIL(no_address, d->addresses.count = 0)
SPOIL(far_address, snprintf(d->addresses.items[0], AK_LEN_CIDR, "10.9.1.5/24"))
SPOIL(gateway_address, snprintf(d->addresses.items[0], AK_LEN_CIDR, "10.0.1.1/24"))
SPOIL(bare_address, snprintf(d->addresses.items[0], AK_LEN_CIDR, "10.0.1.5"))
SPOIL(broadcast_address, snprintf(d->addresses.items[0], AK_LEN_CIDR, "10.0.1.255/24"))
SPOIL(hostile_subnet, snprintf(d->subnet_id, sizeof(d->subnet_id), "../../etc"))
SPOIL(no_vpc, d->vpc_id[0] = '\0')
static char hostile_dns[AK_LEN_CIDR + 1] = "1.2.3.4\nuser=root";
SPOIL(bad_dns, (d->dns.count = 1, d->dns.items = &hostile_dns))
SPOIL(huge_mtu, d->mtu = 65535)
SPOIL(tiny_mtu, d->mtu = 60)

static void bad_field_fails_and_is_named(void **state)
{
        static const struct bad_field fields[] = {
            {"mac", no_mac},
            {"mac", multicast_mac},
            {"cidr", no_cidr},
            {"cidr", ipv6_cidr},
            {"cidr", host_cidr},
            {"gateway", no_gateway},
            {"gateway", far_gateway},
            {"gateway", network_gateway},
            {"addresses", no_address},
            {"addresses", far_address},
            {"addresses", gateway_address},
            {"addresses", bare_address},
            {"addresses", broadcast_address},
            {"subnet_id", hostile_subnet},
            {"vpc_id", no_vpc},
            {"dns", bad_dns},
            {"mtu", huge_mtu},
            {"mtu", tiny_mtu},
        };
        struct bench *b = *state;

        for (size_t i = 0; i < AK_ARRAY_SIZE(fields); i++) {
                struct ak_message m = bench_wish(1, 1, true, i + 1, 0);
                char expected[64];

                fields[i].spoil(&m.nic_diff);
                bench_message(b, &m);
                expect(b, AK_PORT_FAILED, "InvalidPort", i + 1);
                assert_null(bench_action(b, NET_ACTION_PREPARE));
                snprintf(expected, sizeof(expected), "nic.diff %s ", fields[i].field);
                if (!strstr(bench_status(b)->message, expected))
                        fail_msg("%s: %s", fields[i].field, bench_status(b)->message);
        }
        say(b, bench_wish(1, 1, true, 99, 0)); /* put right */
        assert_non_null(bench_action(b, NET_ACTION_PREPARE));
}

static void ids_that_are_no_uuids_are_refused_without_a_trace(void **state)
{
        struct bench *b = *state;
        struct ak_message m = bench_wish(1, 1, true, 1, 0);

        snprintf(m.nic_diff.port_id, sizeof(m.nic_diff.port_id), "not-a-uuid");
        bench_message(b, &m);
        expect(b, AK_PORT_FAILED, "InvalidPort", 1);
        assert_string_equal(bench_status(b)->port_id, "not-a-uuid");
        assert_false(bench_action(b, NET_ACTION_PUBLISH)->publish.retain);
        assert_int_equal(net_core_port_count(b->core), 0);
}

static void number_of_ports_is_bounded(void **state)
{
        struct bench b;

        (void)state;
        bench_init(&b, 3);
        bench_inventory(&b, NULL, 0);
        for (unsigned int n = 1; n <= 4; n++)
                say(&b, bench_wish(n, 1, true, 1, 0));
        expect(&b, AK_PORT_FAILED, "TooManyPorts", 1);
        assert_false(bench_action(&b, NET_ACTION_PUBLISH)->publish.retain);
        assert_int_equal(net_core_port_count(b.core), 3);
        bench_deinit(&b);
}

/* ------------------------------------------------------------------ unplug */

static void unwanted_port_is_held_until_detached(void **state)
{
        struct bench *b = *state;

        make_held(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHING, 2));
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_nic(1, 1, AK_NIC_FAILED, 2)); /* the guest refuses */
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        expect(b, AK_PORT_HELD, "Releasing", 2);
        bench_released(b, op_of(b, NET_ACTION_RELEASE), 0);
        expect(b, AK_PORT_RELEASED, "Released", 2);
        assert_string_equal(bench_status(b)->ifname, "");
}

static void released_port_is_forgotten_after_a_minute(void **state)
{
        struct bench *b = *state;

        make_held(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        bench_released(b, op_of(b, NET_ACTION_RELEASE), 0);
        bench_tick(b, NET_RELEASED_KEEP_US / 2);
        assert_null(bench_action(b, NET_ACTION_FORGET));
        say(b, bench_wish(1, 1, false, 2, 0));
        expect(b, AK_PORT_RELEASED, "Released", 2);
        bench_tick(b, NET_RELEASED_KEEP_US);
        const struct net_action *a = bench_action(b, NET_ACTION_FORGET);
        assert_non_null(a);
        assert_true(strncmp(a->topic, "port.status/b0", 14) == 0);
        assert_int_equal(net_core_port_count(b->core), 0);
}

static void an_unknown_port_is_released_once_the_vm_lets_go(void **state)
{
        struct bench *b = *state;

        /* Its tap may have been deleted by hand while the VM has the NIC. */
        say(b, bench_wish(1, 1, false, 4, 0));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 4);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 4));
        expect(b, AK_PORT_RELEASED, "Released", 4);
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_wish(1, 1, true, 3, 0)); /* late */
        expect(b, AK_PORT_RELEASED, "Released", 4);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
}

static void detached_of_an_earlier_unplug_does_not_count(void **state)
{
        struct bench *b = *state;

        make_held(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        bench_released(b, op_of(b, NET_ACTION_RELEASE), 0);
        say(b, bench_wish(1, 1, true, 3, 0));
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 6);
        say(b, bench_wish(1, 1, false, 4, 0));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 4);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2)); /* replayed */
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 3)); /* from before it was attached */
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 4));
        assert_non_null(bench_action(b, NET_ACTION_RELEASE));
}

static void detached_that_comes_before_the_wish_counts(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_wish(1, 1, false, 2, 0));
        assert_non_null(bench_action(b, NET_ACTION_RELEASE));
}

static void detached_while_wanted_does_not_count_within_a_generation(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 1)); /* by hand; the hypervisor attaches it again */
        say(b, bench_wish(1, 1, false, 1, 1));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 1);
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_nic_attempt(1, 1, AK_NIC_DETACHED, 1, 1));
        assert_non_null(bench_action(b, NET_ACTION_RELEASE));
}

/* A new watcher counts from 0, and its absent may have the key that another's present had. */
static void detached_while_wanted_does_not_count_under_the_same_key(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_wish(1, 1, true, 1, 1));
        say(b, bench_nic_attempt(1, 1, AK_NIC_DETACHED, 1, 1)); /* a start that failed */
        say(b, bench_nic_attempt(1, 1, AK_NIC_READY, 1, 0));    /* as the new one wishes */
        say(b, bench_wish(1, 1, false, 1, 1));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 1);
        assert_null(bench_action(b, NET_ACTION_RELEASE));
}

static void attaching_again_takes_the_evidence_back(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        say(b, bench_nic(1, 1, AK_NIC_ATTACHING, 2));
        say(b, bench_wish(1, 1, false, 2, 0));
        expect(b, AK_PORT_HELD, "WaitingForDetach", 2);
}

/* Its attempts are counted apart: a late one may speak of the time before the VM started with the NIC. */
static void what_is_said_of_the_vm_is_no_evidence(void **state)
{
        static const enum ak_vm_phase gone[] = {AK_VM_PHASE_ABSENT, AK_VM_PHASE_SHUTOFF, AK_VM_PHASE_CRASHED,
                                                AK_VM_PHASE_FAILED};
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_wish(1, 1, false, 2, 0));
        for (size_t i = 0; i < AK_ARRAY_SIZE(gone); i++) {
                say(b, bench_vm(1, gone[i], 2));
                assert_int_equal(bench_count(b, NET_ACTION_RELEASE), 0);
        }
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        assert_non_null(bench_action(b, NET_ACTION_RELEASE));
}

static void wanted_again_while_held_is_ready_at_once(void **state)
{
        struct bench *b = *state;

        make_held(b);
        say(b, bench_wish(1, 1, true, 3, 0));
        expect(b, AK_PORT_READY, "Ready", 3);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2)); /* of the unplug that was taken back */
        assert_null(bench_action(b, NET_ACTION_RELEASE));
}

static void wanted_again_while_releasing_is_prepared_afterwards(void **state)
{
        struct bench *b = *state;

        make_held(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        uint64_t op = op_of(b, NET_ACTION_RELEASE);
        say(b, bench_wish(1, 1, true, 3, 0));
        expect(b, AK_PORT_PREPARING, "Preparing", 3);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        bench_released(b, op, 0);
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 9);
        expect(b, AK_PORT_READY, "Ready", 3);
        assert_int_equal(bench_status(b)->ifindex, 9);
}

static void unwanted_while_preparing_is_released_afterwards(void **state)
{
        struct bench *b = *state;

        say(b, bench_wish(1, 1, true, 1, 0));
        uint64_t op = op_of(b, NET_ACTION_PREPARE);
        say(b, bench_wish(1, 1, false, 2, 0));
        expect(b, AK_PORT_HELD, "Preparing", 2);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        bench_prepared(b, op, 0, 5);
        const struct ak_port_status *s = bench_status(b);
        assert_int_equal(s->state, AK_PORT_HELD);
        bench_released(b, op_of(b, NET_ACTION_RELEASE), 0);
        expect(b, AK_PORT_RELEASED, "Released", 2);
}

static void failed_release_is_tried_once_per_attempt(void **state)
{
        struct bench *b = *state;

        make_held(b);
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        bench_released(b, op_of(b, NET_ACTION_RELEASE), -EIO);
        expect(b, AK_PORT_FAILED, "TestFailure", 2);
        say(b, bench_wish(1, 1, false, 2, 0));
        expect(b, AK_PORT_FAILED, "TestFailure", 2);
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_wish(1, 1, false, 2, 1)); /* needs no new evidence */
        bench_released(b, op_of(b, NET_ACTION_RELEASE), 0);
        expect(b, AK_PORT_RELEASED, "Released", 2);
}

static void a_port_held_for_one_pod_waits_before_it_serves_another(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        say(b, bench_wish(1, 2, true, 1, 0));
        expect(b, AK_PORT_PREPARING, "PortHeldElsewhere", 1);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        say(b, bench_wish(1, 1, false, 2, 0));
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        bench_released(b, op_of(b, NET_ACTION_RELEASE), 0);
        const struct net_action *a = bench_action(b, NET_ACTION_PREPARE);
        assert_non_null(a);
        assert_true(strncmp(a->prepare.spec->key.pod_uid, "b0000002", 8) == 0);
}

/* ------------------------------------------------------------------ restart */

static void nothing_is_answered_before_the_inventory(void **state)
{
        struct bench b;

        (void)state;
        bench_init(&b, 0);
        say(&b, bench_wish(1, 1, false, 1, 0)); /* would be told "released" while the tap is there */
        assert_int_equal(b.last.count, 0);
        bench_deinit(&b);
}

static void found_port_that_is_wanted_is_checked_in_silence(void **state)
{
        struct net_found_port f = found(1, 1, 5);
        struct bench b;

        (void)state;
        bench_init(&b, 0);
        bench_inventory(&b, &f, 1);
        assert_null(bench_action(&b, NET_ACTION_PUBLISH));
        say(&b, bench_wish(1, 1, true, 4, 0));
        assert_null(bench_action(&b, NET_ACTION_PUBLISH)); /* no flicker from ready to preparing */
        bench_prepared(&b, op_of(&b, NET_ACTION_PREPARE), 0, 5);
        expect(&b, AK_PORT_READY, "Ready", 4);
        bench_deinit(&b);
}

static void found_port_that_nobody_claims_is_reported_held(void **state)
{
        struct net_found_port f = found(1, 1, 5);
        struct bench b;

        (void)state;
        bench_init(&b, 0);
        bench_inventory(&b, &f, 1);
        bench_tick(&b, NET_CLAIM_GRACE_US);
        expect(&b, AK_PORT_HELD, "Unclaimed", 0);
        assert_string_equal(bench_status(&b)->ifname, f.ifname);
        assert_non_null(bench_action(&b, NET_ACTION_SWEEP));
        bench_tick(&b, NET_CLAIM_GRACE_US * 1000);
        assert_null(bench_action(&b, NET_ACTION_RELEASE)); /* never of its own accord */
        say(&b, bench_nic(1, 1, AK_NIC_DETACHED, 0));
        assert_null(bench_action(&b, NET_ACTION_RELEASE));
        say(&b, bench_wish(1, 1, false, 0, 0));
        bench_released(&b, op_of(&b, NET_ACTION_RELEASE), 0);
        expect(&b, AK_PORT_RELEASED, "Released", 0);
        bench_deinit(&b);
}

static void found_port_that_is_unwanted_is_held_until_detached(void **state)
{
        struct net_found_port f = found(1, 1, 5);
        struct bench b;

        (void)state;
        bench_init(&b, 0);
        bench_inventory(&b, &f, 1);
        say(&b, bench_nic(1, 1, AK_NIC_DETACHING, 6)); /* last values, replayed */
        say(&b, bench_wish(1, 1, false, 6, 0));
        expect(&b, AK_PORT_HELD, "WaitingForDetach", 6);
        say(&b, bench_nic(1, 1, AK_NIC_DETACHED, 6));
        const struct net_action *a = bench_action(&b, NET_ACTION_RELEASE);
        assert_non_null(a);
        assert_memory_equal(&a->release.key, &f.key, sizeof(f.key));
        bench_deinit(&b);
}

/* ------------------------------------------------------------------ drift */

static void lost_tap_is_made_again_and_told(void **state)
{
        struct bench *b = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        make_ready(b);
        bench_lost(b, NET_EVENT_PORT_LOST, s.key.port_id);
        expect(b, AK_PORT_PREPARING, "TapLost", 1);
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 77);
        expect(b, AK_PORT_READY, "Ready", 1);
        assert_int_equal(bench_status(b)->ifindex, 77);
        bench_lost(b, NET_EVENT_PORT_LOST, s.key.port_id);
        expect(b, AK_PORT_PREPARING, "TapLost", 1); /* each time */
}

/* The kernel's event may be handled before the answer of who made the tap. */
static void a_tap_lost_while_it_is_made_is_not_called_ready(void **state)
{
        struct bench *b = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        say(b, bench_wish(1, 1, true, 1, 0));
        uint64_t op = op_of(b, NET_ACTION_PREPARE);
        bench_lost(b, NET_EVENT_PORT_LOST, s.key.port_id);
        bench_prepared(b, op, 0, 7);
        assert_int_not_equal(op_of(b, NET_ACTION_PREPARE), op);
        assert_null(bench_status(b)); /* it is still being prepared */
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 8);
        expect(b, AK_PORT_READY, "Ready", 1);
        assert_int_equal(bench_status(b)->ifindex, 8);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
}

static void lost_tap_of_an_unwanted_port_is_let_be(void **state)
{
        struct bench *b = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        make_held(b);
        bench_lost(b, NET_EVENT_PORT_LOST, s.key.port_id);
        assert_null(bench_action(b, NET_ACTION_PREPARE));
        assert_null(bench_action(b, NET_ACTION_RELEASE));
        say(b, bench_nic(1, 1, AK_NIC_DETACHED, 2));
        assert_non_null(bench_action(b, NET_ACTION_RELEASE)); /* its DHCP entry is still there */
}

static void lost_bridge_prepares_every_port_of_the_subnet(void **state)
{
        struct bench *b = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        for (unsigned int n = 1; n <= 3; n++) {
                say(b, bench_wish(n, 1, true, 1, 0));
                bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, n);
        }
        bench_lost(b, NET_EVENT_SUBNET_LOST, s.key.subnet_id);
        assert_int_equal(bench_count(b, NET_ACTION_PREPARE), 3);
        expect(b, AK_PORT_PREPARING, "BridgeLost", 1);
}

static void lost_dhcp_server_is_started_again_ever_more_slowly(void **state)
{
        struct bench *b = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        uint64_t waited[4];

        bench_tick(b, NET_CLAIM_GRACE_US); /* no other timer in the way */
        make_ready(b);
        bench_lost(b, NET_EVENT_DHCP_LOST, s.key.subnet_id);
        assert_null(bench_action(b, NET_ACTION_PUBLISH)); /* NICs work on */
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 5);
        for (size_t i = 0; i < AK_ARRAY_SIZE(waited); i++) {
                bench_lost(b, NET_EVENT_DHCP_LOST, s.key.subnet_id);
                assert_null(bench_action(b, NET_ACTION_PREPARE));
                const struct net_action *a = bench_action(b, NET_ACTION_WAKE);
                assert_non_null(a);
                waited[i] = a->wake_us - b->now_us;
                assert_true(i == 0 || waited[i] > waited[i - 1]);
                bench_tick(b, waited[i]);
                bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 5);
        }
        bench_tick(b, NET_DHCP_CALM_US * 2);
        bench_lost(b, NET_EVENT_DHCP_LOST, s.key.subnet_id);
        assert_non_null(bench_action(b, NET_ACTION_PREPARE)); /* calm again: at once */
}

static void dhcp_server_that_does_not_start_fails_the_port(void **state)
{
        struct bench *b = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        make_ready(b);
        bench_lost(b, NET_EVENT_DHCP_LOST, s.key.subnet_id);
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), -ECHILD, 0);
        expect(b, AK_PORT_FAILED, "TestFailure", 1);
        say(b, bench_wish(1, 1, true, 1, 1)); /* the watcher's next attempt */
        bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, 5);
        expect(b, AK_PORT_READY, "Ready", 1);
}

static void inventory_after_lost_events_finds_what_is_missing(void **state)
{
        struct bench *b = *state;
        struct net_found_port there;

        for (unsigned int n = 1; n <= 2; n++) {
                say(b, bench_wish(n, 1, true, 1, 0));
                bench_prepared(b, op_of(b, NET_ACTION_PREPARE), 0, n);
        }
        there = found(2, 1, 2);
        bench_inventory(b, &there, 1);
        assert_int_equal(bench_count(b, NET_ACTION_PREPARE), 2); /* one is made, one is looked at */
        assert_int_equal(bench_count(b, NET_ACTION_PUBLISH), 1);
        assert_string_equal(bench_status(b)->reason, "TapLost");
}

static void answers_of_no_operation_are_ignored(void **state)
{
        struct bench *b = *state;

        make_ready(b);
        bench_prepared(b, 4711, 0, 1);
        assert_int_equal(b->last.count, 0);
        bench_released(b, 4711, 0);
        assert_int_equal(b->last.count, 0);
        say(b, bench_nic(9, 9, AK_NIC_DETACHED, 1));
        assert_int_equal(b->last.count, 0);
}

#define CORE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
            CORE(wanted_port_is_prepared_and_ready),
            CORE(repeated_wish_is_answered_again_at_once),
            CORE(repeated_wish_while_preparing_does_not_prepare_twice),
            CORE(changed_port_is_prepared_as_it_is_now),
            CORE(change_during_preparing_is_prepared_after_it),
            CORE(link_and_slot_alone_need_no_work),
            CORE(failure_is_tried_once_per_attempt),
            CORE(newer_wish_during_a_failing_prepare_is_tried_at_once),
            CORE(older_generation_never_overrides),
            CORE(late_copy_of_the_plug_does_not_undo_the_unplug),
            CORE(attempts_order_wishes_within_a_generation),
            CORE(bad_field_fails_and_is_named),
            CORE(ids_that_are_no_uuids_are_refused_without_a_trace),
            CORE(number_of_ports_is_bounded),
            CORE(unwanted_port_is_held_until_detached),
            CORE(released_port_is_forgotten_after_a_minute),
            CORE(an_unknown_port_is_released_once_the_vm_lets_go),
            CORE(detached_of_an_earlier_unplug_does_not_count),
            CORE(detached_that_comes_before_the_wish_counts),
            CORE(detached_while_wanted_does_not_count_within_a_generation),
            CORE(detached_while_wanted_does_not_count_under_the_same_key),
            CORE(attaching_again_takes_the_evidence_back),
            CORE(what_is_said_of_the_vm_is_no_evidence),
            CORE(wanted_again_while_held_is_ready_at_once),
            CORE(wanted_again_while_releasing_is_prepared_afterwards),
            CORE(unwanted_while_preparing_is_released_afterwards),
            CORE(failed_release_is_tried_once_per_attempt),
            CORE(a_port_held_for_one_pod_waits_before_it_serves_another),
            CORE(nothing_is_answered_before_the_inventory),
            CORE(found_port_that_is_wanted_is_checked_in_silence),
            CORE(found_port_that_nobody_claims_is_reported_held),
            CORE(found_port_that_is_unwanted_is_held_until_detached),
            CORE(lost_tap_is_made_again_and_told),
            CORE(a_tap_lost_while_it_is_made_is_not_called_ready),
            CORE(lost_tap_of_an_unwanted_port_is_let_be),
            CORE(lost_bridge_prepares_every_port_of_the_subnet),
            CORE(lost_dhcp_server_is_started_again_ever_more_slowly),
            CORE(dhcp_server_that_does_not_start_fails_the_port),
            CORE(inventory_after_lost_events_finds_what_is_missing),
            CORE(answers_of_no_operation_are_ignored),
        };

        return cmocka_run_group_tests_name("network core", tests, NULL, NULL);
}
