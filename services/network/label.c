/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/label.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool net_node_valid(const char *node)
{
        return strlen(node) <= NET_NODE_MAX && ak_dns1123_subdomain_valid(node);
}

void net_label_format(const struct net_label *l, char out[NET_LABEL_SIZE])
{
        switch (l->kind) {
        case NET_LABEL_PORT:
                snprintf(out, NET_LABEL_SIZE, "alkaid node=%s port=%s pod=%s subnet=%s", l->node, l->port_id,
                         l->pod_uid, l->subnet_id);
                break;
        case NET_LABEL_SUBNET:
                snprintf(out, NET_LABEL_SIZE, "alkaid node=%s subnet=%s vpc=%s", l->node, l->subnet_id,
                         l->vpc_id);
                break;
        case NET_LABEL_VPC:
                snprintf(out, NET_LABEL_SIZE, "alkaid node=%s vpc=%s", l->node, l->vpc_id);
                break;
        }
}

void net_port_label(const char *node, const struct net_port_key *key, char out[NET_LABEL_SIZE])
{
        struct net_label l = {.kind = NET_LABEL_PORT};

        snprintf(l.node, sizeof(l.node), "%s", node);
        memcpy(l.port_id, key->port_id, sizeof(l.port_id));
        memcpy(l.pod_uid, key->pod_uid, sizeof(l.pod_uid));
        memcpy(l.subnet_id, key->subnet_id, sizeof(l.subnet_id));
        net_label_format(&l, out);
}

/* Takes " key=value" off *text; the value ends at a blank or at the end. */
static int take(const char **text, const char *key, char *out, size_t out_size)
{
        size_t key_len = strlen(key);
        const char *p = *text;

        if (*p != ' ' || strncmp(p + 1, key, key_len) != 0 || p[1 + key_len] != '=')
                return -EINVAL;
        p += key_len + 2;
        size_t len = strcspn(p, " ");
        if (len == 0 || len >= out_size)
                return -EINVAL;
        memcpy(out, p, len);
        out[len] = '\0';
        *text = p + len;
        return 0;
}

static int take_uuid(const char **text, const char *key, char out[AK_UUID_SIZE])
{
        const char *rest = *text;

        if (take(&rest, key, out, AK_UUID_SIZE) < 0 || !ak_uuid_valid(out))
                return -EINVAL;
        *text = rest;
        return 0;
}

static int take_ids(const char *p, struct net_label *l)
{
        int r;

        if (take_uuid(&p, "port", l->port_id) == 0) {
                l->kind = NET_LABEL_PORT;
                r = take_uuid(&p, "pod", l->pod_uid);
                if (r == 0)
                        r = take_uuid(&p, "subnet", l->subnet_id);
        } else if (take_uuid(&p, "subnet", l->subnet_id) == 0) {
                l->kind = NET_LABEL_SUBNET;
                r = take_uuid(&p, "vpc", l->vpc_id);
        } else {
                l->kind = NET_LABEL_VPC;
                r = take_uuid(&p, "vpc", l->vpc_id);
        }
        return r < 0 || *p != '\0' ? -EINVAL : 0;
}

int net_label_parse(const char *text, struct net_label *out)
{
        static const char magic[] = "alkaid";
        struct net_label l = {0};

        if (!text || strlen(text) >= NET_LABEL_SIZE || strncmp(text, magic, sizeof(magic) - 1) != 0)
                return -EINVAL;
        const char *p = text + sizeof(magic) - 1;
        if (take(&p, "node", l.node, sizeof(l.node)) < 0 || !net_node_valid(l.node))
                return -EINVAL;
        if (take_ids(p, &l) < 0)
                return -EINVAL;
        *out = l;
        return 0;
}

static struct net_name name_from(const char *prefix, const char *uuid, size_t digits)
{
        struct net_name n = {0};
        size_t len = strlen(prefix);

        memcpy(n.s, prefix, len);
        for (const char *p = uuid; *p && digits > 0; p++) {
                if (*p == '-')
                        continue;
                n.s[len++] = *p;
                digits--;
        }
        return n;
}

struct net_name net_tap_name(const char *port_id)
{
        return name_from("ak", port_id, 13);
}

struct net_name net_bridge_name(const char *subnet)
{
        return name_from("akb", subnet, 12);
}

struct net_name net_veth_name(const char *subnet)
{
        return name_from("akv", subnet, 12);
}

struct net_name net_gateway_name(const char *subnet)
{
        return name_from("akg", subnet, 12);
}

struct net_name net_uplink_name(const char *vpc_id)
{
        return name_from("aku", vpc_id, 12);
}

struct net_name net_uplink_inner_name(const char *vpc_id)
{
        return name_from("aki", vpc_id, 12);
}

struct net_name net_vxlan_name(const char *subnet)
{
        return name_from("akx", subnet, 12);
}

struct net_name net_wire_name(const char *port_id)
{
        return name_from("akw", port_id, 12);
}

struct net_name net_wire_far_name(const char *port_id)
{
        return name_from("akz", port_id, 12);
}

struct net_name net_netns_name(const char *vpc_id)
{
        return name_from("ak-", vpc_id, 12);
}
