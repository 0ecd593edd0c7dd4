/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tools/alkaidctl/generic.h"

static char *dump(const void *data, size_t len)
{
        json_t *json = ctl_generic_json(data, len);
        char *text = json ? json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS) : NULL;

        json_decref(json);
        return text;
}

#define CHECK(bytes, wanted)                                                                                 \
        do {                                                                                                 \
                char *have = dump(bytes, sizeof(bytes) - 1);                                                 \
                assert_non_null(have);                                                                       \
                assert_string_equal(have, wanted);                                                           \
                free(have);                                                                                  \
        } while (0)

#define REFUSED(bytes) assert_null(ctl_generic_json((const uint8_t *)(bytes), sizeof(bytes) - 1))

static void test_values(void **state)
{
        (void)state;
        CHECK("\x83\xa1"
              "a\x01\xa1"
              "b\x92\xc3\xc0\xa1"
              "c\xa2hi",
              "{\"a\":1,\"b\":[true,null],\"c\":\"hi\"}");
        CHECK("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\"18446744073709551615\"");
        CHECK("\xff", "-1");
        CHECK("\x9d\xcc\xff\xcd\x01\x00\xce\x00\x01\x00\x00\xd0\xff\xd1\xff\xfe\xd2\xff\xff\xff\xfd"
              "\xd3\xff\xff\xff\xff\xff\xff\xff\xfc\xca\x3f\x80\x00\x00\xd9\x01x\xda\x00\x01y\xdb\x00\x00\x00"
              "\x01z"
              "\xdc\x00\x01\x05\xdd\x00\x00\x00\x01\x06",
              "[255,256,65536,-1,-2,-3,-4,1.0,\"x\",\"y\",\"z\",[5],[6]]");
        CHECK("\x95\xd4\x01x\xd8\x01"
              "0123456789abcdef\xc7\x02\x01xy\xde\x00\x01\xa1k\x01\xdf\x00\x00\x00\x01\xa1k\x02",
              "[\"(1 bytes)\",\"(16 bytes)\",\"(2 bytes)\",{\"k\":1},{\"k\":2}]");
        CHECK("\xc4\x02xy", "\"(2 bytes)\"");
        CHECK("\xa2\xff\xfe", "\"(2 bytes)\"");
        CHECK("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\"(not a number)\"");
        CHECK("\x82\x01\x02\xa1x\x03", "{\"x\":3}"); /* a key that is no string */
}

static void test_refused(void **state)
{
        uint8_t deep[1000];

        (void)state;
        REFUSED("");
        REFUSED("\xc1");
        REFUSED("\x92\x01");
        REFUSED("\x01\x02");
        REFUSED("\xdf\xff\xff\xff\xff");
        REFUSED("\xdd\x7f\xff\xff\xff\x01");
        memset(deep, 0x91, sizeof(deep));
        deep[sizeof(deep) - 1] = 1;
        assert_null(ctl_generic_json(deep, sizeof(deep)));
        assert_null(ctl_generic_json(deep + sizeof(deep) - 20, 20));
        json_t *json = ctl_generic_json(deep + sizeof(deep) - 10, 10);
        assert_non_null(json);
        json_decref(json);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
