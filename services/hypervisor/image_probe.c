/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 as in QEMU's docs/interop/qcow2.txt. */
#include "services/hypervisor/image_probe.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"

#define QCOW2_MIN_HEADER      72
#define QCOW2_V3_MIN_HEADER   104
#define QCOW2_INCOMPAT_DIRTY  (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_BROKEN (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA   (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_KNOWN  UINT64_C(0x1f)
#define RAW_MIN_BYTES         512

static uint32_t be32(const uint8_t *p)
{
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
        uint64_t v;

        memcpy(&v, p, sizeof(v));
        return be64toh(v);
}

static int refuse(char text[HV_IMAGE_TEXT_SIZE], const char *why)
{
        (void)snprintf(text, HV_IMAGE_TEXT_SIZE, "%s", why);
        return -EMEDIUMTYPE;
}

static int check_v3(const uint8_t *head, size_t len, char text[HV_IMAGE_TEXT_SIZE])
{
        uint64_t features;

        if (len < QCOW2_V3_MIN_HEADER)
                return refuse(text, "qcow2: header is cut short");
        features = be64(head + 72);
        if (features & QCOW2_INCOMPAT_DATA)
                return refuse(text, "qcow2: has an external data file; convert it to a self-contained image");
        if (features & QCOW2_INCOMPAT_BROKEN)
                return refuse(text, "qcow2: marked as corrupt");
        if (features & ~QCOW2_INCOMPAT_KNOWN)
                return refuse(text, "qcow2: needs a feature that is not known here");
        return 0;
}

static int probe_qcow2(const uint8_t *head, size_t len, struct hv_image_info *out,
                       char text[HV_IMAGE_TEXT_SIZE])
{
        uint32_t version, cluster_bits;
        int r = 0;

        if (len < QCOW2_MIN_HEADER)
                return refuse(text, "qcow2: header is cut short");
        version = be32(head + 4);
        cluster_bits = be32(head + 20);
        if (version != 2 && version != 3)
                return refuse(text, "qcow: only versions 2 and 3 are accepted");
        if (be64(head + 8) != 0 || be32(head + 16) != 0)
                return refuse(text, "qcow2: has a backing file; convert it to a self-contained image");
        if (be32(head + 32) != 0)
                return refuse(text, "qcow2: is encrypted");
        if (cluster_bits < 9 || cluster_bits > 21)
                return refuse(text, "qcow2: impossible cluster size");
        if (version == 3)
                r = check_v3(head, len, text);
        if (r < 0)
                return r;
        if (be64(head + 24) == 0)
                return refuse(text, "qcow2: its disk is empty");
        (void)snprintf(out->format, sizeof(out->format), "qcow2");
        out->virtual_size = be64(head + 24);
        return 0;
}

struct magic {
        size_t offset;
        const char *bytes;
        size_t len;
        const char *name;
};

#define MAGIC(offset, bytes, name)                                                                           \
        {                                                                                                    \
                offset, bytes, sizeof(bytes) - 1, name                                                       \
        }

static const struct magic other_formats[] = {
    MAGIC(0, "KDMV", "VMDK"),
    MAGIC(0, "COWD", "VMDK"),
    MAGIC(0, "# Disk DescriptorFile", "VMDK"),
    MAGIC(0, "QED\0", "QED"),
    MAGIC(0, "LUKS\xba\xbe", "LUKS"),
    MAGIC(0x40, "\x7f\x10\xda\xbe", "VDI"),
    MAGIC(0, "vhdxfile", "VHDX"),
    MAGIC(0, "conectix", "VHD"),
    MAGIC(0, "WithoutFreeSpace", "Parallels"),
    MAGIC(0, "WithouFreSpacExt", "Parallels"),
    MAGIC(0, "Bochs Virtual HD Image", "Bochs"),
    MAGIC(0, "OOOM", "User Mode Linux COW"),
    MAGIC(0, "#!/bin/sh\n#V2.0 Format", "cloop"),
    MAGIC(0, "\x1f\x8b", "gzip"),
    MAGIC(0,
          "\xfd"
          "7zXZ\0",
          "xz"),
    MAGIC(0, "\x28\xb5\x2f\xfd", "zstd"),
    MAGIC(0, "BZh", "bzip2"),
    MAGIC(0, "PK\x03\x04", "zip"),
    MAGIC(0, "7z\xbc\xaf\x27\x1c", "7z"),
    MAGIC(257, "ustar", "tar"),
    MAGIC(0, "<!DOCTYPE", "HTML"),
    MAGIC(0, "<!doctype", "HTML"),
    MAGIC(0, "<html", "HTML"),
};

static const char *other_format(const uint8_t *head, size_t len)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(other_formats); i++) {
                const struct magic *m = &other_formats[i];

                if (len >= m->offset + m->len && memcmp(head + m->offset, m->bytes, m->len) == 0)
                        return m->name;
        }
        return NULL;
}

int hv_image_probe(const uint8_t *head, size_t len, uint64_t file_size, struct hv_image_info *out,
                   char text[HV_IMAGE_TEXT_SIZE])
{
        struct hv_image_info info = {0};
        const char *other;
        int r;

        if (len >= 4 && memcmp(head, "QFI\xfb", 4) == 0) {
                r = probe_qcow2(head, len, &info, text);
                if (r == 0)
                        *out = info;
                return r;
        }
        other = other_format(head, len);
        if (other) {
                (void)snprintf(text, HV_IMAGE_TEXT_SIZE, "is %s; an image must be qcow2 or raw", other);
                return -EMEDIUMTYPE;
        }
        if (file_size < RAW_MIN_BYTES)
                return refuse(text, "too short for a disk image");
        (void)snprintf(info.format, sizeof(info.format), "raw");
        info.virtual_size = file_size;
        *out = info;
        return 0;
}
