/* SPDX-License-Identifier: Apache-2.0 */
/* What `alkaidctl token` and `alkaidctl node` share. */
#pragma once

#include <stdint.h>

#define CTL_TOKEN_SIZE 65
/* A bearer token of the user, good for so many days; its hash goes into PKI-DIR/tokens. groups: "a,b", "-" =
 * none. An exit code; what failed has been said. */
int ctl_token_new(const char *pki_dir, const char *user, const char *groups, uint64_t days,
                  char token[CTL_TOKEN_SIZE]);
