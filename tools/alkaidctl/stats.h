/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who says how much on a bus, and what of it was missed. Fed with every frame that was heard, live or from a
 * capture; without sockets and clock.
 *
 * A publisher numbers its messages per type, so a number that is passed over is a message that we did not
 * get (it was dropped at a high-water mark, or the recorder did not keep up). A sync.mark tells the last
 * numbers, so that a loss at the end is seen, too.
 *
 * Bounded: CTL_STATS_ROWS pairs of publisher and type, CTL_STATS_TOPICS topics; what is beyond is counted
 * under "(others)".
 */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "libcommon/bus.h"
#include "libcommon/bus_wire.h"

#define CTL_STATS_ROWS   128
#define CTL_STATS_TOPICS 65536

struct ctl_stats_row {
        char publisher[AK_BUS_NAME_MAX + 1], type[AK_BUS_MARK_TYPE_LEN + 1];
        uint64_t messages, bytes, topics;
        uint64_t replayed; /* of the messages, those that are last values sent again */
        uint64_t lost, repeated, restarts;
        uint64_t last_us; /* received, real time */
        uint64_t delay_us, delay_max_us,
            delay_count; /* from sent to received, of live messages; sum, most, how many */
        uint64_t shown_messages, shown_bytes; /* when it was last shown */
        uint64_t epoch, seq, replay_seq;
        bool seq_known, replay_known;
};

struct ctl_stats;
int ctl_stats_new(struct ctl_stats **out);
struct ctl_stats *ctl_stats_free(struct ctl_stats *s);
AK_DEFINE_CLEANUP(struct ctl_stats *, ctl_stats_free)

void ctl_stats_take(struct ctl_stats *s, const struct ak_bus_frame *frame, uint64_t received_us);
/* Messages missed, in all. */
uint64_t ctl_stats_lost(const struct ctl_stats *s);
/* Rows in the order of their first message. */
const struct ctl_stats_row *ctl_stats_rows(const struct ctl_stats *s, size_t *count);
/* Rates are of the time since the last call (or since the first message); ages are against now_us. */
void ctl_stats_show(struct ctl_stats *s, uint64_t now_us, FILE *out);
/* {"time", "seconds", "rows": [{"publisher", "type", "messages", "per_second", …}]}; new reference. */
json_t *ctl_stats_json(struct ctl_stats *s, uint64_t now_us);
