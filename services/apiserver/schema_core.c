/* SPDX-License-Identifier: Apache-2.0 */
/* Node, Namespace, Event, Lease: as in Kubernetes, as far as they are used here. */
#include "services/apiserver/schema_internal.h"

#define COMMON_FIELDS(kind_name)                                                                             \
        {"apiVersion", &api_schema_string, false, "v1"}, {"kind", &api_schema_string, false, kind_name},     \
        {                                                                                                    \
                "metadata", &api_schema_meta, false, "Metadata of the object."                               \
        }

/* ---- Node ---- */

static const struct api_field taint_fields[] = {
    {"key", &api_schema_string, true, "Key."},
    {"value", &api_schema_string, false, "Value."},
    {"effect", &api_schema_string, true, "NoSchedule, PreferNoSchedule or NoExecute."},
    {"timeAdded", &api_schema_time, false, "When it was put on."},
};
static const struct api_schema taint = API_OBJECT_SCHEMA(taint, API_CORE_PREFIX "Taint", "Keeps pods away.");
static const struct api_schema taints = {.type = API_TYPE_LIST, .item = &taint, .max_items = 64};
static const struct api_field node_spec_fields[] = {
    {"unschedulable", &api_schema_bool, false, "No new pods (kubectl cordon)."},
    {"taints", &taints, false, "Taints."},
    {"podCIDR", &api_schema_string, false, "Kept for clients."},
    {"providerID", &api_schema_string, false, "Kept for clients."},
};
static const struct api_schema node_spec =
    API_OBJECT_SCHEMA(node_spec, API_CORE_PREFIX "NodeSpec", "What the node is to be.");

static const struct api_field address_fields[] = {
    {"type", &api_schema_string, true, "InternalIP or Hostname."},
    {"address", &api_schema_string, true, "Address."},
};
static const struct api_schema address =
    API_OBJECT_SCHEMA(address, API_CORE_PREFIX "NodeAddress", "How the node is reached.");
static const struct api_schema addresses = {
    .type = API_TYPE_LIST, .item = &address, .merge = API_MERGE_BY_KEY, .merge_key = "type", .max_items = 64};

static const struct api_field node_status_fields[] = {
    {"phase", &api_schema_string, false, "Kept for clients."},
    {"capacity", &api_schema_quantities, false, "cpu, memory, pods, alkaid.io/nic-slots."},
    {"allocatable", &api_schema_quantities, false, "Of those, for pods."},
    {"conditions", &api_schema_conditions, false, "Ready and others."},
    {"addresses", &addresses, false, "How the node is reached."},
    {"nodeInfo", &api_schema_string_map, false, "Versions."},
    {"daemonEndpoints", &api_schema_any, false, "Kept for clients."},
    {"images", &api_schema_any, false, "Kept for clients."},
};
static const struct api_schema node_status =
    API_OBJECT_SCHEMA(node_status, API_CORE_PREFIX "NodeStatus", "What the node is.");
static const struct api_field node_fields[] = {
    COMMON_FIELDS("Node"),
    {"spec", &node_spec, false, "What the node is to be."},
    {"status", &node_status, false, "What it is; written by the node."},
};
static const struct api_schema node =
    API_OBJECT_SCHEMA(node, API_CORE_PREFIX "Node", "A machine that runs VMs.");
static const char *const node_short[] = {"no", NULL};
static const struct api_column node_columns[] = {
    {"Name", "string", "name", "Name of the node.", 0},
    {"Status", "string", "", "Ready, NotReady; SchedulingDisabled.", 0},
    {"Roles", "string", "", "Roles of the node.", 0},
    {"Age", "string", "", "Time since it registered.", 0},
    {"Version", "string", "", "Version of its services.", 0},
    {"Internal-IP", "string", "", "Its address.", 1},
    {"Kernel-Version", "string", "", "Its kernel.", 1},
};
const struct api_kind api_kind_node = {
    .group = "",
    .version = "v1",
    .kind = "Node",
    .list_kind = "NodeList",
    .plural = "nodes",
    .singular = "node",
    .short_names = node_short,
    .has_status = true,
    .schema = &node,
    .columns = node_columns,
    .column_count = AK_ARRAY_SIZE(node_columns),
};

/* ---- Namespace ---- */

static const struct api_field ns_spec_fields[] = {
    {"finalizers", &api_schema_strings, false, "Kept for clients."}};
static const struct api_schema ns_spec =
    API_OBJECT_SCHEMA(ns_spec, API_CORE_PREFIX "NamespaceSpec", "What the namespace is to be.");
static const struct api_field ns_status_fields[] = {
    {"phase", &api_schema_string, false, "Active or Terminating."},
    {"conditions", &api_schema_conditions, false, "Kept for clients."},
};
static const struct api_schema ns_status =
    API_OBJECT_SCHEMA(ns_status, API_CORE_PREFIX "NamespaceStatus", "What it is.");
static const struct api_field ns_fields[] = {
    COMMON_FIELDS("Namespace"),
    {"spec", &ns_spec, false, "What the namespace is to be."},
    {"status", &ns_status, false, "What it is."},
};
static const struct api_schema ns =
    API_OBJECT_SCHEMA(ns, API_CORE_PREFIX "Namespace", "A scope for names and for who may do what.");
static const char *const ns_short[] = {"ns", NULL};
static const struct api_column ns_columns[] = {
    {"Name", "string", "name", "Name of the namespace.", 0},
    {"Status", "string", "", "Active or Terminating.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
};
const struct api_kind api_kind_namespace = {
    .group = "",
    .version = "v1",
    .kind = "Namespace",
    .list_kind = "NamespaceList",
    .plural = "namespaces",
    .singular = "namespace",
    .short_names = ns_short,
    .has_status = true,
    .schema = &ns,
    .columns = ns_columns,
    .column_count = AK_ARRAY_SIZE(ns_columns),
};

/* ---- Event ---- */

static const struct api_field reference_fields[] = {
    {"apiVersion", &api_schema_string, false, "API version."},
    {"kind", &api_schema_string, false, "Kind."},
    {"namespace", &api_schema_string, false, "Namespace."},
    {"name", &api_schema_string, false, "Name."},
    {"uid", &api_schema_string, false, "UID."},
    {"resourceVersion", &api_schema_string, false, "Version."},
    {"fieldPath", &api_schema_string, false, "Part of the object, for example spec.nics{eth1}."},
};
static const struct api_schema reference =
    API_OBJECT_SCHEMA(reference, API_CORE_PREFIX "ObjectReference", "Names an object.");
static const struct api_field source_fields[] = {
    {"component", &api_schema_string, false, "Who says it."},
    {"host", &api_schema_string, false, "Node that says it."},
};
static const struct api_schema source =
    API_OBJECT_SCHEMA(source, API_CORE_PREFIX "EventSource", "Who says it.");
static const struct api_field event_fields[] = {
    COMMON_FIELDS("Event"),
    {"involvedObject", &reference, true, "What it is about."},
    {"reason", &api_schema_string, false, "CamelCase."},
    {"message", &api_schema_string, false, "For a person."},
    {"source", &source, false, "Who says it."},
    {"firstTimestamp", &api_schema_time, false, "First time."},
    {"lastTimestamp", &api_schema_time, false, "Last time."},
    {"count", &api_schema_count, false, "How often."},
    {"type", &api_schema_string, false, "Normal or Warning."},
    {"eventTime", &api_schema_any, false, "Kept for clients."},
    {"series", &api_schema_any, false, "Kept for clients."},
    {"action", &api_schema_string, false, "Kept for clients."},
    {"related", &reference, false, "Another object."},
    {"reportingComponent", &api_schema_string, false, "Who says it."},
    {"reportingInstance", &api_schema_string, false, "Node that says it."},
};
static const struct api_schema event =
    API_OBJECT_SCHEMA(event, API_CORE_PREFIX "Event", "Something that happened to an object.");
static const char *const event_short[] = {"ev", NULL};
static const struct api_column event_columns[] = {
    {"Last Seen", "string", "", "Time since it last happened.", 0},
    {"Type", "string", "", "Normal or Warning.", 0},
    {"Reason", "string", "", "CamelCase.", 0},
    {"Object", "string", "", "What it is about.", 0},
    {"Message", "string", "", "For a person.", 0},
    {"Source", "string", "", "Who says it.", 1},
    {"Count", "string", "", "How often.", 1},
    {"Name", "string", "name", "Name of the event.", 1},
};
const struct api_kind api_kind_event = {
    .group = "",
    .version = "v1",
    .kind = "Event",
    .list_kind = "EventList",
    .plural = "events",
    .singular = "event",
    .short_names = event_short,
    .namespaced = true,
    .schema = &event,
    .columns = event_columns,
    .column_count = AK_ARRAY_SIZE(event_columns),
};

/* ---- Lease ---- */

static const struct api_schema lease_duration = {.type = API_TYPE_INT, .min = 1, .max = INT32_MAX};
static const struct api_field lease_spec_fields[] = {
    {"holderIdentity", &api_schema_string, false, "Who holds it."},
    {"leaseDurationSeconds", &lease_duration, false, "How long it is good after renewTime."},
    {"acquireTime", &api_schema_time, false, "When its holder got it."},
    {"renewTime", &api_schema_time, false, "When its holder last renewed it."},
    {"leaseTransitions", &api_schema_count, false, "How often it went from one holder to the next."},
    {"strategy", &api_schema_string, false, "Kept for clients."},
    {"preferredHolder", &api_schema_string, false, "Kept for clients."},
};
static const struct api_schema lease_spec =
    API_OBJECT_SCHEMA(lease_spec, API_LEASE_PREFIX "LeaseSpec", "Who holds the lease, and until when.");
static const struct api_field lease_fields[] = {
    COMMON_FIELDS("Lease"),
    {"spec", &lease_spec, false, "Who holds it, and until when."},
};
static const struct api_schema lease =
    API_OBJECT_SCHEMA(lease, API_LEASE_PREFIX "Lease", "Something that one at a time may hold.");
static const struct api_column lease_columns[] = {
    {"Name", "string", "name", "Name of the lease.", 0},
    {"Holder", "string", "", "Who holds it.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
};
const struct api_kind api_kind_lease = {
    .group = "coordination.k8s.io",
    .version = "v1",
    .kind = "Lease",
    .list_kind = "LeaseList",
    .plural = "leases",
    .singular = "lease",
    .namespaced = true,
    .schema = &lease,
    .columns = lease_columns,
    .column_count = AK_ARRAY_SIZE(lease_columns),
};
