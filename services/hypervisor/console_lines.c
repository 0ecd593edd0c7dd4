/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/console_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/clock.h"

#define FIRST_ROOM 64

static void thin_out(struct hv_lines *l)
{
        size_t kept = 0;

        for (size_t i = 0; i < l->count; i += 2)
                l->marks[kept++] = l->marks[i];
        l->count = kept;
}

static int make_room(struct hv_lines *l)
{
        size_t room = l->room ? 2 * l->room : FIRST_ROOM;
        struct hv_line_mark *marks;

        if (l->count < l->room)
                return 0;
        if (l->count == HV_LINES_MARKS) {
                thin_out(l);
                return 0;
        }
        marks = reallocarray(l->marks, room, sizeof(*marks));
        if (!marks)
                return -ENOMEM;
        l->marks = marks;
        l->room = room;
        return 0;
}

int hv_lines_note(struct hv_lines *l, uint64_t size, uint64_t real_us)
{
        if (size < l->size)
                l->count = l->size = 0;
        if (size == l->size)
                return 0;
        if (make_room(l) < 0)
                return -ENOMEM;
        /* The clock may have been set back; times within a log do not fall. */
        if (l->count > 0 && real_us < l->marks[l->count - 1].real_us)
                real_us = l->marks[l->count - 1].real_us;
        l->marks[l->count++] = (struct hv_line_mark){l->size, real_us};
        l->size = size;
        return 0;
}

void hv_lines_deinit(struct hv_lines *l)
{
        free(l->marks);
        *l = (struct hv_lines){0};
}

uint64_t hv_lines_time(const struct hv_lines *l, uint64_t offset, uint64_t now_us)
{
        size_t low = 0, high = l->count;

        if (l->count == 0 || offset >= l->size)
                return now_us;
        while (high - low > 1) {
                size_t middle = low + (high - low) / 2;

                if (l->marks[middle].at <= offset)
                        low = middle;
                else
                        high = middle;
        }
        return l->marks[low].real_us;
}

uint64_t hv_lines_since(const struct hv_lines *l, uint64_t since_us)
{
        for (size_t i = 0; i < l->count; i++) {
                if (l->marks[i].real_us >= since_us)
                        return l->marks[i].at;
        }
        return l->size;
}

size_t hv_stamp(struct hv_stamper *s, const struct hv_lines *l, uint64_t offset, uint64_t now_us,
                const char *data, size_t len, char *out, size_t size, size_t *taken)
{
        size_t n = 0, i = 0;

        for (; i < len && size - n > HV_STAMP_SIZE; i++) {
                if (!s->inside && !s->skip) {
                        char stamp[AK_RFC3339_SIZE];

                        ak_rfc3339_format(hv_lines_time(l, offset + i, now_us), true, stamp);
                        memcpy(out + n, stamp, HV_STAMP_SIZE - 1);
                        n += HV_STAMP_SIZE - 1;
                        out[n++] = ' ';
                        s->inside = true;
                }
                if (!s->skip)
                        out[n++] = data[i];
                if (data[i] == '\n')
                        s->inside = s->skip = false;
        }
        *taken = i;
        return n;
}

size_t hv_lines_back(const char *data, size_t len, uint64_t *lines)
{
        for (size_t at = len; at > 0; at--) {
                if (data[at - 1] == '\n' && (*lines)-- == 0) {
                        *lines = 0;
                        return at;
                }
        }
        return 0;
}
