/* SPDX-License-Identifier: Apache-2.0 */
/* A backend without a host: ports in a table, events by hand. For tests, and for a node without root. */
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
        struct net_found_port *ports;
        size_t count;
        struct vpc_event events[64]; /* a ring would be more than the tests need */
        size_t event_count;
};

static struct fake_backend *fake(struct vpc_backend *b)
{
        return (struct fake_backend *)b;
}

static struct net_found_port *find(struct fake_backend *f, const char *port_id)
{
        for (size_t i = 0; i < f->count; i++)
                if (strcmp(f->ports[i].key.port_id, port_id) == 0)
                        return &f->ports[i];
        return NULL;
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
        memcpy(copy, f->ports, f->count * sizeof(*copy));
        out->ports = copy;
        out->count = f->count;
        pthread_mutex_unlock(&f->lock);
        return 0;
}

static int add(struct fake_backend *f, const struct net_port_spec *spec, struct net_found_port **out,
               struct net_error *error)
{
        if (f->count == FAKE_MAX) {
                net_error_set(error, "TooManyPorts", "the fake backend holds %d ports", FAKE_MAX);
                return -ENOSPC;
        }
        struct net_found_port *p = &f->ports[f->count++];
        p->key = spec->key;
        p->ifindex = ++f->next_ifindex;
        snprintf(p->ifname, sizeof(p->ifname), "%s", net_tap_name(spec->key.port_id).s);
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
                p = find(f, spec->key.port_id);
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

static void drop(struct fake_backend *f, const char *port_id)
{
        struct net_found_port *p = find(f, port_id);

        if (p)
                *p = f->ports[--f->count];
}

static int fake_release(struct vpc_backend *b, const struct net_port_key *key, struct net_error *error)
{
        struct fake_backend *f = fake(b);

        pthread_mutex_lock(&f->lock);
        int r = take_failure(f, error);
        if (r == 0)
                drop(f, key->port_id);
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
        f->count = 0;
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

static void fake_free(struct vpc_backend *b)
{
        struct fake_backend *f = fake(b);

        pthread_mutex_destroy(&f->lock);
        (void)close(f->fd);
        free(f->ports);
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

int vpc_fake_new(struct vpc_backend **out)
{
        struct fake_backend *f = calloc(1, sizeof(*f));

        if (!f)
                return -ENOMEM;
        f->base.ops = &fake_ops;
        f->ports = calloc(FAKE_MAX, sizeof(*f->ports));
        f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&f->lock, NULL);
        if (!f->ports || f->fd < 0) {
                fake_free(&f->base);
                return -ENOMEM;
        }
        *out = &f->base;
        return 0;
}

struct vpc_backend *vpc_fake_restart(struct vpc_backend *b)
{
        struct vpc_backend *next = NULL;
        struct fake_backend *f = fake(b);

        if (vpc_fake_new(&next) == 0) {
                memcpy(fake(next)->ports, f->ports, f->count * sizeof(*f->ports));
                fake(next)->count = f->count;
                fake(next)->next_ifindex = f->next_ifindex;
        }
        fake_free(b);
        return next;
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
                drop(f, id);
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
        size_t subnets = 0;

        pthread_mutex_lock(&f->lock);
        for (size_t i = 0; i < f->count; i++) {
                size_t first = 0;

                while (strcmp(f->ports[first].key.subnet_id, f->ports[i].key.subnet_id) != 0)
                        first++;
                subnets += first == i;
        }
        pthread_mutex_unlock(&f->lock);
        return subnets;
}
