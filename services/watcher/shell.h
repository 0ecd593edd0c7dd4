/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher's shell: one zloop between the node's bus, the API and the core. README.md lists what wakes
 * it. Everything that blocks is in the actors of libcommon/kube.
 */
#pragma once

#include <czmq.h>
#include <jansson.h>
#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/cleanup.h"
#include "libcommon/kube/session.h"
#include "services/watcher/core.h"

struct watcher_shell_options {
        char *node_name; /* NULL = the host's name */
        char *node_ip;   /* NULL = found out */
        char *kubeconfig;
        char *context; /* NULL = current-context */
        char *bus_dir;
        char *state_dir;
        char *journal;        /* NULL = none */
        char *metrics, *otlp; /* address of the endpoint, URL of the collector; NULL = none */
        uint64_t nic_slots, max_pods, lease_interval_us;
        struct ak_bus_net net;
};

struct watcher_shell;

/* 0, or negative errno after a log line that says what and why. */
int watcher_shell_new(struct watcher_shell **out, zloop_t *loop, const struct watcher_shell_options *options);
struct watcher_shell *watcher_shell_free(struct watcher_shell *shell);
AK_DEFINE_CLEANUP(struct watcher_shell *, watcher_shell_free)
/* The core's figures, for the status line of systemd. */
void watcher_shell_stats(const struct watcher_shell *shell, struct watcher_core_stats *out);

/* ------------------------------------------------------------------ parts, for the tests */

/* The request of a WATCHER_ACTION_CALL; *path is freed with free(). -EINVAL for a name that is none. */
int watcher_request_of(const struct watcher_action *action, struct ak_kube_request *out, char **path);
enum watcher_outcome watcher_outcome_of(const struct ak_kube_response *response);
/* The Node object of this machine. New reference; NULL when out of memory. */
json_t *watcher_node_facts(const char *name, const char *address, uint64_t max_pods, uint64_t nic_slots);
/* The first address of an interface that is up, not loopback and not ours. 0 or -ENOENT. */
int watcher_find_address(char *out, size_t size);
