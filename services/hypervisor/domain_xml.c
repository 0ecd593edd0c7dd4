/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/domain_xml.h"

#include <errno.h>
#include <inttypes.h>
#include <libxml/xmlwriter.h>
#include <stdarg.h>
#include <string.h>

#define ROOT_PORTS_SLOT 0x10 /* the first device of pcie.0 that holds root ports, eight each */
#define DISK_SLOT       0x02
#define RNG_SLOT        0x03
#define SEED_SLOT       0x04
#define NAME_MAX_BYTES  200 /* libvirt makes file names of it */

/* A writer that remembers its first failure, so that callers need not look after each call. */
struct xml {
        xmlBufferPtr buffer;
        xmlTextWriterPtr writer;
        int error;
};

static void check(struct xml *x, int r)
{
        if (r < 0 && x->error == 0)
                x->error = -EINVAL;
}

/* Elements of one name nest as the calls do: open(…), close(). Attributes: name, value pairs up to NULL. */
static void attributes(struct xml *x, va_list ap)
{
        const char *name;

        while ((name = va_arg(ap, const char *))) {
                const char *value = va_arg(ap, const char *);

                if (value)
                        check(x, xmlTextWriterWriteAttribute(x->writer, BAD_CAST name, BAD_CAST value));
        }
}

static AK_SENTINEL void open_element(struct xml *x, const char *name, ...)
{
        va_list ap;

        check(x, xmlTextWriterStartElement(x->writer, BAD_CAST name));
        va_start(ap, name);
        attributes(x, ap);
        va_end(ap);
}

static void close_element(struct xml *x)
{
        check(x, xmlTextWriterEndElement(x->writer));
}

static AK_SENTINEL void element(struct xml *x, const char *name, ...)
{
        va_list ap;

        check(x, xmlTextWriterStartElement(x->writer, BAD_CAST name));
        va_start(ap, name);
        attributes(x, ap);
        va_end(ap);
        close_element(x);
}

static void text_element(struct xml *x, const char *name, const char *text)
{
        check(x, xmlTextWriterWriteElement(x->writer, BAD_CAST name, BAD_CAST text));
}

struct number {
        char s[24];
};

static struct number decimal(uint64_t value)
{
        struct number n;

        (void)snprintf(n.s, sizeof(n.s), "%" PRIu64, value);
        return n;
}

static void pci_address(struct xml *x, uint64_t bus, unsigned slot, unsigned function, bool multifunction)
{
        char s[8], f[8];

        (void)snprintf(s, sizeof(s), "0x%02x", slot);
        (void)snprintf(f, sizeof(f), "0x%x", function);
        element(x, "address", "type", "pci", "domain", "0", "bus", decimal(bus).s, "slot", s, "function", f,
                "multifunction", multifunction ? "on" : NULL, NULL);
}

static int xml_begin(struct xml *x)
{
        *x = (struct xml){.buffer = xmlBufferCreate()};
        if (!x->buffer)
                return -ENOMEM;
        x->writer = xmlNewTextWriterMemory(x->buffer, 0);
        return x->writer ? 0 : -ENOMEM;
}

static int xml_end(struct xml *x, char **out)
{
        char *text = NULL;

        if (x->writer) {
                check(x, xmlTextWriterEndDocument(x->writer));
                xmlFreeTextWriter(x->writer);
        }
        if (x->buffer && x->error == 0) {
                text = strdup((const char *)xmlBufferContent(x->buffer));
                if (!text)
                        x->error = -ENOMEM;
        }
        xmlBufferFree(x->buffer);
        if (x->error == 0)
                *out = text;
        return x->error;
}

/* ------------------------------------------------------------------ NIC */

static void write_nic(struct xml *x, const struct hv_nic_spec *nic)
{
        char alias[AK_LEN_UID + sizeof(HV_ALIAS_PREFIX)];

        (void)snprintf(alias, sizeof(alias), HV_ALIAS_PREFIX "%s", nic->port_id);
        open_element(x, "interface", "type", "ethernet", NULL);
        element(x, "mac", "address", nic->mac, NULL);
        element(x, "target", "dev", nic->ifname, "managed", "no", NULL);
        element(x, "model", "type", "virtio", NULL);
        element(x, "link", "state", nic->link_down ? "down" : "up", NULL);
        if (nic->mtu)
                element(x, "mtu", "size", decimal(nic->mtu).s, NULL);
        element(x, "alias", "name", alias, NULL);
        element(x, "rom", "enabled", "no", NULL);
        pci_address(x, nic->slot + 1, 0, 0, false);
        close_element(x);
}

/* libxml2's writer does not look at what it is given; libvirt would refuse these with a riddle. */
static bool xml_text_valid(const char *text)
{
        for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
                if (*p < 0x20 || *p == 0x7f)
                        return false;
        }
        return xmlCheckUTF8(BAD_CAST text);
}

static bool nic_valid(const struct hv_nic_spec *nic)
{
        return xml_text_valid(nic->port_id) && xml_text_valid(nic->ifname) && xml_text_valid(nic->mac) &&
               nic->slot < HV_MAX_SLOTS;
}

int hv_nic_xml(const struct hv_nic_spec *nic, char **out)
{
        struct xml x;

        if (!nic_valid(nic))
                return -EINVAL;
        if (xml_begin(&x) < 0)
                x.error = -ENOMEM;
        else
                write_nic(&x, nic);
        return xml_end(&x, out);
}

/* ------------------------------------------------------------------ domain */

void hv_domain_name(const struct hv_domain_spec_head *spec, char out[HV_DOMAIN_NAME_SIZE])
{
        int room = NAME_MAX_BYTES - (int)strlen("alkaid---12345678");
        int ns = (int)strnlen(spec->pod_namespace, 63);

        (void)snprintf(out, HV_DOMAIN_NAME_SIZE, "alkaid-%.*s-%.*s-%.8s", ns, spec->pod_namespace, room - ns,
                       spec->pod_name, spec->pod_uid);
}

static void metadata(struct xml *x, const struct hv_domain_spec_head *spec, const char *node)
{
        open_element(x, "metadata", NULL);
        element(x, "alkaid:pod", "xmlns:alkaid", HV_XMLNS, "node", node, "uid", spec->pod_uid, "namespace",
                spec->pod_namespace, "name", spec->pod_name, "generation", decimal(spec->generation).s,
                "slots", decimal(spec->nic_slots).s, "started", decimal(spec->started_us).s, NULL);
        close_element(x);
}

static void machine(struct xml *x, const struct hv_domain_spec_head *spec, bool kvm)
{
        open_element(x, "memory", "unit", "KiB", NULL);
        check(x, xmlTextWriterWriteString(x->writer, BAD_CAST decimal((spec->memory_bytes + 1023) / 1024).s));
        close_element(x);
        text_element(x, "vcpu", decimal(spec->vcpus).s);
        open_element(x, "os", NULL);
        open_element(x, "type", "arch", "x86_64", "machine", "q35", NULL);
        check(x, xmlTextWriterWriteString(x->writer, BAD_CAST "hvm"));
        close_element(x);
        close_element(x);
        open_element(x, "features", NULL);
        element(x, "acpi", NULL);
        element(x, "apic", NULL);
        close_element(x);
        element(x, "cpu", "mode", kvm ? "host-passthrough" : "maximum", NULL);
        element(x, "clock", "offset", "utc", NULL);
        text_element(x, "on_poweroff", "destroy");
        text_element(x, "on_reboot", "restart");
        text_element(x, "on_crash", "destroy");
}

static void root_ports(struct xml *x, uint64_t count)
{
        element(x, "controller", "type", "pci", "index", "0", "model", "pcie-root", NULL);
        for (uint64_t n = 0; n < count; n++) {
                unsigned device = ROOT_PORTS_SLOT + (unsigned)n / 8, function = (unsigned)n % 8;

                open_element(x, "controller", "type", "pci", "index", decimal(n + 1).s, "model",
                             "pcie-root-port", NULL);
                element(x, "target", "chassis", decimal(n + 1).s, "port", decimal(n).s, NULL);
                pci_address(x, 0, device, function, function == 0);
                close_element(x);
        }
        element(x, "controller", "type", "usb", "model", "none", NULL);
}

static void disk(struct xml *x, const struct hv_domain_host *host)
{
        open_element(x, "disk", "type", "file", "device", "disk", NULL);
        element(x, "driver", "name", "qemu", "type", "qcow2", "discard", "unmap", NULL);
        element(x, "source", "file", host->disk, NULL);
        open_element(x, "backingStore", "type", "file", NULL);
        element(x, "format", "type", host->base_format, NULL);
        element(x, "source", "file", host->base, NULL);
        element(x, "backingStore", NULL);
        close_element(x);
        element(x, "target", "dev", "vda", "bus", "virtio", NULL);
        pci_address(x, 0, DISK_SLOT, 0, false);
        close_element(x);
}

/* A disk and not a drive: every guest that has a driver for the other one finds it by its label. */
static void seed(struct xml *x, const struct hv_domain_host *host)
{
        if (!host->seed)
                return;
        open_element(x, "disk", "type", "file", "device", "disk", NULL);
        element(x, "driver", "name", "qemu", "type", "raw", NULL);
        element(x, "source", "file", host->seed, NULL);
        element(x, "target", "dev", "vdb", "bus", "virtio", NULL);
        element(x, "readonly", NULL);
        pci_address(x, 0, SEED_SLOT, 0, false);
        close_element(x);
}

static void serial_console(struct xml *x, const struct hv_domain_host *host)
{
        open_element(x, "serial", "type", "pty", NULL);
        element(x, "log", "file", host->console_log, "append", "on", NULL);
        element(x, "target", "type", "isa-serial", "port", "0", NULL);
        close_element(x);
        open_element(x, "console", "type", "pty", NULL);
        element(x, "target", "type", "serial", "port", "0", NULL);
        close_element(x);
}

static void small_devices(struct xml *x)
{
        open_element(x, "rng", "model", "virtio", NULL);
        open_element(x, "backend", "model", "random", NULL);
        check(x, xmlTextWriterWriteString(x->writer, BAD_CAST "/dev/urandom"));
        close_element(x);
        pci_address(x, 0, RNG_SLOT, 0, false);
        close_element(x);
        element(x, "memballoon", "model", "none", NULL);
        open_element(x, "video", NULL);
        element(x, "model", "type", "none", NULL);
        close_element(x);
        element(x, "audio", "id", "1", "type", "none", NULL);
        /* By it a guest's kernel tells that it panicked; without, the VM would seem to run on. */
        open_element(x, "panic", "model", "isa", NULL);
        element(x, "address", "type", "isa", "iobase", "0x505", NULL);
        close_element(x);
}

static void devices(struct xml *x, const struct hv_domain_spec *spec, const struct hv_domain_host *host)
{
        open_element(x, "devices", NULL);
        if (host->emulator)
                text_element(x, "emulator", host->emulator);
        root_ports(x, spec->head.nic_slots);
        disk(x, host);
        seed(x, host);
        for (size_t i = 0; i < spec->nic_count; i++)
                write_nic(x, &spec->nics[i]);
        serial_console(x, host);
        small_devices(x);
        close_element(x);
}

static void qemu_arguments(struct xml *x)
{
        open_element(x, "qemu:commandline", NULL);
        element(x, "qemu:arg", "value", "-global", NULL);
        element(x, "qemu:arg", "value", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=on", NULL);
        close_element(x);
}

static void write_domain(struct xml *x, const struct hv_domain_spec *spec, const struct hv_domain_host *host)
{
        bool kvm = strcmp(host->accel, "kvm") == 0;
        char name[HV_DOMAIN_NAME_SIZE];

        hv_domain_name(&spec->head, name);
        open_element(x, "domain", "type", kvm ? "kvm" : "qemu", "xmlns:qemu",
                     "http://libvirt.org/schemas/domain/qemu/1.0", NULL);
        text_element(x, "name", name);
        text_element(x, "uuid", spec->head.pod_uid);
        metadata(x, &spec->head, host->node);
        machine(x, &spec->head, kvm);
        devices(x, spec, host);
        qemu_arguments(x);
        close_element(x);
}

static bool spec_valid(const struct hv_domain_spec *spec, const struct hv_domain_host *host)
{
        const struct hv_domain_spec_head *head = &spec->head;

        for (size_t i = 0; i < spec->nic_count; i++) {
                if (!nic_valid(&spec->nics[i]))
                        return false;
        }
        return xml_text_valid(head->pod_namespace) && xml_text_valid(head->pod_name) &&
               xml_text_valid(host->node) && xml_text_valid(host->disk) && xml_text_valid(host->base) &&
               (!host->seed || xml_text_valid(host->seed)) && head->nic_slots <= HV_MAX_SLOTS;
}

int hv_domain_xml(const struct hv_domain_spec *spec, const struct hv_domain_host *host, char **out)
{
        struct xml x;

        if (!spec_valid(spec, host))
                return -EINVAL;
        if (xml_begin(&x) < 0)
                x.error = -ENOMEM;
        else
                write_domain(&x, spec, host);
        return xml_end(&x, out);
}
