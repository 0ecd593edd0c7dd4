/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kind's objects as they were at an earlier revision: those of now, with what the history of changes says
 * was there before each change since. So the pages of a list show one moment, however long the client takes,
 * and nothing is copied or kept for it.
 */
#pragma once

#include "services/apiserver/core_internal.h"

struct api_past_object {
        char *key;
        struct api_image *image; /* NULL = did not exist; the history holds it */
        size_t order;
};

struct api_past {
        struct api_past_object *items; /* sorted by key, each once */
        size_t count, room;
        bool failed; /* out of memory */
};

/* history NULL: nothing has changed. */
void api_past_init(struct api_past *past, const struct api_history *history, const struct api_kind *kind,
                   uint64_t version);
void api_past_deinit(struct api_past *past);

/* All objects of that moment whose key is not less than one, in order. */
struct api_past_walk {
        const struct api_table_of_kind *table;
        const struct api_past *past;
        size_t at, past_at;
        /* What api_past_next() found. */
        const char *key;
        struct api_image *image;
};
void api_past_walk(struct api_past_walk *w, const struct api_table_of_kind *table,
                   const struct api_past *past, const char *from);
bool api_past_next(struct api_past_walk *w);
