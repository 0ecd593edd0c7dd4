#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # $patch is JSON
# What may happen to the NICs of a VM in its life: any order of patches, hands of others on the host, and
# what nobody wants any more. The tests of this file share one VM.

load helpers

setup_file() {
  load helpers
  kubectl create -f <(pod_yaml life lifevpc images.test/guest.qcow2 eth0)
  pod_running life
}

teardown_file() {
  load helpers
  delete_pods life orphan
}

teardown() {
  tell_capture
  local undo
  while read -r undo; do eval "$undo"; done < <(tac "$BATS_TEST_TMPDIR/undo" 2>/dev/null)
}
at_end() { printf '%s\n' "$*" >>"$BATS_TEST_TMPDIR/undo"; }

add_nics() { patch_pod life "{\"spec\":{\"nics\":[$(printf '{"name":"%s"},' "$@" | sed 's/,$//')]}}"; }
remove_nics() { patch_pod life "{\"spec\":{\"nics\":[$(printf '{"$patch":"delete","name":"%s"},' "$@" | sed 's/,$//')]}}"; }
device() { # NIC...: what must not change in its life
  local nic
  for nic; do
    printf '%s %s %s %s\n' "$nic" "$(nic_get life "$nic" macAddress)" "$(nic_get life "$nic" pciAddress)" \
      "$(nic_get life "$nic" 'ipAddresses[0]')"
  done
}
guest_macs() { guest life 'cat /sys/class/net/eth*/address' | sort; }
status_macs() { kubectl get pod life -o json | jq -r '.status.nicStatuses[].macAddress' | sort; }
same_in_guest() { [[ $(guest_macs) == "$(status_macs)" ]]; }
carrier() { # NIC 0|1: what the guest sees of its link
  [[ $(guest life "cat $(guest life "dirname \$(grep -l '$(nic_get life "$1" macAddress)' /sys/class/net/*/address)")/carrier") == "$2" ]]
}
event_of() { # REASON TEXT: is there such an event of the pod?
  kubectl get events -o json |
    jq -e --arg r "$1" --arg t "$2" 'any(.items[]; .reason == $r and (.message | contains($t)))' >/dev/null
}

@test "a NIC plugged while the guest boots becomes Ready" {
  [[ $(nic_get life eth0 state) != Ready ]] || echo '# the guest was faster than the test' >&3
  add_nics eth1
  nic_ready life eth1
  nic_ready life eth0
  until_true 60 same_in_guest
}

@test "the middle one of three removed: the others keep MAC, address and PCI slot" {
  add_nics eth2
  nic_ready life eth2
  before=$(device eth0 eth2)
  port=$(port_id life eth1)
  remove_nics eth1
  nic_gone life 'eth0 eth2'
  assert_equal "$(device eth0 eth2)" "$before"
  until_true 10 lacks_link "$(tap_of "$port")"
  until_true 60 same_in_guest
}

@test "a patch that plugs one and unplugs another; the slot of the one that left is used again" {
  patch_pod life '{"spec":{"nics":[{"name":"eth3"},{"$patch":"delete","name":"eth2"}]}}'
  nic_ready life eth3
  nic_gone life 'eth0 eth3'
  assert_equal "$(nic_get life eth3 pciAddress)" 0000:02:00.0
  until_true 60 same_in_guest
}

@test "entries reordered: nothing happens" {
  add_nics eth1
  nic_ready life eth1
  before=$(kubectl get pod life -o json | jq -c '.status.nicStatuses | map({name, portID, macAddress, pciAddress, lastTransitionTime, attempts}) | sort_by(.name)')
  events=$(kubectl get events -o name | wc -l)
  kubectl get pod life -o json | jq '.spec.nics |= [.[0]] + (.[1:] | reverse)' | kubectl replace -f -
  generation=$(kubectl get pod life -o 'jsonpath={.metadata.generation}')
  nic_wait life eth3 observedGeneration "$generation"
  assert_equal "$(kubectl get pod life -o json | jq -c '.status.nicStatuses | map({name, portID, macAddress, pciAddress, lastTransitionTime, attempts}) | sort_by(.name)')" "$before"
  assert_equal "$(kubectl get events -o name | wc -l)" "$events"
}

@test "plug, unplug, plug of one name in quick succession" {
  remove_nics eth3
  nic_gone life '(eth0 eth1|eth1 eth0)'
  add_nics eth2
  first=$(port_id life eth2)
  remove_nics eth2
  add_nics eth2
  second=$(port_id life eth2)
  assert [ "$first" != "$second" ]
  nic_wait life eth2 portID "$second"
  nic_ready life eth2
  until_true 30 lacks_link "$(tap_of "$first")"
  run kubectl get port "$first"
  assert_failure
  until_true 60 same_in_guest
}

@test "linkState down and up again: the guest sees the carrier, the NIC stays plugged" {
  before=$(device eth2)
  until_true 60 carrier eth2 1
  patch_pod life '{"spec":{"nics":[{"name":"eth2","linkState":"down"}]}}'
  until_true 60 carrier eth2 0
  assert_equal "$(nic_get life eth2 state)" Ready
  patch_pod life '{"spec":{"nics":[{"name":"eth2","linkState":"up"}]}}'
  until_true 60 carrier eth2 1
  assert_equal "$(device eth2)" "$before"
}

@test "more NICs than slots are refused, and the message says where and why" {
  slots=$(kubectl get pod life -o 'jsonpath={.status.virtualMachineStatus.nicSlots}')
  assert_equal "$(kubectl get pod life -o 'jsonpath={.status.virtualMachineStatus.nicSlotsFree}')" $((slots - 3))
  # shellcheck disable=SC2046 # words
  run add_nics $(seq -f 'more%.0f' "$((slots - 2))")
  assert_failure
  assert_output --partial spec.nics
  assert_output --partial "$slots"
  assert_equal "$(kubectl get pod life -o json | jq '.spec.nics | length')" 3
}

@test "drift: a tap deleted by hand is made anew, and the NIC is plugged into it" {
  before=$(device eth1)
  port=$(port_id life eth1)
  ip link del "$(tap_of "$port")"
  until_true 60 event_of FailedAttachDevice 'eth1: TapLost'
  nic_ready life eth1
  assert_equal "$(cat "/sys/class/net/$(tap_of "$port")/carrier")" 1
  assert_equal "$(device eth1)" "$before"
  until_true 60 same_in_guest
  address=$(nic_get life eth1 'ipAddresses[0]')
  until_true 60 guest_has_address life "${address%%/*}" # over the new tap
}

@test "drift: a NIC detached with virsh is plugged again" {
  before=$(device eth1)
  virsh_ detach-device-alias "$(domain_of life)" "ua-$(port_id life eth1)" --live
  until_true 60 event_of FailedAttachDevice 'eth1: DeviceGone'
  nic_ready life eth1
  assert_equal "$(device eth1)" "$before"
  until_true 60 same_in_guest
}

@test "drift: a domain destroyed with virsh is started again; MAC, address and PCI slot are the same" {
  before=$(device eth0 eth1 eth2)
  virsh_ destroy "$(domain_of life)"
  watch_for life .status.virtualMachineStatus.restartCount 1
  for nic in eth0 eth1 eth2; do nic_ready life "$nic"; done
  assert_equal "$(device eth0 eth1 eth2)" "$before"
  until_true 60 same_in_guest
}

@test "what no pod wants is swept, with an event; what is not ours is left alone" {
  kubectl create -f <(pod_yaml orphan lifevpc images.test/guest.qcow2 eth0)
  pod_running orphan
  nic_wait orphan eth0 reason '.+'
  domain=$(domain_of orphan)
  uid=$(pod_uid orphan)
  port=$(port_id orphan eth0)
  has_link "$(tap_of "$port")"
  has_filter "$(tap_of "$port")"
  mac=$(port_get "$port" .spec.macAddress)
  grep -qrF "$mac" "$STATE/network"

  # Of others: a domain with a name like ours, a tap and a bridge with names like ours.
  virsh_ create /dev/stdin --paused <<'EOF'
<domain type='qemu'><name>alkaid-default-foreign-12345678</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>
EOF
  at_end "virsh_ destroy alkaid-default-foreign-12345678"
  ip tuntap add dev ak0123456789abc mode tap
  at_end "ip link del ak0123456789abc"
  ip link add akb0123456789ab type bridge
  at_end "ip link del akb0123456789ab"
  ip link set akb0123456789ab alias "alkaid node=another subnet=$uid vpc=$uid"

  kill -KILL "$(cat "$STATE/run/watcher.pid")"
  kubectl delete pod orphan --grace-period=0 --force
  "$ROOT/dev" --state "$STATE" --libvirt private up 3>&- 4>&-

  until_true 60 lacks_link "$(tap_of "$port")"
  until_true 60 lacks_domain "$domain" # the guest may give its NIC up first
  until_true 10 port_is_gone "$port"
  assert [ ! -e "$STATE/hypervisor/vms/$uid" ]
  run grep -rF "$mac" "$STATE/network" # reservations of addresses
  assert_failure
  run has_filter "$(tap_of "$port")"
  assert_failure
  until_true 10 event_of OrphanedVM "$uid"

  assert_equal "$(virsh_ domstate alkaid-default-foreign-12345678)" paused
  has_link ak0123456789abc
  has_link akb0123456789ab
  assert_equal "$(nic_get life eth0 state)" Ready
}

lacks_domain() { ! virsh_ domstate "$1" >/dev/null 2>&1; }
has_filter() { nft list ruleset | grep -qF "$1"; } # TAP
port_is_gone() { ! kubectl get port "$1" >/dev/null 2>&1; }
