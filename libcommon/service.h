/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service's loop has to do with its host: SIGTERM and SIGINT end it, SIGHUP reads the configuration
 * anew, and systemd is told that it is ready, that it stops, and (WatchdogSec=) that its loop still turns.
 *
 * Of a configuration that has changed, the log level takes effect at once; each other setting that differs
 * is named in the log, since it needs a restart. A file that is wrong changes nothing.
 */
#pragma once

#include <czmq.h>
#include <stddef.h>

#include "libcommon/cleanup.h"
#include "libcommon/options.h"

/* Before any thread is made: blocks the signals above, ignores SIGPIPE. */
void ak_service_prepare(void);

struct ak_service_options {
        /* What SIGHUP reads again: as given to ak_options_load(), and what that filled. NULL = nothing. */
        const struct ak_program *program;
        int argc;
        char **argv;
        const void *config;
        size_t config_size;
        void (*on_reload)(void *arg); /* after it, for what the service reads itself; NULL = nothing */
        void *arg;
};

struct ak_service;

/* Watches the signals in `loop`, says READY=1. 0 or negative errno. The options must outlive it. */
int ak_service_new(struct ak_service **out, zloop_t *loop, const struct ak_service_options *options);
/* Before the loop is destroyed. */
struct ak_service *ak_service_free(struct ak_service *service);
AK_DEFINE_CLEANUP(struct ak_service *, ak_service_free)
