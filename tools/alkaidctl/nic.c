/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/nic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"

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

enum column { NAME, STATE, REASON, MAC, ADDRESSES, SUBNET, SLOT, PCI, AGE, TIMES, COLUMNS };
static const char *const titles[COLUMNS] = {"NAME",   "STATE", "REASON", "MAC", "ADDRESSES",
                                            "SUBNET", "SLOT",  "PCI",    "AGE", "TIMES (MS)"};

struct row {
        char cells[COLUMNS][128];
};

static void set_cell(struct row *row, enum column column, const char *text)
{
        (void)snprintf(row->cells[column], sizeof(row->cells[column]), "%s", or_dash(text));
}

/* Slot n is the root port whose bus in the guest is n + 1 (docs/architecture.md, names on a node). */
static void set_slot(struct row *row, const char *pci)
{
        const char *colon = strchr(pci, ':'); /* after the PCI domain */
        unsigned long bus;
        char *end;

        set_cell(row, SLOT, "");
        if (!colon)
                return;
        bus = strtoul(colon + 1, &end, 16);
        if (*end == ':' && bus > 0)
                (void)snprintf(row->cells[SLOT], sizeof(row->cells[SLOT]), "%lu", bus - 1);
}

/* Of the state: how long the NIC has been in it. */
static void set_age(struct row *row, const char *since, uint64_t real_us)
{
        uint64_t us, s;

        set_cell(row, AGE, "");
        if (ak_rfc3339_parse(since, &us) < 0)
                return;
        s = real_us > us ? (real_us - us) / 1000000 : 0;
        if (s < 120)
                (void)snprintf(row->cells[AGE], sizeof(row->cells[AGE]), "%us", (unsigned int)s);
        else if (s < 7200)
                (void)snprintf(row->cells[AGE], sizeof(row->cells[AGE]), "%um%us", (unsigned int)(s / 60),
                               (unsigned int)(s % 60));
        else if (s < 172800)
                (void)snprintf(row->cells[AGE], sizeof(row->cells[AGE]), "%uh", (unsigned int)(s / 3600));
        else
                (void)snprintf(row->cells[AGE], sizeof(row->cells[AGE]), "%ud", (unsigned int)(s / 86400));
}

/* "port=27 attach=715 guest=705 total=1455", in the order of the steps. */
static void set_times(struct row *row, const json_t *timings)
{
        static const char *const steps[] = {"port", "attach", "guest", "total", "detach"};
        char text[128] = "", key[16];
        size_t used = 0;

        for (size_t i = 0; i < AK_ARRAY_SIZE(steps) && used < sizeof(text); i++) {
                (void)snprintf(key, sizeof(key), "%sMs", steps[i]);
                const json_t *ms = json_object_get(timings, key);
                if (json_is_integer(ms))
                        used +=
                            (size_t)snprintf(text + used, sizeof(text) - used, "%s%s=%lld", used ? " " : "",
                                             steps[i], (long long)json_integer_value(ms));
        }
        set_cell(row, TIMES, text);
}

static void fill_row(struct row *row, const json_t *nic, uint64_t real_us)
{
        const json_t *status = json_object_get(nic, "status"), *spec = json_object_get(nic, "spec");
        char addresses[128];

        join(json_object_get(status, "ipAddresses"), addresses, sizeof(addresses));
        set_cell(row, NAME, text_of(nic, "name"));
        set_cell(row, STATE, json_is_object(spec) ? text_of(status, "state") : "Removing");
        set_cell(row, REASON, text_of(status, "reason"));
        set_cell(row, MAC, text_of(status, "macAddress"));
        set_cell(row, ADDRESSES, addresses);
        set_cell(row, SUBNET, text_of(status, "subnet"));
        set_cell(row, PCI, text_of(status, "pciAddress"));
        set_slot(row, text_of(status, "pciAddress"));
        set_age(row, text_of(status, "lastTransitionTime"), real_us);
        set_times(row, json_object_get(status, "timings"));
}

static void print_rows(const struct row *rows, size_t count, FILE *out)
{
        size_t widths[COLUMNS] = {0};

        for (size_t i = 0; i < count; i++)
                for (size_t c = 0; c < COLUMNS; c++)
                        if (strlen(rows[i].cells[c]) > widths[c])
                                widths[c] = strlen(rows[i].cells[c]);
        for (size_t i = 0; i < count; i++) {
                for (size_t c = 0; c + 1 < COLUMNS; c++)
                        (void)fprintf(out, "%-*s   ", (int)widths[c], rows[i].cells[c]);
                (void)fprintf(out, "%s\n", rows[i].cells[COLUMNS - 1]);
        }
}

void ctl_nic_table(const json_t *pod, uint64_t real_us, FILE *out)
{
        json_t *list = ctl_nic_list(pod);
        size_t count = json_array_size(list) + 1;
        AK_AUTOFREE struct row *rows = calloc(count, sizeof(*rows));

        for (size_t c = 0; rows && c < COLUMNS; c++)
                set_cell(&rows[0], (enum column)c, titles[c]);
        for (size_t i = 1; rows && i < count; i++)
                fill_row(&rows[i], json_array_get(list, i - 1), real_us);
        if (rows)
                print_rows(rows, count, out);
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
