/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of backends/driver.h, held against the driver named on the command line: fake, or libvirt
 * with a private libvirtd, real taps and a guest that boots. What only libvirt can show is at the end: pins
 * of what we assume of it. A second argument is a pattern of tests to run.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/hypervisor/backends/fake.h"
#include "services/hypervisor/test_host.h"

#define POD     "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"
#define POD2    "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e02"
#define PORT0   "11111111-2222-4333-8444-000000000000"
#define PORT1   "11111111-2222-4333-8444-000000000001"
#define PORT2   "11111111-2222-4333-8444-000000000002"
#define WAIT_MS 240000 /* a guest that boots without KVM on a busy machine */

struct seen {
        pthread_mutex_t lock;
        struct hv_event events[256];
        size_t count;
};

struct fixture {
        bool real;
        struct host host;
        struct seen seen;
        const struct hv_driver_ops *ops;
        struct hv_driver *driver;
        struct hv_driver_vm *vm;
        struct hv_nic_spec nic0, nic1;
        char text[HV_LEN_TEXT + 1];
};

static bool real_driver;
static struct fixture *fx; /* the group's: a libvirtd per test would take minutes */

static void on_event(void *arg, const struct hv_event *event)
{
        struct seen *seen = arg;

        (void)pthread_mutex_lock(&seen->lock);
        if (seen->count < sizeof(seen->events) / sizeof(seen->events[0]))
                seen->events[seen->count++] = *event;
        (void)pthread_mutex_unlock(&seen->lock);
}

static void forget_events(void)
{
        (void)pthread_mutex_lock(&fx->seen.lock);
        fx->seen.count = 0;
        (void)pthread_mutex_unlock(&fx->seen.lock);
}

struct expected {
        enum hv_event_type type;
        enum hv_lifecycle lifecycle;
        const char *port;
};

static bool was_seen(void *arg)
{
        const struct expected *x = arg;
        bool found = false;

        (void)pthread_mutex_lock(&fx->seen.lock);
        for (size_t i = 0; i < fx->seen.count && !found; i++) {
                const struct hv_event *e = &fx->seen.events[i];

                found = e->type == x->type && (!x->port || strcmp(e->port_id, x->port) == 0) &&
                        (x->type != HV_EVENT_LIFECYCLE || e->lifecycle == x->lifecycle);
        }
        (void)pthread_mutex_unlock(&fx->seen.lock);
        return found;
}

static void expect_device(enum hv_event_type type, const char *port)
{
        struct expected x = {.type = type, .port = port};

        if (!host_wait(was_seen, &x, WAIT_MS))
                fail_msg("no %s of %s", hv_event_type_name(type), port);
}

static void expect_lifecycle(enum hv_lifecycle lifecycle)
{
        struct expected x = {.type = HV_EVENT_LIFECYCLE, .lifecycle = lifecycle};

        if (!host_wait(was_seen, &x, WAIT_MS))
                fail_msg("no lifecycle event %s", hv_lifecycle_name(lifecycle));
}

static void expect(enum hv_error wanted, enum hv_error got)
{
        if (wanted != got)
                fail_msg("%s, not %s: %s", hv_error_name(got), hv_error_name(wanted), fx->text);
}

/* ------------------------------------------------------------------ fixture */

static void fill_nic(struct hv_nic_spec *nic, const char *port, unsigned n)
{
        char tap[16];

        (void)snprintf(tap, sizeof(tap), "fake-tap%u", n % 100);
        if (fx->real)
                host_tap(&fx->host, n, tap);
        *nic = (struct hv_nic_spec){.slot = n, .mtu = 1450};
        (void)snprintf(nic->port_id, sizeof(nic->port_id), "%s", port);
        (void)snprintf(nic->ifname, sizeof(nic->ifname), "%s", tap);
        (void)snprintf(nic->mac, sizeof(nic->mac), "06:00:00:00:00:%02x", n);
}

static int group_setup(void **state)
{
        struct hv_driver_options options = {.node = "node1", .accel = "tcg", .on_event = on_event};
        bool real = real_driver;

        (void)state;
        fx = calloc(1, sizeof(*fx));
        assert_non_null(fx);
        fx->real = real;
        (void)pthread_mutex_init(&fx->seen.lock, NULL);
        options.arg = &fx->seen;
        if (real)
                host_init(&fx->host, NULL);
        options.uri = fx->host.uri;
        options.state_dir = fx->host.dir;
        fx->ops = real ? &hv_driver_libvirt_ops : &hv_driver_fake_ops;
        assert_int_equal((real ? hv_driver_libvirt_new : hv_driver_fake_new)(&fx->driver, &options), 0);
        fill_nic(&fx->nic0, PORT0, 0);
        fill_nic(&fx->nic1, PORT1, 1);
        expect(HV_OK, fx->ops->connect(fx->driver, fx->text));
        fx->vm = fx->ops->vm_open(fx->driver, POD);
        assert_non_null(fx->vm);
        return 0;
}

static int group_teardown(void **state)
{
        (void)state;
        if (fx->vm)
                fx->ops->vm_close(fx->vm);
        if (fx->driver)
                fx->ops->free(fx->driver);
        if (fx->real)
                host_deinit(&fx->host);
        (void)pthread_mutex_destroy(&fx->seen.lock);
        free(fx);
        return 0;
}

static struct hv_domain_spec *make_spec(void)
{
        struct hv_domain_spec *spec = calloc(1, sizeof(*spec));

        assert_non_null(spec);
        (void)snprintf(spec->head.pod_uid, sizeof(spec->head.pod_uid), "%s", POD);
        (void)snprintf(spec->head.pod_namespace, sizeof(spec->head.pod_namespace), "default");
        (void)snprintf(spec->head.pod_name, sizeof(spec->head.pod_name), "nginx-vm & <friends>");
        (void)snprintf(spec->head.image_path, sizeof(spec->head.image_path), "%s", fx->host.image);
        (void)snprintf(spec->head.image_format, sizeof(spec->head.image_format), "qcow2");
        spec->head.generation = 5;
        spec->head.nic_slots = 16;
        spec->head.started_us = UINT64_C(1700000000000000);
        spec->head.vcpus = 1;
        spec->head.memory_bytes = UINT64_C(256) << 20;
        spec->nic_count = 1;
        spec->nics[0] = fx->nic0;
        return spec;
}

static struct hv_live_domain *inspect(void)
{
        struct hv_live_domain *live = NULL;

        expect(HV_OK, fx->ops->inspect(fx->vm, &live, fx->text));
        return live;
}

static void start_vm(void)
{
        struct hv_domain_spec *spec = make_spec();
        struct hv_live_domain *live = NULL;

        expect(HV_OK, fx->ops->start(fx->vm, spec, &live, fx->text));
        assert_non_null(live);
        assert_string_equal(live->head.pod_uid, POD);
        assert_string_equal(live->head.uuid, POD);
        assert_string_equal(live->head.pod_name, "nginx-vm & <friends>");
        assert_string_equal(live->head.accel, "tcg");
        assert_int_equal(live->head.generation, 5);
        assert_int_equal(live->head.nic_slots, 16);
        assert_int_equal(live->head.started_us, UINT64_C(1700000000000000));
        assert_int_equal(live->head.state, HV_DOMAIN_RUNNING);
        assert_int_equal(live->nic_count, 1);
        assert_string_equal(live->nics[0].port_id, PORT0);
        assert_string_equal(live->nics[0].mac, fx->nic0.mac);
        assert_string_equal(live->nics[0].ifname, fx->nic0.ifname);
        assert_string_equal(live->nics[0].pci_address, "0000:01:00.0");
        assert_int_equal(live->nics[0].mtu, 1450);
        free(live);
        free(spec);
}

static bool driver_ok(void *arg)
{
        uint64_t status = 0;

        return fx->ops->probe(fx->vm, arg, &status, fx->text) == HV_OK && (status & HV_VIRTIO_DRIVER_OK) &&
               !(status & HV_VIRTIO_FAILED);
}

static void wait_bound(struct hv_nic_spec *nic)
{
        if (!host_wait(driver_ok, nic, WAIT_MS))
                fail_msg("the guest does not take %s: %s", nic->port_id, fx->text);
}

/* ------------------------------------------------------------------ the contract, in this order */

static void test_nothing_there(void **state)
{
        struct hv_live_domain **list = NULL;
        size_t count = 7;
        uint64_t status;

        (void)state;
        expect(HV_OK, fx->ops->connect(fx->driver, fx->text));
        expect(HV_OK, fx->ops->list(fx->driver, &list, &count, fx->text));
        assert_int_equal(count, 0);
        free(list);
        assert_null(inspect());
        expect(HV_ERROR_NO_DOMAIN, fx->ops->attach(fx->vm, &fx->nic0, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->detach(fx->vm, &fx->nic0, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->set_link(fx->vm, &fx->nic0, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->probe(fx->vm, &fx->nic0, &status, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->destroy(fx->vm, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->shutdown(fx->vm, fx->text));
        expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
}

static void test_start(void **state)
{
        struct hv_domain_spec *spec = make_spec();
        struct hv_live_domain *live = NULL, **list = NULL;
        enum hv_error error;
        size_t count = 0;

        (void)state;
        start_vm();
        expect_lifecycle(HV_LIFECYCLE_STARTED);
        error = fx->ops->start(fx->vm, spec, &live, fx->text);
        assert_true(error == HV_ERROR_INVALID || error == HV_ERROR_OTHER);
        assert_null(live);
        expect(HV_OK, fx->ops->list(fx->driver, &list, &count, fx->text));
        assert_int_equal(count, 1);
        assert_string_equal(list[0]->head.pod_uid, POD);
        assert_int_equal(list[0]->nic_count, 1);
        free(list[0]);
        free(list);
        free(spec);
}

static void test_boot_nic_is_bound(void **state)
{
        (void)state;
        wait_bound(&fx->nic0);
}

static void test_attach(void **state)
{
        struct hv_nic_spec other = fx->nic1;
        struct hv_live_domain *live;

        (void)state;
        (void)snprintf(other.port_id, sizeof(other.port_id), "%s", PORT2);
        expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_DUPLICATE, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_SLOT, fx->ops->attach(fx->vm, &other, fx->text));
        other.slot = 2;
        (void)snprintf(other.ifname, sizeof(other.ifname), "%s", fx->real ? "hv-no-such-tap" : "");
        expect(HV_ERROR_TAP, fx->ops->attach(fx->vm, &other, fx->text));
        (void)snprintf(other.ifname, sizeof(other.ifname), "%s", fx->nic1.ifname);
        other.slot = 16; /* the first past the last */
        expect(HV_ERROR_SLOT, fx->ops->attach(fx->vm, &other, fx->text));
        live = inspect();
        assert_int_equal(live->nic_count, 2);
        assert_string_equal(live->nics[1].port_id, PORT1);
        assert_string_equal(live->nics[1].pci_address, "0000:02:00.0");
        free(live);
        wait_bound(&fx->nic1);
}

static void test_link(void **state)
{
        struct hv_nic_spec nic = fx->nic1;
        struct hv_live_domain *live;

        (void)state;
        nic.link_down = true;
        expect(HV_OK, fx->ops->set_link(fx->vm, &nic, fx->text));
        expect(HV_OK, fx->ops->set_link(fx->vm, &nic, fx->text));
        live = inspect();
        assert_true(live->nics[1].link_down);
        assert_false(live->nics[0].link_down);
        free(live);
        nic.link_down = false;
        expect(HV_OK, fx->ops->set_link(fx->vm, &nic, fx->text));
        live = inspect();
        assert_false(live->nics[1].link_down);
        free(live);
}

static void test_pause(void **state)
{
        struct hv_live_domain *live;

        (void)state;
        expect(HV_OK, fx->ops->suspend(fx->vm, fx->text));
        expect_lifecycle(HV_LIFECYCLE_SUSPENDED);
        live = inspect();
        assert_int_equal(live->head.state, HV_DOMAIN_PAUSED);
        free(live);
        expect(HV_OK, fx->ops->resume(fx->vm, fx->text));
        expect_lifecycle(HV_LIFECYCLE_RESUMED);
        live = inspect();
        assert_int_equal(live->head.state, HV_DOMAIN_RUNNING);
        free(live);
}

static bool has_nic(const char *port)
{
        struct hv_live_domain *live = inspect();
        bool found = false;

        assert_non_null(live);
        for (size_t i = 0; i < live->nic_count; i++)
                found = found || strcmp(live->nics[i].port_id, port) == 0;
        free(live);
        return found;
}

static bool repeated_detach(enum hv_error error)
{
        return error == HV_OK || error == HV_ERROR_IN_PROGRESS || error == HV_ERROR_BUSY;
}

/* What is asked of a guest that stands still it does when it runs again. */
static void test_plug_and_unplug_while_paused(void **state)
{
        struct hv_nic_spec down = fx->nic1;

        (void)state;
        down.link_down = true;
        expect(HV_OK, fx->ops->suspend(fx->vm, fx->text));
        forget_events();
        expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
        assert_true(repeated_detach(fx->ops->detach(fx->vm, &fx->nic1, fx->text)));
        expect(HV_OK, fx->ops->set_link(fx->vm, &down, fx->text));
        assert_true(has_nic(PORT1));
        expect(HV_OK, fx->ops->resume(fx->vm, fx->text));
        expect_device(HV_EVENT_DEVICE_REMOVED, PORT1);
        assert_false(has_nic(PORT1));
        expect(HV_OK, fx->ops->suspend(fx->vm, fx->text));
        expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_DUPLICATE, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        assert_true(has_nic(PORT1));
        expect(HV_OK, fx->ops->resume(fx->vm, fx->text));
        wait_bound(&fx->nic1);
}

static bool tap_idle(const char *port)
{
        struct hv_live_domain *live = inspect();
        bool idle = false;

        for (size_t i = 0; i < live->nic_count; i++)
                idle = idle || (strcmp(live->nics[i].port_id, port) == 0 && live->nics[i].tap_idle);
        free(live);
        return idle;
}

/* QEMU's descriptor stays with the device that is gone; the one of its name nobody has open. */
static void test_tap_made_anew(void **state)
{
        (void)state;
        assert_false(tap_idle(PORT0));
        assert_false(tap_idle(PORT1));
        if (fx->real)
                host_tap_replace(&fx->host, 1, fx->nic1.ifname);
        else
                hv_fake_lose_tap(fx->driver, fx->nic1.ifname);
        assert_true(tap_idle(PORT1));
        assert_false(tap_idle(PORT0));
        forget_events();
        expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
        expect_device(HV_EVENT_DEVICE_REMOVED, PORT1);
        expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        assert_false(tap_idle(PORT1));
        wait_bound(&fx->nic1);
}

static void test_detach(void **state)
{
        struct hv_live_domain *live;
        uint64_t status;

        (void)state;
        forget_events();
        expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
        expect_device(HV_EVENT_DEVICE_REMOVED, PORT1);
        expect(HV_ERROR_NO_DEVICE, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_NO_DEVICE, fx->ops->set_link(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_NO_DEVICE, fx->ops->probe(fx->vm, &fx->nic1, &status, fx->text));
        live = inspect();
        assert_int_equal(live->nic_count, 1);
        free(live);
}

static void test_plug_and_unplug_again(void **state)
{
        (void)state;
        for (int i = 0; i < 3; i++) {
                forget_events();
                expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
                wait_bound(&fx->nic1);
                expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
                expect_device(HV_EVENT_DEVICE_REMOVED, PORT1);
        }
}

static void expect_no_domain(void)
{
        uint64_t status;

        assert_null(inspect());
        expect(HV_ERROR_NO_DOMAIN, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->detach(fx->vm, &fx->nic0, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->set_link(fx->vm, &fx->nic0, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->probe(fx->vm, &fx->nic0, &status, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->suspend(fx->vm, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->resume(fx->vm, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->shutdown(fx->vm, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->destroy(fx->vm, fx->text));
}

/* The guest need not have got as far as to hear the button. */
static void press_until_off(void)
{
        struct expected off = {.type = HV_EVENT_LIFECYCLE, .lifecycle = HV_LIFECYCLE_STOPPED};

        for (int i = 0; i < WAIT_MS / 5000; i++) {
                enum hv_error error = fx->ops->shutdown(fx->vm, fx->text);

                if (error != HV_ERROR_NO_DOMAIN)
                        expect(HV_OK, error);
                if (host_wait(was_seen, &off, 5000))
                        return;
        }
        fail_msg("the guest does not follow its power button");
}

static void test_shut_off(void **state)
{
        (void)state;
        forget_events();
        press_until_off();
        expect_no_domain();
}

static void test_domain_gone(void **state)
{
        (void)state;
        start_vm();
        forget_events();
        if (fx->real)
                host_kill_guest(&fx->host, POD);
        else
                hv_fake_kill_domain(fx->driver, POD, true);
        expect_lifecycle(HV_LIFECYCLE_CRASHED);
        expect_no_domain();
        start_vm();
}

static void test_destroy(void **state)
{
        (void)state;
        forget_events();
        expect(HV_OK, fx->ops->destroy(fx->vm, fx->text));
        expect_lifecycle(HV_LIFECYCLE_DESTROYED);
        assert_null(inspect());
        expect(HV_ERROR_NO_DOMAIN, fx->ops->destroy(fx->vm, fx->text));
        expect(HV_ERROR_NO_DOMAIN, fx->ops->detach(fx->vm, &fx->nic0, fx->text));
        /* Its disk is there still: it may be started again. */
        start_vm();
        expect(HV_OK, fx->ops->destroy(fx->vm, fx->text));
        expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
        expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
}

static void test_bad_specification(void **state)
{
        struct hv_domain_spec *spec = make_spec();
        struct hv_live_domain *live = NULL;

        (void)state;
        if (fx->real) {
                (void)snprintf(spec->head.image_path, sizeof(spec->head.image_path), "/no/such/image");
                expect(HV_ERROR_OTHER, fx->ops->start(fx->vm, spec, &live, fx->text));
                assert_non_null(strstr(fx->text, "/no/such/image"));
                (void)snprintf(spec->head.image_path, sizeof(spec->head.image_path), "%s", fx->host.image);
                (void)snprintf(spec->head.pod_name, sizeof(spec->head.pod_name), "bell\a");
                expect(HV_ERROR_INVALID, fx->ops->start(fx->vm, spec, &live, fx->text));
                expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
        }
        assert_null(live);
        assert_null(inspect());
        free(spec);
}

static void test_stubborn_guest(void **state)
{
        struct hv_domain_spec *spec = make_spec();
        struct hv_live_domain *live = NULL;
        struct hv_nic_spec down = fx->nic0;

        (void)state;
        if (fx->real)
                host_image("acpiphp.disable=1", spec->head.image_path);
        else
                hv_fake_set_guest(fx->driver, &(struct hv_fake_guest){.holds_devices = true});
        expect(HV_OK, fx->ops->start(fx->vm, spec, &live, fx->text));
        free(live);
        free(spec);
        wait_bound(&fx->nic0);
        forget_events();
        expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic0, fx->text));
        /* libvirt 9.0, QEMU 7.2, ACPI hotplug: asking again is accepted, or told to be in progress. */
        assert_true(repeated_detach(fx->ops->detach(fx->vm, &fx->nic0, fx->text)));
        /* The link of a device that is being removed can be taken down. */
        down.link_down = true;
        expect(HV_OK, fx->ops->set_link(fx->vm, &down, fx->text));
        live = inspect();
        assert_int_equal(live->nic_count, 1);
        assert_true(live->nics[0].link_down);
        free(live);
        expect(HV_OK, fx->ops->destroy(fx->vm, fx->text));
        expect_lifecycle(HV_LIFECYCLE_DESTROYED);
        expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
        if (!fx->real)
                hv_fake_set_guest(fx->driver, &(struct hv_fake_guest){0});
}

/* ------------------------------------------------------------------ libvirt alone */

static bool connects(void *arg)
{
        (void)arg;
        return fx->ops->connect(fx->driver, fx->text) == HV_OK;
}

static void test_libvirtd_dies(void **state)
{
        struct expected lost = {.type = HV_EVENT_DISCONNECTED};
        struct hv_live_domain **list = NULL;
        size_t count = 0;

        (void)state;
        start_vm();
        wait_bound(&fx->nic0);
        forget_events();
        host_libvirtd(&fx->host, "kill");
        assert_true(host_wait(was_seen, &lost, WAIT_MS));
        expect(HV_ERROR_CONNECTION, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        expect(HV_ERROR_CONNECTION, fx->ops->list(fx->driver, &list, &count, fx->text));
        expect(HV_ERROR_CONNECTION, fx->ops->connect(fx->driver, fx->text));
        host_libvirtd(&fx->host, "start");
        assert_true(host_wait(connects, NULL, WAIT_MS));
        expect(HV_OK, fx->ops->list(fx->driver, &list, &count, fx->text));
        assert_int_equal(count, 1);
        assert_int_equal(list[0]->nic_count, 1);
        free(list[0]);
        free(list);
        /* Events of the new connection. */
        forget_events();
        expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
        wait_bound(&fx->nic1);
        expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
        expect_device(HV_EVENT_DEVICE_REMOVED, PORT1);
}

static int tap_open(const char *name)
{
        struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

        assert_true(fd >= 0);
        (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
        assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
        return fd;
}

static void monitor(virDomainPtr domain, const char *command, int fd)
{
        char *answer = NULL;

        assert_int_equal(virDomainQemuMonitorCommandWithFiles(domain, command, fd < 0 ? 0 : 1, &fd, NULL,
                                                              NULL, &answer, 0),
                         0);
        if (!strstr(answer, "\"return\""))
                fail_msg("%s: %s", command, answer);
        free(answer);
}

static void leave_in_qemu(bool backend)
{
        virConnectPtr conn = virConnectOpen(fx->host.uri);
        virDomainPtr domain = virDomainLookupByUUIDString(conn, POD);
        int fd = tap_open(fx->nic1.ifname);

        assert_non_null(domain);
        monitor(domain, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"tapfd-ua-" PORT1 "0\"}}", fd);
        (void)close(fd);
        if (backend)
                monitor(domain,
                        "{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"tap\",\"id\":\"hostua-" PORT1
                        "\",\"fd\":\"tapfd-ua-" PORT1 "0\"}}",
                        -1);
        (void)virDomainFree(domain);
        (void)virConnectClose(conn);
}

/* QEMU holds the tap for an attach of which libvirt, that was killed in it, knows nothing. */
static void test_libvirtd_dies_in_an_attach(void **state)
{
        (void)state;
        for (int backend = 0; backend < 2; backend++) {
                leave_in_qemu(backend);
                forget_events();
                expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
                wait_bound(&fx->nic1);
                expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
                expect_device(HV_EVENT_DEVICE_REMOVED, PORT1);
        }
}

static bool console_says(void *arg)
{
        char path[256], text[65536];
        FILE *file;
        size_t n;

        (void)snprintf(path, sizeof(path), "%s/vms/" POD "/console.log", fx->host.dir);
        file = fopen(path, "r");
        if (!file)
                return false;
        n = fread(text, 1, sizeof(text) - 1, file);
        text[n] = '\0';
        (void)fclose(file);
        return strstr(text, arg) != NULL;
}

static void test_console_input(void **state)
{
        static const char keys[] = "\necho $((6 * 7))-is-the-answer\n";
        size_t done = 0;

        (void)state;
        assert_true(host_wait(console_says, "#", WAIT_MS));
        expect(HV_OK, fx->ops->console_write(fx->vm, keys, strlen(keys), &done, fx->text));
        assert_int_equal(done, strlen(keys));
        assert_true(host_wait(console_says, "42-is-the-answer", WAIT_MS));
        expect(HV_OK, fx->ops->console_write(fx->vm, NULL, 0, &done, fx->text));
}

/* How long until the guest has it: the floor under everything else. */
static void test_time_to_driver_ok(void **state)
{
        uint64_t attach = 0, bound = 0, removed = 0;
        const int rounds = 5;

        (void)state;
        for (int i = 0; i < rounds; i++) {
                struct expected gone = {.type = HV_EVENT_DEVICE_REMOVED, .port = PORT1};
                uint64_t t0 = ak_clock_monotonic_us(), t1;

                forget_events();
                expect(HV_OK, fx->ops->attach(fx->vm, &fx->nic1, fx->text));
                t1 = ak_clock_monotonic_us();
                attach += t1 - t0;
                wait_bound(&fx->nic1);
                bound += ak_clock_monotonic_us() - t1;
                t0 = ak_clock_monotonic_us();
                expect(HV_OK, fx->ops->detach(fx->vm, &fx->nic1, fx->text));
                assert_true(host_wait(was_seen, &gone, WAIT_MS));
                removed += ak_clock_monotonic_us() - t0;
        }
        print_message("mean of %d: attach %.1f ms, then DRIVER_OK %.1f ms; detach to removed %.1f ms\n",
                      rounds, (double)attach / rounds / 1000, (double)bound / rounds / 1000,
                      (double)removed / rounds / 1000);
        expect(HV_OK, fx->ops->destroy(fx->vm, fx->text));
        expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
}

/* 60 NICs on one VM of two vCPUs: all bound, and the slots' addresses are as promised. */
static void test_many_nics(void **state)
{
        enum { NICS = 60 };
        struct hv_domain_spec *spec = make_spec();
        struct hv_nic_spec nics[NICS];
        struct hv_live_domain *live = NULL;
        char text[AK_LEN_UID + 1];

        (void)state;
        spec->head.nic_slots = 64;
        spec->head.vcpus = 2;
        spec->nic_count = 0;
        expect(HV_OK, fx->ops->start(fx->vm, spec, &live, fx->text));
        free(live);
        free(spec);
        for (unsigned i = 0; i < NICS; i++) {
                (void)snprintf(text, sizeof(text), "11111111-2222-4333-8444-%012u", 100 + i);
                fill_nic(&nics[i], text, i);
                expect(HV_OK, fx->ops->attach(fx->vm, &nics[i], fx->text));
        }
        for (unsigned i = 0; i < NICS; i++)
                wait_bound(&nics[i]);
        live = inspect();
        assert_int_equal(live->nic_count, NICS);
        for (unsigned i = 0; i < NICS; i++) {
                (void)snprintf(text, sizeof(text), "0000:%02x:00.0", i + 1);
                assert_string_equal(live->nics[i].pci_address, text);
        }
        free(live);
        expect(HV_OK, fx->ops->destroy(fx->vm, fx->text));
        expect(HV_OK, fx->ops->cleanup(fx->vm, fx->text));
}

#define CONTRACT                                                                                             \
        cmocka_unit_test(test_nothing_there), cmocka_unit_test(test_start),                                  \
            cmocka_unit_test(test_boot_nic_is_bound), cmocka_unit_test(test_attach),                         \
            cmocka_unit_test(test_link), cmocka_unit_test(test_pause),                                       \
            cmocka_unit_test(test_plug_and_unplug_while_paused), cmocka_unit_test(test_tap_made_anew),       \
            cmocka_unit_test(test_detach), cmocka_unit_test(test_plug_and_unplug_again),                     \
            cmocka_unit_test(test_shut_off), cmocka_unit_test(test_domain_gone),                             \
            cmocka_unit_test(test_destroy), cmocka_unit_test(test_bad_specification),                        \
            cmocka_unit_test(test_stubborn_guest)

int main(int argc, char **argv)
{
        struct CMUnitTest contract[] = {CONTRACT};
        struct CMUnitTest all[] = {CONTRACT,
                                   cmocka_unit_test(test_libvirtd_dies),
                                   cmocka_unit_test(test_libvirtd_dies_in_an_attach),
                                   cmocka_unit_test(test_console_input),
                                   cmocka_unit_test(test_time_to_driver_ok),
                                   cmocka_unit_test(test_many_nics)};

        ak_log_init("test", AK_LOG_WARN);
        if (argc > 2)
                cmocka_set_test_filter(argv[2]);
        real_driver = argc > 1 && strcmp(argv[1], "libvirt") == 0;
        if (real_driver)
                return _cmocka_run_group_tests("libvirt", all, sizeof(all) / sizeof(all[0]), group_setup,
                                               group_teardown);
        return _cmocka_run_group_tests("fake", contract, sizeof(contract) / sizeof(contract[0]), group_setup,
                                       group_teardown);
}
