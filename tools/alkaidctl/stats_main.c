/* SPDX-License-Identifier: Apache-2.0 */
/* stats: rates, losses and ages of a bus, live, or of captures. */
#include <string.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/capture.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/listen.h"

struct config {
        struct ak_strlist bus_dirs, types, others;
        struct ak_bus_net net;
        bool json;
        uint64_t count, interval_us, duration_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("bus-dir", AK_OPT_LIST, bus_dirs, .def = "/run/alkaid/bus", .help = "directory of the bus"),
    OPTION("type", AK_OPT_LIST, types, .help = "only messages of this type, e.g. nic.diff; repeat"),
    AK_BUS_PEER_OPTIONS(struct config, net),
    OPTION("also", AK_OPT_LIST, others,
           .help = "also all that this service says, which is none of ours; repeat"),
    OPTION("interval", AK_OPT_DURATION, interval_us, .def = "2s", .min = 10000,
           .help = "time between two tables; rates are of this time"),
    OPTION("count", AK_OPT_UINT, count, .help = "leave after this many tables; 0 = never"),
    OPTION("for", AK_OPT_DURATION, duration_us, .help = "leave after this time, e.g. 10s"),
    OPTION("json", AK_OPT_BOOL, json, .help = "one JSON object per table and line"),
};

static const struct ak_program program = {
    .name = "alkaidctl stats",
    .summary =
        "Tells who says how much on the node's bus (or in capture FILEs), what was lost and how old it is.",
    .operands = "[FILE...]",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

struct view {
        struct ctl_stats *stats;
        bool json;
        uint64_t left; /* tables; 0 = no end */
};

static void show(const struct view *v, uint64_t now_us)
{
        if (!v->json) {
                ctl_stats_show(v->stats, now_us, stdout);
                return;
        }
        json_t *line = ctl_stats_json(v->stats, now_us);
        (void)json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        (void)fputc('\n', stdout);
        (void)fflush(stdout);
        json_decref(line);
}

static int on_interval(void *arg)
{
        struct view *v = arg;

        if (!v->json && isatty(STDOUT_FILENO))
                (void)fputs("\033[H\033[J", stdout); /* a new table in the place of the old one */
        show(v, ak_clock_realtime_us());
        return v->left > 0 && --v->left == 0;
}

static int run_live(const struct config *config, struct view *v)
{
        return ctl_listen(&(struct ctl_listen){
            .bus_dirs = &config->bus_dirs,
            .net = &config->net,
            .types = &config->types,
            .others = &config->others,
            .duration_us = config->duration_us,
            .interval_us = config->interval_us,
            .on_interval = on_interval,
            .stats = v->stats,
            .arg = v,
            .command = "stats",
        });
}

static bool wanted(const struct ak_strlist *types, const char *topic)
{
        size_t len = strcspn(topic, "/");

        for (size_t i = 0; i < types->count; i++)
                if (strlen(types->items[i]) == len && memcmp(types->items[i], topic, len) == 0)
                        return true;
        return types->count == 0;
}

static int take_file(const struct config *config, struct ctl_stats *stats, const char *path,
                     uint64_t *last_us)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *reader = NULL;
        char error[CTL_ERROR_SIZE];
        struct ctl_record record;
        int r = ctl_capture_reader_new(&reader, path, error);

        while (r == 0 && (r = ctl_capture_read(reader, &record, error)) > 0) {
                const struct ak_bus_frame frame = ctl_record_frame(&record);
                if (wanted(&config->types, frame.topic))
                        ctl_stats_take(stats, &frame, record.envelope.received_us);
                *last_us = record.envelope.received_us;
                ctl_record_deinit(&record);
                r = 0;
        }
        if (r < 0)
                return ctl_fail(CTL_FAILED, "stats", "%s", error);
        if (ctl_capture_reader_torn(reader))
                (void)fprintf(stderr,
                              "alkaidctl: stats: %s ends inside a record; what is before it is counted\n",
                              path);
        return CTL_OK;
}

static int run(const struct config *config, char **paths, size_t count)
{
        AK_CLEANUP(ctl_stats_freep) struct ctl_stats *stats = NULL;
        struct view v = {.json = config->json, .left = config->count};
        uint64_t last_us = 0;
        int code = CTL_OK;

        if (ctl_stats_new(&stats) < 0)
                return ctl_fail(CTL_FAILED, "stats", "out of memory");
        v.stats = stats;
        if (count == 0)
                return run_live(config, &v);
        for (size_t i = 0; i < count && code == CTL_OK; i++)
                code = take_file(config, stats, paths[i], &last_us);
        if (code == CTL_OK)
                show(&v, last_us);
        return code;
}

int ctl_stats_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = run(&config, argv + first, (size_t)(argc - first));
        ak_options_deinit(&program, &config);
        return code;
}
