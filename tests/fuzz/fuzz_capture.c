/* SPDX-License-Identifier: Apache-2.0 */
/* A capture file of any bytes: read to its end, and what is in it shown as text and as JSON. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/alkaidctl/capture.h"
#include "tools/alkaidctl/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(struct ctl_view *view, const struct ctl_record *record, FILE *out)
{
        const struct ak_bus_frame frame = ctl_record_frame(record);

        if (ctl_view_takes(view, &frame))
                ctl_view_show(view, &frame, record->envelope.received_us, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_AUTOCLOSE int fd = memfd_create("capture", MFD_CLOEXEC);
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *reader = NULL;
        AK_CLEANUP(ctl_view_freep) struct ctl_view *view = NULL;
        struct ctl_record record;
        char path[32], error[CTL_ERROR_SIZE];
        FILE *out = fopen("/dev/null", "we");

        if (fd < 0 || !out || write(fd, data, size) != (ssize_t)size ||
            ctl_view_new(&view, &(struct ctl_filter){0}, size & 1) < 0)
                abort();
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (ctl_capture_reader_new(&reader, path, error) == 0)
                while (ctl_capture_read(reader, &record, error) > 0) {
                        show(view, &record, out);
                        ctl_record_deinit(&record);
                }
        (void)fclose(out);
        return 0;
}
