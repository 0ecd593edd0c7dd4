/* SPDX-License-Identifier: Apache-2.0 */
/* Events and actions as JSON, for the journal and for replay (libcommon/journal.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/network/core_internal.h"

#define COPY(dst, src) snprintf((dst), sizeof(dst), "%s", (src))

static const char *const event_names[] = {
    [NET_EVENT_MESSAGE] = "message",
    [NET_EVENT_PEER] = "peer",
    [NET_EVENT_INVENTORY] = "inventory",
    [NET_EVENT_PREPARED] = "prepared",
    [NET_EVENT_RELEASED] = "released",
    [NET_EVENT_PORT_LOST] = "port_lost",
    [NET_EVENT_SUBNET_LOST] = "subnet_lost",
    [NET_EVENT_DHCP_LOST] = "dhcp_lost",
    [NET_EVENT_TICK] = "tick",
};

static json_t *u64(uint64_t value)
{
        return json_integer((json_int_t)value);
}

/* ------------------------------------------------------------------ actions */

struct net_action *net_actions_add(struct net_actions *actions, enum net_action_type type)
{
        if (actions->count == actions->capacity) {
                size_t capacity = actions->capacity ? actions->capacity * 2 : 8;
                struct net_action *items = realloc(actions->items, capacity * sizeof(*items));

                if (!items)
                        return NULL;
                actions->items = items;
                actions->capacity = capacity;
        }
        struct net_action *a = &actions->items[actions->count++];
        memset(a, 0, sizeof(*a));
        a->type = type;
        return a;
}

void net_actions_clear(struct net_actions *actions)
{
        for (size_t i = 0; i < actions->count; i++) {
                struct net_action *a = &actions->items[i];

                if (a->type == NET_ACTION_PUBLISH)
                        ak_message_free(a->publish.message);
                else if (a->type == NET_ACTION_FORGET)
                        free(a->topic);
                else if (a->type == NET_ACTION_PREPARE)
                        free(a->prepare.spec);
                else if (a->type == NET_ACTION_PEERS)
                        ak_message_free(a->peers);
        }
        free(actions->items);
        memset(actions, 0, sizeof(*actions));
}

static json_t *key_to_json(const struct net_port_key *key)
{
        return json_pack("{s:s,s:s,s:s}", "port_id", key->port_id, "pod_uid", key->pod_uid, "subnet_id",
                         key->subnet_id);
}

static json_t *action_to_json(const struct net_action *a)
{
        switch (a->type) {
        case NET_ACTION_PUBLISH:
                return json_pack("{s:s,s:b,s:o}", "action", "publish", "retain", a->publish.retain ? 1 : 0,
                                 "message", ak_message_to_json(a->publish.message));
        case NET_ACTION_FORGET:
                return json_pack("{s:s,s:s}", "action", "forget", "topic", a->topic);
        case NET_ACTION_PEERS:
                return json_pack("{s:s,s:o}", "action", "peers", "message", ak_message_to_json(a->peers));
        case NET_ACTION_PREPARE:
                return json_pack("{s:s,s:o,s:o}", "action", "prepare", "op", u64(a->prepare.op), "spec",
                                 net_spec_to_json(a->prepare.spec));
        case NET_ACTION_RELEASE:
                return json_pack("{s:s,s:o,s:o}", "action", "release", "op", u64(a->release.op), "port",
                                 key_to_json(&a->release.key));
        case NET_ACTION_SWEEP:
                return json_pack("{s:s}", "action", "sweep");
        case NET_ACTION_WAKE:
                return json_pack("{s:s,s:o}", "action", "wake", "at", u64(a->wake_us));
        }
        return NULL;
}

json_t *net_actions_to_json(const struct net_actions *actions)
{
        json_t *array = json_array();

        for (size_t i = 0; array && i < actions->count; i++)
                if (json_array_append_new(array, action_to_json(&actions->items[i])) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

/* ------------------------------------------------------------------ events to JSON */

static json_t *found_to_json(const struct net_event *e)
{
        json_t *array = json_array();

        for (size_t i = 0; i < e->inventory.count; i++) {
                const struct net_found_port *f = &e->inventory.ports[i];
                json_t *item = key_to_json(&f->key);

                json_object_set_new(item, "ifname", json_string(f->ifname));
                json_object_set_new(item, "ifindex", u64(f->ifindex));
                json_array_append_new(array, item);
        }
        return array;
}

static json_t *done_to_json(const struct net_event *e)
{
        json_t *j = json_pack("{s:o,s:i}", "op", u64(e->done.op), "error", e->done.error);

        if (e->done.error < 0) {
                json_object_set_new(j, "reason", json_string(e->done.text.reason));
                json_object_set_new(j, "message", json_string(e->done.text.message));
        } else if (e->type == NET_EVENT_PREPARED) {
                json_object_set_new(j, "ifname", json_string(e->done.prepared.ifname));
                json_object_set_new(j, "ifindex", u64(e->done.prepared.ifindex));
                json_object_set_new(j, "mtu", u64(e->done.prepared.mtu));
                json_object_set_new(j, "took_us", u64(e->done.prepared.took_us));
        }
        return j;
}

static json_t *event_body(const struct net_event *e)
{
        switch (e->type) {
        case NET_EVENT_MESSAGE:
                return ak_message_to_json(e->message);
        case NET_EVENT_PEER: /* as text: an epoch is 64 bits, a JSON integer here 63 */
                return json_pack("{s:s,s:o}", "name", e->peer.name, "epoch",
                                 json_sprintf("%016llx", (unsigned long long)e->peer.epoch));
        case NET_EVENT_INVENTORY:
                return found_to_json(e);
        case NET_EVENT_PREPARED:
        case NET_EVENT_RELEASED:
                return done_to_json(e);
        case NET_EVENT_PORT_LOST:
                return json_string(e->port_id);
        case NET_EVENT_SUBNET_LOST:
        case NET_EVENT_DHCP_LOST:
                return json_string(e->subnet_id);
        case NET_EVENT_TICK:
                return json_true();
        }
        return NULL;
}

json_t *net_event_to_json(const struct net_event *event)
{
        return json_pack("{s:o}", event_names[event->type], event_body(event));
}

/* ------------------------------------------------------------------ events from JSON */

static int bad(char error[AK_SCHEMA_ERROR_SIZE], const char *what)
{
        snprintf(error, AK_SCHEMA_ERROR_SIZE, "%s", what);
        return -EBADMSG;
}

static int found_from_json(const json_t *j, struct net_found_port *f)
{
        const char *port, *pod, *subnet, *ifname;
        json_int_t ifindex;

        if (json_unpack((json_t *)j, "{s:s,s:s,s:s,s:s,s:I}", "port_id", &port, "pod_uid", &pod, "subnet_id",
                        &subnet, "ifname", &ifname, "ifindex", &ifindex) < 0)
                return -EBADMSG;
        if (!ak_uuid_valid(port) || !ak_uuid_valid(pod) || !ak_uuid_valid(subnet))
                return -EBADMSG;
        COPY(f->key.port_id, port);
        COPY(f->key.pod_uid, pod);
        COPY(f->key.subnet_id, subnet);
        COPY(f->ifname, ifname);
        f->ifindex = (uint32_t)ifindex;
        return 0;
}

static int inventory_from_json(const json_t *j, struct net_owned_event *out, char *error)
{
        size_t count = json_array_size(j);

        if (!json_is_array(j) || count > 2 * NET_MAX_PORTS)
                return bad(error, "inventory: must be an array of at most 8192 ports");
        out->ports = calloc(count + 1, sizeof(*out->ports));
        if (!out->ports)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++)
                if (found_from_json(json_array_get(j, i), &out->ports[i]) < 0)
                        return bad(error, "inventory: not a port");
        out->event.inventory.ports = out->ports;
        out->event.inventory.count = count;
        return 0;
}

static int done_from_json(const json_t *j, struct net_event *e, char *error)
{
        json_int_t op, ifindex = 0, mtu = 0, took = 0;
        const char *reason = "", *message = "", *ifname = "";

        if (json_unpack((json_t *)j, "{s:I,s:i,s?s,s?s,s?s,s?I,s?I,s?I}", "op", &op, "error", &e->done.error,
                        "reason", &reason, "message", &message, "ifname", &ifname, "ifindex", &ifindex, "mtu",
                        &mtu, "took_us", &took) < 0)
                return bad(error, "an answer needs op and error");
        e->done.op = (uint64_t)op;
        COPY(e->done.text.reason, reason);
        COPY(e->done.text.message, message);
        COPY(e->done.prepared.ifname, ifname);
        e->done.prepared.ifindex = (uint32_t)ifindex;
        e->done.prepared.mtu = (uint32_t)mtu;
        e->done.prepared.took_us = (uint64_t)took;
        return 0;
}

static int peer_from_json(const json_t *j, struct net_owned_event *out, char *error)
{
        const char *name, *epoch;

        if (json_unpack((json_t *)j, "{s:s,s:s}", "name", &name, "epoch", &epoch) < 0)
                return bad(error, "a peer needs name and epoch");
        out->peer = strdup(name);
        if (!out->peer)
                return -ENOMEM;
        out->event.peer.name = out->peer;
        out->event.peer.epoch = strtoull(epoch, NULL, 16);
        return 0;
}

static int id_from_json(const json_t *j, char out[AK_UUID_SIZE], char *error)
{
        const char *text = json_string_value(j);

        if (!text || !ak_uuid_valid(text))
                return bad(error, "must be a UUID");
        memcpy(out, text, AK_UUID_SIZE);
        return 0;
}

static int body_from_json(const json_t *j, struct net_owned_event *out, char *error)
{
        struct net_event *e = &out->event;
        int r;

        switch (e->type) {
        case NET_EVENT_MESSAGE:
                r = ak_message_from_json(j, &out->message, error);
                e->message = out->message;
                return r;
        case NET_EVENT_PEER:
                return peer_from_json(j, out, error);
        case NET_EVENT_INVENTORY:
                return inventory_from_json(j, out, error);
        case NET_EVENT_PREPARED:
        case NET_EVENT_RELEASED:
                return done_from_json(j, e, error);
        case NET_EVENT_PORT_LOST:
                return id_from_json(j, e->port_id, error);
        case NET_EVENT_SUBNET_LOST:
        case NET_EVENT_DHCP_LOST:
                return id_from_json(j, e->subnet_id, error);
        case NET_EVENT_TICK:
                return 0;
        }
        return -EBADMSG;
}

int net_event_from_json(const json_t *json, struct net_owned_event *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        struct net_owned_event e;

        memset(&e, 0, sizeof(e));
        for (size_t i = 0; i < AK_ARRAY_SIZE(event_names); i++) {
                const json_t *body = json_object_get(json, event_names[i]);

                if (!body)
                        continue;
                e.event.type = (enum net_event_type)i;
                int r = body_from_json(body, &e, error);
                if (r < 0) {
                        net_owned_event_deinit(&e);
                        return r;
                }
                *out = e;
                return 0;
        }
        return bad(error, "unknown event");
}

void net_owned_event_deinit(struct net_owned_event *e)
{
        ak_message_free(e->message);
        free(e->ports);
        free(e->peer);
        memset(e, 0, sizeof(*e));
}

/* ------------------------------------------------------------------ configuration */

json_t *net_core_config_to_json(const struct net_core_config *c)
{
        return json_pack("{s:o,s:i,s:i}", "seed", u64(c->seed), "fabric_mtu", (int)c->fabric_mtu, "max_ports",
                         (int)c->max_ports);
}

int net_core_config_from_json(const json_t *json, struct net_core_config *out)
{
        json_int_t seed, mtu, max_ports;

        if (json_unpack((json_t *)json, "{s:I,s:I,s:I}", "seed", &seed, "fabric_mtu", &mtu, "max_ports",
                        &max_ports) < 0)
                return -EBADMSG;
        *out = (struct net_core_config){(uint64_t)seed, (uint32_t)mtu, (uint32_t)max_ports};
        return 0;
}
