/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/log.h"

struct ak_journal {
        int fd;
        char *path;
        char *service;
        json_t *config;
        uint64_t part, size, max_bytes;
};

/* ------------------------------------------------------------------ writing */

/* A writer that was killed may have left half a line: cut the file after its last newline. */
static int drop_torn_end(int fd, uint64_t *size)
{
        char block[4096];

        while (*size > 0) {
                size_t len = *size < sizeof(block) ? (size_t)*size : sizeof(block);
                if (pread(fd, block, len, (off_t)(*size - len)) != (ssize_t)len)
                        return -EIO;
                const char *newline = memrchr(block, '\n', len);
                *size -= newline ? len - (size_t)(newline + 1 - block) : len;
                if (newline)
                        break;
        }
        return ftruncate(fd, (off_t)*size) < 0 ? -errno : 0;
}

static int open_file(const char *path, uint64_t *size)
{
        AK_AUTOCLOSE int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        uint64_t kept = (uint64_t)st.st_size;
        int r = drop_torn_end(fd, &kept);
        if (r < 0)
                return r;
        *size = kept;
        int out = fd;
        fd = -1;
        return out;
}

static int write_all(int fd, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(fd, data, len);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0) {
                        data += n;
                        len -= (size_t)n;
                }
        }
        return 0;
}

/* Takes the reference of `line`. */
static int write_line(struct ak_journal *j, json_t *line)
{
        AK_AUTOFREE char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

        json_decref(line);
        if (!text)
                return -ENOMEM;
        size_t len = strlen(text);
        if (len >= AK_JOURNAL_MAX_LINE)
                return -EMSGSIZE;
        text[len] = '\n';
        j->size += len + 1;
        return write_all(j->fd, text, len + 1);
}

static int write_header(struct ak_journal *j)
{
        return write_line(j, json_pack("{s:i, s:s, s:I, s:O}", "journal", AK_JOURNAL_VERSION, "service",
                                       j->service, "part", (json_int_t)j->part, "config", j->config));
}

static int rotate(struct ak_journal *j)
{
        AK_AUTOFREE char *old = NULL;

        if (asprintf(&old, "%s.1", j->path) < 0) {
                old = NULL;
                return -ENOMEM;
        }
        if (rename(j->path, old) < 0)
                return -errno;
        int fd = open_file(j->path, &j->size);
        if (fd < 0)
                return fd;
        (void)close(j->fd);
        j->fd = fd;
        j->part++;
        return write_header(j);
}

/* The service goes on without its journal. */
static void give_up(struct ak_journal *j, int error)
{
        ak_log(AK_LOG_ERROR, "journal_ended", "path", j->path, "error", strerror(-error), NULL);
        (void)close(j->fd);
        j->fd = -1;
}

static void append(struct ak_journal *j, json_t *line)
{
        int r = 0;

        if (j->size >= j->max_bytes)
                r = rotate(j);
        if (r < 0)
                json_decref(line);
        else
                r = write_line(j, line);
        if (r < 0)
                give_up(j, r);
}

static bool is_on(const struct ak_journal *j, json_t *body)
{
        if (j && j->fd >= 0 && body)
                return true;
        json_decref(body);
        return false;
}

void ak_journal_event(struct ak_journal *j, uint64_t now_us, uint64_t real_us, json_t *event)
{
        if (is_on(j, event))
                append(j, json_pack("{s:I, s:I, s:o}", "t", (json_int_t)now_us, "real", (json_int_t)real_us,
                                    "event", event));
}

void ak_journal_actions(struct ak_journal *j, uint64_t now_us, json_t *actions)
{
        if (!is_on(j, actions))
                return;
        if (json_array_size(actions) == 0)
                json_decref(actions);
        else
                append(j, json_pack("{s:I, s:o}", "t", (json_int_t)now_us, "actions", actions));
}

/* FILE, or SERVICE.jsonl in it where it is a directory. */
static char *file_path(const char *path, const char *service)
{
        struct stat st;
        char *out = NULL;

        if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return strdup(path);
        return asprintf(&out, "%s/%s.jsonl", path, service) < 0 ? NULL : out;
}

int ak_journal_new(struct ak_journal **out, const char *path, const char *service, json_t *config,
                   uint64_t max_bytes)
{
        AK_CLEANUP(ak_journal_freep) struct ak_journal *j = calloc(1, sizeof(*j));

        if (j)
                j->fd = -1;
        if (!j || !config) {
                json_decref(config);
                return -ENOMEM;
        }
        j->config = config;
        j->part = 1;
        j->max_bytes = max_bytes ? max_bytes : AK_JOURNAL_MAX_BYTES;
        j->path = file_path(path, service);
        j->service = strdup(service);
        if (!j->path || !j->service)
                return -ENOMEM;
        j->fd = open_file(j->path, &j->size);
        if (j->fd < 0)
                return j->fd;
        int r = write_header(j);
        if (r < 0)
                return r;
        *out = AK_STEAL(j);
        return 0;
}

struct ak_journal *ak_journal_free(struct ak_journal *j)
{
        if (!j)
                return NULL;
        if (j->fd >= 0)
                (void)close(j->fd);
        json_decref(j->config);
        free(j->path);
        free(j->service);
        free(j);
        return NULL;
}

/* ------------------------------------------------------------------ reading */

struct ak_journal_reader {
        FILE *file;
        char *path, *buffer;
        size_t size;
        uint64_t line;
        bool torn;
};

int ak_journal_reader_new(struct ak_journal_reader **out, const char *path)
{
        AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *r = calloc(1, sizeof(*r));

        if (!r || !(r->path = strdup(path)))
                return -ENOMEM;
        r->file = fopen(path, "re");
        if (!r->file)
                return -errno;
        *out = AK_STEAL(r);
        return 0;
}

struct ak_journal_reader *ak_journal_reader_free(struct ak_journal_reader *r)
{
        if (!r)
                return NULL;
        if (r->file)
                (void)fclose(r->file);
        free(r->path);
        free(r->buffer);
        free(r);
        return NULL;
}

bool ak_journal_reader_torn(const struct ak_journal_reader *r)
{
        return r->torn;
}

void ak_journal_line_deinit(struct ak_journal_line *line)
{
        json_decref(line->body);
        *line = (struct ak_journal_line){0};
}

static int bad(const struct ak_journal_reader *r, const char *what, char error[AK_JOURNAL_ERROR_SIZE])
{
        (void)snprintf(error, AK_JOURNAL_ERROR_SIZE, "%s:%llu: %s", r->path, (unsigned long long)r->line,
                       what);
        return -EBADMSG;
}

static bool get_u64(const json_t *json, const char *key, uint64_t *out)
{
        const json_t *value = json_object_get(json, key);

        if (!json_is_integer(value) || json_integer_value(value) < 0)
                return false;
        *out = (uint64_t)json_integer_value(value);
        return true;
}

static const char *parse_header(json_t *json, struct ak_journal_line *out)
{
        const char *service = json_string_value(json_object_get(json, "service"));
        uint64_t version = 0;

        if (!get_u64(json, "journal", &version) || version != AK_JOURNAL_VERSION)
                return "not a journal of version 1";
        if (!service || strlen(service) >= sizeof(out->service) || !get_u64(json, "part", &out->part) ||
            !json_is_object(json_object_get(json, "config")))
                return "a header needs service, part and config";
        out->kind = AK_JOURNAL_HEADER;
        (void)snprintf(out->service, sizeof(out->service), "%s", service);
        out->body = json_incref(json_object_get(json, "config"));
        return NULL;
}

/* NULL, or what is wrong with the line. */
static const char *parse(json_t *json, struct ak_journal_line *out)
{
        json_t *event = json_object_get(json, "event"), *actions = json_object_get(json, "actions");

        if (json_object_get(json, "journal"))
                return parse_header(json, out);
        if (!get_u64(json, "t", &out->now_us))
                return "a line needs t, microseconds";
        if (event && !get_u64(json, "real", &out->real_us))
                return "an event needs real, microseconds since 1970";
        if (!json_is_object(event) && !json_is_array(actions))
                return "a line holds an event (object) or actions (array)";
        out->kind = event ? AK_JOURNAL_EVENT : AK_JOURNAL_ACTIONS;
        out->body = json_incref(event ? event : actions);
        return NULL;
}

static int grow(struct ak_journal_reader *r)
{
        size_t size = r->size ? 2 * r->size : 65536;
        char *buffer = size <= AK_JOURNAL_MAX_LINE ? realloc(r->buffer, size) : NULL;

        if (!buffer)
                return size <= AK_JOURNAL_MAX_LINE ? -ENOMEM : -EMSGSIZE;
        r->buffer = buffer;
        r->size = size;
        return 0;
}

/* Length of the next line, 0 at the end, -EMSGSIZE where it is too long. */
static ssize_t next_line(struct ak_journal_reader *r)
{
        size_t len = 0;
        int c = 0;

        r->line++;
        while (c != '\n') {
                int grown = len < r->size ? 0 : grow(r);
                if (grown < 0)
                        return grown;
                c = getc_unlocked(r->file);
                if (c == EOF) {
                        r->torn = len > 0;
                        return 0;
                }
                r->buffer[len++] = (char)c;
        }
        return (ssize_t)len;
}

int ak_journal_read(struct ak_journal_reader *r, struct ak_journal_line *out,
                    char error[AK_JOURNAL_ERROR_SIZE])
{
        struct ak_journal_line line = {0};
        json_error_t why;
        ssize_t len = next_line(r);

        if (len == 0)
                return ferror(r->file) ? -EIO : 0;
        if (len < 0)
                return bad(r, len == -ENOMEM ? "out of memory" : "line too long", error);
        json_t *json = json_loadb(r->buffer, (size_t)len, JSON_REJECT_DUPLICATES, &why);
        if (!json)
                return bad(r, why.text, error);
        const char *wrong = parse(json, &line);
        json_decref(json);
        if (wrong)
                return bad(r, wrong, error);
        *out = line;
        return 1;
}
