/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/kube/informer.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/kube/cache.h"
#include "libcommon/kube/frame.h"

#define DEFAULT_PAGE_SIZE       500
#define DEFAULT_MAX_OBJECTS     100000
#define DEFAULT_WATCH_TIMEOUT_S 300
#define DEFAULT_BACKOFF_BASE_US 250000
#define DEFAULT_BACKOFF_CAP_US  10000000
#define WATCH_GRACE_S           30 /* past the time that the server was asked to end the watch */
#define DRAIN_AT_ONCE           64
#define VERSION_SIZE            64
#define NOTHING                 "-" /* in place of selectors */

/* What the actor's thread works with. */
struct watcher {
        struct ak_kube_session *session;
        zsock_t *pipe;
        struct ak_kube_cache *cache;
        struct ak_kube_lines lines;
        struct ak_backoff backoff;
        char *path, *selectors; /* selectors: "&fieldSelector=…", encoded */
        _Atomic(char *) wanted; /* the selectors to go on with; set by the reactor, taken by the actor */
        uint32_t page_size, watch_timeout_s, max_line;
        char version[VERSION_SIZE]; /* where the next watch begins; "" = list first */
        bool connected, announced;
        char error[AK_KUBE_ERROR_SIZE];
        bool events_seen; /* during this watch */
        bool response_seen;
        struct ak_kube_response response;
};

struct ak_informer {
        zloop_t *loop;
        zactor_t *zactor;
        struct ak_informer_handler handler;
        struct watcher watcher;
};

/* ---- the actor's thread ---- */

static void tell(struct watcher *w, const char *what, json_t *object, const char *text)
{
        if (zsock_send(w->pipe, "sps", what, object, text) != 0)
                json_decref(object);
}

static void deliver_put(void *arg, json_t *object)
{
        tell(arg, "PUT", object, "");
}

static void deliver_gone(void *arg, json_t *object)
{
        tell(arg, "GONE", object, "");
}

static void set_state(struct watcher *w, bool connected, const char *why)
{
        if (w->announced && w->connected == connected)
                return;
        w->announced = true;
        w->connected = connected;
        tell(w, connected ? "UP" : "DOWN", NULL, why);
}

static int put_item(struct watcher *w, json_t *object)
{
        if (ak_kube_meta(object, "name")[0] == '\0' || ak_kube_meta(object, "uid")[0] == '\0')
                return 0;
        int rc = ak_kube_cache_put(w->cache, object);
        if (rc == -ENOSPC)
                set_state(w, false, "more objects than this client is willing to follow");
        return rc == -ENOSPC ? 0 : rc;
}

/* An item of a list has no apiVersion and kind of its own on most servers; a consumer wants them. */
static void complete_item(const json_t *list, json_t *item)
{
        const char *list_kind = json_string_value(json_object_get(list, "kind"));
        size_t len = list_kind ? strlen(list_kind) : 0;
        if (!json_object_get(item, "apiVersion"))
                (void)json_object_set(item, "apiVersion", json_object_get(list, "apiVersion"));
        if (!json_object_get(item, "kind") && len > 4 && strcmp(list_kind + len - 4, "List") == 0)
                (void)json_object_set_new(item, "kind", json_stringn(list_kind, len - 4));
}

static int call(struct watcher *w, const char *url, struct ak_kube_response *response)
{
        struct ak_kube_request request = {.verb = AK_KUBE_GET, .path = url};
        int rc = ak_kube_session_call(w->session, &request, response);
        if (rc == 0 && !ak_kube_response_ok(response))
                rc = response->status == 410 ? -ESTALE : -EREMOTEIO;
        if (rc < 0)
                (void)snprintf(w->error, sizeof(w->error), "list %s: %.180s", w->path, response->message);
        return rc;
}

static char *list_url(const struct watcher *w, const char *token)
{
        AK_AUTOFREE char *encoded = ak_kube_escape(token);
        char *url = NULL;
        if (!encoded || asprintf(&url, "%s?limit=%u%s%s%s", w->path, w->page_size, w->selectors,
                                 token[0] ? "&continue=" : "", encoded) < 0)
                return NULL;
        return url;
}

/* One page. *token: in: where to go on; out: the next page's, "" at the end. */
static int list_page(struct watcher *w, char **token)
{
        AK_AUTOFREE char *url = list_url(w, *token);
        AK_CLEANUP(ak_kube_response_deinit) struct ak_kube_response response = {0};
        size_t i;
        json_t *item;
        int rc = url ? call(w, url, &response) : -ENOMEM;
        if (rc < 0)
                return rc;
        json_array_foreach(json_object_get(response.body, "items"), i, item)
        {
                complete_item(response.body, item);
                rc = put_item(w, item);
                if (rc < 0)
                        return rc;
        }
        (void)snprintf(w->version, sizeof(w->version), "%s", ak_kube_meta(response.body, "resourceVersion"));
        char *next = strdup(ak_kube_meta(response.body, "continue"));
        if (!next)
                return -ENOMEM;
        free(*token);
        *token = next;
        return 0;
}

static int list(struct watcher *w)
{
        AK_AUTOFREE char *token = strdup("");
        int rc = token ? 0 : -ENOMEM;
        ak_kube_cache_list_begin(w->cache);
        w->version[0] = '\0';
        do {
                rc = rc == 0 ? list_page(w, &token) : rc;
        } while (rc == 0 && token[0] != '\0');
        if (rc == 0 && w->version[0] == '\0') {
                (void)snprintf(w->error, sizeof(w->error), "list %s: no resourceVersion", w->path);
                rc = -EPROTO;
        }
        if (rc < 0) {
                w->version[0] = '\0';
                return rc;
        }
        ak_kube_cache_list_end(w->cache);
        set_state(w, true, "");
        tell(w, "SYNCED", NULL, "");
        return 0;
}

static int apply(struct watcher *w, const struct ak_kube_event *event)
{
        int rc = 0;
        if (event->type == AK_KUBE_ERROR) {
                const char *text = json_string_value(json_object_get(event->object, "message"));
                (void)snprintf(w->error, sizeof(w->error), "watch %s: %.180s", w->path,
                               text ? text : "error");
                return event->code == 410 ? -ESTALE : -EREMOTEIO;
        }
        if (event->type == AK_KUBE_DELETED)
                ak_kube_cache_delete(w->cache, event->object);
        else if (event->type != AK_KUBE_BOOKMARK)
                rc = put_item(w, event->object);
        (void)snprintf(w->version, sizeof(w->version), "%s", ak_kube_meta(event->object, "resourceVersion"));
        return rc;
}

static int on_line(void *arg, const char *line, size_t len)
{
        struct watcher *w = arg;
        struct ak_kube_event event;
        w->events_seen = true;
        int rc = ak_kube_event_decode(line, len, &event, w->error);
        if (rc < 0)
                return rc;
        set_state(w, true, "");
        rc = apply(w, &event);
        ak_kube_event_deinit(&event);
        return rc;
}

static int on_data(void *arg, const char *data, size_t len)
{
        struct watcher *w = arg;
        int rc = ak_kube_lines_feed(&w->lines, data, len, on_line, w);
        if (rc == -EMSGSIZE)
                (void)snprintf(w->error, sizeof(w->error), "watch %s: an event of more than %u bytes",
                               w->path, w->max_line);
        return rc;
}

static void on_watch_end(void *arg, struct ak_kube_response *response)
{
        struct watcher *w = arg;
        w->response = *response;
        w->response_seen = true;
}

static char *watch_url(const struct watcher *w)
{
        AK_AUTOFREE char *version = ak_kube_escape(w->version);
        char *url = NULL;
        if (!version ||
            asprintf(&url, "%s?watch=true&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%u%s",
                     w->path, version, w->watch_timeout_s, w->selectors) < 0)
                return NULL;
        return url;
}

static int watch_result(struct watcher *w)
{
        const struct ak_kube_response *r = &w->response;
        if (r->error == 0 && ak_kube_response_ok(r))
                return 0;
        if (w->error[0] == '\0')
                (void)snprintf(w->error, sizeof(w->error), "watch %s: %.180s", w->path, r->message);
        if (r->error != 0)
                return r->error;
        return r->status == 410 ? -ESTALE : -EREMOTEIO;
}

/* 0: the server ended it in good order. -ESTALE: list again. */
static int watch(struct watcher *w)
{
        AK_AUTOFREE char *url = watch_url(w);
        struct ak_kube_request request = {
            .verb = AK_KUBE_GET, .path = url, .timeout_ms = (w->watch_timeout_s + WATCH_GRACE_S) * 1000};
        struct ak_kube_transfer_handler handler = {.done = on_watch_end, .data = on_data, .arg = w};
        w->lines.len = 0;
        w->events_seen = w->response_seen = false;
        w->error[0] = '\0';
        int rc = url ? ak_kube_session_start(w->session, &request, &handler) : -ENOMEM;
        if (rc < 0)
                return rc;
        while (!w->response_seen) {
                ak_kube_session_step(w->session, 60000);
                if (atomic_load(&w->wanted))
                        ak_kube_session_abort(w->session);
        }
        rc = watch_result(w);
        ak_kube_response_deinit(&w->response);
        return rc;
}

static void wait_until(struct watcher *w, uint64_t deadline_us)
{
        for (uint64_t now; !ak_kube_session_cancelled(w->session) && !atomic_load(&w->wanted) &&
                           (now = ak_clock_monotonic_us()) < deadline_us;)
                ak_kube_session_step(w->session, (int)((deadline_us - now) / 1000) + 1);
}

static void take_selectors(struct watcher *w)
{
        char *wanted = atomic_exchange(&w->wanted, NULL);
        if (!wanted)
                return;
        free(w->selectors);
        w->selectors = wanted;
        w->version[0] = '\0';
        ak_backoff_reset(&w->backoff);
}

/* All that was delivered is gone, until something is selected. */
static void rest(struct watcher *w)
{
        ak_kube_cache_list_begin(w->cache);
        ak_kube_cache_list_end(w->cache);
        w->version[0] = '\0';
        tell(w, "SYNCED", NULL, "");
        while (!ak_kube_session_cancelled(w->session) && !atomic_load(&w->wanted))
                ak_kube_session_step(w->session, 60000);
}

static void run_once(struct watcher *w)
{
        take_selectors(w);
        if (strcmp(w->selectors, NOTHING) == 0) {
                rest(w);
                return;
        }
        int rc = w->version[0] == '\0' ? list(w) : 0;
        if (rc == 0)
                rc = watch(w);
        if (atomic_load(&w->wanted))
                return;
        if (w->events_seen || (rc == 0 && w->version[0] != '\0'))
                ak_backoff_reset(&w->backoff);
        if (rc == -ESTALE || rc == -EBADMSG || rc == -EMSGSIZE)
                w->version[0] = '\0';
        if (rc == 0 && w->events_seen)
                return;
        if (rc < 0 && rc != -ESTALE && !ak_kube_session_cancelled(w->session))
                set_state(w, false, w->error);
        wait_until(w, ak_clock_monotonic_us() + ak_backoff_next(&w->backoff));
}

static void actor_main(zsock_t *pipe, void *arg)
{
        struct watcher *w = arg;
        w->pipe = pipe;
        (void)zsock_signal(pipe, 0);
        while (!ak_kube_session_cancelled(w->session))
                run_once(w);
        tell(w, "BYE", NULL, "");
}

/* ---- the reactor's thread ---- */

/* 0, or -EAGAIN where there is nothing to read. */
static int receive(struct ak_informer *informer, char **what, json_t **object, char **text)
{
        return zsock_recv(zactor_sock(informer->zactor), "sps", what, object, text) == 0 ? 0 : -EAGAIN;
}

static void dispatch(const struct ak_informer_handler *h, const char *what, json_t *object, const char *text)
{
        if (strcmp(what, "PUT") == 0)
                h->put(h->arg, object);
        else if (strcmp(what, "GONE") == 0)
                h->gone(h->arg, object);
        else if (strcmp(what, "SYNCED") == 0)
                h->synced(h->arg);
        else if (h->state)
                h->state(h->arg, strcmp(what, "UP") == 0, text);
}

static int on_news(zloop_t *loop AK_UNUSED, zsock_t *reader, void *arg)
{
        struct ak_informer *informer = arg;
        for (int i = 0; i < DRAIN_AT_ONCE && (zsock_events(reader) & ZMQ_POLLIN); i++) {
                AK_AUTOFREE char *what = NULL;
                AK_AUTOFREE char *text = NULL;
                json_t *object = NULL;
                if (receive(informer, &what, &object, &text) < 0)
                        break;
                dispatch(&informer->handler, what, object, text);
                json_decref(object);
        }
        return 0;
}

static char *encode_selectors(const char *fields, const char *labels)
{
        AK_AUTOFREE char *field = ak_kube_escape(fields ? fields : "");
        AK_AUTOFREE char *label = ak_kube_escape(labels ? labels : "");
        char *joined = NULL;
        if (!field || !label)
                return NULL;
        if (asprintf(&joined, "%s%s%s%s", field[0] ? "&fieldSelector=" : "", field,
                     label[0] ? "&labelSelector=" : "", label) < 0)
                return NULL;
        return joined;
}

static uint64_t or_default(uint64_t value, uint64_t def)
{
        return value ? value : def;
}

static int watcher_init(struct watcher *w, const struct ak_kubeconfig *config,
                        const struct ak_informer_options *options)
{
        struct ak_kube_cache_sink sink = {.put = deliver_put, .gone = deliver_gone, .arg = w};
        w->path = strdup(options->path);
        w->selectors = encode_selectors(options->field_selector, options->label_selector);
        if (!w->path || !w->selectors)
                return -ENOMEM;
        w->page_size = (uint32_t)or_default(options->page_size, DEFAULT_PAGE_SIZE);
        w->watch_timeout_s = (uint32_t)or_default(options->watch_timeout_s, DEFAULT_WATCH_TIMEOUT_S);
        w->max_line = (uint32_t)or_default(options->max_line, AK_KUBE_LINE_MAX);
        w->lines.max = w->max_line;
        ak_backoff_init(&w->backoff, or_default(options->backoff_base_us, DEFAULT_BACKOFF_BASE_US),
                        or_default(options->backoff_cap_us, DEFAULT_BACKOFF_CAP_US), options->seed);
        int rc =
            ak_kube_session_new(&w->session, config, options->user_agent ? options->user_agent : "alkaid");
        if (rc == 0)
                rc = ak_kube_cache_new(&w->cache, or_default(options->max_objects, DEFAULT_MAX_OBJECTS),
                                       &sink);
        return rc;
}

int ak_informer_new(struct ak_informer **out, zloop_t *loop, const struct ak_kubeconfig *config,
                    const struct ak_informer_options *options, const struct ak_informer_handler *handler)
{
        AK_CLEANUP(ak_informer_freep) struct ak_informer *informer = calloc(1, sizeof(*informer));
        if (!informer)
                return -ENOMEM;
        informer->loop = loop;
        informer->handler = *handler;
        int rc = watcher_init(&informer->watcher, config, options);
        if (rc < 0)
                return rc;
        informer->zactor = zactor_new(actor_main, &informer->watcher);
        if (!informer->zactor || zloop_reader(loop, zactor_sock(informer->zactor), on_news, informer) != 0)
                return -ENOMEM;
        *out = AK_STEAL(informer);
        return 0;
}

int ak_informer_select(struct ak_informer *informer, const char *field_selector)
{
        struct watcher *w = &informer->watcher;
        char *wanted = field_selector ? encode_selectors(field_selector, NULL) : strdup(NOTHING);
        if (!wanted)
                return -ENOMEM;
        free(atomic_exchange(&w->wanted, wanted));
        ak_kube_session_wake(w->session);
        return 0;
}

/* Reads what the actor still has to say, so that it is never stuck in a send, until it says goodbye. */
static void drain(struct ak_informer *informer)
{
        for (bool bye = false; !bye;) {
                AK_AUTOFREE char *what = NULL;
                AK_AUTOFREE char *text = NULL;
                json_t *object = NULL;
                if (receive(informer, &what, &object, &text) < 0)
                        return;
                bye = strcmp(what, "BYE") == 0;
                json_decref(object);
        }
}

struct ak_informer *ak_informer_free(struct ak_informer *informer)
{
        if (!informer)
                return NULL;
        struct watcher *w = &informer->watcher;
        if (informer->zactor) {
                zloop_reader_end(informer->loop, zactor_sock(informer->zactor));
                ak_kube_session_cancel(w->session);
                drain(informer);
                zactor_destroy(&informer->zactor);
        }
        ak_kube_session_free(w->session);
        ak_kube_cache_free(w->cache);
        ak_kube_lines_deinit(&w->lines);
        free(w->path);
        free(w->selectors);
        free(atomic_load(&w->wanted));
        free(informer);
        return NULL;
}
