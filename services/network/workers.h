/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads in which the backend's calls run. Jobs wait in one list; an idle worker gets the first whose
 * subnet no other worker is busy with. So the jobs of a subnet keep their order, and a subnet whose DHCP
 * server does not start holds up nothing but itself (and one worker).
 */
#pragma once

#include <czmq.h>

#include "services/network/backends/backend.h"

enum net_job_type { NET_JOB_PREPARE, NET_JOB_RELEASE, NET_JOB_PEERS, NET_JOB_SWEEP, NET_JOB_INVENTORY };

struct net_job {
        enum net_job_type type;
        uint64_t op;
        char lane[AK_UUID_SIZE];    /* subnet; "" for jobs of no subnet, which keep their order too */
        struct net_port_spec *spec; /* PREPARE */
        struct net_port_key key;    /* RELEASE */
        struct ak_message *peers;   /* PEERS: subnet.peers */
        /* the answer */
        int error;
        uint64_t took_us;
        struct net_error text;
        struct net_prepared prepared;
        struct vpc_inventory inventory;
};

struct net_job *net_job_new(enum net_job_type type, const char *lane);
struct net_job *net_job_free(struct net_job *job);

struct net_workers;

/* on_done gets each finished job, in the loop's thread, and owns it. */
int net_workers_new(struct net_workers **out, zloop_t *loop, struct vpc_backend *backend, size_t max,
                    void (*on_done)(void *arg, struct net_job *job), void *arg);
/* Waits for the calls under way; jobs that wait are dropped. */
struct net_workers *net_workers_free(struct net_workers *workers);
/* Jobs that wait for a worker. */
size_t net_workers_waiting(const struct net_workers *workers);
/* Takes the job. -ENOMEM: not taken. */
int net_workers_run(struct net_workers *workers, struct net_job *job);
