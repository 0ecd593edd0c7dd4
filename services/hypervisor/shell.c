/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can wake the reactor: the bus, the queue (driver events and answers, images), the core's timer,
 * signals (libcommon/service.h). Each becomes one event for the core, whose actions are carried out at once.
 */
#include "services/hypervisor/shell.h"

#include <czmq.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/bus.h"
#include "libcommon/clock.h"
#include "libcommon/journal.h"
#include "libcommon/log.h"
#include "libcommon/netaddr.h"
#include "libcommon/telemetry.h"
#include "services/hypervisor/accel.h"
#include "services/hypervisor/console.h"
#include "services/hypervisor/images.h"
#include "services/hypervisor/metrics.h"
#include "services/hypervisor/queue.h"
#include "services/hypervisor/workers.h"

#define MAX_QUEUE 65536
/* From the fetch of an image to the disk made over it; the ports' time comes on top. */
#define CACHE_KEEP_US (UINT64_C(600) * 1000 * 1000)

struct hv_shell {
        char node[AK_LEN_NAME + 1];
        char images_dir[PATH_MAX], vms_dir[PATH_MAX];
        zloop_t *loop;
        int timer;
        struct hv_core *core;
        struct hv_actions actions;
        struct ak_journal *journal;
        struct ak_bus *bus;
        struct hv_queue *queue;
        const struct hv_driver_ops *ops;
        struct hv_driver *driver;
        struct hv_workers *workers;
        struct hv_images *images;
        struct hv_console *console;
        struct ak_telemetry *telemetry;
        struct hv_metrics *metrics;
        struct ak_ratelimit bad_messages;
};

static void step(struct hv_shell *s, const struct hv_event *event);

/* "nic.diff/<pod>/<port>" -> "<pod>/<port>" */
static const char *key_of(const char *topic)
{
        const char *slash = strchr(topic, '/');

        return slash ? slash + 1 : "";
}

/* ------------------------------------------------------------------ actions */

/* What is said again is no news. */
static enum ak_log_level level_of(bool failed, bool repeated)
{
        if (repeated)
                return AK_LOG_DEBUG;
        return failed ? AK_LOG_WARN : AK_LOG_INFO;
}

static void log_nic(const struct ak_nic_status *n, bool repeated)
{
        ak_log(level_of(n->state == AK_NIC_FAILED, repeated), "nic_status", "pod", n->pod_uid, "nic",
               n->nic[0] ? n->nic : NULL, "port", n->port_id, "state", ak_nic_state_name(n->state), "reason",
               n->reason[0] ? n->reason : NULL, "message", n->message[0] ? n->message : NULL, "attach_us",
               n->attach_us ? AK_FMT("%llu", (unsigned long long)n->attach_us) : NULL, "guest_us",
               n->guest_us ? AK_FMT("%llu", (unsigned long long)n->guest_us) : NULL, "detach_us",
               n->detach_us ? AK_FMT("%llu", (unsigned long long)n->detach_us) : NULL, NULL);
}

static bool is_over(enum ak_vm_phase phase)
{
        return phase == AK_VM_PHASE_ABSENT || phase == AK_VM_PHASE_SHUTOFF || phase == AK_VM_PHASE_CRASHED ||
               phase == AK_VM_PHASE_FAILED;
}

static void note_published(struct hv_shell *s, const char *topic, const struct ak_message *m, bool repeated)
{
        if (m->type == ak_message_nic_status) {
                log_nic(&m->nic_status, repeated);
                hv_metrics_nic(s->metrics, key_of(topic), &m->nic_status);
        } else if (m->type == ak_message_vm_status) {
                const struct ak_vm_status *v = &m->vm_status;

                ak_log(level_of(v->phase == AK_VM_PHASE_FAILED, repeated), "vm_status", "pod", v->pod_uid,
                       "phase", ak_vm_phase_name(v->phase), "reason", v->reason[0] ? v->reason : NULL,
                       "message", v->message[0] ? v->message : NULL, NULL);
                if (is_over(v->phase))
                        hv_console_vm_gone(s->console, v->pod_uid, ak_vm_phase_name(v->phase));
                else
                        hv_console_vm_here(s->console, v->pod_uid);
        }
}

static void publish(struct hv_shell *s, const struct ak_message *m, bool repeated)
{
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len;
        int r;

        ak_message_topic(m, topic);
        r = ak_message_encode(m, &body, &len);
        if (r == 0)
                r = ak_bus_publish(s->bus, topic, hv_metrics_trace(s->metrics, key_of(topic)), body, len,
                                   true);
        if (r < 0) {
                ak_telemetry_publish_failed(s->telemetry);
                ak_log(AK_LOG_ERROR, "publish_failed", "topic", topic, "error", strerror(-r), NULL);
        }
        note_published(s, topic, m, repeated);
}

static void forget(struct hv_shell *s, const char *topic)
{
        ak_bus_forget(s->bus, topic);
        hv_metrics_forget(s->metrics, key_of(topic));
        if (strncmp(topic, "vm.status/", 10) == 0)
                hv_workers_drop(s->workers, key_of(topic));
}

static int on_timer(zloop_t *loop, int timer, void *arg)
{
        struct hv_event event = {.type = HV_EVENT_TICK};
        struct hv_shell *s = arg;

        (void)loop;
        (void)timer;
        s->timer = -1;
        step(s, &event);
        return 0;
}

static void wake_at(struct hv_shell *s, uint64_t at_us)
{
        uint64_t now = ak_clock_monotonic_us();
        uint64_t delay_ms = at_us > now ? (at_us - now + 999) / 1000 : 1;

        if (s->timer >= 0)
                (void)zloop_timer_end(s->loop, s->timer);
        s->timer = zloop_timer(s->loop, delay_ms, 1, on_timer, s);
}

static void fail_action(const char *what)
{
        ak_log(AK_LOG_ERROR, "action_failed", "action", what, "error", "out of memory or threads", NULL);
}

static void carry_out(struct hv_shell *s, struct hv_action *a)
{
        ak_telemetry_action(s->telemetry, hv_action_type_name(a->type));
        switch (a->type) {
        case HV_ACTION_PUBLISH:
                publish(s, a->message, a->repeated);
                break;
        case HV_ACTION_FORGET:
                forget(s, a->topic);
                break;
        case HV_ACTION_CONNECT:
        case HV_ACTION_LIST:
        case HV_ACTION_DRIVER:
                if (hv_workers_run(s->workers, a) < 0)
                        fail_action(hv_action_type_name(a->type));
                break;
        case HV_ACTION_FETCH_IMAGE:
                hv_images_fetch(s->images, a->image);
                break;
        case HV_ACTION_WAKE:
                wake_at(s, a->at_us);
                break;
        }
}

static void step(struct hv_shell *s, const struct hv_event *event)
{
        uint64_t now = ak_clock_monotonic_us(), real = ak_clock_realtime_us();
        int r;

        if (s->journal)
                ak_journal_event(s->journal, now, real, hv_event_to_json(event));
        r = hv_core_step(s->core, event, now, real, &s->actions);
        if (s->journal)
                ak_journal_actions(s->journal, now, hv_actions_to_json(&s->actions));
        if (r < 0)
                ak_log(AK_LOG_ERROR, "step_failed", "event", hv_event_type_name(event->type), "error",
                       r == -ENOSPC ? "too many VMs or NICs; see --max-vms" : strerror(-r), NULL);
        for (size_t i = 0; i < s->actions.count; i++)
                carry_out(s, &s->actions.items[i]);
        hv_actions_clear(&s->actions);
        ak_telemetry_event(s->telemetry, hv_event_type_name(event->type), ak_clock_monotonic_us() - now);
}

/* ------------------------------------------------------------------ events */

static int on_queue(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct hv_event event, lost = {.type = HV_EVENT_DISCONNECTED};
        struct hv_shell *s = arg;

        (void)loop;
        (void)item;
        while (hv_queue_pop(s->queue, &event)) {
                hv_metrics_event(s->metrics, &event);
                step(s, &event);
                hv_event_deinit(&event);
        }
        if (hv_queue_overflowed(s->queue)) {
                ak_log(AK_LOG_ERROR, "queue_overflow", NULL);
                hv_metrics_overflow(s->metrics);
                step(s, &lost);
        }
        return 0;
}

static void refused(struct hv_shell *s, const struct ak_bus_frame *frame, const char *error)
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
        struct hv_shell *s = arg;
        int r = ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error);

        if (r == -ENOENT)
                return;
        if (r < 0) {
                refused(s, frame, error[0] ? error : strerror(-r));
                return;
        }
        if (m->type == ak_message_nic_diff || m->type == ak_message_vm_diff)
                hv_metrics_wish(s->metrics, key_of(frame->topic), frame->trace);
        step(s, &(struct hv_event){.type = HV_EVENT_MESSAGE, .message = m});
}

/* ------------------------------------------------------------------ making */

static int complain(int code, const char *option, const char *text)
{
        ak_log(AK_LOG_ERROR, "cannot_start", "option", option, "error", text, NULL);
        return code;
}

static int make_state_dir(struct hv_shell *s, const struct hv_options *o)
{
        int n = snprintf(s->images_dir, sizeof(s->images_dir), "%s/images", o->state_dir);

        (void)snprintf(s->vms_dir, sizeof(s->vms_dir), "%s/vms", o->state_dir);
        if (o->state_dir[0] != '/' || n > HV_LEN_PATH - 100)
                return complain(2, "state-dir", "must be an absolute path of at most 900 bytes");
        if (mkdir(o->state_dir, 0711) < 0 && errno != EEXIST)
                return complain(1, "state-dir", AK_FMT("%s: %s", o->state_dir, strerror(errno)));
        return 0;
}

static int check_lists(const struct hv_options *o)
{
        for (size_t i = 0; i < o->image_dir.count; i++) {
                if (o->image_dir.items[i][0] != '/')
                        return complain(2, "image-dir",
                                        AK_FMT("%s: must be absolute", o->image_dir.items[i]));
        }
        for (size_t i = 0; i < o->image_mirror.count; i++) {
                if (hv_image_mirror_check(o->image_mirror.items[i]) < 0)
                        return complain(2, "image-mirror",
                                        AK_FMT("%s: must be HOST=http(s)://… or HOST=/directory",
                                               o->image_mirror.items[i]));
        }
        return 0;
}

static int make_driver(struct hv_shell *s, const struct hv_options *o)
{
        struct hv_driver_options d = {.node = s->node,
                                      .uri = o->libvirt_uri,
                                      .state_dir = o->state_dir,
                                      .emulator = o->emulator,
                                      .on_event = hv_queue_push_copy,
                                      .arg = s->queue};
        bool fake = strcmp(o->driver, "fake") == 0;
        char why[HV_ACCEL_TEXT_SIZE];
        int r;

        if (fake) {
                d.accel = "tcg";
                s->ops = &hv_driver_fake_ops;
                return hv_driver_fake_new(&s->driver, &d) < 0 ? complain(1, "driver", "out of memory") : 0;
        }
        r = hv_accel_choose(o->accel, o->emulator ? o->emulator : "/usr/bin/qemu-system-x86_64", o->state_dir,
                            &d.accel, why);
        if (r < 0)
                return complain(1, "accel", why[0] ? why : strerror(-r));
        ak_log(AK_LOG_INFO, "accel", "accel", d.accel, "why", why[0] ? why : NULL, NULL);
        s->ops = &hv_driver_libvirt_ops;
        return hv_driver_libvirt_new(&s->driver, &d) < 0 ? complain(1, "driver", "out of memory") : 0;
}

static int make_core(struct hv_shell *s, const struct hv_options *o)
{
        struct hv_core_config config = {.seed = ak_clock_realtime_us(),
                                        .max_vms = o->max_vms,
                                        .boot_wait_us = o->boot_wait,
                                        .guest_wait_us = o->guest_wait,
                                        .unplug_wait_us = o->unplug_wait,
                                        .default_memory = o->default_memory};
        int r;

        (void)snprintf(config.node, sizeof(config.node), "%s", s->node);
        if (hv_core_new(&s->core, &config) < 0)
                return complain(1, NULL, "out of memory");
        if (!o->journal)
                return 0;
        r = ak_journal_new(&s->journal, o->journal, "hypervisor", hv_core_config_to_json(&config), 0);
        return r < 0 ? complain(1, "journal", AK_FMT("%s: %s", o->journal, strerror(-r))) : 0;
}

static int make_images(struct hv_shell *s, const struct hv_options *o)
{
        struct hv_image_store store = {.dir = s->images_dir,
                                       .allowed = o->image_dir,
                                       .mirrors = o->image_mirror,
                                       .max_bytes = o->image_max_size,
                                       .max_virtual_bytes = o->image_max_virtual_size,
                                       .vms_dir = s->vms_dir,
                                       .cache_max_bytes = o->image_cache_size,
                                       .cache_max_age_us = o->image_cache_age,
                                       .cache_keep_us = o->boot_wait + CACHE_KEEP_US};
        int r = hv_images_new(&s->images, &store, s->queue);

        return r < 0 ? complain(1, "state-dir", AK_FMT("%s: %s", s->images_dir, strerror(-r))) : 0;
}

static int make_bus(struct hv_shell *s, const struct hv_options *o)
{
        struct ak_bus_options options = {.dir = o->bus_dir,
                                         .name = "hypervisor",
                                         .net = &o->net,
                                         .roles = ak_bus_roles,
                                         .may_publish = ak_message_may_publish};
        struct ak_bus_handler handler = {.on_message = on_message, .arg = s};
        int r = ak_bus_new(&s->bus, s->loop, &options, &handler);

        if (r == 0)
                r = ak_bus_subscribe(s->bus, "watcher", "vm.diff/");
        if (r == 0)
                r = ak_bus_subscribe(s->bus, "watcher", "nic.diff/");
        if (r == 0)
                r = ak_bus_subscribe(s->bus, "network", "port.status/");
        if (r == 0)
                ak_telemetry_bus(s->telemetry, s->bus);
        if (r == -EPERM)
                return complain(1, "bus-dir", AK_FMT("%s must be ours and of mode 0700", o->bus_dir));
        if (r == -EADDRINUSE)
                return complain(1, "bus-dir", AK_FMT("another hypervisor service runs in %s", o->bus_dir));
        return r < 0 ? complain(1, "bus-dir", AK_FMT("%s: %s", o->bus_dir, strerror(-r))) : 0;
}

static int make_console(struct hv_shell *s, const struct hv_options *o)
{
        struct hv_console_options options = {.bus_dir = o->bus_dir,
                                             .shared_dir = o->console_dir,
                                             .state_dir = o->state_dir,
                                             .ops = s->ops,
                                             .driver = s->driver};
        int r = hv_console_new(&s->console, &options);

        return r < 0 ? complain(1, "bus-dir", AK_FMT("console socket: %s", strerror(-r))) : 0;
}

static int watch_fds(struct hv_shell *s)
{
        zmq_pollitem_t queue = {.fd = hv_queue_fd(s->queue), .events = ZMQ_POLLIN};

        if (zloop_poller(s->loop, &queue, on_queue, s) < 0)
                return complain(1, NULL, "cannot watch descriptors");
        return 0;
}

static void collect(void *arg)
{
        struct hv_shell *s = arg;

        hv_metrics_collect(s->metrics, s->core, s->queue, s->images);
}

/* Before the parts that use it; the bus, which comes later, is added by make_bus(). */
static int make_telemetry(struct hv_shell *s, const struct hv_options *o)
{
        struct ak_telemetry_options options = {
            .service = "hypervisor", .node = s->node, .metrics = o->metrics, .otlp = o->otlp};

        if (ak_telemetry_new(&s->telemetry, s->loop, &options) < 0)
                return 1;
        if (hv_metrics_new(&s->metrics, s->telemetry) < 0)
                return complain(1, NULL, "out of memory");
        (void)ak_metrics_on_collect(ak_telemetry_metrics(s->telemetry), collect, s);
        return 0;
}

static int make_base(struct hv_shell *s, const struct hv_options *o)
{
        if (o->node_name)
                (void)snprintf(s->node, sizeof(s->node), "%s", o->node_name);
        else if (gethostname(s->node, sizeof(s->node) - 1) < 0)
                return complain(1, "node-name", "the host has no name");
        if (!ak_dns1123_subdomain_valid(s->node))
                return complain(2, "node-name", AK_FMT("'%s' is not a DNS name in lower case", s->node));
        s->loop = zloop_new();
        if (!s->loop || hv_queue_new(&s->queue, MAX_QUEUE) < 0)
                return complain(1, NULL, "out of memory");
        return make_telemetry(s, o);
}

static int make_parts(struct hv_shell *s, const struct hv_options *o)
{
        int code = make_base(s, o);

        if (code == 0)
                code = check_lists(o);
        if (code == 0)
                code = make_state_dir(s, o);
        if (code == 0)
                code = make_driver(s, o);
        if (code == 0 && hv_workers_new(&s->workers, s->ops, s->driver, s->queue) < 0)
                code = complain(1, NULL, "out of memory");
        if (code == 0)
                code = make_images(s, o);
        if (code == 0)
                code = make_core(s, o);
        if (code == 0)
                code = make_bus(s, o);
        if (code == 0)
                code = make_console(s, o);
        return code == 0 ? watch_fds(s) : code;
}

int hv_shell_new(struct hv_shell **out, const struct hv_options *options)
{
        struct hv_shell *s = calloc(1, sizeof(*s));
        int code;

        if (!s)
                return complain(1, NULL, "out of memory");
        zsys_handler_set(NULL);
        s->timer = -1;
        s->bad_messages = (struct ak_ratelimit){.interval_us = UINT64_C(1000000), .burst = 10};
        code = make_parts(s, options);
        if (code != 0) {
                hv_shell_free(s);
                return code;
        }
        *out = s;
        return 0;
}

struct hv_shell *hv_shell_free(struct hv_shell *s)
{
        if (!s)
                return NULL;
        hv_console_free(s->console);
        hv_images_free(s->images);
        hv_workers_free(s->workers);
        if (s->driver)
                s->ops->free(s->driver);
        hv_metrics_free(s->metrics);
        ak_telemetry_free(s->telemetry);
        ak_bus_free(s->bus);
        zloop_destroy(&s->loop);
        hv_queue_free(s->queue);
        ak_journal_free(s->journal);
        hv_actions_deinit(&s->actions);
        hv_core_free(s->core);
        free(s);
        return NULL;
}

zloop_t *hv_shell_loop(struct hv_shell *s)
{
        return s->loop;
}

int hv_shell_run(struct hv_shell *s)
{
        struct hv_event first = {.type = HV_EVENT_TICK};

        ak_log(AK_LOG_INFO, "started", "node", s->node, "driver", s->ops->name, "version", ALKAID_VERSION,
               NULL);
        step(s, &first);
        (void)zloop_start(s->loop);
        ak_log(AK_LOG_INFO, "stopped", NULL);
        return 0;
}
