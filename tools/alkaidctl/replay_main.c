/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/live.h"
#include "tools/alkaidctl/replay.h"
#include "tools/alkaidctl/view.h"

struct config {
        char *core, *update, *to, *speed, *bus_dir, *color;
        bool check, json;
        uint64_t wait_us, settle_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("core", AK_OPT_STRING, core, .help = "watcher, network or hypervisor; a journal says it itself"),
    OPTION("check", AK_OPT_BOOL, check, .help = "print only what differs from the recorded actions"),
    OPTION("update", AK_OPT_STRING, update, .help = "write the journal with the actions of now to this file"),
    OPTION("to", AK_OPT_STRING, to,
           .help = "to this live service instead: say what its peers said, print what it answers"),
    OPTION("bus-dir", AK_OPT_STRING, bus_dir, .def = "/run/alkaid/bus",
           .help = "directory of the live service's bus; none of its peers may run on it"),
    OPTION("speed", AK_OPT_STRING, speed, .def = "1",
           .help = "to a live service: 1 = as recorded, 10 = ten times as fast, max"),
    OPTION("wait", AK_OPT_DURATION, wait_us, .def = "30s", .min = 1000,
           .help = "how long to wait for the live service to listen"),
    OPTION("settle", AK_OPT_DURATION, settle_us, .def = "2s", .min = 1000,
           .help = "leave when the live service has been quiet for this long after the last message"),
    OPTION("json", AK_OPT_BOOL, json, .help = "answers of a live service as one JSON object per line"),
    OPTION("color", AK_OPT_ENUM, color, .def = "auto", .choices = "auto|always|never",
           .help = "auto: on a terminal, unless NO_COLOR is set"),
};

static const struct ak_program program = {
    .name = "alkaidctl replay",
    .summary =
        "Feeds a journal (--journal of a service) or a capture to a fresh core, offline, or with --to a "
        "capture to a live service.",
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

static int replay_offline(const struct config *config, char **paths, size_t count)
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
        r = (capture ? ctl_replay_capture : ctl_replay_journal)(&options_of_run, paths, count, &result,
                                                                error);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "replay", "%s", error);
        (void)fprintf(
            stderr, "%" PRIu64 " runs, %" PRIu64 " events, %" PRIu64 " actions, %" PRIu64 " differences%s\n",
            result.runs, result.events, result.actions, result.differences,
            result.torn ? "; the file ends inside a record" : "");
        return result.differences > 0 ? CTL_DIFFERS : CTL_OK;
}

/* ------------------------------------------------------------------ to a live service */

static void on_answer(void *arg, const struct ak_bus_frame *frame)
{
        struct ctl_view *view = arg;
        const struct ctl_heard heard = {"", ak_clock_realtime_us()};

        if (ctl_view_takes(view, frame, &heard))
                ctl_view_show(view, frame, &heard, stdout);
}

static int replay_live(const struct config *config, char **paths, size_t count)
{
        AK_CLEANUP(ctl_view_freep) struct ctl_view *view = NULL;
        const struct ctl_view_options view_options = {.json = config->json,
                                                      .color = ctl_view_wants_color(config->color, stdout)};
        struct ctl_live live = {
            .bus_dir = config->bus_dir,
            .to = config->to,
            .patience_us = config->wait_us,
            .settle_us = config->settle_us,
            .paths = paths,
            .count = count,
            .on_answer = on_answer,
        };
        struct ctl_live_result result;
        char error[CTL_ERROR_SIZE];

        if (config->core || config->check || config->update)
                return ctl_fail(CTL_USAGE, "replay",
                                "--core, --check and --update are of a replay without --to");
        if (ctl_live_parse_speed(config->speed, &live.speed) < 0)
                return ctl_fail(CTL_USAGE, "replay", "--speed=%s: neither a factor above 0 nor 'max'",
                                config->speed);
        if (access(config->bus_dir, X_OK) < 0)
                return ctl_fail(CTL_UNREACHABLE, "replay", "bus directory %s: %s (see --bus-dir)",
                                config->bus_dir, strerror(errno));
        if (ctl_view_new(&view, &(struct ctl_filter){0}, &view_options) < 0)
                return ctl_fail(CTL_FAILED, "replay", "out of memory");
        live.arg = view;
        int r = ctl_live_replay(&live, &result, error);
        if (r < 0)
                return ctl_fail(r == -ETIMEDOUT ? CTL_UNREACHABLE : CTL_FAILED, "replay", "%s", error);
        (void)fprintf(stderr, "%" PRIu64 " messages sent, %" PRIu64 " passed over, %" PRIu64 " answers%s\n",
                      result.sent, result.passed, result.answers,
                      result.torn ? "; the file ends inside a record" : "");
        return CTL_OK;
}

int ctl_replay_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0 && argc == first)
                code = ctl_fail(CTL_USAGE, "replay", "needs a FILE");
        else if (r == 0)
                code =
                    (config.to ? replay_live : replay_offline)(&config, argv + first, (size_t)(argc - first));
        ak_options_deinit(&program, &config);
        return code;
}
