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
#define SIM_CALM_S   400                            /* then everything must have converged within this */
#define SIM_VMS      64
#define SIM_PORTS    512
#define SIM_PENDING  256

enum sim_service { SIM_WATCHER, SIM_NETWORK, SIM_HYPERVISOR, SIM_SERVICES, SIM_WORLD = SIM_SERVICES };

/* The invariants. sim_check.c says each in full. */
#define SIM_INVARIANTS(I)                                                                                    \
        I(SIM_ATTACH, "attach-after-port")  /* a NIC is attached only after its port is ready */             \
        I(SIM_RELEASE, "release-after-nic") /* a port is released only after the VM gave the NIC up */       \
        I(SIM_FREE, "free-after-release")   /* an address is free only after the node's release */           \
        I(SIM_ONE_OP, "one-operation")      /* one outstanding operation per NIC */                          \
        I(SIM_USER_PORT, "user-port-stays") /* a user's port is unbound, never deleted */                    \
        I(SIM_UNIQUE, "unique-address")     /* no two NICs of a VPC with one IP or MAC */                    \
        I(SIM_READY, "ready-is-usable")     /* status never says Ready for what is not usable */             \
        I(SIM_HEALTHY, "healthy-untouched") /* a NIC that is wanted and works is not touched */              \
        I(SIM_ONCE, "runs-once")            /* a VM never to be restarted is not, once it was seen to run */ \
        I(SIM_LEAK, "nothing-leaks")        /* after the faults: no tap, NIC, domain, port too many */       \
        I(SIM_CONVERGE, "converges")        /* after the faults: all is as wished, within SIM_CALM_S */

enum sim_invariant {
        SIM_NONE,
#define SIM_ENUM(c, name) c,
        SIM_INVARIANTS(SIM_ENUM)
#undef SIM_ENUM
};

/* Chance has streams of its own for each sort of decision, so that leaving one out disturbs the rest little.
 */
enum sim_stream { SIM_TIMING, SIM_WEATHER, SIM_USER, SIM_CRASHES, SIM_HOST, SIM_TOGETHER, SIM_STREAMS };

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
        uint64_t number, number2, number3;
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
        bool used;
        uint32_t ifindex;
        uint64_t deleted_us; /* when somebody deleted it; 0 = nobody did */
        struct net_port_key key;
        char mac[AK_MAC_SIZE], ip[AK_CIDR_SIZE];
};

/* A NIC in a domain. */
struct sim_nic {
        bool plugged, bound, asked;
        bool stubborn; /* the guest will not let go for now */
        bool failed;   /* the guest's driver could not take it */
        bool cut;      /* its tap was deleted: no packet passes any more */
        char port_id[AK_LEN_UID + 1];
        struct hv_nic_spec spec;
};

struct sim_vm {
        bool used;
        char pod_uid[AK_LEN_UID + 1], pod_name[64];
        enum hv_domain_state state;
        uint64_t generation, nic_slots, started_us, booted_us, boots, busy_until;
        bool dead; /* the guest hangs: takes nothing, gives nothing up */
        struct sim_nic nics[HV_MAX_SLOTS];
};

/* An operation on a NIC whose result the hypervisor's core has not seen. */
struct sim_pending {
        char port_id[AK_LEN_UID + 1];
        uint64_t id;
};

/* What may go wrong, per 10,000 chances; all zero in the calm phase. */
struct sim_faults {
        unsigned drop, repeat, reorder; /* of bus messages */
        unsigned crash, crash_step;     /* of a service: per second; between two of its actions */
        unsigned api_lost, api_down;    /* answers lost; the apiserver killed at a request */
        unsigned libvirt_down, op_fail; /* libvirtd killed, per second; errors of kernel and libvirt */
        unsigned stubborn, guest_dies, guest_hangs, guest_late, driver_fails, guest_reboots, paused;
        unsigned drift;
        unsigned host_reboots, clock_jumps; /* per second */
};

/* What may be left out of a seed's faults and users' acts, by number: how a failure is made smaller. */
struct sim_skip {
        unsigned char *out; /* 1: left out */
        size_t count;
};

struct sim {
        uint64_t seed, random[SIM_STREAMS], now, serial;
        enum sim_stream stream; /* that sim_draw() takes from */
        bool verbose, calm, users_calm;
        const struct sim_skip *skip;
        size_t injected; /* decisions to let something happen, so far */
        struct sim_faults faults;
        struct sim_task **heap;
        size_t heap_count, heap_room;

        int64_t clock_off_us; /* what the wall clock has been set by */

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
        uint64_t api_epoch, stream_at[2];
        json_t *delivered[2]; /* pods and ports that the watcher was told of: key -> true */
        json_t *user_ports;   /* id -> true */
        bool user_acts;       /* a user's request is being handled */
        bool watching;

        struct sim_tap taps[SIM_PORTS];
        uint32_t last_ifindex;
        bool taps_changed;
        struct sim_vm vms[SIM_VMS];
        bool libvirt_up;
        uint64_t libvirt_epoch, registered; /* registered: the epoch in which events are delivered */
        struct sim_pending pending[SIM_PENDING];
        json_t *wanted_since; /* port id -> since when a pod has wanted it without a break */
        json_t *usable_until; /* port id -> when a guest last lost it */
        json_t *once;         /* uid of a pod with restartPolicy Never -> SIM_RAN, … */

        enum sim_invariant broken;
        char failure[512]; /* how it was broken */
        uint64_t converged_us;
        char **trace; /* last lines, a ring */
        size_t trace_next;
};

#define SIM_TRACE_LINES 400

/* ---- sim.c ---- */
/* skip may be NULL; lent. */
struct sim *sim_new(uint64_t seed, bool verbose, const struct sim_skip *skip);
struct sim *sim_free(struct sim *sim);
/* Runs one seed to its end. True when every invariant held. */
bool sim_run(struct sim *sim);
void sim_print_trace(const struct sim *sim);
uint64_t sim_draw(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned percent);
/* Whether something happens now; counted, and left out where the run is told to. */
bool sim_inject(struct sim *sim, unsigned per_10000);
/* A zeroed task at now + delay, in the queue; the caller fills it. */
struct sim_task *sim_at(struct sim *sim, uint64_t delay_us, enum sim_service to, sim_run_fn run);
void sim_log(struct sim *sim, const char *format, ...) AK_PRINTF(2, 3);
/* Notes the first broken invariant. */
void sim_fail(struct sim *sim, enum sim_invariant broken, const char *format, ...) AK_PRINTF(3, 4);
const char *sim_invariant_name(enum sim_invariant invariant);
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
void sim_users_calm(struct sim *sim);
json_t *sim_api_objects(struct sim *sim, const struct api_kind *kind); /* list; new reference */

/* ---- sim_host.c: kernel, libvirt, guests ---- */
void sim_host_network(struct sim *sim, const struct net_action *action);
void sim_host_inventory(struct sim *sim);
void sim_host_hypervisor(struct sim *sim, const struct hv_action *action);
void sim_host_fault(struct sim *sim); /* once per second */
void sim_host_calm(struct sim *sim);  /* the guests behave from now on */
void sim_libvirt_crash(struct sim *sim);
/* Its kernel forgets all ports, its guests are gone; the services are stopped by the caller. */
void sim_host_reboot(struct sim *sim);
struct sim_tap *sim_tap_find(struct sim *sim, const char *port_id);
struct sim_vm *sim_vm_find(struct sim *sim, const char *pod_uid);
struct sim_nic *sim_nic_find(struct sim *sim, const char *port_id, struct sim_vm **vm);

/* ---- sim_check.c ---- */
void sim_check_attach(struct sim *sim, const char *port_id);
void sim_check_release(struct sim *sim, const char *port_id);
/* An operation is asked for, and its result is seen. */
void sim_check_begin(struct sim *sim, const struct hv_action *action);
void sim_check_end(struct sim *sim, const struct hv_result *result);
/* Before a NIC is detached, its domain ended or its port prepared anew by one of our services. */
void sim_check_touch(struct sim *sim, const char *port_id, const char *what);
void sim_check_change(struct sim *sim, const struct api_change *change);
void sim_check_taps(struct sim *sim);
/* A guest powers itself off, crashes, or goes down with the host; a domain is started. */
void sim_check_ended(struct sim *sim, const char *pod_uid);
void sim_check_started(struct sim *sim, const char *pod_uid);
/* Once per second. */
void sim_check_look(struct sim *sim);
/* False: why says what is not yet as wished, and which invariant that breaks if it stays so. */
bool sim_check_converged(struct sim *sim, char why[256], enum sim_invariant *broken);
