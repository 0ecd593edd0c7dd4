/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/calls.h"

#include <string.h>

struct call {
        struct watcher_calls *calls;
        uint64_t op;
        char text[WATCHER_TEXT_SIZE]; /* why it could not be sent */
};

struct watcher_calls {
        zloop_t *loop;
        struct ak_kube_client *client;
        zlistx_t *pending; /* struct call, owned */
        watcher_answer_fn on_answer;
        void *arg;
};

/* What each kind of call is in HTTP. */
struct route {
        enum ak_kube_verb verb;
        const char *group, *plural, *subresource;
        bool named; /* the name is part of the path */
};

static const struct route routes[] = {
    [WATCHER_CALL_POD_STATUS] = {AK_KUBE_MERGE_PATCH, "", "pods", "status", true},
    [WATCHER_CALL_POD_DELETE] = {AK_KUBE_DELETE, "", "pods", NULL, true},
    [WATCHER_CALL_PORT_STATUS] = {AK_KUBE_MERGE_PATCH, "vpc.alkaid.io", "ports", "status", true},
    [WATCHER_CALL_EVENT_CREATE] = {AK_KUBE_CREATE, "", "events", NULL, false},
    [WATCHER_CALL_EVENT_PATCH] = {AK_KUBE_MERGE_PATCH, "", "events", NULL, true},
    [WATCHER_CALL_NODE_CREATE] = {AK_KUBE_CREATE, "", "nodes", NULL, false},
    [WATCHER_CALL_NODE_GET] = {AK_KUBE_GET, "", "nodes", NULL, true},
    [WATCHER_CALL_NODE_STATUS] = {AK_KUBE_MERGE_PATCH, "", "nodes", "status", true},
};

static enum watcher_outcome outcome_of(const struct ak_kube_response *r)
{
        if (r->error != 0 || r->status == 429 || r->status >= 500)
                return WATCHER_RETRY;
        if (ak_kube_response_ok(r))
                return WATCHER_OK;
        if (r->status == 404)
                return WATCHER_GONE;
        return r->status == 409 ? WATCHER_CONFLICT : WATCHER_FORBIDDEN;
}

static void finish(struct call *call, struct watcher_event *event)
{
        struct watcher_calls *calls = call->calls;

        event->type = WATCHER_EVENT_ANSWER;
        event->op = call->op;
        (void)zlistx_delete(calls->pending, zlistx_find(calls->pending, call));
        calls->on_answer(calls->arg, event);
}

static void on_response(void *arg, const struct ak_kube_response *r)
{
        struct watcher_event event = {.outcome = outcome_of(r)};

        event.object = event.outcome == WATCHER_OK ? r->body : NULL;
        if (event.outcome != WATCHER_OK)
                (void)snprintf(event.text, sizeof(event.text), "%s", r->message);
        finish(arg, &event);
}

static int on_unsent(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct call *call = arg;
        struct watcher_event event = {.outcome = WATCHER_RETRY};

        (void)snprintf(event.text, sizeof(event.text), "%s", call->text);
        finish(call, &event);
        return 0;
}

static void free_call(void **item)
{
        free(*item);
        *item = NULL;
}

int watcher_calls_new(struct watcher_calls **out, zloop_t *loop, const struct ak_kubeconfig *config,
                      watcher_answer_fn on_answer, void *arg)
{
        struct watcher_calls *c = calloc(1, sizeof(*c));
        int r = -ENOMEM;

        if (!c)
                return r;
        *c =
            (struct watcher_calls){.loop = loop, .on_answer = on_answer, .arg = arg, .pending = zlistx_new()};
        if (c->pending) {
                zlistx_set_destructor(c->pending, free_call);
                r = ak_kube_client_new(&c->client, loop, config, "alkaid-watcher/" ALKAID_VERSION);
        }
        if (r < 0) {
                watcher_calls_free(c);
                return r;
        }
        *out = c;
        return 0;
}

struct watcher_calls *watcher_calls_free(struct watcher_calls *c)
{
        if (!c)
                return NULL;
        ak_kube_client_free(c->client);
        zlistx_destroy(&c->pending);
        free(c);
        return NULL;
}

static int send_call(struct watcher_calls *c, const struct watcher_action *a, struct call *call)
{
        const struct route *route = &routes[a->call];
        const struct ak_kube_ref ref = {.group = route->group,
                                        .version = "v1",
                                        .name_space = a->name_space[0] ? a->name_space : NULL,
                                        .plural = route->plural,
                                        .name = route->named ? a->name : NULL,
                                        .subresource = route->subresource};
        AK_AUTOFREE char *path = NULL;
        int r = ak_kube_path(&ref, &path);

        if (r < 0)
                return r;
        const struct ak_kube_request request = {.verb = route->verb, .path = path, .body = a->body};
        return ak_kube_client_submit(c->client, &request, on_response, call);
}

void watcher_calls_submit(struct watcher_calls *c, const struct watcher_action *a)
{
        struct call *call = calloc(1, sizeof(*call));
        int r;

        if (!call)
                abort(); /* a lost answer would block its object for ever; systemd starts us anew */
        *call = (struct call){.calls = c, .op = a->op};
        (void)zlistx_add_end(c->pending, call);
        r = send_call(c, a, call);
        if (r < 0) {
                (void)snprintf(call->text, sizeof(call->text), "cannot be sent: %s", strerror(-r));
                (void)zloop_timer(c->loop, 100, 1, on_unsent, call);
        }
}
