/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about oneself that are asked by a POST and stored nowhere, and the wish of a machine to be a
 * node: what discovery, routing and answers share. */
#pragma once

#include <stddef.h>

enum review_type { REVIEW_ACCESS, REVIEW_RULES, REVIEW_SUBJECT, REVIEW_JOIN };

struct review {
        enum review_type type;
        const char *group, *version, *kind, *plural, *singular;
};

extern const struct review reviews[];
extern const size_t review_count;
/* NULL when not served. */
const struct review *review_find(const char *group, const char *version, const char *plural);
