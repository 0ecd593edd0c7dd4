/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core under chance: users, a node that fails and forgets, an API that refuses, restarts of everybody,
 * objects and messages late, twice and out of order. test_world.c checks the invariants at every action;
 * then all is calm, and everything must come to what the API says.
 *
 * One seed is one run: `test_watcher_random SEED [COUNT]` repeats it.
 */
#include "services/watcher/test_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PODS       4
#define NAMES      4
#define MAX_THINGS 4096
#define STEPS      400
#define SEEDS      60

/* What the node really has. */
struct thing {
        char uid[64], port[64];
        bool prepared, plugged, wished;
};

struct run {
        struct world w;
        struct thing things[MAX_THINGS];
        size_t thing_count;
        bool vm[PODS];
        unsigned int lives[PODS]; /* how many pods of this number there have been */
        unsigned int next_port;
        struct ak_message *old; /* something said before */
        int old_peer;
};

static uint64_t draw(struct run *r, uint64_t n)
{
        return world_draw(&r->w, n);
}

static bool chance(struct run *r, uint64_t percent)
{
        return draw(r, 100) < percent;
}

static void uid_of(const struct run *r, size_t pod, char out[64])
{
        (void)snprintf(out, 64, "%08zu-0000-4000-8000-%012u", pod, r->lives[pod]);
}

/* ------------------------------------------------------------------ users */

static bool alive(const struct run *r, const char *uid)
{
        const json_t *pod = world_api_pod(&r->w, uid);
        return pod && !json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp");
}

static json_t *nic_new(struct run *r, const char *uid, const char *name)
{
        char id[64];
        (void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012x", ++r->next_port);
        world_port(&r->w, id, uid, name);
        return json_pack("{s:s, s:s}", "name", name, "portId", id);
}

static void user_pod(struct run *r, size_t pod)
{
        char uid[64], name[64];
        r->lives[pod]++;
        uid_of(r, pod, uid);
        (void)snprintf(name, sizeof(name), "vm%zu", pod);
        world_pod(&r->w, uid, name, NULL);
        json_t *nics = json_array();
        json_array_append_new(nics, nic_new(r, uid, "eth0"));
        if (chance(r, 50))
                json_array_append_new(nics, nic_new(r, uid, "eth1"));
        world_pod_nics_set(&r->w, uid, nics);
        if (chance(r, 30))
                world_pod_set(&r->w, uid, "spec/restartPolicy",
                              json_string(chance(r, 50) ? "Never" : "OnFailure"));
}

/* Takes a NIC away, puts one in, or does both to one name. */
static void user_nics(struct run *r, const char *uid)
{
        char name[16];
        size_t i;
        json_t *nic, *nics = json_array();
        (void)snprintf(name, sizeof(name), "eth%d", (int)(1 + draw(r, NAMES - 1)));
        bool had = false, replace = chance(r, 30);
        json_array_foreach(json_object_get(json_object_get(world_api_pod(&r->w, uid), "spec"), "nics"), i,
                           nic)
        {
                if (strcmp(json_string_value(json_object_get(nic, "name")), name) != 0) {
                        json_array_append(nics, nic);
                        continue;
                }
                had = true;
                if (replace)
                        json_array_append_new(nics, nic_new(r, uid, name));
        }
        if (!had)
                json_array_append_new(nics, nic_new(r, uid, name));
        world_pod_nics_set(&r->w, uid, nics);
}

static void user_link(struct run *r, const char *uid)
{
        json_t *nics =
            json_deep_copy(json_object_get(json_object_get(world_api_pod(&r->w, uid), "spec"), "nics"));
        json_t *nic = json_array_get(nics, draw(r, json_array_size(nics)));
        json_object_set_new(nic, "linkState", json_string(chance(r, 50) ? "down" : "up"));
        world_pod_nics_set(&r->w, uid, nics);
}

static void user_acts(struct run *r)
{
        char uid[64];
        size_t pod = draw(r, PODS);
        uid_of(r, pod, uid);
        if (!world_api_pod(&r->w, uid))
                user_pod(r, pod);
        else if (chance(r, 8))
                world_pod_remove(&r->w, uid);
        else if (!alive(r, uid))
                return;
        else if (chance(r, 12))
                world_pod_delete(&r->w, uid, (int)draw(r, 30));
        else if (chance(r, 15))
                user_link(r, uid);
        else
                user_nics(r, uid);
}

/* ------------------------------------------------------------------ the node */

static struct thing *thing_of(struct run *r, const char *uid, const char *port)
{
        for (size_t i = 0; i < r->thing_count; i++)
                if (strcmp(r->things[i].port, port) == 0 && strcmp(r->things[i].uid, uid) == 0)
                        return &r->things[i];
        assert_true(r->thing_count < MAX_THINGS);
        struct thing *t = &r->things[r->thing_count++];
        *t = (struct thing){0};
        (void)snprintf(t->uid, sizeof(t->uid), "%s", uid);
        (void)snprintf(t->port, sizeof(t->port), "%s", port);
        return t;
}

static bool *vm_of(struct run *r, const char *uid)
{
        char current[64];
        size_t pod = strtoul(uid, NULL, 10);
        static bool gone;
        uid_of(r, pod, current);
        gone = false;
        return strcmp(uid, current) == 0 ? &r->vm[pod] : &gone;
}

static void vm_ends(struct run *r, const char *uid)
{
        *vm_of(r, uid) = false;
        for (size_t i = 0; i < r->thing_count; i++)
                if (strcmp(r->things[i].uid, uid) == 0)
                        r->things[i].plugged = false;
}

static void node_vm(struct run *r, const struct ak_vm_diff *wish)
{
        char uid[64];
        (void)snprintf(uid, sizeof(uid), "%s", wish->pod_uid);
        bool *up = vm_of(r, uid);
        switch (wish->wanted) {
        case AK_VM_WANTED_ABSENT:
                if (*up && r->w.faults && chance(r, 40)) {
                        world_vm(&r->w, uid, AK_VM_PHASE_STOPPING);
                        return;
                }
                vm_ends(r, uid);
                world_vm(&r->w, uid, AK_VM_PHASE_ABSENT);
                return;
        case AK_VM_WANTED_SHUTDOWN:
                vm_ends(r, uid);
                world_vm(&r->w, uid, AK_VM_PHASE_SHUTOFF);
                return;
        default:
                if (r->w.faults && chance(r, 15)) {
                        vm_ends(r, uid);
                        world_vm(&r->w, uid,
                                 chance(r, 50)   ? AK_VM_PHASE_FAILED
                                 : chance(r, 50) ? AK_VM_PHASE_CRASHED
                                                 : AK_VM_PHASE_SHUTOFF);
                        return;
                }
                *up = true;
                world_vm(&r->w, uid, AK_VM_PHASE_RUNNING);
        }
}

static void node_port(struct run *r, const struct ak_nic_diff *wish)
{
        struct thing *t = thing_of(r, wish->pod_uid, wish->port_id);
        bool fails = r->w.faults && chance(r, 20);
        if (fails) {
                world_port_says(&r->w, t->uid, t->port, AK_PORT_FAILED, "NetlinkFailed");
        } else if (wish->wanted == AK_NIC_WANTED_PRESENT) {
                t->prepared = true;
                world_port_says(&r->w, t->uid, t->port, AK_PORT_READY, "");
        } else if (t->plugged) {
                world_port_says(&r->w, t->uid, t->port, AK_PORT_HELD, "");
        } else {
                t->prepared = false;
                world_port_says(&r->w, t->uid, t->port, AK_PORT_RELEASED, "");
        }
}

static void node_plug(struct run *r, struct thing *t)
{
        if (!t->prepared || !*vm_of(r, t->uid))
                return;
        if (r->w.faults && chance(r, 20)) {
                world_nic_says(&r->w, t->uid, t->port, t->plugged ? AK_NIC_WAITING_FOR_GUEST : AK_NIC_FAILED,
                               t->plugged ? "" : "AttachFailed");
                return;
        }
        t->plugged = true;
        world_nic_says(&r->w, t->uid, t->port, AK_NIC_READY, "");
}

static void node_nic(struct run *r, const struct ak_nic_diff *wish)
{
        struct thing *t = thing_of(r, wish->pod_uid, wish->port_id);
        if (wish->wanted == AK_NIC_WANTED_PRESENT) {
                node_plug(r, t);
        } else if (t->plugged && r->w.faults && chance(r, 50)) {
                world_nic_says(&r->w, t->uid, t->port, AK_NIC_DETACHING, chance(r, 30) ? "GuestBusy" : "");
        } else {
                t->plugged = false;
                world_nic_says(&r->w, t->uid, t->port, AK_NIC_DETACHED, "");
        }
}

/* Answers one wish, or one side of it. */
static void node_answers(struct run *r, const char *topic)
{
        const struct ak_message *m = zhashx_lookup(r->w.bus, topic);
        if (!m)
                return;
        AK_CLEANUP(ak_message_freep) struct ak_message *wish = ak_message_dup(m);
        if (wish->type == ak_message_vm_diff)
                node_vm(r, &wish->vm_diff);
        else if (r->w.faults && chance(r, 50))
                node_port(r, &wish->nic_diff);
        else
                node_nic(r, &wish->nic_diff);
        if (!r->w.faults && wish->type == ak_message_nic_diff && zhashx_lookup(r->w.bus, topic)) {
                node_port(r, &wish->nic_diff);
                if (wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT && zhashx_lookup(r->w.bus, topic))
                        node_nic(r, &wish->nic_diff);
        }
}

static void node_acts(struct run *r)
{
        zlistx_t *topics = zhashx_keys(r->w.bus);
        size_t n = zlistx_size(topics) ? draw(r, zlistx_size(topics)) : 0;
        const char *topic = zlistx_first(topics);
        for (; topic && n > 0; n--)
                topic = zlistx_next(topics);
        if (topic)
                node_answers(r, topic);
        zlistx_destroy(&topics);
}

/* ------------------------------------------------------------------ accidents */

static void something_old_comes_again(struct run *r)
{
        zlistx_t *topics = zhashx_keys(r->w.said);
        size_t n = zlistx_size(topics) ? draw(r, zlistx_size(topics)) : 0;
        const char *topic = zlistx_first(topics);
        for (; topic && n > 0; n--)
                topic = zlistx_next(topics);
        if (r->old)
                world_say(&r->w, r->old, r->old_peer);
        r->old = topic && chance(r, 70) ? ak_message_dup(zhashx_lookup(r->w.said, topic)) : NULL;
        r->old_peer = r->old && r->old->type == ak_message_port_status ? 0 : 1;
        zlistx_destroy(&topics);
}

static const char *random_key(struct run *r, zlistx_t *keys)
{
        size_t n = zlistx_size(keys) ? draw(r, zlistx_size(keys)) : 0;
        const char *key = zlistx_first(keys);
        for (; key && n > 0; n--)
                key = zlistx_next(keys);
        return key;
}

static void a_pod_is_told(struct run *r)
{
        zlistx_t *keys = zhashx_keys(chance(r, 50) ? r->w.pods : r->w.seen_pods);
        const char *key = random_key(r, keys);
        if (key)
                world_tell_pod(&r->w, key);
        zlistx_destroy(&keys);
}

static uint64_t version_of(const json_t *object)
{
        const char *text =
            json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
        return strtoull(text, NULL, 10);
}

/* Of one collection the changes come in the order in which they were made. */
static void a_port_is_told(struct run *r)
{
        const char *first = NULL;
        zlistx_t *keys = zhashx_keys(r->w.ports), *seen = zhashx_keys(r->w.seen_ports);
        for (const char *key = zlistx_first(keys); key; key = zlistx_next(keys)) {
                const json_t *port = world_api_port(&r->w, key), *old = zhashx_lookup(r->w.seen_ports, key);
                if (old && json_equal(port, old))
                        continue;
                if (!first || version_of(port) < version_of(world_api_port(&r->w, first)))
                        first = key;
        }
        if (!first)
                first = random_key(r, seen);
        if (first)
                world_tell_port(&r->w, first);
        zlistx_destroy(&keys);
        zlistx_destroy(&seen);
}

static void one_object_is_told(struct run *r)
{
        if (chance(r, 50))
                a_pod_is_told(r);
        else
                a_port_is_told(r);
}

static void watcher_restarts(struct run *r)
{
        ak_message_free(r->old);
        r->old = NULL;
        world_restart(&r->w);
}

static void accident(struct run *r)
{
        switch (draw(r, 12)) {
        case 0:
                watcher_restarts(r);
                break;
        case 1:
                world_peer(&r->w, (int)draw(r, 2));
                break;
        case 2:
                world_sync(&r->w);
                break;
        case 3:
                r->w.hold = !r->w.hold;
                world_settle(&r->w);
                break;
        case 4:
                r->w.real -= draw(r, 2) * 3600 * SEC; /* the clock jumps */
                break;
        default:
                something_old_comes_again(r);
        }
}

static void step(struct run *r)
{
        uint64_t n = draw(r, 100);
        if (n < 12)
                user_acts(r);
        else if (n < 60)
                node_acts(r);
        else if (n < 75)
                one_object_is_told(r);
        else if (n < 85)
                accident(r);
        else
                world_advance(&r->w, draw(r, n < 90 ? 20 * SEC : 300 * MS));
}

/* ------------------------------------------------------------------ in the end */

static void calm(struct run *r)
{
        r->w.faults = r->w.hold = false;
        world_settle(&r->w);
        world_sync(&r->w);
        for (int round = 0; round < 60; round++) {
                zlistx_t *topics = zhashx_keys(r->w.bus);
                for (const char *topic = zlistx_first(topics); topic; topic = zlistx_next(topics))
                        node_answers(r, topic);
                zlistx_destroy(&topics);
                /* What is there of things that nobody wishes any more is reported too. */
                for (size_t i = 0; i < r->thing_count; i++) {
                        const struct thing *t = &r->things[i];
                        if (t->plugged && !world_nic_wish(&r->w, t->uid, t->port))
                                world_nic_says(&r->w, t->uid, t->port, AK_NIC_READY, "");
                        if (t->prepared && !world_nic_wish(&r->w, t->uid, t->port))
                                world_port_says(&r->w, t->uid, t->port, AK_PORT_READY, "");
                }
                world_advance(&r->w, 20 * SEC);
        }
}

static void check_nics(const struct run *r, const char *uid, const json_t *pod)
{
        size_t i;
        json_t *nic;
        const json_t *nics = json_object_get(json_object_get(pod, "spec"), "nics");
        assert_int_equal(json_array_size(json_object_get(world_status(&r->w, uid), "nicStatuses")),
                         json_array_size(nics));
        json_array_foreach(nics, i, nic)
        {
                const char *name = json_string_value(json_object_get(nic, "name"));
                assert_string_equal(world_nic_text(&r->w, uid, name, "state"), "Ready");
                assert_string_equal(world_nic_text(&r->w, uid, name, "portID"),
                                    json_string_value(json_object_get(nic, "portId")));
        }
}

/* What is left, where it is not what it should be. */
static void print_world(const struct run *r)
{
        zhashx_t *const tables[] = {r->w.bus, r->w.pods, r->w.ports};
        for (size_t t = 0; t < AK_ARRAY_SIZE(tables); t++) {
                zlistx_t *keys = zhashx_keys(tables[t]);
                for (const char *key = zlistx_first(keys); key; key = zlistx_next(keys)) {
                        json_t *json = t == 0 ? ak_message_to_json(zhashx_lookup(tables[t], key))
                                              : json_incref(zhashx_lookup(tables[t], key));
                        char *text = json_dumps(json, JSON_COMPACT);
                        print_message("%s\n  %.1200s\n", key, text);
                        free(text);
                        json_decref(json);
                }
                zlistx_destroy(&keys);
        }
}

static void check_end(struct run *r)
{
        size_t wanted = 0;
        zlistx_t *uids = zhashx_keys(r->w.pods);
        for (const char *uid = zlistx_first(uids); uid; uid = zlistx_next(uids)) {
                const json_t *pod = world_api_pod(&r->w, uid);
                const char *phase = json_string_value(json_object_get(world_status(&r->w, uid), "phase"));
                assert_true(alive(r, uid)); /* those that were deleted are gone */
                wanted += 1 + json_array_size(json_object_get(json_object_get(pod, "spec"), "nics"));
                if (strcmp(phase, "Running") == 0)
                        check_nics(r, uid, pod);
                else
                        assert_true(strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
        }
        zlistx_destroy(&uids);
        if (zhashx_size(r->w.bus) != wanted)
                print_world(r);
        assert_int_equal(zhashx_size(r->w.bus), wanted);
        assert_int_equal(zhashx_size(r->w.pods) + zhashx_size(r->w.ports), wanted);
}

static void run_seed(uint64_t seed)
{
        struct run *r = calloc(1, sizeof(*r));
        assert_non_null(r);
        world_init(&r->w);
        r->w.gathers = seed % 2;
        r->w.chance = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
        r->w.config.seed = seed;
        r->w.faults = true;
        for (int i = 0; i < STEPS; i++)
                step(r);
        calm(r);
        check_end(r);
        ak_message_free(r->old);
        world_deinit(&r->w);
        free(r);
}

static uint64_t first_seed = 1, seeds = SEEDS;

static void random_runs(void **state)
{
        (void)state;
        for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
                print_message("seed %" PRIu64 "\n", seed);
                run_seed(seed);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(random_runs)};
        if (argc > 1) {
                first_seed = strtoull(argv[1], NULL, 10);
                seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
