/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/test_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "services/network/backends/netns.h"

extern char **environ;

struct guest {
        char name[64];
        int port_fd, nic_fd, stop_fd;
        pthread_t pump;
        bool pumping;
};

static int open_tap(const char *name)
{
        struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
        if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
                (void)close(fd);
                return -errno;
        }
        return fd;
}

static int open_nic(void *arg)
{
        (void)arg;
        return open_tap("eth0");
}

/* One frame, header and all: both ends have the same virtio-net header. */
static void move(int from, int to)
{
        static _Thread_local char frame[70000];
        ssize_t n;

        while ((n = read(from, frame, sizeof(frame))) > 0) {
                ssize_t ignored = write(to, frame, (size_t)n); /* EIO while the other end is down */

                (void)ignored;
        }
}

static void *pump(void *arg)
{
        struct guest *g = arg;
        struct pollfd fds[] = {{.fd = g->port_fd, .events = POLLIN},
                               {.fd = g->nic_fd, .events = POLLIN},
                               {.fd = g->stop_fd, .events = POLLIN}};

        while (poll(fds, 3, -1) >= 0 && !fds[2].revents) {
                if (fds[0].revents & POLLIN)
                        move(g->port_fd, g->nic_fd);
                if (fds[1].revents & POLLIN)
                        move(g->nic_fd, g->port_fd);
                if (fds[0].revents & POLLERR)
                        fds[0].fd = -1; /* the tap was deleted */
        }
        return NULL;
}

int host_run(char *output, size_t size, const char *const argv[])
{
        posix_spawn_file_actions_t actions;
        int pipe_fds[2], status;
        size_t used = 0;
        ssize_t n;
        pid_t pid;
        char rest[4096];

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -1;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
        posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
        int r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        (void)close(pipe_fds[1]);
        while (r == 0 && (n = read(pipe_fds[0], rest, sizeof(rest))) > 0)
                for (ssize_t i = 0; output && i < n && used + 1 < size; i++)
                        output[used++] = rest[i];
        (void)close(pipe_fds[0]);
        if (output && size > 0)
                output[used] = '\0';
        if (r != 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
                return -1;
        return WEXITSTATUS(status);
}

int guest_run(struct guest *g, char *output, size_t size, const char *const argv[])
{
        const char *all[32] = {"ip", "netns", "exec", g->name};
        size_t n = 4;

        for (size_t i = 0; argv[i] && n + 1 < AK_ARRAY_SIZE(all); i++)
                all[n++] = argv[i];
        return host_run(output, size, all);
}

static int set_up(struct guest *g, const char *mac)
{
        int r = guest_run(g, NULL, 0, RUN("ip", "link", "set", "lo", "up"));

        if (r == 0)
                r = guest_run(g, NULL, 0, RUN("ip", "link", "set", "eth0", "address", mac));
        return r == 0 ? guest_run(g, NULL, 0, RUN("ip", "link", "set", "eth0", "up")) : r;
}

struct guest *guest_new(const char *name, const char *ifname, const char *mac)
{
        struct guest *g = calloc(1, sizeof(*g));

        snprintf(g->name, sizeof(g->name), "nettest-%d-%s", (int)getpid(), name);
        AK_AUTOCLOSE int ns_fd = netns_create(g->name);
        g->stop_fd = eventfd(0, EFD_CLOEXEC);
        g->port_fd = open_tap(ifname);
        g->nic_fd = ns_fd >= 0 ? netns_run(ns_fd, open_nic, NULL) : -1;
        if (g->port_fd < 0 || g->nic_fd < 0 || set_up(g, mac) != 0) {
                fprintf(stderr, "guest %s: namespace %d, tap %s %d, NIC %d\n", name, ns_fd, ifname,
                        g->port_fd, g->nic_fd);
                return guest_free(g);
        }
        g->pumping = pthread_create(&g->pump, NULL, pump, g) == 0;
        return g;
}

struct guest *guest_free(struct guest *g)
{
        if (!g)
                return NULL;
        if (g->pumping) {
                (void)eventfd_write(g->stop_fd, 1);
                pthread_join(g->pump, NULL);
        }
        if (g->port_fd >= 0)
                (void)close(g->port_fd);
        if (g->nic_fd >= 0)
                (void)close(g->nic_fd);
        (void)close(g->stop_fd);
        (void)netns_remove(g->name);
        free(g);
        return NULL;
}

bool guest_dhcp(struct guest *g, int tries, char *lease, size_t size)
{
        char path[128], variable[160], count[16];

        snprintf(path, sizeof(path), "/tmp/%s.lease", g->name);
        snprintf(variable, sizeof(variable), "LEASE_FILE=%s", path);
        snprintf(count, sizeof(count), "%d", tries);
        (void)unlink(path);
        char words[2000];
        int r =
            guest_run(g, words, sizeof(words),
                      RUN("env", variable, "busybox", "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-t", count,
                          "-T", "1", "-A", "1", "-O", "mtu", "-s", "services/network/testdata/lease.sh"));
        FILE *f = r == 0 ? fopen(path, "r") : NULL;
        bool got = f && fgets(lease, (int)size, f);
        if (!got)
                fprintf(stderr, "udhcpc: exit code %d: %s\n", r, words);
        if (f)
                (void)fclose(f);
        (void)unlink(path);
        return got;
}

bool guest_ping(struct guest *g, const char *address)
{
        return guest_run(g, NULL, 0, RUN("busybox", "ping", "-c", "1", "-W", "1", address)) == 0;
}

void guest_set_address(struct guest *g, const char *cidr)
{
        (void)guest_run(g, NULL, 0, RUN("ip", "address", "add", cidr, "dev", "eth0"));
}
