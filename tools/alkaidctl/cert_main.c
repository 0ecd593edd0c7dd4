/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cert issue|renew|revoke and token issue: credentials of further users and nodes, made where the apiserver
 * keeps its CA. What a user may do is said in the file `grants` there (services/apiserver/access.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/kube/kubeconfig.h"
#include "libcommon/options.h"
#include "services/apiserver/pki.h"
#include "tools/alkaidctl/cert.h"
#include "tools/alkaidctl/command.h"

struct config {
        char *pki_dir, *user, *node, *server, *out;
        struct ak_strlist groups;
        uint64_t days;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
#define PKI_DIR                                                                                              \
        OPTION("pki-dir", AK_OPT_STRING, pki_dir, .def = "/var/lib/alkaid/apiserver/pki",                    \
               .help = "where the apiserver keeps its CA")
#define DAYS OPTION("days", AK_OPT_UINT, days, .def = "365", .min = 1, .max = 3650, .help = "it is good for")
#define SERVER                                                                                               \
        OPTION("server", AK_OPT_STRING, server, .help = "URL of the API; default: that of admin.kubeconfig")

static const struct ak_option issue_options[] = {
    PKI_DIR,
    OPTION("user", AK_OPT_STRING, user, .help = "name of the user"),
    OPTION("group", AK_OPT_LIST, groups, .help = "group of the user; may be repeated"),
    OPTION("node", AK_OPT_STRING, node, .help = "instead of a user: the node's name"),
    DAYS,
    SERVER,
    OPTION("out", AK_OPT_STRING, out, .help = "kubeconfig to write; default: standard output"),
};
static const struct ak_option renew_options[] = {PKI_DIR, DAYS, SERVER};
static const struct ak_option revoke_options[] = {PKI_DIR};
static const struct ak_option token_options[] = {
    PKI_DIR,
    OPTION("user", AK_OPT_STRING, user, .help = "name of the user"),
    OPTION("group", AK_OPT_LIST, groups, .help = "group of the user; may be repeated"),
    DAYS,
};

/* ------------------------------------------------------------------ certificates */

/* The server's URL: as told, else as the administrator's kubeconfig has it. */
static int find_server(const struct config *config, char **out)
{
        char path[PATH_MAX], error[AK_KUBECONFIG_ERROR_SIZE] = "";
        struct ak_kubeconfig admin = {0};
        int r;

        if (config->server) {
                *out = strdup(config->server);
                return *out ? CTL_OK : CTL_FAILED;
        }
        (void)snprintf(path, sizeof(path), "%s/admin.kubeconfig", config->pki_dir);
        r = ak_kubeconfig_load(&admin, path, NULL, error);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "cert", "%s; say the API's URL with --server", error);
        *out = strdup(admin.server);
        ak_kubeconfig_deinit(&admin);
        return *out ? CTL_OK : CTL_FAILED;
}

static int write_out(const char *path, const char *text)
{
        AK_AUTOFREE char *dir = strdup(path);
        AK_AUTOFREE char *name = strdup(path);
        char error[PKI_ERROR_SIZE] = "";

        if (!dir || !name || pki_write_file(dirname(dir), basename(name), text, error) < 0)
                return ctl_fail(CTL_FAILED, "cert", "%s", error);
        return CTL_OK;
}

static int issue(const struct config *config, const struct pki_subject *subject, const char *out)
{
        AK_AUTOFREE char *server = NULL;
        AK_AUTOFREE char *text = NULL;
        char error[PKI_ERROR_SIZE] = "out of memory";
        int code = find_server(config, &server);

        if (code != CTL_OK)
                return code;
        if (pki_issue(config->pki_dir, subject, server, time(NULL), &text, error) < 0)
                return ctl_fail(CTL_FAILED, "cert", "%s", error);
        if (out)
                return write_out(out, text);
        return fputs(text, stdout) < 0 ? CTL_FAILED : CTL_OK;
}

static int run_issue(const struct config *config, char **operands)
{
        const char *const nodes[] = {"system:nodes", NULL};
        struct pki_subject subject = {config->user, (const char *const *)config->groups.items,
                                      (unsigned int)config->days};
        char name[300];

        (void)operands;
        if (!config->user == !config->node || (config->node && config->groups.count))
                return ctl_fail(CTL_USAGE, "cert", "say either --user (and --group), or --node");
        if (config->node) {
                (void)snprintf(name, sizeof(name), "system:node:%.253s", config->node);
                subject.user = name;
                subject.groups = nodes;
        }
        return issue(config, &subject, config->out);
}

static int run_renew(const struct config *config, char **operands)
{
        char error[AK_KUBECONFIG_ERROR_SIZE] = "";
        struct ak_kubeconfig old = {0};
        char *user = NULL, *groups[PKI_MAX_GROUPS + 1] = {NULL};
        struct config with = *config;
        int code;

        if (ak_kubeconfig_load(&old, operands[0], NULL, error) < 0)
                return ctl_fail(CTL_FAILED, "cert", "%s", error);
        if (!old.cert_pem || pki_subject_of(old.cert_pem, &user, groups) < 0) {
                code = ctl_fail(CTL_FAILED, "cert", "%s: holds no client certificate", operands[0]);
        } else {
                const struct pki_subject subject = {user, (const char *const *)groups,
                                                    (unsigned int)config->days};

                with.server = config->server ? config->server : old.server;
                code = issue(&with, &subject, operands[0]);
        }
        free(user);
        for (size_t i = 0; i < PKI_MAX_GROUPS; i++)
                free(groups[i]);
        ak_kubeconfig_deinit(&old);
        return code;
}

/* ------------------------------------------------------------------ tokens */

#define TOKEN_BYTES 32

static void to_hex(const uint8_t *bytes, size_t count, char *out)
{
        for (size_t i = 0; i < count; i++)
                (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static int new_token(char token[2 * TOKEN_BYTES + 1], char hash[65])
{
        uint8_t bytes[TOKEN_BYTES], digest[32];

        if (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0)
                return -EIO;
        to_hex(bytes, sizeof(bytes), token);
        if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, (size_t)2 * TOKEN_BYTES, digest) < 0)
                return -EIO;
        to_hex(digest, sizeof(digest), hash);
        return 0;
}

static int join_groups(const struct ak_strlist *groups, char *out, size_t size)
{
        size_t used = (size_t)snprintf(out, size, "%s", groups->count ? "" : "-");

        for (size_t i = 0; i < groups->count; i++) {
                if (!pki_name_valid(groups->items[i]))
                        return -EINVAL;
                used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "", groups->items[i]);
                if (used >= size)
                        return -EINVAL;
        }
        return 0;
}

/* What root writes here is the server's to read, whoever that is. */
static void give_to_owner(const char *dir, int fd)
{
        struct stat st;

        if (geteuid() == 0 && stat(dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
                (void)fprintf(stderr,
                              "alkaidctl: the owner of %s cannot be given what is written there: %s\n", dir,
                              strerror(errno));
}

/* One write of one line: it is there whole or not at all for a server that reads meanwhile. */
static int append_line(const char *dir, const char *file, const char *line)
{
        char path[PATH_MAX];
        AK_AUTOCLOSE int fd = -1;

        (void)snprintf(path, sizeof(path), "%s/%s", dir, file);
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0)
                give_to_owner(dir, fd);
        if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line) || fsync(fd) < 0)
                return ctl_fail(CTL_FAILED, file, "cannot write %s: %s", path, strerror(errno));
        return CTL_OK;
}

int ctl_token_new(const char *pki_dir, const char *user, const char *groups, uint64_t days,
                  char token[CTL_TOKEN_SIZE])
{
        char hash[65], end[AK_RFC3339_SIZE], line[1200];

        if (new_token(token, hash) < 0)
                return ctl_fail(CTL_FAILED, "token", "no random numbers to be had");
        ak_rfc3339_format(ak_clock_realtime_us() + days * 86400 * 1000000, false, end);
        (void)snprintf(line, sizeof(line), "%s %s %s %s\n", hash, user, groups, end);
        return append_line(pki_dir, "tokens", line);
}

static int run_token(const struct config *config, char **operands)
{
        char token[CTL_TOKEN_SIZE], groups[480];
        int code;

        (void)operands;
        if (!config->user || !pki_name_valid(config->user) ||
            join_groups(&config->groups, groups, sizeof(groups)) < 0)
                return ctl_fail(CTL_USAGE, "token", "say --user, and --group, of letters, digits and .:_@-");
        code = ctl_token_new(config->pki_dir, config->user, groups, config->days, token);
        if (code == CTL_OK)
                (void)printf("%s\n", token);
        return code;
}

/* ------------------------------------------------------------------ revocation */

/* The serial number of a kubeconfig's certificate, or as it was typed. `user` is "-" where it is not known.
 */
static int find_serial(const char *operand, char serial[PKI_SERIAL_SIZE], char **user)
{
        char error[AK_KUBECONFIG_ERROR_SIZE] = "", *groups[PKI_MAX_GROUPS + 1] = {NULL};
        struct ak_kubeconfig config = {0};
        int code = CTL_OK;

        if (access(operand, F_OK) < 0) {
                *user = strdup("-");
                if (!*user || pki_serial_read(operand, serial) < 0)
                        return ctl_fail(CTL_FAILED, "cert", "%s: neither a kubeconfig nor a serial number",
                                        operand);
                return CTL_OK;
        }
        if (ak_kubeconfig_load(&config, operand, NULL, error) < 0)
                return ctl_fail(CTL_FAILED, "cert", "%s", error);
        if (!config.cert_pem || pki_serial_of(config.cert_pem, serial) < 0 ||
            pki_subject_of(config.cert_pem, user, groups) < 0)
                code = ctl_fail(CTL_FAILED, "cert", "%s: holds no client certificate", operand);
        for (size_t i = 0; i < PKI_MAX_GROUPS; i++)
                free(groups[i]);
        ak_kubeconfig_deinit(&config);
        return code;
}

static int run_revoke(const struct config *config, char **operands)
{
        char serial[PKI_SERIAL_SIZE], now[AK_RFC3339_SIZE], line[400], error[PKI_ERROR_SIZE] = "";
        AK_AUTOFREE char *user = NULL;
        AK_AUTOFREE char *ca = NULL;
        int code = find_serial(operands[0], serial, &user);

        if (code != CTL_OK)
                return code;
        /* A wrong directory would take the line and change nothing. */
        if (pki_read_file(config->pki_dir, "ca.crt", &ca, error) < 0)
                return ctl_fail(CTL_FAILED, "cert", "%s", *error ? error : "there is no ca.crt in --pki-dir");
        ak_rfc3339_format(ak_clock_realtime_us(), false, now);
        (void)snprintf(line, sizeof(line), "%s %s %s\n", serial, pki_name_valid(user) ? user : "-", now);
        code = append_line(config->pki_dir, "revoked", line);
        if (code == CTL_OK)
                (void)printf("%s revoked\n", serial);
        return code;
}

/* ------------------------------------------------------------------ subcommands */

static const struct cert_command {
        const char *name;
        struct ak_program program;
        int operands;
        int (*run)(const struct config *config, char **operands);
} cert_commands[] =
    {
        {"issue",
         {"alkaidctl cert issue", "Makes a kubeconfig for a user or a node.", NULL, issue_options,
          AK_ARRAY_SIZE(issue_options)},
         0,
         run_issue},
        {"renew",
         {"alkaidctl cert renew", "Puts a fresh certificate of the same user into a kubeconfig.",
          "KUBECONFIG", renew_options, AK_ARRAY_SIZE(renew_options)},
         1,
         run_renew},
        {"revoke",
         {"alkaidctl cert revoke",
          "Makes a certificate worthless at once, by its kubeconfig or serial number.", "KUBECONFIG|SERIAL",
          revoke_options, AK_ARRAY_SIZE(revoke_options)},
         1,
         run_revoke},
        {NULL},
},
  token_commands[] = {
      {"issue",
       {"alkaidctl token issue", "Makes a bearer token; its hash goes into the file `tokens`.", NULL,
        token_options, AK_ARRAY_SIZE(token_options)},
       0,
       run_token},
      {NULL},
};

static int run_command(const struct cert_command *command, int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&command->program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0 && argc - first != command->operands)
                code = ctl_fail(CTL_USAGE, "cert", "usage: %s [OPTION]... %s", command->program.name,
                                command->program.operands ? command->program.operands : "");
        else if (r == 0)
                code = command->run(&config, argv + first);
        ak_options_deinit(&command->program, &config);
        return code;
}

static int choose(const struct cert_command *command, const char *usage, int argc, char **argv)
{
        const char *name = argc > 1 ? argv[1] : "";
        bool help = strcmp(name, "--help") == 0;

        for (; command->name; command++)
                if (strcmp(name, command->name) == 0)
                        return run_command(command, argc - 1, argv + 1);
        (void)fputs(usage, help ? stdout : stderr);
        return help ? CTL_OK : CTL_USAGE;
}

int ctl_cert_main(int argc, char **argv)
{
        return choose(cert_commands,
                      "Usage: alkaidctl cert issue --user NAME [--group GROUP]... | issue --node NODE\n"
                      "       alkaidctl cert renew KUBECONFIG\n"
                      "       alkaidctl cert revoke KUBECONFIG|SERIAL\n"
                      "`alkaidctl cert COMMAND --help` tells the options.\n",
                      argc, argv);
}

int ctl_token_main(int argc, char **argv)
{
        return choose(token_commands,
                      "Usage: alkaidctl token issue --user NAME [--group GROUP]...\n"
                      "`alkaidctl token issue --help` tells the options.\n",
                      argc, argv);
}
