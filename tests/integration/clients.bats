#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Other people's client libraries against an apiserver alone: Debian's python3-kubernetes, and
# @kubernetes/client-node, got through npm.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver
  start_console
}

teardown_file() { stop_services; }

@test "python3-kubernetes: typed, dynamic, paged, watching" {
  /usr/bin/python3 -c 'import kubernetes' 2>/dev/null || skip 'python3-kubernetes is not installed'
  /usr/bin/python3 "$BATS_TEST_DIRNAME/clients/python.py"
}

@test "client-node of npm: informer, patches, a resumed watch, attach" {
  local directory=$BUILD/tests/client-node
  command -v node npm >/dev/null || skip 'node and npm are not installed'
  local code=0
  install_client_node "$directory" || code=$?
  ((code != OFFLINE)) || skip "npm reaches no registry: $(grep -m1 -E "$NO_NETWORK" "$directory/npm.log")"
  assert_equal "$code" 0
  kubectl create -f - <<<"$(pod_yaml vm eth0)"
  cp "$BATS_TEST_DIRNAME/clients/node.mjs" "$directory"
  run -0 timeout 120 node "$directory/node.mjs"
  assert_line 'attach: well'
}

NO_NETWORK='ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ENOTCACHED'
OFFLINE=7
# What package-lock.json names, checked by its hashes, kept for the next run.
install_client_node() { # DIRECTORY
  ! cmp -s "$BATS_TEST_DIRNAME/clients/package-lock.json" "$1/complete" || return 0
  rm -rf "$1"
  mkdir -p "$1"
  cp "$BATS_TEST_DIRNAME"/clients/{package.json,package-lock.json,.npmrc} "$1"
  if (cd "$1" && npm ci --fetch-retries=2 >npm.log 2>&1); then
    cp "$1/package-lock.json" "$1/complete"
    return 0
  fi
  cat "$1/npm.log"
  ! grep -qE "$NO_NETWORK" "$1/npm.log" || return "$OFFLINE"
  return 1
}

@test "no lock file names a registry" {
  run -1 grep -rnE '"resolved"|registry' "$BATS_TEST_DIRNAME"/clients/package-lock.json
}

@test "the benchmark of the apiserver runs" {
  run -0 "$BIN/bench-api" --pki-dir "$BATS_FILE_TMPDIR/pki" --pid "$(service_pid apiserver)" --seconds 1 \
    --rounds 2 --pods 64 --watchers 20
  assert_line --regexp '^ *patch, 64 clients +[0-9.]+ /s'
  assert_line --regexp '^ *watch, 20 watchers +median [0-9.]+'
  assert_line --regexp '^ *memory, with the watchers +[0-9.]+ MiB'
}
