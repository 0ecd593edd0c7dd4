/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire contract of a node's bus: every message, described once.
 *
 * From these lists come the C structs (proto.h), the msgpack codec with its limits and the JSON dump
 * (libcommon/schema.h), the golden vectors and docs/reference/messages.md. To add a field, add a line; to
 * add a message, add a list and a line in AK_MESSAGES.
 *
 * Every message states a fact or a wish that is still true, never "do it once more": receiving one twice,
 * late, or again after a restart must be harmless. An older generation never overrides a newer one.
 *
 *   F(kind, name, a, b, presence, doc)
 *     STR      a = longest value in bytes
 *     TEXT     a = longest value in bytes (heap)
 *     U64      a = largest value
 *     BOOL
 *     ENUM     a = enum of AK_ENUMS
 *     TEXTLIST a = longest item in bytes, b = most items (heap)
 *     U64LIST  b = most items
 */
#pragma once

#define AK_LEN_UID        63   /* pod UID, port ID: UUIDs */
#define AK_LEN_NAME       253  /* Kubernetes object name */
#define AK_LEN_NIC        15   /* interface name */
#define AK_LEN_REASON     63   /* CamelCase */
#define AK_LEN_MESSAGE    1023 /* for a person */
#define AK_LEN_MAC        17
#define AK_LEN_CIDR       49
#define AK_LEN_IMAGE      2047
#define AK_MAX_NICS       64
#define AK_MAX_ADDRS      8
#define AK_LEN_RULE       127 /* security rule, compiled */
#define AK_MAX_RULES      48
#define AK_MAX_PEERS_TEXT 250000 /* some 4,000 ports */
#define AK_MAX_KBPS       100000000
#define AK_MAX_U64        UINT64_MAX
#define AK_MAX_USEC       UINT64_C(4102444800000000) /* the year 2100 */

/* E(C name, wire name): the wire carries the name. The first value is the zero value. */
#define AK_VM_WANTED_VALUES(E, x)                                                                            \
        E(x, AK_VM_WANTED_ABSENT, "absent")                                                                  \
        E(x, AK_VM_WANTED_RUNNING, "running")                                                                \
        E(x, AK_VM_WANTED_PAUSED, "paused")                                                                  \
        E(x, AK_VM_WANTED_SHUTDOWN, "shutdown")

#define AK_VM_PHASE_VALUES(E, x)                                                                             \
        E(x, AK_VM_PHASE_ABSENT, "absent")   /* no domain; nothing of it is left */                          \
        E(x, AK_VM_PHASE_WAITING, "waiting") /* for the ports of its boot NICs */                            \
        E(x, AK_VM_PHASE_PULLING, "pulling") /* image download */                                            \
        E(x, AK_VM_PHASE_STARTING, "starting")                                                               \
        E(x, AK_VM_PHASE_RUNNING, "running")                                                                 \
        E(x, AK_VM_PHASE_PAUSED, "paused")                                                                   \
        E(x, AK_VM_PHASE_STOPPING, "stopping") /* ACPI shutdown sent or destroy under way */                 \
        E(x, AK_VM_PHASE_SHUTOFF, "shutoff")   /* the guest powered itself off */                            \
        E(x, AK_VM_PHASE_CRASHED, "crashed")                                                                 \
        E(x, AK_VM_PHASE_FAILED, "failed") /* could not be started; reason says why */

#define AK_NIC_WANTED_VALUES(E, x)                                                                           \
        E(x, AK_NIC_WANTED_ABSENT, "absent")                                                                 \
        E(x, AK_NIC_WANTED_PRESENT, "present")

#define AK_PORT_STATE_VALUES(E, x)                                                                           \
        E(x, AK_PORT_RELEASED, "released") /* tap, filters, DHCP entry and lease are gone */                 \
        E(x, AK_PORT_PREPARING, "preparing")                                                                 \
        E(x, AK_PORT_READY, "ready") /* a VM may use the device */                                           \
        E(x, AK_PORT_HELD, "held")   /* unwanted, but the guest still has the device */                      \
        E(x, AK_PORT_FAILED, "failed")

#define AK_NIC_STATE_VALUES(E, x)                                                                            \
        E(x, AK_NIC_DETACHED, "detached") /* seen to be gone: removed event or absent from XML */            \
        E(x, AK_NIC_ATTACHING, "attaching")                                                                  \
        E(x, AK_NIC_WAITING_FOR_GUEST, "waiting") /* in the domain; the guest's driver has not bound it */   \
        E(x, AK_NIC_READY, "ready")               /* DRIVER_OK */                                            \
        E(x, AK_NIC_DETACHING, "detaching")       /* asked; the guest has not given it up */                 \
        E(x, AK_NIC_FAILED, "failed")             /* reason; still in the domain when device_alias is set */

#define AK_IMAGE_PULL_VALUES(E, x)                                                                           \
        E(x, AK_IMAGE_PULL_IF_NOT_PRESENT, "IfNotPresent")                                                   \
        E(x, AK_IMAGE_PULL_ALWAYS, "Always")                                                                 \
        E(x, AK_IMAGE_PULL_NEVER, "Never")

/* X(enum tag, value list) */
#define AK_ENUMS(X)                                                                                          \
        X(ak_vm_wanted, AK_VM_WANTED_VALUES)                                                                 \
        X(ak_vm_phase, AK_VM_PHASE_VALUES)                                                                   \
        X(ak_nic_wanted, AK_NIC_WANTED_VALUES)                                                               \
        X(ak_port_state, AK_PORT_STATE_VALUES)                                                               \
        X(ak_nic_state, AK_NIC_STATE_VALUES)                                                                 \
        X(ak_image_pull, AK_IMAGE_PULL_VALUES)

/* Names one operation: (pod UID, NIC name, port ID, generation, attempt). */
#define AK_NIC_KEY_FIELDS(F)                                                                                 \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "UID of the VM pod")                                        \
        F(STR, nic, AK_LEN_NIC, 0, OPTIONAL, "name in spec.nics; empty where only the port is known")        \
        F(STR, port_id, AK_LEN_UID, 0, REQUIRED, "ID of the port, a UUID")                                   \
        F(U64, generation, AK_MAX_U64, 0, OPTIONAL,                                                          \
          "metadata.generation of the pod that this answers or wishes")                                      \
        F(U64, attempt, AK_MAX_U64, 0, OPTIONAL,                                                             \
          "tries so far in this direction; a higher one makes a failed step run again")

#define AK_VM_DIFF_FIELDS(F)                                                                                 \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "UID of the VM pod")                                        \
        F(STR, pod_namespace, AK_LEN_NAME, 0, OPTIONAL, "namespace of the pod")                              \
        F(STR, pod_name, AK_LEN_NAME, 0, OPTIONAL, "name of the pod")                                        \
        F(U64, generation, AK_MAX_U64, 0, OPTIONAL, "metadata.generation of the pod")                        \
        F(U64, attempt, AK_MAX_U64, 0, OPTIONAL,                                                             \
          "start attempts so far; a higher one makes a failed start run again")                              \
        F(ENUM, wanted, ak_vm_wanted, 0, REQUIRED, "what the VM should be")                                  \
        F(U64, grace_ms, 3600000, 0, OPTIONAL,                                                               \
          "time for an ACPI shutdown before the domain is destroyed; 0 = at once")                           \
        F(STR, vm_name, AK_LEN_NAME, 0, OPTIONAL, "spec.virtualMachine.name")                                \
        F(STR, image, AK_LEN_IMAGE, 0, OPTIONAL,                                                             \
          "URL, URL without a scheme, or path below an allowed directory")                                   \
        F(STR, image_sha256, 64, 0, OPTIONAL, "hex digest that the image must have")                         \
        F(ENUM, image_pull, ak_image_pull, 0, OPTIONAL, "spec.virtualMachine.imagePullPolicy")               \
        F(U64, cpu_milli, 1024000, 0, OPTIONAL, "resources.limits.cpu in thousandths; rounded up to vCPUs")  \
        F(U64, memory_bytes, UINT64_C(1) << 50, 0, OPTIONAL, "resources.limits.memory")                      \
        F(U64, nic_slots, AK_MAX_NICS, 0, OPTIONAL, "hotplug slots to reserve")                              \
        F(TEXTLIST, boot_ports, AK_LEN_UID, AK_MAX_NICS, OPTIONAL,                                           \
          "ports of the NICs that the VM starts with")                                                       \
        F(BOOL, started, 0, 0, OPTIONAL,                                                                     \
          "was seen up in this attempt: where there is no domain, the VM has ended, and is not started")     \
        F(TEXT, user_data, 65536, 0, OPTIONAL, "cloud-init user data")                                       \
        F(TEXT, public_key, 8191, 0, OPTIONAL, "SSH public key")

#define AK_VM_STATUS_FIELDS(F)                                                                               \
        F(STR, pod_uid, AK_LEN_UID, 0, REQUIRED, "UID of the VM pod")                                        \
        F(STR, pod_namespace, AK_LEN_NAME, 0, OPTIONAL, "namespace of the pod")                              \
        F(STR, pod_name, AK_LEN_NAME, 0, OPTIONAL, "name of the pod")                                        \
        F(U64, generation, AK_MAX_U64, 0, OPTIONAL, "generation of the vm.diff that this answers")           \
        F(U64, attempt, AK_MAX_U64, 0, OPTIONAL, "attempt of the vm.diff that this answers")                 \
        F(ENUM, phase, ak_vm_phase, 0, REQUIRED, "what the VM is")                                           \
        F(STR, reason, AK_LEN_REASON, 0, OPTIONAL, "CamelCase, the step or the fault")                       \
        F(STR, message, AK_LEN_MESSAGE, 0, OPTIONAL, "for a person")                                         \
        F(STR, domain_uuid, 36, 0, OPTIONAL, "libvirt UUID of the domain")                                   \
        F(STR, accel, 15, 0, OPTIONAL, "kvm or tcg")                                                         \
        F(U64, progress_percent, 100, 0, OPTIONAL, "of the image download")                                  \
        F(U64, started_us, AK_MAX_USEC, 0, OPTIONAL, "real time of the domain's start")                      \
        F(U64, nic_slots, AK_MAX_NICS, 0, OPTIONAL, "hotplug slots of the domain")                           \
        F(U64, nic_slots_free, AK_MAX_NICS, 0, OPTIONAL, "of those, free")

#define AK_NIC_DIFF_FIELDS(F)                                                                                \
        AK_NIC_KEY_FIELDS(F)                                                                                 \
        F(STR, pod_namespace, AK_LEN_NAME, 0, OPTIONAL, "namespace of the pod")                              \
        F(STR, pod_name, AK_LEN_NAME, 0, OPTIONAL, "name of the pod")                                        \
        F(ENUM, wanted, ak_nic_wanted, 0, REQUIRED, "whether the VM should have the NIC")                    \
        F(STR, mac, AK_LEN_MAC, 0, OPTIONAL, "MAC of the port, lower case")                                  \
        F(TEXTLIST, addresses, AK_LEN_CIDR, AK_MAX_ADDRS, OPTIONAL,                                          \
          "addresses of the port with the subnet's prefix length")                                           \
        F(STR, vpc, AK_LEN_NAME, 0, OPTIONAL, "name of the VPC")                                             \
        F(STR, vpc_id, AK_LEN_UID, 0, OPTIONAL, "UID of the VPC")                                            \
        F(STR, subnet, AK_LEN_NAME, 0, OPTIONAL, "name of the subnet")                                       \
        F(STR, subnet_id, AK_LEN_UID, 0, OPTIONAL, "UID of the subnet")                                      \
        F(STR, cidr, AK_LEN_CIDR, 0, OPTIONAL, "of the subnet")                                              \
        F(STR, gateway, AK_LEN_CIDR, 0, OPTIONAL, "address of the subnet's gateway")                         \
        F(TEXTLIST, dns, AK_LEN_CIDR, AK_MAX_ADDRS, OPTIONAL, "resolvers handed out by DHCP")                \
        F(BOOL, dhcp, 0, 0, OPTIONAL, "serve DHCP on the subnet")                                            \
        F(U64, vni, 16777215, 0, OPTIONAL, "VXLAN network identifier of the subnet")                         \
        F(U64, mtu, 65535, 0, OPTIONAL, "MTU of the NIC; 0 = the fabric's")                                  \
        F(BOOL, link_down, 0, 0, OPTIONAL, "the NIC's link is to be down")                                   \
        F(U64, slot, AK_MAX_NICS, 0, OPTIONAL, "hotplug slot of the NIC, from 0; stable for its life")       \
        F(BOOL, primary, 0, 0, OPTIONAL, "first NIC declared")                                               \
        F(STR, cidr6, AK_LEN_CIDR, 0, OPTIONAL,                                                              \
          "IPv6 network of the subnet; empty where the port has no IPv6")                                    \
        F(STR, gateway6, AK_LEN_CIDR, 0, OPTIONAL, "IPv6 address of the subnet's gateway")                   \
        F(BOOL, source_nat, 0, 0, OPTIONAL,                                                                  \
          "the VPC's router lets its subnets out, behind the node's address")                                \
        F(BOOL, restricted, 0, 0, OPTIONAL, "the port has security groups: only what `rules` allow passes")  \
        F(TEXTLIST, rules, AK_LEN_RULE, AK_MAX_RULES, OPTIONAL,                                              \
          "`in|out any|tcp|udp|icmp LOW-HIGH|- CIDR[,CIDR...]`: what may be begun towards or by the VM")     \
        F(U64, ingress_kbps, AK_MAX_KBPS, 0, OPTIONAL, "cap on traffic to the VM; 0 = none")                 \
        F(U64, egress_kbps, AK_MAX_KBPS, 0, OPTIONAL, "cap on traffic of the VM; 0 = none")

#define AK_PORT_STATUS_FIELDS(F)                                                                             \
        AK_NIC_KEY_FIELDS(F)                                                                                 \
        F(ENUM, state, ak_port_state, 0, REQUIRED, "what the port is")                                       \
        F(STR, reason, AK_LEN_REASON, 0, OPTIONAL, "CamelCase, the step or the fault")                       \
        F(STR, message, AK_LEN_MESSAGE, 0, OPTIONAL, "for a person")                                         \
        F(STR, ifname, AK_LEN_NIC, 0, OPTIONAL, "tap on the host")                                           \
        F(U64, ifindex, INT32_MAX, 0, OPTIONAL,                                                              \
          "kernel index of the tap; another one means that the tap was made anew")                           \
        F(STR, mac, AK_LEN_MAC, 0, OPTIONAL, "MAC of the port")                                              \
        F(U64, mtu, 65535, 0, OPTIONAL, "MTU that the VM may use")                                           \
        F(BOOL, link_down, 0, 0, OPTIONAL, "the NIC's link is to be down")                                   \
        F(U64, slot, AK_MAX_NICS, 0, OPTIONAL, "hotplug slot of the NIC, as in nic.diff")                    \
        F(U64, prepare_us, AK_MAX_USEC, 0, OPTIONAL, "time that preparing took")

#define AK_NIC_STATUS_FIELDS(F)                                                                              \
        AK_NIC_KEY_FIELDS(F)                                                                                 \
        F(ENUM, state, ak_nic_state, 0, REQUIRED, "what the NIC is in the VM")                               \
        F(STR, reason, AK_LEN_REASON, 0, OPTIONAL, "CamelCase, the step or the fault")                       \
        F(STR, message, AK_LEN_MESSAGE, 0, OPTIONAL, "for a person")                                         \
        F(STR, mac, AK_LEN_MAC, 0, OPTIONAL, "MAC in the domain")                                            \
        F(STR, device_alias, 127, 0, OPTIONAL, "libvirt alias")                                              \
        F(STR, pci_address, 31, 0, OPTIONAL, "address in the guest, 0000:01:00.0")                           \
        F(BOOL, link_down, 0, 0, OPTIONAL, "the link as the domain has it")                                  \
        F(U64, attach_us, AK_MAX_USEC, 0, OPTIONAL, "time of the attach call")                               \
        F(U64, guest_us, AK_MAX_USEC, 0, OPTIONAL, "from attached to the driver's DRIVER_OK")                \
        F(U64, detach_us, AK_MAX_USEC, 0, OPTIONAL, "from the detach call to the device's removal")

#define AK_SUBNET_PEERS_FIELDS(F)                                                                            \
        F(STR, subnet_id, AK_LEN_UID, 0, REQUIRED, "UID of the subnet")                                      \
        F(STR, vpc_id, AK_LEN_UID, 0, OPTIONAL, "UID of the VPC")                                            \
        F(TEXT, peers, AK_MAX_PEERS_TEXT, 0, OPTIONAL,                                                       \
          "a line per port: MAC, address of its node, the port's addresses separated by commas")             \
        F(STR, cidr, AK_LEN_CIDR, 0, OPTIONAL, "of the subnet")                                              \
        F(STR, gateway, AK_LEN_CIDR, 0, OPTIONAL, "address of the subnet's gateway")                         \
        F(STR, cidr6, AK_LEN_CIDR, 0, OPTIONAL, "IPv6 network of the subnet, where a port has IPv6")         \
        F(STR, gateway6, AK_LEN_CIDR, 0, OPTIONAL, "IPv6 address of the subnet's gateway")                   \
        F(U64, vni, 16777215, 0, OPTIONAL, "VXLAN network identifier of the subnet")                         \
        F(U64, mtu, 65535, 0, OPTIONAL, "MTU of the subnet; 0 = the fabric's")                               \
        F(BOOL, source_nat, 0, 0, OPTIONAL, "of the VPC, as in nic.diff")

/* M(struct and symbol, type on the wire, topic key, publisher, listeners, fields, doc, what the listeners do
 * when they get it twice) */
#define AK_MESSAGES(M)                                                                                       \
        M(vm_diff, "vm.diff", "<pod uid>", "watcher", "hypervisor", AK_VM_DIFF_FIELDS,                       \
          "The VM that the node should have.",                                                               \
          "With the same generation and attempt the hypervisor does nothing and answers with vm.status "     \
          "again; a higher attempt makes a failed start run once more.")                                     \
        M(vm_status, "vm.status", "<pod uid>", "hypervisor", "watcher, network", AK_VM_STATUS_FIELDS,        \
          "The VM that the node has.", "Nothing: it is the state that is known already.")                    \
        M(nic_diff, "nic.diff", "<pod uid>/<port id>", "watcher", "network, hypervisor", AK_NIC_DIFF_FIELDS, \
          "A NIC that a VM should have, or no longer.",                                                      \
          "The network service answers with port.status again, the hypervisor with nic.status: so a wish "   \
          "that is repeated heals a loss anywhere. A higher attempt makes a failed step run once more, an "  \
          "older generation or attempt is ignored.")                                                         \
        M(port_status, "port.status", "<pod uid>/<port id>", "network", "watcher, hypervisor",               \
          AK_PORT_STATUS_FIELDS, "The host's side of a NIC. `ready` lets the hypervisor attach it.",         \
          "Nothing; another `ifindex` means that the tap was made anew, and the hypervisor answers with "    \
          "nic.status.")                                                                                     \
        M(subnet_peers, "subnet.peers", "<subnet id>", "watcher", "network", AK_SUBNET_PEERS_FIELDS,         \
          "The ports that a subnet has on other nodes, all of them: what is not listed is not there.",       \
          "Nothing: the list is compared with what the kernel has.")                                         \
        M(nic_status, "nic.status", "<pod uid>/<port id>", "hypervisor", "watcher, network",                 \
          AK_NIC_STATUS_FIELDS,                                                                              \
          "The VM's side of a NIC. `detached` lets the network service release the "                         \
          "port.",                                                                                           \
          "Nothing: it is the state that is known already. As long as the network service has not heard "    \
          "`detached`, it keeps the port.")
