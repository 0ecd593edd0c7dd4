/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One NIC's way as the services' logs tell it: the lines `event=span` (libcommon/telemetry.h), and the
 * drawing of a waterfall from them. Pure, but for the stream that is written to.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "libcommon/cleanup.h"

struct ctl_span {
        char name[24], service[24];
        char trace[33], span[17], parent[17];
        char pod[64], nic[16], port[64];
        char outcome[64];
        uint64_t start_us, took_us;
};

struct ctl_spans {
        struct ctl_span *items;
        size_t count, capacity;
};

#define CTL_SPANS_MAX 200000

/* A line of a log, in the form that libcommon/log.h has; -ENOENT: it tells no span; -EBADMSG: a broken one.
 */
int ctl_span_parse(const char *line, struct ctl_span *out);
/* Appends; 0, -ENOMEM, -ENOSPC. */
int ctl_spans_add(struct ctl_spans *spans, const struct ctl_span *span);
void ctl_spans_deinit(struct ctl_spans *spans);

/*
 * Of all spans of a pod, those of one change of one NIC in the order of their start: of `trace` (an ID), or
 * of the NIC's last one where it is NULL. What lies between the write and the first wish becomes a row
 * "watch". Of the pod's status writes the one that told the outcome is taken. -ENOENT: nothing is told of
 * that NIC.
 */
int ctl_spans_of_nic(const struct ctl_spans *all, const char *pod, const char *nic, const char *trace,
                     struct ctl_spans *out);
/* `width` columns, at least 60. */
void ctl_spans_draw(const struct ctl_spans *spans, unsigned width, FILE *out);
/* A JSON object a line. 0 or -ENOMEM. */
int ctl_spans_dump(const struct ctl_spans *spans, FILE *out);
