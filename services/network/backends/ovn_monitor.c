/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps and wires that somebody deletes (the kernel tells), switches that somebody deletes (the database
 * tells). As in the bridge backend an event only says where to look; what is right by now is not reported.
 */
#include <errno.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "services/network/backends/ovn_internal.h"

#define MONITOR_BUFFER (1 << 20) /* of link events that nobody has read yet; some 2 KiB each */

static void push(struct ovn *o, enum vpc_event_type type, const char *id)
{
        struct ovn_monitor *m = &o->monitor;

        pthread_mutex_lock(&m->lock);
        bool known = false;
        for (size_t i = 0; i < m->count; i++)
                known |= m->queue[i].type == type && strcmp(m->queue[i].id, id) == 0;
        if (!known && m->count == OVN_MAX_EVENTS)
                m->lost = true;
        else if (!known) {
                m->queue[m->count].type = type;
                snprintf(m->queue[m->count++].id, AK_UUID_SIZE, "%s", id);
        }
        pthread_mutex_unlock(&m->lock);
        (void)eventfd_write(m->wake_fd, 1);
}

static bool pop(struct ovn *o, struct vpc_event *out)
{
        struct ovn_monitor *m = &o->monitor;

        pthread_mutex_lock(&m->lock);
        bool any = m->lost || m->count > 0;
        if (m->lost) {
                m->lost = false;
                m->count = 0;
                *out = (struct vpc_event){.type = VPC_EVENT_RESYNC};
        } else if (any) {
                *out = m->queue[0];
                memmove(m->queue, m->queue + 1, --m->count * sizeof(*m->queue));
        }
        pthread_mutex_unlock(&m->lock);
        return any;
}

/* ------------------------------------------------------------------ sources */

static void on_gone(void *arg, const char *table, const json_t *row)
{
        const char *name = json_string_value(json_object_get(row, "name"));

        if (strcmp(table, "Logical_Switch") == 0 && name && strncmp(name, "ak-", 3) == 0 &&
            ak_uuid_valid(name + 3))
                push(arg, VPC_EVENT_SUBNET_LOST, name + 3);
}

static void on_link(struct nl_object *object, void *arg)
{
        struct ovn *o = arg;
        struct net_label l;

        if (nl_object_get_msgtype(object) == RTM_DELLINK && rtnl_label((struct rtnl_link *)object, &l) &&
            l.kind == NET_LABEL_PORT && strcmp(l.node, o->node) == 0)
                push(o, VPC_EVENT_PORT_LOST, l.port_id);
}

static int on_message(struct nl_msg *msg, void *arg)
{
        (void)nl_msg_parse(msg, on_link, arg);
        return NL_OK;
}

static void receive(struct ovn *o)
{
        int r;

        do
                r = nl_recvmsgs_default(o->monitor.events);
        while (r >= 0);
        if (r == -NLE_AGAIN)
                return;
        pthread_mutex_lock(&o->monitor.lock); /* ENOBUFS, or a message that could not be read */
        o->monitor.lost = true;
        pthread_mutex_unlock(&o->monitor.lock);
}

/* ------------------------------------------------------------------ is it true? */

/* Whether a tap of ours is in the subnet. */
static bool subnet_is_used(struct ovn *o, const char *subnet_id)
{
        AK_CLEANUP(nl_cache_freep) struct nl_cache *links = NULL;
        struct net_label l;

        if (rtnl_all(o->monitor.ask, &links) < 0)
                return true;
        for (struct nl_object *i = nl_cache_get_first(links); i; i = nl_cache_get_next(i))
                if (rtnl_label((struct rtnl_link *)i, &l) && l.kind == NET_LABEL_PORT &&
                    strcmp(l.node, o->node) == 0 && strcmp(l.subnet_id, subnet_id) == 0)
                        return true;
        return false;
}

static bool is_gone(struct ovn *o, const char *name)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;

        return rtnl_get(o->monitor.ask, name, &link) == -ENODEV;
}

static bool is_true(struct ovn *o, const struct vpc_event *e)
{
        char name[48];

        switch (e->type) {
        case VPC_EVENT_PORT_LOST:
                return is_gone(o, net_tap_name(e->id).s) ||
                       (atomic_load(&o->wired) && is_gone(o, net_wire_name(e->id).s));
        case VPC_EVENT_SUBNET_LOST:
                snprintf(name, sizeof(name), "ak-%s", e->id);
                return !ovsdb_knows(o->nb, "Logical_Switch", "name", name) && subnet_is_used(o, e->id);
        case VPC_EVENT_DHCP_LOST:
        case VPC_EVENT_RESYNC:
                break;
        }
        return true;
}

/* ------------------------------------------------------------------ ops */

int ovn_event_fd(struct vpc_backend *backend)
{
        return ovn_of(backend)->monitor.epoll_fd;
}

int ovn_next_event(struct vpc_backend *backend, struct vpc_event *out)
{
        struct ovn *o = ovn_of(backend);
        struct vpc_event e;
        eventfd_t ignored;

        (void)eventfd_read(o->monitor.wake_fd, &ignored);
        receive(o);
        while (pop(o, &e))
                if (is_true(o, &e)) {
                        *out = e;
                        return 1;
                }
        return 0;
}

static int open_events(struct ovn *o)
{
        struct nl_sock *sock = nl_socket_alloc();

        if (!sock)
                return -ENOMEM;
        o->monitor.events = sock;
        nl_socket_disable_seq_check(sock);
        nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, o);
        int r = nl_connect(sock, NETLINK_ROUTE);
        if (r == 0)
                r = nl_socket_set_buffer_size(sock, MONITOR_BUFFER, 0);
        if (r == 0)
                r = nl_socket_set_nonblocking(sock);
        if (r == 0)
                r = nl_socket_add_membership(sock, RTNLGRP_LINK);
        return rtnl_errno(r);
}

int ovn_monitor_init(struct ovn *o)
{
        struct ovn_monitor *m = &o->monitor;
        struct epoll_event e = {.events = EPOLLIN};

        m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (m->wake_fd < 0 || m->epoll_fd < 0)
                return -errno;
        ovsdb_on_gone(o->nb, on_gone, o);
        int r = rtnl_open(&m->ask);
        if (r == 0)
                r = open_events(o);
        if (r < 0)
                return r;
        if (epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->wake_fd, &e) < 0 ||
            epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, nl_socket_get_fd(m->events), &e) < 0)
                return -errno;
        return 0;
}

/* After the database's reader has ended. */
void ovn_monitor_deinit(struct ovn *o)
{
        struct ovn_monitor *m = &o->monitor;

        nl_socket_free(m->events);
        nl_socket_free(m->ask);
        if (m->epoll_fd >= 0)
                (void)close(m->epoll_fd);
        if (m->wake_fd >= 0)
                (void)close(m->wake_fd);
        pthread_mutex_destroy(&m->lock);
}
