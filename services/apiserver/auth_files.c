/* SPDX-License-Identifier: Apache-2.0 */
/* The files `grants`, `tokens` and `revoked`, read again when they change. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/log.h"
#include "services/apiserver/auth.h"
#include "services/apiserver/pki.h"

#define LOOK_US (UINT64_C(1000) * 1000)

static const char *const names[] = {"grants", "tokens", "revoked"};
#define FILES AK_ARRAY_SIZE(names)

/* What tells one content of a file from the next; all zero = no file. */
struct stamp {
        struct timespec changed;
        off_t size;
        ino_t inode;
};

struct auth_files {
        char *dir;
        struct access *access;
        struct stamp stamps[FILES];
        uint64_t looked_us;
};

static void look(const char *dir, struct stamp out[FILES])
{
        for (size_t i = 0; i < FILES; i++) {
                char path[PATH_MAX];
                struct stat st;

                memset(&out[i], 0, sizeof(out[i]));
                (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
                if (stat(path, &st) < 0)
                        continue;
                out[i].changed = st.st_mtim;
                out[i].size = st.st_size;
                out[i].inode = st.st_ino;
        }
}

static int load(const char *dir, struct access **out, char error[ACCESS_ERROR_SIZE])
{
        char *texts[FILES] = {NULL}, text[PKI_ERROR_SIZE] = "";
        int rc = 0;

        for (size_t i = 0; i < FILES && rc == 0; i++) {
                rc = pki_read_file(dir, names[i], &texts[i], text);
                rc = rc == -ENOENT ? 0 : rc;
        }
        if (rc == 0)
                rc = access_new(out, &(struct access_files){texts[0], texts[1], texts[2]}, error);
        else
                (void)snprintf(error, ACCESS_ERROR_SIZE, "%s", text);
        for (size_t i = 0; i < FILES; i++)
                free(texts[i]);
        return rc;
}

int auth_files_new(struct auth_files **out, const char *dir, char error[ACCESS_ERROR_SIZE])
{
        struct auth_files *f = calloc(1, sizeof(*f));
        int rc = f ? 0 : -ENOMEM;

        if (rc == 0) {
                f->dir = strdup(dir);
                look(dir, f->stamps);
                rc = f->dir ? load(dir, &f->access, error) : -ENOMEM;
        }
        if (rc < 0) {
                (void)auth_files_free(f);
                return rc;
        }
        *out = f;
        return 0;
}

struct auth_files *auth_files_free(struct auth_files *f)
{
        if (f) {
                f->access = access_free(f->access);
                free(f->dir);
                free(f);
        }
        return NULL;
}

const struct access *auth_files_get(struct auth_files *f, uint64_t now_us)
{
        return f->looked_us && now_us < f->looked_us + LOOK_US ? f->access : auth_files_fresh(f, now_us);
}

const struct access *auth_files_fresh(struct auth_files *f, uint64_t now_us)
{
        char error[ACCESS_ERROR_SIZE] = "out of memory";
        struct stamp stamps[FILES];
        struct access *access = NULL;

        f->looked_us = now_us;
        look(f->dir, stamps);
        if (memcmp(stamps, f->stamps, sizeof(stamps)) == 0)
                return f->access;
        memcpy(f->stamps, stamps, sizeof(stamps));
        if (load(f->dir, &access, error) < 0) {
                ak_log(AK_LOG_ERROR, "access_files_wrong", "dir", f->dir, "error", error, "remedy",
                       "correct the file; until then the former content stays in force", NULL);
                return f->access;
        }
        ak_log(AK_LOG_INFO, "access_files_read", "dir", f->dir, NULL);
        (void)access_free(f->access);
        f->access = access;
        return f->access;
}
