/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/reviews.h"

#include <string.h>

const struct review reviews[] = {
    {REVIEW_SUBJECT, "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews",
     "selfsubjectreview"},
    {REVIEW_ACCESS, "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
     "selfsubjectaccessreview"},
    {REVIEW_RULES, "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews",
     "selfsubjectrulesreview"},
    {REVIEW_JOIN, "node.alkaid.io", "v1", "NodeJoin", "nodejoins", "nodejoin"},
};
const size_t review_count = sizeof(reviews) / sizeof(reviews[0]);

const struct review *review_find(const char *group, const char *version, const char *plural)
{
        for (size_t i = 0; i < review_count; i++) {
                if (strcmp(reviews[i].group, group) == 0 && strcmp(reviews[i].version, version) == 0 &&
                    strcmp(reviews[i].plural, plural) == 0)
                        return &reviews[i];
        }
        return NULL;
}
