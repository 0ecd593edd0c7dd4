/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/image_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/log.h"
#include "services/hypervisor/image_internal.h"

#define MAX_IMAGES 65536

struct image {
        char name[HV_CONTENT_NAME_SIZE];
        uint64_t bytes;
        int64_t used_s;
        bool in_use, gone;
};

struct cache {
        const struct hv_image_store *store;
        int64_t now_s;
        int dir;
        struct image *images; /* by name; later by the time of their last use */
        size_t count, capacity;
};

static void cache_deinit(struct cache *cache)
{
        if (cache->dir >= 0)
                (void)close(cache->dir);
        free(cache->images);
}

static void dir_freep(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir);
}

/* ------------------------------------------------------------------ what there is */

static int add(struct cache *cache, const char *name)
{
        struct image *image;
        struct stat st;

        if (fstatat(cache->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return 0;
        if (cache->count == cache->capacity) {
                size_t capacity = cache->capacity ? 2 * cache->capacity : 64;
                struct image *images =
                    capacity <= MAX_IMAGES ? reallocarray(cache->images, capacity, sizeof(*images)) : NULL;

                if (!images)
                        return -ENOMEM;
                cache->images = images;
                cache->capacity = capacity;
        }
        image = &cache->images[cache->count++];
        *image = (struct image){.bytes = (uint64_t)st.st_size, .used_s = st.st_mtim.tv_sec};
        (void)snprintf(image->name, sizeof(image->name), "%s", name);
        return 0;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct image *)a)->name, ((const struct image *)b)->name);
}

static int by_use(const void *a, const void *b)
{
        const struct image *x = a, *y = b;

        return (x->used_s > y->used_s) - (x->used_s < y->used_s);
}

static int list_images(struct cache *cache)
{
        AK_CLEANUP(dir_freep) DIR *dir = opendir(cache->store->dir);
        const struct dirent *entry;
        int r = 0;

        if (!dir)
                return -errno;
        cache->dir = dup(dirfd(dir));
        if (cache->dir < 0)
                return -errno;
        while (r == 0 && (entry = readdir(dir))) {
                if (hv_image_is_content(entry->d_name))
                        r = add(cache, entry->d_name);
        }
        if (cache->count)
                qsort(cache->images, cache->count, sizeof(*cache->images), by_name);
        return r;
}

/* ------------------------------------------------------------------ what is in use */

static void mark(struct cache *cache, int vms, const char *uid, const char *link)
{
        char path[NAME_MAX + 32], target[PATH_MAX];
        struct image key = {0}, *image;
        const char *name;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "%s/%s", uid, link);
        n = readlinkat(vms, path, target, sizeof(target) - 1);
        if (n < 0)
                return;
        target[n] = '\0';
        name = strrchr(target, '/');
        (void)snprintf(key.name, sizeof(key.name), "%s", name ? name + 1 : target);
        image = cache->count ? bsearch(&key, cache->images, cache->count, sizeof(key), by_name) : NULL;
        if (!image || image->in_use)
                return;
        image->in_use = true;
        (void)utimensat(cache->dir, image->name, NULL, 0);
}

static int mark_used(struct cache *cache)
{
        AK_CLEANUP(dir_freep) DIR *dir = cache->store->vms_dir ? opendir(cache->store->vms_dir) : NULL;
        const struct dirent *entry;

        if (!cache->store->vms_dir)
                return 0;
        if (!dir)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = readdir(dir))) {
                mark(cache, dirfd(dir), entry->d_name, "base.qcow2");
                mark(cache, dirfd(dir), entry->d_name, "base.raw");
        }
        return 0;
}

/* ------------------------------------------------------------------ what goes */

static bool idle(const struct cache *cache, const struct image *image, uint64_t for_us)
{
        return image->used_s < cache->now_s && (uint64_t)(cache->now_s - image->used_s) * 1000000 >= for_us;
}

/* Looks once more: it may have been fetched meanwhile. */
static void throw_away(struct cache *cache, struct image *image, const char *why)
{
        struct stat st;

        if (fstatat(cache->dir, image->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            st.st_mtim.tv_sec != image->used_s)
                return;
        if (unlinkat(cache->dir, image->name, 0) < 0) {
                ak_log(AK_LOG_WARN, "image_not_removed", "image", image->name, "error", strerror(errno),
                       NULL);
                return;
        }
        image->gone = true;
        ak_log(AK_LOG_INFO, "image_removed", "image", image->name, "why", why, NULL);
}

static void sum_up(const struct cache *cache, struct hv_image_usage *out)
{
        *out = (struct hv_image_usage){0};
        for (size_t i = 0; i < cache->count; i++) {
                const struct image *image = &cache->images[i];

                out->removed += image->gone;
                out->images += !image->gone;
                out->bytes += image->gone ? 0 : image->bytes;
                out->in_use_bytes += image->in_use ? image->bytes : 0;
        }
}

static void shrink(struct cache *cache, struct hv_image_usage *usage)
{
        const struct hv_image_store *store = cache->store;

        for (size_t i = 0; i < cache->count; i++) {
                struct image *image = &cache->images[i];

                if (image->in_use || !idle(cache, image, store->cache_keep_us))
                        continue;
                if (store->cache_max_age_us && idle(cache, image, store->cache_max_age_us))
                        throw_away(cache, image, "age");
                else if (store->cache_max_bytes && usage->bytes > store->cache_max_bytes)
                        throw_away(cache, image, "size");
                usage->bytes -= image->gone ? image->bytes : 0;
        }
}

int hv_image_collect(const struct hv_image_store *store, int64_t now_s, struct hv_image_usage *out)
{
        AK_CLEANUP(cache_deinit) struct cache cache = {.store = store, .now_s = now_s, .dir = -1};
        int r = list_images(&cache);

        if (r == 0)
                r = mark_used(&cache);
        if (r < 0)
                return r;
        sum_up(&cache, out);
        if (cache.count)
                qsort(cache.images, cache.count, sizeof(*cache.images), by_use);
        shrink(&cache, out);
        sum_up(&cache, out);
        if (out->removed)
                hv_image_forget_missing(store);
        return 0;
}
