/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "services/apiserver/schema_internal.h"

static const struct api_kind *find(const char *group, const char *version, const char *plural,
                                   const char *kind)
{
        for (size_t i = 0; i < api_kind_count; i++) {
                const struct api_kind *k = api_kinds[i];
                if (strcmp(k->group, group) == 0 && strcmp(k->version, version) == 0 &&
                    (!plural || strcmp(k->plural, plural) == 0) && (!kind || strcmp(k->kind, kind) == 0))
                        return k;
        }
        return NULL;
}

const struct api_kind *api_kind_by_plural(const char *group, const char *version, const char *plural)
{
        return find(group, version, plural, NULL);
}

const struct api_kind *api_kind_by_name(const char *group, const char *version, const char *kind)
{
        return find(group, version, NULL, kind);
}
