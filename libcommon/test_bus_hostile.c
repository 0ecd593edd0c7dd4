/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that means harm, or is broken: it sends whatever it likes with plain ZeroMQ. What it costs the
 * receiver is bounded, and the receiver still hears what is right.
 */
#include <malloc.h>

#include "libcommon/test_bus_world.h"

#define MANY_TOPICS 1000000
#define MANY_TYPES  100000
#define BURST       1000 /* sent before the receiver has its turn: far below its high-water mark */
#define MAX_GROWTH  ((size_t)4 << 20)

struct attack {
        struct world *w;
        struct party victim;
        zsock_t *peer;   /* "a" of the bus directory */
        uint64_t rounds; /* of messages, each a burst */
        uint64_t sent;
        void (*send)(struct attack *a, uint64_t number);
};

static void open_attack(struct attack *a, struct world *w)
{
        *a = (struct attack){.w = w, .peer = zsock_new(ZMQ_XPUB)};
        assert_non_null(a->peer);
        zsock_set_linger(a->peer, 0);
        zsock_set_sndhwm(a->peer, 0);
        assert_int_equal(open_party(w, &a->victim, &(struct ak_bus_options){.name = NULL}), 0);
        assert_int_equal(zsock_bind(a->peer, "ipc://%s/a", w->dir), 0);
        assert_int_equal(ak_bus_subscribe(a->victim.bus, "a", ""), 0);
        for (int i = 0; i < 2; i++) { /* its marks and all topics */
                zframe_t *subscription = zframe_recv(a->peer);

                assert_non_null(subscription);
                zframe_destroy(&subscription);
        }
}

static void close_attack(struct attack *a)
{
        close_party(&a->victim);
        zsock_destroy(&a->peer);
}

static void send_frame(struct attack *a, const char *topic, const void *envelope, size_t envelope_len,
                       const void *body, size_t len)
{
        void *socket = zsock_resolve(a->peer);

        assert_true(zmq_send(socket, topic, strlen(topic), ZMQ_SNDMORE) >= 0);
        assert_true(zmq_send(socket, envelope, envelope_len, ZMQ_SNDMORE) >= 0);
        assert_true(zmq_send(socket, body, len, 0) >= 0);
        a->sent++;
}

static void send_good(struct attack *a, const char *topic, uint64_t seq, const char *text)
{
        struct ak_bus_frame f = {.publisher = "a", .topic = topic, .epoch = 7, .seq = seq, .trace = ""};
        AK_AUTOFREE uint8_t *envelope = NULL;
        size_t len = 0;

        assert_int_equal(ak_bus_envelope_encode(&f, &envelope, &len), 0);
        send_frame(a, topic, envelope, len, text, strlen(text));
}

/* ------------------------------------------------------------------ floods */

static size_t in_use(void)
{
        return mallinfo2().uordblks;
}

static bool round_taken(void *arg)
{
        struct attack *a = arg;
        struct ak_bus_stats s = stats(&a->victim);

        return s.received + s.rejected + s.duplicates >= a->sent;
}

/* All of it in bursts; returns by how much the heap was larger in between, at most. */
static size_t flood(struct attack *a, uint64_t count)
{
        size_t before = 0, most = 0;

        for (uint64_t i = 0; i < count; i++) {
                a->send(a, i);
                if ((i + 1) % BURST != 0)
                        continue;
                assert_true(run_until(a->w, round_taken, a));
                if (!before) /* the first burst has made what is made once */
                        before = in_use();
                else if (in_use() > before && in_use() - before > most)
                        most = in_use() - before;
        }
        return most;
}

static void send_topic(struct attack *a, uint64_t number)
{
        char topic[64];

        (void)snprintf(topic, sizeof(topic), "nic.diff/pod/%llu", (unsigned long long)number);
        send_good(a, topic, number + 1, "x");
}

static void send_type(struct attack *a, uint64_t number)
{
        char topic[64];

        (void)snprintf(topic, sizeof(topic), "type%llu/x", (unsigned long long)number);
        send_good(a, topic, 1, "x");
}

/* A new life with each message: every one is news to the receiver. */
static void send_epoch(struct attack *a, uint64_t number)
{
        struct ak_bus_frame f = {
            .publisher = "a", .topic = "nic.diff/x", .epoch = number + 1, .seq = 1, .trace = ""};
        AK_AUTOFREE uint8_t *envelope = NULL;
        size_t len = 0;

        assert_int_equal(ak_bus_envelope_encode(&f, &envelope, &len), 0);
        send_frame(a, f.topic, envelope, len, "x", 1);
}

static void expect_flood_is_bounded(struct world *w, void (*send)(struct attack *, uint64_t), uint64_t count)
{
        struct attack a;
        size_t growth;

        open_attack(&a, w);
        a.send = send;
        growth = flood(&a, count);
        if (growth > MAX_GROWTH)
                fail_msg("the heap grew by %zu bytes", growth);
        close_attack(&a);
}

static void a_million_topics_cost_nothing(void **state)
{
        expect_flood_is_bounded(*state, send_topic, MANY_TOPICS);
}

static void a_hundred_thousand_types_cost_nothing(void **state)
{
        expect_flood_is_bounded(*state, send_type, MANY_TYPES);
}

static void a_hundred_thousand_lives_cost_nothing(void **state)
{
        expect_flood_is_bounded(*state, send_epoch, MANY_TYPES);
}

/* ------------------------------------------------------------------ frames that are none */

/* The good one behind it is heard: the connection stands, and the bus goes on. */
static void expect_rejected(struct attack *a, const char *what)
{
        char body[32];

        assert_true(run_until(a->w, has_rejected, &a->victim) || what == NULL);
        (void)snprintf(body, sizeof(body), "after %llu", (unsigned long long)a->sent);
        send_good(a, "nic.diff/good", a->sent, body);
        wait_seen(a->w, &a->victim, "nic.diff/good", body);
}

/* An array in an array in an array …: 0x91 is an array of one. */
static void deep_envelopes_are_rejected(void **state)
{
        static uint8_t deep[60000];
        struct attack a;

        open_attack(&a, *state);
        memset(deep, 0x91, sizeof(deep));
        send_frame(&a, "nic.diff/x", deep, 400, "", 0);
        send_frame(&a, "nic.diff/x", deep, sizeof(deep), "", 0);
        expect_rejected(&a, "deep");
        assert_int_equal(stats(&a.victim).rejected, 2);
        close_attack(&a);
}

/* Headers that promise four thousand million items, keys or bytes, and end. */
static void promises_are_not_believed(void **state)
{
        static const uint8_t promises[][5] = {{0xdd, 0xff, 0xff, 0xff, 0xff},
                                              {0xdf, 0xff, 0xff, 0xff, 0xff},
                                              {0xdb, 0xff, 0xff, 0xff, 0xff},
                                              {0xc6, 0xff, 0xff, 0xff, 0xff}};
        struct attack a;
        size_t before;

        open_attack(&a, *state);
        before = in_use();
        for (size_t i = 0; i < AK_ARRAY_SIZE(promises); i++) {
                send_frame(&a, "nic.diff/x", promises[i], sizeof(promises[i]), "", 0);
                send_good(&a, AK_BUS_TOPIC_MARK, 0,
                          (const char *)(const uint8_t[]){0xdf, 0x7f, 0x7f, 0x7f, 0x7f, 0});
        }
        expect_rejected(&a, "promises");
        assert_int_equal(stats(&a.victim).rejected, 2 * AK_ARRAY_SIZE(promises));
        assert_true(in_use() < before + MAX_GROWTH);
        close_attack(&a);
}

/* Every beginning of a good envelope, and every byte of it changed. */
static void cut_and_changed_envelopes_do_no_harm(void **state)
{
        struct ak_bus_frame f = {
            .publisher = "a", .topic = "nic.diff/x", .epoch = 7, .seq = 1000, .sent_us = 5, .trace = ""};
        AK_AUTOFREE uint8_t *envelope = NULL;
        struct attack a;
        size_t len = 0;

        open_attack(&a, *state);
        assert_int_equal(ak_bus_envelope_encode(&f, &envelope, &len), 0);
        for (size_t i = 0; i < len; i++)
                send_frame(&a, f.topic, envelope, i, "x", 1);
        assert_true(run_until(a.w, round_taken, &a));
        assert_int_equal(stats(&a.victim).rejected, len);
        for (size_t i = 0; i < len; i++) {
                for (unsigned bit = 0; bit < 8; bit++) {
                        envelope[i] ^= (uint8_t)(1U << bit);
                        send_frame(&a, f.topic, envelope, len, "x", 1);
                        envelope[i] ^= (uint8_t)(1U << bit);
                }
        }
        assert_true(run_until(a.w, round_taken, &a));
        close_attack(&a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
            TEST(a_million_topics_cost_nothing),
            TEST(a_hundred_thousand_types_cost_nothing),
            TEST(a_hundred_thousand_lives_cost_nothing),
            TEST(deep_envelopes_are_rejected),
            TEST(promises_are_not_believed),
            TEST(cut_and_changed_envelopes_do_no_harm),
        };

        (void)zsys_init();
        zsys_handler_set(NULL);
        return cmocka_run_group_tests_name("bus_hostile", tests, NULL, NULL);
}
