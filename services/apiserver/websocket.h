/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opening handshake of RFC 6455 and the channel protocol that kubectl attach speaks over it
 * (vN.channel.k8s.io: the first byte of a message is its channel). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_ACCEPT_SIZE 29

enum websocket_channel {
        WEBSOCKET_STDIN,
        WEBSOCKET_STDOUT,
        WEBSOCKET_STDERR,
        WEBSOCKET_ERROR,
        WEBSOCKET_RESIZE,
        WEBSOCKET_CLOSE = 255, /* v5: the byte after it names the channel that is closed */
};

/* What a request says about an upgrade; members are header values or NULL. */
struct websocket_request {
        const char *connection, *upgrade, *version, *key, *protocols;
};

/*
 * Checks an upgrade. 0 with the value for Sec-WebSocket-Accept and the protocol chosen (v5 or v4, static
 * string), or -EINVAL with a text for the client.
 */
int websocket_check(const struct websocket_request *request, char accept[WEBSOCKET_ACCEPT_SIZE],
                    const char **protocol, const char **error);

/* A message from the client. */
struct websocket_message {
        enum websocket_channel channel;
        enum websocket_channel closes; /* where channel is WEBSOCKET_CLOSE */
        const uint8_t *data;
        size_t len;
};
/* -EPROTO for an empty message or an unknown channel. */
int websocket_parse(const uint8_t *data, size_t len, bool v5, struct websocket_message *out);
