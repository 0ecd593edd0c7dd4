#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # run sets output
# Who may do what: certificates and tokens of alkaidctl, roles of the file `grants`, what a node may see, the
# audit log. An apiserver alone.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver --node-name n1
  kubectl create namespace team-a
  kubectl create namespace team-b
  printf '%s\n' '# who may what' 'edit user:alice team-a' 'view group:auditors *' 'admin user:root-like *' >"$PKI/grants"
  "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --user alice --group dev --out "$BATS_FILE_TMPDIR/alice"
  "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --node n2 --out "$BATS_FILE_TMPDIR/n2"
  "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --user root-like --out "$BATS_FILE_TMPDIR/root-like"
  can alice create pods -n team-a
}

teardown_file() { stop_services; }

as() { # USER ARGUMENT...
  local user=$1
  shift
  kubectl --kubeconfig "$BATS_FILE_TMPDIR/$user" "$@"
}
can() { # USER VERB RESOURCE...
  local user=$1
  shift
  as "$user" auth can-i "$@" -q
}

node() { # NAME
  printf '{"apiVersion":"v1","kind":"Node","metadata":{"name":"%s"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}' "$1"
}

with_token() { # TOKEN ARGUMENT...: no client certificate
  local token=$1
  shift
  [[ -f $BATS_FILE_TMPDIR/bare ]] || kubectl config view --raw -o json |
    jq 'del(.users[].user["client-certificate-data", "client-key-data"])' >"$BATS_FILE_TMPDIR/bare"
  kubectl --kubeconfig "$BATS_FILE_TMPDIR/bare" --token "$token" "$@"
}

@test "whoami tells the names in the certificate" {
  run -0 as alice auth whoami -o 'jsonpath={.status.userInfo.username} {.status.userInfo.groups}'
  assert_output 'alice ["dev","system:authenticated"]'
}

@test "edit: pods of one namespace, and nothing else" {
  as alice apply -n team-a -f - <<<"$(pod_yaml one eth0)"
  run -0 as alice get pods -n team-a -o name
  assert_output pod/one
  run -1 as alice get pods -n team-b
  assert_output --partial 'User "alice" cannot list resource "pods"'
  run -1 as alice get pods -A
  run -1 as alice create namespace mine
  assert_output --partial forbidden
  run -1 as alice delete vpc demo -n team-a
  run -1 as alice get nodes
  as alice get namespace team-a
  as alice delete pod one -n team-a --force --grace-period=0
}

@test "can-i says the same as trying" {
  can alice patch pods -n team-a
  can alice create pods --subresource=attach -n team-a
  run ! can alice patch pods -n team-b
  run ! can alice update pods --subresource=status -n team-a
  run ! can alice '*' '*' -n team-a
  can root-like create namespaces
  run ! can root-like create pods --subresource=binding -n team-a
  run -0 as alice auth can-i --list -n team-a
  assert_line --regexp '^pods/attach '
  kubectl auth can-i '*' '*'
}

@test "a token: shown once, kept as a hash, good until its end" {
  local token
  token=$("$BIN/alkaidctl" token issue --pki-dir "$PKI" --user carol --group auditors --days 2)
  [[ ! $(<"$PKI/tokens") =~ $token ]]
  with_token "$token" get pods -A
  run -1 with_token "$token" create -n team-a -f - <<<"$(pod_yaml two eth0)"
  assert_output --partial 'User "carol" cannot create'
  sed -i 's/20[0-9][0-9]-[^ ]*Z/2001-01-01T00:00:00Z/' "$PKI/tokens"
  wait_until 10 refused_with "$token"
  run -1 with_token wrong get pods
  assert_output --partial 'logged in'
}
refused_with() { [[ $(with_token "$1" get pods -A 2>&1) == *'logged in'* ]]; }

@test "nobody is anonymous" {
  local server
  server=$(kubectl config view --raw -o 'jsonpath={.clusters[0].cluster.server}')
  run -0 curl -sk -o /dev/null -w '%{http_code}' "$server/api/v1/pods"
  assert_output 401
  run -0 curl -sk -o /dev/null -w '%{http_code}' "$server/healthz"
  assert_output 200
}

@test "a file that is wrong leaves the former in force" {
  printf 'edit user:alice\n' >>"$PKI/grants"
  wait_until 10 said_wrong
  can alice patch pods -n team-a
  sed -i '$d' "$PKI/grants"
}

said_wrong() { # the file is looked at again with a request
  can alice patch pods -n team-a && grep -q 'access_files_wrong.*line 5' "$BATS_FILE_TMPDIR/apiserver.log"
}

@test "a second node sees and writes its own pods only" {
  kubectl delete pods,nodes --all --force --grace-period=0 # of a first try
  as n2 create -f - <<<"$(node n2)"
  kubectl --kubeconfig "$PKI/node.kubeconfig" create -f - <<<"$(node n1)"
  kubectl apply -f - <<<"$(pod_yaml here eth0 | sed 's/^spec:/&\n  nodeName: n1/')"
  kubectl apply -f - <<<"$(pod_yaml there eth0 | sed 's/^spec:/&\n  nodeName: n2/')"
  run -0 as n2 get pods -A --field-selector spec.nodeName=n2 -o 'jsonpath={.items[*].metadata.name}'
  assert_output there
  as n2 patch pod there --subresource=status --type=merge -p '{"status":{"message":"mine"}}'
  run -1 as n2 patch pod here --subresource=status --type=merge -p '{"status":{"message":"not mine"}}'
  assert_output --partial 'bound to it'
  run -1 as n2 get pod here
  run -1 as n2 get pods -A
  assert_output --partial 'fieldSelector=spec.nodeName=n2'
  run -1 as n2 delete pod here --wait=false
  run -1 as n2 patch node n1 -p '{"metadata":{"labels":{"a":"b"}}}'
  run -1 as n2 create -f - <<<"$(node n3)"
  local port vpc mine
  port=$(kubectl get pod here -o 'jsonpath={.spec.nics[0].portId}')
  vpc=$(kubectl get port "$port" -o 'jsonpath={.status.vpcID}')
  run -0 as n2 get ports -A --field-selector "status.vpcID=$vpc" -o name # it has one there: its fabric must know
  assert_output --partial "$port"
  as n2 get port "$port"
  run -1 as n2 get ports -A
  assert_output --partial 'fieldSelector=spec.nodeName=n2'
  run -1 as n2 patch port "$port" --subresource=status --type=merge -p '{"status":{"phase":"Released"}}'
  mine=$(kubectl get pod there -o 'jsonpath={.spec.nics[0].portId}')
  kubectl delete pod there --force --grace-period=0
  as n2 patch port "$mine" --subresource=status --type=merge -p '{"status":{"phase":"Released"}}'
  run -1 as n2 get port "$port" # the VPC has left the node
  assert_output --partial 'bound to it'
  run -1 as n2 get ports -A --field-selector "status.vpcID=$vpc"
  kubectl delete pod here --force --grace-period=0
}

@test "renew: the same user, a later end" {
  local before after
  before=$(ends "$BATS_FILE_TMPDIR/alice")
  "$BIN/alkaidctl" cert renew --pki-dir "$PKI" --days 900 "$BATS_FILE_TMPDIR/alice"
  after=$(ends "$BATS_FILE_TMPDIR/alice")
  ((after - before > 500 * 86400))
  run -0 as alice auth whoami -o 'jsonpath={.status.userInfo.username} {.status.userInfo.groups}'
  assert_output 'alice ["dev","system:authenticated"]'
}
ends() { # KUBECONFIG
  local date
  date=$(kubectl --kubeconfig "$1" config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' |
    base64 -d | openssl x509 -noout -enddate)
  date -d "${date#*=}" +%s
}

@test "revoke: one certificate, on open connections too; a fresh one of the same user is good" {
  local serial server
  "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --user dora --group auditors --out "$BATS_TEST_TMPDIR/first"
  "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --user dora --group auditors --out "$BATS_TEST_TMPDIR/second"
  kubectl --kubeconfig "$BATS_TEST_TMPDIR/first" proxy --port 0 >"$BATS_TEST_TMPDIR/proxy" 3>&- & # one connection
  local proxy=$!
  wait_until 20 grep -q 'Starting to serve' "$BATS_TEST_TMPDIR/proxy"
  server=$(sed -n 's/^Starting to serve on //p' "$BATS_TEST_TMPDIR/proxy")
  run -0 curl -s -o /dev/null -w '%{http_code}' "http://$server/api/v1/pods"
  assert_output 200
  run -0 "$BIN/alkaidctl" cert revoke --pki-dir "$PKI" "$BATS_TEST_TMPDIR/first"
  assert_output --regexp '^[0-9a-f]+ revoked$'
  serial=${output% *}
  wait_until 10 is_refused "$BATS_TEST_TMPDIR/first"
  run -1 kubectl --kubeconfig "$BATS_TEST_TMPDIR/first" get pods -A
  assert_output --partial "the client certificate of dora with the serial number $serial has been revoked"
  run -0 curl -s -o /dev/null -w '%{http_code}' "http://$server/api/v1/pods"
  assert_output 401
  kill "$proxy"
  kubectl --kubeconfig "$BATS_TEST_TMPDIR/second" get pods -A
  run -0 "$BIN/alkaidctl" cert revoke --pki-dir "$PKI" "$(serial_of "$BATS_TEST_TMPDIR/second")"
  wait_until 10 is_refused "$BATS_TEST_TMPDIR/second"
  "$BIN/alkaidctl" cert renew --pki-dir "$PKI" "$BATS_TEST_TMPDIR/second"
  kubectl --kubeconfig "$BATS_TEST_TMPDIR/second" get pods -A
  assert_equal "$(stat -c %a "$PKI/revoked")" 600
}
is_refused() { [[ $(kubectl --kubeconfig "$1" get pods -A 2>&1) == *'logged in'* ]]; }
serial_of() { # KUBECONFIG: as openssl prints it
  local line
  line=$(kubectl --kubeconfig "$1" config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' |
    base64 -d | openssl x509 -noout -serial)
  printf '%s\n' "${line#*=}"
}

@test "cert and token: what cannot be is refused" {
  run -1 "$BIN/alkaidctl" cert revoke --pki-dir "$PKI" "$BATS_TEST_TMPDIR/none"
  assert_output --partial 'neither a kubeconfig nor a serial number'
  run -1 "$BIN/alkaidctl" cert revoke --pki-dir "$BATS_TEST_TMPDIR" 1a2b
  run -2 "$BIN/alkaidctl" cert revoke --pki-dir "$PKI"
  run -2 "$BIN/alkaidctl" cert issue --pki-dir "$PKI"
  run -2 "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --user a --node b
  run -1 "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --user 'a b'
  assert_output --partial 'letters, digits'
  run -1 "$BIN/alkaidctl" cert issue --pki-dir "$BATS_TEST_TMPDIR" --user a --server https://x
  assert_output --partial ca.crt
  run -1 "$BIN/alkaidctl" cert renew --pki-dir "$PKI" "$BATS_FILE_TMPDIR/bare"
  run -2 "$BIN/alkaidctl" token issue --pki-dir "$PKI"
}
