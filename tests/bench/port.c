/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of the bridge backend against what cannot be saved: the netlink calls of a tap (made, labelled, put
 * into a bridge, up; deleted) in the same run, and a bridge made by hand. Arguments: the number of ports
 * (500),
 * --json. Needs root; runs in a network namespace of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/network/backends/backend.h"
#include "services/network/backends/brnf.h"
#include "services/network/backends/rtnl.h"
#include "services/network/test_guest.h"
#include "services/network/test_spec.h"

#define MAX_PORTS 2000
#define PARALLEL  100
#define THREADS   8
#define FRAMES    2000 /* a round of one of the two */
#define ROUNDS    41

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

/* How to say it, and of what: "", "without filters", ... */
struct report {
        bool json;
        const char *part;
};

static void line(const struct report *out, const char *what, uint64_t us, uint64_t bare_us)
{
        if (out->json) {
                printf("{\"part\":\"%s\",\"figure\":\"%s\",\"unit\":\"ms\",\"value\":%.3f,\"bare\":%.3f}\n",
                       out->part, what, (double)us / 1000.0, (double)bare_us / 1000.0);
                return;
        }
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

static int one_by_one(const struct report *out, struct vpc_backend *b, size_t ports, uint64_t bare_prepare_us,
                      uint64_t bare_release_us, struct net_error *error)
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
        line(out, "first port: subnet, VPC, DHCP server too", took[0], 0);
        line(out, "prepare", median(took, ports), bare_prepare_us);
        line(out, "prepare, first ports", median(took + 1, part), bare_prepare_us);
        line(out, "prepare, last ports", median(took + ports - part, part), bare_prepare_us);
        line(out, "release", median(released, ports), bare_release_us);
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

static int side_by_side(const struct report *out, struct vpc_backend *b)
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
                line(out, "100 ports of one subnet, asked for at once", ak_clock_monotonic_us() - start_us,
                     0);
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

#define GSO_DATA 62000

/* What a guest writes to its tap: a UDP datagram that fills the MTU, or TCP that the wire's end is to
 * segment. */
struct frame {
        struct virtio_net_hdr vnet;
        uint8_t eth[14], ip[20], l4[20], data[GSO_DATA];
} __attribute__((packed));

static size_t frame_of(struct frame *f, const struct net_port_spec *from, const struct net_port_spec *to,
                       bool gso)
{
        size_t ip_bytes = gso ? 40 + GSO_DATA : 1500;

        memset(f, 0, sizeof(*f));
        if (gso)
                f->vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                                  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                                  .hdr_len = 54,
                                                  .gso_size = 1448,
                                                  .csum_start = 34,
                                                  .csum_offset = 16};
        ak_mac_bytes(to->mac, f->eth);
        ak_mac_bytes(from->mac, f->eth + 6);
        f->eth[12] = 0x08;
        const uint8_t ip[] = {0x45, 0,           (uint8_t)(ip_bytes >> 8), (uint8_t)ip_bytes, 0, 0, 0, 0,
                              64,   gso ? 6 : 17};
        memcpy(f->ip, ip, sizeof(ip));
        memcpy(f->ip + 12, from->addresses[0].addr.bytes, 4);
        memcpy(f->ip + 16, to->addresses[0].addr.bytes, 4);
        f->l4[1] = f->l4[3] = 9;
        if (gso) {
                f->l4[12] = 0x50;
        } else {
                f->l4[4] = 1480 >> 8;
                f->l4[5] = 1480 & 0xff;
        }
        return sizeof(f->vnet) + sizeof(f->eth) + ip_bytes;
}

/* Two taps as two guests hold them. */
struct wire {
        int from, to;
        struct frame frame, back;
        size_t len;
        double ns[ROUNDS]; /* per frame */
};

static size_t drain(int fd)
{
        static uint8_t buffer[sizeof(struct frame)];
        size_t frames = 0;

        while (read(fd, buffer, sizeof(buffer)) > 1000)
                frames++;
        return frames;
}

static uint64_t cpu_ns(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static int open_wire(struct wire *w, const char *from_tap, const char *to_tap,
                     const struct net_port_spec *from, const struct net_port_spec *to, bool gso)
{
        w->from = open_tap(from_tap);
        w->to = open_tap(to_tap);
        if (w->from < 0 || w->to < 0 || (gso && ioctl(w->to, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0))
                return -errno;
        size_t back_len = frame_of(&w->back, to, from, false);
        w->len = frame_of(&w->frame, from, to, gso);
        (void)poll(NULL, 0, 200); /* carrier, and the kernel's own chatter */
        for (int i = 0; i < 10; i++)
                (void)!write(w->to, &w->back, back_len); /* the bridge learns where it is */
        (void)poll(NULL, 0, 50);
        (void)drain(w->from);
        (void)drain(w->to);
        return 0;
}

static void close_wire(struct wire *w)
{
        (void)close(w->from);
        (void)close(w->to);
}

/*
 * What a frame costs from one tap to the other, one at a time, in time of this thread: the kernel takes a
 * frame all the way within write(2), and others use the machine, too.
 */
static int send_round(struct wire *w, size_t round)
{
        uint64_t start_ns = cpu_ns();
        size_t got = 0;

        for (int i = 0; i < FRAMES; i++) {
                (void)!write(w->from, &w->frame, w->len);
                got += drain(w->to);
        }
        w->ns[round] = (double)(cpu_ns() - start_ns) / FRAMES;
        return got < FRAMES * 9 / 10 ? -EIO : 0;
}

static int compare_double(const void *a, const void *b)
{
        const double *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static double median_of(double values[ROUNDS])
{
        qsort(values, ROUNDS, sizeof(*values), compare_double);
        return values[ROUNDS / 2];
}

/* By turns; the median of the ratios of neighbours. */
static int compare_wires(const struct report *out, struct wire *by_hand, struct wire *ours, const char *what)
{
        double ratios[ROUNDS];
        int r = 0;

        for (size_t i = 0; r == 0 && i < ROUNDS; i++) {
                r = send_round(by_hand, i);
                if (r == 0)
                        r = send_round(ours, i);
                ratios[i] = by_hand->ns[i] / ours->ns[i];
        }
        if (r < 0)
                return r;
        double bits = (double)(by_hand->len - sizeof(struct virtio_net_hdr)) * 8;
        double hand_ns = median_of(by_hand->ns), ours_ns = median_of(ours->ns);
        if (out->json)
                printf("{\"part\":\"%s\",\"figure\":\"%s\",\"unit\":\"us/"
                       "frame\",\"value\":%.3f,\"by_hand\":%.3f,"
                       "\"percent\":%.1f}\n",
                       out->part, what, ours_ns / 1e3, hand_ns / 1e3, 100 * median_of(ratios));
        else
                printf("%-52s %8.2f us/frame, %.2f Gbit/s by hand; %.2f us, %.2f Gbit/s; %.1f %%\n", what,
                       hand_ns / 1e3, bits / hand_ns, ours_ns / 1e3, bits / ours_ns, 100 * median_of(ratios));
        return 0;
}

static int make_by_hand(void)
{
        AK_CLEANUP(nl_socket_freep) struct nl_sock *sock = NULL;
        AK_CLEANUP(rtnl_link_putp) struct rtnl_link *bridge = NULL;
        int r = rtnl_open(&sock);

        brnf_check(true); /* or br_netfilter looks at each frame */
        if (r == 0)
                r = rtnl_add_bridge(sock, "akbench", 1500);
        if (r == 0)
                r = rtnl_get(sock, "akbench", &bridge);
        if (r == 0)
                r = rtnl_apply(sock, bridge, &(struct rtnl_wish){.up = true});
        if (r == 0)
                r = bare_prepare(sock, "akbench0", rtnl_link_get_ifindex(bridge));
        return r == 0 ? bare_prepare(sock, "akbench1", rtnl_link_get_ifindex(bridge)) : r;
}

/* In a network namespace of its own, where no nftables chain is: it ends with the last descriptor. */
static int open_by_hand(struct wire *w, const struct net_port_spec *s, const struct net_port_spec *t,
                        bool gso)
{
        AK_AUTOCLOSE int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

        if (home < 0 || unshare(CLONE_NEWNET) < 0)
                return -errno;
        int r = make_by_hand();
        if (r == 0)
                r = open_wire(w, "akbench0", "akbench1", s, t, gso);
        return setns(home, CLONE_NEWNET) < 0 ? -errno : r;
}

static int wires(const struct report *out, const struct net_port_spec *s, const struct net_port_spec *t,
                 bool gso)
{
        static struct wire by_hand, ours;
        int r = open_by_hand(&by_hand, s, t, gso);

        if (r == 0)
                r = open_wire(&ours, net_tap_name(s->key.port_id).s, net_tap_name(t->key.port_id).s, s, t,
                              gso);
        if (r == 0)
                r = compare_wires(out, &by_hand, &ours,
                                  gso ? "tap to tap, TCP segments of 62 KB"
                                      : "tap to tap, frames of 1514 bytes");
        close_wire(&by_hand);
        close_wire(&ours);
        return r;
}

static int throughput(const struct report *report, struct vpc_backend *b, bool filters)
{
        struct report grouped = {.json = report->json, .part = "with a security group"};
        const struct report *out = report;
        struct net_port_spec s = spec_of(0), t = spec_of(1);
        struct net_prepared p;
        struct net_error error;
        int r = 0;

        if (b->ops->prepare(b, &s, &p, &error) < 0 || b->ops->prepare(b, &t, &p, &error) < 0)
                return fail(error.reason, error.message);
        for (int gso = 0; r == 0 && gso <= 1; gso++)
                r = wires(out, &s, &t, gso);
        if (r == 0 && filters) {
                t.restricted = true;
                t.rule_count = 2;
                snprintf(t.rules[0], sizeof(t.rules[0]), "in any - 10.77.0.0/16");
                snprintf(t.rules[1], sizeof(t.rules[1]), "out any - 0.0.0.0/0");
                r = b->ops->prepare(b, &t, &p, &error);
                out = &grouped;
                if (!out->json)
                        printf("the receiver with a security group\n");
        }
        for (int gso = 0; r == 0 && filters && gso <= 1; gso++)
                r = wires(out, &s, &t, gso);
        return r < 0 ? fail("throughput", r == -EIO ? "frames were lost" : strerror(-r)) : 0;
}

/* ------------------------------------------------------------------ all */

static int measure(const struct report *out, const char *state_dir, bool filters, size_t ports,
                   uint64_t prepare_us, uint64_t release_us)
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
        if (!out->json)
                printf("%s\n", out->part);
        int r = one_by_one(out, b, ports, prepare_us, release_us, &error);
        if (r == 0)
                r = side_by_side(out, b);
        int code = r < 0 ? fail(error.reason, error.message) : throughput(out, b, filters);
        if (b->ops->teardown(b, &ignored) < 0)
                return fail("teardown", ignored.message);
        return code;
}

int main(int argc, char **argv)
{
        size_t ports = 500;
        bool json = false;
        char state_dir[] = "/tmp/alkaid-bench-port-XXXXXX";
        uint64_t prepare_us, release_us;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--json") == 0)
                        json = true;
                else
                        ports = strtoul(argv[i], NULL, 10);
        }
        if (ports < 2 || ports > MAX_PORTS)
                return fail("usage", "bench-port [PORTS] [--json], 2 to 2000");
        ak_log_init("bench-port", AK_LOG_ERROR);
        if (host_isolate() < 0)
                return fail("namespaces", "must be root");
        if (!mkdtemp(state_dir))
                return fail(state_dir, strerror(errno));
        int r = bare(ports, &prepare_us, &release_us);
        if (r < 0)
                return fail("netlink", strerror(-r));
        const struct report bare_report = {json, "bare netlink"}, without = {json, "without filters"},
                            with = {json, "with filters"};
        if (!json)
                printf("medians of %zu ports; + = beyond the bare calls\n", ports);
        line(&bare_report, "bare netlink: tap, label, bridge, up", prepare_us, 0);
        line(&bare_report, "bare netlink: delete", release_us, 0);
        int code = measure(&without, state_dir, false, ports, prepare_us, release_us);
        if (code == 0)
                code = measure(&with, state_dir, true, ports, prepare_us, release_us);
        (void)rmdir(state_dir);
        return code;
}
