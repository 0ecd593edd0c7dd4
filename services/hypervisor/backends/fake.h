/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver without VMs: domains are records, guests behave as told. For tests and for running the rest of
 * the stack where there is no QEMU. Guests take and give up devices in the call itself unless told not to.
 * VMs end with the process; where the state directory has a file HV_FAKE_KEPT, which may be empty, they are
 * written there at the end and are there again at the next start.
 */
#pragma once

#include "services/hypervisor/backends/driver.h"

#define HV_FAKE_KEPT "fake-domains"

struct hv_fake_guest {
        bool no_driver;     /* never binds a NIC */
        bool driver_fails;  /* sets FAILED */
        bool holds_devices; /* detach is accepted, nothing follows; again: in progress */
        bool refuses;       /* detach is followed by removal_failed */
        bool busy;          /* detach: HV_ERROR_BUSY */
        bool ignores_power; /* shutdown does nothing */
};

/* Applies to all domains from now on. */
void hv_fake_set_guest(struct hv_driver *d, const struct hv_fake_guest *guest);
/* The next `count` calls of `op` fail so. */
void hv_fake_fail(struct hv_driver *d, enum hv_op op, enum hv_error error, unsigned count);
/* As when libvirtd is restarted: HV_EVENT_DISCONNECTED, calls fail until connect(). */
void hv_fake_break(struct hv_driver *d);
/* As done behind our back. */
void hv_fake_remove_nic(struct hv_driver *d, const char *pod_uid, const char *port_id, bool event);
/* Deleted, and made anew. */
void hv_fake_lose_tap(struct hv_driver *d, const char *ifname);
void hv_fake_kill_domain(struct hv_driver *d, const char *pod_uid, bool crashed);
