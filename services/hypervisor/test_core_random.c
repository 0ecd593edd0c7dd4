/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core against a world that does everything at random times: calls of one VM are carried out in order,
 * their answers and the events of the same things arrive in any order among each other, guests bind, let
 * go, refuse or sleep, the connection breaks in the middle, wishes come twice, late and contradictory.
 * After every step the invariants of core.h are compared with the world's truth; at the end the world calms
 * down and must become what was wished.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#include "services/hypervisor/core.h"

#define VMS     2
#define PORTS   3
#define QUEUE   256
#define STEPS   6000
#define SEEDS   40
#define CALM_US UINT64_C(900000000)

struct nic {
        bool plugged, bound, asked, stubborn;
        uint64_t slot;
        bool link_down;
        /* what the core was told */
        bool wish_known, wanted, port_ready;
        uint64_t wish_generation, wish_attempt, told_attempt, port_generation, port_attempt;
        enum ak_nic_state said;
        bool said_set, in_flight;
        bool port_held;
};

struct vm {
        enum hv_domain_state state;
        bool wish_known, in_flight;
        enum ak_vm_wanted wanted;
        uint64_t generation, attempt;
        enum ak_vm_phase said;
        bool said_set;
        bool image_pending;
        uint64_t image_id;
        struct nic nics[PORTS];
        struct hv_action calls[QUEUE]; /* not carried out yet, in order */
        size_t call_count;
        struct hv_event answers[QUEUE]; /* not delivered yet, in order */
        size_t answer_count;
};

struct world {
        uint64_t random, now, wake;
        struct hv_core *core;
        struct hv_actions actions;
        struct vm vms[VMS];
        struct hv_event events[QUEUE]; /* asynchronous, in order */
        size_t event_count;
        bool connected, connect_pending, list_pending, calm;
        bool list_taken;
        struct hv_event list;
        size_t attaches, detaches, starts, readies;
};

static uint64_t draw(struct world *w, uint64_t below)
{
        w->random ^= w->random << 13;
        w->random ^= w->random >> 7;
        w->random ^= w->random << 17;
        return w->random % below;
}

static bool chance(struct world *w, unsigned percent)
{
        return draw(w, 100) < percent;
}

static void pod_name(size_t v, char out[AK_LEN_UID + 1])
{
        (void)snprintf(out, AK_LEN_UID + 1, "00000000-0000-4000-8000-%012zu", v);
}

static void port_name(size_t v, size_t p, char out[AK_LEN_UID + 1])
{
        (void)snprintf(out, AK_LEN_UID + 1, "00000000-0000-4000-9%03zu-%012zu", v, p);
}

static struct vm *vm_of(struct world *w, const char *uid)
{
        return &w->vms[strtoul(uid + 24, NULL, 10)];
}

static struct nic *nic_of(struct world *w, const char *uid, const char *port)
{
        return &vm_of(w, uid)->nics[strtoul(port + 24, NULL, 10)];
}

/* ------------------------------------------------------------------ the world's side */

static struct hv_live_domain *describe(struct world *w, size_t v)
{
        struct vm *vm = &w->vms[v];
        struct hv_live_domain *d;

        if (vm->state == HV_DOMAIN_NONE)
                return NULL;
        d = calloc(1, sizeof(*d));
        assert_non_null(d);
        pod_name(v, d->head.pod_uid);
        d->head.nic_slots = 4;
        d->head.state = vm->state;
        for (size_t p = 0; p < PORTS; p++) {
                struct hv_live_nic *nic = &d->nics[d->nic_count];

                if (!vm->nics[p].plugged)
                        continue;
                port_name(v, p, nic->port_id);
                nic->slot = vm->nics[p].slot;
                nic->link_down = vm->nics[p].link_down;
                d->nic_count++;
        }
        return d;
}

static void happen(struct world *w, enum hv_event_type type, size_t v, size_t p, enum hv_lifecycle lifecycle)
{
        struct hv_event *e;

        if (!w->connected || w->event_count >= QUEUE)
                return; /* lost with the connection */
        e = &w->events[w->event_count++];
        *e = (struct hv_event){.type = type, .lifecycle = lifecycle};
        pod_name(v, e->pod_uid);
        if (type != HV_EVENT_LIFECYCLE)
                port_name(v, p, e->port_id);
}

static void end_domain(struct world *w, size_t v, enum hv_lifecycle how)
{
        struct vm *vm = &w->vms[v];

        vm->state = HV_DOMAIN_NONE;
        for (size_t p = 0; p < PORTS; p++)
                vm->nics[p].plugged = vm->nics[p].bound = vm->nics[p].asked = false;
        happen(w, HV_EVENT_LIFECYCLE, v, 0, how);
}

static void plug(struct nic *nic, const struct hv_nic_spec *spec)
{
        *nic = (struct nic){.plugged = true,
                            .slot = spec->slot,
                            .link_down = spec->link_down,
                            .stubborn = nic->stubborn,
                            .wish_known = nic->wish_known,
                            .wanted = nic->wanted,
                            .port_ready = nic->port_ready,
                            .wish_generation = nic->wish_generation,
                            .wish_attempt = nic->wish_attempt,
                            .told_attempt = nic->told_attempt,
                            .port_generation = nic->port_generation,
                            .port_attempt = nic->port_attempt,
                            .said = nic->said,
                            .said_set = nic->said_set,
                            .in_flight = nic->in_flight};
}

static enum hv_error do_start(struct world *w, size_t v, const struct hv_action *a)
{
        struct vm *vm = &w->vms[v];

        if (vm->state != HV_DOMAIN_NONE)
                return HV_ERROR_OTHER;
        if (!w->calm && chance(w, 10))
                return HV_ERROR_OTHER;
        vm->state = HV_DOMAIN_RUNNING;
        for (size_t i = 0; i < a->domain->nic_count; i++)
                plug(nic_of(w, a->pod_uid, a->domain->nics[i].port_id), &a->domain->nics[i]);
        w->starts++;
        happen(w, HV_EVENT_LIFECYCLE, v, 0, HV_LIFECYCLE_STARTED);
        return HV_OK;
}

static enum hv_error do_attach(struct world *w, struct nic *nic, const struct hv_nic_spec *spec)
{
        if (nic->plugged)
                return HV_ERROR_DUPLICATE;
        if (!w->calm && chance(w, 15))
                return HV_ERROR_OTHER;
        plug(nic, spec);
        w->attaches++;
        return HV_OK;
}

static enum hv_error do_detach(struct world *w, struct nic *nic)
{
        if (!nic->plugged)
                return HV_ERROR_NO_DEVICE;
        if (!w->calm && chance(w, 10))
                return HV_ERROR_BUSY;
        if (nic->asked && chance(w, 50))
                return HV_ERROR_IN_PROGRESS;
        nic->asked = true;
        nic->stubborn = !w->calm && chance(w, 30);
        w->detaches++;
        return HV_OK;
}

static enum hv_error do_nic(struct world *w, const struct hv_action *a, struct hv_result *r)
{
        struct nic *nic = nic_of(w, a->pod_uid, a->nic.port_id);

        if (a->op == HV_OP_ATTACH)
                return do_attach(w, nic, &a->nic);
        if (a->op == HV_OP_DETACH)
                return do_detach(w, nic);
        if (!nic->plugged)
                return HV_ERROR_NO_DEVICE;
        if (a->op == HV_OP_SET_LINK)
                nic->link_down = a->nic.link_down;
        else
                r->head.virtio_status = nic->bound ? 15 : 0;
        return HV_OK;
}

static enum hv_error do_vm(struct world *w, size_t v, const struct hv_action *a)
{
        struct vm *vm = &w->vms[v];

        if (a->op == HV_OP_START)
                return do_start(w, v, a);
        if (a->op == HV_OP_CLEANUP || a->op == HV_OP_INSPECT)
                return HV_OK;
        if (vm->state == HV_DOMAIN_NONE)
                return HV_ERROR_NO_DOMAIN;
        if (a->op == HV_OP_SUSPEND)
                vm->state = HV_DOMAIN_PAUSED;
        else if (a->op == HV_OP_RESUME)
                vm->state = HV_DOMAIN_RUNNING;
        else if (a->op == HV_OP_DESTROY || chance(w, 50))
                end_domain(w, v, HV_LIFECYCLE_STOPPED);
        return HV_OK;
}

/* Carries out the oldest call of a VM; its answer comes later. */
static void carry_out(struct world *w, size_t v)
{
        struct vm *vm = &w->vms[v];
        struct hv_action a = vm->calls[0];
        struct hv_event *e = &vm->answers[vm->answer_count++];
        bool nic = a.nic.port_id[0] != '\0';

        assert_true(vm->answer_count < QUEUE);
        memmove(vm->calls, vm->calls + 1, --vm->call_count * sizeof(vm->calls[0]));
        *e = (struct hv_event){.type = HV_EVENT_RESULT};
        e->result.head.op = a.op;
        e->result.head.id = a.id;
        memcpy(e->result.head.pod_uid, a.pod_uid, sizeof(a.pod_uid));
        memcpy(e->result.head.port_id, a.nic.port_id, sizeof(a.nic.port_id));
        if (!w->connected)
                e->result.head.error = HV_ERROR_CONNECTION;
        else if (nic && vm->state == HV_DOMAIN_NONE)
                e->result.head.error = HV_ERROR_NO_DOMAIN;
        else
                e->result.head.error = nic ? do_nic(w, &a, &e->result) : do_vm(w, v, &a);
        if (e->result.head.error == HV_OK && (a.op == HV_OP_INSPECT || a.op == HV_OP_START))
                e->result.domain = describe(w, v);
        /* Done, but the answer is lost. */
        if (!w->calm && a.op != HV_OP_PROBE && chance(w, 3)) {
                free(e->result.domain);
                e->result.domain = NULL;
                e->result.head.error = HV_ERROR_CONNECTION;
        }
        free(a.domain);
}

static void guest_moves(struct world *w, size_t v, size_t p)
{
        struct vm *vm = &w->vms[v];
        struct nic *nic = &vm->nics[p];

        if (vm->state != HV_DOMAIN_RUNNING || !nic->plugged)
                return;
        if (nic->asked && w->calm)
                nic->stubborn = false;
        if (nic->asked && !nic->stubborn) {
                nic->plugged = nic->bound = nic->asked = false;
                if (w->calm || chance(w, 90))
                        happen(w, HV_EVENT_DEVICE_REMOVED, v, p, 0);
        } else if (nic->asked && !w->calm && chance(w, 10)) {
                nic->asked = false;
                happen(w, HV_EVENT_REMOVAL_FAILED, v, p, 0);
        } else {
                nic->bound = true;
        }
}

/* ------------------------------------------------------------------ checks */

static bool call_waits(const struct vm *vm, const char *port, enum hv_op op)
{
        for (size_t i = 0; i < vm->call_count; i++) {
                if (vm->calls[i].op == op && strcmp(vm->calls[i].nic.port_id, port) == 0)
                        return true;
        }
        return false;
}

static void check_nic_status(struct world *w, const struct ak_nic_status *s)
{
        struct vm *vm = vm_of(w, s->pod_uid);
        struct nic *nic = nic_of(w, s->pod_uid, s->port_id);

        if (s->state == AK_NIC_DETACHED) {
                assert_false(nic->plugged);
                assert_false(call_waits(vm, s->port_id, HV_OP_ATTACH));
        }
        if (s->state == AK_NIC_READY && (!nic->said_set || nic->said != AK_NIC_READY))
                w->readies++;
        nic->said = s->state;
        nic->said_set = true;
}

static void check_vm_status(struct world *w, const struct ak_vm_status *s)
{
        struct vm *vm = vm_of(w, s->pod_uid);

        if (s->phase == AK_VM_PHASE_ABSENT)
                assert_int_equal(vm->state, HV_DOMAIN_NONE);
        vm->said = s->phase;
        vm->said_set = true;
}

static void check_call(struct world *w, const struct hv_action *a)
{
        struct vm *vm = vm_of(w, a->pod_uid);
        struct nic none = {0}, *nic = a->nic.port_id[0] ? nic_of(w, a->pod_uid, a->nic.port_id) : &none;

        switch (a->op) {
        case HV_OP_ATTACH:
                assert_true(nic->wish_known && nic->wanted && nic->port_ready);
                assert_true(nic->port_generation >= nic->wish_generation);
                assert_true(nic->port_attempt >= nic->told_attempt ||
                            nic->port_generation > nic->wish_generation);
                break;
        case HV_OP_DETACH:
                assert_true(nic->wish_known && !nic->wanted);
                break;
        case HV_OP_START:
                assert_true(vm->wish_known);
                assert_true(vm->wanted == AK_VM_WANTED_RUNNING || vm->wanted == AK_VM_WANTED_PAUSED);
                for (size_t i = 0; i < a->domain->nic_count; i++) {
                        nic = nic_of(w, a->pod_uid, a->domain->nics[i].port_id);
                        assert_true(nic->wish_known && nic->wanted && nic->port_ready);
                }
                break;
        case HV_OP_DESTROY:
        case HV_OP_SHUTDOWN:
                assert_true(vm->wish_known);
                assert_true(vm->wanted == AK_VM_WANTED_ABSENT || vm->wanted == AK_VM_WANTED_SHUTDOWN);
                break;
        default:
                break;
        }
        if (a->op == HV_OP_ATTACH || a->op == HV_OP_DETACH || a->op == HV_OP_SET_LINK) {
                assert_false(nic->in_flight);
                nic->in_flight = true;
        } else if (a->op != HV_OP_PROBE && a->op != HV_OP_INSPECT) {
                assert_false(vm->in_flight);
                vm->in_flight = true;
        }
}

static void take_action(struct world *w, struct hv_action *a)
{
        struct vm *vm;

        switch (a->type) {
        case HV_ACTION_PUBLISH:
                if (a->message->type == ak_message_nic_status)
                        check_nic_status(w, &a->message->nic_status);
                else
                        check_vm_status(w, &a->message->vm_status);
                break;
        case HV_ACTION_DRIVER:
                check_call(w, a);
                vm = vm_of(w, a->pod_uid);
                assert_true(vm->call_count < QUEUE);
                vm->calls[vm->call_count++] = *a;
                a->domain = NULL;
                break;
        case HV_ACTION_CONNECT:
                assert_false(w->connect_pending);
                w->connect_pending = true;
                break;
        case HV_ACTION_LIST:
                assert_false(w->list_pending);
                w->list_pending = true;
                break;
        case HV_ACTION_FETCH_IMAGE:
                vm = vm_of(w, a->pod_uid);
                vm->image_pending = true;
                vm->image_id = a->image->id;
                break;
        case HV_ACTION_WAKE:
                assert_true(a->at_us > w->now);
                w->wake = a->at_us;
                break;
        case HV_ACTION_FORGET:
                break;
        }
}

static void give(struct world *w, const struct hv_event *event)
{
        size_t said;

        assert_int_equal(hv_core_step(w->core, event, w->now, w->now, &w->actions), 0);
        said = w->actions.count;
        assert_true(hv_core_settled(w->core, w->now, &w->actions));
        assert_int_equal(w->actions.count, said);
        for (size_t i = 0; i < w->actions.count; i++)
                take_action(w, &w->actions.items[i]);
        hv_actions_clear(&w->actions);
}

/* ------------------------------------------------------------------ what arrives at the core */

static void deliver_answer(struct world *w, size_t v)
{
        struct vm *vm = &w->vms[v];
        struct hv_event e = vm->answers[0];

        memmove(vm->answers, vm->answers + 1, --vm->answer_count * sizeof(vm->answers[0]));
        if (e.result.head.op == HV_OP_ATTACH || e.result.head.op == HV_OP_DETACH ||
            e.result.head.op == HV_OP_SET_LINK)
                nic_of(w, e.result.head.pod_uid, e.result.head.port_id)->in_flight = false;
        else if (e.result.head.op != HV_OP_PROBE && e.result.head.op != HV_OP_INSPECT)
                vm->in_flight = false;
        give(w, &e);
        hv_event_deinit(&e);
}

static void deliver_event(struct world *w)
{
        struct hv_event e = w->events[0];

        memmove(w->events, w->events + 1, --w->event_count * sizeof(w->events[0]));
        give(w, &e);
}

static void free_list(struct hv_event *list)
{
        for (size_t i = 0; i < list->domain_count; i++)
                free(list->domains[i]);
        free(list->domains);
        *list = (struct hv_event){0};
}

/* The list is made at one moment and arrives at a later one. */
static void move_list(struct world *w)
{
        if (!w->list_taken) {
                w->list = (struct hv_event){.type = HV_EVENT_LISTED};
                w->list.domains = calloc(VMS, sizeof(struct hv_live_domain *));
                assert_non_null(w->list.domains);
                for (size_t v = 0; v < VMS; v++) {
                        struct hv_live_domain *d = describe(w, v);

                        if (d)
                                w->list.domains[w->list.domain_count++] = d;
                }
                if (!w->connected)
                        w->list.result.head.error = HV_ERROR_CONNECTION;
                w->list_taken = true;
                return;
        }
        w->list_taken = w->list_pending = false;
        give(w, &w->list);
        free_list(&w->list);
}

static void break_connection(struct world *w)
{
        struct hv_event lost = {.type = HV_EVENT_DISCONNECTED};

        w->connected = false;
        w->event_count = 0;
        /* Calls under way fail before the driver reports anything else. */
        for (size_t v = 0; v < VMS; v++) {
                while (w->vms[v].call_count > 0)
                        carry_out(w, v);
        }
        give(w, &lost);
        for (size_t v = 0; v < VMS; v++) {
                while (w->vms[v].answer_count > 0)
                        deliver_answer(w, v);
        }
        if (w->list_pending) {
                if (w->list_taken)
                        free_list(&w->list);
                w->list_taken = w->list_pending = false;
                w->list =
                    (struct hv_event){.type = HV_EVENT_LISTED, .result.head.error = HV_ERROR_CONNECTION};
                give(w, &w->list);
        }
}

static void move_connect(struct world *w)
{
        struct hv_event e = {.type = HV_EVENT_CONNECTED};

        w->connect_pending = false;
        if (!w->calm && chance(w, 30))
                e.result.head.error = HV_ERROR_CONNECTION;
        else
                w->connected = true;
        give(w, &e);
}

/* ------------------------------------------------------------------ wishes */

static void say_vm(struct world *w, size_t v)
{
        struct ak_message *m = ak_message_new(ak_message_vm_diff);
        struct hv_event e = {.type = HV_EVENT_MESSAGE, .message = m};
        struct vm *vm = &w->vms[v];
        char port[AK_LEN_UID + 1];

        pod_name(v, m->vm_diff.pod_uid);
        m->vm_diff.wanted = vm->wanted;
        m->vm_diff.generation = vm->generation;
        m->vm_diff.attempt = vm->attempt;
        m->vm_diff.nic_slots = 4;
        m->vm_diff.grace_ms = 100;
        (void)snprintf(m->vm_diff.image, sizeof(m->vm_diff.image), "image");
        port_name(v, 0, port);
        assert_int_equal(AK_TEXTLIST_ADD(&m->vm_diff.boot_ports, port), 0);
        vm->wish_known = true;
        give(w, &e);
        ak_message_free(m);
}

static void say_nic(struct world *w, size_t v, size_t p)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);
        struct hv_event e = {.type = HV_EVENT_MESSAGE, .message = m};
        struct nic *nic = &w->vms[v].nics[p];

        pod_name(v, m->nic_diff.pod_uid);
        port_name(v, p, m->nic_diff.port_id);
        m->nic_diff.wanted = nic->wanted ? AK_NIC_WANTED_PRESENT : AK_NIC_WANTED_ABSENT;
        m->nic_diff.generation = nic->wish_generation;
        m->nic_diff.attempt = nic->told_attempt = nic->wish_attempt;
        m->nic_diff.slot = p;
        (void)snprintf(m->nic_diff.mac, sizeof(m->nic_diff.mac), "06:00:00:00:00:00");
        nic->wish_known = true;
        give(w, &e);
        ak_message_free(m);
}

/* What the network service would say: ready when wanted, held or released when not. */
static void say_port(struct world *w, size_t v, size_t p)
{
        struct ak_message *m = ak_message_new(ak_message_port_status);
        struct hv_event e = {.type = HV_EVENT_MESSAGE, .message = m};
        struct nic *nic = &w->vms[v].nics[p];

        pod_name(v, m->port_status.pod_uid);
        port_name(v, p, m->port_status.port_id);
        nic->port_ready = nic->wanted;
        nic->port_generation = nic->wish_generation;
        nic->port_attempt = nic->wish_attempt;
        m->port_status.state = nic->wanted ? AK_PORT_READY : AK_PORT_HELD;
        m->port_status.generation = nic->port_generation;
        m->port_status.attempt = nic->port_attempt;
        (void)snprintf(m->port_status.ifname, sizeof(m->port_status.ifname), "ak%zu", p);
        give(w, &e);
        ak_message_free(m);
}

/* A wish from the past: must not count. */
static void say_old(struct world *w, size_t v, size_t p)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);
        struct hv_event e = {.type = HV_EVENT_MESSAGE, .message = m};
        struct nic *nic = &w->vms[v].nics[p];

        if (nic->wish_known && nic->wish_generation > 1) {
                pod_name(v, m->nic_diff.pod_uid);
                port_name(v, p, m->nic_diff.port_id);
                m->nic_diff.wanted = nic->wanted ? AK_NIC_WANTED_ABSENT : AK_NIC_WANTED_PRESENT;
                m->nic_diff.generation = nic->wish_generation - 1;
                give(w, &e);
        }
        ak_message_free(m);
}

static void change_mind(struct world *w, size_t v, size_t p)
{
        static const enum ak_vm_wanted vm_wishes[] = {AK_VM_WANTED_RUNNING,  AK_VM_WANTED_RUNNING,
                                                      AK_VM_WANTED_RUNNING,  AK_VM_WANTED_PAUSED,
                                                      AK_VM_WANTED_SHUTDOWN, AK_VM_WANTED_ABSENT};
        struct vm *vm = &w->vms[v];
        struct nic *nic = &vm->nics[p];

        if (chance(w, 15)) {
                vm->wanted = vm_wishes[draw(w, 6)];
                vm->generation++;
                vm->attempt = 0;
                say_vm(w, v);
        } else {
                nic->wanted = chance(w, 60);
                nic->wish_generation = ++vm->generation;
                nic->wish_attempt = 0;
                say_nic(w, v, p);
        }
}

static void move_image(struct world *w, size_t v)
{
        struct hv_event e = {.type = HV_EVENT_IMAGE_DONE};
        struct vm *vm = &w->vms[v];

        if (!vm->image_pending)
                return;
        vm->image_pending = false;
        pod_name(v, e.image.pod_uid);
        e.image.id = vm->image_id;
        if (w->calm || chance(w, 90))
                (void)snprintf(e.image.path, sizeof(e.image.path), "/image");
        give(w, &e);
}

/* ------------------------------------------------------------------ one move */

static void pass_time(struct world *w, uint64_t us)
{
        w->now += us;
        if (w->wake && w->now >= w->wake) {
                w->wake = 0;
                give(w, &(struct hv_event){.type = HV_EVENT_TICK});
        }
}

static void something(struct world *w)
{
        size_t v = draw(w, VMS), p = draw(w, PORTS);

        switch (draw(w, 16)) {
        case 0:
        case 1:
        case 2:
                if (w->vms[v].call_count > 0)
                        carry_out(w, v);
                break;
        case 3:
        case 4:
        case 5:
                if (w->vms[v].answer_count > 0)
                        deliver_answer(w, v);
                break;
        case 6:
                if (w->event_count > 0)
                        deliver_event(w);
                break;
        case 7:
                guest_moves(w, v, p);
                break;
        case 8:
                if (w->connect_pending)
                        move_connect(w);
                if (w->list_pending)
                        move_list(w);
                break;
        case 9:
                if (w->vms[v].wish_known || chance(w, 20))
                        say_vm(w, v);
                break;
        case 10:
                say_nic(w, v, p);
                break;
        case 11:
                if (w->vms[v].nics[p].wish_known)
                        say_port(w, v, p);
                break;
        case 12:
                if (chance(w, 30))
                        change_mind(w, v, p);
                break;
        case 13:
                move_image(w, v);
                break;
        case 14:
                pass_time(w, draw(w, 4) == 0 ? draw(w, 3000000) : draw(w, 20000));
                break;
        default:
                if (chance(w, 2) && w->connected)
                        break_connection(w);
                else if (chance(w, 2) && w->vms[v].state != HV_DOMAIN_NONE)
                        end_domain(w, v, HV_LIFECYCLE_CRASHED);
                else if (chance(w, 5) && w->vms[v].nics[p].wish_known)
                        w->vms[v].nics[p].wish_attempt++;
                else if (chance(w, 5))
                        w->vms[v].attempt++;
                else if (chance(w, 10))
                        say_old(w, v, p);
                break;
        }
}

/* ------------------------------------------------------------------ the end */

static void settle_queues(struct world *w)
{
        for (size_t v = 0; v < VMS; v++) {
                while (w->vms[v].call_count > 0)
                        carry_out(w, v);
                while (w->vms[v].answer_count > 0)
                        deliver_answer(w, v);
                move_image(w, v);
                for (size_t p = 0; p < PORTS; p++)
                        guest_moves(w, v, p);
        }
        while (w->event_count > 0)
                deliver_event(w);
        if (w->connect_pending)
                move_connect(w);
        while (w->list_pending)
                move_list(w);
}

/* The watcher's part: say again, and raise the attempt of what does not become so. */
static void insist(struct world *w)
{
        for (size_t v = 0; v < VMS; v++) {
                w->vms[v].attempt++;
                say_vm(w, v);
                for (size_t p = 0; p < PORTS; p++) {
                        if (!w->vms[v].nics[p].wish_known)
                                continue;
                        w->vms[v].nics[p].wish_attempt++;
                        say_nic(w, v, p);
                        say_port(w, v, p);
                }
        }
}

static bool nic_settled(const struct vm *vm, const struct nic *nic)
{
        bool up = vm->wanted == AK_VM_WANTED_RUNNING;

        if (!nic->wish_known || (vm->wanted != AK_VM_WANTED_RUNNING && vm->wanted != AK_VM_WANTED_ABSENT))
                return true;
        if (up && nic->wanted)
                return nic->plugged && nic->bound && nic->said == AK_NIC_READY;
        return !nic->plugged && (!nic->said_set || nic->said == AK_NIC_DETACHED);
}

static bool settled(const struct world *w)
{
        for (size_t v = 0; v < VMS; v++) {
                const struct vm *vm = &w->vms[v];

                if (vm->wanted == AK_VM_WANTED_RUNNING && vm->state != HV_DOMAIN_RUNNING)
                        return false;
                if (vm->wanted == AK_VM_WANTED_PAUSED && vm->state != HV_DOMAIN_PAUSED)
                        return false;
                if (vm->wanted == AK_VM_WANTED_ABSENT &&
                    (vm->state != HV_DOMAIN_NONE || vm->said != AK_VM_PHASE_ABSENT))
                        return false;
                for (size_t p = 0; p < PORTS; p++) {
                        if (!nic_settled(vm, &vm->nics[p]))
                                return false;
                }
        }
        return true;
}

static void world_free(struct world *w)
{
        for (size_t v = 0; v < VMS; v++) {
                for (size_t i = 0; i < w->vms[v].call_count; i++)
                        free(w->vms[v].calls[i].domain);
                for (size_t i = 0; i < w->vms[v].answer_count; i++)
                        hv_event_deinit(&w->vms[v].answers[i]);
        }
        if (w->list_taken)
                free_list(&w->list);
        hv_actions_deinit(&w->actions);
        hv_core_free(w->core);
        free(w);
}

static struct world *world_new(uint64_t seed)
{
        const struct hv_core_config config = {.node = "node", .seed = seed};
        struct world *w = calloc(1, sizeof(*w));

        assert_non_null(w);
        w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
        w->now = 1000000;
        assert_int_equal(hv_core_new(&w->core, &config), 0);
        for (size_t v = 0; v < VMS; v++) {
                w->vms[v].wanted = AK_VM_WANTED_RUNNING;
                w->vms[v].generation = 1;
                for (size_t p = 0; p < PORTS; p++) {
                        w->vms[v].nics[p].wanted = true;
                        w->vms[v].nics[p].wish_generation = 1;
                }
        }
        give(w, &(struct hv_event){.type = HV_EVENT_TICK});
        return w;
}

static void test_random_world(void **state)
{
        size_t attaches = 0, detaches = 0, starts = 0, readies = 0;

        (void)state;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct world *w = world_new(seed);
                uint64_t end;

                for (int i = 0; i < STEPS; i++)
                        something(w);
                w->calm = true;
                for (end = w->now + CALM_US; w->now < end && !settled(w);) {
                        insist(w);
                        for (int i = 0; i < 50; i++) {
                                pass_time(w, 200000);
                                settle_queues(w);
                        }
                }
                if (!settled(w))
                        fail_msg("seed %llu does not settle", (unsigned long long)seed);
                attaches += w->attaches;
                detaches += w->detaches;
                starts += w->starts;
                readies += w->readies;
                world_free(w);
        }
        /* The random world did exercise what it is for. */
        assert_true(starts > SEEDS && attaches > SEEDS && detaches > SEEDS && readies > SEEDS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_world)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
