/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a file an image that a VM may be given? Pure: looks at the first bytes.
 *
 * QEMU is always told the format, so it never guesses; this is the guess, made once, with a closed list.
 * A qcow2 must be whole by itself: one that names a backing file or an external data file would make QEMU
 * open a path of the image author's choice. What is neither qcow2 nor any other known format is raw.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HV_IMAGE_PROBE_BYTES 512 /* enough of the file's start, or all of it where shorter */

struct hv_image_info {
        char format[8]; /* qcow2 or raw */
        uint64_t virtual_size;
};

/* 0 and *out, or -EMEDIUMTYPE with a text that says what is wrong. */
#define HV_IMAGE_TEXT_SIZE 160
int hv_image_probe(const uint8_t *head, size_t len, uint64_t file_size, struct hv_image_info *out,
                   char text[HV_IMAGE_TEXT_SIZE]);
