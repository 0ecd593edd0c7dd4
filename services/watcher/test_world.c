/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/test_world.h"

#include <string.h>

#include "libcommon/clock.h"

/* ------------------------------------------------------------------ life */

static void json_destroy(void **item)
{
        json_decref(*item);
        *item = NULL;
}

static void message_destroy(void **item)
{
        ak_message_free(*item);
        *item = NULL;
}

static void call_destroy(void **item)
{
        struct world_call *call = *item;
        json_decref(call->body);
        free(call);
        *item = NULL;
}

static zhashx_t *table(void (*destroy)(void **item))
{
        zhashx_t *t = zhashx_new();
        assert_non_null(t);
        zhashx_set_destructor(t, destroy);
        return t;
}

static void core_start(struct world *w)
{
        assert_int_equal(watcher_core_new(&w->core, &w->config), 0);
        w->seen_pods = table(json_destroy);
        w->seen_ports = table(json_destroy);
        w->said = table(message_destroy);
        w->calls = zlistx_new();
        zlistx_set_destructor(w->calls, call_destroy);
        w->synced = false;
        w->wake = 0;
}

static void core_stop(struct world *w)
{
        watcher_actions_deinit(&w->actions);
        w->core = watcher_core_free(w->core);
        zhashx_destroy(&w->seen_pods);
        zhashx_destroy(&w->seen_ports);
        zhashx_destroy(&w->said);
        zlistx_destroy(&w->calls);
}

void world_init(struct world *w)
{
        *w = (struct world){.now = 1000 * SEC, .real = UINT64_C(1700000000) * SEC, .version = 10};
        w->config = (struct watcher_core_config){.node = "node1", .host_ip = "192.0.2.1", .seed = 7};
        w->epoch[0] = 100;
        w->epoch[1] = 200;
        w->pods = table(json_destroy);
        w->ports = table(json_destroy);
        w->bus = table(message_destroy);
        w->released = zhashx_new();
        w->presented = zhashx_new();
        w->events = zlistx_new();
        zlistx_set_destructor(w->events, (zlistx_destructor_fn *)zstr_free);
        core_start(w);
}

void world_deinit(struct world *w)
{
        core_stop(w);
        zhashx_destroy(&w->pods);
        zhashx_destroy(&w->ports);
        zhashx_destroy(&w->bus);
        zhashx_destroy(&w->released);
        zhashx_destroy(&w->presented);
        zlistx_destroy(&w->events);
}

void world_restart(struct world *w)
{
        core_stop(w);
        zhashx_purge(w->bus); /* what a publisher retained is gone with it */
        w->config.seed++;
        core_start(w);
}

/* ------------------------------------------------------------------ looking things up */

json_t *world_api_pod(const struct world *w, const char *uid)
{
        return zhashx_lookup(w->pods, uid);
}

json_t *world_api_port(const struct world *w, const char *id)
{
        return zhashx_lookup(w->ports, id);
}

static const char *text_at(const json_t *json, const char *a, const char *b)
{
        const char *text = json_string_value(json_object_get(json_object_get(json, a), b));
        return text ? text : "";
}

static const char *phase_of(const json_t *port)
{
        return text_at(port, "status", "phase");
}

static const char *bound_to(const json_t *port)
{
        return text_at(json_object_get(port, "spec"), "boundTo", "uid");
}

static bool lists(const json_t *pod, const char *port_id)
{
        size_t i;
        json_t *nic;
        json_array_foreach(json_object_get(json_object_get(pod, "spec"), "nics"), i, nic)
        {
                const char *id = json_string_value(json_object_get(nic, "portId"));
                if (id && strcmp(id, port_id) == 0)
                        return true;
        }
        return false;
}

static const struct ak_message *said(const struct world *w, const char *type, const char *uid, const char *id)
{
        char topic[AK_TOPIC_SIZE];
        (void)snprintf(topic, sizeof(topic), "%s/%s%s%s", type, uid, id ? "/" : "", id ? id : "");
        return zhashx_lookup(w->said, topic);
}

static const struct ak_message *retained(const struct world *w, const char *type, const char *uid,
                                         const char *id)
{
        char topic[AK_TOPIC_SIZE];
        (void)snprintf(topic, sizeof(topic), "%s/%s%s%s", type, uid, id ? "/" : "", id ? id : "");
        return zhashx_lookup(w->bus, topic);
}

const struct ak_nic_diff *world_nic_wish(const struct world *w, const char *uid, const char *id)
{
        const struct ak_message *m = retained(w, "nic.diff", uid, id);
        return m ? &m->nic_diff : NULL;
}

const struct ak_vm_diff *world_vm_wish(const struct world *w, const char *uid)
{
        const struct ak_message *m = retained(w, "vm.diff", uid, NULL);
        return m ? &m->vm_diff : NULL;
}

const json_t *world_status(const struct world *w, const char *uid)
{
        return json_object_get(world_api_pod(w, uid), "status");
}

static const json_t *entry_of(const json_t *list, const char *key, const char *value)
{
        size_t i;
        json_t *entry;
        json_array_foreach(list, i, entry)
        {
                const char *text = json_string_value(json_object_get(entry, key));
                if (text && strcmp(text, value) == 0)
                        return entry;
        }
        return NULL;
}

const json_t *world_nic(const struct world *w, const char *uid, const char *name)
{
        return entry_of(json_object_get(world_status(w, uid), "nicStatuses"), "name", name);
}

const char *world_nic_text(const struct world *w, const char *uid, const char *name, const char *key)
{
        const char *text = json_string_value(json_object_get(world_nic(w, uid, name), key));
        return text ? text : "";
}

const char *world_condition(const struct world *w, const char *uid, const char *type, const char *key)
{
        const json_t *c = entry_of(json_object_get(world_status(w, uid), "conditions"), "type", type);
        const char *text = json_string_value(json_object_get(c, key));
        return text ? text : "";
}

size_t world_calls(const struct world *w, enum watcher_call_type type)
{
        size_t count = 0;
        for (struct world_call *c = zlistx_first(w->calls); c; c = zlistx_next(w->calls))
                count += c->type == type;
        return count;
}

size_t world_events(const struct world *w, const char *reason)
{
        size_t count = 0;
        for (const char *e = zlistx_first(w->events); e; e = zlistx_next(w->events))
                count += strcmp(e, reason) == 0;
        return count;
}

/* ------------------------------------------------------------------ invariants */

static void check_present(const struct world *w, const struct ak_nic_diff *diff)
{
        const json_t *pod = zhashx_lookup(w->seen_pods, diff->pod_uid);
        const json_t *port = zhashx_lookup(w->seen_ports, diff->port_id);
        assert_non_null(pod);
        assert_non_null(port);
        assert_string_equal(phase_of(port), "Bound");
        assert_string_equal(bound_to(port), diff->pod_uid);
        assert_true(lists(pod, diff->port_id));
        assert_string_equal(text_at(pod, "metadata", "deletionTimestamp"), "");
        zlistx_t *topics = zhashx_keys(w->bus);
        for (const char *topic = zlistx_first(topics); topic; topic = zlistx_next(topics)) {
                const struct ak_message *m = zhashx_lookup(w->bus, topic);
                if (m->type == ak_message_nic_diff && strcmp(m->nic_diff.pod_uid, diff->pod_uid) == 0 &&
                    strcmp(m->nic_diff.nic, diff->nic) == 0 && zhashx_lookup(w->presented, topic))
                        assert_string_equal(m->nic_diff.port_id, diff->port_id);
        }
        zlistx_destroy(&topics);
}

static void check_nic_diff(const struct world *w, const struct ak_nic_diff *diff)
{
        const struct ak_nic_diff *last = world_nic_wish(w, diff->pod_uid, diff->port_id);
        assert_true(w->synced);
        if (diff->wanted == AK_NIC_WANTED_PRESENT)
                check_present(w, diff);
        if (last) /* never an older key than before */
                assert_true(diff->generation > last->generation ||
                            (diff->generation == last->generation && diff->attempt >= last->attempt));
}

static void check_vm_diff(const struct world *w, const struct ak_vm_diff *diff)
{
        const json_t *pod = zhashx_lookup(w->seen_pods, diff->pod_uid);
        const struct ak_vm_diff *last = world_vm_wish(w, diff->pod_uid);
        bool alive = pod && text_at(pod, "metadata", "deletionTimestamp")[0] == '\0';
        assert_true(alive == (diff->wanted != AK_VM_WANTED_ABSENT));
        assert_true(w->synced);
        if (last)
                assert_true(diff->attempt >= last->attempt && diff->generation >= last->generation);
}

static bool in_vm(const struct world *w, const char *uid, const char *id)
{
        const struct ak_message *nic = said(w, "nic.status", uid, id), *vm = said(w, "vm.status", uid, NULL);
        if (vm && vm->vm_status.phase != AK_VM_PHASE_STARTING && vm->vm_status.phase != AK_VM_PHASE_RUNNING &&
            vm->vm_status.phase != AK_VM_PHASE_PAUSED && vm->vm_status.phase != AK_VM_PHASE_STOPPING)
                return false;
        return nic && nic->nic_status.state != AK_NIC_DETACHED &&
               !(nic->nic_status.state == AK_NIC_FAILED && !nic->nic_status.device_alias[0]);
}

static void check_released(const struct world *w, const struct watcher_action *action)
{
        const json_t *port = zhashx_lookup(w->seen_ports, action->name);
        assert_string_equal(text_at(action->body, "status", "phase"), "Released");
        assert_non_null(port);
        assert_string_equal(phase_of(port), "Releasing");
        const char *uid = bound_to(port);
        const struct ak_message *report = said(w, "port.status", uid, action->name);
        const struct ak_nic_diff *wish = world_nic_wish(w, uid, action->name);
        assert_non_null(report);
        assert_int_equal(report->port_status.state, AK_PORT_RELEASED);
        assert_non_null(wish);
        assert_int_equal(wish->wanted, AK_NIC_WANTED_ABSENT);
        assert_false(in_vm(w, uid, action->name));
}

static void check_deleted(const struct world *w, const struct watcher_action *action)
{
        const char *uid = text_at(action->body, "preconditions", "uid");
        const struct ak_message *vm = said(w, "vm.status", uid, NULL);
        assert_non_null(vm);
        assert_int_equal(vm->vm_status.phase, AK_VM_PHASE_ABSENT);
        zlistx_t *ids = zhashx_keys(w->seen_ports);
        for (const char *id = zlistx_first(ids); id; id = zlistx_next(ids)) {
                if (strcmp(bound_to(zhashx_lookup(w->seen_ports, id)), uid) == 0)
                        assert_non_null(zhashx_lookup(w->released, id));
        }
        zlistx_destroy(&ids);
}

static void check_ready(const struct world *w, const struct watcher_action *action)
{
        const char *uid = text_at(action->body, "metadata", "uid");
        const json_t *before =
            json_object_get(json_object_get(zhashx_lookup(w->seen_pods, uid), "status"), "nicStatuses");
        size_t i;
        json_t *entry;
        json_array_foreach(json_object_get(json_object_get(action->body, "status"), "nicStatuses"), i, entry)
        {
                const char *id = json_string_value(json_object_get(entry, "portID"));
                const char *state = json_string_value(json_object_get(entry, "state"));
                if (!state || strcmp(state, "Ready") != 0)
                        continue;
                const json_t *old = entry_of(before, "portID", id);
                const char *old_state = json_string_value(json_object_get(old, "state"));
                const struct ak_message *report = said(w, "nic.status", uid, id);
                bool ready = report && report->nic_status.state == AK_NIC_READY;
                assert_true(ready || (old_state && strcmp(old_state, "Ready") == 0));
        }
}

/* A pod of the same name may have been another one. */
static const char *uid_in(const json_t *body)
{
        const char *uid = text_at(body, "preconditions", "uid");
        return uid[0] ? uid : text_at(body, "metadata", "uid");
}

static void check_call(const struct world *w, const struct watcher_action *action)
{
        for (struct world_call *c = zlistx_first(w->calls); c; c = zlistx_next(w->calls))
                if (c->type == action->call && c->type != WATCHER_CALL_EVENT_CREATE &&
                    strcmp(c->name, action->name) == 0 && strcmp(c->name_space, action->name_space) == 0)
                        assert_string_not_equal(uid_in(c->body), uid_in(action->body));
        if (action->call == WATCHER_CALL_PORT_STATUS)
                check_released(w, action);
        else if (action->call == WATCHER_CALL_POD_DELETE)
                check_deleted(w, action);
        else if (action->call == WATCHER_CALL_POD_STATUS)
                check_ready(w, action);
}

/* ------------------------------------------------------------------ carrying actions out */

static void do_publish(struct world *w, const struct watcher_action *action)
{
        char topic[AK_TOPIC_SIZE];
        ak_message_topic(action->message, topic);
        assert_int_equal(strlen(action->trace), 55);
        if (action->message->type == ak_message_nic_diff)
                check_nic_diff(w, &action->message->nic_diff);
        else
                check_vm_diff(w, &action->message->vm_diff);
        if (action->message->type == ak_message_nic_diff &&
            action->message->nic_diff.wanted == AK_NIC_WANTED_PRESENT)
                zhashx_update(w->presented, topic, "");
        zhashx_update(w->bus, topic, ak_message_dup(action->message));
        w->publishes++;
}

static void do_call(struct world *w, const struct watcher_action *action)
{
        check_call(w, action);
        struct world_call *call = calloc(1, sizeof(*call));
        assert_non_null(call);
        call->op = action->op;
        call->type = action->call;
        call->body = json_incref(action->body);
        (void)snprintf(call->name_space, sizeof(call->name_space), "%s", action->name_space);
        (void)snprintf(call->name, sizeof(call->name), "%s", action->name);
        zlistx_add_end(w->calls, call);
        if (call->type == WATCHER_CALL_EVENT_CREATE)
                zlistx_add_end(w->events, strdup(json_string_value(json_object_get(call->body, "reason"))));
        w->status_writes += call->type == WATCHER_CALL_POD_STATUS;
        w->event_writes += call->type == WATCHER_CALL_EVENT_CREATE || call->type == WATCHER_CALL_EVENT_PATCH;
}

static void execute(struct world *w)
{
        for (size_t i = 0; i < w->actions.count; i++) {
                const struct watcher_action *action = &w->actions.items[i];
                switch (action->type) {
                case WATCHER_ACTION_PUBLISH:
                        do_publish(w, action);
                        break;
                case WATCHER_ACTION_FORGET:
                        assert_non_null(zhashx_lookup(w->bus, action->topic));
                        zhashx_delete(w->bus, action->topic);
                        zhashx_delete(w->presented, action->topic); /* the device was seen to be gone */
                        break;
                case WATCHER_ACTION_CALL:
                        do_call(w, action);
                        break;
                case WATCHER_ACTION_WAKE:
                        assert_true(action->at_us > 0);
                        w->wake = action->at_us;
                        break;
                case WATCHER_ACTION_LOG:
                        assert_non_null(action->event);
                        w->complaints += strstr(action->event, "_refused") != NULL;
                        break;
                }
        }
}

static void one_step(struct world *w, const struct watcher_event *event)
{
        json_t *json = watcher_event_to_json(event);
        struct watcher_event copy;
        char error[AK_SCHEMA_ERROR_SIZE];
        /* Every event takes the journal's way, so that each test is a test of that too. */
        assert_int_equal(watcher_event_from_json(json, &copy, error), 0);
        assert_int_equal(watcher_core_step(w->core, &copy, w->now, w->real, &w->actions), 0);
        assert_int_equal(copy.more, event->more);
        assert_true(event->more || watcher_core_consistent(w->core));
        watcher_event_deinit(&copy);
        json_decref(json);
        json = watcher_actions_to_json(&w->actions);
        assert_int_equal(json_array_size(json), w->actions.count);
        json_decref(json);
        execute(w);
        watcher_actions_clear(&w->actions);
        world_settle(w);
}

void world_step(struct world *w, const struct watcher_event *event)
{
        struct watcher_event first = *event;

        first.more = event->type == WATCHER_EVENT_MESSAGE && (w->more || w->gathers);
        one_step(w, &first);
        if (first.more && !w->more)
                one_step(w, &(struct watcher_event){.type = WATCHER_EVENT_TICK});
}

/* ------------------------------------------------------------------ the API server */

static void stamp(struct world *w, json_t *object)
{
        char text[24];
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)++w->version);
        json_object_set_new(json_object_get(object, "metadata"), "resourceVersion", json_string(text));
}

/* RFC 7386 */
static json_t *merge(const json_t *target, const json_t *patch)
{
        const char *key;
        json_t *value;
        if (!json_is_object(patch))
                return json_deep_copy(patch);
        json_t *out = json_is_object(target) ? json_deep_copy(target) : json_object();
        json_object_foreach((json_t *)patch, key, value)
        {
                if (json_is_null(value))
                        json_object_del(out, key);
                else
                        json_object_set_new(out, key, merge(json_object_get(out, key), value));
        }
        return out;
}

static enum watcher_outcome serve_pod_status(struct world *w, struct world_call *call, json_t **object)
{
        const char *uid = text_at(call->body, "metadata", "uid");
        json_t *pod = world_api_pod(w, uid);
        if (!pod)
                return WATCHER_GONE;
        json_t *changed = merge(pod, call->body);
        if (json_equal(changed, pod)) {
                json_decref(changed);
        } else {
                stamp(w, changed);
                zhashx_update(w->pods, uid, changed);
                pod = changed;
        }
        *object = pod;
        return WATCHER_OK;
}

static enum watcher_outcome serve_release(struct world *w, struct world_call *call, json_t **object)
{
        json_t *port = world_api_port(w, call->name);
        if (!port)
                return WATCHER_GONE;
        if (strcmp(phase_of(port), "Releasing") != 0 ||
            strcmp(text_at(port, "metadata", "resourceVersion"),
                   text_at(call->body, "metadata", "resourceVersion")) != 0)
                return WATCHER_CONFLICT;
        zhashx_insert(w->released, call->name, "");
        json_object_set_new(json_object_get(port, "status"), "phase", json_string("Released"));
        stamp(w, port);
        *object = json_incref(port);
        zhashx_delete(w->ports, call->name);
        return WATCHER_OK;
}

static enum watcher_outcome serve(struct world *w, struct world_call *call, json_t **object)
{
        switch (call->type) {
        case WATCHER_CALL_POD_STATUS:
                return serve_pod_status(w, call, object);
        case WATCHER_CALL_PORT_STATUS:
                return serve_release(w, call, object);
        case WATCHER_CALL_POD_DELETE: {
                const char *uid = text_at(call->body, "preconditions", "uid");
                bool there = world_api_pod(w, uid) != NULL;
                zhashx_delete(w->pods, uid);
                return there ? WATCHER_OK : WATCHER_GONE;
        }
        default:
                return WATCHER_OK;
        }
}

/* xorshift64*; the same seed is the same run. */
uint64_t world_draw(struct world *w, uint64_t n)
{
        w->chance ^= w->chance >> 12;
        w->chance ^= w->chance << 25;
        w->chance ^= w->chance >> 27;
        return (w->chance * UINT64_C(2685821657736338717) >> 16) % n;
}

static void answer(struct world *w, struct world_call *call, const enum watcher_outcome *forced)
{
        struct watcher_event event = {.type = WATCHER_EVENT_ANSWER, .op = call->op};
        json_t *object = NULL;
        static const enum watcher_outcome faults[] = {WATCHER_CONFLICT, WATCHER_FORBIDDEN, WATCHER_RETRY};
        if (forced)
                event.outcome = *forced;
        else if (w->offline)
                event.outcome = WATCHER_RETRY;
        else if (w->faults && world_draw(w, 4) == 0)
                event.outcome = faults[world_draw(w, AK_ARRAY_SIZE(faults))];
        else
                event.outcome = serve(w, call, &object);
        event.object = json_deep_copy(object);
        if (call->type == WATCHER_CALL_PORT_STATUS)
                json_decref(object);
        if (event.object && call->type == WATCHER_CALL_POD_STATUS)
                zhashx_update(w->seen_pods, text_at(event.object, "metadata", "uid"),
                              json_deep_copy(event.object));
        void *item = call;
        world_step(w, &event);
        json_decref(event.object);
        call_destroy(&item);
}

void world_answer_all(struct world *w)
{
        bool hold = w->hold;
        w->hold = true; /* no recursion */
        while (zlistx_size(w->calls) > 0) {
                zlistx_first(w->calls);
                answer(w, zlistx_detach(w->calls, NULL), NULL);
        }
        w->hold = hold;
        world_tell_all(w);
}

void world_answer(struct world *w, enum watcher_call_type type, enum watcher_outcome outcome)
{
        for (struct world_call *c = zlistx_first(w->calls); c; c = zlistx_next(w->calls)) {
                if (c->type != type)
                        continue;
                answer(w, zlistx_detach(w->calls, zlistx_cursor(w->calls)), &outcome);
                return;
        }
        fail_msg("no such call is outstanding");
}

void world_settle(struct world *w)
{
        if (!w->hold && zlistx_size(w->calls) > 0)
                world_answer_all(w);
}

static void nics_set(json_t *spec, va_list args)
{
        json_t *list = json_array();
        for (const char *text; (text = va_arg(args, const char *)) != NULL;) {
                const char *equals = strchr(text, '='), *colon = strchr(text, ':');
                json_t *nic = json_pack("{s:o}", "name", json_stringn(text, (size_t)(equals - text)));
                size_t len = colon ? (size_t)(colon - equals - 1) : strlen(equals + 1);
                if (len > 0)
                        json_object_set_new(nic, "portId", json_stringn(equals + 1, len));
                if (colon)
                        json_object_set_new(nic, "linkState", json_string(colon + 1));
                json_array_append_new(list, nic);
        }
        json_object_set_new(spec, "nics", list);
}

static void pod_make(struct world *w, const char *uid, const char *name, va_list args)
{
        json_t *pod = json_pack(
            "{s:s, s:s, s:{s:s, s:s, s:s, s:i}, s:{s:s, s:s, s:{s:s, s:s, s:{s:{s:s, s:s}}}}, s:{s:s}}",
            "apiVersion", "v1", "kind", "Pod", "metadata", "uid", uid, "namespace", "default", "name", name,
            "generation", 1, "spec", "nodeName", "node1", "vpc", "vpcdemo", "virtualMachine", "name",
            "cirros-vm", "image", "example.org/cirros.img", "resources", "limits", "cpu", "1", "memory",
            "200Mi", "status", "phase", "Pending");
        assert_non_null(pod);
        nics_set(json_object_get(pod, "spec"), args);
        stamp(w, pod);
        zhashx_update(w->pods, uid, pod);
}

void world_pod(struct world *w, const char *uid, const char *name, ...)
{
        va_list args;
        va_start(args, name);
        pod_make(w, uid, name, args);
        va_end(args);
}

static void generation_up(struct world *w, json_t *pod)
{
        json_t *meta = json_object_get(pod, "metadata");
        json_object_set_new(meta, "generation",
                            json_integer(json_integer_value(json_object_get(meta, "generation")) + 1));
        stamp(w, pod);
}

/* Ports of the pod that it lists no longer are on their way out, in the same transaction. */
static void release_unlisted(struct world *w, const char *uid, const json_t *pod)
{
        zlistx_t *ids = zhashx_keys(w->ports);
        for (const char *id = zlistx_first(ids); id; id = zlistx_next(ids)) {
                const json_t *port = world_api_port(w, id);
                bool deleting = pod && text_at(pod, "metadata", "deletionTimestamp")[0] != '\0';
                if (strcmp(bound_to(port), uid) == 0 && strcmp(phase_of(port), "Bound") == 0 &&
                    (!pod || deleting || !lists(pod, id)))
                        world_port_phase(w, id, "Releasing");
        }
        zlistx_destroy(&ids);
}

void world_pod_nics_set(struct world *w, const char *uid, json_t *nics)
{
        json_t *pod = world_api_pod(w, uid);
        json_object_set_new(json_object_get(pod, "spec"), "nics", nics);
        generation_up(w, pod);
        release_unlisted(w, uid, pod);
}

void world_pod_nics(struct world *w, const char *uid, ...)
{
        va_list args;
        json_t *pod = world_api_pod(w, uid);
        va_start(args, uid);
        nics_set(json_object_get(pod, "spec"), args);
        va_end(args);
        generation_up(w, pod);
        release_unlisted(w, uid, pod);
}

void world_pod_delete(struct world *w, const char *uid, int grace_s)
{
        json_t *pod = world_api_pod(w, uid), *meta = json_object_get(pod, "metadata");
        json_object_set_new(meta, "deletionTimestamp", json_string("2026-01-02T03:04:05Z"));
        json_object_set_new(meta, "deletionGracePeriodSeconds", json_integer(grace_s));
        generation_up(w, pod);
        release_unlisted(w, uid, pod);
}

void world_pod_remove(struct world *w, const char *uid)
{
        zhashx_delete(w->pods, uid);
        release_unlisted(w, uid, NULL);
}

void world_pod_set(struct world *w, const char *uid, const char *path, json_t *value)
{
        json_t *at = world_api_pod(w, uid);
        const char *slash;
        for (; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
                char key[64];
                (void)snprintf(key, sizeof(key), "%.*s", (int)(slash - path), path);
                at = json_object_get(at, key);
        }
        json_object_set_new(at, path, value);
        generation_up(w, world_api_pod(w, uid));
}

void world_port(struct world *w, const char *id, const char *pod_uid, const char *nic)
{
        char address[32], mac[32];
        unsigned int n = (unsigned int)strtoul(id + strlen(id) - 2, NULL, 16);
        (void)snprintf(address, sizeof(address), "10.0.0.%u", n + 4);
        (void)snprintf(mac, sizeof(mac), "06:00:00:00:00:%02x", n);
        json_t *port = json_pack(
            "{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s, s:[s], s:s, s:{s:s, s:s}, s:i}, "
            "s:{s:s, s:s, s:s, s:s, s:s, s:[s], s:b, s:i, s:i}}",
            "apiVersion", "vpc.alkaid.io/v1", "kind", "Port", "metadata", "name", id, "namespace", "default",
            "uid", id, "spec", "vpc", "vpcdemo", "subnet", "vpcdemo-default", "macAddress", mac,
            "ipAddresses", address, "nodeName", "node1", "boundTo", "uid", pod_uid, "nic", nic, "slot",
            (int)(n % 64), "status", "phase", "Bound", "vpcID", "vpc-1", "subnetID", "subnet-1", "cidr",
            "10.0.0.0/24", "gateway", "10.0.0.1", "dns", "10.0.0.1", "dhcp", 1, "vni", 4097, "mtu", 1500);
        assert_non_null(port);
        stamp(w, port);
        zhashx_update(w->ports, id, port);
}

void world_port_phase(struct world *w, const char *id, const char *phase)
{
        json_t *port = world_api_port(w, id);
        json_object_set_new(json_object_get(port, "status"), "phase", json_string(phase));
        stamp(w, port);
}

void world_port_remove(struct world *w, const char *id)
{
        zhashx_delete(w->ports, id);
}

/* ------------------------------------------------------------------ telling the core */

static bool tell(struct world *w, zhashx_t *api, zhashx_t *seen, const char *key, enum watcher_event_type put,
                 enum watcher_event_type gone)
{
        const json_t *object = zhashx_lookup(api, key), *old = zhashx_lookup(seen, key);
        struct watcher_event event = {.type = object ? put : gone};
        if ((!object && !old) || (object && old && json_equal(object, old)))
                return false;
        event.object = json_deep_copy(object ? object : old);
        if (object)
                zhashx_update(seen, key, json_incref(event.object));
        else
                zhashx_delete(seen, key);
        world_step(w, &event);
        json_decref(event.object);
        return true;
}

void world_tell_pod(struct world *w, const char *uid)
{
        (void)tell(w, w->pods, w->seen_pods, uid, WATCHER_EVENT_POD_PUT, WATCHER_EVENT_POD_GONE);
}

void world_tell_port(struct world *w, const char *id)
{
        (void)tell(w, w->ports, w->seen_ports, id, WATCHER_EVENT_PORT_PUT, WATCHER_EVENT_PORT_GONE);
}

static bool tell_table(struct world *w, zhashx_t *api, zhashx_t *seen, enum watcher_event_type put,
                       enum watcher_event_type gone)
{
        bool news = false;
        zhashx_t *const tables[] = {api, seen};
        for (size_t t = 0; t < 2; t++) {
                zlistx_t *keys = zhashx_keys(tables[t]);
                for (const char *key = zlistx_first(keys); key; key = zlistx_next(keys))
                        news |= tell(w, api, seen, key, put, gone);
                zlistx_destroy(&keys);
        }
        return news;
}

void world_tell_all(struct world *w)
{
        while (tell_table(w, w->pods, w->seen_pods, WATCHER_EVENT_POD_PUT, WATCHER_EVENT_POD_GONE) |
               tell_table(w, w->ports, w->seen_ports, WATCHER_EVENT_PORT_PUT, WATCHER_EVENT_PORT_GONE))
                ;
}

void world_sync(struct world *w)
{
        struct watcher_event pods = {.type = WATCHER_EVENT_PODS_SYNCED};
        struct watcher_event ports = {.type = WATCHER_EVENT_PORTS_SYNCED};
        world_tell_all(w);
        world_step(w, &pods);
        w->synced = true;
        world_step(w, &ports);
}

void world_start(struct world *w, const char *uid, const char *name, ...)
{
        va_list args;
        size_t i;
        json_t *nic;
        va_start(args, name);
        pod_make(w, uid, name, args);
        va_end(args);
        json_array_foreach(json_object_get(json_object_get(world_api_pod(w, uid), "spec"), "nics"), i, nic)
        {
                const char *id = json_string_value(json_object_get(nic, "portId"));
                if (id)
                        world_port(w, id, uid, json_string_value(json_object_get(nic, "name")));
        }
        world_sync(w);
}

/* ------------------------------------------------------------------ the node */

static void key_of(const struct ak_message *m, uint64_t *generation, uint64_t *attempt)
{
        *generation = m->type == ak_message_vm_status     ? m->vm_status.generation
                      : m->type == ak_message_port_status ? m->port_status.generation
                                                          : m->nic_status.generation;
        *attempt = m->type == ak_message_vm_status     ? m->vm_status.attempt
                   : m->type == ak_message_port_status ? m->port_status.attempt
                                                       : m->nic_status.attempt;
}

static bool key_older(const struct ak_message *m, const struct ak_message *than)
{
        uint64_t g, a, than_g, than_a;
        key_of(m, &g, &a);
        key_of(than, &than_g, &than_a);
        return g < than_g || (g == than_g && a < than_a);
}

void world_say(struct world *w, struct ak_message *message, int peer)
{
        static const char *const names[] = {"network", "hypervisor"};
        char topic[AK_TOPIC_SIZE];
        struct watcher_event event = {
            .type = WATCHER_EVENT_MESSAGE, .message = message, .epoch = w->epoch[peer]};
        (void)snprintf(event.peer, sizeof(event.peer), "%s", names[peer]);
        ak_message_topic(message, topic);
        const struct ak_message *last = zhashx_lookup(w->said, topic);
        if (last && key_older(message, last)) {
                world_step(w, &event); /* to be ignored */
                ak_message_free(message);
                return;
        }
        zhashx_update(w->said, topic, message);
        world_step(w, &event);
}

void world_peer(struct world *w, int peer)
{
        static const char *const names[] = {"network", "hypervisor"};
        struct watcher_event event = {.type = WATCHER_EVENT_PEER, .epoch = ++w->epoch[peer]};
        (void)snprintf(event.peer, sizeof(event.peer), "%s", names[peer]);
        world_step(w, &event);
}

void world_vm(struct world *w, const char *uid, enum ak_vm_phase phase)
{
        const struct ak_vm_diff *wish = world_vm_wish(w, uid);
        struct ak_message *m = ak_message_new(ak_message_vm_status);
        struct ak_vm_status *s = &m->vm_status;
        (void)snprintf(s->pod_uid, sizeof(s->pod_uid), "%s", uid);
        s->generation = wish ? wish->generation : 0;
        s->attempt = wish ? wish->attempt : 0;
        s->phase = phase;
        if (phase == AK_VM_PHASE_FAILED) {
                (void)snprintf(s->reason, sizeof(s->reason), "ImageNotFound");
                (void)snprintf(s->message, sizeof(s->message), "no such image");
        } else if (phase == AK_VM_PHASE_CRASHED) {
                (void)snprintf(s->reason, sizeof(s->reason), "GuestPanicked");
                (void)snprintf(s->message, sizeof(s->message), "the guest's kernel panicked");
        }
        (void)snprintf(s->accel, sizeof(s->accel), "tcg");
        if (phase == AK_VM_PHASE_RUNNING)
                s->started_us = w->real;
        world_say(w, m, 1);
}

void world_port_says(struct world *w, const char *uid, const char *id, enum ak_port_state state,
                     const char *reason)
{
        const struct ak_nic_diff *wish = world_nic_wish(w, uid, id);
        struct ak_message *m = ak_message_new(ak_message_port_status);
        struct ak_port_status *s = &m->port_status;
        (void)snprintf(s->pod_uid, sizeof(s->pod_uid), "%s", uid);
        (void)snprintf(s->port_id, sizeof(s->port_id), "%s", id);
        (void)snprintf(s->nic, sizeof(s->nic), "%s", wish ? wish->nic : "");
        (void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
        s->generation = wish ? wish->generation : 0;
        s->attempt = wish ? wish->attempt : 0;
        s->state = state;
        s->prepare_us = 3000;
        world_say(w, m, 0);
}

void world_nic_says(struct world *w, const char *uid, const char *id, enum ak_nic_state state,
                    const char *reason)
{
        const struct ak_nic_diff *wish = world_nic_wish(w, uid, id);
        struct ak_message *m = ak_message_new(ak_message_nic_status);
        struct ak_nic_status *s = &m->nic_status;
        (void)snprintf(s->pod_uid, sizeof(s->pod_uid), "%s", uid);
        (void)snprintf(s->port_id, sizeof(s->port_id), "%s", id);
        (void)snprintf(s->nic, sizeof(s->nic), "%s", wish ? wish->nic : "");
        (void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
        s->generation = wish ? wish->generation : 0;
        s->attempt = wish ? wish->attempt : 0;
        s->state = state;
        if (state == AK_NIC_WAITING_FOR_GUEST || state == AK_NIC_READY || state == AK_NIC_DETACHING) {
                (void)snprintf(s->device_alias, sizeof(s->device_alias), "ua-%s", id);
                (void)snprintf(s->pci_address, sizeof(s->pci_address), "0000:01:00.0");
                (void)snprintf(s->mac, sizeof(s->mac), "%s", wish ? wish->mac : "");
        }
        s->attach_us = 17000;
        s->guest_us = 300000;
        if (state == AK_NIC_DETACHED)
                s->detach_us = 103000;
        world_say(w, m, 1);
}

void world_plug(struct world *w, const char *uid, const char *id)
{
        world_port_says(w, uid, id, AK_PORT_READY, "");
        world_nic_says(w, uid, id, AK_NIC_ATTACHING, "");
        world_nic_says(w, uid, id, AK_NIC_WAITING_FOR_GUEST, "");
        world_nic_says(w, uid, id, AK_NIC_READY, "");
}

void world_unplug(struct world *w, const char *uid, const char *id)
{
        world_nic_says(w, uid, id, AK_NIC_DETACHING, "");
        world_nic_says(w, uid, id, AK_NIC_DETACHED, "");
        world_port_says(w, uid, id, AK_PORT_RELEASED, "");
}

/* ------------------------------------------------------------------ time */

void world_advance(struct world *w, uint64_t us)
{
        uint64_t until = w->now + us;
        struct watcher_event tick = {.type = WATCHER_EVENT_TICK};
        for (int i = 0; w->wake && w->wake <= until; i++) {
                assert_true(i < 100000); /* a core that asks to be woken without end */
                uint64_t at = w->wake > w->now ? w->wake : w->now;
                w->real += at - w->now;
                w->now = at;
                w->wake = 0;
                world_step(w, &tick);
        }
        w->real += until - w->now;
        w->now = until;
}
