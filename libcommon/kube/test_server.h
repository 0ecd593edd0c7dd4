/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted HTTP server for the tests of the API client: what it answers, and when, is said line by line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct server_tls {
        char *ca, *cert, *key, *client_cert, *client_key; /* PEM */
};
/* A CA, a server for 127.0.0.1 and a client, all made anew. */
void server_tls_make(struct server_tls *tls);
void server_tls_free(struct server_tls *tls);

struct server;
/* Listens on a free port of 127.0.0.1. tls NULL = plain. */
struct server *server_new(const struct server_tls *tls);
void server_free(struct server *s);
/* "http://127.0.0.1:PORT"; lives as long as the server. */
const char *server_url(const struct server *s);

/* The answers to requests that are no watch, in turn; the last one is given for ever. */
void server_answer(struct server *s, int status, const char *body);
/* The next watch is refused with this. */
void server_refuse_watch(struct server *s, int status, const char *body);
/* Bytes for the watch that is open, or for the next. */
void server_push(struct server *s, const char *bytes);
/* Ends the open watch: in good order, or by cutting the connection. */
void server_end_watch(struct server *s, bool cut);
/* Requests that are no watch are held back until released. */
void server_hang(struct server *s, bool hang);

/* What was asked, in the order of arrival: "METHOD /path?query|authorization|content-type|body". NULL = no
 * such.
 */
const char *server_request(struct server *s, size_t n);
size_t server_requests(struct server *s);
size_t server_watches(struct server *s);
size_t server_connections(struct server *s);
