/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/openapi.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/openapi_internal.h"

static json_t *info(void)
{
        return oa_check(json_pack("{s:s, s:s, s:s}", "title", "Alkaid", "version", ALKAID_VERSION,
                                  "description", "Virtual machines as pods, with NICs that can be plugged."));
}

static bool in_group_version(const struct api_kind *kind, const char *group, const char *version)
{
        return strcmp(kind->group, group) == 0 && strcmp(kind->version, version) == 0;
}

json_t *api_openapi_v2(void)
{
        struct oa_doc doc = {.flavour = OA_V2, .definitions = oa_check(json_object())};
        json_t *paths = oa_check(json_object());

        for (size_t i = 0; i < api_kind_count; i++)
                oa_paths_of_kind(&doc, paths, api_kinds[i]);
        return oa_check(json_pack("{s:s, s:o, s:o, s:o}", "swagger", "2.0", "info", info(), "paths", paths,
                                  "definitions", doc.definitions));
}

json_t *api_openapi_v3(const char *group, const char *version)
{
        struct oa_doc doc = {.flavour = OA_V3, .definitions = oa_check(json_object())};
        json_t *paths = oa_check(json_object());

        for (size_t i = 0; i < api_kind_count; i++)
                if (in_group_version(api_kinds[i], group, version))
                        oa_paths_of_kind(&doc, paths, api_kinds[i]);
        bool found = json_object_size(paths) > 0;
        json_t *out = oa_check(json_pack("{s:s, s:o, s:o, s:{s:o}}", "openapi", "3.0.0", "info", info(),
                                         "paths", paths, "components", "schemas", doc.definitions));
        if (found)
                return out;
        json_decref(out);
        return NULL;
}

/* A client keeps a document for as long as its URL has the same hash. */
static json_t *document_url(const char *path, const char *group, const char *version)
{
        json_t *document = oa_check(api_openapi_v3(group, version));
        AK_AUTOFREE char *text = json_dumps(document, JSON_COMPACT);
        unsigned char digest[32];
        char hex[2 * sizeof(digest) + 1];

        json_decref(document);
        if (!text || gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), digest) < 0)
                abort();
        for (size_t i = 0; i < sizeof(digest); i++)
                (void)snprintf(hex + 2 * i, 3, "%02X", digest[i]);
        return oa_format("/openapi/v3/%s?hash=%s", path, hex);
}

json_t *api_openapi_v3_index(void)
{
        json_t *paths = oa_check(json_object());

        for (size_t i = 0; i < api_kind_count; i++) {
                const struct api_kind *kind = api_kinds[i];
                json_t *path = oa_gv_path(kind->group, kind->version);
                const char *key = json_string_value(path);
                if (!json_object_get(paths, key))
                        oa_set(paths, key,
                               oa_check(json_pack("{s:o}", "serverRelativeURL",
                                                  document_url(key, kind->group, kind->version))));
                json_decref(path);
        }
        return oa_check(json_pack("{s:o}", "paths", paths));
}
