/* SPDX-License-Identifier: Apache-2.0 */
/* The core's state, shared by its files. */
#pragma once

#include <czmq.h>
#include <sys/queue.h>

#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/deadlines.h"
#include "services/watcher/core.h"

/* Copies a string into an array, cut at its end. */
#define W_COPY(dst, src) ((void)snprintf(dst, sizeof(dst), "%.*s", (int)sizeof(dst) - 1, src))

#define W_LEN_TYPE 31

/* ------------------------------------------------------------------ decoded objects (core_decode.c) */

enum watcher_port_phase { W_PORT_OTHER, W_PORT_UNBOUND, W_PORT_BOUND, W_PORT_RELEASING, W_PORT_RELEASED };

/* A Port of the API. */
struct watcher_port {
        TAILQ_ENTRY(watcher_port) same_pod;
        char id[AK_LEN_UID + 1], name_space[AK_LEN_NAME + 1], version[64];
        uint64_t resource_version;
        enum watcher_port_phase phase;
        char pod_uid[AK_LEN_UID + 1], nic[AK_LEN_NIC + 1]; /* boundTo; "" = unbound */
        struct ak_nic_diff facts;                          /* what a wish says of the port */
        char defect[128];                                  /* why it cannot be used; "" = it can */
};

enum watcher_restart { W_RESTART_ALWAYS, W_RESTART_ON_FAILURE, W_RESTART_NEVER };

struct watcher_pod_nic {
        char name[AK_LEN_NIC + 1], port_id[AK_LEN_UID + 1];
        uint64_t mtu, ingress_kbps, egress_kbps;
        bool link_down;
};

/* A Pod of the API, as far as a wish needs it. */
struct watcher_pod {
        char uid[AK_LEN_UID + 1], name_space[AK_LEN_NAME + 1], name[AK_LEN_NAME + 1];
        uint64_t resource_version, generation;
        uint64_t grace_ms, shutdown_grace_ms; /* of the deletion; where it is to be shut down and stays */
        bool deleting;
        enum watcher_restart restart;
        char trace[56];
        struct ak_message *vm; /* vm_diff, but for generation, attempt, boot_ports */
        size_t nic_count;
        struct watcher_pod_nic nics[AK_MAX_NICS];
};

int watcher_pod_decode(const json_t *json, uint64_t nic_slots, struct watcher_pod **out,
                       char error[AK_SCHEMA_ERROR_SIZE]);
struct watcher_pod *watcher_pod_free(struct watcher_pod *pod);
int watcher_port_decode(const json_t *json, struct watcher_port **out, char error[AK_SCHEMA_ERROR_SIZE]);
struct watcher_port *watcher_port_free(struct watcher_port *port);
AK_DEFINE_CLEANUP(struct watcher_port *, watcher_port_free)

/* ------------------------------------------------------------------ state */

enum watcher_state { W_UNKNOWN, W_IN_PROGRESS, W_READY, W_FAILED };

enum watcher_want { W_UNDECIDED, W_PRESENT, W_ABSENT };

/* A write to the API: at most one outstanding, tried again after a while. */
struct watcher_task {
        uint64_t op;       /* outstanding; 0 = none */
        uint64_t retry_us; /* not before */
        struct ak_backoff backoff;
};

struct watcher_timings {
        bool known;
        uint64_t port_ms, attach_ms, guest_ms, total_ms, detach_ms;
};

struct watcher_nic {
        char port_id[AK_LEN_UID + 1];
        char name[AK_LEN_NIC + 1];
        struct ak_message *wish; /* nic_diff as published last; NULL = none yet */
        uint64_t published_us;   /* when */
        uint64_t asked_us;       /* when this (generation, attempt) was published first */
        uint64_t wished_us;      /* when this direction was */
        uint64_t began_us;   /* when what timings.totalMs measures did: the wish, or the loss of the device */
        uint64_t tries;      /* in this direction since it changed */
        uint64_t retry_us;   /* next attempt; 0 = none is due */
        uint64_t ready_us;   /* since when it is ready; 0 = it is not */
        uint64_t waiting_us; /* since when the guest is waited for */
        struct ak_backoff backoff;

        bool have_port, have_nic;
        struct ak_port_status port; /* last report of each side */
        struct ak_nic_status nic;
        uint64_t port_epoch, nic_epoch;
        uint64_t unknown_us; /* since when it belongs to nobody; 0 = it belongs to somebody */

        /* As written to the API. */
        enum watcher_state state;
        char reason[AK_LEN_REASON + 1], message[AK_LEN_MESSAGE + 1];
        char since[AK_RFC3339_SIZE]; /* lastTransitionTime */
        char mac[AK_LEN_MAC + 1], device_alias[128], pci_address[32];
        struct watcher_timings timings;
        bool adopted; /* state comes from the API: the reports have not been heard yet */
        bool met_pod; /* adopted or not: that is decided */
        bool was_ready, told_failed;
        bool settled;              /* both services have answered the wish, and nothing is left to do */
        uint64_t ifindex;          /* of the host's device, as the port's reports had it last */
        bool remade;               /* it is another since the hypervisor spoke of the NIC */
        bool replugged;            /* the device was seen to be on its way since it was ready */
        bool released;             /* the API accepted Released ... */
        uint64_t released_version; /* ... for this resourceVersion of the port */
        uint64_t asked_version;    /* the port's resourceVersion in the last request for it */
        struct watcher_task release;
};

struct watcher_vm {
        uint64_t number;        /* in the order of their appearance */
        struct ak_deadline due; /* next_us, as the core knows it */
        char uid[AK_LEN_UID + 1], name_space[AK_LEN_NAME + 1], name[AK_LEN_NAME + 1];
        json_t *pod;              /* as the API returned it last; NULL = not in the API */
        struct watcher_pod *spec; /* decoded; stays when the pod vanishes */
        bool vanished;            /* was in the API and is no more */
        uint64_t version;         /* resourceVersion of the last state or the delete */
        uint64_t unknown_us;
        uint64_t pod_us; /* when the pod was first seen */
        uint64_t generation;

        struct ak_message *wish; /* vm_diff */
        uint64_t published_us, retry_us, running_us;
        struct ak_backoff backoff;
        bool have_status;
        struct ak_vm_status status;
        uint64_t status_epoch;
        bool terminal; /* ended for good: restartPolicy; terminal_failed says how */
        bool terminal_failed;
        uint64_t restarts;
        bool told_started, pulling;
        bool final; /* the last DELETE has been asked for: there is nothing more to say */
        enum ak_vm_phase told_phase;
        uint64_t told_attempt;

        struct watcher_nic **nics;
        size_t nic_count, nic_capacity;

        struct watcher_task status_task, delete_task;
        json_t *sent;          /* status that was written last */
        uint64_t sent_version; /* resourceVersion that the API gave it */
        bool urgent;           /* a state changed since the last write */
        uint64_t lazy_us;

        double event_tokens;
        uint64_t event_refill_us;
        bool dirty;       /* watcher_vm_touch() */
        uint64_t next_us; /* look again at; 0 = only on an event */
};

struct watcher_peer {
        const char *name;
        bool seen;
        uint64_t epoch, since_us;
};
enum { W_NETWORK, W_HYPERVISOR, W_PEERS };

/* One Event object of the API that may still be counted up. */
struct watcher_record {
        char name_space[AK_LEN_NAME + 1], name[AK_LEN_NAME + 1];
        char key[AK_LEN_UID + AK_LEN_REASON + 256];
        uint64_t count, posted_count, op, last_us, post_us;
};
#define W_MAX_RECORDS 256

struct watcher_node {
        json_t *wanted; /* without the Ready condition */
        json_t *known;  /* as the API returned it; NULL = not known to be there */
        bool create;
        uint64_t check_us;
        struct watcher_task task;
        enum watcher_call_type call;
        char ready_since[AK_RFC3339_SIZE];
        int ready;                    /* -1 = not yet told */
        uint64_t slots, slots_free;   /* hotplug slots of the VMs, as told */
        uint64_t slots_now, free_now; /* as they are */
        bool compared;                /* the status as it should be with `known`, at ... */
        uint64_t compared_slots, compared_free;
        uint64_t counted_us, count_us; /* when; count again at, 0 = no need */
};

/* A call to the API about a VM that is not answered yet. */
struct watcher_open_call {
        uint64_t op;
        struct watcher_vm *vm;
};

struct watcher_core {
        struct watcher_core_config config;
        struct watcher_vm **vms; /* in the order of their appearance */
        size_t vm_count, vm_capacity;
        struct watcher_vm **touched, **batch; /* to be reconciled; being reconciled; both of the capacity */
        size_t touched_count;
        struct ak_deadlines due; /* of VMs */
        zhashx_t *vm_index;      /* pod UID -> struct watcher_vm */
        zhashx_t *ports;         /* port ID -> struct watcher_port, owned */
        zhashx_t *pod_ports;     /* pod UID -> list of its ports; "" is the pod of those without one */
        struct watcher_open_call *calls;
        size_t call_count, call_capacity;
        struct watcher_peer peers[W_PEERS];
        bool pods_synced, ports_synced;
        uint64_t synced_us; /* when both were for the first time */
        struct watcher_node node;
        struct watcher_record *records; /* W_MAX_RECORDS, the oldest is reused */
        size_t record_count;
        uint64_t next_op, next_vm, event_serial, wake_us;

        struct ak_message *wish; /* nic_diff, to compare with; its lists are those of a port or a NIC */

        /* Of the step under way. */
        uint64_t now, real;
        struct watcher_actions *out;
        int error;
};

/* ------------------------------------------------------------------ core.c */

/* A zeroed action at the end of the list; NULL when out of memory (core->error says so). */
struct watcher_action *watcher_emit(struct watcher_core *core, enum watcher_action_type type);
/* Takes over `body`. 0 when out of memory, else the operation's number. */
uint64_t watcher_call(struct watcher_core *core, enum watcher_call_type type, const char *name_space,
                      const char *name, json_t *body);
void watcher_log(struct watcher_core *core, enum ak_log_level level, const char *event,
                 const struct watcher_vm *vm, const struct watcher_nic *nic, const char *format, ...)
    AK_PRINTF(6, 7);
void watcher_publish(struct watcher_core *core, const struct watcher_vm *vm,
                     const struct ak_message *message);
void watcher_forget(struct watcher_core *core, const struct ak_message *message);
void watcher_wake_at(struct watcher_vm *vm, uint64_t at_us);
uint64_t watcher_seed(const struct watcher_core *core, const char *text);
bool watcher_confirmed(const struct watcher_core *core, int peer, uint64_t epoch);
/* Both lists are complete, and the thing has belonged to nobody for long enough. Wakes the VM otherwise. */
bool watcher_orphan_due(struct watcher_core *core, struct watcher_vm *vm, uint64_t *unknown_us);
bool watcher_task_ready(struct watcher_core *core, struct watcher_vm *vm, const struct watcher_task *task);
/* Notes how an answer of this task ended. */
void watcher_task_done(struct watcher_core *core, struct watcher_task *task, enum watcher_outcome outcome);
void watcher_task_init(struct watcher_task *task, uint64_t seed);

/* ------------------------------------------------------------------ core_table.c */

int watcher_tables_init(struct watcher_core *core);
void watcher_tables_deinit(struct watcher_core *core);
struct watcher_vm *watcher_vm_find(const struct watcher_core *core, const char *uid);
/* Made where it is not there. NULL: core->error says why. */
struct watcher_vm *watcher_vm_get(struct watcher_core *core, const char *uid);
void watcher_vm_drop(struct watcher_core *core, struct watcher_vm *vm);
/* It is to be reconciled in this step. */
void watcher_vm_touch(struct watcher_core *core, struct watcher_vm *vm);
void watcher_vm_touch_all(struct watcher_core *core);
/* The touched and the due into core->batch; how many. */
size_t watcher_vms_take_touched(struct watcher_core *core);
struct watcher_port *watcher_port_find(const struct watcher_core *core, const char *id);
/* Those that name the pod, whatever their phase. */
struct watcher_port *watcher_port_first(const struct watcher_core *core, const char *pod_uid);
struct watcher_port *watcher_port_next(const struct watcher_port *port);
/* Takes the port on 0. -ENOSPC: there are too many; -EALREADY: it is not newer than what is there. */
int watcher_port_store(struct watcher_core *core, struct watcher_port *port);
void watcher_port_drop(struct watcher_core *core, struct watcher_port *port);
/* watcher_call() about a VM ... */
uint64_t watcher_vm_call(struct watcher_core *core, struct watcher_vm *vm, enum watcher_call_type type,
                         const char *name_space, const char *name, json_t *body);
/* ... whose answer has come; NULL = of none. */
struct watcher_vm *watcher_vm_answered_call(struct watcher_core *core, uint64_t op);

/* ------------------------------------------------------------------ core_vm.c */

struct watcher_vm *watcher_vm_new(struct watcher_core *core, const char *uid);
struct watcher_vm *watcher_vm_free(struct watcher_vm *vm);
/* Before there is a wish: what the API knows of the pod from before is where we go on. */
void watcher_vm_adopt(struct watcher_vm *vm);
void watcher_vm_reconcile(struct watcher_core *core, struct watcher_vm *vm);
/* Nothing of it is left and it may be dropped. */
bool watcher_vm_over(const struct watcher_vm *vm);
bool watcher_vm_answered(const struct watcher_vm *vm);
bool watcher_vm_is_absent(const struct watcher_vm *vm);
/* The VM was reported not to run: none of its NICs can be usable. */
bool watcher_vm_is_down(const struct watcher_vm *vm);
/* Likewise, and the report is not older than the wish: none of its NICs can be in it. */
bool watcher_vm_surely_down(const struct watcher_vm *vm);
void watcher_vm_status(struct watcher_core *core, struct watcher_vm *vm, const struct ak_vm_status *status,
                       uint64_t epoch);

/* ------------------------------------------------------------------ core_nic.c */

struct watcher_nic *watcher_nic_find(const struct watcher_vm *vm, const char *port_id);
struct watcher_nic *watcher_nic_add(struct watcher_core *core, struct watcher_vm *vm, const char *port_id,
                                    const char *name);
struct watcher_nic *watcher_nic_free(struct watcher_nic *nic);
/* Makes a NIC of each port that the pod lists or that is bound to it. */
void watcher_nics_collect(struct watcher_core *core, struct watcher_vm *vm);
void watcher_nics_reconcile(struct watcher_core *core, struct watcher_vm *vm);
bool watcher_nic_listed(const struct watcher_vm *vm, const struct watcher_nic *nic);
bool watcher_nics_released(const struct watcher_core *core, const struct watcher_vm *vm);
void watcher_nic_port_status(struct watcher_nic *nic, const struct ak_port_status *status, uint64_t epoch);
void watcher_nic_nic_status(struct watcher_nic *nic, const struct ak_nic_status *status, uint64_t epoch);
void watcher_nic_set(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                     enum watcher_state state, const char *reason, const char *message);

/* ------------------------------------------------------------------ core_verdict.c */

/* What the reports say of a NIC, given the wish. */
struct watcher_verdict {
        enum watcher_state state;
        const char *reason, *message;
        bool settled;    /* nothing more to wait for in this direction */
        bool failed;     /* to be tried again */
        bool asking;     /* the guest has been asked for the device and has it still */
        bool unanswered; /* nothing was heard of this wish yet */
};
/* Do reports speak of a later wish than ours? */
bool watcher_nic_overtaken(const struct watcher_nic *nic);
struct watcher_verdict watcher_nic_verdict(struct watcher_core *core, struct watcher_vm *vm,
                                           struct watcher_nic *nic);
/* Is (generation, attempt) of a report an answer to the wish, that is not older? */
bool watcher_key_answers(uint64_t generation, uint64_t attempt, uint64_t wish_generation,
                         uint64_t wish_attempt);
bool watcher_nic_in_domain(const struct watcher_vm *vm, const struct watcher_nic *nic);

/* ------------------------------------------------------------------ core_status.c */

const char *watcher_state_name(enum watcher_state state);
/* Writes the status where it differs from what the API has. */
void watcher_status_write(struct watcher_core *core, struct watcher_vm *vm);
/* The RFC 7386 patch that makes `to` out of `from`; NULL where they are equal. New reference. */
json_t *watcher_merge_diff(const json_t *from, const json_t *to);
/* What the API knows of a NIC from before: by port ID in status.nicStatuses. NULL = nothing. */
const json_t *watcher_stored_nic(const struct watcher_vm *vm, const char *port_id);

/* ------------------------------------------------------------------ core_event.c */

void watcher_event_post(struct watcher_core *core, struct watcher_vm *vm, bool warning, const char *reason,
                        const char *format, ...) AK_PRINTF(5, 6);
/* An answer to a write of an Event. True when it was one. */
bool watcher_event_answer(struct watcher_core *core, const struct watcher_event *answer);

/* ------------------------------------------------------------------ core_node.c */

void watcher_node_reconcile(struct watcher_core *core);
/* The slots that the VM was said to have count, or do not any more. */
void watcher_node_count(struct watcher_core *core, const struct watcher_vm *vm, bool add);
bool watcher_node_answer(struct watcher_core *core, const struct watcher_event *answer);
uint64_t watcher_node_deadline(const struct watcher_core *core);
void watcher_node_deinit(struct watcher_node *node);
