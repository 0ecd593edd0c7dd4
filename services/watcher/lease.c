/* SPDX-License-Identifier: Apache-2.0 */
#include "services/watcher/lease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"

#define LEASES         "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
#define LATE_INTERVALS 2
#define LIFE_INTERVALS 4 /* leaseDurationSeconds, for those who look at it */

struct watcher_lease {
        zloop_t *loop;
        struct ak_kube_client *client;
        char *node, *path;
        size_t every_ms;
        int timer; /* -1 = none */
        bool pending, creating, failed;
        uint64_t renewed_us; /* monotonic; 0 = never */
        void (*back)(void *arg);
        void *arg;
};

/* To be patched where it is there, or whole, to be created. */
static json_t *lease_object(const struct watcher_lease *l, bool whole)
{
        char now[AK_RFC3339_SIZE];
        size_t life_s = (l->every_ms * LIFE_INTERVALS + 999) / 1000;
        json_t *spec, *metadata = whole ? json_pack("{s:s}", "name", l->node) : json_object();

        ak_rfc3339_format(ak_clock_realtime_us(), true, now);
        spec = json_pack("{s:s, s:I, s:s}", "holderIdentity", l->node, "leaseDurationSeconds",
                         (json_int_t)life_s, "renewTime", now);
        return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease",
                         "metadata", metadata, "spec", spec);
}

static void renewed(struct watcher_lease *l)
{
        uint64_t now_us = ak_clock_monotonic_us();
        bool late = l->renewed_us && now_us - l->renewed_us > LATE_INTERVALS * 1000 * (uint64_t)l->every_ms;
        bool tell = l->failed || late;

        l->renewed_us = now_us;
        l->failed = false;
        if (tell)
                l->back(l->arg);
}

static void submit(struct watcher_lease *l, bool create);

static void on_answer(void *arg, const struct ak_kube_response *response)
{
        struct watcher_lease *l = arg;
        bool good = response->error == 0 && response->status >= 200 && response->status < 300;

        l->pending = false;
        if (good) {
                renewed(l);
        } else if (response->error == 0 && response->status == 404 && !l->creating) {
                submit(l, true);
        } else {
                if (!l->failed)
                        ak_log(AK_LOG_WARN, "lease_not_renewed", "error", response->message, NULL);
                l->failed = true;
        }
}

static void submit(struct watcher_lease *l, bool create)
{
        json_auto_t *body = lease_object(l, create);
        struct ak_kube_request request = {.verb = create ? AK_KUBE_CREATE : AK_KUBE_MERGE_PATCH,
                                          .path = create ? LEASES : l->path,
                                          .body = body};

        l->creating = create;
        l->pending = body && ak_kube_client_submit(l->client, &request, on_answer, l) == 0;
        l->failed |= !l->pending;
}

static int on_timer(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct watcher_lease *l = arg;

        if (!l->pending)
                submit(l, false);
        return 0;
}

int watcher_lease_new(struct watcher_lease **out, zloop_t *loop, struct ak_kube_client *client,
                      const char *node, size_t every_ms, void (*back)(void *arg), void *arg)
{
        struct watcher_lease *l = calloc(1, sizeof(*l));

        if (!l)
                return -ENOMEM;
        *l = (struct watcher_lease){
            .loop = loop, .client = client, .every_ms = every_ms, .timer = -1, .back = back, .arg = arg};
        l->node = strdup(node);
        if (asprintf(&l->path, LEASES "/%s", node) < 0)
                l->path = NULL;
        if (l->node && l->path)
                l->timer = zloop_timer(loop, every_ms, 0, on_timer, l);
        if (l->timer < 0) {
                (void)watcher_lease_free(l);
                return -ENOMEM;
        }
        submit(l, false);
        *out = l;
        return 0;
}

struct watcher_lease *watcher_lease_free(struct watcher_lease *l)
{
        if (!l)
                return NULL;
        if (l->timer >= 0)
                zloop_timer_end(l->loop, l->timer);
        free(l->node);
        free(l->path);
        free(l);
        return NULL;
}
