/* SPDX-License-Identifier: Apache-2.0 */
/* A traceparent as a client may send it, and a line of a log as alkaidctl trace reads it. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/trace.h"
#include "tools/alkaidctl/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_AUTOFREE char *text = malloc(size + 1);
        char again[AK_TRACEPARENT_SIZE], span[AK_SPAN_ID_SIZE];
        struct ak_trace trace, back;
        struct ctl_span line;

        if (!text)
                return 0;
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        if (ak_trace_parse(text, &trace) == 0) {
                ak_trace_format(&trace, again);
                check(ak_trace_parse(again, &back) == 0);
                check(strcmp(trace.id, back.id) == 0 && strcmp(trace.parent, back.parent) == 0);
                check(trace.sampled == back.sampled);
                ak_trace_child(&trace, "fuzz", again, size, span);
                check(strlen(span) == AK_SPAN_ID_SIZE - 1);
        }
        if (ctl_span_parse(text, &line) == 0)
                check(line.name[0] && strlen(line.trace) == 32 && line.start_us);
        return 0;
}
