/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint, scraped with plain sockets by another thread while the loop runs; and the log lines of spans.
 */
#include "libcommon/telemetry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "libcommon/log.h"
#include "libcommon/metrics_http.h"
#include "libcommon/test.h"

struct world {
        zloop_t *loop;
        struct ak_metrics *metrics;
        char dir[64];
};

/* What a client says, and what it got. */
struct client {
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_un un;
        } to;
        socklen_t len;
        const char *request;
        char answer[65536];
};

static int setup(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        zsys_handler_set(NULL);
        assert_non_null(w);
        (void)snprintf(w->dir, sizeof(w->dir), "/tmp/alkaid-telemetry-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        w->loop = zloop_new();
        assert_int_equal(ak_metrics_new(&w->metrics), 0);
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;

        ak_metrics_free(w->metrics);
        zloop_destroy(&w->loop);
        assert_int_equal(rmdir(w->dir), 0);
        free(w);
        return 0;
}

static void converse(zsock_t *pipe, void *arg)
{
        struct client *c = arg;
        AK_AUTOCLOSE int fd = socket(c->to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        size_t len = 0;
        ssize_t n;

        zsock_signal(pipe, 0);
        if (fd >= 0 && connect(fd, &c->to.any, c->len) == 0 &&
            send(fd, c->request, strlen(c->request), MSG_NOSIGNAL) == (ssize_t)strlen(c->request)) {
                while ((n = read(fd, c->answer + len, sizeof(c->answer) - 1 - len)) > 0)
                        len += (size_t)n;
        }
        c->answer[len] = '\0';
        zsock_signal(pipe, 0);
        free(zstr_recv(pipe)); /* $TERM */
}

static int stop(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg AK_UNUSED)
{
        (void)zsock_wait(sock);
        return -1;
}

static void ask(struct world *w, struct client *c, const char *request)
{
        zactor_t *actor;

        c->request = request;
        actor = zactor_new(converse, c);
        assert_non_null(actor);
        assert_int_equal(zloop_reader(w->loop, zactor_sock(actor), stop, NULL), 0);
        (void)zloop_start(w->loop);
        zloop_reader_end(w->loop, zactor_sock(actor));
        zactor_destroy(&actor);
}

static struct client tcp_client(unsigned port)
{
        struct client c = {.len = sizeof(c.to.v4)};

        c.to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        c.to.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return c;
}

static void serves_metrics_on_tcp(void **state)
{
        AK_CLEANUP(ak_metrics_http_freep) struct ak_metrics_http *http = NULL;
        char error[AK_METRICS_HTTP_ERROR_SIZE] = "";
        struct world *w = *state;
        struct client c;

        assert_int_equal(ak_metrics_http_new(&http, w->loop, w->metrics, "127.0.0.1:0", error), 0);
        c = tcp_client(ak_metrics_http_port(http));
        ask(w, &c, "GET /metrics HTTP/1.0\r\n\r\n");
        assert_non_null(strstr(c.answer, " 200 "));
        assert_non_null(strstr(c.answer, "text/plain; version=0.0.4"));
        assert_non_null(strstr(c.answer, "\nalkaid_metrics_series_dropped_total 0\n"));
        ask(w, &c, "GET /secrets HTTP/1.0\r\n\r\n");
        assert_non_null(strstr(c.answer, " 404 "));
        ask(w, &c, "POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
        assert_non_null(strstr(c.answer, " 405 "));
}

static void serves_metrics_on_a_unix_socket(void **state)
{
        AK_CLEANUP(ak_metrics_http_freep) struct ak_metrics_http *http = NULL;
        struct client c = {.to.un.sun_family = AF_UNIX, .len = sizeof(c.to.un)};
        char error[AK_METRICS_HTTP_ERROR_SIZE] = "", address[128];
        struct world *w = *state;
        struct stat st;

        (void)snprintf(c.to.un.sun_path, sizeof(c.to.un.sun_path), "%s/m", w->dir);
        (void)snprintf(address, sizeof(address), "unix:%s/m", w->dir);
        assert_int_equal(ak_metrics_http_new(&http, w->loop, w->metrics, address, error), 0);
        assert_int_equal(stat(c.to.un.sun_path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        ask(w, &c, "GET /metrics HTTP/1.0\r\n\r\n");
        assert_non_null(strstr(c.answer, " 200 "));
        http = ak_metrics_http_free(http);
        assert_int_equal(stat(c.to.un.sun_path, &st), -1);
}

static void refuses_addresses_that_are_none(void **state)
{
        static const char *const bad[] = {"",
                                          "9100",
                                          ":9100",
                                          "127.0.0.1:",
                                          "host:9100",
                                          "127.0.0.1:99999",
                                          "127.0.0.1:x",
                                          "[::1:9100",
                                          "unix:",
                                          "unix:relative",
                                          "::1:9100"};
        struct ak_metrics_http *http = NULL;
        char error[AK_METRICS_HTTP_ERROR_SIZE];
        struct world *w = *state;

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                error[0] = '\0';
                assert_int_equal(ak_metrics_http_new(&http, w->loop, w->metrics, bad[i], error), -EINVAL);
                assert_non_null(strstr(error, "must be ADDRESS:PORT"));
        }
        assert_null(http);
}

static void does_not_take_what_is_taken(void **state)
{
        AK_CLEANUP(ak_metrics_http_freep) struct ak_metrics_http *http = NULL;
        char error[AK_METRICS_HTTP_ERROR_SIZE] = "", address[128], path[80];
        struct ak_metrics_http *second = NULL;
        struct world *w = *state;
        FILE *file;

        assert_int_equal(ak_metrics_http_new(&http, w->loop, w->metrics, "127.0.0.1:0", error), 0);
        (void)snprintf(address, sizeof(address), "127.0.0.1:%u", ak_metrics_http_port(http));
        assert_int_equal(ak_metrics_http_new(&second, w->loop, w->metrics, address, error), -EADDRINUSE);
        (void)snprintf(path, sizeof(path), "%s/precious", w->dir);
        (void)snprintf(address, sizeof(address), "unix:%s", path);
        file = fopen(path, "we");
        assert_non_null(file);
        (void)fclose(file);
        assert_int_equal(ak_metrics_http_new(&second, w->loop, w->metrics, address, error), -EEXIST);
        assert_int_equal(unlink(path), 0);
}

/* Standard error into a file meanwhile. */
static void capture_log(struct world *w, void (*run)(struct ak_telemetry *), struct ak_telemetry *t,
                        char *out, size_t size)
{
        char path[80];
        int old = dup(STDERR_FILENO), fd;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "%s/log", w->dir);
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && old >= 0);
        assert_true(dup2(fd, STDERR_FILENO) >= 0);
        run(t);
        assert_true(dup2(old, STDERR_FILENO) >= 0);
        n = pread(fd, out, size - 1, 0);
        assert_true(n >= 0);
        out[n] = '\0';
        (void)close(fd);
        (void)close(old);
        assert_int_equal(unlink(path), 0);
}

static void do_steps(struct ak_telemetry *t)
{
        struct ak_step step = {.name = "port",
                               .trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                               .pod = "pod1",
                               .nic = "eth1",
                               .port = "port1",
                               .took_us = 1500};

        ak_telemetry_step(t, &step);
        step.failure = "NoSpace";
        ak_telemetry_step(t, &step);
        step.trace = "";
        step.failure = NULL;
        ak_telemetry_step(t, &step); /* counted; nothing to hang a span on */
        ak_telemetry_step(NULL, &step);
}

static void steps_are_counted_and_told(void **state)
{
        AK_CLEANUP(ak_telemetry_freep) struct ak_telemetry *t = NULL;
        struct ak_telemetry_options options = {.service = "test", .node = "node1"};
        struct world *w = *state;
        AK_AUTOFREE char *text = NULL;
        char log[4096];
        size_t len;

        assert_int_equal(ak_telemetry_new(&t, w->loop, &options), 0);
        capture_log(w, do_steps, t, log, sizeof(log));
        assert_non_null(strstr(log, "event=span name=port trace=4bf92f3577b34da6a3ce929d0e0e4736 span="));
        assert_non_null(strstr(log, " parent=00f067aa0ba902b7 pod=pod1 nic=eth1 port=port1 start_us="));
        assert_non_null(strstr(log, " us=1500 outcome=ok\n"));
        assert_non_null(strstr(log, " us=1500 outcome=NoSpace\n"));
        assert_int_equal(strchr(strchr(log, '\n') + 1, '\n')[1], '\0');
        assert_int_equal(ak_metrics_text(ak_telemetry_metrics(t), &text, &len), 0);
        assert_non_null(strstr(text, "alkaid_nic_step_seconds_count{step=\"port\",outcome=\"ok\"} 2\n"));
        assert_non_null(strstr(text, "alkaid_nic_step_seconds_count{step=\"port\",outcome=\"failed\"} 1\n"));
        assert_non_null(strstr(text, "alkaid_build_info{service=\"test\",version=\"" ALKAID_VERSION
                                     "\",node=\"node1\"} 1\n"));
        assert_non_null(strstr(text, "\nprocess_open_fds "));
        assert_null(strstr(text, "\nprocess_resident_memory_bytes 0\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
            TEST(serves_metrics_on_tcp),           TEST(serves_metrics_on_a_unix_socket),
            TEST(refuses_addresses_that_are_none), TEST(does_not_take_what_is_taken),
            TEST(steps_are_counted_and_told),
        };

        ak_log_init("test", AK_LOG_INFO);
        return cmocka_run_group_tests_name("telemetry", tests, NULL, NULL);
}
