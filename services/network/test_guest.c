/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/test_guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "services/network/backends/netns.h"

extern char **environ;

struct guest {
        char name[64];
        pid_t children[8]; /* 0 = none */
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
        for (size_t i = 0; i < AK_ARRAY_SIZE(g->children); i++)
                if (g->children[i] > 0)
                        guest_end(g, g->children[i], SIGKILL);
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

/* ------------------------------------------------------------------ a host of its own */

int host_isolate(void)
{
        if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
            mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -errno;
        if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
                return -errno;
        if (mount("none", NETNS_DIR, "tmpfs", 0, NULL) < 0)
                return -errno;
        return host_run(NULL, 0, RUN("ip", "link", "set", "lo", "up")) == 0 ? 0 : -EIO;
}

/* ------------------------------------------------------------------ sockets */

struct make_socket {
        int domain, type, protocol, fd;
};

static int make_socket(void *arg)
{
        struct make_socket *m = arg;

        m->fd = socket(m->domain, m->type | SOCK_CLOEXEC, m->protocol);
        return m->fd < 0 ? -errno : 0;
}

int guest_socket(struct guest *g, int domain, int type, int protocol)
{
        struct make_socket m = {domain, type, protocol, -1};
        AK_AUTOCLOSE int ns_fd = netns_open(g->name);

        if (ns_fd < 0)
                return ns_fd;
        int r = netns_run(ns_fd, make_socket, &m);
        return r < 0 ? r : m.fd;
}

static socklen_t make_address(const char *address, uint16_t port, struct sockaddr_storage *out)
{
        struct sockaddr_in *four = (struct sockaddr_in *)out;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;

        memset(out, 0, sizeof(*out));
        if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
                four->sin_family = AF_INET;
                four->sin_port = htons(port);
                return sizeof(*four);
        }
        if (inet_pton(AF_INET6, address, &six->sin6_addr) != 1)
                return 0;
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return sizeof(*six);
}

int guest_connect(struct guest *g, const char *address, uint16_t port, int timeout_ms)
{
        struct sockaddr_storage to;
        socklen_t len = make_address(address, port, &to), size = sizeof(int);
        AK_AUTOCLOSE int fd = guest_socket(g, to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int error = 0;

        if (fd < 0)
                return fd;
        if (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
                return -errno;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, timeout_ms) != 1)
                return -ETIMEDOUT;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
                return error ? -error : -errno;
        int result = fd;
        fd = -1;
        return result;
}

int guest_listen(struct guest *g, int type, uint16_t port)
{
        struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        AK_AUTOCLOSE int fd = guest_socket(g, AF_INET6, type | SOCK_NONBLOCK, 0);
        int one = 1;

        if (fd < 0)
                return fd;
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || (type == SOCK_STREAM && listen(fd, 16) < 0))
                return -errno;
        int result = fd;
        fd = -1;
        return result;
}

int guest_send_frame(struct guest *g, const void *frame, size_t len)
{
        AK_AUTOCLOSE int fd = guest_socket(g, AF_PACKET, SOCK_RAW, 0);
        struct sockaddr_ll to = {.sll_family = AF_PACKET};
        struct ifreq request = {0};

        snprintf(request.ifr_name, sizeof(request.ifr_name), "eth0");
        if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
                return -errno;
        to.sll_ifindex = request.ifr_ifindex;
        return sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)len ? 0 : -errno;
}

int guest_mtu(struct guest *g)
{
        AK_AUTOCLOSE int fd = guest_socket(g, AF_INET, SOCK_DGRAM, 0);
        struct ifreq request = {0};

        snprintf(request.ifr_name, sizeof(request.ifr_name), "eth0");
        return fd < 0 || ioctl(fd, SIOCGIFMTU, &request) < 0 ? -errno : request.ifr_mtu;
}

/* ------------------------------------------------------------------ programs */

pid_t guest_spawn(struct guest *g, const char *const argv[])
{
        const char *all[32] = {"ip", "netns", "exec", g->name};
        size_t n = 4;
        pid_t pid;

        for (size_t i = 0; argv[i] && n + 1 < AK_ARRAY_SIZE(all); i++)
                all[n++] = argv[i];
        if (posix_spawnp(&pid, all[0], NULL, NULL, (char *const *)all, environ) != 0)
                return -1;
        for (size_t i = 0; i < AK_ARRAY_SIZE(g->children); i++)
                if (g->children[i] == 0) {
                        g->children[i] = pid;
                        return pid;
                }
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return -1;
}

void guest_end(struct guest *g, pid_t pid, int signal)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(g->children); i++)
                if (g->children[i] == pid) {
                        (void)kill(pid, signal);
                        (void)waitpid(pid, NULL, 0);
                        g->children[i] = 0;
                }
}
