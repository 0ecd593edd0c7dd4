/* SPDX-License-Identifier: Apache-2.0 */
/* A core in a test's hand: messages in, actions looked for by kind. */
#pragma once

#include "services/hypervisor/core.h"

#define POD   "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"
#define POD2  "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e02"
#define PORT0 "11111111-2222-4333-8444-000000000000"
#define PORT1 "11111111-2222-4333-8444-000000000001"
#define PORT2 "11111111-2222-4333-8444-000000000002"

struct rig {
        struct hv_core *core;
        struct hv_actions actions; /* of the last step */
        uint64_t now;
};

void rig_init(struct rig *rig);
void rig_deinit(struct rig *rig);
/* One step; the rig's actions are those of this step alone. */
void rig_step(struct rig *rig, const struct hv_event *event);
void rig_tick(struct rig *rig, uint64_t after_us);
/* Connected, and a list of `domains` (NULL: none) was read. */
void rig_connect(struct rig *rig, struct hv_live_domain **domains, size_t count);

void rig_vm_diff(struct rig *rig, enum ak_vm_wanted wanted, uint64_t generation, uint64_t attempt,
                 const char *boot_port);
/* Wanted running; the watcher has seen it up in this attempt. */
void rig_vm_was_up(struct rig *rig, uint64_t generation, uint64_t attempt);
void rig_nic_diff(struct rig *rig, const char *port, enum ak_nic_wanted wanted, uint64_t slot,
                  uint64_t generation, uint64_t attempt);
void rig_port(struct rig *rig, const char *port, enum ak_port_state state, uint64_t slot,
              uint64_t generation);
/* The same, ready on the host's device of this index. */
/* Ready, as the answer to a later attempt. */
void rig_port_again(struct rig *rig, const char *port, uint64_t slot, uint64_t generation, uint64_t attempt);
void rig_port_on(struct rig *rig, const char *port, uint64_t slot, uint64_t generation, uint64_t ifindex);
/* Answers the driver call `op` that is in the rig's actions (of port_id, where not NULL). */
void rig_answer(struct rig *rig, const struct hv_action *call, enum hv_error error, uint64_t virtio_status,
                struct hv_live_domain *domain);
void rig_device(struct rig *rig, enum hv_event_type type, const char *port);
void rig_image_done(struct rig *rig, const char *path, const char *reason);

/* A copy of the driver call of the last step (fails the test when it is not there). */
struct hv_action rig_call(const struct rig *rig, enum hv_op op);
bool rig_calls(const struct rig *rig, enum hv_op op);
size_t rig_count(const struct rig *rig, enum hv_action_type type);
/* The last status published in the last step, or NULL. */
const struct ak_nic_status *rig_nic(const struct rig *rig, const char *port);
const struct ak_vm_status *rig_vm(const struct rig *rig);

/* A live domain of POD with the given port in slot 0 (NULL: no NIC). Freed by the caller. */
struct hv_live_domain *rig_domain(const char *port);
/* A VM that runs without a NIC, of generation 1. */
void rig_run_vm(struct rig *rig);
/* A NIC that is plugged and bound. */
void rig_ready_nic(struct rig *rig, const char *port, uint64_t slot, uint64_t generation);
