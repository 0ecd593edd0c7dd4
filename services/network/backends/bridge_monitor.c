/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to our links and servers behind our back.
 *
 * An event only says where to look: when it is taken from the queue, the kernel is asked whether the port or
 * subnet is wrong *now*. So our own doings, whose events arrive late, are not mistaken for losses. A lost
 * event (ENOBUFS) is told as RESYNC.
 */
#include <errno.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "services/network/backends/bridge_internal.h"
#include "services/network/backends/brnf.h"

#define MONITOR_BUFFER (1 << 20)

/* ------------------------------------------------------------------ queue */

static void push(struct monitor *m, enum vpc_event_type type, const char *id)
{
        struct vpc_event e = {.type = type};

        memcpy(e.id, id, sizeof(e.id));
        for (size_t i = 0; i < m->count; i++) { /* one look answers all of a kind */
                const struct vpc_event *known = &m->queue[(m->head + i) % MONITOR_MAX];

                if (known->type == type && strcmp(known->id, id) == 0)
                        return;
        }
        if (m->count == MONITOR_MAX) {
                m->lost = true;
                return;
        }
        m->queue[(m->head + m->count++) % MONITOR_MAX] = e;
}

static bool pop(struct monitor *m, struct vpc_event *out)
{
        if (m->count == 0)
                return false;
        *out = m->queue[m->head];
        m->head = (m->head + 1) % MONITOR_MAX;
        m->count--;
        return true;
}

/* ------------------------------------------------------------------ netlink */

static void on_link(struct nl_object *object, void *arg)
{
        struct bridge *b = arg;
        struct rtnl_link *link = (struct rtnl_link *)object;
        struct net_label l;

        if (!rtnl_label(link, &l) || strcmp(l.node, b->node) != 0) {
                if (rtnl_is(link, "bridge"))
                        brnf_check(b->fix_nf_call);
                return;
        }
        bool deleted = nl_object_get_msgtype(object) == RTM_DELLINK;
        bool loose = rtnl_link_get_master(link) == 0;
        if (l.kind == NET_LABEL_PORT && (deleted || loose))
                push(&b->monitor, VPC_EVENT_PORT_LOST, l.port_id);
        else if (l.kind == NET_LABEL_SUBNET && (deleted || (loose && !rtnl_is(link, "bridge"))))
                push(&b->monitor, VPC_EVENT_SUBNET_LOST, l.subnet_id);
}

static int on_message(struct nl_msg *msg, void *arg)
{
        int type = nlmsg_hdr(msg)->nlmsg_type;

        /* A bridge also tells of its ports in messages of its own family, without alias or kind. */
        struct ifinfomsg *info = nlmsg_data(nlmsg_hdr(msg));
        if ((type == RTM_NEWLINK || type == RTM_DELLINK) && info->ifi_family == AF_UNSPEC)
                (void)nl_msg_parse(msg, on_link, arg);
        return NL_OK;
}

static void receive(struct bridge *b)
{
        int r;

        do
                r = nl_recvmsgs_default(b->monitor.events);
        while (r >= 0);
        if (r != -NLE_AGAIN)
                b->monitor.lost = true; /* ENOBUFS, or a message that could not be read */
}

/* ------------------------------------------------------------------ servers */

static void server_ended(struct bridge *b, int pidfd)
{
        pthread_mutex_lock(&b->lock);
        for (size_t i = 0; i < b->subnet_count; i++) {
                struct subnet *s = b->subnets[i];

                /* Busy: whoever works on it looks for itself, and watches again afterwards. */
                if (s->busy || s->server.pidfd != pidfd || dhcp_alive(&s->server))
                        continue;
                (void)close(pidfd);
                s->server = (struct dhcp_server){0, -1};
                push(&b->monitor, VPC_EVENT_DHCP_LOST, s->id);
                break;
        }
        pthread_mutex_unlock(&b->lock);
}

void monitor_watch(struct bridge *b, const struct subnet *s)
{
        struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = s->server.pidfd};

        if (epoll_ctl(b->monitor.epoll_fd, EPOLL_CTL_ADD, s->server.pidfd, &e) < 0 && errno == EEXIST)
                (void)epoll_ctl(b->monitor.epoll_fd, EPOLL_CTL_MOD, s->server.pidfd, &e);
}

static bool gather(struct bridge *b)
{
        struct epoll_event events[16];
        int n = epoll_wait(b->monitor.epoll_fd, events, AK_ARRAY_SIZE(events), 0);

        for (int i = 0; i < n; i++)
                if (events[i].data.fd == nl_socket_get_fd(b->monitor.events))
                        receive(b);
                else
                        server_ended(b, events[i].data.fd);
        return n > 0;
}

/* ------------------------------------------------------------------ is it true? */

static bool port_is_right(struct bridge *b, const char *port_id)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *tap = NULL, *bridge = NULL;
        struct net_label l;

        if (rtnl_get(b->monitor.ask, net_tap_name(port_id).s, &tap) < 0 ||
            !bridge_owns(b, tap, NET_LABEL_PORT, &l) ||
            rtnl_get(b->monitor.ask, net_bridge_name(l.subnet_id).s, &bridge) < 0)
                return false;
        return rtnl_link_get_master(tap) == rtnl_link_get_ifindex(bridge);
}

static bool subnet_is_right(struct bridge *b, const char *subnet_id)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *bridge = NULL, *leg = NULL;

        if (rtnl_get(b->monitor.ask, net_bridge_name(subnet_id).s, &bridge) < 0 ||
            rtnl_get(b->monitor.ask, net_veth_name(subnet_id).s, &leg) < 0)
                return false;
        return rtnl_link_get_master(leg) == rtnl_link_get_ifindex(bridge) &&
               vxlan_is_right(b, b->monitor.ask, subnet_id, rtnl_link_get_ifindex(bridge));
}

/* Whether a call is working on it. Unknown subnets count as such: they are none of ours any more. */
static bool in_work(struct bridge *b, const struct vpc_event *e)
{
        bool known = false, busy = false;

        pthread_mutex_lock(&b->lock);
        for (size_t i = 0; i < b->subnet_count; i++) {
                const struct subnet *s = b->subnets[i];

                known |= strcmp(s->id, e->id) == 0;
                busy |= s->busy && (strcmp(s->id, e->id) == 0 || strcmp(s->busy_port, e->id) == 0);
        }
        pthread_mutex_unlock(&b->lock);
        return busy || (e->type != VPC_EVENT_PORT_LOST && !known);
}

static void not_standing(struct bridge *b, const char *subnet_id)
{
        pthread_mutex_lock(&b->lock);
        for (size_t i = 0; i < b->subnet_count; i++)
                if (!subnet_id || strcmp(b->subnets[i]->id, subnet_id) == 0)
                        b->subnets[i]->standing = false;
        pthread_mutex_unlock(&b->lock);
}

static bool is_true(struct bridge *b, const struct vpc_event *e)
{
        if (in_work(b, e))
                return false;
        switch (e->type) {
        case VPC_EVENT_PORT_LOST:
                return !port_is_right(b, e->id);
        case VPC_EVENT_SUBNET_LOST:
                if (subnet_is_right(b, e->id))
                        return false;
                not_standing(b, e->id);
                return true;
        case VPC_EVENT_DHCP_LOST:
        case VPC_EVENT_RESYNC:
                break;
        }
        return true;
}

/* ------------------------------------------------------------------ ops */

int bridge_event_fd(struct vpc_backend *b)
{
        return bridge_of(b)->monitor.epoll_fd;
}

int bridge_next_event(struct vpc_backend *backend, struct vpc_event *out)
{
        struct bridge *b = bridge_of(backend);
        struct vpc_event e;

        do {
                if (b->monitor.lost) {
                        b->monitor.lost = false;
                        not_standing(b, NULL);
                        *out = (struct vpc_event){.type = VPC_EVENT_RESYNC};
                        return 1;
                }
                while (pop(&b->monitor, &e))
                        if (is_true(b, &e)) {
                                *out = e;
                                return 1;
                        }
        } while (gather(b));
        return 0;
}

static int open_events(struct bridge *b)
{
        struct nl_sock *sock = nl_socket_alloc();

        if (!sock)
                return -ENOMEM;
        b->monitor.events = sock;
        nl_socket_disable_seq_check(sock);
        nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, b);
        int r = nl_connect(sock, NETLINK_ROUTE);
        if (r == 0)
                r = nl_socket_set_buffer_size(sock, MONITOR_BUFFER, 0);
        if (r == 0)
                r = nl_socket_set_nonblocking(sock);
        if (r == 0)
                r = nl_socket_add_membership(sock, RTNLGRP_LINK);
        return rtnl_errno(r);
}

int monitor_init(struct bridge *b)
{
        struct monitor *m = &b->monitor;
        struct epoll_event e = {.events = EPOLLIN};

        m->queue = calloc(MONITOR_MAX, sizeof(*m->queue));
        m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!m->queue || m->epoll_fd < 0)
                return -ENOMEM;
        int r = rtnl_open(&m->ask);
        if (r == 0)
                r = open_events(b);
        if (r < 0)
                return r;
        e.data.fd = nl_socket_get_fd(m->events);
        return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, e.data.fd, &e) < 0 ? -errno : 0;
}

void monitor_deinit(struct bridge *b)
{
        struct monitor *m = &b->monitor;

        nl_socket_free(m->events);
        nl_socket_free(m->ask);
        if (m->epoll_fd >= 0)
                (void)close(m->epoll_fd);
        free(m->queue);
}
