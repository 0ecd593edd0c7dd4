/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/image.h"

#include <errno.h>
#include <string.h>

#define FIRST_GUESS 4096 /* bytes of most objects' text */

static const char *meta_text(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

        return text ? text : "";
}

struct api_image *api_image_new(json_t *object, uint64_t resource_version, const char *digest,
                                size_t digest_len)
{
        const char *name_space = meta_text(object, "namespace"), *name = meta_text(object, "name");
        size_t space_len = strlen(name_space) + 1, name_len = strlen(name) + 1;
        struct api_image *image = calloc(1, sizeof(*image) + space_len + name_len + digest_len);

        if (!image)
                return NULL;
        image->refs = 1;
        image->resource_version = resource_version;
        image->tree = json_incref(object);
        image->name_space = memcpy(image->words, name_space, space_len);
        image->name = memcpy(image->words + space_len, name, name_len);
        if (digest_len > 0)
                memcpy(image->words + space_len + name_len, digest, digest_len);
        image->digest = image->words + space_len + name_len;
        return image;
}

struct api_image *api_image_ref(struct api_image *image)
{
        image->refs++;
        return image;
}

struct api_image *api_image_unref(struct api_image *image)
{
        if (!image || --image->refs > 0)
                return NULL;
        json_decref(image->tree);
        free(image->text);
        free(image);
        return NULL;
}

/* One pass where the guess is good. */
int api_image_encode(struct api_image *image)
{
        char guess[FIRST_GUESS];
        size_t len;

        if (image->text)
                return 0;
        len = json_dumpb(image->tree, guess, sizeof(guess), JSON_COMPACT);
        if (len == 0)
                return -ENOMEM;
        image->text = malloc(len);
        if (!image->text)
                return -ENOMEM;
        if (len <= sizeof(guess)) {
                memcpy(image->text, guess, len);
        } else if (json_dumpb(image->tree, image->text, len, JSON_COMPACT) != len) {
                free(AK_STEAL(image->text));
                return -ENOMEM;
        }
        image->len = len;
        return 0;
}

json_t *api_image_object(const struct api_image *image)
{
        return image->tree ? json_incref(image->tree) : json_loadb(image->text, image->len, 0, NULL);
}

void api_image_cool(struct api_image *image)
{
        if (!image->kept && image->tree && api_image_encode(image) == 0) {
                json_decref(image->tree);
                image->tree = NULL;
        }
}

size_t api_image_size(const struct api_image *image)
{
        return sizeof(*image) + image->len + strlen(image->name_space) + strlen(image->name) + 2;
}
