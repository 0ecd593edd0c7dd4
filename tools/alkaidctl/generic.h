/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a message that we do not know (a sixth service's, a later version's), for people to look at. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Any msgpack value as JSON; NULL where it is none, ends too early or late, is deeper than 16, or memory is
 * out. What JSON has not becomes a string: binary data its length, a number past a JSON integer its digits, a
 * text that is no UTF-8 its length. Keys of maps that are no strings are left out.
 */
json_t *ctl_generic_json(const uint8_t *data, size_t len);
