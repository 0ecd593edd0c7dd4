/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "libcommon/cleanup.h"
#include "libcommon/deadlines.h"
#include "libcommon/test.h"

#define ITEMS 200

static uint64_t least(const struct ak_deadline *items, size_t count)
{
        uint64_t at = 0;

        for (size_t i = 0; i < count; i++)
                if (items[i].at_us && (!at || items[i].at_us < at))
                        at = items[i].at_us;
        return at;
}

static void the_earliest_is_first(void **state AK_UNUSED)
{
        struct ak_deadlines set = {0};
        struct ak_deadline items[ITEMS] = {0};
        size_t there = 0;
        unsigned seed = 7;

        assert_null(ak_deadlines_first(&set));
        assert_int_equal(ak_deadlines_next_us(&set), 0);
        for (int round = 0; round < 20000; round++) {
                struct ak_deadline *d = &items[(size_t)rand_r(&seed) % ITEMS];
                uint64_t to = rand_r(&seed) % 3 ? 1 + (uint64_t)rand_r(&seed) % 100 : 0;

                there += (to != 0) - (size_t)(d->at_us != 0);
                assert_int_equal(ak_deadline_set(&set, d, to), 0);
                assert_int_equal(d->at_us, to);
                assert_int_equal(set.count, there);
                assert_int_equal(ak_deadlines_next_us(&set), least(items, ITEMS));
        }
        ak_deadlines_deinit(&set);
}

static void what_is_due_is_taken_in_order(void **state AK_UNUSED)
{
        struct ak_deadlines set = {0};
        struct ak_deadline items[ITEMS] = {0}, *d;
        uint64_t before = 0;
        size_t taken = 0;

        for (size_t i = 0; i < ITEMS; i++) {
                items[i].owner = &items[i];
                assert_int_equal(ak_deadline_set(&set, &items[i], 1 + i * 7919 % ITEMS), 0);
        }
        assert_null(ak_deadlines_take_due(&set, 0));
        for (; (d = ak_deadlines_take_due(&set, ITEMS / 2)); taken++) {
                /* Taken back: it may be set again, or go. */
                assert_ptr_equal(d->owner, d);
                assert_int_equal(d->at_us, 0);
                size_t i = (size_t)(d - items);
                assert_true(1 + i * 7919 % ITEMS >= before);
                before = 1 + i * 7919 % ITEMS;
        }
        assert_int_equal(taken, ITEMS / 2);
        assert_int_equal(ak_deadlines_next_us(&set), ITEMS / 2 + 1);
        ak_deadlines_deinit(&set);
}

static void taking_back_twice_is_nothing(void **state AK_UNUSED)
{
        struct ak_deadlines set = {0};
        struct ak_deadline a = {0}, b = {0};

        assert_int_equal(ak_deadline_set(&set, &a, 0), 0);
        assert_int_equal(ak_deadline_set(&set, &a, 5), 0);
        assert_int_equal(ak_deadline_set(&set, &b, 5), 0);
        assert_int_equal(ak_deadline_set(&set, &a, 0), 0);
        assert_int_equal(ak_deadline_set(&set, &a, 0), 0);
        assert_ptr_equal(ak_deadlines_first(&set), &b);
        ak_deadlines_deinit(&set);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(the_earliest_is_first),
            cmocka_unit_test(what_is_due_is_taken_in_order),
            cmocka_unit_test(taking_back_twice_is_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
