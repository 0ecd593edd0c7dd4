/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on their way from any thread to the reactor: a list under a lock and an eventfd to poll.
 *
 * Bounded: past the bound an event is dropped and counted; the reactor, told so once, treats it as a
 * lost connection (what is lost is then read anew from the driver).
 */
#pragma once

#include "services/hypervisor/core.h"

struct hv_queue;

int hv_queue_new(struct hv_queue **out, size_t max_items);
struct hv_queue *hv_queue_free(struct hv_queue *queue);
AK_DEFINE_CLEANUP(struct hv_queue *, hv_queue_free)
int hv_queue_fd(const struct hv_queue *queue);
/* Takes the event's contents over; *event is zeroed. Any thread, never blocks for long. */
void hv_queue_push(struct hv_queue *queue, struct hv_event *event);
/* A driver's event function: copies a plain event (one that owns nothing). */
void hv_queue_push_copy(void *queue, const struct hv_event *event);
/* 1 and *out (to be deinitialised), or 0. */
int hv_queue_pop(struct hv_queue *queue, struct hv_event *out);
/* Events that wait. */
size_t hv_queue_count(struct hv_queue *queue);
/* Were events dropped since the last call? */
bool hv_queue_overflowed(struct hv_queue *queue);
