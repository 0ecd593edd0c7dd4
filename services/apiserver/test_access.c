/* SPDX-License-Identifier: Apache-2.0 */
/* Grants, tokens, roles; gzip and its header. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/access.h"
#include "services/apiserver/gzip.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static const char grants[] = "# comment\n\n"
                             "view user:vera team-a   # and more\n"
                             "edit group:dev team-a\r\n"
                             "admin user:ada team-a\n"
                             "admin group:ops *\n"
                             "view group:system:authenticated public\n";

static struct access *access_with(const char *grant_text, const char *token_text)
{
        char error[ACCESS_ERROR_SIZE] = "";
        struct access *a = NULL;

        assert_int_equal(access_new(&a, &(struct access_files){grant_text, token_text, NULL}, error), 0);
        return a;
}

static const char *const none[] = {NULL}, *const dev[] = {"dev", NULL}, *const ops[] = {"ops", NULL},
                         *const masters[] = {ACCESS_MASTERS, NULL}, *const nodes[] = {ACCESS_NODES, NULL};

static void test_roles(void **state)
{
        static const struct {
                const char *user;
                const char *const *groups;
                struct access_question q;
                bool yes;
        } cases[] = {
            {"vera", none, {"list", "", "pods", "", "team-a", ""}, true},
            {"vera", none, {"get", "", "pods", "log", "team-a", "p"}, true},
            {"vera", none, {"get", "", "pods", "attach", "team-a", "p"}, false},
            {"vera", none, {"create", "", "pods", "", "team-a", ""}, false},
            {"vera", none, {"list", "", "pods", "", "team-b", ""}, false},
            {"vera", none, {"list", "", "pods", "", "", ""}, false},
            {"vera", none, {"get", "", "namespaces", "", "", "team-a"}, true},
            {"vera", none, {"get", "", "namespaces", "", "", "team-b"}, false},
            {"vera", none, {"list", "", "namespaces", "", "", ""}, false},
            {"vera", none, {"list", "", "pods", "", "public", ""}, true},
            {"joe", dev, {"patch", "", "pods", "", "team-a", "p"}, true},
            {"joe", dev, {"create", "", "pods", "attach", "team-a", "p"}, true},
            {"joe", dev, {"patch", "", "pods", "status", "team-a", "p"}, false},
            {"joe", dev, {"create", "vpc.alkaid.io", "vpcs", "", "team-a", ""}, false},
            {"joe", dev, {"create", "vpc.alkaid.io", "ports", "", "team-a", ""}, true},
            {"ada", none, {"delete", "vpc.alkaid.io", "vpcs", "", "team-a", "v"}, true},
            {"ada", none, {"create", "", "pods", "binding", "team-a", "p"}, false},
            {"ada", none, {"create", "", "namespaces", "", "", ""}, false},
            {"ada", none, {"delete", "", "namespaces", "", "", "team-a"}, false},
            {"oli", ops, {"create", "", "namespaces", "", "", ""}, true},
            {"oli", ops, {"patch", "", "nodes", "", "", "n"}, true},
            {"oli", ops, {"patch", "vpc.alkaid.io", "ports", "status", "team-a", "p"}, false},
            {"oli", ops, {"*", "*", "*", "", "", ""}, false},
            {"any", masters, {"*", "*", "*", "", "", ""}, true},
            {"system:node:n1", nodes, {"patch", "", "pods", "status", "team-a", "p"}, true},
            {"system:node:n1", nodes, {"patch", "", "nodes", "", "", "n1"}, true},
            {"system:node:n1", nodes, {"patch", "", "nodes", "", "", "n2"}, false},
            {"system:node:n1", none, {"patch", "", "pods", "status", "team-a", "p"}, false},
            {"n1", nodes, {"list", "", "pods", "", "", ""}, false},
            {"nobody", none, {"list", "", "pods", "", "team-a", ""}, false},
            {"nobody", none, {"", "", "", "", "public", ""}, false},
        };
        struct access *a = access_with(grants, NULL);

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                const struct api_user user = {cases[i].user, cases[i].groups};

                if (access_allowed(a, &user, &cases[i].q) != cases[i].yes)
                        fail_msg("case %zu: %s %s %s", i, cases[i].user, cases[i].q.verb,
                                 cases[i].q.resource);
        }
        (void)access_free(a);
}

static void test_wrong_files(void **state)
{
        static const struct {
                const char *grants, *tokens, *error, *revoked;
        } cases[] = {
            {"view user:a\n", NULL, "grants, line 1"},
            {"\n\nroot user:a *\n", NULL, "line 3: the role"},
            {"view alice *\n", NULL, "user:NAME"},
            {"view user:a * * *\n", NULL, "too many words"},
            {"view user:\xff *\n", NULL, "UTF-8"},
            {NULL, HASH " u\n", "tokens, line 1"},
            {NULL, "abc u -\n", "64 hexadecimal"},
            {NULL, HASH "0 u -\n", "64 hexadecimal"},
            {NULL, HASH " u - tomorrow\n", "a time like"},
            {NULL, HASH " u a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\n", "16 groups"},
            {NULL, NULL, "revoked, line 2: must begin", "1\nalice\n"},
            {NULL, NULL, "revoked, line 1: must begin", "0:00\n"},
            {NULL, NULL, "SERIAL [USER [TIME]]", "1 alice now then\n"},
            {NULL, NULL, "at most 40", "112233445566778899001122334455667788990011\n"},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                char error[ACCESS_ERROR_SIZE] = "";
                struct access *a = NULL;

                assert_int_equal(
                    access_new(&a, &(struct access_files){cases[i].grants, cases[i].tokens, cases[i].revoked},
                               error),
                    -EINVAL);
                assert_null(a);
                assert_non_null(strstr(error, cases[i].error));
        }
}

static void test_tokens(void **state)
{
        struct access *a = access_with(NULL, HASH " joe dev,ops 2030-01-01T00:00:00Z\n");
        const struct access_token *t;
        uint8_t hash[ACCESS_HASH_SIZE];

        (void)state;
        for (size_t i = 0; i < sizeof(hash); i++)
                hash[i] = (uint8_t)(i % 16 * 0x11);
        t = access_token(a, hash, 1700000000);
        assert_non_null(t);
        assert_string_equal(t->name, "joe");
        assert_string_equal(t->groups[1], "ops");
        assert_null(t->groups[2]);
        assert_null(access_token(a, hash, 1893456000)); /* its end */
        hash[31] ^= 1;
        assert_null(access_token(a, hash, 1700000000));
        assert_null(access_token(NULL, hash, 1));
        (void)access_free(a);
}

static void test_revoked(void **state)
{
        const struct access_files files = {.revoked =
                                               "# gone\nFF:0a\n00ab alice\n1 bob 2026-01-02T03:04:05Z\n"};
        static const char *const yes[] = {"ff0a", "ab", "1"}, *const no[] = {"",     "ff", "ff0",
                                                                             "FF0A", "2",  "0ab"};
        char error[ACCESS_ERROR_SIZE] = "";
        struct access *a = NULL;

        (void)state;
        assert_int_equal(access_new(&a, &files, error), 0);
        for (size_t i = 0; i < AK_ARRAY_SIZE(yes); i++)
                assert_true(access_revoked(a, yes[i]));
        for (size_t i = 0; i < AK_ARRAY_SIZE(no); i++)
                assert_false(access_revoked(a, no[i]));
        assert_false(access_revoked(NULL, "1"));
        (void)access_free(a);
}

static void test_gzip_header(void **state)
{
        (void)state;
        assert_true(gzip_accepted("gzip"));
        assert_true(gzip_accepted("deflate, gzip;q=0.5, br"));
        assert_true(gzip_accepted("br,\tGZIP ; q=1"));
        assert_false(gzip_accepted(NULL));
        assert_false(gzip_accepted("identity"));
        assert_false(gzip_accepted("gzip;q=0"));
        assert_false(gzip_accepted("gzip;q=0.0, br;q=1"));
        assert_false(gzip_accepted("x-gzip, gzipped"));
}

static void test_gzip(void **state)
{
        size_t len = 300000, packed_len = 0;
        AK_AUTOFREE char *text = malloc(len);
        AK_AUTOFREE char *packed = NULL;
        AK_AUTOFREE char *back = malloc(len);
        z_stream z = {0};

        (void)state;
        for (size_t i = 0; i < len; i++)
                text[i] = (char)('a' + i * i % 23);
        assert_int_equal(gzip_pack(text, len, &packed, &packed_len), 0);
        assert_true(packed_len < len);
        z.next_in = (Bytef *)packed;
        z.avail_in = (uInt)packed_len;
        z.next_out = (Bytef *)back;
        z.avail_out = (uInt)len;
        assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
        assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
        (void)inflateEnd(&z);
        assert_memory_equal(back, text, len);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_roles),   cmocka_unit_test(test_wrong_files), cmocka_unit_test(test_tokens),
            cmocka_unit_test(test_revoked), cmocka_unit_test(test_gzip_header), cmocka_unit_test(test_gzip),
        };

        return cmocka_run_group_tests_name("apiserver_access", tests, NULL, NULL);
}
