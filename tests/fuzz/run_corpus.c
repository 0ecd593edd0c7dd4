/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer where it is not built in: feeds every file named, and every file of every
 * directory named, to the fuzz target once. So the seeds, and what a fuzzer once found, are a unit test
 * under every compiler and sanitizer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/cleanup.h"

#define INPUT_MAX (16u * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void close_file(FILE **f)
{
        if (*f)
                (void)fclose(*f);
}

static void close_dir(DIR **d)
{
        if (*d)
                (void)closedir(*d);
}

/* A copy of exactly the input's size, so that AddressSanitizer sees a read past its end. */
static int run_file(const char *path, size_t size)
{
        AK_CLEANUP(close_file) FILE *f = fopen(path, "rbe");
        AK_AUTOFREE uint8_t *data = malloc(size ? size : 1);

        if (!f || !data || fread(data, 1, size, f) != size) {
                (void)fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
                return -1;
        }
        (void)LLVMFuzzerTestOneInput(data, size);
        return 1;
}

static int run_path(const char *path);

static int run_directory(const char *path)
{
        AK_CLEANUP(close_dir) DIR *d = opendir(path);
        int total = 0;

        if (!d) {
                (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
                return -1;
        }
        for (struct dirent *e; (e = readdir(d));) {
                AK_AUTOFREE char *child = NULL;
                int n;

                if (e->d_name[0] == '.')
                        continue;
                if (asprintf(&child, "%s/%s", path, e->d_name) < 0)
                        return -1;
                n = run_path(child);
                if (n < 0)
                        return n;
                total += n;
        }
        return total;
}

static int run_path(const char *path)
{
        struct stat st;

        if (stat(path, &st) < 0 || (!S_ISDIR(st.st_mode) && st.st_size > INPUT_MAX)) {
                (void)fprintf(stderr, "%s: absent or larger than %u bytes\n", path, INPUT_MAX);
                return -1;
        }
        return S_ISDIR(st.st_mode) ? run_directory(path) : run_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
        int total = 0;

        for (int i = 1; i < argc; i++) {
                int n = run_path(argv[i]);

                if (n < 0)
                        return 1;
                total += n;
        }
        (void)printf("%d inputs\n", total);
        return total > 0 ? 0 : 1;
}
