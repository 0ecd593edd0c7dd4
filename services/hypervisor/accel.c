/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "services/hypervisor/spawn.h"

#define PROBE_TIMEOUT_US (UINT64_C(5) * 1000 * 1000)
#define GUEST_EXIT_CODE  85 /* isa-debug-exit: (0x2a << 1) | 1 */
#define BOOT_ID          "/proc/sys/kernel/random/boot_id"
#define KVM              "/dev/kvm"
#define PATH_SIZE        1024

#define GUEST_BYTES 512
extern const char hv_kvm_guest[GUEST_BYTES];

static int write_guest(int fd)
{
        /* The BIOS does not boot from a disk without a single cylinder. */
        if (write(fd, hv_kvm_guest, GUEST_BYTES) != GUEST_BYTES || ftruncate(fd, 1 << 20) < 0)
                return -EIO;
        return 0;
}

static int run_guest(const char *accel, const char *emulator, const char *image, char why[HV_ACCEL_TEXT_SIZE])
{
        char drive[PATH_SIZE + 64], machine[32];
        const char *argv[] = {emulator,
                              "-accel",
                              accel,
                              "-machine",
                              machine,
                              "-m",
                              "32",
                              "-display",
                              "none",
                              "-nodefaults",
                              "-no-user-config",
                              "-no-reboot",
                              "-device",
                              "isa-debug-exit,iobase=0xf4,iosize=4",
                              "-drive",
                              drive,
                              NULL};
        int r;

        (void)snprintf(machine, sizeof(machine), "q35,usb=off");
        (void)snprintf(drive, sizeof(drive), "file=%s,format=raw,if=ide", image);
        r = hv_spawn(argv, PROBE_TIMEOUT_US, why, HV_ACCEL_TEXT_SIZE);
        if (r == GUEST_EXIT_CODE)
                return 0;
        if (r == -ETIMEDOUT)
                (void)snprintf(why, HV_ACCEL_TEXT_SIZE, "a guest under %s does not run", accel);
        else if (!why[0])
                (void)snprintf(why, HV_ACCEL_TEXT_SIZE, "%s: %s", emulator,
                               r < 0 ? strerror(-r) : "ended without running the guest");
        return -ENODEV;
}

int hv_accel_probe(const char *accel, const char *emulator, const char *state_dir,
                   char why[HV_ACCEL_TEXT_SIZE])
{
        char image[PATH_SIZE];
        int fd, n, r;

        n = snprintf(image, sizeof(image), "%s/probe-XXXXXX", state_dir);
        if (n < 0 || (size_t)n >= sizeof(image))
                return -ENAMETOOLONG;
        if (strchr(state_dir, ',')) /* QEMU's separator */
                return -EINVAL;
        fd = mkostemp(image, O_CLOEXEC);
        if (fd < 0) {
                (void)snprintf(why, HV_ACCEL_TEXT_SIZE, "%s: %s", state_dir, strerror(errno));
                return -errno;
        }
        r = write_guest(fd);
        (void)close(fd);
        if (r == 0)
                r = run_guest(accel, emulator, image, why);
        (void)unlink(image);
        return r;
}

/* ------------------------------------------------------------------ cache */

/* What the answer depends on, as one line. */
static int identity(const char *emulator, char *out, size_t size)
{
        AK_AUTOCLOSE int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
        struct stat kvm, qemu;
        char boot[64] = "";

        if (fd < 0 || read(fd, boot, sizeof(boot) - 1) <= 0)
                return -EIO;
        boot[strcspn(boot, "\n")] = '\0';
        if (stat(KVM, &kvm) < 0)
                return -ENOENT;
        if (stat(emulator, &qemu) < 0)
                memset(&qemu, 0, sizeof(qemu));
        (void)snprintf(out, size, "boot=%s kvm=%llx:%llx:%o emulator=%llx:%llx", boot,
                       (unsigned long long)kvm.st_rdev, (unsigned long long)kvm.st_ino, kvm.st_mode,
                       (unsigned long long)qemu.st_ino, (unsigned long long)qemu.st_mtime);
        return 0;
}

/* The cached line is the identity and the answer. */
static bool cached(const char *path, const char *id, bool *runs)
{
        AK_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
        char text[512];
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        size_t len = strlen(id);

        if (n <= 0)
                return false;
        text[n] = '\0';
        if (strncmp(text, id, len) != 0)
                return false;
        *runs = strcmp(text + len, " runs=yes\n") == 0;
        return *runs || strcmp(text + len, " runs=no\n") == 0;
}

/* A cache that cannot be written costs a probe at the next start. */
static void remember(const char *path, const char *id, bool runs)
{
        AK_AUTOCLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd >= 0)
                (void)dprintf(fd, "%s runs=%s\n", id, runs ? "yes" : "no");
}

static bool kvm_runs(const char *emulator, const char *state_dir, char why[HV_ACCEL_TEXT_SIZE])
{
        char id[256], path[PATH_SIZE];
        bool runs = false;

        if (identity(emulator, id, sizeof(id)) < 0) {
                (void)snprintf(why, HV_ACCEL_TEXT_SIZE, "there is no " KVM);
                return false;
        }
        (void)snprintf(path, sizeof(path), "%s/accel", state_dir);
        if (cached(path, id, &runs)) {
                (void)snprintf(why, HV_ACCEL_TEXT_SIZE, "probed before: a guest %s under KVM",
                               runs ? "runs" : "does not run");
                return runs;
        }
        runs = hv_accel_probe("kvm", emulator, state_dir, why) == 0;
        remember(path, id, runs);
        return runs;
}

int hv_accel_choose(const char *wanted, const char *emulator, const char *state_dir, const char **out,
                    char why[HV_ACCEL_TEXT_SIZE])
{
        bool kvm;

        why[0] = '\0';
        if (strcmp(wanted, "tcg") == 0) {
                *out = "tcg";
                return 0;
        }
        kvm = kvm_runs(emulator, state_dir, why);
        if (!kvm && strcmp(wanted, "kvm") == 0)
                return -ENODEV;
        *out = kvm ? "kvm" : "tcg";
        return 0;
}
