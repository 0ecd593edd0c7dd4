/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/netaddr.h"
#include "services/hypervisor/seed.h"
#include "services/hypervisor/spawn.h"

#define QEMU_IMG_TIMEOUT_US (UINT64_C(60) * 1000 * 1000)

static int path_of(char out[HV_LEN_PATH + 1], const char *dir, const char *name)
{
        int n = snprintf(out, HV_LEN_PATH + 1, "%s/%s", dir, name);

        return n < 0 || n > HV_LEN_PATH ? -ENAMETOOLONG : 0;
}

int hv_disk_paths(const char *state_dir, const char *pod_uid, struct hv_disk *out)
{
        struct hv_disk disk = {0};
        int n;

        if (!ak_uuid_valid(pod_uid))
                return -EINVAL;
        n = snprintf(disk.dir, sizeof(disk.dir), "%s/vms/%s", state_dir, pod_uid);
        if (n < 0 || n > HV_LEN_PATH || path_of(disk.overlay, disk.dir, "disk.qcow2") < 0 ||
            path_of(disk.seed, disk.dir, "seed.iso") < 0 ||
            path_of(disk.console_log, disk.dir, "console.log") < 0)
                return -ENAMETOOLONG;
        *out = disk;
        return 0;
}

/* QEMU runs as another user: it must be able to pass through, and no more. */
static int make_dir(const char *path)
{
        if (mkdir(path, 0711) < 0 && errno != EEXIST)
                return -errno;
        return 0;
}

static int read_base(struct hv_disk *disk, const char *format)
{
        char link[HV_LEN_PATH + 1], target[HV_LEN_PATH + 1];
        char name[16];
        ssize_t n;

        (void)snprintf(name, sizeof(name), "base.%s", format);
        if (path_of(link, disk->dir, name) < 0)
                return -ENAMETOOLONG;
        n = readlink(link, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        (void)snprintf(disk->base, sizeof(disk->base), "%s", target);
        (void)snprintf(disk->base_format, sizeof(disk->base_format), "%s", format);
        return 0;
}

/* Replaces what a start that was cut short may have left. */
static int link_base(const struct hv_disk *disk, char *text)
{
        static const char *const formats[] = {"qcow2", "raw"};
        char link[HV_LEN_PATH + 1], name[16];

        for (size_t i = 0; i < AK_ARRAY_SIZE(formats); i++) {
                (void)snprintf(name, sizeof(name), "base.%s", formats[i]);
                if (path_of(link, disk->dir, name) < 0)
                        return -ENAMETOOLONG;
                (void)unlink(link);
                if (strcmp(formats[i], disk->base_format) == 0 && symlink(disk->base, link) < 0) {
                        (void)snprintf(text, HV_LEN_TEXT, "link to the base image: %s", strerror(errno));
                        return -EIO;
                }
        }
        return 0;
}

/* The overlay appears under its name only when it is whole. */
static int make_overlay(const struct hv_disk *disk, const char *qemu_img, char *text)
{
        char partial[HV_LEN_PATH + 1];
        const char *argv[] = {qemu_img ? qemu_img : "qemu-img",
                              "create",
                              "-q",
                              "-f",
                              "qcow2",
                              "-F",
                              disk->base_format,
                              "-b",
                              disk->base,
                              partial,
                              NULL};
        int r;

        if (path_of(partial, disk->dir, "disk.partial") < 0)
                return -ENAMETOOLONG;
        r = hv_spawn(argv, QEMU_IMG_TIMEOUT_US, text, HV_LEN_TEXT);
        if (r == 0 && rename(partial, disk->overlay) == 0)
                return 0;
        if (!text[0])
                (void)snprintf(text, HV_LEN_TEXT, "%s: %s", argv[0], strerror(r < 0 ? -r : r ? EIO : errno));
        (void)unlink(partial);
        return r < 0 ? r : -EIO;
}

static int make_dirs(const char *state_dir, const struct hv_disk *disk)
{
        char vms[HV_LEN_PATH + 1];
        int r = path_of(vms, state_dir, "vms");

        if (r == 0)
                r = make_dir(vms);
        return r == 0 ? make_dir(disk->dir) : r;
}

static bool has_overlay(struct hv_disk *disk)
{
        return access(disk->overlay, F_OK) == 0 &&
               (read_base(disk, "qcow2") == 0 || read_base(disk, "raw") == 0);
}

static int prepare_overlay(struct hv_disk *disk, const char *qemu_img, const struct hv_domain_spec_head *spec,
                           char *text)
{
        int r;

        if (has_overlay(disk))
                return 0;
        (void)snprintf(disk->base, sizeof(disk->base), "%s", spec->image_path);
        (void)snprintf(disk->base_format, sizeof(disk->base_format), "%s", spec->image_format);
        r = link_base(disk, text);
        if (r == 0)
                r = make_overlay(disk, qemu_img, text);
        return r;
}

int hv_disk_prepare(const char *state_dir, const char *qemu_img, const struct hv_domain_spec_head *spec,
                    struct hv_disk *out, char *text)
{
        struct hv_disk disk;
        int r = hv_disk_paths(state_dir, spec->pod_uid, &disk);

        if (r == 0)
                r = make_dirs(state_dir, &disk);
        if (r < 0) {
                (void)snprintf(text, HV_LEN_TEXT, "directory of the VM's disk: %s", strerror(-r));
                return r;
        }
        r = prepare_overlay(&disk, qemu_img, spec, text);
        if (r < 0)
                (void)hv_disk_remove(state_dir, spec->pod_uid);
        if (r == 0)
                r = hv_seed_write(disk.seed, spec, text);
        if (r == 0)
                *out = disk;
        return r;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int hv_disk_remove(const char *state_dir, const char *pod_uid)
{
        struct hv_disk disk;
        int r = hv_disk_paths(state_dir, pod_uid, &disk);

        if (r < 0)
                return r == -EINVAL ? 0 : r;
        /* No FTW_MOUNT: on an overlay file system files have another device number than their directory. */
        if (nftw(disk.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0)
                return errno == ENOENT ? 0 : -errno;
        return 0;
}
