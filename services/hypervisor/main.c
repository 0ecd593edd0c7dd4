/* SPDX-License-Identifier: Apache-2.0 */
#include <curl/curl.h>
#include <libxml/parser.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "libcommon/log.h"
#include "libcommon/service.h"
#include "services/hypervisor/shell.h"

/* A VM has an actor of its own, which is two sockets: ZeroMQ allows 1,023 unless told otherwise, czmq ends
 * the process at the next one, and each needs a descriptor. */
static void allow_many_vms(void)
{
        struct rlimit files;

        zsys_set_max_sockets(0); /* as many as there can be */
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
                files.rlim_cur = files.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
}

/* Before any thread: libraries make their global state. */
static void prepare_process(void)
{
        ak_service_prepare();
        allow_many_vms();
        (void)curl_global_init(CURL_GLOBAL_DEFAULT);
        xmlInitParser();
}

static int run(struct hv_shell *shell, const struct ak_service_options *options)
{
        AK_CLEANUP(ak_service_freep) struct ak_service *service = NULL;

        if (ak_service_new(&service, hv_shell_loop(shell), options) < 0)
                return EXIT_FAILURE;
        return hv_shell_run(shell);
}

static int serve(const struct hv_options *config, const struct ak_service_options *options)
{
        struct hv_shell *shell = NULL;
        int code = hv_shell_new(&shell, config);

        if (code == 0)
                code = run(shell, options);
        hv_shell_free(shell);
        return code;
}

int main(int argc, char **argv)
{
        struct hv_options options = {0};
        int operand, code;

        ak_log_init("hypervisor", AK_LOG_INFO);
        code = ak_options_load(&hv_program, argc, argv, &options, &operand);
        if (code != 0)
                return code == AK_OPTIONS_DONE ? 0 : 2;
        const struct ak_service_options service = {&hv_program, argc, argv, &options, sizeof(options)};
        prepare_process();
        code = serve(&options, &service);
        ak_options_deinit(&hv_program, &options);
        return code;
}
