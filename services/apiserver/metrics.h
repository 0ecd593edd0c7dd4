/* SPDX-License-Identifier: Apache-2.0 */
/* What the apiserver tells beside what all services do (libcommon/telemetry.h). */
#pragma once

#include "libcommon/metrics.h"
#include "services/apiserver/server_internal.h"

struct api_metrics;

/* 0 or -ENOMEM. The server outlives it, and so does its telemetry. */
int api_metrics_new(struct api_metrics **out, struct api_server *server);
struct api_metrics *api_metrics_free(struct api_metrics *metrics);
/* Answered; a watch when it began. */
void api_metrics_request(struct api_metrics *metrics, const struct api_call *call, uint64_t took_us);
void api_metrics_commit(struct api_metrics *metrics, size_t changes);
/* GET /metrics of the front door. */
void api_metrics_answer(struct api_call *call);
