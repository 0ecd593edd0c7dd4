/* SPDX-License-Identifier: Apache-2.0 */
#include "services/network/workers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"

struct worker {
        struct net_workers *pool;
        zactor_t *actor;
        struct net_job *job; /* under way; NULL = idle */
};

struct net_workers {
        zloop_t *loop;
        struct vpc_backend *backend;
        void (*on_done)(void *arg, struct net_job *job);
        void *arg;
        zlistx_t *waiting;
        struct worker *workers;
        size_t count, max;
};

struct net_job *net_job_new(enum net_job_type type, const char *lane)
{
        struct net_job *job = calloc(1, sizeof(*job));

        if (job) {
                job->type = type;
                snprintf(job->lane, sizeof(job->lane), "%s", lane);
        }
        return job;
}

struct net_job *net_job_free(struct net_job *job)
{
        if (job) {
                free(job->spec);
                free(job->inventory.ports);
                ak_message_free(job->peers);
                free(job);
        }
        return NULL;
}

/* ------------------------------------------------------------------ in a worker's thread */

static void run(struct vpc_backend *b, struct net_job *job)
{
        uint64_t start_us = ak_clock_monotonic_us();

        switch (job->type) {
        case NET_JOB_PREPARE:
                job->error = b->ops->prepare(b, job->spec, &job->prepared, &job->text);
                break;
        case NET_JOB_RELEASE:
                job->error = b->ops->release(b, &job->key, &job->text);
                break;
        case NET_JOB_PEERS:
                job->error = b->ops->set_peers(b, &job->peers->subnet_peers, &job->text);
                break;
        case NET_JOB_SWEEP:
                job->error = b->ops->sweep(b, &job->text);
                break;
        case NET_JOB_INVENTORY:
                job->error = b->ops->inventory(b, &job->inventory, &job->text);
                break;
        }
        job->took_us = ak_clock_monotonic_us() - start_us;
}

/* A frame holds a pointer to a job, or is the actor's "$TERM". */
static void work(zsock_t *pipe, void *arg)
{
        struct vpc_backend *backend = arg;
        struct net_job *job;

        zsock_signal(pipe, 0);
        for (;;) {
                zframe_t *frame = zframe_recv(pipe);

                if (!frame || zframe_size(frame) != sizeof(job)) {
                        zframe_destroy(&frame);
                        return;
                }
                memcpy(&job, zframe_data(frame), sizeof(job));
                zframe_destroy(&frame);
                run(backend, job);
                zsock_send(pipe, "p", job);
        }
}

/* ------------------------------------------------------------------ in the loop's thread */

static bool lane_is_free(const struct net_workers *w, const char *lane)
{
        for (size_t i = 0; i < w->count; i++)
                if (w->workers[i].job && strcmp(w->workers[i].job->lane, lane) == 0)
                        return false;
        return true;
}

static struct net_job *take_next(struct net_workers *w)
{
        for (struct net_job *job = zlistx_first(w->waiting); job; job = zlistx_next(w->waiting))
                if (lane_is_free(w, job->lane))
                        return zlistx_detach(w->waiting, zlistx_cursor(w->waiting));
        return NULL;
}

static int on_answer(zloop_t *loop, zsock_t *reader, void *arg);

/* An idle worker, made if there may be one more; NULL: all are busy. */
static struct worker *idle_worker(struct net_workers *w)
{
        for (size_t i = 0; i < w->count; i++)
                if (!w->workers[i].job)
                        return &w->workers[i];
        if (w->count == w->max)
                return NULL;
        struct worker *worker = &w->workers[w->count];
        worker->pool = w;
        worker->actor = zactor_new(work, w->backend);
        if (!worker->actor)
                return NULL;
        zloop_reader(w->loop, zactor_sock(worker->actor), on_answer, worker);
        w->count++;
        return worker;
}

static void dispatch(struct net_workers *w)
{
        struct worker *worker;

        while (zlistx_size(w->waiting) > 0 && (worker = idle_worker(w))) {
                struct net_job *job = take_next(w);

                if (!job)
                        return;
                worker->job = job;
                zsock_send(worker->actor, "p", job);
        }
}

static int on_answer(zloop_t *loop, zsock_t *reader, void *arg)
{
        struct worker *worker = arg;
        struct net_workers *w = worker->pool;
        struct net_job *job = NULL;

        (void)loop;
        if (zsock_recv(reader, "p", &job) < 0 || !job)
                return 0;
        worker->job = NULL;
        dispatch(w);
        w->on_done(w->arg, job);
        return 0;
}

size_t net_workers_waiting(const struct net_workers *w)
{
        return zlistx_size(w->waiting);
}

int net_workers_run(struct net_workers *w, struct net_job *job)
{
        if (!zlistx_add_end(w->waiting, job))
                return -ENOMEM;
        dispatch(w);
        return 0;
}

int net_workers_new(struct net_workers **out, zloop_t *loop, struct vpc_backend *backend, size_t max,
                    void (*on_done)(void *arg, struct net_job *job), void *arg)
{
        struct net_workers *w = calloc(1, sizeof(*w));

        if (!w)
                return -ENOMEM;
        *w = (struct net_workers){
            .loop = loop, .backend = backend, .on_done = on_done, .arg = arg, .max = max};
        w->waiting = zlistx_new();
        w->workers = calloc(max, sizeof(*w->workers));
        if (!w->waiting || !w->workers) {
                net_workers_free(w);
                return -ENOMEM;
        }
        *out = w;
        return 0;
}

struct net_workers *net_workers_free(struct net_workers *w)
{
        if (!w)
                return NULL;
        for (size_t i = 0; i < w->count; i++) {
                struct worker *worker = &w->workers[i];

                zloop_reader_end(w->loop, zactor_sock(worker->actor));
                zactor_destroy(&worker->actor);
                net_job_free(worker->job);
        }
        while (w->waiting && zlistx_size(w->waiting) > 0)
                net_job_free(zlistx_detach(w->waiting, NULL));
        zlistx_destroy(&w->waiting);
        free(w->workers);
        free(w);
        return NULL;
}
