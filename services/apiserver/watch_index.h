/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which watchers a change may concern. Each node has several watches, so a change that went past all of them
 * would cost a look at tens of thousands. A watcher whose selector names values of a field that objects are
 * found by (its node, its VPCs) is kept under those; all others of its kind have to be asked. Pure.
 */
#pragma once

#include "services/apiserver/event.h"

struct api_watch_index;

int api_watch_index_new(struct api_watch_index **out);
struct api_watch_index *api_watch_index_free(struct api_watch_index *index);
/* The selector must not change until the removal, and stays the caller's. -ENOMEM: the watcher is not in it.
 */
int api_watch_index_add(struct api_watch_index *index, const struct api_kind *kind,
                        const struct api_selector *s, void *watcher);
void api_watch_index_remove(struct api_watch_index *index, const struct api_kind *kind,
                            const struct api_selector *s, void *watcher);
/* Calls for each watcher that the event may concern, some more than once. Nobody comes or goes meanwhile. */
typedef void (*api_watch_index_fn)(void *arg, void *watcher);
void api_watch_index_each(struct api_watch_index *index, const struct api_event *event, api_watch_index_fn fn,
                          void *arg);
