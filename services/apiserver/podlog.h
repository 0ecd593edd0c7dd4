/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubectl logs: what the VM's console printed, as a stream of text. The hypervisor service keeps the last
 * 64 KiB of it; with `follow` the stream goes on until the VM is gone or the client leaves.
 */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct api_podlog_options {
        zloop_t *loop;
        const char *bus_dir, *pod_uid;
        bool follow;
        int64_t tail_lines, limit_bytes; /* -1 = all */
        size_t *sessions;
        /* It is known whether there is a log, or there is something to read. Never called inside a read. */
        void (*wake)(void *arg);
        void *arg;
};

struct api_podlog;

int api_podlog_new(struct api_podlog **out, const struct api_podlog_options *options);
struct api_podlog *api_podlog_free(struct api_podlog *log);
/* 0 = not known yet (wait for wake()), 1 = there is a log, -EIO = there is none; *error says why. */
int api_podlog_state(const struct api_podlog *log, const char **error);
/* Bytes > 0; 0 = nothing now, wait for wake(); -1 = over. */
ssize_t api_podlog_read(struct api_podlog *log, char *buf, size_t max);

/* Pure: where the last `lines` lines of a text begin. */
size_t api_podlog_tail(const char *text, size_t len, int64_t lines);
