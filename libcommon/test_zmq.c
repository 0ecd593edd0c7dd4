/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bus assumes of ZeroMQ. When one of these fails after an upgrade, the bus's rules need a look
 * before its tests do.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "libcommon/cleanup.h"
#include "libcommon/test.h"

#define WAIT_MS 20000

struct pair {
        char dir[64], endpoint[96];
        void *ctx, *pub, *sub;
};

static void set_int(void *socket, int option, int value)
{
        assert_int_equal(zmq_setsockopt(socket, option, &value, sizeof(value)), 0);
}

static void *open_socket(struct pair *p, int type, int hwm)
{
        void *s = zmq_socket(p->ctx, type);

        assert_non_null(s);
        set_int(s, ZMQ_LINGER, 0);
        set_int(s, ZMQ_RCVTIMEO, WAIT_MS);
        set_int(s, ZMQ_SNDHWM, hwm);
        set_int(s, ZMQ_RCVHWM, hwm);
        return s;
}

static int setup(void **state)
{
        struct pair *p = calloc(1, sizeof(*p));

        assert_non_null(p);
        (void)snprintf(p->dir, sizeof(p->dir), "/tmp/ak-zmq-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        (void)snprintf(p->endpoint, sizeof(p->endpoint), "ipc://%s/s", p->dir);
        p->ctx = zmq_ctx_new();
        *state = p;
        return 0;
}

static int teardown(void **state)
{
        struct pair *p = *state;
        char path[80];

        if (p->pub)
                zmq_close(p->pub);
        if (p->sub)
                zmq_close(p->sub);
        zmq_ctx_term(p->ctx);
        (void)snprintf(path, sizeof(path), "%s/s", p->dir);
        (void)unlink(path);
        assert_int_equal(rmdir(p->dir), 0);
        free(p);
        return 0;
}

static void open_pair(struct pair *p, int pub_hwm, int sub_hwm)
{
        p->pub = open_socket(p, ZMQ_XPUB, pub_hwm);
        p->sub = open_socket(p, ZMQ_SUB, sub_hwm);
        set_int(p->pub, ZMQ_XPUB_VERBOSE, 1);
        assert_int_equal(zmq_bind(p->pub, p->endpoint), 0);
        assert_int_equal(zmq_connect(p->sub, p->endpoint), 0);
}

static void subscribe(struct pair *p, const char *prefix)
{
        assert_int_equal(zmq_setsockopt(p->sub, ZMQ_SUBSCRIBE, prefix, strlen(prefix)), 0);
}

static void assert_received(void *socket, const char *expected)
{
        char buffer[256];
        int n = zmq_recv(socket, buffer, sizeof(buffer) - 1, 0);

        assert_true(n >= 0);
        buffer[n] = '\0';
        assert_string_equal(buffer, expected);
}

static void say(struct pair *p, const char *text)
{
        assert_int_equal(zmq_send(p->pub, text, strlen(text), 0), strlen(text));
}

/* So that we keep last values and answer subscriptions with them. */
static void late_subscriber_misses_what_was_said(void **state)
{
        struct pair *p = *state;

        open_pair(p, 1000, 1000);
        say(p, "a early");
        subscribe(p, "a");
        assert_received(p->pub, "\x01"
                                "a");
        say(p, "a late");
        assert_received(p->sub, "a late");
}

/* So that a publisher may write to all from its only thread, and gaps must be looked for. */
static void publisher_never_blocks_and_drops_at_the_mark(void **state)
{
        enum { SENT = 2000, SIZE = 60000 };
        struct pair *p = *state;
        char *body = calloc(1, SIZE);
        int got = 0;

        assert_non_null(body);
        open_pair(p, 10, 10);
        subscribe(p, "");
        assert_received(p->pub, "\x01");
        for (int i = 0; i < SENT; i++)
                assert_int_equal(zmq_send(p->pub, body, SIZE, ZMQ_DONTWAIT), SIZE);
        /* What follows is sent again until it comes through: it ends the count. */
        set_int(p->sub, ZMQ_RCVTIMEO, 100);
        for (int n = SIZE; n != 3;) {
                n = zmq_recv(p->sub, body, SIZE, 0);
                got += n == SIZE;
                if (n < 0)
                        say(p, "end");
        }
        assert_in_range(got, 1, SENT - 1);
        free(body);
}

/* A message is dropped whole, never a frame of it. */
static void messages_are_dropped_whole(void **state)
{
        struct pair *p = *state;
        char body[30000] = {0};
        bool last = false;

        open_pair(p, 5, 5);
        subscribe(p, "");
        assert_received(p->pub, "\x01");
        for (int i = 0; i < 1000; i++) {
                assert_true(zmq_send(p->pub, "one", 3, ZMQ_SNDMORE) >= 0);
                assert_true(zmq_send(p->pub, body, sizeof(body), ZMQ_SNDMORE) >= 0);
                assert_true(zmq_send(p->pub, "three", 5, 0) >= 0);
        }
        set_int(p->sub, ZMQ_RCVTIMEO, 100);
        while (!last) {
                int more, n = zmq_recv(p->sub, body, sizeof(body), 0);
                size_t size = sizeof(more);

                if (n < 0) {
                        say(p, "end");
                        continue;
                }
                assert_int_equal(zmq_getsockopt(p->sub, ZMQ_RCVMORE, &more, &size), 0);
                last = !more;
                if (last)
                        break;
                assert_int_equal(n, 3);
                assert_int_equal(zmq_recv(p->sub, body, sizeof(body), 0), sizeof(body));
                assert_received(p->sub, "three");
        }
}

/* So that each subscriber's own subscription is answered, not only the first. */
static void verbose_xpub_tells_every_subscription(void **state)
{
        struct pair *p = *state;
        void *second;

        open_pair(p, 1000, 1000);
        subscribe(p, "a");
        assert_received(p->pub, "\x01"
                                "a");
        second = open_socket(p, ZMQ_SUB, 1000);
        assert_int_equal(zmq_setsockopt(second, ZMQ_SUBSCRIBE, "a", 1), 0);
        assert_int_equal(zmq_connect(second, p->endpoint), 0);
        assert_received(p->pub, "\x01"
                                "a");
        /* The end of the last subscription only is told. */
        zmq_close(second);
        assert_int_equal(zmq_setsockopt(p->sub, ZMQ_UNSUBSCRIBE, "a", 1), 0);
        assert_int_equal(zmq_recv(p->pub, (char[8]){0}, 8, 0), 2);
        assert_int_equal(zmq_setsockopt(p->sub, ZMQ_SUBSCRIBE, "b", 1), 0);
        assert_received(p->pub, "\x01"
                                "b");
}

/*
 * So that a restarted publisher brings everybody up to date by itself. The first one has a context of its
 * own, whose end waits for its threads: their late unlink of the path would hit the second one's socket.
 */
static void subscriptions_are_sent_again_after_a_reconnect(void **state)
{
        struct pair *p = *state;
        void *own = p->ctx, *first = zmq_ctx_new();

        p->ctx = first;
        p->pub = open_socket(p, ZMQ_XPUB, 1000);
        p->ctx = own;
        p->sub = open_socket(p, ZMQ_SUB, 1000);
        set_int(p->sub, ZMQ_RECONNECT_IVL, 10);
        assert_int_equal(zmq_bind(p->pub, p->endpoint), 0);
        assert_int_equal(zmq_connect(p->sub, p->endpoint), 0);
        subscribe(p, "a");
        assert_received(p->pub, "\x01"
                                "a");
        zmq_close(p->pub);
        zmq_ctx_term(first);
        p->pub = open_socket(p, ZMQ_XPUB, 1000);
        assert_int_equal(zmq_bind(p->pub, p->endpoint), 0);
        /* It is the subscriber's own thread that sends them, when it next looks at its socket. */
        zmq_pollitem_t both[] = {{.socket = p->pub, .events = ZMQ_POLLIN},
                                 {.socket = p->sub, .events = ZMQ_POLLIN}};
        assert_int_equal(zmq_poll(both, 2, WAIT_MS), 1);
        assert_received(p->pub, "\x01"
                                "a");
}

/* So that the bus takes a lock: a second bind takes the name away from a live owner, without a word. */
static void bind_steals_an_ipc_path(void **state)
{
        struct pair *p = *state;
        void *thief;

        open_pair(p, 1000, 1000);
        thief = open_socket(p, ZMQ_XPUB, 1000);
        assert_int_equal(zmq_bind(thief, p->endpoint), 0);
        zmq_close(thief);
}

/* So that the bus may own the socket: ZeroMQ takes a listening descriptor and leaves its path alone. */
static void listening_descriptor_is_taken_and_its_path_left(void **state)
{
        struct pair *p = *state;
        struct sockaddr_un addr = {.sun_family = AF_UNIX};
        struct stat st;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", p->dir);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
        assert_int_equal(listen(fd, 10), 0);
        p->pub = open_socket(p, ZMQ_XPUB, 1000);
        set_int(p->pub, ZMQ_USE_FD, fd);
        assert_int_equal(zmq_bind(p->pub, p->endpoint), 0);
        p->sub = open_socket(p, ZMQ_SUB, 1000);
        assert_int_equal(zmq_connect(p->sub, p->endpoint), 0);
        subscribe(p, "a");
        assert_received(p->pub, "\x01"
                                "a");
        zmq_close(p->pub);
        p->pub = NULL;
        zmq_close(p->sub);
        p->sub = NULL;
        zmq_ctx_term(p->ctx); /* all threads are gone now */
        p->ctx = zmq_ctx_new();
        assert_int_equal(stat(addr.sun_path, &st), 0);
        assert_int_equal(fcntl(fd, F_GETFD), -1); /* and it closed the descriptor */
}

/* So that a silent peer gets a new socket: a frame past the limit ends a connection for good. */
static void oversized_frame_ends_the_connection(void **state)
{
        struct pair *p = *state;
        char body[2000] = {0};
        int64_t limit = 1000;

        p->pub = open_socket(p, ZMQ_XPUB, 1000);
        p->sub = open_socket(p, ZMQ_SUB, 1000);
        set_int(p->sub, ZMQ_RECONNECT_IVL, 10);
        assert_int_equal(zmq_setsockopt(p->sub, ZMQ_MAXMSGSIZE, &limit, sizeof(limit)), 0);
        assert_int_equal(zmq_bind(p->pub, p->endpoint), 0);
        assert_int_equal(zmq_connect(p->sub, p->endpoint), 0);
        subscribe(p, "");
        assert_received(p->pub, "\x01");
        assert_int_equal(zmq_send(p->pub, body, sizeof(body), 0), sizeof(body));
        assert_int_equal(zmq_recv(p->pub, body, sizeof(body), 0), 1); /* the subscription's end */
        assert_int_equal(body[0], 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(late_subscriber_misses_what_was_said, setup, teardown),
            cmocka_unit_test_setup_teardown(publisher_never_blocks_and_drops_at_the_mark, setup, teardown),
            cmocka_unit_test_setup_teardown(messages_are_dropped_whole, setup, teardown),
            cmocka_unit_test_setup_teardown(verbose_xpub_tells_every_subscription, setup, teardown),
            cmocka_unit_test_setup_teardown(subscriptions_are_sent_again_after_a_reconnect, setup, teardown),
            cmocka_unit_test_setup_teardown(bind_steals_an_ipc_path, setup, teardown),
            cmocka_unit_test_setup_teardown(listening_descriptor_is_taken_and_its_path_left, setup, teardown),
            cmocka_unit_test_setup_teardown(oversized_frame_ends_the_connection, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
