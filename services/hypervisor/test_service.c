/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole service: the real binary with a private libvirtd and guests that boot, spoken to over the bus
 * as the watcher and the network service would. The argument is the path of the binary.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <czmq.h>
#include <libgen.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "libcommon/bus.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "proto/console.h"
#include "proto/proto.h"
#include "services/hypervisor/test_host.h"

#define POD     "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"
#define POD2    "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e02"
#define PORT0   "11111111-2222-4333-8444-000000000000"
#define PORT1   "11111111-2222-4333-8444-000000000001"
#define PORT2   "11111111-2222-4333-8444-000000000002"
#define WAIT_US UINT64_C(240000000) /* a guest that boots without KVM on a busy machine */

extern char **environ;

static const char *binary;

struct fixture {
        struct host host;
        char bus_dir[96], state_dir[96];
        pid_t pid;
        zloop_t *loop;
        struct ak_bus *watcher, *network;
        zhashx_t *last; /* topic -> struct ak_message */
        bool (*until)(void *arg);
        void *until_arg;
        uint64_t deadline;
        uint64_t generation;
};

static struct fixture *fx;

/* ------------------------------------------------------------------ the bus */

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        struct ak_message *m;

        (void)arg;
        if (ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error) < 0)
                fail_msg("%s: %s", frame->topic, error);
        zhashx_update(fx->last, frame->topic, m);
}

static int on_check(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        (void)arg;
        return fx->until(fx->until_arg) || ak_clock_monotonic_us() > fx->deadline ? -1 : 0;
}

/* Runs the bus until the condition holds; returns whether it does. */
static bool pump(bool (*until)(void *arg), void *arg, uint64_t timeout_us)
{
        fx->until = until;
        fx->until_arg = arg;
        fx->deadline = ak_clock_monotonic_us() + timeout_us;
        if (!until(arg))
                (void)zloop_start(fx->loop);
        return until(arg);
}

static void publish(struct ak_bus *bus, struct ak_message *m)
{
        char topic[AK_TOPIC_SIZE];
        uint8_t *body;
        size_t len;

        ak_message_topic(m, topic);
        assert_int_equal(ak_message_encode(m, &body, &len), 0);
        assert_int_equal(ak_bus_publish(bus, topic, "", body, len, true), 0);
        free(body);
        ak_message_free(m);
}

static struct ak_message *vm_diff(const char *pod, enum ak_vm_wanted wanted, const char *image,
                                  const char *boot_port)
{
        struct ak_message *m = ak_message_new(ak_message_vm_diff);
        struct ak_vm_diff *d = &m->vm_diff;

        (void)snprintf(d->pod_uid, sizeof(d->pod_uid), "%s", pod);
        (void)snprintf(d->pod_namespace, sizeof(d->pod_namespace), "default");
        (void)snprintf(d->pod_name, sizeof(d->pod_name), "vm");
        (void)snprintf(d->image, sizeof(d->image), "%s", image);
        d->wanted = wanted;
        d->generation = ++fx->generation;
        d->memory_bytes = UINT64_C(256) << 20;
        d->cpu_milli = 500;
        d->nic_slots = 16;
        d->grace_ms = 3000;
        if (boot_port)
                assert_int_equal(AK_TEXTLIST_ADD(&d->boot_ports, boot_port), 0);
        return m;
}

static void say_vm(const char *pod, enum ak_vm_wanted wanted, const char *image, const char *boot_port)
{
        publish(fx->watcher, vm_diff(pod, wanted, image, boot_port));
}

/* The same wish again, with that it was seen up, or as a further attempt. */
static void say_vm_again(const char *pod, const char *image, bool started, uint64_t attempt)
{
        struct ak_message *m = vm_diff(pod, AK_VM_WANTED_RUNNING, image, PORT0);

        m->vm_diff.generation = --fx->generation;
        m->vm_diff.started = started;
        m->vm_diff.attempt = attempt;
        publish(fx->watcher, m);
}

static void say_nic(const char *pod, const char *port, unsigned slot, bool wanted, bool link_down)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);
        struct ak_nic_diff *d = &m->nic_diff;

        (void)snprintf(d->pod_uid, sizeof(d->pod_uid), "%s", pod);
        (void)snprintf(d->port_id, sizeof(d->port_id), "%s", port);
        (void)snprintf(d->nic, sizeof(d->nic), "eth%u", slot);
        (void)snprintf(d->mac, sizeof(d->mac), "06:00:00:00:00:%02x", slot);
        d->wanted = wanted ? AK_NIC_WANTED_PRESENT : AK_NIC_WANTED_ABSENT;
        d->slot = slot;
        d->link_down = link_down;
        d->generation = ++fx->generation;
        publish(fx->watcher, m);
}

static void say_port(const char *pod, const char *port, unsigned slot)
{
        struct ak_message *m = ak_message_new(ak_message_port_status);
        struct ak_port_status *p = &m->port_status;

        (void)snprintf(p->pod_uid, sizeof(p->pod_uid), "%s", pod);
        (void)snprintf(p->port_id, sizeof(p->port_id), "%s", port);
        host_tap(&fx->host, slot, p->ifname);
        p->state = AK_PORT_READY;
        p->generation = fx->generation;
        p->mtu = 1450;
        publish(fx->network, m);
}

/* ------------------------------------------------------------------ conditions */

struct nic_is {
        const char *pod, *port;
        enum ak_nic_state state;
        const char *reason;
};

static const struct ak_nic_status *last_nic(const char *pod, const char *port)
{
        char topic[AK_TOPIC_SIZE];
        const struct ak_message *m;

        (void)snprintf(topic, sizeof(topic), "nic.status/%s/%s", pod, port);
        m = zhashx_lookup(fx->last, topic);
        return m ? &m->nic_status : NULL;
}

static const struct ak_vm_status *last_vm(const char *pod)
{
        char topic[AK_TOPIC_SIZE];
        const struct ak_message *m;

        (void)snprintf(topic, sizeof(topic), "vm.status/%s", pod);
        m = zhashx_lookup(fx->last, topic);
        return m ? &m->vm_status : NULL;
}

static bool nic_is(void *arg)
{
        const struct nic_is *x = arg;
        const struct ak_nic_status *s = last_nic(x->pod, x->port);

        return s && s->state == x->state && (!x->reason || strcmp(s->reason, x->reason) == 0);
}

static void expect_nic(const char *pod, const char *port, enum ak_nic_state state, const char *reason)
{
        struct nic_is x = {pod, port, state, reason};
        const struct ak_nic_status *s;

        if (pump(nic_is, &x, WAIT_US))
                return;
        s = last_nic(pod, port);
        fail_msg("%s is %s %s %s, not %s", port, s ? ak_nic_state_name(s->state) : "unknown",
                 s ? s->reason : "", s ? s->message : "", ak_nic_state_name(state));
}

struct vm_is {
        const char *pod;
        enum ak_vm_phase phase;
};

static bool vm_is(void *arg)
{
        const struct vm_is *x = arg;
        const struct ak_vm_status *s = last_vm(x->pod);

        return s && s->phase == x->phase;
}

static void expect_vm(const char *pod, enum ak_vm_phase phase)
{
        struct vm_is x = {pod, phase};
        const struct ak_vm_status *s;

        if (pump(vm_is, &x, WAIT_US))
                return;
        s = last_vm(pod);
        fail_msg("VM is %s %s %s, not %s", s ? ak_vm_phase_name(s->phase) : "unknown", s ? s->reason : "",
                 s ? s->message : "", ak_vm_phase_name(phase));
}

/* ------------------------------------------------------------------ the service */

static void start_service(void)
{
        char image_dir[256];
        const char *argv[] = {binary,         "--bus-dir",   fx->bus_dir, "--state-dir", fx->state_dir,
                              "--node-name",  "node1",       "--accel",   "tcg",         "--libvirt-uri",
                              fx->host.uri,   "--image-dir", image_dir,   "--log-level", "warn",
                              "--guest-wait", "20s",         NULL};

        (void)snprintf(image_dir, sizeof(image_dir), "%s", fx->host.image);
        (void)dirname(image_dir);
        assert_int_equal(posix_spawn(&fx->pid, binary, NULL, NULL, (char *const *)argv, environ), 0);
}

static void stop_service(int sig)
{
        int status;

        if (fx->pid <= 0)
                return;
        (void)kill(fx->pid, sig);
        assert_int_equal(waitpid(fx->pid, &status, 0), fx->pid);
        fx->pid = 0;
        if (sig == SIGTERM) {
                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), 0);
        }
}

static void free_message(void **item)
{
        ak_message_free(*item);
        *item = NULL;
}

static struct ak_bus *participant(const char *name, bool listens)
{
        struct ak_bus_options options = {.dir = fx->bus_dir, .name = name};
        struct ak_bus_handler handler = {.on_message = on_message};
        struct ak_bus *bus;

        assert_int_equal(ak_bus_new(&bus, fx->loop, &options, &handler), 0);
        if (listens) {
                assert_int_equal(ak_bus_subscribe(bus, "hypervisor", "nic.status/"), 0);
                assert_int_equal(ak_bus_subscribe(bus, "hypervisor", "vm.status/"), 0);
        }
        return bus;
}

static int group_setup(void **state)
{
        (void)state;
        fx = calloc(1, sizeof(*fx));
        assert_non_null(fx);
        zsys_handler_set(NULL);
        host_init(&fx->host, NULL);
        (void)snprintf(fx->bus_dir, sizeof(fx->bus_dir), "%s/bus", fx->host.dir);
        (void)snprintf(fx->state_dir, sizeof(fx->state_dir), "%s/state", fx->host.dir);
        assert_int_equal(mkdir(fx->bus_dir, 0700), 0);
        fx->loop = zloop_new();
        fx->last = zhashx_new();
        zhashx_set_destructor(fx->last, free_message);
        (void)zloop_timer(fx->loop, 2, 0, on_check, NULL);
        fx->watcher = participant("watcher", true);
        fx->network = participant("network", false);
        start_service();
        return 0;
}

static int group_teardown(void **state)
{
        (void)state;
        if (fx->loop) {
                stop_service(SIGTERM);
                ak_bus_free(fx->watcher);
                ak_bus_free(fx->network);
                zloop_destroy(&fx->loop);
                zhashx_destroy(&fx->last);
        }
        host_deinit(&fx->host);
        free(fx);
        return 0;
}

/* ------------------------------------------------------------------ life of a VM and its NICs */

static void test_vm_starts_with_its_nic(void **state)
{
        (void)state;
        say_vm(POD, AK_VM_WANTED_RUNNING, fx->host.image, PORT0);
        expect_vm(POD, AK_VM_PHASE_WAITING);
        say_nic(POD, PORT0, 0, true, false);
        say_port(POD, PORT0, 0);
        expect_vm(POD, AK_VM_PHASE_RUNNING);
        assert_string_equal(last_vm(POD)->accel, "tcg");
        assert_int_equal(last_vm(POD)->nic_slots_free, 15);
        expect_nic(POD, PORT0, AK_NIC_READY, "");
        assert_string_equal(last_nic(POD, PORT0)->pci_address, "0000:01:00.0");
}

static void test_plug_and_unplug(void **state)
{
        uint64_t t0, plug = 0, unplug = 0;

        (void)state;
        for (int i = 0; i < 5; i++) {
                say_nic(POD, PORT1, 1, true, false);
                t0 = ak_clock_monotonic_us();
                say_port(POD, PORT1, 1);
                expect_nic(POD, PORT1, AK_NIC_READY, "");
                plug += ak_clock_monotonic_us() - t0;
                assert_string_equal(last_nic(POD, PORT1)->mac, "06:00:00:00:00:01");
                assert_true(last_nic(POD, PORT1)->attach_us > 0 && last_nic(POD, PORT1)->guest_us > 0);
                t0 = ak_clock_monotonic_us();
                say_nic(POD, PORT1, 1, false, false);
                expect_nic(POD, PORT1, AK_NIC_DETACHED, "");
                unplug += ak_clock_monotonic_us() - t0;
        }
        print_message(
            "port.status ready to nic.status ready: %.1f ms; nic.diff absent to detached: %.1f ms\n",
            (double)plug / 5000, (double)unplug / 5000);
        assert_int_equal(last_vm(POD)->nic_slots_free, 15);
}

struct link_is {
        const char *pod, *port;
        bool down;
};

static bool link_is(void *arg)
{
        const struct link_is *x = arg;
        const struct ak_nic_status *s = last_nic(x->pod, x->port);

        return s && s->link_down == x->down;
}

static void test_link(void **state)
{
        struct link_is down = {POD, PORT0, true}, up = {POD, PORT0, false};

        (void)state;
        say_nic(POD, PORT0, 0, true, true);
        assert_true(pump(link_is, &down, WAIT_US));
        say_nic(POD, PORT0, 0, true, false);
        assert_true(pump(link_is, &up, WAIT_US));
        assert_int_equal(last_nic(POD, PORT0)->state, AK_NIC_READY);
}

static void test_service_is_killed(void **state)
{
        (void)state;
        say_nic(POD, PORT1, 1, true, false);
        say_port(POD, PORT1, 1);
        expect_nic(POD, PORT1, AK_NIC_READY, "");
        stop_service(SIGKILL);
        zhashx_purge(fx->last);
        start_service();
        expect_vm(POD, AK_VM_PHASE_RUNNING);
        expect_nic(POD, PORT0, AK_NIC_READY, "");
        expect_nic(POD, PORT1, AK_NIC_READY, "");
        /* Nothing was plugged anew: no attach was timed. */
        assert_int_equal(last_nic(POD, PORT1)->attach_us, 0);
}

static void test_libvirtd_is_killed(void **state)
{
        (void)state;
        host_libvirtd(&fx->host, "kill");
        /* Wished while nobody can do it. */
        say_nic(POD, PORT1, 1, false, false);
        say_nic(POD, PORT2, 2, true, false);
        say_port(POD, PORT2, 2);
        host_libvirtd(&fx->host, "start");
        expect_nic(POD, PORT1, AK_NIC_DETACHED, "");
        expect_nic(POD, PORT2, AK_NIC_READY, "");
        assert_int_equal(last_vm(POD)->phase, AK_VM_PHASE_RUNNING);
        say_nic(POD, PORT2, 2, false, false);
        expect_nic(POD, PORT2, AK_NIC_DETACHED, "");
}

/* ------------------------------------------------------------------ console */

static zsock_t *console_open(const char *pod)
{
        zsock_t *dealer = zsock_new(ZMQ_DEALER);

        assert_non_null(dealer);
        zsock_set_rcvtimeo(dealer, 30000);
        zsock_set_linger(dealer, 0);
        assert_int_equal(zsock_connect(dealer, "ipc://%s/" AK_CONSOLE_ENDPOINT, fx->bus_dir), 0);
        (void)zstr_sendx(dealer, AK_CONSOLE_OP_OPEN, pod, NULL);
        return dealer;
}

/* Reads frames until the output so far contains `text`; ends at `op`. */
static void console_expect(zsock_t *dealer, const char *op, const char *text)
{
        char *output = strdup("");

        for (;;) {
                char *got_op = NULL, *data = NULL;
                char *longer;

                if (zstr_recvx(dealer, &got_op, &data, NULL) < 0)
                        fail_msg("no '%s' from the console within 30 s; so far: %s", text, output);
                longer = zsys_sprintf("%s%s", output, data ? data : "");
                free(output);
                output = longer;
                if (strcmp(got_op, op) == 0 && strstr(output, text)) {
                        zstr_free(&got_op);
                        zstr_free(&data);
                        break;
                }
                zstr_free(&got_op);
                zstr_free(&data);
        }
        zstr_free(&output);
}

static void test_console(void **state)
{
        zsock_t *one = console_open(POD), *two, *none;

        (void)state;
        console_expect(one, AK_CONSOLE_OP_OPENED, "");
        (void)zstr_sendx(one, AK_CONSOLE_OP_PING, "", NULL);
        console_expect(one, AK_CONSOLE_OP_PONG, "");
        (void)zstr_sendx(one, AK_CONSOLE_OP_DATA, "\necho $((6 * 7))-is-it\n", NULL);
        console_expect(one, AK_CONSOLE_OP_DATA, "42-is-it");
        /* A second reader sees it as scrollback. */
        two = console_open(POD);
        console_expect(two, AK_CONSOLE_OP_OPENED, "42-is-it");
        (void)zstr_sendx(two, AK_CONSOLE_OP_DATA, "echo $((1000 + 1))-and-on\n", NULL);
        console_expect(one, AK_CONSOLE_OP_DATA, "1001-and-on");
        console_expect(two, AK_CONSOLE_OP_DATA, "1001-and-on");
        none = console_open(POD2);
        console_expect(none, AK_CONSOLE_OP_ERROR, "no such VM");
        (void)zstr_sendx(none, AK_CONSOLE_OP_DATA, "x", NULL);
        console_expect(none, AK_CONSOLE_OP_ERROR, "no session");
        (void)zstr_sendx(none, AK_CONSOLE_OP_OPEN, "../../../etc/passwd", NULL);
        console_expect(none, AK_CONSOLE_OP_ERROR, "no such VM");
        zsock_destroy(&none);
        zsock_destroy(&two);
        /* The session ends with the VM. */
        say_vm(POD, AK_VM_WANTED_ABSENT, fx->host.image, NULL);
        expect_vm(POD, AK_VM_PHASE_ABSENT);
        expect_nic(POD, PORT0, AK_NIC_DETACHED, "");
        console_expect(one, AK_CONSOLE_OP_CLOSED, "");
        zsock_destroy(&one);
}

static void test_nothing_is_left(void **state)
{
        char path[256];

        (void)state;
        (void)snprintf(path, sizeof(path), "%s/vms/" POD, fx->state_dir);
        assert_int_equal(access(path, F_OK), -1);
}

/* ------------------------------------------------------------------ trouble */

static void test_images_that_are_refused(void **state)
{
        static const struct {
                const char *image, *reason;
        } cases[] = {
            {"/etc/passwd", "ImageNotFound"},
            {"file:///etc/passwd", "InvalidImageName"},
            {"127.0.0.1:1/none.qcow2", "ImagePullFailed"},
            {"", "ImageNotFound"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                say_vm(POD2, AK_VM_WANTED_RUNNING, cases[i].image, NULL);
                zhashx_delete(fx->last, "vm.status/" POD2);
                expect_vm(POD2, AK_VM_PHASE_FAILED);
                assert_string_equal(last_vm(POD2)->reason, cases[i].reason);
        }
        say_vm(POD2, AK_VM_WANTED_ABSENT, "", NULL);
        expect_vm(POD2, AK_VM_PHASE_ABSENT);
}

static void start_guest(const char *append)
{
        char image[256];

        host_image(append, image);
        zhashx_purge(fx->last);
        say_nic(POD2, PORT0, 0, true, false);
        say_port(POD2, PORT0, 0);
        say_vm(POD2, AK_VM_WANTED_RUNNING, image, PORT0);
        expect_vm(POD2, AK_VM_PHASE_RUNNING);
}

static void remove_guest(void)
{
        say_vm(POD2, AK_VM_WANTED_ABSENT, "", NULL);
        expect_vm(POD2, AK_VM_PHASE_ABSENT);
        expect_nic(POD2, PORT0, AK_NIC_DETACHED, NULL);
}

static void test_guest_keeps_the_device(void **state)
{
        struct link_is down = {POD2, PORT0, true};

        (void)state;
        start_guest("acpiphp.disable=1");
        expect_nic(POD2, PORT0, AK_NIC_READY, "");
        say_nic(POD2, PORT0, 0, false, false);
        expect_nic(POD2, PORT0, AK_NIC_DETACHING, "GuestNotResponding");
        assert_true(pump(link_is, &down, WAIT_US));
        assert_int_equal(last_nic(POD2, PORT0)->state, AK_NIC_DETACHING);
        remove_guest();
}

static void test_guest_without_driver(void **state)
{
        (void)state;
        start_guest("guest.nodriver");
        expect_nic(POD2, PORT0, AK_NIC_WAITING_FOR_GUEST, "");
        expect_nic(POD2, PORT0, AK_NIC_FAILED, "GuestNotResponding");
        assert_string_not_equal(last_nic(POD2, PORT0)->device_alias, "");
        remove_guest();
}

static void test_qemu_dies(void **state)
{
        (void)state;
        start_guest(NULL);
        expect_nic(POD2, PORT0, AK_NIC_READY, "");
        host_kill_guest(&fx->host, POD2);
        expect_vm(POD2, AK_VM_PHASE_CRASHED);
        expect_nic(POD2, PORT0, AK_NIC_DETACHED, "");
        remove_guest();
}

/*
 * The guest ends while the service is away, as with a host that reboots. What became of it is the watcher's
 * to decide: the VM is reported as crashed, stays so however often the wish is said, and is started by a
 * further attempt only.
 */
static void test_guest_ends_while_the_service_is_away(void **state)
{
        (void)state;
        start_guest(NULL);
        expect_nic(POD2, PORT0, AK_NIC_READY, "");
        say_vm_again(POD2, fx->host.image, true, 0);
        stop_service(SIGKILL);
        host_kill_guest(&fx->host, POD2);
        zhashx_purge(fx->last);
        start_service();
        expect_vm(POD2, AK_VM_PHASE_CRASHED);
        assert_string_equal(last_vm(POD2)->reason, "EndedUnseen");
        zhashx_purge(fx->last);
        say_vm_again(POD2, fx->host.image, true, 0);
        expect_vm(POD2, AK_VM_PHASE_CRASHED);
        say_vm_again(POD2, fx->host.image, false, 1);
        expect_vm(POD2, AK_VM_PHASE_RUNNING);
        expect_nic(POD2, PORT0, AK_NIC_READY, "");
        remove_guest();
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_vm_starts_with_its_nic),
            cmocka_unit_test(test_plug_and_unplug),
            cmocka_unit_test(test_link),
            cmocka_unit_test(test_service_is_killed),
            cmocka_unit_test(test_libvirtd_is_killed),
            cmocka_unit_test(test_console),
            cmocka_unit_test(test_nothing_is_left),
            cmocka_unit_test(test_images_that_are_refused),
            cmocka_unit_test(test_guest_keeps_the_device),
            cmocka_unit_test(test_guest_without_driver),
            cmocka_unit_test(test_qemu_dies),
            cmocka_unit_test(test_guest_ends_while_the_service_is_away),
        };

        ak_log_init("test", AK_LOG_WARN);
        if (argc < 2) {
                (void)fprintf(stderr, "usage: %s PATH-OF-alkaid-hypervisor\n", argv[0]);
                return 2;
        }
        binary = argv[1];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
