/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/dhcp_process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "services/network/backends/netns.h"

#define START_TIMEOUT_MS 5000
#define STOP_TIMEOUT_MS  2000
#define MAX_SERVERS      16 /* found of one subnet at a time; one is right */

/* ------------------------------------------------------------------ start */

struct spawn {
        const struct dhcp_start *start;
        int error_fd;
        pid_t pid;
};

/* In the child, between fork and exec: system calls only. */
static _Noreturn void become_dnsmasq(const struct dhcp_start *start, char *const argv[], int error_fd)
{
        static const char trouble[] = "cannot mount the reservations";
        char *const environment[] = {NULL};
        sigset_t none;
        int null_fd = open("/dev/null", O_RDWR);

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 || dup2(error_fd, 2) < 0)
                _exit(126);
        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount(start->hosts_path, DHCP_HOSTS_MOUNT, NULL, MS_BIND, NULL) < 0) {
                ssize_t ignored = write(2, trouble, sizeof(trouble) - 1);

                (void)ignored;
                _exit(126);
        }
        execve(start->dnsmasq_path, argv, environment);
        _exit(127);
}

/* In a thread inside the namespace; the child inherits it. */
static int spawn_inside(void *arg)
{
        struct spawn *s = arg;
        char conf[PATH_MAX + sizeof(DHCP_CONF_FLAG)];
        char name[] = "dnsmasq";
        char *const argv[] = {name, conf, NULL};

        snprintf(conf, sizeof(conf), DHCP_CONF_FLAG "%s", s->start->conf_path);
        s->pid = fork();
        if (s->pid < 0)
                return -errno;
        if (s->pid == 0)
                become_dnsmasq(s->start, argv, s->error_fd);
        return 0;
}

/* Reads to the end, at most len - 1 bytes; dnsmasq closes its standard error when it serves. */
static void read_text(int fd, char *text, size_t len)
{
        size_t used = 0;

        while (used + 1 < len) {
                ssize_t n = read(fd, text + used, len - 1 - used);

                if (n <= 0)
                        break;
                used += (size_t)n;
        }
        text[used] = '\0';
        for (size_t i = 0; i < used; i++)
                if (iscntrl((unsigned char)text[i]))
                        text[i] = ' ';
}

/* dnsmasq's first process ends when the one that it leaves behind serves, or could not. */
static int await_start(pid_t pid, int error_fd, struct net_error *error)
{
        char words[300];
        int status;
        AK_AUTOCLOSE int pidfd = pidfd_open(pid, 0);
        struct pollfd p = {.fd = pidfd, .events = POLLIN};

        if (pidfd < 0 || poll(&p, 1, START_TIMEOUT_MS) != 1) {
                (void)kill(pid, SIGKILL);
                (void)waitpid(pid, &status, 0);
                net_error_set(error, "DHCPServerFailed", "dnsmasq did not start within %d ms",
                              START_TIMEOUT_MS);
                return -ETIMEDOUT;
        }
        if (waitpid(pid, &status, 0) < 0)
                return -errno;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        read_text(error_fd, words, sizeof(words));
        net_error_set(error, "DHCPServerFailed", "dnsmasq did not start (status %d): %s",
                      WIFEXITED(status) ? WEXITSTATUS(status) : -1, words);
        return -ECHILD;
}

int dhcp_process_start(int ns_fd, const struct dhcp_start *start, struct net_error *error)
{
        int pipe_fds[2];

        if (access(start->dnsmasq_path, X_OK) < 0) {
                net_error_set(error, "DHCPServerFailed", "%s: %s; install dnsmasq or set --dnsmasq-path",
                              start->dnsmasq_path, strerror(errno));
                return -ENOENT;
        }
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        AK_AUTOCLOSE int reader = pipe_fds[0];
        AK_AUTOCLOSE int writer = pipe_fds[1];
        struct spawn spawn = {.start = start, .error_fd = writer};
        int r = netns_run(ns_fd, spawn_inside, &spawn);
        if (r < 0) {
                net_error_set(error, "DHCPServerFailed", "cannot run dnsmasq: %s", strerror(-r));
                return r;
        }
        (void)close(writer);
        writer = -1;
        return await_start(spawn.pid, reader, error);
}

/* ------------------------------------------------------------------ find */

static bool in_namespace(const char *pid, const struct stat *ns)
{
        char path[64];
        struct stat st;

        snprintf(path, sizeof(path), "/proc/%.16s/ns/net", pid);
        return stat(path, &st) == 0 && st.st_dev == ns->st_dev && st.st_ino == ns->st_ino;
}

/* Whether the process is a dnsmasq whose configuration is .../SUBNET/dnsmasq.conf (any subnet: NULL). */
static bool serves(const char *pid, const char *subnet_id)
{
        char path[64], line[PATH_MAX + 64], tail[AK_UUID_SIZE + 32];

        snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);
        AK_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
        if (n <= 0)
                return false;
        line[n] = '\0';
        size_t skip = strlen(line) + 1; /* argv[0] */
        if (skip >= (size_t)n || strncmp(line + skip, DHCP_CONF_FLAG, strlen(DHCP_CONF_FLAG)) != 0)
                return false;
        size_t len = strlen(line + skip);
        snprintf(tail, sizeof(tail), "%s/dnsmasq.conf", subnet_id ? subnet_id : "");
        return len >= strlen(tail) && strcmp(line + skip + len - strlen(tail), tail) == 0;
}

static size_t find_all(int ns_fd, const char *subnet_id, struct dhcp_server out[MAX_SERVERS])
{
        struct stat ns;
        size_t count = 0;
        DIR *proc = opendir("/proc");
        struct dirent *entry;

        if (!proc || fstat(ns_fd, &ns) < 0) {
                if (proc)
                        closedir(proc);
                return 0;
        }
        while (count < MAX_SERVERS && (entry = readdir(proc))) {
                if (!isdigit((unsigned char)entry->d_name[0]) || !in_namespace(entry->d_name, &ns) ||
                    !serves(entry->d_name, subnet_id))
                        continue;
                pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
                int pidfd = pidfd_open(pid, 0);
                /* Looked at again once the pidfd pins it: the number may have passed to another. */
                if (pidfd >= 0 && in_namespace(entry->d_name, &ns) && serves(entry->d_name, subnet_id))
                        out[count++] = (struct dhcp_server){pid, pidfd};
                else if (pidfd >= 0)
                        (void)close(pidfd);
        }
        closedir(proc);
        return count;
}

int dhcp_find(int ns_fd, const char *subnet_id, struct dhcp_server *out)
{
        struct dhcp_server found[MAX_SERVERS];
        size_t count = find_all(ns_fd, subnet_id, found);

        for (size_t i = 1; i < count; i++)
                dhcp_stop(&found[i]);
        if (count == 0)
                return -ENOENT;
        *out = found[0];
        return 0;
}

bool dhcp_process_sees(const struct dhcp_server *server, const char *hosts_path)
{
        char path[64];
        struct stat seen, real;

        snprintf(path, sizeof(path), "/proc/%d/root" DHCP_HOSTS_MOUNT, (int)server->pid);
        return stat(path, &seen) == 0 && stat(hosts_path, &real) == 0 && seen.st_dev == real.st_dev &&
               seen.st_ino == real.st_ino;
}

/* ------------------------------------------------------------------ end */

static bool wait_end(const struct dhcp_server *server, int timeout_ms)
{
        struct pollfd p = {.fd = server->pidfd, .events = POLLIN};

        return poll(&p, 1, timeout_ms) == 1;
}

bool dhcp_alive(const struct dhcp_server *server)
{
        return server->pidfd >= 0 && !wait_end(server, 0);
}

void dhcp_stop(struct dhcp_server *server)
{
        if (server->pidfd < 0)
                return;
        if (pidfd_send_signal(server->pidfd, SIGTERM, NULL, 0) == 0 && !wait_end(server, STOP_TIMEOUT_MS)) {
                (void)pidfd_send_signal(server->pidfd, SIGKILL, NULL, 0);
                (void)wait_end(server, STOP_TIMEOUT_MS);
        }
        (void)close(server->pidfd);
        *server = (struct dhcp_server){0, -1};
}

void dhcp_stop_all(int ns_fd)
{
        struct dhcp_server found[MAX_SERVERS];
        size_t count;

        while ((count = find_all(ns_fd, NULL, found)) > 0) /* ends: each round ends what it found */
                for (size_t i = 0; i < count; i++)
                        dhcp_stop(&found[i]);
}
