/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/recorder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* An index takes this much at most; a file's bound must leave room for it. */
#define INDEX_RESERVE (CTL_CAPTURE_ENTRIES * 18 + 256)

struct ctl_recorder {
        char *path;
        bool overwrite;
        uint64_t max_bytes, max_files, messages;
        struct ctl_capture_header header;
        struct ctl_capture_writer *writer;
};

/* FILE.n; n = 0 is FILE. NULL when out of memory. */
static char *part_path(const struct ctl_recorder *r, uint64_t n)
{
        char *path = NULL;

        if (asprintf(&path, n ? "%s.%" PRIu64 : "%s", r->path, n) < 0)
                return NULL;
        return path;
}

/* Is one of the files there that a rotation would write over? */
static int look_for_old(const struct ctl_recorder *r)
{
        struct stat st;

        for (uint64_t n = 0; n < r->max_files; n++) {
                AK_AUTOFREE char *path = part_path(r, n);
                if (!path)
                        return -ENOMEM;
                if (lstat(path, &st) == 0 && !r->overwrite)
                        return -EEXIST;
                if (n > 0 && r->overwrite && unlink(path) < 0 && errno != ENOENT)
                        return -errno;
        }
        return 0;
}

static int open_part(struct ctl_recorder *r, uint64_t created_us, bool overwrite)
{
        r->header.part++;
        r->header.created_us = created_us;
        return ctl_capture_writer_new(&r->writer, r->path, overwrite, &r->header);
}

int ctl_recorder_new(struct ctl_recorder **out, const struct ctl_recorder_options *o)
{
        AK_CLEANUP(ctl_recorder_freep) struct ctl_recorder *r = calloc(1, sizeof(*r));

        if (!r || !(r->path = strdup(o->path)))
                return -ENOMEM;
        r->overwrite = o->overwrite;
        r->max_bytes = o->max_bytes;
        r->max_files = o->max_files ? o->max_files : 1;
        r->header.run = o->run;
        (void)snprintf(r->header.node, sizeof(r->header.node), "%s", o->node ? o->node : "");
        int code = look_for_old(r);
        if (code == 0)
                code = open_part(r, o->created_us, o->overwrite);
        if (code < 0)
                return code;
        *out = AK_STEAL(r);
        return 0;
}

struct ctl_recorder *ctl_recorder_free(struct ctl_recorder *r)
{
        if (!r)
                return NULL;
        ctl_capture_writer_free(r->writer);
        free(r->path);
        free(r);
        return NULL;
}

static int shift(const struct ctl_recorder *r, uint64_t from)
{
        AK_AUTOFREE char *old = part_path(r, from);
        AK_AUTOFREE char *new = part_path(r, from + 1);

        if (!old || !new)
                return -ENOMEM;
        return rename(old, new) < 0 && errno != ENOENT ? -errno : 0;
}

static int rotate(struct ctl_recorder *r, uint64_t now_us)
{
        int code = ctl_recorder_finish(r);

        for (uint64_t n = r->max_files - 1; code == 0 && n > 0; n--)
                code = shift(r, n - 1);
        return code < 0 ? code : open_part(r, now_us, false);
}

/* Would one more message of this size make the file larger than it may be? An empty file takes any. */
static bool is_full(const struct ctl_recorder *r, size_t body_len)
{
        uint64_t wanted = ctl_capture_writer_bytes(r->writer) + body_len + sizeof(struct ctl_envelope);

        return ctl_capture_writer_messages(r->writer) > 0 && wanted + INDEX_RESERVE > r->max_bytes;
}

int ctl_recorder_take(struct ctl_recorder *r, const struct ak_bus_frame *frame, uint64_t received_us,
                      uint64_t mono_us)
{
        struct ctl_envelope envelope;
        int code = ctl_envelope_from_frame(&envelope, frame, received_us, mono_us);

        if (code == 0 && is_full(r, frame->body_len))
                code = r->max_files > 1 ? rotate(r, received_us) : 1;
        if (code == 0)
                code = ctl_capture_write(r->writer, &envelope, frame->body, frame->body_len);
        if (code == 0)
                r->messages++;
        return code;
}

int ctl_recorder_finish(struct ctl_recorder *r)
{
        int code = r->writer ? ctl_capture_writer_finish(r->writer) : 0;

        r->writer = ctl_capture_writer_free(r->writer);
        return code;
}

uint64_t ctl_recorder_messages(const struct ctl_recorder *r)
{
        return r->messages;
}

uint64_t ctl_recorder_parts(const struct ctl_recorder *r)
{
        return r->header.part;
}
