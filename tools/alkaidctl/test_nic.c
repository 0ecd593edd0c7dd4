/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "tools/alkaidctl/nic.h"

static json_t *pod(void)
{
        static const char text[] =
            "{\"metadata\":{\"uid\":\"u-1\"},\"spec\":{\"nics\":[{\"name\":\"eth0\"},{\"name\":\"eth2\"}]},"
            "\"status\":{\"nicStatuses\":["
            "{\"name\":\"eth0\",\"state\":\"Ready\",\"reason\":\"Attached\",\"macAddress\":\"06:00:00:00:00:"
            "01\","
            "\"ipAddresses\":[\"10.0.0.2\",\"fd00::2\"],\"subnet\":\"s\",\"pciAddress\":\"0000:0a:00.0\","
            "\"lastTransitionTime\":\"2023-11-14T22:13:20Z\","
            "\"timings\":{\"portMs\":27,\"attachMs\":715,\"guestMs\":705,\"totalMs\":1455}},"
            "{\"name\":\"eth2\",\"state\":\"Failed\",\"reason\":\"NoSlot\",\"message\":\"no slot is free\"},"
            "{\"name\":\"eth1\",\"state\":\"InProgress\",\"reason\":\"Detaching\"}]}}";
        json_t *json = json_loads(text, 0, NULL);

        assert_non_null(json);
        return json;
}

static void assert_patch(json_t *patch, const char *want)
{
        AK_AUTOFREE char *text = json_dumps(patch, JSON_COMPACT);

        assert_string_equal(text, want);
        json_decref(patch);
}

static void test_table(void **state AK_UNUSED)
{
        char out[1024] = "";
        FILE *file = fmemopen(out, sizeof(out), "w");
        json_t *p = pod();

        ctl_nic_table(p, UINT64_C(1700000100) * 1000000, file);
        assert_int_equal(fclose(file), 0);
        json_decref(p);
        assert_non_null(strstr(out, "NAME "));
        assert_non_null(
            strstr(out, "eth0   Ready      Attached    06:00:00:00:00:01   10.0.0.2,fd00::2   s        "
                        "9      0000:0a:00.0   100s   port=27 attach=715 guest=705 total=1455\n"));
        assert_non_null(strstr(out, "eth2   Failed     NoSlot      - "));
        assert_non_null(strstr(out, "eth1   Removing   Detaching   - "));
}

static void test_table_of_an_empty_pod(void **state AK_UNUSED)
{
        char out[1024] = "";
        FILE *file = fmemopen(out, sizeof(out), "w");
        json_t *p = json_object();

        ctl_nic_table(p, UINT64_C(1700000100) * 1000000, file);
        assert_int_equal(fclose(file), 0);
        json_decref(p);
        assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void test_attach(void **state AK_UNUSED)
{
        char error[CTL_ERROR_SIZE];
        json_t *p = pod(), *patch = NULL;

        /* eth1 is on its way out and may not be named anew by itself */
        assert_int_equal(ctl_nic_attach_patch(p, &(struct ctl_nic_wish){0}, &patch, error), 0);
        assert_patch(patch, "{\"metadata\":{\"uid\":\"u-1\"},\"spec\":{\"nics\":[{\"name\":\"eth3\"}]}}");
        const struct ctl_nic_wish all = {"net0", "s", "p", "10.0.0.9", "06:00:00:00:00:02"};
        assert_int_equal(ctl_nic_attach_patch(p, &all, &patch, error), 0);
        assert_patch(patch, "{\"metadata\":{\"uid\":\"u-1\"},\"spec\":{\"nics\":[{\"name\":\"net0\","
                            "\"subnetName\":\"s\",\"portId\":\"p\",\"ipAddress\":\"10.0.0.9\","
                            "\"macAddress\":\"06:00:00:00:00:02\"}]}}");
        assert_int_equal(ctl_nic_attach_patch(p, &(struct ctl_nic_wish){.name = "eth2"}, &patch, error),
                         -EEXIST);
        assert_string_equal(error, "the pod has a NIC eth2");
        json_decref(p);
}

static void test_detach(void **state AK_UNUSED)
{
        char error[CTL_ERROR_SIZE];
        json_t *p = pod(), *patch = NULL;

        assert_int_equal(ctl_nic_detach_patch(p, "eth2", &patch, error), 0);
        assert_patch(patch, "{\"metadata\":{\"uid\":\"u-1\"},\"spec\":{\"nics\":[{\"$patch\":\"delete\","
                            "\"name\":\"eth2\"}]}}");
        assert_int_equal(ctl_nic_detach_patch(p, "eth1", &patch, error), -ENOENT);
        json_decref(p);
}

static void test_progress(void **state AK_UNUSED)
{
        char text[CTL_ERROR_SIZE];
        json_t *p = pod();

        assert_int_equal(ctl_nic_progress(p, "eth0", true, text), CTL_NIC_DONE);
        assert_int_equal(ctl_nic_progress(p, "eth2", true, text), CTL_NIC_FAILED);
        assert_string_equal(text, "NoSlot: no slot is free");
        assert_int_equal(ctl_nic_progress(p, "eth1", false, text), CTL_NIC_UNDER_WAY);
        assert_int_equal(ctl_nic_progress(p, "eth9", false, text), CTL_NIC_DONE);
        assert_int_equal(ctl_nic_progress(p, "eth9", true, text), CTL_NIC_UNDER_WAY);
        json_decref(p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_table),    cmocka_unit_test(test_table_of_an_empty_pod),
            cmocka_unit_test(test_attach),   cmocka_unit_test(test_detach),
            cmocka_unit_test(test_progress),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
