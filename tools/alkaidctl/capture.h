/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture: what was heard on the bus, in a file.
 *
 *   file    = "AKCAP002" frame*
 *   frame   = length u32, crc32 u32, payload of `length` bytes     (little endian; the CRC is zlib's)
 *   payload = kind u8, then by kind
 *     1 header   a record (schema.h): where and when it was taken, which part of a rotated recording it is
 *     2 message  envelope length u16, envelope (a record), body as it was on the bus
 *     3 index    a record: where messages begin in the file, and the latest time before each
 *     4 end      u64, the offset of the index frame; always the last 17 bytes of a file that was closed
 *
 * The header comes first, index and end come last and only when the recorder ends in good order. A recorder
 * that is killed leaves at most one half frame at the end, which a reader tells from damage: the file ends
 * inside a frame. Damage in the middle is an error that names the offset. A kind that is not known is passed
 * over, like an unknown field of a record: a later version wrote it.
 *
 * The index is bounded whatever the length of the file: when it is full, every other entry goes and the
 * distance between two entries doubles.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/bus.h"
#include "libcommon/cleanup.h"
#include "libcommon/schema.h"

#define CTL_CAPTURE_MAX_FRAME (AK_SCHEMA_MAX_BYTES + 8192)
#define CTL_CAPTURE_NODE_MAX  253
#define CTL_CAPTURE_ENTRIES   256 /* of an index */

struct ctl_envelope {
        char publisher[AK_BUS_NAME_MAX + 1];
        char topic[AK_BUS_TOPIC_MAX + 1];
        char trace[AK_BUS_TRACE_MAX + 1];
        uint64_t epoch, seq;
        uint64_t replay_seq;  /* of a replayed message; 0 where not known */
        uint64_t sent_us;     /* the sender's real time */
        uint64_t received_us; /* the recorder's real time */
        uint64_t mono_us;     /* the recorder's monotonic time: for the distance between two records */
        bool replayed;
};

struct ctl_capture_header {
        char node[CTL_CAPTURE_NODE_MAX + 1];
        uint64_t run;        /* random: parts of one recording have the same */
        uint64_t part;       /* from 1 */
        uint64_t created_us; /* real time */
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
int ctl_capture_writer_new(struct ctl_capture_writer **out, const char *path, bool overwrite,
                           const struct ctl_capture_header *header);
/* Leaves the file without an index, as a kill would. */
struct ctl_capture_writer *ctl_capture_writer_free(struct ctl_capture_writer *w);
AK_DEFINE_CLEANUP(struct ctl_capture_writer *, ctl_capture_writer_free)
/* Written to the kernel before it returns. Negative errno; after -ENOSPC the file has a torn end. */
int ctl_capture_write(struct ctl_capture_writer *w, const struct ctl_envelope *envelope, const uint8_t *body,
                      size_t body_len);
uint64_t ctl_capture_writer_bytes(const struct ctl_capture_writer *w);
uint64_t ctl_capture_writer_messages(const struct ctl_capture_writer *w);
/* Writes index and end. Nothing may be written after it. */
int ctl_capture_writer_finish(struct ctl_capture_writer *w);

#define CTL_ERROR_SIZE 768
struct ctl_capture_reader;
/* -EBADMSG where the file is no capture. */
int ctl_capture_reader_new(struct ctl_capture_reader **out, const char *path, char error[CTL_ERROR_SIZE]);
struct ctl_capture_reader *ctl_capture_reader_free(struct ctl_capture_reader *r);
AK_DEFINE_CLEANUP(struct ctl_capture_reader *, ctl_capture_reader_free)
const struct ctl_capture_header *ctl_capture_reader_header(const struct ctl_capture_reader *r);
/*
 * Goes as far as the index allows without passing a message that was received at `received_us` or later.
 * Without an index (the recorder was killed) it stays at the beginning. Before the first read only.
 */
int ctl_capture_seek(struct ctl_capture_reader *r, uint64_t received_us, char error[CTL_ERROR_SIZE]);
/* 1 and a record; 0 at the end; -EBADMSG with a text; -errno of the file. */
int ctl_capture_read(struct ctl_capture_reader *r, struct ctl_record *out, char error[CTL_ERROR_SIZE]);
/* Did the file end inside a frame? */
bool ctl_capture_reader_torn(const struct ctl_capture_reader *r);
/* Did it end with index and end? Known when it has been read to its end. */
bool ctl_capture_reader_whole(const struct ctl_capture_reader *r);
/* Where the reader is: the end of what was read. */
uint64_t ctl_capture_reader_offset(const struct ctl_capture_reader *r);
