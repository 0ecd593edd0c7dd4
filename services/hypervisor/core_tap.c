/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a NIC: is what QEMU holds still the device that the network service made?
 *
 * QEMU has a tap open by descriptor. When somebody deletes the tap, the network service makes another one of
 * the same name, but QEMU's descriptor stays with the one that is gone: the NIC looks as before and carries
 * nothing. It has to leave the VM and come back, with its MAC and its PCI address.
 *
 * What speaks for it: port.status names a device (by its interface index) that is another than the one the
 * NIC was plugged with; a look at the host finds a device that nobody has open (libvirt_tap.c). One sign
 * makes the NIC doubtful, which is not Ready any more, and leads to a look; two in a row are believed. A
 * single look may race with a domain that is just being started by an earlier run of this service.
 */
#include <string.h>

#include "services/hypervisor/core_internal.h"

#define LOOK_AGAIN HV_MS(200)
#define LOOK_LOST  HV_US(1) /* an answer that does not come */
#define BELIEVED   2

uint64_t hv_nic_port_ifindex(const struct hv_nic *nic)
{
        const struct ak_port_status *port = nic->port ? &nic->port->port_status : NULL;

        return port && port->state == AK_PORT_READY ? port->ifindex : 0;
}

void hv_nic_tap_forget(struct hv_nic *nic)
{
        nic->tap_signs = 0;
        nic->tap_look_us = 0;
        nic->replace = false;
}

bool hv_nic_tap_doubtful(const struct hv_nic *nic)
{
        return nic->tap_signs > 0 || nic->replace;
}

void hv_nic_tap_heard(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        uint64_t port = hv_nic_port_ifindex(nic);

        if (!nic->in_domain || nic->tap_signs || !port || !nic->live.ifindex || port == nic->live.ifindex)
                return;
        nic->tap_signs = 1;
        nic->tap_look_us = core->now_us + LOOK_LOST;
        /* A look that is under way may be of the time before. */
        vm->touched = true;
        hv_inspect(core, vm);
}

/* Where the host's devices are not to be seen, what port.status says has to do. */
void hv_nic_tap_seen(struct hv_core *core, struct hv_nic *nic, const struct hv_live_nic *live)
{
        bool dead = live->tap_idle || (!live->ifindex && nic->tap_signs);

        if (!dead) {
                nic->tap_signs = 0;
                nic->tap_look_us = 0;
                return;
        }
        if (nic->tap_signs < BELIEVED)
                nic->tap_signs++;
        nic->tap_look_us = nic->tap_signs < BELIEVED ? core->now_us + LOOK_AGAIN : 0;
}

void hv_nic_tap_advance(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic)
{
        if (nic->tap_look_us && core->now_us >= nic->tap_look_us) {
                nic->tap_look_us = core->now_us + LOOK_LOST;
                hv_inspect(core, vm);
        }
        if (nic->tap_signs >= BELIEVED && hv_nic_wanted(vm, nic) && hv_nic_port_usable(nic))
                nic->replace = true;
}
