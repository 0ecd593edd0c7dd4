/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, MACs and names as they appear in specifications. Pure; on top of inet_pton(3). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AK_MAC_SIZE    18 /* "aa:bb:cc:dd:ee:ff" and NUL */
#define AK_IP_SIZE     46 /* INET6_ADDRSTRLEN */
#define AK_CIDR_SIZE   50
#define AK_UUID_SIZE   37
#define AK_IFNAME_SIZE 16 /* IFNAMSIZ: at most 15 bytes */

struct ak_ip {
        uint8_t family;    /* 4 or 6 */
        uint8_t bytes[16]; /* network order; the first 4 for IPv4 */
};

struct ak_cidr {
        struct ak_ip addr; /* as written: host bits are kept */
        uint8_t prefix_len;
};

/* All return 0 or -EINVAL. */
int ak_ip_parse(const char *text, struct ak_ip *out);
int ak_cidr_parse(const char *text, struct ak_cidr *out); /* a missing prefix is an error */
void ak_ip_format(const struct ak_ip *ip, char out[AK_IP_SIZE]);
void ak_cidr_format(const struct ak_cidr *cidr, char out[AK_CIDR_SIZE]);
bool ak_cidr_contains(const struct ak_cidr *net, const struct ak_ip *ip);
bool ak_cidr_overlaps(const struct ak_cidr *a, const struct ak_cidr *b);
/* The n-th address of the network (0 = network address). -ERANGE past its end. */
int ak_cidr_nth(const struct ak_cidr *net, uint64_t n, struct ak_ip *out);
/* Index of an address inside the network; -ERANGE where it is outside or the index exceeds 64 bits. */
int ak_cidr_index(const struct ak_cidr *net, const struct ak_ip *ip, uint64_t *out);
int ak_ip_compare(const struct ak_ip *a, const struct ak_ip *b);

/* Unicast MAC "aa:bb:cc:dd:ee:ff" in any case -> lower case. -EINVAL for multicast, zero, malformed. */
int ak_mac_parse(const char *text, char out[AK_MAC_SIZE]);
/* The six bytes of a MAC that ak_mac_parse() accepts; zeros for anything else. */
void ak_mac_bytes(const char *mac, uint8_t out[6]);
/* A locally administered unicast MAC made from the low 40 bits of `bits` (52:54:00 is QEMU's; ours is 06:…).
 */
void ak_mac_from_bits(uint64_t bits, char out[AK_MAC_SIZE]);

/* Canonical lower-case UUID of 36 characters? */
bool ak_uuid_valid(const char *text);
void ak_uuid_new(char out[AK_UUID_SIZE]);

/* Linux interface name rule as dev_valid_name() in net/core/dev.c, narrowed to [A-Za-z0-9._-], letter first.
 */
bool ak_ifname_valid(const char *text);
/* DNS-1123 subdomain (Kubernetes object names), at most 253 bytes; label: at most 63, no dots. */
bool ak_dns1123_subdomain_valid(const char *text);
bool ak_dns1123_label_valid(const char *text);
