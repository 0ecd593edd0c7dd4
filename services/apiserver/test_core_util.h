/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A core without a shell, for tests: requests in few words, answers checked. JSON is written with single
 * quotes for double ones. Every answer stays in world.last until the next request.
 */
#pragma once

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/apiserver/core_internal.h"

#define WORLD_START_US UINT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */

struct world {
        struct api_core *core;
        uint64_t now_us;
        struct api_result last;
        struct api_request request; /* options of the next request: dry_run, limit, …; reset by it */
};

/* cmocka setup and teardown; *state is a struct world. */
int world_setup(void **state);
int world_teardown(void **state);
/* As world_setup(), with another configuration. */
void world_init(struct world *w, const struct api_core_config *config);
void world_deinit(struct world *w);
extern const struct api_core_config world_config;

json_t *json_of(const char *text, ...) AK_PRINTF(1, 2);

/* One request in namespace "default" (or none, by the kind). `body` may be NULL; returns the HTTP status. */
int w_do(struct world *w, enum api_verb verb, const struct api_kind *kind, const char *name, const char *sub,
         const char *body);
int w_create(struct world *w, const struct api_kind *kind, const char *body);
int w_get(struct world *w, const struct api_kind *kind, const char *name);
int w_update(struct world *w, const struct api_kind *kind, const char *name, const char *body);
int w_delete(struct world *w, const struct api_kind *kind, const char *name, const char *options);
int w_patch(struct world *w, const struct api_kind *kind, const char *name, enum api_patch type,
            const char *body);
int w_patch_status(struct world *w, const struct api_kind *kind, const char *name, const char *body);
int w_list(struct world *w, const struct api_kind *kind, const char *labels, const char *fields);
size_t w_tick(struct world *w); /* number of changes */

/* Of the last answer; paths are dotted, "" where absent. */
const char *w_text(const struct world *w, const char *path);
const char *w_message(const struct world *w);
/* "field|message" of the only cause; fails the test where there are more or none. */
void assert_cause(const struct world *w, const char *field, const char *message_part);
void assert_message(const struct world *w, const char *part);

/* A ready node; a VM pod with NICs by name ("eth0 eth1"); the port of a NIC as stored. */
void w_node(struct world *w, const char *name);
int w_pod(struct world *w, const char *name, const char *nics);
json_t *w_port(struct world *w, const char *pod, const char *nic); /* borrowed; NULL when none */
json_t *w_stored(struct world *w, const struct api_kind *kind, const char *name);
/* The node's word that it let go of the port. */
int w_released(struct world *w, const char *port);
