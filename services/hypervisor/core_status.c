/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.status and nic.status, derived from the state: the one place that decides what the node says.
 *
 * While the driver's truth is unknown (not connected, not yet listed) nothing is derived and the last value
 * stands: "detached" and "absent" must have been seen.
 */
#include <errno.h>
#include <string.h>

#include "services/hypervisor/core_internal.h"

/* Publishes when it differs from the last one, or when asked to say it again. */
static void publish(struct hv_core *core, struct ak_message **last, const struct ak_message *m, bool again)
{
        bool repeated = m && *last && ak_message_equal(*last, m);
        struct ak_message *kept;
        struct hv_action *a;

        if (!m || (repeated && !again))
                return;
        kept = ak_message_dup(m);
        a = kept ? hv_emit(core, HV_ACTION_PUBLISH) : NULL;
        if (!a) {
                ak_message_free(kept);
                core->error = -ENOMEM;
                return;
        }
        a->repeated = repeated;
        a->message = ak_message_dup(m);
        if (!a->message) {
                core->out->count--;
                core->error = -ENOMEM;
        }
        ak_message_free(*last);
        *last = kept;
}

/* ------------------------------------------------------------------ NIC */

static void nic_fault(struct ak_nic_status *s, const char *reason, const char *message)
{
        HV_COPY(s->reason, reason);
        HV_COPY(s->message, message);
}

static void leaving_state(const struct hv_nic *nic, struct ak_nic_status *s)
{
        s->state = AK_NIC_DETACHING;
        if (nic->replace && !nic->detach_fault.reason[0])
                nic_fault(s, "TapLost", "the host's device was made anew; the NIC is plugged again");
        else
                nic_fault(s, nic->detach_fault.reason, nic->detach_fault.message);
}

static void plugged_state(const struct hv_nic *nic, struct ak_nic_status *s)
{
        if (nic->detach_asked || nic->op == HV_OP_DETACH) {
                leaving_state(nic, s);
        } else if (hv_nic_tap_doubtful(nic)) {
                s->state = AK_NIC_ATTACHING;
                nic_fault(s, "TapLost", "the host's device may be another than the VM has");
        } else if (nic->bound) {
                s->state = AK_NIC_READY;
        } else if (nic->driver_failed) {
                s->state = AK_NIC_FAILED;
                nic_fault(s, "GuestDriverFailed",
                          "the guest's driver gave the device up while it was set up; a guest of one vCPU "
                          "has interrupt vectors for some 40 NICs");
        } else if (nic->guest_late) {
                s->state = AK_NIC_FAILED;
                nic_fault(s, "GuestNotResponding",
                          "the guest's driver has not taken the device; it is still being watched");
        } else {
                s->state = AK_NIC_WAITING_FOR_GUEST;
        }
}

/* Was the last thing said that the domain does not have it? */
static bool said_unplugged(const struct hv_nic *nic)
{
        const struct ak_nic_status *s = &nic->published->nic_status;

        return s->state == AK_NIC_DETACHED || (s->state == AK_NIC_FAILED && !s->device_alias[0]);
}

/*
 * False: nothing to say. A NIC that is wanted and was not tried yet (its port is being prepared) is neither
 * detached nor failed as far as that wish goes; an answer with the wish's key would be taken for its outcome.
 */
static bool unplugged_state(const struct hv_vm *vm, const struct hv_nic *nic, struct ak_nic_status *s)
{
        bool wanted = hv_nic_wanted(vm, nic), tried = hv_nic_attach_tried(nic);

        s->state = AK_NIC_DETACHED;
        if (nic->op == HV_OP_ATTACH || nic->op == HV_OP_START) {
                s->state = AK_NIC_ATTACHING;
        } else if (wanted && !tried) {
                return nic->published && !said_unplugged(nic);
        } else if (wanted && nic->attach_failed) {
                s->state = AK_NIC_FAILED;
                nic_fault(s, nic->attach_fault.reason, nic->attach_fault.message);
        } else if (wanted && nic->lost) {
                nic_fault(s, "DeviceGone", "the device left the domain although it is wanted");
        }
        return true;
}

static void plugged_facts(const struct hv_nic *nic, struct ak_nic_status *s)
{
        HV_COPY(s->mac, nic->live.mac);
        (void)snprintf(s->device_alias, sizeof(s->device_alias), "ua-%s", nic->port_id);
        HV_COPY(s->pci_address, nic->live.pci_address);
        s->link_down = nic->live.link_down;
        s->guest_us = nic->guest_took_us;
}

/* In the core's own message, for nearly always it is as it was. NULL: nothing to say. */
static const struct ak_message *nic_status(struct hv_core *core, const struct hv_vm *vm,
                                           const struct hv_nic *nic)
{
        struct ak_nic_status *s = &core->nic_status->nic_status;
        struct hv_key key;

        *s = (struct ak_nic_status){0};
        hv_key_of_nic(nic, &key);
        HV_COPY(s->pod_uid, vm->uid);
        HV_COPY(s->nic, nic->name);
        HV_COPY(s->port_id, nic->port_id);
        s->generation = key.generation;
        s->attempt = key.attempt;
        s->attach_us = nic->attach_took_us;
        s->detach_us = nic->detach_took_us;
        if (nic->in_domain) {
                plugged_state(nic, s);
                plugged_facts(nic, s);
        } else if (!unplugged_state(vm, nic, s)) {
                return NULL;
        }
        return core->nic_status;
}

/* A NIC of which only the port was heard is nobody's. */
static bool nic_speaks(const struct hv_nic *nic)
{
        if (nic->silent_until_us && !nic->detach_asked && !hv_nic_tap_doubtful(nic))
                return false;
        return nic->in_domain || nic->wish || nic->published;
}

void hv_status_publish_nic(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic, bool again)
{
        if (!core->connected || !vm->known)
                return;
        if (nic_speaks(nic))
                publish(core, &nic->published, nic_status(core, vm, nic), again);
        hv_status_publish(core, vm, false);
}

/* ------------------------------------------------------------------ VM */

static void vm_fault(struct ak_vm_status *s, const struct hv_fault *fault)
{
        HV_COPY(s->reason, fault->reason);
        HV_COPY(s->message, fault->message);
}

static enum ak_vm_phase starting_phase(const struct hv_vm *vm)
{
        if (vm->op == HV_OP_START || vm->start_refused)
                return AK_VM_PHASE_STARTING;
        if (vm->image_state == HV_IMAGE_FETCHING)
                return AK_VM_PHASE_PULLING;
        return AK_VM_PHASE_WAITING;
}

static enum ak_vm_phase domain_phase(const struct hv_vm *vm)
{
        if (vm->op == HV_OP_DESTROY || vm->stop_since_us)
                return AK_VM_PHASE_STOPPING;
        return vm->state == HV_DOMAIN_PAUSED ? AK_VM_PHASE_PAUSED : AK_VM_PHASE_RUNNING;
}

static enum ak_vm_phase phase_of(const struct hv_vm *vm)
{
        if (vm->state != HV_DOMAIN_NONE)
                return domain_phase(vm);
        if (vm->starting)
                return starting_phase(vm);
        if (hv_vm_wanted_absent(vm))
                return vm->cleaned && vm->op == HV_OP_NONE ? AK_VM_PHASE_ABSENT : AK_VM_PHASE_STOPPING;
        return vm->ended;
}

static uint64_t free_slots(const struct hv_vm *vm)
{
        uint64_t used = 0;

        for (size_t i = 0; i < vm->nic_count; i++)
                used += vm->nics[i]->in_domain;
        return used < vm->nic_slots ? vm->nic_slots - used : 0;
}

static void domain_facts(const struct hv_vm *vm, struct ak_vm_status *s)
{
        HV_COPY(s->domain_uuid, vm->uuid);
        HV_COPY(s->accel, vm->accel);
        s->started_us = vm->started_us;
        s->nic_slots = vm->nic_slots;
        s->nic_slots_free = free_slots(vm);
}

static const struct ak_message *vm_status(struct hv_core *core, const struct hv_vm *vm)
{
        struct ak_vm_status *s = &core->vm_status->vm_status;

        *s = (struct ak_vm_status){0};
        HV_COPY(s->pod_uid, vm->uid);
        HV_COPY(s->pod_namespace, vm->pod_namespace);
        HV_COPY(s->pod_name, vm->pod_name);
        s->generation = vm->wish ? vm->wish->vm_diff.generation : vm->live_generation;
        s->attempt = vm->wish ? vm->wish->vm_diff.attempt : 0;
        s->phase = phase_of(vm);
        vm_fault(s, &vm->fault);
        if (s->phase == AK_VM_PHASE_PULLING)
                s->progress_percent = vm->image_percent;
        if (vm->state != HV_DOMAIN_NONE)
                domain_facts(vm, s);
        return core->vm_status;
}

static bool vm_speaks(const struct hv_vm *vm)
{
        return vm->state != HV_DOMAIN_NONE || vm->wish || vm->published;
}

void hv_status_publish(struct hv_core *core, struct hv_vm *vm, bool again)
{
        if (!core->connected || !vm->known)
                return;
        if (vm_speaks(vm))
                publish(core, &vm->published, vm_status(core, vm), again);
        for (size_t i = 0; i < vm->nic_count; i++) {
                struct hv_nic *nic = vm->nics[i];

                if (nic_speaks(nic))
                        publish(core, &nic->published, nic_status(core, vm, nic), false);
        }
}

/* ------------------------------------------------------------------ forget */

static void forget(struct hv_core *core, const struct ak_message *published)
{
        struct hv_action *a = published ? hv_emit(core, HV_ACTION_FORGET) : NULL;

        if (a)
                ak_message_topic(published, a->topic);
}

void hv_status_forget_nic(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        (void)vm;
        forget(core, nic->published);
}

void hv_status_forget_vm(struct hv_core *core, struct hv_vm *vm)
{
        forget(core, vm->published);
}
