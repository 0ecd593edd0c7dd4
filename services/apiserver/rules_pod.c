/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of pods: defaults, what may change, deletion with grace, binding to a node. */
#include <errno.h>
#include <string.h>

#include "proto/messages.h"
#include "services/apiserver/core_internal.h"

#define GRACE_DEFAULT_S 30
#define MIN_MEMORY      (INT64_C(16) << 20)
#define MAX_MEMORY      (INT64_C(16) << 40)
#define MAX_CPU_MILLI   (512 * 1000)

static void set_default(json_t *object, const char *path, json_t *value)
{
        const json_t *at = api_at(object, path);

        if (at && !(json_is_string(at) && !json_string_length(at)))
                json_decref(value);
        else
                (void)api_set(object, path, value);
}

/* The VM as the pod's one container, so that kubectl attach, logs and describe find what they look for. */
static json_t *vm_container(const json_t *pod)
{
        const json_t *vm = api_at(pod, "spec.virtualMachine");

        return json_pack("{s:s, s:s, s:s, s:O*, s:b, s:b}", "name", api_text(vm, "name"), "image",
                         api_text(vm, "image"), "imagePullPolicy", api_text(vm, "imagePullPolicy"),
                         "resources", json_object_get(vm, "resources"), "stdin", 1, "tty", 1);
}

static void present_container(json_t *pod, struct api_causes *causes)
{
        json_t *given = json_array_get(api_at(pod, "spec.containers"), 0), *ours = vm_container(pod), *value;
        const char *key;

        json_object_foreach(given, key, value)
        {
                if (!json_equal(value, json_object_get(ours, key)) &&
                    strncmp(key, "terminationMessage", 18) != 0) {
                        api_cause(
                            causes, API_FORBIDDEN, "spec.containers", NULL,
                            "VM pods are served here: the server presents the VM as the pod's one container; "
                            "leave containers out");
                        break;
                }
        }
        (void)api_set(pod, "spec.containers", json_pack("[o]", ours));
}

/* A quantity in thousandths, in whatever form it came: "500m", 2, 0.5. */
static int amount_of(const json_t *value, int64_t *milli)
{
        double n = json_number_value(value) * 1000;

        if (json_is_string(value))
                return api_quantity_parse(json_string_value(value), milli);
        if (!json_is_number(value) || n < 0 || n > 1e18)
                return -EINVAL;
        *milli = (int64_t)n;
        return 0;
}

static int64_t check_amount(const json_t *pod, const char *path, int64_t min, int64_t max, const char *detail,
                            struct api_causes *causes)
{
        const json_t *value = api_at(pod, path);
        int64_t milli = 0;

        if (value && (amount_of(value, &milli) < 0 || milli < min || milli > max))
                api_cause(causes, API_INVALID, path, value, detail);
        return milli;
}

/* The same amount in another form ("1", 1, 1.0) is no change: the stored form stays. */
static void keep_amounts(const json_t *old, json_t *pod, const char *path)
{
        json_t *amounts = api_at(pod, path), *value;
        const char *key;
        void *tmp;

        json_object_foreach_safe(amounts, tmp, key, value)
        {
                json_t *was = json_object_get(api_at(old, path), key);
                int64_t a, b;

                if (was && amount_of(was, &a) == 0 && amount_of(value, &b) == 0 && a == b)
                        (void)json_object_set(amounts, key, was);
        }
}

struct resource {
        const char *name;
        int64_t min, max; /* thousandths */
        const char *detail;
};

static void check_resource(const json_t *pod, const struct resource *r, struct api_causes *causes)
{
        char limit_path[96], request_path[96];
        int64_t limit, request;

        (void)snprintf(limit_path, sizeof(limit_path), "spec.virtualMachine.resources.limits.%s", r->name);
        (void)snprintf(request_path, sizeof(request_path), "spec.virtualMachine.resources.requests.%s",
                       r->name);
        limit = check_amount(pod, limit_path, r->min, r->max, r->detail, causes);
        request = check_amount(pod, request_path, r->min, r->max, r->detail, causes);
        if (limit && request > limit)
                api_cause(causes, API_INVALID, request_path, api_at(pod, request_path),
                          "must be less than or equal to the limit");
}

static void check_resources(const json_t *pod, struct api_causes *causes)
{
        static const struct resource resources[] = {
            {"cpu", 1, MAX_CPU_MILLI, "must be more than 0 and at most 512 CPUs"},
            {"memory", MIN_MEMORY * 1000, MAX_MEMORY * 1000, "must be from 16Mi to 16Ti"},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(resources); i++)
                check_resource(pod, &resources[i], causes);
}

static void pod_defaults(json_t *pod)
{
        set_default(pod, "spec.restartPolicy", json_string("Always"));
        set_default(pod, "spec.terminationGracePeriodSeconds", json_integer(GRACE_DEFAULT_S));
        set_default(pod, "spec.virtualMachine.imagePullPolicy", json_string("IfNotPresent"));
        set_default(pod, "spec.virtualMachine.powerSpec", json_string("Running"));
        set_default(pod, "spec.virtualMachine.resources.limits.cpu", json_string("1"));
        set_default(pod, "spec.virtualMachine.resources.limits.memory", json_string("256Mi"));
}

static void pod_admit(struct api_txn *t, const json_t *pod)
{
        struct api_causes causes = {0};

        if (api_at(pod, "spec.virtualMachine"))
                return;
        api_cause(
            &causes, API_REQUIRED, "spec.virtualMachine", NULL,
            "VM pods are served here: describe the VM (name, image, resources); containers are not run");
        t->out->code = 422;
        t->out->object = api_status_invalid(&api_kind_pod, api_name(pod), &causes);
        api_causes_deinit(&causes);
}

static void pod_create(struct api_txn *t, json_t *pod, struct api_causes *causes)
{
        if (!*api_text(pod, "spec.vpc"))
                api_cause(causes, API_REQUIRED, "spec.vpc", NULL, "name the VPC of the NICs");
        if (api_causes_any(causes))
                return;
        pod_defaults(pod);
        check_resources(pod, causes);
        present_container(pod, causes);
        (void)json_object_set_new(pod, "status",
                                  json_pack("{s:s, s:s}", "phase", "Pending", "qosClass", "Guaranteed"));
        api_pod_nics_create(t, pod, causes);
}

/* ---- update ---- */

/* Everything in spec but these is fixed once the pod exists. */
static bool may_change(const char *key)
{
        static const char *const free_keys[] = {"nics", "virtualMachine", "containers", "tolerations",
                                                "terminationGracePeriodSeconds"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(free_keys); i++)
                if (strcmp(free_keys[i], key) == 0)
                        return true;
        return false;
}

static void forbid_changes(const json_t *old, const json_t *now, const char *prefix,
                           bool (*allowed)(const char *), struct api_causes *causes)
{
        json_t *all = json_copy((json_t *)old), *unused;
        const char *key;
        char path[160];

        (void)json_object_update_missing(all, (json_t *)now);
        json_object_foreach(all, key, unused)
        {
                const json_t *a = json_object_get(old, key), *b = json_object_get(now, key);

                if (allowed(key) || (!a && !b) || (a && b && json_equal(a, b)))
                        continue;
                (void)snprintf(path, sizeof(path), "%s.%.64s", prefix, key);
                api_cause(causes, API_FORBIDDEN, path, NULL,
                          "pod updates may not change this field; make a new pod instead");
        }
        json_decref(all);
}

static bool vm_may_change(const char *key)
{
        return strcmp(key, "powerSpec") == 0;
}

static void pod_update(struct api_txn *t, const json_t *old, json_t *pod, struct api_causes *causes)
{
        const json_t *primary = json_object_get(api_at(old, "metadata.annotations"), API_PRIMARY_ANNOTATION);

        if (api_causes_any(causes))
                return;
        keep_amounts(old, pod, "spec.virtualMachine.resources.limits");
        keep_amounts(old, pod, "spec.virtualMachine.resources.requests");
        pod_defaults(pod);
        if (primary) {
                char path[96] = "metadata.annotations";
                json_t *annotations = json_copy(api_at(pod, path));
                if (!annotations)
                        annotations = json_object();
                (void)json_object_set(annotations, API_PRIMARY_ANNOTATION, (json_t *)primary);
                (void)api_set(pod, path, annotations);
        }
        /* A client that replaces the pod need not repeat what the scheduler filled in. */
        if (!*api_text(pod, "spec.nodeName") && *api_text(old, "spec.nodeName"))
                (void)api_set(pod, "spec.nodeName", json_incref(api_at(old, "spec.nodeName")));
        forbid_changes(json_object_get(old, "spec"), json_object_get(pod, "spec"), "spec", may_change,
                       causes);
        forbid_changes(api_at(old, "spec.virtualMachine"), api_at(pod, "spec.virtualMachine"),
                       "spec.virtualMachine", vm_may_change, causes);
        present_container(pod, causes);
        if (!api_causes_any(causes))
                api_pod_nics_update(t, old, pod, causes);
}

/* ---- deletion ---- */

static int64_t grace_of(const json_t *pod, const json_t *options)
{
        const json_t *given = json_object_get(options, "gracePeriodSeconds");

        if (json_is_integer(given) && json_integer_value(given) >= 0)
                return json_integer_value(given);
        /* 0 in the spec means "power off at once", not "forget the VM": that only the request may ask for. */
        int64_t grace = json_integer_value(api_at(pod, "spec.terminationGracePeriodSeconds"));
        return grace > 0 ? grace : 1;
}

static bool already_deleting(const json_t *pod, int64_t grace)
{
        return api_is_deleting(pod) &&
               json_integer_value(api_at(pod, "metadata.deletionGracePeriodSeconds")) <= grace;
}

static void pod_remove(struct api_txn *t, const json_t *pod, const json_t *options, bool *finally)
{
        int64_t grace = grace_of(pod, options);
        bool placed = *api_text(pod, "spec.nodeName") != '\0';
        json_t *copy;

        if (!placed || grace == 0) {
                api_release_ports(t, api_uid(pod), NULL);
                return;
        }
        *finally = false;
        if (already_deleting(pod, grace))
                return;
        copy = api_copy(pod);
        (void)api_set(copy, "metadata.deletionTimestamp", api_time(t->real_us + (uint64_t)grace * 1000000));
        (void)api_set(copy, "metadata.deletionGracePeriodSeconds", json_integer(grace));
        (void)api_set(copy, "metadata.generation",
                      json_integer(json_integer_value(api_at(pod, "metadata.generation")) + 1));
        api_trace_put(t, &api_kind_pod, copy);
        api_release_ports(t, api_uid(pod), NULL);
        (void)api_txn_put(t, &api_kind_pod, copy);
}

/* ---- binding ---- */

static json_t *scheduled_condition(const struct api_txn *t)
{
        return json_pack("{s:s, s:s, s:o}", "type", "PodScheduled", "status", "True", "lastTransitionTime",
                         api_time(t->real_us));
}

int api_pod_bind(struct api_txn *t, const json_t *pod, const char *node)
{
        json_t *copy = api_copy(pod), *ports = json_copy(json_object_get(t->core->pod_ports, api_uid(pod)));
        json_t *unused;
        const char *key;

        (void)api_set(copy, "spec.nodeName", json_string(node));
        (void)api_set(copy, "status.conditions", json_pack("[o]", scheduled_condition(t)));
        json_object_foreach(ports, key, unused)
        {
                json_t *port = api_copy(api_find_key(t->core, &api_kind_port, key));

                (void)api_set(port, "spec.nodeName", json_string(node));
                (void)api_txn_put(t, &api_kind_port, port);
        }
        json_decref(ports);
        return api_txn_put(t, &api_kind_pod, copy);
}

void api_handle_binding(struct api_txn *t, const struct api_request *r)
{
        const json_t *pod = api_find(t->core, &api_kind_pod, r->name_space, r->name);
        const char *node = api_text(r->body, "target.name"), *bound = api_text(pod, "spec.nodeName");
        struct api_causes causes = {0};

        if (!pod) {
                api_fail_fmt(t->out, 404, "NotFound", r->kind, r->name, "pods \"%s\" not found", r->name);
                return;
        }
        if (!*node)
                api_cause(&causes, API_REQUIRED, "target.name", NULL, "name the node");
        else if (!api_find(t->core, &api_kind_node, "", node))
                api_cause(&causes, API_NOT_FOUND, "target.name", api_at(r->body, "target.name"), "");
        if (api_causes_any(&causes)) {
                t->out->code = 422;
                t->out->object = api_status_invalid(r->kind, r->name, &causes);
        } else if (*bound || api_is_deleting(pod)) {
                api_fail_fmt(t->out, 409, "Conflict", r->kind, r->name,
                             "Operation cannot be fulfilled on pods/binding \"%s\": pod %s is %s%s", r->name,
                             r->name, *bound ? "already assigned to node " : "being deleted", bound);
        } else if (api_pod_bind(t, pod, node) == 0) {
                t->out->code = 201;
                t->out->object = json_pack("{s:s, s:s, s:{}, s:s}", "kind", "Status", "apiVersion", "v1",
                                           "metadata", "status", "Success");
        }
        api_causes_deinit(&causes);
}

const struct api_rules api_rules_pod = {
    .kind = &api_kind_pod,
    .admit = pod_admit,
    .create = pod_create,
    .update = pod_update,
    .remove = pod_remove,
};
