/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is true of a NIC, judged from the last reports of both sides against the wish. No state changes here.
 *
 * A report speaks to the wish when its (generation, attempt) is not older. A report that is older says what
 * was; it keeps a device counted as being in the VM (nothing is released on the strength of silence), but
 * it makes nothing ready and nothing failed.
 */
#include <string.h>

#include "services/watcher/core_internal.h"

bool watcher_key_answers(uint64_t generation, uint64_t attempt, uint64_t wish_generation,
                         uint64_t wish_attempt)
{
        return generation > wish_generation || (generation == wish_generation && attempt >= wish_attempt);
}

static bool port_answers(const struct watcher_nic *nic)
{
        const struct ak_nic_diff *wish = &nic->wish->nic_diff;
        return nic->have_port &&
               watcher_key_answers(nic->port.generation, nic->port.attempt, wish->generation, wish->attempt);
}

static bool nic_answers(const struct watcher_nic *nic)
{
        const struct ak_nic_diff *wish = &nic->wish->nic_diff;
        return nic->have_nic &&
               watcher_key_answers(nic->nic.generation, nic->nic.attempt, wish->generation, wish->attempt);
}

bool watcher_nic_in_domain(const struct watcher_vm *vm, const struct watcher_nic *nic)
{
        if (!nic->have_nic || watcher_vm_surely_down(vm))
                return false;
        switch (nic->nic.state) {
        case AK_NIC_DETACHED:
                return false;
        case AK_NIC_FAILED:
                return nic->nic.device_alias[0] != '\0';
        default:
                return true;
        }
}

static struct watcher_verdict progress(const char *reason, const char *message)
{
        return (struct watcher_verdict){.state = W_IN_PROGRESS, .reason = reason, .message = message};
}

static struct watcher_verdict failure(const char *reason, const char *message, bool again)
{
        return (struct watcher_verdict){
            .state = W_FAILED, .reason = reason[0] ? reason : "Failed", .message = message, .failed = again};
}

/* ------------------------------------------------------------------ wanted */

static struct watcher_verdict waiting_for_guest(const struct watcher_core *core,
                                                const struct watcher_nic *nic)
{
        if (nic->waiting_us && core->now >= nic->waiting_us + core->config.guest_us)
                return failure("GuestNotResponding", "the guest's driver has not taken the device", false);
        return progress("WaitingForGuest", "the guest's driver has not taken the device yet");
}

static struct watcher_verdict said(const struct ak_nic_status *report, const char *reason,
                                   const char *message)
{
        bool given = report->reason[0] != '\0';
        return progress(given ? report->reason : reason, given ? report->message : message);
}

static struct watcher_verdict present_in_vm(const struct watcher_core *core, const struct watcher_vm *vm,
                                            const struct watcher_nic *nic)
{
        const struct ak_nic_status *report = &nic->nic;
        struct watcher_verdict v;
        if (!nic_answers(nic)) {
                bool up = vm->have_status &&
                          (vm->status.phase == AK_VM_PHASE_RUNNING || vm->status.phase == AK_VM_PHASE_PAUSED);
                v = up ? progress("Attaching", "") : progress("WaitingForVM", "the VM does not run yet");
                v.unanswered = true;
                return v;
        }
        switch (report->state) {
        case AK_NIC_ATTACHING:
                return said(report, "Attaching", "");
        case AK_NIC_WAITING_FOR_GUEST:
                return waiting_for_guest(core, nic);
        case AK_NIC_READY:
                /* Said of a device that is gone; the hypervisor is about to find out. */
                if (nic->remade)
                        return progress("TapLost", "the host's device was made anew");
                return (struct watcher_verdict){
                    .state = W_READY, .reason = "Ready", .message = "", .settled = true};
        case AK_NIC_DETACHING:
                /* With a reason: the device has to leave before it can come back. */
                v = said(report, "Detaching", "an earlier removal has not ended yet");
                v.asking = report->reason[0] != '\0';
                return v;
        case AK_NIC_FAILED:
                /* In the VM although not usable: trying again would not help the guest; it is watched. */
                v = failure(report->reason, report->message, report->device_alias[0] == '\0');
                v.settled = !v.failed;
                return v;
        case AK_NIC_DETACHED:
                break;
        }
        if (report->reason[0])
                return failure(report->reason, report->message, true);
        return progress("Attaching", "");
}

static struct watcher_verdict present(const struct watcher_core *core, const struct watcher_vm *vm,
                                      const struct watcher_nic *nic)
{
        struct watcher_verdict v;
        if (!port_answers(nic)) {
                v = progress("PreparingPort", "");
                v.unanswered = true;
                return v;
        }
        switch (nic->port.state) {
        case AK_PORT_FAILED:
                return failure(nic->port.reason, nic->port.message, true);
        case AK_PORT_READY:
                break;
        default:
                return progress("PreparingPort", nic->port.message);
        }
        if (watcher_vm_is_down(vm))
                return progress("WaitingForVM", "the VM does not run");
        return present_in_vm(core, vm, nic);
}

/* ------------------------------------------------------------------ unwanted */

static struct watcher_verdict leaving(const struct watcher_core *core, const struct watcher_nic *nic)
{
        bool late = nic->tries > 1 || core->now >= nic->asked_us + core->config.reask_us;
        struct watcher_verdict v =
            late ? progress("GuestNotResponding", "the guest has not given the device up yet")
                 : progress("Detaching", "");
        v.unanswered = !nic_answers(nic);
        v.asking = !v.unanswered;
        if (v.unanswered)
                return v;
        if (nic->nic.state == AK_NIC_FAILED) {
                v = failure(nic->nic.reason, nic->nic.message, false);
                v.asking = true;
        } else if (nic->nic.reason[0]) {
                v.reason = nic->nic.reason;
                v.message = nic->nic.message;
        }
        return v;
}

static struct watcher_verdict absent(const struct watcher_core *core, const struct watcher_vm *vm,
                                     const struct watcher_nic *nic)
{
        if (watcher_nic_in_domain(vm, nic))
                return leaving(core, nic);
        if (port_answers(nic) && nic->port.state == AK_PORT_RELEASED)
                return (struct watcher_verdict){
                    .state = W_IN_PROGRESS, .reason = "Released", .message = "", .settled = true};
        if (port_answers(nic) && nic->port.state == AK_PORT_FAILED)
                return failure(nic->port.reason, nic->port.message, true);
        bool gone = watcher_vm_surely_down(vm) || (nic->have_nic && nic->nic.state == AK_NIC_DETACHED);
        struct watcher_verdict v = progress(gone ? "ReleasingPort" : "Detaching", "");
        v.unanswered = !port_answers(nic);
        return v;
}

/* ------------------------------------------------------------------ no wish */

static struct watcher_verdict undecided(const struct watcher_core *core, const struct watcher_vm *vm,
                                        const struct watcher_nic *nic)
{
        const struct watcher_port *port = watcher_port_find(core, nic->port_id);
        struct watcher_verdict v;
        if (port && port->defect[0])
                return failure("InvalidPort", port->defect, false);
        bool bound = port && strcmp(port->pod_uid, vm->uid) == 0;
        if (bound && core->synced_us && watcher_nic_listed(vm, nic))
                v = progress("WaitingForRelease", "a NIC of the same name is still being removed");
        else if (bound)
                v = progress("Pending", "");
        else
                v = progress("WaitingForPort", "the port is not bound to the pod yet");
        v.unanswered = true;
        return v;
}

/* A side that has started anew and not spoken of the NIC since: its earlier reports are but history. */
static bool silent(struct watcher_core *core, struct watcher_vm *vm, const struct watcher_nic *nic)
{
        const struct watcher_peer *peer = &core->peers[W_HYPERVISOR];
        uint64_t since = nic->have_nic ? peer->since_us : nic->wished_us;
        if (nic->have_nic ? watcher_confirmed(core, W_HYPERVISOR, nic->nic_epoch) : !nic->adopted)
                return false;
        if (core->now >= since + core->config.peer_us)
                return true;
        watcher_wake_at(vm, since + core->config.peer_us);
        return false;
}

struct watcher_verdict watcher_nic_verdict(struct watcher_core *core, struct watcher_vm *vm,
                                           struct watcher_nic *nic)
{
        if (!nic->wish)
                return undecided(core, vm, nic);
        if (nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT)
                return absent(core, vm, nic);
        struct watcher_verdict v = present(core, vm, nic);
        if ((v.unanswered || v.state == W_READY) && silent(core, vm, nic))
                v = (struct watcher_verdict){.state = W_UNKNOWN,
                                             .reason = "NoReport",
                                             .message = "the hypervisor service has not reported the NIC "
                                                        "since it was started",
                                             .unanswered = true};
        /* An answer of an earlier run of a service is not enough to stop asking. */
        v.settled = v.settled && watcher_confirmed(core, W_NETWORK, nic->port_epoch) &&
                    watcher_confirmed(core, W_HYPERVISOR, nic->nic_epoch) && !watcher_nic_overtaken(nic);
        return v;
}
