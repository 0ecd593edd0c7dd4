/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/trace.h"

#include <errno.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/test.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void takes_the_examples_of_the_specification(void **state AK_UNUSED)
{
        struct ak_trace t = {0};
        char text[AK_TRACEPARENT_SIZE];

        assert_int_equal(ak_trace_parse("00-" ID "-" PARENT "-01", &t), 0);
        assert_string_equal(t.id, ID);
        assert_string_equal(t.parent, PARENT);
        assert_true(t.sampled);
        ak_trace_format(&t, text);
        assert_string_equal(text, "00-" ID "-" PARENT "-01");
        assert_int_equal(ak_trace_parse("00-" ID "-" PARENT "-00", &t), 0);
        assert_false(t.sampled);
}

static void reads_a_later_version(void **state AK_UNUSED)
{
        struct ak_trace t;

        assert_int_equal(ak_trace_parse("cc-" ID "-" PARENT "-01", &t), 0);
        assert_int_equal(ak_trace_parse("cc-" ID "-" PARENT "-01-what-will-be", &t), 0);
        assert_int_equal(ak_trace_parse("cc-" ID "-" PARENT "-01.what", &t), -EINVAL);
}

static void refuses_what_is_none(void **state AK_UNUSED)
{
        static const char *const bad[] = {
            "",
            "00",
            "ff-" ID "-" PARENT "-01",
            "00-" ID "-" PARENT "-01-extra",
            "00-" ID "-" PARENT "-0",
            "00-" ID "-" PARENT "-0g",
            "00-00000000000000000000000000000000-" PARENT "-01",
            "00-" ID "-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
            "00_" ID "-" PARENT "-01",
            "0x-" ID "-" PARENT "-01",
            "00-" ID "--" PARENT "01",
        };
        struct ak_trace t = {.id = "kept"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_int_equal(ak_trace_parse(bad[i], &t), -EINVAL);
        assert_string_equal(t.id, "kept");
}

static void a_new_trace_is_valid_whatever_is_rolled(void **state AK_UNUSED)
{
        uint8_t random[24] = {0};
        struct ak_trace t, again;
        char text[AK_TRACEPARENT_SIZE];

        for (int i = 0; i < 2; i++) {
                ak_trace_new(random, &t);
                ak_trace_format(&t, text);
                assert_int_equal(ak_trace_parse(text, &again), 0);
                memset(random, 0xa5, sizeof(random));
        }
        assert_string_equal(t.id, "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
}

static void children_differ_and_repeat(void **state AK_UNUSED)
{
        struct ak_trace t = {.id = ID, .parent = PARENT};
        char ids[5][AK_SPAN_ID_SIZE];

        ak_trace_child(&t, "port", "p1", 1, ids[0]);
        ak_trace_child(&t, "port", "p1", 2, ids[1]);
        ak_trace_child(&t, "port", "p2", 1, ids[2]);
        ak_trace_child(&t, "attach", "p1", 1, ids[3]);
        ak_trace_child(&t, "port", "p1", 1, ids[4]);
        for (size_t i = 0; i < 4; i++)
                for (size_t k = i + 1; k < 4; k++)
                        assert_string_not_equal(ids[i], ids[k]);
        assert_string_equal(ids[0], ids[4]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(takes_the_examples_of_the_specification),
            cmocka_unit_test(reads_a_later_version),
            cmocka_unit_test(refuses_what_is_none),
            cmocka_unit_test(a_new_trace_is_valid_whatever_is_rolled),
            cmocka_unit_test(children_differ_and_repeat),
        };

        return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
