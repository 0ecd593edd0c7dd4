/* SPDX-License-Identifier: Apache-2.0 */
/* A store in memory that passes the same tests as the real one, and can be made to fail. */
#include <czmq.h>
#include <errno.h>

#include "services/apiserver/store.h"

struct row {
        char *group, *kind, *name_space, *name, *json;
        uint64_t resource_version;
};

struct fake_store {
        struct api_store base;
        zhashx_t *rows; /* "group|kind|namespace|name" -> struct row */
        uint64_t resource_version;
        unsigned int fail_after, commits;
};

static struct fake_store *store_of(struct api_store *base)
{
        return (struct fake_store *)(void *)base;
}

static void row_destroy(void **item)
{
        struct row *row = *item;

        free(row->group);
        free(row->kind);
        free(row->name_space);
        free(row->name);
        free(row->json);
        free(row);
        *item = NULL;
}

static struct row *row_new(const struct api_store_record *r)
{
        struct row *row = calloc(1, sizeof(*row));

        if (!row)
                return NULL;
        row->group = strdup(r->group);
        row->kind = strdup(r->kind);
        row->name_space = strdup(r->name_space);
        row->name = strdup(r->name);
        row->json = strndup(r->json, r->json_len);
        row->resource_version = r->resource_version;
        return row;
}

static int fake_load(struct api_store *base, api_store_each_fn each, void *arg, uint64_t *resource_version)
{
        struct fake_store *s = store_of(base);

        for (struct row *row = zhashx_first(s->rows); row; row = zhashx_next(s->rows)) {
                struct api_store_record record = {.group = row->group,
                                                  .kind = row->kind,
                                                  .name_space = row->name_space,
                                                  .name = row->name,
                                                  .resource_version = row->resource_version,
                                                  .json = row->json,
                                                  .json_len = strlen(row->json)};
                int rc = each(arg, &record);

                if (rc < 0)
                        return rc;
        }
        *resource_version = s->resource_version;
        return 0;
}

static int apply(struct fake_store *s, const struct api_store_record *r)
{
        char *key = zsys_sprintf("%s|%s|%s|%s", r->group, r->kind, r->name_space, r->name);
        struct row *row = r->json ? row_new(r) : NULL;

        if (key && row)
                zhashx_update(s->rows, key, row);
        else if (key)
                zhashx_delete(s->rows, key);
        zstr_free(&key);
        return r->json && !row ? -ENOMEM : 0;
}

static int fake_commit(struct api_store *base, const struct api_store_record *records, size_t count,
                       uint64_t resource_version)
{
        struct fake_store *s = store_of(base);

        s->commits++;
        if (s->fail_after && s->commits >= s->fail_after)
                return -ENOSPC;
        for (size_t i = 0; i < count; i++) {
                int rc = apply(s, &records[i]);

                if (rc < 0)
                        return rc;
        }
        s->resource_version = resource_version;
        return 0;
}

static const char *fake_error(const struct api_store *base)
{
        (void)base;
        return "the fake store was told to fail";
}

static struct api_store *fake_free(struct api_store *base)
{
        if (base) {
                zhashx_destroy(&store_of(base)->rows);
                free(store_of(base));
        }
        return NULL;
}

static const struct api_store_ops fake_ops = {
    .load = fake_load, .commit = fake_commit, .error = fake_error, .free = fake_free};

int api_store_fake_new(struct api_store **out, unsigned int fail_after)
{
        struct fake_store *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        s->base.ops = &fake_ops;
        s->fail_after = fail_after;
        s->rows = zhashx_new();
        zhashx_set_destructor(s->rows, row_destroy);
        *out = &s->base;
        return 0;
}
