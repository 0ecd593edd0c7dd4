/* SPDX-License-Identifier: Apache-2.0 */
/* Deletion: preconditions, grace, finalizers; one object or a collection. */
#include <string.h>

#include "services/apiserver/core_internal.h"

static bool preconditions_hold(struct api_txn *t, const struct api_kind *kind, const json_t *object,
                               const json_t *options)
{
        const char *uid = api_text(options, "preconditions.uid");
        const char *version = api_text(options, "preconditions.resourceVersion");

        if ((!*uid || strcmp(uid, api_uid(object)) == 0) &&
            (!*version || strcmp(version, api_text(object, "metadata.resourceVersion")) == 0))
                return true;
        api_fail_fmt(
            t->out, 409, "Conflict", kind, api_name(object),
            "Operation cannot be fulfilled on %s \"%s\": the %s in the precondition (%.60s) does not match "
            "the %s in record (%.60s)",
            kind->plural, api_name(object), *uid ? "UID" : "ResourceVersion", *uid ? uid : version,
            *uid ? "UID" : "ResourceVersion",
            *uid ? api_uid(object) : api_text(object, "metadata.resourceVersion"));
        return false;
}

static bool same_finalizers(const json_t *a, const json_t *b)
{
        const json_t *of_a = api_at(a, "metadata.finalizers"), *of_b = api_at(b, "metadata.finalizers");

        return json_array_size(of_a) == 0 ? json_array_size(of_b) == 0 : json_equal(of_a, of_b);
}

/* Finalizers hold the object: it stays, marked, until the last is taken away. */
static void keep_for_finalizers(struct api_txn *t, const struct api_kind *kind, const json_t *object,
                                json_t *marked)
{
        json_t *copy;

        if (api_is_deleting(object) && same_finalizers(object, marked) &&
            json_integer_value(api_at(object, "metadata.deletionGracePeriodSeconds")) == 0)
                return;
        copy = api_copy(marked);
        (void)api_set(copy, "metadata.deletionTimestamp", api_time(t->real_us));
        (void)api_set(copy, "metadata.deletionGracePeriodSeconds", json_integer(0));
        (void)api_txn_put(t, kind, copy);
}

/* The kind's rules keep it for now, and had no reason to write what this deletion changes of the finalizers.
 */
static void mark_kept(struct api_txn *t, const struct api_kind *kind, const json_t *marked)
{
        const json_t *now = api_find(t->core, kind, api_namespace(marked), api_name(marked));
        json_t *finalizers = api_at(marked, "metadata.finalizers"), *copy;

        if (!now || same_finalizers(now, marked))
                return;
        copy = api_copy(now);
        if (finalizers)
                (void)api_set(copy, "metadata.finalizers", api_copy(finalizers));
        else
                (void)json_object_del(json_object_get(copy, "metadata"), "finalizers");
        (void)api_txn_put(t, kind, copy);
}

static void delete_or_keep(struct api_txn *t, const struct api_kind *kind, const json_t *object,
                           json_t *marked, bool finally)
{
        if (!finally)
                mark_kept(t, kind, marked);
        else if (json_array_size(api_at(marked, "metadata.finalizers")) > 0)
                keep_for_finalizers(t, kind, object, marked);
        else if (api_txn_delete(t, kind, marked) == 0)
                api_owner_gone(t, marked, false);
}

void api_delete_object(struct api_txn *t, const struct api_kind *kind, json_t *object, const json_t *options)
{
        enum api_policy policy = api_policy_of(object, options);
        const struct api_rules *rules = api_rules_of(kind);
        json_t *now, *marked = api_policy_mark(t->core, object, policy);
        bool finally = true;

        json_incref(object);
        if (rules->remove)
                rules->remove(t, marked, options, &finally);
        if (!t->out->code) {
                if (policy == API_POLICY_ORPHAN)
                        api_owner_gone(t, object, true);
                delete_or_keep(t, kind, object, marked, finally);
        }
        if (!t->out->code) {
                now = api_find(t->core, kind, api_namespace(object), api_name(object));
                t->out->code = 200;
                t->out->object = json_incref(now ? now : object);
        }
        json_decref(marked);
        json_decref(object);
}

static void delete_one(struct api_txn *t, const struct api_request *r)
{
        json_t *object = api_find(t->core, r->kind, r->name_space, r->name);

        if (!object) {
                api_fail_fmt(t->out, 404, "NotFound", r->kind, r->name, "%s%s%s \"%s\" not found",
                             r->kind->plural, *r->kind->group ? "." : "", r->kind->group, r->name);
                return;
        }
        if (preconditions_hold(t, r->kind, object, r->body))
                api_delete_object(t, r->kind, object, r->body);
}

/* All or nothing: the first refusal refuses the collection. */
static void delete_collection(struct api_txn *t, const struct api_request *r)
{
        struct api_result listed = {0};
        struct api_request list = *r;
        json_t *item, *items;
        size_t i;

        list.images = false;
        api_handle_list(t->core, &list, &listed);
        if (listed.code >= 400) {
                t->out->code = listed.code;
                t->out->object = json_incref(listed.object);
                api_result_deinit(&listed);
                return;
        }
        items = json_object_get(listed.object, "items");
        json_array_foreach(items, i, item)
        {
                json_t *object = api_find(t->core, r->kind, api_namespace(item), api_name(item));

                if (!object)
                        continue;
                api_delete_object(t, r->kind, object, r->body);
                if (t->out->code >= 400)
                        break;
                json_decref(t->out->object);
                t->out->object = NULL;
                t->out->code = 0;
        }
        if (!t->out->code) {
                t->out->code = 200;
                t->out->object = json_incref(listed.object);
        }
        api_result_deinit(&listed);
}

static bool is_policy(const char *policy)
{
        static const char *const known[] = {"Foreground", "Background", "Orphan"};
        bool good = !*policy;

        for (size_t i = 0; i < AK_ARRAY_SIZE(known) && !good; i++)
                good = strcmp(policy, known[i]) == 0;
        return good;
}

/* What becomes of the dependents: in the words and with the code of kube. */
static bool policy_usable(struct api_txn *t, const struct api_request *r)
{
        static const struct api_kind options = {
            .group = "meta.k8s.io", .kind = "DeleteOptions", .plural = "deleteoptions"};
        const json_t *policy = json_object_get(r->body, "propagationPolicy");
        struct api_causes causes = {0};
        bool good;

        if (!is_policy(api_text(r->body, "propagationPolicy")))
                api_cause(&causes, API_NOT_SUPPORTED, "propagationPolicy", policy,
                          "supported values: \"Background\", \"Foreground\", \"Orphan\"");
        else if (json_is_string(policy) && json_is_boolean(json_object_get(r->body, "orphanDependents")))
                api_cause(&causes, API_INVALID, "propagationPolicy", policy,
                          "orphanDependents and propagationPolicy cannot both be set");
        good = !api_causes_any(&causes);
        if (!good) {
                t->out->code = 422;
                t->out->object = api_status_invalid(&options, "", &causes);
        }
        api_causes_deinit(&causes);
        return good;
}

static bool is_text_or_null(const json_t *value)
{
        return !value || json_is_null(value) || json_is_string(value);
}

static bool is_bool_or_null(const json_t *value)
{
        return !value || json_is_null(value) || json_is_boolean(value);
}

/* The body of a DELETE, where there is one: DeleteOptions, of which these fields are looked at. */
static bool options_usable(struct api_txn *t, const struct api_request *r)
{
        const json_t *grace = json_object_get(r->body, "gracePeriodSeconds");
        const json_t *preconditions = json_object_get(r->body, "preconditions");
        const char *kind = api_text(r->body, "kind"), *wrong = NULL;

        if (!r->body || json_is_null(r->body))
                return true;
        if (!json_is_object(r->body) || (*kind && strcmp(kind, "DeleteOptions") != 0))
                wrong = "the body must be a DeleteOptions object";
        else if (grace && !json_is_null(grace) &&
                 (!json_is_integer(grace) || json_integer_value(grace) < 0 ||
                  json_integer_value(grace) > API_GRACE_MAX_S))
                wrong = "gracePeriodSeconds: Invalid value: must be an integer between 0 and 86400";
        else if (preconditions && !json_is_null(preconditions) && !json_is_object(preconditions))
                wrong = "preconditions: Invalid value: must be of type object";
        else if (!is_text_or_null(json_object_get(r->body, "propagationPolicy")))
                wrong = "propagationPolicy: Invalid value: must be of type string";
        else if (!is_bool_or_null(json_object_get(r->body, "orphanDependents")))
                wrong = "orphanDependents: Invalid value: must be of type boolean";
        if (wrong)
                api_fail(t->out, 400, "BadRequest", r->kind, r->name, wrong);
        return !wrong && policy_usable(t, r);
}

static bool is_eviction(const json_t *body)
{
        const char *kind = api_text(body, "kind"), *version = api_text(body, "apiVersion");

        return (!*kind || strcmp(kind, "Eviction") == 0) &&
               (!*version || strcmp(version, "policy/v1") == 0 || strcmp(version, "policy/v1beta1") == 0);
}

/* There are no budgets that could forbid it: the client decides, and kubectl asks for --force. */
void api_handle_eviction(struct api_txn *t, const struct api_request *r)
{
        struct api_request deletion = *r;

        if (!is_eviction(r->body)) {
                api_fail(t->out, 400, "BadRequest", r->kind, r->name,
                         "the body must be a policy/v1 Eviction");
                return;
        }
        deletion.verb = API_DELETE;
        deletion.subresource = "";
        deletion.body = json_object_get(r->body, "deleteOptions");
        api_handle_delete(t, &deletion);
        if (t->out->code != 200)
                return;
        json_decref(t->out->object);
        t->out->code = 201;
        t->out->object = json_pack("{s:s, s:s, s:{}, s:s, s:i}", "kind", "Status", "apiVersion", "v1",
                                   "metadata", "status", "Success", "code", 201);
}

void api_handle_delete(struct api_txn *t, const struct api_request *r)
{
        if (!options_usable(t, r))
                return;
        if (r->verb == API_DELETE)
                delete_one(t, r);
        else
                delete_collection(t, r);
}
