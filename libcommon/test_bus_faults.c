/* SPDX-License-Identifier: Apache-2.0 */
/* The bus against losses, repeats, forgeries and peers of another time. */
#include "libcommon/test_bus_world.h"

/*
 * Speaks on the bus as "a" does, but without its care: a bare XPUB whose frames a test writes by hand, to
 * lose, repeat and forge them.
 */
struct forger {
        zsock_t *pub;
        uint64_t epoch;
        const char *name;
        bool again;
};

static void forger_open(struct forger *f, struct world *w, const char *name)
{
        *f = (struct forger){.pub = zsock_new(ZMQ_XPUB), .epoch = 7, .name = name};
        assert_non_null(f->pub);
        zsock_set_xpub_verbose(f->pub, 1); /* as ours does: told of subscriptions that are there already */
        assert_true(zsock_bind(f->pub, "ipc://%s/%s", w->dir, name) >= 0);
}

/* Until the listener's subscription to `prefix` is here. */
static void forger_wait_subscription(struct forger *f, const char *prefix)
{
        zsock_set_rcvtimeo(f->pub, 20000);
        for (;;) {
                char frame[300];
                int n = zmq_recv(zsock_resolve(f->pub), frame, sizeof(frame) - 1, 0);

                assert_true(n > 0);
                frame[n] = '\0';
                if (frame[0] == 1 && strcmp(frame + 1, prefix) == 0)
                        return;
        }
}

static void forger_raw(struct forger *f, const char *topic, const void *envelope, size_t envelope_len,
                       const void *body, size_t body_len)
{
        void *s = zsock_resolve(f->pub);

        assert_true(zmq_send(s, topic, strlen(topic), ZMQ_SNDMORE) >= 0);
        assert_true(zmq_send(s, envelope, envelope_len, ZMQ_SNDMORE) >= 0);
        assert_true(zmq_send(s, body, body_len, 0) >= 0);
}

static void forger_send(struct forger *f, const struct ak_bus_frame *frame)
{
        AK_AUTOFREE uint8_t *envelope = NULL;
        struct ak_bus_frame full = *frame;
        size_t len;

        full.publisher = full.publisher ? full.publisher : f->name;
        full.epoch = full.epoch ? full.epoch : f->epoch;
        assert_int_equal(ak_bus_envelope_encode(&full, &envelope, &len), 0);
        forger_raw(f, full.topic, envelope, len, full.body ? full.body : (const uint8_t *)"", full.body_len);
}

static void forger_say(struct forger *f, uint64_t seq, const char *text)
{
        forger_send(f, &(struct ak_bus_frame){.topic = "nic.diff/x",
                                              .seq = seq,
                                              .body = (const uint8_t *)text,
                                              .body_len = strlen(text)});
}

static void forger_replay(struct forger *f, uint64_t seq, uint64_t replay_seq, const char *text)
{
        forger_send(f, &(struct ak_bus_frame){.topic = "nic.diff/x",
                                              .seq = seq,
                                              .replayed = true,
                                              .replay_seq = replay_seq,
                                              .body = (const uint8_t *)text,
                                              .body_len = strlen(text)});
}

static void forger_mark(struct forger *f, uint64_t seq, uint64_t replay_seq, bool full)
{
        struct ak_bus_mark mark = {
            .types = {1, {"nic.diff"}}, .seqs = {1, {seq}}, .replay_seqs = {1, {replay_seq}}, .full = full};
        AK_AUTOFREE uint8_t *body = NULL;
        size_t len;

        assert_int_equal(ak_record_encode(&ak_bus_mark_record, &mark, &body, &len), 0);
        forger_send(f, &(struct ak_bus_frame){.topic = AK_BUS_TOPIC_MARK, .body = body, .body_len = len});
}

static void forger_close(struct forger *f)
{
        zsock_destroy(&f->pub);
}

/* b, listening to a forged a. */
static void forged_pair(struct world *w, struct forger *f, struct party *b)
{
        forger_open(f, w, "a");
        /* A forger sends no marks, so its silence must not count for long. */
        assert_int_equal(
            open_party(w, b, &(struct ak_bus_options){.name = "b", .mark_interval_us = DEADLINE_US}), 0);
        assert_int_equal(ak_bus_subscribe(b->bus, "a", "nic.diff/"), 0);
        forger_wait_subscription(f, "nic.diff/");
}

/* With no way to a, which listens to nobody here, b subscribes anew: a sees the subscriptions again. */
static void live_gap_is_asked_about(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_say(&f, 1, "1");
        forger_say(&f, 4, "4");
        wait_seen(w, &b, "nic.diff/x", "4");
        assert_int_equal(b.count, 2);
        assert_int_equal(stats(&b).gaps, 1);
        assert_int_equal(stats(&b).sync_requests, 1);
        forger_wait_subscription(&f, "nic.diff/");
        forger_wait_subscription(&f, AK_BUS_TOPIC_MARK);
        close_party(&b);
        forger_close(&f);
}

/* The next frame that tells of a subscription: of its begin (1) or its end (0). */
static void expect_subscription(struct forger *f, char begin, const char *prefix)
{
        char frame[300];
        int n = zmq_recv(zsock_resolve(f->pub), frame, sizeof(frame) - 1, 0);

        assert_true(n > 0);
        frame[n] = '\0';
        assert_int_equal(frame[0], begin);
        assert_string_equal(frame + 1, prefix);
}

/* Nothing may be missed between an end and a new begin: the peer sees no end. The mark comes last. */
static void asked_again_it_never_stops_listening(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forger_open(&f, w, "a");
        zsock_set_rcvtimeo(f.pub, 20000);
        assert_int_equal(
            open_party(w, &b, &(struct ak_bus_options){.name = "b", .mark_interval_us = DEADLINE_US}), 0);
        assert_int_equal(ak_bus_subscribe(b.bus, "a", "nic.diff/"), 0);
        expect_subscription(&f, 1, AK_BUS_TOPIC_SYNC "b");
        expect_subscription(&f, 1, AK_BUS_TOPIC_MARK);
        expect_subscription(&f, 1, "nic.diff/");
        ak_bus_request_sync(b.bus, "a", "test");
        expect_subscription(&f, 1, "nic.diff/");
        expect_subscription(&f, 1, AK_BUS_TOPIC_MARK);
        forger_say(&f, 1, "still heard");
        wait_seen(w, &b, "nic.diff/x", "still heard");
        close_party(&b);
        forger_close(&f);
}

/* Sent after a mark and before our subscription took effect; the replay brings it. */
static void what_a_first_replay_brings_is_no_gap(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_mark(&f, 12, 0, false);
        forger_replay(&f, 13, 1, "13");
        forger_say(&f, 14, "14");
        wait_seen(w, &b, "nic.diff/x", "14");
        assert_int_equal(stats(&b).gaps, 0);
        /* From here on a replay hides nothing: 15 was another topic's. */
        forger_replay(&f, 16, 2, "16");
        forger_say(&f, 17, "17");
        wait_seen(w, &b, "nic.diff/x", "17");
        assert_int_equal(stats(&b).gaps, 1);
        close_party(&b);
        forger_close(&f);
}

static bool has_gap(void *arg)
{
        return stats(arg).gaps > 0;
}

static void mark_shows_the_loss_of_the_last_message(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_say(&f, 1, "1");
        forger_mark(&f, 1, 0, false);
        wait_seen(w, &b, "nic.diff/x", "1");
        assert_int_equal(stats(&b).gaps, 0);
        forger_mark(&f, 2, 0, false);
        assert_true(run_until(w, has_gap, &b));
        forger_wait_subscription(&f, "nic.diff/");
        close_party(&b);
        forger_close(&f);
}

static void lost_part_of_a_replay_is_a_gap(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_replay(&f, 1, 1, "1");
        forger_replay(&f, 1, 2, "2");
        wait_seen(w, &b, "nic.diff/x", "2");
        assert_int_equal(stats(&b).gaps, 0);
        forger_replay(&f, 1, 4, "4");
        wait_seen(w, &b, "nic.diff/x", "4");
        assert_int_equal(stats(&b).gaps, 1);
        assert_int_equal(stats(&b).replays_received, 3);
        close_party(&b);
        forger_close(&f);
}

static void duplicate_is_dropped(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_say(&f, 5, "5");
        forger_say(&f, 5, "5 again");
        forger_say(&f, 4, "4 from the past");
        forger_say(&f, 6, "6");
        wait_seen(w, &b, "nic.diff/x", "6");
        assert_int_equal(b.count, 2);
        assert_int_equal(stats(&b).duplicates, 2);
        assert_int_equal(stats(&b).gaps, 0);
        close_party(&b);
        forger_close(&f);
}

static void epoch_change_starts_afresh(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_say(&f, 9, "old life");
        f.epoch = 8;
        forger_say(&f, 1, "new life");
        wait_seen(w, &b, "nic.diff/x", "new life");
        assert_int_equal(b.epoch_count, 2);
        assert_int_equal(b.epochs[0], 7);
        assert_int_equal(b.epochs[1], 8);
        assert_int_equal(stats(&b).gaps + stats(&b).duplicates, 0);
        /* What is left of the old life is not let through. */
        f.epoch = 7;
        forger_say(&f, 10, "ghost");
        f.epoch = 8;
        forger_say(&f, 2, "goes on");
        wait_seen(w, &b, "nic.diff/x", "goes on");
        assert_int_equal(b.count, 3);
        assert_int_equal(stats(&b).rejected, 1);
        assert_int_equal(b.epoch_count, 2);
        close_party(&b);
        forger_close(&f);
}

/* Each of these is dropped and counted; what follows them is delivered. */
static void bad_frames_are_rejected(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;
        uint64_t expected = 0;
        char envelope[2000] = {0}, topic[400];
        void *s;

        forged_pair(w, &f, &b);
        s = zsock_resolve(f.pub);
        /* one, two and five frames */
        assert_true(zmq_send(s, "nic.diff/x", 10, 0) >= 0);
        assert_true(zmq_send(s, "nic.diff/x", 10, ZMQ_SNDMORE) >= 0 && zmq_send(s, "", 0, 0) >= 0);
        assert_true(zmq_send(s, "nic.diff/x", 10, ZMQ_SNDMORE) >= 0);
        for (int i = 0; i < 4; i++)
                assert_true(zmq_send(s, "x", 1, i < 3 ? ZMQ_SNDMORE : 0) >= 0);
        expected += 3;
        /* envelopes: none, no msgpack, too long */
        forger_raw(&f, "nic.diff/x", "", 0, "", 0);
        forger_raw(&f, "nic.diff/x", "\xc1", 1, "", 0);
        forger_raw(&f, "nic.diff/x", envelope, sizeof(envelope), "", 0);
        expected += 3;
        /* another publisher's name; a bad topic; a topic too long */
        forger_send(&f, &(struct ak_bus_frame){.publisher = "b", .topic = "nic.diff/x", .seq = 1});
        forger_send(&f, &(struct ak_bus_frame){.topic = "nic.diff/ x", .seq = 1});
        (void)snprintf(topic, sizeof(topic), "nic.diff/%0*d", 300, 0);
        forger_send(&f, &(struct ak_bus_frame){.topic = topic, .seq = 1});
        expected += 3;
        /* marks: no msgpack, and lists of different length */
        forger_send(&f, &(struct ak_bus_frame){
                            .topic = AK_BUS_TOPIC_MARK, .body = (const uint8_t *)"\xc1", .body_len = 1});
        expected += 1;
        forger_say(&f, 1, "good");
        wait_seen(w, &b, "nic.diff/x", "good");
        assert_int_equal(b.count, 1);
        assert_int_equal(stats(&b).rejected, expected);
        close_party(&b);
        forger_close(&f);
}

static void later_major_version_is_refused(void **state)
{
        struct ak_bus_envelope e = {.version = AK_BUS_VERSION + 1, .publisher = "a", .epoch = 7, .seq = 1};
        struct world *w = *state;
        AK_AUTOFREE uint8_t *data = NULL;
        struct forger f;
        struct party b;
        size_t len;

        forged_pair(w, &f, &b);
        assert_int_equal(ak_record_encode(&ak_bus_envelope_record, &e, &data, &len), 0);
        forger_raw(&f, "nic.diff/x", data, len, "", 0);
        assert_true(run_until(w, has_rejected, &b));
        assert_int_equal(b.count, 0);
        close_party(&b);
        forger_close(&f);
}

static bool subscribed_again(void *arg)
{
        struct forger *f = arg;
        char frame[300];
        int n;

        while ((n = zmq_recv(zsock_resolve(f->pub), frame, sizeof(frame) - 1, ZMQ_DONTWAIT)) > 0) {
                frame[n] = '\0';
                if (frame[0] == 1 && strcmp(frame + 1, "nic.diff/") == 0)
                        return f->again = true;
        }
        return f->again;
}

static bool has_rejected_all(void *arg)
{
        return stats(arg).rejected >= 50;
}

/* Lines of the log that name the refusal and its remedy. */
static size_t refusals_in(const char *path)
{
        FILE *log = fopen(path, "re");
        char line[1024];
        size_t n = 0;

        assert_non_null(log);
        while (fgets(line, sizeof(line), log))
                n += strstr(line, "bus_frame_rejected") && strstr(line, "upgrade this service");
        assert_int_equal(fclose(log), 0);
        return n;
}

/* A peer of the next major version is named in the log, with the remedy; not once per message. */
static void later_major_version_is_logged_at_a_limited_rate(void **state)
{
        struct ak_bus_envelope e = {.version = AK_BUS_VERSION + 1, .publisher = "a", .epoch = 7, .seq = 1};
        char path[] = "/tmp/ak-bus-log-XXXXXX";
        struct world *w = *state;
        AK_AUTOFREE uint8_t *data = NULL;
        struct forger f;
        struct party b;
        size_t len;
        int log = mkstemp(path), standard_error = dup(STDERR_FILENO);

        assert_true(log >= 0 && standard_error >= 0);
        forged_pair(w, &f, &b);
        assert_int_equal(ak_record_encode(&ak_bus_envelope_record, &e, &data, &len), 0);
        for (int i = 0; i < 50; i++)
                forger_raw(&f, "nic.diff/x", data, len, "", 0);
        assert_int_equal(dup2(log, STDERR_FILENO), STDERR_FILENO);
        bool all = run_until(w, has_rejected_all, &b);
        assert_int_equal(dup2(standard_error, STDERR_FILENO), STDERR_FILENO);
        assert_true(all);
        assert_int_equal(b.count, 0);
        assert_int_equal(refusals_in(path), 5); /* the burst of the limit */
        assert_int_equal(unlink(path), 0);
        (void)close(log);
        (void)close(standard_error);
        close_party(&b);
        forger_close(&f);
}

/* A later minor version: a field of the envelope that we do not know, and one of the body, which is opaque.
 */
static void unknown_field_of_the_envelope_is_ignored(void **state)
{
        /* {"version": 1, "publisher": "a", "epoch": 7, "seq": 1, "later": [1, {}]} */
        static const char envelope[] = "\x85\xa7version\x01\xa9publisher\xa1"
                                       "a\xa5"
                                       "epoch\x07\xa3seq\x01\xa5"
                                       "later\x92\x01\x80";
        struct world *w = *state;
        struct forger f;
        struct party b;

        forged_pair(w, &f, &b);
        forger_raw(&f, "nic.diff/x", envelope, sizeof(envelope) - 1, "body", 4);
        wait_seen(w, &b, "nic.diff/x", "body");
        assert_int_equal(stats(&b).rejected, 0);
        close_party(&b);
        forger_close(&f);
}

/* One that only looks on knows what it missed, and leaves the publisher alone. */
static void passive_listener_never_asks(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;

        forger_open(&f, w, "a");
        assert_int_equal(
            open_party(w, &b, &(struct ak_bus_options){.passive = true, .mark_interval_us = DEADLINE_US}), 0);
        assert_int_equal(ak_bus_subscribe(b.bus, "a", "nic.diff/"), 0);
        forger_wait_subscription(&f, "nic.diff/");
        forger_say(&f, 1, "1");
        forger_say(&f, 4, "4");
        forger_mark(&f, 9, 0, false);
        forger_say(&f, 10, "10");
        wait_seen(w, &b, "nic.diff/x", "10");
        assert_int_equal(stats(&b).gaps, 2);
        assert_int_equal(stats(&b).sync_requests, 0);
        close_party(&b);
        forger_close(&f);
}

/* A body past the limit ends the connection for good (ZMQ_MAXMSGSIZE); the bus makes a new one. */
static void oversized_body_never_arrives(void **state)
{
        struct world *w = *state;
        struct forger f;
        struct party b;
        size_t size = AK_SCHEMA_MAX_BYTES + 1;
        AK_AUTOFREE uint8_t *big = calloc(1, size);

        assert_non_null(big);
        forger_open(&f, w, "a");
        assert_int_equal(open_party(w, &b, &(struct ak_bus_options){.name = "b", .mark_interval_us = 50000}),
                         0);
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        forger_wait_subscription(&f, "nic.diff/");
        forger_send(&f,
                    &(struct ak_bus_frame){.topic = "nic.diff/x", .seq = 1, .body = big, .body_len = size});
        assert_true(run_until(w, subscribed_again, &f));
        forger_say(&f, 2, "good");
        wait_seen(w, &b, "nic.diff/x", "good");
        assert_int_equal(b.count, 1);
        close_party(&b);
        forger_close(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(live_gap_is_asked_about, setup, teardown),
            cmocka_unit_test_setup_teardown(asked_again_it_never_stops_listening, setup, teardown),
            cmocka_unit_test_setup_teardown(what_a_first_replay_brings_is_no_gap, setup, teardown),
            cmocka_unit_test_setup_teardown(mark_shows_the_loss_of_the_last_message, setup, teardown),
            cmocka_unit_test_setup_teardown(lost_part_of_a_replay_is_a_gap, setup, teardown),
            cmocka_unit_test_setup_teardown(duplicate_is_dropped, setup, teardown),
            cmocka_unit_test_setup_teardown(epoch_change_starts_afresh, setup, teardown),
            cmocka_unit_test_setup_teardown(bad_frames_are_rejected, setup, teardown),
            cmocka_unit_test_setup_teardown(later_major_version_is_refused, setup, teardown),
            cmocka_unit_test_setup_teardown(later_major_version_is_logged_at_a_limited_rate, setup, teardown),
            cmocka_unit_test_setup_teardown(unknown_field_of_the_envelope_is_ignored, setup, teardown),
            cmocka_unit_test_setup_teardown(passive_listener_never_asks, setup, teardown),
            cmocka_unit_test_setup_teardown(oversized_body_never_arrives, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
