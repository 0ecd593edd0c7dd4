#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # run sets output
# A node's life as operators see it: it registers, falls silent, comes back; pods go where they fit; cordon and drain
# move nothing by surprise. All services of a node, with fake backends, and stock kubectl.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  export NODE=$BATS_FILE_TMPDIR/node KUBECONFIG=$BATS_FILE_TMPDIR/node/kubeconfig HOME=$BATS_FILE_TMPDIR/home
  mkdir -p "$HOME"
  FAKE_NODE_APISERVER='--node-grace 5s' FAKE_NODE_WATCHER='--lease-interval 500ms --nic-slots 8' \
    "$ROOT/tests/lib/fake-node" start "$NODE" "$BIN"
}

teardown_file() {
  [[ ! -f $NODE/run/watcher ]] || kill -CONT "$(<"$NODE/run/watcher")"
  "$ROOT/tests/lib/fake-node" stop "$NODE"
}

teardown() { # whatever a test has left in the middle
  kill -CONT "$(<"$NODE/run/watcher")"
  kubectl uncordon fake
  kubectl delete pods --all --wait=false
  wait_until 60 no_pods
}
no_pods() { [[ ! $(kubectl get pods -o name) ]]; }

pod() { # NAME [LINE-OF-SPEC...]
  pod_yaml "$1" eth0 | sed 's|images.test/vm.qcow2|download.cirros-cloud.net/0.3.5/cirros-0.3.5-x86_64-disk.img|'
  (($# < 2)) || printf '  %s\n' "${@:2}"
}
running() { [[ $(kubectl get pod "$1" -o 'jsonpath={.status.phase}') == Running ]]; }
condition() { # KIND/NAME: its Ready
  kubectl get "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
}
is() { [[ $(condition "$1") == "$2" ]]; }
waits_for() { kubectl get pod "$1" -o 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'; }
waits() { [[ $(waits_for "$1") == *"$2"* ]]; }
renewal() { kubectl get lease fake -n kube-node-lease -o 'jsonpath={.spec.renewTime}'; }
renewed_since() { [[ $(renewal) != "$1" ]]; }

@test "a node registers: what it has, where it is, what it runs; it renews a lease" {
  run -0 kubectl get node fake -o json
  run -0 jq -re '.status | .capacity.cpu, .capacity.memory, .capacity.pods, .capacity["alkaid.io/nic-slots"],
    .allocatable["alkaid.io/nic-slots"], .allocatable["alkaid.io/vm-nic-slots"], .nodeInfo.kubeletVersion,
    .nodeInfo.kernelVersion, (.addresses[] | select(.type == "InternalIP").address)' <<<"$output"
  assert_line 8
  assert_line --regexp '^alkaid-'
  run -0 kubectl get lease fake -n kube-node-lease -o 'jsonpath={.spec.holderIdentity}'
  assert_output fake
  wait_until 60 renewed_since "$(renewal)"
}

@test "a silent node: NotReady, its pods Unknown, all that is theirs stays; back, it says what is" {
  local port before
  kubectl apply -f - <<<"$(pod vm)"
  wait_until 60 running vm
  wait_until 60 is pod/vm True
  port=$(kubectl get pod vm -o 'jsonpath={.spec.nics[0].portId}')
  before=$(kubectl get port "$port" -o 'jsonpath={.spec} {.status.phase}')
  kill -STOP "$(<"$NODE/run/watcher")"
  wait_until 60 is node/fake Unknown
  wait_until 60 is pod/vm Unknown
  run -0 kubectl get nodes --no-headers
  assert_output --partial ' NotReady '
  run -0 kubectl get pods --no-headers
  assert_output --partial ' Unknown '
  assert_equal "$(kubectl get port "$port" -o 'jsonpath={.spec} {.status.phase}')" "$before"
  assert_equal "$(kubectl get pod vm -o 'jsonpath={.spec.nodeName} {.status.phase}')" 'fake Running'
  run -0 kubectl get events --field-selector reason=NodeNotReady -o 'jsonpath={.items[*].involvedObject.name}'
  assert_output --partial fake
  kubectl apply -f - <<<"$(pod second)"
  wait_until 60 waits second '1 node(s) were not ready'
  kill -CONT "$(<"$NODE/run/watcher")"
  wait_until 60 is node/fake True
  wait_until 60 is pod/vm True
  wait_until 60 running second
  assert_equal "$(kubectl get port "$port" -o 'jsonpath={.spec} {.status.phase}')" "$before"
}

@test "cordon keeps new pods away, uncordon lets them in" {
  run -0 kubectl cordon fake
  run -0 kubectl get nodes --no-headers
  assert_output --partial 'Ready,SchedulingDisabled'
  kubectl apply -f - <<<"$(pod vm)"
  wait_until 60 waits vm '0/1 nodes are available: 1 node(s) were unschedulable'
  run -0 kubectl describe pod vm
  assert_output --partial FailedScheduling
  run -0 kubectl uncordon fake
  wait_until 60 running vm
}

@test "nodeSelector, taints and requests decide; the event says why" {
  kubectl apply -f - <<<"$(pod picky 'nodeSelector: {disk: fast}')"
  wait_until 60 waits picky "didn't match Pod's node affinity/selector"
  run -0 kubectl label node fake disk=fast
  wait_until 60 running picky
  run -0 kubectl label node fake disk-
  run -0 kubectl taint node fake kind=special:NoSchedule
  kubectl apply -f - <<<"$(pod plain)"
  kubectl apply -f - <<<"$(pod special 'tolerations: [{key: kind, operator: Exists}]')"
  wait_until 60 waits plain 'untolerated taint'
  wait_until 60 running special
  run -0 kubectl taint node fake kind-
  wait_until 60 running plain
  kubectl apply -f - <<<"$(pod large | sed 's/limits:/requests: {cpu: 500}\n      limits:/; s/cpu: 1$/cpu: 512/')"
  wait_until 60 waits large 'Insufficient cpu'
  kubectl apply -f - <<<"$(pod_yaml wide eth{0..8} |
    sed 's|images.test/vm.qcow2|download.cirros-cloud.net/0.3.5/cirros-0.3.5-x86_64-disk.img|')"
  wait_until 60 waits wide 'too few NIC slots'
}

@test "drain moves nothing by surprise: refused for VMs, a dry run changes nothing, --force evicts" {
  kubectl apply -f - <<<"$(pod vm)"
  wait_until 60 running vm
  run ! kubectl drain fake --timeout=60s
  assert_output --partial 'declare no controller (use --force to override)'
  run -0 kubectl get pod vm -o 'jsonpath={.status.phase}{.metadata.deletionTimestamp}'
  assert_output Running
  run -0 kubectl drain fake --force --dry-run=server
  assert_output --partial 'evicting pod default/vm (server dry run)'
  run -0 kubectl get pod vm -o 'jsonpath={.status.phase}{.metadata.deletionTimestamp}'
  assert_output Running
  run -0 kubectl drain fake --force --timeout=120s
  assert_output --partial 'pod/vm evicted'
  run -0 kubectl get pods -o name
  refute_output --partial pod/vm
  run -0 kubectl get node fake -o 'jsonpath={.spec.unschedulable}'
  assert_output true
}

ready_joined() { kubectl get node second -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q .; }

@test "node join: a token, a key of its own, a certificate, a configuration; a watcher that registers with them" {
  local token directory=$BATS_TEST_TMPDIR
  token=$("$BIN/alkaidctl" node token --pki-dir "$NODE/pki")
  run -0 "$BIN/alkaidctl" node join - --node-name second --out "$directory/second.kubeconfig" \
    --watcher-config "$directory/watcher.yaml" <<<"$token"
  assert_output --partial 'joined as second'
  run -0 stat -c %a "$directory/second.kubeconfig"
  assert_output 600
  run -0 kubectl --kubeconfig "$directory/second.kubeconfig" auth whoami -o json
  run -0 jq -r '.status.userInfo | .username, .groups[0]' <<<"$output"
  assert_output $'system:node:second\nsystem:nodes'
  mkdir -m 0700 "$directory/bus"
  "$BIN/alkaid-watcher" --config "$directory/watcher.yaml" --bus-dir "$directory/bus" \
    >"$directory/watcher.log" 2>&1 3>&- &
  echo $! >"$directory/pid"
  wait_until 60 ready_joined
  kill "$(<"$directory/pid")"
  # A node that is there keeps its name; one that was removed may join anew.
  run -1 "$BIN/alkaidctl" node join "$token" --node-name second --out "$directory/again.kubeconfig"
  assert_output --partial 'node "second" is there already'
  wait_until 60 gone "$(<"$directory/pid")"
  run -0 kubectl delete node second
  # A token is good for one node; that others are told so costs no name.
  run -1 "$BIN/alkaidctl" node join "$token" --node-name second --out "$directory/again.kubeconfig"
  assert_output --partial 'this token was used'
  [[ ! -e $directory/again.kubeconfig ]]
  token=$("$BIN/alkaidctl" node token --pki-dir "$NODE/pki")
  run -0 "$BIN/alkaidctl" node join "$token" --node-name second --out "$directory/again.kubeconfig"
  run -0 compgen -G "$NODE/pki/joined-*"
  [[ ${#lines[@]} == 2 ]]
  # What is known of a token that has ended is forgotten with the next one that is used.
  : >"$NODE/pki/tokens"
  token=$("$BIN/alkaidctl" node token --pki-dir "$NODE/pki")
  run -0 "$BIN/alkaidctl" node join "$token" --node-name third --out "$directory/third.kubeconfig"
  run -0 compgen -G "$NODE/pki/joined-*"
  [[ ${#lines[@]} == 1 ]]
}

@test "node join: what cannot be is refused, and a token is good for nothing else" {
  local token secret directory=$BATS_TEST_TMPDIR
  token=$("$BIN/alkaidctl" node token --pki-dir "$NODE/pki")
  secret=$(base64 -d <<<"$token" | jq -r .token)
  run -1 kubectl --kubeconfig /dev/null --server "$(kubectl config view --raw -o 'jsonpath={.clusters[0].cluster.server}')" \
    --certificate-authority "$NODE/pki/ca.crt" --token "$secret" get pods
  assert_output --partial 'cannot list resource "pods"'
  run -2 "$BIN/alkaidctl" node join nonsense --out "$directory/k"
  run -2 "$BIN/alkaidctl" node join "$token" --node-name Not_A_Name --out "$directory/k"
  run -1 "$BIN/alkaidctl" node join "$(base64 -d <<<"$token" | jq -c '.token = "guessed"' | base64 -w0)" \
    --node-name third --out "$directory/k"
  assert_output --partial Unauthorized
  touch "$directory/there"
  run -1 "$BIN/alkaidctl" node join "$token" --node-name third --out "$directory/there"
  assert_output --partial 'is there already'
  run -0 cat "$directory/there"
  assert_output ''
  # Nobody else signs requests, and not every request is signed.
  run -1 kubectl --kubeconfig "$NODE/pki/node.kubeconfig" create --raw /apis/node.alkaid.io/v1/nodejoins \
    -f <(printf '{"spec":{"request":"x"}}')
  assert_output --partial 'node token'
  run -1 kubectl create --raw /apis/node.alkaid.io/v1/nodejoins -f <(printf '{"spec":{"request":"x"}}')
  assert_output --partial 'is none in PEM'
  [[ ! -e $directory/k ]]
}
