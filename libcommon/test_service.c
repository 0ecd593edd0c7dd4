/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, systemd's notifications and its watchdog, as a unit of Type=notify meets them. */
#include "libcommon/service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "libcommon/log.h"
#include "libcommon/test.h"

struct config {
        char *place;
        uint64_t count;
        struct ak_strlist names;
};

static const struct ak_option table[] = {
    {"place", AK_OPT_STRING, offsetof(struct config, place), "here", "where"},
    {"count", AK_OPT_UINT, offsetof(struct config, count), "1", "how many"},
    {"names", AK_OPT_LIST, offsetof(struct config, names), NULL, "who"},
};
static const struct ak_program program = {"alkaid-test", "Tests.", NULL, table, AK_ARRAY_SIZE(table)};

struct world {
        char dir[64], file[96], socket_path[96];
        int notify_fd;
        struct config config;
        char *argv[4];
        struct ak_service_options options;
        zloop_t *loop;
        struct ak_service *service;
        int reloads;
};

static void write_file(const struct world *w, const char *text)
{
        FILE *f = fopen(w->file, "w");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

static void on_reload(void *arg)
{
        ((struct world *)arg)->reloads++;
}

static void listen_notify(struct world *w)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        w->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_true(w->notify_fd >= 0);
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->socket_path);
        assert_int_equal(bind(w->notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(setenv("NOTIFY_SOCKET", w->socket_path, 1), 0);
}

/* The next notification; "" when there is none. */
static const char *notified(struct world *w, char text[256])
{
        ssize_t n = recv(w->notify_fd, text, 255, MSG_DONTWAIT);

        text[n > 0 ? n : 0] = '\0';
        return text;
}

static int start(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        assert_non_null(w);
        (void)snprintf(w->dir, sizeof(w->dir), "/tmp/alkaid-service-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        (void)snprintf(w->file, sizeof(w->file), "%s/test.yaml", w->dir);
        (void)snprintf(w->socket_path, sizeof(w->socket_path), "%s/notify", w->dir);
        write_file(w, "place: there\nlogLevel: warn\n");
        w->argv[0] = "alkaid-test";
        w->argv[1] = "--config";
        w->argv[2] = w->file;
        assert_int_equal(ak_options_load(&program, 3, w->argv, &w->config, NULL), 0);
        w->options =
            (struct ak_service_options){&program, 3, w->argv, &w->config, sizeof(w->config), on_reload, w};
        listen_notify(w);
        (void)zsys_init();
        zsys_handler_set(NULL);
        w->loop = zloop_new();
        ak_service_prepare();
        *state = w;
        return 0;
}

static int stop(void **state)
{
        struct world *w = *state;

        ak_service_free(w->service);
        zloop_destroy(&w->loop);
        ak_options_deinit(&program, &w->config);
        (void)close(w->notify_fd);
        (void)unlink(w->file);
        (void)unlink(w->socket_path);
        (void)rmdir(w->dir);
        (void)unsetenv("NOTIFY_SOCKET");
        (void)unsetenv("WATCHDOG_USEC");
        free(w);
        return 0;
}

static int end_loop(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        (void)arg;
        return -1;
}

/* Lets the loop turn until something is notified. */
static const char *turn(struct world *w, char text[256])
{
        for (int i = 0; i < 3000 && !*notified(w, text); i++) {
                assert_true(zloop_timer(w->loop, 10, 1, end_loop, NULL) >= 0);
                (void)zloop_start(w->loop);
        }
        return text;
}

/* With SIGHUP: the first notification says RELOADING, the second READY. */
static void hang_up(struct world *w)
{
        char text[256];

        assert_int_equal(raise(SIGHUP), 0);
        assert_non_null(strstr(turn(w, text), "RELOADING=1"));
        assert_string_equal(turn(w, text), "READY=1");
}

static void test_start_and_stop(void **state)
{
        struct world *w = *state;
        char text[256];

        assert_int_equal(ak_service_new(&w->service, w->loop, &w->options), 0);
        assert_string_equal(notified(w, text), "READY=1");
        assert_int_equal(raise(SIGTERM), 0);
        assert_int_equal(zloop_start(w->loop), -1); /* ends by itself */
        assert_string_equal(notified(w, text), "STOPPING=1");
}

static void test_reload(void **state)
{
        struct world *w = *state;
        char text[256];

        assert_int_equal(ak_service_new(&w->service, w->loop, &w->options), 0);
        (void)notified(w, text);
        write_file(w, "place: there\nlogLevel: debug\n");
        hang_up(w);
        assert_int_equal(w->reloads, 1);
        assert_true(ak_log_enabled(AK_LOG_DEBUG));
        /* A file that is wrong: nothing changes, and the service goes on. */
        write_file(w, "place: there\nlogLevel: warn\nplaec: x\n");
        hang_up(w);
        assert_int_equal(w->reloads, 1);
        assert_true(ak_log_enabled(AK_LOG_DEBUG));
        write_file(w, "logLevel: error\n");
        hang_up(w);
        assert_int_equal(w->reloads, 2);
        assert_false(ak_log_enabled(AK_LOG_WARN));
        assert_string_equal(w->config.place, "there"); /* a restart away */
}

static void note(void *arg, const char *key)
{
        char *text = arg;

        size_t used = strlen(text);

        (void)snprintf(text + used, 256 - used, "%s ", key);
}

static void test_differences_are_named(void **state)
{
        struct world *w = *state;
        char text[256] = "";

        assert_int_equal(ak_options_reload(&program, 3, w->argv, &w->config, sizeof(w->config), note, text),
                         0);
        assert_string_equal(text, "");
        write_file(w, "count: 2\nnames: [a, b]\n");
        assert_int_equal(ak_options_reload(&program, 3, w->argv, &w->config, sizeof(w->config), note, text),
                         0);
        assert_string_equal(text, "place count names ");
        write_file(w, "count: many\n");
        assert_int_equal(ak_options_reload(&program, 3, w->argv, &w->config, sizeof(w->config), note, text),
                         -EINVAL);
}

static void test_watchdog(void **state)
{
        struct world *w = *state;
        char text[256];

        assert_int_equal(setenv("WATCHDOG_USEC", "30000", 1), 0);
        assert_int_equal(ak_service_new(&w->service, w->loop, &w->options), 0);
        assert_string_equal(notified(w, text), "READY=1");
        assert_string_equal(notified(w, text), ""); /* only a loop that turns says so */
        assert_string_equal(turn(w, text), "WATCHDOG=1");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_start_and_stop, start, stop),
            cmocka_unit_test_setup_teardown(test_reload, start, stop),
            cmocka_unit_test_setup_teardown(test_differences_are_named, start, stop),
            cmocka_unit_test_setup_teardown(test_watchdog, start, stop),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
