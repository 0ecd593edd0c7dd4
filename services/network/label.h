/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and labels of what this service puts on a host.
 *
 * A name (at most 15 bytes) is made from a UUID; the label, kept by the kernel as the link's alias, says
 * whose it is. After a restart the labels are all the memory that there is, and a link without a label of
 * our own node is never touched. The parser is strict: it accepts what net_label_format() writes, nothing
 * else, because anyone with CAP_NET_ADMIN can write an alias.
 *
 *   tap                alkaid node=N port=UUID pod=UUID subnet=UUID
 *   bridge, veth leg   alkaid node=N subnet=UUID vpc=UUID
 *   namespace (its lo), uplink   alkaid node=N vpc=UUID
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include "libcommon/netaddr.h"
#include "services/network/spec.h"

#define NET_NODE_MAX   63  /* longest node name, so that a label fits into an alias (IFALIASZ, 256) */
#define NET_LABEL_SIZE 256 /* with NUL */

enum net_label_kind { NET_LABEL_PORT, NET_LABEL_SUBNET, NET_LABEL_VPC };

struct net_label {
        enum net_label_kind kind;
        char node[NET_NODE_MAX + 1];
        char port_id[AK_UUID_SIZE], pod_uid[AK_UUID_SIZE]; /* PORT */
        char subnet_id[AK_UUID_SIZE];                      /* PORT, SUBNET */
        char vpc_id[AK_UUID_SIZE];                         /* SUBNET, VPC */
};

bool net_node_valid(const char *node);
/* The label's fields must be valid. */
void net_label_format(const struct net_label *label, char out[NET_LABEL_SIZE]);
/* The label of a port's tap on this node. */
void net_port_label(const char *node, const struct net_port_key *key, char out[NET_LABEL_SIZE]);
/* 0, or -EINVAL: not a label of ours. */
int net_label_parse(const char *text, struct net_label *out);

struct net_name {
        char s[IFNAMSIZ];
};
struct net_name net_tap_name(const char *port_id);         /* ak  + 13 hex digits */
struct net_name net_bridge_name(const char *subnet);       /* akb + 12 */
struct net_name net_veth_name(const char *subnet);         /* akv + 12: the veth's end in the bridge */
struct net_name net_gateway_name(const char *subnet);      /* akg + 12: its end in the VPC's namespace */
struct net_name net_uplink_name(const char *vpc_id);       /* aku + 12: the host's end of the way out */
struct net_name net_uplink_inner_name(const char *vpc_id); /* aki + 12: the namespace's */
struct net_name net_vxlan_name(const char *subnet);        /* akx + 12 */
struct net_name net_wire_name(const char *port_id);        /* akw + 12: the near end of a tap's wire */
struct net_name net_wire_far_name(const char *port_id);    /* akz + 12: the far end, in a switch */
struct net_name net_netns_name(const char *vpc_id);        /* ak- + 12 */
