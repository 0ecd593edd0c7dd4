/* SPDX-License-Identifier: Apache-2.0 */
/* A small table of kinds for the tests of discovery and OpenAPI: one of each sort. */
#include "libcommon/cleanup.h"
#include "services/apiserver/schema.h"

static const struct api_schema text = {.type = API_TYPE_STRING, .max_len = 253};
static const struct api_schema moment = {.type = API_TYPE_TIME};
static const struct api_schema quantity = {.type = API_TYPE_QUANTITY};
static const struct api_schema quantities = {.type = API_TYPE_MAP, .item = &quantity};
static const struct api_schema labels = {.type = API_TYPE_MAP, .item = &text};
static const struct api_schema mtu = {.type = API_TYPE_INT, .min = 68, .max = 65535};
static const struct api_schema anything = {.type = API_TYPE_ANY};
static const struct api_schema percent = {.type = API_TYPE_INT_OR_STRING};
static const struct api_schema finalizers = {.type = API_TYPE_LIST, .item = &text, .merge = API_MERGE_SET};
static const char *const policies[] = {"Always", "Never", NULL};
static const struct api_schema policy = {.type = API_TYPE_STRING, .choices = policies};

static const struct api_field meta_fields[] = {
    {"name", &text, false, "Name of the object."},
    {"namespace", &text, false, NULL},
    {"creationTimestamp", &moment, false, NULL},
    {"annotations", &labels, false, NULL},
    {"labels", &labels, false, NULL},
    {"finalizers", &finalizers, false, NULL},
};
static const struct api_schema meta = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    .fields = meta_fields,
    .field_count = AK_ARRAY_SIZE(meta_fields),
};

static const struct api_field nic_fields[] = {
    {"name", &text, true, "Name of the NIC."},
    {"mtu", &mtu, false, NULL},
};
static const struct api_schema nic = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.api.core.v1.Nic",
    .doc = "A NIC of a VM.",
    .fields = nic_fields,
    .field_count = AK_ARRAY_SIZE(nic_fields),
};
static const struct api_schema nics = {
    .type = API_TYPE_LIST,
    .item = &nic,
    .max_items = 64,
    .merge = API_MERGE_BY_KEY,
    .merge_key = "name",
};

static const struct api_schema node_tree;
static const struct api_schema node_trees = {.type = API_TYPE_LIST, .item = &node_tree};
static const struct api_field tree_fields[] = {{"children", &node_trees, false, NULL}};
static const struct api_schema node_tree = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.api.core.v1.Tree",
    .fields = tree_fields,
    .field_count = AK_ARRAY_SIZE(tree_fields),
};

static const struct api_schema strategy = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.api.core.v1.Strategy",
    .merge = API_MERGE_RETAIN_KEYS,
};

static const struct api_field spec_fields[] = {
    {"nics", &nics, false, "NICs that the VM should have."},
    {"imagePullPolicy", &policy, false, NULL},
    {"limits", &quantities, false, NULL},
    {"tree", &node_tree, false, NULL},
    {"strategy", &strategy, false, "How."},
    {"anything", &anything, false, NULL},
    {"percent", &percent, false, NULL},
};
static const struct api_schema spec = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.api.core.v1.PodSpec",
    .fields = spec_fields,
    .field_count = AK_ARRAY_SIZE(spec_fields),
};

static const struct api_field pod_fields[] = {
    {"apiVersion", &text, false, NULL},
    {"kind", &text, false, NULL},
    {"metadata", &meta, false, "Metadata of the pod."},
    {"spec", &spec, true, "What is wanted."},
};
static const struct api_schema pod_schema = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.api.core.v1.Pod",
    .doc = "A VM pod.",
    .fields = pod_fields,
    .field_count = AK_ARRAY_SIZE(pod_fields),
};

static const struct api_field bare_fields[] = {
    {"apiVersion", &text, false, NULL},
    {"kind", &text, false, NULL},
    {"metadata", &meta, false, NULL},
};
static const struct api_schema node_schema = {
    .type = API_TYPE_OBJECT,
    .name = "io.k8s.api.core.v1.Node",
    .fields = bare_fields,
    .field_count = AK_ARRAY_SIZE(bare_fields),
};
static const struct api_schema vpc_schema = {
    .type = API_TYPE_OBJECT,
    .name = "io.alkaid.vpc.v1.VPC",
    .fields = bare_fields,
    .field_count = AK_ARRAY_SIZE(bare_fields),
};

static const char *const po[] = {"po", NULL};
static const char *const all[] = {"all", NULL};
static const char *const pod_subresources[] = {"attach", "log", "binding", "proxy", NULL};

static const struct api_kind pod = {
    .group = "",
    .version = "v1",
    .kind = "Pod",
    .list_kind = "PodList",
    .plural = "pods",
    .singular = "pod",
    .short_names = po,
    .categories = all,
    .namespaced = true,
    .has_status = true,
    .subresources = pod_subresources,
    .schema = &pod_schema,
};
static const struct api_kind node = {
    .group = "",
    .version = "v1",
    .kind = "Node",
    .list_kind = "NodeList",
    .plural = "nodes",
    .singular = "node",
    .schema = &node_schema,
};
static const struct api_kind vpc = {
    .group = "vpc.alkaid.io",
    .version = "v1",
    .kind = "VPC",
    .list_kind = "VPCList",
    .plural = "vpcs",
    .singular = "vpc",
    .namespaced = true,
    .schema = &vpc_schema,
};

const struct api_kind *const api_kinds[] = {&pod, &node, &vpc};
const size_t api_kind_count = AK_ARRAY_SIZE(api_kinds);
