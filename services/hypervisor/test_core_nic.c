/* SPDX-License-Identifier: Apache-2.0 */
/* The core and its NICs, step by step: plug, readiness, link, unplug. */
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

        if (!rig)
                return -1;
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

/* ------------------------------------------------------------------ plug */

static void test_attach_needs_wish_and_port(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 2, 0);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        /* A port of an older generation is not the one that was asked for. */
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        rig_port(rig, PORT0, AK_PORT_READY, 0, 2);
        call = rig_call(rig, HV_OP_ATTACH);
        assert_string_equal(call.nic.ifname, "ak0");
        assert_string_equal(call.nic.mac, "06:00:00:00:00:00");
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_ATTACHING);
        /* The other way round. */
        rig_port(rig, PORT1, AK_PORT_READY, 1, 2);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 1, 2, 0);
        assert_string_equal(rig_call(rig, HV_OP_ATTACH).nic.port_id, PORT1);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_WAITING_FOR_GUEST);
        assert_int_equal(rig_nic(rig, PORT0)->attach_us, 1234);
        assert_string_equal(rig_nic(rig, PORT0)->pci_address, "0000:01:00.0");
}

static void test_readiness_is_asked_for_often_at_first(void **state)
{
        struct rig *rig = *state;
        uint64_t plugged, asked[64];
        struct hv_action call;
        size_t n = 0;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        plugged = rig->now;
        while (n < 40) {
                rig_tick(rig, 1000);
                if (!rig_calls(rig, HV_OP_PROBE))
                        continue;
                asked[n++] = rig->now - plugged;
                call = rig_call(rig, HV_OP_PROBE);
                rig_answer(rig, &call, HV_OK, 3, NULL);
        }
        assert_int_equal(asked[0], 2000);
        for (size_t i = 1; i < n; i++)
                assert_true(asked[i] - asked[i - 1] <= 2000 + asked[i - 1] / 12 + 1000);
        /* Signs of life bring the next question forward. */
        rig_device(rig, HV_EVENT_GUEST_ACTIVITY, PORT0);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_int_equal(rig_nic(rig, PORT0)->guest_us, rig->now - plugged);
        rig_tick(rig, 1000000);
        assert_false(rig_calls(rig, HV_OP_PROBE));
}

/* A wish that is repeated says that somebody waits; a port.status does not ask anything. */
static void test_answers_are_owed_to_wishes(void **state)
{
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_true(rig->actions.items[0].repeated); /* which the shell does not call news */
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        assert_int_equal(rig_count(rig, HV_ACTION_PUBLISH), 0);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 2, 0);
        assert_int_equal(rig_nic(rig, PORT0)->generation, 2);
        assert_false(rig->actions.items[0].repeated);
        /* The watcher takes what it was told of the former device for void. */
        rig_port_on(rig, PORT0, 0, 2, 9);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_int_equal(rig_count(rig, HV_ACTION_PUBLISH), 1);
}

/* Timers have a coarser clock than the core. */
static void test_tick_that_comes_too_early(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_WAKE), 1);
        rig_tick(rig, 1999);
        assert_false(rig_calls(rig, HV_OP_PROBE));
        assert_int_equal(rig_count(rig, HV_ACTION_WAKE), 1);
        rig_tick(rig, 1);
        assert_true(rig_calls(rig, HV_OP_PROBE));
}

static void test_guest_without_driver(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 3 | 128, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_FAILED);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "GuestDriverFailed");
        assert_string_equal(rig_nic(rig, PORT0)->device_alias, "ua-" PORT0);
        rig_tick(rig, 2000);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_WAITING_FOR_GUEST);
        rig_tick(rig, 30000000);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_FAILED);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "GuestNotResponding");
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "");
}

static void test_reboot_makes_it_wait_again(void **state)
{
        struct hv_event reboot = {
            .type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_REBOOTED};
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_step(rig, &reboot);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_WAITING_FOR_GUEST);
        rig_tick(rig, 2000);
        assert_true(rig_calls(rig, HV_OP_PROBE));
}

static void test_failed_attach_is_tried_once_per_attempt(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_ERROR_TAP, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_FAILED);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "TapUnusable");
        assert_string_equal(rig_nic(rig, PORT0)->device_alias, "");
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_FAILED);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 1);
        assert_false(rig_calls(rig, HV_OP_ATTACH)); /* the port may have gone since it was ready */
        rig_port_again(rig, PORT0, 0, 1, 1);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
        assert_int_equal(rig_nic(rig, PORT0)->attempt, 1);
}

static void test_start_that_failed_but_did_happen(void **state)
{
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action start, look;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, NULL);
        rig_image_done(rig, "/images/guest.qcow2", "");
        start = rig_call(rig, HV_OP_START);
        rig_answer(rig, &start, HV_ERROR_OTHER, 0, NULL);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, domain);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        assert_string_equal(rig_vm(rig)->reason, "");
        free(domain);
}

/* What is said of a wish must be its own outcome, not that of the one before. */
static void test_old_failure_is_not_the_answer_to_a_new_wish(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 2, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 2);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_ERROR_OTHER, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_FAILED);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 3, 0);
        assert_null(rig_nic(rig, PORT0));
        rig_port(rig, PORT0, AK_PORT_READY, 0, 3);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_ATTACHING);
        assert_int_equal(rig_nic(rig, PORT0)->generation, 3);
}

static void test_restarted_watcher_counts_anew(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 7);
        rig_port_again(rig, PORT0, 0, 1, 7);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_ERROR_OTHER, 0, NULL);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 1);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
}

static void test_impossible_slot(void **state)
{
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 8, 1, 0);
        rig_port(rig, PORT1, AK_PORT_READY, 8, 1);
        assert_string_equal(rig_nic(rig, PORT1)->reason, "NoFreeSlot");
        rig_nic_diff(rig, PORT2, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT2, AK_PORT_READY, 0, 1);
        assert_string_equal(rig_nic(rig, PORT2)->reason, "SlotInUse");
        assert_false(rig_calls(rig, HV_OP_ATTACH));
}

static void test_duplicate_alias_means_look(void **state)
{
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_ERROR_DUPLICATE, 0, NULL);
        call = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &call, HV_OK, 0, domain);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_WAITING_FOR_GUEST);
        free(domain);
}

static void test_lost_answer_is_looked_up(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_ERROR_CONNECTION, 0, NULL);
        assert_null(rig_nic(rig, PORT0));
        assert_int_equal(rig_count(rig, HV_ACTION_DRIVER), 0);
        rig_tick(rig, 200000);
        assert_int_equal(rig_count(rig, HV_ACTION_LIST), 1);
}

/* ------------------------------------------------------------------ link */

static void test_link_changes_live(void **state)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        (void)snprintf(m->nic_diff.pod_uid, sizeof(m->nic_diff.pod_uid), "%s", POD);
        (void)snprintf(m->nic_diff.port_id, sizeof(m->nic_diff.port_id), "%s", PORT0);
        m->nic_diff.wanted = AK_NIC_WANTED_PRESENT;
        m->nic_diff.generation = 2;
        m->nic_diff.link_down = true;
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_MESSAGE, .message = m});
        call = rig_call(rig, HV_OP_SET_LINK);
        assert_true(call.nic.link_down);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_true(rig_nic(rig, PORT0)->link_down);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        ak_message_free(m);
}

/* ------------------------------------------------------------------ unplug */

static void test_unplug(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHING);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHING);
        rig->now += 103000;
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_int_equal(rig_nic(rig, PORT0)->detach_us, 103000);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        rig_tick(rig, 61000000);
        assert_int_equal(rig_count(rig, HV_ACTION_FORGET), 1);
}

static void test_event_before_the_answer(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_null(rig_nic(rig, PORT0));
}

static void test_guest_that_keeps_the_device(void **state)
{
        struct hv_live_domain *without = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000000);
        call = rig_call(rig, HV_OP_SET_LINK);
        assert_true(call.nic.link_down);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHING);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "GuestNotResponding");
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_true(rig_nic(rig, PORT0)->link_down);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        /* Only the watcher asks again. */
        rig_tick(rig, 3000000);
        call = rig_call(rig, HV_OP_INSPECT);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 1);
        assert_true(rig_calls(rig, HV_OP_DETACH));
        /* The event is lost, but the device is not in the XML any more. */
        rig_answer(rig, &call, HV_OK, 0, without);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        free(without);
}

static void refused_by(struct rig *rig, enum hv_error error, const char *reason)
{
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, error, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHING);
        assert_string_equal(rig_nic(rig, PORT0)->reason, reason);
        assert_true(rig_calls(rig, HV_OP_SET_LINK));
}

static void test_guest_busy(void **state)
{
        refused_by(*state, HV_ERROR_BUSY, "GuestBusy");
}

static void test_detach_error(void **state)
{
        refused_by(*state, HV_ERROR_OTHER, "DetachFailed");
}

/* libvirtd died over it: the guest may have been asked or not. */
static void test_detach_whose_answer_is_lost_is_repeated(void **state)
{
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        assert_true(rig_calls(rig, HV_OP_DETACH));
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_DISCONNECTED});
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_CONNECTED});
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_LISTED, .domains = &domain, .domain_count = 1});
        assert_false(rig_calls(rig, HV_OP_DETACH));
        rig_tick(rig, 5900000);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        call = rig_call(rig, HV_OP_SET_LINK);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 100000);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        /* Once: from here on the watcher asks. */
        rig_tick(rig, 20000000);
        assert_false(rig_calls(rig, HV_OP_DETACH));
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        free(domain);
}

static void test_detach_in_progress_is_waited_for(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_ERROR_IN_PROGRESS, 0, NULL);
        assert_false(rig_calls(rig, HV_OP_SET_LINK));
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
}

static void test_detach_of_what_is_gone(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_ERROR_NO_DEVICE, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
}

static void test_removal_failed_event(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_device(rig, HV_EVENT_REMOVAL_FAILED, PORT0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHING);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "GuestRefused");
        assert_true(rig_calls(rig, HV_OP_SET_LINK));
}

static void test_domain_vanishes_during_unplug(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_ERROR_NO_DOMAIN, 0, NULL);
        assert_null(rig_nic(rig, PORT0));
        call = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
}

static void test_wanted_again_while_it_leaves(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 3, 0);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        rig_port(rig, PORT0, AK_PORT_READY, 0, 3);
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_ATTACHING);
}

static void test_wanted_again_while_the_guest_keeps_it(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000000);
        call = rig_call(rig, HV_OP_SET_LINK);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 3, 0);
        call = rig_call(rig, HV_OP_SET_LINK);
        assert_false(call.nic.link_down);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_false(rig_nic(rig, PORT0)->link_down);
}

static void test_drift_is_told_and_put_right_on_request(void **state)
{
        struct hv_live_domain *without = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        /* Not expected: looked at before it is believed. */
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_null(rig_nic(rig, PORT0));
        call = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &call, HV_OK, 0, without);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_string_equal(rig_nic(rig, PORT0)->reason, "DeviceGone");
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        assert_false(rig_calls(rig, HV_OP_ATTACH));
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 1);
        rig_port_again(rig, PORT0, 0, 1, 1);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
        free(without);
}

static void test_nics_do_not_wait_for_each_other(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        call = rig_call(rig, HV_OP_DETACH);
        rig_nic_diff(rig, PORT1, AK_NIC_WANTED_PRESENT, 1, 2, 0);
        rig_port(rig, PORT1, AK_PORT_READY, 1, 2);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
        rig_answer(rig, &call, HV_OK, 0, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            TEST(test_attach_needs_wish_and_port),
            TEST(test_readiness_is_asked_for_often_at_first),
            TEST(test_answers_are_owed_to_wishes),
            TEST(test_tick_that_comes_too_early),
            TEST(test_guest_without_driver),
            TEST(test_reboot_makes_it_wait_again),
            TEST(test_failed_attach_is_tried_once_per_attempt),
            TEST(test_start_that_failed_but_did_happen),
            TEST(test_old_failure_is_not_the_answer_to_a_new_wish),
            TEST(test_restarted_watcher_counts_anew),
            TEST(test_impossible_slot),
            TEST(test_duplicate_alias_means_look),
            TEST(test_lost_answer_is_looked_up),
            TEST(test_link_changes_live),
            TEST(test_unplug),
            TEST(test_event_before_the_answer),
            TEST(test_guest_that_keeps_the_device),
            TEST(test_guest_busy),
            TEST(test_detach_error),
            TEST(test_detach_whose_answer_is_lost_is_repeated),
            TEST(test_detach_in_progress_is_waited_for),
            TEST(test_detach_of_what_is_gone),
            TEST(test_removal_failed_event),
            TEST(test_domain_vanishes_during_unplug),
            TEST(test_wanted_again_while_it_leaves),
            TEST(test_wanted_again_while_the_guest_keeps_it),
            TEST(test_drift_is_told_and_put_right_on_request),
            TEST(test_nics_do_not_wait_for_each_other),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
