/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Alkaid's services wrote to systemd's journal: the same lines as in a log file, under the name of the
 * program (SYSLOG_IDENTIFIER), so that the journal's index finds them among everything else.
 */
#pragma once

#include <stdint.h>

#define CTL_JOURNAL_ERROR_SIZE 256

/* A whole line, without its end. Not 0 ends the reading, which returns it. */
typedef int ctl_journal_line_fn(const char *line, void *arg);

/*
 * The lines of `directory`, or of this machine's journal where it is NULL, from the real time `since_us` on,
 * oldest first. Negative errno with a text: it cannot be read, or there is none that the caller may read
 * (-ENOENT).
 */
int ctl_journal_read(const char *directory, uint64_t since_us, ctl_journal_line_fn *take, void *arg,
                     char error[CTL_JOURNAL_ERROR_SIZE]);
