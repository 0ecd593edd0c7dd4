/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to look at a VM again, so that a node full of VMs costs what happens on it, not what it has.
 *
 * An event is about one VM, which is advanced at once; then the earliest deadline of the VM and its NICs is
 * set down. A tick advances the VMs whose deadline has come, and no others. That nothing is overlooked so is
 * what hv_core_settled() checks in the tests: it looks at all of them.
 */
#include <errno.h>
#include <stdlib.h>

#include "services/hypervisor/core_internal.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
        if (!a || !b)
                return a ? a : b;
        return a < b ? a : b;
}

/* Once a VM was looked at for it, a deadline that is past is one that nothing can be done about for now. */
static uint64_t ahead(const struct hv_core *core, uint64_t at, bool ticked)
{
        return ticked && at <= core->now_us ? 0 : at;
}

static uint64_t deadline_of(const struct hv_core *core, const struct hv_vm *vm, bool ticked)
{
        uint64_t at = ahead(core, hv_vm_deadline(core, vm), ticked);

        for (size_t i = 0; i < vm->nic_count; i++)
                at = earlier(at, ahead(core, hv_nic_deadline(core, vm, vm->nics[i]), ticked));
        return at;
}

static void set_deadline(struct hv_core *core, struct hv_vm *vm, bool ticked)
{
        if (ak_deadline_set(&core->due, &vm->due, deadline_of(core, vm, ticked)) < 0)
                core->error = -ENOMEM;
}

void hv_due_changed(struct hv_core *core, struct hv_vm *vm)
{
        set_deadline(core, vm, false);
}

void hv_due_all_changed(struct hv_core *core)
{
        for (size_t i = 0; i < core->vm_count; i++)
                hv_due_changed(core, core->vms[i]);
}

static void forget_nics(struct hv_core *core, struct hv_vm *vm)
{
        for (size_t i = 0; i < vm->nic_count;) {
                struct hv_nic *nic = vm->nics[i];

                if (nic->forget_at_us && core->now_us >= nic->forget_at_us) {
                        hv_status_forget_nic(core, vm, nic);
                        hv_vm_drop_nic(vm, i);
                } else {
                        i++;
                }
        }
}

/* True: nothing of it is left. */
static bool forget_old(struct hv_core *core, struct hv_vm *vm)
{
        forget_nics(core, vm);
        if (!vm->forget_at_us || core->now_us < vm->forget_at_us || vm->nic_count > 0)
                return false;
        hv_status_forget_vm(core, vm);
        hv_core_drop_vm(core, vm);
        return true;
}

static int by_index(const void *a, const void *b)
{
        const struct hv_vm *const *x = a, *const *y = b;

        return (*x)->index < (*y)->index ? -1 : (*x)->index > (*y)->index;
}

/* Those whose deadline has come, in the order of the table; the scratch space is as large as that. */
static size_t take_due(struct hv_core *core)
{
        struct ak_deadline *d;
        size_t count = 0;

        while ((d = ak_deadlines_take_due(&core->due, core->now_us)))
                core->scratch[count++] = d->owner;
        if (count > 1)
                qsort(core->scratch, count, sizeof(*core->scratch), by_index);
        return count;
}

void hv_due_advance(struct hv_core *core)
{
        size_t count = take_due(core);

        for (size_t i = 0; i < count; i++) {
                hv_vm_advance(core, core->scratch[i]);
                hv_status_publish(core, core->scratch[i], false);
        }
        for (size_t i = 0; i < count; i++) {
                if (!forget_old(core, core->scratch[i]))
                        set_deadline(core, core->scratch[i], true);
        }
}

static uint64_t connection_deadline(const struct hv_core *core)
{
        if (!core->connected && !core->connecting)
                return core->connect_at_us;
        return core->connected && !core->listing ? core->list_at_us : 0;
}

void hv_due_ask_for_wake(struct hv_core *core)
{
        uint64_t at = earlier(connection_deadline(core), ak_deadlines_next_us(&core->due));
        struct hv_action *a;

        if (at == 0 || (core->wake_at_us > core->now_us && core->wake_at_us <= at))
                return;
        a = hv_emit(core, HV_ACTION_WAKE);
        if (!a)
                return;
        a->at_us = at > core->now_us ? at : core->now_us + 1;
        core->wake_at_us = a->at_us;
}

bool hv_core_settled(struct hv_core *core, uint64_t now_us, struct hv_actions *out)
{
        size_t before = out->count;
        bool same = true;

        core->now_us = now_us;
        core->out = out;
        for (size_t i = 0; i < core->vm_count; i++) {
                struct hv_vm *vm = core->vms[i];

                if (vm->due.at_us && vm->due.at_us <= now_us)
                        continue; /* the next tick's */
                hv_vm_advance(core, vm);
                hv_status_publish(core, vm, false);
                same = same && deadline_of(core, vm, true) == vm->due.at_us;
        }
        core->out = NULL;
        return same && out->count == before;
}
