/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can wake the reactor: the bus, the backend's events (kernel, DHCP servers), answers of the workers,
 * the core's timer, signals (libcommon/service.h). Each becomes one event for the core, whose actions are
 * carried out at once.
 */
#include "services/network/shell.h"

#include <czmq.h>
#include <errno.h>
#include <string.h>

#include "libcommon/bus.h"
#include "libcommon/clock.h"
#include "libcommon/journal.h"
#include "libcommon/log.h"
#include "libcommon/telemetry.h"
#include "services/network/core.h"
#include "services/network/drops.h"
#include "services/network/label.h"
#include "services/network/metrics.h"
#include "services/network/workers.h"

#define MAX_TRACES 65536

struct net_shell {
        char node[AK_LEN_NAME + 1];
        zloop_t *loop;
        int timer;
        struct net_core *core;
        struct ak_journal *journal;
        struct ak_bus *bus;
        struct vpc_backend *backend;
        struct net_workers *workers;
        struct ak_telemetry *telemetry;
        struct net_metrics metrics;
        struct net_drops drops;
        zhashx_t *traces; /* "<pod uid>/<port id>" -> traceparent of the last wish */
        struct ak_ratelimit bad_messages;
};

static void step(struct net_shell *s, const struct net_event *event);

/* ------------------------------------------------------------------ actions */

/* "nic.diff/<pod>/<port>" -> "<pod>/<port>" */
static const char *key_of(const char *topic)
{
        const char *slash = strchr(topic, '/');

        return slash ? slash + 1 : "";
}

static void log_port(const struct ak_port_status *p, const char *trace)
{
        ak_log(p->state == AK_PORT_FAILED ? AK_LOG_WARN : AK_LOG_INFO, "port_status", "pod", p->pod_uid,
               "nic", p->nic[0] ? p->nic : NULL, "port", p->port_id, "state", ak_port_state_name(p->state),
               "reason", p->reason[0] ? p->reason : NULL, "message", p->message[0] ? p->message : NULL, "tap",
               p->ifname[0] ? p->ifname : NULL, "prepare_us",
               p->prepare_us ? AK_FMT("%llu", (unsigned long long)p->prepare_us) : NULL, "trace",
               trace && trace[0] ? trace : NULL, NULL);
}

static void publish_failed(struct net_shell *s, const char *topic, int r)
{
        ak_telemetry_publish_failed(s->telemetry);
        ak_log(AK_LOG_ERROR, "publish_failed", "topic", topic, "error", strerror(-r), NULL);
}

static void publish(struct net_shell *s, const struct ak_message *m, bool retain)
{
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len;

        ak_message_topic(m, topic);
        const char *trace = zhashx_lookup(s->traces, key_of(topic));
        int r = ak_message_encode(m, &body, &len);
        if (r == 0)
                r = ak_bus_publish(s->bus, topic, trace ? trace : "", body, len, retain);
        if (r < 0)
                publish_failed(s, topic, r);
        log_port(&m->port_status, trace);
}

static void forget(struct net_shell *s, const char *topic)
{
        ak_bus_forget(s->bus, topic);
        zhashx_delete(s->traces, key_of(topic));
}

static int on_timer(zloop_t *loop, int timer, void *arg)
{
        struct net_shell *s = arg;

        (void)loop;
        (void)timer;
        s->timer = -1;
        step(s, &(struct net_event){.type = NET_EVENT_TICK});
        return 0;
}

static void wake_at(struct net_shell *s, uint64_t at_us)
{
        uint64_t now_us = ak_clock_monotonic_us();
        uint64_t delay_ms = at_us > now_us ? (at_us - now_us + 999) / 1000 : 1;

        if (s->timer >= 0)
                (void)zloop_timer_end(s->loop, s->timer);
        s->timer = zloop_timer(s->loop, delay_ms, 1, on_timer, s);
}

static void on_done(void *arg, struct net_job *job);

/* A job that cannot even be made is answered like one that failed. */
static void run_job(struct net_shell *s, struct net_job *job, enum net_job_type type, uint64_t op)
{
        if (job && net_workers_run(s->workers, job) == 0)
                return;
        net_job_free(job);
        ak_log(AK_LOG_ERROR, "job_failed", "error", "out of memory", NULL);
        if (type != NET_JOB_PREPARE && type != NET_JOB_RELEASE)
                return;
        struct net_event event = {.type = type == NET_JOB_PREPARE ? NET_EVENT_PREPARED : NET_EVENT_RELEASED};
        event.done.op = op;
        event.done.error = -ENOMEM;
        step(s, &event);
}

static void prepare(struct net_shell *s, struct net_action *a)
{
        struct net_job *job = net_job_new(NET_JOB_PREPARE, a->prepare.spec->key.subnet_id);

        if (job) {
                job->op = a->prepare.op;
                job->spec = AK_STEAL(a->prepare.spec);
        }
        run_job(s, job, NET_JOB_PREPARE, a->prepare.op);
}

static void release(struct net_shell *s, const struct net_action *a)
{
        struct net_job *job = net_job_new(NET_JOB_RELEASE, a->release.key.subnet_id);

        if (job) {
                job->op = a->release.op;
                job->key = a->release.key;
        }
        run_job(s, job, NET_JOB_RELEASE, a->release.op);
}

static void set_peers(struct net_shell *s, struct net_action *a)
{
        struct net_job *job = net_job_new(NET_JOB_PEERS, a->peers->subnet_peers.subnet_id);

        if (job)
                job->peers = AK_STEAL(a->peers);
        run_job(s, job, NET_JOB_PEERS, 0);
}

static void carry_out(struct net_shell *s, struct net_action *a)
{
        ak_telemetry_action(s->telemetry, net_metrics_action_name(a->type));
        switch (a->type) {
        case NET_ACTION_PUBLISH:
                publish(s, a->publish.message, a->publish.retain);
                break;
        case NET_ACTION_FORGET:
                forget(s, a->topic);
                break;
        case NET_ACTION_PREPARE:
                prepare(s, a);
                break;
        case NET_ACTION_RELEASE:
                release(s, a);
                break;
        case NET_ACTION_PEERS:
                set_peers(s, a);
                break;
        case NET_ACTION_SWEEP:
                run_job(s, net_job_new(NET_JOB_SWEEP, ""), NET_JOB_SWEEP, 0);
                break;
        case NET_ACTION_WAKE:
                wake_at(s, a->wake_us);
                break;
        }
}

static void step(struct net_shell *s, const struct net_event *event)
{
        uint64_t now_us = ak_clock_monotonic_us(), real_us = ak_clock_realtime_us();
        struct net_actions actions = {0};

        if (s->journal)
                ak_journal_event(s->journal, now_us, real_us, net_event_to_json(event));
        int r = net_core_step(s->core, event, now_us, real_us, &actions);
        if (s->journal)
                ak_journal_actions(s->journal, now_us, net_actions_to_json(&actions));
        if (r < 0)
                ak_log(AK_LOG_ERROR, "step_failed", "error", strerror(-r), NULL);
        for (size_t i = 0; i < actions.count; i++)
                carry_out(s, &actions.items[i]);
        net_actions_clear(&actions);
        ak_telemetry_event(s->telemetry, net_metrics_event_name(event->type),
                           ak_clock_monotonic_us() - now_us);
}

/* ------------------------------------------------------------------ events */

/* Preparing and releasing are steps of a NIC, told with the trace of the wish that they serve. */
static void tell_step(struct net_shell *s, const struct net_job *job)
{
        const struct net_port_key *key = job->spec ? &job->spec->key : &job->key;
        struct ak_step step = {.name = job->type == NET_JOB_PREPARE ? "port" : "release",
                               .pod = key->pod_uid,
                               .port = key->port_id,
                               .took_us = job->took_us,
                               .failure = job->error < 0 ? job->text.reason : NULL};
        char topic_key[2 * AK_UUID_SIZE];

        net_metrics_job(&s->metrics, job);
        if (job->type != NET_JOB_PREPARE && job->type != NET_JOB_RELEASE)
                return;
        (void)snprintf(topic_key, sizeof(topic_key), "%s/%s", key->pod_uid, key->port_id);
        step.trace = zhashx_lookup(s->traces, topic_key);
        ak_telemetry_step(s->telemetry, &step);
}

static void on_done(void *arg, struct net_job *job)
{
        struct net_shell *s = arg;
        struct net_event event = {0};

        tell_step(s, job);

        if (job->error < 0)
                ak_log(AK_LOG_WARN, "backend_failed", "port",
                       job->spec             ? job->spec->key.port_id
                       : job->key.port_id[0] ? job->key.port_id
                                             : NULL,
                       "reason", job->text.reason, "message", job->text.message, NULL);
        if (job->type == NET_JOB_INVENTORY && job->error == 0) {
                event.type = NET_EVENT_INVENTORY;
                event.inventory.ports = job->inventory.ports;
                event.inventory.count = job->inventory.count;
                step(s, &event);
        } else if (job->type == NET_JOB_PREPARE || job->type == NET_JOB_RELEASE) {
                event.type = job->type == NET_JOB_PREPARE ? NET_EVENT_PREPARED : NET_EVENT_RELEASED;
                event.done.op = job->op;
                event.done.error = job->error;
                event.done.prepared = job->prepared;
                event.done.text = job->text;
                step(s, &event);
        }
        net_job_free(job);
}

static void handle_backend_event(struct net_shell *s, const struct vpc_event *e)
{
        static const struct {
                enum net_event_type type;
                const char *log;
        } losses[] = {
            [VPC_EVENT_PORT_LOST] = {NET_EVENT_PORT_LOST, "port_lost"},
            [VPC_EVENT_SUBNET_LOST] = {NET_EVENT_SUBNET_LOST, "subnet_lost"},
            [VPC_EVENT_DHCP_LOST] = {NET_EVENT_DHCP_LOST, "dhcp_server_lost"},
        };
        struct net_event event = {0};

        if (e->type == VPC_EVENT_RESYNC) {
                ak_log(AK_LOG_WARN, "kernel_events_lost", "remedy", "inventory", NULL);
                net_metrics_loss(&s->metrics, "kernel_event");
                run_job(s, net_job_new(NET_JOB_INVENTORY, ""), NET_JOB_INVENTORY, 0);
                return;
        }
        ak_log(AK_LOG_WARN, losses[e->type].log, "id", e->id, NULL);
        net_metrics_loss(&s->metrics, net_metrics_event_name(losses[e->type].type));
        event.type = losses[e->type].type;
        memcpy(event.port_id, e->id, sizeof(event.port_id)); /* shares its place with subnet_id */
        step(s, &event);
}

static int on_backend(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct net_shell *s = arg;
        struct vpc_event event;

        (void)loop;
        (void)item;
        while (s->backend->ops->next_event(s->backend, &event) == 1)
                handle_backend_event(s, &event);
        return 0;
}

static void refused(struct net_shell *s, const struct ak_bus_frame *frame, const char *error)
{
        uint32_t suppressed;

        ak_telemetry_refused(s->telemetry, frame->publisher);
        if (ak_ratelimit_pass(&s->bad_messages, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "message_refused", "publisher", frame->publisher, "topic", frame->topic,
                       "error", error, "suppressed", AK_FMT("%u", suppressed), NULL);
}

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        struct net_shell *s = arg;
        int r = ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error);

        if (r == -ENOENT)
                return; /* of a later version */
        if (r < 0) {
                refused(s, frame, error[0] ? error : strerror(-r));
                return;
        }
        if (m->type == ak_message_nic_diff && frame->trace[0] && zhashx_size(s->traces) < MAX_TRACES)
                zhashx_update(s->traces, key_of(frame->topic), (void *)frame->trace);
        step(s, &(struct net_event){.type = NET_EVENT_MESSAGE, .message = m});
}

static void on_peer_epoch(void *arg, const char *peer, uint64_t epoch)
{
        struct net_event event = {.type = NET_EVENT_PEER};

        event.peer.name = peer;
        event.peer.epoch = epoch;
        step(arg, &event);
}

/* ------------------------------------------------------------------ making */

static int complain(int code, const char *option, const char *text)
{
        ak_log(AK_LOG_ERROR, "cannot_start", "option", option, "error", text, NULL);
        return code;
}

static int find_node(const struct net_options *o, char node[AK_LEN_NAME + 1])
{
        if (o->node_name)
                (void)snprintf(node, AK_LEN_NAME + 1, "%s", o->node_name);
        else if (gethostname(node, AK_LEN_NAME) < 0)
                return complain(1, "node-name", "the host has no name");
        if (!net_node_valid(node))
                return complain(
                    2, "node-name",
                    AK_FMT("\"%.100s\": must be a DNS-1123 name of at most %d bytes", node, NET_NODE_MAX));
        return 0;
}

static int make_ovn(struct vpc_backend **out, const char *node, const struct net_options *o)
{
        struct net_error error = {0};
        struct ovn_options options = {.node = node,
                                      .nb = o->ovn_nb,
                                      .ovs = o->ovs_db,
                                      .lease_seconds = (uint32_t)(o->dhcp_lease / 1000000),
                                      .encap_ip = o->vtep,
                                      .anti_spoofing = o->anti_spoofing};
        int r = vpc_ovn_new(out, &options, &error);

        return r < 0 ? complain(r == -EINVAL ? 2 : 1, "backend", error.message) : 0;
}

static int make_backend(struct vpc_backend **out, const char *node, const struct net_options *o)
{
        struct net_error error = {0};

        if (strcmp(o->backend, "fake") == 0)
                return vpc_fake_new(out, o->state_dir) < 0 ? complain(1, "backend", "out of memory") : 0;
        if (strcmp(o->backend, "ovn") == 0)
                return make_ovn(out, node, o);
        struct bridge_options b = {.node = node,
                                   .state_dir = o->state_dir,
                                   .dnsmasq_path = o->dnsmasq_path,
                                   .lease_seconds = (uint32_t)(o->dhcp_lease / 1000000),
                                   .anti_spoofing = o->anti_spoofing,
                                   .vtep = o->vtep,
                                   .keep_bridge_nf_call = strcmp(o->bridge_nf_call, "keep") == 0};
        int r = vpc_bridge_new(out, &b, &error);
        return r < 0 ? complain(r == -EINVAL ? 2 : 1, "backend", error.message) : 0;
}

static int make_core(struct net_shell *s, const struct net_options *o)
{
        struct net_core_config config = {.seed = ak_clock_realtime_us(),
                                         .fabric_mtu = (uint32_t)o->mtu,
                                         .max_ports = (uint32_t)o->max_ports};

        if (net_core_new(&s->core, &config) < 0)
                return complain(1, NULL, "out of memory");
        if (!o->journal)
                return 0;
        int r = ak_journal_new(&s->journal, o->journal, "network", net_core_config_to_json(&config), 0);
        return r < 0 ? complain(1, "journal", AK_FMT("%s: %s", o->journal, strerror(-r))) : 0;
}

static int make_bus(struct net_shell *s, const struct net_options *o)
{
        struct ak_bus_options options = {.dir = o->bus_dir,
                                         .name = "network",
                                         .net = &o->net,
                                         .roles = ak_bus_roles,
                                         .may_publish = ak_message_may_publish};
        struct ak_bus_handler handler = {.on_message = on_message, .on_peer_epoch = on_peer_epoch, .arg = s};
        int r = ak_bus_new(&s->bus, s->loop, &options, &handler);

        if (r == -EPERM)
                return complain(1, "bus-dir", AK_FMT("%s must be ours and of mode 0700", o->bus_dir));
        if (r == -EADDRINUSE)
                return complain(1, "bus-dir", AK_FMT("another network service runs in %s", o->bus_dir));
        return r < 0 ? complain(1, "bus-dir", AK_FMT("%s: %s", o->bus_dir, strerror(-r))) : 0;
}

/* Before the first message is heard: what the core answers rests on what the host has. */
static int take_inventory(struct net_shell *s)
{
        struct net_error error = {0};
        struct net_event event = {.type = NET_EVENT_INVENTORY};
        struct vpc_inventory inventory = {0};

        if (s->backend->ops->inventory(s->backend, &inventory, &error) < 0)
                return complain(1, "backend", error.message);
        ak_log(AK_LOG_INFO, "inventory", "node", s->node, "ports", AK_FMT("%zu", inventory.count), NULL);
        event.inventory.ports = inventory.ports;
        event.inventory.count = inventory.count;
        step(s, &event);
        free(inventory.ports);
        return 0;
}

static int subscribe(struct net_shell *s)
{
        int r = ak_bus_subscribe(s->bus, "watcher", "nic.diff/");

        if (r == 0)
                r = ak_bus_subscribe(s->bus, "watcher", "subnet.peers/");
        if (r == 0)
                r = ak_bus_subscribe(s->bus, "hypervisor", "nic.status/");
        return r < 0 ? complain(1, "bus-dir", strerror(-r)) : 0;
}

static int watch_fds(struct net_shell *s)
{
        zmq_pollitem_t backend = {.fd = s->backend->ops->event_fd(s->backend), .events = ZMQ_POLLIN};

        if (backend.fd >= 0 && zloop_poller(s->loop, &backend, on_backend, s) < 0)
                return complain(1, NULL, "cannot watch descriptors");
        return 0;
}

static void *dup_text(const void *text)
{
        return strdup(text);
}

static void free_text(void **text)
{
        free(*text);
        *text = NULL;
}

static int make_base(struct net_shell *s, const struct net_options *o)
{
        zsys_handler_set(NULL); /* signals are ours */
        s->loop = zloop_new();
        s->traces = zhashx_new();
        if (!s->loop || !s->traces)
                return complain(1, NULL, "out of memory");
        zhashx_set_duplicator(s->traces, dup_text);
        zhashx_set_destructor(s->traces, free_text);
        return find_node(o, s->node);
}

static int on_drops_timer(zloop_t *loop, int timer, void *arg)
{
        struct net_shell *s = arg;

        (void)loop;
        (void)timer;
        if (net_core_port_count(s->core) > 0)
                net_drops_look(&s->drops, s->backend, s->core);
        return 0;
}

static void collect(void *arg)
{
        struct net_shell *s = arg;

        ak_metric_set(s->metrics.ports, NULL, (double)net_core_port_count(s->core));
        ak_metric_set(s->metrics.queued, AK_LABELS("workers"), (double)net_workers_waiting(s->workers));
        net_metrics_drops(&s->metrics, s->backend);
}

static int make_telemetry(struct net_shell *s, const struct net_options *o)
{
        struct ak_telemetry_options options = {
            .service = "network", .node = s->node, .metrics = o->metrics, .otlp = o->otlp};

        if (ak_telemetry_new(&s->telemetry, s->loop, &options) < 0)
                return 1;
        net_metrics_init(&s->metrics, ak_telemetry_metrics(s->telemetry));
        (void)ak_metrics_on_collect(ak_telemetry_metrics(s->telemetry), collect, s);
        ak_telemetry_bus(s->telemetry, s->bus);
        return 0;
}

static int make_parts(struct net_shell *s, const struct net_options *o)
{
        int code = make_base(s, o);

        if (code == 0)
                code = make_core(s, o);
        if (code == 0)
                code = make_bus(s, o);
        if (code == 0)
                code = make_backend(&s->backend, s->node, o);
        if (code == 0 &&
            net_workers_new(&s->workers, s->loop, s->backend, (size_t)o->workers, on_done, s) < 0)
                code = complain(1, NULL, "out of memory");
        if (code == 0)
                code = make_telemetry(s, o);
        if (code == 0)
                code = watch_fds(s);
        if (code == 0)
                code = take_inventory(s);
        if (code == 0) {
                net_drops_look(&s->drops, s->backend, s->core); /* what was dropped before is not news */
                (void)zloop_timer(s->loop, DROPS_EVERY_MS, 0, on_drops_timer, s);
        }
        return code == 0 ? subscribe(s) : code;
}

int net_shell_new(struct net_shell **out, const struct net_options *options)
{
        AK_CLEANUP(net_shell_freep) struct net_shell *s = calloc(1, sizeof(*s));

        if (!s)
                return complain(1, NULL, "out of memory");
        s->timer = -1;
        s->bad_messages = (struct ak_ratelimit){.interval_us = 10000000, .burst = 5};
        int code = make_parts(s, options);
        if (code == 0)
                *out = AK_STEAL(s);
        return code;
}

zloop_t *net_shell_loop(struct net_shell *s)
{
        return s->loop;
}

int net_shell_run(struct net_shell *s)
{
        ak_log(AK_LOG_INFO, "started", "node", s->node, "backend", s->backend->ops->name, NULL);
        (void)zloop_start(s->loop);
        ak_log(AK_LOG_INFO, "stopping", "note", "ports and DHCP servers stay", NULL);
        return 0;
}

struct net_shell *net_shell_free(struct net_shell *s)
{
        if (!s)
                return NULL;
        net_workers_free(s->workers);
        ak_telemetry_free(s->telemetry);
        ak_bus_free(s->bus);
        zloop_destroy(&s->loop);
        vpc_backend_free(s->backend);
        net_drops_deinit(&s->drops);
        net_core_free(s->core);
        ak_journal_free(s->journal);
        zhashx_destroy(&s->traces);
        free(s);
        return NULL;
}

int net_teardown(const struct net_options *o)
{
        AK_CLEANUP(vpc_backend_freep) struct vpc_backend *backend = NULL;
        char node[AK_LEN_NAME + 1] = "";
        struct net_error error = {0};
        int code = find_node(o, node);

        if (code == 0)
                code = make_backend(&backend, node, o);
        if (code != 0)
                return code;
        if (backend->ops->teardown(backend, &error) < 0) {
                ak_log(AK_LOG_ERROR, "teardown_failed", "node", node, "reason", error.reason, "message",
                       error.message, NULL);
                return 1;
        }
        ak_log(AK_LOG_INFO, "teardown_done", "node", node, NULL);
        return 0;
}
