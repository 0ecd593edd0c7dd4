/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One committed change as watchers see it. The text of the object is made once: the store writes it, readers
 * and every watcher are sent the same bytes, with a head that says what happened. Further forms (a Table, or
 * DELETED of an object that ceased to match a selector) are made when first asked for and kept.
 *
 * Reference-counted, for one thread; the commit actor only reads the text of events that the loop holds.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "services/apiserver/core.h"
#include "services/apiserver/store.h"

enum api_event_form {
        API_EVENT_OBJECT,
        API_EVENT_TABLE_METADATA,
        API_EVENT_TABLE_OBJECT,
        API_EVENT_TABLE_NONE,
        API_EVENT_FORMS
};

struct api_event_text {
        char *text; /* one line, newline included */
        size_t len;
        uint64_t made_us; /* Tables hold ages, so they go stale */
};

/* A line in pieces, of which the last may be empty. */
#define API_LINE_PIECES 3
struct api_line {
        struct {
                const char *text;
                size_t len;
        } pieces[API_LINE_PIECES];
};

struct api_event {
        unsigned int refs;
        enum api_change_type type;
        const struct api_kind *kind;
        uint64_t resource_version;
        struct api_image *image, *old; /* old: NULL for ADDED */
        struct api_event_text *texts;  /* API_EVENT_TEXTS of them, once one is asked for */
};

/* Takes references to the change's images. NULL when out of memory. */
struct api_event *api_event_new(const struct api_change *change);
struct api_event *api_event_ref(struct api_event *event);
struct api_event *api_event_unref(struct api_event *event);
AK_DEFINE_CLEANUP(struct api_event *, api_event_unref)

/* The event as `type` in `form`. 0, -ENOMEM. Valid until the event goes or, for Tables, a later call. */
int api_event_line(struct api_event *event, enum api_change_type type, enum api_event_form form,
                   uint64_t real_us, struct api_line *out);
/* What the store is to write. Points into the event. */
void api_event_record(const struct api_event *event, struct api_store_record *out);
/* Bytes that the event keeps, roughly. */
size_t api_event_size(const struct api_event *event);

/* ADDED and the object, as it is kept; the image holds the bytes. 0, -ENOMEM. */
int api_event_added(struct api_image *image, struct api_line *out);
/* {"type": …, "object": …} and a newline; malloc'd. Borrowed object. */
int api_event_encode(const char *type, const json_t *object, char **out, size_t *out_len);
const char *api_object_meta(const json_t *object,
                            const char *key); /* a string of metadata, "" where absent */
