/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preparing and releasing a port through the bridge backend, against the netlink calls that cannot be saved
 * (tap, label, bridge, up; delete) in the same run. Needs root. argv[1]: number of ports, 64 where absent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/network/backends/backend.h"
#include "services/network/backends/rtnl.h"
#include "services/network/test_spec.h"

#define MAX_PORTS 240

static int compare_u64(const void *a, const void *b)
{
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static uint64_t median(uint64_t *values, size_t count)
{
        qsort(values, count, sizeof(*values), compare_u64);
        return values[count / 2];
}

static int fail(const char *what, const char *why)
{
        fprintf(stderr, "bench-port: %s: %s\n", what, why);
        return 1;
}

/* ------------------------------------------------------------------ bare */

static int bare_prepare(struct nl_sock *sock, const char *name, int master)
{
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *link = NULL;
        struct rtnl_wish wish = {.alias = "bench", .master = master, .mtu = 1500, .up = true};
        int r = rtnl_add_tap(name);

        if (r == 0)
                r = rtnl_get(sock, name, &link);
        return r == 0 ? rtnl_apply(sock, link, &wish) : r;
}

static int bare(size_t ports, uint64_t *prepare_us, uint64_t *release_us)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *bridge = NULL;
        uint64_t took[2][MAX_PORTS];
        int r = rtnl_open(&sock);

        if (r == 0)
                r = rtnl_add_bridge(sock, "akbench", 1500);
        if (r == 0)
                r = rtnl_get(sock, "akbench", &bridge);
        for (size_t i = 0; r == 0 && i < ports; i++) {
                uint64_t start_us = ak_clock_monotonic_us();
                char name[IFNAMSIZ];

                snprintf(name, sizeof(name), "akbench%zu", i);
                r = bare_prepare(sock, name, rtnl_link_get_ifindex(bridge));
                took[0][i] = ak_clock_monotonic_us() - start_us;
        }
        for (size_t i = 0; i < ports; i++) {
                uint64_t start_us = ak_clock_monotonic_us();
                char name[IFNAMSIZ];

                snprintf(name, sizeof(name), "akbench%zu", i);
                (void)rtnl_delete(sock, name);
                took[1][i] = ak_clock_monotonic_us() - start_us;
        }
        (void)rtnl_delete(sock, "akbench");
        if (r < 0)
                return r;
        *prepare_us = median(took[0], ports);
        *release_us = median(took[1], ports);
        return 0;
}

/* ------------------------------------------------------------------ ours */

static int ours(struct vpc_backend *b, size_t ports, uint64_t *first_us, uint64_t *prepare_us,
                uint64_t *release_us, struct net_error *error)
{
        struct net_port_spec first = test_spec(77, 1, MAX_PORTS + 1);
        uint64_t took[2][MAX_PORTS];
        struct net_prepared p = {0};
        int r = b->ops->prepare(b, &first, &p, error);

        *first_us = p.took_us;
        for (size_t i = 0; r == 0 && i < ports; i++) {
                struct net_port_spec s = test_spec(77, 1, (unsigned int)i);

                r = b->ops->prepare(b, &s, &p, error);
                took[0][i] = p.took_us;
        }
        for (size_t i = 0; r == 0 && i < ports; i++) {
                struct net_port_spec s = test_spec(77, 1, (unsigned int)i);
                uint64_t start_us = ak_clock_monotonic_us();

                r = b->ops->release(b, &s.key, error);
                took[1][i] = ak_clock_monotonic_us() - start_us;
        }
        if (r < 0)
                return r;
        *prepare_us = median(took[0], ports);
        *release_us = median(took[1], ports);
        return 0;
}

static int measure_ours(const char *state_dir, bool filters, size_t ports, uint64_t us[3])
{
        struct bridge_options options = {.node = "bench-port",
                                         .state_dir = state_dir,
                                         .dnsmasq_path = "/usr/sbin/dnsmasq",
                                         .lease_seconds = 600,
                                         .anti_spoofing = filters};
        AK_CLEANUP(vpc_backend_freep) struct vpc_backend *b = NULL;
        struct net_error error = {0}, ignored;

        if (vpc_bridge_new(&b, &options, &error) < 0)
                return fail("backend", error.message);
        int r = ours(b, ports, &us[0], &us[1], &us[2], &error);
        if (b->ops->teardown(b, &ignored) < 0)
                return fail("teardown", ignored.message);
        return r < 0 ? fail(error.reason, error.message) : 0;
}

static void line(const char *what, uint64_t us, uint64_t bare_us)
{
        printf("%-44s %8.3f ms", what, (double)us / 1000.0);
        if (bare_us)
                printf("   %5.2f x", (double)us / (double)bare_us);
        printf("\n");
}

int main(int argc, char **argv)
{
        size_t ports = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
        char state_dir[] = "/tmp/alkaid-bench-port-XXXXXX";
        uint64_t prepare_us, release_us, with[3], without[3];

        if (ports < 1 || ports > MAX_PORTS)
                return fail("ports", "must be 1 to 240");
        if (!mkdtemp(state_dir))
                return fail(state_dir, strerror(errno));
        int r = bare(ports, &prepare_us, &release_us);
        if (r < 0)
                return fail("netlink", strerror(-r));
        if (measure_ours(state_dir, true, ports, with) != 0 ||
            measure_ours(state_dir, false, ports, without) != 0)
                return 1;
        (void)rmdir(state_dir);
        printf("medians of %zu ports\n", ports);
        line("bare netlink: tap, label, bridge, up", prepare_us, 0);
        line("prepare: that, DHCP entry", without[1], prepare_us);
        line("prepare: that, DHCP entry, filters", with[1], prepare_us);
        line("first port: subnet, VPC, DHCP server too", with[0], 0);
        line("bare netlink: delete", release_us, 0);
        line("release, without filters", without[2], release_us);
        line("release", with[2], release_us);
        return 0;
}
