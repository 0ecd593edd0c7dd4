/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of backends/backend.h as tests, run over every backend. */
#pragma once

#include "services/network/backends/backend.h"

/* Makes a backend of the node `node`; its state outlives the backend (a restart). NULL: cannot. */
typedef struct vpc_backend *(*contract_factory)(const char *node);

/* Number of failures. restarts: whether ports outlive the backend. */
int contract_run(contract_factory factory, bool restarts);
