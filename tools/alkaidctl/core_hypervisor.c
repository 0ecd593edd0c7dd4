/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor service's core behind the form that replay wants. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/hypervisor/core.h"
#include "tools/alkaidctl/cores.h"

static int create(void **out, const json_t *config_json, char error[CTL_ERROR_SIZE])
{
        struct hv_core_config config;
        struct hv_core *core = NULL;
        int r = hv_core_config_from_json(config_json, &config, error);

        if (r == 0)
                r = hv_core_new(&core, &config);
        if (r == 0)
                *out = core;
        return r;
}

static void destroy(void *core)
{
        hv_core_free(core);
}

static int step(void *core, const json_t *json, uint64_t now_us, uint64_t real_us, json_t **actions,
                char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(hv_actions_deinit) struct hv_actions out = {0};
        AK_CLEANUP(hv_event_deinit) struct hv_event event = {0};
        int r = hv_event_from_json(json, &event, error);

        if (r < 0)
                return r;
        r = hv_core_step(core, &event, now_us, real_us, &out);
        if (r == -ENOMEM)
                return r;
        *actions = hv_actions_to_json(&out);
        return *actions ? 0 : -ENOMEM;
}

static json_t *event_of_frame(const struct ak_bus_frame *frame)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *message = ctl_message_for(frame, "hypervisor");
        const struct hv_event event = {.type = HV_EVENT_MESSAGE, .message = message};

        return message ? hv_event_to_json(&event) : NULL;
}

static json_t *default_config(void)
{
        const struct hv_core_config config = {.node = "replay", .seed = 1};

        return hv_core_config_to_json(&config);
}

/* libvirt answers, and has no domain. */
static json_t *start_events(void)
{
        return json_pack("[o, o, o]", hv_event_to_json(&(struct hv_event){.type = HV_EVENT_TICK}),
                         hv_event_to_json(&(struct hv_event){.type = HV_EVENT_CONNECTED}),
                         hv_event_to_json(&(struct hv_event){.type = HV_EVENT_LISTED}));
}

const struct ctl_core_ops ctl_core_hypervisor = {
    .name = "hypervisor",
    .create = create,
    .destroy = destroy,
    .step = step,
    .event_of_frame = event_of_frame,
    .default_config = default_config,
    .start_events = start_events,
};
