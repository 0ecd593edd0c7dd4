/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus as libcommon/bus.h promises it, and worse: last values for who subscribes anew, marks that bring
 * lost messages again; messages are dropped, repeated, delayed and, beyond what ZeroMQ does, reordered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static bool listens(enum sim_service to, enum ak_message_type type)
{
        switch (type) {
        case ak_message_vm_diff:
                return to == SIM_HYPERVISOR;
        case ak_message_nic_diff:
                return to == SIM_HYPERVISOR || to == SIM_NETWORK;
        case ak_message_port_status:
                return to == SIM_HYPERVISOR || to == SIM_WATCHER;
        default:
                return to == SIM_WATCHER || to == SIM_NETWORK;
        }
}

/* A receiver learns a publisher's epoch from the first message with it. */
static void note_epoch(struct sim *sim, enum sim_service from, enum sim_service to, uint64_t epoch)
{
        struct sim_publisher *p = &sim->publishers[from];

        if (p->heard_epoch[to] == epoch)
                return;
        p->heard_epoch[to] = epoch;
        if (to == SIM_WATCHER) {
                struct watcher_event e = {.type = WATCHER_EVENT_PEER, .epoch = epoch};
                (void)snprintf(e.peer, sizeof(e.peer), "%s", sim_service_name(from));
                sim_step_watcher(sim, &e);
        } else if (to == SIM_NETWORK) {
                struct net_event e = {.type = NET_EVENT_PEER};
                e.peer.name = sim_service_name(from);
                e.peer.epoch = epoch;
                sim_step_network(sim, &e);
        }
}

static void taken(struct sim *sim, struct sim_task *task AK_UNUSED)
{
        sim_step_watcher(sim, &(struct watcher_event){.type = WATCHER_EVENT_TICK});
}

/* As if more had been waiting: what has come is looked at a little later, with what comes until then. */
static bool more_comes(struct sim *sim)
{
        enum sim_stream before = sim->stream;
        bool more;

        sim->stream = SIM_TOGETHER;
        more = sim_chance(sim, 50);
        if (more)
                sim_at(sim, sim_draw(sim, 2 * SIM_MS), SIM_WATCHER, taken);
        sim->stream = before;
        return more;
}

static void deliver(struct sim *sim, struct sim_task *task)
{
        enum sim_service from = (enum sim_service)task->kind;

        note_epoch(sim, from, task->to, task->number);
        if (!task->message)
                return;
        if (task->to == SIM_WATCHER) {
                struct watcher_event e = {
                    .type = WATCHER_EVENT_MESSAGE, .message = task->message, .epoch = task->number};
                (void)snprintf(e.peer, sizeof(e.peer), "%s", sim_service_name(from));
                e.more = more_comes(sim);
                sim_step_watcher(sim, &e);
        } else if (task->to == SIM_NETWORK) {
                struct net_event e = {.type = NET_EVENT_MESSAGE};
                e.message = task->message;
                sim_step_network(sim, &e);
        } else {
                sim_step_hypervisor(sim,
                                    &(struct hv_event){.type = HV_EVENT_MESSAGE, .message = task->message});
        }
}

static void send_to(struct sim *sim, enum sim_service from, enum sim_service to,
                    const struct ak_message *message, bool faulty)
{
        struct sim_publisher *p = &sim->publishers[from];
        uint64_t delay = 50 + sim_draw(sim, 400);
        struct sim_task *task;

        if (faulty && sim_inject(sim, sim->faults.drop))
                return;
        if (sim_chance(sim, 2))
                delay += sim_draw(sim, 200 * SIM_MS);
        if (faulty && sim_inject(sim, sim->faults.reorder)) {
                delay += sim_chance(sim, 10) ? sim_draw(sim, 10 * SIM_S) : sim_draw(sim, 50 * SIM_MS);
        } else {
                if (sim->now + delay <= p->last_at[to])
                        delay = p->last_at[to] + 1 - sim->now;
                p->last_at[to] = sim->now + delay;
        }
        task = sim_at(sim, delay, to, deliver);
        task->kind = (int)from;
        task->number = p->epoch;
        task->message = message ? ak_message_dup(message) : NULL;
        if (faulty && sim_inject(sim, sim->faults.repeat))
                send_to(sim, from, to, message, false);
}

static struct sim_topic *topic_of(struct sim_publisher *p, const char *topic)
{
        for (size_t i = 0; i < p->count; i++)
                if (strcmp(p->topics[i].topic, topic) == 0)
                        return &p->topics[i];
        return NULL;
}

static void retain_value(struct sim_publisher *p, const char *topic, const struct ak_message *message)
{
        struct sim_topic *t = topic_of(p, topic);

        if (!t) {
                if (p->count == p->room) {
                        p->room = p->room ? p->room * 2 : 64;
                        p->topics = realloc(p->topics, p->room * sizeof(*p->topics));
                        if (!p->topics)
                                abort();
                }
                t = &p->topics[p->count++];
                *t = (struct sim_topic){0};
                (void)snprintf(t->topic, sizeof(t->topic), "%s", topic);
        }
        ak_message_free(t->message);
        t->message = ak_message_dup(message);
}

static void log_message(struct sim *sim, enum sim_service from, const struct ak_message *m)
{
        json_t *json = ak_message_to_json(m);
        const char *what = json_string_value(json_object_get(json, "state"));

        if (!what)
                what = json_string_value(json_object_get(json, "wanted"));
        if (!what)
                what = json_string_value(json_object_get(json, "phase"));
        sim_log(sim, "%-10s %-11s %.8s %s %.8s %s %s g%lld a%lld", sim_service_name(from),
                ak_message_info(m->type)->type, json_string_value(json_object_get(json, "pod_uid")),
                json_object_get(json, "nic") ? json_string_value(json_object_get(json, "nic")) : "",
                json_object_get(json, "port_id") ? json_string_value(json_object_get(json, "port_id")) : "",
                what ? what : "",
                json_object_get(json, "reason") ? json_string_value(json_object_get(json, "reason")) : "",
                (long long)json_integer_value(json_object_get(json, "generation")),
                (long long)json_integer_value(json_object_get(json, "attempt")));
        json_decref(json);
}

void sim_bus_publish(struct sim *sim, enum sim_service from, const struct ak_message *message, bool retain)
{
        char topic[AK_TOPIC_SIZE];

        log_message(sim, from, message);
        ak_message_topic(message, topic);
        if (retain)
                retain_value(&sim->publishers[from], topic, message);
        for (int to = 0; to < SIM_SERVICES; to++)
                if (to != (int)from && listens((enum sim_service)to, message->type))
                        send_to(sim, from, (enum sim_service)to, message, true);
}

void sim_bus_forget(struct sim *sim, enum sim_service from, const char *topic)
{
        struct sim_publisher *p = &sim->publishers[from];
        struct sim_topic *t = topic_of(p, topic);

        if (!t)
                return;
        ak_message_free(t->message);
        *t = p->topics[--p->count];
}

static void replay(struct sim *sim, enum sim_service from, enum sim_service to)
{
        struct sim_publisher *p = &sim->publishers[from];

        for (size_t i = 0; i < p->count; i++)
                if (listens(to, p->topics[i].message->type))
                        send_to(sim, from, to, p->topics[i].message, false);
        send_to(sim, from, to, NULL, false); /* the mark: at least the epoch is heard */
}

void sim_bus_start(struct sim *sim, enum sim_service service)
{
        sim->publishers[service].epoch = 1 + sim_draw(sim, UINT64_C(1) << 60);
        for (int other = 0; other < SIM_SERVICES; other++) {
                if (other == (int)service)
                        continue;
                sim->publishers[other].heard_epoch[service] = 0;
                if (sim->publishers[other].epoch)
                        replay(sim, (enum sim_service)other, service);
        }
}

void sim_bus_stop(struct sim *sim, enum sim_service service)
{
        struct sim_publisher *p = &sim->publishers[service];

        for (size_t i = 0; i < p->count; i++)
                ak_message_free(p->topics[i].message);
        free(p->topics);
        p->topics = NULL;
        p->count = p->room = 0;
        p->epoch = 0;
}

void sim_bus_marks(struct sim *sim)
{
        bool lossy =
            sim->faults.drop || sim->faults.reorder || (sim->calm && sim->now < (SIM_FAULTS_S + 16) * SIM_S);

        for (int from = 0; from < SIM_SERVICES; from++) {
                if (!sim->publishers[from].epoch)
                        continue;
                for (int to = 0; to < SIM_SERVICES; to++) {
                        if (from == to)
                                continue;
                        if (lossy)
                                replay(sim, (enum sim_service)from, (enum sim_service)to);
                        else
                                send_to(sim, (enum sim_service)from, (enum sim_service)to, NULL, false);
                }
        }
}
