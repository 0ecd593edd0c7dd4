/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/websocket.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_SIZE 24 /* 16 bytes in base64 */

/* Is `word` an element of a comma-separated header value? */
static bool has_element(const char *list, const char *word)
{
        size_t len = strlen(word);

        for (const char *p = list; p && *p;) {
                p += strspn(p, ", \t");
                if (strncasecmp(p, word, len) == 0 && (p[len] == '\0' || strchr(", \t", p[len])))
                        return true;
                p += strcspn(p, ",");
        }
        return false;
}

static int make_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
        char text[KEY_SIZE + sizeof(GUID)];
        unsigned char digest[20];
        gnutls_datum_t in = {digest, sizeof(digest)}, out;
        int n = snprintf(text, sizeof(text), "%s" GUID, key);

        if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, (size_t)n, digest) < 0 ||
            gnutls_base64_encode2(&in, &out) < 0)
                return -ENOMEM;
        (void)snprintf(accept, WEBSOCKET_ACCEPT_SIZE, "%.*s", (int)out.size, (const char *)out.data);
        gnutls_free(out.data);
        return 0;
}

static int refuse(const char **error, const char *text)
{
        *error = text;
        return -EINVAL;
}

int websocket_check(const struct websocket_request *r, char accept[WEBSOCKET_ACCEPT_SIZE],
                    const char **protocol, const char **error)
{
        static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};

        if (!r->upgrade || !has_element(r->connection, "upgrade"))
                return refuse(error, "attach needs an upgrade of the connection to a WebSocket");
        if (!has_element(r->upgrade, "websocket"))
                return refuse(error,
                              "only the WebSocket protocol is served for attach, not SPDY: kubectl speaks it "
                              "from 1.31 on");
        if (!r->version || strcmp(r->version, "13") != 0)
                return refuse(error, "Sec-WebSocket-Version must be 13");
        if (!r->key || strlen(r->key) != KEY_SIZE)
                return refuse(error, "Sec-WebSocket-Key must be 16 bytes in base64");
        for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
                if (has_element(r->protocols, protocols[i])) {
                        *protocol = protocols[i];
                        return make_accept(r->key, accept) < 0 ? refuse(error, "out of memory") : 0;
                }
        }
        return refuse(error, "Sec-WebSocket-Protocol must offer v5.channel.k8s.io or v4.channel.k8s.io");
}

int websocket_parse(const uint8_t *data, size_t len, bool v5, struct websocket_message *out)
{
        if (len == 0)
                return -EPROTO;
        *out = (struct websocket_message){.channel = data[0], .data = data + 1, .len = len - 1};
        if (v5 && data[0] == WEBSOCKET_CLOSE) {
                if (len != 2 || data[1] > WEBSOCKET_RESIZE)
                        return -EPROTO;
                out->closes = data[1];
                return 0;
        }
        return data[0] <= WEBSOCKET_RESIZE ? 0 : -EPROTO;
}
