/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus's CURVE certificates (czmq's zcert), a directory of them per node or host:
 *
 *   NAME.cert          public: the key, and the role of its owner
 *   NAME.cert_secret   the same with the secret key; only where NAME runs
 *
 * The directory is the allow-list: who is not in it does not get in, and a file that is removed locks its
 * owner out at the next connection. It must be ours and closed to others (0700), a secret file likewise
 * (0600).
 *
 * A role is the name of a service (watcher, network, …), or AK_BUS_ROLE_LISTENER for tools that only listen.
 * A service's NAME is its role.
 */
#pragma once

#include <czmq.h>

#include "libcommon/cleanup.h"

#define AK_BUS_ROLE_LISTENER  "listener"
#define AK_BUS_KEY_ERROR_SIZE 512
#define AK_BUS_KEY_SUFFIX     ".cert"
#define AK_BUS_KEY_SECRET     ".cert_secret"

static inline void ak_zcert_freep(zcert_t **cert)
{
        zcert_destroy(cert);
}

/* 0, or -EPERM, -ENOENT, … with what is wrong and the remedy in `error`. */
int ak_bus_keys_check(const char *dir, char error[AK_BUS_KEY_ERROR_SIZE]);
/* Makes the directory where it is missing. */
int ak_bus_keys_make(const char *dir, char error[AK_BUS_KEY_ERROR_SIZE]);
/* NAME's certificate, with its secret key if asked for. -ENOENT, -EPERM, -EBADMSG, -EINVAL (name). */
int ak_bus_key_load(zcert_t **out, const char *dir, const char *name, bool secret,
                    char error[AK_BUS_KEY_ERROR_SIZE]);
/* "" where it has none. */
const char *ak_bus_key_role(zcert_t *cert);
/* A new pair. -EEXIST: there is one already; nothing is overwritten. */
int ak_bus_key_generate(const char *dir, const char *name, const char *role,
                        char error[AK_BUS_KEY_ERROR_SIZE]);
/* Removes both files; -ENOENT where there is neither. */
int ak_bus_key_remove(const char *dir, const char *name, char error[AK_BUS_KEY_ERROR_SIZE]);
