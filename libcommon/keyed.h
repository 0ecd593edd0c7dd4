/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items of one size by their key, at most so many: for what a service remembers of things that others name,
 * as the trace of each wish. What does not fit is not remembered.
 */
#pragma once

#include <stddef.h>

#include "libcommon/cleanup.h"

struct ak_keyed;

/* -ENOMEM. */
int ak_keyed_new(struct ak_keyed **out, size_t item_size, size_t most);
struct ak_keyed *ak_keyed_free(struct ak_keyed *table);
AK_DEFINE_CLEANUP(struct ak_keyed *, ak_keyed_free)

/* The item stays where it is until it is dropped. NULL = none. */
void *ak_keyed_find(const struct ak_keyed *table, const char *key);
/* Made, and zeroed, where there is none. NULL = the table is full, or out of memory. */
void *ak_keyed_get(struct ak_keyed *table, const char *key);
void ak_keyed_drop(struct ak_keyed *table, const char *key);
