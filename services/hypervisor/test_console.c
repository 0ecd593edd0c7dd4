/* SPDX-License-Identifier: Apache-2.0 */
/* The console over its socket, with log files that the test writes and a driver that takes every key. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <czmq.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "libcommon/log.h"
#include "proto/console.h"
#include "services/hypervisor/backends/driver.h"
#include "services/hypervisor/console.h"

#define POD  "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"
#define POD2 "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e02"

struct fixture {
        char dir[64], log[160];
        struct hv_driver *driver;
        struct hv_driver_ops ops;
        struct hv_console *console;
};

/* What was typed; the driver's function has no argument of ours. */
static char typed[256];
static atomic_size_t typed_len;

static enum hv_error take_keys(struct hv_driver_vm *vm, const void *data, size_t len, size_t *done,
                               char *text)
{
        size_t at = atomic_load(&typed_len);

        (void)vm;
        (void)text;
        /* Three at a time: the rest has to be offered again. */
        *done = len < 3 ? len : 3;
        if (len > 0 && at + *done < sizeof(typed)) {
                memcpy(typed + at, data, *done);
                atomic_fetch_add(&typed_len, *done);
        }
        return HV_OK;
}

static void ignore_event(void *arg, const struct hv_event *event)
{
        (void)arg;
        (void)event;
}

static int setup(void **state)
{
        struct fixture *fx = calloc(1, sizeof(*fx));
        struct hv_driver_options options = {.node = "n", .accel = "tcg", .on_event = ignore_event};
        struct hv_console_options console;

        assert_non_null(fx);
        atomic_store(&typed_len, 0);
        memset(typed, 0, sizeof(typed));
        (void)snprintf(fx->dir, sizeof(fx->dir), "/tmp/akcon-XXXXXX");
        assert_non_null(mkdtemp(fx->dir));
        (void)snprintf(fx->log, sizeof(fx->log), "%s/vms", fx->dir);
        assert_int_equal(mkdir(fx->log, 0755), 0);
        (void)snprintf(fx->log, sizeof(fx->log), "%s/vms/" POD, fx->dir);
        assert_int_equal(mkdir(fx->log, 0755), 0);
        (void)snprintf(fx->log, sizeof(fx->log), "%s/vms/" POD "/console.log", fx->dir);
        assert_int_equal(hv_driver_fake_new(&fx->driver, &options), 0);
        fx->ops = hv_driver_fake_ops;
        fx->ops.console_write = take_keys;
        console = (struct hv_console_options){
            .bus_dir = fx->dir, .state_dir = fx->dir, .ops = &fx->ops, .driver = fx->driver};
        assert_int_equal(hv_console_new(&fx->console, &console), 0);
        *state = fx;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

static int teardown(void **state)
{
        struct fixture *fx = *state;

        hv_console_free(fx->console);
        fx->ops.free(fx->driver);
        assert_int_equal(nftw(fx->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
        free(fx);
        return 0;
}

/* ------------------------------------------------------------------ client */

static void append(const struct fixture *fx, const void *data, size_t len)
{
        int fd = open(fx->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, len), len);
        (void)close(fd);
}

static void say(const struct fixture *fx, const char *text)
{
        append(fx, text, strlen(text));
}

static zsock_t *client(const struct fixture *fx)
{
        zsock_t *dealer = zsock_new(ZMQ_DEALER);

        assert_non_null(dealer);
        zsock_set_rcvtimeo(dealer, 20000);
        zsock_set_linger(dealer, 0);
        assert_int_equal(zsock_connect(dealer, "ipc://%s/" AK_CONSOLE_ENDPOINT, fx->dir), 0);
        return dealer;
}

static zsock_t *attach(const struct fixture *fx, const char *pod)
{
        zsock_t *dealer = client(fx);

        (void)zstr_sendx(dealer, AK_CONSOLE_OP_OPEN, pod, NULL);
        return dealer;
}

/* The next message; fails when there is none. The caller frees *data. */
static size_t receive(zsock_t *dealer, const char *op, char **data)
{
        zmsg_t *message = zmsg_recv(dealer);
        zframe_t *kind, *argument;
        size_t len;

        if (!message)
                fail_msg("no '%s'", op);
        assert_int_equal(zmsg_size(message), 2);
        kind = zmsg_first(message);
        argument = zmsg_next(message);
        if (!zframe_streq(kind, op))
                fail_msg("'%.*s', not '%s'", (int)zframe_size(kind), (const char *)zframe_data(kind), op);
        len = zframe_size(argument);
        *data = calloc(1, len + 1);
        assert_non_null(*data);
        memcpy(*data, zframe_data(argument), len);
        zmsg_destroy(&message);
        return len;
}

static void expect(zsock_t *dealer, const char *op, const char *text)
{
        char *data;

        (void)receive(dealer, op, &data);
        if (!strstr(data, text))
                fail_msg("'%s' says '%s', not '%s'", op, data, text);
        free(data);
}

/* Output in as many frames as it comes in. */
static void expect_output(zsock_t *dealer, const char *text)
{
        size_t want = strlen(text), have = 0;

        while (have < want) {
                char *data;
                size_t len = receive(dealer, AK_CONSOLE_OP_DATA, &data);

                assert_true(have + len <= want);
                assert_memory_equal(data, text + have, len);
                have += len;
                free(data);
        }
}

/* ------------------------------------------------------------------ tests */

static void test_scrollback_and_output_join(void **state)
{
        struct fixture *fx = *state;
        zsock_t *one, *two;

        say(fx, "before ");
        one = attach(fx, POD);
        expect(one, AK_CONSOLE_OP_OPENED, "before ");
        say(fx, "and after");
        expect_output(one, "and after");
        two = attach(fx, POD);
        expect(two, AK_CONSOLE_OP_OPENED, "before and after");
        say(fx, "!");
        expect_output(one, "!");
        expect_output(two, "!");
        zsock_destroy(&one);
        zsock_destroy(&two);
}

static void test_scrollback_is_bounded(void **state)
{
        struct fixture *fx = *state;
        char *big = malloc(200000), *data;
        zsock_t *one;

        assert_non_null(big);
        memset(big, 'x', 200000);
        big[199997] = 'e';
        big[199998] = 'n';
        big[199999] = 'd';
        append(fx, big, 200000);
        free(big);
        one = attach(fx, POD);
        assert_int_equal(receive(one, AK_CONSOLE_OP_OPENED, &data), AK_CONSOLE_SCROLLBACK);
        assert_string_equal(data + AK_CONSOLE_SCROLLBACK - 3, "end");
        free(data);
        zsock_destroy(&one);
}

/* As virtlogd does at its size limit. */
static void test_log_that_is_rotated(void **state)
{
        struct fixture *fx = *state;
        char old[192];
        zsock_t *one;

        say(fx, "a");
        one = attach(fx, POD);
        expect(one, AK_CONSOLE_OP_OPENED, "a");
        (void)snprintf(old, sizeof(old), "%s.0", fx->log);
        say(fx, "last of the old;");
        assert_int_equal(rename(fx->log, old), 0);
        say(fx, "first of the new");
        expect_output(one, "last of the old;first of the new");
        say(fx, ", and more");
        expect_output(one, ", and more");
        zsock_destroy(&one);
}

static bool has_typed(size_t len)
{
        for (int i = 0; i < 2000 && atomic_load(&typed_len) < len; i++)
                zclock_sleep(5);
        return atomic_load(&typed_len) == len;
}

static void test_input_arrives_whole_and_in_order(void **state)
{
        struct fixture *fx = *state;
        zsock_t *one;

        say(fx, "# ");
        one = attach(fx, POD);
        expect(one, AK_CONSOLE_OP_OPENED, "# ");
        (void)zstr_sendx(one, AK_CONSOLE_OP_DATA, "ip address\n", NULL);
        (void)zstr_sendx(one, AK_CONSOLE_OP_DATA, "netstat -i\n", NULL);
        assert_true(has_typed(strlen("ip address\nnetstat -i\n")));
        assert_string_equal(typed, "ip address\nnetstat -i\n");
        zsock_destroy(&one);
}

static void test_what_is_refused(void **state)
{
        struct fixture *fx = *state;
        char uid[AK_LEN_UID + 10], *big = calloc(1, AK_CONSOLE_MAX_DATA + 2);
        zsock_t *one = client(fx);

        assert_non_null(big);
        say(fx, "x");
        (void)zstr_sendx(one, AK_CONSOLE_OP_OPEN, POD2, NULL);
        expect(one, AK_CONSOLE_OP_ERROR, "no such VM");
        (void)zstr_sendx(one, AK_CONSOLE_OP_OPEN, "../" POD, NULL);
        expect(one, AK_CONSOLE_OP_ERROR, "no such VM");
        memset(uid, 'a', sizeof(uid) - 1);
        uid[sizeof(uid) - 1] = '\0';
        (void)zstr_sendx(one, AK_CONSOLE_OP_OPEN, uid, NULL);
        expect(one, AK_CONSOLE_OP_ERROR, "not a pod UID");
        (void)zstr_sendx(one, AK_CONSOLE_OP_PING, "", NULL);
        expect(one, AK_CONSOLE_OP_ERROR, "no session");
        /* A message of another shape is no reason to answer, or to stumble. */
        (void)zstr_sendx(one, "only-one-frame", NULL);
        (void)zstr_sendx(one, "one", "two", "three", NULL);
        (void)zstr_sendx(one, AK_CONSOLE_OP_OPEN, POD, NULL);
        expect(one, AK_CONSOLE_OP_OPENED, "x");
        (void)zstr_sendx(one, "dance", "", NULL);
        expect(one, AK_CONSOLE_OP_ERROR, "unknown operation");
        (void)zstr_sendx(one, AK_CONSOLE_OP_OPEN, POD, NULL);
        expect(one, AK_CONSOLE_OP_OPENED, "x");
        memset(big, 'k', AK_CONSOLE_MAX_DATA + 1);
        (void)zstr_sendx(one, AK_CONSOLE_OP_DATA, big, NULL);
        expect(one, AK_CONSOLE_OP_ERROR, "too large");
        free(big);
        zsock_destroy(&one);
}

static void test_number_of_sessions_is_bounded(void **state)
{
        zsock_t *sessions[AK_CONSOLE_MAX_SESSIONS], *more;
        struct fixture *fx = *state;

        say(fx, "x");
        for (size_t i = 0; i < AK_CONSOLE_MAX_SESSIONS; i++) {
                sessions[i] = attach(fx, POD);
                expect(sessions[i], AK_CONSOLE_OP_OPENED, "x");
        }
        more = attach(fx, POD);
        expect(more, AK_CONSOLE_OP_ERROR, "too many");
        (void)zstr_sendx(sessions[0], AK_CONSOLE_OP_CLOSE, "", NULL);
        /* Answered in order, so the session is over by then. */
        (void)zstr_sendx(sessions[0], AK_CONSOLE_OP_PING, "", NULL);
        expect(sessions[0], AK_CONSOLE_OP_ERROR, "no session");
        (void)zstr_sendx(more, AK_CONSOLE_OP_OPEN, POD, NULL);
        expect(more, AK_CONSOLE_OP_OPENED, "x");
        zsock_destroy(&more);
        for (size_t i = 0; i < AK_CONSOLE_MAX_SESSIONS; i++)
                zsock_destroy(&sessions[i]);
}

static void test_vm_that_goes_ends_its_sessions(void **state)
{
        struct fixture *fx = *state;
        zsock_t *one;

        say(fx, "x");
        one = attach(fx, POD);
        expect(one, AK_CONSOLE_OP_OPENED, "x");
        hv_console_vm_gone(fx->console, POD2, "absent");
        say(fx, "y");
        expect_output(one, "y");
        hv_console_vm_gone(fx->console, POD, "shutoff");
        expect(one, AK_CONSOLE_OP_CLOSED, "shutoff");
        zsock_destroy(&one);
}

/* A client that does not read holds up neither the VM nor the others, and what is kept for it is bounded. */
static void test_slow_client(void **state)
{
        struct fixture *fx = *state;
        char *chunk = malloc(100000);
        zsock_t *slow, *quick;

        assert_non_null(chunk);
        memset(chunk, 's', 100000);
        say(fx, "x");
        slow = client(fx);
        zsock_set_rcvhwm(slow, 1);
        (void)zstr_sendx(slow, AK_CONSOLE_OP_OPEN, POD, NULL);
        expect(slow, AK_CONSOLE_OP_OPENED, "x");
        for (int i = 0; i < 40; i++)
                append(fx, chunk, 100000);
        say(fx, "tail");
        quick = attach(fx, POD);
        expect(quick, AK_CONSOLE_OP_OPENED, "tail");
        say(fx, "go on");
        expect_output(quick, "go on");
        free(chunk);
        zsock_destroy(&slow);
        zsock_destroy(&quick);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            TEST(test_scrollback_and_output_join),
            TEST(test_scrollback_is_bounded),
            TEST(test_log_that_is_rotated),
            TEST(test_input_arrives_whole_and_in_order),
            TEST(test_what_is_refused),
            TEST(test_number_of_sessions_is_bounded),
            TEST(test_vm_that_goes_ends_its_sessions),
            TEST(test_slow_client),
        };

        ak_log_init("test", AK_LOG_ERROR);
        zsys_handler_set(NULL);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
