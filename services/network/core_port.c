/* SPDX-License-Identifier: Apache-2.0 */
/* One port: what it says of itself, and the next step toward its wish. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/network/core_internal.h"

#define COPY(dst, src) snprintf((dst), sizeof(dst), "%s", (src))

static void fill_status(const struct net_port *p, enum ak_port_state state, const char *reason,
                        const char *message, struct ak_port_status *s)
{
        memset(s, 0, sizeof(*s));
        COPY(s->pod_uid, p->key.pod_uid);
        COPY(s->port_id, p->key.port_id);
        COPY(s->nic, p->diff.nic);
        s->generation = p->diff.generation;
        s->attempt = p->diff.attempt;
        s->state = state;
        COPY(s->reason, reason);
        COPY(s->message, message);
        COPY(s->mac, p->diff.mac);
        s->link_down = p->diff.link_down;
        s->slot = p->diff.slot;
        if (state == AK_PORT_READY || state == AK_PORT_HELD) {
                COPY(s->ifname, p->prepared.ifname);
                s->mtu = p->prepared.mtu;
                s->ifindex = p->prepared.ifindex;
        }
        if (state == AK_PORT_READY)
                s->prepare_us = p->prepared.took_us;
}

static bool status_equal(const struct ak_port_status *a, const struct ak_port_status *b)
{
        return ak_record_equal(&ak_message_info(ak_message_port_status)->record, a, b);
}

int net_port_publish(struct net_port *p, enum ak_port_state state, const char *reason, const char *message,
                     bool answer, struct net_actions *out)
{
        struct ak_port_status status;

        fill_status(p, state, reason, message, &status);
        if (p->published && !answer && status_equal(&status, &p->status))
                return 0;
        struct ak_message *m = ak_message_new(ak_message_port_status);
        if (!m)
                return -ENOMEM;
        m->port_status = status;
        struct net_action *a = net_actions_add(out, NET_ACTION_PUBLISH);
        if (!a) {
                ak_message_free(m);
                return -ENOMEM;
        }
        a->publish.message = m;
        a->publish.retain = true;
        p->status = status;
        p->published = true;
        return 0;
}

static int publish_fault(struct net_port *p, bool answer, struct net_actions *out)
{
        return net_port_publish(p, AK_PORT_FAILED, p->fault.reason, p->fault.message, answer, out);
}

int net_key_compare(struct net_key a, struct net_key b)
{
        if (a.generation != b.generation)
                return a.generation < b.generation ? -1 : 1;
        return a.attempt < b.attempt ? -1 : a.attempt > b.attempt;
}

struct net_key net_port_key_of_wish(const struct net_port *p)
{
        return (struct net_key){p->diff.generation, p->diff.attempt};
}

bool net_port_let_go(const struct net_port *p)
{
        return p->nic_gone && net_key_compare(p->nic_gone_key, p->absent_since) >= 0;
}

static bool tried(const struct net_port *p)
{
        return net_key_compare(p->tried, net_port_key_of_wish(p)) == 0;
}

static void start(struct net_core *core, struct net_port *p, enum net_have have)
{
        p->op = ++core->next_op;
        p->op_key = net_port_key_of_wish(p);
        p->have = have;
        TAILQ_INSERT_TAIL(&core->running, p, running);
}

static int start_prepare(struct net_core *core, struct net_port *p, const struct net_port_spec *spec,
                         struct net_actions *out)
{
        struct net_port_spec *copy = malloc(sizeof(*copy));
        struct net_action *a = copy ? net_actions_add(out, NET_ACTION_PREPARE) : NULL;

        if (!a) {
                free(copy);
                return -ENOMEM;
        }
        *copy = *spec;
        start(core, p, NET_PREPARING);
        a->prepare.op = p->op;
        a->prepare.spec = copy;
        p->spec = *spec;
        p->spec_known = true;
        p->key = spec->key;
        p->verify = p->lost = false;
        return 0;
}

static int start_release(struct net_core *core, struct net_port *p, struct net_actions *out)
{
        struct net_action *a = net_actions_add(out, NET_ACTION_RELEASE);

        if (!a)
                return -ENOMEM;
        start(core, p, NET_RELEASING);
        a->release.op = p->op;
        a->release.key = p->key;
        return 0;
}

/* Another pod's record that still has this port on the host: one tap cannot serve two. */
static const struct net_port *holder(const struct net_core *core, const struct net_port *p)
{
        for (size_t i = net_core_lower_bound(core, p->key.port_id, ""); i < core->count; i++) {
                const struct net_port *other = core->ports[i];

                if (strcmp(other->key.port_id, p->key.port_id) != 0)
                        break;
                if (other != p && other->have != NET_NONE)
                        return other;
        }
        return NULL;
}

static int wait_for_holder(struct net_port *p, const struct net_port *other, bool answer,
                           struct net_actions *out)
{
        char message[NET_MESSAGE_SIZE];

        snprintf(message, sizeof(message), "the port is still held for pod %s", other->key.pod_uid);
        return net_port_publish(p, AK_PORT_PREPARING, "PortHeldElsewhere", message, answer, out);
}

static int settle_wanted(struct net_core *core, struct net_port *p, bool answer, struct net_actions *out)
{
        const struct net_port *other;
        struct net_port_spec spec;
        const char *cause = p->cause ? p->cause : "Preparing";
        /* A port found at start, or one whose server died, is checked in silence: it is in use. */
        bool quiet = p->have == NET_PREPARED && (!p->published || p->status.state == AK_PORT_READY);
        int r;

        if (p->have == NET_PREPARING || p->have == NET_RELEASING) {
                if (p->have == NET_PREPARING && (!p->published || p->status.state == AK_PORT_READY))
                        return 0; /* being checked in silence; the answer follows */
                return net_port_publish(p, AK_PORT_PREPARING, cause, "", answer, out);
        }
        if (p->have != NET_PREPARED && (other = holder(core, p)))
                return wait_for_holder(p, other, answer, out);
        if (net_spec_from_diff(&p->diff, core->config.fabric_mtu, &spec, &p->fault) < 0)
                return publish_fault(p, answer, out);
        if (p->have == NET_PREPARED && !p->verify && p->spec_known && net_spec_equal(&spec, &p->spec))
                return net_port_publish(p, AK_PORT_READY, "Ready", "", answer, out);
        if (p->have == NET_BROKEN && tried(p))
                return publish_fault(p, answer, out);
        r = start_prepare(core, p, &spec, out);
        if (r < 0 || quiet)
                return r;
        return net_port_publish(p, AK_PORT_PREPARING, cause, "", answer, out);
}

static int settle_unwanted(struct net_core *core, struct net_port *p, bool answer, uint64_t now_us,
                           struct net_actions *out)
{
        if (p->have != NET_NONE)
                (void)ak_deadline_set(&core->forget, &p->forget, 0);
        switch (p->have) {
        case NET_NONE:
                /* The tap may have been deleted by somebody, and a VM have the NIC nevertheless. */
                if (!net_port_let_go(p))
                        break;
                if ((answer || p->forget.at_us == 0) &&
                    ak_deadline_set(&core->forget, &p->forget, now_us + NET_RELEASED_KEEP_US) < 0)
                        return -ENOMEM;
                return net_port_publish(p, AK_PORT_RELEASED, "Released", "", answer, out);
        case NET_PREPARING:
                return net_port_publish(p, AK_PORT_HELD, "Preparing", "released once preparing has ended",
                                        answer, out);
        case NET_RELEASING:
                return net_port_publish(p, AK_PORT_HELD, "Releasing", "", answer, out);
        case NET_STUCK:
                if (tried(p))
                        return publish_fault(p, answer, out);
                break;
        case NET_PREPARED:
        case NET_BROKEN:
                break;
        }
        if (!net_port_let_go(p))
                return net_port_publish(p, AK_PORT_HELD, "WaitingForDetach",
                                        "the VM has not let go of the device", answer, out);
        int r = start_release(core, p, out);
        return r < 0 ? r : net_port_publish(p, AK_PORT_HELD, "Releasing", "", answer, out);
}

int net_port_settle(struct net_core *core, struct net_port *p, bool answer, uint64_t now_us,
                    struct net_actions *out)
{
        switch (p->wish) {
        case NET_WANTED:
                (void)ak_deadline_set(&core->forget, &p->forget, 0);
                return settle_wanted(core, p, answer, out);
        case NET_UNWANTED:
                return settle_unwanted(core, p, answer, now_us, out);
        case NET_UNCLAIMED:
                break;
        }
        if (core->claim_due_us != 0)
                return 0; /* whoever wants it may be on the way */
        return net_port_publish(p, AK_PORT_HELD, "Unclaimed", "found on the host; nobody has asked for it",
                                answer, out);
}
