/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture: what was heard on the bus, in a file.
 *
 *   file   = "AKCAP001" frame*
 *   frame  = length u32, crc32 u32, payload of `length` bytes       (little endian; the CRC is zlib's)
 *   payload = envelope length u16, envelope (a record of schema.h), body (as it was on the bus)
 *
 * A writer that is killed leaves at most one half frame at the end, which a reader tells from damage: the
 * file ends inside a frame. Damage in the middle is an error that names the offset.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/cleanup.h"
#include "libcommon/schema.h"

#define CTL_CAPTURE_MAX_FRAME (AK_SCHEMA_MAX_BYTES + 8192)

struct ctl_envelope {
        char publisher[AK_BUS_NAME_MAX + 1];
        char topic[AK_BUS_TOPIC_MAX + 1];
        char trace[AK_BUS_TRACE_MAX + 1];
        uint64_t epoch, seq;
        uint64_t sent_us;     /* the sender's real time */
        uint64_t received_us; /* the recorder's real time */
        uint64_t mono_us;     /* the recorder's monotonic time: for the distance between two records */
        bool replayed;
};

struct ctl_record {
        struct ctl_envelope envelope;
        uint8_t *body; /* owned */
        size_t body_len;
};
void ctl_record_deinit(struct ctl_record *record);

/* Fills an envelope; -EINVAL where a text of the frame is too long (the bus does not let that through). */
int ctl_envelope_from_frame(struct ctl_envelope *out, const struct ak_bus_frame *frame, uint64_t received_us,
                            uint64_t mono_us);
/* A frame that borrows from the record. */
struct ak_bus_frame ctl_record_frame(const struct ctl_record *record);

struct ctl_capture_writer;
/* Makes the file anew, mode 0600; -EEXIST where it is there and `overwrite` is not set. */
int ctl_capture_writer_new(struct ctl_capture_writer **out, const char *path, bool overwrite);
struct ctl_capture_writer *ctl_capture_writer_free(struct ctl_capture_writer *w);
AK_DEFINE_CLEANUP(struct ctl_capture_writer *, ctl_capture_writer_free)
/* Written to the kernel before it returns. Negative errno. */
int ctl_capture_write(struct ctl_capture_writer *w, const struct ctl_envelope *envelope, const uint8_t *body,
                      size_t body_len);

#define CTL_ERROR_SIZE 768
struct ctl_capture_reader;
/* -EBADMSG where the file is no capture. */
int ctl_capture_reader_new(struct ctl_capture_reader **out, const char *path, char error[CTL_ERROR_SIZE]);
struct ctl_capture_reader *ctl_capture_reader_free(struct ctl_capture_reader *r);
AK_DEFINE_CLEANUP(struct ctl_capture_reader *, ctl_capture_reader_free)
/* 1 and a record; 0 at the end; -EBADMSG with a text; -errno of the file. */
int ctl_capture_read(struct ctl_capture_reader *r, struct ctl_record *out, char error[CTL_ERROR_SIZE]);
/* Did the file end inside a frame? */
bool ctl_capture_reader_torn(const struct ctl_capture_reader *r);
