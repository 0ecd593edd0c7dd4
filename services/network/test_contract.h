/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of backends/backend.h as tests, run over every backend. */
#pragma once

#include "services/network/backends/backend.h"

/* What the contract needs of the one who runs it. */
struct contract_host {
        /* A backend of the node `node`. NULL: cannot. */
        struct vpc_backend *(*make)(const char *node);
        /* Another one over the same host, in the place of this: the service was restarted. */
        struct vpc_backend *(*restart)(struct vpc_backend *b, const char *node);
        /* Somebody deletes a port's device, a subnet's bridge. */
        void (*lose_port)(struct vpc_backend *b, const char *port_id);
        void (*lose_subnet)(struct vpc_backend *b, const char *subnet_id);
};

/* Number of failures. */
int contract_run(const struct contract_host *host);
