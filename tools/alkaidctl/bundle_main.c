/* SPDX-License-Identifier: Apache-2.0 */
/*
 * support-bundle: one .tar.gz with what is needed to understand a fault from afar: versions, doctor, logs,
 * the host's network, API objects, some seconds of the bus. No secrets: nothing is taken from a directory of
 * keys, and in all that is JSON, the values under the names below are replaced. Whoever wants to be sure
 * reads the archive: it is plain text.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"

#define REDACTED "[removed]"

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

        for (size_t n; (n = fread(block, 1, sizeof(block), from)) > 0;)
                if (to)
                        (void)fwrite(block, 1, n, to);
}

static int gather(const struct part *part, const char *dir)
{
        AK_AUTOFREE char *command = NULL;
        AK_AUTOFREE char *path = NULL;
        FILE *from, *to;

        if (asprintf(&command, "{ %s; } 2>&1", part->command) < 0) {
                command = NULL;
                return CTL_FAILED;
        }
        if (asprintf(&path, "%s/%s", dir, part->file) < 0) {
                path = NULL;
                return CTL_FAILED;
        }
        to = fopen(path, "we");
        if (!to)
                return ctl_fail(CTL_FAILED, "support-bundle", "%s: %s", path, strerror(errno));
        /* The command is of the table above; what varies comes through the environment. */
        from = popen(command, "re");
        if (from) {
                part->json ? copy_json(from, to) : copy_text(from, to);
                copy_text(from, NULL); /* to its end: no command is cut off */
                (void)pclose(from);
        }
        return fclose(to) == 0 ? CTL_OK
                               : ctl_fail(CTL_FAILED, "support-bundle", "%s: %s", path, strerror(errno));
}

/* Packs DIR/NAME and removes DIR. */
static int pack(const char *dir, const char *name, const char *file)
{
        int status = -1;

        if (setenv("BUNDLE_DIR", dir, 1) == 0 && setenv("BUNDLE_NAME", name, 1) == 0 &&
            setenv("BUNDLE_FILE", file, 1) == 0)
                status =
                    system("umask 077; tar -czf \"$BUNDLE_FILE\" -C \"$BUNDLE_DIR\" \"$BUNDLE_NAME\"; r=$?; "
                           "rm -rf \"$BUNDLE_DIR\"; exit $r");
        return status == 0 ? CTL_OK : ctl_fail(CTL_FAILED, "support-bundle", "tar could not write %s", file);
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
        char dir[] = "/tmp/alkaid-support-XXXXXX", inner[sizeof(dir) + 20];
        int code = CTL_OK;

        if (set_environment(config) < 0 || !mkdtemp(dir))
                return ctl_fail(CTL_FAILED, "support-bundle", "no directory in /tmp: %s", strerror(errno));
        (void)snprintf(inner, sizeof(inner), "%s/alkaid-support", dir);
        if (mkdir(inner, 0700) < 0)
                return ctl_fail(CTL_FAILED, "support-bundle", "%s: %s", inner, strerror(errno));
        for (size_t i = 0; i < AK_ARRAY_SIZE(parts) && code == CTL_OK; i++)
                code = gather(&parts[i], inner);
        return code == CTL_OK ? pack(dir, "alkaid-support", file) : code;
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
