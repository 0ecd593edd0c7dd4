/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the image cache is thrown away: downloads that no VM's disk is made over, once they were of no use
 * for `cache_max_age_us`, or, the longest unused first, while all together are larger than `cache_max_bytes`.
 *
 * In use is what a link STATE/vms/<pod uid>/base.* names (disk.h); it is never removed, whatever the limits.
 * The time of a file's last change is the time of its last use: a fetch that finds it there sets it, and so
 * does each look that finds it in use. Between a fetch and the link there is a start under way: what was used
 * within `cache_keep_us` stays as well.
 */
#pragma once

#include "services/hypervisor/image_store.h"

struct hv_image_usage {
        uint64_t bytes, in_use_bytes; /* that are left */
        uint64_t images, removed;
};

/*
 * One look, and what follows from it. Negative errno: a directory could not be read, and nothing was removed.
 * `now_s` is the wall clock's time, that of files.
 */
int hv_image_collect(const struct hv_image_store *store, int64_t now_s, struct hv_image_usage *out);
