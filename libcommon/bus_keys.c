/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/bus_keys.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/bus_wire.h"
#include "libcommon/clock.h"

static int fail(char error[AK_BUS_KEY_ERROR_SIZE], int r, const char *path, const char *what)
{
        (void)snprintf(error, AK_BUS_KEY_ERROR_SIZE, "%.300s: %s", path, what);
        return r;
}

static int check_owner(const struct stat *st, const char *path, const char *remedy,
                       char error[AK_BUS_KEY_ERROR_SIZE])
{
        if (st->st_uid == geteuid() && !(st->st_mode & 0077))
                return 0;
        return fail(error, -EPERM, path, remedy);
}

int ak_bus_keys_check(const char *dir, char error[AK_BUS_KEY_ERROR_SIZE])
{
        struct stat st;

        if (lstat(dir, &st) < 0)
                return fail(error, -errno, dir, strerror(errno));
        if (!S_ISDIR(st.st_mode))
                return fail(error, -ENOTDIR, dir, "must be a directory");
        return check_owner(&st, dir, "must be a directory of this user with mode 0700", error);
}

int ak_bus_keys_make(const char *dir, char error[AK_BUS_KEY_ERROR_SIZE])
{
        if (mkdir(dir, 0700) < 0 && errno != EEXIST)
                return fail(error, -errno, dir, strerror(errno));
        return ak_bus_keys_check(dir, error);
}

static int make_path(char out[PATH_MAX], const char *dir, const char *name, const char *suffix)
{
        int n = snprintf(out, PATH_MAX, "%s/%s%s", dir, name, suffix);

        return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int check_file(const char *path, bool secret, char error[AK_BUS_KEY_ERROR_SIZE])
{
        struct stat st;

        if (lstat(path, &st) < 0)
                return fail(error, -errno, path,
                            errno == ENOENT ? "there is no such certificate; make one with `alkaidctl keys "
                                              "generate` and copy its public file to whom it talks to"
                                            : strerror(errno));
        if (!S_ISREG(st.st_mode))
                return fail(error, -EPERM, path, "must be a regular file");
        return secret ? check_owner(&st, path, "must be a file of this user with mode 0600", error) : 0;
}

static bool has_secret(zcert_t *cert)
{
        static const byte zeroes[32];

        return memcmp(zcert_secret_key(cert), zeroes, sizeof(zeroes)) != 0;
}

/* zcert_load() takes the secret file where there is one, so the public one is made of what it says. */
int ak_bus_key_load(zcert_t **out, const char *dir, const char *name, bool secret,
                    char error[AK_BUS_KEY_ERROR_SIZE])
{
        AK_CLEANUP(ak_zcert_freep) zcert_t *cert = NULL;
        char path[PATH_MAX], secret_path[PATH_MAX];
        int r = ak_bus_keys_check(dir, error);

        if (r < 0)
                return r;
        if (!ak_bus_name_valid(name))
                return fail(error, -EINVAL, name, "a name is of a-z, 0-9 and -, 63 at most");
        if (make_path(path, dir, name, AK_BUS_KEY_SUFFIX) < 0 ||
            make_path(secret_path, dir, name, AK_BUS_KEY_SECRET) < 0)
                return fail(error, -ENAMETOOLONG, dir, "too long a path");
        r = check_file(secret ? secret_path : path, secret, error);
        if (r < 0)
                return r;
        cert = zcert_load(path);
        if (!cert || (secret && !has_secret(cert)))
                return fail(error, -EBADMSG, secret ? secret_path : path, "is no certificate of czmq");
        *out = AK_STEAL(cert);
        return 0;
}

const char *ak_bus_key_role(zcert_t *cert)
{
        const char *role = zcert_meta(cert, "role");

        return role ? role : "";
}

static int save(zcert_t *cert, const char *path, const char *secret_path, char error[AK_BUS_KEY_ERROR_SIZE])
{
        int r = 0;

        if (zcert_save(cert, path) != 0)
                r = fail(error, -EIO, path, "cannot be written");
        else if (chmod(secret_path, 0600) < 0)
                r = fail(error, -errno, secret_path, strerror(errno));
        if (r < 0) {
                (void)unlink(path);
                (void)unlink(secret_path);
        }
        return r;
}

int ak_bus_key_generate(const char *dir, const char *name, const char *role,
                        char error[AK_BUS_KEY_ERROR_SIZE])
{
        AK_CLEANUP(ak_zcert_freep) zcert_t *cert = NULL;
        char path[PATH_MAX], secret_path[PATH_MAX], made[AK_RFC3339_SIZE];
        int r = ak_bus_keys_make(dir, error);

        if (r < 0)
                return r;
        if (!ak_bus_name_valid(name) || !ak_bus_name_valid(role))
                return fail(error, -EINVAL, name, "names and roles are of a-z, 0-9 and -, 63 at most");
        if (make_path(path, dir, name, AK_BUS_KEY_SUFFIX) < 0 ||
            make_path(secret_path, dir, name, AK_BUS_KEY_SECRET) < 0)
                return fail(error, -ENAMETOOLONG, dir, "too long a path");
        if (access(path, F_OK) == 0 || access(secret_path, F_OK) == 0)
                return fail(error, -EEXIST, path,
                            "is there already; remove it first with `alkaidctl keys remove`");
        cert = zcert_new();
        if (!cert)
                return fail(error, -ENOMEM, dir, "no key could be made");
        ak_rfc3339_format(ak_clock_realtime_us(), false, made);
        zcert_set_meta(cert, "name", "%s", name);
        zcert_set_meta(cert, "role", "%s", role);
        zcert_set_meta(cert, "made", "%s", made);
        return save(cert, path, secret_path, error);
}

int ak_bus_key_remove(const char *dir, const char *name, char error[AK_BUS_KEY_ERROR_SIZE])
{
        static const char *const suffixes[] = {AK_BUS_KEY_SUFFIX, AK_BUS_KEY_SECRET};
        int r = ak_bus_keys_check(dir, error);
        char path[PATH_MAX];
        bool removed = false;

        if (r < 0)
                return r;
        if (!ak_bus_name_valid(name))
                return fail(error, -EINVAL, name, "a name is of a-z, 0-9 and -, 63 at most");
        for (size_t i = 0; i < AK_ARRAY_SIZE(suffixes); i++) {
                if (make_path(path, dir, name, suffixes[i]) < 0)
                        return fail(error, -ENAMETOOLONG, dir, "too long a path");
                if (unlink(path) == 0)
                        removed = true;
                else if (errno != ENOENT)
                        return fail(error, -errno, path, strerror(errno));
        }
        return removed ? 0 : fail(error, -ENOENT, path, "there is no such certificate");
}
