/* SPDX-License-Identifier: Apache-2.0 */
/* What integration tests need of the host: a private libvirtd, taps, a guest image, a directory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct host {
        char dir[64]; /* /tmp/akhv-…; short, because of socket paths */
        char uri[160];
        char image[256];
        unsigned tap_count;
};

/* Fails the test where something is missing. `append`: kernel options of the guest, NULL for a good one. */
void host_init(struct host *host, const char *append);
void host_deinit(struct host *host);
/* Makes a tap `hvt<n>`, up; removed by host_deinit(). */
void host_tap(struct host *host, unsigned n, char name[16]);
/* Deletes it, under whoever has it open, and makes another one of the same name. */
void host_tap_replace(struct host *host, unsigned n, char name[16]);
/* Kills a pod's QEMU, by the pid that libvirt keeps of it. */
void host_kill_guest(const struct host *host, const char *pod_uid);
/* tests/lib/private-libvirtd VERB DIR */
void host_libvirtd(struct host *host, const char *verb);
/* A guest image with other options, made when it is not there yet. */
void host_image(const char *append, char out[256]);
/* Runs argv; fails the test when it does not end with 0 in time. */
void host_run(const char *const *argv, unsigned timeout_s);
/* Polls until the function returns true; false after the time. */
bool host_wait(bool (*check)(void *arg), void *arg, unsigned timeout_ms);
