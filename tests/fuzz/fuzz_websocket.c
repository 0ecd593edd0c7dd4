/* SPDX-License-Identifier: Apache-2.0 */
/* The upgrade of kubectl attach: five header values, one line each, then one message of the channel protocol.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *copy = strndup((const char *)data, size);
        char *rest = copy;
        struct websocket_request request = {.connection = strsep(&rest, "\n"),
                                            .upgrade = strsep(&rest, "\n"),
                                            .version = strsep(&rest, "\n"),
                                            .key = strsep(&rest, "\n"),
                                            .protocols = strsep(&rest, "\n")};
        char accept[WEBSOCKET_ACCEPT_SIZE] = "";
        const char *protocol = NULL, *error = NULL;
        struct websocket_message message;
        int rc = websocket_check(&request, accept, &protocol, &error);

        if (rc == 0 ? !protocol || strlen(accept) != WEBSOCKET_ACCEPT_SIZE - 1 : !error)
                __builtin_trap();
        for (int v5 = 0; v5 < 2; v5++) {
                if (websocket_parse(data, size, v5, &message) == 0 && message.len >= size)
                        __builtin_trap();
        }
        free(copy);
        return 0;
}
