/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One version of an object, as it is kept: its JSON text, and the few words that selectors look at. A parsed
 * object takes seven times the memory of its text, so the tree of most images is there only while somebody
 * works with it. The text is made once, by whoever needs it first, and shared: the store writes it, watchers
 * and readers are sent it, the history of changes holds it.
 *
 * Immutable but for that, and counted. For one thread; another may read the text of an image that is held.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"

struct api_image {
        unsigned int refs;
        uint64_t resource_version;
        const char *name_space, *name; /* "" = none */
        const char *digest;            /* what selectors look at; the core's own format */
        char *text;                    /* NULL until api_image_encode() */
        size_t len;
        json_t *tree; /* NULL = only as text */
        bool kept;    /* its tree stays */
        bool hot, used;
        char words[]; /* namespace, name, digest */
};

/* Holds the object, which must not change any more; copies the digest. NULL when out of memory. */
struct api_image *api_image_new(json_t *object, uint64_t resource_version, const char *digest,
                                size_t digest_len);
struct api_image *api_image_ref(struct api_image *image);
struct api_image *api_image_unref(struct api_image *image); /* takes NULL; returns NULL */
AK_DEFINE_CLEANUP(struct api_image *, api_image_unref)

/* Makes the text, unless it is there. 0, -ENOMEM. */
int api_image_encode(struct api_image *image);
/* The object: new reference; NULL when out of memory. The image itself does not become larger. */
json_t *api_image_object(const struct api_image *image);
/* Goes without the tree, where there is memory for the text. */
void api_image_cool(struct api_image *image);
/* Bytes that its text and words take. */
size_t api_image_size(const struct api_image *image);
