/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/auth.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/utf8.h"

/* ---- who ---- */

AK_DEFINE_CLEANUP(gnutls_x509_crt_t, gnutls_x509_crt_deinit)

static int subject_part(gnutls_x509_crt_t crt, const char *oid, unsigned int index, char **out)
{
        char text[254];
        size_t size = sizeof(text);

        if (gnutls_x509_crt_get_dn_by_oid(crt, oid, index, 0, text, &size) < 0)
                return -ENOENT;
        if (size == 0 || !ak_utf8_valid(text, size))
                return -EACCES;
        *out = strndup(text, size);
        return *out ? 0 : -ENOMEM;
}

static int read_subject(gnutls_x509_crt_t crt, struct auth_identity *out)
{
        unsigned int n = 0;
        int rc = subject_part(crt, GNUTLS_OID_X520_COMMON_NAME, 0, &out->name);

        if (rc < 0)
                return rc == -ENOENT ? -EACCES : rc;
        while (n < AUTH_MAX_GROUPS) {
                rc = subject_part(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, n, &out->groups[n]);
                if (rc == -ENOENT)
                        break;
                if (rc < 0)
                        return rc;
                n++;
        }
        out->expires = gnutls_x509_crt_get_expiration_time(crt);
        return 0;
}

static bool verifies(gnutls_session_t session)
{
        gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                         .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
        unsigned int status = 0;

        return gnutls_certificate_verify_peers(session, &purpose, 1, &status) == 0 && status == 0;
}

int auth_identify(void *tls_session, struct auth_identity *out)
{
        AK_CLEANUP(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
        struct auth_identity identity = {.verified = true};
        const gnutls_datum_t *chain;
        unsigned int count = 0;
        int rc;

        chain = gnutls_certificate_get_peers(tls_session, &count);
        if (!chain || count == 0 || !verifies(tls_session))
                return -EACCES;
        if (gnutls_x509_crt_init(&crt) < 0)
                return -ENOMEM;
        if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) < 0)
                return -EACCES;
        rc = read_subject(crt, &identity);
        if (rc < 0) {
                auth_identity_deinit(&identity);
                return rc;
        }
        *out = identity;
        return 0;
}

void auth_identity_deinit(struct auth_identity *identity)
{
        free(identity->name);
        for (size_t i = 0; i < AUTH_MAX_GROUPS; i++)
                free(identity->groups[i]);
        *identity = (struct auth_identity){0};
}

/* ---- whether ---- */

#define READ "get list watch"

/* What a node may do. "*" stands for any resource of the group. */
static const struct {
        const char *group, *resource, *subresource, *verbs;
        bool own_only; /* the object must carry the node's name */
} node_rules[] = {
    {"", "pods", "", READ " delete", false},
    {"", "pods", "status", "get update patch", false},
    {"", "nodes", "", READ, false},
    {"", "nodes", "", "create update patch", true},
    {"", "nodes", "status", "get update patch", true},
    {"", "namespaces", "", READ, false},
    {"", "events", "", READ " create update patch", false},
    {"coordination.k8s.io", "leases", "", READ " create update patch delete", false},
    {"vpc.alkaid.io", "*", "", READ, false},
    {"vpc.alkaid.io", "ports", "status", "get update patch", false},
};

static bool in_group(const struct api_user *user, const char *group)
{
        for (const char *const *g = user->groups; g && *g; g++) {
                if (strcmp(*g, group) == 0)
                        return true;
        }
        return false;
}

static bool has_word(const char *list, const char *word)
{
        size_t len = strlen(word);

        for (const char *p = list; p; p = strchr(p, ' ')) {
                p += strspn(p, " ");
                if (strncmp(p, word, len) == 0 && (p[len] == ' ' || p[len] == '\0'))
                        return true;
        }
        return false;
}

static bool is_own(const struct api_user *user, const char *object_name)
{
        size_t prefix = strlen(AUTH_NODE_PREFIX);

        return strncmp(user->name, AUTH_NODE_PREFIX, prefix) == 0 &&
               strcmp(user->name + prefix, object_name) == 0;
}

static bool node_allowed(const struct api_user *user, const struct rest_request *r, const char *object_name)
{
        const struct api_kind *kind = r->api.kind;
        const char *verb = rest_verb_name(r);

        for (size_t i = 0; i < AK_ARRAY_SIZE(node_rules); i++) {
                const char *resource = node_rules[i].resource;

                if (strcmp(node_rules[i].group, kind->group) == 0 &&
                    (strcmp(resource, "*") == 0 || strcmp(resource, kind->plural) == 0) &&
                    strcmp(node_rules[i].subresource, r->api.subresource) == 0 &&
                    has_word(node_rules[i].verbs, verb) &&
                    (!node_rules[i].own_only || is_own(user, object_name)))
                        return true;
        }
        return false;
}

bool auth_allowed(const struct api_user *user, const struct rest_request *request, const char *object_name)
{
        if (!request->api.kind || in_group(user, AUTH_MASTERS))
                return true;
        return in_group(user, AUTH_NODES) && node_allowed(user, request, object_name);
}

void auth_refusal(const struct api_user *user, const struct rest_request *request, char *out, size_t size)
{
        const struct api_request *api = &request->api;
        const char *sub = api->subresource;
        char name[300] = "";
        char where[300] = "at the cluster scope";

        if (*api->name)
                (void)snprintf(name, sizeof(name), " \"%s\"", api->name);
        if (*api->name_space)
                (void)snprintf(where, sizeof(where), "in the namespace \"%s\"", api->name_space);
        (void)snprintf(out, size,
                       "%s%s is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" %s",
                       api->kind->plural, name, user->name, rest_verb_name(request), api->kind->plural,
                       *sub ? "/" : "", sub, api->kind->group, where);
}
