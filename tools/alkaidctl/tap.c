/* SPDX-License-Identifier: Apache-2.0 */
/* tap: the bus, live. show: the same view of a capture. */
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/capture.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/listen.h"
#include "tools/alkaidctl/view.h"

struct config {
        char *bus_dir, *pod, *nic;
        struct ak_strlist types;
        bool json, live;
        uint64_t count, duration_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
#define VIEW_OPTIONS                                                                                         \
        OPTION("pod", AK_OPT_STRING, pod, .help = "only of this pod: UID, NAME or NAMESPACE/NAME"),          \
            OPTION("nic", AK_OPT_STRING, nic, .help = "only of NICs of this name"),                          \
            OPTION("type", AK_OPT_LIST, types, .help = "only messages of this type, e.g. nic.diff; repeat"), \
            OPTION("json", AK_OPT_BOOL, json, .help = "one JSON object per line"),                           \
            OPTION("live", AK_OPT_BOOL, live, .help = "leave out last values that are sent again"),          \
            OPTION("count", AK_OPT_UINT, count, .help = "leave after this many messages; 0 = never")

static const struct ak_option tap_options[] = {
    OPTION("bus-dir", AK_OPT_STRING, bus_dir, .def = "/run/alkaid/bus", .help = "directory of the bus"),
    OPTION("for", AK_OPT_DURATION, duration_us, .help = "leave after this time, e.g. 10s"),
    VIEW_OPTIONS,
};

static const struct ak_option show_options[] = {VIEW_OPTIONS};

static const struct ak_program tap_program = {
    .name = "alkaidctl tap",
    .summary = "Shows what is said on the node's bus: * is news, = a last value sent again.",
    .options = tap_options,
    .option_count = AK_ARRAY_SIZE(tap_options),
};

static const struct ak_program show_program = {
    .name = "alkaidctl show",
    .summary = "Prints a capture file of alkaidctl record.",
    .operands = "FILE",
    .options = show_options,
    .option_count = AK_ARRAY_SIZE(show_options),
};

struct tap {
        struct ctl_view *view;
        uint64_t left; /* messages until the end; 0 = no end */
};

/* Non-zero when that was the last one. */
static int show(struct tap *tap, const struct ak_bus_frame *frame, uint64_t received_us)
{
        if (!ctl_view_takes(tap->view, frame))
                return 0;
        ctl_view_show(tap->view, frame, received_us, stdout);
        return tap->left > 0 && --tap->left == 0;
}

static int on_message(void *arg, const struct ak_bus_frame *frame)
{
        return show(arg, frame, ak_clock_realtime_us());
}

static int new_view(struct tap *tap, const struct config *config)
{
        const struct ctl_filter filter = {
            .pod = config->pod,
            .nic = config->nic,
            .types = config->types,
            .live_only = config->live,
        };

        tap->left = config->count;
        return ctl_view_new(&tap->view, &filter, config->json);
}

static int run_tap(const struct config *config)
{
        /* A filter by the pod's name needs the messages that carry it. */
        const struct ak_strlist all = {0};
        struct tap tap = {0};

        if (new_view(&tap, config) < 0)
                return ctl_fail(CTL_FAILED, "tap", "out of memory");
        int code = ctl_listen(&(struct ctl_listen){
            .bus_dir = config->bus_dir,
            .types = config->pod ? &all : &config->types,
            .duration_us = config->duration_us,
            .on_message = on_message,
            .arg = &tap,
            .command = "tap",
        });
        ctl_view_free(tap.view);
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

static int show_file(const struct config *config, const char *path)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *reader = NULL;
        struct tap tap = {0};
        struct ctl_record record;
        char error[CTL_ERROR_SIZE];
        int r = ctl_capture_reader_new(&reader, path, error);

        if (r < 0)
                return ctl_fail(CTL_FAILED, "show", "%s", error);
        if (new_view(&tap, config) < 0)
                return ctl_fail(CTL_FAILED, "show", "out of memory");
        bool done = false;
        while (!done && (r = ctl_capture_read(reader, &record, error)) > 0) {
                const struct ak_bus_frame frame = ctl_record_frame(&record);
                done = show(&tap, &frame, record.envelope.received_us) != 0;
                ctl_record_deinit(&record);
        }
        ctl_view_free(tap.view);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "show", "%s", error);
        if (ctl_capture_reader_torn(reader))
                (void)fprintf(stderr, "alkaidctl: show: %s ends inside a record; the rest is shown\n", path);
        return CTL_OK;
}

int ctl_show_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0;
        int r = ak_options_load(&show_program, argc, argv, &config, &first);
        int code = r < 0 ? CTL_USAGE : CTL_OK;

        if (r == 0)
                code = argc - first == 1 ? show_file(&config, argv[first])
                                         : ctl_fail(CTL_USAGE, "show", "needs one FILE");
        ak_options_deinit(&show_program, &config);
        return code;
}
