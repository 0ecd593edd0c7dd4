/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wslay frames and unframes; this file moves bytes between it and the console, and bounds what piles up:
 * output that the client does not take pauses the console session, input that the console does not take stops
 * the reading of the socket. At the end the client gets a Status on the error channel, as from a kubelet, and
 * a close frame.
 */
#include "services/apiserver/attach.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <wslay/wslay.h>

#include "libcommon/cleanup.h"
#include "libcommon/log.h"
#include "proto/console.h"
#include "services/apiserver/console.h"
#include "services/apiserver/websocket.h"

#define MAX_MESSAGE  (64 * 1024)  /* from the client */
#define OUTPUT_LIMIT (256 * 1024) /* queued to the client, then the console is paused */
#define PING_MS      20000
#define SILENT_PINGS 3    /* without any byte from the client, then it counts as gone */
#define FINISH_MS    3000 /* to take the last words */

struct api_attach {
        struct api_attach_options options;
        char *pod_name;
        wslay_event_context_ptr ws;
        struct api_console *console;
        gnutls_session_t tls;
        int fd;
        int timer_id;
        int silent;
        uint8_t *input; /* typed, but not yet taken by the console */
        size_t input_len, input_at;
        short polled;      /* events that the loop waits for on fd */
        bool stdin_closed; /* by the client; the session goes on */
        bool finishing;    /* last words are queued, the close frame follows them */
        bool dead;         /* the connection is of no use any more */
        bool send_again;   /* GnuTLS holds a record that did not fit into the socket */
        bool read_again;   /* GnuTLS may hold bytes that the socket does not announce */
        bool heard;        /* since the last ping */
};

static int on_socket(zloop_t *loop, zmq_pollitem_t *item, void *arg);
static int on_finish_timer(zloop_t *loop, int timer_id, void *arg);

/* ---- what the loop waits for ---- */

static void poll_for(struct api_attach *a, short events)
{
        zmq_pollitem_t item = {.fd = a->fd, .events = events};

        if (events == a->polled)
                return;
        if (a->polled)
                zloop_poller_end(a->options.loop, &item);
        a->polled = events;
        if (events && zloop_poller(a->options.loop, &item, on_socket, a) == 0)
                zloop_poller_set_tolerant(a->options.loop, &item);
}

static void replan(struct api_attach *a)
{
        short events = 0;

        /* A writable socket is also a way to be called again at once. */
        if (wslay_event_want_write(a->ws) || a->read_again)
                events |= ZMQ_POLLOUT;
        if (wslay_event_want_read(a->ws) && !a->input)
                events |= ZMQ_POLLIN;
        poll_for(a, events);
        if (a->console)
                api_console_pause(a->console, wslay_event_get_queued_msg_length(a->ws) > OUTPUT_LIMIT);
}

/* ---- wslay's view of the connection ---- */

static ssize_t fail_ws(struct api_attach *a, ssize_t rc)
{
        bool again = rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED;

        a->dead = a->dead || !again;
        wslay_event_set_error(a->ws, again ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
}

static ssize_t on_ws_recv(wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags, void *arg)
{
        struct api_attach *a = arg;
        ssize_t n;

        (void)ws;
        (void)flags;
        if (a->input)
                return fail_ws(a, GNUTLS_E_AGAIN);
        do {
                n = gnutls_record_recv(a->tls, buf, len);
        } while (n == GNUTLS_E_INTERRUPTED);
        if (n <= 0)
                return fail_ws(a, n);
        a->heard = true;
        return n;
}

static ssize_t on_ws_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags, void *arg)
{
        struct api_attach *a = arg;
        ssize_t n;

        (void)ws;
        (void)flags;
        do {
                n = a->send_again ? gnutls_record_send(a->tls, NULL, 0)
                                  : gnutls_record_send(a->tls, data, len);
                a->send_again = n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
        } while (n == GNUTLS_E_INTERRUPTED);
        return n < 0 ? fail_ws(a, n) : n;
}

static void send_channel(struct api_attach *a, enum websocket_channel channel, const void *data, size_t len)
{
        AK_AUTOFREE uint8_t *message = malloc(len + 1);
        const struct wslay_event_msg m = {
            .opcode = WSLAY_BINARY_FRAME, .msg = message, .msg_length = len + 1};

        if (!message) {
                a->dead = true;
                return;
        }
        message[0] = (uint8_t)channel;
        if (len > 0)
                memcpy(message + 1, data, len);
        (void)wslay_event_queue_msg(a->ws, &m);
}

/* ---- the end ---- */

static char *last_status(bool failed, const char *text)
{
        json_t *status = failed ? json_pack("{s:{}, s:s, s:s, s:s, s:i}", "metadata", "status", "Failure",
                                            "message", text, "reason", "InternalError", "code", 500)
                                : json_pack("{s:{}, s:s}", "metadata", "status", "Success");
        char *out = status ? json_dumps(status, JSON_COMPACT) : NULL;

        json_decref(status);
        return out;
}

/* Says why on the error channel and closes; what is queued still goes out. */
static void finish(struct api_attach *a, bool failed, const char *text)
{
        AK_AUTOFREE char *status = last_status(failed, text);

        if (a->finishing)
                return;
        a->finishing = true;
        if (status)
                send_channel(a, WEBSOCKET_ERROR, status, strlen(status));
        if (a->timer_id >= 0)
                (void)zloop_timer_end(a->options.loop, a->timer_id);
        a->timer_id = zloop_timer(a->options.loop, FINISH_MS, 1, on_finish_timer, a);
}

/* The client's own close frame tells that it has read everything before ours. */
static bool is_over(const struct api_attach *a)
{
        return a->dead ||
               (a->finishing && !wslay_event_want_write(a->ws) && wslay_event_get_close_received(a->ws));
}

/* ---- input ---- */

/* Hands typed bytes on; what the console does not take now is kept, and the socket is not read meanwhile. */
static void pass_input(struct api_attach *a)
{
        while (a->input && a->input_at < a->input_len) {
                size_t left = a->input_len - a->input_at;
                size_t n = left < AK_CONSOLE_MAX_DATA ? left : AK_CONSOLE_MAX_DATA;

                if (api_console_write(a->console, a->input + a->input_at, n) < 0)
                        return;
                a->input_at += n;
        }
        /* Reading stopped while there was input, perhaps in the middle of a record. */
        a->read_again = a->read_again || a->input;
        free(AK_STEAL(a->input));
        a->input_len = a->input_at = 0;
}

static void on_typed(struct api_attach *a, const uint8_t *data, size_t len)
{
        uint8_t *input;

        if (!a->options.stdin_ || a->stdin_closed || len == 0)
                return;
        /* One read may hold several messages, so there may be some already. */
        input = realloc(a->input, a->input_len + len);
        if (!input) {
                a->dead = true;
                return;
        }
        memcpy(input + a->input_len, data, len);
        a->input = input;
        a->input_len += len;
}

static void on_ws_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
        struct api_attach *a = arg;
        struct websocket_message message;

        (void)ws;
        if (wslay_is_ctrl_frame(m->opcode)) {
                if (m->opcode == WSLAY_CONNECTION_CLOSE)
                        a->finishing = true; /* wslay has queued the answer */
                return;
        }
        if (websocket_parse(m->msg, m->msg_length, a->options.v5, &message) < 0) {
                finish(a, true, "a message on an unknown channel was received");
                return;
        }
        if (message.channel == WEBSOCKET_STDIN)
                on_typed(a, message.data, message.len);
        else if (message.channel == WEBSOCKET_CLOSE && message.closes == WEBSOCKET_STDIN)
                a->stdin_closed = true;
        /* A serial console has no size, so resizing is not passed on. */
}

/* ---- turns ---- */

static void send_queued(struct api_attach *a)
{
        if (!a->dead && wslay_event_want_write(a->ws) && wslay_event_send(a->ws) != 0)
                a->dead = true;
}

/* After anything that happened: send what can be sent, see whether it is over. The session may be gone then.
 */
static void turn(struct api_attach *a)
{
        const struct api_attach_options options = a->options;

        send_queued(a);
        /* wslay sends control frames first, so the close frame waits until all else has left. */
        if (a->finishing && wslay_event_get_queued_msg_count(a->ws) == 0 &&
            wslay_event_queue_close(a->ws, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
                send_queued(a);
        if (!is_over(a)) {
                replan(a);
                return;
        }
        (void)api_attach_free(a);
        options.closed(options.arg);
}

static int on_socket(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct api_attach *a = arg;

        (void)loop;
        (void)item;
        a->read_again = false;
        if (wslay_event_want_read(a->ws) && wslay_event_recv(a->ws) != 0)
                a->dead = true;
        if (!a->dead && a->console)
                pass_input(a);
        turn(a);
        return 0;
}

static int on_finish_timer(zloop_t *loop, int timer_id, void *arg)
{
        struct api_attach *a = arg;

        (void)loop;
        (void)timer_id;
        a->timer_id = -1;
        a->dead = true;
        turn(a);
        return 0;
}

static int on_ping_timer(zloop_t *loop, int timer_id, void *arg)
{
        struct api_attach *a = arg;
        const struct wslay_event_msg ping = {.opcode = WSLAY_PING};

        (void)timer_id;
        a->silent = a->heard ? 0 : a->silent + 1;
        a->heard = false;
        a->timer_id = zloop_timer(loop, PING_MS, 1, on_ping_timer, a);
        if (a->silent >= SILENT_PINGS)
                a->dead = true;
        else
                (void)wslay_event_queue_msg(a->ws, &ping);
        turn(a);
        return 0;
}

/* ---- the console's side ---- */

static void on_output(void *arg, const uint8_t *data, size_t len)
{
        struct api_attach *a = arg;

        if (a->finishing)
                return;
        if (a->options.stdout_ && len > 0)
                send_channel(a, WEBSOCKET_STDOUT, data, len);
        /* No turn here: it could free the console under its own callback. The socket's event follows. */
        replan(a);
}

static void on_ended(void *arg, const char *text, bool failed)
{
        struct api_attach *a = arg;

        finish(a, failed, text);
        replan(a);
}

static void on_room(void *arg)
{
        struct api_attach *a = arg;

        pass_input(a);
        replan(a);
}

/* ---- making and freeing ---- */

static int start(struct api_attach *a)
{
        static const struct wslay_event_callbacks callbacks = {
            .recv_callback = on_ws_recv, .send_callback = on_ws_send, .on_msg_recv_callback = on_ws_message};
        const struct api_console_handler handler = {on_output, on_ended, on_room, a};
        int rc;

        a->pod_name = strdup(a->options.pod_name);
        if (!a->pod_name || wslay_event_context_server_init(&a->ws, &callbacks, a) != 0)
                return -ENOMEM;
        wslay_event_config_set_max_recv_msg_length(a->ws, MAX_MESSAGE);
        /* As a kubelet does: an empty message tells the client that the channels are there. */
        send_channel(a, WEBSOCKET_STDOUT, NULL, 0);
        a->timer_id = zloop_timer(a->options.loop, PING_MS, 1, on_ping_timer, a);
        rc = api_console_open(&a->console, a->options.loop, a->options.bus_dir, AK_CONSOLE_OP_OPEN,
                              a->options.pod_uid, a->options.sessions, &handler);
        if (rc == -EUSERS)
                finish(a, true, "too many console sessions are open");
        return rc == -EUSERS ? 0 : rc;
}

int api_attach_new(struct api_attach **out, const struct api_attach_options *options, void *tls_session,
                   int fd)
{
        struct api_attach *a = calloc(1, sizeof(*a));
        int rc;

        if (!a)
                return -ENOMEM;
        a->options = *options;
        a->tls = tls_session;
        a->fd = fd;
        a->timer_id = -1;
        a->read_again = true;
        rc = start(a);
        /* The caller's; not needed any more. */
        a->options.bus_dir = a->options.pod_uid = a->options.pod_name = NULL;
        if (rc < 0) {
                (void)api_attach_free(a);
                return rc;
        }
        ak_log(AK_LOG_INFO, "attach_begin", "pod", a->pod_name, NULL);
        *out = a;
        replan(a);
        return 0;
}

struct api_attach *api_attach_free(struct api_attach *a)
{
        if (!a)
                return NULL;
        if (a->ws)
                poll_for(a, 0);
        if (a->timer_id >= 0)
                (void)zloop_timer_end(a->options.loop, a->timer_id);
        a->console = api_console_free(a->console);
        if (a->ws) {
                wslay_event_context_free(a->ws);
                ak_log(AK_LOG_INFO, "attach_end", "pod", a->pod_name, NULL);
        }
        free(a->input);
        free(a->pod_name);
        free(a);
        return NULL;
}
