/* SPDX-License-Identifier: Apache-2.0 */
/* Pod: a VM, its NICs, and what the node reports of both. Field names are the platform's. */
#include "services/apiserver/schema_internal.h"

#include "proto/messages.h"

/* ---- spec.nics[] ---- */

static const char *const link_states[] = {"up", "down", NULL};
static const struct api_schema link_state = {.type = API_TYPE_STRING, .choices = link_states};
static const struct api_schema nic_name = {
    .type = API_TYPE_STRING, .max_len = AK_LEN_NIC, .check = api_check_ifname};
static const struct api_schema kbit = {.type = API_TYPE_INT, .min = 1, .max = 100000000};
static const struct api_schema group_names = {
    .type = API_TYPE_LIST, .item = &api_schema_name, .max_items = 16};

static const struct api_field bandwidth_fields[] = {
    {"ingressKbps", &kbit, false, "Towards the VM, in kilobits per second."},
    {"egressKbps", &kbit, false, "From the VM, in kilobits per second."},
};
static const struct api_schema bandwidth =
    API_OBJECT_SCHEMA(bandwidth, API_CORE_PREFIX "NicBandwidth", "Caps on a NIC's traffic.");

static const struct api_field nic_fields[] = {
    {"name", &nic_name, true,
     "Name of the NIC, unique in the pod; an interface name such as eth1. The first NIC declared is the "
     "primary one and cannot be removed."},
    {"subnetName", &api_schema_name, false, "Subnet of the VPC; the VPC's default subnet when absent."},
    {"portId", &api_schema_uuid, false,
     "Port to use. Set by the server to a new port when absent; fixed once set."},
    {"ipAddress", &api_schema_ip, false,
     "Address that the port is to have; one of the subnet's free ones when absent."},
    {"macAddress", &api_schema_mac, false, "MAC that the port is to have; made by the server when absent."},
    {"tag", &api_schema_string, false, "Free text for tools."},
    {"ipv6Enabled", &api_schema_bool, false, "Give the NIC an IPv6 address as well."},
    {"linkState", &link_state, false, "up (default) or down; changes live."},
    {"mtu", &api_schema_mtu, false, "MTU; the subnet's when absent."},
    {"securityGroups", &group_names, false, "Security groups of the port."},
    {"bandwidth", &bandwidth, false, "Caps on the NIC's traffic."},
};
static const struct api_schema nic =
    API_OBJECT_SCHEMA(nic, API_CORE_PREFIX "Nic", "A network interface of the VM.");
static const struct api_schema nics = {
    .type = API_TYPE_LIST,
    .doc = "NICs that the running VM is to have. Adding an entry plugs a NIC in, deleting it plugs it out.",
    .item = &nic,
    .merge = API_MERGE_BY_KEY,
    .merge_key = "name",
    .max_items = AK_MAX_NICS};

/* ---- spec.virtualMachine ---- */

static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};
static const struct api_schema pull_policy = {.type = API_TYPE_STRING, .choices = pull_policies};
static const char *const power_specs[] = {"Running", "Paused", "Shutdown", NULL};
static const struct api_schema power_spec = {.type = API_TYPE_STRING, .choices = power_specs};
static const struct api_schema image = {
    .type = API_TYPE_STRING, .max_len = AK_LEN_IMAGE, .check = api_check_image};
static const struct api_schema sha256 = {.type = API_TYPE_STRING, .max_len = 64, .check = api_check_sha256};
static const struct api_schema user_data = {.type = API_TYPE_STRING, .max_len = 65536};
static const struct api_schema public_key = {.type = API_TYPE_STRING, .max_len = 8191};

static const struct api_field resources_fields[] = {
    {"limits", &api_schema_quantities, false, "cpu and memory of the VM."},
    {"requests", &api_schema_quantities, false, "What the scheduler counts; the limits when absent."},
};
static const struct api_schema resources = API_OBJECT_SCHEMA(
    resources, API_CORE_PREFIX "ResourceRequirements", "Size of the VM; cpu is rounded up to whole vCPUs.");

static const struct api_field vm_fields[] = {
    {"name", &api_schema_name, true, "Name of the VM; the pod's one container carries it."},
    {"image", &image, true,
     "URL of a qcow2 or raw disk image (https where no scheme is given), or a path below a directory that "
     "the node allows."},
    {"imageSha256", &sha256, false, "Digest that the image must have."},
    {"imagePullPolicy", &pull_policy, false, "IfNotPresent (default), Always or Never."},
    {"resources", &resources, false, "Size of the VM."},
    {"keyPairName", &api_schema_string, false, "Name of a key pair, for tools."},
    {"publicKey", &public_key, false, "SSH public key for the guest."},
    {"userData", &user_data, false, "cloud-init user data."},
    {"cloudInitUserDataScript", &user_data, false, "cloud-init user data, plain text."},
    {"powerSpec", &power_spec, false, "Running (default), Paused or Shutdown."},
    {"shutdownBehavior", &api_schema_string, false, "Kept for tools."},
};
static const struct api_schema vm =
    API_OBJECT_SCHEMA(vm, API_CORE_PREFIX "VirtualMachine", "The VM of the pod.");

/* ---- the rest of the spec ---- */

static const struct api_field container_fields[] = {
    {"name", &api_schema_name, true, "Name of the VM."},
    {"image", &api_schema_string, false, "Image of the VM."},
    {"imagePullPolicy", &pull_policy, false, "As in virtualMachine."},
    {"resources", &resources, false, "As in virtualMachine."},
    {"stdin", &api_schema_bool, false, "True: the console takes input."},
    {"tty", &api_schema_bool, false, "True: the console is a terminal."},
    {"terminationMessagePath", &api_schema_string, false, "Kept for clients."},
    {"terminationMessagePolicy", &api_schema_string, false, "Kept for clients."},
};
static const struct api_schema container = API_OBJECT_SCHEMA(
    container, API_CORE_PREFIX "Container", "The VM as a container, so that kubectl attach and logs work.");
static const struct api_schema containers = {.type = API_TYPE_LIST,
                                             .doc = "Set by the server: the VM, presented as one container.",
                                             .item = &container,
                                             .merge = API_MERGE_BY_KEY,
                                             .merge_key = "name",
                                             .max_items = 1};

static const struct api_field toleration_fields[] = {
    {"key", &api_schema_string, false, "Taint key; all when absent."},
    {"operator", &api_schema_string, false, "Exists or Equal."},
    {"value", &api_schema_string, false, "Taint value."},
    {"effect", &api_schema_string, false, "NoSchedule, PreferNoSchedule, NoExecute; all when absent."},
    {"tolerationSeconds", &api_schema_int, false, "How long a NoExecute taint is borne."},
};
static const struct api_schema toleration =
    API_OBJECT_SCHEMA(toleration, API_CORE_PREFIX "Toleration", "A taint that the pod bears.");
static const struct api_schema tolerations = {.type = API_TYPE_LIST, .item = &toleration, .max_items = 64};

static const char *const restart_policies[] = {"Always", "OnFailure", "Never", NULL};
static const struct api_schema restart_policy = {.type = API_TYPE_STRING, .choices = restart_policies};
static const struct api_schema grace = {.type = API_TYPE_INT, .min = 0, .max = 86400};

static const struct api_field spec_fields[] = {
    {"vpc", &api_schema_name, true, "VPC of the pod's NICs; fixed."},
    {"nics", &nics, true, "NICs that the VM is to have; the first is the primary one."},
    {"virtualMachine", &vm, true, "The VM."},
    {"nodeName", &api_schema_name, false, "Node that runs the VM; chosen by the scheduler when absent."},
    {"nodeSelector", &api_schema_string_map, false, "Labels that the node must have."},
    {"tolerations", &tolerations, false, "Taints that the pod bears."},
    {"restartPolicy", &restart_policy, false, "Always (default), OnFailure or Never."},
    {"terminationGracePeriodSeconds", &grace, false, "Time for the guest to shut down; 30 by default."},
    {"schedulerName", &api_schema_string, false, "Kept for clients."},
    {"containers", &containers, false, "Set by the server: the VM, presented as one container."},
};
static const struct api_schema spec =
    API_OBJECT_SCHEMA(spec, API_CORE_PREFIX "PodSpec", "What the VM and its NICs are to be.");

/* ---- status ---- */

static const char *const nic_states[] = {"Unknown", "InProgress", "Ready", "Failed", NULL};
static const struct api_schema nic_state = {.type = API_TYPE_STRING, .choices = nic_states};
static const struct api_field timings_fields[] = {
    {"portMs", &api_schema_int, false, "Preparing the port, in milliseconds."},
    {"attachMs", &api_schema_int, false, "The attach call, in milliseconds."},
    {"guestMs", &api_schema_int, false, "Until the guest's driver had bound the device, in milliseconds."},
    {"totalMs", &api_schema_int, false, "From the wish to Ready, in milliseconds."},
    {"detachMs", &api_schema_int, false, "From the detach call to the device's removal, in milliseconds."},
};
static const struct api_schema timings =
    API_OBJECT_SCHEMA(timings, API_CORE_PREFIX "NicTimings", "Where the time went.");
static const struct api_field nic_status_fields[] = {
    {"name", &api_schema_string, true, "Name of the NIC."},
    {"portID", &api_schema_string, false, "Port of the NIC."},
    {"state", &nic_state, false, "Unknown, InProgress, Ready (the guest's driver has the device) or Failed."},
    {"reason", &api_schema_string, false, "CamelCase: the step or the fault."},
    {"message", &api_schema_string, false, "For a person."},
    {"macAddress", &api_schema_string, false, "MAC of the port."},
    {"ipAddresses", &api_schema_strings, false, "Addresses of the port."},
    {"vpc", &api_schema_string, false, "VPC."},
    {"subnet", &api_schema_string, false, "Subnet."},
    {"deviceAlias", &api_schema_string, false, "libvirt alias of the device."},
    {"pciAddress", &api_schema_string, false, "PCI address in the guest."},
    {"attempts", &api_schema_count, false, "Tries of the step under way."},
    {"observedGeneration", &api_schema_int, false, "Generation of the pod that this speaks of."},
    {"lastTransitionTime", &api_schema_time, false, "When the state last changed."},
    {"timings", &timings, false, "Where the time went."},
};
static const struct api_schema nic_status =
    API_OBJECT_SCHEMA(nic_status, API_CORE_PREFIX "NicStatus", "What a NIC really is.");
static const struct api_schema nic_statuses = {.type = API_TYPE_LIST,
                                               .doc = "The truth about each NIC.",
                                               .item = &nic_status,
                                               .merge = API_MERGE_BY_KEY,
                                               .merge_key = "name",
                                               .max_items = 2 * AK_MAX_NICS};

static const struct api_field waiting_fields[] = {
    {"reason", &api_schema_string, false, "CamelCase: what is waited for."},
    {"message", &api_schema_string, false, "For a person."},
};
static const struct api_schema waiting =
    API_OBJECT_SCHEMA(waiting, API_CORE_PREFIX "ContainerStateWaiting", "The VM does not run yet.");
static const struct api_field running_fields[] = {{"startedAt", &api_schema_time, false, "Since then."}};
static const struct api_schema running =
    API_OBJECT_SCHEMA(running, API_CORE_PREFIX "ContainerStateRunning", "The VM runs.");
static const struct api_field terminated_fields[] = {
    {"exitCode", &api_schema_int, false, "0 = the guest shut down."},
    {"signal", &api_schema_int, false, "Kept for clients."},
    {"reason", &api_schema_string, false, "Shutdown or Crashed."},
    {"message", &api_schema_string, false, "For a person."},
    {"startedAt", &api_schema_time, false, "When the VM was started."},
    {"finishedAt", &api_schema_time, false, "When it ended."},
    {"containerID", &api_schema_string, false, "Kept for clients."},
};
static const struct api_schema terminated =
    API_OBJECT_SCHEMA(terminated, API_CORE_PREFIX "ContainerStateTerminated", "The VM has ended.");
static const struct api_field container_state_fields[] = {
    {"waiting", &waiting, false, "The VM does not run yet."},
    {"running", &running, false, "The VM runs."},
    {"terminated", &terminated, false, "The VM has ended."},
};
static const struct api_schema container_state =
    API_OBJECT_SCHEMA(container_state, API_CORE_PREFIX "ContainerState", "One of its fields is set.");

static const struct api_field container_status_fields[] = {
    {"name", &api_schema_string, true, "Name of the VM."},
    {"image", &api_schema_string, false, "Image of the VM."},
    {"imageID", &api_schema_string, false, "Digest of the image."},
    {"containerID", &api_schema_string, false, "libvirt UUID of the domain."},
    {"ready", &api_schema_bool, false, "The VM runs."},
    {"started", &api_schema_bool, false, "The VM was started."},
    {"restartCount", &api_schema_count, false, "Starts after the first."},
    {"state", &container_state, false, "waiting, running or terminated."},
    {"lastState", &container_state, false, "The state before."},
};
static const struct api_schema container_status =
    API_OBJECT_SCHEMA(container_status, API_CORE_PREFIX "ContainerStatus", "The VM as a container.");
static const struct api_schema container_statuses = {.type = API_TYPE_LIST,
                                                     .item = &container_status,
                                                     .merge = API_MERGE_BY_KEY,
                                                     .merge_key = "name",
                                                     .max_items = 1};

static const struct api_field pod_ip_fields[] = {{"ip", &api_schema_string, false, "Address."}};
static const struct api_schema pod_ip =
    API_OBJECT_SCHEMA(pod_ip, API_CORE_PREFIX "PodIP", "An address of the pod.");
static const struct api_schema pod_ips = {
    .type = API_TYPE_LIST, .item = &pod_ip, .merge = API_MERGE_BY_KEY, .merge_key = "ip", .max_items = 16};

static const struct api_field vm_status_fields[] = {
    {"name", &api_schema_string, false, "Name of the VM."},
    {"virtualMachineId", &api_schema_string, false, "libvirt UUID of the domain."},
    {"image", &api_schema_string, false, "Image of the VM."},
    {"imageId", &api_schema_string, false, "Digest of the image."},
    {"state", &container_state, false, "waiting, running or terminated."},
    {"powerState", &api_schema_string, false, "Running, Paused or Shutdown."},
    {"ready", &api_schema_bool, false, "The VM runs."},
    {"restartCount", &api_schema_count, false, "Starts after the first."},
    {"accelerator", &api_schema_string, false, "kvm or tcg."},
    {"nicSlots", &api_schema_count, false, "Hotplug slots of the VM."},
    {"nicSlotsFree", &api_schema_count, false, "Of those, free."},
    {"reason", &api_schema_string, false, "CamelCase."},
    {"message", &api_schema_string, false, "For a person."},
    {"progressPercent", &api_schema_count, false, "Of the image's download."},
};
static const struct api_schema vm_status =
    API_OBJECT_SCHEMA(vm_status, API_CORE_PREFIX "VirtualMachineStatus", "What the VM really is.");

static const char *const phases[] = {"Pending", "Running", "Succeeded", "Failed", "Unknown", NULL};
static const struct api_schema phase = {.type = API_TYPE_STRING, .choices = phases};

static const struct api_field status_fields[] = {
    {"phase", &phase, false, "Pending, Running, Succeeded, Failed or Unknown."},
    {"conditions", &api_schema_conditions, false, "PodScheduled, Initialized, ContainersReady, Ready."},
    {"message", &api_schema_string, false, "For a person."},
    {"reason", &api_schema_string, false, "CamelCase."},
    {"hostIP", &api_schema_string, false, "Address of the node."},
    {"podIP", &api_schema_string, false, "Address of the primary NIC."},
    {"podIPs", &pod_ips, false, "Addresses of the primary NIC."},
    {"startTime", &api_schema_time, false, "When the node took the pod."},
    {"qosClass", &api_schema_string, false, "Kept for clients."},
    {"observedGeneration", &api_schema_int, false, "Generation that the node has seen."},
    {"containerStatuses", &container_statuses, false, "The VM as a container."},
    {"nicStatuses", &nic_statuses, false, "The truth about each NIC."},
    {"virtualMachineStatus", &vm_status, false, "The VM."},
};
static const struct api_schema status =
    API_OBJECT_SCHEMA(status, API_CORE_PREFIX "PodStatus", "What the VM and its NICs really are.");

static const struct api_field pod_fields[] = {
    {"apiVersion", &api_schema_string, false, "v1"},
    {"kind", &api_schema_string, false, "Pod"},
    {"metadata", &api_schema_meta, false, "Metadata of the pod."},
    {"spec", &spec, true, "What the VM and its NICs are to be."},
    {"status", &status, false, "What they really are; written by the node."},
};
static const struct api_schema pod = API_OBJECT_SCHEMA(
    pod, API_CORE_PREFIX "Pod", "A VM pod: one VM and the NICs that it is to have while it runs.");

static const char *const short_names[] = {"po", NULL};
static const char *const categories[] = {"all", NULL};
static const char *const subresources[] = {"attach", "binding", "eviction", "log", NULL};

static const struct api_column columns[] = {
    {"Name", "string", "name", "Name of the pod.", 0},
    {"Status", "string", "", "Phase, or why the VM does not run.", 0},
    {"Nics", "string", "", "NICs that are ready / wanted.", 0},
    {"Age", "string", "", "Time since it was made.", 0},
    {"Node", "string", "", "Node that runs the VM.", 1},
    {"VPC", "string", "", "VPC of the NICs.", 1},
    {"Addresses", "string", "", "Address of each NIC.", 1},
};

const struct api_kind api_kind_pod = {
    .group = "",
    .version = "v1",
    .kind = "Pod",
    .list_kind = "PodList",
    .plural = "pods",
    .singular = "pod",
    .short_names = short_names,
    .categories = categories,
    .namespaced = true,
    .has_status = true,
    .subresources = subresources,
    .schema = &pod,
    .columns = columns,
    .column_count = AK_ARRAY_SIZE(columns),
};
