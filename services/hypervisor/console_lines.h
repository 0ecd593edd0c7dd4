/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the lines of a console's log were printed. The log itself, which virtlogd writes, has no times; so the
 * console service notes how long the file was when, and a line is as old as its first byte. Marks are few:
 * when there are as many as may be, every other one is dropped, and times become that much coarser. What was
 * printed before the first look is as old as the file's last change then. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HV_LINES_MARKS 4096

struct hv_lines {
        struct hv_line_mark {
                uint64_t at; /* offset in the file; rising */
                uint64_t real_us;
        } * marks;
        size_t count, room;
        uint64_t size; /* of the file, as last noted */
};

/* The file is `size` bytes long at this time; shorter than before: another file. -ENOMEM: nothing noted. */
int hv_lines_note(struct hv_lines *l, uint64_t size, uint64_t real_us);
void hv_lines_deinit(struct hv_lines *l);
/* When the byte at `offset` was printed; `now_us` where nothing is known. */
uint64_t hv_lines_time(const struct hv_lines *l, uint64_t offset, uint64_t now_us);
/* From where on everything is of `since_us` or later. */
uint64_t hv_lines_since(const struct hv_lines *l, uint64_t since_us);

/* Puts a time and a blank before each line. */
struct hv_stamper {
        bool inside; /* of a line */
        bool skip;   /* to the end of the line that it begins in the middle of */
};
#define HV_STAMP_SIZE 28 /* "2026-01-02T03:04:05.678901Z " */
/*
 * data[0..len) stands at `offset`. Writes as much as fits into out[0..size) to it, at least HV_STAMP_SIZE + 1
 * bytes, and returns how much that is; *taken: how much of `data` it is of.
 */
size_t hv_stamp(struct hv_stamper *s, const struct hv_lines *l, uint64_t offset, uint64_t now_us,
                const char *data, size_t len, char *out, size_t size, size_t *taken);

/*
 * Goes back over *lines line ends and to the one before: what follows it. 0 = that lies before data[0],
 * *lines further line ends away.
 */
size_t hv_lines_back(const char *data, size_t len, uint64_t *lines);
