/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a NIC, scenario by scenario. test_world.c checks the invariants at every action. */
#include "services/watcher/test_world.h"

#include <string.h>

static struct world w;

static int setup(void **state)
{
        (void)state;
        world_init(&w);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        world_deinit(&w);
        return 0;
}

/* A VM that runs with eth0 ready, and eth1 as well where `second`. */
static void running(bool second)
{
        if (second)
                world_start(&w, UID_A, "nginx-vm", "eth0=" PORT(0), "eth1=" PORT(1), NULL);
        else
                world_start(&w, UID_A, "nginx-vm", "eth0=" PORT(0), NULL);
        world_port_says(&w, UID_A, PORT(0), AK_PORT_READY, "");
        if (second)
                world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_plug(&w, UID_A, PORT(0));
        if (second)
                world_plug(&w, UID_A, PORT(1));
        world_advance(&w, SEC);
        assert_nic(&w, UID_A, "eth0", "Ready", "Ready");
}

static void patch_in_eth1(void)
{
        world_port(&w, PORT(1), UID_A, "eth1");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), NULL);
        world_tell_all(&w);
}

static void plug_step_by_step(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        const struct ak_nic_diff *wish = world_nic_wish(&w, UID_A, PORT(1));
        assert_int_equal(wish->wanted, AK_NIC_WANTED_PRESENT);
        assert_string_equal(wish->mac, "06:00:00:00:00:01");
        assert_string_equal(wish->addresses.items[0], "10.0.0.5/24");
        assert_string_equal(wish->subnet_id, "subnet-1");
        assert_int_equal(wish->generation, 2);
        assert_int_equal(wish->slot, 1);
        assert_true(wish->dhcp);
        assert_false(wish->primary);
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "PreparingPort");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "Attaching");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_WAITING_FOR_GUEST, "");
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "WaitingForGuest");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready"); /* at once */
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "macAddress"), "06:00:00:00:00:01");
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "deviceAlias"), "ua-" PORT(1));
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "pciAddress"), "0000:01:00.0");
        const json_t *entry = world_nic(&w, UID_A, "eth1");
        assert_string_equal(json_string_value(json_array_get(json_object_get(entry, "ipAddresses"), 0)),
                            "10.0.0.5");
        assert_int_equal(json_integer_value(json_object_get(entry, "observedGeneration")), 2);
        assert_int_equal(json_integer_value(json_object_get(entry, "attempts")), 1);
        const json_t *timings = json_object_get(entry, "timings");
        assert_int_equal(json_integer_value(json_object_get(timings, "totalMs")), 600);
        assert_int_equal(json_integer_value(json_object_get(timings, "guestMs")), 300);
        assert_int_equal(world_events(&w, "DeviceAttached"), 2);
}

static void a_quick_plug_costs_one_write(void **state)
{
        (void)state;
        running(false);
        world_advance(&w, 10 * SEC);
        size_t before = w.status_writes;
        patch_in_eth1();
        world_advance(&w, 30 * MS);
        world_plug(&w, UID_A, PORT(1));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        assert_int_equal(w.status_writes, before + 1);
        world_advance(&w, 60 * SEC);
        assert_int_equal(w.status_writes, before + 1);
}

static void a_settled_nic_is_left_alone(void **state)
{
        (void)state;
        running(true);
        size_t publishes = w.publishes, writes = w.status_writes;
        world_advance(&w, 600 * SEC);
        /* The same facts again, and the same objects, change nothing. */
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_advance(&w, 60 * SEC);
        assert_int_equal(w.publishes, publishes);
        assert_int_equal(w.status_writes, writes);
}

/* Each is about the same VM: one look at it, one write. */
static void reports_that_come_together_are_one_write(void **state)
{
        (void)state;
        running(true);
        size_t writes = w.status_writes;
        w.more = true;
        world_nic_says(&w, UID_A, PORT(0), AK_NIC_WAITING_FOR_GUEST, "");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_WAITING_FOR_GUEST, "");
        assert_int_equal(w.status_writes, writes);
        w.more = false;
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        assert_int_equal(w.status_writes, writes + 1);
        assert_nic(&w, UID_A, "eth0", "InProgress", "WaitingForGuest");
        assert_nic(&w, UID_A, "eth1", "InProgress", "WaitingForGuest");
}

static void an_unanswered_wish_is_repeated(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        size_t publishes = w.publishes;
        world_advance(&w, 21 * SEC); /* after 5, 10 and 20 s */
        assert_int_equal(w.publishes, publishes + 3);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 0);
        /* Less and less often, once a minute in the end. */
        world_advance(&w, 120 * SEC); /* after 40, 80 and 140 s */
        assert_int_equal(w.publishes, publishes + 6);
        world_advance(&w, 600 * SEC);
        assert_int_equal(w.publishes, publishes + 16);
}

static void unplug_step_by_step(void **state)
{
        (void)state;
        running(true);
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), NULL);
        world_tell_all(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_ABSENT);
        assert_string_equal(world_nic_wish(&w, UID_A, PORT(1))->mac, "06:00:00:00:00:01");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "");
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "Detaching");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_HELD, "");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHED, "");
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "ReleasingPort");
        assert_non_null(world_api_port(&w, PORT(1)));
        world_port_says(&w, UID_A, PORT(1), AK_PORT_RELEASED, "");
        assert_null(world_api_port(&w, PORT(1)));
        assert_null(world_nic(&w, UID_A, "eth1"));
        assert_null(world_nic_wish(&w, UID_A, PORT(1))); /* the topic is forgotten */
        assert_nic(&w, UID_A, "eth0", "Ready", "Ready");
        assert_int_equal(world_events(&w, "DeviceDetached"), 1);
}

static void released_too_early_is_not_believed(void **state)
{
        (void)state;
        running(true);
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), NULL);
        world_tell_all(&w);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_RELEASED, "");
        assert_non_null(world_api_port(&w, PORT(1)));
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHED, "");
        assert_null(world_api_port(&w, PORT(1)));
}

static void attach_fails_and_is_tried_again(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_FAILED, "AttachFailed");
        assert_nic(&w, UID_A, "eth1", "Failed", "AttachFailed");
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "macAddress"), "06:00:00:00:00:01");
        world_advance(&w, 700 * MS);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 0);
        world_advance(&w, 600 * MS);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 1);
        world_plug(&w, UID_A, PORT(1));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        assert_int_equal(json_integer_value(json_object_get(world_nic(&w, UID_A, "eth1"), "attempts")), 2);
        assert_int_equal(world_events(&w, "FailedAttachDevice"), 1);
}

static void port_failures_back_off_to_five_minutes(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        for (int i = 0; i < 20; i++) {
                world_port_says(&w, UID_A, PORT(1), AK_PORT_FAILED, "BridgeFailed");
                world_advance(&w, 361 * SEC);
        }
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 20);
        world_port_says(&w, UID_A, PORT(1), AK_PORT_FAILED, "BridgeFailed");
        uint64_t attempt = world_nic_wish(&w, UID_A, PORT(1))->attempt;
        world_advance(&w, 230 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt);
        /* A change of the NIC starts over. */
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1) ":down", NULL);
        world_tell_all(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->generation, 3);
        assert_true(world_nic_wish(&w, UID_A, PORT(1))->link_down);
        world_port_says(&w, UID_A, PORT(1), AK_PORT_FAILED, "BridgeFailed");
        attempt = world_nic_wish(&w, UID_A, PORT(1))->attempt;
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt + 1);
}

static void one_failure_blocks_no_other_nic(void **state)
{
        (void)state;
        running(false);
        world_port(&w, PORT(1), UID_A, "eth1");
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        world_tell_all(&w);
        world_port_says(&w, UID_A, PORT(1), AK_PORT_FAILED, "TapFailed");
        world_plug(&w, UID_A, PORT(2));
        assert_nic(&w, UID_A, "eth1", "Failed", "TapFailed");
        assert_nic(&w, UID_A, "eth2", "Ready", "Ready");
}

static void a_guest_without_a_driver_is_watched_not_retried(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_WAITING_FOR_GUEST, "");
        world_advance(&w, 299 * SEC);
        assert_nic(&w, UID_A, "eth1", "InProgress", "WaitingForGuest");
        world_advance(&w, 2 * SEC);
        assert_nic(&w, UID_A, "eth1", "Failed", "GuestNotResponding");
        world_advance(&w, 900 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 0);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void a_guest_that_keeps_the_device_is_asked_again(void **state)
{
        (void)state;
        running(true);
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), NULL);
        world_tell_all(&w);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "");
        uint64_t attempt = world_nic_wish(&w, UID_A, PORT(1))->attempt;
        world_advance(&w, 5900 * MS); /* sooner could cancel the removal in the guest */
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt);
        world_advance(&w, 200 * MS);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt + 1);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "GuestBusy");
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "GuestBusy");
        /* Never given up. */
        for (int i = 0; i < 30; i++) {
                world_advance(&w, 361 * SEC);
                world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "");
        }
        assert_true(world_nic_wish(&w, UID_A, PORT(1))->attempt >= attempt + 30);
        assert_nic(&w, UID_A, "eth1", "InProgress", "GuestNotResponding");
        assert_non_null(world_api_port(&w, PORT(1)));
        assert_true(world_events(&w, "FailedDetachDevice") >= 1);
        world_unplug(&w, UID_A, PORT(1));
        assert_null(world_nic(&w, UID_A, "eth1"));
        assert_null(world_api_port(&w, PORT(1)));
}

static void a_name_waits_for_its_predecessor(void **state)
{
        (void)state;
        running(true);
        world_port(&w, PORT(2), UID_A, "eth1");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(2), NULL);
        world_tell_all(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_ABSENT);
        assert_null(world_nic_wish(&w, UID_A, PORT(2)));
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "WaitingForRelease");
        world_unplug(&w, UID_A, PORT(1));
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(2))->wanted, AK_NIC_WANTED_PRESENT);
        world_plug(&w, UID_A, PORT(2));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "portID"), PORT(2));
}

static void plug_and_unplug_in_one_patch(void **state)
{
        (void)state;
        running(true);
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth2=" PORT(2), NULL);
        world_tell_all(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_ABSENT);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(2))->wanted, AK_NIC_WANTED_PRESENT);
        world_plug(&w, UID_A, PORT(2));
        assert_nic(&w, UID_A, "eth2", "Ready", "Ready");
        assert_string_not_equal(world_nic_text(&w, UID_A, "eth1", "state"), "");
        world_unplug(&w, UID_A, PORT(1));
        assert_null(world_nic(&w, UID_A, "eth1"));
}

static void entries_reordered_nothing_happens(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_plug(&w, UID_A, PORT(0));
        world_plug(&w, UID_A, PORT(1));
        world_plug(&w, UID_A, PORT(2));
        size_t publishes = w.publishes;
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth2=" PORT(2), "eth1=" PORT(1), NULL);
        world_tell_all(&w);
        world_advance(&w, 30 * SEC);
        assert_int_equal(w.publishes, publishes);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void objects_may_come_in_any_order(void **state)
{
        (void)state;
        running(false);
        world_port(&w, PORT(1), UID_A, "eth1");
        world_tell_port(&w, PORT(1)); /* the port before the pod that lists it */
        assert_null(world_nic_wish(&w, UID_A, PORT(1)));
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), NULL);
        world_tell_pod(&w, UID_A);
        assert_non_null(world_nic_wish(&w, UID_A, PORT(1)));
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        w.hold = true;             /* or the answers would tell of the port as well */
        world_tell_pod(&w, UID_A); /* the pod before its port */
        world_advance(&w, 200 * MS);
        assert_null(world_nic_wish(&w, UID_A, PORT(2)));
        w.hold = false;
        world_tell_port(&w, PORT(2));
        assert_non_null(world_nic_wish(&w, UID_A, PORT(2)));
}

static void a_device_taken_behind_our_back_is_put_back(void **state)
{
        (void)state;
        running(true);
        world_advance(&w, 100 * SEC);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHED, "DeviceGone");
        assert_nic(&w, UID_A, "eth1", "Failed", "DeviceGone");
        uint64_t attempt = world_nic_wish(&w, UID_A, PORT(1))->attempt;
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt + 1);
        world_plug(&w, UID_A, PORT(1));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        const json_t *timings = json_object_get(world_nic(&w, UID_A, "eth1"), "timings");
        assert_int_equal(json_integer_value(json_object_get(timings, "totalMs")), 1300); /* of this time */
}

static void a_device_that_has_to_be_plugged_anew_is_asked_for(void **state)
{
        (void)state;
        running(true);
        world_advance(&w, 30 * SEC);
        uint64_t attempt = world_nic_wish(&w, UID_A, PORT(1))->attempt;
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_ATTACHING, "TapLost");
        assert_nic(&w, UID_A, "eth1", "InProgress", "TapLost");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "TapLost");
        assert_int_equal(world_events(&w, "FailedAttachDevice"), 1);
        world_advance(&w, 5 * SEC); /* an earlier repeat can cancel the removal */
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "GuestNotResponding");
        world_advance(&w, 2 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, attempt + 1);
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_DETACHING, "GuestNotResponding");
        world_advance(&w, SEC);
        assert_nic(&w, UID_A, "eth1", "InProgress", "GuestNotResponding");
        world_plug(&w, UID_A, PORT(1));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_PRESENT);
}

static void port_on(uint64_t ifindex)
{
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "port.status/" UID_A "/" PORT(1)));
        m->port_status.state = AK_PORT_READY;
        m->port_status.ifindex = ifindex;
        world_say(&w, m, 0);
}

static void a_device_made_anew_is_not_ready_before_the_hypervisor_says_so(void **state)
{
        (void)state;
        running(true);
        port_on(7);
        port_on(7);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        port_on(9);
        assert_nic(&w, UID_A, "eth1", "InProgress", "TapLost");
        size_t publishes = w.publishes;
        world_advance(&w, 6 * SEC); /* should the hypervisor have nothing new to say, it is asked */
        assert_true(w.publishes > publishes);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        port_on(9);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void link_flip_does_not_leave_ready(void **state)
{
        (void)state;
        running(true);
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1) ":down", NULL);
        world_tell_all(&w);
        assert_true(world_nic_wish(&w, UID_A, PORT(1))->link_down);
        world_advance(&w, 500 * MS);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        world_advance(&w, SEC); /* but it is told when nobody follows */
        assert_nic(&w, UID_A, "eth1", "InProgress", "Updating");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void old_reports_override_nothing(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        struct ak_message *late = ak_message_dup(zhashx_lookup(w.said, "nic.status/" UID_A "/" PORT(0)));
        (void)snprintf(late->nic_status.port_id, sizeof(late->nic_status.port_id), "%s", PORT(1));
        late->nic_status.generation = 1; /* before the NIC was asked for */
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_say(&w, late, 1);
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth1", "InProgress", "Updating");
        world_plug(&w, UID_A, PORT(1));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        struct ak_message *old = ak_message_dup(zhashx_lookup(w.said, "nic.status/" UID_A "/" PORT(1)));
        old->nic_status.generation = 1;
        old->nic_status.state = AK_NIC_DETACHED;
        world_say(&w, old, 1);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void transition_time_moves_with_the_state_only(void **state)
{
        (void)state;
        char since[64];
        running(false);
        patch_in_eth1();
        world_advance(&w, 5 * SEC);
        (void)snprintf(since, sizeof(since), "%s", world_nic_text(&w, UID_A, "eth1", "lastTransitionTime"));
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_advance(&w, 5 * SEC);
        assert_nic(&w, UID_A, "eth1", "InProgress", "Attaching");
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "lastTransitionTime"), since);
        world_plug(&w, UID_A, PORT(1));
        assert_string_not_equal(world_nic_text(&w, UID_A, "eth1", "lastTransitionTime"), since);
}

static void a_new_watcher_touches_nothing(void **state)
{
        (void)state;
        running(true);
        json_t *before = json_deep_copy(world_status(&w, UID_A));
        size_t writes = w.status_writes;
        world_restart(&w);
        world_peer(&w, 0);
        world_peer(&w, 1);
        world_sync(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_PRESENT);
        world_advance(&w, 50 * MS);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        for (int i = 0; i < 2; i++) {
                world_port_says(&w, UID_A, i ? PORT(1) : PORT(0), AK_PORT_READY, "");
                world_nic_says(&w, UID_A, i ? PORT(1) : PORT(0), AK_NIC_READY, "");
        }
        size_t publishes = w.publishes;
        world_advance(&w, 60 * SEC);
        assert_int_equal(w.publishes, publishes);
        assert_string_equal(
            world_nic_text(&w, UID_A, "eth1", "lastTransitionTime"),
            json_string_value(json_object_get(json_array_get(json_object_get(before, "nicStatuses"), 1),
                                              "lastTransitionTime")));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        assert_string_equal(world_nic_text(&w, UID_A, "eth1", "message"), "");
        assert_true(w.status_writes <= writes + 1); /* started_us of the VM differs in this world */
        json_decref(before);
}

static void reports_before_the_lists_change_nothing(void **state)
{
        (void)state;
        running(true);
        world_restart(&w);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_advance(&w, 600 * SEC); /* the API is away */
        assert_int_equal(zhashx_size(w.bus), 0);
        world_sync(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_PRESENT);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

/* A full node's services answer thousands of wishes before this one. */
static void a_new_watcher_waits_for_answers_before_it_calls_a_nic_otherwise(void **state)
{
        (void)state;
        running(true);
        world_restart(&w);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, ""); /* found by a hypervisor that knows no wish */
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_sync(&w);
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        size_t writes = w.status_writes;
        struct watcher_core_stats stats;
        world_advance(&w, 9 * SEC);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        assert_int_equal(w.status_writes, writes);
        watcher_core_stats(w.core, &stats);
        assert_int_equal(stats.nics_settled, 0);
        world_advance(&w, 2 * SEC); /* but it is told when nobody answers */
        assert_nic(&w, UID_A, "eth1", "InProgress", "Updating");
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void a_silent_hypervisor_makes_the_state_unknown(void **state)
{
        (void)state;
        running(true);
        world_restart(&w);
        world_sync(&w);
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_advance(&w, 9 * SEC);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        world_advance(&w, 2 * SEC);
        assert_nic(&w, UID_A, "eth1", "Unknown", "NoReport");
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void a_restarted_hypervisor_is_asked_again(void **state)
{
        (void)state;
        running(true);
        size_t publishes = w.publishes;
        world_peer(&w, 1);
        world_advance(&w, 6 * SEC);
        assert_true(w.publishes > publishes);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
        world_advance(&w, 6 * SEC);
        assert_nic(&w, UID_A, "eth1", "Unknown", "NoReport");
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_READY, "");
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void a_watcher_before_us_was_further(void **state)
{
        (void)state;
        running(false);
        patch_in_eth1();
        /* It had asked seven times; the network service still knows. */
        world_port_says(&w, UID_A, PORT(1), AK_PORT_HELD, "");
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "port.status/" UID_A "/" PORT(1)));
        m->port_status.attempt = 7;
        world_say(&w, m, 0);
        world_advance(&w, 6 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 8);
        world_plug(&w, UID_A, PORT(1));
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void an_orphan_port_is_removed_after_the_lists_only(void **state)
{
        (void)state;
        world_port_says(&w, UID_B, PORT(9), AK_PORT_READY, "");
        world_nic_says(&w, UID_B, PORT(9), AK_NIC_READY, "");
        world_advance(&w, 60 * SEC);
        assert_null(world_nic_wish(&w, UID_B, PORT(9)));
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_advance(&w, 4 * SEC);
        assert_null(world_nic_wish(&w, UID_B, PORT(9)));
        world_advance(&w, 2 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_B, PORT(9))->wanted, AK_NIC_WANTED_ABSENT);
        assert_int_equal(world_events(&w, "OrphanedPort"), 1);
        world_unplug(&w, UID_B, PORT(9));
        world_vm(&w, UID_B, AK_VM_PHASE_ABSENT);
        assert_null(world_nic_wish(&w, UID_B, PORT(9)));
}

static void a_later_generation_of_an_orphan_is_overtaken(void **state)
{
        (void)state;
        world_sync(&w);
        world_nic_says(&w, UID_B, PORT(9), AK_NIC_READY, "");
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "nic.status/" UID_B "/" PORT(9)));
        m->nic_status.generation = 12;
        m->nic_status.attempt = 3;
        world_say(&w, m, 1);
        world_advance(&w, 6 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_B, PORT(9))->generation, 12);
        assert_int_equal(world_nic_wish(&w, UID_B, PORT(9))->attempt, 4);
}

static void a_deleted_port_takes_its_nic_along(void **state)
{
        (void)state;
        running(true);
        world_port_remove(&w, PORT(1)); /* somebody with too many rights */
        world_tell_all(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_ABSENT);
        world_unplug(&w, UID_A, PORT(1));
        assert_null(world_nic_wish(&w, UID_A, PORT(1)));
        world_advance(&w, SEC);
        assert_nic(&w, UID_A, "eth1", "InProgress", "WaitingForPort");
}

static void a_port_that_cannot_be_used_says_why(void **state)
{
        (void)state;
        running(false);
        world_port(&w, PORT(1), UID_A, "eth1");
        json_object_set_new(json_object_get(world_api_port(&w, PORT(1)), "spec"), "macAddress",
                            json_string("ff:ff:ff:ff:ff:ff"));
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), NULL);
        world_tell_all(&w);
        assert_null(world_nic_wish(&w, UID_A, PORT(1)));
        assert_nic(&w, UID_A, "eth1", "Failed", "InvalidPort");
        assert_non_null(strstr(world_nic_text(&w, UID_A, "eth1", "message"), "macAddress"));
}

static void nameless_and_portless_entries_do_no_harm(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), "=" PORT(1), "eth2=", NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_plug(&w, UID_A, PORT(0));
        world_advance(&w, SEC);
        assert_nic(&w, UID_A, "eth0", "Ready", "Ready");
        assert_nic(&w, UID_A, "eth2", "InProgress", "WaitingForPort");
        assert_null(world_nic_wish(&w, UID_A, PORT(1)));
        size_t writes = w.status_writes;
        world_advance(&w, 60 * SEC);
        assert_int_equal(w.status_writes, writes);
}

/* eth1 is unplugged, and the API is being told that its port is Released. */
static void releasing(void)
{
        running(true);
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), NULL);
        world_tell_all(&w);
        w.hold = true;
        world_unplug(&w, UID_A, PORT(1));
        assert_int_equal(world_calls(&w, WATCHER_CALL_PORT_STATUS), 1);
}

static void a_release_of_an_older_port_is_said_again_of_the_newer(void **state)
{
        (void)state;
        releasing();
        world_port_phase(&w, PORT(1), "Releasing"); /* somebody wrote to it: a new resourceVersion */
        world_answer(&w, WATCHER_CALL_PORT_STATUS, WATCHER_CONFLICT);
        assert_int_equal(w.complaints, 0);
        world_advance(&w, SEC);
        assert_int_equal(world_calls(&w, WATCHER_CALL_PORT_STATUS), 0); /* not of what is outdated */
        world_tell_port(&w, PORT(1));
        assert_int_equal(world_calls(&w, WATCHER_CALL_PORT_STATUS), 1); /* at once */
        w.hold = false;
        world_settle(&w);
        assert_null(world_api_port(&w, PORT(1)));
        assert_null(world_nic(&w, UID_A, "eth1"));
}

static void a_release_refused_for_nothing_is_said_again(void **state)
{
        (void)state;
        releasing();
        world_answer(&w, WATCHER_CALL_PORT_STATUS, WATCHER_RETRY);
        assert_int_equal(w.complaints, 1);
        world_advance(&w, SEC);
        world_answer(&w, WATCHER_CALL_PORT_STATUS, WATCHER_CONFLICT);
        w.hold = false;
        world_advance(&w, 4 * SEC);
        assert_non_null(world_api_port(&w, PORT(1)));
        world_advance(&w, 2 * SEC);
        assert_null(world_api_port(&w, PORT(1)));
        assert_null(world_nic(&w, UID_A, "eth1"));
}

/* The API forgot the port before, or accepted the release of a watcher before us. */
static void a_repeated_release_is_done(void **state)
{
        (void)state;
        releasing();
        zhashx_insert(w.released, PORT(1), "");
        world_answer(&w, WATCHER_CALL_PORT_STATUS, WATCHER_GONE);
        assert_int_equal(w.complaints, 0);
        world_advance(&w, 20 * SEC);
        assert_int_equal(world_calls(&w, WATCHER_CALL_PORT_STATUS), 0);
        world_port_remove(&w, PORT(1));
        world_tell_all(&w);
        assert_null(world_nic_wish(&w, UID_A, PORT(1)));
        w.hold = false;
        world_settle(&w);
        assert_null(world_nic(&w, UID_A, "eth1"));
}

static void a_user_port_is_unbound_not_deleted(void **state)
{
        (void)state;
        running(true);
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), NULL);
        world_tell_all(&w);
        w.hold = true;
        world_unplug(&w, UID_A, PORT(1));
        json_t *port = world_api_port(&w, PORT(1));
        json_object_del(json_object_get(port, "spec"), "boundTo");
        world_port_phase(&w, PORT(1), "Unbound");
        zhashx_insert(w.released, PORT(1), "");
        world_answer(&w, WATCHER_CALL_PORT_STATUS, WATCHER_OK);
        w.hold = false;
        world_settle(&w);
        world_tell_all(&w);
        assert_null(world_nic_wish(&w, UID_A, PORT(1)));
        assert_null(world_nic(&w, UID_A, "eth1"));
        assert_non_null(world_api_port(&w, PORT(1)));
}

static void status_write_failures_undo_nothing(void **state)
{
        (void)state;
        running(false);
        w.offline = true;
        patch_in_eth1();
        world_plug(&w, UID_A, PORT(1));
        world_advance(&w, 300 * SEC);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_PRESENT);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->attempt, 0);
        assert_null(world_nic(&w, UID_A, "eth1"));
        w.offline = false;
        world_advance(&w, 40 * SEC);
        assert_nic(&w, UID_A, "eth1", "Ready", "Ready");
}

static void one_status_write_at_a_time(void **state)
{
        (void)state;
        running(false);
        w.hold = true;
        patch_in_eth1();
        world_plug(&w, UID_A, PORT(1));
        assert_int_equal(world_calls(&w, WATCHER_CALL_POD_STATUS), 1);
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        world_tell_all(&w);
        world_plug(&w, UID_A, PORT(2));
        world_advance(&w, 10 * SEC);
        assert_int_equal(world_calls(&w, WATCHER_CALL_POD_STATUS), 1);
        w.hold = false;
        world_settle(&w);
        assert_nic(&w, UID_A, "eth2", "Ready", "Ready");
}

static void sixty_nics(void **state)
{
        (void)state;
        char id[64], text[64];
        running(false);
        json_t *nics = json_object_get(json_object_get(world_api_pod(&w, UID_A), "spec"), "nics");
        for (int i = 1; i < 60; i++) {
                (void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-0000000001%02x", i);
                (void)snprintf(text, sizeof(text), "eth%d", i);
                json_array_append_new(nics, json_pack("{s:s, s:s}", "name", text, "portId", id));
                world_port(&w, id, UID_A, text);
        }
        world_pod_set(&w, UID_A, "spec/vpc", json_string("vpcdemo"));
        world_tell_all(&w);
        for (int i = 1; i < 60; i++) {
                (void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-0000000001%02x", i);
                world_plug(&w, UID_A, id);
        }
        assert_nic(&w, UID_A, "eth59", "Ready", "Ready");
        assert_int_equal(json_array_size(json_object_get(world_status(&w, UID_A), "nicStatuses")), 60);
        struct watcher_core_stats stats;
        watcher_core_stats(w.core, &stats);
        assert_int_equal(stats.nics_ready, 60);
        assert_int_equal(stats.nics_settled, 60);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
            T(plug_step_by_step),
            T(a_quick_plug_costs_one_write),
            T(a_settled_nic_is_left_alone),
            T(reports_that_come_together_are_one_write),
            T(an_unanswered_wish_is_repeated),
            T(unplug_step_by_step),
            T(released_too_early_is_not_believed),
            T(attach_fails_and_is_tried_again),
            T(port_failures_back_off_to_five_minutes),
            T(one_failure_blocks_no_other_nic),
            T(a_guest_without_a_driver_is_watched_not_retried),
            T(a_guest_that_keeps_the_device_is_asked_again),
            T(a_name_waits_for_its_predecessor),
            T(plug_and_unplug_in_one_patch),
            T(entries_reordered_nothing_happens),
            T(objects_may_come_in_any_order),
            T(a_device_taken_behind_our_back_is_put_back),
            T(a_device_that_has_to_be_plugged_anew_is_asked_for),
            T(a_device_made_anew_is_not_ready_before_the_hypervisor_says_so),
            T(link_flip_does_not_leave_ready),
            T(old_reports_override_nothing),
            T(transition_time_moves_with_the_state_only),
            T(a_new_watcher_touches_nothing),
            T(reports_before_the_lists_change_nothing),
            T(a_new_watcher_waits_for_answers_before_it_calls_a_nic_otherwise),
            T(a_silent_hypervisor_makes_the_state_unknown),
            T(a_restarted_hypervisor_is_asked_again),
            T(a_watcher_before_us_was_further),
            T(an_orphan_port_is_removed_after_the_lists_only),
            T(a_later_generation_of_an_orphan_is_overtaken),
            T(a_deleted_port_takes_its_nic_along),
            T(a_port_that_cannot_be_used_says_why),
            T(nameless_and_portless_entries_do_no_harm),
            T(a_release_of_an_older_port_is_said_again_of_the_newer),
            T(a_release_refused_for_nothing_is_said_again),
            T(a_repeated_release_is_done),
            T(a_user_port_is_unbound_not_deleted),
            T(status_write_failures_undo_nothing),
            T(one_status_write_at_a_time),
            T(sixty_nics),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
