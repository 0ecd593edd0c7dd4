/* SPDX-License-Identifier: Apache-2.0 */
/* The service around the core: bus, driver, images, console, on one reactor. */
#pragma once

#include "libcommon/bus.h"
#include "libcommon/options.h"
#include "services/hypervisor/backends/driver.h"

struct hv_options {
        char *bus_dir, *console_dir, *state_dir, *node_name;
        char *libvirt_uri, *emulator, *accel, *driver;
        struct ak_strlist image_dir, image_mirror;
        uint64_t image_max_size, image_max_virtual_size, image_cache_size, image_cache_age, max_vms;
        uint64_t boot_wait, guest_wait, unplug_wait, default_memory;
        char *journal, *metrics, *otlp;
        struct ak_bus_net net;
};

extern const struct ak_program hv_program;

struct hv_shell;

/* Prints what is wrong. Exit code: 0 and *out, else 1 (cannot run) or 2 (configuration). */
int hv_shell_new(struct hv_shell **out, const struct hv_options *options);
struct hv_shell *hv_shell_free(struct hv_shell *shell);
/* For ak_service_new(), which ends it on SIGTERM and SIGINT. */
zloop_t *hv_shell_loop(struct hv_shell *shell);
/* Runs until its loop is ended. Exit code. VMs stay as they are. */
int hv_shell_run(struct hv_shell *shell);
