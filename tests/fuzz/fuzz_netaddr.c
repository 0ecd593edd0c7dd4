/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, MACs, names and times: what is taken, written and taken again is the same. */
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/netaddr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_ip(const char *text)
{
        struct ak_ip ip, back;
        char out[AK_IP_SIZE];

        if (ak_ip_parse(text, &ip) < 0)
                return;
        ak_ip_format(&ip, out);
        check(ak_ip_parse(out, &back) == 0 && ak_ip_compare(&ip, &back) == 0);
}

static void check_cidr(const char *text)
{
        struct ak_cidr net, back;
        char out[AK_CIDR_SIZE];
        uint64_t index;

        if (ak_cidr_parse(text, &net) < 0)
                return;
        ak_cidr_format(&net, out);
        check(ak_cidr_parse(out, &back) == 0 && back.prefix_len == net.prefix_len);
        check(ak_cidr_contains(&net, &net.addr) && ak_cidr_overlaps(&net, &back));
        if (ak_cidr_index(&net, &net.addr, &index) == 0) {
                check(ak_cidr_nth(&net, index, &back.addr) == 0);
                check(ak_ip_compare(&net.addr, &back.addr) == 0);
        }
}

static void check_mac(const char *text)
{
        char out[AK_MAC_SIZE], again[AK_MAC_SIZE];

        if (ak_mac_parse(text, out) == 0)
                check(ak_mac_parse(out, again) == 0 && strcmp(out, again) == 0);
}

static void check_time(const char *text)
{
        char out[AK_RFC3339_SIZE];
        uint64_t us, back;

        if (ak_rfc3339_parse(text, &us) < 0)
                return;
        ak_rfc3339_format(us, 1, out);
        if (us < UINT64_C(253402300800000000)) /* the year 10000, reached through an offset */
                check(ak_rfc3339_parse(out, &back) == 0 && back == us);
}

static void check_names(const char *text)
{
        if (ak_dns1123_label_valid(text))
                check(ak_dns1123_subdomain_valid(text) && strlen(text) <= 63);
        if (ak_ifname_valid(text))
                check(strlen(text) < AK_IFNAME_SIZE && !strchr(text, '/'));
        if (ak_uuid_valid(text))
                check(strlen(text) == AK_UUID_SIZE - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_AUTOFREE char *text = strndup(size ? (const char *)data : "", size);

        check(text != NULL);
        check_ip(text);
        check_cidr(text);
        check_mac(text);
        check_time(text);
        check_names(text);
        return 0;
}
