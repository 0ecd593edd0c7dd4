/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubectl attach and logs against a console service that is played by a thread here: a ROUTER that echoes
 * what is typed. The client of the WebSocket is wslay over a TLS connection of libcurl's.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wslay/wslay.h>
#include <zmq.h>

#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "proto/console.h"
#include "services/apiserver/podlog.h"
#include "services/apiserver/test_harness.h"
#include "services/apiserver/websocket.h"

#define PODS       "/api/v1/namespaces/default/pods"
#define STAMP      "2026-01-02T03:04:05.000000Z "
#define STAMPED    STAMP "one\r\n" STAMP "two\r\n" STAMP "login: "
#define SCROLLBACK "one\r\ntwo\r\nlogin: "
#define FLOOD      (8 * 1024 * 1024)

/* ---- the service ---- */

struct service {
        void *context, *router;
        pthread_t thread;
        int stop_fd;
        unsigned int opened, closed;
        char asked[100]; /* the last "log" */
};

static void answer(struct service *s, zmq_msg_t *peer, const char *op, const void *data, size_t len)
{
        (void)zmq_send(s->router, zmq_msg_data(peer), zmq_msg_size(peer), ZMQ_SNDMORE);
        (void)zmq_send(s->router, op, strlen(op), ZMQ_SNDMORE);
        (void)zmq_send(s->router, data, len, 0);
}

static void on_data(struct service *s, zmq_msg_t *peer, const char *data, size_t len)
{
        static char block[AK_CONSOLE_MAX_DATA];

        if (len == 1 && data[0] == 4) {
                answer(s, peer, AK_CONSOLE_OP_CLOSED, "the VM was shut off", 19);
        } else if (len == 5 && memcmp(data, "flood", 5) == 0) {
                (void)memset(block, '.', sizeof(block));
                for (size_t i = 0; i < FLOOD / sizeof(block); i++)
                        answer(s, peer, AK_CONSOLE_OP_DATA, block, sizeof(block));
                answer(s, peer, AK_CONSOLE_OP_DATA, "!", 1);
        } else {
                answer(s, peer, AK_CONSOLE_OP_DATA, data, len);
        }
}

/* In pieces that end in the middle of a time and of a line. */
static void on_log(struct service *s, zmq_msg_t *peer, const char *data, size_t len)
{
        (void)snprintf(s->asked, sizeof(s->asked), "%.*s", (int)len, data);
        answer(s, peer, AK_CONSOLE_OP_DATA, STAMPED, 35);
        answer(s, peer, AK_CONSOLE_OP_DATA, &STAMPED[35], strlen(STAMPED) - 38);
        answer(s, peer, AK_CONSOLE_OP_DATA, &STAMPED[strlen(STAMPED) - 3], 3);
        answer(s, peer, AK_CONSOLE_OP_OPENED, "", 0);
}

static void on_message(struct service *s)
{
        zmq_msg_t frame[3];
        size_t n = 0;
        char op[16] = "";

        for (; n < 3; n++) {
                (void)zmq_msg_init(&frame[n]);
                if (zmq_msg_recv(&frame[n], s->router, 0) < 0 || !zmq_msg_more(&frame[n])) {
                        n++;
                        break;
                }
        }
        if (n == 3) {
                const char *data = zmq_msg_data(&frame[2]);
                size_t len = zmq_msg_size(&frame[2]);

                (void)snprintf(op, sizeof(op), "%.*s", (int)zmq_msg_size(&frame[1]),
                               (char *)zmq_msg_data(&frame[1]));
                if (len >= 4 && memcmp(data, "gone", 4) == 0) {
                        answer(s, &frame[0], AK_CONSOLE_OP_ERROR, "no VM of that pod", 17);
                } else if (strcmp(op, "log") == 0) {
                        on_log(s, &frame[0], data, len);
                } else if (strcmp(op, "open") == 0) {
                        __atomic_add_fetch(&s->opened, 1, __ATOMIC_SEQ_CST);
                        answer(s, &frame[0], AK_CONSOLE_OP_OPENED, SCROLLBACK, strlen(SCROLLBACK));
                } else if (strcmp(op, "data") == 0) {
                        on_data(s, &frame[0], data, len);
                } else if (strcmp(op, "close") == 0) {
                        __atomic_add_fetch(&s->closed, 1, __ATOMIC_SEQ_CST);
                }
        }
        while (n > 0)
                (void)zmq_msg_close(&frame[--n]);
}

static void *serve(void *arg)
{
        struct service *s = arg;

        for (;;) {
                zmq_pollitem_t items[] = {{s->router, 0, ZMQ_POLLIN, 0}, {NULL, s->stop_fd, ZMQ_POLLIN, 0}};

                (void)zmq_poll(items, 2, -1);
                if (items[1].revents)
                        return NULL;
                if (items[0].revents)
                        on_message(s);
        }
}

static void service_start(struct service *s, const char *dir)
{
        char endpoint[200];
        int none = 0, linger = 0;

        *s = (struct service){.stop_fd = eventfd(0, EFD_CLOEXEC)};
        (void)mkdir(dir, 0700);
        (void)snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s", dir, AK_CONSOLE_ENDPOINT);
        s->context = zmq_ctx_new();
        s->router = zmq_socket(s->context, ZMQ_ROUTER);
        (void)zmq_setsockopt(s->router, ZMQ_SNDHWM, &none, sizeof(none));
        (void)zmq_setsockopt(s->router, ZMQ_LINGER, &linger, sizeof(linger));
        assert_int_equal(zmq_bind(s->router, endpoint), 0);
        assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void service_stop(struct service *s)
{
        assert_int_equal(eventfd_write(s->stop_fd, 1), 0);
        assert_int_equal(pthread_join(s->thread, NULL), 0);
        (void)zmq_close(s->router);
        (void)zmq_ctx_term(s->context);
        (void)close(s->stop_fd);
}

static void wait_closed(struct service *s, unsigned int count)
{
        for (int i = 0; i < 6000 && __atomic_load_n(&s->closed, __ATOMIC_SEQ_CST) < count; i++)
                (void)poll(NULL, 0, 10);
        assert_int_equal(__atomic_load_n(&s->closed, __ATOMIC_SEQ_CST), count);
}

/* ---- the client ---- */

struct client {
        CURL *curl;
        wslay_event_context_ptr ws;
        char status_line[256];
        char head[2048];
        size_t head_len, head_at; /* what came behind the handshake is read first */
        char out[4096], error[1024];
        size_t out_len, total;
        bool closed, reading, first;
};

static ssize_t client_recv(wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags, void *arg)
{
        struct client *c = arg;
        size_t n = 0;
        CURLcode rc;

        (void)flags;
        if (c->head_at < c->head_len) {
                n = c->head_len - c->head_at < len ? c->head_len - c->head_at : len;
                memcpy(buf, c->head + c->head_at, n);
                c->head_at += n;
                return (ssize_t)n;
        }
        rc = curl_easy_recv(c->curl, buf, len, &n);
        if (rc == CURLE_OK && n > 0)
                return (ssize_t)n;
        wslay_event_set_error(ws, rc == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
        if (rc != CURLE_AGAIN)
                c->closed = true;
        return -1;
}

static ssize_t client_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags, void *arg)
{
        struct client *c = arg;
        size_t n = 0;
        CURLcode rc = curl_easy_send(c->curl, data, len, &n);

        (void)flags;
        if (rc == CURLE_OK)
                return (ssize_t)n;
        wslay_event_set_error(ws, rc == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
}

static int client_mask(wslay_event_context_ptr ws, uint8_t *buf, size_t len, void *arg)
{
        (void)ws;
        (void)arg;
        (void)memset(buf, 0x5a, len);
        return 0;
}

static void client_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
        struct client *c = arg;

        (void)ws;
        if (m->opcode == WSLAY_CONNECTION_CLOSE)
                c->closed = true;
        if (m->opcode != WSLAY_BINARY_FRAME || m->msg_length == 0)
                return;
        if (!c->first) {
                c->first = true;
                assert_int_equal(m->msg_length, 1); /* the channels are there */
        }
        if (m->msg[0] == WEBSOCKET_ERROR)
                (void)snprintf(c->error, sizeof(c->error), "%.*s", (int)m->msg_length - 1,
                               (const char *)m->msg + 1);
        if (m->msg[0] != WEBSOCKET_STDOUT)
                return;
        c->total += m->msg_length - 1;
        for (size_t i = 1; i < m->msg_length; i++) {
                if (c->out_len < sizeof(c->out) - 1)
                        c->out[c->out_len++] = (char)m->msg[i];
        }
        c->out[c->out_len] = '\0';
}

static void wait_fd(struct client *c, int ms)
{
        curl_socket_t fd = -1;
        struct pollfd item = {.events = POLLIN};

        (void)curl_easy_getinfo(c->curl, CURLINFO_ACTIVESOCKET, &fd);
        item.fd = fd;
        (void)poll(&item, 1, ms);
}

static void read_head(struct client *c)
{
        uint64_t deadline_us = ak_clock_monotonic_us() + UINT64_C(120) * 1000 * 1000;
        char *end = NULL;

        while (!end && ak_clock_monotonic_us() < deadline_us && c->head_len < sizeof(c->head) - 1) {
                size_t n = 0;

                if (curl_easy_recv(c->curl, c->head + c->head_len, sizeof(c->head) - 1 - c->head_len, &n) ==
                    CURLE_AGAIN)
                        wait_fd(c, 50);
                c->head_len += n;
                c->head[c->head_len] = '\0';
                end = strstr(c->head, "\r\n\r\n");
                /* A refusal's text belongs to it. */
                if (end && !strstr(c->head, " 101 ") && !strstr(end, "}\n"))
                        end = NULL;
        }
        assert_non_null(end);
        (void)snprintf(c->status_line, sizeof(c->status_line), "%.*s", (int)strcspn(c->head, "\r"), c->head);
        c->head_at = (size_t)(end - c->head) + 4;
}

static void client_open(struct client *c, const struct harness *h, enum harness_user user, const char *path,
                        const char *headers)
{
        const struct wslay_event_callbacks callbacks = {.recv_callback = client_recv,
                                                        .send_callback = client_send,
                                                        .genmask_callback = client_mask,
                                                        .on_msg_recv_callback = client_message};
        char request[1024];
        size_t sent = 0;

        *c = (struct client){.curl = harness_curl(h, user), .reading = true};
        curl_easy_setopt(c->curl, CURLOPT_URL, h->url);
        curl_easy_setopt(c->curl, CURLOPT_CONNECT_ONLY, 1L);
        assert_int_equal(curl_easy_perform(c->curl), CURLE_OK);
        (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
        assert_int_equal(curl_easy_send(c->curl, request, strlen(request), &sent), CURLE_OK);
        assert_int_equal(sent, strlen(request));
        read_head(c);
        assert_int_equal(wslay_event_context_client_init(&c->ws, &callbacks, c), 0);
        wslay_event_config_set_max_recv_msg_length(c->ws, 1 << 20);
}

#define HANDSHAKE(protocols)                                                                                 \
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"             \
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " protocols "\r\n"

static void client_attach(struct client *c, const struct harness *h, const char *pod, const char *protocol)
{
        char path[200], headers[400];

        (void)snprintf(path, sizeof(path), PODS "/%s/attach?stdin=true&stdout=true&tty=true", pod);
        (void)snprintf(headers, sizeof(headers), HANDSHAKE("x, %s"), protocol);
        client_open(c, h, AS_ADMIN, path, headers);
        assert_string_equal(c->status_line, "HTTP/1.1 101 Switching Protocols");
        assert_non_null(strstr(c->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455, section 1.3 */
        assert_non_null(strstr(c->head, protocol));
}

static void client_write(struct client *c, enum websocket_channel channel, const void *data, size_t len)
{
        uint8_t message[5000] = {(uint8_t)channel};
        const struct wslay_event_msg m = {WSLAY_BINARY_FRAME, message, len + 1};

        memcpy(message + 1, data, len);
        assert_int_equal(wslay_event_queue_msg(c->ws, &m), 0);
        while (wslay_event_want_write(c->ws) && wslay_event_send(c->ws) == 0)
                ;
}

static void client_until(struct client *c, const char *text, size_t total)
{
        uint64_t deadline_us = ak_clock_monotonic_us() + UINT64_C(120) * 1000 * 1000;

        while (!c->closed && ak_clock_monotonic_us() < deadline_us) {
                if (text && strstr(c->out, text))
                        return;
                if (total && c->total >= total)
                        return;
                (void)wslay_event_recv(c->ws);
                (void)wslay_event_send(c->ws);
                wait_fd(c, 20);
        }
}

static void client_close(struct client *c)
{
        wslay_event_context_free(c->ws);
        curl_easy_cleanup(c->curl);
}

/* ---- tests ---- */

struct fixture {
        struct harness h;
        struct service service;
};

static int setup(void **state)
{
        static struct fixture f;

        harness_init(&f.h);
        *state = &f;
        if (harness_start(&f.h) != 0)
                return -1;
        service_start(&f.service, f.h.options.bus_dir);
        assert_int_equal(
            harness_do(&f.h, "POST", PODS,
                       "{\"metadata\":{\"name\":\"vm\",\"uid\":\"u-1\"},\"spec\":{\"containers\":[{\"name\":"
                       "\"cirros-vm\"}]}}",
                       NULL),
            201);
        assert_int_equal(
            harness_do(&f.h, "POST", PODS, "{\"metadata\":{\"name\":\"gone\",\"uid\":\"gone\"}}", NULL), 201);
        return 0;
}

/* The consoles of node "node1" have a directory of their own; nothing is in the bus directory. */
static int setup_nodes(void **state)
{
        static struct fixture f;
        char node[300];

        harness_init(&f.h);
        *state = &f;
        assert_true(asprintf(&f.h.options.console_dir, "%s/consoles", f.h.dir) > 0);
        (void)mkdir(f.h.options.console_dir, 0700);
        (void)snprintf(node, sizeof(node), "%s/node1", f.h.options.console_dir);
        service_start(&f.service, node);
        if (harness_start(&f.h) != 0)
                return -1;
        assert_int_equal(
            harness_do(&f.h, "POST", PODS,
                       "{\"metadata\":{\"name\":\"vm\",\"uid\":\"u-1\"},\"spec\":{\"nodeName\":\"node1\"}}",
                       NULL),
            201);
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        service_stop(&f->service);
        harness_deinit(&f->h);
        return 0;
}

static void attach_session(struct fixture *f, const char *protocol)
{
        struct client c;

        client_attach(&c, &f->h, "vm", protocol);
        client_until(&c, "login: ", 0);
        assert_non_null(strstr(c.out, SCROLLBACK));
        client_write(&c, WEBSOCKET_STDIN, "hello\r", 6);
        client_until(&c, "hello\r", 0);
        assert_non_null(strstr(c.out, "login: hello\r"));
        client_write(&c, WEBSOCKET_RESIZE, "{\"Width\":80,\"Height\":24}", 24);
        client_write(&c, WEBSOCKET_STDIN, "\x04", 1);
        client_until(&c, NULL, 0);
        assert_true(c.closed);
        assert_non_null(strstr(c.error, "\"status\":\"Success\""));
        client_close(&c);
}

static void test_attach_v5(void **state)
{
        attach_session(*state, "v5.channel.k8s.io");
}

static void test_attach_v4(void **state)
{
        attach_session(*state, "v4.channel.k8s.io");
}

static void test_console_of_a_node(void **state)
{
        struct fixture *f = *state;

        attach_session(f, "v5.channel.k8s.io");
        assert_int_equal(harness_do(&f->h, "GET", PODS "/vm/log", NULL, NULL), 200);
}

/* Closing stdin ends neither the VM nor the output. */
static void test_stdin_close(void **state)
{
        const uint8_t which = WEBSOCKET_STDIN;
        struct fixture *f = *state;
        struct client c;

        client_attach(&c, &f->h, "vm", "v5.channel.k8s.io");
        client_until(&c, "login: ", 0);
        client_write(&c, WEBSOCKET_CLOSE, &which, 1);
        client_write(&c, WEBSOCKET_STDIN, "\x04", 1);
        client_write(&c, WEBSOCKET_STDIN, "typed after the end", 19);
        assert_int_equal(harness_do(&f->h, "GET", "/readyz", NULL, NULL), 200);
        assert_false(c.closed);
        assert_null(strstr(c.out, "typed"));
        client_close(&c);
        wait_closed(&f->service, 1);
}

static void test_attach_errors(void **state)
{
        static const struct {
                const char *path, *headers, *status, *says;
        } cases[] = {
            {PODS "/vm/attach", "", "HTTP/1.1 400 Bad Request", "needs an upgrade"},
            {PODS "/vm/attach", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n", "HTTP/1.1 400 Bad Request",
             "SPDY"},
            {PODS "/vm/attach", HANDSHAKE("channel.k8s.io"), "HTTP/1.1 400 Bad Request", "v5.channel.k8s.io"},
            {PODS "/vm/attach?container=x", HANDSHAKE("v5.channel.k8s.io"), "HTTP/1.1 400 Bad Request",
             "container x"},
            {PODS "/none/attach", HANDSHAKE("v5.channel.k8s.io"), "HTTP/1.1 404 Not Found", "there is none"},
        };
        struct fixture *f = *state;
        struct client c;

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                client_open(&c, &f->h, AS_ADMIN, cases[i].path, cases[i].headers);
                assert_string_equal(c.status_line, cases[i].status);
                assert_non_null(strstr(c.head, cases[i].says));
                client_close(&c);
        }
        client_open(&c, &f->h, AS_NODE, PODS "/vm/attach", HANDSHAKE("v5.channel.k8s.io"));
        assert_string_equal(c.status_line, "HTTP/1.1 403 Forbidden");
        client_close(&c);
        client_open(&c, &f->h, AS_NOBODY, PODS "/vm/attach", HANDSHAKE("v5.channel.k8s.io"));
        assert_string_equal(c.status_line, "HTTP/1.1 401 Unauthorized");
        client_close(&c);
}

static void test_attach_without_vm(void **state)
{
        struct fixture *f = *state;
        struct client c;

        client_attach(&c, &f->h, "gone", "v5.channel.k8s.io");
        client_until(&c, NULL, 0);
        assert_true(c.closed);
        assert_non_null(strstr(c.error, "no VM of that pod"));
        assert_non_null(strstr(c.error, "\"status\":\"Failure\""));
        client_close(&c);
}

/* More than any buffer holds goes through to a client that reads late. */
static void test_flood(void **state)
{
        struct fixture *f = *state;
        struct client c;

        client_attach(&c, &f->h, "vm", "v5.channel.k8s.io");
        client_until(&c, "login: ", 0);
        client_write(&c, WEBSOCKET_STDIN, "flood", 5);
        for (int i = 0; i < 20; i++)
                assert_int_equal(harness_do(&f->h, "GET", "/readyz", NULL, NULL), 200);
        client_until(&c, NULL, strlen(SCROLLBACK) + FLOOD + 1);
        assert_int_equal(c.total, strlen(SCROLLBACK) + FLOOD + 1);
        client_close(&c);
}

static void test_garbage(void **state)
{
        struct fixture *f = *state;
        struct client c;
        size_t sent;

        client_attach(&c, &f->h, "vm", "v4.channel.k8s.io");
        client_write(&c, 77, "x", 1);
        client_until(&c, NULL, 0);
        assert_true(c.closed);
        assert_non_null(strstr(c.error, "unknown channel"));
        client_close(&c);
        client_attach(&c, &f->h, "vm", "v4.channel.k8s.io");
        assert_int_equal(
            curl_easy_send(c.curl, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, &sent), 0);
        client_until(&c, NULL, 0);
        assert_true(c.closed);
        client_close(&c);
        assert_int_equal(harness_do(&f->h, "GET", "/readyz", NULL, NULL), 200);
}

static void test_logs(void **state)
{
        static const struct {
                const char *query, *expected, *asked;
                long code;
        } cases[] = {
            {"", SCROLLBACK, "u-1 -1 0", 200},
            {"?tailLines=2", SCROLLBACK, "u-1 2 0", 200},
            {"?tailLines=0", SCROLLBACK, "u-1 0 0", 200},
            {"?sinceTime=1970-01-01T00:00:09Z&tailLines=1", SCROLLBACK, "u-1 1 9000000", 200},
            {"?limitBytes=4", "one\r", NULL, 200},
            {"?timestamps=true", STAMPED, NULL, 200},
            {"?timestamps=true&limitBytes=30", STAMP "on", NULL, 200},
            {"?container=cirros-vm", SCROLLBACK, NULL, 200},
            {"?container=nginx", NULL, NULL, 400},
            {"?previous=true", NULL, NULL, 400},
            {"?sinceTime=yesterday", NULL, NULL, 400},
            {"?sinceSeconds=0", NULL, NULL, 422},
            {"?sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", NULL, NULL, 422},
            {"?limitBytes=0", NULL, NULL, 422},
        };
        struct fixture *f = *state;
        char path[200];
        struct reply r;

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                (void)snprintf(path, sizeof(path), PODS "/vm/log%s", cases[i].query);
                harness_call(&f->h, NULL, &(struct call){.method = "GET", .path = path}, &r);
                assert_int_equal(r.code, cases[i].code);
                if (cases[i].expected)
                        assert_string_equal(r.text ? r.text : "", cases[i].expected);
                if (cases[i].asked)
                        assert_string_equal(f->service.asked, cases[i].asked);
                reply_deinit(&r);
        }
        harness_call(&f->h, NULL, &(struct call){.method = "GET", .path = PODS "/gone/log"}, &r);
        assert_int_equal(r.code, 500);
        assert_non_null(strstr(r.text, "no VM of that pod"));
        reply_deinit(&r);
        assert_int_equal(harness_do(&f->h, "GET", PODS "/none/log", NULL, NULL), 404);
}

static void test_follow(void **state)
{
        struct fixture *f = *state;
        struct watch w;
        struct client c;

        watch_open(&w, &f->h, AS_ADMIN, PODS "/vm/log?follow=true", NULL);
        for (int i = 0; i < 6000 && w.len < strlen(SCROLLBACK); i++)
                (void)watch_next(&w, 10);
        assert_string_equal(w.text, SCROLLBACK);
        assert_null(watch_next(&w, 200));
        watch_close(&w);
        wait_closed(&f->service, 1); /* the session of a client that left ends */
        client_attach(&c, &f->h, "vm", "v5.channel.k8s.io");
        client_close(&c);
        wait_closed(&f->service, 2);
}

static void test_stop_with_sessions(void **state)
{
        struct fixture *f = *state;
        struct client c;
        struct watch w;

        client_attach(&c, &f->h, "vm", "v5.channel.k8s.io");
        client_until(&c, "login: ", 0);
        watch_open(&w, &f->h, AS_ADMIN, PODS "/vm/log?follow=true", NULL);
        assert_null(watch_next(&w, 500));
        assert_int_equal(harness_stop(&f->h, SIGTERM), 0);
        client_close(&c);
        watch_close(&w);
}

static void test_since_seconds(void **state)
{
        struct fixture *f = *state;
        uint64_t before_us = ak_clock_realtime_us() - UINT64_C(60000000), since_us;

        assert_int_equal(harness_do(&f->h, "GET", PODS "/vm/log?sinceSeconds=60", NULL, NULL), 200);
        assert_memory_equal(f->service.asked, "u-1 -1 ", 7);
        since_us = strtoull(f->service.asked + 7, NULL, 10);
        assert_true(since_us >= before_us && since_us <= ak_clock_realtime_us() - UINT64_C(60000000));
}

static void test_times_taken_off(void **state)
{
        static const struct {
                const char *text, *left;
        } cases[] = {{"", ""},
                     {"t one\nt two", "one\ntwo"},
                     {"t \nt \nt x", "\n\nx"},
                     {"t a b \n", "a b \n"},
                     {"no-blank-at-all", ""}};

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                for (size_t cut = 0; cut <= strlen(cases[i].text); cut++) {
                        char text[32], left[32];
                        bool in_time = true;
                        size_t n, more;

                        (void)snprintf(text, sizeof(text), "%s", cases[i].text);
                        n = api_podlog_strip(text, cut, &in_time);
                        more = api_podlog_strip(text + cut, strlen(cases[i].text) - cut, &in_time);
                        (void)snprintf(left, sizeof(left), "%.*s%.*s", (int)n, text, (int)more, text + cut);
                        assert_string_equal(left, cases[i].left);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_times_taken_off),
            cmocka_unit_test_setup_teardown(test_attach_v5, setup, teardown),
            cmocka_unit_test_setup_teardown(test_attach_v4, setup, teardown),
            cmocka_unit_test_setup_teardown(test_console_of_a_node, setup_nodes, teardown),
            cmocka_unit_test_setup_teardown(test_stdin_close, setup, teardown),
            cmocka_unit_test_setup_teardown(test_attach_errors, setup, teardown),
            cmocka_unit_test_setup_teardown(test_attach_without_vm, setup, teardown),
            cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
            cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
            cmocka_unit_test_setup_teardown(test_logs, setup, teardown),
            cmocka_unit_test_setup_teardown(test_since_seconds, setup, teardown),
            cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
            cmocka_unit_test_setup_teardown(test_stop_with_sessions, setup, teardown),
        };

        (void)curl_global_init(CURL_GLOBAL_ALL);
        return cmocka_run_group_tests_name("apiserver_console", tests, NULL, NULL);
}
