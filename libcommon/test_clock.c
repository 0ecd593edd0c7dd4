/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/clock.h"

#include <errno.h>

#include "libcommon/cleanup.h"
#include "libcommon/test.h"

#define SEC UINT64_C(1000000)

static void clocks_run(void **state AK_UNUSED)
{
        uint64_t a = ak_clock_monotonic_us(), b = ak_clock_monotonic_us();

        assert_true(a > 0 && b >= a);
        assert_true(ak_clock_realtime_us() > UINT64_C(1600000000) * SEC); /* 2020 */
}

static void formats(void **state AK_UNUSED)
{
        char out[AK_RFC3339_SIZE];

        ak_rfc3339_format(0, 0, out);
        assert_string_equal(out, "1970-01-01T00:00:00Z");
        ak_rfc3339_format(UINT64_C(1767323045678901), 0, out);
        assert_string_equal(out, "2026-01-02T03:04:05Z");
        ak_rfc3339_format(UINT64_C(1767323045000007), 1, out);
        assert_string_equal(out, "2026-01-02T03:04:05.000007Z");
        ak_rfc3339_format(UINT64_C(253402300799999999), 1, out);
        assert_string_equal(out, "9999-12-31T23:59:59.999999Z");
}

static void parses(void **state AK_UNUSED)
{
        static const struct {
                const char *text;
                uint64_t us;
        } good[] = {
            {"1970-01-01T00:00:00Z", 0},
            {"2026-01-02T03:04:05Z", UINT64_C(1767323045) * SEC},
            {"2026-01-02t03:04:05z", UINT64_C(1767323045) * SEC},
            {"2026-01-02T03:04:05.678901Z", UINT64_C(1767323045) * SEC + 678901},
            {"2026-01-02T03:04:05.6789019Z", UINT64_C(1767323045) * SEC + 678901},
            {"2026-01-02T03:04:05.6Z", UINT64_C(1767323045) * SEC + 600000},
            {"2026-01-02T04:04:05+01:00", UINT64_C(1767323045) * SEC},
            {"2026-01-01T22:34:05-04:30", UINT64_C(1767323045) * SEC},
            {"2024-02-29T00:00:00Z", UINT64_C(1709164800) * SEC},
            {"2016-12-31T23:59:60Z", UINT64_C(1483228799) * SEC + 999999},
        };
        uint64_t us;

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++) {
                assert_int_equal(ak_rfc3339_parse(good[i].text, &us), 0);
                assert_int_equal(us, good[i].us);
        }
}

static void refuses(void **state AK_UNUSED)
{
        static const char *const bad[] = {
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-1-02T03:04:05Z",
            "2026-13-02T03:04:05Z",
            "2026-00-02T03:04:05Z",
            "2026-02-30T03:04:05Z",
            "2025-02-29T03:04:05Z",
            "2026-01-00T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:60:05Z",
            "2026-01-02T03:04:61Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05ZZ",
            "2026-01-02T03:04:05+1:00",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+01:00 ",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "+026-01-02T03:04:05Z",
            "2026-01-02T03:04:05\xff",
        };
        uint64_t us = 77;

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (ak_rfc3339_parse(bad[i], &us) != -EINVAL)
                        fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(us, 77);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(clocks_run),
            cmocka_unit_test(formats),
            cmocka_unit_test(parses),
            cmocka_unit_test(refuses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
