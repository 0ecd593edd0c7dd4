/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/replay.h"

struct config {
        char *core, *update;
        bool check;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("core", AK_OPT_STRING, core, .help = "watcher, network or hypervisor; a journal says it itself"),
    OPTION("check", AK_OPT_BOOL, check, .help = "print only what differs from the recorded actions"),
    OPTION("update", AK_OPT_STRING, update, .help = "write the journal with the actions of now to this file"),
};

static const struct ak_program program = {
    .name = "alkaidctl replay",
    .summary = "Feeds a journal (--journal of a service) or a capture to a fresh core, offline.",
    .operands = "FILE...",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

static int is_capture(const char *path, bool *out)
{
        char start[5] = "";
        FILE *file = fopen(path, "re");

        if (!file)
                return -errno;
        *out = fread(start, 1, sizeof(start), file) == sizeof(start) &&
               memcmp(start, "AKCAP", sizeof(start)) == 0;
        (void)fclose(file);
        return 0;
}

static int replay(const struct config *config, char **paths, size_t count)
{
        const struct ctl_replay options_of_run = {
            .cores = ctl_cores,
            .core = config->core,
            .check = config->check,
            .update = config->update,
            .out = stdout,
        };
        struct ctl_replay_result result = {0};
        char error[CTL_ERROR_SIZE] = "";
        bool capture = false;
        int r = is_capture(paths[0], &capture);

        if (r < 0)
                return ctl_fail(CTL_FAILED, "replay", "%s: %s", paths[0], strerror(-r));
        if (capture && count == 1)
                r = ctl_replay_capture(&options_of_run, paths[0], &result, error);
        else
                r = ctl_replay_journal(&options_of_run, paths, count, &result, error);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "replay", "%s", error);
        (void)fprintf(stderr, "%llu runs, %llu events, %llu actions, %llu differences%s\n",
                      (unsigned long long)result.runs, (unsigned long long)result.events,
                      (unsigned long long)result.actions, (unsigned long long)result.differences,
                      result.torn ? "; the file ends inside a line" : "");
        return result.differences > 0 ? CTL_DIFFERS : CTL_OK;
}

int ctl_replay_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = argc > first ? replay(&config, argv + first, (size_t)(argc - first))
                                    : ctl_fail(CTL_USAGE, "replay", "needs a FILE");
        ak_options_deinit(&program, &config);
        return code;
}
