/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/seed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cleanup.h"

/* cloud-init wants the file, and takes this for "nothing to do". */
#define NO_USER_DATA "#cloud-config\n{}\n"

/* One key per line, as in authorized_keys. */
static json_t *public_keys(const char *text)
{
        json_t *list = json_array();

        while (*text) {
                size_t len = strcspn(text, "\r\n");

                if (len && json_array_append_new(list, json_stringn(text, len)) < 0) {
                        json_decref(list);
                        return NULL;
                }
                text += len + strspn(text + len, "\r\n");
        }
        return list;
}

/* JSON, which is YAML as well. NULL: out of memory, or a key that is not UTF-8. */
static char *meta_data(const struct hv_domain_spec_head *spec)
{
        json_t *meta =
            json_pack("{s:s, s:s}", "instance-id", spec->pod_uid, "local-hostname", spec->pod_name);
        char *text = NULL;

        if (meta && (!spec->public_key[0] ||
                     json_object_set_new(meta, "public-keys", public_keys(spec->public_key)) == 0))
                text = json_dumps(meta, JSON_INDENT(2));
        json_decref(meta);
        return text;
}

static int add_file(struct archive *a, const char *name, const char *content)
{
        struct archive_entry *entry = archive_entry_new();
        size_t len = strlen(content);
        bool written;

        if (!entry)
                return -ENOMEM;
        archive_entry_set_pathname(entry, name);
        archive_entry_set_size(entry, (la_int64_t)len);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0444);
        archive_entry_set_mtime(entry, 0, 0);
        written = archive_write_header(a, entry) == ARCHIVE_OK &&
                  archive_write_data(a, content, len) == (la_ssize_t)len;
        archive_entry_free(entry);
        return written ? 0 : -EIO;
}

static int write_volume(struct archive *a, int fd, const char *meta, const char *user)
{
        if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
            archive_write_set_options(a, "iso9660:volume-id=" HV_SEED_LABEL) != ARCHIVE_OK ||
            archive_write_open_fd(a, fd) != ARCHIVE_OK)
                return -EIO;
        if (add_file(a, "meta-data", meta) < 0 || add_file(a, "user-data", user) < 0 ||
            archive_write_close(a) != ARCHIVE_OK)
                return -EIO;
        return 0;
}

static int write_file(const char *path, const char *meta, const char *user, char *text)
{
        AK_AUTOCLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct archive *a = fd >= 0 ? archive_write_new() : NULL;
        int r;

        if (!a) {
                (void)snprintf(text, HV_LEN_TEXT, "cloud-init seed %s: %s", path, strerror(errno));
                return -EIO;
        }
        r = write_volume(a, fd, meta, user);
        if (r < 0)
                (void)snprintf(text, HV_LEN_TEXT, "cloud-init seed %s: %s", path,
                               archive_error_string(a) ? archive_error_string(a) : strerror(-r));
        (void)archive_write_free(a);
        return r;
}

int hv_seed_write(const char *path, const struct hv_domain_spec_head *spec, char *text)
{
        const char *user = spec->user_data && spec->user_data[0] ? spec->user_data : NO_USER_DATA;
        AK_AUTOFREE char *meta = meta_data(spec);
        char partial[HV_LEN_PATH + 16];
        int r;

        if (!meta) {
                (void)snprintf(text, HV_LEN_TEXT, "cloud-init seed: virtualMachine.publicKey is no text");
                return -EINVAL;
        }
        (void)snprintf(partial, sizeof(partial), "%s.partial", path);
        r = write_file(partial, meta, user, text);
        if (r == 0 && rename(partial, path) < 0) {
                (void)snprintf(text, HV_LEN_TEXT, "cloud-init seed %s: %s", path, strerror(errno));
                r = -EIO;
        }
        if (r < 0)
                (void)unlink(partial);
        return r;
}
