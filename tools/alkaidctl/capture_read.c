/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "tools/alkaidctl/capture_format.h"

struct ctl_capture_reader {
        FILE *file;
        char *path;
        uint8_t *payload;
        size_t length; /* of the payload */
        struct ctl_capture_header header;
        uint64_t offset; /* of the next frame */
        bool torn, whole;
};

static int damaged(const struct ctl_capture_reader *r, const char *what, char error[CTL_ERROR_SIZE])
{
        (void)snprintf(error, CTL_ERROR_SIZE, "%s: at byte %llu: %s", r->path, (unsigned long long)r->offset,
                       what);
        return -EBADMSG;
}

struct ctl_capture_reader *ctl_capture_reader_free(struct ctl_capture_reader *r)
{
        if (!r)
                return NULL;
        if (r->file)
                (void)fclose(r->file);
        free(r->path);
        free(r->payload);
        free(r);
        return NULL;
}

const struct ctl_capture_header *ctl_capture_reader_header(const struct ctl_capture_reader *r)
{
        return &r->header;
}

bool ctl_capture_reader_torn(const struct ctl_capture_reader *r)
{
        return r->torn;
}

bool ctl_capture_reader_whole(const struct ctl_capture_reader *r)
{
        return r->whole;
}

uint64_t ctl_capture_reader_offset(const struct ctl_capture_reader *r)
{
        return r->offset;
}

/* ------------------------------------------------------------------ frames */

/* 1 when all of it was read, 0 at the end of the file (with `torn` set where it ended inside). */
static int read_part(struct ctl_capture_reader *r, void *out, size_t len, bool begun)
{
        size_t n = fread(out, 1, len, r->file);

        if (n == len)
                return 1;
        if (ferror(r->file))
                return -EIO;
        r->torn |= begun || n > 0;
        return 0;
}

/* 1 and the payload of the next frame. */
static int read_frame(struct ctl_capture_reader *r, char error[CTL_ERROR_SIZE])
{
        struct capture_frame_header header;
        int got = read_part(r, &header, sizeof(header), false);

        if (got <= 0)
                return got;
        uint32_t length = le32toh(header.length);
        if (length < 1 || length > CTL_CAPTURE_MAX_FRAME)
                return damaged(r, "frame length out of bounds", error);
        got = read_part(r, r->payload, length, true);
        if (got <= 0)
                return got;
        if (crc32(0, r->payload, length) != le32toh(header.crc))
                return damaged(r, "checksum does not match", error);
        r->length = length;
        return 1;
}

static void pass_frame(struct ctl_capture_reader *r)
{
        r->offset += sizeof(struct capture_frame_header) + r->length;
}

static int read_header(struct ctl_capture_reader *r, char error[CTL_ERROR_SIZE])
{
        char why[AK_SCHEMA_ERROR_SIZE];
        int got = read_frame(r, error);

        if (got < 0)
                return got;
        if (got == 0) /* killed while it began: nothing is in it */
                return 0;
        if (r->payload[0] != CAPTURE_HEADER)
                return damaged(r, "the header is missing", error);
        if (ak_record_decode(&ctl_capture_header_record, r->payload + 1, r->length - 1, &r->header, why) < 0)
                return damaged(r, why, error);
        pass_frame(r);
        return 0;
}

static int open_capture(struct ctl_capture_reader *r, char error[CTL_ERROR_SIZE])
{
        char start[CAPTURE_MAGIC_LEN];

        r->file = fopen(r->path, "re");
        if (!r->file) {
                (void)snprintf(error, CTL_ERROR_SIZE, "%s: %s", r->path, strerror(errno));
                return -errno;
        }
        if (fread(start, sizeof(start), 1, r->file) != 1 ||
            memcmp(start, CAPTURE_MAGIC, sizeof(start) - 3) != 0)
                return damaged(r, "not a capture of alkaidctl record", error);
        if (memcmp(start, CAPTURE_MAGIC, sizeof(start)) != 0)
                return damaged(r, "a capture of another version of alkaidctl; read it with that one", error);
        r->offset = CAPTURE_MAGIC_LEN;
        return read_header(r, error);
}

int ctl_capture_reader_new(struct ctl_capture_reader **out, const char *path, char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = calloc(1, sizeof(*r));

        (void)snprintf(error, CTL_ERROR_SIZE, "%s: cannot be read", path);
        if (!r || !(r->path = strdup(path)) || !(r->payload = malloc(CTL_CAPTURE_MAX_FRAME)))
                return -ENOMEM;
        int code = open_capture(r, error);
        if (code < 0)
                return code;
        *out = AK_STEAL(r);
        return 0;
}

/* ------------------------------------------------------------------ messages */

static int decode_message(const struct ctl_capture_reader *r, struct ctl_record *out,
                          char error[CTL_ERROR_SIZE])
{
        const uint8_t *p = r->payload;
        char why[AK_SCHEMA_ERROR_SIZE];
        struct ctl_record record = {0};

        if (r->length < 3)
                return damaged(r, "a message without an envelope", error);
        size_t envelope_len = (size_t)p[1] | (size_t)p[2] << 8;
        if (3 + envelope_len > r->length)
                return damaged(r, "envelope longer than its frame", error);
        if (ak_record_decode(&ctl_envelope_record, p + 3, envelope_len, &record.envelope, why) < 0)
                return damaged(r, why, error);
        record.body_len = r->length - 3 - envelope_len;
        record.body = malloc(record.body_len + 1);
        if (!record.body)
                return -ENOMEM;
        memcpy(record.body, p + 3 + envelope_len, record.body_len);
        *out = record;
        return 1;
}

int ctl_capture_read(struct ctl_capture_reader *r, struct ctl_record *out, char error[CTL_ERROR_SIZE])
{
        int got;

        (void)snprintf(error, CTL_ERROR_SIZE, "%s: cannot be read", r->path);
        while ((got = read_frame(r, error)) > 0) {
                r->whole = r->payload[0] == CAPTURE_END;
                if (r->payload[0] == CAPTURE_MESSAGE) {
                        got = decode_message(r, out, error);
                        if (got > 0)
                                pass_frame(r);
                        return got;
                }
                pass_frame(r);
        }
        return got;
}

/* ------------------------------------------------------------------ index */

static int go_to(struct ctl_capture_reader *r, uint64_t offset)
{
        if (offset > INT64_MAX || fseeko(r->file, (off_t)offset, SEEK_SET) < 0)
                return -EIO;
        r->offset = offset;
        r->torn = false;
        return 0;
}

/* The offset of the index, from the last frame; -ENOENT where the file does not end with one. */
static int find_index(struct ctl_capture_reader *r, uint64_t *out, char error[CTL_ERROR_SIZE])
{
        const off_t size = (off_t)(sizeof(struct capture_frame_header) + CAPTURE_END_LENGTH);
        uint64_t offset;

        if (fseeko(r->file, -size, SEEK_END) < 0)
                return -ENOENT;
        if (read_frame(r, error) <= 0 || r->length != CAPTURE_END_LENGTH || r->payload[0] != CAPTURE_END)
                return -ENOENT;
        memcpy(&offset, r->payload + 1, sizeof(offset));
        *out = le64toh(offset);
        return 0;
}

static int read_index(struct ctl_capture_reader *r, struct capture_index *out, char error[CTL_ERROR_SIZE])
{
        char why[AK_SCHEMA_ERROR_SIZE];
        uint64_t offset;
        int code = find_index(r, &offset, error);

        if (code < 0)
                return code;
        code = go_to(r, offset);
        if (code < 0)
                return damaged(r, "the end names no place of the file", error);
        code = read_frame(r, error);
        if (code < 0)
                return code;
        if (code == 0 || r->payload[0] != CAPTURE_INDEX)
                return damaged(r, "the end names a place that holds no index", error);
        if (ak_record_decode(&capture_index_record, r->payload + 1, r->length - 1, out, why) < 0)
                return damaged(r, why, error);
        return out->offsets.count == out->times.count ? 0 : damaged(r, "lists of different length", error);
}

int ctl_capture_seek(struct ctl_capture_reader *r, uint64_t received_us, char error[CTL_ERROR_SIZE])
{
        AK_AUTOFREE struct capture_index *x = calloc(1, sizeof(*x));
        uint64_t best = r->offset;

        if (!x)
                return -ENOMEM;
        int code = read_index(r, x, error);
        if (code < 0 && code != -ENOENT)
                return code;
        for (uint32_t i = 0; i < x->offsets.count && x->times.items[i] < received_us; i++)
                best = x->offsets.items[i];
        code = go_to(r, best);
        return code < 0 ? damaged(r, "the index names no place of the file", error) : 0;
}
