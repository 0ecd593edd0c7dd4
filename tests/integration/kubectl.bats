#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2154 # $patch is JSON; run sets output and stderr
# Stock kubectl against an apiserver alone: what it reads from discovery and OpenAPI, and what it then does.
# $ALKAID_KUBECTLS: kubectl programs to test with, separated by blanks (default: the one on the PATH).

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup_file() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  export ROOT KUBECONFIG=$BATS_FILE_TMPDIR/pki/admin.kubeconfig HOME=$BATS_FILE_TMPDIR/home
  mkdir -p "$HOME"
  "$ROOT/build/${ALKAID_DEV_PRESET:-debug}/bin/alkaid-apiserver" --listen 127.0.0.1:0 \
    --state-dir "$BATS_FILE_TMPDIR/state" --pki-dir "$BATS_FILE_TMPDIR/pki" --bus-dir "$BATS_FILE_TMPDIR/bus" \
    >"$BATS_FILE_TMPDIR/log" 2>&1 3>&- &
  echo $! >"$BATS_FILE_TMPDIR/pid"
  wait_until 30 ready || { cat "$BATS_FILE_TMPDIR/log" >&2 && return 1; }
}

teardown_file() {
  local pid
  pid=$(<"$BATS_FILE_TMPDIR/pid")
  kill "$pid"
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

each_kubectl() { # FUNCTION: with $kubectl set, and a discovery cache that is empty
  local programs kubectl
  read -ra programs <<<"${ALKAID_KUBECTLS:-kubectl}"
  for kubectl in "${programs[@]}"; do
    rm -rf "$HOME/.kube"
    echo "with $kubectl"
    "$1"
    "$kubectl" delete pods --all --wait=false --grace-period=0 --force
    wait_until 15 no_pods
  done
}
no_pods() { [[ ! $(kubectl get pods -o name) ]]; }

pod() { # NIC...
  local nic
  printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: vm\nspec:\n  vpc: demo\n  nics:\n'
  for nic in "$@"; do printf '  - name: %s\n' "$nic"; done
  printf '  virtualMachine:\n    name: vm\n    image: images.test/vm.qcow2\n'
  printf '    resources:\n      limits:\n        cpu: 1\n        memory: 200Mi\n'
}
nics() { "$kubectl" get pod vm -o 'jsonpath={.spec.nics[*].name}'; }

check_resources() {
  run -0 "$kubectl" api-resources
  assert_line --regexp '^pods +po +v1 +true +Pod'
  assert_line --regexp '^vpcs .*vpc.alkaid.io/v1 +true +VPC'
  run -0 "$kubectl" api-versions
  assert_output $'authentication.k8s.io/v1\nauthorization.k8s.io/v1\nv1\nvpc.alkaid.io/v1'
}
@test "api-resources lists every kind" { each_kubectl check_resources; }

check_explain() {
  run -0 "$kubectl" explain pod.spec.nics
  assert_line --regexp 'macAddress'
  assert_line --regexp 'name.*<string>.*required'
  run -0 "$kubectl" explain port.spec.boundTo
  run -1 "$kubectl" explain pod.spec.nonsense
}
@test "explain knows the fields of a NIC" { each_kubectl check_explain; }

check_apply() {
  run -0 "$kubectl" apply -f - <<<"$(pod eth0)"
  assert_output 'pod/vm created'
  run -0 "$kubectl" apply -f - <<<"$(pod eth0)"
  assert_output 'pod/vm unchanged'
  run -0 "$kubectl" apply -f - <<<"$(pod eth0 eth1)"
  assert_output 'pod/vm configured'
  assert_equal "$(nics)" 'eth0 eth1'
  run -0 "$kubectl" apply -f - <<<"$(pod eth0)"
  assert_output 'pod/vm configured'
  assert_equal "$(nics)" eth0
}
@test "apply, again and again: NICs are merged by name" { each_kubectl check_apply; }

check_dry_run() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  run -0 "$kubectl" apply --dry-run=server -f - <<<"$(pod eth0 eth1)"
  assert_output 'pod/vm configured (server dry run)'
  assert_equal "$(nics)" eth0
  run -1 "$kubectl" apply --dry-run=server -f - <<<"$(pod eth0 eth0)"
  assert_output --partial 'spec.nics[1].name'
}
@test "apply --dry-run=server checks and stores nothing" { each_kubectl check_dry_run; }

check_diff() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  run -0 "$kubectl" diff -f - <<<"$(pod eth0)"
  assert_output ''
  run -1 "$kubectl" diff -f - <<<"$(pod eth0 eth1)"
  assert_line --regexp '^\+ *(- )?name: eth1$'
  assert_equal "$(nics)" eth0
}
@test "diff shows what apply would change" { each_kubectl check_diff; }

check_wide() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  run -0 "$kubectl" get pod vm -o wide
  assert_line --regexp '^NAME +.*NICS.*AGE'
  assert_line --regexp '^vm '
  run -0 "$kubectl" get vpcs,subnets,ports -o wide
  assert_output --partial 'vpc.vpc.alkaid.io/demo'
}
@test "get -o wide has the columns of each kind" { each_kubectl check_wide; }

check_unknown_field() {
  run -1 "$kubectl" apply -f - <<<"$(pod eth0 | sed 's/^  vpc:/  vcp: x\n&/')"
  assert_output --regexp 'unknown field "?(spec\.)?vcp'
}
@test "an unknown field is refused, by its name" { each_kubectl check_unknown_field; }

check_patch() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  run -0 "$kubectl" patch pod vm -p '{"spec":{"nics":[{"name":"eth1"}]}}'
  assert_equal "$(nics)" 'eth0 eth1'
  run -0 "$kubectl" patch pod vm -p '{"spec":{"nics":[{"$patch":"delete","name":"eth1"}]}}'
  assert_equal "$(nics)" eth0
}
@test "patch adds and deletes NICs by name" { each_kubectl check_patch; }
