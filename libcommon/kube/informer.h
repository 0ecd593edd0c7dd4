/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An informer: the objects of one collection, listed once and then watched for good.
 *
 * It lists in pages, delivers each object, says `synced`, and watches from the list's resourceVersion with
 * bookmarks. A watch that ends is begun anew where it stood; where the server no longer knows that point
 * (410) it lists again and delivers the difference, deletes included. Failures are tried again with
 * back-off, for ever. The callbacks see each object's states in order, may miss states in between, and
 * never see a state go backward.
 *
 * It runs in an actor; callbacks run on the loop's thread. A slow loop slows the actor down (the pipe's
 * high-water mark) and, through TCP, the server.
 */
#pragma once

#include <czmq.h>

#include "libcommon/kube/session.h"

struct ak_informer_options {
        const char *path;           /* collection: "/api/v1/pods" */
        const char *field_selector; /* NULL = all */
        const char *label_selector; /* NULL = all */
        const char *user_agent;
        uint32_t page_size;       /* 0 = 500 */
        uint32_t max_objects;     /* 0 = 100,000; more are not delivered, and told through `state` */
        uint32_t max_line;        /* bytes of one watch event; 0 = AK_KUBE_LINE_MAX */
        uint32_t watch_timeout_s; /* the server is asked to end a watch after about this; 0 = 300 */
        uint64_t backoff_base_us; /* 0 = 250 ms */
        uint64_t backoff_cap_us;  /* 0 = 10 s */
        uint64_t seed;            /* jitter */
};

struct ak_informer_handler {
        void (*put)(void *arg, json_t *object);
        /* `object` is the last state, or only its apiVersion, kind and metadata where the delete was missed.
         */
        void (*gone)(void *arg, json_t *object);
        void (*synced)(void *arg); /* after each complete list */
        /* Connected or not, and why not. Called on each change. May be NULL. */
        void (*state)(void *arg, bool connected, const char *why);
        void *arg;
};

struct ak_informer;

int ak_informer_new(struct ak_informer **out, zloop_t *loop, const struct ak_kubeconfig *config,
                    const struct ak_informer_options *options, const struct ak_informer_handler *handler);
/*
 * Goes on with another field selector and no label selector; NULL = with nothing. Lists anew and delivers the
 * difference: what is not selected any more is gone. What was under way for the former selection, `synced`
 * among it, may still come before. 0, -ENOMEM.
 */
int ak_informer_select(struct ak_informer *informer, const char *field_selector);
/* Prompt; no callback runs during or after it. */
struct ak_informer *ak_informer_free(struct ak_informer *informer);
AK_DEFINE_CLEANUP(struct ak_informer *, ak_informer_free)
