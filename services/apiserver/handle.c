/* SPDX-License-Identifier: Apache-2.0 */
/* From a decoded request to its answer. No HTTP library in here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "services/apiserver/handle_internal.h"
#include "services/apiserver/metrics.h"
#include "services/apiserver/protobuf.h"

/* A watch without timeoutSeconds ends after this long, spread so that clients do not come back all at once.
 */
#define WATCH_MIN_S 1800

void api_call_deinit(struct api_call *call)
{
        if (!call->shared)
                free(call->text);
        for (size_t i = 0; i < call->warning_count; i++)
                free(call->warnings[i]);
        free(call->warnings);
        call->watcher = api_watcher_free(call->watcher);
        call->podlog = api_podlog_free(call->podlog);
        free(call->pod_uid);
        free(call->console_dir);
        free(call->object_name);
        free(call->object_version);
        rest_request_deinit(&call->rest);
}

void handle_set_json(struct api_call *call, int code, const json_t *json)
{
        char *text = json ? json_dumps(json, call->rest.pretty ? JSON_INDENT(2) : JSON_COMPACT) : NULL;
        size_t len = text ? strlen(text) : 0;
        char *line = text ? realloc(text, len + 2) : NULL;

        if (!line) {
                free(text);
                call->code = 500;
                call->text = NULL;
                call->text_len = 0;
                return;
        }
        memcpy(line + len, "\n", 2);
        call->code = (unsigned int)code;
        call->text = line;
        call->text_len = len + 1;
        call->type = rest_form_content_type(REST_FORM_JSON);
}

static void set_status(struct api_call *call, int code, json_t *status)
{
        handle_set_json(call, code, status);
        json_decref(status);
}

void api_call_fail(struct api_call *call, int code, const char *reason, const char *message)
{
        set_status(call, code,
                   api_status_failure(code, reason, call->rest.api.kind, call->rest.api.name, NULL, message));
}

void api_call_fail_as(struct api_call *call, const struct rest_error *error)
{
        set_status(call, error->code,
                   api_status_failure(error->code, error->reason, error->kind, NULL, NULL, error->message));
}

/* ---- freshness ---- */

static void fail_too_large(struct api_call *call, uint64_t current)
{
        char message[128];
        json_t *status, *details;

        (void)snprintf(message, sizeof(message), "Too large resource version: %" PRIu64 ", current: %" PRIu64,
                       call->rest.resource_version, current);
        status = api_status_failure(504, "Timeout", call->rest.api.kind, NULL, NULL, message);
        details = json_object_get(status, "details");
        if (!details && json_object_set_new(status, "details", json_object()) == 0)
                details = json_object_get(status, "details");
        (void)json_object_set_new(details, "causes",
                                  json_pack("[{s:s, s:s}]", "reason", "ResourceVersionTooLarge", "message",
                                            "Too large resource version"));
        (void)json_object_set_new(details, "retryAfterSeconds", json_integer(1));
        set_status(call, 504, status);
}

/* Reads are always of the latest state, which is fresh enough for everything but these. */
static bool fresh_enough(struct api_call *call)
{
        const struct rest_request *r = &call->rest;
        uint64_t current = api_core_resource_version(call->server->core);

        if (r->freshness != REST_NOT_OLDER_THAN && r->freshness != REST_EXACT)
                return true;
        if (r->resource_version > current) {
                fail_too_large(call, current);
                return false;
        }
        if (r->freshness == REST_EXACT && r->resource_version < current) {
                api_call_fail(call, 410, "Expired", "The resourceVersion for the provided list is too old.");
                return false;
        }
        return true;
}

/* ---- objects ---- */

static bool takes_body(const struct api_request *api)
{
        return api->verb == API_CREATE || api->verb == API_UPDATE || api->verb == API_PATCH;
}

/* DeleteOptions of the query, where the body does not say. */
static int delete_options(const struct rest_request *r, json_t **body)
{
        if (!*body)
                *body = json_pack("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
        if (!*body)
                return -ENOMEM;
        if (r->grace_seconds >= 0 && !json_object_get(*body, "gracePeriodSeconds") &&
            json_object_set_new(*body, "gracePeriodSeconds", json_integer(r->grace_seconds)) < 0)
                return -ENOMEM;
        /* Of the two ways to say what becomes of dependents, the body's counts. */
        if (json_object_get(*body, "propagationPolicy") || json_object_get(*body, "orphanDependents"))
                return 0;
        if (r->propagation &&
            json_object_set_new(*body, "propagationPolicy", json_string(r->propagation)) < 0)
                return -ENOMEM;
        if (r->orphan_set && json_object_set_new(*body, "orphanDependents", json_boolean(r->orphan)) < 0)
                return -ENOMEM;
        return 0;
}

static bool body_says_dry_run(const json_t *body)
{
        const char *first = json_string_value(json_array_get(json_object_get(body, "dryRun"), 0));

        return first && strcmp(first, "All") == 0;
}

static int parse_protobuf(const struct api_call *call, json_t **body, struct rest_error *error)
{
        char text[PROTOBUF_ERROR_SIZE] = "";
        int rc = protobuf_to_json(call->body, call->body_len, body, text);

        if (rc == 0)
                return 0;
        if (rc == -ENOTSUP)
                rest_error_set(error, 415, "UnsupportedMediaType", "%s", text);
        else
                rest_error_set(error, rc == -E2BIG ? 413 : 400,
                               rc == -E2BIG ? "RequestEntityTooLarge" : "BadRequest", "%s", text);
        return -EINVAL;
}

/* By Content-Type; there is a body. */
static int parse_body(struct api_call *call, json_t **body, struct rest_error *error)
{
        struct api_request *api = &call->rest.api;
        struct rest_error again = *error;
        bool protobuf = false;
        int rc = api->verb == API_PATCH ? rest_patch_type(call->content_type, &api->patch_type, error)
                                        : rest_body_type(call->content_type, &protobuf, error);

        if (rc < 0)
                return rc;
        if (protobuf)
                return parse_protobuf(call, body, error);
        rc = rest_parse_body(call->body, call->body_len, api->field_validation != API_FIELDS_IGNORE, body,
                             error);
        if (rc == 0 || api->field_validation == API_FIELDS_STRICT)
                return rc;
        /* With Warn, a key that is given twice is worth a warning; the last one counts. */
        rc = rest_parse_body(call->body, call->body_len, false, body, &again);
        if (rc < 0)
                *error = again;
        else if (api->field_validation == API_FIELDS_WARN)
                (void)snprintf(call->body_warning, sizeof(call->body_warning), "%s", error->message);
        return rc;
}

/* Parses what was sent; *body stays NULL where nothing was. */
int handle_read_body(struct api_call *call, json_t **body)
{
        struct api_request *api = &call->rest.api;
        struct rest_error error = {.kind = api->kind};
        bool deletes = api->verb == API_DELETE || api->verb == API_DELETE_COLLECTION;
        int rc = 0;

        if (!takes_body(api) && !deletes)
                return 0;
        if (call->body_len > 0) {
                rc = parse_body(call, body, &error);
        } else if (takes_body(api)) {
                rest_error_set(&error, 400, "BadRequest", "the request has no body");
                rc = -EINVAL;
        }
        if (rc == 0 && strcmp(api->subresource, "eviction") == 0)
                api->dry_run = api->dry_run || body_says_dry_run(json_object_get(*body, "deleteOptions"));
        if (rc < 0)
                api_call_fail_as(call, &error);
        else if (deletes) {
                api->dry_run = api->dry_run || body_says_dry_run(*body);
                rc = delete_options(&call->rest, body);
        }
        return rc;
}

/* What a node asks about is, or is selected to be, on that node. */
static bool on_own_node(struct api_call *call)
{
        const struct rest_request *r = &call->rest;
        struct api_request get = r->api;
        struct api_result found = {0};
        char message[1024];
        bool own;

        get.verb = API_GET;
        get.subresource = "";
        if (*get.name && api_core_handle(call->server->core, &get, &found) < 0)
                return false;
        own = auth_of_own_node(call->server->core, &call->user, r, found.code == 200 ? found.object : NULL);
        api_result_deinit(&found);
        if (own)
                return true;
        auth_refusal(&call->user, r, message, sizeof(message));
        (void)snprintf(
            message + strlen(message), sizeof(message) - strlen(message),
            ": a node may only see what is bound to it (list with fieldSelector=spec.nodeName=%.253s)%s",
            access_node_name(&call->user),
            strcmp(r->api.kind->plural, "ports") == 0
                ? ", and ports of the VPCs that it has ports of (fieldSelector=status.vpcID in (…))"
                : "");
        api_call_fail(call, 403, "Forbidden", message);
        return false;
}

static bool allowed(struct api_call *call, const json_t *body)
{
        const struct api_request *api = &call->rest.api;
        const char *name =
            api->verb == API_CREATE && !*api->name && body ? api_object_meta(body, "name") : api->name;
        struct auth_files *files = call->server->auth_files;
        uint64_t now = ak_clock_monotonic_us();
        char message[1024];

        if (!auth_allowed(auth_files_get(files, now), &call->user, &call->rest, name) &&
            !auth_allowed(auth_files_fresh(files, now), &call->user, &call->rest, name)) {
                auth_refusal(&call->user, &call->rest, message, sizeof(message));
                api_call_fail(call, 403, "Forbidden", message);
                return false;
        }
        return !auth_bound_to_node(&call->user, &call->rest) || on_own_node(call);
}

static bool choose_form(struct api_call *call, enum rest_form *form)
{
        unsigned int offers = 1U << REST_FORM_JSON | 1U << REST_FORM_TABLE;

        if (rest_accept(call->accept, offers, form) == 0)
                return true;
        api_call_fail(
            call, 406, "NotAcceptable",
            "only application/json, plain or as a Table, can be produced, and the Accept header allows "
            "neither");
        return false;
}

static void note_object(struct api_call *call, const json_t *object)
{
        free(call->object_name);
        call->object_name = strdup(api_object_meta(object, "name"));
        call->object_version = strdup(api_object_meta(object, "resourceVersion"));
}

static void set_result(struct api_call *call, struct api_result *result, enum rest_form form)
{
        if (result->code < 300 && api_audit_wanted(&call->rest))
                note_object(call, result->object);
        if (result->code < 300)
                handle_set_objects(call, result, form);
        else
                handle_set_json(call, result->code, result->object);
        call->warnings = AK_STEAL(result->warnings);
        call->warning_count = result->warning_count;
        result->warning_count = 0;
}

static bool is_pod(const struct api_kind *kind)
{
        return kind && !*kind->group && strcmp(kind->kind, "Pod") == 0;
}

/* A trace of its own for a write of a pod, below the client's where it has one. */
static void begin_trace(struct api_call *call)
{
        struct api_request *api = &call->rest.api;
        struct ak_trace trace = {0};
        uint8_t random[24];

        api->traceparent = NULL;
        if (!is_pod(api->kind) || api->verb == API_GET || api->verb == API_LIST ||
            getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return;
        ak_trace_new(random, &trace);
        if (call->traceparent) {
                struct ak_trace clients;

                if (ak_trace_parse(call->traceparent, &clients) == 0) {
                        memcpy(trace.id, clients.id, sizeof(trace.id));
                        memcpy(call->trace.parent, clients.parent, sizeof(call->trace.parent));
                        trace.sampled = clients.sampled;
                }
        }
        ak_trace_format(&trace, call->trace.traceparent);
        api->traceparent = call->trace.traceparent;
}

/* Which pod has it now, if any: a write that changed no wish left no trace. */
static void note_trace(struct api_call *call, const struct api_result *result)
{
        for (size_t i = 0; call->rest.api.traceparent && i < result->change_count; i++) {
                const struct api_change *c = &result->changes[i];
                const json_t *meta = json_object_get(c->object, "metadata");
                const char *trace = json_string_value(
                    json_object_get(json_object_get(meta, "annotations"), API_TRACE_ANNOTATION));

                if (is_pod(c->kind) && trace && strcmp(trace, call->trace.traceparent) == 0)
                        (void)snprintf(call->trace.pod, sizeof(call->trace.pod), "%s",
                                       api_object_meta(c->object, "uid"));
        }
}

static void handle_objects(struct api_call *call)
{
        const struct api_history history = {.after = api_hub_after, .arg = call->server->hub};
        struct api_request *api = &call->rest.api;
        struct api_result result = {0};
        enum rest_form form = REST_FORM_JSON;
        json_t *body = NULL;

        if (!choose_form(call, &form) || handle_read_body(call, &body) < 0 || !allowed(call, body) ||
            !fresh_enough(call)) {
                json_decref(body);
                return;
        }
        if (api->verb == API_CREATE)
                call->object_name = strdup(api_object_meta(body, "name"));
        api->body = body;
        api->oldest_version = api_hub_oldest(call->server->hub);
        api->images = true;
        api->history = &history;
        begin_trace(call);
        if (api_core_handle(call->server->core, api, &result) < 0) {
                api_call_fail(call, 503, "ServiceUnavailable",
                              "the server is out of memory; try again later");
        } else {
                note_trace(call, &result);
                api_server_take_changes(call->server, &result);
                set_result(call, &result, form);
        }
        api_result_deinit(&result);
        api->body = NULL;
        api->history = NULL;
        json_decref(body);
        call->wait_for = api_commit_pending(call->server->commit);
}

/* ---- watches ---- */

static enum api_event_form event_form(const struct rest_request *r, enum rest_form form)
{
        if (form != REST_FORM_TABLE)
                return API_EVENT_OBJECT;
        if (strcmp(r->include_object, "Object") == 0)
                return API_EVENT_TABLE_OBJECT;
        return strcmp(r->include_object, "None") == 0 ? API_EVENT_TABLE_NONE : API_EVENT_TABLE_METADATA;
}

/* All objects that match, for a watch that begins with them. 0, or -EINVAL with the answer set. */
static int list_initial(struct api_call *call, struct api_watch_options *o)
{
        struct api_request list = call->rest.api;
        struct api_result result = {0};
        int rc = 0;

        list.limit = 0;
        list.continue_token = NULL;
        list.images = true;
        if (api_core_handle(call->server->core, &list, &result) < 0) {
                api_call_fail(call, 503, "ServiceUnavailable",
                              "the server is out of memory; try again later");
                return -EINVAL;
        }
        if (result.code == 200) {
                o->initial = AK_STEAL(result.images);
                o->initial_count = result.image_count;
                result.image_count = 0;
        } else {
                handle_set_json(call, result.code, result.object);
                rc = -EINVAL;
        }
        api_result_deinit(&result);
        return rc;
}

static bool wants_initial(const struct rest_request *r)
{
        if (r->initial_events_set)
                return r->initial_events;
        return r->freshness != REST_NOT_OLDER_THAN;
}

static uint64_t watch_deadline(const struct rest_request *r, uint64_t now_us, uint64_t salt)
{
        uint64_t seconds = r->timeout_seconds ? r->timeout_seconds : WATCH_MIN_S + salt % WATCH_MIN_S;

        return now_us + seconds * 1000 * 1000;
}

static void start_watch(struct api_call *call, struct api_watch_options *o)
{
        char error[256] = "";
        int rc = api_watcher_new(&call->watcher, call->server->hub, o, ak_clock_monotonic_us(), error);

        for (size_t i = 0; rc < 0 && i < o->initial_count; i++)
                (void)api_image_unref(o->initial[i]);
        if (rc < 0)
                free(o->initial);
        if (rc == -EINVAL) {
                api_call_fail(call, 400, "BadRequest", error);
                return;
        }
        if (rc < 0) {
                api_call_fail(call, 503, "ServiceUnavailable",
                              "the server is out of memory; try again later");
                return;
        }
        call->code = 200;
        call->type = rest_form_content_type(REST_FORM_JSON);
        call->wait_for = api_commit_pending(call->server->commit);
}

static void handle_watch(struct api_call *call, void (*wake)(void *arg), void *arg)
{
        const struct rest_request *r = &call->rest;
        struct api_watch_options o = {.kind = r->api.kind,
                                      .name_space = r->api.name_space,
                                      .labels = r->api.label_selector,
                                      .fields = r->api.field_selector,
                                      .bookmarks = r->bookmarks,
                                      .wake = wake,
                                      .arg = arg};
        uint64_t now_us = ak_clock_monotonic_us();
        enum rest_form form;

        if (!choose_form(call, &form) || !allowed(call, NULL) || !fresh_enough(call))
                return;
        o.form = event_form(r, form);
        o.deadline_us = watch_deadline(r, now_us, now_us);
        o.after = r->freshness == REST_NOT_OLDER_THAN ? r->resource_version
                                                      : api_core_resource_version(call->server->core);
        if (wants_initial(r)) {
                o.after = api_core_resource_version(call->server->core);
                o.initial_end = r->initial_events_set;
                if (list_initial(call, &o) < 0)
                        return;
        }
        start_watch(call, &o);
}

/* ---- console ---- */

static bool has_container(const json_t *pod, const char *name)
{
        const json_t *container;
        size_t i;

        json_array_foreach(json_object_get(json_object_get(pod, "spec"), "containers"), i, container)
        {
                const char *other = json_string_value(json_object_get(container, "name"));

                if (other && strcmp(other, name) == 0)
                        return true;
        }
        return false;
}

/* Where the hypervisor service of the pod's node has its consoles. A node's name is no path. */
static char *console_dir(const struct api_options *options, const json_t *pod)
{
        const char *node = json_string_value(json_object_get(json_object_get(pod, "spec"), "nodeName"));
        char *dir = NULL;

        if (options->console_dir && node && node[0] != '.' && !strchr(node, '/') &&
            asprintf(&dir, "%s/%s", options->console_dir, node) >= 0) {
                if (access(dir, X_OK) == 0)
                        return dir;
                free(dir);
        }
        return strdup(options->bus_dir);
}

/* Finds the pod that a console is wanted of, and where that is; without `pod_uid` the answer is set. */
static void find_pod(struct api_call *call)
{
        struct api_request get = call->rest.api;
        struct api_result result = {0};
        char message[600];
        int rc;

        get.verb = API_GET;
        get.subresource = "";
        rc = api_core_handle(call->server->core, &get, &result);
        if (rc == 0 && result.code == 200)
                call->console_dir = console_dir(call->server->options, result.object);
        if (rc < 0 || (result.code == 200 && !call->console_dir)) {
                api_call_fail(call, 503, "ServiceUnavailable",
                              "the server is out of memory; try again later");
        } else if (result.code != 200) {
                handle_set_json(call, result.code, result.object);
        } else if (call->rest.container && !has_container(result.object, call->rest.container)) {
                (void)snprintf(message, sizeof(message), "container %.200s is not valid for pod %.253s",
                               call->rest.container, call->rest.api.name);
                api_call_fail(call, 400, "BadRequest", message);
        } else {
                call->pod_uid = strdup(api_object_meta(result.object, "uid"));
        }
        api_result_deinit(&result);
}

static void handle_attach(struct api_call *call)
{
        const char *error = "";

        if (!allowed(call, NULL))
                return;
        if (websocket_check(&call->upgrade, call->websocket_accept, &call->websocket_protocol, &error) < 0) {
                api_call_fail(call, 400, "BadRequest", error);
                return;
        }
        find_pod(call);
        if (call->pod_uid)
                call->code = 101;
}

static uint64_t log_since(const struct rest_request *r)
{
        uint64_t ago_us;

        if (r->since_seconds < 0)
                return r->since_time_us;
        if (__builtin_mul_overflow((uint64_t)r->since_seconds, UINT64_C(1000000), &ago_us) ||
            ago_us >= r->api.real_us)
                return 0;
        return r->api.real_us - ago_us;
}

static void handle_log(struct api_call *call, void (*wake)(void *arg), void *arg)
{
        const struct rest_request *r = &call->rest;
        struct api_podlog_options o = {.loop = call->server->loop,
                                       .follow = r->follow,
                                       .tail_lines = r->tail_lines,
                                       .limit_bytes = r->limit_bytes,
                                       .timestamps = r->timestamps,
                                       .since_us = log_since(r),
                                       .sessions = &call->server->consoles,
                                       .wake = wake,
                                       .arg = arg};
        int rc;

        if (!allowed(call, NULL))
                return;
        if (r->previous) {
                api_call_fail(call, 400, "BadRequest", "the console of an earlier run of the VM is not kept");
                return;
        }
        find_pod(call);
        if (!call->pod_uid)
                return;
        o.bus_dir = call->console_dir;
        o.pod_uid = call->pod_uid;
        rc = api_podlog_new(&call->podlog, &o);
        if (rc == -EUSERS)
                api_call_fail(call, 429, "TooManyRequests",
                              "too many console sessions are open; try again later");
        else if (rc < 0)
                api_call_fail(call, 503, "ServiceUnavailable",
                              "the server is out of memory; try again later");
        call->deferred = rc == 0;
}

void api_handle_deferred(struct api_call *call)
{
        const char *error = "";
        int state = api_podlog_state(call->podlog, &error);

        if (state == 0)
                return;
        call->deferred = false;
        if (state > 0) {
                call->code = 200;
                call->type = rest_form_content_type(REST_FORM_TEXT);
        } else {
                api_call_fail(call, 500, "InternalError", error);
                call->podlog = api_podlog_free(call->podlog);
        }
}

void api_handle(struct api_call *call, void (*wake)(void *arg), void *arg)
{
        struct rest_request *r = &call->rest;

        r->api.user = call->user;
        r->api.real_us = ak_clock_realtime_us();
        switch (r->target) {
        case REST_OBJECTS:
                handle_objects(call);
                break;
        case REST_WATCH:
                handle_watch(call, wake, arg);
                break;
        case REST_ATTACH:
                handle_attach(call);
                break;
        case REST_REVIEW:
                handle_review(call);
                break;
        case REST_LOG:
                handle_log(call, wake, arg);
                break;
        case REST_METRICS:
                api_metrics_answer(call);
                break;
        default:
                api_docs_answer(call->server->docs, call);
        }
}
