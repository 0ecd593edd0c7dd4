/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's certificates: a CA of its own, made at the first start, and what it signs: the server's
 * certificate, one for the administrator and one for the node. All in one directory of mode 0700, every file
 * 0600, written whole or not at all.
 *
 *   ca.key ca.crt             10 years
 *   server.key server.crt     1 year; made anew when the names change or 30 days before the end
 *   admin.key admin.crt       CN admin, O system:masters; likewise
 *   node.key node.crt         CN system:node:NAME, O system:nodes; likewise
 *   admin.kubeconfig node.kubeconfig
 *
 * A key is always written before its certificate: a certificate without the matching key means that a start
 * was cut off, and the pair is made anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "libcommon/cleanup.h"

#define PKI_ERROR_SIZE 512

struct pki_config {
        const char *dir;
        const char *const *names; /* of the server: DNS names and IP addresses; NULL-terminated */
        const char *node_name;
        time_t now;
};

struct pki {
        char *dir;
        /* PEM texts, for the TLS library and the kubeconfigs. */
        char *ca_cert, *server_cert, *server_key;
        char *admin_cert, *admin_key, *node_cert, *node_key;
};

/* Makes what is missing, renews what is about to run out. 0 or negative errno; error names file and remedy.
 */
int pki_load(struct pki *out, const struct pki_config *config, char error[PKI_ERROR_SIZE]);
void pki_deinit(struct pki *pki);

/* Writes admin.kubeconfig and node.kubeconfig for the server at `url`. */
int pki_write_kubeconfigs(const struct pki *pki, const char *url, char error[PKI_ERROR_SIZE]);

/* Whom a further client certificate is for. */
struct pki_subject {
        const char *user;          /* CN */
        const char *const *groups; /* O's; NULL-terminated, may be NULL */
        unsigned int days;         /* 1..3650 */
};
/* Letters, digits and ".:_@-", 1 to 253 of them: what CN and O may be here. */
bool pki_name_valid(const char *name);
/*
 * Signs a certificate with the CA of `dir` and makes a kubeconfig (malloc'd) for the server at `url`. 0,
 * -EINVAL, -ENOENT (no CA there: it is not made), …; error names file and remedy.
 */
int pki_issue(const char *dir, const struct pki_subject *subject, const char *url, time_t now, char **out,
              char error[PKI_ERROR_SIZE]);
/*
 * A node that joins: it makes its key and a request (PEM) for a certificate of system:node:NAME, the server
 * reads the name out of the request, and signs. What else the request may ask for counts for nothing.
 */
#define PKI_NODE_NAME_SIZE 254
int pki_request_node(const char *name, char **key_pem, char **request_pem, char error[PKI_ERROR_SIZE]);
/* -EINVAL: no request of such a name, not signed with its own key, or a weak key; error says which. */
int pki_requested_node(const char *request_pem, char name[PKI_NODE_NAME_SIZE], char error[PKI_ERROR_SIZE]);
/* The certificate for the request, and the CA's; malloc'd. As pki_requested_node(), -ENOENT, … */
int pki_sign_node(const char *dir, const char *request_pem, time_t now, char **crt_pem, char **ca_pem,
                  char error[PKI_ERROR_SIZE]);
/* A kubeconfig of these parts (PEM); malloc'd. -ENOMEM. */
int pki_kubeconfig(const char *ca, const char *user, const char *url, const char *cert, const char *key,
                   char **out);
/* CN and O's of a certificate (PEM); malloc'd. `groups` has room for PKI_MAX_GROUPS and the NULL after them.
 */
#define PKI_MAX_GROUPS 16
int pki_subject_of(const char *crt_pem, char **user, char *groups[PKI_MAX_GROUPS + 1]);

/* Serial numbers as text: hexadecimal in lower case, without leading zeros. */
#define PKI_SERIAL_SIZE 41 /* 20 bytes: RFC 5280, 4.1.2.2 */
/* From what people have: upper case, colons, leading zeros are gone. -EINVAL where it is no serial number. */
int pki_serial_read(const char *text, char out[PKI_SERIAL_SIZE]);
/* -EINVAL: none, or longer than it may be. */
int pki_serial_text(const uint8_t *bytes, size_t size, char out[PKI_SERIAL_SIZE]);
/* Of a certificate (PEM). -EBADMSG where it is none. */
int pki_serial_of(const char *crt_pem, char out[PKI_SERIAL_SIZE]);

/* Makes a directory (and its parents) with mode 0700 where absent; -EPERM where others may write to it. */
int pki_make_dir(const char *path, char error[PKI_ERROR_SIZE]);
/* Replaces DIR/NAME atomically, mode 0600, on the disk when it returns 0. */
int pki_write_file(const char *dir, const char *name, const char *text, char error[PKI_ERROR_SIZE]);
/* 0 and malloc'd text, -ENOENT, or another error. At most 1 MiB. */
int pki_read_file(const char *dir, const char *name, char **out, char error[PKI_ERROR_SIZE]);
