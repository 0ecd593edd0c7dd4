/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's XML, written with libxml2's writer and read with its parser.
 *
 * The machine: q35; ACPI PCI hotplug asked for explicitly (libvirt has no element for it, so as a QEMU
 * argument): the native PCIe kind makes a guest wait 5 s for a button. Slot n is a pcie-root-port with index
 * n + 1, all on functions of a few devices of pcie.0, so that a NIC in slot n is at (n + 1):00.0 for the
 * guest whatever else is plugged; every other device has an explicit address on pcie.0.
 */
#pragma once

#include "services/hypervisor/types.h"

#define HV_XMLNS         "https://alkaid.io/xmlns/domain/1"
#define HV_ALIAS_PREFIX  "ua-"
#define HV_MAX_XML_BYTES (4u << 20)

struct hv_domain_host {
        const char *node;
        const char *accel;    /* kvm or tcg */
        const char *emulator; /* NULL = libvirt's choice */
        const char *disk;     /* overlay, qcow2 */
        const char *base;     /* its backing file */
        const char *base_format;
        const char *seed; /* volume for cloud-init, raw; NULL = none */
        const char *console_log;
};

#define HV_DOMAIN_NAME_SIZE 256
/* alkaid-<namespace>-<pod>-<first 8 of uid>, shortened in the middle where too long for a file name. */
void hv_domain_name(const struct hv_domain_spec_head *spec, char out[HV_DOMAIN_NAME_SIZE]);

/* The texts are freed with free(). 0, -EINVAL (a value that does not belong into XML), -ENOMEM. */
int hv_domain_xml(const struct hv_domain_spec *spec, const struct hv_domain_host *host, char **out);
int hv_nic_xml(const struct hv_nic_spec *nic, char **out);

/*
 * The live XML of a domain. 0 and *out (freed with free()); -ENOENT when it is not one of `node`'s; -EBADMSG
 * when it does not parse or breaks a limit. NICs without our alias are left out.
 */
int hv_live_xml_parse(const char *node, const char *xml, size_t len, struct hv_live_domain **out);
