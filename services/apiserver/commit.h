/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: the changes of all requests that arrive while a transaction is being written go into the next
 * one. An actor owns the store and does the writing, so an fsync never holds up the loop; there is at most
 * one batch on its way to the disk and one that is being filled.
 *
 * Nobody is answered before the batch that their answer depends on is durable: see api_commit_pending().
 */
#pragma once

#include <czmq.h>
#include <stddef.h>
#include <stdint.h>

#include "services/apiserver/event.h"
#include "services/apiserver/store.h"

struct api_commit_handler {
        /* Batch `batch`, of so many changes, is durable. */
        void (*committed)(void *arg, uint64_t batch, size_t count);
        /* It is not and never will be; memory is ahead of the disk: stop the process. */
        void (*failed)(void *arg, int error, const char *text);
        void *arg;
};

struct api_commit;

/* The store belongs to the actor until api_commit_free(), which writes what is left and waits for it. */
int api_commit_new(struct api_commit **out, zloop_t *loop, struct api_store *store,
                   const struct api_commit_handler *handler);
struct api_commit *api_commit_free(struct api_commit *commit);

/* Adds a change to the batch being filled. Takes a reference. 0 or -ENOMEM. */
int api_commit_add(struct api_commit *commit, struct api_event *event);
/* The batch that makes everything added so far durable; 0 = it is already. */
uint64_t api_commit_pending(const struct api_commit *commit);
/* Sends the batch being filled on its way, if there is one and none is under way. */
void api_commit_flush(struct api_commit *commit);
