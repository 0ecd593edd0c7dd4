/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of VPCs, subnets, ports and namespaces. */
#include <string.h>

#include "services/apiserver/core_internal.h"

static void forbid_change(const json_t *old, const json_t *now, const char *path, struct api_causes *causes)
{
        const json_t *a = api_at(old, path), *b = api_at(now, path);

        if ((a || b) && !(a && b && json_equal(a, b)))
                api_cause(causes, API_FORBIDDEN, path, NULL, "cannot be changed");
}

/* A client that replaces an object need not repeat what the server filled in. */
static void keep_filled_in(const json_t *old, json_t *now, const char *const *names)
{
        for (; *names; names++) {
                json_t *value = json_object_get(json_object_get(old, "spec"), *names);
                if (value && !json_object_get(json_object_get(now, "spec"), *names))
                        (void)json_object_set(json_object_get(now, "spec"), *names, value);
        }
}

/* A port of the VPC (and, unless NULL, of the subnet); NULL when there is none. */
static const json_t *port_within(const struct api_core *core, const char *name_space, const char *vpc,
                                 const char *subnet)
{
        const struct api_table_of_kind *ports = api_objects(core, &api_kind_port);

        for (size_t i = 0; i < ports->count; i++) {
                const struct api_image *p = ports->items[i].image;

                if (strcmp(p->name_space, name_space) == 0 &&
                    strcmp(api_image_field(&api_kind_port, p, "spec.vpc"), vpc) == 0 &&
                    (!subnet || strcmp(api_image_field(&api_kind_port, p, "spec.subnet"), subnet) == 0))
                        return api_tree(core, &ports->items[i]);
        }
        return NULL;
}

static void refuse_in_use(struct api_txn *t, const struct api_kind *kind, const json_t *object,
                          const json_t *port)
{
        api_fail_fmt(t->out, 409, "Conflict", kind, api_name(object),
                     "%s \"%s\" is in use by port %s (NIC %s of pod %s); remove that first", kind->plural,
                     api_name(object), api_name(port), api_text(port, "spec.boundTo.nic"),
                     api_text(port, "spec.boundTo.name"));
}

/* ---- VPC ---- */

static void vpc_create(struct api_txn *t AK_UNUSED, json_t *vpc, struct api_causes *causes)
{
        struct ak_cidr range;
        struct ak_ip network;

        if (ak_cidr_parse(api_text(vpc, "spec.cidr"), &range) < 0)
                return;
        if (range.addr.family != 4 || range.prefix_len < 8 || range.prefix_len > 29 ||
            ak_cidr_nth(&range, 0, &network) < 0 || ak_ip_compare(&network, &range.addr) != 0)
                api_cause(causes, API_INVALID, "spec.cidr", api_at(vpc, "spec.cidr"),
                          "must be an IPv4 network address with a prefix of 8 to 29 bits");
        (void)api_set(vpc, "status.phase", json_string("Ready"));
}

static void vpc_update(struct api_txn *t, const json_t *old, json_t *vpc, struct api_causes *causes)
{
        const struct api_table_of_kind *ports = api_objects(t->core, &api_kind_port);
        bool nat = json_is_true(api_at(vpc, "spec.sourceNAT"));

        forbid_change(old, vpc, "spec.cidr", causes);
        if (api_causes_any(causes) || nat == json_is_true(api_at(old, "spec.sourceNAT")))
                return;
        for (size_t i = 0; i < ports->count; i++) {
                const struct api_image *port = ports->items[i].image;
                json_t *copy;

                if (strcmp(port->name_space, api_namespace(vpc)) != 0 ||
                    strcmp(api_image_field(&api_kind_port, port, "spec.vpc"), api_name(vpc)) != 0)
                        continue;
                copy = api_copy(api_tree(t->core, &ports->items[i]));
                (void)api_set(copy, "status.sourceNAT", json_boolean(nat));
                (void)api_txn_put(t, &api_kind_port, copy);
        }
}

static void vpc_remove(struct api_txn *t, const json_t *vpc, const json_t *options AK_UNUSED,
                       bool *finally AK_UNUSED)
{
        const struct api_table_of_kind *subnets = api_objects(t->core, &api_kind_subnet);
        const json_t *port = port_within(t->core, api_namespace(vpc), api_name(vpc), NULL);

        if (port) {
                refuse_in_use(t, &api_kind_vpc, vpc, port);
                return;
        }
        for (size_t i = subnets->count; i > 0; i--) {
                json_t *s = api_tree(t->core, &subnets->items[i - 1]);
                if (strcmp(api_namespace(s), api_namespace(vpc)) == 0 &&
                    strcmp(api_text(s, "spec.vpc"), api_name(vpc)) == 0)
                        (void)api_txn_delete(t, &api_kind_subnet, s);
        }
}

const struct api_rules api_rules_vpc = {
    .kind = &api_kind_vpc, .create = vpc_create, .update = vpc_update, .remove = vpc_remove};

/* ---- Subnet ---- */

static void subnet_create(struct api_txn *t, json_t *subnet, struct api_causes *causes)
{
        (void)json_object_del(subnet, "status");
        if (!api_causes_any(causes))
                api_check_subnet(t, subnet, causes);
}

static void subnet_update(struct api_txn *t AK_UNUSED, const json_t *old, json_t *subnet,
                          struct api_causes *causes)
{
        static const char *const fixed[] = {"spec.vpc",  "spec.cidr", "spec.gateway",
                                            "spec.dhcp", "spec.mtu",  "spec.cidr6"};
        static const char *const filled_in[] = {"gateway", "dns", "dhcp", "mtu", "cidr6", NULL};

        keep_filled_in(old, subnet, filled_in);
        for (size_t i = 0; i < AK_ARRAY_SIZE(fixed); i++)
                forbid_change(old, subnet, fixed[i], causes);
}

static void subnet_remove(struct api_txn *t, const json_t *subnet, const json_t *options AK_UNUSED,
                          bool *finally AK_UNUSED)
{
        const json_t *port =
            port_within(t->core, api_namespace(subnet), api_text(subnet, "spec.vpc"), api_name(subnet));

        if (port)
                refuse_in_use(t, &api_kind_subnet, subnet, port);
}

const struct api_rules api_rules_subnet = {
    .kind = &api_kind_subnet, .create = subnet_create, .update = subnet_update, .remove = subnet_remove};

/* ---- Port ---- */

static void port_create(struct api_txn *t, json_t *port, struct api_causes *causes)
{
        static const char *const ours[] = {"nodeName", "boundTo", "slot", "autoCreated"};
        json_t *subnet;
        char path[64];

        for (size_t i = 0; i < AK_ARRAY_SIZE(ours); i++) {
                (void)snprintf(path, sizeof(path), "spec.%s", ours[i]);
                if (api_at(port, path))
                        api_cause(causes, API_FORBIDDEN, path, NULL, "is set by the server");
        }
        if (!ak_uuid_valid(api_name(port)))
                api_cause(causes, API_INVALID, "metadata.name", api_at(port, "metadata.name"),
                          "the name of a port is its ID, a UUID in lower case");
        if (api_causes_any(causes))
                return;
        subnet = api_resolve_subnet(t, api_namespace(port), api_text(port, "spec.vpc"),
                                    api_text(port, "spec.subnet"), "spec", "spec.vpc", causes);
        if (!subnet || !api_port_quota(t, api_namespace(port)))
                return;
        api_allocate_port(t, port, subnet, "spec", false, causes);
        if (!api_causes_any(causes))
                api_groups_port(t, NULL, port, "spec", causes);
}

/* The groups of a port made for a NIC are the NIC's; a client that leaves them out means no change. */
static void forbid_groups(const json_t *old, json_t *port, struct api_causes *causes)
{
        static const char *const filled_in[] = {"securityGroups", NULL};

        keep_filled_in(old, port, filled_in);
        if (api_at(port, "spec.securityGroups") &&
            !json_equal(api_at(port, "spec.securityGroups"), api_at(old, "spec.securityGroups")))
                api_cause(causes, API_FORBIDDEN, "spec.securityGroups", NULL,
                          "follow spec.nics[].securityGroups of the pod; change them there");
}

static void port_update(struct api_txn *t, const json_t *old, json_t *port, struct api_causes *causes)
{
        static const char *const filled_in[] = {"subnet", "macAddress",  "ipAddresses", "nodeName", "boundTo",
                                                "slot",   "autoCreated", "ipv6Enabled", NULL};
        json_t *all = json_copy(json_object_get(old, "spec")), *unused;
        const char *key;
        char path[96];

        keep_filled_in(old, port, filled_in);
        (void)json_object_update_missing(all, json_object_get(port, "spec"));
        json_object_foreach(all, key, unused)
        {
                (void)snprintf(path, sizeof(path), "spec.%.64s", key);
                if (strcmp(key, "securityGroups") != 0)
                        forbid_change(old, port, path, causes);
        }
        json_decref(all);
        if (json_is_true(api_at(old, "spec.autoCreated")))
                forbid_groups(old, port, causes);
        if (!api_causes_any(causes))
                api_groups_port(t, old, port, "spec", causes);
}

/* The only status that is taken: the node's word that nothing of the port is left there. */
static void port_status(struct api_txn *t, const json_t *old, json_t *port, struct api_causes *causes)
{
        const char *before = api_text(old, "status.phase"), *phase = api_text(port, "status.phase");

        if (strcmp(phase, before) == 0) {
                (void)json_object_set(port, "status", json_object_get(old, "status"));
                return;
        }
        if (strcmp(phase, "Released") != 0) {
                api_cause(causes, API_FORBIDDEN, "status.phase", NULL, "only Released may be reported");
                return;
        }
        if (strcmp(before, "Releasing") != 0) {
                api_fail_fmt(t->out, 409, "Conflict", &api_kind_port, api_name(old),
                             "port %s is %s: only a port that is Releasing can be reported as Released",
                             api_name(old), before);
                return;
        }
        api_finish_port(t, old);
        t->out->code = 200;
        t->out->object = json_incref(port);
}

static void port_remove(struct api_txn *t, const json_t *port, const json_t *options AK_UNUSED,
                        bool *finally AK_UNUSED)
{
        struct api_causes none = {0}; /* fewer members never come to more lines */

        if (strcmp(api_text(port, "status.phase"), "Unbound") != 0)
                refuse_in_use(t, &api_kind_port, port, port);
        else if (json_array_size(api_at(port, "metadata.finalizers")) == 0)
                api_groups_port(t, port, NULL, "spec", &none);
        api_causes_deinit(&none);
}

const struct api_rules api_rules_port = {.kind = &api_kind_port,
                                         .create = port_create,
                                         .update = port_update,
                                         .status = port_status,
                                         .remove = port_remove};

/* ---- Namespace ---- */

static void namespace_create(struct api_txn *t AK_UNUSED, json_t *ns, struct api_causes *causes)
{
        if (api_check_label(api_name(ns)))
                api_cause(causes, API_INVALID, "metadata.name", api_at(ns, "metadata.name"),
                          api_check_label(api_name(ns)));
        (void)api_set(ns, "spec.finalizers", json_pack("[s]", "kubernetes"));
        (void)json_object_set_new(ns, "status", json_pack("{s:s}", "phase", "Active"));
}

/* Only the server, which has emptied it, lets a namespace go. */
static void namespace_update(struct api_txn *t AK_UNUSED, const json_t *old, json_t *ns,
                             struct api_causes *causes AK_UNUSED)
{
        (void)api_set(ns, "spec.finalizers", api_copy(api_at(old, "spec.finalizers")));
}

static void namespace_remove(struct api_txn *t, const json_t *ns, const json_t *options AK_UNUSED,
                             bool *finally)
{
        json_t *copy;

        if (strcmp(api_name(ns), "default") == 0 || strcmp(api_name(ns), "kube-system") == 0 ||
            strcmp(api_name(ns), API_NODE_LEASES) == 0) {
                api_fail_fmt(t->out, 403, "Forbidden", &api_kind_namespace, api_name(ns),
                             "namespaces \"%s\" is forbidden: this namespace may not be deleted",
                             api_name(ns));
                return;
        }
        *finally = false; /* api_core_tick() empties it, then removes it */
        if (api_is_deleting(ns))
                return;
        copy = api_copy(ns);
        (void)api_set(copy, "metadata.deletionTimestamp", api_time(t->real_us));
        (void)api_set(copy, "status.phase", json_string("Terminating"));
        (void)api_txn_put(t, &api_kind_namespace, copy);
}

const struct api_rules api_rules_namespace = {.kind = &api_kind_namespace,
                                              .create = namespace_create,
                                              .update = namespace_update,
                                              .remove = namespace_remove};

const struct api_rules *api_rules_of(const struct api_kind *kind)
{
        static const struct api_rules *const all[] = {&api_rules_pod,
                                                      &api_rules_vpc,
                                                      &api_rules_subnet,
                                                      &api_rules_port,
                                                      &api_rules_security_group,
                                                      &api_rules_namespace};
        static const struct api_rules none = {0};

        for (size_t i = 0; i < AK_ARRAY_SIZE(all); i++)
                if (all[i]->kind == kind)
                        return all[i];
        return &none;
}
