#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The script itself: repeated, looked at, misused.

load helpers

dev() { "$ROOT/dev" --state "$STATE" "$@" 3>&- 4>&-; }

@test "kubeconfig: a path that kubectl can use, readable by its owner only" {
  run dev kubeconfig
  assert_success
  assert_equal "$(stat -c %a "$output")" 600
  kubectl --kubeconfig "$output" get nodes
}

@test "status: every service, libvirt, the node" {
  run dev status
  assert_success
  for service in apiserver watcher network hypervisor; do
    assert_line --regexp "^$service +[0-9]+ "
  done
  assert_line --regexp '^libvirt +answers '
  assert_line --regexp "^$NAME +Ready"
}

@test "up again: the same processes" {
  before=$(cat "$STATE"/run/*.pid)
  run dev up
  assert_success
  assert_equal "$(cat "$STATE"/run/*.pid)" "$before"
}

@test "a second stack of the same node name is refused" {
  run "$ROOT/dev" --state "$STATE.second" --name "$NAME" --libvirt private up 3>&- 4>&-
  assert_failure
  assert_output --partial "$NAME"
  rm -rf "$STATE.second"
}

@test "wrong usage: exit code 2 and a message" {
  for arguments in frobnicate 'up --nonsense' 'test nonsense' '--state / status' '--port 99999 status'; do
    # shellcheck disable=SC2086
    run "$ROOT/dev" $arguments
    assert_failure 2
    assert_output --partial 'dev: '
  done
}

@test "every program answers --help and --version, and refuses what it does not know" {
  for program in alkaid-apiserver alkaid-watcher alkaid-network alkaid-hypervisor alkaidctl; do
    run "$BIN/$program" --help
    assert_success
    assert_output --partial "$program"
    run "$BIN/$program" --version
    assert_success
    assert_output --regexp '[0-9]+\.[0-9]+\.[0-9]+'
    run "$BIN/$program" --no-such-option
    assert_failure 2
  done
}
