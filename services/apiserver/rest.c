/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/rest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "libcommon/clock.h"
#include "libcommon/utf8.h"

#define MAX_SEGMENTS 12

struct segments {
        const char *at[MAX_SEGMENTS];
        size_t count;
};

void rest_error_set(struct rest_error *error, int code, const char *reason, const char *format, ...)
{
        va_list ap;

        error->code = code;
        error->reason = reason;
        va_start(ap, format);
        (void)vsnprintf(error->message, sizeof(error->message), format, ap);
        va_end(ap);
}

static int not_found(struct rest_error *error)
{
        rest_error_set(error, 404, "NotFound", "the server could not find the requested resource");
        return -EINVAL;
}

static int not_allowed(struct rest_error *error, const char *method)
{
        rest_error_set(error, 405, "MethodNotAllowed",
                       "the server does not allow this method on the requested resource: %.16s", method);
        return -EINVAL;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char)(c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. Strict: a broken escape, a NUL, a control character or malformed UTF-8 is an error. */
static int percent_decode(char *text, bool plus_is_blank)
{
        char *out = text;

        for (const char *in = text; *in; in++) {
                char c = *in;

                if (c == '%') {
                        int high = hex_digit(in[1]);
                        int low = high < 0 ? -1 : hex_digit(in[2]);

                        if (low < 0)
                                return -EINVAL;
                        c = (char)(high << 4 | low);
                        in += 2;
                } else if (c == '+' && plus_is_blank) {
                        c = ' ';
                }
                if ((unsigned char)c < 0x20 || c == 0x7f)
                        return -EINVAL;
                *out++ = c;
        }
        *out = '\0';
        return ak_utf8_valid(text, (size_t)(out - text)) ? 0 : -EINVAL;
}

static int bad_path(struct rest_error *error)
{
        rest_error_set(error, 400, "BadRequest",
                       "the path is not valid: percent escapes must be complete and make UTF-8 text");
        return -EINVAL;
}

/* An object's name or namespace from the path; such names never hold a slash and are never "." or "..". */
static bool segment_valid(const char *text)
{
        return *text && strlen(text) <= 253 && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 &&
               !strpbrk(text, "/%");
}

static int split_path(char *path, struct segments *out, struct rest_error *error)
{
        char *save = NULL;

        if (strstr(path, "//"))
                return not_found(error);
        for (char *s = strtok_r(path, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
                if (out->count == MAX_SEGMENTS)
                        return not_found(error);
                if (percent_decode(s, false) < 0)
                        return bad_path(error);
                if (!segment_valid(s)) {
                        rest_error_set(error, 400, "BadRequest", "the path holds a name that is not valid");
                        return -EINVAL;
                }
                out->at[out->count++] = s;
        }
        return 0;
}

/* ---- query parameters ---- */

struct query {
        struct rest_request *r;
        struct rest_error *error;
        const char *match; /* resourceVersionMatch */
        bool watch, version_given;
};

typedef int (*query_fn)(struct query *q, const char *name, const char *value, size_t offset);

static int bad_value(struct query *q, const char *name, const char *value, const char *expected)
{
        rest_error_set(q->error, 400, "BadRequest", "query parameter %s: invalid value \"%.80s\": must be %s",
                       name, value, expected);
        return -EINVAL;
}

static int read_bool(struct query *q, const char *name, const char *value, bool *out)
{
        if (!*value || strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0)
                *out = true;
        else if (strcasecmp(value, "false") == 0 || strcmp(value, "0") == 0)
                *out = false;
        else
                return bad_value(q, name, value, "true or false");
        return 0;
}

static int read_number(const char *value, uint64_t max, uint64_t *out)
{
        uint64_t n = 0;

        if (!*value || strlen(value) > 20)
                return -EINVAL;
        for (const char *p = value; *p; p++) {
                if (*p < '0' || *p > '9' || __builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
                        return -EINVAL;
        }
        if (n > max)
                return -EINVAL;
        *out = n;
        return 0;
}

static int q_bool(struct query *q, const char *name, const char *value, size_t offset)
{
        return read_bool(q, name, value, (bool *)(void *)((char *)q->r + offset));
}

static int q_string(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)name;
        if (*value)
                *(const char **)(void *)((char *)q->r + offset) = value;
        return 0;
}

static int q_u32(struct query *q, const char *name, const char *value, size_t offset)
{
        uint64_t n = 0;

        if (*value && read_number(value, INT32_MAX, &n) < 0)
                return bad_value(q, name, value, "a whole number from 0 to 2147483647");
        *(uint32_t *)(void *)((char *)q->r + offset) = (uint32_t)n;
        return 0;
}

static int q_i64(struct query *q, const char *name, const char *value, size_t offset)
{
        uint64_t n;

        if (!*value)
                return 0;
        if (read_number(value, INT64_MAX, &n) < 0)
                return bad_value(q, name, value, "a whole number, not negative");
        *(int64_t *)(void *)((char *)q->r + offset) = (int64_t)n;
        return 0;
}

static int q_time(struct query *q, const char *name, const char *value, size_t offset)
{
        uint64_t us;

        if (!*value)
                return 0;
        if (ak_rfc3339_parse(value, &us) < 0)
                return bad_value(q, name, value, "a time as 2026-01-02T03:04:05Z");
        *(uint64_t *)(void *)((char *)q->r + offset) = us ? us : 1;
        return 0;
}

static int q_watch(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        return read_bool(q, name, value, &q->watch);
}

static int q_version(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        if (!*value)
                return 0;
        if (read_number(value, UINT64_MAX, &q->r->resource_version) < 0)
                return bad_value(q, name, value, "a resourceVersion that this server handed out");
        q->version_given = true;
        return 0;
}

static int q_match(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        if (!*value)
                return 0;
        if (strcmp(value, "Exact") != 0 && strcmp(value, "NotOlderThan") != 0)
                return bad_value(q, name, value, "Exact or NotOlderThan");
        q->match = value;
        return 0;
}

static int q_initial(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        q->r->initial_events_set = true;
        return read_bool(q, name, value, &q->r->initial_events);
}

static int q_orphan(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        q->r->orphan_set = true;
        return read_bool(q, name, value, &q->r->orphan);
}

static int q_dry_run(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        if (strcmp(value, "All") != 0)
                return bad_value(q, name, value, "All");
        q->r->api.dry_run = true;
        return 0;
}

static int q_validation(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        if (strcmp(value, "Strict") == 0)
                q->r->api.field_validation = API_FIELDS_STRICT;
        else if (strcmp(value, "Warn") == 0)
                q->r->api.field_validation = API_FIELDS_WARN;
        else if (strcmp(value, "Ignore") == 0)
                q->r->api.field_validation = API_FIELDS_IGNORE;
        else if (*value)
                return bad_value(q, name, value, "Ignore, Warn or Strict");
        return 0;
}

static int q_include(struct query *q, const char *name, const char *value, size_t offset)
{
        (void)offset;
        if (strcmp(value, "None") != 0 && strcmp(value, "Metadata") != 0 && strcmp(value, "Object") != 0)
                return bad_value(q, name, value, "None, Metadata or Object");
        q->r->include_object = value;
        return 0;
}

static int q_manager(struct query *q, const char *name, const char *value, size_t offset)
{
        if (strlen(value) > 128)
                return bad_value(q, name, value, "at most 128 bytes");
        return q_string(q, name, value, offset);
}

#define AT(member) offsetof(struct rest_request, member)

static const struct {
        const char *name;
        query_fn read;
        size_t offset;
} query_table[] = {
    {"allowWatchBookmarks", q_bool, AT(bookmarks)},
    {"container", q_string, AT(container)},
    {"continue", q_string, AT(api.continue_token)},
    {"dryRun", q_dry_run, 0},
    {"fieldManager", q_manager, AT(api.field_manager)},
    {"fieldSelector", q_string, AT(api.field_selector)},
    {"fieldValidation", q_validation, 0},
    {"follow", q_bool, AT(follow)},
    {"force", q_bool, AT(force)},
    {"gracePeriodSeconds", q_i64, AT(grace_seconds)},
    {"includeObject", q_include, 0},
    {"labelSelector", q_string, AT(api.label_selector)},
    {"limit", q_u32, AT(api.limit)},
    {"limitBytes", q_i64, AT(limit_bytes)},
    {"orphanDependents", q_orphan, 0},
    {"pretty", q_bool, AT(pretty)},
    {"previous", q_bool, AT(previous)},
    {"propagationPolicy", q_string, AT(propagation)},
    {"resourceVersion", q_version, 0},
    {"resourceVersionMatch", q_match, 0},
    {"sendInitialEvents", q_initial, 0},
    {"sinceSeconds", q_i64, AT(since_seconds)},
    {"sinceTime", q_time, AT(since_time_us)},
    {"stderr", q_bool, AT(stderr_)},
    {"stdin", q_bool, AT(stdin_)},
    {"stdout", q_bool, AT(stdout_)},
    {"tailLines", q_i64, AT(tail_lines)},
    {"timeoutSeconds", q_u32, AT(timeout_seconds)},
    {"timestamps", q_bool, AT(timestamps)},
    {"tty", q_bool, AT(tty)},
    {"watch", q_watch, 0},
};

static int read_parameter(struct query *q, char *name, char *value)
{
        if (percent_decode(name, true) < 0 || percent_decode(value, true) < 0) {
                rest_error_set(
                    q->error, 400, "BadRequest",
                    "the query is not valid: percent escapes must be complete and make UTF-8 text");
                return -EINVAL;
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(query_table); i++) {
                if (strcmp(query_table[i].name, name) == 0)
                        return query_table[i].read(q, name, value, query_table[i].offset);
        }
        return 0;
}

static int forbidden_option(struct query *q, const char *option, const char *why)
{
        rest_error_set(q->error, 400, "BadRequest", "%s is forbidden %s", option, why);
        return -EINVAL;
}

/* The combinations that ValidateListOptions() in apimachinery refuses. */
static int check_initial_events(struct query *q)
{
        if (!q->r->initial_events_set)
                return 0;
        if (!q->watch)
                return forbidden_option(q, "sendInitialEvents", "for list");
        if (!q->match || strcmp(q->match, "NotOlderThan") != 0)
                return forbidden_option(q, "sendInitialEvents",
                                        "unless resourceVersionMatch is set to NotOlderThan");
        return 0;
}

static int check_match(struct query *q)
{
        if (check_initial_events(q) < 0)
                return -EINVAL;
        if (!q->match)
                return 0;
        if (q->watch && !q->r->initial_events_set)
                return forbidden_option(q, "resourceVersionMatch",
                                        "for watch unless sendInitialEvents is provided");
        if (!q->watch && !q->version_given)
                return forbidden_option(q, "resourceVersionMatch", "unless resourceVersion is provided");
        if (q->r->api.continue_token && !q->watch)
                return forbidden_option(q, "resourceVersionMatch", "when continue is provided");
        if (strcmp(q->match, "Exact") == 0 && q->r->resource_version == 0)
                return forbidden_option(q, "resourceVersionMatch \"Exact\"", "for resourceVersion \"0\"");
        return 0;
}

/* What ValidatePodLogOptions() in Kubernetes refuses. */
static int check_log(struct query *q)
{
        const struct rest_request *r = q->r;
        const char *wrong = NULL;

        if (r->since_seconds >= 0 && r->since_time_us)
                wrong = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        else if (r->since_seconds == 0)
                wrong = "sinceSeconds: Invalid value: 0: must be greater than 0";
        else if (r->limit_bytes == 0)
                wrong = "limitBytes: Invalid value: 0: must be greater than 0";
        if (!wrong)
                return 0;
        rest_error_set(q->error, 422, "Invalid", "PodLogOptions \"%s\" is invalid: %s", r->api.name, wrong);
        return -EINVAL;
}

static void decide_freshness(struct query *q)
{
        struct rest_request *r = q->r;

        if (!q->version_given)
                r->freshness = REST_MOST_RECENT;
        else if (q->match && strcmp(q->match, "Exact") == 0)
                r->freshness = REST_EXACT;
        else
                r->freshness = r->resource_version == 0 ? REST_ANY : REST_NOT_OLDER_THAN;
}

static int read_query(struct query *q, char *text)
{
        char *save = NULL;

        for (char *pair = strtok_r(text, "&", &save); pair; pair = strtok_r(NULL, "&", &save)) {
                char *value = strchr(pair, '=');

                if (value)
                        *value++ = '\0';
                else
                        value = pair + strlen(pair);
                if (read_parameter(q, pair, value) < 0)
                        return -EINVAL;
        }
        return 0;
}

/* ---- routes ---- */

struct route {
        const char *method;
        struct rest_request *r;
        struct rest_error *error;
        const struct query *query;
};

static bool is(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

static int only_get(const struct route *route, enum rest_target target)
{
        if (!is(route->method, "GET") && !is(route->method, "HEAD"))
                return not_allowed(route->error, route->method);
        route->r->target = target;
        return 0;
}

static bool subresource_served(const struct api_kind *kind, const char *name)
{
        if (is(name, "status"))
                return kind->has_status;
        for (const char *const *s = kind->subresources; s && *s; s++) {
                if (is(*s, name))
                        return true;
        }
        return false;
}

/* Methods per shape of the path: a whole collection, one object, a subresource of one. */
enum shape { SHAPE_COLLECTION, SHAPE_OBJECT, SHAPE_STATUS, SHAPE_SUBRESOURCE };

static const struct {
        const char *method;
        enum shape shape;
        enum api_verb verb;
} verb_table[] = {
    {"GET", SHAPE_COLLECTION, API_LIST},     {"POST", SHAPE_COLLECTION, API_CREATE},
    {"GET", SHAPE_OBJECT, API_GET},          {"DELETE", SHAPE_COLLECTION, API_DELETE_COLLECTION},
    {"PUT", SHAPE_OBJECT, API_UPDATE},       {"PATCH", SHAPE_OBJECT, API_PATCH},
    {"DELETE", SHAPE_OBJECT, API_DELETE},    {"GET", SHAPE_STATUS, API_GET},
    {"PUT", SHAPE_STATUS, API_UPDATE},       {"PATCH", SHAPE_STATUS, API_PATCH},
    {"POST", SHAPE_SUBRESOURCE, API_CREATE}, {"GET", SHAPE_SUBRESOURCE, API_GET},
    {"PUT", SHAPE_SUBRESOURCE, API_UPDATE},  {"PATCH", SHAPE_SUBRESOURCE, API_PATCH},
};

static int choose_verb(const struct route *route, enum shape shape)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(verb_table); i++) {
                if (verb_table[i].shape == shape && is(verb_table[i].method, route->method)) {
                        route->r->api.verb = verb_table[i].verb;
                        return 0;
                }
        }
        return not_allowed(route->error, route->method);
}

static int route_connect(const struct route *route, enum rest_target target)
{
        bool attach = target == REST_ATTACH;

        /* client-go falls back to POST for SPDY, which is not spoken here; the handler says so. */
        if (!is(route->method, "GET") && !(attach && is(route->method, "POST")))
                return not_allowed(route->error, route->method);
        route->r->target = target;
        return 0;
}

static int route_collection(const struct route *route)
{
        const struct api_request *api = &route->r->api;
        bool everywhere = api->kind->namespaced && !*api->name_space;

        if (choose_verb(route, SHAPE_COLLECTION) < 0)
                return -EINVAL;
        if (everywhere && api->verb != API_LIST)
                return not_allowed(route->error, route->method);
        if (api->verb == API_LIST && route->query->watch)
                route->r->target = REST_WATCH;
        return 0;
}

/* What stock kubectl asks of a pod that is a VM, in vain: what to do instead. */
static int not_served(const struct route *route, const char *subresource)
{
        static const struct {
                const char *name, *instead;
        } known[] = {
            {"exec", "a VM runs no commands from outside: use its console (kubectl attach -it), or ssh to "
                     "its address"},
            {"portforward", "connect to an address of the VM itself (kubectl get pods -o wide)"},
            {"proxy", "connect to an address of the VM itself (kubectl get pods -o wide)"},
            {"scale", "a pod is one VM: create further pods"},
            {"resize", "a VM keeps the cpu and memory that it was made with: create another pod"},
            {"ephemeralcontainers", "a VM has no containers: use its console (kubectl attach -it)"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(known); i++) {
                if (!is(route->r->api.kind->plural, "pods") || !is(known[i].name, subresource))
                        continue;
                rest_error_set(route->error, 404, "NotFound", "pods/%s is not served: %s", subresource,
                               known[i].instead);
                return -EINVAL;
        }
        return not_found(route->error);
}

static int route_object(const struct route *route, const char *subresource)
{
        struct api_request *api = &route->r->api;

        if (api->kind->namespaced && !*api->name_space)
                return not_found(route->error);
        if (!subresource)
                return choose_verb(route, SHAPE_OBJECT);
        if (!subresource_served(api->kind, subresource))
                return not_served(route, subresource);
        api->subresource = subresource;
        if (is(subresource, "attach"))
                return route_connect(route, REST_ATTACH);
        if (is(subresource, "log"))
                return route_connect(route, REST_LOG);
        return choose_verb(route, is(subresource, "status") ? SHAPE_STATUS : SHAPE_SUBRESOURCE);
}

/* `s` = what follows /api/v1 or /apis/GROUP/VERSION; at least one segment. */
static int route_resource(const struct route *route, const char *const *s, size_t n)
{
        struct rest_request *r = route->r;

        /* namespaces/NAME/status and /finalize are the namespace's own, everything else lies inside it. */
        if (n >= 3 && is(s[0], "namespaces") && !(n == 3 && (is(s[2], "status") || is(s[2], "finalize")))) {
                r->api.name_space = s[1];
                s += 2;
                n -= 2;
        }
        if (n > 3)
                return not_found(route->error);
        r->api.kind = api_kind_by_plural(r->group, r->version, s[0]);
        if (!r->api.kind || (!r->api.kind->namespaced && *r->api.name_space))
                return not_found(route->error);
        route->error->kind = r->api.kind;
        if (n == 1)
                return route_collection(route);
        r->api.name = s[1];
        return route_object(route, n == 3 ? s[2] : NULL);
}

static int route_api(const struct route *route, const struct segments *s)
{
        route->r->group = "";
        if (s->count == 1)
                return only_get(route, REST_VERSIONS);
        route->r->version = s->at[1];
        if (s->count == 2)
                return only_get(route, REST_RESOURCES);
        return route_resource(route, s->at + 2, s->count - 2);
}

static int route_review(const struct route *route, const struct review *review)
{
        if (!is(route->method, "POST"))
                return not_allowed(route->error, route->method);
        route->r->target = REST_REVIEW;
        route->r->review = review;
        return 0;
}

static int route_apis(const struct route *route, const struct segments *s)
{
        if (s->count == 1)
                return only_get(route, REST_GROUPS);
        route->r->group = s->at[1];
        if (s->count == 2)
                return only_get(route, REST_GROUP);
        route->r->version = s->at[2];
        if (s->count == 3)
                return only_get(route, REST_RESOURCES);
        if (s->count == 4 && review_find(s->at[1], s->at[2], s->at[3]))
                return route_review(route, review_find(s->at[1], s->at[2], s->at[3]));
        return route_resource(route, s->at + 3, s->count - 3);
}

static int route_openapi(const struct route *route, const struct segments *s)
{
        struct rest_request *r = route->r;

        if (s->count == 2 && is(s->at[1], "v2"))
                return only_get(route, REST_OPENAPI_V2);
        if (s->count < 2 || !is(s->at[1], "v3"))
                return not_found(route->error);
        if (s->count == 2)
                return only_get(route, REST_OPENAPI_V3_INDEX);
        if (s->count == 4 && is(s->at[2], "api")) {
                r->group = "";
                r->version = s->at[3];
                return only_get(route, REST_OPENAPI_V3);
        }
        if (s->count == 5 && is(s->at[2], "apis")) {
                r->group = s->at[3];
                r->version = s->at[4];
                return only_get(route, REST_OPENAPI_V3);
        }
        return not_found(route->error);
}

static int route(const struct route *route, const struct segments *s)
{
        static const struct {
                const char *name;
                enum rest_target target;
        } plain[] = {{"version", REST_VERSION},
                     {"metrics", REST_METRICS},
                     {"healthz", REST_HEALTH},
                     {"livez", REST_HEALTH},
                     {"readyz", REST_HEALTH}};

        if (s->count == 0)
                return only_get(route, REST_ROOT);
        if (is(s->at[0], "api"))
                return route_api(route, s);
        if (is(s->at[0], "apis"))
                return route_apis(route, s);
        if (is(s->at[0], "openapi"))
                return route_openapi(route, s);
        for (size_t i = 0; s->count == 1 && i < AK_ARRAY_SIZE(plain); i++) {
                if (is(plain[i].name, s->at[0]))
                        return only_get(route, plain[i].target);
        }
        return not_found(route->error);
}

static void set_defaults(struct rest_request *r)
{
        r->group = r->version = "";
        r->include_object = "Metadata";
        r->grace_seconds = r->tail_lines = r->limit_bytes = r->since_seconds = -1;
        r->api.name_space = r->api.name = r->api.subresource = "";
        r->api.field_validation = API_FIELDS_STRICT;
}

static int decode(const char *method, const char *uri, struct rest_request *r, struct rest_error *error)
{
        struct query q = {.r = r, .error = error};
        const struct route to = {method, r, error, &q};
        struct segments s = {0};
        size_t len = strlen(uri) + 1;
        char *path, *query;

        set_defaults(r);
        /* Two copies: one is cut up, the other is the path for messages. */
        r->storage = calloc(2, len);
        if (!r->storage)
                return -ENOMEM;
        path = memcpy(r->storage, uri, len);
        query = strchr(path, '?');
        if (query)
                *query++ = '\0';
        r->path = memcpy(r->storage + len, path, strlen(path) + 1);
        if (path[0] != '/')
                return bad_path(error);
        if (split_path(path, &s, error) < 0 || (query && read_query(&q, query) < 0) || route(&to, &s) < 0)
                return -EINVAL;
        if ((r->target == REST_WATCH || r->api.verb == API_LIST) && check_match(&q) < 0)
                return -EINVAL;
        if (r->target == REST_LOG && check_log(&q) < 0)
                return -EINVAL;
        decide_freshness(&q);
        return 0;
}

int rest_decode(const char *method, const char *uri, struct rest_request *out, struct rest_error *error)
{
        struct rest_request r = {0};
        int rc;

        *error = (struct rest_error){0};
        if (strlen(uri) > REST_MAX_URI) {
                rest_error_set(error, 414, "RequestURITooLong",
                               "the request's path and query exceed %d bytes", REST_MAX_URI);
                return -EINVAL;
        }
        rc = decode(method, uri, &r, error);
        if (rc < 0) {
                rest_request_deinit(&r);
                return rc;
        }
        *out = r;
        return 0;
}

void rest_request_deinit(struct rest_request *r)
{
        free(r->storage);
        *r = (struct rest_request){0};
}

bool rest_is_public(const struct rest_request *r)
{
        return r->target == REST_VERSION || r->target == REST_HEALTH;
}

const char *rest_verb_name(const struct rest_request *r)
{
        static const char *const names[] = {
            [API_GET] = "get",     [API_CREATE] = "create", [API_UPDATE] = "update",
            [API_PATCH] = "patch", [API_DELETE] = "delete", [API_DELETE_COLLECTION] = "deletecollection",
            [API_LIST] = "list"};

        if (r->target == REST_WATCH)
                return "watch";
        if (r->target == REST_ATTACH || r->target == REST_REVIEW)
                return "create";
        if (r->target != REST_OBJECTS)
                return "get";
        return names[r->api.verb];
}
