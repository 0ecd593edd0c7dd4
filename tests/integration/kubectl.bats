#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2154 # $patch is JSON; run sets output and stderr
# Stock kubectl against an apiserver alone: what it reads from discovery and OpenAPI, and what it then does. With
# the kubectl on the PATH and, where apt can get it, Debian's, unpacked beside it.
# $ALKAID_KUBECTLS: kubectl programs to test with instead, separated by blanks.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver
  start_console
  export KUBECTLS=${ALKAID_KUBECTLS:-kubectl}
  [[ ${ALKAID_KUBECTLS:-} ]] || unpack_debians
}

# Another vendor's package may own /usr/bin/kubectl, so Debian's is not installed. Kept for the next run.
unpack_debians() {
  local directory=$BUILD/tests/debian-kubectl
  DEBIANS=$directory/root/usr/bin/kubectl
  export DEBIANS KUBECTLS
  if [[ ! -x $DEBIANS ]]; then
    rm -rf "$directory"
    install -d -m 0755 "$directory" # for apt's own user
    fetch_debians "$directory" >"$directory/log" 2>&1 || return 0
  fi
  KUBECTLS+=" $DEBIANS"
}
fetch_debians() { # DIRECTORY
  cd "$1" || return 1
  apt-get -q download kubernetes-client || { apt-get -q update && apt-get -q download kubernetes-client; } || return 1
  dpkg -x kubernetes-client_*.deb root
}

@test "Debian's kubectl is tested, too" {
  [[ ! ${ALKAID_KUBECTLS:-} ]] || skip "\$ALKAID_KUBECTLS says otherwise: $ALKAID_KUBECTLS"
  [[ -x $DEBIANS ]] || skip "apt cannot get it: $(grep -m1 '^E:' "$BUILD/tests/debian-kubectl/log")"
  run -0 "$DEBIANS" version --client
}

teardown_file() { stop_services; }

each_kubectl() { # FUNCTION: with $kubectl set, and a discovery cache that is empty
  local programs kubectl
  read -ra programs <<<"$KUBECTLS"
  for kubectl in "${programs[@]}"; do
    rm -rf "$HOME/.kube"
    echo "with $kubectl"
    "$1"
    "$kubectl" delete pods --all --wait=false --grace-period=0 --force
    wait_until 15 no_pods
  done
}
no_pods() { [[ ! $(kubectl get pods -o name) ]]; }

pod() { pod_yaml vm "$@"; } # NIC...
nics() { "$kubectl" get pod vm -o 'jsonpath={.spec.nics[*].name}'; }

check_resources() {
  run -0 "$kubectl" api-resources
  assert_line --regexp '^pods +po +v1 +true +Pod'
  assert_line --regexp '^vpcs .*vpc.alkaid.io/v1 +true +VPC'
  run -0 "$kubectl" api-versions
  assert_output $'authentication.k8s.io/v1\nauthorization.k8s.io/v1\ncoordination.k8s.io/v1\nnode.alkaid.io/v1\nv1\nvpc.alkaid.io/v1'
}
@test "api-resources lists every kind" { each_kubectl check_resources; }

check_explain() {
  run -0 "$kubectl" explain pod.spec.nics
  assert_line --regexp 'macAddress'
  assert_line --regexp 'name.*<string>.*required'
  run -0 "$kubectl" explain pod.spec.nics.macAddress
  run -0 "$kubectl" explain port.spec.boundTo
  run -1 "$kubectl" explain pod.spec.nonsense
}
@test "explain knows the fields of a NIC" { each_kubectl check_explain; }

check_explain_all() { /usr/bin/python3 "$BATS_TEST_DIRNAME/clients/explain.py" "$kubectl"; }
@test "explain: every type, down to its last field, has a description" { each_kubectl check_explain_all; }

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

check_create() { # kubectl sends these as protobuf
  run -0 "$kubectl" create namespace made
  assert_output 'namespace/made created'
  run -1 "$kubectl" create namespace made
  assert_output --partial AlreadyExists
  run -0 "$kubectl" delete namespace made --timeout=30s
  assert_output 'namespace "made" deleted'
}
@test "create and delete a namespace" { each_kubectl check_create; }

lease() { # NAME [OWNER-UID]: an owned one is held by a finalizer
  printf 'apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: %s\n' "$1"
  (($# < 2)) || printf '  finalizers: [x/held]\n  ownerReferences:\n  - {apiVersion: coordination.k8s.io/v1, %s%s}\n' \
    "kind: Lease, name: owner, blockOwnerDeletion: true, uid: " "$2"
}
check_cascade() {
  local uid
  uid=$("$kubectl" create -o 'jsonpath={.metadata.uid}' -f - <<<"$(lease owner)")
  "$kubectl" create -f - <<<"$(lease owned "$uid")"
  run -0 "$kubectl" delete lease owner --cascade=foreground --wait=false
  run -0 "$kubectl" get lease owner -o 'jsonpath={.metadata.finalizers}'
  assert_output '["foregroundDeletion"]'
  run -0 "$kubectl" patch lease owned --type merge -p '{"metadata":{"finalizers":null}}'
  run -0 "$kubectl" get leases -o name
  assert_output ''
  uid=$("$kubectl" create -o 'jsonpath={.metadata.uid}' -f - <<<"$(lease owner)")
  "$kubectl" create -f - <<<"$(lease owned "$uid")"
  run -0 "$kubectl" delete lease owner --cascade=orphan
  run -0 "$kubectl" get lease owned -o 'jsonpath={.metadata.ownerReferences}{.metadata.deletionTimestamp}'
  assert_output ''
  run -0 "$kubectl" patch lease owned --type merge -p '{"metadata":{"finalizers":null}}'
  run -0 "$kubectl" delete lease owned
}
@test "delete --cascade: foreground waits for dependents, orphan leaves them" { each_kubectl check_cascade; }

check_can_i() {
  run -0 "$kubectl" auth can-i patch pods/status
  assert_line yes
}
@test "auth can-i" { each_kubectl check_can_i; }

check_server_side() {
  run -1 "$kubectl" apply --server-side -f - <<<"$(pod eth0)"
  assert_output --partial 'use kubectl apply without --server-side'
}
@test "apply --server-side is told what to do instead" { each_kubectl check_server_side; }

check_selectors() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  "$kubectl" label pod vm tier=web
  run -0 "$kubectl" get pods -l 'tier in (web,db),!absent' --field-selector metadata.name=vm -o name
  assert_output pod/vm
  run -0 "$kubectl" get pods -l 'tier notin (web)' -o name
  assert_output ''
}
@test "selectors by sets of labels and by fields" { each_kubectl check_selectors; }

check_describe() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  wait_until 10 described
}
described() { [[ $("$kubectl" describe pod vm) == *Events:*FailedScheduling*alkaid-apiserver*'nodes are available'* ]]; }
@test "describe shows the pod's events" { each_kubectl check_describe; }

check_wait() {
  if [[ $("$kubectl" version --client -o json) =~ '"minor": "2'[0-2] ]]; then
    echo 'this kubectl has no wait --for=jsonpath'
    return
  fi
  "$kubectl" apply -f - <<<"$(pod eth0)"
  "$kubectl" patch pod vm --subresource=status --type=merge -p '{"status":{"message":"here"}}' &
  run -0 "$kubectl" wait pod/vm --for=jsonpath='{.status.message}'=here --timeout=20s
  assert_output 'pod/vm condition met'
  wait
}
@test "wait --for=jsonpath" { each_kubectl check_wait; }

check_watch() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  "$kubectl" get events --watch-only -o 'jsonpath={.reason}{"\n"}' >"$BATS_TEST_TMPDIR/events" 3>&- &
  local pid=$!
  wait_until 20 told
  kill "$pid"
  wait_until 10 gone "$pid"
}
told() { # a new reason each time, until the watch has begun
  "$kubectl" create -f - <<<'{"apiVersion":"v1","kind":"Event","metadata":{"generateName":"e-","namespace":"default"},
    "involvedObject":{"kind":"Pod","name":"vm","namespace":"default"},"reason":"Told","type":"Normal"}' >/dev/null
  grep -q Told "$BATS_TEST_TMPDIR/events"
}
@test "get events --watch" { each_kubectl check_watch; }

check_replace() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  "$kubectl" annotate pod vm note=kept
  "$kubectl" get pod vm -o json >"$BATS_TEST_TMPDIR/pod.json"
  run -0 "$kubectl" replace -f "$BATS_TEST_TMPDIR/pod.json"
  run -0 "$kubectl" patch pod vm --type=json -p '[{"op":"test","path":"/metadata/annotations/note","value":"kept"}]'
  assert_output --regexp 'pod/vm patched( \(no change\))?'
  run -1 "$kubectl" patch pod vm --type=json -p '[{"op":"test","path":"/metadata/annotations/note","value":"lost"}]'
}
@test "replace, and a JSON patch that tests" { each_kubectl check_replace; }

check_attach() {
  if [[ $("$kubectl" version --client -o json) =~ '"minor": "2'[0-9] ]]; then
    echo 'this kubectl attaches over SPDY only'
    run -1 "$kubectl" attach vm
    return
  fi
  "$kubectl" apply -f - <<<"$(pod eth0)"
  rm -f "$BATS_TEST_TMPDIR/keys"
  mkfifo "$BATS_TEST_TMPDIR/keys"
  # The terminal; it ends with its keyboard.
  script -qfec "$kubectl attach -it vm" /dev/null <"$BATS_TEST_TMPDIR/keys" >"$BATS_TEST_TMPDIR/screen" 3>&- &
  local terminal=$!
  exec 7>"$BATS_TEST_TMPDIR/keys"
  wait_until 20 grep -q 'login: ' "$BATS_TEST_TMPDIR/screen"
  printf 'ask 41\r' >&7
  wait_until 20 grep -q 'answer 42' "$BATS_TEST_TMPDIR/screen"
  exec 7>&-
  kill "$terminal"
  wait_until 10 gone "$terminal"
  run -0 "$kubectl" logs vm --tail=1
  assert_output 'login: '
}
@test "attach through a terminal: a command typed, its answer read; logs" { each_kubectl check_attach; }

check_logs() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  run -0 "$kubectl" logs vm
  assert_output $'booted\r\nlogin: '
  run -0 "$kubectl" logs vm --tail=1
  assert_output 'login: '
  run -0 "$kubectl" logs vm --timestamps --tail=1
  assert_output '2026-01-02T03:04:06.000000Z login: '
  run -0 "$kubectl" logs vm --since-time=2026-01-02T03:04:06Z
  assert_output 'login: '
  run -0 "$kubectl" logs vm --since=1h
  assert_output ''
  run -0 "$kubectl" logs vm --limit-bytes=3
  assert_output boo
  run -1 "$kubectl" logs vm --previous
  assert_output --partial 'earlier run of the VM is not kept'
  "$kubectl" logs vm -f >"$BATS_TEST_TMPDIR/followed" 3>&- &
  local pid=$!
  wait_until 20 grep -q booted "$BATS_TEST_TMPDIR/followed" # kubectl prints whole lines
  kill -0 "$pid"
  kill "$pid"
  wait_until 10 gone "$pid"
}
@test "logs: by lines, times and bytes, and followed" { each_kubectl check_logs; }

check_not_served() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  do_it PATCH "$PODS/vm/status" '{"status":{"phase":"Running"}}' application/merge-patch+json
  run -1 "$kubectl" exec vm -- ls
  assert_output --partial 'pods/exec is not served: a VM runs no commands from outside: use its console'
  run -1 "$kubectl" cp /etc/hosts vm:/tmp/hosts
  assert_output --partial 'pods/exec is not served'
  run -1 "$kubectl" port-forward vm :80
  assert_output --partial 'pods/portforward is not served: connect to an address of the VM itself'
  run -1 "$kubectl" scale --replicas=2 pod/vm
  assert_output --partial 'pods/scale is not served: a pod is one VM'
  run -1 "$kubectl" create configmap c --from-literal=a=b
  assert_output --regexp 'could not find the requested resource|no matches for kind "ConfigMap"'
}
@test "what is not served says what to do instead" { each_kubectl check_not_served; }

check_edits() {
  "$kubectl" apply -f - <<<"$(pod eth0)"
  printf '#!/bin/sh\nsed -i "/^metadata:/a\\  labels: {by: edit}" "$1"\n' >"$BATS_TEST_TMPDIR/editor"
  chmod +x "$BATS_TEST_TMPDIR/editor"
  EDITOR=$BATS_TEST_TMPDIR/editor run -0 timeout 30 "$kubectl" edit pod vm
  assert_output --partial 'pod/vm edited'
  run -0 "$kubectl" label pod vm by=label --overwrite
  run -1 "$kubectl" label pod vm by=again
  assert_output --partial "'by' already has a value (label)"
  run -0 "$kubectl" annotate pod vm note=well
  run -0 "$kubectl" get pod vm -L by --no-headers
  assert_output --regexp '^vm .* label$'
  run -0 "$kubectl" create --dry-run=client -o name -f - <<<"$(pod eth0)"
  assert_output pod/vm
  run -0 "$kubectl" get --raw /metrics
  assert_line --regexp '^alkaid_http_connections'
  run -0 "$kubectl" delete pods --all --dry-run=server
  assert_output 'pod "vm" deleted (server dry run)'
  run -0 "$kubectl" get pods --chunk-size=1 -A -o name
  assert_output pod/vm
  run -0 "$kubectl" delete pods -l by=label --grace-period=0 --force
  run -0 "$kubectl" get pods -o name
  refute_output --partial pod/vm
}
@test "edit, label, annotate, delete by label" { each_kubectl check_edits; }

@test "apply --validate: strict refuses, warn warns, ignore is silent" {
  local bad
  bad=$(pod eth0 | sed 's/^  vpc:/  bogus: 1\n&/')
  run -1 kubectl apply --validate=strict -f - <<<"$bad"
  assert_output --partial 'unknown field "spec.bogus"'
  run -0 kubectl apply --validate=warn --dry-run=server -f - <<<"$bad"
  assert_line 'Warning: unknown field "spec.bogus"'
  run -0 kubectl apply --validate=ignore --dry-run=server -f - <<<"$bad"
  refute_output --partial bogus
}

@test "who one is and what one may" {
  run -0 kubectl auth whoami -o 'jsonpath={.status.userInfo.username}'
  assert_output admin
  run -0 kubectl auth can-i --list
  assert_line --regexp '^\*\.\* .*\[\*\]'
}

# kubectl leaves the terminal as it was, whether it detaches by itself or is ended.
@test "attach: the terminal is as before, several readers, the VM is left alone" {
  kubectl apply -f - <<<"$(pod eth0)"
  mkfifo "$BATS_TEST_TMPDIR/keys"
  cat >"$BATS_TEST_TMPDIR/session" <<'SESSION'
stty -a >before
sh -c 'echo $$ >kubectl.pid; exec kubectl attach -it vm'
stty -a >after
SESSION
  (cd "$BATS_TEST_TMPDIR" && exec script -qfec 'bash session' /dev/null <keys >screen 3>&-) &
  local terminal=$!
  exec 7>"$BATS_TEST_TMPDIR/keys"
  wait_until 20 grep -q 'login: ' "$BATS_TEST_TMPDIR/screen"
  kubectl attach vm >"$BATS_TEST_TMPDIR/second" 3>&- &
  local second=$!
  wait_until 20 grep -q 'login: ' "$BATS_TEST_TMPDIR/second"
  printf '\003ask 1\r' >&7 # Ctrl-C goes to the guest
  wait_until 20 grep -q 'answer 2' "$BATS_TEST_TMPDIR/screen"
  kill "$(<"$BATS_TEST_TMPDIR/kubectl.pid")"
  wait_until 20 cmp "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
  kill -0 "$second"
  kill "$second"
  exec 7>&-
  wait_until 10 gone "$terminal"
  wait_until 10 gone "$second"
  run -0 kubectl logs vm --tail=1
  kubectl delete pods --all --grace-period=0 --force
}
