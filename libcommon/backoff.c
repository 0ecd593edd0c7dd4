/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/backoff.h"

/* splitmix64 (Steele, Lea, Flood 2014): a good 64-bit mix of a counter. */
static uint64_t mix(uint64_t x)
{
        x += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

/* min(base << n, cap), also where the shift would overflow. */
static uint64_t plain_delay(const struct ak_backoff *b, uint32_t n)
{
        if (n >= 63 || b->base_us > b->cap_us >> n)
                return b->cap_us;
        return b->base_us << n;
}

void ak_backoff_init(struct ak_backoff *b, uint64_t base_us, uint64_t cap_us, uint64_t seed)
{
        *b = (struct ak_backoff){.base_us = base_us, .cap_us = cap_us, .seed = seed};
}

uint64_t ak_backoff_next(struct ak_backoff *b)
{
        uint64_t delay = plain_delay(b, b->failures);
        uint64_t span = delay / 5; /* 20% either way */
        uint64_t jitter = mix(b->seed ^ mix(b->failures)) % (2 * span + 1);

        if (b->failures < UINT32_MAX)
                b->failures++;
        return delay - span + jitter;
}

void ak_backoff_reset(struct ak_backoff *b)
{
        b->failures = 0;
}
