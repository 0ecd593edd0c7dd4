/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to an API server from a reactor: one actor with kept-alive connections carries them out, up to
 * AK_KUBE_PARALLEL at a time and in no order; the answers come back through the loop. A caller that needs
 * order waits for the answer before it asks again.
 */
#pragma once

#include <czmq.h>

#include "libcommon/kube/session.h"

#define AK_KUBE_PARALLEL    8
#define AK_KUBE_MAX_PENDING 512 /* submitted and not answered; below czmq's pipe high-water mark of 1000 */

struct ak_kube_client;

/* 0, -ENOMEM, -EINVAL. */
int ak_kube_client_new(struct ak_kube_client **out, zloop_t *loop, const struct ak_kubeconfig *config,
                       const char *user_agent);
/* Cancels what runs and returns promptly; no callback runs during or after it. */
struct ak_kube_client *ak_kube_client_free(struct ak_kube_client *client);
AK_DEFINE_CLEANUP(struct ak_kube_client *, ak_kube_client_free)

/*
 * Copies path, takes a reference to the body (which must not be changed any more). `done` runs once on the
 * loop's thread; the response is valid during the call. 0, -ENOBUFS (too many pending), -ENOMEM.
 */
typedef void (*ak_kube_answer_fn)(void *arg, const struct ak_kube_response *response);
int ak_kube_client_submit(struct ak_kube_client *client, const struct ak_kube_request *request,
                          ak_kube_answer_fn done, void *arg);
size_t ak_kube_client_pending(const struct ak_kube_client *client);
