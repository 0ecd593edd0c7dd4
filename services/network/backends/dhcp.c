/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/backends/dhcp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "libcommon/cleanup.h"
#include "libcommon/netaddr.h"
#include "services/network/backends/dhcp_process.h"
#include "services/network/backends/netns.h"
#include "services/network/label.h"

#define CONF_MAX 8192

struct paths {
        char dir[PATH_MAX], conf[PATH_MAX], hosts[PATH_MAX];
};

static int make_paths(const struct dhcp_options *o, const char *subnet_id, struct paths *p)
{
        int n = snprintf(p->dir, sizeof(p->dir), "%s/subnets/%s", o->state_dir, subnet_id);

        if (n < 0 || (size_t)n + 64 >= sizeof(p->dir))
                return -ENAMETOOLONG;
        memcpy(p->conf, p->dir, sizeof(p->conf));
        memcpy(p->hosts, p->dir, sizeof(p->hosts));
        strncat(p->conf, "/dnsmasq.conf", sizeof(p->conf) - (size_t)n - 1);
        strncat(p->hosts, "/hosts", sizeof(p->hosts) - (size_t)n - 1);
        return 0;
}

/* ------------------------------------------------------------------ files */

static int make_dir(const char *path)
{
        return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* With its parents. */
static int make_state_dir(const char *path)
{
        char part[PATH_MAX];
        int r = 0;

        for (size_t i = 1; r == 0; i++) {
                if (path[i] != '/' && path[i] != '\0')
                        continue;
                snprintf(part, sizeof(part), "%.*s", (int)i, path);
                r = make_dir(part);
                if (path[i] == '\0')
                        break;
        }
        return r;
}

static int make_dirs(const struct dhcp_options *o, const struct paths *p)
{
        char parent[PATH_MAX];
        int r = make_state_dir(o->state_dir);

        snprintf(parent, sizeof(parent), "%s/subnets", o->state_dir);
        if (r == 0)
                r = make_dir(parent);
        if (r == 0)
                r = make_dir(p->dir);
        return r == 0 ? make_dir(p->hosts) : r;
}

/* Bytes read, at most size - 1, NUL-terminated; negative errno. */
static ssize_t read_file(const char *path, char *out, size_t size)
{
        AK_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

        if (n < 0)
                return -errno;
        out[n] = '\0';
        return n;
}

/* Written beside and renamed. dnsmasq overlooks names that begin with a dot. */
static int write_file(const char *dir, const char *name, const char *text)
{
        char temporary[PATH_MAX], path[PATH_MAX];
        size_t len = strlen(text);

        if (snprintf(temporary, sizeof(temporary), "%s/.%s", dir, name) >= (int)sizeof(temporary) ||
            snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
                return -ENAMETOOLONG;
        AK_AUTOCLOSE int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return -errno;
        if (fchmod(fd, 0644) < 0) /* whatever the umask: the server runs as nobody */
                return -errno;
        ssize_t n = write(fd, text, len);
        if (n < 0 || (size_t)n != len)
                return n < 0 ? -errno : -ENOSPC;
        (void)close(fd); /* before it gets its name: or dnsmasq is told of the close as well */
        fd = -1;
        return rename(temporary, path) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------ configuration */

static void print_options(FILE *f, const struct net_port_spec *spec)
{
        char text[AK_IP_SIZE];

        ak_ip_format(&spec->gateway, text);
        fprintf(f, "dhcp-option=option:router,%s\n", text);
        if (spec->dns_count > 0) {
                fprintf(f, "dhcp-option=option:dns-server");
                for (uint32_t i = 0; i < spec->dns_count; i++) {
                        ak_ip_format(&spec->dns[i], text);
                        fprintf(f, ",%s", text);
                }
                fprintf(f, "\n");
        } else {
                fprintf(f, "dhcp-option=option:dns-server\n"); /* send none, not ourselves */
        }
}

/*
 * The MTU is handed out while all ports of the subnet share one; a NIC of another learns its own from its
 * virtio device alone. (A tag in the reservation would do better, but dnsmasq 2.90 crashes when it reads
 * tagged reservations of dhcp-hostsdir again: a packet chains their tags to ones that are not on the heap.)
 */
static void print_mtu(FILE *f, const struct net_port_spec *spec, const char *old)
{
        static const char line[] = "\ndhcp-option=option:mtu,";
        const char *known = strstr(old, line);
        unsigned long mtu = known ? strtoul(known + sizeof(line) - 1, NULL, 10) : 0;

        if (old[0] == '\0' || (known && mtu == spec->mtu))
                fprintf(f, "%s%u\n", line + 1, spec->mtu);
}

/*
 * IPv6 by router advertisement: guests make their addresses of the network and their MAC, which are those
 * that the ports have. Once a port has asked for it, it stays.
 */
static void print_ipv6(FILE *f, const struct net_port_spec *spec, const char *old)
{
        static const char begin[] = "\nenable-ra\n";
        const char *known = strstr(old, begin);
        char net[AK_IP_SIZE];

        if (spec->cidr6.prefix_len != 0) {
                ak_ip_format(&spec->cidr6.addr, net);
                fprintf(f, "%sdhcp-range=%s,ra-names,64\nra-param=%s,mtu:%u,0\n", begin + 1, net,
                        net_gateway_name(spec->key.subnet_id).s, spec->mtu);
        } else if (known) {
                fputs(known + 1, f); /* the last part of the file */
        }
}

/*
 * Names of the subnet's VMs, and, where the VPC has a way out, everybody else's. A name is known while its VM
 * has a lease.
 */
static void print_dns(FILE *f, const struct net_port_spec *spec)
{
        fprintf(f, "port=53\nno-hosts\nno-poll\ndomain-needed\nbogus-priv\ncache-size=1000\n");
        fprintf(f, "domain=" DHCP_DOMAIN "\nlocal=/" DHCP_DOMAIN "/\n");
        if (!spec->source_nat)
                fprintf(f, "no-resolv\n");
}

static int make_conf(const struct dhcp_options *o, const struct net_port_spec *spec, const char *old,
                     char out[CONF_MAX])
{
        struct in_addr mask = {.s_addr = htonl(~UINT32_C(0) << (32 - spec->cidr.prefix_len))};
        char net[AK_IP_SIZE], netmask[AK_IP_SIZE];
        struct ak_ip mask_ip = {.family = 4};
        FILE *f = fmemopen(out, CONF_MAX, "w");

        if (!f)
                return -ENOMEM;
        memcpy(mask_ip.bytes, &mask, 4);
        ak_ip_format(&mask_ip, netmask);
        ak_ip_format(&spec->cidr.addr, net);
        fprintf(f, "# made by alkaid-network; changes are overwritten\n");
        print_dns(f, spec);
        fprintf(f, "interface=%s\nexcept-interface=lo\nbind-interfaces\n",
                net_gateway_name(spec->key.subnet_id).s);
        fprintf(f, "dhcp-range=%s,static,%s,%u\n", net, netmask, o->lease_seconds);
        fprintf(f, "dhcp-hostsdir=" DHCP_HOSTS_MOUNT "\ndhcp-authoritative\nleasefile-ro\n");
        fprintf(f, "dhcp-lease-max=%d\nno-ping\nquiet-dhcp\n", DHCP_MAX_LEASES);
        fprintf(f, "user=nobody\ngroup=nogroup\npid-file=\n");
        print_options(f, spec);
        print_mtu(f, spec, old);
        print_ipv6(f, spec, old);
        bool full = ferror(f) || ftell(f) >= CONF_MAX - 1;
        return fclose(f) != 0 || full ? -ENOSPC : 0;
}

static int start_server(const struct dhcp_options *o, int ns_fd, const struct paths *p, const char *conf,
                        const char *subnet_id, struct dhcp_server *server, struct net_error *error)
{
        int r = write_file(p->dir, "dnsmasq.conf", conf);

        if (r < 0) {
                net_error_set(error, "StateDirFailed", "%s: %s; check --state-dir", p->conf, strerror(-r));
                return r;
        }
        r = dhcp_process_start(ns_fd, &(struct dhcp_start){o->dnsmasq_path, p->conf, p->hosts}, error);
        if (r < 0)
                return r;
        r = dhcp_find(ns_fd, subnet_id, server);
        if (r < 0)
                net_error_set(error, "DHCPServerFailed", "dnsmasq ended right after its start");
        return r;
}

int dhcp_ensure(const struct dhcp_options *o, int ns_fd, const struct net_port_spec *spec,
                struct dhcp_server *server, struct net_error *error)
{
        char conf[CONF_MAX], old[CONF_MAX] = "";
        struct paths p = {0};
        int r = make_paths(o, spec->key.subnet_id, &p);

        if (r == 0)
                r = make_dirs(o, &p);
        if (r == 0) {
                (void)read_file(p.conf, old, sizeof(old)); /* none yet: as empty */
                r = make_conf(o, spec, old, conf);
        }
        if (r < 0) {
                net_error_set(error, "StateDirFailed", "%s: %s; check --state-dir", o->state_dir,
                              strerror(-r));
                return r;
        }
        if (server->pidfd < 0)
                (void)dhcp_find(ns_fd, spec->key.subnet_id, server);
        if (dhcp_alive(server) && strcmp(old, conf) == 0 && dhcp_process_sees(server, p.hosts))
                return 0;
        dhcp_stop(server);
        return start_server(o, ns_fd, &p, conf, spec->key.subnet_id, server, error);
}

/* ------------------------------------------------------------------ reservations */

int dhcp_reservation_parse(const char *text, char mac[AK_MAC_SIZE], struct ak_ip *address)
{
        char first[AK_MAC_SIZE], last[AK_IP_SIZE];
        struct ak_ip ip;
        int end = -1;

        if (sscanf(text, "%17[0-9a-f:],id:*,%45[0-9.]%n", first, last, &end) != 2 || end < 0)
                return -EINVAL;
        if (text[end] == ',') /* a name */
                end += 1 + (int)strspn(text + end + 1, "abcdefghijklmnopqrstuvwxyz0123456789-");
        if (text[end] != '\0' && strcmp(text + end, "\n") != 0)
                return -EINVAL;
        if (ak_ip_parse(last, &ip) < 0 || ip.family != 4)
                return -EINVAL;
        int r = ak_mac_parse(first, mac);
        if (r == 0)
                *address = ip;
        return r;
}

/* RFC 2131, DHCPRELEASE, the parts that dnsmasq reads. */
struct release_packet {
        uint8_t op, htype, hlen, hops;
        uint32_t xid;
        uint16_t secs, flags;
        uint32_t ciaddr, yiaddr, siaddr, giaddr;
        uint8_t chaddr[16], sname[64], file[128], cookie[4];
        uint8_t options[60]; /* a BOOTP packet has at least 300 bytes */
} __attribute__((__packed__));

struct release {
        const char *interface;
        struct ak_ip server, address;
        uint8_t mac[6];
};

static void fill_release(const struct release *r, struct release_packet *p)
{
        static const uint8_t cookie[4] = {99, 130, 83, 99};
        uint8_t *o = p->options;

        memset(p, 0, sizeof(*p));
        p->op = 1;
        p->htype = ARPHRD_ETHER;
        p->hlen = 6;
        memcpy(&p->ciaddr, r->address.bytes, 4);
        memcpy(p->chaddr, r->mac, 6);
        memcpy(p->cookie, cookie, 4);
        *o++ = 53; /* message type */
        *o++ = 1;
        *o++ = 7;  /* DHCPRELEASE */
        *o++ = 54; /* server identifier */
        *o++ = 4;
        memcpy(o, r->server.bytes, 4);
        o[4] = 255;
}

/* Inside the namespace. Bound to the gateway's interface, or dnsmasq would see it come from lo. */
static int send_release(void *arg)
{
        const struct release *release = arg;
        struct release_packet packet = {0};
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(67)};
        AK_AUTOCLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        fill_release(release, &packet);
        memcpy(&to.sin_addr, release->server.bytes, 4);
        if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, release->interface,
                       (socklen_t)strlen(release->interface) + 1) < 0)
                return -errno;
        ssize_t n = sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to));
        return n < 0 ? -errno : 0;
}

/* The router option of the running configuration is the server's own address. */
static int server_address(const char *conf_path, struct ak_ip *out)
{
        static const char key[] = "dhcp-option=option:router,";
        char conf[CONF_MAX];

        if (read_file(conf_path, conf, sizeof(conf)) < 0)
                return -ENOENT;
        char *line = strstr(conf, key);
        if (!line)
                return -ENOENT;
        line += sizeof(key) - 1;
        line[strcspn(line, "\n")] = '\0';
        return ak_ip_parse(line, out);
}

static int end_lease(int ns_fd, const struct paths *p, const char *subnet_id, const char *text)
{
        struct net_name interface = net_gateway_name(subnet_id);
        struct release release = {.interface = interface.s};
        char text_mac[AK_MAC_SIZE], mac[AK_MAC_SIZE];

        if (dhcp_reservation_parse(text, text_mac, &release.address) < 0 || ak_mac_parse(text_mac, mac) < 0 ||
            server_address(p->conf, &release.server) < 0)
                return 0; /* not ours to read: no lease can come of it */
        ak_mac_bytes(mac, release.mac);
        return netns_run(ns_fd, send_release, &release);
}

int dhcp_withdraw(const struct dhcp_options *o, int ns_fd, const struct net_port_key *key,
                  const struct dhcp_server *server, struct net_error *error)
{
        char path[PATH_MAX + 64], text[192];
        struct paths p = {0};
        int r = make_paths(o, key->subnet_id, &p);

        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "%s/%s", p.hosts, key->port_id);
        if (read_file(path, text, sizeof(text)) < 0)
                return 0;
        if (unlink(path) < 0 && errno != ENOENT) {
                net_error_set(error, "DHCPEntryFailed", "%s: %s", path, strerror(errno));
                return -errno;
        }
        if (!dhcp_alive(server))
                return 0;
        (void)pidfd_send_signal(server->pidfd, SIGHUP, NULL, 0);
        r = end_lease(ns_fd, &p, key->subnet_id, text);
        if (r < 0)
                net_error_set(error, "DHCPReleaseFailed", "cannot end the lease: %s", strerror(-r));
        return r;
}

/* "id:*": the client's ID does not matter, so that a boot loader and an OS get the same address. */
int dhcp_reserve(const struct dhcp_options *o, int ns_fd, const struct net_port_spec *spec,
                 const struct dhcp_server *server, struct net_error *error)
{
        char text[192], old[192], path[PATH_MAX + 64], address[AK_IP_SIZE];
        struct paths p = {0};
        int r = make_paths(o, spec->key.subnet_id, &p);

        if (r == 0)
                r = make_dirs(o, &p);
        if (r < 0) {
                net_error_set(error, "DHCPEntryFailed", "%s: %s; check --state-dir", o->state_dir,
                              strerror(-r));
                return r;
        }
        ak_ip_format(&spec->addresses[0].addr, address);
        snprintf(text, sizeof(text), "%s,id:*,%s%s%s\n", spec->mac, address, spec->host_name[0] ? "," : "",
                 spec->host_name);
        snprintf(path, sizeof(path), "%s/%s", p.hosts, spec->key.port_id);
        if (read_file(path, old, sizeof(old)) >= 0) {
                if (strcmp(old, text) == 0)
                        return 0;
                r = dhcp_withdraw(o, ns_fd, &spec->key, server, error);
                if (r < 0)
                        return r;
        }
        r = write_file(p.hosts, spec->key.port_id, text);
        if (r < 0)
                net_error_set(error, "DHCPEntryFailed", "%s: %s; check --state-dir", p.hosts, strerror(-r));
        return r;
}

/* ------------------------------------------------------------------ listing and removal */

/* Calls fn(name) for each entry that is a UUID. */
static void each_uuid(const char *dir, void (*fn)(void *arg, const char *name), void *arg)
{
        DIR *d = opendir(dir);
        struct dirent *entry;

        while (d && (entry = readdir(d)))
                if (ak_uuid_valid(entry->d_name))
                        fn(arg, entry->d_name);
        if (d)
                closedir(d);
}

struct each {
        const struct dhcp_options *options;
        void (*fn)(void *arg, const char *subnet_id, const char *port_id);
        void *arg;
        const char *subnet_id;
};

static void each_port(void *arg, const char *port_id)
{
        struct each *each = arg;

        each->fn(each->arg, each->subnet_id, port_id);
}

static void each_subnet(void *arg, const char *subnet_id)
{
        struct each *each = arg;
        struct paths p = {0};

        if (make_paths(each->options, subnet_id, &p) < 0)
                return;
        each->subnet_id = subnet_id;
        each->fn(each->arg, subnet_id, NULL);
        each_uuid(p.hosts, each_port, each);
}

void dhcp_each(const struct dhcp_options *o,
               void (*fn)(void *arg, const char *subnet_id, const char *port_id), void *arg)
{
        struct each each = {o, fn, arg, NULL};
        char dir[PATH_MAX];

        snprintf(dir, sizeof(dir), "%s/subnets", o->state_dir);
        each_uuid(dir, each_subnet, &each);
}

static void empty_dir(const char *path)
{
        DIR *d = opendir(path);
        struct dirent *entry;

        while (d && (entry = readdir(d)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        (void)unlinkat(dirfd(d), entry->d_name, 0);
        if (d)
                closedir(d);
}

static void forget_subnet(void *arg, const char *subnet_id, const char *port_id)
{
        const struct dhcp_options *o = arg;
        struct paths p = {0};

        if (port_id || make_paths(o, subnet_id, &p) < 0)
                return;
        empty_dir(p.hosts);
        (void)rmdir(p.hosts);
        empty_dir(p.dir);
        (void)rmdir(p.dir);
}

void dhcp_forget(const struct dhcp_options *o, const char *subnet_id)
{
        char dir[PATH_MAX];

        if (subnet_id) {
                forget_subnet((void *)o, subnet_id, NULL);
                return;
        }
        dhcp_each(o, forget_subnet, (void *)o);
        snprintf(dir, sizeof(dir), "%s/subnets", o->state_dir);
        (void)rmdir(dir);
}
