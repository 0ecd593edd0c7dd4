/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks, and whether they may. A user is the CN of a verified client certificate, its groups are the O's.
 *
 * The rules are a first cut: system:masters may all; system:nodes may what the services of a node need (a
 * table in auth.c), writing only to the Node of their own name; everybody else may read discovery documents.
 * Certificates are not revoked one by one: they run out, or the CA is made anew.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "services/apiserver/core.h"
#include "services/apiserver/rest.h"

#define AUTH_MASTERS     "system:masters"
#define AUTH_NODES       "system:nodes"
#define AUTH_NODE_PREFIX "system:node:"
#define AUTH_MAX_GROUPS  16

struct auth_identity {
        bool verified;
        time_t expires;
        char *name;
        char *groups[AUTH_MAX_GROUPS + 1];
};

/*
 * Reads the peer's certificate of a finished handshake (a gnutls_session_t) and verifies it against the CA
 * that the session trusts, for use as a client. 0, -EACCES where there is none or it does not verify,
 * -ENOMEM.
 */
int auth_identify(void *tls_session, struct auth_identity *out);
void auth_identity_deinit(struct auth_identity *identity);

/* Pure. `object_name` is the name that the request is about, from its body where the path has none. */
bool auth_allowed(const struct api_user *user, const struct rest_request *request, const char *object_name);
/* The text of the 403, in Kubernetes' words. */
void auth_refusal(const struct api_user *user, const struct rest_request *request, char *out, size_t size);
