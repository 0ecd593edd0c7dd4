/* SPDX-License-Identifier: Apache-2.0 */
/* A journal's events, one JSON text per line, into the network service's core: whatever comes, it stands. */
#include <string.h>

#include "services/network/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct net_core *core, const char *line, size_t len, uint64_t now_us)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        struct net_owned_event event;
        struct net_actions actions = {0};
        json_t *json = json_loadb(line, len, 0, NULL);

        if (json && net_event_from_json(json, &event, error) == 0) {
                if (net_core_step(core, &event.event, now_us, now_us, &actions) < 0)
                        abort();
                json_decref(net_actions_to_json(&actions));
                net_actions_clear(&actions);
                net_owned_event_deinit(&event);
        }
        json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct net_core_config config = {.seed = 1, .max_ports = 8};
        struct net_core *core = NULL;
        struct net_event start = {.type = NET_EVENT_INVENTORY};
        struct net_actions actions = {0};
        uint64_t now_us = 1;

        if (net_core_new(&core, &config) < 0)
                return 0;
        if (net_core_step(core, &start, now_us, now_us, &actions) < 0)
                abort();
        net_actions_clear(&actions);
        while (size > 0) {
                const uint8_t *end = memchr(data, '\n', size);
                size_t len = end ? (size_t)(end - data) : size;

                now_us += UINT64_C(7) * 1000 * 1000;
                step(core, (const char *)data, len, now_us);
                data += len + (end != NULL);
                size -= len + (end != NULL);
        }
        net_core_free(core);
        return 0;
}
