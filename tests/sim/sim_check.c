/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold after every step, whatever was lost, killed or refused (design: the order that must never
 * be broken), and what must be so once the faults have stopped.
 */
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"
#include "tests/sim/sim.h"

/* A status may speak of what was true when the report left the hypervisor. */
#define STALE_US (20 * SIM_S)

/* 1. A NIC is attached only after its port is ready. */
void sim_check_attach(struct sim *sim, const char *port_id)
{
        if (!sim_tap_find(sim, port_id))
                sim_fail(sim, "NIC of port %s is attached, but the port was not prepared", port_id);
}

/* 2. A port is released only after the VM gave the device up. */
void sim_check_release(struct sim *sim, const char *port_id)
{
        struct sim_vm *vm;

        if (sim_nic_find(sim, port_id, &vm))
                sim_fail(sim, "port %s is released while the domain of %s has its NIC", port_id, vm->pod_uid);
}

/* 3. Addresses are free only after the node confirmed: then nothing of the port is on the node. */
void sim_check_port_free(struct sim *sim, const json_t *port)
{
        if (sim_tap_find(sim, api_name(port)))
                sim_fail(sim, "port %s is free in the API, but the kernel has it", api_name(port));
        if (sim_nic_find(sim, api_name(port), NULL))
                sim_fail(sim, "port %s is free in the API, but a domain has its NIC", api_name(port));
}

/* Ready means usable: the guest's driver has the device, or had it a moment ago. */
void sim_check_status(struct sim *sim, const json_t *pod)
{
        json_t *s;
        size_t i;

        json_array_foreach(api_at(pod, "status.nicStatuses"), i, s)
        {
                const char *port_id = api_text(s, "portID");
                bool usable = false;

                if (strcmp(api_text(s, "state"), "Ready") != 0)
                        continue;
                for (size_t v = 0; v < SIM_VMS; v++) {
                        for (size_t n = 0; n < HV_MAX_SLOTS; n++) {
                                const struct sim_nic *nic = &sim->vms[v].nics[n];
                                if (sim->vms[v].used && strcmp(nic->port_id, port_id) == 0 &&
                                    ((nic->plugged && nic->bound) ||
                                     (!nic->plugged && nic->lost_us + STALE_US > sim->now)))
                                        usable = true;
                        }
                }
                /* An outage of the watcher or of the API leaves an old status; only fresh words count. */
                if (!usable && sim->api_up && sim->calm && sim->now > (SIM_FAULTS_S + 60) * SIM_S)
                        sim_fail(sim, "NIC %s of pod %s is called Ready and no guest has it",
                                 api_text(s, "name"), api_name(pod));
        }
}

/* No two ports of a subnet with one address or MAC, in kernel or domains. */
void sim_check_always(struct sim *sim)
{
        for (size_t i = 0; i < SIM_PORTS; i++) {
                const struct sim_tap *a = &sim->taps[i];

                if (!a->used)
                        continue;
                for (size_t j = i + 1; j < 64; j++) {
                        const struct sim_tap *b = &sim->taps[j];
                        if (b->used && strcmp(a->key.subnet_id, b->key.subnet_id) == 0 &&
                            (strcmp(a->ip, b->ip) == 0 || strcmp(a->mac, b->mac) == 0))
                                sim_fail(sim, "ports %s and %s both have %s %s", a->key.port_id,
                                         b->key.port_id, a->ip, a->mac);
                }
        }
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
                    strcmp(api_text(s, "state"), "Ready") == 0 && nic && nic->bound && tap && !tap->lost)
                        return true;
        }
        (void)snprintf(why, 256, "NIC %s of pod %s: in the domain %d, bound %d, tap %d, status not Ready",
                       name, api_name(pod), nic != NULL, nic && nic->bound, tap != NULL);
        return false;
}

static bool pod_converged(struct sim *sim, const json_t *pod, char why[256])
{
        json_t *entry;
        size_t i, wanted = json_array_size(api_at(pod, "spec.nics"));

        if (api_is_deleting(pod)) {
                (void)snprintf(why, 256, "pod %s is still being deleted", api_name(pod));
                return false;
        }
        json_array_foreach(api_at(pod, "spec.nics"), i, entry)
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

static size_t wanted_nics(const json_t *pods)
{
        json_t *pod;
        size_t i, n = 0;

        json_array_foreach((json_t *)pods, i, pod)
        {
                n += json_array_size(api_at(pod, "spec.nics"));
        }
        return n;
}

static bool nothing_leaks(struct sim *sim, const json_t *pods, char why[256])
{
        json_t *ports = sim_api_objects(sim, &api_kind_port), *port;
        size_t taps = 0, nics = 0, domains = 0, bound = 0, i, wanted = wanted_nics(pods);

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
        json_decref(ports);
        (void)snprintf(
            why, 256,
            "wanted: %zu pods, %zu NICs; there are %zu domains, %zu NICs, %zu taps, %zu bound ports",
            json_array_size(pods), wanted, domains, nics, taps, bound);
        return taps == wanted && nics == wanted && bound == wanted && domains == json_array_size(pods);
}

bool sim_check_converged(struct sim *sim, char why[256])
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
        good = good && nothing_leaks(sim, pods, why);
        json_decref(pods);
        return good;
}
