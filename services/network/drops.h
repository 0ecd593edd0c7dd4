/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says in the log which ports' packets were dropped, why and how many: every DROPS_EVERY_MS what came since
 * the last look, and never more than DROPS_LINES lines, because it is VMs that cause them.
 */
#pragma once

#include <czmq.h>

#include "services/network/backends/backend.h"
#include "services/network/core.h"

#define DROPS_EVERY_MS 10000
#define DROPS_LINES    20

struct net_drops {
        zhashx_t *counts; /* "TAP REASON" -> packets, when last looked; NULL = never looked */
        uint64_t sum;
};

/* The first look only notes what there is. */
void net_drops_look(struct net_drops *d, struct vpc_backend *backend, const struct net_core *core);
void net_drops_deinit(struct net_drops *d);
