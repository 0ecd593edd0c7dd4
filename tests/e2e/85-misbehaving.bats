#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # $patch is JSON, other $ are for the guest's shell
# Guests that do not do their part: one that sits in its boot loader, one that is paused, one that panics while
# a NIC is taken out, one whose kernel does not do PCI hotplug, one that powers itself off. Of each: the status
# says what is, what the guest may still use is held, and all comes to an end once the guest behaves, or is gone.
#
# The tests of one VM build on each other.

load helpers
load crash

VPC=misbehaving

setup_file() {
  load helpers
  load crash
  # A guest that boots is given three times as long.
  ALKAID_GUEST_WAIT=4s restart_hypervisor
}

teardown_file() {
  load helpers
  load crash
  delete_pods loader deaf mortal
  restart_hypervisor
}

teardown() {
  tell_capture
  [[ ${BATS_TEST_COMPLETED:-} ]] || kubectl get pods,ports -o yaml >&2
}

restart_hypervisor() {
  local pid
  pid=$(pid_of hypervisor)
  kill "$pid"
  until_true 15 gone "$pid"
  up_again
}

create_vm() { # NAME IMAGE POLICY NIC...
  kubectl create -f <(pod_yaml "$1" "$VPC" "images.test/$2" "${@:4}" | sed "s/^spec:/&\n  restartPolicy: $3/")
}

plug() { patch_pod "$1" "{\"spec\":{\"nics\":[{\"name\":\"$2\"}]}}"; } # POD NIC
unplug() { patch_pod "$1" "{\"spec\":{\"nics\":[{\"\$patch\":\"delete\",\"name\":\"$2\"}]}}"; }
power() { patch_pod "$1" "{\"spec\":{\"virtualMachine\":{\"powerSpec\":\"$2\"}}}"; } # POD STATE

nic_is() { watch_for "$1" "$(nic_path "$2" state)}/{$(nic_path "$2" reason)" "$3/$4" 90; } # POD NIC STATE REASON

at_boot_prompt() { [[ $(tail -c 6 "$STATE/hypervisor/vms/$1/console.log") == 'boot: ' ]]; } # POD-UID
left_boot_prompt() { ! at_boot_prompt "$1"; }

press_return() { # POD: in its boot loader
  local uid console_pid
  uid=$(pod_uid "$1")
  until_true 60 at_boot_prompt "$uid"
  coproc CONSOLE { exec "$BIN/alkaidctl" console --bus-dir "$STATE/bus" "$1" 3>&- 4>&-; }
  console_pid=${CONSOLE_PID:?}
  printf '\r' >&"${CONSOLE[1]}"
  until_true 20 left_boot_prompt "$uid"
  kill "$console_pid"
}

link_is_down() { virsh_ dumpxml "$(domain_of "$1")" | interface_xml "$2" | grep -q "<link state='down'/>"; } # POD PORT
domain_is() { [[ $(virsh_ domstate "$(domain_of "$1")") == "$2" ]]; }                                        # POD STATE

# The guest may still use it: the link is down, device, tap, address and port are kept.
is_held() { # POD PORT
  local address
  domain_has_port "$(domain_of "$1")" "$2"
  until_true 5 link_is_down "$1" "$2"
  has_link "$(tap_of "$2")"
  assert_equal "$(port_get "$2" .status.phase)" Releasing
  address=$(port_get "$2" '.spec.ipAddresses[0]')
  run kubectl create --dry-run=server -f <(pod_yaml other "$VPC" images.test/guest.qcow2 eth0 |
    sed "s/- name: eth0/&\n    ipAddress: ${address%%/*}/")
  assert_failure
  assert_output --partial "${address%%/*}"
}

is_released() { # PORT
  until_true 10 lacks_link "$(tap_of "$1")"
  run kubectl get port "$1"
  assert_failure
  assert_output --partial 'not found'
}

remember_port() { port_id "$1" eth1 >"$BATS_FILE_TMPDIR/port"; } # POD
port() { cat "$BATS_FILE_TMPDIR/port"; }

# Leaves this in the guest: as soon as it has begun to give eth1 up, it does the command and nothing else.
when_eth1_goes() { # POD COMMAND
  guest "$1" "(while [ -e /sys/class/net/eth1 ]; do :; done; $2) </dev/null >/dev/null 2>&1 & :"
}

# --- in the boot loader -----------------------------------------------------------------------------------

@test "in its boot loader: WaitingForGuest, and Failed (GuestNotResponding) after the bound" {
  create_vm loader loader.qcow2 Always eth0
  pod_running loader
  nic_is loader eth0 InProgress WaitingForGuest
  plug loader eth1
  nic_is loader eth1 InProgress WaitingForGuest
  nic_is loader eth1 Failed GuestNotResponding
  nic_is loader eth0 Failed GuestNotResponding
  domain_has_port "$(domain_of loader)" "$(port_id loader eth1)"
  assert_equal "$(port_get "$(port_id loader eth1)" .status.phase)" Bound
}

@test "in its boot loader: what is unplugged is held, its link is down" {
  remember_port loader
  unplug loader eth1
  nic_is loader eth1 InProgress GuestNotResponding
  is_held loader "$(port)"
}

@test "boots at last: eth1 goes, eth0 becomes Ready" {
  press_return loader
  nic_gone loader eth0
  is_released "$(port)"
  nic_ready loader eth0
}

# --- paused -----------------------------------------------------------------------------------------------

@test "paused: a plugged NIC waits, and is Ready when the VM goes on" {
  power loader Paused
  until_true 10 domain_is loader paused
  plug loader eth1
  nic_is loader eth1 InProgress WaitingForGuest
  domain_has_port "$(domain_of loader)" "$(port_id loader eth1)"
  power loader Running
  nic_ready loader eth1
}

@test "paused: an unplugged NIC is held, and goes when the VM goes on" {
  remember_port loader
  power loader Paused
  until_true 10 domain_is loader paused
  unplug loader eth1
  nic_is loader eth1 InProgress GuestNotResponding
  is_held loader "$(port)"
  power loader Running
  nic_gone loader eth0
  is_released "$(port)"
}

@test "paused behind our back: it is made to go on, its NICs are as they were" {
  since=$(nic_get loader eth0 lastTransitionTime)
  virsh_ suspend "$(domain_of loader)"
  until_true 10 domain_is loader running
  plug loader eth1
  nic_ready loader eth1
  assert_equal "$(nic_get loader eth0 lastTransitionTime)" "$since"
}

# --- panic ------------------------------------------------------------------------------------------------
# Of guests that do not tell: without their pvpanic driver nobody learns of it. What is done about those that tell is
# in 52-pod-life.bats.

tell_nobody() { guest "$1" 'rmmod pvpanic_mmio'; } # POD

@test "panics while it gives a NIC up: held until the reboot, then gone" {
  remember_port loader
  tell_nobody loader
  guest loader 'echo 6 >/proc/sys/kernel/panic'
  when_eth1_goes loader 'echo c >/proc/sysrq-trigger'
  unplug loader eth1
  nic_is loader eth1 InProgress GuestNotResponding
  is_held loader "$(port)"
  nic_gone loader eth0
  is_released "$(port)"
}

@test "after the panic: eth0 waits for the guest, which is in its boot loader, and is Ready when it boots" {
  nic_is loader eth0 '(InProgress|Failed)' '(WaitingForGuest|GuestNotResponding)'
  press_return loader
  nic_ready loader eth0
  delete_pods loader
  nothing_else_than
}

# --- a kernel without PCI hotplug -------------------------------------------------------------------------

@test "no PCI hotplug: a plugged NIC is Failed (GuestNotResponding), and Ready when the guest looks for it" {
  create_vm deaf stubborn.qcow2 Always eth0
  nic_ready deaf eth0
  plug deaf eth1
  nic_is deaf eth1 InProgress WaitingForGuest
  nic_is deaf eth1 Failed GuestNotResponding
  assert_equal "$(nic_get deaf eth0 state)" Ready
  guest deaf 'echo 1 >/sys/bus/pci/rescan'
  nic_ready deaf eth1
}

@test "no PCI hotplug: an unplugged NIC is held while the guest has it without a carrier" {
  remember_port deaf
  unplug deaf eth1
  nic_is deaf eth1 InProgress GuestNotResponding
  is_held deaf "$(port)"
  assert_equal "$(guest deaf 'cat /sys/class/net/eth1/carrier')" 0
}

@test "powers itself off, to be restarted: the NIC that was held is gone, the other one is there again" {
  guest deaf 'poweroff -f </dev/null >/dev/null 2>&1 & :'
  watch_for deaf '.status.containerStatuses[0].restartCount' 1
  nic_gone deaf eth0
  is_released "$(port)"
  nic_ready deaf eth0
}

@test "panics and stays so while a NIC is taken out: held until the pod is deleted, then nothing is left" {
  plug deaf eth1
  nic_is deaf eth1 InProgress WaitingForGuest
  guest deaf 'echo 1 >/sys/bus/pci/rescan'
  nic_ready deaf eth1
  remember_port deaf
  tell_nobody deaf
  unplug deaf eth1
  guest deaf 'echo 0 >/proc/sys/kernel/panic; (sleep 1; echo c >/proc/sysrq-trigger) & :'
  nic_is deaf eth1 InProgress GuestNotResponding
  is_held deaf "$(port)"
  delete_pods deaf
  is_released "$(port)"
  nothing_else_than
}

# --- power off --------------------------------------------------------------------------------------------

@test "powers itself off, not to be restarted: Succeeded, no NIC is called Ready, what is unplugged goes at once" {
  create_vm mortal guest.qcow2 Never eth0 eth1
  nic_ready mortal eth0
  nic_ready mortal eth1
  remember_port mortal
  guest mortal 'poweroff -f </dev/null >/dev/null 2>&1 & :'
  watch_for mortal .status.phase Succeeded
  nic_is mortal eth0 InProgress WaitingForVM
  nic_is mortal eth1 InProgress WaitingForVM
  unplug mortal eth1
  nic_gone mortal eth0
  is_released "$(port)"
  delete_pods mortal
  nothing_else_than
}
