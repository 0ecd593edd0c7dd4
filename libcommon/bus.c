/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus on ZeroMQ: sockets, envelopes, last values, gap detection. bus.h tells the idea.
 *
 * A subscription frame that reaches our XPUB is answered by a replay of what matches it; since ZeroMQ sends
 * subscriptions again after every reconnect, a restarted publisher or subscriber is brought up to date by
 * that alone. Live messages are numbered per type, because a subscriber sees whole types only: a number per
 * publisher would show gaps where there are none. A subscription narrower than a type is not watched for
 * gaps.
 *
 * Replays go to everyone who subscribed to the topic, not only to who asked; hence the flag `replayed` and
 * the rule that a replayed message never moves a sequence number.
 */
#include "libcommon/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "libcommon/bus_wire.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"

#define MARK_INTERVAL_US (UINT64_C(5) * 1000 * 1000)
#define REPLAY_PAUSE_MS  100 /* at most one answer to sync.request in this time */
#define BATCH            256 /* messages taken from one socket before the others get their turn */
#define HWM              100000
#define MAX_TYPES        32

struct value {
        uint64_t seq;
        uint64_t sent_us;
        char trace[AK_BUS_TRACE_MAX + 1];
        size_t len;
        uint8_t body[];
};

struct type_seq {
        char type[AK_BUS_MARK_TYPE_LEN + 1];
        uint64_t seq;
};

struct seq_table {
        struct type_seq items[MAX_TYPES];
        size_t count;
};

struct peer {
        struct ak_bus *bus;
        char name[AK_BUS_NAME_MAX + 1];
        zsock_t *sub;
        zlistx_t *prefixes; /* char * */
        uint64_t epoch;
        struct seq_table seen;
        struct peer *next;
};

struct ak_bus {
        zloop_t *loop;
        struct ak_bus_handler handler;
        char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
        char name[AK_BUS_NAME_MAX + 1]; /* "" = listen only */
        uint64_t epoch;
        uint32_t max_topics;
        int lock_fd;
        zsock_t *pub;
        zhashx_t *values; /* topic -> struct value */
        struct seq_table published;
        struct peer *peers;
        int mark_timer, replay_timer; /* -1 = not armed */
        struct ak_ratelimit reject_limit;
        struct ak_bus_stats stats;
};

/* ---- small parts ---- */

static size_t type_len(const char *topic)
{
        return strcspn(topic, "/");
}

/* NULL when the table is full: a peer cannot make it grow. */
static struct type_seq *seq_entry(struct seq_table *t, const char *topic, bool *created)
{
        size_t len = type_len(topic);

        *created = false;
        for (size_t i = 0; i < t->count; i++)
                if (strlen(t->items[i].type) == len && memcmp(t->items[i].type, topic, len) == 0)
                        return &t->items[i];
        if (t->count == MAX_TYPES || len > AK_BUS_MARK_TYPE_LEN)
                return NULL;
        *created = true;
        struct type_seq *e = &t->items[t->count++];
        memcpy(e->type, topic, len);
        e->type[len] = '\0';
        e->seq = 0;
        return e;
}

static void reject(struct ak_bus *bus, const char *peer, const char *why)
{
        uint32_t suppressed;

        bus->stats.rejected++;
        if (ak_ratelimit_pass(&bus->reject_limit, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "bus_frame_rejected", "peer", peer, "why", why, "suppressed",
                       AK_FMT("%u", suppressed), NULL);
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

static int send_frames(struct ak_bus *bus, const struct ak_bus_frame *f)
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

static int retain(struct ak_bus *bus, const struct ak_bus_frame *f)
{
        struct value *v;

        if (!zhashx_lookup(bus->values, f->topic) && zhashx_size(bus->values) >= bus->max_topics)
                return -ENOSPC;
        v = malloc(sizeof(*v) + f->body_len);
        if (!v)
                return -ENOMEM;
        *v = (struct value){.seq = f->seq, .sent_us = f->sent_us, .len = f->body_len};
        (void)snprintf(v->trace, sizeof(v->trace), "%s", f->trace);
        if (f->body_len)
                memcpy(v->body, f->body, f->body_len);
        zhashx_update(bus->values, f->topic, v);
        return 0;
}

int ak_bus_publish(struct ak_bus *bus, const char *topic, const char *trace, const void *body, size_t len,
                   bool keep)
{
        bool created;
        struct type_seq *seq;
        int r;

        if (!bus->pub || !ak_bus_topic_valid(topic) || (trace && strlen(trace) > AK_BUS_TRACE_MAX))
                return -EINVAL;
        if (len > AK_SCHEMA_MAX_BYTES)
                return -EMSGSIZE;
        seq = seq_entry(&bus->published, topic, &created);
        if (!seq)
                return -ENOSPC;
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = topic,
                                 .epoch = bus->epoch,
                                 .seq = seq->seq + 1,
                                 .sent_us = ak_clock_realtime_us(),
                                 .trace = trace ? trace : "",
                                 .body = body,
                                 .body_len = len};
        if (keep) {
                r = retain(bus, &f);
                if (r < 0)
                        return r;
        }
        r = send_frames(bus, &f);
        if (r < 0)
                return r;
        seq->seq++;
        bus->stats.published++;
        return 0;
}

void ak_bus_forget(struct ak_bus *bus, const char *topic)
{
        zhashx_delete(bus->values, topic);
}

static void replay(struct ak_bus *bus, const char *prefix, size_t prefix_len)
{
        for (struct value *v = zhashx_first(bus->values); v; v = zhashx_next(bus->values)) {
                const char *topic = zhashx_cursor(bus->values);

                if (strncmp(topic, prefix, prefix_len) != 0)
                        continue;
                struct ak_bus_frame f = {.publisher = bus->name,
                                         .topic = topic,
                                         .epoch = bus->epoch,
                                         .seq = v->seq,
                                         .sent_us = v->sent_us,
                                         .trace = v->trace,
                                         .replayed = true,
                                         .body = v->body,
                                         .body_len = v->len};
                if (send_frames(bus, &f) == 0)
                        bus->stats.replayed++;
        }
}

static void publish_mark(struct ak_bus *bus)
{
        struct ak_bus_mark mark = {0};
        AK_AUTOFREE uint8_t *body = NULL;
        size_t len;

        for (size_t i = 0; i < bus->published.count && mark.types.count < AK_BUS_MARK_TYPES; i++) {
                const struct type_seq *t = &bus->published.items[i];
                (void)snprintf(mark.types.items[mark.types.count++], AK_BUS_MARK_TYPE_LEN + 1, "%s", t->type);
                mark.seqs.items[mark.seqs.count++] = t->seq;
        }
        if (ak_record_encode(&ak_bus_mark_record, &mark, &body, &len) < 0)
                return;
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = AK_BUS_TOPIC_MARK,
                                 .epoch = bus->epoch,
                                 .sent_us = ak_clock_realtime_us(),
                                 .trace = "",
                                 .replayed = true,
                                 .body = body,
                                 .body_len = len};
        (void)send_frames(bus, &f);
}

static int on_mark_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        publish_mark(arg);
        return 0;
}

static int on_replay_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct ak_bus *bus = arg;

        bus->replay_timer = -1;
        replay(bus, "", 0);
        publish_mark(bus);
        return 0;
}

/* A subscription: byte 1 and the prefix. Byte 0, its end, needs nothing. */
static int on_subscription(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg)
{
        struct ak_bus *bus = arg;
        char frame[AK_BUS_TOPIC_MAX + 2];

        for (int i = 0; i < BATCH; i++) {
                int len = zmq_recv(zsock_resolve(sock), frame, sizeof(frame), ZMQ_DONTWAIT);
                if (len < 0)
                        break;
                if (len < 1 || (size_t)len > sizeof(frame) - 1 || frame[0] != 1)
                        continue;
                frame[len] = '\0';
                replay(bus, frame + 1, (size_t)len - 1);
        }
        return 0;
}

/* ---- receiving ---- */

/* Does one of the subscriptions cover the whole type? Only then are numbers without gaps. */
static bool covers_type(const struct peer *p, const char *type, size_t len)
{
        for (char *prefix = zlistx_first(p->prefixes); prefix; prefix = zlistx_next(p->prefixes)) {
                size_t n = strlen(prefix);

                if (n <= len && strncmp(prefix, type, n) == 0)
                        return true;
                if (n == len + 1 && prefix[len] == '/' && strncmp(prefix, type, len) == 0)
                        return true;
        }
        return false;
}

static void gap(struct peer *p, const char *topic, uint64_t expected, uint64_t got)
{
        p->bus->stats.gaps++;
        ak_log(AK_LOG_WARN, "bus_gap", "peer", p->name, "topic", topic, "expected", AK_FMT("%lu", expected),
               "got", AK_FMT("%lu", got), NULL);
        ak_bus_request_sync(p->bus, p->name, "gap");
}

static void track_sequence(struct peer *p, const char *topic, uint64_t seq)
{
        bool created;
        struct type_seq *e;

        if (!covers_type(p, topic, type_len(topic)))
                return;
        e = seq_entry(&p->seen, topic, &created);
        if (!e)
                return;
        if (!created && seq <= e->seq) {
                p->bus->stats.duplicates++;
                return;
        }
        if (!created && seq != e->seq + 1)
                gap(p, topic, e->seq + 1, seq);
        e->seq = seq;
}

static void on_mark(struct peer *p, const struct ak_bus_frame *f)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        struct ak_bus_mark mark;

        if (ak_record_decode(&ak_bus_mark_record, f->body, f->body_len, &mark, error) < 0 ||
            mark.types.count != mark.seqs.count) {
                reject(p->bus, p->name, "malformed sync.mark");
                return;
        }
        for (uint32_t i = 0; i < mark.types.count; i++) {
                const char *type = mark.types.items[i];
                bool created;
                struct type_seq *e;

                if (!covers_type(p, type, strlen(type)))
                        continue;
                e = seq_entry(&p->seen, type, &created);
                if (!e || mark.seqs.items[i] <= e->seq)
                        continue;
                if (!created)
                        gap(p, type, e->seq, mark.seqs.items[i]);
                e->seq = mark.seqs.items[i];
        }
}

static void note_epoch(struct peer *p, uint64_t epoch)
{
        struct ak_bus *bus = p->bus;

        if (p->epoch == epoch)
                return;
        p->epoch = epoch;
        p->seen.count = 0;
        if (bus->handler.on_peer_epoch)
                bus->handler.on_peer_epoch(bus->handler.arg, p->name, epoch);
}

static void schedule_replay(struct ak_bus *bus)
{
        if (bus->pub && bus->replay_timer < 0)
                bus->replay_timer = zloop_timer(bus->loop, REPLAY_PAUSE_MS, 1, on_replay_timer, bus);
}

static void dispatch(struct peer *p, const struct ak_bus_frame *f)
{
        struct ak_bus *bus = p->bus;

        note_epoch(p, f->epoch);
        if (strcmp(f->topic, AK_BUS_TOPIC_MARK) == 0) {
                on_mark(p, f);
                return;
        }
        if (strncmp(f->topic, AK_BUS_TOPIC_SYNC, strlen(AK_BUS_TOPIC_SYNC)) == 0) {
                schedule_replay(bus);
                return;
        }
        bus->stats.received++;
        if (!f->replayed)
                track_sequence(p, f->topic, f->seq);
        if (bus->handler.on_tap)
                bus->handler.on_tap(bus->handler.arg, f, false);
        if (bus->handler.on_message)
                bus->handler.on_message(bus->handler.arg, f);
}

/* Takes all parts of one message; false when there is none. Frames past the third are read and dropped. */
static bool receive_parts(void *socket, zmq_msg_t parts[3], size_t *count)
{
        int more = 1;

        *count = 0;
        while (more) {
                zmq_msg_t part;

                zmq_msg_init(&part);
                if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
                        zmq_msg_close(&part);
                        return *count > 0;
                }
                more = zmq_msg_more(&part);
                if (*count < 3)
                        zmq_msg_move(&parts[*count], &part);
                zmq_msg_close(&part);
                (*count)++;
        }
        return true;
}

static void handle_parts(struct peer *p, zmq_msg_t parts[3], size_t count)
{
        struct ak_bus_envelope envelope;
        struct ak_bus_frame f;
        char topic[AK_BUS_TOPIC_MAX + 1];
        const char *why;

        if (count != 3) {
                reject(p->bus, p->name, "not three frames");
                return;
        }
        why = ak_bus_frame_parse(zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]), zmq_msg_data(&parts[1]),
                                 zmq_msg_size(&parts[1]), topic, &envelope, &f);
        if (!why && strcmp(f.publisher, p->name) != 0)
                why = "the envelope names another publisher than the endpoint's";
        if (!why && zmq_msg_size(&parts[2]) > AK_SCHEMA_MAX_BYTES)
                why = "body too long";
        if (why) {
                reject(p->bus, p->name, why);
                return;
        }
        f.body = zmq_msg_data(&parts[2]);
        f.body_len = zmq_msg_size(&parts[2]);
        dispatch(p, &f);
}

static int on_peer_readable(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg)
{
        struct peer *p = arg;
        void *socket = zsock_resolve(sock);

        for (int i = 0; i < BATCH; i++) {
                zmq_msg_t parts[3];
                size_t count;
                bool got;

                for (int k = 0; k < 3; k++)
                        zmq_msg_init(&parts[k]);
                got = receive_parts(socket, parts, &count);
                if (got)
                        handle_parts(p, parts, count);
                for (int k = 0; k < 3; k++)
                        zmq_msg_close(&parts[k]);
                if (!got)
                        break;
        }
        return 0;
}

static struct peer *peer_free(struct peer *p)
{
        if (!p)
                return NULL;
        if (p->sub) {
                zloop_reader_end(p->bus->loop, p->sub);
                zsock_destroy(&p->sub);
        }
        zlistx_destroy(&p->prefixes);
        free(p);
        return NULL;
}
AK_DEFINE_CLEANUP(struct peer *, peer_free)

static void free_item(void **item)
{
        free(*item);
        *item = NULL;
}

static void *dup_text(const void *text)
{
        return strdup(text);
}

static int peer_new(struct peer **out, struct ak_bus *bus, const char *name)
{
        AK_CLEANUP(peer_freep) struct peer *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        p->bus = bus;
        (void)snprintf(p->name, sizeof(p->name), "%s", name);
        p->prefixes = zlistx_new();
        p->sub = zsock_new(ZMQ_SUB);
        if (!p->prefixes || !p->sub)
                return -ENOMEM;
        zlistx_set_destructor(p->prefixes, free_item);
        zlistx_set_duplicator(p->prefixes, dup_text);
        zsock_set_rcvhwm(p->sub, HWM);
        zsock_set_linger(p->sub, 0);
        zsock_set_maxmsgsize(p->sub, AK_SCHEMA_MAX_BYTES);
        zsock_set_reconnect_ivl(p->sub, 20);
        zsock_set_reconnect_ivl_max(p->sub, 500);
        if (zsock_connect(p->sub, "ipc://%s/%s", bus->dir, name) < 0)
                return -EINVAL;
        zsock_set_subscribe(p->sub, AK_BUS_TOPIC_MARK);
        if (bus->name[0]) {
                char topic[AK_BUS_TOPIC_MAX + 1];
                (void)snprintf(topic, sizeof(topic), AK_BUS_TOPIC_SYNC "%s", bus->name);
                zsock_set_subscribe(p->sub, topic);
        }
        if (zloop_reader(bus->loop, p->sub, on_peer_readable, p) < 0)
                return -ENOMEM;
        p->next = bus->peers;
        bus->peers = p;
        *out = AK_STEAL(p);
        return 0;
}

int ak_bus_subscribe(struct ak_bus *bus, const char *peer, const char *prefix)
{
        struct peer *p = bus->peers;
        int r;

        if (!ak_bus_name_valid(peer) || strlen(prefix) > AK_BUS_TOPIC_MAX)
                return -EINVAL;
        while (p && strcmp(p->name, peer) != 0)
                p = p->next;
        if (!p) {
                r = peer_new(&p, bus, peer);
                if (r < 0)
                        return r;
        }
        if (!zlistx_add_end(p->prefixes, (void *)prefix))
                return -ENOMEM;
        zsock_set_subscribe(p->sub, prefix);
        return 0;
}

void ak_bus_request_sync(struct ak_bus *bus, const char *peer, const char *reason)
{
        char topic[AK_BUS_TOPIC_MAX + 1];
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = topic,
                                 .epoch = bus->epoch,
                                 .sent_us = ak_clock_realtime_us(),
                                 .trace = "",
                                 .replayed = true,
                                 .body = (const uint8_t *)reason,
                                 .body_len = strlen(reason)};

        if (!bus->pub)
                return;
        (void)snprintf(topic, sizeof(topic), AK_BUS_TOPIC_SYNC "%s", peer);
        if (send_frames(bus, &f) == 0)
                bus->stats.sync_requests++;
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

/*
 * ZeroMQ unlinks whatever stands at an ipc path before it binds, be it a live service's. So the name is
 * owned by who holds the lock; a crash gives it back.
 */
static int lock_name(struct ak_bus *bus)
{
        char path[sizeof(bus->dir) + AK_BUS_NAME_MAX + 8];

        (void)snprintf(path, sizeof(path), "%s/%s.lock", bus->dir, bus->name);
        bus->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (bus->lock_fd < 0)
                return -errno;
        if (flock(bus->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
        return 0;
}

static int bind_publisher(struct ak_bus *bus)
{
        int r = lock_name(bus);

        if (r < 0)
                return r;
        bus->pub = zsock_new(ZMQ_XPUB);
        if (!bus->pub)
                return -ENOMEM;
        zsock_set_xpub_verbose(bus->pub, 1);
        zsock_set_sndhwm(bus->pub, HWM);
        zsock_set_linger(bus->pub, 0);
        zsock_set_maxmsgsize(bus->pub, AK_BUS_TOPIC_MAX + 1);
        if (zsock_bind(bus->pub, "ipc://%s/%s", bus->dir, bus->name) < 0)
                return -errno;
        if (zloop_reader(bus->loop, bus->pub, on_subscription, bus) < 0)
                return -ENOMEM;
        return 0;
}

static int start(struct ak_bus *bus, const struct ak_bus_options *o)
{
        uint64_t interval = o->mark_interval_us ? o->mark_interval_us : MARK_INTERVAL_US;
        int r = check_directory(o->dir);

        if (r < 0 || !o->name)
                return r;
        r = bind_publisher(bus);
        if (r < 0)
                return r;
        bus->mark_timer = zloop_timer(bus->loop, interval / 1000, 0, on_mark_timer, bus);
        return bus->mark_timer < 0 ? -ENOMEM : 0;
}

int ak_bus_new(struct ak_bus **out, zloop_t *loop, const struct ak_bus_options *o,
               const struct ak_bus_handler *handler)
{
        AK_CLEANUP(ak_bus_freep) struct ak_bus *bus = NULL;
        size_t name_len = o->name ? strlen(o->name) : AK_BUS_NAME_MAX;
        int r;

        if (!o->dir || (o->name && !ak_bus_name_valid(o->name)))
                return -EINVAL;
        /* sun_path must hold DIR/NAME and NUL: unix(7). */
        if (strlen(o->dir) + 1 + name_len + 1 > sizeof(bus->dir)) {
                ak_log(AK_LOG_ERROR, "bus_directory_too_long", "dir", o->dir, "remedy",
                       "choose a shorter --bus-dir", NULL);
                return -EINVAL;
        }
        bus = calloc(1, sizeof(*bus));
        if (!bus)
                return -ENOMEM;
        bus->loop = loop;
        bus->handler = *handler;
        bus->lock_fd = bus->mark_timer = bus->replay_timer = -1;
        bus->epoch = o->epoch ? o->epoch : random_epoch();
        bus->max_topics = o->max_topics ? o->max_topics : AK_BUS_MAX_TOPICS;
        bus->reject_limit = (struct ak_ratelimit){.interval_us = 10 * 1000 * 1000, .burst = 5};
        (void)snprintf(bus->dir, sizeof(bus->dir), "%s", o->dir);
        (void)snprintf(bus->name, sizeof(bus->name), "%s", o->name ? o->name : "");
        bus->values = zhashx_new();
        if (!bus->values)
                return -ENOMEM;
        zhashx_set_destructor(bus->values, free_item);
        r = start(bus, o);
        if (r < 0)
                return r;
        *out = AK_STEAL(bus);
        return 0;
}

struct ak_bus *ak_bus_free(struct ak_bus *bus)
{
        if (!bus)
                return NULL;
        if (bus->mark_timer >= 0)
                zloop_timer_end(bus->loop, bus->mark_timer);
        if (bus->replay_timer >= 0)
                zloop_timer_end(bus->loop, bus->replay_timer);
        for (struct peer *p = bus->peers, *next; p; p = next) {
                next = p->next;
                peer_free(p);
        }
        if (bus->pub) {
                zloop_reader_end(bus->loop, bus->pub);
                zsock_destroy(&bus->pub);
        }
        zhashx_destroy(&bus->values);
        if (bus->lock_fd >= 0)
                close(bus->lock_fd);
        free(bus);
        return NULL;
}

void ak_bus_stats(const struct ak_bus *bus, struct ak_bus_stats *out)
{
        *out = bus->stats;
        out->retained = zhashx_size(bus->values);
}
