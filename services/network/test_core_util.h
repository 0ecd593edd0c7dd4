/* SPDX-License-Identifier: Apache-2.0 */
/* A core under test: sends it events, keeps what it asked for. */
#pragma once

#include "services/network/core.h"

struct bench {
        struct net_core *core;
        uint64_t now_us;
        struct net_actions last; /* of the last step */
        bool plain;              /* leave JSON out */
};

void bench_init(struct bench *b, uint32_t max_ports);
void bench_deinit(struct bench *b);
/* Steps with a copy of the event that went through JSON and back, so that every test is one of the codec. */
void bench_step(struct bench *b, const struct net_event *event);
void bench_inventory(struct bench *b, const struct net_found_port *ports, size_t count);
void bench_message(struct bench *b, const struct ak_message *m);
void bench_prepared(struct bench *b, uint64_t op, int error, uint32_t ifindex);
void bench_released(struct bench *b, uint64_t op, int error);
void bench_lost(struct bench *b, enum net_event_type type, const char *id);
void bench_tick(struct bench *b, uint64_t later_us);

/* Messages for port `n` of pod `pod`. The wish's address is not on the heap: it is not to be deinited. */
struct ak_message bench_wish(unsigned int n, unsigned int pod, bool present, uint64_t generation,
                             uint64_t attempt);
struct ak_message bench_nic(unsigned int n, unsigned int pod, enum ak_nic_state state, uint64_t generation);
struct ak_message bench_nic_attempt(unsigned int n, unsigned int pod, enum ak_nic_state state,
                                    uint64_t generation, uint64_t attempt);
struct ak_message bench_vm(unsigned int pod, enum ak_vm_phase phase, uint64_t generation);

/* The only action of its type in the last step; NULL when there is none. */
const struct net_action *bench_action(const struct bench *b, enum net_action_type type);
size_t bench_count(const struct bench *b, enum net_action_type type);
/* The last port.status published in the last step. */
const struct ak_port_status *bench_status(const struct bench *b);
