/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: every request that writes, or attaches to a console, as one JSON line, refused ones
 * included. A line is written after the change is durable and before its answer leaves. The file is closed to
 * others and bounded: at `max_size` it becomes FILE.1 (an earlier FILE.1 goes) and a new one begins. A file
 * that cannot be written to is reported in the service's log; requests are answered all the same.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/rest.h"

#define AUDIT_ERROR_SIZE 512

struct api_audit;

/* 0 or negative errno; error names the file. */
int api_audit_new(struct api_audit **out, const char *path, uint64_t max_size, char error[AUDIT_ERROR_SIZE]);
struct api_audit *api_audit_free(struct api_audit *audit);

struct api_audit_entry {
        const struct rest_request *request;
        const struct api_user *user; /* name NULL = unknown */
        const char *from;            /* the client's address */
        const char *path;
        const char *name;    /* of the object, from its body where the path has none */
        const char *version; /* resourceVersion that it has now; "" = unknown */
        unsigned int code;
        uint64_t took_us, real_us;
};
/* Whether such a request is recorded. */
bool api_audit_wanted(const struct rest_request *request);
void api_audit_write(struct api_audit *audit, const struct api_audit_entry *entry);
