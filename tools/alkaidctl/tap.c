/* SPDX-License-Identifier: Apache-2.0 */
/* tap: the bus, live. show: the same view of captures. */
#include <inttypes.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/capture.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/listen.h"
#include "tools/alkaidctl/view.h"

struct config {
        struct ak_strlist bus_dirs, types, others;
        struct ak_bus_net net;
        char *pod, *nic, *node, *color, *since, *until;
        bool json, live;
        uint64_t count, duration_us, since_us, until_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
#define VIEW_OPTIONS                                                                                         \
        OPTION("pod", AK_OPT_STRING, pod, .help = "only of this pod: UID, NAME or NAMESPACE/NAME"),          \
            OPTION("nic", AK_OPT_STRING, nic, .help = "only of NICs of this name"),                          \
            OPTION("type", AK_OPT_LIST, types, .help = "only messages of this type, e.g. nic.diff; repeat"), \
            OPTION("node", AK_OPT_STRING, node, .help = "only of this node"),                                \
            OPTION("json", AK_OPT_BOOL, json, .help = "one JSON object per line"),                           \
            OPTION("color", AK_OPT_ENUM, color, .def = "auto", .choices = "auto|always|never",               \
                   .help = "auto: on a terminal, unless NO_COLOR is set"),                                   \
            OPTION("live", AK_OPT_BOOL, live, .help = "leave out last values that are sent again"),          \
            OPTION("count", AK_OPT_UINT, count, .help = "leave after this many messages; 0 = never")

static const struct ak_option tap_options[] = {
    OPTION("bus-dir", AK_OPT_LIST, bus_dirs, .def = "/run/alkaid/bus",
           .help = "directory of the bus; repeat, as NODE=DIR, to look at several nodes"),
    AK_BUS_PEER_OPTIONS(struct config, net),
    OPTION("also", AK_OPT_LIST, others,
           .help = "also all that this service says, which is none of ours; repeat"),
    OPTION("for", AK_OPT_DURATION, duration_us, .help = "leave after this time, e.g. 10s"),
    VIEW_OPTIONS,
};

static const struct ak_option show_options[] = {
    OPTION("since", AK_OPT_STRING, since, .help = "from this time on, e.g. 2026-01-02T03:04:05Z"),
    OPTION("until", AK_OPT_STRING, until, .help = "up to this time"),
    VIEW_OPTIONS,
};

static const struct ak_program tap_program = {
    .name = "alkaidctl tap",
    .summary = "Shows what is said on the node's bus: * is news, = a last value sent again.",
    .options = tap_options,
    .option_count = AK_ARRAY_SIZE(tap_options),
};

static const struct ak_program show_program = {
    .name = "alkaidctl show",
    .summary = "Prints capture files of alkaidctl record.",
    .operands = "FILE...",
    .options = show_options,
    .option_count = AK_ARRAY_SIZE(show_options),
};

struct tap {
        struct ctl_view *view;
        uint64_t left; /* messages until the end; 0 = no end */
};

/* Non-zero when that was the last one. */
static int show(struct tap *tap, const struct ak_bus_frame *frame, const struct ctl_heard *heard)
{
        if (!ctl_view_takes(tap->view, frame, heard))
                return 0;
        ctl_view_show(tap->view, frame, heard, stdout);
        return tap->left > 0 && --tap->left == 0;
}

static int on_message(void *arg, const char *node, const struct ak_bus_frame *frame)
{
        return show(arg, frame, &(struct ctl_heard){node, ak_clock_realtime_us()});
}

static int new_view(struct tap *tap, const struct config *config, bool nodes)
{
        const struct ctl_filter filter = {
            .pod = config->pod,
            .nic = config->nic,
            .node = config->node,
            .types = config->types,
            .live_only = config->live,
            .since_us = config->since_us,
            .until_us = config->until_us,
        };
        const struct ctl_view_options options = {
            .json = config->json,
            .color = ctl_view_wants_color(config->color, stdout),
            .nodes = nodes,
        };

        tap->left = config->count;
        return ctl_view_new(&tap->view, &filter, &options);
}

static int run_tap(const struct config *config)
{
        /* A filter by the pod's name needs the messages that carry it. */
        const struct ak_strlist all = {0};
        AK_CLEANUP(ctl_stats_freep) struct ctl_stats *stats = NULL;
        struct tap tap = {0};

        if (ctl_stats_new(&stats) < 0 || new_view(&tap, config, config->bus_dirs.count > 1) < 0)
                return ctl_fail(CTL_FAILED, "tap", "out of memory");
        int code = ctl_listen(&(struct ctl_listen){
            .bus_dirs = &config->bus_dirs,
            .net = &config->net,
            .types = config->pod ? &all : &config->types,
            .others = &config->others,
            .node = config->node,
            .duration_us = config->duration_us,
            .on_message = on_message,
            .stats = stats,
            .arg = &tap,
            .command = "tap",
        });
        ctl_view_free(tap.view);
        if (ctl_stats_lost(stats) > 0)
                (void)fprintf(stderr, "alkaidctl: tap: %" PRIu64 " messages were dropped on the way here\n",
                              ctl_stats_lost(stats));
        return code;
}

int ctl_tap_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&tap_program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = run_tap(&config);
        ak_options_deinit(&tap_program, &config);
        return code;
}

/* ------------------------------------------------------------------ show */

/* 1 when no more is wanted, 0 at the end of the file. */
static int show_records(struct tap *tap, struct ctl_capture_reader *reader, char error[CTL_ERROR_SIZE])
{
        struct ctl_record record;
        int r, done = 0;

        while (!done && (r = ctl_capture_read(reader, &record, error)) > 0) {
                const struct ak_bus_frame frame = ctl_record_frame(&record);
                const struct ctl_heard heard = {ctl_capture_reader_header(reader)->node,
                                                record.envelope.received_us};
                done = show(tap, &frame, &heard);
                ctl_record_deinit(&record);
        }
        return done ? 1 : r;
}

static int show_file(struct tap *tap, const struct config *config, const char *path, bool *done)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *reader = NULL;
        char error[CTL_ERROR_SIZE];
        int r = ctl_capture_reader_new(&reader, path, error);

        if (r == 0 && config->since_us > 0)
                r = ctl_capture_seek(reader, config->since_us, error);
        if (r == 0)
                r = show_records(tap, reader, error);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "show", "%s", error);
        *done = r > 0;
        if (ctl_capture_reader_torn(reader))
                (void)fprintf(stderr,
                              "alkaidctl: show: %s ends inside a record, at byte %" PRIu64
                              "; what is before it is shown\n",
                              path, ctl_capture_reader_offset(reader));
        return CTL_OK;
}

static int parse_time(const char *name, const char *text, uint64_t *out)
{
        if (!text || ak_rfc3339_parse(text, out) == 0)
                return CTL_OK;
        return ctl_fail(CTL_USAGE, "show", "--%s=%s: not a time like 2026-01-02T03:04:05Z", name, text);
}

static int run_show(struct config *config, char **paths, size_t count)
{
        struct tap tap = {0};
        bool done = false;
        int code = parse_time("since", config->since, &config->since_us);

        if (code == CTL_OK)
                code = parse_time("until", config->until, &config->until_us);
        if (code != CTL_OK)
                return code;
        if (new_view(&tap, config, count > 1) < 0)
                return ctl_fail(CTL_FAILED, "show", "out of memory");
        for (size_t i = 0; i < count && !done && code == CTL_OK; i++)
                code = show_file(&tap, config, paths[i], &done);
        ctl_view_free(tap.view);
        return code;
}

int ctl_show_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&show_program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = argc > first ? run_show(&config, argv + first, (size_t)(argc - first))
                                    : ctl_fail(CTL_USAGE, "show", "needs a FILE");
        ak_options_deinit(&show_program, &config);
        return code;
}
