/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bus messages for people and for programs: one line each, filtered by node, pod, NIC, type and time.
 *
 * Only vm.* and nic.diff carry the pod's name; the view remembers it by UID, so that a filter by name takes
 * the others too once one of those was seen. A filter by UID always does.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "libcommon/bus.h"
#include "libcommon/options.h"

struct ctl_filter {
        const char *pod;         /* UID, NAME or NAMESPACE/NAME; NULL = all */
        const char *nic;         /* NULL = all */
        const char *node;        /* NULL = all */
        struct ak_strlist types; /* "nic.diff", …; empty = all */
        bool live_only;          /* leave out last values sent again */
        uint64_t since_us;       /* received at or after; 0 = from the beginning */
        uint64_t until_us;       /* received before; 0 = to the end */
};

struct ctl_view_options {
        bool json;
        bool color;
        bool nodes; /* a column for the node */
};

/* Where a message was heard, and when. */
struct ctl_heard {
        const char *node; /* "" where not known */
        uint64_t received_us;
};

struct ctl_view;
int ctl_view_new(struct ctl_view **out, const struct ctl_filter *filter,
                 const struct ctl_view_options *options);
struct ctl_view *ctl_view_free(struct ctl_view *v);
AK_DEFINE_CLEANUP(struct ctl_view *, ctl_view_free)

/* Does the filter take the message? Also what makes the view learn names. */
bool ctl_view_takes(struct ctl_view *v, const struct ak_bus_frame *frame, const struct ctl_heard *heard);
/* Prints one line, flushed. Nothing that a peer sends can forge a line or move the cursor. */
void ctl_view_show(struct ctl_view *v, const struct ak_bus_frame *frame, const struct ctl_heard *heard,
                   FILE *out);
/* {"time", "node", "publisher", "topic", "epoch", "seq", "sent_us", "replayed", "trace", "message" |
 * "error"}; new reference. */
json_t *ctl_view_json(const struct ak_bus_frame *frame, const struct ctl_heard *heard);
/* Of "auto", "always", "never": are there to be colours in `out`? auto: on a terminal, unless NO_COLOR is set
 * (https://no-color.org: to anything but nothing) or TERM says that it cannot. */
bool ctl_view_wants_color(const char *when, FILE *out);
