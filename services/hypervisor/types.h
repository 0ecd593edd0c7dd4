/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hypervisor's core and its drivers tell each other: specifications, live state, results.
 *
 * Described as field lists in the manner of proto/messages.h, so that the JSON of the journal comes from the
 * same description (core_json.c).
 */
#pragma once

#include "proto/proto.h"

#define HV_LEN_TEXT  511
#define HV_LEN_PATH  1023
#define HV_LEN_ALIAS 127
#define HV_MAX_SLOTS AK_MAX_NICS

/* Blocking calls of a driver. Those of one VM run one after the other, in the order of their actions. */
#define HV_OP_VALUES(E, x)                                                                                   \
        E(x, HV_OP_NONE, "none")                                                                             \
        E(x, HV_OP_START, "start")                                                                           \
        E(x, HV_OP_SHUTDOWN, "shutdown") /* ACPI power button */                                             \
        E(x, HV_OP_DESTROY, "destroy")                                                                       \
        E(x, HV_OP_SUSPEND, "suspend")                                                                       \
        E(x, HV_OP_RESUME, "resume")                                                                         \
        E(x, HV_OP_ATTACH, "attach")                                                                         \
        E(x, HV_OP_DETACH, "detach") /* asks the guest; the device-removed event follows */                  \
        E(x, HV_OP_SET_LINK, "set_link")                                                                     \
        E(x, HV_OP_PROBE, "probe")     /* the guest driver's virtio status */                                \
        E(x, HV_OP_INSPECT, "inspect") /* the domain as it is */                                             \
        E(x, HV_OP_CLEANUP, "cleanup") /* remove what the VM had on disk */

/* What went wrong, as far as a caller can act upon it. */
#define HV_ERROR_VALUES(E, x)                                                                                \
        E(x, HV_OK, "ok")                                                                                    \
        E(x, HV_ERROR_NO_DEVICE, "no_device")     /* the domain has no such device */                        \
        E(x, HV_ERROR_NO_DOMAIN, "no_domain")     /* no such domain, or it does not run */                   \
        E(x, HV_ERROR_BUSY, "busy")               /* "guest is busy": ask again after more than 5 s */       \
        E(x, HV_ERROR_IN_PROGRESS, "in_progress") /* already asked; wait for the event */                    \
        E(x, HV_ERROR_DUPLICATE, "duplicate")     /* the domain has a device of that alias */                \
        E(x, HV_ERROR_SLOT, "slot")               /* PCI address taken or not there */                       \
        E(x, HV_ERROR_TAP, "tap")                 /* the host's device is missing or in use */               \
        E(x, HV_ERROR_TIMEOUT, "timeout")         /* the domain did not answer libvirt in time */            \
        E(x, HV_ERROR_CONNECTION, "connection")   /* lost on the way: whether it happened is unknown */      \
        E(x, HV_ERROR_INVALID, "invalid")         /* the specification was refused */                        \
        E(x, HV_ERROR_OTHER, "other")

#define HV_DOMAIN_VALUES(E, x)                                                                               \
        E(x, HV_DOMAIN_NONE, "none")                                                                         \
        E(x, HV_DOMAIN_RUNNING, "running")                                                                   \
        E(x, HV_DOMAIN_PAUSED, "paused")

#define HV_LIFECYCLE_VALUES(E, x)                                                                            \
        E(x, HV_LIFECYCLE_STARTED, "started")                                                                \
        E(x, HV_LIFECYCLE_STOPPED, "stopped")                                                                \
        E(x, HV_LIFECYCLE_CRASHED, "crashed")                                                                \
        E(x, HV_LIFECYCLE_SUSPENDED, "suspended")                                                            \
        E(x, HV_LIFECYCLE_RESUMED, "resumed")                                                                \
        E(x, HV_LIFECYCLE_REBOOTED, "rebooted")                                                              \
        E(x, HV_LIFECYCLE_DESTROYED, "destroyed") /* by us or by somebody else */                            \
        E(x, HV_LIFECYCLE_PANICKED, "panicked")   /* its kernel said so (pvpanic); "crashed" follows */

#define HV_ENUMS(X)                                                                                          \
        X(hv_op, HV_OP_VALUES)                                                                               \
        X(hv_error, HV_ERROR_VALUES)                                                                         \
        X(hv_domain_state, HV_DOMAIN_VALUES)                                                                 \
        X(hv_lifecycle, HV_LIFECYCLE_VALUES)

#define HV_ENUM_VALUE(x, c, wire) c,
#define HV_ENUM(tag, values)                                                                                 \
        enum tag { values(HV_ENUM_VALUE, ) };                                                                \
        const char *tag##_name(enum tag value);
HV_ENUMS(HV_ENUM)
#undef HV_ENUM
#undef HV_ENUM_VALUE

/* A NIC to be plugged. */
#define HV_NIC_SPEC_FIELDS(F)                                                                                \
        F(STR, port_id, AK_LEN_UID, 0, REQUIRED, "alias ua-<port id>")                                       \
        F(STR, ifname, AK_LEN_NIC, 0, OPTIONAL, "tap on the host")                                           \
        F(STR, mac, AK_LEN_MAC, 0, OPTIONAL, "")                                                             \
        F(U64, mtu, 65535, 0, OPTIONAL, "0 = QEMU's default")                                                \
        F(U64, slot, AK_MAX_NICS, 0, OPTIONAL, "slot n is bus n + 1")                                        \
        F(BOOL, link_down, 0, 0, OPTIONAL, "")

/* A NIC as the live domain has it. */
#define HV_LIVE_NIC_FIELDS(F)                                                                                \
        HV_NIC_SPEC_FIELDS(F)                                                                                \
        F(STR, pci_address, 31, 0, OPTIONAL, "0000:01:00.0")                                                 \
        F(U64, ifindex, INT32_MAX, 0, OPTIONAL, "of the host's device of that name; 0 = not to be seen")     \
        F(BOOL, tap_idle, 0, 0, OPTIONAL, "nobody has that device open: it is not the one that QEMU has")

#define HV_LIVE_DOMAIN_FIELDS(F)                                                                             \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "")                                                         \
        F(STR, pod_namespace, AK_LEN_NAME, 0, OPTIONAL, "")                                                  \
        F(STR, pod_name, AK_LEN_NAME, 0, OPTIONAL, "")                                                       \
        F(U64, generation, AK_MAX_U64, 0, OPTIONAL, "")                                                      \
        F(U64, nic_slots, AK_MAX_NICS, 0, OPTIONAL, "")                                                      \
        F(U64, started_us, AK_MAX_USEC, 0, OPTIONAL, "real time of the start")                               \
        F(STR, uuid, 36, 0, OPTIONAL, "")                                                                    \
        F(STR, accel, 15, 0, OPTIONAL, "kvm or tcg")                                                         \
        F(ENUM, state, hv_domain_state, 0, REQUIRED, "")

#define HV_DOMAIN_SPEC_FIELDS(F)                                                                             \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "")                                                         \
        F(STR, pod_namespace, AK_LEN_NAME, 0, OPTIONAL, "")                                                  \
        F(STR, pod_name, AK_LEN_NAME, 0, OPTIONAL, "")                                                       \
        F(U64, generation, AK_MAX_U64, 0, OPTIONAL, "")                                                      \
        F(U64, nic_slots, AK_MAX_NICS, 0, OPTIONAL, "")                                                      \
        F(U64, started_us, AK_MAX_USEC, 0, OPTIONAL, "")                                                     \
        F(U64, vcpus, 1024, 0, OPTIONAL, "")                                                                 \
        F(U64, memory_bytes, UINT64_C(1) << 50, 0, OPTIONAL, "")                                             \
        F(STR, image_path, HV_LEN_PATH, 0, OPTIONAL, "")                                                     \
        F(STR, image_format, 7, 0, OPTIONAL, "qcow2 or raw")                                                 \
        F(TEXT, user_data, 65536, 0, OPTIONAL, "for cloud-init")                                             \
        F(STR, public_key, 8191, 0, OPTIONAL, "for cloud-init")

#define HV_RESULT_FIELDS(F)                                                                                  \
        F(ENUM, op, hv_op, 0, REQUIRED, "")                                                                  \
        F(U64, id, AK_MAX_U64, 0, OPTIONAL, "of the action that this answers")                               \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "")                                                         \
        F(STR, port_id, AK_LEN_UID, 0, OPTIONAL, "")                                                         \
        F(ENUM, error, hv_error, 0, OPTIONAL, "")                                                            \
        F(STR, text, HV_LEN_TEXT, 0, OPTIONAL, "what libvirt says")                                          \
        F(U64, took_us, AK_MAX_USEC, 0, OPTIONAL, "")                                                        \
        F(U64, virtio_status, 255, 0, OPTIONAL, "probe: HV_VIRTIO_* bits")

#define HV_IMAGE_REQUEST_FIELDS(F)                                                                           \
        F(U64, id, AK_MAX_U64, 0, OPTIONAL, "")                                                              \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "")                                                         \
        F(STR, image, AK_LEN_IMAGE, 0, OPTIONAL, "")                                                         \
        F(STR, sha256, 64, 0, OPTIONAL, "")                                                                  \
        F(ENUM, pull, ak_image_pull, 0, OPTIONAL, "")

#define HV_IMAGE_RESULT_FIELDS(F)                                                                            \
        F(U64, id, AK_MAX_U64, 0, OPTIONAL, "")                                                              \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "")                                                         \
        F(U64, progress_percent, 100, 0, OPTIONAL, "")                                                       \
        F(STR, path, HV_LEN_PATH, 0, OPTIONAL, "empty: it failed")                                           \
        F(STR, format, 7, 0, OPTIONAL, "")                                                                   \
        F(STR, reason, AK_LEN_REASON, 0, OPTIONAL, "")                                                       \
        F(STR, message, HV_LEN_TEXT, 0, OPTIONAL, "")

/* R(struct, fields) */
#define HV_RECORDS(R)                                                                                        \
        R(hv_nic_spec, HV_NIC_SPEC_FIELDS)                                                                   \
        R(hv_live_nic, HV_LIVE_NIC_FIELDS)                                                                   \
        R(hv_live_domain_head, HV_LIVE_DOMAIN_FIELDS)                                                        \
        R(hv_domain_spec_head, HV_DOMAIN_SPEC_FIELDS)                                                        \
        R(hv_result_head, HV_RESULT_FIELDS)                                                                  \
        R(hv_image_request, HV_IMAGE_REQUEST_FIELDS)                                                         \
        R(hv_image_result, HV_IMAGE_RESULT_FIELDS)

#define HV_RECORD(name, fields)                                                                              \
        struct name {                                                                                        \
                fields(AK_PROTO_DECLARE)                                                                     \
        };
HV_RECORDS(HV_RECORD)
#undef HV_RECORD

/* virtio 1.2, 2.1 "Device Status Field" */
#define HV_VIRTIO_DRIVER_OK 4
#define HV_VIRTIO_FAILED    128

struct hv_live_domain {
        struct hv_live_domain_head head;
        size_t nic_count;
        struct hv_live_nic nics[HV_MAX_SLOTS];
};

struct hv_domain_spec {
        struct hv_domain_spec_head head;
        size_t nic_count;
        struct hv_nic_spec nics[HV_MAX_SLOTS];
};
struct hv_domain_spec *hv_domain_spec_free(struct hv_domain_spec *spec);

/* Answer to one action. `domain` (owned) comes with start and inspect; NULL there = no such domain. */
struct hv_result {
        struct hv_result_head head;
        struct hv_live_domain *domain;
};
void hv_result_deinit(struct hv_result *result);
