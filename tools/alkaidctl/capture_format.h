/* SPDX-License-Identifier: Apache-2.0 */
/* What writer and reader of a capture share: the bytes of capture.h. */
#pragma once

#include "tools/alkaidctl/capture.h"

#define CAPTURE_MAGIC      "AKCAP002"
#define CAPTURE_MAGIC_LEN  8
#define CAPTURE_END_LENGTH 9 /* payload of the last frame: kind and offset */

enum capture_kind {
        CAPTURE_HEADER = 1,
        CAPTURE_MESSAGE = 2,
        CAPTURE_INDEX = 3,
        CAPTURE_END = 4,
};

struct capture_frame_header {
        uint32_t length, crc; /* little endian in the file */
};

/* Entry i: the frame at `offsets` begins a message, and no message before it was received after `times`. */
struct capture_index {
        struct {
                uint32_t count;
                uint64_t items[CTL_CAPTURE_ENTRIES];
        } offsets, times;
        uint64_t messages, first_us, last_us;
};

extern const struct ak_record ctl_envelope_record;
extern const struct ak_record ctl_capture_header_record;
extern const struct ak_record capture_index_record;
