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
#include "services/hypervisor/console_lines.h"
#include "services/hypervisor/disk.h"

#define MAX_BEHIND   (1 << 20) /* a client further behind misses output */
#define SEND_HWM     16        /* frames of at most AK_CONSOLE_MAX_DATA held for one client */
#define CHECK_MS     500       /* idle sessions, clients that were full, files that were exchanged */
#define MAX_IDENTITY 255
#define MAX_REQUEST  (AK_LEN_UID + 64)

/* A VM that is there, or has sessions. */
struct tail {
        char uid[AK_LEN_UID + 1];
        char path[HV_LEN_PATH + 1];
        int watch;  /* inotify; -1 = the file is to be looked for */
        bool there; /* the reactor said so */
        size_t sessions;
        ino_t inode; /* that `lines` is about; 0 = not seen yet */
        struct hv_lines lines;
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

        bool log;          /* lines with their times, after those that are there "opened" */
        off_t backlog_end; /* of a log that is not opened yet */
        bool opened;
        struct hv_stamper stamper;
};

struct hv_console {
        char endpoint[256];
        char shared_dir[200]; /* of a second one, for the directory's group; empty = none */
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
        hv_lines_deinit(&tail->lines);
        free(tail);
        *item = NULL;
}

/* -1 where the file is not there: looked for again later. */
static int watch_file(struct hv_console *c, const char *path)
{
        return inotify_add_watch(c->inotify, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
}

/* Notes how long the log has become, and when. */
static void look(struct tail *tail)
{
        uint64_t when_us = ak_clock_realtime_us();
        struct stat st;

        if (stat(tail->path, &st) < 0)
                return;
        if (tail->inode == 0) {
                when_us = (uint64_t)st.st_mtim.tv_sec * 1000000 + (uint64_t)st.st_mtim.tv_nsec / 1000;
        } else if (tail->inode != st.st_ino) {
                hv_lines_deinit(&tail->lines);
        }
        tail->inode = st.st_ino;
        if (hv_lines_note(&tail->lines, (uint64_t)st.st_size, when_us) < 0)
                ak_log(AK_LOG_WARN, "console_times_lost", "pod", tail->uid, "error", "out of memory", NULL);
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
        look(tail);
        (void)zhashx_insert(c->tails, uid, tail);
        return tail;
}

static void put_tail(struct hv_console *c, struct tail *tail)
{
        if (tail->sessions > 0 || tail->there)
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
        s->offset = s->backlog_end = 0;
        return true;
}

static void catch_up(struct session *s)
{
        struct stat st;

        if (fstat(s->fd, &st) < 0 || st.st_size - s->offset <= MAX_BEHIND)
                return;
        s->offset = st.st_size - AK_CONSOLE_SCROLLBACK;
        s->stamper = (struct hv_stamper){.skip = true};
}

/* A log's output with the time of each line. The state moves on only with what was sent. */
static ssize_t send_lines(struct hv_console *c, struct session *s, const char *data, size_t len)
{
        static const struct hv_lines unknown;
        struct hv_stamper stamper = s->stamper;
        char lines[AK_CONSOLE_MAX_DATA];
        struct stat st;
        size_t n, taken = 0;
        int r = 0;

        n = hv_stamp(&stamper,
                     fstat(s->fd, &st) == 0 && st.st_ino == s->tail->inode ? &s->tail->lines : &unknown,
                     (uint64_t)s->offset, ak_clock_realtime_us(), data, len, lines, sizeof(lines), &taken);
        if (n > 0)
                r = send_to(c, s, AK_CONSOLE_OP_DATA, lines, n);
        if (r < 0)
                return r;
        s->stamper = stamper;
        return (ssize_t)taken;
}

/* The next piece of output: how much, 0 = there is no more, or an error of send_to(). */
static ssize_t send_piece(struct hv_console *c, struct session *s)
{
        char data[AK_CONSOLE_MAX_DATA];
        size_t want = sizeof(data);
        ssize_t n, r;

        if (s->log && !s->opened && s->backlog_end - s->offset < (off_t)want)
                want = s->backlog_end > s->offset ? (size_t)(s->backlog_end - s->offset) : 0;
        n = pread(s->fd, data, want, s->offset);
        if (n <= 0)
                return 0;
        r = s->log ? send_lines(c, s, data, (size_t)n) : send_to(c, s, AK_CONSOLE_OP_DATA, data, (size_t)n);
        return r < 0 || s->log ? r : n;
}

/* What was there when the log was asked for has been sent. */
static int end_backlog(struct hv_console *c, struct session *s)
{
        int r = 0;

        if (s->log && !s->opened && s->offset >= s->backlog_end) {
                r = send_to(c, s, AK_CONSOLE_OP_OPENED, "", 0);
                s->opened = r == 0;
        }
        return r;
}

static void pump(struct hv_console *c, struct session *s)
{
        if (!s->log || s->opened)
                catch_up(s);
        for (;;) {
                ssize_t r = end_backlog(c, s);

                if (r == 0)
                        r = send_piece(c, s);
                if (r > 0) {
                        s->offset += r;
                        continue;
                }
                if (r == 0 && next_file(s))
                        continue;
                s->dead = s->dead || (r < 0 && r != -EAGAIN);
                return;
        }
}

/* True when there may be more to read. */
static bool on_file_event(struct hv_console *c, const struct inotify_event *event)
{
        for (struct tail *t = zhashx_first(c->tails); t; t = zhashx_next(c->tails)) {
                if (t->watch != event->wd)
                        continue;
                if (event->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_IGNORED)) {
                        (void)inotify_rm_watch(c->inotify, t->watch);
                        t->watch = -1;
                }
                look(t);
                return t->sessions > 0;
        }
        return false;
}

static int on_inotify(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        struct hv_console *c = arg;
        bool more = false;
        ssize_t n;

        (void)loop;
        while ((n = read(item->fd, buffer, sizeof(buffer))) > 0) {
                for (ssize_t at = 0; at < n;) {
                        const struct inotify_event *event = (const void *)(buffer + at);

                        more = on_file_event(c, event) || more || event->mask & IN_Q_OVERFLOW;
                        at += (ssize_t)sizeof(*event) + (ssize_t)event->len;
                }
        }
        /* Whose it was does not matter: a session without news reads once in vain. */
        for (size_t i = 0; more && i < c->count; i++)
                pump(c, c->sessions[i]);
        sweep(c);
        return 0;
}

/* Logs that are not there yet, or are other files by now. */
static void find_files(struct hv_console *c)
{
        for (struct tail *t = zhashx_first(c->tails); t; t = zhashx_next(c->tails)) {
                if (t->watch < 0)
                        t->watch = watch_file(c, t->path);
                if (t->watch >= 0)
                        look(t);
        }
}

static int on_check(zloop_t *loop, int timer, void *arg)
{
        uint64_t now = ak_clock_monotonic_us();
        struct hv_console *c = arg;

        (void)loop;
        (void)timer;
        find_files(c);
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

/* What "open" or "log" asks for. */
struct request {
        char uid[AK_LEN_UID + 1];
        bool log;
        int64_t lines; /* -1 = all */
        uint64_t since_us;
};

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

/* Where the last `lines` lines begin; all of the file where it has less. */
static off_t last_lines(int fd, off_t size, int64_t lines)
{
        char data[AK_CONSOLE_MAX_DATA];
        uint64_t left;
        off_t at = size;

        if (lines <= 0 || size == 0)
                return lines < 0 ? 0 : size;
        /* A line without an end is one, too. */
        left = (uint64_t)lines - (pread(fd, data, 1, size - 1) == 1 && data[0] != '\n');
        while (at > 0) {
                size_t n = at < (off_t)sizeof(data) ? (size_t)at : sizeof(data), start;

                if (pread(fd, data, n, at - (off_t)n) != (ssize_t)n)
                        return at;
                start = hv_lines_back(data, n, &left);
                at -= (off_t)n;
                if (start > 0)
                        return at + (off_t)start;
        }
        return 0;
}

/* Sets the session to where its log begins; what follows goes the way of all output. */
static void start_log(struct hv_console *c, struct session *s, const struct request *q)
{
        off_t since;
        struct stat st;
        char before;

        look(s->tail);
        s->log = true;
        s->backlog_end = fstat(s->fd, &st) == 0 ? st.st_size : 0;
        s->offset = last_lines(s->fd, s->backlog_end, q->lines);
        since = q->since_us ? (off_t)hv_lines_since(&s->tail->lines, q->since_us) : 0;
        if (since > s->offset) {
                s->offset = since < s->backlog_end ? since : s->backlog_end;
                /* A line is as old as its beginning. */
                s->stamper.skip = s->offset < s->backlog_end &&
                                  pread(s->fd, &before, 1, s->offset - 1) == 1 && before != '\n';
        }
        pump(c, s);
}

static void open_session(struct hv_console *c, const uint8_t *identity, size_t len, const struct request *q)
{
        struct tail *tail = get_tail(c, q->uid);
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
        if (q->log)
                start_log(c, s, q);
        else
                send_scrollback(c, s);
        ak_log(AK_LOG_INFO, "console_opened", "pod", q->uid, "as", q->log ? "log" : "console", NULL);
}

static bool read_number(const char *word, int64_t low, int64_t *out)
{
        char *end = NULL;
        long long value;

        errno = 0;
        value = word ? strtoll(word, &end, 10) : 0;
        if (!word || end == word || *end || errno || value < low)
                return false;
        *out = value;
        return true;
}

/* The argument of "open" (a pod's UID) or "log"; NULL, or what is wrong with it. */
static const char *read_request(const zframe_t *arg, bool log, struct request *out)
{
        char text[MAX_REQUEST + 1], *save = NULL, *uid;
        size_t len = zframe_size((zframe_t *)arg);
        int64_t since_us = 0;

        *out = (struct request){.log = log, .lines = -1};
        if (len > MAX_REQUEST || memchr(zframe_data((zframe_t *)arg), 0, len))
                return "not a pod UID";
        memcpy(text, zframe_data((zframe_t *)arg), len);
        text[len] = '\0';
        uid = log ? strtok_r(text, " ", &save) : text;
        if (!uid || strlen(uid) > AK_LEN_UID)
                return "not a pod UID";
        (void)snprintf(out->uid, sizeof(out->uid), "%s", uid);
        if (log && (!read_number(strtok_r(NULL, " ", &save), -1, &out->lines) ||
                    !read_number(strtok_r(NULL, " ", &save), 0, &since_us)))
                return "not a pod UID, a number of lines and a time";
        out->since_us = (uint64_t)since_us;
        return NULL;
}

static void on_open(struct hv_console *c, const uint8_t *identity, size_t len, struct session *s, bool log,
                    zframe_t *arg)
{
        struct request q;
        const char *wrong = read_request(arg, log, &q);

        if (s)
                end_session(c, s, NULL, NULL);
        sweep(c);
        if (wrong)
                refuse(c, identity, len, wrong);
        else if (c->count >= AK_CONSOLE_MAX_SESSIONS)
                refuse(c, identity, len, "too many console sessions");
        else
                open_session(c, identity, len, &q);
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
        if (zframe_streq(op, AK_CONSOLE_OP_OPEN) || zframe_streq(op, AK_CONSOLE_OP_LOG))
                on_open(c, identity, len, s, zframe_streq(op, AK_CONSOLE_OP_LOG), arg);
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

static void vm_here(struct hv_console *c, const char *uid)
{
        struct tail *tail = get_tail(c, uid);

        if (tail)
                tail->there = true;
}

static void vm_gone(struct hv_console *c, const char *uid, const char *reason)
{
        struct tail *tail = zhashx_lookup(c->tails, uid);

        for (size_t i = 0; i < c->count; i++) {
                if (c->sessions[i]->tail != tail)
                        continue;
                pump(c, c->sessions[i]);
                end_session(c, c->sessions[i], AK_CONSOLE_OP_CLOSED, reason);
        }
        sweep(c);
        tail = zhashx_lookup(c->tails, uid);
        if (tail) {
                tail->there = false;
                put_tail(c, tail);
        }
}

/* From the reactor: ["here", UID, ""], ["gone", UID, reason], or the actor's end. */
static int on_pipe(zloop_t *loop, zsock_t *pipe, void *arg)
{
        zmsg_t *message = zmsg_recv(pipe);
        struct hv_console *c = arg;
        char *op = message ? zmsg_popstr(message) : NULL;
        char *uid = message ? zmsg_popstr(message) : NULL;
        char *reason = message ? zmsg_popstr(message) : NULL;

        (void)loop;
        if (reason && strcmp(op, "here") == 0)
                vm_here(c, uid);
        else if (reason)
                vm_gone(c, uid, reason);
        int r = reason ? 0 : -1;
        zstr_free(&reason);
        zstr_free(&uid);
        zstr_free(&op);
        zmsg_destroy(&message);
        return r;
}

/*
 * The apiserver may be another user, which cannot enter the bus. In a directory with the set-group-ID bit the
 * socket gets the directory's group; connecting takes the right to write.
 */
static int bind_shared(struct hv_console *c)
{
        if (!c->shared_dir[0] || access(c->shared_dir, F_OK) < 0)
                return 0; /* no apiserver on this host */
        if (zsock_bind(c->router, "ipc://%s/" AK_CONSOLE_ENDPOINT, c->shared_dir) < 0)
                return -EADDRINUSE;
        return chmod(AK_FMT("%s/" AK_CONSOLE_ENDPOINT, c->shared_dir), 0660) < 0 ? -errno : 0;
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
        int r = bind_shared(c);
        if (r < 0)
                return r;
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

static int make_endpoints(struct hv_console *c, const struct hv_console_options *o)
{
        const char *shared = o->shared_dir ? o->shared_dir : "";
        int n = snprintf(c->endpoint, sizeof(c->endpoint), "ipc://%s/" AK_CONSOLE_ENDPOINT, o->bus_dir);

        if (n < 0 || (size_t)n >= sizeof(c->endpoint) || strlen(shared) >= sizeof(c->shared_dir))
                return -ENAMETOOLONG;
        (void)snprintf(c->shared_dir, sizeof(c->shared_dir), "%s", shared);
        return 0;
}

int hv_console_new(struct hv_console **out, const struct hv_console_options *options)
{
        struct hv_console *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return -ENOMEM;
        c->ops = options->ops;
        c->driver = options->driver;
        c->state_dir = strdup(options->state_dir);
        r = c->state_dir ? make_endpoints(c, options) : -ENOMEM;
        if (r == 0) {
                r = -ENOMEM;
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

void hv_console_vm_here(struct hv_console *c, const char *pod_uid)
{
        (void)zstr_sendx(c->actor, "here", pod_uid, "", NULL);
}
