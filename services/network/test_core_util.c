/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/test_core_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/network/label.h"
#include "services/network/test_spec.h"

void bench_init(struct bench *b, uint32_t max_ports)
{
        struct net_core_config config = {.seed = 7, .max_ports = max_ports}, copy;
        json_t *json = net_core_config_to_json(&config);

        memset(b, 0, sizeof(*b));
        assert_int_equal(net_core_config_from_json(json, &copy), 0);
        json_decref(json);
        assert_int_equal(net_core_new(&b->core, &copy), 0);
        b->now_us = 1000000;
}

void bench_deinit(struct bench *b)
{
        net_actions_clear(&b->last);
        net_core_free(b->core);
}

/* The event as read back from JSON; *out owns it. */
static void through_json(const struct net_event *event, struct net_owned_event *out)
{
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        json_t *json = net_event_to_json(event);

        assert_non_null(json);
        if (net_event_from_json(json, out, error) < 0)
                fail_msg("event_from_json: %s", error);
        json_t *again = net_event_to_json(&out->event);
        assert_true(json_equal(json, again));
        json_decref(again);
        json_decref(json);
}

void bench_step(struct bench *b, const struct net_event *event)
{
        struct net_owned_event copy;

        net_actions_clear(&b->last);
        b->now_us++;
        if (b->plain) {
                assert_int_equal(net_core_step(b->core, event, b->now_us, 0, &b->last), 0);
                return;
        }
        through_json(event, &copy);
        assert_int_equal(net_core_step(b->core, &copy.event, b->now_us, 0, &b->last), 0);
        net_owned_event_deinit(&copy);
        json_t *json = net_actions_to_json(&b->last);
        assert_int_equal(json_array_size(json), b->last.count);
        json_decref(json);
}

void bench_inventory(struct bench *b, const struct net_found_port *ports, size_t count)
{
        struct net_event e = {.type = NET_EVENT_INVENTORY};

        e.inventory.ports = ports;
        e.inventory.count = count;
        bench_step(b, &e);
}

void bench_message(struct bench *b, const struct ak_message *m)
{
        bench_step(b, &(struct net_event){.type = NET_EVENT_MESSAGE, .message = m});
}

void bench_prepared(struct bench *b, uint64_t op, int error, uint32_t ifindex)
{
        struct net_event e = {.type = NET_EVENT_PREPARED};

        e.done.op = op;
        e.done.error = error;
        if (error < 0)
                net_error_set(&e.done.text, "TestFailure", "the test said so");
        else
                snprintf(e.done.prepared.ifname, sizeof(e.done.prepared.ifname), "ak%u", ifindex);
        e.done.prepared.ifindex = error < 0 ? 0 : ifindex;
        e.done.prepared.mtu = error < 0 ? 0 : 1500;
        bench_step(b, &e);
}

void bench_released(struct bench *b, uint64_t op, int error)
{
        struct net_event e = {.type = NET_EVENT_RELEASED};

        e.done.op = op;
        e.done.error = error;
        if (error < 0)
                net_error_set(&e.done.text, "TestFailure", "the test said so");
        bench_step(b, &e);
}

void bench_lost(struct bench *b, enum net_event_type type, const char *id)
{
        struct net_event e = {.type = type};

        memcpy(e.port_id, id, AK_UUID_SIZE);
        bench_step(b, &e);
}

void bench_tick(struct bench *b, uint64_t later_us)
{
        b->now_us += later_us;
        bench_step(b, &(struct net_event){.type = NET_EVENT_TICK});
}

#define COPY(dst, src) snprintf((dst), sizeof(dst), "%s", (src))

struct ak_message bench_wish(unsigned int n, unsigned int pod, bool present, uint64_t generation,
                             uint64_t attempt)
{
        struct ak_message m = {.type = ak_message_nic_diff};
        struct ak_nic_diff *d = &m.nic_diff;
        struct net_port_spec s = test_spec(1, 1, n);
        static char addresses[256][AK_LEN_CIDR + 1];

        test_uuid(s.key.pod_uid, 0xb0, pod);
        COPY(d->port_id, s.key.port_id);
        COPY(d->pod_uid, s.key.pod_uid);
        COPY(d->nic, "eth1");
        d->generation = generation;
        d->attempt = attempt;
        d->wanted = present ? AK_NIC_WANTED_PRESENT : AK_NIC_WANTED_ABSENT;
        if (!present)
                return m;
        COPY(d->mac, s.mac);
        COPY(d->subnet_id, s.key.subnet_id);
        COPY(d->vpc_id, s.vpc_id);
        COPY(d->cidr, "10.0.1.0/24");
        COPY(d->gateway, "10.0.1.1");
        d->addresses.count = 1;
        d->addresses.items = &addresses[n % 256];
        ak_cidr_format(&s.addresses[0], d->addresses.items[0]);
        d->dhcp = true;
        d->slot = n;
        return m;
}

struct ak_message bench_nic(unsigned int n, unsigned int pod, enum ak_nic_state state, uint64_t generation)
{
        struct ak_message m = {.type = ak_message_nic_status};
        struct net_port_spec s = test_spec(1, 1, n);

        test_uuid(s.key.pod_uid, 0xb0, pod);
        COPY(m.nic_status.port_id, s.key.port_id);
        COPY(m.nic_status.pod_uid, s.key.pod_uid);
        m.nic_status.state = state;
        m.nic_status.generation = generation;
        return m;
}

struct ak_message bench_nic_attempt(unsigned int n, unsigned int pod, enum ak_nic_state state,
                                    uint64_t generation, uint64_t attempt)
{
        struct ak_message m = bench_nic(n, pod, state, generation);

        m.nic_status.attempt = attempt;
        return m;
}

struct ak_message bench_vm(unsigned int pod, enum ak_vm_phase phase, uint64_t generation)
{
        struct ak_message m = {.type = ak_message_vm_status};

        test_uuid(m.vm_status.pod_uid, 0xb0, pod);
        m.vm_status.phase = phase;
        m.vm_status.generation = generation;
        return m;
}

const struct net_action *bench_action(const struct bench *b, enum net_action_type type)
{
        const struct net_action *found = NULL;

        for (size_t i = 0; i < b->last.count; i++)
                if (b->last.items[i].type == type) {
                        if (found)
                                fail_msg("more than one action of type %d", (int)type);
                        found = &b->last.items[i];
                }
        return found;
}

size_t bench_count(const struct bench *b, enum net_action_type type)
{
        size_t n = 0;

        for (size_t i = 0; i < b->last.count; i++)
                n += b->last.items[i].type == type;
        return n;
}

const struct ak_port_status *bench_status(const struct bench *b)
{
        for (size_t i = b->last.count; i-- > 0;)
                if (b->last.items[i].type == NET_ACTION_PUBLISH)
                        return &b->last.items[i].publish.message->port_status;
        return NULL;
}
