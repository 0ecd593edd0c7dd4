/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/listen.h"
#include "tools/alkaidctl/recorder.h"

struct config {
        char *bus_dir, *node;
        struct ak_strlist types, others;
        struct ak_bus_net net;
        bool overwrite;
        uint64_t count, duration_us, max_bytes, max_files;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("bus-dir", AK_OPT_STRING, bus_dir, .def = "/run/alkaid/bus", .help = "directory of the bus"),
    OPTION("node-name", AK_OPT_STRING, node,
           .help = "name of the node, for the header (default: the host's)"),
    OPTION("for", AK_OPT_DURATION, duration_us, .help = "leave after this time, e.g. 10s"),
    OPTION("type", AK_OPT_LIST, types, .help = "only messages of this type, e.g. nic.diff; repeat"),
    AK_BUS_PEER_OPTIONS(struct config, net),
    OPTION("also", AK_OPT_LIST, others,
           .help = "also all that this service says, which is none of ours; repeat"),
    OPTION("count", AK_OPT_UINT, count, .help = "leave after this many messages; 0 = never"),
    OPTION("max-size", AK_OPT_SIZE, max_bytes, .def = "64Mi", .min = 65536,
           .help = "bound of one file; then it becomes FILE.1, and FILE is begun anew"),
    OPTION("max-files", AK_OPT_UINT, max_files, .def = "8", .min = 1, .max = 10000,
           .help = "files that are kept, FILE among them; 1 = leave when it is full"),
    OPTION("overwrite", AK_OPT_BOOL, overwrite, .help = "replace files that are there"),
};

static const struct ak_program program = {
    .name = "alkaidctl record",
    .summary = "Writes what is said on the node's bus to a capture file.",
    .operands = "FILE",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

struct recording {
        struct ctl_recorder *recorder;
        uint64_t count;
        int result; /* of the last write */
};

static int on_message(void *arg, const char *node, const struct ak_bus_frame *frame)
{
        struct recording *r = arg;

        (void)node;
        r->result = ctl_recorder_take(r->recorder, frame, ak_clock_realtime_us(), ak_clock_monotonic_us());
        if (r->result == -EINVAL) /* no frame that the bus lets through is */
                r->result = 0;
        return r->result != 0 || ctl_recorder_messages(r->recorder) == r->count;
}

static void report(const struct recording *r, const struct ctl_stats *stats, const char *path)
{
        uint64_t lost = ctl_stats_lost(stats), parts = ctl_recorder_parts(r->recorder);

        (void)fprintf(stderr, "%" PRIu64 " messages in %s", ctl_recorder_messages(r->recorder), path);
        if (parts > 1)
                (void)fprintf(stderr, ", %" PRIu64 " files begun", parts);
        (void)fputs(r->result > 0 ? "; the file is full" : "", stderr);
        if (lost > 0)
                (void)fprintf(stderr, "; %" PRIu64 " messages were dropped on the way here", lost);
        (void)fputc('\n', stderr);
}

static int finish(struct recording *r, const struct ctl_stats *stats, const char *path, int code)
{
        int error = r->result < 0 ? r->result : ctl_recorder_finish(r->recorder);

        if (error < 0)
                return ctl_fail(CTL_FAILED, "record", "%s: %s", path, strerror(-error));
        if (code == CTL_OK)
                report(r, stats, path);
        return code;
}

static int run(const struct config *config, const char *path)
{
        AK_CLEANUP(ctl_recorder_freep) struct ctl_recorder *recorder = NULL;
        AK_CLEANUP(ctl_stats_freep) struct ctl_stats *stats = NULL;
        char *dirs[] = {config->bus_dir, NULL};
        char host[CTL_CAPTURE_NODE_MAX + 1];
        struct ctl_recorder_options o = {
            .path = path,
            .node = config->node ? config->node : host,
            .overwrite = config->overwrite,
            .max_bytes = config->max_bytes,
            .max_files = config->max_files,
            .created_us = ak_clock_realtime_us(),
        };

        ctl_host_name(host, sizeof(host));
        if (getrandom(&o.run, sizeof(o.run), 0) != sizeof(o.run))
                o.run = o.created_us;
        int r = ctl_stats_new(&stats);
        if (r == 0)
                r = ctl_recorder_new(&recorder, &o);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "record", "%s: %s%s", path, strerror(-r),
                                r == -EEXIST ? " (--overwrite replaces it, and its rotated files)" : "");
        struct recording recording = {.recorder = recorder, .count = config->count};
        int code = ctl_listen(&(struct ctl_listen){
            .bus_dirs = &(struct ak_strlist){dirs, 1},
            .net = &config->net,
            .types = &config->types,
            .others = &config->others,
            .duration_us = config->duration_us,
            .on_message = on_message,
            .stats = stats,
            .arg = &recording,
            .command = "record",
        });
        return finish(&recording, stats, path, code);
}

int ctl_record_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = argc - first == 1 ? run(&config, argv[first])
                                         : ctl_fail(CTL_USAGE, "record", "needs one FILE");
        ak_options_deinit(&program, &config);
        return code;
}
