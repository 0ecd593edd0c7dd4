/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a pod's traces begin. A write that changes what is wished (a create, a change of the spec, a
 * deletion) leaves its traceparent in the annotation API_TRACE_ANNOTATION; the watcher gives it to the bus
 * with the wishes that follow. The annotation is the server's: what a client sends there is put back to what
 * it was, so that a write without effect stays without effect, and `replace` does not cut a trace off. A dry
 * run leaves none.
 */
#include <string.h>

#include "services/apiserver/core_internal.h"

void api_trace_keep(const struct api_kind *kind, const json_t *old, json_t *object)
{
        json_t *was = api_at(old, "metadata.annotations");
        json_t *meta = json_object_get(object, "metadata"), *now = json_object_get(meta, "annotations");
        json_t *value = json_object_get(was, API_TRACE_ANNOTATION);

        if (kind != &api_kind_pod)
                return;
        if (value && !json_is_object(now)) {
                now = json_object();
                (void)json_object_set_new(meta, "annotations", now);
        }
        if (value) {
                (void)json_object_set(now, API_TRACE_ANNOTATION, value);
        } else if (json_object_del(now, API_TRACE_ANNOTATION) == 0 && json_object_size(now) == 0 && !was) {
                (void)json_object_del(meta, "annotations");
        }
}

void api_trace_put(const struct api_txn *t, const struct api_kind *kind, json_t *object)
{
        json_t *meta = json_object_get(object, "metadata"), *annotations;

        if (kind != &api_kind_pod || !t->trace || !*t->trace)
                return;
        annotations = json_copy(json_object_get(meta, "annotations"));
        if (!annotations)
                annotations = json_object();
        (void)json_object_set_new(annotations, API_TRACE_ANNOTATION, json_string(t->trace));
        (void)json_object_set_new(meta, "annotations", annotations);
}
