#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # run sets output
# alkaidctl: exit codes, and `nic` against an apiserver alone (no node: nothing becomes Ready).

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver
  ln -s "$BIN/alkaidctl" "$BATS_FILE_TMPDIR/kubectl-nic"
  kubectl apply -f "$ROOT/examples/vm-nic-hotplug.yaml"
}

teardown_file() { stop_services; }

nics() { kubectl get pod nginx-vm -o 'jsonpath={.spec.nics[*].name}'; }

@test "a command line that is wrong ends with 2" {
  for words in '' nonsense 'nic nonsense' 'nic list' 'nic detach pod' 'tap extra' record 'replay' console; do
    # shellcheck disable=SC2086
    run -2 "$BIN/alkaidctl" $words
  done
  run -2 "$BIN/alkaidctl" tap --type nic.nonsense --bus-dir "$BATS_FILE_TMPDIR"
  assert_output --partial "no message type 'nic.nonsense'"
}

@test "what cannot be reached ends with 4" {
  run -4 "$BIN/alkaidctl" tap --bus-dir "$BATS_FILE_TMPDIR/none"
  run -4 "$BIN/alkaidctl" console --bus-dir "$BATS_FILE_TMPDIR/none" nginx-vm
  sed 's|server: .*|server: https://127.0.0.1:1|' "$KUBECONFIG" >"$BATS_FILE_TMPDIR/away"
  run -4 "$BIN/alkaidctl" nic list nginx-vm --kubeconfig "$BATS_FILE_TMPDIR/away"
}

@test "nic attach, list, detach change the pod's spec" {
  run -0 "$BIN/alkaidctl" nic attach nginx-vm
  assert_output 'nic eth1 of pod nginx-vm attached (under way)'
  assert_equal "$(nics)" 'eth0 eth1'
  run -0 "$BIN/alkaidctl" nic list nginx-vm
  assert_line --regexp '^eth1 '
  run -0 "$BIN/alkaidctl" nic list --output json nginx-vm
  assert_output --partial '"name": "eth1"'
  run -1 "$BIN/alkaidctl" nic attach nginx-vm eth1
  assert_output --partial 'the pod has a NIC eth1'
  run -0 "$BIN/alkaidctl" nic detach nginx-vm eth1 --wait
  assert_equal "$(nics)" eth0
  run -1 "$BIN/alkaidctl" nic detach nginx-vm eth1
}

@test "what the server refuses is said in its words" {
  run -1 "$BIN/alkaidctl" nic detach nginx-vm eth0
  assert_output --partial eth0
  run -1 "$BIN/alkaidctl" nic attach nginx-vm 'no name'
  assert_output --partial 'spec.nics[1].name'
  run -1 "$BIN/alkaidctl" nic attach nginx-vm --ip 10.0.0.300
  assert_output --partial ipAddress
  run -1 "$BIN/alkaidctl" nic list absent
  assert_output --partial absent
  assert_equal "$(nics)" eth0
}

@test "nic attach --wait says so when it takes too long" {
  run -1 "$BIN/alkaidctl" nic attach nginx-vm eth5 --wait --timeout 1s
  assert_output --partial 'eth5: not within the time'
}

@test "kubectl nic is the same" {
  PATH=$BATS_FILE_TMPDIR:$PATH run -0 kubectl nic list nginx-vm
  assert_line --regexp '^eth0 '
}
