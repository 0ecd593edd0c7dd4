/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics of a service, answered by its own loop: a service that hangs does not answer, and that is what
 * its monitor should see. No TLS and no identity, so bind it to loopback, to a management address, or to a
 * UNIX socket, which is made with mode 0600.
 */
#pragma once

#include <czmq.h>

#include "libcommon/metrics.h"

#define AK_METRICS_HTTP_ERROR_SIZE 256

struct ak_metrics_http;

/*
 * `address`: ADDRESS:PORT, [IPv6]:PORT (numbers; port 0 takes a free one), or unix:/PATH. 0, or negative
 * errno and what is wrong in `error`. The registry and the loop outlive it.
 */
int ak_metrics_http_new(struct ak_metrics_http **out, zloop_t *loop, struct ak_metrics *metrics,
                        const char *address, char error[AK_METRICS_HTTP_ERROR_SIZE]);
struct ak_metrics_http *ak_metrics_http_free(struct ak_metrics_http *http);
AK_DEFINE_CLEANUP(struct ak_metrics_http *, ak_metrics_http_free)
/* The port that it listens at; 0 for a UNIX socket. */
unsigned ak_metrics_http_port(const struct ak_metrics_http *http);
