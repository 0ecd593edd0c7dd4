/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus, receiving: one SUB per peer, so that a frame's envelope can be held against the endpoint that it
 * came from.
 *
 * Lost messages are found by their numbers, of live and of replayed messages apart; a mark tells the last
 * numbers, so that a loss at the end of a burst is found too. From then on the peer is `wanting`: it is
 * asked once, and again at each of its marks, until a mark says that a whole replay came just before it and
 * none of that is missing. So the loss of a request, or of part of an answer, only costs time.
 *
 * ZeroMQ gives a connection up for good when the peer breaks the protocol (a frame past ZMQ_MAXMSGSIZE is
 * enough), so a peer that has been silent for several marks is connected to anew. That takes a new socket:
 * zmq_disconnect(3) drops what follows a first frame that a poll has already taken in, and libzmq 4.3
 * aborts on the next receive.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libcommon/bus_curve.h"
#include "libcommon/bus_internal.h"
#include "libcommon/clock.h"

#define ASK_PAUSE_US (UINT64_C(100) * 1000)
#define SILENT_MARKS 3
/* of a sealed message: name, flags, nonce, box (RFC 26); rounded up */
#define CURVE_OVERHEAD 64

struct bus_peer {
        struct ak_bus *bus;
        char name[AK_BUS_NAME_MAX + 1];
        zsock_t *sub;
        zlistx_t *prefixes; /* char * */
        uint64_t epoch, old_epoch;
        struct bus_types seen;
        bool wanting;
        uint64_t asked_us;
        unsigned silent_marks; /* of ours, since it was last heard */
        struct bus_peer *next;
};

static void reject(struct ak_bus *bus, const char *peer, const char *why)
{
        uint32_t suppressed;

        bus->stats.rejected++;
        if (ak_ratelimit_pass(&bus->reject_limit, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "bus_frame_rejected", "peer", peer, "why", why, "suppressed",
                       AK_FMT("%u", suppressed), NULL);
}

/* ---- asking for the state again ---- */

/* ZeroMQ tells the peer of every subscription, but only of the last one's end: it never stops sending. */
static void subscribe_again(struct bus_peer *p, const char *prefix)
{
        zsock_set_subscribe(p->sub, prefix);
        zsock_set_unsubscribe(p->sub, prefix);
}

/* New subscriptions make the peer replay what they match. Its mark comes last. */
static void subscribe_anew(struct bus_peer *p)
{
        if (!p->sub)
                return;
        for (char *prefix = zlistx_first(p->prefixes); prefix; prefix = zlistx_next(p->prefixes))
                subscribe_again(p, prefix);
        subscribe_again(p, AK_BUS_TOPIC_MARK);
}

static int send_request(struct ak_bus *bus, const char *peer, const char *reason)
{
        char topic[AK_BUS_TOPIC_MAX + 1];
        struct ak_bus_frame f = {.publisher = bus->name,
                                 .topic = topic,
                                 .epoch = bus->epoch,
                                 .sent_us = ak_clock_realtime_us(),
                                 .trace = "",
                                 .body = (const uint8_t *)reason,
                                 .body_len = strlen(reason)};

        (void)snprintf(topic, sizeof(topic), AK_BUS_TOPIC_SYNC "%s", peer);
        return bus_send(bus, &f);
}

static void ask(struct bus_peer *p, const char *reason)
{
        struct ak_bus *bus = p->bus;
        uint64_t now = ak_clock_monotonic_us();

        if (bus->passive)
                return;
        p->wanting = true;
        if (p->asked_us != 0 && now - p->asked_us < ASK_PAUSE_US)
                return; /* its next mark reminds us */
        p->asked_us = now;
        bus->stats.sync_requests++;
        if (bus->pub && zhashx_lookup(bus->sync_listeners, p->name)) {
                (void)send_request(bus, p->name, reason);
                return;
        }
        subscribe_anew(p);
        p->wanting = false; /* ZeroMQ does not drop subscriptions */
}

void ak_bus_request_sync(struct ak_bus *bus, const char *peer, const char *reason)
{
        for (struct bus_peer *p = bus->peers; p; p = p->next)
                if (strcmp(p->name, peer) == 0)
                        ask(p, reason);
}

/* ---- numbers ---- */

/* Does one of the subscriptions cover the whole type? Only then are numbers without gaps. */
static bool covers_type(const struct bus_peer *p, const char *type, size_t len)
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

static struct bus_type *tracked_type(struct bus_peer *p, const char *topic)
{
        return covers_type(p, topic, ak_bus_type_len(topic)) ? bus_type(&p->seen, topic) : NULL;
}

static void gap(struct bus_peer *p, const char *topic, const char *what, uint64_t expected, uint64_t got)
{
        uint32_t suppressed;

        p->bus->stats.gaps++;
        if (ak_ratelimit_pass(&p->bus->gap_limit, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "bus_gap", "peer", p->name, "topic", topic, "of", what, "expected",
                       AK_FMT("%" PRIu64, expected), "got", AK_FMT("%" PRIu64, got), "suppressed",
                       AK_FMT("%u", suppressed), NULL);
        if (!p->wanting)
                ask(p, "gap");
}

/* False for a message that we have had already. */
static bool track_live(struct bus_peer *p, const struct ak_bus_frame *f)
{
        struct bus_type *t = tracked_type(p, f->topic);

        if (!t)
                return true;
        if (t->seq_known && f->seq <= t->seq) {
                p->bus->stats.duplicates++;
                return false;
        }
        if (t->seq_known && f->seq != t->seq + 1)
                gap(p, f->topic, "live", t->seq + 1, f->seq);
        t->seq = f->seq;
        t->seq_known = t->heard = true;
        return true;
}

/*
 * A mark may come before a subscription has taken effect, and what was sent in between comes as a replay. So
 * until the first live message a replay counts as one; later it must not, or it would hide a loss.
 */
static void track_replayed(struct bus_peer *p, const struct ak_bus_frame *f)
{
        struct bus_type *t = tracked_type(p, f->topic);

        p->bus->stats.replays_received++;
        if (!t)
                return;
        if (!t->heard && f->seq > t->seq)
                t->seq = f->seq;
        if (t->replay_known && f->replay_seq > t->replay_seq + 1)
                gap(p, f->topic, "replayed", t->replay_seq + 1, f->replay_seq);
        if (!t->replay_known || f->replay_seq > t->replay_seq)
                t->replay_seq = f->replay_seq;
        t->replay_known = true;
}

/* One number of a mark against ours; false when something is missing. */
static bool catch_up(struct bus_peer *p, const char *type, const char *what, uint64_t marked, uint64_t *ours,
                     bool *known)
{
        bool whole = !*known || marked <= *ours;

        if (!whole)
                gap(p, type, what, *ours, marked);
        if (!*known || marked > *ours)
                *ours = marked;
        *known = true;
        return whole;
}

static void on_mark(struct bus_peer *p, const struct ak_bus_frame *f)
{
        struct ak_bus_mark mark;
        bool whole = true;

        if (ak_bus_mark_decode(f->body, f->body_len, &mark) < 0) {
                reject(p->bus, p->name, "malformed sync.mark");
                return;
        }
        for (uint32_t i = 0; i < mark.types.count; i++) {
                struct bus_type *t = tracked_type(p, mark.types.items[i]);

                if (!t)
                        continue;
                whole &= catch_up(p, t->type, "live", mark.seqs.items[i], &t->seq, &t->seq_known);
                whole &= catch_up(p, t->type, "replayed", mark.replay_seqs.items[i], &t->replay_seq,
                                  &t->replay_known);
        }
        if (mark.full && whole)
                p->wanting = false;
        else if (p->wanting)
                ask(p, "still incomplete");
}

/* ---- frames ---- */

/* False for a frame of an earlier life of the peer. */
static bool note_epoch(struct bus_peer *p, uint64_t epoch)
{
        struct ak_bus *bus = p->bus;

        if (p->epoch == epoch)
                return true;
        if (p->old_epoch != 0 && epoch == p->old_epoch)
                return false;
        p->old_epoch = p->epoch;
        p->epoch = epoch;
        p->seen.count = 0;
        p->wanting = false;
        if (bus->handler.on_peer_epoch)
                bus->handler.on_peer_epoch(bus->handler.arg, p->name, epoch);
        return true;
}

static void dispatch(struct bus_peer *p, const struct ak_bus_frame *f)
{
        struct ak_bus *bus = p->bus;

        if (bus->handler.on_tap)
                bus->handler.on_tap(bus->handler.arg, f, false);
        if (strcmp(f->topic, AK_BUS_TOPIC_MARK) == 0) {
                on_mark(p, f);
                return;
        }
        if (strncmp(f->topic, AK_BUS_TOPIC_OWN, strlen(AK_BUS_TOPIC_OWN)) == 0) {
                if (strncmp(f->topic, AK_BUS_TOPIC_SYNC, strlen(AK_BUS_TOPIC_SYNC)) == 0 &&
                    strcmp(f->topic + strlen(AK_BUS_TOPIC_SYNC), bus->name) == 0)
                        bus_schedule_replay(bus);
                return; /* another's, or of a later version */
        }
        bus->stats.received++;
        if (f->replayed)
                track_replayed(p, f);
        else if (!track_live(p, f))
                return;
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

/* A good key opens the door; what may be said is the role's. */
static bool may_say(struct bus_peer *p, const char *topic)
{
        struct ak_bus *bus = p->bus;

        if (!bus->may_publish || strncmp(topic, AK_BUS_TOPIC_OWN, strlen(AK_BUS_TOPIC_OWN)) == 0 ||
            bus->may_publish(p->name, topic))
                return true;
        bus->stats.refused_topics++;
        return false;
}

static const char *parse_parts(struct bus_peer *p, zmq_msg_t parts[3], size_t count,
                               char topic[AK_BUS_TOPIC_MAX + 1], struct ak_bus_envelope *envelope,
                               struct ak_bus_frame *f)
{
        const char *why;

        if (count != 3)
                return "not three frames";
        why = ak_bus_frame_parse(zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]), zmq_msg_data(&parts[1]),
                                 zmq_msg_size(&parts[1]), topic, envelope, f);
        if (why)
                return why;
        if (strcmp(f->publisher, p->name) != 0)
                return "the envelope names another publisher than the endpoint's";
        if (zmq_msg_size(&parts[2]) > AK_SCHEMA_MAX_BYTES)
                return "body too long";
        f->body = zmq_msg_data(&parts[2]);
        f->body_len = zmq_msg_size(&parts[2]);
        if (!may_say(p, f->topic))
                return "this publisher has nothing to say about that";
        return NULL;
}

static void handle_parts(struct bus_peer *p, zmq_msg_t parts[3], size_t count)
{
        struct ak_bus_envelope envelope;
        struct ak_bus_frame f;
        char topic[AK_BUS_TOPIC_MAX + 1];
        const char *why = parse_parts(p, parts, count, topic, &envelope, &f);

        p->silent_marks = 0;
        if (!why && !note_epoch(p, f.epoch))
                why = "left over from before the peer's restart";
        if (why)
                reject(p->bus, p->name, why);
        else
                dispatch(p, &f);
}

static int on_peer_readable(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg)
{
        struct bus_peer *p = arg;
        void *socket = zsock_resolve(sock);
        const struct ak_bus_handler *handler = &p->bus->handler;
        int taken;

        for (taken = 0; taken < BUS_BATCH; taken++) {
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
        if (taken > 0 && handler->on_taken)
                handler->on_taken(handler->arg);
        return 0;
}

/* ---- life ---- */

static int connect_socket(struct bus_peer *p)
{
        struct ak_bus *bus = p->bus;
        const char *endpoint = bus_endpoint_of(bus, p->name);
        int r;

        if (!endpoint)
                return zsock_connect(p->sub, "ipc://%s/%s", bus->dir, p->name) < 0 ? -EINVAL : 0;
        r = bus_curve_connect(bus->curve, p->sub, p->name);
        if (r < 0)
                return r;
        zsock_set_maxmsgsize(p->sub, AK_SCHEMA_MAX_BYTES + CURVE_OVERHEAD);
        zsock_set_ipv6(p->sub, strchr(endpoint, '[') != NULL);
        return zsock_connect(p->sub, "%s", endpoint) < 0 ? -EINVAL : 0;
}

static int connect_peer(struct bus_peer *p)
{
        struct ak_bus *bus = p->bus;
        int r;

        p->silent_marks = 0;
        p->sub = zsock_new(ZMQ_SUB);
        if (!p->sub)
                return -ENOMEM;
        zsock_set_rcvhwm(p->sub, bus->hwm);
        zsock_set_linger(p->sub, 0);
        zsock_set_maxmsgsize(p->sub, AK_SCHEMA_MAX_BYTES);
        zsock_set_reconnect_ivl(p->sub, 20);
        zsock_set_reconnect_ivl_max(p->sub, 500);
        r = connect_socket(p);
        if (r < 0)
                return r;
        if (bus->name[0]) {
                char topic[AK_BUS_TOPIC_MAX + 1];

                (void)snprintf(topic, sizeof(topic), AK_BUS_TOPIC_SYNC "%s", bus->name);
                zsock_set_subscribe(p->sub, topic);
        }
        for (char *prefix = zlistx_first(p->prefixes); prefix; prefix = zlistx_next(p->prefixes))
                zsock_set_subscribe(p->sub, prefix);
        zsock_set_subscribe(p->sub, AK_BUS_TOPIC_MARK); /* last: it counts what the others bring */
        return zloop_reader(bus->loop, p->sub, on_peer_readable, p) < 0 ? -ENOMEM : 0;
}

static void disconnect_peer(struct bus_peer *p)
{
        if (!p->sub)
                return;
        zloop_reader_end(p->bus->loop, p->sub);
        zsock_destroy(&p->sub);
}

/* Mail that waits is no silence; nor is a loop that was held up and now has several marks to make up for. */
static bool is_silent(struct bus_peer *p)
{
        if (p->sub && (zsock_events(p->sub) & ZMQ_POLLIN))
                p->silent_marks = 0;
        return p->silent_marks++ >= SILENT_MARKS;
}

void bus_peers_check(struct ak_bus *bus)
{
        uint64_t now = ak_clock_monotonic_us();

        if (now - bus->checked_us < bus->mark_interval_us / 2)
                return;
        bus->checked_us = now;
        for (struct bus_peer *p = bus->peers; p; p = p->next) {
                if (!is_silent(p))
                        continue;
                disconnect_peer(p);
                if (connect_peer(p) < 0)
                        ak_log(AK_LOG_ERROR, "bus_connect_failed", "peer", p->name, NULL);
        }
}

static struct bus_peer *peer_free(struct bus_peer *p)
{
        if (!p)
                return NULL;
        disconnect_peer(p);
        zlistx_destroy(&p->prefixes);
        free(p);
        return NULL;
}
AK_DEFINE_CLEANUP(struct bus_peer *, peer_free)

void bus_peers_free(struct ak_bus *bus)
{
        while (bus->peers) {
                struct bus_peer *next = bus->peers->next;

                peer_free(bus->peers);
                bus->peers = next;
        }
}

static void free_item(void **item)
{
        free(*item);
        *item = NULL;
}

static void *dup_text(const void *text)
{
        return strdup(text);
}

static int peer_new(struct bus_peer **out, struct ak_bus *bus, const char *name)
{
        AK_CLEANUP(peer_freep) struct bus_peer *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->bus = bus;
        (void)snprintf(p->name, sizeof(p->name), "%s", name);
        p->prefixes = zlistx_new();
        if (!p->prefixes)
                return -ENOMEM;
        zlistx_set_destructor(p->prefixes, free_item);
        zlistx_set_duplicator(p->prefixes, dup_text);
        r = connect_peer(p);
        if (r < 0)
                return r;
        p->next = bus->peers;
        bus->peers = p;
        *out = AK_STEAL(p);
        return 0;
}

static bool has_prefix(struct bus_peer *p, const char *prefix)
{
        for (char *have = zlistx_first(p->prefixes); have; have = zlistx_next(p->prefixes))
                if (strcmp(have, prefix) == 0)
                        return true;
        return false;
}

int ak_bus_subscribe(struct ak_bus *bus, const char *peer, const char *prefix)
{
        struct bus_peer *p = bus->peers;
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
        if (has_prefix(p, prefix))
                return 0;
        if (!zlistx_add_end(p->prefixes, (void *)(uintptr_t)prefix))
                return -ENOMEM;
        if (p->sub)
                zsock_set_subscribe(p->sub, prefix);
        return 0;
}
