/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by filter.c, filter_port.c, filter_state.c and filter_table.c only. */
#pragma once

#include <jansson.h>
#include <net/if.h>

#include "services/network/backends/filter.h"

#define FILTER_HASH_SIZE 33 /* 128 bits of SHA-256, in hex */

/* Rules that ports share. */
struct filter_rules {
        char hash[FILTER_HASH_SIZE]; /* of the rules' text */
        uint32_t id;
        size_t refs;
        char *commands; /* make its chains; NULL: found in the kernel, made by an earlier process */
};

struct filter_port {
        char tap[IFNAMSIZ], near[IFNAMSIZ], far[IFNAMSIZ]; /* near, far: "" without a wire */
        bool ingress;                                      /* of an ingress table */
        uint32_t mark;
        struct filter_rules *rules; /* NULL = not restricted */
        uint32_t egress_kbps;       /* by a limit object, filter_limit_name() */
        char *elements;             /* lines "SET ELEMENT", in libnftables' words */
};

struct filter_state {
        struct filter_port **ports;
        struct filter_rules **rules;
        bool ingress;
        size_t port_count, port_capacity, rules_count, rules_capacity;
};

struct filter_name {
        char s[40];
};

/* filter_table.c: makes the table, or leaves one that stands as it is. Free with free(); NULL: out of memory.
 */
char *filter_table_commands(const char *table, bool ingress);
/* The rules of `spec` as chains o-HASH and i-HASH. */
char *filter_rules_commands(const char *table, const char *hash, const struct net_port_spec *spec);

/* filter_port.c */

void filter_rules_hash(const struct net_port_spec *spec, char out[FILTER_HASH_SIZE]);
struct filter_name filter_limit_name(uint32_t mark, uint32_t kbps);
/* The elements of a port, as struct filter_port has them; mark, rules and egress_kbps are p's. */
char *filter_port_elements(const struct filter_port *p, const struct net_port_spec *spec);
/*
 * The transaction that turns `old` into `new`, either of which may be NULL. `fresh`: the rules of new are not
 * in the kernel; `stale`: nobody else has the rules of old; `alone`: no other port has any rules.
 */
char *filter_change_commands(const char *table, const struct filter_port *old, const struct filter_port *new,
                             bool fresh, bool stale, bool alone);
/* Puts everything back that the state knows; no error where it is there. */
char *filter_restore_commands(const char *table, const struct filter_state *state);

/* filter_state.c */

struct filter_port *filter_port_free(struct filter_port *p); /* leaves the rules */
struct filter_rules *filter_rules_free(struct filter_rules *r);
void filter_state_deinit(struct filter_state *s);
struct filter_port *filter_state_port(const struct filter_state *s, const char *tap);
struct filter_rules *filter_state_rules(const struct filter_state *s, const char *hash);
/* Takes the port, in the place of one of its tap, which is freed. -ENOMEM. */
int filter_state_put(struct filter_state *s, struct filter_port *p);
int filter_state_put_rules(struct filter_state *s, struct filter_rules *r);
void filter_state_drop(struct filter_state *s, const char *tap);
void filter_state_drop_rules(struct filter_state *s, struct filter_rules *r);
/* A number that no port and no rules have. */
uint32_t filter_state_draw(const struct filter_state *s);
/*
 * Reads the kernel's elements into an empty state. list(arg, "map" | "set", NAME) gives what
 * `nft -j list … NAME` says, or NULL.
 */
int filter_state_load(struct filter_state *s, json_t *(*list)(void *arg, const char *kind, const char *name),
                      void *arg);
