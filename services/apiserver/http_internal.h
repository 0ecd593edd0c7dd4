/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c (connections, bodies, answers) and http_access.c (who asks, limits) share. */
#pragma once

#include <sys/queue.h>

#include "services/apiserver/server_internal.h"

/* A user, while it has connections. */
struct client {
        size_t connections, watches;
};

/* Of one TCP connection. */
struct connection {
        struct auth_identity identity;
        bool identified;       /* tried; identity.verified says with what result */
        struct client *client; /* NULL = not known yet */
        struct MHD_Connection *mhd;
        uint64_t due_us; /* to be cut off then; UINT64_MAX = never (http_deadline.c) */
        TAILQ_ENTRY(connection) in_connections;
};

enum state {
        STATE_NEW,      /* nothing but the URI */
        STATE_BODY,     /* headers seen */
        STATE_WAITING,  /* answered, but for the commit; suspended */
        STATE_DEFERRED, /* to be answered once something comes in; suspended */
        STATE_READY,    /* to be queued */
        STATE_UPGRADED, /* a WebSocket; suspended for libmicrohttpd */
        STATE_OVER,     /* to be closed */
        STATE_QUEUED,
};

struct request {
        struct api_http *http;
        struct MHD_Connection *mhd;
        struct connection *connection;
        struct auth_identity token_identity; /* where a bearer token says who asks */
        char *uri;
        const char *method;
        struct api_call call;
        struct api_attach *attach;
        enum state state;
        bool refused; /* the answer is there already; the body is read and dropped */
        bool suspended, hung_up, watched_fd, tracked;
        char *body;
        size_t body_len, body_size;
        uint64_t seen;      /* bytes of body, kept or not */
        size_t answer_size; /* of an answer that is on its way and nobody else's */
        uint64_t started_us;
        bool watch_counted;
        struct request *next_waiting;
        struct request *prev, *next; /* streams */
        /* A watch whose head is out (http_stream.c). */
        bool direct, queued, blocked, over;
        uint64_t blocked_us;
        TAILQ_ENTRY(request) in_queue;
};

#define HTTP_HANDSHAKE_S  20 /* until a connection has shown who it is */
#define HTTP_HANDSHAKE_US (UINT64_C(1000000) * HTTP_HANDSHAKE_S)
#define HTTP_BLOCK        16000 /* of a stream's bytes: with its frame less than a TLS record */

struct api_http {
        struct api_server *server;
        struct MHD_Daemon *daemon;
        int hangup_fd;
        size_t bodies;  /* bytes being received … */
        size_t answers; /* … and being sent */
        TAILQ_HEAD(connections, connection) connections;
        uint64_t look_us;                       /* the nearest of their deadlines, or earlier */
        struct request *waiting, **waiting_end; /* for a commit, in order of their batch */
        size_t waiting_count;
        zhashx_t *clients; /* user name -> struct client */
        struct request *streams;
        TAILQ_HEAD(request_queue, request) queue; /* watches with something to send */
        size_t blocked;                           /* of which the client does not read */
        uint64_t blocked_look_us;
        char block[HTTP_BLOCK + 16];
        struct ak_ratelimit noise;
        bool stopping;
        bool resumed; /* libmicrohttpd takes note of a resumed connection in its next run only */
};

const char *http_header(struct request *r, const char *name);
/* The request is answered with a Status; its body is read and dropped. */
void http_refuse(struct request *r, int code, const char *reason, const char *message);
/* Decodes the request line, finds out who asks, refuses what may not be or is too much. */
void http_begin(struct request *r);
void http_request_gone(struct request *r);
void http_connection_gone(struct api_http *http, struct connection *c);
int http_clients_init(struct api_http *http);
/* The client's address as text; "" where it cannot be told. */
void http_address(struct request *r, char out[64]);

/* ---- http_deadline.c ---- */

void http_deadline_begin(struct api_http *http, struct connection *c, struct MHD_Connection *mhd);
void http_deadline_end(struct api_http *http, struct connection *c);
/* In place of the former one. */
void http_deadline_set(struct api_http *http, struct connection *c, uint64_t in_us);
void http_deadline_clear(struct connection *c);
void http_deadlines_run(struct api_http *http, uint64_t now_us);

/* ---- http.c, for http_stream.c ---- */

int http_connection_fd(struct request *r);
/* Back into libmicrohttpd's hands. */
void http_resume(struct request *r);
/* Hears of the client's hang-up, and once that it reads again where `writable` is set. */
void http_watch_hangup(struct request *r, bool writable);

/* ---- http_stream.c ---- */

/* The head is out: from now on the watch is served here. The caller suspends the connection. */
void http_stream_take(struct request *r);
/* There may be something to send. */
void http_stream_queue(struct request *r);
/* Serves some of those that have something to send; false when there are more. */
bool http_streams_run(struct api_http *http);
void http_stream_gone(struct request *r);
/* Monotonic; when http_streams_run() has to look at clients that do not read, UINT64_MAX = never. */
uint64_t http_streams_due_us(const struct api_http *http);
