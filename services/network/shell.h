/* SPDX-License-Identifier: Apache-2.0 */
/* The network service around its core: options, bus, workers, kernel events. */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/cleanup.h"
#include "libcommon/options.h"

struct net_options {
        char *bus_dir, *state_dir, *node_name, *backend, *dnsmasq_path, *bridge_nf_call, *journal, *vtep,
            *ovn_nb, *ovs_db, *metrics, *otlp;
        uint64_t dhcp_lease; /* microseconds */
        uint64_t mtu, max_ports, workers;
        bool anti_spoofing, teardown;
        struct ak_bus_net net;
};

extern const struct ak_program net_program;

struct net_shell;

/* 0, or an exit code after having logged why: 1 = the host, 2 = an option. */
int net_shell_new(struct net_shell **out, const struct net_options *options);
/* For ak_service_new(), which ends it on SIGTERM and SIGINT. */
zloop_t *net_shell_loop(struct net_shell *shell);
/* Runs until its loop is ended. Returns the exit code. */
int net_shell_run(struct net_shell *shell);
/* Waits for calls under way. Ports and DHCP servers stay: VMs go on. */
struct net_shell *net_shell_free(struct net_shell *shell);
AK_DEFINE_CLEANUP(struct net_shell *, net_shell_free)

/* --teardown: removes everything of this node from the host. Returns the exit code. */
int net_teardown(const struct net_options *options);
