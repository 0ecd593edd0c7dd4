/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API: the real core of the apiserver, and between it and the watcher two watch streams and requests that
 * may be lost, be answered without being carried out, or be carried out without an answer. Also the users.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/core_internal.h"
#include "tests/sim/sim.h"

#define PODS 3

static const struct api_kind *const streamed[2] = {&api_kind_pod, &api_kind_port};

/* ---- watch streams ---- */

static void deliver_object(struct sim *sim, struct sim_task *task)
{
        static const enum watcher_event_type put[] = {WATCHER_EVENT_POD_PUT, WATCHER_EVENT_PORT_PUT};
        static const enum watcher_event_type gone[] = {WATCHER_EVENT_POD_GONE, WATCHER_EVENT_PORT_GONE};
        struct watcher_event e = {.type = task->number ? gone[task->kind] : put[task->kind],
                                  .object = task->json};
        json_t *seen = sim->delivered[task->kind];

        if (!sim->watching || task->number2 != sim->api_epoch)
                return;
        if (task->number)
                (void)json_object_del(seen, task->text);
        else
                (void)json_object_set(seen, task->text, task->json);
        sim_step_watcher(sim, &e);
}

static void deliver_synced(struct sim *sim, struct sim_task *task)
{
        static const enum watcher_event_type synced[] = {WATCHER_EVENT_PODS_SYNCED,
                                                         WATCHER_EVENT_PORTS_SYNCED};

        if (sim->watching && task->number2 == sim->api_epoch)
                sim_step_watcher(sim, &(struct watcher_event){.type = synced[task->kind]});
}

/* Streams keep their order. */
static struct sim_task *stream(struct sim *sim, int which, sim_run_fn run)
{
        uint64_t delay = 300 + sim_draw(sim, 2000);
        struct sim_task *task;

        if (sim_chance(sim, 2))
                delay += sim_draw(sim, SIM_S);
        if (sim->now + delay <= sim->stream_at[which])
                delay = sim->stream_at[which] + 1 - sim->now;
        sim->stream_at[which] = sim->now + delay;
        task = sim_at(sim, delay, SIM_WATCHER, run);
        task->number2 = sim->api_epoch;
        return task;
}

static void stream_object(struct sim *sim, int which, const char *key, json_t *object, bool gone)
{
        struct sim_task *task = stream(sim, which, deliver_object);

        task->kind = which;
        task->json = json_incref(object);
        task->number = gone;
        (void)snprintf(task->text, sizeof(task->text), "%s", key);
}

static bool on_node(const json_t *object)
{
        return strcmp(api_text(object, "spec.nodeName"), SIM_NODE) == 0;
}

static void stream_change(struct sim *sim, const struct api_change *c)
{
        char key[API_KEY_SIZE];

        for (int which = 0; which < 2; which++) {
                bool now = c->type != API_DELETED && on_node(c->object), was = c->old && on_node(c->old);

                if (c->kind != streamed[which] || !sim->watching || (!now && !was))
                        continue;
                api_key(api_namespace(c->object), api_name(c->object), key);
                stream_object(sim, which, key, c->object, !now);
        }
}

void sim_api_list(struct sim *sim)
{
        if (!sim->api_up)
                return; /* the end of the outage lists */
        sim->watching = true;
        for (int which = 0; which < 2; which++) {
                const struct api_table_of_kind *t = api_objects(sim->api, streamed[which]);
                json_t *before = sim->delivered[which], *last;
                const char *key;

                sim->delivered[which] = json_object();
                for (size_t i = 0; i < t->count; i++) {
                        json_t *object = api_tree(sim->api, &t->items[i]);

                        if (!on_node(object))
                                continue;
                        (void)json_object_del(before, t->items[i].key);
                        stream_object(sim, which, t->items[i].key, object, false);
                }
                json_object_foreach(before, key, last)
                {
                        stream_object(sim, which, key, last, true);
                }
                json_decref(before);
                stream(sim, which, deliver_synced)->kind = which;
        }
}

/* ---- requests ---- */

static void take_changes(struct sim *sim, const struct api_result *result)
{
        for (size_t i = 0; i < result->change_count; i++) {
                sim_check_change(sim, &result->changes[i]);
                stream_change(sim, &result->changes[i]);
        }
}

void sim_api_tick(struct sim *sim)
{
        struct api_result result;
        uint64_t next;

        if (api_core_tick(sim->api, sim_real(sim), &result, &next) == 0)
                take_changes(sim, &result);
        api_result_deinit(&result);
}

static int handle(struct sim *sim, struct api_request *r, struct api_result *result)
{
        int rc;

        r->real_us = sim_real(sim);
        r->field_validation = API_FIELDS_STRICT;
        rc = api_core_handle(sim->api, r, result);
        if (rc < 0)
                abort();
        take_changes(sim, result);
        if (result->change_count)
                sim_api_tick(sim);
        return result->code;
}

static enum watcher_outcome outcome_of(int code)
{
        return code < 300    ? WATCHER_OK
               : code == 404 ? WATCHER_GONE
               : code == 409 ? WATCHER_CONFLICT
                             : WATCHER_FORBIDDEN;
}

static void deliver_answer(struct sim *sim, struct sim_task *task)
{
        struct watcher_event e = {.type = WATCHER_EVENT_ANSWER,
                                  .op = task->number,
                                  .outcome = (enum watcher_outcome)task->kind,
                                  .object = task->json};

        (void)snprintf(e.text, sizeof(e.text), "%s", task->text);
        sim_step_watcher(sim, &e);
}

struct sim_route {
        enum api_verb verb;
        const struct api_kind *kind;
        const char *subresource;
};

static const struct sim_route routes[] = {
    [WATCHER_CALL_POD_STATUS] = {API_PATCH, &api_kind_pod, "status"},
    [WATCHER_CALL_POD_DELETE] = {API_DELETE, &api_kind_pod, ""},
    [WATCHER_CALL_PORT_STATUS] = {API_PATCH, &api_kind_port, "status"},
    [WATCHER_CALL_EVENT_CREATE] = {API_CREATE, &api_kind_event, ""},
    [WATCHER_CALL_EVENT_PATCH] = {API_PATCH, &api_kind_event, ""},
    [WATCHER_CALL_NODE_CREATE] = {API_CREATE, &api_kind_node, ""},
    [WATCHER_CALL_NODE_GET] = {API_GET, &api_kind_node, ""},
    [WATCHER_CALL_NODE_STATUS] = {API_PATCH, &api_kind_node, "status"},
};

/* Carried out even when the watcher that asked has died since: it was on its way. */
static void carry_out(struct sim *sim, struct sim_task *task)
{
        const struct sim_route *route = &routes[task->kind];
        struct api_request r = {.verb = route->verb,
                                .kind = route->kind,
                                .name_space = route->kind->namespaced ? task->text : "",
                                .name = route->verb == API_CREATE ? "" : task->text2,
                                .subresource = route->subresource,
                                .body = task->json,
                                .patch_type = API_PATCH_MERGE};
        bool dies = sim->api_up && sim_inject(sim, sim->faults.api_down);
        bool lost = dies || sim_inject(sim, sim->faults.api_lost);
        bool before = lost && sim_chance(sim, 50); /* the commit */
        struct api_result result = {0};
        struct sim_task *answer;
        int code = 503;

        if (sim->api_up && !before) {
                code = handle(sim, &r, &result);
                if (code >= 400)
                        sim_log(sim, "api        %s %.40s -> %d %.150s",
                                watcher_call_type_name((enum watcher_call_type)task->kind), task->text2, code,
                                api_text(result.object, "message"));
        }
        if (dies)
                sim_api_outage(sim);
        answer = sim_at(sim, 200 + sim_draw(sim, 2000), SIM_WATCHER, deliver_answer);
        answer->incarnation = task->number2;
        answer->number = task->number;
        answer->kind = lost || code == 503 ? WATCHER_RETRY : (int)outcome_of(code);
        if (answer->kind == WATCHER_OK)
                answer->json = json_incref(result.object);
        else
                (void)snprintf(answer->text, sizeof(answer->text), "%.200s",
                               api_text(result.object, "message"));
        api_result_deinit(&result);
}

void sim_api_call(struct sim *sim, const struct watcher_action *a)
{
        struct sim_task *task = sim_at(sim, 200 + sim_draw(sim, 2000), SIM_WORLD, carry_out);

        task->kind = (int)a->call;
        task->number = a->op;
        task->number2 = sim->incarnation[SIM_WATCHER];
        task->json = json_incref(a->body);
        (void)snprintf(task->text, sizeof(task->text), "%.250s", a->name_space);
        (void)snprintf(task->text2, sizeof(task->text2), "%.63s", a->name);
}

/* ---- outage: the apiserver dies and comes back with what its store holds ---- */

static void copy_store(struct sim *sim, struct api_core *fresh)
{
        for (size_t k = 0; k < api_kind_count; k++) {
                const struct api_table_of_kind *t = api_objects(sim->api, api_kinds[k]);
                for (size_t i = 0; i < t->count; i++)
                        if (api_core_load(fresh, api_kinds[k], api_tree(sim->api, &t->items[i]),
                                          t->items[i].image->resource_version) < 0)
                                abort();
        }
        api_core_set_resource_version(fresh, api_core_resource_version(sim->api));
}

static int new_core(struct sim *sim, struct api_core **out)
{
        const struct api_core_config config = {.seed = sim_draw(sim, UINT64_C(1) << 60),
                                               .auto_create_vpc = true,
                                               .auto_vpc_cidr =
                                                   "10.200.0.0/27", /* small: addresses come again soon */
                                               .nic_slots = 8};

        return api_core_new(out, &config);
}

static void api_returns(struct sim *sim, struct sim_task *task)
{
        struct api_core *fresh = NULL;
        struct api_result result;

        (void)task;
        if (new_core(sim, &fresh) < 0)
                abort();
        copy_store(sim, fresh);
        api_core_free(sim->api);
        sim->api = fresh;
        if (api_core_start(sim->api, sim_real(sim), &result) < 0)
                abort();
        api_result_deinit(&result);
        sim->api_up = true;
        sim_log(sim, "apiserver returns");
        if (sim->watcher)
                sim_api_list(sim);
}

void sim_api_outage(struct sim *sim)
{
        if (!sim->api_up)
                return;
        sim_log(sim, "apiserver is killed");
        sim->api_up = false;
        sim->watching = false;
        sim->api_epoch++;
        sim_at(sim, 1 + sim_draw(sim, 20 * SIM_S), SIM_WORLD, api_returns);
}

int sim_api_start(struct sim *sim)
{
        struct api_result result;
        int r = new_core(sim, &sim->api);

        if (r == 0)
                r = api_core_start(sim->api, sim_real(sim), &result);
        if (r < 0)
                return r;
        api_result_deinit(&result);
        sim->api_up = true;
        return 0;
}

void sim_api_stop(struct sim *sim)
{
        sim->api = api_core_free(sim->api);
}

/* ---- users ---- */

static int request(struct sim *sim, enum api_verb verb, const struct api_kind *kind, const char *name,
                   json_t *body, const char *what)
{
        struct api_request r = {.verb = verb,
                                .kind = kind,
                                .name_space = "default",
                                .name = name,
                                .subresource = "",
                                .body = body,
                                .patch_type = API_PATCH_STRATEGIC};
        struct api_result result;
        int code;

        sim->user_acts = true;
        code = handle(sim, &r, &result);
        sim->user_acts = false;
        sim_log(sim, "user       %s %s -> %d %.150s", what, name, code,
                code >= 400 ? api_text(result.object, "message") : "");
        if (code == 201 && kind == &api_kind_port)
                (void)json_object_set_new(sim->user_ports, api_name(result.object), json_true());
        api_result_deinit(&result);
        json_decref(body);
        return code;
}

static void create_pod(struct sim *sim, const char *name)
{
        json_t *body = json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:[{s:s}], s:{s:s, s:s}}}", "apiVersion", "v1",
                                 "kind", "Pod", "metadata", "name", name, "spec", "vpc", "vpc1", "nics",
                                 "name", "eth0", "virtualMachine", "name", "vm", "image", "/images/x.qcow2");

        if (sim_chance(sim, 20))
                (void)json_object_set_new(json_object_get(body, "spec"), "restartPolicy",
                                          json_string("Never"));
        if (sim_chance(sim, 30))
                (void)json_array_append_new(api_at(body, "spec.nics"), json_pack("{s:s}", "name", "eth1"));
        (void)request(sim, API_CREATE, &api_kind_pod, "", body, name);
}

static json_t *nic_entry(struct sim *sim, unsigned n, bool remove)
{
        char name[16];
        const char *port;
        json_t *unused, *entry;

        (void)snprintf(name, sizeof(name), "eth%u", n);
        if (remove)
                return json_pack("{s:s, s:s}", "$patch", "delete", "name", name);
        entry = json_pack("{s:s}", "name", name);
        if (sim_chance(sim, 25)) {
                json_object_foreach(sim->user_ports, port, unused)
                {
                        if (sim_chance(sim, 40)) {
                                (void)json_object_set_new(entry, "portId", json_string(port));
                                break;
                        }
                }
        }
        return entry;
}

static void patch_nics(struct sim *sim, const char *name)
{
        json_t *list = json_array();
        char what[64] = "patch";

        for (unsigned n = 1; n <= 4; n++) {
                if (!sim_chance(sim, 40))
                        continue;
                bool remove = sim_chance(sim, 50);
                (void)json_array_append_new(list, nic_entry(sim, n, remove));
                (void)snprintf(what + strlen(what), sizeof(what) - strlen(what), " %ceth%u",
                               remove ? '-' : '+', n);
        }
        (void)request(sim, API_PATCH, &api_kind_pod, name, json_pack("{s:{s:o}}", "spec", "nics", list),
                      what);
}

static void delete_pod(struct sim *sim, const char *name)
{
        static const int graces[] = {0, 1, 30};
        int grace = graces[sim_draw(sim, 3)];
        char what[32];

        (void)snprintf(what, sizeof(what), "delete, grace %d,", grace);
        (void)request(sim, API_DELETE, &api_kind_pod, name, json_pack("{s:i}", "gracePeriodSeconds", grace),
                      what);
}

/* A change of what is plugged already: link, power; or a list in another order, which is no change. */
static void patch_else(struct sim *sim, const char *name)
{
        static const char *const powers[] = {"Running", "Paused", "Shutdown"};
        const char *power = powers[sim_chance(sim, 60) ? 0 : sim_draw(sim, 3)];
        char what[64];

        if (sim_chance(sim, 50)) {
                (void)snprintf(what, sizeof(what), "power %s", power);
                (void)request(sim, API_PATCH, &api_kind_pod, name,
                              json_pack("{s:{s:{s:s}}}", "spec", "virtualMachine", "powerSpec", power), what);
        } else {
                (void)snprintf(what, sizeof(what), "link");
                (void)request(sim, API_PATCH, &api_kind_pod, name,
                              json_pack("{s:{s:[{s:s, s:s}]}}", "spec", "nics", "name", "eth0", "linkState",
                                        sim_chance(sim, 50) ? "up" : "down"),
                              what);
        }
}

static void delete_port(struct sim *sim)
{
        const char *port;
        json_t *unused;

        json_object_foreach(sim->user_ports, port, unused)
        {
                char name[64];

                (void)snprintf(name, sizeof(name), "%.60s", port);
                if (request(sim, API_DELETE, &api_kind_port, name, json_object(), "delete the port") < 300)
                        (void)json_object_del(sim->user_ports, name);
                return;
        }
}

static void act(struct sim *sim, const char *name)
{
        if (!api_find(sim->api, &api_kind_pod, "default", name))
                create_pod(sim, name);
        else if (sim_chance(sim, 12))
                delete_pod(sim, name);
        else if (json_object_size(sim->user_ports) < 3 && sim_chance(sim, 10))
                (void)request(sim, API_CREATE, &api_kind_port, "",
                              json_pack("{s:{}, s:{s:s}}", "metadata", "spec", "vpc", "vpc1"), "make a port");
        else if (sim_chance(sim, 4))
                delete_port(sim);
        else if (sim_chance(sim, 15))
                patch_else(sim, name);
        else
                patch_nics(sim, name);
}

void sim_user_act(struct sim *sim)
{
        char name[16];

        (void)snprintf(name, sizeof(name), "pod%u", (unsigned)sim_draw(sim, PODS));
        if (sim_inject(sim, 10000) && sim->api_up)
                act(sim, name);
}

/* Once the faults have stopped, every VM shall run: what is paused or shut down has no NIC that works. */
void sim_users_calm(struct sim *sim)
{
        for (unsigned i = 0; i < PODS; i++) {
                char name[16];

                (void)snprintf(name, sizeof(name), "pod%u", i);
                if (api_find(sim->api, &api_kind_pod, "default", name))
                        (void)request(
                            sim, API_PATCH, &api_kind_pod, name,
                            json_pack("{s:{s:{s:s}}}", "spec", "virtualMachine", "powerSpec", "Running"),
                            "power Running");
        }
}

json_t *sim_api_objects(struct sim *sim, const struct api_kind *kind)
{
        const struct api_table_of_kind *t = api_objects(sim->api, kind);
        json_t *list = json_array();

        for (size_t i = 0; i < t->count; i++)
                (void)json_array_append_new(list, api_image_object(t->items[i].image));
        return list;
}
