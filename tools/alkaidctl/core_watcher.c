/* SPDX-License-Identifier: Apache-2.0 */
/* The watcher's core behind the form that replay wants. */
#include <errno.h>

#include "services/watcher/core.h"
#include "tools/alkaidctl/cores.h"

static int create(void **out, const json_t *config_json, char error[CTL_ERROR_SIZE])
{
        struct watcher_core_config config;
        struct watcher_core *core = NULL;
        int r = watcher_core_config_from_json(config_json, &config, error);

        if (r == 0)
                r = watcher_core_new(&core, &config);
        if (r == 0)
                *out = core;
        return r;
}

static void destroy(void *core)
{
        watcher_core_free(core);
}

static int step(void *core, const json_t *json, uint64_t now_us, uint64_t real_us, json_t **actions,
                char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(watcher_actions_deinit) struct watcher_actions out = {0};
        AK_CLEANUP(watcher_event_deinit) struct watcher_event event = {0};
        int r = watcher_event_from_json(json, &event, error);

        if (r < 0)
                return r;
        r = watcher_core_step(core, &event, now_us, real_us, &out);
        if (r == -ENOMEM)
                return r;
        *actions = watcher_actions_to_json(&out);
        return *actions ? 0 : -ENOMEM;
}

static json_t *event_of_frame(const struct ak_bus_frame *frame)
{
        return watcher_event_json_of_body(frame->publisher, frame->epoch, frame->topic, frame->body,
                                          frame->body_len);
}

static json_t *default_config(void)
{
        const struct watcher_core_config config = {.node = "replay", .host_ip = "127.0.0.1", .seed = 1};

        return watcher_core_config_to_json(&config);
}

/* The API has no object of this node: what the bus reports belongs to nobody. */
static json_t *start_events(void)
{
        return json_pack("[o, o]",
                         watcher_event_to_json(&(struct watcher_event){.type = WATCHER_EVENT_PODS_SYNCED}),
                         watcher_event_to_json(&(struct watcher_event){.type = WATCHER_EVENT_PORTS_SYNCED}));
}

const struct ctl_core_ops ctl_core_watcher = {
    .name = "watcher",
    .create = create,
    .destroy = destroy,
    .step = step,
    .event_of_frame = event_of_frame,
    .default_config = default_config,
    .start_events = start_events,
};
