/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/netaddr.h"

#include <errno.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/test.h"

static struct ak_ip ip(const char *text)
{
        struct ak_ip out;

        if (ak_ip_parse(text, &out) < 0)
                fail_msg("%s is no address", text);
        return out;
}

static struct ak_cidr cidr(const char *text)
{
        struct ak_cidr out;

        if (ak_cidr_parse(text, &out) < 0)
                fail_msg("%s is no CIDR", text);
        return out;
}

static void addresses(void **state AK_UNUSED)
{
        static const char *const good[] = {"0.0.0.0", "10.0.0.5", "255.255.255.255",
                                           "::",      "fd00::1",  "fe80::1"};
        static const char *const bad[] = {"",           " ",         "10.0.0",   "10.0.0.256",
                                          "10.0.0.5.6", "10.0.0.05", "1.2.3.4 ", "10.0.0.0/24",
                                          "fd00:::1",   "fd00::g",   "::1%lo",   "localhost"};
        struct ak_ip out = {.family = 9};
        char text[AK_IP_SIZE];

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++) {
                out = ip(good[i]);
                ak_ip_format(&out, text);
                assert_string_equal(text, good[i]);
        }
        out.family = 9;
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (ak_ip_parse(bad[i], &out) != -EINVAL)
                        fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(out.family, 9); /* untouched on failure */
}

static void cidrs(void **state AK_UNUSED)
{
        static const char *const good[] = {"10.0.0.5/24", "0.0.0.0/0", "10.0.0.0/32",
                                           "fd00::/64",   "::/0",      "::1/128"};
        static const char *const bad[] = {"",
                                          "10.0.0.0",
                                          "10.0.0.0/",
                                          "/24",
                                          "10.0.0.0/33",
                                          "10.0.0.0/-1",
                                          "10.0.0.0/024",
                                          "10.0.0.0/2 ",
                                          "fd00::/129",
                                          "10.0.0.0/24/24",
                                          "10.0.0.0/+8",
                                          "10.0.0.0/4294967304",
                                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8"};
        struct ak_cidr out;
        char text[AK_CIDR_SIZE];

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++) {
                out = cidr(good[i]);
                ak_cidr_format(&out, text);
                assert_string_equal(text, good[i]);
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (ak_cidr_parse(bad[i], &out) != -EINVAL)
                        fail_msg("\"%s\" was taken", bad[i]);
}

static void containment(void **state AK_UNUSED)
{
        struct ak_cidr net = cidr("10.0.0.5/22"), all = cidr("0.0.0.0/0"), six = cidr("fd00:1::/48");
        struct ak_ip in = ip("10.0.3.255"), out = ip("10.0.4.0"), in6 = ip("fd00:1:0:ffff::1"),
                     out6 = ip("fd00:2::1");
        struct ak_cidr a = cidr("10.0.0.0/16"), b = cidr("10.0.255.0/24"), c = cidr("10.1.0.0/16");

        assert_true(ak_cidr_contains(&net, &in));
        assert_false(ak_cidr_contains(&net, &out));
        assert_true(ak_cidr_contains(&all, &out));
        assert_false(ak_cidr_contains(&all, &in6)); /* another family */
        assert_true(ak_cidr_contains(&six, &in6));
        assert_false(ak_cidr_contains(&six, &out6));
        assert_true(ak_cidr_overlaps(&a, &b) && ak_cidr_overlaps(&b, &a));
        assert_false(ak_cidr_overlaps(&a, &c) || ak_cidr_overlaps(&c, &b));
        assert_false(ak_cidr_overlaps(&a, &six));
}

static void assert_nth(const char *net_text, uint64_t n, const char *expected)
{
        struct ak_cidr net = cidr(net_text);
        struct ak_ip got;
        char text[AK_IP_SIZE];
        uint64_t index;

        if (!expected) {
                assert_int_equal(ak_cidr_nth(&net, n, &got), -ERANGE);
                return;
        }
        assert_int_equal(ak_cidr_nth(&net, n, &got), 0);
        ak_ip_format(&got, text);
        assert_string_equal(text, expected);
        assert_int_equal(ak_cidr_index(&net, &got, &index), 0);
        assert_int_equal(index, n);
}

static void numbering(void **state AK_UNUSED)
{
        struct ak_cidr wide = cidr("fd00::/32"), net = cidr("10.0.0.0/24");
        struct ak_ip far = ip("fd00:0:1::1"), outside = ip("10.0.1.0");
        uint64_t index = 77;

        assert_nth("10.0.0.77/24", 0, "10.0.0.0");
        assert_nth("10.0.0.0/24", 255, "10.0.0.255");
        assert_nth("10.0.0.0/24", 256, NULL);
        assert_nth("10.0.0.0/22", 1023, "10.0.3.255");
        assert_nth("10.0.0.9/32", 0, "10.0.0.9");
        assert_nth("10.0.0.9/32", 1, NULL);
        assert_nth("0.0.0.0/0", UINT32_MAX, "255.255.255.255");
        assert_nth("0.0.0.0/0", UINT64_C(1) << 32, NULL);
        assert_nth("fd00::/64", UINT64_MAX, "fd00::ffff:ffff:ffff:ffff");
        assert_nth("fd00::/120", 255, "fd00::ff");
        assert_nth("fd00::/120", 256, NULL);
        assert_int_equal(ak_cidr_index(&wide, &far, &index), -ERANGE); /* past 64 bits */
        assert_int_equal(ak_cidr_index(&net, &outside, &index), -ERANGE);
        assert_int_equal(index, 77);
}

static void order(void **state AK_UNUSED)
{
        struct ak_ip a = ip("10.0.0.1"), b = ip("10.0.0.2"), c = ip("::1");

        assert_true(ak_ip_compare(&a, &b) < 0 && ak_ip_compare(&b, &a) > 0 && ak_ip_compare(&a, &a) == 0);
        assert_true(ak_ip_compare(&b, &c) < 0 && ak_ip_compare(&c, &b) > 0);
}

static void macs(void **state AK_UNUSED)
{
        static const char *const bad[] = {"",
                                          "00:00:00:00:00:00",
                                          "01:00:5e:00:00:01",
                                          "ff:ff:ff:ff:ff:ff",
                                          "06:00:00:00:00",
                                          "06:00:00:00:00:0",
                                          "06:00:00:00:00:001",
                                          "06-00-00-00-00-01",
                                          "06:00:00:00:00:0g",
                                          "0600.0000.0001abc",
                                          " 6:00:00:00:00:01",
                                          "06:00:00:00:00:01 "};
        char out[AK_MAC_SIZE] = "untouched";

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (ak_mac_parse(bad[i], out) != -EINVAL)
                        fail_msg("\"%s\" was taken", bad[i]);
        assert_string_equal(out, "untouched");
        assert_int_equal(ak_mac_parse("06:AB:cd:00:00:01", out), 0);
        assert_string_equal(out, "06:ab:cd:00:00:01");
        ak_mac_from_bits(0, out);
        assert_string_equal(out, "06:00:00:00:00:00");
        ak_mac_from_bits(UINT64_MAX, out);
        assert_string_equal(out, "06:ff:ff:ff:ff:ff");
        ak_mac_from_bits(UINT64_C(0x0102030405), out);
        assert_string_equal(out, "06:01:02:03:04:05");
        assert_int_equal(ak_mac_parse(out, out), 0); /* what we make is what we take */
}

static void uuids(void **state AK_UNUSED)
{
        char a[AK_UUID_SIZE], b[AK_UUID_SIZE];

        ak_uuid_new(a);
        ak_uuid_new(b);
        assert_true(ak_uuid_valid(a) && ak_uuid_valid(b));
        assert_string_not_equal(a, b);
        assert_true(ak_uuid_valid("5f0c1a52-7d0e-4c1b-9d6a-0f6b0f4d9a10"));
        assert_false(ak_uuid_valid("5F0C1A52-7d0e-4c1b-9d6a-0f6b0f4d9a10"));
        assert_false(ak_uuid_valid("5f0c1a52-7d0e-4c1b-9d6a-0f6b0f4d9a1"));
        assert_false(ak_uuid_valid("5f0c1a52-7d0e-4c1b-9d6a-0f6b0f4d9a100"));
        assert_false(ak_uuid_valid("5f0c1a5277d0e-4c1b-9d6a-0f6b0f4d9a10"));
        assert_false(ak_uuid_valid("{f0c1a52-7d0e-4c1b-9d6a-0f6b0f4d9a10"));
        assert_false(ak_uuid_valid(""));
}

static void interface_names(void **state AK_UNUSED)
{
        static const char *const good[] = {"eth0", "a", "eth0.100", "br-int", "abcdefghijklmno", "E_1"};
        static const char *const bad[] = {
            "", "0eth", ".", "..", "-x", "a/b", "a b", "a:b", "abcdefghijklmnop", "eth0\n", "\xc3\xa4"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++)
                assert_true(ak_ifname_valid(good[i]));
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                if (ak_ifname_valid(bad[i]))
                        fail_msg("\"%s\" was taken", bad[i]);
}

static void dns_names(void **state AK_UNUSED)
{
        static const char *const bad[] = {"",   "-a", "a-",   "A",    "a_b", ".",
                                          "a.", ".a", "a..b", "a.-b", "a b", "a/b"};
        char text[300];

        assert_true(ak_dns1123_subdomain_valid("nginx-vm"));
        assert_true(ak_dns1123_subdomain_valid("a.b.c-1"));
        assert_true(ak_dns1123_subdomain_valid("0"));
        assert_true(ak_dns1123_label_valid("nginx-vm"));
        assert_false(ak_dns1123_label_valid("a.b"));
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                if (ak_dns1123_subdomain_valid(bad[i]) || ak_dns1123_label_valid(bad[i]))
                        fail_msg("\"%s\" was taken", bad[i]);
        }
        memset(text, 'a', sizeof(text));
        text[63] = '\0';
        assert_true(ak_dns1123_label_valid(text));
        text[63] = 'a';
        text[64] = '\0';
        assert_false(ak_dns1123_label_valid(text));
        text[64] = 'a';
        text[253] = '\0';
        assert_true(ak_dns1123_subdomain_valid(text));
        text[253] = 'a';
        text[254] = '\0';
        assert_false(ak_dns1123_subdomain_valid(text));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(addresses), cmocka_unit_test(cidrs),     cmocka_unit_test(containment),
            cmocka_unit_test(numbering), cmocka_unit_test(order),     cmocka_unit_test(macs),
            cmocka_unit_test(uuids),     cmocka_unit_test(dns_names), cmocka_unit_test(interface_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
