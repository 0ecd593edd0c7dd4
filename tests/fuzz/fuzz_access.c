/* SPDX-License-Identifier: Apache-2.0 */
/* The files grants, tokens and revoked, cut apart at "---" lines, and questions to what was read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/access.h"

/* Ends the text at a "---" line: what comes behind it. */
static char *cut(char *text)
{
        char *next = text ? strstr(text, "---\n") : NULL;

        if (!next)
                return NULL;
        *next = '\0';
        return next + 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char *const groups[] = {"dev", NULL};
        const struct api_user user = {"alice", groups};
        const struct access_question q = {"get", "", "pods", "", "team-a", "p"};
        char error[ACCESS_ERROR_SIZE] = "", *text = strndup((const char *)data, size);
        struct access_files files = {.grants = text};
        struct access *a = NULL;

        files.tokens = cut(text);
        files.revoked = cut((char *)files.tokens);
        if (text && access_new(&a, &files, error) == 0) {
                (void)access_allowed(a, &user, &q);
                (void)access_revoked(a, "ff0a");
                json_decref(access_rules(a, &user, "team-a"));
                (void)access_free(a);
        } else if (text && !*error) {
                abort();
        }
        free(text);
        return 0;
}
