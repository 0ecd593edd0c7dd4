/* SPDX-License-Identifier: Apache-2.0 */
/* The thin shells of the simulation: events into the cores, actions to bus, API and host. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static void tick(struct sim *sim, struct sim_task *task)
{
        if (sim->wake[task->to] != task->at)
                return; /* another wake-up was asked for since */
        sim->wake[task->to] = 0;
        if (task->to == SIM_WATCHER) {
                sim_step_watcher(sim, &(struct watcher_event){.type = WATCHER_EVENT_TICK});
        } else if (task->to == SIM_NETWORK) {
                struct net_event e = {.type = NET_EVENT_TICK};
                sim_step_network(sim, &e);
        } else {
                sim_step_hypervisor(sim, &(struct hv_event){.type = HV_EVENT_TICK});
        }
}

static void wake_at(struct sim *sim, enum sim_service service, uint64_t at_us)
{
        uint64_t delay = at_us > sim->now ? at_us - sim->now : 1;

        sim->wake[service] = sim->now + delay;
        sim_at(sim, delay, service, tick);
}

/* A process may die between any two of the things that it does. */
static bool dies_here(struct sim *sim, enum sim_service service)
{
        enum sim_stream before = sim->stream;
        bool dies;

        sim->stream = SIM_CRASHES;
        dies = sim_inject(sim, sim->faults.crash_step);
        if (dies)
                sim_crash(sim, service);
        sim->stream = before;
        return dies;
}

void sim_step_watcher(struct sim *sim, const struct watcher_event *event)
{
        struct watcher_actions *out = &sim->watcher_actions;

        if (!sim->watcher)
                return;
        (void)watcher_core_step(sim->watcher, event, sim->now, sim_real(sim), out);
        for (size_t i = 0; i < out->count; i++) {
                struct watcher_action *a = &out->items[i];

                if (dies_here(sim, SIM_WATCHER))
                        break;
                if (a->type == WATCHER_ACTION_PUBLISH)
                        sim_bus_publish(sim, SIM_WATCHER, a->message, true);
                else if (a->type == WATCHER_ACTION_FORGET)
                        sim_bus_forget(sim, SIM_WATCHER, a->topic);
                else if (a->type == WATCHER_ACTION_CALL)
                        sim_api_call(sim, a);
                else if (a->type == WATCHER_ACTION_WAKE)
                        wake_at(sim, SIM_WATCHER, a->at_us);
                else
                        sim_log(sim, "watcher    log %s %.8s %s %.8s %.200s", a->event, a->pod, a->nic,
                                a->port, a->text);
        }
        watcher_actions_clear(out);
}

void sim_step_network(struct sim *sim, const struct net_event *event)
{
        struct net_actions *out = &sim->network_actions;

        if (!sim->network)
                return;
        (void)net_core_step(sim->network, event, sim->now, sim_real(sim), out);
        for (size_t i = 0; i < out->count; i++) {
                struct net_action *a = &out->items[i];

                if (dies_here(sim, SIM_NETWORK))
                        break;
                if (a->type == NET_ACTION_PUBLISH)
                        sim_bus_publish(sim, SIM_NETWORK, a->publish.message, a->publish.retain);
                else if (a->type == NET_ACTION_FORGET)
                        sim_bus_forget(sim, SIM_NETWORK, a->topic);
                else if (a->type == NET_ACTION_WAKE)
                        wake_at(sim, SIM_NETWORK, a->wake_us);
                else
                        sim_host_network(sim, a);
        }
        net_actions_clear(out);
}

void sim_step_hypervisor(struct sim *sim, const struct hv_event *event)
{
        struct hv_actions *out = &sim->hypervisor_actions;

        if (!sim->hypervisor)
                return;
        (void)hv_core_step(sim->hypervisor, event, sim->now, sim_real(sim), out);
        for (size_t i = 0; i < out->count; i++) {
                struct hv_action *a = &out->items[i];

                if (dies_here(sim, SIM_HYPERVISOR))
                        break;
                if (a->type == HV_ACTION_PUBLISH)
                        sim_bus_publish(sim, SIM_HYPERVISOR, a->message, true);
                else if (a->type == HV_ACTION_FORGET)
                        sim_bus_forget(sim, SIM_HYPERVISOR, a->topic);
                else if (a->type == HV_ACTION_WAKE)
                        wake_at(sim, SIM_HYPERVISOR, a->at_us);
                else
                        sim_host_hypervisor(sim, a);
        }
        hv_actions_clear(out);
}

static void start_watcher(struct sim *sim)
{
        struct watcher_core_config config = {.node = SIM_NODE, .host_ip = "127.0.0.1", .nic_slots = 8};
        struct watcher_event node = {.type = WATCHER_EVENT_NODE};

        config.seed = sim_draw(sim, UINT64_C(1) << 60);
        if (watcher_core_new(&sim->watcher, &config) < 0)
                abort();
        sim_bus_start(sim, SIM_WATCHER);
        node.object = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}}}", "apiVersion", "v1", "kind", "Node",
                                "metadata", "name", SIM_NODE, "status", "capacity", "cpu", "2");
        sim_step_watcher(sim, &node);
        json_decref(node.object);
        if (sim->watcher)
                sim_api_list(sim);
}

void sim_service_start(struct sim *sim, enum sim_service service)
{
        struct net_core_config net = {.seed = sim_draw(sim, UINT64_C(1) << 60)};
        struct hv_core_config hv = {.node = SIM_NODE, .seed = sim_draw(sim, UINT64_C(1) << 60)};

        if (service == SIM_WATCHER) {
                start_watcher(sim);
        } else if (service == SIM_NETWORK) {
                if (net_core_new(&sim->network, &net) < 0)
                        abort();
                sim_bus_start(sim, SIM_NETWORK);
                sim_host_inventory(sim);
        } else {
                if (hv_core_new(&sim->hypervisor, &hv) < 0)
                        abort();
                sim_bus_start(sim, SIM_HYPERVISOR);
                sim_step_hypervisor(sim, &(struct hv_event){.type = HV_EVENT_TICK});
        }
}

void sim_service_stop(struct sim *sim, enum sim_service service)
{
        if (service == SIM_WATCHER) {
                sim->watcher = watcher_core_free(sim->watcher);
                sim->watching = false;
        } else if (service == SIM_NETWORK) {
                sim->network = net_core_free(sim->network);
        } else if (service == SIM_HYPERVISOR) {
                sim->hypervisor = hv_core_free(sim->hypervisor);
                sim->registered = 0;
                memset(sim->pending, 0, sizeof(sim->pending));
        }
        sim->wake[service] = 0;
        sim_bus_stop(sim, service);
}
