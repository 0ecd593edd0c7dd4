#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # expanded by the guest's shell
# The life of a VM as its pod tells it: what cloud-init is told at the first boot, power as the spec says it while
# it runs, how it is asked to end, and what becomes of it when it ended and nobody saw.
#
# The tests of one VM build on each other.

load helpers
load crash

VPC=life

setup_file() {
  load helpers
  "$ROOT/tests/guest/build-image" -o "$ROOT/build/guest/nopower.qcow2" --append guest.nopower
  cp "$ROOT/build/guest/nopower.qcow2" "$IMAGES/www/"
}

teardown_file() {
  load helpers
  delete_pods seeded deaf mortal
}

create_vm() { # NAME IMAGE POLICY GRACE
  kubectl create -f <(pod_yaml "$1" "$VPC" "images.test/$2" eth0 |
    sed "s/^spec:/&\n  restartPolicy: $3\n  terminationGracePeriodSeconds: $4/")
}

vm_dir() { printf '%s\n' "$STATE/hypervisor/vms/$(pod_uid "$1")"; } # POD
power() { patch_pod "$1" "{\"spec\":{\"virtualMachine\":{\"powerSpec\":\"$2\"}}}"; } # POD STATE
power_is() { watch_for "$1" .status.virtualMachineStatus.powerState "$2"; }          # POD STATE
runs() { [[ $(virsh_ list --name) == *"alkaid-default-$1-"* ]]; }                      # POD
runs_not() { ! runs "$1"; }
ended_by() { # POD: how its VM ended last, in the words of libvirt
  sed -n 's/.*shutting down, reason=//p' "$STATE"/libvirt/log/qemu/alkaid-default-"$1"-*.log | tail -n 1
}

# --- cloud-init -------------------------------------------------------------------------------------------

@test "the seed: the guest finds hostname, key and user data on the volume labelled CIDATA" {
  kubectl create -f - <<EOF
$(pod_yaml seeded "$VPC" images.test/guest.qcow2 eth0)
    publicKey: ssh-ed25519 AAAAC3Nza somebody@example
    userData: |
      #!/bin/sh
      echo "of the user: \$(hostname)" >/run/told
  terminationGracePeriodSeconds: 60
EOF
  nic_ready seeded eth0
  guest seeded 'mkdir -p /mnt && mount -t iso9660 -o ro "$(findfs LABEL=CIDATA)" /mnt'
  run guest seeded 'cat /mnt/meta-data'
  assert_output --partial '"local-hostname": "seeded"'
  assert_output --partial "\"instance-id\": \"$(pod_uid seeded)\""
  assert_output --partial '"ssh-ed25519 AAAAC3Nza somebody@example"'
  guest seeded 'sh /mnt/user-data'
  assert_equal "$(guest seeded 'cat /run/told')" 'of the user: guest'
  run guest seeded 'echo x >/mnt/user-data'
  assert_failure
}

@test "the seed is nobody else's to read, and what is too long is refused" {
  assert_equal "$(stat -c %a "$(vm_dir seeded)/seed.iso")" 600
  run kubectl create --dry-run=server -f - <<EOF
$(pod_yaml long "$VPC" images.test/guest.qcow2 eth0)
    userData: $(head -c 65537 /dev/zero | tr '\0' x)
EOF
  assert_failure
  assert_output --partial spec.virtualMachine.userData
}

# --- power ------------------------------------------------------------------------------------------------

@test "powerSpec Shutdown: the guest is asked and powers off; Running: it boots, its NIC is the same" {
  port=$(port_id seeded eth0)
  power seeded Shutdown
  power_is seeded Shutdown
  until_true 30 runs_not seeded
  assert_equal "$(ended_by seeded)" shutdown
  nic_wait seeded eth0 reason WaitingForVM
  power seeded Running
  power_is seeded Running
  nic_ready seeded eth0
  assert_equal "$(port_id seeded eth0)" "$port"
}

@test "powerSpec changes that follow each other: the last one holds" {
  power seeded Paused
  power seeded Running
  power seeded Paused
  power seeded Running
  nic_ready seeded eth0
  power_is seeded Running
  guest seeded true
}

# --- the end ----------------------------------------------------------------------------------------------

@test "deletion: the guest is asked to power off, and given its grace period" {
  dir=$(vm_dir seeded)
  delete_pods seeded
  assert_equal "$(ended_by seeded)" shutdown
  [[ ! -e $dir ]]
  nothing_else_than
}

@test "deletion of a guest that does not hear the power button: destroyed once the grace period is over" {
  create_vm deaf nopower.qcow2 Always 2
  nic_ready deaf eth0
  delete_pods deaf
  assert_equal "$(ended_by deaf)" destroyed
  nothing_else_than
}

# --- ended, and nobody saw --------------------------------------------------------------------------------

# As with a host that is switched off: the service first, then the VM.
switch_off() { # POD
  local domain hypervisor qemu
  domain=$(domain_of "$1")
  hypervisor=$(pid_of hypervisor)
  qemu=$(<"$STATE/libvirt/run/qemu/$domain.pid")
  kill -KILL "$hypervisor"
  until_true 30 gone "$hypervisor"
  kill -KILL "$qemu"
  until_true 30 runs_not "$1"
}

@test "ended while the hypervisor service was away, Never: Failed with EndedUnseen, and not started again" {
  create_vm mortal guest.qcow2 Never 0
  nic_ready mortal eth0
  switch_off mortal
  up_again
  watch_for mortal .status.phase Failed
  assert_equal "$(kubectl get pod mortal -o 'jsonpath={.status.virtualMachineStatus.reason}')" EndedUnseen
  runs_not mortal
  delete_pods mortal
  nothing_else_than
}

@test "ended while the hypervisor service was away, OnFailure: it counts as one, the VM is started again" {
  create_vm mortal guest.qcow2 OnFailure 0
  nic_ready mortal eth0
  switch_off mortal
  up_again
  watch_for mortal '.status.containerStatuses[0].restartCount' 1
  nic_ready mortal eth0
  delete_pods mortal
  nothing_else_than
}

# --- the guest's kernel panics ----------------------------------------------------------------------------

event_of() { [[ $(kubectl get events --field-selector "involvedObject.name=$1,reason=$2" -o name) ]]; } # POD REASON
panic() { guest "$1" '(sleep 1; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 & true'; } # POD

@test "a guest that panics, Never: Failed, with GuestPanicked as the reason" {
  create_vm mortal guest.qcow2 Never 0
  nic_ready mortal eth0
  panic mortal
  watch_for mortal .status.phase Failed
  assert_equal "$(kubectl get pod mortal -o 'jsonpath={.status.virtualMachineStatus.reason}')" GuestPanicked
  assert_equal "$(kubectl get pod mortal -o 'jsonpath={.status.containerStatuses[0].state.terminated.reason}')" \
    GuestPanicked
  delete_pods mortal
  nothing_else_than
}

@test "a guest that panics, OnFailure: an Event says so, the VM is started again" {
  create_vm mortal guest.qcow2 OnFailure 0
  nic_ready mortal eth0
  panic mortal
  watch_for mortal '.status.containerStatuses[0].restartCount' 1
  until_true 30 event_of mortal GuestPanicked
  nic_ready mortal eth0
  delete_pods mortal
  nothing_else_than
}
