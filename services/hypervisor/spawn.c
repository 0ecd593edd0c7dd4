/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"

extern char **environ;

/* Blocked signals are inherited over exec; the program gets none blocked and defaults everywhere. */
static int clean_signals(posix_spawnattr_t *attr)
{
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        r = posix_spawnattr_setsigmask(attr, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(attr, &all);
        if (r == 0)
                r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        return -r;
}

static int start(const char *const *argv, int errors_fd, pid_t *pid)
{
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        if (posix_spawnattr_init(&attr) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }
        r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, errors_fd, STDERR_FILENO);
        if (r == 0)
                r = -clean_signals(&attr);
        if (r == 0)
                r = posix_spawnp(pid, argv[0], &actions, &attr, (char *const *)argv, environ);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* Reads until the end of the pipe (the program and its children are gone) or the deadline. */
static int drain(int fd, uint64_t deadline, char *out, size_t size)
{
        size_t used = 0;

        for (;;) {
                uint64_t now = ak_clock_monotonic_us();
                struct pollfd p = {.fd = fd, .events = POLLIN};
                char chunk[512];
                ssize_t n;

                if (now >= deadline)
                        return -ETIMEDOUT;
                if (poll(&p, 1, (int)((deadline - now) / 1000) + 1) <= 0)
                        continue;
                n = read(fd, chunk, sizeof(chunk));
                if (n <= 0)
                        return 0;
                if ((size_t)n > size - 1 - used)
                        n = (ssize_t)(size - 1 - used);
                memcpy(out + used, chunk, (size_t)n);
                used += (size_t)n;
                out[used] = '\0';
        }
}

static void one_line(char *text)
{
        size_t len = strlen(text);

        while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
                text[--len] = '\0';
        for (char *p = text; *p; p++) {
                if ((unsigned char)*p < 0x20)
                        *p = ' ';
        }
}

static int reap(pid_t pid, bool kill_it)
{
        int status;

        if (kill_it)
                (void)kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0) {
                if (errno != EINTR)
                        return -errno;
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

int hv_spawn(const char *const *argv, uint64_t timeout_us, char *errors, size_t errors_size)
{
        AK_AUTOCLOSE int reader = -1;
        AK_AUTOCLOSE int writer = -1;
        uint64_t deadline = ak_clock_monotonic_us() + timeout_us;
        int pipe_fds[2], r;
        pid_t pid = -1;

        errors[0] = '\0';
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        reader = pipe_fds[0];
        writer = pipe_fds[1];
        r = start(argv, writer, &pid);
        if (r < 0 || pid <= 0)
                return r < 0 ? r : -ECHILD;
        (void)close(writer);
        writer = -1;
        r = drain(reader, deadline, errors, errors_size);
        one_line(errors);
        if (r < 0) {
                (void)reap(pid, true);
                return r;
        }
        return reap(pid, false);
}
