/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/peers.h"

#include <czmq.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/netaddr.h"

struct port {
        char id[AK_LEN_UID + 1], subnet[AK_LEN_UID + 1], vpc[AK_LEN_UID + 1];
        char node[AK_LEN_NAME + 1];
        char mac[AK_MAC_SIZE];
        char addresses[AK_MAX_ADDRS * AK_IP_SIZE]; /* separated by commas */
        /* of the subnet */
        char cidr[AK_LEN_CIDR + 1], gateway[AK_LEN_CIDR + 1], cidr6[AK_LEN_CIDR + 1],
            gateway6[AK_LEN_CIDR + 1];
        uint64_t vni, mtu;
        bool source_nat;
};

struct watcher_peers {
        char node[AK_LEN_NAME + 1];
        zhashx_t *ports; /* ID -> struct port; those that a node has */
        zhashx_t *nodes; /* name -> address */
        zhashx_t *said;  /* subnet -> struct ak_message */
};

/* ------------------------------------------------------------------ tables */

static void free_one(void **item)
{
        free(*item);
        *item = NULL;
}

static void free_message(void **item)
{
        *item = ak_message_free(*item);
}

int watcher_peers_new(struct watcher_peers **out, const char *node)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        (void)snprintf(p->node, sizeof(p->node), "%s", node);
        p->ports = zhashx_new();
        p->nodes = zhashx_new();
        p->said = zhashx_new();
        if (!p->ports || !p->nodes || !p->said)
                return -ENOMEM;
        zhashx_set_destructor(p->ports, free_one);
        zhashx_set_destructor(p->nodes, free_one);
        zhashx_set_destructor(p->said, free_message);
        *out = AK_STEAL(p);
        return 0;
}

struct watcher_peers *watcher_peers_free(struct watcher_peers *p)
{
        if (!p)
                return NULL;
        zhashx_destroy(&p->ports);
        zhashx_destroy(&p->nodes);
        zhashx_destroy(&p->said);
        free(p);
        return NULL;
}

/* Takes the item. */
static int put(zhashx_t *table, const char *key, void *item)
{
        if (!item)
                return -ENOMEM;
        zhashx_delete(table, key);
        if (zhashx_insert(table, key, item) == 0)
                return 0;
        free(item);
        return -ENOMEM;
}

/* ------------------------------------------------------------------ objects */

static const char *text(const json_t *object, const char *key)
{
        const char *value = json_string_value(json_object_get(object, key));

        return value ? value : "";
}

static bool copy(char *out, size_t size, const char *value)
{
        return value[0] != '\0' && snprintf(out, size, "%s", value) < (int)size;
}

static bool read_addresses(const json_t *list, struct port *p)
{
        size_t i, used = 0;
        json_t *item;
        struct ak_ip ip;

        json_array_foreach(list, i, item)
        {
                const char *value = json_string_value(item);

                if (i >= AK_MAX_ADDRS || !value || ak_ip_parse(value, &ip) < 0)
                        return false;
                used += (size_t)snprintf(p->addresses + used, sizeof(p->addresses) - used, "%s%s",
                                         i ? "," : "", value);
        }
        return used > 0;
}

static uint64_t number(const json_t *object, const char *key, uint64_t max)
{
        json_int_t value = json_integer_value(json_object_get(object, key));

        return value > 0 && (uint64_t)value <= max ? (uint64_t)value : 0;
}

static void read_subnet(const json_t *status, struct port *p)
{
        (void)copy(p->cidr, sizeof(p->cidr), text(status, "cidr"));
        (void)copy(p->gateway, sizeof(p->gateway), text(status, "gateway"));
        (void)copy(p->cidr6, sizeof(p->cidr6), text(status, "cidr6"));
        (void)copy(p->gateway6, sizeof(p->gateway6), text(status, "gateway6"));
        p->vni = number(status, "vni", 16777215);
        p->mtu = number(status, "mtu", 65535);
        p->source_nat = json_is_true(json_object_get(status, "sourceNAT"));
}

/* Bound, or Releasing: until the node has let go, its guest may still speak. */
static bool read_port(const json_t *json, struct port *p)
{
        const json_t *spec = json_object_get(json, "spec"), *status = json_object_get(json, "status");
        const char *phase = text(status, "phase");

        if (strcmp(phase, "Bound") != 0 && strcmp(phase, "Releasing") != 0)
                return false;
        read_subnet(status, p);
        return copy(p->id, sizeof(p->id), text(json_object_get(json, "metadata"), "name")) &&
               copy(p->subnet, sizeof(p->subnet), text(status, "subnetID")) &&
               copy(p->vpc, sizeof(p->vpc), text(status, "vpcID")) &&
               copy(p->node, sizeof(p->node), text(spec, "nodeName")) &&
               ak_mac_parse(text(spec, "macAddress"), p->mac) == 0 &&
               read_addresses(json_object_get(spec, "ipAddresses"), p);
}

int watcher_peers_port(struct watcher_peers *peers, const json_t *json, bool gone)
{
        const char *id = text(json_object_get(json, "metadata"), "name");
        AK_AUTOFREE struct port *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        if (!gone && read_port(json, p))
                return put(peers->ports, id, AK_STEAL(p));
        zhashx_delete(peers->ports, id);
        return 0;
}

static const char *address_of(const json_t *node)
{
        const json_t *list = json_object_get(json_object_get(node, "status"), "addresses");
        json_t *entry;
        struct ak_ip ip;
        size_t i;

        json_array_foreach(list, i, entry)
        {
                if (strcmp(text(entry, "type"), "InternalIP") == 0 &&
                    ak_ip_parse(text(entry, "address"), &ip) == 0)
                        return text(entry, "address");
        }
        return NULL;
}

int watcher_peers_node(struct watcher_peers *peers, const json_t *json, bool gone)
{
        const char *name = text(json_object_get(json, "metadata"), "name");
        const char *address = gone ? NULL : address_of(json);

        if (address)
                return put(peers->nodes, name, strdup(address));
        zhashx_delete(peers->nodes, name);
        return 0;
}

/* ------------------------------------------------------------------ messages */

static int by_subnet(const void *a, const void *b)
{
        const struct port *const *x = a, *const *y = b;
        int order = strcmp((*x)->subnet, (*y)->subnet);

        return order ? order : strcmp((*x)->id, (*y)->id);
}

static bool is_here(const struct watcher_peers *peers, const struct port *p)
{
        return strcmp(p->node, peers->node) == 0;
}

/* Whether the VPC has a port on this node. `sorted` ends with NULL. */
static bool vpc_is_here(const struct watcher_peers *peers, struct port *const *sorted, const char *vpc)
{
        for (; *sorted; sorted++)
                if (is_here(peers, *sorted) && strcmp((*sorted)->vpc, vpc) == 0)
                        return true;
        return false;
}

/* What the ports say of their subnet; IPv6 from any that has it. */
static void describe_subnet(struct ak_subnet_peers *m, const struct port *p)
{
        (void)copy(m->subnet_id, sizeof(m->subnet_id), p->subnet);
        (void)copy(m->vpc_id, sizeof(m->vpc_id), p->vpc);
        (void)copy(m->cidr, sizeof(m->cidr), p->cidr);
        (void)copy(m->gateway, sizeof(m->gateway), p->gateway);
        (void)copy(m->cidr6, sizeof(m->cidr6), p->cidr6);
        (void)copy(m->gateway6, sizeof(m->gateway6), p->gateway6);
        m->vni = p->vni;
        m->mtu = p->mtu;
        m->source_nat = p->source_nat;
}

/* The ports of the subnet that begins at *sorted, as a message; *sorted moves behind them. */
static struct ak_message *message_of(struct watcher_peers *peers, struct port *const **sorted)
{
        struct port *const *first = *sorted, *const *p = first;
        struct ak_message *m = ak_message_new(ak_message_subnet_peers);
        char *lines = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&lines, &size);

        for (; *p && strcmp((*p)->subnet, (*first)->subnet) == 0; p++) {
                const char *address = is_here(peers, *p) ? NULL : zhashx_lookup(peers->nodes, (*p)->node);

                if (m)
                        describe_subnet(&m->subnet_peers, *p);
                if (f && address)
                        (void)fprintf(f, "%s %s %s\n", (*p)->mac, address, (*p)->addresses);
        }
        *sorted = p;
        if (!m || !f || fclose(f) != 0) {
                free(lines);
                return ak_message_free(m);
        }
        m->subnet_peers.peers = lines;
        return m;
}

static struct port **sort_ports(const struct watcher_peers *peers)
{
        struct port **sorted = calloc(zhashx_size(peers->ports) + 1, sizeof(*sorted));
        size_t n = 0;

        if (!sorted)
                return NULL;
        for (struct port *p = zhashx_first(peers->ports); p; p = zhashx_next(peers->ports))
                sorted[n++] = p;
        qsort(sorted, n, sizeof(*sorted), by_subnet);
        return sorted;
}

/* Takes the message. */
static int say_one(struct watcher_peers *peers, struct ak_message *m, watcher_peers_say say, void *arg)
{
        const struct ak_message *before = zhashx_lookup(peers->said, m->subnet_peers.subnet_id);
        char topic[AK_TOPIC_SIZE];

        if (before && ak_message_equal(before, m)) {
                ak_message_free(m);
                return 0;
        }
        ak_message_topic(m, topic);
        say(arg, topic, m);
        zhashx_delete(peers->said, m->subnet_peers.subnet_id);
        if (zhashx_insert(peers->said, m->subnet_peers.subnet_id, m) == 0)
                return 0;
        ak_message_free(m);
        return -ENOMEM;
}

/* Subnets whose VPC has no port here any more, or that have none anywhere. */
static int forget_rest(struct watcher_peers *peers, zhashx_t *current, watcher_peers_say say, void *arg)
{
        zlistx_t *keys = zhashx_keys(peers->said);
        char topic[AK_TOPIC_SIZE];

        if (!keys)
                return -ENOMEM;
        for (const char *subnet = zlistx_first(keys); subnet; subnet = zlistx_next(keys)) {
                if (zhashx_lookup(current, subnet))
                        continue;
                ak_message_topic(zhashx_lookup(peers->said, subnet), topic);
                say(arg, topic, NULL);
                zhashx_delete(peers->said, subnet);
        }
        zlistx_destroy(&keys);
        return 0;
}

int watcher_peers_flush(struct watcher_peers *peers, watcher_peers_say say, void *arg)
{
        AK_AUTOFREE struct port **sorted = sort_ports(peers);
        zhashx_t *current = zhashx_new();
        struct port *const *at = sorted;
        int r = sorted && current ? 0 : -ENOMEM;

        while (r == 0 && *at) {
                const struct port *first = *at;
                struct ak_message *m = message_of(peers, &at);

                if (!m)
                        r = -ENOMEM;
                else if (!vpc_is_here(peers, sorted, first->vpc))
                        ak_message_free(m);
                else if ((r = say_one(peers, m, say, arg)) == 0)
                        (void)zhashx_insert(current, first->subnet, peers);
        }
        if (r == 0)
                r = forget_rest(peers, current, say, arg);
        zhashx_destroy(&current);
        return r;
}
