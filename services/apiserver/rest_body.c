/* SPDX-License-Identifier: Apache-2.0 */
/* Content negotiation and JSON bodies. Pure. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/apiserver/rest.h"

/* ---- Accept ---- */

#define MAX_CLAUSE 256

struct clause {
        char text[MAX_CLAUSE]; /* cut up */
        const char *type;
        const char *as, *group, *version;
        unsigned int q; /* thousandths */
};

static const struct {
        const char *type, *as, *group, *version;
        enum rest_form form;
} form_table[] = {
    {"application/json", NULL, NULL, NULL, REST_FORM_JSON},
    {"application/json", "Table", "meta.k8s.io", "v1", REST_FORM_TABLE},
    {"application/json", "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2", REST_FORM_DISCOVERY_V2},
    {"application/json", "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1",
     REST_FORM_DISCOVERY_V2BETA1},
    {"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", NULL, NULL, NULL,
     REST_FORM_OPENAPI_PROTOBUF},
    {"text/plain", NULL, NULL, NULL, REST_FORM_TEXT},
};

static const char *const content_types[] = {
    [REST_FORM_JSON] = "application/json",
    [REST_FORM_TABLE] = "application/json",
    [REST_FORM_DISCOVERY_V2] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    [REST_FORM_DISCOVERY_V2BETA1] =
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    [REST_FORM_OPENAPI_PROTOBUF] = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    [REST_FORM_TEXT] = "text/plain; charset=utf-8",
};

const char *rest_form_content_type(enum rest_form form)
{
        return content_types[form];
}

static char *strip(char *s)
{
        size_t n;

        s += strspn(s, " \t");
        for (n = strlen(s); n > 0 && strchr(" \t", s[n - 1]); n--)
                s[n - 1] = '\0';
        return s;
}

/* "0.8" -> 800; what is no such number counts as 1, the default. */
static unsigned int read_q(const char *text)
{
        unsigned int value = 0, scale = 100;

        if (text[0] != '0')
                return 1000;
        if (text[1] != '.')
                return 0;
        for (const char *p = text + 2; *p >= '0' && *p <= '9' && scale > 0; p++, scale /= 10)
                value += (unsigned int)(*p - '0') * scale;
        return value;
}

static void read_clause(struct clause *c)
{
        char *save = NULL;
        char *part = strtok_r(c->text, ";", &save);

        c->q = 1000;
        c->type = part ? strip(part) : "";
        while ((part = strtok_r(NULL, ";", &save))) {
                char *value = strchr(part, '=');

                if (!value)
                        continue;
                *value++ = '\0';
                part = strip(part);
                value = strip(value);
                if (strcmp(part, "as") == 0)
                        c->as = value;
                else if (strcmp(part, "g") == 0)
                        c->group = value;
                else if (strcmp(part, "v") == 0)
                        c->version = value;
                else if (strcmp(part, "q") == 0)
                        c->q = read_q(value);
        }
}

static bool same(const char *a, const char *b)
{
        return a && b ? strcasecmp(a, b) == 0 : a == b;
}

static bool form_matches(size_t i, const struct clause *c)
{
        return strcasecmp(form_table[i].type, c->type) == 0 && same(form_table[i].as, c->as) &&
               same(form_table[i].group, c->group) && same(form_table[i].version, c->version);
}

/* The first offered form wins for a wildcard: forms are numbered in order of preference. */
static int match_clause(const struct clause *c, unsigned int offered, enum rest_form *out)
{
        bool any = strcmp(c->type, "*/*") == 0 || strcasecmp(c->type, "application/*") == 0;
        bool any_text = strcmp(c->type, "*/*") == 0 || strcasecmp(c->type, "text/*") == 0;

        for (size_t i = 0; i < AK_ARRAY_SIZE(form_table); i++) {
                enum rest_form form = form_table[i].form;
                bool wild =
                    !c->as && ((any && form == REST_FORM_JSON) || (any_text && form == REST_FORM_TEXT));

                if ((offered & 1U << form) && (wild || form_matches(i, c))) {
                        *out = form;
                        return 0;
                }
        }
        return -ENOTSUP;
}

int rest_accept(const char *header, unsigned int offered, enum rest_form *out)
{
        unsigned int best = 0;

        if (!header || !*header)
                header = "*/*";
        for (const char *at = header; *at;) {
                size_t len = strcspn(at, ",");
                struct clause c = {0};
                enum rest_form form;

                if (len < MAX_CLAUSE) {
                        memcpy(c.text, at, len);
                        read_clause(&c);
                        if (c.q > best && match_clause(&c, offered, &form) == 0) {
                                best = c.q;
                                *out = form;
                        }
                }
                at += len;
                at += *at == ',';
        }
        return best > 0 ? 0 : -ENOTSUP;
}

/* ---- Content-Type ---- */

static bool media_type_is(const char *content_type, const char *expected)
{
        size_t len = strcspn(content_type, "; \t");

        return len == strlen(expected) && strncasecmp(content_type, expected, len) == 0;
}

int rest_patch_type(const char *content_type, enum api_patch *out, struct rest_error *error)
{
        static const struct {
                const char *type;
                enum api_patch patch;
        } table[] = {{"application/strategic-merge-patch+json", API_PATCH_STRATEGIC},
                     {"application/merge-patch+json", API_PATCH_MERGE},
                     {"application/json-patch+json", API_PATCH_JSON}};

        for (size_t i = 0; content_type && i < AK_ARRAY_SIZE(table); i++) {
                if (media_type_is(content_type, table[i].type)) {
                        *out = table[i].patch;
                        return 0;
                }
        }
        if (content_type && media_type_is(content_type, "application/apply-patch+yaml"))
                rest_error_set(
                    error, 415, "UnsupportedMediaType",
                    "server-side apply (application/apply-patch+yaml) is not served here: use kubectl "
                    "apply without --server-side, or a patch of the type "
                    "application/strategic-merge-patch+json, application/merge-patch+json or "
                    "application/json-patch+json");
        else
                rest_error_set(error, 415, "UnsupportedMediaType",
                               "the Content-Type of a patch must be application/strategic-merge-patch+json, "
                               "application/merge-patch+json or application/json-patch+json, not \"%.80s\"",
                               content_type ? content_type : "");
        return -EINVAL;
}

int rest_body_type(const char *content_type, bool *protobuf, struct rest_error *error)
{
        *protobuf = content_type && media_type_is(content_type, "application/vnd.kubernetes.protobuf");
        if (*protobuf || !content_type || !*content_type || media_type_is(content_type, "application/json"))
                return 0;
        rest_error_set(
            error, 415, "UnsupportedMediaType",
            "the body must be application/json, not \"%.80s\"; kubectl turns YAML into JSON by itself",
            content_type);
        return -EINVAL;
}

/* ---- JSON ---- */

/* jansson itself stops at 2048 levels, so this recursion is bounded too. */
static bool deeper_than(const json_t *value, unsigned int limit)
{
        const char *key;
        json_t *child;
        size_t i;

        if (!json_is_object(value) && !json_is_array(value))
                return false;
        if (limit == 0)
                return true;
        if (json_is_array(value)) {
                json_array_foreach(value, i, child)
                {
                        if (deeper_than(child, limit - 1))
                                return true;
                }
                return false;
        }
        json_object_foreach((json_t *)value, key, child)
        {
                if (deeper_than(child, limit - 1))
                        return true;
        }
        return false;
}

int rest_parse_body(const char *text, size_t len, bool strict, json_t **out, struct rest_error *error)
{
        json_error_t where;
        json_t *value = json_loadb(text, len, strict ? JSON_REJECT_DUPLICATES : 0, &where);

        if (!value) {
                rest_error_set(error, 400, "BadRequest", "the body is not valid JSON: line %d, column %d: %s",
                               where.line, where.column, where.text);
                return -EINVAL;
        }
        if (deeper_than(value, REST_MAX_DEPTH)) {
                json_decref(value);
                rest_error_set(error, 400, "BadRequest", "the body is nested deeper than %d levels",
                               REST_MAX_DEPTH);
                return -EINVAL;
        }
        *out = value;
        return 0;
}
