/* SPDX-License-Identifier: Apache-2.0 */
/* What the shell's files share: server.c builds and turns, http.c speaks HTTP, handle.c answers. */
#pragma once

#include <czmq.h>
#include <microhttpd.h>

#include "libcommon/log.h"
#include "libcommon/trace.h"
#include "services/apiserver/audit.h"
#include "services/apiserver/auth.h"
#include "services/apiserver/commit.h"
#include "services/apiserver/core.h"
#include "services/apiserver/pki.h"
#include "services/apiserver/podlog.h"
#include "services/apiserver/rest.h"
#include "services/apiserver/server.h"
#include "services/apiserver/tls.h"
#include "services/apiserver/watch.h"
#include "services/apiserver/websocket.h"

struct api_http;
struct api_docs;
struct api_metrics;
struct ak_telemetry;

struct api_server {
        const struct api_options *options;
        zloop_t *loop;
        struct api_store *store;
        struct api_core *core;
        struct api_commit *commit;
        struct api_hub *hub;
        struct pki pki;
        struct api_tls *tls;
        char url[400]; /* as the kubeconfigs have it */
        struct auth_files *auth_files;
        struct api_audit *audit; /* NULL = off */
        struct api_docs *docs;
        struct api_http *http;
        struct ak_telemetry *telemetry;
        struct api_metrics *metrics;
        size_t consoles; /* sessions open */
        int timer_id;    /* -1 = none */
        uint64_t timer_due_us;
        uint64_t core_due_us; /* real time; 0 = not before the next change */
        bool changed;         /* since the last api_core_tick() */
        bool stopping;
        int exit_code;
};

/* Ends a turn of the loop: time-driven work, the next batch, pending HTTP, the next timer. Every callback of
 * the loop calls it last. */
void api_server_turn(struct api_server *s);
/* Has a turn soon, for callbacks from which a turn could free what they stand on. */
void api_server_kick(struct api_server *s);
/* Takes over the changes of a result. A failure is fatal to the process. */
void api_server_take_changes(struct api_server *s, const struct api_result *result);

/* ---- handle.c ---- */

/* One request, decoded, and its answer. */
struct api_call {
        struct api_server *server;
        /* in */
        struct rest_request rest;
        struct api_user user;
        const char *token; /* the bearer token's SHA-256, hexadecimal; NULL = it was a certificate */
        const char *accept, *content_type;
        struct websocket_request upgrade; /* headers */
        const char *traceparent;          /* header; NULL = none */
        const char *body;
        size_t body_len;
        /* out */
        unsigned int code;
        char *text; /* malloc'd, unless `shared` */
        size_t text_len;
        bool shared;
        const char *type;                   /* Content-Type */
        char body_warning[REST_ERROR_SIZE]; /* one more; "" = none */
        char **warnings;
        size_t warning_count;
        char *object_name, *object_version; /* of what was written, for the audit log; NULL = unknown */
        struct {
                char traceparent[AK_TRACEPARENT_SIZE]; /* of this write; "" = it is no write */
                char parent[AK_SPAN_ID_SIZE];          /* the client's span; "" = none */
                char pod[64];                          /* UID of the pod that has it; "" = none has */
        } trace;
        uint64_t wait_for; /* batch that must be durable first; 0 = none */
        struct api_watcher *watcher;
        struct api_podlog *podlog;
        bool deferred; /* the answer follows: api_handle_deferred() once woken */
        /* kubectl attach: code 101 */
        char *pod_uid, *console_dir;
        char websocket_accept[WEBSOCKET_ACCEPT_SIZE];
        const char *websocket_protocol;
};

void api_handle(struct api_call *call, void (*wake)(void *arg), void *arg);
/* Another look at a deferred answer; `deferred` stays set while there still is none. */
void api_handle_deferred(struct api_call *call);
/* Answers with a Status instead. */
void api_call_fail(struct api_call *call, int code, const char *reason, const char *message);
void api_call_fail_as(struct api_call *call, const struct rest_error *error);
void api_call_deinit(struct api_call *call);

/* ---- docs.c: discovery, OpenAPI, version, health ---- */

int api_docs_new(struct api_docs **out);
struct api_docs *api_docs_free(struct api_docs *docs);
void api_docs_answer(struct api_docs *docs, struct api_call *call);

/* ---- http.c ---- */

int api_http_new(struct api_http **out, struct api_server *server, int listen_fd);
/* Ends all connections; watches end as at a timeout. */
struct api_http *api_http_free(struct api_http *http);
int api_http_poll_fd(const struct api_http *http);
int api_http_hangup_fd(const struct api_http *http);
/* Does what is due without blocking; false when there is more to do at once. */
bool api_http_run(struct api_http *http);
/* Closed connections of waiting streams. */
void api_http_hangups(struct api_http *http);
/* Answers those who waited for this batch or an earlier one. */
void api_http_committed(struct api_http *http, uint64_t batch);
/* Open connections, and writes that wait for the disk. */
void api_http_load(const struct api_http *http, size_t *connections, size_t *waiting);
/* Microseconds until api_http_run() is needed though nothing arrives; UINT64_MAX = never. */
uint64_t api_http_timeout_us(const struct api_http *http);
