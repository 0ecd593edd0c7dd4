/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of the core: events are sorted in here; what follows from them is in the other files. */
#include <errno.h>
#include <string.h>

#include "libcommon/kube/frame.h"
#include "services/watcher/core_internal.h"

#define TASK_BACKOFF_BASE_US 250000
#define TASK_BACKOFF_CAP_US  30000000

/* ------------------------------------------------------------------ actions */

static void action_deinit(struct watcher_action *action)
{
        ak_message_free(action->message);
        json_decref(action->body);
}

void watcher_actions_clear(struct watcher_actions *actions)
{
        for (size_t i = 0; i < actions->count; i++)
                action_deinit(&actions->items[i]);
        actions->count = 0;
}

void watcher_actions_deinit(struct watcher_actions *actions)
{
        watcher_actions_clear(actions);
        free(actions->items);
        *actions = (struct watcher_actions){0};
}

struct watcher_action *watcher_emit(struct watcher_core *core, enum watcher_action_type type)
{
        struct watcher_actions *list = core->out;
        if (list->count == list->capacity) {
                size_t capacity = list->capacity ? 2 * list->capacity : 16;
                struct watcher_action *items = reallocarray(list->items, capacity, sizeof(*items));
                if (!items) {
                        core->error = -ENOMEM;
                        return NULL;
                }
                list->items = items;
                list->capacity = capacity;
        }
        struct watcher_action *action = &list->items[list->count++];
        *action = (struct watcher_action){.type = type};
        return action;
}

uint64_t watcher_call(struct watcher_core *core, enum watcher_call_type type, const char *name_space,
                      const char *name, json_t *body)
{
        struct watcher_action *action = watcher_emit(core, WATCHER_ACTION_CALL);
        if (!action) {
                json_decref(body);
                return 0;
        }
        action->op = ++core->next_op;
        action->call = type;
        action->body = body;
        W_COPY(action->name_space, name_space);
        W_COPY(action->name, name);
        return action->op;
}

void watcher_log(struct watcher_core *core, enum ak_log_level level, const char *event,
                 const struct watcher_vm *vm, const struct watcher_nic *nic, const char *format, ...)
{
        va_list args;
        struct watcher_action *action = watcher_emit(core, WATCHER_ACTION_LOG);
        if (!action)
                return;
        action->level = level;
        action->event = event;
        if (vm)
                W_COPY(action->pod, vm->uid);
        if (nic) {
                W_COPY(action->nic, nic->name);
                W_COPY(action->port, nic->port_id);
        }
        va_start(args, format);
        (void)vsnprintf(action->text, sizeof(action->text), format, args);
        va_end(args);
}

/* FNV-1a; what it is used for needs spread, not strength. */
uint64_t watcher_seed(const struct watcher_core *core, const char *text)
{
        uint64_t hash = UINT64_C(14695981039346656037) ^ core->config.seed;
        for (; *text; text++)
                hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
        return hash;
}

/* The trace of the change that a wish stems from: the API's, where it gave one, else one per generation. */
static void trace_of(const struct watcher_core *core, const struct watcher_vm *vm, char out[56])
{
        if (vm->spec && vm->spec->trace[0]) {
                (void)snprintf(out, 56, "%s", vm->spec->trace);
                return;
        }
        uint64_t high = watcher_seed(core, vm->uid);
        uint64_t low = (high ^ vm->generation) * UINT64_C(0x9e3779b97f4a7c15);
        (void)snprintf(out, 56, "00-%016llx%016llx-%016llx-01", (unsigned long long)high,
                       (unsigned long long)(low | 1), (unsigned long long)((high >> 7) | 1));
}

void watcher_publish(struct watcher_core *core, const struct watcher_vm *vm, const struct ak_message *message)
{
        struct ak_message *copy = ak_message_dup(message);
        struct watcher_action *action = copy ? watcher_emit(core, WATCHER_ACTION_PUBLISH) : NULL;
        if (!action) {
                ak_message_free(copy);
                core->error = -ENOMEM;
                return;
        }
        action->message = copy;
        trace_of(core, vm, action->trace);
}

void watcher_forget(struct watcher_core *core, const struct ak_message *message)
{
        struct watcher_action *action = watcher_emit(core, WATCHER_ACTION_FORGET);
        if (action)
                ak_message_topic(message, action->topic);
}

/* ------------------------------------------------------------------ time and tasks */

void watcher_wake_at(struct watcher_vm *vm, uint64_t at_us)
{
        if (at_us && (!vm->next_us || at_us < vm->next_us))
                vm->next_us = at_us;
}

bool watcher_confirmed(const struct watcher_core *core, int peer, uint64_t epoch)
{
        return !core->peers[peer].seen || core->peers[peer].epoch == epoch;
}

bool watcher_orphan_due(struct watcher_core *core, struct watcher_vm *vm, uint64_t *unknown_us)
{
        if (!core->synced_us)
                return false;
        if (!*unknown_us)
                *unknown_us = core->now;
        uint64_t since = *unknown_us > core->synced_us ? *unknown_us : core->synced_us;
        if (core->now >= since + core->config.orphan_us)
                return true;
        watcher_wake_at(vm, since + core->config.orphan_us);
        return false;
}

void watcher_task_init(struct watcher_task *task, uint64_t seed)
{
        ak_backoff_init(&task->backoff, TASK_BACKOFF_BASE_US, TASK_BACKOFF_CAP_US, seed);
}

bool watcher_task_ready(struct watcher_core *core, struct watcher_vm *vm, const struct watcher_task *task)
{
        if (task->op)
                return false;
        if (core->now >= task->retry_us)
                return true;
        watcher_wake_at(vm, task->retry_us);
        return false;
}

void watcher_task_done(struct watcher_core *core, struct watcher_task *task, enum watcher_outcome outcome)
{
        task->op = 0;
        if (outcome == WATCHER_OK) {
                ak_backoff_reset(&task->backoff);
                task->retry_us = 0;
        } else {
                task->retry_us = core->now + ak_backoff_next(&task->backoff);
        }
}

/* ------------------------------------------------------------------ events from the API */

/* False: what is known is as new. */
static bool pod_is_news(const struct watcher_vm *vm, uint64_t version)
{
        return !version || version > vm->version;
}

static void pod_store(struct watcher_core *core, struct watcher_vm *vm, json_t *object,
                      struct watcher_pod *decoded)
{
        json_decref(vm->pod);
        vm->pod = json_incref(object);
        watcher_pod_free(vm->spec);
        vm->spec = decoded;
        vm->vanished = false;
        vm->unknown_us = 0;
        if (!vm->pod_us)
                vm->pod_us = core->now;
        vm->version = decoded->resource_version;
        if (decoded->generation > vm->generation)
                vm->generation = decoded->generation;
        W_COPY(vm->name_space, decoded->name_space);
        W_COPY(vm->name, decoded->name);
        if (!vm->wish)
                watcher_vm_adopt(vm);
        watcher_vm_touch(core, vm);
        watcher_nics_collect(core, vm);
}

static void pod_put(struct watcher_core *core, json_t *object)
{
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        struct watcher_pod *decoded = NULL;
        int rc = watcher_pod_decode(object, core->config.nic_slots, &decoded, error);
        if (rc < 0) {
                watcher_log(core, AK_LOG_WARN, "bad_pod", NULL, NULL, "%s/%s: %s",
                            ak_kube_meta(object, "namespace"), ak_kube_meta(object, "name"), error);
                core->error = rc;
                return;
        }
        struct watcher_vm *vm = watcher_vm_get(core, decoded->uid);
        if (!vm || !pod_is_news(vm, decoded->resource_version)) {
                watcher_pod_free(decoded);
                return;
        }
        pod_store(core, vm, object, decoded);
}

static void pod_gone(struct watcher_core *core, const json_t *object)
{
        struct watcher_vm *vm = watcher_vm_find(core, ak_kube_meta(object, "uid"));
        if (!vm)
                return;
        /* Whatever is still on its way with an older version must not bring it back. */
        uint64_t version = ak_kube_resource_version(object);
        if (version > vm->version)
                vm->version = version;
        json_decref(vm->pod);
        vm->pod = NULL;
        vm->vanished = true;
        watcher_vm_touch(core, vm);
}

static void touch_vm_of(struct watcher_core *core, const char *uid)
{
        struct watcher_vm *vm = uid[0] ? watcher_vm_find(core, uid) : NULL;
        if (vm)
                watcher_vm_touch(core, vm);
}

static int port_store(struct watcher_core *core, struct watcher_port *port)
{
        char before[AK_LEN_UID + 1] = "";
        const struct watcher_port *old = watcher_port_find(core, port->id);
        if (old)
                W_COPY(before, old->pod_uid);
        int rc = watcher_port_store(core, port);
        if (rc == 0)
                touch_vm_of(core, before);
        return rc;
}

static void port_put(struct watcher_core *core, json_t *object)
{
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        struct watcher_port *port = NULL;
        int rc = watcher_port_decode(object, &port, error);
        if (rc == 0)
                rc = port_store(core, port);
        if (rc == -EALREADY) {
                watcher_port_free(port);
                return;
        }
        if (rc < 0) {
                watcher_log(core, AK_LOG_WARN, "bad_port", NULL, NULL, "%s: %s", ak_kube_meta(object, "name"),
                            rc == -ENOSPC ? "too many ports" : error);
                core->error = rc;
                watcher_port_free(port);
                return;
        }
        bool used = port->phase == W_PORT_BOUND || port->phase == W_PORT_RELEASING;
        struct watcher_vm *vm = port->pod_uid[0] && used ? watcher_vm_get(core, port->pod_uid) : NULL;
        if (vm) {
                watcher_nics_collect(core, vm);
                watcher_vm_touch(core, vm);
        }
}

static void port_gone(struct watcher_core *core, const json_t *object)
{
        const char *id = ak_kube_meta(object, "name");
        struct watcher_port *port = watcher_port_find(core, id);
        if (!port)
                return;
        touch_vm_of(core, port->pod_uid);
        watcher_port_drop(core, port);
}

static void synced(struct watcher_core *core, bool *which)
{
        *which = true;
        if (core->synced_us || !core->pods_synced || !core->ports_synced)
                return;
        core->synced_us = core->now;
        watcher_log(core, AK_LOG_INFO, "synced", NULL, NULL, "%zu pods, %zu ports", core->vm_count,
                    zhashx_size(core->ports));
        watcher_vm_touch_all(core);
}

/* ------------------------------------------------------------------ events from the bus */

static void vm_status(struct watcher_core *core, const struct ak_vm_status *status, uint64_t epoch)
{
        struct watcher_vm *vm = watcher_vm_find(core, status->pod_uid);
        if (!vm && status->phase == AK_VM_PHASE_ABSENT)
                return;
        if (!vm)
                vm = watcher_vm_get(core, status->pod_uid);
        if (vm)
                watcher_vm_status(core, vm, status, epoch);
}

/* The NIC that a report is about; made where something is reported that is still there. */
static struct watcher_nic *reported_nic(struct watcher_core *core, const char *pod_uid, const char *port_id,
                                        const char *name, bool gone)
{
        struct watcher_vm *vm = watcher_vm_find(core, pod_uid);
        struct watcher_nic *nic = vm ? watcher_nic_find(vm, port_id) : NULL;
        if (!nic && gone)
                return NULL;
        if (!vm)
                vm = watcher_vm_get(core, pod_uid);
        if (!vm)
                return NULL;
        watcher_vm_touch(core, vm);
        return nic ? nic : watcher_nic_add(core, vm, port_id, name);
}

static void port_status(struct watcher_core *core, const struct ak_port_status *status, uint64_t epoch)
{
        struct watcher_nic *nic = reported_nic(core, status->pod_uid, status->port_id, status->nic,
                                               status->state == AK_PORT_RELEASED);
        if (nic)
                watcher_nic_port_status(nic, status, epoch);
}

static void nic_status(struct watcher_core *core, const struct ak_nic_status *status, uint64_t epoch)
{
        bool gone = status->state == AK_NIC_DETACHED ||
                    (status->state == AK_NIC_FAILED && status->device_alias[0] == '\0');
        struct watcher_nic *nic = reported_nic(core, status->pod_uid, status->port_id, status->nic, gone);
        if (nic)
                watcher_nic_nic_status(nic, status, epoch);
}

static void peer_seen(struct watcher_core *core, const char *name, uint64_t epoch)
{
        for (int i = 0; i < W_PEERS; i++) {
                struct watcher_peer *peer = &core->peers[i];
                if (strcmp(peer->name, name) != 0 || (peer->seen && peer->epoch == epoch))
                        continue;
                *peer = (struct watcher_peer){
                    .name = peer->name, .seen = true, .epoch = epoch, .since_us = core->now};
                watcher_log(core, AK_LOG_INFO, "peer_started", NULL, NULL, "%s", peer->name);
                watcher_vm_touch_all(core);
        }
}

static void message(struct watcher_core *core, const struct watcher_event *event)
{
        if (event->epoch)
                peer_seen(core, event->peer, event->epoch);
        switch (event->message->type) {
        case ak_message_vm_status:
                vm_status(core, &event->message->vm_status, event->epoch);
                break;
        case ak_message_port_status:
                port_status(core, &event->message->port_status, event->epoch);
                break;
        case ak_message_nic_status:
                nic_status(core, &event->message->nic_status, event->epoch);
                break;
        default:
                break;
        }
}

/* ------------------------------------------------------------------ answers from the API */

static void complain(struct watcher_core *core, const char *what, const struct watcher_vm *vm,
                     const struct watcher_nic *nic, const struct watcher_event *answer)
{
        enum ak_log_level level = answer->outcome == WATCHER_FORBIDDEN ? AK_LOG_ERROR : AK_LOG_WARN;
        if (answer->outcome != WATCHER_OK)
                watcher_log(core, level, what, vm, nic, "%s: %s", watcher_outcome_name(answer->outcome),
                            answer->text);
}

static void status_written(struct watcher_core *core, struct watcher_vm *vm,
                           const struct watcher_event *answer)
{
        watcher_task_done(core, &vm->status_task, answer->outcome);
        complain(core, "pod_status_refused", vm, NULL, answer);
        if (answer->outcome == WATCHER_OK) {
                if (answer->object)
                        pod_put(core, answer->object);
                vm->sent_version = vm->version;
        } else {
                json_decref(vm->sent);
                vm->sent = NULL;
                vm->urgent = true;
        }
}

static void pod_deleted(struct watcher_core *core, struct watcher_vm *vm, const struct watcher_event *answer)
{
        bool done = answer->outcome == WATCHER_OK || answer->outcome == WATCHER_GONE;
        watcher_task_done(core, &vm->delete_task, answer->outcome);
        complain(core, "pod_delete_refused", vm, NULL, answer);
        if (!done)
                return;
        /* The list says when it is gone; should it never (a finalizer), ask again in a while. */
        vm->delete_task.retry_us = core->now + TASK_BACKOFF_CAP_US;
}

/*
 * Gone: it was released before. A conflict: the port is another than we spoke of; its next version tells
 * whether there is still something to release. Neither is a fault.
 */
static void port_released(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                          const struct watcher_event *answer)
{
        const struct watcher_port *port = watcher_port_find(core, nic->port_id);
        bool refused = answer->outcome == WATCHER_FORBIDDEN || answer->outcome == WATCHER_RETRY;
        watcher_task_done(core, &nic->release, refused ? answer->outcome : WATCHER_OK);
        if (refused) {
                complain(core, "port_release_refused", vm, nic, answer);
                return;
        }
        bool conflict = answer->outcome == WATCHER_CONFLICT;
        nic->release.retry_us = core->now + (conflict ? core->config.republish_us : TASK_BACKOFF_CAP_US);
        if (conflict)
                return;
        uint64_t version = port ? port->resource_version : 0;
        uint64_t returned = answer->object ? ak_kube_resource_version(answer->object) : 0;
        nic->released = true;
        nic->released_version = returned > version ? returned : version;
}

static void nic_answer(struct watcher_core *core, struct watcher_vm *vm, const struct watcher_event *answer)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                if (vm->nics[i]->release.op == answer->op) {
                        port_released(core, vm, vm->nics[i], answer);
                        return;
                }
        }
}

static void api_answer(struct watcher_core *core, const struct watcher_event *event)
{
        if (!event->op || watcher_event_answer(core, event) || watcher_node_answer(core, event))
                return;
        struct watcher_vm *vm = watcher_vm_answered_call(core, event->op);
        if (!vm)
                return;
        watcher_vm_touch(core, vm);
        if (vm->status_task.op == event->op)
                status_written(core, vm, event);
        else if (vm->delete_task.op == event->op)
                pod_deleted(core, vm, event);
        else
                nic_answer(core, vm, event);
}

/* ------------------------------------------------------------------ step */

static bool needs_object(enum watcher_event_type type)
{
        return type == WATCHER_EVENT_POD_PUT || type == WATCHER_EVENT_POD_GONE ||
               type == WATCHER_EVENT_PORT_PUT || type == WATCHER_EVENT_PORT_GONE ||
               type == WATCHER_EVENT_NODE;
}

static void take(struct watcher_core *core, const struct watcher_event *event)
{
        switch (event->type) {
        case WATCHER_EVENT_TICK:
                core->wake_us = 0; /* the shell's timer is spent, even where it came a little early */
                break;
        case WATCHER_EVENT_POD_PUT:
                pod_put(core, event->object);
                break;
        case WATCHER_EVENT_POD_GONE:
                pod_gone(core, event->object);
                break;
        case WATCHER_EVENT_PODS_SYNCED:
                synced(core, &core->pods_synced);
                break;
        case WATCHER_EVENT_PORT_PUT:
                port_put(core, event->object);
                break;
        case WATCHER_EVENT_PORT_GONE:
                port_gone(core, event->object);
                break;
        case WATCHER_EVENT_PORTS_SYNCED:
                synced(core, &core->ports_synced);
                break;
        case WATCHER_EVENT_MESSAGE:
                message(core, event);
                break;
        case WATCHER_EVENT_PEER:
                peer_seen(core, event->peer, event->epoch);
                break;
        case WATCHER_EVENT_ANSWER:
                api_answer(core, event);
                break;
        case WATCHER_EVENT_NODE:
                json_decref(core->node.wanted);
                core->node.wanted = json_incref(event->object);
                core->node.check_us = core->now;
                core->node.compared = false;
                break;
        }
}

/* With half of the lists nothing can be decided: until then the touched wait. */
static void reconcile(struct watcher_core *core)
{
        if (!core->synced_us)
                return;
        size_t count = watcher_vms_take_touched(core);
        for (size_t i = 0; i < count; i++) {
                struct watcher_vm *vm = core->batch[i];
                vm->next_us = 0;
                watcher_vm_reconcile(core, vm);
                if (watcher_vm_over(vm))
                        watcher_vm_drop(core, vm);
                else if (ak_deadline_set(&core->due, &vm->due, vm->next_us) < 0)
                        core->error = -ENOMEM;
        }
}

static void ask_to_be_woken(struct watcher_core *core)
{
        uint64_t at = watcher_node_deadline(core), next = ak_deadlines_next_us(&core->due);
        if (next && (!at || next < at))
                at = next;
        if (at == core->wake_us && at > core->now)
                return;
        core->wake_us = at;
        struct watcher_action *action = at ? watcher_emit(core, WATCHER_ACTION_WAKE) : NULL;
        if (action)
                action->at_us = at;
}

int watcher_core_step(struct watcher_core *core, const struct watcher_event *event, uint64_t now_us,
                      uint64_t real_us, struct watcher_actions *out)
{
        if ((needs_object(event->type) && !json_is_object(event->object)) ||
            (event->type == WATCHER_EVENT_MESSAGE && !event->message))
                return -EBADMSG;
        core->now = now_us;
        core->real = real_us;
        core->out = out;
        core->error = 0;
        take(core, event);
        if (event->more && event->type == WATCHER_EVENT_MESSAGE)
                return core->error;
        reconcile(core);
        watcher_node_reconcile(core);
        ask_to_be_woken(core);
        return core->error;
}

/* ------------------------------------------------------------------ life */

int watcher_core_new(struct watcher_core **out, const struct watcher_core_config *config)
{
        AK_CLEANUP(watcher_core_freep) struct watcher_core *core = calloc(1, sizeof(*core));
        if (!core)
                return -ENOMEM;
        core->config = *config;
#define SET_DEFAULT(name, def, doc)                                                                          \
        if (!core->config.name)                                                                              \
                core->config.name = (def);
        WATCHER_CONFIG_NUMBERS(SET_DEFAULT)
#undef SET_DEFAULT
        core->records = calloc(W_MAX_RECORDS, sizeof(*core->records));
        core->wish = ak_message_new(ak_message_nic_diff);
        if (!core->records || !core->wish || watcher_tables_init(core) < 0)
                return -ENOMEM;
        core->peers[W_NETWORK].name = "network";
        core->peers[W_HYPERVISOR].name = "hypervisor";
        watcher_task_init(&core->node.task, core->config.seed);
        core->node.ready = -1;
        *out = AK_STEAL(core);
        return 0;
}

struct watcher_core *watcher_core_free(struct watcher_core *core)
{
        if (!core)
                return NULL;
        watcher_tables_deinit(core);
        free(core->records);
        free(core->wish); /* what it lists is not its own */
        watcher_node_deinit(&core->node);
        free(core);
        return NULL;
}

void watcher_core_stats(const struct watcher_core *core, struct watcher_core_stats *out)
{
        *out = (struct watcher_core_stats){
            .vms = core->vm_count, .ports = zhashx_size(core->ports), .synced = core->synced_us != 0};
        for (size_t i = 0; i < core->vm_count; i++) {
                const struct watcher_vm *vm = core->vms[i];
                out->vms_running += vm->have_status && vm->status.phase == AK_VM_PHASE_RUNNING;
                out->nics += vm->nic_count;
                for (size_t n = 0; n < vm->nic_count; n++) {
                        out->nics_ready += vm->nics[n]->state == W_READY;
                        out->nics_settled += vm->nics[n]->settled;
                }
        }
}
