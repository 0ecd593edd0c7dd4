/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, selectors, tables; and what happens by itself: scheduling, old events. */
#include "services/apiserver/test_core_util.h"

#include <string.h>

static bool selects(const struct api_kind *kind, const char *labels, const char *fields, const char *object)
{
        AK_CLEANUP(api_selector_freep) struct api_selector *s = NULL;
        json_t *json = json_of("%s", object);
        char error[256] = "";
        bool matches;

        if (api_selector_new(&s, kind, labels, fields, error) < 0)
                fail_msg("%s %s: %s", labels ? labels : "", fields ? fields : "", error);
        matches = api_selector_matches(s, json);
        json_decref(json);
        return matches;
}

static void test_label_selectors(void **state)
{
        static const struct {
                const char *selector;
                bool matches;
        } cases[] = {
            {"", true},
            {"app=web", true},
            {"app==web", true},
            {"app = web", true},
            {"app=db", false},
            {"app!=db", true},
            {"app!=web", false},
            {"none!=web", true},
            {"app", true},
            {"none", false},
            {"!none", true},
            {"!app", false},
            {"app in (db,web)", true},
            {"app in (db, cache)", false},
            {"app notin (db, cache)", true},
            {"app notin (web)", false},
            {"none notin (web)", true},
            {"none in (web)", false},
            {"app=web,tier=1", true},
            {"app=web,tier=2", false},
            {"app in (web),tier notin (2),!none", true},
            {"x/y.z-1=v", true},
            {"empty=", true},
            {"empty in ()", true},
            {"app=", false},
            {"inside=1", false},
            {"notinside", false},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++)
                if (selects(&api_kind_pod, cases[i].selector, NULL,
                            "{'metadata': {'labels': {'app': 'web', 'tier': '1', 'x/y.z-1': 'v', 'empty': "
                            "''}}}") != cases[i].matches)
                        fail_msg("%s", cases[i].selector);
        assert_true(selects(&api_kind_pod, "!a,b!=c", NULL, "{}"));
}

static void test_field_selectors(void **state)
{
        static const char *const pod =
            "{'metadata': {'name': 'p', 'namespace': 'default'}, 'spec': {'nodeName': "
            "'n1'}, 'status': {'phase': 'Running'}}";
        static const char *const event = "{'involvedObject': {'kind': 'Pod', 'name': 'p', 'uid': 'u', "
                                         "'namespace': 'default'}, 'type': 'Normal', "
                                         "'reason': 'Scheduled', 'source': {'component': 'x'}}";

        (void)state;
        assert_true(selects(&api_kind_pod, NULL, "spec.nodeName=n1", pod));
        assert_false(selects(&api_kind_pod, NULL, "spec.nodeName=n2", pod));
        assert_true(selects(&api_kind_pod, NULL, "spec.nodeName!=n2,status.phase=Running", pod));
        assert_true(selects(&api_kind_pod, NULL, "metadata.name=p,metadata.namespace=default", pod));
        assert_true(selects(&api_kind_pod, NULL, "spec.nodeName=", "{}"));
        assert_false(selects(&api_kind_pod, NULL, "spec.nodeName=", pod));
        assert_true(selects(&api_kind_event, NULL,
                            "involvedObject.kind=Pod,involvedObject.name=p,involvedObject.namespace=default,"
                            "involvedObject.uid=u,type=Normal,reason=Scheduled,source=x",
                            event));
        assert_false(selects(&api_kind_event, NULL, "involvedObject.name=q", event));
        assert_true(selects(&api_kind_node, NULL, "spec.unschedulable=false", "{}"));
        assert_true(
            selects(&api_kind_node, NULL, "spec.unschedulable=true", "{'spec': {'unschedulable': true}}"));
        assert_true(selects(&api_kind_port, NULL, "spec.nodeName=n1", "{'spec': {'nodeName': 'n1'}}"));
        assert_true(selects(&api_kind_pod, NULL, "spec.nodeName in (n1,n2)", pod));
        assert_true(selects(&api_kind_pod, NULL, "spec.nodeName in (n1),metadata.name in ( p , q )", pod));
        assert_false(selects(&api_kind_pod, NULL, "spec.nodeName in (n1),metadata.name=q", pod));
        assert_false(selects(&api_kind_pod, NULL, "spec.nodeName in (n2,n3)", pod));
        assert_true(selects(&api_kind_pod, NULL, "spec.nodeName notin (n2,n3)", pod));
        assert_false(selects(&api_kind_pod, NULL, "spec.nodeName notin (n1)", pod));
        assert_false(selects(&api_kind_pod, NULL, "spec.nodeName in ()", pod));
        assert_true(selects(&api_kind_port, NULL, "status.vpcID in (a,b)", "{'status': {'vpcID': 'b'}}"));
}

/* "a b", the names of what is listed, whatever it was found by. */
static void assert_listed(struct world *w, const struct api_kind *kind, const char *fields, const char *names)
{
        char found[400] = "";
        json_t *item;
        size_t i;

        assert_int_equal(w_list(w, kind, NULL, fields), 200);
        json_array_foreach(json_object_get(w->last.object, "items"), i, item)
        {
                size_t len = strlen(found);

                (void)snprintf(found + len, sizeof(found) - len, "%s%s", i ? " " : "", api_name(item));
        }
        assert_string_equal(found, names);
}

static void pod_on(struct world *w, const char *name, const char *node)
{
        char body[400];

        (void)snprintf(body, sizeof(body),
                       "{'metadata': {'name': '%s'}, 'spec': {'nodeName': '%s', 'vpc': 'v', 'nics': "
                       "[{'name': 'eth0'}], 'virtualMachine': {'name': 'vm', 'image': 'x.test/vm.img'}}}",
                       name, node);
        assert_int_equal(w_create(w, &api_kind_pod, body), 201);
}

/* What is found by a field follows the objects: they come, are bound, go. */
static void test_objects_are_found_by_fields(void **state)
{
        struct world *w = *state;

        assert_int_equal(w_pod(w, "c", "eth0"), 201);
        assert_listed(w, &api_kind_pod, "spec.nodeName=n1", "");
        pod_on(w, "a", "n1");
        pod_on(w, "b", "n2");
        assert_listed(w, &api_kind_pod, "spec.nodeName=", "c"); /* in no bucket */
        w_node(w, "n1");
        (void)w_tick(w); /* binds the one that waits */
        assert_listed(w, &api_kind_pod, "spec.nodeName=n1", "a c");
        assert_listed(w, &api_kind_pod, "spec.nodeName in (n1,n2,n3)", "a b c");
        assert_listed(w, &api_kind_pod, "spec.nodeName in (n1,n2),metadata.name!=c", "a b");
        assert_listed(w, &api_kind_pod, "spec.nodeName in (n2,)", "b");
        w->request.limit = 1;
        assert_listed(w, &api_kind_pod, "spec.nodeName=n1", "a");
        char *token = strdup(w_text(w, "metadata.continue"));
        assert_int_equal(json_integer_value(api_at(w->last.object, "metadata.remainingItemCount")), 1);
        w->request.limit = 1;
        w->request.continue_token = token;
        assert_listed(w, &api_kind_pod, "spec.nodeName=n1", "c");
        free(token);
        assert_int_equal(w_delete(w, &api_kind_pod, "a", "{'gracePeriodSeconds': 0}"), 200);
        assert_listed(w, &api_kind_pod, "spec.nodeName=n1", "c");
}

/* From wherever one may start, the place is the one that a search of the whole table finds. */
static void test_a_search_may_go_on_from_the_last_place(void **state)
{
        enum { KEYS = 40 };
        char keys[KEYS][8], wanted[8];
        struct api_object items[KEYS];

        (void)state;
        for (int i = 0; i < KEYS; i++) {
                (void)snprintf(keys[i], sizeof(keys[i]), "a/%02d", 2 * i + 1);
                items[i] = (struct api_object){.key = keys[i]};
        }
        for (size_t count = 0; count <= KEYS; count++) {
                struct api_table_of_kind t = {.items = items, .count = count};

                for (int i = 0; i <= 2 * KEYS + 1; i++) {
                        (void)snprintf(wanted, sizeof(wanted), "a/%02d", i);
                        size_t place = api_lower_bound(&t, wanted);
                        for (size_t from = 0; from <= place; from++)
                                assert_int_equal(api_lower_bound_from(&t, from, wanted), place);
                }
        }
}

/* A node may look at the ports of a VPC while it has one of them. */
static void test_vpcs_on_nodes(void **state)
{
        struct world *w = *state;
        char vpc[64], both[160];

        pod_on(w, "a", "n1");
        (void)snprintf(vpc, sizeof(vpc), "%s", api_text(w_port(w, "a", "eth0"), "status.vpcID"));
        assert_true(api_core_vpc_on_node(w->core, vpc, "n1"));
        assert_false(api_core_vpc_on_node(w->core, vpc, "n2"));
        assert_false(api_core_vpc_on_node(w->core, "another", "n1"));
        (void)snprintf(both, sizeof(both), "status.vpcID in (%s)", vpc);
        assert_true(api_core_vpcs_on_node(w->core, both, "n1"));
        assert_false(api_core_vpcs_on_node(w->core, both, "n2"));
        (void)snprintf(both, sizeof(both), "status.vpcID in (%s,another)", vpc);
        assert_false(api_core_vpcs_on_node(w->core, both, "n1"));
        (void)snprintf(both, sizeof(both), "status.vpcID!=%s", vpc);
        assert_false(api_core_vpcs_on_node(w->core, both, "n1"));
        assert_false(api_core_vpcs_on_node(w->core, "status.vpcID in ()", "n1"));
        assert_false(api_core_vpcs_on_node(w->core, "", "n1"));
        assert_false(api_core_vpcs_on_node(w->core, NULL, "n1"));
        assert_false(api_core_vpcs_on_node(w->core, "status.vpcID in (", "n1"));
        char port[64];
        (void)snprintf(port, sizeof(port), "%s", api_name(w_port(w, "a", "eth0")));
        assert_int_equal(w_delete(w, &api_kind_pod, "a", "{'gracePeriodSeconds': 0}"), 200);
        assert_true(api_core_vpc_on_node(w->core, vpc, "n1")); /* until it has let go */
        assert_int_equal(w_released(w, port), 200);
        assert_false(api_core_vpc_on_node(w->core, vpc, "n1"));
}

static void test_bad_selectors(void **state)
{
        static const char *const labels[] = {"=",       "app=web,,b", ",",      "app in", "app in (a",
                                             "(a)",     "a b",        "a=b=c",  "!",      "app in a,b)",
                                             "a>1",     "app notin",  "a!=b c", "a=b)",   "-x=1",
                                             "a/b/c=1", "a=-b",       "a=b!"};
        static const char *const fields[] = {"spec.image=x",
                                             "status.podIPs=1",
                                             "metadata.name",
                                             "metadata.name>1",
                                             "=",
                                             "a.b in (c)",
                                             "spec..x=1",
                                             "metadata.labels=x",
                                             "metadata.name in",
                                             "metadata.name in (a",
                                             "metadata.name notin a)"};
        struct api_selector *s = NULL;
        char error[256], *lengthy = malloc(20000);

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(labels); i++) {
                error[0] = '\0';
                if (api_selector_new(&s, &api_kind_pod, labels[i], NULL, error) != -EINVAL || !error[0])
                        fail_msg("\"%s\" was accepted", labels[i]);
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(fields); i++) {
                error[0] = '\0';
                if (api_selector_new(&s, &api_kind_pod, NULL, fields[i], error) != -EINVAL || !error[0])
                        fail_msg("\"%s\" was accepted", fields[i]);
        }
        assert_int_equal(api_selector_new(&s, &api_kind_pod, NULL, "spec.image=x", error), -EINVAL);
        assert_string_equal(error, "field label not supported: spec.image");
        memset(lengthy, 'a', 19999);
        lengthy[19999] = '\0';
        assert_int_equal(api_selector_new(&s, &api_kind_pod, lengthy, NULL, error), -EINVAL);
        free(lengthy);
}

static void test_lists(void **state)
{
        struct world *w = *state;
        static const char *const names[] = {"c", "a", "d", "b", "e"};
        char token[600] = "", seen[64] = "";
        int pages = 0;

        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++)
                assert_int_equal(w_pod(w, names[i], "eth0"), 201);
        assert_int_equal(w_list(w, &api_kind_pod, NULL, NULL), 200);
        assert_string_equal(w_text(w, "kind"), "PodList");
        assert_string_equal(w_text(w, "apiVersion"), "v1");
        assert_int_equal(strtoull(w_text(w, "metadata.resourceVersion"), NULL, 10),
                         api_core_resource_version(w->core));
        assert_int_equal(json_array_size(json_object_get(w->last.object, "items")), 5);
        do {
                json_t *item;
                size_t i;

                w->request.limit = 2;
                w->request.continue_token = token;
                assert_int_equal(w_list(w, &api_kind_pod, NULL, NULL), 200);
                json_array_foreach(json_object_get(w->last.object, "items"), i, item)
                {
                        strncat(seen, api_name(item), sizeof(seen) - strlen(seen) - 1);
                }
                (void)snprintf(token, sizeof(token), "%s", w_text(w, "metadata.continue"));
                if (pages == 0) {
                        assert_int_equal(
                            json_integer_value(api_at(w->last.object, "metadata.remainingItemCount")), 3);
                        assert_int_equal(w_delete(w, &api_kind_pod, "c", NULL), 200); /* between two pages */
                }
                pages++;
        } while (*token && pages < 10);
        assert_string_equal(seen, "abde");

        w->request.name_space = "kube-system";
        assert_int_equal(w_list(w, &api_kind_pod, NULL, NULL), 200);
        assert_int_equal(json_array_size(json_object_get(w->last.object, "items")), 0);
        w->request.name_space = "";
        assert_int_equal(w_list(w, &api_kind_pod, NULL, "metadata.name=d"), 200);
        assert_int_equal(json_array_size(json_object_get(w->last.object, "items")), 1);
        assert_int_equal(w_list(w, &api_kind_pod, NULL, "spec.foo=d"), 400);
        assert_string_equal(w_message(w), "field label not supported: spec.foo");
        w->request.continue_token = "rubbish";
        assert_int_equal(w_list(w, &api_kind_pod, NULL, NULL), 400);
        /* A token of a revision that the store has not reached: another store's. */
        w->request.continue_token = "v1:999999999:default/a";
        assert_int_equal(w_list(w, &api_kind_pod, NULL, NULL), 410);
        assert_string_equal(w_text(w, "reason"), "Expired");
}

static const char *cell(const json_t *table, size_t row, const char *column)
{
        json_t *c, *cells = json_object_get(json_array_get(json_object_get(table, "rows"), row), "cells");
        size_t i;

        json_array_foreach(json_object_get(table, "columnDefinitions"), i, c)
        {
                if (strcasecmp(api_text(c, "name"), column) == 0)
                        return json_string_value(json_array_get(cells, i));
        }
        return NULL;
}

/* Every kind, also an object with nothing in it: as many cells as columns. */
static void test_tables_are_whole(void **state)
{
        json_t *empty = json_of("{'metadata': {'name': 'x'}}");

        (void)state;
        for (size_t k = 0; k < api_kind_count; k++) {
                json_t *table = api_table(api_kinds[k], empty, "None", WORLD_START_US), *row;

                assert_string_equal(api_text(table, "kind"), "Table");
                row = json_array_get(json_object_get(table, "rows"), 0);
                assert_int_equal(json_array_size(json_object_get(row, "cells")), api_kinds[k]->column_count);
                assert_int_equal(json_array_size(json_object_get(table, "columnDefinitions")),
                                 api_kinds[k]->column_count);
                assert_null(json_object_get(row, "object"));
                assert_string_equal(cell(table, 0, "Name"), "x");
                json_decref(table);
        }
        json_decref(empty);
}

static void test_pod_table(void **state)
{
        struct world *w = *state;
        json_t *table;
        char body[512];

        w_node(w, "node1");
        assert_int_equal(w_pod(w, "p", "eth0 eth1"), 201);
        (void)w_tick(w);
        (void)snprintf(
            body, sizeof(body),
            "{'status': {'phase': 'Running', 'nicStatuses': [{'name': 'eth0', 'portID': '%s', 'state': "
            "'Ready', 'ipAddresses': ['10.200.0.2']}]}}",
            api_name(w_port(w, "p", "eth0")));
        assert_int_equal(w_patch_status(w, &api_kind_pod, "p", body), 200);
        assert_int_equal(w_list(w, &api_kind_pod, NULL, NULL), 200);
        table = api_table(&api_kind_pod, w->last.object, "Metadata", w->now_us + 90 * UINT64_C(1000000));
        assert_string_equal(cell(table, 0, "NAME"), "p");
        assert_string_equal(cell(table, 0, "STATUS"), "Running");
        assert_string_equal(cell(table, 0, "NICS"), "1/2");
        assert_string_equal(cell(table, 0, "AGE"), "90s");
        assert_string_equal(cell(table, 0, "NODE"), "node1");
        assert_string_equal(cell(table, 0, "VPC"), "vpcdemo");
        assert_non_null(strstr(cell(table, 0, "ADDRESSES"), "10.200.0.2"));
        assert_string_equal(api_text(table, "metadata.resourceVersion"),
                            w_text(w, "metadata.resourceVersion"));
        json_decref(table);
        assert_int_equal(w_delete(w, &api_kind_pod, "p", NULL), 200);
        table = api_table(&api_kind_pod, w->last.object, "Object", w->now_us);
        assert_string_equal(cell(table, 0, "STATUS"), "Terminating");
        json_t *object = json_object_get(json_array_get(json_object_get(table, "rows"), 0), "object");
        assert_string_equal(api_text(object, "kind"), "Pod");
        json_decref(table);
}

static void test_age(void **state)
{
        static const struct {
                uint64_t seconds;
                const char *text;
        } cases[] = {
            {0, "0s"},     {119, "119s"},   {120, "2m"},   {125, "2m5s"},  {600, "10m"},     {10799, "179m"},
            {10800, "3h"}, {10900, "3h1m"}, {28800, "8h"}, {172800, "2d"}, {187200, "2d4h"}, {691200, "8d"},
        };
        json_t *object = json_of("{'metadata': {'name': 'x', 'creationTimestamp': '2026-01-01T00:00:00Z'}}");

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                json_t *table = api_table(&api_kind_namespace, object, "None",
                                          WORLD_START_US + cases[i].seconds * UINT64_C(1000000));
                assert_string_equal(cell(table, 0, "Age"), cases[i].text);
                json_decref(table);
        }
        json_decref(object);
}

static const char *node_of(struct world *w, const char *pod)
{
        return api_text(w_stored(w, &api_kind_pod, pod), "spec.nodeName");
}

static void test_scheduling(void **state)
{
        struct world *w = *state;
        size_t changes;

        assert_int_equal(w_pod(w, "p0", "eth0"), 201);
        (void)w_tick(w);
        assert_string_equal(node_of(w, "p0"), "");
        const json_t *c = json_array_get(api_at(w_stored(w, &api_kind_pod, "p0"), "status.conditions"), 0);
        assert_string_equal(api_text(c, "type"), "PodScheduled");
        assert_string_equal(api_text(c, "reason"), "Unschedulable");
        assert_int_equal(w_list(w, &api_kind_event, NULL, "reason=FailedScheduling,involvedObject.name=p0"),
                         200);
        assert_int_equal(json_array_size(json_object_get(w->last.object, "items")), 1);
        changes = w_tick(w); /* told once */
        assert_int_equal(changes, 0);

        w_node(w, "node1");
        w_node(w, "node2");
        (void)w_tick(w);
        assert_string_equal(node_of(w, "p0"), "node1");
        assert_string_equal(api_text(w_port(w, "p0", "eth0"), "spec.nodeName"), "node1");
        assert_int_equal(w_list(w, &api_kind_event, NULL, "reason=Scheduled"), 200);
        assert_string_equal(api_text(json_array_get(json_object_get(w->last.object, "items"), 0), "message"),
                            "Successfully assigned default/p0 to node1");
        /* The node with the fewest pods. */
        assert_int_equal(w_pod(w, "p1", "eth0"), 201);
        (void)w_tick(w);
        assert_string_equal(node_of(w, "p1"), "node2");
        assert_int_equal(json_integer_value(api_at(w_stored(w, &api_kind_pod, "p1"), "metadata.generation")),
                         1);
        assert_int_equal(w_tick(w), 0);
}

static void test_pods_are_spread(void **state)
{
        struct world *w = *state;
        char name[16];

        w_node(w, "node1");
        w_node(w, "node2");
        for (int i = 0; i < 4; i++) {
                (void)snprintf(name, sizeof(name), "p%d", i);
                assert_int_equal(w_pod(w, name, "eth0"), 201);
                (void)w_tick(w);
                assert_string_equal(node_of(w, name), i % 2 ? "node2" : "node1");
        }
        /* Two pods of node1 go, a refused and a dry deletion of node2's do not count. */
        assert_int_equal(w_delete(w, &api_kind_pod, "p0", "{'gracePeriodSeconds': 0}"), 200);
        assert_int_equal(w_delete(w, &api_kind_pod, "p2", "{'gracePeriodSeconds': 0}"), 200);
        w->request.dry_run = true;
        assert_int_equal(w_delete(w, &api_kind_pod, "p1", "{'gracePeriodSeconds': 0}"), 200);
        assert_int_equal(w_delete(w, &api_kind_pod, "p3", "{'preconditions': {'uid': 'x'}}"), 409);
        for (int i = 4; i < 6; i++) {
                (void)snprintf(name, sizeof(name), "p%d", i);
                assert_int_equal(w_pod(w, name, "eth0"), 201);
        }
        (void)w_tick(w);
        assert_string_equal(node_of(w, "p4"), "node1");
        assert_string_equal(node_of(w, "p5"), "node1");
}

static int pod_with_spec(struct world *w, const char *name, const char *more)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(
            asprintf(&body,
                     "{'metadata': {'name': '%s'}, 'spec': {%s, 'vpc': 'v', 'nics': [{'name': 'eth0'}], "
                     "'virtualMachine': {'name': 'vm', 'image': 'h/i'}}}",
                     name, more) > 0);
        return w_create(w, &api_kind_pod, body);
}

static void test_nodes_that_do_not_fit(void **state)
{
        struct world *w = *state;

        w_node(w, "cordoned");
        assert_int_equal(
            w_patch(w, &api_kind_node, "cordoned", API_PATCH_STRATEGIC, "{'spec': {'unschedulable': true}}"),
            200);
        assert_int_equal(w_create(w, &api_kind_node,
                                  "{'metadata': {'name': 'unready'}, 'status': {'conditions': "
                                  "[{'type': 'Ready', 'status': 'Unknown'}]}}"),
                         201);
        w_node(w, "tainted");
        assert_int_equal(
            w_patch(w, &api_kind_node, "tainted", API_PATCH_STRATEGIC,
                    "{'spec': {'taints': [{'key': 'k', 'value': 'v', 'effect': 'NoSchedule'}]}}"),
            200);
        assert_int_equal(w_pod(w, "p", "eth0"), 201);
        (void)w_tick(w);
        assert_string_equal(node_of(w, "p"), "");
        assert_int_equal(pod_with_spec(w, "tolerant", "'tolerations': [{'key': 'k', 'operator': 'Exists'}]"),
                         201);
        assert_int_equal(pod_with_spec(w, "picky", "'nodeSelector': {'host': 'good'}"), 201);
        (void)w_tick(w);
        assert_string_equal(node_of(w, "tolerant"), "tainted");
        assert_string_equal(node_of(w, "picky"), "");
        w_node(w, "good");
        (void)w_tick(w);
        assert_string_equal(node_of(w, "picky"), "good");
        assert_string_equal(node_of(w, "p"), "good");
        /* Bound by hand from the start. */
        assert_int_equal(pod_with_spec(w, "pinned", "'nodeName': 'cordoned'"), 201);
        assert_string_equal(api_text(w_port(w, "pinned", "eth0"), "spec.nodeName"), "cordoned");
}

static int event(struct world *w, const char *name)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(asprintf(&body,
                             "{'metadata': {'name': '%s'}, 'involvedObject': {'kind': 'Pod', 'name': 'p', "
                             "'namespace': 'default'}, 'reason': 'R', 'type': 'Normal', 'count': 1}",
                             name) > 0);
        return w_create(w, &api_kind_event, body);
}

static void test_events_go(void **state)
{
        struct world *w = *state;
        uint64_t next;

        assert_int_equal(event(w, "old"), 201);
        w->now_us += 40 * UINT64_C(60000000);
        assert_int_equal(event(w, "young"), 201);
        (void)w_tick(w);
        assert_non_null(w_stored(w, &api_kind_event, "old"));
        api_result_deinit(&w->last);
        w->now_us += 21 * UINT64_C(60000000);
        assert_int_equal(api_core_tick(w->core, w->now_us, &w->last, &next), 0);
        assert_true(next > w->now_us);
        assert_null(w_stored(w, &api_kind_event, "old"));
        assert_non_null(w_stored(w, &api_kind_event, "young"));
        assert_int_equal(w->last.changes[0].type, API_DELETED);
}

static void test_events_are_bounded(void **state)
{
        struct world *w = *state;
        char name[32];

        assert_int_equal(event(w, "zzz-oldest"), 201);
        for (int i = 0; i < 10400; i++) {
                w->now_us += 1000;
                (void)snprintf(name, sizeof(name), "e%05d", i);
                assert_int_equal(event(w, name), 201);
        }
        assert_true(api_objects(w->core, &api_kind_event)->count <= 10401);
        w->now_us += 61 * UINT64_C(1000000);
        (void)w_tick(w);
        assert_true(api_objects(w->core, &api_kind_event)->count <= 10000);
        assert_null(w_stored(w, &api_kind_event, "zzz-oldest"));
        assert_non_null(w_stored(w, &api_kind_event, "e10399"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_label_selectors),
            cmocka_unit_test(test_field_selectors),
            cmocka_unit_test_setup_teardown(test_objects_are_found_by_fields, world_setup, world_teardown),
            cmocka_unit_test(test_a_search_may_go_on_from_the_last_place),
            cmocka_unit_test_setup_teardown(test_vpcs_on_nodes, world_setup, world_teardown),
            cmocka_unit_test(test_bad_selectors),
            T(test_lists),
            cmocka_unit_test(test_tables_are_whole),
            T(test_pod_table),
            cmocka_unit_test(test_age),
            T(test_scheduling),
            T(test_pods_are_spread),
            T(test_nodes_that_do_not_fit),
            T(test_events_go),
            T(test_events_are_bounded),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
