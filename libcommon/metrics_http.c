/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd through its epoll descriptor in the service's loop; a handful of connections at most. */
#include "libcommon/metrics_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "libcommon/log.h"

#define MAX_CONNECTIONS   8
#define CONNECTION_MEMORY 8192
#define IDLE_S            30
#define BACKLOG           16

struct ak_metrics_http {
        zloop_t *loop;
        struct ak_metrics *metrics;
        struct MHD_Daemon *daemon;
        zmq_pollitem_t item;
        int timer;      /* -1 = none */
        char path[108]; /* of a UNIX socket, to be removed; "" = none */
        unsigned port;
};

union address {
        struct sockaddr any;
        struct sockaddr_in v4; /* its port lies where that of sockaddr_in6 does */
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
};

/* ------------------------------------------------------------------ requests */

static struct MHD_Response *text_response(const char *text)
{
        return MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *metrics_response(struct ak_metrics *metrics)
{
        struct MHD_Response *response;
        char *text;
        size_t len;

        if (ak_metrics_text(metrics, &text, &len) < 0)
                return NULL;
        response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
        if (!response)
                free(text);
        return response;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, struct MHD_Response *response,
                              const char *type)
{
        enum MHD_Result result;

        if (!response)
                return MHD_NO;
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
        result = MHD_queue_response(connection, code, response);
        MHD_destroy_response(response);
        return result;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version AK_UNUSED,
                                 const char *data AK_UNUSED, size_t *size, void **state)
{
        struct ak_metrics_http *http = arg;

        if (!*state) { /* headers only; answered once a body, if there is one, has been dropped */
                *state = http;
                return MHD_YES;
        }
        if (*size > 0) {
                *size = 0;
                return MHD_YES;
        }
        if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
                return answer(connection, 405, text_response("GET only\n"), "text/plain");
        if (strcmp(url, "/metrics") != 0)
                return answer(connection, 404, text_response("see /metrics\n"), "text/plain");
        return answer(connection, 200, metrics_response(http->metrics), AK_METRICS_CONTENT_TYPE);
}

/* ------------------------------------------------------------------ the loop */

static void run(struct ak_metrics_http *http);

static int on_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct ak_metrics_http *http = arg;

        http->timer = -1;
        run(http);
        return 0;
}

/* libmicrohttpd says when it wants to be called though nothing arrives: to end idle connections. */
static void run(struct ak_metrics_http *http)
{
        MHD_UNSIGNED_LONG_LONG ms;

        (void)MHD_run(http->daemon);
        if (http->timer < 0 && MHD_get_timeout(http->daemon, &ms) == MHD_YES)
                http->timer = zloop_timer(http->loop, (size_t)ms + 1, 1, on_timer, http);
}

static int on_readable(zloop_t *loop AK_UNUSED, zmq_pollitem_t *item AK_UNUSED, void *arg)
{
        run(arg);
        return 0;
}

/* ------------------------------------------------------------------ making */

static int fail(char error[AK_METRICS_HTTP_ERROR_SIZE], int r, const char *address, const char *why)
{
        (void)snprintf(error, AK_METRICS_HTTP_ERROR_SIZE, "%.120s: %s", address, why);
        return r;
}

static int parse_unix(const char *path, union address *out, socklen_t *len)
{
        if (path[0] != '/' || strlen(path) >= sizeof(out->un.sun_path))
                return -EINVAL;
        out->un.sun_family = AF_UNIX;
        (void)snprintf(out->un.sun_path, sizeof(out->un.sun_path), "%s", path);
        *len = sizeof(out->un);
        return 0;
}

static int parse_port(const char *text, in_port_t *out)
{
        unsigned long port;
        size_t len = strlen(text);

        if (len < 1 || len > 5 || strspn(text, "0123456789") != len)
                return -EINVAL;
        port = strtoul(text, NULL, 10);
        if (port > UINT16_MAX)
                return -EINVAL;
        *out = htons((uint16_t)port);
        return 0;
}

static int parse_address(const char *text, union address *out, socklen_t *len)
{
        const char *colon = strrchr(text, ':');
        char host[64];
        size_t host_len = colon ? (size_t)(colon - text) : 0;
        bool v6 = text[0] == '[' && host_len > 2 && text[host_len - 1] == ']';

        *out = (union address){0};
        if (strncmp(text, "unix:", 5) == 0)
                return parse_unix(text + 5, out, len);
        if (host_len < 1 || host_len >= sizeof(host))
                return -EINVAL;
        (void)snprintf(host, sizeof(host), "%.*s", (int)(v6 ? host_len - 2 : host_len), v6 ? text + 1 : text);
        out->any.sa_family = v6 ? AF_INET6 : AF_INET;
        *len = v6 ? sizeof(out->v6) : sizeof(out->v4);
        if (inet_pton(out->any.sa_family, host, v6 ? (void *)&out->v6.sin6_addr : &out->v4.sin_addr) != 1)
                return -EINVAL;
        return parse_port(colon + 1, &out->v4.sin_port);
}

/* Only a socket is put away: whatever else stands at the path is somebody's. */
static int clear_path(const char *path)
{
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;
        return unlink(path) < 0 ? -errno : 0;
}

static int listen_at(struct ak_metrics_http *http, const union address *address, socklen_t len, int *out)
{
        AK_AUTOCLOSE int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        bool local = address->any.sa_family == AF_UNIX;
        int one = 1, r = local ? clear_path(address->un.sun_path) : 0;

        if (fd < 0)
                return -errno;
        if (r < 0)
                return r;
        if (!local && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
                return -errno;
        if (bind(fd, &address->any, len) < 0)
                return -errno;
        if (local)
                (void)snprintf(http->path, sizeof(http->path), "%s", address->un.sun_path);
        /* Before listen(2) nobody gets in. */
        if ((local && chmod(address->un.sun_path, 0600) < 0) || listen(fd, BACKLOG) < 0)
                return -errno;
        *out = fd;
        fd = -1;
        return 0;
}

static unsigned bound_port(int fd)
{
        union address address = {0};
        socklen_t len = sizeof(address);

        if (getsockname(fd, &address.any, &len) < 0 || address.any.sa_family == AF_UNIX)
                return 0;
        return ntohs(address.v4.sin_port);
}

/* The daemon owns fd from then on. */
static int start(struct ak_metrics_http *http, int fd)
{
        const union MHD_DaemonInfo *info;

        http->port = bound_port(fd);
        http->daemon = MHD_start_daemon(
            MHD_USE_EPOLL, 0, NULL, NULL, on_access, http, MHD_OPTION_LISTEN_SOCKET, fd,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
        if (!http->daemon) {
                (void)close(fd);
                return -EIO;
        }
        info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info)
                return -EIO;
        http->item = (zmq_pollitem_t){.fd = info->epoll_fd, .events = ZMQ_POLLIN};
        return zloop_poller(http->loop, &http->item, on_readable, http) < 0 ? -ENOMEM : 0;
}

int ak_metrics_http_new(struct ak_metrics_http **out, zloop_t *loop, struct ak_metrics *metrics,
                        const char *address, char error[AK_METRICS_HTTP_ERROR_SIZE])
{
        AK_CLEANUP(ak_metrics_http_freep) struct ak_metrics_http *http = calloc(1, sizeof(*http));
        union address parsed;
        socklen_t len;
        int fd = -1, r;

        if (!http)
                return fail(error, -ENOMEM, address, "out of memory");
        http->loop = loop;
        http->metrics = metrics;
        http->timer = -1;
        if (parse_address(address, &parsed, &len) < 0)
                return fail(error, -EINVAL, address, "must be ADDRESS:PORT, [IPv6]:PORT or unix:/PATH");
        r = listen_at(http, &parsed, len, &fd);
        if (r == 0)
                r = start(http, fd);
        if (r < 0)
                return fail(error, r, address, strerror(-r));
        ak_log(AK_LOG_INFO, "metrics_listening", "address", address, "port",
               http->port ? AK_FMT("%u", http->port) : NULL, NULL);
        *out = AK_STEAL(http);
        return 0;
}

struct ak_metrics_http *ak_metrics_http_free(struct ak_metrics_http *http)
{
        if (!http)
                return NULL;
        if (http->timer >= 0)
                (void)zloop_timer_end(http->loop, http->timer);
        if (http->item.fd > 0)
                zloop_poller_end(http->loop, &http->item);
        if (http->daemon)
                MHD_stop_daemon(http->daemon);
        if (http->path[0])
                (void)unlink(http->path);
        free(http);
        return NULL;
}

unsigned ak_metrics_http_port(const struct ak_metrics_http *http)
{
        return http->port;
}
