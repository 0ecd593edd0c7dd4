/* SPDX-License-Identifier: Apache-2.0 */
/* meta.k8s.io/v1 Table: what `kubectl get` prints. One row function per kind, in the order of its columns. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"
#include "services/apiserver/core_internal.h"

static void add(json_t *cells, const char *text)
{
        (void)json_array_append_new(cells, json_string(text));
}

/* One step of kubectl's duration.HumanDuration: below `below` seconds, in `unit`s and, unless 0, `rest`s. */
struct age_step {
        uint64_t below, unit, rest;
        const char *unit_name, *rest_name;
};

#define MINUTE UINT64_C(60)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)

static void age_text(const char *time, uint64_t real_us, char out[32])
{
        static const struct age_step steps[] = {
            {2 * MINUTE, 1, 0, "s", ""},    {10 * MINUTE, MINUTE, 1, "m", "s"},
            {3 * HOUR, MINUTE, 0, "m", ""}, {8 * HOUR, HOUR, MINUTE, "h", "m"},
            {2 * DAY, HOUR, 0, "h", ""},    {8 * DAY, DAY, HOUR, "d", "h"},
            {2 * YEAR, DAY, 0, "d", ""},    {8 * YEAR, YEAR, DAY, "y", "d"},
            {UINT64_MAX, YEAR, 0, "y", ""},
        };
        const struct age_step *step = steps;
        uint64_t us, s, rest;

        if (ak_rfc3339_parse(time, &us) < 0) {
                (void)snprintf(out, 32, "<unknown>");
                return;
        }
        s = real_us > us ? (real_us - us) / 1000000 : 0;
        while (s >= step->below)
                step++;
        rest = step->rest ? s % step->unit / step->rest : 0;
        if (rest)
                (void)snprintf(out, 32, "%" PRIu64 "%s%" PRIu64 "%s", s / step->unit, step->unit_name, rest,
                               step->rest_name);
        else
                (void)snprintf(out, 32, "%" PRIu64 "%s", s / step->unit, step->unit_name);
}

static void add_age(json_t *cells, const json_t *object, uint64_t real_us)
{
        char age[32];

        age_text(api_text(object, "metadata.creationTimestamp"), real_us, age);
        add(cells, age);
}

static void join(const json_t *list, char *out, size_t size)
{
        json_t *item;
        size_t i, used = 0;

        out[0] = '\0';
        json_array_foreach((json_t *)list, i, item)
        {
                if (used < size)
                        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "",
                                                 json_is_string(item) ? json_string_value(item) : "");
        }
        if (!out[0])
                (void)snprintf(out, size, "<none>");
}

static void add_or_none(json_t *cells, const char *text)
{
        add(cells, *text ? text : "<none>");
}

/* ---- pods ---- */

static const char *pod_status_text(const json_t *pod)
{
        const json_t *state =
            json_object_get(json_array_get(api_at(pod, "status.containerStatuses"), 0), "state");
        const char *waiting = api_text(state, "waiting.reason"), *reason = api_text(pod, "status.reason");

        if (api_is_deleting(pod))
                return "Terminating";
        if (strcmp(api_text(api_condition(pod, "Ready"), "reason"), API_NODE_SILENT) == 0)
                return "Unknown";
        if (*reason)
                return reason;
        return *waiting ? waiting : api_text(pod, "status.phase");
}

static const json_t *status_of_nic(const json_t *pod, const char *name)
{
        json_t *s;
        size_t i;

        json_array_foreach(api_at(pod, "status.nicStatuses"), i, s)
        {
                if (strcmp(api_text(s, "name"), name) == 0)
                        return s;
        }
        return NULL;
}

static void add_nics(json_t *cells, const json_t *pod)
{
        json_t *nic;
        size_t i, ready = 0, wanted = 0;
        char text[32];

        json_array_foreach(api_at(pod, "spec.nics"), i, nic)
        {
                const json_t *s = status_of_nic(pod, api_text(nic, "name"));
                wanted++;
                ready += strcmp(api_text(s, "state"), "Ready") == 0 &&
                         strcmp(api_text(s, "portID"), api_text(nic, "portId")) == 0;
        }
        (void)snprintf(text, sizeof(text), "%zu/%zu", ready, wanted);
        add(cells, text);
}

static void add_addresses(json_t *cells, const json_t *pod)
{
        char text[1024] = "", one[256];
        json_t *s;
        size_t i, used = 0;

        json_array_foreach(api_at(pod, "status.nicStatuses"), i, s)
        {
                join(json_object_get(s, "ipAddresses"), one, sizeof(one));
                if (used < sizeof(text))
                        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s=%s", i ? "," : "",
                                                 api_text(s, "name"), one);
        }
        add_or_none(cells, text);
}

static void pod_row(json_t *cells, const json_t *pod, uint64_t real_us)
{
        add(cells, api_name(pod));
        add(cells, pod_status_text(pod));
        add_nics(cells, pod);
        add_age(cells, pod, real_us);
        add_or_none(cells, api_text(pod, "spec.nodeName"));
        add_or_none(cells, api_text(pod, "spec.vpc"));
        add_addresses(cells, pod);
}

/* ---- others ---- */

static void node_row(json_t *cells, const json_t *node, uint64_t real_us)
{
        const char *ready = "Unknown", *address = "";
        json_t *item;
        size_t i;
        char status[64];

        json_array_foreach(api_at(node, "status.conditions"), i, item)
        {
                if (strcmp(api_text(item, "type"), "Ready") == 0)
                        ready = strcmp(api_text(item, "status"), "True") == 0 ? "Ready" : "NotReady";
        }
        json_array_foreach(api_at(node, "status.addresses"), i, item)
        {
                if (strcmp(api_text(item, "type"), "InternalIP") == 0)
                        address = api_text(item, "address");
        }
        (void)snprintf(status, sizeof(status), "%s%s", ready,
                       json_is_true(api_at(node, "spec.unschedulable")) ? ",SchedulingDisabled" : "");
        add(cells, api_name(node));
        add(cells, status);
        add(cells, "<none>");
        add_age(cells, node, real_us);
        add_or_none(cells, api_text(node, "status.nodeInfo.kubeletVersion"));
        add_or_none(cells, address);
        add_or_none(cells, api_text(node, "status.nodeInfo.kernelVersion"));
}

static void namespace_row(json_t *cells, const json_t *ns, uint64_t real_us)
{
        add(cells, api_name(ns));
        add(cells, api_text(ns, "status.phase"));
        add_age(cells, ns, real_us);
}

static void event_row(json_t *cells, const json_t *e, uint64_t real_us)
{
        const char *kind = api_text(e, "involvedObject.kind"), *last = api_text(e, "lastTimestamp");
        char object[512], age[32], count[24], lower[64];
        size_t i;

        for (i = 0; kind[i] && i + 1 < sizeof(lower); i++)
                lower[i] = (char)(kind[i] >= 'A' && kind[i] <= 'Z' ? kind[i] + 32 : kind[i]);
        lower[i] = '\0';
        (void)snprintf(object, sizeof(object), "%s/%.253s", lower, api_text(e, "involvedObject.name"));
        (void)snprintf(count, sizeof(count), "%lld",
                       (long long)json_integer_value(json_object_get(e, "count")));
        age_text(*last ? last : api_text(e, "metadata.creationTimestamp"), real_us, age);
        add(cells, age);
        add(cells, api_text(e, "type"));
        add(cells, api_text(e, "reason"));
        add(cells, object);
        add(cells, api_text(e, "message"));
        add(cells, api_text(e, "source.component"));
        add(cells, count);
        add(cells, api_name(e));
}

static void add_number(json_t *cells, const json_t *number)
{
        char text[32];

        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(number));
        add(cells, text);
}

static void vpc_row(json_t *cells, const json_t *vpc, uint64_t real_us)
{
        add(cells, api_name(vpc));
        add(cells, api_text(vpc, "spec.cidr"));
        add(cells, api_text(vpc, "status.phase"));
        add_age(cells, vpc, real_us);
        add(cells, json_is_true(api_at(vpc, "spec.sourceNAT")) ? "true" : "false");
}

static void subnet_row(json_t *cells, const json_t *subnet, uint64_t real_us)
{
        add(cells, api_name(subnet));
        add(cells, api_text(subnet, "spec.vpc"));
        add(cells, api_text(subnet, "spec.cidr"));
        add(cells, api_text(subnet, "spec.gateway"));
        add_age(cells, subnet, real_us);
        add_or_none(cells, api_text(subnet, "spec.cidr6"));
        add(cells, json_is_true(api_at(subnet, "spec.dhcp")) ? "true" : "false");
        add_number(cells, api_at(subnet, "spec.mtu"));
        add_number(cells, api_at(subnet, "status.vni"));
}

static void port_row(json_t *cells, const json_t *port, uint64_t real_us)
{
        char text[512], pod[400] = "";

        join(api_at(port, "spec.ipAddresses"), text, sizeof(text));
        if (*api_text(port, "spec.boundTo.name"))
                (void)snprintf(pod, sizeof(pod), "%.253s/%.32s", api_text(port, "spec.boundTo.name"),
                               api_text(port, "spec.boundTo.nic"));
        add(cells, api_name(port));
        add(cells, api_text(port, "status.phase"));
        add(cells, api_text(port, "spec.macAddress"));
        add(cells, text);
        add_or_none(cells, pod);
        add_age(cells, port, real_us);
        add(cells, api_text(port, "spec.vpc"));
        add(cells, api_text(port, "spec.subnet"));
        add_or_none(cells, api_text(port, "spec.nodeName"));
        join(api_at(port, "spec.securityGroups"), text, sizeof(text));
        add(cells, text);
}

static void group_row(json_t *cells, const json_t *group, uint64_t real_us)
{
        add(cells, api_name(group));
        (void)json_array_append_new(cells,
                                    json_integer((json_int_t)json_array_size(api_at(group, "spec.rules"))));
        add_age(cells, group, real_us);
        add_or_none(cells, api_text(group, "spec.description"));
}

static void lease_row(json_t *cells, const json_t *lease, uint64_t real_us)
{
        add(cells, api_name(lease));
        add_or_none(cells, api_text(lease, "spec.holderIdentity"));
        add_age(cells, lease, real_us);
}

struct row_of_kind {
        const struct api_kind *kind;
        void (*row)(json_t *cells, const json_t *object, uint64_t real_us);
};

static json_t *cells_of(const struct api_kind *kind, const json_t *object, uint64_t real_us)
{
        static const struct row_of_kind rows[] = {
            {&api_kind_pod, pod_row},
            {&api_kind_node, node_row},
            {&api_kind_namespace, namespace_row},
            {&api_kind_event, event_row},
            {&api_kind_vpc, vpc_row},
            {&api_kind_subnet, subnet_row},
            {&api_kind_port, port_row},
            {&api_kind_security_group, group_row},
            {&api_kind_lease, lease_row},
        };
        json_t *cells = json_array();

        for (size_t i = 0; i < AK_ARRAY_SIZE(rows); i++)
                if (rows[i].kind == kind)
                        rows[i].row(cells, object, real_us);
        return cells;
}

static json_t *row_object(const json_t *object, const char *include)
{
        if (strcmp(include, "None") == 0)
                return NULL;
        if (strcmp(include, "Object") == 0)
                return json_incref((json_t *)object);
        return json_pack("{s:s, s:s, s:O}", "kind", "PartialObjectMetadata", "apiVersion", "meta.k8s.io/v1",
                         "metadata", json_object_get(object, "metadata"));
}

static json_t *columns_of(const struct api_kind *kind)
{
        json_t *columns = json_array();

        for (size_t i = 0; i < kind->column_count; i++) {
                const struct api_column *c = &kind->columns[i];
                (void)json_array_append_new(
                    columns, json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", c->name, "type", c->type,
                                       "format", c->format, "description", c->doc, "priority", c->priority));
        }
        return columns;
}

json_t *api_table(const struct api_kind *kind, json_t *object_or_list, const char *include_object,
                  uint64_t real_us)
{
        const char *include = include_object && *include_object ? include_object : "Metadata";
        json_t *items = json_object_get(object_or_list, "items"), *rows = json_array(), *item, *meta;
        bool list = json_is_array(items);
        size_t i;

        items = list ? json_incref(items) : json_pack("[O]", object_or_list);
        json_array_foreach(items, i, item)
        {
                (void)json_array_append_new(rows,
                                            json_pack("{s:o, s:o*}", "cells", cells_of(kind, item, real_us),
                                                      "object", row_object(item, include)));
        }
        json_decref(items);
        meta = list ? json_incref(json_object_get(object_or_list, "metadata"))
                    : json_pack("{s:s}", "resourceVersion",
                                api_text(object_or_list, "metadata.resourceVersion"));
        return json_pack("{s:s, s:s, s:o, s:o, s:o}", "kind", "Table", "apiVersion", "meta.k8s.io/v1",
                         "metadata", meta, "columnDefinitions", columns_of(kind), "rows", rows);
}
