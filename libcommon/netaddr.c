/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/netaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

static bool is_lower(char c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
        return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static unsigned bits_of(const struct ak_ip *ip)
{
        return ip->family == 4 ? 32 : 128;
}

/* --- addresses ---------------------------------------------------------- */

int ak_ip_parse(const char *text, struct ak_ip *out)
{
        struct ak_ip ip = {.family = strchr(text, ':') ? 6 : 4};

        if (inet_pton(ip.family == 6 ? AF_INET6 : AF_INET, text, ip.bytes) != 1)
                return -EINVAL;
        *out = ip;
        return 0;
}

void ak_ip_format(const struct ak_ip *ip, char out[AK_IP_SIZE])
{
        if (!inet_ntop(ip->family == 6 ? AF_INET6 : AF_INET, ip->bytes, out, AK_IP_SIZE))
                out[0] = '\0';
}

/* 1 to 3 digits without a leading zero, at most `max`. */
static int parse_prefix(const char *text, unsigned max, uint8_t *out)
{
        unsigned value = 0;
        size_t n = strspn(text, "0123456789");

        if (n == 0 || n > 3 || text[n] != '\0' || (n > 1 && text[0] == '0'))
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                value = value * 10 + (unsigned)(text[i] - '0');
        if (value > max)
                return -EINVAL;
        *out = (uint8_t)value;
        return 0;
}

int ak_cidr_parse(const char *text, struct ak_cidr *out)
{
        const char *slash = strchr(text, '/');
        char addr[AK_IP_SIZE];
        struct ak_cidr cidr;
        size_t len;

        if (!slash)
                return -EINVAL;
        len = (size_t)(slash - text);
        if (len >= sizeof(addr))
                return -EINVAL;
        memcpy(addr, text, len);
        addr[len] = '\0';
        if (ak_ip_parse(addr, &cidr.addr) < 0 ||
            parse_prefix(slash + 1, bits_of(&cidr.addr), &cidr.prefix_len) < 0)
                return -EINVAL;
        *out = cidr;
        return 0;
}

void ak_cidr_format(const struct ak_cidr *cidr, char out[AK_CIDR_SIZE])
{
        char ip[AK_IP_SIZE];

        ak_ip_format(&cidr->addr, ip);
        (void)snprintf(out, AK_CIDR_SIZE, "%s/%u", ip, cidr->prefix_len);
}

static bool same_prefix(const struct ak_ip *a, const struct ak_ip *b, unsigned prefix_len)
{
        unsigned whole = prefix_len / 8, rest = prefix_len % 8;

        if (a->family != b->family || memcmp(a->bytes, b->bytes, whole) != 0)
                return false;
        return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0;
}

bool ak_cidr_contains(const struct ak_cidr *net, const struct ak_ip *ip)
{
        return same_prefix(&net->addr, ip, net->prefix_len);
}

bool ak_cidr_overlaps(const struct ak_cidr *a, const struct ak_cidr *b)
{
        return same_prefix(&a->addr, &b->addr, a->prefix_len < b->prefix_len ? a->prefix_len : b->prefix_len);
}

static struct ak_ip network_of(const struct ak_cidr *net)
{
        struct ak_ip ip = net->addr;

        for (unsigned bit = net->prefix_len; bit < bits_of(&ip); bit++)
                ip.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
        return ip;
}

int ak_cidr_nth(const struct ak_cidr *net, uint64_t n, struct ak_ip *out)
{
        unsigned host_bits = bits_of(&net->addr) - net->prefix_len;
        struct ak_ip ip = network_of(net);

        if (host_bits < 64 && n >> host_bits != 0)
                return -ERANGE;
        /* The host part of a network address is zero, so adding needs no carry. */
        for (unsigned i = bits_of(&ip) / 8; n != 0; n >>= 8)
                ip.bytes[--i] |= (uint8_t)n;
        *out = ip;
        return 0;
}

int ak_cidr_index(const struct ak_cidr *net, const struct ak_ip *ip, uint64_t *out)
{
        struct ak_ip base = network_of(net);
        unsigned bytes = bits_of(ip) / 8;
        uint64_t index = 0;

        if (!ak_cidr_contains(net, ip))
                return -ERANGE;
        for (unsigned i = 0; i < bytes; i++) {
                if (index >> 56 != 0)
                        return -ERANGE;
                index = index << 8 | (ip->bytes[i] ^ base.bytes[i]);
        }
        *out = index;
        return 0;
}

int ak_ip_compare(const struct ak_ip *a, const struct ak_ip *b)
{
        if (a->family != b->family)
                return a->family < b->family ? -1 : 1;
        return memcmp(a->bytes, b->bytes, bits_of(a) / 8);
}

/* --- MACs and UUIDs ------------------------------------------------------ */

static int hex_value(char c)
{
        if (is_digit(c))
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void format_mac(const uint8_t mac[6], char out[AK_MAC_SIZE])
{
        (void)snprintf(out, AK_MAC_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

int ak_mac_parse(const char *text, char out[AK_MAC_SIZE])
{
        static const uint8_t zero[6];
        uint8_t mac[6];

        if (strnlen(text, AK_MAC_SIZE) != AK_MAC_SIZE - 1)
                return -EINVAL;
        for (int i = 0; i < 6; i++) {
                int high = hex_value(text[3 * i]), low = hex_value(text[3 * i + 1]);

                if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
                        return -EINVAL;
                mac[i] = (uint8_t)(high << 4 | low);
        }
        if (mac[0] & 1 || memcmp(mac, zero, 6) == 0)
                return -EINVAL;
        format_mac(mac, out);
        return 0;
}

void ak_mac_bytes(const char *mac, uint8_t out[6])
{
        struct ether_addr address = {0};

        (void)ether_aton_r(mac, &address);
        memcpy(out, &address, sizeof(address));
}

void ak_mac_from_bits(uint64_t bits, char out[AK_MAC_SIZE])
{
        uint8_t mac[6] = {0x06}; /* locally administered, unicast */

        for (int i = 5; i > 0; i--, bits >>= 8)
                mac[i] = (uint8_t)bits;
        format_mac(mac, out);
}

bool ak_uuid_valid(const char *text)
{
        for (int i = 0; i < AK_UUID_SIZE - 1; i++) {
                if (i == 8 || i == 13 || i == 18 || i == 23) {
                        if (text[i] != '-')
                                return false;
                } else if (!is_digit(text[i]) && !(text[i] >= 'a' && text[i] <= 'f')) {
                        return false;
                }
        }
        return text[AK_UUID_SIZE - 1] == '\0';
}

void ak_uuid_new(char out[AK_UUID_SIZE])
{
        uuid_t uuid;

        uuid_generate_random(uuid);
        uuid_unparse_lower(uuid, out);
}

/* --- names ---------------------------------------------------------------- */

bool ak_ifname_valid(const char *text)
{
        size_t len = strnlen(text, AK_IFNAME_SIZE);

        if (len == 0 || len >= AK_IFNAME_SIZE || !is_letter(text[0]))
                return false;
        for (size_t i = 1; i < len; i++)
                if (!is_letter(text[i]) && !is_digit(text[i]) && !strchr("._-", text[i]))
                        return false;
        return true;
}

static bool label_valid(const char *text, size_t len)
{
        if (len == 0 || text[0] == '-' || text[len - 1] == '-')
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_lower(text[i]) && !is_digit(text[i]) && text[i] != '-')
                        return false;
        return true;
}

bool ak_dns1123_label_valid(const char *text)
{
        size_t len = strnlen(text, 64);

        return len <= 63 && label_valid(text, len);
}

/* As Kubernetes has it: parts between dots are not held to 63 bytes, the whole is to 253. */
bool ak_dns1123_subdomain_valid(const char *text)
{
        if (strnlen(text, 254) > 253)
                return false;
        for (;;) {
                size_t len = strcspn(text, ".");

                if (!label_valid(text, len))
                        return false;
                if (text[len] == '\0')
                        return true;
                text += len + 1;
        }
}
