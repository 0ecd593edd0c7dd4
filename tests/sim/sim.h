/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deterministic simulation of one node: the real cores of all four services in one process, over a simulated
 * bus, API transport, kernel and hypervisor. Everything follows from one seed.
 *
 * The world has one queue of tasks ordered by simulated time. A task delivers an event to a core, carries out
 * an operation on the model of the kernel or of libvirt, or lets a user or a fault act. A service that
 * crashes loses its core and every task that was addressed to that incarnation; what it had begun in kernel
 * or libvirt goes on or is lost, as chance has it.
 *
 * sim_check.c holds the invariants; what breaks one ends the run with the seed and a trace.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "services/apiserver/core.h"
#include "services/hypervisor/core.h"
#include "services/network/core.h"
#include "services/watcher/core.h"

#define SIM_NODE     "node1"
#define SIM_S        UINT64_C(1000000)
#define SIM_MS       UINT64_C(1000)
#define SIM_REAL_US  (UINT64_C(1790000000) * SIM_S) /* the wall clock when the run starts */
#define SIM_FAULTS_S 120                            /* users and faults act for this long */
#define SIM_CALM_S   900                            /* then everything must have converged within this */
#define SIM_VMS      64
#define SIM_PORTS    512

enum sim_service { SIM_WATCHER, SIM_NETWORK, SIM_HYPERVISOR, SIM_SERVICES, SIM_WORLD = SIM_SERVICES };

struct sim;
struct sim_task;
typedef void (*sim_run_fn)(struct sim *sim, struct sim_task *task);

/* Owns json, message, data. Addressed to a service's incarnation, or to the world. */
struct sim_task {
        uint64_t at, serial;
        enum sim_service to;
        uint64_t incarnation;
        sim_run_fn run;
        json_t *json;
        struct ak_message *message;
        void *data; /* free() */
        uint64_t number, number2;
        int kind;
        char text[AK_TOPIC_SIZE], text2[64];
};

struct sim_topic {
        char topic[AK_TOPIC_SIZE];
        struct ak_message *message;
};

/* One publisher's side of the bus. */
struct sim_publisher {
        uint64_t epoch;
        struct sim_topic *topics;
        size_t count, room;
        uint64_t last_at[SIM_SERVICES]; /* delivery to each listener keeps its order, but for reordering */
        uint64_t heard_epoch[SIM_SERVICES];
};

/* A port in the kernel. */
struct sim_tap {
        bool used, lost; /* lost: somebody deleted the tap behind our back */
        struct net_port_key key;
        char mac[AK_MAC_SIZE], ip[AK_CIDR_SIZE];
};

/* A NIC in a domain. */
struct sim_nic {
        bool plugged, bound, asked, busy; /* busy: an attach or detach is being carried out */
        bool stubborn;                    /* the guest will not let go for now */
        char port_id[AK_LEN_UID + 1];
        struct hv_nic_spec spec;
        uint64_t bound_us, lost_us; /* when the guest last took it, and when it was last lost */
};

struct sim_vm {
        bool used;
        char pod_uid[AK_LEN_UID + 1], pod_name[64];
        enum hv_domain_state state;
        uint64_t generation, nic_slots, started_us, booted_us, busy_until;
        struct sim_nic nics[HV_MAX_SLOTS];
};

/* What may go wrong, in percent or as said; all zero in the calm phase. */
struct sim_faults {
        unsigned drop, repeat, reorder;       /* of bus messages */
        unsigned crash;                       /* of a service, per second */
        unsigned api_lost, api_down, op_fail; /* answers lost; outage per second; kernel and libvirt errors */
        unsigned stubborn, guest_dies, drift;
};

struct sim {
        uint64_t seed, random, now, serial;
        bool verbose, calm;
        struct sim_faults faults;
        struct sim_task **heap;
        size_t heap_count, heap_room;

        uint64_t incarnation[SIM_SERVICES];
        struct watcher_core *watcher;
        struct net_core *network;
        struct hv_core *hypervisor;
        struct watcher_actions watcher_actions;
        struct net_actions network_actions;
        struct hv_actions hypervisor_actions;
        uint64_t wake[SIM_SERVICES];

        struct sim_publisher publishers[SIM_SERVICES];

        struct api_core *api;
        bool api_up;
        uint64_t api_next_tick, stream_at[2];
        json_t *delivered[2]; /* pods and ports that the watcher was told of: key -> true */
        json_t *user_ports;   /* id -> true */
        bool watching;

        struct sim_tap taps[SIM_PORTS];
        bool taps_changed;
        struct sim_vm vms[SIM_VMS];

        char failure[512]; /* the broken invariant; "" = none */
        uint64_t converged_us;
        char **trace; /* last lines, a ring */
        size_t trace_next;
};

#define SIM_TRACE_LINES 400

/* ---- sim.c ---- */
struct sim *sim_new(uint64_t seed, bool verbose);
struct sim *sim_free(struct sim *sim);
/* Runs one seed to its end. True when every invariant held. */
bool sim_run(struct sim *sim);
void sim_print_trace(const struct sim *sim);
uint64_t sim_draw(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned percent);
/* A zeroed task at now + delay, in the queue; the caller fills it. */
struct sim_task *sim_at(struct sim *sim, uint64_t delay_us, enum sim_service to, sim_run_fn run);
void sim_log(struct sim *sim, const char *format, ...) AK_PRINTF(2, 3);
/* Notes the first broken invariant. */
void sim_fail(struct sim *sim, const char *format, ...) AK_PRINTF(2, 3);
uint64_t sim_real(const struct sim *sim);
void sim_crash(struct sim *sim, enum sim_service service);
const char *sim_service_name(enum sim_service service);

/* ---- sim_services.c: events into cores, actions out ---- */
void sim_service_start(struct sim *sim, enum sim_service service);
void sim_service_stop(struct sim *sim, enum sim_service service);
void sim_step_watcher(struct sim *sim, const struct watcher_event *event);
void sim_step_network(struct sim *sim, const struct net_event *event);
void sim_step_hypervisor(struct sim *sim, const struct hv_event *event);

/* ---- sim_bus.c ---- */
void sim_bus_publish(struct sim *sim, enum sim_service from, const struct ak_message *message, bool retain);
void sim_bus_forget(struct sim *sim, enum sim_service from, const char *topic);
void sim_bus_start(struct sim *sim, enum sim_service service); /* new epoch, replay both ways */
void sim_bus_stop(struct sim *sim, enum sim_service service);
void sim_bus_marks(struct sim *sim); /* sync.mark: what was lost comes again */

/* ---- sim_api.c ---- */
int sim_api_start(struct sim *sim);
void sim_api_stop(struct sim *sim);
void sim_api_call(struct sim *sim, const struct watcher_action *action);
void sim_api_list(struct sim *sim); /* the watcher connects */
void sim_api_outage(struct sim *sim);
void sim_api_tick(struct sim *sim);
void sim_user_act(struct sim *sim);
json_t *sim_api_objects(struct sim *sim, const struct api_kind *kind); /* list; new reference */

/* ---- sim_host.c: kernel, libvirt, guests ---- */
void sim_host_network(struct sim *sim, const struct net_action *action);
void sim_host_inventory(struct sim *sim);
void sim_host_hypervisor(struct sim *sim, const struct hv_action *action);
void sim_host_fault(struct sim *sim);
struct sim_tap *sim_tap_find(struct sim *sim, const char *port_id);
struct sim_vm *sim_vm_find(struct sim *sim, const char *pod_uid);
struct sim_nic *sim_nic_find(struct sim *sim, const char *port_id, struct sim_vm **vm);

/* ---- sim_check.c ---- */
void sim_check_attach(struct sim *sim, const char *port_id);
void sim_check_release(struct sim *sim, const char *port_id);
void sim_check_status(struct sim *sim, const json_t *pod);
void sim_check_port_free(struct sim *sim, const json_t *port);
void sim_check_always(struct sim *sim);
/* "" when everything is as wished, else what is not yet. */
bool sim_check_converged(struct sim *sim, char why[256]);
