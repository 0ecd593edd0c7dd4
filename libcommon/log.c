/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line is built in a buffer on the stack and written with one write(2), so that lines of two threads
 * never mix. What does not fit is cut, marked with "...".
 *
 * The three words of state below are the only ones of the process that a context does not hold: every
 * function may want to log, and main() sets them before anything runs.
 */
#include "libcommon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libcommon/clock.h"
#include "libcommon/utf8.h"

#define LINE_MAX_BYTES 8192
#define CUT_MARK       "..."

static const char *_Atomic log_service = "alkaid";
static _Atomic(enum ak_log_level) log_min = AK_LOG_INFO; /* SIGHUP may set it while threads log */
static atomic_bool log_tty;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[90m", "\033[32m", "\033[33m", "\033[31m"};

void ak_log_init(const char *service, enum ak_log_level min_level)
{
        log_service = service;
        log_min = min_level;
        log_tty = isatty(STDERR_FILENO) == 1;
}

bool ak_log_enabled(enum ak_log_level level)
{
        return level >= log_min;
}

int ak_log_level_parse(const char *text, enum ak_log_level *out)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(level_names); i++) {
                if (strcmp(text, level_names[i]) == 0) {
                        *out = (enum ak_log_level)i;
                        return 0;
                }
        }
        return -EINVAL;
}

/* --- a line under construction -------------------------------------------- */

struct line {
        char data[LINE_MAX_BYTES];
        size_t len;
        bool cut;
};

static void add(struct line *l, const char *text, size_t len)
{
        if (l->cut || len > LINE_MAX_BYTES - sizeof(CUT_MARK) - 1 - l->len) {
                l->cut = true; /* never half an escape or half a character */
                return;
        }
        memcpy(l->data + l->len, text, len);
        l->len += len;
}

static void add_str(struct line *l, const char *text)
{
        add(l, text, strlen(text));
}

/* C1 controls, line separators and text direction marks can forge a line on a terminal too. */
static bool is_unsafe(uint32_t cp)
{
        return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || (cp >= 0x2028 && cp <= 0x202e) ||
               (cp >= 0x2066 && cp <= 0x2069);
}

static void add_escaped(struct line *l, const char *s, size_t len, bool safe)
{
        if (len == 1 && (*s == '"' || *s == '\\')) {
                add(l, (const char[]){'\\', *s}, 2);
        } else if (safe) {
                add(l, s, len);
        } else if (len == 1 && *s == '\n') {
                add(l, "\\n", 2);
        } else {
                for (size_t i = 0; i < len; i++)
                        add_str(l, AK_FMT("\\x%02x", (unsigned char)s[i]));
        }
}

static bool needs_quotes(const char *s)
{
        if (*s == '\0')
                return true;
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;

                if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
                        return true;
        }
        return false;
}

static void add_value(struct line *l, const char *value)
{
        size_t left = strlen(value);

        if (!needs_quotes(value)) {
                add(l, value, left);
                return;
        }
        add(l, "\"", 1);
        while (left > 0) {
                uint32_t cp = 0;
                size_t n = ak_utf8_decode(value, left, &cp);
                size_t step = n ? n : 1;

                add_escaped(l, value, step, n != 0 && !is_unsafe(cp));
                value += step;
                left -= step;
        }
        add(l, "\"", 1);
}

static void add_pair(struct line *l, const char *key, const char *value)
{
        add(l, " ", 1);
        add_str(l, key);
        add(l, "=", 1);
        add_value(l, value);
}

static void add_head(struct line *l, enum ak_log_level level, const char *event)
{
        uint64_t now = ak_clock_realtime_us();

        if (log_tty) {
                time_t sec = (time_t)(now / 1000000);
                struct tm tm = {0};

                (void)localtime_r(&sec, &tm);
                add_str(l, AK_FMT("%02d:%02d:%02d.%03u %s%-5s\033[0m %s", tm.tm_hour, tm.tm_min, tm.tm_sec,
                                  (unsigned)(now / 1000 % 1000), level_colours[level], level_names[level],
                                  log_service));
        } else {
                char ts[AK_RFC3339_SIZE];

                ak_rfc3339_format(now, true, ts);
                add_str(l, AK_FMT("ts=%s level=%s service=%s", ts, level_names[level], log_service));
        }
        add_pair(l, "event", event);
}

static void write_line(struct line *l)
{
        size_t done = 0;

        if (l->cut) {
                memcpy(l->data + l->len, CUT_MARK, sizeof(CUT_MARK) - 1);
                l->len += sizeof(CUT_MARK) - 1;
        }
        l->data[l->len++] = '\n';
        while (done < l->len) {
                ssize_t n = write(STDERR_FILENO, l->data + done, l->len - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return; /* nowhere left to complain */
                done += (size_t)n;
        }
}

void ak_log(enum ak_log_level level, const char *event, ...)
{
        int saved_errno = errno;
        struct line l;
        va_list ap;

        if (level < log_min)
                return;
        l.len = 0;
        l.cut = false;
        add_head(&l, level, event);
        va_start(ap, event);
        for (const char *key; (key = va_arg(ap, const char *));) {
                const char *value = va_arg(ap, const char *);

                if (value)
                        add_pair(&l, key, value);
        }
        va_end(ap);
        write_line(&l);
        errno = saved_errno;
}

struct ak_fmt ak_fmt(const char *format, ...)
{
        struct ak_fmt f = {""};
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(f.s, sizeof(f.s), format, ap);
        va_end(ap);
        return f;
}

_Bool ak_ratelimit_pass(struct ak_ratelimit *rl, uint64_t now_us, uint32_t *suppressed)
{
        if (rl->used == 0 || now_us - rl->window_start_us >= rl->interval_us) {
                rl->window_start_us = now_us;
                rl->used = 0;
        }
        if (rl->used >= rl->burst) {
                rl->suppressed++;
                return false;
        }
        rl->used++;
        *suppressed = rl->suppressed;
        rl->suppressed = 0;
        return true;
}
