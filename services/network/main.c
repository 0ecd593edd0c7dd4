/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "libcommon/log.h"
#include "libcommon/service.h"
#include "services/network/shell.h"

static int run(struct net_shell *shell, const struct ak_service_options *options)
{
        AK_CLEANUP(ak_service_freep) struct ak_service *service = NULL;

        if (ak_service_new(&service, net_shell_loop(shell), options) < 0)
                return EXIT_FAILURE;
        return net_shell_run(shell);
}

static int serve(const struct net_options *config, const struct ak_service_options *options)
{
        struct net_shell *shell = NULL;
        int code = net_shell_new(&shell, config);

        if (code == 0)
                code = run(shell, options);
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
        const struct ak_service_options service = {&net_program, argc, argv, &options, sizeof(options)};
        ak_service_prepare();
        code = options.teardown ? net_teardown(&options) : serve(&options, &service);
        ak_options_deinit(&net_program, &options);
        return code;
}
