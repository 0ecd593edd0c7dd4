/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where images come from and where they are kept.
 *
 * An `image` is a URL (http or https), a URL without its scheme (https), or an absolute path below one of
 * the directories that the administrator allows. A mirror maps a URL's host to another base URL, or to a
 * directory. Local files are used where they lie; what is downloaded is kept below STATE/images:
 *
 *   sha256-<digest>.img     the content, never changed once there: overlays of VMs refer to it
 *   <sha256 of URL>.json    what the URL last gave: digest, format, size, ETag, Last-Modified
 *
 * Downloads go to a temporary file that is checked, synced and then renamed.
 */
#pragma once

#include <stdatomic.h>

#include "libcommon/options.h"
#include "services/hypervisor/types.h"

struct hv_image_store {
        const char *dir;           /* STATE/images; made by hv_image_store_init() */
        struct ak_strlist allowed; /* directories */
        struct ak_strlist mirrors; /* HOST=BASE */
        uint64_t max_bytes, max_virtual_bytes;

        /* What is kept of the downloads (image_cache.h). */
        const char *vms_dir;                        /* STATE/vms: what is in use; NULL = nothing */
        uint64_t cache_max_bytes, cache_max_age_us; /* 0 = no limit */
        uint64_t cache_keep_us;                     /* what was used that recently stays in any case */
};

/* Makes the directory and removes downloads that were cut short. Negative errno. */
int hv_image_store_init(const struct hv_image_store *store);
/* Checks "HOST=http(s)://…" or "HOST=/absolute/directory". -EINVAL. */
int hv_image_mirror_check(const char *mirror);

/* May be NULL. Called by the thread that fetches; percent 0 where the size is not known. */
typedef void (*hv_image_progress_fn)(void *arg, unsigned percent);

/*
 * Blocks until the image is there or cannot be had; in the latter case out->path is empty and reason and
 * message say why. id and pod_uid are copied from the request. *stop ends a download early.
 */
void hv_image_fetch(const struct hv_image_store *store, const struct hv_image_request *request,
                    hv_image_progress_fn progress, void *arg, const atomic_bool *stop,
                    struct hv_image_result *out);
