/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/keyed.h"
#include "libcommon/test.h"

struct item {
        int value;
        char text[60];
};

static void what_is_made_is_found_until_it_is_dropped(void **state AK_UNUSED)
{
        AK_CLEANUP(ak_keyed_freep) struct ak_keyed *t = NULL;
        struct item *a;

        assert_int_equal(ak_keyed_new(&t, sizeof(*a), 2), 0);
        assert_null(ak_keyed_find(t, "a"));
        a = ak_keyed_get(t, "a");
        assert_non_null(a);
        assert_int_equal(a->value, 0);
        a->value = 7;
        assert_ptr_equal(ak_keyed_get(t, "a"), a);
        assert_ptr_equal(ak_keyed_find(t, "a"), a);
        ak_keyed_drop(t, "a");
        ak_keyed_drop(t, "a");
        assert_null(ak_keyed_find(t, "a"));
        a = ak_keyed_get(t, "a");
        assert_int_equal(a->value, 0);
}

static void a_full_table_makes_no_more(void **state AK_UNUSED)
{
        AK_CLEANUP(ak_keyed_freep) struct ak_keyed *t = NULL;

        assert_int_equal(ak_keyed_new(&t, sizeof(struct item), 2), 0);
        assert_non_null(ak_keyed_get(t, "a"));
        assert_non_null(ak_keyed_get(t, "b"));
        assert_null(ak_keyed_get(t, "c"));
        assert_non_null(ak_keyed_get(t, "b")); /* what is there is still found */
        ak_keyed_drop(t, "a");
        assert_non_null(ak_keyed_get(t, "c"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(what_is_made_is_found_until_it_is_dropped),
            cmocka_unit_test(a_full_table_makes_no_more),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
