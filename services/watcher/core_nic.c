/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One NIC: from the API's objects the wish, from the reports the state, from both the next publication.
 *
 * A wish changes its (generation, attempt) in four cases only: its content changes, its direction changes, a
 * failed step is to be tried again, or somebody holds a later key than ours (a watcher before us).
 * Within one generation the attempt never falls, so a receiver can always tell which wish is the later.
 */
#include <errno.h>
#include <string.h>

#include "services/watcher/core_internal.h"

#define STEADY_US     (UINT64_C(60) * 1000 * 1000) /* ready for so long: the next failure is a new one */
#define REPEAT_CAP_US (UINT64_C(60) * 1000 * 1000)

/* ------------------------------------------------------------------ table */

struct watcher_nic *watcher_nic_find(const struct watcher_vm *vm, const char *port_id)
{
        for (size_t i = 0; i < vm->nic_count; i++)
                if (strcmp(vm->nics[i]->port_id, port_id) == 0)
                        return vm->nics[i];
        return NULL;
}

struct watcher_nic *watcher_nic_free(struct watcher_nic *nic)
{
        if (nic)
                ak_message_free(nic->wish);
        free(nic);
        return NULL;
}

static void copy_text(char *out, size_t size, const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));
        if (text)
                (void)snprintf(out, size, "%.*s", (int)size - 1, text);
}

static void load_timings(const json_t *stored, struct watcher_timings *t)
{
        const json_t *timings = json_object_get(stored, "timings");
        if (!json_is_object(timings))
                return;
        t->known = true;
        t->port_ms = (uint64_t)json_integer_value(json_object_get(timings, "portMs"));
        t->attach_ms = (uint64_t)json_integer_value(json_object_get(timings, "attachMs"));
        t->guest_ms = (uint64_t)json_integer_value(json_object_get(timings, "guestMs"));
        t->total_ms = (uint64_t)json_integer_value(json_object_get(timings, "totalMs"));
        t->detach_ms = (uint64_t)json_integer_value(json_object_get(timings, "detachMs"));
}

static enum watcher_state state_of(const char *name)
{
        for (int s = W_UNKNOWN; name && s <= W_FAILED; s++)
                if (strcmp(name, watcher_state_name((enum watcher_state)s)) == 0)
                        return (enum watcher_state)s;
        return W_UNKNOWN;
}

/* What the API says of the NIC is where a new watcher goes on: no state changes because we started. */
static void adopt(struct watcher_nic *nic, const json_t *stored)
{
        uint64_t ignored;
        nic->adopted = true;
        nic->reason[0] = nic->message[0] = '\0';
        nic->state = state_of(json_string_value(json_object_get(stored, "state")));
        copy_text(nic->reason, sizeof(nic->reason), stored, "reason");
        copy_text(nic->message, sizeof(nic->message), stored, "message");
        copy_text(nic->since, sizeof(nic->since), stored, "lastTransitionTime");
        copy_text(nic->mac, sizeof(nic->mac), stored, "macAddress");
        copy_text(nic->device_alias, sizeof(nic->device_alias), stored, "deviceAlias");
        copy_text(nic->pci_address, sizeof(nic->pci_address), stored, "pciAddress");
        if (ak_rfc3339_parse(nic->since, &ignored) < 0)
                nic->since[0] = '\0';
        load_timings(stored, &nic->timings);
        nic->was_ready = nic->state == W_READY;
        nic->told_failed = nic->state == W_FAILED;
}

struct watcher_nic *watcher_nic_add(struct watcher_core *core, struct watcher_vm *vm, const char *port_id,
                                    const char *name)
{
        if (vm->nic_count >= (size_t)4 * AK_MAX_NICS) {
                watcher_log(core, AK_LOG_WARN, "too_many_nics", vm, NULL, "port %s is not followed", port_id);
                core->error = -ENOSPC;
                return NULL;
        }
        if (vm->nic_count == vm->nic_capacity) {
                size_t capacity = vm->nic_capacity ? 2 * vm->nic_capacity : 4;
                struct watcher_nic **nics = reallocarray(vm->nics, capacity, sizeof(struct watcher_nic *));
                if (!nics) {
                        core->error = -ENOMEM;
                        return NULL;
                }
                vm->nics = nics;
                vm->nic_capacity = capacity;
        }
        struct watcher_nic *nic = calloc(1, sizeof(*nic));
        if (!nic) {
                core->error = -ENOMEM;
                return NULL;
        }
        uint64_t seed = watcher_seed(core, port_id);
        W_COPY(nic->port_id, port_id);
        W_COPY(nic->name, name);
        ak_backoff_init(&nic->backoff, AK_BACKOFF_BASE_US, AK_BACKOFF_CAP_US, seed);
        watcher_task_init(&nic->release, seed);
        nic->wished_us = nic->began_us = core->now;
        nic->state = W_IN_PROGRESS;
        W_COPY(nic->reason, "Pending");
        ak_rfc3339_format(core->real, false, nic->since);
        vm->nics[vm->nic_count++] = nic;
        return nic;
}

static void nic_drop(struct watcher_core *core, struct watcher_vm *vm, size_t i)
{
        struct watcher_nic *nic = vm->nics[i];
        if (nic->wish)
                watcher_forget(core, nic->wish);
        watcher_log(core, AK_LOG_INFO, "nic_gone", vm, nic, "%s", "");
        memmove(&vm->nics[i], &vm->nics[i + 1], (vm->nic_count - i - 1) * sizeof(struct watcher_nic *));
        vm->nic_count--;
        vm->urgent = true;
        watcher_nic_free(nic);
}

static const struct watcher_pod_nic *listed(const struct watcher_vm *vm, const char *port_id)
{
        for (size_t i = 0; vm->pod && vm->spec && i < vm->spec->nic_count; i++)
                if (strcmp(vm->spec->nics[i].port_id, port_id) == 0)
                        return &vm->spec->nics[i];
        return NULL;
}

bool watcher_nic_listed(const struct watcher_vm *vm, const struct watcher_nic *nic)
{
        return listed(vm, nic->port_id) != NULL;
}

static bool is_bound(const struct watcher_vm *vm, const struct watcher_port *port)
{
        return strcmp(port->pod_uid, vm->uid) == 0 &&
               (port->phase == W_PORT_BOUND || port->phase == W_PORT_RELEASING);
}

static const struct watcher_port *bound_port(const struct watcher_core *core, const struct watcher_vm *vm,
                                             const char *port_id)
{
        const struct watcher_port *port = watcher_port_find(core, port_id);
        return port && is_bound(vm, port) ? port : NULL;
}

/* Those that the pod has come to know of since: reports may have been first. */
static void adopt_all(struct watcher_vm *vm)
{
        for (size_t i = 0; vm->pod && i < vm->nic_count; i++) {
                struct watcher_nic *nic = vm->nics[i];
                const json_t *stored = nic->met_pod ? NULL : watcher_stored_nic(vm, nic->port_id);
                nic->met_pod = true;
                if (stored)
                        adopt(nic, stored);
        }
}

void watcher_nics_collect(struct watcher_core *core, struct watcher_vm *vm)
{
        for (size_t i = 0; vm->pod && i < vm->spec->nic_count; i++) {
                const struct watcher_pod_nic *entry = &vm->spec->nics[i];
                struct watcher_nic *nic = entry->port_id[0] ? watcher_nic_find(vm, entry->port_id) : NULL;
                /* Of a pod that is being deleted only what still exists is of interest. */
                if (!nic && entry->port_id[0] && !vm->spec->deleting)
                        nic = watcher_nic_add(core, vm, entry->port_id, entry->name);
                if (nic)
                        W_COPY(nic->name, entry->name);
        }
        for (const struct watcher_port *port = watcher_port_first(core, vm->uid); port;
             port = watcher_port_next(port)) {
                if (!is_bound(vm, port))
                        continue;
                struct watcher_nic *nic = watcher_nic_find(vm, port->id);
                if (!nic)
                        nic = watcher_nic_add(core, vm, port->id, port->nic);
                if (nic && !nic->name[0])
                        W_COPY(nic->name, port->nic);
        }
        adopt_all(vm);
}

/* ------------------------------------------------------------------ reports */

/* An older report never overrides a newer one; of equal age, the later heard is the later said. */
static bool older(uint64_t generation, uint64_t attempt, uint64_t than_generation, uint64_t than_attempt)
{
        return !watcher_key_answers(generation, attempt, than_generation, than_attempt);
}

void watcher_nic_port_status(struct watcher_nic *nic, const struct ak_port_status *status, uint64_t epoch)
{
        if (nic->have_port &&
            older(status->generation, status->attempt, nic->port.generation, nic->port.attempt))
                return;
        if (status->ifindex) {
                nic->remade |= nic->ifindex && nic->ifindex != status->ifindex;
                nic->ifindex = status->ifindex;
        }
        nic->port = *status;
        nic->port_epoch = epoch;
        nic->have_port = true;
        if (!nic->name[0])
                W_COPY(nic->name, status->nic);
}

void watcher_nic_nic_status(struct watcher_nic *nic, const struct ak_nic_status *status, uint64_t epoch)
{
        if (nic->have_nic &&
            older(status->generation, status->attempt, nic->nic.generation, nic->nic.attempt))
                return;
        nic->nic = *status;
        nic->remade = false;
        nic->nic_epoch = epoch;
        nic->have_nic = true;
        if (!nic->name[0])
                W_COPY(nic->name, status->nic);
        if (status->mac[0])
                W_COPY(nic->mac, status->mac);
        if (status->device_alias[0])
                W_COPY(nic->device_alias, status->device_alias);
        if (status->pci_address[0])
                W_COPY(nic->pci_address, status->pci_address);
}

/* ------------------------------------------------------------------ what is wanted */

/* Does another NIC still hold the name? Only those that are on their way out do. */
static bool name_is_held(const struct watcher_vm *vm, const struct watcher_nic *nic)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                const struct watcher_nic *other = vm->nics[i];
                if (other != nic && strcmp(other->name, nic->name) == 0 && !watcher_nic_listed(vm, other))
                        return true;
        }
        return false;
}

static enum watcher_want want_without_pod(struct watcher_core *core, struct watcher_vm *vm,
                                          struct watcher_nic *nic, const struct watcher_port *port)
{
        if (vm->vanished || nic->wish)
                return W_ABSENT;
        if (port)
                return W_UNDECIDED; /* its pod is on the way: the two lists are watched apart */
        return watcher_orphan_due(core, vm, &nic->unknown_us) ? W_ABSENT : W_UNDECIDED;
}

static enum watcher_want want_listed(const struct watcher_vm *vm, const struct watcher_nic *nic,
                                     const struct watcher_port *port)
{
        if (!port)
                return nic->wish ? W_ABSENT : W_UNDECIDED;
        if (port->defect[0])
                return W_UNDECIDED;
        if (nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT)
                return W_PRESENT;
        return name_is_held(vm, nic) ? W_UNDECIDED : W_PRESENT;
}

static enum watcher_want want_of(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        const struct watcher_port *port = bound_port(core, vm, nic->port_id);
        if (port && port->phase == W_PORT_RELEASING)
                return W_ABSENT;
        if (!vm->pod)
                return want_without_pod(core, vm, nic, port);
        if (vm->spec->deleting)
                return W_ABSENT;
        if (watcher_nic_listed(vm, nic))
                return want_listed(vm, nic, port);
        if (nic->wish)
                return W_ABSENT;
        if (port)
                return W_UNDECIDED; /* the pod that lists it is on the way */
        return watcher_orphan_due(core, vm, &nic->unknown_us) ? W_ABSENT : W_UNDECIDED;
}

static void fill_from_pod(const struct watcher_vm *vm, const struct watcher_nic *nic,
                          struct ak_nic_diff *diff)
{
        const struct watcher_pod_nic *entry = listed(vm, nic->port_id);
        if (!entry)
                return;
        diff->primary = entry == &vm->spec->nics[0];
        diff->link_down = entry->link_down;
        diff->ingress_kbps = entry->ingress_kbps;
        diff->egress_kbps = entry->egress_kbps;
        if (entry->mtu)
                diff->mtu = entry->mtu;
}

/*
 * The wish as it should be, with the key of the one before. In the core's own message, for nearly always it
 * is as it was: a message from the heap for each comparison was a quarter of the watcher's time. Its lists
 * are borrowed and good until the port or the NIC changes.
 */
static const struct ak_message *wish_now(struct watcher_core *core, const struct watcher_vm *vm,
                                         const struct watcher_nic *nic, enum watcher_want want)
{
        const struct watcher_port *port = watcher_port_find(core, nic->port_id);
        const struct ak_nic_diff *last = nic->wish ? &nic->wish->nic_diff : NULL;
        struct ak_nic_diff *diff = &core->wish->nic_diff;
        /* On the way out the facts stay as they were: they say what to take down. */
        if (port && (want == W_PRESENT || !last))
                *diff = port->facts;
        else if (last)
                *diff = *last;
        else
                *diff = (struct ak_nic_diff){0};
        if (want == W_PRESENT)
                fill_from_pod(vm, nic, diff);
        diff->wanted = want == W_PRESENT ? AK_NIC_WANTED_PRESENT : AK_NIC_WANTED_ABSENT;
        W_COPY(diff->pod_uid, vm->uid);
        W_COPY(diff->pod_namespace, vm->name_space);
        W_COPY(diff->pod_name, vm->name);
        W_COPY(diff->nic, nic->name);
        W_COPY(diff->port_id, nic->port_id);
        diff->generation = last ? last->generation : 0;
        diff->attempt = last ? last->attempt : 0;
        return core->wish;
}

/* ------------------------------------------------------------------ publishing */

static void publish(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        nic->published_us = core->now;
        watcher_publish(core, vm, nic->wish);
}

/* Somebody's reports speak of a later wish than ours: take its place. */
static bool overtaken(const struct watcher_nic *nic, uint64_t *generation, uint64_t *attempt)
{
        const struct ak_nic_diff *wish = &nic->wish->nic_diff;
        uint64_t g = wish->generation, a = wish->attempt;
        if (nic->have_port && older(g, a, nic->port.generation, nic->port.attempt)) {
                g = nic->port.generation;
                a = nic->port.attempt;
        }
        if (nic->have_nic && older(g, a, nic->nic.generation, nic->nic.attempt)) {
                g = nic->nic.generation;
                a = nic->nic.attempt;
        }
        *generation = g;
        *attempt = a;
        return g != wish->generation || a != wish->attempt;
}

bool watcher_nic_overtaken(const struct watcher_nic *nic)
{
        uint64_t generation, attempt;

        return overtaken(nic, &generation, &attempt);
}

/*
 * Absent has a key that no report has yet: what was said of a watcher before us, under the same key, would be
 * taken for the answer to it.
 */
static void step_past(struct watcher_nic *nic)
{
        struct ak_nic_diff *wish = &nic->wish->nic_diff;
        uint64_t generation, attempt;
        bool said =
            nic->have_port && nic->port.generation == wish->generation && nic->port.attempt == wish->attempt;
        said = said || (nic->have_nic && nic->nic.generation == wish->generation &&
                        nic->nic.attempt == wish->attempt);
        if (!overtaken(nic, &generation, &attempt) && !said)
                return;
        wish->generation = generation;
        wish->attempt = attempt + 1;
}

static void try_again(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        struct ak_nic_diff *wish = &nic->wish->nic_diff;
        uint64_t generation, attempt;
        (void)overtaken(nic, &generation, &attempt);
        wish->generation = generation;
        wish->attempt = attempt + 1;
        nic->tries++;
        nic->asked_us = core->now;
        nic->retry_us = 0;
        publish(core, vm, nic);
}

static void wish_set(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                     struct ak_message *wish)
{
        const struct ak_nic_diff *last = nic->wish ? &nic->wish->nic_diff : NULL;
        struct ak_nic_diff *diff = &wish->nic_diff;
        bool turned = !last || last->wanted != diff->wanted;
        if (vm->generation > diff->generation) {
                diff->generation = vm->generation;
                diff->attempt = 0;
        } else if (last) {
                diff->attempt++;
        }
        ak_message_free(nic->wish);
        nic->wish = wish;
        if (diff->wanted == AK_NIC_WANTED_ABSENT)
                step_past(nic);
        ak_backoff_reset(&nic->backoff);
        nic->tries = 1;
        nic->retry_us = 0;
        nic->asked_us = core->now;
        if (turned) {
                nic->wished_us = nic->began_us = core->now;
                nic->waiting_us = 0;
                nic->released = false;
        }
        publish(core, vm, nic);
}

static void wish_update(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        /* Half of the lists could hide who else has the name. */
        enum watcher_want want = core->synced_us ? want_of(core, vm, nic) : W_UNDECIDED;
        if (want == W_UNDECIDED)
                return;
        const struct ak_message *now = wish_now(core, vm, nic, want);
        if (nic->wish && ak_message_equal(nic->wish, now))
                return;
        struct ak_message *wish = ak_message_dup(now);
        if (!wish) {
                core->error = -ENOMEM;
                return;
        }
        if (!nic->wish && want == W_ABSENT && nic->unknown_us)
                watcher_event_post(core, vm, true, "OrphanedPort",
                                   "port %s belongs to no pod; its device is removed", nic->port_id);
        wish_set(core, vm, nic, wish);
        watcher_log(core, AK_LOG_INFO, want == W_PRESENT ? "nic_wanted" : "nic_unwanted", vm, nic,
                    "generation %llu", (unsigned long long)nic->wish->nic_diff.generation);
}

/* ------------------------------------------------------------------ retry and repetition */

static void schedule(struct watcher_core *core, struct watcher_nic *nic, uint64_t from_us, uint64_t least_us)
{
        if (nic->retry_us)
                return;
        if (nic->ready_us && core->now >= nic->ready_us + STEADY_US)
                ak_backoff_reset(&nic->backoff);
        nic->ready_us = 0;
        uint64_t delay = ak_backoff_next(&nic->backoff);
        nic->retry_us = from_us + (delay > least_us ? delay : least_us);
}

/* A device that is wanted is asked for only to be plugged anew, which began when that was reported. */
static uint64_t asked_since(const struct watcher_core *core, const struct watcher_nic *nic)
{
        return nic->wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT ? core->now : nic->asked_us;
}

static void retry(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                  const struct watcher_verdict *v)
{
        if (v->failed)
                schedule(core, nic, core->now, 0);
        else if (v->asking)
                schedule(core, nic, asked_since(core, nic), core->config.reask_us);
        else
                nic->retry_us = 0;
        if (!nic->retry_us)
                return;
        if (core->now >= nic->retry_us)
                try_again(core, vm, nic);
        else
                watcher_wake_at(vm, nic->retry_us);
}

/*
 * After 5 s, then after as long as the wish is old, up to a minute. Each repeat is answered by both services:
 * at a steady pace a node that has thousands of NICs to make, and is slow at it, would come to do little
 * else.
 */
static uint64_t repeat_due(const struct watcher_core *core, const struct watcher_nic *nic)
{
        uint64_t wait_us = nic->published_us - nic->asked_us;

        if (wait_us < core->config.republish_us)
                wait_us = core->config.republish_us;
        return nic->published_us + (wait_us < REPEAT_CAP_US ? wait_us : REPEAT_CAP_US);
}

static void repeat(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                   const struct watcher_verdict *v)
{
        uint64_t generation, attempt, due = repeat_due(core, nic);
        if (v->settled || v->failed)
                return;
        if (core->now < due) {
                watcher_wake_at(vm, due);
                return;
        }
        if (overtaken(nic, &generation, &attempt))
                try_again(core, vm, nic);
        else
                publish(core, vm, nic);
        watcher_wake_at(vm, repeat_due(core, nic));
}

/* ------------------------------------------------------------------ state */

static void tell(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        bool wanted = nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT;
        bool stuck = nic->state == W_FAILED || strncmp(nic->reason, "Guest", 5) == 0 ||
                     strcmp(nic->reason, "TapLost") == 0;
        if (nic->state == W_READY && !nic->was_ready) {
                nic->was_ready = true;
                watcher_event_post(core, vm, false, "DeviceAttached", "NIC %s (%s) is ready in the guest",
                                   nic->name, nic->mac);
        } else if (stuck && nic->wish && !nic->told_failed) {
                watcher_event_post(core, vm, true, wanted ? "FailedAttachDevice" : "FailedDetachDevice",
                                   "NIC %s: %s: %.200s", nic->name, nic->reason, nic->message);
        }
        nic->told_failed = stuck;
}

void watcher_nic_set(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                     enum watcher_state state, const char *reason, const char *message)
{
        bool same = state == nic->state && strcmp(reason, nic->reason) == 0;
        if (state != nic->state || !nic->since[0])
                ak_rfc3339_format(core->real, false, nic->since);
        if (state != nic->state)
                vm->urgent = true;
        if (state != W_READY && nic->state == W_READY)
                nic->began_us = core->now;
        nic->state = state;
        W_COPY(nic->reason, reason);
        W_COPY(nic->message, message);
        if (same)
                return;
        watcher_log(core, state == W_FAILED ? AK_LOG_WARN : AK_LOG_INFO, "nic_state", vm, nic, "%s/%s %s",
                    watcher_state_name(state), reason, message);
        tell(core, vm, nic);
}

static void measure(const struct watcher_core *core, struct watcher_nic *nic, bool became_ready)
{
        struct watcher_timings *t = &nic->timings;
        if (became_ready) {
                t->known = true;
                t->port_ms = nic->port.prepare_us / 1000;
                t->attach_ms = nic->nic.attach_us / 1000;
                t->guest_ms = nic->nic.guest_us / 1000;
                t->total_ms = (core->now - nic->began_us) / 1000;
        }
        if (nic->have_nic && nic->nic.state == AK_NIC_DETACHED && nic->nic.detach_us)
                t->detach_ms = nic->nic.detach_us / 1000;
}

/*
 * A Ready NIC whose wish changed, or that a new watcher has just found, is not called otherwise at once: the
 * answer is a few milliseconds away. After a restart it may be seconds: a full node's services have thousands
 * of wishes to answer, and what the API says is as true as it was until they do.
 */
static bool held(struct watcher_core *core, struct watcher_vm *vm, const struct watcher_nic *nic,
                 const struct watcher_verdict *v)
{
        uint64_t since = nic->asked_us > nic->wished_us ? nic->asked_us : nic->wished_us;
        uint64_t hold = nic->adopted ? core->config.peer_us : core->config.hold_us;
        if (nic->adopted && !core->synced_us)
                return true;
        if (!v->unanswered || v->state != W_IN_PROGRESS || !(nic->state == W_READY || nic->adopted))
                return false;
        if (nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT)
                return false;
        if (core->now >= since + hold)
                return false;
        watcher_wake_at(vm, since + hold);
        return true;
}

static void follow_guest(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        bool waits = nic->have_nic && nic->nic.state == AK_NIC_WAITING_FOR_GUEST;
        if (!waits)
                nic->waiting_us = 0;
        else if (!nic->waiting_us)
                nic->waiting_us = core->now;
        if (waits && core->now < nic->waiting_us + core->config.guest_us)
                watcher_wake_at(vm, nic->waiting_us + core->config.guest_us);
}

static void present_state(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                          const struct watcher_verdict *v)
{
        bool ready = v->state == W_READY;
        if (held(core, vm, nic, v))
                return;
        nic->replugged |= !ready && nic->have_nic && nic->nic.state != AK_NIC_READY;
        measure(core, nic, ready && nic->state != W_READY && (!nic->was_ready || nic->replugged));
        nic->replugged &= !ready;
        if (ready && !nic->ready_us)
                nic->ready_us = core->now;
        const char *reason = v->reason;
        if (v->unanswered && v->state == W_IN_PROGRESS && nic->have_nic && nic->nic.state == AK_NIC_READY &&
            nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_PRESENT)
                reason = "Updating";
        watcher_nic_set(core, vm, nic, v->state, reason, v->message ? v->message : "");
        if (nic->have_nic && !v->unanswered)
                nic->adopted = false;
}

/* ------------------------------------------------------------------ the way out */

static void release(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic)
{
        const struct watcher_port *port = bound_port(core, vm, nic->port_id);
        if (!port || port->phase != W_PORT_RELEASING)
                return;
        /* The list says when it is taken note of; should it never, it is said again after a while. */
        uint64_t said = nic->released ? nic->released_version : nic->asked_version;
        if (port->resource_version > said)
                nic->release.retry_us = 0;
        if (!watcher_task_ready(core, vm, &nic->release))
                return;
        json_t *body = json_pack("{s:{s:s}, s:{s:s}}", "metadata", "resourceVersion", port->version, "status",
                                 "phase", "Released");
        if (!body) {
                core->error = -ENOMEM;
                return;
        }
        nic->released = false;
        nic->asked_version = port->resource_version;
        nic->release.op =
            watcher_vm_call(core, vm, WATCHER_CALL_PORT_STATUS, port->name_space, port->id, body);
}

/* Nobody lists it, no port is bound here, and nothing of it is left on the node. */
static bool nic_over(const struct watcher_core *core, const struct watcher_vm *vm,
                     const struct watcher_nic *nic, const struct watcher_verdict *v)
{
        if (nic->release.op || bound_port(core, vm, nic->port_id))
                return false;
        if (nic->wish)
                return nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT && v->settled;
        bool port_left = nic->have_port && nic->port.state != AK_PORT_RELEASED;
        return !watcher_nic_listed(vm, nic) && !port_left && !watcher_nic_in_domain(vm, nic);
}

bool watcher_nics_released(const struct watcher_core *core, const struct watcher_vm *vm)
{
        for (size_t i = 0; i < vm->nic_count; i++) {
                const struct watcher_nic *nic = vm->nics[i];
                const struct watcher_port *port = bound_port(core, vm, nic->port_id);
                bool listed_only = !nic->wish && !port && !nic->have_port && !nic->have_nic;
                if (!listed_only && (!nic->released || nic->release.op))
                        return false;
        }
        return true;
}

static void leave(struct watcher_core *core, struct watcher_vm *vm, struct watcher_nic *nic,
                  const struct watcher_verdict *v)
{
        bool pod_stays = vm->pod && !vm->spec->deleting;
        if (!v->settled)
                return;
        if (nic->was_ready && pod_stays) {
                nic->was_ready = false;
                watcher_event_post(core, vm, false, "DeviceDetached", "NIC %s (%s) is gone from the guest",
                                   nic->name, nic->mac);
        }
        release(core, vm, nic);
}

/* ------------------------------------------------------------------ reconcile */

/* True: the NIC was dropped. */
static bool reconcile(struct watcher_core *core, struct watcher_vm *vm, size_t i)
{
        struct watcher_nic *nic = vm->nics[i];
        wish_update(core, vm, nic);
        follow_guest(core, vm, nic);
        struct watcher_verdict v = watcher_nic_verdict(core, vm, nic);
        nic->settled = v.settled;
        if (nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT)
                leave(core, vm, nic, &v);
        if (nic_over(core, vm, nic, &v)) {
                nic_drop(core, vm, i);
                return true;
        }
        present_state(core, vm, nic, &v);
        if (nic->wish) {
                retry(core, vm, nic, &v);
                repeat(core, vm, nic, &v);
        }
        return false;
}

void watcher_nics_reconcile(struct watcher_core *core, struct watcher_vm *vm)
{
        bool dropped;
        /* A NIC that is gone may be what another one waits for. */
        do {
                dropped = false;
                for (size_t i = 0; i < vm->nic_count && !dropped; i++)
                        dropped = reconcile(core, vm, i);
        } while (dropped);
}
