/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/test_core_util.h"

#include <stdio.h>
#include <string.h>

const struct api_core_config world_config = {
    .seed = 42, .auto_create_vpc = true, .auto_vpc_cidr = "10.200.0.0/16", .nic_slots = 8};

json_t *json_of(const char *text, ...)
{
        AK_AUTOFREE char *formatted = NULL;
        json_error_t error;
        json_t *json;
        va_list args;
        int len;

        va_start(args, text);
        len = vasprintf(&formatted, text, args);
        va_end(args);
        assert_true(len >= 0);
        for (char *p = formatted; *p; p++)
                if (*p == '\'')
                        *p = '"';
        json = json_loads(formatted, JSON_DECODE_ANY, &error);
        if (!json)
                fail_msg("%s at %d of %s", error.text, error.position, formatted);
        return json;
}

void world_init(struct world *w, const struct api_core_config *config)
{
        struct api_result started;

        *w = (struct world){.now_us = WORLD_START_US};
        assert_int_equal(api_core_new(&w->core, config), 0);
        assert_int_equal(api_core_start(w->core, w->now_us, &started), 0);
        assert_int_equal(started.change_count, 3); /* the namespaces that are always there */
        api_result_deinit(&started);
}

void world_deinit(struct world *w)
{
        api_result_deinit(&w->last);
        w->core = api_core_free(w->core);
}

int world_setup(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        assert_non_null(w);
        world_init(w, &world_config);
        *state = w;
        return 0;
}

int world_teardown(void **state)
{
        world_deinit(*state);
        free(*state);
        return 0;
}

int w_do(struct world *w, enum api_verb verb, const struct api_kind *kind, const char *name, const char *sub,
         const char *body)
{
        json_t *json = body ? json_of("%s", body) : NULL;

        api_result_deinit(&w->last);
        w->request.verb = verb;
        w->request.kind = kind;
        if (!w->request.name_space)
                w->request.name_space = kind->namespaced ? "default" : "";
        w->request.name = name;
        w->request.subresource = sub;
        w->request.body = json;
        w->request.real_us = w->now_us;
        assert_int_equal(api_core_handle(w->core, &w->request, &w->last), 0);
        w->request = (struct api_request){0};
        json_decref(json);
        assert_non_null(w->last.object);
        if (w->last.code >= 400) /* a refusal changes nothing */
                assert_int_equal(w->last.change_count, 0);
        return w->last.code;
}

int w_create(struct world *w, const struct api_kind *kind, const char *body)
{
        return w_do(w, API_CREATE, kind, "", "", body);
}

int w_get(struct world *w, const struct api_kind *kind, const char *name)
{
        return w_do(w, API_GET, kind, name, "", NULL);
}

int w_update(struct world *w, const struct api_kind *kind, const char *name, const char *body)
{
        return w_do(w, API_UPDATE, kind, name, "", body);
}

int w_delete(struct world *w, const struct api_kind *kind, const char *name, const char *options)
{
        return w_do(w, API_DELETE, kind, name, "", options);
}

int w_patch(struct world *w, const struct api_kind *kind, const char *name, enum api_patch type,
            const char *body)
{
        w->request.patch_type = type;
        return w_do(w, API_PATCH, kind, name, "", body);
}

int w_patch_status(struct world *w, const struct api_kind *kind, const char *name, const char *body)
{
        w->request.patch_type = API_PATCH_MERGE;
        return w_do(w, API_PATCH, kind, name, "status", body);
}

int w_list(struct world *w, const struct api_kind *kind, const char *labels, const char *fields)
{
        w->request.label_selector = labels;
        w->request.field_selector = fields;
        return w_do(w, API_LIST, kind, "", "", NULL);
}

size_t w_tick(struct world *w)
{
        uint64_t next;

        api_result_deinit(&w->last);
        assert_int_equal(api_core_tick(w->core, w->now_us, &w->last, &next), 0);
        assert_true(next == 0 || next > w->now_us);
        return w->last.change_count;
}

const char *w_text(const struct world *w, const char *path)
{
        return api_text(w->last.object, path);
}

const char *w_message(const struct world *w)
{
        return w_text(w, "message");
}

void assert_message(const struct world *w, const char *part)
{
        if (!strstr(w_message(w), part))
                fail_msg("\"%s\" does not contain \"%s\"", w_message(w), part);
}

void assert_cause(const struct world *w, const char *field, const char *message_part)
{
        const json_t *causes = api_at(w->last.object, "details.causes");
        const json_t *cause = json_array_get(causes, 0);

        if (w->last.code != 422 || json_array_size(causes) != 1)
                fail_msg("%d, %zu causes: %s", w->last.code, json_array_size(causes), w_message(w));
        assert_string_equal(api_text(cause, "field"), field);
        if (!strstr(api_text(cause, "message"), message_part))
                fail_msg("\"%s\" does not contain \"%s\"", api_text(cause, "message"), message_part);
        assert_message(w, field);
        assert_string_equal(w_text(w, "reason"), "Invalid");
}

void w_node(struct world *w, const char *name)
{
        AK_AUTOFREE char *body = NULL;

        assert_true(
            asprintf(&body,
                     "{'metadata': {'name': '%s', 'labels': {'host': '%s'}}, 'status': {'conditions': "
                     "[{'type': 'Ready', 'status': 'True'}]}}",
                     name, name) > 0);
        assert_int_equal(w_create(w, &api_kind_node, body), 201);
}

int w_pod(struct world *w, const char *name, const char *nics)
{
        json_t *pod =
            json_of("{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': '%s'}, 'spec': {'vpc': "
                    "'vpcdemo', 'nics': [], 'virtualMachine': {'name': 'vm', 'image': "
                    "'example.org/vm.img'}}}",
                    name);
        AK_AUTOFREE char *words = strdup(nics), *body = NULL;

        for (char *save = NULL, *nic = strtok_r(words, " ", &save); nic; nic = strtok_r(NULL, " ", &save))
                (void)json_array_append_new(api_at(pod, "spec.nics"), json_pack("{s:s}", "name", nic));
        body = json_dumps(pod, 0);
        json_decref(pod);
        return w_create(w, &api_kind_pod, body);
}

json_t *w_stored(struct world *w, const struct api_kind *kind, const char *name)
{
        return api_find(w->core, kind, "default", name);
}

json_t *w_port(struct world *w, const char *pod, const char *nic)
{
        const json_t *object = w_stored(w, &api_kind_pod, pod);
        json_t *entry;
        size_t i;

        json_array_foreach(api_at(object, "spec.nics"), i, entry)
        {
                if (strcmp(api_text(entry, "name"), nic) == 0)
                        return w_stored(w, &api_kind_port, api_text(entry, "portId"));
        }
        return NULL;
}

int w_released(struct world *w, const char *port)
{
        return w_patch_status(w, &api_kind_port, port, "{'status': {'phase': 'Released'}}");
}
