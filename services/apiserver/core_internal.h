/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the core. Stored objects are immutable: a change makes a new json_t, since watch events and
 * responses hold references to the old one.
 */
#pragma once

#include <czmq.h>

#include "libcommon/netaddr.h"
#include "services/apiserver/core.h"
#include "services/apiserver/schema_internal.h"

/* ---- errors of one request (status.c) ---- */

/* What is wrong with an object, as `causes` of a Status; kube's words. */
struct api_causes {
        json_t *list; /* [{reason, message, field}] */
};
void api_causes_deinit(struct api_causes *c);
#define API_REQUIRED      "FieldValueRequired"
#define API_INVALID       "FieldValueInvalid"
#define API_DUPLICATE     "FieldValueDuplicate"
#define API_FORBIDDEN     "FieldValueForbidden"
#define API_NOT_SUPPORTED "FieldValueNotSupported"
#define API_NOT_FOUND     "FieldValueNotFound"
#define API_TOO_MANY      "FieldValueTooMany"
#define API_WRONG_TYPE    "FieldValueTypeInvalid"
/* field "spec.nics[1].name"; value may be NULL; detail is what the remedy is. */
void api_cause(struct api_causes *c, const char *reason, const char *field, const json_t *value,
               const char *detail);
bool api_causes_any(const struct api_causes *c);
/* 422 `Pod "x" is invalid: …`. */
json_t *api_status_invalid(const struct api_kind *kind, const char *name, const struct api_causes *c);

/* Sets the result to a failure; message is copied. */
void api_fail(struct api_result *out, int code, const char *reason, const struct api_kind *kind,
              const char *name, const char *message);
void api_fail_fmt(struct api_result *out, int code, const char *reason, const struct api_kind *kind,
                  const char *name, const char *format, ...) AK_PRINTF(6, 7);
void api_warn(struct api_result *out, const char *text);

/* ---- validation by table (validate.c) ---- */

/*
 * Checks `value` against the schema; unknown fields and nulls are removed from it and the former's paths
 * appended to `unknown` (a JSON array of strings).
 */
void api_validate(const struct api_schema *schema, json_t *value, const char *path, struct api_causes *causes,
                  json_t *unknown);

/* ---- patches (patch_*.c): new reference, or NULL with *error set (a path and what is wrong) ---- */

#define API_ERROR_SIZE 512
json_t *api_patch_strategic(const struct api_schema *schema, const json_t *original, const json_t *patch,
                            char error[API_ERROR_SIZE]);
json_t *api_patch_merge(const json_t *original, const json_t *patch);
json_t *api_patch_json(const json_t *original, const json_t *operations, char error[API_ERROR_SIZE]);

/* ---- objects and indexes (objects.c) ---- */

#define API_KEY_SIZE 512 /* "namespace/name" */

struct api_object {
        char *key;
        struct api_image *image;
};

struct api_table_of_kind {
        struct api_object *items; /* sorted by key */
        size_t count, room;
};

struct api_hot;

struct api_core {
        uint64_t random_state;
        bool auto_create_vpc;
        struct ak_cidr auto_vpc_cidr;
        uint32_t nic_slots;
        uint64_t max_objects;
        uint64_t resource_version;
        uint64_t object_count;
        struct api_table_of_kind *tables; /* one per api_kinds[] */
        struct api_hot *hot;              /* images whose tree is there for now */
        zhashx_t *index; /* "ip/<subnet uid>/<ip>", "mac/<vpc uid>/<mac>", "slot/<pod uid>/<n>" -> port key */
        zhashx_t *fields;    /* "kind/path=value" -> keys, as fields.c has them */
        json_t *pod_ports;   /* pod uid -> {port key: true} */
        json_t *unscheduled; /* pod key -> true */
        json_t *node_pods;   /* node -> what its pods ask for (core_schedule.c) */
        bool schedule_due;   /* a pod waits, or a node changed, since the scheduler last looked */
        json_t *ip_cursors;  /* subnet uid -> index to try next */
        json_t *owned;       /* owner uid -> {"kind number key": flags} */
        json_t *waiting;     /* uid of an owner that waits for its dependents -> "kind number key" */
        json_t *due;         /* of those, uid -> true: to be looked at before the transaction ends */
        json_t *lost;        /* uid of an owner that is gone while a dependent refused to go -> true */
        uint64_t next_retry_us;
        json_t *heard; /* node -> when it renewed its lease last, real time in us */
        uint64_t node_grace_us, nodes_looked_us, next_nodes_us;
        uint64_t next_vni;
        uint64_t next_sweep_us;
};

void api_key(const char *name_space, const char *name, char out[API_KEY_SIZE]);
/* Borrowed; NULL when absent. */
json_t *api_find(const struct api_core *core, const struct api_kind *kind, const char *name_space,
                 const char *name);
json_t *api_find_key(const struct api_core *core, const struct api_kind *kind, const char *key);
const struct api_table_of_kind *api_objects(const struct api_core *core, const struct api_kind *kind);
/* First position whose key is not less than `key`. */
size_t api_lower_bound(const struct api_table_of_kind *t, const char *key);
/* The same where all before `from` is known to be less; what is near is found with few looks. */
size_t api_lower_bound_from(const struct api_table_of_kind *t, size_t from, const char *key);
/* As kept; borrowed, NULL when absent. */
struct api_image *api_find_image(const struct api_core *core, const struct api_kind *kind, const char *key);
/* The object of a place in a table; borrowed. Valid, as everything found, until the request ends. */
json_t *api_tree(const struct api_core *core, const struct api_object *place);
/*
 * Puts an image (of which it takes a reference) or removes (NULL) without a change record; keeps the indexes.
 * -ENOMEM, -ENOSPC.
 */
int api_objects_set(struct api_core *core, const struct api_kind *kind, const char *key,
                    struct api_image *image);
/* NULL when out of memory. */
struct api_image *api_image_of(const struct api_kind *kind, json_t *object, uint64_t resource_version);
/* The value of a field label, "" where there is none; for events also lastTimestamp and creationTimestamp. */
const char *api_image_field(const struct api_kind *kind, const struct api_image *image, const char *path);

/* ---- trees that are there for now (hot.c) ---- */

struct api_hot *api_hot_new(void);
struct api_hot *api_hot_free(struct api_hot *hot);
/* Its tree, decoded where needed; borrowed. It stays at least until the next api_hot_cool(). */
json_t *api_hot_tree(struct api_hot *hot, struct api_image *image);
/* The image has been replaced: its tree is of no further use. */
void api_hot_forget(struct api_hot *hot, struct api_image *image);
/* At the end of a request: drops the trees that have not been used for longest. */
void api_hot_cool(struct api_hot *hot);

/* Key of the port that holds it, or NULL. */
const char *api_index_get(const struct api_core *core, const char *format, ...) AK_PRINTF(2, 3);

/* The one value that a field selector asks of the path; NULL where it does not. */
const char *api_selector_value(const struct api_selector *s, const char *path);
/* All values that it allows there, as the keys of an object; borrowed. NULL where it allows any. */
const json_t *api_selector_values(const struct api_selector *s, const char *path);

const struct api_kind *api_selector_kind(const struct api_selector *s);

/* ---- objects by the value of a field (fields.c) ---- */

/* The object of the table comes, or goes. The key is the table's own. -ENOMEM. */
int api_fields_put(struct api_core *core, const struct api_kind *kind, const char *key,
                   const struct api_image *image);
void api_fields_remove(struct api_core *core, const struct api_kind *kind, const char *key,
                       const struct api_image *image);
bool api_fields_same(const struct api_kind *kind, const struct api_image *a, const struct api_image *b);
/* A superset of what the selector matches, in order. False: every object has to be looked at. */
bool api_fields_find(const struct api_core *core, const struct api_kind *kind, const struct api_selector *s,
                     const char ***keys, size_t *count);
void api_fields_free(void **bucket);

/* ---- changes of one request (txn.c) ---- */

struct api_txn {
        struct api_core *core;
        uint64_t real_us;
        const char *trace;      /* traceparent of the request; NULL = none, and in a dry run */
        uint64_t first_version; /* to roll back to */
        struct api_result *out; /* changes are collected here */
        json_t *gone;           /* [[uid, orphan]]: owners whose dependents are to be looked at */
        json_t *cursors;        /* subnet uid -> ip_cursors before the first allocation; null = none */
};
void api_txn_begin(struct api_txn *t, struct api_core *core, uint64_t real_us, struct api_result *out);
/* Takes `object` (reference stolen, also on failure): gives it the next resourceVersion and stores it. */
int api_txn_put(struct api_txn *t, const struct api_kind *kind, json_t *object);
int api_txn_delete(struct api_txn *t, const struct api_kind *kind, json_t *object);
/* Undoes all changes of the transaction. The result's object stays. */
void api_txn_rollback(struct api_txn *t);
/* To be called before the cursor of a subnet moves. */
void api_txn_keep_cursor(struct api_txn *t, const char *subnet_uid);
/* Frees what the transaction remembers; its changes stay. */
void api_txn_deinit(struct api_txn *t);

/* ---- traces (core_trace.c) ---- */

/* Puts the annotation of a pod back to what it was; old NULL = there was no pod. */
void api_trace_keep(const struct api_kind *kind, const json_t *old, json_t *object);
/* The transaction changes what this pod wishes. */
void api_trace_put(const struct api_txn *t, const struct api_kind *kind, json_t *object);

/* ---- small helpers (object_util.c) ---- */

const char *api_text(const json_t *object, const char *path); /* dotted path; "" where absent */
json_t *api_at(const json_t *object, const char *path);       /* dotted path; NULL where absent */
/* A copy that may be changed, all of it. Strings and numbers, which nobody changes, are shared. */
json_t *api_copy(const json_t *value);
const char *api_name(const json_t *object);
const char *api_namespace(const json_t *object);
const char *api_uid(const json_t *object);
json_t *api_time(uint64_t real_us);
uint64_t api_random(struct api_core *core);
void api_random_uuid(struct api_core *core, char out[AK_UUID_SIZE]);
/* Makes objects along a dotted path so that `value` (stolen) stands at its end. */
int api_set(json_t *object, const char *path, json_t *value);
bool api_is_deleting(const json_t *object);
/* An Event of the apiserver itself about `object`. */
int api_record_event(struct api_txn *t, const json_t *object, const struct api_kind *kind, const char *type,
                     const char *reason, const char *message);

/* ---- rules by kind ---- */

struct api_rules {
        const struct api_kind *kind;
        /* Looks at a new object before its shape is checked, where a better answer than "unknown field" is
         * due. */
        void (*admit)(struct api_txn *t, const json_t *object);
        /* Fills in defaults and checks; may write further objects through the transaction. */
        void (*create)(struct api_txn *t, json_t *object, struct api_causes *causes);
        void (*update)(struct api_txn *t, const json_t *old, json_t *object, struct api_causes *causes);
        /* Status writes: may answer otherwise by filling t->out (code != 0). */
        void (*status)(struct api_txn *t, const json_t *old, json_t *object, struct api_causes *causes);
        /* Before removal: fill t->out to refuse. `*finally` false keeps the object for now (it was written).
         */
        void (*remove)(struct api_txn *t, const json_t *object, const json_t *options, bool *finally);
};
const struct api_rules *api_rules_of(const struct api_kind *kind);

extern const struct api_rules api_rules_pod, api_rules_vpc, api_rules_subnet, api_rules_port,
    api_rules_security_group, api_rules_namespace;

/* ---- allocation (alloc.c) ---- */

/* Makes the VPC and its default subnet where they are missing and allowed. Borrowed; NULL with a cause. */
json_t *api_resolve_subnet(struct api_txn *t, const char *name_space, const char *vpc, const char *subnet,
                           const char *field, const char *vpc_field, struct api_causes *causes);
/*
 * Fills spec.macAddress, spec.ipAddresses and status of a port that is to be stored, from what it asks for
 * or from what is free. Causes name fields below `field` ("spec.nics[1]" or "spec").
 */
void api_allocate_port(struct api_txn *t, json_t *port, const json_t *subnet, const char *field, bool of_nic,
                       struct api_causes *causes);
/* Whether the namespace may have one port more; fills t->out (403) where not. */
#define API_QUOTA_ANNOTATION "vpc.alkaid.io/max-ports"
bool api_port_quota(struct api_txn *t, const char *name_space);
/* Lowest free of the pod's slots, -1 when none. */
int api_free_slot(const struct api_core *core, const char *pod_uid, uint32_t slots);
/* Ports of a pod to phase Releasing: all, or the one named. */
void api_release_ports(struct api_txn *t, const char *pod_uid, const char *port_name);
/* The node has let go: removes a port made for a NIC, unbinds a user's. */
void api_finish_port(struct api_txn *t, const json_t *port);
/* Checks a new subnet and fills in its defaults. */
void api_check_subnet(struct api_txn *t, json_t *subnet, struct api_causes *causes);

/* ---- security groups (groups.c) ---- */

/*
 * A port is about to be stored (now) or removed (now NULL); was: as it is stored, NULL where it is new. Fills
 * in now's status.securityRules and stores other ports whose own change with it. Causes name
 * `field`.securityGroups.
 */
void api_groups_port(struct api_txn *t, const json_t *was, json_t *now, const char *field,
                     struct api_causes *causes);

/* ---- pods ---- */
#define API_GRACE_MAX_S        86400 /* a day; also the bound of spec.terminationGracePeriodSeconds */
#define API_PRIMARY_ANNOTATION "alkaid.io/primary-nic"
void api_pod_nics_create(struct api_txn *t, json_t *pod, struct api_causes *causes);
void api_pod_nics_update(struct api_txn *t, const json_t *old, json_t *pod, struct api_causes *causes);
/* Binds a pod and its ports to a node. */
int api_pod_bind(struct api_txn *t, const json_t *pod, const char *node);
/* POST …/pods/NAME/binding: {target: {name: NODE}}; fills t->out. */
void api_handle_binding(struct api_txn *t, const struct api_request *r);

/* ---- nodes (core_nodes.c, core_schedule.c) ---- */

#define API_NODE_SILENT                                                                                      \
        "NodeStatusUnknown" /* reason of conditions that the server sets for a silent node                   \
                             */
/* A condition by its type; borrowed, NULL when none. */
const json_t *api_condition(const json_t *object, const char *type);
/* After the load: every node has its whole grace. */
void api_nodes_start(struct api_core *core, uint64_t real_us);
/* A write of a node's lease that stays. */
void api_nodes_heard(struct api_core *core, const struct api_request *r);
/* Tells of nodes that have fallen silent, and of their pods. */
void api_nodes_look(struct api_txn *t);
/* When to look next, 0 = no need. */
uint64_t api_nodes_next_us(const struct api_core *core);
/* A pod comes (1) or goes (-1): keeps count of what its node has to bear. */
void api_load_count(struct api_core *core, const json_t *pod, int change);
/* Binds pods that wait to nodes that they fit on. */
void api_schedule(struct api_txn *t);

/* ---- owners (core_owners.c) ---- */

/* Follows every change of an object. */
void api_index_owners(struct api_core *core, const struct api_kind *kind, bool present, const char *key,
                      const json_t *object);
enum api_policy { API_POLICY_BACKGROUND, API_POLICY_FOREGROUND, API_POLICY_ORPHAN };
/* By the DeleteOptions (may be NULL), else by the object's finalizers. */
enum api_policy api_policy_of(const json_t *object, const json_t *options);
/* The object with the finalizers that the policy asks for; new reference, perhaps to the object itself. */
json_t *api_policy_mark(const struct api_core *core, json_t *object, enum api_policy policy);
/* The object is removed, or is to be and lets its dependents be. */
void api_owner_gone(struct api_txn *t, const json_t *object, bool orphan);
/* Something that may hold the owner changed. */
void api_owner_touched(struct api_core *core, const char *uid);
/* Deletes, or takes the reference from, what belonged to the owners that are gone; lets go those that waited.
 * Before the transaction ends. */
void api_collect_dependents(struct api_txn *t);
/* At the end of a transaction that stays: which dependents refused to go. */
void api_owners_remember(struct api_txn *t);
/* Asks them again now and then; before api_collect_dependents(). */
void api_owners_retry(struct api_txn *t);
/* When to do so, 0 = no need. */
uint64_t api_owners_next_us(const struct api_core *core);

/* ---- verbs ---- */
void api_handle_list(struct api_core *core, const struct api_request *r, struct api_result *out);
void api_handle_delete(struct api_txn *t, const struct api_request *r);
/* POST …/pods/NAME/eviction, policy/v1: a deletion with the options that it names. */
void api_handle_eviction(struct api_txn *t, const struct api_request *r);
/* Nothing holds an object that is to go: no finalizer, no grace. */
bool api_is_free(const json_t *object);
/* Removes one object by the rules of its kind; fills t->out. */
void api_delete_object(struct api_txn *t, const struct api_kind *kind, json_t *object, const json_t *options);
