/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubectl logs: what the VM's console printed, as a stream of lines. The hypervisor service, which has the
 * log and knows when each line was printed, picks those that are asked for and sends each with its time
 * before it; with `follow` the stream goes on until the VM is gone or the client leaves.
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
        bool follow, timestamps;
        int64_t tail_lines, limit_bytes; /* -1 = all */
        uint64_t since_us;               /* 0 = all */
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

/*
 * Pure. Takes the time off each line: text[0..len) is the next piece of the stream, *in_time (true at first)
 * whether a time comes next. What is left of it stands at text[0..returned).
 */
size_t api_podlog_strip(char *text, size_t len, bool *in_time);
