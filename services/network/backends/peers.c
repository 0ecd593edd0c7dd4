/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/peers.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "services/network/backends/rtnl.h"

/* Ordered and compared by its bytes: no padding, unused bytes zero. */
struct entry {
        uint8_t family; /* AF_BRIDGE, AF_INET, AF_INET6 */
        uint8_t flags;  /* NTF_SELF, NTF_MASTER of AF_BRIDGE */
        uint8_t mac[ETH_ALEN];
        uint8_t address_family; /* 4 or 6; 0 = none */
        uint8_t address[16];    /* AF_BRIDGE, NTF_SELF: the node; else the neighbour */
};

struct entries {
        struct entry *items;
        size_t count, capacity;
        int ifindex; /* of those to read */
        int error;
};

static int add(struct entries *e, const struct entry *entry)
{
        if (e->count == e->capacity) {
                size_t capacity = e->capacity ? e->capacity * 2 : 64;
                struct entry *items = reallocarray(e->items, capacity, sizeof(*items));

                if (!items)
                        return -ENOMEM;
                e->items = items;
                e->capacity = capacity;
        }
        e->items[e->count++] = *entry;
        return 0;
}

static void set_address(struct entry *e, const struct ak_ip *ip)
{
        e->address_family = ip->family;
        memcpy(e->address, ip->bytes, ip->family == 4 ? 4 : 16);
}

/* ------------------------------------------------------------------ what is wished */

static int wish_neighbours(struct entries *e, const uint8_t mac[ETH_ALEN], const char *list)
{
        struct ak_ip ip;
        char text[AK_IP_SIZE];

        while (*list) {
                size_t len = strcspn(list, ",");

                if (len == 0 || len >= sizeof(text))
                        return -EINVAL;
                snprintf(text, sizeof(text), "%.*s", (int)len, list);
                if (ak_ip_parse(text, &ip) < 0)
                        return -EINVAL;
                struct entry n = {.family = ip.family == 4 ? AF_INET : AF_INET6};
                memcpy(n.mac, mac, ETH_ALEN);
                set_address(&n, &ip);
                int r = add(e, &n);
                if (r < 0)
                        return r;
                list += len + (list[len] == ',');
        }
        return 0;
}

static int wish_line(struct entries *e, const char *line)
{
        char mac_text[AK_MAC_SIZE], mac[AK_MAC_SIZE], node[AK_IP_SIZE], addresses[512];
        struct entry self = {.family = AF_BRIDGE, .flags = NTF_SELF},
                     master = {.family = AF_BRIDGE, .flags = NTF_MASTER};
        struct ak_ip ip;
        int end = -1;

        if (sscanf(line, "%17s %45s %511s%n", mac_text, node, addresses, &end) != 3 || line[end] != '\0' ||
            ak_mac_parse(mac_text, mac) < 0 || ak_ip_parse(node, &ip) < 0)
                return -EINVAL;
        ak_mac_bytes(mac, self.mac);
        memcpy(master.mac, self.mac, ETH_ALEN);
        set_address(&self, &ip);
        int r = add(e, &self);
        if (r == 0)
                r = add(e, &master);
        return r == 0 ? wish_neighbours(e, self.mac, addresses) : r;
}

static int wish(struct entries *e, const char *text, struct net_error *error)
{
        char line[640];

        for (size_t len; *text; text += len + (text[len] == '\n')) {
                len = strcspn(text, "\n");
                snprintf(line, sizeof(line), "%.*s", (int)(len < sizeof(line) ? len : sizeof(line) - 1),
                         text);
                int r = len < sizeof(line) ? wish_line(e, line) : -EINVAL;
                if (r < 0) {
                        net_error_set(error, "InvalidPeers",
                                      "subnet.peers \"%.80s\": must be a MAC, a node's address and addresses",
                                      line);
                        return r;
                }
        }
        return 0;
}

/* ------------------------------------------------------------------ what is */

static void take_address(struct entry *e, const struct nlattr *a)
{
        size_t len = a ? (size_t)nla_len(a) : 0;

        if (len != 4 && len != 16)
                return;
        e->address_family = len == 4 ? 4 : 6;
        memcpy(e->address, nla_data(a), len);
}

/* Whether it is of the kind that we make: a link has entries of its own (multicast, its own MAC). */
static bool is_ours(const struct ndmsg *nd, const struct entry *e)
{
        if (e->family == AF_BRIDGE)
                return (e->flags == NTF_SELF && e->address_family != 0) ||
                       (e->flags == NTF_MASTER && (nd->ndm_state & NUD_NOARP));
        return (nd->ndm_state & NUD_PERMANENT) != 0;
}

static int on_entry(struct nl_msg *msg, void *arg)
{
        struct entries *e = arg;
        struct nlmsghdr *h = nlmsg_hdr(msg);
        const struct ndmsg *nd = nlmsg_data(h);
        struct nlattr *mac = nlmsg_find_attr(h, sizeof(*nd), NDA_LLADDR);
        struct entry found = {.family = nd->ndm_family};

        if (h->nlmsg_type != RTM_NEWNEIGH || nd->ndm_ifindex != e->ifindex || !mac ||
            nla_len(mac) != ETH_ALEN)
                return NL_OK;
        memcpy(found.mac, nla_data(mac), ETH_ALEN);
        if (found.family == AF_BRIDGE)
                found.flags = nlmsg_find_attr(h, sizeof(*nd), NDA_MASTER) ? NTF_MASTER : NTF_SELF;
        if (found.flags != NTF_MASTER)
                take_address(&found, nlmsg_find_attr(h, sizeof(*nd), NDA_DST));
        if (is_ours(nd, &found) && add(e, &found) < 0)
                e->error = -ENOMEM;
        return NL_OK;
}

static int read_family(struct nl_sock *sock, uint8_t family, struct entries *e)
{
        struct ndmsg nd = {.ndm_family = family, .ndm_ifindex = family == AF_BRIDGE ? 0 : e->ifindex};
        struct nl_cb *cb = nl_cb_clone(nl_socket_get_cb(sock));

        if (!cb)
                return -ENOMEM;
        nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_entry, e);
        int r = nl_send_simple(sock, RTM_GETNEIGH, NLM_F_DUMP, &nd, sizeof(nd));
        if (r >= 0)
                r = nl_recvmsgs(sock, cb);
        nl_cb_put(cb);
        return r < 0 ? rtnl_errno(r) : e->error;
}

static int read_kernel(struct nl_sock *sock, struct entries *e)
{
        int r = read_family(sock, AF_BRIDGE, e);

        if (r == 0)
                r = read_family(sock, AF_INET, e);
        return r == 0 ? read_family(sock, AF_INET6, e) : r;
}

/* ------------------------------------------------------------------ the difference */

static int change(struct nl_sock *sock, int ifindex, const struct entry *e, bool present)
{
        struct ndmsg nd = {.ndm_family = e->family,
                           .ndm_ifindex = ifindex,
                           .ndm_flags = e->flags,
                           .ndm_state = e->flags == NTF_MASTER ? NUD_NOARP : NUD_PERMANENT};
        struct nl_msg *msg = nlmsg_alloc_simple(present ? RTM_NEWNEIGH : RTM_DELNEIGH,
                                                present ? NLM_F_CREATE | NLM_F_REPLACE : 0);
        size_t len = e->address_family == 4 ? 4 : 16;

        if (e->flags == NTF_SELF)
                nd.ndm_state |= NUD_NOARP;
        if (!msg || nlmsg_append(msg, &nd, sizeof(nd), NLMSG_ALIGNTO) < 0 ||
            nla_put(msg, NDA_LLADDR, ETH_ALEN, e->mac) < 0 ||
            (e->address_family != 0 && nla_put(msg, NDA_DST, (int)len, e->address) < 0)) {
                nlmsg_free(msg);
                return -ENOMEM;
        }
        int r = rtnl_errno(nl_send_sync(sock, msg));
        return !present && (r == -ENODEV || r == -ENOENT) ? 0 : r;
}

static int compare(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct entry));
}

static bool holds(const struct entries *e, const struct entry *entry)
{
        return e->count > 0 && bsearch(entry, e->items, e->count, sizeof(*entry), compare) != NULL;
}

/* Changes what `all` has and `but` has not. */
static int change_rest(struct nl_sock *sock, const struct entries *all, const struct entries *but,
                       int ifindex, bool present)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < all->count; i++)
                if (!holds(but, &all->items[i]))
                        r = change(sock, ifindex, &all->items[i], present);
        return r;
}

static void sort(struct entries *e)
{
        if (e->count > 0)
                qsort(e->items, e->count, sizeof(*e->items), compare);
}

int peers_apply(struct nl_sock *sock, int vxlan_ifindex, const char *text, struct net_error *error)
{
        struct entries wished = {0}, now = {.ifindex = vxlan_ifindex};
        int r = wish(&wished, text, error);

        if (r == 0) {
                r = read_kernel(sock, &now);
                sort(&wished);
                sort(&now);
                if (r == 0) /* first: a MAC that moved has one node at a time */
                        r = change_rest(sock, &now, &wished, vxlan_ifindex, false);
                if (r == 0)
                        r = change_rest(sock, &wished, &now, vxlan_ifindex, true);
                if (r < 0)
                        net_error_set(error, "PeersFailed", "forwarding entries of a VXLAN link: %s",
                                      strerror(-r));
        }
        free(wished.items);
        free(now.items);
        return r;
}

int peers_check(const char *text, struct net_error *error)
{
        struct entries wished = {0};
        int r = wish(&wished, text, error);

        free(wished.items);
        return r;
}
