/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/commit.h"

#include <errno.h>
#include <string.h>

#define FIRST_CAPACITY 256

struct batch {
        uint64_t number;
        struct api_event **events;
        struct api_store_record *records;
        size_t count, capacity;
        int result;
};

struct api_commit {
        zloop_t *loop;
        zactor_t *actor;
        struct api_store *store;
        struct api_commit_handler handler;
        struct batch *open, *sent;
        uint64_t last_number;
};

static struct batch *batch_free(struct batch *b)
{
        if (!b)
                return NULL;
        for (size_t i = 0; i < b->count; i++)
                (void)api_event_unref(b->events[i]);
        free(b->events);
        free(b->records);
        free(b);
        return NULL;
}

static int write_batch(struct api_store *store, const struct batch *b)
{
        return store->ops->commit(store, b->records, b->count, b->records[b->count - 1].resource_version);
}

/* The actor: a batch's address in, the same address out when it is written. */
static void actor(zsock_t *pipe, void *arg)
{
        struct api_store *store = arg;

        (void)zsock_signal(pipe, 0);
        for (;;) {
                struct batch *b = NULL;
                zframe_t *frame = zframe_recv(pipe);

                if (!frame)
                        break;
                /* Any other size is the $TERM of zactor_destroy(). */
                if (zframe_size(frame) == sizeof(struct batch *))
                        memcpy(&b, zframe_data(frame), sizeof(struct batch *));
                zframe_destroy(&frame);
                if (!b)
                        break;
                b->result = write_batch(store, b);
                if (zsock_send(pipe, "b", &b, sizeof(struct batch *)) < 0)
                        break;
        }
}

static void on_written(struct api_commit *c)
{
        struct batch *b = AK_STEAL(c->sent);

        if (b->result < 0)
                c->handler.failed(c->handler.arg, b->result, c->store->ops->error(c->store));
        else
                c->handler.committed(c->handler.arg, b->number, b->count);
        (void)batch_free(b);
}

static int on_pipe(zloop_t *loop, zsock_t *pipe, void *arg)
{
        zframe_t *frame = zframe_recv(pipe);

        (void)loop;
        zframe_destroy(&frame);
        on_written(arg);
        return 0;
}

int api_commit_new(struct api_commit **out, zloop_t *loop, struct api_store *store,
                   const struct api_commit_handler *handler)
{
        struct api_commit *c = calloc(1, sizeof(*c));

        if (!c)
                return -ENOMEM;
        c->loop = loop;
        c->store = store;
        c->handler = *handler;
        c->actor = zactor_new(actor, store);
        if (!c->actor || zloop_reader(loop, zactor_sock(c->actor), on_pipe, c) < 0) {
                zactor_destroy(&c->actor);
                free(c);
                return -ENOMEM;
        }
        zloop_reader_set_tolerant(loop, zactor_sock(c->actor));
        *out = c;
        return 0;
}

struct api_commit *api_commit_free(struct api_commit *c)
{
        if (!c)
                return NULL;
        zloop_reader_end(c->loop, zactor_sock(c->actor));
        for (api_commit_flush(c); c->sent; api_commit_flush(c)) {
                zframe_t *frame = zframe_recv(c->actor);

                zframe_destroy(&frame);
                on_written(c);
        }
        zactor_destroy(&c->actor);
        c->open = batch_free(c->open);
        free(c);
        return NULL;
}

static struct batch *batch_new(uint64_t number)
{
        struct batch *b = calloc(1, sizeof(*b));

        if (b)
                b->number = number;
        return b;
}

static int grow(struct batch *b)
{
        size_t capacity = b->capacity ? 2 * b->capacity : FIRST_CAPACITY;
        struct api_event **events = reallocarray(b->events, capacity, sizeof(struct api_event *));
        struct api_store_record *records;

        if (!events)
                return -ENOMEM;
        b->events = events;
        records = reallocarray(b->records, capacity, sizeof(struct api_store_record));
        if (!records)
                return -ENOMEM;
        b->records = records;
        b->capacity = capacity;
        return 0;
}

int api_commit_add(struct api_commit *c, struct api_event *event)
{
        struct batch *b = c->open;

        if (!b) {
                b = batch_new(c->last_number + 1);
                if (!b)
                        return -ENOMEM;
                c->open = b;
                c->last_number++;
        }
        if (b->count == b->capacity && grow(b) < 0)
                return -ENOMEM;
        api_event_record(event, &b->records[b->count]);
        b->events[b->count++] = api_event_ref(event);
        return 0;
}

uint64_t api_commit_pending(const struct api_commit *c)
{
        if (c->open && c->open->count > 0)
                return c->open->number;
        return c->sent ? c->sent->number : 0;
}

void api_commit_flush(struct api_commit *c)
{
        if (c->sent || !c->open || c->open->count == 0)
                return;
        c->sent = AK_STEAL(c->open);
        if (zsock_send(c->actor, "b", &c->sent, sizeof(struct batch *)) < 0) {
                c->sent->result = -EIO;
                on_written(c);
        }
}
