/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyboard input for a VM's serial console: a non-blocking libvirt stream, opened at the first key.
 *
 * libvirtd reads the pty as long as the stream is open and sends us the output, which is not wanted here (it
 * is read from the console's log): it is thrown away in the event thread, so that the stream never stalls.
 */
#include <string.h>

#include "services/hypervisor/backends/libvirt_internal.h"

static void discard(virStreamPtr stream, int events, void *arg)
{
        char buffer[4096];
        int n = 0;

        (void)arg;
        if (events & VIR_STREAM_EVENT_READABLE) {
                do {
                        n = virStreamRecv(stream, buffer, sizeof(buffer));
                } while (n > 0);
        }
        if ((events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP)) || n == 0 || n == -1)
                (void)virStreamEventRemoveCallback(stream);
}

static void close_console(struct hv_driver_vm *vm)
{
        if (vm->console) {
                (void)virStreamEventRemoveCallback(vm->console);
                (void)virStreamAbort(vm->console);
                (void)virStreamFree(vm->console);
        }
        if (vm->console_conn)
                (void)virConnectClose(vm->console_conn);
        vm->console = NULL;
        vm->console_conn = NULL;
}

void hv_libvirt_console_close(struct hv_driver_vm *vm)
{
        (void)pthread_mutex_lock(&vm->console_lock);
        close_console(vm);
        (void)pthread_mutex_unlock(&vm->console_lock);
}

static bool open_stream(struct hv_driver_vm *vm)
{
        virDomainPtr domain = virDomainLookupByUUIDString(vm->console_conn, vm->uid);
        bool opened = false;

        if (domain) {
                vm->console = virStreamNew(vm->console_conn, VIR_STREAM_NONBLOCK);
                opened = vm->console && virDomainOpenConsole(domain, NULL, vm->console, 0) == 0 &&
                         virStreamEventAddCallback(vm->console,
                                                   VIR_STREAM_EVENT_READABLE | VIR_STREAM_EVENT_ERROR |
                                                       VIR_STREAM_EVENT_HANGUP,
                                                   discard, NULL, NULL) == 0;
        }
        if (domain)
                (void)virDomainFree(domain);
        return opened;
}

static enum hv_error open_console(struct hv_driver_vm *vm, char *text)
{
        enum hv_error error;

        if (vm->console)
                return HV_OK;
        if (hv_libvirt_event_loop() == 0)
                vm->console_conn = hv_libvirt_open(vm->driver);
        if (vm->console_conn && open_stream(vm))
                return HV_OK;
        error = hv_libvirt_error(text);
        close_console(vm);
        return error;
}

static enum hv_error send(struct hv_driver_vm *vm, const void *data, size_t len, size_t *done, char *text)
{
        enum hv_error error = open_console(vm, text);
        int n;

        if (error != HV_OK)
                return error;
        n = virStreamSend(vm->console, data, len);
        if (n == -1) {
                error = hv_libvirt_error(text);
                close_console(vm);
                return error;
        }
        *done = n > 0 ? (size_t)n : 0; /* -2: would block */
        return HV_OK;
}

enum hv_error hv_libvirt_console_write(struct hv_driver_vm *vm, const void *data, size_t len, size_t *done,
                                       char *text)
{
        enum hv_error error;

        (void)pthread_mutex_lock(&vm->console_lock);
        if (len == 0) {
                close_console(vm);
                *done = 0;
                error = HV_OK;
        } else {
                error = send(vm, data, len, done, text);
        }
        (void)pthread_mutex_unlock(&vm->console_lock);
        return error;
}
