/* SPDX-License-Identifier: Apache-2.0 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include "services/hypervisor/test_host.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "services/hypervisor/spawn.h"

#define SCRIPT "tests/lib/private-libvirtd"

void host_run(const char *const *argv, unsigned timeout_s)
{
        char errors[1024];
        int r = hv_spawn(argv, (uint64_t)timeout_s * 1000000, errors, sizeof(errors));

        if (r != 0)
                fail_msg("%s %s: %d %s", argv[0], argv[1] ? argv[1] : "", r, errors);
}

void host_libvirtd(struct host *host, const char *verb)
{
        const char *argv[] = {SCRIPT, verb, host->dir, NULL};

        host_run(argv, 120);
}

void host_image(const char *append, char out[256])
{
        const char *argv[] = {"tests/guest/build-image", "-o", out, append ? "--append" : NULL, append, NULL};
        char tag[64] = "";
        size_t n = 0;

        for (const char *p = append; p && *p && n + 1 < sizeof(tag); p++)
                tag[n++] = *p == ' ' || *p == '/' ? '_' : *p;
        out[0] = 0;
        if (!getcwd(out, 160))
                fail_msg("getcwd: %s", strerror(errno));
        (void)snprintf(out + strlen(out), 256 - strlen(out), "/build/guest/guest%s%s.qcow2", n ? "-" : "",
                       tag);
        host_run(argv, 300);
}

void host_init(struct host *host, const char *append)
{
        *host = (struct host){.dir = "/tmp/akhv-XXXXXX"};
        if (geteuid() != 0)
                fail_msg("must be run as root");
        if (!mkdtemp(host->dir))
                fail_msg("mkdtemp: %s", strerror(errno));
        (void)snprintf(host->uri, sizeof(host->uri), "qemu+unix:///system?socket=%s/run/libvirt-sock",
                       host->dir);
        host_image(append, host->image);
        host_libvirtd(host, "start");
}

static void tap_ioctl(const char *name, int persist, short extra_flags)
{
        struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | extra_flags)};
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                fail_msg("/dev/net/tun: %s", strerror(errno));
        (void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
        if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETPERSIST, persist) < 0)
                fail_msg("tap %s: %s", name, strerror(errno));
        (void)close(fd);
}

static void link_up(const char *name)
{
        struct ifreq ifr = {.ifr_flags = IFF_UP};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        (void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
        if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
                fail_msg("link %s up: %s", name, strerror(errno));
        (void)close(fd);
}

static void tap_name(const struct host *host, unsigned n, char name[16])
{
        /* Two tests at a time must not meet: the directory's random part is in the name. */
        (void)snprintf(name, 16, "hv%.6s%u", host->dir + strlen("/tmp/akhv-"), n % 100);
}

void host_tap(struct host *host, unsigned n, char name[16])
{
        tap_name(host, n, name);
        tap_ioctl(name, 1, 0);
        link_up(name);
        if (n >= host->tap_count)
                host->tap_count = n + 1;
}

void host_tap_replace(struct host *host, unsigned n, char name[16])
{
        const char *argv[] = {"ip", "link", "del", name, NULL};

        tap_name(host, n, name);
        host_run(argv, 30);
        host_tap(host, n, name);
}

void host_kill_guest(const struct host *host, const char *pod_uid)
{
        char pattern[256], text[32] = "";
        glob_t found = {0};
        FILE *file;
        long pid;

        (void)snprintf(pattern, sizeof(pattern), "%s/run/qemu/alkaid-*-%.8s.pid", host->dir, pod_uid);
        if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc != 1)
                fail_msg("%s: no such file, or several", pattern);
        file = fopen(found.gl_pathv[0], "r");
        globfree(&found);
        if (!file || !fgets(text, sizeof(text), file))
                fail_msg("%s: cannot be read", pattern);
        (void)fclose(file);
        pid = strtol(text, NULL, 10);
        assert_true(pid > 1);
        assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
}

void host_deinit(struct host *host)
{
        const char *rm[] = {"rm", "-rf", host->dir, NULL};
        char name[16];

        host_libvirtd(host, "stop");
        for (unsigned n = 0; n < host->tap_count; n++) {
                tap_name(host, n, name);
                if (if_nametoindex(name))
                        tap_ioctl(name, 0, 0);
        }
        host_run(rm, 30);
}

bool host_wait(bool (*check)(void *arg), void *arg, unsigned timeout_ms)
{
        uint64_t deadline = ak_clock_monotonic_us() + (uint64_t)timeout_ms * 1000;

        while (!check(arg)) {
                if (ak_clock_monotonic_us() > deadline)
                        return false;
                (void)poll(NULL, 0, 5);
        }
        return true;
}
