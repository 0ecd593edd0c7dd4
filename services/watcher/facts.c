/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine is, as a Node object. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "services/watcher/shell.h"

static void fclosep(FILE **file)
{
        if (*file)
                (void)fclose(*file);
}

/* The first line of a file, "" where there is none. */
static void read_line(const char *path, char *out, size_t size)
{
        AK_CLEANUP(fclosep) FILE *file = fopen(path, "re");
        out[0] = '\0';
        if (file && fgets(out, (int)size, file))
                out[strcspn(out, "\n")] = '\0';
}

static void os_name(char *out, size_t size)
{
        static const char key[] = "PRETTY_NAME=";
        char line[256];
        AK_CLEANUP(fclosep) FILE *file = fopen("/etc/os-release", "re");
        (void)snprintf(out, size, "Linux");
        while (file && fgets(line, sizeof(line), file)) {
                if (strncmp(line, key, sizeof(key) - 1) != 0)
                        continue;
                const char *value = line + sizeof(key) - 1;
                value += *value == '"';
                (void)snprintf(out, size, "%.*s", (int)strcspn(value, "\"\n"), value);
        }
}

static const char *go_arch(const char *machine)
{
        if (strcmp(machine, "x86_64") == 0)
                return "amd64";
        return strcmp(machine, "aarch64") == 0 ? "arm64" : machine;
}

static json_t *node_info(const struct utsname *uts)
{
        char machine[64], boot[64], os[128];
        read_line("/etc/machine-id", machine, sizeof(machine));
        read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
        os_name(os, sizeof(os));
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "machineID", machine,
                         "systemUUID", machine, "bootID", boot, "kernelVersion", uts->release, "osImage", os,
                         "containerRuntimeVersion", "libvirt", "kubeletVersion", "alkaid-" ALKAID_VERSION,
                         "kubeProxyVersion", "", "operatingSystem", "linux", "architecture",
                         go_arch(uts->machine));
}

static json_t *capacity(uint64_t max_pods, uint64_t nic_slots)
{
        char cpu[24], memory[32], pods[24], slots[24];
        struct sysinfo info;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        uint64_t kib = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit / 1024 : 0;
        (void)snprintf(cpu, sizeof(cpu), "%ld", cpus > 0 ? cpus : 1);
        (void)snprintf(memory, sizeof(memory), "%lluKi", (unsigned long long)kib);
        (void)snprintf(pods, sizeof(pods), "%llu", (unsigned long long)max_pods);
        (void)snprintf(slots, sizeof(slots), "%llu", (unsigned long long)nic_slots);
        return json_pack("{s:s, s:s, s:s, s:s}", "cpu", cpu, "memory", memory, "pods", pods,
                         "alkaid.io/vm-nic-slots", slots);
}

json_t *watcher_node_facts(const char *name, const char *address, uint64_t max_pods, uint64_t nic_slots)
{
        struct utsname uts;
        if (uname(&uts) < 0)
                return NULL;
        return json_pack(
            "{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s}}, s:{s:[{s:s, s:s}, {s:s, s:s}], s:o, s:o, s:o}}",
            "apiVersion", "v1", "kind", "Node", "metadata", "name", name, "labels", "kubernetes.io/hostname",
            name, "kubernetes.io/os", "linux", "kubernetes.io/arch", go_arch(uts.machine), "status",
            "addresses", "type", "InternalIP", "address", address, "type", "Hostname", "address",
            uts.nodename, "capacity", capacity(max_pods, nic_slots), "allocatable",
            capacity(max_pods, nic_slots), "nodeInfo", node_info(&uts));
}

/* Bridges and taps of guests and containers do not reach this machine from outside. */
static bool is_virtual(const char *name)
{
        static const char *const prefixes[] = {"ak", "virbr", "vnet", "docker", "veth", "br-", "cni", "ovs"};
        for (size_t i = 0; i < AK_ARRAY_SIZE(prefixes); i++)
                if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

static bool usable(const struct ifaddrs *entry)
{
        unsigned int flags = entry->ifa_flags;
        if (!entry->ifa_addr || !(flags & IFF_UP) || (flags & IFF_LOOPBACK) || is_virtual(entry->ifa_name))
                return false;
        if (entry->ifa_addr->sa_family == AF_INET)
                return true;
        if (entry->ifa_addr->sa_family != AF_INET6)
                return false;
        return !IN6_IS_ADDR_LINKLOCAL(
            &((const struct sockaddr_in6 *)(const void *)entry->ifa_addr)->sin6_addr);
}

static bool format_address(const struct sockaddr *address, char *out, size_t size)
{
        const void *bytes =
            address->sa_family == AF_INET
                ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        return inet_ntop(address->sa_family, bytes, out, (socklen_t)size) != NULL;
}

int watcher_find_address(char *out, size_t size)
{
        static const sa_family_t families[] = {AF_INET, AF_INET6};
        struct ifaddrs *list;
        bool found = false;
        if (getifaddrs(&list) < 0)
                return -errno;
        for (size_t f = 0; f < AK_ARRAY_SIZE(families) && !found; f++)
                for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next)
                        found = usable(i) && i->ifa_addr->sa_family == families[f] &&
                                format_address(i->ifa_addr, out, size);
        freeifaddrs(list);
        return found ? 0 : -ENOENT;
}
