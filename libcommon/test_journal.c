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

#include "libcommon/journal.h"

struct fixture {
        char dir[32], path[48], old[48];
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/ak-journal-XXXXXX");
        if (!mkdtemp(f->dir))
                return -1;
        (void)snprintf(f->path, sizeof(f->path), "%s/j", f->dir);
        (void)snprintf(f->old, sizeof(f->old), "%s/j.1", f->dir);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        (void)unlink(f->path);
        (void)unlink(f->old);
        (void)rmdir(f->dir);
        free(f);
        return 0;
}

static struct ak_journal *start(const struct fixture *f, uint64_t max_bytes)
{
        struct ak_journal *j = NULL;

        assert_int_equal(ak_journal_new(&j, f->path, "network", json_pack("{s:s}", "node", "n1"), max_bytes),
                         0);
        return j;
}

static void put(const struct fixture *f, const char *text)
{
        FILE *file = fopen(f->path, "w");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static void test_write_then_read(void **state)
{
        const struct fixture *f = *state;
        struct ak_journal *j = start(f, 0);
        AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *r = NULL;
        struct ak_journal_line line;
        char error[AK_JOURNAL_ERROR_SIZE];
        struct stat st;

        ak_journal_event(j, 10, 1700000000000000, json_pack("{s:s}", "type", "tick"));
        ak_journal_actions(j, 10, json_pack("[{s:s}]", "type", "publish"));
        ak_journal_event(j, 11, 1700000000000001, json_pack("{s:s}", "type", "tick"));
        ak_journal_actions(j, 11, json_array());
        ak_journal_free(j);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);

        assert_int_equal(ak_journal_reader_new(&r, f->path), 0);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.kind, AK_JOURNAL_HEADER);
        assert_string_equal(line.service, "network");
        assert_int_equal(line.part, 1);
        assert_string_equal(json_string_value(json_object_get(line.body, "node")), "n1");
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.kind, AK_JOURNAL_EVENT);
        assert_int_equal(line.now_us, 10);
        assert_int_equal(line.real_us, 1700000000000000);
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.kind, AK_JOURNAL_ACTIONS);
        assert_int_equal(json_array_size(line.body), 1);
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.now_us, 11);
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 0);
        assert_false(ak_journal_reader_torn(r));
}

static void test_rotation_is_bounded(void **state)
{
        const struct fixture *f = *state;
        struct ak_journal *j = start(f, 500);
        AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *r = NULL;
        struct ak_journal_line line;
        char error[AK_JOURNAL_ERROR_SIZE];
        struct stat st;

        for (uint64_t i = 0; i < 100; i++)
                ak_journal_event(j, i, i, json_pack("{s:s}", "type", "tick"));
        ak_journal_free(j);
        assert_int_equal(stat(f->path, &st), 0);
        assert_true(st.st_size < 600);
        assert_int_equal(stat(f->old, &st), 0);
        assert_true(st.st_size < 600);
        assert_int_equal(ak_journal_reader_new(&r, f->path), 0);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.kind, AK_JOURNAL_HEADER);
        assert_true(line.part > 2);
        ak_journal_line_deinit(&line);
}

static void test_torn_end(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *r = NULL;
        struct ak_journal_line line;
        char error[AK_JOURNAL_ERROR_SIZE];

        put(f, "{\"t\":1,\"real\":2,\"event\":{}}\n{\"t\":2,\"rea");
        assert_int_equal(ak_journal_reader_new(&r, f->path), 0);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 0);
        assert_true(ak_journal_reader_torn(r));
}

static void test_next_run_after_a_torn_end(void **state)
{
        const struct fixture *f = *state;
        AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *r = NULL;
        struct ak_journal_line line;
        char error[AK_JOURNAL_ERROR_SIZE];
        AK_AUTOFREE char *text = malloc(9001);

        assert_non_null(text);
        memset(text, 'x', 9000);
        memcpy(text, "{\"t\":1,\"real\":2,\"event\":{}}\n", 29);
        text[9000] = '\0';
        put(f, text);
        ak_journal_free(start(f, 0));
        assert_int_equal(ak_journal_reader_new(&r, f->path), 0);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.kind, AK_JOURNAL_EVENT);
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 1);
        assert_int_equal(line.kind, AK_JOURNAL_HEADER);
        ak_journal_line_deinit(&line);
        assert_int_equal(ak_journal_read(r, &line, error), 0);
}

static void test_bad_lines(void **state)
{
        const struct fixture *f = *state;
        const struct {
                const char *text, *says;
        } cases[] = {
            {"nonsense\n", "j:1: "},
            {"\n", "j:1: "},
            {"{\"t\":-1,\"real\":2,\"event\":{}}\n", "needs t"},
            {"{\"t\":1,\"event\":{}}\n", "needs real"},
            {"{\"t\":1,\"real\":1,\"event\":[]}\n", "event (object)"},
            {"{\"t\":1,\"actions\":{}}\n", "actions (array)"},
            {"{\"journal\":2,\"service\":\"x\",\"part\":1,\"config\":{}}\n", "version 1"},
            {"{\"journal\":1,\"part\":1,\"config\":{}}\n", "needs service"},
            {"{\"journal\":1,\"service\":\"0123456789012345678901234567890123456789\",\"part\":1,"
             "\"config\":{}}\n",
             "needs service"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *r = NULL;
                struct ak_journal_line line;
                char error[AK_JOURNAL_ERROR_SIZE] = "";
                put(f, cases[i].text);
                assert_int_equal(ak_journal_reader_new(&r, f->path), 0);
                assert_int_equal(ak_journal_read(r, &line, error), -EBADMSG);
                if (!strstr(error, cases[i].says))
                        print_error("case %zu: %s\n", i, error);
                assert_non_null(strstr(error, cases[i].says));
        }
}

static void test_directory(void **state)
{
        const struct fixture *f = *state;
        struct ak_journal *j = NULL;
        char path[64];

        (void)snprintf(path, sizeof(path), "%s/network.jsonl", f->dir);
        assert_int_equal(ak_journal_new(&j, f->dir, "network", json_object(), 0), 0);
        ak_journal_free(j);
        assert_int_equal(unlink(path), 0);
}

static void test_bad_places(void **state)
{
        const struct fixture *f = *state;
        struct ak_journal *j = NULL;
        struct ak_journal_reader *r = NULL;

        assert_int_equal(ak_journal_new(&j, "/nonexistent/j", "x", json_object(), 0), -ENOENT);
        assert_int_equal(ak_journal_new(&j, f->path, "x", NULL, 0), -ENOMEM);
        assert_int_equal(symlink("/tmp/elsewhere", f->path), 0);
        assert_int_equal(ak_journal_new(&j, f->path, "x", json_object(), 0), -ELOOP);
        assert_null(j);
        assert_int_equal(ak_journal_reader_new(&r, "/nonexistent/j"), -ENOENT);
        assert_null(r);
        ak_journal_event(NULL, 0, 0, json_object());
        ak_journal_actions(NULL, 0, json_array());
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_write_then_read, setup, teardown),
            cmocka_unit_test_setup_teardown(test_rotation_is_bounded, setup, teardown),
            cmocka_unit_test_setup_teardown(test_torn_end, setup, teardown),
            cmocka_unit_test_setup_teardown(test_next_run_after_a_torn_end, setup, teardown),
            cmocka_unit_test_setup_teardown(test_bad_lines, setup, teardown),
            cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
            cmocka_unit_test_setup_teardown(test_bad_places, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
