/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"

struct api_audit {
        char *path;
        int fd;
        uint64_t size, max_size;
        struct ak_ratelimit complaints;
};

static int open_file(const char *path, uint64_t *size)
{
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                (void)close(fd);
                return -EINVAL;
        }
        *size = (uint64_t)st.st_size;
        return fd;
}

int api_audit_new(struct api_audit **out, const char *path, uint64_t max_size, char error[AUDIT_ERROR_SIZE])
{
        struct api_audit *a = calloc(1, sizeof(*a));

        if (!a)
                return -ENOMEM;
        a->max_size = max_size;
        a->complaints = (struct ak_ratelimit){.interval_us = 10 * 1000 * 1000, .burst = 1};
        a->path = strdup(path);
        a->fd = a->path ? open_file(path, &a->size) : -ENOMEM;
        if (a->fd < 0) {
                int rc = a->fd;

                (void)snprintf(error, AUDIT_ERROR_SIZE, "cannot write %.400s: %s", path, strerror(-rc));
                free(a->path);
                free(a);
                return rc;
        }
        *out = a;
        return 0;
}

struct api_audit *api_audit_free(struct api_audit *a)
{
        if (a) {
                (void)close(a->fd);
                free(a->path);
                free(a);
        }
        return NULL;
}

bool api_audit_wanted(const struct rest_request *r)
{
        if (r->target == REST_ATTACH)
                return true;
        return r->target == REST_OBJECTS && r->api.kind && r->api.verb != API_GET && r->api.verb != API_LIST;
}

static void complain(struct api_audit *a, int error)
{
        uint32_t suppressed = 0;

        if (ak_ratelimit_pass(&a->complaints, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_ERROR, "audit_failed", "file", a->path, "error", strerror(error), "suppressed",
                       AK_FMT("%u", suppressed), NULL);
}

static void rotate(struct api_audit *a)
{
        char old[PATH_MAX];
        uint64_t size = 0;
        int fd;

        (void)snprintf(old, sizeof(old), "%s.1", a->path);
        if (rename(a->path, old) < 0) {
                complain(a, errno);
                return;
        }
        fd = open_file(a->path, &size);
        if (fd < 0) {
                complain(a, -fd);
                return;
        }
        (void)close(a->fd);
        a->fd = fd;
        a->size = size;
}

static void write_line(struct api_audit *a, const char *line, size_t len)
{
        ssize_t n;

        if (a->size + len > a->max_size)
                rotate(a);
        n = write(a->fd, line, len);
        if (n != (ssize_t)len)
                complain(a, n < 0 ? errno : ENOSPC);
        if (n > 0)
                a->size += (uint64_t)n;
}

static json_t *strings(const char *const *list)
{
        json_t *array = json_array();

        for (; list && *list; list++)
                (void)json_array_append_new(array, json_string(*list));
        return array;
}

static const char *or_null(const char *text)
{
        return text && *text ? text : NULL;
}

static json_t *entry_to_json(const struct api_audit_entry *e)
{
        const struct api_request *api = &e->request->api;
        char now[AK_RFC3339_SIZE];
        json_t *line;

        ak_rfc3339_format(e->real_us, true, now);
        line =
            json_pack("{s:s, s:s*, s:o, s:s*, s:s, s:s, s:s, s:s*, s:s*, s:s*, s:i, s:s*, s:I, s:s}", "time",
                      now, "user", e->user->name, "groups", strings(e->user->groups), "from", e->from, "verb",
                      rest_verb_name(e->request), "apiGroup", api->kind->group, "resource", api->kind->plural,
                      "subresource", or_null(api->subresource), "namespace", or_null(api->name_space), "name",
                      or_null(e->name), "code", (int)e->code, "resourceVersion", or_null(e->version), "us",
                      (json_int_t)e->took_us, "path", e->path);
        if (api->dry_run)
                (void)json_object_set_new(line, "dryRun", json_true());
        return line;
}

void api_audit_write(struct api_audit *a, const struct api_audit_entry *e)
{
        json_t *line = entry_to_json(e);
        char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
        size_t len = text ? strlen(text) : 0;

        if (text) {
                text[len] = '\n'; /* in place of the NUL */
                write_line(a, text, len + 1);
        } else {
                complain(a, ENOMEM);
        }
        free(text);
        json_decref(line);
}
