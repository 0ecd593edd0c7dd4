/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can wake the reactor: the bus, the two informers (pods and ports of this node), answers of the API,
 * the core's timer, SIGTERM and SIGINT. Each becomes one event for the core, and the core's actions are
 * carried out at once.
 */
#include "services/watcher/shell.h"

#include <czmq.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "libcommon/bus.h"
#include "libcommon/clock.h"
#include "libcommon/journal.h"
#include "libcommon/kube/informer.h"
#include "services/watcher/calls.h"

struct watcher_shell {
        struct watcher_core_config config;
        struct ak_kubeconfig kubeconfig;
        zloop_t *loop;
        int signal_fd, timer;
        struct watcher_core *core;
        struct watcher_actions actions;
        struct ak_journal *journal;
        struct ak_bus *bus;
        struct watcher_calls *calls;
        struct ak_informer *pods, *ports;
        struct ak_ratelimit bad_messages;
};

static void step(struct watcher_shell *s, const struct watcher_event *event);

/* ------------------------------------------------------------------ actions */

static void publish(struct watcher_shell *s, const struct watcher_action *a)
{
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len;
        int r;

        ak_message_topic(a->message, topic);
        r = ak_message_encode(a->message, &body, &len);
        if (r == 0)
                r = ak_bus_publish(s->bus, topic, a->trace, body, len, true);
        if (r < 0)
                ak_log(AK_LOG_ERROR, "publish_failed", "topic", topic, "error", strerror(-r), NULL);
}

static int on_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_shell *s = arg;

        s->timer = -1;
        step(s, &(struct watcher_event){.type = WATCHER_EVENT_TICK});
        return 0;
}

static void wake_at(struct watcher_shell *s, uint64_t at_us)
{
        uint64_t now = ak_clock_monotonic_us();
        uint64_t delay_ms = at_us > now ? (at_us - now + 999) / 1000 : 1;

        if (s->timer >= 0)
                (void)zloop_timer_end(s->loop, s->timer);
        s->timer = zloop_timer(s->loop, delay_ms, 1, on_timer, s);
}

static const char *or_null(const char *text)
{
        return text[0] ? text : NULL;
}

static void carry_out(struct watcher_shell *s, const struct watcher_action *a)
{
        switch (a->type) {
        case WATCHER_ACTION_PUBLISH:
                publish(s, a);
                break;
        case WATCHER_ACTION_FORGET:
                ak_bus_forget(s->bus, a->topic);
                break;
        case WATCHER_ACTION_CALL:
                watcher_calls_submit(s->calls, a);
                break;
        case WATCHER_ACTION_LOG:
                ak_log(a->level, a->event, "pod", or_null(a->pod), "nic", or_null(a->nic), "port",
                       or_null(a->port), "message", or_null(a->text), NULL);
                break;
        case WATCHER_ACTION_WAKE:
                wake_at(s, a->at_us);
                break;
        }
}

static void step(struct watcher_shell *s, const struct watcher_event *event)
{
        uint64_t now = ak_clock_monotonic_us(), real = ak_clock_realtime_us();
        int r;

        if (s->journal)
                ak_journal_event(s->journal, now, real, watcher_event_to_json(event));
        r = watcher_core_step(s->core, event, now, real, &s->actions);
        if (s->journal)
                ak_journal_actions(s->journal, now, watcher_actions_to_json(&s->actions));
        if (r < 0)
                ak_log(AK_LOG_ERROR, "step_failed", "event", watcher_event_type_name(event->type), "error",
                       r == -ENOSPC ? "too many VMs or ports; see --max-vms" : strerror(-r), NULL);
        for (size_t i = 0; i < s->actions.count; i++)
                carry_out(s, &s->actions.items[i]);
        watcher_actions_clear(&s->actions);
}

/* ------------------------------------------------------------------ events */

static void on_answer(void *arg, const struct watcher_event *event)
{
        step(arg, event);
}

static void on_pod_put(void *arg, json_t *object)
{
        step(arg, &(struct watcher_event){.type = WATCHER_EVENT_POD_PUT, .object = object});
}

static void on_pod_gone(void *arg, json_t *object)
{
        step(arg, &(struct watcher_event){.type = WATCHER_EVENT_POD_GONE, .object = object});
}

static void on_pods_synced(void *arg)
{
        step(arg, &(struct watcher_event){.type = WATCHER_EVENT_PODS_SYNCED});
}

static void on_port_put(void *arg, json_t *object)
{
        step(arg, &(struct watcher_event){.type = WATCHER_EVENT_PORT_PUT, .object = object});
}

static void on_port_gone(void *arg, json_t *object)
{
        step(arg, &(struct watcher_event){.type = WATCHER_EVENT_PORT_GONE, .object = object});
}

static void on_ports_synced(void *arg)
{
        step(arg, &(struct watcher_event){.type = WATCHER_EVENT_PORTS_SYNCED});
}

static void on_informer_state(void *arg AK_UNUSED, bool connected, const char *why)
{
        ak_log(connected ? AK_LOG_INFO : AK_LOG_WARN, connected ? "api_connected" : "api_disconnected", "why",
               why && why[0] ? why : NULL, NULL);
}

static void refused(struct watcher_shell *s, const struct ak_bus_frame *frame, const char *error)
{
        uint32_t suppressed;

        if (ak_ratelimit_pass(&s->bad_messages, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "message_refused", "publisher", frame->publisher, "topic", frame->topic,
                       "error", error, "suppressed", AK_FMT("%u", suppressed), NULL);
}

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        struct watcher_shell *s = arg;
        struct watcher_event event = {.type = WATCHER_EVENT_MESSAGE, .epoch = frame->epoch};
        int r = ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error);

        if (r == -ENOENT)
                return;
        if (r < 0) {
                refused(s, frame, error[0] ? error : strerror(-r));
                return;
        }
        event.message = m;
        (void)snprintf(event.peer, sizeof(event.peer), "%s", frame->publisher);
        step(s, &event);
}

static void on_peer_epoch(void *arg, const char *peer, uint64_t epoch)
{
        struct watcher_event event = {.type = WATCHER_EVENT_PEER, .epoch = epoch};

        (void)snprintf(event.peer, sizeof(event.peer), "%s", peer);
        step(arg, &event);
}

static int on_signal(zloop_t *loop AK_UNUSED, zmq_pollitem_t *item, void *arg AK_UNUSED)
{
        struct signalfd_siginfo info;

        return read(item->fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? -1 : 0;
}

/* ------------------------------------------------------------------ making */

static int complain(int code, const char *option, const char *text)
{
        ak_log(AK_LOG_ERROR, "cannot_start", "option", option, "error", text, NULL);
        return code;
}

static int make_base(struct watcher_shell *s, const struct watcher_options *o)
{
        struct watcher_core_config *c = &s->config;
        char error[AK_KUBECONFIG_ERROR_SIZE];

        if (o->node_name)
                (void)snprintf(c->node, sizeof(c->node), "%s", o->node_name);
        else if (gethostname(c->node, sizeof(c->node) - 1) < 0)
                return complain(1, "node-name", "the host has no name");
        if (o->node_ip)
                (void)snprintf(c->host_ip, sizeof(c->host_ip), "%s", o->node_ip);
        else
                watcher_node_address(c->host_ip, sizeof(c->host_ip));
        c->seed = ak_clock_realtime_us();
        c->nic_slots = o->nic_slots;
        c->max_vms = o->max_vms;
        c->republish_us = o->republish;
        c->reask_us = o->reask;
        if (ak_kubeconfig_load(&s->kubeconfig, o->kubeconfig, o->context, error) < 0)
                return complain(2, "kubeconfig", error);
        s->loop = zloop_new();
        return s->loop ? 0 : complain(1, NULL, "out of memory");
}

static int make_core(struct watcher_shell *s, const struct watcher_options *o)
{
        int r;

        if (watcher_core_new(&s->core, &s->config) < 0)
                return complain(1, NULL, "out of memory");
        if (!o->journal)
                return 0;
        r = ak_journal_new(&s->journal, o->journal, "watcher", watcher_core_config_to_json(&s->config), 0);
        return r < 0 ? complain(1, "journal", AK_FMT("%s: %s", o->journal, strerror(-r))) : 0;
}

static int make_bus(struct watcher_shell *s, const struct watcher_options *o)
{
        const struct ak_bus_options options = {.dir = o->bus_dir, .name = "watcher"};
        const struct ak_bus_handler handler = {
            .on_message = on_message, .on_peer_epoch = on_peer_epoch, .arg = s};
        int r = ak_bus_new(&s->bus, s->loop, &options, &handler);

        if (r == 0)
                r = ak_bus_subscribe(s->bus, "network", "port.status/");
        if (r == 0)
                r = ak_bus_subscribe(s->bus, "hypervisor", "vm.status/");
        if (r == 0)
                r = ak_bus_subscribe(s->bus, "hypervisor", "nic.status/");
        if (r == -EPERM)
                return complain(1, "bus-dir", AK_FMT("%s must be ours and of mode 0700", o->bus_dir));
        if (r == -EADDRINUSE)
                return complain(1, "bus-dir", AK_FMT("another watcher runs in %s", o->bus_dir));
        return r < 0 ? complain(1, "bus-dir", AK_FMT("%s: %s", o->bus_dir, strerror(-r))) : 0;
}

static int make_informers(struct watcher_shell *s)
{
        const struct ak_informer_handler pods = {.put = on_pod_put,
                                                 .gone = on_pod_gone,
                                                 .synced = on_pods_synced,
                                                 .state = on_informer_state,
                                                 .arg = s};
        const struct ak_informer_handler ports = {
            .put = on_port_put, .gone = on_port_gone, .synced = on_ports_synced, .arg = s};
        char selector[AK_LEN_NAME + 32];
        struct ak_informer_options o = {.path = "/api/v1/pods",
                                        .field_selector = selector,
                                        .user_agent = "alkaid-watcher/" ALKAID_VERSION,
                                        .seed = s->config.seed};
        int r;

        (void)snprintf(selector, sizeof(selector), "spec.nodeName=%s", s->config.node);
        r = watcher_calls_new(&s->calls, s->loop, &s->kubeconfig, on_answer, s);
        if (r == 0)
                r = ak_informer_new(&s->pods, s->loop, &s->kubeconfig, &o, &pods);
        o.path = "/apis/vpc.alkaid.io/v1/ports";
        if (r == 0)
                r = ak_informer_new(&s->ports, s->loop, &s->kubeconfig, &o, &ports);
        return r < 0 ? complain(1, "kubeconfig", strerror(-r)) : 0;
}

static int watch_signals(struct watcher_shell *s)
{
        zmq_pollitem_t item = {.events = ZMQ_POLLIN};
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        item.fd = s->signal_fd;
        if (s->signal_fd < 0 || zloop_poller(s->loop, &item, on_signal, s) < 0)
                return complain(1, NULL, "cannot watch signals");
        return 0;
}

static int make_parts(struct watcher_shell *s, const struct watcher_options *o)
{
        int code = make_base(s, o);

        if (code == 0)
                code = make_core(s, o);
        if (code == 0)
                code = make_bus(s, o);
        if (code == 0)
                code = watch_signals(s);
        return code == 0 ? make_informers(s) : code;
}

int watcher_shell_new(struct watcher_shell **out, const struct watcher_options *options)
{
        struct watcher_shell *s = calloc(1, sizeof(*s));
        int code;

        if (!s)
                return complain(1, NULL, "out of memory");
        zsys_handler_set(NULL);
        s->signal_fd = s->timer = -1;
        s->bad_messages = (struct ak_ratelimit){.interval_us = UINT64_C(1000000), .burst = 10};
        code = make_parts(s, options);
        if (code != 0) {
                watcher_shell_free(s);
                return code;
        }
        *out = s;
        return 0;
}

struct watcher_shell *watcher_shell_free(struct watcher_shell *s)
{
        if (!s)
                return NULL;
        ak_informer_free(s->pods);
        ak_informer_free(s->ports);
        watcher_calls_free(s->calls);
        ak_bus_free(s->bus);
        zloop_destroy(&s->loop);
        ak_journal_free(s->journal);
        watcher_actions_deinit(&s->actions);
        watcher_core_free(s->core);
        ak_kubeconfig_deinit(&s->kubeconfig);
        if (s->signal_fd >= 0)
                (void)close(s->signal_fd);
        free(s);
        return NULL;
}

int watcher_shell_run(struct watcher_shell *s)
{
        struct watcher_event node = {.type = WATCHER_EVENT_NODE};

        ak_log(AK_LOG_INFO, "started", "node", s->config.node, "server", s->kubeconfig.server, "version",
               ALKAID_VERSION, NULL);
        node.object = watcher_node_describe(s->config.node, s->config.host_ip, s->config.nic_slots);
        if (!node.object)
                return complain(1, NULL, "out of memory");
        step(s, &node);
        json_decref(node.object);
        (void)zloop_start(s->loop);
        ak_log(AK_LOG_INFO, "stopped", NULL);
        return 0;
}
