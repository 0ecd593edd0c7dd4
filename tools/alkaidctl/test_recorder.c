/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <czmq.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/alkaidctl/recorder.h"

#define FILE_BYTES 65536

struct fixture {
        char dir[32], path[48];
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/ak-recorder-XXXXXX");
        if (!mkdtemp(f->dir))
                return -1;
        (void)snprintf(f->path, sizeof(f->path), "%s/c", f->dir);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        zdir_t *all = zdir_new(f->dir, NULL);

        zdir_remove(all, true);
        zdir_destroy(&all);
        free(f);
        return 0;
}

static int take(struct ctl_recorder *r, uint64_t n)
{
        static const uint8_t body[500];
        const struct ak_bus_frame frame = {.publisher = "watcher",
                                           .topic = "nic.diff/u/p",
                                           .epoch = 1,
                                           .seq = n,
                                           .trace = "",
                                           .body = body,
                                           .body_len = sizeof(body)};

        return ctl_recorder_take(r, &frame, 1000 + n, n);
}

static struct ctl_recorder *begin(const struct fixture *f, uint64_t files)
{
        struct ctl_recorder *r = NULL;
        const struct ctl_recorder_options o = {
            .path = f->path, .node = "n", .max_bytes = FILE_BYTES, .max_files = files, .run = 5};

        assert_int_equal(ctl_recorder_new(&r, &o), 0);
        return r;
}

struct part {
        uint64_t number, run, first, last, messages;
        bool whole;
};

static struct part read_part(const struct fixture *f, int n)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
        char path[64], error[CTL_ERROR_SIZE];
        struct ctl_record record;
        struct part p = {0};

        (void)snprintf(path, sizeof(path), n ? "%s.%d" : "%s", f->path, n);
        if (ctl_capture_reader_new(&r, path, error) < 0)
                fail_msg("%s", error);
        while (ctl_capture_read(r, &record, error) > 0) {
                p.first = p.messages++ ? p.first : record.envelope.seq;
                p.last = record.envelope.seq;
                ctl_record_deinit(&record);
        }
        p.number = ctl_capture_reader_header(r)->part;
        p.run = ctl_capture_reader_header(r)->run;
        p.whole = ctl_capture_reader_whole(r);
        return p;
}

/* However much is said, there are so many files of at most that size, and the newest messages are in them. */
static void test_rotation(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_recorder_freep) struct ctl_recorder *r = begin(f, 3);
        char path[64];
        uint64_t n = 0, next;
        struct stat st;

        while (ctl_recorder_parts(r) < 6)
                assert_int_equal(take(r, ++n), 0);
        assert_int_equal(ctl_recorder_messages(r), n);
        assert_int_equal(ctl_recorder_finish(r), 0);
        next = read_part(f, 2).first;
        for (int i = 2; i >= 0; i--) {
                struct part p = read_part(f, i);
                assert_int_equal(p.number, 6 - i);
                assert_int_equal(p.run, 5);
                assert_int_equal(p.first, next);
                assert_true(p.whole);
                next = p.last + 1;
                (void)snprintf(path, sizeof(path), i ? "%s.%d" : "%s", f->path, i);
                assert_int_equal(stat(path, &st), 0);
                assert_true(st.st_size <= FILE_BYTES);
        }
        assert_int_equal(next, n + 1);
        (void)snprintf(path, sizeof(path), "%s.3", f->path);
        assert_int_equal(stat(path, &st), -1);
}

static void test_one_file_ends_when_full(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_recorder_freep) struct ctl_recorder *r = begin(f, 1);
        uint64_t n = 0;
        int code;

        while ((code = take(r, ++n)) == 0)
                assert_true(n < 1000);
        assert_int_equal(code, 1);
        assert_int_equal(ctl_recorder_finish(r), 0);
        assert_int_equal(read_part(f, 0).messages, n - 1);
}

/* A killed recorder: the file is read up to its last message. */
static void test_killed(void **state)
{
        const struct fixture *f = *state;
        struct ctl_recorder *r = begin(f, 2);

        assert_int_equal(take(r, 1), 0);
        ctl_recorder_free(r);
        struct part p = read_part(f, 0);
        assert_int_equal(p.messages, 1);
        assert_false(p.whole);
}

static void test_refusals(void **state)
{
        const struct fixture *f = *state;
        struct ctl_recorder *r = begin(f, 2), *again = NULL;
        struct ctl_recorder_options o = {.path = f->path, .max_bytes = FILE_BYTES, .max_files = 2};
        char path[64];

        assert_int_equal(ctl_recorder_new(&again, &o), -EEXIST);
        /* a rotated file of an earlier recording, too */
        (void)snprintf(path, sizeof(path), "%s.1", f->path);
        assert_int_equal(rename(f->path, path), 0);
        assert_int_equal(ctl_recorder_new(&again, &o), -EEXIST);
        o.overwrite = true;
        assert_int_equal(ctl_recorder_new(&again, &o), 0);
        assert_int_equal(access(path, F_OK), -1);
        ctl_recorder_free(again);
        ctl_recorder_free(r);
        o.path = "/nonexistent/c";
        assert_int_equal(ctl_recorder_new(&again, &o), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
            cmocka_unit_test_setup_teardown(test_one_file_ends_when_full, setup, teardown),
            cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
            cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
