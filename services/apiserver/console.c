/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "proto/console.h"

#define ANSWER_MS     5000 /* how long a hypervisor service may take to answer "open" */
#define PING_MS       (AK_CONSOLE_IDLE_US / 1000 / 3)
#define HIGH_WATER    64 /* messages either way */
#define SILENT_ROUNDS 3  /* pings without any answer */

struct api_console {
        zloop_t *loop;
        zsock_t *socket;
        struct api_console_handler handler;
        size_t *count;
        int timer_id;
        int silent;
        bool open, ended, paused, reading, waiting_writable;
};

static int send_frames(struct api_console *c, const char *op, const void *data, size_t len)
{
        zframe_t *head = zframe_new(op, strlen(op));
        zframe_t *tail = zframe_new(data, len);
        int rc = zframe_send(&head, c->socket, ZFRAME_MORE | ZFRAME_DONTWAIT);

        if (rc == 0)
                rc = zframe_send(&tail, c->socket, 0); /* a message is taken whole or not at all */
        zframe_destroy(&head);
        zframe_destroy(&tail);
        return rc == 0 ? 0 : -EAGAIN;
}

static void end(struct api_console *c, const char *text, bool failed)
{
        if (c->ended)
                return;
        c->ended = true;
        c->handler.ended(c->handler.arg, text, failed);
}

static void end_with(struct api_console *c, zframe_t *argument, bool failed)
{
        char text[256] = "";

        if (argument)
                (void)snprintf(text, sizeof(text), "%.*s", (int)zframe_size(argument),
                               (char *)zframe_data(argument));
        end(c, text, failed);
}

static void on_frames(struct api_console *c, zframe_t *op, zframe_t *argument)
{
        c->silent = 0;
        if (zframe_streq(op, AK_CONSOLE_OP_OPENED) || zframe_streq(op, AK_CONSOLE_OP_DATA)) {
                c->open = true;
                c->handler.output(c->handler.arg, argument ? zframe_data(argument) : NULL,
                                  argument ? zframe_size(argument) : 0);
        } else if (zframe_streq(op, AK_CONSOLE_OP_ERROR)) {
                end_with(c, argument, true);
        } else if (zframe_streq(op, AK_CONSOLE_OP_CLOSED)) {
                end_with(c, argument, false);
        }
}

static int on_readable(zloop_t *loop, zsock_t *socket, void *arg)
{
        struct api_console *c = arg;
        zmsg_t *message = zmsg_recv(socket);
        zframe_t *op = message ? zmsg_first(message) : NULL;
        zframe_t *argument = message ? zmsg_next(message) : NULL;

        (void)loop;
        if (op && !c->ended)
                on_frames(c, op, argument);
        zmsg_destroy(&message);
        return 0;
}

static void read_on(struct api_console *c, bool on)
{
        if (on == c->reading)
                return;
        c->reading = on;
        if (on)
                (void)zloop_reader(c->loop, c->socket, on_readable, c);
        else
                zloop_reader_end(c->loop, c->socket);
}

void api_console_pause(struct api_console *c, bool paused)
{
        c->paused = paused;
        read_on(c, !paused);
}

static int on_timer(zloop_t *loop, int timer_id, void *arg)
{
        struct api_console *c = arg;

        (void)loop;
        (void)timer_id;
        c->timer_id = -1;
        if (c->ended)
                return 0;
        if (!c->open) {
                end(c, "the hypervisor service does not answer on its console socket: is it running?", true);
                return 0;
        }
        if (!c->paused && ++c->silent > SILENT_ROUNDS) {
                end(c, "the hypervisor service no longer answers", true);
                return 0;
        }
        (void)send_frames(c, AK_CONSOLE_OP_PING, "", 0);
        c->timer_id = zloop_timer(c->loop, PING_MS, 1, on_timer, c);
        return 0;
}

static int on_writable(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct api_console *c = arg;

        zloop_poller_end(loop, item);
        c->waiting_writable = false;
        if (!c->ended && c->handler.writable)
                c->handler.writable(c->handler.arg);
        return 0;
}

static void wait_writable(struct api_console *c)
{
        zmq_pollitem_t item = {.socket = zsock_resolve(c->socket), .events = ZMQ_POLLOUT};

        if (!c->waiting_writable)
                c->waiting_writable = zloop_poller(c->loop, &item, on_writable, c) == 0;
}

int api_console_write(struct api_console *c, const void *data, size_t len)
{
        int rc = c->ended ? 0 : send_frames(c, AK_CONSOLE_OP_DATA, data, len);

        if (rc == -EAGAIN)
                wait_writable(c);
        return rc;
}

static zsock_t *connect_to(const char *bus_dir)
{
        zsock_t *socket = zsock_new(ZMQ_DEALER);

        if (!socket)
                return NULL;
        zsock_set_linger(socket, 100); /* for the "close" at the end */
        zsock_set_sndhwm(socket, HIGH_WATER);
        zsock_set_rcvhwm(socket, HIGH_WATER);
        if (zsock_connect(socket, "ipc://%s/%s", bus_dir, AK_CONSOLE_ENDPOINT) < 0)
                zsock_destroy(&socket);
        return socket;
}

int api_console_open(struct api_console **out, zloop_t *loop, const char *bus_dir, const char *op,
                     const char *argument, size_t *count, const struct api_console_handler *handler)
{
        struct api_console *c;

        if (*count >= AK_CONSOLE_MAX_SESSIONS)
                return -EUSERS;
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->loop = loop;
        c->handler = *handler;
        c->socket = connect_to(bus_dir);
        if (!c->socket) {
                free(c);
                return -ENOMEM;
        }
        c->count = count;
        ++*count;
        (void)send_frames(c, op, argument, strlen(argument));
        read_on(c, true);
        c->timer_id = zloop_timer(loop, ANSWER_MS, 1, on_timer, c);
        *out = c;
        return 0;
}

struct api_console *api_console_free(struct api_console *c)
{
        zmq_pollitem_t item = {.events = ZMQ_POLLOUT};

        if (!c)
                return NULL;
        read_on(c, false);
        item.socket = zsock_resolve(c->socket);
        if (c->waiting_writable)
                zloop_poller_end(c->loop, &item);
        if (c->timer_id >= 0)
                (void)zloop_timer_end(c->loop, c->timer_id);
        if (!c->ended)
                (void)send_frames(c, AK_CONSOLE_OP_CLOSE, "", 0);
        zsock_destroy(&c->socket);
        --*c->count;
        free(c);
        return NULL;
}
