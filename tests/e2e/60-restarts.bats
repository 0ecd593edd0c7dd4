#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Services that are killed: the VM and its NICs stay as they are, and what was asked meanwhile is done.

load helpers

setup_file() {
  load helpers
  kubectl apply -f "$EXAMPLES/vm-nic-hotplug.yaml"
  pod_running nginx-vm
  nic_ready nginx-vm eth0
}

teardown_file() {
  load helpers
  delete_pods nginx-vm
}

crash() {
  kill -KILL "$(cat "$STATE/run/$1.pid")"
  until_true 5 bash -c "! kill -0 $(cat "$STATE/run/$1.pid") 2>/dev/null"
}

up_again() { "$ROOT/dev" --state "$STATE" --libvirt private up 3>&- 4>&-; }

facts() { # of the running VM, that a restart must not change
  printf '%s %s %s\n' "$(nic_get nginx-vm eth0 portID)" "$(nic_get nginx-vm eth0 pciAddress)" \
    "$(guest nginx-vm 'cat /sys/class/net/eth0/address /proc/sys/kernel/random/boot_id' | tr '\n' ' ')"
}

@test "each service killed in turn: the VM and its NIC do not notice" {
  before=$(facts)
  for service in watcher network hypervisor apiserver; do
    crash "$service"
    up_again
    assert_equal "$(facts)" "$before"
  done
}

@test "a NIC asked for while the node's services were dead is plugged when they are back" {
  for service in watcher network hypervisor; do crash "$service"; done
  kubectl patch pod nginx-vm -p "$(cat "$EXAMPLES/patch-nic-hotplug.yaml")"
  up_again
  nic_ready nginx-vm eth1
}

@test "a NIC taken out while the node's services were dead is unplugged when they are back" {
  port=$(port_id nginx-vm eth1)
  for service in watcher network hypervisor; do crash "$service"; done
  kubectl patch pod nginx-vm -p "$(cat "$EXAMPLES/patch-delete-eth1.yaml")"
  up_again
  nic_gone nginx-vm eth0
  until_true 10 lacks_link "$(tap_of "$port")"
}

@test "libvirtd killed: the VM runs on, a NIC is plugged after its return" {
  before=$(facts)
  "$ROOT/tests/lib/private-libvirtd" kill "$STATE/libvirt"
  "$ROOT/tests/lib/private-libvirtd" start "$STATE/libvirt" 3>&- 4>&-
  kubectl patch pod nginx-vm -p "$(cat "$EXAMPLES/patch-nic-hotplug.yaml")"
  nic_ready nginx-vm eth1
  assert_equal "$(facts)" "$before"
}
