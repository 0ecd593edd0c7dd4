/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's frame: records of VMs and NICs, dispatch of events, the connection to the driver.
 *
 * Looking at the driver's truth races with events that arrive meanwhile. So a look (list, inspect) marks
 * the VM untouched when it is asked for; whatever happens to the VM before the answer comes marks it
 * touched, and then the answer is thrown away and the look repeated.
 */
#include "services/hypervisor/core.h"

#include <errno.h>
#include <string.h>

#include "services/hypervisor/core_internal.h"

#define RECONNECT_CAP HV_US(10)

static uint64_t or_default(uint64_t value, uint64_t def)
{
        return value ? value : def;
}

int hv_core_new(struct hv_core **out, const struct hv_core_config *config)
{
        struct hv_core *core = calloc(1, sizeof(*core));

        if (!core)
                return -ENOMEM;
        core->config = *config;
        core->config.max_vms = or_default(config->max_vms, 1024);
        core->config.boot_wait_us = or_default(config->boot_wait_us, HV_US(20));
        core->config.guest_wait_us = or_default(config->guest_wait_us, HV_US(30));
        core->config.unplug_wait_us = or_default(config->unplug_wait_us, HV_US(2));
        core->config.retain_us = or_default(config->retain_us, HV_US(60));
        core->config.list_every_us = or_default(config->list_every_us, HV_US(60));
        core->config.default_memory = or_default(config->default_memory, UINT64_C(512) << 20);
        ak_backoff_init(&core->backoff, HV_MS(100), RECONNECT_CAP, config->seed);
        core->by_uid = zhashx_new();
        core->vm_status = ak_message_new(ak_message_vm_status);
        core->nic_status = ak_message_new(ak_message_nic_status);
        if (!core->by_uid || !core->vm_status || !core->nic_status) {
                hv_core_free(core);
                return -ENOMEM;
        }
        *out = core;
        return 0;
}

static void nic_free(struct hv_nic *nic)
{
        ak_message_free(nic->wish);
        ak_message_free(nic->port);
        ak_message_free(nic->published);
        free(nic);
}

static void vm_free(struct hv_vm *vm)
{
        for (size_t i = 0; i < vm->nic_count; i++)
                nic_free(vm->nics[i]);
        ak_message_free(vm->wish);
        ak_message_free(vm->published);
        free(vm);
}

struct hv_core *hv_core_free(struct hv_core *core)
{
        if (!core)
                return NULL;
        for (size_t i = 0; i < core->vm_count; i++)
                vm_free(core->vms[i]);
        free(core->vms);
        free(core->scratch);
        zhashx_destroy(&core->by_uid);
        ak_message_free(core->vm_status);
        ak_message_free(core->nic_status);
        ak_deadlines_deinit(&core->due);
        free(core);
        return NULL;
}

/* ------------------------------------------------------------------ records */

struct hv_vm *hv_core_find_vm(const struct hv_core *core, const char *uid)
{
        return zhashx_lookup(core->by_uid, uid);
}

static int grow_vms(struct hv_core *core)
{
        size_t capacity = core->vm_capacity ? core->vm_capacity * 2 : 16;
        struct hv_vm **vms, **scratch;

        if (core->vm_count >= core->config.max_vms)
                return -ENOSPC;
        if (core->vm_count < core->vm_capacity)
                return 0;
        vms = reallocarray(core->vms, capacity, sizeof(struct hv_vm *));
        if (!vms)
                return -ENOMEM;
        core->vms = vms;
        scratch = reallocarray(core->scratch, capacity, sizeof(struct hv_vm *));
        if (!scratch)
                return -ENOMEM;
        core->scratch = scratch;
        core->vm_capacity = capacity;
        return 0;
}

struct hv_vm *hv_core_get_vm(struct hv_core *core, const char *uid)
{
        struct hv_vm *vm = hv_core_find_vm(core, uid);
        int r;

        if (vm)
                return vm;
        r = grow_vms(core);
        if (r < 0) {
                core->error = r;
                return NULL;
        }
        vm = calloc(1, sizeof(*vm));
        if (!vm || zhashx_insert(core->by_uid, uid, vm) != 0) {
                free(vm);
                core->error = -ENOMEM;
                return NULL;
        }
        HV_COPY(vm->uid, uid);
        vm->due.owner = vm;
        /* A complete list did not have it. */
        vm->known = core->listed && !core->listing;
        vm->index = core->vm_count;
        core->vms[core->vm_count++] = vm;
        return vm;
}

struct hv_nic *hv_vm_find_nic(const struct hv_vm *vm, const char *port_id)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                if (strcmp(vm->nics[i]->port_id, port_id) == 0)
                        return vm->nics[i];
        }
        return NULL;
}

struct hv_nic *hv_vm_get_nic(struct hv_core *core, struct hv_vm *vm, const char *port_id)
{
        struct hv_nic *nic = hv_vm_find_nic(vm, port_id);

        if (nic)
                return nic;
        if (vm->nic_count >= HV_MAX_NIC_RECORDS) {
                core->error = -ENOSPC;
                return NULL;
        }
        nic = calloc(1, sizeof(*nic));
        if (!nic) {
                core->error = -ENOMEM;
                return NULL;
        }
        HV_COPY(nic->port_id, port_id);
        vm->nics[vm->nic_count++] = nic;
        return nic;
}

void hv_vm_drop_nic(struct hv_vm *vm, size_t i)
{
        nic_free(vm->nics[i]);
        vm->nics[i] = vm->nics[--vm->nic_count];
}

void hv_core_drop_vm(struct hv_core *core, struct hv_vm *vm)
{
        struct hv_vm *last = core->vms[--core->vm_count];

        (void)ak_deadline_set(&core->due, &vm->due, 0);
        zhashx_delete(core->by_uid, vm->uid);
        core->vms[vm->index] = last;
        last->index = vm->index;
        vm_free(vm);
}

/* ------------------------------------------------------------------ small helpers */

struct hv_action *hv_emit(struct hv_core *core, enum hv_action_type type)
{
        struct hv_actions *out = core->out;
        struct hv_action *a;

        if (out->count == out->capacity) {
                size_t capacity = out->capacity ? out->capacity * 2 : 16;

                a = reallocarray(out->items, capacity, sizeof(*a));
                if (!a) {
                        core->error = -ENOMEM;
                        return NULL;
                }
                out->items = a;
                out->capacity = capacity;
        }
        a = &out->items[out->count++];
        memset(a, 0, sizeof(*a));
        a->type = type;
        return a;
}

struct hv_action *hv_emit_op(struct hv_core *core, struct hv_vm *vm, enum hv_op op)
{
        struct hv_action *a = hv_emit(core, HV_ACTION_DRIVER);

        if (!a)
                return NULL;
        a->op = op;
        a->id = op == HV_OP_PROBE ? ++core->next_probe_id : ++core->next_id;
        HV_COPY(a->pod_uid, vm->uid);
        return a;
}

void hv_inspect(struct hv_core *core, struct hv_vm *vm)
{
        struct hv_action *a;

        if (vm->inspect_id || !core->connected)
                return;
        a = hv_emit_op(core, vm, HV_OP_INSPECT);
        if (!a)
                return;
        vm->inspect_id = a->id;
        vm->touched = false;
}

void hv_connection_lost(struct hv_core *core, struct hv_vm *vm)
{
        uint64_t soon = core->now_us + HV_MS(200);

        vm->known = false;
        if (core->list_at_us > soon)
                core->list_at_us = soon;
}

void hv_key_of_nic(const struct hv_nic *nic, struct hv_key *out)
{
        *out = (struct hv_key){0};
        if (!nic->wish)
                return;
        out->generation = nic->wish->nic_diff.generation;
        out->attempt = nic->wish->nic_diff.attempt;
        out->set = true;
}

bool hv_key_newer(const struct hv_key *wish, const struct hv_key *tried)
{
        if (!tried->set)
                return true;
        if (wish->generation != tried->generation)
                return wish->generation > tried->generation;
        return wish->attempt > tried->attempt;
}

bool hv_nic_attach_tried(const struct hv_nic *nic)
{
        struct hv_key key;

        hv_key_of_nic(nic, &key);
        return !hv_key_newer(&key, &nic->attach_tried);
}

void hv_fault_set(struct hv_fault *fault, const char *reason, const char *message)
{
        HV_COPY(fault->reason, reason);
        HV_COPY(fault->message, message);
}

/* ------------------------------------------------------------------ messages */

/*
 * Does `next` replace what is held? Not when its generation is older. Within one generation the later
 * message counts: the publisher may have been restarted and count its attempts anew, then what was tried
 * is set back to where it counts from.
 */
static bool supersedes(uint64_t held_generation, uint64_t generation)
{
        return generation >= held_generation;
}

static void rebase(struct hv_key *tried, uint64_t generation, uint64_t attempt)
{
        if (tried->set && tried->generation == generation && attempt < tried->attempt)
                tried->attempt = attempt;
}

static void store(struct hv_core *core, struct ak_message **slot, const struct ak_message *m)
{
        struct ak_message *copy = ak_message_dup(m);

        if (!copy) {
                core->error = -ENOMEM;
                return;
        }
        ak_message_free(*slot);
        *slot = copy;
}

static bool wants_up(const struct ak_vm_diff *diff)
{
        return diff->wanted == AK_VM_WANTED_RUNNING || diff->wanted == AK_VM_WANTED_PAUSED;
}

static struct hv_vm *on_vm_diff(struct hv_core *core, const struct ak_message *m)
{
        const struct ak_vm_diff *diff = &m->vm_diff;
        struct hv_vm *vm = hv_core_get_vm(core, diff->pod_uid);
        bool first = vm && !vm->wish;

        if (!vm)
                return NULL;
        if (vm->wish && !supersedes(vm->wish->vm_diff.generation, diff->generation))
                return vm;
        rebase(&vm->start_tried, diff->generation, diff->attempt);
        /* Wanted to be up again: that it was stopped on request does not stand in the way. */
        if (vm->wish && !wants_up(&vm->wish->vm_diff) && wants_up(diff))
                vm->start_tried.set = false;
        store(core, &vm->wish, m);
        if (first)
                hv_vm_adopt_start(vm);
        if (diff->pod_namespace[0])
                HV_COPY(vm->pod_namespace, diff->pod_namespace);
        if (diff->pod_name[0])
                HV_COPY(vm->pod_name, diff->pod_name);
        vm->forget_at_us = 0;
        return vm;
}

static struct hv_vm *on_nic_diff(struct hv_core *core, const struct ak_message *m)
{
        const struct ak_nic_diff *diff = &m->nic_diff;
        struct hv_vm *vm = hv_core_get_vm(core, diff->pod_uid);
        struct hv_nic *nic = vm ? hv_vm_get_nic(core, vm, diff->port_id) : NULL;

        if (!nic)
                return vm;
        if (nic->wish && !supersedes(nic->wish->nic_diff.generation, diff->generation))
                return vm;
        rebase(&nic->attach_tried, diff->generation, diff->attempt);
        rebase(&nic->detach_tried, diff->generation, diff->attempt);
        rebase(&nic->link_tried, diff->generation, diff->attempt);
        /* The direction changed: nothing was tried in it yet. */
        if (nic->wish && nic->wish->nic_diff.wanted != diff->wanted) {
                nic->attach_tried.set = false;
                nic->detach_tried.set = false;
        }
        store(core, &nic->wish, m);
        if (diff->nic[0])
                HV_COPY(nic->name, diff->nic);
        nic->forget_at_us = 0;
        return vm;
}

static bool another_device(const struct hv_nic *nic, const struct ak_port_status *port)
{
        return nic->port && nic->port->port_status.ifindex != port->ifindex;
}

/* *again: it is to be answered although nothing may have changed. */
static struct hv_vm *on_port_status(struct hv_core *core, const struct ak_message *m, bool *again)
{
        const struct ak_port_status *port = &m->port_status;
        struct hv_vm *vm = hv_core_find_vm(core, port->pod_uid);
        struct hv_nic *nic = vm ? hv_vm_find_nic(vm, port->port_id) : NULL;

        /* A port that is gone is no reason to make a record. */
        if (!nic && port->state == AK_PORT_RELEASED)
                return NULL;
        if (!vm)
                vm = hv_core_get_vm(core, port->pod_uid);
        if (vm && !nic)
                nic = hv_vm_get_nic(core, vm, port->port_id);
        if (!nic)
                return vm;
        if (nic->port && !supersedes(nic->port->port_status.generation, port->generation))
                return vm;
        *again = another_device(nic, port);
        store(core, &nic->port, m);
        if (!nic->name[0])
                HV_COPY(nic->name, port->nic);
        hv_nic_tap_heard(core, vm, nic);
        return vm;
}

/*
 * A wish is answered each time, for its repetition says that somebody waits. port.status is no question: a
 * node that restarts hears thousands, and would say as many times what it has just said.
 */
static void on_message(struct hv_core *core, const struct ak_message *m)
{
        struct hv_vm *vm = NULL;
        struct hv_nic *nic = NULL;
        bool again = true;

        switch (m->type) {
        case ak_message_vm_diff:
                vm = on_vm_diff(core, m);
                break;
        case ak_message_nic_diff:
                vm = on_nic_diff(core, m);
                nic = vm ? hv_vm_find_nic(vm, m->nic_diff.port_id) : NULL;
                break;
        case ak_message_port_status:
                again = false;
                vm = on_port_status(core, m, &again);
                nic = vm ? hv_vm_find_nic(vm, m->port_status.port_id) : NULL;
                break;
        default:
                return;
        }
        if (!vm)
                return;
        hv_vm_advance(core, vm);
        if (nic)
                hv_status_publish_nic(core, vm, nic, again);
        else
                hv_status_publish(core, vm, again);
        hv_due_changed(core, vm);
}

/* ------------------------------------------------------------------ driver */

static void on_connected(struct hv_core *core, const struct hv_result *result)
{
        core->connecting = false;
        if (result->head.error != HV_OK) {
                core->connect_at_us = core->now_us + ak_backoff_next(&core->backoff);
                return;
        }
        ak_backoff_reset(&core->backoff);
        core->connected = true;
        core->list_at_us = core->now_us;
}

/* What was under way may or may not have happened; the inventory after the next connect will tell. */
static void on_disconnected(struct hv_core *core)
{
        core->connected = core->listed = core->listing = false;
        core->connect_at_us = core->now_us;
        for (size_t i = 0; i < core->vm_count; i++) {
                struct hv_vm *vm = core->vms[i];

                vm->known = vm->touched = false;
                vm->inspect_id = 0;
                vm->op = HV_OP_NONE;
                for (size_t k = 0; k < vm->nic_count; k++)
                        hv_nic_answer_lost(core, vm->nics[k]);
        }
}

static bool operation_under_way(const struct hv_vm *vm)
{
        if (vm->op != HV_OP_NONE)
                return true;
        for (size_t i = 0; i < vm->nic_count; i++) {
                if (vm->nics[i]->op != HV_OP_NONE)
                        return true;
        }
        return false;
}

/* Of two of one VM the first counts. */
static void note_listed(struct hv_core *core, const struct hv_live_domain *domain)
{
        struct hv_vm *vm = hv_core_get_vm(core, domain->head.pod_uid);

        if (vm && !vm->listed)
                vm->listed = domain;
}

static void on_listed(struct hv_core *core, const struct hv_event *event)
{
        core->listing = false;
        core->list_at_us = core->now_us + core->config.list_every_us;
        if (event->result.head.error != HV_OK || !core->connected) {
                core->list_at_us = core->now_us + HV_US(1);
                return;
        }
        for (size_t i = 0; i < event->domain_count; i++)
                note_listed(core, event->domains[i]);
        core->listed = true;
        for (size_t i = 0; i < core->vm_count; i++) {
                struct hv_vm *vm = core->vms[i];

                if (vm->touched || operation_under_way(vm))
                        hv_inspect(core, vm);
                else
                        hv_vm_apply_live(core, vm, vm->listed);
                vm->listed = NULL;
        }
}

static void list(struct hv_core *core)
{
        if (!hv_emit(core, HV_ACTION_LIST))
                return;
        core->listing = true;
        for (size_t i = 0; i < core->vm_count; i++)
                core->vms[i]->touched = false;
}

static void advance_connection(struct hv_core *core)
{
        if (!core->connected && !core->connecting && core->now_us >= core->connect_at_us) {
                core->connecting = hv_emit(core, HV_ACTION_CONNECT) != NULL;
                return;
        }
        if (core->connected && !core->listing && core->now_us >= core->list_at_us)
                list(core);
}

static void on_inspected(struct hv_core *core, struct hv_vm *vm, const struct hv_result *result)
{
        vm->inspect_id = 0;
        if (result->head.error == HV_ERROR_CONNECTION) {
                hv_connection_lost(core, vm);
                return;
        }
        if (vm->touched || result->head.error != HV_OK) {
                vm->touched = false;
                if (result->head.error == HV_OK)
                        hv_inspect(core, vm);
                return;
        }
        hv_vm_apply_live(core, vm, result->domain);
}

static void on_result(struct hv_core *core, const struct hv_result *result)
{
        struct hv_vm *vm = hv_core_find_vm(core, result->head.pod_uid);
        struct hv_nic *nic;

        if (!vm)
                return;
        if (result->head.op == HV_OP_INSPECT) {
                if (result->head.id == vm->inspect_id)
                        on_inspected(core, vm, result);
                return;
        }
        if (result->head.op != HV_OP_PROBE)
                vm->touched = true;
        nic = result->head.port_id[0] ? hv_vm_find_nic(vm, result->head.port_id) : NULL;
        if (nic)
                hv_nic_result(core, vm, nic, result);
        else
                hv_vm_result(core, vm, result);
}

/*
 * Events only speed up what a look at the domain would tell. One that was expected is taken at its word;
 * any other may be late (of an earlier device or domain of the same name) and leads to a look.
 */
static void on_device_event(struct hv_core *core, const struct hv_event *event)
{
        struct hv_vm *vm = hv_core_find_vm(core, event->pod_uid);
        struct hv_nic *nic = vm ? hv_vm_find_nic(vm, event->port_id) : NULL;

        if (!nic)
                return;
        if (event->type == HV_EVENT_GUEST_ACTIVITY) {
                nic->probe_at_us = core->now_us;
                return;
        }
        vm->touched = true;
        if (event->type == HV_EVENT_REMOVAL_FAILED)
                hv_nic_removal_failed(core, nic);
        else if (nic->in_domain && (nic->detach_asked || nic->op == HV_OP_DETACH))
                hv_nic_gone(core, vm, nic);
        else
                hv_inspect(core, vm);
}

static void on_lifecycle(struct hv_core *core, const struct hv_event *event)
{
        struct hv_vm *vm = hv_core_find_vm(core, event->pod_uid);

        if (!vm)
                return;
        switch (event->lifecycle) {
        case HV_LIFECYCLE_REBOOTED:
                vm->guest_up = false;
                for (size_t i = 0; i < vm->nic_count; i++)
                        hv_nic_rebooted(core, vm->nics[i]);
                return;
        case HV_LIFECYCLE_PANICKED:
                vm->panicked = true; /* libvirt ends it, and tells that */
                return;
        case HV_LIFECYCLE_CRASHED:
        case HV_LIFECYCLE_STOPPED:
        case HV_LIFECYCLE_DESTROYED:
                /* We destroy only what is not wanted to run. */
                vm->stopping_destroyed =
                    event->lifecycle == HV_LIFECYCLE_DESTROYED && vm->wish && wants_up(&vm->wish->vm_diff);
                vm->stopping_crashed = event->lifecycle == HV_LIFECYCLE_CRASHED || vm->stopping_destroyed;
                break;
        default:
                break;
        }
        vm->touched = true;
        hv_inspect(core, vm);
}

static void on_image(struct hv_core *core, const struct hv_event *event)
{
        struct hv_vm *vm = hv_core_find_vm(core, event->image.pod_uid);

        if (!vm || vm->image_id != event->image.id || vm->image_state != HV_IMAGE_FETCHING)
                return;
        if (event->type == HV_EVENT_IMAGE_PROGRESS)
                vm->image_percent = event->image.progress_percent;
        else
                hv_vm_image_done(core, vm, &event->image);
}

/* ------------------------------------------------------------------ step */

static void advance_all(struct hv_core *core)
{
        for (size_t i = 0; i < core->vm_count; i++) {
                hv_vm_advance(core, core->vms[i]);
                hv_status_publish(core, core->vms[i], false);
        }
        hv_due_all_changed(core);
}

static void advance_one(struct hv_core *core, const char *uid)
{
        struct hv_vm *vm = hv_core_find_vm(core, uid);

        if (!vm)
                return;
        hv_vm_advance(core, vm);
        hv_status_publish(core, vm, false);
        hv_due_changed(core, vm);
}

static void dispatch(struct hv_core *core, const struct hv_event *event)
{
        switch (event->type) {
        case HV_EVENT_MESSAGE:
                on_message(core, event->message);
                break;
        case HV_EVENT_CONNECTED:
                on_connected(core, &event->result);
                hv_due_all_changed(core);
                break;
        case HV_EVENT_DISCONNECTED:
                on_disconnected(core);
                hv_due_all_changed(core);
                break;
        case HV_EVENT_LISTED:
                on_listed(core, event);
                advance_all(core);
                break;
        case HV_EVENT_RESULT:
                on_result(core, &event->result);
                advance_one(core, event->result.head.pod_uid);
                break;
        case HV_EVENT_DEVICE_REMOVED:
        case HV_EVENT_REMOVAL_FAILED:
        case HV_EVENT_GUEST_ACTIVITY:
                on_device_event(core, event);
                advance_one(core, event->pod_uid);
                break;
        case HV_EVENT_LIFECYCLE:
                on_lifecycle(core, event);
                advance_one(core, event->pod_uid);
                break;
        case HV_EVENT_IMAGE_PROGRESS:
        case HV_EVENT_IMAGE_DONE:
                on_image(core, event);
                advance_one(core, event->image.pod_uid);
                break;
        case HV_EVENT_TICK:
                hv_due_advance(core);
                break;
        }
}

int hv_core_step(struct hv_core *core, const struct hv_event *event, uint64_t now_us, uint64_t real_us,
                 struct hv_actions *out)
{
        core->now_us = now_us;
        core->real_us = real_us;
        core->out = out;
        core->error = 0;
        /* A tick, early or not, is the wake that was asked for. */
        if (event->type == HV_EVENT_TICK || core->wake_at_us <= now_us)
                core->wake_at_us = 0;
        dispatch(core, event);
        advance_connection(core);
        hv_due_ask_for_wake(core);
        core->out = NULL;
        return core->error;
}

void hv_core_stats(const struct hv_core *core, struct hv_core_stats *out)
{
        *out = (struct hv_core_stats){.vms = core->vm_count, .connected = core->connected};
        for (size_t i = 0; i < core->vm_count; i++) {
                const struct hv_vm *vm = core->vms[i];

                out->domains += vm->state != HV_DOMAIN_NONE;
                for (size_t k = 0; k < vm->nic_count; k++) {
                        out->nics += vm->nics[k]->in_domain;
                        out->nics_ready += vm->nics[k]->in_domain && vm->nics[k]->bound;
                }
        }
}

/* ------------------------------------------------------------------ ownership */

struct hv_domain_spec *hv_domain_spec_free(struct hv_domain_spec *spec)
{
        if (spec)
                free(spec->head.user_data);
        free(spec);
        return NULL;
}

void hv_result_deinit(struct hv_result *result)
{
        free(result->domain);
        *result = (struct hv_result){0};
}

void hv_event_deinit(struct hv_event *event)
{
        ak_message_free(event->message);
        hv_result_deinit(&event->result);
        for (size_t i = 0; i < event->domain_count; i++)
                free(event->domains[i]);
        free(event->domains);
        *event = (struct hv_event){0};
}

void hv_actions_clear(struct hv_actions *actions)
{
        for (size_t i = 0; i < actions->count; i++) {
                ak_message_free(actions->items[i].message);
                hv_domain_spec_free(actions->items[i].domain);
                free(actions->items[i].image);
        }
        actions->count = 0;
}

void hv_actions_deinit(struct hv_actions *actions)
{
        hv_actions_clear(actions);
        free(actions->items);
        *actions = (struct hv_actions){0};
}
