/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/backoff.h"
#include "libcommon/cleanup.h"
#include "libcommon/test.h"

static void assert_near(uint64_t delay, uint64_t plain)
{
        assert_in_range(delay, plain - plain / 5, plain + plain / 5);
}

static void doubles_up_to_the_cap(void **state AK_UNUSED)
{
        struct ak_backoff b;

        ak_backoff_init(&b, AK_BACKOFF_BASE_US, AK_BACKOFF_CAP_US, 42);
        for (unsigned n = 0; n < 200; n++) {
                uint64_t plain = n < 9 ? AK_BACKOFF_BASE_US << n : AK_BACKOFF_CAP_US;

                assert_near(ak_backoff_next(&b), plain);
                assert_int_equal(b.failures, n + 1);
        }
}

static void same_seed_same_sequence(void **state AK_UNUSED)
{
        struct ak_backoff a, b, c;
        unsigned differ = 0;

        ak_backoff_init(&a, 1000, 100000, 1);
        ak_backoff_init(&b, 1000, 100000, 1);
        ak_backoff_init(&c, 1000, 100000, 2);
        for (int i = 0; i < 20; i++) {
                uint64_t delay = ak_backoff_next(&a);

                assert_int_equal(delay, ak_backoff_next(&b));
                differ += delay != ak_backoff_next(&c);
        }
        assert_true(differ > 10);
}

/* Two seeds out of many must not all wait equally long: that is what jitter is for. */
static void jitter_spreads(void **state AK_UNUSED)
{
        uint64_t low = UINT64_MAX, high = 0;

        for (uint64_t seed = 0; seed < 1000; seed++) {
                struct ak_backoff b;
                uint64_t delay;

                ak_backoff_init(&b, 1000000, 1000000, seed);
                delay = ak_backoff_next(&b);
                low = delay < low ? delay : low;
                high = delay > high ? delay : high;
        }
        assert_true(low < 820000 && high > 1180000);
}

static void reset_starts_over(void **state AK_UNUSED)
{
        struct ak_backoff b;
        uint64_t first;

        ak_backoff_init(&b, 1000, 1000000, 7);
        first = ak_backoff_next(&b);
        (void)ak_backoff_next(&b);
        ak_backoff_reset(&b);
        assert_int_equal(b.failures, 0);
        assert_int_equal(ak_backoff_next(&b), first);
}

static void survives_extremes(void **state AK_UNUSED)
{
        struct ak_backoff b;

        ak_backoff_init(&b, 0, 0, 0);
        assert_int_equal(ak_backoff_next(&b), 0);
        ak_backoff_init(&b, UINT64_MAX / 2, UINT64_MAX / 2, 0);
        assert_near(ak_backoff_next(&b), UINT64_MAX / 2);
        ak_backoff_init(&b, 1000, 10, 0); /* a base above the cap */
        assert_near(ak_backoff_next(&b), 10);
        ak_backoff_init(&b, 1000, 100000, 0);
        b.failures = UINT32_MAX;
        assert_near(ak_backoff_next(&b), 100000);
        assert_int_equal(b.failures, UINT32_MAX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(doubles_up_to_the_cap), cmocka_unit_test(same_seed_same_sequence),
            cmocka_unit_test(jitter_spreads),        cmocka_unit_test(reset_starts_over),
            cmocka_unit_test(survives_extremes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
