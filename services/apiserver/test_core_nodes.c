/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that fall silent and come back; which node a pod goes to, and why to none. */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/test_core_util.h"

#define SECOND UINT64_C(1000000)

/* ---- silence ---- */

static int renew(struct world *w, const char *node)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body,
                             "{'metadata': {'name': '%s'}, 'spec': {'holderIdentity': '%s', "
                             "'leaseDurationSeconds': 40, 'renewTime': '2026-01-01T00:00:00.000000Z'}}",
                             node, node) > 0);
        w->request.name_space = API_NODE_LEASES;
        if (api_find(w->core, &api_kind_lease, API_NODE_LEASES, node))
                return w_patch(w, &api_kind_lease, node, API_PATCH_MERGE,
                               "{'spec': {'leaseDurationSeconds': 40}}");
        return w_create(w, &api_kind_lease, body);
}

/* As a server does: it looks whenever the core asked for it. */
static void pass(struct world *w, uint64_t seconds)
{
        for (uint64_t i = 0; i < seconds; i++) {
                w->now_us += SECOND;
                (void)w_tick(w);
        }
}

static const char *ready(struct world *w, const struct api_kind *kind, const char *name)
{
        return api_text(api_condition(w_stored(w, kind, name), "Ready"), "status");
}

static int pod_runs(struct world *w, const char *name)
{
        return w_patch_status(
            w, &api_kind_pod, name,
            "{'status': {'phase': 'Running', 'conditions': [{'type': 'PodScheduled', 'status': "
            "'True'}, {'type': 'Ready', 'status': 'True'}]}}");
}

static void test_silence(void **state)
{
        struct world *w = *state;
        char port[AK_UUID_SIZE];

        w_node(w, "node1");
        assert_int_equal(renew(w, "node1"), 201);
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        assert_int_equal(w_pod(w, "ended", "eth0"), 201);
        pass(w, 1);
        assert_int_equal(pod_runs(w, "p"), 200);
        assert_int_equal(w_patch_status(w, &api_kind_pod, "ended", "{'status': {'phase': 'Succeeded'}}"),
                         200);
        (void)snprintf(port, sizeof(port), "%s", api_name(w_port(w, "p", "eth0")));
        pass(w, 35);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "True");
        assert_int_equal(renew(w, "node1"), 200);
        assert_int_equal(w->last.change_count, 0); /* what was written does not matter, but that it was */
        pass(w, 35);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "True");
        pass(w, 11);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "Unknown");
        assert_string_equal(ready(w, &api_kind_pod, "p"), "Unknown");
        assert_string_equal(ready(w, &api_kind_pod, "ended"), "");
        assert_non_null(api_condition(w_stored(w, &api_kind_pod, "p"), "PodScheduled"));
        /* All that is theirs stays theirs, and is said once. */
        assert_string_equal(api_text(w_stored(w, &api_kind_pod, "p"), "spec.nodeName"), "node1");
        assert_string_equal(api_text(w_stored(w, &api_kind_pod, "p"), "status.phase"), "Running");
        assert_string_equal(api_text(w_stored(w, &api_kind_port, port), "status.phase"), "Bound");
        assert_int_equal(w_tick(w), 0);
        pass(w, 30);
        assert_int_equal(w_list(w, &api_kind_event, NULL, "reason=NodeNotReady"), 200);
        assert_int_equal(json_array_size(json_object_get(w->last.object, "items")), 1);
        /* No pod goes there. */
        assert_int_equal(w_pod(w, "q", "eth0"), 201);
        (void)w_tick(w);
        assert_string_equal(api_text(w_stored(w, &api_kind_pod, "q"), "spec.nodeName"), "");
        /* Back: it says what is, and is heard. */
        assert_int_equal(renew(w, "node1"), 200);
        assert_int_equal(w_patch_status(w, &api_kind_node, "node1",
                                        "{'status': {'conditions': [{'type': 'Ready', 'status': 'True'}]}}"),
                         200);
        assert_int_equal(pod_runs(w, "p"), 200);
        pass(w, 2);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "True");
        assert_string_equal(ready(w, &api_kind_pod, "p"), "True");
        assert_string_equal(api_text(w_stored(w, &api_kind_pod, "q"), "spec.nodeName"), "node1");
}

/* A dry run is no sign of life; a node without a lease is not judged, nor is one whose lease is taken away.
 */
static void test_leases_count(void **state)
{
        struct world *w = *state;

        w_node(w, "by-hand");
        w_node(w, "node1");
        w_node(w, "gone");
        assert_int_equal(renew(w, "node1"), 201);
        assert_int_equal(renew(w, "gone"), 201);
        pass(w, 30);
        w->request.dry_run = true;
        assert_int_equal(renew(w, "node1"), 200);
        w->request.name_space = API_NODE_LEASES;
        assert_int_equal(w_delete(w, &api_kind_lease, "gone", NULL), 200);
        pass(w, 20);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "Unknown");
        assert_string_equal(ready(w, &api_kind_node, "by-hand"), "True");
        assert_string_equal(ready(w, &api_kind_node, "gone"), "True");
}

/* A server that did not look does not know; nor one whose clock was set, nor one that has just started. */
static void test_nobody_looked(void **state)
{
        struct world *w = *state;

        w_node(w, "node1");
        assert_int_equal(renew(w, "node1"), 201);
        pass(w, 1);
        w->now_us += 3600 * SECOND;
        (void)w_tick(w);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "True");
        w->now_us -= 7200 * SECOND;
        (void)w_tick(w);
        pass(w, 35);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "True");
        api_nodes_start(w->core, w->now_us);
        pass(w, 35);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "True");
        pass(w, 12);
        assert_string_equal(ready(w, &api_kind_node, "node1"), "Unknown");
}

static void test_table(void **state)
{
        struct world *w = *state;
        json_t *table;

        w_node(w, "node1");
        assert_int_equal(renew(w, "node1"), 201);
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        pass(w, 1);
        assert_int_equal(pod_runs(w, "p"), 200);
        pass(w, 50);
        table = api_table(&api_kind_pod, w_stored(w, &api_kind_pod, "p"), "None", w->now_us);
        assert_string_equal(
            json_string_value(json_array_get(
                json_object_get(json_array_get(json_object_get(table, "rows"), 0), "cells"), 1)),
            "Unknown");
        json_decref(table);
        table = api_table(&api_kind_node, w_stored(w, &api_kind_node, "node1"), "None", w->now_us);
        assert_string_equal(
            json_string_value(json_array_get(
                json_object_get(json_array_get(json_object_get(table, "rows"), 0), "cells"), 1)),
            "NotReady");
        json_decref(table);
}

/* ---- where to ---- */

static void node_with(struct world *w, const char *name, const char *allocatable, const char *spec)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body,
                             "{'metadata': {'name': '%s', 'labels': {'disk': '%s'}}, 'spec': %s, 'status': "
                             "{'allocatable': %s, 'conditions': [{'type': 'Ready', 'status': 'True'}]}}",
                             name, name, spec, allocatable) > 0);
        assert_int_equal(w_create(w, &api_kind_node, body), 201);
}

/* more: what else its spec says, after a comma. */
static void pod_that(struct world *w, const char *name, const char *requests, const char *more)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(
            asprintf(&body,
                     "{'metadata': {'name': '%s'}, 'spec': {'vpc': 'v', 'nics': [{'name': 'eth0'}, {'name': "
                     "'eth1'}], 'virtualMachine': {'name': 'vm', 'image': 'h/i', 'resources': {'limits': "
                     "{'cpu': '16', 'memory': '64Gi'}, 'requests': %s}}%s}}",
                     name, requests, more) > 0);
        if (w_create(w, &api_kind_pod, body) != 201)
                fail_msg("%s", w_message(w));
}

static const char *node_of(struct world *w, const char *pod)
{
        (void)w_tick(w);
        return api_text(w_stored(w, &api_kind_pod, pod), "spec.nodeName");
}

static const char *why_not(struct world *w, const char *pod)
{
        assert_string_equal(node_of(w, pod), "");
        return api_text(api_condition(w_stored(w, &api_kind_pod, pod), "PodScheduled"), "message");
}

#define SMALL "{'cpu': '2', 'memory': '4Gi', 'pods': '10', 'alkaid.io/vm-nic-slots': '2'}"
#define LARGE "{'cpu': '8', 'memory': '32Gi', 'pods': '10', 'alkaid.io/vm-nic-slots': '64'}"

/* What is requested is reserved until the pod has gone or ended; the node with most left comes first. */
static void test_room(void **state)
{
        struct world *w = *state;

        node_with(w, "large", LARGE, "{}");
        node_with(w, "small", SMALL, "{}");
        pod_that(w, "a", "{'cpu': '1', 'memory': '1Gi'}", "");
        assert_string_equal(node_of(w, "a"), "large");
        pod_that(w, "b", "{'cpu': '7', 'memory': '1Gi'}", "");
        assert_string_equal(node_of(w, "b"), "large");
        pod_that(w, "c", "{'cpu': '500m', 'memory': '3Gi'}", "");
        assert_string_equal(node_of(w, "c"), "small");
        pod_that(w, "d", "{'cpu': '1', 'memory': '2Gi'}", "");
        assert_string_equal(why_not(w, "d"),
                            "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory");
        /* Nothing requested: nothing reserved, whatever the limits. */
        pod_that(w, "e", "{}", "");
        assert_string_not_equal(node_of(w, "e"), "");
        assert_int_equal(w_delete(w, &api_kind_pod, "a", "{'gracePeriodSeconds': 0}"), 200);
        assert_string_equal(node_of(w, "d"), "large");
        pod_that(w, "f", "{'cpu': '7'}", "");
        assert_string_equal(why_not(w, "f"), "0/2 nodes are available: 2 Insufficient cpu");
        assert_int_equal(w_patch_status(w, &api_kind_pod, "b", "{'status': {'phase': 'Succeeded'}}"), 200);
        assert_string_equal(node_of(w, "f"), "large");
}

static void test_why_not(void **state)
{
        struct world *w = *state;

        pod_that(w, "p", "{}", "");
        assert_string_equal(why_not(w, "p"), "0/0 nodes are available: none has registered");
        node_with(w, "a", LARGE, "{'unschedulable': true}");
        node_with(w, "b", LARGE, "{'taints': [{'key': 'k', 'value': 'v', 'effect': 'NoSchedule'}]}");
        node_with(w, "c", "{'alkaid.io/vm-nic-slots': '1'}", "{}");
        assert_int_equal(w_create(w, &api_kind_node, "{'metadata': {'name': 'd'}}"), 201);
        assert_string_equal(
            why_not(w, "p"),
            "0/4 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable, 1 "
            "node(s) had untolerated taint(s), 1 node(s) had too few NIC slots");
        assert_int_equal(w_list(w, &api_kind_event, NULL, "reason=FailedScheduling,involvedObject.name=p"),
                         200);
        assert_true(json_array_size(json_object_get(w->last.object, "items")) >= 2);
        pod_that(w, "q", "{}", ", 'nodeSelector': {'disk': 'none'}");
        assert_non_null(strstr(why_not(w, "q"), "didn't match Pod's node affinity/selector"));
        pod_that(w, "r", "{}",
                 ", 'tolerations': [{'key': 'k', 'operator': 'Exists', 'effect': 'NoSchedule'}]");
        assert_string_equal(node_of(w, "r"), "b");
        pod_that(w, "s", "{}", ", 'tolerations': [{'key': 'k', 'value': 'other'}]");
        assert_string_equal(node_of(w, "s"), "");
        /* kubectl uncordon */
        assert_int_equal(
            w_patch(w, &api_kind_node, "a", API_PATCH_MERGE, "{'spec': {'unschedulable': null}}"), 200);
        assert_string_equal(node_of(w, "p"), "a");
        assert_string_equal(node_of(w, "s"), "a");
        assert_string_equal(node_of(w, "q"), "");
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            T(test_silence), T(test_leases_count), T(test_nobody_looked),
            T(test_table),   T(test_room),         T(test_why_not),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
