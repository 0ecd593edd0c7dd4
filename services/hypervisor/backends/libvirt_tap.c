/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a NIC, as sysfs shows it: does anybody have the tap open? A tap that is up has carrier
 * exactly while a descriptor is attached to it (drivers/net/tun.c), and QEMU's is the only one of a NIC.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/hypervisor/backends/libvirt_internal.h"

/* A number in a device's sysfs directory. -ENOENT: no such device; -EINVAL: the device is down. */
static int read_number(const char *ifname, const char *attribute, uint64_t *out)
{
        char path[64 + IFNAMSIZ], text[24], *end;
        ssize_t n;
        int fd;

        (void)snprintf(path, sizeof(path), "/sys/class/net/%s/%s", ifname, attribute);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                n = -errno;
        (void)close(fd);
        if (n < 0)
                return (int)n;
        text[n] = '\0';
        errno = 0;
        *out = strtoull(text, &end, 10);
        return errno || end == text || (*end && *end != '\n') ? -EBADMSG : 0;
}

static bool is_name(const char *ifname)
{
        size_t len = strlen(ifname);

        return len > 0 && len < IFNAMSIZ && !strchr(ifname, '/') && strcmp(ifname, ".") != 0 &&
               strcmp(ifname, "..") != 0;
}

void hv_libvirt_tap_look(struct hv_live_nic *nic)
{
        uint64_t ifindex = 0, carrier = 1;

        if (!is_name(nic->ifname) || read_number(nic->ifname, "ifindex", &ifindex) < 0)
                return;
        nic->ifindex = ifindex;
        nic->tap_idle = read_number(nic->ifname, "carrier", &carrier) == 0 && carrier == 0;
}
