/* SPDX-License-Identifier: Apache-2.0 */
/* The service around the core: bus, informers, requests to the API, on one reactor. */
#pragma once

#include "libcommon/options.h"
#include "services/watcher/core.h"

struct watcher_options {
        char *bus_dir, *state_dir, *node_name, *node_ip, *kubeconfig, *context, *journal;
        uint64_t nic_slots, max_vms, republish, reask;
};

extern const struct ak_program watcher_program;

struct watcher_shell;

/* Prints what is wrong. Exit code: 0 and *out, else 1 (cannot run) or 2 (configuration). */
int watcher_shell_new(struct watcher_shell **out, const struct watcher_options *options);
struct watcher_shell *watcher_shell_free(struct watcher_shell *shell);
/* Runs until SIGTERM or SIGINT, which the caller has blocked. Exit code. VMs and NICs stay as they are. */
int watcher_shell_run(struct watcher_shell *shell);

/* node.c: the Node object as this machine is, without conditions. NULL when out of memory. */
json_t *watcher_node_describe(const char *name, const char *ip, uint64_t nic_slots);
/* First address of this machine that is not loopback, "127.0.0.1" where there is none. */
void watcher_node_address(char *out, size_t size);
