/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/kube/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int lines_append(struct ak_kube_lines *l, const char *data, size_t len)
{
        size_t max = l->max ? l->max : AK_KUBE_LINE_MAX;
        if (len > max || l->len > max - len)
                return -EMSGSIZE;
        if (l->len + len > l->capacity) {
                size_t capacity = l->capacity ? l->capacity : 4096;
                while (capacity < l->len + len)
                        capacity *= 2;
                char *data_new = realloc(l->data, capacity);
                if (!data_new)
                        return -ENOMEM;
                l->data = data_new;
                l->capacity = capacity;
        }
        memcpy(l->data + l->len, data, len);
        l->len += len;
        return 0;
}

static int lines_deliver(struct ak_kube_lines *l, const char *line, size_t len, ak_kube_line_fn fn, void *arg)
{
        size_t max = l->max ? l->max : AK_KUBE_LINE_MAX;
        if (len > max)
                return -EMSGSIZE;
        if (len > 0 && line[len - 1] == '\r')
                len--;
        return len > 0 ? fn(arg, line, len) : 0;
}

int ak_kube_lines_feed(struct ak_kube_lines *lines, const char *data, size_t len, ak_kube_line_fn fn,
                       void *arg)
{
        while (len > 0) {
                const char *end = memchr(data, '\n', len);
                size_t part = end ? (size_t)(end - data) : len;
                int rc;
                if (!end || lines->len > 0) {
                        rc = lines_append(lines, data, part);
                        if (rc == 0 && end)
                                rc = lines_deliver(lines, lines->data, lines->len, fn, arg);
                        if (end)
                                lines->len = 0;
                } else {
                        rc = lines_deliver(lines, data, part, fn, arg);
                }
                if (rc != 0)
                        return rc;
                if (!end)
                        return 0;
                data += part + 1;
                len -= part + 1;
        }
        return 0;
}

void ak_kube_lines_deinit(struct ak_kube_lines *lines)
{
        free(lines->data);
        *lines = (struct ak_kube_lines){0};
}

const char *ak_kube_meta(const json_t *object, const char *key)
{
        const char *value = json_string_value(json_object_get(json_object_get(object, "metadata"), key));
        return value ? value : "";
}

uint64_t ak_kube_resource_version(const json_t *object)
{
        const char *text = ak_kube_meta(object, "resourceVersion");
        char *end;
        if (text[0] < '0' || text[0] > '9')
                return 0;
        errno = 0;
        uint64_t value = strtoumax(text, &end, 10);
        return errno == 0 && *end == '\0' ? value : 0;
}

static const char *const type_names[] = {
    [AK_KUBE_ADDED] = "ADDED",       [AK_KUBE_MODIFIED] = "MODIFIED", [AK_KUBE_DELETED] = "DELETED",
    [AK_KUBE_BOOKMARK] = "BOOKMARK", [AK_KUBE_ERROR] = "ERROR",
};

static int type_parse(const char *name, enum ak_kube_event_type *out)
{
        for (size_t i = 0; name && i < AK_ARRAY_SIZE(type_names); i++) {
                if (strcmp(name, type_names[i]) == 0) {
                        *out = (enum ak_kube_event_type)i;
                        return 0;
                }
        }
        return -EBADMSG;
}

static const char *object_defect(enum ak_kube_event_type type, const json_t *object)
{
        if (!json_is_object(object))
                return "no object";
        if (type == AK_KUBE_ERROR)
                return NULL;
        if (ak_kube_meta(object, "resourceVersion")[0] == '\0')
                return "no metadata.resourceVersion";
        if (type != AK_KUBE_BOOKMARK &&
            (ak_kube_meta(object, "name")[0] == '\0' || ak_kube_meta(object, "uid")[0] == '\0'))
                return "no metadata.name or metadata.uid";
        return NULL;
}

int ak_kube_event_decode(const char *line, size_t len, struct ak_kube_event *out,
                         char error[AK_KUBE_ERROR_SIZE])
{
        json_error_t parse_error;
        AK_CLEANUP(json_decrefp) json_t *root = json_loadb(line, len, 0, &parse_error);
        if (!root) {
                (void)snprintf(error, AK_KUBE_ERROR_SIZE, "watch event: %s", parse_error.text);
                return -EBADMSG;
        }
        enum ak_kube_event_type type;
        if (type_parse(json_string_value(json_object_get(root, "type")), &type) < 0) {
                (void)snprintf(error, AK_KUBE_ERROR_SIZE, "watch event: unknown type");
                return -EBADMSG;
        }
        json_t *object = json_object_get(root, "object");
        const char *defect = object_defect(type, object);
        if (defect) {
                (void)snprintf(error, AK_KUBE_ERROR_SIZE, "watch event %s: %s", type_names[type], defect);
                return -EBADMSG;
        }
        int code = 0;
        json_int_t status_code = json_integer_value(json_object_get(object, "code"));
        if (type == AK_KUBE_ERROR && status_code > 0 && status_code < 1000)
                code = (int)status_code;
        *out = (struct ak_kube_event){.type = type, .object = json_incref(object), .code = code};
        return 0;
}

void ak_kube_event_deinit(struct ak_kube_event *event)
{
        json_decref(event->object);
        *event = (struct ak_kube_event){0};
}
