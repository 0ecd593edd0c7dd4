/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM has on disk: STATE/vms/<pod uid>/
 *
 *   disk.qcow2     overlay over the image; kept while the pod lives, so over restarts of the VM
 *   base.qcow2 or base.raw   link to the image that the overlay was made over; its name tells the format
 *   seed.iso       for cloud-init (seed.h); written at each start of the VM
 *   console.log    written by libvirt's virtlogd
 */
#pragma once

#include "services/hypervisor/types.h"

struct hv_disk {
        char dir[HV_LEN_PATH + 1];
        char overlay[HV_LEN_PATH + 1];
        char base[HV_LEN_PATH + 1];
        char base_format[8];
        char seed[HV_LEN_PATH + 1];
        char console_log[HV_LEN_PATH + 1];
};

/* The paths alone; touches nothing. -ENAMETOOLONG, -EINVAL (the UID is no UUID). */
int hv_disk_paths(const char *state_dir, const char *pod_uid, struct hv_disk *out);
/*
 * Makes directory and overlay unless they are there, and the seed; an overlay that exists keeps its base. On
 * failure `text` (HV_LEN_TEXT) says why and nothing new is left.
 */
int hv_disk_prepare(const char *state_dir, const char *qemu_img, const struct hv_domain_spec_head *spec,
                    struct hv_disk *out, char *text);
/* Removes the directory. 0 when there is none. */
int hv_disk_remove(const char *state_dir, const char *pod_uid);
