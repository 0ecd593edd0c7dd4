/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/live.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"
#include "proto/proto.h"

#define MAX_PEERS 8
#define BATCH     256 /* messages sent before the loop gets its turn */

struct peer {
        const char *name; /* of the message table */
        struct ak_bus *bus;
};

struct live {
        const struct ctl_live *options;
        struct ctl_live_result *result;
        char *error;
        zloop_t *loop;
        struct peer peers[MAX_PEERS];
        size_t peer_count, file;
        struct ctl_capture_reader *reader;
        struct ctl_record record; /* the next one, when `have` is set */
        bool have, ended, started;
        uint64_t begun_us, first_us, quiet_since_us;
        int code;
};

static __attribute__((__format__(__printf__, 3, 4))) int fail(struct live *l, int code, const char *format,
                                                              ...)
{
        va_list args;

        va_start(args, format);
        (void)vsnprintf(l->error, CTL_ERROR_SIZE, format, args);
        va_end(args);
        return code;
}

int ctl_live_parse_speed(const char *text, double *out)
{
        char *end;

        if (strcmp(text, "max") == 0) {
                *out = 0;
                return 0;
        }
        errno = 0;
        double speed = strtod(text, &end);
        if (errno || end == text || *end || !isfinite(speed) || speed < 1e-3 || speed > 1e6)
                return -EINVAL;
        *out = speed;
        return 0;
}

/* ------------------------------------------------------------------ the next message */

/* Is it of a type that the service takes from somebody else? */
static bool is_for(const char *service, const struct ak_bus_frame *frame)
{
        enum ak_message_type type;

        return strcmp(frame->publisher, service) != 0 && ak_message_type_of_topic(frame->topic, &type) == 0 &&
               strcmp(ak_message_info(type)->publisher, frame->publisher) == 0 &&
               strstr(ak_message_info(type)->listeners, service);
}

static int next_file(struct live *l)
{
        if (l->reader) {
                l->result->torn |= ctl_capture_reader_torn(l->reader);
                l->reader = ctl_capture_reader_free(l->reader);
        }
        if (l->file == l->options->count)
                return 0;
        int r = ctl_capture_reader_new(&l->reader, l->options->paths[l->file++], l->error);
        return r < 0 ? r : 1;
}

/* 1 and l->record; 0 when there is none left. */
static int read_next(struct live *l)
{
        int r;

        while (l->reader || (r = next_file(l)) > 0) {
                r = ctl_capture_read(l->reader, &l->record, l->error);
                if (r < 0)
                        return r;
                if (r == 0) {
                        r = next_file(l);
                        if (r <= 0)
                                return r;
                        continue;
                }
                const struct ak_bus_frame frame = ctl_record_frame(&l->record);
                if (is_for(l->options->to, &frame))
                        return 1;
                l->result->passed++;
                ctl_record_deinit(&l->record);
        }
        return r;
}

static int fetch(struct live *l)
{
        if (l->have || l->ended)
                return 0;
        int r = read_next(l);
        l->have = r > 0;
        l->ended = r <= 0;
        return r < 0 ? r : 0;
}

static bool is_due(const struct live *l, uint64_t now_us)
{
        const struct ctl_envelope *e = &l->record.envelope;
        double speed = l->options->speed;

        if (speed == 0 || e->replayed || l->first_us == 0 || e->mono_us <= l->first_us)
                return true; /* the first live one sets the clock */
        if (now_us < l->begun_us)
                return false;
        return (double)(now_us - l->begun_us) * speed >= (double)(e->mono_us - l->first_us);
}

/* ------------------------------------------------------------------ saying it */

static struct peer *find_peer(struct live *l, const char *name)
{
        for (size_t i = 0; i < l->peer_count; i++)
                if (strcmp(l->peers[i].name, name) == 0)
                        return &l->peers[i];
        return NULL;
}

static int send_record(struct live *l)
{
        const struct ctl_envelope *e = &l->record.envelope;
        struct peer *peer = find_peer(l, e->publisher);
        int r = peer ? ak_bus_publish(peer->bus, e->topic, e->trace, l->record.body, l->record.body_len, true)
                     : -EINVAL;

        if (r < 0)
                return fail(l, r, "%s: cannot be published: %s", e->topic, strerror(-r));
        if (!e->replayed && l->first_us == 0) {
                l->first_us = e->mono_us;
                l->begun_us = ak_clock_monotonic_us();
        }
        l->result->sent++;
        ctl_record_deinit(&l->record);
        l->have = false;
        return 0;
}

/* Does the service listen to every peer? It has subscribed to a type of each. */
static bool is_heard(const struct live *l)
{
        for (size_t i = 0; i < l->peer_count; i++) {
                struct ak_bus_stats stats;
                ak_bus_stats(l->peers[i].bus, &stats);
                if (stats.subscriptions == 0)
                        return false;
        }
        return true;
}

/* -1 ends the loop, with l->code. */
static int send_due(struct live *l, uint64_t now_us)
{
        for (int i = 0; i < BATCH; i++) {
                l->code = fetch(l);
                if (l->code < 0)
                        return -1;
                if (!l->have || !is_due(l, now_us))
                        return 0;
                l->code = send_record(l);
                if (l->code < 0)
                        return -1;
                l->quiet_since_us = now_us;
        }
        return 0;
}

static int on_tick(zloop_t *loop, int timer, void *arg)
{
        struct live *l = arg;
        uint64_t now_us = ak_clock_monotonic_us();

        (void)loop;
        (void)timer;
        if (!l->started && !is_heard(l)) {
                if (now_us - l->begun_us < l->options->patience_us)
                        return 0;
                l->code = fail(l, -ETIMEDOUT, "%s does not listen to all its peers on the bus in %s",
                               l->options->to, l->options->bus_dir);
                return -1;
        }
        l->started = true;
        if (send_due(l, now_us) < 0)
                return -1;
        return l->ended && now_us - l->quiet_since_us >= l->options->settle_us ? -1 : 0;
}

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct live *l = arg;

        l->result->answers++;
        l->quiet_since_us = ak_clock_monotonic_us();
        l->options->on_answer(l->options->arg, frame);
}

/* ------------------------------------------------------------------ life */

/* One bus for each service that says something to this one; the first hears the answers. */
static int add_peer(struct live *l, const char *name)
{
        struct peer *peer = &l->peers[l->peer_count];
        const struct ak_bus_options options = {.dir = l->options->bus_dir, .name = name};
        const struct ak_bus_handler handler = {.on_message = on_message, .arg = l};

        if (find_peer(l, name))
                return 0;
        int r = l->peer_count < MAX_PEERS ? ak_bus_new(&peer->bus, l->loop, &options, &handler) : -ENOSPC;
        if (r == -EADDRINUSE)
                return fail(l, r, "%s runs on the bus in %s: stop it, or use a bus directory of its own",
                            name, l->options->bus_dir);
        if (r < 0)
                return fail(l, r, "bus in %s: %s", l->options->bus_dir, strerror(-r));
        peer->name = name;
        l->peer_count++;
        return 0;
}

static int add_peers(struct live *l)
{
        const char *to = l->options->to;
        int r = 0;

        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT && r == 0; t++)
                if (strstr(ak_message_info(t)->listeners, to))
                        r = add_peer(l, ak_message_info(t)->publisher);
        if (r == 0 && l->peer_count == 0)
                r = fail(l, -ENOENT, "%s: no service of this name listens to the bus", to);
        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT && r == 0; t++) {
                char prefix[AK_BUS_TOPIC_MAX + 1];
                if (strcmp(ak_message_info(t)->publisher, to) != 0)
                        continue;
                (void)snprintf(prefix, sizeof(prefix), "%s/", ak_message_info(t)->type);
                r = ak_bus_subscribe(l->peers[0].bus, to, prefix);
        }
        return r;
}

static int run(struct live *l)
{
        int r = fetch(l);

        if (r < 0)
                return r;
        if (!l->have)
                return fail(l, -ENOENT, "nothing in the capture is for %s", l->options->to);
        r = add_peers(l);
        if (r < 0)
                return r;
        l->begun_us = ak_clock_monotonic_us();
        zloop_timer(l->loop, 1, 0, on_tick, l);
        zloop_start(l->loop);
        return l->code;
}

int ctl_live_replay(const struct ctl_live *options, struct ctl_live_result *result,
                    char error[CTL_ERROR_SIZE])
{
        struct live l = {.options = options, .result = result, .error = error, .loop = zloop_new()};

        *result = (struct ctl_live_result){0};
        (void)snprintf(error, CTL_ERROR_SIZE, "interrupted");
        int code = run(&l);
        if (code == 0 && !l.ended)
                code = -EINTR;
        for (size_t i = 0; i < l.peer_count; i++)
                ak_bus_free(l.peers[i].bus);
        if (l.have)
                ctl_record_deinit(&l.record);
        ctl_capture_reader_free(l.reader);
        zloop_destroy(&l.loop);
        return code;
}
