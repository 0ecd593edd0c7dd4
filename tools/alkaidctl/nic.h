/* SPDX-License-Identifier: Apache-2.0 */
/* The NICs of a pod as `nic` shows and changes them. Pure: JSON in, JSON or text out. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/alkaidctl/capture.h"

/* What `attach` may say of a NIC; NULL where not said. */
struct ctl_nic_wish {
        const char *name, *subnet, *port_id, *ip, *mac;
};

/*
 * One line per NIC of spec or status: name, state, reason, MAC, addresses, subnet, slot, PCI address, time in
 * this state at `real_us`, milliseconds per step.
 */
void ctl_nic_table(const json_t *pod, uint64_t real_us, FILE *out);
/* spec entry and status of each NIC: [{"name", "spec", "status"}]; new reference. */
json_t *ctl_nic_list(const json_t *pod);

/* The first of eth0, eth1, … that no NIC has. */
void ctl_nic_free_name(const json_t *pod, char out[16]);
/*
 * Strategic merge patches for the pod. -EEXIST, -ENOENT with a text when the pod has (has not) the NIC.
 * They carry the pod's UID, so that they never meet another pod of that name.
 */
int ctl_nic_attach_patch(const json_t *pod, const struct ctl_nic_wish *wish, json_t **out,
                         char error[CTL_ERROR_SIZE]);
int ctl_nic_detach_patch(const json_t *pod, const char *name, json_t **out, char error[CTL_ERROR_SIZE]);

enum ctl_nic_progress { CTL_NIC_UNDER_WAY, CTL_NIC_DONE, CTL_NIC_FAILED };
/* Is the NIC where it is wanted? `text` gets the NIC's reason and message. */
enum ctl_nic_progress ctl_nic_progress(const json_t *pod, const char *name, bool present,
                                       char text[CTL_ERROR_SIZE]);
