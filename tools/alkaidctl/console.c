/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One console session: a DEALER to the hypervisor service on one side, two file descriptors on the other,
 * a zloop between them. The service answers "opened" with the last screens of output; from then on bytes go
 * both ways until one side ends it. A service that is not there does not answer: a timer tells.
 */
#include "tools/alkaidctl/console.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "proto/console.h"

struct session {
        const struct ctl_console *options;
        zsock_t *socket;
        zloop_t *loop;
        bool opened;
        enum ctl_console_outcome outcome;
        char *text;
};

size_t ctl_console_scan(const uint8_t *data, size_t len, bool *leave)
{
        const uint8_t *escape = memchr(data, CTL_CONSOLE_ESCAPE, len);

        *leave = escape != NULL;
        return escape ? (size_t)(escape - data) : len;
}

static int end(struct session *s, enum ctl_console_outcome outcome, const char *text, size_t len)
{
        s->outcome = outcome;
        (void)snprintf(s->text, 256, "%.*s", (int)(len < 255 ? len : 255), text);
        return -1;
}

static int write_all(int fd, const void *data, size_t len)
{
        const char *p = data;

        while (len > 0) {
                ssize_t n = write(fd, p, len);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0) {
                        p += n;
                        len -= (size_t)n;
                }
        }
        return 0;
}

static int output(struct session *s, const zframe_t *data)
{
        int r = write_all(s->options->out_fd, zframe_data((zframe_t *)data), zframe_size((zframe_t *)data));

        return r < 0 ? end(s, CTL_CONSOLE_ERROR, strerror(-r), 255) : 0;
}

static int handle(struct session *s, const char *op, zframe_t *argument)
{
        const char *text = (const char *)zframe_data(argument);
        size_t len = zframe_size(argument);

        if (strcmp(op, AK_CONSOLE_OP_OPENED) == 0) {
                s->opened = true;
                return output(s, argument);
        }
        if (strcmp(op, AK_CONSOLE_OP_DATA) == 0)
                return output(s, argument);
        if (strcmp(op, AK_CONSOLE_OP_ERROR) == 0)
                return end(s, CTL_CONSOLE_ERROR, text, strnlen(text, len));
        if (strcmp(op, AK_CONSOLE_OP_CLOSED) == 0)
                return end(s, CTL_CONSOLE_CLOSED, text, strnlen(text, len));
        return 0; /* pong, or something of a later version */
}

static int on_socket(zloop_t *loop, zsock_t *socket, void *arg)
{
        struct session *s = arg;
        zmsg_t *message = zmsg_recv(socket);
        int r = 0;

        (void)loop;
        if (!message)
                return end(s, CTL_CONSOLE_LEFT, "", 0);
        AK_AUTOFREE char *op = zmsg_popstr(message);
        zframe_t *argument = zmsg_pop(message);
        if (!argument)
                argument = zframe_new_empty();
        if (op)
                r = handle(s, op, argument);
        zframe_destroy(&argument);
        zmsg_destroy(&message);
        return r;
}

static void send_op(struct session *s, const char *op, const void *data, size_t len)
{
        zframe_t *frame = zframe_new(data, len);

        (void)zstr_sendm(s->socket, op);
        (void)zframe_send(&frame, s->socket, 0);
}

static int on_input(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct session *s = arg;
        uint8_t data[AK_CONSOLE_MAX_DATA];
        ssize_t n = read(item->fd, data, sizeof(data));
        bool leave = false;

        if (n < 0)
                return errno == EINTR || errno == EAGAIN ? 0 : end(s, CTL_CONSOLE_LEFT, "", 0);
        if (n == 0) { /* a pipe that ended: go on listening */
                zloop_poller_end(loop, item);
                return 0;
        }
        size_t len = ctl_console_scan(data, (size_t)n, &leave);
        if (len > 0)
                send_op(s, AK_CONSOLE_OP_DATA, data, len);
        return leave ? end(s, CTL_CONSOLE_LEFT, "", 0) : 0;
}

static int on_ping(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        send_op(arg, AK_CONSOLE_OP_PING, "", 0);
        return 0;
}

static int on_no_answer(zloop_t *loop, int timer, void *arg)
{
        static const char text[] = "the hypervisor service does not answer";
        struct session *s = arg;

        (void)loop;
        (void)timer;
        return s->opened ? 0 : end(s, CTL_CONSOLE_ERROR, text, sizeof(text) - 1);
}

static int on_duration(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        return end(arg, CTL_CONSOLE_LEFT, "", 0);
}

static void start(struct session *s)
{
        const struct ctl_console *o = s->options;
        zmq_pollitem_t input = {.fd = o->in_fd, .events = ZMQ_POLLIN};

        zloop_reader(s->loop, s->socket, on_socket, s);
        zloop_poller(s->loop, &input, on_input, s);
        zloop_poller_set_tolerant(s->loop, &input);
        zloop_timer(s->loop, AK_CONSOLE_IDLE_US / 3000, 0, on_ping, s);
        zloop_timer(s->loop, (size_t)(o->answer_us / 1000), 1, on_no_answer, s);
        if (o->duration_us > 0)
                zloop_timer(s->loop, (size_t)(o->duration_us / 1000) + 1, 1, on_duration, s);
        send_op(s, AK_CONSOLE_OP_OPEN, o->pod_uid, strlen(o->pod_uid));
        zloop_start(s->loop);
}

enum ctl_console_outcome ctl_console_run(const struct ctl_console *console, char text[256])
{
        struct session s = {.options = console, .outcome = CTL_CONSOLE_LEFT, .text = text};
        AK_AUTOFREE char *endpoint = NULL;

        text[0] = '\0';
        if (asprintf(&endpoint, ">ipc://%s/%s", console->bus_dir, AK_CONSOLE_ENDPOINT) < 0) {
                endpoint = NULL;
                return CTL_CONSOLE_ERROR;
        }
        s.socket = zsock_new_dealer(endpoint);
        if (!s.socket) {
                (void)end(&s, CTL_CONSOLE_ERROR, "the bus directory's path is too long", 255);
                return CTL_CONSOLE_ERROR;
        }
        s.loop = zloop_new();
        start(&s);
        send_op(&s, AK_CONSOLE_OP_CLOSE, "", 0);
        zloop_destroy(&s.loop);
        zsock_set_linger(s.socket, 100);
        zsock_destroy(&s.socket);
        return s.outcome;
}
