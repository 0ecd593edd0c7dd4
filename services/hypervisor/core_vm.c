/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM: from what is wanted and what is there, the next operation.
 *
 * A start needs an image and the ports of its boot NICs; both are waited for side by side, the ports for a
 * bounded time. It is tried once per (generation, attempt). A VM that ended by itself is started again only
 * for a higher attempt: whether it should be is the watcher's decision.
 */
#include <errno.h>
#include <string.h>

#include "services/hypervisor/core_internal.h"

#define STOP_RETRY HV_US(5)
/* A guest that powers off so long after its grace period still does what it was told. */
#define OFF_LATE HV_US(60)

static const struct ak_vm_diff *wish_of(const struct hv_vm *vm)
{
        return vm->wish ? &vm->wish->vm_diff : NULL;
}

bool hv_vm_wanted_absent(const struct hv_vm *vm)
{
        return vm->wish && vm->wish->vm_diff.wanted == AK_VM_WANTED_ABSENT;
}

static void emit_vm_op(struct hv_core *core, struct hv_vm *vm, enum hv_op op)
{
        struct hv_action *a = hv_emit_op(core, vm, op);

        if (!a)
                return;
        vm->op = op;
        vm->op_id = a->id;
}

/* ------------------------------------------------------------------ start */

static bool boot_port(const struct hv_vm *vm, const char *port_id)
{
        const struct ak_vm_diff *wish = wish_of(vm);

        for (uint32_t i = 0; wish && i < wish->boot_ports.count; i++) {
                if (strcmp(wish->boot_ports.items[i], port_id) == 0)
                        return true;
        }
        return false;
}

/* Is the fate of each boot NIC's port known? */
static bool ports_settled(const struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);

        for (uint32_t i = 0; i < wish->boot_ports.count; i++) {
                const struct hv_nic *nic = hv_vm_find_nic(vm, wish->boot_ports.items[i]);

                if (nic && hv_nic_unwanted(vm, nic))
                        continue;
                if (nic && nic->port && nic->port->port_status.state == AK_PORT_FAILED)
                        continue;
                if (!nic || !hv_nic_port_usable(nic))
                        return false;
        }
        return true;
}

static bool ports_awaited(const struct hv_core *core, const struct hv_vm *vm)
{
        return core->now_us < vm->ports_until_us && !ports_settled(vm);
}

static void fetch_image(struct hv_core *core, struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);
        struct hv_image_request *request = calloc(1, sizeof(*request));
        struct hv_action *a = request ? hv_emit(core, HV_ACTION_FETCH_IMAGE) : NULL;

        if (!a) {
                free(request);
                core->error = -ENOMEM;
                return;
        }
        request->id = ++core->next_id;
        HV_COPY(request->pod_uid, vm->uid);
        HV_COPY(request->image, wish->image);
        HV_COPY(request->sha256, wish->image_sha256);
        request->pull = wish->image_pull;
        a->image = request;
        HV_COPY(a->pod_uid, vm->uid);
        vm->image_state = HV_IMAGE_FETCHING;
        vm->image_id = request->id;
        vm->image_percent = 0;
}

static void end_start(struct hv_vm *vm, enum ak_vm_phase ended, const char *reason, const char *message)
{
        vm->starting = vm->start_refused = false;
        vm->image_state = HV_IMAGE_NONE;
        vm->ended = ended;
        hv_fault_set(&vm->fault, reason, message);
}

static void begin_start(struct hv_core *core, struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);

        vm->starting = true;
        vm->start_tried = (struct hv_key){wish->generation, wish->attempt, true};
        vm->ports_until_us = core->now_us + core->config.boot_wait_us;
        vm->ended = AK_VM_PHASE_ABSENT;
        vm->cleaned = vm->shutdown_sent = false;
        vm->stop_since_us = vm->told_off_until_us = 0;
        hv_fault_set(&vm->fault, "", "");
        if (!wish->image[0]) {
                end_start(vm, AK_VM_PHASE_FAILED, "ImageNotFound", "virtualMachine.image is empty");
                return;
        }
        fetch_image(core, vm);
}

static uint64_t slots_of(const struct ak_vm_diff *wish)
{
        uint64_t slots = wish->nic_slots ? wish->nic_slots : 16;

        return slots > HV_MAX_SLOTS ? HV_MAX_SLOTS : slots;
}

/* The NICs that the domain starts with: boot NICs whose ports are ready, one per slot. */
static void boot_nics(struct hv_vm *vm, struct hv_domain_spec *spec)
{
        bool used[HV_MAX_SLOTS] = {0};

        for (size_t i = 0; i < vm->nic_count && spec->nic_count < HV_MAX_SLOTS; i++) {
                struct hv_nic *nic = vm->nics[i];
                struct hv_nic_spec *out = &spec->nics[spec->nic_count];

                if (!hv_nic_wanted(vm, nic) || !boot_port(vm, nic->port_id) || !hv_nic_port_usable(nic))
                        continue;
                hv_nic_spec_of(nic, out);
                if (out->slot >= spec->head.nic_slots || used[out->slot])
                        continue;
                used[out->slot] = true;
                spec->nic_count++;
                hv_key_of_nic(nic, &nic->attach_tried);
                nic->attach_ifindex = hv_nic_port_ifindex(nic);
                nic->attach_failed = nic->lost = false;
                nic->op = HV_OP_START;
        }
}

/* With what cloud-init is to be told. NULL: out of memory. */
static struct hv_domain_spec *spec_new(const struct ak_vm_diff *wish)
{
        struct hv_domain_spec *spec = calloc(1, sizeof(*spec));

        if (!spec)
                return NULL;
        HV_COPY(spec->head.public_key, wish->public_key ? wish->public_key : "");
        if (wish->user_data && !(spec->head.user_data = strdup(wish->user_data)))
                return hv_domain_spec_free(spec);
        return spec;
}

static void emit_start(struct hv_core *core, struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);
        struct hv_domain_spec *spec = spec_new(wish);
        struct hv_action *a = spec ? hv_emit_op(core, vm, HV_OP_START) : NULL;

        if (!a) {
                hv_domain_spec_free(spec);
                core->error = -ENOMEM;
                return;
        }
        HV_COPY(spec->head.pod_uid, vm->uid);
        HV_COPY(spec->head.pod_namespace, vm->pod_namespace);
        HV_COPY(spec->head.pod_name, vm->pod_name);
        spec->head.generation = wish->generation;
        spec->head.nic_slots = slots_of(wish);
        spec->head.started_us = core->real_us;
        spec->head.vcpus = wish->cpu_milli ? (wish->cpu_milli + 999) / 1000 : 1;
        spec->head.memory_bytes = wish->memory_bytes ? wish->memory_bytes : core->config.default_memory;
        HV_COPY(spec->head.image_path, vm->image.path);
        HV_COPY(spec->head.image_format, vm->image.format);
        boot_nics(vm, spec);
        a->domain = spec;
        vm->op = HV_OP_START;
        vm->op_id = a->id;
        vm->nic_slots = spec->head.nic_slots;
}

/*
 * A start is tried once per key; after the guest ended by itself only a higher attempt counts. A wish that
 * says "started" is never one for another start, however its attempt compares: a watcher that was started
 * anew counts from 0 until it takes over what is reported.
 */
static bool may_start(const struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);
        struct hv_key key = {wish->generation, wish->attempt, true};

        if (wish->started)
                return !vm->start_tried.set;
        if (vm->ended == AK_VM_PHASE_SHUTOFF || vm->ended == AK_VM_PHASE_CRASHED)
                return !vm->start_tried.set || wish->attempt > vm->start_tried.attempt;
        return hv_key_newer(&key, &vm->start_tried);
}

/* It powered off as it was told to before it was wanted again: that is no end by itself. */
static bool went_off_as_told(const struct hv_core *core, const struct hv_vm *vm)
{
        return vm->ended == AK_VM_PHASE_SHUTOFF && core->now_us < vm->told_off_until_us;
}

/*
 * The watcher saw it run, and there is no domain: this start is over. Where the service was away when it
 * ended (or the host was), nobody knows how: it counts as a failure, as a container does that the kubelet has
 * lost.
 */
static void end_unseen(const struct hv_core *core, struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);

        if (!wish->started || vm->starting || vm->start_tried.set || went_off_as_told(core, vm))
                return;
        vm->start_tried = (struct hv_key){wish->generation, wish->attempt, true};
        if (vm->ended != AK_VM_PHASE_ABSENT)
                return;
        vm->ended = AK_VM_PHASE_CRASHED;
        hv_fault_set(&vm->fault, "EndedUnseen", "the VM ended while this service was away");
}

static void run_vm(struct hv_core *core, struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);

        if (vm->state == HV_DOMAIN_NONE) {
                end_unseen(core, vm);
                if (!vm->starting && may_start(vm))
                        begin_start(core, vm);
                if (vm->starting && !vm->start_refused && vm->image_state == HV_IMAGE_READY &&
                    !ports_awaited(core, vm))
                        emit_start(core, vm);
                return;
        }
        vm->shutdown_sent = false;
        vm->stop_since_us = 0;
        if (wish->wanted == AK_VM_WANTED_RUNNING && vm->state == HV_DOMAIN_PAUSED)
                emit_vm_op(core, vm, HV_OP_RESUME);
        else if (wish->wanted == AK_VM_WANTED_PAUSED && vm->state == HV_DOMAIN_RUNNING)
                emit_vm_op(core, vm, HV_OP_SUSPEND);
}

/* ------------------------------------------------------------------ stop */

static uint64_t stop_deadline(const struct hv_vm *vm)
{
        uint64_t at = vm->stop_since_us + wish_of(vm)->grace_ms * 1000;

        return vm->destroy_after_us > at ? vm->destroy_after_us : at;
}

static void stop_domain(struct hv_core *core, struct hv_vm *vm)
{
        if (!vm->stop_since_us)
                vm->stop_since_us = core->now_us;
        if (core->now_us < vm->destroy_after_us)
                return;
        if (core->now_us >= stop_deadline(vm) || vm->state == HV_DOMAIN_PAUSED) {
                emit_vm_op(core, vm, HV_OP_DESTROY);
        } else if (!vm->shutdown_sent) {
                vm->shutdown_sent = true;
                vm->told_off_until_us = stop_deadline(vm) + OFF_LATE;
                emit_vm_op(core, vm, HV_OP_SHUTDOWN);
        }
}

static void stop_vm(struct hv_core *core, struct hv_vm *vm, bool remove)
{
        if (vm->starting)
                end_start(vm, AK_VM_PHASE_ABSENT, "", "");
        if (vm->state != HV_DOMAIN_NONE) {
                stop_domain(core, vm);
        } else if (remove && !vm->cleaned) {
                if (core->now_us >= vm->cleanup_after_us)
                        emit_vm_op(core, vm, HV_OP_CLEANUP);
        } else if (!remove && vm->ended == AK_VM_PHASE_ABSENT) {
                vm->ended = AK_VM_PHASE_SHUTOFF;
        }
}

/* ------------------------------------------------------------------ live state */

static void all_nics_gone(struct hv_core *core, struct hv_vm *vm)
{
        for (size_t i = 0; i < vm->nic_count; i++)
                hv_nic_gone(core, vm, vm->nics[i]);
}

static void tell_end(struct hv_vm *vm)
{
        if (vm->stopping_destroyed)
                hv_fault_set(&vm->fault, "Destroyed", "somebody destroyed the domain");
        else if (vm->panicked)
                hv_fault_set(&vm->fault, "GuestPanicked", "the guest's kernel panicked");
}

static void domain_gone(struct hv_core *core, struct hv_vm *vm)
{
        bool was = vm->state != HV_DOMAIN_NONE;

        if (vm->start_refused)
                end_start(vm, AK_VM_PHASE_FAILED, vm->start_fault.reason, vm->start_fault.message);
        vm->known = true;
        vm->state = HV_DOMAIN_NONE;
        vm->uuid[0] = '\0';
        vm->started_us = 0;
        vm->guest_up = false;
        if (was) {
                vm->ended = vm->stopping_crashed || vm->panicked ? AK_VM_PHASE_CRASHED : AK_VM_PHASE_SHUTOFF;
                vm->cleaned = false;
                tell_end(vm);
        }
        vm->panicked = vm->stopping_crashed = vm->stopping_destroyed = vm->shutdown_sent = false;
        vm->stop_since_us = vm->destroy_after_us = 0;
        all_nics_gone(core, vm);
}

/* A guest that stood still could not bind anything: its time starts anew. */
static void set_state(struct hv_core *core, struct hv_vm *vm, enum hv_domain_state state)
{
        if (vm->state == HV_DOMAIN_PAUSED && state == HV_DOMAIN_RUNNING) {
                for (size_t i = 0; i < vm->nic_count; i++) {
                        if (!vm->nics[i]->bound)
                                hv_nic_rebooted(core, vm->nics[i]);
                }
        }
        vm->state = state;
}

static const struct hv_live_nic *live_nic(const struct hv_live_domain *live, const char *port_id)
{
        for (size_t i = 0; i < live->nic_count; i++) {
                if (strcmp(live->nics[i].port_id, port_id) == 0)
                        return &live->nics[i];
        }
        return NULL;
}

static void apply_nics(struct hv_core *core, struct hv_vm *vm, const struct hv_live_domain *live)
{
        for (size_t i = 0; i < live->nic_count; i++) {
                struct hv_nic *nic = hv_vm_get_nic(core, vm, live->nics[i].port_id);

                if (!nic)
                        continue;
                hv_nic_plugged(core, nic, &live->nics[i]);
                hv_nic_tap_seen(core, nic, &live->nics[i]);
        }
        for (size_t i = 0; i < vm->nic_count; i++) {
                struct hv_nic *nic = vm->nics[i];

                if (!live_nic(live, nic->port_id) && nic->op != HV_OP_ATTACH)
                        hv_nic_gone(core, vm, nic);
        }
}

void hv_vm_adopt_start(struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);
        bool up = wish && (wish->wanted == AK_VM_WANTED_RUNNING || wish->wanted == AK_VM_WANTED_PAUSED);

        if (up && vm->state != HV_DOMAIN_NONE && !vm->start_tried.set)
                vm->start_tried = (struct hv_key){wish->generation, wish->attempt, true};
}

void hv_vm_apply_live(struct hv_core *core, struct hv_vm *vm, const struct hv_live_domain *live)
{
        bool found = live && !vm->known;

        if (!live) {
                domain_gone(core, vm);
                return;
        }
        vm->known = true;
        set_state(core, vm, live->head.state);
        vm->starting = vm->start_refused = false;
        vm->ended = AK_VM_PHASE_ABSENT;
        vm->forget_at_us = 0;
        HV_COPY(vm->uuid, live->head.uuid);
        HV_COPY(vm->accel, live->head.accel);
        if (live->head.pod_namespace[0])
                HV_COPY(vm->pod_namespace, live->head.pod_namespace);
        if (live->head.pod_name[0])
                HV_COPY(vm->pod_name, live->head.pod_name);
        vm->started_us = live->head.started_us;
        vm->nic_slots = live->head.nic_slots;
        vm->live_generation = live->head.generation;
        apply_nics(core, vm, live);
        if (!found)
                return;
        hv_vm_adopt_start(vm);
        for (size_t i = 0; i < vm->nic_count; i++)
                hv_nic_found(core, vm->nics[i]);
}

/* ------------------------------------------------------------------ results */

static void start_over(struct hv_vm *vm)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                if (vm->nics[i]->op == HV_OP_START)
                        vm->nics[i]->op = HV_OP_NONE;
        }
}

static void start_done(struct hv_core *core, struct hv_vm *vm, const struct hv_result *result)
{
        start_over(vm);
        if (result->head.error == HV_OK && result->domain) {
                vm->touched = false;
                hv_vm_apply_live(core, vm, result->domain);
                return;
        }
        /* Unless the domain is there nevertheless, it failed. */
        vm->start_refused = true;
        hv_fault_set(&vm->start_fault, "StartFailed", result->head.text);
        hv_inspect(core, vm);
}

static void stop_done(struct hv_core *core, struct hv_vm *vm, const struct hv_result *result)
{
        if (result->head.op == HV_OP_DESTROY &&
            (result->head.error == HV_OK || result->head.error == HV_ERROR_NO_DOMAIN)) {
                domain_gone(core, vm);
                return;
        }
        if (result->head.error == HV_ERROR_NO_DOMAIN)
                hv_inspect(core, vm);
        else if (result->head.error != HV_OK)
                hv_fault_set(&vm->fault, "StopFailed", result->head.text);
        if (result->head.op == HV_OP_DESTROY)
                vm->destroy_after_us = core->now_us + STOP_RETRY;
}

/* Absent means that nothing is left; what cannot be removed is tried again. */
static void cleanup_done(struct hv_core *core, struct hv_vm *vm, const struct hv_result *result)
{
        vm->cleaned = result->head.error == HV_OK;
        vm->cleanup_after_us = vm->cleaned ? 0 : core->now_us + STOP_RETRY;
        hv_fault_set(&vm->fault, vm->cleaned ? "" : "CleanupFailed", vm->cleaned ? "" : result->head.text);
}

void hv_vm_result(struct hv_core *core, struct hv_vm *vm, const struct hv_result *result)
{
        if (vm->op != result->head.op || vm->op_id != result->head.id)
                return;
        vm->op = HV_OP_NONE;
        if (result->head.error == HV_ERROR_CONNECTION) {
                start_over(vm);
                hv_connection_lost(core, vm);
                return;
        }
        switch (result->head.op) {
        case HV_OP_START:
                start_done(core, vm, result);
                break;
        case HV_OP_SHUTDOWN:
        case HV_OP_DESTROY:
                stop_done(core, vm, result);
                break;
        case HV_OP_SUSPEND:
                if (result->head.error == HV_OK)
                        set_state(core, vm, HV_DOMAIN_PAUSED);
                break;
        case HV_OP_RESUME:
                if (result->head.error == HV_OK)
                        set_state(core, vm, HV_DOMAIN_RUNNING);
                break;
        case HV_OP_CLEANUP:
                cleanup_done(core, vm, result);
                break;
        default:
                break;
        }
}

void hv_vm_image_done(struct hv_core *core, struct hv_vm *vm, const struct hv_image_result *image)
{
        (void)core;
        if (!image->path[0]) {
                end_start(vm, AK_VM_PHASE_FAILED, image->reason[0] ? image->reason : "ImagePullFailed",
                          image->message);
                return;
        }
        vm->image_state = HV_IMAGE_READY;
        vm->image_percent = 100;
        vm->image = *image;
}

/* ------------------------------------------------------------------ advance */

static void set_retention(struct hv_core *core, struct hv_vm *vm)
{
        bool over = vm->known && vm->state == HV_DOMAIN_NONE && vm->op == HV_OP_NONE && !vm->starting &&
                    (!vm->wish || (hv_vm_wanted_absent(vm) && vm->cleaned));

        if (!over)
                vm->forget_at_us = 0;
        else if (!vm->forget_at_us)
                vm->forget_at_us = core->now_us + core->config.retain_us;
}

void hv_vm_advance(struct hv_core *core, struct hv_vm *vm)
{
        const struct ak_vm_diff *wish = wish_of(vm);

        if (!core->connected || !vm->known)
                return;
        if (wish && vm->op == HV_OP_NONE && !vm->start_refused) {
                if (wish->wanted == AK_VM_WANTED_ABSENT || wish->wanted == AK_VM_WANTED_SHUTDOWN)
                        stop_vm(core, vm, wish->wanted == AK_VM_WANTED_ABSENT);
                else
                        run_vm(core, vm);
        }
        for (size_t i = 0; i < vm->nic_count; i++)
                hv_nic_advance(core, vm, vm->nics[i]);
        set_retention(core, vm);
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
        return !a || (b && b < a) ? b : a;
}

uint64_t hv_vm_deadline(const struct hv_core *core, const struct hv_vm *vm)
{
        /* It is forgotten with the last of its NICs; until then their deadlines count. */
        uint64_t at = vm->nic_count == 0 ? vm->forget_at_us : 0;

        if (!core->connected || !vm->known || vm->op != HV_OP_NONE)
                return at;
        if (vm->starting && !vm->start_refused && vm->image_state == HV_IMAGE_READY)
                at = at_most(at, vm->ports_until_us);
        if (vm->stop_since_us && vm->wish && vm->state != HV_DOMAIN_NONE)
                at = at_most(at, stop_deadline(vm));
        if (vm->cleanup_after_us && !vm->cleaned)
                at = at_most(at, vm->cleanup_after_us);
        return at;
}
