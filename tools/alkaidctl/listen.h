/* SPDX-License-Identifier: Apache-2.0 */
/* Listening to a node's bus without being part of it: what tap, record and stats have in common. */
#pragma once

#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/stats.h"

/* Messages that wait for us at most; what is beyond is dropped by ZeroMQ, and counted. */
#define CTL_LISTEN_QUEUE 20000

struct ctl_listen {
        /* DIR, or NODE=DIR where several nodes are looked at; at least one. */
        const struct ak_strlist *bus_dirs;
        const struct ak_bus_net *net;    /* peers on tcp; NULL = none */
        const struct ak_strlist *types;  /* empty = all */
        const struct ak_strlist *others; /* services that are not ours: all that they say; may be NULL */
        const char *node;                /* only this one of the nodes; NULL = all */
        uint64_t duration_us;            /* 0 = until a signal */
        uint64_t interval_us;            /* of on_interval; 0 = never */
        /* A message of `node`. Non-zero ends the listening. */
        int (*on_message)(void *arg, const char *node, const struct ak_bus_frame *frame);
        int (*on_interval)(void *arg);
        struct ctl_stats *stats; /* is fed with all that is heard, the bus's own messages too; may be NULL */
        void *arg;
        const char *command; /* for error texts */
};

/* Runs until a signal, the duration or a callback ends it. An exit code of command.h. */
int ctl_listen(const struct ctl_listen *listen);
/* The name of this machine, for what is not named otherwise. */
void ctl_host_name(char *out, size_t size);
