/* SPDX-License-Identifier: Apache-2.0 */
/* vpc.alkaid.io/v1: VPC, Subnet, Port. docs/architecture.md tells the life of a Port. */
#include "services/apiserver/schema_internal.h"

#include "proto/messages.h"

#define GROUP "vpc.alkaid.io"
#define COMMON_FIELDS(kind_name)                                                                             \
        {"apiVersion", &api_schema_string, false, GROUP "/v1"},                                              \
            {"kind", &api_schema_string, false, kind_name},                                                  \
        {                                                                                                    \
                "metadata", &api_schema_meta, false, "Metadata of the object."                               \
        }

/* ---- VPC ---- */

static const struct api_field vpc_spec_fields[] = {
    {"cidr", &api_schema_cidr, true, "Range that its subnets lie in."}};
static const struct api_schema vpc_spec =
    API_OBJECT_SCHEMA(vpc_spec, API_VPC_PREFIX "VPCSpec", "What it is to be.");
static const struct api_field vpc_status_fields[] = {{"phase", &api_schema_string, false, "Ready."}};
static const struct api_schema vpc_status =
    API_OBJECT_SCHEMA(vpc_status, API_VPC_PREFIX "VPCStatus", "What it is.");
static const struct api_field vpc_fields[] = {
    COMMON_FIELDS("VPC"),
    {"spec", &vpc_spec, true, "What it is to be."},
    {"status", &vpc_status, false, "What it is."},
};
static const struct api_schema vpc =
    API_OBJECT_SCHEMA(vpc, API_VPC_PREFIX "VPC", "A network of its own: packets of two VPCs never meet.");
static const struct api_column vpc_columns[] = {
    {"Name", "string", "name", "Name of the VPC.", 0},
    {"CIDR", "string", "", "Its range.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
};
const struct api_kind api_kind_vpc = {
    .group = GROUP,
    .version = "v1",
    .kind = "VPC",
    .list_kind = "VPCList",
    .plural = "vpcs",
    .singular = "vpc",
    .namespaced = true,
    .has_status = true,
    .schema = &vpc,
    .columns = vpc_columns,
    .column_count = AK_ARRAY_SIZE(vpc_columns),
};

/* ---- Subnet ---- */

static const struct api_schema vni = {.type = API_TYPE_INT, .min = 1, .max = 16777215};
static const struct api_field subnet_spec_fields[] = {
    {"vpc", &api_schema_name, true, "VPC that it belongs to."},
    {"cidr", &api_schema_cidr, true, "Its range, inside the VPC's."},
    {"gateway", &api_schema_ip, false, "Address of the gateway; the first of the range when absent."},
    {"dns", &api_schema_ips, false, "Resolvers handed out by DHCP; the gateway when absent."},
    {"dhcp", &api_schema_bool, false, "Serve DHCP; true by default."},
    {"mtu", &api_schema_mtu, false, "MTU; 1500 by default."},
};
static const struct api_schema subnet_spec =
    API_OBJECT_SCHEMA(subnet_spec, API_VPC_PREFIX "SubnetSpec", "What it is to be.");
static const struct api_field subnet_status_fields[] = {
    {"phase", &api_schema_string, false, "Ready."},
    {"vni", &vni, false, "VXLAN network identifier."},
};
static const struct api_schema subnet_status =
    API_OBJECT_SCHEMA(subnet_status, API_VPC_PREFIX "SubnetStatus", "What it is.");
static const struct api_field subnet_fields[] = {
    COMMON_FIELDS("Subnet"),
    {"spec", &subnet_spec, true, "What it is to be."},
    {"status", &subnet_status, false, "What it is."},
};
static const struct api_schema subnet =
    API_OBJECT_SCHEMA(subnet, API_VPC_PREFIX "Subnet", "A range of addresses and one broadcast domain.");
static const struct api_column subnet_columns[] = {
    {"Name", "string", "name", "Name of the subnet.", 0},
    {"VPC", "string", "", "VPC that it belongs to.", 0},
    {"CIDR", "string", "", "Its range.", 0},
    {"Gateway", "string", "", "Address of the gateway.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
};
const struct api_kind api_kind_subnet = {
    .group = GROUP,
    .version = "v1",
    .kind = "Subnet",
    .list_kind = "SubnetList",
    .plural = "subnets",
    .singular = "subnet",
    .namespaced = true,
    .has_status = true,
    .schema = &subnet,
    .columns = subnet_columns,
    .column_count = AK_ARRAY_SIZE(subnet_columns),
};

/* ---- Port ---- */

static const struct api_field bound_fields[] = {
    {"kind", &api_schema_string, false, "Pod."},
    {"namespace", &api_schema_string, false, "Namespace of the pod."},
    {"name", &api_schema_string, false, "Name of the pod."},
    {"uid", &api_schema_string, false, "UID of the pod."},
    {"nic", &api_schema_string, false, "NIC of the pod."},
};
static const struct api_schema bound =
    API_OBJECT_SCHEMA(bound, API_VPC_PREFIX "PortBinding", "The NIC that uses the port.");
static const struct api_schema slot = {.type = API_TYPE_INT, .min = 0, .max = AK_MAX_NICS};
static const struct api_schema security_groups = {
    .type = API_TYPE_LIST, .item = &api_schema_name, .max_items = 16};
static const struct api_field port_spec_fields[] = {
    {"vpc", &api_schema_name, true, "VPC of the port."},
    {"subnet", &api_schema_name, false, "Subnet of the port; the VPC's default subnet when absent."},
    {"macAddress", &api_schema_mac, false, "MAC; made by the server when absent."},
    {"ipAddresses", &api_schema_ips, false, "Addresses; chosen by the server when absent."},
    {"securityGroups", &security_groups, false, "Security groups."},
    {"nodeName", &api_schema_string, false, "Node of the VM; set by the server."},
    {"boundTo", &bound, false, "The NIC that uses the port; set by the server."},
    {"slot", &slot, false, "Hotplug slot of the NIC, from 0; set by the server."},
    {"autoCreated", &api_schema_bool, false, "Made for a NIC, goes with it; set by the server."},
};
static const struct api_schema port_spec =
    API_OBJECT_SCHEMA(port_spec, API_VPC_PREFIX "PortSpec", "What the port is to be.");
static const char *const port_phases[] = {"Unbound", "Bound", "Releasing", "Released", NULL};
static const struct api_schema port_phase = {.type = API_TYPE_STRING, .choices = port_phases};
static const struct api_field port_status_fields[] = {
    {"phase", &port_phase, false,
     "Unbound, Bound or Releasing; the node says Released once nothing of it is left there."},
    {"vpcID", &api_schema_string, false, "UID of the VPC."},
    {"subnetID", &api_schema_string, false, "UID of the subnet."},
    {"cidr", &api_schema_string, false, "Range of the subnet."},
    {"gateway", &api_schema_string, false, "Gateway of the subnet."},
    {"dns", &api_schema_strings, false, "Resolvers."},
    {"dhcp", &api_schema_bool, false, "The subnet serves DHCP."},
    {"vni", &vni, false, "VXLAN network identifier."},
    {"mtu", &api_schema_mtu, false, "MTU of the subnet."},
};
static const struct api_schema port_status =
    API_OBJECT_SCHEMA(port_status, API_VPC_PREFIX "PortStatus", "What the port is.");
static const struct api_field port_fields[] = {
    COMMON_FIELDS("Port"),
    {"spec", &port_spec, true, "What the port is to be."},
    {"status", &port_status, false, "What it is."},
};
static const struct api_schema port = API_OBJECT_SCHEMA(
    port, API_VPC_PREFIX "Port", "A MAC and addresses in a subnet, to be used by one NIC at a time.");
static const struct api_column port_columns[] = {
    {"Name", "string", "name", "ID of the port.", 0},
    {"Phase", "string", "", "Unbound, Bound or Releasing.", 0},
    {"MAC", "string", "", "MAC.", 0},
    {"Addresses", "string", "", "Addresses.", 0},
    {"Pod", "string", "", "Pod and NIC that use it.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
    {"VPC", "string", "", "VPC.", 1},
    {"Subnet", "string", "", "Subnet.", 1},
    {"Node", "string", "", "Node.", 1},
};
const struct api_kind api_kind_port = {
    .group = GROUP,
    .version = "v1",
    .kind = "Port",
    .list_kind = "PortList",
    .plural = "ports",
    .singular = "port",
    .namespaced = true,
    .has_status = true,
    .schema = &port,
    .columns = port_columns,
    .column_count = AK_ARRAY_SIZE(port_columns),
};

/* ---- all that is served ---- */

const struct api_kind *const api_kinds[] = {
    &api_kind_pod, &api_kind_node,   &api_kind_namespace, &api_kind_event,
    &api_kind_vpc, &api_kind_subnet, &api_kind_port,
};
const size_t api_kind_count = AK_ARRAY_SIZE(api_kinds);
