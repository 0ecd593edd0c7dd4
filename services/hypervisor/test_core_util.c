/* SPDX-License-Identifier: Apache-2.0 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "services/hypervisor/test_core_util.h"

#define START_US UINT64_C(1000000000)

void rig_init(struct rig *rig)
{
        const struct hv_core_config config = {.node = "node1", .seed = 7};

        *rig = (struct rig){.now = START_US};
        assert_int_equal(hv_core_new(&rig->core, &config), 0);
}

void rig_deinit(struct rig *rig)
{
        hv_actions_deinit(&rig->actions);
        hv_core_free(rig->core);
}

void rig_step(struct rig *rig, const struct hv_event *event)
{
        size_t said;

        hv_actions_clear(&rig->actions);
        assert_int_equal(hv_core_step(rig->core, event, rig->now, rig->now + 1700000000000000, &rig->actions),
                         0);
        said = rig->actions.count;
        assert_true(hv_core_settled(rig->core, rig->now, &rig->actions));
        assert_int_equal(rig->actions.count, said);
}

void rig_tick(struct rig *rig, uint64_t after_us)
{
        rig->now += after_us;
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_TICK});
}

void rig_connect(struct rig *rig, struct hv_live_domain **domains, size_t count)
{
        /* A message that came first may have asked for it already. */
        rig_tick(rig, 0);
        assert_true(rig_count(rig, HV_ACTION_CONNECT) <= 1);
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_CONNECTED});
        assert_int_equal(rig_count(rig, HV_ACTION_LIST), 1);
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_LISTED, .domains = domains, .domain_count = count});
}

static void give(struct rig *rig, struct ak_message *m)
{
        rig_step(rig, &(struct hv_event){.type = HV_EVENT_MESSAGE, .message = m});
        ak_message_free(m);
}

static void vm_diff(struct rig *rig, enum ak_vm_wanted wanted, uint64_t generation, uint64_t attempt,
                    const char *boot_port, bool started)
{
        struct ak_message *m = ak_message_new(ak_message_vm_diff);
        struct ak_vm_diff *d = &m->vm_diff;

        (void)snprintf(d->pod_uid, sizeof(d->pod_uid), "%s", POD);
        (void)snprintf(d->pod_namespace, sizeof(d->pod_namespace), "default");
        (void)snprintf(d->pod_name, sizeof(d->pod_name), "vm");
        (void)snprintf(d->image, sizeof(d->image), "/images/guest.qcow2");
        d->wanted = wanted;
        d->generation = generation;
        d->attempt = attempt;
        d->nic_slots = 8;
        d->started = started;
        if (boot_port)
                assert_int_equal(AK_TEXTLIST_ADD(&d->boot_ports, boot_port), 0);
        give(rig, m);
}

void rig_vm_diff(struct rig *rig, enum ak_vm_wanted wanted, uint64_t generation, uint64_t attempt,
                 const char *boot_port)
{
        vm_diff(rig, wanted, generation, attempt, boot_port, false);
}

void rig_vm_was_up(struct rig *rig, uint64_t generation, uint64_t attempt)
{
        vm_diff(rig, AK_VM_WANTED_RUNNING, generation, attempt, NULL, true);
}

void rig_nic_diff(struct rig *rig, const char *port, enum ak_nic_wanted wanted, uint64_t slot,
                  uint64_t generation, uint64_t attempt)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);
        struct ak_nic_diff *d = &m->nic_diff;

        (void)snprintf(d->pod_uid, sizeof(d->pod_uid), "%s", POD);
        (void)snprintf(d->port_id, sizeof(d->port_id), "%s", port);
        (void)snprintf(d->nic, sizeof(d->nic), "eth%u", (unsigned)slot);
        (void)snprintf(d->mac, sizeof(d->mac), "06:00:00:00:00:%02x", (unsigned)slot);
        d->wanted = wanted;
        d->slot = slot;
        d->generation = generation;
        d->attempt = attempt;
        give(rig, m);
}

static void port_says(struct rig *rig, const char *port, enum ak_port_state state, uint64_t slot,
                      uint64_t generation, uint64_t attempt, uint64_t ifindex)
{
        struct ak_message *m = ak_message_new(ak_message_port_status);
        struct ak_port_status *p = &m->port_status;

        (void)snprintf(p->pod_uid, sizeof(p->pod_uid), "%s", POD);
        (void)snprintf(p->port_id, sizeof(p->port_id), "%s", port);
        (void)snprintf(p->ifname, sizeof(p->ifname), "ak%u", (unsigned)slot);
        p->state = state;
        p->slot = slot;
        p->generation = generation;
        p->attempt = attempt;
        p->mtu = 1450;
        p->ifindex = ifindex;
        give(rig, m);
}

void rig_port(struct rig *rig, const char *port, enum ak_port_state state, uint64_t slot, uint64_t generation)
{
        port_says(rig, port, state, slot, generation, 0, 0);
}

void rig_port_again(struct rig *rig, const char *port, uint64_t slot, uint64_t generation, uint64_t attempt)
{
        port_says(rig, port, AK_PORT_READY, slot, generation, attempt, 0);
}

void rig_port_on(struct rig *rig, const char *port, uint64_t slot, uint64_t generation, uint64_t ifindex)
{
        port_says(rig, port, AK_PORT_READY, slot, generation, 0, ifindex);
}

void rig_answer(struct rig *rig, const struct hv_action *call, enum hv_error error, uint64_t virtio_status,
                struct hv_live_domain *domain)
{
        struct hv_event event = {.type = HV_EVENT_RESULT, .result.domain = domain};
        struct hv_result_head *head = &event.result.head;

        head->op = call->op;
        head->id = call->id;
        head->error = error;
        head->virtio_status = virtio_status;
        head->took_us = 1234;
        (void)snprintf(head->text, sizeof(head->text), "text of the error");
        (void)snprintf(head->pod_uid, sizeof(head->pod_uid), "%s", call->pod_uid);
        (void)snprintf(head->port_id, sizeof(head->port_id), "%s", call->nic.port_id);
        rig_step(rig, &event);
}

void rig_device(struct rig *rig, enum hv_event_type type, const char *port)
{
        struct hv_event event = {.type = type, .pod_uid = POD};

        (void)snprintf(event.port_id, sizeof(event.port_id), "%s", port);
        rig_step(rig, &event);
}

void rig_image_done(struct rig *rig, const char *path, const char *reason)
{
        struct hv_event event = {.type = HV_EVENT_IMAGE_DONE};

        for (size_t i = 0; i < rig->actions.count; i++) {
                if (rig->actions.items[i].type == HV_ACTION_FETCH_IMAGE)
                        event.image.id = rig->actions.items[i].image->id;
        }
        assert_int_not_equal(event.image.id, 0);
        (void)snprintf(event.image.pod_uid, sizeof(event.image.pod_uid), "%s", POD);
        (void)snprintf(event.image.path, sizeof(event.image.path), "%s", path);
        (void)snprintf(event.image.format, sizeof(event.image.format), "qcow2");
        (void)snprintf(event.image.reason, sizeof(event.image.reason), "%s", reason);
        rig_step(rig, &event);
}

static const struct hv_action *find_call(const struct rig *rig, enum hv_op op)
{
        for (size_t i = 0; i < rig->actions.count; i++) {
                const struct hv_action *a = &rig->actions.items[i];

                if (a->type == HV_ACTION_DRIVER && a->op == op)
                        return a;
        }
        return NULL;
}

struct hv_action rig_call(const struct rig *rig, enum hv_op op)
{
        const struct hv_action *a = find_call(rig, op);
        struct hv_action copy;

        if (!a) {
                fail_msg("no driver call %s among %zu actions", hv_op_name(op), rig->actions.count);
                return (struct hv_action){0};
        }
        copy = *a;
        copy.domain = NULL;
        return copy;
}

bool rig_calls(const struct rig *rig, enum hv_op op)
{
        return find_call(rig, op) != NULL;
}

size_t rig_count(const struct rig *rig, enum hv_action_type type)
{
        size_t n = 0;

        for (size_t i = 0; i < rig->actions.count; i++)
                n += rig->actions.items[i].type == type;
        return n;
}

const struct ak_nic_status *rig_nic(const struct rig *rig, const char *port)
{
        for (size_t i = rig->actions.count; i > 0; i--) {
                const struct ak_message *m = rig->actions.items[i - 1].message;

                if (m && m->type == ak_message_nic_status && strcmp(m->nic_status.port_id, port) == 0)
                        return &m->nic_status;
        }
        return NULL;
}

const struct ak_vm_status *rig_vm(const struct rig *rig)
{
        for (size_t i = rig->actions.count; i > 0; i--) {
                const struct ak_message *m = rig->actions.items[i - 1].message;

                if (m && m->type == ak_message_vm_status)
                        return &m->vm_status;
        }
        return NULL;
}

struct hv_live_domain *rig_domain(const char *port)
{
        struct hv_live_domain *d = calloc(1, sizeof(*d));

        assert_non_null(d);
        (void)snprintf(d->head.pod_uid, sizeof(d->head.pod_uid), "%s", POD);
        (void)snprintf(d->head.uuid, sizeof(d->head.uuid), "%s", POD);
        (void)snprintf(d->head.accel, sizeof(d->head.accel), "tcg");
        d->head.generation = 1;
        d->head.nic_slots = 8;
        d->head.state = HV_DOMAIN_RUNNING;
        if (port) {
                d->nic_count = 1;
                (void)snprintf(d->nics[0].port_id, sizeof(d->nics[0].port_id), "%s", port);
                (void)snprintf(d->nics[0].mac, sizeof(d->nics[0].mac), "06:00:00:00:00:00");
                (void)snprintf(d->nics[0].ifname, sizeof(d->nics[0].ifname), "ak0");
                (void)snprintf(d->nics[0].pci_address, sizeof(d->nics[0].pci_address), "0000:01:00.0");
        }
        return d;
}

void rig_run_vm(struct rig *rig)
{
        struct hv_live_domain *domain = rig_domain(NULL);
        struct hv_action start;

        rig_connect(rig, NULL, 0);
        rig_vm_diff(rig, AK_VM_WANTED_RUNNING, 1, 0, NULL);
        rig_image_done(rig, "/images/guest.qcow2", "");
        start = rig_call(rig, HV_OP_START);
        rig_answer(rig, &start, HV_OK, 0, domain);
        assert_int_equal(rig_vm(rig)->phase, AK_VM_PHASE_RUNNING);
        free(domain);
}

void rig_ready_nic(struct rig *rig, const char *port, uint64_t slot, uint64_t generation)
{
        struct hv_action call;

        rig_nic_diff(rig, port, AK_NIC_WANTED_PRESENT, slot, generation, 0);
        rig_port(rig, port, AK_PORT_READY, slot, generation);
        call = rig_call(rig, HV_OP_ATTACH);
        rig_answer(rig, &call, HV_OK, 0, NULL);
        rig_tick(rig, 2000);
        call = rig_call(rig, HV_OP_PROBE);
        rig_answer(rig, &call, HV_OK, 15, NULL);
        assert_int_equal(rig_nic(rig, port)->state, AK_NIC_READY);
}
