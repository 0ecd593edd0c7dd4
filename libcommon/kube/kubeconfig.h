/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to reach an API server, as a kubeconfig file says it.
 *
 * Of a kubeconfig only one context is read, and of that only what this client can use: server,
 * certificate-authority(-data), tls-server-name, insecure-skip-tls-verify, client-certificate(-data),
 * client-key(-data), token, tokenFile, namespace. Unknown keys (exec plugins, extensions, …) are ignored; a
 * user that offers nothing else than those is an error of the first request, not of the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "libcommon/cleanup.h"

#define AK_KUBECONFIG_MAX_BYTES  (1024 * 1024) /* the file itself, and each file it names */
#define AK_KUBECONFIG_ERROR_SIZE 256

struct ak_kubeconfig {
        char *server;   /* "https://127.0.0.1:6443", no slash at the end */
        char *ca_pem;   /* NULL = the system's trust store */
        char *cert_pem; /* both or none */
        char *key_pem;
        char *token;           /* NULL where none */
        char *name_space;      /* of the context; "default" where it says none */
        char *tls_server_name; /* NULL = the server's host */
        bool insecure;         /* insecure-skip-tls-verify */
};

/*
 * Reads the file, or the text; relative file names in it are relative to its directory (`base_dir`, NULL =
 * the working directory). `context` NULL = current-context. 0, -errno of a file, -EINVAL, -EFBIG, -ENOENT
 * (no such context, cluster or user), -ENOMEM; the text says which file, key and why.
 */
int ak_kubeconfig_load(struct ak_kubeconfig *out, const char *path, const char *context,
                       char error[AK_KUBECONFIG_ERROR_SIZE]);
int ak_kubeconfig_parse(struct ak_kubeconfig *out, const char *text, size_t len, const char *base_dir,
                        const char *context, char error[AK_KUBECONFIG_ERROR_SIZE]);
/* Forgets key and token (overwrites them) and frees everything. Takes a zeroed struct. */
void ak_kubeconfig_deinit(struct ak_kubeconfig *config);
