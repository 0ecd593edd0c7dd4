/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/kube/kubeconfig.h"

#define EVENTS 256

struct wire {
        char host[WIRE_HOST];
        gnutls_certificate_credentials_t credentials;
        struct addrinfo *address;
        int epoll_fd;
        gnutls_datum_t ticket; /* of the first session: later ones begin with it, which is cheaper */
};

static _Noreturn void give_up(const char *what, const char *why)
{
        (void)fprintf(stderr, "bench: %s: %s\n", what, why);
        exit(1);
}

static void must(int rc, const char *what)
{
        if (rc < 0)
                give_up(what, gnutls_strerror(rc));
}

int wire_find_server(const char *pki_dir, char host[WIRE_HOST], char port[WIRE_PORT])
{
        struct ak_kubeconfig kube = {0};
        char path[400], error[AK_KUBECONFIG_ERROR_SIZE] = "";
        int rc;

        (void)snprintf(path, sizeof(path), "%s/admin.kubeconfig", pki_dir);
        rc = ak_kubeconfig_load(&kube, path, NULL, error);
        if (rc == 0 && sscanf(kube.server, "https://%255[^:]:%7[0-9]", host, port) != 2) {
                (void)snprintf(error, sizeof(error), "%s: the server is no https://HOST:PORT", path);
                rc = -EINVAL;
        }
        if (rc < 0)
                (void)fprintf(stderr, "bench: %s\n", error);
        ak_kubeconfig_deinit(&kube);
        return rc;
}

struct wire *wire_new(const char *pki_dir, const char *host, const char *port)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct wire *w = calloc(1, sizeof(*w));
        char ca[400], cert[400], key[400];
        int rc;

        if (!w)
                give_up("memory", "out of memory");
        (void)snprintf(w->host, sizeof(w->host), "%s", host);
        (void)snprintf(ca, sizeof(ca), "%s/ca.crt", pki_dir);
        (void)snprintf(cert, sizeof(cert), "%s/admin.crt", pki_dir);
        (void)snprintf(key, sizeof(key), "%s/admin.key", pki_dir);
        must(gnutls_certificate_allocate_credentials(&w->credentials), "credentials");
        must(gnutls_certificate_set_x509_trust_file(w->credentials, ca, GNUTLS_X509_FMT_PEM), ca);
        must(gnutls_certificate_set_x509_key_file(w->credentials, cert, key, GNUTLS_X509_FMT_PEM), cert);
        rc = getaddrinfo(host, port, &hints, &w->address);
        if (rc != 0)
                give_up(host, gai_strerror(rc));
        w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (w->epoll_fd < 0)
                give_up("epoll", strerror(errno));
        return w;
}

struct wire *wire_free(struct wire *w)
{
        if (!w)
                return NULL;
        gnutls_certificate_free_credentials(w->credentials);
        gnutls_free(w->ticket.data);
        freeaddrinfo(w->address);
        (void)close(w->epoll_fd);
        free(w);
        return NULL;
}

/* One recv() for as much as there is, where the library alone makes two for each record. */
static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t size)
{
        struct wire_conn *c = ptr;
        size_t n;

        if (c->raw_at == c->raw_len) {
                ssize_t got = recv(c->fd, c->raw, sizeof(c->raw), 0);

                if (got <= 0) {
                        gnutls_transport_set_errno(c->tls, got < 0 ? errno : 0);
                        return got;
                }
                c->raw_at = 0;
                c->raw_len = (size_t)got;
        }
        n = c->raw_len - c->raw_at < size ? c->raw_len - c->raw_at : size;
        memcpy(data, c->raw + c->raw_at, n);
        c->raw_at += n;
        return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t size)
{
        struct wire_conn *c = ptr;
        ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);

        if (n < 0)
                gnutls_transport_set_errno(c->tls, errno);
        return n;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned int ms)
{
        const struct wire_conn *c = ptr;

        return c->raw_at < c->raw_len ? 1 : gnutls_system_recv_timeout((void *)(intptr_t)c->fd, ms);
}

static void shake_hands(struct wire_conn *c)
{
        struct wire *w = c->wire;
        int rc;

        must(gnutls_init(&c->tls, GNUTLS_CLIENT), "TLS session");
        must(gnutls_set_default_priority(c->tls), "TLS priorities");
        must(gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, w->credentials), "TLS credentials");
        gnutls_session_set_verify_cert(c->tls, NULL, 0);
        gnutls_transport_set_ptr(c->tls, c);
        gnutls_transport_set_pull_function(c->tls, pull);
        gnutls_transport_set_push_function(c->tls, push);
        gnutls_transport_set_pull_timeout_function(c->tls, pull_timeout);
        if (w->ticket.data)
                (void)gnutls_session_set_data(c->tls, w->ticket.data, w->ticket.size);
        do {
                rc = gnutls_handshake(c->tls);
        } while (rc < 0 && !gnutls_error_is_fatal(rc));
        must(rc, "TLS handshake");
        if (!w->ticket.data && gnutls_protocol_get_version(c->tls) == GNUTLS_TLS1_2)
                (void)gnutls_session_get_data2(c->tls, &w->ticket);
}

struct wire_conn *wire_open(struct wire *wire)
{
        struct wire_conn *c = calloc(1, sizeof(*c));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        int one = 1;

        if (!c)
                give_up("memory", "out of memory");
        c->wire = wire;
        c->fd = socket(wire->address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || connect(c->fd, wire->address->ai_addr, wire->address->ai_addrlen) < 0)
                give_up("connecting", strerror(errno));
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        shake_hands(c);
        if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
            epoll_ctl(wire->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
                give_up("epoll", strerror(errno));
        return c;
}

struct wire_conn *wire_close(struct wire_conn *c)
{
        if (!c)
                return NULL;
        gnutls_deinit(c->tls);
        (void)close(c->fd);
        free(c);
        return NULL;
}

void wire_send(struct wire_conn *c, const char *text, size_t len)
{
        ssize_t n = gnutls_record_send(c->tls, text, len);

        if (n != (ssize_t)len)
                give_up("sending", n < 0 ? gnutls_strerror((int)n) : "the socket's buffer is full");
}

void wire_request(struct wire_conn *c, const char *method, const char *path, const char *type,
                  const char *body)
{
        char text[WIRE_REQUEST];
        int len = snprintf(text, sizeof(text),
                           "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/%s\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           method, path, c->wire->host, type, strlen(body), body);

        if (len >= (int)sizeof(text))
                give_up("sending", "the request is too long");
        wire_send(c, text, (size_t)len);
}

static void read_all(struct wire_conn *c)
{
        char data[WIRE_BUFFER];

        do {
                ssize_t n = gnutls_record_recv(c->tls, data, sizeof(data));

                if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
                        return;
                if (n <= 0)
                        give_up("reading", n < 0 ? gnutls_strerror((int)n) : "the server hung up");
                c->on_data(c, data, (size_t)n);
        } while (c->raw_at < c->raw_len || gnutls_record_check_pending(c->tls) > 0);
}

void wire_poll(struct wire *wire, int timeout_ms)
{
        struct epoll_event events[EVENTS];
        int n = epoll_wait(wire->epoll_fd, events, EVENTS, timeout_ms);

        for (int i = 0; i < n; i++)
                read_all(events[i].data.ptr);
}

/* Takes the head of an answer from the data; what of it was used. */
static size_t take_head(struct wire_conn *c, const char *data, size_t len)
{
        size_t room = sizeof(c->head) - 1 - c->head_len, n = len < room ? len : room, used;
        const char *end, *length;

        memcpy(c->head + c->head_len, data, n);
        c->head[c->head_len + n] = '\0';
        end = strstr(c->head, "\r\n\r\n");
        if (!end) {
                if (n < len)
                        give_up("reading", "the head of an answer is too long");
                c->head_len += n;
                return n;
        }
        used = (size_t)(end + 4 - c->head) - c->head_len;
        length = strcasestr(c->head, "\r\nContent-Length:");
        c->code = (int)strtol(c->head + strlen("HTTP/1.1 "), NULL, 10);
        c->body_left = length ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
        c->in_body = true;
        c->head_len = 0;
        return used;
}

static size_t skip_body(struct wire_conn *c, size_t len)
{
        size_t n = len < c->body_left ? len : c->body_left;

        c->body_left -= n;
        return n;
}

void wire_on_answer(struct wire_conn *c, const char *data, size_t len)
{
        while (len > 0) {
                size_t used = c->in_body ? skip_body(c, len) : take_head(c, data, len);

                data += used;
                len -= used;
                if (c->in_body && c->body_left == 0) {
                        c->in_body = false;
                        c->on_answer(c, c->code);
                }
        }
}
