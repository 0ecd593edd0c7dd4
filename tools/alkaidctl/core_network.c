/* SPDX-License-Identifier: Apache-2.0 */
/* The network service's core behind the form that replay wants. */
#include <errno.h>
#include <stdio.h>

#include "services/network/core.h"
#include "tools/alkaidctl/cores.h"

static int create(void **out, const json_t *config_json, char error[CTL_ERROR_SIZE])
{
        struct net_core_config config;
        struct net_core *core = NULL;
        int r = net_core_config_from_json(config_json, &config);

        if (r < 0)
                (void)snprintf(error, CTL_ERROR_SIZE, "not a configuration of the network service's core");
        else
                r = net_core_new(&core, &config);
        if (r == 0)
                *out = core;
        return r;
}

static void destroy(void *core)
{
        net_core_free(core);
}

static int step(void *core, const json_t *json, uint64_t now_us, uint64_t real_us, json_t **actions,
                char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(net_owned_event_deinit) struct net_owned_event event = {0};
        struct net_actions out = {0};
        int r = net_event_from_json(json, &event, error);

        if (r < 0)
                return r;
        r = net_core_step(core, &event.event, now_us, real_us, &out);
        if (r == 0)
                *actions = net_actions_to_json(&out);
        net_actions_clear(&out);
        return r < 0 ? r : *actions ? 0 : -ENOMEM;
}

static json_t *event_of_frame(const struct ak_bus_frame *frame)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *message = ctl_message_for(frame, "network");
        const struct net_event event = {.type = NET_EVENT_MESSAGE, .message = message};

        return message ? net_event_to_json(&event) : NULL;
}

static json_t *default_config(void)
{
        return net_core_config_to_json(&(struct net_core_config){.seed = 1});
}

/* An inventory that found nothing. */
static json_t *start_events(void)
{
        return json_pack("[o]", net_event_to_json(&(struct net_event){.type = NET_EVENT_INVENTORY}));
}

const struct ctl_core_ops ctl_core_network = {
    .name = "network",
    .create = create,
    .destroy = destroy,
    .step = step,
    .event_of_frame = event_of_frame,
    .default_config = default_config,
    .start_events = start_events,
};
