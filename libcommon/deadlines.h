/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many deadlines, of which the earliest is known at once, pure.
 *
 * A core that looks at all it has to find what is due pays for what it has, not for what happens. Here a
 * deadline is part of what it is the deadline of; setting, moving or taking back one costs the logarithm of
 * how many are set. (A binary heap of pointers; each item knows its place in it.)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Zeroed: not set. Must be taken back before its memory goes. */
struct ak_deadline {
        uint64_t at_us; /* 0 = not set */
        size_t place;   /* in the heap, from 1 */
        void *owner;    /* the caller's */
};

/* Zeroed: empty. */
struct ak_deadlines {
        struct ak_deadline **heap;
        size_t count, capacity;
};

void ak_deadlines_deinit(struct ak_deadlines *set);
/* Sets, moves or (0) takes back. -ENOMEM: it was not set and is not; nothing else fails. */
int ak_deadline_set(struct ak_deadlines *set, struct ak_deadline *deadline, uint64_t at_us);
/* The earliest, which stays set; NULL = none is. */
struct ak_deadline *ak_deadlines_first(const struct ak_deadlines *set);
/* Its time; 0 = none is set. */
uint64_t ak_deadlines_next_us(const struct ak_deadlines *set);
/* Takes back and returns the earliest if it is not after `now_us`; NULL = none is due. */
struct ak_deadline *ak_deadlines_take_due(struct ak_deadlines *set, uint64_t now_us);
