/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libcommon/clock.h"

#define OTHERS "(others)"

struct ctl_stats {
        struct ctl_stats_row rows[CTL_STATS_ROWS];
        size_t count;
        zhashx_t *topics;
        uint64_t shown_us; /* when rates were last shown; 0 = nothing was heard yet */
};

int ctl_stats_new(struct ctl_stats **out)
{
        struct ctl_stats *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        s->topics = zhashx_new();
        *out = s;
        return 0;
}

struct ctl_stats *ctl_stats_free(struct ctl_stats *s)
{
        if (!s)
                return NULL;
        zhashx_destroy(&s->topics);
        free(s);
        return NULL;
}

/* ------------------------------------------------------------------ rows */

static struct ctl_stats_row *find_row(struct ctl_stats *s, const char *publisher, const char *type,
                                      size_t len)
{
        for (size_t i = 0; i < s->count; i++) {
                struct ctl_stats_row *row = &s->rows[i];
                if (strcmp(row->publisher, publisher) == 0 && strlen(row->type) == len &&
                    memcmp(row->type, type, len) == 0)
                        return row;
        }
        return NULL;
}

/* The last row is everybody else's. */
static struct ctl_stats_row *get_row(struct ctl_stats *s, const char *publisher, const char *topic)
{
        size_t len = ak_bus_type_len(topic);
        struct ctl_stats_row *row = find_row(s, publisher, topic, len);

        if (row || s->count == CTL_STATS_ROWS)
                return row ? row : &s->rows[CTL_STATS_ROWS - 1];
        row = &s->rows[s->count++];
        if (s->count == CTL_STATS_ROWS || len > AK_BUS_MARK_TYPE_LEN) {
                publisher = topic = OTHERS;
                len = strlen(OTHERS);
        }
        (void)snprintf(row->publisher, sizeof(row->publisher), "%s", publisher);
        memcpy(row->type, topic, len);
        return row;
}

static bool is_others(const struct ctl_stats_row *row)
{
        return strcmp(row->type, OTHERS) == 0;
}

static void count_topic(struct ctl_stats *s, struct ctl_stats_row *row, const char *topic)
{
        char key[sizeof(row->publisher) + AK_BUS_TOPIC_MAX + 1];

        (void)snprintf(key, sizeof(key), "%s %s", row->publisher, topic);
        if (!zhashx_lookup(s->topics, key) && zhashx_size(s->topics) < CTL_STATS_TOPICS) {
                (void)zhashx_insert(s->topics, key, s);
                row->topics++;
        }
}

static void note_epoch(struct ctl_stats_row *row, uint64_t epoch)
{
        if (row->epoch == epoch)
                return;
        row->restarts += row->epoch != 0;
        row->epoch = epoch;
        row->seq_known = row->replay_known = false;
}

/* A number that should be the one after *last. */
static void count_number(struct ctl_stats_row *row, uint64_t number, uint64_t *last, bool *known)
{
        if (*known && number <= *last) {
                row->repeated++;
                return;
        }
        if (*known)
                row->lost += number - *last - 1;
        *last = number;
        *known = true;
}

static void take_mark(struct ctl_stats *s, const struct ak_bus_frame *frame)
{
        struct ak_bus_mark mark;

        if (ak_bus_mark_decode(frame->body, frame->body_len, &mark) < 0)
                return;
        for (uint32_t i = 0; i < mark.types.count; i++) {
                const char *type = mark.types.items[i];
                struct ctl_stats_row *row = find_row(s, frame->publisher, type, strlen(type));
                if (!row || row->epoch != frame->epoch)
                        continue;
                if (row->seq_known && mark.seqs.items[i] > row->seq)
                        row->lost += mark.seqs.items[i] - row->seq;
                if (row->replay_known && mark.replay_seqs.items[i] > row->replay_seq)
                        row->lost += mark.replay_seqs.items[i] - row->replay_seq;
                row->seq = row->seq_known ? mark.seqs.items[i] : row->seq;
                row->replay_seq = row->replay_known ? mark.replay_seqs.items[i] : row->replay_seq;
        }
}

static void count_delay(struct ctl_stats_row *row, uint64_t sent_us, uint64_t received_us)
{
        uint64_t delay = received_us > sent_us ? received_us - sent_us : 0;

        row->delay_us += delay;
        row->delay_count++;
        if (delay > row->delay_max_us)
                row->delay_max_us = delay;
}

void ctl_stats_take(struct ctl_stats *s, const struct ak_bus_frame *frame, uint64_t received_us)
{
        struct ctl_stats_row *row = get_row(s, frame->publisher, frame->topic);

        if (s->shown_us == 0)
                s->shown_us = received_us;
        row->messages++;
        row->bytes += frame->body_len;
        row->last_us = received_us;
        count_topic(s, row, frame->topic);
        note_epoch(row, frame->epoch);
        if (strcmp(frame->topic, AK_BUS_TOPIC_MARK) == 0)
                take_mark(s, frame);
        if (is_others(row) || frame->seq == 0)
                return;
        if (frame->replayed) {
                row->replayed++;
                if (frame->replay_seq)
                        count_number(row, frame->replay_seq, &row->replay_seq, &row->replay_known);
                return;
        }
        count_number(row, frame->seq, &row->seq, &row->seq_known);
        count_delay(row, frame->sent_us, received_us);
}

uint64_t ctl_stats_lost(const struct ctl_stats *s)
{
        uint64_t lost = 0;

        for (size_t i = 0; i < s->count; i++)
                lost += s->rows[i].lost;
        return lost;
}

const struct ctl_stats_row *ctl_stats_rows(const struct ctl_stats *s, size_t *count)
{
        *count = s->count;
        return s->rows;
}

/* ------------------------------------------------------------------ showing */

static double seconds_since(const struct ctl_stats *s, uint64_t now_us)
{
        return s->shown_us && now_us > s->shown_us ? (double)(now_us - s->shown_us) / 1e6 : 0;
}

static double rate(uint64_t now, uint64_t then, double seconds)
{
        return seconds > 0 ? (double)(now - then) / seconds : 0;
}

static double age_s(const struct ctl_stats_row *row, uint64_t now_us)
{
        return now_us > row->last_us ? (double)(now_us - row->last_us) / 1e6 : 0;
}

static double mean_delay_ms(const struct ctl_stats_row *row)
{
        return row->delay_count ? (double)row->delay_us / (double)row->delay_count / 1e3 : 0;
}

static void shown(struct ctl_stats *s, uint64_t now_us)
{
        for (size_t i = 0; i < s->count; i++) {
                s->rows[i].shown_messages = s->rows[i].messages;
                s->rows[i].shown_bytes = s->rows[i].bytes;
        }
        if (s->shown_us)
                s->shown_us = now_us;
}

void ctl_stats_show(struct ctl_stats *s, uint64_t now_us, FILE *out)
{
        double seconds = seconds_since(s, now_us);

        (void)fprintf(out, "%-12s %-14s %9s %8s %9s %7s %7s %6s %8s %9s %9s\n", "PUBLISHER", "TYPE",
                      "MESSAGES", "PER-S", "BYTES/S", "TOPICS", "AGAIN", "LOST", "AGE-S", "DELAY-MS",
                      "MAX-MS");
        for (size_t i = 0; i < s->count; i++) {
                const struct ctl_stats_row *row = &s->rows[i];
                (void)fprintf(out,
                              "%-12s %-14s %9" PRIu64 " %8.1f %9.0f %7" PRIu64 " %7" PRIu64 " %6" PRIu64
                              " %8.1f %9.2f %9.2f%s\n",
                              row->publisher, row->type, row->messages,
                              rate(row->messages, row->shown_messages, seconds),
                              rate(row->bytes, row->shown_bytes, seconds), row->topics, row->replayed,
                              row->lost, age_s(row, now_us), mean_delay_ms(row),
                              (double)row->delay_max_us / 1e3, row->restarts ? "  (restarted)" : "");
        }
        (void)fflush(out);
        shown(s, now_us);
}

static json_t *row_json(const struct ctl_stats_row *row, double seconds, uint64_t now_us)
{
        return json_pack("{s:s, s:s, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "publisher",
                         row->publisher, "type", row->type, "messages", (json_int_t)row->messages,
                         "per_second", rate(row->messages, row->shown_messages, seconds), "bytes_per_second",
                         rate(row->bytes, row->shown_bytes, seconds), "topics", (json_int_t)row->topics,
                         "replayed", (json_int_t)row->replayed, "lost", (json_int_t)row->lost, "repeated",
                         (json_int_t)row->repeated, "restarts", (json_int_t)row->restarts, "age_seconds",
                         age_s(row, now_us), "delay_ms", mean_delay_ms(row), "delay_max_ms",
                         (double)row->delay_max_us / 1e3);
}

json_t *ctl_stats_json(struct ctl_stats *s, uint64_t now_us)
{
        char time[AK_RFC3339_SIZE];
        double seconds = seconds_since(s, now_us);
        json_t *rows = json_array();

        for (size_t i = 0; i < s->count; i++)
                (void)json_array_append_new(rows, row_json(&s->rows[i], seconds, now_us));
        ak_rfc3339_format(now_us, true, time);
        shown(s, now_us);
        return json_pack("{s:s, s:f, s:o}", "time", time, "seconds", seconds, "rows", rows);
}
