/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/pki.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/netaddr.h"

#define DAY        86400
#define CA_DAYS    3650
#define LEAF_DAYS  365
#define RENEW_DAYS 30
#define SKEW       3600 /* clocks of clients may be behind ours */

AK_DEFINE_CLEANUP(gnutls_x509_crt_t, gnutls_x509_crt_deinit)
AK_DEFINE_CLEANUP(gnutls_x509_privkey_t, gnutls_x509_privkey_deinit)
#define OWN_CRT AK_CLEANUP(gnutls_x509_crt_deinitp) gnutls_x509_crt_t
#define OWN_KEY AK_CLEANUP(gnutls_x509_privkey_deinitp) gnutls_x509_privkey_t

struct ca {
        gnutls_x509_crt_t crt;
        gnutls_x509_privkey_t key;
};

/* What a certificate is to say. */
struct leaf {
        const char *file; /* FILE.crt, FILE.key */
        const char *common_name, *organization;
        const char *purpose;
        const char *const *names;         /* NULL = no subject alternative names */
        const char *const *organizations; /* further ones, NULL = none */
        unsigned int days;                /* 0 = LEAF_DAYS */
        gnutls_pubkey_t public_key;       /* of somebody who keeps the private one; NULL = made here */
};

static int tls_error(char error[PKI_ERROR_SIZE], int rc, const char *doing, const char *what)
{
        (void)snprintf(error, PKI_ERROR_SIZE, "cannot %s %s: %s", doing, what, gnutls_strerror(rc));
        return rc == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;
}

static char *datum_to_text(gnutls_datum_t *datum)
{
        char *text = strndup((const char *)datum->data, datum->size);

        gnutls_free(datum->data);
        return text;
}

static gnutls_datum_t text_to_datum(const char *text)
{
        return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned int)strlen(text)};
}

/* ---- making ---- */

static int new_key(gnutls_x509_privkey_t *out)
{
        OWN_KEY key = NULL;
        int rc = gnutls_x509_privkey_init(&key);

        if (rc >= 0)
                rc = gnutls_x509_privkey_generate2(
                    key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0, NULL, 0);
        if (rc >= 0)
                *out = AK_STEAL(key);
        return rc;
}

static int set_serial(gnutls_x509_crt_t crt)
{
        unsigned char serial[16];
        int rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

        serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of one length */
        return rc < 0 ? rc : gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
}

static int set_name(gnutls_x509_crt_t crt, const char *oid, const char *text)
{
        return text ? gnutls_x509_crt_set_dn_by_oid(crt, oid, 0, text, (unsigned int)strlen(text)) : 0;
}

static int set_alt_names(gnutls_x509_crt_t crt, const char *const *names)
{
        int rc = 0;

        for (; rc >= 0 && names && *names; names++) {
                struct ak_ip ip;

                if (ak_ip_parse(*names, &ip) == 0)
                        rc = gnutls_x509_crt_set_subject_alt_name(
                            crt, GNUTLS_SAN_IPADDRESS, ip.bytes, ip.family == 4 ? 4 : 16, GNUTLS_FSAN_APPEND);
                else
                        rc = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, *names,
                                                                  (unsigned int)strlen(*names),
                                                                  GNUTLS_FSAN_APPEND);
        }
        return rc;
}

static int set_key_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
        unsigned char id[64];
        size_t size = sizeof(id);
        int rc = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &size);

        if (rc >= 0)
                rc = gnutls_x509_crt_set_subject_key_id(crt, id, size);
        size = sizeof(id);
        if (rc >= 0)
                rc = gnutls_x509_crt_get_key_id(issuer, GNUTLS_KEYID_USE_SHA1, id, &size);
        return rc < 0 ? rc : gnutls_x509_crt_set_authority_key_id(crt, id, size);
}

/* Everything that certificates share; `ca` NULL makes a CA that signs itself. */
static int fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const struct leaf *leaf,
                const struct ca *ca, time_t now)
{
        time_t days = !ca ? CA_DAYS : leaf->days ? leaf->days : LEAF_DAYS;
        unsigned int usage =
            ca ? GNUTLS_KEY_DIGITAL_SIGNATURE : GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN;
        int rc = gnutls_x509_crt_set_version(crt, 3);

        if (rc >= 0)
                rc = set_serial(crt);
        if (rc >= 0)
                rc = gnutls_x509_crt_set_activation_time(crt, now - SKEW);
        if (rc >= 0)
                rc = gnutls_x509_crt_set_expiration_time(crt, now + days * DAY);
        if (rc >= 0)
                rc = set_name(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, leaf->organization);
        for (const char *const *o = leaf->organizations; rc >= 0 && o && *o; o++)
                rc = set_name(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, *o);
        if (rc >= 0)
                rc = set_name(crt, GNUTLS_OID_X520_COMMON_NAME, leaf->common_name);
        if (rc >= 0)
                rc = leaf->public_key ? gnutls_x509_crt_set_pubkey(crt, leaf->public_key)
                                      : gnutls_x509_crt_set_key(crt, key);
        if (rc >= 0)
                rc = gnutls_x509_crt_set_basic_constraints(crt, ca ? 0 : 1, ca ? -1 : 0);
        if (rc >= 0)
                rc = gnutls_x509_crt_set_key_usage(crt, usage);
        if (rc >= 0 && leaf->purpose)
                rc = gnutls_x509_crt_set_key_purpose_oid(crt, leaf->purpose, 0);
        if (rc >= 0)
                rc = set_alt_names(crt, leaf->names);
        if (rc >= 0)
                rc = set_key_ids(crt, ca ? ca->crt : crt);
        return rc;
}

static int make(const struct leaf *leaf, const struct ca *ca, time_t now, gnutls_x509_crt_t *out_crt,
                gnutls_x509_privkey_t *out_key)
{
        OWN_CRT crt = NULL;
        OWN_KEY key = NULL;
        int rc = new_key(&key);

        if (rc >= 0)
                rc = gnutls_x509_crt_init(&crt);
        if (rc >= 0)
                rc = fill(crt, key, leaf, ca, now);
        if (rc >= 0)
                rc = gnutls_x509_crt_sign2(crt, ca ? ca->crt : crt, ca ? ca->key : key, GNUTLS_DIG_SHA256, 0);
        if (rc < 0)
                return rc;
        *out_crt = AK_STEAL(crt);
        *out_key = AK_STEAL(key);
        return 0;
}

/* ---- files ---- */

static int pair_to_text(const char *file, gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, char **crt_text,
                        char **key_text, char error[PKI_ERROR_SIZE])
{
        gnutls_datum_t datum;
        int rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &datum);

        if (rc < 0)
                return tls_error(error, rc, "export the key of", file);
        *key_text = datum_to_text(&datum);
        rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &datum);
        if (rc < 0)
                return tls_error(error, rc, "export the certificate", file);
        *crt_text = datum_to_text(&datum);
        return *key_text && *crt_text ? 0 : -ENOMEM;
}

static int write_pair(const char *dir, const char *file, gnutls_x509_crt_t crt, gnutls_x509_privkey_t key,
                      char error[PKI_ERROR_SIZE])
{
        AK_AUTOFREE char *crt_text = NULL;
        AK_AUTOFREE char *key_text = NULL;
        char name[64];
        int rc = pair_to_text(file, crt, key, &crt_text, &key_text, error);

        if (rc < 0 || !key_text || !crt_text)
                return rc < 0 ? rc : -ENOMEM;
        (void)snprintf(name, sizeof(name), "%s.key", file);
        rc = pki_write_file(dir, name, key_text, error);
        gnutls_memset(key_text, 0, strlen(key_text));
        if (rc < 0)
                return rc;
        (void)snprintf(name, sizeof(name), "%s.crt", file);
        return pki_write_file(dir, name, crt_text, error);
}

static int import_crt(const char *text, gnutls_x509_crt_t *out)
{
        OWN_CRT crt = NULL;
        gnutls_datum_t datum = text_to_datum(text);
        int rc = gnutls_x509_crt_init(&crt);

        if (rc >= 0)
                rc = gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_PEM);
        if (rc >= 0)
                *out = AK_STEAL(crt);
        return rc;
}

static int import_key(const char *text, gnutls_x509_privkey_t *out)
{
        OWN_KEY key = NULL;
        gnutls_datum_t datum = text_to_datum(text);
        int rc = gnutls_x509_privkey_init(&key);

        if (rc >= 0)
                rc = gnutls_x509_privkey_import2(key, &datum, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
        if (rc >= 0)
                *out = AK_STEAL(key);
        return rc;
}

static int read_pair(const char *dir, const char *file, char **crt_text, char **key_text,
                     char error[PKI_ERROR_SIZE])
{
        AK_AUTOFREE char *crt = NULL;
        char name[64];
        int rc;

        (void)snprintf(name, sizeof(name), "%s.crt", file);
        rc = pki_read_file(dir, name, &crt, error);
        if (rc < 0)
                return rc;
        (void)snprintf(name, sizeof(name), "%s.key", file);
        rc = pki_read_file(dir, name, key_text, error);
        if (rc == 0)
                *crt_text = AK_STEAL(crt);
        return rc;
}

static bool key_matches(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
        unsigned char a[64], b[64];
        size_t a_size = sizeof(a), b_size = sizeof(b);

        return gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, a, &a_size) >= 0 &&
               gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b, &b_size) >= 0 &&
               a_size == b_size && memcmp(a, b, a_size) == 0;
}

/* ---- the CA ---- */

static int parse_ca(const char *crt_text, const char *key_text, const struct pki_config *config,
                    struct ca *ca, char error[PKI_ERROR_SIZE])
{
        OWN_CRT crt = NULL;
        OWN_KEY key = NULL;
        int rc = import_crt(crt_text, &crt);

        if (rc < 0)
                return tls_error(error, rc, "read", "ca.crt");
        rc = import_key(key_text, &key);
        if (rc < 0)
                return tls_error(error, rc, "read", "ca.key");
        if (!key_matches(crt, key)) {
                (void)snprintf(error, PKI_ERROR_SIZE,
                               "%s: ca.key does not belong to ca.crt; restore both, or remove "
                               "both to begin with a new CA (all clients then need new kubeconfigs)",
                               config->dir);
                return -EBADMSG;
        }
        if (gnutls_x509_crt_get_expiration_time(crt) <= config->now) {
                (void)snprintf(error, PKI_ERROR_SIZE,
                               "%s/ca.crt has expired; remove ca.crt and ca.key to begin with "
                               "a new CA (all clients then need new kubeconfigs)",
                               config->dir);
                return -EKEYEXPIRED;
        }
        ca->crt = AK_STEAL(crt);
        ca->key = AK_STEAL(key);
        return 0;
}

static int load_ca(const struct pki_config *config, struct ca *ca, char **crt_text,
                   char error[PKI_ERROR_SIZE])
{
        static const struct leaf authority = {.file = "ca", .common_name = "alkaid-ca"};
        AK_AUTOFREE char *crt = NULL;
        AK_AUTOFREE char *key = NULL;
        OWN_CRT new_crt = NULL;
        OWN_KEY own_key = NULL;
        int rc;

        rc = pki_read_file(config->dir, "ca.crt", &crt, error);
        if (rc == -ENOENT) {
                rc = make(&authority, NULL, config->now, &new_crt, &own_key);
                if (rc < 0)
                        return tls_error(error, rc, "make", "the CA");
                rc = write_pair(config->dir, "ca", new_crt, own_key, error);
        }
        if (rc < 0)
                return rc;
        free(AK_STEAL(crt));
        rc = read_pair(config->dir, "ca", &crt, &key, error);
        if (rc == -ENOENT)
                (void)snprintf(
                    error, PKI_ERROR_SIZE,
                    "%s/ca.key is missing; restore it, or remove ca.crt too to begin with a new CA (all "
                    "clients then need new kubeconfigs)",
                    config->dir);
        if (rc == 0)
                rc = parse_ca(crt, key, config, ca, error);
        if (key)
                gnutls_memset(key, 0, strlen(key));
        if (rc == 0)
                *crt_text = AK_STEAL(crt);
        return rc;
}

/* ---- what the CA signs ---- */

static bool has_name(gnutls_x509_crt_t crt, const char *oid, const char *expected)
{
        char text[256];
        size_t size = sizeof(text);

        return gnutls_x509_crt_get_dn_by_oid(crt, oid, 0, 0, text, &size) >= 0 && size == strlen(expected) &&
               memcmp(text, expected, size) == 0;
}

/* Exactly the names that are wanted, so that one taken out of the configuration goes out of the certificate.
 */
static bool has_alt_names(gnutls_x509_crt_t crt, const char *const *names)
{
        unsigned int wanted = 0, found = 0, type, critical;
        char text[256];

        for (; names && names[wanted]; wanted++) {
                struct ak_ip ip;

                if (ak_ip_parse(names[wanted], &ip) == 0
                        ? !gnutls_x509_crt_check_ip(crt, ip.bytes, ip.family == 4 ? 4 : 16, 0)
                        : !gnutls_x509_crt_check_hostname2(crt, names[wanted],
                                                           GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS))
                        return false;
        }
        for (;; found++) {
                size_t size = sizeof(text);

                if (gnutls_x509_crt_get_subject_alt_name2(crt, found, text, &size, &type, &critical) < 0)
                        break;
        }
        return found == wanted;
}

static bool still_good(const struct leaf *leaf, const struct ca *ca, const char *crt_text,
                       const char *key_text, time_t now)
{
        OWN_CRT crt = NULL;
        OWN_KEY key = NULL;
        unsigned int status = 0;

        if (import_crt(crt_text, &crt) < 0 || import_key(key_text, &key) < 0 || !key_matches(crt, key))
                return false;
        if (gnutls_x509_crt_get_expiration_time(crt) < now + RENEW_DAYS * DAY ||
            gnutls_x509_crt_get_activation_time(crt) > now)
                return false;
        if (gnutls_x509_crt_verify(crt, &ca->crt, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) < 0 ||
            status != 0)
                return false;
        return has_name(crt, GNUTLS_OID_X520_COMMON_NAME, leaf->common_name) &&
               (!leaf->organization ||
                has_name(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, leaf->organization)) &&
               (!leaf->names || has_alt_names(crt, leaf->names));
}

static int load_leaf(const struct pki_config *config, const struct ca *ca, const struct leaf *leaf,
                     char **crt_text, char **key_text, char error[PKI_ERROR_SIZE])
{
        AK_AUTOFREE char *old_crt = NULL;
        AK_AUTOFREE char *old_key = NULL;
        OWN_CRT crt = NULL;
        OWN_KEY key = NULL;
        int rc;

        rc = read_pair(config->dir, leaf->file, &old_crt, &old_key, error);
        if (rc < 0 && rc != -ENOENT)
                return rc;
        if (rc == 0 && still_good(leaf, ca, old_crt, old_key, config->now)) {
                *crt_text = AK_STEAL(old_crt);
                *key_text = AK_STEAL(old_key);
                return 0;
        }
        rc = make(leaf, ca, config->now, &crt, &key);
        if (rc < 0)
                return tls_error(error, rc, "make the certificate", leaf->file);
        rc = write_pair(config->dir, leaf->file, crt, key, error);
        return rc < 0 ? rc : read_pair(config->dir, leaf->file, crt_text, key_text, error);
}

static int load_leaves(struct pki *pki, const struct pki_config *config, const struct ca *ca,
                       char error[PKI_ERROR_SIZE])
{
        char node[300];
        const struct leaf server = {"server", "alkaid-apiserver", NULL, GNUTLS_KP_TLS_WWW_SERVER,
                                    config->names};
        const struct leaf admin = {"admin", "admin", "system:masters", GNUTLS_KP_TLS_WWW_CLIENT, NULL};
        const struct leaf client = {"node", node, "system:nodes", GNUTLS_KP_TLS_WWW_CLIENT, NULL};
        int rc;

        (void)snprintf(node, sizeof(node), "system:node:%s", config->node_name);
        rc = load_leaf(config, ca, &server, &pki->server_cert, &pki->server_key, error);
        if (rc == 0)
                rc = load_leaf(config, ca, &admin, &pki->admin_cert, &pki->admin_key, error);
        if (rc == 0)
                rc = load_leaf(config, ca, &client, &pki->node_cert, &pki->node_key, error);
        return rc;
}

int pki_load(struct pki *out, const struct pki_config *config, char error[PKI_ERROR_SIZE])
{
        struct pki pki = {0};
        struct ca ca = {0};
        int rc = pki_make_dir(config->dir, error);

        if (rc < 0)
                return rc;
        pki.dir = strdup(config->dir);
        rc = pki.dir ? load_ca(config, &ca, &pki.ca_cert, error) : -ENOMEM;
        if (rc == 0)
                rc = load_leaves(&pki, config, &ca, error);
        if (ca.crt)
                gnutls_x509_crt_deinit(ca.crt);
        if (ca.key)
                gnutls_x509_privkey_deinit(ca.key);
        if (rc < 0) {
                pki_deinit(&pki);
                return rc;
        }
        *out = pki;
        return 0;
}

void pki_deinit(struct pki *pki)
{
        char *const keys[] = {pki->server_key, pki->admin_key, pki->node_key};

        for (size_t i = 0; i < AK_ARRAY_SIZE(keys); i++) {
                if (keys[i])
                        gnutls_memset(keys[i], 0, strlen(keys[i]));
                free(keys[i]);
        }
        free(pki->dir);
        free(pki->ca_cert);
        free(pki->server_cert);
        free(pki->admin_cert);
        free(pki->node_cert);
        *pki = (struct pki){0};
}

/* ---- kubeconfigs ---- */

static char *base64(const char *text)
{
        gnutls_datum_t in = text_to_datum(text), out;

        return gnutls_base64_encode2(&in, &out) < 0 ? NULL : datum_to_text(&out);
}

int pki_kubeconfig(const char *ca, const char *user, const char *url, const char *cert, const char *key,
                   char **out)
{
        AK_AUTOFREE char *ca64 = base64(ca);
        AK_AUTOFREE char *cert64 = base64(cert);
        AK_AUTOFREE char *key64 = base64(key);
        char *text = NULL;

        if (!ca64 || !cert64 || !key64)
                return -ENOMEM;
        if (asprintf(&text,
                     "apiVersion: v1\n"
                     "kind: Config\n"
                     "clusters:\n"
                     "- name: alkaid\n"
                     "  cluster:\n"
                     "    server: %s\n"
                     "    certificate-authority-data: %s\n"
                     "users:\n"
                     "- name: %s\n"
                     "  user:\n"
                     "    client-certificate-data: %s\n"
                     "    client-key-data: %s\n"
                     "contexts:\n"
                     "- name: alkaid\n"
                     "  context:\n"
                     "    cluster: alkaid\n"
                     "    user: %s\n"
                     "current-context: alkaid\n",
                     url, ca64, user, cert64, key64, user) < 0)
                return -ENOMEM;
        *out = text;
        return 0;
}

static int write_kubeconfig(const struct pki *pki, const char *file, const char *user, const char *url,
                            const char *cert, const char *key, char error[PKI_ERROR_SIZE])
{
        AK_AUTOFREE char *text = NULL;
        int rc = pki_kubeconfig(pki->ca_cert, user, url, cert, key, &text);

        return rc < 0 ? rc : pki_write_file(pki->dir, file, text, error);
}

int pki_write_kubeconfigs(const struct pki *pki, const char *url, char error[PKI_ERROR_SIZE])
{
        int rc =
            write_kubeconfig(pki, "admin.kubeconfig", "admin", url, pki->admin_cert, pki->admin_key, error);

        if (rc == 0)
                rc = write_kubeconfig(pki, "node.kubeconfig", "node", url, pki->node_cert, pki->node_key,
                                      error);
        return rc;
}

/* ---- further clients ---- */

bool pki_name_valid(const char *name)
{
        size_t len = strlen(name);

        return len > 0 && len <= 253 &&
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_@-") == len;
}

static bool subject_valid(const struct pki_subject *s)
{
        size_t n = 0;

        for (; s->groups && s->groups[n]; n++) {
                if (!pki_name_valid(s->groups[n]))
                        return false;
        }
        return n <= PKI_MAX_GROUPS && pki_name_valid(s->user) && s->days >= 1 && s->days <= CA_DAYS;
}

/* The CA as it is; load_ca() would make one. */
static int open_ca(const char *dir, time_t now, struct ca *ca, char **crt_text, char error[PKI_ERROR_SIZE])
{
        const struct pki_config config = {.dir = dir, .now = now};
        AK_AUTOFREE char *crt = NULL;
        AK_AUTOFREE char *key = NULL;
        int rc = read_pair(dir, "ca", &crt, &key, error);

        if (rc == 0)
                rc = parse_ca(crt, key, &config, ca, error);
        if (key)
                gnutls_memset(key, 0, strlen(key));
        if (rc == 0)
                *crt_text = AK_STEAL(crt);
        return rc;
}

static int issue(const struct ca *ca, const char *ca_text, const struct pki_subject *subject, const char *url,
                 time_t now, char **out, char error[PKI_ERROR_SIZE])
{
        const struct leaf leaf = {.common_name = subject->user,
                                  .purpose = GNUTLS_KP_TLS_WWW_CLIENT,
                                  .organizations = subject->groups,
                                  .days = subject->days};
        AK_AUTOFREE char *crt_text = NULL;
        AK_AUTOFREE char *key_text = NULL;
        OWN_CRT crt = NULL;
        OWN_KEY key = NULL;
        int rc = make(&leaf, ca, now, &crt, &key);

        if (rc < 0)
                return tls_error(error, rc, "make a certificate for", subject->user);
        rc = pair_to_text(subject->user, crt, key, &crt_text, &key_text, error);
        if (rc == 0)
                rc = pki_kubeconfig(ca_text, subject->user, url, crt_text, key_text, out);
        if (key_text)
                gnutls_memset(key_text, 0, strlen(key_text));
        return rc;
}

int pki_issue(const char *dir, const struct pki_subject *subject, const char *url, time_t now, char **out,
              char error[PKI_ERROR_SIZE])
{
        AK_AUTOFREE char *ca_text = NULL;
        struct ca ca = {0};
        int rc;

        if (!subject_valid(subject)) {
                (void)snprintf(
                    error, PKI_ERROR_SIZE,
                    "user and groups (16 at most) must be of letters, digits and .:_@-, and days from "
                    "1 to %d",
                    CA_DAYS);
                return -EINVAL;
        }
        rc = open_ca(dir, now, &ca, &ca_text, error);
        if (rc == 0)
                rc = issue(&ca, ca_text, subject, url, now, out, error);
        if (ca.crt)
                gnutls_x509_crt_deinit(ca.crt);
        if (ca.key)
                gnutls_x509_privkey_deinit(ca.key);
        return rc;
}

/* ---- nodes that join ---- */

#define NODE_PREFIX "system:node:"

AK_DEFINE_CLEANUP(gnutls_x509_crq_t, gnutls_x509_crq_deinit)
AK_DEFINE_CLEANUP(gnutls_pubkey_t, gnutls_pubkey_deinit)
#define OWN_CRQ AK_CLEANUP(gnutls_x509_crq_deinitp) gnutls_x509_crq_t
#define OWN_PUB AK_CLEANUP(gnutls_pubkey_deinitp) gnutls_pubkey_t

static int make_request(const char *user, gnutls_x509_privkey_t key, gnutls_datum_t *out)
{
        OWN_CRQ crq = NULL;
        int rc = gnutls_x509_crq_init(&crq);

        if (rc >= 0)
                rc = gnutls_x509_crq_set_version(crq, 1);
        if (rc >= 0)
                rc = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, user,
                                                   (unsigned int)strlen(user));
        if (rc >= 0)
                rc = gnutls_x509_crq_set_key(crq, key);
        if (rc >= 0)
                rc = gnutls_x509_crq_sign2(crq, key, GNUTLS_DIG_SHA256, 0);
        return rc < 0 ? rc : gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, out);
}

int pki_request_node(const char *name, char **key_pem, char **request_pem, char error[PKI_ERROR_SIZE])
{
        char user[sizeof(NODE_PREFIX) + PKI_NODE_NAME_SIZE];
        gnutls_datum_t request = {0}, key_text = {0};
        OWN_KEY key = NULL;
        int rc = new_key(&key);

        (void)snprintf(user, sizeof(user), NODE_PREFIX "%.253s", name);
        if (rc >= 0)
                rc = make_request(user, key, &request);
        if (rc >= 0)
                rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                       &key_text);
        if (rc < 0) {
                gnutls_free(request.data);
                return tls_error(error, rc, "make a certificate request for", name);
        }
        *key_pem = datum_to_text(&key_text);
        *request_pem = datum_to_text(&request);
        return *key_pem && *request_pem ? 0 : -ENOMEM;
}

static int refuse_request(char error[PKI_ERROR_SIZE], const char *why)
{
        (void)snprintf(error, PKI_ERROR_SIZE, "the certificate request %s", why);
        return -EINVAL;
}

static bool is_strong(gnutls_pubkey_t key)
{
        unsigned int bits = 0;
        int algorithm = gnutls_pubkey_get_pk_algorithm(key, &bits);

        return algorithm >= 0 &&
               gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)algorithm, bits) >= GNUTLS_SEC_PARAM_MEDIUM;
}

static int read_request(const char *pem, gnutls_pubkey_t *out, char name[PKI_NODE_NAME_SIZE],
                        char error[PKI_ERROR_SIZE])
{
        gnutls_datum_t text = text_to_datum(pem);
        char user[sizeof(NODE_PREFIX) + PKI_NODE_NAME_SIZE] = "";
        size_t size = sizeof(user) - 1, prefix = strlen(NODE_PREFIX);
        OWN_CRQ crq = NULL;
        OWN_PUB key = NULL;

        if (gnutls_x509_crq_init(&crq) < 0 || gnutls_pubkey_init(&key) < 0)
                return -ENOMEM;
        if (gnutls_x509_crq_import(crq, &text, GNUTLS_X509_FMT_PEM) < 0)
                return refuse_request(error, "is none in PEM");
        if (gnutls_x509_crq_verify(crq, 0) < 0 || gnutls_pubkey_import_x509_crq(key, crq, 0) < 0)
                return refuse_request(error, "is not signed with its own key");
        if (!is_strong(key))
                return refuse_request(error, "has a weak key");
        if (gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, 0, user, &size) < 0 ||
            strncmp(user, NODE_PREFIX, prefix) != 0 || !ak_dns1123_subdomain_valid(user + prefix))
                return refuse_request(error, "must be for the name (CN) " NODE_PREFIX
                                             "NODE, with a DNS name in lower case for NODE");
        (void)snprintf(name, PKI_NODE_NAME_SIZE, "%s", user + prefix);
        *out = AK_STEAL(key);
        return 0;
}

int pki_requested_node(const char *request_pem, char name[PKI_NODE_NAME_SIZE], char error[PKI_ERROR_SIZE])
{
        OWN_PUB key = NULL;

        return read_request(request_pem, &key, name, error);
}

static int sign(const struct ca *ca, const struct leaf *leaf, time_t now, char **out)
{
        gnutls_datum_t text = {0};
        OWN_CRT crt = NULL;
        int rc = gnutls_x509_crt_init(&crt);

        if (rc >= 0)
                rc = fill(crt, NULL, leaf, ca, now);
        if (rc >= 0)
                rc = gnutls_x509_crt_sign2(crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0);
        if (rc >= 0)
                rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text);
        if (rc < 0)
                return rc;
        *out = datum_to_text(&text);
        return *out ? 0 : GNUTLS_E_MEMORY_ERROR;
}

int pki_sign_node(const char *dir, const char *request_pem, time_t now, char **crt_pem, char **ca_pem,
                  char error[PKI_ERROR_SIZE])
{
        char name[PKI_NODE_NAME_SIZE], user[sizeof(NODE_PREFIX) + PKI_NODE_NAME_SIZE];
        AK_AUTOFREE char *ca_text = NULL;
        struct ca ca = {0};
        OWN_PUB key = NULL;
        int rc = read_request(request_pem, &key, name, error);

        if (rc < 0)
                return rc;
        (void)snprintf(user, sizeof(user), NODE_PREFIX "%s", name);
        const struct leaf leaf = {.common_name = user,
                                  .organization = "system:nodes",
                                  .purpose = GNUTLS_KP_TLS_WWW_CLIENT,
                                  .public_key = key};
        rc = open_ca(dir, now, &ca, &ca_text, error);
        if (rc == 0) {
                rc = sign(&ca, &leaf, now, crt_pem);
                rc = rc < 0 ? tls_error(error, rc, "sign a certificate for", name) : 0;
        }
        if (ca.crt)
                gnutls_x509_crt_deinit(ca.crt);
        if (ca.key)
                gnutls_x509_privkey_deinit(ca.key);
        if (rc == 0)
                *ca_pem = AK_STEAL(ca_text);
        return rc;
}

static char *dn_part(gnutls_x509_crt_t crt, const char *oid, unsigned int index)
{
        char text[256];
        size_t size = sizeof(text);

        return gnutls_x509_crt_get_dn_by_oid(crt, oid, index, 0, text, &size) >= 0 ? strndup(text, size)
                                                                                   : NULL;
}

int pki_subject_of(const char *crt_pem, char **user, char *groups[PKI_MAX_GROUPS + 1])
{
        OWN_CRT crt = NULL;
        char *name;

        if (import_crt(crt_pem, &crt) < 0)
                return -EBADMSG;
        name = dn_part(crt, GNUTLS_OID_X520_COMMON_NAME, 0);
        if (!name)
                return -EBADMSG;
        for (unsigned int i = 0; i <= PKI_MAX_GROUPS; i++)
                groups[i] = i < PKI_MAX_GROUPS ? dn_part(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, i) : NULL;
        *user = name;
        return 0;
}

int pki_serial_read(const char *text, char out[PKI_SERIAL_SIZE])
{
        size_t n = 0;

        for (const char *p = text; *p; p++) {
                char c = (char)(*p >= 'A' && *p <= 'F' ? *p - 'A' + 'a' : *p);

                if (c == ':' || (c == '0' && n == 0))
                        continue;
                if (!strchr("0123456789abcdef", c) || n == PKI_SERIAL_SIZE - 1)
                        return -EINVAL;
                out[n++] = c;
        }
        out[n] = '\0';
        return n ? 0 : -EINVAL;
}

int pki_serial_text(const uint8_t *bytes, size_t size, char out[PKI_SERIAL_SIZE])
{
        char text[2 * 64 + 1] = "";

        if (size > 64)
                return -EINVAL;
        for (size_t i = 0; i < size; i++)
                (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
        return pki_serial_read(text, out);
}

int pki_serial_of(const char *crt_pem, char out[PKI_SERIAL_SIZE])
{
        OWN_CRT crt = NULL;
        uint8_t bytes[64];
        size_t size = sizeof(bytes);

        if (import_crt(crt_pem, &crt) < 0 || gnutls_x509_crt_get_serial(crt, bytes, &size) < 0 ||
            pki_serial_text(bytes, size, out) < 0)
                return -EBADMSG;
        return 0;
}
