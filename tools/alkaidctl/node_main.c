/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node token, on the machine of the apiserver: a text that holds all that another machine needs to become a
 * node: the URL, the CA's certificate (so that nothing has to be trusted unseen), and a bearer token for a
 * day.
 *
 * node join TOKEN, on that other machine: makes a key, which stays here, has the apiserver sign a certificate
 * for system:node:NAME, and writes a kubeconfig and, where asked, the watcher's configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/kube/session.h"
#include "libcommon/netaddr.h"
#include "libcommon/options.h"
#include "services/apiserver/pki.h"
#include "tools/alkaidctl/cert.h"
#include "tools/alkaidctl/command.h"

#define BOOTSTRAP_USER  "system:bootstrap"
#define BOOTSTRAP_GROUP "system:bootstrappers"
#define JOINS           "/apis/node.alkaid.io/v1/nodejoins"
#define MAX_TOKEN       65536

struct config {
        char *pki_dir, *server, *node, *out, *config;
        uint64_t days;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option token_options[] = {
    OPTION("pki-dir", AK_OPT_STRING, pki_dir, .def = "/var/lib/alkaid/apiserver/pki",
           .help = "where the apiserver keeps its CA"),
    OPTION("server", AK_OPT_STRING, server, .help = "URL of the API; default: that of admin.kubeconfig"),
    OPTION("days", AK_OPT_UINT, days, .def = "1", .min = 1, .max = 3650, .help = "it is good for"),
};
static const struct ak_option join_options[] = {
    OPTION("node-name", AK_OPT_STRING, node, .help = "name of the node (default: the host's name)"),
    OPTION("out", AK_OPT_STRING, out, .def = "/etc/alkaid/node.kubeconfig", .help = "kubeconfig to write"),
    OPTION("watcher-config", AK_OPT_STRING, config, .help = "configuration of alkaid-watcher to write, YAML"),
};

/* ------------------------------------------------------------------ token */

static char *to_base64(const char *text)
{
        gnutls_datum_t in = {(unsigned char *)text, (unsigned int)strlen(text)}, out = {0};
        char *copy;

        if (gnutls_base64_encode2(&in, &out) < 0)
                return NULL;
        copy = strndup((const char *)out.data, out.size);
        gnutls_free(out.data);
        return copy;
}

static int print_token(const char *server, const char *ca, const char *secret)
{
        json_auto_t *all = json_pack("{s:s, s:s, s:s}", "server", server, "ca", ca, "token", secret);
        AK_AUTOFREE char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
        AK_AUTOFREE char *token = text ? to_base64(text) : NULL;

        if (!token)
                return ctl_fail(CTL_FAILED, "node", "out of memory");
        return printf("%s\n", token) < 0 ? CTL_FAILED : CTL_OK;
}

static int run_token(const struct config *config, const char *operand AK_UNUSED)
{
        char path[PATH_MAX], error[AK_KUBECONFIG_ERROR_SIZE] = "", secret[CTL_TOKEN_SIZE];
        struct ak_kubeconfig admin = {0};
        int code;

        (void)snprintf(path, sizeof(path), "%s/admin.kubeconfig", config->pki_dir);
        if (ak_kubeconfig_load(&admin, path, NULL, error) < 0)
                return ctl_fail(CTL_FAILED, "node", "%s", error);
        code = ctl_token_new(config->pki_dir, BOOTSTRAP_USER, BOOTSTRAP_GROUP, config->days, secret);
        if (code == CTL_OK)
                code = print_token(config->server ? config->server : admin.server,
                                   admin.ca_pem ? admin.ca_pem : "", secret);
        ak_kubeconfig_deinit(&admin);
        return code;
}

/* ------------------------------------------------------------------ join */

/* The operand, or standard input where it is "-": what stands on a command line others can see. */
static int read_token(const char *operand, struct ak_kubeconfig *out)
{
        AK_AUTOFREE char *text = calloc(1, MAX_TOKEN);
        gnutls_datum_t in, plain = {0};
        const char *server = NULL, *ca = NULL, *token = NULL;

        if (!text)
                return ctl_fail(CTL_FAILED, "node", "out of memory");
        if (strcmp(operand, "-") == 0) {
                if (fread(text, 1, MAX_TOKEN - 1, stdin) == 0)
                        return ctl_fail(CTL_USAGE, "node", "standard input holds no token: %s",
                                        ferror(stdin) ? strerror(errno) : "it is empty");
        } else {
                (void)snprintf(text, MAX_TOKEN, "%s", operand);
        }
        text[strcspn(text, " \n")] = '\0';
        in = (gnutls_datum_t){(unsigned char *)text, (unsigned int)strlen(text)};
        if (gnutls_base64_decode2(&in, &plain) < 0)
                return ctl_fail(CTL_USAGE, "node", "that is no token of `alkaidctl node token`");
        json_auto_t *all = json_loadb((const char *)plain.data, plain.size, 0, NULL);
        gnutls_free(plain.data);
        if (json_unpack(all, "{s:s, s:s, s:s}", "server", &server, "ca", &ca, "token", &token) < 0)
                return ctl_fail(CTL_USAGE, "node", "that is no token of `alkaidctl node token`");
        *out = (struct ak_kubeconfig){.server = strdup(server), .ca_pem = strdup(ca), .token = strdup(token)};
        return CTL_OK;
}

static int find_name(const char *given, char name[PKI_NODE_NAME_SIZE])
{
        char host[PKI_NODE_NAME_SIZE] = "";

        if (!given && gethostname(host, sizeof(host) - 1) < 0)
                host[0] = '\0';
        for (char *c = host; *c; c++)
                *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
        (void)snprintf(name, PKI_NODE_NAME_SIZE, "%s", given ? given : host);
        if (!ak_dns1123_subdomain_valid(name))
                return ctl_fail(CTL_USAGE, "node", "give --node-name a DNS name in lower case");
        return CTL_OK;
}

static int ask(const struct ak_kubeconfig *server, const char *request, char **crt)
{
        AK_CLEANUP(ak_kube_session_freep) struct ak_kube_session *session = NULL;
        json_auto_t *body = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "node.alkaid.io/v1", "kind",
                                      "NodeJoin", "spec", "request", request);
        const struct ak_kube_request call = {.verb = AK_KUBE_CREATE, .path = JOINS, .body = body};
        struct ak_kube_response response = {0};
        const char *text;
        int code = CTL_OK;

        if (!body || ak_kube_session_new(&session, server, "alkaidctl") < 0)
                return ctl_fail(CTL_FAILED, "node", "out of memory");
        (void)ak_kube_session_call(session, &call, &response);
        text = json_string_value(json_object_get(json_object_get(response.body, "status"), "certificate"));
        if (response.error)
                code = ctl_fail(CTL_UNREACHABLE, "node", "%s: %s", server->server, response.message);
        else if (!ak_kube_response_ok(&response) || !text)
                code = ctl_fail(CTL_FAILED, "node", "%s", response.message);
        else
                *crt = strdup(text);
        ak_kube_response_deinit(&response);
        return code == CTL_OK && !*crt ? CTL_FAILED : code;
}

static int write_file(const char *path, const char *text)
{
        AK_AUTOFREE char *dir = strdup(path);
        AK_AUTOFREE char *name = strdup(path);
        char error[PKI_ERROR_SIZE] = "out of memory";

        if (!dir || !name || pki_write_file(dirname(dir), basename(name), text, error) < 0)
                return ctl_fail(CTL_FAILED, "node", "%s", error);
        return CTL_OK;
}

static int write_config(const struct config *config, const char *name)
{
        AK_AUTOFREE char *text = NULL;
        AK_AUTOFREE char *path = realpath(config->out, NULL);

        if (!path || asprintf(&text, "# Written by alkaidctl node join.\nnodeName: %s\nkubeconfig: %s\n",
                              name, path) < 0)
                return ctl_fail(CTL_FAILED, "node", "%s: %s", config->out, strerror(errno));
        return write_file(config->config, text);
}

static int join(const struct config *config, const struct ak_kubeconfig *server, const char *name)
{
        AK_AUTOFREE char *key = NULL;
        AK_AUTOFREE char *request = NULL;
        AK_AUTOFREE char *crt = NULL;
        AK_AUTOFREE char *text = NULL;
        char error[PKI_ERROR_SIZE] = "";
        int code;

        if (pki_request_node(name, &key, &request, error) < 0)
                return ctl_fail(CTL_FAILED, "node", "%s", error);
        code = ask(server, request, &crt);
        if (code == CTL_OK && pki_kubeconfig(server->ca_pem, "node", server->server, crt, key, &text) < 0)
                code = ctl_fail(CTL_FAILED, "node", "out of memory");
        gnutls_memset(key, 0, strlen(key));
        if (code == CTL_OK)
                code = write_file(config->out, text);
        if (code == CTL_OK && config->config)
                code = write_config(config, name);
        if (code == CTL_OK)
                (void)printf("joined as %s: start alkaid-watcher with --node-name %s --kubeconfig %s\n", name,
                             name, config->out);
        return code;
}

/* Nothing that is there is overwritten. */
static int check_free(const char *path)
{
        if (path && access(path, F_OK) == 0)
                return ctl_fail(CTL_FAILED, "node",
                                "%s is there already: remove it, or write to another file", path);
        return CTL_OK;
}

static int run_join(const struct config *config, const char *operand)
{
        char name[PKI_NODE_NAME_SIZE];
        struct ak_kubeconfig server = {0};
        int code = find_name(config->node, name);

        if (code == CTL_OK)
                code = check_free(config->out);
        if (code == CTL_OK)
                code = check_free(config->config);
        if (code == CTL_OK)
                code = read_token(operand, &server);
        if (code == CTL_OK)
                code = join(config, &server, name);
        ak_kubeconfig_deinit(&server);
        return code;
}

/* ------------------------------------------------------------------ subcommands */

static const struct node_command {
        const char *name;
        struct ak_program program;
        int operands;
        int (*run)(const struct config *config, const char *operand);
} commands[] = {
    {"token",
     {"alkaidctl node token", "Prints a token with which a machine can join as a node.", NULL, token_options,
      AK_ARRAY_SIZE(token_options)},
     0,
     run_token},
    {"join",
     {"alkaidctl node join", "Makes this machine a node: key, certificate, kubeconfig.", "TOKEN|-",
      join_options, AK_ARRAY_SIZE(join_options)},
     1,
     run_join},
};

static int run(const struct node_command *command, int argc, char **argv)
{
        struct config config = {0};
        int first = 0, r = ak_options_load(&command->program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0 && argc - first != command->operands)
                code = ctl_fail(CTL_USAGE, "node", "usage: %s [OPTION]... %s", command->program.name,
                                command->program.operands ? command->program.operands : "");
        else if (r == 0)
                code = command->run(&config, argv[first]);
        ak_options_deinit(&command->program, &config);
        return code;
}

int ctl_node_main(int argc, char **argv)
{
        const char *name = argc > 1 ? argv[1] : "";
        bool help = strcmp(name, "--help") == 0;

        for (size_t i = 0; i < AK_ARRAY_SIZE(commands); i++)
                if (strcmp(name, commands[i].name) == 0)
                        return run(&commands[i], argc - 1, argv + 1);
        (void)fputs("Usage: alkaidctl node token | join TOKEN|-\n"
                    "`alkaidctl node COMMAND --help` tells the options.\n",
                    help ? stdout : stderr);
        return help ? CTL_OK : CTL_USAGE;
}
