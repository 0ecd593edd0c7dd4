/* SPDX-License-Identifier: Apache-2.0 */
/* The seed for cloud-init, read back by the library's reader. (tests/e2e/52-pod-life.bats has a guest read
 * it.) */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/hypervisor/seed.h"

#define POD "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"

static char dir[] = "/tmp/akseed-XXXXXX", path[64];

static int group_setup(void **state)
{
        (void)state;
        (void)snprintf(path, sizeof(path), "%s/seed.iso", mkdtemp(dir) ? dir : "");
        return 0;
}

static int group_teardown(void **state)
{
        (void)state;
        (void)unlink(path);
        return rmdir(dir); /* fails where something else is left */
}

static struct hv_domain_spec_head spec(char *user_data, const char *public_key)
{
        struct hv_domain_spec_head head = {.pod_uid = POD, .pod_name = "nginx-vm", .user_data = user_data};

        (void)snprintf(head.public_key, sizeof(head.public_key), "%s", public_key);
        return head;
}

static void write_seed(const struct hv_domain_spec_head *head)
{
        char text[HV_LEN_TEXT + 1] = "";

        if (hv_seed_write(path, head, text) < 0)
                fail_msg("%s", text);
}

/* The content of a file of the volume, freed by the caller; NULL: there is none. */
static char *read_file(const char *name)
{
        struct archive *a = archive_read_new();
        struct archive_entry *entry;
        char *content = NULL;

        archive_read_support_format_iso9660(a);
        assert_int_equal(archive_read_open_filename(a, path, 10240), ARCHIVE_OK);
        while (!content && archive_read_next_header(a, &entry) == ARCHIVE_OK) {
                size_t size = (size_t)archive_entry_size(entry);

                if (strcmp(archive_entry_pathname(entry), name) != 0)
                        continue;
                content = calloc(1, size + 1);
                assert_non_null(content);
                assert_int_equal(archive_read_data(a, content, size), size);
        }
        archive_read_free(a);
        return content;
}

static void expect_file(const char *name, const char *content)
{
        char *have = read_file(name);

        assert_non_null(have);
        assert_string_equal(have, content);
        free(have);
}

static void test_what_cloud_init_reads(void **state)
{
        char user_data[] = "#!/bin/sh\necho hello >/dev/ttyS0\n";
        struct hv_domain_spec_head head = spec(user_data, "ssh-ed25519 AAAA \"one\"\n\nssh-rsa BBBB two\r\n");
        json_t *meta, *want;
        struct stat st;
        char *text;

        (void)state;
        write_seed(&head);
        expect_file("user-data", user_data);
        text = read_file("meta-data");
        meta = json_loads(text, 0, NULL);
        want = json_pack("{s:s, s:s, s:[s, s]}", "instance-id", POD, "local-hostname", "nginx-vm",
                         "public-keys", "ssh-ed25519 AAAA \"one\"", "ssh-rsa BBBB two");
        assert_true(json_equal(meta, want));
        json_decref(meta);
        json_decref(want);
        free(text);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
}

/* ECMA-119, 8.4.7: volume identifier, 32 characters padded with blanks, in the first volume descriptor. */
static void test_label(void **state)
{
        struct hv_domain_spec_head head = spec(NULL, "");
        char label[33] = "";
        int fd;

        (void)state;
        write_seed(&head);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(fd, label, 32, 16 * 2048 + 40), 32);
        (void)close(fd);
        assert_string_equal(label, "CIDATA                          ");
}

static void test_nothing_given(void **state)
{
        char empty[] = "";
        struct hv_domain_spec_head head = spec(empty, "");
        char *meta;

        (void)state;
        write_seed(&head);
        expect_file("user-data", "#cloud-config\n{}\n");
        meta = read_file("meta-data");
        assert_null(strstr(meta, "public-keys"));
        free(meta);
}

static void test_the_largest(void **state)
{
        char *large = malloc(65537);
        struct hv_domain_spec_head head = spec(large, "");

        (void)state;
        assert_non_null(large);
        memset(large, 'x', 65536);
        large[65536] = '\0';
        write_seed(&head);
        expect_file("user-data", large);
        free(large);
}

static void test_what_cannot_be_written(void **state)
{
        struct hv_domain_spec_head head = spec(NULL, "ssh-rsa \xff\xfe"), good = spec(NULL, "");
        char text[HV_LEN_TEXT + 1] = "";

        (void)state;
        assert_int_equal(hv_seed_write(path, &head, text), -EINVAL);
        assert_non_null(strstr(text, "publicKey"));
        assert_true(hv_seed_write("/no/such/directory/seed.iso", &good, text) < 0);
        assert_non_null(strstr(text, "/no/such/directory"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_what_cloud_init_reads),  cmocka_unit_test(test_label),
            cmocka_unit_test(test_nothing_given),          cmocka_unit_test(test_the_largest),
            cmocka_unit_test(test_what_cannot_be_written),
        };

        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
