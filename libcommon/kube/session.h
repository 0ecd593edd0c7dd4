/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTPS connection pool to one API server, for one thread: requests that block, and transfers that run
 * side by side. What informer.h and client.h are made of; a command-line tool uses it as it is.
 *
 * The environment's proxy variables are ignored: a node talks to its API server directly. Redirects are
 * not followed. Key and certificates reach the TLS library through sealed memory files, never the disk.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "libcommon/kube/kubeconfig.h"

#define AK_KUBE_RESPONSE_MAX (64 * 1024 * 1024)
#define AK_KUBE_TIMEOUT_MS   30000

enum ak_kube_verb {
        AK_KUBE_GET,
        AK_KUBE_CREATE,          /* POST */
        AK_KUBE_UPDATE,          /* PUT */
        AK_KUBE_MERGE_PATCH,     /* application/merge-patch+json */
        AK_KUBE_STRATEGIC_PATCH, /* application/strategic-merge-patch+json */
        AK_KUBE_DELETE,
};

struct ak_kube_request {
        enum ak_kube_verb verb;
        const char *path;    /* "/api/v1/…", with a query where wanted; see ak_kube_path() */
        const json_t *body;  /* NULL = none */
        uint32_t timeout_ms; /* 0 = AK_KUBE_TIMEOUT_MS */
};

struct ak_kube_response {
        int error;         /* 0, or why there is no answer: -ECANCELED, -ECONNREFUSED, -ETIMEDOUT, -EPROTO,
                              -EMSGSIZE, -EIO */
        int status;        /* HTTP status; 0 where there is no answer */
        json_t *body;      /* the answer where it is JSON; of a failure a Status */
        char reason[64];   /* Status.reason, "" where none */
        char message[512]; /* Status.message, or what went wrong below HTTP */
};
void ak_kube_response_deinit(struct ak_kube_response *response);
/* 2xx? */
bool ak_kube_response_ok(const struct ak_kube_response *response);

struct ak_kube_session;

/* 0, -ENOMEM, -EINVAL. Copies what it needs of `config`. */
int ak_kube_session_new(struct ak_kube_session **out, const struct ak_kubeconfig *config,
                        const char *user_agent);
struct ak_kube_session *ak_kube_session_free(struct ak_kube_session *session);
AK_DEFINE_CLEANUP(struct ak_kube_session *, ak_kube_session_free)

/* From any thread: what runs ends with -ECANCELED at once, and so does all that is begun later. */
void ak_kube_session_cancel(struct ak_kube_session *session);
bool ak_kube_session_cancelled(const struct ak_kube_session *session);
/* From any thread: ends a wait in ak_kube_session_step(). */
void ak_kube_session_wake(struct ak_kube_session *session);

/* Blocks until answered. Returns response->error. */
int ak_kube_session_call(struct ak_kube_session *session, const struct ak_kube_request *request,
                         struct ak_kube_response *response);

/* Transfers side by side. `done` runs inside ak_kube_session_step() and takes over the response. */
typedef void (*ak_kube_done_fn)(void *arg, struct ak_kube_response *response);
/* A chunk of the body of a 2xx answer; nonzero (a negative errno) ends the transfer with that error. */
typedef int (*ak_kube_data_fn)(void *arg, const char *data, size_t len);

struct ak_kube_transfer_handler {
        ak_kube_done_fn done;
        ak_kube_data_fn data; /* NULL: the body is collected, parsed and handed to `done` */
        void *arg;
};
int ak_kube_session_start(struct ak_kube_session *session, const struct ak_kube_request *request,
                          const struct ak_kube_transfer_handler *handler);
size_t ak_kube_session_running(const struct ak_kube_session *session);
/* What runs ends with -ECANCELED, in this call; from the session's own thread, outside of its callbacks. */
void ak_kube_session_abort(struct ak_kube_session *session);
/* Moves the transfers on; waits for news at most this long. */
void ak_kube_session_step(struct ak_kube_session *session, int timeout_ms);

/*
 * "/api/v1/namespaces/NS/pods/NAME/status" from its parts; group "" is the core group, the others may be
 * "" or NULL. -EINVAL where a part has a character that no name has; -ENOMEM.
 */
struct ak_kube_ref {
        const char *group, *version, *name_space, *plural, *name, *subresource;
};
int ak_kube_path(const struct ak_kube_ref *ref, char **out);
/* Percent-encodes a query value. NULL when out of memory; free() it. */
char *ak_kube_escape(const char *text);
