#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Other people's client libraries against an apiserver alone: Debian's python3-kubernetes, and
# @kubernetes/client-node, got through npm.

bats_require_minimum_version 1.5.0
load helpers

CLIENT_NODE=@kubernetes/client-node@1.4.0

setup_file() {
  start_apiserver
  start_console
}

teardown_file() { stop_services; }

@test "python3-kubernetes: typed, dynamic, paged, watching" {
  /usr/bin/python3 -c 'import kubernetes' 2>/dev/null || skip 'python3-kubernetes is not installed'
  /usr/bin/python3 "$BATS_TEST_DIRNAME/clients/python.py"
}

@test "@kubernetes/client-node: informer, patches, a resumed watch, attach" {
  local directory=$BATS_TEST_TMPDIR/node
  command -v node npm >/dev/null || skip 'node and npm are not installed'
  mkdir "$directory"
  cd "$directory"
  npm install --no-fund --no-audit --no-save "$CLIENT_NODE" >npm.log 2>&1 ||
    skip "npm cannot get $CLIENT_NODE: $(grep -m1 'npm error' npm.log)"
  printf '%s\n' 'apiVersion: v1' 'kind: Pod' 'metadata: {name: vm}' 'spec:' '  vpc: demo' '  nics: [{name: eth0}]' \
    '  virtualMachine: {name: vm, image: images.test/vm.qcow2, resources: {limits: {cpu: 1, memory: 200Mi}}}' |
    kubectl create -f -
  cp "$BATS_TEST_DIRNAME/clients/node.mjs" .
  run -0 timeout 120 node node.mjs
  assert_line 'attach: well'
}

@test "the benchmark of the apiserver runs" {
  run -0 "$BIN/bench-api" --pki-dir "$BATS_FILE_TMPDIR/pki" --pid "$(service_pid apiserver)" --seconds 1 \
    --rounds 2 --pods 64 --watchers 20
  assert_line --regexp '^patch, +64 clients: +[0-9]+ /s'
  assert_line --regexp '^watch, +20 watchers: p50'
  assert_line --regexp '^memory, with the watchers: [0-9.]+ MB'
}
