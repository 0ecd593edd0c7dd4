/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/utf8.h"
#include "services/apiserver/pki.h"

/* Each includes those before it. */
enum role { ROLE_VIEW, ROLE_EDIT, ROLE_ADMIN };
static const char *const role_names[] = {"view", "edit", "admin"};

#define READ  "get list watch"
#define WRITE "create update patch delete deletecollection"

struct rule {
        const char *group, *resource, *subresource; /* "*" = any resource of the group, any group */
        const char *verbs;
        int scope; /* of role rules: the role; of node rules: whose objects */
};

enum { OF_ALL, OF_NODE, LEASE_OF_NODE }; /* all; named as the node; that, and where nodes' leases are */

static const struct rule role_rules[] = {
    {"*", "*", "", READ, ROLE_VIEW},
    {"*", "*", "status", "get", ROLE_VIEW},
    {"", "pods", "log", "get", ROLE_VIEW},
    {"", "pods", "", WRITE, ROLE_EDIT},
    {"", "pods", "attach", "get create", ROLE_EDIT},
    {"", "pods", "eviction", "create", ROLE_EDIT},
    {"", "events", "", WRITE, ROLE_EDIT},
    {"vpc.alkaid.io", "ports", "", WRITE, ROLE_EDIT},
    {"vpc.alkaid.io", "securitygroups", "", WRITE, ROLE_EDIT},
    {"coordination.k8s.io", "leases", "", WRITE, ROLE_EDIT},
    {"*", "*", "", WRITE, ROLE_ADMIN},
};

static const struct rule node_rules[] = {
    {"", "pods", "", READ " delete", OF_ALL},
    {"", "pods", "status", "get update patch", OF_ALL},
    {"", "nodes", "", READ, OF_ALL},
    {"", "nodes", "", "create update patch", OF_NODE},
    {"", "nodes", "status", "get update patch", OF_NODE},
    {"", "namespaces", "", READ, OF_ALL},
    {"", "events", "", READ " create update patch", OF_ALL},
    {"coordination.k8s.io", "leases", "", "get create update patch delete", LEASE_OF_NODE},
    {"vpc.alkaid.io", "*", "", READ, OF_ALL},
    {"vpc.alkaid.io", "ports", "status", "get update patch", OF_ALL},
};

struct grant {
        enum role role;
        bool group;
        char *subject, *name_space;
};

struct access {
        struct grant *grants;
        struct access_token *tokens;
        char (*revoked)[PKI_SERIAL_SIZE]; /* sorted */
        size_t grant_count, token_count, revoked_count;
};

/* ---- the files ---- */

#define MAX_WORDS 4

struct line {
        const char *file;
        unsigned int number;
        char *words[MAX_WORDS];
        size_t count;
};

static int bad_line(const struct line *l, char error[ACCESS_ERROR_SIZE], const char *expected)
{
        (void)snprintf(error, ACCESS_ERROR_SIZE, "%s, line %u: %s", l->file, l->number, expected);
        return -EINVAL;
}

static int split_line(struct line *l, char *text, char error[ACCESS_ERROR_SIZE])
{
        char *save = NULL;

        text[strcspn(text, "#")] = '\0';
        l->count = 0;
        for (char *w = strtok_r(text, " \t\r", &save); w; w = strtok_r(NULL, " \t\r", &save)) {
                if (l->count == MAX_WORDS)
                        return bad_line(l, error, "has too many words");
                if (strlen(w) > 2 * ACCESS_MAX_NAME || !ak_utf8_valid(w, strlen(w)))
                        return bad_line(l, error, "has a word that is too long or no UTF-8 text");
                l->words[l->count++] = w;
        }
        return 0;
}

typedef int (*line_fn)(struct access *a, const struct line *l, char error[ACCESS_ERROR_SIZE]);

static int each_line(struct access *a, const char *file, const char *text, line_fn fn,
                     char error[ACCESS_ERROR_SIZE])
{
        AK_AUTOFREE char *copy = strdup(text ? text : "");
        struct line l = {.file = file};
        char *rest = copy, *at;
        int rc = copy ? 0 : -ENOMEM;

        while (rc == 0 && (at = strsep(&rest, "\n"))) {
                l.number++;
                rc = split_line(&l, at, error);
                if (rc == 0 && l.count > 0)
                        rc = fn(a, &l, error);
        }
        return rc;
}

static int read_role(const char *text, enum role *out)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(role_names); i++) {
                if (strcmp(role_names[i], text) == 0) {
                        *out = (enum role)i;
                        return 0;
                }
        }
        return -EINVAL;
}

static int read_grant(struct access *a, const struct line *l, char error[ACCESS_ERROR_SIZE])
{
        struct grant *grants, g = {0};
        const char *subject;

        if (l->count != 3)
                return bad_line(l, error, "must be ROLE SUBJECT NAMESPACE");
        if (read_role(l->words[0], &g.role) < 0)
                return bad_line(l, error, "the role must be view, edit or admin");
        g.group = strncmp(l->words[1], "group:", 6) == 0;
        if (!g.group && strncmp(l->words[1], "user:", 5) != 0)
                return bad_line(l, error, "the subject must be user:NAME or group:NAME");
        if (a->grant_count == ACCESS_MAX_LINES)
                return bad_line(l, error, "is one too many: 10000 is the most");
        grants = reallocarray(a->grants, a->grant_count + 1, sizeof(*grants));
        if (!grants)
                return -ENOMEM;
        a->grants = grants;
        subject = strchr(l->words[1], ':') + 1;
        g.subject = strdup(subject);
        g.name_space = strdup(l->words[2]);
        grants[a->grant_count++] = g;
        return g.subject && g.name_space ? 0 : -ENOMEM;
}

static int read_hash(const char *text, uint8_t out[ACCESS_HASH_SIZE])
{
        if (strlen(text) != (size_t)2 * ACCESS_HASH_SIZE ||
            strspn(text, "0123456789abcdefABCDEF") != (size_t)2 * ACCESS_HASH_SIZE)
                return -EINVAL;
        for (size_t i = 0; i < ACCESS_HASH_SIZE; i++) {
                const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

                out[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
        return 0;
}

static int read_groups(struct access_token *t, const struct line *l, char error[ACCESS_ERROR_SIZE])
{
        char *save = NULL;
        size_t n = 0;

        if (strcmp(l->words[2], "-") == 0)
                return 0;
        for (char *g = strtok_r(l->words[2], ",", &save); g; g = strtok_r(NULL, ",", &save)) {
                if (n == ACCESS_MAX_GROUPS)
                        return bad_line(l, error, "16 groups are the most");
                t->groups[n] = strdup(g);
                if (!t->groups[n++])
                        return -ENOMEM;
        }
        return 0;
}

static int read_token(struct access *a, const struct line *l, char error[ACCESS_ERROR_SIZE])
{
        struct access_token *tokens, *t;
        uint64_t end_us = 0;

        if (l->count < 3)
                return bad_line(l, error, "must be SHA256 USER GROUPS [END]");
        if (l->count == 4 && ak_rfc3339_parse(l->words[3], &end_us) < 0)
                return bad_line(l, error, "the end must be a time like 2027-01-01T00:00:00Z");
        if (a->token_count == ACCESS_MAX_LINES)
                return bad_line(l, error, "is one too many: 10000 is the most");
        tokens = reallocarray(a->tokens, a->token_count + 1, sizeof(*tokens));
        if (!tokens)
                return -ENOMEM;
        a->tokens = tokens;
        t = &tokens[a->token_count++];
        *t = (struct access_token){.end_s = end_us / 1000000, .name = strdup(l->words[1])};
        if (!t->name)
                return -ENOMEM;
        if (read_hash(l->words[0], t->hash) < 0)
                return bad_line(l, error, "must begin with the token's SHA-256, 64 hexadecimal digits");
        return read_groups(t, l, error);
}

static int read_revoked(struct access *a, const struct line *l, char error[ACCESS_ERROR_SIZE])
{
        char serial[PKI_SERIAL_SIZE], (*revoked)[PKI_SERIAL_SIZE];

        if (l->count > 3)
                return bad_line(l, error, "must be SERIAL [USER [TIME]]");
        if (pki_serial_read(l->words[0], serial) < 0)
                return bad_line(l, error, "must begin with a serial number, at most 40 hexadecimal digits");
        if (a->revoked_count == ACCESS_MAX_LINES)
                return bad_line(l, error,
                                "is one too many: 10000 is the most; those that have run out may go");
        revoked = reallocarray(a->revoked, a->revoked_count + 1, sizeof(*revoked));
        if (!revoked)
                return -ENOMEM;
        a->revoked = revoked;
        memcpy(revoked[a->revoked_count++], serial, sizeof(serial));
        return 0;
}

static int by_serial(const void *a, const void *b)
{
        return strcmp(a, b);
}

int access_new(struct access **out, const struct access_files *files, char error[ACCESS_ERROR_SIZE])
{
        struct access *a = calloc(1, sizeof(*a));
        int rc = a ? each_line(a, "grants", files->grants, read_grant, error) : -ENOMEM;

        if (rc == 0)
                rc = each_line(a, "tokens", files->tokens, read_token, error);
        if (rc == 0)
                rc = each_line(a, "revoked", files->revoked, read_revoked, error);
        if (rc < 0) {
                (void)access_free(a);
                return rc;
        }
        if (a->revoked_count)
                qsort(a->revoked, a->revoked_count, sizeof(*a->revoked), by_serial);
        *out = a;
        return 0;
}

struct access *access_free(struct access *a)
{
        if (!a)
                return NULL;
        for (size_t i = 0; i < a->grant_count; i++) {
                free(a->grants[i].subject);
                free(a->grants[i].name_space);
        }
        for (size_t i = 0; i < a->token_count; i++) {
                free(a->tokens[i].name);
                for (size_t g = 0; g < ACCESS_MAX_GROUPS; g++)
                        free(a->tokens[i].groups[g]);
        }
        free(a->grants);
        free(a->tokens);
        free(a->revoked);
        free(a);
        return NULL;
}

const struct access_token *access_token(const struct access *a, const uint8_t hash[ACCESS_HASH_SIZE],
                                        uint64_t now_s)
{
        for (size_t i = 0; a && i < a->token_count; i++) {
                const struct access_token *t = &a->tokens[i];

                if (memcmp(t->hash, hash, ACCESS_HASH_SIZE) == 0 && (!t->end_s || now_s < t->end_s))
                        return t;
        }
        return NULL;
}

bool access_revoked(const struct access *a, const char *serial)
{
        return a && a->revoked_count &&
               bsearch(serial, a->revoked, a->revoked_count, sizeof(*a->revoked), by_serial);
}

/* ---- questions ---- */

bool access_in_group(const struct api_user *user, const char *group)
{
        if (strcmp(group, ACCESS_AUTHENTICATED) == 0)
                return true;
        for (const char *const *g = user->groups; g && *g; g++) {
                if (strcmp(*g, group) == 0)
                        return true;
        }
        return false;
}

const char *access_node_name(const struct api_user *user)
{
        size_t prefix = strlen(ACCESS_NODE_PREFIX);

        if (access_in_group(user, ACCESS_MASTERS) || !access_in_group(user, ACCESS_NODES) ||
            strncmp(user->name, ACCESS_NODE_PREFIX, prefix) != 0)
                return NULL;
        return user->name + prefix;
}

static bool has_word(const char *list, const char *word)
{
        size_t len = strlen(word);

        for (const char *p = list; p; p = strchr(p, ' ')) {
                p += strspn(p, " ");
                if (len && strncmp(p, word, len) == 0 && (p[len] == ' ' || p[len] == '\0'))
                        return true;
        }
        return false;
}

static bool covers(const char *rule, const char *asked)
{
        return strcmp(rule, "*") == 0 || strcmp(rule, asked) == 0;
}

static bool rule_matches(const struct rule *r, const struct access_question *q)
{
        return covers(r->group, q->group) && covers(r->resource, q->resource) &&
               strcmp(r->subresource, q->subresource) == 0 && has_word(r->verbs, q->verb);
}

/* A namespace of one's own may be looked at, though it lies outside of all. */
static bool in_scope(const struct grant *g, const struct access_question *q)
{
        bool own = strcmp(q->resource, "namespaces") == 0 && !*q->group && !*q->subresource &&
                   strcmp(q->verb, "get") == 0 && strcmp(q->name, g->name_space) == 0;

        return strcmp(g->name_space, "*") == 0 ||
               (*q->name_space && strcmp(g->name_space, q->name_space) == 0) || own;
}

static bool grant_is_for(const struct grant *g, const struct api_user *user)
{
        return g->group ? access_in_group(user, g->subject) : strcmp(g->subject, user->name) == 0;
}

static bool role_allows(enum role role, const struct access_question *q)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(role_rules); i++) {
                if (role_rules[i].scope <= (int)role && rule_matches(&role_rules[i], q))
                        return true;
        }
        return false;
}

static bool in_node_scope(int scope, const char *node, const struct access_question *q)
{
        return scope == OF_ALL || (strcmp(q->name, node) == 0 &&
                                   (scope == OF_NODE || strcmp(q->name_space, API_NODE_LEASES) == 0));
}

static bool node_allowed(const struct api_user *user, const struct access_question *q)
{
        const char *node = access_node_name(user);

        for (size_t i = 0; node && i < AK_ARRAY_SIZE(node_rules); i++) {
                if (rule_matches(&node_rules[i], q) && in_node_scope(node_rules[i].scope, node, q))
                        return true;
        }
        return false;
}

bool access_allowed(const struct access *a, const struct api_user *user, const struct access_question *q)
{
        if (access_in_group(user, ACCESS_MASTERS) || node_allowed(user, q))
                return true;
        for (size_t i = 0; a && i < a->grant_count; i++) {
                if (grant_is_for(&a->grants[i], user) && in_scope(&a->grants[i], q) &&
                    role_allows(a->grants[i].role, q))
                        return true;
        }
        return false;
}

/* ---- what one may, as a list ---- */

static json_t *words_to_json(const char *text)
{
        AK_AUTOFREE char *copy = strdup(text);
        json_t *list = json_array();
        char *save = NULL;

        for (char *w = copy ? strtok_r(copy, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save))
                (void)json_array_append_new(list, json_string(w));
        return list;
}

static json_t *rule_to_json(const struct rule *r)
{
        json_t *resource = json_sprintf("%s%s%s", r->resource, *r->subresource ? "/" : "", r->subresource);

        return json_pack("{s:o, s:[s], s:[o]}", "verbs", words_to_json(r->verbs), "apiGroups", r->group,
                         "resources", resource);
}

json_t *access_rules(const struct access *a, const struct api_user *user, const char *name_space)
{
        const struct access_question here = {"", "", "", "", name_space, ""};
        json_t *list = json_array();
        int role = -1;

        if (access_in_group(user, ACCESS_MASTERS))
                (void)json_array_append_new(list, json_pack("{s:[s], s:[s], s:[s]}", "verbs", "*",
                                                            "apiGroups", "*", "resources", "*"));
        for (size_t i = 0; access_node_name(user) && i < AK_ARRAY_SIZE(node_rules); i++)
                (void)json_array_append_new(list, rule_to_json(&node_rules[i]));
        for (size_t i = 0; a && i < a->grant_count; i++) {
                const struct grant *g = &a->grants[i];

                if (grant_is_for(g, user) && in_scope(g, &here) && (int)g->role > role)
                        role = (int)g->role;
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(role_rules); i++) {
                if (role_rules[i].scope <= role)
                        (void)json_array_append_new(list, rule_to_json(&role_rules[i]));
        }
        return list;
}
