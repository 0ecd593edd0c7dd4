#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # $patch is JSON
# Sixty NICs on one VM. A guest of two vCPUs has interrupt vectors for all of them; one of a single vCPU
# does not, libvirt and QEMU know nothing of it, and the status has to.

load helpers

teardown() {
  tell_capture
  delete_pods "$pod"
}

many_yaml() { # NAME CPUS NIC...
  pod_yaml "$1" manyvpc images.test/guest.qcow2 "${@:3}" | sed "s/cpu: \"1\"/cpu: \"$2\"/; s/memory: .*/memory: 256Mi/"
}
add_nics() { # POD NIC...
  patch_pod "$1" "{\"spec\":{\"nics\":[$(printf '{"name":"%s"},' "${@:2}" | sed 's/,$//')]}}"
}
states() { kubectl get pod "$1" -o json | jq -r '.status.nicStatuses | group_by(.state + "/" + .reason)[] | "\(.[0].state)/\(.[0].reason) \(length)"'; }
decided() { # POD: each NIC is Ready or given up by the guest
  [[ $(kubectl get pod "$1" -o json | jq '[.status.nicStatuses[] | select(.state == "Ready" or .reason == "GuestDriverFailed")] | length') == 60 ]]
}
of_reason() { kubectl get pod "$1" -o json | jq -r --arg r "$2" '[.status.nicStatuses[] | select(.reason == $r)] | length'; }
guest_count() { guest "$1" 'ls -d /sys/class/net/eth* | wc -l'; }

@test "60 NICs on a guest of 2 vCPUs: 58 plugged while it runs, all Ready, all in the guest" {
  pod=many
  kubectl create -f <(many_yaml many 2 eth0 eth1)
  pod_running many
  # shellcheck disable=SC2046 # words
  add_nics many $(seq -f 'eth%.0f' 2 59)
  until_true 280 decided many || { states many && false; }
  assert_equal "$(of_reason many Ready)" 60
  assert_equal "$(guest_count many)" 60
  assert_equal "$(kubectl get pod many -o json | jq -r '[.status.nicStatuses[].pciAddress] | unique | length')" 60
  assert_equal "$(kubectl get pod many -o 'jsonpath={.status.virtualMachineStatus.nicSlotsFree}')" 4
  # Four more fit, a fifth does not.
  # shellcheck disable=SC2046 # words
  run add_nics many $(seq -f 'eth%.0f' 60 64)
  assert_failure
  assert_output --partial 'spec.nics'
}

@test "60 NICs on a guest of 1 vCPU: those that its driver gives up are Failed, the others Ready" {
  pod=few
  # shellcheck disable=SC2046 # words
  kubectl create -f <(many_yaml few 1 $(seq -f 'eth%.0f' 0 59))
  pod_running few
  until_true 280 decided few || { states few && false; }
  usable=$(of_reason few Ready)
  assert_equal "$(of_reason few GuestDriverFailed)" $((60 - usable))
  # How many there are is the guest kernel's affair: 43 or 44 have been seen.
  assert [ "$usable" -ge 40 ]
  assert [ "$usable" -lt 60 ]
  assert_equal "$(guest_count few)" "$usable"
  failed=$(kubectl get pod few -o json | jq -r '[.status.nicStatuses[] | select(.state == "Failed")][0].name')
  nic_get few "$failed" message | grep -q 'interrupt vectors'
  # One that works leaves: there is room for another.
  patch_pod few '{"spec":{"nics":[{"$patch":"delete","name":"eth1"}]}}'
  until_true 60 lacks_nic few eth1
  add_nics few fresh
  nic_ready few fresh 60
}

lacks_nic() { [[ ! $(nic_get "$1" "$2" name) ]]; } # POD NIC
