/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt says a domain has: the part of its live XML that is ours. No network, no entities. */
#include <errno.h>
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

#include "libcommon/netaddr.h"
#include "services/hypervisor/domain_xml.h"

static void free_doc(xmlDocPtr *doc)
{
        xmlFreeDoc(*doc);
}

static bool named(const xmlNode *node, const char *name)
{
        return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static const xmlNode *child(const xmlNode *parent, const char *name)
{
        for (const xmlNode *node = parent ? parent->children : NULL; node; node = node->next) {
                if (named(node, name))
                        return node;
        }
        return NULL;
}

/* Copies an attribute's value; an absent one is empty. -EMSGSIZE when it does not fit. */
static int attribute(const xmlNode *node, const char *name, char *out, size_t size)
{
        xmlChar *value = node ? xmlGetNoNsProp(node, BAD_CAST name) : NULL;
        size_t len = value ? strlen((const char *)value) : 0;
        int r = -EMSGSIZE;

        if (len < size) {
                if (len)
                        memcpy(out, value, len);
                out[len] = '\0';
                r = 0;
        }
        xmlFree(value);
        return r;
}

/* Decimal or 0x…; an absent one is 0. */
static int number(const xmlNode *node, const char *name, uint64_t max, uint64_t *out)
{
        char text[24], *end;
        uint64_t value;

        if (attribute(node, name, text, sizeof(text)) < 0)
                return -EBADMSG;
        errno = 0;
        value = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
        if (*end || errno || value > max || text[0] == '-')
                return -EBADMSG;
        *out = value;
        return 0;
}

static int element_text(const xmlNode *node, char *out, size_t size)
{
        xmlChar *value = node ? xmlNodeGetContent(node) : NULL;
        int r = value && strlen((const char *)value) < size ? 0 : -EBADMSG;

        if (r == 0)
                (void)snprintf(out, size, "%s", (const char *)value);
        xmlFree(value);
        return r;
}

static int parse_address(const xmlNode *interface, struct hv_live_nic *nic)
{
        const xmlNode *address = child(interface, "address");
        uint64_t domain, bus, slot, function;

        if (number(address, "domain", 0xffff, &domain) < 0 || number(address, "bus", 0xff, &bus) < 0 ||
            number(address, "slot", 0x1f, &slot) < 0 || number(address, "function", 7, &function) < 0)
                return -EBADMSG;
        /* Not where we put it: no slot of ours. */
        nic->slot = bus >= 1 && bus <= HV_MAX_SLOTS ? bus - 1 : HV_MAX_SLOTS;
        (void)snprintf(nic->pci_address, sizeof(nic->pci_address), "%04x:%02x:%02x.%x", (unsigned)domain,
                       (unsigned)bus, (unsigned)slot, (unsigned)function);
        return 0;
}

/* -ENOENT: not ours. */
static int parse_nic(const xmlNode *interface, struct hv_live_nic *out)
{
        struct hv_live_nic nic = {0};
        char alias[HV_LEN_ALIAS + 1], state[16];
        size_t prefix = strlen(HV_ALIAS_PREFIX);

        if (attribute(child(interface, "alias"), "name", alias, sizeof(alias)) < 0 ||
            strncmp(alias, HV_ALIAS_PREFIX, prefix) != 0 || !ak_uuid_valid(alias + prefix))
                return -ENOENT;
        (void)snprintf(nic.port_id, sizeof(nic.port_id), "%s", alias + prefix);
        if (attribute(child(interface, "mac"), "address", nic.mac, sizeof(nic.mac)) < 0 ||
            attribute(child(interface, "target"), "dev", nic.ifname, sizeof(nic.ifname)) < 0 ||
            number(child(interface, "mtu"), "size", 65535, &nic.mtu) < 0 ||
            attribute(child(interface, "link"), "state", state, sizeof(state)) < 0)
                return -EBADMSG;
        nic.link_down = strcmp(state, "down") == 0;
        if (parse_address(interface, &nic) < 0)
                return -EBADMSG;
        *out = nic;
        return 0;
}

static int parse_nics(const xmlNode *devices, struct hv_live_domain *domain)
{
        for (const xmlNode *node = devices ? devices->children : NULL; node; node = node->next) {
                struct hv_live_nic nic;
                int r;

                if (!named(node, "interface"))
                        continue;
                r = parse_nic(node, &nic);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return r;
                if (domain->nic_count >= HV_MAX_SLOTS)
                        return -EBADMSG;
                domain->nics[domain->nic_count++] = nic;
        }
        return 0;
}

static const xmlNode *pod_metadata(const xmlNode *root)
{
        const xmlNode *metadata = child(root, "metadata");

        for (const xmlNode *node = metadata ? metadata->children : NULL; node; node = node->next) {
                if (named(node, "pod") && node->ns && strcmp((const char *)node->ns->href, HV_XMLNS) == 0)
                        return node;
        }
        return NULL;
}

static int parse_head(const xmlNode *root, const xmlNode *pod, struct hv_live_domain_head *head)
{
        char type[16];

        if (attribute(pod, "uid", head->pod_uid, sizeof(head->pod_uid)) < 0 || !ak_uuid_valid(head->pod_uid))
                return -EBADMSG;
        if (attribute(pod, "namespace", head->pod_namespace, sizeof(head->pod_namespace)) < 0 ||
            attribute(pod, "name", head->pod_name, sizeof(head->pod_name)) < 0 ||
            number(pod, "generation", AK_MAX_U64, &head->generation) < 0 ||
            number(pod, "slots", HV_MAX_SLOTS, &head->nic_slots) < 0 ||
            number(pod, "started", AK_MAX_USEC, &head->started_us) < 0 ||
            attribute(root, "type", type, sizeof(type)) < 0 ||
            element_text(child(root, "uuid"), head->uuid, sizeof(head->uuid)) < 0)
                return -EBADMSG;
        (void)snprintf(head->accel, sizeof(head->accel), "%s", strcmp(type, "kvm") == 0 ? "kvm" : "tcg");
        /* The UUID is the pod's: a copy of the domain under another UUID is not ours. */
        return strcmp(head->uuid, head->pod_uid) == 0 ? 0 : -ENOENT;
}

int hv_live_xml_parse(const char *node, const char *xml, size_t len, struct hv_live_domain **out)
{
        AK_CLEANUP(free_doc) xmlDocPtr doc = NULL;
        AK_AUTOFREE struct hv_live_domain *domain = NULL;
        char owner[AK_LEN_NAME + 1];
        const xmlNode *root, *pod;
        int r;

        if (len > HV_MAX_XML_BYTES)
                return -EBADMSG;
        doc = xmlReadMemory(xml, (int)len, NULL, NULL,
                            XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        root = doc ? xmlDocGetRootElement(doc) : NULL;
        if (!root || !named(root, "domain"))
                return -EBADMSG;
        pod = pod_metadata(root);
        if (!pod || attribute(pod, "node", owner, sizeof(owner)) < 0 || strcmp(owner, node) != 0)
                return -ENOENT;
        domain = calloc(1, sizeof(*domain));
        if (!domain)
                return -ENOMEM;
        domain->head.state = HV_DOMAIN_RUNNING;
        r = parse_head(root, pod, &domain->head);
        if (r == 0)
                r = parse_nics(child(root, "devices"), domain);
        if (r < 0)
                return r;
        *out = AK_STEAL(domain);
        return 0;
}
