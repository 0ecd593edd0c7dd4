/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS: libmicrohttpd driven by our loop through its epoll descriptor.
 *
 * One request goes so: the request line is decoded at once, the identity is taken from the connection's
 * certificate (once per connection), the body is collected within its bounds, api_handle() makes the answer,
 * and where that depends on a batch that is not durable yet, the connection is suspended until it is. A watch
 * is an answer without an end whose content callback reads the watcher; while there is nothing to read, the
 * connection is suspended too. libmicrohttpd does not look at suspended connections, so a second epoll set
 * watches theirs for the peer's hang-up. What a watch sends goes out beside libmicrohttpd (http_stream.c).
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "libcommon/clock.h"
#include "services/apiserver/attach.h"
#include "services/apiserver/gzip.h"
#include "services/apiserver/http_internal.h"
#include "services/apiserver/metrics.h"

#define CONNECTION_MEMORY                                                                                    \
        (24 * 1024)       /* request line and headers; of every connection, as long as it is there */
#define STREAM_BLOCK 1024 /* libmicrohttpd puts chunks elsewhere */
#define MAX_BODIES   ((size_t)256 << 20) /* all bodies being collected */
#define TLS_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* ---- suspended requests ---- */

static void suspend(struct request *r)
{
        MHD_suspend_connection(r->mhd);
        r->suspended = true;
}

void http_resume(struct request *r)
{
        if (r->suspended) {
                r->suspended = false;
                r->http->resumed = true;
                MHD_resume_connection(r->mhd);
        }
}

int http_connection_fd(struct request *r)
{
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

        return info ? info->connect_fd : -1;
}

/* One-shot, because a hang-up ends the stream anyway; so it is asked for anew after a wait for room. */
void http_watch_hangup(struct request *r, bool writable)
{
        uint32_t events = EPOLLRDHUP | EPOLLONESHOT | (writable ? (uint32_t)EPOLLOUT : 0);
        struct epoll_event event = {.events = events, .data.ptr = r};
        int what = r->watched_fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

        r->watched_fd = epoll_ctl(r->http->hangup_fd, what, http_connection_fd(r), &event) == 0;
}

static void unwatch_hangup(struct request *r)
{
        if (r->watched_fd)
                (void)epoll_ctl(r->http->hangup_fd, EPOLL_CTL_DEL, http_connection_fd(r), NULL);
        r->watched_fd = false;
}

void api_http_hangups(struct api_http *http)
{
        struct epoll_event events[64];
        int n = epoll_wait(http->hangup_fd, events, AK_ARRAY_SIZE(events), 0);

        for (int i = 0; i < n; i++) {
                struct request *r = events[i].data.ptr;

                if (events[i].events == EPOLLOUT) {
                        http_stream_queue(r);
                        continue;
                }
                r->hung_up = true;
                http_resume(r);
        }
}

void api_http_committed(struct api_http *http, uint64_t batch)
{
        struct request *r;

        while ((r = http->waiting) && r->call.wait_for <= batch) {
                http->waiting = r->next_waiting;
                if (!http->waiting)
                        http->waiting_end = &http->waiting;
                http->waiting_count--;
                r->state = STATE_READY;
                http_resume(r);
        }
}

static void wait_for_commit(struct request *r)
{
        struct api_http *http = r->http;

        r->state = STATE_WAITING;
        r->next_waiting = NULL;
        *http->waiting_end = r;
        http->waiting_end = &r->next_waiting;
        http->waiting_count++;
        suspend(r);
}

/* ---- streams ---- */

/* Puts it among those that a clean stop has to wake. */
static void track(struct request *r)
{
        if (r->tracked)
                return;
        r->tracked = true;
        r->next = r->http->streams;
        if (r->next)
                r->next->prev = r;
        r->http->streams = r;
}

static void untrack(struct request *r)
{
        if (!r->tracked)
                return;
        r->tracked = false;
        if (r->prev)
                r->prev->next = r->next;
        else
                r->http->streams = r->next;
        if (r->next)
                r->next->prev = r->prev;
}

/* From a watcher: inside a turn. From a console: outside of one. */
static void on_wake(void *arg)
{
        struct request *r = arg;

        if (r->direct) {
                http_stream_queue(r);
                return;
        }
        http_resume(r);
        if (r->call.podlog)
                api_server_kick(r->http->server);
}

static ssize_t read_source(struct request *r, char *buf, size_t max)
{
        if (r->call.watcher)
                return api_watcher_read(r->call.watcher, buf, max, ak_clock_monotonic_us(),
                                        ak_clock_realtime_us());
        return api_podlog_read(r->call.podlog, buf, max);
}

static ssize_t read_stream(void *arg, uint64_t pos, char *buf, size_t max)
{
        struct request *r = arg;
        ssize_t n;

        (void)pos;
        if (r->hung_up)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (r->http->stopping && r->call.podlog)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (r->call.watcher && !r->over && !r->http->stopping) {
                http_stream_take(r);
                suspend(r);
                return 0;
        }
        n = read_source(r, buf, max);
        if (n < 0)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (n == 0) {
                http_watch_hangup(r, false);
                suspend(r);
        }
        return n;
}

/* ---- answers ---- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
        (void)MHD_add_response_header(response, name, value);
}

/* Warning: 299 - "text"; what has no place in a quoted string is left out. */
static void add_warning(struct MHD_Response *response, const char *text)
{
        char value[512] = "299 - \"";
        size_t len = strlen(value);

        for (; *text && len < sizeof(value) - 3; text++) {
                if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        continue;
                if (*text == '"' || *text == '\\')
                        value[len++] = '\\';
                value[len++] = *text;
        }
        value[len++] = '"';
        value[len] = '\0';
        add_header(response, "Warning", value);
}

static void audit_request(struct request *r, uint64_t took_us)
{
        const struct api_call *call = &r->call;
        char from[64];

        if (!r->http->server->audit || !api_audit_wanted(&call->rest))
                return;
        http_address(r, from);
        api_audit_write(
            r->http->server->audit,
            &(struct api_audit_entry){.request = &call->rest,
                                      .user = &call->user,
                                      .from = from,
                                      .path = call->rest.path,
                                      .name = *call->rest.api.name ? call->rest.api.name : call->object_name,
                                      .version = call->object_version,
                                      .code = call->code,
                                      .took_us = took_us,
                                      .real_us = ak_clock_realtime_us()});
}

static void log_request(struct request *r)
{
        uint64_t took_us = ak_clock_monotonic_us() - r->started_us;
        const struct api_kind *kind = r->call.rest.api.kind;
        /* Every node's every ten seconds. */
        bool beats = kind && strcmp(kind->plural, "leases") == 0 && r->call.code < 400;
        bool reads = strcmp(r->method, "GET") == 0 || beats;

        ak_log(r->call.code >= 500 ? AK_LOG_WARN
               : reads             ? AK_LOG_DEBUG
                                   : AK_LOG_INFO,
               "request", "method", r->method, "path", r->uri, "user", r->call.user.name, "code",
               AK_FMT("%u", r->call.code), "us", AK_FMT("%llu", (unsigned long long)took_us), NULL);
        audit_request(r, took_us);
        api_metrics_request(r->http->server->metrics, &r->call, took_us);
}

/* ---- upgrades ---- */

/*
 * libmicrohttpd's own upgrade passes TLS connections through a socket pair and a buffer of what is left of
 * the connection's memory, which after a request's headers is a few bytes. So a WebSocket is made in another
 * way: the connection is suspended for good, which takes it out of libmicrohttpd's hands, and attach.c works
 * with its TLS session. At the end the connection is resumed to be closed.
 */
static void on_attach_closed(void *arg)
{
        struct request *r = arg;

        r->attach = NULL;
        r->state = STATE_OVER;
        http_resume(r);
        api_server_kick(r->http->server);
}

static int answer_upgrade(struct request *r, void *tls)
{
        char text[512];
        int len = snprintf(text, sizeof(text),
                           "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                           r->call.websocket_accept, r->call.websocket_protocol);

        /* The first bytes of an answer always fit into the socket's buffer. */
        return gnutls_record_send(tls, text, (size_t)len) == len ? 0 : -EIO;
}

static enum MHD_Result upgrade(struct request *r)
{
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        struct api_call *call = &r->call;
        struct api_attach_options o = {.loop = call->server->loop,
                                       .bus_dir = call->console_dir,
                                       .pod_uid = call->pod_uid,
                                       .pod_name = call->rest.api.name,
                                       .v5 = strncmp(call->websocket_protocol, "v5", 2) == 0,
                                       .stdin_ = call->rest.stdin_,
                                       .stdout_ = call->rest.stdout_,
                                       .sessions = &call->server->consoles,
                                       .closed = on_attach_closed,
                                       .arg = r};
        int one = 1;

        (void)setsockopt(http_connection_fd(r), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (!info || answer_upgrade(r, info->tls_session) < 0 ||
            api_attach_new(&r->attach, &o, info->tls_session, http_connection_fd(r)) < 0)
                return MHD_NO;
        log_request(r);
        r->state = STATE_UPGRADED;
        track(r);
        suspend(r);
        return MHD_YES;
}

/* Packs a large answer where the client can unpack it; as it is where memory is short. */
static bool pack(struct request *r)
{
        struct api_call *call = &r->call;
        char *packed = NULL;
        size_t len = 0;

        if (!call->text || call->text_len < GZIP_MIN_SIZE ||
            !gzip_accepted(http_header(r, MHD_HTTP_HEADER_ACCEPT_ENCODING)) ||
            gzip_pack(call->text, call->text_len, &packed, &len) < 0)
                return false;
        if (!call->shared)
                free(call->text);
        call->text = packed;
        call->text_len = len;
        call->shared = false;
        return true;
}

static struct MHD_Response *make_response(struct request *r)
{
        struct api_call *call = &r->call;

        if (call->watcher || call->podlog)
                return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, r,
                                                         NULL);
        if (call->shared)
                return MHD_create_response_from_buffer(call->text_len, call->text, MHD_RESPMEM_PERSISTENT);
        return MHD_create_response_from_buffer(call->text_len, AK_STEAL(call->text), MHD_RESPMEM_MUST_FREE);
}

static void add_headers(struct MHD_Response *response, const struct request *r)
{
        const struct api_call *call = &r->call;

        if (call->type)
                add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, call->type);
        add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache, private");
        add_header(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
        if (call->code == 429 || call->code == 503 || call->code == 504)
                add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        if (call->code == 401)
                add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"alkaid\"");
        if (call->code == 405)
                add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, POST, PUT, PATCH, DELETE");
        if (call->body_warning[0])
                add_warning(response, call->body_warning);
        for (size_t i = 0; i < call->warning_count; i++)
                add_warning(response, call->warnings[i]);
}

/* A stream has no end to wait for; an answer has to be read in time, and is counted until then. */
static void bound_answer(struct request *r)
{
        const struct api_call *call = &r->call;

        if (call->watcher || call->podlog)
                return;
        r->answer_size = call->shared ? 0 : call->text_len;
        r->http->answers += r->answer_size;
        http_deadline_set(r->http, r->connection, r->http->server->options->request_timeout_us);
}

static enum MHD_Result queue_answer(struct request *r)
{
        bool packed = pack(r);
        struct MHD_Response *response = make_response(r);
        enum MHD_Result result;

        if (!response)
                return MHD_NO;
        bound_answer(r);
        add_headers(response, r);
        if (packed)
                add_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
        log_request(r);
        r->state = STATE_QUEUED;
        if (r->call.watcher || r->call.podlog)
                track(r);
        result = MHD_queue_response(r->mhd, r->call.code, response);
        MHD_destroy_response(response);
        return result;
}

/* ---- requests ---- */

static void refuse_too_large(struct request *r)
{
        char message[128];

        if (r->refused)
                return;
        (void)snprintf(message, sizeof(message), "the request's body is too large: the limit is %llu bytes",
                       (unsigned long long)r->http->server->options->max_body);
        http_refuse(r, 413, "RequestEntityTooLarge", message);
}

static uint64_t content_length(struct request *r)
{
        const char *text = http_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);

        return text ? strtoull(text, NULL, 10) : 0;
}

static enum MHD_Result on_headers(struct request *r)
{
        uint64_t limit = r->http->server->options->max_body;
        uint64_t length = content_length(r);

        r->started_us = ak_clock_monotonic_us();
        r->state = STATE_BODY;
        http_begin(r);
        if (length > limit)
                refuse_too_large(r);
        /* A body of a bearable size is read and dropped, so that the client gets to read the answer. */
        return length > 4 * limit ? queue_answer(r) : MHD_YES;
}

static bool grow_body(struct request *r, size_t needed)
{
        size_t size = r->body_size ? r->body_size : 4096;
        char *body;

        while (size < needed)
                size *= 2;
        if (size == r->body_size)
                return true;
        if (r->http->bodies + size - r->body_size > MAX_BODIES)
                return false;
        body = realloc(r->body, size);
        if (!body)
                return false;
        r->http->bodies += size - r->body_size;
        r->body = body;
        r->body_size = size;
        return true;
}

static void drop_body(struct request *r)
{
        r->http->bodies -= r->body_size;
        free(AK_STEAL(r->body));
        r->body_len = r->body_size = 0;
}

static enum MHD_Result on_data(struct request *r, const char *data, size_t *size)
{
        uint64_t limit = r->http->server->options->max_body;
        size_t n = *size;

        *size = 0;
        r->seen += n;
        if (r->seen > 4 * limit)
                return MHD_NO;
        if (r->seen > limit)
                refuse_too_large(r);
        if (r->refused)
                return MHD_YES;
        if (!grow_body(r, r->body_len + n)) {
                http_refuse(r, 429, "TooManyRequests", "too many large requests at once; try again");
                drop_body(r);
                return MHD_YES;
        }
        memcpy(r->body + r->body_len, data, n);
        r->body_len += n;
        return MHD_YES;
}

static void handle(struct request *r)
{
        struct api_call *call = &r->call;

        call->accept = http_header(r, MHD_HTTP_HEADER_ACCEPT);
        call->content_type = http_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
        call->traceparent = http_header(r, "traceparent");
        call->upgrade = (struct websocket_request){.connection = http_header(r, MHD_HTTP_HEADER_CONNECTION),
                                                   .upgrade = http_header(r, MHD_HTTP_HEADER_UPGRADE),
                                                   .version = http_header(r, "Sec-WebSocket-Version"),
                                                   .key = http_header(r, "Sec-WebSocket-Key"),
                                                   .protocols = http_header(r, "Sec-WebSocket-Protocol")};
        call->body = r->body;
        call->body_len = r->body_len;
        api_handle(call, on_wake, r);
        drop_body(r);
}

static enum MHD_Result on_complete(struct request *r)
{
        http_deadline_clear(r->connection);
        /* The parts behind are being taken down while the last answers leave. */
        if (r->http->stopping && !r->refused)
                http_refuse(r, 503, "ServiceUnavailable", "the server is stopping");
        if (!r->refused)
                handle(r);
        if (r->call.code == 101)
                return upgrade(r);
        if (r->call.deferred) {
                r->state = STATE_DEFERRED;
                track(r);
                http_watch_hangup(r, false);
                suspend(r);
                return MHD_YES;
        }
        if (r->call.wait_for) {
                wait_for_commit(r);
                return MHD_YES;
        }
        return queue_answer(r);
}

/* Woken while the answer was still out. */
static enum MHD_Result on_deferred(struct request *r)
{
        if (r->hung_up || r->http->stopping)
                return MHD_NO;
        api_handle_deferred(&r->call);
        if (!r->call.deferred)
                return queue_answer(r);
        suspend(r);
        return MHD_YES;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *data, size_t *data_size, void **context)
{
        struct request *r = *context;

        (void)arg;
        (void)mhd;
        (void)url;
        (void)version;
        if (!r)
                return MHD_NO;
        r->method = method;
        switch (r->state) {
        case STATE_NEW:
                return on_headers(r);
        case STATE_BODY:
                return *data_size > 0 ? on_data(r, data, data_size) : on_complete(r);
        case STATE_DEFERRED:
                return on_deferred(r);
        case STATE_READY:
                return queue_answer(r);
        case STATE_OVER:
                return MHD_NO;
        default:
                return MHD_YES;
        }
}

/* The first that is heard of a request; its result is *context above. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *mhd)
{
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct api_http *http = arg;
        struct request *r;

        if (!info || !info->socket_context)
                return NULL;
        r = calloc(1, sizeof(*r));
        if (!r)
                return NULL;
        r->http = http;
        r->mhd = mhd;
        r->connection = info->socket_context;
        r->call.server = http->server;
        http_deadline_set(http, r->connection, http->server->options->request_timeout_us);
        r->uri = strdup(uri);
        if (!r->uri) {
                free(r);
                return NULL;
        }
        return r;
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode reason)
{
        struct request *r = *context;

        (void)arg;
        (void)mhd;
        (void)reason;
        *context = NULL;
        if (!r)
                return;
        http_stream_gone(r);
        unwatch_hangup(r);
        untrack(r);
        drop_body(r);
        r->http->answers -= r->answer_size;
        http_deadline_set(r->http, r->connection,
                          r->http->server->options->idle_timeout_us +
                              r->http->server->options->request_timeout_us);
        http_request_gone(r);
        api_call_deinit(&r->call);
        free(r->uri);
        free(r);
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
        struct connection *c = *context;

        if (what == MHD_CONNECTION_NOTIFY_STARTED) {
                const union MHD_ConnectionInfo *info =
                    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

                if (info)
                        api_tls_adopt(((struct api_http *)arg)->server->tls, info->tls_session);
                c = calloc(1, sizeof(*c));
                if (c)
                        http_deadline_begin(arg, c, mhd);
                *context = c;
        } else if (c) {
                http_deadline_end(arg, c);
                http_connection_gone(arg, c);
                free(c);
                *context = NULL;
        }
}

static AK_PRINTF(2, 0) void on_noise(void *arg, const char *format, va_list ap)
{
        struct api_http *http = arg;
        uint32_t suppressed = 0;
        char text[256];

        if (!ak_ratelimit_pass(&http->noise, ak_clock_monotonic_us(), &suppressed))
                return;
        (void)vsnprintf(text, sizeof(text), format, ap);
        text[strcspn(text, "\n")] = '\0';
        ak_log(AK_LOG_DEBUG, "http_library", "message", text, "suppressed", AK_FMT("%u", suppressed), NULL);
}

/* ---- the daemon ---- */

static struct MHD_Daemon *start_daemon(struct api_http *http, int listen_fd)
{
        const struct api_server *s = http->server;
        struct MHD_OptionItem options[] = {
            {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_noise, http},
            {MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL},
            {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)s->options->max_connections, NULL},
            {MHD_OPTION_CONNECTION_TIMEOUT, HTTP_HANDSHAKE_S, NULL},
            {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
            {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, http},
            {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, http},
            {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_uri, http},
            {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)api_tls_retrieve},
            {MHD_OPTION_HTTPS_MEM_TRUST, 0, s->pki.ca_cert},
            {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITY},
            {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
            {MHD_OPTION_END, 0, NULL},
        };

        return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                                NULL, NULL, on_access, http, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

int api_http_new(struct api_http **out, struct api_server *server, int listen_fd)
{
        struct api_http *http = calloc(1, sizeof(*http));

        if (!http)
                return -ENOMEM;
        http->server = server;
        http->waiting_end = &http->waiting;
        TAILQ_INIT(&http->queue);
        TAILQ_INIT(&http->connections);
        http->look_us = UINT64_MAX;
        http->noise = (struct ak_ratelimit){.interval_us = 10 * 1000 * 1000, .burst = 20};
        http->hangup_fd = epoll_create1(EPOLL_CLOEXEC);
        if (http->hangup_fd >= 0 && http_clients_init(http) == 0)
                http->daemon = start_daemon(http, listen_fd);
        if (!http->daemon) {
                zhashx_destroy(&http->clients);
                if (http->hangup_fd >= 0)
                        (void)close(http->hangup_fd);
                free(http);
                return -EIO;
        }
        *out = http;
        return 0;
}

static size_t connections(const struct api_http *http)
{
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

        return info ? info->num_connections : 0;
}

void api_http_load(const struct api_http *http, size_t *open, size_t *waiting)
{
        *open = connections(http);
        *waiting = http->waiting_count;
}

/* Lets answers that are on their way out leave, for at most this long. */
static void drain(struct api_http *http, uint64_t limit_us)
{
        uint64_t deadline_us = ak_clock_monotonic_us() + limit_us;
        bool idle = api_http_run(http);

        while ((http->streams || !idle) && ak_clock_monotonic_us() < deadline_us) {
                struct pollfd fd = {.fd = api_http_poll_fd(http), .events = POLLIN};

                (void)poll(&fd, 1, idle ? 20 : 0);
                idle = api_http_run(http);
        }
}

struct api_http *api_http_free(struct api_http *http)
{
        if (!http)
                return NULL;
        ak_log(AK_LOG_DEBUG, "http_stop", "connections", AK_FMT("%zu", connections(http)), NULL);
        (void)close(MHD_quiesce_daemon(http->daemon));
        http->stopping = true;
        for (struct request *r = http->streams; r; r = r->next) {
                r->attach = api_attach_free(r->attach);
                if (r->state == STATE_UPGRADED)
                        r->state = STATE_OVER;
                r->hung_up |= r->blocked; /* half of a record is out: nothing more can be said */
                http_resume(r);
        }
        drain(http, 2 * 1000 * 1000);
        MHD_stop_daemon(http->daemon);
        zhashx_destroy(&http->clients);
        (void)close(http->hangup_fd);
        free(http);
        return NULL;
}

int api_http_poll_fd(const struct api_http *http)
{
        return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int api_http_hangup_fd(const struct api_http *http)
{
        return http->hangup_fd;
}

static uint64_t until(uint64_t due_us, uint64_t now_us)
{
        if (due_us == UINT64_MAX)
                return UINT64_MAX;
        return due_us > now_us ? due_us - now_us : 0;
}

uint64_t api_http_timeout_us(const struct api_http *http)
{
        uint64_t now_us = ak_clock_monotonic_us(), due_us = http_streams_due_us(http), wait_us;
        MHD_UNSIGNED_LONG_LONG ms;

        if (http->resumed || !TAILQ_EMPTY(&http->queue))
                return 0;
        wait_us = until(http->look_us < due_us ? http->look_us : due_us, now_us);
        if (MHD_get_timeout(http->daemon, &ms) == MHD_YES && (uint64_t)ms * 1000 < wait_us)
                wait_us = (uint64_t)ms * 1000;
        return wait_us;
}

bool api_http_run(struct api_http *http)
{
        http->resumed = false;
        http_deadlines_run(http, ak_clock_monotonic_us());
        (void)MHD_run(http->daemon);
        return http_streams_run(http) && api_http_timeout_us(http) > 0;
}
