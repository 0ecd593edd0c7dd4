/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image requests, each answered by events in the queue (progress, done). One actor per image, so that
 * several VMs that want the same one share its download; a few downloads at a time, others wait. One more
 * actor keeps the cache within its limits.
 */
#pragma once

#include "services/hypervisor/image_cache.h"
#include "services/hypervisor/queue.h"

struct hv_images;

/* `store` is copied; the lists that it points to must outlive the object. */
int hv_images_new(struct hv_images **out, const struct hv_image_store *store, struct hv_queue *queue);
/* Breaks downloads off. */
struct hv_images *hv_images_free(struct hv_images *images);
AK_DEFINE_CLEANUP(struct hv_images *, hv_images_free)
/* What the cache holds, at the last look; `removed` counts since the start. */
void hv_images_usage(struct hv_images *images, struct hv_image_usage *out);
/* Always answered, with a fault where it cannot even be begun. */
void hv_images_fetch(struct hv_images *images, const struct hv_image_request *request);
