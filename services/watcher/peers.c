/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change touches the subnet of the port, and the other subnets of its VPC where the VPC comes to this node
 * or leaves it. Only touched subnets are looked at when it is said what has changed: a node that has
 * thousands of ports gets a change of one of them every few milliseconds.
 */
#include "services/watcher/peers.h"

#include <czmq.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "libcommon/netaddr.h"

struct port {
        LIST_ENTRY(port) in_subnet;
        const void *from;
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

struct node {
        const void *from;
        char address[AK_IP_SIZE];
};

/* As long as it has ports or its last message has to be taken back. */
struct subnet {
        char id[AK_LEN_UID + 1], vpc[AK_LEN_UID + 1];
        LIST_HEAD(subnet_ports, port) ports;
        size_t count;
        bool touched;
        struct ak_message *said;
};

struct watcher_peers {
        char node[AK_LEN_NAME + 1];
        zhashx_t *ports;   /* ID -> struct port; those that a node has */
        zhashx_t *nodes;   /* name -> struct node */
        zhashx_t *subnets; /* ID -> struct subnet */
        zhashx_t *here;    /* VPC -> how many ports it has on this node */
        zhashx_t *others;  /* other node -> how many ports it has */
        zlistx_t *touched; /* struct subnet */
};

/* ------------------------------------------------------------------ tables */

static void free_one(void **item)
{
        free(*item);
        *item = NULL;
}

static void free_subnet(void **item)
{
        struct subnet *s = *item;

        ak_message_free(s->said);
        free(s);
        *item = NULL;
}

int watcher_peers_new(struct watcher_peers **out, const char *node)
{
        AK_CLEANUP(watcher_peers_freep) struct watcher_peers *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        (void)snprintf(p->node, sizeof(p->node), "%s", node);
        p->ports = zhashx_new();
        p->nodes = zhashx_new();
        p->subnets = zhashx_new();
        p->here = zhashx_new();
        p->others = zhashx_new();
        p->touched = zlistx_new();
        if (!p->ports || !p->nodes || !p->subnets || !p->here || !p->others || !p->touched)
                return -ENOMEM;
        zhashx_set_destructor(p->ports, free_one);
        zhashx_set_destructor(p->nodes, free_one);
        zhashx_set_destructor(p->subnets, free_subnet);
        zhashx_set_destructor(p->here, free_one);
        zhashx_set_destructor(p->others, free_one);
        *out = AK_STEAL(p);
        return 0;
}

struct watcher_peers *watcher_peers_free(struct watcher_peers *p)
{
        if (!p)
                return NULL;
        zhashx_destroy(&p->ports);
        zhashx_destroy(&p->nodes);
        zhashx_destroy(&p->subnets);
        zhashx_destroy(&p->here);
        zhashx_destroy(&p->others);
        zlistx_destroy(&p->touched);
        free(p);
        return NULL;
}

static int touch(struct watcher_peers *peers, struct subnet *s)
{
        if (!s->touched && !zlistx_add_end(peers->touched, s))
                return -ENOMEM;
        s->touched = true;
        return 0;
}

static int touch_all(struct watcher_peers *peers, const char *vpc)
{
        int r = 0;

        for (struct subnet *s = zhashx_first(peers->subnets); s && r == 0; s = zhashx_next(peers->subnets))
                if (!vpc || strcmp(s->vpc, vpc) == 0)
                        r = touch(peers, s);
        return r;
}

static struct subnet *subnet_get(struct watcher_peers *peers, const struct port *p)
{
        struct subnet *s = zhashx_lookup(peers->subnets, p->subnet);

        if (s)
                return s;
        s = calloc(1, sizeof(*s));
        if (!s || zhashx_insert(peers->subnets, p->subnet, s) != 0) {
                free(s);
                return NULL;
        }
        (void)snprintf(s->id, sizeof(s->id), "%s", p->subnet);
        (void)snprintf(s->vpc, sizeof(s->vpc), "%s", p->vpc);
        LIST_INIT(&s->ports);
        return s;
}

static bool is_here(const struct watcher_peers *peers, const struct port *p)
{
        return strcmp(p->node, peers->node) == 0;
}

int64_t watcher_peers_count(zhashx_t *counts, const char *key, bool more)
{
        size_t *n = zhashx_lookup(counts, key);
        int64_t before = n ? (int64_t)*n : 0;

        if (!n) {
                n = calloc(1, sizeof(*n));
                if (!n || zhashx_insert(counts, key, n) != 0) {
                        free(n);
                        return -ENOMEM;
                }
        }
        *n += more ? 1 : 0;
        *n -= more ? 0 : 1;
        if (*n == 0)
                zhashx_delete(counts, key);
        return before;
}

/* One port more, or less, of its VPC on this node, or of another node. */
static int count_port(struct watcher_peers *peers, const struct port *p, bool more)
{
        bool here = is_here(peers, p);
        int64_t before =
            watcher_peers_count(here ? peers->here : peers->others, here ? p->vpc : p->node, more);

        if (before < 0)
                return -ENOMEM;
        return here && before == (more ? 0 : 1) ? touch_all(peers, p->vpc) : 0;
}

static int drop_port(struct watcher_peers *peers, struct port *p)
{
        struct subnet *s = zhashx_lookup(peers->subnets, p->subnet);
        int r = touch(peers, s);

        LIST_REMOVE(p, in_subnet);
        s->count--;
        if (count_port(peers, p, false) < 0)
                r = -ENOMEM;
        zhashx_delete(peers->ports, p->id);
        return r;
}

/* Takes the port. */
static int add_port(struct watcher_peers *peers, struct port *p)
{
        struct subnet *s = subnet_get(peers, p);

        if (!s || zhashx_insert(peers->ports, p->id, p) != 0) {
                free(p);
                return -ENOMEM;
        }
        LIST_INSERT_HEAD(&s->ports, p, in_subnet);
        s->count++;
        /* A subnet may have been made anew, in another VPC, under the ID of one that is gone. */
        (void)snprintf(s->vpc, sizeof(s->vpc), "%s", p->vpc);
        int r = touch(peers, s);
        return r == 0 ? count_port(peers, p, true) : r;
}

static bool same(const struct port *a, const struct port *b)
{
        size_t head = offsetof(struct port, id);

        return memcmp((const char *)a + head, (const char *)b + head, sizeof(*a) - head) == 0;
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

int watcher_peers_port(struct watcher_peers *peers, const json_t *json, bool gone, const void *from)
{
        struct port *before = zhashx_lookup(peers->ports, text(json_object_get(json, "metadata"), "name"));
        AK_AUTOFREE struct port *p = calloc(1, sizeof(*p));
        int r = 0;

        if (!p)
                return -ENOMEM;
        if (gone && before && before->from != from)
                return 0;
        bool there = !gone && read_port(json, p);
        p->from = from;
        if (before && there && same(before, p)) {
                before->from = from;
                return 0;
        }
        if (before)
                r = drop_port(peers, before);
        if (!there)
                return r;
        int added = add_port(peers, AK_STEAL(p));
        return r < 0 ? r : added;
}

zhashx_t *watcher_peers_elsewhere(struct watcher_peers *peers)
{
        return peers->others;
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

int watcher_peers_node(struct watcher_peers *peers, const json_t *json, bool gone, const void *from)
{
        const char *name = text(json_object_get(json, "metadata"), "name");
        const char *address = gone ? NULL : address_of(json);
        struct node *before = zhashx_lookup(peers->nodes, name);

        if (gone && before && before->from != from)
                return 0;
        if (before && address && strcmp(before->address, address) == 0) {
                before->from = from;
                return 0;
        }
        zhashx_delete(peers->nodes, name);
        if (address) {
                struct node *n = calloc(1, sizeof(*n));

                if (!n || zhashx_insert(peers->nodes, name, n) != 0) {
                        free(n);
                        return -ENOMEM;
                }
                n->from = from;
                (void)copy(n->address, sizeof(n->address), address);
        }
        return touch_all(peers, NULL);
}

/* ------------------------------------------------------------------ messages */

static int by_id(const void *a, const void *b)
{
        const struct port *const *x = a, *const *y = b;

        return strcmp((*x)->id, (*y)->id);
}

static int by_subnet(const void *a, const void *b)
{
        const struct subnet *x = a, *y = b;

        return strcmp(x->id, y->id);
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

static struct port **sort_ports(const struct subnet *s)
{
        struct port **sorted = calloc(s->count + 1, sizeof(*sorted)), *p;
        size_t n = 0;

        if (!sorted)
                return NULL;
        LIST_FOREACH(p, &s->ports, in_subnet)
        sorted[n++] = p;
        qsort(sorted, n, sizeof(*sorted), by_id);
        return sorted;
}

static struct ak_message *message_of(struct watcher_peers *peers, const struct subnet *s)
{
        AK_AUTOFREE struct port **sorted = sort_ports(s);
        struct ak_message *m = ak_message_new(ak_message_subnet_peers);
        char *lines = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&lines, &size);

        for (struct port *const *p = sorted; p && *p; p++) {
                const struct node *there =
                    is_here(peers, *p) ? NULL : zhashx_lookup(peers->nodes, (*p)->node);

                if (m)
                        describe_subnet(&m->subnet_peers, *p);
                if (f && there)
                        (void)fprintf(f, "%s %s %s\n", (*p)->mac, there->address, (*p)->addresses);
        }
        if (!m || !f || fclose(f) != 0 || !sorted) {
                free(lines);
                return ak_message_free(m);
        }
        m->subnet_peers.peers = lines;
        return m;
}

/* Its VPC has no port here any more, or it has none anywhere. */
static void take_back(struct subnet *s, watcher_peers_say say, void *arg)
{
        char topic[AK_TOPIC_SIZE];

        if (!s->said)
                return;
        ak_message_topic(s->said, topic);
        say(arg, topic, NULL);
        s->said = ak_message_free(s->said);
}

static int say_one(struct watcher_peers *peers, struct subnet *s, watcher_peers_say say, void *arg)
{
        char topic[AK_TOPIC_SIZE];

        if (s->count == 0 || !zhashx_lookup(peers->here, s->vpc)) {
                take_back(s, say, arg);
                return 0;
        }
        struct ak_message *m = message_of(peers, s);
        if (!m)
                return -ENOMEM;
        if (s->said && ak_message_equal(s->said, m)) {
                ak_message_free(m);
                return 0;
        }
        ak_message_topic(m, topic);
        say(arg, topic, m);
        ak_message_free(s->said);
        s->said = m;
        return 0;
}

int watcher_peers_flush(struct watcher_peers *peers, watcher_peers_say say, void *arg)
{
        int r = 0;

        zlistx_set_comparator(peers->touched, by_subnet);
        zlistx_sort(peers->touched);
        for (struct subnet *s; r == 0 && (s = zlistx_first(peers->touched));) {
                r = say_one(peers, s, say, arg);
                if (r < 0)
                        break;
                s->touched = false;
                (void)zlistx_detach(peers->touched, NULL);
                if (s->count == 0)
                        zhashx_delete(peers->subnets, s->id);
        }
        return r;
}
