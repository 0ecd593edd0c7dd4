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

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "proto/console.h"
#include "services/hypervisor/backends/driver.h"
#include "services/hypervisor/console.h"
#include "services/hypervisor/console_lines.h"

#define POD           "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"
#define MAX_LOG_FRAME 16384
#define POD2          "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e02"

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

/* What an apiserver that is not root connects to: for the directory's group, and for nobody else. */
static void test_socket_of_a_group(void **state)
{
        struct fixture *fx = *state;
        char own[128], shared[128];
        struct hv_console_options options = {.bus_dir = own,
                                             .shared_dir = shared,
                                             .state_dir = fx->dir,
                                             .ops = &fx->ops,
                                             .driver = fx->driver};
        AK_CLEANUP(hv_console_freep) struct hv_console *console = NULL;
        struct stat st;

        (void)snprintf(own, sizeof(own), "%s/own", fx->dir);
        (void)snprintf(shared, sizeof(shared), "%s/shared", fx->dir);
        assert_int_equal(mkdir(own, 0700), 0);
        assert_int_equal(hv_console_new(&console, &options), 0); /* no such directory: no such socket */
        console = hv_console_free(console);
        assert_int_equal(mkdir(shared, 0700), 0);
        assert_int_equal(hv_console_new(&console, &options), 0);
        assert_int_equal(stat(AK_FMT("%s/" AK_CONSOLE_ENDPOINT, own), &st), 0);
        assert_int_equal(stat(AK_FMT("%s/" AK_CONSOLE_ENDPOINT, shared), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0660);
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

/* ------------------------------------------------------------------ logs */

static zsock_t *ask_log(const struct fixture *fx, const char *pod, int lines, uint64_t since_us)
{
        zsock_t *dealer = client(fx);
        char text[100];

        (void)snprintf(text, sizeof(text), "%s %d %llu", pod, lines, (unsigned long long)since_us);
        (void)zstr_sendx(dealer, AK_CONSOLE_OP_LOG, text, NULL);
        return dealer;
}

/* Lines as they come, each with its time, until `text` has come. */
static void expect_lines_from(zsock_t *dealer, bool inside, const char *text)
{
        char *all = strdup(""), *more, *at;
        size_t have = 0;

        while (have < strlen(text)) {
                AK_AUTOFREE char *data = NULL;
                size_t len = receive(dealer, AK_CONSOLE_OP_DATA, &data);

                assert_true(len <= AK_CONSOLE_MAX_DATA);
                for (at = data; *at; at++) {
                        uint64_t us;

                        if (have ? all[have - 1] == '\n' : !inside) {
                                char *blank = strchr(at, ' ');

                                assert_non_null(blank);
                                *blank = '\0';
                                assert_int_equal(ak_rfc3339_parse(at, &us), 0);
                                at = blank + 1;
                        }
                        more = realloc(all, have + 2);
                        assert_non_null(more);
                        all = more;
                        all[have++] = *at;
                        all[have] = '\0';
                }
        }
        assert_string_equal(all, text);
        free(all);
}

static void expect_lines(zsock_t *dealer, const char *text)
{
        expect_lines_from(dealer, false, text);
}

static void expect_log(const struct fixture *fx, int lines, uint64_t since_us, const char *text)
{
        zsock_t *dealer = ask_log(fx, POD, lines, since_us);

        expect_lines(dealer, text);
        expect(dealer, AK_CONSOLE_OP_OPENED, "");
        zsock_destroy(&dealer);
}

static void test_log_by_lines(void **state)
{
        struct fixture *fx = *state;
        zsock_t *follower;

        say(fx, "one\r\ntwo\r\n\r\nlogin: ");
        expect_log(fx, -1, 0, "one\r\ntwo\r\n\r\nlogin: ");
        expect_log(fx, 1, 0, "login: ");
        expect_log(fx, 3, 0, "two\r\n\r\nlogin: ");
        expect_log(fx, 100, 0, "one\r\ntwo\r\n\r\nlogin: ");
        expect_log(fx, 0, 0, "");
        follower = ask_log(fx, POD, 1, 0);
        expect_lines(follower, "login: ");
        expect(follower, AK_CONSOLE_OP_OPENED, "");
        say(fx, "root\n# ");
        expect_lines_from(follower, true, "root\n# ");
        zsock_destroy(&follower);
        expect_log(fx, 2, 0, "login: root\n# ");
        say(fx, "\n");
        expect_log(fx, 2, 0, "login: root\n# \n");
}

/* One that waits for the actor to have seen what was printed. */
static void wait_printed(const struct fixture *fx, const char *text)
{
        zsock_t *dealer = ask_log(fx, POD, 1, 0);

        expect_lines(dealer, text);
        zsock_destroy(&dealer);
}

static void test_log_since(void **state)
{
        struct fixture *fx = *state;
        zsock_t *none;
        uint64_t then_us;

        say(fx, "before\nbegun before");
        hv_console_vm_here(fx->console, POD);
        wait_printed(fx, "begun before");
        then_us = ak_clock_realtime_us() + 1;
        while (ak_clock_realtime_us() <= then_us)
                ;
        say(fx, ", ended after\nafter\n");
        wait_printed(fx, "after\n");
        expect_log(fx, -1, then_us, "after\n");
        expect_log(fx, -1, 1, "before\nbegun before, ended after\nafter\n");
        expect_log(fx, 1, 1, "after\n");
        none = ask_log(fx, POD, -1, ak_clock_realtime_us() + 1000000);
        expect(none, AK_CONSOLE_OP_OPENED, "");
        zsock_destroy(&none);
}

static void test_log_that_is_long(void **state)
{
        struct fixture *fx = *state;
        size_t size = 3 * MAX_LOG_FRAME;
        char *text = malloc(size + 1);

        assert_non_null(text);
        memset(text, '\n', size);
        text[size] = '\0';
        append(fx, text, size);
        expect_log(fx, -1, 0, text);
        expect_log(fx, 20000, 0, text + size - 20000);
        free(text);
}

static void test_log_that_is_refused(void **state)
{
        static const char *const wrong[] = {"",          POD,         POD " 1",   POD " x 0",
                                            POD " -2 0", POD " 1 -1", POD " 1 0x"};
        struct fixture *fx = *state;
        zsock_t *one = client(fx);

        say(fx, "x");
        for (size_t i = 0; i < AK_ARRAY_SIZE(wrong); i++) {
                (void)zstr_sendx(one, AK_CONSOLE_OP_LOG, wrong[i], NULL);
                expect(one, AK_CONSOLE_OP_ERROR, "not a pod UID");
        }
        zsock_destroy(&one);
        one = ask_log(fx, POD2, -1, 0);
        expect(one, AK_CONSOLE_OP_ERROR, "no such VM");
        zsock_destroy(&one);
}

static void test_times_of_lines(void **state)
{
        struct hv_lines lines = {0};
        uint64_t last = 0;

        (void)state;
        assert_int_equal(hv_lines_time(&lines, 0, 77), 77);
        assert_int_equal(hv_lines_note(&lines, 10, 1000), 0);
        assert_int_equal(hv_lines_note(&lines, 10, 1500), 0);
        assert_int_equal(hv_lines_note(&lines, 20, 2000), 0);
        assert_int_equal(hv_lines_note(&lines, 30, 1900), 0); /* the clock went back */
        assert_int_equal(hv_lines_time(&lines, 0, 77), 1000);
        assert_int_equal(hv_lines_time(&lines, 9, 77), 1000);
        assert_int_equal(hv_lines_time(&lines, 10, 77), 2000);
        assert_int_equal(hv_lines_time(&lines, 29, 77), 2000);
        assert_int_equal(hv_lines_time(&lines, 30, 77), 77);
        assert_int_equal(hv_lines_since(&lines, 1000), 0);
        assert_int_equal(hv_lines_since(&lines, 1001), 10);
        assert_int_equal(hv_lines_since(&lines, 2001), 30);
        assert_int_equal(hv_lines_note(&lines, 5, 3000), 0); /* another file */
        assert_int_equal(hv_lines_time(&lines, 4, 77), 3000);
        for (uint64_t i = 6; i < 100000; i++)
                assert_int_equal(hv_lines_note(&lines, i, 3000 + i), 0);
        assert_true(lines.count <= HV_LINES_MARKS && lines.room <= HV_LINES_MARKS);
        for (uint64_t i = 5; i < 99999; i++) {
                assert_true(hv_lines_time(&lines, i, 0) >= last && hv_lines_time(&lines, i, 0) <= 3001 + i);
                last = hv_lines_time(&lines, i, 0);
        }
        hv_lines_deinit(&lines);
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
            TEST(test_socket_of_a_group),
            TEST(test_number_of_sessions_is_bounded),
            TEST(test_vm_that_goes_ends_its_sessions),
            TEST(test_slow_client),
            TEST(test_log_by_lines),
            TEST(test_log_since),
            TEST(test_log_that_is_long),
            TEST(test_log_that_is_refused),
            cmocka_unit_test(test_times_of_lines),
        };

        ak_log_init("test", AK_LOG_ERROR);
        zsys_handler_set(NULL);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
