/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"

#define MAX_CHAIN 8

struct shown {
        struct shown *older;
        gnutls_pcert_st certs[MAX_CHAIN];
        unsigned int count;
        gnutls_privkey_t key;
};

struct api_tls {
        struct shown *now;
};

static void shown_free(struct shown *s)
{
        for (unsigned int i = 0; i < s->count; i++)
                gnutls_pcert_deinit(&s->certs[i]);
        if (s->key)
                gnutls_privkey_deinit(s->key);
        free(s);
}
AK_DEFINE_CLEANUP(struct shown *, shown_free)

int api_tls_new(struct api_tls **out)
{
        *out = calloc(1, sizeof(**out));
        return *out ? 0 : -ENOMEM;
}

struct api_tls *api_tls_free(struct api_tls *tls)
{
        while (tls && tls->now) {
                struct shown *s = tls->now;

                tls->now = s->older;
                shown_free(s);
        }
        free(tls);
        return NULL;
}

static gnutls_datum_t datum_of(const char *text)
{
        return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned int)strlen(text)};
}

int api_tls_set(struct api_tls *tls, const char *cert_pem, const char *key_pem)
{
        AK_CLEANUP(shown_freep) struct shown *s = calloc(1, sizeof(*s));
        const gnutls_datum_t cert = datum_of(cert_pem), key = datum_of(key_pem);
        unsigned int count = MAX_CHAIN;

        if (!s)
                return -ENOMEM;
        if (gnutls_pcert_list_import_x509_raw(s->certs, &count, &cert, GNUTLS_X509_FMT_PEM, 0) < 0)
                return -EBADMSG;
        s->count = count;
        if (gnutls_privkey_init(&s->key) < 0)
                return -ENOMEM;
        if (gnutls_privkey_import_x509_raw(s->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0) < 0)
                return -EBADMSG;
        s->older = tls->now;
        tls->now = AK_STEAL(s);
        return 0;
}

void api_tls_adopt(struct api_tls *tls, gnutls_session_t session)
{
        gnutls_session_set_ptr(session, tls);
}

int api_tls_retrieve(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
                     const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certs,
                     unsigned int *cert_count, gnutls_privkey_t *key)
{
        const struct api_tls *tls = gnutls_session_get_ptr(session);

        (void)ca_names;
        (void)ca_count;
        (void)algorithms;
        (void)algorithm_count;
        if (!tls || !tls->now)
                return -1;
        *certs = tls->now->certs;
        *cert_count = tls->now->count;
        *key = tls->now->key;
        return 0;
}
