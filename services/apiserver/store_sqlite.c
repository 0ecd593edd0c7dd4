/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store: one SQLite file in WAL mode with synchronous=FULL, so that a transaction that COMMIT
 * answered is on the disk. One table of objects, one of a few settings (schema version, counter).
 *
 * The lock is a flock(2) on a file of its own rather than SQLite's exclusive mode: it says who holds it, it
 * dies with its owner, and the database can still be read or backed up by sqlite3(1) while the server runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "services/apiserver/store.h"

#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x414b4144 /* "AKAD" */

struct sqlite_store {
        struct api_store base;
        sqlite3 *db;
        sqlite3_stmt *put, *del, *counter, *begin, *end;
        int lock_fd;
        char error[API_STORE_ERROR_SIZE];
};

static const char schema_sql[] =
    "CREATE TABLE IF NOT EXISTS object ("
    " api_group TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,"
    " resource_version INTEGER NOT NULL, json TEXT NOT NULL,"
    " PRIMARY KEY (api_group, kind, namespace, name));"
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);"
    "INSERT OR IGNORE INTO meta VALUES ('schema_version', 1), ('resource_version', 0);";

static int errno_of(int rc)
{
        switch (rc & 0xff) {
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_CONSTRAINT:
                return -EBADMSG;
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_READONLY:
                return -EACCES;
        default:
                return -EIO;
        }
}

static int fail(struct sqlite_store *s, int rc, const char *doing)
{
        (void)snprintf(s->error, sizeof(s->error), "%s: %s (SQLite code %d)", doing,
                       s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc),
                       s->db ? sqlite3_extended_errcode(s->db) : rc);
        return errno_of(rc);
}

static struct sqlite_store *store_of(struct api_store *base)
{
        return (struct sqlite_store *)(void *)base;
}

static int exec(struct sqlite_store *s, const char *sql, const char *doing)
{
        int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

        return rc == SQLITE_OK ? 0 : fail(s, rc, doing);
}

/* One number from a query of one row; *out untouched where there is no row. */
static int query_number(struct sqlite_store *s, const char *sql, int64_t *out)
{
        sqlite3_stmt *stmt = NULL;
        int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);

        if (rc == SQLITE_OK)
                rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
                *out = sqlite3_column_int64(stmt, 0);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                (void)fail(s, rc, "reading the store");
        (void)sqlite3_finalize(stmt);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : errno_of(rc);
}

/* ---- load ---- */

static const char *text_of(sqlite3_stmt *stmt, int column)
{
        const char *text = (const char *)sqlite3_column_text(stmt, column);

        return text ? text : "";
}

static int load_row(struct sqlite_store *s, sqlite3_stmt *stmt, api_store_each_fn each, void *arg)
{
        struct api_store_record record = {
            .group = text_of(stmt, 0),
            .kind = text_of(stmt, 1),
            .name_space = text_of(stmt, 2),
            .name = text_of(stmt, 3),
            .resource_version = (uint64_t)sqlite3_column_int64(stmt, 4),
            .json = text_of(stmt, 5),
            .json_len = (size_t)sqlite3_column_bytes(stmt, 5),
        };
        int rc = each(arg, &record);

        if (rc < 0)
                (void)snprintf(s->error, sizeof(s->error), "the stored %s %s/%s could not be taken over",
                               record.kind, record.name_space, record.name);
        return rc;
}

static int sqlite_load(struct api_store *base, api_store_each_fn each, void *arg, uint64_t *resource_version)
{
        struct sqlite_store *s = store_of(base);
        sqlite3_stmt *stmt = NULL;
        int64_t counter = 0;
        int result = 0;
        int rc;

        rc = sqlite3_prepare_v2(s->db,
                                "SELECT api_group, kind, namespace, name, resource_version, json FROM object",
                                -1, &stmt, NULL);
        while (rc == SQLITE_OK || rc == SQLITE_ROW) {
                rc = sqlite3_step(stmt);
                if (rc != SQLITE_ROW)
                        break;
                result = load_row(s, stmt, each, arg);
                if (result < 0)
                        break;
        }
        if (result == 0 && rc != SQLITE_DONE)
                result = fail(s, rc, "loading the objects");
        (void)sqlite3_finalize(stmt);
        if (result == 0)
                result = query_number(s, "SELECT value FROM meta WHERE key = 'resource_version'", &counter);
        if (result == 0)
                *resource_version = (uint64_t)counter;
        return result;
}

/* ---- commit ---- */

static int run(struct sqlite_store *s, sqlite3_stmt *stmt, const char *doing)
{
        int rc = sqlite3_step(stmt);

        if (rc != SQLITE_DONE)
                (void)fail(s, rc, doing);
        (void)sqlite3_reset(stmt);
        (void)sqlite3_clear_bindings(stmt);
        return rc == SQLITE_DONE ? 0 : errno_of(rc);
}

static void bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
        (void)sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
}

static int write_record(struct sqlite_store *s, const struct api_store_record *r)
{
        sqlite3_stmt *stmt = r->json ? s->put : s->del;

        bind_text(stmt, 1, r->group);
        bind_text(stmt, 2, r->kind);
        bind_text(stmt, 3, r->name_space);
        bind_text(stmt, 4, r->name);
        if (!r->json)
                return run(s, stmt, "deleting an object");
        (void)sqlite3_bind_int64(stmt, 5, (sqlite3_int64)r->resource_version);
        (void)sqlite3_bind_text64(stmt, 6, r->json, r->json_len, SQLITE_STATIC, SQLITE_UTF8);
        return run(s, stmt, "writing an object");
}

static int write_batch(struct sqlite_store *s, const struct api_store_record *records, size_t count,
                       uint64_t resource_version)
{
        for (size_t i = 0; i < count; i++) {
                int rc = write_record(s, &records[i]);

                if (rc < 0)
                        return rc;
        }
        (void)sqlite3_bind_int64(s->counter, 1, (sqlite3_int64)resource_version);
        return run(s, s->counter, "writing the counter");
}

static int sqlite_commit(struct api_store *base, const struct api_store_record *records, size_t count,
                         uint64_t resource_version)
{
        struct sqlite_store *s = store_of(base);
        int rc = run(s, s->begin, "beginning a transaction");

        if (rc < 0)
                return rc;
        rc = write_batch(s, records, count, resource_version);
        if (rc == 0)
                rc = run(s, s->end, "committing a transaction");
        if (rc < 0 && !sqlite3_get_autocommit(s->db))
                (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        return rc;
}

/* ---- open and close ---- */

static const char *sqlite_error(const struct api_store *base)
{
        return ((const struct sqlite_store *)(const void *)base)->error;
}

static struct api_store *sqlite_free(struct api_store *base)
{
        struct sqlite_store *s;

        if (!base)
                return NULL;
        s = store_of(base);
        (void)sqlite3_finalize(s->put);
        (void)sqlite3_finalize(s->del);
        (void)sqlite3_finalize(s->counter);
        (void)sqlite3_finalize(s->begin);
        (void)sqlite3_finalize(s->end);
        (void)sqlite3_close(s->db);
        if (s->lock_fd >= 0)
                (void)close(s->lock_fd);
        free(s);
        return NULL;
}

static const struct api_store_ops sqlite_ops = {
    .load = sqlite_load, .commit = sqlite_commit, .error = sqlite_error, .free = sqlite_free};

static int take_lock(struct sqlite_store *s, const char *dir)
{
        char path[PATH_MAX];
        char owner[32] = "";
        ssize_t n;

        if (snprintf(path, sizeof(path), "%s/store.lock", dir) >= (int)sizeof(path))
                return -ENAMETOOLONG;
        s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (s->lock_fd < 0) {
                int saved = errno;

                (void)snprintf(s->error, sizeof(s->error), "cannot open %.300s: %m", path);
                return -saved;
        }
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                n = pread(s->lock_fd, owner, sizeof(owner) - 1, 0);
                (void)snprintf(
                    s->error, sizeof(s->error),
                    "%.300s is held by another alkaid-apiserver (process %s): stop it, or give this one "
                    "another --state-dir",
                    path, n > 0 ? owner : "unknown");
                return -EBUSY;
        }
        n = snprintf(owner, sizeof(owner), "%d", (int)getpid());
        if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, owner, (size_t)n, 0) != n) {
                (void)snprintf(s->error, sizeof(s->error), "cannot write %.300s: %m", path);
                return -EIO;
        }
        return 0;
}

/* The version is checked before anything is written to the file. */
static int check_version(struct sqlite_store *s, const char *path)
{
        int64_t id = 0, version = 0;
        int64_t tables = 0;
        int rc = query_number(s, "PRAGMA application_id", &id);

        if (rc == 0)
                rc = query_number(s, "PRAGMA user_version", &version);
        if (rc == 0)
                rc = query_number(s, "SELECT count(*) FROM sqlite_schema", &tables);
        if (rc < 0)
                return rc;
        if (tables > 0 && id != APPLICATION_ID)
                return -EBADMSG;
        if (version > SCHEMA_VERSION) {
                (void)snprintf(
                    s->error, sizeof(s->error),
                    "%.300s has schema version %lld, this program knows versions up to %d: it was written by "
                    "a later Alkaid; run that one, or restore a backup made before the upgrade",
                    path, (long long)version, SCHEMA_VERSION);
                return -EPROTO;
        }
        return 0;
}

static int prepare(struct sqlite_store *s)
{
        const struct {
                sqlite3_stmt **stmt;
                const char *sql;
        } statements[] = {
            {&s->put, "INSERT INTO object VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET "
                      "resource_version = excluded.resource_version, json = excluded.json"},
            {&s->del,
             "DELETE FROM object WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4"},
            {&s->counter, "UPDATE meta SET value = ?1 WHERE key = 'resource_version'"},
            {&s->begin, "BEGIN IMMEDIATE"},
            {&s->end, "COMMIT"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(statements); i++) {
                int rc = sqlite3_prepare_v3(s->db, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                                            statements[i].stmt, NULL);

                if (rc != SQLITE_OK)
                        return fail(s, rc, "preparing a statement");
        }
        return 0;
}

static int open_database(struct sqlite_store *s, const char *path)
{
        char setup[160];
        int rc = sqlite3_open_v2(path, &s->db,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

        if (rc != SQLITE_OK)
                return fail(s, rc, path);
        (void)sqlite3_extended_result_codes(s->db, 1);
        (void)sqlite3_busy_timeout(s->db, 5000); /* a reader of the file, such as a backup */
        rc = check_version(s, path);
        if (rc == -EBADMSG)
                (void)snprintf(
                    s->error, sizeof(s->error),
                    "%.300s is no Alkaid store: restore a backup, or move the file away to begin empty",
                    path);
        if (rc < 0)
                return rc;
        rc = exec(
            s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216",
            "setting WAL mode");
        if (rc < 0)
                return rc;
        (void)snprintf(setup, sizeof(setup), "PRAGMA application_id = %d; PRAGMA user_version = %d",
                       APPLICATION_ID, SCHEMA_VERSION);
        rc = exec(s, "BEGIN IMMEDIATE", "beginning a transaction");
        if (rc == 0)
                rc = exec(s, setup, "marking the store");
        if (rc == 0)
                rc = exec(s, schema_sql, "making the tables");
        if (rc == 0)
                rc = exec(s, "COMMIT", "making the tables");
        return rc < 0 ? rc : prepare(s);
}

static int quick_check(struct sqlite_store *s, const char *path)
{
        sqlite3_stmt *stmt = NULL;
        bool sound = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &stmt, NULL) == SQLITE_OK &&
                     sqlite3_step(stmt) == SQLITE_ROW && strcmp(text_of(stmt, 0), "ok") == 0;

        if (!sound)
                (void)snprintf(s->error, sizeof(s->error),
                               "%.300s is damaged: restore a backup, or move the file away to begin empty",
                               path);
        (void)sqlite3_finalize(stmt);
        return sound ? 0 : -EBADMSG;
}

static int open_store(struct sqlite_store *s, const char *dir)
{
        char path[PATH_MAX];
        mode_t mask;
        int rc = take_lock(s, dir);

        if (rc < 0)
                return rc;
        if (snprintf(path, sizeof(path), "%s/store.db", dir) >= (int)sizeof(path))
                return -ENAMETOOLONG;
        mask = umask(0077);
        rc = open_database(s, path);
        (void)umask(mask);
        return rc < 0 ? rc : quick_check(s, path);
}

int api_store_sqlite_open(struct api_store **out, const char *dir, char error[API_STORE_ERROR_SIZE])
{
        struct sqlite_store *s = calloc(1, sizeof(*s));
        int rc;

        if (!s)
                return -ENOMEM;
        s->base.ops = &sqlite_ops;
        s->lock_fd = -1;
        rc = open_store(s, dir);
        if (rc < 0) {
                (void)snprintf(error, API_STORE_ERROR_SIZE, "%s", s->error[0] ? s->error : strerror(-rc));
                (void)sqlite_free(&s->base);
                return rc;
        }
        *out = &s->base;
        return 0;
}
