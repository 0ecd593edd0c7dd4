/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "tools/alkaidctl/capture_format.h"

#define FIRST_STRIDE 65536 /* bytes of file between two entries of the index */
#define MAX_PARTS    4

struct ctl_capture_writer {
        int fd;
        uint64_t bytes, stride, next_entry;
        struct capture_index index;
};

/* A payload of some parts, behind its length and checksum. */
static int write_frame(struct ctl_capture_writer *w, const struct iovec *payload, size_t count)
{
        struct iovec parts[MAX_PARTS + 1];
        struct capture_frame_header header;
        size_t length = 0;
        uLong crc = crc32(0, NULL, 0);

        for (size_t i = 0; i < count; i++) {
                parts[i + 1] = payload[i];
                length += payload[i].iov_len;
                if (payload[i].iov_len > 0)
                        crc = crc32(crc, payload[i].iov_base, (uInt)payload[i].iov_len);
        }
        if (length > CTL_CAPTURE_MAX_FRAME)
                return -EMSGSIZE;
        header = (struct capture_frame_header){htole32((uint32_t)length), htole32((uint32_t)crc)};
        parts[0] = (struct iovec){&header, sizeof(header)};
        ssize_t n = writev(w->fd, parts, (int)count + 1);
        if (n < 0)
                return -errno;
        w->bytes += (uint64_t)n;
        return (size_t)n == sizeof(header) + length ? 0 : -ENOSPC;
}

static int write_record(struct ctl_capture_writer *w, enum capture_kind kind, const struct ak_record *record,
                        const void *value)
{
        AK_AUTOFREE uint8_t *packed = NULL;
        uint8_t first = (uint8_t)kind;
        size_t len = 0;
        int r = ak_record_encode(record, value, &packed, &len);

        return r < 0 ? r : write_frame(w, (const struct iovec[]){{&first, 1}, {packed, len}}, 2);
}

int ctl_capture_writer_new(struct ctl_capture_writer **out, const char *path, bool overwrite,
                           const struct ctl_capture_header *header)
{
        AK_AUTOCLOSE int fd =
            open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (overwrite ? O_TRUNC : O_EXCL), 0600);
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;

        if (fd < 0)
                return -errno;
        if (write(fd, CAPTURE_MAGIC, CAPTURE_MAGIC_LEN) != CAPTURE_MAGIC_LEN)
                return errno ? -errno : -EIO;
        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->fd = fd;
        fd = -1;
        w->bytes = CAPTURE_MAGIC_LEN;
        w->stride = FIRST_STRIDE;
        int r = write_record(w, CAPTURE_HEADER, &ctl_capture_header_record, header);
        if (r < 0)
                return r;
        *out = AK_STEAL(w);
        return 0;
}

struct ctl_capture_writer *ctl_capture_writer_free(struct ctl_capture_writer *w)
{
        if (w)
                (void)close(w->fd);
        free(w);
        return NULL;
}

/* ------------------------------------------------------------------ index */

static void thin_out(struct ctl_capture_writer *w)
{
        struct capture_index *x = &w->index;

        for (uint32_t i = 0; i < CTL_CAPTURE_ENTRIES / 2; i++) {
                x->offsets.items[i] = x->offsets.items[2 * i];
                x->times.items[i] = x->times.items[2 * i];
        }
        x->offsets.count = x->times.count = CTL_CAPTURE_ENTRIES / 2;
        w->stride *= 2;
}

/* Before a message is written at the present end of the file. */
static void note_message(struct ctl_capture_writer *w, uint64_t received_us)
{
        struct capture_index *x = &w->index;

        if (x->messages > 0 && w->bytes >= w->next_entry) {
                if (x->offsets.count == CTL_CAPTURE_ENTRIES)
                        thin_out(w);
                x->offsets.items[x->offsets.count++] = w->bytes;
                x->times.items[x->times.count++] = x->last_us;
                w->next_entry = w->bytes + w->stride;
        }
        if (x->messages == 0) {
                x->first_us = received_us;
                w->next_entry = w->bytes + w->stride;
        }
        /* A clock that is set back must not make a reader pass what came before. */
        if (received_us > x->last_us)
                x->last_us = received_us;
}

int ctl_capture_write(struct ctl_capture_writer *w, const struct ctl_envelope *envelope, const uint8_t *body,
                      size_t body_len)
{
        AK_AUTOFREE uint8_t *packed = NULL;
        uint8_t kind = CAPTURE_MESSAGE;
        size_t packed_len = 0;
        int r = ak_record_encode(&ctl_envelope_record, envelope, &packed, &packed_len);

        if (r < 0)
                return r;
        if (packed_len > UINT16_MAX || 3 + packed_len + body_len > CTL_CAPTURE_MAX_FRAME)
                return -EMSGSIZE;
        uint16_t envelope_len = htole16((uint16_t)packed_len);
        const struct iovec payload[MAX_PARTS] = {
            {&kind, sizeof(kind)},
            {&envelope_len, sizeof(envelope_len)},
            {packed, packed_len},
            {(void *)(uintptr_t)body, body_len},
        };
        note_message(w, envelope->received_us);
        r = write_frame(w, payload, MAX_PARTS);
        if (r == 0)
                w->index.messages++;
        return r;
}

uint64_t ctl_capture_writer_bytes(const struct ctl_capture_writer *w)
{
        return w->bytes;
}

uint64_t ctl_capture_writer_messages(const struct ctl_capture_writer *w)
{
        return w->index.messages;
}

int ctl_capture_writer_finish(struct ctl_capture_writer *w)
{
        uint8_t kind = CAPTURE_END;
        uint64_t offset = htole64(w->bytes);
        int r = write_record(w, CAPTURE_INDEX, &capture_index_record, &w->index);

        return r < 0 ? r : write_frame(w, (const struct iovec[]){{&kind, 1}, {&offset, sizeof(offset)}}, 2);
}
