#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The containers: compose files, image, and a cloud of two nodes in them. By the Docker engine that answers, else by
# one of our own, which goes again with all that it made. Skipped, with the reason, where none can run.

load ../e2e/load-libraries

PROJECT=alkaid-test

setup_file() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  export ROOT ALKAID_PORT=16443 COMPOSE_HTTP_TIMEOUT=300 NO_ENGINE='' OWN_ENGINE=''
  if ! type -P docker >/dev/null; then
    NO_ENGINE='docker is not installed'
  elif ! timeout 20 docker version >/dev/null 2>&1; then
    own_engine
  fi
}

own_engine() {
  local said=$BATS_FILE_TMPDIR/engine
  ((EUID == 0)) || { NO_ENGINE='no Docker engine answers, and only root can start one' && return; }
  OWN_ENGINE=/var/tmp/alkaid-docker.$$
  DOCKER_HOST=$(timeout -k 10 120 "$ROOT/tests/lib/private-dockerd" start "$OWN_ENGINE" 2>"$said" 3>&- 4>&-) ||
    NO_ENGINE=$(tail -n 1 "$said")
  export DOCKER_HOST
}

teardown_file() {
  [[ ! $OWN_ENGINE ]] || timeout -k 10 600 "$ROOT/tests/lib/private-dockerd" stop "$OWN_ENGINE"
}

# Everything that waits for the engine has a limit.
docker_in() { timeout -k 10 "$1" docker "${@:2}"; } # SECONDS COMMAND...

compose() {
  local program=(docker-compose)
  ! timeout 20 docker compose version >/dev/null 2>&1 || program=(docker compose)
  timeout -k 10 240 "${program[@]}" -p "$PROJECT" -f "$ROOT/docker/compose.yaml" "$@"
}

need_compose() {
  timeout 20 docker compose version >/dev/null 2>&1 || type -P docker-compose >/dev/null ||
    skip 'neither docker compose nor docker-compose is installed'
}

need_engine() { [[ ! $NO_ENGINE ]] || skip "$NO_ENGINE"; }

@test "the compose file is valid" {
  need_compose
  compose config -q
  compose -f "$ROOT/docker/compose.kvm.yaml" config -q
}

# Proxies are those of this machine, as are the package archives of a base image that cannot be pulled.
@test "the image builds" {
  local args=() name code=0
  need_engine
  run timeout -k 10 500 "$ROOT/tests/lib/private-dockerd" base debian:bookworm-slim "$ROOT/build/docker/bookworm.tar"
  ((status != 3)) || skip "$output"
  assert_success
  for name in http_proxy https_proxy no_proxy; do
    [[ ! ${!name:-} ]] || args+=(--build-arg "$name")
  done
  docker_in 780 build --network host "${args[@]}" -t alkaid -f "$ROOT/docker/Dockerfile" "$ROOT" \
    >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- 4>&- || code=$?
  case $code in
    0) ;;
    124 | 137) skip "the image was not built within 780 s; the last line: $(tail -n 1 "$BATS_TEST_TMPDIR/log")" ;;
    *) tail -n 40 "$BATS_TEST_TMPDIR/log" && return 1 ;;
  esac
  run docker_in 60 run --rm --network none alkaid alkaid-hypervisor --version
  assert_success
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

# In the guest of POD, over its serial console.
guest() { # POD COMMAND
  "$ROOT/tests/lib/guest-run" -t 120 "$2" -- script -qfec "kubectl attach -it $1" /dev/null
}
pings() { guest vm1 "ping -c 1 -W 2 $1" >/dev/null; } # ADDRESS
booted() { [[ $(kubectl --request-timeout 10s logs "$1" 2>/dev/null) == *SYSLINUX* ]]; }
healthy() { # SERVICE
  [[ $(docker_in 20 inspect -f '{{.State.Health.Status}}' "$(compose ps -q "$1")") == healthy ]]
}

# What a service may do is what README.md says; its root file system is read-only.
check_rights() { # SERVICE USER CAPABILITIES
  local id
  id=$(compose ps -q "$1")
  run docker_in 20 exec "$id" sh -c 'id -un; grep -h CapBnd /proc/1/status; ! touch /usr/x 2>/dev/null && echo read-only'
  assert_success
  assert_line --index 0 "$2"
  assert_line --index 1 --regexp "^CapBnd:[[:space:]]$3\$"
  assert_line --index 2 read-only
}

@test "two nodes in containers: a VM on each, a NIC plugged into each, ping; services and a whole node killed and back" {
  local service
  need_engine
  need_compose
  docker_in 20 image inspect alkaid >/dev/null 2>&1 || skip 'the image was not built'
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
  kubectl apply -f "$ROOT/docker/two-vms.yaml"
  check_rights apiserver alkaid 0000000000000000
  check_rights node1-watcher root 0000000000000000
  check_rights node1-hypervisor root 0000000000000000
  for service in apiserver node1-libvirt node1-network node1-hypervisor node1-watcher; do
    wait_until 120 healthy "$service"
  done
  nic_ready vm1 eth0
  nic_ready vm2 eth0
  kubectl patch pod vm1 -p '{"spec":{"nics":[{"name":"eth1"}]}}'
  kubectl patch pod vm2 -p '{"spec":{"nics":[{"name":"eth1"}]}}'
  nic_ready vm1 eth1
  nic_ready vm2 eth1
  wait_until 120 pings "$(address vm2 eth1)"
  wait_until 60 booted vm2
  # Its services, not its VMs.
  docker_in 60 kill "$(compose ps -q node2-network)" "$(compose ps -q node2-hypervisor)" "$(compose ps -q node2-watcher)"
  compose up -d 3>&- 4>&-
  kubectl patch pod vm2 -p '{"spec":{"nics":[{"name":"eth2"}]}}'
  nic_ready vm2 eth2
  wait_until 120 pings "$(address vm2 eth0)"
  # All of it, as if its power had gone: the VM is started anew, with its NICs and addresses.
  local ids=()
  for service in node2{,-libvirt,-network,-hypervisor,-watcher}; do
    ids+=("$(compose ps -q "$service")")
  done
  docker_in 60 kill "${ids[@]}"
  compose up -d 3>&- 4>&-
  wait_until 240 pings "$(address vm2 eth2)"
  kubectl delete pod vm1 vm2 --timeout 120s
}

teardown() {
  if [[ -e $BATS_TEST_TMPDIR/started ]]; then
    [[ ${BATS_TEST_COMPLETED:-} ]] || compose logs --no-color --tail 20 >&2
    compose down -v -t 5 >"$BATS_TEST_TMPDIR/down" 2>&1 || { cat "$BATS_TEST_TMPDIR/down" && return 1; }
  fi
}
