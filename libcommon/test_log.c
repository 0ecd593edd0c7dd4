/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches standard error, read back through a file put in its place. */
#include "libcommon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "libcommon/test.h"

struct capture {
        char text[65536];
        int stderr_fd;
        int file;
};

static void begin(struct capture *c)
{
        c->file = memfd_create("stderr", MFD_CLOEXEC);
        assert_true(c->file >= 0);
        (void)fflush(stderr);
        c->stderr_fd = dup(STDERR_FILENO);
        assert_true(dup2(c->file, STDERR_FILENO) >= 0);
}

static void end(struct capture *c)
{
        ssize_t n;

        assert_true(dup2(c->stderr_fd, STDERR_FILENO) >= 0);
        n = pread(c->file, c->text, sizeof(c->text) - 1, 0);
        assert_true(n >= 0);
        c->text[n] = '\0';
        (void)close(c->stderr_fd);
        (void)close(c->file);
}

/* The line without its time stamp; exactly one line. */
static const char *one_line(struct capture *c)
{
        char *newline = strchr(c->text, '\n');

        assert_non_null(newline);
        assert_string_equal(newline, "\n");
        *newline = '\0';
        assert_memory_equal(c->text, "ts=20", 5);
        return strchr(c->text, ' ') + 1;
}

static void writes_pairs(void **state AK_UNUSED)
{
        struct capture c;

        ak_log_init("test", AK_LOG_INFO);
        begin(&c);
        errno = ENOENT;
        ak_log(AK_LOG_WARN, "port_ready", "nic", "eth1", "left_out", NULL, "us", AK_FMT("%d", 812), NULL);
        assert_int_equal(errno, ENOENT);
        end(&c);
        assert_string_equal(one_line(&c), "level=warn service=test event=port_ready nic=eth1 us=812");
}

static void level_is_honoured(void **state AK_UNUSED)
{
        struct capture c;
        enum ak_log_level level;

        assert_int_equal(ak_log_level_parse("error", &level), 0);
        assert_int_equal(ak_log_level_parse("loud", &level), -EINVAL);
        assert_int_equal(level, AK_LOG_ERROR);
        ak_log_init("test", level);
        begin(&c);
        ak_log(AK_LOG_WARN, "no", NULL);
        ak_log(AK_LOG_ERROR, "yes", NULL);
        end(&c);
        assert_string_equal(one_line(&c), "level=error service=test event=yes");
        ak_log_init("test", AK_LOG_INFO);
}

/* Nothing that a peer sends can begin a line of its own or move the cursor. */
static void values_cannot_forge(void **state AK_UNUSED)
{
        static const struct {
                const char *value, *written;
        } cases[] = {
            {"", "\"\""},
            {"plain-1.0/x:y", "plain-1.0/x:y"},
            {"two words", "\"two words\""},
            {"a=b", "\"a=b\""},
            {"say \"hi\" \\ there", "\"say \\\"hi\\\" \\\\ there\""},
            {"x\nts=1 level=error", "\"x\\nts=1 level=error\""},
            {"\r\t\x1b[2J\x7f", "\"\\x0d\\x09\\x1b[2J\\x7f\""},
            {"l\xc3\xa4uft \xe2\x82\xac \xf0\x9f\x98\x80", "\"l\xc3\xa4uft \xe2\x82\xac \xf0\x9f\x98\x80\""},
            {"\xc2\x9b"
             "31m",
             "\"\\xc2\\x9b31m\""}, /* a C1 control */
            {"\xe2\x80\xae"
             "x",
             "\"\\xe2\\x80\\xaex\""},                /* right-to-left override */
            {"\xff\xc3", "\"\\xff\\xc3\""},          /* no UTF-8, and cut off */
            {"\xc0\xaf", "\"\\xc0\\xaf\""},          /* overlong */
            {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\""}, /* surrogate */
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct capture c;
                char expected[256];

                begin(&c);
                ak_log(AK_LOG_INFO, "e", "v", cases[i].value, NULL);
                end(&c);
                (void)snprintf(expected, sizeof(expected), "level=info service=test event=e v=%s",
                               cases[i].written);
                assert_string_equal(one_line(&c), expected);
        }
}

static void long_line_is_cut(void **state AK_UNUSED)
{
        struct capture c;
        char big[20000];
        size_t len;

        memset(big, '\n', sizeof(big) - 1); /* doubles when escaped */
        big[sizeof(big) - 1] = '\0';
        begin(&c);
        ak_log(AK_LOG_INFO, "e", "v", big, "after", "lost", NULL);
        end(&c);
        len = strlen(c.text);
        assert_true(len > 8000 && len <= 8192);
        assert_string_equal(c.text + len - 6, "\\n...\n");
        assert_null(strstr(c.text, "lost"));
        assert_ptr_equal(strchr(c.text, '\n'), c.text + len - 1);
}

static void rate_limit(void **state AK_UNUSED)
{
        struct ak_ratelimit rl = {.interval_us = 1000, .burst = 2};
        uint32_t suppressed = 99;

        assert_true(ak_ratelimit_pass(&rl, 5000, &suppressed));
        assert_int_equal(suppressed, 0);
        assert_true(ak_ratelimit_pass(&rl, 5001, &suppressed));
        assert_false(ak_ratelimit_pass(&rl, 5002, &suppressed));
        assert_false(ak_ratelimit_pass(&rl, 5999, &suppressed));
        assert_true(ak_ratelimit_pass(&rl, 6000, &suppressed));
        assert_int_equal(suppressed, 2);
        assert_true(ak_ratelimit_pass(&rl, 6001, &suppressed));
        assert_int_equal(suppressed, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(writes_pairs),        cmocka_unit_test(level_is_honoured),
            cmocka_unit_test(values_cannot_forge), cmocka_unit_test(long_line_is_cut),
            cmocka_unit_test(rate_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
