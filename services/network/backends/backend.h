/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What carries a VPC on a host. `bridge` is the real one; `fake` keeps everything in memory. Both pass the
 * contract suite (test_contract.c).
 *
 * Threads: every call may block and may come from any thread at any time, except new, teardown and free (no
 * other call runs meanwhile) and event_fd, next_event (the reactor's own; they do not block). Calls for
 * different subnets do not wait for one another's DHCP servers; those for one subnet run one by one.
 *
 * Errors: negative errno, and *error says what and what to do about it. -EEXIST: something on the host has
 * the name but is not ours; it is left alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "services/network/core.h"
#include "services/network/spec.h"

struct vpc_backend;

enum vpc_event_type {
        VPC_EVENT_PORT_LOST,   /* id = port */
        VPC_EVENT_SUBNET_LOST, /* id = subnet */
        VPC_EVENT_DHCP_LOST,   /* id = subnet */
        VPC_EVENT_RESYNC,      /* events were lost: take the inventory again */
};

struct vpc_event {
        enum vpc_event_type type;
        char id[AK_UUID_SIZE];
};

struct vpc_inventory {
        struct net_found_port *ports; /* freed by the caller with free() */
        size_t count;
};

typedef void vpc_drops_fn(void *arg, const char *port, const char *reason, uint64_t packets);

struct vpc_backend_ops {
        const char *name;

        /*
         * Lists the ports of our node and adopts what stands (DHCP servers are watched, or ended where they
         * are not as we would start them). Changes nothing that is in use. Repeatable.
         */
        int (*inventory)(struct vpc_backend *b, struct vpc_inventory *out, struct net_error *error);

        /*
         * Makes the port, its subnet and its VPC exist and be as `spec` says. Twice: looks, changes nothing,
         * gives the same result. On return of 0 a frame of the VM reaches the subnet, and where spec->dhcp a
         * DISCOVER from its MAC is answered with its first address. On failure whatever this call made is
         * removed again; what was there before stays.
         */
        int (*prepare)(struct vpc_backend *b, const struct net_port_spec *spec, struct net_prepared *out,
                       struct net_error *error);

        /*
         * Removes the port: filters, DHCP entry and lease, device, in this order; then its subnet if that has
         * no port left, then its VPC if that has no subnet left. Twice, or of a port that never was: 0.
         */
        int (*release)(struct vpc_backend *b, const struct net_port_key *key, struct net_error *error);

        /*
         * The ports of the subnet on other nodes are those listed (as subnet.peers has them), and no others:
         * on return of 0 their frames come and go, and nobody else's. May come before the subnet is here:
         * kept until it is. A subnet without a port here is made for as long as its VPC has one, so that the
         * others are reached through the VPC's router. Twice: nothing. -EOPNOTSUPP: this backend needs no
         * telling.
         */
        int (*set_peers)(struct vpc_backend *b, const struct ak_subnet_peers *peers, struct net_error *error);

        /* Removes subnets and VPCs of our node that have no port, */
        int (*sweep)(struct vpc_backend *b, struct net_error *error);

        /*
         * Calls fn with what was dropped since the node's filters were made, by reason: of all ports (port
         * NULL) and, where `by_port`, of each port that lost something within a day (by its tap). NULL: this
         * backend does not count. One transaction with nftables, and one per reason where by_port.
         */
        int (*drops)(struct vpc_backend *b, bool by_port, vpc_drops_fn *fn, void *arg,
                     struct net_error *error);

        /* Removes everything of our node, in use or not. 0 when nothing is left. */
        int (*teardown)(struct vpc_backend *b, struct net_error *error);

        /* Readable when next_event() has something; owned by the backend. -1: never. */
        int (*event_fd)(struct vpc_backend *b);
        /* 1 and *out; 0 when there is none; negative errno. A port or subnet that a call is working on is
         * not reported, and neither is one that is right by now. */
        int (*next_event)(struct vpc_backend *b, struct vpc_event *out);

        /* Leaves the host as it is: VMs go on. */
        void (*free)(struct vpc_backend *b);
};

/* Backends embed this first. */
struct vpc_backend {
        const struct vpc_backend_ops *ops;
};

static inline struct vpc_backend *vpc_backend_free(struct vpc_backend *b)
{
        if (b)
                b->ops->free(b);
        return NULL;
}
AK_DEFINE_CLEANUP(struct vpc_backend *, vpc_backend_free)

struct bridge_options {
        const char *node;         /* net_node_valid() */
        const char *state_dir;    /* absolute; made if absent */
        const char *dnsmasq_path; /* absolute */
        uint32_t lease_seconds;   /* at least 120, dnsmasq's smallest */
        bool anti_spoofing;       /* filter what VMs send; needs nftables' bridge family */
        bool keep_bridge_nf_call; /* leave net.bridge.bridge-nf-call-* as they are (brnf.h) */
        const char *vtep;         /* our address for other nodes' VXLAN; NULL or "": one node only */
};
int vpc_bridge_new(struct vpc_backend **out, const struct bridge_options *options, struct net_error *error);

struct ovn_options {
        const char *node;     /* net_node_valid() */
        const char *nb, *ovs; /* OVSDB servers, "unix:PATH" or "tcp:ADDRESS:PORT": northbound, this node's */
        uint32_t lease_seconds;
        const char *encap_ip; /* our Geneve address, for the MTU; NULL or "": no limit */
        bool anti_spoofing; /* look at what VMs send before OVN does, and count; needs nftables' netdev family
                             */
};
int vpc_ovn_new(struct vpc_backend **out, const struct ovn_options *options, struct net_error *error);

/* The file of the state directory that makes a fake backend's ports outlive the process. */
#define VPC_FAKE_KEPT "fake-ports"
/* state_dir: where VPC_FAKE_KEPT is looked for; NULL = the ports end with the backend. */
int vpc_fake_new(struct vpc_backend **out, const char *state_dir);
/* For tests of the shell: the next prepare or release fails so; a port or DHCP server is lost. */
void vpc_fake_fail_next(struct vpc_backend *b, int error);
void vpc_fake_lose(struct vpc_backend *b, enum vpc_event_type type, const char *id);
size_t vpc_fake_subnet_count(struct vpc_backend *b);
