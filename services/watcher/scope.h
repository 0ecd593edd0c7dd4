/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of one collection that have one of a changing set of values in a field: ports of these VPCs,
 * Nodes of these names. A few informers, each for some of the values (`FIELD in (A,B)`): a value that comes
 * or goes makes one of them list again, not all; and a thousand values do not make a thousand connections.
 */
#pragma once

#include "libcommon/kube/informer.h"

struct watcher_scope;

struct watcher_scope_options {
        const char *path, *field, *user_agent;
        size_t most; /* values of one informer */
        uint64_t seed;
};

struct watcher_scope_handler {
        /* `from` tells informers apart: where a value left one and came back to another, the first may say
         * `gone` of an object after the second has put it. */
        void (*put)(void *arg, json_t *object, const void *from);
        void (*gone)(void *arg, json_t *object, const void *from);
        void (*synced)(void *arg); /* some informer has listed */
        void *arg;
};

int watcher_scope_new(struct watcher_scope **out, zloop_t *loop, const struct ak_kubeconfig *kubeconfig,
                      const struct watcher_scope_options *options,
                      const struct watcher_scope_handler *handler);
struct watcher_scope *watcher_scope_free(struct watcher_scope *scope);
AK_DEFINE_CLEANUP(struct watcher_scope *, watcher_scope_free)

/* The values from now on, as the keys of a hash. 0, -ENOMEM: then call again. */
int watcher_scope_set(struct watcher_scope *scope, zhashx_t *values);
/* Each informer has listed at least once; true where there is none. */
bool watcher_scope_synced(const struct watcher_scope *scope);
size_t watcher_scope_informers(const struct watcher_scope *scope);
