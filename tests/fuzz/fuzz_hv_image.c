/* SPDX-License-Identifier: Apache-2.0 */
/* The start of an image file, as anybody may serve it. */
#include <stdlib.h>
#include <string.h>

#include "services/hypervisor/image_probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char text[HV_IMAGE_TEXT_SIZE] = "";
        struct hv_image_info info;
        int r = hv_image_probe(data, size > HV_IMAGE_PROBE_BYTES ? HV_IMAGE_PROBE_BYTES : size, size, &info,
                               text);

        /* Accepted means a format that QEMU will be told, and no backing file. */
        if (r == 0 && strcmp(info.format, "raw") != 0 && strcmp(info.format, "qcow2") != 0)
                abort();
        if (r == 0 && strcmp(info.format, "qcow2") == 0 &&
            memcmp(data + 8, "\0\0\0\0\0\0\0\0\0\0\0", 12) != 0)
                abort();
        if (r == 0 && strcmp(info.format, "raw") == 0 && memcmp(data, "QFI\xfb", 4) == 0)
                abort();
        if (r < 0 && !text[0])
                abort();
        return 0;
}
