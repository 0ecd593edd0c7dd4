/* SPDX-License-Identifier: Apache-2.0 */
/* A real server in a child process on a free loopback port, and a client for it. For tests. */
#pragma once

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "services/apiserver/server.h"

struct harness {
        char dir[64]; /* state, pki, bus below it */
        char url[128];
        pid_t pid;
        CURL *admin; /* of harness_do(), one connection */
        struct api_options options;
};

/* Makes a directory; options get their defaults for tests. */
void harness_init(struct harness *h);
/* Starts the server; 0 once it listens, else its exit code. */
int harness_start(struct harness *h);
/* Ends it with a signal and returns the exit code, or 128 + the signal that ended it. */
int harness_stop(struct harness *h, int signal);
/* Stops where it runs, removes the directory. */
void harness_deinit(struct harness *h);

/* AS_SERVER: with the server's own certificate, which is none for clients. */
enum harness_user { AS_ADMIN, AS_NODE, AS_SERVER, AS_NOBODY };

struct reply {
        long code; /* 0 = no answer */
        CURLcode curl;
        char *text;
        size_t len;
        char headers[4096];
        json_t *json; /* NULL where it is none */
};
void reply_deinit(struct reply *r);

struct call {
        enum harness_user user;
        const char *method, *path, *body;
        size_t body_len; /* 0 = strlen */
        const char *accept, *content_type;
        long timeout_ms; /* 0 = 2 minutes: the machine may be busy */
};
/* One request on its own connection, unless `curl` (from harness_curl) is given. */
void harness_call(const struct harness *h, CURL *curl, const struct call *call, struct reply *out);
CURL *harness_curl(const struct harness *h, enum harness_user user);
/* Shorthand as administrator; returns the code, and the text in *text where not NULL (freed by the caller).
 */
long harness_do(struct harness *h, const char *method, const char *path, const char *body, char **text);

/* A watch that is read line by line in the background of the caller's own turns. */
struct watch {
        CURLM *multi;
        CURL *easy;
        char *text;
        size_t len, at, size;
        char url[512];
        bool paused;
};
/* Returns once the server has answered 200. */
void watch_open(struct watch *w, const struct harness *h, enum harness_user user, const char *path,
                const char *accept);
/* The next line as JSON; NULL when the stream ended or nothing came in time. */
json_t *watch_next(struct watch *w, long timeout_ms);
void watch_close(struct watch *w);
/* type and metadata.name of an event, "ADDED a"; static buffer. */
const char *watch_say(struct watch *w);
