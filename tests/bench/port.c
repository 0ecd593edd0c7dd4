/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of the bridge backend against what cannot be saved: the netlink calls of a tap (made, labelled, put
 * into a bridge, up; deleted) in the same run, and a bridge made by hand. argv[1]: number of ports, 500 where
 * absent. Needs root; runs in a network namespace of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/network/backends/backend.h"
#include "services/network/backends/rtnl.h"
#include "services/network/test_guest.h"
#include "services/network/test_spec.h"

#define MAX_PORTS 2000
#define PARALLEL  100
#define THREADS   8
#define FRAMES    100000

static int compare_u64(const void *a, const void *b)
{
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static uint64_t median(const uint64_t *values, size_t count)
{
        uint64_t copy[MAX_PORTS];

        memcpy(copy, values, count * sizeof(*values));
        qsort(copy, count, sizeof(*copy), compare_u64);
        return copy[count / 2];
}

static int fail(const char *what, const char *why)
{
        fprintf(stderr, "bench-port: %s: %s\n", what, why);
        return 1;
}

static void line(const char *what, uint64_t us, uint64_t bare_us)
{
        printf("%-52s %8.3f ms", what, (double)us / 1000.0);
        if (bare_us)
                printf("   + %.3f ms", ((double)us - (double)bare_us) / 1000.0);
        printf("\n");
}

/* A subnet with room: 10.77.0.0/16. */
static struct net_port_spec spec_of(size_t n)
{
        struct net_port_spec s = test_spec(77, 1, (unsigned int)n);
        char text[64];

        test_uuid(s.key.port_id, 0xa0, 0x770000U + (unsigned int)n);
        snprintf(s.mac, sizeof(s.mac), "06:77:00:00:%02zx:%02zx", n >> 8 & 0xff, n & 0xff);
        snprintf(text, sizeof(text), "10.77.%zu.%zu/16", 1 + n / 250, 1 + n % 250);
        (void)ak_cidr_parse(text, &s.addresses[0]);
        (void)ak_cidr_parse("10.77.0.0/16", &s.cidr);
        (void)ak_ip_parse("10.77.0.1", &s.gateway);
        s.dns[0] = s.gateway;
        return s;
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
        *prepare_us = median(took[0], ports);
        *release_us = median(took[1], ports);
        return r;
}

/* ------------------------------------------------------------------ one after the other */

static int one_by_one(struct vpc_backend *b, size_t ports, uint64_t bare_prepare_us, uint64_t bare_release_us,
                      struct net_error *error)
{
        uint64_t took[MAX_PORTS], released[MAX_PORTS];
        size_t part = ports < 100 ? ports / 2 : 50;
        int r = 0;

        for (size_t i = 0; r == 0 && i < ports; i++) {
                struct net_port_spec s = spec_of(i);
                struct net_prepared p = {0};

                r = b->ops->prepare(b, &s, &p, error);
                took[i] = p.took_us;
        }
        for (size_t i = 0; r == 0 && i < ports; i++) {
                struct net_port_spec s = spec_of(i);
                uint64_t start_us = ak_clock_monotonic_us();

                r = b->ops->release(b, &s.key, error);
                released[i] = ak_clock_monotonic_us() - start_us;
        }
        if (r < 0)
                return r;
        line("first port: subnet, VPC, DHCP server too", took[0], 0);
        line("prepare", median(took, ports), bare_prepare_us);
        line("  of the first ports", median(took + 1, part), bare_prepare_us);
        line("  of the last ports", median(took + ports - part, part), bare_prepare_us);
        line("release", median(released, ports), bare_release_us);
        return 0;
}

/* ------------------------------------------------------------------ side by side */

struct lane {
        struct vpc_backend *backend;
        size_t first;
        int result;
        pthread_t thread;
};

static void *run_lane(void *arg)
{
        struct lane *l = arg;
        struct net_error error;

        for (size_t i = l->first; l->result == 0 && i < PARALLEL; i += THREADS) {
                struct net_port_spec s = spec_of(i);
                struct net_prepared p;

                l->result = l->backend->ops->prepare(l->backend, &s, &p, &error);
        }
        return NULL;
}

static int side_by_side(struct vpc_backend *b)
{
        struct lane lanes[THREADS] = {0};
        struct net_port_spec first = spec_of(MAX_PORTS - 1);
        struct net_prepared p;
        struct net_error error;
        int r = b->ops->prepare(b, &first, &p, &error); /* the subnet stands */
        uint64_t start_us = ak_clock_monotonic_us();

        for (size_t i = 0; r == 0 && i < THREADS; i++) {
                lanes[i] = (struct lane){.backend = b, .first = i};
                r = -pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]);
        }
        for (size_t i = 0; r == 0 && i < THREADS; i++) {
                pthread_join(lanes[i].thread, NULL);
                r = lanes[i].result;
        }
        if (r == 0)
                line("100 ports of one subnet, asked for at once", ak_clock_monotonic_us() - start_us, 0);
        return r;
}

/* ------------------------------------------------------------------ throughput */

static int open_tap(const char *name)
{
        struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
        if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
                (void)close(fd);
                return -errno;
        }
        return fd;
}

struct frame {
        uint8_t vnet[10], eth[14], ip[20], udp[8], data[1472];
};

static void put_mac(uint8_t *at, const char *mac)
{
        ak_mac_bytes(mac, at);
}

static struct frame frame_of(const struct net_port_spec *from, const struct net_port_spec *to)
{
        struct frame f = {.eth = {[12] = 0x08}, .ip = {0x45, 0, 0x05, 0xdc, [8] = 64, [9] = 17}};

        put_mac(f.eth, to->mac);
        put_mac(f.eth + 6, from->mac);
        memcpy(f.ip + 12, from->addresses[0].addr.bytes, 4);
        memcpy(f.ip + 16, to->addresses[0].addr.bytes, 4);
        f.udp[1] = f.udp[3] = 9;
        f.udp[4] = 0x05;
        f.udp[5] = 0xc8;
        return f;
}

static size_t drain(int fd)
{
        static uint8_t buffer[2048];
        size_t frames = 0;

        while (read(fd, buffer, sizeof(buffer)) > 1000)
                frames++;
        return frames;
}

/* Frames per second from one tap to the other, one at a time: what a frame costs. */
static double rate(const char *from_tap, const char *to_tap, const struct net_port_spec *from,
                   const struct net_port_spec *to)
{
        AK_AUTOCLOSE int a = open_tap(from_tap);
        AK_AUTOCLOSE int b = open_tap(to_tap);
        struct frame f = frame_of(from, to), back = frame_of(to, from);
        size_t got = 0;

        if (a < 0 || b < 0)
                return 0;
        (void)poll(NULL, 0, 200); /* carrier, and the kernel's own chatter */
        for (int i = 0; i < 10; i++)
                (void)!write(b, &back, sizeof(back)); /* the bridge learns where it is */
        (void)poll(NULL, 0, 50);
        (void)drain(a);
        (void)drain(b);
        uint64_t start_us = ak_clock_monotonic_us();
        for (int i = 0; i < FRAMES; i++) {
                (void)!write(a, &f, sizeof(f));
                got += drain(b);
        }
        uint64_t took_us = ak_clock_monotonic_us() - start_us;
        return got < FRAMES * 9 / 10 ? 0 : (double)got * 1e6 / (double)took_us;
}

static double rate_by_hand(const struct net_port_spec *s, const struct net_port_spec *t)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *bridge = NULL;
        double result = 0;

        if (rtnl_open(&sock) == 0 && rtnl_add_bridge(sock, "akbench", 1500) == 0 &&
            rtnl_get(sock, "akbench", &bridge) == 0 &&
            rtnl_apply(sock, bridge, &(struct rtnl_wish){.up = true}) == 0 &&
            bare_prepare(sock, "akbench0", rtnl_link_get_ifindex(bridge)) == 0 &&
            bare_prepare(sock, "akbench1", rtnl_link_get_ifindex(bridge)) == 0)
                result = rate("akbench0", "akbench1", s, t);
        (void)rtnl_delete(sock, "akbench0");
        (void)rtnl_delete(sock, "akbench1");
        (void)rtnl_delete(sock, "akbench");
        return result;
}

static int throughput(struct vpc_backend *b)
{
        struct net_port_spec s = spec_of(0), t = spec_of(1);
        struct net_prepared p;
        struct net_error error;
        double ours[3], by_hand[3];

        if (b->ops->prepare(b, &s, &p, &error) < 0 || b->ops->prepare(b, &t, &p, &error) < 0)
                return fail(error.reason, error.message);
        for (int i = 0; i < 3; i++) { /* by turns, the best of each: others use the machine, too */
                by_hand[i] = rate_by_hand(&s, &t);
                ours[i] = rate(net_tap_name(s.key.port_id).s, net_tap_name(t.key.port_id).s, &s, &t);
                if (ours[i] > ours[0])
                        ours[0] = ours[i];
                if (by_hand[i] > by_hand[0])
                        by_hand[0] = by_hand[i];
        }
        if (ours[0] == 0 || by_hand[0] == 0)
                return fail("throughput", "frames were lost");
        printf("%-52s %8.0f frames/s, %.2f Gbit/s\n", "tap to tap over a bridge made by hand", by_hand[0],
               by_hand[0] * 1514 * 8 / 1e9);
        printf("%-52s %8.0f frames/s, %.1f %%\n", "tap to tap between two ports, filtered", ours[0],
               100 * ours[0] / by_hand[0]);
        return 0;
}

/* ------------------------------------------------------------------ all */

static int measure(const char *state_dir, bool filters, size_t ports, uint64_t prepare_us,
                   uint64_t release_us)
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
        printf("%s\n", filters ? "with filters" : "without filters");
        int r = one_by_one(b, ports, prepare_us, release_us, &error);
        if (r == 0)
                r = side_by_side(b);
        int code = r < 0 ? fail(error.reason, error.message) : throughput(b);
        if (b->ops->teardown(b, &ignored) < 0)
                return fail("teardown", ignored.message);
        return code;
}

int main(int argc, char **argv)
{
        size_t ports = argc > 1 ? strtoul(argv[1], NULL, 10) : 500;
        char state_dir[] = "/tmp/alkaid-bench-port-XXXXXX";
        uint64_t prepare_us, release_us;

        if (ports < 2 || ports > MAX_PORTS)
                return fail("ports", "must be 2 to 2000");
        ak_log_init("bench-port", AK_LOG_ERROR);
        if (host_isolate() < 0)
                return fail("namespaces", "must be root");
        if (!mkdtemp(state_dir))
                return fail(state_dir, strerror(errno));
        int r = bare(ports, &prepare_us, &release_us);
        if (r < 0)
                return fail("netlink", strerror(-r));
        printf("medians of %zu ports; + = beyond the bare calls\n", ports);
        line("bare netlink: tap, label, bridge, up", prepare_us, 0);
        line("bare netlink: delete", release_us, 0);
        int code = measure(state_dir, false, ports, prepare_us, release_us);
        if (code == 0)
                code = measure(state_dir, true, ports, prepare_us, release_us);
        (void)rmdir(state_dir);
        return code;
}
