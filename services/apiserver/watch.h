/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches: a ring of the last changes, and watchers that each hold a place in it. Pure: no socket, no clock.
 *
 * A watcher has no queue of its own. It owns a number, the next change to look at; what the ring still holds
 * is what it may lag behind. So the memory that a slow client can pin down is that of one event, and one that
 * falls off the ring's end is told so (ERROR, 410 Expired) and cut off. Feeding a thousand watchers costs a
 * comparison each; the text of an event is made once (event.h).
 *
 * Selectors apply to the old and the new object: one that ceases to match is DELETED for that watcher, one
 * that begins to match is ADDED.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "services/apiserver/core.h"
#include "services/apiserver/event.h"

struct api_hub;

struct api_hub_config {
        uint32_t history;          /* changes kept; 0 = 8192 */
        size_t history_bytes;      /* 0 = 64 MiB */
        uint64_t bookmark_us;      /* 0 = 30 s */
        uint64_t resource_version; /* at start: what happened before it is unknown here */
};

int api_hub_new(struct api_hub **out, const struct api_hub_config *config);
struct api_hub *api_hub_free(struct api_hub *hub); /* all watchers must be gone */
AK_DEFINE_CLEANUP(struct api_hub *, api_hub_free)

/* Appends a change that is not durable yet, of which no watcher hears; takes a reference. */
void api_hub_stage(struct api_hub *hub, struct api_event *event);
/* The oldest `count` changes of those are durable. Wakes the watchers that may care. */
void api_hub_publish(struct api_hub *hub, size_t count);
/* An api_history of all changes, staged ones too; arg is the hub. */
void api_hub_after(void *arg, const struct api_kind *kind, uint64_t version, api_history_fn visit,
                   void *visit_arg);
/* Ends watches whose time is up, wakes those due for a bookmark. *next_us: when to call again; 0 = no need.
 */
void api_hub_tick(struct api_hub *hub, uint64_t now_us, uint64_t *next_us);
/* Ends every watch, for a clean stop. */
void api_hub_stop(struct api_hub *hub);
size_t api_hub_watchers(const struct api_hub *hub);
/* The oldest resourceVersion from which a watch can start. */
uint64_t api_hub_oldest(const struct api_hub *hub);

struct api_watch_options {
        const struct api_kind *kind;
        const char *name_space; /* "" = all */
        const char *labels, *fields;
        enum api_event_form form;
        bool bookmarks;
        bool initial_end;           /* a bookmark with k8s.io/initial-events-end after `initial` */
        struct api_image **initial; /* what comes first, as ADDED; NULL = nothing; malloc'd, taken over with
                                       its references unless an error is returned */
        size_t initial_count;
        uint64_t after;          /* changes past this resourceVersion follow */
        uint64_t deadline_us;    /* monotonic; 0 = none */
        void (*wake)(void *arg); /* there may be something to read; never called from inside a read */
        void *arg;
};

struct api_watcher;

/* 0, -ENOMEM, or -EINVAL for a selector, with its text. `after` too old is no error here: the stream says it.
 */
int api_watcher_new(struct api_watcher **out, struct api_hub *hub, const struct api_watch_options *options,
                    uint64_t now_us, char error[256]);
struct api_watcher *api_watcher_free(struct api_watcher *w);

#define API_WATCH_END (-1)
/* Bytes of the stream: > 0; 0 = nothing now, wait for wake(); API_WATCH_END = over. */
ssize_t api_watcher_read(struct api_watcher *w, char *buf, size_t max, uint64_t now_us, uint64_t real_us);
/* Makes the next read say API_WATCH_END. */
void api_watcher_close(struct api_watcher *w);
