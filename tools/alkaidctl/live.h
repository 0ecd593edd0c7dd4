/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay into a live service: what its peers said, said again under their names on a bus that has nobody
 * else, at the recorded or another speed. What the service answers is handed to the caller.
 *
 * Last values that were recorded as sent again come first, at once. Numbers and epochs are new, times are
 * those of now; topics, bodies and traces are the recorded ones.
 */
#pragma once

#include <stdint.h>

#include "libcommon/bus.h"
#include "tools/alkaidctl/capture.h"

struct ctl_live {
        const char *bus_dir;
        const char *to;       /* name of the service */
        double speed;         /* 1 = as recorded, 2 = twice as fast; 0 = as fast as can be */
        uint64_t patience_us; /* until the service listens to all peers whose messages it takes */
        uint64_t settle_us; /* after the last message: leave when the service has been quiet for this long */
        char *const *paths; /* captures, in the order of their parts */
        size_t count;
        void (*on_answer)(void *arg, const struct ak_bus_frame *frame);
        void *arg;
};

struct ctl_live_result {
        uint64_t sent, answers;
        uint64_t
            passed; /* messages of the capture that are not for the service: its own, or of other types */
        bool torn;
};

/* 0; -EADDRINUSE where a peer's name has an owner, -ETIMEDOUT where the service does not listen, -ENOENT
 * where no message is for it, -EBADMSG, -errno; always with a text. */
int ctl_live_replay(const struct ctl_live *live, struct ctl_live_result *result, char error[CTL_ERROR_SIZE]);
/* "max", or a factor above 0; -EINVAL. */
int ctl_live_parse_speed(const char *text, double *out);
