/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold after every step, whatever was lost, killed or refused (docs/nic-lifecycle.md: the order
 * that is never broken), and what must be so once the faults have stopped.
 *
 * The checks know the whole world: kernel, domains, guests and the API's store. The cores do not.
 */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"
#include "tests/sim/sim.h"

/* A status may say Ready of what was usable when the report left the hypervisor, so long ago at most. */
#define STALE_US (90 * SIM_S)
/* In the calm, nothing may be called Ready for longer than this after it ceased to be. */
#define CALM_STALE_US (60 * SIM_S)
/* A NIC that has been wanted for so long is known by all to be wanted. */
#define SETTLED_US (60 * SIM_S)

/* ---- the order that is never broken ---- */

/* The attach may have been on its way while somebody deleted the tap. */
static bool just_deleted(const struct sim *sim, const char *port_id)
{
        for (size_t i = 0; i < SIM_PORTS; i++)
                if (!sim->taps[i].used && sim->taps[i].deleted_us + SIM_S > sim->now &&
                    sim->taps[i].deleted_us && strcmp(sim->taps[i].key.port_id, port_id) == 0)
                        return true;
        return false;
}

void sim_check_attach(struct sim *sim, const char *port_id)
{
        if (!sim_tap_find(sim, port_id) && !just_deleted(sim, port_id))
                sim_fail(sim, SIM_ATTACH, "NIC of port %.8s is attached, but the port was not prepared",
                         port_id);
}

void sim_check_release(struct sim *sim, const char *port_id)
{
        struct sim_vm *vm;

        if (sim_nic_find(sim, port_id, &vm))
                sim_fail(sim, SIM_RELEASE, "port %.8s is released while the domain of %.8s has its NIC",
                         port_id, vm->pod_uid);
}

static bool is_nic_op(enum hv_op op)
{
        return op == HV_OP_ATTACH || op == HV_OP_DETACH || op == HV_OP_SET_LINK;
}

void sim_check_begin(struct sim *sim, const struct hv_action *a)
{
        struct sim_pending *slot = NULL;

        if (!is_nic_op(a->op))
                return;
        for (size_t i = 0; i < SIM_PENDING; i++) {
                struct sim_pending *p = &sim->pending[i];

                if (p->id && strcmp(p->port_id, a->nic.port_id) == 0)
                        sim_fail(sim, SIM_ONE_OP, "%s of port %.8s is asked for while another is under way",
                                 hv_op_name(a->op), p->port_id);
                if (!p->id && !slot)
                        slot = p;
        }
        if (!slot)
                return;
        slot->id = a->id;
        (void)snprintf(slot->port_id, sizeof(slot->port_id), "%s", a->nic.port_id);
}

void sim_check_end(struct sim *sim, const struct hv_result *result)
{
        for (size_t i = 0; i < SIM_PENDING; i++)
                if (sim->pending[i].id == result->head.id && is_nic_op(result->head.op))
                        sim->pending[i].id = 0;
}

void sim_check_touch(struct sim *sim, const char *port_id, const char *what)
{
        const json_t *since = json_object_get(sim->wanted_since, port_id);
        const struct sim_nic *nic = sim_nic_find(sim, port_id, NULL);

        if (!since || !nic || !nic->bound || nic->cut)
                return;
        if ((uint64_t)json_integer_value(since) + SETTLED_US < sim->now)
                sim_fail(sim, SIM_HEALTHY, "NIC of port %.8s works and is wanted, and is %s", port_id, what);
}

/* Two taps of one subnet with one address or MAC. */
void sim_check_taps(struct sim *sim)
{
        for (size_t i = 0; i < SIM_PORTS; i++) {
                const struct sim_tap *a = &sim->taps[i];

                if (!a->used)
                        continue;
                for (size_t j = i + 1; j < SIM_PORTS; j++) {
                        const struct sim_tap *b = &sim->taps[j];
                        if (b->used && strcmp(a->key.subnet_id, b->key.subnet_id) == 0 &&
                            (strcmp(a->ip, b->ip) == 0 || strcmp(a->mac, b->mac) == 0))
                                sim_fail(sim, SIM_UNIQUE, "ports %.8s and %.8s both have %s %s",
                                         a->key.port_id, b->key.port_id, a->ip, a->mac);
                }
        }
}

/* ---- what the API says ---- */

/* Addresses are free only after the node confirmed: then nothing of the port is on the node. */
static void check_port_free(struct sim *sim, const json_t *port)
{
        if (sim_tap_find(sim, api_name(port)))
                sim_fail(sim, SIM_FREE, "port %.8s is free in the API, but the kernel has it",
                         api_name(port));
        if (sim_nic_find(sim, api_name(port), NULL))
                sim_fail(sim, SIM_FREE, "port %.8s is free in the API, but a domain has its NIC",
                         api_name(port));
}

static bool was_usable(struct sim *sim, const char *port_id, uint64_t within_us)
{
        const struct sim_nic *nic = sim_nic_find(sim, port_id, NULL);
        const json_t *until = json_object_get(sim->usable_until, port_id);

        return (nic && nic->bound) || (until && (uint64_t)json_integer_value(until) + within_us > sim->now);
}

static void check_ready(struct sim *sim, const json_t *pod, uint64_t within_us)
{
        json_t *s;
        size_t i;

        json_array_foreach(api_at(pod, "status.nicStatuses"), i, s)
        {
                if (strcmp(api_text(s, "state"), "Ready") == 0 &&
                    !was_usable(sim, api_text(s, "portID"), within_us))
                        sim_fail(sim, SIM_READY, "NIC %s of pod %s is called Ready and no guest has it",
                                 api_text(s, "name"), api_name(pod));
        }
}

static bool shares_address(const json_t *a, const json_t *b)
{
        json_t *x, *y;
        size_t i, k;

        if (strcmp(api_text(a, "spec.macAddress"), api_text(b, "spec.macAddress")) == 0)
                return true;
        json_array_foreach(api_at(a, "spec.ipAddresses"), i, x)
        {
                json_array_foreach(api_at(b, "spec.ipAddresses"), k, y)
                {
                        if (json_equal(x, y))
                                return true;
                }
        }
        return false;
}

static void check_unique(struct sim *sim, const json_t *port)
{
        json_t *ports = sim_api_objects(sim, &api_kind_port), *other;
        size_t i;

        json_array_foreach(ports, i, other)
        {
                if (strcmp(api_name(other), api_name(port)) != 0 &&
                    strcmp(api_text(other, "spec.vpc"), api_text(port, "spec.vpc")) == 0 &&
                    shares_address(port, other))
                        sim_fail(sim, SIM_UNIQUE, "ports %.8s and %.8s have one address", api_name(port),
                                 api_name(other));
        }
        json_decref(ports);
}

/* Since when each port has been wanted by a pod without a break. */
static void note_wanted(struct sim *sim, const struct api_change *c)
{
        bool wanted = c->type != API_DELETED && !api_is_deleting(c->object) &&
                      strcmp(api_text(c->object, "spec.virtualMachine.powerSpec"), "Running") == 0;
        json_t *entry;
        size_t i;

        json_array_foreach(c->old ? api_at(c->old, "spec.nics") : NULL, i, entry)
        {
                const char *port = api_text(entry, "portId");
                json_t *kept;
                size_t k;
                bool still = false;

                json_array_foreach(api_at(c->object, "spec.nics"), k, kept)
                {
                        still = still || strcmp(api_text(kept, "portId"), port) == 0;
                }
                if (!still || !wanted)
                        (void)json_object_del(sim->wanted_since, port);
        }
        json_array_foreach(wanted ? api_at(c->object, "spec.nics") : NULL, i, entry)
        {
                if (!json_object_get(sim->wanted_since, api_text(entry, "portId")))
                        (void)json_object_set_new(sim->wanted_since, api_text(entry, "portId"),
                                                  json_integer((json_int_t)sim->now));
        }
}

static void check_port_change(struct sim *sim, const struct api_change *c)
{
        bool was_bound = c->old && strcmp(api_text(c->old, "status.phase"), "Unbound") != 0;
        bool free = c->type == API_DELETED || strcmp(api_text(c->object, "status.phase"), "Unbound") == 0;

        if (was_bound && free)
                check_port_free(sim, c->old);
        if (c->type == API_DELETED && !sim->user_acts &&
            json_object_get(sim->user_ports, api_name(c->object)))
                sim_fail(sim, SIM_USER_PORT, "a user's port was deleted: %.8s", api_name(c->object));
        if (c->type == API_ADDED)
                check_unique(sim, c->object);
}

/* ---- restartPolicy Never ---- */

enum { SIM_RAN = 1, SIM_ENDED, SIM_STARTED_BY_USER };

static void set_once(struct sim *sim, const char *pod_uid, int what)
{
        (void)json_object_set_new(sim->once, pod_uid, json_integer(what));
}

/* What counts as seen is in the API. Whoever changes powerSpec may have the VM started anew. */
static void note_once(struct sim *sim, const struct api_change *c)
{
        static const char path[] = "spec.virtualMachine.powerSpec";
        const char *uid = api_text(c->object, "metadata.uid");
        const json_t *container = json_array_get(api_at(c->object, "status.containerStatuses"), 0);

        if (c->type == API_DELETED || strcmp(api_text(c->object, "spec.restartPolicy"), "Never") != 0)
                return;
        if (c->old && strcmp(api_text(c->old, path), api_text(c->object, path)) != 0)
                set_once(sim, uid, SIM_STARTED_BY_USER);
        else if (!json_object_get(sim->once, uid) && api_at(container, "state.running"))
                set_once(sim, uid, SIM_RAN);
}

void sim_check_ended(struct sim *sim, const char *pod_uid)
{
        if (json_integer_value(json_object_get(sim->once, pod_uid)) == SIM_RAN)
                set_once(sim, pod_uid, SIM_ENDED);
}

void sim_check_started(struct sim *sim, const char *pod_uid)
{
        if (json_integer_value(json_object_get(sim->once, pod_uid)) == SIM_ENDED)
                sim_fail(sim, SIM_ONCE,
                         "the VM of %.8s is started again, although it ran and its pod says never", pod_uid);
}

void sim_check_change(struct sim *sim, const struct api_change *c)
{
        if (c->kind == &api_kind_port)
                check_port_change(sim, c);
        if (c->kind != &api_kind_pod)
                return;
        note_wanted(sim, c);
        note_once(sim, c);
        if (c->type == API_MODIFIED)
                check_ready(sim, c->object, STALE_US);
}

void sim_check_look(struct sim *sim)
{
        json_t *pods, *pod;
        size_t i;

        if (!sim->calm || sim->now < (SIM_FAULTS_S + 60) * SIM_S)
                return;
        pods = sim_api_objects(sim, &api_kind_pod);
        json_array_foreach(pods, i, pod)
        {
                check_ready(sim, pod, CALM_STALE_US);
        }
        json_decref(pods);
}

/* ---- at the end ---- */

static bool nic_converged(struct sim *sim, const json_t *pod, const json_t *entry, char why[256])
{
        const char *port_id = api_text(entry, "portId"), *name = api_text(entry, "name");
        const struct sim_nic *nic = sim_nic_find(sim, port_id, NULL);
        const struct sim_tap *tap = sim_tap_find(sim, port_id);
        json_t *s;
        size_t i;

        json_array_foreach(api_at(pod, "status.nicStatuses"), i, s)
        {
                if (strcmp(api_text(s, "portID"), port_id) == 0 &&
                    strcmp(api_text(s, "state"), "Ready") == 0 && nic && nic->bound && !nic->cut && tap)
                        return true;
        }
        (void)snprintf(
            why, 256,
            "NIC %s (port %.8s) of pod %s: in the domain %d, bound %d, cut %d, tap %d; not all of it, or "
            "status not Ready",
            name, port_id, api_name(pod), nic != NULL, nic && nic->bound, nic && nic->cut, tap != NULL);
        return false;
}

/* Its VM has ended and is not to be started again; its ports are kept until it is deleted. */
static bool is_over(const json_t *pod)
{
        const char *phase = api_text(pod, "status.phase");

        return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

static bool pod_converged(struct sim *sim, const json_t *pod, char why[256])
{
        json_t *entry;
        size_t i, wanted = json_array_size(api_at(pod, "spec.nics"));

        if (api_is_deleting(pod)) {
                (void)snprintf(why, 256, "pod %s is still being deleted", api_name(pod));
                return false;
        }
        json_array_foreach(is_over(pod) ? NULL : api_at(pod, "spec.nics"), i, entry)
        {
                if (!nic_converged(sim, pod, entry, why))
                        return false;
        }
        if (json_array_size(api_at(pod, "status.nicStatuses")) != wanted) {
                (void)snprintf(why, 256, "pod %s: %zu NICs wanted, %zu statuses", api_name(pod), wanted,
                               json_array_size(api_at(pod, "status.nicStatuses")));
                return false;
        }
        return true;
}

static size_t wanted_nics(const json_t *pods, bool over)
{
        json_t *pod;
        size_t i, n = 0;

        json_array_foreach((json_t *)pods, i, pod)
        {
                if (over || !is_over(pod))
                        n += json_array_size(api_at(pod, "spec.nics"));
        }
        return n;
}

static bool nothing_leaks(struct sim *sim, const json_t *pods, char why[256])
{
        json_t *ports = sim_api_objects(sim, &api_kind_port), *port, *pod;
        size_t taps = 0, nics = 0, domains = 0, bound = 0, i;
        size_t wanted = wanted_nics(pods, true), plugged = wanted_nics(pods, false), up = 0;

        for (i = 0; i < SIM_PORTS; i++)
                taps += sim->taps[i].used;
        for (i = 0; i < SIM_VMS; i++) {
                domains += sim->vms[i].used && sim->vms[i].state != HV_DOMAIN_NONE;
                for (size_t n = 0; n < HV_MAX_SLOTS; n++)
                        nics += sim->vms[i].used && sim->vms[i].nics[n].plugged;
        }
        json_array_foreach(ports, i, port)
        {
                bound += strcmp(api_text(port, "status.phase"), "Unbound") != 0;
        }
        json_array_foreach((json_t *)pods, i, pod)
        {
                up += !is_over(pod);
        }
        json_decref(ports);
        (void)snprintf(why, 256,
                       "wanted: %zu VMs, %zu NICs in them, %zu ports; there are %zu domains, %zu NICs, %zu "
                       "taps, %zu bound "
                       "ports",
                       up, plugged, wanted, domains, nics, taps, bound);
        return taps == wanted && nics == plugged && bound == wanted && domains == up;
}

bool sim_check_converged(struct sim *sim, char why[256], enum sim_invariant *broken)
{
        json_t *pods = sim_api_objects(sim, &api_kind_pod), *pod;
        bool good = sim->api_up && sim->watcher && sim->network && sim->hypervisor;
        size_t i;

        if (!good)
                (void)snprintf(why, 256, "a service is still away");
        json_array_foreach(pods, i, pod)
        {
                good = good && pod_converged(sim, pod, why);
        }
        *broken = good ? SIM_LEAK : SIM_CONVERGE;
        good = good && nothing_leaks(sim, pods, why);
        json_decref(pods);
        return good;
}
