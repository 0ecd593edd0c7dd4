#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # $patch is JSON
# What is refused, with a message that names the field; nothing is half-made.

load helpers

setup_file() {
  load helpers
  kubectl apply -f "$EXAMPLES/vm-nic-hotplug.yaml"
  pod_running nginx-vm
}

teardown_file() {
  load helpers
  delete_pods nginx-vm
}

setup() {
  before=$(kubectl get pod nginx-vm -o 'jsonpath={.metadata.generation} {.spec.nics}')
  ports=$(kubectl get ports -o name)
}

teardown() {
  tell_capture
  assert_equal "$(kubectl get pod nginx-vm -o 'jsonpath={.metadata.generation} {.spec.nics}')" "$before"
  assert_equal "$(kubectl get ports -o name)" "$ports"
}

refused() { # TEXT... -- COMMAND...: fails, and says each of the texts
  local texts=()
  while [[ $1 != -- ]]; do
    texts+=("$1")
    shift
  done
  shift
  run "$@"
  assert_failure
  for text in "${texts[@]}"; do
    assert_output --partial "$text"
  done
}

create() { kubectl create -f -; }
variant() { # SED-SCRIPT: creates the document's pod, changed
  sed -e 's/name: nginx-vm/name: bad/' -e "$1" "$EXAMPLES/vm-nic-hotplug.yaml" | create
}

@test "removal of the primary NIC" {
  refused eth0 primary -- patch_pod nginx-vm '{"spec":{"nics":[{"$patch":"delete","name":"eth0"}]}}'
}

@test "a NIC without a name, in a patch" {
  refused 'spec.nics' name -- patch_pod nginx-vm '{"spec":{"nics":[{"ipAddress":"10.200.0.77"}]}}'
}

@test "a NIC without a name, in a new pod" {
  refused 'spec.nics[0].name' -- variant 's/  - name: eth0/  - tag: eth0/'
}

@test "no NICs at all" {
  refused 'spec.nics' -- variant '/nics:/d; /- name: eth0/d'
}

@test "a name that is no interface name" {
  refused 'spec.nics[1].name' -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth1/../x"}]}}'
  refused 'spec.nics[1].name' -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"sixteen-letters-"}]}}'
}

@test "two NICs of one name" {
  refused 'spec.nics[1].name' -- variant 's/  - name: eth0/&\n&/'
}

@test "a malformed address" {
  refused 'spec.nics[1].ipAddress' -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth1","ipAddress":"10.0.0.256"}]}}'
}

@test "an address outside the subnet" {
  refused 'spec.nics[1].ipAddress' -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth1","ipAddress":"203.0.113.5"}]}}'
}

@test "an address that is taken" {
  taken=$(port_get "$(port_id nginx-vm eth0)" '.spec.ipAddresses[0]')
  refused 'spec.nics[1].ipAddress' "${taken%%/*}" -- \
    patch_pod nginx-vm "{\"spec\":{\"nics\":[{\"name\":\"eth1\",\"ipAddress\":\"${taken%%/*}\"}]}}"
}

@test "a MAC that is taken, or is none" {
  taken=$(port_get "$(port_id nginx-vm eth0)" .spec.macAddress)
  refused 'spec.nics[1].macAddress' -- patch_pod nginx-vm "{\"spec\":{\"nics\":[{\"name\":\"eth1\",\"macAddress\":\"$taken\"}]}}"
  refused 'spec.nics[1].macAddress' -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth1","macAddress":"06:00"}]}}'
}

@test "a change of the VPC, of a set portId" {
  refused 'spec.vpc' -- patch_pod nginx-vm '{"spec":{"vpc":"vpcother"}}'
  refused portId -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth0","portId":"00000000-0000-4000-8000-000000000000"}]}}'
}

@test "more NICs than the VM has slots for" {
  nics=$(for i in {1..80}; do printf '{"name":"eth%d"},' "$i"; done)
  refused 'spec.nics' -- patch_pod nginx-vm "{\"spec\":{\"nics\":[${nics%,}]}}"
}

@test "a pod of containers" {
  refused virtualMachine -- create <<'EOF'
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: web
    image: nginx
EOF
}

@test "numbers without sense" {
  refused 'resources' -- variant 's/memory: 200Mi/memory: -1Mi/'
  refused 'resources' -- variant 's/memory: 200Mi/memory: 999999999999Ti/'
  refused 'resources' -- variant 's/cpu: "1"/cpu: lots/'
}

@test "a wrong type" {
  refused 'spec.nics' -- kubectl patch pod nginx-vm --type merge -p '{"spec":{"nics":"eth1"}}'
}

raw() { # METHOD PATH TYPE BODY: the HTTP status, then the answer
  local config=$STATE/kubeconfig dir=$BATS_TEST_TMPDIR
  for key in client-certificate-data client-key-data certificate-authority-data; do
    sed -n "s/^ *$key: *//p" "$config" | head -n 1 | base64 -d >"$dir/$key"
  done
  curl -sS --cacert "$dir/certificate-authority-data" --cert "$dir/client-certificate-data" \
    --key "$dir/client-key-data" -X "$1" -H "Content-Type: $3" --data-binary "$4" -w '\n%{http_code}\n' \
    "$(sed -n 's/^ *server: *//p' "$config")$2"
}

@test "an unknown field" {
  refused adress -- patch_pod nginx-vm '{"spec":{"nics":[{"name":"eth1","adress":"10.0.0.9"}]}}'
  # As a client that knows nothing of field validation sends it.
  run raw POST /api/v1/namespaces/default/pods application/json '{"apiVersion":"v1","kind":"Pod",
    "metadata":{"name":"bad"},"spec":{"vpc":"vpcdemo","nics":[{"name":"eth0"}],"hostnaem":"x",
    "virtualMachine":{"name":"bad","image":"images.test/guest.qcow2"}}}'
  assert_line --regexp '^4[0-9][0-9]$'
  assert_output --partial hostnaem
}

@test "malformed JSON, an unknown media type, a body past the limit: a Status that says so" {
  run raw POST /api/v1/namespaces/default/pods application/json '{"apiVersion":"v1","kind":"Pod",'
  assert_line 400
  assert_output --partial '"Status"'
  run raw PATCH /api/v1/namespaces/default/pods/nginx-vm text/plain '{}'
  assert_line 415
  head -c 8000000 /dev/zero | tr '\0' ' ' >"$BATS_TEST_TMPDIR/big"
  run raw POST /api/v1/namespaces/default/pods application/json "@$BATS_TEST_TMPDIR/big"
  assert_line 413
  kubectl get --raw /readyz
}

@test "dry run: refused as well, and what passes stores nothing" {
  refused 'spec.nics[1].ipAddress' -- kubectl patch pod nginx-vm --dry-run=server \
    -p '{"spec":{"nics":[{"name":"eth1","ipAddress":"10.0.0.256"}]}}'
  kubectl patch pod nginx-vm --dry-run=server -p "$(cat "$EXAMPLES/patch-nic-hotplug.yaml")"
}

@test "no certificate, no entry" {
  run curl -sS -k -o /dev/null -w '%{http_code}' "$(sed -n 's/^ *server: *//p' "$STATE/kubeconfig")/api/v1/pods"
  assert_output --regexp '^(401|403)$'
}
