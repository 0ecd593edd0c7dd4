/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/capture.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/listen.h"

struct config {
        char *bus_dir;
        struct ak_strlist types;
        bool overwrite;
        uint64_t count, duration_us, max_bytes;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("bus-dir", AK_OPT_STRING, bus_dir, .def = "/run/alkaid/bus", .help = "directory of the bus"),
    OPTION("for", AK_OPT_DURATION, duration_us, .help = "leave after this time, e.g. 10s"),
    OPTION("type", AK_OPT_LIST, types, .help = "only messages of this type, e.g. nic.diff; repeat"),
    OPTION("count", AK_OPT_UINT, count, .help = "leave after this many messages; 0 = never"),
    OPTION("max-size", AK_OPT_SIZE, max_bytes, .def = "1G", .help = "leave before the file is larger"),
    OPTION("overwrite", AK_OPT_BOOL, overwrite, .help = "replace a FILE that is there"),
};

static const struct ak_program program = {
    .name = "alkaidctl record",
    .summary = "Writes what is said on the node's bus to a capture file.",
    .operands = "FILE",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

struct recorder {
        struct ctl_capture_writer *writer;
        uint64_t written, bytes, count, max_bytes;
        int error;
};

static int on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct recorder *r = arg;
        struct ctl_envelope envelope;

        if (ctl_envelope_from_frame(&envelope, frame, ak_clock_realtime_us(), ak_clock_monotonic_us()) < 0)
                return 0;
        r->error = ctl_capture_write(r->writer, &envelope, frame->body, frame->body_len);
        if (r->error < 0)
                return 1;
        r->written++;
        r->bytes += frame->body_len + sizeof(envelope); /* an upper bound of what it takes */
        return r->written == r->count || r->bytes > r->max_bytes;
}

static int run(const struct config *config, const char *path)
{
        AK_CLEANUP(ctl_capture_writer_freep) struct ctl_capture_writer *writer = NULL;
        struct recorder recorder = {.count = config->count, .max_bytes = config->max_bytes};
        int r = ctl_capture_writer_new(&writer, path, config->overwrite);

        if (r < 0)
                return ctl_fail(CTL_FAILED, "record", "%s: %s%s", path, strerror(-r),
                                r == -EEXIST ? " (--overwrite replaces it)" : "");
        recorder.writer = writer;
        int code = ctl_listen(&(struct ctl_listen){
            .bus_dir = config->bus_dir,
            .types = &config->types,
            .duration_us = config->duration_us,
            .on_message = on_message,
            .arg = &recorder,
            .command = "record",
        });
        if (recorder.error < 0)
                return ctl_fail(CTL_FAILED, "record", "%s: %s", path, strerror(-recorder.error));
        if (code == CTL_OK)
                (void)fprintf(stderr, "%llu messages in %s\n", (unsigned long long)recorder.written, path);
        return code;
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
