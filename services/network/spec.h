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
};

/* fabric_mtu stands in for an mtu of 0. -EINVAL: *error names the field. */
int net_spec_from_diff(const struct ak_nic_diff *diff, uint32_t fabric_mtu, struct net_port_spec *out,
                       struct net_error *error);
bool net_spec_equal(const struct net_port_spec *a, const struct net_port_spec *b);
json_t *net_spec_to_json(const struct net_port_spec *spec);
