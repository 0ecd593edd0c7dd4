/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup and restore of the apiserver's store. A backup is a SQLite database, made with SQLite's own online
 * backup: the state of one moment, while the server writes. A restore goes through a second file that is
 * checked and on the disk before it takes the store's place; it needs the store's lock, so no server runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"

struct config {
        char *state_dir;
};

static const struct ak_option options[] = {
    {.name = "state-dir",
     .type = AK_OPT_STRING,
     .offset = offsetof(struct config, state_dir),
     .def = "/var/lib/alkaid/apiserver",
     .help = "state directory of the apiserver"},
};
static const struct ak_program backup_program = {"alkaidctl backup",
                                                 "Writes what the apiserver stores to a file, while it runs.",
                                                 "FILE", options, AK_ARRAY_SIZE(options)};
static const struct ak_program restore_program = {
    "alkaidctl restore", "Puts a backup in the place of the apiserver's store. The apiserver must not run.",
    "FILE", options, AK_ARRAY_SIZE(options)};

static void closep(sqlite3 **db)
{
        (void)sqlite3_close(*db);
}

static int open_database(const char *path, int flags, sqlite3 **out)
{
        if (sqlite3_open_v2(path, out, flags, NULL) == SQLITE_OK) {
                (void)sqlite3_busy_timeout(*out, 10000);
                return CTL_OK;
        }
        return ctl_fail(CTL_FAILED, "backup", "%s: %s", path, sqlite3_errmsg(*out));
}

/* Is it whole, and a store of ours? */
static int check(sqlite3 *db, const char *path)
{
        sqlite3_stmt *s = NULL;
        bool good = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK &&
                    sqlite3_step(s) == SQLITE_ROW &&
                    strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;

        (void)sqlite3_finalize(s);
        if (good && sqlite3_exec(db, "SELECT count(*) FROM object", NULL, NULL, NULL) == SQLITE_OK)
                return CTL_OK;
        return ctl_fail(CTL_FAILED, "backup", "%s: is damaged, or is no store of an apiserver", path);
}

static int copy_pages(sqlite3 *from, sqlite3 *to, const char *path)
{
        sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
        int rc = b ? sqlite3_backup_step(b, -1) : SQLITE_ERROR;

        if (b)
                (void)sqlite3_backup_finish(b);
        if (rc != SQLITE_DONE)
                return ctl_fail(CTL_FAILED, "backup", "%s: %s", path, sqlite3_errstr(rc));
        /* One file, that needs no second one beside it to be read. */
        rc = sqlite3_exec(to, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
        return rc == SQLITE_OK ? CTL_OK : ctl_fail(CTL_FAILED, "backup", "%s: %s", path, sqlite3_errstr(rc));
}

/* Makes `path`, which must not exist, mode 0600. */
static int copy_to(const char *source, const char *path)
{
        AK_CLEANUP(closep) sqlite3 *from = NULL;
        AK_CLEANUP(closep) sqlite3 *to = NULL;
        AK_AUTOCLOSE int fd = -1;
        int code = open_database(source, SQLITE_OPEN_READWRITE, &from);

        if (code != CTL_OK)
                return code;
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return ctl_fail(CTL_FAILED, "backup", "%s: %s", path, strerror(errno));
        code = open_database(path, SQLITE_OPEN_READWRITE, &to);
        if (code == CTL_OK)
                code = copy_pages(from, to, path);
        if (code == CTL_OK)
                code = check(to, path);
        if (code == CTL_OK && fsync(fd) < 0)
                code = ctl_fail(CTL_FAILED, "backup", "%s: %s", path, strerror(errno));
        if (code != CTL_OK)
                (void)unlink(path);
        return code;
}

static int run_backup(const struct config *config, const char *file)
{
        char store[PATH_MAX];

        (void)snprintf(store, sizeof(store), "%s/store.db", config->state_dir);
        return copy_to(store, file);
}

static int lock_store(const char *dir, int *out)
{
        char path[PATH_MAX];
        struct stat st;
        AK_AUTOCLOSE int fd = -1;

        (void)snprintf(path, sizeof(path), "%s/store.lock", dir);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return ctl_fail(CTL_FAILED, "restore", "%s: %s", path, strerror(errno));
        if (stat(dir, &st) == 0 && geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
                return ctl_fail(CTL_FAILED, "restore", "%s: %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return ctl_fail(CTL_FAILED, "restore", "an apiserver uses %s; stop it first", dir);
        *out = fd;
        fd = -1;
        return CTL_OK;
}

static int put_in_place(const struct config *config, const char *fresh)
{
        static const char *const parts[] = {"store.db-wal", "store.db-shm"};
        char store[PATH_MAX], path[PATH_MAX];
        struct stat st;

        (void)snprintf(store, sizeof(store), "%s/store.db", config->state_dir);
        if (stat(config->state_dir, &st) < 0 || chown(fresh, st.st_uid, st.st_gid) < 0)
                return ctl_fail(CTL_FAILED, "restore", "%s: %s", fresh, strerror(errno));
        for (size_t i = 0; i < AK_ARRAY_SIZE(parts); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", config->state_dir, parts[i]);
                if (unlink(path) < 0 && errno != ENOENT)
                        return ctl_fail(CTL_FAILED, "restore", "%s: %s", path, strerror(errno));
        }
        AK_AUTOCLOSE int dir = open(config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (rename(fresh, store) < 0 || dir < 0 || fsync(dir) < 0)
                return ctl_fail(CTL_FAILED, "restore", "%s: %s", store, strerror(errno));
        return CTL_OK;
}

static int run_restore(const struct config *config, const char *file)
{
        char fresh[PATH_MAX];
        AK_AUTOCLOSE int lock = -1;
        int code = lock_store(config->state_dir, &lock);

        if (code != CTL_OK)
                return code;
        (void)snprintf(fresh, sizeof(fresh), "%s/store.restore", config->state_dir);
        if (unlink(fresh) < 0 && errno != ENOENT)
                return ctl_fail(CTL_FAILED, "restore", "%s: %s", fresh, strerror(errno));
        code = copy_to(file, fresh);
        return code == CTL_OK ? put_in_place(config, fresh) : code;
}

static int run(const struct ak_program *program, int argc, char **argv,
               int (*work)(const struct config *config, const char *file))
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0 && argc - first != 1)
                code = ctl_fail(CTL_USAGE, argv[0], "usage: %s [OPTION]... FILE", program->name);
        else if (r == 0)
                code = work(&config, argv[first]);
        ak_options_deinit(program, &config);
        return code;
}

int ctl_backup_main(int argc, char **argv)
{
        return run(&backup_program, argc, argv, run_backup);
}

int ctl_restore_main(int argc, char **argv)
{
        return run(&restore_program, argc, argv, run_restore);
}
