/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/keyed.h"

#define MAX_WISHES 65536

enum {
        CALLS,
        IMAGES,
        CACHE_BYTES,
        CACHE_REMOVED,
        QUEUED,
        OVERFLOWS,
        VMS,
        DOMAINS,
        NICS,
        NICS_READY,
        CONNECTED,
        COUNT
};

static const struct ak_metric_spec specs[COUNT] = {
    [CALLS] = {.name = "alkaid_driver_call_seconds",
               .help = "libvirt calls by name and outcome.",
               .kind = AK_HISTOGRAM,
               .labels = {"call", "outcome"}},
    [IMAGES] = {.name = "alkaid_image_fetches_total",
                .help = "Images looked for or downloaded, by outcome.",
                .kind = AK_COUNTER,
                .labels = {"outcome"}},
    [CACHE_BYTES] = {.name = "alkaid_image_cache_bytes",
                     .help = "Downloads in the image cache, by whether a VM uses them.",
                     .kind = AK_GAUGE,
                     .labels = {"use"}},
    [CACHE_REMOVED] = {.name = "alkaid_image_cache_removed_total",
                       .help = "Downloads thrown away, for their age or for room.",
                       .kind = AK_COUNTER},
    [QUEUED] = {.name = "alkaid_queue_depth",
                .help = "Work that waits.",
                .kind = AK_GAUGE,
                .labels = {"queue"}},
    [OVERFLOWS] = {.name = "alkaid_queue_overflows_total",
                   .help = "Times that events found the queue full; libvirt was read anew.",
                   .kind = AK_COUNTER},
    [VMS] = {.name = "alkaid_hypervisor_vms", .help = "VMs known.", .kind = AK_GAUGE},
    [DOMAINS] = {.name = "alkaid_hypervisor_domains", .help = "Domains in libvirt.", .kind = AK_GAUGE},
    [NICS] = {.name = "alkaid_hypervisor_nics", .help = "NICs known.", .kind = AK_GAUGE},
    [NICS_READY] = {.name = "alkaid_hypervisor_nics_ready",
                    .help = "NICs that the guest's driver has.",
                    .kind = AK_GAUGE},
    [CONNECTED] = {.name = "alkaid_driver_connected", .help = "1 while libvirt answers.", .kind = AK_GAUGE},
};

struct wish {
        char trace[AK_BUS_TRACE_MAX + 1];
        bool told; /* a status, the one below */
        enum ak_nic_state state;
        uint64_t generation, attempt;
        char reason[AK_LEN_REASON + 1];
};

struct hv_metrics {
        struct ak_telemetry *telemetry;
        struct ak_metric *items[COUNT];
        uint64_t removed;        /* images, as told so far */
        struct ak_keyed *wishes; /* "<pod uid>[/<port id>]" -> struct wish */
};

/* ------------------------------------------------------------------ life */

int hv_metrics_new(struct hv_metrics **out, struct ak_telemetry *telemetry)
{
        struct hv_metrics *m = calloc(1, sizeof(*m));

        if (!m)
                return -ENOMEM;
        m->telemetry = telemetry;
        if (ak_keyed_new(&m->wishes, sizeof(struct wish), MAX_WISHES) < 0) {
                free(m);
                return -ENOMEM;
        }
        for (size_t i = 0; i < COUNT; i++)
                m->items[i] = ak_metrics_register(ak_telemetry_metrics(telemetry), &specs[i]);
        *out = m;
        return 0;
}

struct hv_metrics *hv_metrics_free(struct hv_metrics *m)
{
        if (!m)
                return NULL;
        ak_keyed_free(m->wishes);
        free(m);
        return NULL;
}

/* ------------------------------------------------------------------ wishes */

void hv_metrics_wish(struct hv_metrics *m, const char *key, const char *trace)
{
        struct wish *wish = trace[0] ? ak_keyed_get(m->wishes, key) : NULL;

        if (wish)
                (void)snprintf(wish->trace, sizeof(wish->trace), "%s", trace);
}

const char *hv_metrics_trace(const struct hv_metrics *m, const char *key)
{
        const struct wish *wish = ak_keyed_find(m->wishes, key);

        return wish ? wish->trace : "";
}

void hv_metrics_forget(struct hv_metrics *m, const char *key)
{
        ak_keyed_drop(m->wishes, key);
}

/* ------------------------------------------------------------------ events */

static void count_call(struct hv_metrics *m, const struct hv_result *r)
{
        bool ok = r->head.error == HV_OK;
        char key[2 * (AK_LEN_UID + 1)];
        struct ak_step step = {.pod = r->head.pod_uid,
                               .port = r->head.port_id,
                               .took_us = r->head.took_us,
                               .failure = ok ? NULL : hv_error_name(r->head.error)};

        ak_metric_observe(m->items[CALLS],
                          AK_LABELS(hv_op_name(r->head.op), ok ? "ok" : hv_error_name(r->head.error)),
                          (double)r->head.took_us / 1e6);
        if (r->head.op != HV_OP_ATTACH && r->head.op != HV_OP_START)
                return;
        step.name = r->head.op == HV_OP_ATTACH ? "attach" : "start";
        (void)snprintf(key, sizeof(key), "%s%s%s", r->head.pod_uid, r->head.port_id[0] ? "/" : "",
                       r->head.port_id);
        step.trace = hv_metrics_trace(m, key);
        ak_telemetry_step(m->telemetry, &step);
}

void hv_metrics_event(struct hv_metrics *m, const struct hv_event *event)
{
        if (event->type == HV_EVENT_RESULT)
                count_call(m, &event->result);
        else if (event->type == HV_EVENT_IMAGE_DONE)
                ak_metric_add(m->items[IMAGES], AK_LABELS(event->image.path[0] ? "ok" : "failed"), 1);
}

/* Is it what was told last? Remembers it. */
static bool is_repeated(struct wish *wish, const struct ak_nic_status *n)
{
        bool same = wish->told && wish->state == n->state && wish->generation == n->generation &&
                    wish->attempt == n->attempt && strcmp(wish->reason, n->reason) == 0;

        wish->told = true;
        wish->state = n->state;
        wish->generation = n->generation;
        wish->attempt = n->attempt;
        (void)snprintf(wish->reason, sizeof(wish->reason), "%s", n->reason);
        return same;
}

void hv_metrics_nic(struct hv_metrics *m, const char *key, const struct ak_nic_status *n)
{
        struct wish *wish = ak_keyed_get(m->wishes, key);
        struct ak_step step = {.pod = n->pod_uid, .nic = n->nic, .port = n->port_id};

        if (!wish || is_repeated(wish, n))
                return;
        step.trace = wish->trace;
        if (n->state == AK_NIC_READY && n->guest_us) {
                step.name = "guest";
                step.took_us = n->guest_us;
        } else if (n->state == AK_NIC_DETACHED && n->detach_us) {
                step.name = "detach";
                step.took_us = n->detach_us;
        } else if (n->state == AK_NIC_FAILED && n->device_alias[0]) {
                step.name = "guest"; /* attached, and the guest does not take it */
                step.took_us = n->guest_us;
                step.failure = n->reason[0] ? n->reason : "Failed";
        }
        if (step.name)
                ak_telemetry_step(m->telemetry, &step);
}

void hv_metrics_overflow(struct hv_metrics *m)
{
        ak_metric_add(m->items[OVERFLOWS], NULL, 1);
}

static void collect_images(struct hv_metrics *m, struct hv_images *images)
{
        struct hv_image_usage usage;

        if (!images)
                return;
        hv_images_usage(images, &usage);
        ak_metric_set(m->items[CACHE_BYTES], AK_LABELS("vm"), (double)usage.in_use_bytes);
        ak_metric_set(m->items[CACHE_BYTES], AK_LABELS("none"), (double)(usage.bytes - usage.in_use_bytes));
        ak_metric_add(m->items[CACHE_REMOVED], NULL, (double)(usage.removed - m->removed));
        m->removed = usage.removed;
}

void hv_metrics_collect(struct hv_metrics *m, const struct hv_core *core, struct hv_queue *queue,
                        struct hv_images *images)
{
        struct hv_core_stats stats;

        hv_core_stats(core, &stats);
        ak_metric_set(m->items[VMS], NULL, (double)stats.vms);
        ak_metric_set(m->items[DOMAINS], NULL, (double)stats.domains);
        ak_metric_set(m->items[NICS], NULL, (double)stats.nics);
        ak_metric_set(m->items[NICS_READY], NULL, (double)stats.nics_ready);
        ak_metric_set(m->items[CONNECTED], NULL, stats.connected);
        ak_metric_set(m->items[QUEUED], AK_LABELS("events"), (double)hv_queue_count(queue));
        collect_images(m, images);
}
