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
    {"cidr", &api_schema_cidr, true, "Range that its subnets lie in."},
    {"sourceNAT", &api_schema_bool, false,
     "Let the subnets out to where the node gets, behind the node's addresses; IPv6 the same way; not with "
     "the "
     "ovn backend; changes live."},
};
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
    {"Phase", "string", "", "Ready.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
    {"NAT", "string", "", "Whether its subnets are let out.", 1},
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
    {"cidr6", &api_schema_cidr, false,
     "IPv6 network, a /64; made by the server when a NIC first asks for IPv6. The gateway is its ::1."},
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
    {"CIDR6", "string", "", "Its IPv6 network.", 1},
    {"DHCP", "string", "", "Whether it serves DHCP.", 1},
    {"MTU", "string", "", "MTU.", 1},
    {"VNI", "string", "", "VXLAN network identifier.", 1},
};
static const char *const subnet_short_names[] = {"sn", NULL};
const struct api_kind api_kind_subnet = {
    .group = GROUP,
    .version = "v1",
    .kind = "Subnet",
    .list_kind = "SubnetList",
    .plural = "subnets",
    .singular = "subnet",
    .short_names = subnet_short_names,
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
    {"securityGroups", &security_groups, false,
     "Security groups; none: everything may pass. Changes live; for a port made for a NIC it follows the "
     "NIC."},
    {"ipv6Enabled", &api_schema_bool, false, "Give the port an IPv6 address as well."},
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
    {"cidr6", &api_schema_string, false, "IPv6 network of the subnet, where the port has IPv6."},
    {"gateway6", &api_schema_string, false, "IPv6 gateway of the subnet."},
    {"sourceNAT", &api_schema_bool, false, "As in the VPC."},
    {"securityRules", &api_schema_strings, false,
     "What the security groups come to: in|out, protocol, ports, networks. What none allows is dropped."},
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
    {"Groups", "string", "", "Security groups.", 1},
};
static const char *const port_short_names[] = {"vport", NULL};
const struct api_kind api_kind_port = {
    .group = GROUP,
    .version = "v1",
    .kind = "Port",
    .list_kind = "PortList",
    .plural = "ports",
    .singular = "port",
    .short_names = port_short_names,
    .namespaced = true,
    .has_status = true,
    .schema = &port,
    .columns = port_columns,
    .column_count = AK_ARRAY_SIZE(port_columns),
};

/* ---- SecurityGroup ---- */

static const char *const directions[] = {"ingress", "egress", NULL};
static const struct api_schema direction = {.type = API_TYPE_STRING, .choices = directions};
static const char *const protocols[] = {"any", "tcp", "udp", "icmp", NULL};
static const struct api_schema protocol = {.type = API_TYPE_STRING, .choices = protocols};
static const struct api_schema port_number = {.type = API_TYPE_INT, .min = 1, .max = 65535};
static const struct api_schema description = {.type = API_TYPE_STRING, .max_len = 1024};
static const struct api_field rule_fields[] = {
    {"direction", &direction, false, "ingress (default): begun by others; egress: begun by the VM."},
    {"protocol", &protocol, false, "any (default), tcp, udp or icmp (of both IP versions)."},
    {"port", &port_number, false, "Destination port; all when absent."},
    {"endPort", &port_number, false, "Last port of a range that begins with `port`."},
    {"cidr", &api_schema_cidr, false, "The others; anybody when neither cidr nor group is given."},
    {"group", &api_schema_name, false, "The others: ports of the same VPC in this security group."},
    {"description", &description, false, "For a person."},
};
static const struct api_schema rule =
    API_OBJECT_SCHEMA(rule, API_VPC_PREFIX "SecurityGroupRule", "What may be begun; answers always pass.");
static const struct api_schema rules = {.type = API_TYPE_LIST, .item = &rule, .max_items = AK_MAX_RULES};
static const struct api_field group_spec_fields[] = {
    {"description", &description, false, "For a person."},
    {"rules", &rules, false,
     "What ports of the group may send and get. Ingress: only what a rule allows. Egress: all, unless one of "
     "the port's groups has an egress rule."},
};
static const struct api_schema group_spec =
    API_OBJECT_SCHEMA(group_spec, API_VPC_PREFIX "SecurityGroupSpec", "What may pass.");
static const struct api_field group_status_fields[] = {{"phase", &api_schema_string, false, "Ready."}};
static const struct api_schema group_status =
    API_OBJECT_SCHEMA(group_status, API_VPC_PREFIX "SecurityGroupStatus", "What it is.");
static const struct api_field group_fields[] = {
    COMMON_FIELDS("SecurityGroup"),
    {"spec", &group_spec, false, "What may pass."},
    {"status", &group_status, false, "What it is."},
};
static const struct api_schema group = API_OBJECT_SCHEMA(
    group, API_VPC_PREFIX "SecurityGroup", "Stateful rules for the ports that name it; changes are live.");
static const struct api_column group_columns[] = {
    {"Name", "string", "name", "Name of the security group.", 0},
    {"Rules", "integer", "", "Number of its rules.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
    {"Description", "string", "", "For a person.", 1},
};
static const char *const group_short_names[] = {"sg", NULL};
const struct api_kind api_kind_security_group = {
    .group = GROUP,
    .version = "v1",
    .kind = "SecurityGroup",
    .list_kind = "SecurityGroupList",
    .plural = "securitygroups",
    .singular = "securitygroup",
    .short_names = group_short_names,
    .namespaced = true,
    .has_status = true,
    .schema = &group,
    .columns = group_columns,
    .column_count = AK_ARRAY_SIZE(group_columns),
};

/* ---- all that is served ---- */

const struct api_kind *const api_kinds[] = {
    &api_kind_pod,    &api_kind_node, &api_kind_namespace,      &api_kind_event, &api_kind_vpc,
    &api_kind_subnet, &api_kind_port, &api_kind_security_group, &api_kind_lease,
};
const size_t api_kind_count = AK_ARRAY_SIZE(api_kinds);
