/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/view.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "proto/proto.h"
#include "tools/alkaidctl/generic.h"

/* Names remembered at most; past it a view of a hostile bus starts over. */
#define MAX_NAMES 65536

struct ctl_view {
        struct ctl_filter filter; /* borrows from the caller */
        struct ctl_view_options options;
        zhash_t *names; /* pod UID -> "namespace/name" */
};

static zhash_t *new_names(void)
{
        zhash_t *names = zhash_new();

        zhash_autofree(names);
        return names;
}

int ctl_view_new(struct ctl_view **out, const struct ctl_filter *filter,
                 const struct ctl_view_options *options)
{
        struct ctl_view *v = calloc(1, sizeof(*v));

        if (!v)
                return -ENOMEM;
        v->filter = *filter;
        v->options = *options;
        v->names = new_names();
        *out = v;
        return 0;
}

struct ctl_view *ctl_view_free(struct ctl_view *v)
{
        if (!v)
                return NULL;
        zhash_destroy(&v->names);
        free(v);
        return NULL;
}

/* ------------------------------------------------------------------ what a message is about */

static const char *text_of(const json_t *message, const char *key)
{
        const char *text = json_string_value(json_object_get(message, key));

        return text ? text : "";
}

static json_t *decode(const struct ak_bus_frame *frame, char error[AK_SCHEMA_ERROR_SIZE])
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;

        (void)snprintf(error, AK_SCHEMA_ERROR_SIZE, "unknown message type");
        if (ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error) < 0)
                return NULL;
        return ak_message_to_json(m);
}

static void learn(struct ctl_view *v, const json_t *message)
{
        const char *uid = text_of(message, "pod_uid"), *name = text_of(message, "pod_name");
        char full[2 * AK_LEN_NAME + 2];

        if (!*uid || !*name)
                return;
        if (zhash_size(v->names) >= MAX_NAMES) {
                zhash_destroy(&v->names);
                v->names = new_names();
        }
        (void)snprintf(full, sizeof(full), "%s/%s", text_of(message, "pod_namespace"), name);
        zhash_update(v->names, uid, full);
}

static const char *pod_of(struct ctl_view *v, const json_t *message)
{
        const char *uid = text_of(message, "pod_uid");
        const char *name = *uid ? zhash_lookup(v->names, uid) : NULL;

        return name ? name : uid;
}

/* ------------------------------------------------------------------ filter */

static bool takes_type(const struct ctl_filter *f, const char *topic)
{
        if (f->types.count == 0)
                return true;
        for (size_t i = 0; i < f->types.count; i++) {
                size_t len = strlen(f->types.items[i]);
                if (strncmp(topic, f->types.items[i], len) == 0 && (topic[len] == '/' || topic[len] == '\0'))
                        return true;
        }
        return false;
}

static bool takes_pod(struct ctl_view *v, const json_t *message)
{
        const char *want = v->filter.pod;

        if (!want || strcmp(want, text_of(message, "pod_uid")) == 0)
                return true;
        const char *full = pod_of(v, message);
        const char *slash = strchr(full, '/');
        return strcmp(want, full) == 0 || (slash && strcmp(want, slash + 1) == 0);
}

static bool takes_message(struct ctl_view *v, const json_t *message)
{
        if (v->filter.nic && strcmp(v->filter.nic, text_of(message, "nic")) != 0)
                return false;
        return takes_pod(v, message);
}

static bool takes_heard(const struct ctl_filter *f, const struct ctl_heard *heard)
{
        if (f->node && strcmp(f->node, heard->node) != 0)
                return false;
        return heard->received_us >= f->since_us && (f->until_us == 0 || heard->received_us < f->until_us);
}

bool ctl_view_takes(struct ctl_view *v, const struct ak_bus_frame *frame, const struct ctl_heard *heard)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        json_t *message = decode(frame, error);

        learn(v, message);
        bool takes = takes_type(&v->filter, frame->topic) && !(v->filter.live_only && frame->replayed) &&
                     takes_heard(&v->filter, heard) && takes_message(v, message);
        json_decref(message);
        return takes;
}

/* ------------------------------------------------------------------ one line */

json_t *ctl_view_json(const struct ak_bus_frame *frame, const struct ctl_heard *heard)
{
        char time[AK_RFC3339_SIZE], error[AK_SCHEMA_ERROR_SIZE];
        json_t *message = decode(frame, error);
        json_t *out =
            json_pack("{s:s, s:s*, s:s, s:s, s:o, s:I, s:I, s:b, s:s*}", "time", "", "node",
                      *heard->node ? heard->node : NULL, "publisher", frame->publisher, "topic", frame->topic,
                      "epoch", json_sprintf("%016llx", (unsigned long long)frame->epoch), "seq",
                      (json_int_t)frame->seq, "sent_us", (json_int_t)frame->sent_us, "replayed",
                      frame->replayed, "trace", frame->trace && *frame->trace ? frame->trace : NULL);

        ak_rfc3339_format(heard->received_us, true, time);
        json_object_set_new(out, "time", json_string(time));
        json_t *body = message ? NULL : ctl_generic_json(frame->body, frame->body_len);
        if (message)
                json_object_set_new(out, "message", message);
        else
                json_object_set_new(out, "error", json_string(error));
        if (body)
                json_object_set_new(out, "body", body);
        return out;
}

static bool in_columns(const char *key)
{
        static const char *const keys[] = {"type", "pod_uid", "pod_namespace", "pod_name",
                                           "nic",  "state",   "wanted",        "phase"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(keys); i++)
                if (strcmp(key, keys[i]) == 0)
                        return true;
        return false;
}

/* JSON escapes what would move a cursor; a text of plain characters needs no quotes. */
static void print_value(const json_t *value, FILE *out)
{
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:+,@";
        const char *text = json_string_value(value);

        if (text && *text && text[strspn(text, plain)] == '\0')
                (void)fputs(text, out);
        else
                (void)json_dumpf(value, out, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
}

/* A key may be anybody's. */
static void print_key(const char *key, FILE *out)
{
        json_t *text = json_string(key);

        print_value(text, out);
        json_decref(text);
}

static void print_column(const char *text, int width, FILE *out)
{
        int n = 0;

        for (const char *c = *text ? text : "-"; *c; c++, n++)
                (void)fputc(*c > ' ' && *c < 0x7f ? *c : '?', out);
        (void)fprintf(out, "%*s", n < width ? width - n + 1 : 1, "");
}

static const char *state_of(const json_t *message)
{
        static const char *const keys[] = {"state", "wanted", "phase"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(keys); i++)
                if (*text_of(message, keys[i]))
                        return text_of(message, keys[i]);
        return "";
}

static void print_fields(json_t *message, bool all, FILE *out)
{
        const char *key, *separator = "";
        json_t *value;

        json_object_foreach(message, key, value)
        {
                if (!all && in_columns(key))
                        continue;
                (void)fputs(separator, out);
                print_key(key, out);
                (void)fputc('=', out);
                print_value(value, out);
                separator = " ";
        }
}

/* ------------------------------------------------------------------ colours */

#define PLAIN "\033[0m"

bool ctl_view_wants_color(const char *when, FILE *out)
{
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

        if (strcmp(when, "auto") != 0)
                return strcmp(when, "always") == 0;
        return isatty(fileno(out)) == 1 && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

/* What has gone well, what has not, and what is under way. */
static const char *color_of_state(const char *state)
{
        static const struct {
                const char *state, *color;
        } colors[] = {
            {"ready", "\033[32m"}, {"running", "\033[32m"}, {"failed", "\033[31m"},  {"crashed", "\033[31m"},
            {"absent", "\033[2m"}, {"detached", "\033[2m"}, {"released", "\033[2m"}, {"shutoff", "\033[2m"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(colors); i++)
                if (strcmp(state, colors[i].state) == 0)
                        return colors[i].color;
        return "\033[33m";
}

static void paint(const struct ctl_view *v, const char *color, FILE *out)
{
        if (v->options.color)
                (void)fputs(color, out);
}

static void print_painted(const struct ctl_view *v, const char *color, const char *text, int width, FILE *out)
{
        paint(v, color, out);
        print_column(text, width, out);
        paint(v, PLAIN, out);
}

static void show_message(struct ctl_view *v, json_t *message, FILE *out)
{
        print_painted(v, "\033[36m", text_of(message, "type"), 11, out);
        print_column(pod_of(v, message), 20, out);
        print_painted(v, "\033[1m", text_of(message, "nic"), 6, out);
        print_painted(v, color_of_state(state_of(message)), state_of(message), 10, out);
        print_fields(message, false, out);
}

/* Of a later version, or of a service that is not ours: what it is, and what is in it as far as it can be
 * read. */
static void show_unknown(const struct ctl_view *v, const struct ak_bus_frame *frame, const char *error,
                         FILE *out)
{
        json_t *topic = json_string(frame->topic);
        json_t *body = ctl_generic_json(frame->body, frame->body_len);

        print_value(topic, out);
        (void)fprintf(out, " from=%s ", frame->publisher);
        if (json_is_object(body)) {
                print_fields(body, true, out);
        } else {
                paint(v, "\033[31m", out);
                (void)fprintf(out, "bytes=%zu error=\"%s\"", frame->body_len, error);
                paint(v, PLAIN, out);
        }
        json_decref(body);
        json_decref(topic);
}

static void show_text(struct ctl_view *v, const struct ak_bus_frame *frame, const struct ctl_heard *heard,
                      FILE *out)
{
        char time[AK_RFC3339_SIZE], error[AK_SCHEMA_ERROR_SIZE];
        json_t *message = decode(frame, error);

        ak_rfc3339_format(heard->received_us, true, time);
        paint(v, "\033[2m", out);
        (void)fprintf(out, "%s %c ", time, frame->replayed ? '=' : '*');
        paint(v, PLAIN, out);
        if (v->options.nodes)
                print_painted(v, "\033[35m", heard->node, 12, out);
        if (message)
                show_message(v, message, out);
        else
                show_unknown(v, frame, error, out);
        (void)fputc('\n', out);
        json_decref(message);
}

void ctl_view_show(struct ctl_view *v, const struct ak_bus_frame *frame, const struct ctl_heard *heard,
                   FILE *out)
{
        if (v->options.json) {
                json_t *line = ctl_view_json(frame, heard);
                (void)json_dumpf(line, out, JSON_COMPACT);
                (void)fputc('\n', out);
                json_decref(line);
        } else {
                show_text(v, frame, heard, out);
        }
        (void)fflush(out);
}
