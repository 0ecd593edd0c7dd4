/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what goes round, and what a hostile or later sender may put on the wire. */
#include "libcommon/schema.h"

#include <errno.h>
#include <malloc.h>
#include <msgpack.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/test.h"
#include "libcommon/utf8.h"

enum colour { RED, GREEN, BLUE };
static const char *const colours[] = {"red", "green", "blue", NULL};

struct thing {
        char name[9];
        uint64_t number;
        bool flag;
        enum colour colour;
        char *text;
        struct {
                uint32_t count;
                char items[3][5];
        } words;
        struct {
                uint32_t count;
                uint64_t items[4];
        } numbers;
        struct {
                uint32_t count;
                char (*items)[6];
        } lines;
};

#define AT(member) offsetof(struct thing, member)
static const struct ak_field fields[] = {
    {.name = "name",
     .kind = AK_FIELD_STR,
     .required = true,
     .offset = AT(name),
     .max_len = 8,
     .doc = "a name"},
    {.name = "number", .kind = AK_FIELD_U64, .offset = AT(number), .max_value = 1000, .doc = "a number"},
    {.name = "flag", .kind = AK_FIELD_BOOL, .offset = AT(flag), .doc = "a flag"},
    {.name = "colour",
     .kind = AK_FIELD_ENUM,
     .required = true,
     .offset = AT(colour),
     .names = colours,
     .doc = "a colour"},
    {.name = "text", .kind = AK_FIELD_TEXT, .offset = AT(text), .max_len = 100, .doc = "a text"},
    {.name = "words",
     .kind = AK_FIELD_STRLIST,
     .offset = AT(words),
     .max_len = 4,
     .max_count = 3,
     .doc = "words"},
    {.name = "numbers", .kind = AK_FIELD_U64LIST, .offset = AT(numbers), .max_count = 4, .doc = "numbers"},
    {.name = "lines",
     .kind = AK_FIELD_TEXTLIST,
     .offset = AT(lines),
     .max_len = 5,
     .max_count = 3,
     .doc = "lines"},
};
static const struct ak_record record = {"thing", sizeof(struct thing), fields, AK_ARRAY_SIZE(fields),
                                        "A thing."};

static char some_lines[2][6] = {"first", ""}; /* not on the heap: such a thing is not deinited */

static struct thing full_thing(void)
{
        return (struct thing){.name = "l\xc3\xa4uft",
                              .number = 1000,
                              .flag = true,
                              .colour = BLUE,
                              .text = (char *)(uintptr_t) "some text",
                              .words = {2, {"one", "two"}},
                              .numbers = {3, {0, 7, UINT64_MAX}},
                              .lines = {2, some_lines}};
}

/* --- round trips --------------------------------------------------------------------------- */

static void assert_round_trip(const struct thing *in)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        AK_AUTOFREE uint8_t *data = NULL;
        struct thing wire, json_out, copy;
        json_t *json = ak_record_to_json(&record, in);
        size_t len;

        assert_int_equal(ak_record_encode(&record, in, &data, &len), 0);
        assert_int_equal(ak_record_decode(&record, data, len, &wire, error), 0);
        assert_true(ak_record_equal(&record, in, &wire));
        assert_non_null(json);
        assert_int_equal(ak_record_from_json(&record, json, &json_out, error), 0);
        assert_true(ak_record_equal(&record, in, &json_out));
        assert_int_equal(ak_record_copy(&record, &copy, &wire), 0);
        if (wire.text)
                assert_ptr_not_equal(copy.text, wire.text);
        if (wire.lines.items)
                assert_ptr_not_equal(copy.lines.items, wire.lines.items);
        ak_record_deinit(&record, &wire);
        assert_true(ak_record_equal(&record, in, &copy));
        ak_record_deinit(&record, &copy);
        ak_record_deinit(&record, &json_out);
        ak_record_deinit(&record, &json_out); /* zeroed: harmless */
        json_decref(json);
}

static void round_trips(void **state AK_UNUSED)
{
        struct thing t = full_thing(), zero = {0};

        assert_round_trip(&t);
        assert_round_trip(&zero);
        t.text = (char *)(uintptr_t) "";
        assert_round_trip(&t);
        t.words.count = t.numbers.count = t.lines.count = 0;
        assert_round_trip(&t);
}

/* Optional zero values are not sent, required ones are. */
static void zero_values_are_left_out(void **state AK_UNUSED)
{
        static const uint8_t expected[] = "\x82\xa4name\xa0\xa6"
                                          "colour\xa3red";
        struct thing zero = {0};
        AK_AUTOFREE uint8_t *data = NULL;
        size_t len;

        assert_int_equal(ak_record_encode(&record, &zero, &data, &len), 0);
        assert_int_equal(len, sizeof(expected) - 1);
        assert_memory_equal(data, expected, len);
}

static void equality_sees_every_field(void **state AK_UNUSED)
{
        struct thing a = full_thing(), b = full_thing();

        assert_true(ak_record_equal(&record, &a, &b));
        b.words.items[2][0] = 'x'; /* past the count */
        b.name[7] = 'x';           /* past the NUL */
        assert_true(ak_record_equal(&record, &a, &b));
#define DIFFERS(change)                                                                                      \
        do {                                                                                                 \
                b = full_thing();                                                                            \
                change;                                                                                      \
                assert_false(ak_record_equal(&record, &a, &b));                                              \
                assert_false(ak_record_equal(&record, &b, &a));                                              \
        } while (0)
        DIFFERS(b.name[0] = 'x');
        DIFFERS(b.number--);
        DIFFERS(b.flag = false);
        DIFFERS(b.colour = RED);
        DIFFERS(b.text = NULL);
        DIFFERS(b.text = (char *)(uintptr_t) "other");
        DIFFERS(b.words.count = 1);
        DIFFERS(b.words.items[1][0] = 'x');
        DIFFERS(b.numbers.count = 2);
        DIFFERS(b.numbers.items[2] = 0);
        DIFFERS(b.lines.count = 1);
        char others[2][6] = {"first", "x"};
        DIFFERS(b.lines.items = others);
}

static void past_its_limit_is_not_encoded(void **state AK_UNUSED)
{
        struct thing t;
        uint8_t *data = NULL;
        size_t len = 77;

#define REFUSED(change)                                                                                      \
        do {                                                                                                 \
                t = full_thing();                                                                            \
                change;                                                                                      \
                assert_int_equal(ak_record_encode(&record, &t, &data, &len), -EINVAL);                       \
        } while (0)
        REFUSED(memset(t.name, 'x', sizeof(t.name))); /* not terminated */
        REFUSED(t.name[0] = '\xff');
        REFUSED(t.number = 1001);
        REFUSED(t.colour = BLUE + 1);
        REFUSED(t.words.count = 4);
        REFUSED(memset(t.words.items[0], 'x', 5));
        REFUSED(t.numbers.count = 5);
        REFUSED(t.lines.count = 4);
        REFUSED(t.text = (char *)(uintptr_t) "12345678901234567890123456789012345678901234567890"
                                             "123456789012345678901234567890123456789012345678901");
        assert_null(data);
        assert_int_equal(len, 77); /* untouched on failure */
}

/* --- hostile input ---------------------------------------------------------------------------- */

static char last_error[AK_SCHEMA_ERROR_SIZE];

static int decode(const void *data, size_t len)
{
        static const struct thing zero;
        AK_AUTOFREE uint8_t *exact = malloc(len ? len : 1); /* so that AddressSanitizer sees its end */
        struct thing t;
        int r;

        assert_non_null(exact);
        memcpy(exact, data, len);
        memset(&t, 0xaa, sizeof(t));
        r = ak_record_decode(&record, exact, len, &t, last_error);
        if (r < 0) {
                assert_memory_equal(&t, &zero, sizeof(t)); /* zeroed on failure */
                assert_true(last_error[0] != '\0');
                assert_memory_equal(last_error, "thing", 5);
        }
        ak_record_deinit(&record, &t);
        return r;
}

static void cut_off_at_every_byte(void **state AK_UNUSED)
{
        struct thing t = full_thing();
        AK_AUTOFREE uint8_t *data = NULL;
        size_t len;

        assert_int_equal(ak_record_encode(&record, &t, &data, &len), 0);
        for (size_t i = 0; i < len; i++)
                assert_int_equal(decode(data, i), -EBADMSG);
        assert_int_equal(decode(data, len), 0);
}

static void every_changed_byte_is_survived(void **state AK_UNUSED)
{
        struct thing t = full_thing();
        AK_AUTOFREE uint8_t *data = NULL;
        size_t len;

        assert_int_equal(ak_record_encode(&record, &t, &data, &len), 0);
        for (size_t i = 0; i < len; i++) {
                uint8_t was = data[i];

                for (int v = 0; v < 256; v++) {
                        int r;

                        data[i] = (uint8_t)v;
                        r = decode(data, len);
                        assert_true(r == 0 || r == -EBADMSG);
                }
                data[i] = was;
        }
}

static void following_bytes_are_refused(void **state AK_UNUSED)
{
        assert_int_equal(decode("\x82\xa4name\xa1x\xa6"
                                "colour\xa3red",
                                19),
                         0);
        assert_int_equal(decode("\x82\xa4name\xa1x\xa6"
                                "colour\xa3red\xc0",
                                20),
                         -EBADMSG);
        assert_string_equal(last_error, "thing: 1 bytes follow the body");
}

struct body {
        const char *text;
        size_t len;
        const char *says;
};
#define BODY(bytes, says)                                                                                    \
        {                                                                                                    \
                bytes, sizeof(bytes) - 1, says                                                               \
        }
#define HEAD(n)                                                                                              \
        n "\xa4name\xa1x\xa6"                                                                                \
          "colour\xa3red"

static void wrong_shapes(void **state AK_UNUSED)
{
        static const struct body bodies[] = {
            BODY("", "cut off"),
            BODY("\xc0", "not a map"),
            BODY("\xc1", "not msgpack"),
            BODY("\x01", "not a map"),
            BODY("\xa1x", "not a map"),
            BODY("\x90", "not a map"),
            BODY("\x91\x80", "not a map"),
            BODY("\x80", "thing.name: missing, but required"),
            BODY("\x81\xa4name\xa1x", "thing.colour: missing"),
            BODY(HEAD("\x83") "\x01\x02", "a key is not a string"),
            BODY(HEAD("\x83") "\x91\x01\x02", "a key is not a string"),
            BODY(HEAD("\x83") "\xa4name\xa1y", "thing.name: appears twice"),
            /* wrong types */
            BODY("\x82\xa4name\x01\xa6"
                 "colour\xa3red",
                 "thing.name: is no number"),
            BODY("\x82\xa4name\xc0\xa6"
                 "colour\xa3red",
                 "thing.name: has a type"),
            BODY("\x82\xa4name\xc4\x01x\xa6"
                 "colour\xa3red",
                 "thing.name: has a type"), /* binary */
            BODY("\x82\xa4name\x91\xa1x\xa6"
                 "colour\xa3red",
                 "thing.name: is no list"),
            BODY(HEAD("\x83") "\xa6number\xa1"
                              "1",
                 "thing.number: is no string"),
            BODY(HEAD("\x83") "\xa6number\xff", "thing.number: has a type"),                     /* -1 */
            BODY(HEAD("\x83") "\xa6number\xcb\x3f\xf0\0\0\0\0\0\0", "thing.number: has a type"), /* 1.0 */
            BODY(HEAD("\x83") "\xa6number\xc3", "thing.number: is no boolean"),
            BODY(HEAD("\x83") "\xa4"
                              "flag\x01",
                 "thing.flag: is no number"),
            BODY(HEAD("\x83") "\xa5words\x80", "thing.words: has a type"),
            BODY(HEAD("\x83") "\xa5words\x91\x01", "thing.words: item 0 is not a string"),
            BODY(HEAD("\x83") "\xa5words\x91\x91\xa1x", "thing.words: item 0 is not a string"),
            BODY(HEAD("\x83") "\xa7numbers\x92\x01\xa1x", "thing.numbers: item 1 is not an unsigned"),
            BODY(HEAD("\x83") "\xa7numbers\x91\xff", "thing.numbers: item 0 is not an unsigned"),
            /* limits */
            BODY("\x82\xa4name\xa9"
                 "123456789\xa6"
                 "colour\xa3red",
                 "thing.name: 9 bytes, at most 8"),
            BODY(HEAD("\x83") "\xa6number\xcd\x03\xe9", "thing.number: 1001 is more than 1000"),
            BODY(HEAD("\x83") "\xa6number\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "is more than 1000"),
            BODY("\x82\xa4name\xa1x\xa6"
                 "colour\xa4"
                 "pink",
                 "thing.colour: not one of the known"),
            BODY("\x82\xa4name\xa1x\xa6"
                 "colour\xa0",
                 "thing.colour: empty"),
            BODY(HEAD("\x83") "\xa5words\x94\xa1"
                              "a\xa1"
                              "b\xa1"
                              "c\xa1"
                              "d",
                 "thing.words: 4 items, at most 3"),
            BODY(HEAD("\x83") "\xa5words\x91\xa5"
                              "abcde",
                 "thing.words: 5 bytes, at most 4"),
            BODY(HEAD("\x83") "\xa7numbers\x95\x01\x01\x01\x01\x01", "thing.numbers: 5 items"),
            BODY(HEAD("\x83") "\xa5lines\x94\xa1x\xa1x\xa1x\xa1x", "thing.lines: 4 items, at most 3"),
            BODY(HEAD("\x83") "\xa5lines\x92\xa1x\xa6"
                              "123456",
                 "thing.lines: 6 bytes, at most 5"),
            BODY(HEAD("\x83") "\xa5lines\x92\xa1x\x01", "thing.lines: item 1 is not a string"),
            BODY(HEAD("\x84") "\xa5lines\x91\xa1x\xa5lines\x91\xa1x", "thing.lines: appears twice"),
            /* text that is none */
            BODY("\x82\xa4name\xa2"
                 "a\0\xa6"
                 "colour\xa3red",
                 "thing.name: not valid UTF-8, or contains NUL"),
            BODY("\x82\xa4name\xa1\xff\xa6"
                 "colour\xa3red",
                 "thing.name: not valid UTF-8"),
            BODY("\x82\xa4name\xa2\xc0\xaf\xa6"
                 "colour\xa3red",
                 "thing.name: not valid UTF-8"),
            BODY(HEAD("\x83") "\xa4text\xa1\x80", "thing.text: not valid UTF-8"),
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bodies); i++) {
                int r = decode(bodies[i].text, bodies[i].len);

                if (r != -EBADMSG || !strstr(last_error, bodies[i].says))
                        fail_msg("body %zu: %d \"%s\" does not say \"%s\"", i, r, last_error, bodies[i].says);
        }
}

/* Text that came before the mistake is freed (AddressSanitizer sees it otherwise). */
static void failure_frees_text(void **state AK_UNUSED)
{
        assert_int_equal(decode("\x83\xa4text\xa3"
                                "abc\xa4name\xa1x\xa6"
                                "colour\xa4"
                                "pink",
                                30),
                         -EBADMSG);
        assert_int_equal(decode("\x82\xa4text\xa3"
                                "abc\xa4text\xa3"
                                "abc",
                                19),
                         -EBADMSG);
}

/* Headers that promise more than there is: nothing is reserved for them. */
static void huge_counts_cost_nothing(void **state AK_UNUSED)
{
        static const struct body bodies[] = {
            BODY("\xdf\xff\xff\xff\xff", "cut off"),
            BODY("\xdf\xff\xff\xff\xff\xa4name\xa1x", "cut off"),
            BODY(HEAD("\x83") "\xa5words\xdd\xff\xff\xff\xff\xa1x", "cut off"),
            BODY(HEAD("\x83") "\xa5other\xdd\xff\xff\xff\xff\xa1x", "cut off"),
            BODY(HEAD("\x83") "\xa4text\xdb\xff\xff\xff\xff", "cut off"),
            BODY(HEAD("\x83") "\xa5other\xc9\xff\xff\xff\xff\x01", "cut off"),
            BODY(HEAD("\x83") "\xa5other\xc6\xff\xff\xff\xff\x01", "cut off"),
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bodies); i++) {
                size_t before = mallinfo2().uordblks, after;
                char error[AK_SCHEMA_ERROR_SIZE];
                struct thing t;
                int r = ak_record_decode(&record, (const uint8_t *)bodies[i].text, bodies[i].len, &t, error);

                after = mallinfo2().uordblks;
                /* An ext header of 2^32-1 bytes wraps msgpack-c's length to 0: refused all the same. */
                if (r != -EBADMSG)
                        fail_msg("body %zu: %d \"%s\"", i, r, error);
                assert_int_equal(before, after);
        }
}

static void deep_nesting_is_refused(void **state AK_UNUSED)
{
        enum { DEEP = 200000 };
        static const uint8_t head[] = {0x83, 0xa4, 'n',  'a', 'm', 'e', 0xa1, 'x', 0xa6, 'c', 'o', 'l', 'o',
                                       'u',  'r',  0xa3, 'r', 'e', 'd', 0xa5, 'o', 't',  'h', 'e', 'r'};
        AK_AUTOFREE uint8_t *data = malloc(DEEP + 40);
        char shallow[64] = HEAD("\x83") "\xa5other\x91\x91\x91\x91\x01";

        assert_non_null(data);
        memcpy(data, head, sizeof(head));
        memset(data + sizeof(head), 0x91, DEEP);
        assert_int_equal(decode(data, DEEP + sizeof(head)), -EBADMSG);
        assert_non_null(strstr(last_error, "nested deeper"));
        memset(data, 0x81, DEEP); /* maps whose keys are maps */
        assert_int_equal(decode(data, DEEP), -EBADMSG);
        assert_int_equal(decode(shallow, strlen(shallow)), 0); /* a later version may nest a little */
}

static void unknown_keys_are_ignored(void **state AK_UNUSED)
{
        static const struct body bodies[] = {
            BODY(HEAD("\x83") "\xa5other\xc0", ""),
            BODY(HEAD("\x83") "\xa5other\xcb\x3f\xf0\0\0\0\0\0\0", ""),
            BODY(HEAD("\x83") "\xa5other\x82\x01\x02\xc0\x93\x01\x02\x80", ""),
            BODY(HEAD("\x83") "\xa5other\xc7\x02\x05zz", ""),
            BODY("\x83\xa5other\xa1\xff\xa4name\xa1x\xa6"
                 "colour\xa3red",
                 ""),
            BODY("\x84\xa5other\x01\xa5other\x02\xa4name\xa1x\xa6"
                 "colour\xa3red",
                 ""),
            BODY(HEAD("\x83") "\xa9number\0\0\0\xa1z", ""),
            BODY(HEAD("\x83") "\xb0numbers\0\0\0\0\0\0\0\0\0\xa1z", ""),
            BODY("\x83\xa3nam\xa1z\xa4name\xa1x\xa6"
                 "colour\xa3red",
                 ""), /* a prefix of a known one */
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bodies); i++)
                if (decode(bodies[i].text, bodies[i].len) != 0)
                        fail_msg("body %zu: %s", i, last_error);
}

/* A list of an unknown key must not leak into the next known list. */
static void lists_do_not_mix(void **state AK_UNUSED)
{
        static const char body[] = HEAD("\x85") "\xa5other\x92\xa1"
                                                "a\x91\xa1"
                                                "b"
                                                "\xa5words\x92\xa1"
                                                "c\xa1"
                                                "d"
                                                "\xa7numbers\x91\x07";
        char error[AK_SCHEMA_ERROR_SIZE];
        struct thing t;

        assert_int_equal(ak_record_decode(&record, (const uint8_t *)body, sizeof(body) - 1, &t, error), 0);
        assert_int_equal(t.words.count, 2);
        assert_string_equal(t.words.items[0], "c");
        assert_string_equal(t.words.items[1], "d");
        assert_int_equal(t.numbers.count, 1);
        assert_int_equal(t.numbers.items[0], 7);
        ak_record_deinit(&record, &t);
}

static void size_limit(void **state AK_UNUSED)
{
        const size_t size = AK_SCHEMA_MAX_BYTES + 1;
        AK_AUTOFREE char *data = calloc(1, size);

        assert_non_null(data);
        assert_int_equal(decode(data, size), -EMSGSIZE);
        assert_int_equal(decode(data, size - 1), -EBADMSG);
}

/* Other encoders choose other widths for the same number and string. */
static void any_width_is_read(void **state AK_UNUSED)
{
        static const char body[] = "\xde\0\x04"
                                   "\xd9\x04name\xda\0\x01x"
                                   "\xdb\0\0\0\x06"
                                   "colour\xa4"
                                   "blue"
                                   "\xa6number\xd2\0\0\0\x05" /* signed, but not negative */
                                   "\xa5words\xdc\0\x01\xa1w";
        char error[AK_SCHEMA_ERROR_SIZE];
        struct thing t;

        assert_int_equal(ak_record_decode(&record, (const uint8_t *)body, sizeof(body) - 1, &t, error), 0);
        assert_string_equal(t.name, "x");
        assert_int_equal(t.number, 5);
        assert_int_equal(t.colour, BLUE);
        assert_string_equal(t.words.items[0], "w");
        ak_record_deinit(&record, &t);
}

static void lists_on_the_heap(void **state AK_UNUSED)
{
        struct thing a = {0}, b = {0};

        assert_int_equal(AK_TEXTLIST_ADD(&a.lines, "one"), 0);
        assert_int_equal(AK_TEXTLIST_ADD(&a.lines, "longer than five"), 0);
        assert_int_equal(a.lines.count, 2);
        assert_string_equal(a.lines.items[0], "one");
        assert_string_equal(a.lines.items[1], "longe"); /* cut */
        assert_int_equal(AK_TEXTLIST_ADD(&b.lines, "before"), 0);
        assert_int_equal(AK_TEXTLIST_COPY(&b.lines, &a.lines), 0);
        assert_true(ak_record_equal(&record, &a, &b));
        assert_ptr_not_equal(a.lines.items, b.lines.items);
        ak_textlist_clear(&a.lines);
        ak_textlist_clear(&a.lines);
        assert_int_equal(a.lines.count, 0);
        assert_int_equal(AK_TEXTLIST_COPY(&b.lines, &a.lines), 0); /* of an empty one */
        assert_int_equal(b.lines.count, 0);
        assert_null(b.lines.items);
}

/* What msgpack-c's own decoder makes of our bytes is what we meant. */
static void libmsgpack_reads_what_we_write(void **state AK_UNUSED)
{
        struct thing in = full_thing();
        AK_AUTOFREE uint8_t *data = NULL;
        msgpack_unpacked u;
        size_t len, off = 0;

        assert_int_equal(ak_record_encode(&record, &in, &data, &len), 0);
        msgpack_unpacked_init(&u);
        assert_int_equal(msgpack_unpack_next(&u, (const char *)data, len, &off), MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(off, len);
        assert_int_equal(u.data.type, MSGPACK_OBJECT_MAP);
        assert_int_equal(u.data.via.map.size, AK_ARRAY_SIZE(fields));
        assert_int_equal(u.data.via.map.ptr[1].val.via.u64, 1000);
        msgpack_unpacked_destroy(&u);
}

/* --- JSON -------------------------------------------------------------------------------------------- */

static void json_mistakes(void **state AK_UNUSED)
{
        static const struct {
                const char *json, *says;
        } cases[] = {
            {"[]", "is not a JSON object"},
            {"{}", "thing.name: missing"},
            {"{\"name\": 1, \"colour\": \"red\"}", "thing.name: is not a string"},
            {"{\"name\": \"x\", \"colour\": \"pink\"}", "thing.colour: not one of"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"nmae\": 1}", "unknown field \"nmae\""},
            {"{\"name\": \"x\", \"colour\": \"red\", \"number\": -1}", "thing.number: is not an unsigned"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"number\": 1.0}", "thing.number: is not an unsigned"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"number\": \"1x\"}",
             "thing.number: is not an unsigned"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"number\": \" 1\"}",
             "thing.number: is not an unsigned"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"number\": \"99999999999999999999\"}", "thing.number"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"number\": 1001}", "thing.number: 1001 is more"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"flag\": 1}", "thing.flag: is not a boolean"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"words\": \"a\"}", "thing.words: is not a list"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"words\": [1]}", "thing.words: item 0"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"words\": [\"a\",\"a\",\"a\",\"a\"]}",
             "thing.words: 4 items"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"numbers\": [null]}", "thing.numbers: item 0"},
            {"{\"name\": \"x\", \"colour\": \"red\", \"text\": \"y\", \"flag\": \"\"}", "thing.flag"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                json_t *json = json_loads(cases[i].json, 0, NULL);
                char error[AK_SCHEMA_ERROR_SIZE];
                struct thing t;

                assert_non_null(json);
                if (ak_record_from_json(&record, json, &t, error) != -EBADMSG ||
                    !strstr(error, cases[i].says))
                        fail_msg("case %zu: \"%s\" does not say \"%s\"", i, error, cases[i].says);
                assert_null(t.text);
                json_decref(json);
        }
}

/* jansson's integers end at INT64_MAX; past it a number is a string of digits. */
static void json_large_numbers(void **state AK_UNUSED)
{
        struct thing in = {.numbers = {3, {INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX}}};
        json_t *json = ak_record_to_json(&record, &in), *list = json_object_get(json, "numbers");

        assert_true(json_is_integer(json_array_get(list, 0)));
        assert_string_equal(json_string_value(json_array_get(list, 1)), "9223372036854775808");
        assert_string_equal(json_string_value(json_array_get(list, 2)), "18446744073709551615");
        json_decref(json);
        assert_round_trip(&in);
}

static void reference(void **state AK_UNUSED)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        ak_record_reference(&record, f);
        assert_int_equal(fclose(f), 0);
        assert_non_null(strstr(text, "## thing\n\nA thing.\n"));
        assert_non_null(strstr(text, "| `name` | string | 8 bytes | yes | a name |\n"));
        assert_non_null(
            strstr(text, "| `colour` | string | one of `red`, `green`, `blue` | yes | a colour |\n"));
        assert_non_null(strstr(text, "| `words` | list of strings | 3 items of 4 bytes |  | words |\n"));
        free(text);
}

static void utf8(void **state AK_UNUSED)
{
        static const struct body good[] = {
            BODY("", ""),
            BODY("a", ""),
            BODY("\xc2\x80", ""),
            BODY("\xdf\xbf", ""),
            BODY("\xe0\xa0\x80", ""),
            BODY("\xed\x9f\xbf", ""),
            BODY("\xef\xbf\xbf", ""),
            BODY("\xf0\x90\x80\x80", ""),
            BODY("\xf4\x8f\xbf\xbf", ""),
        };
        static const struct body bad[] = {
            BODY("\0", ""),
            BODY("\x80", ""),
            BODY("\xc1\xbf", ""),
            BODY("\xc2", ""),
            BODY("\xc2"
                 "a",
                 ""),
            BODY("\xe0\x9f\xbf", ""),
            BODY("\xed\xa0\x80", ""),
            BODY("\xf0\x8f\xbf\xbf", ""),
            BODY("\xf4\x90\x80\x80", ""),
            BODY("\xf8\x88\x80\x80\x80", ""),
            BODY("\xff", ""),
            BODY("ok\xe2\x82", ""),
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(good); i++)
                assert_true(ak_utf8_valid(good[i].text, good[i].len));
        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_false(ak_utf8_valid(bad[i].text, bad[i].len));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(round_trips),
            cmocka_unit_test(zero_values_are_left_out),
            cmocka_unit_test(equality_sees_every_field),
            cmocka_unit_test(past_its_limit_is_not_encoded),
            cmocka_unit_test(cut_off_at_every_byte),
            cmocka_unit_test(every_changed_byte_is_survived),
            cmocka_unit_test(following_bytes_are_refused),
            cmocka_unit_test(wrong_shapes),
            cmocka_unit_test(failure_frees_text),
            cmocka_unit_test(huge_counts_cost_nothing),
            cmocka_unit_test(deep_nesting_is_refused),
            cmocka_unit_test(unknown_keys_are_ignored),
            cmocka_unit_test(lists_do_not_mix),
            cmocka_unit_test(size_limit),
            cmocka_unit_test(any_width_is_read),
            cmocka_unit_test(libmsgpack_reads_what_we_write),
            cmocka_unit_test(json_mistakes),
            cmocka_unit_test(json_large_numbers),
            cmocka_unit_test(lists_on_the_heap),
            cmocka_unit_test(reference),
            cmocka_unit_test(utf8),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
