/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "libcommon/kube/frame.h"
#include "libcommon/netaddr.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/console.h"
#include "tools/alkaidctl/pod.h"

struct config {
        char *bus_dir, *kubeconfig, *context, *name_space;
        uint64_t duration_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("bus-dir", AK_OPT_STRING, bus_dir, .def = "/run/alkaid/bus", .help = "directory of the bus"),
    OPTION("for", AK_OPT_DURATION, duration_us, .help = "leave after this time, e.g. 10s"),
    OPTION("kubeconfig", AK_OPT_STRING, kubeconfig, .help = "default: $KUBECONFIG, else ~/.kube/config"),
    OPTION("context", AK_OPT_STRING, context, .help = "of the kubeconfig; default: its current one"),
    OPTION("namespace", AK_OPT_STRING, name_space, .help = "of the pod; default: the context's"),
};

static const struct ak_program program = {
    .name = "alkaidctl console",
    .summary = "Attaches the terminal to the serial console of a pod's VM on this node; ^] leaves.",
    .operands = "POD",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

/* Every key goes to the VM, ^C too. The terminal is put back however the session ends. */
static bool make_raw(struct termios *saved)
{
        struct termios raw;

        if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, saved) < 0)
                return false;
        raw = *saved;
        cfmakeraw(&raw);
        return tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
}

static int attach(const struct config *config, const char *uid)
{
        const struct ctl_console console = {
            .bus_dir = config->bus_dir,
            .pod_uid = uid,
            .in_fd = STDIN_FILENO,
            .out_fd = STDOUT_FILENO,
            .answer_us = 5000000,
            .duration_us = config->duration_us,
        };
        struct termios saved;
        char text[256];

        (void)fprintf(stderr, "Connected; ^] leaves.\n");
        bool raw = make_raw(&saved);
        enum ctl_console_outcome outcome = ctl_console_run(&console, text);
        if (raw)
                (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
        if (outcome == CTL_CONSOLE_ERROR)
                return ctl_fail(CTL_UNREACHABLE, "console", "%s", text);
        if (outcome == CTL_CONSOLE_CLOSED)
                return ctl_fail(CTL_FAILED, "console", "the VM went away: %s", text);
        return CTL_OK;
}

static int run(const struct config *config, const char *pod)
{
        char uid[AK_UUID_SIZE], error[CTL_ERROR_SIZE] = "out of memory";

        if (access(config->bus_dir, X_OK) < 0)
                return ctl_fail(CTL_UNREACHABLE, "console", "bus directory %s: %s (see --bus-dir)",
                                config->bus_dir, strerror(errno));
        if (ctl_pod_resolve(config->kubeconfig, config->context, config->name_space, pod, uid, error) < 0)
                return ctl_fail(CTL_FAILED, "console", "%s: %s", pod, error);
        return attach(config, uid);
}

int ctl_console_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = argc - first == 1 ? run(&config, argv[first])
                                         : ctl_fail(CTL_USAGE, "console", "needs one POD");
        ak_options_deinit(&program, &config);
        return code;
}
