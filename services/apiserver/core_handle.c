/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request through the rules that all kinds share: decode, preconditions, what belongs to the server,
 * validation, the kind's own rules, no-op detection. A refusal or a dry run rolls the transaction back.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define NAME_TRIES 8

static void not_found(struct api_result *out, const struct api_kind *kind, const char *name)
{
        api_fail_fmt(out, 404, "NotFound", kind, name, "%s%s%s \"%s\" not found", kind->plural,
                     *kind->group ? "." : "", kind->group, name);
}

static void conflict(struct api_result *out, const struct api_kind *kind, const char *name, const char *why)
{
        api_fail_fmt(out, 409, "Conflict", kind, name, "Operation cannot be fulfilled on %s%s%s \"%s\": %s",
                     kind->plural, *kind->group ? "." : "", kind->group, name, why);
}

/* ---- decoding ---- */

static bool same_type(const struct api_request *r, const json_t *body, struct api_result *out)
{
        const char *version = api_text(body, "apiVersion"), *kind = api_text(body, "kind");
        char wanted[128];

        (void)snprintf(wanted, sizeof(wanted), "%s%s%s", r->kind->group, *r->kind->group ? "/" : "",
                       r->kind->version);
        if ((!*version || strcmp(version, wanted) == 0) && (!*kind || strcmp(kind, r->kind->kind) == 0))
                return true;
        api_fail_fmt(out, 400, "BadRequest", r->kind, r->name,
                     "the body is a %.100s %.100s, but this path takes a %s %s (apiVersion, kind)", version,
                     kind, wanted, r->kind->kind);
        return false;
}

static bool same_place(const struct api_request *r, const json_t *body, struct api_result *out)
{
        const char *name_space = api_namespace(body), *name = api_name(body);

        if (r->kind->namespaced && *name_space && strcmp(name_space, r->name_space) != 0) {
                api_fail_fmt(
                    out, 400, "BadRequest", r->kind, r->name,
                    "the namespace of the provided object does not match the namespace sent on the request");
                return false;
        }
        if (*r->name && *name && strcmp(name, r->name) != 0) {
                api_fail_fmt(out, 400, "BadRequest", r->kind, r->name,
                             "the name of the object (%.200s) does not match the name on the URL (%.200s)",
                             name, r->name);
                return false;
        }
        return true;
}

/* Unknown fields, by the request's fieldValidation. False when the request is refused. */
static bool report_unknown(const struct api_request *r, const json_t *unknown, struct api_result *out)
{
        char message[1024] = "strict decoding error: ";
        json_t *path;
        size_t i;

        if (json_array_size(unknown) == 0 || r->field_validation == API_FIELDS_IGNORE)
                return true;
        json_array_foreach((json_t *)unknown, i, path)
        {
                char text[300];

                (void)snprintf(text, sizeof(text), "unknown field \"%.250s\"", json_string_value(path));
                if (r->field_validation == API_FIELDS_WARN) {
                        api_warn(out, text);
                } else {
                        size_t used = strlen(message);
                        (void)snprintf(message + used, sizeof(message) - used, "%s%s", i ? ", " : "", text);
                }
        }
        if (r->field_validation == API_FIELDS_WARN)
                return true;
        api_fail_fmt(out, 400, "BadRequest", r->kind, r->name,
                     "%s in version \"%s\" cannot be handled as a %s: %s", r->kind->kind, r->kind->version,
                     r->kind->kind, message);
        return false;
}

/* Prunes and checks by the table. False when the request is refused already. */
static bool check_shape(const struct api_request *r, json_t *object, struct api_causes *causes,
                        struct api_result *out)
{
        json_t *unknown = json_array();
        bool good;

        api_validate(r->kind->schema, object, "", causes, unknown);
        good = report_unknown(r, unknown, out);
        json_decref(unknown);
        return good;
}

static void fail_invalid(const struct api_request *r, const char *name, const struct api_causes *causes,
                         struct api_result *out)
{
        json_decref(out->object);
        out->code = 422;
        out->object = api_status_invalid(r->kind, name, causes);
}

/* ---- create ---- */

static bool namespace_open(struct api_txn *t, const struct api_request *r)
{
        const json_t *ns;

        if (!r->kind->namespaced)
                return true;
        ns = api_find(t->core, &api_kind_namespace, "", r->name_space);
        if (!ns) {
                not_found(t->out, &api_kind_namespace, r->name_space);
                return false;
        }
        if (!api_is_deleting(ns) || r->kind == &api_kind_event)
                return true;
        api_fail_fmt(t->out, 403, "Forbidden", r->kind, r->name,
                     "unable to create new content in namespace %s because it is being terminated",
                     r->name_space);
        return false;
}

static void make_name(struct api_txn *t, const struct api_request *r, json_t *object)
{
        static const char letters[] =
            "bcdfghjklmnpqrstvwxz2456789"; /* as kube's names: no vowels, no 0/1/3 */
        const char *prefix = api_text(object, "metadata.generateName");
        char name[300];

        if (*api_name(object) || !*prefix)
                return;
        for (int tries = 0; tries < NAME_TRIES; tries++) {
                uint64_t bits = api_random(t->core);
                int n = snprintf(name, sizeof(name), "%.240s", prefix);

                for (int i = 0; i < 5; i++, bits /= 27)
                        name[n + i] = letters[bits % 27];
                name[n + 5] = '\0';
                if (!api_find(t->core, r->kind, r->name_space, name))
                        break;
        }
        (void)api_set(object, "metadata.name", json_string(name));
}

/* Ports are named by their ID: one is made where the client gives none. */
static void make_port_id(struct api_txn *t, const struct api_request *r, json_t *object)
{
        char uuid[AK_UUID_SIZE];

        if (r->kind != &api_kind_port || *api_name(object))
                return;
        api_random_uuid(t->core, uuid);
        (void)api_set(object, "metadata.name", json_string(uuid));
}

static void fill_meta(struct api_txn *t, const struct api_request *r, json_t *object)
{
        static const char *const ours[] = {"resourceVersion", "selfLink", "managedFields",
                                           "deletionTimestamp", "deletionGracePeriodSeconds"};
        char uuid[AK_UUID_SIZE];
        json_t *meta = json_object_get(object, "metadata");

        for (size_t i = 0; i < AK_ARRAY_SIZE(ours); i++)
                (void)json_object_del(meta, ours[i]);
        api_random_uuid(t->core, uuid);
        (void)json_object_set_new(meta, "uid", json_string(uuid));
        (void)json_object_set_new(meta, "creationTimestamp", api_time(t->real_us));
        if (r->kind->namespaced)
                (void)json_object_set_new(meta, "namespace", json_string(r->name_space));
        if (r->kind != &api_kind_event)
                (void)json_object_set_new(meta, "generation", json_integer(1));
}

static void set_type(const struct api_kind *kind, json_t *object)
{
        char version[128];

        (void)snprintf(version, sizeof(version), "%s%s%s", kind->group, *kind->group ? "/" : "",
                       kind->version);
        (void)json_object_set_new(object, "apiVersion", json_string(version));
        (void)json_object_set_new(object, "kind", json_string(kind->kind));
}

static bool nameable(struct api_txn *t, const struct api_request *r, const json_t *object)
{
        struct api_causes causes = {0};

        if (*api_name(object)) {
                if (!api_find(t->core, r->kind, r->name_space, api_name(object)))
                        return true;
                api_fail_fmt(t->out, 409, "AlreadyExists", r->kind, api_name(object),
                             "%s%s%s \"%s\" already exists", r->kind->plural, *r->kind->group ? "." : "",
                             r->kind->group, api_name(object));
                return false;
        }
        api_cause(&causes, API_REQUIRED, "metadata.name", NULL, "name or generateName is required");
        fail_invalid(r, "", &causes, t->out);
        api_causes_deinit(&causes);
        return false;
}

static void create(struct api_txn *t, const struct api_request *r)
{
        const struct api_rules *rules = api_rules_of(r->kind);
        struct api_causes causes = {0};
        json_t *object = api_copy(r->body);

        if (!json_is_object(json_object_get(object, "metadata")))
                (void)json_object_set_new(object, "metadata", json_object());
        if (*r->name && !*api_name(object))
                (void)api_set(object, "metadata.name", json_string(r->name));
        make_name(t, r, object);
        make_port_id(t, r, object);
        set_type(r->kind, object);
        if (rules->admit)
                rules->admit(t, object);
        if (t->out->code || !nameable(t, r, object) || !check_shape(r, object, &causes, t->out))
                goto out;
        fill_meta(t, r, object);
        api_trace_keep(r->kind, NULL, object);
        api_trace_put(t, r->kind, object);
        /* As kube: a Node may register with its status; every other status is the server's to begin. */
        if (r->kind->has_status && r->kind != &api_kind_node)
                (void)json_object_del(object, "status");
        /* Also run after causes: the kind's rule may know better words for what is missing. */
        if (rules->create)
                rules->create(t, object, &causes);
        if (t->out->code)
                goto out;
        if (api_causes_any(&causes)) {
                fail_invalid(r, api_name(object), &causes, t->out);
        } else if (api_txn_put(t, r->kind, json_incref(object)) == 0) {
                t->out->code = 201;
                t->out->object = json_incref(object);
        }
out:
        api_causes_deinit(&causes);
        json_decref(object);
}

/* ---- update and patch ---- */

static json_t *patched(struct api_txn *t, const struct api_request *r, const json_t *old)
{
        char error[API_ERROR_SIZE] = "";
        json_t *result = NULL;

        switch (r->patch_type) {
        case API_PATCH_STRATEGIC:
                result = api_patch_strategic(r->kind->schema, old, r->body, error);
                break;
        case API_PATCH_MERGE:
                result = api_patch_merge(old, r->body);
                break;
        case API_PATCH_JSON:
                result = api_patch_json(old, r->body, error);
                break;
        }
        if (!result) {
                bool json_patch = r->patch_type == API_PATCH_JSON;
                api_fail_fmt(t->out, json_patch ? 422 : 400, json_patch ? "Invalid" : "BadRequest", r->kind,
                             r->name, "the patch cannot be applied: %s", error);
                return NULL;
        }
        if (!json_is_object(result)) {
                json_decref(result);
                api_fail_fmt(t->out, 400, "BadRequest", r->kind, r->name, "the patch must leave an object");
                return NULL;
        }
        return result;
}

static bool preconditions_hold(struct api_txn *t, const struct api_request *r, const json_t *old,
                               const json_t *object)
{
        const char *uid = api_uid(object), *version = api_text(object, "metadata.resourceVersion");
        char why[200];

        if (*uid && strcmp(uid, api_uid(old)) != 0) {
                (void)snprintf(why, sizeof(why),
                               "Precondition failed: UID in precondition: %.60s, UID in object meta: %.60s",
                               uid, api_uid(old));
                conflict(t->out, r->kind, r->name, why);
                return false;
        }
        if (*version && strcmp(version, api_text(old, "metadata.resourceVersion")) != 0) {
                conflict(t->out, r->kind, r->name,
                         "the object has been modified; please apply your changes to the latest version and "
                         "try again");
                return false;
        }
        return true;
}

static void restore_meta(const json_t *old, json_t *object)
{
        static const char *const ours[] = {"name",
                                           "namespace",
                                           "uid",
                                           "creationTimestamp",
                                           "generation",
                                           "deletionTimestamp",
                                           "deletionGracePeriodSeconds",
                                           "generateName",
                                           "resourceVersion"};
        json_t *meta = json_object_get(object, "metadata");
        const json_t *was = json_object_get(old, "metadata");

        if (!json_is_object(meta)) {
                meta = json_object();
                (void)json_object_set_new(object, "metadata", meta);
        }
        (void)json_object_del(meta, "selfLink");
        (void)json_object_del(meta, "managedFields");
        for (size_t i = 0; i < AK_ARRAY_SIZE(ours); i++) {
                json_t *value = json_object_get(was, ours[i]);
                if (value)
                        (void)json_object_set(meta, ours[i], value);
                else
                        (void)json_object_del(meta, ours[i]);
        }
}

/*
 * A status write takes the status alone, every other write all but the status. What comes out shares nothing
 * that could change with the old object, of which a patch has left parts in the new one.
 */
static json_t *merge_sides(const struct api_request *r, const json_t *old, const json_t *object)
{
        bool status = strcmp(r->subresource, "status") == 0;
        json_t *sides = json_copy((json_t *)(status ? old : object)), *kept, *result;

        kept = json_object_get(status ? object : old, "status");
        if (r->kind->has_status && kept)
                (void)json_object_set(sides, "status", kept);
        else if (r->kind->has_status)
                (void)json_object_del(sides, "status");
        result = api_copy(sides);
        json_decref(sides);
        return result;
}

static bool spec_changed(const json_t *old, const json_t *object)
{
        const json_t *a = json_object_get(old, "spec"), *b = json_object_get(object, "spec");

        return (a || b) && !(a && b && json_equal(a, b));
}

bool api_is_free(const json_t *object)
{
        return api_is_deleting(object) && json_array_size(api_at(object, "metadata.finalizers")) == 0 &&
               json_integer_value(api_at(object, "metadata.deletionGracePeriodSeconds")) == 0 &&
               json_array_size(api_at(object, "spec.finalizers")) == 0;
}

/* As kube: who comes late cannot hold what is to go. */
static void forbid_late_finalizers(const json_t *old, const json_t *object, struct api_causes *causes)
{
        const json_t *before = api_at(old, "metadata.finalizers");
        json_t *finalizer;
        size_t i;

        json_array_foreach(api_at(object, "metadata.finalizers"), i, finalizer)
        {
                bool known = false;

                for (size_t k = 0; k < json_array_size(before) && !known; k++)
                        known = json_equal(json_array_get(before, k), finalizer);
                if (!known)
                        api_cause(causes, API_FORBIDDEN, "metadata.finalizers", finalizer,
                                  "no new finalizers can be added if the object is being deleted");
        }
}

static void store_update(struct api_txn *t, const struct api_request *r, const json_t *old, json_t *object)
{
        if (json_equal(old, object)) {
                t->out->code = 200;
                t->out->object = json_incref((json_t *)old);
                return;
        }
        if (spec_changed(old, object)) {
                (void)api_set(object, "metadata.generation",
                              json_integer(json_integer_value(api_at(old, "metadata.generation")) + 1));
                api_trace_put(t, r->kind, object);
        }
        int rc = api_is_free(object) ? api_txn_delete(t, r->kind, object)
                                     : api_txn_put(t, r->kind, json_incref(object));
        if (rc == 0) {
                t->out->code = 200;
                t->out->object = json_incref(object);
                if (api_is_free(object))
                        api_owner_gone(t, object, false);
        }
}

static void apply_update(struct api_txn *t, const struct api_request *r, const json_t *old, json_t *object)
{
        const struct api_rules *rules = api_rules_of(r->kind);
        bool status = strcmp(r->subresource, "status") == 0;
        void (*rule)(struct api_txn *, const json_t *, json_t *, struct api_causes *) =
            status ? rules->status : rules->update;
        struct api_causes causes = {0};

        if (check_shape(r, object, &causes, t->out)) {
                if (api_is_deleting(old))
                        forbid_late_finalizers(old, object, &causes);
                if (rule)
                        rule(t, old, object, &causes);
                if (!t->out->code && api_causes_any(&causes))
                        fail_invalid(r, r->name, &causes, t->out);
                if (!t->out->code)
                        store_update(t, r, old, object);
        }
        api_causes_deinit(&causes);
}

static void update(struct api_txn *t, const struct api_request *r)
{
        json_t *old = json_incref(api_find(t->core, r->kind, r->name_space, r->name)), *sent, *object = NULL;

        if (!old) {
                not_found(t->out, r->kind, r->name);
                return;
        }
        sent = r->verb == API_PATCH ? patched(t, r, old) : json_incref(r->body);
        if (sent && same_type(r, sent, t->out) && same_place(r, sent, t->out) &&
            preconditions_hold(t, r, old, sent))
                object = merge_sides(r, old, sent);
        if (object) {
                set_type(r->kind, object);
                restore_meta(old, object);
                api_trace_keep(r->kind, old, object);
                apply_update(t, r, old, object);
        }
        json_decref(sent);
        json_decref(object);
        json_decref(old);
}

/* ---- all verbs ---- */

static void get(struct api_core *core, const struct api_request *r, struct api_result *out)
{
        struct api_image *image;
        char key[API_KEY_SIZE];

        api_key(r->kind->namespaced ? r->name_space : "", r->name, key);
        image = api_find_image(core, r->kind, key);
        if (!image) {
                not_found(out, r->kind, r->name);
                return;
        }
        out->code = 200;
        if (r->images)
                out->image = api_image_ref(image);
        else
                out->object = json_incref(api_hot_tree(core->hot, image));
}

static bool body_usable(const struct api_request *r, struct api_result *out)
{
        bool json_patch = r->verb == API_PATCH && r->patch_type == API_PATCH_JSON;

        if (json_patch ? json_is_array(r->body) : json_is_object(r->body))
                return true;
        api_fail_fmt(out, 400, "BadRequest", r->kind, r->name, "the body must be a JSON %s",
                     json_patch ? "array of operations" : "object");
        return false;
}

static bool subresource_served(const struct api_request *r, struct api_result *out)
{
        bool status = strcmp(r->subresource, "status") == 0 && r->kind->has_status && r->verb != API_CREATE &&
                      r->verb != API_DELETE;
        bool binding =
            strcmp(r->subresource, "binding") == 0 && r->kind == &api_kind_pod && r->verb == API_CREATE;
        bool eviction =
            strcmp(r->subresource, "eviction") == 0 && r->kind == &api_kind_pod && r->verb == API_CREATE;
        bool known = !*r->subresource || status || binding || eviction;

        if (!known)
                api_fail_fmt(out, 404, "NotFound", r->kind, r->name, "%s/%s is not served for this verb",
                             r->kind->plural, r->subresource);
        return known;
}

static void write_request(struct api_txn *t, const struct api_request *r)
{
        bool deletes = r->verb == API_DELETE || r->verb == API_DELETE_COLLECTION;

        if (deletes) {
                api_handle_delete(t, r);
        } else if (body_usable(r, t->out)) {
                if (r->verb == API_CREATE && strcmp(r->subresource, "eviction") == 0) {
                        if (same_place(r, r->body, t->out))
                                api_handle_eviction(t, r);
                } else if (r->verb == API_CREATE && *r->subresource) {
                        api_handle_binding(t, r);
                } else if (r->verb == API_CREATE) {
                        if (same_type(r, r->body, t->out) && same_place(r, r->body, t->out) &&
                            namespace_open(t, r))
                                create(t, r);
                } else {
                        update(t, r);
                }
        }
        if (t->out->code && t->out->code < 400) {
                api_collect_dependents(t);
                if (!r->dry_run) {
                        api_owners_remember(t);
                        api_nodes_heard(t->core, r);
                }
        }
        if (!t->out->code)
                api_fail(t->out, 500, "InternalError", r->kind, r->name, "out of memory");
        if (t->out->code >= 400 || r->dry_run)
                api_txn_rollback(t);
}

int api_core_handle(struct api_core *core, const struct api_request *request, struct api_result *out)
{
        struct api_txn t;

        *out = (struct api_result){0};
        if (!subresource_served(request, out))
                return 0;
        if (request->verb == API_GET) {
                get(core, request, out);
                api_hot_cool(core->hot);
                return 0;
        }
        if (request->verb == API_LIST) {
                api_handle_list(core, request, out);
                return 0;
        }
        api_txn_begin(&t, core, request->real_us, out);
        t.trace = request->dry_run ? NULL : request->traceparent;
        write_request(&t, request);
        api_txn_deinit(&t);
        api_hot_cool(core->hot);
        return out->object ? 0 : -ENOMEM;
}
