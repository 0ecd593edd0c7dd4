/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/brnf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/log.h"

static void check_one(const char *name, bool fix)
{
        char path[96], value = '0';

        snprintf(path, sizeof(path), "/proc/sys/net/bridge/%s", name);
        AK_AUTOCLOSE int fd = open(path, (fix ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        if (fd < 0) {
                if (errno != ENOENT) /* ENOENT: no br_netfilter, nothing to do */
                        ak_log(AK_LOG_WARN, "bridge_nf_call_unknown", "file", path, "error", strerror(errno),
                               NULL);
                return;
        }
        if (read(fd, &value, 1) != 1 || value == '0')
                return;
        bool done = fix && pwrite(fd, "0", 1, 0) == 1;
        ak_log(AK_LOG_WARN, done ? "bridge_nf_call_turned_off" : "bridge_nf_call_is_on", "sysctl", name,
               "why", "bridged frames of VMs would pass the host's iptables", "option", "--bridge-nf-call",
               NULL);
}

void brnf_check(bool fix)
{
        check_one("bridge-nf-call-iptables", fix);
        check_one("bridge-nf-call-ip6tables", fix);
        check_one("bridge-nf-call-arptables", fix);
}
