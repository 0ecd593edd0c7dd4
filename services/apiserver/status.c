/* SPDX-License-Identifier: Apache-2.0 */
/* Failures as Kubernetes words them: meta.k8s.io/v1 Status with reason, details and causes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/utf8.h"
#include "services/apiserver/core_internal.h"

/* Texts are put together from what clients send, and cut to fit: what is no UTF-8 then becomes "?". */
static json_t *message_text(const char *text)
{
        size_t len = strlen(text), size = 0;
        AK_AUTOFREE char *good = strdup(text);

        for (size_t i = 0; good && i < len; i += size) {
                size = ak_utf8_decode(good + i, len - i, &(uint32_t){0});
                if (size > 0)
                        continue;
                good[i] = '?';
                size = 1;
        }
        return good ? json_string(good) : NULL;
}

static json_t *status_details(const struct api_kind *kind, const char *name)
{
        json_t *details = json_object();

        if (name && *name)
                (void)json_object_set_new(details, "name", json_string(name));
        if (kind && *kind->group)
                (void)json_object_set_new(details, "group", json_string(kind->group));
        if (kind)
                (void)json_object_set_new(details, "kind", json_string(kind->plural));
        return details;
}

json_t *api_status_failure(int code, const char *reason, const struct api_kind *kind, const char *name,
                           const char *field, const char *message)
{
        json_t *details = status_details(kind, name);

        if (field)
                (void)json_object_set_new(details, "causes",
                                          json_pack("[{s:s, s:o, s:s}]", "reason", API_INVALID, "message",
                                                    message_text(message), "field", field));
        if (json_object_size(details) == 0) {
                json_decref(details);
                details = NULL;
        }
        return json_pack("{s:s, s:s, s:{}, s:s, s:o, s:s, s:o*, s:i}", "kind", "Status", "apiVersion", "v1",
                         "metadata", "status", "Failure", "message", message_text(message), "reason", reason,
                         "details", details, "code", code);
}

void api_fail(struct api_result *out, int code, const char *reason, const struct api_kind *kind,
              const char *name, const char *message)
{
        json_decref(out->object);
        out->code = code;
        out->object = api_status_failure(code, reason, kind, name, NULL, message);
}

void api_fail_fmt(struct api_result *out, int code, const char *reason, const struct api_kind *kind,
                  const char *name, const char *format, ...)
{
        char message[1024];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(message, sizeof(message), format, args);
        va_end(args);
        api_fail(out, code, reason, kind, name, message);
}

void api_warn(struct api_result *out, const char *text)
{
        char **warnings = realloc(out->warnings, (out->warning_count + 1) * sizeof(*warnings));
        char *copy = strdup(text);

        if (!warnings || !copy) {
                free(copy);
                if (warnings)
                        out->warnings = warnings;
                return;
        }
        out->warnings = warnings;
        warnings[out->warning_count++] = copy;
}

/* ---- causes ---- */

void api_causes_deinit(struct api_causes *c)
{
        json_decref(c->list);
        c->list = NULL;
}

bool api_causes_any(const struct api_causes *c)
{
        return json_array_size(c->list) > 0;
}

static const char *words_of(const char *reason)
{
        static const char *const words[][2] = {
            {API_REQUIRED, "Required value"},
            {API_INVALID, "Invalid value"},
            {API_DUPLICATE, "Duplicate value"},
            {API_FORBIDDEN, "Forbidden"},
            {API_NOT_SUPPORTED, "Unsupported value"},
            {API_NOT_FOUND, "Not found"},
            {API_TOO_MANY, "Too many"},
            {API_WRONG_TYPE, "Invalid value"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(words); i++)
                if (strcmp(words[i][0], reason) == 0)
                        return words[i][1];
        return "Invalid value";
}

static void value_text(const json_t *value, char out[160])
{
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

        (void)snprintf(out, 160, text && strlen(text) > 120 ? "%.120s…" : "%s", text ? text : "");
        free(text);
}

void api_cause(struct api_causes *c, const char *reason, const char *field, const json_t *value,
               const char *detail)
{
        char shown[160] = "", message[1024];
        bool show_value = value && strcmp(reason, API_REQUIRED) != 0 && strcmp(reason, API_FORBIDDEN) != 0;

        if (!c->list)
                c->list = json_array();
        if (json_array_size(c->list) >= 64) /* enough to act upon; a body can hold thousands */
                return;
        if (show_value)
                value_text(value, shown);
        (void)snprintf(message, sizeof(message), "%s%s%s%s%s", words_of(reason), show_value ? ": " : "",
                       shown, detail && *detail ? ": " : "", detail ? detail : "");
        (void)json_array_append_new(c->list, json_pack("{s:s, s:o, s:o}", "reason", reason, "message",
                                                       message_text(message), "field", message_text(field)));
}

json_t *api_status_invalid(const struct api_kind *kind, const char *name, const struct api_causes *c)
{
        char message[4096];
        size_t used, i, count = json_array_size(c->list);
        json_t *cause, *status, *details;

        used = (size_t)snprintf(message, sizeof(message), "%s%s%s \"%s\" is invalid: %s", kind->kind,
                                *kind->group ? "." : "", kind->group, name, count > 1 ? "[" : "");
        json_array_foreach(c->list, i, cause)
        {
                if (used < sizeof(message))
                        used += (size_t)snprintf(message + used, sizeof(message) - used, "%s%s: %s",
                                                 i ? ", " : "",
                                                 json_string_value(json_object_get(cause, "field")),
                                                 json_string_value(json_object_get(cause, "message")));
        }
        if (count > 1 && used < sizeof(message))
                (void)snprintf(message + used, sizeof(message) - used, "]");
        status = api_status_failure(422, "Invalid", kind, name, NULL, message);
        details = json_object_get(status, "details");
        (void)json_object_set(details, "causes", c->list);
        (void)json_object_set_new(details, "kind", json_string(kind->kind));
        return status;
}

void api_result_deinit(struct api_result *r)
{
        json_decref(r->object);
        for (size_t i = 0; i < r->warning_count; i++)
                free(r->warnings[i]);
        free(r->warnings);
        for (size_t i = 0; i < r->change_count; i++) {
                json_decref(r->changes[i].object);
                json_decref(r->changes[i].old);
                (void)api_image_unref(r->changes[i].image);
                (void)api_image_unref(r->changes[i].old_image);
        }
        free(r->changes);
        (void)api_image_unref(r->image);
        for (size_t i = 0; i < r->image_count; i++)
                (void)api_image_unref(r->images[i]);
        free(r->images);
        *r = (struct api_result){0};
}
