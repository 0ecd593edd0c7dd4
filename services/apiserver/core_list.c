/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists: sorted by namespace and name, selected, cut at `limit`. A continue token holds the revision at
 * which the list began and the last key given out; pages after the first show the state of that revision, by
 * the history of changes since (core_past.h). A token ends with the history that it would need.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_past.h"

/* "<revision>:<key>"; keys hold no blanks and the client hands the token back as it got it. */
static bool parse_token(const char *token, uint64_t *version, char key[API_KEY_SIZE])
{
        char *colon;

        if (strncmp(token, "v1:", 3) != 0 || token[3] < '0' || token[3] > '9')
                return false;
        *version = strtoull(token + 3, &colon, 10);
        if (*colon != ':' || strlen(colon + 1) >= API_KEY_SIZE || !strchr(colon + 1, '/'))
                return false;
        (void)snprintf(key, API_KEY_SIZE, "%s", colon + 1);
        return true;
}

static bool in_scope(const struct api_request *r, const char *key)
{
        size_t len = strlen(r->name_space);

        return !r->kind->namespaced || !len || (strncmp(key, r->name_space, len) == 0 && key[len] == '/');
}

struct page {
        json_t *items; /* or, where the request allows it: */
        struct api_image **images;
        size_t count, room;
        bool as_images, failed;
        char last_key[API_KEY_SIZE];
        size_t remaining;
};

static bool make_room(struct page *page)
{
        size_t room = page->room ? 2 * page->room : 64;
        struct api_image **images;

        if (page->count < page->room)
                return true;
        images = reallocarray(page->images, room, sizeof(struct api_image *));
        if (!images)
                return false;
        page->images = images;
        page->room = room;
        return true;
}

static void add(struct page *page, struct api_image *image)
{
        if (!page->as_images) {
                page->failed |= json_array_append_new(page->items, api_image_object(image)) < 0;
                page->count++;
        } else if (make_room(page)) {
                page->images[page->count++] = api_image_ref(image);
        } else {
                page->failed = true;
        }
}

/* A list of one object by its name, as `kubectl get NAME --watch` begins: no need to look at all. */
static bool collect_named(const struct api_core *core, const struct api_request *r,
                          const struct api_selector *selector, struct page *page)
{
        const char *name = api_selector_value(selector, "metadata.name");
        struct api_image *image;
        char key[API_KEY_SIZE];

        if (!name || (r->kind->namespaced && !*r->name_space))
                return false;
        api_key(r->kind->namespaced ? r->name_space : "", name, key);
        image = api_find_image(core, r->kind, key);
        if (image && api_selector_matches_image(selector, image))
                add(page, image);
        return true;
}

static void take(struct page *page, const struct api_request *r, const char *key, struct api_image *image)
{
        if (r->limit && page->count >= r->limit) {
                page->remaining++;
                return;
        }
        add(page, image);
        (void)snprintf(page->last_key, sizeof(page->last_key), "%s", key);
}

/* By a field that the objects can be found by. */
static bool collect_found(const struct api_core *core, const struct api_request *r,
                          const struct api_selector *selector, const char *from, struct page *page)
{
        const struct api_table_of_kind *t = api_objects(core, r->kind);
        AK_AUTOFREE const char **keys = NULL;
        size_t count = 0, at = 0;

        if (!api_fields_find(core, r->kind, selector, &keys, &count))
                return false;
        for (size_t i = 0; i < count; i++) {
                if (strcmp(keys[i], from) <= 0 || !in_scope(r, keys[i]))
                        continue;
                at = api_lower_bound_from(t, at, keys[i]); /* they are in the table's order */
                if (at < t->count && strcmp(t->items[at].key, keys[i]) == 0 &&
                    api_selector_matches_image(selector, t->items[at].image))
                        take(page, r, keys[i], t->items[at].image);
        }
        return true;
}

static void collect(const struct api_core *core, const struct api_request *r,
                    const struct api_selector *selector, const struct api_past *past, const char *from,
                    struct page *page)
{
        const struct api_table_of_kind *t = api_objects(core, r->kind);
        struct api_past_walk w;
        char prefix[API_KEY_SIZE];

        if (!*from && collect_named(core, r, selector, page))
                return;
        if (past->count == 0 && !past->failed && collect_found(core, r, selector, from, page))
                return;
        (void)snprintf(prefix, sizeof(prefix), "%s%s", r->kind->namespaced ? r->name_space : "",
                       r->kind->namespaced && *r->name_space ? "/" : "");
        api_past_walk(&w, t, past, *from ? from : prefix);
        while (api_past_next(&w) && in_scope(r, w.key)) {
                if (strcmp(w.key, from) == 0 || !api_selector_matches_image(selector, w.image))
                        continue;
                take(page, r, w.key, w.image);
        }
}

static json_t *list_object(const struct api_request *r, struct page *page, uint64_t version)
{
        char api_version[128], token[API_KEY_SIZE + 32], revision[24];
        json_t *meta;

        (void)snprintf(revision, sizeof(revision), "%" PRIu64, version);
        meta = json_pack("{s:s}", "resourceVersion", revision);
        if (page->remaining && *page->last_key) {
                (void)snprintf(token, sizeof(token), "v1:%" PRIu64 ":%s", version, page->last_key);
                (void)json_object_set_new(meta, "continue", json_string(token));
                (void)json_object_set_new(meta, "remainingItemCount",
                                          json_integer((json_int_t)page->remaining));
        }
        (void)snprintf(api_version, sizeof(api_version), "%s%s%s", r->kind->group, *r->kind->group ? "/" : "",
                       r->kind->version);
        return json_pack("{s:s, s:s, s:o, s:o}", "kind", r->kind->list_kind, "apiVersion", api_version,
                         "metadata", meta, "items", page->items);
}

/* As kube-apiserver: 410, with a token by which the rest can be had, as it is now. */
static void expired(const struct api_core *core, const struct api_request *r, const char *from,
                    struct api_result *out)
{
        char token[API_KEY_SIZE + 32];

        api_fail(
            out, 410, "Expired", r->kind, "",
            "The provided continue parameter is too old to display a consistent list result. You can start "
            "a new list without the continue parameter, or use the continue token in this response to "
            "retrieve the remainder of the results, which then is as it is now");
        (void)snprintf(token, sizeof(token), "v1:%" PRIu64 ":%s", core->resource_version, from);
        (void)api_set(out->object, "metadata.continue", json_string(token));
}

void api_handle_list(struct api_core *core, const struct api_request *r, struct api_result *out)
{
        AK_CLEANUP(api_selector_freep) struct api_selector *selector = NULL;
        struct page page = {0};
        struct api_past past;
        uint64_t version = core->resource_version;
        char error[256], from[API_KEY_SIZE] = "";

        if (api_selector_new(&selector, r->kind, r->label_selector, r->field_selector, error) < 0) {
                api_fail(out, 400, "BadRequest", r->kind, "", error);
                return;
        }
        if (r->continue_token && *r->continue_token && !parse_token(r->continue_token, &version, from)) {
                api_fail(out, 400, "BadRequest", r->kind, "", "continue: not a token of this server");
                return;
        }
        if (*from && version < r->oldest_version) {
                expired(core, r, from, out);
                return;
        }
        if (version > core->resource_version) {
                api_fail(out, 410, "Expired", r->kind, "",
                         "The provided continue parameter is of another store; start a new list without it");
                return;
        }
        page.items = json_array();
        page.as_images = r->images;
        api_past_init(&past, *from ? r->history : NULL, r->kind, version);
        collect(core, r, selector, &past, from, &page);
        out->images = page.images;
        out->image_count = r->images ? page.count : 0;
        out->code = 200;
        out->object = list_object(r, &page, version);
        if (page.failed || past.failed)
                api_fail(out, 503, "ServiceUnavailable", r->kind, "",
                         "the server is out of memory; try again later");
        api_past_deinit(&past);
}
