/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The apiserver's core: all objects in memory and the rules over them. A request goes in; a response and
 * the changes to make durable come out. No socket, clock, thread or file.
 *
 * The shell loads the store's objects at start, hands in decoded requests one at a time, makes the changes
 * of one or more requests durable in one transaction (group commit), and only then answers the clients and
 * feeds the watchers. The core applies a change to its memory at once, so a later request of the same batch
 * sees it; if the commit fails, the shell must stop (fail-stop: memory is ahead of the disk).
 *
 * resourceVersion: one counter for the whole store; each change takes the next number. Changes of one
 * request are atomic: a pod, its ports, its VPC are written together or not at all.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/image.h"
#include "services/apiserver/schema.h"

struct api_core;

struct api_core_config {
        uint64_t seed; /* randomness for UIDs, MACs, generated names */
        bool auto_create_vpc;
        const char *auto_vpc_cidr; /* CIDR given to a VPC made on the fly, "10.200.0.0/16" style */
        uint32_t nic_slots;        /* hotplug slots per VM, 1..AK_MAX_NICS */
        uint32_t max_objects;      /* 0 = 1,000,000 */
        uint64_t node_grace_us; /* 0 = API_NODE_GRACE_US; a node that renews no lease for so long is silent */
};

int api_core_new(struct api_core **out, const struct api_core_config *config);
struct api_core *api_core_free(struct api_core *core);
AK_DEFINE_CLEANUP(struct api_core *, api_core_free)

/* At start: one stored object. Takes no reference. -EINVAL for what no kind claims. */
int api_core_load(struct api_core *core, const struct api_kind *kind, json_t *object,
                  uint64_t resource_version);
/*
 * At start: the store's counter, which is past every loaded object's when the last change was a deletion. The
 * next change takes a higher number; a lower value than what is known already changes nothing.
 */
void api_core_set_resource_version(struct api_core *core, uint64_t resource_version);
#define API_NODE_LEASES   "kube-node-lease" /* namespace of the nodes' leases */
#define API_NODE_GRACE_US (UINT64_C(40) * 1000 * 1000)
/* After the last load: rebuilds indexes, makes `default`, `kube-system` and API_NODE_LEASES where absent. */
struct api_result;
int api_core_start(struct api_core *core, uint64_t real_us, struct api_result *out);
uint64_t api_core_resource_version(const struct api_core *core);

enum api_verb { API_GET, API_CREATE, API_UPDATE, API_PATCH, API_DELETE, API_DELETE_COLLECTION, API_LIST };

enum api_patch { API_PATCH_STRATEGIC, API_PATCH_MERGE, API_PATCH_JSON };

enum api_field_validation { API_FIELDS_STRICT, API_FIELDS_WARN, API_FIELDS_IGNORE };

struct api_user {
        const char *name;
        const char *const *groups; /* NULL-terminated */
};

/* One change, the newest state and that before (NULL = did not exist). */
typedef void (*api_history_fn)(void *arg, const struct api_image *now, struct api_image *before);
/* The changes that are still known, of those not yet durable as well. */
struct api_history {
        /* Calls for each change of the kind past the version, oldest first. The images live during the
         * request.
         */
        void (*after)(void *arg, const struct api_kind *kind, uint64_t version, api_history_fn visit,
                      void *visit_arg);
        void *arg;
};

/* Traceparent of the write that changed the wish last; the server's own. */
#define API_TRACE_ANNOTATION "alkaid.io/traceparent"

struct api_request {
        enum api_verb verb;
        const struct api_kind *kind;
        const char *name_space;  /* "" = all or cluster-scoped */
        const char *name;        /* "" for create, list */
        const char *subresource; /* "", "status", "binding", … */
        json_t *body;            /* borrowed; NULL where none: object, patch or DeleteOptions */
        enum api_patch patch_type;
        enum api_field_validation field_validation;
        bool dry_run;
        const char *label_selector, *field_selector; /* list, deletecollection; NULL = all */
        uint32_t limit;                              /* list; 0 = all */
        const char *continue_token;                  /* list */
        uint64_t oldest_version;                     /* list: tokens of before have expired; 0 = none has */
        const struct api_history *history;           /* list: for pages of one moment; NULL = of now */
        bool images;                                 /* get, list: the answer may come as images */
        const char *field_manager;
        struct api_user user;
        const char *traceparent; /* of a write; NULL = none: see API_TRACE_ANNOTATION */
        uint64_t real_us;
};

enum api_change_type { API_ADDED, API_MODIFIED, API_DELETED };

struct api_change {
        enum api_change_type type;
        const struct api_kind *kind;
        json_t *object; /* as after the change (for DELETED: the last state, with the deletion's
                           resourceVersion) */
        json_t *old;    /* before it, NULL for ADDED */
        uint64_t resource_version;
        struct api_image *image, *old_image; /* of the two */
};

struct api_result {
        int code;        /* HTTP status */
        json_t *object;  /* object, list or Status */
        char **warnings; /* texts for Warning headers */
        size_t warning_count;
        struct api_change *changes; /* empty for reads, refusals, no-ops and dry runs */
        size_t change_count;
        /* Where the request allows it: the object in place of `object`, or the items of the list in `object`.
         */
        struct api_image *image, **images;
        size_t image_count;
};
void api_result_deinit(struct api_result *r);

/* Answers every request: errors are results (code >= 400, a Status object). Only -ENOMEM is returned. */
int api_core_handle(struct api_core *core, const struct api_request *request, struct api_result *out);
/*
 * Time-driven work: binds unscheduled pods to registered nodes, … (also run after each change that could
 * matter). Changes as in a result. *next_us: when to call again, 0 = not before the next change.
 */
int api_core_tick(struct api_core *core, uint64_t real_us, struct api_result *out, uint64_t *next_us);

/* Parsed selectors, used for lists here and for watches by the shell. */
struct api_selector;
/* NULL texts select everything. -EINVAL with a text that says which requirement is wrong. */
int api_selector_new(struct api_selector **out, const struct api_kind *kind, const char *labels,
                     const char *fields, char error[256]);
struct api_selector *api_selector_free(struct api_selector *s);
AK_DEFINE_CLEANUP(struct api_selector *, api_selector_free)
bool api_selector_matches(const struct api_selector *s, const json_t *object);
bool api_selector_matches_image(const struct api_selector *s, const struct api_image *image);

/* What some kinds' objects, and watches of them, are found by: the values that a selector allows of one of
 * these fields, as the keys of an object (borrowed), and which field that is; NULL = it names none. */
const json_t *api_selector_keys(const struct api_selector *s, int *field);
/* The image's value of that field, "" where it has none; NULL = the kind has no such field. */
const char *api_image_key(const struct api_kind *kind, const struct api_image *image, int field);

/* Whether a port of the VPC is on the node, and whether all VPCs are that these fields of ports select. */
bool api_core_vpc_on_node(const struct api_core *core, const char *vpc, const char *node);
bool api_core_vpcs_on_node(const struct api_core *core, const char *fields, const char *node);

/* meta.k8s.io/v1 Status; field may be NULL. New reference. */
json_t *api_status_failure(int code, const char *reason, const struct api_kind *kind, const char *name,
                           const char *field, const char *message);
/* meta.k8s.io/v1 Table of one object or a list. include_object: "Metadata", "Object" or "None". */
json_t *api_table(const struct api_kind *kind, json_t *object_or_list, const char *include_object,
                  uint64_t real_us);
