/* SPDX-License-Identifier: Apache-2.0 */
#include <curl/curl.h>
#include <signal.h>
#include <systemd/sd-daemon.h>

#include "libcommon/log.h"
#include "services/watcher/shell.h"

/* Before any thread: signals come through a descriptor, and libraries make their global state. */
static void prepare_process(void)
{
        sigset_t set;

        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int run(const struct watcher_options *options)
{
        struct watcher_shell *shell = NULL;
        int code = watcher_shell_new(&shell, options);

        if (code == 0) {
                (void)sd_notify(0, "READY=1");
                code = watcher_shell_run(shell);
                (void)sd_notify(0, "STOPPING=1");
        }
        watcher_shell_free(shell);
        return code;
}

int main(int argc, char **argv)
{
        struct watcher_options options = {0};
        int operand, code;

        ak_log_init("watcher", AK_LOG_INFO);
        code = ak_options_load(&watcher_program, argc, argv, &options, &operand);
        if (code != 0)
                return code == AK_OPTIONS_DONE ? 0 : 2;
        prepare_process();
        code = run(&options);
        ak_options_deinit(&watcher_program, &options);
        return code;
}
