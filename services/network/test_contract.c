/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/test_contract.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/clock.h"
#include "services/network/label.h"
#include "services/network/test_spec.h"

struct contract {
        const struct contract_host *host;
        struct vpc_backend *backend;
};

static int set_up(void **state)
{
        struct contract *c = *state;

        c->backend = c->host->make("contract");
        return c->backend ? 0 : -1;
}

static int tear_down(void **state)
{
        struct contract *c = *state;
        struct net_error error;
        int r = c->backend->ops->teardown(c->backend, &error);

        c->backend = vpc_backend_free(c->backend);
        return r;
}

static void prepare(struct vpc_backend *b, const struct net_port_spec *s, struct net_prepared *out)
{
        struct net_error error = {0};
        int r = b->ops->prepare(b, s, out, &error);

        if (r < 0)
                fail_msg("prepare: %d %s: %s", r, error.reason, error.message);
}

static void release(struct vpc_backend *b, const struct net_port_key *key)
{
        struct net_error error = {0};
        int r = b->ops->release(b, key, &error);

        if (r < 0)
                fail_msg("release: %d %s: %s", r, error.reason, error.message);
}

static size_t count_ports(struct vpc_backend *b, struct net_found_port *first)
{
        struct vpc_inventory inventory;
        struct net_error error;

        assert_int_equal(b->ops->inventory(b, &inventory, &error), 0);
        size_t count = inventory.count;
        if (count > 0 && first)
                *first = inventory.ports[0];
        free(inventory.ports);
        return count;
}

static void prepared_port_is_in_the_inventory(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p = {0};
        struct net_found_port f = {0};

        assert_int_equal(count_ports(c->backend, NULL), 0);
        prepare(c->backend, &s, &p);
        assert_string_equal(p.ifname, net_tap_name(s.key.port_id).s);
        assert_int_equal(p.mtu, 1500);
        assert_true(p.ifindex > 0);
        assert_int_equal(count_ports(c->backend, &f), 1);
        assert_memory_equal(&f.key, &s.key, sizeof(s.key));
        assert_string_equal(f.ifname, p.ifname);
        assert_int_equal(f.ifindex, p.ifindex);
}

static void prepare_twice_changes_nothing(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared a = {0}, b = {0};

        prepare(c->backend, &s, &a);
        prepare(c->backend, &s, &b);
        assert_string_equal(a.ifname, b.ifname);
        assert_int_equal(a.ifindex, b.ifindex);
        assert_int_equal(count_ports(c->backend, NULL), 1);
}

static void release_twice_and_of_the_unknown_is_fine(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1), never = test_spec(9, 9, 9);
        struct net_prepared p;

        prepare(c->backend, &s, &p);
        release(c->backend, &s.key);
        assert_int_equal(count_ports(c->backend, NULL), 0);
        release(c->backend, &s.key);
        release(c->backend, &never.key);
}

static void released_port_can_be_prepared_again(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared a = {0}, b = {0};

        prepare(c->backend, &s, &a);
        release(c->backend, &s.key);
        prepare(c->backend, &s, &b);
        assert_int_equal(count_ports(c->backend, NULL), 1);
        assert_int_not_equal(a.ifindex, b.ifindex);
}

static void a_port_held_for_another_pod_is_left_alone(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1), other = s;
        struct net_prepared p;
        struct net_error error = {0};
        struct net_found_port f = {0};

        prepare(c->backend, &s, &p);
        test_uuid(other.key.pod_uid, 0xb0, 77);
        assert_int_equal(c->backend->ops->prepare(c->backend, &other, &p, &error), -EEXIST);
        assert_true(error.reason[0] != '\0' && error.message[0] != '\0');
        assert_int_equal(count_ports(c->backend, &f), 1);
        assert_string_equal(f.key.pod_uid, s.key.pod_uid);
}

static void ports_of_several_subnets_come_and_go(void **state)
{
        struct contract *c = *state;
        struct net_prepared p;

        for (unsigned int vpc = 1; vpc <= 2; vpc++)
                for (unsigned int subnet = 1; subnet <= 2; subnet++)
                        for (unsigned int n = 1; n <= 2; n++) {
                                struct net_port_spec s = test_spec(vpc, subnet, n);

                                prepare(c->backend, &s, &p);
                        }
        assert_int_equal(count_ports(c->backend, NULL), 8);
        for (unsigned int vpc = 1; vpc <= 2; vpc++)
                for (unsigned int subnet = 1; subnet <= 2; subnet++)
                        for (unsigned int n = 1; n <= 2; n++) {
                                struct net_port_spec s = test_spec(vpc, subnet, n);

                                release(c->backend, &s.key);
                        }
        assert_int_equal(count_ports(c->backend, NULL), 0);
}

static void sweep_spares_what_has_ports(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared a = {0}, b = {0};
        struct net_error error = {0};

        prepare(c->backend, &s, &a);
        assert_int_equal(c->backend->ops->sweep(c->backend, &error), 0);
        prepare(c->backend, &s, &b);
        assert_int_equal(a.ifindex, b.ifindex);
}

static void quiet_backend_has_no_events(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared p;
        struct vpc_event e;

        prepare(c->backend, &s, &p);
        assert_int_equal(c->backend->ops->next_event(c->backend, &e), 0);
}

static void restart(struct contract *c)
{
        c->backend = c->host->restart(c->backend, "contract");
        assert_non_null(c->backend);
}

static void ports_outlive_the_backend(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared a = {0}, b = {0};
        struct vpc_event e;

        prepare(c->backend, &s, &a);
        restart(c);
        assert_int_equal(count_ports(c->backend, NULL), 1);
        prepare(c->backend, &s, &b);
        assert_int_equal(a.ifindex, b.ifindex);
        assert_int_equal(c->backend->ops->next_event(c->backend, &e), 0);
        restart(c);
        release(c->backend, &s.key);
        assert_int_equal(count_ports(c->backend, NULL), 0);
}

/* Waits for an event; others on the way are let pass. */
static bool is_told(struct vpc_backend *b, enum vpc_event_type type, const char *id)
{
        uint64_t end_us = ak_clock_monotonic_us() + 30000000;
        struct vpc_event e;

        while (ak_clock_monotonic_us() < end_us) {
                struct pollfd p = {.fd = b->ops->event_fd(b), .events = POLLIN};

                (void)poll(&p, 1, 200);
                while (b->ops->next_event(b, &e) == 1)
                        if (e.type == type && strcmp(e.id, id) == 0)
                                return true;
        }
        return false;
}

static void a_device_that_somebody_deletes_is_told_and_made_anew(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1), other = test_spec(1, 1, 2);
        struct net_prepared a = {0}, b = {0}, kept = {0}, still = {0};

        prepare(c->backend, &s, &a);
        prepare(c->backend, &other, &kept);
        c->host->lose_port(c->backend, s.key.port_id);
        assert_true(is_told(c->backend, VPC_EVENT_PORT_LOST, s.key.port_id));
        assert_int_equal(count_ports(c->backend, NULL), 1);
        prepare(c->backend, &s, &b);
        assert_string_equal(a.ifname, b.ifname);
        assert_int_not_equal(a.ifindex, b.ifindex); /* this is how others can tell */
        prepare(c->backend, &other, &still);
        assert_int_equal(kept.ifindex, still.ifindex);
        c->host->lose_port(c->backend, s.key.port_id);
        release(c->backend, &s.key);
        assert_int_equal(count_ports(c->backend, NULL), 1);
}

static void a_bridge_that_somebody_deletes_is_told_and_made_anew(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1);
        struct net_prepared a = {0}, b = {0};

        prepare(c->backend, &s, &a);
        c->host->lose_subnet(c->backend, s.key.subnet_id);
        assert_true(is_told(c->backend, VPC_EVENT_SUBNET_LOST, s.key.subnet_id));
        prepare(c->backend, &s, &b);
        assert_int_equal(a.ifindex, b.ifindex); /* a VM has it open */
        assert_int_equal(count_ports(c->backend, NULL), 1);
}

static void what_was_lost_while_nobody_looked_is_not_in_the_inventory(void **state)
{
        struct contract *c = *state;
        struct net_port_spec s = test_spec(1, 1, 1), other = test_spec(1, 1, 2);
        struct net_prepared p = {0};
        struct net_found_port f = {0};

        prepare(c->backend, &s, &p);
        prepare(c->backend, &other, &p);
        c->host->lose_port(c->backend, s.key.port_id);
        restart(c);
        assert_int_equal(count_ports(c->backend, &f), 1);
        assert_string_equal(f.key.port_id, other.key.port_id);
        release(c->backend, &s.key);
}

#define CONTRACT(name)                                                                                       \
        {                                                                                                    \
#name, name, set_up, tear_down, &contract                                                    \
        }

int contract_run(const struct contract_host *host)
{
        struct contract contract = {host, NULL};
        const struct CMUnitTest tests[] = {
            CONTRACT(prepared_port_is_in_the_inventory),
            CONTRACT(prepare_twice_changes_nothing),
            CONTRACT(release_twice_and_of_the_unknown_is_fine),
            CONTRACT(released_port_can_be_prepared_again),
            CONTRACT(a_port_held_for_another_pod_is_left_alone),
            CONTRACT(ports_of_several_subnets_come_and_go),
            CONTRACT(sweep_spares_what_has_ports),
            CONTRACT(quiet_backend_has_no_events),
            CONTRACT(ports_outlive_the_backend),
            CONTRACT(a_device_that_somebody_deletes_is_told_and_made_anew),
            CONTRACT(a_bridge_that_somebody_deletes_is_told_and_made_anew),
            CONTRACT(what_was_lost_while_nobody_looked_is_not_in_the_inventory),
        };

        return cmocka_run_group_tests_name("vpc_backend contract", tests, NULL, NULL);
}
