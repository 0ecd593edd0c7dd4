/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/image_store.h"

#include <ctype.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/netaddr.h"
#include "services/hypervisor/image_internal.h"
#include "services/hypervisor/image_probe.h"

#define PARTIAL_PREFIX ".partial-"

void hv_image_fault(struct hv_image_result *out, const char *reason, const char *format, ...)
{
        va_list ap;

        (void)snprintf(out->reason, sizeof(out->reason), "%s", reason);
        va_start(ap, format);
        (void)vsnprintf(out->message, sizeof(out->message), format, ap);
        va_end(ap);
}

int hv_image_store_init(const struct hv_image_store *store)
{
        struct dirent *entry;
        DIR *dir;

        if (mkdir(store->dir, 0755) < 0 && errno != EEXIST)
                return -errno;
        dir = opendir(store->dir);
        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                if (strncmp(entry->d_name, PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) == 0)
                        (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
        (void)closedir(dir);
        return 0;
}

int hv_image_mirror_check(const char *mirror)
{
        const char *base = strchr(mirror, '=');

        if (!base || base == mirror)
                return -EINVAL;
        base++;
        if (base[0] == '/' || strncmp(base, "http://", 7) == 0 || strncmp(base, "https://", 8) == 0)
                return 0;
        return -EINVAL;
}

/* ------------------------------------------------------------------ local files */

/* Is `path` (canonical) below `dir`? */
static bool below(const char *path, const char *dir)
{
        char real[PATH_MAX];
        size_t len;

        if (!realpath(dir, real))
                return false;
        len = strlen(real);
        if (len == 1)
                return true;
        return strncmp(path, real, len) == 0 && path[len] == '/';
}

static bool allowed(const struct hv_image_store *store, const char *path)
{
        for (size_t i = 0; i < store->allowed.count; i++) {
                if (below(path, store->allowed.items[i]))
                        return true;
        }
        return false;
}

int hv_image_digest(int fd, char out[HV_DIGEST_SIZE])
{
        gnutls_hash_hd_t hash;
        uint8_t raw[32], buffer[65536];
        off_t at = 0;
        ssize_t n;

        if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
                return -EIO;
        while ((n = pread(fd, buffer, sizeof(buffer), at)) > 0) {
                (void)gnutls_hash(hash, buffer, (size_t)n);
                at += n;
        }
        gnutls_hash_deinit(hash, raw);
        if (n < 0)
                return -errno;
        hv_image_hex(raw, out);
        return 0;
}

void hv_image_hex(const uint8_t raw[32], char out[HV_DIGEST_SIZE])
{
        for (size_t i = 0; i < 32; i++)
                (void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

int hv_image_check_fd(const struct hv_image_store *store, int fd, struct hv_image_result *out)
{
        char text[HV_IMAGE_TEXT_SIZE];
        uint8_t head[HV_IMAGE_PROBE_BYTES];
        struct hv_image_info info;
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                hv_image_fault(out, "ImageNotFound", "not a regular file");
                return -ENOENT;
        }
        if ((uint64_t)st.st_size > store->max_bytes) {
                hv_image_fault(out, "ImageTooLarge", "the image has %lld bytes, more than --image-max-size",
                               (long long)st.st_size);
                return -EFBIG;
        }
        n = pread(fd, head, sizeof(head), 0);
        if (n < 0 || hv_image_probe(head, (size_t)n, (uint64_t)st.st_size, &info, text) < 0) {
                hv_image_fault(out, "ImageFormatRefused", "%s", n < 0 ? strerror(errno) : text);
                return -EMEDIUMTYPE;
        }
        if (info.virtual_size > store->max_virtual_bytes) {
                hv_image_fault(out, "ImageTooLarge",
                               "the image's disk has %llu bytes, more than --image-max-virtual-size",
                               (unsigned long long)info.virtual_size);
                return -EFBIG;
        }
        (void)snprintf(out->format, sizeof(out->format), "%s", info.format);
        return 0;
}

static int check_digest(int fd, const char *wanted, struct hv_image_result *out)
{
        char digest[HV_DIGEST_SIZE];

        if (!wanted[0])
                return 0;
        if (hv_image_digest(fd, digest) < 0) {
                hv_image_fault(out, "ImagePullFailed", "cannot read the image");
                return -EIO;
        }
        if (strcasecmp(digest, wanted) == 0)
                return 0;
        hv_image_fault(out, "ImageDigestMismatch", "sha256 is %s, not %s", digest, wanted);
        return -EBADMSG;
}

/* `real` is canonical and allowed. */
static void use_local(const struct hv_image_store *store, const struct hv_image_request *request,
                      const char *real, struct hv_image_result *out)
{
        AK_AUTOCLOSE int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0) {
                hv_image_fault(out, "ImageNotFound", "%s: %s", request->image, strerror(errno));
                return;
        }
        if (strlen(real) > HV_LEN_PATH) {
                hv_image_fault(out, "InvalidImageName", "the path is too long");
                return;
        }
        if (hv_image_check_fd(store, fd, out) < 0 || check_digest(fd, request->sha256, out) < 0)
                return;
        (void)snprintf(out->path, sizeof(out->path), "%s", real);
}

static void fetch_path(const struct hv_image_store *store, const struct hv_image_request *request,
                       struct hv_image_result *out)
{
        char real[PATH_MAX];

        if (!realpath(request->image, real)) {
                /* The same words whether it is absent or not allowed: paths of the host are nobody's
                 * business. */
                hv_image_fault(out, "ImageNotFound", "%s: no such image below --image-dir", request->image);
                return;
        }
        if (!allowed(store, real)) {
                hv_image_fault(out, "ImageNotFound", "%s: no such image below --image-dir", request->image);
                return;
        }
        use_local(store, request, real, out);
}

static void fetch_from_directory(const struct hv_image_store *store, const struct hv_image_request *request,
                                 const char *dir, const char *path, struct hv_image_result *out)
{
        char joined[PATH_MAX], real[PATH_MAX];
        int n = snprintf(joined, sizeof(joined), "%s/%s", dir, path);

        if (n < 0 || (size_t)n >= sizeof(joined) || !realpath(joined, real) || !below(real, dir)) {
                hv_image_fault(out, "ImageNotFound", "%s: the mirror directory has no %s", request->image,
                               path);
                return;
        }
        use_local(store, request, real, out);
}

/* ------------------------------------------------------------------ names */

/* "scheme:" at the start, not "host:port". */
static bool has_scheme(const char *image)
{
        size_t n = 0;

        if (!isalpha((unsigned char)image[0]))
                return false;
        while (isalnum((unsigned char)image[n]) || strchr("+.-", image[n] ? image[n] : ' '))
                n++;
        return image[n] == ':' && !isdigit((unsigned char)image[n + 1]);
}

static bool name_valid(const char *image)
{
        if (!image[0])
                return false;
        for (const char *p = image; *p; p++) {
                if ((unsigned char)*p <= 0x20 || (unsigned char)*p == 0x7f)
                        return false;
        }
        return true;
}

static bool digest_valid(const char *digest)
{
        size_t n = strspn(digest, "0123456789abcdefABCDEF");

        return digest[0] == '\0' || (n == 64 && digest[64] == '\0');
}

static const char *mirror_of(const struct hv_image_store *store, const char *host)
{
        size_t len = strlen(host);

        for (size_t i = 0; i < store->mirrors.count; i++) {
                const char *mirror = store->mirrors.items[i];

                if (strncasecmp(mirror, host, len) == 0 && mirror[len] == '=')
                        return mirror + len + 1;
        }
        return NULL;
}

static char *url_part(CURLU *url, CURLUPart part)
{
        char *text = NULL;

        return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

static void curl_freep(char **text)
{
        curl_free(*text);
}

static void url_freep(CURLU **url)
{
        curl_url_cleanup(*url);
}

static CURLU *parse_url(const char *image)
{
        char text[AK_LEN_IMAGE + 16];
        CURLU *url = curl_url();

        (void)snprintf(text, sizeof(text), "%s%s", has_scheme(image) ? "" : "https://", image);
        if (url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
                return url;
        curl_url_cleanup(url);
        return NULL;
}

/* Joins a mirror's base and the URL's path and query. */
static int mirrored_url(const char *base, const char *path, const char *query, char *out, size_t size)
{
        size_t len = strlen(base);
        int n;

        while (len && base[len - 1] == '/')
                len--;
        n = snprintf(out, size, "%.*s%s%s%s", (int)len, base, path, query ? "?" : "", query ? query : "");
        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void fetch_url(const struct hv_image_store *store, const struct hv_image_request *request,
                      const struct hv_image_progress *progress, struct hv_image_result *out)
{
        AK_CLEANUP(url_freep) CURLU *url = parse_url(request->image);
        AK_CLEANUP(curl_freep) char *host = url ? url_part(url, CURLUPART_HOST) : NULL;
        AK_CLEANUP(curl_freep) char *path = url ? url_part(url, CURLUPART_PATH) : NULL;
        AK_CLEANUP(curl_freep) char *query = url ? url_part(url, CURLUPART_QUERY) : NULL;
        AK_CLEANUP(curl_freep) char *whole = url ? url_part(url, CURLUPART_URL) : NULL;
        char from[2 * AK_LEN_IMAGE];
        const char *base;

        if (!host || !path || !whole) {
                hv_image_fault(out, "InvalidImageName", "%s: not a URL", request->image);
                return;
        }
        base = mirror_of(store, host);
        if (base && base[0] == '/') {
                fetch_from_directory(store, request, base, path, out);
                return;
        }
        if (base && mirrored_url(base, path, query, from, sizeof(from)) < 0) {
                hv_image_fault(out, "InvalidImageName", "the mirror's URL is too long");
                return;
        }
        hv_image_download(store, request, whole, base ? from : whole, progress, out);
}

void hv_image_fetch(const struct hv_image_store *store, const struct hv_image_request *request,
                    hv_image_progress_fn progress, void *arg, const atomic_bool *stop,
                    struct hv_image_result *out)
{
        struct hv_image_progress p = {.fn = progress, .arg = arg, .stop = stop};
        bool http =
            strncasecmp(request->image, "http://", 7) == 0 || strncasecmp(request->image, "https://", 8) == 0;

        *out = (struct hv_image_result){.id = request->id};
        (void)snprintf(out->pod_uid, sizeof(out->pod_uid), "%s", request->pod_uid);
        if (!name_valid(request->image))
                hv_image_fault(out, "InvalidImageName",
                               "image is empty or holds blanks or control characters");
        else if (!digest_valid(request->sha256))
                hv_image_fault(out, "InvalidImageName", "image digest must be 64 hex digits");
        else if (request->image[0] == '/')
                fetch_path(store, request, out);
        else if (has_scheme(request->image) && !http)
                hv_image_fault(out, "InvalidImageName", "%s: only http and https URLs are accepted",
                               request->image);
        else
                fetch_url(store, request, &p, out);
}
