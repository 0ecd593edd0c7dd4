/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host under the node's services: taps in a kernel, domains in a libvirt, guests in the domains. What is
 * here outlives the services. Operations take time, fail, and are carried out or lost when who asked dies.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

struct sim_tap *sim_tap_find(struct sim *sim, const char *port_id)
{
        for (size_t i = 0; i < SIM_PORTS; i++)
                if (sim->taps[i].used && strcmp(sim->taps[i].key.port_id, port_id) == 0)
                        return &sim->taps[i];
        return NULL;
}

struct sim_vm *sim_vm_find(struct sim *sim, const char *pod_uid)
{
        for (size_t i = 0; i < SIM_VMS; i++)
                if (sim->vms[i].used && strcmp(sim->vms[i].pod_uid, pod_uid) == 0)
                        return &sim->vms[i];
        return NULL;
}

static struct sim_nic *nic_in(struct sim_vm *vm, const char *port_id)
{
        for (size_t i = 0; vm && i < HV_MAX_SLOTS; i++)
                if (vm->nics[i].plugged && strcmp(vm->nics[i].port_id, port_id) == 0)
                        return &vm->nics[i];
        return NULL;
}

struct sim_nic *sim_nic_find(struct sim *sim, const char *port_id, struct sim_vm **vm)
{
        for (size_t i = 0; i < SIM_VMS; i++) {
                struct sim_nic *nic = sim->vms[i].used ? nic_in(&sim->vms[i], port_id) : NULL;
                if (nic) {
                        if (vm)
                                *vm = &sim->vms[i];
                        return nic;
                }
        }
        return NULL;
}

/* ---- kernel ---- */

static void deliver_done(struct sim *sim, struct sim_task *task)
{
        struct net_event e = {.type = (enum net_event_type)task->kind};

        e.done.op = task->number;
        e.done.error = -(int)task->number2;
        if (e.done.error)
                net_error_set(&e.done.text, "Simulated", "simulated failure");
        e.done.prepared.mtu = 1500;
        e.done.prepared.ifindex = (uint32_t)task->number3;
        e.done.prepared.took_us = 1000;
        (void)snprintf(e.done.prepared.ifname, sizeof(e.done.prepared.ifname), "ak%.13s", task->text);
        sim_step_network(sim, &e);
}

/* A netlink request is over before its process can die; what was not begun dies with it. */
static bool asker_died(const struct sim *sim, const struct sim_task *task)
{
        return task->number2 != sim->incarnation[SIM_NETWORK];
}

static void answer(struct sim *sim, const struct sim_task *asked, enum net_event_type type, int error)
{
        struct sim_task *task = sim_at(sim, 100 + sim_draw(sim, 500), SIM_NETWORK, deliver_done);

        task->incarnation = asked->number2;
        task->kind = (int)type;
        task->number = asked->number;
        task->number2 = (uint64_t)error;
        (void)snprintf(task->text, sizeof(task->text), "%s", asked->text);
        task->number3 = sim_tap_find(sim, asked->text) ? sim_tap_find(sim, asked->text)->ifindex : 0;
}

static void prepare(struct sim *sim, struct sim_task *task)
{
        const struct net_port_spec *spec = task->data;
        struct sim_tap *tap = sim_tap_find(sim, spec->key.port_id);
        bool fails = sim_inject(sim, sim->faults.op_fail);

        if (asker_died(sim, task))
                return;
        if (fails && sim_chance(sim, 50)) {
                answer(sim, task, NET_EVENT_PREPARED, EIO);
                return;
        }
        for (size_t i = 0; i < SIM_PORTS && !tap; i++)
                if (!sim->taps[i].used)
                        tap = &sim->taps[i];
        if (!tap)
                abort();
        *tap = (struct sim_tap){
            .used = true, .key = spec->key, .ifindex = tap->used ? tap->ifindex : ++sim->last_ifindex};
        sim->taps_changed = true;
        (void)snprintf(tap->mac, sizeof(tap->mac), "%s", spec->mac);
        if (spec->address_count)
                ak_cidr_format(&spec->addresses[0], tap->ip);
        sim_log(sim, "kernel     port %.8s made%s", spec->key.port_id,
                fails ? ", but the answer is an error" : "");
        answer(sim, task, NET_EVENT_PREPARED, fails ? EIO : 0);
}

static void release(struct sim *sim, struct sim_task *task)
{
        struct sim_tap *tap = sim_tap_find(sim, task->text);

        if (asker_died(sim, task))
                return;
        if (sim_inject(sim, sim->faults.op_fail)) {
                answer(sim, task, NET_EVENT_RELEASED, EBUSY);
                return;
        }
        sim_check_release(sim, task->text);
        if (tap)
                tap->used = false;
        sim_log(sim, "kernel     port %.8s removed", task->text);
        answer(sim, task, NET_EVENT_RELEASED, 0);
}

void sim_host_network(struct sim *sim, const struct net_action *a)
{
        struct sim_task *task;

        if (a->type != NET_ACTION_PREPARE && a->type != NET_ACTION_RELEASE)
                return; /* sweep: subnets are not modelled */
        task = sim_at(sim, 500 + sim_draw(sim, 5 * SIM_MS), SIM_WORLD,
                      a->type == NET_ACTION_PREPARE ? prepare : release);
        task->number2 = sim->incarnation[SIM_NETWORK];
        if (a->type == NET_ACTION_PREPARE) {
                struct net_port_spec *copy = malloc(sizeof(*copy));
                if (!copy)
                        abort();
                *copy = *a->prepare.spec;
                task->data = copy;
                task->number = a->prepare.op;
                (void)snprintf(task->text, sizeof(task->text), "%s", copy->key.port_id);
        } else {
                task->number = a->release.op;
                (void)snprintf(task->text, sizeof(task->text), "%s", a->release.key.port_id);
        }
}

static void take_inventory(struct sim *sim, struct sim_task *task)
{
        struct net_found_port found[SIM_PORTS];
        struct net_event e = {.type = NET_EVENT_INVENTORY};
        size_t n = 0;

        (void)task;
        for (size_t i = 0; i < SIM_PORTS; i++) {
                if (!sim->taps[i].used)
                        continue;
                found[n] = (struct net_found_port){.key = sim->taps[i].key, .ifindex = sim->taps[i].ifindex};
                (void)snprintf(found[n].ifname, sizeof(found[n].ifname), "ak%.13s", sim->taps[i].key.port_id);
                n++;
        }
        e.inventory.ports = found;
        e.inventory.count = n;
        sim_step_network(sim, &e);
}

void sim_host_inventory(struct sim *sim)
{
        sim_at(sim, 500 + sim_draw(sim, 5 * SIM_MS), SIM_NETWORK, take_inventory);
}

static void tap_lost(struct sim *sim, struct sim_task *task)
{
        struct net_event e = {.type = NET_EVENT_PORT_LOST};

        (void)snprintf(e.port_id, sizeof(e.port_id), "%.36s", task->text);
        sim_step_network(sim, &e);
}

/* ---- domains ---- */

static struct hv_live_domain *describe(struct sim *sim, const struct sim_vm *vm)
{
        const struct sim_tap *tap;
        struct hv_live_domain *d;

        if (!vm || vm->state == HV_DOMAIN_NONE)
                return NULL;
        d = calloc(1, sizeof(*d));
        if (!d)
                abort();
        (void)snprintf(d->head.pod_uid, sizeof(d->head.pod_uid), "%s", vm->pod_uid);
        (void)snprintf(d->head.pod_namespace, sizeof(d->head.pod_namespace), "default");
        (void)snprintf(d->head.pod_name, sizeof(d->head.pod_name), "%s", vm->pod_name);
        d->head.generation = vm->generation;
        d->head.nic_slots = vm->nic_slots;
        d->head.started_us = vm->started_us;
        d->head.state = vm->state;
        for (size_t i = 0; i < HV_MAX_SLOTS; i++) {
                const struct sim_nic *nic = &vm->nics[i];
                struct hv_live_nic *live = &d->nics[d->nic_count];

                if (!nic->plugged)
                        continue;
                (void)snprintf(live->port_id, sizeof(live->port_id), "%s", nic->port_id);
                (void)snprintf(live->ifname, sizeof(live->ifname), "%s", nic->spec.ifname);
                (void)snprintf(live->mac, sizeof(live->mac), "%s", nic->spec.mac);
                (void)snprintf(live->pci_address, sizeof(live->pci_address), "0000:%02x:00.0",
                               (unsigned)nic->spec.slot + 1);
                live->slot = nic->spec.slot;
                live->link_down = nic->spec.link_down;
                tap = sim_tap_find(sim, nic->port_id);
                live->ifindex = tap ? tap->ifindex : 0;
                live->tap_idle = tap && nic->cut;
                d->nic_count++;
        }
        return d;
}

static void deliver_hv(struct sim *sim, struct sim_task *task)
{
        struct hv_event *e = task->data;
        bool answer = e->type == HV_EVENT_CONNECTED || e->type == HV_EVENT_LISTED ||
                      e->type == HV_EVENT_RESULT || e->type == HV_EVENT_IMAGE_DONE;

        if (!answer && sim->registered != sim->libvirt_epoch && e->type != HV_EVENT_DISCONNECTED) {
                hv_event_deinit(e);
                return;
        }
        if (e->type == HV_EVENT_CONNECTED && e->result.head.error == HV_OK) {
                sim->registered = task->number;
                if (task->number != sim->libvirt_epoch) { /* it died meanwhile */
                        sim->registered = 0;
                        e->result.head.error = HV_ERROR_CONNECTION;
                }
        }
        if (e->type == HV_EVENT_LISTED && sim->registered != sim->libvirt_epoch)
                e->result.head.error = HV_ERROR_CONNECTION;
        else if (e->type == HV_EVENT_LISTED) {
                e->domains = calloc(SIM_VMS, sizeof(struct hv_live_domain *));
                for (size_t i = 0; i < SIM_VMS; i++) {
                        struct hv_live_domain *d = sim->vms[i].used ? describe(sim, &sim->vms[i]) : NULL;
                        if (d)
                                e->domains[e->domain_count++] = d;
                }
        }
        if (e->type == HV_EVENT_RESULT)
                sim_check_end(sim, &e->result);
        sim_step_hypervisor(sim, e);
        hv_event_deinit(e);
}

static struct hv_event *tell_task(struct sim *sim, uint64_t delay, enum hv_event_type type, const char *pod,
                                  const char *port, struct sim_task **out)
{
        struct sim_task *task = sim_at(sim, delay, SIM_HYPERVISOR, deliver_hv);
        struct hv_event *e = calloc(1, sizeof(*e));

        if (!e)
                abort();
        e->type = type;
        (void)snprintf(e->pod_uid, sizeof(e->pod_uid), "%s", pod);
        (void)snprintf(e->port_id, sizeof(e->port_id), "%s", port);
        task->data = e;
        *out = task;
        return e;
}

static struct hv_event *tell(struct sim *sim, uint64_t delay, enum hv_event_type type, const char *pod,
                             const char *port)
{
        struct sim_task *task;

        return tell_task(sim, delay, type, pod, port, &task);
}

static void guest_will_bind(struct sim *sim, const struct sim_vm *vm, const struct sim_nic *nic);

static void bind_nic(struct sim *sim, struct sim_task *task)
{
        struct sim_vm *vm = sim_vm_find(sim, task->text2);
        struct sim_nic *nic = nic_in(vm, task->text);

        if (!nic || vm->state == HV_DOMAIN_NONE || vm->boots != task->number || vm->dead || nic->bound)
                return;
        if (vm->state == HV_DOMAIN_PAUSED) { /* its time stands still */
                guest_will_bind(sim, vm, nic);
                return;
        }
        nic->failed = sim_inject(sim, sim->faults.driver_fails);
        if (nic->failed) {
                sim_log(sim, "guest      %.8s: the driver fails on %.8s", vm->pod_uid, nic->port_id);
                return;
        }
        nic->bound = true;
        sim_log(sim, "guest      %.8s takes %.8s", vm->pod_uid, nic->port_id);
}

static void guest_will_bind(struct sim *sim, const struct sim_vm *vm, const struct sim_nic *nic)
{
        uint64_t boot = vm->booted_us > sim->now ? vm->booted_us - sim->now : 0;
        struct sim_task *task =
            sim_at(sim, boot + 20 * SIM_MS + sim_draw(sim, 300 * SIM_MS), SIM_WORLD, bind_nic);

        (void)snprintf(task->text, sizeof(task->text), "%s", nic->port_id);
        (void)snprintf(task->text2, sizeof(task->text2), "%s", vm->pod_uid);
        task->number = vm->boots;
}

static struct sim_nic *plug(struct sim *sim, struct sim_vm *vm, const struct hv_nic_spec *spec)
{
        for (size_t i = 0; i < HV_MAX_SLOTS; i++) {
                struct sim_nic *nic = &vm->nics[i];

                if (nic->plugged)
                        continue;
                *nic = (struct sim_nic){
                    .plugged = true, .spec = *spec, .stubborn = sim_inject(sim, sim->faults.stubborn)};
                (void)snprintf(nic->port_id, sizeof(nic->port_id), "%s", spec->port_id);
                guest_will_bind(sim, vm, nic);
                return nic;
        }
        abort();
}

/* The guest has it no more, if it ever had. */
static void lose(struct sim *sim, struct sim_nic *nic)
{
        if (nic->bound)
                (void)json_object_set_new(sim->usable_until, nic->port_id,
                                          json_integer((json_int_t)sim->now));
        nic->bound = nic->failed = false;
}

static void unplug(struct sim *sim, struct sim_nic *nic)
{
        lose(sim, nic);
        nic->plugged = false;
}

static void domain_ends(struct sim *sim, struct sim_vm *vm)
{
        vm->state = HV_DOMAIN_NONE;
        for (size_t i = 0; i < HV_MAX_SLOTS; i++)
                if (vm->nics[i].plugged)
                        unplug(sim, &vm->nics[i]);
        sim_log(sim, "libvirt    domain of %.8s is gone", vm->pod_uid);
}

static void domain_gone(struct sim *sim, struct sim_vm *vm, enum hv_lifecycle how)
{
        domain_ends(sim, vm);
        tell(sim, 100 + sim_draw(sim, 5 * SIM_MS), HV_EVENT_LIFECYCLE, vm->pod_uid, "")->lifecycle = how;
}

static void boots(struct sim *sim, struct sim_vm *vm)
{
        vm->boots++;
        vm->dead = false;
        vm->booted_us = sim->now + 2 * SIM_S + sim_draw(sim, 6 * SIM_S);
        if (sim_inject(sim, sim->faults.guest_late))
                vm->booted_us += sim_draw(sim, 150 * SIM_S);
}

static enum hv_error start_domain(struct sim *sim, struct sim_vm *vm, const struct hv_domain_spec *spec)
{
        if (vm->state != HV_DOMAIN_NONE)
                return HV_ERROR_INVALID;
        for (size_t i = 0; i < spec->nic_count; i++)
                if (!sim_tap_find(sim, spec->nics[i].port_id))
                        return HV_ERROR_TAP;
        sim_check_started(sim, vm->pod_uid);
        vm->state = HV_DOMAIN_RUNNING;
        vm->generation = spec->head.generation;
        vm->nic_slots = spec->head.nic_slots;
        vm->started_us = sim_real(sim);
        boots(sim, vm);
        (void)snprintf(vm->pod_name, sizeof(vm->pod_name), "%.60s", spec->head.pod_name);
        for (size_t i = 0; i < spec->nic_count; i++) {
                sim_check_attach(sim, spec->nics[i].port_id);
                (void)plug(sim, vm, &spec->nics[i]);
        }
        sim_log(sim, "libvirt    domain of %.8s runs with %zu NICs", vm->pod_uid, spec->nic_count);
        return HV_OK;
}

static enum hv_error attach(struct sim *sim, struct sim_vm *vm, const struct hv_nic_spec *spec)
{
        struct sim_tap *tap = sim_tap_find(sim, spec->port_id);

        if (vm->state == HV_DOMAIN_NONE)
                return HV_ERROR_NO_DOMAIN;
        if (nic_in(vm, spec->port_id))
                return HV_ERROR_DUPLICATE;
        for (size_t i = 0; i < HV_MAX_SLOTS; i++)
                if (vm->nics[i].plugged && vm->nics[i].spec.slot == spec->slot)
                        return HV_ERROR_SLOT;
        sim_check_attach(sim, spec->port_id);
        if (!tap)
                return HV_ERROR_TAP;
        (void)plug(sim, vm, spec);
        sim_log(sim, "libvirt    %.8s has %.8s", vm->pod_uid, spec->port_id);
        return HV_OK;
}

static void guest_will_let_go(struct sim *sim, const struct sim_vm *vm, const char *port_id);

static void guest_lets_go(struct sim *sim, struct sim_task *task)
{
        struct sim_vm *vm = sim_vm_find(sim, task->text2);
        struct sim_nic *nic = nic_in(vm, task->text);

        if (!nic || !nic->asked || vm->dead)
                return;
        if (vm->state == HV_DOMAIN_PAUSED) {
                guest_will_let_go(sim, vm, task->text);
                return;
        }
        if (nic->stubborn && !sim->calm && sim->now < vm->booted_us + 60 * SIM_S) {
                nic->asked = false;
                if (sim_chance(sim, 50))
                        tell(sim, 100, HV_EVENT_REMOVAL_FAILED, vm->pod_uid, nic->port_id);
                return;
        }
        unplug(sim, nic);
        sim_log(sim, "guest      %.8s gives %.8s up", vm->pod_uid, task->text);
        tell(sim, 100 + sim_draw(sim, 2 * SIM_MS), HV_EVENT_DEVICE_REMOVED, vm->pod_uid, task->text);
}

static void guest_will_let_go(struct sim *sim, const struct sim_vm *vm, const char *port_id)
{
        uint64_t boot = vm->booted_us > sim->now ? vm->booted_us - sim->now : 0;
        struct sim_task *task =
            sim_at(sim, boot + 5 * SIM_MS + sim_draw(sim, 200 * SIM_MS), SIM_WORLD, guest_lets_go);

        (void)snprintf(task->text, sizeof(task->text), "%s", port_id);
        (void)snprintf(task->text2, sizeof(task->text2), "%s", vm->pod_uid);
}

static enum hv_error detach(struct sim *sim, struct sim_vm *vm, const char *port_id)
{
        struct sim_nic *nic = nic_in(vm, port_id);

        if (vm->state == HV_DOMAIN_NONE)
                return HV_ERROR_NO_DOMAIN;
        if (!nic)
                return HV_ERROR_NO_DEVICE;
        sim_check_touch(sim, port_id, "detached");
        if (nic->asked)
                return sim_chance(sim, 50) ? HV_ERROR_IN_PROGRESS : HV_ERROR_BUSY;
        nic->asked = true;
        guest_will_let_go(sim, vm, port_id);
        return HV_OK;
}

static void powers_off(struct sim *sim, struct sim_task *task)
{
        struct sim_vm *vm = sim_vm_find(sim, task->text2);

        if (vm && vm->state != HV_DOMAIN_NONE && vm->started_us == task->number)
                domain_gone(sim, vm, HV_LIFECYCLE_STOPPED);
}

static void touch_all(struct sim *sim, const struct sim_vm *vm, const char *what)
{
        for (size_t i = 0; i < HV_MAX_SLOTS; i++)
                if (vm->nics[i].plugged)
                        sim_check_touch(sim, vm->nics[i].port_id, what);
}

static enum hv_error press_power(struct sim *sim, const struct sim_vm *vm)
{
        struct sim_task *task;

        if (vm->state == HV_DOMAIN_NONE)
                return HV_ERROR_NO_DOMAIN;
        touch_all(sim, vm, "told to power off");
        if (sim_chance(sim, 70)) {
                task = sim_at(sim, sim_draw(sim, 5 * SIM_S), SIM_WORLD, powers_off);
                (void)snprintf(task->text2, sizeof(task->text2), "%s", vm->pod_uid);
                task->number = vm->started_us;
        }
        return HV_OK;
}

/* An action in flight: its copy of what it needs. */
struct op {
        enum hv_op op;
        uint64_t id;
        struct hv_nic_spec nic;
        struct hv_domain_spec domain;
};

static enum hv_error set_state(struct sim_vm *vm, enum hv_domain_state state)
{
        if (vm->state == HV_DOMAIN_NONE)
                return HV_ERROR_NO_DOMAIN;
        vm->state = state;
        return HV_OK;
}

static enum hv_error probe(struct sim_vm *vm, const struct op *op, uint64_t *status)
{
        const struct sim_nic *nic = nic_in(vm, op->nic.port_id);

        if (vm->state == HV_DOMAIN_NONE)
                return HV_ERROR_NO_DOMAIN;
        if (!nic)
                return HV_ERROR_NO_DEVICE;
        *status = nic->bound ? 15 : nic->failed ? HV_VIRTIO_FAILED | 3 : 0;
        return HV_OK;
}

static enum hv_error perform(struct sim *sim, struct sim_vm *vm, const struct op *op,
                             struct hv_result *result)
{
        struct sim_nic *nic;

        switch (op->op) {
        case HV_OP_START:
                return start_domain(sim, vm, &op->domain);
        case HV_OP_SHUTDOWN:
                return press_power(sim, vm);
        case HV_OP_DESTROY:
                if (vm->state == HV_DOMAIN_NONE)
                        return HV_ERROR_NO_DOMAIN;
                touch_all(sim, vm, "destroyed");
                domain_gone(sim, vm, HV_LIFECYCLE_STOPPED);
                return HV_OK;
        case HV_OP_SUSPEND:
                return set_state(vm, HV_DOMAIN_PAUSED);
        case HV_OP_RESUME:
                return set_state(vm, HV_DOMAIN_RUNNING);
        case HV_OP_ATTACH:
                return attach(sim, vm, &op->nic);
        case HV_OP_DETACH:
                return detach(sim, vm, op->nic.port_id);
        case HV_OP_SET_LINK:
                nic = nic_in(vm, op->nic.port_id);
                if (!nic)
                        return vm->state == HV_DOMAIN_NONE ? HV_ERROR_NO_DOMAIN : HV_ERROR_NO_DEVICE;
                nic->spec.link_down = op->nic.link_down;
                return HV_OK;
        case HV_OP_PROBE:
                return probe(vm, op, &result->head.virtio_status);
        default:
                return HV_OK;
        }
}

/* What libvirt may answer although nothing was done. */
static enum hv_error refusal(struct sim *sim, enum hv_op op)
{
        static const enum hv_error attach[] = {HV_ERROR_OTHER, HV_ERROR_TAP, HV_ERROR_SLOT, HV_ERROR_TIMEOUT,
                                               HV_ERROR_INVALID};
        static const enum hv_error detach[] = {HV_ERROR_OTHER, HV_ERROR_BUSY, HV_ERROR_IN_PROGRESS,
                                               HV_ERROR_TIMEOUT};

        if (op == HV_OP_ATTACH)
                return attach[sim_draw(sim, AK_ARRAY_SIZE(attach))];
        if (op == HV_OP_DETACH)
                return detach[sim_draw(sim, AK_ARRAY_SIZE(detach))];
        return sim_chance(sim, 50) ? HV_ERROR_OTHER : HV_ERROR_TIMEOUT;
}

static enum hv_error outcome(struct sim *sim, struct sim_vm *vm, const struct op *op, bool libvirt_lives,
                             struct hv_result *result)
{
        if (!libvirt_lives) {
                /* The monitor's command may have been on its way. */
                if (sim_chance(sim, 50))
                        (void)perform(sim, vm, op, result);
                return HV_ERROR_CONNECTION;
        }
        if (op->op != HV_OP_INSPECT && op->op != HV_OP_PROBE && sim_inject(sim, sim->faults.op_fail))
                return refusal(sim, op->op);
        return perform(sim, vm, op, result);
}

static void carry_out(struct sim *sim, struct sim_task *task)
{
        struct op *op = task->data;
        struct sim_vm *vm = sim_vm_find(sim, task->text2);
        bool asker_lives = task->number == sim->incarnation[SIM_HYPERVISOR];
        bool libvirt_lives = task->number2 == sim->libvirt_epoch && sim->libvirt_up;
        struct hv_result result = {0};

        if (!asker_lives && sim_chance(sim, 50))
                return; /* the call died with who made it */
        result.head.error = outcome(sim, vm, op, libvirt_lives, &result);
        if (!asker_lives)
                return;
        if (result.head.error != HV_ERROR_CONNECTION &&
            ((op->op == HV_OP_START && result.head.error == HV_OK) || op->op == HV_OP_INSPECT))
                result.domain = describe(sim, vm);
        result.head.op = op->op;
        result.head.id = op->id;
        result.head.took_us = 15000;
        (void)snprintf(result.head.pod_uid, sizeof(result.head.pod_uid), "%s", vm->pod_uid);
        (void)snprintf(result.head.port_id, sizeof(result.head.port_id), "%s", op->nic.port_id);
        if (result.head.error)
                (void)snprintf(result.head.text, sizeof(result.head.text), "simulated: %s",
                               hv_error_name(result.head.error));
        tell(sim, 100 + sim_draw(sim, SIM_MS), HV_EVENT_RESULT, vm->pod_uid, op->nic.port_id)->result =
            result;
}

static struct sim_vm *vm_for(struct sim *sim, const char *pod_uid)
{
        struct sim_vm *vm = sim_vm_find(sim, pod_uid);

        if (vm)
                return vm;
        for (size_t i = 0; i < SIM_VMS; i++) {
                vm = &sim->vms[i];
                /* A slot of a VM that is gone is used again. */
                if (vm->used && (vm->state != HV_DOMAIN_NONE || vm->busy_until >= sim->now))
                        continue;
                *vm = (struct sim_vm){.used = true};
                (void)snprintf(vm->pod_uid, sizeof(vm->pod_uid), "%s", pod_uid);
                return vm;
        }
        abort();
}

static void drive(struct sim *sim, const struct hv_action *a)
{
        struct sim_vm *vm = vm_for(sim, a->pod_uid);
        uint64_t took = a->op == HV_OP_ATTACH  ? 12 * SIM_MS + sim_draw(sim, 10 * SIM_MS)
                        : a->op == HV_OP_START ? 300 * SIM_MS
                                               : SIM_MS + sim_draw(sim, 5 * SIM_MS);
        uint64_t from = vm->busy_until > sim->now ? vm->busy_until : sim->now;
        struct sim_task *task;
        struct op *op = calloc(1, sizeof(*op));

        if (!op)
                abort();
        vm->busy_until = from + took; /* calls of one VM run one after the other */
        task = sim_at(sim, vm->busy_until - sim->now, SIM_WORLD, carry_out);
        task->data = op;
        task->number = sim->incarnation[SIM_HYPERVISOR];
        task->number2 = sim->registered;
        sim_check_begin(sim, a);
        (void)snprintf(task->text2, sizeof(task->text2), "%s", a->pod_uid);
        *op = (struct op){.op = a->op, .id = a->id, .nic = a->nic};
        if (a->domain)
                op->domain = *a->domain;
}

static void connect_or_list(struct sim *sim, const struct hv_action *a)
{
        bool fails = !sim->libvirt_up;
        enum hv_event_type answer = a->type == HV_ACTION_CONNECT ? HV_EVENT_CONNECTED : HV_EVENT_LISTED;
        struct sim_task *task;
        struct hv_event *e;

        if (a->type == HV_ACTION_CONNECT && sim_inject(sim, sim->faults.op_fail))
                fails = true;
        e = tell_task(sim, 3 * SIM_MS + sim_draw(sim, 3 * SIM_MS), answer, "", "", &task);
        task->number = sim->libvirt_epoch;
        if (fails)
                e->result.head.error = HV_ERROR_CONNECTION;
}

static void fetch(struct sim *sim, const struct hv_action *a)
{
        bool fails = sim_inject(sim, sim->faults.op_fail);
        struct hv_event *e = tell(sim, 10 * SIM_MS, HV_EVENT_IMAGE_DONE, a->image->pod_uid, "");

        e->image.id = a->image->id;
        (void)snprintf(e->image.pod_uid, sizeof(e->image.pod_uid), "%s", a->image->pod_uid);
        (void)snprintf(e->image.path, sizeof(e->image.path), "%s", fails ? "" : "/images/x.qcow2");
        (void)snprintf(e->image.format, sizeof(e->image.format), "qcow2");
        if (fails)
                (void)snprintf(e->image.reason, sizeof(e->image.reason), "ImagePullFailed");
}

void sim_host_hypervisor(struct sim *sim, const struct hv_action *a)
{
        if (a->type == HV_ACTION_DRIVER)
                drive(sim, a);
        else if (a->type == HV_ACTION_CONNECT || a->type == HV_ACTION_LIST)
                connect_or_list(sim, a);
        else if (a->type == HV_ACTION_FETCH_IMAGE)
                fetch(sim, a);
}

static void libvirt_returns(struct sim *sim, struct sim_task *task)
{
        (void)task;
        sim_log(sim, "libvirtd returns");
        sim->libvirt_up = true;
}

/* QEMU and its guests live on; events of meanwhile are told to nobody. */
void sim_libvirt_crash(struct sim *sim)
{
        if (!sim->libvirt_up)
                return;
        sim_log(sim, "libvirtd is killed");
        sim->libvirt_up = false;
        sim->libvirt_epoch++;
        if (sim->registered)
                tell(sim, 100 + sim_draw(sim, 5 * SIM_MS), HV_EVENT_DISCONNECTED, "", "");
        sim->registered = 0;
        sim_at(sim, 1 + sim_draw(sim, sim_chance(sim, 20) ? 20 * SIM_S : SIM_S), SIM_WORLD, libvirt_returns);
}

/* ---- what happens behind our back ---- */

void sim_host_reboot(struct sim *sim)
{
        sim_log(sim, "the host reboots");
        for (size_t i = 0; i < SIM_VMS; i++) {
                struct sim_vm *vm = &sim->vms[i];

                if (!vm->used || vm->state == HV_DOMAIN_NONE)
                        continue;
                sim_check_ended(sim, vm->pod_uid);
                domain_ends(sim, vm);
        }
        for (size_t i = 0; i < SIM_PORTS; i++)
                sim->taps[i].used = false;
        sim_libvirt_crash(sim);
}

static void tap_deleted(struct sim *sim)
{
        struct sim_tap *tap = &sim->taps[sim_draw(sim, 16)];
        struct sim_task *task;
        struct sim_nic *nic;

        if (!tap->used)
                return;
        tap->used = false;
        tap->deleted_us = sim->now;
        nic = sim_nic_find(sim, tap->key.port_id, NULL);
        if (nic)
                nic->cut = true;
        sim_log(sim, "somebody   deletes tap of %.8s", tap->key.port_id);
        task = sim_at(sim, 100, SIM_NETWORK, tap_lost);
        (void)snprintf(task->text, sizeof(task->text), "%s", tap->key.port_id);
}

static void nic_detached(struct sim *sim)
{
        struct sim_vm *vm = &sim->vms[sim_draw(sim, 4)];
        struct sim_nic *nic = &vm->nics[sim_draw(sim, 4)];

        if (!vm->used || vm->state == HV_DOMAIN_NONE || !nic->plugged)
                return;
        sim_log(sim, "somebody   detaches %.8s with virsh", nic->port_id);
        unplug(sim, nic);
        tell(sim, 200, HV_EVENT_DEVICE_REMOVED, vm->pod_uid, nic->port_id);
}

static void guest_reboots(struct sim *sim, struct sim_vm *vm)
{
        sim_log(sim, "guest      %.8s reboots", vm->pod_uid);
        boots(sim, vm);
        for (size_t i = 0; i < HV_MAX_SLOTS; i++) {
                struct sim_nic *nic = &vm->nics[i];

                if (!nic->plugged)
                        continue;
                lose(sim, nic);
                if (nic->asked) { /* a reset ejects what was to be ejected */
                        unplug(sim, nic);
                        tell(sim, 300, HV_EVENT_DEVICE_REMOVED, vm->pod_uid, nic->port_id);
                } else {
                        guest_will_bind(sim, vm, nic);
                }
        }
        tell(sim, 200, HV_EVENT_LIFECYCLE, vm->pod_uid, "")->lifecycle = HV_LIFECYCLE_REBOOTED;
}

static void somebody_resumes(struct sim *sim, struct sim_task *task)
{
        struct sim_vm *vm = sim_vm_find(sim, task->text2);

        if (!vm || vm->state != HV_DOMAIN_PAUSED)
                return;
        vm->state = HV_DOMAIN_RUNNING;
        tell(sim, 200, HV_EVENT_LIFECYCLE, vm->pod_uid, "")->lifecycle = HV_LIFECYCLE_RESUMED;
}

static void somebody_pauses(struct sim *sim, struct sim_vm *vm)
{
        struct sim_task *task;

        sim_log(sim, "somebody   pauses %.8s", vm->pod_uid);
        vm->state = HV_DOMAIN_PAUSED;
        tell(sim, 200, HV_EVENT_LIFECYCLE, vm->pod_uid, "")->lifecycle = HV_LIFECYCLE_SUSPENDED;
        task = sim_at(sim, sim_draw(sim, 60 * SIM_S), SIM_WORLD, somebody_resumes);
        (void)snprintf(task->text2, sizeof(task->text2), "%s", vm->pod_uid);
}

static void guest_fault(struct sim *sim, struct sim_vm *vm)
{
        if (sim_inject(sim, sim->faults.guest_hangs)) {
                sim_log(sim, "guest      %.8s hangs", vm->pod_uid);
                vm->dead = true;
        }
        if (vm->state == HV_DOMAIN_RUNNING && sim_inject(sim, sim->faults.guest_reboots))
                guest_reboots(sim, vm);
        if (vm->state == HV_DOMAIN_RUNNING && sim_inject(sim, sim->faults.paused))
                somebody_pauses(sim, vm);
        if (sim_inject(sim, sim->faults.guest_dies)) {
                sim_check_ended(sim, vm->pod_uid);
                domain_gone(sim, vm, sim_chance(sim, 50) ? HV_LIFECYCLE_STOPPED : HV_LIFECYCLE_CRASHED);
        }
}

void sim_host_fault(struct sim *sim)
{
        struct sim_vm *vm = &sim->vms[sim_draw(sim, 4)];

        if (vm->used && vm->state != HV_DOMAIN_NONE)
                guest_fault(sim, vm);
        if (sim_inject(sim, sim->faults.drift))
                tap_deleted(sim);
        if (sim_inject(sim, sim->faults.drift))
                nic_detached(sim);
}

/* Guests that hang are reset, drivers that failed are loaded again, requests that were swallowed are heard.
 */
void sim_host_calm(struct sim *sim)
{
        for (size_t i = 0; i < SIM_VMS; i++) {
                struct sim_vm *vm = &sim->vms[i];

                if (!vm->used || vm->state == HV_DOMAIN_NONE)
                        continue;
                if (vm->dead)
                        guest_reboots(sim, vm);
                for (size_t n = 0; n < HV_MAX_SLOTS; n++) {
                        vm->nics[n].failed = false;
                        if (vm->nics[n].plugged && !vm->nics[n].bound)
                                guest_will_bind(sim, vm, &vm->nics[n]);
                }
        }
}
