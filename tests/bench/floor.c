/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"

#define SYNC_BLOCK 4096
#define SYNC_US    1000000
#define PEM_MAX    16384

static _Noreturn void give_up(const char *what, const char *why)
{
        (void)fprintf(stderr, "bench: %s: %s\n", what, why);
        exit(1);
}

double floor_syncs_per_second(const char *dir)
{
        static const char block[SYNC_BLOCK] = "bench";
        AK_AUTOCLOSE int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        uint64_t begin_us = ak_clock_monotonic_us(), now_us = begin_us;
        unsigned int count = 0;

        if (fd < 0)
                give_up(dir, strerror(errno));
        for (; now_us < begin_us + SYNC_US; now_us = ak_clock_monotonic_us(), count++) {
                if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block) || fdatasync(fd) < 0)
                        give_up(dir, strerror(errno));
        }
        return count * 1e6 / (double)(now_us - begin_us);
}

/* ---- what the servers share ---- */

static int listen_somewhere(char port[8])
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 512) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &len) < 0)
                give_up("listening", strerror(errno));
        (void)snprintf(port, 8, "%u", ntohs(address.sin_port));
        return fd;
}

static void read_pem(const char *pki_dir, const char *name, char out[PEM_MAX])
{
        char path[400];
        FILE *file;
        size_t n;

        (void)snprintf(path, sizeof(path), "%s/%s", pki_dir, name);
        file = fopen(path, "re");
        if (!file)
                give_up(path, strerror(errno));
        n = fread(out, 1, PEM_MAX - 1, file);
        out[n] = '\0';
        (void)fclose(file);
}

/* Forks; in the child, which dies with its parent, `control` is the end to read from. */
static pid_t begin(struct floor_server *out, int *control)
{
        int pipe_fds[2];

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                give_up("pipe", strerror(errno));
        (void)fflush(stdout);
        out->pid = fork();
        if (out->pid < 0)
                give_up("fork", strerror(errno));
        if (out->pid == 0)
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(pipe_fds[out->pid == 0]);
        out->control = pipe_fds[1];
        *control = pipe_fds[0];
        return out->pid;
}

void floor_stop(struct floor_server *server)
{
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
        (void)close(server->control);
}

/* ---- HTTP ---- */

static enum MHD_Result answer(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_size, void **context)
{
        (void)url;
        (void)method;
        (void)version;
        (void)data;
        if (!*context || *data_size > 0) {
                *context = arg;
                *data_size = 0;
                return MHD_YES;
        }
        return MHD_queue_response(mhd, 200, arg);
}

static _Noreturn void serve_http(int listen_fd, const char *pki_dir, size_t size, int control)
{
        char key[PEM_MAX], cert[PEM_MAX], byte;
        char *body = calloc(1, size);
        struct MHD_Response *response;

        if (!body)
                give_up("memory", "out of memory");
        read_pem(pki_dir, "server.key", key);
        read_pem(pki_dir, "server.crt", cert);
        memset(body, 'x', size);
        response = MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_FREE);
        if (!MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS, 0, NULL, NULL, answer, response,
                              MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_HTTPS_MEM_KEY, key,
                              MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_END))
                give_up("the bare HTTP server", "cannot start");
        while (read(control, &byte, 1) > 0)
                ;
        _exit(0);
}

struct floor_server floor_http(const char *pki_dir, size_t size)
{
        struct floor_server s = {0};
        int control, listen_fd = listen_somewhere(s.port);

        if (begin(&s, &control) == 0)
                serve_http(listen_fd, pki_dir, size, control);
        (void)close(listen_fd);
        (void)close(control);
        return s;
}

/* ---- fan-out ---- */

static gnutls_session_t accept_one(int listen_fd, gnutls_certificate_credentials_t credentials)
{
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), one = 1, rc;
        gnutls_session_t tls = NULL;

        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        rc = gnutls_init(&tls, GNUTLS_SERVER);
        if (fd < 0 || rc < 0)
                give_up("the bare fan-out", "cannot accept");
        (void)gnutls_set_default_priority(tls);
        (void)gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
        gnutls_transport_set_int(tls, fd);
        do {
                rc = gnutls_handshake(tls);
        } while (rc < 0 && !gnutls_error_is_fatal(rc));
        if (rc < 0)
                give_up("the bare fan-out", gnutls_strerror(rc));
        return tls;
}

static _Noreturn void serve_fanout(int listen_fd, const char *pki_dir, size_t count, size_t size, int control)
{
        gnutls_session_t *sessions = calloc(count, sizeof(gnutls_session_t));
        gnutls_certificate_credentials_t credentials;
        char cert[400], key[400], byte;
        char *body = calloc(1, size);

        (void)snprintf(cert, sizeof(cert), "%s/server.crt", pki_dir);
        (void)snprintf(key, sizeof(key), "%s/server.key", pki_dir);
        if (!sessions || !body || gnutls_certificate_allocate_credentials(&credentials) < 0 ||
            gnutls_certificate_set_x509_key_file(credentials, cert, key, GNUTLS_X509_FMT_PEM) < 0)
                give_up("the bare fan-out", "cannot start");
        for (size_t i = 0; i < count; i++)
                sessions[i] = accept_one(listen_fd, credentials);
        while (read(control, &byte, 1) > 0) {
                for (size_t i = 0; i < count; i++)
                        (void)gnutls_record_send(sessions[i], body, size);
        }
        _exit(0);
}

struct floor_server floor_fanout(const char *pki_dir, size_t count, size_t size)
{
        struct floor_server s = {0};
        int control, listen_fd = listen_somewhere(s.port);

        if (begin(&s, &control) == 0)
                serve_fanout(listen_fd, pki_dir, count, size, control);
        (void)close(listen_fd);
        (void)close(control);
        return s;
}
