/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a capture, described once. */
#include "tools/alkaidctl/capture.h"

#include <errno.h>
#include <string.h>

#include "tools/alkaidctl/capture_format.h"

#define FIELD(s, m, k, ...)                                                                                  \
        {                                                                                                    \
                .name = #m, .kind = k, .offset = offsetof(struct s, m), __VA_ARGS__                          \
        }
#define NUMBER(s, m) FIELD(s, m, AK_FIELD_U64, .max_value = UINT64_MAX)

static const struct ak_field envelope_fields[] = {
    FIELD(ctl_envelope, publisher, AK_FIELD_STR, .required = true, .max_len = AK_BUS_NAME_MAX),
    FIELD(ctl_envelope, topic, AK_FIELD_STR, .required = true, .max_len = AK_BUS_TOPIC_MAX),
    FIELD(ctl_envelope, trace, AK_FIELD_STR, .max_len = AK_BUS_TRACE_MAX),
    NUMBER(ctl_envelope, epoch),
    NUMBER(ctl_envelope, seq),
    NUMBER(ctl_envelope, replay_seq),
    NUMBER(ctl_envelope, sent_us),
    NUMBER(ctl_envelope, received_us),
    NUMBER(ctl_envelope, mono_us),
    FIELD(ctl_envelope, replayed, AK_FIELD_BOOL),
};

const struct ak_record ctl_envelope_record = {
    .name = "capture envelope",
    .size = sizeof(struct ctl_envelope),
    .fields = envelope_fields,
    .field_count = AK_ARRAY_SIZE(envelope_fields),
};

static const struct ak_field header_fields[] = {
    FIELD(ctl_capture_header, node, AK_FIELD_STR, .max_len = CTL_CAPTURE_NODE_MAX),
    NUMBER(ctl_capture_header, run),
    NUMBER(ctl_capture_header, part),
    NUMBER(ctl_capture_header, created_us),
};

const struct ak_record ctl_capture_header_record = {
    .name = "capture header",
    .size = sizeof(struct ctl_capture_header),
    .fields = header_fields,
    .field_count = AK_ARRAY_SIZE(header_fields),
};

static const struct ak_field index_fields[] = {
    FIELD(capture_index, offsets, AK_FIELD_U64LIST, .max_count = CTL_CAPTURE_ENTRIES),
    FIELD(capture_index, times, AK_FIELD_U64LIST, .max_count = CTL_CAPTURE_ENTRIES),
    NUMBER(capture_index, messages),
    NUMBER(capture_index, first_us),
    NUMBER(capture_index, last_us),
};

const struct ak_record capture_index_record = {
    .name = "capture index",
    .size = sizeof(struct capture_index),
    .fields = index_fields,
    .field_count = AK_ARRAY_SIZE(index_fields),
};

void ctl_record_deinit(struct ctl_record *record)
{
        free(record->body);
        *record = (struct ctl_record){0};
}

static int copy_text(char *out, size_t size, const char *text)
{
        size_t len = text ? strlen(text) : 0;

        if (len >= size)
                return -EINVAL;
        memcpy(out, text ? text : "", len);
        out[len] = '\0';
        return 0;
}

int ctl_envelope_from_frame(struct ctl_envelope *out, const struct ak_bus_frame *frame, uint64_t received_us,
                            uint64_t mono_us)
{
        struct ctl_envelope e = {
            .epoch = frame->epoch,
            .seq = frame->seq,
            .replay_seq = frame->replay_seq,
            .sent_us = frame->sent_us,
            .received_us = received_us,
            .mono_us = mono_us,
            .replayed = frame->replayed,
        };

        if (copy_text(e.publisher, sizeof(e.publisher), frame->publisher) < 0 ||
            copy_text(e.topic, sizeof(e.topic), frame->topic) < 0 ||
            copy_text(e.trace, sizeof(e.trace), frame->trace) < 0)
                return -EINVAL;
        *out = e;
        return 0;
}

struct ak_bus_frame ctl_record_frame(const struct ctl_record *record)
{
        const struct ctl_envelope *e = &record->envelope;

        return (struct ak_bus_frame){
            .publisher = e->publisher,
            .topic = e->topic,
            .epoch = e->epoch,
            .seq = e->seq,
            .sent_us = e->sent_us,
            .trace = e->trace,
            .replayed = e->replayed,
            .replay_seq = e->replay_seq,
            .body = record->body,
            .body_len = record->body_len,
        };
}
