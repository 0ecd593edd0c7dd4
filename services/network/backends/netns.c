/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "libcommon/cleanup.h"

static void path_of(const char *name, char out[PATH_MAX])
{
        snprintf(out, PATH_MAX, NETNS_DIR "/%s", name);
}

int netns_open(const char *name)
{
        char path[PATH_MAX];
        struct statfs fs;

        path_of(name, path);
        AK_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if (fs.f_type != NSFS_MAGIC)
                return -ENOENT; /* a bare file, left by a crash before the mount */
        int result = fd;
        fd = -1;
        return result;
}

/* As ip-netns does it: a mount point of its own, shared, so that other mount namespaces see our names. */
static int prepare_dir(void)
{
        if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
                return -errno;
        if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
                return 0;
        if (errno != EINVAL)
                return -errno;
        if (mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0)
                return -errno;
        return mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0 ? -errno : 0;
}

static int in_new_namespace(void *arg)
{
        const char *path = arg;

        if (unshare(CLONE_NEWNET) < 0)
                return -errno;
        return mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0 ? -errno : 0;
}

struct run {
        int ns_fd; /* -1: stay */
        int (*fn)(void *arg);
        void *arg;
        int result;
};

static void *run_thread(void *arg)
{
        struct run *run = arg;

        run->result = run->ns_fd >= 0 && setns(run->ns_fd, CLONE_NEWNET) < 0 ? -errno : run->fn(run->arg);
        return NULL;
}

int netns_run(int ns_fd, int (*fn)(void *arg), void *arg)
{
        struct run run = {ns_fd, fn, arg, 0};
        pthread_t thread;
        int r = pthread_create(&thread, NULL, run_thread, &run);

        if (r != 0)
                return -r;
        pthread_join(thread, NULL);
        return run.result;
}

int netns_create(const char *name)
{
        char path[PATH_MAX];

        int existing = netns_open(name);
        if (existing >= 0) {
                (void)close(existing);
                return -EEXIST;
        }
        int r = prepare_dir();
        if (r < 0)
                return r;
        path_of(name, path);
        AK_AUTOCLOSE int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
        if (file < 0)
                return -errno;
        r = netns_run(-1, in_new_namespace, path);
        if (r < 0) {
                (void)unlink(path);
                return r;
        }
        return netns_open(name);
}

int netns_remove(const char *name)
{
        char path[PATH_MAX];

        path_of(name, path);
        if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
                return -errno;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
