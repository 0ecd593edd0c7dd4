/* SPDX-License-Identifier: Apache-2.0 */
/* nic list|attach|detach: the NICs of a VM pod through the API. Also `kubectl nic …`, as kubectl-nic. */
#include <errno.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/nic.h"
#include "tools/alkaidctl/pod.h"

struct config {
        char *kubeconfig, *context, *name_space, *output;
        char *subnet, *port_id, *ip, *mac;
        bool wait;
        uint64_t timeout_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
#define API_OPTIONS                                                                                          \
        OPTION("kubeconfig", AK_OPT_STRING, kubeconfig,                                                      \
               .help = "default: $KUBECONFIG, else ~/.kube/config"),                                         \
            OPTION("context", AK_OPT_STRING, context,                                                        \
                   .help = "of the kubeconfig; default: its current one"),                                   \
            OPTION("namespace", AK_OPT_STRING, name_space, .help = "of the pod; default: the context's")
#define WAIT_OPTIONS                                                                                         \
        OPTION("wait", AK_OPT_BOOL, wait, .help = "leave when it is done, or failed"),                       \
            OPTION("timeout", AK_OPT_DURATION, timeout_us, .def = "60s", .min = 1000000, .max = 86400000000, \
                   .help = "of --wait")

static const struct ak_option list_options[] = {
    API_OPTIONS,
    OPTION("output", AK_OPT_ENUM, output, .def = "table", .choices = "table|json", .help = "form"),
};
static const struct ak_option attach_options[] = {
    API_OPTIONS,
    WAIT_OPTIONS,
    OPTION("subnet", AK_OPT_STRING, subnet, .help = "subnet of the NIC; default: the VPC's own"),
    OPTION("port-id", AK_OPT_STRING, port_id, .help = "port made beforehand"),
    OPTION("ip", AK_OPT_STRING, ip, .help = "address of the NIC; default: a free one"),
    OPTION("mac", AK_OPT_STRING, mac, .help = "MAC of the NIC; default: a new one"),
};
static const struct ak_option detach_options[] = {API_OPTIONS, WAIT_OPTIONS};

/* ------------------------------------------------------------------ actions */

static int api_failed(int r, const char *error)
{
        bool away = r == -ECONNREFUSED || r == -ETIMEDOUT || r == -EPROTO;

        return ctl_fail(away ? CTL_UNREACHABLE : CTL_FAILED, "nic", "%s", error);
}

static int run_list(const struct config *config, struct ctl_api *api, char **operands, int count)
{
        char error[CTL_ERROR_SIZE] = "";
        json_t *pod = NULL;

        (void)count;
        int r = ctl_pod_get(api, operands[0], &pod, error);
        if (r < 0)
                return api_failed(r, error);
        if (strcmp(config->output, "json") == 0) {
                json_t *list = ctl_nic_list(pod);
                (void)json_dumpf(list, stdout, JSON_INDENT(2));
                (void)fputc('\n', stdout);
                json_decref(list);
        } else {
                ctl_nic_table(pod, ak_clock_realtime_us(), stdout);
        }
        json_decref(pod);
        return CTL_OK;
}

struct goal {
        const char *name;
        bool present;
        enum ctl_nic_progress progress;
        char text[CTL_ERROR_SIZE];
};

static bool reached(void *arg, const json_t *pod)
{
        struct goal *goal = arg;

        if (!pod) {
                (void)snprintf(goal->text, sizeof(goal->text), "the pod was deleted");
                goal->progress = goal->present ? CTL_NIC_FAILED : CTL_NIC_DONE;
                return true;
        }
        goal->progress = ctl_nic_progress(pod, goal->name, goal->present, goal->text);
        return goal->progress != CTL_NIC_UNDER_WAY;
}

static int wait_for(const struct config *config, struct ctl_api *api, const json_t *pod, struct goal *goal)
{
        char error[CTL_ERROR_SIZE] = "";
        int r = ctl_pod_wait(api, pod, config->timeout_us, reached, goal, error);

        if (r == -ETIMEDOUT)
                return ctl_fail(CTL_FAILED, "nic", "%s: %s; the NIC's state: %s", goal->name, error,
                                goal->text);
        if (r < 0)
                return api_failed(r, error);
        if (goal->progress == CTL_NIC_FAILED)
                return ctl_fail(CTL_FAILED, "nic", "%s: %s", goal->name, goal->text);
        return CTL_OK;
}

/* Patches, says what was done, waits where wanted. Takes the reference of `patch`. */
static int change(const struct config *config, struct ctl_api *api, const char *pod_name, json_t *patch,
                  struct goal *goal)
{
        char error[CTL_ERROR_SIZE] = "";
        json_t *pod = NULL;
        int r = ctl_pod_patch(api, pod_name, patch, &pod, error);
        int code = CTL_OK;

        json_decref(patch);
        if (r < 0)
                return api_failed(r, error);
        if (config->wait)
                code = wait_for(config, api, pod, goal);
        json_decref(pod);
        if (code == CTL_OK)
                (void)printf("nic %s of pod %s %s%s\n", goal->name, pod_name,
                             goal->present ? "attached" : "detached", config->wait ? "" : " (under way)");
        return code;
}

static const char *patch_name(const json_t *patch)
{
        const json_t *nics = json_object_get(json_object_get(patch, "spec"), "nics");

        return json_string_value(json_object_get(json_array_get(nics, 0), "name"));
}

static int run_attach(const struct config *config, struct ctl_api *api, char **operands, int count)
{
        const struct ctl_nic_wish wish = {
            .name = count > 1 ? operands[1] : NULL,
            .subnet = config->subnet,
            .port_id = config->port_id,
            .ip = config->ip,
            .mac = config->mac,
        };
        char error[CTL_ERROR_SIZE] = "";
        json_t *pod = NULL, *patch = NULL;
        int r = ctl_pod_get(api, operands[0], &pod, error);

        if (r == 0)
                r = ctl_nic_attach_patch(pod, &wish, &patch, error);
        json_decref(pod);
        if (r < 0)
                return api_failed(r, error);
        AK_AUTOFREE char *name = strdup(patch_name(patch));
        struct goal goal = {.name = name, .present = true};
        return change(config, api, operands[0], patch, &goal);
}

static int run_detach(const struct config *config, struct ctl_api *api, char **operands, int count)
{
        struct goal goal = {.name = operands[1], .present = false};
        char error[CTL_ERROR_SIZE] = "";
        json_t *pod = NULL, *patch = NULL;

        (void)count;
        int r = ctl_pod_get(api, operands[0], &pod, error);
        if (r == 0)
                r = ctl_nic_detach_patch(pod, operands[1], &patch, error);
        json_decref(pod);
        if (r < 0)
                return api_failed(r, error);
        return change(config, api, operands[0], patch, &goal);
}

/* ------------------------------------------------------------------ subcommands */

static const struct nic_command {
        const char *name;
        struct ak_program program;
        int min_operands, max_operands;
        int (*run)(const struct config *config, struct ctl_api *api, char **operands, int count);
} commands[] = {
    {"list",
     {"alkaidctl nic list", "Lists the NICs of a VM pod.", "POD", list_options, AK_ARRAY_SIZE(list_options)},
     1,
     1,
     run_list},
    {"attach",
     {"alkaidctl nic attach", "Plugs a NIC into the VM of a pod; NIC defaults to the next free ethN.",
      "POD [NIC]", attach_options, AK_ARRAY_SIZE(attach_options)},
     1,
     2,
     run_attach},
    {"detach",
     {"alkaidctl nic detach", "Plugs a NIC out of the VM of a pod.", "POD NIC", detach_options,
      AK_ARRAY_SIZE(detach_options)},
     2,
     2,
     run_detach},
};

static int run(const struct nic_command *command, const struct config *config, char **operands, int count)
{
        struct ctl_api api = {0};
        char error[CTL_ERROR_SIZE] = "out of memory";

        if (count < command->min_operands || count > command->max_operands)
                return ctl_fail(CTL_USAGE, "nic", "usage: %s %s", command->program.name,
                                command->program.operands);
        if (ctl_api_open(&api, config->kubeconfig, config->context, config->name_space, error) < 0)
                return ctl_fail(CTL_FAILED, "nic", "%s", error);
        int code = command->run(config, &api, operands, count);
        ctl_api_close(&api);
        return code;
}

static int run_command(const struct nic_command *command, int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&command->program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = run(command, &config, argv + first, argc - first);
        ak_options_deinit(&command->program, &config);
        return code;
}

int ctl_nic_main(int argc, char **argv)
{
        const char *name = argc > 1 ? argv[1] : "";

        for (size_t i = 0; i < AK_ARRAY_SIZE(commands); i++)
                if (strcmp(name, commands[i].name) == 0)
                        return run_command(&commands[i], argc - 1, argv + 1);
        if (strcmp(name, "--version") == 0) {
                (void)printf("alkaidctl %s\n", ALKAID_VERSION);
                return CTL_OK;
        }
        bool help = strcmp(name, "--help") == 0;
        (void)fputs("Usage: alkaidctl nic list POD | attach POD [NIC] | detach POD NIC   [OPTION]...\n"
                    "`alkaidctl nic COMMAND --help` tells the options.\n",
                    help ? stdout : stderr);
        return help ? CTL_OK : CTL_USAGE;
}
