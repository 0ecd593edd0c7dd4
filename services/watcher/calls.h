/* SPDX-License-Identifier: Apache-2.0 */
/* The core's requests to the API, carried out; each answer becomes one event. */
#pragma once

#include "libcommon/kube/client.h"
#include "services/watcher/core.h"

struct watcher_calls;

typedef void (*watcher_answer_fn)(void *arg, const struct watcher_event *event);

int watcher_calls_new(struct watcher_calls **out, zloop_t *loop, const struct ak_kubeconfig *config,
                      watcher_answer_fn on_answer, void *arg);
/* No answer comes during or after it. */
struct watcher_calls *watcher_calls_free(struct watcher_calls *calls);
/* Answers in any case, later: also where the request could not even be sent. */
void watcher_calls_submit(struct watcher_calls *calls, const struct watcher_action *action);
