/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/resource.h>

#include "libcommon/log.h"
#include "libcommon/service.h"
#include "services/apiserver/server.h"

static void prepare_process(void)
{
        struct rlimit files;

        ak_service_prepare();
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
                files.rlim_cur = files.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
}

static void on_reload(void *arg)
{
        api_server_renew(arg);
}

static int run(struct api_server *server, struct ak_service_options *options)
{
        AK_CLEANUP(ak_service_freep) struct ak_service *service = NULL;

        options->on_reload = on_reload;
        options->arg = server;
        if (ak_service_new(&service, api_server_loop(server), options) < 0)
                return API_EXIT_CONFIG;
        return api_server_run(server);
}

static int serve(const struct api_options *config, struct ak_service_options *options)
{
        struct api_server *server = NULL;
        int code = api_server_new(&server, config);

        if (code == 0)
                code = run(server, options);
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
        struct ak_service_options service = {&api_program, argc, argv, &options, sizeof(options)};
        prepare_process();
        code = serve(&options, &service);
        ak_options_deinit(&api_program, &options);
        return code;
}
