/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support-bundle: one .tar.gz with what is needed to understand a fault from afar: versions, doctor, logs,
 * the host's network, API objects, some seconds of the bus. No secrets: nothing is taken from a directory of
 * keys, and in all that is JSON, the values under the names below are replaced. Whoever wants to be sure
 * reads the archive: it is plain text.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"

#define REDACTED     "[removed]"
#define PART_MAX     ((size_t)64 << 20)
#define PART_SECONDS "60"
#define TIMED_OUT    (124 << 8) /* timeout(1), as wait(2) tells it */

struct config {
        char *bus_dir, *config_dir;
};

static const struct ak_option options[] = {
    {.name = "bus-dir",
     .type = AK_OPT_STRING,
     .offset = offsetof(struct config, bus_dir),
     .def = "/run/alkaid/bus",
     .help = "directory of the node's bus"},
    {.name = "config-dir",
     .type = AK_OPT_STRING,
     .offset = offsetof(struct config, config_dir),
     .def = "/etc/alkaid",
     .help = "where the services' files are; only *.yaml are taken, and no kubeconfig"},
};
static const struct ak_program program = {
    "alkaidctl support-bundle", "Gathers what helps to understand a fault, without secrets, in FILE.tar.gz.",
    "FILE", options, AK_ARRAY_SIZE(options)};

/* What may hold a password, a key or a token of a user. */
static const char *const secret_names[] = {
    "userData",
    "user_data",
    "cloudInitUserDataScript",
    "cloud_init_user_data_script",
    "cloud_init",
    "publicKey",
    "public_key",
    "token",
    "password",
    "data",
    "stringData",
    "seed",
    "kubectl.kubernetes.io/last-applied-configuration",
};

/* Each is run by the shell, with ALKAIDCTL, ALKAID_BUS_DIR and CONFIG_DIR; what fails says so in its file. */
static const struct part {
        const char *file, *command;
        bool json; /* one JSON value per line, to be cleaned */
} parts[] = {
    {"versions.txt",
     "\"$ALKAIDCTL\" --version; uname -a; cat /etc/os-release; for p in apiserver watcher network "
     "hypervisor; do "
     "alkaid-$p --version; done; qemu-system-x86_64 --version; libvirtd --version; dnsmasq --version | head "
     "-n 1",
     false},
    {"doctor.txt", "\"$ALKAIDCTL\" doctor", false},
    {"configuration.txt", "for f in \"$CONFIG_DIR\"/*.yaml; do echo \"# $f\"; cat \"$f\"; done", false},
    {"units.txt", "systemctl --no-pager --full status 'alkaid-*' libvirtd", false},
    {"journal.txt", "journalctl --no-pager -o short-iso-precise -n 50000 -u 'alkaid-*' -u libvirtd", false},
    {"kernel.txt", "dmesg --time-format iso | tail -n 2000", false},
    {"links.txt", "ip -d address; ip route; ip -all netns exec ip -d address", false},
    {"filters.txt", "nft list ruleset", false},
    {"processes.txt", "ps -eo pid,user,rss,pcpu,etime,comm; df -h; free -m", false},
    {"domains.txt", "virsh -c qemu:///system list --all", false},
    {"nodes.json", "kubectl --request-timeout=10s get nodes -o json 2>/dev/null", true},
    {"pods.json", "kubectl --request-timeout=10s get pods -A -o json 2>/dev/null", true},
    {"network.json",
     "kubectl --request-timeout=10s get vpcs,subnets,ports,securitygroups -A -o json 2>/dev/null", true},
    {"events.txt", "kubectl --request-timeout=10s get events -A", false},
    {"bus.json", "\"$ALKAIDCTL\" tap --json --for 5s 2>/dev/null", true},
    {"bus.txt", "timeout 5 \"$ALKAIDCTL\" stats", false},
};

static bool is_secret(const char *name)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(secret_names); i++)
                if (strcmp(name, secret_names[i]) == 0)
                        return true;
        return false;
}

static void clean(json_t *value) /* as deep as jansson reads */
{
        const char *name;
        json_t *item;
        void *next;

        json_object_foreach_safe(value, next, name, item)
        {
                if (is_secret(name) && !json_is_null(item))
                        (void)json_object_set_new(value, name, json_string(REDACTED));
                else
                        clean(item);
        }
        for (size_t i = 0; i < json_array_size(value); i++)
                clean(json_array_get(value, i));
}

/* What is no JSON is an error message of the command, and ends the file: it might quote anything. */
static void copy_json(FILE *from, FILE *to)
{
        json_t *value;

        while ((value = json_loadf(from, JSON_DISABLE_EOF_CHECK, NULL))) {
                clean(value);
                if (json_dumpf(value, to, JSON_COMPACT) == 0)
                        (void)fputc('\n', to);
                json_decref(value);
        }
}

static void copy_text(FILE *from, FILE *to)
{
        char block[65536];
        size_t sum = 0;

        for (size_t n; (n = fread(block, 1, sizeof(block), from)) > 0; sum += n)
                if (to && sum < PART_MAX)
                        (void)fwrite(block, 1, n, to);
}

/* The command is of the table above, and gets PART_SECONDS; what varies comes through the environment. */
static int run_part(const struct part *part, FILE *to)
{
        FILE *from = setenv("PART", part->command, 1) == 0
                         ? popen("timeout " PART_SECONDS " sh -c \"$PART\" 2>&1", "re")
                         : NULL;

        if (!from)
                return -errno;
        part->json ? copy_json(from, to) : copy_text(from, to);
        copy_text(from, NULL); /* to its end: no command is cut off */
        if (pclose(from) == TIMED_OUT && !part->json)
                (void)fputs("[ended after " PART_SECONDS " s]\n", to);
        return 0;
}

static int add(struct archive *a, const char *name, const char *text, size_t len)
{
        struct archive_entry *entry = archive_entry_new();
        char path[64];
        bool written;

        if (!entry)
                return -ENOMEM;
        (void)snprintf(path, sizeof(path), "alkaid-support/%s", name);
        archive_entry_set_pathname(entry, path);
        archive_entry_set_size(entry, (la_int64_t)len);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0600);
        archive_entry_set_mtime(entry, time(NULL), 0);
        written = archive_write_header(a, entry) == ARCHIVE_OK &&
                  archive_write_data(a, text, len) == (la_ssize_t)len;
        archive_entry_free(entry);
        return written ? 0 : -EIO;
}

static int gather(const struct part *part, struct archive *a)
{
        char *text = NULL;
        size_t len = 0;
        FILE *to = open_memstream(&text, &len);
        int r = to ? run_part(part, to) : -errno;

        if (to && fclose(to) != 0)
                r = -ENOMEM;
        if (r == 0)
                r = add(a, part->file, text, len);
        free(text);
        return r;
}

static int write_bundle(struct archive *a, int fd)
{
        int r = 0;

        if (archive_write_add_filter_gzip(a) != ARCHIVE_OK ||
            archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
            archive_write_open_fd(a, fd) != ARCHIVE_OK)
                return -EIO;
        for (size_t i = 0; i < AK_ARRAY_SIZE(parts) && r == 0; i++)
                r = gather(&parts[i], a);
        return r == 0 && archive_write_close(a) != ARCHIVE_OK ? -EIO : r;
}

static int set_environment(const struct config *config)
{
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n < 0)
                return -errno;
        self[n] = '\0';
        return setenv("ALKAIDCTL", self, 1) < 0 || setenv("ALKAID_BUS_DIR", config->bus_dir, 1) < 0 ||
                       setenv("CONFIG_DIR", config->config_dir, 1) < 0
                   ? -ENOMEM
                   : 0;
}

static int make(const struct config *config, const char *file)
{
        AK_AUTOCLOSE int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct archive *a = fd >= 0 && fchmod(fd, 0600) == 0 ? archive_write_new() : NULL;
        int r;

        if (!a)
                return ctl_fail(CTL_FAILED, "support-bundle", "%s: %s", file, strerror(errno));
        r = set_environment(config);
        if (r == 0)
                r = write_bundle(a, fd);
        (void)archive_write_free(a);
        if (r == 0 && fsync(fd) == 0)
                return CTL_OK;
        r = r < 0 ? r : -errno;
        (void)unlink(file);
        return ctl_fail(CTL_FAILED, "support-bundle", "%s: %s", file, strerror(-r));
}

int ctl_bundle_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0 && argc - first != 1)
                code = ctl_fail(CTL_USAGE, "support-bundle", "usage: %s [OPTION]... FILE", program.name);
        else if (r == 0)
                code = make(&config, argv[first]);
        ak_options_deinit(&program, &config);
        return code;
}
