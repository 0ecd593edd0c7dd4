/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one OVSDB server (RFC 7047): JSON-RPC over one connection, transactions one at a time, and
 * monitors whose updates wake whoever waits for a row to become so: nothing is polled.
 *
 * Thread-safe. A reader thread takes what the server sends. A connection that ended is made anew by the next
 * call, monitors included; a transaction under way then returns -ECONNRESET, and the caller, who writes
 * idempotent transactions, may run it again.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "services/network/spec.h"

struct ovsdb;

/* remote: "unix:/path" or "tcp:1.2.3.4:6641" (names are not resolved). Does not connect yet. -EINVAL. */
int ovsdb_new(struct ovsdb **out, const char *remote, const char *database);
struct ovsdb *ovsdb_free(struct ovsdb *db);
/* Before the first call: fn hears, on the reader's thread, of each monitored row that is deleted. */
void ovsdb_on_gone(struct ovsdb *db, void (*fn)(void *arg, const char *table, const json_t *row), void *arg);
/* Connects if need be, so that monitors run. */
int ovsdb_connect(struct ovsdb *db, struct net_error *error);
/* Whether a monitored table has a row whose `key` column is `value`. */
bool ovsdb_knows(struct ovsdb *db, const char *table, const char *key, const char *value);

/*
 * Runs a transaction. `operations` (stolen) is an array; *results (new reference, may be NULL) gets the array
 * of results. -ECONNREFUSED and the like; -ETIMEDOUT; -EAGAIN: a "wait" operation did not hold; -EPROTO: the
 * server refused, its words are in *error.
 */
int ovsdb_transact(struct ovsdb *db, json_t *operations, json_t **results, struct net_error *error);

/*
 * Waits until the row of `table` whose `key` column is `value` has true in its boolean column `column`.
 * 0; -ETIMEDOUT; a connection's error.
 */
int ovsdb_wait_true(struct ovsdb *db, const char *table, const char *key, const char *value,
                    const char *column, int timeout_ms, struct net_error *error);

/* ---- pieces of transactions: new references ---- */

json_t *ovsdb_where(const char *column, const char *value); /* [[column, "==", value]] */
json_t *ovsdb_map(const char *const pairs[]);               /* ["map", [[k, v], …]], NULL-terminated */
json_t *ovsdb_set(const char *const values[]);              /* ["set", [v, …]] */
json_t *ovsdb_named_uuid(const char *name);                 /* ["named-uuid", name] */
json_t *ovsdb_insert(const char *table, const char *uuid_name,
                     json_t *row); /* uuid_name may be NULL; row stolen */
/* Adds to or takes from a set column of the rows that `where` (stolen) finds; value stolen. */
json_t *ovsdb_mutate(const char *table, json_t *where, const char *column, const char *mutator,
                     json_t *value);
json_t *ovsdb_select(const char *table, json_t *where, const char *const columns[]);
json_t *ovsdb_delete(const char *table, json_t *where);
json_t *ovsdb_update(const char *table, json_t *where, json_t *row);
/* The transaction holds only while no row is so (absent) or one is (present). where stolen. */
json_t *ovsdb_assert_absent(const char *table, const char *column, const char *value);
