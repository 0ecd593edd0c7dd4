/* SPDX-License-Identifier: Apache-2.0 */
/* The bus between parties that behave: last values, restarts, who may own a name. */
#include "libcommon/test_bus_world.h"

/* --- last values -------------------------------------------------------------------------- */

static void late_subscriber_gets_last_values(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        say(&a, "nic.diff/x", "old");
        say(&a, "vm.diff/x", "vm");
        say(&a, "nic.diff/y", "y");
        say(&a, "nic.diff/x", "new");
        open_named(w, &b, "b");
        assert_int_equal(ak_bus_subscribe(b.bus, "a", "nic.diff/"), 0);
        wait_count(w, &b, 2);
        /* In the order of publication: y was said before the new x. */
        assert_string_equal(b.last[0].topic, "nic.diff/y");
        assert_string_equal(b.last[1].topic, "nic.diff/x");
        assert_string_equal(b.last[1].body, "new");
        assert_true(b.last[0].replayed && b.last[1].replayed);
        assert_int_equal(stats(&b).gaps, 0);
        close_party(&b);
        close_party(&a);
}

static void live_messages_are_numbered_per_type(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        open_named(w, &b, "b");
        assert_int_equal(ak_bus_subscribe(b.bus, "a", "nic.diff/"), 0);
        wait_met(w, &a);
        say(&a, "nic.diff/x", "1");
        say(&a, "vm.diff/x", "not subscribed");
        say(&a, "nic.diff/x", "2");
        wait_seen(w, &b, "nic.diff/x", "2");
        assert_int_equal(b.count, 2);
        assert_false(b.last[0].replayed);
        assert_int_equal(b.last[0].seq, 1);
        assert_int_equal(b.last[1].seq, 2);
        assert_int_equal(stats(&b).gaps, 0);
        close_party(&b);
        close_party(&a);
}

static bool last_is_taken(void *arg)
{
        const struct party *p = arg;

        return p->count >= 200 && p->taken_count == p->count;
}

/* Whoever gathers what comes together hears when that is all, also after the last message. */
static void end_of_what_waited_is_told(void **state)
{
        struct world *w = *state;
        struct party a, b;
        char topic[32];

        open_named(w, &a, "a");
        open_named(w, &b, "b");
        assert_int_equal(ak_bus_subscribe(b.bus, "a", "nic.diff/"), 0);
        wait_met(w, &a);
        for (int i = 0; i < 200; i++) {
                (void)snprintf(topic, sizeof(topic), "nic.diff/%d", i);
                say(&a, topic, "x");
        }
        assert_true(run_until(w, last_is_taken, &b));
        assert_int_equal(b.count, 200);
        assert_in_range(b.taken, 1, 200);
        close_party(&b);
        close_party(&a);
}

static void forgotten_topic_is_not_replayed(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        say(&a, "nic.diff/x", "x");
        say(&a, "nic.diff/y", "y");
        ak_bus_forget(a.bus, "nic.diff/x");
        ak_bus_forget(a.bus, "nic.diff/never-was");
        assert_int_equal(stats(&a).retained, 1);
        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_seen(w, &b, "nic.diff/y", "y");
        assert_int_equal(b.count, 1);
        close_party(&b);
        close_party(&a);
}

static void unretained_message_is_not_replayed(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/x", NULL, "gone", 4, false), 0);
        say(&a, "nic.diff/y", "y");
        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_seen(w, &b, "nic.diff/y", "y");
        assert_int_equal(b.count, 1);
        close_party(&b);
        close_party(&a);
}

static void peer_may_come_later(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &b, "b");
        assert_int_equal(ak_bus_subscribe(b.bus, "a", "nic.diff/"), 0);
        open_named(w, &a, "a");
        say(&a, "nic.diff/x", "x");
        wait_seen(w, &b, "nic.diff/x", "x");
        close_party(&b);
        close_party(&a);
}

/* A replay that another subscriber caused comes to everybody and is no gap, and still a message. */
static void replay_for_another_is_no_gap(void **state)
{
        struct world *w = *state;
        struct party a, b, c;

        open_named(w, &a, "a");
        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_met(w, &a);
        say(&a, "nic.diff/x", "1");
        say(&a, "nic.diff/x", "2");
        wait_seen(w, &b, "nic.diff/x", "2");
        open_named(w, &c, "c");
        ak_bus_subscribe(c.bus, "a", "nic.diff/x"); /* narrower than the type */
        wait_count(w, &b, 3);
        assert_true(newest(&b)->replayed);
        say(&a, "nic.diff/x", "3");
        wait_seen(w, &b, "nic.diff/x", "3");
        wait_seen(w, &c, "nic.diff/x", "3");
        assert_int_equal(stats(&b).gaps, 0);
        assert_int_equal(stats(&b).duplicates, 0);
        assert_int_equal(stats(&c).gaps, 0);
        close_party(&c);
        close_party(&b);
        close_party(&a);
}

static void narrow_subscription_has_no_gaps(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/x");
        wait_met(w, &a);
        for (int i = 0; i < 10; i++) {
                say(&a, "nic.diff/x", "x");
                say(&a, "nic.diff/y", "y");
        }
        say(&a, "nic.diff/x", "last");
        wait_seen(w, &b, "nic.diff/x", "last");
        assert_int_equal(b.count, 11);
        assert_int_equal(stats(&b).gaps, 0);
        close_party(&b);
        close_party(&a);
}

/* Two parties that hear each other: a request goes over the bus and is answered by a replay. */
static void sync_request_is_answered(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        open_named(w, &b, "b");
        ak_bus_subscribe(a.bus, "b", "nic.status/");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_met(w, &b);
        wait_met(w, &a);
        say(&a, "nic.diff/x", "1");
        wait_seen(w, &b, "nic.diff/x", "1");
        assert_int_equal(b.count, 1);
        ak_bus_request_sync(b.bus, "nobody", "test");
        assert_int_equal(stats(&b).sync_requests, 0);
        ak_bus_request_sync(b.bus, "a", "test");
        wait_count(w, &b, 2);
        assert_true(newest(&b)->replayed);
        assert_int_equal(stats(&b).sync_requests, 1);
        assert_int_equal(stats(&b).gaps, 0);
        close_party(&b);
        close_party(&a);
}

/*
 * Real losses: a burst far past the high-water marks while the receiver does not read. ZeroMQ drops, and
 * the last value of every topic still arrives.
 */
static void burst_past_the_high_water_mark_heals(void **state)
{
        enum { TOPICS = 40, ROUNDS = 50, BODY = 60000 };
        struct world *w = *state;
        struct party a, b;
        char *body = calloc(1, BODY), topic[32];

        assert_non_null(body);
        assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = "a", .hwm = 64}), 0);
        assert_int_equal(open_party(w, &b, &(struct ak_bus_options){.name = "b", .hwm = 64}), 0);
        ak_bus_subscribe(a.bus, "b", "nic.status/");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_met(w, &b);
        wait_met(w, &a);
        for (int round = 0; round < ROUNDS; round++) {
                for (int t = 0; t < TOPICS; t++) {
                        (void)snprintf(topic, sizeof(topic), "nic.diff/%d", t);
                        (void)snprintf(body, BODY, "%d", round);
                        assert_int_equal(ak_bus_publish(a.bus, topic, NULL, body, BODY, true), 0);
                }
        }
        for (int t = 0; t < TOPICS; t++) {
                (void)snprintf(topic, sizeof(topic), "nic.diff/%d", t);
                wait_seen(w, &b, topic, "49");
        }
        assert_true(stats(&b).gaps > 0);
        assert_true(b.count < TOPICS * ROUNDS + 2 * TOPICS); /* so something was lost indeed */
        free(body);
        close_party(&b);
        close_party(&a);
}

/* --- restarts --------------------------------------------------------------------------------- */

static void restarted_publisher_is_seen(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        for (int life = 0; life < 3; life++) {
                char text[16];

                (void)snprintf(text, sizeof(text), "life %d", life);
                open_named(w, &a, "a");
                say(&a, "nic.diff/x", text);
                wait_seen(w, &b, "nic.diff/x", text);
                close_party(&a);
        }
        assert_int_equal(b.epoch_count, 3);
        close_party(&b);
}

static void restarted_subscriber_is_brought_up_to_date(void **state)
{
        struct world *w = *state;
        struct party a, b;

        open_named(w, &a, "a");
        say(&a, "nic.diff/x", "1");
        for (int life = 0; life < 3; life++) {
                open_named(w, &b, "b");
                ak_bus_subscribe(b.bus, "a", "nic.diff/");
                wait_seen(w, &b, "nic.diff/x", "1");
                close_party(&b);
        }
        close_party(&a);
}

static void name_in_use_is_refused(void **state)
{
        struct world *w = *state;
        struct party a, second, b;

        open_named(w, &a, "a");
        assert_int_equal(open_party(w, &second, &(struct ak_bus_options){.name = "a"}), -EADDRINUSE);
        assert_null(second.bus);
        /* And the first is none the worse for it. */
        say(&a, "nic.diff/x", "still here");
        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_seen(w, &b, "nic.diff/x", "still here");
        close_party(&b);
        close_party(&a);
        open_named(w, &a, "a");
        close_party(&a);
}

/* Binds the name, says so through `fd`, and waits to be killed. */
static _Noreturn void child_main(struct world *w, int fd)
{
        struct party a;
        zloop_t *loop = zloop_new();

        w->loop = loop;
        if (open_party(w, &a, &(struct ak_bus_options){.name = "a"}) < 0 || write(fd, "+", 1) != 1)
                _exit(1);
        (void)zloop_start(loop);
        _exit(2);
}

/* Runs before anything in this process has used ZeroMQ: its threads do not survive a fork. */
static void killed_owner_leaves_the_name_free(void **state)
{
        struct world *w = *state;
        struct party a, b;
        char path[128], byte;
        int ready[2], status;
        struct stat st;
        pid_t pid;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                child_main(w, ready[1]);
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        w->loop = zloop_new();
        assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = "a"}), -EADDRINUSE);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        (void)snprintf(path, sizeof(path), "%s/a", w->dir);
        assert_int_equal(stat(path, &st), 0); /* the stale socket is there */
        open_named(w, &a, "a");
        say(&a, "nic.diff/x", "x");
        open_named(w, &b, "b");
        ak_bus_subscribe(b.bus, "a", "nic.diff/");
        wait_seen(w, &b, "nic.diff/x", "x");
        close_party(&b);
        close_party(&a);
        assert_int_equal(stat(path, &st), -1); /* an orderly end leaves none */
}

static int setup_without_loop(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        assert_non_null(w);
        (void)snprintf(w->dir, sizeof(w->dir), "/tmp/ak-bus-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        *state = w;
        return 0;
}

/* --- refusals ---------------------------------------------------------------------------------- */

static void directory_must_be_ours_alone(void **state)
{
        struct world *w = *state;
        struct party a;
        char dir[64], link[64];

        assert_int_equal(chmod(w->dir, 0750), 0);
        assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = "a"}), -EPERM);
        assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = NULL}), -EPERM);
        assert_int_equal(chmod(w->dir, 0700), 0);
        /* A symbolic link to a good directory is not a directory of ours. */
        (void)snprintf(dir, sizeof(dir), "%s", w->dir);
        (void)snprintf(link, sizeof(link), "%.40s-link", dir);
        assert_int_equal(symlink(dir, link), 0);
        (void)snprintf(w->dir, sizeof(w->dir), "%s", link);
        assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = "a"}), -EPERM);
        (void)snprintf(w->dir, sizeof(w->dir), "%s", dir);
        assert_int_equal(unlink(link), 0);
}

static void directory_is_made(void **state)
{
        struct world *w = *state;
        struct party a;
        char base[64], middle[80];
        struct stat st;

        (void)snprintf(base, sizeof(base), "%s", w->dir);
        (void)snprintf(middle, sizeof(middle), "%s/run", base);
        assert_true((size_t)snprintf(w->dir, sizeof(w->dir), "%s/run/bus", base) < sizeof(w->dir));
        open_named(w, &a, "a");
        assert_int_equal(stat(w->dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        close_party(&a);
        (void)snprintf(middle, sizeof(middle), "%.60s/a.lock", w->dir);
        assert_int_equal(unlink(middle), 0);
        assert_int_equal(rmdir(w->dir), 0);
        (void)snprintf(middle, sizeof(middle), "%s/run", base);
        assert_int_equal(rmdir(middle), 0);
        (void)snprintf(w->dir, sizeof(w->dir), "%s", base);
}

static void bad_arguments_are_refused(void **state)
{
        static const char *const names[] = {
            "", "A", "a/b", "..", "a b", "0123456789012345678901234567890123456789012345678901234567890123"};
        struct world *w = *state;
        struct party a;
        char long_dir[200], keep[sizeof(w->dir)];

        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++)
                assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = names[i]}), -EINVAL);
        memset(long_dir, 'd', sizeof(long_dir) - 1);
        long_dir[0] = '/';
        long_dir[sizeof(long_dir) - 1] = '\0';
        (void)snprintf(keep, sizeof(keep), "%s", w->dir);
        assert_int_equal(ak_bus_new(&a.bus, w->loop, &(struct ak_bus_options){.dir = long_dir, .name = "a"},
                                    &(struct ak_bus_handler){0}),
                         -EINVAL);
        assert_int_equal(
            ak_bus_new(&a.bus, w->loop, &(struct ak_bus_options){.name = "a"}, &(struct ak_bus_handler){0}),
            -EINVAL);
        open_named(w, &a, "a");
        assert_int_equal(ak_bus_subscribe(a.bus, "B", ""), -EINVAL);
        assert_int_equal(ak_bus_subscribe(a.bus, "../b", ""), -EINVAL);
        close_party(&a);
}

static void bad_messages_are_not_published(void **state)
{
        struct world *w = *state;
        struct party a, tap;
        char big[AK_SCHEMA_MAX_BYTES + 1], topic[300], trace[AK_BUS_TRACE_MAX + 2];

        memset(big, 'x', sizeof(big));
        memset(topic, 't', sizeof(topic) - 1);
        topic[sizeof(topic) - 1] = '\0';
        memset(trace, '0', sizeof(trace) - 1);
        trace[sizeof(trace) - 1] = '\0';
        open_named(w, &a, "a");
        assert_int_equal(ak_bus_publish(a.bus, "", NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "/x", NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "a b", NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "a\x80", NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, topic, NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "sync.mark", NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "sync.request/b", NULL, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/x", trace, "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/x", "\n", "", 0, true), -EINVAL);
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/x", NULL, big, sizeof(big), true), -EMSGSIZE);
        assert_int_equal(stats(&a).retained, 0);
        assert_int_equal(stats(&a).published, 0);
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/x", NULL, big, AK_SCHEMA_MAX_BYTES, true), 0);
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/empty", NULL, NULL, 0, true), 0);
        assert_int_equal(open_party(w, &tap, &(struct ak_bus_options){.name = NULL}), 0);
        assert_int_equal(ak_bus_publish(tap.bus, "nic.diff/x", NULL, "", 0, true), -EINVAL);
        /* The largest body, and none at all, go through. */
        ak_bus_subscribe(tap.bus, "a", "");
        wait_count(w, &tap, 2);
        assert_string_equal(seen_of(&tap, "nic.diff/empty")->body, "");
        close_party(&tap);
        close_party(&a);
}

static void retained_topics_and_types_are_bounded(void **state)
{
        struct world *w = *state;
        struct party a;
        char topic[32];
        int r = 0, types = 0;

        assert_int_equal(open_party(w, &a, &(struct ak_bus_options){.name = "a", .max_topics = 2}), 0);
        say(&a, "nic.diff/1", "");
        say(&a, "nic.diff/2", "");
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/3", NULL, "", 0, true), -ENOSPC);
        assert_int_equal(ak_bus_publish(a.bus, "nic.diff/3", NULL, "", 0, false), 0);
        say(&a, "nic.diff/2", "again");
        ak_bus_forget(a.bus, "nic.diff/1");
        say(&a, "nic.diff/3", "");
        for (; r == 0 && types < 1000; types++) {
                (void)snprintf(topic, sizeof(topic), "type%d/x", types);
                r = ak_bus_publish(a.bus, topic, NULL, "", 0, false);
        }
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(types, AK_BUS_MARK_TYPES); /* nic.diff is one of them */
        close_party(&a);
}

/* --- taps --------------------------------------------------------------------------------------- */

static void tap_sees_everything(void **state)
{
        struct world *w = *state;
        struct party a, tap;

        open_named(w, &a, "a");
        say(&a, "nic.diff/x", "1");
        assert_int_equal(a.tapped_out, 1);
        assert_int_equal(open_party(w, &tap, &(struct ak_bus_options){.name = NULL}), 0);
        assert_int_equal(ak_bus_subscribe(tap.bus, "a", ""), 0);
        assert_int_equal(ak_bus_subscribe(tap.bus, "a", ""), 0); /* twice is once */
        wait_seen(w, &tap, "nic.diff/x", "1");
        say(&a, "vm.diff/x", "2");
        wait_seen(w, &tap, "vm.diff/x", "2");
        assert_true(tap.tapped_in > tap.count); /* marks too */
        assert_int_equal(tap.tapped_out, 0);
        assert_null(seen_of(&tap, AK_BUS_TOPIC_MARK));
        /* It has no endpoint, but can ask for the state again. */
        size_t before = tap.count;
        ak_bus_request_sync(tap.bus, "a", "test");
        wait_count(w, &tap, before + 2);
        assert_true(newest(&tap)->replayed);
        close_party(&tap);
        close_party(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(killed_owner_leaves_the_name_free, setup_without_loop, teardown),
            cmocka_unit_test_setup_teardown(late_subscriber_gets_last_values, setup, teardown),
            cmocka_unit_test_setup_teardown(live_messages_are_numbered_per_type, setup, teardown),
            cmocka_unit_test_setup_teardown(end_of_what_waited_is_told, setup, teardown),
            cmocka_unit_test_setup_teardown(forgotten_topic_is_not_replayed, setup, teardown),
            cmocka_unit_test_setup_teardown(unretained_message_is_not_replayed, setup, teardown),
            cmocka_unit_test_setup_teardown(peer_may_come_later, setup, teardown),
            cmocka_unit_test_setup_teardown(replay_for_another_is_no_gap, setup, teardown),
            cmocka_unit_test_setup_teardown(narrow_subscription_has_no_gaps, setup, teardown),
            cmocka_unit_test_setup_teardown(sync_request_is_answered, setup, teardown),
            cmocka_unit_test_setup_teardown(burst_past_the_high_water_mark_heals, setup, teardown),
            cmocka_unit_test_setup_teardown(restarted_publisher_is_seen, setup, teardown),
            cmocka_unit_test_setup_teardown(restarted_subscriber_is_brought_up_to_date, setup, teardown),
            cmocka_unit_test_setup_teardown(name_in_use_is_refused, setup, teardown),
            cmocka_unit_test_setup_teardown(directory_must_be_ours_alone, setup, teardown),
            cmocka_unit_test_setup_teardown(directory_is_made, setup, teardown),
            cmocka_unit_test_setup_teardown(bad_arguments_are_refused, setup, teardown),
            cmocka_unit_test_setup_teardown(bad_messages_are_not_published, setup, teardown),
            cmocka_unit_test_setup_teardown(retained_topics_and_types_are_bounded, setup, teardown),
            cmocka_unit_test_setup_teardown(tap_sees_everything, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
