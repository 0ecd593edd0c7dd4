/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus on ZeroMQ: sockets, envelopes, last values. bus.h tells the idea; receiving is in bus_peer.c.
 *
 * A subscription frame that reaches our XPUB is answered by a replay of what matches it; since ZeroMQ sends
 * subscriptions again after every reconnect, a restarted publisher or subscriber is brought up to date by
 * that alone. Messages are numbered per type, because a subscriber sees whole types only: a number per
 * publisher would show gaps where there are none. A subscription narrower than a type is not watched for
 * gaps.
 *
 * Replays go to everyone who subscribed to the topic, not only to who asked; hence the flag `replayed` and
 * numbers of their own. They run in the order of publication, so that a receiver sees causes before effects.
 *
 * The listening socket is made here and handed to ZeroMQ (ZMQ_USE_FD). ZeroMQ's own ipc bind unlinks
 * whatever stands at the path, be it a live service's, and its close unlinks it once more from a thread of
 * its own, at a time when the name may have a new owner. So the name belongs to who holds the lock file's
 * flock(2), and only that one makes and removes the socket; a crash gives the lock back.
 */
#include "libcommon/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "libcommon/bus_curve.h"
#include "libcommon/bus_internal.h"
#include "libcommon/clock.h"

#define MARK_INTERVAL_US (UINT64_C(5) * 1000 * 1000)
#define REPLAY_PAUSE_MS  100 /* at most one answer to sync.request in this time */
#define DEFAULT_HWM      100000
#define LINGER_MS        200 /* for what was published just before the end */
#define MAX_LISTENERS    256
#define MAX_HANDSHAKE    1024 /* CURVE's INITIATE: 257 bytes and the metadata */

struct bus_value {
        TAILQ_ENTRY(bus_value) link;
        uint64_t seq, sent_us;
        char trace[AK_BUS_TRACE_MAX + 1];
        size_t len;
        const char *topic; /* behind the body */
        uint8_t body[];
};

struct bus_type *bus_type(struct bus_types *t, const char *topic)
{
        size_t len = ak_bus_type_len(topic);
        struct bus_type *e;

        for (size_t i = 0; i < t->count; i++)
                if (strlen(t->items[i].type) == len && memcmp(t->items[i].type, topic, len) == 0)
                        return &t->items[i];
        if (t->count == BUS_MAX_TYPES || len > AK_BUS_MARK_TYPE_LEN)
                return NULL;
        e = &t->items[t->count++];
        *e = (struct bus_type){0};
        memcpy(e->type, topic, len);
        return e;
}

static uint64_t random_epoch(void)
{
        uint64_t epoch = 0;

        if (getrandom(&epoch, sizeof(epoch), 0) != sizeof(epoch))
                epoch = ak_clock_realtime_us();
        return epoch ? epoch : 1;
}

/* ---- publishing ---- */

static int send_part(void *socket, const void *data, size_t len, int flags)
{
        return zmq_send(socket, data, len, flags | ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

int bus_send(struct ak_bus *bus, const struct ak_bus_frame *f)
{
        AK_AUTOFREE uint8_t *envelope = NULL;
        size_t envelope_len;
        void *socket = zsock_resolve(bus->pub);
        int r = ak_bus_envelope_encode(f, &envelope, &envelope_len);

        if (r < 0)
                return r;
        /* An XPUB never blocks: it drops for a subscriber that is at its high-water mark. */
        r = send_part(socket, f->topic, strlen(f->topic), ZMQ_SNDMORE);
        if (r == 0)
                r = send_part(socket, envelope, envelope_len, ZMQ_SNDMORE);
        if (r == 0)
                r = send_part(socket, f->body, f->body_len, 0);
        if (r == 0 && bus->handler.on_tap)
                bus->handler.on_tap(bus->handler.arg, f, true);
        return r;
}

static void value_fill(struct bus_value *v, const struct ak_bus_frame *f)
{
        v->seq = f->seq;
        v->sent_us = f->sent_us;
        (void)snprintf(v->trace, sizeof(v->trace), "%s", f->trace);
        if (f->body_len)
                memcpy(v->body, f->body, f->body_len);
}

static struct bus_value *value_new(const struct ak_bus_frame *f)
{
        size_t topic_size = strlen(f->topic) + 1;
        struct bus_value *v = malloc(sizeof(*v) + f->body_len + topic_size);

        if (!v)
                return NULL;
        *v = (struct bus_value){.len = f->body_len};
        value_fill(v, f);
        v->topic = memcpy(v->body + f->body_len, f->topic, topic_size);
        return v;
}

void ak_bus_forget(struct ak_bus *bus, const char *topic)
{
        struct bus_value *v = zhashx_lookup(bus->values, topic);

        if (!v)
                return;
        TAILQ_REMOVE(&bus->order, v, link);
        zhashx_delete(bus->values, topic);
}

static int retain(struct ak_bus *bus, const struct ak_bus_frame *f)
{
        struct bus_value *v = zhashx_lookup(bus->values, f->topic);

        if (v && v->len == f->body_len) { /* the usual case: only some values changed */
                value_fill(v, f);
                TAILQ_REMOVE(&bus->order, v, link);
                TAILQ_INSERT_TAIL(&bus->order, v, link);
                return 0;
        }
        if (!v && zhashx_size(bus->values) >= bus->max_topics)
                return -ENOSPC;
        v = value_new(f);
        if (!v)
                return -ENOMEM;
        ak_bus_forget(bus, f->topic);
        zhashx_update(bus->values, f->topic, v);
        TAILQ_INSERT_TAIL(&bus->order, v, link);
        return 0;
}

static bool is_publishable(const char *topic, const char *trace)
{
        return ak_bus_topic_valid(topic) && strncmp(topic, AK_BUS_TOPIC_OWN, strlen(AK_BUS_TOPIC_OWN)) != 0 &&
               ak_bus_trace_valid(trace);
}

int ak_bus_publish(struct ak_bus *bus, const char *topic, const char *trace, const void *body, size_t len,
                   bool keep)
{
        struct bus_type *type;
        int r = 0;

        if (!bus->pub || !is_publishable(topic, trace ? trace : ""))
                return -EINVAL;
        if (len > AK_SCHEMA_MAX_BYTES)
                return -EMSGSIZE;
        type = bus_type(&bus->published, topic);
        if (!type)
                return -ENOSPC;
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = topic,
                                 .epoch = bus->epoch,
                                 .seq = type->seq + 1,
                                 .sent_us = ak_clock_realtime_us(),
                                 .trace = trace ? trace : "",
                                 .body = body,
                                 .body_len = len};
        if (keep)
                r = retain(bus, &f);
        if (r == 0)
                r = bus_send(bus, &f);
        if (r < 0)
                return r;
        type->seq++;
        bus->stats.published++;
        return 0;
}

/* ---- last values ---- */

static void replay_value(struct ak_bus *bus, const struct bus_value *v)
{
        struct bus_type *type = bus_type(&bus->published, v->topic);
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = v->topic,
                                 .epoch = bus->epoch,
                                 .seq = v->seq,
                                 .sent_us = v->sent_us,
                                 .trace = v->trace,
                                 .replayed = true,
                                 .replay_seq = type->replay_seq + 1,
                                 .body = v->body,
                                 .body_len = v->len};

        if (bus_send(bus, &f) < 0)
                return;
        type->replay_seq++;
        bus->stats.replayed++;
}

static void replay(struct ak_bus *bus, const char *prefix, size_t prefix_len)
{
        for (const struct bus_value *v = TAILQ_FIRST(&bus->order); v; v = TAILQ_NEXT(v, link))
                if (strncmp(v->topic, prefix, prefix_len) == 0)
                        replay_value(bus, v);
}

static void publish_mark(struct ak_bus *bus, bool full)
{
        struct ak_bus_mark mark = {.full = full};
        AK_AUTOFREE uint8_t *body = NULL;
        size_t n = bus->published.count, len;

        for (size_t i = 0; i < n; i++) {
                const struct bus_type *t = &bus->published.items[i];

                (void)snprintf(mark.types.items[i], sizeof(mark.types.items[i]), "%s", t->type);
                mark.seqs.items[i] = t->seq;
                mark.replay_seqs.items[i] = t->replay_seq;
        }
        mark.types.count = mark.seqs.count = mark.replay_seqs.count = (uint32_t)n;
        if (ak_record_encode(&ak_bus_mark_record, &mark, &body, &len) < 0)
                return;
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = AK_BUS_TOPIC_MARK,
                                 .epoch = bus->epoch,
                                 .sent_us = ak_clock_realtime_us(),
                                 .trace = "",
                                 .body = body,
                                 .body_len = len};
        (void)bus_send(bus, &f);
}

static int on_mark_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct ak_bus *bus = arg;

        if (bus->pub)
                publish_mark(bus, false);
        bus_peers_check(bus);
        return 0;
}

static int on_replay_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct ak_bus *bus = arg;

        bus->replay_timer = -1;
        replay(bus, "", 0);
        publish_mark(bus, true);
        return 0;
}

void bus_schedule_replay(struct ak_bus *bus)
{
        if (bus->pub && bus->replay_timer < 0)
                bus->replay_timer = zloop_timer(bus->loop, REPLAY_PAUSE_MS, 1, on_replay_timer, bus);
}

/* ---- subscriptions ---- */

/* Keeps account of who would hear a sync.request: a peer subscribes to its own name's on all it hears. */
static void note_listener(struct ak_bus *bus, const char *prefix, bool subscribed)
{
        const char *name = prefix + strlen(AK_BUS_TOPIC_SYNC);

        if (strncmp(prefix, AK_BUS_TOPIC_SYNC, strlen(AK_BUS_TOPIC_SYNC)) != 0 || !ak_bus_name_valid(name))
                return;
        if (!subscribed)
                zhashx_delete(bus->sync_listeners, name);
        else if (zhashx_size(bus->sync_listeners) < MAX_LISTENERS)
                zhashx_update(bus->sync_listeners, name, bus);
}

/* A subscription is byte 1 and the prefix; byte 0, its end. */
static void handle_subscription(struct ak_bus *bus, bool subscribed, const char *prefix)
{
        size_t len = strlen(prefix);

        note_listener(bus, prefix, subscribed);
        if (!subscribed)
                return;
        bus->stats.subscriptions++;
        replay(bus, prefix, len);
        if (strncmp(AK_BUS_TOPIC_MARK, prefix, len) == 0)
                publish_mark(bus, false); /* tells the epoch at once */
}

static int on_subscription(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg)
{
        struct ak_bus *bus = arg;
        char frame[AK_BUS_TOPIC_MAX + 2];

        for (int i = 0; i < BUS_BATCH; i++) {
                int len = zmq_recv(zsock_resolve(sock), frame, sizeof(frame), ZMQ_DONTWAIT);

                if (len < 0)
                        break;
                if (len < 1 || (size_t)len >= sizeof(frame) || (frame[0] != 0 && frame[0] != 1))
                        continue;
                frame[len] = '\0';
                handle_subscription(bus, frame[0] == 1, frame + 1);
        }
        return 0;
}

/* ---- life ---- */

/* Makes DIR (and its parents) and checks that nobody else can reach into it. */
static int check_directory(const char *dir)
{
        char path[sizeof(((struct ak_bus *)0)->dir)];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s", dir);
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *slash = '/';
        }
        if (mkdir(dir, 0700) < 0 && errno != EEXIST)
                return -errno;
        if (lstat(dir, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0077)) {
                ak_log(AK_LOG_ERROR, "bus_directory_refused", "dir", dir, "mode",
                       AK_FMT("%04o", (unsigned)st.st_mode & 07777), "uid", AK_FMT("%u", (unsigned)st.st_uid),
                       "remedy", "it must be a directory of this user with mode 0700", NULL);
                return -EPERM;
        }
        return 0;
}

static int lock_name(struct ak_bus *bus)
{
        char path[sizeof(bus->dir) + AK_BUS_NAME_MAX + 8];

        (void)snprintf(path, sizeof(path), "%s/%s.lock", bus->dir, bus->name);
        bus->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (bus->lock_fd < 0)
                return -errno;
        if (flock(bus->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                int r = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;

                ak_log(AK_LOG_ERROR, "bus_name_in_use", "dir", bus->dir, "name", bus->name, "remedy",
                       "a service of this name runs already: stop it, or use another --bus-dir", NULL);
                return r;
        }
        return 0;
}

static int socket_path(const struct ak_bus *bus, struct sockaddr_un *out)
{
        int n;

        *out = (struct sockaddr_un){.sun_family = AF_UNIX};
        n = snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", bus->dir, bus->name);
        return n < 0 || (size_t)n >= sizeof(out->sun_path) ? -EINVAL : 0;
}

/* A listening socket at DIR/NAME in place of whatever a crash left there. */
static int listen_at_path(struct ak_bus *bus, int *out)
{
        AK_AUTOCLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un addr;

        if (fd < 0)
                return -errno;
        if (socket_path(bus, &addr) < 0)
                return -EINVAL;
        if (unlink(addr.sun_path) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
                return -errno;
        bus->bound = true;
        if (listen(fd, SOMAXCONN) < 0)
                return -errno;
        *out = fd;
        fd = -1;
        return 0;
}

static int bind_ipc(struct ak_bus *bus)
{
        AK_AUTOCLOSE int fd = -1;
        int r = lock_name(bus);

        if (r == 0)
                r = listen_at_path(bus, &fd);
        if (r < 0)
                return r;
        zsock_set_use_fd(bus->pub, fd);
        if (zsock_bind(bus->pub, "ipc://%s/%s", bus->dir, bus->name) < 0)
                return -errno;
        fd = -1; /* ZeroMQ closes it */
        return 0;
}

static int bind_tcp(struct ak_bus *bus, const char *endpoint)
{
        int r = bus_curve_serve(bus->curve, bus->pub);

        if (r < 0)
                return r;
        zsock_set_maxmsgsize(bus->pub, MAX_HANDSHAKE);
        zsock_set_ipv6(bus->pub, strchr(endpoint, '[') != NULL);
        if (zsock_bind(bus->pub, "%s", endpoint) >= 0)
                return 0;
        r = errno ? -errno : -EINVAL;
        ak_log(AK_LOG_ERROR, "bus_listen_failed", "endpoint", endpoint, "error", zmq_strerror(-r), "remedy",
               "give --bus-listen tcp://ADDRESS:PORT with an address of this host and a free port", NULL);
        return r;
}

static int bind_publisher(struct ak_bus *bus)
{
        const char *listen = bus->net ? bus->net->listen : NULL;
        int r;

        bus->pub = zsock_new(ZMQ_XPUB);
        if (!bus->pub)
                return -ENOMEM;
        zsock_set_xpub_verbose(bus->pub, 1);
        zsock_set_sndhwm(bus->pub, bus->hwm);
        zsock_set_linger(bus->pub, LINGER_MS);
        zsock_set_maxmsgsize(bus->pub, AK_BUS_TOPIC_MAX + 1);
        r = listen ? bind_tcp(bus, listen) : bind_ipc(bus);
        if (r < 0)
                return r;
        return zloop_reader(bus->loop, bus->pub, on_subscription, bus) < 0 ? -ENOMEM : 0;
}

static int start(struct ak_bus *bus, const struct ak_bus_options *o)
{
        int r = check_directory(bus->dir);

        if (r == 0 && bus->net && bus->net->keys)
                r = bus_curve_new(&bus->curve, bus, o); /* not -EPERM, which is the directory's */
        if (r == 0 && bus->name[0])
                r = bind_publisher(bus);
        if (r < 0)
                return r;
        bus->mark_timer = zloop_timer(bus->loop, bus->mark_interval_us / 1000, 0, on_mark_timer, bus);
        return bus->mark_timer < 0 ? -ENOMEM : 0;
}

/* ------------------------------------------------------------------ tcp */

const char *bus_endpoint_of(const struct ak_bus *bus, const char *peer)
{
        size_t len = strlen(peer);

        for (size_t i = 0; bus->net && i < bus->net->peers.count; i++) {
                const char *item = bus->net->peers.items[i];

                if (strncmp(item, peer, len) == 0 && item[len] == '=')
                        return item + len + 1;
        }
        return NULL;
}

static int refuse_setting(const char *option, const char *value, const char *remedy, int r)
{
        ak_log(AK_LOG_ERROR, "bus_setting_refused", "option", option, "value", value, "remedy", remedy, NULL);
        return r;
}

/* ipc and inproc have no CURVE, and other transports no place here. */
static bool is_tcp(const char *endpoint)
{
        const char *rest = endpoint + strlen("tcp://");
        const char *colon = strrchr(endpoint, ':');

        return strncmp(endpoint, "tcp://", strlen("tcp://")) == 0 && colon > rest && colon[1] &&
               strlen(endpoint) <= AK_BUS_TOPIC_MAX;
}

static int check_peer(const char *item)
{
        char name[AK_BUS_NAME_MAX + 1];
        const char *equals = strchr(item, '=');
        size_t len = equals ? (size_t)(equals - item) : 0;

        if (len == 0 || len >= sizeof(name) || !is_tcp(equals + 1))
                return -EINVAL;
        memcpy(name, item, len);
        name[len] = '\0';
        return ak_bus_name_valid(name) ? 0 : -EINVAL;
}

static int check_net(const struct ak_bus_net *net)
{
        if (net->listen && !is_tcp(net->listen))
                return refuse_setting("bus-listen", net->listen, "must be tcp://ADDRESS:PORT", -EINVAL);
        for (size_t i = 0; i < net->peers.count; i++)
                if (check_peer(net->peers.items[i]) < 0)
                        return refuse_setting("bus-peer", net->peers.items[i],
                                              "must be NAME=tcp://ADDRESS:PORT", -EINVAL);
        if (net->keys || (!net->listen && net->peers.count == 0))
                return 0;
        return refuse_setting(
            net->listen ? "bus-listen" : "bus-peer", net->listen ? net->listen : net->peers.items[0],
            "tcp is used with CURVE only, on loopback too: make certificates with `alkaidctl keys "
            "generate` and name their directory with --bus-keys",
            -ENOKEY);
}

static int check_options(const struct ak_bus_options *o)
{
        size_t name_len = o->name ? strlen(o->name) : AK_BUS_NAME_MAX;
        int r;

        if (!o->dir || (o->name && !ak_bus_name_valid(o->name)))
                return -EINVAL;
        r = o->net ? check_net(o->net) : 0;
        if (r < 0)
                return r;
        /* sun_path must hold DIR/NAME and NUL: unix(7). */
        if (strlen(o->dir) + 1 + name_len + 1 > sizeof(((struct sockaddr_un *)0)->sun_path)) {
                ak_log(AK_LOG_ERROR, "bus_directory_too_long", "dir", o->dir, "remedy",
                       "choose a shorter --bus-dir", NULL);
                return -EINVAL;
        }
        return 0;
}

static void free_item(void **item)
{
        free(*item);
        *item = NULL;
}

static int bus_init(struct ak_bus *bus, zloop_t *loop, const struct ak_bus_options *o,
                    const struct ak_bus_handler *handler)
{
        bus->loop = loop;
        bus->handler = *handler;
        bus->lock_fd = bus->mark_timer = bus->replay_timer = -1;
        bus->epoch = o->epoch ? o->epoch : random_epoch();
        bus->max_topics = o->max_topics ? o->max_topics : AK_BUS_MAX_TOPICS;
        bus->mark_interval_us = o->mark_interval_us ? o->mark_interval_us : MARK_INTERVAL_US;
        if (bus->mark_interval_us < 1000)
                bus->mark_interval_us = 1000; /* a tick of zloop */
        bus->net = o->net;
        bus->may_publish = o->may_publish;
        bus->hwm = o->hwm ? (int)o->hwm : DEFAULT_HWM;
        bus->passive = o->passive;
        bus->reject_limit = bus->gap_limit =
            (struct ak_ratelimit){.interval_us = 10 * 1000 * 1000, .burst = 5};
        (void)snprintf(bus->dir, sizeof(bus->dir), "%s", o->dir);
        (void)snprintf(bus->name, sizeof(bus->name), "%s", o->name ? o->name : "");
        TAILQ_INIT(&bus->order);
        bus->values = zhashx_new();
        bus->sync_listeners = zhashx_new();
        if (!bus->values || !bus->sync_listeners)
                return -ENOMEM;
        zhashx_set_destructor(bus->values, free_item);
        return 0;
}

int ak_bus_new(struct ak_bus **out, zloop_t *loop, const struct ak_bus_options *o,
               const struct ak_bus_handler *handler)
{
        AK_CLEANUP(ak_bus_freep) struct ak_bus *bus = NULL;
        int r = check_options(o);

        if (r < 0)
                return r;
        bus = calloc(1, sizeof(*bus));
        if (!bus)
                return -ENOMEM;
        r = bus_init(bus, loop, o, handler);
        if (r == 0)
                r = start(bus, o);
        if (r < 0)
                return r;
        *out = AK_STEAL(bus);
        return 0;
}

static void close_publisher(struct ak_bus *bus)
{
        struct sockaddr_un addr;

        if (bus->bound && socket_path(bus, &addr) == 0)
                (void)unlink(addr.sun_path);
        if (bus->pub) {
                zloop_reader_end(bus->loop, bus->pub);
                zsock_destroy(&bus->pub);
        }
        if (bus->lock_fd >= 0)
                close(bus->lock_fd); /* last: now the name may have a new owner */
}

struct ak_bus *ak_bus_free(struct ak_bus *bus)
{
        if (!bus)
                return NULL;
        if (bus->mark_timer >= 0)
                zloop_timer_end(bus->loop, bus->mark_timer);
        if (bus->replay_timer >= 0)
                zloop_timer_end(bus->loop, bus->replay_timer);
        bus_peers_free(bus);
        close_publisher(bus);
        bus_curve_free(bus->curve);
        zhashx_destroy(&bus->values);
        zhashx_destroy(&bus->sync_listeners);
        free(bus);
        return NULL;
}

void ak_bus_stats(const struct ak_bus *bus, struct ak_bus_stats *out)
{
        *out = bus->stats;
        out->retained = zhashx_size(bus->values);
}
