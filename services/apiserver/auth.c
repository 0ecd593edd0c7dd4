/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/auth.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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

static int read_serial(gnutls_x509_crt_t crt, char out[PKI_SERIAL_SIZE])
{
        uint8_t bytes[64];
        size_t size = sizeof(bytes);

        return gnutls_x509_crt_get_serial(crt, bytes, &size) < 0 || pki_serial_text(bytes, size, out) < 0
                   ? -EACCES
                   : 0;
}

static int read_subject(gnutls_x509_crt_t crt, struct auth_identity *out)
{
        unsigned int n = 0;
        int rc = subject_part(crt, GNUTLS_OID_X520_COMMON_NAME, 0, &out->name);

        if (rc < 0)
                return rc == -ENOENT ? -EACCES : rc;
        while (n < ACCESS_MAX_GROUPS) {
                rc = subject_part(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, n, &out->groups[n]);
                if (rc == -ENOENT)
                        break;
                if (rc < 0)
                        return rc;
                n++;
        }
        out->expires = gnutls_x509_crt_get_expiration_time(crt);
        return read_serial(crt, out->serial);
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
        for (size_t i = 0; i < ACCESS_MAX_GROUPS; i++)
                free(identity->groups[i]);
        *identity = (struct auth_identity){0};
}

/* SHA-256, because a token is 256 random bits: nobody guesses it from its hash. */
int auth_identify_token(const struct access *access, const char *header, time_t now,
                        struct auth_identity *out)
{
        struct auth_identity identity = {.verified = true, .expires = now + 1};
        const struct access_token *token;
        uint8_t hash[ACCESS_HASH_SIZE];
        size_t hex_size = sizeof(identity.token);

        if (!header || strncasecmp(header, "Bearer ", 7) != 0)
                return -EACCES;
        header += 7 + strspn(header + 7, " ");
        if (!*header || gnutls_hash_fast(GNUTLS_DIG_SHA256, header, strlen(header), hash) < 0)
                return -EACCES;
        if (gnutls_hex_encode(&(gnutls_datum_t){hash, sizeof(hash)}, identity.token, &hex_size) < 0)
                return -EACCES;
        token = access_token(access, hash, (uint64_t)now);
        identity.name = token ? strdup(token->name) : NULL;
        if (!identity.name)
                return -EACCES;
        for (size_t i = 0; i < ACCESS_MAX_GROUPS && token->groups[i]; i++)
                identity.groups[i] = strdup(token->groups[i]);
        *out = identity;
        return 0;
}

/* ---- whether ---- */

bool auth_allowed(const struct access *access, const struct api_user *user,
                  const struct rest_request *request, const char *object_name)
{
        const struct api_request *api = &request->api;
        struct access_question q;

        if (request->target == REST_METRICS)
                return access_in_group(user, ACCESS_MASTERS) || access_in_group(user, ACCESS_MONITORING);
        if (!api->kind)
                return true;
        q = (struct access_question){rest_verb_name(request), api->kind->group, api->kind->plural,
                                     api->subresource,        api->name_space,  object_name};
        return access_allowed(access, user, &q);
}

static bool selects_node(const char *selector, const char *node)
{
        size_t len = strlen(node);

        for (const char *p = selector; p; p = strchr(p, ',')) {
                p += *p == ',';
                if (strncmp(p, "spec.nodeName=", 14) != 0)
                        continue;
                p += 14 + (p[14] == '=');
                if (strncmp(p, node, len) == 0 && (p[len] == ',' || p[len] == '\0'))
                        return true;
        }
        return false;
}

static bool selects(const struct rest_request *request)
{
        return request->target == REST_WATCH || request->api.verb == API_LIST;
}

bool auth_bound_to_node(const struct api_user *user, const struct rest_request *request)
{
        const struct api_kind *kind = request->api.kind;

        return kind && access_node_name(user) &&
               (strcmp(kind->plural, "pods") == 0 || strcmp(kind->plural, "ports") == 0);
}

/* Where the other ports of its VPCs are, a node has to know: its VMs' frames go to their nodes. */
static bool of_its_vpcs(const struct api_core *core, const char *node, const struct rest_request *request,
                        const json_t *object)
{
        const char *vpc = json_string_value(json_object_get(json_object_get(object, "status"), "vpcID"));

        if (strcmp(request->api.kind->plural, "ports") != 0)
                return false;
        if (selects(request))
                return api_core_vpcs_on_node(core, request->api.field_selector, node);
        return request->api.verb == API_GET && vpc && api_core_vpc_on_node(core, vpc, node);
}

bool auth_of_own_node(const struct api_core *core, const struct api_user *user,
                      const struct rest_request *request, const json_t *object)
{
        const char *node = access_node_name(user), *its;

        if (selects(request))
                return selects_node(request->api.field_selector, node) ||
                       of_its_vpcs(core, node, request, NULL);
        its = json_string_value(json_object_get(json_object_get(object, "spec"), "nodeName"));
        return !object || (its && strcmp(its, node) == 0) || of_its_vpcs(core, node, request, object);
}

void auth_refusal(const struct api_user *user, const struct rest_request *request, char *out, size_t size)
{
        const struct api_request *api = &request->api;
        const char *sub = api->subresource;
        char name[300] = "";
        char where[300] = "at the cluster scope";

        if (!api->kind) {
                (void)snprintf(out, size, "forbidden: User \"%s\" cannot get path \"%s\"", user->name,
                               request->path);
                return;
        }
        if (*api->name)
                (void)snprintf(name, sizeof(name), " \"%s\"", api->name);
        if (*api->name_space)
                (void)snprintf(where, sizeof(where), "in the namespace \"%s\"", api->name_space);
        (void)snprintf(out, size,
                       "%s%s is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" %s",
                       api->kind->plural, name, user->name, rest_verb_name(request), api->kind->plural,
                       *sub ? "/" : "", sub, api->kind->group, where);
}
