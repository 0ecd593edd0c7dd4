/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed answers, for clients that ask for them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Below this an answer is sent as it is, as kube-apiserver does: on a fast network packing costs more than it
 * saves. */
#define GZIP_MIN_SIZE ((size_t)128 << 10)

/* Does an Accept-Encoding header (may be NULL) allow gzip? */
bool gzip_accepted(const char *header);
/* malloc'd; -ENOMEM. */
int gzip_pack(const char *text, size_t len, char **out, size_t *out_len);
