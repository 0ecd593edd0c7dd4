/* SPDX-License-Identifier: Apache-2.0 */
/* Ports for tests: everything follows from three small numbers. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "services/network/spec.h"

/* UUIDs whose first digits differ, because names are made of those. */
static inline void test_uuid(char out[AK_UUID_SIZE], unsigned int kind, unsigned int n)
{
        snprintf(out, AK_UUID_SIZE, "%02x%06x-7e57-4000-8000-%012x", kind & 0xffU, n & 0xffffffU, n);
}

/* Port `n` of subnet `subnet` of VPC `vpc`: MAC 06:00:00:vpc:subnet:n, address 10.0.subnet.(n + 10). */
static inline struct net_port_spec test_spec(unsigned int vpc, unsigned int subnet, unsigned int n)
{
        struct net_port_spec s;
        char text[64];

        memset(&s, 0, sizeof(s));
        test_uuid(s.key.port_id, 0xa0, (vpc << 16) + (subnet << 8) + n);
        test_uuid(s.key.pod_uid, 0xb0, n);
        test_uuid(s.key.subnet_id, 0xc0, (vpc << 8) + subnet);
        test_uuid(s.vpc_id, 0xd0, vpc);
        snprintf(s.mac, sizeof(s.mac), "06:00:00:%02x:%02x:%02x", vpc & 0xffU, subnet & 0xffU, n & 0xffU);
        snprintf(text, sizeof(text), "10.0.%u.%u/24", subnet & 0xffU, (n + 10) & 0xffU);
        (void)ak_cidr_parse(text, &s.addresses[0]);
        s.address_count = 1;
        s.cidr = s.addresses[0];
        (void)ak_cidr_nth(&s.addresses[0], 0, &s.cidr.addr);
        (void)ak_cidr_nth(&s.cidr, 1, &s.gateway);
        s.dns[0] = s.gateway;
        s.dns_count = 1;
        s.dhcp = true;
        s.mtu = 1500;
        return s;
}
