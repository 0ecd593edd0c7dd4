/* SPDX-License-Identifier: Apache-2.0 */
/* The files grants and tokens, in two halves at the first "---" line, and a question to what was read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char *const groups[] = {"dev", NULL};
        const struct api_user user = {"alice", groups};
        const struct access_question q = {"get", "", "pods", "", "team-a", "p"};
        char error[ACCESS_ERROR_SIZE] = "", *text = strndup((const char *)data, size);
        char *tokens = text ? strstr(text, "---\n") : NULL;
        struct access *a = NULL;

        if (tokens) {
                *tokens = '\0';
                tokens += 4;
        }
        if (text && access_new(&a, text, tokens, error) == 0) {
                (void)access_allowed(a, &user, &q);
                json_decref(access_rules(a, &user, "team-a"));
                (void)access_free(a);
        } else if (text && !*error) {
                abort();
        }
        free(text);
        return 0;
}
