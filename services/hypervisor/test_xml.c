/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's XML, written and read; the answers of libvirt and QEMU that are understood. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "services/hypervisor/backends/libvirt_internal.h"
#include "services/hypervisor/domain_xml.h"
#include "services/hypervisor/spawn.h"

#define POD   "0f6cbe12-6b1c-4ad0-9c2e-5f7d0a3b8e01"
#define PORT0 "11111111-2222-4333-8444-000000000000"
#define PORT1 "11111111-2222-4333-8444-000000000001"

static const struct hv_domain_host host = {.node = "node <1> & \"co\"",
                                           .accel = "tcg",
                                           .disk = "/s/disk.qcow2",
                                           .base = "/s/base & more.qcow2",
                                           .base_format = "qcow2",
                                           .console_log = "/s/console.log"};

static struct hv_domain_spec *make_spec(void)
{
        struct hv_domain_spec *spec = calloc(1, sizeof(*spec));

        assert_non_null(spec);
        (void)snprintf(spec->head.pod_uid, sizeof(spec->head.pod_uid), POD);
        (void)snprintf(spec->head.pod_namespace, sizeof(spec->head.pod_namespace), "default");
        (void)snprintf(spec->head.pod_name, sizeof(spec->head.pod_name), "nginx-vm");
        spec->head.generation = UINT64_MAX;
        spec->head.nic_slots = 64;
        spec->head.vcpus = 2;
        spec->head.memory_bytes = UINT64_C(512) << 20;
        spec->head.started_us = 1700000000000000;
        spec->nic_count = 2;
        for (unsigned i = 0; i < 2; i++) {
                struct hv_nic_spec *nic = &spec->nics[i];

                (void)snprintf(nic->port_id, sizeof(nic->port_id), "%s", i ? PORT1 : PORT0);
                (void)snprintf(nic->ifname, sizeof(nic->ifname), "ak%u", i);
                (void)snprintf(nic->mac, sizeof(nic->mac), "06:00:00:00:00:0%u", i);
                nic->slot = i ? 63 : 0;
                nic->mtu = i ? 0 : 1450;
                nic->link_down = i == 1;
        }
        return spec;
}

/* What is written is what is read. (libvirt gives back more, but none of these parts otherwise.) */
static void test_round_trip(void **state)
{
        struct hv_domain_spec *spec = make_spec();
        struct hv_live_domain *live = NULL;
        char *xml = NULL;

        (void)state;
        assert_int_equal(hv_domain_xml(spec, &host, &xml), 0);
        assert_int_equal(hv_live_xml_parse(host.node, xml, strlen(xml), &live), 0);
        assert_string_equal(live->head.pod_uid, POD);
        assert_string_equal(live->head.pod_name, "nginx-vm");
        assert_true(live->head.generation == UINT64_MAX);
        assert_int_equal(live->head.nic_slots, 64);
        assert_int_equal(live->head.started_us, 1700000000000000);
        assert_string_equal(live->head.accel, "tcg");
        assert_int_equal(live->nic_count, 2);
        for (unsigned i = 0; i < 2; i++) {
                assert_string_equal(live->nics[i].port_id, spec->nics[i].port_id);
                assert_string_equal(live->nics[i].ifname, spec->nics[i].ifname);
                assert_string_equal(live->nics[i].mac, spec->nics[i].mac);
                assert_int_equal(live->nics[i].slot, spec->nics[i].slot);
                assert_int_equal(live->nics[i].mtu, spec->nics[i].mtu);
                assert_int_equal(live->nics[i].link_down, spec->nics[i].link_down);
        }
        assert_string_equal(live->nics[1].pci_address, "0000:40:00.0");
        assert_non_null(strstr(xml, "<panic model=\"isa\">"));
        free(live);
        live = NULL;
        assert_int_equal(hv_live_xml_parse("another", xml, strlen(xml), &live), -ENOENT);
        assert_null(live);
        free(xml);
        free(spec);
}

/* libvirt's own schema. */
static void test_schema(void **state)
{
        const char *argv[] = {"virt-xml-validate", NULL, "domain", NULL};
        struct hv_domain_spec *spec = make_spec();
        char path[] = "/tmp/akxml-XXXXXX", errors[512];
        char *xml = NULL;
        int fd = mkstemp(path), r;

        (void)state;
        assert_int_equal(hv_domain_xml(spec, &host, &xml), 0);
        assert_int_equal(write(fd, xml, strlen(xml)), strlen(xml));
        (void)close(fd);
        argv[1] = path;
        r = hv_spawn(argv, 60000000, errors, sizeof(errors));
        (void)unlink(path);
        if (r != 0)
                fail_msg("%d %s", r, errors);
        free(xml);
        free(spec);
}

static void test_values_that_do_not_belong_into_xml(void **state)
{
        struct hv_domain_spec *spec = make_spec();
        char *xml = NULL;

        (void)state;
        (void)snprintf(spec->head.pod_name, sizeof(spec->head.pod_name), "a\x01");
        assert_int_equal(hv_domain_xml(spec, &host, &xml), -EINVAL);
        (void)snprintf(spec->head.pod_name, sizeof(spec->head.pod_name), "\xff\xfe");
        assert_int_equal(hv_domain_xml(spec, &host, &xml), -EINVAL);
        (void)snprintf(spec->nics[0].mac, sizeof(spec->nics[0].mac), "\n");
        assert_int_equal(hv_nic_xml(&spec->nics[0], &xml), -EINVAL);
        spec->nics[1].slot = 64;
        assert_int_equal(hv_nic_xml(&spec->nics[1], &xml), -EINVAL);
        assert_null(xml);
        free(spec);
}

static void test_long_names(void **state)
{
        struct hv_domain_spec *spec = make_spec();
        char name[HV_DOMAIN_NAME_SIZE];

        (void)state;
        hv_domain_name(&spec->head, name);
        assert_string_equal(name, "alkaid-default-nginx-vm-0f6cbe12");
        memset(spec->head.pod_name, 'p', AK_LEN_NAME);
        memset(spec->head.pod_namespace, 'n', AK_LEN_NAME);
        hv_domain_name(&spec->head, name);
        assert_true(strlen(name) <= 200);
        assert_non_null(strstr(name, "-0f6cbe12"));
        free(spec);
}

#define HEAD                                                                                                 \
        "<domain type='qemu'><uuid>" POD                                                                     \
        "</uuid><metadata><a:pod xmlns:a='https://alkaid.io/xmlns/domain/1' "                                \
        "node='n' uid='" POD "' slots='4'/></metadata><devices>"
#define TAIL "</devices></domain>"

static int parse(const char *xml, struct hv_live_domain **out)
{
        return hv_live_xml_parse("n", xml, strlen(xml), out);
}

static void test_foreign_and_broken_xml(void **state)
{
        static const char *const broken[] = {
            "",
            "<domain",
            "<network/>",
            HEAD "<interface><alias name='ua-" PORT0
                 "'/><mac address='06:00:00:00:00:00:00:00:00:00'/></interface>" TAIL,
            HEAD "<interface><alias name='ua-" PORT0 "'/><address bus='-1'/></interface>" TAIL,
            HEAD "<interface><alias name='ua-" PORT0 "'/><mtu size='99999999'/></interface>" TAIL,
            "<domain><uuid>" POD
            "</uuid><metadata><a:pod xmlns:a='https://alkaid.io/xmlns/domain/1' node='n' "
            "uid='not a uuid'/></metadata></domain>",
            "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain>&a;",
        };
        static const char *const foreign[] = {
            "<domain/>",
            "<domain><metadata><pod node='n' uid='" POD "'/></metadata></domain>",
            "<domain><metadata><a:pod xmlns:a='https://example.com/' node='n' uid='" POD
            "'/></metadata></domain>",
            /* A copy of ours, defined under another UUID. */
            "<domain><uuid>" PORT0
            "</uuid><metadata><a:pod xmlns:a='https://alkaid.io/xmlns/domain/1' node='n' "
            "uid='" POD "'/></metadata></domain>",
        };
        struct hv_live_domain *live = NULL;

        (void)state;
        for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
                assert_int_equal(parse(broken[i], &live), -EBADMSG);
        for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
                assert_int_equal(parse(foreign[i], &live), -ENOENT);
        assert_null(live);
        /* Devices that are not ours are no reason to fail. */
        assert_int_equal(parse(HEAD
                               "<interface/><interface><alias name='net0'/></interface><interface><alias "
                               "name='ua-mine'/></interface>" TAIL,
                               &live),
                         0);
        assert_int_equal(live->nic_count, 0);
        free(live);
        assert_int_equal(parse(HEAD "<interface><alias name='ua-" PORT0 "'/><address type='pci' bus='0x00' "
                                    "slot='0x09'/></interface>" TAIL,
                               &live),
                         0);
        assert_int_equal(live->nics[0].slot, HV_MAX_SLOTS);
        free(live);
}

static void test_errors_are_told_apart(void **state)
{
        static const struct {
                int code, domain;
                const char *text;
                enum hv_error error;
        } cases[] = {
            {VIR_ERR_INTERNAL_ERROR, VIR_FROM_DOMAIN, "internal error: no device found with alias ua-x",
             HV_ERROR_NO_DEVICE},
            {VIR_ERR_DEVICE_MISSING, VIR_FROM_DOMAIN, "device not found", HV_ERROR_NO_DEVICE},
            {VIR_ERR_OPERATION_FAILED, VIR_FROM_DOMAIN,
             "operation failed: no device matching MAC address x found", HV_ERROR_NO_DEVICE},
            {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU,
             "internal error: unable to execute QEMU command 'device_del': Device ua-x is already in the "
             "process of "
             "unplug",
             HV_ERROR_IN_PROGRESS},
            {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU,
             "internal error: unable to execute QEMU command 'device_del': Hot-unplug failed: guest is busy "
             "(power "
             "indicator blinking)",
             HV_ERROR_BUSY},
            {VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "Domain not found", HV_ERROR_NO_DOMAIN},
            {VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
             "Requested operation is not valid: domain is not running", HV_ERROR_NO_DOMAIN},
            {VIR_ERR_XML_ERROR, VIR_FROM_DOMAIN,
             "XML error: Invalid PCI address 0000:11:00.0. Only PCI buses up to 16 are available",
             HV_ERROR_SLOT},
            {VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_DOMAIN,
             "unsupported configuration: non unique alias detected: x", HV_ERROR_DUPLICATE},
            {VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, "cannot acquire state change lock", HV_ERROR_TIMEOUT},
            {VIR_ERR_RPC, VIR_FROM_RPC, "internal error: client socket is closed", HV_ERROR_CONNECTION},
            {VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, "internal error: client socket is closed",
             HV_ERROR_CONNECTION},
            {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, "Cannot recv data: Connection reset by peer",
             HV_ERROR_CONNECTION},
            {VIR_ERR_OK, 0, NULL, HV_ERROR_CONNECTION},
            {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "something new", HV_ERROR_OTHER},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                if (hv_libvirt_classify(cases[i].code, cases[i].domain, cases[i].text) != cases[i].error)
                        fail_msg("%s", cases[i].text);
        }
}

static void test_virtio_status(void **state)
{
        uint64_t status = 77;

        (void)state;
        assert_int_equal(hv_virtio_status_parse("{\"return\":{\"status\":{\"statuses\":["
                                                "\"VIRTIO_CONFIG_S_ACKNOWLEDGE: Valid virtio device found\","
                                                "\"VIRTIO_CONFIG_S_DRIVER: Guest OS compatible with device\","
                                                "\"VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready\"]}}}",
                                                &status),
                         0);
        assert_int_equal(status, 7);
        assert_int_equal(
            hv_virtio_status_parse("{\"return\":{\"status\":{\"statuses\":[\"VIRTIO_CONFIG_S_FAILED: "
                                   "x\", 5, \"unknown\"]}}}",
                                   &status),
            0);
        assert_int_equal(status, 128);
        assert_int_equal(hv_virtio_status_parse("{\"return\":{}}", &status), -EBADMSG);
        assert_int_equal(hv_virtio_status_parse("[", &status), -EBADMSG);
        assert_int_equal(status, 128);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_round_trip),
            cmocka_unit_test(test_schema),
            cmocka_unit_test(test_values_that_do_not_belong_into_xml),
            cmocka_unit_test(test_long_names),
            cmocka_unit_test(test_foreign_and_broken_xml),
            cmocka_unit_test(test_errors_are_told_apart),
            cmocka_unit_test(test_virtio_status),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
