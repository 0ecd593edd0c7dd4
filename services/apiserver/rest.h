/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an HTTP request line to what is asked for: routing and query parameters. Pure; the fuzz target of the
 * front door calls rest_decode() as it stands.
 *
 * The path is split at its slashes before it is percent-decoded, so that an encoded slash never makes a
 * segment. Unknown query parameters are ignored, as every Kubernetes API server does; a known one with a
 * value that makes no sense is a 400 that names it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "services/apiserver/core.h"
#include "services/apiserver/reviews.h"

#define REST_MAX_URI 16384

enum rest_target {
        REST_OBJECTS,   /* api.kind, api.verb and the rest of `api` tell what */
        REST_WATCH,     /* a list, continued */
        REST_ATTACH,    /* pods/NAME/attach */
        REST_LOG,       /* pods/NAME/log */
        REST_REVIEW,    /* a question about oneself: `review` tells which */
        REST_VERSIONS,  /* /api */
        REST_GROUPS,    /* /apis */
        REST_GROUP,     /* /apis/GROUP */
        REST_RESOURCES, /* /api/v1, /apis/GROUP/VERSION */
        REST_OPENAPI_V2,
        REST_OPENAPI_V3_INDEX,
        REST_OPENAPI_V3, /* /openapi/v3/api/v1, /openapi/v3/apis/GROUP/VERSION */
        REST_VERSION,
        REST_HEALTH, /* /healthz, /livez, /readyz */
        REST_METRICS,
        REST_ROOT, /* the list of paths */
};

/* What resourceVersion and resourceVersionMatch ask of a read. */
enum rest_freshness {
        REST_MOST_RECENT,    /* no resourceVersion */
        REST_ANY,            /* "0" */
        REST_NOT_OLDER_THAN, /* a number; for a watch: start after it */
        REST_EXACT,
};

struct rest_request {
        char *storage; /* every string below points into it */
        const char *path;
        enum rest_target target;
        const char *group, *version;
        const struct review *review;
        struct api_request api; /* user, body, patch type and time are the shell's to fill in */

        enum rest_freshness freshness;
        uint64_t resource_version;
        uint32_t timeout_seconds; /* 0 = the server's choice */
        bool bookmarks;
        bool initial_events, initial_events_set;
        bool pretty, force;
        const char *include_object; /* of a Table: "Metadata", "Object", "None" */

        int64_t grace_seconds; /* DELETE; -1 = not given */
        const char *propagation;
        bool orphan, orphan_set; /* orphanDependents, the older form of the same */

        const char *container;                          /* attach, log */
        bool stdin_, stdout_, stderr_, tty;             /* attach */
        bool follow, previous, timestamps;              /* log */
        int64_t tail_lines, limit_bytes, since_seconds; /* log; -1 = not given */
        uint64_t since_time_us;                         /* log; 0 = not given */
};

#define REST_ERROR_SIZE 400
struct rest_error {
        int code;           /* HTTP status */
        const char *reason; /* of the Status, e.g. "BadRequest" */
        const struct api_kind *kind;
        char message[REST_ERROR_SIZE];
};

/* `uri` is the request target as sent, path and query. 0, -EINVAL with *error filled in, or -ENOMEM. */
int rest_decode(const char *method, const char *uri, struct rest_request *out, struct rest_error *error);
void rest_request_deinit(struct rest_request *r);
void rest_error_set(struct rest_error *error, int code, const char *reason, const char *format, ...)
    AK_PRINTF(4, 5);

/* True for the few targets that are answered without a client certificate. */
bool rest_is_public(const struct rest_request *r);
/* "get", "list", "watch", "create", … as Kubernetes names a request for authorization. */
const char *rest_verb_name(const struct rest_request *r);

/* Forms that an answer can have. */
enum rest_form {
        REST_FORM_JSON,
        REST_FORM_TABLE,             /* application/json;as=Table;g=meta.k8s.io;v=v1 */
        REST_FORM_DISCOVERY_V2,      /* …;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2 */
        REST_FORM_DISCOVERY_V2BETA1, /* …;v=v2beta1 */
        REST_FORM_OPENAPI_PROTOBUF,  /* application/com.github.proto-openapi.spec.v2@v1.0+protobuf */
        REST_FORM_TEXT,              /* text/plain */
};
/*
 * Picks the form from an Accept header (NULL = anything): the highest q, the first of equals. `offered` is a
 * mask of 1 << form. -ENOTSUP where nothing that is offered is acceptable (406).
 */
int rest_accept(const char *header, unsigned int offered, enum rest_form *out);
const char *rest_form_content_type(enum rest_form form);

/* Patch type from a Content-Type; -EINVAL with a 415 otherwise. */
int rest_patch_type(const char *content_type, enum api_patch *out, struct rest_error *error);
/* Accepts JSON (or no Content-Type at all) and Kubernetes' protobuf for other bodies; -EINVAL with a 415
 * otherwise. */
int rest_body_type(const char *content_type, bool *protobuf, struct rest_error *error);

/*
 * Parses a JSON body: UTF-8, depth bounded, position in the message. With `strict` a key given twice is an
 * error, else the last one wins. 0 or -EINVAL with a 400.
 */
#define REST_MAX_DEPTH 64
int rest_parse_body(const char *text, size_t len, bool strict, json_t **out, struct rest_error *error);
