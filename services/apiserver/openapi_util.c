/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "services/apiserver/openapi_internal.h"

json_t *oa_check(json_t *value)
{
        if (!value)
                abort();
        return value;
}

void oa_set(json_t *object, const char *key, json_t *value)
{
        if (json_object_set_new(object, key, value) < 0)
                abort();
}

void oa_push(json_t *array, json_t *value)
{
        if (json_array_append_new(array, value) < 0)
                abort();
}

json_t *oa_strings(const char *const *strings)
{
        json_t *array = oa_check(json_array());

        for (; strings && *strings; strings++)
                oa_push(array, json_string(*strings));
        return array;
}

json_t *oa_format(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        json_t *text = json_vsprintf(format, args);
        va_end(args);
        return oa_check(text);
}

json_t *oa_gvk(const char *group, const char *version, const char *kind)
{
        return oa_check(json_pack("{s:s, s:s, s:s}", "group", group, "version", version, "kind", kind));
}

json_t *oa_gv_path(const char *group, const char *version)
{
        return *group ? oa_format("apis/%s/%s", group, version) : oa_format("api/%s", version);
}
