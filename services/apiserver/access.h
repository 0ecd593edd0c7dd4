/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what. Three plain files of the PKI directory, one entry a line, '#' begins a comment:
 *
 *   grants   ROLE SUBJECT NAMESPACE             edit user:alice team-a
 *                                               view group:auditors *
 *   tokens   SHA256-OF-TOKEN USER GROUPS [END]  5e88…d8 alice ops,dev 2027-01-01T00:00:00Z
 *   revoked  SERIAL [USER [TIME]]               4b2a…09 alice 2026-06-01T12:00:00Z
 *
 * ROLE is view, edit or admin, each including the one before; NAMESPACE "*" is all of them and what lies
 * outside of any; GROUPS is "-" for none; END is when the token stops being good; SERIAL is of a client
 * certificate that is good no more, in hexadecimal (what follows it is for people).
 *
 *   view    reads everything in the namespace, consoles' logs included
 *   edit    writes pods, ports, security groups, leases and events, and attaches to consoles
 *   admin   writes everything else too (VPCs, subnets, …; with "*" also namespaces and nodes)
 *
 * What only a node or system:masters may write: the status of anything, and bindings. system:masters may all;
 * a node (group system:nodes) what the table in access.c says, and of pods only those of its own; of ports
 * it writes only those of its own, and sees all.
 *
 * Pure: texts in, answers out.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/apiserver/core.h"

#define ACCESS_MASTERS       "system:masters"
#define ACCESS_NODES         "system:nodes"
#define ACCESS_NODE_PREFIX   "system:node:"
#define ACCESS_BOOTSTRAP     "system:bootstrappers" /* may join as a node, and nothing else */
#define ACCESS_MONITORING    "system:monitoring"    /* may read /metrics */
#define ACCESS_AUTHENTICATED "system:authenticated" /* everybody who is known is in it */
#define ACCESS_MAX_GROUPS    16
#define ACCESS_MAX_LINES     10000
#define ACCESS_MAX_NAME      253
#define ACCESS_ERROR_SIZE    256
#define ACCESS_HASH_SIZE     32

struct access;

/* Each text may be NULL (no such file). -EINVAL with an error that names file and line; -ENOMEM. */
struct access_files {
        const char *grants, *tokens, *revoked;
};
int access_new(struct access **out, const struct access_files *files, char error[ACCESS_ERROR_SIZE]);
struct access *access_free(struct access *access);

/* Who a token with this hash is; NULL when nobody, or no more at `now_s`. Lives as long as `access`. */
struct access_token {
        uint8_t hash[ACCESS_HASH_SIZE];
        uint64_t end_s; /* 0 = never */
        char *name;
        char *groups[ACCESS_MAX_GROUPS + 1];
};
const struct access_token *access_token(const struct access *access, const uint8_t hash[ACCESS_HASH_SIZE],
                                        uint64_t now_s);

/* Whether a client certificate with this serial number (as pki.h has it) is good no more. */
bool access_revoked(const struct access *access, const char *serial);

/* A question in Kubernetes' words. "" = none, all; "*" = any, which only who may all gets. */
struct access_question {
        const char *verb, *group, *resource, *subresource;
        const char *name_space, *name;
};
bool access_allowed(const struct access *access, const struct api_user *user,
                    const struct access_question *question);

/* Is the user a node, bound to its own objects, and which? NULL = no. */
const char *access_node_name(const struct api_user *user);
bool access_in_group(const struct api_user *user, const char *group);

/* resourceRules of a SelfSubjectRulesReview for a namespace. New reference. */
json_t *access_rules(const struct access *access, const struct api_user *user, const char *name_space);
