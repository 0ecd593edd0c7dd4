/* SPDX-License-Identifier: Apache-2.0 */
/* What the libvirt driver does to one VM. Each function is called by that VM's actor alone. */
#include <errno.h>
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <string.h>

#include "libcommon/netaddr.h"
#include "services/hypervisor/backends/libvirt_internal.h"
#include "services/hypervisor/disk.h"
#include "services/hypervisor/domain_xml.h"

#define MAX_MONITOR_ANSWER (256u << 10)

struct hv_driver_vm *hv_libvirt_vm_open(struct hv_driver *d, const char *pod_uid)
{
        struct hv_driver_vm *vm = calloc(1, sizeof(*vm));

        if (!vm)
                return NULL;
        vm->driver = d;
        (void)snprintf(vm->uid, sizeof(vm->uid), "%s", pod_uid);
        (void)pthread_mutex_init(&vm->console_lock, NULL);
        return vm;
}

static void drop_connection(struct hv_driver_vm *vm)
{
        if (vm->domain)
                (void)virDomainFree(vm->domain);
        if (vm->conn)
                (void)virConnectClose(vm->conn);
        vm->domain = NULL;
        vm->conn = NULL;
}

struct hv_driver_vm *hv_libvirt_vm_close(struct hv_driver_vm *vm)
{
        if (!vm)
                return NULL;
        drop_connection(vm);
        hv_libvirt_console_close(vm);
        (void)pthread_mutex_destroy(&vm->console_lock);
        free(vm);
        return NULL;
}

/* An error of a call on the VM's connection; a broken one is dropped, so that the next call reconnects. */
static enum hv_error fail(struct hv_driver_vm *vm, char *text)
{
        enum hv_error error = hv_libvirt_error(text);

        if (error == HV_ERROR_CONNECTION)
                drop_connection(vm);
        return error;
}

static enum hv_error need_connection(struct hv_driver_vm *vm, char *text)
{
        if (!ak_uuid_valid(vm->uid)) {
                (void)snprintf(text, HV_LEN_TEXT + 1, "pod UID '%s' is not a UUID", vm->uid);
                return HV_ERROR_INVALID;
        }
        if (vm->conn && virConnectIsAlive(vm->conn) != 1)
                drop_connection(vm);
        if (!vm->conn)
                vm->conn = hv_libvirt_open(vm->driver);
        return vm->conn ? HV_OK : hv_libvirt_error(text);
}

/* The domain's handle is but its UUID for libvirtd, so it may be kept over restarts of the domain. */
static enum hv_error need_domain(struct hv_driver_vm *vm, char *text)
{
        enum hv_error error = need_connection(vm, text);

        if (error != HV_OK || vm->domain)
                return error;
        vm->domain = virDomainLookupByUUIDString(vm->conn, vm->uid);
        return vm->domain ? HV_OK : fail(vm, text);
}

enum hv_error hv_libvirt_inspect(struct hv_driver_vm *vm, struct hv_live_domain **out, char *text)
{
        enum hv_error error = need_domain(vm, text);

        if (error == HV_OK)
                error = hv_libvirt_describe(vm->driver, vm->domain, out, text);
        else if (error == HV_ERROR_NO_DOMAIN)
                *out = NULL;
        if (error == HV_ERROR_CONNECTION)
                drop_connection(vm);
        return error == HV_ERROR_NO_DOMAIN ? HV_OK : error;
}

/* ------------------------------------------------------------------ life of the domain */

static enum hv_error domain_xml(struct hv_driver_vm *vm, const struct hv_domain_spec *spec, char **out,
                                char *text)
{
        const struct hv_driver *d = vm->driver;
        struct hv_disk disk;
        struct hv_domain_host host = {.node = d->node, .accel = d->accel, .emulator = d->emulator};

        if (hv_disk_prepare(d->state_dir, d->qemu_img, &spec->head, &disk, text) < 0)
                return HV_ERROR_OTHER;
        host.disk = disk.overlay;
        host.base = disk.base;
        host.base_format = disk.base_format;
        host.seed = disk.seed;
        host.console_log = disk.console_log;
        if (hv_domain_xml(spec, &host, out) == 0)
                return HV_OK;
        (void)snprintf(text, HV_LEN_TEXT + 1,
                       "the VM's specification holds a character that XML does not allow");
        return HV_ERROR_INVALID;
}

enum hv_error hv_libvirt_start(struct hv_driver_vm *vm, const struct hv_domain_spec *spec,
                               struct hv_live_domain **out, char *text)
{
        enum hv_error error = need_connection(vm, text);
        AK_AUTOFREE char *xml = NULL;

        if (error == HV_OK)
                error = domain_xml(vm, spec, &xml, text);
        if (error != HV_OK)
                return error;
        if (vm->domain)
                (void)virDomainFree(vm->domain);
        vm->domain = virDomainCreateXML(vm->conn, xml, VIR_DOMAIN_NONE);
        if (!vm->domain)
                return fail(vm, text);
        error = hv_libvirt_describe(vm->driver, vm->domain, out, text);
        if (error == HV_OK && !*out) {
                (void)snprintf(text, HV_LEN_TEXT + 1, "the domain ended as soon as it was started");
                error = HV_ERROR_OTHER;
        }
        return error;
}

static enum hv_error simple_call(struct hv_driver_vm *vm, int (*call)(virDomainPtr domain), char *text)
{
        enum hv_error error = need_domain(vm, text);

        if (error != HV_OK)
                return error;
        return call(vm->domain) == 0 ? HV_OK : fail(vm, text);
}

static int press_power_button(virDomainPtr domain)
{
        return virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
}

enum hv_error hv_libvirt_shutdown(struct hv_driver_vm *vm, char *text)
{
        return simple_call(vm, press_power_button, text);
}

enum hv_error hv_libvirt_destroy(struct hv_driver_vm *vm, char *text)
{
        return simple_call(vm, virDomainDestroy, text);
}

enum hv_error hv_libvirt_suspend(struct hv_driver_vm *vm, char *text)
{
        return simple_call(vm, virDomainSuspend, text);
}

enum hv_error hv_libvirt_resume(struct hv_driver_vm *vm, char *text)
{
        return simple_call(vm, virDomainResume, text);
}

enum hv_error hv_libvirt_cleanup(struct hv_driver_vm *vm, char *text)
{
        int r = hv_disk_remove(vm->driver->state_dir, vm->uid);

        if (r == 0)
                return HV_OK;
        (void)snprintf(text, HV_LEN_TEXT + 1, "%s/vms/%s: %s", vm->driver->state_dir, vm->uid, strerror(-r));
        return HV_ERROR_OTHER;
}

/* ------------------------------------------------------------------ NICs */

static enum hv_error nic_call(struct hv_driver_vm *vm, const struct hv_nic_spec *nic,
                              int (*call)(virDomainPtr domain, const char *xml, unsigned int flags),
                              char *text)
{
        enum hv_error error = need_domain(vm, text);
        AK_AUTOFREE char *xml = NULL;

        if (error != HV_OK)
                return error;
        if (hv_nic_xml(nic, &xml) < 0) {
                (void)snprintf(text, HV_LEN_TEXT + 1,
                               "port, device or MAC hold a character that XML does not allow");
                return HV_ERROR_INVALID;
        }
        return call(vm->domain, xml, VIR_DOMAIN_AFFECT_LIVE) == 0 ? HV_OK : fail(vm, text);
}

/* A command of one string argument; QEMU's refusal is no failure here. */
static int monitor_try(struct hv_driver_vm *vm, const char *command, const char *key, const char *prefix,
                       const char *port_id, const char *suffix)
{
        char value[AK_LEN_UID + 32];
        AK_AUTOFREE char *text = NULL;
        AK_AUTOFREE char *answer = NULL;
        json_t *json;

        (void)snprintf(value, sizeof(value), "%s" HV_ALIAS_PREFIX "%s%s", prefix, port_id, suffix);
        json = json_pack("{s:s,s:{s:s}}", "execute", command, "arguments", key, value);
        text = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        return text ? virDomainQemuMonitorCommand(vm->domain, text, &answer, 0) : -1;
}

/* Does libvirt know of the NIC? True where that cannot be told. */
static bool known_to_libvirt(struct hv_driver_vm *vm, const char *port_id)
{
        char alias[AK_LEN_UID + sizeof(HV_ALIAS_PREFIX)];
        AK_AUTOFREE char *xml = virDomainGetXMLDesc(vm->domain, 0);

        (void)snprintf(alias, sizeof(alias), HV_ALIAS_PREFIX "%s", port_id);
        return !xml || strstr(xml, alias);
}

/*
 * An attach that ended with libvirtd may have left in QEMU what libvirt does not know of: the tap's
 * descriptor, the backend that holds it, the device. While QEMU holds the tap, nobody can plug it again
 * ("busy"), so all of it is taken out; what is not there is refused, which is fine. The names are libvirt's
 * (qemu_hotplug.c).
 */
static bool remove_leftover(struct hv_driver_vm *vm, const char *port_id)
{
        if (known_to_libvirt(vm, port_id))
                return false;
        return monitor_try(vm, "device_del", "id", "", port_id, "") == 0 &&
               monitor_try(vm, "netdev_del", "id", "host", port_id, "") == 0 &&
               monitor_try(vm, "closefd", "fdname", "tapfd-", port_id, "0") == 0 &&
               monitor_try(vm, "closefd", "fdname", "vhostfd-", port_id, "0") == 0;
}

enum hv_error hv_libvirt_attach(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text)
{
        enum hv_error error = nic_call(vm, nic, virDomainAttachDeviceFlags, text);

        if ((error == HV_ERROR_TAP || error == HV_ERROR_DUPLICATE) && remove_leftover(vm, nic->port_id))
                error = nic_call(vm, nic, virDomainAttachDeviceFlags, text);
        return error;
}

enum hv_error hv_libvirt_set_link(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text)
{
        return nic_call(vm, nic, virDomainUpdateDeviceFlags, text);
}

enum hv_error hv_libvirt_detach(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text)
{
        enum hv_error error = need_domain(vm, text);
        char alias[AK_LEN_UID + sizeof(HV_ALIAS_PREFIX)];

        if (error != HV_OK)
                return error;
        (void)snprintf(alias, sizeof(alias), HV_ALIAS_PREFIX "%s", nic->port_id);
        return virDomainDetachDeviceAlias(vm->domain, alias, VIR_DOMAIN_AFFECT_LIVE) == 0 ? HV_OK
                                                                                          : fail(vm, text);
}

/* ------------------------------------------------------------------ the guest's driver */

/* "statuses": ["VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready", …] */
static uint64_t status_bit(const char *name)
{
        static const struct {
                const char *prefix;
                uint64_t bit;
        } table[] = {
            {"VIRTIO_CONFIG_S_ACKNOWLEDGE:", 1},
            {"VIRTIO_CONFIG_S_DRIVER:", 2},
            {"VIRTIO_CONFIG_S_DRIVER_OK:", HV_VIRTIO_DRIVER_OK},
            {"VIRTIO_CONFIG_S_FEATURES_OK:", 8},
            {"VIRTIO_CONFIG_S_NEEDS_RESET:", 64},
            {"VIRTIO_CONFIG_S_FAILED:", HV_VIRTIO_FAILED},
        };

        for (size_t i = 0; name && i < AK_ARRAY_SIZE(table); i++) {
                if (strncmp(name, table[i].prefix, strlen(table[i].prefix)) == 0)
                        return table[i].bit;
        }
        return 0;
}

int hv_virtio_status_parse(const char *text, uint64_t *status)
{
        json_t *json =
            strnlen(text, MAX_MONITOR_ANSWER) < MAX_MONITOR_ANSWER ? json_loads(text, 0, NULL) : NULL;
        json_t *value =
            json_object_get(json_object_get(json_object_get(json, "return"), "status"), "statuses");
        uint64_t bits = 0;
        json_t *item;
        size_t i;

        if (!json_is_array(value)) {
                json_decref(json);
                return -EBADMSG;
        }
        json_array_foreach(value, i, item) bits |= status_bit(json_string_value(item));
        json_decref(json);
        *status = bits;
        return 0;
}

static char *status_question(const char *port_id)
{
        char path[128];
        json_t *json;
        char *text;

        (void)snprintf(path, sizeof(path), "/machine/peripheral/" HV_ALIAS_PREFIX "%s/virtio-backend",
                       port_id);
        json = json_pack("{s:s,s:{s:s}}", "execute", "x-query-virtio-status", "arguments", "path", path);
        text = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        return text;
}

/* QEMU's own refusals come as an answer, not as an error. */
static enum hv_error monitor_refusal(const char *answer, char *text)
{
        json_t *json = json_loads(answer, 0, NULL);
        const char *desc = json_string_value(json_object_get(json_object_get(json, "error"), "desc"));
        enum hv_error error;

        (void)snprintf(text, HV_LEN_TEXT + 1, "%s", desc ? desc : "answer not understood");
        error = hv_libvirt_classify(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, text);
        json_decref(json);
        return error;
}

enum hv_error hv_libvirt_probe(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, uint64_t *status,
                               char *text)
{
        enum hv_error error = need_domain(vm, text);
        AK_AUTOFREE char *question = NULL;
        AK_AUTOFREE char *answer = NULL;

        if (error != HV_OK)
                return error;
        question = status_question(nic->port_id);
        if (!question)
                return HV_ERROR_OTHER;
        if (virDomainQemuMonitorCommand(vm->domain, question, &answer, 0) < 0)
                return fail(vm, text);
        if (hv_virtio_status_parse(answer, status) == 0)
                return HV_OK;
        return monitor_refusal(answer, text);
}
