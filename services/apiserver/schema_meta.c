/* SPDX-License-Identifier: Apache-2.0 */
/* Types that several kinds use: scalars, metadata, conditions. */
#include "services/apiserver/schema_internal.h"

#define TEXT_MAX 262144

const struct api_schema api_schema_string = {.type = API_TYPE_STRING, .max_len = TEXT_MAX};
const struct api_schema api_schema_name = {.type = API_TYPE_STRING, .max_len = 253, .check = api_check_name};
const struct api_schema api_schema_uuid = {.type = API_TYPE_STRING, .max_len = 36, .check = api_check_uuid};
const struct api_schema api_schema_bool = {.type = API_TYPE_BOOL};
const struct api_schema api_schema_int = {.type = API_TYPE_INT};
const struct api_schema api_schema_count = {.type = API_TYPE_INT, .min = 0, .max = INT32_MAX};
const struct api_schema api_schema_time = {.type = API_TYPE_TIME};
const struct api_schema api_schema_any = {.type = API_TYPE_ANY};
const struct api_schema api_schema_strings = {
    .type = API_TYPE_LIST, .item = &api_schema_string, .max_items = 1024};
const struct api_schema api_schema_string_map = {.type = API_TYPE_MAP, .item = &api_schema_string};
const struct api_schema api_schema_ip = {.type = API_TYPE_STRING, .max_len = 45, .check = api_check_ip};
const struct api_schema api_schema_ips = {.type = API_TYPE_LIST, .item = &api_schema_ip, .max_items = 8};
const struct api_schema api_schema_cidr = {.type = API_TYPE_STRING, .max_len = 49, .check = api_check_cidr};
const struct api_schema api_schema_mac = {.type = API_TYPE_STRING, .max_len = 17, .check = api_check_mac};
const struct api_schema api_schema_mtu = {
    .type = API_TYPE_INT, .min = 576, .max = 65535, .doc = "Bytes; 576 (RFC 791) to 65535."};

static const struct api_schema quantity = {.type = API_TYPE_QUANTITY, .max_len = 32};
const struct api_schema api_schema_quantities = {.type = API_TYPE_MAP, .item = &quantity};

static const struct api_schema finalizers = {
    .type = API_TYPE_LIST, .item = &api_schema_string, .merge = API_MERGE_SET, .max_items = 64};

static const struct api_field owner_fields[] = {
    {"apiVersion", &api_schema_string, true, "API version of the owner."},
    {"kind", &api_schema_string, true, "Kind of the owner."},
    {"name", &api_schema_string, true, "Name of the owner."},
    {"uid", &api_schema_string, true, "UID of the owner."},
    {"controller", &api_schema_bool, false, "The owner manages this object."},
    {"blockOwnerDeletion", &api_schema_bool, false,
     "With propagationPolicy Foreground the owner waits for this object."},
};
static const struct api_schema owner =
    API_OBJECT_SCHEMA(owner, API_META_PREFIX "OwnerReference", "An object that this one belongs to.");
static const struct api_schema owners = {
    .type = API_TYPE_LIST, .item = &owner, .merge = API_MERGE_BY_KEY, .merge_key = "uid", .max_items = 64};

static const struct api_schema label_value = {
    .type = API_TYPE_STRING, .max_len = 63, .check = api_check_label_value};
static const struct api_schema labels = {
    .type = API_TYPE_MAP, .item = &label_value, .check_key = api_check_label_key};
static const struct api_schema annotations = {
    .type = API_TYPE_MAP, .item = &api_schema_string, .check_key = api_check_label_key};

static const struct api_field meta_fields[] = {
    {"name", &api_schema_name, false, "Name, unique within the namespace."},
    {"generateName", &api_schema_string, false, "Prefix from which the server makes a name."},
    {"namespace", &api_schema_string, false, "Namespace of the object."},
    {"uid", &api_schema_string, false, "Identity, unique in time and space; set by the server."},
    {"resourceVersion", &api_schema_string, false, "Version of the object; a precondition in updates."},
    {"generation", &api_schema_int, false, "Number of the desired state; set by the server."},
    {"creationTimestamp", &api_schema_time, false, "Set by the server."},
    {"deletionTimestamp", &api_schema_time, false, "When the object will be gone; set by the server."},
    {"deletionGracePeriodSeconds", &api_schema_int, false, "Time to stop in; set by the server."},
    {"labels", &labels, false, "Keys and values to select by."},
    {"annotations", &annotations, false, "Keys and values for tools."},
    {"finalizers", &finalizers, false, "Who must let go before the object is removed."},
    {"ownerReferences", &owners, false, "Objects that this one belongs to."},
    {"managedFields", &api_schema_any, false, "Dropped: field managers are not tracked."},
    {"selfLink", &api_schema_string, false, "Dropped."},
};
const struct api_schema api_schema_meta =
    API_OBJECT_SCHEMA(meta, API_META_PREFIX "ObjectMeta", "Metadata that every object has.");

static const struct api_field condition_fields[] = {
    {"type", &api_schema_string, true, "What the condition tells, for example Ready."},
    {"status", &api_schema_string, true, "True, False or Unknown."},
    {"reason", &api_schema_string, false, "CamelCase."},
    {"message", &api_schema_string, false, "For a person."},
    {"lastTransitionTime", &api_schema_time, false, "When the status last changed."},
    {"lastProbeTime", &api_schema_time, false, "When it was last looked at."},
    {"lastHeartbeatTime", &api_schema_time, false, "When it was last reported."},
    {"observedGeneration", &api_schema_int, false, "Generation that it speaks of."},
};
static const struct api_schema condition =
    API_OBJECT_SCHEMA(condition, API_META_PREFIX "Condition", "One aspect of the state.");
const struct api_schema api_schema_conditions = {.type = API_TYPE_LIST,
                                                 .item = &condition,
                                                 .merge = API_MERGE_BY_KEY,
                                                 .merge_key = "type",
                                                 .max_items = 64};
