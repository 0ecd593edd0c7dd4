/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests to responses: what api_handle() makes of some requests one after the other, over the real
 * core with its objects in memory and nothing behind it. The input is text as on the wire, with plain line
 * ends:
 *
 *   METHOD URI
 *   Header: value          Accept, Content-Type and those of a WebSocket; User: admin, node, view, edit
 *
 *   body
 *   ----                   and the next request
 *
 * Whatever comes, an answer comes back; a refusal is a Status of its own code and changes nothing, nor does a
 * read; JSON is JSON. What a request would wait for (the disk, a console) is not here.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/apiserver/metrics.h"
#include "services/apiserver/server_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_REQUESTS 16
#define SEPARATOR    "\n----\n"

struct headers {
        const char *user, *accept, *content_type;
        struct websocket_request upgrade;
};

/* ---- in the place of the parts behind ---- */

/* The commit: everything is durable at once. */
void api_server_take_changes(struct api_server *s, const struct api_result *result)
{
        for (size_t i = 0; i < result->change_count; i++) {
                struct api_event *event = api_event_new(&result->changes[i]);

                if (!event)
                        abort();
                api_hub_stage(s->hub, event);
                (void)api_event_unref(event);
        }
        api_hub_publish(s->hub, result->change_count);
}

uint64_t api_commit_pending(const struct api_commit *commit)
{
        (void)commit;
        return 0;
}

/* The files of the PKI directory. */
const struct access *auth_files_get(struct auth_files *files, uint64_t now_us)
{
        static struct access *access;
        char error[ACCESS_ERROR_SIZE];

        (void)files;
        (void)now_us;
        if (!access &&
            access_new(&access,
                       &(struct access_files){.grants = "view user:view *\nedit user:edit default\n"},
                       error) < 0)
                abort();
        return access;
}

const struct access *auth_files_fresh(struct auth_files *files, uint64_t now_us)
{
        return auth_files_get(files, now_us);
}

void api_metrics_answer(struct api_call *call)
{
        api_call_fail(call, 503, "ServiceUnavailable", "there are no metrics here");
}

/* ---- a server ---- */

static void server_init(struct api_server *s)
{
        static const struct api_core_config config = {.seed = 1, .auto_create_vpc = true, .nic_slots = 4};
        static const struct api_hub_config hub = {.history = 8};
        static struct api_docs *docs; /* take long to make, and never change */
        struct api_result started;

        *s = (struct api_server){.docs = docs};
        if ((!docs && api_docs_new(&docs) < 0) || api_core_new(&s->core, &config) < 0 ||
            api_hub_new(&s->hub, &hub) < 0 || api_core_start(s->core, ak_clock_realtime_us(), &started) < 0)
                abort();
        s->docs = docs;
        api_server_take_changes(s, &started);
        api_result_deinit(&started);
}

static void server_deinit(struct api_server *s)
{
        s->core = api_core_free(s->core);
        s->hub = api_hub_free(s->hub);
}

static void set_user(struct api_call *call, const char *name)
{
        static const char *const masters[] = {ACCESS_MASTERS, NULL}, *const nodes[] = {ACCESS_NODES, NULL};
        static const char *const none[] = {NULL};

        if (!name || strcmp(name, "admin") == 0)
                call->user = (struct api_user){"admin", masters};
        else if (strcmp(name, "node") == 0)
                call->user = (struct api_user){ACCESS_NODE_PREFIX "n1", nodes};
        else
                call->user = (struct api_user){name, none};
}

/* ---- requests ---- */

/* Cuts text at the first `end`: what is behind it, NULL when there is none. */
static char *cut(char *text, const char *end)
{
        char *at = text ? strstr(text, end) : NULL;

        if (!at)
                return NULL;
        *at = '\0';
        return at + strlen(end);
}

static void read_headers(char *text, struct headers *out)
{
        const struct {
                const char *name, **value;
        } known[] = {
            {"User", &out->user},
            {"Accept", &out->accept},
            {"Content-Type", &out->content_type},
            {"Connection", &out->upgrade.connection},
            {"Upgrade", &out->upgrade.upgrade},
            {"Sec-WebSocket-Version", &out->upgrade.version},
            {"Sec-WebSocket-Key", &out->upgrade.key},
            {"Sec-WebSocket-Protocol", &out->upgrade.protocols},
        };
        char *line;

        *out = (struct headers){0};
        while ((line = strsep(&text, "\n"))) {
                char *value = cut(line, ": ");

                for (size_t i = 0; value && i < AK_ARRAY_SIZE(known); i++) {
                        if (strcasecmp(line, known[i].name) == 0)
                                *known[i].value = value;
                }
        }
}

static void check_status(const struct api_call *call)
{
        json_t *status = json_loadb(call->text, call->text_len, 0, NULL);
        const char *kind = json_string_value(json_object_get(status, "kind"));

        if (!kind || strcmp(kind, "Status") != 0 ||
            json_integer_value(json_object_get(status, "code")) != (json_int_t)call->code)
                abort();
        json_decref(status);
}

static void check_json(const struct api_call *call)
{
        json_t *json = json_loadb(call->text, call->text_len, 0, NULL);

        if (!json)
                abort();
        json_decref(json);
}

static void read_watch(struct api_call *call)
{
        char text[512];
        ssize_t n;

        while ((n = api_watcher_read(call->watcher, text, sizeof(text), 0, ak_clock_realtime_us())) > 0)
                ;
        if (n < API_WATCH_END)
                abort();
}

static void check(const struct api_server *s, struct api_call *call, uint64_t before)
{
        const struct rest_request *r = &call->rest;
        bool reads = r->target != REST_OBJECTS || r->api.verb == API_GET || r->api.verb == API_LIST;
        uint64_t now = api_core_resource_version(s->core);

        if (now < before || ((reads || call->code >= 400 || r->api.dry_run) && now != before))
                abort();
        if (call->watcher) {
                read_watch(call);
                return;
        }
        if (call->code == 101)
                return;
        if (call->code < 200 || call->code > 599 || !call->text || !call->type)
                abort();
        if (call->code >= 400)
                check_status(call);
        else if (strstr(call->type, "json"))
                check_json(call);
}

static void woken(void *arg)
{
        (void)arg;
}

static void request(struct api_server *s, char *text)
{
        char *body = cut(text, "\n\n"), *head = cut(text, "\n"), *uri = cut(text, " ");
        struct api_call call = {.server = s};
        uint64_t before = api_core_resource_version(s->core);
        struct rest_error error;
        struct headers headers;

        if (!uri || rest_decode(text, uri, &call.rest, &error) < 0 || call.rest.target == REST_LOG) {
                rest_request_deinit(&call.rest);
                return;
        }
        read_headers(head, &headers);
        set_user(&call, headers.user);
        call.accept = headers.accept;
        call.content_type = headers.content_type;
        call.upgrade = headers.upgrade;
        call.body = body;
        call.body_len = body ? strlen(body) : 0;
        api_handle(&call, woken, NULL);
        check(s, &call, before);
        api_call_deinit(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = strndup((const char *)data, size), *next = text;
        struct api_server server;

        server_init(&server);
        for (int i = 0; next && i < MAX_REQUESTS; i++) {
                char *one = next;
                struct api_result ticked;
                uint64_t due_us;

                next = cut(one, SEPARATOR);
                request(&server, one);
                if (api_core_tick(server.core, ak_clock_realtime_us(), &ticked, &due_us) < 0)
                        abort();
                api_server_take_changes(&server, &ticked);
                api_result_deinit(&ticked);
        }
        server_deinit(&server);
        free(text);
        return 0;
}
