/* SPDX-License-Identifier: Apache-2.0 */
/* The cores that can be replayed, and what their adapters share. */
#pragma once

#include "proto/proto.h"
#include "tools/alkaidctl/replay.h"

extern const struct ctl_core_ops ctl_core_watcher;
extern const struct ctl_core_ops ctl_core_network;
extern const struct ctl_core_ops ctl_core_hypervisor;

/* The message of a frame, where `service` listens to its type; else NULL. */
struct ak_message *ctl_message_for(const struct ak_bus_frame *frame, const char *service);
