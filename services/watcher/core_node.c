/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This machine's Node: created when it is not there, its status patched when it differs, looked after once a
 * minute. Ready says that both other services of the node have been heard. Of the hotplug slots that the VMs
 * of the node have, capacity counts all and allocatable those that are free.
 */
#include <errno.h>
#include <string.h>

#include "services/watcher/core_internal.h"

#define SLOTS_US UINT64_C(10000000) /* between writes that are about slots alone */

void watcher_node_deinit(struct watcher_node *node)
{
        json_decref(node->wanted);
        json_decref(node->known);
        *node = (struct watcher_node){0};
}

static bool is_ready(const struct watcher_core *core)
{
        return core->peers[W_NETWORK].seen && core->peers[W_HYPERVISOR].seen;
}

static const json_t *stored_ready(const struct watcher_node *node)
{
        size_t i;
        json_t *entry;
        const json_t *list = json_object_get(json_object_get(node->known, "status"), "conditions");
        json_array_foreach(list, i, entry)
        {
                const char *type = json_string_value(json_object_get(entry, "type"));
                if (type && strcmp(type, "Ready") == 0)
                        return entry;
        }
        return NULL;
}

static json_t *ready_condition(struct watcher_core *core, bool ready)
{
        struct watcher_node *node = &core->node;
        const json_t *stored = stored_ready(node);
        const char *status = json_string_value(json_object_get(stored, "status"));
        const char *since = json_string_value(json_object_get(stored, "lastTransitionTime"));
        if (status && since && strcmp(status, ready ? "True" : "False") == 0)
                W_COPY(node->ready_since, since);
        else if (node->ready != ready)
                ak_rfc3339_format(core->real, false, node->ready_since);
        node->ready = ready;
        return json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "Ready", "status", ready ? "True" : "False",
                         "reason", ready ? "ServicesReady" : "WaitingForServices", "message",
                         ready ? "network and hypervisor services are there"
                               : "the network or the hypervisor service has not been heard yet",
                         "lastTransitionTime", node->ready_since);
}

static void put_count(json_t *status, const char *list, uint64_t count)
{
        char text[24];
        json_t *object = json_object_get(status, list);
        if (!json_is_object(object)) {
                object = json_object();
                (void)json_object_set_new(status, list, object);
        }
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
        (void)json_object_set_new(object, "alkaid.io/nic-slots", json_string(text));
}

void watcher_node_count(struct watcher_core *core, const struct watcher_vm *vm, bool add)
{
        struct watcher_node *node = &core->node;
        if (!vm->have_status)
                return;
        if (add) {
                node->slots_now += vm->status.nic_slots;
                node->free_now += vm->status.nic_slots_free;
        } else {
                node->slots_now -= vm->status.nic_slots;
                node->free_now -= vm->status.nic_slots_free;
        }
}

/* Each plug changes them; that is no reason for a write each time. */
static void count_slots(struct watcher_core *core)
{
        struct watcher_node *node = &core->node;
        node->count_us = 0;
        if (node->slots_now == node->slots && node->free_now == node->slots_free)
                return;
        if (node->counted_us && core->now < node->counted_us + SLOTS_US) {
                node->count_us = node->counted_us + SLOTS_US;
                return;
        }
        node->counted_us = core->now;
        node->slots = node->slots_now;
        node->slots_free = node->free_now;
}

/* The status as it should be: what the machine and its VMs are, and Ready. New reference. */
static json_t *node_status(struct watcher_core *core)
{
        json_t *status = json_deep_copy(json_object_get(core->node.wanted, "status"));
        if (!json_is_object(status)) {
                json_decref(status);
                status = json_object();
        }
        put_count(status, "capacity", core->node.slots);
        put_count(status, "allocatable", core->node.slots_free);
        json_t *condition = ready_condition(core, is_ready(core));
        (void)json_object_set_new(status, "conditions", json_pack("[o]", condition));
        return status;
}

static void call(struct watcher_core *core, enum watcher_call_type type, json_t *body)
{
        struct watcher_node *node = &core->node;
        node->compared = false;
        node->call = type;
        node->task.op = watcher_call(core, type, "", core->config.node, body);
}

static void create(struct watcher_core *core, json_t *status)
{
        json_t *body = json_deep_copy(core->node.wanted);
        (void)json_object_set(body, "status", status);
        call(core, WATCHER_CALL_NODE_CREATE, body);
}

/* Only what we say is compared: the server and others may say more. */
static json_t *status_patch(const json_t *known, const json_t *status)
{
        json_t *patch = json_object(), *value;
        const char *key;
        json_object_foreach((json_t *)status, key,
                            value) if (!json_equal(json_object_get(known, key), value))(void)
            json_object_set(patch, key, value);
        return patch;
}

static void compare(struct watcher_core *core, const json_t *status)
{
        struct watcher_node *node = &core->node;
        json_t *patch = status_patch(json_object_get(node->known, "status"), status);
        if (json_object_size(patch) > 0)
                call(core, WATCHER_CALL_NODE_STATUS, json_pack("{s:O}", "status", patch));
        else if (!node->check_us)
                node->check_us = core->now + core->config.node_us;
        else if (core->now >= node->check_us)
                call(core, WATCHER_CALL_NODE_GET, NULL);
        json_decref(patch);
}

/* Compared before, and nothing that goes into it has changed since. */
static bool known_to_be_right(const struct watcher_core *core)
{
        const struct watcher_node *node = &core->node;
        return node->compared && node->compared_slots == node->slots &&
               node->compared_free == node->slots_free && node->ready == is_ready(core) &&
               core->now < node->check_us;
}

void watcher_node_reconcile(struct watcher_core *core)
{
        struct watcher_node *node = &core->node;
        if (!node->wanted || node->task.op || core->now < node->task.retry_us)
                return;
        count_slots(core);
        if (known_to_be_right(core))
                return;
        node->compared = true;
        node->compared_slots = node->slots;
        node->compared_free = node->slots_free;
        json_t *status = node_status(core);
        if (!node->known)
                create(core, status);
        else
                compare(core, status);
        json_decref(status);
}

static void learn(struct watcher_core *core, const struct watcher_event *answer)
{
        struct watcher_node *node = &core->node;
        bool patched = node->call == WATCHER_CALL_NODE_STATUS;
        json_t *known = json_is_object(answer->object) ? json_deep_copy(answer->object) : json_object();
        /* A server that does not keep all of what we say must not make us say it for ever. */
        if (patched || !json_is_object(answer->object)) {
                json_t *status = node_status(core);
                (void)json_object_set_new(known, "status", status);
        }
        json_decref(node->known);
        node->known = known;
        node->check_us = core->now + core->config.node_us;
}

bool watcher_node_answer(struct watcher_core *core, const struct watcher_event *answer)
{
        struct watcher_node *node = &core->node;
        if (node->task.op != answer->op)
                return false;
        bool exists = node->call == WATCHER_CALL_NODE_CREATE && answer->outcome == WATCHER_CONFLICT;
        if (exists || answer->outcome == WATCHER_OK) {
                watcher_task_done(core, &node->task, WATCHER_OK);
                if (exists)
                        call(core, WATCHER_CALL_NODE_GET, NULL);
                else
                        learn(core, answer);
                return true;
        }
        watcher_task_done(core, &node->task, answer->outcome);
        watcher_log(core, AK_LOG_WARN, "node_not_registered", NULL, NULL, "%s: %s",
                    watcher_outcome_name(answer->outcome), answer->text);
        if (answer->outcome == WATCHER_GONE && node->call != WATCHER_CALL_NODE_CREATE) {
                json_decref(node->known);
                node->known = NULL;
                node->task.retry_us = 0;
        }
        return true;
}

uint64_t watcher_node_deadline(const struct watcher_core *core)
{
        const struct watcher_node *node = &core->node;
        if (!node->wanted || node->task.op)
                return 0;
        if (node->task.retry_us > core->now)
                return node->task.retry_us;
        return node->count_us && node->count_us < node->check_us ? node->count_us : node->check_us;
}
