/* SPDX-License-Identifier: Apache-2.0 */
/* The replay engine with a toy core: it adds up the numbers of its events, starting where its config says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/journal.h"
#include "tools/alkaidctl/replay.h"

static int toy_create(void **out, const json_t *config, char error[CTL_ERROR_SIZE])
{
        const json_t *from = json_object_get(config, "from");
        json_int_t *sum = malloc(sizeof(*sum));

        assert_non_null(sum);
        if (!json_is_integer(from)) {
                free(sum);
                (void)snprintf(error, CTL_ERROR_SIZE, "from: missing");
                return -EINVAL;
        }
        *sum = json_integer_value(from);
        *out = sum;
        return 0;
}

static void toy_destroy(void *core)
{
        free(core);
}

static int toy_step(void *core, const json_t *event, uint64_t now_us, uint64_t real_us, json_t **actions,
                    char error[CTL_ERROR_SIZE])
{
        const json_t *add = json_object_get(event, "add");
        json_int_t *sum = core;

        (void)now_us;
        (void)real_us;
        if (!json_is_integer(add)) {
                (void)snprintf(error, CTL_ERROR_SIZE, "add: missing");
                return -EINVAL;
        }
        *sum += json_integer_value(add);
        *actions = json_integer_value(add) == 0 ? json_array() : json_pack("[{s:I}]", "sum", *sum);
        return 0;
}

static json_t *toy_event(const struct ak_bus_frame *frame)
{
        return strcmp(frame->topic, "add") == 0 ? json_pack("{s:I}", "add", (json_int_t)frame->body_len)
                                                : NULL;
}

static json_t *toy_config(void)
{
        return json_pack("{s:i}", "from", 1000);
}

static json_t *toy_start(void)
{
        return json_pack("[{s:i}]", "add", 500);
}

static const struct ctl_core_ops toy = {
    .name = "toy",
    .create = toy_create,
    .destroy = toy_destroy,
    .step = toy_step,
    .event_of_frame = toy_event,
    .default_config = toy_config,
    .start_events = toy_start,
};
static const struct ctl_core_ops *const cores[] = {&toy, NULL};

struct fixture {
        char dir[32], path[48], second[48], update[48];
        char *printed;
        size_t printed_len;
        FILE *out;
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/ak-replay-XXXXXX");
        if (!mkdtemp(f->dir))
                return -1;
        (void)snprintf(f->path, sizeof(f->path), "%s/a", f->dir);
        (void)snprintf(f->second, sizeof(f->second), "%s/b", f->dir);
        (void)snprintf(f->update, sizeof(f->update), "%s/u", f->dir);
        f->out = open_memstream(&f->printed, &f->printed_len);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        (void)fclose(f->out);
        free(f->printed);
        (void)unlink(f->path);
        (void)unlink(f->second);
        (void)unlink(f->update);
        int r = rmdir(f->dir);
        free(f);
        return r;
}

static void put(const char *path, const char *text)
{
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static void assert_file(const char *path, const char *want)
{
        char text[2048] = "";
        FILE *file = fopen(path, "r");

        assert_non_null(file);
        assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
        assert_int_equal(fclose(file), 0);
        assert_string_equal(text, want);
}

#define HEADER    "{\"journal\":1,\"service\":\"toy\",\"part\":1,\"config\":{\"from\":10}}\n"
#define ADD(t, n) "{\"t\":" #t ",\"real\":1,\"event\":{\"add\":" #n "}}\n"
#define SUM(t, n) "{\"t\":" #t ",\"actions\":[{\"sum\":" #n "}]}\n"

static struct ctl_replay_result play(struct fixture *f, bool check, const char *update, int want,
                                     char error[CTL_ERROR_SIZE])
{
        const struct ctl_replay replay = {.cores = cores, .check = check, .update = update, .out = f->out};
        struct ctl_replay_result result;
        char *paths[] = {f->path, f->second};

        assert_int_equal(
            ctl_replay_journal(&replay, paths, access(f->second, F_OK) == 0 ? 2 : 1, &result, error), want);
        assert_int_equal(fflush(f->out), 0);
        return result;
}

static void test_prints_actions(void **state)
{
        struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        put(f->path, HEADER ADD(1, 5) SUM(1, 99) ADD(2, 0) ADD(3, 1));
        struct ctl_replay_result r = play(f, false, NULL, 0, error);
        assert_string_equal(f->printed, SUM(1, 15) SUM(3, 16));
        assert_int_equal(r.runs, 1);
        assert_int_equal(r.events, 3);
        assert_int_equal(r.actions, 2);
}

static void test_check(void **state)
{
        struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        put(f->path, HEADER ADD(1, 5) SUM(1, 15) ADD(2, 0) ADD(3, 1) SUM(3, 16));
        assert_int_equal(play(f, true, NULL, 0, error).differences, 0);
        assert_string_equal(f->printed ? f->printed : "", "");
        /* a wrong action, one that was not there, one that is missing */
        put(f->path, HEADER ADD(1, 5) SUM(1, 16) ADD(2, 0) SUM(2, 15) ADD(3, 1));
        assert_int_equal(play(f, true, NULL, 0, error).differences, 3);
        assert_non_null(strstr(f->printed, "{\"t\":1,\"recorded\":[{\"sum\":16}],\"now\":[{\"sum\":15}]}\n"));
}

static void test_runs_and_parts(void **state)
{
        struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        put(f->path, HEADER ADD(1, 5) SUM(1, 15) HEADER ADD(1, 1) SUM(1, 11));
        put(f->second,
            "{\"journal\":1,\"service\":\"toy\",\"part\":2,\"config\":{\"from\":10}}\n" ADD(2, 1) SUM(2, 12));
        struct ctl_replay_result r = play(f, true, NULL, 0, error);
        assert_int_equal(r.differences, 0);
        assert_int_equal(r.runs, 2);
        assert_int_equal(r.events, 3);
        put(f->path, ADD(1, 1));
        play(f, true, NULL, -EINVAL, error);
        assert_non_null(strstr(error, "before the header"));
        assert_int_equal(rename(f->second, f->path), 0);
        play(f, true, NULL, -EINVAL, error);
        assert_non_null(strstr(error, "is missing"));
}

static void test_update(void **state)
{
        struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        put(f->path, HEADER ADD(1, 5) SUM(1, 99) ADD(2, 0) SUM(2, 3) ADD(3, 1));
        play(f, false, f->update, 0, error);
        assert_file(f->update, HEADER ADD(1, 5) SUM(1, 15) ADD(2, 0) ADD(3, 1) SUM(3, 16));
        put(f->path, HEADER "{\"t\":1,\"real\":1,\"event\":{}}\n");
        play(f, false, f->update, -EINVAL, error);
        assert_file(f->update, HEADER ADD(1, 5) SUM(1, 15) ADD(2, 0) ADD(3, 1) SUM(3, 16));
}

static void test_torn_run(void **state)
{
        struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        put(f->path, HEADER ADD(1, 5) "{\"t\":1,\"act");
        struct ctl_replay_result r = play(f, true, NULL, 0, error);
        assert_true(r.torn);
        assert_int_equal(r.differences, 0);
}

static void test_refusals(void **state)
{
        struct fixture *f = *state;
        char error[CTL_ERROR_SIZE];

        put(f->path, "{\"journal\":1,\"service\":\"other\",\"part\":1,\"config\":{}}\n");
        play(f, false, NULL, -EINVAL, error);
        assert_non_null(strstr(error, "other"));
        put(f->path, "{\"journal\":1,\"service\":\"toy\",\"part\":1,\"config\":{}}\n");
        play(f, false, NULL, -EINVAL, error);
        assert_non_null(strstr(error, "from: missing"));
        put(f->path, HEADER "{\"t\":1,\"real\":1,\"event\":{}}\n");
        play(f, false, NULL, -EINVAL, error);
        assert_non_null(strstr(error, "add: missing"));
        put(f->path, HEADER SUM(1, 1));
        play(f, false, NULL, -EBADMSG, error);
        put(f->path, "nonsense\n");
        play(f, false, NULL, -EBADMSG, error);
        assert_non_null(strstr(error, ":1:"));
        assert_int_equal(unlink(f->path), 0);
        play(f, false, NULL, -ENOENT, error);
        assert_non_null(strstr(error, f->path));
}

static void test_capture(void **state)
{
        struct fixture *f = *state;
        struct ctl_replay replay = {.cores = cores, .core = "toy", .out = f->out};
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *w = NULL;
        struct ctl_envelope e = {.publisher = "p", .topic = "add", .mono_us = 3};
        struct ctl_replay_result result;
        char error[CTL_ERROR_SIZE];

        assert_int_equal(ctl_capture_writer_new(&w, f->path, false, &(struct ctl_capture_header){0}), 0);
        assert_int_equal(ctl_capture_write(w, &e, (const uint8_t *)"ab", 2), 0);
        (void)snprintf(e.topic, sizeof(e.topic), "other");
        assert_int_equal(ctl_capture_write(w, &e, (const uint8_t *)"ab", 2), 0);
        assert_int_equal(ctl_replay_capture(&replay, (char *[]){f->path}, 1, &result, error), 0);
        assert_int_equal(fflush(f->out), 0);
        assert_string_equal(f->printed, SUM(3, 1500) SUM(3, 1502));
        assert_int_equal(result.events, 2);
        replay.core = NULL;
        assert_int_equal(ctl_replay_capture(&replay, (char *[]){f->path}, 1, &result, error), -EINVAL);
        replay.check = true;
        assert_int_equal(ctl_replay_capture(&replay, (char *[]){f->path}, 1, &result, error), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_prints_actions, setup, teardown),
            cmocka_unit_test_setup_teardown(test_check, setup, teardown),
            cmocka_unit_test_setup_teardown(test_runs_and_parts, setup, teardown),
            cmocka_unit_test_setup_teardown(test_update, setup, teardown),
            cmocka_unit_test_setup_teardown(test_torn_run, setup, teardown),
            cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
            cmocka_unit_test_setup_teardown(test_capture, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
