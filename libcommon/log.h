/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log: one line, key=value, on standard error (journald adds the rest).
 *
 *   ts=2026-01-02T03:04:05.678901Z level=info service=network event=port_ready pod=… nic=eth1 port=… us=812
 *
 * `event` is a fixed snake_case name that never changes; values with blanks or quotes are quoted and
 * escaped, control characters too, so that a peer cannot forge a line. When standard error is a terminal
 * the time is local and short and the level coloured.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libcommon/cleanup.h"

enum ak_log_level { AK_LOG_DEBUG, AK_LOG_INFO, AK_LOG_WARN, AK_LOG_ERROR };

/* Called by main(), and again when the level changes; `service` must outlive the process. */
void ak_log_init(const char *service, enum ak_log_level min_level);
bool ak_log_enabled(enum ak_log_level level);
/* "debug", "info", "warn", "error" -> level; -EINVAL otherwise. */
int ak_log_level_parse(const char *text, enum ak_log_level *out);

/*
 * ak_log(AK_LOG_INFO, "port_ready", "pod", pod_uid, "nic", nic, NULL);
 * Keys and values alternate, all strings; a pair whose value is NULL is left out; ends with a NULL key.
 * Format numbers with AK_FMT().
 */
void ak_log(enum ak_log_level level, const char *event, ...) AK_SENTINEL;

/* A short formatted string that lives until the end of the enclosing block. At most 255 bytes. */
struct ak_fmt {
        char s[256];
};
struct ak_fmt ak_fmt(const char *format, ...) AK_PRINTF(1, 2);
#define AK_FMT(...) (ak_fmt(__VA_ARGS__).s)

/*
 * Rate limit for noise that a peer can cause. ak_ratelimit_pass() returns true when a line may be written;
 * *suppressed then holds how many were dropped since the last one.
 */
struct ak_ratelimit {
        uint64_t interval_us; /* one burst per interval */
        uint32_t burst;
        uint64_t window_start_us;
        uint32_t used;
        uint32_t suppressed;
};
_Bool ak_ratelimit_pass(struct ak_ratelimit *rl, uint64_t now_us, uint32_t *suppressed);
