/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bus messages for people and for programs: one line each, filtered by pod, NIC and type.
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
        struct ak_strlist types; /* "nic.diff", …; empty = all */
        bool live_only;          /* leave out last values sent again */
};

struct ctl_view;
int ctl_view_new(struct ctl_view **out, const struct ctl_filter *filter, bool json);
struct ctl_view *ctl_view_free(struct ctl_view *v);
AK_DEFINE_CLEANUP(struct ctl_view *, ctl_view_free)

/* Does the filter take the message? Also what makes the view learn names. */
bool ctl_view_takes(struct ctl_view *v, const struct ak_bus_frame *frame);
/* Prints one line, flushed. Nothing that a peer sends can forge a line or move the cursor. */
void ctl_view_show(struct ctl_view *v, const struct ak_bus_frame *frame, uint64_t received_us, FILE *out);
/* {"time", "publisher", "topic", "epoch", "seq", "sent_us", "replayed", "trace", "message" | "error"}; new
 * reference. */
json_t *ctl_view_json(const struct ak_bus_frame *frame, uint64_t received_us);
