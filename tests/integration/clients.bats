#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Other people's client libraries against an apiserver alone: Debian's python3-kubernetes, and
# @kubernetes/client-node, got through npm.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

CLIENT_NODE=@kubernetes/client-node@1.4.0

setup_file() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  export ROOT KUBECONFIG=$BATS_FILE_TMPDIR/pki/admin.kubeconfig HOME=$BATS_FILE_TMPDIR/home
  mkdir -p "$HOME"
  local build=$ROOT/build/${ALKAID_DEV_PRESET:-debug}
  "$build/bin/alkaid-apiserver" --listen 127.0.0.1:0 --state-dir "$BATS_FILE_TMPDIR/state" \
    --pki-dir "$BATS_FILE_TMPDIR/pki" --bus-dir "$BATS_FILE_TMPDIR/bus" >"$BATS_FILE_TMPDIR/log" 2>&1 3>&- &
  echo $! >"$BATS_FILE_TMPDIR/pid"
  wait_until 30 ready || { cat "$BATS_FILE_TMPDIR/log" >&2 && return 1; }
  mkdir -p "$BATS_FILE_TMPDIR/bus"
  "$build/tests/console-echo" "$BATS_FILE_TMPDIR/bus" 3>&- &
  echo $! >"$BATS_FILE_TMPDIR/console.pid"
}

teardown_file() {
  local pid
  pid=$(<"$BATS_FILE_TMPDIR/pid")
  kill "$pid" "$(<"$BATS_FILE_TMPDIR/console.pid")"
  wait_until 15 gone "$pid"
}

ready() { [[ -f $KUBECONFIG ]] && kubectl get --raw /readyz >/dev/null 2>&1; }
gone() { ! kill -0 "$1" 2>/dev/null; }

wait_until() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

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
  local build=$ROOT/build/${ALKAID_DEV_PRESET:-debug}
  run -0 "$build/bin/bench-api" --pki-dir "$BATS_FILE_TMPDIR/pki" --pid "$(<"$BATS_FILE_TMPDIR/pid")" --seconds 1 \
    --rounds 2 --pods 64 --watchers 20
  assert_line --regexp '^patch, +64 clients: +[0-9]+ /s'
  assert_line --regexp '^watch, +20 watchers: p50'
  assert_line --regexp '^memory, with the watchers: [0-9.]+ MB'
}
