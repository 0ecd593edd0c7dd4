/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "libcommon/log.h"
#include "libcommon/options.h"
#include "libcommon/service.h"
#include "libcommon/telemetry.h"
#include "services/watcher/shell.h"

#define EXIT_USAGE      2
#define STATUS_EVERY_MS 5000

#define AT(member) offsetof(struct watcher_shell_options, member)

static const struct ak_option options[] = {
    {.name = "node-name",
     .type = AK_OPT_STRING,
     .offset = AT(node_name),
     .help = "name of this node in the API (default: the host's name)"},
    {.name = "node-ip",
     .type = AK_OPT_STRING,
     .offset = AT(node_ip),
     .help = "address of this node (default: of the first interface that is up)"},
    {.name = "kubeconfig",
     .type = AK_OPT_STRING,
     .offset = AT(kubeconfig),
     .def = "/var/lib/alkaid/apiserver/pki/node.kubeconfig",
     .help = "how to reach the API server"},
    {.name = "context",
     .type = AK_OPT_STRING,
     .offset = AT(context),
     .help = "context of the kubeconfig (default: its current-context)"},
    {.name = "bus-dir",
     .type = AK_OPT_STRING,
     .offset = AT(bus_dir),
     .def = "/run/alkaid/bus",
     .help = "directory of the node's bus"},
    AK_BUS_NET_OPTIONS(struct watcher_shell_options, net),
    {.name = "state-dir",
     .type = AK_OPT_STRING,
     .offset = AT(state_dir),
     .def = "/var/lib/alkaid/watcher",
     .help = "accepted for symmetry with the other services: the watcher keeps no state"},
    {.name = "journal",
     .type = AK_OPT_STRING,
     .offset = AT(journal),
     .help = "write all that the core is told and does to this file, for alkaidctl replay"},
    AK_TELEMETRY_OPTIONS(struct watcher_shell_options),
    {.name = "nic-slots",
     .type = AK_OPT_UINT,
     .offset = AT(nic_slots),
     .def = "64",
     .help = "hotplug slots of a VM; as the API server has it",
     .min = 1,
     .max = AK_MAX_NICS},
    {.name = "lease-interval",
     .type = AK_OPT_DURATION,
     .offset = AT(lease_interval_us),
     .def = "10s",
     .help = "between renewals of the node's lease; the API server's --node-grace is a few of them",
     .min = 100000,
     .max = UINT64_C(3600) * 1000000},
    {.name = "max-pods",
     .type = AK_OPT_UINT,
     .offset = AT(max_pods),
     .def = "1024",
     .help = "VM pods that this node follows at most",
     .min = 1,
     .max = 100000},
};

static const struct ak_program program = {
    .name = "alkaid-watcher",
    .summary =
        "Follows this node's VM pods in the API, wishes on the node's bus, and writes their status back.",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

static int on_status(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_core_stats stats;
        watcher_shell_stats(arg, &stats);
        (void)sd_notifyf(0, "STATUS=%zu VMs (%zu running), %zu NICs (%zu ready)%s", stats.vms,
                         stats.vms_running, stats.nics, stats.nics_ready,
                         stats.synced ? "" : ", waiting for the API server");
        return 0;
}

static void zloop_freep(zloop_t **loop)
{
        zloop_destroy(loop);
}

static int serve(const struct watcher_shell_options *config, const struct ak_service_options *host)
{
        AK_CLEANUP(zloop_freep) zloop_t *loop = zloop_new();
        AK_CLEANUP(watcher_shell_freep) struct watcher_shell *shell = NULL;
        AK_CLEANUP(ak_service_freep) struct ak_service *service = NULL;

        if (!loop || watcher_shell_new(&shell, loop, config) < 0)
                return EXIT_FAILURE;
        if (zloop_timer(loop, STATUS_EVERY_MS, 0, on_status, shell) < 0 ||
            ak_service_new(&service, loop, host) < 0)
                return EXIT_FAILURE;
        (void)sd_notify(0, "STATUS=waiting for the API server");
        (void)zloop_start(loop);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        struct watcher_shell_options config = {0};
        int operand = 0;
        ak_log_init("watcher", AK_LOG_INFO);
        (void)zsys_init();
        zsys_handler_set(NULL);
        json_object_seed(0);
        int rc = ak_options_load(&program, argc, argv, &config, &operand);
        const struct ak_service_options service = {&program, argc, argv, &config, sizeof(config)};
        ak_service_prepare();
        int code = rc == AK_OPTIONS_DONE ? EXIT_SUCCESS : rc < 0 ? EXIT_USAGE : serve(&config, &service);
        ak_options_deinit(&program, &config);
        return code;
}
