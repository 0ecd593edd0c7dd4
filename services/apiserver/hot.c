/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which images have their tree: those that requests have lately worked with. A queue of bounded length; what
 * was used again while it stood in there goes round once more. Trees go at the end of a request only, so that
 * whatever a rule has found in its course stays valid.
 */
#include <errno.h>
#include <stdlib.h>

#include "services/apiserver/core_internal.h"

#define HOT_MAX 512 /* images with a tree between two requests */

struct api_hot {
        struct api_image **ring;
        size_t room, first, count;
};

struct api_hot *api_hot_new(void)
{
        return calloc(1, sizeof(struct api_hot));
}

static struct api_image *take_first(struct api_hot *hot)
{
        struct api_image *image = hot->ring[hot->first];

        hot->first = (hot->first + 1) % hot->room;
        hot->count--;
        image->hot = false;
        return image;
}

struct api_hot *api_hot_free(struct api_hot *hot)
{
        if (!hot)
                return NULL;
        while (hot->count > 0)
                (void)api_image_unref(take_first(hot));
        free(hot->ring);
        free(hot);
        return NULL;
}

static int grow(struct api_hot *hot)
{
        size_t room = hot->room ? 2 * hot->room : HOT_MAX;
        struct api_image **ring = calloc(room, sizeof(struct api_image *));

        if (!ring)
                return -ENOMEM;
        for (size_t i = 0; i < hot->count; i++)
                ring[i] = hot->ring[(hot->first + i) % hot->room];
        free(hot->ring);
        *hot = (struct api_hot){.ring = ring, .room = room, .count = hot->count};
        return 0;
}

/* Takes over a reference. Without memory the tree just stays. */
static void add_last(struct api_hot *hot, struct api_image *image)
{
        if (hot->count == hot->room && grow(hot) < 0) {
                (void)api_image_unref(image);
                return;
        }
        image->hot = true;
        image->used = false;
        hot->ring[(hot->first + hot->count++) % hot->room] = image;
}

json_t *api_hot_tree(struct api_hot *hot, struct api_image *image)
{
        if (!image->tree)
                image->tree = api_image_object(image);
        if (image->kept)
                return image->tree;
        if (image->hot)
                image->used = true;
        else if (image->tree)
                add_last(hot, api_image_ref(image));
        return image->tree;
}

void api_hot_forget(struct api_hot *hot, struct api_image *image)
{
        image->kept = false;
        image->used = false;
        if (image->tree && !image->hot)
                add_last(hot, api_image_ref(image));
}

void api_hot_cool(struct api_hot *hot)
{
        while (hot->count > HOT_MAX) {
                struct api_image *image = take_first(hot);

                if (image->used) {
                        add_last(hot, image);
                } else {
                        api_image_cool(image);
                        (void)api_image_unref(image);
                }
        }
}
