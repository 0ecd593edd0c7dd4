/* SPDX-License-Identifier: Apache-2.0 */
/* Settings from their four sources, and what a person is told about a mistake in each. */
#include "libcommon/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/test.h"

struct config {
        char *state_dir;
        bool auto_create;
        uint64_t max_vms, cache_size, grace;
        char *backend;
        struct ak_strlist images;
};

#define AT(member) offsetof(struct config, member)
static const struct ak_option table[] = {
    {"state-dir", AK_OPT_STRING, AT(state_dir), "/var/lib/x", "where data is kept"},
    {"auto-create", AK_OPT_BOOL, AT(auto_create), "true", "make what is missing"},
    {"max-vms", AK_OPT_UINT, AT(max_vms), "8", "how many VMs", .min = 1, .max = 64},
    {"cache-size", AK_OPT_SIZE, AT(cache_size), "1Gi", "bound of the cache", .max = UINT64_C(1) << 40},
    {"grace", AK_OPT_DURATION, AT(grace), "30s", "time for a shutdown", .min = 1000,
     .max = UINT64_C(3600000000)},
    {"backend", AK_OPT_ENUM, AT(backend), "bridge", "how ports are wired", .choices = "bridge|ovn|fake"},
    {"image-dir", AK_OPT_LIST, AT(images), "/a,/b",
     "a directory that images may come from; this text is long enough that it has to be wrapped in the help"},
};

static const struct ak_program program = {"alkaid-test", "Tests the settings.", NULL, table,
                                          AK_ARRAY_SIZE(table)};

/* --- running the loader with its output caught ------------------------------------------ */

struct run {
        struct config config;
        int result, operand;
        char out[16384], err[4096];
};

static void catch_fd(int fd, int *saved, int *file)
{
        *file = memfd_create("caught", MFD_CLOEXEC);
        *saved = dup(fd);
        assert_true(*file >= 0 && *saved >= 0 && dup2(*file, fd) >= 0);
}

static void release_fd(int fd, int saved, int file, char *text, size_t size)
{
        ssize_t n;

        assert_true(dup2(saved, fd) >= 0);
        n = pread(file, text, size - 1, 0);
        assert_true(n >= 0);
        text[n] = '\0';
        (void)close(saved);
        (void)close(file);
}

static void load_program(const struct ak_program *p, struct run *r, char **argv)
{
        int saved[2], file[2], argc = 0;

        while (argv[argc])
                argc++;
        memset(r, 0, sizeof(*r));
        (void)fflush(stdout);
        (void)fflush(stderr);
        catch_fd(STDOUT_FILENO, &saved[0], &file[0]);
        catch_fd(STDERR_FILENO, &saved[1], &file[1]);
        r->result = ak_options_load(p, argc, argv, &r->config, &r->operand);
        (void)fflush(stdout);
        (void)fflush(stderr);
        release_fd(STDERR_FILENO, saved[1], file[1], r->err, sizeof(r->err));
        release_fd(STDOUT_FILENO, saved[0], file[0], r->out, sizeof(r->out));
}

#define LOAD(r, ...) load_program(&program, r, (char *[]){"alkaid-test", ##__VA_ARGS__, NULL})

static void deinit(struct run *r)
{
        static const struct config zero;

        ak_options_deinit(&program, &r->config);
        if (r->result == 0) /* what was on the heap is gone from the struct */
                assert_true(!r->config.state_dir && !r->config.backend && !r->config.images.items);
        else
                assert_memory_equal(&r->config.images, &zero.images, sizeof(zero.images));
}

static char file_path[64]; /* of this process */

static void write_config(const char *text, size_t len)
{
        FILE *f = fopen(file_path, "we");

        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, len, f), len);
        assert_int_equal(fclose(f), 0);
}

static int clean(void **state AK_UNUSED)
{
        (void)unlink(file_path);
        for (size_t i = 0; i < AK_ARRAY_SIZE(table); i++) {
                char name[64] = "ALKAID_";
                size_t n = strlen(name);

                for (const char *c = table[i].name; *c; c++)
                        name[n++] = (char)(*c == '-' ? '_' : *c - 'a' + 'A');
                name[n] = '\0';
                (void)unsetenv(name);
        }
        (void)unsetenv("ALKAID_CONFIG");
        (void)unsetenv("ALKAID_LOG_LEVEL");
        return 0;
}

static void load_file(struct run *r, const char *text)
{
        write_config(text, strlen(text));
        LOAD(r, "--config", file_path);
}

/* --- values ---------------------------------------------------------------------------------- */

static void defaults(void **state AK_UNUSED)
{
        struct run r;

        LOAD(&r);
        assert_int_equal(r.result, 0);
        assert_string_equal(r.config.state_dir, "/var/lib/x");
        assert_true(r.config.auto_create);
        assert_int_equal(r.config.max_vms, 8);
        assert_int_equal(r.config.cache_size, 1 << 30);
        assert_int_equal(r.config.grace, 30000000);
        assert_string_equal(r.config.backend, "bridge");
        assert_int_equal(r.config.images.count, 2);
        assert_string_equal(r.config.images.items[1], "/b");
        assert_null(r.config.images.items[2]);
        assert_string_equal(r.err, "");
        deinit(&r);
}

static void flag_beats_environment_beats_file_beats_default(void **state AK_UNUSED)
{
        struct run r;

        assert_int_equal(setenv("ALKAID_MAX_VMS", "3", 1), 0);
        assert_int_equal(setenv("ALKAID_BACKEND", "fake", 1), 0);
        write_config("maxVms: 2\nbackend: ovn\nstateDir: /file\n", 39);
        LOAD(&r, "--max-vms=4", "--config", file_path);
        assert_int_equal(r.result, 0);
        assert_int_equal(r.config.max_vms, 4);
        assert_string_equal(r.config.backend, "fake");
        assert_string_equal(r.config.state_dir, "/file");
        assert_int_equal(r.config.grace, 30000000);
        deinit(&r);
}

static void file_may_come_from_the_environment(void **state AK_UNUSED)
{
        struct run r;

        write_config("maxVms: 2\n", 10);
        assert_int_equal(setenv("ALKAID_CONFIG", file_path, 1), 0);
        LOAD(&r);
        assert_int_equal(r.config.max_vms, 2);
        deinit(&r);
}

static void lists_replace_each_other(void **state AK_UNUSED)
{
        struct run r;

        load_file(&r, "imageDir: [/f1, '/f,2', /f3]\n");
        assert_int_equal(r.config.images.count, 3);
        assert_string_equal(r.config.images.items[1], "/f,2"); /* no commas in a sequence or a flag */
        deinit(&r);
        assert_int_equal(setenv("ALKAID_IMAGE_DIR", "/e1,,/e2", 1), 0);
        LOAD(&r, "--config", file_path);
        assert_int_equal(r.config.images.count, 2);
        assert_string_equal(r.config.images.items[1], "/e2");
        deinit(&r);
        LOAD(&r, "--image-dir", "/x,y", "--image-dir=/z");
        assert_int_equal(r.config.images.count, 2);
        assert_string_equal(r.config.images.items[0], "/x,y");
        deinit(&r);
        assert_int_equal(setenv("ALKAID_IMAGE_DIR", "", 1), 0);
        LOAD(&r);
        assert_int_equal(r.config.images.count, 0);
        deinit(&r);
        assert_int_equal(unsetenv("ALKAID_IMAGE_DIR"), 0);
        load_file(&r, "imageDir: []\n");
        assert_int_equal(r.result, 0);
        assert_int_equal(r.config.images.count, 0);
        deinit(&r);
}

static void units(void **state AK_UNUSED)
{
        static const struct {
                char *flag;
                uint64_t size, grace;
        } cases[] = {
            {"--cache-size=64", 64, 30000000},
            {"--cache-size=4K", 4096, 30000000},
            {"--cache-size=200Mi", UINT64_C(200) << 20, 30000000},
            {"--cache-size=1T", UINT64_C(1) << 40, 30000000},
            {"--grace=250ms", 1 << 30, 250000},
            {"--grace=5m", 1 << 30, 300000000},
            {"--grace=1h", 1 << 30, UINT64_C(3600000000)},
            {"--grace=1000us", 1 << 30, 1000},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct run r;

                LOAD(&r, cases[i].flag);
                assert_int_equal(r.result, 0);
                assert_int_equal(r.config.cache_size, cases[i].size);
                assert_int_equal(r.config.grace, cases[i].grace);
                deinit(&r);
        }
}

static void booleans(void **state AK_UNUSED)
{
        struct run r;

        LOAD(&r, "--auto-create=false");
        assert_false(r.config.auto_create);
        deinit(&r);
        LOAD(&r, "--auto-create=no", "--auto-create");
        assert_true(r.config.auto_create); /* the last one counts */
        deinit(&r);
        load_file(&r, "autoCreate: off\n");
        assert_false(r.config.auto_create);
        deinit(&r);
}

static void operands(void **state AK_UNUSED)
{
        struct ak_program with = program;
        char *argv[] = {"alkaid-test", "nginx", "--max-vms", "2", "--", "--not-a-flag", NULL};
        struct run r;

        with.operands = "POD";
        load_program(&with, &r, argv);
        assert_int_equal(r.result, 0);
        assert_int_equal(r.config.max_vms, 2);
        assert_string_equal(argv[r.operand], "nginx");
        assert_string_equal(argv[r.operand + 1], "--not-a-flag");
        deinit(&r);
        LOAD(&r, "nginx");
        assert_int_equal(r.result, -EINVAL);
        assert_non_null(strstr(r.err, "unexpected argument \"nginx\""));
        deinit(&r);
}

/* More than 63 of them: getopt's '?' must not be taken for one. */
static void many_options(void **state AK_UNUSED)
{
        static char names[80][16];
        static struct {
                uint64_t values[80];
        } config;
        struct ak_option many[80];
        struct ak_program p = {"alkaid-many", "Many.", NULL, many, 80};
        int operand;

        for (size_t i = 0; i < 80; i++) {
                (void)snprintf(names[i], sizeof(names[i]), "option-%02zu", i);
                many[i] = (struct ak_option){names[i], AK_OPT_UINT, i * sizeof(uint64_t), NULL, "a number"};
        }
        assert_int_equal(ak_options_load(&p, 3, (char *[]){"x", "--option-63=7", "--option-79=9", NULL},
                                         &config, &operand),
                         0);
        assert_int_equal(config.values[63], 7);
        assert_int_equal(config.values[79], 9);
        assert_int_equal(ak_options_load(&p, 2, (char *[]){"x", "--no-such", NULL}, &config, &operand),
                         -EINVAL);
}

/* --- mistakes --------------------------------------------------------------------------------- */

static void assert_refused(struct run *r, const char *text)
{
        if (r->result != -EINVAL || !strstr(r->err, text))
                fail_msg("%d \"%s\" does not say \"%s\"", r->result, r->err, text);
        deinit(r);
}

static void bad_flags(void **state AK_UNUSED)
{
        static const struct {
                char *flag;
                const char *says;
        } cases[] = {
            {"--max-vms=many", "--max-vms: \"many\" is not valid; expected a whole number, 1 to 64"},
            {"--max-vms=0", "1 to 64"},
            {"--max-vms=65", "1 to 64"},
            {"--max-vms=-1", "--max-vms: \"-1\""},
            {"--max-vms= 1", "--max-vms: \" 1\""},
            {"--max-vms=1 ", "--max-vms"},
            {"--max-vms=18446744073709551616", "--max-vms"},
            {"--max-vms=", "--max-vms: \"\""},
            {"--cache-size=2T", "a size such as 512, 64K, 200Mi or 1G, at most 1Ti"},
            {"--cache-size=1X", "--cache-size"},
            {"--cache-size=17179869184G", "--cache-size"},
            {"--grace=5",
             "--grace: \"5\" is not valid; expected a duration such as 250ms, 10s, 5m or 1h, 1ms to 1h"},
            {"--grace=0s", "1ms to 1h"},
            {"--auto-create=maybe", "expected true or false"},
            {"--backend=brid", "--backend: \"brid\" is not valid; expected bridge|ovn|fake"},
            {"--backend=", "bridge|ovn|fake"},
            {"--backend=bridge|ovn", "bridge|ovn|fake"},
            {"--nonsense=1", "nonsense"},
            {"--state-dir", "state-dir"},
            {"-x", "x"},
            {"--log-level=loud", "log level \"loud\" is not valid; expected debug, info, warn or error"},
        };
        struct run r;

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                LOAD(&r, cases[i].flag);
                assert_refused(&r, cases[i].says);
        }
}

static void bad_environment(void **state AK_UNUSED)
{
        struct run r;

        assert_int_equal(setenv("ALKAID_MAX_VMS", "x", 1), 0);
        LOAD(&r, "--max-vms=1"); /* a stronger source does not hide the mistake */
        assert_refused(&r, "ALKAID_MAX_VMS: \"x\" is not valid");
}

static void bad_files(void **state AK_UNUSED)
{
        static const struct {
                const char *text, *says;
        } cases[] = {
            {"stateDir: x\nfoo: 1\n", ":2:1: \"foo\": unknown key"},
            {"state-dir: x\n", ":1:1: \"state-dir\": unknown key"},
            {"\n  stateDir: x\n  stateDir: y\n", ":3:3: \"stateDir\": given twice"},
            {"stateDir: [a]\n", ":1:1: \"stateDir\": a list; give one value"},
            {"imageDir: a\n", ":1:1: \"imageDir\": one value; give a list"},
            {"imageDir:\n  - [a]\n", ":2:5: a list in a list"},
            {"stateDir: {a: b}\n", ":1:11: a mapping"},
            {"- a\n", ":1:1: a configuration is a mapping"},
            {"text\n", ":1:1: a configuration is a mapping"},
            {"? [a]\n: b\n", ":1:3: a list where a key is expected"},
            {"stateDir: a\n---\nstateDir: b\n", ":2:1: a second document"},
            {"stateDir: &x a\nimageDir: [*x]\n", ":2:12: an alias"},
            {"stateDir: \"a\n", "not YAML: while scanning a quoted scalar"},
            {"stateDir: a\n\tb: c\n", "not YAML"},
            {"a: \001\n", "not YAML: control characters"},
            {"stateDir: \xff\n", "not YAML"},
            {"\nmaxVms: 99\n", ":2:1: maxVms: \"99\" is not valid; expected a whole number, 1 to 64"},
            {"grace: 5\n", ":1:1: grace: \"5\""},
            {"logLevel: loud\n", ":1:1: logLevel: \"loud\" is not valid; expected debug|info|warn|error"},
        };
        struct run r;

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                load_file(&r, cases[i].text);
                assert_non_null(strstr(r.err, file_path));
                assert_refused(&r, cases[i].says);
        }
}

static void unreadable_files(void **state AK_UNUSED)
{
        const size_t size = 1024 * 1024 + 1;
        AK_AUTOFREE char *big = malloc(size);
        struct run r;

        LOAD(&r, "--config=/nonexistent/x.yaml");
        assert_refused(&r, "/nonexistent/x.yaml: No such file or directory");
        LOAD(&r, "--config=/tmp");
        assert_refused(&r, "/tmp: cannot be read");
        assert_non_null(big);
        memset(big, '#', size);
        write_config(big, size);
        LOAD(&r, "--config", file_path);
        assert_refused(&r, "longer than 1 MiB");
}

static void long_values_are_refused(void **state AK_UNUSED)
{
        static char text[20000] = "stateDir: ", flag[20000] = "--state-dir=";
        struct run r;

        memset(text + 10, 'x', 9000);
        memset(flag + 12, 'x', 9000);
        LOAD(&r, flag);
        assert_refused(&r, "--state-dir");
        load_file(&r, text);
        assert_refused(&r, file_path);
}

static void empty_files_are_fine(void **state AK_UNUSED)
{
        static const char *const texts[] = {"", "\n\n", "# only a comment\n", "{}\n", "stateDir:\n"};
        struct run r;

        for (size_t i = 0; i < AK_ARRAY_SIZE(texts); i++) {
                load_file(&r, texts[i]);
                assert_int_equal(r.result, 0);
                assert_string_equal(r.err, "");
                deinit(&r);
        }
}

/* --- answers ------------------------------------------------------------------------------------ */

static void help(void **state AK_UNUSED)
{
        struct run r;

        LOAD(&r, "--help");
        assert_int_equal(r.result, AK_OPTIONS_DONE);
        for (size_t i = 0; i < AK_ARRAY_SIZE(table); i++)
                assert_non_null(strstr(r.out, table[i].name));
        assert_non_null(strstr(r.out, "[default: 8; 1 to 64; ALKAID_MAX_VMS; maxVms]"));
        assert_non_null(strstr(r.out, "--backend=bridge|ovn|fake"));
        assert_non_null(strstr(r.out, "Exit codes"));
        for (const char *line = r.out; *line; line += strcspn(line, "\n") + 1)
                assert_true(strcspn(line, "\n") <= 80);
        deinit(&r);
}

static void version(void **state AK_UNUSED)
{
        struct run r;

        LOAD(&r, "--version");
        assert_int_equal(r.result, AK_OPTIONS_DONE);
        assert_string_equal(r.out, "alkaid-test " ALKAID_VERSION "\n");
        deinit(&r);
}

static void check_config(void **state AK_UNUSED)
{
        struct run r;

        write_config("maxVms: 2\n", 10);
        LOAD(&r, "--check-config", "--config", file_path);
        assert_int_equal(r.result, AK_OPTIONS_DONE);
        assert_memory_equal(r.out, file_path, strlen(file_path));
        assert_string_equal(r.out + strlen(file_path), ": ok\n");
        assert_null(r.config.state_dir);
        write_config("maxVms: x\n", 10);
        LOAD(&r, "--check-config", "--config", file_path);
        assert_string_equal(r.out, "");
        assert_refused(&r, "maxVms");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_teardown(defaults, clean),
            cmocka_unit_test_teardown(flag_beats_environment_beats_file_beats_default, clean),
            cmocka_unit_test_teardown(file_may_come_from_the_environment, clean),
            cmocka_unit_test_teardown(lists_replace_each_other, clean),
            cmocka_unit_test_teardown(units, clean),
            cmocka_unit_test_teardown(booleans, clean),
            cmocka_unit_test_teardown(operands, clean),
            cmocka_unit_test_teardown(many_options, clean),
            cmocka_unit_test_teardown(bad_flags, clean),
            cmocka_unit_test_teardown(bad_environment, clean),
            cmocka_unit_test_teardown(bad_files, clean),
            cmocka_unit_test_teardown(unreadable_files, clean),
            cmocka_unit_test_teardown(long_values_are_refused, clean),
            cmocka_unit_test_teardown(empty_files_are_fine, clean),
            cmocka_unit_test_teardown(help, clean),
            cmocka_unit_test_teardown(version, clean),
            cmocka_unit_test_teardown(check_config, clean),
        };

        (void)snprintf(file_path, sizeof(file_path), "/tmp/ak-test-options-%ld.yaml", (long)getpid());
        return cmocka_run_group_tests(tests, NULL, NULL);
}
