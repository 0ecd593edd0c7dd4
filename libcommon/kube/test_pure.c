/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the API client: kubeconfig, line framing, event decoding, cache, quantities, paths. */
#include "libcommon/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/kube/cache.h"
#include "libcommon/kube/frame.h"
#include "libcommon/kube/kubeconfig.h"
#include "libcommon/kube/quantity.h"
#include "libcommon/kube/session.h"

/* ------------------------------------------------------------------ kubeconfig */

#define CONFIG(cluster, user)                                                                                \
        "apiVersion: v1\nkind: Config\npreferences: {}\n"                                                    \
        "clusters:\n- name: c\n  cluster:\n    " cluster "\nusers:\n- name: u\n  user:\n    " user           \
        "\ncontexts:\n- name: one\n  context: {cluster: c, user: u, namespace: ns1}\n"                       \
        "- name: two\n  context: {cluster: c}\ncurrent-context: one\n"

static int parse(const char *text, const char *context, struct ak_kubeconfig *out, char *error)
{
        *out = (struct ak_kubeconfig){0};
        return ak_kubeconfig_parse(out, text, strlen(text), NULL, context, error);
}

static void kubeconfig_inline(void **state)
{
        (void)state;
        char error[AK_KUBECONFIG_ERROR_SIZE];
        struct ak_kubeconfig c;
        const char *text =
            CONFIG("server: https://10.0.0.1:6443/\n    certificate-authority-data: Q0E=\n"
                   "    tls-server-name: api\n    future-key: [1, {a: b}]",
                   "client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n    token: abc\n"
                   "    exec: {command: x, args: [y]}");
        assert_int_equal(parse(text, NULL, &c, error), 0);
        assert_string_equal(c.server, "https://10.0.0.1:6443");
        assert_string_equal(c.ca_pem, "CA");
        assert_string_equal(c.cert_pem, "CERT");
        assert_string_equal(c.key_pem, "KEY");
        assert_string_equal(c.token, "abc");
        assert_string_equal(c.name_space, "ns1");
        assert_string_equal(c.tls_server_name, "api");
        assert_false(c.insecure);
        ak_kubeconfig_deinit(&c);
        assert_int_equal(parse(text, "two", &c, error), 0);
        assert_null(c.token);
        assert_string_equal(c.name_space, "default");
        ak_kubeconfig_deinit(&c);
        ak_kubeconfig_deinit(&c); /* a zeroed one is fine */
}

static void kubeconfig_as_json(void **state)
{
        (void)state;
        char error[AK_KUBECONFIG_ERROR_SIZE];
        struct ak_kubeconfig c;
        const char *text = "{\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"http://h:1\","
                           "\"insecure-skip-tls-verify\":true}}],\"contexts\":[{\"name\":\"x\",\"context\":"
                           "{\"cluster\":\"c\"}}],\"current-context\":\"x\",\"users\":null}";
        assert_int_equal(parse(text, NULL, &c, error), 0);
        assert_string_equal(c.server, "http://h:1");
        assert_true(c.insecure);
        ak_kubeconfig_deinit(&c);
}

static void kubeconfig_defects(void **state)
{
        (void)state;
        static const struct {
                const char *text, *context, *says;
                int rc;
        } table[] = {
            {"", NULL, "", -EINVAL},
            {"clusters: {", NULL, "", -EINVAL},
            {"- 1\n- 2\n", NULL, "", -EINVAL},
            {"clusters: []\n", NULL, "no current-context", -ENOENT},
            {CONFIG("server: https://h", "token: a"), "absent", "no context \"absent\"", -ENOENT},
            {CONFIG("server: ftp://h", "token: a"), NULL, "expected https://", -EINVAL},
            {CONFIG("insecure-skip-tls-verify: true", "token: a"), NULL, "names no server", -EINVAL},
            {CONFIG("insecure-skip-tls-verify: 17x", "token: a"), NULL, "", -EINVAL},
            {CONFIG("server: https://h", "client-key-data: S0VZ"), NULL, "not both", -EINVAL},
            {CONFIG("server: https://h", "client-key-data: '!!!'"), NULL, "not base64", -EINVAL},
            {CONFIG("server: https://h\n    certificate-authority: /nonexistent/ca", "token: a"), NULL,
             "/nonexistent/ca", -ENOENT},
            {CONFIG("server: https://h", "token: \"a\\r\\nX-Evil: b\""), NULL, "line break", -EINVAL},
            {"contexts:\n- name: x\n  context: {cluster: c}\ncurrent-context: x\n", NULL, "no cluster \"c\"",
             -ENOENT},
        };
        for (size_t i = 0; i < AK_ARRAY_SIZE(table); i++) {
                char error[AK_KUBECONFIG_ERROR_SIZE] = "";
                struct ak_kubeconfig c;
                assert_int_equal(parse(table[i].text, table[i].context, &c, error), table[i].rc);
                assert_non_null(strstr(error, table[i].says));
                assert_string_not_equal(error, "");
                assert_null(c.server);
        }
}

static void write_file(const char *path, const char *text)
{
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static void kubeconfig_files(void **state)
{
        (void)state;
        char dir[] = "/tmp/alkaid-test-kube-XXXXXX", path[128], error[AK_KUBECONFIG_ERROR_SIZE];
        struct ak_kubeconfig c = {0};
        assert_non_null(mkdtemp(dir));
        static const char *const files[][2] = {
            {"ca.pem", "CA"},
            {"cert", "CERT"},
            {"key", "KEY"},
            {"token", "secret\n"},
            {"config", CONFIG("server: https://h\n    certificate-authority: ca.pem",
                              "client-certificate: cert\n    client-key: key\n    tokenFile: token")}};
        for (size_t i = 0; i < AK_ARRAY_SIZE(files); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i][0]);
                write_file(path, files[i][1]);
        }
        assert_int_equal(ak_kubeconfig_load(&c, path, NULL, error), 0); /* relative to the file */
        assert_string_equal(c.ca_pem, "CA");
        assert_string_equal(c.key_pem, "KEY");
        assert_string_equal(c.token, "secret");
        ak_kubeconfig_deinit(&c);
        for (size_t i = 0; i < AK_ARRAY_SIZE(files); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i][0]);
                assert_int_equal(unlink(path), 0);
        }
        assert_int_equal(ak_kubeconfig_load(&c, path, NULL, error), -ENOENT);
        assert_non_null(strstr(error, path));
        assert_int_equal(rmdir(dir), 0);
}

/* ------------------------------------------------------------------ lines */

struct collected {
        char text[256];
        int stop_at, count;
};

static int collect(void *arg, const char *line, size_t len)
{
        struct collected *c = arg;
        size_t used = strlen(c->text);
        (void)snprintf(c->text + used, sizeof(c->text) - used, "[%.*s]", (int)len, line);
        return ++c->count == c->stop_at ? -ECANCELED : 0;
}

static void lines_cut_anywhere(void **state)
{
        (void)state;
        static const char stream[] = "one\ntwo\r\n\n\nthree\nfour";
        for (size_t chunk = 1; chunk <= sizeof(stream); chunk++) {
                struct ak_kube_lines lines = {0};
                struct collected c = {0};
                for (size_t at = 0; at < sizeof(stream) - 1; at += chunk) {
                        size_t left = sizeof(stream) - 1 - at;
                        assert_int_equal(
                            ak_kube_lines_feed(&lines, stream + at, left < chunk ? left : chunk, collect, &c),
                            0);
                }
                assert_string_equal(c.text, "[one][two][three]");
                assert_int_equal(lines.len, 4);
                ak_kube_lines_deinit(&lines);
        }
}

static void lines_are_bounded(void **state)
{
        (void)state;
        struct ak_kube_lines lines = {.max = 8};
        struct collected c = {0};
        assert_int_equal(ak_kube_lines_feed(&lines, "12345678\n", 9, collect, &c), 0);
        assert_int_equal(ak_kube_lines_feed(&lines, "123456789\n", 10, collect, &c), -EMSGSIZE);
        assert_int_equal(ak_kube_lines_feed(&lines, "1234", 4, collect, &c), 0);
        assert_int_equal(ak_kube_lines_feed(&lines, "56789", 5, collect, &c), -EMSGSIZE);
        assert_true(lines.capacity <= 4096);
        ak_kube_lines_deinit(&lines);
        struct collected stop = {.stop_at = 2};
        assert_int_equal(ak_kube_lines_feed(&lines, "a\nb\nc\n", 6, collect, &stop), -ECANCELED);
        assert_string_equal(stop.text, "[a][b]");
        ak_kube_lines_deinit(&lines);
}

/* ------------------------------------------------------------------ events */

static int decode(const char *line, struct ak_kube_event *out, char *error)
{
        return ak_kube_event_decode(line, strlen(line), out, error);
}

static void events(void **state)
{
        (void)state;
        char error[AK_KUBE_ERROR_SIZE];
        struct ak_kube_event e;
        assert_int_equal(decode("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"n\",\"uid\":\"u\","
                                "\"resourceVersion\":\"42\"}}}",
                                &e, error),
                         0);
        assert_int_equal(e.type, AK_KUBE_ADDED);
        assert_int_equal(ak_kube_resource_version(e.object), 42);
        assert_string_equal(ak_kube_meta(e.object, "name"), "n");
        assert_string_equal(ak_kube_meta(e.object, "namespace"), "");
        ak_kube_event_deinit(&e);
        assert_int_equal(
            decode("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}", &e,
                   error),
            0);
        assert_int_equal(e.type, AK_KUBE_BOOKMARK);
        ak_kube_event_deinit(&e);
        assert_int_equal(
            decode("{\"type\":\"ERROR\",\"object\":{\"code\":410,\"message\":\"gone\"}}", &e, error), 0);
        assert_int_equal(e.code, 410);
        ak_kube_event_deinit(&e);
}

static void events_malformed(void **state)
{
        (void)state;
        static const char *const lines[] = {
            "",
            "{",
            "[]",
            "{\"type\":1}",
            "{\"type\":\"ADDED\"}",
            "{\"type\":\"ADDED\",\"object\":[]}",
            "{\"type\":\"ADDED\",\"object\":{}}",
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}",
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":1,\"name\":\"n\"}}}",
            "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":[]}}",
            "{\"type\":\"added\",\"object\":{\"metadata\":{}}}",
            "{\"type\":\"ERROR\",\"object\":17}",
        };
        for (size_t i = 0; i < AK_ARRAY_SIZE(lines); i++) {
                char error[AK_KUBE_ERROR_SIZE] = "";
                struct ak_kube_event e;
                assert_int_equal(decode(lines[i], &e, error), -EBADMSG);
                assert_string_not_equal(error, "");
        }
        json_t *odd = json_pack("{s:{s:s}}", "metadata", "resourceVersion", "18446744073709551616");
        assert_int_equal(ak_kube_resource_version(odd), 0);
        json_decref(odd);
}

/* ------------------------------------------------------------------ cache */

static void note(char *out, const char *what, json_t *object)
{
        size_t used = strlen(out);
        (void)snprintf(out + used, 256 - used, "%s%s@%s ", what, ak_kube_meta(object, "uid"),
                       ak_kube_meta(object, "resourceVersion"));
        json_decref(object);
}

static void on_put(void *arg, json_t *object)
{
        note(arg, "+", object);
}

static void on_gone(void *arg, json_t *object)
{
        note(arg, "-", object);
}

static void put(struct ak_kube_cache *cache, const char *name, const char *uid, const char *version, int want)
{
        json_t *object = json_pack("{s:{s:s, s:s, s:s, s:s}}", "metadata", "namespace", "ns", "name", name,
                                   "uid", uid, "resourceVersion", version);
        assert_int_equal(ak_kube_cache_put(cache, object), want);
        json_decref(object);
}

static void cache_difference(void **state)
{
        (void)state;
        char out[256] = "";
        struct ak_kube_cache_sink sink = {.put = on_put, .gone = on_gone, .arg = out};
        struct ak_kube_cache *cache;
        assert_int_equal(ak_kube_cache_new(&cache, 3, &sink), 0);
        ak_kube_cache_list_begin(cache);
        put(cache, "a", "u1", "1", 0);
        put(cache, "b", "u2", "2", 0);
        put(cache, "c", "u3", "3", 0);
        put(cache, "d", "u4", "4", -ENOSPC);
        ak_kube_cache_list_end(cache);
        assert_string_equal(out, "+u1@1 +u2@2 +u3@3 ");
        out[0] = '\0';
        put(cache, "b", "u2", "5", 0);
        put(cache, "b", "u2", "5", 0); /* told twice */
        assert_string_equal(out, "+u2@5 ");
        out[0] = '\0';
        /* The watch was away: a is as it was, b was made anew, c is gone. */
        ak_kube_cache_list_begin(cache);
        put(cache, "a", "u1", "1", 0);
        put(cache, "b", "u9", "9", 0);
        ak_kube_cache_list_end(cache);
        assert_string_equal(out, "-u2@5 +u9@9 -u3@3 ");
        assert_int_equal(ak_kube_cache_size(cache), 2);
        out[0] = '\0';
        json_t *old =
            json_pack("{s:{s:s, s:s, s:s}}", "metadata", "namespace", "ns", "name", "b", "uid", "u2");
        ak_kube_cache_delete(cache, old); /* of the one before */
        assert_string_equal(out, "");
        json_object_set_new(json_object_get(old, "metadata"), "uid", json_string("u9"));
        ak_kube_cache_delete(cache, old);
        assert_string_equal(out, "-u9@ ");
        json_decref(old);
        ak_kube_cache_free(cache);
}

/* ------------------------------------------------------------------ quantities and paths */

static void quantities(void **state)
{
        (void)state;
        static const struct {
                const char *text;
                uint64_t milli;
                int rc;
        } table[] = {
            {"1", 1000, 0},
            {"0", 0, 0},
            {"500m", 500, 0},
            {"1.5", 1500, 0},
            {".5", 500, 0},
            {"0.0001", 1, 0},
            {"200Mi", UINT64_C(200) * 1048576 * 1000, 0},
            {"1.5Gi", UINT64_C(1536) * 1048576 * 1000, 0},
            {"2k", 2000000, 0},
            {"1e3", 1000000, 0},
            {"12E-1", 1200, 0},
            {"1n", 1, 0},
            {"+3", 3000, 0},
            {"1E", 0, -ERANGE},
            {"8Ei", 0, -ERANGE},
            {"9223372036854775.807", INT64_MAX, -ERANGE},
            {"1e40", 0, -ERANGE},
            {"", 0, -EINVAL},
            {"-1", 0, -EINVAL},
            {"1 ", 0, -EINVAL},
            {"1Kib", 0, -EINVAL},
            {"1e", 0, -EINVAL},
            {".", 0, -EINVAL},
            {"1.2.3", 0, -EINVAL},
            {"many", 0, -EINVAL},
        };
        for (size_t i = 0; i < AK_ARRAY_SIZE(table); i++) {
                uint64_t milli = 0;
                assert_int_equal(ak_kube_quantity_parse(table[i].text, &milli), table[i].rc);
                if (table[i].rc == 0)
                        assert_int_equal(milli, table[i].milli);
        }
        uint64_t milli = 0;
        json_t *number = json_integer(2);
        assert_int_equal(ak_kube_quantity_milli(number, &milli), 0);
        assert_int_equal(milli, 2000);
        assert_int_equal(ak_kube_quantity_milli(json_true(), &milli), -EINVAL);
        json_decref(number);
}

static void paths(void **state)
{
        (void)state;
        static const struct {
                struct ak_kube_ref ref;
                const char *path;
        } table[] = {
            {{"", "v1", "ns", "pods", "p", "status"}, "/api/v1/namespaces/ns/pods/p/status"},
            {{"", "v1", "", "nodes", "n", ""}, "/api/v1/nodes/n"},
            {{"vpc.alkaid.io", "v1", NULL, "ports", NULL, NULL}, "/apis/vpc.alkaid.io/v1/ports"},
            {{"", "v1", "ns", "pods", "a/../b", ""}, NULL},
            {{"", "v1", "ns", "pods", "..", ""}, NULL},
            {{"", "v1", "ns", "pods", "p?watch=1", ""}, NULL},
            {{"", "v1", "n s", "pods", "p", ""}, NULL},
        };
        for (size_t i = 0; i < AK_ARRAY_SIZE(table); i++) {
                char *path = NULL;
                assert_int_equal(ak_kube_path(&table[i].ref, &path), table[i].path ? 0 : -EINVAL);
                if (table[i].path)
                        assert_string_equal(path, table[i].path);
                free(path);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(kubeconfig_inline),
            cmocka_unit_test(kubeconfig_as_json),
            cmocka_unit_test(kubeconfig_defects),
            cmocka_unit_test(kubeconfig_files),
            cmocka_unit_test(lines_cut_anywhere),
            cmocka_unit_test(lines_are_bounded),
            cmocka_unit_test(events),
            cmocka_unit_test(events_malformed),
            cmocka_unit_test(cache_difference),
            cmocka_unit_test(quantities),
            cmocka_unit_test(paths),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
