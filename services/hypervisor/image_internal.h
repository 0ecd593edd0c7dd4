/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by image_store.c and image_download.c alone. */
#pragma once

#include <stdarg.h>

#include "services/hypervisor/image_store.h"

#define HV_DIGEST_SIZE       65
#define HV_CONTENT_NAME_SIZE (sizeof("sha256-.img") + 64)

struct hv_image_progress {
        hv_image_progress_fn fn;
        void *arg;
        const atomic_bool *stop;
};

void hv_image_fault(struct hv_image_result *out, const char *reason, const char *format, ...) AK_PRINTF(3, 4);
/* Is it the name of a download, sha256-<digest>.img? */
bool hv_image_is_content(const char *name);
/* Removes what is known of URLs whose content is no longer there. */
void hv_image_forget_missing(const struct hv_image_store *store);
void hv_image_hex(const uint8_t raw[32], char out[HV_DIGEST_SIZE]);
int hv_image_digest(int fd, char out[HV_DIGEST_SIZE]);
/* Size, format, virtual size; sets out->format. Negative errno with the fault set. */
int hv_image_check_fd(const struct hv_image_store *store, int fd, struct hv_image_result *out);
/* `url` names the image, `from` is where to get it. */
void hv_image_download(const struct hv_image_store *store, const struct hv_image_request *request,
                       const char *url, const char *from, const struct hv_image_progress *progress,
                       struct hv_image_result *out);
