/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the core's files only. */
#pragma once

#include <sys/queue.h>

#include "libcommon/backoff.h"
#include "libcommon/deadlines.h"
#include "services/network/core.h"

enum net_wish { NET_UNCLAIMED, NET_WANTED, NET_UNWANTED };

enum net_have {
        NET_NONE,      /* nothing of it is on the host */
        NET_PREPARING, /* the backend is at it */
        NET_PREPARED,
        NET_BROKEN, /* preparing failed; something may be left */
        NET_RELEASING,
        NET_STUCK, /* releasing failed */
};

/* Names a wish. Within a generation the attempt counts, whatever the direction. */
struct net_key {
        uint64_t generation, attempt;
};

struct net_port {
        struct net_port_key key; /* subnet_id empty until known */
        enum net_wish wish;
        enum net_have have;
        struct ak_nic_diff diff; /* the latest wish; only the key where unclaimed */

        uint64_t op; /* of the running operation */
        TAILQ_ENTRY(net_port) running;
        struct net_key op_key;  /* of the wish that it serves */
        struct net_key tried;   /* of the last operation that failed */
        struct net_error fault; /* why it failed */
        const char *cause;      /* why it is being prepared; static; NULL = as wished */
        bool verify;            /* prepared, but the kernel may differ: prepare once more */
        bool lost; /* told to be gone while it was being prepared: before it was made, or after */
        bool spec_known;
        struct net_port_spec spec; /* as last prepared */
        struct net_prepared prepared;

        struct net_key absent_since; /* from which on evidence counts; while unwanted */
        bool nic_gone;               /* evidence that the VM has let go … */
        struct net_key nic_gone_key; /* … and the wish that it answers */

        bool published;
        struct ak_port_status status;
        struct ak_deadline forget; /* released: when the topic is forgotten */
};

/* A DHCP server that keeps dying is started again ever more slowly. */
struct net_dhcp {
        char subnet_id[AK_UUID_SIZE];
        struct ak_backoff backoff;
        uint64_t last_us, due_us; /* due 0 = nothing to do */
};

#define NET_MAX_DHCP_FAULTS 64

struct net_core {
        struct net_core_config config;
        struct net_port **ports; /* sorted by port ID, then pod UID */
        size_t count, capacity;
        /* Those that are being prepared or released, the longest first: the next answer is of one of the
         * first. */
        TAILQ_HEAD(net_running, net_port) running;
        struct ak_deadlines forget;
        bool started;
        uint64_t next_op;
        uint64_t claim_due_us; /* 0 = done */
        struct net_dhcp dhcp[NET_MAX_DHCP_FAULTS];
        size_t dhcp_count;
        uint64_t wake_us; /* asked for; 0 = none */
};

/* Appends a zeroed action; NULL when out of memory. */
struct net_action *net_actions_add(struct net_actions *actions, enum net_action_type type);

/* Index of the first record that is not before (port_id, pod_uid). */
size_t net_core_lower_bound(const struct net_core *core, const char *port_id, const char *pod_uid);

/* core_port.c: brings one port a step closer to its wish. `answer`: say the state even if it is no news. */
int net_port_settle(struct net_core *core, struct net_port *port, bool answer, uint64_t now_us,
                    struct net_actions *out);
/* -1, 0, 1: a is the earlier, the same, the later wish. */
int net_key_compare(struct net_key a, struct net_key b);
struct net_key net_port_key_of_wish(const struct net_port *port);
/* Whether the VM is known to have let go of the port since it is unwanted. */
bool net_port_let_go(const struct net_port *port);
int net_port_publish(struct net_port *port, enum ak_port_state state, const char *reason, const char *message,
                     bool answer, struct net_actions *out);
