/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/view.h"

#include <errno.h>
#include <string.h>

#include "libcommon/clock.h"
#include "proto/proto.h"

/* Names remembered at most; past it a view of a hostile bus starts over. */
#define MAX_NAMES 65536

struct ctl_view {
        struct ctl_filter filter; /* borrows from the caller */
        bool json;
        zhash_t *names; /* pod UID -> "namespace/name" */
};

static zhash_t *new_names(void)
{
        zhash_t *names = zhash_new();

        zhash_autofree(names);
        return names;
}

int ctl_view_new(struct ctl_view **out, const struct ctl_filter *filter, bool json)
{
        struct ctl_view *v = calloc(1, sizeof(*v));

        if (!v)
                return -ENOMEM;
        v->filter = *filter;
        v->json = json;
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

bool ctl_view_takes(struct ctl_view *v, const struct ak_bus_frame *frame)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        json_t *message = decode(frame, error);

        learn(v, message);
        bool takes = takes_type(&v->filter, frame->topic) && !(v->filter.live_only && frame->replayed) &&
                     takes_message(v, message);
        json_decref(message);
        return takes;
}

/* ------------------------------------------------------------------ one line */

json_t *ctl_view_json(const struct ak_bus_frame *frame, uint64_t received_us)
{
        char time[AK_RFC3339_SIZE], error[AK_SCHEMA_ERROR_SIZE];
        json_t *message = decode(frame, error);
        json_t *out = json_pack(
            "{s:s, s:s, s:s, s:o, s:I, s:I, s:b, s:s*}", "time", "", "publisher", frame->publisher, "topic",
            frame->topic, "epoch", json_sprintf("%016llx", (unsigned long long)frame->epoch), "seq",
            (json_int_t)frame->seq, "sent_us", (json_int_t)frame->sent_us, "replayed", frame->replayed,
            "trace", frame->trace && *frame->trace ? frame->trace : NULL);

        ak_rfc3339_format(received_us, true, time);
        json_object_set_new(out, "time", json_string(time));
        if (message)
                json_object_set_new(out, "message", message);
        else
                json_object_set_new(out, "error", json_string(error));
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

static void print_fields(json_t *message, FILE *out)
{
        const char *key, *separator = "";
        json_t *value;

        json_object_foreach(message, key, value)
        {
                if (in_columns(key))
                        continue;
                (void)fprintf(out, "%s%s=", separator, key);
                print_value(value, out);
                separator = " ";
        }
}

static void show_text(struct ctl_view *v, const struct ak_bus_frame *frame, uint64_t received_us, FILE *out)
{
        char time[AK_RFC3339_SIZE], error[AK_SCHEMA_ERROR_SIZE];
        json_t *message = decode(frame, error);
        json_t *topic = json_string(frame->topic);

        ak_rfc3339_format(received_us, true, time);
        (void)fprintf(out, "%s %c ", time, frame->replayed ? '=' : '*');
        if (message) {
                print_column(text_of(message, "type"), 11, out);
                print_column(pod_of(v, message), 20, out);
                print_column(text_of(message, "nic"), 6, out);
                print_column(state_of(message), 10, out);
                print_fields(message, out);
        } else {
                print_value(topic, out);
                (void)fprintf(out, " from=%s bytes=%zu error=\"%s\"", frame->publisher, frame->body_len,
                              error);
        }
        (void)fputc('\n', out);
        json_decref(topic);
        json_decref(message);
}

void ctl_view_show(struct ctl_view *v, const struct ak_bus_frame *frame, uint64_t received_us, FILE *out)
{
        if (v->json) {
                json_t *line = ctl_view_json(frame, received_us);
                (void)json_dumpf(line, out, JSON_COMPACT);
                (void)fputc('\n', out);
                json_decref(line);
        } else {
                show_text(v, frame, received_us, out);
        }
        (void)fflush(out);
}
