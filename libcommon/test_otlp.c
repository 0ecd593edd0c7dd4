/* SPDX-License-Identifier: Apache-2.0 */
/* Spans to a collector, which is libmicrohttpd in a thread of its own; and to none. */
#include "libcommon/otlp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "libcommon/test.h"

#define MAX_BODY 65536

struct collector {
        struct MHD_Daemon *daemon;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        char body[MAX_BODY]; /* of the last request */
        size_t len, requests;
        char type[64];
        unsigned answer;
        struct ak_metrics *metrics;
        char url[64];
};

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version AK_UNUSED, const char *data,
                                  size_t *size, void **state)
{
        struct collector *c = arg;
        struct MHD_Response *response;
        enum MHD_Result result;

        (void)pthread_mutex_lock(&c->lock);
        if (!*state) {
                *state = c;
                c->len = 0;
                (void)snprintf(c->type, sizeof(c->type), "%s",
                               MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type"));
                (void)pthread_mutex_unlock(&c->lock);
                return strcmp(method, "POST") == 0 && strcmp(url, "/v1/traces") == 0 ? MHD_YES : MHD_NO;
        }
        if (*size > 0) {
                if (c->len + *size < MAX_BODY) {
                        memcpy(c->body + c->len, data, *size);
                        c->len += *size;
                }
                *size = 0;
                (void)pthread_mutex_unlock(&c->lock);
                return MHD_YES;
        }
        c->body[c->len] = '\0';
        c->requests++;
        (void)pthread_cond_signal(&c->wake);
        (void)pthread_mutex_unlock(&c->lock);
        response = MHD_create_response_from_buffer(2, (void *)(uintptr_t) "{}", MHD_RESPMEM_PERSISTENT);
        result = MHD_queue_response(connection, c->answer, response);
        MHD_destroy_response(response);
        return result;
}

static int setup(void **state)
{
        struct collector *c = calloc(1, sizeof(*c));
        struct sockaddr_in loopback = {.sin_family = AF_INET};

        assert_non_null(c);
        loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        c->answer = 200;
        (void)pthread_mutex_init(&c->lock, NULL);
        (void)pthread_cond_init(&c->wake, NULL);
        assert_int_equal(ak_metrics_new(&c->metrics), 0);
        c->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, c,
                                     MHD_OPTION_SOCK_ADDR, &loopback, MHD_OPTION_END);
        assert_non_null(c->daemon);
        (void)snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%u/v1/traces",
                       MHD_get_daemon_info(c->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
        *state = c;
        return 0;
}

static int teardown(void **state)
{
        struct collector *c = *state;

        MHD_stop_daemon(c->daemon);
        ak_metrics_free(c->metrics);
        (void)pthread_cond_destroy(&c->wake);
        (void)pthread_mutex_destroy(&c->lock);
        free(c);
        return 0;
}

static void wait_requests(struct collector *c, size_t count)
{
        (void)pthread_mutex_lock(&c->lock);
        while (c->requests < count)
                (void)pthread_cond_wait(&c->wake, &c->lock);
        (void)pthread_mutex_unlock(&c->lock);
}

static const struct ak_otlp_span span = {.trace = "4bf92f3577b34da6a3ce929d0e0e4736",
                                         .span = "00f067aa0ba902b7",
                                         .parent = "a1b2c3d4e5f60718",
                                         .name = "port",
                                         .pod = "pod1",
                                         .nic = "eth1",
                                         .start_us = 1700000000000001,
                                         .took_us = 25,
                                         .failure = "NoSpace"};

static void expect_metric(struct collector *c, const char *line, bool wanted)
{
        AK_AUTOFREE char *text = NULL;
        size_t len;

        assert_int_equal(ak_metrics_text(c->metrics, &text, &len), 0);
        if ((strstr(text, line) != NULL) != wanted)
                fail_msg("%s is %sin:\n%s", line, wanted ? "not " : "", text);
}

static void spans_arrive_in_a_batch(void **state)
{
        struct collector *c = *state;
        struct ak_otlp *o = NULL;
        struct ak_otlp_span root = span;
        const char *service, *value;
        json_t *json, *spans;

        root.parent[0] = root.failure[0] = '\0';
        assert_int_equal(ak_otlp_new(&o, c->url, "network", "node1", c->metrics), 0);
        ak_otlp_add(o, &span);
        ak_otlp_add(o, &root);
        wait_requests(c, 1);
        assert_string_equal(c->type, "application/json");
        json = json_loads(c->body, 0, NULL);
        assert_non_null(json);
        assert_int_equal(json_unpack(json, "{s:[{s:{s:[{s:s, s:{s:s}}]}, s:[{s:o}]}]}", "resourceSpans",
                                     "resource", "attributes", "key", &value, "value", "stringValue",
                                     &service, "scopeSpans", "spans", &spans),
                         0);
        assert_string_equal(service, "alkaid-network");
        assert_int_equal(json_array_size(spans), 2);
        json_t *first = json_array_get(spans, 0), *second = json_array_get(spans, 1);
        assert_string_equal(json_string_value(json_object_get(first, "traceId")), span.trace);
        assert_string_equal(json_string_value(json_object_get(first, "parentSpanId")), span.parent);
        assert_string_equal(json_string_value(json_object_get(first, "startTimeUnixNano")),
                            "1700000000000001000");
        assert_string_equal(json_string_value(json_object_get(first, "endTimeUnixNano")),
                            "1700000000000026000");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(first, "status"), "code")), 2);
        assert_null(json_object_get(second, "parentSpanId"));
        assert_int_equal(json_integer_value(json_object_get(json_object_get(second, "status"), "code")), 1);
        json_decref(json);
        ak_otlp_free(o);
        expect_metric(c, "alkaid_spans_total{outcome=\"exported\"} 2\n", true);
}

static void what_waits_is_sent_at_the_end(void **state)
{
        struct collector *c = *state;
        struct ak_otlp *o = NULL;

        assert_int_equal(ak_otlp_new(&o, c->url, "network", NULL, c->metrics), 0);
        ak_otlp_add(o, &span);
        ak_otlp_free(o);
        expect_metric(c, "alkaid_spans_total{outcome=\"exported\"} 1\n", true);
}

static void a_collector_that_refuses_is_counted(void **state)
{
        struct collector *c = *state;
        struct ak_otlp *o = NULL;

        c->answer = 503;
        assert_int_equal(ak_otlp_new(&o, c->url, "network", NULL, c->metrics), 0);
        ak_otlp_add(o, &span);
        ak_otlp_free(o);
        expect_metric(c, "alkaid_spans_total{outcome=\"failed\"} 1\n", true);
}

/* It takes connections (the kernel does) and never says a word. Nobody waits for it; the queue is bounded. */
static void a_collector_that_hangs_blocks_nobody(void **state)
{
        AK_AUTOCLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t len = sizeof(address);
        struct collector *c = *state;
        struct ak_otlp *o = NULL;
        char url[64];

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/traces", ntohs(address.sin_port));
        assert_int_equal(ak_otlp_new(&o, url, "network", NULL, c->metrics), 0);
        for (int i = 0; i < 10 * AK_OTLP_QUEUE; i++)
                ak_otlp_add(o, &span);
        expect_metric(c, "alkaid_spans_total{outcome=\"dropped\"} ", true);
        ak_otlp_free(o);
        expect_metric(c, "outcome=\"exported\"", false);
}

static void what_is_no_url_is_refused(void **state)
{
        static const char *const bad[] = {"", "collector:4318", "file:///etc/passwd", "http://",
                                          "http:///v1/traces"};
        struct collector *c = *state;
        struct ak_otlp *o = NULL;

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++)
                assert_int_equal(ak_otlp_new(&o, bad[i], "network", NULL, c->metrics), -EINVAL);
        ak_otlp_add(NULL, &span);
        assert_null(ak_otlp_free(NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
            TEST(spans_arrive_in_a_batch),
            TEST(what_waits_is_sent_at_the_end),
            TEST(a_collector_that_refuses_is_counted),
            TEST(a_collector_that_hangs_blocks_nobody),
            TEST(what_is_no_url_is_refused),
        };

        return cmocka_run_group_tests_name("otlp", tests, NULL, NULL);
}
