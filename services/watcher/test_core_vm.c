/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a VM and its pod, of events and of the node. test_world.c checks the invariants throughout. */
#include "services/watcher/test_world.h"

#include <errno.h>
#include <string.h>

#include "services/watcher/core_internal.h"

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

static void running(void)
{
        world_start(&w, UID_A, "nginx-vm", "eth0=" PORT(0), "eth1=" PORT(1), NULL);
        world_port_says(&w, UID_A, PORT(0), AK_PORT_READY, "");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_READY, "");
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_plug(&w, UID_A, PORT(0));
        world_plug(&w, UID_A, PORT(1));
        world_advance(&w, SEC);
}

static const json_t *container(void)
{
        return json_array_get(json_object_get(world_status(&w, UID_A), "containerStatuses"), 0);
}

static const char *container_text(const char *state, const char *key)
{
        const char *text = json_string_value(
            json_object_get(json_object_get(json_object_get(container(), "state"), state), key));
        return text ? text : "";
}

static const char *phase(void)
{
        return json_string_value(json_object_get(world_status(&w, UID_A), "phase"));
}

static void start_step_by_step(void **state)
{
        (void)state;
        world_start(&w, UID_A, "nginx-vm", "eth0=" PORT(0), "eth1=" PORT(1) ":down", NULL);
        const struct ak_vm_diff *wish = world_vm_wish(&w, UID_A);
        assert_int_equal(wish->wanted, AK_VM_WANTED_RUNNING);
        assert_string_equal(wish->image, "example.org/cirros.img");
        assert_string_equal(wish->vm_name, "cirros-vm");
        assert_int_equal(wish->cpu_milli, 1000);
        assert_int_equal(wish->memory_bytes, 200 << 20);
        assert_int_equal(wish->nic_slots, 64);
        assert_int_equal(wish->boot_ports.count, 2);
        assert_string_equal(wish->boot_ports.items[1], PORT(1));
        assert_true(world_nic_wish(&w, UID_A, PORT(0))->primary);
        assert_true(world_nic_wish(&w, UID_A, PORT(1))->link_down);
        assert_string_equal(phase(), "Pending");
        assert_string_equal(json_string_value(json_object_get(world_status(&w, UID_A), "podIP")), "10.0.0.4");
        assert_string_equal(json_string_value(json_object_get(world_status(&w, UID_A), "hostIP")),
                            "192.0.2.1");
        assert_string_equal(container_text("waiting", "reason"), "WaitingForHypervisor");
        world_vm(&w, UID_A, AK_VM_PHASE_PULLING);
        assert_string_equal(container_text("waiting", "reason"), "PullingImage");
        assert_nic(&w, UID_A, "eth0", "InProgress", "PreparingPort");
        world_port_says(&w, UID_A, PORT(0), AK_PORT_READY, "");
        world_advance(&w, 200 * MS);
        assert_nic(&w, UID_A, "eth0", "InProgress", "WaitingForVM");
        world_vm(&w, UID_A, AK_VM_PHASE_WAITING);
        world_vm(&w, UID_A, AK_VM_PHASE_STARTING);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        assert_string_equal(phase(), "Running");
        assert_string_equal(world_condition(&w, UID_A, "ContainersReady", "status"), "True");
        assert_string_equal(world_condition(&w, UID_A, "Ready", "status"), "False");
        assert_string_equal(world_condition(&w, UID_A, "Ready", "reason"), "PrimaryNICNotReady");
        world_plug(&w, UID_A, PORT(0));
        assert_string_equal(world_condition(&w, UID_A, "Ready", "status"), "True");
        assert_string_equal(world_condition(&w, UID_A, "PodScheduled", "status"), "True");
        assert_true(json_is_true(json_object_get(container(), "ready")));
        assert_int_equal(world_events(&w, "Pulling"), 1);
        assert_int_equal(world_events(&w, "Pulled"), 1);
        assert_int_equal(world_events(&w, "Started"), 1);
}

static void a_plug_leaves_the_vm_wish_alone(void **state)
{
        (void)state;
        running();
        struct ak_vm_diff before = *world_vm_wish(&w, UID_A);
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->boot_ports.count, 2);
        assert_int_equal(world_vm_wish(&w, UID_A)->generation, before.generation);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, before.attempt);
}

static void a_nic_added_before_the_start_is_a_boot_nic(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_PULLING);
        world_port(&w, PORT(1), UID_A, "eth1");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), NULL);
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->boot_ports.count, 2);
}

static void a_failed_start_is_tried_again(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_FAILED);
        assert_string_equal(phase(), "Pending");
        assert_string_equal(container_text("waiting", "reason"), "ImageNotFound");
        assert_string_equal(json_string_value(json_object_get(world_status(&w, UID_A), "message")),
                            "no such image");
        assert_int_equal(world_events(&w, "ImageNotFound"), 1);
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, 1);
        for (int i = 0; i < 12; i++) {
                world_vm(&w, UID_A, AK_VM_PHASE_FAILED);
                world_advance(&w, 361 * SEC);
        }
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, 13);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        assert_string_equal(phase(), "Running");
        assert_null(json_object_get(world_status(&w, UID_A), "reason"));
        assert_int_equal(json_integer_value(json_object_get(container(), "restartCount")), 0);
}

static void restart_policy_always(void **state)
{
        (void)state;
        running();
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        world_tell_all(&w);
        world_plug(&w, UID_A, PORT(2));
        uint64_t attempt = world_vm_wish(&w, UID_A)->attempt;
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        assert_string_equal(phase(), "Running");
        assert_string_equal(container_text("waiting", "reason"), "CrashLoopBackOff");
        assert_string_equal(world_condition(&w, UID_A, "Ready", "status"), "False");
        assert_nic(&w, UID_A, "eth1", "InProgress", "WaitingForVM");
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt);
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt + 1);
        assert_int_equal(world_vm_wish(&w, UID_A)->boot_ports.count, 3); /* what the pod lists by now */
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        assert_int_equal(json_integer_value(json_object_get(container(), "restartCount")), 1);
        world_vm(&w, UID_A, AK_VM_PHASE_CRASHED);
        assert_int_equal(world_events(&w, "GuestPanicked"), 1);
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt + 1); /* the second waits longer */
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt + 2);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_advance(&w, 601 * SEC); /* stable: forgiven */
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt + 3);
}

/* A hypervisor service that was away has to be told, or it would start what has ended. */
static void that_it_was_up_is_part_of_the_wish(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_STARTING);
        assert_false(world_vm_wish(&w, UID_A)->started);
        uint64_t attempt = world_vm_wish(&w, UID_A)->attempt;
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        assert_true(world_vm_wish(&w, UID_A)->started);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt);
        world_restart(&w);
        world_sync(&w);
        assert_true(world_vm_wish(&w, UID_A)->started); /* the API says so */
        world_vm(&w, UID_A, AK_VM_PHASE_CRASHED);
        world_advance(&w, 1300 * MS);
        assert_true(world_vm_wish(&w, UID_A)->attempt > attempt);
        assert_false(world_vm_wish(&w, UID_A)->started);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_pod_set(&w, UID_A, "spec/virtualMachine/powerSpec", json_string("Shutdown"));
        world_tell_all(&w);
        assert_false(world_vm_wish(&w, UID_A)->started);
        world_pod_set(&w, UID_A, "spec/virtualMachine/powerSpec", json_string("Running"));
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_RUNNING);
        assert_false(world_vm_wish(&w, UID_A)->started);
}

static void restart_policy_never(void **state)
{
        (void)state;
        world_pod(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_pod_set(&w, UID_A, "spec/restartPolicy", json_string("Never"));
        world_port(&w, PORT(0), UID_A, "eth0");
        world_sync(&w);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        assert_string_equal(phase(), "Succeeded");
        assert_string_equal(container_text("terminated", "reason"), "Shutdown");
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_SHUTDOWN);
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        size_t writes = w.status_writes, publishes = w.publishes;
        world_port_says(&w, UID_A, PORT(0), AK_PORT_READY, "");
        world_nic_says(&w, UID_A, PORT(0), AK_NIC_DETACHED, "");
        world_advance(&w, 60 * SEC);
        assert_true(w.status_writes <= writes + 1);
        assert_string_equal(phase(), "Succeeded");
        (void)publishes;
        /* A new watcher does not start it either. */
        world_restart(&w);
        world_sync(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_SHUTDOWN);
        assert_string_equal(phase(), "Succeeded");
}

static void restart_policy_on_failure(void **state)
{
        (void)state;
        world_pod(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_pod_set(&w, UID_A, "spec/restartPolicy", json_string("OnFailure"));
        world_port(&w, PORT(0), UID_A, "eth0");
        world_sync(&w);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_vm(&w, UID_A, AK_VM_PHASE_CRASHED);
        world_advance(&w, 1300 * MS);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_RUNNING);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, 1);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        assert_string_equal(phase(), "Succeeded");
}

static void a_crash_that_never_is_to_be_restarted_tells_why(void **state)
{
        (void)state;
        world_pod(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_pod_set(&w, UID_A, "spec/restartPolicy", json_string("Never"));
        world_port(&w, PORT(0), UID_A, "eth0");
        world_sync(&w);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_vm(&w, UID_A, AK_VM_PHASE_CRASHED);
        assert_string_equal(phase(), "Failed");
        assert_string_equal(container_text("terminated", "reason"), "GuestPanicked");
}

static void power_spec(void **state)
{
        (void)state;
        running();
        world_pod_set(&w, UID_A, "spec/virtualMachine/powerSpec", json_string("Shutdown"));
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_SHUTDOWN);
        assert_int_equal(world_vm_wish(&w, UID_A)->grace_ms, 30000);
        world_pod_set(&w, UID_A, "spec/terminationGracePeriodSeconds", json_integer(7));
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->grace_ms, 7000);
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        world_advance(&w, 60 * SEC);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_SHUTDOWN);
        assert_string_equal(phase(), "Running");
        uint64_t attempt = world_vm_wish(&w, UID_A)->attempt;
        world_pod_set(&w, UID_A, "spec/virtualMachine/powerSpec", json_string("Running"));
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_RUNNING);
        assert_true(world_vm_wish(&w, UID_A)->attempt >= attempt);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_pod_set(&w, UID_A, "spec/virtualMachine/powerSpec", json_string("Paused"));
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_PAUSED);
}

static void pod_deleted_in_order(void **state)
{
        (void)state;
        running();
        world_pod_delete(&w, UID_A, 30);
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_ABSENT);
        assert_int_equal(world_vm_wish(&w, UID_A)->grace_ms, 30000);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(0))->wanted, AK_NIC_WANTED_ABSENT);
        assert_int_equal(world_events(&w, "Killing"), 1);
        world_vm(&w, UID_A, AK_VM_PHASE_STOPPING);
        world_port_says(&w, UID_A, PORT(0), AK_PORT_HELD, "");
        world_advance(&w, 10 * SEC);
        assert_non_null(world_api_pod(&w, UID_A));
        world_vm(&w, UID_A, AK_VM_PHASE_ABSENT);
        assert_non_null(world_api_pod(&w, UID_A));
        world_port_says(&w, UID_A, PORT(0), AK_PORT_RELEASED, "");
        assert_null(world_api_port(&w, PORT(0)));
        assert_non_null(world_api_pod(&w, UID_A));
        world_port_says(&w, UID_A, PORT(1), AK_PORT_RELEASED, "");
        assert_null(world_api_port(&w, PORT(1)));
        assert_null(world_api_pod(&w, UID_A));
        assert_int_equal(zhashx_size(w.bus), 0);
        struct watcher_core_stats stats;
        watcher_core_stats(w.core, &stats);
        assert_int_equal(stats.vms + stats.nics + stats.ports, 0);
}

static void a_pod_deleted_before_it_was_started(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        struct ak_message *stale = ak_message_new(ak_message_vm_status);
        (void)snprintf(stale->vm_status.pod_uid, sizeof(stale->vm_status.pod_uid), "%s", UID_A);
        world_pod_delete(&w, UID_A, 0);
        world_tell_all(&w);
        world_say(&w, stale, 1); /* absent, but of an older wish */
        world_port_says(&w, UID_A, PORT(0), AK_PORT_RELEASED, "");
        assert_non_null(world_api_pod(&w, UID_A));
        world_vm(&w, UID_A, AK_VM_PHASE_ABSENT);
        assert_null(world_api_pod(&w, UID_A));
        assert_int_equal(zhashx_size(w.bus), 0);
}

static void a_pod_that_vanished_is_torn_down(void **state)
{
        (void)state;
        running();
        world_pod_remove(&w, UID_A); /* force delete */
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_ABSENT);
        assert_int_equal(world_vm_wish(&w, UID_A)->grace_ms, 0);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(1))->wanted, AK_NIC_WANTED_ABSENT);
        world_vm(&w, UID_A, AK_VM_PHASE_ABSENT);
        world_port_says(&w, UID_A, PORT(0), AK_PORT_RELEASED, "");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_RELEASED, "");
        assert_int_equal(zhashx_size(w.ports), 0);
        assert_int_equal(zhashx_size(w.bus), 0);
}

static void a_pod_that_vanished_while_no_watcher_ran(void **state)
{
        (void)state;
        running();
        world_pod_remove(&w, UID_A);
        world_restart(&w);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_nic_says(&w, UID_A, PORT(0), AK_NIC_READY, "");
        world_sync(&w);
        assert_int_equal(world_nic_wish(&w, UID_A, PORT(0))->wanted, AK_NIC_WANTED_ABSENT); /* Releasing */
        assert_null(world_vm_wish(&w, UID_A));
        world_advance(&w, 6 * SEC);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_ABSENT);
        world_vm(&w, UID_A, AK_VM_PHASE_ABSENT);
        world_port_says(&w, UID_A, PORT(0), AK_PORT_RELEASED, "");
        world_port_says(&w, UID_A, PORT(1), AK_PORT_RELEASED, "");
        assert_int_equal(zhashx_size(w.ports), 0);
        assert_int_equal(zhashx_size(w.bus), 0);
}

static void an_orphan_vm_is_removed_after_the_lists_only(void **state)
{
        (void)state;
        world_vm(&w, UID_B, AK_VM_PHASE_RUNNING);
        world_advance(&w, 3600 * SEC);
        assert_null(world_vm_wish(&w, UID_B));
        world_sync(&w);
        world_advance(&w, 6 * SEC);
        assert_int_equal(world_vm_wish(&w, UID_B)->wanted, AK_VM_WANTED_ABSENT);
        assert_int_equal(world_events(&w, "OrphanedVM"), 1);
        world_vm(&w, UID_B, AK_VM_PHASE_ABSENT);
        assert_int_equal(zhashx_size(w.bus), 0);
}

static void a_pod_whose_port_came_first_is_no_orphan(void **state)
{
        (void)state;
        world_sync(&w);
        world_port(&w, PORT(0), UID_A, "eth0");
        world_tell_port(&w, PORT(0));
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_nic_says(&w, UID_A, PORT(0), AK_NIC_READY, "");
        world_advance(&w, 60 * SEC);
        assert_int_equal(zhashx_size(w.bus), 0);
        world_pod(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_tell_all(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_RUNNING);
}

static void a_late_answer_does_not_bring_a_pod_back(void **state)
{
        (void)state;
        running();
        w.hold = true;
        world_port(&w, PORT(2), UID_A, "eth2");
        world_pod_nics(&w, UID_A, "eth0=" PORT(0), "eth1=" PORT(1), "eth2=" PORT(2), NULL);
        world_tell_all(&w);
        world_advance(&w, SEC);
        assert_int_equal(world_calls(&w, WATCHER_CALL_POD_STATUS), 1);
        json_t *old = json_deep_copy(world_api_pod(&w, UID_A));
        world_pod_remove(&w, UID_A);
        world_tell_all(&w);
        struct watcher_event late = {.type = WATCHER_EVENT_POD_PUT, .object = old};
        world_step(&w, &late);
        json_decref(old);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_ABSENT);
        world_answer(&w, WATCHER_CALL_POD_STATUS, WATCHER_GONE);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_ABSENT);
        w.hold = false;
        world_settle(&w);
}

static size_t vms(void)
{
        struct watcher_core_stats stats;
        watcher_core_stats(w.core, &stats);
        return stats.vms;
}

/* The VM is gone by then. */
static void an_answer_about_a_vm_that_is_forgotten(void **state)
{
        (void)state;
        running();
        w.hold = true;
        world_pod_set(&w, UID_A, "spec/vpc", json_string("vpcdemo"));
        world_nic_says(&w, UID_A, PORT(1), AK_NIC_FAILED, "GuestDriverFailed");
        world_advance(&w, SEC);
        assert_int_equal(world_calls(&w, WATCHER_CALL_POD_STATUS), 1);
        world_pod_remove(&w, UID_A);
        world_port_remove(&w, PORT(0));
        world_port_remove(&w, PORT(1));
        world_tell_all(&w);
        world_unplug(&w, UID_A, PORT(0));
        world_unplug(&w, UID_A, PORT(1));
        assert_int_equal(vms(), 1);
        world_vm(&w, UID_A, AK_VM_PHASE_ABSENT);
        assert_int_equal(vms(), 0);
        world_answer(&w, WATCHER_CALL_POD_STATUS, WATCHER_GONE);
        assert_int_equal(vms(), 0);
        w.hold = false;
        world_settle(&w);
}

static void an_unknown_answer_and_a_server_that_forgets(void **state)
{
        (void)state;
        running();
        /* The server drops what it does not know: that is written once, not for ever. */
        json_object_del(json_object_get(world_api_pod(&w, UID_A), "status"), "virtualMachineStatus");
        size_t writes = w.status_writes;
        world_pod_set(&w, UID_A, "spec/vpc", json_string("vpcdemo"));
        world_tell_all(&w);
        world_advance(&w, 60 * SEC);
        assert_int_equal(w.status_writes, writes + 1);
        struct watcher_event stray = {.type = WATCHER_EVENT_ANSWER, .op = 999999};
        world_step(&w, &stray);
}

static void only_the_difference_is_written(void **state)
{
        (void)state;
        json_t *from =
            json_pack("{s:i, s:{s:i, s:i}, s:[i], s:i}", "a", 1, "b", "c", 2, "d", 3, "e", 4, "f", 5);
        json_t *to = json_pack("{s:i, s:{s:i, s:i}, s:[i,i]}", "a", 1, "b", "c", 2, "d", 4, "e", 4, 5);
        json_t *want = json_pack("{s:{s:i}, s:[i,i], s:n}", "b", "d", 4, "e", 4, 5, "f");
        json_t *patch = watcher_merge_diff(from, to);
        assert_true(json_equal(patch, want));
        assert_null(watcher_merge_diff(to, to));
        json_decref(from);
        json_decref(to);
        json_decref(want);
        json_decref(patch);
}

static void conditions_of_others_stay(void **state)
{
        (void)state;
        running();
        json_t *list = json_object_get(json_object_get(world_api_pod(&w, UID_A), "status"), "conditions");
        json_array_append_new(list, json_pack("{s:s, s:s}", "type", "example.org/Checked", "status", "True"));
        world_pod_set(&w, UID_A, "spec/vpc", json_string("vpcdemo"));
        world_tell_all(&w);
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        assert_string_equal(world_condition(&w, UID_A, "example.org/Checked", "status"), "True");
        assert_string_equal(world_condition(&w, UID_A, "Ready", "status"), "False");
}

static void events_are_counted_and_bounded(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        for (int i = 0; i < 200; i++) {
                world_port_says(&w, UID_A, PORT(0), AK_PORT_FAILED, "TapFailed");
                world_port_says(&w, UID_A, PORT(0), AK_PORT_PREPARING, "");
        }
        assert_int_equal(world_events(&w, "FailedAttachDevice"), 1); /* one Event, counted up */
        assert_true(w.event_writes <= 26);
        assert_true(w.event_writes > 10);
}

static void malformed_objects_are_refused(void **state)
{
        (void)state;
        struct watcher_actions actions = {0};
        json_t *pod = json_pack("{s:{s:s, s:s}, s:{s:{s:{s:{s:s}}}}}", "metadata", "uid", UID_A, "name", "vm",
                                "spec", "virtualMachine", "resources", "limits", "cpu", "many");
        struct watcher_event event = {.type = WATCHER_EVENT_POD_PUT, .object = pod};
        assert_int_equal(watcher_core_step(w.core, &event, w.now, w.real, &actions), -EBADMSG);
        assert_int_equal(actions.items[0].type, WATCHER_ACTION_LOG);
        assert_non_null(strstr(actions.items[0].text, "cpu"));
        event = (struct watcher_event){.type = WATCHER_EVENT_POD_PUT};
        assert_int_equal(watcher_core_step(w.core, &event, w.now, w.real, &actions), -EBADMSG);
        event = (struct watcher_event){.type = WATCHER_EVENT_MESSAGE};
        assert_int_equal(watcher_core_step(w.core, &event, w.now, w.real, &actions), -EBADMSG);
        watcher_actions_deinit(&actions);
        json_decref(pod);
}

static void what_is_followed_is_bounded(void **state)
{
        (void)state;
        struct watcher_actions actions = {0};
        struct watcher_core *core;
        struct watcher_core_config config = {.node = "n", .max_vms = 3, .max_ports = 2};
        struct watcher_core_stats stats;
        assert_int_equal(watcher_core_new(&core, &config), 0);
        for (int i = 0; i < 10; i++) {
                struct ak_message *m = ak_message_new(ak_message_vm_status);
                (void)snprintf(m->vm_status.pod_uid, sizeof(m->vm_status.pod_uid), "pod-%d", i);
                m->vm_status.phase = AK_VM_PHASE_RUNNING;
                struct watcher_event event = {.type = WATCHER_EVENT_MESSAGE, .message = m};
                assert_int_equal(watcher_core_step(core, &event, w.now, w.real, &actions),
                                 i < 3 ? 0 : -ENOSPC);
                ak_message_free(m);
        }
        for (int i = 0; i < 1000; i++) {
                struct ak_message *m = ak_message_new(ak_message_nic_status);
                (void)snprintf(m->nic_status.pod_uid, sizeof(m->nic_status.pod_uid), "pod-0");
                (void)snprintf(m->nic_status.port_id, sizeof(m->nic_status.port_id), "port-%d", i);
                m->nic_status.state = AK_NIC_READY;
                struct watcher_event event = {.type = WATCHER_EVENT_MESSAGE, .message = m};
                (void)watcher_core_step(core, &event, w.now, w.real, &actions);
                ak_message_free(m);
        }
        watcher_core_stats(core, &stats);
        assert_int_equal(stats.vms, 3);
        assert_true(stats.nics <= 4 * AK_MAX_NICS);
        watcher_actions_deinit(&actions);
        watcher_core_free(core);
}

static json_t *node_facts(const char *cpu)
{
        return json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}}}", "apiVersion", "v1", "kind", "Node", "metadata",
                         "name", "node1", "status", "capacity", "cpu", cpu);
}

static struct world_call *only_call(enum watcher_call_type type)
{
        struct world_call *call = zlistx_first(w.calls);
        assert_int_equal(zlistx_size(w.calls), 1);
        assert_int_equal(call->type, type);
        return call;
}

static void tell_node(const char *cpu)
{
        struct watcher_event event = {.type = WATCHER_EVENT_NODE, .object = node_facts(cpu)};
        world_step(&w, &event);
        json_decref(event.object);
}

static void the_node_registers_itself(void **state)
{
        (void)state;
        w.hold = true;
        tell_node("2");
        struct world_call *call = only_call(WATCHER_CALL_NODE_CREATE);
        const json_t *condition =
            json_array_get(json_object_get(json_object_get(call->body, "status"), "conditions"), 0);
        assert_string_equal(json_string_value(json_object_get(condition, "status")), "False");
        world_answer(&w, WATCHER_CALL_NODE_CREATE, WATCHER_RETRY);
        world_advance(&w, SEC);
        world_answer(&w, WATCHER_CALL_NODE_CREATE, WATCHER_CONFLICT); /* it is there from before */
        world_answer(&w, WATCHER_CALL_NODE_GET, WATCHER_OK);
        world_peer(&w, 0);
        world_peer(&w, 1);
        call = only_call(WATCHER_CALL_NODE_STATUS);
        condition = json_array_get(json_object_get(json_object_get(call->body, "status"), "conditions"), 0);
        assert_string_equal(json_string_value(json_object_get(condition, "status")), "True");
        world_answer(&w, WATCHER_CALL_NODE_STATUS, WATCHER_OK);
        assert_int_equal(zlistx_size(w.calls), 0);
        tell_node("4");
        call = only_call(WATCHER_CALL_NODE_STATUS);
        assert_non_null(json_object_get(json_object_get(call->body, "status"), "capacity"));
        assert_null(json_object_get(json_object_get(call->body, "status"), "conditions"));
        world_answer(&w, WATCHER_CALL_NODE_STATUS, WATCHER_OK);
        world_advance(&w, 61 * SEC);
        world_answer(&w, WATCHER_CALL_NODE_GET, WATCHER_GONE); /* somebody deleted it */
        only_call(WATCHER_CALL_NODE_CREATE);
        world_answer(&w, WATCHER_CALL_NODE_CREATE, WATCHER_OK);
        w.hold = false;
}

static void a_watcher_before_us_had_started_it_again(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "vm.status/" UID_A));
        m->vm_status.attempt = 3;
        world_restart(&w);
        world_sync(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, 0);
        world_say(&w, m, 1);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, 3); /* no higher: it runs */
        size_t publishes = w.publishes;
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        assert_int_equal(w.publishes, publishes);
        world_vm(&w, UID_A, AK_VM_PHASE_SHUTOFF);
        world_advance(&w, 2 * SEC);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, 4);
}

/* Said again under its own key: a higher one would be a wish to start it anew. */
static void a_wish_under_way_is_repeated_under_its_key(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_STARTING);
        struct ak_vm_diff before = *world_vm_wish(&w, UID_A);
        size_t publishes = w.publishes;
        world_advance(&w, 60 * SEC);
        assert_true(w.publishes > publishes);
        assert_int_equal(world_vm_wish(&w, UID_A)->generation, before.generation);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, before.attempt);
}

/* The watcher before us was further, and what it asked for is under way: ours would not be listened to. */
static void a_repeated_wish_steps_past_a_later_one_once(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_STARTING);
        uint64_t attempt = world_vm_wish(&w, UID_A)->attempt;
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "vm.status/" UID_A));
        m->vm_status.attempt = attempt + 3;
        world_say(&w, m, 1);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt);
        world_advance(&w, 60 * SEC);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt + 4);
        world_vm(&w, UID_A, AK_VM_PHASE_STARTING); /* of that key */
        world_advance(&w, 60 * SEC);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, attempt + 4);
}

static void a_deletion_steps_past_a_later_wish(void **state)
{
        (void)state;
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "vm.status/" UID_A));
        m->vm_status.generation += 7;
        world_restart(&w);
        world_say(&w, ak_message_dup(m), 1);
        world_pod_delete(&w, UID_A, 0);
        world_sync(&w);
        assert_int_equal(world_vm_wish(&w, UID_A)->wanted, AK_VM_WANTED_ABSENT);
        assert_int_equal(world_vm_wish(&w, UID_A)->generation, m->vm_status.generation);
        assert_int_equal(world_vm_wish(&w, UID_A)->attempt, m->vm_status.attempt + 1);
        ak_message_free(m);
}

static const char *node_slots(const struct world_call *call, const char *list)
{
        const json_t *status = json_object_get(call->body, "status");
        return json_string_value(json_object_get(json_object_get(status, list), "alkaid.io/nic-slots"));
}

static void say_slots(uint64_t slots_free)
{
        struct ak_message *m = ak_message_dup(zhashx_lookup(w.said, "vm.status/" UID_A));
        m->vm_status.nic_slots = 64;
        m->vm_status.nic_slots_free = slots_free;
        world_say(&w, m, 1);
}

static void the_node_counts_hotplug_slots(void **state)
{
        (void)state;
        tell_node("2");
        world_start(&w, UID_A, "vm", "eth0=" PORT(0), NULL);
        world_vm(&w, UID_A, AK_VM_PHASE_RUNNING);
        world_settle(&w);
        world_advance(&w, 20 * SEC);
        w.hold = true;
        say_slots(63);
        struct world_call *call = zlistx_last(w.calls);
        assert_int_equal(call->type, WATCHER_CALL_NODE_STATUS);
        assert_string_equal(node_slots(call, "capacity"), "64");
        assert_string_equal(node_slots(call, "allocatable"), "63");
        world_answer(&w, WATCHER_CALL_NODE_STATUS, WATCHER_OK);
        /* Soon again, and again: one write for both. */
        say_slots(62);
        world_advance(&w, SEC);
        say_slots(61);
        assert_int_equal(world_calls(&w, WATCHER_CALL_NODE_STATUS), 0);
        world_advance(&w, 9 * SEC);
        assert_int_equal(world_calls(&w, WATCHER_CALL_NODE_STATUS), 1);
        call = zlistx_last(w.calls);
        assert_string_equal(node_slots(call, "allocatable"), "61");
        world_answer(&w, WATCHER_CALL_NODE_STATUS, WATCHER_OK);
        w.hold = false;
        world_settle(&w);
}

static void configuration_and_events_survive_json(void **state)
{
        (void)state;
        char error[AK_SCHEMA_ERROR_SIZE];
        struct watcher_core_config config = {.node = "node1", .seed = 99, .republish_us = 7}, back;
        json_t *json = watcher_core_config_to_json(&config);
        assert_int_equal(watcher_core_config_from_json(json, &back, error), 0);
        assert_memory_equal(&config, &back, sizeof(config));
        json_decref(json);
        struct watcher_event event;
        json = json_pack("{s:s}", "type", "nonsense");
        assert_int_equal(watcher_event_from_json(json, &event, error), -EBADMSG);
        json_decref(json);
        json = json_pack("{s:s, s:s}", "type", "answer", "op", "12x");
        assert_int_equal(watcher_event_from_json(json, &event, error), -EBADMSG);
        json_decref(json);
        struct ak_message *m = ak_message_new(ak_message_vm_status);
        uint8_t *body = NULL;
        size_t len = 0;
        (void)snprintf(m->vm_status.pod_uid, sizeof(m->vm_status.pod_uid), "%s", UID_A);
        assert_int_equal(ak_message_encode(m, &body, &len), 0);
        json = watcher_event_json_of_body("hypervisor", 7, "vm.status/" UID_A, body, len);
        assert_string_equal(json_string_value(json_object_get(json, "type")), "message");
        assert_string_equal(json_string_value(json_object_get(json, "epoch")), "7");
        assert_null(watcher_event_json_of_body("hypervisor", 7, "vm.status/other", body, len));
        json_decref(json);
        free(body);
        ak_message_free(m);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
            T(start_step_by_step),
            T(a_plug_leaves_the_vm_wish_alone),
            T(a_nic_added_before_the_start_is_a_boot_nic),
            T(a_failed_start_is_tried_again),
            T(restart_policy_always),
            T(that_it_was_up_is_part_of_the_wish),
            T(restart_policy_never),
            T(restart_policy_on_failure),
            T(a_crash_that_never_is_to_be_restarted_tells_why),
            T(power_spec),
            T(pod_deleted_in_order),
            T(a_pod_deleted_before_it_was_started),
            T(a_pod_that_vanished_is_torn_down),
            T(a_pod_that_vanished_while_no_watcher_ran),
            T(an_orphan_vm_is_removed_after_the_lists_only),
            T(a_pod_whose_port_came_first_is_no_orphan),
            T(a_late_answer_does_not_bring_a_pod_back),
            T(an_answer_about_a_vm_that_is_forgotten),
            T(an_unknown_answer_and_a_server_that_forgets),
            T(only_the_difference_is_written),
            T(conditions_of_others_stay),
            T(events_are_counted_and_bounded),
            T(malformed_objects_are_refused),
            T(what_is_followed_is_bounded),
            T(the_node_registers_itself),
            T(the_node_counts_hotplug_slots),
            T(a_watcher_before_us_had_started_it_again),
            T(a_wish_under_way_is_repeated_under_its_key),
            T(a_repeated_wish_steps_past_a_later_one_once),
            T(a_deletion_steps_past_a_later_wish),
            T(configuration_and_events_survive_json),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
