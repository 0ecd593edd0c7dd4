/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console service for tests without a VM: whoever attaches sees "login: " and gets back what is typed; a
 * line "ask NUMBER" is answered with "answer NUMBER+1", so that a test can tell an answer from an echo. Its
 * log has two lines, of 2026-01-02T03:04:05Z and of a second later.
 */
#include <czmq.h>

#include "libcommon/cleanup.h"
#include "proto/console.h"

#define MAX_LINE  256
#define INTERRUPT 3 /* Ctrl-C: what was typed of the line is forgotten */

struct typed {
        char text[MAX_LINE];
        size_t len;
};

static void say(zsock_t *router, zframe_t *peer, const char *op, const void *data, size_t size)
{
        zmsg_t *msg = zmsg_new();

        (void)zmsg_append(msg, &(zframe_t *){zframe_dup(peer)});
        (void)zmsg_addstr(msg, op);
        (void)zmsg_addmem(msg, data, size);
        (void)zmsg_send(&msg, router);
}

static void answer_line(zsock_t *router, zframe_t *peer, struct typed *typed)
{
        static const char ask[] = "ask ";

        typed->text[typed->len] = '\0';
        typed->len = 0;
        if (strncmp(typed->text, ask, sizeof(ask) - 1) == 0) {
                long number = strtol(typed->text + sizeof(ask) - 1, NULL, 10);
                char text[64];
                int len = snprintf(text, sizeof(text), "\nanswer %ld\r\n", number + 1);

                say(router, peer, AK_CONSOLE_OP_DATA, text, (size_t)len);
        }
}

static void on_keys(zsock_t *router, zframe_t *peer, struct typed *typed, const char *keys, size_t count)
{
        say(router, peer, AK_CONSOLE_OP_DATA, keys, count);
        for (size_t i = 0; i < count; i++) {
                if (keys[i] == '\r' || keys[i] == '\n')
                        answer_line(router, peer, typed);
                else if (keys[i] == INTERRUPT)
                        typed->len = 0;
                else if (typed->len + 1 < MAX_LINE)
                        typed->text[typed->len++] = keys[i];
        }
}

static const struct line {
        uint64_t us;
        const char *text;
} printed[] = {{UINT64_C(1767323045000000), "2026-01-02T03:04:05.000000Z booted\r\n"},
               {UINT64_C(1767323046000000), "2026-01-02T03:04:06.000000Z login: "}};

/* "UID LINES SINCE": the last lines (-1 = all) since then. */
static void tell_log(zsock_t *router, zframe_t *peer, const zframe_t *asked)
{
        AK_AUTOFREE char *text = zframe_strdup((zframe_t *)asked);
        char *at = text ? strchr(text, ' ') : NULL;
        size_t count = AK_ARRAY_SIZE(printed);
        long lines = at ? strtol(at, &at, 10) : -1;
        uint64_t since_us = at ? strtoull(at, NULL, 10) : 0;

        for (size_t i = 0; i < count; i++) {
                if ((lines < 0 || i + (size_t)lines >= count) && printed[i].us >= since_us)
                        say(router, peer, AK_CONSOLE_OP_DATA, printed[i].text, strlen(printed[i].text));
        }
        say(router, peer, AK_CONSOLE_OP_OPENED, "", 0);
}

static void on_message(zsock_t *router, struct typed *typed)
{
        zmsg_t *msg = zmsg_recv(router);
        zframe_t *peer = zmsg_pop(msg), *op = zmsg_pop(msg), *data = zmsg_pop(msg);

        if (op && zframe_streq(op, AK_CONSOLE_OP_OPEN))
                say(router, peer, AK_CONSOLE_OP_OPENED, "booted\r\nlogin: ", 15);
        else if (op && data && zframe_streq(op, AK_CONSOLE_OP_LOG))
                tell_log(router, peer, data);
        else if (op && zframe_streq(op, AK_CONSOLE_OP_PING))
                say(router, peer, AK_CONSOLE_OP_PONG, "", 0);
        else if (op && data && zframe_streq(op, AK_CONSOLE_OP_DATA))
                on_keys(router, peer, typed, (const char *)zframe_data(data), zframe_size(data));
        zframe_destroy(&peer);
        zframe_destroy(&op);
        zframe_destroy(&data);
        zmsg_destroy(&msg);
}

int main(int argc, char **argv)
{
        char endpoint[200];
        struct typed typed = {.len = 0};

        if (argc != 2) {
                (void)fprintf(stderr, "usage: console-echo BUS-DIR\n");
                return 2;
        }
        (void)snprintf(endpoint, sizeof(endpoint), "ipc://%.150s/%s", argv[1], AK_CONSOLE_ENDPOINT);
        zsock_t *router = zsock_new(ZMQ_ROUTER);
        if (!router || zsock_bind(router, "%s", endpoint) < 0) {
                (void)fprintf(stderr, "console-echo: cannot bind %s\n", endpoint);
                return 1;
        }
        zpoller_t *poller = zpoller_new(router, NULL);
        while (poller && zpoller_wait(poller, -1) == router)
                on_message(router, &typed);
        zpoller_destroy(&poller);
        zsock_destroy(&router);
        return 0;
}
