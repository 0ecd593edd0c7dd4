/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core holds, and how it is found again: an event costs what it is about, however much the node has.
 *
 * Whatever changes a VM touches it; a step reconciles the touched ones and those whose time has come, in the
 * order of their appearance. Ports are found by their ID and by their pod, the VM of a call by its number.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "services/watcher/core_internal.h"

TAILQ_HEAD(port_list, watcher_port);

/* ------------------------------------------------------------------ VMs */

struct watcher_vm *watcher_vm_find(const struct watcher_core *core, const char *uid)
{
        return zhashx_lookup(core->vm_index, uid);
}

static int grow(struct watcher_vm ***array, size_t capacity)
{
        struct watcher_vm **items = reallocarray(*array, capacity, sizeof(struct watcher_vm *));
        if (!items)
                return -ENOMEM;
        *array = items;
        return 0;
}

static int reserve_vm(struct watcher_core *core)
{
        size_t capacity = core->vm_capacity ? 2 * core->vm_capacity : 16;
        if (core->vm_count < core->vm_capacity)
                return 0;
        if (grow(&core->vms, capacity) < 0 || grow(&core->touched, capacity) < 0 ||
            grow(&core->batch, capacity) < 0)
                return -ENOMEM;
        core->vm_capacity = capacity;
        return 0;
}

struct watcher_vm *watcher_vm_get(struct watcher_core *core, const char *uid)
{
        struct watcher_vm *vm = watcher_vm_find(core, uid);
        if (vm)
                return vm;
        if (core->vm_count >= core->config.max_vms) {
                watcher_log(core, AK_LOG_WARN, "too_many_vms", NULL, NULL, "pod %s is not followed", uid);
                core->error = -ENOSPC;
                return NULL;
        }
        vm = reserve_vm(core) == 0 ? watcher_vm_new(core, uid) : NULL;
        if (!vm || zhashx_insert(core->vm_index, vm->uid, vm) != 0) {
                core->error = -ENOMEM;
                return watcher_vm_free(vm);
        }
        vm->number = ++core->next_vm;
        vm->due.owner = vm;
        core->vms[core->vm_count++] = vm;
        watcher_vm_touch(core, vm);
        return vm;
}

static int by_number(const void *a, const void *b)
{
        const struct watcher_vm *const *x = a, *const *y = b;
        return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

static void forget_calls(struct watcher_core *core, const struct watcher_vm *vm)
{
        size_t kept = 0;
        for (size_t i = 0; i < core->call_count; i++)
                if (core->calls[i].vm != vm)
                        core->calls[kept++] = core->calls[i];
        core->call_count = kept;
}

void watcher_vm_drop(struct watcher_core *core, struct watcher_vm *vm)
{
        struct watcher_vm **at = bsearch(&vm, core->vms, core->vm_count, sizeof(*core->vms), by_number);
        if (vm->wish)
                watcher_forget(core, vm->wish);
        forget_calls(core, vm);
        watcher_node_count(core, vm, false);
        (void)ak_deadline_set(&core->due, &vm->due, 0);
        zhashx_delete(core->vm_index, vm->uid);
        core->vm_count--;
        memmove(at, at + 1, (size_t)(core->vms + core->vm_count - at) * sizeof(struct watcher_vm *));
        watcher_vm_free(vm);
}

void watcher_vm_touch(struct watcher_core *core, struct watcher_vm *vm)
{
        if (!vm->dirty)
                core->touched[core->touched_count++] = vm;
        vm->dirty = true;
}

void watcher_vm_touch_all(struct watcher_core *core)
{
        for (size_t i = 0; i < core->vm_count; i++)
                watcher_vm_touch(core, core->vms[i]);
}

size_t watcher_vms_take_touched(struct watcher_core *core)
{
        struct ak_deadline *d;
        while ((d = ak_deadlines_take_due(&core->due, core->now)))
                watcher_vm_touch(core, d->owner);
        size_t count = core->touched_count;
        if (count > 1)
                qsort(core->touched, count, sizeof(*core->touched), by_number);
        for (size_t i = 0; i < count; i++) {
                core->batch[i] = core->touched[i];
                core->batch[i]->dirty = false;
        }
        core->touched_count = 0;
        return count;
}

/* ------------------------------------------------------------------ ports */

struct watcher_port *watcher_port_find(const struct watcher_core *core, const char *id)
{
        return zhashx_lookup(core->ports, id);
}

struct watcher_port *watcher_port_first(const struct watcher_core *core, const char *pod_uid)
{
        const struct port_list *list = zhashx_lookup(core->pod_ports, pod_uid);
        return list ? TAILQ_FIRST(list) : NULL;
}

struct watcher_port *watcher_port_next(const struct watcher_port *port)
{
        return TAILQ_NEXT(port, same_pod);
}

static int link_port(struct watcher_core *core, struct watcher_port *port)
{
        struct port_list *list = zhashx_lookup(core->pod_ports, port->pod_uid);
        if (!list) {
                list = calloc(1, sizeof(*list));
                if (!list || zhashx_insert(core->pod_ports, port->pod_uid, list) != 0) {
                        free(list);
                        return -ENOMEM;
                }
                TAILQ_INIT(list);
        }
        TAILQ_INSERT_TAIL(list, port, same_pod);
        return 0;
}

static void unlink_port(struct watcher_core *core, struct watcher_port *port)
{
        struct port_list *list = zhashx_lookup(core->pod_ports, port->pod_uid);
        if (!list)
                return;
        TAILQ_REMOVE(list, port, same_pod);
        if (TAILQ_EMPTY(list))
                zhashx_delete(core->pod_ports, port->pod_uid);
}

int watcher_port_store(struct watcher_core *core, struct watcher_port *port)
{
        struct watcher_port *old = watcher_port_find(core, port->id);
        if (!old && zhashx_size(core->ports) >= core->config.max_ports)
                return -ENOSPC;
        if (old && port->resource_version && port->resource_version <= old->resource_version)
                return -EALREADY;
        if (link_port(core, port) < 0)
                return -ENOMEM;
        if (old)
                unlink_port(core, old);
        zhashx_update(core->ports, port->id, port);
        return 0;
}

void watcher_port_drop(struct watcher_core *core, struct watcher_port *port)
{
        unlink_port(core, port);
        zhashx_delete(core->ports, port->id);
}

/* ------------------------------------------------------------------ calls */

uint64_t watcher_vm_call(struct watcher_core *core, struct watcher_vm *vm, enum watcher_call_type type,
                         const char *name_space, const char *name, json_t *body)
{
        if (core->call_count == core->call_capacity) {
                size_t capacity = core->call_capacity ? 2 * core->call_capacity : 16;
                struct watcher_open_call *calls = reallocarray(core->calls, capacity, sizeof(*calls));
                if (!calls) {
                        json_decref(body);
                        core->error = -ENOMEM;
                        return 0;
                }
                core->calls = calls;
                core->call_capacity = capacity;
        }
        uint64_t op = watcher_call(core, type, name_space, name, body);
        if (op)
                core->calls[core->call_count++] = (struct watcher_open_call){.op = op, .vm = vm};
        return op;
}

static int by_op(const void *key, const void *item)
{
        const struct watcher_open_call *a = key, *b = item;
        return a->op < b->op ? -1 : a->op > b->op;
}

/* Operations are numbered upwards, so the list is in order. */
struct watcher_vm *watcher_vm_answered_call(struct watcher_core *core, uint64_t op)
{
        const struct watcher_open_call wanted = {.op = op};
        if (core->call_count == 0)
                return NULL;
        struct watcher_open_call *call =
            bsearch(&wanted, core->calls, core->call_count, sizeof(*call), by_op);
        if (!call)
                return NULL;
        struct watcher_vm *vm = call->vm;
        core->call_count--;
        memmove(call, call + 1, (size_t)(core->calls + core->call_count - call) * sizeof(*call));
        return vm;
}

/* ------------------------------------------------------------------ for tests */

static size_t open_calls(const struct watcher_vm *vm)
{
        size_t count = (vm->status_task.op != 0) + (size_t)(vm->delete_task.op != 0);
        for (size_t i = 0; i < vm->nic_count; i++)
                count += vm->nics[i]->release.op != 0;
        return count;
}

static bool vms_consistent(const struct watcher_core *core)
{
        uint64_t slots = 0, available = 0, next = 0;
        size_t calls = 0;
        bool same = core->touched_count == 0 || !core->synced_us;
        for (size_t i = 0; i < core->vm_count; i++) {
                const struct watcher_vm *vm = core->vms[i];
                same = same && (!vm->dirty || !core->synced_us) && vm->due.at_us == vm->next_us;
                slots += vm->have_status ? vm->status.nic_slots : 0;
                available += vm->have_status ? vm->status.nic_slots_free : 0;
                calls += open_calls(vm);
                if (vm->next_us && (!next || vm->next_us < next))
                        next = vm->next_us;
        }
        return same && slots == core->node.slots_now && available == core->node.free_now &&
               calls == core->call_count && next == ak_deadlines_next_us(&core->due);
}

bool watcher_core_consistent(const struct watcher_core *core)
{
        size_t listed = 0;
        for (const struct port_list *list = zhashx_first(core->pod_ports); list;
             list = zhashx_next(core->pod_ports)) {
                const struct watcher_port *port = NULL;
                const char *pod = zhashx_cursor(core->pod_ports);
                TAILQ_FOREACH(port, list, same_pod)
                {
                        if (strcmp(port->pod_uid, pod) != 0 || watcher_port_find(core, port->id) != port)
                                return false;
                        listed++;
                }
        }
        return listed == zhashx_size(core->ports) && vms_consistent(core);
}

/* ------------------------------------------------------------------ life */

static void free_item(void **item)
{
        free(*item);
        *item = NULL;
}

static void free_port(void **item)
{
        *item = watcher_port_free(*item);
}

int watcher_tables_init(struct watcher_core *core)
{
        core->vm_index = zhashx_new();
        core->ports = zhashx_new();
        core->pod_ports = zhashx_new();
        if (!core->vm_index || !core->ports || !core->pod_ports)
                return -ENOMEM;
        zhashx_set_destructor(core->ports, free_port);
        zhashx_set_destructor(core->pod_ports, free_item);
        return 0;
}

void watcher_tables_deinit(struct watcher_core *core)
{
        for (size_t i = 0; i < core->vm_count; i++)
                watcher_vm_free(core->vms[i]);
        free(core->vms);
        free(core->touched);
        free(core->batch);
        free(core->calls);
        ak_deadlines_deinit(&core->due);
        zhashx_destroy(&core->vm_index);
        zhashx_destroy(&core->pod_ports);
        zhashx_destroy(&core->ports);
}
