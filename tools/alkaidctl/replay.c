/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/replay.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/journal.h"

struct player {
        const struct ctl_replay *options;
        struct ctl_replay_result *result;
        const struct ctl_core_ops *ops;
        void *core;
        uint64_t part;
        bool started; /* capture: the start's events are in */
        /* The last event's actions as they come out now, until the recorded ones were read. */
        json_t *pending;
        uint64_t pending_us;
        FILE *update;
        char *error;
};

static int fail(struct player *p, int code, const char *what, const char *detail)
{
        (void)snprintf(p->error, CTL_ERROR_SIZE, "%s%s%s", what, detail ? ": " : "", detail ? detail : "");
        return code;
}

static void drop_core(struct player *p)
{
        if (p->core)
                p->ops->destroy(p->core);
        p->core = NULL;
}

static void player_deinit(struct player *p)
{
        drop_core(p);
        json_decref(p->pending);
        if (p->update)
                (void)fclose(p->update);
}

static const struct ctl_core_ops *find_core(const struct ctl_replay *options, const char *name)
{
        for (const struct ctl_core_ops *const *c = options->cores; *c; c++)
                if (strcmp((*c)->name, name) == 0)
                        return *c;
        return NULL;
}

static int make_core(struct player *p, const char *service, const json_t *config)
{
        char error[CTL_ERROR_SIZE] = "";

        drop_core(p);
        p->ops = find_core(p->options, service);
        if (!p->ops)
                return fail(p, -EINVAL, "no core of this name can be replayed", service);
        if (p->ops->create(&p->core, config, error) < 0)
                return fail(p, -EINVAL, "recorded configuration", error);
        p->result->runs++;
        return 0;
}

/* ------------------------------------------------------------------ output */

static void print_line(FILE *out, json_t *line)
{
        (void)json_dumpf(line, out, JSON_COMPACT);
        (void)fputc('\n', out);
        json_decref(line);
}

static void print_actions(FILE *out, uint64_t now_us, json_t *actions)
{
        if (json_array_size(actions) > 0)
                print_line(out, json_pack("{s:I, s:O}", "t", (json_int_t)now_us, "actions", actions));
}

static void print_difference(struct player *p, json_t *recorded)
{
        p->result->differences++;
        print_line(p->options->out, json_pack("{s:I, s:O, s:O}", "t", (json_int_t)p->pending_us, "recorded",
                                              recorded, "now", p->pending));
}

/* The recorded actions of the last event are known: `recorded`, or none (NULL). */
static void settle(struct player *p, json_t *recorded)
{
        if (!p->pending)
                return;
        json_t *then = recorded ? json_incref(recorded) : json_array();
        p->result->actions += json_array_size(p->pending);
        if (p->options->check && !json_equal(then, p->pending))
                print_difference(p, then);
        else if (!p->options->check && !p->update)
                print_actions(p->options->out, p->pending_us, p->pending);
        if (p->update)
                print_actions(p->update, p->pending_us, p->pending);
        json_decref(then);
        json_decref(p->pending);
        p->pending = NULL;
}

/* ------------------------------------------------------------------ journal */

static int on_header(struct player *p, const struct ak_journal_line *line)
{
        const char *service = p->options->core ? p->options->core : line->service;

        settle(p, NULL);
        if (line->part == 1) {
                int r = make_core(p, service, line->body);
                if (r < 0)
                        return r;
                if (p->update)
                        print_line(p->update, json_pack("{s:i, s:s, s:i, s:O}", "journal", AK_JOURNAL_VERSION,
                                                        "service", service, "part", 1, "config", line->body));
        } else if (!p->core || line->part != p->part + 1) {
                return fail(p, -EINVAL, "the part of the journal before this file is missing (FILE.1 first?)",
                            NULL);
        }
        p->part = line->part;
        return 0;
}

static int on_event(struct player *p, const struct ak_journal_line *line)
{
        char error[CTL_ERROR_SIZE] = "";

        settle(p, NULL);
        if (!p->core)
                return fail(p, -EINVAL, "an event before the header of a run", NULL);
        if (p->update)
                print_line(p->update, json_pack("{s:I, s:I, s:O}", "t", (json_int_t)line->now_us, "real",
                                                (json_int_t)line->real_us, "event", line->body));
        int r = p->ops->step(p->core, line->body, line->now_us, line->real_us, &p->pending, error);
        if (r < 0)
                return fail(p, r, "a recorded event is refused", error);
        p->pending_us = line->now_us;
        p->result->events++;
        return 0;
}

static int on_actions(struct player *p, const struct ak_journal_line *line)
{
        if (!p->pending)
                return fail(p, -EBADMSG, "actions that follow no event", NULL);
        settle(p, line->body);
        return 0;
}

static int on_line(struct player *p, const struct ak_journal_line *line)
{
        switch (line->kind) {
        case AK_JOURNAL_HEADER:
                return on_header(p, line);
        case AK_JOURNAL_EVENT:
                return on_event(p, line);
        case AK_JOURNAL_ACTIONS:
                break;
        }
        return on_actions(p, line);
}

static int play_file(struct player *p, const char *path)
{
        AK_CLEANUP(ak_journal_reader_freep) struct ak_journal_reader *reader = NULL;
        struct ak_journal_line line;
        int r = ak_journal_reader_new(&reader, path);

        if (r < 0)
                return fail(p, r, path, strerror(-r));
        char error[AK_JOURNAL_ERROR_SIZE];
        while ((r = ak_journal_read(reader, &line, error)) > 0) {
                r = on_line(p, &line);
                ak_journal_line_deinit(&line);
                if (r < 0)
                        return r;
        }
        p->result->torn = ak_journal_reader_torn(reader);
        return r < 0 ? fail(p, r, error, NULL) : 0;
}

/* The new journal replaces the old one only when it is whole. */
static int finish_update(struct player *p, const char *temporary)
{
        int r = fflush(p->update) == 0 && !ferror(p->update) ? 0 : -EIO;

        if (r == 0 && rename(temporary, p->options->update) < 0)
                r = -errno;
        return r < 0 ? fail(p, r, p->options->update, strerror(-r)) : 0;
}

static int play_files(struct player *p, char *const *paths, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                int r = play_file(p, paths[i]);
                if (r < 0)
                        return r;
        }
        /* A writer that died between event and actions left no actions: nothing to compare. */
        if (p->result->torn) {
                json_decref(p->pending);
                p->pending = NULL;
        }
        settle(p, NULL);
        return 0;
}

int ctl_replay_journal(const struct ctl_replay *replay, char *const *paths, size_t count,
                       struct ctl_replay_result *result, char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(player_deinit)
        struct player p = {.options = replay, .result = result, .error = error};
        AK_AUTOFREE char *temporary = NULL;

        *result = (struct ctl_replay_result){0};
        if (!replay->update)
                return play_files(&p, paths, count);
        if (asprintf(&temporary, "%s.new", replay->update) < 0) {
                temporary = NULL;
                return fail(&p, -ENOMEM, "out of memory", NULL);
        }
        p.update = fopen(temporary, "we");
        if (!p.update)
                return fail(&p, -errno, temporary, strerror(errno));
        int r = play_files(&p, paths, count);
        if (r == 0)
                r = finish_update(&p, temporary);
        if (r < 0)
                (void)unlink(temporary);
        return r;
}

/* ------------------------------------------------------------------ capture */

/* Takes the reference of `event`; NULL is none. */
static int play_event(struct player *p, json_t *event, uint64_t now_us, uint64_t real_us)
{
        char error[CTL_ERROR_SIZE] = "";

        if (!event)
                return 0;
        int r = p->ops->step(p->core, event, now_us, real_us, &p->pending, error);
        json_decref(event);
        if (r < 0)
                return fail(p, r, "an event made of the capture is refused", error);
        p->pending_us = now_us;
        p->result->events++;
        settle(p, NULL);
        return 0;
}

static int play_record(struct player *p, const struct ctl_record *record)
{
        const struct ctl_envelope *e = &record->envelope;
        const struct ak_bus_frame frame = ctl_record_frame(record);
        json_t *start = p->started ? NULL : p->ops->start_events();
        int r = 0;

        p->started = true;
        for (size_t i = 0; r == 0 && i < json_array_size(start); i++)
                r = play_event(p, json_incref(json_array_get(start, i)), e->mono_us, e->received_us);
        json_decref(start);
        return r < 0 ? r : play_event(p, p->ops->event_of_frame(&frame), e->mono_us, e->received_us);
}

static int start_capture(struct player *p)
{
        const struct ctl_core_ops *ops = p->options->core ? find_core(p->options, p->options->core) : NULL;

        if (!ops)
                return fail(p, -EINVAL, "a capture needs --core with the name of a service", NULL);
        json_t *config = ops->default_config();
        int r = make_core(p, ops->name, config);
        json_decref(config);
        return r;
}

static int play_capture(struct player *p, const char *path)
{
        AK_CLEANUP(ctl_capture_reader_freep) struct ctl_capture_reader *reader = NULL;
        struct ctl_record record;
        int r = ctl_capture_reader_new(&reader, path, p->error);

        while (r == 0 && (r = ctl_capture_read(reader, &record, p->error)) > 0) {
                r = play_record(p, &record);
                ctl_record_deinit(&record);
        }
        p->result->torn |= reader && ctl_capture_reader_torn(reader);
        return r;
}

int ctl_replay_capture(const struct ctl_replay *replay, char *const *paths, size_t count,
                       struct ctl_replay_result *result, char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(player_deinit)
        struct player p = {.options = replay, .result = result, .error = error};

        *result = (struct ctl_replay_result){0};
        if (replay->check || replay->update)
                return fail(&p, -EINVAL, "a capture has no actions to compare with", NULL);
        int r = start_capture(&p);
        for (size_t i = 0; i < count && r == 0; i++)
                r = play_capture(&p, paths[i]);
        return r;
}
