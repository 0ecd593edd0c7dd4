/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs the VMs, behind a table of functions: libvirt, or a fake for tests.
 *
 * Threads: a driver is made and freed by one thread. connect(), disconnect() and list() are called by one
 * thread at a time (the service's "driver" actor). Functions that take a `vm` are called by one thread at
 * a time for each vm (its actor), and may block for as long as that VM makes them; calls for different VMs
 * run at the same time and must not delay each other. The event function may be called from any thread, at
 * any time between connect() and disconnect(), and does not block.
 *
 * Errors: functions return an enum hv_error and write what the engine says into `text` (HV_LEN_TEXT bytes
 * at most; untouched on HV_OK). HV_ERROR_CONNECTION means that the outcome is unknown.
 */
#pragma once

#include "services/hypervisor/core.h"

struct hv_driver; /* the implementation's */
struct hv_driver_vm;

/* The event is the callee's to copy: it is only valid during the call. */
typedef void (*hv_driver_event_fn)(void *arg, const struct hv_event *event);

struct hv_driver_ops {
        const char *name;

        struct hv_driver *(*free)(struct hv_driver *d);

        /*
         * Connects and registers for all events before it returns, so that nothing that happens after is
         * missed. Twice: HV_OK. When the connection breaks later, one HV_EVENT_DISCONNECTED is reported;
         * then connect() may be called again. Blocks.
         */
        enum hv_error (*connect)(struct hv_driver *d, char *text);
        /* No event is reported after it returned. Blocks. */
        void (*disconnect)(struct hv_driver *d);
        /*
         * All domains of this node that are ours (by the metadata's node name), with the NICs of the live
         * configuration. The caller frees *out and its items. Blocks.
         */
        enum hv_error (*list)(struct hv_driver *d, struct hv_live_domain ***out, size_t *count, char *text);

        /* A handle for the VM of a pod, existing or not. Never blocks; NULL when out of memory. */
        struct hv_driver_vm *(*vm_open)(struct hv_driver *d, const char *pod_uid);
        struct hv_driver_vm *(*vm_close)(struct hv_driver_vm *vm);

        /* The domain as it is; *out NULL: there is none. The caller frees it. */
        enum hv_error (*inspect)(struct hv_driver_vm *vm, struct hv_live_domain **out, char *text);
        /*
         * Makes the VM's disk unless there is one, and starts the domain with the NICs of the specification
         * cold-plugged. Twice: the second fails with HV_ERROR_INVALID or HV_ERROR_OTHER and changes nothing.
         * On failure no domain is left. *out is the domain as it came to be (the caller frees it).
         */
        enum hv_error (*start)(struct hv_driver_vm *vm, const struct hv_domain_spec *spec,
                               struct hv_live_domain **out, char *text);
        /* Presses the power button. Twice: harmless. HV_ERROR_NO_DOMAIN when there is none. */
        enum hv_error (*shutdown)(struct hv_driver_vm *vm, char *text);
        /* Ends the domain at once. HV_ERROR_NO_DOMAIN when there is none. */
        enum hv_error (*destroy)(struct hv_driver_vm *vm, char *text);
        enum hv_error (*suspend)(struct hv_driver_vm *vm, char *text);
        enum hv_error (*resume)(struct hv_driver_vm *vm, char *text);
        /*
         * Plugs a NIC. Twice: HV_ERROR_DUPLICATE. HV_OK says that the domain has the device, not that the
         * guest does. On failure (but for HV_ERROR_CONNECTION) the domain does not have it.
         */
        enum hv_error (*attach)(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text);
        /*
         * Asks the guest to give a NIC up and does not wait for it: HV_EVENT_DEVICE_REMOVED follows, or
         * HV_EVENT_REMOVAL_FAILED, or nothing. Twice: HV_OK, HV_ERROR_IN_PROGRESS or HV_ERROR_BUSY.
         * HV_ERROR_NO_DEVICE when it is gone.
         */
        enum hv_error (*detach)(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text);
        /* Sets the link to nic->link_down. Twice: HV_OK. */
        enum hv_error (*set_link)(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text);
        /* The virtio device status (virtio 1.2, 2.1) of a NIC, written by the guest's driver. */
        enum hv_error (*probe)(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, uint64_t *status,
                               char *text);
        /* Removes what the VM had on disk. Twice, or of a VM that never was: HV_OK. */
        enum hv_error (*cleanup)(struct hv_driver_vm *vm, char *text);

        /*
         * Keyboard input for the serial console: at most `len` bytes, *done of them taken. Output is not
         * read here but from the console's log (console.h). `len` 0 closes what input holds open. Called by
         * one thread at a time for each vm, which need not be the VM's actor.
         */
        enum hv_error (*console_write)(struct hv_driver_vm *vm, const void *data, size_t len, size_t *done,
                                       char *text);
};

struct hv_driver_options {
        const char *node;
        const char *uri;       /* libvirt connection */
        const char *state_dir; /* VM disks and console logs are below it */
        const char *emulator;  /* NULL = libvirt's default for the machine type */
        const char *accel;     /* kvm or tcg */
        const char *qemu_img;  /* NULL = found in PATH */
        hv_driver_event_fn on_event;
        void *arg;
};

int hv_driver_libvirt_new(struct hv_driver **out, const struct hv_driver_options *options);
extern const struct hv_driver_ops hv_driver_libvirt_ops;

int hv_driver_fake_new(struct hv_driver **out, const struct hv_driver_options *options);
extern const struct hv_driver_ops hv_driver_fake_ops;
