/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/listen.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/bus_wire.h"
#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "proto/proto.h"
#include "tools/alkaidctl/command.h"

#define MAX_BUSES 64

struct listener;

/* One node's bus. */
struct ear {
        struct listener *listener;
        char node[256];
        struct ak_bus *bus;
};

struct listener {
        const struct ctl_listen *options;
        zloop_t *loop;
        bool done;
        struct ear ears[MAX_BUSES];
        size_t count;
};

void ctl_host_name(char *out, size_t size)
{
        if (gethostname(out, size) < 0)
                (void)snprintf(out, size, "localhost");
        out[size - 1] = '\0';
}

static int on_end(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        (void)arg;
        return -1;
}

static int on_interval(zloop_t *loop, int timer, void *arg)
{
        struct listener *l = arg;

        (void)loop;
        (void)timer;
        return l->options->on_interval(l->options->arg) == 0 ? 0 : -1;
}

/* A handler of the bus cannot end the loop, a timer can. */
static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct ear *ear = arg;
        struct listener *l = ear->listener;

        if (l->done || !l->options->on_message ||
            l->options->on_message(l->options->arg, ear->node, frame) == 0)
                return;
        l->done = true;
        zloop_timer(l->loop, 1, 1, on_end, NULL);
}

static void on_tap(void *arg, const struct ak_bus_frame *frame, bool outgoing)
{
        struct ear *ear = arg;

        if (!outgoing && ear->listener->options->stats)
                ctl_stats_take(ear->listener->options->stats, frame, ak_clock_realtime_us());
}

static bool wanted(const struct ak_strlist *types, const char *type)
{
        for (size_t i = 0; i < types->count; i++)
                if (strcmp(types->items[i], type) == 0)
                        return true;
        return types->count == 0;
}

/* Each type from the service that publishes it. */
static int subscribe(struct ak_bus *bus, const struct ak_strlist *types)
{
        for (int i = 0; i < AK_MESSAGE_TYPE_COUNT; i++) {
                const struct ak_message_info *info = ak_message_info((enum ak_message_type)i);
                char prefix[AK_BUS_TOPIC_MAX + 1];
                if (!wanted(types, info->type))
                        continue;
                (void)snprintf(prefix, sizeof(prefix), "%s/", info->type);
                int r = ak_bus_subscribe(bus, info->publisher, prefix);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int subscribe_others(struct ak_bus *bus, const struct ak_strlist *others)
{
        int r = 0;

        for (size_t i = 0; others && i < others->count && r == 0; i++)
                r = ak_bus_subscribe(bus, others->items[i], "");
        return r;
}

static int refuse_others(const struct ctl_listen *options)
{
        for (size_t i = 0; options->others && i < options->others->count; i++)
                if (!ak_bus_name_valid(options->others->items[i]))
                        return ctl_fail(CTL_USAGE, options->command, "--also=%s: no name of a service",
                                        options->others->items[i]);
        return CTL_OK;
}

/* Types of services that are not ours we cannot know. */
static int refuse_types(const struct ctl_listen *options)
{
        if (options->others && options->others->count > 0)
                return CTL_OK;
        for (size_t i = 0; i < options->types->count; i++) {
                enum ak_message_type type;
                if (ak_message_type_of_topic(options->types->items[i], &type) < 0)
                        return ctl_fail(CTL_USAGE, options->command,
                                        "no message type '%s'; docs/reference/messages.md lists them",
                                        options->types->items[i]);
        }
        return CTL_OK;
}

/* Splits NODE=DIR; a directory that has a = in it is written NODE=DIR, too. */
static const char *name_ear(struct ear *ear, const char *where)
{
        const char *equals = strchr(where, '=');
        size_t len = equals ? (size_t)(equals - where) : 0;

        if (!equals || len == 0 || len >= sizeof(ear->node) || memchr(where, '/', len)) {
                ctl_host_name(ear->node, sizeof(ear->node));
                return where;
        }
        memcpy(ear->node, where, len);
        ear->node[len] = '\0';
        return equals + 1;
}

static int open_ear(struct listener *l, const char *where)
{
        const struct ctl_listen *o = l->options;
        struct ear *ear = &l->ears[l->count];
        const char *dir = name_ear(ear, where);
        const struct ak_bus_options options = {
            .dir = dir, .hwm = CTL_LISTEN_QUEUE, .passive = true, .net = o->net};
        const struct ak_bus_handler handler = {.on_message = on_message, .on_tap = on_tap, .arg = ear};

        if (o->node && strcmp(o->node, ear->node) != 0)
                return CTL_OK;
        if (access(dir, X_OK) < 0)
                return ctl_fail(CTL_UNREACHABLE, o->command, "bus directory %s: %s (see --bus-dir)", dir,
                                strerror(errno));
        ear->listener = l;
        l->count++;
        int r = ak_bus_new(&ear->bus, l->loop, &options, &handler);
        if (r >= 0)
                r = subscribe(ear->bus, o->types);
        if (r >= 0)
                r = subscribe_others(ear->bus, o->others);
        return r < 0 ? ctl_fail(CTL_UNREACHABLE, o->command, "bus in %s: %s", dir, strerror(-r)) : CTL_OK;
}

static int open_ears(struct listener *l)
{
        const struct ctl_listen *o = l->options;

        if (o->bus_dirs->count > MAX_BUSES)
                return ctl_fail(CTL_USAGE, o->command, "more than %d of --bus-dir", MAX_BUSES);
        for (size_t i = 0; i < o->bus_dirs->count; i++) {
                int code = open_ear(l, o->bus_dirs->items[i]);
                if (code != CTL_OK)
                        return code;
        }
        if (l->count == 0)
                return ctl_fail(CTL_USAGE, o->command,
                                "none of --bus-dir is of node '%s' (NODE=DIR names it)", o->node);
        return CTL_OK;
}

static int run(struct listener *l)
{
        const struct ctl_listen *o = l->options;
        int code = open_ears(l);

        if (code != CTL_OK)
                return code;
        if (o->duration_us > 0)
                zloop_timer(l->loop, (size_t)(o->duration_us / 1000) + 1, 1, on_end, NULL);
        if (o->interval_us > 0)
                zloop_timer(l->loop, (size_t)(o->interval_us / 1000) + 1, 0, on_interval, l);
        zloop_start(l->loop);
        return CTL_OK;
}

int ctl_listen(const struct ctl_listen *options)
{
        int code = refuse_types(options);

        if (code == CTL_OK)
                code = refuse_others(options);
        if (code != CTL_OK)
                return code;
        struct listener *l = calloc(1, sizeof(*l));
        if (!l)
                return ctl_fail(CTL_FAILED, options->command, "out of memory");
        l->options = options;
        l->loop = zloop_new();
        code = run(l);
        for (size_t i = 0; i < l->count; i++)
                ak_bus_free(l->ears[i].bus);
        zloop_destroy(&l->loop);
        free(l);
        return code;
}
