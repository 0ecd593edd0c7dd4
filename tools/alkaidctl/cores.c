/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/cores.h"

#include <string.h>

const struct ctl_core_ops *const ctl_cores[] = {
    &ctl_core_watcher,
    &ctl_core_network,
    &ctl_core_hypervisor,
    NULL,
};

struct ak_message *ctl_message_for(const struct ak_bus_frame *frame, const char *service)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *message = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];

        if (ak_message_decode(frame->topic, frame->body, frame->body_len, &message, error) < 0 ||
            !strstr(ak_message_info(message->type)->listeners, service))
                return NULL;
        return AK_STEAL(message);
}
