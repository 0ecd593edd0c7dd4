/* SPDX-License-Identifier: Apache-2.0 */
/* The core, step by step: what each event makes it do. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
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

/* ------------------------------------------------------------------ connection and adoption */

static void test_nothing_is_done_or_said_before_the_inventory(void **state)
{
        struct rig *rig = *state;

        rig_vm_diff(rig, AK_VM_WANTED_ABSENT, 1, 0, NULL);
        assert_null(rig_vm(rig));
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 1, 0);
        assert_null(rig_nic(rig, PORT0));
        assert_false(rig_calls(rig, HV_OP_CLEANUP));
        rig_connect(rig, NULL, 0);
        assert_true(rig_calls(rig, HV_OP_CLEANUP));
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_STOPPING);
}

static void test_connect_is_retried_with_back_off(void **state)
{
        struct hv_event refused = {.type = HV_EVENT_CONNECTED, .result.head.error = HV_ERROR_CONNECTION};
        struct rig *rig = *state;
        uint64_t waited[2];

        rig_tick(rig, 0);
        for (int i = 0; i < 2; i++) {
                rig_step(rig, &refused);
                assert_int_equal(rig_count(rig, HV_ACTION_CONNECT), 0);
                assert_int_equal(rig->actions.items[0].type, HV_ACTION_WAKE);
                waited[i] = rig->actions.items[0].at_us - rig->now;
                rig_tick(rig, waited[i]);
                assert_int_equal(rig_count(rig, HV_ACTION_CONNECT), 1);
        }
        assert_true(waited[1] > waited[0]);
}

static void test_adopted_domain_is_reported_and_left_alone(void **state)
{
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action probe;

        rig_connect(rig, &domain, 1);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        assert_int_equal(rig_vm(rig)->nic_slots_free, 7);
        /* It may well be bound: it is asked first, or a healthy NIC would be called waiting. */
        assert_null(rig_nic(rig, PORT0));
        probe = rig_call(rig, HV_OP_PROBE);
        assert_int_equal(rig_count(rig, HV_ACTION_DRIVER), 1);
        rig_answer(rig, &probe, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_int_equal(rig_nic(rig, PORT0)->guest_us, 0); /* nobody saw when it was plugged */
        assert_string_equal(rig_nic(rig, PORT0)->device_alias, "ua-" PORT0);
        /* The wish that is true already changes nothing. */
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 4, 0);
        assert_int_equal(rig_count(rig, HV_ACTION_DRIVER), 0);
        assert_int_equal(rig_nic(rig, PORT0)->generation, 4);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 4);
        assert_int_equal(rig_count(rig, HV_ACTION_DRIVER), 0);
        assert_int_equal(rig_count(rig, HV_ACTION_PUBLISH), 0);
        free(domain);
}

static void test_adopted_nic_that_does_not_answer_is_told_all_the_same(void **state)
{
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action probe;

        rig_connect(rig, &domain, 1);
        probe = rig_call(rig, HV_OP_PROBE);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 4, 0);
        assert_null(rig_nic(rig, PORT0));
        rig_answer(rig, &probe, HV_ERROR_TIMEOUT, 0, NULL); /* no answer of the guest */
        rig_tick(rig, 5000000);                             /* a full node has thousands to ask */
        assert_null(rig_nic(rig, PORT0));
        rig_tick(rig, 1000000);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_WAITING_FOR_GUEST);
        free(domain);
}

/* A NIC that we have plugged ourselves, while the connection was lost in between. */
static void test_reconnect_forgets_no_time(void **state)
{
        struct hv_event down = {.type = HV_EVENT_DISCONNECTED};
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 1000000);
        rig_step(rig, &down);
        rig_connect(rig, &domain, 1);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_READY);
        assert_true(rig_nic(rig, PORT0)->guest_us >= 1000000);
        free(domain);
}

/* Whether it is to be started again is the watcher's to say. */
static void adopted_domain_ends(struct rig *rig)
{
        struct hv_event end = {.type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_STOPPED};
        struct hv_action look;

        rig_step(rig, &end);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 0, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 1, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
}

static void test_adopted_domain_that_ends_is_not_started_again(void **state)
{
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;

        rig_connect(rig, &domain, 1);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 0, NULL);
        adopted_domain_ends(rig);
        free(domain);
}

static void test_nor_when_the_wish_was_heard_first(void **state)
{
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;

        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 0, NULL);
        rig_connect(rig, &domain, 1);
        adopted_domain_ends(rig);
        free(domain);
}

static void test_ended_while_nobody_looked_is_a_crash(void **state)
{
        struct rig *rig = *state;

        rig_connect(rig, NULL, 0);
        rig_vm_was_up(rig, 3, 2);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_CRASHED);
        assert_string_equal(rig_vm(rig)->reason, "EndedUnseen");
        rig_vm_was_up(rig, 4, 2); /* another spec is no wish to start it again */
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 4, 3, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
}

/* The service came back while the watcher was away: it saw the end, and not the wish before. */
static void test_ended_before_the_wish_was_heard(void **state)
{
        struct hv_event end = {.type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_STOPPED};
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action look;

        rig_connect(rig, &domain, 1);
        rig_step(rig, &end);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
        rig_vm_was_up(rig, 4, 0);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
        free(domain);
}

/* Not what a guest that powers itself off is: by the restart policy it failed. */
static void test_destroyed_by_somebody_is_a_crash(void **state)
{
        struct hv_event end = {
            .type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_DESTROYED};
        struct rig *rig = *state;
        struct hv_action look;

        rig_run_vm(rig);
        rig_step(rig, &end);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_CRASHED);
        assert_string_equal(rig_vm(rig)->reason, "Destroyed");
}

static void test_destroyed_on_request_is_none(void **state)
{
        struct hv_event end = {
            .type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_DESTROYED};
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_vm_diff(rig, AK_VM_WANTED_SHUTDOWN, 1, 1, NULL);
        call = rig_call(rig, HV_OP_DESTROY); /* no grace */
        rig_step(rig, &end);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
        assert_string_equal(rig_vm(rig)->reason, "");
}

static void test_reconnect_reads_anew(void **state)
{
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_DISCONNECTED});
        assert_int_equal(rig_count(rig, HV_ACTION_CONNECT), 1);
        assert_null(rig_nic(rig, PORT0));
        /* Unknown now: a repeated wish is not answered. */
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        assert_null(rig_nic(rig, PORT0));
        assert_false(rig_calls(rig, HV_OP_DETACH));
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_CONNECTED});
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_LISTED});
        /* The domain ended while nobody looked. */
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
}

static void test_look_that_raced_with_an_event_is_repeated(void **state)
{
        struct hv_live_domain *old = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action detach;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_tick(rig, 61000000);
        assert_int_equal(rig_count(rig, HV_ACTION_LIST), 1);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 2, 0);
        detach = rig_call(rig, HV_OP_DETACH);
        rig_answer(rig, &detach, HV_OK, 0, NULL);
        rig_device(rig, HV_EVENT_DEVICE_REMOVED, PORT0);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        /* The list was made before. */
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_LISTED, .domains = &old, .domain_count = 1});
        assert_true(rig_calls(rig, HV_OP_INSPECT));
        assert_null(rig_nic(rig, PORT0));
        free(old);
}

/* ------------------------------------------------------------------ VM */

static void test_start_waits_for_image_and_ports(void **state)
{
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct rig *rig = *state;
        struct hv_action start;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, PORT0);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_PULLING);
        rig_image_done(rig, "/images/guest.qcow2", "");
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_WAITING);
        assert_false(rig_calls(rig, HV_OP_START));
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        assert_false(rig_calls(rig, HV_OP_START));
        rig_port(rig, PORT0, AK_PORT_PREPARING, 0, 1);
        assert_false(rig_calls(rig, HV_OP_START));
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        start = rig_call(rig, HV_OP_START);
        for (size_t i = 0; i < rig->actions.count; i++) {
                if (rig->actions.items[i].domain) {
                        assert_int_equal(rig->actions.items[i].domain->nic_count, 1);
                        assert_string_equal(rig->actions.items[i].domain->nics[0].ifname, "ak0");
                        assert_int_equal(rig->actions.items[i].domain->nics[0].mtu, 1450);
                }
        }
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_ATTACHING);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_STARTING);
        rig_answer(rig, &start, HV_OK, 0, domain);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_WAITING_FOR_GUEST);
        free(domain);
}

static void test_start_does_not_wait_for_ever(void **state)
{
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action start;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, PORT0);
        rig_image_done(rig, "/images/guest.qcow2", "");
        rig_tick(rig, 19000000);
        assert_false(rig_calls(rig, HV_OP_START));
        rig_tick(rig, 1000000);
        start = rig_call(rig, HV_OP_START);
        rig_answer(rig, &start, HV_OK, 0, domain);
        /* The port comes late: hotplugged. */
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_READY, 0, 1);
        assert_true(rig_calls(rig, HV_OP_ATTACH));
        free(domain);
}

static void test_failed_port_holds_no_start_up(void **state)
{
        struct rig *rig = *state;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, PORT0);
        rig_image_done(rig, "/images/guest.qcow2", "");
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_PRESENT, 0, 1, 0);
        rig_port(rig, PORT0, AK_PORT_FAILED, 0, 1);
        assert_true(rig_calls(rig, HV_OP_START));
}

static void test_failed_start_is_tried_once_per_attempt(void **state)
{
        struct rig *rig = *state;
        struct hv_action start, look;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, NULL);
        rig_image_done(rig, "/images/guest.qcow2", "");
        start = rig_call(rig, HV_OP_START);
        rig_answer(rig, &start, HV_ERROR_OTHER, 0, NULL);
        assert_null(rig_vm(rig));
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_FAILED);
        assert_string_equal(rig_vm(rig)->reason, "StartFailed");
        assert_string_equal(rig_vm(rig)->message, "text of the error");
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_FAILED);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 1, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
        rig_image_done(rig, "", "ImageNotFound");
        assert_string_equal(rig_vm(rig)->reason, "ImageNotFound");
}

/* Nor by a watcher that was started anew: it counts from 0 until it has read what was reported. */
static void test_attempt_that_is_taken_over_is_no_other_start(void **state)
{
        struct hv_event end = {.type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_STOPPED};
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action look;

        rig_connect(rig, &domain, 1);
        rig_vm_was_up(rig, 3, 2);
        rig_vm_was_up(rig, 3, 0);
        rig_vm_was_up(rig, 3, 2);
        rig_step(rig, &end);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 3, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
        free(domain);
}

static void test_guest_that_powers_off_is_not_restarted_by_itself(void **state)
{
        struct hv_event stopped = {
            .type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_CRASHED};
        struct rig *rig = *state;
        struct hv_action look;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        rig_step(rig, &stopped);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_CRASHED);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 2, 0, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 2, 1, PORT0);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
        rig_image_done(rig, "/images/guest.qcow2", "");
        assert_true(rig_calls(rig, HV_OP_START));
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_ATTACHING);
}

static void vm_diff_absent(struct rig *rig, uint64_t generation, uint64_t grace_ms)
{
        struct ak_message *m = ak_message_new(ak_message_vm_diff);

        (void)snprintf(m->vm_diff.pod_uid, sizeof(m->vm_diff.pod_uid), "%s", POD);
        m->vm_diff.wanted = AK_VM_WANTED_ABSENT;
        m->vm_diff.generation = generation;
        m->vm_diff.grace_ms = grace_ms;
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_MESSAGE, .message = m});
        ak_message_free(m);
}

static void test_removal_asks_the_guest_first(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_ready_nic(rig, PORT0, 0, 1);
        vm_diff_absent(rig, 2, 5000);
        call = rig_call(rig, HV_OP_SHUTDOWN);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_STOPPING);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_false(rig_calls(rig, HV_OP_DESTROY));
        rig_tick(rig, 5000000);
        call = rig_call(rig, HV_OP_DESTROY);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_STOPPING);
        call = rig_call(rig, HV_OP_CLEANUP);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_ABSENT);
        /* Repeated: answered. After a minute: forgotten. */
        vm_diff_absent(rig, 2, 5000);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_ABSENT);
        rig_tick(rig, 61000000);
        assert_int_equal(rig_count(rig, HV_ACTION_FORGET), 2);
        assert_int_equal(rig_count(rig, HV_ACTION_LIST), 1);
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_LISTED});
        vm_diff_absent(rig, 2, 5000);
        assert_true(rig_calls(rig, HV_OP_CLEANUP));
}

static void test_destroy_that_fails_is_repeated(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        vm_diff_absent(rig, 2, 0);
        call = rig_call(rig, HV_OP_DESTROY);
        rig_answer(rig, &call, HV_ERROR_TIMEOUT, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_STOPPING);
        assert_string_equal(rig_vm(rig)->reason, "StopFailed");
        assert_false(rig_calls(rig, HV_OP_DESTROY));
        rig_tick(rig, 5000000);
        assert_true(rig_calls(rig, HV_OP_DESTROY));
}

static void test_cleanup_that_fails_is_repeated(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_connect(rig, NULL, 0);
        vm_diff_absent(rig, 2, 0);
        call = rig_call(rig, HV_OP_CLEANUP);
        rig_answer(rig, &call, HV_ERROR_OTHER, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_STOPPING);
        assert_string_equal(rig_vm(rig)->reason, "CleanupFailed");
        assert_false(rig_calls(rig, HV_OP_CLEANUP));
        rig_tick(rig, 5000000);
        call = rig_call(rig, HV_OP_CLEANUP);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_ABSENT);
        assert_string_equal(rig_vm(rig)->reason, "");
}

/* Refused because there was a domain already: nothing may be called absent before that was looked up. */
static void test_removal_after_a_refused_start(void **state)
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
        vm_diff_absent(rig, 2, 0);
        assert_false(rig_calls(rig, HV_OP_CLEANUP));
        rig_answer(rig, &look, HV_OK, 0, domain);
        assert_true(rig_calls(rig, HV_OP_DESTROY));
        free(domain);
}

static void test_removal_during_a_start(void **state)
{
        struct hv_live_domain *domain = rig_domain(NULL);
        struct rig *rig = *state;
        struct hv_action start;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, NULL);
        rig_image_done(rig, "/images/guest.qcow2", "");
        start = rig_call(rig, HV_OP_START);
        vm_diff_absent(rig, 2, 0);
        assert_false(rig_calls(rig, HV_OP_DESTROY));
        rig_answer(rig, &start, HV_OK, 0, domain);
        assert_true(rig_calls(rig, HV_OP_DESTROY));
        free(domain);
}

static void test_older_generation_is_ignored(void **state)
{
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_vm_diff(rig, AK_VM_WANTED_PAUSED, 3, 0, NULL);
        assert_true(rig_calls(rig, HV_OP_SUSPEND));
        vm_diff_absent(rig, 2, 0);
        assert_false(rig_calls(rig, HV_OP_DESTROY));
}

static void test_power_state(void **state)
{
        struct rig *rig = *state;
        struct hv_action call;

        rig_run_vm(rig);
        rig_vm_diff(rig, AK_VM_WANTED_PAUSED, 2, 0, NULL);
        call = rig_call(rig, HV_OP_SUSPEND);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_PAUSED);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 0, NULL);
        call = rig_call(rig, HV_OP_RESUME);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        rig_vm_diff(rig, AK_VM_WANTED_SHUTDOWN, 4, 0, NULL);
        call = rig_call(rig, HV_OP_DESTROY);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
        assert_false(rig_calls(rig, HV_OP_CLEANUP));
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 5, 0, NULL);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
}

/* Told to power off, then wanted again before it is off: "off" and "on" as the user said them. */
static void told_off_and_wanted_again(struct rig *rig)
{
        struct ak_message *m = ak_message_new(ak_message_vm_diff);
        struct hv_action call;

        rig_run_vm(rig);
        (void)snprintf(m->vm_diff.pod_uid, sizeof(m->vm_diff.pod_uid), "%s", POD);
        m->vm_diff.wanted = AK_VM_WANTED_SHUTDOWN;
        m->vm_diff.generation = 2;
        m->vm_diff.grace_ms = 30000;
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_MESSAGE, .message = m});
        ak_message_free(m);
        call = rig_call(rig, HV_OP_SHUTDOWN);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 3, 0, NULL);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        rig_vm_was_up(rig, 3, 0); /* the watcher has seen it so */
        assert_false(rig_calls(rig, HV_OP_DESTROY));
}

static void goes_off(struct rig *rig, enum hv_lifecycle how)
{
        struct hv_event end = {.type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = how};
        struct hv_action look;

        rig_step(rig, &end);
        look = rig_call(rig, HV_OP_INSPECT);
        rig_answer(rig, &look, HV_OK, 0, NULL);
}

static void test_off_as_told_after_it_was_wanted_again(void **state)
{
        struct rig *rig = *state;

        told_off_and_wanted_again(rig);
        goes_off(rig, HV_LIFECYCLE_STOPPED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_PULLING);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 1);
}

static void test_off_by_itself_long_after_it_was_told(void **state)
{
        struct rig *rig = *state;

        told_off_and_wanted_again(rig);
        rig_tick(rig, 91000000);
        goes_off(rig, HV_LIFECYCLE_STOPPED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_SHUTOFF);
        assert_int_equal(rig_count(rig, HV_ACTION_FETCH_IMAGE), 0);
}

static void test_a_panic_is_told_as_such(void **state)
{
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_step(rig, &(struct hv_event){
                          .type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_PANICKED});
        goes_off(rig, HV_LIFECYCLE_CRASHED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_CRASHED);
        assert_string_equal(rig_vm(rig)->reason, "GuestPanicked");
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 1, NULL);
        assert_string_equal(rig_vm(rig)->reason, "");
}

static void test_a_panic_counts_as_a_crash_however_the_domain_ends(void **state)
{
        struct rig *rig = *state;

        rig_run_vm(rig);
        rig_step(rig, &(struct hv_event){
                          .type = HV_EVENT_LIFECYCLE, .pod_uid = POD, .lifecycle = HV_LIFECYCLE_PANICKED});
        goes_off(rig, HV_LIFECYCLE_STOPPED);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_CRASHED);
        assert_string_equal(rig_vm(rig)->reason, "GuestPanicked");
}

/* ------------------------------------------------------------------ records */

static void test_unknown_port_is_answered_and_forgotten(void **state)
{
        struct rig *rig = *state;

        rig_connect(rig, NULL, 0);
        rig_nic_diff(rig, PORT0, AK_NIC_WANTED_ABSENT, 0, 9, 3);
        assert_int_equal(rig_nic(rig, PORT0)->state, AK_NIC_DETACHED);
        assert_int_equal(rig_nic(rig, PORT0)->generation, 9);
        assert_int_equal(rig_nic(rig, PORT0)->attempt, 3);
        rig_tick(rig, 61000000);
        assert_int_equal(rig_count(rig, HV_ACTION_FORGET), 1);
}

static void test_bounds(void **state)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);
        struct hv_event event = {.type = HV_EVENT_MESSAGE, .message = m};
        struct rig *rig = *state;
        int r = 0;

        rig_connect(rig, NULL, 0);
        (void)snprintf(m->nic_diff.pod_uid, sizeof(m->nic_diff.pod_uid), "%s", POD);
        for (unsigned i = 0; i < 200 && r == 0; i++) {
                (void)snprintf(m->nic_diff.port_id, sizeof(m->nic_diff.port_id),
                               "11111111-2222-4333-8444-%012u", i);
                hv_actions_clear(&rig->actions);
                r = hv_core_step(rig->core, &event, rig->now, 0, &rig->actions);
        }
        assert_int_equal(r, -ENOSPC);
        ak_message_free(m);
}

static void test_json_round_trip(void **state)
{
        struct hv_live_domain *domain = rig_domain(PORT0);
        struct hv_event event = {.type = HV_EVENT_LISTED, .domains = &domain, .domain_count = 1}, back;
        char error[AK_SCHEMA_ERROR_SIZE];
        json_t *json = hv_event_to_json(&event), *again;
        struct rig *rig = *state;

        assert_int_equal(hv_event_from_json(json, &back, error), 0);
        again = hv_event_to_json(&back);
        assert_true(json_equal(json, again));
        assert_int_equal(back.domain_count, 1);
        assert_string_equal(back.domains[0]->nics[0].port_id, PORT0);
        json_decref(json);
        json_decref(again);
        hv_event_deinit(&back);
        json = json_pack("{s:s}", "type", "no such event");
        assert_int_equal(hv_event_from_json(json, &back, error), -EBADMSG);
        json_decref(json);
        rig_connect(rig, &domain, 1);
        json = hv_actions_to_json(&rig->actions);
        assert_int_equal(json_array_size(json), rig->actions.count);
        json_decref(json);
        free(domain);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            TEST(test_nothing_is_done_or_said_before_the_inventory),
            TEST(test_connect_is_retried_with_back_off),
            TEST(test_adopted_domain_is_reported_and_left_alone),
            TEST(test_adopted_nic_that_does_not_answer_is_told_all_the_same),
            TEST(test_reconnect_forgets_no_time),
            TEST(test_adopted_domain_that_ends_is_not_started_again),
            TEST(test_nor_when_the_wish_was_heard_first),
            TEST(test_ended_while_nobody_looked_is_a_crash),
            TEST(test_ended_before_the_wish_was_heard),
            TEST(test_destroyed_by_somebody_is_a_crash),
            TEST(test_destroyed_on_request_is_none),
            TEST(test_reconnect_reads_anew),
            TEST(test_look_that_raced_with_an_event_is_repeated),
            TEST(test_start_waits_for_image_and_ports),
            TEST(test_start_does_not_wait_for_ever),
            TEST(test_failed_port_holds_no_start_up),
            TEST(test_failed_start_is_tried_once_per_attempt),
            TEST(test_attempt_that_is_taken_over_is_no_other_start),
            TEST(test_guest_that_powers_off_is_not_restarted_by_itself),
            TEST(test_removal_asks_the_guest_first),
            TEST(test_destroy_that_fails_is_repeated),
            TEST(test_cleanup_that_fails_is_repeated),
            TEST(test_removal_after_a_refused_start),
            TEST(test_removal_during_a_start),
            TEST(test_older_generation_is_ignored),
            TEST(test_power_state),
            TEST(test_off_as_told_after_it_was_wanted_again),
            TEST(test_off_by_itself_long_after_it_was_told),
            TEST(test_a_panic_is_told_as_such),
            TEST(test_a_panic_counts_as_a_crash_however_the_domain_ends),
            TEST(test_unknown_port_is_answered_and_forgotten),
            TEST(test_bounds),
            TEST(test_json_round_trip),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
