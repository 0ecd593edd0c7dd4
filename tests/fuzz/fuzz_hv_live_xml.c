/* SPDX-License-Identifier: Apache-2.0 */
/* The live XML of a domain: libvirt's, but with parts that others wrote. */
#include <stdlib.h>
#include <string.h>

#include "libcommon/netaddr.h"
#include "services/hypervisor/domain_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct hv_live_domain *live = NULL;

        if (hv_live_xml_parse("n", (const char *)data, size, &live) < 0)
                return 0;
        if (!ak_uuid_valid(live->head.pod_uid) || live->nic_count > HV_MAX_SLOTS)
                abort();
        for (size_t i = 0; i < live->nic_count; i++) {
                if (!ak_uuid_valid(live->nics[i].port_id) || live->nics[i].slot > HV_MAX_SLOTS)
                        abort();
        }
        free(live);
        return 0;
}
