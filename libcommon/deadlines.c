/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/deadlines.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

void ak_deadlines_deinit(struct ak_deadlines *set)
{
        free(set->heap);
        *set = (struct ak_deadlines){0};
}

/* Places count from 1, so that the children of n are 2n and 2n + 1. */
static void put(struct ak_deadlines *set, size_t place, struct ak_deadline *d)
{
        set->heap[place - 1] = d;
        d->place = place;
}

static struct ak_deadline *at(const struct ak_deadlines *set, size_t place)
{
        return set->heap[place - 1];
}

static void rise(struct ak_deadlines *set, struct ak_deadline *d)
{
        size_t place = d->place;

        while (place > 1 && at(set, place / 2)->at_us > d->at_us) {
                put(set, place, at(set, place / 2));
                place /= 2;
        }
        put(set, place, d);
}

static void sink(struct ak_deadlines *set, struct ak_deadline *d)
{
        size_t place = d->place;

        for (;;) {
                size_t child = 2 * place;

                if (child < set->count && at(set, child + 1)->at_us < at(set, child)->at_us)
                        child++;
                if (child > set->count || at(set, child)->at_us >= d->at_us)
                        break;
                put(set, place, at(set, child));
                place = child;
        }
        put(set, place, d);
}

static int reserve(struct ak_deadlines *set)
{
        size_t capacity = set->capacity ? 2 * set->capacity : 16;
        struct ak_deadline **heap;

        if (set->count < set->capacity)
                return 0;
        heap = reallocarray(set->heap, capacity, sizeof(struct ak_deadline *));
        if (!heap)
                return -ENOMEM;
        set->heap = heap;
        set->capacity = capacity;
        return 0;
}

static void take_back(struct ak_deadlines *set, struct ak_deadline *d)
{
        struct ak_deadline *last = at(set, set->count);
        size_t place = d->place;

        set->count--;
        d->place = 0;
        d->at_us = 0;
        if (last == d)
                return;
        put(set, place, last);
        rise(set, last);
        sink(set, last);
}

int ak_deadline_set(struct ak_deadlines *set, struct ak_deadline *d, uint64_t at_us)
{
        if (at_us == 0) {
                if (d->place)
                        take_back(set, d);
                return 0;
        }
        if (!d->place) {
                if (reserve(set) < 0)
                        return -ENOMEM;
                set->count++;
                d->at_us = at_us;
                put(set, set->count, d);
        }
        d->at_us = at_us;
        rise(set, d);
        sink(set, d);
        return 0;
}

struct ak_deadline *ak_deadlines_first(const struct ak_deadlines *set)
{
        return set->count ? set->heap[0] : NULL;
}

uint64_t ak_deadlines_next_us(const struct ak_deadlines *set)
{
        return set->count ? set->heap[0]->at_us : 0;
}

struct ak_deadline *ak_deadlines_take_due(struct ak_deadlines *set, uint64_t now_us)
{
        struct ak_deadline *first = ak_deadlines_first(set);

        if (!first || first->at_us > now_us)
                return NULL;
        take_back(set, first);
        return first;
}
