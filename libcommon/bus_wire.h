/* SPDX-License-Identifier: Apache-2.0 */
/* What travels beside the body of a bus message; pure, so that captures, fuzzing and tests can use it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/schema.h"

#define AK_BUS_TOPIC_OWN  "sync." /* what begins so is the bus's own */
#define AK_BUS_TOPIC_MARK "sync.mark"
#define AK_BUS_TOPIC_SYNC "sync.request/"

#define AK_BUS_MARK_TYPES    32
#define AK_BUS_MARK_TYPE_LEN 63

struct ak_bus_envelope {
        uint64_t version;
        char publisher[AK_BUS_NAME_MAX + 1];
        uint64_t epoch, seq, sent_us;
        char trace[AK_BUS_TRACE_MAX + 1];
        bool replayed;
        uint64_t replay_seq;
};

/* The last numbers of each type that the publisher has sent; the lists run in parallel. */
struct ak_bus_mark {
        struct {
                uint32_t count;
                char items[AK_BUS_MARK_TYPES][AK_BUS_MARK_TYPE_LEN + 1];
        } types;
        struct {
                uint32_t count;
                uint64_t items[AK_BUS_MARK_TYPES];
        } seqs, replay_seqs;
        bool full; /* everything retained was replayed just before this */
};

extern const struct ak_record ak_bus_envelope_record;
extern const struct ak_record ak_bus_mark_record;

/* [a-z0-9-]+, at most AK_BUS_NAME_MAX bytes. */
bool ak_bus_name_valid(const char *name);
/* Printable ASCII without blanks, 1 to AK_BUS_TOPIC_MAX bytes, with a type of 1 to AK_BUS_MARK_TYPE_LEN. */
bool ak_bus_topic_valid(const char *topic);
/* Printable ASCII, at most AK_BUS_TRACE_MAX bytes; may be empty. */
bool ak_bus_trace_valid(const char *trace);
/* Bytes of the type, that is up to the first slash. */
size_t ak_bus_type_len(const char *topic);
/* Decodes the body of a sync.mark; -EBADMSG also where the lists differ in length. */
int ak_bus_mark_decode(const uint8_t *body, size_t len, struct ak_bus_mark *out);

int ak_bus_envelope_encode(const struct ak_bus_frame *f, uint8_t **out, size_t *out_len);
/*
 * Checks the first two frames and fills *f from them (all but the body); f points into `topic` and
 * *envelope. NULL when all is well, else what is wrong.
 */
const char *ak_bus_frame_parse(const void *topic_data, size_t topic_len, const void *envelope_data,
                               size_t envelope_len, char topic[AK_BUS_TOPIC_MAX + 1],
                               struct ak_bus_envelope *envelope, struct ak_bus_frame *f);
