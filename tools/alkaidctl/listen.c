/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/listen.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "proto/proto.h"
#include "tools/alkaidctl/command.h"

struct listener {
        const struct ctl_listen *options;
        zloop_t *loop;
        bool done;
};

static int on_end(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        (void)arg;
        return -1;
}

/* A handler of the bus cannot end the loop, a timer can. */
static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct listener *l = arg;

        if (l->done || l->options->on_message(l->options->arg, frame) == 0)
                return;
        l->done = true;
        zloop_timer(l->loop, 1, 1, on_end, NULL);
}

static bool wanted(const struct ak_strlist *types, const char *type)
{
        for (size_t i = 0; i < types->count; i++)
                if (strcmp(types->items[i], type) == 0)
                        return true;
        return types->count == 0;
}

/* Each type from the service that publishes it. Returns how many, or a negative errno. */
static int subscribe(struct ak_bus *bus, const struct ak_strlist *types)
{
        int count = 0;

        for (int i = 0; i < AK_MESSAGE_TYPE_COUNT; i++) {
                const struct ak_message_info *info = ak_message_info((enum ak_message_type)i);
                char prefix[AK_BUS_TOPIC_MAX + 1];
                if (!wanted(types, info->type))
                        continue;
                (void)snprintf(prefix, sizeof(prefix), "%s/", info->type);
                int r = ak_bus_subscribe(bus, info->publisher, prefix);
                if (r < 0)
                        return r;
                count++;
        }
        return count;
}

static int refuse_types(const struct ctl_listen *options)
{
        for (size_t i = 0; i < options->types->count; i++) {
                enum ak_message_type type;
                if (ak_message_type_of_topic(options->types->items[i], &type) < 0)
                        return ctl_fail(CTL_USAGE, options->command,
                                        "no message type '%s'; docs/reference/messages.md lists them",
                                        options->types->items[i]);
        }
        return CTL_OK;
}

static int run(const struct ctl_listen *options, zloop_t *loop)
{
        AK_CLEANUP(ak_bus_freep) struct ak_bus *bus = NULL;
        struct listener listener = {.options = options, .loop = loop};
        const struct ak_bus_options bus_options = {.dir = options->bus_dir};
        const struct ak_bus_handler handler = {.on_message = on_message, .arg = &listener};

        if (access(options->bus_dir, X_OK) < 0)
                return ctl_fail(CTL_UNREACHABLE, options->command, "bus directory %s: %s (see --bus-dir)",
                                options->bus_dir, strerror(errno));
        int r = ak_bus_new(&bus, loop, &bus_options, &handler);
        if (r >= 0)
                r = subscribe(bus, options->types);
        if (r < 0)
                return ctl_fail(CTL_UNREACHABLE, options->command, "bus in %s: %s", options->bus_dir,
                                strerror(-r));
        if (options->duration_us > 0)
                zloop_timer(loop, (size_t)(options->duration_us / 1000) + 1, 1, on_end, NULL);
        zloop_start(loop);
        return CTL_OK;
}

int ctl_listen(const struct ctl_listen *options)
{
        int code = refuse_types(options);

        if (code != CTL_OK)
                return code;
        zloop_t *loop = zloop_new();
        code = run(options, loop);
        zloop_destroy(&loop);
        return code;
}
