/* SPDX-License-Identifier: Apache-2.0 */
/* Listening on a real bus: a publisher in a thread of its own, as a service would be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <czmq.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/proto.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/listen.h"

static char dir[] = "/tmp/ak-listen-XXXXXX";

static int make_dir(void **state AK_UNUSED)
{
        return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state AK_UNUSED)
{
        zdir_t *all = zdir_new(dir, NULL);

        zdir_remove(all, true);
        zdir_destroy(&all);
        return 0;
}

static void publish(struct ak_bus *bus, enum ak_message_type type, const char *port)
{
        struct ak_message m = {.type = type};
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len = 0;

        struct ak_nic_diff *d = &m.nic_diff;
        if (type == ak_message_nic_diff) {
                (void)snprintf(d->pod_uid, sizeof(d->pod_uid), "pod-1");
                (void)snprintf(d->port_id, sizeof(d->port_id), "%s", port);
        } else {
                (void)snprintf(m.vm_diff.pod_uid, sizeof(m.vm_diff.pod_uid), "pod-1");
        }
        ak_message_topic(&m, topic);
        assert_int_equal(ak_message_encode(&m, &body, &len), 0);
        assert_int_equal(ak_bus_publish(bus, topic, "", body, len, true), 0);
}

static int on_pipe(zloop_t *loop AK_UNUSED, zsock_t *pipe AK_UNUSED, void *arg AK_UNUSED)
{
        return -1;
}

static void on_message(void *arg AK_UNUSED, const struct ak_bus_frame *frame AK_UNUSED)
{
}

/* A watcher that has said three things; they are last values to whoever comes later. */
static void watcher(zsock_t *pipe, void *arg AK_UNUSED)
{
        zloop_t *loop = zloop_new();
        struct ak_bus *bus = NULL;
        const struct ak_bus_options options = {.dir = dir, .name = "watcher"};
        const struct ak_bus_handler handler = {.on_message = on_message};

        assert_int_equal(ak_bus_new(&bus, loop, &options, &handler), 0);
        publish(bus, ak_message_vm_diff, NULL);
        publish(bus, ak_message_nic_diff, "port-1");
        publish(bus, ak_message_nic_diff, "port-2");
        zloop_reader(loop, pipe, on_pipe, NULL);
        (void)zsock_signal(pipe, 0);
        zloop_start(loop);
        ak_bus_free(bus);
        zloop_destroy(&loop);
}

struct heard {
        int count, limit;
        const char *node; /* expected; NULL = any */
        bool port_1, port_2, vm;
};

static int hear(void *arg, const char *node, const struct ak_bus_frame *frame)
{
        struct heard *h = arg;

        if (h->node)
                assert_string_equal(node, h->node);
        assert_string_equal(frame->publisher, "watcher");
        h->port_1 |= strcmp(frame->topic, "nic.diff/pod-1/port-1") == 0;
        h->port_2 |= strcmp(frame->topic, "nic.diff/pod-1/port-2") == 0;
        h->vm |= strcmp(frame->topic, "vm.diff/pod-1") == 0;
        return ++h->count == h->limit;
}

static int listen_for(struct heard *h, const struct ak_strlist *types, const char *where, uint64_t us)
{
        char *dirs[] = {(char *)(uintptr_t)where, NULL};

        return ctl_listen(&(struct ctl_listen){.bus_dirs = &(struct ak_strlist){dirs, 1},
                                               .types = types,
                                               .duration_us = us,
                                               .on_message = hear,
                                               .arg = h,
                                               .command = "test"});
}

static void test_hears_all(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(watcher, NULL);
        struct heard h = {.limit = 3};

        assert_int_equal(listen_for(&h, &(struct ak_strlist){0}, dir, 20000000), CTL_OK);
        zactor_destroy(&service);
        assert_int_equal(h.count, 3);
        assert_true(h.vm && h.port_1 && h.port_2);
}

static void test_hears_a_type(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(watcher, NULL);
        char *types[] = {"nic.diff", NULL};
        struct heard h = {.limit = 2};

        assert_int_equal(listen_for(&h, &(struct ak_strlist){types, 1}, dir, 20000000), CTL_OK);
        zactor_destroy(&service);
        assert_true(!h.vm && h.port_1 && h.port_2);
}

static void test_nobody_speaks(void **state AK_UNUSED)
{
        struct heard h = {.limit = 1};

        assert_int_equal(listen_for(&h, &(struct ak_strlist){0}, dir, 100000), CTL_OK);
        assert_int_equal(h.count, 0);
}

/* Each bus under the name of its node; one is left out. */
static void test_several_nodes(void **state AK_UNUSED)
{
        zactor_t *service = zactor_new(watcher, NULL);
        AK_CLEANUP(ctl_stats_freep) struct ctl_stats *stats = NULL;
        char named[64];
        char *dirs[] = {"other=/nonexistent", named, NULL};
        struct heard h = {.limit = 3, .node = "mine"};

        (void)snprintf(named, sizeof(named), "mine=%s", dir);
        assert_int_equal(ctl_stats_new(&stats), 0);
        struct ctl_listen options = {.bus_dirs = &(struct ak_strlist){dirs, 2},
                                     .types = &(struct ak_strlist){0},
                                     .node = "mine",
                                     .duration_us = 20000000,
                                     .on_message = hear,
                                     .stats = stats,
                                     .arg = &h,
                                     .command = "test"};
        assert_int_equal(ctl_listen(&options), CTL_OK);
        assert_int_equal(h.count, 3);
        assert_int_equal(ctl_stats_lost(stats), 0);
        size_t rows = 0;
        assert_string_equal(ctl_stats_rows(stats, &rows)->publisher, "watcher");
        assert_true(rows >= 2);
        options.node = "nowhere";
        assert_int_equal(ctl_listen(&options), CTL_USAGE);
        options.node = NULL;
        assert_int_equal(ctl_listen(&options), CTL_UNREACHABLE);
        zactor_destroy(&service);
}

static int second_time(void *arg)
{
        int *n = arg;

        return ++*n == 2;
}

static void test_interval(void **state AK_UNUSED)
{
        char *dirs[] = {dir, NULL};
        int n = 0;

        assert_int_equal(ctl_listen(&(struct ctl_listen){.bus_dirs = &(struct ak_strlist){dirs, 1},
                                                         .types = &(struct ak_strlist){0},
                                                         .interval_us = 10000,
                                                         .on_interval = second_time,
                                                         .arg = &n,
                                                         .command = "test"}),
                         CTL_OK);
        assert_int_equal(n, 2);
}

static void test_refusals(void **state AK_UNUSED)
{
        char *types[] = {"nic.later", NULL};
        struct heard h = {.limit = 1};

        assert_int_equal(listen_for(&h, &(struct ak_strlist){types, 1}, dir, 100000), CTL_USAGE);
        assert_int_equal(listen_for(&h, &(struct ak_strlist){0}, "/nonexistent", 100000), CTL_UNREACHABLE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_hears_all),     cmocka_unit_test(test_hears_a_type),
            cmocka_unit_test(test_nobody_speaks), cmocka_unit_test(test_several_nodes),
            cmocka_unit_test(test_interval),      cmocka_unit_test(test_refusals),
        };
        zsys_init();
        return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
