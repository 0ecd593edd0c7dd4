/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/images.h"

#include <czmq.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "libcommon/log.h"

#define MAX_JOBS    64
#define MAX_ACTIVE  4
#define MAX_WAITERS 1024

#define COLLECT_EVERY_MS 60000

struct waiter {
        struct waiter *next;
        uint64_t id;
        char pod_uid[AK_LEN_UID + 1];
};

struct job {
        struct job *next;
        struct hv_images *images;
        struct hv_image_request request;
        struct waiter *waiters;
        size_t waiter_count;
        bool finished; /* takes no more waiters; the actor is about to end */
        zactor_t *actor;
};

struct hv_images {
        struct hv_image_store store;
        struct hv_queue *queue;
        atomic_bool stop;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        size_t active;
        struct hv_image_usage usage;
        zactor_t *janitor;
        struct job *jobs; /* the list belongs to the reactor */
};

/* ------------------------------------------------------------------ in the actor */

static void tell(struct hv_images *images, const struct waiter *w, enum hv_event_type type,
                 const struct hv_image_result *result)
{
        struct hv_event event = {.type = type, .image = *result};

        event.image.id = w->id;
        (void)snprintf(event.image.pod_uid, sizeof(event.image.pod_uid), "%s", w->pod_uid);
        hv_queue_push(images->queue, &event);
}

static void on_progress(void *arg, unsigned percent)
{
        struct hv_image_result result = {.progress_percent = percent > 100 ? 100 : percent};
        struct job *job = arg;

        (void)pthread_mutex_lock(&job->images->lock);
        for (const struct waiter *w = job->waiters; w; w = w->next)
                tell(job->images, w, HV_EVENT_IMAGE_PROGRESS, &result);
        (void)pthread_mutex_unlock(&job->images->lock);
}

static void wait_for_turn(struct hv_images *images)
{
        (void)pthread_mutex_lock(&images->lock);
        while (images->active >= MAX_ACTIVE && !atomic_load(&images->stop))
                (void)pthread_cond_wait(&images->changed, &images->lock);
        images->active++;
        (void)pthread_mutex_unlock(&images->lock);
}

static void finish(struct job *job, const struct hv_image_result *result)
{
        struct hv_images *images = job->images;

        (void)pthread_mutex_lock(&images->lock);
        job->finished = true;
        for (const struct waiter *w = job->waiters; w; w = w->next)
                tell(images, w, HV_EVENT_IMAGE_DONE, result);
        images->active--;
        (void)pthread_cond_broadcast(&images->changed);
        (void)pthread_mutex_unlock(&images->lock);
}

static void actor(zsock_t *pipe, void *arg)
{
        struct hv_image_result result;
        struct job *job = arg;

        (void)zsock_signal(pipe, 0);
        wait_for_turn(job->images);
        hv_image_fetch(&job->images->store, &job->request, on_progress, job, &job->images->stop, &result);
        ak_log(result.path[0] ? AK_LOG_INFO : AK_LOG_WARN, "image", "image", job->request.image, "path",
               result.path[0] ? result.path : NULL, "reason", result.reason[0] ? result.reason : NULL,
               "message", result.message[0] ? result.message : NULL, NULL);
        finish(job, &result);
}

/* ------------------------------------------------------------------ the janitor */

static void collect(struct hv_images *images)
{
        struct hv_image_usage usage;
        int r = hv_image_collect(&images->store, time(NULL), &usage);

        if (r < 0) {
                ak_log(AK_LOG_WARN, "image_cache", "error", strerror(-r), NULL);
                return;
        }
        (void)pthread_mutex_lock(&images->lock);
        usage.removed += images->usage.removed;
        images->usage = usage;
        (void)pthread_mutex_unlock(&images->lock);
}

static void janitor(zsock_t *pipe, void *arg)
{
        zpoller_t *poller = zpoller_new(pipe, NULL);

        (void)zsock_signal(pipe, 0);
        do
                collect(arg);
        while (poller && !zpoller_wait(poller, COLLECT_EVERY_MS) && zpoller_expired(poller));
        zpoller_destroy(&poller);
}

void hv_images_usage(struct hv_images *images, struct hv_image_usage *out)
{
        (void)pthread_mutex_lock(&images->lock);
        *out = images->usage;
        (void)pthread_mutex_unlock(&images->lock);
}

/* ------------------------------------------------------------------ in the reactor */

int hv_images_new(struct hv_images **out, const struct hv_image_store *store, struct hv_queue *queue)
{
        struct hv_images *images;
        int r = hv_image_store_init(store);

        if (r < 0)
                return r;
        images = calloc(1, sizeof(*images));
        if (!images)
                return -ENOMEM;
        images->store = *store;
        images->queue = queue;
        (void)pthread_mutex_init(&images->lock, NULL);
        (void)pthread_cond_init(&images->changed, NULL);
        images->janitor = zactor_new(janitor, images);
        if (!images->janitor) {
                hv_images_free(images);
                return -ENOMEM;
        }
        *out = images;
        return 0;
}

static void job_free(struct job *job)
{
        zactor_destroy(&job->actor);
        while (job->waiters) {
                struct waiter *next = job->waiters->next;

                free(job->waiters);
                job->waiters = next;
        }
        free(job);
}

struct hv_images *hv_images_free(struct hv_images *images)
{
        if (!images)
                return NULL;
        zactor_destroy(&images->janitor);
        (void)pthread_mutex_lock(&images->lock);
        atomic_store(&images->stop, true);
        (void)pthread_cond_broadcast(&images->changed);
        (void)pthread_mutex_unlock(&images->lock);
        while (images->jobs) {
                struct job *next = images->jobs->next;

                job_free(images->jobs);
                images->jobs = next;
        }
        (void)pthread_cond_destroy(&images->changed);
        (void)pthread_mutex_destroy(&images->lock);
        free(images);
        return NULL;
}

static bool finished(struct hv_images *images, const struct job *job)
{
        bool value;

        (void)pthread_mutex_lock(&images->lock);
        value = job->finished;
        (void)pthread_mutex_unlock(&images->lock);
        return value;
}

static size_t reap(struct hv_images *images)
{
        struct job **link = &images->jobs;
        size_t left = 0;

        while (*link) {
                struct job *job = *link;

                if (finished(images, job)) {
                        *link = job->next;
                        job_free(job);
                } else {
                        link = &job->next;
                        left++;
                }
        }
        return left;
}

static bool same_image(const struct hv_image_request *a, const struct hv_image_request *b)
{
        return strcmp(a->image, b->image) == 0 && strcmp(a->sha256, b->sha256) == 0 && a->pull == b->pull;
}

static struct waiter *make_waiter(const struct hv_image_request *request)
{
        struct waiter *w = calloc(1, sizeof(*w));

        if (w) {
                w->id = request->id;
                (void)snprintf(w->pod_uid, sizeof(w->pod_uid), "%s", request->pod_uid);
        }
        return w;
}

/* False when the job has just finished, or has waiters enough. */
static bool join(struct hv_images *images, struct job *job, struct waiter *w)
{
        bool joined;

        (void)pthread_mutex_lock(&images->lock);
        joined = !job->finished && job->waiter_count < MAX_WAITERS;
        if (joined) {
                w->next = job->waiters;
                job->waiters = w;
                job->waiter_count++;
        }
        (void)pthread_mutex_unlock(&images->lock);
        return joined;
}

static bool begin(struct hv_images *images, const struct hv_image_request *request, struct waiter *w)
{
        struct job *job = calloc(1, sizeof(*job));

        if (!job)
                return false;
        job->images = images;
        job->request = *request;
        job->waiters = w;
        job->waiter_count = 1;
        job->actor = zactor_new(actor, job);
        if (!job->actor) {
                free(job);
                return false;
        }
        job->next = images->jobs;
        images->jobs = job;
        return true;
}

void hv_images_fetch(struct hv_images *images, const struct hv_image_request *request)
{
        struct hv_image_result failed = {.reason = "ImagePullFailed", .message = "too many images at a time"};
        size_t running = reap(images);
        struct waiter *w = make_waiter(request);

        if (!w)
                return;
        for (struct job *job = images->jobs; job; job = job->next) {
                if (same_image(&job->request, request) && join(images, job, w))
                        return;
        }
        if (running < MAX_JOBS && begin(images, request, w))
                return;
        tell(images, w, HV_EVENT_IMAGE_DONE, &failed);
        free(w);
}
