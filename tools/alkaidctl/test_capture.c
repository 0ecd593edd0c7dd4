/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/alkaidctl/capture.h"

struct fixture {
        char dir[32], path[48];
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/ak-capture-XXXXXX");
        if (!mkdtemp(f->dir))
                return -1;
        (void)snprintf(f->path, sizeof(f->path), "%s/c", f->dir);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        (void)unlink(f->path);
        (void)rmdir(f->dir);
        free(f);
        return 0;
}

static void write_two(const char *path)
{
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;
        const struct ak_bus_frame frame = {
            .publisher = "watcher",
            .topic = "nic.diff/u/p",
            .epoch = UINT64_MAX,
            .seq = 7,
            .sent_us = 1700000000000000,
            .trace = "",
            .body = (const uint8_t *)"abc",
            .body_len = 3,
        };
        struct ctl_envelope e;

        assert_int_equal(ctl_capture_writer_new(&w, path, false), 0);
        assert_int_equal(ctl_envelope_from_frame(&e, &frame, 5, 6), 0);
        assert_int_equal(ctl_capture_write(w, &e, frame.body, frame.body_len), 0);
        e.replayed = true;
        assert_int_equal(ctl_capture_write(w, &e, NULL, 0), 0);
}

static off_t size_of(const char *path)
{
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return st.st_size;
}

static void test_round_trip(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
        struct ctl_capture_writer *w = NULL;
        char error[CTL_ERROR_SIZE];
        struct ctl_record record;

        write_two(f->path);
        assert_int_equal(ctl_capture_writer_new(&w, f->path, false), -EEXIST);
        assert_int_equal(ctl_capture_reader_new(&r, f->path, error), 0);
        assert_int_equal(ctl_capture_read(r, &record, error), 1);
        struct ak_bus_frame frame = ctl_record_frame(&record);
        assert_string_equal(frame.publisher, "watcher");
        assert_string_equal(frame.topic, "nic.diff/u/p");
        assert_true(frame.epoch == UINT64_MAX);
        assert_int_equal(frame.seq, 7);
        assert_int_equal(record.envelope.received_us, 5);
        assert_int_equal(record.envelope.mono_us, 6);
        assert_int_equal(frame.body_len, 3);
        assert_memory_equal(frame.body, "abc", 3);
        ctl_record_deinit(&record);
        assert_int_equal(ctl_capture_read(r, &record, error), 1);
        assert_true(record.envelope.replayed);
        assert_int_equal(record.body_len, 0);
        ctl_record_deinit(&record);
        assert_int_equal(ctl_capture_read(r, &record, error), 0);
        assert_false(ctl_capture_reader_torn(r));
}

/* Cut after every byte: whole frames are read, the rest is a torn end, never an error. */
static void test_torn_at_every_byte(void **state)
{
        const struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        write_two(f->path);
        off_t full = size_of(f->path);
        for (off_t len = full - 1; len > 8; len--) {
                AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
                struct ctl_record record;
                int frames = 0, got;
                assert_int_equal(truncate(f->path, len), 0);
                assert_int_equal(ctl_capture_reader_new(&r, f->path, error), 0);
                while ((got = ctl_capture_read(r, &record, error)) > 0) {
                        ctl_record_deinit(&record);
                        frames++;
                }
                assert_int_equal(got, 0);
                assert_true(frames <= 1);
                if (frames == 0)
                        assert_true(ctl_capture_reader_torn(r));
        }
}

/* Every bit matters: a flipped one is damage, with the file and the place named. */
static void test_damage_is_seen(void **state)
{
        const struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        write_two(f->path);
        off_t full = size_of(f->path);
        for (off_t at = 0; at < full; at++) {
                AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
                struct ctl_record record;
                FILE *file = fopen(f->path, "r+");
                int frames = 0, got;
                assert_non_null(file);
                assert_int_equal(fseek(file, at, SEEK_SET), 0);
                int byte = fgetc(file);
                assert_int_equal(fseek(file, at, SEEK_SET), 0);
                assert_int_equal(fputc(byte ^ 0x10, file), byte ^ 0x10);
                assert_int_equal(fclose(file), 0);
                got = ctl_capture_reader_new(&r, f->path, error);
                while (got >= 0 && (got = ctl_capture_read(r, &record, error)) > 0) {
                        ctl_record_deinit(&record);
                        frames++;
                }
                assert_true(got < 0 || ctl_capture_reader_torn(r));
                if (got < 0)
                        assert_non_null(strstr(error, f->path));
                assert_true(frames < 2);
                file = fopen(f->path, "r+");
                assert_non_null(file);
                assert_int_equal(fseek(file, at, SEEK_SET), 0);
                assert_int_equal(fputc(byte, file), byte);
                assert_int_equal(fclose(file), 0);
        }
}

static void test_refusals(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;
        struct ctl_capture_reader *r = NULL;
        struct ctl_envelope e = {.publisher = "a", .topic = "b"};
        AK_AUTOFREE uint8_t *big = calloc(1, CTL_CAPTURE_MAX_FRAME + 1);
        char error[CTL_ERROR_SIZE];
        char topic[AK_BUS_TOPIC_MAX + 2];

        assert_int_equal(ctl_capture_reader_new(&r, "/nonexistent/c", error), -ENOENT);
        assert_int_equal(ctl_capture_writer_new(&w, f->path, false), 0);
        assert_int_equal(ctl_capture_write(w, &e, big, CTL_CAPTURE_MAX_FRAME), -EMSGSIZE);
        memset(topic, 'x', sizeof(topic) - 1);
        topic[sizeof(topic) - 1] = '\0';
        const struct ak_bus_frame frame = {.publisher = "a", .topic = topic, .trace = ""};
        assert_int_equal(ctl_envelope_from_frame(&e, &frame, 0, 0), -EINVAL);
        assert_int_equal(truncate(f->path, 3), 0);
        assert_int_equal(ctl_capture_reader_new(&r, f->path, error), -EBADMSG);
        assert_non_null(strstr(error, "not a capture"));
        assert_null(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
            cmocka_unit_test_setup_teardown(test_torn_at_every_byte, setup, teardown),
            cmocka_unit_test_setup_teardown(test_damage_is_seen, setup, teardown),
            cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
