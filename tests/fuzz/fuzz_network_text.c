/* SPDX-License-Identifier: Apache-2.0 */
/* Text that the network service reads back from the host: link aliases and DHCP reservations. */
#include <string.h>

#include "libcommon/cleanup.h"
#include "services/network/backends/dhcp.h"
#include "services/network/label.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

/* What is taken is exactly what would be written. */
static void check_label(const char *text)
{
        struct net_label label;
        char out[NET_LABEL_SIZE];

        if (net_label_parse(text, &label) < 0)
                return;
        net_label_format(&label, out);
        check(strcmp(out, text) == 0);
        if (label.kind == NET_LABEL_PORT)
                check(strlen(net_tap_name(label.port_id).s) == 15);
}

static void check_reservation(const char *text)
{
        char mac[AK_MAC_SIZE], again[AK_MAC_SIZE];
        struct ak_ip ip;

        if (dhcp_reservation_parse(text, mac, &ip) < 0)
                return;
        check(ak_mac_parse(mac, again) == 0 && strcmp(mac, again) == 0);
        check(ip.family == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_AUTOFREE char *text = strndup((const char *)data, size);

        if (!text)
                return 0;
        check_label(text);
        check_reservation(text);
        return 0;
}
