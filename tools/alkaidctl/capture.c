/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/capture.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <zlib.h>

static const char magic[8] = "AKCAP001";

struct frame_header {
        uint32_t length, crc; /* little endian in the file */
};

#define ENVELOPE_FIELD(m, k, ...)                                                                            \
        {                                                                                                    \
                .name = #m, .kind = k, .offset = offsetof(struct ctl_envelope, m), __VA_ARGS__               \
        }

static const struct ak_field envelope_fields[] = {
    ENVELOPE_FIELD(publisher, AK_FIELD_STR, .required = true, .max_len = AK_BUS_NAME_MAX),
    ENVELOPE_FIELD(topic, AK_FIELD_STR, .required = true, .max_len = AK_BUS_TOPIC_MAX),
    ENVELOPE_FIELD(trace, AK_FIELD_STR, .max_len = AK_BUS_TRACE_MAX),
    ENVELOPE_FIELD(epoch, AK_FIELD_U64, .max_value = UINT64_MAX),
    ENVELOPE_FIELD(seq, AK_FIELD_U64, .max_value = UINT64_MAX),
    ENVELOPE_FIELD(sent_us, AK_FIELD_U64, .max_value = UINT64_MAX),
    ENVELOPE_FIELD(received_us, AK_FIELD_U64, .max_value = UINT64_MAX),
    ENVELOPE_FIELD(mono_us, AK_FIELD_U64, .max_value = UINT64_MAX),
    ENVELOPE_FIELD(replayed, AK_FIELD_BOOL),
};

static const struct ak_record envelope_record = {
    .name = "capture envelope",
    .size = sizeof(struct ctl_envelope),
    .fields = envelope_fields,
    .field_count = AK_ARRAY_SIZE(envelope_fields),
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
            .body = record->body,
            .body_len = record->body_len,
        };
}

/* ------------------------------------------------------------------ writing */

struct ctl_capture_writer {
        int fd;
};

int ctl_capture_writer_new(struct ctl_capture_writer **out, const char *path, bool overwrite)
{
        AK_AUTOCLOSE int fd =
            open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (overwrite ? O_TRUNC : O_EXCL), 0600);

        if (fd < 0)
                return -errno;
        if (write(fd, magic, sizeof(magic)) != (ssize_t)sizeof(magic))
                return errno ? -errno : -EIO;
        struct ctl_capture_writer *w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->fd = fd;
        fd = -1;
        *out = w;
        return 0;
}

struct ctl_capture_writer *ctl_capture_writer_free(struct ctl_capture_writer *w)
{
        if (w)
                (void)close(w->fd);
        free(w);
        return NULL;
}

int ctl_capture_write(struct ctl_capture_writer *w, const struct ctl_envelope *envelope, const uint8_t *body,
                      size_t body_len)
{
        AK_AUTOFREE uint8_t *packed = NULL;
        size_t packed_len = 0;
        int r = ak_record_encode(&envelope_record, envelope, &packed, &packed_len);

        if (r < 0)
                return r;
        if (packed_len > UINT16_MAX || 2 + packed_len + body_len > CTL_CAPTURE_MAX_FRAME)
                return -EMSGSIZE;
        uint16_t envelope_len = htole16((uint16_t)packed_len);
        uLong crc = crc32(0, (const Bytef *)&envelope_len, sizeof(envelope_len));
        crc = crc32(crc, packed, (uInt)packed_len);
        if (body_len > 0)
                crc = crc32(crc, body, (uInt)body_len);
        struct frame_header header = {htole32((uint32_t)(2 + packed_len + body_len)), htole32((uint32_t)crc)};
        const struct iovec parts[] = {
            {&header, sizeof(header)},
            {&envelope_len, sizeof(envelope_len)},
            {packed, packed_len},
            {(void *)body, body_len},
        };
        ssize_t total = (ssize_t)(sizeof(header) + 2 + packed_len + body_len);
        ssize_t n = writev(w->fd, parts, AK_ARRAY_SIZE(parts));
        if (n < 0)
                return -errno;
        return n == total ? 0 : -ENOSPC;
}

/* ------------------------------------------------------------------ reading */

struct ctl_capture_reader {
        FILE *file;
        char *path;
        uint8_t *payload;
        uint64_t offset;
        bool torn;
};

static int damaged(const struct ctl_capture_reader *r, const char *what, char error[CTL_ERROR_SIZE])
{
        (void)snprintf(error, CTL_ERROR_SIZE, "%s: at byte %llu: %s", r->path, (unsigned long long)r->offset,
                       what);
        return -EBADMSG;
}

int ctl_capture_reader_new(struct ctl_capture_reader **out, const char *path, char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = calloc(1, sizeof(*r));
        char start[sizeof(magic)];

        (void)snprintf(error, CTL_ERROR_SIZE, "%s: out of memory", path);
        if (!r || !(r->path = strdup(path)) || !(r->payload = malloc(CTL_CAPTURE_MAX_FRAME)))
                return -ENOMEM;
        r->file = fopen(path, "re");
        if (!r->file) {
                (void)snprintf(error, CTL_ERROR_SIZE, "%s: %s", path, strerror(errno));
                return -errno;
        }
        if (fread(start, sizeof(start), 1, r->file) != 1 || memcmp(start, magic, sizeof(magic)) != 0)
                return damaged(r, "not a capture of alkaidctl record", error);
        r->offset = sizeof(magic);
        *out = AK_STEAL(r);
        return 0;
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

bool ctl_capture_reader_torn(const struct ctl_capture_reader *r)
{
        return r->torn;
}

/* 1 when all of it was read, 0 at the end of the file (with `torn` set where it ended inside). */
static int read_part(struct ctl_capture_reader *r, void *out, size_t len, bool begun)
{
        size_t n = fread(out, 1, len, r->file);

        if (n == len)
                return 1;
        if (ferror(r->file))
                return -EIO;
        r->torn = begun || n > 0;
        return 0;
}

static int decode_payload(const struct ctl_capture_reader *r, size_t len, struct ctl_record *out,
                          char error[CTL_ERROR_SIZE])
{
        size_t envelope_len = (size_t)r->payload[0] | (size_t)r->payload[1] << 8;
        char why[AK_SCHEMA_ERROR_SIZE];
        struct ctl_record record = {0};

        if (2 + envelope_len > len)
                return damaged(r, "envelope longer than its frame", error);
        if (ak_record_decode(&envelope_record, r->payload + 2, envelope_len, &record.envelope, why) < 0)
                return damaged(r, why, error);
        record.body_len = len - 2 - envelope_len;
        record.body = malloc(record.body_len + 1);
        if (!record.body)
                return -ENOMEM;
        memcpy(record.body, r->payload + 2 + envelope_len, record.body_len);
        *out = record;
        return 1;
}

int ctl_capture_read(struct ctl_capture_reader *r, struct ctl_record *out, char error[CTL_ERROR_SIZE])
{
        struct frame_header header;

        (void)snprintf(error, CTL_ERROR_SIZE, "%s: cannot be read", r->path);
        int got = read_part(r, &header, sizeof(header), false);
        if (got <= 0)
                return got;
        uint32_t len = le32toh(header.length);
        if (len < 2 || len > CTL_CAPTURE_MAX_FRAME)
                return damaged(r, "frame length out of bounds", error);
        got = read_part(r, r->payload, len, true);
        if (got <= 0)
                return got;
        if (crc32(0, r->payload, len) != le32toh(header.crc))
                return damaged(r, "checksum does not match", error);
        got = decode_payload(r, len, out, error);
        if (got > 0)
                r->offset += sizeof(header) + len;
        return got;
}
