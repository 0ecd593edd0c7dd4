/* SPDX-License-Identifier: Apache-2.0 */
/* The table of ports, and what each event changes in it; core_port.c then settles the ports concerned. */
#include "services/network/core.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/network/core_internal.h"

#define COPY(dst, src) snprintf((dst), sizeof(dst), "%s", (src))

/* ------------------------------------------------------------------ table */

static int compare(const struct net_port *p, const char *port_id, const char *pod_uid)
{
        int r = strcmp(p->key.port_id, port_id);

        return r != 0 ? r : strcmp(p->key.pod_uid, pod_uid);
}

size_t net_core_lower_bound(const struct net_core *core, const char *port_id, const char *pod_uid)
{
        size_t low = 0, high = core->count;

        while (low < high) {
                size_t mid = low + (high - low) / 2;

                if (compare(core->ports[mid], port_id, pod_uid) < 0)
                        low = mid + 1;
                else
                        high = mid;
        }
        return low;
}

static struct net_port *find(const struct net_core *core, const char *port_id, const char *pod_uid)
{
        size_t i = net_core_lower_bound(core, port_id, pod_uid);

        return i < core->count && compare(core->ports[i], port_id, pod_uid) == 0 ? core->ports[i] : NULL;
}

static int reserve(struct net_core *core)
{
        size_t capacity = core->capacity ? core->capacity * 2 : 16;

        if (core->count < core->capacity)
                return 0;
        struct net_port **ports = realloc(core->ports, capacity * sizeof(*ports));
        if (!ports)
                return -ENOMEM;
        core->ports = ports;
        core->capacity = capacity;
        return 0;
}

static int insert(struct net_core *core, const char *port_id, const char *pod_uid, struct net_port **out)
{
        size_t i = net_core_lower_bound(core, port_id, pod_uid);

        if (core->count >= core->config.max_ports)
                return -ENOSPC;
        struct net_port *p = reserve(core) < 0 ? NULL : calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        COPY(p->key.port_id, port_id);
        COPY(p->key.pod_uid, pod_uid);
        p->forget.owner = p;
        memmove(&core->ports[i + 1], &core->ports[i], (core->count - i) * sizeof(*core->ports));
        core->ports[i] = p;
        core->count++;
        *out = p;
        return 0;
}

static void free_port(struct net_port *p)
{
        ak_nic_diff_deinit(&p->diff);
        free(p);
}

static void remove_at(struct net_core *core, size_t i)
{
        (void)ak_deadline_set(&core->forget, &core->ports[i]->forget, 0);
        free_port(core->ports[i]);
        core->count--;
        memmove(&core->ports[i], &core->ports[i + 1], (core->count - i) * sizeof(*core->ports));
}

/* ------------------------------------------------------------------ wishes */

/* Whether a diff is older than what is known. Of two with the same key, absent is the later. */
static bool stale(const struct net_port *p, const struct ak_nic_diff *d)
{
        int order = net_key_compare((struct net_key){d->generation, d->attempt}, net_port_key_of_wish(p));

        if (p->wish == NET_UNCLAIMED || order > 0)
                return false;
        return order < 0 || (p->wish == NET_UNWANTED && d->wanted == AK_NIC_WANTED_PRESENT);
}

static int accept_wish(struct net_port *p, const struct ak_nic_diff *d)
{
        enum net_wish before = p->wish;
        uint64_t generation = p->diff.generation;
        struct net_key before_key = net_port_key_of_wish(p);
        int r = ak_nic_diff_copy(&p->diff, d);

        if (r < 0)
                return r;
        /* What was said while it was wanted is no answer to this, even where a new watcher used a key twice.
         */
        if (before == NET_WANTED && net_key_compare(p->nic_gone_key, before_key) <= 0)
                p->nic_gone = false;
        p->wish = d->wanted == AK_NIC_WANTED_ABSENT ? NET_UNWANTED : NET_WANTED;
        if (p->wish == NET_WANTED)
                return 0;
        /* Another attempt to release needs no new evidence; another generation does. */
        if (before != NET_UNWANTED || d->generation != generation)
                p->absent_since = net_port_key_of_wish(p);
        return 0;
}

/* One answer, not kept: a table that is full must not be made to hold more. */
static int refuse(const struct ak_nic_diff *d, const char *reason, const char *message,
                  struct net_actions *out)
{
        struct ak_message *m = ak_message_new(ak_message_port_status);
        struct net_action *a = m ? net_actions_add(out, NET_ACTION_PUBLISH) : NULL;

        if (!a) {
                ak_message_free(m);
                return -ENOMEM;
        }
        struct ak_port_status *s = &m->port_status;
        COPY(s->pod_uid, d->pod_uid);
        COPY(s->port_id, d->port_id);
        COPY(s->nic, d->nic);
        s->generation = d->generation;
        s->attempt = d->attempt;
        s->state = AK_PORT_FAILED;
        COPY(s->reason, reason);
        COPY(s->message, message);
        a->publish.message = m;
        return 0;
}

static int on_nic_diff(struct net_core *core, const struct ak_nic_diff *d, uint64_t now_us,
                       struct net_actions *out)
{
        struct net_port *p;

        if (!ak_uuid_valid(d->port_id) || !ak_uuid_valid(d->pod_uid))
                return refuse(d, "InvalidPort", "nic.diff port_id and pod_uid must be lower-case UUIDs", out);
        p = find(core, d->port_id, d->pod_uid);
        if (!p) {
                int r = insert(core, d->port_id, d->pod_uid, &p);

                if (r == -ENOSPC)
                        return refuse(d, "TooManyPorts", "this node's bound on ports is reached", out);
                if (r < 0)
                        return r;
        }
        int r = stale(p, d) ? 0 : accept_wish(p, d);
        return r < 0 ? r : net_port_settle(core, p, true, now_us, out);
}

/* ------------------------------------------------------------------ evidence */

static int settle_unwanted(struct net_core *core, struct net_port *p, uint64_t now_us,
                           struct net_actions *out)
{
        return p->wish == NET_UNWANTED ? net_port_settle(core, p, false, now_us, out) : 0;
}

static int on_nic_status(struct net_core *core, const struct ak_nic_status *s, uint64_t now_us,
                         struct net_actions *out)
{
        struct net_port *p = find(core, s->port_id, s->pod_uid);
        struct net_key key = {s->generation, s->attempt};

        if (!p || (p->nic_gone && net_key_compare(key, p->nic_gone_key) < 0))
                return 0;
        p->nic_gone = s->state == AK_NIC_DETACHED;
        p->nic_gone_key = key;
        return settle_unwanted(core, p, now_us, out);
}

/* Nothing of it is kept here: the message is the whole truth, and the backend compares it with the kernel. */
static int on_subnet_peers(const struct net_core *core, const struct ak_message *m, struct net_actions *out)
{
        (void)core;
        if (!ak_uuid_valid(m->subnet_peers.subnet_id) || !ak_uuid_valid(m->subnet_peers.vpc_id))
                return 0;
        struct ak_message *copy = ak_message_dup(m);
        struct net_action *a = copy ? net_actions_add(out, NET_ACTION_PEERS) : NULL;

        if (!a) {
                ak_message_free(copy);
                return -ENOMEM;
        }
        a->peers = copy;
        return 0;
}

static int on_message(struct net_core *core, const struct ak_message *m, uint64_t now_us,
                      struct net_actions *out)
{
        if (!core->started)
                return 0;
        switch (m->type) {
        case ak_message_nic_diff:
                return on_nic_diff(core, &m->nic_diff, now_us, out);
        case ak_message_subnet_peers:
                return on_subnet_peers(core, m, out);
        case ak_message_nic_status:
                return on_nic_status(core, &m->nic_status, now_us, out);
        default:
                return 0;
        }
}

/* ------------------------------------------------------------------ kernel */

static int lose(struct net_core *core, struct net_port *p, const char *cause, uint64_t now_us,
                struct net_actions *out)
{
        p->lost = p->have == NET_PREPARING;
        if (p->have != NET_PREPARED)
                return 0; /* being made or removed, or not there */
        p->verify = true;
        if (p->wish != NET_WANTED)
                return 0; /* releasing takes care of what is left */
        p->cause = cause;
        int r = net_port_publish(p, AK_PORT_PREPARING, cause, "", false, out);
        return r < 0 ? r : net_port_settle(core, p, false, now_us, out);
}

static int on_port_lost(struct net_core *core, const char *port_id, uint64_t now_us, struct net_actions *out)
{
        int r = 0;

        for (size_t i = net_core_lower_bound(core, port_id, "");
             r == 0 && i < core->count && strcmp(core->ports[i]->key.port_id, port_id) == 0; i++)
                r = lose(core, core->ports[i], "TapLost", now_us, out);
        return r;
}

static int on_subnet_lost(struct net_core *core, const char *subnet_id, uint64_t now_us,
                          struct net_actions *out)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < core->count; i++)
                if (strcmp(core->ports[i]->key.subnet_id, subnet_id) == 0)
                        r = lose(core, core->ports[i], "BridgeLost", now_us, out);
        return r;
}

static int by_port_id(const void *a, const void *b)
{
        const struct net_found_port *const *x = a, *const *y = b;

        return memcmp((*x)->key.port_id, (*y)->key.port_id, AK_UUID_SIZE);
}

/* The inventory by port ID; the caller frees it. */
static const struct net_found_port **sort_found(const struct net_event *e)
{
        const struct net_found_port **sorted = calloc(e->inventory.count + 1, sizeof(*sorted));

        for (size_t i = 0; sorted && i < e->inventory.count; i++)
                sorted[i] = &e->inventory.ports[i];
        if (sorted && e->inventory.count > 1)
                qsort(sorted, e->inventory.count, sizeof(*sorted), by_port_id);
        return sorted;
}

static const struct net_found_port *find_found(const struct net_found_port *const *sorted, size_t count,
                                               const struct net_port *p)
{
        const struct net_found_port wanted = {.key = p->key}, *key = &wanted;
        const struct net_found_port *const *found = bsearch(&key, sorted, count, sizeof(*sorted), by_port_id);

        while (found && found > sorted && by_port_id(found - 1, &key) == 0)
                found--;
        return found ? *found : NULL;
}

static int adopt(struct net_core *core, const struct net_found_port *f, uint64_t now_us,
                 struct net_actions *out)
{
        struct net_port *p = find(core, f->key.port_id, f->key.pod_uid);
        int r = 0;

        if (p && p->have != NET_NONE)
                return 0;
        if (!p && (r = insert(core, f->key.port_id, f->key.pod_uid, &p)) < 0)
                return r == -ENOSPC ? 0 : r;
        p->key = f->key;
        COPY(p->diff.port_id, f->key.port_id);
        COPY(p->diff.pod_uid, f->key.pod_uid);
        COPY(p->prepared.ifname, f->ifname);
        p->prepared.ifindex = f->ifindex;
        p->have = NET_PREPARED;
        p->verify = true;
        return net_port_settle(core, p, false, now_us, out);
}

/* Kernel events were lost: whatever is in use is checked, in silence. */
static int verify(struct net_core *core, struct net_port *p, uint64_t now_us, struct net_actions *out)
{
        if (p->wish != NET_WANTED || p->have != NET_PREPARED)
                return 0;
        p->verify = true;
        return net_port_settle(core, p, false, now_us, out);
}

static int on_inventory(struct net_core *core, const struct net_event *e, uint64_t now_us,
                        struct net_actions *out)
{
        int r = 0;

        if (!core->started)
                core->claim_due_us = now_us + NET_CLAIM_GRACE_US;
        core->started = true;
        AK_AUTOFREE const struct net_found_port **sorted = sort_found(e);
        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < core->count; i++) {
                struct net_port *p = core->ports[i];
                const struct net_found_port *f = find_found(sorted, e->inventory.count, p);

                if (!f || f->ifindex != p->prepared.ifindex)
                        r = lose(core, p, "TapLost", now_us, out);
                else
                        r = verify(core, p, now_us, out);
        }
        for (size_t i = 0; r == 0 && i < e->inventory.count; i++)
                r = adopt(core, &e->inventory.ports[i], now_us, out);
        return r;
}

/* ------------------------------------------------------------------ DHCP servers */

static struct net_dhcp *dhcp_of(struct net_core *core, const char *subnet_id, uint64_t now_us)
{
        struct net_dhcp *oldest = &core->dhcp[0];

        for (size_t i = 0; i < core->dhcp_count; i++) {
                if (strcmp(core->dhcp[i].subnet_id, subnet_id) == 0)
                        return &core->dhcp[i];
                if (core->dhcp[i].last_us < oldest->last_us)
                        oldest = &core->dhcp[i];
        }
        struct net_dhcp *d =
            core->dhcp_count < NET_MAX_DHCP_FAULTS ? &core->dhcp[core->dhcp_count++] : oldest;
        memset(d, 0, sizeof(*d));
        COPY(d->subnet_id, subnet_id);
        ak_backoff_init(&d->backoff, AK_BACKOFF_BASE_US, NET_DHCP_BACKOFF_CAP, core->config.seed);
        d->last_us = now_us;
        return d;
}

/* Preparing any port of a subnet starts its DHCP server. */
static int restart_dhcp(struct net_core *core, struct net_dhcp *d, uint64_t now_us, struct net_actions *out)
{
        d->due_us = 0;
        for (size_t i = 0; i < core->count; i++) {
                struct net_port *p = core->ports[i];

                if (strcmp(p->key.subnet_id, d->subnet_id) != 0 || p->wish != NET_WANTED ||
                    p->have != NET_PREPARED)
                        continue;
                p->verify = true;
                return net_port_settle(core, p, false, now_us, out);
        }
        return 0;
}

static int on_dhcp_lost(struct net_core *core, const char *subnet_id, uint64_t now_us,
                        struct net_actions *out)
{
        struct net_dhcp *d = dhcp_of(core, subnet_id, now_us);

        if (d->due_us != 0)
                return 0;
        if (now_us - d->last_us > NET_DHCP_CALM_US)
                ak_backoff_reset(&d->backoff);
        d->last_us = now_us;
        /* At once the first time; a server that dies again is given time. */
        bool first = d->backoff.failures == 0;
        d->due_us = now_us + ak_backoff_next(&d->backoff);
        return first ? restart_dhcp(core, d, now_us, out) : 0;
}

/* ------------------------------------------------------------------ answers */

/* The port whose operation this was: it is none any more. */
static struct net_port *end_op(struct net_core *core, uint64_t op, enum net_have have)
{
        struct net_port *p = NULL;

        TAILQ_FOREACH(p, &core->running, running)
        {
                if (p->op == op && p->have == have) {
                        TAILQ_REMOVE(&core->running, p, running);
                        return p;
                }
        }
        return NULL;
}

static void note_fault(struct net_port *p, const struct net_event *e)
{
        p->fault = e->done.text;
        if (p->fault.reason[0] == '\0')
                net_error_set(&p->fault, "BackendFailed", "%s", strerror(-e->done.error));
        p->tried = p->op_key;
}

static int on_prepared(struct net_core *core, const struct net_event *e, uint64_t now_us,
                       struct net_actions *out)
{
        struct net_port *p = end_op(core, e->done.op, NET_PREPARING);

        if (!p)
                return 0;
        p->cause = NULL;
        if (e->done.error < 0) {
                p->have = NET_BROKEN;
                note_fault(p, e);
        } else {
                p->have = NET_PREPARED;
                p->prepared = e->done.prepared;
                p->verify = p->lost;
        }
        return net_port_settle(core, p, false, now_us, out);
}

static int on_released(struct net_core *core, const struct net_event *e, uint64_t now_us,
                       struct net_actions *out)
{
        struct net_port *p = end_op(core, e->done.op, NET_RELEASING);
        int r = 0;

        if (!p)
                return 0;
        if (e->done.error < 0) {
                p->have = NET_STUCK;
                note_fault(p, e);
                return net_port_settle(core, p, false, now_us, out);
        }
        p->have = NET_NONE;
        p->spec_known = false;
        memset(&p->prepared, 0, sizeof(p->prepared));
        for (size_t i = net_core_lower_bound(core, p->key.port_id, "");
             r == 0 && i < core->count && strcmp(core->ports[i]->key.port_id, p->key.port_id) == 0; i++)
                r = net_port_settle(core, core->ports[i], false, now_us, out);
        return r;
}

/* ------------------------------------------------------------------ time */

static int forget(struct net_core *core, const struct net_port *p, struct net_actions *out)
{
        const struct net_port_key *key = &p->key;
        struct ak_message m = {.type = ak_message_port_status};
        char topic[AK_TOPIC_SIZE];

        COPY(m.port_status.pod_uid, key->pod_uid);
        COPY(m.port_status.port_id, key->port_id);
        ak_message_topic(&m, topic);
        char *copy = strdup(topic);
        struct net_action *a = copy ? net_actions_add(out, NET_ACTION_FORGET) : NULL;
        if (!a) {
                free(copy);
                return -ENOMEM;
        }
        a->topic = copy;
        remove_at(core, net_core_lower_bound(core, key->port_id, key->pod_uid));
        return 0;
}

static int end_claim_grace(struct net_core *core, uint64_t now_us, struct net_actions *out)
{
        int r = 0;

        core->claim_due_us = 0;
        for (size_t i = 0; r == 0 && i < core->count; i++)
                if (core->ports[i]->wish == NET_UNCLAIMED)
                        r = net_port_settle(core, core->ports[i], false, now_us, out);
        if (r == 0 && !net_actions_add(out, NET_ACTION_SWEEP))
                r = -ENOMEM;
        return r;
}

static int run_timers(struct net_core *core, uint64_t now_us, struct net_actions *out)
{
        const struct ak_deadline *d;
        int r = 0;

        if (core->claim_due_us != 0 && now_us >= core->claim_due_us)
                r = end_claim_grace(core, now_us, out);
        while (r == 0 && (d = ak_deadlines_first(&core->forget)) && now_us >= d->at_us)
                r = forget(core, d->owner, out);
        for (size_t i = 0; r == 0 && i < core->dhcp_count; i++)
                if (core->dhcp[i].due_us != 0 && now_us >= core->dhcp[i].due_us)
                        r = restart_dhcp(core, &core->dhcp[i], now_us, out);
        return r;
}

static void sooner(uint64_t *wake_us, uint64_t due_us)
{
        if (due_us != 0 && (*wake_us == 0 || due_us < *wake_us))
                *wake_us = due_us;
}

static int ask_to_wake(struct net_core *core, uint64_t now_us, struct net_actions *out)
{
        uint64_t wake_us = 0;

        sooner(&wake_us, core->claim_due_us);
        sooner(&wake_us, ak_deadlines_next_us(&core->forget));
        for (size_t i = 0; i < core->dhcp_count; i++)
                sooner(&wake_us, core->dhcp[i].due_us);
        if (wake_us == 0 || (wake_us == core->wake_us && core->wake_us > now_us))
                return 0;
        struct net_action *a = net_actions_add(out, NET_ACTION_WAKE);
        if (!a)
                return -ENOMEM;
        a->wake_us = core->wake_us = wake_us;
        return 0;
}

/* ------------------------------------------------------------------ public */

int net_core_new(struct net_core **out, const struct net_core_config *config)
{
        struct net_core *core = calloc(1, sizeof(*core));

        if (!core)
                return -ENOMEM;
        core->config = *config;
        if (core->config.fabric_mtu == 0)
                core->config.fabric_mtu = 1500;
        if (core->config.max_ports == 0)
                core->config.max_ports = NET_MAX_PORTS;
        TAILQ_INIT(&core->running);
        *out = core;
        return 0;
}

struct net_core *net_core_free(struct net_core *core)
{
        if (!core)
                return NULL;
        for (size_t i = 0; i < core->count; i++)
                free_port(core->ports[i]);
        free(core->ports);
        ak_deadlines_deinit(&core->forget);
        free(core);
        return NULL;
}

size_t net_core_port_count(const struct net_core *core)
{
        return core->count;
}

const struct net_port_key *net_core_key_of_tap(const struct net_core *core, const char *tap)
{
        for (size_t i = 0; i < core->count; i++)
                if (strcmp(core->ports[i]->prepared.ifname, tap) == 0)
                        return &core->ports[i]->key;
        return NULL;
}

static int dispatch(struct net_core *core, const struct net_event *e, uint64_t now_us,
                    struct net_actions *out)
{
        switch (e->type) {
        case NET_EVENT_MESSAGE:
                return on_message(core, e->message, now_us, out);
        case NET_EVENT_INVENTORY:
                return on_inventory(core, e, now_us, out);
        case NET_EVENT_PREPARED:
                return on_prepared(core, e, now_us, out);
        case NET_EVENT_RELEASED:
                return on_released(core, e, now_us, out);
        case NET_EVENT_PORT_LOST:
                return on_port_lost(core, e->port_id, now_us, out);
        case NET_EVENT_SUBNET_LOST:
                return on_subnet_lost(core, e->subnet_id, now_us, out);
        case NET_EVENT_DHCP_LOST:
                return on_dhcp_lost(core, e->subnet_id, now_us, out);
        case NET_EVENT_PEER: /* evidence needs no memory of epochs: see core.h */
        case NET_EVENT_TICK:
                return 0;
        }
        return -EINVAL;
}

int net_core_step(struct net_core *core, const struct net_event *event, uint64_t now_us, uint64_t real_us,
                  struct net_actions *out)
{
        (void)real_us; /* nothing here is dated */
        int r = dispatch(core, event, now_us, out);

        if (r == 0)
                r = run_timers(core, now_us, out);
        if (r == 0)
                r = ask_to_wake(core, now_us, out);
        return r;
}
