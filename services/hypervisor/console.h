/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serial consoles over the protocol of proto/console.h, in an actor of their own.
 *
 * Output is read from the console's log, which libvirt's virtlogd writes: each session has its own
 * descriptor and offset, so scrollback and what follows join without a gap or a repeat, a slow client costs
 * no memory (past a bound it misses output instead), and nothing is lost over a restart of this service.
 * inotify tells when there is more, and of each VM when its lines were printed (console_lines.h). When
 * virtlogd starts a new file, a session reads the old one to its end first. Input goes to the driver in a
 * thread per VM, because that call may block.
 */
#pragma once

#include "services/hypervisor/backends/driver.h"

struct hv_console;

struct hv_console_options {
        const char *bus_dir; /* the socket is made in it; NULL endpoint below */
        const char
            *shared_dir; /* in it as well, for its group, where there is such a directory; may be NULL */
        const char *state_dir; /* where the VMs' logs are: disk.h */
        const struct hv_driver_ops *ops;
        struct hv_driver *driver;
};

/* 0, -EADDRINUSE, -ENAMETOOLONG, -ENOMEM. */
int hv_console_new(struct hv_console **out, const struct hv_console_options *options);
struct hv_console *hv_console_free(struct hv_console *console);
AK_DEFINE_CLEANUP(struct hv_console *, hv_console_free)
/* There is a VM: when it prints what is noted from now on. Called by the reactor, as often as it likes. */
void hv_console_vm_here(struct hv_console *console, const char *pod_uid);
/* The VM went away: its sessions end. Called by the reactor. */
void hv_console_vm_gone(struct hv_console *console, const char *pod_uid, const char *reason);
