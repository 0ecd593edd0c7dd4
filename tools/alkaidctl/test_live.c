/* SPDX-License-Identifier: Apache-2.0 */
/* A capture said again to a service that answers each nic.diff with a port.status, as the network service
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <czmq.h>
#include <errno.h>
#include <string.h>

#include "libcommon/clock.h"
#include "proto/proto.h"
#include "tools/alkaidctl/live.h"

#define UPTIME_US (UINT64_C(3600) * 1000 * 1000) /* of the machine that recorded */

static char dir[] = "/tmp/ak-live-XXXXXX";
static char path[64];

static void put(struct ctl_capture_writer *w, const char *publisher, enum ak_message_type type,
                const char *port, uint64_t mono_us, bool replayed)
{
        struct ak_message m = {.type = type};
        struct ctl_envelope e = {
            .epoch = 1, .seq = mono_us, .mono_us = UPTIME_US + mono_us, .replayed = replayed};
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len = 0;

        /* pod and port are the first fields of both */
        (void)snprintf(m.nic_diff.pod_uid, sizeof(m.nic_diff.pod_uid), "pod-1");
        if (type == ak_message_port_status)
                (void)snprintf(m.port_status.port_id, sizeof(m.port_status.port_id), "%s", port);
        else
                (void)snprintf(m.nic_diff.port_id, sizeof(m.nic_diff.port_id), "%s", port);
        ak_message_topic(&m, topic);
        (void)snprintf(e.publisher, sizeof(e.publisher), "%s", publisher);
        (void)snprintf(e.topic, sizeof(e.topic), "%s", topic);
        assert_int_equal(ak_message_encode(&m, &body, &len), 0);
        assert_int_equal(ctl_capture_write(w, &e, body, len), 0);
}

/* Last values first; then one wish at once, and one after 300 ms. What the network service said is no wish.
 */
static int make_capture(void **state AK_UNUSED)
{
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;

        if (!mkdtemp(dir))
                return -1;
        (void)snprintf(path, sizeof(path), "%s/capture", dir);
        assert_int_equal(ctl_capture_writer_new(&w, path, false, &(struct ctl_capture_header){0}), 0);
        put(w, "watcher", ak_message_nic_diff, "old", 1000000, true);
        put(w, "watcher", ak_message_nic_diff, "a", 2000000, false);
        put(w, "network", ak_message_port_status, "a", 2100000, false);
        put(w, "watcher", ak_message_nic_diff, "b", 2300000, false);
        put(w, "network", ak_message_nic_diff, "forged", 2300000, false);
        return 0;
}

static int remove_dir(void **state AK_UNUSED)
{
        zdir_t *all = zdir_new(dir, NULL);

        zdir_remove(all, true);
        zdir_destroy(&all);
        return 0;
}

/* ------------------------------------------------------------------ the service */

struct service {
        struct ak_bus *bus;
};

static void on_wish(void *arg, const struct ak_bus_frame *frame)
{
        struct service *s = arg;
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        struct ak_message answer = {.type = ak_message_port_status};
        char error[AK_SCHEMA_ERROR_SIZE], topic[AK_TOPIC_SIZE];
        AK_AUTOFREE uint8_t *body = NULL;
        size_t len = 0;

        if (ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error) < 0 ||
            m->type != ak_message_nic_diff)
                return;
        (void)snprintf(answer.port_status.pod_uid, sizeof(answer.port_status.pod_uid), "%s",
                       m->nic_diff.pod_uid);
        (void)snprintf(answer.port_status.port_id, sizeof(answer.port_status.port_id), "%s",
                       m->nic_diff.port_id);
        answer.port_status.state = AK_PORT_READY;
        ak_message_topic(&answer, topic);
        if (ak_message_encode(&answer, &body, &len) == 0)
                (void)ak_bus_publish(s->bus, topic, "", body, len, true);
}

static int on_pipe(zloop_t *loop AK_UNUSED, zsock_t *pipe AK_UNUSED, void *arg AK_UNUSED)
{
        return -1;
}

static void network(zsock_t *pipe, void *arg AK_UNUSED)
{
        struct service s = {0};
        zloop_t *loop = zloop_new();
        const struct ak_bus_options options = {.dir = dir, .name = "network"};
        const struct ak_bus_handler handler = {.on_message = on_wish, .arg = &s};

        if (ak_bus_new(&s.bus, loop, &options, &handler) < 0 ||
            ak_bus_subscribe(s.bus, "watcher", "nic.diff/") < 0 ||
            ak_bus_subscribe(s.bus, "hypervisor", "nic.status/") < 0)
                abort();
        zloop_reader(loop, pipe, on_pipe, NULL);
        (void)zsock_signal(pipe, 0);
        zloop_start(loop);
        ak_bus_free(s.bus);
        zloop_destroy(&loop);
}

/* ------------------------------------------------------------------ tests */

struct answers {
        size_t count;
        bool old, a, b;
};

static void on_answer(void *arg, const struct ak_bus_frame *frame)
{
        struct answers *h = arg;

        assert_string_equal(frame->publisher, "network");
        h->count++;
        h->old |= strcmp(frame->topic, "port.status/pod-1/old") == 0;
        h->a |= strcmp(frame->topic, "port.status/pod-1/a") == 0;
        h->b |= strcmp(frame->topic, "port.status/pod-1/b") == 0;
}

static int play(const char *to, double speed, struct answers *h, struct ctl_live_result *result, char *error)
{
        char *paths[] = {path, NULL};

        return ctl_live_replay(&(struct ctl_live){.bus_dir = dir,
                                                  .to = to,
                                                  .speed = speed,
                                                  .patience_us = 20000000,
                                                  .settle_us = 500000,
                                                  .paths = paths,
                                                  .count = 1,
                                                  .on_answer = on_answer,
                                                  .arg = h},
                               result, error);
}

static void check_answers(double speed, uint64_t at_least_us)
{
        zactor_t *service = zactor_new(network, NULL);
        char error[CTL_ERROR_SIZE] = "";
        struct ctl_live_result result;
        struct answers h = {0};
        uint64_t begun_us = ak_clock_monotonic_us();

        if (play("network", speed, &h, &result, error) < 0)
                fail_msg("%s", error);
        zactor_destroy(&service);
        assert_int_equal(result.sent, 3);
        assert_int_equal(result.passed, 2);
        assert_true(h.old && h.a && h.b);
        assert_true(ak_clock_monotonic_us() - begun_us >= at_least_us);
}

static void test_as_recorded(void **state AK_UNUSED)
{
        check_answers(1, 300000); /* lie between the wishes */
}

static void test_as_fast_as_can_be(void **state AK_UNUSED)
{
        check_answers(0, 0);
}

static void test_refusals(void **state AK_UNUSED)
{
        char error[CTL_ERROR_SIZE] = "";
        char *paths[] = {path, NULL};
        struct ctl_live_result result;
        struct answers h = {0};

        assert_int_equal(play("nobody", 0, &h, &result, error), -ENOENT);
        assert_non_null(strstr(error, "nobody"));
        /* nobody listens */
        struct ctl_live live = {
            .bus_dir = dir, .to = "network", .patience_us = 100000, .paths = paths, .count = 1};
        assert_int_equal(ctl_live_replay(&live, &result, error), -ETIMEDOUT);
        assert_non_null(strstr(error, "does not listen"));
        /* a peer that runs */
        zactor_t *service = zactor_new(network, NULL);
        live.to = "hypervisor";
        assert_int_equal(ctl_live_replay(&live, &result, error), -EADDRINUSE);
        assert_non_null(strstr(error, "network runs on the bus"));
        zactor_destroy(&service);
        paths[0] = "/nonexistent/capture";
        assert_int_equal(ctl_live_replay(&live, &result, error), -ENOENT);
}

static void test_speed(void **state AK_UNUSED)
{
        static const char *const bad[] = {"", "0", "-1", "fast", "1x", "nan", "inf", "1e9"};
        double speed = 7;

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_int_equal(ctl_live_parse_speed(bad[i], &speed), -EINVAL);
        assert_true(speed == 7);
        assert_int_equal(ctl_live_parse_speed("max", &speed), 0);
        assert_true(speed == 0);
        assert_int_equal(ctl_live_parse_speed("2.5", &speed), 0);
        assert_true(speed == 2.5);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_as_recorded),
            cmocka_unit_test(test_as_fast_as_can_be),
            cmocka_unit_test(test_refusals),
            cmocka_unit_test(test_speed),
        };
        zsys_init();
        return cmocka_run_group_tests(tests, make_capture, remove_dir);
}
