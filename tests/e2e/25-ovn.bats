#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Real guests on the OVN backend: a second stack, whose network service has Debian's OVN with a userspace datapath.

load helpers

setup_file() {
  load helpers
  for program in ovn-northd ovs-vswitchd ovn-controller; do
    PATH=$PATH:/usr/sbin command -v "$program" || skip "$program is not installed (ovn-central, ovn-host)"
  done
  export OVN ALKAID_OVN_NB ALKAID_OVS_DB ALKAID_BACKEND=ovn STATE=$STATE.ovn
  OVN=$(mktemp -d /var/tmp/alkaid-e2e-ovn.XXXXXX)
  ALKAID_OVN_NB=unix:$OVN/nb.sock ALKAID_OVS_DB=unix:$OVN/ovs.sock
  export KUBECONFIG=$STATE/kubeconfig
  "$ROOT/services/network/testdata/ovn" start "$OVN" 3>&- 4>&-
  mkdir -p "$STATE/images"
  cp "$IMAGES/hosts" "$STATE/images/"
  ln -s "$IMAGES/www" "$STATE/images/www"
  "$ROOT/dev" --state "$STATE" --name "$NAME-ovn" --libvirt private up >&2 3>&- 4>&-
  for pod in left right; do
    kubectl apply -f - <<<"$(pod_yaml "$pod" ovn-vpc images.test/guest.qcow2 eth0)"
  done
  for pod in left right; do
    pod_running "$pod"
    nic_ready "$pod" eth0
    patch_pod "$pod" '{"spec":{"nics":[{"name":"eth1"}]}}'
  done
  for pod in left right; do
    nic_ready "$pod" eth1
    until_true 60 guest_has_address "$pod" "$(address_of "$pod")"
  done
}

teardown_file() {
  [[ ${OVN:-} ]] || return 0
  load helpers
  local code=0
  delete_pods left right || code=1
  run ovn-nbctl --db="$ALKAID_OVN_NB" --bare --columns=name list logical_switch_port
  ! grep -xE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' <<<"$output" || code=1 # ports are named by their UUIDs
  "$ROOT/dev" --state "$STATE" down --purge >&2 3>&- 4>&- || code=1
  "$ROOT/services/network/testdata/ovn" stop "$OVN" || code=1
  lacks_link br-int && lacks_link ovs-netdev || code=1
  return "$code"
}

address_of() { nic_get "$1" eth1 'ipAddresses[0]' | cut -d/ -f1; } # POD: address of its eth1

@test "OVN: the guest has what OVN's DHCP gave, and the port is up where Ready is said" {
  local port
  port=$(port_id left eth1)
  run -0 ovn-sbctl --db="unix:$OVN/sb.sock" --bare --columns=up find port_binding "logical_port=$port"
  assert_output true
  run -0 guest left "ip address show"
  assert_output --partial "$(nic_get left eth1 macAddress)"
}

@test "OVN: guests of one VPC ping each other over the plugged NIC" {
  run guest left "ping -c 3 -W 5 -I eth1 $(address_of right)"
  assert_success
  assert_output --partial ' 0% packet loss'
  guest right "ping -c 1 -W 5 -I eth1 $(address_of left)"
}

@test "OVN: what is unplugged is gone from the guest and from the database" {
  local port mac
  port=$(port_id left eth1)
  mac=$(nic_get left eth1 macAddress)
  # shellcheck disable=SC2016 # of JSON
  patch_pod left '{"spec":{"nics":[{"$patch":"delete","name":"eth1"}]}}'
  nic_gone left eth0
  guest_lacks_mac left "$mac"
  run -0 ovn-nbctl --db="$ALKAID_OVN_NB" --bare --columns=name list logical_switch_port
  refute_output --partial "$port"
}
