#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The user's document, step by step, with its files and its commands; and after each step what must be true
# in the API, in the guest, in libvirt and on the host. The tests of this file build on each other.

load helpers

teardown_file() {
  load helpers
  delete_pods nginx-vm
}

patch_from() { kubectl patch pod nginx-vm -p "$(cat "$EXAMPLES/$1")"; }
remember() { printf '%s\n' "$2" >"$BATS_FILE_TMPDIR/$1"; }
recall() { cat "$BATS_FILE_TMPDIR/$1"; }

@test "apply: the pod becomes Running" {
  kubectl apply -f "$EXAMPLES/vm-nic-hotplug.yaml"
  pod_running nginx-vm
  nic_ready nginx-vm eth0
  domain_of nginx-vm
}

@test "apply again: nothing changes" {
  before=$(kubectl get pod nginx-vm -o 'jsonpath={.metadata.generation} {.spec}')
  run kubectl apply -f "$EXAMPLES/vm-nic-hotplug.yaml"
  assert_success
  assert_output --partial unchanged
  assert_equal "$(kubectl get pod nginx-vm -o 'jsonpath={.metadata.generation} {.spec}')" "$before"
}

@test "the primary NIC has its MAC and its address in the guest" {
  mac=$(nic_get nginx-vm eth0 macAddress)
  address=$(nic_get nginx-vm eth0 'ipAddresses[0]')
  assert_equal "$(guest_nic nginx-vm "$mac")" eth0
  until_true 60 guest_has_address nginx-vm "${address%%/*}"
}

@test "patch: eth1 becomes Ready" {
  patch_from patch-nic-hotplug.yaml
  nic_ready nginx-vm eth1
  assert_equal "$(kubectl get pod nginx-vm -o 'jsonpath={.status.nicStatuses[?(@.name=="eth1")].state}')" Ready
}

@test "the guest shows eth1 with the MAC of the port and an address from the subnet" {
  port=$(port_id nginx-vm eth1)
  mac=$(port_get "$port" .spec.macAddress)
  address=$(port_get "$port" '.spec.ipAddresses[0]')
  cidr=$(port_get "$port" .status.cidr)
  assert_equal "$(guest_nic nginx-vm "$mac")" eth1
  until_true 60 guest_has_address nginx-vm "${address%%/*}/${cidr##*/}"
  remember port "$port"
  remember mac "$mac"
  remember address "${address%%/*}"
}

@test "netstat -i and ip address in the guest list eth1, over kubectl attach" {
  [[ $(kubectl version --client -o json | jq -r .clientVersion.minor | tr -cd 0-9) -ge 31 ]] ||
    skip 'this kubectl attaches over SPDY only'
  run "$ROOT/tests/lib/guest-run" 'netstat -i; ip address' -- \
    script -qfec 'kubectl attach -it nginx-vm' /dev/null
  assert_success
  assert_line --regexp '^eth1 +1500 '
  assert_output --partial "inet $(recall address)/"
  assert_output --partial "$(recall mac)"
}

@test "kubectl get pods shows the NICs" {
  run kubectl get pods
  assert_success
  assert_line --regexp '^NAME +STATUS +NICS +AGE'
  assert_line --regexp '^nginx-vm +Running +2/2 '
}

@test "the NIC's status says where it is and how long each step took" {
  run kubectl get pod nginx-vm -o 'jsonpath={.status.nicStatuses[?(@.name=="eth1")]}'
  assert_success
  jq -e --arg port "$(recall port)" --arg mac "$(recall mac)" '.portID == $port and .macAddress == $mac
    and (.pciAddress | test("^0000:[0-9a-f]{2}:00\\.0$")) and .deviceAlias == "ua-" + $port
    and .vpc == "vpcdemo" and .timings.totalMs > 0 and .lastTransitionTime != null' <<<"$output"
}

@test "the host has the tap, on the subnet's bridge, and dnsmasq knows the NIC" {
  tap=$(tap_of "$(recall port)")
  has_link "$tap"
  grep -q "port=$(recall port)" "/sys/class/net/$tap/ifalias"
  grep -rqF "$(recall mac)" "$STATE/network"
}

@test "the patch again: nothing changes" {
  before=$(kubectl get pod nginx-vm -o 'jsonpath={.metadata.resourceVersion}')
  run patch_from patch-nic-hotplug.yaml
  assert_success
  assert_output --partial 'no change'
  assert_equal "$(kubectl get pod nginx-vm -o 'jsonpath={.metadata.resourceVersion}')" "$before"
}

@test "plug out: eth1 leaves the guest, the domain, the status, the host and dnsmasq" {
  domain=$(domain_of nginx-vm)
  port=$(recall port)
  domain_has_port "$domain" "$port"
  patch_from patch-delete-eth1.yaml
  nic_gone nginx-vm eth0
  assert_equal "$(kubectl get pod nginx-vm -o 'jsonpath={.spec.nics[*].name}')" eth0
  guest_lacks_mac nginx-vm "$(recall mac)"
  run domain_has_port "$domain" "$port"
  assert_failure
  until_true 10 lacks_link "$(tap_of "$port")"
  run kubectl get port "$port"
  assert_failure
  assert_output --partial 'not found'
  run grep -rlF "$(recall mac)" "$STATE/network"
  assert_failure 1
}

@test "eth0 did not notice" {
  assert_equal "$(nic_get nginx-vm eth0 state)" Ready
  guest nginx-vm 'cat /sys/class/net/eth0/carrier'
}

@test "events tell what happened" {
  run kubectl get events --field-selector involvedObject.name=nginx-vm -o 'jsonpath={.items[*].message}'
  assert_success
  assert_output --partial eth1
}

@test "a NIC that comes back gets a port of its own" {
  patch_from patch-nic-hotplug.yaml
  nic_ready nginx-vm eth1
  refute [ "$(port_id nginx-vm eth1)" = "$(recall port)" ]
}

@test "delete pod: everything is gone" {
  domain=$(domain_of nginx-vm)
  taps=("$(tap_of "$(port_id nginx-vm eth0)")" "$(tap_of "$(port_id nginx-vm eth1)")")
  has_link "${taps[0]}"
  delete_pods nginx-vm
  run virsh_ dominfo "$domain"
  assert_failure
  for tap in "${taps[@]}"; do
    until_true 10 lacks_link "$tap"
  done
  assert_equal "$(kubectl get ports -o name)" ''
  run grep -lsF -- "$domain" /proc/[0-9]*/cmdline
  assert_output ''
}
