/* SPDX-License-Identifier: Apache-2.0 */
/* What the Node object says of this machine. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "services/watcher/shell.h"

#define ID_SIZE 64

void watcher_node_address(char *out, size_t size)
{
        struct ifaddrs *all = NULL;

        (void)snprintf(out, size, "127.0.0.1");
        if (getifaddrs(&all) < 0)
                return;
        for (struct ifaddrs *a = all; a; a = a->ifa_next) {
                char text[INET_ADDRSTRLEN];

                if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || (a->ifa_flags & IFF_LOOPBACK))
                        continue;
                if (inet_ntop(AF_INET, &((struct sockaddr_in *)a->ifa_addr)->sin_addr, text, sizeof(text))) {
                        (void)snprintf(out, size, "%s", text);
                        break;
                }
        }
        freeifaddrs(all);
}

/* First line of a small file; "" where it cannot be read. */
static void read_line(const char *path, char out[ID_SIZE])
{
        FILE *f = fopen(path, "re");

        out[0] = '\0';
        if (!f)
                return;
        if (!fgets(out, ID_SIZE, f))
                out[0] = '\0';
        out[strcspn(out, "\n")] = '\0';
        (void)fclose(f);
}

static json_t *node_info(void)
{
        struct utsname u = {0};
        char machine[ID_SIZE], boot[ID_SIZE];

        (void)uname(&u);
        read_line("/etc/machine-id", machine);
        read_line("/proc/sys/kernel/random/boot_id", boot);
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "architecture", "amd64",
                         "bootID", boot, "containerRuntimeVersion", "libvirt://", "kernelVersion", u.release,
                         "kubeletVersion", "v" ALKAID_VERSION, "kubeProxyVersion", "", "machineID", machine,
                         "operatingSystem", "linux", "osImage", u.sysname, "systemUUID", machine);
}

static json_t *amounts(uint64_t nic_slots)
{
        long cpus = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES),
             page = sysconf(_SC_PAGESIZE);
        char cpu[24], memory[24], slots[24];

        (void)snprintf(cpu, sizeof(cpu), "%ld", cpus);
        (void)snprintf(memory, sizeof(memory), "%" PRIu64 "Ki", (uint64_t)pages * (uint64_t)page / 1024);
        (void)snprintf(slots, sizeof(slots), "%" PRIu64, nic_slots);
        return json_pack("{s:s, s:s, s:s, s:s}", "cpu", cpu, "memory", memory, "pods", "1024",
                         "alkaid.io/nic-slots-per-vm", slots);
}

json_t *watcher_node_describe(const char *name, const char *ip, uint64_t nic_slots)
{
        json_t *labels = json_pack("{s:s, s:s, s:s}", "kubernetes.io/hostname", name, "kubernetes.io/os",
                                   "linux", "kubernetes.io/arch", "amd64");

        return json_pack("{s:s, s:s, s:{s:s, s:o}, s:{s:o, s:o, s:[{s:s, s:s}, {s:s, s:s}], s:o}}",
                         "apiVersion", "v1", "kind", "Node", "metadata", "name", name, "labels", labels,
                         "status", "capacity", amounts(nic_slots), "allocatable", amounts(nic_slots),
                         "addresses", "type", "InternalIP", "address", ip, "type", "Hostname", "address",
                         name, "nodeInfo", node_info());
}
