/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches, once their head is out. Through libmicrohttpd each event costs each watcher a resume, a look at
 * all of the connection's states, corking, and a suspend: twice the time of encrypting and sending it. So its
 * connection stays suspended, which takes it out of libmicrohttpd's hands, and what the watcher has to say is
 * sent from here as chunks of the body, a TLS record each. At the end the connection is resumed, and
 * libmicrohttpd ends the body.
 *
 * A thousand watchers of one change are served some at a time, so that requests are answered in between. One
 * whose client does not read holds one record; it is looked at again when its socket has room, and cut off
 * when that takes too long.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "libcommon/clock.h"
#include "services/apiserver/http_internal.h"

#define CHUNK_HEAD      6  /* 4 digits, CR, LF */
#define STREAMS_AT_ONCE 64 /* then requests have their turn */
#define BLOCKS_AT_ONCE  4  /* of one stream */
#define BLOCKED_LOOK_US (UINT64_C(1000) * 1000)

static gnutls_session_t session_of(const struct request *r)
{
        return MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
}

void http_stream_take(struct request *r)
{
        int on = 1, off = 0;

        if (!r->direct) {
                r->direct = true;
                (void)setsockopt(http_connection_fd(r), IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
                (void)setsockopt(http_connection_fd(r), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                http_watch_hangup(r, false);
        }
        http_stream_queue(r);
}

void http_stream_queue(struct request *r)
{
        if (r->queued)
                return;
        r->queued = true;
        TAILQ_INSERT_TAIL(&r->http->queue, r, in_queue);
}

static void set_blocked(struct request *r, bool blocked)
{
        if (!r->blocked && !blocked)
                return;
        if (!r->blocked)
                r->blocked_us = ak_clock_monotonic_us();
        r->http->blocked += (size_t)blocked - (size_t)r->blocked;
        r->blocked = blocked;
        http_watch_hangup(r, blocked);
}

void http_stream_gone(struct request *r)
{
        if (r->queued)
                TAILQ_REMOVE(&r->http->queue, r, in_queue);
        r->queued = false;
        set_blocked(r, false);
}

/* Whether the stream goes on at once. len 0: what the session still holds. */
static bool send_record(struct request *r, const char *data, size_t len)
{
        ssize_t n = gnutls_record_send(session_of(r), data, len);

        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
                set_blocked(r, true);
                return false;
        }
        set_blocked(r, false);
        if (n >= 0)
                return true;
        r->hung_up = true;
        http_resume(r);
        return false;
}

/* The length of a chunk, in digits of base 16, and the end of that line. */
static void put_head(char *out, size_t len)
{
        for (int i = 3; i >= 0; i--, len >>= 4)
                out[i] = "0123456789abcdef"[len & 15];
        out[4] = '\r';
        out[5] = '\n';
}

static bool send_chunk(struct request *r, size_t len)
{
        char *block = r->http->block, *end = block + CHUNK_HEAD + len;

        put_head(block, len);
        end[0] = '\r';
        end[1] = '\n';
        return send_record(r, block, CHUNK_HEAD + len + 2);
}

static void serve(struct request *r, uint64_t now_us, uint64_t real_us)
{
        if (r->blocked && !send_record(r, NULL, 0))
                return;
        for (int i = 0; i < BLOCKS_AT_ONCE; i++) {
                ssize_t n = api_watcher_read(r->call.watcher, r->http->block + CHUNK_HEAD, HTTP_BLOCK, now_us,
                                             real_us);

                if (n == 0)
                        return;
                if (n < 0) {
                        r->over = true;
                        http_resume(r);
                        return;
                }
                if (!send_chunk(r, (size_t)n))
                        return;
        }
        http_stream_queue(r);
}

/* A client that has not read for too long. */
static void cut_off_blocked(struct api_http *http, uint64_t now_us)
{
        if (http->blocked == 0 || now_us < http->blocked_look_us)
                return;
        http->blocked_look_us = now_us + BLOCKED_LOOK_US;
        for (struct request *r = http->streams; r; r = r->next) {
                if (r->blocked && now_us - r->blocked_us > http->server->options->watch_stall_timeout_us) {
                        r->hung_up = true;
                        http_resume(r);
                }
        }
}

uint64_t http_streams_due_us(const struct api_http *http)
{
        return http->blocked ? http->blocked_look_us : UINT64_MAX;
}

bool http_streams_run(struct api_http *http)
{
        uint64_t now_us = ak_clock_monotonic_us(), real_us = ak_clock_realtime_us();

        cut_off_blocked(http, now_us);
        for (int i = 0; i < STREAMS_AT_ONCE && !TAILQ_EMPTY(&http->queue); i++) {
                struct request *r = TAILQ_FIRST(&http->queue);

                TAILQ_REMOVE(&http->queue, r, in_queue);
                r->queued = false;
                if (r->suspended && !r->hung_up && !r->over)
                        serve(r, now_us, real_us);
        }
        return TAILQ_EMPTY(&http->queue);
}
