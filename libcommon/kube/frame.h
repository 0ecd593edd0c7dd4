/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a watch, taken apart: bytes in, lines out; a line in, an event out. Pure.
 *
 * A watch is a stream of JSON objects, one per line, cut by the transport wherever it likes. A line is
 * bounded; one past the bound ends the stream with -EMSGSIZE, because what follows cannot be trusted to be
 * the start of an event.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"

#define AK_KUBE_LINE_MAX   (4 * 1024 * 1024)
#define AK_KUBE_ERROR_SIZE 256

struct ak_kube_lines {
        char *data; /* the line that has not ended yet */
        size_t len, capacity;
        size_t max; /* 0 = AK_KUBE_LINE_MAX */
};

/* 0 to go on; anything else ends the feeding and is returned by it. Empty lines are not delivered. */
typedef int (*ak_kube_line_fn)(void *arg, const char *line, size_t len);
/* 0, -EMSGSIZE, -ENOMEM, or what `fn` returned. */
int ak_kube_lines_feed(struct ak_kube_lines *lines, const char *data, size_t len, ak_kube_line_fn fn,
                       void *arg);
void ak_kube_lines_deinit(struct ak_kube_lines *lines);

enum ak_kube_event_type {
        AK_KUBE_ADDED,
        AK_KUBE_MODIFIED,
        AK_KUBE_DELETED,
        AK_KUBE_BOOKMARK,
        AK_KUBE_ERROR,
};

struct ak_kube_event {
        enum ak_kube_event_type type;
        json_t *object; /* owned; of ERROR a Status */
        int code;       /* of ERROR: Status.code, 0 where it has none */
};

/*
 * -EBADMSG with a text: not JSON, no known type, no object, or (but for ERROR) an object without a
 * resourceVersion, or (but for ERROR and BOOKMARK) without name and UID.
 */
int ak_kube_event_decode(const char *line, size_t len, struct ak_kube_event *out,
                         char error[AK_KUBE_ERROR_SIZE]);
void ak_kube_event_deinit(struct ak_kube_event *event);

/* metadata.KEY of an object, "" where absent or no string. Borrowed from the object. */
const char *ak_kube_meta(const json_t *object, const char *key);
/* metadata.resourceVersion as a number; 0 where it is none. Later is larger on every server that we know. */
uint64_t ak_kube_resource_version(const json_t *object);
