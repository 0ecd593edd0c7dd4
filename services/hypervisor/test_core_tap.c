/* SPDX-License-Identifier: Apache-2.0 */
/* A tap that is deleted under a running VM: seen, and the NIC is plugged anew with its MAC and slot. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#include "services/hypervisor/test_core_util.h"

static int setup(void **state)
{
        struct rig *rig = calloc(1, sizeof(*rig));

        assert_non_null(rig);
        rig_init(rig);
        *state = rig;
        return 0;
}

static int teardown(void **state)
{
        rig_deinit(*state);
        free(*state);
        return 0;
}

/* eth1 in slot 1, ready, plugged with the device 7. */
static void ready_on_7(struct rig *rig)
{
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 1, 1, 0);
        rig_port_on(rig, PORT1, 1, 1, 7);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_READY);
}

/* What a look at the domain finds. */
static void look_finds(struct rig *rig, uint64_t ifindex, bool idle)
{
        struct hv_action look = rig_call(rig, HV_OP_INSPECT);
        struct hv_live_domain *domain = rig_domain(PORT1);

        domain->nics[0].slot = 1;
        domain->nics[0].ifindex = ifindex;
        domain->nics[0].tap_idle = idle;
        rig_answer(rig, &look, HV_OK, 0, domain);
        free(domain);
}

static void expect_replaced(struct rig *rig)
{
        struct hv_action call = rig_call(rig, HV_OP_DETACH);

        assert_string_equal(call.nic.port_id, PORT1);
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_DETACHING);
        assert_string_equal(rig_nic(rig, PORT1)->reason, "TapLost");
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT1);
        call = rig_call(rig, HV_OP_ATTACH);
        assert_int_equal(call.nic.slot, 1);
        assert_string_equal(call.nic.mac, "06:00:00:00:00:01");
        /* Never said to be detached: the network service would take that for leave to remove the port. */
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_ATTACHING);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_READY);
}

static void test_another_device_is_looked_at_and_believed(void **state)
{
        struct rig *rig = *state;

        ready_on_7(rig);
        rig_port(rig, PORT1, AK_PORT_PREPARING, 1, 1);
        assert_false(rig_calls(rig, HV_OP_INSPECT));
        rig_port_on(rig, PORT1, 1, 1, 9);
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_ATTACHING); /* no longer called Ready */
        assert_string_equal(rig_nic(rig, PORT1)->reason, "TapLost");
        look_finds(rig, 9, true);
        expect_replaced(rig);
        /* And that was that. */
        rig_port_on(rig, PORT1, 1, 1, 9);
        assert_false(rig_calls(rig, HV_OP_INSPECT));
        assert_null(rig_nic(rig, PORT1)); /* nor is it said twice */
}

static void test_a_device_that_qemu_has_open_is_left_alone(void **state)
{
        struct rig *rig = *state;

        ready_on_7(rig);
        rig_port_on(rig, PORT1, 1, 1, 9);
        look_finds(rig, 9, false); /* plugged a moment after it was made anew */
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_READY);
        rig_port_on(rig, PORT1, 1, 1, 9);
        assert_false(rig_calls(rig, HV_OP_INSPECT));
        rig_tick(rig, 10000000);
        assert_false(rig_calls(rig, HV_OP_DETACH));
}

static void test_an_idle_device_is_looked_at_twice(void **state)
{
        struct rig *rig = *state;
        struct hv_live_domain *domain = rig_domain(PORT1);

        /* A service that has just started: it does not know what the NIC was plugged with. */
        domain->nics[0].slot = 1;
        domain->nics[0].ifindex = 9;
        domain->nics[0].tap_idle = true;
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 1, 1, 0);
        rig_port_on(rig, PORT1, 1, 1, 9);
        rig_connect(rig, &domain, 1);
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_ATTACHING);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        rig_tick(rig, 200000);
        look_finds(rig, 9, true);
        expect_replaced(rig);
        free(domain);
}

static void test_a_domain_that_is_being_started_is_no_drift(void **state)
{
        struct rig *rig = *state;
        struct hv_live_domain *domain = rig_domain(PORT1);

        domain->nics[0].slot = 1;
        domain->nics[0].ifindex = 9;
        domain->nics[0].tap_idle = true; /* libvirt has not opened it yet */
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 1, 1, 0);
        rig_port_on(rig, PORT1, 1, 1, 9);
        rig_connect(rig, &domain, 1);
        rig_tick(rig, 200000);
        look_finds(rig, 9, false);
        rig_tick(rig, 1000000);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        free(domain);
}

static void test_a_host_that_shows_no_devices(void **state)
{
        struct rig *rig = *state;

        ready_on_7(rig);
        rig_port_on(rig, PORT1, 1, 1, 9);
        look_finds(rig, 0, false); /* what port.status says has to do */
        expect_replaced(rig);
}

static void test_the_look_is_repeated_when_its_answer_fails(void **state)
{
        struct rig *rig = *state;
        struct hv_action look;

        ready_on_7(rig);
        rig_port_on(rig, PORT1, 1, 1, 9);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_ERROR_TIMEOUT, 0, NULL);
        rig_tick(rig, 1000000);
        look_finds(rig, 9, true);
        expect_replaced(rig);
}

static void test_a_guest_that_keeps_it_is_asked_again(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        ready_on_7(rig);
        rig_port_on(rig, PORT1, 1, 1, 9);
        look_finds(rig, 9, true);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 3000000); /* past the time after which a NIC that is wanted again goes on as it was */
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_DETACHING);
        assert_string_equal(rig_nic(rig, PORT1)->reason, "GuestNotResponding");
        call = rig_call(rig, HV_OP_SET_LINK);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 1, 1, 1);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_port_again(rig, PORT1, 1, 1, 1);
        assert_int_equal(rig_nic(rig, PORT1)->attempt, 1);
        rig_tick(rig, 1000);
        assert_false(rig_calls(rig, HV_OP_DETACH)); /* once per attempt */
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT1);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
        assert_false(rig_call(rig, HV_OP_ATTACH).nic.link_down);
}

static void test_unwanted_meanwhile(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        ready_on_7(rig);
        rig_port_on(rig, PORT1, 1, 1, 9);
        look_finds(rig, 9, true);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_ABSENT, 1, 2, 0);
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT1);
        assert_int_equal(rig_nic(rig, PORT1)->state, AK_NIC_DETACHED);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            TEST(test_another_device_is_looked_at_and_believed),
            TEST(test_a_device_that_qemu_has_open_is_left_alone),
            TEST(test_an_idle_device_is_looked_at_twice),
            TEST(test_a_domain_that_is_being_started_is_no_drift),
            TEST(test_a_host_that_shows_no_devices),
            TEST(test_the_look_is_repeated_when_its_answer_fails),
            TEST(test_a_guest_that_keeps_it_is_asked_again),
            TEST(test_unwanted_meanwhile),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
