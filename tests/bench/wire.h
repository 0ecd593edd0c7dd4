/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a bench that cost little: TLS sessions that are opened once, requests that are bytes
 * already, one epoll set, one recv for whatever has arrived. So that little of what is measured is the one
 * who measures.
 */
#pragma once

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_BUFFER 17408 /* a TLS record and its header */

struct wire;

struct wire_conn {
        struct wire *wire;
        gnutls_session_t tls;
        int fd;
        char raw[WIRE_BUFFER]; /* as it came in */
        size_t raw_len, raw_at;
        /* Called for what was read and decrypted. */
        void (*on_data)(struct wire_conn *conn, const char *data, size_t len);
        void *arg;
        /* The answer being read (wire_on_answer()). */
        char head[4096];
        size_t head_len, body_left;
        bool in_body;
        int code;
        void (*on_answer)(struct wire_conn *conn, int code);
};

#define WIRE_HOST 256
#define WIRE_PORT 8
/* Where the admin.kubeconfig of DIR says that the server is. Negative: standard error says why. */
int wire_find_server(const char *pki_dir, char host[WIRE_HOST], char port[WIRE_PORT]);

/* Certificates of DIR (ca.crt, admin.crt, admin.key), the server at 127.0.0.1-like HOST and PORT. Exits the
 * process when something is wrong: there is nothing to measure then. */
struct wire *wire_new(const char *pki_dir, const char *host, const char *port);
struct wire *wire_free(struct wire *wire);
/* Connects and shakes hands, then waits for data by itself. Exits the process on failure. */
struct wire_conn *wire_open(struct wire *wire);
struct wire_conn *wire_close(struct wire_conn *conn);
void wire_send(struct wire_conn *conn, const char *text, size_t len);
/* A request with a body of application/TYPE; head and body together at most WIRE_REQUEST bytes. */
#define WIRE_REQUEST 2500
void wire_request(struct wire_conn *conn, const char *method, const char *path, const char *type,
                  const char *body);
/* Reads what has come, for at most so long when nothing has; calls on_data(). */
void wire_poll(struct wire *wire, int timeout_ms);
/* For on_data: finds the ends of answers with a Content-Length and calls on_answer(). */
void wire_on_answer(struct wire_conn *conn, const char *data, size_t len);
