/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alkaid-proto-reference [FILE]: prints the reference page of the bus messages; with FILE, compares that
 * file with it and fails where they differ.
 */
#include <errno.h>
#include <string.h>

#include "proto/proto.h"

/* The page in memory; NULL when there is not enough of it. */
static char *page(void)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        ak_messages_reference(f);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

static int compare(const char *path, const char *wanted)
{
        size_t size = strlen(wanted) + 2, n;
        AK_AUTOFREE char *have = malloc(size);
        FILE *f = fopen(path, "re");

        if (!f || !have) {
                (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
                if (f)
                        (void)fclose(f);
                return 1;
        }
        n = fread(have, 1, size - 1, f);
        (void)fclose(f);
        have[n] = '\0';
        if (strcmp(have, wanted) == 0)
                return 0;
        (void)fprintf(stderr, "%s: is not what proto/messages.h says; renew it with 'ninja proto-update'\n",
                      path);
        return 1;
}

int main(int argc, char **argv)
{
        AK_AUTOFREE char *text = page();

        if (!text)
                return 1;
        if (argc > 1)
                return compare(argv[1], text);
        return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? 1 : 0;
}
