/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/console.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "proto/console.h"
#include "services/hypervisor/console_input.h"
#include "services/hypervisor/disk.h"

#define MAX_BEHIND   (1 << 20) /* a client further behind misses output */
#define SEND_HWM     16        /* frames of at most AK_CONSOLE_MAX_DATA held for one client */
#define CHECK_MS     500       /* idle sessions, clients that were full, files that were exchanged */
#define MAX_IDENTITY 255

/* A VM that has sessions. */
struct tail {
        char uid[AK_LEN_UID + 1];
        char path[HV_LEN_PATH + 1];
        int watch; /* inotify */
        size_t sessions;
        struct hv_console_input *input;
};

struct session {
        uint8_t identity[MAX_IDENTITY];
        size_t identity_len;
        struct tail *tail;
        int fd;
        off_t offset;
        uint64_t seen_us;
        bool dead;
};

struct hv_console {
        char endpoint[256];
        char *state_dir;
        const struct hv_driver_ops *ops;
        struct hv_driver *driver;
        zactor_t *actor;

        /* of the actor */
        zloop_t *loop;
        zsock_t *pipe, *router;
        int inotify;
        struct session *sessions[AK_CONSOLE_MAX_SESSIONS];
        size_t count;
        zhashx_t *tails; /* by UID */
};

/* ------------------------------------------------------------------ frames */

static int send_part(struct hv_console *c, const void *data, size_t len, int flags)
{
        return zmq_send(zsock_resolve(c->router), data, len, flags | ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

/* 0, -EAGAIN (the client's queue is full), -EHOSTUNREACH (it is gone). */
static int send_frames(struct hv_console *c, const uint8_t *identity, size_t identity_len, const char *op,
                       const void *data, size_t len)
{
        int r = send_part(c, identity, identity_len, ZMQ_SNDMORE);

        if (r == 0)
                r = send_part(c, op, strlen(op), ZMQ_SNDMORE);
        return r == 0 ? send_part(c, data, len, 0) : r;
}

static int send_to(struct hv_console *c, const struct session *s, const char *op, const void *data,
                   size_t len)
{
        return send_frames(c, s->identity, s->identity_len, op, data, len);
}

/* ------------------------------------------------------------------ sessions */

static struct session *find_session(struct hv_console *c, const uint8_t *identity, size_t len)
{
        for (size_t i = 0; i < c->count; i++) {
                struct session *s = c->sessions[i];

                if (!s->dead && s->identity_len == len && memcmp(s->identity, identity, len) == 0)
                        return s;
        }
        return NULL;
}

static void tail_free(void **item)
{
        struct tail *tail = *item;

        hv_console_input_free(tail->input);
        free(tail);
        *item = NULL;
}

/* -1 where the file is not there: looked for again later. */
static int watch_file(struct hv_console *c, const char *path)
{
        return inotify_add_watch(c->inotify, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
}

static struct tail *get_tail(struct hv_console *c, const char *uid)
{
        struct tail *tail = zhashx_lookup(c->tails, uid);
        struct hv_disk disk;

        if (tail)
                return tail;
        if (hv_disk_paths(c->state_dir, uid, &disk) < 0)
                return NULL;
        tail = calloc(1, sizeof(*tail));
        if (!tail)
                return NULL;
        (void)snprintf(tail->uid, sizeof(tail->uid), "%s", uid);
        (void)snprintf(tail->path, sizeof(tail->path), "%s", disk.console_log);
        tail->watch = watch_file(c, tail->path);
        (void)zhashx_insert(c->tails, uid, tail);
        return tail;
}

static void put_tail(struct hv_console *c, struct tail *tail)
{
        if (tail->sessions > 0)
                return;
        if (tail->watch >= 0)
                (void)inotify_rm_watch(c->inotify, tail->watch);
        zhashx_delete(c->tails, tail->uid);
}

static void session_free(struct hv_console *c, struct session *s)
{
        s->tail->sessions--;
        put_tail(c, s->tail);
        (void)close(s->fd);
        free(s);
}

/* Sessions are only marked while the list is walked. */
static void sweep(struct hv_console *c)
{
        for (size_t i = 0; i < c->count;) {
                if (c->sessions[i]->dead) {
                        session_free(c, c->sessions[i]);
                        c->sessions[i] = c->sessions[--c->count];
                } else {
                        i++;
                }
        }
}

static void end_session(struct hv_console *c, struct session *s, const char *op, const char *text)
{
        if (op)
                (void)send_to(c, s, op, text, strlen(text));
        s->dead = true;
}

/* ------------------------------------------------------------------ output */

/* The log is another file by now (virtlogd began a new one), and the old one is read to its end. */
static bool next_file(struct session *s)
{
        struct stat ours, there;
        int fd;

        if (fstat(s->fd, &ours) < 0 || stat(s->tail->path, &there) < 0)
                return false;
        if (ours.st_ino == there.st_ino && ours.st_dev == there.st_dev && ours.st_size >= s->offset)
                return false;
        fd = open(s->tail->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        (void)close(s->fd);
        s->fd = fd;
        s->offset = 0;
        return true;
}

static void catch_up(struct session *s)
{
        struct stat st;

        if (fstat(s->fd, &st) == 0 && st.st_size - s->offset > MAX_BEHIND)
                s->offset = st.st_size - AK_CONSOLE_SCROLLBACK;
}

static void pump(struct hv_console *c, struct session *s)
{
        char data[AK_CONSOLE_MAX_DATA];

        catch_up(s);
        for (;;) {
                ssize_t n = pread(s->fd, data, sizeof(data), s->offset);
                int r;

                if (n <= 0) {
                        if (next_file(s))
                                continue;
                        return;
                }
                r = send_to(c, s, AK_CONSOLE_OP_DATA, data, (size_t)n);
                if (r == -EAGAIN)
                        return;
                if (r < 0) {
                        s->dead = true;
                        return;
                }
                s->offset += n;
        }
}

static int on_inotify(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        struct hv_console *c = arg;

        (void)loop;
        /* Which file it was does not matter: a session without news reads once in vain. */
        while (read(item->fd, buffer, sizeof(buffer)) > 0) {
        }
        for (size_t i = 0; i < c->count; i++)
                pump(c, c->sessions[i]);
        sweep(c);
        return 0;
}

static int on_check(zloop_t *loop, int timer, void *arg)
{
        uint64_t now = ak_clock_monotonic_us();
        struct hv_console *c = arg;

        (void)loop;
        (void)timer;
        for (struct tail *t = zhashx_first(c->tails); t; t = zhashx_next(c->tails)) {
                int watch = watch_file(c, t->path);

                if (watch >= 0 && watch != t->watch && t->watch >= 0)
                        (void)inotify_rm_watch(c->inotify, t->watch);
                t->watch = watch;
        }
        for (size_t i = 0; i < c->count; i++) {
                if (now - c->sessions[i]->seen_us > AK_CONSOLE_IDLE_US)
                        end_session(c, c->sessions[i], AK_CONSOLE_OP_ERROR, "no sign of life for 30 s");
                else
                        pump(c, c->sessions[i]);
        }
        sweep(c);
        return 0;
}

/* ------------------------------------------------------------------ requests */

static void refuse(struct hv_console *c, const uint8_t *identity, size_t len, const char *text)
{
        (void)send_frames(c, identity, len, AK_CONSOLE_OP_ERROR, text, strlen(text));
}

static void send_scrollback(struct hv_console *c, struct session *s)
{
        AK_AUTOFREE char *data = malloc(AK_CONSOLE_SCROLLBACK);
        ssize_t n = 0;
        struct stat st;

        if (fstat(s->fd, &st) == 0 && st.st_size > AK_CONSOLE_SCROLLBACK)
                s->offset = st.st_size - AK_CONSOLE_SCROLLBACK;
        if (data)
                n = pread(s->fd, data, AK_CONSOLE_SCROLLBACK, s->offset);
        if (n < 0)
                n = 0;
        s->offset += n;
        if (send_to(c, s, AK_CONSOLE_OP_OPENED, data ? data : "", (size_t)n) < 0)
                s->dead = true;
}

static void open_session(struct hv_console *c, const uint8_t *identity, size_t len, const char *uid)
{
        struct tail *tail = get_tail(c, uid);
        struct session *s;
        int fd = tail ? open(tail->path, O_RDONLY | O_CLOEXEC) : -1;

        s = fd >= 0 ? calloc(1, sizeof(*s)) : NULL;
        if (!s) {
                if (fd >= 0)
                        (void)close(fd);
                if (tail)
                        put_tail(c, tail);
                refuse(c, identity, len, "no such VM here, or it has not been started");
                return;
        }
        memcpy(s->identity, identity, len);
        s->identity_len = len;
        s->tail = tail;
        s->fd = fd;
        s->seen_us = ak_clock_monotonic_us();
        tail->sessions++;
        c->sessions[c->count++] = s;
        send_scrollback(c, s);
        ak_log(AK_LOG_INFO, "console_opened", "pod", uid, NULL);
}

static void on_open(struct hv_console *c, const uint8_t *identity, size_t len, struct session *s,
                    zframe_t *arg)
{
        char uid[AK_LEN_UID + 1];

        if (s)
                end_session(c, s, NULL, NULL);
        sweep(c);
        if (zframe_size(arg) > AK_LEN_UID || memchr(zframe_data(arg), 0, zframe_size(arg))) {
                refuse(c, identity, len, "not a pod UID");
        } else if (c->count >= AK_CONSOLE_MAX_SESSIONS) {
                refuse(c, identity, len, "too many console sessions");
        } else {
                (void)snprintf(uid, sizeof(uid), "%.*s", (int)zframe_size(arg),
                               (const char *)zframe_data(arg));
                open_session(c, identity, len, uid);
        }
}

static void on_input(struct hv_console *c, struct session *s, zframe_t *arg)
{
        struct tail *tail = s->tail;

        if (zframe_size(arg) > AK_CONSOLE_MAX_DATA) {
                end_session(c, s, AK_CONSOLE_OP_ERROR, "data frame too large");
                return;
        }
        if (!tail->input)
                tail->input = hv_console_input_new(c->ops, c->driver, tail->uid);
        if (tail->input)
                hv_console_input_write(tail->input, zframe_data(arg), zframe_size(arg));
}

static void on_request(struct hv_console *c, const uint8_t *identity, size_t len, zframe_t *op, zframe_t *arg)
{
        struct session *s = find_session(c, identity, len);

        if (s)
                s->seen_us = ak_clock_monotonic_us();
        if (zframe_streq(op, AK_CONSOLE_OP_OPEN))
                on_open(c, identity, len, s, arg);
        else if (!s && !zframe_streq(op, AK_CONSOLE_OP_CLOSE))
                refuse(c, identity, len, "no session; open one first");
        else if (s && zframe_streq(op, AK_CONSOLE_OP_DATA))
                on_input(c, s, arg);
        else if (s && zframe_streq(op, AK_CONSOLE_OP_PING))
                (void)send_to(c, s, AK_CONSOLE_OP_PONG, "", 0);
        else if (s && zframe_streq(op, AK_CONSOLE_OP_CLOSE))
                end_session(c, s, NULL, NULL);
        else if (s)
                end_session(c, s, AK_CONSOLE_OP_ERROR, "unknown operation");
        sweep(c);
}

static int on_router(zloop_t *loop, zsock_t *router, void *arg)
{
        zmsg_t *message = zmsg_recv(router);
        struct hv_console *c = arg;
        zframe_t *identity, *op, *argument;

        (void)loop;
        if (!message)
                return 0;
        identity = zmsg_first(message);
        op = zmsg_next(message);
        argument = zmsg_next(message);
        /* Not ours: no answer, for what sent it does not speak this. */
        if (zmsg_size(message) == 3 && zframe_size(identity) <= MAX_IDENTITY)
                on_request(c, zframe_data(identity), zframe_size(identity), op, argument);
        zmsg_destroy(&message);
        return 0;
}

/* ------------------------------------------------------------------ actor */

/* From the reactor: ["gone", UID, reason], or the actor's end. */
static int on_pipe(zloop_t *loop, zsock_t *pipe, void *arg)
{
        zmsg_t *message = zmsg_recv(pipe);
        struct hv_console *c = arg;
        char *op = message ? zmsg_popstr(message) : NULL;
        char *uid = op && strcmp(op, "gone") == 0 ? zmsg_popstr(message) : NULL;
        char *reason = uid ? zmsg_popstr(message) : NULL;
        int r = uid ? 0 : -1;

        (void)loop;
        for (size_t i = 0; reason && i < c->count; i++) {
                if (strcmp(c->sessions[i]->tail->uid, uid) != 0)
                        continue;
                pump(c, c->sessions[i]);
                end_session(c, c->sessions[i], AK_CONSOLE_OP_CLOSED, reason);
        }
        sweep(c);
        zstr_free(&reason);
        zstr_free(&uid);
        zstr_free(&op);
        zmsg_destroy(&message);
        return r;
}

static int prepare(struct hv_console *c)
{
        zmq_pollitem_t item = {.events = ZMQ_POLLIN};

        c->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        c->tails = zhashx_new();
        c->router = zsock_new(ZMQ_ROUTER);
        c->loop = zloop_new();
        if (c->inotify < 0 || !c->tails || !c->router || !c->loop)
                return -ENOMEM;
        zhashx_set_destructor(c->tails, tail_free);
        zsock_set_router_mandatory(c->router, 1);
        zsock_set_sndhwm(c->router, SEND_HWM);
        zsock_set_maxmsgsize(c->router, 2 * AK_CONSOLE_MAX_DATA);
        zsock_set_linger(c->router, 0);
        if (zsock_bind(c->router, "%s", c->endpoint) < 0)
                return -EADDRINUSE;
        item.fd = c->inotify;
        if (zloop_poller(c->loop, &item, on_inotify, c) < 0 ||
            zloop_reader(c->loop, c->router, on_router, c) < 0 ||
            zloop_reader(c->loop, c->pipe, on_pipe, c) < 0 ||
            zloop_timer(c->loop, CHECK_MS, 0, on_check, c) < 0)
                return -ENOMEM;
        return 0;
}

static void dismantle(struct hv_console *c)
{
        for (size_t i = 0; i < c->count; i++)
                c->sessions[i]->dead = true;
        sweep(c);
        zloop_destroy(&c->loop);
        zsock_destroy(&c->router);
        zhashx_destroy(&c->tails);
        if (c->inotify >= 0)
                (void)close(c->inotify);
}

static void actor(zsock_t *pipe, void *arg)
{
        struct hv_console *c = arg;
        int r;

        c->pipe = pipe;
        c->inotify = -1;
        r = prepare(c);
        /* The reactor waits for this: 0, or what failed. */
        (void)zsock_signal(pipe, 0);
        (void)zsock_send(pipe, "i", r);
        if (r == 0)
                (void)zloop_start(c->loop);
        dismantle(c);
}

int hv_console_new(struct hv_console **out, const struct hv_console_options *options)
{
        struct hv_console *c = calloc(1, sizeof(*c));
        int r = -ENOMEM, n;

        if (!c)
                return -ENOMEM;
        c->ops = options->ops;
        c->driver = options->driver;
        c->state_dir = strdup(options->state_dir);
        n = snprintf(c->endpoint, sizeof(c->endpoint), "ipc://%s/" AK_CONSOLE_ENDPOINT, options->bus_dir);
        if (n < 0 || (size_t)n >= sizeof(c->endpoint)) {
                r = -ENAMETOOLONG;
        } else if (c->state_dir) {
                c->actor = zactor_new(actor, c);
                if (c->actor && zsock_recv(c->actor, "i", &r) < 0)
                        r = -EIO;
        }
        if (r < 0) {
                hv_console_free(c);
                return r;
        }
        *out = c;
        return 0;
}

struct hv_console *hv_console_free(struct hv_console *c)
{
        if (!c)
                return NULL;
        zactor_destroy(&c->actor);
        free(c->state_dir);
        free(c);
        return NULL;
}

void hv_console_vm_gone(struct hv_console *c, const char *pod_uid, const char *reason)
{
        (void)zstr_sendx(c->actor, "gone", pod_uid, reason, NULL);
}
