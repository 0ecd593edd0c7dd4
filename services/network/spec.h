/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port as a backend wants it: the nic.diff, checked and parsed. What does not pass here never reaches the
 * kernel, dnsmasq or nftables. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/netaddr.h"
#include "proto/proto.h"

#define NET_MTU_MIN      576  /* RFC 791: what every host must take */
#define NET_MTU_MAX      9216 /* jumbo frames */
#define NET_PREFIX_MIN   8
#define NET_PREFIX_MAX   30 /* room for a gateway and a guest */
#define NET_MESSAGE_SIZE (AK_LEN_MESSAGE + 1)

/* What went wrong, for a person. `reason` is CamelCase. */
struct net_error {
        char reason[AK_LEN_REASON + 1];
        char message[NET_MESSAGE_SIZE];
};
void net_error_set(struct net_error *error, const char *reason, const char *format, ...) AK_PRINTF(3, 4);

/* Names a port and where it lives. */
struct net_port_key {
        char port_id[AK_UUID_SIZE], pod_uid[AK_UUID_SIZE], subnet_id[AK_UUID_SIZE];
};

enum net_protocol { NET_ANY, NET_TCP, NET_UDP, NET_ICMP };

/* One line of security rules: what may be begun. The networks stay text, checked: each is an address or a
 * CIDR. */
struct net_rule {
        bool out;
        enum net_protocol protocol;
        uint16_t low, high; /* 0, 0 = all */
        char networks[AK_LEN_RULE + 1];
};
/* "in tcp 22-22 10.0.0.0/8,192.0.2.1" -EINVAL */
int net_rule_parse(const char *text, struct net_rule *out);
/* The next of a rule's networks that is of the family (4 or 6); *cursor begins as rule->networks. False at
 * the end. */
bool net_rule_network(const char **cursor, uint8_t family, char out[AK_CIDR_SIZE]);

struct net_port_spec {
        struct net_port_key key;
        char vpc_id[AK_UUID_SIZE];
        char mac[AK_MAC_SIZE];
        uint32_t address_count, dns_count;
        struct ak_cidr addresses[AK_MAX_ADDRS];
        struct ak_cidr cidr; /* of the subnet, host bits zero */
        struct ak_ip gateway;
        struct ak_ip dns[AK_MAX_ADDRS];
        bool dhcp;
        uint32_t mtu; /* never 0 */
        /* The subnet's and the port's IPv6; prefix_len 0 = none. */
        struct ak_cidr cidr6;
        struct ak_ip gateway6, address6;
        uint32_t vni;    /* 0 = none */
        bool source_nat; /* of the VPC */
        /* Security: unrestricted, everything may pass. */
        bool restricted;
        uint32_t rule_count;
        char rules[AK_MAX_RULES][AK_LEN_RULE + 1]; /* net_rule_parse() takes each */
        uint32_t ingress_kbps, egress_kbps;        /* 0 = no cap */
        char host_name[64];                        /* for DNS; "" = none */
};

/* fabric_mtu stands in for an mtu of 0. -EINVAL: *error names the field. */
int net_spec_from_diff(const struct ak_nic_diff *diff, uint32_t fabric_mtu, struct net_port_spec *out,
                       struct net_error *error);
bool net_spec_equal(const struct net_port_spec *a, const struct net_port_spec *b);
/* Whether what both say of their subnet and VPC is the same. */
bool net_spec_same_subnet(const struct net_port_spec *a, const struct net_port_spec *b);
json_t *net_spec_to_json(const struct net_port_spec *spec);
