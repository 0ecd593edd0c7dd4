/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEX "0123456789abcdef"

/* `len` hex digits that are not all 0. */
static bool id_valid(const char *text, size_t len)
{
        return strspn(text, HEX) >= len && strspn(text, "0") < len;
}

static void copy(char *out, const char *text, size_t len)
{
        memcpy(out, text, len);
        out[len] = '\0';
}

int ak_trace_parse(const char *t, struct ak_trace *out)
{
        size_t len = strlen(t);

        if (len < AK_TRACEPARENT_SIZE - 1 || t[2] != '-' || t[35] != '-' || t[52] != '-')
                return -EINVAL;
        if (strspn(t, HEX) != 2 || strncmp(t, "ff", 2) == 0 || strspn(t + 53, HEX) < 2)
                return -EINVAL;
        if (!id_valid(t + 3, 32) || !id_valid(t + 36, 16))
                return -EINVAL;
        if (len > AK_TRACEPARENT_SIZE - 1 && (strncmp(t, "00", 2) == 0 || t[55] != '-'))
                return -EINVAL;
        copy(out->id, t + 3, 32);
        copy(out->parent, t + 36, 16);
        out->sampled = strchr("13579bdf", t[54]) != NULL;
        return 0;
}

void ak_trace_format(const struct ak_trace *trace, char out[AK_TRACEPARENT_SIZE])
{
        (void)snprintf(out, AK_TRACEPARENT_SIZE, "00-%s-%s-%s", trace->id, trace->parent,
                       trace->sampled ? "01" : "00");
}

static void hex(char *out, const uint8_t *bytes, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                out[2 * i] = HEX[bytes[i] >> 4];
                out[2 * i + 1] = HEX[bytes[i] & 15];
        }
        out[2 * count] = '\0';
}

void ak_trace_new(const uint8_t random[24], struct ak_trace *out)
{
        hex(out->id, random, 16);
        hex(out->parent, random + 16, 8);
        if (!id_valid(out->id, 32))
                out->id[31] = '1';
        if (!id_valid(out->parent, 16))
                out->parent[15] = '1';
        out->sampled = true;
}

/* FNV-1a, then the finisher of splitmix64, since IDs of neighbours should not look alike. */
static uint64_t mix(uint64_t hash, const char *text)
{
        for (; *text; text++)
                hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
        return hash;
}

void ak_trace_child(const struct ak_trace *trace, const char *name, const char *key, uint64_t start_us,
                    char out[AK_SPAN_ID_SIZE])
{
        uint64_t x = mix(mix(mix(UINT64_C(14695981039346656037), trace->id), name), key) ^ start_us;

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        x ^= x >> 31;
        (void)snprintf(out, AK_SPAN_ID_SIZE, "%016" PRIx64, x ? x : 1);
}
