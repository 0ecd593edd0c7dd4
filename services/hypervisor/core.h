/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor service's core: which VMs and NICs this node has and should have, and what to do next.
 * Pure: events in, actions out.
 *
 * The state is rebuilt from three sources, none of which is remembered by itself: the wishes on the bus
 * (vm.diff, nic.diff, port.status), the driver's inventory, and the answers of operations under way. Every
 * event changes some of it; then each VM touched is *advanced*: compared with what is wanted, which gives
 * the next operation. Statuses are derived from the state in one place (core_status.c) and published when
 * they differ from the last one, and again when a wish is repeated.
 *
 * Invariants (test_core_random.c holds them under random events):
 *  - a NIC is attached only with a nic.diff present and a port.status ready that is not older;
 *  - "detached" and "absent" are published only of what was seen to be gone since the last connect;
 *  - at most one operation per NIC and one per VM is outstanding; NICs do not wait for each other;
 *  - a failed step is not repeated within one (generation, attempt);
 *  - no domain is destroyed without a vm.diff that asks for it.
 */
#pragma once

#include "libcommon/cleanup.h"
#include "services/hypervisor/types.h"

struct hv_core;

struct hv_core_config {
        char node[AK_LEN_NAME + 1];
        uint64_t seed;
        uint64_t max_vms;        /* records held; 0 = 1024 */
        uint64_t boot_wait_us;   /* for the ports of boot NICs; 0 = 20 s */
        uint64_t guest_wait_us;  /* for the guest's driver; 0 = 30 s */
        uint64_t unplug_wait_us; /* until the link goes down under a guest that does not answer; 0 = 2 s */
        uint64_t retain_us;      /* how long "detached" and "absent" are kept; 0 = 60 s */
        uint64_t list_every_us;  /* full comparison with the driver; 0 = 60 s */
        uint64_t default_memory; /* bytes, where vm.diff says none; 0 = 512 MiB */
};

#define HV_EVENT_VALUES(E, x)                                                                                \
        E(x, HV_EVENT_MESSAGE, "message")                                                                    \
        E(x, HV_EVENT_CONNECTED, "connected") /* answer to HV_ACTION_CONNECT; error in result */             \
        E(x, HV_EVENT_DISCONNECTED, "disconnected")                                                          \
        E(x, HV_EVENT_LISTED, "listed") /* answer to HV_ACTION_LIST; error in result */                      \
        E(x, HV_EVENT_RESULT, "result") /* answer to HV_ACTION_DRIVER */                                     \
        E(x, HV_EVENT_DEVICE_REMOVED, "device_removed")                                                      \
        E(x, HV_EVENT_REMOVAL_FAILED, "removal_failed")                                                      \
        E(x, HV_EVENT_LIFECYCLE, "lifecycle")                                                                \
        E(x, HV_EVENT_GUEST_ACTIVITY, "guest_activity") /* a sign that the guest's driver works */           \
        E(x, HV_EVENT_IMAGE_PROGRESS, "image_progress")                                                      \
        E(x, HV_EVENT_IMAGE_DONE, "image_done")                                                              \
        E(x, HV_EVENT_TICK, "tick")

#define HV_ACTION_VALUES(E, x)                                                                               \
        E(x, HV_ACTION_PUBLISH, "publish")                                                                   \
        E(x, HV_ACTION_FORGET, "forget")                                                                     \
        E(x, HV_ACTION_CONNECT, "connect")                                                                   \
        E(x, HV_ACTION_LIST, "list")                                                                         \
        E(x, HV_ACTION_DRIVER, "driver")                                                                     \
        E(x, HV_ACTION_FETCH_IMAGE, "fetch_image")                                                           \
        E(x, HV_ACTION_WAKE, "wake")

#define HV_CORE_ENUMS(X)                                                                                     \
        X(hv_event_type, HV_EVENT_VALUES)                                                                    \
        X(hv_action_type, HV_ACTION_VALUES)
#define HV_ENUM_VALUE(x, c, wire) c,
#define HV_ENUM(tag, values)                                                                                 \
        enum tag { values(HV_ENUM_VALUE, ) };                                                                \
        const char *tag##_name(enum tag value);
HV_CORE_ENUMS(HV_ENUM)
#undef HV_ENUM
#undef HV_ENUM_VALUE

/* Owns what it points to, where it was made by hv_event_from_json(); a shell may lend. */
struct hv_event {
        enum hv_event_type type;
        char pod_uid[AK_LEN_UID + 1]; /* device_removed .. guest_activity */
        char port_id[AK_LEN_UID + 1];
        enum hv_lifecycle lifecycle;
        struct ak_message *message;
        struct hv_result result;
        struct hv_live_domain **domains; /* listed */
        size_t domain_count;
        struct hv_image_result image;
};
void hv_event_deinit(struct hv_event *event);

struct hv_action {
        enum hv_action_type type;
        enum hv_op op; /* driver */
        uint64_t id;   /* driver: comes back in the result */
        uint64_t at_us;
        char pod_uid[AK_LEN_UID + 1];
        struct hv_nic_spec nic;         /* attach, detach, set_link, probe */
        struct hv_domain_spec *domain;  /* start */
        struct hv_image_request *image; /* fetch_image */
        struct ak_message *message;     /* publish */
        bool repeated;                  /* publish: it is what was said last; not in the JSON */
        char topic[AK_TOPIC_SIZE];      /* forget */
};

struct hv_actions {
        struct hv_action *items;
        size_t count, capacity;
};
void hv_actions_clear(struct hv_actions *actions);
void hv_actions_deinit(struct hv_actions *actions);

int hv_core_new(struct hv_core **out, const struct hv_core_config *config);
struct hv_core *hv_core_free(struct hv_core *core);
AK_DEFINE_CLEANUP(struct hv_core *, hv_core_free)

/*
 * One event in; actions are appended to *out. The first event is a tick; it makes the core connect. 0,
 * -ENOMEM, or -ENOSPC for a message that was ignored because a bound of the configuration is reached.
 */
int hv_core_step(struct hv_core *core, const struct hv_event *event, uint64_t now_us, uint64_t real_us,
                 struct hv_actions *out);

/*
 * For tests: looks at every VM that is not due, though nothing has happened to it. False, or an action in
 * *out: something was overlooked.
 */
bool hv_core_settled(struct hv_core *core, uint64_t now_us, struct hv_actions *out);

struct hv_core_stats {
        size_t vms, domains, nics, nics_ready;
        bool connected;
};
void hv_core_stats(const struct hv_core *core, struct hv_core_stats *out);

/* New references; NULL when out of memory. */
json_t *hv_event_to_json(const struct hv_event *event);
json_t *hv_actions_to_json(const struct hv_actions *actions);
json_t *hv_core_config_to_json(const struct hv_core_config *config);
int hv_event_from_json(const json_t *json, struct hv_event *out, char error[AK_SCHEMA_ERROR_SIZE]);
int hv_core_config_from_json(const json_t *json, struct hv_core_config *out,
                             char error[AK_SCHEMA_ERROR_SIZE]);
