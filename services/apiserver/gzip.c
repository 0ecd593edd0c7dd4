/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/gzip.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define GZIP_WRAPPER 16 /* added to the window's bits: a gzip header instead of zlib's */

/* "gzip", "gzip;q=0.5", but not "gzip;q=0" or "x-gzip". */
static bool clause_allows(const char *clause, size_t len)
{
        const char *q;

        while (len && (*clause == ' ' || *clause == '\t')) {
                clause++;
                len--;
        }
        if (len < 4 || strncasecmp(clause, "gzip", 4) != 0)
                return false;
        if (len == 4)
                return true;
        if (!strchr("; \t", clause[4]))
                return false;
        q = memmem(clause, len, "q=", 2);
        return !q || strtod(q + 2, NULL) > 0;
}

bool gzip_accepted(const char *header)
{
        for (const char *at = header; at && *at;) {
                size_t len = strcspn(at, ",");

                if (clause_allows(at, len))
                        return true;
                at += len;
                at += *at == ',';
        }
        return false;
}

int gzip_pack(const char *text, size_t len, char **out, size_t *out_len)
{
        z_stream z = {.next_in = (Bytef *)(uintptr_t)text, .avail_in = (uInt)len};
        char *packed;
        uLong bound;
        int rc;

        if (len > UINT32_MAX || deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + GZIP_WRAPPER, 8,
                                             Z_DEFAULT_STRATEGY) != Z_OK)
                return -ENOMEM;
        bound = deflateBound(&z, (uLong)len);
        packed = malloc(bound);
        z.next_out = (Bytef *)packed;
        z.avail_out = (uInt)bound;
        rc = packed ? deflate(&z, Z_FINISH) : Z_MEM_ERROR;
        *out_len = z.total_out;
        (void)deflateEnd(&z);
        if (rc != Z_STREAM_END) {
                free(packed);
                return -ENOMEM;
        }
        *out = packed;
        return 0;
}
