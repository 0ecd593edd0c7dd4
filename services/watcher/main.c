/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include "libcommon/log.h"
#include "libcommon/options.h"
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

static int on_signal(zloop_t *loop AK_UNUSED, zmq_pollitem_t *item, void *arg AK_UNUSED)
{
        struct signalfd_siginfo info;
        if (read(item->fd, &info, sizeof(info)) != sizeof(info))
                return 0;
        ak_log(AK_LOG_INFO, "stopping", "signal", strsignal((int)info.ssi_signo), NULL);
        return -1;
}

static int on_status(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_core_stats stats;
        watcher_shell_stats(arg, &stats);
        (void)sd_notifyf(0, "STATUS=%zu VMs (%zu running), %zu NICs (%zu ready)%s", stats.vms,
                         stats.vms_running, stats.nics, stats.nics_ready,
                         stats.synced ? "" : ", waiting for the API server");
        return 0;
}

/* Before any thread is made, so that all of them leave the signals to the loop. */
static int signal_fd(void)
{
        sigset_t set;
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)signal(SIGPIPE, SIG_IGN);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

static void zloop_freep(zloop_t **loop)
{
        zloop_destroy(loop);
}

static int serve(const struct watcher_shell_options *config)
{
        AK_AUTOCLOSE int fd = signal_fd();
        AK_CLEANUP(zloop_freep) zloop_t *loop = zloop_new();
        AK_CLEANUP(watcher_shell_freep) struct watcher_shell *shell = NULL;
        zmq_pollitem_t signals = {.fd = fd, .events = ZMQ_POLLIN};
        if (fd < 0 || !loop)
                return EXIT_FAILURE;
        if (watcher_shell_new(&shell, loop, config) < 0)
                return EXIT_FAILURE;
        if (zloop_poller(loop, &signals, on_signal, NULL) != 0 ||
            zloop_timer(loop, STATUS_EVERY_MS, 0, on_status, shell) < 0)
                return EXIT_FAILURE;
        (void)sd_notify(0, "READY=1\nSTATUS=waiting for the API server");
        (void)zloop_start(loop);
        (void)sd_notify(0, "STOPPING=1");
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
        int code = rc == AK_OPTIONS_DONE ? EXIT_SUCCESS : rc < 0 ? EXIT_USAGE : serve(&config);
        ak_options_deinit(&program, &config);
        return code;
}
