#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Guests of one VPC reach each other over a plugged NIC; guests of two VPCs do not, though both may have the
# same addresses.

load helpers

setup_file() {
  load helpers
  kubectl apply -f "$EXAMPLES/vm-nic-hotplug.yaml" -f "$EXAMPLES/vm-nic-hotplug-peer.yaml" \
    -f "$EXAMPLES/vm-nic-hotplug-other-vpc.yaml"
  for pod in nginx-vm nginx-peer nginx-other; do
    pod_running "$pod"
    kubectl patch pod "$pod" -p "$(cat "$EXAMPLES/patch-nic-hotplug.yaml")"
  done
  for pod in nginx-vm nginx-peer nginx-other; do
    nic_ready "$pod" eth1
    until_true 60 guest_has_address "$pod" "$(address_of "$pod")"
  done
}

teardown_file() {
  load helpers
  delete_pods nginx-vm nginx-peer nginx-other
}

address_of() { # POD: address of its eth1
  local address
  address=$(nic_get "$1" eth1 'ipAddresses[0]')
  printf '%s\n' "${address%%/*}"
}

@test "same VPC: ping over eth1" {
  run guest nginx-vm "ping -c 3 -W 2 -I eth1 $(address_of nginx-peer)"
  assert_success
  assert_output --partial ' 0% packet loss'
  run guest nginx-peer "ping -c 3 -W 2 -I eth1 $(address_of nginx-vm)"
  assert_success
}

@test "same VPC: the peer is reached by the MAC of its port" {
  guest nginx-vm "ping -c 1 -W 2 -I eth1 $(address_of nginx-peer)"
  run guest nginx-vm 'ip neigh show dev eth1'
  assert_success
  assert_output --partial "$(nic_get nginx-peer eth1 macAddress)"
}

@test "two VPCs: no ping over eth1" {
  run guest nginx-vm "ping -c 2 -W 1 -I eth1 $(address_of nginx-other)"
  assert_failure
  assert_output --partial '100% packet loss'
}

@test "two VPCs: no ping over eth0 either, and the peer's address means the own VPC's" {
  run guest nginx-other "ping -c 2 -W 1 -I eth0 $(nic_get nginx-vm eth0 'ipAddresses[0]' | cut -d/ -f1)"
  assert_failure
}

@test "two VPCs: frames of one are not seen by the other, even with an entry in the ARP table" {
  mac=$(nic_get nginx-other eth1 macAddress)
  guest nginx-vm "ip neigh replace 192.0.2.1 lladdr $mac dev eth1 nud permanent; ip route replace 192.0.2.1 dev eth1"
  before=$(guest nginx-other 'cat /sys/class/net/eth1/statistics/rx_packets')
  run guest nginx-vm "ping -c 3 -W 1 -I eth1 192.0.2.1"
  assert_failure
  after=$(guest nginx-other 'cat /sys/class/net/eth1/statistics/rx_packets')
  # Its own DHCP and IPv6 chatter may come in; three echo requests do not.
  ((after - before < 3))
}

@test "two VPCs have different namespaces" {
  refute [ "$(vpc_namespace vpcdemo)" = "$(vpc_namespace vpcother)" ]
  [[ -e /run/netns/$(vpc_namespace vpcdemo) && -e /run/netns/$(vpc_namespace vpcother) ]]
}
