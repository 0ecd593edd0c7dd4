/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that answer requests share: handle.c, handle_review.c. */
#pragma once

#include "services/apiserver/server_internal.h"

void handle_set_json(struct api_call *call, int code, const json_t *json);
/* Parses what was sent; *body stays NULL where nothing was. Negative: the answer is set. */
int handle_read_body(struct api_call *call, json_t **body);
/* REST_REVIEW */
void handle_review(struct api_call *call);
/* REVIEW_JOIN, with its body */
void handle_join(struct api_call *call, const json_t *body);
/* The answer of the core, in the form that was asked for. */
void handle_set_objects(struct api_call *call, struct api_result *result, enum rest_form form);
