/* SPDX-License-Identifier: Apache-2.0 */
/* The front door: request line, Accept, Content-Type and body, one line each, as a client may send them. */
#include <stdint.h>
#include <string.h>

#include "services/apiserver/auth.h"
#include "services/apiserver/rest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct rest_request *r)
{
        static const char *const groups[] = {ACCESS_NODES, NULL};
        const struct api_user user = {"system:node:n", groups};
        char text[600];

        if (r->api.kind && !auth_allowed(NULL, &user, r, r->api.name))
                auth_refusal(&user, r, text, sizeof(text));
        if (strlen(r->api.name) > 253 || strchr(r->api.name, '/'))
                __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *copy = strndup((const char *)data, size);
        char *rest = copy;
        char *method = strsep(&rest, " ");
        char *uri = strsep(&rest, "\n"), *accept = strsep(&rest, "\n"), *type = strsep(&rest, "\n");
        struct rest_request r;
        struct rest_error error;
        enum rest_form form;
        enum api_patch patch;
        json_t *body = NULL;
        bool protobuf;

        if (uri && rest_decode(method, uri, &r, &error) == 0) {
                use(&r);
                rest_request_deinit(&r);
        }
        (void)rest_accept(accept, 0xff, &form);
        (void)rest_patch_type(type, &patch, &error);
        (void)rest_body_type(type, &protobuf, &error);
        if (rest && rest_parse_body(rest, strlen(rest), true, &body, &error) == 0)
                json_decref(body);
        free(copy);
        return 0;
}
