/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node a pod without nodeName goes to: of those that are ready, not cordoned, bear no taint that it
 * does not tolerate, match its nodeSelector, and have room for what it requests and slots for its NICs, the
 * one that has most left afterwards. A pod reserves what spec.virtualMachine.resources.requests says and
 * nothing else: VMs share CPUs and may be given more memory than there is, if nobody asks for it to be
 * reserved.
 *
 * Where none fits, the pod's condition and an Event say why, in kube's words; it is looked at again when a
 * node or a pod changes in a way that may matter (core->schedule_due).
 */
#include <string.h>

#include "services/apiserver/core_internal.h"

/* What a node may have too little of. All in thousandths. */
enum { CPU, MEMORY, PODS, RESOURCES };
static const char *const resources[RESOURCES] = {"cpu", "memory", "pods"};
/* Hotplug slots that a VM has on the node. */
#define VM_SLOTS "alkaid.io/vm-nic-slots"

enum misfit {
        FITS,
        NOT_READY,
        CORDONED,
        TAINTED,
        NOT_SELECTED,
        NO_CPU,
        NO_MEMORY,
        NO_PODS,
        NO_SLOTS,
        MISFITS
};
static const char *const misfits[MISFITS] = {
    [NOT_READY] = "node(s) were not ready",
    [CORDONED] = "node(s) were unschedulable",
    [TAINTED] = "node(s) had untolerated taint(s)",
    [NOT_SELECTED] = "node(s) didn't match Pod's node affinity/selector",
    [NO_CPU] = "Insufficient cpu",
    [NO_MEMORY] = "Insufficient memory",
    [NO_PODS] = "Too many pods",
    [NO_SLOTS] = "node(s) had too few NIC slots",
};

/* 0 where there is none, or it is none. */
static int64_t amount(const json_t *object, const char *list, const char *name)
{
        const json_t *value = json_object_get(api_at(object, list), name);
        int64_t milli = 0;

        if (json_is_string(value))
                return api_quantity_parse(json_string_value(value), &milli) == 0 ? milli : 0;
        return json_is_number(value) ? (int64_t)(json_number_value(value) * 1000) : 0;
}

static int64_t request(const json_t *pod, int resource)
{
        return resource == PODS ? 1000
                                : amount(pod, "spec.virtualMachine.resources.requests", resources[resource]);
}

/* ---- what nodes bear ---- */

void api_load_count(struct api_core *core, const json_t *pod, int change)
{
        const char *node = api_text(pod, "spec.nodeName"), *phase = api_text(pod, "status.phase");
        json_t *load = json_object_get(core->node_pods, node);

        if (!*node || strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
                return;
        if (!load) {
                load = json_object();
                (void)json_object_set_new(core->node_pods, node, load);
        }
        for (int i = 0; i < RESOURCES; i++) {
                json_int_t now = json_integer_value(json_object_get(load, resources[i]));

                (void)json_object_set_new(load, resources[i],
                                          json_integer(now + change * (json_int_t)request(pod, i)));
        }
        if (json_integer_value(json_object_get(load, resources[PODS])) <= 0)
                (void)json_object_del(core->node_pods, node);
        if (change < 0)
                core->schedule_due = true; /* there is more room */
}

static int64_t borne(const struct api_core *core, const json_t *node, int resource)
{
        return json_integer_value(
            json_object_get(json_object_get(core->node_pods, api_name(node)), resources[resource]));
}

/* ---- one pod and one node ---- */

static bool tolerates(const json_t *pod, const json_t *taint)
{
        json_t *tol;
        size_t i;

        if (strcmp(api_text(taint, "effect"), "PreferNoSchedule") == 0)
                return true;
        json_array_foreach(api_at(pod, "spec.tolerations"), i, tol)
        {
                const char *key = api_text(tol, "key"), *effect = api_text(tol, "effect");
                bool exists = strcmp(api_text(tol, "operator"), "Exists") == 0;

                if ((!*key || strcmp(key, api_text(taint, "key")) == 0) &&
                    (!*effect || strcmp(effect, api_text(taint, "effect")) == 0) &&
                    (exists || strcmp(api_text(tol, "value"), api_text(taint, "value")) == 0))
                        return true;
        }
        return false;
}

static bool tolerates_all(const json_t *pod, const json_t *node)
{
        json_t *taint;
        size_t i;

        json_array_foreach(api_at(node, "spec.taints"), i, taint)
        {
                if (!tolerates(pod, taint))
                        return false;
        }
        return true;
}

static bool selects(const json_t *pod, const json_t *node)
{
        json_t *labels = api_at(node, "metadata.labels"), *value;
        const char *key;

        json_object_foreach(api_at(pod, "spec.nodeSelector"), key, value)
        {
                if (!json_equal(json_object_get(labels, key), value))
                        return false;
        }
        return true;
}

/* A node that does not say how much it has is not asked. */
static enum misfit has_room(const struct api_core *core, const json_t *node, const json_t *pod)
{
        static const enum misfit lacks[RESOURCES] = {NO_CPU, NO_MEMORY, NO_PODS};
        int64_t slots = amount(node, "status.allocatable", VM_SLOTS);

        for (int i = 0; i < RESOURCES; i++) {
                int64_t all = amount(node, "status.allocatable", resources[i]), wanted = request(pod, i);

                if (all > 0 && wanted > 0 && wanted > all - borne(core, node, i))
                        return lacks[i];
        }
        return slots > 0 && (int64_t)json_array_size(api_at(pod, "spec.nics")) * 1000 > slots ? NO_SLOTS
                                                                                              : FITS;
}

static enum misfit misfit_of(const struct api_core *core, const json_t *node, const json_t *pod)
{
        if (strcmp(api_text(api_condition(node, "Ready"), "status"), "True") != 0)
                return NOT_READY;
        if (api_is_deleting(node) || json_is_true(api_at(node, "spec.unschedulable")))
                return CORDONED;
        if (!tolerates_all(pod, node))
                return TAINTED;
        if (!selects(pod, node))
                return NOT_SELECTED;
        return has_room(core, node, pod);
}

/* Least allocated: thousandths of CPU and memory that would be left, together. */
static int64_t left_over(const struct api_core *core, const json_t *node, const json_t *pod)
{
        int64_t left = 0;

        for (int i = CPU; i <= MEMORY; i++) {
                int64_t all = amount(node, "status.allocatable", resources[i]);

                left += all < 1000 ? 0 : (all - borne(core, node, i) - request(pod, i)) / (all / 1000);
        }
        return left;
}

/* ---- one pod and all nodes ---- */

struct choice {
        const char *node; /* NULL = none fits */
        int64_t left, pods;
        size_t misfits[MISFITS];
};

static void consider(const struct api_core *core, const json_t *node, const json_t *pod, struct choice *best)
{
        enum misfit misfit = misfit_of(core, node, pod);
        int64_t left, pods;

        best->misfits[misfit]++;
        if (misfit != FITS)
                return;
        left = left_over(core, node, pod);
        pods = borne(core, node, PODS);
        if (best->node && (left < best->left || (left == best->left && pods >= best->pods)))
                return;
        best->node = api_name(node);
        best->left = left;
        best->pods = pods;
}

static void explain(const struct choice *c, size_t nodes, char *out, size_t size)
{
        size_t used = (size_t)snprintf(out, size, "0/%zu nodes are available: ", nodes);
        const char *comma = "";

        if (nodes == 0)
                (void)snprintf(out + used, size - used, "none has registered");
        for (int i = 0; i < MISFITS && used < size; i++) {
                if (!c->misfits[i])
                        continue;
                used +=
                    (size_t)snprintf(out + used, size - used, "%s%zu %s", comma, c->misfits[i], misfits[i]);
                comma = ", ";
        }
}

static void mark_unschedulable(struct api_txn *t, const json_t *pod, const char *message)
{
        const json_t *now = json_array_get(api_at(pod, "status.conditions"), 0);
        json_t *copy, *condition;

        if (strcmp(api_text(now, "message"), message) == 0)
                return;
        copy = api_copy(pod);
        condition =
            json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "PodScheduled", "status", "False", "reason",
                      "Unschedulable", "message", message, "lastTransitionTime", api_time(t->real_us));
        (void)api_set(copy, "status.conditions", json_pack("[o]", condition));
        if (api_txn_put(t, &api_kind_pod, copy) == 0)
                (void)api_record_event(t, copy, &api_kind_pod, "Warning", "FailedScheduling", message);
}

static void place(struct api_txn *t, const char *key, const json_t *pod)
{
        const struct api_table_of_kind *nodes = api_objects(t->core, &api_kind_node);
        struct choice best = {0};
        char message[600];

        for (size_t i = 0; i < nodes->count; i++)
                consider(t->core, api_tree(t->core, &nodes->items[i]), pod, &best);
        if (!best.node) {
                explain(&best, nodes->count, message, sizeof(message));
                mark_unschedulable(t, pod, message);
                return;
        }
        (void)snprintf(message, sizeof(message), "Successfully assigned %s to %s", key, best.node);
        if (api_pod_bind(t, pod, best.node) == 0)
                (void)api_record_event(t, pod, &api_kind_pod, "Normal", "Scheduled", message);
}

void api_schedule(struct api_txn *t)
{
        json_t *waiting, *unused;
        const char *key;

        if (!t->core->schedule_due || json_object_size(t->core->unscheduled) == 0)
                return;
        t->core->schedule_due = false;
        waiting = json_copy(t->core->unscheduled);
        json_object_foreach(waiting, key, unused)
        {
                json_t *pod = json_incref(api_find_key(t->core, &api_kind_pod, key));

                place(t, key, pod);
                json_decref(pod);
        }
        json_decref(waiting);
}
