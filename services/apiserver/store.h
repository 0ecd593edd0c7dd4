/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where objects survive a restart: an ops table with an SQLite file behind it, and a store in memory for
 * tests. A store knows nothing of what it keeps: rows of (group, kind, namespace, name) -> JSON text, and one
 * counter.
 *
 * All calls of one store come from one thread at a time (the loop while it starts, the commit actor later);
 * every one of them may block.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"

struct api_store_record {
        const char *group, *kind, *name_space, *name; /* "" = core, cluster-scoped */
        uint64_t resource_version;
        const char *json; /* NULL = the object is deleted */
        size_t json_len;
};

#define API_STORE_ERROR_SIZE 512

/* Called for each object; a negative result ends the load with that result. Strings live during the call. */
typedef int (*api_store_each_fn)(void *arg, const struct api_store_record *record);

struct api_store;

struct api_store_ops {
        /*
         * Every object in no special order, then the counter. Called once, before the first commit.
         * 0, what `each` returned, -EIO, -EBADMSG (the file is damaged).
         */
        int (*load)(struct api_store *store, api_store_each_fn each, void *arg, uint64_t *resource_version);
        /*
         * Makes all records durable, and the counter with them, or none: when 0 is returned, they survive a
         * power failure. Records of one object apply in their order. After a failure the store takes no
         * further commit; the caller stops. 0, -ENOSPC, -EIO, -EBUSY.
         */
        int (*commit)(struct api_store *store, const struct api_store_record *records, size_t count,
                      uint64_t resource_version);
        /* What the last failure was, for a person. */
        const char *(*error)(const struct api_store *store);
        struct api_store *(*free)(struct api_store *store); /* takes NULL; returns NULL */
};

struct api_store {
        const struct api_store_ops *ops;
};

static inline void api_store_freep(struct api_store **store)
{
        if (*store)
                (*store)->ops->free(*store);
}

/*
 * Opens or makes DIR/store.db, mode 0600, and locks DIR/store.lock. 0, -EBUSY (another process has it),
 * -EPROTO (written by a later version), -EBADMSG (damaged or no store of ours), -EACCES, -EIO, -ENOMEM;
 * error says what and what to do.
 */
int api_store_sqlite_open(struct api_store **out, const char *dir, char error[API_STORE_ERROR_SIZE]);

/* Memory only. `fail_after`: the commit with that number (from 1) and later ones fail with -ENOSPC; 0 =
 * never. */
int api_store_fake_new(struct api_store **out, unsigned int fail_after);
