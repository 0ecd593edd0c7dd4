#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Security groups, bandwidth and their like change on a NIC that is in use: from kubectl to the guest's
# packets, without replugging.

load helpers

setup_file() {
  load helpers
  kubectl apply -f "$EXAMPLES/vm-nic-hotplug.yaml" -f "$EXAMPLES/vm-nic-hotplug-peer.yaml" -f "$EXAMPLES/security-group.yaml"
  for pod in nginx-vm nginx-peer; do
    pod_running "$pod"
    nic_ready "$pod" eth0
    until_true 60 guest_has_address "$pod" "$(address_of "$pod")"
  done
}

teardown_file() {
  load helpers
  delete_pods nginx-vm nginx-peer
  kubectl delete securitygroup web
}

address_of() { # POD: address of its eth0
  local address
  address=$(nic_get "$1" eth0 'ipAddresses[0]')
  printf '%s\n' "${address%%/*}"
}

pings() { guest nginx-vm "ping -c 1 -W 1 $(address_of nginx-peer)" | grep -q ' 0% packet loss'; }
does_not_ping() { ! pings; }
patch_eth0() { patch_pod nginx-peer "{\"spec\":{\"nics\":[{\"name\":\"eth0\",$1}]}}"; }
rules_of_peer() { port_get "$(port_id nginx-peer eth0)" .status.securityRules; }
has_bucket() { tc qdisc show dev "$1" | grep -q 'tbf.*rate 8Mbit'; }
lacks_bucket() { ! tc qdisc show dev "$1" | grep -q tbf; }

@test "a security group closes a NIC that is in use, and its rules open it again" {
  local tap index
  tap=$(tap_of "$(port_id nginx-peer eth0)")
  index=$(<"/sys/class/net/$tap/ifindex")
  pings
  patch_eth0 '"securityGroups":["web"]'
  until_true 10 does_not_ping
  run rules_of_peer
  assert_output --partial 'in tcp 80-80 0.0.0.0/0,::/0'
  kubectl patch securitygroup web --type merge -p '{"spec":{"rules":[{"protocol":"icmp","cidr":"10.200.0.0/16"}]}}'
  until_true 10 pings
  kubectl patch securitygroup web --type merge -p '{"spec":{"rules":[{"group":"web"}]}}'
  until_true 10 does_not_ping
  patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth0","securityGroups":["web"]}]}}'
  until_true 10 pings
  nic_ready nginx-peer eth0 10
  [[ $(<"/sys/class/net/$tap/ifindex") == "$index" ]]
}

@test "the group is in use, and says by whom" {
  run kubectl delete securitygroup web
  assert_failure
  assert_output --partial 'is in use by port'
  patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth0","securityGroups":null}]}}'
  patch_eth0 '"securityGroups":null'
  until_true 10 pings
}

@test "bandwidth is capped and let go, live" {
  local tap
  tap=$(tap_of "$(port_id nginx-peer eth0)")
  patch_eth0 '"bandwidth":{"ingressKbps":8000,"egressKbps":8000}'
  until_true 10 has_bucket "$tap"
  pings
  patch_eth0 '"bandwidth":null'
  until_true 10 lacks_bucket "$tap"
}

@test "kubectl get shows groups, subnets and VPCs" {
  run kubectl get sg
  assert_success
  assert_output --partial RULES
  run kubectl get sn -o wide
  assert_output --partial CIDR6
  run kubectl get vpc
  assert_output --partial PHASE
}
