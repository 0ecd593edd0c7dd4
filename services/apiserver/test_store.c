/* SPDX-License-Identifier: Apache-2.0 */
/* One suite for every store; what is special to a file is in test_server_crash.c. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "services/apiserver/store.h"

struct fixture {
        struct api_store *store;
        char dir[64]; /* "" = in memory */
        char seen[1024];
};

static int open_sqlite(struct fixture *f)
{
        char error[API_STORE_ERROR_SIZE];

        return api_store_sqlite_open(&f->store, f->dir, error);
}

static int setup_sqlite(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/alkaid-store-test-XXXXXX");
        *state = f;
        return mkdtemp(f->dir) ? open_sqlite(f) : -1;
}

static int setup_fake(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        *state = f;
        return api_store_fake_new(&f->store, 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        (void)f->store->ops->free(f->store);
        if (f->dir[0])
                (void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        free(f);
        return 0;
}

static int see(void *arg, const struct api_store_record *r)
{
        struct fixture *f = arg;
        size_t used = strlen(f->seen);

        (void)snprintf(f->seen + used, sizeof(f->seen) - used, "%s/%s/%s/%s@%llu=%.*s;", r->group, r->kind,
                       r->name_space, r->name, (unsigned long long)r->resource_version, (int)r->json_len,
                       r->json);
        return 0;
}

static int refuse(void *arg, const struct api_store_record *r)
{
        (void)arg;
        (void)r;
        return -EBADMSG;
}

static const char *content(struct fixture *f, uint64_t *version)
{
        f->seen[0] = '\0';
        assert_int_equal(f->store->ops->load(f->store, see, f, version), 0);
        return f->seen;
}

static void commit(struct fixture *f, const struct api_store_record *records, size_t count, uint64_t version)
{
        assert_int_equal(f->store->ops->commit(f->store, records, count, version), 0);
}

static void test_empty(void **state)
{
        uint64_t version = 99;

        assert_string_equal(content(*state, &version), "");
        assert_int_equal(version, 0);
}

static void test_put_replace_delete(void **state)
{
        const struct api_store_record first[] = {{"", "Pod", "ns", "a", 1, "{1}", 3},
                                                 {"g", "Port", "ns", "p", 2, "{2}", 3}};
        const struct api_store_record second[] = {{"", "Pod", "ns", "a", 3, "{33}", 4},
                                                  {"g", "Port", "ns", "p", 4, NULL, 0}};
        const struct api_store_record both[] = {{"", "Pod", "ns", "b", 5, "{5}", 3},
                                                {"", "Pod", "ns", "b", 6, NULL, 0}};
        uint64_t version = 0;

        commit(*state, first, 2, 2);
        assert_non_null(strstr(content(*state, &version), "/Pod/ns/a@1={1};"));
        assert_non_null(strstr(content(*state, &version), "g/Port/ns/p@2={2};"));
        assert_int_equal(version, 2);
        commit(*state, second, 2, 4);
        assert_string_equal(content(*state, &version), "/Pod/ns/a@3={33};");
        assert_int_equal(version, 4);
        commit(*state, both, 2, 6);
        assert_string_equal(content(*state, &version), "/Pod/ns/a@3={33};");
        assert_int_equal(version, 6);
}

static void test_each_ends_load(void **state)
{
        const struct api_store_record record = {"", "Pod", "ns", "a", 1, "{1}", 3};
        struct fixture *f = *state;
        uint64_t version = 7;

        commit(f, &record, 1, 1);
        assert_int_equal(f->store->ops->load(f->store, refuse, f, &version), -EBADMSG);
        assert_int_equal(version, 7);
        assert_true(*f->store->ops->error(f->store));
}

/* Keys that need quoting, text beyond ASCII, a large object. */
static void test_odd_content(void **state)
{
        struct api_store_record record = {
            "", "Pod", "n'; DROP TABLE object; --", "\xc3\xa9", 1, "{\"\xc3\xa9\": 1}", 9};
        char *big = malloc(1 << 20);
        uint64_t version;

        commit(*state, &record, 1, 1);
        assert_string_equal(content(*state, &version),
                            "/Pod/n'; DROP TABLE object; --/\xc3\xa9@1={\"\xc3\xa9\": 1};");
        memset(big, 'x', 1 << 20);
        record.json = big;
        record.json_len = 1 << 20;
        record.name = "big";
        commit(*state, &record, 1, 2);
        (void)content(*state, &version);
        assert_int_equal(version, 2);
        free(big);
}

static void test_fails_as_told(void **state)
{
        const struct api_store_record record = {"", "Pod", "ns", "a", 1, "{1}", 3};
        struct api_store *store = NULL;
        uint64_t version;
        struct fixture *f = *state;

        assert_int_equal(api_store_fake_new(&store, 2), 0);
        assert_int_equal(store->ops->commit(store, &record, 1, 1), 0);
        assert_int_equal(store->ops->commit(store, &record, 1, 2), -ENOSPC);
        assert_int_equal(store->ops->load(store, see, f, &version), 0);
        assert_int_equal(version, 1);
        (void)store->ops->free(store);
}

static void test_reopen(void **state)
{
        const struct api_store_record record = {"", "Pod", "ns", "a", 1, "{1}", 3};
        struct fixture *f = *state;
        struct api_store *second = NULL;
        char error[API_STORE_ERROR_SIZE] = "";
        struct stat st;
        char path[100];
        uint64_t version;

        commit(f, &record, 1, 8);
        assert_int_equal(api_store_sqlite_open(&second, f->dir, error), -EBUSY);
        assert_non_null(strstr(error, "held by another"));
        (void)f->store->ops->free(f->store);
        assert_int_equal(open_sqlite(f), 0);
        assert_string_equal(content(f, &version), "/Pod/ns/a@1={1};");
        assert_int_equal(version, 8);
        (void)snprintf(path, sizeof(path), "%s/store.db", f->dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(api_store_sqlite_open(&second, "/nonexistent", error), -ENOENT);
}

int main(void)
{
#define BOTH(test)                                                                                           \
        cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown),                                       \
            cmocka_unit_test_setup_teardown(test, setup_fake, teardown)
        const struct CMUnitTest tests[] = {
            BOTH(test_empty),
            BOTH(test_put_replace_delete),
            BOTH(test_each_ends_load),
            BOTH(test_odd_content),
            cmocka_unit_test_setup_teardown(test_fails_as_told, setup_fake, teardown),
            cmocka_unit_test_setup_teardown(test_reopen, setup_sqlite, teardown),
        };

        return cmocka_run_group_tests_name("apiserver_store", tests, NULL, NULL);
}
