/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The apiserver's end of the console stream (proto/console.h): one DEALER per session. Who uses it (attach.c,
 * podlog.c) gets what the VM prints and may send what is typed; both ways are bounded by ZeroMQ's high-water
 * marks, and a user who cannot keep up pauses the session instead of piling up output.
 */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_console_handler {
        /* Output; the first call (possibly with no bytes) means that the session is open. Of a log: no bytes
         * means that what was there has been told. */
        void (*output)(void *arg, const uint8_t *data, size_t len);
        /* Over: text says why; `failed` = it did not end in good order. Nothing follows. */
        void (*ended)(void *arg, const char *text, bool failed);
        /* api_console_write() has room again. May be NULL. */
        void (*writable)(void *arg);
        void *arg;
};

struct api_console;

/*
 * `op` and `argument` begin the session: "open" with a pod's UID, or "log". 0, -EUSERS (too many sessions),
 * -ENOMEM. `count` is the shared number of sessions.
 */
int api_console_open(struct api_console **out, zloop_t *loop, const char *bus_dir, const char *op,
                     const char *argument, size_t *count, const struct api_console_handler *handler);
/* Never called from inside a callback of the same console. */
struct api_console *api_console_free(struct api_console *c);
/* Sends keyboard input, at most AK_CONSOLE_MAX_DATA bytes. 0, or -EAGAIN: wait for writable(). */
int api_console_write(struct api_console *c, const void *data, size_t len);
/* While paused, no output is read. */
void api_console_pause(struct api_console *c, bool paused);
