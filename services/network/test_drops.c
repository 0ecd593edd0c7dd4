/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says of dropped packets, over a backend that drops as told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/log.h"
#include "services/network/drops.h"

#define MAX_PORTS 64

struct backend {
        struct vpc_backend base;
        size_t ports;
        uint64_t packets[MAX_PORTS];
};

static int drops(struct vpc_backend *backend, bool by_port, vpc_drops_fn *fn, void *arg,
                 struct net_error *error AK_UNUSED)
{
        const struct backend *b = (const struct backend *)backend;
        uint64_t sum = 0;
        char tap[16];

        for (size_t i = 0; i < b->ports; i++) {
                snprintf(tap, sizeof(tap), "ak%zu", i);
                sum += b->packets[i];
                if (by_port && b->packets[i] > 0)
                        fn(arg, tap, "spoofed_mac", b->packets[i]);
        }
        fn(arg, NULL, "spoofed_mac", sum);
        return 0;
}

struct world {
        struct backend backend;
        struct net_core *core;
        struct net_drops drops;
        FILE *log;
        int stderr_fd;
};

static const struct vpc_backend_ops ops = {.name = "drops", .drops = drops};

static int set_up(void **state)
{
        struct world *w = calloc(1, sizeof(*w));
        struct net_core_config config = {.max_ports = 4};

        *state = w;
        w->backend.base.ops = &ops;
        w->log = tmpfile();
        w->stderr_fd = dup(2);
        return net_core_new(&w->core, &config);
}

static int tear_down(void **state)
{
        struct world *w = *state;

        net_drops_deinit(&w->drops);
        net_core_free(w->core);
        (void)fclose(w->log);
        (void)close(w->stderr_fd);
        free(w);
        return 0;
}

/* What one look says. */
static void look(struct world *w, char *out, size_t size)
{
        (void)fflush(stderr);
        rewind(w->log);
        assert_int_equal(ftruncate(fileno(w->log), 0), 0);
        assert_int_equal(dup2(fileno(w->log), 2), 2);
        net_drops_look(&w->drops, &w->backend.base, w->core);
        (void)fflush(stderr);
        assert_int_equal(dup2(w->stderr_fd, 2), 2);
        rewind(w->log);
        out[fread(out, 1, size - 1, w->log)] = '\0';
}

static size_t count(const char *text, const char *word)
{
        size_t n = 0;

        for (; (text = strstr(text, word)); text += strlen(word))
                n++;
        return n;
}

static void what_came_since_the_last_look_is_said_once(void **state)
{
        struct world *w = *state;
        char text[8192];

        w->backend.ports = 2;
        w->backend.packets[0] = 5;
        look(w, text, sizeof(text));
        assert_string_equal(text, ""); /* of before the service's time */
        w->backend.packets[0] = 7;
        w->backend.packets[1] = 1;
        look(w, text, sizeof(text));
        assert_int_equal(count(text, "event=packets_dropped "), 2);
        assert_non_null(strstr(text, "tap=ak0 reason=spoofed_mac packets=2\n"));
        assert_non_null(strstr(text, "tap=ak1 reason=spoofed_mac packets=1\n"));
        look(w, text, sizeof(text));
        assert_string_equal(text, "");
}

static void a_count_that_began_anew_is_said_whole(void **state)
{
        struct world *w = *state;
        char text[8192];

        w->backend.ports = 1;
        w->backend.packets[0] = 5;
        look(w, text, sizeof(text));
        w->backend.packets[0] = 3;
        look(w, text, sizeof(text));
        assert_non_null(strstr(text, "packets=3\n"));
}

static void many_ports_do_not_flood_the_log(void **state)
{
        struct world *w = *state;
        char text[16384];

        look(w, text, sizeof(text));
        w->backend.ports = MAX_PORTS;
        for (size_t i = 0; i < MAX_PORTS; i++)
                w->backend.packets[i] = 1;
        look(w, text, sizeof(text));
        assert_int_equal(count(text, "event=packets_dropped "), DROPS_LINES);
        assert_int_equal(count(text, "event=packets_dropped_more lines=44 "), 1);
}

#define WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
            WORLD(what_came_since_the_last_look_is_said_once),
            WORLD(a_count_that_began_anew_is_said_whole),
            WORLD(many_ports_do_not_flood_the_log),
        };

        ak_log_init("network", AK_LOG_INFO);
        return cmocka_run_group_tests_name("drops", tests, NULL, NULL);
}
