/* SPDX-License-Identifier: Apache-2.0 */
/* Journal events, one per line, fed to the watcher's core: pods, ports, messages and answers of any content.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/watcher/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct watcher_core *core, const char *line, size_t len, uint64_t now)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        struct watcher_event event;
        struct watcher_actions actions = {0};
        json_t *json = json_loadb(line, len, 0, NULL);
        if (json && watcher_event_from_json(json, &event, error) == 0) {
                (void)watcher_core_step(core, &event, now, UINT64_C(1700000000000000) + now, &actions);
                json_decref(watcher_actions_to_json(&actions));
                watcher_event_deinit(&event);
        }
        watcher_actions_deinit(&actions);
        json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct watcher_core *core = NULL;
        struct watcher_core_config config = {.node = "node1", .max_vms = 8, .max_ports = 32};
        if (watcher_core_new(&core, &config) < 0)
                return 0;
        uint64_t now = 1;
        for (const char *line = (const char *)data, *end = line + size; line < end; now += 3000000) {
                const char *newline = memchr(line, '\n', (size_t)(end - line));
                size_t len = newline ? (size_t)(newline - line) : (size_t)(end - line);
                feed(core, line, len, now);
                line += len + 1;
        }
        watcher_core_free(core);
        return 0;
}
