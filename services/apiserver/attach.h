/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl attach: a WebSocket on one side, a console session on the other. */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_attach_options {
        zloop_t *loop;
        const char *bus_dir;
        const char *pod_uid, *pod_name; /* for the session and the log */
        bool v5;                        /* v5.channel.k8s.io, else v4 */
        bool stdin_, stdout_;           /* what the client asked for */
        size_t *sessions;               /* shared count */
        /* The session is gone; the connection is to be closed. */
        void (*closed)(void *arg);
        void *arg;
};

struct api_attach;

/*
 * Takes over the records of an established TLS session (a gnutls_session_t) over a non-blocking socket,
 * behind the answer to the upgrade. Neither is closed here. 0, -ENOMEM.
 */
int api_attach_new(struct api_attach **out, const struct api_attach_options *options, void *tls_session,
                   int fd);
/* Ends the session; closed() is not called. */
struct api_attach *api_attach_free(struct api_attach *a);
