/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what is accepted as one, and where they may come from; with a local HTTP server. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <gnutls/crypto.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/hypervisor/image_probe.h"
#include "services/hypervisor/images.h"

#define BODY_BYTES 65536
#define ETAG       "\"v1\""

struct fixture {
        char dir[64], cache[96], allowed[96], mirror_dir[96];
        char url[64], mirror[96];
        struct MHD_Daemon *daemon;
        atomic_uint requests, bodies;
        atomic_bool slow;
        uint8_t body[BODY_BYTES];
        char digest[65];
        char *mirrors[4], *dirs[2];
        struct hv_image_store store;
};

/* ------------------------------------------------------------------ headers */

struct qcow2 {
        uint8_t bytes[HV_IMAGE_PROBE_BYTES];
};

static void put32(uint8_t *p, uint32_t v)
{
        v = htobe32(v);
        memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
        v = htobe64(v);
        memcpy(p, &v, sizeof(v));
}

static struct qcow2 good_qcow2(void)
{
        struct qcow2 q = {0};

        memcpy(q.bytes, "QFI\xfb", 4);
        put32(q.bytes + 4, 3);
        put32(q.bytes + 20, 16);
        put64(q.bytes + 24, UINT64_C(10) << 30);
        put32(q.bytes + 100, 104);
        return q;
}

static int probe(const void *head, size_t len, struct hv_image_info *info)
{
        char text[HV_IMAGE_TEXT_SIZE];

        return hv_image_probe(head, len, len, info, text);
}

static void test_qcow2_headers(void **state)
{
        struct qcow2 q = good_qcow2();
        struct hv_image_info info;

        (void)state;
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), 0);
        assert_string_equal(info.format, "qcow2");
        assert_int_equal(info.virtual_size, UINT64_C(10) << 30);
        put32(q.bytes + 4, 2);
        assert_int_equal(probe(q.bytes, 72, &info), 0);
        assert_int_equal(probe(q.bytes, 71, &info), -EMEDIUMTYPE);
        put32(q.bytes + 4, 1);
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        q = good_qcow2();
        put64(q.bytes + 8, 512); /* backing file */
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        q = good_qcow2();
        put32(q.bytes + 16, 11); /* its name's length */
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        q = good_qcow2();
        put64(q.bytes + 72, 4); /* external data file */
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        put64(q.bytes + 72, 1); /* dirty: QEMU repairs it */
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), 0);
        put64(q.bytes + 72, 2); /* corrupt */
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        put64(q.bytes + 72, 1 << 20);
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        q = good_qcow2();
        put32(q.bytes + 32, 2); /* LUKS */
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        q = good_qcow2();
        put32(q.bytes + 20, 63);
        assert_int_equal(probe(q.bytes, sizeof(q.bytes), &info), -EMEDIUMTYPE);
        assert_int_equal(probe(q.bytes, 103, &info), -EMEDIUMTYPE);
}

static void test_raw_headers(void **state)
{
        static const char *const others[] = {"KDMV",
                                             "# Disk DescriptorFile",
                                             "QED",
                                             "LUKS\xba\xbe",
                                             "vhdxfile",
                                             "conectix",
                                             "\x1f\x8b",
                                             "\x28\xb5\x2f\xfd",
                                             "<!DOCTYPE html>",
                                             "PK\x03\x04",
                                             "BZh9"};
        uint8_t head[HV_IMAGE_PROBE_BYTES] = {0xeb, 0x63, 0x90};
        struct hv_image_info info;

        (void)state;
        assert_int_equal(probe(head, sizeof(head), &info), 0);
        assert_string_equal(info.format, "raw");
        assert_int_equal(info.virtual_size, sizeof(head));
        assert_int_equal(probe(head, 511, &info), -EMEDIUMTYPE);
        assert_int_equal(probe(head, 0, &info), -EMEDIUMTYPE);
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                memset(head, 0, sizeof(head));
                (void)snprintf((char *)head, sizeof(head), "%s", others[i]);
                assert_int_equal(probe(head, sizeof(head), &info), -EMEDIUMTYPE);
        }
        memset(head, 0, sizeof(head));
        (void)snprintf((char *)head + 257, sizeof(head) - 257, "ustar");
        assert_int_equal(probe(head, sizeof(head), &info), -EMEDIUMTYPE);
}

/* ------------------------------------------------------------------ server */

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const void *body, size_t len,
                             const char *header, const char *value)
{
        struct MHD_Response *r = MHD_create_response_from_buffer(len, (void *)body, MHD_RESPMEM_MUST_COPY);
        enum MHD_Result result;

        if (header)
                (void)MHD_add_response_header(r, header, value);
        result = MHD_queue_response(c, status, r);
        MHD_destroy_response(r);
        return result;
}

/* Says that it has twice of what it sends. */
static ssize_t half_body(void *arg, uint64_t pos, char *buffer, size_t max)
{
        struct fixture *fx = arg;
        size_t left = pos < BODY_BYTES ? BODY_BYTES - pos : 0;

        if (left == 0)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (left > max)
                left = max;
        memcpy(buffer, fx->body + pos, left);
        return (ssize_t)left;
}

static ssize_t endless_body(void *arg, uint64_t pos, char *buffer, size_t max)
{
        (void)arg;
        (void)pos;
        memset(buffer, 'x', max);
        return (ssize_t)max;
}

static enum MHD_Result reply_endless(struct MHD_Connection *c)
{
        struct MHD_Response *r =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, endless_body, NULL, NULL);
        enum MHD_Result result = MHD_queue_response(c, MHD_HTTP_OK, r);

        MHD_destroy_response(r);
        return result;
}

static enum MHD_Result reply_half(struct fixture *fx, struct MHD_Connection *c)
{
        struct MHD_Response *r =
            MHD_create_response_from_callback((uint64_t)2 * BODY_BYTES, 4096, half_body, fx, NULL);
        enum MHD_Result result = MHD_queue_response(c, MHD_HTTP_OK, r);

        MHD_destroy_response(r);
        return result;
}

static enum MHD_Result reply_image(struct fixture *fx, struct MHD_Connection *c)
{
        const char *etag = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "If-None-Match");

        if (etag && strcmp(etag, ETAG) == 0)
                return reply(c, MHD_HTTP_NOT_MODIFIED, "", 0, "ETag", ETAG);
        atomic_fetch_add(&fx->bodies, 1);
        if (atomic_load(&fx->slow))
                (void)usleep(300000);
        return reply(c, MHD_HTTP_OK, fx->body, BODY_BYTES, "ETag", ETAG);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **con)
{
        struct fixture *fx = arg;
        struct qcow2 q = good_qcow2();
        char loop[128];

        (void)method;
        (void)version;
        (void)data;
        (void)size;
        (void)con;
        atomic_fetch_add(&fx->requests, 1);
        if (strcmp(url, "/good.raw") == 0 || strcmp(url, "/base/dl/good.raw") == 0)
                return reply_image(fx, c);
        if (strcmp(url, "/to-file") == 0)
                return reply(c, MHD_HTTP_FOUND, "", 0, "Location", "file:///etc/passwd");
        if (strcmp(url, "/to-ftp") == 0)
                return reply(c, MHD_HTTP_FOUND, "", 0, "Location", "ftp://127.0.0.1/x");
        if (strcmp(url, "/to-good") == 0)
                return reply(c, MHD_HTTP_FOUND, "", 0, "Location", "/good.raw");
        if (strcmp(url, "/loop") == 0) {
                (void)snprintf(loop, sizeof(loop), "%s/loop", fx->url);
                return reply(c, MHD_HTTP_FOUND, "", 0, "Location", loop);
        }
        if (strcmp(url, "/half") == 0)
                return reply_half(fx, c);
        if (strcmp(url, "/endless") == 0)
                return reply_endless(c);
        if (strcmp(url, "/backing.qcow2") == 0) {
                put64(q.bytes + 8, 512);
                put32(q.bytes + 16, 11);
                return reply(c, MHD_HTTP_OK, q.bytes, sizeof(q.bytes), NULL, NULL);
        }
        if (strcmp(url, "/huge.qcow2") == 0) {
                put64(q.bytes + 24, UINT64_C(1) << 60);
                return reply(c, MHD_HTTP_OK, q.bytes, sizeof(q.bytes), NULL, NULL);
        }
        if (strcmp(url, "/broken") == 0)
                return reply(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no", 2, NULL, NULL);
        return reply(c, MHD_HTTP_NOT_FOUND, "no", 2, NULL, NULL);
}

static void start_server(struct fixture *fx)
{
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        const union MHD_DaemonInfo *info;

        fx->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0,
                                      NULL, NULL, on_request, fx, MHD_OPTION_SOCK_ADDR, &any, MHD_OPTION_END);
        assert_non_null(fx->daemon);
        info = MHD_get_daemon_info(fx->daemon, MHD_DAEMON_INFO_BIND_PORT);
        (void)snprintf(fx->url, sizeof(fx->url), "http://127.0.0.1:%u", info->port);
}

/* ------------------------------------------------------------------ fixture */

static void write_file(const char *dir, const char *name, const void *data, size_t len)
{
        char path[256];
        int fd;

        (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, len), len);
        (void)close(fd);
}

static int setup(void **state)
{
        struct fixture *fx = calloc(1, sizeof(*fx));
        uint8_t raw[32];

        assert_non_null(fx);
        (void)snprintf(fx->dir, sizeof(fx->dir), "/tmp/akimg-XXXXXX");
        assert_non_null(mkdtemp(fx->dir));
        (void)snprintf(fx->cache, sizeof(fx->cache), "%s/cache", fx->dir);
        (void)snprintf(fx->allowed, sizeof(fx->allowed), "%s/allowed", fx->dir);
        (void)snprintf(fx->mirror_dir, sizeof(fx->mirror_dir), "%s/mirror", fx->dir);
        assert_int_equal(mkdir(fx->allowed, 0755), 0);
        assert_int_equal(mkdir(fx->mirror_dir, 0755), 0);
        for (size_t i = 0; i < BODY_BYTES; i++)
                fx->body[i] = (uint8_t)(i * 7 + i / 256);
        assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, fx->body, BODY_BYTES, raw), 0);
        for (size_t i = 0; i < 32; i++)
                (void)snprintf(fx->digest + 2 * i, 3, "%02x", raw[i]);
        start_server(fx);
        (void)snprintf(fx->mirror, sizeof(fx->mirror), "mirrored.example=%s/base/", fx->url);
        fx->mirrors[0] = fx->mirror;
        assert_true(asprintf(&fx->mirrors[1], "local.example=%s", fx->mirror_dir) > 0);
        fx->dirs[0] = fx->allowed;
        fx->store = (struct hv_image_store){.dir = fx->cache,
                                            .allowed = {fx->dirs, 1},
                                            .mirrors = {fx->mirrors, 2},
                                            .max_bytes = 4 * BODY_BYTES,
                                            .max_virtual_bytes = UINT64_C(1) << 40};
        assert_int_equal(hv_image_store_init(&fx->store), 0);
        *state = fx;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

static int teardown(void **state)
{
        struct fixture *fx = *state;

        MHD_stop_daemon(fx->daemon);
        assert_int_equal(nftw(fx->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
        free(fx->mirrors[1]);
        free(fx);
        return 0;
}

static struct hv_image_result fetch_with(struct fixture *fx, const char *image, enum ak_image_pull pull,
                                         const char *digest)
{
        struct hv_image_request request = {.id = 5, .pull = pull};
        struct hv_image_result result;
        atomic_bool stop = false;

        (void)snprintf(request.image, sizeof(request.image), "%s%s", image[0] == '+' ? fx->url : "",
                       image[0] == '+' ? image + 1 : image);
        (void)snprintf(request.sha256, sizeof(request.sha256), "%s", digest);
        (void)snprintf(request.pod_uid, sizeof(request.pod_uid), "pod");
        hv_image_fetch(&fx->store, &request, NULL, NULL, &stop, &result);
        assert_int_equal(result.id, 5);
        assert_string_equal(result.pod_uid, "pod");
        return result;
}

/* "+/path" is below the test server. */
static struct hv_image_result fetch(struct fixture *fx, const char *image)
{
        return fetch_with(fx, image, AK_IMAGE_PULL_IF_NOT_PRESENT, "");
}

static void refused(struct fixture *fx, const char *image, const char *reason)
{
        struct hv_image_result r = fetch(fx, image);

        assert_string_equal(r.path, "");
        if (strcmp(r.reason, reason) != 0)
                fail_msg("%s: %s (%s), not %s", image, r.reason, r.message, reason);
        assert_string_not_equal(r.message, "");
}

/* ------------------------------------------------------------------ tests */

static void test_download_and_cache(void **state)
{
        struct fixture *fx = *state;
        struct hv_image_result first = fetch(fx, "+/good.raw"), second;
        struct stat st;

        assert_string_equal(first.reason, "");
        assert_string_equal(first.format, "raw");
        assert_int_equal(stat(first.path, &st), 0);
        assert_int_equal(st.st_size, BODY_BYTES);
        assert_int_equal(st.st_mode & 0777, 0644);
        assert_non_null(strstr(first.path, fx->digest));
        second = fetch(fx, "+/good.raw");
        assert_string_equal(second.path, first.path);
        assert_int_equal(atomic_load(&fx->requests), 1);
        second = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_NEVER, "");
        assert_string_equal(second.path, first.path);
        /* Always: asked for, but not sent again. */
        second = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_ALWAYS, "");
        assert_string_equal(second.path, first.path);
        assert_int_equal(atomic_load(&fx->requests), 2);
        assert_int_equal(atomic_load(&fx->bodies), 1);
        /* The content was removed by someone. */
        assert_int_equal(unlink(first.path), 0);
        second = fetch(fx, "+/good.raw");
        assert_string_equal(second.path, first.path);
        assert_int_equal(atomic_load(&fx->bodies), 2);
}

static void test_pull_policy_never(void **state)
{
        struct fixture *fx = *state;
        struct hv_image_result r = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_NEVER, "");

        assert_string_equal(r.reason, "ErrImageNeverPull");
        assert_int_equal(atomic_load(&fx->requests), 0);
}

static void test_digest(void **state)
{
        struct fixture *fx = *state;
        char wrong[65];
        struct hv_image_result r;

        (void)snprintf(wrong, sizeof(wrong), "%s", fx->digest);
        wrong[0] = wrong[0] == '0' ? '1' : '0';
        r = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_IF_NOT_PRESENT, wrong);
        assert_string_equal(r.reason, "ImageDigestMismatch");
        r = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_NEVER, fx->digest);
        assert_string_equal(r.reason, "ErrImageNeverPull");
        r = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_IF_NOT_PRESENT, fx->digest);
        assert_string_equal(r.reason, "");
        r = fetch_with(fx, "+/good.raw", AK_IMAGE_PULL_IF_NOT_PRESENT, "12ab");
        assert_string_equal(r.reason, "InvalidImageName");
}

static void test_hostile_urls(void **state)
{
        struct fixture *fx = *state;

        refused(fx, "", "InvalidImageName");
        refused(fx, "file:///etc/passwd", "InvalidImageName");
        refused(fx, "file:/etc/passwd", "InvalidImageName");
        refused(fx, "ftp://127.0.0.1/x", "InvalidImageName");
        refused(fx, "gopher://127.0.0.1/x", "InvalidImageName");
        refused(fx, "http://127.0.0.1/a b", "InvalidImageName");
        refused(fx, "http://127.0.0.1/a\nb", "InvalidImageName");
        refused(fx, "http://", "InvalidImageName");
        refused(fx, "+/to-file", "ImagePullFailed");
        refused(fx, "+/to-ftp", "ImagePullFailed");
        refused(fx, "+/loop", "ImagePullFailed");
        refused(fx, "+/none", "ImageNotFound");
        refused(fx, "+/broken", "ImagePullFailed");
        refused(fx, "+/half", "ImagePullFailed");
        refused(fx, "+/backing.qcow2", "ImageFormatRefused");
        refused(fx, "+/huge.qcow2", "ImageTooLarge");
        assert_string_equal(fetch(fx, "+/to-good").reason, "");
        fx->store.max_bytes = BODY_BYTES - 1;
        refused(fx, "+/good.raw", "ImageTooLarge");
        fx->store.max_bytes = 4 * BODY_BYTES;
        refused(fx, "+/endless", "ImageTooLarge");
        assert_true(atomic_load(&fx->requests) < 40);
}

static void test_paths(void **state)
{
        struct fixture *fx = *state;
        char path[256], link[256], outside[256];
        struct hv_image_result r;

        write_file(fx->allowed, "a.raw", fx->body, BODY_BYTES);
        write_file(fx->dir, "outside.raw", fx->body, BODY_BYTES);
        (void)snprintf(path, sizeof(path), "%s/a.raw", fx->allowed);
        r = fetch(fx, path);
        assert_string_equal(r.path, path);
        assert_string_equal(r.format, "raw");
        r = fetch_with(fx, path, AK_IMAGE_PULL_NEVER, fx->digest);
        assert_string_equal(r.path, path);
        r = fetch_with(fx, path, AK_IMAGE_PULL_NEVER,
                       "0000000000000000000000000000000000000000000000000000000000000000");
        assert_string_equal(r.reason, "ImageDigestMismatch");
        (void)snprintf(outside, sizeof(outside), "%s/outside.raw", fx->dir);
        refused(fx, outside, "ImageNotFound");
        (void)snprintf(path, sizeof(path), "%s/../outside.raw", fx->allowed);
        refused(fx, path, "ImageNotFound");
        (void)snprintf(link, sizeof(link), "%s/link.raw", fx->allowed);
        assert_int_equal(symlink(outside, link), 0);
        refused(fx, link, "ImageNotFound");
        /* A directory whose name merely begins like an allowed one. */
        (void)snprintf(path, sizeof(path), "%s-not", fx->allowed);
        assert_int_equal(mkdir(path, 0755), 0);
        write_file(path, "a.raw", fx->body, BODY_BYTES);
        (void)snprintf(path, sizeof(path), "%s-not/a.raw", fx->allowed);
        refused(fx, path, "ImageNotFound");
        refused(fx, fx->allowed, "ImageNotFound");
        (void)snprintf(path, sizeof(path), "%s/fifo", fx->allowed);
        assert_int_equal(mkfifo(path, 0600), 0);
        refused(fx, path, "ImageNotFound");
}

static void test_mirrors(void **state)
{
        struct fixture *fx = *state;
        struct hv_image_result r = fetch(fx, "mirrored.example/dl/good.raw");
        char path[256];

        assert_string_equal(r.reason, "");
        r = fetch(fx, "https://MIRRORED.example/dl/good.raw");
        assert_string_equal(r.reason, "");
        write_file(fx->mirror_dir, "a.raw", fx->body, BODY_BYTES);
        write_file(fx->dir, "outside.raw", fx->body, BODY_BYTES);
        (void)snprintf(path, sizeof(path), "%s/a.raw", fx->mirror_dir);
        r = fetch(fx, "local.example/a.raw");
        assert_string_equal(r.path, path);
        refused(fx, "local.example/none.raw", "ImageNotFound");
        refused(fx, "local.example/../outside.raw", "ImageNotFound");
        refused(fx, "local.example/%2e%2e/outside.raw", "ImageNotFound");
        assert_int_equal(hv_image_mirror_check("h=http://x"), 0);
        assert_int_equal(hv_image_mirror_check("h=/x"), 0);
        assert_int_equal(hv_image_mirror_check("h=x"), -EINVAL);
        assert_int_equal(hv_image_mirror_check("=http://x"), -EINVAL);
        assert_int_equal(hv_image_mirror_check("h=file:///x"), -EINVAL);
}

static void test_cut_short_downloads_are_swept(void **state)
{
        struct fixture *fx = *state;
        char path[256];

        write_file(fx->cache, ".partial-abc", "x", 1);
        assert_int_equal(hv_image_store_init(&fx->store), 0);
        (void)snprintf(path, sizeof(path), "%s/.partial-abc", fx->cache);
        assert_int_equal(access(path, F_OK), -1);
}

/* ------------------------------------------------------------------ single flight */

static struct hv_event pop(struct hv_queue *queue)
{
        uint64_t deadline = ak_clock_monotonic_us() + 20000000;
        struct hv_event event;

        while (!hv_queue_pop(queue, &event)) {
                assert_true(ak_clock_monotonic_us() < deadline);
                (void)usleep(2000);
        }
        return event;
}

static void test_single_flight(void **state)
{
        AK_CLEANUP(hv_images_freep) struct hv_images *images = NULL;
        AK_CLEANUP(hv_queue_freep) struct hv_queue *queue = NULL;
        struct hv_image_request request = {0};
        struct fixture *fx = *state;
        unsigned done = 0;

        assert_int_equal(hv_queue_new(&queue, 100), 0);
        assert_int_equal(hv_images_new(&images, &fx->store, queue), 0);
        atomic_store(&fx->slow, true);
        (void)snprintf(request.image, sizeof(request.image), "%s/good.raw", fx->url);
        for (unsigned i = 1; i <= 5; i++) {
                request.id = i;
                (void)snprintf(request.pod_uid, sizeof(request.pod_uid), "pod%u", i);
                hv_images_fetch(images, &request);
        }
        for (unsigned seen = 0; seen != 0x3e;) {
                struct hv_event event = pop(queue);

                if (event.type == HV_EVENT_IMAGE_DONE) {
                        assert_string_equal(event.image.reason, "");
                        seen |= 1u << event.image.id;
                        done++;
                }
        }
        assert_int_equal(done, 5);
        assert_int_equal(atomic_load(&fx->bodies), 1);
        /* And one more when all are done. */
        request.id = 9;
        hv_images_fetch(images, &request);
        assert_int_equal(pop(queue).image.id, 9);
        hv_images_free(AK_STEAL(images));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_qcow2_headers),
            cmocka_unit_test(test_raw_headers),
            TEST(test_download_and_cache),
            TEST(test_pull_policy_never),
            TEST(test_digest),
            TEST(test_hostile_urls),
            TEST(test_paths),
            TEST(test_mirrors),
            TEST(test_cut_short_downloads_are_swept),
            TEST(test_single_flight),
        };

        ak_log_init("test", AK_LOG_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
