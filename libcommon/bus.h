/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus: brokerless PUB/SUB between the services of one node.
 *
 * Each participant binds one XPUB socket at DIR/NAME and connects a SUB to each peer it listens to. A
 * message is three frames: topic, envelope, body. A topic is "TYPE/KEY…" ("nic.diff/<pod uid>/eth1");
 * bodies are opaque here (proto/ knows them).
 *
 * PUB/SUB loses messages, so the bus is built for state, not for events:
 *  - it keeps the last value of each topic (until ak_bus_forget()) and sends those that match to every new
 *    subscription, marked `replayed`;
 *  - each message carries the publisher's epoch (random per process start) and a sequence number per TYPE
 *    (live and replayed messages are numbered apart); a gap, or a peer's sync.mark (sent every mark
 *    interval, it carries the last number of each type) that shows one, makes the receiver publish
 *    sync.request/<peer>, answered by a replay; it asks again at every mark until a replay came through
 *    whole. A receiver that the peer does not listen to (a tap) subscribes anew instead;
 *  - a publisher that restarts has a new epoch; receivers learn it from the first message (on_peer_epoch).
 *
 * What a publisher can be made to hold is bounded: at most `max_topics` retained topics of at most
 * AK_SCHEMA_MAX_BYTES each; the socket's high-water marks are ZeroMQ's drop, healed by the gap rule.
 *
 * Sockets are ipc in DIR, which must be owned by us and mode 0700 (made so if absent), else -EPERM; whoever
 * can reach into it is trusted to be who they say. Over tcp (struct ak_bus_net) every connection is CURVE,
 * with certificates of a directory that is the allow-list (bus_keys.h); tcp without it is refused.
 *
 * Single-threaded: all calls come from the thread that runs `loop`. A handler may publish, subscribe and
 * forget, but not free the bus; the bus is freed before its loop.
 */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "libcommon/options.h"

#define AK_BUS_TOPIC_MAX  255
#define AK_BUS_NAME_MAX   63
#define AK_BUS_TRACE_MAX  55 /* W3C traceparent */
#define AK_BUS_MAX_TOPICS 65536
#define AK_BUS_VERSION    1 /* major; a receiver refuses a higher one, with a log line */

struct ak_bus_frame {
        const char *publisher; /* NAME of the sender */
        const char *topic;
        uint64_t epoch, seq;
        uint64_t sent_us;    /* the sender's real time; for people and traces only */
        const char *trace;   /* traceparent, "" where unknown */
        bool replayed;       /* a last value sent again, not news */
        uint64_t replay_seq; /* number of a replayed message, per type; for the bus's own use */
        const uint8_t *body;
        size_t body_len;
};

struct ak_bus_handler {
        /* A message of a subscribed topic. Data is valid during the call. */
        void (*on_message)(void *arg, const struct ak_bus_frame *frame);
        /* What was waiting of one peer has been taken, or the most of it that is taken at once: before
         * anything else happens on the loop, after one or more on_message. May be NULL. */
        void (*on_taken)(void *arg);
        /* A peer was seen for the first time or with a new epoch. May be NULL. */
        void (*on_peer_epoch)(void *arg, const char *peer, uint64_t epoch);
        /* Every valid frame received or published, the bus's own sync.* too, for recording. May be NULL. */
        void (*on_tap)(void *arg, const struct ak_bus_frame *frame, bool outgoing);
        void *arg;
};

/* Where sockets are that are not in DIR; settings of every service, see AK_BUS_NET_OPTIONS. */
struct ak_bus_net {
        char *listen;            /* tcp://ADDRESS:PORT; NULL = DIR/NAME */
        char *keys;              /* directory of certificates; NULL = none, then there is no tcp */
        struct ak_strlist peers; /* NAME=tcp://ADDRESS:PORT */
};

/* Rows of an options table for the member `net` of `owner`: of who listens only, and of who publishes too. */
#define AK_BUS_PEER_OPTIONS(owner, net)                                                                      \
        {.name = "bus-peer",                                                                                 \
         .type = AK_OPT_LIST,                                                                                \
         .offset = offsetof(owner, net.peers),                                                               \
         .help = "NAME=tcp://ADDRESS:PORT of a peer that publishes there; may be repeated"},                 \
        {                                                                                                    \
                .name = "bus-keys", .type = AK_OPT_STRING, .offset = offsetof(owner, net.keys),              \
                .help = "directory of the bus's certificates (alkaidctl keys), mode 0700; the allow-list"    \
        }
#define AK_BUS_NET_OPTIONS(owner, net)                                                                       \
        {.name = "bus-listen",                                                                               \
         .type = AK_OPT_STRING,                                                                              \
         .offset = offsetof(owner, net.listen),                                                              \
         .help = "tcp://ADDRESS:PORT to publish at instead of a socket in the bus directory; CURVE only"},   \
            AK_BUS_PEER_OPTIONS(owner, net)

struct ak_bus_options {
        const char *dir;           /* e.g. /run/alkaid/bus */
        const char *name;          /* own name: [a-z0-9-]+ ; NULL = listen only (a tap) */
        uint64_t mark_interval_us; /* 0 = 5 s */
        uint32_t max_topics;       /* 0 = AK_BUS_MAX_TOPICS */
        uint64_t epoch;            /* 0 = random */
        uint32_t hwm;              /* messages queued for or from one peer before ZeroMQ drops; 0 = 100000 */
        bool passive; /* counts what it misses, but never asks for it: a publisher feels nothing */
        const struct ak_bus_net *net; /* NULL = ipc only */
        const char *const *roles;     /* whose certificates may listen to us on tcp; NULL = of any role */
        /* Whether a peer may say that; NULL = anything. The bus's own topics it always may. */
        bool (*may_publish)(const char *publisher, const char *topic);
};

struct ak_bus;

/*
 * 0, -EPERM (directory), -EADDRINUSE (a live owner holds the name), -ENOKEY (tcp without keys), -EACCES
 * (certificate that is open to others or of another role), -EINVAL, -ENOMEM; a log line says which file or
 * setting is wrong, and the remedy.
 */
int ak_bus_new(struct ak_bus **out, zloop_t *loop, const struct ak_bus_options *options,
               const struct ak_bus_handler *handler);
struct ak_bus *ak_bus_free(struct ak_bus *bus);
AK_DEFINE_CLEANUP(struct ak_bus *, ak_bus_free)

/* Listens to `peer` for all topics that begin with `prefix`. The peer need not exist yet. */
int ak_bus_subscribe(struct ak_bus *bus, const char *peer, const char *prefix);
/*
 * A topic is TYPE or TYPE/KEY…; TYPE is at most 63 bytes and does not begin with "sync.", which is the bus's.
 * Publishes and, with `retain`, keeps as the topic's last value. Never blocks.
 * 0, -EINVAL (topic), -EMSGSIZE, -ENOSPC (too many topics), -ENOMEM.
 */
int ak_bus_publish(struct ak_bus *bus, const char *topic, const char *trace, const void *body, size_t len,
                   bool retain);
/* Drops the retained value of a topic; the topic's object is no more. */
void ak_bus_forget(struct ak_bus *bus, const char *topic);
/* Asks a peer to send its last values again. */
void ak_bus_request_sync(struct ak_bus *bus, const char *peer, const char *reason);

struct ak_bus_stats {
        uint64_t published, received, replayed, replays_received, gaps, duplicates, rejected, sync_requests,
            subscriptions;
        /* of others' attempts: to connect, and to say what is not theirs to say */
        uint64_t refused_keys, refused_roles, refused_handshakes, refused_topics;
        size_t retained;
};
void ak_bus_stats(const struct ak_bus *bus, struct ak_bus_stats *out);
