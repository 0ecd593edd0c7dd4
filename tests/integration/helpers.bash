# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
# What the suites of this directory share: an apiserver alone on a free port, waiting, requests with curl.

load ../e2e/load-libraries

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
BUILD=$ROOT/build/${ALKAID_DEV_PRESET:-release}
BIN=$BUILD/bin
PKI=$BATS_FILE_TMPDIR/pki
PODS=/api/v1/namespaces/default/pods

# start_apiserver [OPTION...]: for this file; $KUBECONFIG is its administrator's, $SERVER its URL.
start_apiserver() {
  export KUBECONFIG=$PKI/admin.kubeconfig HOME=$BATS_FILE_TMPDIR/home
  mkdir -p "$HOME" "$BATS_FILE_TMPDIR/bus"
  start_service apiserver "$BIN/alkaid-apiserver" --listen 127.0.0.1:0 --state-dir "$BATS_FILE_TMPDIR/state" \
    --pki-dir "$PKI" --bus-dir "$BATS_FILE_TMPDIR/bus" "$@"
  wait_until 30 ready || { cat "$BATS_FILE_TMPDIR/apiserver.log" >&2 && return 1; }
  SERVER=$(kubectl config view --raw -o 'jsonpath={.clusters[0].cluster.server}')
  export SERVER
}

# A console of every VM, without VMs.
start_console() { start_service console "$BUILD/tests/console-echo" "$BATS_FILE_TMPDIR/bus"; }

start_service() { # NAME COMMAND...
  "${@:2}" >"$BATS_FILE_TMPDIR/$1.log" 2>&1 3>&- &
  echo $! >"$BATS_FILE_TMPDIR/$1.pid"
}
service_pid() { cat "$BATS_FILE_TMPDIR/$1.pid"; }

stop_services() {
  local file pid
  for file in "$BATS_FILE_TMPDIR"/*.pid; do
    pid=$(<"$file")
    kill "$pid"
    wait_until 15 gone "$pid"
  done
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

pod_yaml() { # NAME NIC...
  local nic
  printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\nspec:\n  vpc: demo\n  nics:\n' "$1"
  for nic in "${@:2}"; do printf '  - name: %s\n' "$nic"; done
  printf '  virtualMachine:\n    name: vm\n    image: images.test/vm.qcow2\n'
  printf '    resources:\n      limits:\n        cpu: 1\n        memory: 200Mi\n'
}

pod_json() { # NAME [METADATA]
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"%s},"spec":{"vpc":"demo","nics":[{"name":"eth0"}],' \
    "$1" "${2:+,$2}"
  printf '"virtualMachine":{"name":"vm","image":"images.test/vm.qcow2","resources":{"limits":{"cpu":"1","memory":"200Mi"}}}}}'
}

# The administrator's certificate, as words for curl.
admin_curl() {
  printf "%s\n" curl -sS --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key"
}
curl_as_admin() {
  local words
  mapfile -t words < <(admin_curl)
  "${words[@]}" "$@"
}
do_it() { # METHOD PATH [BODY [CONTENT-TYPE]]: the answer's body, then its code on a line of its own
  local arguments=(-X "$1" -w '\n%{http_code}\n')
  (($# < 3)) || arguments+=(-H "Content-Type: ${4:-application/json}" --data-binary "$3")
  curl_as_admin "${arguments[@]}" "$SERVER$2"
}
# Of what `run do_it` printed.
code() { tail -n1 <<<"$output"; }
json() { head -n-1 <<<"$output" | jq -rc "$@"; }
