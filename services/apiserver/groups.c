/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security groups, compiled. A port names groups; a group's rules name CIDRs or groups; a node needs neither,
 * but lines that say what may pass (proto/messages.h, nic.diff `rules`). They are made here and kept in the
 * port's status, anew in the very transaction that changes a group, a port's groups or a member's address:
 * what a node enforces is never older than what a client was told.
 *
 * Ports of one VPC with the same groups have the same lines, so these are made once per transaction.
 */
#include <string.h>

#include "proto/messages.h"
#include "services/apiserver/core_internal.h"

/* The objects as they will be: a change that is not stored yet stands in for what is stored. */
struct view {
        struct api_txn *t;
        const char *name_space;
        const json_t *was, *now; /* a port */
        const json_t *group;     /* a group */
        json_t *memo;            /* "vpc groups" -> lines */
};

/* ---- looking ---- */

static const json_t *find_group(const struct view *v, const char *name)
{
        if (v->group && strcmp(api_name(v->group), name) == 0)
                return v->group;
        return api_find(v->t->core, &api_kind_security_group, v->name_space, name);
}

static bool lists(const json_t *names, const char *name)
{
        json_t *item;
        size_t i;

        json_array_foreach((json_t *)names, i, item)
        {
                if (strcmp(json_string_value(item), name) == 0)
                        return true;
        }
        return false;
}

static bool share(const json_t *a, const json_t *b)
{
        json_t *item;
        size_t i;

        json_array_foreach((json_t *)a, i, item)
        {
                if (lists(b, json_string_value(item)))
                        return true;
        }
        return false;
}

static const json_t *groups_of(const json_t *port)
{
        return api_at(port, "spec.securityGroups");
}

/* Position of the namespace's first port, and of the one behind its last. */
static void port_range(const struct view *v, size_t *first, size_t *end)
{
        const struct api_table_of_kind *ports = api_objects(v->t->core, &api_kind_port);
        char key[API_KEY_SIZE];

        (void)snprintf(key, sizeof(key), "%s/", v->name_space);
        *first = api_lower_bound(ports, key);
        (void)snprintf(key, sizeof(key), "%s0", v->name_space); /* '0' follows '/' */
        *end = api_lower_bound(ports, key);
}

/* NULL: the port lists no group. Those that do are kept decoded, so that looking through all is cheap. */
static const json_t *port_of_group(const struct view *v, const struct api_object *place)
{
        return place->image->kept ? api_tree(v->t->core, place) : NULL;
}

static bool stands_in(const struct view *v, const json_t *port)
{
        const json_t *other = v->was ? v->was : v->now;

        return other && strcmp(api_name(other), api_name(port)) == 0;
}

/* ---- lines ---- */

struct lines {
        json_t *list;
        char line[AK_LEN_RULE + 1];
        size_t head, len; /* of line: without and with its networks */
};

static void flush(struct lines *l)
{
        if (l->len > l->head)
                (void)json_array_append_new(l->list, json_string(l->line));
        l->len = l->head;
}

static void add_network(struct lines *l, const char *network)
{
        size_t len = strlen(network);

        if (l->len + 1 + len > AK_LEN_RULE)
                flush(l);
        l->len += (size_t)snprintf(l->line + l->len, sizeof(l->line) - l->len, "%s%s",
                                   l->len > l->head ? "," : "", network);
}

static void add_cidr(struct lines *l, const char *text)
{
        struct ak_cidr cidr, net;
        char network[AK_CIDR_SIZE];

        if (ak_cidr_parse(text, &cidr) < 0)
                return; /* the schema let none such in */
        net = cidr;
        (void)ak_cidr_nth(&cidr, 0, &net.addr);
        ak_cidr_format(&net, network);
        add_network(l, network);
}

static void add_member(struct lines *l, const json_t *port, const char *vpc, const char *group)
{
        json_t *ip;
        size_t i;

        if (!port || strcmp(api_text(port, "spec.vpc"), vpc) != 0 || !lists(groups_of(port), group))
                return;
        json_array_foreach(api_at(port, "spec.ipAddresses"), i, ip)
        {
                add_network(l, json_string_value(ip));
        }
}

static void add_members(const struct view *v, struct lines *l, const char *vpc, const char *group)
{
        const struct api_table_of_kind *ports = api_objects(v->t->core, &api_kind_port);
        size_t i, end;

        for (port_range(v, &i, &end); i < end; i++) {
                const json_t *port = port_of_group(v, &ports->items[i]);

                if (port && !stands_in(v, port))
                        add_member(l, port, vpc, group);
        }
        add_member(l, v->now, vpc, group);
}

static bool is_egress(const json_t *rule)
{
        return strcmp(api_text(rule, "direction"), "egress") == 0;
}

static void begin_line(struct lines *l, const json_t *rule)
{
        const char *protocol = api_text(rule, "protocol");
        json_int_t low = json_integer_value(json_object_get(rule, "port"));
        json_int_t high = json_integer_value(json_object_get(rule, "endPort"));
        int n = snprintf(l->line, sizeof(l->line), "%s %s ", is_egress(rule) ? "out" : "in",
                         *protocol ? protocol : "any");

        n += low ? snprintf(l->line + n, sizeof(l->line) - (size_t)n, "%d-%d ", (int)low,
                            (int)(high ? high : low))
                 : snprintf(l->line + n, sizeof(l->line) - (size_t)n, "- ");
        l->head = l->len = (size_t)n;
}

static void add_rule(const struct view *v, struct lines *l, const char *vpc, const json_t *rule)
{
        begin_line(l, rule);
        if (*api_text(rule, "group")) {
                add_members(v, l, vpc, api_text(rule, "group"));
        } else if (*api_text(rule, "cidr")) {
                add_cidr(l, api_text(rule, "cidr"));
        } else {
                add_network(l, "0.0.0.0/0");
                add_network(l, "::/0");
        }
        flush(l);
}

/* New reference. */
static json_t *compile(const struct view *v, const json_t *port)
{
        struct lines l = {.list = json_array()};
        bool egress = false;
        json_t *name, *rule;
        size_t i, j;

        json_array_foreach((json_t *)groups_of(port), i, name)
        {
                json_array_foreach(api_at(find_group(v, json_string_value(name)), "spec.rules"), j, rule)
                {
                        egress |= is_egress(rule);
                        add_rule(v, &l, api_text(port, "spec.vpc"), rule);
                }
        }
        if (!egress && json_array_size(groups_of(port)) > 0)
                (void)json_array_append_new(l.list, json_string("out any - 0.0.0.0/0,::/0"));
        return l.list;
}

/* Borrowed from the memo. */
static json_t *compiled(struct view *v, const json_t *port)
{
        char *groups = json_dumps(groups_of(port), JSON_COMPACT), *key = NULL;
        json_t *lines = NULL;

        if (groups && asprintf(&key, "%s %s", api_text(port, "spec.vpc"), groups) > 0) {
                lines = json_object_get(v->memo, key);
                if (!lines) {
                        lines = compile(v, port);
                        (void)json_object_set_new(v->memo, key, lines);
                }
                free(key);
        }
        free(groups);
        return lines;
}

static bool fits(const json_t *lines, const char *field, const json_t *port, struct api_causes *causes)
{
        char detail[300];

        if (json_array_size(lines) <= AK_MAX_RULES)
                return true;
        (void)snprintf(
            detail, sizeof(detail),
            "the security groups of port %.60s come to %zu lines of rules and members, a node takes "
            "%d; name a CIDR in place of a large group",
            api_name(port), json_array_size(lines), AK_MAX_RULES);
        api_cause(causes, API_TOO_MANY, field, NULL, detail);
        return false;
}

/* ---- changes ---- */

/* Whether a group of the port has a rule that names one of `groups`. */
static bool refers(const struct view *v, const json_t *port, const json_t *groups)
{
        json_t *name, *rule;
        size_t i, j;

        json_array_foreach((json_t *)groups_of(port), i, name)
        {
                json_array_foreach(api_at(find_group(v, json_string_value(name)), "spec.rules"), j, rule)
                {
                        if (*api_text(rule, "group") && lists(groups, api_text(rule, "group")))
                                return true;
                }
        }
        return false;
}

static void renew(struct view *v, const json_t *port, const char *field, struct api_causes *causes)
{
        json_t *lines = compiled(v, port), *copy;

        if (!lines || json_equal(lines, api_at(port, "status.securityRules")) ||
            !fits(lines, field, port, causes))
                return;
        copy = api_copy(port);
        (void)api_set(copy, "status.securityRules", json_incref(lines));
        (void)api_txn_put(v->t, &api_kind_port, copy);
}

/* Those other ports whose lines the change of `groups` may have changed. */
static void renew_others(struct view *v, const json_t *groups, const char *field, struct api_causes *causes)
{
        const struct api_table_of_kind *ports = api_objects(v->t->core, &api_kind_port);
        size_t i, end;

        if (json_array_size(groups) == 0)
                return;
        for (port_range(v, &i, &end); i < end; i++) {
                const json_t *port = port_of_group(v, &ports->items[i]);

                if (port && !stands_in(v, port) &&
                    ((v->group && share(groups_of(port), groups)) || refers(v, port, groups)))
                        renew(v, port, field, causes);
        }
}

static bool same_membership(const json_t *was, const json_t *now)
{
        static const json_t *const none = NULL;
        const json_t *a = groups_of(was), *b = groups_of(now);

        if (json_array_size(a) == 0 && json_array_size(b) == 0)
                return true;
        return was != none && now != none && json_equal(a, b) &&
               json_equal(api_at(was, "spec.ipAddresses"), api_at(now, "spec.ipAddresses"));
}

static bool groups_exist(const struct view *v, const char *field, struct api_causes *causes)
{
        json_t *name, *seen = json_object();
        bool good = true;
        size_t i;

        json_array_foreach((json_t *)groups_of(v->now), i, name)
        {
                bool twice = json_object_get(seen, json_string_value(name)) != NULL;

                if (!twice && find_group(v, json_string_value(name))) {
                        (void)json_object_set_new(seen, json_string_value(name), json_true());
                        continue;
                }
                good = false;
                api_cause(causes, twice ? API_DUPLICATE : API_NOT_FOUND, field, name,
                          twice ? "" : "no security group of that name in the namespace; create it first");
        }
        json_decref(seen);
        return good;
}

void api_groups_port(struct api_txn *t, const json_t *was, json_t *now, const char *field,
                     struct api_causes *causes)
{
        struct view v = {.t = t, .name_space = api_namespace(now ? now : was), .was = was, .now = now};
        json_t *changed, *lines;
        char path[256];

        (void)snprintf(path, sizeof(path), "%.230s.securityGroups", field);
        if (now && !groups_exist(&v, path, causes))
                return;
        v.memo = json_object();
        if (now && json_array_size(groups_of(now)) == 0) {
                (void)json_object_del(json_object_get(now, "status"), "securityRules");
        } else if (now) {
                lines = compiled(&v, now);
                if (lines && fits(lines, path, now, causes))
                        (void)api_set(now, "status.securityRules", json_incref(lines));
        }
        if (!same_membership(was, now)) {
                changed = json_array();
                (void)json_array_extend(changed, (json_t *)groups_of(was));
                (void)json_array_extend(changed, (json_t *)groups_of(now));
                renew_others(&v, changed, path, causes);
                json_decref(changed);
        }
        json_decref(v.memo);
}

/* ---- the kind's rules ---- */

static void check_rule(struct api_txn *t, const json_t *group, const json_t *rule, const char *path,
                       struct api_causes *causes)
{
        const char *protocol = api_text(rule, "protocol"), *named = api_text(rule, "group");
        json_int_t low = json_integer_value(json_object_get(rule, "port"));
        json_int_t high = json_integer_value(json_object_get(rule, "endPort"));
        char field[128];

        (void)snprintf(field, sizeof(field), "%s.port", path);
        if ((low || high) && strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)
                api_cause(causes, API_FORBIDDEN, field, NULL, "only with protocol tcp or udp");
        (void)snprintf(field, sizeof(field), "%s.endPort", path);
        if (high && (!low || high < low))
                api_cause(causes, API_INVALID, field, json_object_get(rule, "endPort"),
                          "must be a port not lower than `port`, which must be given");
        (void)snprintf(field, sizeof(field), "%s.group", path);
        if (*named && *api_text(rule, "cidr"))
                api_cause(causes, API_FORBIDDEN, field, NULL, "a rule names a cidr or a group, not both");
        else if (*named && strcmp(named, api_name(group)) != 0 &&
                 !api_find(t->core, &api_kind_security_group, api_namespace(group), named))
                api_cause(causes, API_NOT_FOUND, field, json_object_get(rule, "group"),
                          "no security group of that name in the namespace");
}

static void group_create(struct api_txn *t, json_t *group, struct api_causes *causes)
{
        json_t *rule;
        char path[64];
        size_t i;

        if (api_causes_any(causes))
                return;
        json_array_foreach(api_at(group, "spec.rules"), i, rule)
        {
                (void)snprintf(path, sizeof(path), "spec.rules[%zu]", i);
                check_rule(t, group, rule, path, causes);
        }
        (void)api_set(group, "status.phase", json_string("Ready"));
}

static void group_update(struct api_txn *t, const json_t *old, json_t *group, struct api_causes *causes)
{
        struct view v = {.t = t, .name_space = api_namespace(group), .group = group};
        json_t *changed;

        group_create(t, group, causes);
        if (api_causes_any(causes) ||
            json_equal(json_object_get(old, "spec"), json_object_get(group, "spec")))
                return;
        v.memo = json_object();
        changed = json_pack("[s]", api_name(group));
        renew_others(&v, changed, "spec.rules", causes);
        json_decref(changed);
        json_decref(v.memo);
}

static void refuse_removal(struct api_txn *t, const json_t *group, const char *by, const char *name)
{
        api_fail_fmt(t->out, 409, "Conflict", &api_kind_security_group, api_name(group),
                     "securitygroups \"%s\" is in use by %s %s; take it out there first", api_name(group), by,
                     name);
}

static void group_remove(struct api_txn *t, const json_t *group, const json_t *options AK_UNUSED,
                         bool *finally AK_UNUSED)
{
        const struct api_table_of_kind *groups = api_objects(t->core, &api_kind_security_group);
        const struct api_table_of_kind *ports = api_objects(t->core, &api_kind_port);
        struct view v = {.t = t, .name_space = api_namespace(group)};
        json_t *rule;
        size_t i, j, end;

        for (port_range(&v, &i, &end); i < end && !t->out->code; i++)
                if (lists(groups_of(port_of_group(&v, &ports->items[i])), api_name(group)))
                        refuse_removal(t, group, "port", ports->items[i].image->name);
        for (i = 0; i < groups->count && !t->out->code; i++) {
                const json_t *other = api_tree(t->core, &groups->items[i]);

                if (other == group || strcmp(api_namespace(other), v.name_space) != 0)
                        continue;
                json_array_foreach(api_at(other, "spec.rules"), j, rule)
                {
                        if (!t->out->code && strcmp(api_text(rule, "group"), api_name(group)) == 0)
                                refuse_removal(t, group, "a rule of security group", api_name(other));
                }
        }
}

const struct api_rules api_rules_security_group = {
    .kind = &api_kind_security_group, .create = group_create, .update = group_update, .remove = group_remove};
