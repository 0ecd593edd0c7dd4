/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the character that `text` begins with, or 0 where it is malformed or cut off; len > 0. */
size_t ak_utf8_decode(const char *text, size_t len, uint32_t *codepoint);
/* Well-formed and without NUL? */
bool ak_utf8_valid(const char *text, size_t len);
