/* SPDX-License-Identifier: Apache-2.0 */
/* The client's end of the console stream (proto/console.h), apart from the terminal. */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_CONSOLE_ESCAPE 0x1d /* ^] */

/* How many bytes of the input go to the VM; *leave is set when the escape key follows them. */
size_t ctl_console_scan(const uint8_t *data, size_t len, bool *leave);

enum ctl_console_outcome {
        CTL_CONSOLE_GO_ON,
        CTL_CONSOLE_LEFT,   /* the escape key, a signal */
        CTL_CONSOLE_CLOSED, /* the VM went away */
        CTL_CONSOLE_ERROR,  /* refused, or no answer */
};

struct ctl_console {
        const char *bus_dir, *pod_uid;
        int in_fd, out_fd;
        uint64_t answer_us;   /* how long to wait for "opened" */
        uint64_t duration_us; /* leave after this time; 0 = never */
};

/* Runs a session to its end. *text (256 bytes) tells why in the last two cases. */
enum ctl_console_outcome ctl_console_run(const struct ctl_console *console, char text[256]);
