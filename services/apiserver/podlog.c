/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/podlog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/console.h"
#include "services/apiserver/console.h"

#define MAX_ARGUMENT 160          /* a UUID and two numbers */
#define BUFFER_LIMIT (256 * 1024) /* what the client has not taken; then the console is paused */

struct api_podlog {
        struct api_podlog_options options;
        struct api_console *console;
        char *text;
        size_t len, at, size;
        int64_t left; /* bytes that may still be sent; -1 = any number */
        bool open, over, failed, waiting, in_time;
        char error[256];
};

size_t api_podlog_strip(char *text, size_t len, bool *in_time)
{
        size_t n = 0;

        for (size_t i = 0; i < len; i++) {
                if (*in_time) {
                        *in_time = text[i] != ' ';
                        continue;
                }
                text[n++] = text[i];
                *in_time = text[i] == '\n';
        }
        return n;
}

static void wake(struct api_podlog *log)
{
        if (log->waiting) {
                log->waiting = false;
                log->options.wake(log->options.arg);
        }
}

static int append(struct api_podlog *log, const char *data, size_t len)
{
        if (log->at > 0) {
                memmove(log->text, log->text + log->at, log->len - log->at);
                log->len -= log->at;
                log->at = 0;
        }
        if (log->len + len > log->size) {
                char *text = realloc(log->text, log->len + len);

                if (!text)
                        return -ENOMEM;
                log->text = text;
                log->size = log->len + len;
        }
        if (len > 0)
                memcpy(log->text + log->len, data, len);
        log->len += len;
        return 0;
}

/* No bytes: what was there has been told. */
static void on_output(void *arg, const uint8_t *data, size_t len)
{
        struct api_podlog *log = arg;

        log->open = true;
        if (log->over || append(log, (const char *)data, len) < 0 || (len == 0 && !log->options.follow))
                log->over = true;
        else if (!log->options.timestamps)
                log->len = log->len - len + api_podlog_strip(log->text + log->len - len, len, &log->in_time);
        api_console_pause(log->console, log->over || log->len - log->at > BUFFER_LIMIT);
        wake(log);
}

static void on_ended(void *arg, const char *text, bool failed)
{
        struct api_podlog *log = arg;

        log->over = true;
        log->failed = failed && !log->open;
        (void)snprintf(log->error, sizeof(log->error), "%s", text);
        wake(log);
}

int api_podlog_new(struct api_podlog **out, const struct api_podlog_options *options)
{
        struct api_podlog *log = calloc(1, sizeof(*log));
        char argument[MAX_ARGUMENT];
        const struct api_console_handler handler = {on_output, on_ended, NULL, log};
        int rc;

        if (!log)
                return -ENOMEM;
        log->options = *options;
        log->left = options->limit_bytes;
        log->waiting = log->in_time = true;
        (void)snprintf(argument, sizeof(argument), "%s %" PRId64 " %" PRIu64, options->pod_uid,
                       options->tail_lines, options->since_us);
        rc = api_console_open(&log->console, options->loop, options->bus_dir, AK_CONSOLE_OP_LOG, argument,
                              options->sessions, &handler);
        log->options.bus_dir = log->options.pod_uid = NULL;
        if (rc < 0) {
                free(log);
                return rc;
        }
        *out = log;
        return 0;
}

struct api_podlog *api_podlog_free(struct api_podlog *log)
{
        if (!log)
                return NULL;
        log->console = api_console_free(log->console);
        free(log->text);
        free(log);
        return NULL;
}

int api_podlog_state(const struct api_podlog *log, const char **error)
{
        if (log->open)
                return 1;
        if (!log->over)
                return 0;
        *error = log->error;
        return -EIO;
}

ssize_t api_podlog_read(struct api_podlog *log, char *buf, size_t max)
{
        size_t n = log->len - log->at;

        if (log->left >= 0 && (uint64_t)log->left < n)
                n = (size_t)log->left;
        if (n > max)
                n = max;
        if (n == 0 && (log->over || log->left == 0))
                return -1;
        if (n == 0) {
                log->waiting = true;
                return 0;
        }
        memcpy(buf, log->text + log->at, n);
        log->at += n;
        if (log->left >= 0)
                log->left -= (int64_t)n;
        if (!log->over)
                api_console_pause(log->console, log->len - log->at > BUFFER_LIMIT);
        return (ssize_t)n;
}
