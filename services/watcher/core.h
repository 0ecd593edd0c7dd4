/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher's core: what the API wants of this node, what the node reports, and what to do next. Pure:
 * events in, actions out. docs/nic-lifecycle.md is the protocol that it keeps.
 *
 * State is kept per VM (pod UID) and, below it, per NIC (port ID). An event changes some facts of it; then
 * each VM touched is reconciled: wishes follow from the API's objects alone, statuses from the wishes and
 * the reports, writes from the difference to what the API returned last. Nothing is remembered that could
 * not be found again from the API and the bus, but back-off, which starts over after a restart.
 *
 * Invariants (test_core_random.c holds them under random events):
 *  - "present" is wished only for a Bound port of a pod that lists it and is not being deleted;
 *  - no two NICs of one name are wished at a time: the new one waits until the old one is gone;
 *  - a port is reported Released only after port.status released for the current "absent" wish, and with
 *    no report that the device is still in the VM;
 *  - a pod is deleted for good only after vm.status absent and all of its ports are Released;
 *  - Ready is written only for what the hypervisor reports ready for the current port;
 *  - nothing is wished before both lists are complete;
 *  - at most one write per object is outstanding.
 */
#pragma once

#include "libcommon/cleanup.h"
#include "libcommon/log.h"
#include "proto/proto.h"

struct watcher_core;

/* F(name, default where 0, doc) */
#define WATCHER_CONFIG_NUMBERS(F)                                                                            \
        F(seed, 0, "jitter and names of events")                                                             \
        F(nic_slots, 64, "hotplug slots to reserve in a VM")                                                 \
        F(max_vms, 1024, "pods followed, orphans included")                                                  \
        F(max_ports, 16384, "ports followed")                                                                \
        F(republish_us, 5000000, "between repeats of a wish that is not settled")                            \
        F(reask_us, 6000000, "least time between two requests to a guest to give a device up")               \
        F(orphan_us, 5000000, "how long a thing must belong to nobody before it is removed")                 \
        F(hold_us, 1000000, "how long a Ready NIC stays so while a changed wish is not answered")            \
        F(peer_us, 10000000, "how long a state stands without a report after a restart")                     \
        F(guest_us, 300000000, "until a guest that does not take a device counts as not responding")         \
        F(stable_us, 600000000, "how long a VM runs until its restart back-off starts over")                 \
        F(lazy_us, 100000, "how long a write may wait that changes no state")                                \
        F(node_us, 60000000, "between checks that the node is registered")

struct watcher_core_config {
        char node[AK_LEN_NAME + 1];
        char host_ip[AK_LEN_CIDR + 1];
#define WATCHER_CONFIG_NUMBER(name, def, doc) uint64_t name;
        WATCHER_CONFIG_NUMBERS(WATCHER_CONFIG_NUMBER)
#undef WATCHER_CONFIG_NUMBER
};

#define WATCHER_EVENT_VALUES(E, x)                                                                           \
        E(x, WATCHER_EVENT_TICK, "tick")                                                                     \
        E(x, WATCHER_EVENT_POD_PUT, "pod_put")                                                               \
        E(x, WATCHER_EVENT_POD_GONE, "pod_gone")                                                             \
        E(x, WATCHER_EVENT_PODS_SYNCED, "pods_synced")                                                       \
        E(x, WATCHER_EVENT_PORT_PUT, "port_put")                                                             \
        E(x, WATCHER_EVENT_PORT_GONE, "port_gone")                                                           \
        E(x, WATCHER_EVENT_PORTS_SYNCED, "ports_synced")                                                     \
        E(x, WATCHER_EVENT_MESSAGE, "message") /* vm.status, nic.status, port.status */                      \
        E(x, WATCHER_EVENT_PEER, "peer")       /* a peer has a new epoch: it has started anew */             \
        E(x, WATCHER_EVENT_ANSWER, "answer")   /* to WATCHER_ACTION_CALL */                                  \
        E(x, WATCHER_EVENT_NODE, "node")       /* the Node object as this machine is */

#define WATCHER_ACTION_VALUES(E, x)                                                                          \
        E(x, WATCHER_ACTION_PUBLISH, "publish") /* and keep as the topic's last value */                     \
        E(x, WATCHER_ACTION_FORGET, "forget")                                                                \
        E(x, WATCHER_ACTION_CALL, "call") /* a request to the API; answered by WATCHER_EVENT_ANSWER */       \
        E(x, WATCHER_ACTION_LOG, "log")                                                                      \
        E(x, WATCHER_ACTION_WAKE, "wake") /* a tick at at_us; replaces the one asked for before */

#define WATCHER_CALL_VALUES(E, x)                                                                            \
        E(x, WATCHER_CALL_POD_STATUS, "pod_status")   /* merge patch of .../pods/NAME/status */              \
        E(x, WATCHER_CALL_POD_DELETE, "pod_delete")   /* body: DeleteOptions */                              \
        E(x, WATCHER_CALL_PORT_STATUS, "port_status") /* merge patch of .../ports/NAME/status */             \
        E(x, WATCHER_CALL_EVENT_CREATE, "event_create")                                                      \
        E(x, WATCHER_CALL_EVENT_PATCH, "event_patch")                                                        \
        E(x, WATCHER_CALL_NODE_CREATE, "node_create")                                                        \
        E(x, WATCHER_CALL_NODE_GET, "node_get")                                                              \
        E(x, WATCHER_CALL_NODE_STATUS, "node_status") /* merge patch */

#define WATCHER_OUTCOME_VALUES(E, x)                                                                         \
        E(x, WATCHER_OK, "ok")                                                                               \
        E(x, WATCHER_CONFLICT, "conflict")   /* 409: the object is another than was thought */               \
        E(x, WATCHER_GONE, "gone")           /* 404 */                                                       \
        E(x, WATCHER_FORBIDDEN, "forbidden") /* 401, 403, 422 …: will not be better at once */             \
        E(x, WATCHER_RETRY, "retry")         /* no answer, 5xx, 429 */

#define WATCHER_ENUMS(X)                                                                                     \
        X(watcher_event_type, WATCHER_EVENT_VALUES)                                                          \
        X(watcher_action_type, WATCHER_ACTION_VALUES)                                                        \
        X(watcher_call_type, WATCHER_CALL_VALUES)                                                            \
        X(watcher_outcome, WATCHER_OUTCOME_VALUES)
#define WATCHER_ENUM_VALUE(x, c, wire) c,
#define WATCHER_ENUM(tag, values)                                                                            \
        enum tag { values(WATCHER_ENUM_VALUE, ) };                                                           \
        const char *tag##_name(enum tag value);
WATCHER_ENUMS(WATCHER_ENUM)
#undef WATCHER_ENUM
#undef WATCHER_ENUM_VALUE

#define WATCHER_TEXT_SIZE 512

/* Pointers are borrowed from whoever made the event; watcher_event_deinit() is for those made from JSON. */
struct watcher_event {
        enum watcher_event_type type;
        json_t *object;             /* pod, port; answer: the object returned, NULL = none; node */
        struct ak_message *message; /* message */
        char peer[64];              /* message, peer: who */
        uint64_t epoch;             /* message, peer */
        bool more;                  /* message: another event follows at once, see watcher_core_step() */
        uint64_t op;                /* answer */
        enum watcher_outcome outcome;
        char text[WATCHER_TEXT_SIZE]; /* answer: why not */
};
void watcher_event_deinit(struct watcher_event *event);

struct watcher_action {
        enum watcher_action_type type;
        struct ak_message *message; /* publish */
        char trace[56];             /* publish: W3C traceparent */
        char topic[AK_TOPIC_SIZE];  /* forget */
        /* call */
        uint64_t op;
        enum watcher_call_type call;
        char name_space[AK_LEN_NAME + 1];
        char name[AK_LEN_NAME + 1];
        json_t *body;
        /* log */
        enum ak_log_level level;
        const char *event; /* static */
        char pod[AK_LEN_UID + 1], nic[AK_LEN_NIC + 1], port[AK_LEN_UID + 1];
        char text[WATCHER_TEXT_SIZE];
        uint64_t at_us; /* wake */
};

struct watcher_actions {
        struct watcher_action *items;
        size_t count, capacity;
};
void watcher_actions_clear(struct watcher_actions *actions); /* keeps the memory */
void watcher_actions_deinit(struct watcher_actions *actions);

int watcher_core_new(struct watcher_core **out, const struct watcher_core_config *config);
struct watcher_core *watcher_core_free(struct watcher_core *core);
AK_DEFINE_CLEANUP(struct watcher_core *, watcher_core_free)

/*
 * One event in; actions are appended to *out. 0; -ENOMEM; -ENOSPC or -EBADMSG for an object or message that
 * was ignored because of a bound or because it is malformed (a log action says which). With event->more the
 * facts are taken in, and the VM that they are about is looked at only in the step that follows. A restart
 * brings all reports of a node at once, and each is about a VM that has others.
 */
int watcher_core_step(struct watcher_core *core, const struct watcher_event *event, uint64_t now_us,
                      uint64_t real_us, struct watcher_actions *out);

/* For tests: is what the tables and deadlines say what a look at everything says? */
bool watcher_core_consistent(const struct watcher_core *core);

struct watcher_core_stats {
        size_t vms, vms_running, nics, nics_ready, nics_settled, ports;
        bool synced;
};
void watcher_core_stats(const struct watcher_core *core, struct watcher_core_stats *out);

/* The journal's JSON. New references; NULL when out of memory. */
json_t *watcher_event_to_json(const struct watcher_event *event);
json_t *watcher_actions_to_json(const struct watcher_actions *actions);
json_t *watcher_core_config_to_json(const struct watcher_core_config *config);
int watcher_event_from_json(const json_t *json, struct watcher_event *out, char error[AK_SCHEMA_ERROR_SIZE]);
int watcher_core_config_from_json(const json_t *json, struct watcher_core_config *out,
                                  char error[AK_SCHEMA_ERROR_SIZE]);
/* The event that a bus message becomes: NULL for a topic that the core does not listen to or a bad body. */
json_t *watcher_event_json_of_body(const char *peer, uint64_t epoch, const char *topic, const uint8_t *body,
                                   size_t len);
