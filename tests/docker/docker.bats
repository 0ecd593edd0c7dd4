#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The containers: compose files, image, and a cloud of two nodes in them. Skipped where no engine runs.

load ../e2e/load-libraries

PROJECT=alkaid-test

setup_file() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  export ROOT ALKAID_PORT=16443 COMPOSE_HTTP_TIMEOUT=300
}

compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose -p "$PROJECT" -f "$ROOT/docker/compose.yaml" "$@"
  else
    docker-compose -p "$PROJECT" -f "$ROOT/docker/compose.yaml" "$@"
  fi
}

need_compose() {
  docker compose version >/dev/null 2>&1 || type -P docker-compose >/dev/null ||
    skip 'neither docker compose nor docker-compose is installed'
}

need_engine() {
  type -P docker >/dev/null || skip 'docker is not installed'
  docker info >/dev/null 2>&1 || skip 'no Docker engine answers'
}

@test "the compose file is valid" {
  need_compose
  compose config -q
  compose -f "$ROOT/docker/compose.kvm.yaml" config -q
}

@test "the image builds" {
  need_engine
  docker image inspect debian:bookworm-slim >/dev/null 2>&1 || docker pull -q debian:bookworm-slim ||
    skip 'no base image debian:bookworm-slim, and none can be pulled'
  docker build -q --network host -t alkaid -f "$ROOT/docker/Dockerfile" "$ROOT"
  run docker run --rm alkaid alkaid-hypervisor --version
  assert_success
}

vm_pod() { # NAME NODE
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  vpc: demo
  nodeName: $2
  nics: [{name: eth0}]
  virtualMachine: {name: $1, image: images.local/guest.qcow2, resources: {limits: {cpu: "1", memory: 200Mi}}}
EOF
}

nic_ready() { # POD NIC
  "$ROOT/tests/lib/watch-pod" "$1" ".status.nicStatuses[?(@.name==\"$2\")].state" Ready 240
}
address() { kubectl get pod "$1" -o "jsonpath={.status.nicStatuses[?(@.name==\"$2\")].ipAddresses[0]}"; }
node_ready() {
  [[ $(kubectl --request-timeout 5s get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]]
}
wait_until() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { echo "not so in time: $*" >&2 && return 1; }
    sleep 0.5
  done
}

# In the guest of NODE's POD, over its serial console.
guest() { # NODE POD COMMAND
  local container
  container=$(compose ps -q "$1-hypervisor")
  "$ROOT/tests/lib/guest-run" -t 120 "$3" -- docker exec -i "$container" \
    alkaidctl console --bus-dir /run/alkaid/bus "$(kubectl get pod "$2" -o 'jsonpath={.metadata.uid}')"
}
pings() { guest node1 vm1 "ping -c 1 -W 2 $1" >/dev/null; } # ADDRESS

@test "two nodes in containers: a VM on each, a NIC plugged into each, ping; a node's services killed and back" {
  need_engine
  need_compose
  docker image inspect alkaid >/dev/null 2>&1 || skip 'the image was not built'
  export ALKAID_IMAGES=$BATS_TEST_TMPDIR/images
  mkdir -p "$ALKAID_IMAGES"
  "$ROOT/tests/guest/build-image" -o "$ROOT/build/guest/guest.qcow2"
  cp "$ROOT/build/guest/guest.qcow2" "$ALKAID_IMAGES/"
  touch "$BATS_TEST_TMPDIR/started"
  compose up -d 3>&- 4>&-
  export KUBECONFIG=$BATS_TEST_TMPDIR/kubeconfig
  (umask 077 && compose exec -T apiserver cat /var/lib/alkaid/apiserver/pki/host.kubeconfig >"$KUBECONFIG")
  wait_until 120 node_ready node1
  wait_until 120 node_ready node2
  kubectl create -f <(vm_pod vm1 node1)
  kubectl create -f <(vm_pod vm2 node2)
  nic_ready vm1 eth0
  nic_ready vm2 eth0
  kubectl patch pod vm1 -p '{"spec":{"nics":[{"name":"eth1"}]}}'
  kubectl patch pod vm2 -p '{"spec":{"nics":[{"name":"eth1"}]}}'
  nic_ready vm1 eth1
  nic_ready vm2 eth1
  wait_until 120 pings "$(address vm2 eth1)"
  # Its services, not its VMs.
  docker kill "$(compose ps -q node2-network)" "$(compose ps -q node2-hypervisor)" "$(compose ps -q node2-watcher)"
  compose up -d 3>&- 4>&-
  kubectl patch pod vm2 -p '{"spec":{"nics":[{"name":"eth2"}]}}'
  nic_ready vm2 eth2
  wait_until 120 pings "$(address vm2 eth0)"
  kubectl delete pod vm1 vm2 --timeout 120s
}

teardown() {
  if [[ -e $BATS_TEST_TMPDIR/started ]]; then
    [[ ${BATS_TEST_COMPLETED:-} ]] || compose logs --no-color --tail 20 >&2
    compose down -v -t 5
  fi
}
