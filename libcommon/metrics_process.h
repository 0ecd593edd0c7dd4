/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics that every program has by Prometheus' conventions: memory, CPU, descriptors, start, version. */
#pragma once

#include "libcommon/metrics.h"

struct ak_process_metrics;

/* 0 or -ENOMEM. `metrics` outlives it. */
int ak_process_metrics_new(struct ak_process_metrics **out, struct ak_metrics *metrics, const char *service,
                           const char *node);
struct ak_process_metrics *ak_process_metrics_free(struct ak_process_metrics *process);
