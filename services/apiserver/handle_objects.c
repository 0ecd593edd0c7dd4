/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core answers as bytes. Objects are kept as text, so a list of them is their texts in a row and an
 * object that was written is the text that went to the disk; nothing is parsed or encoded again but for
 * Tables and for those who want it pretty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/handle_internal.h"

/* The head of a list up to where its items go: {…,"items":[ */
static char *list_head(const json_t *list, size_t *len)
{
        char *head = json_dumps(list, JSON_COMPACT);

        if (!head)
                return NULL;
        *len = strlen(head) - strlen("]}");
        return head;
}

static size_t put_bytes(char *out, size_t at, const char *text, size_t len)
{
        memcpy(out + at, text, len);
        return at + len;
}

static int encode_all(const struct api_result *result, size_t *size)
{
        for (size_t i = 0; i < result->image_count; i++) {
                if (api_image_encode(result->images[i]) < 0)
                        return -ENOMEM;
                *size += result->images[i]->len + 1;
        }
        return 0;
}

static char *list_text(const struct api_result *result, size_t *len)
{
        size_t head_len = 0, size = 0, at;
        AK_AUTOFREE char *head = list_head(result->object, &head_len);
        char *text;

        if (!head || encode_all(result, &size) < 0)
                return NULL;
        text = malloc(head_len + size + sizeof("]}\n"));
        if (!text)
                return NULL;
        at = put_bytes(text, 0, head, head_len);
        for (size_t i = 0; i < result->image_count; i++) {
                if (i > 0)
                        text[at++] = ',';
                at = put_bytes(text, at, result->images[i]->text, result->images[i]->len);
        }
        at = put_bytes(text, at, "]}\n", sizeof("]}\n"));
        *len = at - 1;
        return text;
}

static char *object_text(struct api_image *image, size_t *len)
{
        char *text = api_image_encode(image) == 0 ? malloc(image->len + 2) : NULL;

        if (!text)
                return NULL;
        (void)put_bytes(text, put_bytes(text, 0, image->text, image->len), "\n", 2);
        *len = image->len + 1;
        return text;
}

/* The image of the object that is answered with; NULL where there is none. */
static struct api_image *image_of(const struct api_result *result)
{
        if (result->image)
                return result->image;
        for (size_t i = result->change_count; i > 0; i--) {
                if (result->changes[i - 1].object == result->object)
                        return result->changes[i - 1].image;
        }
        return NULL;
}

static bool is_list(const struct api_call *call)
{
        return call->rest.api.verb == API_LIST;
}

/* As the core's readers without images get it: new reference, NULL when out of memory. */
static json_t *whole(const struct api_call *call, const struct api_result *result)
{
        json_t *items;

        if (!is_list(call))
                return result->image ? api_image_object(result->image) : json_incref(result->object);
        items = json_object_get(result->object, "items");
        for (size_t i = 0; i < result->image_count; i++) {
                if (json_array_append_new(items, api_image_object(result->images[i])) < 0)
                        return NULL;
        }
        return json_incref(result->object);
}

/* Rows of one object after the other, so that only one of them is decoded at a time. */
static json_t *list_table(const struct api_call *call, const struct api_result *result)
{
        const struct api_request *api = &call->rest.api;
        json_t *table = api_table(api->kind, result->object, call->rest.include_object, api->real_us);
        json_t *rows = json_object_get(table, "rows");

        for (size_t i = 0; i < result->image_count; i++) {
                json_t *object = api_image_object(result->images[i]);
                json_t *one =
                    object ? api_table(api->kind, object, call->rest.include_object, api->real_us) : NULL;
                int rc = one ? json_array_extend(rows, json_object_get(one, "rows")) : -ENOMEM;

                json_decref(one);
                json_decref(object);
                if (rc < 0) {
                        json_decref(table);
                        return NULL;
                }
        }
        return table;
}

static json_t *table_of(const struct api_call *call, const struct api_result *result)
{
        json_t *object, *table;

        if (is_list(call))
                return list_table(call, result);
        object = whole(call, result);
        table =
            object ? api_table(call->rest.api.kind, object, call->rest.include_object, call->rest.api.real_us)
                   : NULL;
        json_decref(object);
        return table;
}

static void set_text(struct api_call *call, int code, char *text, size_t len)
{
        if (!text) {
                handle_set_json(call, code, NULL);
                return;
        }
        call->code = (unsigned int)code;
        call->text = text;
        call->text_len = len;
        call->type = rest_form_content_type(REST_FORM_JSON);
}

void handle_set_objects(struct api_call *call, struct api_result *result, enum rest_form form)
{
        struct api_image *image = image_of(result);
        char *text = NULL;
        size_t len = 0;

        if (form == REST_FORM_TABLE || call->rest.pretty || (!image && !is_list(call))) {
                json_t *json = form == REST_FORM_TABLE ? table_of(call, result) : whole(call, result);

                handle_set_json(call, result->code, json);
                json_decref(json);
                return;
        }
        text = is_list(call) ? list_text(result, &len) : object_text(image, &len);
        set_text(call, result->code, text, len);
}
