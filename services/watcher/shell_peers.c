/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/shell_peers.h"

#include <errno.h>
#include <string.h>

#include "libcommon/kube/informer.h"
#include "libcommon/log.h"
#include "services/watcher/peers.h"

#define USER_AGENT "alkaid-watcher/" ALKAID_VERSION
#define GATHER_MS  10 /* a burst of changes is said once */

struct watcher_shell_peers {
        zloop_t *loop;
        struct ak_bus *bus;
        struct watcher_peers *peers;
        struct ak_informer *ports, *nodes;
        bool have_ports,
            have_nodes; /* the first list is complete: before that, what is missing is not gone */
        int timer;      /* -1 = none */
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

static int on_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_shell_peers *s = arg;

        s->timer = -1;
        int r = watcher_peers_flush(s->peers, say, s);
        if (r < 0)
                ak_log(AK_LOG_ERROR, "peers_failed", "error", strerror(-r), NULL);
        return 0;
}

static void changed(struct watcher_shell_peers *s, int r)
{
        if (r < 0)
                ak_log(AK_LOG_ERROR, "peers_failed", "error", strerror(-r), NULL);
        if (s->have_ports && s->have_nodes && s->timer < 0)
                s->timer = zloop_timer(s->loop, GATHER_MS, 1, on_timer, s);
}

static void port_put(void *arg, json_t *object)
{
        changed(arg, watcher_peers_port(((struct watcher_shell_peers *)arg)->peers, object, false));
}

static void port_gone(void *arg, json_t *object)
{
        changed(arg, watcher_peers_port(((struct watcher_shell_peers *)arg)->peers, object, true));
}

static void node_put(void *arg, json_t *object)
{
        changed(arg, watcher_peers_node(((struct watcher_shell_peers *)arg)->peers, object, false));
}

static void node_gone(void *arg, json_t *object)
{
        changed(arg, watcher_peers_node(((struct watcher_shell_peers *)arg)->peers, object, true));
}

static void ports_synced(void *arg)
{
        ((struct watcher_shell_peers *)arg)->have_ports = true;
        changed(arg, 0);
}

static void nodes_synced(void *arg)
{
        ((struct watcher_shell_peers *)arg)->have_nodes = true;
        changed(arg, 0);
}

static int follow(struct watcher_shell_peers *s, const struct ak_kubeconfig *kubeconfig, uint64_t seed)
{
        struct ak_informer_handler ports = {
            .put = port_put, .gone = port_gone, .synced = ports_synced, .arg = s};
        struct ak_informer_handler nodes = {
            .put = node_put, .gone = node_gone, .synced = nodes_synced, .arg = s};
        struct ak_informer_options options = {
            .path = "/apis/vpc.alkaid.io/v1/ports", .user_agent = USER_AGENT, .seed = seed};
        int r = ak_informer_new(&s->ports, s->loop, kubeconfig, &options, &ports);

        options.path = "/api/v1/nodes";
        return r == 0 ? ak_informer_new(&s->nodes, s->loop, kubeconfig, &options, &nodes) : r;
}

int watcher_shell_peers_new(struct watcher_shell_peers **out, zloop_t *loop, struct ak_bus *bus,
                            const struct ak_kubeconfig *kubeconfig, const char *node, uint64_t seed)
{
        struct watcher_shell_peers *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        *s = (struct watcher_shell_peers){.loop = loop, .bus = bus, .timer = -1};
        int r = watcher_peers_new(&s->peers, node);
        if (r == 0)
                r = follow(s, kubeconfig, seed);
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
        ak_informer_free(s->ports);
        ak_informer_free(s->nodes);
        watcher_peers_free(s->peers);
        free(s);
        return NULL;
}
