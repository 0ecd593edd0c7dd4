/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define TEXT_COLUMNS 44 /* of a row, before its bar */
#define MIN_BAR      16

/* ------------------------------------------------------------------ lines of a log */

/* The next key=value; a value in quotes has \" and \\ escaped. False at the end of the line. */
static bool next_pair(const char **cursor, char key[32], char value[256])
{
        const char *p = *cursor + strspn(*cursor, " \t");
        size_t len = strcspn(p, "= \n"), n = 0;
        bool quoted;

        if (p[len] != '=')
                return false;
        (void)snprintf(key, 32, "%.*s", (int)(len < 31 ? len : 31), p);
        p += len + 1;
        quoted = *p == '"';
        p += quoted;
        while (*p && *p != '\n' && (quoted ? *p != '"' : *p != ' ')) {
                if (quoted && *p == '\\' && p[1])
                        p++;
                if (n < 255)
                        value[n++] = *p;
                p++;
        }
        value[n] = '\0';
        *cursor = p + (*p == '"');
        return true;
}

static int take_number(const char *text, uint64_t *out)
{
        size_t len = strlen(text);

        if (len < 1 || len > 19 || strspn(text, "0123456789") != len)
                return -EBADMSG;
        *out = strtoull(text, NULL, 10);
        return 0;
}

#define FIELD(member)                                                                                        \
        {                                                                                                    \
#member, offsetof(struct ctl_span, member), sizeof(((struct ctl_span *)0)->member)           \
        }

static int take_pair(struct ctl_span *span, const char *key, const char *value)
{
        static const struct {
                const char *key;
                size_t offset, size;
        } fields[] = {FIELD(name), FIELD(service), FIELD(trace), FIELD(span),   FIELD(parent),
                      FIELD(pod),  FIELD(nic),     FIELD(port),  FIELD(outcome)};

        if (strcmp(key, "start_us") == 0)
                return take_number(value, &span->start_us);
        if (strcmp(key, "us") == 0)
                return take_number(value, &span->took_us);
        for (size_t i = 0; i < AK_ARRAY_SIZE(fields); i++)
                if (strcmp(fields[i].key, key) == 0)
                        (void)snprintf((char *)span + fields[i].offset, fields[i].size, "%s", value);
        return 0;
}

int ctl_span_parse(const char *line, struct ctl_span *out)
{
        const char *cursor = strstr(line, "ts=");
        struct ctl_span span = {0};
        char key[32], value[256];
        bool is_span = false;
        int r = 0;

        while (cursor && r == 0 && next_pair(&cursor, key, value)) {
                is_span = is_span || (strcmp(key, "event") == 0 && strcmp(value, "span") == 0);
                if (strcmp(key, "event") == 0 && !is_span)
                        return -ENOENT;
                r = take_pair(&span, key, value);
        }
        if (!is_span)
                return -ENOENT;
        if (r < 0 || !span.name[0] || strlen(span.trace) != 32 || !span.start_us)
                return -EBADMSG;
        *out = span;
        return 0;
}

int ctl_spans_add(struct ctl_spans *spans, const struct ctl_span *span)
{
        if (spans->count == CTL_SPANS_MAX)
                return -ENOSPC;
        if (spans->count == spans->capacity) {
                size_t capacity = spans->capacity ? 2 * spans->capacity : 64;
                struct ctl_span *items = reallocarray(spans->items, capacity, sizeof(*items));

                if (!items)
                        return -ENOMEM;
                spans->items = items;
                spans->capacity = capacity;
        }
        spans->items[spans->count++] = *span;
        return 0;
}

void ctl_spans_deinit(struct ctl_spans *spans)
{
        free(spans->items);
        *spans = (struct ctl_spans){0};
}

/* ------------------------------------------------------------------ one change of one NIC */

static uint64_t end_of(const struct ctl_span *s)
{
        return s->start_us + s->took_us;
}

/* The last span that names the NIC tells its port; ports, not names, are what the node's services know. */
static const struct ctl_span *last_of_nic(const struct ctl_spans *all, const char *pod, const char *nic,
                                          const char *trace)
{
        const struct ctl_span *last = NULL;

        for (size_t i = 0; i < all->count; i++) {
                const struct ctl_span *s = &all->items[i];

                if (strcmp(s->pod, pod) == 0 && strcmp(s->nic, nic) == 0 && s->port[0] &&
                    (!trace || strcmp(s->trace, trace) == 0) && (!last || s->start_us >= last->start_us))
                        last = s;
        }
        return last;
}

static bool is_status(const struct ctl_span *s)
{
        return strcmp(s->name, "status") == 0;
}

static int take_steps(const struct ctl_spans *all, const struct ctl_span *of, struct ctl_spans *out)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < all->count; i++) {
                const struct ctl_span *s = &all->items[i];
                bool ours = strcmp(s->port, of->port) == 0 || (!s->port[0] && strcmp(s->pod, of->pod) == 0);

                if (ours && !is_status(s) && strcmp(s->trace, of->trace) == 0)
                        r = ctl_spans_add(out, s);
        }
        return r;
}

/* When the NIC got where it was wanted, or as far as it came. */
static uint64_t outcome_us(const struct ctl_spans *steps)
{
        uint64_t last = 0;

        for (size_t i = 0; i < steps->count; i++)
                if (steps->items[i].port[0] && end_of(&steps->items[i]) > last)
                        last = end_of(&steps->items[i]);
        return last;
}

/* The first status that was written with the outcome known, else the last one. */
static int take_status(const struct ctl_spans *all, const struct ctl_span *of, struct ctl_spans *out)
{
        uint64_t known_us = outcome_us(out);
        const struct ctl_span *best = NULL;

        for (size_t i = 0; i < all->count; i++) {
                const struct ctl_span *s = &all->items[i];

                if (!is_status(s) || strcmp(s->pod, of->pod) != 0 || strcmp(s->trace, of->trace) != 0)
                        continue;
                if (!best || (best->start_us < known_us && s->start_us > best->start_us) ||
                    (s->start_us >= known_us && s->start_us < best->start_us))
                        best = s;
        }
        return best ? ctl_spans_add(out, best) : 0;
}

static bool is_write(const struct ctl_span *s)
{
        return strcmp(s->service, "apiserver") == 0;
}

/* From the end of the write to the watcher's first wish. */
static int add_watch(struct ctl_spans *out)
{
        const struct ctl_span *write = NULL, *diff = NULL;
        struct ctl_span watch = {.name = "watch", .outcome = "ok"};

        for (size_t i = 0; i < out->count; i++) {
                const struct ctl_span *s = &out->items[i];

                if (is_write(s) && (!write || s->start_us < write->start_us))
                        write = s;
                if (strcmp(s->name, "diff") == 0 && (!diff || s->start_us < diff->start_us))
                        diff = s;
        }
        if (!write || !diff)
                return 0;
        (void)snprintf(watch.trace, sizeof(watch.trace), "%s", write->trace);
        (void)snprintf(watch.pod, sizeof(watch.pod), "%s", write->pod);
        (void)snprintf(watch.parent, sizeof(watch.parent), "%s", write->span);
        watch.start_us = end_of(write) < diff->start_us ? end_of(write) : diff->start_us;
        watch.took_us = diff->start_us - watch.start_us;
        return ctl_spans_add(out, &watch);
}

static int by_start(const void *a, const void *b)
{
        const struct ctl_span *x = a, *y = b;

        if (x->start_us != y->start_us)
                return x->start_us < y->start_us ? -1 : 1;
        return x->took_us < y->took_us ? -1 : x->took_us > y->took_us;
}

int ctl_spans_of_nic(const struct ctl_spans *all, const char *pod, const char *nic, const char *trace,
                     struct ctl_spans *out)
{
        const struct ctl_span *of = last_of_nic(all, pod, nic, trace);
        struct ctl_spans spans = {0};
        int r = of ? take_steps(all, of, &spans) : -ENOENT;

        if (r == 0)
                r = take_status(all, of, &spans);
        if (r == 0)
                r = add_watch(&spans);
        if (r < 0) {
                ctl_spans_deinit(&spans);
                return r;
        }
        if (spans.count > 0)
                qsort(spans.items, spans.count, sizeof(spans.items[0]), by_start);
        *out = spans;
        return 0;
}

/* ------------------------------------------------------------------ the drawing */

static void draw_bar(const struct ctl_span *s, uint64_t from_us, uint64_t total_us, unsigned columns,
                     FILE *out)
{
        uint64_t left = (s->start_us - from_us) * columns / total_us;
        uint64_t right = (end_of(s) - from_us) * columns / total_us;

        if (left >= columns)
                left = columns - 1;
        if (right <= left)
                right = left + 1; /* what is too short to be seen is seen nevertheless */
        for (uint64_t i = 0; i < right; i++)
                (void)fputc(i < left ? ' ' : '#', out);
}

void ctl_spans_draw(const struct ctl_spans *spans, unsigned width, FILE *out)
{
        unsigned columns = width > TEXT_COLUMNS + MIN_BAR ? width - TEXT_COLUMNS : MIN_BAR;
        uint64_t from_us = spans->count ? spans->items[0].start_us : 0, to_us = from_us + 1;

        for (size_t i = 0; i < spans->count; i++)
                if (end_of(&spans->items[i]) > to_us)
                        to_us = end_of(&spans->items[i]);
        (void)fprintf(out, "%-8s %-11s %10s %10s\n", "STEP", "SERVICE", "START", "TOOK");
        for (size_t i = 0; i < spans->count; i++) {
                const struct ctl_span *s = &spans->items[i];

                (void)fprintf(out, "%-8s %-11s %7.1f ms %7.1f ms  ", s->name,
                              s->service[0] ? s->service : "-", (double)(s->start_us - from_us) / 1000,
                              (double)s->took_us / 1000);
                draw_bar(s, from_us, to_us - from_us, columns, out);
                if (strcmp(s->outcome, "ok") != 0)
                        (void)fprintf(out, " %s", s->outcome);
                (void)fputc('\n', out);
        }
        (void)fprintf(out, "%-8s %-11s %10s %7.1f ms\n", "total", "", "", (double)(to_us - from_us) / 1000);
}

int ctl_spans_dump(const struct ctl_spans *spans, FILE *out)
{
        for (size_t i = 0; i < spans->count; i++) {
                const struct ctl_span *s = &spans->items[i];
                json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "name",
                                         s->name, "service", s->service, "trace", s->trace, "span", s->span,
                                         "parent", s->parent, "pod", s->pod, "nic", s->nic, "port", s->port,
                                         "startUs", (json_int_t)s->start_us, "tookUs", (json_int_t)s->took_us,
                                         "outcome", s->outcome);

                if (!json || json_dumpf(json, out, JSON_COMPACT) < 0) {
                        json_decref(json);
                        return -ENOMEM;
                }
                json_decref(json);
                (void)fputc('\n', out);
        }
        return 0;
}
