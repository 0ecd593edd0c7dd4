/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/queue.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

struct item {
        struct item *next;
        struct hv_event event;
};

struct hv_queue {
        pthread_mutex_t lock;
        struct item *head, **tail;
        size_t count, max;
        bool overflowed;
        int fd;
};

int hv_queue_new(struct hv_queue **out, size_t max_items)
{
        struct hv_queue *queue = calloc(1, sizeof(*queue));

        if (!queue)
                return -ENOMEM;
        queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->fd < 0) {
                free(queue);
                return -errno;
        }
        (void)pthread_mutex_init(&queue->lock, NULL);
        queue->tail = &queue->head;
        queue->max = max_items;
        *out = queue;
        return 0;
}

struct hv_queue *hv_queue_free(struct hv_queue *queue)
{
        struct hv_event event;

        if (!queue)
                return NULL;
        while (hv_queue_pop(queue, &event))
                hv_event_deinit(&event);
        (void)close(queue->fd);
        (void)pthread_mutex_destroy(&queue->lock);
        free(queue);
        return NULL;
}

int hv_queue_fd(const struct hv_queue *queue)
{
        return queue->fd;
}

static bool append(struct hv_queue *queue, struct item *item)
{
        bool fits;

        (void)pthread_mutex_lock(&queue->lock);
        fits = item && queue->count < queue->max;
        if (fits) {
                *queue->tail = item;
                queue->tail = &item->next;
                queue->count++;
        } else {
                queue->overflowed = true;
        }
        (void)pthread_mutex_unlock(&queue->lock);
        return fits;
}

void hv_queue_push(struct hv_queue *queue, struct hv_event *event)
{
        struct item *item = calloc(1, sizeof(*item));

        if (item)
                item->event = *event;
        if (append(queue, item)) {
                *event = (struct hv_event){0};
        } else {
                free(item);
                hv_event_deinit(event);
        }
        (void)eventfd_write(queue->fd, 1);
}

void hv_queue_push_copy(void *queue, const struct hv_event *event)
{
        struct hv_event copy = *event;

        hv_queue_push(queue, &copy);
}

int hv_queue_pop(struct hv_queue *queue, struct hv_event *out)
{
        struct item *item;
        eventfd_t seen;

        (void)pthread_mutex_lock(&queue->lock);
        item = queue->head;
        if (item) {
                queue->head = item->next;
                queue->count--;
                if (!queue->head)
                        queue->tail = &queue->head;
        } else {
                (void)eventfd_read(queue->fd, &seen);
        }
        (void)pthread_mutex_unlock(&queue->lock);
        if (!item)
                return 0;
        *out = item->event;
        free(item);
        return 1;
}

size_t hv_queue_count(struct hv_queue *queue)
{
        size_t count;

        (void)pthread_mutex_lock(&queue->lock);
        count = queue->count;
        (void)pthread_mutex_unlock(&queue->lock);
        return count;
}

bool hv_queue_overflowed(struct hv_queue *queue)
{
        bool overflowed;

        (void)pthread_mutex_lock(&queue->lock);
        overflowed = queue->overflowed;
        queue->overflowed = false;
        (void)pthread_mutex_unlock(&queue->lock);
        return overflowed;
}
