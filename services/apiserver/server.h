/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The apiserver's shell: what main() builds and runs. The parts and what wakes them are told in README.md.
 */
#pragma once

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/options.h"

struct api_options {
        char *listen;
        char *state_dir, *pki_dir, *bus_dir;
        char *console_dir; /* NULL = all consoles are in bus_dir */
        char *node_name;   /* NULL = the host's name */
        struct ak_strlist san;
        bool auto_create_vpc;
        char *auto_vpc_cidr;
        uint64_t nic_slots;
        uint64_t node_grace_us;
        uint64_t max_objects;
        uint64_t max_body, max_answers;
        uint64_t max_connections, max_user_connections, max_user_watches, max_inflight;
        char *audit_log; /* NULL = audit.log in the state directory, "none" = none */
        uint64_t audit_max_size;
        uint64_t watch_history;
        uint64_t idle_timeout_us, request_timeout_us, watch_stall_timeout_us;
        char *metrics, *otlp; /* address of the endpoint without TLS, URL of the collector; NULL = none */
};

extern const struct ak_program api_program;

struct api_server;

/* Exit codes of the program, beyond 0 and the 2 of a bad command line. */
enum {
        API_EXIT_STORE = 74,  /* EX_IOERR: the store failed while running; nothing acknowledged is lost */
        API_EXIT_CONFIG = 78, /* EX_CONFIG: cannot start as configured */
        API_EXIT_BUSY = 75,   /* EX_TEMPFAIL: the store or the address is in use */
};

/*
 * Loads everything and listens. Returns an exit code: 0, or why not, after a log line that says so. The
 * server is freed with api_server_free() in either case, which ends what is under way cleanly.
 */
int api_server_new(struct api_server **out, const struct api_options *options);
/* For ak_service_new(), which ends it on SIGTERM and SIGINT. */
zloop_t *api_server_loop(struct api_server *server);
/* Looks at the certificates again; new connections get what is new. For SIGHUP; done twice a day anyway. */
void api_server_renew(struct api_server *server);
/* Runs until its loop is ended or a failure; returns the exit code. */
int api_server_run(struct api_server *server);
struct api_server *api_server_free(struct api_server *server);
