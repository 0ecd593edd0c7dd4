/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: a recorded run fed to a fresh core, offline.
 *
 * A journal (libcommon/journal.h) holds what went into a core and what came out of it. The events go into a
 * core made with the recorded configuration, at the recorded times; what comes out is printed, compared
 * with what came out then, or written in its place. A pure core gives the same answer every time, so any
 * difference is a change of behaviour.
 *
 * A capture of the bus holds messages only: they are fed as the core would have received them, and what
 * comes out is printed; there is nothing to compare with.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "libcommon/bus.h"
#include "tools/alkaidctl/capture.h"

/* A service's core behind JSON. All return 0 or negative errno with a text. */
struct ctl_core_ops {
        const char *name; /* of the service */
        int (*create)(void **out, const json_t *config, char error[CTL_ERROR_SIZE]);
        void (*destroy)(void *core);
        int (*step)(void *core, const json_t *event, uint64_t now_us, uint64_t real_us, json_t **actions,
                    char error[CTL_ERROR_SIZE]);
        /* The event that the shell makes of a bus message; NULL where the core does not listen to it. */
        json_t *(*event_of_frame)(const struct ak_bus_frame *frame);
        /* What a capture does not record: a configuration, and the events of a start on an empty node. */
        json_t *(*default_config)(void);
        json_t *(*start_events)(void);
};

/* NULL-terminated. */
extern const struct ctl_core_ops *const ctl_cores[];

struct ctl_replay {
        const struct ctl_core_ops *const *cores;
        const char *core;   /* NULL = as the journal says */
        bool check;         /* compare, print only differences */
        const char *update; /* write the journal anew, with the actions of now, to this file; or NULL */
        FILE *out;
};

struct ctl_replay_result {
        uint64_t runs, events, actions, differences;
        bool torn; /* the last file ended inside a line */
};

/* Journals in the order of their parts. 0; -EBADMSG, -EINVAL, -errno with a text. */
int ctl_replay_journal(const struct ctl_replay *replay, char *const *paths, size_t count,
                       struct ctl_replay_result *result, char error[CTL_ERROR_SIZE]);
int ctl_replay_capture(const struct ctl_replay *replay, char *const *paths, size_t count,
                       struct ctl_replay_result *result, char error[CTL_ERROR_SIZE]);
