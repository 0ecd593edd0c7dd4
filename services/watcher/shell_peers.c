/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/shell_peers.h"

#include <errno.h>
#include <string.h>

#include "libcommon/log.h"
#include "services/watcher/peers.h"
#include "services/watcher/scope.h"

#define USER_AGENT "alkaid-watcher/" ALKAID_VERSION
#define GATHER_MS  10 /* a burst of changes is said once */

#define VPCS_EACH  32 /* of one informer */
#define NODES_EACH 50 /* names of 253 characters fit into a request */

/*
 * Which VPCs this node has follows from its own ports, which the watcher follows anyway; followed here are
 * all ports of those VPCs, and the Nodes that these are on. So what happens in the VPCs of others, and on
 * nodes that share none with this one, is never sent here.
 */
struct watcher_shell_peers {
        zloop_t *loop;
        struct ak_bus *bus;
        struct watcher_peers *peers;
        struct watcher_scope *ports, *nodes;
        zhashx_t *own;   /* this node's ports: name -> VPC */
        zhashx_t *vpcs;  /* of those -> how many, a size_t */
        bool own_synced; /* the first list of them is complete: before that, what is missing is not gone */
        bool begun;      /* and so are those of the others */
        int timer;       /* -1 = none */
};

static void say(void *arg, const char *topic, const struct ak_message *m)
{
        struct watcher_shell_peers *s = arg;
        AK_AUTOFREE uint8_t *body = NULL;
        size_t len = 0;

        if (!m) {
                ak_bus_forget(s->bus, topic);
                return;
        }
        int r = ak_message_encode(m, &body, &len);
        if (r == 0)
                r = ak_bus_publish(s->bus, topic, "", body, len, true);
        if (r < 0)
                ak_log(AK_LOG_ERROR, "publish_failed", "topic", topic, "error", strerror(-r), NULL);
}

static void failed(int r)
{
        if (r < 0)
                ak_log(AK_LOG_ERROR, "peers_failed", "error", strerror(-r), NULL);
}

static int on_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_shell_peers *s = arg;
        int r;

        s->timer = -1;
        r = watcher_scope_set(s->ports, s->vpcs);
        if (r == 0 && watcher_scope_synced(s->ports))
                r = watcher_scope_set(s->nodes, watcher_peers_elsewhere(s->peers));
        s->begun |= r == 0 && watcher_scope_synced(s->ports) && watcher_scope_synced(s->nodes);
        if (r == 0 && s->begun)
                r = watcher_peers_flush(s->peers, say, s);
        failed(r);
        return 0;
}

static void changed(struct watcher_shell_peers *s, int r)
{
        failed(r);
        if (s->own_synced && s->timer < 0)
                s->timer = zloop_timer(s->loop, GATHER_MS, 1, on_timer, s);
}

/* ---- this node's own ports ---- */

static const char *text(const json_t *object, const char *part, const char *key)
{
        const char *value = json_string_value(json_object_get(json_object_get(object, part), key));

        return value ? value : "";
}

void watcher_shell_peers_own(struct watcher_shell_peers *s, const json_t *port, bool gone)
{
        const char *name = text(port, "metadata", "name"), *vpc = text(port, "status", "vpcID");
        const char *before = zhashx_lookup(s->own, name);
        bool none = gone || !*vpc;

        if (none ? !before : before && strcmp(before, vpc) == 0)
                return;
        if (!none && watcher_peers_count(s->vpcs, vpc, true) < 0) {
                failed(-ENOMEM);
                return;
        }
        if (before)
                (void)watcher_peers_count(s->vpcs, before, false); /* it is there */
        if (none)
                zhashx_delete(s->own, name);
        else
                zhashx_update(s->own, name, (void *)vpc);
        changed(s, 0);
}

void watcher_shell_peers_own_synced(struct watcher_shell_peers *s)
{
        s->own_synced = true;
        changed(s, 0);
}

/* ---- what is followed ---- */

static void port_put(void *arg, json_t *object, const void *from)
{
        struct watcher_shell_peers *s = arg;

        changed(s, watcher_peers_port(s->peers, object, false, from));
}

static void port_gone(void *arg, json_t *object, const void *from)
{
        struct watcher_shell_peers *s = arg;

        changed(s, watcher_peers_port(s->peers, object, true, from));
}

static void node_put(void *arg, json_t *object, const void *from)
{
        struct watcher_shell_peers *s = arg;

        changed(s, watcher_peers_node(s->peers, object, false, from));
}

static void node_gone(void *arg, json_t *object, const void *from)
{
        struct watcher_shell_peers *s = arg;

        changed(s, watcher_peers_node(s->peers, object, true, from));
}

static void listed(void *arg)
{
        changed(arg, 0);
}

static int follow(struct watcher_shell_peers *s, const struct ak_kubeconfig *kubeconfig, uint64_t seed)
{
        struct watcher_scope_handler ports = {.put = port_put, .gone = port_gone, .synced = listed, .arg = s};
        struct watcher_scope_handler nodes = {.put = node_put, .gone = node_gone, .synced = listed, .arg = s};
        struct watcher_scope_options options = {.path = "/apis/vpc.alkaid.io/v1/ports",
                                                .field = "status.vpcID",
                                                .user_agent = USER_AGENT,
                                                .most = VPCS_EACH,
                                                .seed = seed};
        int r = watcher_scope_new(&s->ports, s->loop, kubeconfig, &options, &ports);

        options.path = "/api/v1/nodes";
        options.field = "metadata.name";
        options.most = NODES_EACH;
        return r == 0 ? watcher_scope_new(&s->nodes, s->loop, kubeconfig, &options, &nodes) : r;
}

static void *dup_text(const void *value)
{
        return strdup(value);
}

static void free_item(void **value)
{
        free(*value);
        *value = NULL;
}

int watcher_shell_peers_new(struct watcher_shell_peers **out, zloop_t *loop, struct ak_bus *bus,
                            const struct ak_kubeconfig *kubeconfig, const char *node, uint64_t seed)
{
        struct watcher_shell_peers *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        *s = (struct watcher_shell_peers){.loop = loop, .bus = bus, .timer = -1};
        s->own = zhashx_new();
        s->vpcs = zhashx_new();
        int r = s->own && s->vpcs ? watcher_peers_new(&s->peers, node) : -ENOMEM;
        if (r == 0) {
                zhashx_set_duplicator(s->own, dup_text);
                zhashx_set_destructor(s->own, free_item);
                zhashx_set_destructor(s->vpcs, free_item);
                r = follow(s, kubeconfig, seed);
        }
        if (r < 0) {
                watcher_shell_peers_free(s);
                return r;
        }
        *out = s;
        return 0;
}

struct watcher_shell_peers *watcher_shell_peers_free(struct watcher_shell_peers *s)
{
        if (!s)
                return NULL;
        if (s->timer >= 0)
                (void)zloop_timer_end(s->loop, s->timer);
        watcher_scope_free(s->ports);
        watcher_scope_free(s->nodes);
        zhashx_destroy(&s->own);
        zhashx_destroy(&s->vpcs);
        watcher_peers_free(s->peers);
        free(s);
        return NULL;
}
