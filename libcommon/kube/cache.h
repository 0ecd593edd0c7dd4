/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an informer remembers of the objects that it has delivered: name, UID and resourceVersion of each,
 * no more. From it come the deletes that a watch missed: after a re-list, what was delivered once and is
 * not in the list is gone; a name that has another UID now was deleted and made again. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "libcommon/cleanup.h"

struct ak_kube_cache;

struct ak_kube_cache_sink {
        /* Both take over the reference. For a delete that was missed the object is but apiVersion, kind
         * and metadata. */
        void (*put)(void *arg, json_t *object);
        void (*gone)(void *arg, json_t *object);
        void *arg;
};

int ak_kube_cache_new(struct ak_kube_cache **out, size_t max_objects, const struct ak_kube_cache_sink *sink);
struct ak_kube_cache *ak_kube_cache_free(struct ak_kube_cache *cache);
AK_DEFINE_CLEANUP(struct ak_kube_cache *, ak_kube_cache_free)

/* A list: begin, put each of its items (unchanged ones are not delivered again), end. */
void ak_kube_cache_list_begin(struct ak_kube_cache *cache);
void ak_kube_cache_list_end(struct ak_kube_cache *cache);
/* An item of a list, or ADDED or MODIFIED. Takes no reference. -ENOSPC at the bound, -ENOMEM. */
int ak_kube_cache_put(struct ak_kube_cache *cache, json_t *object);
/* DELETED. */
void ak_kube_cache_delete(struct ak_kube_cache *cache, json_t *object);
size_t ak_kube_cache_size(const struct ak_kube_cache *cache);
