/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM or TCG? A /dev/kvm that is there proves nothing: a guest must run. So a tiny one is run under KVM once
 * (kvm_guest.S), with a bound of 5 s, and the answer kept in a file together with the boot ID and the
 * identity of /dev/kvm and the emulator.
 */
#pragma once

#include <stdbool.h>

/*
 * `wanted`: auto, kvm or tcg. *out is "kvm" or "tcg" (static). -ENODEV when kvm is wanted and no guest
 * runs under it; `why` (256 bytes) says what was found.
 */
#define HV_ACCEL_TEXT_SIZE 256
int hv_accel_choose(const char *wanted, const char *emulator, const char *state_dir, const char **out,
                    char why[HV_ACCEL_TEXT_SIZE]);
/* Runs the guest under "kvm" or (to test it) "tcg". 0 when it ran to its end. */
int hv_accel_probe(const char *accel, const char *emulator, const char *state_dir,
                   char why[HV_ACCEL_TEXT_SIZE]);
