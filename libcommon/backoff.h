/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exponential back-off with jitter, pure: no clock, no global randomness.
 *
 * Delay n (n from 0) is min(base << n, cap) with +-20% jitter drawn from (seed, n), so that one seed gives
 * one sequence. Kubernetes uses the same shape for containers; 1 s doubling to 5 min is ours (design,
 * life of a NIC).
 */
#pragma once

#include <stdint.h>

struct ak_backoff {
        uint64_t base_us;
        uint64_t cap_us;
        uint64_t seed;
        uint32_t failures; /* consecutive; 0 = none pending */
};

#define AK_BACKOFF_BASE_US (UINT64_C(1) * 1000 * 1000)
#define AK_BACKOFF_CAP_US  (UINT64_C(300) * 1000 * 1000)

void ak_backoff_init(struct ak_backoff *b, uint64_t base_us, uint64_t cap_us, uint64_t seed);
/* Counts one more failure and returns how long to wait before the next try, in microseconds. */
uint64_t ak_backoff_next(struct ak_backoff *b);
void ak_backoff_reset(struct ak_backoff *b);
