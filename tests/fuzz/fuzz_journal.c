/* SPDX-License-Identifier: Apache-2.0 */
/* A journal of any bytes, replayed into a core that takes every event and asks for nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/alkaidctl/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int create(void **out, const json_t *config, char error[CTL_ERROR_SIZE])
{
        (void)config;
        (void)error;
        *out = malloc(1);
        return *out ? 0 : -1;
}

static int step(void *core, const json_t *event, uint64_t now_us, uint64_t real_us, json_t **actions,
                char error[CTL_ERROR_SIZE])
{
        (void)core;
        (void)event;
        (void)now_us;
        (void)real_us;
        (void)error;
        *actions = json_array();
        return 0;
}

static const struct ctl_core_ops any = {.name = "x", .create = create, .destroy = free, .step = step};
static const struct ctl_core_ops *const cores[] = {&any, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_AUTOCLOSE int fd = memfd_create("journal", MFD_CLOEXEC);
        FILE *out = fopen("/dev/null", "we");
        const struct ctl_replay replay = {.cores = cores, .check = true, .out = out};
        struct ctl_replay_result result;
        char path[32], error[CTL_ERROR_SIZE];
        char *paths[] = {path};

        if (fd < 0 || !out || write(fd, data, size) != (ssize_t)size)
                abort();
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        (void)ctl_replay_journal(&replay, paths, 1, &result, error);
        (void)fclose(out);
        return 0;
}
