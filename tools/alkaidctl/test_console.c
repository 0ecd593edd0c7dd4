/* SPDX-License-Identifier: Apache-2.0 */
/* The console client against a service of the test's own, over a real socket and pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <czmq.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "proto/console.h"
#include "tools/alkaidctl/console.h"

static char dir[] = "/tmp/ak-console-XXXXXX";

static int make_dir(void **state AK_UNUSED)
{
        return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state AK_UNUSED)
{
        char path[64];

        (void)snprintf(path, sizeof(path), "%s/" AK_CONSOLE_ENDPOINT, dir);
        (void)unlink(path);
        return rmdir(dir);
}

static void answer(zsock_t *router, zframe_t *peer, const char *op, const char *text)
{
        zframe_t *to = zframe_dup(peer);

        (void)zframe_send(&to, router, ZFRAME_MORE);
        (void)zstr_sendx(router, op, text, NULL);
}

/* "echo" gives back what it gets, "refuse" answers with an error, "vanish" closes after the first data. */
static void serve(zsock_t *pipe, void *mode)
{
        char endpoint[64];

        (void)snprintf(endpoint, sizeof(endpoint), "@ipc://%s/" AK_CONSOLE_ENDPOINT, dir);
        zsock_t *router = zsock_new_router(endpoint);
        zpoller_t *poller = zpoller_new(pipe, router, NULL);
        (void)zsock_signal(pipe, 0);
        while (zpoller_wait(poller, -1) == router) {
                zmsg_t *message = zmsg_recv(router);
                zframe_t *peer = zmsg_pop(message);
                AK_AUTOFREE char *op = zmsg_popstr(message);
                AK_AUTOFREE char *text = zmsg_popstr(message);
                if (strcmp(op, AK_CONSOLE_OP_OPEN) == 0 && strcmp(mode, "refuse") == 0)
                        answer(router, peer, AK_CONSOLE_OP_ERROR, "no such VM");
                else if (strcmp(op, AK_CONSOLE_OP_OPEN) == 0)
                        answer(router, peer, AK_CONSOLE_OP_OPENED, text);
                else if (strcmp(op, AK_CONSOLE_OP_DATA) == 0 && strcmp(mode, "vanish") == 0)
                        answer(router, peer, AK_CONSOLE_OP_CLOSED, "shut off");
                else if (strcmp(op, AK_CONSOLE_OP_DATA) == 0)
                        answer(router, peer, AK_CONSOLE_OP_DATA, text);
                zframe_destroy(&peer);
                zmsg_destroy(&message);
        }
        zpoller_destroy(&poller);
        zsock_destroy(&router);
}

struct result {
        enum ctl_console_outcome outcome;
        char text[256], output[256];
};

static struct result session(const char *input, uint64_t duration_us)
{
        struct result r = {0};
        int in[2], out[2];

        assert_int_equal(pipe(in), 0);
        assert_int_equal(pipe(out), 0);
        assert_int_equal(write(in[1], input, strlen(input)), (ssize_t)strlen(input));
        const struct ctl_console console = {
            .bus_dir = dir,
            .pod_uid = "uid-1",
            .in_fd = in[0],
            .out_fd = out[1],
            .answer_us = 300000,
            .duration_us = duration_us,
        };
        close(in[1]);
        r.outcome = ctl_console_run(&console, r.text);
        close(out[1]);
        assert_true(read(out[0], r.output, sizeof(r.output) - 1) >= 0);
        close(in[0]);
        close(out[0]);
        return r;
}

static void test_scan(void **state AK_UNUSED)
{
        bool leave = true;

        assert_int_equal(ctl_console_scan((const uint8_t *)"abc", 3, &leave), 3);
        assert_false(leave);
        assert_int_equal(ctl_console_scan((const uint8_t *)"ab\x1d"
                                                           "c",
                                          4, &leave),
                         2);
        assert_true(leave);
        assert_int_equal(ctl_console_scan((const uint8_t *)"\x1d", 1, &leave), 0);
        assert_true(leave);
}

static void test_both_ways(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(serve, (void *)"echo");
        struct result r = session("hello\n", 500000);

        zactor_destroy(&service);
        assert_int_equal(r.outcome, CTL_CONSOLE_LEFT);
        assert_string_equal(r.output, "uid-1hello\n");
}

static void test_escape_leaves(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(serve, (void *)"echo");
        struct result r = session("\x1d", 20000000);

        zactor_destroy(&service);
        assert_int_equal(r.outcome, CTL_CONSOLE_LEFT);
}

static void test_vm_goes_away(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(serve, (void *)"vanish");
        struct result r = session("x", 20000000);

        zactor_destroy(&service);
        assert_int_equal(r.outcome, CTL_CONSOLE_CLOSED);
        assert_string_equal(r.text, "shut off");
}

static void test_refused(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(serve, (void *)"refuse");
        struct result r = session("", 20000000);

        zactor_destroy(&service);
        assert_int_equal(r.outcome, CTL_CONSOLE_ERROR);
        assert_string_equal(r.text, "no such VM");
}

static void test_nobody_there(void **state AK_UNUSED)
{
        struct result r = session("", 20000000);

        assert_int_equal(r.outcome, CTL_CONSOLE_ERROR);
        assert_non_null(strstr(r.text, "does not answer"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_scan),          cmocka_unit_test(test_both_ways),
            cmocka_unit_test(test_escape_leaves), cmocka_unit_test(test_vm_goes_away),
            cmocka_unit_test(test_refused),       cmocka_unit_test(test_nobody_there),
        };
        zsys_init();
        return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
