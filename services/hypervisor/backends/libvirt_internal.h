/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the libvirt driver alone. */
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>

#include "services/hypervisor/backends/driver.h"

struct hv_driver {
        char node[AK_LEN_NAME + 1];
        char *uri, *state_dir, *emulator, *qemu_img;
        char accel[8];
        hv_driver_event_fn on_event;
        void *arg;

        virConnectPtr conn; /* events and lists */
        int callbacks[8], monitor_callback;
        size_t callback_count;

        pthread_mutex_t lock; /* of what follows: seen from the event thread */
        bool connected;
};

/*
 * Each VM has a connection of its own: libvirtd works on at most five calls of one client at a time
 * (max_client_requests), so that with one for all a few stuck VMs would hold up the others.
 */
struct hv_driver_vm {
        struct hv_driver *driver;
        char uid[37];
        virConnectPtr conn;
        virDomainPtr domain;
        pthread_mutex_t console_lock; /* the console has a thread, and so a connection, of its own */
        virConnectPtr console_conn;
        virStreamPtr console;
};

/* What an error means, from libvirt's code and text. Pure. */
enum hv_error hv_libvirt_classify(int code, int domain, const char *message);
/* The thread's last libvirt error, classified; its text into `text`. */
enum hv_error hv_libvirt_error(char *text);
/* Starts libvirt's event loop in a thread, once per process. 0 or -EIO. */
int hv_libvirt_event_loop(void);
virConnectPtr hv_libvirt_open(const struct hv_driver *d);
/* The domain, described: live XML and state. *out NULL when it is gone or (with -ENOENT) not ours. */
enum hv_error hv_libvirt_describe(const struct hv_driver *d, virDomainPtr domain, struct hv_live_domain **out,
                                  char *text);

/* libvirt_tap.c: `ifindex` and `tap_idle`; left as they are where the host does not show the device. */
void hv_libvirt_tap_look(struct hv_live_nic *nic);

/* libvirt_vm.c, libvirt_console.c */
struct hv_driver_vm *hv_libvirt_vm_open(struct hv_driver *d, const char *pod_uid);
struct hv_driver_vm *hv_libvirt_vm_close(struct hv_driver_vm *vm);
enum hv_error hv_libvirt_inspect(struct hv_driver_vm *vm, struct hv_live_domain **out, char *text);
enum hv_error hv_libvirt_start(struct hv_driver_vm *vm, const struct hv_domain_spec *spec,
                               struct hv_live_domain **out, char *text);
enum hv_error hv_libvirt_shutdown(struct hv_driver_vm *vm, char *text);
enum hv_error hv_libvirt_destroy(struct hv_driver_vm *vm, char *text);
enum hv_error hv_libvirt_suspend(struct hv_driver_vm *vm, char *text);
enum hv_error hv_libvirt_resume(struct hv_driver_vm *vm, char *text);
enum hv_error hv_libvirt_attach(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text);
enum hv_error hv_libvirt_detach(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text);
enum hv_error hv_libvirt_set_link(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text);
enum hv_error hv_libvirt_probe(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, uint64_t *status,
                               char *text);
enum hv_error hv_libvirt_cleanup(struct hv_driver_vm *vm, char *text);
enum hv_error hv_libvirt_console_write(struct hv_driver_vm *vm, const void *data, size_t len, size_t *done,
                                       char *text);
void hv_libvirt_console_close(struct hv_driver_vm *vm);

/* The bits of an answer to x-query-virtio-status. -EBADMSG when it is none. */
int hv_virtio_status_parse(const char *json, uint64_t *status);
