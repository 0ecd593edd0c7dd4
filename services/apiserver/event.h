/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One committed change as watchers see it. The text of the object is made once: the store writes a slice of
 * the event's text, and every watcher of that form sends the same bytes. Further forms (a Table, or ADDED and
 * DELETED of an object that began or ceased to match a selector) are made when first asked for and kept.
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

struct api_event {
        unsigned int refs;
        enum api_change_type type;
        const struct api_kind *kind;
        uint64_t resource_version;
        json_t *object, *old;
        size_t object_at, object_len; /* the object inside texts[type][API_EVENT_OBJECT] */
        struct api_event_text texts[API_DELETED + 1][API_EVENT_FORMS];
};

/* Takes references to the change's objects. NULL when out of memory. */
struct api_event *api_event_new(const struct api_change *change);
struct api_event *api_event_ref(struct api_event *event);
struct api_event *api_event_unref(struct api_event *event);
AK_DEFINE_CLEANUP(struct api_event *, api_event_unref)

/* The event as `type` in `form`; NULL when out of memory. Valid until the event goes or, for Tables, a second
 * later call. */
const struct api_event_text *api_event_text(struct api_event *event, enum api_change_type type,
                                            enum api_event_form form, uint64_t real_us);
/* What the store is to write. Points into the event. */
void api_event_record(const struct api_event *event, struct api_store_record *out);
/* Bytes that the event keeps, roughly. */
size_t api_event_size(const struct api_event *event);

/* {"type": …, "object": …} and a newline; malloc'd. Borrowed object. */
int api_event_encode(const char *type, const json_t *object, char **out, size_t *out_len);
const char *api_object_meta(const json_t *object,
                            const char *key); /* a string of metadata, "" where absent */
