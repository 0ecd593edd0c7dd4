/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program without a shell and waits for it, for a bounded time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * `argv` as for execvp(3). Standard input and output are /dev/null; what the program writes to standard
 * error goes to `errors` (cut at its size, one line, NUL-terminated). Returns the exit code, -ETIMEDOUT
 * (killed and reaped), -ECHILD when a signal ended it, or another negative errno when it could not start.
 */
int hv_spawn(const char *const *argv, uint64_t timeout_us, char *errors, size_t errors_size);
