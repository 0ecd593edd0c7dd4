/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording that may go on all day: captures of bounded size, rotated. FILE is the one being written;
 * when it is full it becomes FILE.1, FILE.1 becomes FILE.2, and the oldest goes. With one file only, the
 * recording ends when that is full.
 */
#pragma once

#include "tools/alkaidctl/capture.h"

struct ctl_recorder_options {
        const char *path, *node;
        bool overwrite;      /* replace FILE, and rotated files of it, that are there */
        uint64_t max_bytes;  /* of one file */
        uint64_t max_files;  /* at least 1 */
        uint64_t created_us; /* real time */
        uint64_t run;        /* random */
};

struct ctl_recorder;
int ctl_recorder_new(struct ctl_recorder **out, const struct ctl_recorder_options *options);
/* Leaves the file as a kill would. */
struct ctl_recorder *ctl_recorder_free(struct ctl_recorder *r);
AK_DEFINE_CLEANUP(struct ctl_recorder *, ctl_recorder_free)
/* 0; 1 when the only file is full and the message is not in it any more; negative errno. */
int ctl_recorder_take(struct ctl_recorder *r, const struct ak_bus_frame *frame, uint64_t received_us,
                      uint64_t mono_us);
/* Index and end of the file being written. */
int ctl_recorder_finish(struct ctl_recorder *r);
/* Messages written, in all files; files begun. */
uint64_t ctl_recorder_messages(const struct ctl_recorder *r);
uint64_t ctl_recorder_parts(const struct ctl_recorder *r);
