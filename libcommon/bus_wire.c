/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/bus_wire.h"

#include <errno.h>
#include <string.h>

#define ENVELOPE_MAX 1024

#define U64_FIELD(s, f, need, text)                                                                          \
        {                                                                                                    \
                .name = #f, .kind = AK_FIELD_U64, .required = need, .offset = offsetof(struct s, f),         \
                .max_value = UINT64_MAX, .doc = text                                                         \
        }

static const struct ak_field envelope_fields[] = {
    U64_FIELD(ak_bus_envelope, version, true, "major version of the protocol"),
    {.name = "publisher",
     .kind = AK_FIELD_STR,
     .required = true,
     .offset = offsetof(struct ak_bus_envelope, publisher),
     .max_len = AK_BUS_NAME_MAX,
     .doc = "name of the sender"},
    U64_FIELD(ak_bus_envelope, epoch, true, "random per start of the sender"),
    U64_FIELD(ak_bus_envelope, seq, false, "number per type, from 1; absent in sync messages"),
    U64_FIELD(ak_bus_envelope, sent_us, false, "the sender's real time in microseconds"),
    {.name = "trace",
     .kind = AK_FIELD_STR,
     .offset = offsetof(struct ak_bus_envelope, trace),
     .max_len = AK_BUS_TRACE_MAX,
     .doc = "W3C traceparent"},
    {.name = "replayed",
     .kind = AK_FIELD_BOOL,
     .offset = offsetof(struct ak_bus_envelope, replayed),
     .doc = "a last value sent again"},
    U64_FIELD(ak_bus_envelope, replay_seq, false, "number of a replayed message per type, from 1"),
};

const struct ak_record ak_bus_envelope_record = {
    .name = "envelope",
    .size = sizeof(struct ak_bus_envelope),
    .fields = envelope_fields,
    .field_count = AK_ARRAY_SIZE(envelope_fields),
    .doc = "Second frame of every message.",
};

static const struct ak_field mark_fields[] = {
    {.name = "types",
     .kind = AK_FIELD_STRLIST,
     .offset = offsetof(struct ak_bus_mark, types),
     .max_len = AK_BUS_MARK_TYPE_LEN,
     .max_count = AK_BUS_MARK_TYPES,
     .doc = "message types that the sender has published"},
    {.name = "seqs",
     .kind = AK_FIELD_U64LIST,
     .offset = offsetof(struct ak_bus_mark, seqs),
     .max_count = AK_BUS_MARK_TYPES,
     .doc = "last number of each"},
    {.name = "replay_seqs",
     .kind = AK_FIELD_U64LIST,
     .offset = offsetof(struct ak_bus_mark, replay_seqs),
     .max_count = AK_BUS_MARK_TYPES,
     .doc = "last number of a replayed message of each"},
    {.name = "full",
     .kind = AK_FIELD_BOOL,
     .offset = offsetof(struct ak_bus_mark, full),
     .doc = "everything retained was replayed just before this"},
};

const struct ak_record ak_bus_mark_record = {
    .name = "sync.mark",
    .size = sizeof(struct ak_bus_mark),
    .fields = mark_fields,
    .field_count = AK_ARRAY_SIZE(mark_fields),
    .doc = "What a publisher has sent so far; one that missed something asks for it.",
};

bool ak_bus_name_valid(const char *name)
{
        size_t len = strlen(name);

        return len >= 1 && len <= AK_BUS_NAME_MAX &&
               strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool topic_bytes_valid(const char *topic, size_t len)
{
        const char *slash = len > 0 ? memchr(topic, '/', len) : NULL;
        size_t type_len = slash ? (size_t)(slash - topic) : len;

        if (len > AK_BUS_TOPIC_MAX || type_len < 1 || type_len > AK_BUS_MARK_TYPE_LEN)
                return false;
        for (size_t i = 0; i < len; i++)
                if (topic[i] <= ' ' || topic[i] > '~')
                        return false;
        return true;
}

bool ak_bus_trace_valid(const char *trace)
{
        size_t len = strnlen(trace, AK_BUS_TRACE_MAX + 1);

        for (size_t i = 0; i < len; i++)
                if (trace[i] < ' ' || trace[i] > '~')
                        return false;
        return len <= AK_BUS_TRACE_MAX;
}

size_t ak_bus_type_len(const char *topic)
{
        return strcspn(topic, "/");
}

bool ak_bus_topic_valid(const char *topic)
{
        return topic_bytes_valid(topic, strnlen(topic, AK_BUS_TOPIC_MAX + 1));
}

int ak_bus_envelope_encode(const struct ak_bus_frame *f, uint8_t **out, size_t *out_len)
{
        struct ak_bus_envelope e = {.version = AK_BUS_VERSION,
                                    .epoch = f->epoch,
                                    .seq = f->seq,
                                    .sent_us = f->sent_us,
                                    .replayed = f->replayed,
                                    .replay_seq = f->replay_seq};

        (void)snprintf(e.publisher, sizeof(e.publisher), "%s", f->publisher);
        (void)snprintf(e.trace, sizeof(e.trace), "%s", f->trace ? f->trace : "");
        return ak_record_encode(&ak_bus_envelope_record, &e, out, out_len);
}

const char *ak_bus_frame_parse(const void *topic_data, size_t topic_len, const void *envelope_data,
                               size_t envelope_len, char topic[AK_BUS_TOPIC_MAX + 1],
                               struct ak_bus_envelope *envelope, struct ak_bus_frame *f)
{
        char error[AK_SCHEMA_ERROR_SIZE];

        if (!topic_bytes_valid(topic_data, topic_len))
                return "malformed topic";
        if (envelope_len > ENVELOPE_MAX)
                return "envelope too long";
        if (ak_record_decode(&ak_bus_envelope_record, envelope_data, envelope_len, envelope, error) < 0)
                return "malformed envelope";
        if (envelope->version > AK_BUS_VERSION)
                return "a later major version of the protocol: upgrade this service";
        memcpy(topic, topic_data, topic_len);
        topic[topic_len] = '\0';
        *f = (struct ak_bus_frame){.publisher = envelope->publisher,
                                   .topic = topic,
                                   .epoch = envelope->epoch,
                                   .seq = envelope->seq,
                                   .sent_us = envelope->sent_us,
                                   .trace = envelope->trace,
                                   .replayed = envelope->replayed,
                                   .replay_seq = envelope->replay_seq};
        return NULL;
}

int ak_bus_mark_decode(const uint8_t *body, size_t len, struct ak_bus_mark *out)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        int r = ak_record_decode(&ak_bus_mark_record, body, len, out, error);

        if (r == 0 && (out->types.count != out->seqs.count || out->types.count != out->replay_seqs.count))
                r = -EBADMSG;
        return r;
}
