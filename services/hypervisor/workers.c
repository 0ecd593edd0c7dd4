/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/workers.h"

#include <czmq.h>
#include <errno.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"

#define DRIVER_ACTOR "" /* key of the actor for connection and inventory */

struct worker {
        const struct hv_driver_ops *ops;
        struct hv_driver *driver;
        struct hv_driver_vm *vm; /* NULL for the driver's own actor */
        struct hv_queue *queue;
        zactor_t *actor;
};

struct hv_workers {
        const struct hv_driver_ops *ops;
        struct hv_driver *driver;
        struct hv_queue *queue;
        zhashx_t *by_uid;
};

/* ------------------------------------------------------------------ in the actor */

static enum hv_error call_vm(const struct worker *w, const struct hv_action *a, struct hv_result *r)
{
        char *text = r->head.text;

        switch (a->op) {
        case HV_OP_START:
                return w->ops->start(w->vm, a->domain, &r->domain, text);
        case HV_OP_SHUTDOWN:
                return w->ops->shutdown(w->vm, text);
        case HV_OP_DESTROY:
                return w->ops->destroy(w->vm, text);
        case HV_OP_SUSPEND:
                return w->ops->suspend(w->vm, text);
        case HV_OP_RESUME:
                return w->ops->resume(w->vm, text);
        case HV_OP_ATTACH:
                return w->ops->attach(w->vm, &a->nic, text);
        case HV_OP_DETACH:
                return w->ops->detach(w->vm, &a->nic, text);
        case HV_OP_SET_LINK:
                return w->ops->set_link(w->vm, &a->nic, text);
        case HV_OP_PROBE:
                return w->ops->probe(w->vm, &a->nic, &r->head.virtio_status, text);
        case HV_OP_INSPECT:
                return w->ops->inspect(w->vm, &r->domain, text);
        case HV_OP_CLEANUP:
                return w->ops->cleanup(w->vm, text);
        case HV_OP_NONE:
                break;
        }
        return HV_ERROR_INVALID;
}

static void log_result(const struct hv_result *r)
{
        enum ak_log_level level = r->head.error == HV_OK ? AK_LOG_INFO : AK_LOG_WARN;

        if (r->head.op == HV_OP_PROBE || r->head.op == HV_OP_INSPECT)
                level = AK_LOG_DEBUG;
        else if (r->head.error == HV_ERROR_NO_DOMAIN || r->head.error == HV_ERROR_NO_DEVICE)
                level = AK_LOG_INFO; /* it went by itself meanwhile */
        ak_log(level, "driver_call", "op", hv_op_name(r->head.op), "pod", r->head.pod_uid, "port",
               r->head.port_id[0] ? r->head.port_id : NULL, "us",
               AK_FMT("%llu", (unsigned long long)r->head.took_us), "error",
               r->head.error == HV_OK ? NULL : hv_error_name(r->head.error), "text",
               r->head.text[0] ? r->head.text : NULL, NULL);
}

static void run_vm(const struct worker *w, const struct hv_action *a, struct hv_event *event)
{
        struct hv_result *r = &event->result;
        uint64_t start = ak_clock_monotonic_us();

        event->type = HV_EVENT_RESULT;
        r->head.op = a->op;
        r->head.id = a->id;
        (void)snprintf(r->head.pod_uid, sizeof(r->head.pod_uid), "%s", a->pod_uid);
        (void)snprintf(r->head.port_id, sizeof(r->head.port_id), "%s", a->nic.port_id);
        r->head.error = call_vm(w, a, r);
        r->head.took_us = ak_clock_monotonic_us() - start;
        log_result(r);
}

static void run_connect(const struct worker *w, struct hv_event *event)
{
        event->type = HV_EVENT_CONNECTED;
        event->result.head.error = w->ops->connect(w->driver, event->result.head.text);
        ak_log(event->result.head.error == HV_OK ? AK_LOG_INFO : AK_LOG_WARN, "driver_connect", "driver",
               w->ops->name, "error",
               event->result.head.error == HV_OK ? NULL : hv_error_name(event->result.head.error), "text",
               event->result.head.text[0] ? event->result.head.text : NULL, NULL);
}

static void run_list(const struct worker *w, struct hv_event *event)
{
        event->type = HV_EVENT_LISTED;
        event->result.head.error =
            w->ops->list(w->driver, &event->domains, &event->domain_count, event->result.head.text);
        if (event->result.head.error != HV_OK)
                ak_log(AK_LOG_WARN, "driver_list", "error", hv_error_name(event->result.head.error), "text",
                       event->result.head.text, NULL);
}

static void run(const struct worker *w, struct hv_action *a)
{
        struct hv_event event = {0};

        if (a->type == HV_ACTION_CONNECT)
                run_connect(w, &event);
        else if (a->type == HV_ACTION_LIST)
                run_list(w, &event);
        else
                run_vm(w, a, &event);
        hv_domain_spec_free(a->domain);
        free(a);
        hv_queue_push(w->queue, &event);
}

/* A job is a pointer in a frame of its size; any other frame is the end. */
static void actor(zsock_t *pipe, void *arg)
{
        struct worker *w = arg;

        (void)zsock_signal(pipe, 0);
        for (;;) {
                zframe_t *frame = zframe_recv(pipe);
                struct hv_action *job = NULL;

                if (frame && zframe_size(frame) == sizeof(void *))
                        memcpy((void *)&job, zframe_data(frame), sizeof(void *));
                zframe_destroy(&frame);
                if (!job)
                        break;
                run(w, job);
        }
}

/* ------------------------------------------------------------------ in the reactor */

static void worker_destroy(void **item)
{
        struct worker *w = *item;

        zactor_destroy(&w->actor);
        if (w->vm)
                w->ops->vm_close(w->vm);
        free(w);
        *item = NULL;
}

int hv_workers_new(struct hv_workers **out, const struct hv_driver_ops *ops, struct hv_driver *driver,
                   struct hv_queue *queue)
{
        struct hv_workers *workers = calloc(1, sizeof(*workers));

        if (!workers)
                return -ENOMEM;
        workers->ops = ops;
        workers->driver = driver;
        workers->queue = queue;
        workers->by_uid = zhashx_new();
        if (!workers->by_uid) {
                free(workers);
                return -ENOMEM;
        }
        zhashx_set_destructor(workers->by_uid, worker_destroy);
        *out = workers;
        return 0;
}

struct hv_workers *hv_workers_free(struct hv_workers *workers)
{
        if (!workers)
                return NULL;
        zhashx_destroy(&workers->by_uid);
        free(workers);
        return NULL;
}

static struct worker *make_worker(struct hv_workers *workers, const char *uid)
{
        struct worker *w = calloc(1, sizeof(*w));

        if (!w)
                return NULL;
        *w = (struct worker){.ops = workers->ops, .driver = workers->driver, .queue = workers->queue};
        if (strcmp(uid, DRIVER_ACTOR) != 0)
                w->vm = w->ops->vm_open(w->driver, uid);
        if (strcmp(uid, DRIVER_ACTOR) == 0 || w->vm)
                w->actor = zactor_new(actor, w);
        if (!w->actor) {
                if (w->vm)
                        w->ops->vm_close(w->vm);
                free(w);
                return NULL;
        }
        (void)zhashx_insert(workers->by_uid, uid, w);
        return w;
}

int hv_workers_run(struct hv_workers *workers, struct hv_action *action)
{
        const char *uid = action->type == HV_ACTION_DRIVER ? action->pod_uid : DRIVER_ACTOR;
        struct worker *w = zhashx_lookup(workers->by_uid, uid);
        struct hv_action *job = calloc(1, sizeof(*job));
        zframe_t *frame;

        if (!w)
                w = make_worker(workers, uid);
        if (!w || !job) {
                free(job);
                return -ENOMEM;
        }
        *job = *action;
        action->domain = NULL;
        frame = zframe_new(&job, sizeof(void *));
        if (frame && zframe_send(&frame, w->actor, 0) == 0)
                return 0;
        zframe_destroy(&frame);
        hv_domain_spec_free(job->domain);
        free(job);
        return -ENOMEM;
}

void hv_workers_drop(struct hv_workers *workers, const char *pod_uid)
{
        zhashx_delete(workers->by_uid, pod_uid);
}
