/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate that the server shows, which may be replaced while it runs: connections that are open keep
 * theirs, later ones get the new one. The HTTP library takes a certificate at its start only; so it asks here
 * at each handshake (MHD_OPTION_HTTPS_CERT_CALLBACK).
 *
 * GnuTLS may use what it was given until the handshake ends, and does not say when: what is replaced is kept
 * until the end. Some kilobytes per year.
 */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

struct api_tls;

int api_tls_new(struct api_tls **out);
struct api_tls *api_tls_free(struct api_tls *tls);
/* PEM texts; what was shown so far stays where they are no good. 0, -EBADMSG or -ENOMEM. */
int api_tls_set(struct api_tls *tls, const char *cert_pem, const char *key_pem);
/* What is asked of this session is answered from `tls`. Before its handshake. */
void api_tls_adopt(struct api_tls *tls, gnutls_session_t session);
/* For GnuTLS. */
int api_tls_retrieve(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
                     const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certs,
                     unsigned int *cert_count, gnutls_privkey_t *key);
