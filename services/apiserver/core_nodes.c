/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silent nodes. A node renews its Lease in kube-node-lease; one that has not done so for the grace is not
 * heard any more: its condition Ready becomes Unknown, and so does that of its pods. That is all: nobody can
 * know whether its VMs run, so nothing of theirs is released, no pod is deleted, none goes elsewhere. When
 * the node is back it writes both anew. A Node without a Lease was registered by hand and is not judged.
 *
 * What counts is when the server took the renewal in, not the time that the node wrote into it: clocks
 * differ. When the server itself did not look in time (it stood still, its clock was set), every node has its
 * grace anew; renewals may wait to be read.
 */
#include <string.h>

#include "services/apiserver/core_internal.h"

#define LOOK_MAX_US (UINT64_C(5) * 1000 * 1000)
#define LATE_US     (UINT64_C(2) * 1000 * 1000) /* a look that comes so late tells nothing */

const json_t *api_condition(const json_t *object, const char *type)
{
        json_t *c;
        size_t i;

        json_array_foreach(api_at(object, "status.conditions"), i, c)
        {
                if (strcmp(api_text(c, "type"), type) == 0)
                        return c;
        }
        return NULL;
}

/* ---- who was heard ---- */

static void note(struct api_core *core, const char *node, uint64_t real_us)
{
        (void)json_object_set_new(core->heard, node, json_integer((json_int_t)real_us));
}

static bool is_lease_of_node(const struct api_kind *kind, const char *name_space)
{
        return kind == &api_kind_lease && strcmp(name_space, API_NODE_LEASES) == 0;
}

void api_nodes_heard(struct api_core *core, const struct api_request *r)
{
        const char *name = *r->name ? r->name : api_name(r->body);

        if (!is_lease_of_node(r->kind, r->name_space))
                return;
        if (r->verb == API_DELETE || r->verb == API_DELETE_COLLECTION)
                (void)json_object_del(core->heard, name);
        else
                note(core, name, r->real_us);
        if (!core->next_nodes_us)
                core->next_nodes_us = core->nodes_looked_us = r->real_us;
}

static void hear_all(struct api_core *core, uint64_t real_us)
{
        json_t *unused;
        const char *node;

        json_object_foreach(core->heard, node, unused)
        {
                note(core, node, real_us);
        }
}

void api_nodes_start(struct api_core *core, uint64_t real_us)
{
        const struct api_table_of_kind *leases = api_objects(core, &api_kind_lease);

        for (size_t i = 0; i < leases->count; i++) {
                const json_t *lease = api_tree(core, &leases->items[i]);

                if (is_lease_of_node(&api_kind_lease, api_namespace(lease)))
                        note(core, api_name(lease), real_us);
        }
        core->nodes_looked_us = core->next_nodes_us = real_us;
}

/* ---- who was not ---- */

/* A copy with the condition Ready as given; the time of the last change stays where the status does. */
static json_t *with_ready(const struct api_txn *t, const json_t *object, const char *message)
{
        json_t *conditions = json_array(), *copy = api_copy(object), *c;
        size_t i;

        json_array_foreach(api_at(object, "status.conditions"), i, c)
        {
                if (strcmp(api_text(c, "type"), "Ready") != 0)
                        (void)json_array_append_new(conditions, api_copy(c));
        }
        (void)json_array_append_new(conditions,
                                    json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "Ready", "status",
                                              "Unknown", "reason", API_NODE_SILENT, "message", message,
                                              "lastTransitionTime", api_time(t->real_us)));
        (void)api_set(copy, "status.conditions", conditions);
        return copy;
}

static bool has_ended(const json_t *pod)
{
        const char *phase = api_text(pod, "status.phase");

        return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

static bool is_unknown(const json_t *object)
{
        return strcmp(api_text(api_condition(object, "Ready"), "status"), "Unknown") == 0;
}

static void pods_unknown(struct api_txn *t, const char *node)
{
        const struct api_table_of_kind *pods = api_objects(t->core, &api_kind_pod);
        struct api_selector *on_node = NULL;
        char fields[300], error[256], message[400];

        (void)snprintf(fields, sizeof(fields), "spec.nodeName=%s", node);
        (void)snprintf(message, sizeof(message), "node %s is silent; the VM may run or not", node);
        if (api_selector_new(&on_node, &api_kind_pod, NULL, fields, error) < 0)
                return;
        for (size_t i = 0; i < pods->count; i++) {
                json_t *pod;

                if (!api_selector_matches_image(on_node, pods->items[i].image))
                        continue;
                pod = json_incref(api_tree(t->core, &pods->items[i]));
                if (!has_ended(pod) && !is_unknown(pod))
                        (void)api_txn_put(t, &api_kind_pod, with_ready(t, pod, message));
                json_decref(pod);
        }
        (void)api_selector_free(on_node);
}

static void node_unknown(struct api_txn *t, const char *name)
{
        json_t *node = json_incref(api_find(t->core, &api_kind_node, "", name));

        if (node && !is_unknown(node)) {
                (void)api_txn_put(t, &api_kind_node,
                                  with_ready(t, node, "the node has not renewed its lease"));
                (void)api_record_event(t, node, &api_kind_node, "Warning", "NodeNotReady",
                                       "the node has not renewed its lease; its pods stay as they are");
                pods_unknown(t, name);
        }
        json_decref(node);
}

static uint64_t interval(const struct api_core *core)
{
        return core->node_grace_us / 4 < LOOK_MAX_US ? core->node_grace_us / 4 : LOOK_MAX_US;
}

void api_nodes_look(struct api_txn *t)
{
        struct api_core *core = t->core;
        const char *node;
        json_t *heard;

        if (json_object_size(core->heard) == 0 ||
            (t->real_us < core->next_nodes_us && core->next_nodes_us <= t->real_us + interval(core)))
                return;
        if (t->real_us < core->nodes_looked_us ||
            t->real_us > core->nodes_looked_us + interval(core) + LATE_US)
                hear_all(core, t->real_us);
        core->nodes_looked_us = t->real_us;
        core->next_nodes_us = t->real_us + interval(core);
        json_object_foreach(core->heard, node, heard)
        {
                if ((uint64_t)json_integer_value(heard) + core->node_grace_us <= t->real_us)
                        node_unknown(t, node);
        }
}

uint64_t api_nodes_next_us(const struct api_core *core)
{
        return json_object_size(core->heard) ? core->next_nodes_us : 0;
}
