/* SPDX-License-Identifier: Apache-2.0 */
/* What bus.c (life, publishing) and bus_peer.c (receiving, gaps) share. */
#pragma once

#include <sys/queue.h>
#include <sys/un.h>

#include "libcommon/bus.h"
#include "libcommon/bus_wire.h"
#include "libcommon/log.h"

#define BUS_BATCH     256 /* messages taken from one socket before the others get their turn */
#define BUS_MAX_TYPES AK_BUS_MARK_TYPES

/* Last numbers of one type: those we gave, or those we saw. */
struct bus_type {
        char type[AK_BUS_MARK_TYPE_LEN + 1];
        uint64_t seq, replay_seq;
        bool seq_known, replay_known; /* receiving only: before the first there can be no gap */
        bool heard; /* receiving only: a live one; until then seq is what marks and replays say */
};

struct bus_types {
        struct bus_type items[BUS_MAX_TYPES];
        size_t count;
};

struct bus_value; /* a retained last value */
TAILQ_HEAD(bus_values, bus_value);

struct bus_peer;
struct bus_curve;

struct ak_bus {
        zloop_t *loop;
        struct ak_bus_handler handler;
        char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
        char name[AK_BUS_NAME_MAX + 1]; /* "" = listen only */
        uint64_t epoch;
        uint32_t max_topics;
        uint64_t mark_interval_us, checked_us;
        int hwm;
        bool passive;
        int lock_fd;
        zsock_t *pub;
        bool bound;               /* DIR/NAME is ours to remove */
        zhashx_t *values;         /* topic -> struct bus_value, which it owns */
        struct bus_values order;  /* the same, in the order of publication */
        zhashx_t *sync_listeners; /* names of peers that would hear our sync.request */
        struct bus_types published;
        struct bus_peer *peers;
        int mark_timer, replay_timer; /* -1 = not armed */
        struct bus_curve *curve;      /* NULL = no tcp */
        const struct ak_bus_net *net;
        bool (*may_publish)(const char *publisher, const char *topic);
        struct ak_ratelimit reject_limit, gap_limit;
        struct ak_bus_stats stats;
};

/* Finds or, where there is room, adds; NULL when the table is full: a peer cannot make it grow. */
struct bus_type *bus_type(struct bus_types *t, const char *topic);
int bus_send(struct ak_bus *bus, const struct ak_bus_frame *f);
/* Endpoint of a peer on tcp, in the settings; NULL = it is in DIR. */
const char *bus_endpoint_of(const struct ak_bus *bus, const char *peer);
/* Soon replays everything, once for all who ask meanwhile. */
void bus_schedule_replay(struct ak_bus *bus);
/* To be called once per mark interval. */
void bus_peers_check(struct ak_bus *bus);
void bus_peers_free(struct ak_bus *bus);
