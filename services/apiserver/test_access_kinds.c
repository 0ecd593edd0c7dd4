/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind that is served, by every role, every verb, every subresource. A kind that is not in the table
 * below fails the test: who may do what with it is to be decided, not to happen.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/access.h"
#include "services/apiserver/schema_internal.h"

enum rank { NOBODY, VIEW, EDIT, ADMIN, MASTER };

static const struct {
        const char *plural;
        enum rank writes;
} decided[] = {
    {"pods", EDIT},     {"events", EDIT}, {"ports", EDIT},  {"leases", EDIT},      {"securitygroups", EDIT},
    {"subnets", ADMIN}, {"vpcs", ADMIN},  {"nodes", ADMIN}, {"namespaces", ADMIN},
};

static const struct {
        const char *kind, *subresource;
        enum rank rank; /* to create or get it */
} subresources[] = {{"pods", "attach", EDIT}, {"pods", "log", VIEW}, {"pods", "binding", MASTER}};

static const struct {
        const char *name;
        enum rank here, elsewhere; /* in team-a; in another namespace and outside of all */
} users[] = {
    {"nobody", NOBODY, NOBODY},   {"view-one", VIEW, NOBODY}, {"edit-one", EDIT, NOBODY},
    {"admin-one", ADMIN, NOBODY}, {"view-all", VIEW, VIEW},   {"edit-all", EDIT, EDIT},
    {"admin-all", ADMIN, ADMIN},  {"root", MASTER, MASTER},
};

static const char grants[] =
    "view user:view-one team-a\nedit user:edit-one team-a\nadmin user:admin-one team-a\n"
    "view user:view-all *\nedit user:edit-all *\nadmin user:admin-all *\n";

static enum rank writers(const char *plural)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(decided); i++) {
                if (strcmp(decided[i].plural, plural) == 0)
                        return decided[i].writes;
        }
        fail_msg("who may write %s? Decide it here and in access.c", plural);
        return NOBODY;
}

static void ask(const struct access *a, size_t user, const struct api_kind *kind, const char *verb,
                const char *subresource, enum rank needed)
{
        static const char *const masters[] = {ACCESS_MASTERS, NULL}, *const none[] = {NULL};
        const struct api_user u = {users[user].name, users[user].here == MASTER ? masters : none};
        const char *const places[] = {kind->namespaced ? "team-a" : "", kind->namespaced ? "team-b" : ""};

        for (size_t i = 0; i < AK_ARRAY_SIZE(places); i++) {
                const struct access_question q = {verb,        kind->group, kind->plural,
                                                  subresource, places[i],   "x"};
                bool here = kind->namespaced && i == 0;
                enum rank rank = here ? users[user].here : users[user].elsewhere;

                if (access_allowed(a, &u, &q) != (rank >= needed))
                        fail_msg("%s: %s %s/%s in \"%s\" must%s be allowed", u.name, verb, kind->plural,
                                 subresource, places[i], rank >= needed ? "" : " not");
        }
}

static void ask_all_verbs(const struct access *a, size_t user, const struct api_kind *kind)
{
        static const char *const reads[] = {"get", "list", "watch"};
        static const char *const writes[] = {"create", "update", "patch", "delete", "deletecollection"};
        enum rank writer = writers(kind->plural);

        for (size_t i = 0; i < AK_ARRAY_SIZE(reads); i++)
                ask(a, user, kind, reads[i], "", VIEW);
        for (size_t i = 0; i < AK_ARRAY_SIZE(writes); i++)
                ask(a, user, kind, writes[i], "", writer);
        ask(a, user, kind, "impersonate", "", MASTER);
        if (kind->has_status) {
                ask(a, user, kind, "get", "status", VIEW);
                ask(a, user, kind, "update", "status", MASTER);
                ask(a, user, kind, "patch", "status", MASTER);
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(subresources); i++) {
                if (strcmp(subresources[i].kind, kind->plural) == 0)
                        ask(a, user, kind, strcmp(subresources[i].subresource, "log") == 0 ? "get" : "create",
                            subresources[i].subresource, subresources[i].rank);
        }
}

static struct access *the_access(void)
{
        char error[ACCESS_ERROR_SIZE] = "";
        struct access *a = NULL;

        assert_int_equal(access_new(&a, &(struct access_files){.grants = grants}, error), 0);
        return a;
}

static void test_every_kind_by_every_role(void **state)
{
        struct access *a = the_access();

        (void)state;
        for (size_t u = 0; u < AK_ARRAY_SIZE(users); u++) {
                for (size_t k = 0; k < api_kind_count; k++)
                        ask_all_verbs(a, u, api_kinds[k]);
        }
        (void)access_free(a);
}

/* A table that names what is not served decides nothing. */
static void test_what_is_decided_is_served(void **state)
{
        (void)state;
        assert_int_equal(AK_ARRAY_SIZE(decided), api_kind_count);
        for (size_t i = 0; i < AK_ARRAY_SIZE(decided); i++) {
                bool found = false;

                for (size_t k = 0; k < api_kind_count; k++)
                        found = found || strcmp(api_kinds[k]->plural, decided[i].plural) == 0;
                assert_true(found);
        }
}

/* What a node may write: what is its own, and nothing of the rest. */
static void test_every_kind_by_a_node(void **state)
{
        static const char *const nodes[] = {ACCESS_NODES, NULL};
        static const struct {
                const char *plural, *subresource, *name_space, *name;
                bool patch, create;
        } cases[] = {
            {"pods", "", "team-a", "p", false, false},
            {"pods", "status", "team-a", "p", true, false},
            {"pods", "attach", "team-a", "p", false, false},
            {"pods", "binding", "team-a", "p", false, false},
            {"nodes", "", "", "n1", true, true},
            {"nodes", "", "", "n2", false, false},
            {"nodes", "status", "", "n1", true, false},
            {"nodes", "status", "", "n2", false, false},
            {"namespaces", "", "", "team-a", false, false},
            {"events", "", "team-a", "e", true, true},
            {"leases", "", API_NODE_LEASES, "n1", true, true},
            {"leases", "", API_NODE_LEASES, "n2", false, false},
            {"leases", "", "team-a", "n1", false, false},
            {"vpcs", "", "team-a", "v", false, false},
            {"subnets", "", "team-a", "s", false, false},
            {"securitygroups", "", "team-a", "g", false, false},
            {"securitygroups", "status", "team-a", "g", false, false},
            {"ports", "", "team-a", "p", false, false},
            {"ports", "status", "team-a", "p", true, false},
        };
        const struct api_user node = {ACCESS_NODE_PREFIX "n1", nodes};
        struct access *a = the_access();

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                struct access_question q = {
                    "patch", "", cases[i].plural, cases[i].subresource, cases[i].name_space, cases[i].name};

                for (size_t k = 0; k < api_kind_count; k++) {
                        if (strcmp(api_kinds[k]->plural, q.resource) == 0)
                                q.group = api_kinds[k]->group;
                }
                if (access_allowed(a, &node, &q) != cases[i].patch)
                        fail_msg("case %zu: patch %s/%s %s", i, q.resource, q.subresource, q.name);
                q.verb = "create";
                if (access_allowed(a, &node, &q) != cases[i].create)
                        fail_msg("case %zu: create %s/%s %s", i, q.resource, q.subresource, q.name);
        }
        (void)access_free(a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_every_kind_by_every_role),
            cmocka_unit_test(test_what_is_decided_is_served),
            cmocka_unit_test(test_every_kind_by_a_node),
        };

        return cmocka_run_group_tests_name("apiserver_access_kinds", tests, NULL, NULL);
}
