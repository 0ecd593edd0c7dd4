/* SPDX-License-Identifier: Apache-2.0 */
/* W3C Trace Context (https://www.w3.org/TR/trace-context/), level 1: the traceparent header. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define AK_TRACEPARENT_SIZE 56 /* "00-<32 hex>-<16 hex>-<2 hex>" and NUL */
#define AK_TRACE_ID_SIZE    33
#define AK_SPAN_ID_SIZE     17

struct ak_trace {
        char id[AK_TRACE_ID_SIZE];
        char parent[AK_SPAN_ID_SIZE];
        bool sampled;
};

/*
 * Lower-case hex, version not ff, neither ID all zero; of a later version what follows the flags is ignored,
 * as the specification wants it. -EINVAL otherwise, *out untouched.
 */
int ak_trace_parse(const char *traceparent, struct ak_trace *out);
void ak_trace_format(const struct ak_trace *trace, char out[AK_TRACEPARENT_SIZE]);
/* A new trace from 24 random bytes. */
void ak_trace_new(const uint8_t random[24], struct ak_trace *out);
/* ID of a span below `trace`: the same for the same arguments, another for others. */
void ak_trace_child(const struct ak_trace *trace, const char *name, const char *key, uint64_t start_us,
                    char out[AK_SPAN_ID_SIZE]);
