/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to what: owners that go, that leave theirs behind, that wait for them. */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/test_core_util.h"

static int owned_event(struct world *w, const char *name, const char *owners)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(
            asprintf(
                &body,
                "{'metadata': {'name': '%s', 'ownerReferences': [%s]}, 'involvedObject': {'kind': 'Pod'}}",
                name, owners) > 0);
        return w_create(w, &api_kind_event, body);
}

static void owner(struct world *w, const char *name, char out[200])
{
        assert_int_equal(owned_event(w, name, ""), 201);
        (void)snprintf(out, 200, "{'apiVersion': 'v1', 'kind': 'Event', 'name': '%s', 'uid': '%s'}", name,
                       w_text(w, "metadata.uid"));
}

/* What belongs to an object goes with it, with the last owner, down to the end of a long chain. */
static void test_owners(void **state)
{
        struct world *w = *state;
        char a[200], b[200], both[402], name[20];

        owner(w, "a", a);
        owner(w, "b", b);
        (void)snprintf(both, sizeof(both), "%s, %s", a, b);
        assert_int_equal(owned_event(w, "of-a", a), 201);
        assert_int_equal(owned_event(w, "of-both", both), 201);
        assert_int_equal(w_delete(w, &api_kind_event, "a", NULL), 200);
        assert_int_equal(w_get(w, &api_kind_event, "of-a"), 404);
        assert_int_equal(w_get(w, &api_kind_event, "of-both"), 200);
        assert_int_equal(json_array_size(api_at(w->last.object, "metadata.ownerReferences")), 1);
        assert_int_equal(owned_event(w, "orphan", b), 201);
        w->request.dry_run = true;
        assert_int_equal(w_delete(w, &api_kind_event, "b", NULL), 200);
        assert_int_equal(w_get(w, &api_kind_event, "of-both"), 200);
        assert_int_equal(w_delete(w, &api_kind_event, "b", "{'propagationPolicy': 'Orphan'}"), 200);
        assert_int_equal(w_get(w, &api_kind_event, "orphan"), 200);
        assert_null(api_at(w->last.object, "metadata.ownerReferences"));
        owner(w, "chain-0", a);
        for (int i = 1; i < 2000; i++) {
                (void)snprintf(name, sizeof(name), "chain-%d", i);
                assert_int_equal(owned_event(w, name, a), 201);
                (void)snprintf(a, sizeof(a),
                               "{'apiVersion': 'v1', 'kind': 'Event', 'name': '%s', 'uid': '%s'}", name,
                               w_text(w, "metadata.uid"));
        }
        assert_int_equal(w_delete(w, &api_kind_event, "chain-0", NULL), 200);
        assert_int_equal(w->last.change_count, 2000);
        assert_int_equal(w_get(w, &api_kind_event, "chain-1999"), 404);
}

/* ---- Foreground ---- */

#define FOREGROUND "{'propagationPolicy': 'Foreground'}"

static int finalizers(struct world *w, const char *name, const char *list)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body, "{'metadata': {'finalizers': %s}}", list) > 0);
        return w_patch(w, &api_kind_event, name, API_PATCH_MERGE, body);
}

/* An event that `owner` waits for, held by a finalizer of somebody's. */
static void held_event(struct world *w, const char *name, const char *owner_reference, bool blocks)
{
        AK_AUTOFREE char *reference = NULL;
        size_t len = strlen(owner_reference) - 1; /* without its brace */

        assert_true(asprintf(&reference, "%.*s, 'blockOwnerDeletion': %s}", (int)len, owner_reference,
                             blocks ? "true" : "false") > 0);
        assert_int_equal(owned_event(w, name, reference), 201);
        assert_int_equal(finalizers(w, name, "['a/b']"), 200);
}

static bool waits(struct world *w, const char *name)
{
        const json_t *object = w_stored(w, &api_kind_event, name);
        const json_t *first = json_array_get(api_at(object, "metadata.finalizers"), 0);

        return object && api_is_deleting(object) && first &&
               strcmp(json_string_value(first), "foregroundDeletion") == 0;
}

/* The owner is there, marked, until the last dependent that blocks is gone; its DELETED event is the last. */
static void test_foreground(void **state)
{
        struct world *w = *state;
        char a[200];

        owner(w, "a", a);
        held_event(w, "of-a", a, true);
        held_event(w, "free", a, false);
        assert_int_equal(owned_event(w, "quick", a), 201);
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        assert_true(waits(w, "a"));
        assert_null(w_stored(w, &api_kind_event, "quick"));
        assert_true(api_is_deleting(w_stored(w, &api_kind_event, "of-a")));
        assert_true(api_is_deleting(w_stored(w, &api_kind_event, "free")));
        /* Again, by whatever way but Background, changes nothing. */
        assert_int_equal(w_delete(w, &api_kind_event, "a", NULL), 200);
        assert_int_equal(w->last.change_count, 0);
        assert_int_equal(finalizers(w, "of-a", "[]"), 200);
        assert_null(w_stored(w, &api_kind_event, "of-a"));
        assert_null(w_stored(w, &api_kind_event, "a"));
        assert_int_equal(w->last.changes[w->last.change_count - 1].type, API_DELETED);
        assert_string_equal(api_name(w->last.changes[w->last.change_count - 1].object), "a");
        /* It did not block; it goes in its own time. */
        assert_true(api_is_deleting(w_stored(w, &api_kind_event, "free")));
        assert_int_equal(finalizers(w, "free", "[]"), 200);
        assert_null(w_stored(w, &api_kind_event, "free"));
}

/* Without dependents there is nothing to wait for; a dry run leaves no trace. */
static void test_foreground_alone(void **state)
{
        struct world *w = *state;
        char a[200];

        owner(w, "alone", a);
        assert_int_equal(w_delete(w, &api_kind_event, "alone", FOREGROUND), 200);
        assert_int_equal(w->last.change_count, 1);
        assert_null(w_stored(w, &api_kind_event, "alone"));
        owner(w, "a", a);
        held_event(w, "of-a", a, true);
        w->request.dry_run = true;
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        assert_false(waits(w, "a"));
        assert_false(api_is_deleting(w_stored(w, &api_kind_event, "of-a")));
        assert_int_equal(w_tick(w), 0);
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        w->request.dry_run = true;
        assert_int_equal(finalizers(w, "of-a", "[]"), 200);
        assert_true(waits(w, "a"));
        /* Who waits may be told not to. */
        assert_int_equal(w_delete(w, &api_kind_event, "a", "{'propagationPolicy': 'Background'}"), 200);
        assert_null(w_stored(w, &api_kind_event, "a"));
}

/* Down the whole chain, from its end; with another owner a dependent stays and is no obstacle. */
static void test_foreground_chain(void **state)
{
        struct world *w = *state;
        char a[200], b[200], c[200], both[440];

        owner(w, "a", a);
        owner(w, "other", b);
        (void)snprintf(both, sizeof(both), "%.*s, 'blockOwnerDeletion': true}, %s", (int)strlen(a) - 1, a, b);
        assert_int_equal(owned_event(w, "shared", both), 201);
        held_event(w, "child", a, true);
        assert_int_equal(finalizers(w, "child", "[]"), 200);
        (void)snprintf(c, sizeof(c), "{'apiVersion': 'v1', 'kind': 'Event', 'name': 'child', 'uid': '%s'}",
                       api_uid(w_stored(w, &api_kind_event, "child")));
        held_event(w, "grandchild", c, true);
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        assert_true(waits(w, "a"));
        assert_true(waits(w, "child"));
        assert_int_equal(
            json_array_size(api_at(w_stored(w, &api_kind_event, "shared"), "metadata.ownerReferences")), 1);
        assert_int_equal(finalizers(w, "grandchild", "[]"), 200);
        assert_null(w_stored(w, &api_kind_event, "child"));
        assert_null(w_stored(w, &api_kind_event, "a"));
        assert_non_null(w_stored(w, &api_kind_event, "shared"));
        assert_int_equal(w_delete(w, &api_kind_event, "other", NULL), 200);
        assert_null(w_stored(w, &api_kind_event, "shared"));
}

/* Two that own each other do not wait for each other. */
static void test_foreground_circle(void **state)
{
        struct world *w = *state;
        AK_AUTOFREE char *patch = NULL;
        char a[200];

        owner(w, "a", a);
        held_event(w, "b", a, true);
        assert_int_equal(finalizers(w, "b", "[]"), 200);
        assert_true(
            asprintf(&patch,
                     "{'metadata': {'ownerReferences': [{'apiVersion': 'v1', 'kind': 'Event', 'name': "
                     "'b', 'uid': '%s', 'blockOwnerDeletion': true}]}}",
                     api_uid(w_stored(w, &api_kind_event, "b"))) > 0);
        assert_int_equal(w_patch(w, &api_kind_event, "a", API_PATCH_MERGE, patch), 200);
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        assert_null(w_stored(w, &api_kind_event, "b"));
        assert_null(w_stored(w, &api_kind_event, "a"));
}

/* What comes too late to the owner that waits goes, too; nobody can hold it anew. */
static void test_foreground_late(void **state)
{
        struct world *w = *state;
        char a[200];

        owner(w, "a", a);
        held_event(w, "of-a", a, true);
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        assert_int_equal(owned_event(w, "late", a), 201);
        assert_null(w_stored(w, &api_kind_event, "late"));
        assert_int_equal(finalizers(w, "a", "['foregroundDeletion', 'c/d']"), 422);
        assert_cause(w, "metadata.finalizers", "no new finalizers can be added");
        /* By hand: as kube, it goes then and there. */
        assert_int_equal(finalizers(w, "a", "[]"), 200);
        assert_null(w_stored(w, &api_kind_event, "a"));
        assert_true(api_is_deleting(w_stored(w, &api_kind_event, "of-a")));
}

/* The older form, and finalizers that somebody else put there; Orphan does not wait for what holds the owner.
 */
static void test_orphan(void **state)
{
        struct world *w = *state;
        char a[200];

        owner(w, "a", a);
        assert_int_equal(owned_event(w, "of-a", a), 201);
        assert_int_equal(finalizers(w, "a", "['a/b']"), 200);
        assert_int_equal(w_delete(w, &api_kind_event, "a", "{'orphanDependents': true}"), 200);
        assert_true(api_is_deleting(w_stored(w, &api_kind_event, "a")));
        assert_null(api_at(w_stored(w, &api_kind_event, "of-a"), "metadata.ownerReferences"));
        assert_int_equal(finalizers(w, "a", "[]"), 200);
        assert_null(w_stored(w, &api_kind_event, "a"));
        assert_non_null(w_stored(w, &api_kind_event, "of-a"));
        owner(w, "b", a);
        assert_int_equal(owned_event(w, "of-b", a), 201);
        assert_int_equal(finalizers(w, "b", "['orphan']"), 200);
        assert_int_equal(w_delete(w, &api_kind_event, "b", NULL), 200);
        assert_null(w_stored(w, &api_kind_event, "b"));
        assert_non_null(w_stored(w, &api_kind_event, "of-b"));
        owner(w, "c", a);
        assert_int_equal(owned_event(w, "of-c", a), 201);
        assert_int_equal(finalizers(w, "c", "['orphan']"), 200);
        assert_int_equal(w_delete(w, &api_kind_event, "c", "{'orphanDependents': false}"), 200);
        assert_null(w_stored(w, &api_kind_event, "c"));
        assert_null(w_stored(w, &api_kind_event, "of-c"));
}

/* A pod waits for its VM and for the ports of its NICs, in whatever order they go. */
static void pod_waits(struct world *w, bool ports_first)
{
        char port[AK_UUID_SIZE];

        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        (void)w_tick(w);
        (void)snprintf(port, sizeof(port), "%s", api_name(w_port(w, "p", "eth0")));
        assert_true(
            json_is_true(api_at(json_array_get(api_at(w_port(w, "p", "eth0"), "metadata.ownerReferences"), 0),
                                "blockOwnerDeletion")));
        assert_int_equal(w_delete(w, &api_kind_pod, "p", FOREGROUND), 200);
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.deletionGracePeriodSeconds")),
                         30);
        if (ports_first) {
                assert_int_equal(w_released(w, port), 200);
                assert_non_null(w_stored(w, &api_kind_pod, "p"));
        }
        assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'gracePeriodSeconds': 0}"), 200);
        if (!ports_first) {
                assert_non_null(w_stored(w, &api_kind_pod, "p"));
                assert_int_equal(w_delete(w, &api_kind_pod, "p", "{'gracePeriodSeconds': 0}"), 200);
                assert_int_equal(w->last.change_count, 0);
                assert_int_equal(w_released(w, port), 200);
        }
        assert_null(w_stored(w, &api_kind_port, port));
        assert_null(w_stored(w, &api_kind_pod, "p"));
}

static void test_foreground_pod(void **state)
{
        struct world *w = *state;

        w_node(w, "node1");
        pod_waits(w, true);
        pod_waits(w, false);
}

/* A VPC in use refuses to go with its owner; it goes once it is free. */
static void refused(struct world *w, const char *options)
{
        AK_AUTOFREE char *body = NULL;
        char a[200], port[AK_UUID_SIZE];

        owner(w, "a", a);
        assert_true(asprintf(&body,
                             "{'metadata': {'name': 'v', 'ownerReferences': [%.*s, 'blockOwnerDeletion': "
                             "true}]}, 'spec': {'cidr': '10.0.0.0/16'}}",
                             (int)strlen(a) - 1, a) > 0);
        assert_int_equal(w_create(w, &api_kind_vpc, body), 201);
        assert_int_equal(w_create(w, &api_kind_subnet,
                                  "{'metadata': {'name': 's'}, 'spec': {'vpc': 'v', 'cidr': '10.0.1.0/24'}}"),
                         201);
        assert_int_equal(w_create(w, &api_kind_port, "{'spec': {'vpc': 'v', 'subnet': 's'}}"), 201);
        (void)snprintf(port, sizeof(port), "%s", w_text(w, "metadata.name"));
        assert_int_equal(w_delete(w, &api_kind_event, "a", options), 200);
        assert_non_null(w_stored(w, &api_kind_vpc, "v"));
        assert_int_equal(w_delete(w, &api_kind_port, port, NULL), 200);
        assert_int_equal(w_delete(w, &api_kind_subnet, "s", NULL), 200);
        assert_non_null(w_stored(w, &api_kind_vpc, "v"));
        w->now_us += 6 * 1000 * 1000;
        (void)w_tick(w);
        assert_null(w_stored(w, &api_kind_vpc, "v"));
        assert_null(w_stored(w, &api_kind_event, "a"));
        w->now_us += 6 * 1000 * 1000;
        assert_int_equal(w_tick(w), 0);
}

static void test_refusal_is_asked_again(void **state)
{
        (void)w_tick(*state);
        refused(*state, NULL);
        refused(*state, FOREGROUND);
}

/* A namespace that somebody holds is emptied, and stays until it is let go. */
static void test_held_namespace(void **state)
{
        struct world *w = *state;

        assert_int_equal(
            w_create(w, &api_kind_namespace, "{'metadata': {'name': 'team', 'finalizers': ['a/b']}}"), 201);
        assert_int_equal(w_patch(w, &api_kind_namespace, "team", API_PATCH_MERGE, "{'spec': null}"), 200);
        assert_int_equal(json_array_size(api_at(w->last.object, "spec.finalizers")), 1);
        assert_int_equal(w_delete(w, &api_kind_namespace, "team", NULL), 200);
        (void)w_tick(w);
        assert_int_equal(
            json_array_size(api_at(api_find(w->core, &api_kind_namespace, "", "team"), "spec.finalizers")),
            0);
        assert_int_equal(w_tick(w), 0);
        assert_int_equal(
            w_patch(w, &api_kind_namespace, "team", API_PATCH_MERGE, "{'metadata': {'finalizers': []}}"),
            200);
        assert_null(api_find(w->core, &api_kind_namespace, "", "team"));
}

/* What waits goes on waiting in a server that starts anew. */
static void test_foreground_reload(void **state)
{
        struct world *w = *state, again = {.now_us = w->now_us};
        struct api_result started;
        char a[200];

        owner(w, "a", a);
        held_event(w, "of-a", a, true);
        assert_int_equal(w_delete(w, &api_kind_event, "a", FOREGROUND), 200);
        assert_int_equal(api_core_new(&again.core, &world_config), 0);
        for (size_t k = 0; k < api_kind_count; k++) {
                const struct api_table_of_kind *t = api_objects(w->core, api_kinds[k]);
                for (size_t i = 0; i < t->count; i++)
                        assert_int_equal(api_core_load(again.core, api_kinds[k],
                                                       api_tree(w->core, &t->items[i]),
                                                       t->items[i].image->resource_version),
                                         0);
        }
        assert_int_equal(api_core_start(again.core, again.now_us, &started), 0);
        api_result_deinit(&started);
        (void)w_tick(&again);
        assert_true(waits(&again, "a"));
        assert_int_equal(finalizers(&again, "of-a", "[]"), 200);
        assert_null(w_stored(&again, &api_kind_event, "a"));
        world_deinit(&again);
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            T(test_owners),           T(test_foreground),        T(test_foreground_alone),
            T(test_foreground_chain), T(test_foreground_circle), T(test_foreground_late),
            T(test_orphan),           T(test_foreground_pod),    T(test_refusal_is_asked_again),
            T(test_held_namespace),   T(test_foreground_reload),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
