/* SPDX-License-Identifier: Apache-2.0 */
/* Time for shells. Cores never call these: time comes to them as an argument, in microseconds. */
#pragma once

#include <stdint.h>

/* Microseconds since an arbitrary start; never jumps. */
uint64_t ak_clock_monotonic_us(void);
/* Microseconds since 1970-01-01 UTC; may jump. */
uint64_t ak_clock_realtime_us(void);

#define AK_RFC3339_SIZE 32
/* "2026-01-02T03:04:05Z" (micros false) or "2026-01-02T03:04:05.678901Z" (micros true). */
void ak_rfc3339_format(uint64_t realtime_us, _Bool micros, char out[AK_RFC3339_SIZE]);
/* RFC 3339 with optional fraction and offset -> microseconds; -EINVAL otherwise. */
int ak_rfc3339_parse(const char *text, uint64_t *realtime_us);
