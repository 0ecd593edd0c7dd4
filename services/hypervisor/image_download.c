/* SPDX-License-Identifier: Apache-2.0 */
/* Downloads and the cache of what URLs gave. */
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "services/hypervisor/image_internal.h"

#define MAX_REDIRECTS     5L
#define CONNECT_TIMEOUT_S 15L
#define STALLED_S         60L
#define PROGRESS_EVERY_US (UINT64_C(250) * 1000)
#define MAX_META_BYTES    16384
#define MAX_HEADER        1024

struct meta {
        char digest[HV_DIGEST_SIZE];
        char etag[MAX_HEADER], last_modified[MAX_HEADER];
};

struct download {
        const struct hv_image_store *store;
        const struct hv_image_progress *progress;
        CURL *curl;
        int fd;
        gnutls_hash_hd_t hash;
        uint64_t bytes;
        bool too_large;
        int write_error;
        unsigned percent;
        uint64_t reported_us;
        char etag[MAX_HEADER], last_modified[MAX_HEADER];
};

/* ------------------------------------------------------------------ cache */

static int cache_path(const struct hv_image_store *store, const char *url, char *out, size_t size)
{
        uint8_t raw[32];
        char hex[HV_DIGEST_SIZE];
        int n;

        if (gnutls_hash_fast(GNUTLS_DIG_SHA256, url, strlen(url), raw) < 0)
                return -EIO;
        hv_image_hex(raw, hex);
        n = snprintf(out, size, "%s/%s.json", store->dir, hex);
        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int content_path(const struct hv_image_store *store, const char *digest, char *out, size_t size)
{
        int n = snprintf(out, size, "%s/sha256-%s.img", store->dir, digest);

        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void copy_string(const json_t *json, const char *key, char *out, size_t size)
{
        const char *text = json_string_value(json_object_get(json, key));

        (void)snprintf(out, size, "%s", text ? text : "");
}

/* -ENOENT when the file is not there, or the content that it speaks of. */
static int read_meta_file(const struct hv_image_store *store, const char *path, struct meta *out)
{
        char content[HV_LEN_PATH + 1], text[MAX_META_BYTES];
        AK_AUTOCLOSE int fd = -1;
        json_t *json;
        ssize_t n;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
        json = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
        copy_string(json, "sha256", out->digest, sizeof(out->digest));
        copy_string(json, "etag", out->etag, sizeof(out->etag));
        copy_string(json, "last_modified", out->last_modified, sizeof(out->last_modified));
        json_decref(json);
        if (strspn(out->digest, "0123456789abcdef") != 64 ||
            content_path(store, out->digest, content, sizeof(content)) < 0 || access(content, R_OK) < 0)
                return -ENOENT;
        return 0;
}

/* -ENOENT when the URL gave nothing yet, or its content is no longer there. */
static int read_meta(const struct hv_image_store *store, const char *url, struct meta *out)
{
        char path[HV_LEN_PATH + 1];

        if (cache_path(store, url, path, sizeof(path)) < 0)
                return -ENAMETOOLONG;
        return read_meta_file(store, path, out);
}

/* Written anew and renamed, so that it is never read half. Losing it costs one download. */
static int write_meta(const struct hv_image_store *store, const char *url, const struct meta *meta)
{
        char path[HV_LEN_PATH + 1], partial[HV_LEN_PATH + 1];
        json_t *json;
        int fd, n, r;

        if (cache_path(store, url, path, sizeof(path)) < 0)
                return -ENAMETOOLONG;
        n = snprintf(partial, sizeof(partial), "%s/.partial-XXXXXX", store->dir);
        if (n < 0 || (size_t)n >= sizeof(partial))
                return -ENAMETOOLONG;
        fd = mkostemp(partial, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        json = json_pack("{s:s,s:s,s:s,s:s}", "url", url, "sha256", meta->digest, "etag", meta->etag,
                         "last_modified", meta->last_modified);
        r = json_dumpfd(json, fd, 0) < 0 || fsync(fd) < 0 ? -EIO : 0;
        json_decref(json);
        (void)close(fd);
        if (r == 0 && rename(partial, path) == 0)
                return 0;
        (void)unlink(partial);
        return -EIO;
}

bool hv_image_is_content(const char *name)
{
        return strncmp(name, "sha256-", 7) == 0 && strspn(name + 7, "0123456789abcdef") == 64 &&
               strcmp(name + 7 + 64, ".img") == 0;
}

static bool is_meta(const char *name)
{
        return strspn(name, "0123456789abcdef") == 64 && strcmp(name + 64, ".json") == 0;
}

void hv_image_forget_missing(const struct hv_image_store *store)
{
        DIR *dir = opendir(store->dir);
        const struct dirent *entry;

        if (!dir)
                return;
        while ((entry = readdir(dir))) {
                char path[HV_LEN_PATH + NAME_MAX + 2];
                struct meta meta = {0};

                if (!is_meta(entry->d_name))
                        continue;
                (void)snprintf(path, sizeof(path), "%s/%s", store->dir, entry->d_name);
                if (read_meta_file(store, path, &meta) == -ENOENT)
                        (void)unlink(path);
        }
        (void)closedir(dir);
}

static void use_cached(const struct hv_image_store *store, const struct meta *meta,
                       struct hv_image_result *out)
{
        char path[HV_LEN_PATH + 1];
        AK_AUTOCLOSE int fd = -1;

        if (content_path(store, meta->digest, path, sizeof(path)) < 0)
                return;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
                hv_image_fault(out, "ImagePullFailed", "%s: %s", "cached image", strerror(errno));
                return;
        }
        (void)futimens(fd, NULL); /* used now: image_cache.h */
        if (hv_image_check_fd(store, fd, out) == 0)
                (void)snprintf(out->path, sizeof(out->path), "%s", path);
}

/* ------------------------------------------------------------------ curl's callbacks */

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
        struct download *d = arg;
        size_t len = size * count, done = 0;

        d->bytes += len;
        if (d->bytes > d->store->max_bytes) {
                d->too_large = true;
                return 0;
        }
        while (done < len) {
                ssize_t n = write(d->fd, data + done, len - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        d->write_error = errno;
                        return 0;
                }
                done += (size_t)n;
        }
        (void)gnutls_hash(d->hash, data, len);
        return len;
}

/* The value of "Name: value\r\n" when the name is `name`. */
static void take_header(const char *line, size_t len, const char *name, char out[MAX_HEADER])
{
        size_t n = strlen(name);

        if (len <= n + 1 || strncasecmp(line, name, n) != 0 || line[n] != ':')
                return;
        line += n + 1;
        len -= n + 1;
        while (len && (*line == ' ' || *line == '\t')) {
                line++;
                len--;
        }
        while (len && (line[len - 1] == '\r' || line[len - 1] == '\n'))
                len--;
        if (len < MAX_HEADER)
                (void)snprintf(out, MAX_HEADER, "%.*s", (int)len, line);
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
        struct download *d = arg;
        size_t len = size * count;

        /* A new response begins (after a redirect). */
        if (len > 5 && strncmp(line, "HTTP/", 5) == 0)
                d->etag[0] = d->last_modified[0] = '\0';
        take_header(line, len, "ETag", d->etag);
        take_header(line, len, "Last-Modified", d->last_modified);
        return len;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
        struct download *d = arg;
        unsigned percent = total > 0 ? (unsigned)(now * 100 / total) : 0;
        uint64_t us = ak_clock_monotonic_us();

        (void)up_total;
        (void)up_now;
        if (d->progress->stop && atomic_load(d->progress->stop))
                return 1;
        if (d->progress->fn && percent > d->percent && us - d->reported_us >= PROGRESS_EVERY_US) {
                d->percent = percent;
                d->reported_us = us;
                d->progress->fn(d->progress->arg, percent);
        }
        return 0;
}

/* ------------------------------------------------------------------ one download */

static void set_options(struct download *d, const char *from, struct curl_slist *headers)
{
        CURL *c = d->curl;

        (void)curl_easy_setopt(c, CURLOPT_URL, from);
        (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
        (void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
        (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
        (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALLED_S);
        (void)curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)d->store->max_bytes);
        (void)curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
        (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "alkaid-hypervisor/" ALKAID_VERSION);
        (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
        (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, d);
        (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
        (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, d);
        (void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, d);
}

static void append_header(struct curl_slist **list, const char *name, const char *value)
{
        char line[MAX_HEADER + 32];
        struct curl_slist *longer;

        if (!value[0])
                return;
        (void)snprintf(line, sizeof(line), "%s: %s", name, value);
        longer = curl_slist_append(*list, line);
        if (longer)
                *list = longer;
}

static void explain(const struct download *d, CURLcode code, const char *url, struct hv_image_result *out)
{
        long status = 0;

        (void)curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
        if (d->too_large || code == CURLE_FILESIZE_EXCEEDED)
                hv_image_fault(out, "ImageTooLarge", "%s: larger than --image-max-size", url);
        else if (d->write_error)
                hv_image_fault(out, "ImagePullFailed", "%s: cannot store it: %s", url,
                               strerror(d->write_error));
        else if (code == CURLE_HTTP_RETURNED_ERROR && (status == 404 || status == 410))
                hv_image_fault(out, "ImageNotFound", "%s: HTTP status %ld", url, status);
        else if (code == CURLE_HTTP_RETURNED_ERROR)
                hv_image_fault(out, "ImagePullFailed", "%s: HTTP status %ld", url, status);
        else if (code == CURLE_UNSUPPORTED_PROTOCOL)
                hv_image_fault(out, "ImagePullFailed", "%s: redirects to something other than http or https",
                               url);
        else
                hv_image_fault(out, "ImagePullFailed", "%s: %s", url, curl_easy_strerror(code));
}

/* 0: downloaded; 1: not modified; negative with the fault set. */
static int perform(struct download *d, const char *url, const char *from, const struct meta *known,
                   struct hv_image_result *out)
{
        struct curl_slist *headers = NULL;
        CURLcode code;
        long status = 0;

        if (known) {
                append_header(&headers, "If-None-Match", known->etag);
                if (!known->etag[0])
                        append_header(&headers, "If-Modified-Since", known->last_modified);
        }
        set_options(d, from, headers);
        code = curl_easy_perform(d->curl);
        curl_slist_free_all(headers);
        if (code != CURLE_OK) {
                explain(d, code, url, out);
                return -EIO;
        }
        (void)curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status == 304 && known)
                return 1;
        if (status != 200) {
                hv_image_fault(out, "ImagePullFailed", "%s: HTTP status %ld", url, status);
                return -EIO;
        }
        return 0;
}

static int sync_dir(const char *path)
{
        AK_AUTOCLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

/* Checks what was downloaded and gives it its name. */
static int keep(struct download *d, const char *partial, const char *url, const char *digest,
                const struct hv_image_request *request, struct hv_image_result *out)
{
        char path[HV_LEN_PATH + 1];
        struct meta meta = {0};

        if (request->sha256[0] && strcasecmp(request->sha256, digest) != 0) {
                hv_image_fault(out, "ImageDigestMismatch", "%s: sha256 is %s, not %s", url, digest,
                               request->sha256);
                return -EBADMSG;
        }
        if (hv_image_check_fd(d->store, d->fd, out) < 0)
                return -EMEDIUMTYPE;
        if (content_path(d->store, digest, path, sizeof(path)) < 0 || fchmod(d->fd, 0644) < 0 ||
            fsync(d->fd) < 0 || rename(partial, path) < 0 || sync_dir(d->store->dir) < 0) {
                hv_image_fault(out, "ImagePullFailed", "%s: cannot store it: %s", url, strerror(errno));
                return -EIO;
        }
        (void)snprintf(meta.digest, sizeof(meta.digest), "%s", digest);
        (void)snprintf(meta.etag, sizeof(meta.etag), "%s", d->etag);
        (void)snprintf(meta.last_modified, sizeof(meta.last_modified), "%s", d->last_modified);
        if (write_meta(d->store, url, &meta) < 0) {
                hv_image_fault(out, "ImagePullFailed", "%s: cannot store its description", url);
                return -EIO;
        }
        (void)snprintf(out->path, sizeof(out->path), "%s", path);
        return 0;
}

static int transfer(struct download *d, const char *partial, const char *url, const char *from,
                    const struct meta *known, const struct hv_image_request *request,
                    struct hv_image_result *out)
{
        char digest[HV_DIGEST_SIZE];
        uint8_t raw[32];
        int r;

        if (gnutls_hash_init(&d->hash, GNUTLS_DIG_SHA256) < 0)
                return -EIO;
        r = perform(d, url, from, known, out);
        gnutls_hash_deinit(d->hash, raw);
        if (r != 0)
                return r;
        hv_image_hex(raw, digest);
        return keep(d, partial, url, digest, request, out);
}

/* 0, 1 (not modified), negative with the fault set. */
static int download(const struct hv_image_store *store, const struct hv_image_request *request,
                    const char *url, const char *from, const struct meta *known,
                    const struct hv_image_progress *progress, struct hv_image_result *out)
{
        struct download d = {.store = store, .progress = progress, .fd = -1};
        char partial[HV_LEN_PATH + 1];
        int r = -EIO;

        (void)snprintf(partial, sizeof(partial), "%s/.partial-XXXXXX", store->dir);
        d.fd = mkostemp(partial, O_CLOEXEC);
        if (d.fd < 0) {
                hv_image_fault(out, "ImagePullFailed", "%s: %s", store->dir, strerror(errno));
                return -errno;
        }
        d.curl = curl_easy_init();
        if (d.curl)
                r = transfer(&d, partial, url, from, known, request, out);
        curl_easy_cleanup(d.curl);
        (void)close(d.fd);
        /* After a success it has its final name. */
        (void)unlink(partial);
        if (r < 0 && !out->reason[0])
                hv_image_fault(out, "ImagePullFailed", "%s: out of memory", url);
        return r;
}

static bool digest_matches(const struct hv_image_request *request, const struct meta *meta)
{
        return !request->sha256[0] || strcasecmp(request->sha256, meta->digest) == 0;
}

void hv_image_download(const struct hv_image_store *store, const struct hv_image_request *request,
                       const char *url, const char *from, const struct hv_image_progress *progress,
                       struct hv_image_result *out)
{
        struct meta meta = {0};
        bool have = read_meta(store, url, &meta) == 0 && digest_matches(request, &meta);

        if (request->pull == AK_IMAGE_PULL_NEVER && !have) {
                hv_image_fault(out, "ErrImageNeverPull", "%s: not in the cache and imagePullPolicy is Never",
                               url);
                return;
        }
        if (have && request->pull != AK_IMAGE_PULL_ALWAYS) {
                use_cached(store, &meta, out);
                return;
        }
        if (download(store, request, url, from, have ? &meta : NULL, progress, out) == 1)
                use_cached(store, &meta, out);
}
