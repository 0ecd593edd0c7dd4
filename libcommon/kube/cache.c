/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/kube/cache.h"

#include <czmq.h>
#include <errno.h>
#include <string.h>

#include "libcommon/kube/frame.h"

struct known {
        json_t *stub;        /* apiVersion, kind, metadata {namespace, name, uid, resourceVersion} */
        unsigned long round; /* of the last list that had it */
};

struct ak_kube_cache {
        zhashx_t *known; /* "namespace/name" -> struct known */
        size_t max_objects;
        unsigned long round;
        struct ak_kube_cache_sink sink;
};

static void known_free(void **item)
{
        struct known *known = *item;
        if (known)
                json_decref(known->stub);
        free(known);
        *item = NULL;
}

int ak_kube_cache_new(struct ak_kube_cache **out, size_t max_objects, const struct ak_kube_cache_sink *sink)
{
        struct ak_kube_cache *cache = calloc(1, sizeof(*cache));
        if (!cache)
                return -ENOMEM;
        cache->known = zhashx_new();
        if (!cache->known) {
                free(cache);
                return -ENOMEM;
        }
        zhashx_set_destructor(cache->known, known_free);
        cache->max_objects = max_objects;
        cache->sink = *sink;
        *out = cache;
        return 0;
}

struct ak_kube_cache *ak_kube_cache_free(struct ak_kube_cache *cache)
{
        if (cache)
                zhashx_destroy(&cache->known);
        free(cache);
        return NULL;
}

static char *key_of(const json_t *object)
{
        char *key;
        if (asprintf(&key, "%s/%s", ak_kube_meta(object, "namespace"), ak_kube_meta(object, "name")) < 0)
                return NULL;
        return key;
}

static json_t *stub_of(const json_t *object)
{
        json_t *stub = json_pack(
            "{s:O*, s:O*, s:{s:s, s:s, s:s, s:s}}", "apiVersion", json_object_get(object, "apiVersion"),
            "kind", json_object_get(object, "kind"), "metadata", "namespace",
            ak_kube_meta(object, "namespace"), "name", ak_kube_meta(object, "name"), "uid",
            ak_kube_meta(object, "uid"), "resourceVersion", ak_kube_meta(object, "resourceVersion"));
        return stub;
}

static bool same_meta(const json_t *a, const json_t *b, const char *key)
{
        return strcmp(ak_kube_meta(a, key), ak_kube_meta(b, key)) == 0;
}

/* A later state of a known object: 1 when there is news to deliver. */
static int update(struct ak_kube_cache *cache, struct known *known, json_t *object)
{
        known->round = cache->round;
        if (same_meta(known->stub, object, "uid") && same_meta(known->stub, object, "resourceVersion"))
                return 0;
        json_t *stub = stub_of(object);
        if (!stub)
                return -ENOMEM;
        json_t *old = known->stub;
        known->stub = stub;
        if (same_meta(old, object, "uid"))
                json_decref(old);
        else
                cache->sink.gone(cache->sink.arg, old);
        return 1;
}

static int insert(struct ak_kube_cache *cache, const char *key, const json_t *object)
{
        if (zhashx_size(cache->known) >= cache->max_objects)
                return -ENOSPC;
        struct known *known = calloc(1, sizeof(*known));
        if (!known)
                return -ENOMEM;
        known->round = cache->round;
        known->stub = stub_of(object);
        if (!known->stub || zhashx_insert(cache->known, key, known) != 0) {
                known_free((void **)&known);
                return -ENOMEM;
        }
        return 1;
}

int ak_kube_cache_put(struct ak_kube_cache *cache, json_t *object)
{
        AK_AUTOFREE char *key = key_of(object);
        if (!key)
                return -ENOMEM;
        struct known *known = zhashx_lookup(cache->known, key);
        int rc = known ? update(cache, known, object) : insert(cache, key, object);
        if (rc == 1)
                cache->sink.put(cache->sink.arg, json_incref(object));
        return rc < 0 ? rc : 0;
}

void ak_kube_cache_delete(struct ak_kube_cache *cache, json_t *object)
{
        AK_AUTOFREE char *key = key_of(object);
        struct known *known = key ? zhashx_lookup(cache->known, key) : NULL;
        if (!known || !same_meta(known->stub, object, "uid"))
                return;
        zhashx_delete(cache->known, key);
        cache->sink.gone(cache->sink.arg, json_incref(object));
}

void ak_kube_cache_list_begin(struct ak_kube_cache *cache)
{
        cache->round++;
}

void ak_kube_cache_list_end(struct ak_kube_cache *cache)
{
        zlistx_t *keys = zhashx_keys(cache->known);
        for (const char *key = zlistx_first(keys); key; key = zlistx_next(keys)) {
                struct known *known = zhashx_lookup(cache->known, key);
                if (known->round == cache->round)
                        continue;
                cache->sink.gone(cache->sink.arg, json_incref(known->stub));
                zhashx_delete(cache->known, key);
        }
        zlistx_destroy(&keys);
}

size_t ak_kube_cache_size(const struct ak_kube_cache *cache)
{
        return zhashx_size(cache->known);
}
