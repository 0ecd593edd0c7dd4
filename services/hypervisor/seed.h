/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed of a VM: what cloud-init in the guest reads at its first boot, as its NoCloud source has it: a
 * small ISO 9660 volume labelled CIDATA with the files meta-data (instance, hostname, SSH keys) and
 * user-data. https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
 */
#pragma once

#include "services/hypervisor/types.h"

#define HV_SEED_LABEL "CIDATA"

/*
 * Writes the seed to `path`, which appears, or is replaced, when it is whole; mode 0600, for what users put
 * in is nobody else's business. The same specification gives the same bytes. On failure (negative errno)
 * `text` (HV_LEN_TEXT) says why, and nothing is left.
 */
int hv_seed_write(const char *path, const struct hv_domain_spec_head *spec, char *text);
