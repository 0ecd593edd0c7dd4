/* SPDX-License-Identifier: Apache-2.0 */
/* Listening to the node's bus without being part of it: what tap and record have in common. */
#pragma once

#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/options.h"

struct ctl_listen {
        const char *bus_dir;
        const struct ak_strlist *types; /* empty = all */
        uint64_t duration_us;           /* 0 = until a signal */
        /* A message. Non-zero ends the listening. */
        int (*on_message)(void *arg, const struct ak_bus_frame *frame);
        void *arg;
        const char *command; /* for error texts */
};

/* Runs until a signal, the duration or on_message ends it. An exit code of command.h. */
int ctl_listen(const struct ctl_listen *listen);
