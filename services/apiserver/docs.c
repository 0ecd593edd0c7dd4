/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that do not depend on any object: discovery, OpenAPI, version, health. Each text is made once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/openapi.h"
#include "services/apiserver/server_internal.h"

#define KUBE_VERSION "v1.32.0-alkaid-" ALKAID_VERSION

struct doc {
        char *text; /* NULL = not served */
        size_t len;
        enum rest_form form;
};

struct api_docs {
        zhashx_t *made; /* what was asked -> struct doc */
};

static void doc_destroy(void **item)
{
        struct doc *doc = *item;

        free(doc->text);
        free(doc);
        *item = NULL;
}

int api_docs_new(struct api_docs **out)
{
        struct api_docs *docs = calloc(1, sizeof(*docs));

        if (!docs)
                return -ENOMEM;
        docs->made = zhashx_new();
        zhashx_set_destructor(docs->made, doc_destroy);
        *out = docs;
        return 0;
}

struct api_docs *api_docs_free(struct api_docs *docs)
{
        if (docs) {
                zhashx_destroy(&docs->made);
                free(docs);
        }
        return NULL;
}

static json_t *version(void)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", "32",
                         "gitVersion", KUBE_VERSION, "gitCommit", "", "gitTreeState", "clean", "buildDate",
                         "1970-01-01T00:00:00Z", "goVersion", "none", "compiler", "cc", "platform",
                         "linux/amd64");
}

static json_t *root(void)
{
        return json_pack("{s:[s,s,s,s,s,s,s,s,s]}", "paths", "/api", "/apis", "/healthz", "/livez",
                         "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version");
}

static json_t *make_json(const struct rest_request *r, enum rest_form form)
{
        const char *aggregated = form == REST_FORM_DISCOVERY_V2        ? "v2"
                                 : form == REST_FORM_DISCOVERY_V2BETA1 ? "v2beta1"
                                                                       : NULL;

        switch (r->target) {
        case REST_VERSIONS:
                return aggregated ? api_discovery_aggregated(1, aggregated) : api_discovery_versions();
        case REST_GROUPS:
                return aggregated ? api_discovery_aggregated(0, aggregated) : api_discovery_groups();
        case REST_GROUP:
                return api_discovery_group(r->group);
        case REST_RESOURCES:
                return api_discovery_resources(r->group, r->version);
        case REST_OPENAPI_V2:
                return api_openapi_v2();
        case REST_OPENAPI_V3_INDEX:
                return api_openapi_v3_index();
        case REST_OPENAPI_V3:
                return api_openapi_v3(r->group, r->version);
        case REST_VERSION:
                return version();
        default:
                return root();
        }
}

static void make_text(struct doc *doc, const struct rest_request *r)
{
        json_t *json;
        uint8_t *bytes;

        if (doc->form == REST_FORM_TEXT) {
                doc->text = strdup("ok");
                doc->len = 2;
                return;
        }
        if (doc->form == REST_FORM_OPENAPI_PROTOBUF) {
                if (api_openapi_v2_protobuf(&bytes, &doc->len) == 0)
                        doc->text = (char *)bytes;
                return;
        }
        json = make_json(r, doc->form);
        if (json)
                doc->text = json_dumps(json, r->pretty ? JSON_INDENT(2) : JSON_COMPACT);
        doc->len = doc->text ? strlen(doc->text) : 0;
        json_decref(json);
}

static unsigned int offered(enum rest_target target)
{
        switch (target) {
        case REST_VERSIONS:
        case REST_GROUPS:
                return 1U << REST_FORM_JSON | 1U << REST_FORM_DISCOVERY_V2 |
                       1U << REST_FORM_DISCOVERY_V2BETA1;
        case REST_OPENAPI_V2:
                return 1U << REST_FORM_JSON | 1U << REST_FORM_OPENAPI_PROTOBUF;
        case REST_HEALTH:
                return 1U << REST_FORM_TEXT;
        default:
                return 1U << REST_FORM_JSON;
        }
}

/* Only what is served is kept, so the number of texts is bounded by the tables. */
static const struct doc *find_or_make(struct api_docs *docs, const struct rest_request *r,
                                      enum rest_form form)
{
        char key[600];
        struct doc *doc;

        (void)snprintf(key, sizeof(key), "%d %d %d %.255s %.255s", (int)r->target, (int)form, r->pretty,
                       r->group, r->version);
        doc = zhashx_lookup(docs->made, key);
        if (doc)
                return doc;
        doc = calloc(1, sizeof(*doc));
        if (!doc)
                return NULL;
        doc->form = form;
        make_text(doc, r);
        if (!doc->text) {
                free(doc);
                return NULL;
        }
        (void)zhashx_insert(docs->made, key, doc);
        return doc;
}

void api_docs_answer(struct api_docs *docs, struct api_call *call)
{
        enum rest_form form;
        const struct doc *doc;

        /* Probes send any Accept there is; health is text for all of them. */
        if (call->rest.target == REST_HEALTH)
                form = REST_FORM_TEXT;
        else if (rest_accept(call->accept, offered(call->rest.target), &form) < 0) {
                api_call_fail(
                    call, 406, "NotAcceptable",
                    "only application/json can be produced for this path, and the Accept header does not "
                    "allow it");
                return;
        }
        doc = find_or_make(docs, &call->rest, form);
        if (!doc) {
                api_call_fail(call, 404, "NotFound", "the server could not find the requested resource");
                return;
        }
        call->code = 200;
        call->text = doc->text;
        call->text_len = doc->len;
        call->shared = true;
        call->type = rest_form_content_type(form);
}
