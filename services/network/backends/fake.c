/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend without a host: ports in a table, events by hand. For tests, and for a node without root. Where
 * the state directory has a file VPC_FAKE_KEPT, which may be empty, the ports are written there at the end
 * and are found by the next process, as taps are.
 */
#include <czmq.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "services/network/backends/backend.h"
#include "services/network/backends/peers.h"
#include "services/network/label.h"

#define FAKE_MAX NET_MAX_PORTS

struct fake_backend {
        struct vpc_backend base;
        pthread_mutex_t lock;
        int fd;
        int fail_next;
        uint32_t next_ifindex;
        zhashx_t *ports;             /* port ID -> struct net_found_port, owned */
        char *kept;                  /* path of the file of ports that outlive this process; NULL = none do */
        struct vpc_event events[64]; /* a ring would be more than the tests need */
        size_t event_count;
};

static struct fake_backend *fake(struct vpc_backend *b)
{
        return (struct fake_backend *)b;
}

static int take_failure(struct fake_backend *f, struct net_error *error)
{
        int r = f->fail_next;

        f->fail_next = 0;
        if (r < 0)
                net_error_set(error, "FakeFailure", "asked to fail: %s", strerror(-r));
        return r;
}

static int fake_inventory(struct vpc_backend *b, struct vpc_inventory *out, struct net_error *error)
{
        struct fake_backend *f = fake(b);
        struct net_found_port *copy = calloc(FAKE_MAX, sizeof(*copy));

        if (!copy) {
                net_error_set(error, "OutOfMemory", "out of memory");
                return -ENOMEM;
        }
        pthread_mutex_lock(&f->lock);
        out->ports = copy;
        out->count = 0;
        for (const struct net_found_port *p = zhashx_first(f->ports); p; p = zhashx_next(f->ports))
                copy[out->count++] = *p;
        pthread_mutex_unlock(&f->lock);
        return 0;
}

static int add(struct fake_backend *f, const struct net_port_spec *spec, struct net_found_port **out,
               struct net_error *error)
{
        if (zhashx_size(f->ports) == FAKE_MAX) {
                net_error_set(error, "TooManyPorts", "the fake backend holds %d ports", FAKE_MAX);
                return -ENOSPC;
        }
        struct net_found_port *p = calloc(1, sizeof(*p));
        if (!p) {
                net_error_set(error, "OutOfMemory", "out of memory");
                return -ENOMEM;
        }
        p->key = spec->key;
        p->ifindex = ++f->next_ifindex;
        snprintf(p->ifname, sizeof(p->ifname), "%s", net_tap_name(spec->key.port_id).s);
        zhashx_update(f->ports, p->key.port_id, p);
        *out = p;
        return 0;
}

static int fake_prepare(struct vpc_backend *b, const struct net_port_spec *spec, struct net_prepared *out,
                        struct net_error *error)
{
        struct fake_backend *f = fake(b);
        struct net_found_port *p;

        pthread_mutex_lock(&f->lock);
        int r = take_failure(f, error);
        if (r == 0) {
                p = zhashx_lookup(f->ports, spec->key.port_id);
                if (p && strcmp(p->key.pod_uid, spec->key.pod_uid) != 0) {
                        net_error_set(error, "NotOurs", "port %s is held for pod %s", p->key.port_id,
                                      p->key.pod_uid);
                        r = -EEXIST;
                } else if (!p) {
                        r = add(f, spec, &p, error);
                }
        }
        if (r == 0) {
                *out = (struct net_prepared){.ifindex = p->ifindex, .mtu = spec->mtu, .took_us = 1};
                memcpy(out->ifname, p->ifname, sizeof(out->ifname));
        }
        pthread_mutex_unlock(&f->lock);
        return r;
}

static int fake_release(struct vpc_backend *b, const struct net_port_key *key, struct net_error *error)
{
        struct fake_backend *f = fake(b);

        pthread_mutex_lock(&f->lock);
        int r = take_failure(f, error);
        if (r == 0)
                zhashx_delete(f->ports, key->port_id);
        pthread_mutex_unlock(&f->lock);
        return r;
}

static int fake_set_peers(struct vpc_backend *b, const struct ak_subnet_peers *peers, struct net_error *error)
{
        (void)b;
        return peers_check(peers->peers ? peers->peers : "", error); /* there are no other nodes */
}

static int fake_sweep(struct vpc_backend *b, struct net_error *error)
{
        (void)b;
        (void)error;
        return 0; /* subnets here are what ports make of them */
}

static int fake_teardown(struct vpc_backend *b, struct net_error *error)
{
        struct fake_backend *f = fake(b);

        (void)error;
        pthread_mutex_lock(&f->lock);
        zhashx_purge(f->ports);
        pthread_mutex_unlock(&f->lock);
        return 0;
}

static int fake_event_fd(struct vpc_backend *b)
{
        return fake(b)->fd;
}

static int fake_next_event(struct vpc_backend *b, struct vpc_event *out)
{
        struct fake_backend *f = fake(b);
        eventfd_t ignored;
        int r = 0;

        pthread_mutex_lock(&f->lock);
        if (f->event_count > 0) {
                *out = f->events[0];
                memmove(f->events, f->events + 1, --f->event_count * sizeof(*f->events));
                r = 1;
        } else {
                (void)eventfd_read(f->fd, &ignored);
        }
        pthread_mutex_unlock(&f->lock);
        return r;
}

/* ------------------------------------------------------------------ ports that outlive the process */

static void keep_ports(const struct fake_backend *f)
{
        FILE *out = fopen(f->kept, "we");

        for (const struct net_found_port *p = out ? zhashx_first(f->ports) : NULL; p;
             p = zhashx_next(f->ports))
                fprintf(out, "%s %s %s %u\n", p->key.port_id, p->key.pod_uid, p->key.subnet_id, p->ifindex);
        if (out)
                (void)fclose(out);
}

static void keep_one(struct fake_backend *f, const struct net_found_port *found)
{
        struct net_found_port *p = calloc(1, sizeof(*p));

        if (!p)
                return;
        *p = *found;
        snprintf(p->ifname, sizeof(p->ifname), "%s", net_tap_name(p->key.port_id).s);
        zhashx_update(f->ports, p->key.port_id, p);
        if (p->ifindex > f->next_ifindex)
                f->next_ifindex = p->ifindex;
}

static int find_kept(struct fake_backend *f, const char *state_dir)
{
        struct net_found_port p = {0};
        FILE *in;

        if (asprintf(&f->kept, "%s/" VPC_FAKE_KEPT, state_dir) < 0) {
                f->kept = NULL;
                return -ENOMEM;
        }
        in = fopen(f->kept, "re");
        if (!in) {
                free(f->kept);
                f->kept = NULL;
                return 0;
        }
        char ifindex[16];
        while (fscanf(in, "%36s %36s %36s %15s", p.key.port_id, p.key.pod_uid, p.key.subnet_id, ifindex) ==
               4) {
                p.ifindex = (uint32_t)strtoul(ifindex, NULL, 10);
                keep_one(f, &p);
        }
        (void)fclose(in);
        return 0;
}

/* ------------------------------------------------------------------ life */

static void fake_free(struct vpc_backend *b)
{
        struct fake_backend *f = fake(b);

        if (f->kept)
                keep_ports(f);
        free(f->kept);
        pthread_mutex_destroy(&f->lock);
        (void)close(f->fd);
        zhashx_destroy(&f->ports);
        free(f);
}

static const struct vpc_backend_ops fake_ops = {
    .name = "fake",
    .inventory = fake_inventory,
    .prepare = fake_prepare,
    .release = fake_release,
    .set_peers = fake_set_peers,
    .sweep = fake_sweep,
    .teardown = fake_teardown,
    .event_fd = fake_event_fd,
    .next_event = fake_next_event,
    .free = fake_free,
};

static void free_port(void **item)
{
        free(*item);
        *item = NULL;
}

int vpc_fake_new(struct vpc_backend **out, const char *state_dir)
{
        struct fake_backend *f = calloc(1, sizeof(*f));
        int r = 0;

        if (!f)
                return -ENOMEM;
        f->base.ops = &fake_ops;
        f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&f->lock, NULL);
        f->ports = zhashx_new();
        if (!f->ports || f->fd < 0)
                r = -ENOMEM;
        if (f->ports)
                zhashx_set_destructor(f->ports, free_port);
        if (r == 0 && state_dir)
                r = find_kept(f, state_dir);
        if (r < 0) {
                fake_free(&f->base);
                return r;
        }
        *out = &f->base;
        return 0;
}

void vpc_fake_fail_next(struct vpc_backend *b, int error)
{
        pthread_mutex_lock(&fake(b)->lock);
        fake(b)->fail_next = error;
        pthread_mutex_unlock(&fake(b)->lock);
}

void vpc_fake_lose(struct vpc_backend *b, enum vpc_event_type type, const char *id)
{
        struct fake_backend *f = fake(b);

        pthread_mutex_lock(&f->lock);
        if (type == VPC_EVENT_PORT_LOST)
                zhashx_delete(f->ports, id);
        if (f->event_count < AK_ARRAY_SIZE(f->events)) {
                struct vpc_event *e = &f->events[f->event_count++];

                e->type = type;
                snprintf(e->id, sizeof(e->id), "%s", id);
        }
        pthread_mutex_unlock(&f->lock);
        (void)eventfd_write(f->fd, 1);
}

size_t vpc_fake_subnet_count(struct vpc_backend *b)
{
        struct fake_backend *f = fake(b);
        zhashx_t *subnets = zhashx_new();

        pthread_mutex_lock(&f->lock);
        for (const struct net_found_port *p = zhashx_first(f->ports); p; p = zhashx_next(f->ports))
                (void)zhashx_insert(subnets, p->key.subnet_id, f);
        pthread_mutex_unlock(&f->lock);
        size_t count = zhashx_size(subnets);
        zhashx_destroy(&subnets);
        return count;
}
