/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/ovsdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/clock.h"

#define CALL_TIMEOUT_US (UINT64_C(10) * 1000 * 1000)
#define MESSAGE_MAX     (16 << 20) /* bytes of one message of the server */

struct ovsdb {
        char *remote, *database;
        struct sockaddr_storage address;
        socklen_t address_len;
        pthread_mutex_t call; /* one transaction at a time */
        pthread_mutex_t lock; /* what follows */
        pthread_cond_t news;
        int fd; /* -1 = not connected */
        pthread_t reader;
        bool reading; /* the reader is to be joined */
        uint64_t next_id, waiting_id;
        json_t *reply; /* to waiting_id */
        void (*on_gone)(void *arg, const char *table, const json_t *row);
        void *arg;
        json_t *tables; /* monitored: table -> {uuid -> row} */
};

/* ------------------------------------------------------------------ address */

static int parse_tcp(const char *text, struct ovsdb *db)
{
        struct sockaddr_in *in = (struct sockaddr_in *)&db->address;
        const char *colon = strchr(text, ':');
        char host[INET_ADDRSTRLEN], *end;
        unsigned long port;

        if (!colon || (size_t)(colon - text) >= sizeof(host))
                return -EINVAL;
        (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
        port = strtoul(colon + 1, &end, 10);
        if (end == colon + 1 || *end != '\0' || port > 65535 || inet_pton(AF_INET, host, &in->sin_addr) != 1)
                return -EINVAL;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        db->address_len = sizeof(*in);
        return 0;
}

static int parse_remote(const char *remote, struct ovsdb *db)
{
        struct sockaddr_un *un = (struct sockaddr_un *)&db->address;

        if (strncmp(remote, "tcp:", 4) == 0)
                return parse_tcp(remote + 4, db);
        if (strncmp(remote, "unix:", 5) != 0 || strlen(remote + 5) >= sizeof(un->sun_path) ||
            remote[5] == '\0')
                return -EINVAL;
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof(un->sun_path), "%s", remote + 5);
        db->address_len = sizeof(*un);
        return 0;
}

/* ------------------------------------------------------------------ sending */

/* Under the lock. */
static int send_message(struct ovsdb *db, json_t *message)
{
        AK_AUTOFREE char *text = json_dumps(message, JSON_COMPACT);

        if (!text || db->fd < 0)
                return text ? -ENOTCONN : -ENOMEM;
        for (size_t sent = 0, len = strlen(text); sent < len;) {
                ssize_t n = send(db->fd, text + sent, len - sent, MSG_NOSIGNAL);

                if (n < 0 && errno != EINTR)
                        return -errno;
                sent += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

/* ------------------------------------------------------------------ what the server sends */

static void take_row(struct ovsdb *db, const char *table, json_t *rows, const char *uuid, json_t *change)
{
        json_t *row = json_object_get(change, "new"), *old = json_object_get(rows, uuid);

        if (json_is_object(row)) {
                (void)json_object_set(rows, uuid, row);
                return;
        }
        json_incref(old);
        (void)json_object_del(rows, uuid);
        if (old && db->on_gone)
                db->on_gone(db->arg, table, old);
        json_decref(old);
}

/* RFC 7047, 4.1.6: {table: {uuid: {old, new}}}. */
static void take_updates(struct ovsdb *db, json_t *updates)
{
        const char *table, *uuid;
        json_t *changes, *change;

        json_object_foreach(updates, table, changes)
        {
                json_t *rows = json_object_get(db->tables, table);

                if (!rows) {
                        rows = json_object();
                        (void)json_object_set_new(db->tables, table, rows);
                }
                json_object_foreach(changes, uuid, change)
                {
                        take_row(db, table, rows, uuid, change);
                }
        }
}

static void take_message(struct ovsdb *db, json_t *message)
{
        const char *method = json_string_value(json_object_get(message, "method"));
        json_t *params = json_object_get(message, "params"), *id = json_object_get(message, "id");

        if (method && strcmp(method, "echo") == 0) {
                json_auto_t *answer = json_pack("{s:O, s:n, s:O}", "result", params, "error", "id", id);

                (void)send_message(db, answer);
        } else if (method && strcmp(method, "update") == 0) {
                take_updates(db, json_array_get(params, 1));
        } else if (!method && (uint64_t)json_integer_value(id) == db->waiting_id && db->waiting_id != 0) {
                json_decref(db->reply);
                db->reply = json_incref(message);
        }
        pthread_cond_broadcast(&db->news);
}

/* Messages follow each other without a mark between: the end is where the braces close. */
struct framer {
        char *text;
        size_t len, capacity, scanned;
        int depth;
        bool in_string, escaped;
};

/* Length of the first whole message; 0 = not there yet. */
static size_t scan(struct framer *f)
{
        for (; f->scanned < f->len; f->scanned++) {
                char c = f->text[f->scanned];

                if (f->in_string) {
                        f->in_string = f->escaped || c != '"';
                        f->escaped = !f->escaped && c == '\\';
                } else if (c == '"') {
                        f->in_string = true;
                } else if (c == '{') {
                        f->depth++;
                } else if (c == '}' && --f->depth == 0) {
                        return ++f->scanned;
                }
        }
        return 0;
}

static int take_bytes(struct ovsdb *db, struct framer *f)
{
        size_t len;

        while ((len = scan(f)) > 0) {
                json_auto_t *message = json_loadb(f->text, len, 0, NULL);

                if (!message)
                        return -EBADMSG;
                pthread_mutex_lock(&db->lock);
                take_message(db, message);
                pthread_mutex_unlock(&db->lock);
                memmove(f->text, f->text + len, f->len - len);
                f->len -= len;
                f->scanned = 0;
        }
        return 0;
}

static int receive(int fd, struct framer *f)
{
        if (f->len + 65536 > f->capacity) {
                char *text = f->capacity < MESSAGE_MAX ? realloc(f->text, f->capacity + 262144) : NULL;

                if (!text)
                        return -EMSGSIZE;
                f->text = text;
                f->capacity += 262144;
        }
        ssize_t n = recv(fd, f->text + f->len, 65536, 0);
        if (n <= 0)
                return n == 0 ? -ECONNRESET : -errno;
        f->len += (size_t)n;
        return 0;
}

static void *read_all(void *arg)
{
        struct ovsdb *db = arg;
        struct framer f = {0};
        int fd = db->fd, r = 0;

        while (r == 0 || r == -EINTR) {
                r = receive(fd, &f);
                if (r == 0)
                        r = take_bytes(db, &f);
        }
        free(f.text);
        pthread_mutex_lock(&db->lock);
        (void)close(fd);
        db->fd = -1;
        pthread_cond_broadcast(&db->news);
        pthread_mutex_unlock(&db->lock);
        return NULL;
}

/* ------------------------------------------------------------------ calls */

/* Under the lock. Waits for news until then. */
static bool wait_news(struct ovsdb *db, uint64_t end_us)
{
        struct timespec at = {.tv_sec = (time_t)(end_us / 1000000),
                              .tv_nsec = (long)(end_us % 1000000) * 1000};

        return pthread_cond_timedwait(&db->news, &db->lock, &at) == 0;
}

/* Under the lock; params stolen. *result: new reference. */
static int call(struct ovsdb *db, const char *method, json_t *params, json_t **result,
                struct net_error *error)
{
        uint64_t end_us = ak_clock_monotonic_us() + CALL_TIMEOUT_US;

        db->waiting_id = ++db->next_id;
        json_auto_t *request = json_pack("{s:s, s:o, s:I}", "method", method, "params", params, "id",
                                         (json_int_t)db->waiting_id);
        int r = request ? send_message(db, request) : -ENOMEM;
        while (r == 0 && !db->reply) {
                if (db->fd < 0)
                        r = -ECONNRESET;
                else if (!wait_news(db, end_us))
                        r = -ETIMEDOUT;
        }
        json_auto_t *reply = AK_STEAL(db->reply);
        db->waiting_id = 0;
        if (r < 0) {
                net_error_set(error, "OVSDBFailed", "%s: %s: %s", db->remote, method, strerror(-r));
                return r;
        }
        json_t *fault = json_object_get(reply, "error");
        if (fault && !json_is_null(fault)) {
                AK_AUTOFREE char *words = json_dumps(fault, JSON_ENCODE_ANY);

                net_error_set(error, "OVSDBFailed", "%s: %s: %.300s", db->remote, method, words ? words : "");
                return -EPROTO;
        }
        *result = json_incref(json_object_get(reply, "result"));
        return 0;
}

/* Under the lock. All that is waited for, in one monitor. */
static int start_monitor(struct ovsdb *db, struct net_error *error)
{
        json_t *result = NULL;

        json_decref(db->tables);
        db->tables = json_object();
        if (strcmp(db->database, "OVN_Northbound") != 0)
                return 0;
        int r = call(db, "monitor",
                     json_pack("[s, n, {s:[{s:[s, s]}], s:[{s:[s]}]}]", db->database, "Logical_Switch_Port",
                               "columns", "name", "up", "Logical_Switch", "columns", "name"),
                     &result, error);
        if (r == 0)
                take_updates(db, result);
        json_decref(result);
        return r;
}

/* Under the lock. */
static int connect_now(struct ovsdb *db, struct net_error *error)
{
        if (db->fd >= 0)
                return 0;
        if (db->reading) {
                pthread_mutex_unlock(&db->lock); /* it needs the lock to end */
                pthread_join(db->reader, NULL);
                pthread_mutex_lock(&db->lock);
                db->reading = false;
        }
        int fd = socket(db->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&db->address, db->address_len) < 0) {
                int r = -errno;

                if (fd >= 0)
                        (void)close(fd);
                net_error_set(error, "OVSDBFailed", "%s: %s; is the server there?", db->remote, strerror(-r));
                return r;
        }
        db->fd = fd;
        int r = -pthread_create(&db->reader, NULL, read_all, db);
        if (r < 0) {
                (void)close(fd);
                db->fd = -1;
                return r;
        }
        db->reading = true;
        return start_monitor(db, error);
}

/* The first operation that failed, in words. */
static int look_for_faults(struct ovsdb *db, const json_t *results, struct net_error *error)
{
        json_t *result;
        size_t i;

        json_array_foreach((json_t *)results, i, result)
        {
                const char *fault = json_string_value(json_object_get(result, "error"));
                const char *details = json_string_value(json_object_get(result, "details"));

                if (!fault)
                        continue;
                net_error_set(error, "OVSDBFailed", "%s: operation %zu: %.60s: %.300s", db->remote, i, fault,
                              details ? details : "");
                return strcmp(fault, "timed out") == 0 ? -EAGAIN : -EPROTO;
        }
        return 0;
}

int ovsdb_transact(struct ovsdb *db, json_t *operations, json_t **results, struct net_error *error)
{
        json_t *params = operations ? json_pack("[s]", db->database) : NULL;
        json_auto_t *answer = NULL;
        int r = params && json_array_extend(params, operations) == 0 ? 0 : -ENOMEM;

        json_decref(operations);
        pthread_mutex_lock(&db->call);
        pthread_mutex_lock(&db->lock);
        if (r == 0)
                r = connect_now(db, error);
        if (r == 0)
                r = call(db, "transact", AK_STEAL(params), &answer, error);
        pthread_mutex_unlock(&db->lock);
        pthread_mutex_unlock(&db->call);
        json_decref(params);
        if (r == 0)
                r = look_for_faults(db, answer, error);
        if (r == 0 && results)
                *results = AK_STEAL(answer);
        return r;
}

/* Under the lock. */
static bool is_true(const struct ovsdb *db, const char *table, const char *key, const char *value,
                    const char *column)
{
        const char *uuid;
        json_t *row;

        json_object_foreach(json_object_get(db->tables, table), uuid, row)
        {
                const char *text = json_string_value(json_object_get(row, key));

                if (text && strcmp(text, value) == 0)
                        return json_is_true(json_object_get(row, column));
        }
        return false;
}

bool ovsdb_knows(struct ovsdb *db, const char *table, const char *key, const char *value)
{
        const char *uuid;
        json_t *row;
        bool known = false;

        pthread_mutex_lock(&db->lock);
        json_object_foreach(json_object_get(db->tables, table), uuid, row)
        {
                const char *text = json_string_value(json_object_get(row, key));

                known |= text && strcmp(text, value) == 0;
        }
        pthread_mutex_unlock(&db->lock);
        return known;
}

int ovsdb_connect(struct ovsdb *db, struct net_error *error)
{
        pthread_mutex_lock(&db->call);
        pthread_mutex_lock(&db->lock);
        int r = connect_now(db, error);
        pthread_mutex_unlock(&db->lock);
        pthread_mutex_unlock(&db->call);
        return r;
}

void ovsdb_on_gone(struct ovsdb *db, void (*fn)(void *arg, const char *table, const json_t *row), void *arg)
{
        db->on_gone = fn;
        db->arg = arg;
}

int ovsdb_wait_true(struct ovsdb *db, const char *table, const char *key, const char *value,
                    const char *column, int timeout_ms, struct net_error *error)
{
        uint64_t end_us = ak_clock_monotonic_us() + (uint64_t)timeout_ms * 1000;

        pthread_mutex_lock(&db->lock);
        int r = db->fd < 0 ? -ENOTCONN : 0;
        while (r == 0 && !is_true(db, table, key, value, column)) {
                if (db->fd < 0)
                        r = -ECONNRESET;
                else if (!wait_news(db, end_us))
                        r = -ETIMEDOUT;
        }
        pthread_mutex_unlock(&db->lock);
        if (r < 0)
                net_error_set(error, "OVSDBFailed", "%s: %s %.60s is not %s: %s", db->remote, table, value,
                              column, strerror(-r));
        return r;
}

/* ------------------------------------------------------------------ life */

static void init_locks(struct ovsdb *db)
{
        pthread_condattr_t attr;

        pthread_mutex_init(&db->call, NULL);
        pthread_mutex_init(&db->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&db->news, &attr);
        pthread_condattr_destroy(&attr);
}

int ovsdb_new(struct ovsdb **out, const char *remote, const char *database)
{
        struct ovsdb *db = calloc(1, sizeof(*db));

        if (!db)
                return -ENOMEM;
        db->fd = -1;
        init_locks(db);
        db->remote = strdup(remote);
        db->database = strdup(database);
        db->tables = json_object();
        int r = db->remote && db->database && db->tables ? parse_remote(remote, db) : -ENOMEM;
        if (r < 0) {
                ovsdb_free(db);
                return r;
        }
        *out = db;
        return 0;
}

struct ovsdb *ovsdb_free(struct ovsdb *db)
{
        if (!db)
                return NULL;
        pthread_mutex_lock(&db->lock);
        if (db->fd >= 0)
                (void)shutdown(db->fd, SHUT_RDWR);
        pthread_mutex_unlock(&db->lock);
        if (db->reading)
                pthread_join(db->reader, NULL);
        json_decref(db->reply);
        json_decref(db->tables);
        pthread_cond_destroy(&db->news);
        pthread_mutex_destroy(&db->lock);
        pthread_mutex_destroy(&db->call);
        free(db->remote);
        free(db->database);
        free(db);
        return NULL;
}

/* ------------------------------------------------------------------ pieces */

json_t *ovsdb_where(const char *column, const char *value)
{
        return json_pack("[[s, s, s]]", column, "==", value);
}

json_t *ovsdb_map(const char *const pairs[])
{
        json_t *list = json_array();

        for (size_t i = 0; pairs[i] && pairs[i + 1]; i += 2)
                (void)json_array_append_new(list, json_pack("[s, s]", pairs[i], pairs[i + 1]));
        return json_pack("[s, o]", "map", list);
}

json_t *ovsdb_set(const char *const values[])
{
        json_t *list = json_array();

        for (size_t i = 0; values[i]; i++)
                (void)json_array_append_new(list, json_string(values[i]));
        return json_pack("[s, o]", "set", list);
}

json_t *ovsdb_named_uuid(const char *name)
{
        return json_pack("[s, s]", "named-uuid", name);
}

json_t *ovsdb_insert(const char *table, const char *uuid_name, json_t *row)
{
        json_t *op = json_pack("{s:s, s:s, s:o}", "op", "insert", "table", table, "row", row);

        if (op && uuid_name)
                (void)json_object_set_new(op, "uuid-name", json_string(uuid_name));
        return op;
}

json_t *ovsdb_mutate(const char *table, json_t *where, const char *column, const char *mutator, json_t *value)
{
        return json_pack("{s:s, s:s, s:o, s:[[s, s, o]]}", "op", "mutate", "table", table, "where", where,
                         "mutations", column, mutator, value);
}

json_t *ovsdb_select(const char *table, json_t *where, const char *const columns[])
{
        json_t *list = json_array();

        for (size_t i = 0; columns[i]; i++)
                (void)json_array_append_new(list, json_string(columns[i]));
        return json_pack("{s:s, s:s, s:o, s:o}", "op", "select", "table", table, "where", where, "columns",
                         list);
}

json_t *ovsdb_delete(const char *table, json_t *where)
{
        return json_pack("{s:s, s:s, s:o}", "op", "delete", "table", table, "where", where);
}

json_t *ovsdb_update(const char *table, json_t *where, json_t *row)
{
        return json_pack("{s:s, s:s, s:o, s:o}", "op", "update", "table", table, "where", where, "row", row);
}

json_t *ovsdb_assert_absent(const char *table, const char *column, const char *value)
{
        return json_pack("{s:s, s:i, s:s, s:o, s:[s], s:s, s:[]}", "op", "wait", "timeout", 0, "table", table,
                         "where", ovsdb_where(column, value), "columns", column, "until", "==", "rows");
}
