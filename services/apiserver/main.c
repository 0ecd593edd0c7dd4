/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "libcommon/log.h"
#include "services/apiserver/server.h"

/* Before any thread: signals come through a descriptor, and broken connections are errors of their write. */
static void prepare_process(void)
{
        struct rlimit files;
        sigset_t set;

        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
                files.rlim_cur = files.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
}

static int run(const struct api_options *options)
{
        struct api_server *server = NULL;
        int code = api_server_new(&server, options);

        if (code == 0) {
                (void)sd_notify(0, "READY=1");
                code = api_server_run(server);
                (void)sd_notify(0, "STOPPING=1");
        }
        (void)api_server_free(server);
        return code;
}

int main(int argc, char **argv)
{
        struct api_options options = {0};
        int operand, code;

        ak_log_init("apiserver", AK_LOG_INFO);
        code = ak_options_load(&api_program, argc, argv, &options, &operand);
        if (code != 0)
                return code == AK_OPTIONS_DONE ? 0 : 2;
        prepare_process();
        code = run(&options);
        ak_options_deinit(&api_program, &options);
        return code;
}
