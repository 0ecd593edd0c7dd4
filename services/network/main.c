/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <systemd/sd-daemon.h>

#include "libcommon/log.h"
#include "services/network/shell.h"

/* Before any thread: signals come through a descriptor. */
static void prepare_process(void)
{
        sigset_t set;

        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static int serve(const struct net_options *options)
{
        struct net_shell *shell = NULL;
        int code = net_shell_new(&shell, options);

        if (code == 0) {
                (void)sd_notify(0, "READY=1");
                code = net_shell_run(shell);
                (void)sd_notify(0, "STOPPING=1");
        }
        net_shell_free(shell);
        return code;
}

int main(int argc, char **argv)
{
        struct net_options options = {0};
        int operand;

        ak_log_init("network", AK_LOG_INFO);
        int code = ak_options_load(&net_program, argc, argv, &options, &operand);
        if (code != 0)
                return code == AK_OPTIONS_DONE ? 0 : 2;
        prepare_process();
        code = options.teardown ? net_teardown(&options) : serve(&options);
        ak_options_deinit(&net_program, &options);
        return code;
}
