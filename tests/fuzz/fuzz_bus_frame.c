/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of a bus message before its body is looked at: byte 0 is the length of the topic, then topic and
 * envelope; and the same bytes as the body of a sync.mark. What is taken must be what its encoder makes.
 */
#include <string.h>

#include "libcommon/bus_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_round_trip(const struct ak_bus_frame *f)
{
        struct ak_bus_envelope envelope;
        struct ak_bus_frame back;
        AK_AUTOFREE uint8_t *data = NULL;
        char topic[AK_BUS_TOPIC_MAX + 1];
        size_t len;

        check(ak_bus_topic_valid(f->topic));
        check(ak_bus_envelope_encode(f, &data, &len) == 0);
        check(!ak_bus_frame_parse(f->topic, strlen(f->topic), data, len, topic, &envelope, &back));
        check(strcmp(back.publisher, f->publisher) == 0 && strcmp(back.trace, f->trace) == 0);
        check(back.epoch == f->epoch && back.seq == f->seq && back.replayed == f->replayed);
        check(back.replay_seq == f->replay_seq && back.sent_us == f->sent_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct ak_bus_envelope envelope;
        struct ak_bus_frame f;
        struct ak_bus_mark mark;
        char topic[AK_BUS_TOPIC_MAX + 1];
        size_t topic_len;

        if (ak_bus_mark_decode(data, size, &mark) == 0)
                check(mark.types.count == mark.seqs.count && mark.types.count <= AK_BUS_MARK_TYPES);
        if (size == 0 || (topic_len = data[0]) > size - 1)
                return 0;
        if (!ak_bus_frame_parse(data + 1, topic_len, data + 1 + topic_len, size - 1 - topic_len, topic,
                                &envelope, &f))
                check_round_trip(&f);
        return 0;
}
