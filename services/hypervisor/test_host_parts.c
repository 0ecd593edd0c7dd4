/* SPDX-License-Identifier: Apache-2.0 */
/* Small parts that touch the host: programs that are run, a VM's disk, the probe guest, the queue. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "services/hypervisor/accel.h"
#include "services/hypervisor/disk.h"
#include "services/hypervisor/queue.h"
#include "services/hypervisor/spawn.h"

#define POD "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"

static void test_spawn(void **state)
{
        static const char *const
            ok[] = {"true", NULL},
            *const three[] = {"sh", "-c", "echo no >&2; exit 3", NULL}, *const hang[] = {"sleep", "60", NULL},
            *const none[] = {"/no/such/program", NULL}, *const killed[] = {"sh", "-c", "kill -KILL $$", NULL};
        uint64_t start = ak_clock_monotonic_us();
        char errors[16];

        (void)state;
        assert_int_equal(hv_spawn(ok, 10000000, errors, sizeof(errors)), 0);
        assert_string_equal(errors, "");
        assert_int_equal(hv_spawn(three, 10000000, errors, sizeof(errors)), 3);
        assert_string_equal(errors, "no");
        assert_int_equal(hv_spawn(hang, 100000, errors, sizeof(errors)), -ETIMEDOUT);
        assert_true(ak_clock_monotonic_us() - start < 50000000);
        assert_int_equal(hv_spawn(none, 10000000, errors, sizeof(errors)), -ENOENT);
        assert_int_equal(hv_spawn(killed, 10000000, errors, sizeof(errors)), -ECHILD);
}

static int make_dir(void **state)
{
        char *dir = strdup("/tmp/akdisk-XXXXXX");

        *state = dir;
        return dir && mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
        const char *argv[] = {"rm", "-rf", *state, NULL};
        char errors[128];
        int r = hv_spawn(argv, 10000000, errors, sizeof(errors));

        free(*state);
        return r;
}

static void make_raw(const char *dir, const char *name, struct hv_domain_spec_head *head)
{
        int fd;

        (void)snprintf(head->pod_uid, sizeof(head->pod_uid), POD);
        (void)snprintf(head->image_path, sizeof(head->image_path), "%s/%s", dir, name);
        (void)snprintf(head->image_format, sizeof(head->image_format), "raw");
        fd = open(head->image_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 1 << 20), 0);
        (void)close(fd);
}

static void test_disk(void **state)
{
        struct hv_domain_spec_head head = {0}, other = {0};
        char text[HV_LEN_TEXT + 1] = "";
        struct hv_disk disk, again;
        const char *dir = *state;
        struct stat before, after;

        make_raw(dir, "base.img", &head);
        make_raw(dir, "other.img", &other);
        assert_int_equal(hv_disk_prepare(dir, NULL, &head, &disk, text), 0);
        assert_string_equal(disk.base, head.image_path);
        assert_string_equal(disk.base_format, "raw");
        assert_int_equal(stat(disk.overlay, &before), 0);
        /* Started again, with another image meanwhile: the VM keeps its disk and what that is made over. */
        assert_int_equal(hv_disk_prepare(dir, NULL, &other, &again, text), 0);
        assert_string_equal(again.base, head.image_path);
        assert_int_equal(stat(again.overlay, &after), 0);
        assert_true(before.st_ino == after.st_ino);
        assert_int_equal(hv_disk_remove(dir, POD), 0);
        assert_int_equal(hv_disk_remove(dir, POD), 0);
        assert_int_equal(access(disk.dir, F_OK), -1);
        assert_int_equal(access(head.image_path, F_OK), 0);
}

static void test_disk_that_cannot_be_made(void **state)
{
        struct hv_domain_spec_head head = {
            .image_path = "/no/such/image", .image_format = "raw", .pod_uid = POD};
        char text[HV_LEN_TEXT + 1] = "";
        const char *dir = *state;
        struct hv_disk disk;

        assert_true(hv_disk_prepare(dir, NULL, &head, &disk, text) < 0);
        assert_non_null(strstr(text, "/no/such/image"));
        assert_int_equal(hv_disk_paths(dir, POD, &disk), 0);
        assert_int_equal(access(disk.dir, F_OK), -1);
        assert_true(hv_disk_prepare(dir, "/no/qemu-img", &head, &disk, text) < 0);
        assert_int_equal(hv_disk_paths(dir, "../../etc", &disk), -EINVAL);
        assert_int_equal(hv_disk_remove(dir, "../../etc"), 0);
}

/* The probe guest itself, under TCG, where it must run everywhere. */
static void test_probe_guest_runs(void **state)
{
        char why[HV_ACCEL_TEXT_SIZE];

        if (hv_accel_probe("tcg", "/usr/bin/qemu-system-x86_64", *state, why) != 0)
                fail_msg("%s", why);
        assert_true(hv_accel_probe("no-such-accelerator", "/usr/bin/qemu-system-x86_64", *state, why) < 0);
        assert_string_not_equal(why, "");
        assert_true(hv_accel_probe("tcg", "/bin/true", *state, why) < 0);
}

static void test_accel_choice(void **state)
{
        char why[HV_ACCEL_TEXT_SIZE];
        const char *accel = NULL;

        assert_int_equal(hv_accel_choose("tcg", "/bin/true", *state, &accel, why), 0);
        assert_string_equal(accel, "tcg");
        /* An emulator that runs no guest. */
        assert_int_equal(hv_accel_choose("auto", "/bin/true", *state, &accel, why), 0);
        assert_string_equal(accel, "tcg");
        assert_int_equal(hv_accel_choose("kvm", "/bin/true", *state, &accel, why), -ENODEV);
        assert_string_not_equal(why, "");
}

static void test_queue(void **state)
{
        AK_CLEANUP(hv_queue_freep) struct hv_queue *queue = NULL;
        struct hv_event event = {.type = HV_EVENT_TICK};
        struct pollfd p = {.events = POLLIN};

        (void)state;
        assert_int_equal(hv_queue_new(&queue, 2), 0);
        p.fd = hv_queue_fd(queue);
        assert_int_equal(poll(&p, 1, 0), 0);
        for (int i = 0; i < 3; i++)
                hv_queue_push_copy(queue, &event);
        assert_int_equal(poll(&p, 1, 0), 1);
        assert_int_equal(hv_queue_pop(queue, &event), 1);
        assert_int_equal(hv_queue_pop(queue, &event), 1);
        assert_int_equal(hv_queue_pop(queue, &event), 0);
        assert_true(hv_queue_overflowed(queue));
        assert_false(hv_queue_overflowed(queue));
        assert_int_equal(poll(&p, 1, 0), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_spawn),
            cmocka_unit_test_setup_teardown(test_disk, make_dir, remove_dir),
            cmocka_unit_test_setup_teardown(test_disk_that_cannot_be_made, make_dir, remove_dir),
            cmocka_unit_test_setup_teardown(test_probe_guest_runs, make_dir, remove_dir),
            cmocka_unit_test_setup_teardown(test_accel_choice, make_dir, remove_dir),
            cmocka_unit_test(test_queue),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
