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

static off_t size_of(const char *path)
{
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return st.st_size;
}

static const struct ctl_capture_header header = {.node = "node-1", .run = 9, .part = 1, .created_us = 4};

static void write_two(const char *path, bool finish)
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

        assert_int_equal(ctl_capture_writer_new(&w, path, false, &header), 0);
        assert_int_equal(ctl_envelope_from_frame(&e, &frame, 5, 6), 0);
        assert_int_equal(ctl_capture_write(w, &e, frame.body, frame.body_len), 0);
        e.replayed = true;
        assert_int_equal(ctl_capture_write(w, &e, NULL, 0), 0);
        if (finish)
                assert_int_equal(ctl_capture_writer_finish(w), 0);
        assert_int_equal(ctl_capture_writer_bytes(w), size_of(path));
}

static void test_round_trip(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
        struct ctl_capture_writer *w = NULL;
        char error[CTL_ERROR_SIZE];
        struct ctl_record record;

        write_two(f->path, true);
        assert_int_equal(ctl_capture_writer_new(&w, f->path, false, &header), -EEXIST);
        assert_int_equal(ctl_capture_reader_new(&r, f->path, error), 0);
        assert_string_equal(ctl_capture_reader_header(r)->node, "node-1");
        assert_int_equal(ctl_capture_reader_header(r)->run, 9);
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
        assert_true(ctl_capture_reader_whole(r));
}

/* Cut after every byte: whole frames are read, the rest is a torn end, never an error. */
static void test_torn_at_every_byte(void **state)
{
        const struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        write_two(f->path, true);
        off_t full = size_of(f->path);
        for (off_t len = full - 1; len >= 8; len--) {
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
                assert_true(frames <= 2);
                assert_false(ctl_capture_reader_whole(r));
                if (ctl_capture_reader_torn(r))
                        assert_true(ctl_capture_reader_offset(r) < (uint64_t)len);
                else
                        assert_int_equal(ctl_capture_reader_offset(r), len);
        }
}

/* Every bit matters: a flipped one is damage, with the file and the place named. */
static void test_damage_is_seen(void **state)
{
        const struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        write_two(f->path, false);
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

/* The n-th of many messages of a kilobyte each, a millisecond apart. */
static struct ctl_envelope nth(uint64_t n)
{
        struct ctl_envelope e = {.publisher = "watcher", .topic = "nic.diff/u/p", .seq = n + 1};

        e.received_us = UINT64_C(1700000000000000) + n * 1000;
        return e;
}

static void write_many(const char *path, uint64_t count)
{
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;
        static const uint8_t body[1024];

        assert_int_equal(ctl_capture_writer_new(&w, path, false, &header), 0);
        for (uint64_t n = 0; n < count; n++) {
                const struct ctl_envelope e = nth(n);
                assert_int_equal(ctl_capture_write(w, &e, body, sizeof(body)), 0);
        }
        assert_int_equal(ctl_capture_writer_messages(w), count);
        assert_int_equal(ctl_capture_writer_finish(w), 0);
}

/* Number of the first message that is read after a seek to the n-th's time. */
static uint64_t seek_to(const char *path, uint64_t n)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
        char error[CTL_ERROR_SIZE];
        struct ctl_record record;

        assert_int_equal(ctl_capture_reader_new(&r, path, error), 0);
        if (ctl_capture_seek(r, nth(n).received_us, error) < 0)
                fail_msg("%s", error);
        if (ctl_capture_read(r, &record, error) != 1)
                return UINT64_MAX;
        uint64_t seq = record.envelope.seq;
        ctl_record_deinit(&record);
        return seq - 1;
}

/* The index leads close to the place, and never past it. */
static void test_seek(void **state)
{
        const struct fixture *f = *state;

        write_many(f->path, 1000);
        assert_int_equal(seek_to(f->path, 0), 0);
        for (uint64_t n = 1; n < 1000; n += 37) {
                uint64_t first = seek_to(f->path, n);
                assert_true(first <= n);
                assert_true(n - first <= 64); /* 64 KiB of file */
        }
        /* Without its end the file has no index: from the beginning then. */
        assert_int_equal(truncate(f->path, size_of(f->path) - 1), 0);
        assert_int_equal(seek_to(f->path, 900), 0);
}

/* However long the file, the index has its bound: it thins out. */
static void test_index_is_bounded(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;
        const size_t body_len = 65536;
        AK_AUTOFREE uint8_t *body = calloc(1, body_len);
        struct ctl_envelope e;

        assert_non_null(body);
        assert_int_equal(ctl_capture_writer_new(&w, f->path, false, &header), 0);
        for (uint64_t n = 0; n < 300; n++) { /* more than entries, each message with one of its own */
                e = nth(n);
                assert_int_equal(ctl_capture_write(w, &e, body, body_len), 0);
        }
        uint64_t before = ctl_capture_writer_bytes(w);
        assert_int_equal(ctl_capture_writer_finish(w), 0);
        assert_true(ctl_capture_writer_bytes(w) - before < CTL_CAPTURE_ENTRIES * 18 + 256);
        assert_true(seek_to(f->path, 290) > 280 && seek_to(f->path, 290) <= 290);
        assert_true(seek_to(f->path, 100) <= 100);
}

/* A clock that is set back: no message of the wanted time is passed over. */
static void test_seek_with_a_clock_set_back(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;
        static const uint8_t body[60000];

        assert_int_equal(ctl_capture_writer_new(&w, f->path, false, &header), 0);
        for (uint64_t n = 0; n < 100; n++) {
                struct ctl_envelope e = nth(n < 50 ? n + 500 : n);
                assert_int_equal(ctl_capture_write(w, &e, body, sizeof(body)), 0);
        }
        assert_int_equal(ctl_capture_writer_finish(w), 0);
        assert_int_equal(seek_to(f->path, 500), 500);
        assert_true(seek_to(f->path, 520) <= 520 && seek_to(f->path, 520) >= 518);
        assert_int_equal(seek_to(f->path, 60), 500); /* the first one is later than that */
}

/* What is not known is passed over, wherever it stands. */
static void test_unknown_kind(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *r = NULL;
        /* length 1, the CRC-32 of a byte 9, and that byte */
        const uint8_t frame[] = {1, 0, 0, 0, 0x29, 0x57, 0xde, 0xab, 9};
        char error[CTL_ERROR_SIZE];
        struct ctl_record record;
        FILE *file;

        write_two(f->path, false);
        file = fopen(f->path, "ae");
        assert_non_null(file);
        assert_int_equal(fwrite(frame, sizeof(frame), 1, file), 1);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(ctl_capture_reader_new(&r, f->path, error), 0);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(ctl_capture_read(r, &record, error), 1);
                ctl_record_deinit(&record);
        }
        int got = ctl_capture_read(r, &record, error);
        if (got < 0)
                fail_msg("%s", error);
        assert_int_equal(got, 0);
        assert_false(ctl_capture_reader_torn(r));
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
        assert_int_equal(ctl_capture_writer_new(&w, f->path, false, &header), 0);
        assert_int_equal(ctl_capture_write(w, &e, big, CTL_CAPTURE_MAX_FRAME), -EMSGSIZE);
        memset(topic, 'x', sizeof(topic) - 1);
        topic[sizeof(topic) - 1] = '\0';
        const struct ak_bus_frame frame = {.publisher = "a", .topic = topic, .trace = ""};
        assert_int_equal(ctl_envelope_from_frame(&e, &frame, 0, 0), -EINVAL);
        assert_int_equal(truncate(f->path, 3), 0);
        assert_int_equal(ctl_capture_reader_new(&r, f->path, error), -EBADMSG);
        assert_non_null(strstr(error, "not a capture"));
        assert_null(r);
        FILE *file = fopen(f->path, "we");
        assert_non_null(file);
        assert_int_equal(fputs("AKCAP001", file), 1);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(ctl_capture_reader_new(&r, f->path, error), -EBADMSG);
        assert_non_null(strstr(error, "another version"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
            cmocka_unit_test_setup_teardown(test_torn_at_every_byte, setup, teardown),
            cmocka_unit_test_setup_teardown(test_damage_is_seen, setup, teardown),
            cmocka_unit_test_setup_teardown(test_seek, setup, teardown),
            cmocka_unit_test_setup_teardown(test_index_is_bounded, setup, teardown),
            cmocka_unit_test_setup_teardown(test_seek_with_a_clock_set_back, setup, teardown),
            cmocka_unit_test_setup_teardown(test_unknown_kind, setup, teardown),
            cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
