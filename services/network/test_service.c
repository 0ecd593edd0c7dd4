/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service as a process, between a watcher and a hypervisor played by the test over the real bus.
 * argv[1]: alkaid-network; argv[2]: backend: fake, or bridge or ovn (which need root and real parts).
 */
#include <czmq.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/bus.h"
#include "libcommon/clock.h"
#include "services/network/label.h"
#include "services/network/test_core_util.h"
#include "services/network/test_guest.h"
#include "services/network/test_spec.h"

static const char *program, *backend;
static char ovn_dir[] = "/tmp/alkaid-test-service-ovn-XXXXXX";

static bool is_real(void)
{
        return strcmp(backend, "fake") != 0;
}

#define PATIENCE_US 15000000

struct world {
        char root[64], bus_dir[80], state_dir[80];
        zloop_t *loop;
        struct ak_bus *watcher, *hypervisor;
        pid_t service;
        struct ak_port_status last; /* heard by the watcher */
        size_t heard;
        enum ak_port_state wanted;
        uint32_t other_than; /* ifindex that does not count */
        uint64_t generation;
};

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct world *w = arg;
        struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];

        if (ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error) < 0)
                fail_msg("%s: %s", frame->topic, error);
        if (m->type == ak_message_port_status) {
                w->last = m->port_status;
                w->heard++;
        }
        ak_message_free(m);
}

static void on_nothing(void *arg, const struct ak_bus_frame *frame)
{
        (void)arg;
        (void)frame;
}

static void run_service(struct world *w, const char *more)
{
        char bus[96], state[96], kind[32], metrics[96], nb[96], ovs[96];

        snprintf(bus, sizeof(bus), "--bus-dir=%s", w->bus_dir);
        snprintf(state, sizeof(state), "--state-dir=%s", w->state_dir);
        snprintf(kind, sizeof(kind), "--backend=%s", backend);
        snprintf(metrics, sizeof(metrics), "--metrics=unix:%s/metrics", w->root);
        snprintf(nb, sizeof(nb), "--ovn-nb=unix:%s/nb.sock", ovn_dir);
        snprintf(ovs, sizeof(ovs), "--ovs-db=unix:%s/ovs.sock", ovn_dir);
        w->service = fork();
        if (w->service == 0) {
                execl(program, program, bus, state, kind, metrics, nb, ovs, "--node-name=test-service",
                      "--log-level=error", more, (char *)NULL);
                _exit(127);
        }
        assert_true(w->service > 0);
}

static void start_service(struct world *w)
{
        run_service(w, NULL);
}

static int stop_service(struct world *w, int signal)
{
        int status = -1;

        if (w->service > 0) {
                (void)kill(w->service, signal);
                (void)waitpid(w->service, &status, 0);
        }
        w->service = 0;
        return status;
}

static void join_bus(struct world *w, const char *name, struct ak_bus **out)
{
        struct ak_bus_options options = {.dir = w->bus_dir, .name = name};
        struct ak_bus_handler handler = {.on_message = out == &w->watcher ? on_message : on_nothing,
                                         .arg = w};

        assert_int_equal(ak_bus_new(out, w->loop, &options, &handler), 0);
        assert_int_equal(ak_bus_subscribe(*out, "network", "port.status/"), 0);
}

static int set_up(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        snprintf(w->root, sizeof(w->root), "/tmp/alkaid-test-service-XXXXXX");
        assert_non_null(mkdtemp(w->root));
        snprintf(w->bus_dir, sizeof(w->bus_dir), "%s/bus", w->root);
        snprintf(w->state_dir, sizeof(w->state_dir), "%s/state", w->root);
        w->loop = zloop_new();
        join_bus(w, "watcher", &w->watcher);
        join_bus(w, "hypervisor", &w->hypervisor);
        start_service(w);
        *state = w;
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;
        int status = stop_service(w, SIGTERM), r = 0;

        if (is_real()) {
                run_service(w, "--teardown");
                r = stop_service(w, 0);
        }
        ak_bus_free(w->watcher);
        ak_bus_free(w->hypervisor);
        zloop_destroy(&w->loop);
        (void)host_run(NULL, 0, RUN("rm", "-rf", w->root));
        free(w);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return r;
}

static int on_look(zloop_t *loop, int timer, void *arg)
{
        const struct world *w = arg;

        (void)loop;
        (void)timer;
        return w->heard > 0 && w->last.state == w->wanted && w->last.generation == w->generation &&
                       (w->other_than == 0 || w->last.ifindex != w->other_than)
                   ? -1
                   : 0;
}

static int on_end(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        *(bool *)arg = true;
        return -1;
}

/* Runs the loop until the port is so; a lost wish is repeated as the watcher would. */
static void await(struct world *w, enum ak_port_state state, uint64_t generation)
{
        bool late = false;

        w->wanted = state;
        w->generation = generation;
        int look = zloop_timer(w->loop, 2, 0, on_look, w);
        int end = zloop_timer(w->loop, PATIENCE_US / 1000, 1, on_end, &late);
        (void)zloop_start(w->loop);
        (void)zloop_timer_end(w->loop, look);
        (void)zloop_timer_end(w->loop, end);
        if (late)
                fail_msg("no %s/%u; last: %s/%u %s %s", ak_port_state_name(state), (unsigned int)generation,
                         ak_port_state_name(w->last.state), (unsigned int)w->last.generation, w->last.reason,
                         w->last.message);
        w->other_than = 0;
}

static void say(struct ak_bus *bus, const struct ak_message *m)
{
        char topic[AK_TOPIC_SIZE];
        uint8_t *body;
        size_t len;

        ak_message_topic(m, topic);
        assert_int_equal(ak_message_encode(m, &body, &len), 0);
        assert_int_equal(ak_bus_publish(bus, topic, "", body, len, true), 0);
        free(body);
}

static void wish(struct world *w, bool present, uint64_t generation)
{
        struct ak_message m = bench_wish(1, 1, present, generation, 0);

        say(w->watcher, &m);
}

static void nic(struct world *w, enum ak_nic_state state, uint64_t generation)
{
        struct ak_message m = bench_nic(1, 1, state, generation);

        say(w->hypervisor, &m);
}

static bool tap_exists(void)
{
        struct net_port_spec s = test_spec(1, 1, 1);

        return host_run(NULL, 0, RUN("ip", "link", "show", net_tap_name(s.key.port_id).s)) == 0;
}

static void plug_and_unplug(void **state)
{
        struct world *w = *state;
        bool real = is_real();

        wish(w, true, 1);
        await(w, AK_PORT_READY, 1);
        assert_true(!real || tap_exists());
        nic(w, AK_NIC_READY, 1);
        wish(w, false, 2);
        await(w, AK_PORT_HELD, 2);
        assert_true(!real || tap_exists());
        nic(w, AK_NIC_DETACHED, 2);
        await(w, AK_PORT_RELEASED, 2);
        assert_true(!real || !tap_exists());
}

/* Retained wishes and states are enough for a service that knows nothing. */
static void killed_and_started_again(void **state)
{
        struct world *w = *state;
        bool real = is_real();

        wish(w, true, 1);
        nic(w, AK_NIC_READY, 1);
        await(w, AK_PORT_READY, 1);
        uint32_t ifindex = (uint32_t)w->last.ifindex;
        stop_service(w, SIGKILL);
        w->heard = 0;
        start_service(w);
        await(w, AK_PORT_READY, 1);
        assert_true(!real || w->last.ifindex == ifindex);
        stop_service(w, SIGKILL);
        wish(w, false, 2);
        start_service(w);
        await(w, AK_PORT_HELD, 2); /* whether or not there is a tap: nobody has said that the VM let go */
        assert_true(!real || tap_exists());
        nic(w, AK_NIC_DETACHED, 2);
        await(w, AK_PORT_RELEASED, 2);
        assert_false(real && tap_exists());
}

static void tap_deleted_by_hand(void **state)
{
        struct world *w = *state;
        struct net_port_spec s = test_spec(1, 1, 1);

        wish(w, true, 1);
        await(w, AK_PORT_READY, 1);
        w->other_than = (uint32_t)w->last.ifindex;
        assert_int_equal(host_run(NULL, 0, RUN("ip", "link", "del", net_tap_name(s.key.port_id).s)), 0);
        await(w, AK_PORT_READY, 1);
        assert_true(tap_exists());
}

static void guest_gets_its_address_over_the_service(void **state)
{
        struct world *w = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        char lease[256] = "";

        wish(w, true, 1);
        await(w, AK_PORT_READY, 1);
        struct guest *g = guest_new("service", w->last.ifname, s.mac);
        assert_non_null(g);
        bool got = guest_dhcp(g, 4, lease, sizeof(lease));
        guest_free(g);
        assert_true(got);
        assert_true(strncmp(lease, "ip=10.0.1.11 ", 13) == 0);
}

/* From another MAC than the NIC's. */
static void send_spoofed(struct guest *g)
{
        static const uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x06,
                                          0xde, 0xad, 0,    0,    1,    0x08};

        assert_int_equal(guest_send_frame(g, frame, sizeof(frame)), 0);
}

static void what_is_dropped_is_a_metric(void **state)
{
        struct world *w = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        uint64_t end_us = ak_clock_monotonic_us() + PATIENCE_US;
        char text[65536], path[96],
            total[] = "alkaid_network_dropped_packets_total{reason=\"spoofed_mac\"} 1\n";
        char of_port[160];

        wish(w, true, 1);
        await(w, AK_PORT_READY, 1);
        snprintf(path, sizeof(path), "%s/metrics", w->root);
        snprintf(of_port, sizeof(of_port),
                 "alkaid_network_port_dropped_packets{tap=\"%s\",reason=\"spoofed_mac\"} 1\n",
                 w->last.ifname);
        struct guest *g = guest_new("service", w->last.ifname, s.mac);
        assert_non_null(g);
        send_spoofed(g);
        do /* the frame is on its way through the guest's wire */
                assert_int_equal(
                    host_run(text, sizeof(text),
                             RUN("curl", "-sS", "--unix-socket", path, "http://localhost/metrics")),
                    0);
        while (!strstr(text, total) && ak_clock_monotonic_us() < end_us);
        guest_free(g);
        assert_non_null(strstr(text, total));
        assert_non_null(strstr(text, of_port));
}

/* Ready is not said before OVN has the port. */
static void ready_means_that_ovn_says_up(void **state)
{
        struct world *w = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        char sb[96], where[96], up[64] = "";

        wish(w, true, 1);
        await(w, AK_PORT_READY, 1);
        snprintf(sb, sizeof(sb), "--db=unix:%s/sb.sock", ovn_dir);
        snprintf(where, sizeof(where), "logical_port=%s", s.key.port_id);
        assert_int_equal(
            host_run(up, sizeof(up),
                     RUN("ovn-sbctl", sb, "--bare", "--columns=up", "find", "Port_Binding", where)),
            0);
        assert_string_equal(up, "true\n");
}

static void garbage_on_the_bus_is_survived(void **state)
{
        struct world *w = *state;
        static const uint8_t garbage[] = {0xdf, 0xff, 0xff, 0xff, 0xff, 0xc1, 0x00};
        struct ak_message m = bench_wish(1, 1, true, 1, 0);
        char topic[AK_TOPIC_SIZE];

        ak_message_topic(&m, topic);
        for (int i = 0; i < 100; i++)
                assert_int_equal(ak_bus_publish(w->watcher, topic, "", garbage, sizeof(garbage), false), 0);
        assert_int_equal(ak_bus_publish(w->watcher, "nic.diff/../../x", "", garbage, 0, false), 0);
        wish(w, true, 2);
        await(w, AK_PORT_READY, 2);
        wish(w, false, 3);
        nic(w, AK_NIC_DETACHED, 3);
        await(w, AK_PORT_RELEASED, 3);
}

#define SERVICE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define OVN_SCRIPT "services/network/testdata/ovn"

static int start_ovn(void)
{
        char words[4096] = "";

        if (!mkdtemp(ovn_dir))
                return -1;
        int r = host_run(words, sizeof(words), RUN(OVN_SCRIPT, "start", ovn_dir));
        if (r != 0)
                fprintf(stderr, "ovn: %s\n", words);
        return r;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
            SERVICE(plug_and_unplug),
            SERVICE(killed_and_started_again),
            SERVICE(garbage_on_the_bus_is_survived),
        };
        const struct CMUnitTest real_tests[] = {
            SERVICE(tap_deleted_by_hand),
            SERVICE(guest_gets_its_address_over_the_service),
        };

        const struct CMUnitTest bridge_tests[] = {
            SERVICE(what_is_dropped_is_a_metric),
        };
        const struct CMUnitTest ovn_tests[] = {
            SERVICE(ready_means_that_ovn_says_up),
        };

        if (argc != 3)
                return 2;
        program = argv[1];
        backend = argv[2];
        bool ovn = strcmp(backend, "ovn") == 0;
        if (ovn && access("/usr/bin/ovn-northd", X_OK) != 0) {
                printf("skipped: OVN is not installed (ovn-central, ovn-host)\n");
                return 77;
        }
        if (is_real() && host_isolate() < 0)
                return 2;
        if (ovn && start_ovn() != 0)
                return 2;
        zsys_handler_set(NULL);
        int failures = cmocka_run_group_tests_name("network service", tests, NULL, NULL);
        if (is_real())
                failures += cmocka_run_group_tests_name("network service, real", real_tests, NULL, NULL);
        if (ovn)
                failures += cmocka_run_group_tests_name("network service, OVN", ovn_tests, NULL, NULL);
        else if (is_real())
                failures += cmocka_run_group_tests_name("network service, bridge", bridge_tests, NULL, NULL);
        if (ovn)
                failures += host_run(NULL, 0, RUN(OVN_SCRIPT, "stop", ovn_dir)) != 0;
        return failures;
}
