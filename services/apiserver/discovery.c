/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery: which groups, versions and resources are served, in the plain form that every client reads
 * and in the aggregated one (apidiscovery.k8s.io) that spares a client one request per group version.
 */
#include <string.h>

#include "services/apiserver/openapi.h"
#include "services/apiserver/openapi_internal.h"
#include "services/apiserver/reviews.h"

static const char *const object_verbs[] = {
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", NULL};
static const char *const status_verbs[] = {"get", "patch", "update", NULL};

/* Is table entry i the first one of its group (of its group and version)? */
static bool first_of_group(size_t i, bool and_version)
{
        for (size_t j = 0; j < i; j++)
                if (strcmp(api_kinds[i]->group, api_kinds[j]->group) == 0 &&
                    (!and_version || strcmp(api_kinds[i]->version, api_kinds[j]->version) == 0))
                        return false;
        return true;
}

/* ------------------------------------------------------------------ reviews: a group of their own each */

static const char *const review_verbs[] = {"create", NULL};

static bool first_review_of_group(size_t i)
{
        for (size_t j = 0; j < i; j++)
                if (strcmp(reviews[i].group, reviews[j].group) == 0)
                        return false;
        return true;
}

static json_t *review_group_entry(const struct review *r)
{
        json_t *version = oa_check(json_pack(
            "{s:o, s:s}", "groupVersion", oa_format("%s/%s", r->group, r->version), "version", r->version));

        return oa_check(json_pack("{s:s, s:[O], s:o}", "name", r->group, "versions", version,
                                  "preferredVersion", version));
}

static void add_review_resources(json_t *list, const char *group, const char *version)
{
        for (size_t i = 0; i < review_count; i++)
                if (strcmp(reviews[i].group, group) == 0 && strcmp(reviews[i].version, version) == 0)
                        oa_push(list, oa_check(json_pack(
                                          "{s:s, s:s, s:b, s:s, s:o}", "name", reviews[i].plural,
                                          "singularName", reviews[i].singular, "namespaced", 0, "kind",
                                          reviews[i].kind, "verbs", oa_strings(review_verbs))));
}

static json_t *aggregated_review(const struct review *r)
{
        return oa_check(json_pack("{s:s, s:o, s:s, s:s, s:o}", "resource", r->plural, "responseKind",
                                  oa_gvk(r->group, r->version, r->kind), "scope", "Cluster",
                                  "singularResource", r->singular, "verbs", oa_strings(review_verbs)));
}

static json_t *aggregated_review_group(const struct review *first)
{
        json_t *resources = oa_check(json_array());

        for (size_t i = 0; i < review_count; i++)
                if (strcmp(reviews[i].group, first->group) == 0)
                        oa_push(resources, aggregated_review(&reviews[i]));
        return oa_check(json_pack("{s:{s:s, s:n}, s:[{s:s, s:o, s:s}]}", "metadata", "name", first->group,
                                  "creationTimestamp", "versions", "version", first->version, "resources",
                                  resources, "freshness", "Current"));
}

/* ------------------------------------------------------------------ plain */

json_t *api_discovery_versions(void)
{
        json_t *versions = oa_check(json_array());

        for (size_t i = 0; i < api_kind_count; i++)
                if (!*api_kinds[i]->group && first_of_group(i, true))
                        oa_push(versions, json_string(api_kinds[i]->version));
        return oa_check(json_pack("{s:s, s:o, s:[]}", "kind", "APIVersions", "versions", versions,
                                  "serverAddressByClientCIDRs"));
}

static json_t *group_version(const struct api_kind *kind)
{
        return oa_check(json_pack("{s:o, s:s}", "groupVersion",
                                  oa_format("%s/%s", kind->group, kind->version), "version", kind->version));
}

/* The APIGroup without kind and apiVersion; the first version of the table is the preferred one. */
static json_t *group_entry(const char *group)
{
        json_t *versions = oa_check(json_array());

        for (size_t i = 0; i < api_kind_count; i++)
                if (strcmp(api_kinds[i]->group, group) == 0 && first_of_group(i, true))
                        oa_push(versions, group_version(api_kinds[i]));
        json_t *preferred = oa_check(json_copy(json_array_get(versions, 0)));
        return oa_check(
            json_pack("{s:s, s:o, s:o}", "name", group, "versions", versions, "preferredVersion", preferred));
}

json_t *api_discovery_groups(void)
{
        json_t *groups = oa_check(json_array());

        for (size_t i = 0; i < api_kind_count; i++)
                if (*api_kinds[i]->group && first_of_group(i, false))
                        oa_push(groups, group_entry(api_kinds[i]->group));
        for (size_t i = 0; i < review_count; i++)
                if (first_review_of_group(i))
                        oa_push(groups, review_group_entry(&reviews[i]));
        return oa_check(
            json_pack("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", groups));
}

static bool group_served(const char *group)
{
        for (size_t i = 0; i < api_kind_count; i++)
                if (strcmp(api_kinds[i]->group, group) == 0)
                        return true;
        return false;
}

static json_t *find_group(const char *group)
{
        if (group_served(group))
                return group_entry(group);
        for (size_t i = 0; i < review_count; i++)
                if (strcmp(reviews[i].group, group) == 0)
                        return review_group_entry(&reviews[i]);
        return NULL;
}

json_t *api_discovery_group(const char *group)
{
        json_t *out = *group ? find_group(group) : NULL;

        if (!out)
                return NULL;
        oa_set(out, "kind", json_string("APIGroup"));
        oa_set(out, "apiVersion", json_string("v1"));
        return out;
}

static json_t *resource(const struct api_kind *kind, json_t *name, const char *answers,
                        const char *const *verbs)
{
        return oa_check(json_pack("{s:o, s:s, s:b, s:s, s:o}", "name", name, "singularName", "", "namespaced",
                                  kind->namespaced, "kind", answers, "verbs", oa_strings(verbs)));
}

static void add_resources(json_t *list, const struct api_kind *kind)
{
        json_t *own = resource(kind, oa_format("%s", kind->plural), kind->kind, object_verbs);

        oa_set(own, "singularName", json_string(kind->singular));
        if (kind->short_names)
                oa_set(own, "shortNames", oa_strings(kind->short_names));
        if (kind->categories)
                oa_set(own, "categories", oa_strings(kind->categories));
        oa_push(list, own);
        if (kind->has_status)
                oa_push(list, resource(kind, oa_format("%s/status", kind->plural), kind->kind, status_verbs));
        for (const char *const *s = kind->subresources; s && *s; s++) {
                const struct oa_subresource *sub = oa_subresource_find(*s);
                json_t *entry = resource(kind, oa_format("%s/%s", kind->plural, *s),
                                         sub->kind ? sub->kind : kind->kind, sub->verbs);

                /* kubectl drain looks here for how to evict. */
                if (sub->group) {
                        oa_set(entry, "group", json_string(sub->group));
                        oa_set(entry, "version", json_string(sub->version));
                }
                oa_push(list, entry);
        }
}

json_t *api_discovery_resources(const char *group, const char *version)
{
        json_t *resources = oa_check(json_array());

        for (size_t i = 0; i < api_kind_count; i++)
                if (strcmp(api_kinds[i]->group, group) == 0 && strcmp(api_kinds[i]->version, version) == 0)
                        add_resources(resources, api_kinds[i]);
        add_review_resources(resources, group, version);
        if (json_array_size(resources) == 0) {
                json_decref(resources);
                return NULL;
        }
        return oa_check(json_pack("{s:s, s:s, s:o, s:o}", "kind", "APIResourceList", "apiVersion", "v1",
                                  "groupVersion", oa_format(*group ? "%s/%s" : "%s%s", group, version),
                                  "resources", resources));
}

/* ------------------------------------------------------------------ aggregated */

static json_t *subresource(const char *name, json_t *answers, const char *const *verbs)
{
        return oa_check(json_pack("{s:s, s:o, s:o}", "subresource", name, "responseKind", answers, "verbs",
                                  oa_strings(verbs)));
}

static json_t *aggregated_subresources(const struct api_kind *kind)
{
        json_t *out = oa_check(json_array());

        if (kind->has_status)
                oa_push(out,
                        subresource("status", oa_gvk(kind->group, kind->version, kind->kind), status_verbs));
        for (const char *const *s = kind->subresources; s && *s; s++) {
                const struct oa_subresource *sub = oa_subresource_find(*s);
                json_t *answers =
                    oa_gvk(sub->group ? sub->group : kind->group, sub->version ? sub->version : kind->version,
                           sub->kind ? sub->kind : kind->kind);
                oa_push(out, subresource(*s, answers, sub->verbs));
        }
        return out;
}

static json_t *aggregated_resource(const struct api_kind *kind)
{
        json_t *out =
            oa_check(json_pack("{s:s, s:o, s:s, s:s, s:o}", "resource", kind->plural, "responseKind",
                               oa_gvk(kind->group, kind->version, kind->kind), "scope",
                               kind->namespaced ? "Namespaced" : "Cluster", "singularResource",
                               kind->singular, "verbs", oa_strings(object_verbs)));

        if (kind->short_names)
                oa_set(out, "shortNames", oa_strings(kind->short_names));
        if (kind->categories)
                oa_set(out, "categories", oa_strings(kind->categories));
        json_t *subs = aggregated_subresources(kind);
        if (json_array_size(subs) > 0)
                oa_set(out, "subresources", json_incref(subs));
        json_decref(subs);
        return out;
}

static json_t *aggregated_version(const struct api_kind *first)
{
        json_t *resources = oa_check(json_array());

        for (size_t i = 0; i < api_kind_count; i++)
                if (strcmp(api_kinds[i]->group, first->group) == 0 &&
                    strcmp(api_kinds[i]->version, first->version) == 0)
                        oa_push(resources, aggregated_resource(api_kinds[i]));
        return oa_check(json_pack("{s:s, s:o, s:s}", "version", first->version, "resources", resources,
                                  "freshness", "Current"));
}

static json_t *aggregated_group(const char *group)
{
        json_t *versions = oa_check(json_array());
        json_t *metadata = oa_check(json_pack("{s:n}", "creationTimestamp"));

        if (*group)
                oa_set(metadata, "name", json_string(group));
        for (size_t i = 0; i < api_kind_count; i++)
                if (strcmp(api_kinds[i]->group, group) == 0 && first_of_group(i, true))
                        oa_push(versions, aggregated_version(api_kinds[i]));
        return oa_check(json_pack("{s:o, s:o}", "metadata", metadata, "versions", versions));
}

json_t *api_discovery_aggregated(int core, const char *version)
{
        json_t *items = oa_check(json_array());

        for (size_t i = 0; i < api_kind_count; i++)
                if (!*api_kinds[i]->group == !!core && first_of_group(i, false))
                        oa_push(items, aggregated_group(api_kinds[i]->group));
        for (size_t i = 0; !core && i < review_count; i++)
                if (first_review_of_group(i))
                        oa_push(items, aggregated_review_group(&reviews[i]));
        return oa_check(json_pack("{s:s, s:o, s:{}, s:o}", "kind", "APIGroupDiscoveryList", "apiVersion",
                                  oa_format("apidiscovery.k8s.io/%s", version), "metadata", "items", items));
}
