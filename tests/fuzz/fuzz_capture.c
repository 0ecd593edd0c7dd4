/* SPDX-License-Identifier: Apache-2.0 */
/* A capture file of any bytes: read to its end, and what is in it shown as text and as JSON. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/alkaidctl/capture.h"
#include "tools/alkaidctl/stats.h"
#include "tools/alkaidctl/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(struct ctl_view *view, struct ctl_stats *stats, const struct ctl_record *record, FILE *out)
{
        const struct ak_bus_frame frame = ctl_record_frame(record);
        const struct ctl_heard heard = {"node", record->envelope.received_us};

        ctl_stats_take(stats, &frame, heard.received_us);
        if (ctl_view_takes(view, &frame, &heard))
                ctl_view_show(view, &frame, &heard, out);
}

/* Once from the beginning, once from where the index leads to. */
static void read_all(const char *path, bool seek, struct ctl_view *view, struct ctl_stats *stats, FILE *out)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *reader = NULL;
        struct ctl_record record;
        char error[CTL_ERROR_SIZE];

        if (ctl_capture_reader_new(&reader, path, error) < 0)
                return;
        if (seek && ctl_capture_seek(reader, UINT64_MAX, error) < 0)
                return;
        while (ctl_capture_read(reader, &record, error) > 0) {
                show(view, stats, &record, out);
                ctl_record_deinit(&record);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_AUTOCLOSE int fd = memfd_create("capture", MFD_CLOEXEC);
        AK_CLEANUP(ctl_view_freep) struct ctl_view *view = NULL;
        AK_CLEANUP(ctl_stats_freep) struct ctl_stats *stats = NULL;
        const struct ctl_view_options options = {.json = size & 1, .color = size & 2, .nodes = size & 4};
        char path[32];
        FILE *out = fopen("/dev/null", "we");

        if (fd < 0 || !out || write(fd, data, size) != (ssize_t)size ||
            ctl_view_new(&view, &(struct ctl_filter){0}, &options) < 0 || ctl_stats_new(&stats) < 0)
                abort();
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        read_all(path, false, view, stats, out);
        read_all(path, true, view, stats, out);
        ctl_stats_show(stats, UINT64_MAX, out);
        (void)fclose(out);
        return 0;
}
