/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.nics of a VM pod: what may stand there, and the ports behind it. Ports are made, bound and released
 * in the transaction of the pod's own change, so a pod with half of its ports never exists.
 *
 * The primary NIC is the first one declared when the pod was made. Its name is kept in an annotation, so
 * that reordering the list changes nothing.
 */
#include <string.h>

#include "services/apiserver/core_internal.h"

struct nic {
        struct api_txn *t;
        json_t *pod;
        json_t *entry;  /* of spec.nics; changed in place, the pod is ours until it is stored */
        char field[32]; /* "spec.nics[1]" */
        struct api_causes *causes;
};

static const char *nic_name(const json_t *entry)
{
        return api_text(entry, "name");
}

static void nic_cause(const struct nic *n, const char *reason, const char *member, const char *detail)
{
        char path[128];

        (void)snprintf(path, sizeof(path), "%s.%s", n->field, member);
        api_cause(n->causes, reason, path, json_object_get(n->entry, member), detail);
}

static json_t *binding(const json_t *pod, const char *nic)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", "Pod", "namespace", api_namespace(pod), "name",
                         api_name(pod), "uid", api_uid(pod), "nic", nic);
}

/* What a bound port carries whoever made it. */
static void bind_port(const struct nic *n, json_t *port, int slot)
{
        (void)api_set(port, "spec.boundTo", binding(n->pod, nic_name(n->entry)));
        (void)api_set(port, "spec.slot", json_integer(slot));
        (void)api_set(port, "status.phase", json_string("Bound"));
        if (*api_text(n->pod, "spec.nodeName"))
                (void)api_set(port, "spec.nodeName", json_string(api_text(n->pod, "spec.nodeName")));
}

static void copy_if_set(const json_t *from, const char *from_key, json_t *to, const char *path, bool as_list)
{
        json_t *value = json_object_get(from, from_key);

        if (value && !(json_is_string(value) && !json_string_length(value)))
                (void)api_set(to, path, as_list ? json_pack("[O]", value) : json_incref(value));
}

static json_t *new_port(const struct nic *n, const json_t *subnet)
{
        char id[AK_UUID_SIZE], uid[AK_UUID_SIZE];
        json_t *port;

        api_random_uuid(n->t->core, id);
        api_random_uuid(n->t->core, uid);
        port = json_pack(
            "{s:s, s:s, s:{s:s, s:s, s:s, s:o, s:i, s:[{s:s, s:s, s:s, s:s, s:b, s:b}]}, s:{s:s, s:b}}",
            "apiVersion", "vpc.alkaid.io/v1", "kind", "Port", "metadata", "name", id, "namespace",
            api_namespace(n->pod), "uid", uid, "creationTimestamp", api_time(n->t->real_us), "generation", 1,
            "ownerReferences", "apiVersion", "v1", "kind", "Pod", "name", api_name(n->pod), "uid",
            api_uid(n->pod), "controller", 1, "blockOwnerDeletion", 1, "spec", "vpc",
            api_text(n->pod, "spec.vpc"), "autoCreated", 1);
        copy_if_set(n->entry, "ipAddress", port, "spec.ipAddresses", true);
        copy_if_set(n->entry, "macAddress", port, "spec.macAddress", false);
        copy_if_set(n->entry, "securityGroups", port, "spec.securityGroups", false);
        copy_if_set(n->entry, "ipv6Enabled", port, "spec.ipv6Enabled", false);
        api_allocate_port(n->t, port, subnet, n->field, true, n->causes);
        return port;
}

static void create_port(const struct nic *n, int slot)
{
        json_t *subnet =
            api_resolve_subnet(n->t, api_namespace(n->pod), api_text(n->pod, "spec.vpc"),
                               api_text(n->entry, "subnetName"), n->field, "spec.vpc", n->causes);
        json_t *port;

        if (!subnet || !api_port_quota(n->t, api_namespace(n->pod)))
                return;
        port = new_port(n, subnet);
        bind_port(n, port, slot);
        (void)json_object_set_new(n->entry, "portId", json_string(api_name(port)));
        if (!api_causes_any(n->causes))
                api_groups_port(n->t, NULL, port, n->field, n->causes);
        if (api_causes_any(n->causes))
                json_decref(port);
        else
                (void)api_txn_put(n->t, &api_kind_port, port);
}

static bool differs(const char *wanted, const char *actual)
{
        return *wanted && strcmp(wanted, actual) != 0;
}

static bool same_groups(const struct nic *n, const json_t *port)
{
        const json_t *a = json_object_get(n->entry, "securityGroups"),
                     *b = api_at(port, "spec.securityGroups");

        return json_array_size(a) == 0 ? json_array_size(b) == 0 : json_equal(a, b);
}

static void check_wishes(const struct nic *n, const json_t *port)
{
        const char *ip = json_string_value(json_array_get(api_at(port, "spec.ipAddresses"), 0));

        if (differs(api_text(n->entry, "ipAddress"), ip ? ip : ""))
                nic_cause(n, API_INVALID, "ipAddress", "is not the address of the port named in portId");
        if (*api_text(n->entry, "macAddress") &&
            strcasecmp(api_text(n->entry, "macAddress"), api_text(port, "spec.macAddress")) != 0)
                nic_cause(n, API_INVALID, "macAddress", "is not the MAC of the port named in portId");
        if (differs(api_text(n->entry, "subnetName"), api_text(port, "spec.subnet")))
                nic_cause(n, API_INVALID, "subnetName", "is not the subnet of the port named in portId");
        if (json_array_size(json_object_get(n->entry, "securityGroups")) > 0 && !same_groups(n, port))
                nic_cause(n, API_INVALID, "securityGroups",
                          "are those of the port named in portId; set them there");
        if (json_is_true(json_object_get(n->entry, "ipv6Enabled")) &&
            !json_is_true(api_at(port, "spec.ipv6Enabled")))
                nic_cause(n, API_INVALID, "ipv6Enabled", "the port named in portId has no IPv6 address");
}

static void use_port(const struct nic *n, int slot)
{
        json_t *port =
            api_find(n->t->core, &api_kind_port, api_namespace(n->pod), api_text(n->entry, "portId"));
        char detail[400];

        if (!port) {
                nic_cause(n, API_NOT_FOUND, "portId", "no port of that name in the pod's namespace");
                return;
        }
        if (strcmp(api_text(port, "spec.vpc"), api_text(n->pod, "spec.vpc")) != 0) {
                nic_cause(n, API_INVALID, "portId", "the port belongs to another VPC than the pod");
                return;
        }
        if (strcmp(api_text(port, "status.phase"), "Unbound") != 0) {
                (void)snprintf(detail, sizeof(detail), "the port is in use by NIC %.32s of pod %.200s",
                               api_text(port, "spec.boundTo.nic"), api_text(port, "spec.boundTo.name"));
                nic_cause(n, API_INVALID, "portId", detail);
                return;
        }
        check_wishes(n, port);
        if (api_causes_any(n->causes))
                return;
        port = api_copy(port);
        bind_port(n, port, slot);
        (void)api_txn_put(n->t, &api_kind_port, port);
}

/* A VM that runs has the slots that it was started with, whatever the configuration says by now. */
static uint32_t slots_of(const struct api_core *core, const json_t *pod)
{
        json_int_t has = json_integer_value(api_at(pod, "status.virtualMachineStatus.nicSlots"));

        return has > 0 && has < core->nic_slots ? (uint32_t)has : core->nic_slots;
}

static void add_nic(const struct nic *n)
{
        uint32_t slots = slots_of(n->t->core, n->pod);
        int slot = api_free_slot(n->t->core, api_uid(n->pod), slots);
        char detail[160];

        if (slot < 0) {
                (void)snprintf(
                    detail, sizeof(detail),
                    "the VM has %u hotplug slots and none is free; a NIC being removed holds its slot "
                    "until the guest lets go",
                    slots);
                api_cause(n->causes, API_TOO_MANY, "spec.nics", NULL, detail);
        } else if (*api_text(n->entry, "portId")) {
                use_port(n, slot);
        } else {
                create_port(n, slot);
        }
}

static void init_nic(struct nic *n, struct api_txn *t, json_t *pod, size_t i, struct api_causes *causes)
{
        *n = (struct nic){
            .t = t, .pod = pod, .entry = json_array_get(api_at(pod, "spec.nics"), i), .causes = causes};
        (void)snprintf(n->field, sizeof(n->field), "spec.nics[%zu]", i);
}

static bool count_fits(struct api_txn *t, const json_t *pod, struct api_causes *causes)
{
        uint32_t slots = slots_of(t->core, pod);
        size_t nics = json_array_size(api_at(pod, "spec.nics"));
        char detail[96];

        if (nics == 0) {
                api_cause(causes, API_REQUIRED, "spec.nics", NULL,
                          "a VM pod declares its NICs, the primary one first, for example [{name: eth0}]");
                return false;
        }
        if (nics <= slots)
                return true;
        (void)snprintf(detail, sizeof(detail), "a VM has %u hotplug slots", slots);
        api_cause(causes, API_TOO_MANY, "spec.nics", NULL, detail);
        return false;
}

void api_pod_nics_create(struct api_txn *t, json_t *pod, struct api_causes *causes)
{
        json_t *nics = api_at(pod, "spec.nics"), *annotations, *entry;
        struct nic n;
        size_t i;

        if (!count_fits(t, pod, causes) || api_causes_any(causes))
                return;
        annotations = json_copy(api_at(pod, "metadata.annotations"));
        if (!annotations)
                annotations = json_object();
        (void)json_object_set_new(annotations, API_PRIMARY_ANNOTATION,
                                  json_string(nic_name(json_array_get(nics, 0))));
        (void)api_set(pod, "metadata.annotations", annotations);
        json_array_foreach(nics, i, entry)
        {
                init_nic(&n, t, pod, i, causes);
                add_nic(&n);
        }
}

/* ---- changes ---- */

static json_t *find_nic(const json_t *pod, const char *name)
{
        json_t *entry;
        size_t i;

        json_array_foreach(api_at(pod, "spec.nics"), i, entry)
        {
                if (strcmp(nic_name(entry), name) == 0)
                        return entry;
        }
        return NULL;
}

/* Groups change while the NIC is in use. A port that a user made has its own. */
static void keep_groups(const struct nic *n, const json_t *port)
{
        const json_t *groups = json_object_get(n->entry, "securityGroups");
        json_t *copy;

        if (same_groups(n, port))
                return;
        if (!json_is_true(api_at(port, "spec.autoCreated"))) {
                if (json_array_size(groups) > 0)
                        nic_cause(n, API_FORBIDDEN, "securityGroups",
                                  "are those of the port named in portId; change them there");
                return;
        }
        copy = api_copy(port);
        if (json_array_size(groups) > 0)
                (void)api_set(copy, "spec.securityGroups", json_incref((json_t *)groups));
        else
                (void)json_object_del(json_object_get(copy, "spec"), "securityGroups");
        api_groups_port(n->t, port, copy, n->field, n->causes);
        if (api_causes_any(n->causes))
                json_decref(copy);
        else
                (void)api_txn_put(n->t, &api_kind_port, copy);
}

static bool changed(const struct nic *n, const json_t *old, const char *key)
{
        const json_t *a = json_object_get(n->entry, key), *b = json_object_get(old, key);

        return (a || b) && !(a && b && json_equal(a, b));
}

static void keep_nic(const struct nic *n, const json_t *old)
{
        const char *port_id = api_text(old, "portId"), *wanted = api_text(n->entry, "portId");
        const json_t *port = api_find(n->t->core, &api_kind_port, api_namespace(n->pod), port_id);
        const char *ip = json_string_value(json_array_get(api_at(port, "spec.ipAddresses"), 0));
        static const char replug[] =
            "cannot be changed while the NIC is plugged in; remove the NIC and add it again";
        char detail[96];

        if (differs(wanted, port_id)) {
                (void)snprintf(detail, sizeof(detail), "pod updates may not modify %.15s portId",
                               nic_name(old));
                nic_cause(n, API_FORBIDDEN, "portId", detail);
                return;
        }
        (void)json_object_set_new(n->entry, "portId", json_string(port_id));
        if (!port)
                return;
        if (differs(api_text(n->entry, "ipAddress"), ip ? ip : ""))
                nic_cause(n, API_FORBIDDEN, "ipAddress", replug);
        if (*api_text(n->entry, "macAddress") &&
            strcasecmp(api_text(n->entry, "macAddress"), api_text(port, "spec.macAddress")) != 0)
                nic_cause(n, API_FORBIDDEN, "macAddress", replug);
        if (differs(api_text(n->entry, "subnetName"), api_text(port, "spec.subnet")))
                nic_cause(n, API_FORBIDDEN, "subnetName", replug);
        if (changed(n, old, "mtu"))
                nic_cause(n, API_FORBIDDEN, "mtu", replug);
        if (json_is_true(json_object_get(n->entry, "ipv6Enabled")) !=
            json_is_true(json_object_get(old, "ipv6Enabled")))
                nic_cause(n, API_FORBIDDEN, "ipv6Enabled", replug);
        if (!api_causes_any(n->causes))
                keep_groups(n, port);
}

static void remove_nics(struct api_txn *t, const json_t *old, const json_t *pod, struct api_causes *causes)
{
        json_t *annotation = json_object_get(api_at(old, "metadata.annotations"), API_PRIMARY_ANNOTATION),
               *entry;
        const char *primary = json_string_value(annotation);
        char detail[96];
        size_t i;

        json_array_foreach(api_at(old, "spec.nics"), i, entry)
        {
                if (find_nic(pod, nic_name(entry)))
                        continue;
                if (primary && strcmp(primary, nic_name(entry)) == 0) {
                        (void)snprintf(detail, sizeof(detail), "pod updates may not delete primary nic %.15s",
                                       primary);
                        api_cause(causes, API_FORBIDDEN, "spec.nics", NULL, detail);
                } else if (!api_causes_any(causes)) {
                        api_release_ports(t, api_uid(old), api_text(entry, "portId"));
                }
        }
}

/*
 * The list's order means nothing: NICs stay where they stood, new ones come last. So a client that sends the
 * list in another order, or a patch that puts the new NIC first, changes nothing else.
 */
static void keep_order(const json_t *old, json_t *pod)
{
        json_t *nics = api_at(pod, "spec.nics"), *ordered = json_array(), *entry;
        size_t i;

        json_array_foreach(api_at(old, "spec.nics"), i, entry)
        {
                json_t *kept = find_nic(pod, nic_name(entry));
                if (kept)
                        (void)json_array_append(ordered, kept);
        }
        json_array_foreach(nics, i, entry)
        {
                if (!find_nic(old, nic_name(entry)))
                        (void)json_array_append(ordered, entry);
        }
        (void)api_set(pod, "spec.nics", ordered);
}

void api_pod_nics_update(struct api_txn *t, const json_t *old, json_t *pod, struct api_causes *causes)
{
        json_t *entry;
        struct nic n;
        size_t i;

        remove_nics(t, old, pod, causes);
        if (api_causes_any(causes) || !count_fits(t, pod, causes))
                return;
        json_array_foreach(api_at(pod, "spec.nics"), i, entry)
        {
                const json_t *before = find_nic(old, nic_name(entry));

                init_nic(&n, t, pod, i, causes);
                if (before)
                        keep_nic(&n, before);
                else if (api_is_deleting(old))
                        api_cause(causes, API_FORBIDDEN, n.field, NULL, "the pod is being deleted");
                else
                        add_nic(&n);
        }
        keep_order(old, pod);
}
