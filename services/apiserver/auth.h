/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks, and whether they may. A user is the CN of a verified client certificate, its groups are the O's;
 * or whom the tokens file says a bearer token belongs to. What they may is in access.h.
 *
 * A certificate runs out, or its serial number is in the file `revoked`; a token ends with its line in the
 * file.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "services/apiserver/access.h"
#include "services/apiserver/core.h"
#include "services/apiserver/pki.h"
#include "services/apiserver/rest.h"

#define AUTH_TOKEN_SIZE (2 * ACCESS_HASH_SIZE + 1)

struct auth_identity {
        bool verified;
        time_t expires;
        char serial[PKI_SERIAL_SIZE]; /* of the certificate; "" = none */
        char token[AUTH_TOKEN_SIZE];  /* the bearer token's SHA-256, hexadecimal; "" = none */
        char *name;
        char *groups[ACCESS_MAX_GROUPS + 1];
};

/*
 * Reads the peer's certificate of a finished handshake (a gnutls_session_t) and verifies it against the CA
 * that the session trusts, for use as a client. 0, -EACCES where there is none or it does not verify,
 * -ENOMEM.
 */
int auth_identify(void *tls_session, struct auth_identity *out);
void auth_identity_deinit(struct auth_identity *identity);

/* The value of an Authorization header. 0, or -EACCES where it is no token that is known and good. */
int auth_identify_token(const struct access *access, const char *header, time_t now,
                        struct auth_identity *out);

/* Pure. `object_name` is the name that the request is about, from its body where the path has none. */
bool auth_allowed(const struct access *access, const struct api_user *user,
                  const struct rest_request *request, const char *object_name);
/* The text of the 403, in Kubernetes' words. */
void auth_refusal(const struct api_user *user, const struct rest_request *request, char *out, size_t size);
/*
 * A node may look at and write to pods and ports that are bound to it, and look at the other ports of the
 * VPCs that it has ports of. Lists and watches must say so themselves, by a field selector; for the others
 * `object` is what the request is about (NULL = there is none). A watch goes on though the VPC has left the
 * node.
 */
bool auth_of_own_node(const struct api_core *core, const struct api_user *user,
                      const struct rest_request *request, const json_t *object);
/* Is auth_of_own_node() to be asked at all? */
bool auth_bound_to_node(const struct api_user *user, const struct rest_request *request);

/* ---- auth_files.c: grants, tokens and revoked of the PKI directory ---- */

struct auth_files;
/* A missing file is an empty one. -EINVAL, -EIO, …; error names file, line and remedy. */
int auth_files_new(struct auth_files **out, const char *dir, char error[ACCESS_ERROR_SIZE]);
struct auth_files *auth_files_free(struct auth_files *files);
/*
 * What the files say now; they are looked at again after a second. A file that has become wrong is logged,
 * and what it said before stays in force. Valid until the next call.
 */
const struct access *auth_files_get(struct auth_files *files, uint64_t now_us);
/* The same, looked at now: before somebody is refused, for whom a token or grant may just have been made. */
const struct access *auth_files_fresh(struct auth_files *files, uint64_t now_us);
