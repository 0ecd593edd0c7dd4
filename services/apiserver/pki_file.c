/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the PKI: written whole or not at all, readable by their owner only. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "services/apiserver/pki.h"

#define MAX_FILE (1 << 20)

static int report(char error[PKI_ERROR_SIZE], int code, const char *doing, const char *path)
{
        (void)snprintf(error, PKI_ERROR_SIZE, "cannot %s %s: %s", doing, path, strerror(code));
        return -code;
}

static int join(char out[PATH_MAX], const char *dir, const char *name, const char *suffix,
                char error[PKI_ERROR_SIZE])
{
        if (snprintf(out, PATH_MAX, "%s/%s%s", dir, name, suffix) >= PATH_MAX)
                return report(error, ENAMETOOLONG, "use", dir);
        return 0;
}

int pki_make_dir(const char *path, char error[PKI_ERROR_SIZE])
{
        char part[PATH_MAX];
        struct stat st;

        if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
                return report(error, ENAMETOOLONG, "use", path);
        for (char *p = part + 1; *p; p++) {
                if (*p != '/')
                        continue;
                *p = '\0';
                if (mkdir(part, 0755) < 0 && errno != EEXIST)
                        return report(error, errno, "make directory", part);
                *p = '/';
        }
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
                return report(error, errno, "make directory", part);
        if (stat(part, &st) < 0)
                return report(error, errno, "look at", part);
        if (!S_ISDIR(st.st_mode))
                return report(error, ENOTDIR, "use", part);
        if (st.st_uid != geteuid() || (st.st_mode & 077)) {
                (void)snprintf(error, PKI_ERROR_SIZE,
                               "%.300s must belong to this user and be closed to others (mode 0700, is %04o)",
                               part, (unsigned int)(st.st_mode & 07777));
                return -EPERM;
        }
        return 0;
}

static int write_all(int fd, const char *text)
{
        size_t left = strlen(text);

        while (left > 0) {
                ssize_t n = write(fd, text, left);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                text += n;
                left -= (size_t)n;
        }
        return fsync(fd) < 0 ? -errno : 0;
}

static int sync_dir(const char *dir)
{
        AK_AUTOCLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int pki_write_file(const char *dir, const char *name, const char *text, char error[PKI_ERROR_SIZE])
{
        char path[PATH_MAX], temporary[PATH_MAX];
        AK_AUTOCLOSE int fd = -1;
        int rc;

        if (join(path, dir, name, "", error) < 0 || join(temporary, dir, name, ".tmp", error) < 0)
                return -ENAMETOOLONG;
        (void)unlink(temporary);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return report(error, errno, "make", temporary);
        rc = write_all(fd, text);
        if (rc == 0 && rename(temporary, path) < 0)
                rc = -errno;
        if (rc == 0)
                rc = sync_dir(dir);
        return rc < 0 ? report(error, -rc, "write", path) : 0;
}

static int read_all(int fd, char *text, size_t size)
{
        size_t len = 0;

        for (;;) {
                ssize_t n = read(fd, text + len, size - 1 - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                len += (size_t)n;
        }
        text[len] = '\0';
        return len == size - 1 ? -EFBIG : 0;
}

int pki_read_file(const char *dir, const char *name, char **out, char error[PKI_ERROR_SIZE])
{
        char path[PATH_MAX];
        AK_AUTOCLOSE int fd = -1;
        AK_AUTOFREE char *text = NULL;
        struct stat st;
        int rc;

        if (join(path, dir, name, "", error) < 0)
                return -ENAMETOOLONG;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return report(error, errno, "read", path);
        if (fstat(fd, &st) < 0)
                return report(error, errno, "look at", path);
        if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE)
                return report(error, EFBIG, "read", path);
        text = malloc((size_t)st.st_size + 2);
        if (!text)
                return -ENOMEM;
        rc = read_all(fd, text, (size_t)st.st_size + 2);
        if (rc < 0)
                return report(error, -rc, "read", path);
        *out = AK_STEAL(text);
        return 0;
}
