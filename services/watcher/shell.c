/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/shell.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "libcommon/bus.h"
#include "libcommon/clock.h"
#include "libcommon/journal.h"
#include "libcommon/kube/client.h"
#include "libcommon/kube/informer.h"
#include "libcommon/log.h"
#include "libcommon/netaddr.h"
#include "libcommon/telemetry.h"
#include "services/watcher/lease.h"
#include "services/watcher/metrics.h"
#include "services/watcher/shell_peers.h"

#define USER_AGENT "alkaid-watcher/" ALKAID_VERSION
#define NOISE_US   10000000

struct watcher_shell {
        zloop_t *loop;
        struct watcher_core_config config;
        struct watcher_core *core;
        struct watcher_actions actions; /* of a step; kept for their memory */
        struct ak_bus *bus;
        struct ak_kubeconfig kubeconfig;
        struct ak_kube_client *client;
        struct watcher_lease *lease;
        struct ak_informer *pods, *ports;
        struct watcher_shell_peers *peers;
        struct ak_telemetry *telemetry;
        struct watcher_metrics *metrics;
        uint64_t event_us; /* monotonic; when the event was taken up whose actions are carried out */
        struct ak_journal *journal;
        int timer; /* -1 = none */
        /* Calls that could not even be sent: answered after the step that asked for them. */
        struct watcher_event *refused;
        size_t refused_count, refused_capacity;
        /* The last message, until it is known whether it is the last of those that came together. */
        struct watcher_event held; /* owns its message; NULL = there is none */
        struct ak_ratelimit noise;
};

struct call {
        struct watcher_shell *shell;
        uint64_t op, sent_us;
        enum watcher_call_type type;
        char pod[AK_LEN_UID + 1]; /* UID that the body names; "" = none */
};

static void step(struct watcher_shell *shell, const struct watcher_event *event);

/* ------------------------------------------------------------------ actions */

static void refuse(struct watcher_shell *shell, uint64_t op, int rc)
{
        if (shell->refused_count == shell->refused_capacity) {
                size_t capacity = shell->refused_capacity ? 2 * shell->refused_capacity : 8;
                struct watcher_event *events = reallocarray(shell->refused, capacity, sizeof(*events));
                if (!events) {
                        ak_log(AK_LOG_ERROR, "out_of_memory", NULL);
                        abort();
                }
                shell->refused = events;
                shell->refused_capacity = capacity;
        }
        struct watcher_event *event = &shell->refused[shell->refused_count++];
        *event = (struct watcher_event){.type = WATCHER_EVENT_ANSWER,
                                        .op = op,
                                        .outcome = rc == -EINVAL ? WATCHER_FORBIDDEN : WATCHER_RETRY};
        (void)snprintf(event->text, sizeof(event->text), "not sent: %s", strerror(-rc));
}

static void on_answer(void *arg, const struct ak_kube_response *response)
{
        AK_AUTOFREE struct call *call = arg;
        struct watcher_event event = {
            .type = WATCHER_EVENT_ANSWER, .op = call->op, .outcome = watcher_outcome_of(response)};
        (void)snprintf(event.text, sizeof(event.text), "%s", response->message);
        if (event.outcome == WATCHER_OK && json_is_object(response->body))
                event.object = response->body;
        watcher_metrics_call(call->shell->metrics, call->type, call->pod, event.outcome,
                             ak_clock_monotonic_us() - call->sent_us);
        step(call->shell, &event);
}

static int submit(struct watcher_shell *shell, const struct watcher_action *action)
{
        AK_AUTOFREE char *path = NULL;
        AK_AUTOFREE struct call *call = calloc(1, sizeof(*call));
        struct ak_kube_request request;
        if (!call)
                return -ENOMEM;
        *call = (struct call){
            .shell = shell, .op = action->op, .sent_us = ak_clock_monotonic_us(), .type = action->call};
        const char *uid =
            json_string_value(json_object_get(json_object_get(action->body, "metadata"), "uid"));
        (void)snprintf(call->pod, sizeof(call->pod), "%s", uid ? uid : "");
        int rc = watcher_request_of(action, &request, &path);
        if (rc == 0)
                rc = ak_kube_client_submit(shell->client, &request, on_answer, call);
        if (rc == 0)
                call = NULL;
        return rc;
}

static void publish(struct watcher_shell *shell, const struct watcher_action *action)
{
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len = 0;
        ak_message_topic(action->message, topic);
        int rc = ak_message_encode(action->message, &body, &len);
        if (rc == 0)
                rc = ak_bus_publish(shell->bus, topic, action->trace, body, len, true);
        watcher_metrics_wish(shell->metrics, action->message, action->trace, shell->event_us,
                             ak_clock_monotonic_us());
        if (rc == 0)
                return;
        ak_telemetry_publish_failed(shell->telemetry);
        ak_log(AK_LOG_ERROR, "publish_failed", "topic", topic, "error", strerror(-rc), NULL);
}

static const char *or_null(const char *text)
{
        return text[0] ? text : NULL;
}

static int on_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_shell *shell = arg;
        struct watcher_event event = {.type = WATCHER_EVENT_TICK};
        shell->timer = -1;
        step(shell, &event);
        return 0;
}

static void wake_at(struct watcher_shell *shell, uint64_t at_us)
{
        uint64_t now = ak_clock_monotonic_us();
        uint64_t delay_ms = at_us > now ? (at_us - now + 999) / 1000 : 1;
        if (shell->timer >= 0)
                zloop_timer_end(shell->loop, shell->timer);
        shell->timer = zloop_timer(shell->loop, delay_ms, 1, on_timer, shell);
}

static void execute(struct watcher_shell *shell, const struct watcher_action *action)
{
        int rc;
        ak_telemetry_action(shell->telemetry, watcher_action_type_name(action->type));
        switch (action->type) {
        case WATCHER_ACTION_PUBLISH:
                publish(shell, action);
                break;
        case WATCHER_ACTION_FORGET:
                ak_bus_forget(shell->bus, action->topic);
                watcher_metrics_forget(shell->metrics, action->topic);
                break;
        case WATCHER_ACTION_CALL:
                rc = submit(shell, action);
                if (rc < 0)
                        refuse(shell, action->op, rc);
                break;
        case WATCHER_ACTION_LOG:
                ak_log(action->level, action->event, "pod", or_null(action->pod), "nic", or_null(action->nic),
                       "port", or_null(action->port), "text", or_null(action->text), NULL);
                break;
        case WATCHER_ACTION_WAKE:
                wake_at(shell, action->at_us);
                break;
        }
}

/* ------------------------------------------------------------------ step */

static void step_once(struct watcher_shell *shell, const struct watcher_event *event)
{
        uint64_t now = ak_clock_monotonic_us(), real = ak_clock_realtime_us();
        shell->event_us = now;
        if (shell->journal)
                ak_journal_event(shell->journal, now, real, watcher_event_to_json(event));
        int rc = watcher_core_step(shell->core, event, now, real, &shell->actions);
        if (shell->journal)
                ak_journal_actions(shell->journal, now, watcher_actions_to_json(&shell->actions));
        uint32_t suppressed;
        if (rc < 0 && ak_ratelimit_pass(&shell->noise, now, &suppressed))
                ak_log(AK_LOG_WARN, "event_ignored", "type", watcher_event_type_name(event->type), "error",
                       strerror(-rc), NULL);
        for (size_t i = 0; i < shell->actions.count; i++)
                execute(shell, &shell->actions.items[i]);
        watcher_actions_clear(&shell->actions);
        ak_telemetry_event(shell->telemetry, watcher_event_type_name(event->type),
                           ak_clock_monotonic_us() - now);
}

static void take_held(struct watcher_shell *shell, bool more)
{
        struct watcher_event event = shell->held;
        if (!event.message)
                return;
        shell->held = (struct watcher_event){0};
        event.more = more;
        step_once(shell, &event);
        watcher_event_deinit(&event);
}

static void answer_refused(struct watcher_shell *shell)
{
        while (shell->refused_count > 0) {
                struct watcher_event refused = shell->refused[--shell->refused_count];
                step_once(shell, &refused);
        }
}

static void step(struct watcher_shell *shell, const struct watcher_event *event)
{
        take_held(shell, true);
        step_once(shell, event);
        answer_refused(shell);
}

/* After the last of the messages that came together. */
static void on_taken(void *arg)
{
        struct watcher_shell *shell = arg;
        take_held(shell, false);
        answer_refused(shell);
}

/* ------------------------------------------------------------------ events from the bus */

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct watcher_shell *shell = arg;
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        uint32_t suppressed;
        AK_CLEANUP(ak_message_freep) struct ak_message *message = NULL;
        int rc = ak_message_decode(frame->topic, frame->body, frame->body_len, &message, error);
        if (rc < 0) {
                if (rc != -ENOENT)
                        ak_telemetry_refused(shell->telemetry, frame->publisher);
                if (rc != -ENOENT && ak_ratelimit_pass(&shell->noise, ak_clock_monotonic_us(), &suppressed))
                        ak_log(AK_LOG_WARN, "bad_message", "topic", frame->topic, "from", frame->publisher,
                               "error", error, NULL);
                return;
        }
        take_held(shell, true);
        watcher_metrics_message(shell->metrics, message, ak_clock_monotonic_us());
        shell->held = (struct watcher_event){
            .type = WATCHER_EVENT_MESSAGE, .message = AK_STEAL(message), .epoch = frame->epoch};
        (void)snprintf(shell->held.peer, sizeof(shell->held.peer), "%.63s", frame->publisher);
}

static void on_peer_epoch(void *arg, const char *peer, uint64_t epoch)
{
        struct watcher_event event = {.type = WATCHER_EVENT_PEER, .epoch = epoch};
        (void)snprintf(event.peer, sizeof(event.peer), "%.63s", peer);
        step(arg, &event);
}

static int open_bus(struct watcher_shell *shell, const struct watcher_shell_options *wanted)
{
        static const struct {
                const char *peer, *prefix;
        } topics[] = {
            {"hypervisor", "vm.status/"}, {"hypervisor", "nic.status/"}, {"network", "port.status/"}};
        struct ak_bus_options options = {.dir = wanted->bus_dir,
                                         .name = "watcher",
                                         .net = &wanted->net,
                                         .roles = ak_bus_roles,
                                         .may_publish = ak_message_may_publish};
        struct ak_bus_handler handler = {
            .on_message = on_message, .on_taken = on_taken, .on_peer_epoch = on_peer_epoch, .arg = shell};
        int rc = ak_bus_new(&shell->bus, shell->loop, &options, &handler);
        for (size_t i = 0; rc == 0 && i < AK_ARRAY_SIZE(topics); i++)
                rc = ak_bus_subscribe(shell->bus, topics[i].peer, topics[i].prefix);
        if (rc < 0)
                ak_log(AK_LOG_ERROR, "bus_failed", "dir", wanted->bus_dir, "error", strerror(-rc), NULL);
        return rc;
}

/* ------------------------------------------------------------------ events from the API */

static void object_event(struct watcher_shell *shell, enum watcher_event_type type, json_t *object)
{
        struct watcher_event event = {.type = type, .object = object};
        step(shell, &event);
}

static void pod_put(void *arg, json_t *object)
{
        object_event(arg, WATCHER_EVENT_POD_PUT, object);
}

static void pod_gone(void *arg, json_t *object)
{
        object_event(arg, WATCHER_EVENT_POD_GONE, object);
}

static void pods_synced(void *arg)
{
        object_event(arg, WATCHER_EVENT_PODS_SYNCED, NULL);
}

static void port_put(void *arg, json_t *object)
{
        watcher_shell_peers_own(((struct watcher_shell *)arg)->peers, object, false);
        object_event(arg, WATCHER_EVENT_PORT_PUT, object);
}

static void port_gone(void *arg, json_t *object)
{
        watcher_shell_peers_own(((struct watcher_shell *)arg)->peers, object, true);
        object_event(arg, WATCHER_EVENT_PORT_GONE, object);
}

static void ports_synced(void *arg)
{
        watcher_shell_peers_own_synced(((struct watcher_shell *)arg)->peers);
        object_event(arg, WATCHER_EVENT_PORTS_SYNCED, NULL);
}

static void on_state(void *arg, bool connected, const char *why)
{
        struct watcher_shell *shell = arg;
        watcher_metrics_api(shell->metrics, connected);
        if (connected)
                ak_log(AK_LOG_INFO, "api_connected", NULL);
        else
                ak_log(AK_LOG_WARN, "api_away", "error", why, NULL);
}

static int follow(struct watcher_shell *shell, const char *path, const struct ak_informer_handler *handler,
                  struct ak_informer **out)
{
        AK_AUTOFREE char *selector = NULL;
        if (asprintf(&selector, "spec.nodeName=%s", shell->config.node) < 0) {
                selector = NULL;
                return -ENOMEM;
        }
        struct ak_informer_options options = {
            .path = path, .field_selector = selector, .user_agent = USER_AGENT, .seed = shell->config.seed};
        return ak_informer_new(out, shell->loop, &shell->kubeconfig, &options, handler);
}

static int open_api(struct watcher_shell *shell)
{
        struct ak_informer_handler pods = {
            .put = pod_put, .gone = pod_gone, .synced = pods_synced, .state = on_state, .arg = shell};
        struct ak_informer_handler ports = {
            .put = port_put, .gone = port_gone, .synced = ports_synced, .arg = shell};
        int rc = ak_kube_client_new(&shell->client, shell->loop, &shell->kubeconfig, USER_AGENT);
        if (rc == 0)
                rc = follow(shell, "/api/v1/pods", &pods, &shell->pods);
        if (rc == 0)
                rc = follow(shell, "/apis/vpc.alkaid.io/v1/ports", &ports, &shell->ports);
        if (rc == 0)
                rc = watcher_shell_peers_new(&shell->peers, shell->loop, shell->bus, &shell->kubeconfig,
                                             shell->config.node, shell->config.seed);
        if (rc < 0)
                ak_log(AK_LOG_ERROR, "api_client_failed", "error", strerror(-rc), NULL);
        return rc;
}

/* ------------------------------------------------------------------ life */

static int name_node(struct watcher_core_config *config, const char *name)
{
        char host[256] = "";
        if (!name && gethostname(host, sizeof(host) - 1) == 0)
                name = host;
        for (size_t i = 0; name == host && host[i]; i++)
                if (host[i] >= 'A' && host[i] <= 'Z')
                        host[i] = (char)(host[i] - 'A' + 'a');
        if (!name || !ak_dns1123_subdomain_valid(name)) {
                ak_log(AK_LOG_ERROR, "bad_node_name", "name", name, "remedy",
                       "give --node-name a DNS name in lower case", NULL);
                return -EINVAL;
        }
        (void)snprintf(config->node, sizeof(config->node), "%.253s", name);
        return 0;
}

static int address_node(struct watcher_core_config *config, const char *address)
{
        struct ak_ip ip;
        if (!address) {
                if (watcher_find_address(config->host_ip, sizeof(config->host_ip)) < 0)
                        (void)snprintf(config->host_ip, sizeof(config->host_ip), "127.0.0.1");
                return 0;
        }
        if (ak_ip_parse(address, &ip) < 0) {
                ak_log(AK_LOG_ERROR, "bad_node_ip", "address", address, NULL);
                return -EINVAL;
        }
        (void)snprintf(config->host_ip, sizeof(config->host_ip), "%s", address);
        return 0;
}

static int configure(struct watcher_shell *shell, const struct watcher_shell_options *options)
{
        struct watcher_core_config *config = &shell->config;
        config->nic_slots = options->nic_slots;
        config->max_vms = options->max_pods;
        if (getrandom(&config->seed, sizeof(config->seed), 0) < 0)
                return -errno;
        int rc = name_node(config, options->node_name);
        if (rc == 0)
                rc = address_node(config, options->node_ip);
        if (rc == 0)
                rc = watcher_core_new(&shell->core, config);
        return rc;
}

static int open_journal(struct watcher_shell *shell, const char *path)
{
        if (!path)
                return 0;
        int rc =
            ak_journal_new(&shell->journal, path, "watcher", watcher_core_config_to_json(&shell->config), 0);
        if (rc < 0)
                ak_log(AK_LOG_ERROR, "journal_failed", "file", path, "error", strerror(-rc), NULL);
        return rc;
}

static int read_kubeconfig(struct watcher_shell *shell, const struct watcher_shell_options *options)
{
        char error[AK_KUBECONFIG_ERROR_SIZE] = "";
        int rc = ak_kubeconfig_load(&shell->kubeconfig, options->kubeconfig, options->context, error);
        if (rc < 0)
                ak_log(AK_LOG_ERROR, "bad_kubeconfig", "error", error, "remedy",
                       "give --kubeconfig a file that names the API server and this node's credentials",
                       NULL);
        return rc;
}

static void collect(void *arg)
{
        struct watcher_shell *shell = arg;
        watcher_metrics_collect(shell->metrics, shell->core);
}

static int open_telemetry(struct watcher_shell *shell, const struct watcher_shell_options *wanted)
{
        struct ak_telemetry_options options = {.service = "watcher",
                                               .node = shell->config.node,
                                               .metrics = wanted->metrics,
                                               .otlp = wanted->otlp};
        int rc = ak_telemetry_new(&shell->telemetry, shell->loop, &options);
        if (rc == 0)
                rc = watcher_metrics_new(&shell->metrics, shell->telemetry);
        if (rc == 0)
                (void)ak_metrics_on_collect(ak_telemetry_metrics(shell->telemetry), collect, shell);
        return rc;
}

static int introduce_node(struct watcher_shell *shell)
{
        json_auto_t *node = watcher_node_facts(shell->config.node, shell->config.host_ip,
                                               shell->config.max_vms, shell->config.nic_slots);
        if (!node)
                return -ENOMEM;
        object_event(shell, WATCHER_EVENT_NODE, node);
        return 0;
}

/* The server may have called this node silent: its Node is looked at now, not within the minute. */
static void on_back(void *arg)
{
        (void)introduce_node(arg);
}

static int open_lease(struct watcher_shell *shell, const struct watcher_shell_options *options)
{
        return watcher_lease_new(&shell->lease, shell->loop, shell->client, shell->config.node,
                                 options->lease_interval_us / 1000, on_back, shell);
}

int watcher_shell_new(struct watcher_shell **out, zloop_t *loop, const struct watcher_shell_options *options)
{
        AK_CLEANUP(watcher_shell_freep) struct watcher_shell *shell = calloc(1, sizeof(*shell));
        if (!shell)
                return -ENOMEM;
        shell->loop = loop;
        shell->timer = -1;
        shell->noise = (struct ak_ratelimit){.interval_us = NOISE_US, .burst = 10};
        int rc = configure(shell, options);
        if (rc == 0)
                rc = read_kubeconfig(shell, options);
        if (rc == 0)
                rc = open_journal(shell, options->journal);
        if (rc == 0)
                rc = open_telemetry(shell, options);
        if (rc == 0)
                rc = open_bus(shell, options);
        if (rc == 0)
                ak_telemetry_bus(shell->telemetry, shell->bus);
        if (rc == 0)
                rc = open_api(shell);
        if (rc == 0)
                rc = introduce_node(shell);
        if (rc == 0)
                rc = open_lease(shell, options);
        if (rc < 0)
                return rc;
        ak_log(AK_LOG_INFO, "started", "node", shell->config.node, "address", shell->config.host_ip, "server",
               shell->kubeconfig.server, NULL);
        *out = AK_STEAL(shell);
        return 0;
}

struct watcher_shell *watcher_shell_free(struct watcher_shell *shell)
{
        if (!shell)
                return NULL;
        if (shell->timer >= 0)
                zloop_timer_end(shell->loop, shell->timer);
        watcher_shell_peers_free(shell->peers);
        ak_informer_free(shell->pods);
        ak_informer_free(shell->ports);
        ak_kube_client_free(shell->client);
        watcher_lease_free(shell->lease);
        watcher_metrics_free(shell->metrics);
        ak_telemetry_free(shell->telemetry);
        ak_bus_free(shell->bus);
        watcher_core_free(shell->core);
        watcher_actions_deinit(&shell->actions);
        ak_journal_free(shell->journal);
        ak_kubeconfig_deinit(&shell->kubeconfig);
        free(shell->refused);
        watcher_event_deinit(&shell->held);
        free(shell);
        return NULL;
}

void watcher_shell_stats(const struct watcher_shell *shell, struct watcher_core_stats *out)
{
        watcher_core_stats(shell->core, out);
}
