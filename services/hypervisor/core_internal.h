/* SPDX-License-Identifier: Apache-2.0 */
/* The core's state, shared by core*.c alone. */
#pragma once

#include <czmq.h>

#include "libcommon/backoff.h"
#include "libcommon/deadlines.h"
#include "services/hypervisor/core.h"

#define HV_MAX_NIC_RECORDS 128 /* per VM: 64 slots, and as many that are going or gone */

/* (generation, attempt) of a wish, for "once per try". */
struct hv_key {
        uint64_t generation, attempt;
        bool set;
};

struct hv_fault {
        char reason[AK_LEN_REASON + 1];
        char message[AK_LEN_MESSAGE + 1];
};

struct hv_nic {
        char port_id[AK_LEN_UID + 1];
        char name[AK_LEN_NIC + 1];
        struct ak_message *wish; /* nic.diff */
        struct ak_message *port; /* port.status */

        bool in_domain;
        struct hv_live_nic live; /* valid while in_domain */
        enum hv_op op;           /* attach, detach or set_link under way */
        uint64_t op_id;
        uint64_t attach_took_us;
        uint64_t attach_ifindex; /* of the host's device that it is being plugged with */

        /* Is the host's device still the one that it was plugged with? (core_tap.c) */
        unsigned tap_signs;   /* that it is not */
        uint64_t tap_look_us; /* look again at; 0 = no need */
        bool replace;         /* it has to leave and come back */

        /* Attach: the last key tried, and how it failed. */
        struct hv_key attach_tried;
        bool attach_failed;
        bool lost; /* vanished although it was wanted */
        struct hv_fault attach_fault;

        /* The guest's driver. */
        uint64_t probe_id;   /* 0 = none under way */
        uint64_t probe_void; /* under way when the guest rebooted: its answer is of before */
        uint64_t plugged_us, probe_at_us;
        bool bound, driver_failed, guest_late;
        bool found;               /* it was there when we began to look: since when is not known */
        uint64_t silent_until_us; /* found; the guest's answer is awaited: nothing is said. 0 = not set */
        uint64_t guest_took_us;

        /* Link: a change is tried once per key. */
        struct hv_key link_tried;

        /* Detach. */
        struct hv_key detach_tried;
        bool detach_asked;        /* the guest was asked and the device is still there */
        bool lowered;             /* link taken down because of it */
        uint64_t detach_us;       /* first asked */
        uint64_t detach_again_us; /* the answer was lost: whether the guest was asked is unknown */
        uint64_t inspect_at_us;   /* look at the live XML, in case the event was lost */
        uint64_t detach_took_us;
        struct hv_fault detach_fault;

        struct ak_message *published; /* nic.status */
        uint64_t forget_at_us;        /* 0 = not set */
};

enum hv_image_state { HV_IMAGE_NONE, HV_IMAGE_FETCHING, HV_IMAGE_READY, HV_IMAGE_FAILED };

struct hv_vm {
        char uid[AK_LEN_UID + 1];
        size_t index;                        /* in the table */
        struct ak_deadline due;              /* look at it again at */
        const struct hv_live_domain *listed; /* while a list is gone through */
        char pod_namespace[AK_LEN_NAME + 1];
        char pod_name[AK_LEN_NAME + 1];
        struct ak_message *wish; /* vm.diff */

        bool known;   /* the driver told what it has of it since the last connect */
        bool touched; /* something happened since the last look was asked for: look again */
        bool stopping_crashed, stopping_destroyed; /* how it is about to be seen gone */
        uint64_t inspect_id;
        enum hv_domain_state state;
        char uuid[37], accel[16];
        uint64_t started_us, nic_slots, live_generation;
        bool guest_up; /* its drivers have touched a NIC since it (re)booted */

        enum hv_op op; /* start, shutdown, destroy, suspend, resume, cleanup */
        uint64_t op_id;
        bool cleaned;

        /* A start under way: image and ports. */
        bool starting;
        bool start_refused; /* the call failed; whether there is a domain is being looked up */
        struct hv_fault start_fault;
        struct hv_key start_tried;
        uint64_t ports_until_us;
        enum hv_image_state image_state;
        uint64_t image_id, image_percent;
        struct hv_image_result image;

        /* A stop under way. */
        bool shutdown_sent;
        uint64_t stop_since_us, destroy_after_us, cleanup_after_us; /* the latter two: not before */
        bool panicked;              /* the guest's kernel said so, in this run of the domain */
        uint64_t told_off_until_us; /* the guest was told to power off; an end before this is the answer */

        enum ak_vm_phase ended; /* SHUTOFF, CRASHED, FAILED: why there is no domain; else ABSENT */
        struct hv_fault fault;

        struct hv_nic *nics[HV_MAX_NIC_RECORDS];
        size_t nic_count;

        struct ak_message *published; /* vm.status */
        uint64_t forget_at_us;
};

struct hv_core {
        struct hv_core_config config;
        struct hv_vm **vms, **scratch; /* both of the capacity */
        size_t vm_count, vm_capacity;
        zhashx_t *by_uid;
        struct ak_deadlines due;                   /* of VMs */
        struct ak_message *vm_status, *nic_status; /* to compare with */

        bool connected, connecting, listing, listed;
        struct ak_backoff backoff;
        uint64_t connect_at_us, list_at_us;
        uint64_t next_id, next_probe_id; /* apart, so that how often is asked does not number the rest */
        uint64_t wake_at_us;             /* the last wake asked for; 0 = none */

        /* Of the step under way. */
        uint64_t now_us, real_us;
        struct hv_actions *out;
        int error;
};

/* core.c */
struct hv_action *hv_emit(struct hv_core *core, enum hv_action_type type);
struct hv_action *hv_emit_op(struct hv_core *core, struct hv_vm *vm, enum hv_op op);
void hv_inspect(struct hv_core *core, struct hv_vm *vm);
/* An operation's answer was lost with the connection: look before anything else is done. */
void hv_connection_lost(struct hv_core *core, struct hv_vm *vm);
void hv_key_of_nic(const struct hv_nic *nic, struct hv_key *out);
/* Was an attach tried for the wish as it is now? */
bool hv_nic_attach_tried(const struct hv_nic *nic);
bool hv_key_newer(const struct hv_key *wish, const struct hv_key *tried);
void hv_fault_set(struct hv_fault *fault, const char *reason, const char *message);
struct hv_nic *hv_vm_find_nic(const struct hv_vm *vm, const char *port_id);
struct hv_nic *hv_vm_get_nic(struct hv_core *core, struct hv_vm *vm, const char *port_id);
struct hv_vm *hv_core_find_vm(const struct hv_core *core, const char *uid);
struct hv_vm *hv_core_get_vm(struct hv_core *core, const char *uid);
void hv_core_drop_vm(struct hv_core *core, struct hv_vm *vm);
void hv_vm_drop_nic(struct hv_vm *vm, size_t i);

/* core_due.c */
/* The VM's state has changed, other than by a tick. */
void hv_due_changed(struct hv_core *core, struct hv_vm *vm);
void hv_due_all_changed(struct hv_core *core);
/* A tick: advances the VMs whose time has come, and forgets what has been gone for long. */
void hv_due_advance(struct hv_core *core);
void hv_due_ask_for_wake(struct hv_core *core);

/* core_vm.c */
bool hv_vm_wanted_absent(const struct hv_vm *vm);
/* The domain that is there is what the wish asks for: should it end, it ended by itself. */
void hv_vm_adopt_start(struct hv_vm *vm);
void hv_vm_advance(struct hv_core *core, struct hv_vm *vm);
void hv_vm_result(struct hv_core *core, struct hv_vm *vm, const struct hv_result *result);
void hv_vm_image_done(struct hv_core *core, struct hv_vm *vm, const struct hv_image_result *image);
void hv_vm_apply_live(struct hv_core *core, struct hv_vm *vm, const struct hv_live_domain *live);
uint64_t hv_vm_deadline(const struct hv_core *core, const struct hv_vm *vm);

/* core_nic.c */
bool hv_nic_wanted(const struct hv_vm *vm, const struct hv_nic *nic);
bool hv_nic_unwanted(const struct hv_vm *vm, const struct hv_nic *nic);
bool hv_nic_port_usable(const struct hv_nic *nic);
void hv_nic_spec_of(const struct hv_nic *nic, struct hv_nic_spec *out);
void hv_nic_advance(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic);
void hv_nic_result(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic,
                   const struct hv_result *result);
void hv_nic_plugged(struct hv_core *core, struct hv_nic *nic, const struct hv_live_nic *live);
void hv_nic_gone(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic);
/* It was there when we began to look: it may well be bound. */
void hv_nic_found(struct hv_core *core, struct hv_nic *nic);
void hv_nic_rebooted(struct hv_core *core, struct hv_nic *nic);
/* Whether the operation under way was carried out will not be known. */
void hv_nic_answer_lost(struct hv_core *core, struct hv_nic *nic);
void hv_nic_removal_failed(struct hv_core *core, struct hv_nic *nic);
uint64_t hv_nic_deadline(const struct hv_core *core, const struct hv_vm *vm, const struct hv_nic *nic);

/* core_tap.c */
uint64_t hv_nic_port_ifindex(const struct hv_nic *nic);
void hv_nic_tap_forget(struct hv_nic *nic);
/* It may be that what the guest sends goes nowhere. */
bool hv_nic_tap_doubtful(const struct hv_nic *nic);
/* port.status has changed; a look at the host; time has passed. */
void hv_nic_tap_heard(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic);
void hv_nic_tap_seen(struct hv_core *core, struct hv_nic *nic, const struct hv_live_nic *live);
void hv_nic_tap_advance(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic);

/* core_status.c */
void hv_status_publish(struct hv_core *core, struct hv_vm *vm, bool again);
void hv_status_publish_nic(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic, bool again);
void hv_status_forget_nic(struct hv_core *core, struct hv_vm *vm, struct hv_nic *nic);
void hv_status_forget_vm(struct hv_core *core, struct hv_vm *vm);

#define HV_US(s)      ((uint64_t)(s)*1000 * 1000)
#define HV_MS(ms)     ((uint64_t)(ms)*1000)
#define HV_COPY(d, s) ((void)snprintf((d), sizeof(d), "%s", (s)))
