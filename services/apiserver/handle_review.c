/* SPDX-License-Identifier: Apache-2.0 */
/* What `kubectl auth can-i` and `kubectl auth whoami` ask. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "libcommon/clock.h"
#include "services/apiserver/handle_internal.h"
#include "services/apiserver/reviews.h"

static const char *text_at(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

static json_t *groups_of(const struct api_user *user)
{
        json_t *groups = json_array();

        for (const char *const *g = user->groups; g && *g; g++)
                (void)json_array_append_new(groups, json_string(*g));
        (void)json_array_append_new(groups, json_string(ACCESS_AUTHENTICATED));
        return groups;
}

static json_t *subject_status(const struct api_user *user)
{
        return json_pack("{s:{s:s, s:o}}", "userInfo", "username", user->name, "groups", groups_of(user));
}

/* Paths that are no resources are open to everybody who is known, for reading. */
static bool path_allowed(const struct api_user *user, const json_t *asked)
{
        return access_in_group(user, ACCESS_MASTERS) || strcmp(text_at(asked, "verb"), "get") == 0;
}

static json_t *access_status(const struct access *access, const struct api_user *user, const json_t *spec)
{
        const json_t *asked = json_object_get(spec, "resourceAttributes"),
                     *path = json_object_get(spec, "nonResourceAttributes");
        const struct access_question q = {text_at(asked, "verb"),      text_at(asked, "group"),
                                          text_at(asked, "resource"),  text_at(asked, "subresource"),
                                          text_at(asked, "namespace"), text_at(asked, "name")};
        bool yes = path ? path_allowed(user, path) : access_allowed(access, user, &q);

        return json_pack("{s:b, s:s*}", "allowed", yes, "reason",
                         yes ? NULL : "no role that allows this is granted");
}

static json_t *rules_status(const struct access *access, const struct api_user *user, const json_t *spec)
{
        return json_pack("{s:o, s:[{s:[s], s:[s]}], s:b}", "resourceRules",
                         access_rules(access, user, text_at(spec, "namespace")), "nonResourceRules", "verbs",
                         "get", "nonResourceURLs", "*", "incomplete", 0);
}

static json_t *status_of(struct api_call *call, const struct review *review, const json_t *spec)
{
        const struct access *access = auth_files_fresh(call->server->auth_files, ak_clock_monotonic_us());

        switch (review->type) {
        case REVIEW_SUBJECT:
                return subject_status(&call->user);
        case REVIEW_RULES:
                return rules_status(access, &call->user, spec);
        default:
                return access_status(access, &call->user, spec);
        }
}

static bool spec_usable(const struct review *review, const json_t *body)
{
        const json_t *spec = json_object_get(body, "spec");

        if (review->type == REVIEW_SUBJECT)
                return json_is_object(body);
        return json_is_object(spec) &&
               (review->type == REVIEW_RULES || json_is_object(json_object_get(spec, "resourceAttributes")) ||
                json_is_object(json_object_get(spec, "nonResourceAttributes")));
}

void handle_review(struct api_call *call)
{
        const struct review *review = call->rest.review;
        json_t *body = NULL, *answer, *spec;

        call->rest.api.verb = API_CREATE;
        if (handle_read_body(call, &body) < 0)
                return;
        if (review->type == REVIEW_JOIN) {
                handle_join(call, body);
                json_decref(body);
                return;
        }
        if (!spec_usable(review, body)) {
                json_decref(body);
                api_call_fail(call, 400, "BadRequest",
                              "the body must hold a spec: of an access review, with resourceAttributes or "
                              "nonResourceAttributes");
                return;
        }
        spec = json_object_get(body, "spec");
        answer =
            json_pack("{s:s, s:s, s:{s:n}, s:O*, s:o}", "kind", review->kind, "apiVersion", "", "metadata",
                      "creationTimestamp", "spec", spec, "status", status_of(call, review, spec));
        (void)json_object_set_new(answer, "apiVersion",
                                  json_sprintf("%s/%s", review->group, review->version));
        handle_set_json(call, 201, answer);
        json_decref(answer);
        json_decref(body);
}
