/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the bus share: parties over real sockets in a directory of their own. Waiting is always
 * for a condition, with a deadline that only a failure reaches.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "libcommon/bus.h"
#include "libcommon/bus_wire.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"

#define DEADLINE_US (UINT64_C(20) * 1000 * 1000)
#define MARK_US     (UINT64_C(1000) * 1000) /* a few of silence are not reached on a busy machine */

/* --- a party: one bus and what it has seen -------------------------------------------- */

struct seen {
        char topic[AK_BUS_TOPIC_MAX + 1];
        char body[64];
        uint64_t seq;
        bool replayed;
};

struct party {
        struct ak_bus *bus;
        struct seen last[512];
        size_t count;              /* messages in all; the ring keeps the last ones */
        size_t taken, taken_count; /* calls of on_taken, and `count` at the last of them */
        uint64_t epochs[8];
        size_t epoch_count;
        size_t tapped_in, tapped_out;
};

struct world {
        char dir[64];
        zloop_t *loop;
        uint64_t deadline;
        bool (*until)(void *arg);
        void *arg;
};

static AK_UNUSED void on_message(void *arg, const struct ak_bus_frame *f)
{
        struct party *p = arg;
        struct seen *s = &p->last[p->count++ % AK_ARRAY_SIZE(p->last)];
        size_t n = f->body_len < sizeof(s->body) - 1 ? f->body_len : sizeof(s->body) - 1;

        (void)snprintf(s->topic, sizeof(s->topic), "%s", f->topic);
        memcpy(s->body, f->body, n);
        s->body[n] = '\0';
        s->seq = f->seq;
        s->replayed = f->replayed;
}

static AK_UNUSED void on_taken(void *arg)
{
        struct party *p = arg;

        p->taken++;
        p->taken_count = p->count;
}

static AK_UNUSED void on_epoch(void *arg, const char *peer AK_UNUSED, uint64_t epoch)
{
        struct party *p = arg;

        if (p->epoch_count < AK_ARRAY_SIZE(p->epochs))
                p->epochs[p->epoch_count++] = epoch;
}

static AK_UNUSED void on_tap(void *arg, const struct ak_bus_frame *f AK_UNUSED, bool outgoing)
{
        struct party *p = arg;

        p->tapped_in += !outgoing;
        p->tapped_out += outgoing;
}

static AK_UNUSED int open_party(struct world *w, struct party *p, const struct ak_bus_options *wanted)
{
        struct ak_bus_options o = *wanted;
        struct ak_bus_handler h = {.on_message = on_message,
                                   .on_taken = on_taken,
                                   .on_peer_epoch = on_epoch,
                                   .on_tap = on_tap,
                                   .arg = p};

        memset(p, 0, sizeof(*p));
        o.dir = w->dir;
        o.mark_interval_us = o.mark_interval_us ? o.mark_interval_us : MARK_US;
        return ak_bus_new(&p->bus, w->loop, &o, &h);
}

static AK_UNUSED void open_named(struct world *w, struct party *p, const char *name)
{
        assert_int_equal(open_party(w, p, &(struct ak_bus_options){.name = name}), 0);
}

static AK_UNUSED void close_party(struct party *p)
{
        p->bus = ak_bus_free(p->bus);
}

static AK_UNUSED void say(struct party *p, const char *topic, const char *text)
{
        assert_int_equal(ak_bus_publish(p->bus, topic, NULL, text, strlen(text), true), 0);
}

static AK_UNUSED struct ak_bus_stats stats(const struct party *p)
{
        struct ak_bus_stats s;

        ak_bus_stats(p->bus, &s);
        return s;
}

static AK_UNUSED const struct seen *newest(const struct party *p)
{
        assert_true(p->count > 0);
        return &p->last[(p->count - 1) % AK_ARRAY_SIZE(p->last)];
}

/* The last thing seen of a topic, NULL where it is not among the last ones. */
static AK_UNUSED const struct seen *seen_of(const struct party *p, const char *topic)
{
        size_t n = p->count < AK_ARRAY_SIZE(p->last) ? p->count : AK_ARRAY_SIZE(p->last);

        for (size_t i = 1; i <= n; i++) {
                const struct seen *s = &p->last[(p->count - i) % AK_ARRAY_SIZE(p->last)];

                if (strcmp(s->topic, topic) == 0)
                        return s;
        }
        return NULL;
}

/* --- running the loop ------------------------------------------------------------------- */

static AK_UNUSED int on_tick(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct world *w = arg;

        return w->until(w->arg) || ak_clock_monotonic_us() > w->deadline ? -1 : 0;
}

static AK_UNUSED bool run_until(struct world *w, bool (*until)(void *), void *arg)
{
        int timer = zloop_timer(w->loop, 1, 0, on_tick, w);

        w->until = until;
        w->arg = arg;
        w->deadline = ak_clock_monotonic_us() + DEADLINE_US;
        (void)zloop_start(w->loop);
        (void)zloop_timer_end(w->loop, timer);
        return until(arg);
}

struct expect_count {
        struct party *p;
        size_t count;
};

static AK_UNUSED bool has_count(void *arg)
{
        struct expect_count *e = arg;

        return e->p->count >= e->count;
}

static AK_UNUSED void wait_count(struct world *w, struct party *p, size_t count)
{
        assert_true(run_until(w, has_count, &(struct expect_count){p, count}));
}

struct expect_seen {
        struct party *p;
        const char *topic, *body;
};

static AK_UNUSED bool has_seen(void *arg)
{
        struct expect_seen *e = arg;
        const struct seen *s = seen_of(e->p, e->topic);

        return s && strcmp(s->body, e->body) == 0;
}

static AK_UNUSED void wait_seen(struct world *w, struct party *p, const char *topic, const char *body)
{
        if (!run_until(w, has_seen, &(struct expect_seen){p, topic, body}))
                fail_msg("%s never became \"%s\"", topic, body);
}

/* A peer's marks, its requests and one prefix: so many subscriptions it makes. */
#define ALL_SUBSCRIPTIONS 3

static AK_UNUSED bool is_met(void *arg)
{
        return stats(arg).subscriptions >= ALL_SUBSCRIPTIONS;
}

/* Somebody listens to `publisher` now: what it says from here on is heard live. */
static AK_UNUSED void wait_met(struct world *w, struct party *publisher)
{
        assert_true(run_until(w, is_met, publisher));
}

static AK_UNUSED bool has_rejected(void *arg)
{
        return stats(arg).rejected > 0;
}

static AK_UNUSED int setup(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        assert_non_null(w);
        (void)snprintf(w->dir, sizeof(w->dir), "/tmp/ak-bus-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        w->loop = zloop_new();
        zloop_set_verbose(w->loop, false);
        *state = w;
        return 0;
}

static AK_UNUSED int teardown(void **state)
{
        struct world *w = *state;
        char path[128];
        static AK_UNUSED const char *const names[] = {"a", "b", "a.lock", "b.lock", "c", "c.lock"};

        zloop_destroy(&w->loop);
        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", w->dir, names[i]);
                (void)unlink(path);
        }
        if (rmdir(w->dir) < 0)
                return -1; /* something was left that should not be */
        free(w);
        return 0;
}
