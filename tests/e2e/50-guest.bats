#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # $patch is JSON
# Guests that do not do their part: Ready waits for the guest's driver, and what the guest does not give up
# is not released.

load helpers

teardown() {
  tell_capture
  delete_pods "$pod"
}

@test "Ready only once the guest's driver has the device" {
  pod=lazy
  kubectl create -f <(pod_yaml lazy vpcdemo images.test/nodriver.qcow2 eth0)
  pod_running lazy
  patch_pod lazy '{"spec":{"nics":[{"name":"eth1"}]}}'
  nic_wait lazy eth1 reason WaitingForGuest
  assert_equal "$(nic_get lazy eth1 state)" InProgress
  domain_has_port "$(domain_of lazy)" "$(port_id lazy eth1)"
  # Whatever the status says from now on is kept; the driver is loaded while the guest has both devices.
  kubectl get pod lazy --watch -o "jsonpath={$(nic_path eth1 state)}{'\n'}" >"$BATS_TEST_TMPDIR/states" 3>&- &
  watcher=$!
  guest lazy 'test -e /sys/bus/pci/drivers/virtio-pci && ! test -e /sys/class/net/eth0'
  run sort -u "$BATS_TEST_TMPDIR/states"
  assert_output InProgress
  guest lazy 'insmod /lib/modules/virtio_net.ko'
  nic_ready lazy eth1
  nic_ready lazy eth0
  kill "$watcher"
  guest lazy "grep -l '$(nic_get lazy eth1 macAddress)' /sys/class/net/*/address"
}

@test "a guest that does not give the device up: the port is held, the status says so; deletion ends it" {
  pod=stubborn
  kubectl create -f <(pod_yaml stubborn vpcdemo images.test/stubborn.qcow2 eth0 eth1)
  pod_running stubborn
  nic_ready stubborn eth1
  port=$(port_id stubborn eth1)
  patch_pod stubborn '{"spec":{"nics":[{"$patch":"delete","name":"eth1"}]}}'
  nic_wait stubborn eth1 reason GuestNotResponding
  assert_equal "$(nic_get stubborn eth1 state)" InProgress
  has_link "$(tap_of "$port")"
  domain_has_port "$(domain_of stubborn)" "$port"
  assert_equal "$(port_get "$port" .status.phase)" Releasing
  guest stubborn 'test -e /sys/class/net/eth1'
  assert_equal "$(guest stubborn 'cat /sys/class/net/eth1/carrier')" 0
  delete_pods stubborn
  until_true 10 lacks_link "$(tap_of "$port")"
  run kubectl get port "$port"
  assert_failure
}
