/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/nic.h"

#include <errno.h>
#include <string.h>

#include "libcommon/cleanup.h"

static const char *text_of(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

static json_t *find(const json_t *list, const char *name)
{
        for (size_t i = 0; i < json_array_size(list); i++)
                if (strcmp(text_of(json_array_get(list, i), "name"), name) == 0)
                        return json_array_get(list, i);
        return NULL;
}

static json_t *specs(const json_t *pod)
{
        return json_object_get(json_object_get(pod, "spec"), "nics");
}

static json_t *statuses(const json_t *pod)
{
        return json_object_get(json_object_get(pod, "status"), "nicStatuses");
}

static const char *uid(const json_t *pod)
{
        return text_of(json_object_get(pod, "metadata"), "uid");
}

/* ------------------------------------------------------------------ list */

static json_t *entry(const json_t *pod, const char *name)
{
        return json_pack("{s:s, s:O?, s:O?}", "name", name, "spec", find(specs(pod), name), "status",
                         find(statuses(pod), name));
}

json_t *ctl_nic_list(const json_t *pod)
{
        json_t *out = json_array();

        for (size_t i = 0; i < json_array_size(specs(pod)); i++)
                json_array_append_new(out, entry(pod, text_of(json_array_get(specs(pod), i), "name")));
        /* on its way out: no longer in the spec */
        for (size_t i = 0; i < json_array_size(statuses(pod)); i++) {
                const char *name = text_of(json_array_get(statuses(pod), i), "name");
                if (!find(specs(pod), name))
                        json_array_append_new(out, entry(pod, name));
        }
        return out;
}

static const char *or_dash(const char *text)
{
        return *text ? text : "-";
}

static void join(const json_t *list, char *out, size_t size)
{
        size_t n = 0;

        out[0] = '\0';
        for (size_t i = 0; i < json_array_size(list) && n < size; i++) {
                const char *text = json_string_value(json_array_get(list, i));
                n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "," : "", text ? text : "?");
        }
}

static void print_row(const json_t *nic, FILE *out)
{
        const json_t *status = json_object_get(nic, "status"), *spec = json_object_get(nic, "spec");
        char addresses[256];

        join(json_object_get(status, "ipAddresses"), addresses, sizeof(addresses));
        (void)fprintf(out, "%-15s %-10s %-17s %-15s %-20s %-12s %s\n", text_of(nic, "name"),
                      json_is_object(spec) ? or_dash(text_of(status, "state")) : "Removing",
                      or_dash(text_of(status, "macAddress")), or_dash(addresses),
                      or_dash(text_of(status, "subnet")), or_dash(text_of(status, "pciAddress")),
                      or_dash(text_of(status, "reason")));
}

void ctl_nic_table(const json_t *pod, FILE *out)
{
        json_t *list = ctl_nic_list(pod);

        (void)fprintf(out, "%-15s %-10s %-17s %-15s %-20s %-12s %s\n", "NAME", "STATE", "MAC", "ADDRESSES",
                      "SUBNET", "PCI", "REASON");
        for (size_t i = 0; i < json_array_size(list); i++)
                print_row(json_array_get(list, i), out);
        json_decref(list);
}

/* ------------------------------------------------------------------ change */

void ctl_nic_free_name(const json_t *pod, char out[16])
{
        unsigned int n = 0;

        do
                (void)snprintf(out, 16, "eth%u", n++);
        while (find(specs(pod), out) || find(statuses(pod), out));
}

static json_t *patch_of(const json_t *pod, json_t *nic)
{
        return json_pack("{s:{s:s}, s:{s:[o]}}", "metadata", "uid", uid(pod), "spec", "nics", nic);
}

int ctl_nic_attach_patch(const json_t *pod, const struct ctl_nic_wish *wish, json_t **out,
                         char error[CTL_ERROR_SIZE])
{
        char name[16];

        if (wish->name && find(specs(pod), wish->name)) {
                (void)snprintf(error, CTL_ERROR_SIZE, "the pod has a NIC %s", wish->name);
                return -EEXIST;
        }
        ctl_nic_free_name(pod, name);
        json_t *nic =
            json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "name", wish->name ? wish->name : name, "subnetName",
                      wish->subnet, "portId", wish->port_id, "ipAddress", wish->ip, "macAddress", wish->mac);
        json_t *patch = nic ? patch_of(pod, nic) : NULL;
        if (!patch)
                return -ENOMEM;
        *out = patch;
        return 0;
}

int ctl_nic_detach_patch(const json_t *pod, const char *name, json_t **out, char error[CTL_ERROR_SIZE])
{
        if (!find(specs(pod), name)) {
                (void)snprintf(error, CTL_ERROR_SIZE, "the pod has no NIC %s", name);
                return -ENOENT;
        }
        json_t *patch = patch_of(pod, json_pack("{s:s, s:s}", "$patch", "delete", "name", name));
        if (!patch)
                return -ENOMEM;
        *out = patch;
        return 0;
}

enum ctl_nic_progress ctl_nic_progress(const json_t *pod, const char *name, bool present,
                                       char text[CTL_ERROR_SIZE])
{
        const json_t *status = find(statuses(pod), name);
        const char *state = text_of(status, "state");

        (void)snprintf(text, CTL_ERROR_SIZE, "%s: %s", or_dash(text_of(status, "reason")),
                       or_dash(text_of(status, "message")));
        if (!present)
                return status ? CTL_NIC_UNDER_WAY : CTL_NIC_DONE;
        if (strcmp(state, "Ready") == 0)
                return CTL_NIC_DONE;
        return strcmp(state, "Failed") == 0 ? CTL_NIC_FAILED : CTL_NIC_UNDER_WAY;
}
