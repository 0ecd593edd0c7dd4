/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One NIC of a VM that runs: attach, wait for the guest's driver, change the link, detach.
 *
 * Ready means usable: the guest's driver has set DRIVER_OK. Nothing tells us when, so the device's status is
 * asked for, at first every 2 ms, then at intervals that are a twelfth of the time waited so far: the answer
 * is late by at most 8 %, for about a dozen questions per doubling of the time. Signs of life from the guest
 * (GUEST_ACTIVITY) bring the next question forward.
 *
 * Unplug needs the guest: the device is gone when the device-removed event says so or the live XML no
 * longer has it. Until then its link is taken down after 2 s, and the guest is asked again only when the
 * wish's attempt rises (an ACPI request that is repeated too early can cancel the first).
 */
#include <string.h>

#include "services/hypervisor/core_internal.h"

#define PROBE_FIRST    HV_MS(2)
#define PROBE_FRACTION 12
#define PROBE_MID      HV_MS(250) /* until 30 s */
#define PROBE_LATE     HV_US(1)   /* until 5 min */
#define PROBE_IDLE     HV_US(5)
#define ASK_AGAIN      HV_US(6) /* an earlier repeat of an unplug request can cancel it */
#define LOOK_EVERY     HV_US(5) /* at the live XML, while a removal is awaited */
/* Less than the watcher's 10 s, for so long a state stands without a report. */
#define SILENT_MAX  HV_US(6)
#define BOOT_FACTOR 3 /* how much longer a guest that boots may take */

/* ------------------------------------------------------------------ wishes */

bool hv_nic_wanted(const struct hv_vm *vm, const struct hv_nic *nic)
{
        return nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT && !hv_vm_wanted_absent(vm);
}

/* Said to be unwanted: a NIC without a wish is not (nobody spoke of it yet). */
bool hv_nic_unwanted(const struct hv_vm *vm, const struct hv_nic *nic)
{
        (void)vm;
        return nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT;
}

/* Of each attempt: what was ready for an earlier one may have been deleted since. */
static bool port_answers(const struct ak_port_status *port, const struct ak_nic_diff *wish)
{
        return port->generation > wish->generation ||
               (port->generation == wish->generation && port->attempt >= wish->attempt);
}

bool hv_nic_port_usable(const struct hv_nic *nic)
{
        return nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT && nic->port &&
               nic->port->port_status.state == AK_PORT_READY &&
               port_answers(&nic->port->port_status, &nic->wish->nic_diff);
}

void hv_nic_spec_of(const struct hv_nic *nic, struct hv_nic_spec *out)
{
        const struct ak_nic_diff *wish = &nic->wish->nic_diff;
        const struct ak_port_status *port = &nic->port->port_status;

        *out = (struct hv_nic_spec){.slot = wish->slot, .link_down = wish->link_down};
        out->mtu = port->mtu ? port->mtu : wish->mtu;
        HV_COPY(out->port_id, nic->port_id);
        HV_COPY(out->ifname, port->ifname);
        HV_COPY(out->mac, wish->mac[0] ? wish->mac : port->mac);
}

static struct hv_action *emit_nic_op(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic,
                                     enum hv_op op)
{
        struct hv_action *a = hv_emit_op(core, vm, op);

        if (!a)
                return NULL;
        memcpy(&a->nic, &nic->live, sizeof(a->nic));
        HV_COPY(a->nic.port_id, nic->port_id);
        if (op != HV_OP_PROBE) {
                nic->op = op;
                nic->op_id = a->id;
        }
        return a;
}

/* ------------------------------------------------------------------ attach */

static void attach_fault(struct hv_nic *nic, const char *reason, const char *message)
{
        nic->attach_failed = true;
        hv_fault_set(&nic->attach_fault, reason, message);
}

static bool slot_taken(const struct hv_vm *vm, const struct hv_nic *nic, uint64_t slot)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                const struct hv_nic *other = vm->nics[i];

                if (other != nic && other->in_domain && other->live.slot == slot)
                        return true;
        }
        return false;
}

static bool spec_refused(const struct hv_vm *vm, struct hv_nic *nic, const struct hv_nic_spec *spec)
{
        if (!spec->ifname[0] || !spec->mac[0])
                attach_fault(nic, "PortIncomplete", "the port has no device or no MAC");
        else if (spec->slot >= vm->nic_slots)
                attach_fault(nic, "NoFreeSlot", "the NIC's slot is past the VM's hotplug slots");
        else if (slot_taken(vm, nic, spec->slot))
                attach_fault(nic, "SlotInUse", "another NIC of the VM has the slot");
        else
                return false;
        return true;
}

static void attach(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        struct hv_nic_spec spec;
        struct hv_key key;
        struct hv_action *a;

        hv_key_of_nic(nic, &key);
        if (!hv_nic_port_usable(nic) || !hv_key_newer(&key, &nic->attach_tried))
                return;
        hv_nic_spec_of(nic, &spec);
        nic->attach_tried = key;
        nic->attach_failed = nic->lost = false;
        if (spec_refused(vm, nic, &spec))
                return;
        a = emit_nic_op(core, vm, nic, HV_OP_ATTACH);
        if (!a)
                return;
        a->nic = spec;
        nic->attach_ifindex = hv_nic_port_ifindex(nic);
}

static const char *attach_reason(enum hv_error error)
{
        switch (error) {
        case HV_ERROR_SLOT:
                return "SlotInUse";
        case HV_ERROR_TAP:
                return "TapUnusable";
        case HV_ERROR_TIMEOUT:
                return "DomainNotResponding";
        case HV_ERROR_NO_DOMAIN:
                return "DomainGone";
        default:
                return "AttachFailed";
        }
}

static void attach_done(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic,
                        const struct hv_result *result)
{
        struct hv_nic_spec spec;
        struct hv_live_nic live = {0};

        nic->attach_took_us = result->head.took_us;
        if (result->head.error == HV_OK) {
                hv_nic_spec_of(nic, &spec);
                memcpy(&live, &spec, sizeof(spec));
                (void)snprintf(live.pci_address, sizeof(live.pci_address), "0000:%02x:00.0",
                               (unsigned)(spec.slot + 1));
                hv_nic_plugged(core, nic, &live);
                return;
        }
        /* It may be there nevertheless. */
        attach_fault(nic, attach_reason(result->head.error), result->head.text);
        if (result->head.error == HV_ERROR_DUPLICATE || result->head.error == HV_ERROR_NO_DOMAIN)
                hv_inspect(core, vm);
}

void hv_nic_plugged(struct hv_core *core, struct hv_nic *nic, const struct hv_live_nic *live)
{
        uint64_t ifindex = nic->in_domain ? nic->live.ifindex : nic->attach_ifindex;

        nic->live = *live;
        if (!live->ifindex)
                nic->live.ifindex = ifindex;
        nic->attach_failed = nic->lost = false;
        if (nic->in_domain)
                return;
        nic->in_domain = true;
        hv_nic_tap_forget(nic);
        nic->bound = nic->driver_failed = nic->guest_late = nic->found = false;
        nic->detach_asked = nic->lowered = false;
        nic->silent_until_us = 0;
        nic->detach_again_us = 0;
        nic->plugged_us = core->now_us;
        nic->probe_at_us = core->now_us + PROBE_FIRST;
        nic->guest_took_us = 0;
        nic->forget_at_us = 0;
        hv_fault_set(&nic->detach_fault, "", "");
}

/* ------------------------------------------------------------------ the guest's driver */

/* At least as long as the answer took, so that a busy host is not kept busy by questions. */
static uint64_t probe_interval(uint64_t waited, uint64_t took)
{
        uint64_t interval = waited / PROBE_FRACTION > took ? waited / PROBE_FRACTION : took;
        uint64_t cap = waited < HV_US(30) ? PROBE_MID : waited < HV_US(300) ? PROBE_LATE : PROBE_IDLE;

        if (interval < PROBE_FIRST)
                return PROBE_FIRST;
        return interval < cap ? interval : cap;
}

static void probe(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        struct hv_action *a;

        if (nic->bound || nic->probe_id || nic->detach_asked || core->now_us < nic->probe_at_us)
                return;
        if (vm->state != HV_DOMAIN_RUNNING)
                return;
        a = emit_nic_op(core, vm, nic, HV_OP_PROBE);
        if (a)
                nic->probe_id = a->id;
}

/* Boot NICs are bound one right after the other. */
static void probe_siblings(struct hv_core *core, struct hv_vm *vm)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                if (vm->nics[i]->in_domain && !vm->nics[i]->bound)
                        vm->nics[i]->probe_at_us = core->now_us;
        }
}

static void probe_done(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic,
                       const struct hv_result *result)
{
        if (result->head.error == HV_OK)
                nic->silent_until_us = 0;
        if (!nic->in_domain || nic->bound || nic->detach_asked)
                return;
        if (result->head.error == HV_ERROR_NO_DEVICE || result->head.error == HV_ERROR_NO_DOMAIN)
                hv_inspect(core, vm);
        if (result->head.error == HV_OK) {
                vm->guest_up = vm->guest_up || result->head.virtio_status;
                nic->driver_failed = result->head.virtio_status & HV_VIRTIO_FAILED;
                nic->bound = !nic->driver_failed && (result->head.virtio_status & HV_VIRTIO_DRIVER_OK);
        }
        nic->probe_at_us =
            core->now_us + probe_interval(core->now_us - nic->plugged_us, result->head.took_us);
        if (!nic->bound)
                return;
        nic->guest_late = false;
        nic->guest_took_us = nic->found ? 0 : core->now_us - nic->plugged_us;
        probe_siblings(core, vm);
}

void hv_nic_found(struct hv_core *core, struct hv_nic *nic)
{
        if (!nic->in_domain || nic->bound)
                return;
        /* After a reconnect it may be one that we have plugged. */
        nic->found = nic->found || nic->plugged_us == core->now_us;
        nic->silent_until_us = core->now_us + SILENT_MAX;
        nic->probe_at_us = core->now_us;
}

void hv_nic_rebooted(struct hv_core *core, struct hv_nic *nic)
{
        if (!nic->in_domain)
                return;
        nic->bound = nic->driver_failed = nic->guest_late = nic->found = false;
        nic->plugged_us = core->now_us;
        nic->probe_at_us = core->now_us + PROBE_FIRST;
        nic->probe_void = nic->probe_id;
        nic->probe_id = 0;
}

/* A guest whose drivers have not touched any NIC yet is taken to be booting. */
static uint64_t guest_deadline(const struct hv_core *core, const struct hv_vm *vm, const struct hv_nic *nic)
{
        return nic->plugged_us + core->config.guest_wait_us * (vm->guest_up ? 1 : BOOT_FACTOR);
}

static void check_guest_late(struct hv_core *core, const struct hv_vm *vm, struct hv_nic *nic)
{
        if (!nic->bound && vm->state == HV_DOMAIN_RUNNING && core->now_us >= guest_deadline(core, vm, nic))
                nic->guest_late = true;
}

/* ------------------------------------------------------------------ link */

static void set_link(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic, bool down)
{
        struct hv_action *a = emit_nic_op(core, vm, nic, HV_OP_SET_LINK);

        if (a)
                a->nic.link_down = down;
}

static void sync_link(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        bool down = nic->wish->nic_diff.link_down;
        struct hv_key key;

        hv_key_of_nic(nic, &key);
        if (nic->live.link_down == down || !hv_key_newer(&key, &nic->link_tried))
                return;
        nic->link_tried = key;
        set_link(core, vm, nic, down);
}

static void link_done(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic,
                      const struct hv_result *result)
{
        if (!nic->in_domain)
                return;
        if (result->head.error != HV_OK) {
                hv_inspect(core, vm);
                return;
        }
        nic->live.link_down = nic->lowered || (nic->wish && nic->wish->nic_diff.link_down);
}

/* ------------------------------------------------------------------ detach */

/*
 * An attach may be tried anew once it was looked up that the device is not there. A guest may have been asked
 * to give a device up without our knowing: it is asked again, but not too early.
 */
void hv_nic_answer_lost(struct hv_core *core, struct hv_nic *nic)
{
        if (nic->op == HV_OP_ATTACH)
                nic->attach_tried.set = false;
        else if (nic->op == HV_OP_DETACH)
                nic->detach_again_us = core->now_us + ASK_AGAIN;
        else if (nic->op == HV_OP_SET_LINK)
                nic->link_tried.set = false;
        nic->op = HV_OP_NONE;
        nic->probe_id = 0;
}

static bool may_detach(const struct hv_core *core, const struct hv_nic *nic, const struct hv_key *key)
{
        return hv_key_newer(key, &nic->detach_tried) ||
               (nic->detach_again_us && core->now_us >= nic->detach_again_us);
}

static void detach(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        struct hv_key key;

        hv_key_of_nic(nic, &key);
        if (!may_detach(core, nic, &key))
                return;
        nic->detach_tried = key;
        nic->detach_again_us = 0;
        if (!nic->detach_asked)
                nic->detach_us = core->now_us;
        if (!emit_nic_op(core, vm, nic, HV_OP_DETACH))
                return;
        nic->detach_asked = true;
        nic->inspect_at_us = core->now_us + LOOK_EVERY;
}

static bool waits_for_guest(const struct hv_nic *nic)
{
        return nic->in_domain && nic->detach_asked;
}

/* The guest has not given the device up in time, or said no: cut it off. */
static void lower_link(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        bool late = core->now_us >= nic->detach_us + core->config.unplug_wait_us;

        if (nic->lowered || (!late && !nic->detach_fault.reason[0]))
                return;
        if (!nic->detach_fault.reason[0])
                hv_fault_set(&nic->detach_fault, "GuestNotResponding",
                             "the guest does not give the device up; its link is down meanwhile");
        nic->lowered = true;
        if (!nic->live.link_down)
                set_link(core, vm, nic, true);
}

static void look_again(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        if (core->now_us < nic->inspect_at_us)
                return;
        nic->inspect_at_us = core->now_us + LOOK_EVERY;
        hv_inspect(core, vm);
}

static void detach_done(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic,
                        const struct hv_result *result)
{
        if (!nic->in_domain)
                return; /* the event that it is gone was faster */
        switch (result->head.error) {
        case HV_OK:
        case HV_ERROR_IN_PROGRESS:
                break;
        case HV_ERROR_NO_DEVICE:
                hv_nic_gone(core, vm, nic);
                break;
        case HV_ERROR_NO_DOMAIN:
                hv_inspect(core, vm);
                break;
        case HV_ERROR_BUSY:
                hv_fault_set(&nic->detach_fault, "GuestBusy", result->head.text);
                break;
        default:
                hv_fault_set(&nic->detach_fault, "DetachFailed", result->head.text);
                break;
        }
}

void hv_nic_removal_failed(struct hv_core *core, struct hv_nic *nic)
{
        (void)core;
        if (waits_for_guest(nic))
                hv_fault_set(&nic->detach_fault, "GuestRefused", "the guest refused to give the device up");
}

/*
 * Wanted again while its removal is pending. The request cannot be taken back; when the guest has not
 * followed it, the NIC goes on as it was.
 */
static void reconsider(struct hv_core *core, struct hv_nic *nic)
{
        if (!nic->detach_fault.reason[0] && core->now_us < nic->detach_us + core->config.unplug_wait_us)
                return;
        nic->detach_asked = nic->lowered = false;
        nic->detach_again_us = 0;
        nic->link_tried.set = false;
        hv_fault_set(&nic->detach_fault, "", "");
        hv_nic_rebooted(core, nic);
}

void hv_nic_gone(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        if (!nic->in_domain)
                return;
        if (nic->detach_asked)
                nic->detach_took_us = core->now_us - nic->detach_us;
        else
                nic->lost = hv_nic_wanted(vm, nic) && vm->state != HV_DOMAIN_NONE;
        /* The device that was asked for is gone: what is wanted anew is a new try. */
        nic->attach_tried.set = nic->lost;
        if (nic->lost)
                hv_key_of_nic(nic, &nic->attach_tried);
        nic->in_domain = nic->detach_asked = nic->lowered = nic->bound = nic->driver_failed = false;
        nic->guest_late = false;
        nic->silent_until_us = 0;
        nic->detach_again_us = 0;
        nic->probe_id = 0; /* another operation, if there is one under way, ends with its answer */
        nic->link_tried.set = nic->detach_tried.set = false;
        hv_nic_tap_forget(nic);
        hv_fault_set(&nic->detach_fault, "", "");
}

/* ------------------------------------------------------------------ advance */

static void advance_plugged(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        hv_nic_tap_advance(core, vm, nic);
        if (nic->detach_asked && hv_nic_wanted(vm, nic) && !nic->replace)
                reconsider(core, nic);
        check_guest_late(core, vm, nic);
        if (vm->state != HV_DOMAIN_RUNNING || core->now_us >= nic->silent_until_us)
                nic->silent_until_us = 0;
        if ((hv_nic_unwanted(vm, nic) || nic->replace) && nic->op == HV_OP_NONE)
                detach(core, vm, nic);
        if (nic->detach_asked && nic->op == HV_OP_NONE) {
                lower_link(core, vm, nic);
                look_again(core, vm, nic);
        } else if (hv_nic_wanted(vm, nic) && nic->op == HV_OP_NONE && !nic->detach_asked) {
                sync_link(core, vm, nic);
        }
        probe(core, vm, nic);
}

static void set_retention(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        bool over = !nic->in_domain && nic->op == HV_OP_NONE && !hv_nic_wanted(vm, nic);

        if (!over)
                nic->forget_at_us = 0;
        else if (!nic->forget_at_us)
                nic->forget_at_us = core->now_us + core->config.retain_us;
}

void hv_nic_advance(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        bool up = vm->state != HV_DOMAIN_NONE && vm->op != HV_OP_START && vm->op != HV_OP_DESTROY;

        if (up && !hv_vm_wanted_absent(vm)) {
                if (nic->in_domain)
                        advance_plugged(core, vm, nic);
                else if (nic->op == HV_OP_NONE && hv_nic_wanted(vm, nic))
                        attach(core, vm, nic);
        }
        set_retention(core, vm, nic);
}

void hv_nic_result(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic, const struct hv_result *result)
{
        if (result->head.op == HV_OP_PROBE) {
                if (result->head.id == nic->probe_id)
                        nic->probe_id = 0;
                /* An answer is true whoever asked: those of one VM come in order. */
                if (result->head.id != nic->probe_void)
                        probe_done(core, vm, nic, result);
                return;
        }
        if (nic->op != result->head.op || nic->op_id != result->head.id)
                return;
        if (result->head.error == HV_ERROR_CONNECTION) {
                hv_nic_answer_lost(core, nic);
                hv_connection_lost(core, vm);
                return;
        }
        nic->op = HV_OP_NONE;
        if (result->head.op == HV_OP_ATTACH)
                attach_done(core, vm, nic, result);
        else if (result->head.op == HV_OP_DETACH)
                detach_done(core, vm, nic, result);
        else if (result->head.op == HV_OP_SET_LINK)
                link_done(core, vm, nic, result);
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
        return !a || (b && b < a) ? b : a;
}

uint64_t hv_nic_deadline(const struct hv_core *core, const struct hv_vm *vm, const struct hv_nic *nic)
{
        uint64_t at = nic->forget_at_us;

        if (!core->connected || !vm->known || !nic->in_domain)
                return at;
        if (nic->tap_look_us)
                at = at_most(at, nic->tap_look_us);
        if (nic->detach_asked) {
                at = at_most(at, nic->inspect_at_us);
                if (nic->detach_again_us)
                        at = at_most(at, nic->detach_again_us);
                return nic->lowered ? at : at_most(at, nic->detach_us + core->config.unplug_wait_us);
        }
        if (nic->silent_until_us)
                at = at_most(at, nic->silent_until_us);
        if (!nic->bound && !nic->probe_id && vm->state == HV_DOMAIN_RUNNING)
                at = at_most(at, nic->probe_at_us);
        if (!nic->bound && !nic->guest_late && vm->state == HV_DOMAIN_RUNNING)
                at = at_most(at, guest_deadline(core, vm, nic));
        return at;
}
