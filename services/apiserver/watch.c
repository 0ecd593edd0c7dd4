/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/watch_index.h"

#define DEFAULT_HISTORY       8192
#define DEFAULT_HISTORY_BYTES ((size_t)64 << 20)
#define DEFAULT_BOOKMARK_US   (UINT64_C(30) * 1000 * 1000)

struct api_watcher {
        struct api_hub *hub;
        struct api_watcher *next, *prev;
        const struct api_kind *kind;
        struct api_selector *selector;
        char *name_space;
        enum api_event_form form;
        bool bookmarks, initial_end, closed, expired, waiting;
        struct api_image **initial; /* those not sent yet are from initial_at on */
        size_t initial_count, initial_at;
        uint64_t seq;          /* the next place in the ring to look at */
        uint64_t after;        /* events up to here are old news */
        uint64_t last_version; /* the newest that the client knows of */
        uint64_t bookmark_due_us, deadline_us;
        /* What is being sent, and what holds its bytes. */
        struct api_line line;
        size_t piece, piece_at;
        bool sending;
        struct api_event *event;
        struct api_image *image;
        char *own;
        void (*wake)(void *arg);
        void *arg;
};

struct api_hub {
        struct api_event **ring;
        uint32_t size;
        uint64_t first_seq, next_seq; /* places held: [first, next) */
        uint64_t durable_seq;         /* watchers see what is before */
        size_t bytes, max_bytes;
        uint64_t bookmark_us;
        uint64_t oldest; /* resourceVersion just before the first event held */
        uint64_t newest;
        uint64_t durable_version; /* the newest that watchers see */
        struct api_watch_index *index;
        uint64_t due_us; /* no watcher's time is before; UINT64_MAX = none has one */
        struct api_watcher *watchers;
        size_t watcher_count;
};

int api_hub_new(struct api_hub **out, const struct api_hub_config *config)
{
        struct api_hub *hub = calloc(1, sizeof(*hub));

        if (!hub)
                return -ENOMEM;
        hub->size = config->history ? config->history : DEFAULT_HISTORY;
        hub->max_bytes = config->history_bytes ? config->history_bytes : DEFAULT_HISTORY_BYTES;
        hub->bookmark_us = config->bookmark_us ? config->bookmark_us : DEFAULT_BOOKMARK_US;
        hub->oldest = hub->newest = hub->durable_version = config->resource_version;
        hub->due_us = UINT64_MAX;
        hub->ring = calloc(hub->size, sizeof(struct api_event *));
        if (!hub->ring || api_watch_index_new(&hub->index) < 0) {
                free(hub->ring);
                free(hub);
                return -ENOMEM;
        }
        *out = hub;
        return 0;
}

static struct api_event **place(const struct api_hub *hub, uint64_t seq)
{
        return &hub->ring[seq % hub->size];
}

static void drop_first(struct api_hub *hub)
{
        struct api_event **first = place(hub, hub->first_seq);

        hub->oldest = (*first)->resource_version;
        hub->bytes -= api_event_size(*first);
        *first = api_event_unref(*first);
        hub->first_seq++;
}

struct api_hub *api_hub_free(struct api_hub *hub)
{
        if (!hub)
                return NULL;
        while (hub->first_seq < hub->next_seq)
                drop_first(hub);
        api_watch_index_free(hub->index);
        free(hub->ring);
        free(hub);
        return NULL;
}

/* One that waits has not been asked about changes that cannot concern it; by now it has seen them all. */
static void catch_up(struct api_watcher *w)
{
        w->seq = w->hub->durable_seq;
        if (w->hub->durable_version > w->last_version)
                w->last_version = w->hub->durable_version;
        w->waiting = false;
}

static void wake(struct api_watcher *w)
{
        if (w->waiting) {
                catch_up(w);
                w->wake(w->arg);
        }
}

void api_hub_stage(struct api_hub *hub, struct api_event *event)
{
        if (hub->next_seq - hub->first_seq == hub->size)
                drop_first(hub);
        *place(hub, hub->next_seq++) = api_event_ref(event);
        hub->bytes += api_event_size(event);
        hub->newest = event->resource_version;
        /* One event always stays, however big. */
        while (hub->bytes > hub->max_bytes && hub->next_seq - hub->first_seq > 1)
                drop_first(hub);
}

/* What the event is to this watcher; false = nothing. */
static bool event_type_for(const struct api_watcher *w, const struct api_event *e, enum api_change_type *type)
{
        bool now, before;

        if (e->kind != w->kind || e->resource_version <= w->after)
                return false;
        if (*w->name_space && strcmp(w->name_space, e->image->name_space) != 0)
                return false;
        now = api_selector_matches_image(w->selector, e->image);
        before = e->type == API_MODIFIED && e->old && api_selector_matches_image(w->selector, e->old);
        if (!now && !before)
                return false;
        if (e->type == API_DELETED || !now)
                *type = API_DELETED;
        else
                *type = before ? API_MODIFIED : API_ADDED;
        return true;
}

/* Moves past what does not concern the watcher; true when it stands on something that does. */
static bool advance(struct api_watcher *w, enum api_change_type *type)
{
        const struct api_hub *hub = w->hub;

        if (w->seq < hub->first_seq) {
                w->expired = true;
                return true;
        }
        for (; w->seq < hub->durable_seq; w->seq++) {
                const struct api_event *e = *place(hub, w->seq);

                if (event_type_for(w, e, type))
                        return true;
                if (e->resource_version > w->last_version)
                        w->last_version = e->resource_version;
        }
        return false;
}

struct news {
        const struct api_event *event;
        uint64_t seq; /* its place */
};

static void tell(void *arg, void *watcher)
{
        const struct news *news = arg;
        struct api_watcher *w = watcher;
        enum api_change_type type;

        if (!w->waiting || !event_type_for(w, news->event, &type))
                return;
        w->waiting = false;
        w->seq = news->seq;
        w->wake(w->arg);
}

/* A change has left the ring before it was durable: nobody can be told what it was. */
static void expire_all(struct api_hub *hub)
{
        struct api_watcher *next;

        for (struct api_watcher *w = hub->watchers; w; w = next) {
                next = w->next;
                w->expired |= w->waiting;
                wake(w);
        }
}

void api_hub_publish(struct api_hub *hub, size_t count)
{
        for (; count > 0; count--) {
                struct news news = {.seq = hub->durable_seq++};

                if (news.seq < hub->first_seq) {
                        expire_all(hub);
                        continue;
                }
                news.event = *place(hub, news.seq);
                hub->durable_version = news.event->resource_version;
                api_watch_index_each(hub->index, news.event, tell, &news);
        }
}

/* When the watcher has something to say though nothing happens. */
static uint64_t due_of(const struct api_watcher *w)
{
        uint64_t due = w->bookmarks ? w->bookmark_due_us : UINT64_MAX;

        return w->deadline_us && w->deadline_us < due ? w->deadline_us : due;
}

static void note_due(struct api_hub *hub, uint64_t due_us)
{
        if (due_us < hub->due_us)
                hub->due_us = due_us;
}

void api_hub_tick(struct api_hub *hub, uint64_t now_us, uint64_t *next_us)
{
        struct api_watcher *next;

        if (now_us >= hub->due_us) {
                hub->due_us = UINT64_MAX;
                for (struct api_watcher *w = hub->watchers; w; w = next) {
                        next = w->next;
                        if (due_of(w) <= now_us)
                                wake(w);
                        else
                                note_due(hub, due_of(w));
                }
        }
        *next_us = hub->due_us == UINT64_MAX ? 0 : hub->due_us;
}

void api_hub_stop(struct api_hub *hub)
{
        struct api_watcher *next;

        for (struct api_watcher *w = hub->watchers; w; w = next) {
                next = w->next;
                api_watcher_close(w);
                wake(w);
        }
}

size_t api_hub_watchers(const struct api_hub *hub)
{
        return hub->watcher_count;
}

uint64_t api_hub_oldest(const struct api_hub *hub)
{
        return hub->oldest;
}

/* ---- one watcher ---- */

/* The first place with an event past this version; events lie in the order of theirs. */
static uint64_t place_after(const struct api_hub *hub, uint64_t version)
{
        uint64_t low = hub->first_seq, high = hub->next_seq;

        while (low < high) {
                uint64_t middle = low + (high - low) / 2;

                if ((*place(hub, middle))->resource_version <= version)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

void api_hub_after(void *arg, const struct api_kind *kind, uint64_t version, api_history_fn visit,
                   void *visit_arg)
{
        const struct api_hub *hub = arg;

        for (uint64_t seq = place_after(hub, version); seq < hub->next_seq; seq++) {
                struct api_event *e = *place(hub, seq);

                if (e->kind == kind)
                        visit(visit_arg, e->image, e->old);
        }
}

static int setup(struct api_watcher *w, const struct api_watch_options *o, uint64_t now_us, char error[256])
{
        w->kind = o->kind;
        w->form = o->form;
        w->bookmarks = o->bookmarks;
        w->initial_end = o->initial_end && o->bookmarks;
        w->after = w->last_version = o->after;
        /* Not the ring's beginning: old news that drops out of it is no loss to this watcher. */
        w->seq = place_after(w->hub, o->after);
        w->expired = o->after < w->hub->oldest;
        w->deadline_us = o->deadline_us;
        w->bookmark_due_us = now_us + w->hub->bookmark_us;
        w->wake = o->wake;
        w->arg = o->arg;
        w->name_space = strdup(o->name_space ? o->name_space : "");
        if (!w->name_space)
                return -ENOMEM;
        return api_selector_new(&w->selector, o->kind, o->labels, o->fields, error);
}

int api_watcher_new(struct api_watcher **out, struct api_hub *hub, const struct api_watch_options *options,
                    uint64_t now_us, char error[256])
{
        struct api_watcher *w = calloc(1, sizeof(*w));
        int rc;

        if (!w)
                return -ENOMEM;
        w->hub = hub;
        rc = setup(w, options, now_us, error);
        if (rc < 0) {
                free(w->name_space);
                free(w);
                return rc;
        }
        rc = api_watch_index_add(hub->index, w->kind, w->selector, w);
        if (rc < 0) {
                (void)api_selector_free(w->selector);
                free(w->name_space);
                free(w);
                return rc;
        }
        w->initial = options->initial;
        w->initial_count = options->initial_count;
        note_due(hub, due_of(w));
        w->next = hub->watchers;
        if (w->next)
                w->next->prev = w;
        hub->watchers = w;
        hub->watcher_count++;
        *out = w;
        return 0;
}

static void finish_line(struct api_watcher *w)
{
        w->event = api_event_unref(w->event);
        w->image = api_image_unref(w->image);
        free(AK_STEAL(w->own));
        w->sending = false;
        w->piece = w->piece_at = 0;
}

static void drop_initial(struct api_watcher *w)
{
        while (w->initial_at < w->initial_count)
                (void)api_image_unref(w->initial[w->initial_at++]);
        free(AK_STEAL(w->initial));
}

struct api_watcher *api_watcher_free(struct api_watcher *w)
{
        if (!w)
                return NULL;
        if (w->prev)
                w->prev->next = w->next;
        else
                w->hub->watchers = w->next;
        if (w->next)
                w->next->prev = w->prev;
        w->hub->watcher_count--;
        api_watch_index_remove(w->hub->index, w->kind, w->selector, w);
        finish_line(w);
        drop_initial(w);
        (void)api_selector_free(w->selector);
        free(w->name_space);
        free(w);
        return NULL;
}

void api_watcher_close(struct api_watcher *w)
{
        w->closed = true;
}

static bool send_own(struct api_watcher *w, const char *type, json_t *object)
{
        size_t len;

        w->sending = object && api_event_encode(type, object, &w->own, &len) == 0;
        if (w->sending)
                w->line = (struct api_line){.pieces = {{w->own, len}}};
        else
                w->closed = true; /* out of memory: end the stream, the client starts anew */
        json_decref(object);
        return w->sending;
}

static const char *include_of(enum api_event_form form)
{
        return form == API_EVENT_TABLE_OBJECT ? "Object" : form == API_EVENT_TABLE_NONE ? "None" : "Metadata";
}

static bool send_initial(struct api_watcher *w, uint64_t real_us)
{
        AK_CLEANUP(api_image_unrefp) struct api_image *image = w->initial[w->initial_at++];
        json_t *object, *table;

        if (w->form == API_EVENT_OBJECT) {
                w->sending = api_event_added(image, &w->line) == 0;
                w->closed = !w->sending;
                w->image = AK_STEAL(image);
                return w->sending;
        }
        object = api_image_object(image);
        table = object ? api_table(w->kind, object, include_of(w->form), real_us) : NULL;
        json_decref(object);
        return send_own(w, "ADDED", table);
}

static bool send_bookmark(struct api_watcher *w, bool initial_end, uint64_t real_us)
{
        char version[24];
        char api_version[128];
        json_t *object, *table;

        (void)snprintf(version, sizeof(version), "%" PRIu64, w->last_version);
        (void)snprintf(api_version, sizeof(api_version), "%s%s%s", w->kind->group, *w->kind->group ? "/" : "",
                       w->kind->version);
        object = json_pack("{s:s, s:s, s:{s:s, s:n}}", "kind", w->kind->kind, "apiVersion", api_version,
                           "metadata", "resourceVersion", version, "creationTimestamp");
        if (initial_end)
                (void)json_object_set_new(json_object_get(object, "metadata"), "annotations",
                                          json_pack("{s:s}", "k8s.io/initial-events-end", "true"));
        if (w->form == API_EVENT_OBJECT)
                return send_own(w, "BOOKMARK", object);
        table = api_table(w->kind, object, include_of(w->form), real_us);
        json_decref(object);
        return send_own(w, "BOOKMARK", table);
}

static bool send_expired(struct api_watcher *w)
{
        char message[160];

        (void)snprintf(message, sizeof(message), "too old resource version: %" PRIu64 " (%" PRIu64 ")",
                       w->last_version, w->hub->oldest);
        w->closed = true;
        return send_own(w, "ERROR", api_status_failure(410, "Expired", NULL, NULL, NULL, message));
}

static bool send_event(struct api_watcher *w, enum api_change_type type, uint64_t real_us)
{
        struct api_event *e = *place(w->hub, w->seq++);

        w->last_version = e->resource_version;
        w->sending = api_event_line(e, type, w->form, real_us, &w->line) == 0;
        if (w->form == API_EVENT_OBJECT) {
                w->event = api_event_ref(e);
        } else if (w->sending) {
                /* A Table's text is replaced when it is stale, so a reader takes a copy. */
                w->own = strndup(w->line.pieces[0].text, w->line.pieces[0].len);
                w->line.pieces[0].text = w->own;
                w->sending = w->own;
        }
        w->closed = !w->sending;
        return w->sending;
}

/* Puts the next line in place; false when there is none now. */
static bool next_line(struct api_watcher *w, uint64_t now_us, uint64_t real_us)
{
        enum api_change_type type;

        if (w->closed)
                return false;
        if (w->initial_at < w->initial_count)
                return send_initial(w, real_us);
        drop_initial(w);
        if (w->initial_end) {
                w->initial_end = false;
                return send_bookmark(w, true, real_us);
        }
        if (w->expired || (advance(w, &type) && w->expired))
                return send_expired(w);
        if (w->deadline_us && w->deadline_us <= now_us) {
                w->closed = true;
                return false;
        }
        if (w->seq < w->hub->durable_seq && event_type_for(w, *place(w->hub, w->seq), &type))
                return send_event(w, type, real_us);
        if (w->bookmarks && w->bookmark_due_us <= now_us) {
                w->bookmark_due_us = now_us + w->hub->bookmark_us;
                note_due(w->hub, w->bookmark_due_us);
                return send_bookmark(w, false, real_us);
        }
        return false;
}

/* As much of the line as there is room for. */
static size_t copy_line(struct api_watcher *w, char *buf, size_t max)
{
        size_t done = 0;

        while (w->piece < API_LINE_PIECES) {
                size_t left = w->line.pieces[w->piece].len - w->piece_at,
                       n = left < max - done ? left : max - done;

                if (n > 0)
                        memcpy(buf + done, w->line.pieces[w->piece].text + w->piece_at, n);
                done += n;
                w->piece_at += n;
                if (n < left)
                        return done;
                w->piece++;
                w->piece_at = 0;
        }
        finish_line(w);
        return done;
}

ssize_t api_watcher_read(struct api_watcher *w, char *buf, size_t max, uint64_t now_us, uint64_t real_us)
{
        size_t done = 0;

        if (w->waiting)
                catch_up(w);
        while (done < max && (w->sending || next_line(w, now_us, real_us)))
                done += copy_line(w, buf + done, max - done);
        if (done > 0)
                return (ssize_t)done;
        if (w->closed)
                return API_WATCH_END;
        w->waiting = true;
        return 0;
}
