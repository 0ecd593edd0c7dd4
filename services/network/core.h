/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network service's core: what each port of this node is and should be. Events in, actions out; no
 * socket, clock, thread, file or netlink.
 *
 * A port has a wish (present, absent, or unclaimed: found in the kernel, nobody has spoken of it yet) and a
 * state (none, preparing, prepared, broken, releasing, stuck). Whatever happens, net_core_step() ends by
 * *settling* the ports concerned: it looks at wish and state alone and asks for the one next step. So it does
 * not matter which message came first, twice, late or not at all.
 *
 * A wish is named by its key, (generation, attempt); the later key is the later wish, whatever its direction.
 * A stale one changes nothing and is answered with what is.
 *
 * The rule that everything here serves: a port is released only when it is unwanted AND the VM has let go of
 * it. What counts as letting go is *evidence*: nic.status `detached` for the port, whose key is not older
 * than that of the nic.diff that turned it absent. Such a message was made by a hypervisor service that knew
 * the wish, and one that knows it does not attach any more. (That a VM is off is said by vm.status too, but
 * with a key of its own: a late one may speak of the time before the VM started with this NIC.) This is why
 * stale messages do no harm, without asking where they come from:
 *  - a `detached` from before a re-plug has the key of the earlier unplug, which is older;
 *  - a last value replayed after our own restart is judged by the same rule, and one that passes is true
 *    still, because only a later `present` could have undone it, and that clears the evidence;
 *  - a hypervisor service with a new epoch answers for what it sees in libvirt; its evidence needs no memory
 *    of the old one. While it is away there is no evidence, and the port stays held.
 *
 * A port is never removed on the core's own initiative: one that nobody claims is reported as `held`
 * (reason Unclaimed), so that the watcher, who knows the API, can say absent.
 *
 * Not answered at all: anything before the inventory (the watcher repeats what is not settled).
 */
#pragma once

#include <jansson.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "proto/proto.h"
#include "services/network/spec.h"

#define NET_MAX_PORTS        16384
#define NET_RELEASED_KEEP_US (UINT64_C(60) * 1000 * 1000)
#define NET_CLAIM_GRACE_US   (UINT64_C(10) * 1000 * 1000)
#define NET_DHCP_CALM_US     (UINT64_C(60) * 1000 * 1000)
#define NET_DHCP_BACKOFF_CAP (UINT64_C(60) * 1000 * 1000)

struct net_core;

struct net_core_config {
        uint64_t seed;       /* jitter of back-off */
        uint32_t fabric_mtu; /* for a NIC that names none; 0 = 1500 */
        uint32_t max_ports;  /* 0 = NET_MAX_PORTS */
};

/* A port as the kernel has it. */
struct net_found_port {
        struct net_port_key key;
        char ifname[IFNAMSIZ];
        uint32_t ifindex;
};

/* What preparing a port gave. */
struct net_prepared {
        char ifname[IFNAMSIZ];
        uint32_t ifindex, mtu;
        uint64_t took_us;
};

enum net_event_type {
        NET_EVENT_MESSAGE,     /* from the bus: nic.diff, nic.status, subnet.peers; others are ignored */
        NET_EVENT_PEER,        /* a peer has a new epoch */
        NET_EVENT_INVENTORY,   /* all labelled ports, at start and after a lost kernel event */
        NET_EVENT_PREPARED,    /* answer to NET_ACTION_PREPARE */
        NET_EVENT_RELEASED,    /* answer to NET_ACTION_RELEASE */
        NET_EVENT_PORT_LOST,   /* a tap is gone, or out of its bridge */
        NET_EVENT_SUBNET_LOST, /* a bridge or its gateway leg is gone */
        NET_EVENT_DHCP_LOST,   /* a DHCP server died */
        NET_EVENT_TICK,
};

/* Borrows what it points to. */
struct net_event {
        enum net_event_type type;
        union {
                const struct ak_message *message;
                struct {
                        const char *name;
                        uint64_t epoch;
                } peer;
                struct {
                        const struct net_found_port *ports;
                        size_t count;
                } inventory;
                struct {
                        uint64_t op;
                        int error; /* 0 or negative errno */
                        struct net_prepared prepared;
                        struct net_error text; /* with an error */
                } done;                        /* PREPARED, RELEASED */
                char port_id[AK_UUID_SIZE];
                char subnet_id[AK_UUID_SIZE];
        };
};

enum net_action_type {
        NET_ACTION_PUBLISH, /* port.status; `retain` as ak_bus_publish() */
        NET_ACTION_FORGET,  /* drop the topic's last value */
        NET_ACTION_PREPARE, /* make the port exist and be right; answered with PREPARED */
        NET_ACTION_RELEASE, /* remove the port; answered with RELEASED */
        NET_ACTION_PEERS,   /* the ports of a subnet on other nodes are these */
        NET_ACTION_SWEEP,   /* remove subnets and VPCs of ours that have no port */
        NET_ACTION_WAKE,    /* TICK at wake_us; replaces an earlier one */
};

struct net_action {
        enum net_action_type type;
        union {
                struct {
                        struct ak_message *message;
                        bool retain;
                } publish;
                char *topic;
                struct {
                        uint64_t op;
                        struct net_port_spec *spec;
                } prepare;
                struct {
                        uint64_t op;
                        struct net_port_key key;
                } release;
                struct ak_message *peers; /* subnet.peers */
                uint64_t wake_us;
        };
};

struct net_actions {
        struct net_action *items;
        size_t count, capacity;
};

int net_core_new(struct net_core **out, const struct net_core_config *config);
struct net_core *net_core_free(struct net_core *core);
AK_DEFINE_CLEANUP(struct net_core *, net_core_free)
/* 0; -ENOMEM: the core may have missed the event (the watcher's next repeat heals it). */
int net_core_step(struct net_core *core, const struct net_event *event, uint64_t now_us, uint64_t real_us,
                  struct net_actions *out);
size_t net_core_port_count(const struct net_core *core);
/* Whose port has this tap; NULL: nobody's. */
const struct net_port_key *net_core_key_of_tap(const struct net_core *core, const char *tap);

void net_actions_clear(struct net_actions *actions);

/* The journal's forms (libcommon/journal.h). New references; NULL when out of memory. */
json_t *net_core_config_to_json(const struct net_core_config *config);
json_t *net_event_to_json(const struct net_event *event);
json_t *net_actions_to_json(const struct net_actions *actions);

/* An event read back from JSON owns its parts. */
struct net_owned_event {
        struct net_event event;
        struct ak_message *message;
        struct net_found_port *ports;
        char *peer;
};
int net_core_config_from_json(const json_t *json, struct net_core_config *out);
int net_event_from_json(const json_t *json, struct net_owned_event *out, char error[AK_SCHEMA_ERROR_SIZE]);
void net_owned_event_deinit(struct net_owned_event *event);
