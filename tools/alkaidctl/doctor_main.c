/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: is this host fit for a node, and are the services reachable? One table of checks, each looks at one
 * thing, changes nothing, and says what to do about it. "warn" is worth knowing, "fail" is in the way.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/options.h"
#include "services/apiserver/pki.h"
#include "tools/alkaidctl/command.h"

#define DAY          86400
#define DISK_MIN     (UINT64_C(1) << 30)
#define DISK_PERCENT 10

struct config {
        char *bus_dir, *state_dir, *pki_dir, *libvirt_socket;
};

enum verdict { OK, WARN, FAIL };

struct finding {
        enum verdict verdict;
        char text[PATH_MAX + 200];
        const char *remedy;
};

#define OPTION(n, member, d, h)                                                                              \
        {                                                                                                    \
                .name = n, .type = AK_OPT_STRING, .offset = offsetof(struct config, member), .def = d,       \
                .help = h                                                                                    \
        }
static const struct ak_option options[] = {
    OPTION("bus-dir", bus_dir, "/run/alkaid/bus", "directory of the node's bus"),
    OPTION("state-dir", state_dir, "/var/lib/alkaid", "where the services keep what they have"),
    OPTION("pki-dir", pki_dir, "/var/lib/alkaid/apiserver/pki", "where the apiserver keeps its certificates"),
    OPTION("libvirt-socket", libvirt_socket, "/run/libvirt/libvirt-sock", "where libvirtd listens"),
};
static const struct ak_program program = {"alkaidctl doctor",
                                          "Looks whether this host and its services are in order.", NULL,
                                          options, AK_ARRAY_SIZE(options)};

#define SAY(f, ...) (void)snprintf((f)->text, sizeof((f)->text), __VA_ARGS__)

static void problem(struct finding *f, enum verdict verdict, const char *remedy)
{
        f->verdict = verdict;
        f->remedy = remedy;
}

static int connect_to(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        AK_AUTOCLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
                return fd < 0 ? -errno : -ENAMETOOLONG;
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

/* ---- the host ---- */

static void check_kvm(const struct config *c, struct finding *f)
{
        AK_AUTOCLOSE int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

        (void)c;
        SAY(f, "/dev/kvm: %s", fd < 0 ? strerror(errno) : "can be opened");
        if (fd < 0)
                problem(f, WARN,
                        "VMs run without it, slowly. Switch virtualization on in the firmware, or nested "
                        "virtualization on the host of this VM; modprobe kvm_intel or kvm_amd");
}

static void check_tun(const struct config *c, struct finding *f)
{
        AK_AUTOCLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

        (void)c;
        SAY(f, "/dev/net/tun: %s", fd < 0 ? strerror(errno) : "can be opened");
        if (fd < 0)
                problem(f, FAIL, "modprobe tun; in a container: give it the device /dev/net/tun");
}

static void check_libvirt(const struct config *c, struct finding *f)
{
        int r = connect_to(c->libvirt_socket);

        SAY(f, "%s: %s", c->libvirt_socket, r < 0 ? strerror(-r) : "answers");
        if (r < 0)
                problem(f, FAIL,
                        "apt install libvirt-daemon-system; systemctl start libvirtd; run this as root");
}

/* The first directory of PATH that has it. */
static bool find_program(const char *name)
{
        const char *path = getenv("PATH");
        char file[PATH_MAX];

        for (const char *p = path ? path : ""; *p; p += strcspn(p, ":"), p += *p == ':') {
                (void)snprintf(file, sizeof(file), "%.*s/%s", (int)strcspn(p, ":"), p, name);
                if (access(file, X_OK) == 0)
                        return true;
        }
        (void)snprintf(file, sizeof(file), "/usr/sbin/%s", name);
        return access(file, X_OK) == 0;
}

static void check_programs(const struct config *c, struct finding *f)
{
        static const char *const names[] = {"qemu-system-x86_64", "qemu-img", "dnsmasq"};
        char missing[200] = "";
        size_t used = 0;

        (void)c;
        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++)
                if (!find_program(names[i]))
                        used += (size_t)snprintf(missing + used, sizeof(missing) - used, " %s", names[i]);
        SAY(f, "%s%s", missing[0] ? "not found:" : "qemu, qemu-img, dnsmasq are there", missing);
        if (missing[0])
                problem(f, FAIL, "apt install qemu-system-x86 qemu-utils dnsmasq-base");
}

static void check_clock(const struct config *c, struct finding *f)
{
        struct timex t = {0};
        int state = adjtimex(&t);

        (void)c;
        SAY(f, "%s",
            state < 0             ? "cannot be asked"
            : state == TIME_ERROR ? "not synchronized"
                                  : "synchronized");
        if (state < 0 || state == TIME_ERROR)
                problem(f, WARN,
                        "certificates and leases count on it: apt install systemd-timesyncd, or chrony");
}

static void check_disk(const struct config *c, struct finding *f)
{
        struct statvfs s;

        if (statvfs(c->state_dir, &s) < 0) {
                SAY(f, "%s: %s", c->state_dir, strerror(errno));
                problem(f, WARN, "say where the state is with --state-dir");
                return;
        }
        uint64_t free_bytes = (uint64_t)s.f_bavail * s.f_frsize, all = (uint64_t)s.f_blocks * s.f_frsize;
        SAY(f, "%s: %llu MiB free of %llu", c->state_dir, (unsigned long long)(free_bytes >> 20),
            (unsigned long long)(all >> 20));
        if (free_bytes < DISK_MIN || free_bytes < all / 100 * DISK_PERCENT)
                problem(f, free_bytes < DISK_MIN ? FAIL : WARN,
                        "the store stops at a full disk, and so do VMs: delete images or VMs, or give it "
                        "more room");
}

/* ---- the services ---- */

static void check_bus(const struct config *c, struct finding *f)
{
        struct stat st;

        if (stat(c->bus_dir, &st) < 0) {
                SAY(f, "%s: %s", c->bus_dir, strerror(errno));
                problem(f, FAIL, "systemd-tmpfiles --create alkaid-node.conf, or start the services");
                return;
        }
        SAY(f, "%s: mode %04o, user %u", c->bus_dir, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid);
        if (st.st_mode & 0077)
                problem(f, FAIL, "chmod 0700: the services refuse a bus that others could enter");
}

static void check_service(const struct config *c, struct finding *f, const char *name)
{
        char path[PATH_MAX];

        (void)snprintf(path, sizeof(path), "%s/%s", c->bus_dir, name);
        int r = connect_to(path);
        SAY(f, "%s: %s", path, r < 0 ? strerror(-r) : "answers");
        if (r < 0)
                problem(f, FAIL,
                        "systemctl status 'alkaid-*'; journalctl -u alkaid-network, -watcher, -hypervisor; "
                        "with a bus over tcp this is no fault");
}

static void check_watcher(const struct config *c, struct finding *f)
{
        check_service(c, f, "watcher");
}

static void check_network(const struct config *c, struct finding *f)
{
        check_service(c, f, "network");
}

static void check_hypervisor(const struct config *c, struct finding *f)
{
        check_service(c, f, "hypervisor");
}

/* Its end, or -1 where it cannot be read. */
static time_t end_of(const char *pem)
{
        gnutls_datum_t data;
        gnutls_x509_crt_t crt;
        time_t end = -1;

        data.data = (unsigned char *)pem;
        data.size = (unsigned int)strlen(pem);
        if (gnutls_x509_crt_init(&crt) < 0)
                return -1;
        if (gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM) >= 0)
                end = gnutls_x509_crt_get_expiration_time(crt);
        gnutls_x509_crt_deinit(crt);
        return end;
}

static void check_certificates(const struct config *c, struct finding *f)
{
        static const char *const files[] = {"ca.crt", "server.crt", "admin.crt", "node.crt"};
        long days = LONG_MAX;
        const char *first = "";

        for (size_t i = 0; i < AK_ARRAY_SIZE(files); i++) {
                AK_AUTOFREE char *pem = NULL;
                char error[PKI_ERROR_SIZE];

                if (pki_read_file(c->pki_dir, files[i], &pem, error) < 0) {
                        SAY(f, "%s/%s: cannot be read", c->pki_dir, files[i]);
                        problem(f, WARN,
                                "on a node without an API server this is no fault; else run this as root");
                        return;
                }
                long left = (long)((end_of(pem) - time(NULL)) / DAY);
                if (left < days) {
                        days = left;
                        first = files[i];
                }
        }
        SAY(f, "%s/%s is the first to end, in %ld days", c->pki_dir, first, days);
        if (days < 14)
                problem(f, days < 1 ? FAIL : WARN,
                        "systemctl reload alkaid-apiserver makes what ends within 30 days anew; alkaidctl "
                        "cert renew");
}

static const struct {
        const char *name;
        void (*look)(const struct config *config, struct finding *finding);
} checks[] = {
    {"kvm", check_kvm},
    {"tun", check_tun},
    {"libvirt", check_libvirt},
    {"programs", check_programs},
    {"clock", check_clock},
    {"disk", check_disk},
    {"bus", check_bus},
    {"watcher", check_watcher},
    {"network", check_network},
    {"hypervisor", check_hypervisor},
    {"certificates", check_certificates},
};

static int run_checks(const struct config *config)
{
        static const char *const words[] = {"ok", "warn", "FAIL"};
        int code = CTL_OK;

        for (size_t i = 0; i < AK_ARRAY_SIZE(checks); i++) {
                struct finding f = {.verdict = OK};

                checks[i].look(config, &f);
                (void)printf("%-4s  %-12s  %s\n", words[f.verdict], checks[i].name, f.text);
                if (f.remedy)
                        (void)printf("      %-12s  -> %s\n", "", f.remedy);
                if (f.verdict == FAIL)
                        code = CTL_FAILED;
        }
        return code;
}

int ctl_doctor_main(int argc, char **argv)
{
        struct config config = {0};
        int r = ak_options_load(&program, argc, argv, &config, NULL);
        int code = r < 0 ? CTL_USAGE : r == 0 ? run_checks(&config) : CTL_OK;

        ak_options_deinit(&program, &config);
        return code;
}
