/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM: the wish for it, its restarts, and the end of its pod.
 *
 * The attempt of a vm.diff never falls in a pod's life, over generations too: a hypervisor that saw the guest
 * power itself off starts it again only for a higher attempt.
 */
#include <errno.h>
#include <string.h>

#include "services/watcher/core_internal.h"

struct watcher_vm *watcher_vm_new(struct watcher_core *core, const char *uid)
{
        struct watcher_vm *vm = calloc(1, sizeof(*vm));
        if (!vm)
                return NULL;
        uint64_t seed = watcher_seed(core, uid);
        W_COPY(vm->uid, uid);
        ak_backoff_init(&vm->backoff, AK_BACKOFF_BASE_US, AK_BACKOFF_CAP_US, seed);
        watcher_task_init(&vm->status_task, seed);
        watcher_task_init(&vm->delete_task, seed);
        return vm;
}

struct watcher_vm *watcher_vm_free(struct watcher_vm *vm)
{
        if (!vm)
                return NULL;
        for (size_t i = 0; i < vm->nic_count; i++)
                watcher_nic_free(vm->nics[i]);
        free(vm->nics);
        json_decref(vm->pod);
        json_decref(vm->sent);
        watcher_pod_free(vm->spec);
        ak_message_free(vm->wish);
        free(vm);
        return NULL;
}

/* ------------------------------------------------------------------ reports */

bool watcher_vm_answered(const struct watcher_vm *vm)
{
        return vm->have_status && vm->wish &&
               watcher_key_answers(vm->status.generation, vm->status.attempt, vm->wish->vm_diff.generation,
                                   vm->wish->vm_diff.attempt);
}

bool watcher_vm_is_down(const struct watcher_vm *vm)
{
        if (!vm->have_status)
                return false;
        switch (vm->status.phase) {
        case AK_VM_PHASE_ABSENT:
        case AK_VM_PHASE_WAITING:
        case AK_VM_PHASE_PULLING:
        case AK_VM_PHASE_SHUTOFF:
        case AK_VM_PHASE_CRASHED:
        case AK_VM_PHASE_FAILED:
                return true;
        default:
                return false;
        }
}

bool watcher_vm_surely_down(const struct watcher_vm *vm)
{
        return watcher_vm_is_down(vm) && (!vm->wish || watcher_vm_answered(vm));
}

bool watcher_vm_is_absent(const struct watcher_vm *vm)
{
        return watcher_vm_answered(vm) && vm->status.phase == AK_VM_PHASE_ABSENT;
}

static bool wants(const struct watcher_vm *vm, enum ak_vm_wanted wanted)
{
        return vm->wish && vm->wish->vm_diff.wanted == wanted;
}

/* The life of the VM as events on the pod, in the words that kubectl users know. */
static void tell(struct watcher_core *core, struct watcher_vm *vm)
{
        const struct ak_vm_status *s = &vm->status;
        const char *image = vm->spec ? vm->spec->vm->vm_diff.image : "";
        bool pulled = vm->pulling && (s->phase == AK_VM_PHASE_WAITING || s->phase == AK_VM_PHASE_STARTING ||
                                      s->phase == AK_VM_PHASE_RUNNING);
        bool failed_anew = s->phase == AK_VM_PHASE_FAILED &&
                           (vm->told_phase != AK_VM_PHASE_FAILED || vm->told_attempt != s->attempt);
        if (s->phase == AK_VM_PHASE_PULLING && !vm->pulling)
                watcher_event_post(core, vm, false, "Pulling", "pulling image \"%.200s\"", image);
        if (pulled)
                watcher_event_post(core, vm, false, "Pulled", "image \"%.200s\" is there", image);
        vm->pulling = s->phase == AK_VM_PHASE_PULLING;
        if (s->phase == AK_VM_PHASE_RUNNING && !vm->told_started)
                watcher_event_post(core, vm, false, "Started", "VM started (%s)", s->accel);
        if (failed_anew)
                watcher_event_post(core, vm, true, s->reason[0] ? s->reason : "FailedStart",
                                   "VM could not be started: %.300s", s->message);
        if (s->phase == AK_VM_PHASE_CRASHED && vm->told_phase != AK_VM_PHASE_CRASHED)
                watcher_event_post(core, vm, true, s->reason[0] ? s->reason : "Crashed", "VM crashed: %.300s",
                                   s->message);
        if (s->phase == AK_VM_PHASE_RUNNING)
                vm->told_started = true;
        else if (watcher_vm_is_down(vm))
                vm->told_started = false;
        vm->told_phase = s->phase;
        vm->told_attempt = s->attempt;
}

void watcher_vm_status(struct watcher_core *core, struct watcher_vm *vm, const struct ak_vm_status *status,
                       uint64_t epoch)
{
        if (vm->have_status && !watcher_key_answers(status->generation, status->attempt,
                                                    vm->status.generation, vm->status.attempt))
                return;
        bool changed = !vm->have_status || vm->status.phase != status->phase;
        watcher_node_count(core, vm, false);
        vm->have_status = true;
        vm->status = *status;
        vm->status_epoch = epoch;
        watcher_node_count(core, vm, true);
        watcher_vm_touch(core, vm);
        if (!vm->name[0]) {
                W_COPY(vm->name_space, status->pod_namespace);
                W_COPY(vm->name, status->pod_name);
        }
        if (changed) {
                vm->urgent = true;
                vm->running_us = status->phase == AK_VM_PHASE_RUNNING ? core->now : 0;
                watcher_log(core, AK_LOG_INFO, "vm_phase", vm, NULL, "%s %s %s",
                            ak_vm_phase_name(status->phase), status->reason, status->message);
        }
        if (vm->spec)
                tell(core, vm);
}

/* ------------------------------------------------------------------ what is wanted */

/* Is a port of the pod that nobody can find about to be, or already, given back? */
static bool pod_is_missed(const struct watcher_core *core, const struct watcher_vm *vm)
{
        bool reason = vm->have_status && vm->status.phase != AK_VM_PHASE_ABSENT;
        for (size_t i = 0; i < vm->nic_count; i++) {
                const struct watcher_port *port = watcher_port_find(core, vm->nics[i]->port_id);
                bool ours = port && strcmp(port->pod_uid, vm->uid) == 0;
                if (ours && port->phase == W_PORT_BOUND)
                        return false; /* the API still has the pod */
                reason = reason || vm->nics[i]->wish;
        }
        return reason;
}

/* False: nothing can be said yet. */
static bool wanted_now(struct watcher_core *core, struct watcher_vm *vm, enum ak_vm_wanted *out)
{
        *out = AK_VM_WANTED_ABSENT;
        if (vm->pod && !vm->spec->deleting) {
                *out = vm->terminal ? AK_VM_WANTED_SHUTDOWN : vm->spec->vm->vm_diff.wanted;
                return true;
        }
        if (vm->pod || vm->vanished || vm->wish)
                return true;
        return pod_is_missed(core, vm) && watcher_orphan_due(core, vm, &vm->unknown_us);
}

static int list_boot_ports(const struct watcher_vm *vm, struct ak_vm_diff *diff)
{
        const struct watcher_pod *spec = vm->spec;
        int r = 0;
        ak_textlist_clear(&diff->boot_ports);
        for (size_t i = 0; i < spec->nic_count && r == 0; i++)
                if (spec->nics[i].port_id[0])
                        r = AK_TEXTLIST_ADD(&diff->boot_ports, spec->nics[i].port_id);
        return r;
}

static bool up(enum ak_vm_wanted wanted)
{
        return wanted == AK_VM_WANTED_RUNNING || wanted == AK_VM_WANTED_PAUSED;
}

/*
 * The NICs that the VM starts with: what the pod lists until the VM is started, then as they were, or a NIC
 * plugged later would look like a change of the VM. A restart lists them anew (try_again()).
 */
static int fill_boot_ports(const struct watcher_vm *vm, struct ak_vm_diff *diff)
{
        const struct ak_vm_diff *last = vm->wish ? &vm->wish->vm_diff : NULL;
        bool up_before = last && up(last->wanted);
        bool starting = !vm->have_status || vm->status.phase == AK_VM_PHASE_WAITING ||
                        vm->status.phase == AK_VM_PHASE_PULLING || vm->status.phase == AK_VM_PHASE_FAILED;
        if (up_before && !starting)
                return AK_TEXTLIST_COPY(&diff->boot_ports, &last->boot_ports);
        return list_boot_ports(vm, diff);
}

static uint64_t grace_of(const struct watcher_vm *vm, enum ak_vm_wanted wanted)
{
        if (wanted == AK_VM_WANTED_SHUTDOWN)
                return vm->spec->shutdown_grace_ms;
        if (wanted != AK_VM_WANTED_ABSENT)
                return 0;
        if (vm->wish && watcher_vm_is_absent(vm)) /* already gone: no reason to ask in another way */
                return vm->wish->vm_diff.grace_ms;
        return vm->pod ? vm->spec->grace_ms : 0;
}

/* The wish as it should be, with the key of the one before. */
static struct ak_message *wish_new(const struct watcher_vm *vm, enum ak_vm_wanted wanted)
{
        const struct ak_vm_diff *last = vm->wish ? &vm->wish->vm_diff : NULL;
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        if (wanted == AK_VM_WANTED_ABSENT)
                m = ak_message_new(ak_message_vm_diff);
        else
                m = ak_message_dup(vm->spec->vm);
        if (!m)
                return NULL;
        struct ak_vm_diff *diff = &m->vm_diff;
        if (wanted != AK_VM_WANTED_ABSENT && fill_boot_ports(vm, diff) < 0)
                return NULL;
        diff->grace_ms = grace_of(vm, wanted);
        diff->wanted = wanted;
        W_COPY(diff->pod_uid, vm->uid);
        W_COPY(diff->pod_namespace, vm->name_space);
        W_COPY(diff->pod_name, vm->name);
        diff->generation = last ? last->generation : 0;
        diff->attempt = last ? last->attempt : 0;
        diff->started = up(wanted) && (last ? last->started && up(last->wanted) : vm->told_started);
        return AK_STEAL(m);
}

static void publish(struct watcher_core *core, struct watcher_vm *vm)
{
        vm->published_us = core->now;
        watcher_publish(core, vm, vm->wish);
}

/* A report that speaks of a later wish than ours: take its place. */
static void step_past(struct watcher_vm *vm)
{
        struct ak_vm_diff *wish = &vm->wish->vm_diff;
        if (!vm->have_status ||
            watcher_key_answers(wish->generation, wish->attempt, vm->status.generation, vm->status.attempt))
                return;
        wish->generation = vm->status.generation;
        wish->attempt = vm->status.attempt + 1;
}

static void wish_set(struct watcher_core *core, struct watcher_vm *vm, struct ak_message *wish)
{
        struct ak_vm_diff *diff = &wish->vm_diff;
        bool first = !vm->wish;
        if (vm->generation > diff->generation)
                diff->generation = vm->generation;
        else if (!first)
                diff->attempt++;
        ak_message_free(vm->wish);
        vm->wish = wish;
        if (diff->wanted == AK_VM_WANTED_ABSENT)
                step_past(vm);
        ak_backoff_reset(&vm->backoff);
        vm->retry_us = 0;
        publish(core, vm);
}

static void tell_killing(struct watcher_core *core, struct watcher_vm *vm)
{
        if (!vm->pod && !vm->vanished)
                watcher_event_post(core, vm, true, "OrphanedVM", "VM %s belongs to no pod; it is removed",
                                   vm->uid);
        else if (vm->have_status && !watcher_vm_is_down(vm))
                watcher_event_post(core, vm, false, "Killing", "stopping the VM");
}

static void wish_update(struct watcher_core *core, struct watcher_vm *vm)
{
        enum ak_vm_wanted wanted;
        if (!core->synced_us || !wanted_now(core, vm, &wanted))
                return;
        struct ak_message *wish = wish_new(vm, wanted);
        if (!wish) {
                core->error = -ENOMEM;
                return;
        }
        if (vm->wish && ak_message_equal(vm->wish, wish)) {
                ak_message_free(wish);
                return;
        }
        bool turned = !wants(vm, wanted);
        if (turned && wanted == AK_VM_WANTED_ABSENT)
                tell_killing(core, vm);
        wish_set(core, vm, wish);
        if (turned)
                watcher_log(core, AK_LOG_INFO, "vm_wanted", vm, NULL, "%s generation %llu",
                            ak_vm_wanted_name(wanted), (unsigned long long)vm->wish->vm_diff.generation);
}

/* ------------------------------------------------------------------ retry, restart, repetition */

enum verdict { V_WAIT, V_SETTLED, V_RETRY, V_RESTART, V_ENDED };

static enum verdict ended_by_itself(const struct watcher_vm *vm)
{
        bool crashed = vm->status.phase == AK_VM_PHASE_CRASHED;
        enum watcher_restart restart = vm->spec->restart;
        if (restart == W_RESTART_ALWAYS || (restart == W_RESTART_ON_FAILURE && crashed))
                return V_RESTART;
        return V_ENDED;
}

static enum verdict running_verdict(const struct watcher_vm *vm, enum ak_vm_phase goal)
{
        switch (vm->status.phase) {
        case AK_VM_PHASE_FAILED:
        case AK_VM_PHASE_ABSENT:
                return V_RETRY;
        case AK_VM_PHASE_SHUTOFF:
        case AK_VM_PHASE_CRASHED:
                return ended_by_itself(vm);
        default:
                return vm->status.phase == goal ? V_SETTLED : V_WAIT;
        }
}

static enum verdict verdict(const struct watcher_core *core, const struct watcher_vm *vm)
{
        if (!watcher_vm_answered(vm) || !watcher_confirmed(core, W_HYPERVISOR, vm->status_epoch))
                return V_WAIT;
        switch (vm->wish->vm_diff.wanted) {
        case AK_VM_WANTED_RUNNING:
                return running_verdict(vm, AK_VM_PHASE_RUNNING);
        case AK_VM_WANTED_PAUSED:
                return running_verdict(vm, AK_VM_PHASE_PAUSED);
        case AK_VM_WANTED_SHUTDOWN:
                return watcher_vm_is_down(vm) ? V_SETTLED : V_WAIT;
        case AK_VM_WANTED_ABSENT:
                break;
        }
        if (vm->status.phase == AK_VM_PHASE_FAILED)
                return V_RETRY;
        return vm->status.phase == AK_VM_PHASE_ABSENT ? V_SETTLED : V_WAIT;
}

static void try_again(struct watcher_core *core, struct watcher_vm *vm, bool restart)
{
        struct ak_vm_diff *wish = &vm->wish->vm_diff;
        step_past(vm);
        wish->attempt = (wish->attempt > vm->status.attempt ? wish->attempt : vm->status.attempt) + 1;
        if (wish->wanted != AK_VM_WANTED_ABSENT && list_boot_ports(vm, wish) < 0) {
                core->error = -ENOMEM;
                return;
        }
        wish->started = false;
        vm->retry_us = 0;
        vm->restarts += restart;
        vm->urgent = true;
        publish(core, vm);
}

static void retry(struct watcher_core *core, struct watcher_vm *vm, enum verdict v)
{
        if (v != V_RETRY && v != V_RESTART) {
                vm->retry_us = 0;
                return;
        }
        if (!vm->retry_us) {
                vm->retry_us = core->now + ak_backoff_next(&vm->backoff);
                vm->urgent = true;
        }
        if (core->now >= vm->retry_us)
                try_again(core, vm, v == V_RESTART);
        else
                watcher_wake_at(vm, vm->retry_us);
}

static void forgive(struct watcher_core *core, struct watcher_vm *vm)
{
        if (!vm->running_us || !vm->backoff.failures)
                return;
        if (core->now >= vm->running_us + core->config.stable_us)
                ak_backoff_reset(&vm->backoff);
        else
                watcher_wake_at(vm, vm->running_us + core->config.stable_us);
}

static void repeat(struct watcher_core *core, struct watcher_vm *vm, enum verdict v)
{
        uint64_t due = vm->published_us + core->config.republish_us;
        if (v != V_WAIT)
                return;
        if (core->now >= due) {
                step_past(vm);
                publish(core, vm);
                due = core->now + core->config.republish_us;
        }
        watcher_wake_at(vm, due);
}

/*
 * What is reported answers a watcher before us, who was further. Its key is taken over as it is (a higher one
 * would start a VM that has just ended): or all that is said of ours would be older, and not believed.
 */
static void take_over(struct watcher_core *core, struct watcher_vm *vm)
{
        struct ak_vm_diff *wish = &vm->wish->vm_diff;
        if (watcher_key_answers(wish->generation, wish->attempt, vm->status.generation, vm->status.attempt))
                return;
        wish->generation = vm->status.generation;
        wish->attempt = vm->status.attempt;
        publish(core, vm);
}

/*
 * Said with the wish, or a hypervisor service that was away while the VM ended could not know that it ever
 * ran, and would start it again whatever its restartPolicy. The key stays: nothing else is wished.
 */
static void note_started(struct watcher_core *core, struct watcher_vm *vm)
{
        struct ak_vm_diff *wish = &vm->wish->vm_diff;
        bool seen = vm->status.phase == AK_VM_PHASE_RUNNING || vm->status.phase == AK_VM_PHASE_PAUSED;
        if (!seen || wish->started || !up(wish->wanted) || !watcher_vm_answered(vm))
                return;
        wish->started = true;
        publish(core, vm);
}

static void follow(struct watcher_core *core, struct watcher_vm *vm)
{
        note_started(core, vm);
        enum verdict v = verdict(core, vm);
        if (v == V_SETTLED)
                take_over(core, vm);
        if (v == V_ENDED && !vm->terminal) {
                vm->terminal = true;
                vm->terminal_failed = vm->status.phase == AK_VM_PHASE_CRASHED;
                vm->urgent = true;
                wish_update(core, vm);
                v = V_WAIT;
        }
        retry(core, vm, v);
        forgive(core, vm);
        repeat(core, vm, v);
}

/* ------------------------------------------------------------------ the end */

static void delete_pod(struct watcher_core *core, struct watcher_vm *vm)
{
        if (!vm->pod || !vm->spec->deleting || !watcher_vm_is_absent(vm) || !watcher_nics_released(core, vm))
                return;
        if (!watcher_task_ready(core, vm, &vm->delete_task))
                return;
        json_t *body = json_pack("{s:s, s:s, s:i, s:{s:s}}", "kind", "DeleteOptions", "apiVersion", "v1",
                                 "gracePeriodSeconds", 0, "preconditions", "uid", vm->uid);
        if (!body) {
                core->error = -ENOMEM;
                return;
        }
        vm->final = true;
        vm->delete_task.op =
            watcher_vm_call(core, vm, WATCHER_CALL_POD_DELETE, vm->name_space, vm->name, body);
}

bool watcher_vm_over(const struct watcher_vm *vm)
{
        if (vm->pod || vm->nic_count > 0)
                return false;
        if (vm->wish)
                return watcher_vm_is_absent(vm);
        return !vm->have_status || vm->status.phase == AK_VM_PHASE_ABSENT;
}

/* ------------------------------------------------------------------ reconcile */

void watcher_vm_adopt(struct watcher_vm *vm)
{
        const json_t *status = json_object_get(vm->pod, "status");
        const json_t *container = json_array_get(json_object_get(status, "containerStatuses"), 0);
        const char *phase = json_string_value(json_object_get(status, "phase"));
        if (!phase)
                return;
        vm->terminal = strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
        vm->terminal_failed = strcmp(phase, "Failed") == 0;
        json_int_t restarts = json_integer_value(json_object_get(container, "restartCount"));
        vm->restarts = restarts > 0 ? (uint64_t)restarts : 0;
        vm->told_started = json_is_object(json_object_get(json_object_get(container, "state"), "running"));
}

void watcher_vm_reconcile(struct watcher_core *core, struct watcher_vm *vm)
{
        if (vm->pod && !vm->wish)
                watcher_vm_adopt(vm);
        wish_update(core, vm);
        watcher_nics_reconcile(core, vm);
        if (vm->wish)
                follow(core, vm);
        if (vm->pod) {
                watcher_status_write(core, vm);
                delete_pod(core, vm);
        }
}
