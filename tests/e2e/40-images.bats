#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images that must not be used: the pod says why, no VM is made, no file of the host is read.

load helpers

teardown() {
  tell_capture
  [[ ! ${server_pid:-} ]] || kill "$server_pid"
  delete_pods bad-image
}

# not_started IMAGE TEXT: a pod of this image is refused, or fails to start, and the text is in the reason.
not_started() {
  if ! run_create "$1"; then
    assert_output --regexp "$2"
    return
  fi
  watch_for bad-image '.status.conditions[*].message} {.status.message} {.status.reason' ".*($2).*" 60
  run domain_of bad-image
  assert_failure
  run kubectl get pod bad-image -o 'jsonpath={.status.phase}'
  refute_output Running
}

run_create() {
  run kubectl create -f <(pod_yaml bad-image vpcdemo "$1" eth0)
  # shellcheck disable=SC2154 # run sets it
  ((status == 0))
}

@test "a file: URL" {
  not_started file:///etc/passwd 'file|scheme|image'
}

@test "other schemes" {
  not_started ftp://images.test/guest.qcow2 'ftp|scheme|image'
  delete_pods bad-image
  not_started gopher://images.test/guest.qcow2 'gopher|scheme|image'
}

@test "a path outside the allowed directories" {
  not_started /etc/passwd 'image|director'
  delete_pods bad-image
  not_started ../../etc/passwd 'image|director'
}

@test "a redirect to a file: URL" {
  port=20900
  while [[ $(ss -Hltn "sport = :$port") ]]; do port=$((port + 1)); done
  socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" \
    SYSTEM:'printf "HTTP/1.1 302 Found\r\nLocation\: file\:///etc/passwd\r\nContent-Length\: 0\r\nConnection\: close\r\n\r\n"' \
    >/dev/null 2>&1 3>&- &
  server_pid=$!
  until_true 5 ss_listens "$port"
  not_started "http://127.0.0.1:$port/guest.qcow2" 'redirect|image|protocol|scheme|127\.0\.0\.1'
}

ss_listens() { [[ $(ss -Hltn "sport = :$1") ]]; }

@test "a qcow2 with a backing file on the host" {
  not_started images.test/backed.qcow2 'backing'
}

@test "something that is no disk image, something that is not there" {
  not_started images.test/absent.qcow2 '404|not found|Not Found'
}

@test "imagePullPolicy Never with an image that is not in the cache" {
  run kubectl create -f <(pod_yaml bad-image vpcdemo images.test/never.qcow2 eth0 |
    sed 's/^    image: .*/&\n    imagePullPolicy: Never/')
  assert_success
  watch_for bad-image '.status.conditions[*].message} {.status.message} {.status.reason' '.*(Never|cache|pull).*' 60
}
