/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world around the watcher's core, for its tests: an API server's objects, the bus, a clock. Each action is
 * carried out here and checked against the core's invariants on the way, so every test checks all of them.
 */
#pragma once

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <czmq.h>

#include "services/watcher/core.h"

#define SEC UINT64_C(1000000)
#define MS  UINT64_C(1000)

#define UID_A   "aaaaaaaa-0000-4000-8000-000000000001"
#define UID_B   "bbbbbbbb-0000-4000-8000-000000000002"
#define PORT(n) "00000000-0000-4000-8000-00000000000" #n

struct world_call {
        uint64_t op;
        enum watcher_call_type type;
        char name_space[256], name[256];
        json_t *body;
};

struct world {
        struct watcher_core *core;
        struct watcher_core_config config;
        struct watcher_actions actions;
        uint64_t now, real, wake, version, epoch[2];
        bool synced;
        zhashx_t *pods, *ports;           /* as the API has them: UID or ID -> json_t */
        zhashx_t *seen_pods, *seen_ports; /* as the core was told */
        zhashx_t *bus;                    /* topic -> struct ak_message, what is retained */
        zhashx_t *said;                   /* topic -> struct ak_message, the last that the core was told */
        zlistx_t *calls;                  /* not yet answered */
        zlistx_t *events;                 /* "Reason" of each Event made */
        zhashx_t *presented;              /* topics that ever wished a NIC to be there */
        zhashx_t *released;               /* port ID -> "": accepted as Released */
        size_t publishes, status_writes, event_writes;
        size_t complaints; /* logged about writes that the API refused */
        bool faults;       /* answer by chance */
        uint64_t chance;
        bool more;    /* messages are told as if another event followed at once ... */
        bool gathers; /* ... which is a tick */
        bool hold;    /* leave calls unanswered until world_answer_all() */
        bool offline; /* answer RETRY to everything */
};

void world_init(struct world *w);
void world_deinit(struct world *w);
/* A new core that knows nothing, over the same API and bus: the watcher was restarted. */
void world_restart(struct world *w);

/* ---- the API ---- */
/* A pod with these NICs: "eth0=PORT", "eth1=PORT:down"; NULL-terminated. Stored, not yet told. */
void world_pod(struct world *w, const char *uid, const char *name, ...) AK_SENTINEL;
/* Replaces the NICs of a pod and raises its generation. */
void world_pod_nics(struct world *w, const char *uid, ...) AK_SENTINEL;
void world_pod_nics_set(struct world *w, const char *uid, json_t *nics); /* takes over */
void world_pod_delete(struct world *w, const char *uid, int grace_s);    /* marks; ports become Releasing */
void world_pod_remove(struct world *w, const char *uid);                 /* force delete */
void world_pod_set(struct world *w, const char *uid, const char *path,
                   json_t *value); /* "spec/restartPolicy" */
void world_port(struct world *w, const char *id, const char *pod_uid, const char *nic);
void world_port_phase(struct world *w, const char *id, const char *phase);
void world_port_remove(struct world *w, const char *id);
/* Tells the core what the API has now, one object; or all that changed. */
void world_tell_pod(struct world *w, const char *uid);
void world_tell_port(struct world *w, const char *id);
void world_tell_all(struct world *w);
void world_sync(struct world *w);
/* Pod, its ports, told and synced. */
void world_start(struct world *w, const char *uid, const char *name, ...) AK_SENTINEL;

/* ---- the node ---- */
void world_vm(struct world *w, const char *uid, enum ak_vm_phase phase);
void world_port_says(struct world *w, const char *uid, const char *id, enum ak_port_state state,
                     const char *reason);
void world_nic_says(struct world *w, const char *uid, const char *id, enum ak_nic_state state,
                    const char *reason);
void world_say(struct world *w, struct ak_message *message, int peer); /* takes over */
void world_peer(struct world *w, int peer);                            /* has started anew */
void world_plug(struct world *w, const char *uid, const char *id);     /* ready on both sides */
void world_unplug(struct world *w, const char *uid, const char *id);   /* detached and released */

/* ---- time ---- */
void world_step(struct world *w, const struct watcher_event *event);
void world_advance(struct world *w, uint64_t us); /* with all ticks that the core asked for */
void world_answer_all(struct world *w);
void world_answer(struct world *w, enum watcher_call_type type, enum watcher_outcome outcome);
void world_settle(struct world *w);
/* The next number of the world's chance, below n. */
uint64_t world_draw(struct world *w, uint64_t n);

/* ---- questions ---- */
const struct ak_nic_diff *world_nic_wish(const struct world *w, const char *uid, const char *id);
const struct ak_vm_diff *world_vm_wish(const struct world *w, const char *uid);
/* An entry of status.nicStatuses as the API has it; NULL = none. */
const json_t *world_nic(const struct world *w, const char *uid, const char *name);
const char *world_nic_text(const struct world *w, const char *uid, const char *name, const char *key);
const json_t *world_status(const struct world *w, const char *uid);
const char *world_condition(const struct world *w, const char *uid, const char *type, const char *key);
size_t world_calls(const struct world *w, enum watcher_call_type type);
size_t world_events(const struct world *w, const char *reason);
json_t *world_api_pod(const struct world *w, const char *uid);
json_t *world_api_port(const struct world *w, const char *id);

#define assert_nic(w, uid, name, want_state, want_reason)                                                    \
        do {                                                                                                 \
                assert_string_equal(world_nic_text(w, uid, name, "state"), want_state);                      \
                assert_string_equal(world_nic_text(w, uid, name, "reason"), want_reason);                    \
        } while (0)
