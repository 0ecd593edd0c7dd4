/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Total deadlines. libmicrohttpd's timeout begins anew with each byte, so a client that sends or reads drop
 * by drop would hold its connection, and what the request or the answer takes, for as long as it likes. Each
 * connection has at most one deadline at a time: for its first line, for the rest of the request, for the
 * answer to be read; none while the server works on it, and none for streams, which have one of their own
 * (http_stream.c).
 *
 * libmicrohttpd has no call that closes a connection. Its socket is shut down, which it hears of.
 */
#include <sys/socket.h>

#include "libcommon/clock.h"
#include "services/apiserver/http_internal.h"

void http_deadline_begin(struct api_http *http, struct connection *c, struct MHD_Connection *mhd)
{
        c->mhd = mhd;
        TAILQ_INSERT_TAIL(&http->connections, c, in_connections);
        http_deadline_set(http, c, HTTP_HANDSHAKE_US + http->server->options->request_timeout_us);
}

void http_deadline_end(struct api_http *http, struct connection *c)
{
        TAILQ_REMOVE(&http->connections, c, in_connections);
}

void http_deadline_set(struct api_http *http, struct connection *c, uint64_t in_us)
{
        c->due_us = ak_clock_monotonic_us() + in_us;
        if (c->due_us < http->look_us)
                http->look_us = c->due_us;
}

void http_deadline_clear(struct connection *c)
{
        c->due_us = UINT64_MAX;
}

static void cut_off(struct connection *c)
{
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

        http_deadline_clear(c);
        if (info)
                (void)shutdown(info->connect_fd, SHUT_RDWR);
}

/* All are looked at when the nearest may have come, which is seldom: most deadlines are cleared before. */
void http_deadlines_run(struct api_http *http, uint64_t now_us)
{
        if (now_us < http->look_us)
                return;
        http->look_us = UINT64_MAX;
        for (struct connection *c = TAILQ_FIRST(&http->connections); c; c = TAILQ_NEXT(c, in_connections)) {
                if (c->due_us <= now_us)
                        cut_off(c);
                else if (c->due_us < http->look_us)
                        http->look_us = c->due_us;
        }
}
