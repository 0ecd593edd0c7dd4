/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "services/apiserver/pki.h"

#define DAY 86400

static const char *const names[] = {"localhost", "127.0.0.1", "api.example", NULL};
static const char *const more_names[] = {"localhost", "127.0.0.1", "api.example", "10.0.0.1", NULL};

struct fixture {
        char root[64], dir[80];
        struct pki pki;
        time_t now;
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->root, sizeof(f->root), "/tmp/alkaid-pki-test-XXXXXX");
        if (!mkdtemp(f->root))
                return -1;
        (void)snprintf(f->dir, sizeof(f->dir), "%s/a/pki", f->root);
        f->now = time(NULL);
        *state = f;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        pki_deinit(&f->pki);
        (void)nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        free(f);
        return 0;
}

static int load_at(struct fixture *f, const char *const *server_names, const char *node, time_t now)
{
        const struct pki_config config = {
            .dir = f->dir, .names = server_names, .node_name = node, .now = now};
        struct pki pki = {0};
        char error[PKI_ERROR_SIZE] = "";
        int rc = pki_load(&pki, &config, error);

        if (rc < 0) {
                assert_true(*error);
                return rc;
        }
        pki_deinit(&f->pki);
        f->pki = pki;
        return 0;
}

static void test_first_start(void **state)
{
        static const char *const files[] = {"ca.key",           "ca.crt",         "server.key", "server.crt",
                                            "admin.key",        "admin.crt",      "node.key",   "node.crt",
                                            "admin.kubeconfig", "node.kubeconfig"};
        struct fixture *f = *state;
        char error[PKI_ERROR_SIZE];
        char *text = NULL;
        struct stat st;

        assert_int_equal(load_at(f, names, "n1", f->now), 0);
        assert_int_equal(pki_write_kubeconfigs(&f->pki, "https://127.0.0.1:6443", error), 0);
        for (size_t i = 0; i < AK_ARRAY_SIZE(files); i++) {
                char path[128];

                (void)snprintf(path, sizeof(path), "%s/%s", f->dir, files[i]);
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0600);
        }
        assert_int_equal(stat(f->dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(pki_read_file(f->dir, "node.kubeconfig", &text, error), 0);
        assert_non_null(strstr(text, "server: https://127.0.0.1:6443\n"));
        free(text);
}

/* What a second start keeps and what it makes anew. */
static void test_renewal(void **state)
{
        static const struct {
                const char *const *server_names;
                const char *node;
                int days;
                bool server, node_cert, admin; /* made anew */
        } cases[] = {
            {names, "n1", 0, false, false, false},     {names, "n1", 300, false, false, false},
            {more_names, "n1", 0, true, false, false}, {names, "n2", 0, false, true, false},
            {names, "n1", 340, true, true, true},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct pki before;

                assert_int_equal(load_at(f, names, "n1", f->now), 0);
                before = f->pki;
                f->pki = (struct pki){0};
                assert_int_equal(
                    load_at(f, cases[i].server_names, cases[i].node, f->now + cases[i].days * DAY), 0);
                assert_string_equal(before.ca_cert, f->pki.ca_cert);
                assert_int_equal(strcmp(before.server_cert, f->pki.server_cert) != 0, cases[i].server);
                assert_int_equal(strcmp(before.node_cert, f->pki.node_cert) != 0, cases[i].node_cert);
                assert_int_equal(strcmp(before.admin_cert, f->pki.admin_cert) != 0, cases[i].admin);
                pki_deinit(&before);
                pki_deinit(&f->pki);
                assert_int_equal(nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
        }
}

static void put(struct fixture *f, const char *name, const char *text)
{
        char error[PKI_ERROR_SIZE];

        assert_int_equal(pki_write_file(f->dir, name, text, error), 0);
}

/* A start that was cut off leaves a key without its certificate, or with an older one. */
static void test_half_written(void **state)
{
        struct fixture *f = *state;
        char *old;

        assert_int_equal(load_at(f, names, "n1", f->now), 0);
        old = strdup(f->pki.server_cert);
        put(f, "server.key", f->pki.admin_key);
        assert_int_equal(load_at(f, names, "n1", f->now), 0);
        assert_string_not_equal(old, f->pki.server_cert);
        put(f, "admin.crt", "nonsense");
        assert_int_equal(load_at(f, names, "n1", f->now), 0);
        assert_string_not_equal(f->pki.admin_cert, "nonsense");
        free(old);
}

static void test_ca_faults(void **state)
{
        struct fixture *f = *state;
        char path[128];

        assert_int_equal(load_at(f, names, "n1", f->now), 0);
        assert_int_equal(load_at(f, names, "n1", f->now + 3651L * DAY), -EKEYEXPIRED);
        put(f, "ca.key", f->pki.admin_key);
        assert_int_equal(load_at(f, names, "n1", f->now), -EBADMSG);
        put(f, "ca.key", "nonsense");
        assert_true(load_at(f, names, "n1", f->now) < 0);
        (void)snprintf(path, sizeof(path), "%s/ca.key", f->dir);
        assert_int_equal(remove(path), 0);
        assert_int_equal(load_at(f, names, "n1", f->now), -ENOENT);
}

static void test_directory(void **state)
{
        struct fixture *f = *state;
        char error[PKI_ERROR_SIZE];
        char path[128];

        assert_int_equal(load_at(f, names, "n1", f->now), 0);
        assert_int_equal(chmod(f->dir, 0750), 0);
        assert_int_equal(load_at(f, names, "n1", f->now), -EPERM);
        (void)snprintf(path, sizeof(path), "%s/ca.crt", f->dir);
        assert_int_equal(pki_make_dir(path, error), -ENOTDIR);
        (void)snprintf(path, sizeof(path), "%s/ca.crt/x", f->dir);
        assert_true(pki_make_dir(path, error) < 0);
}

/* A node's request is signed for the name in it, as a node and as nothing else, with its own key. */
static void test_join(void **state)
{
        char error[PKI_ERROR_SIZE] = "", name[PKI_NODE_NAME_SIZE], *groups[PKI_MAX_GROUPS + 1] = {NULL};
        struct fixture *f = *state;
        AK_AUTOFREE char *key = NULL;
        AK_AUTOFREE char *request = NULL;
        AK_AUTOFREE char *crt = NULL;
        AK_AUTOFREE char *ca = NULL;
        AK_AUTOFREE char *user = NULL;
        char *middle;

        assert_int_equal(pki_request_node("node-7", &key, &request, error), 0);
        assert_non_null(strstr(key, "PRIVATE KEY"));
        assert_int_equal(pki_requested_node(request, name, error), 0);
        assert_string_equal(name, "node-7");
        assert_int_equal(pki_sign_node(f->dir, request, f->now, &crt, &ca, error), -ENOENT);
        assert_null(crt);
        assert_int_equal(load_at(f, names, "n", f->now), 0);
        assert_int_equal(pki_sign_node(f->dir, request, f->now, &crt, &ca, error), 0);
        assert_string_equal(ca, f->pki.ca_cert);
        assert_int_equal(pki_subject_of(crt, &user, groups), 0);
        assert_string_equal(user, "system:node:node-7");
        assert_string_equal(groups[0], "system:nodes");
        assert_null(groups[1]);
        free(groups[0]);
        assert_int_equal(pki_requested_node("nonsense", name, error), -EINVAL);
        assert_non_null(strstr(error, "none in PEM"));
        /* Some bits of it are another's. */
        middle = request + strlen(request) / 2;
        *middle = *middle == 'A' ? 'B' : 'A';
        assert_int_equal(pki_requested_node(request, name, error), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_first_start, setup, teardown),
            cmocka_unit_test_setup_teardown(test_renewal, setup, teardown),
            cmocka_unit_test_setup_teardown(test_half_written, setup, teardown),
            cmocka_unit_test_setup_teardown(test_ca_faults, setup, teardown),
            cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
            cmocka_unit_test_setup_teardown(test_join, setup, teardown),
        };

        return cmocka_run_group_tests_name("apiserver_pki", tests, NULL, NULL);
}
