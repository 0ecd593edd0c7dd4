#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The containers: compose file, image, and the whole stack in them with one VM. Skipped where no engine runs.

load ../e2e/load-libraries

PROJECT=alkaid-test

setup_file() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  export ROOT ALKAID_NODE_NAME=docker-test ALKAID_PORT=16443
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
}

@test "the image builds" {
  need_engine
  docker image inspect debian:bookworm-slim >/dev/null 2>&1 || docker pull -q debian:bookworm-slim ||
    skip 'no base image debian:bookworm-slim, and none can be pulled'
  docker build -q --network host -t alkaid -f "$ROOT/docker/Dockerfile" "$ROOT"
  run docker run --rm alkaid alkaid-hypervisor --version
  assert_success
}

@test "the stack in containers: a VM pod becomes Running, a NIC is plugged" {
  need_engine
  need_compose
  docker image inspect alkaid >/dev/null 2>&1 || skip 'the image was not built'
  mkdir -p "$BATS_TEST_TMPDIR/images/www/0.3.5"
  cp "$ROOT/build/guest/guest.qcow2" "$BATS_TEST_TMPDIR/images/www/0.3.5/cirros-0.3.5-x86_64-disk.img"
  base=$("$ROOT/tests/lib/image-server" start "$BATS_TEST_TMPDIR/images")
  export ALKAID_IMAGE_MIRROR=download.cirros-cloud.net=$base
  compose up -d 3>&- 4>&-
  touch "$BATS_TEST_TMPDIR/started"
  export KUBECONFIG=$BATS_TEST_TMPDIR/kubeconfig
  for ((i = 0; i < 300; i++)); do
    if (umask 077 && compose exec -T apiserver cat /var/lib/alkaid/apiserver/pki/admin.kubeconfig >"$KUBECONFIG" 2>/dev/null) &&
      [[ $(kubectl get node docker-test -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]]; then
      break
    fi
    sleep 0.2
  done
  kubectl apply -f "$ROOT/examples/vm-nic-hotplug.yaml"
  "$ROOT/tests/lib/watch-pod" nginx-vm .status.phase Running 120
  kubectl patch pod nginx-vm -p "$(cat "$ROOT/examples/patch-nic-hotplug.yaml")"
  "$ROOT/tests/lib/watch-pod" nginx-vm '.status.nicStatuses[?(@.name=="eth1")].state' Ready 60
  kubectl delete pod nginx-vm --timeout 60s
}

teardown() {
  if [[ -e $BATS_TEST_TMPDIR/started ]]; then
    compose logs --no-color --tail 40
    compose run --rm -T network alkaid-network --teardown --node-name docker-test --state-dir /var/lib/alkaid/network
    compose down -v -t 5
    "$ROOT/tests/lib/image-server" stop "$BATS_TEST_TMPDIR/images"
  fi
}
