/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of a list: all of one moment, whatever happens between them. */
#include "services/apiserver/test_core_util.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAMES 12
#define KEPT  4096

/* What the shell's ring of changes is to the core. */
struct past_world {
        struct world w;
        struct api_change kept[KEPT];
        size_t count;
        uint64_t seed;
        struct api_history history;
};

static void after(void *arg, const struct api_kind *kind, uint64_t version, api_history_fn visit,
                  void *visit_arg)
{
        struct past_world *p = arg;

        for (size_t i = 0; i < p->count; i++) {
                if (p->kept[i].kind == kind && p->kept[i].resource_version > version)
                        visit(visit_arg, p->kept[i].image, p->kept[i].old_image);
        }
}

static int setup(void **state)
{
        struct past_world *p = calloc(1, sizeof(*p));

        if (!p)
                return -1;
        world_init(&p->w, &world_config);
        p->seed = 7;
        p->history = (struct api_history){.after = after, .arg = p};
        *state = p;
        return 0;
}

static int teardown(void **state)
{
        struct past_world *p = *state;

        for (size_t i = 0; i < p->count; i++) {
                (void)api_image_unref(p->kept[i].image);
                (void)api_image_unref(p->kept[i].old_image);
        }
        world_deinit(&p->w);
        free(p);
        return 0;
}

static unsigned int pick(struct past_world *p, unsigned int below)
{
        p->seed = p->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        return (unsigned int)(p->seed >> 33) % below;
}

static void keep_changes(struct past_world *p)
{
        for (size_t i = 0; i < p->w.last.change_count; i++) {
                struct api_change *c = &p->w.last.changes[i];

                assert_true(p->count < KEPT);
                p->kept[p->count] = *c;
                p->kept[p->count].image = api_image_ref(c->image);
                p->kept[p->count].old_image = c->old_image ? api_image_ref(c->old_image) : NULL;
                p->count++;
        }
}

/* Creates, changes or deletes a VPC. */
static void change_something(struct past_world *p)
{
        char name[16], text[200];
        int code;

        (void)snprintf(name, sizeof(name), "v%02u", pick(p, NAMES));
        (void)snprintf(text, sizeof(text), "{'metadata': {'name': '%s'}, 'spec': {'cidr': '10.%u.0.0/16'}}",
                       name, pick(p, 200));
        switch (pick(p, 3)) {
        case 0:
                code = w_create(&p->w, &api_kind_vpc, text);
                assert_true(code == 201 || code == 409);
                break;
        case 1:
                (void)snprintf(text, sizeof(text), "{'metadata': {'labels': {'n': '%u'}}}", pick(p, 3));
                code = w_patch(&p->w, &api_kind_vpc, name, API_PATCH_MERGE, text);
                assert_true(code == 200 || code == 404);
                break;
        default:
                code = w_delete(&p->w, &api_kind_vpc, name, NULL);
                assert_true(code == 200 || code == 404);
        }
        keep_changes(p);
}

/* Reads the whole list in pages of `limit`, with changes between them; its items as one text. */
static char *read_pages(struct past_world *p, uint32_t limit, const char *labels, unsigned int changes)
{
        char token[600] = "", version[32] = "";
        json_t *items = json_array();
        char *text;

        do {
                p->w.request.limit = limit;
                p->w.request.continue_token = token;
                p->w.request.history = &p->history;
                assert_int_equal(w_list(&p->w, &api_kind_vpc, labels, NULL), 200);
                if (!*version)
                        (void)snprintf(version, sizeof(version), "%s",
                                       w_text(&p->w, "metadata.resourceVersion"));
                assert_string_equal(w_text(&p->w, "metadata.resourceVersion"), version);
                (void)json_array_extend(items, json_object_get(p->w.last.object, "items"));
                (void)snprintf(token, sizeof(token), "%s", w_text(&p->w, "metadata.continue"));
                for (unsigned int i = 0; i < changes; i++)
                        change_something(p);
        } while (*token);
        text = json_dumps(items, JSON_COMPACT);
        json_decref(items);
        return text;
}

static void test_pages_of_one_moment(void **state)
{
        static const char *const labels[] = {NULL, "n", "n=1", "n notin (2)"};
        struct past_world *p = *state;

        for (int i = 0; i < 100; i++)
                change_something(p);
        for (unsigned int round = 0; round < 60; round++) {
                const char *selector = labels[round % AK_ARRAY_SIZE(labels)];
                char *whole = read_pages(p, 0, selector, 0);
                char *pages = read_pages(p, 1 + pick(p, 4), selector, 1 + pick(p, 5));

                assert_string_equal(pages, whole);
                free(whole);
                free(pages);
        }
}

static uint64_t remaining(const struct past_world *p)
{
        return (uint64_t)json_integer_value(api_at(p->w.last.object, "metadata.remainingItemCount"));
}

/* What is still to come is counted in the same moment. */
static void test_remaining(void **state)
{
        struct past_world *p = *state;
        char token[600];

        for (const char *const *name = (const char *const[]){"a", "b", "c", "d", NULL}; *name; name++) {
                char text[100];

                (void)snprintf(text, sizeof(text),
                               "{'metadata': {'name': '%s'}, 'spec': {'cidr': '10.1.0.0/16'}}", *name);
                assert_int_equal(w_create(&p->w, &api_kind_vpc, text), 201);
                keep_changes(p);
        }
        p->w.request.limit = 1;
        assert_int_equal(w_list(&p->w, &api_kind_vpc, NULL, NULL), 200);
        assert_int_equal(remaining(p), 3);
        (void)snprintf(token, sizeof(token), "%s", w_text(&p->w, "metadata.continue"));
        assert_int_equal(w_delete(&p->w, &api_kind_vpc, "b", NULL), 200);
        keep_changes(p);
        p->w.request.limit = 1;
        p->w.request.continue_token = token;
        p->w.request.history = &p->history;
        assert_int_equal(w_list(&p->w, &api_kind_vpc, NULL, NULL), 200);
        assert_int_equal(remaining(p), 2);
        assert_string_equal(api_name(json_array_get(json_object_get(p->w.last.object, "items"), 0)), "b");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_pages_of_one_moment, setup, teardown),
            cmocka_unit_test_setup_teardown(test_remaining, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
