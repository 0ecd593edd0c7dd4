/* SPDX-License-Identifier: Apache-2.0 */
/* What of the image cache is thrown away, and what is not. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/hypervisor/image_cache.h"

#define NOW   1700000000
#define SIZE  1000
#define HOUR  UINT64_C(3600)
#define US(s) ((uint64_t)(s)*1000 * 1000)

static char dir[32], images[64], vms[64];
static struct hv_image_store store;

static int setup(void **state)
{
        (void)state;
        (void)snprintf(dir, sizeof(dir), "/tmp/akcache-XXXXXX");
        assert_non_null(mkdtemp(dir));
        (void)snprintf(images, sizeof(images), "%s/images", dir);
        (void)snprintf(vms, sizeof(vms), "%s/vms", dir);
        assert_int_equal(mkdir(images, 0755), 0);
        store = (struct hv_image_store){.dir = images, .vms_dir = vms, .cache_keep_us = US(600)};
        return 0;
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
        (void)state;
        return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The n-th image is called so. */
static const char *path_of(unsigned n)
{
        static char path[256];

        (void)snprintf(path, sizeof(path), "%s/sha256-%064x.img", images, n);
        return path;
}

static void set_used(const char *path, uint64_t ago_s)
{
        struct timespec times[2] = {{.tv_sec = NOW - (time_t)ago_s}, {.tv_sec = NOW - (time_t)ago_s}};

        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void make_file(const char *path, size_t size, uint64_t ago_s)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        (void)close(fd);
        set_used(path, ago_s);
}

static void make_image(unsigned n, uint64_t ago_s)
{
        make_file(path_of(n), SIZE, ago_s);
}

static void make_vm(const char *uid, const char *link, unsigned n)
{
        char path[256];

        (void)mkdir(vms, 0711);
        (void)snprintf(path, sizeof(path), "%s/%s", vms, uid);
        assert_int_equal(mkdir(path, 0711), 0);
        (void)snprintf(path, sizeof(path), "%s/%s/%s", vms, uid, link);
        assert_int_equal(symlink(path_of(n), path), 0);
}

static bool there(unsigned n)
{
        return access(path_of(n), F_OK) == 0;
}

static struct hv_image_usage collect(void)
{
        struct hv_image_usage usage;

        assert_int_equal(hv_image_collect(&store, NOW, &usage), 0);
        return usage;
}

static void test_without_limits_all_stays(void **state)
{
        struct hv_image_usage usage;

        (void)state;
        make_image(1, 9000 * HOUR);
        make_image(2, 1);
        usage = collect();
        assert_int_equal(usage.images, 2);
        assert_int_equal(usage.bytes, 2 * SIZE);
        assert_int_equal(usage.in_use_bytes, 0);
        assert_int_equal(usage.removed, 0);
}

static void test_the_longest_unused_go_until_it_fits(void **state)
{
        struct hv_image_usage usage;

        (void)state;
        for (unsigned n = 1; n <= 4; n++)
                make_image(n, n * HOUR);
        store.cache_max_bytes = 2 * SIZE;
        usage = collect();
        assert_true(there(1) && there(2));
        assert_false(there(3) || there(4));
        assert_int_equal(usage.removed, 2);
        assert_int_equal(usage.bytes, 2 * SIZE);
        assert_int_equal(collect().removed, 0);
}

static void test_age(void **state)
{
        (void)state;
        make_image(1, 23 * HOUR);
        make_image(2, 24 * HOUR);
        store.cache_max_age_us = US(24 * HOUR);
        assert_int_equal(collect().removed, 1);
        assert_true(there(1));
        assert_false(there(2));
}

static void test_what_a_vm_uses_stays(void **state)
{
        struct hv_image_usage usage;

        (void)state;
        make_image(1, 100 * HOUR);
        make_image(2, 100 * HOUR);
        make_image(3, 100 * HOUR);
        make_vm("a", "base.qcow2", 1);
        make_vm("b", "base.raw", 2);
        make_vm("c", "base.raw", 2);
        store.cache_max_bytes = 1;
        store.cache_max_age_us = 1;
        usage = collect();
        assert_true(there(1) && there(2));
        assert_false(there(3));
        assert_int_equal(usage.in_use_bytes, 2 * SIZE);
        assert_int_equal(usage.bytes, 2 * SIZE);
}

/* Its age counts from the last look that found it in use. */
static void test_the_age_begins_when_the_vm_goes(void **state)
{
        char path[256];
        struct stat st;

        (void)state;
        make_image(1, 100 * HOUR);
        make_vm("a", "base.qcow2", 1);
        store.cache_max_age_us = US(24 * HOUR);
        (void)collect();
        assert_int_equal(stat(path_of(1), &st), 0);
        assert_true(st.st_mtim.tv_sec > NOW); /* the real time */
        (void)snprintf(path, sizeof(path), "%s/a/base.qcow2", vms);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(collect().removed, 0);
        set_used(path_of(1), 24 * HOUR);
        assert_int_equal(collect().removed, 1);
}

/* A start may be under way that has fetched it and made no link yet. */
static void test_what_was_just_fetched_stays(void **state)
{
        (void)state;
        make_image(1, 599);
        make_image(2, 600);
        store.cache_max_bytes = 1;
        store.cache_max_age_us = 1;
        assert_int_equal(collect().removed, 1);
        assert_true(there(1));
}

static void test_other_files_are_left_alone(void **state)
{
        char partial[128], other[128], known[256], lost[256];
        const char *names[] = {partial, other, known};
        FILE *f;

        (void)state;
        (void)snprintf(partial, sizeof(partial), "%s/.partial-abc", images);
        (void)snprintf(other, sizeof(other), "%s/sha256-notes.img", images);
        (void)snprintf(known, sizeof(known), "%s/%064x.json", images, 7);
        (void)snprintf(lost, sizeof(lost), "%s/%064x.json", images, 8);
        make_file(partial, SIZE, 100 * HOUR);
        make_file(other, SIZE, 100 * HOUR);
        make_image(1, 1);
        make_image(2, 100 * HOUR);
        f = fopen(known, "w");
        (void)fprintf(f, "{\"sha256\": \"%064x\"}", 1);
        (void)fclose(f);
        f = fopen(lost, "w");
        (void)fprintf(f, "{\"sha256\": \"%064x\"}", 2);
        (void)fclose(f);
        store.cache_max_bytes = 1;
        assert_int_equal(collect().removed, 1);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                assert_int_equal(access(names[i], F_OK), 0);
        assert_int_equal(access(lost, F_OK), -1); /* what a URL gave goes with its content */
}

static void test_unknown_use_removes_nothing(void **state)
{
        struct hv_image_usage usage;

        (void)state;
        make_image(1, 100 * HOUR);
        make_file(vms, 0, 0); /* no directory */
        store.cache_max_bytes = 1;
        assert_int_equal(hv_image_collect(&store, NOW, &usage), -ENOTDIR);
        assert_true(there(1));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            T(test_without_limits_all_stays),
            T(test_the_longest_unused_go_until_it_fits),
            T(test_age),
            T(test_what_a_vm_uses_stays),
            T(test_the_age_begins_when_the_vm_goes),
            T(test_what_was_just_fetched_stays),
            T(test_other_files_are_left_alone),
            T(test_unknown_use_removes_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
