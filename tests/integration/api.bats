#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016,SC2154 # $patch is JSON; run sets output and stderr
# The API as any Kubernetes client may use it, request by request: patches, preconditions, lists, watches,
# limits. curl against an apiserver alone.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver --watch-history 64 --max-user-watches 3 --audit-max-size 64Ki
}

teardown_file() { stop_services; }

setup() { do_it DELETE "$PODS?gracePeriodSeconds=0" >/dev/null; }

EVENTS=/api/v1/namespaces/default/events

event() { # NAME
  printf '{"apiVersion":"v1","kind":"Event","metadata":{"name":"%s"},"involvedObject":{"kind":"Pod","name":"x"}}' "$1"
}
patch() { # TYPE BODY: of the pod vm
  do_it PATCH "$PODS/vm" "$2" "application/$1-patch+json"
}
version() { do_it GET "$PODS/vm" | head -n1 | jq -r .metadata.resourceVersion; }

@test "JSON patch: all or nothing, test included" {
  do_it POST "$PODS" "$(pod_json vm)" >/dev/null
  run -0 patch json '[{"op":"test","path":"/spec/vpc","value":"demo"},{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]'
  assert_equal "$(code) $(json .metadata.labels.a)" '200 b'
  run -0 patch json '[{"op":"replace","path":"/metadata/labels/a","value":"c"},{"op":"test","path":"/spec/vpc","value":"other"}]'
  assert_equal "$(code)" 422
  assert_output --partial /spec/vpc
  run -0 do_it GET "$PODS/vm"
  assert_equal "$(json .metadata.labels.a)" b
  run -0 patch json '[{"op":"move","from":"/metadata/labels/a","path":"/metadata/labels/z"},{"op":"copy","from":"/metadata/labels/z","path":"/metadata/labels/y"}]'
  assert_equal "$(json .metadata.labels)" '{"z":"b","y":"b"}'
  run -0 patch json '[{"op":"remove","path":"/metadata/labels/none"}]'
  assert_equal "$(code)" 422
}

@test "merge patch: null removes, a list is replaced whole" {
  do_it POST "$PODS" "$(pod_json vm '"labels":{"a":"b","c":"d"}')" >/dev/null
  run -0 patch merge '{"metadata":{"labels":{"a":null,"e":"f"}}}'
  assert_equal "$(json .metadata.labels)" '{"c":"d","e":"f"}'
  run -0 patch merge '{"spec":{"nics":[{"name":"eth1"}]}}'
  assert_equal "$(code)" 422
  assert_output --partial 'primary nic eth0'
}

@test "strategic merge: each of its directives" {
  do_it POST "$PODS" "$(pod_json vm '"finalizers":["x/a","x/b"],"labels":{"a":"b"}')" >/dev/null
  run -0 patch strategic-merge '{"spec":{"$setElementOrder/nics":[{"name":"eth0"},{"name":"eth2"},{"name":"eth1"}],"nics":[{"name":"eth1"},{"name":"eth2"}]}}'
  assert_equal "$(json '[.spec.nics[].name]')" '["eth0","eth2","eth1"]'
  run -0 patch strategic-merge '{"spec":{"nics":[{"$patch":"delete","name":"eth2"},{"name":"eth1","$patch":"merge","tag":"t"}]}}'
  assert_equal "$(json '[.spec.nics[].name]')" '["eth0","eth1"]'
  run -0 patch strategic-merge '{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/a"],"labels":{"$patch":"replace","n":"m"}}}'
  assert_equal "$(json '[.metadata.finalizers,.metadata.labels]')" '[["x/b"],{"n":"m"}]'
  run -0 patch strategic-merge '{"metadata":{"labels":{"$retainKeys":["k"],"k":"v"}}}'
  assert_equal "$(json .metadata.labels)" '{"k":"v"}'
  run -0 patch strategic-merge '{"metadata":{"finalizers":null}}'
  assert_equal "$(code)" 200
}

@test "a write that changes nothing: same version, no event" {
  do_it POST "$PODS" "$(pod_json vm '"labels":{"a":"b"}')" >/dev/null
  local before
  before=$(version)
  run -0 patch strategic-merge '{"metadata":{"labels":{"a":"b"}}}'
  assert_equal "$(code) $(json .metadata.resourceVersion)" "200 $before"
  run -0 patch json '[]'
  assert_equal "$(version)" "$before"
  run -0 curl_as_admin -m 2 "$SERVER$PODS?watch=1&resourceVersion=$before&timeoutSeconds=1"
  assert_output ''
}

@test "optimistic concurrency and preconditions" {
  do_it POST "$PODS" "$(pod_json vm)" >/dev/null
  local object
  object=$(do_it GET "$PODS/vm" | head -n1)
  patch merge '{"metadata":{"labels":{"a":"b"}}}' >/dev/null
  run -0 do_it PUT "$PODS/vm" "$(jq '.metadata.labels.c="d"' <<<"$object")"
  assert_equal "$(code) $(json .reason)" '409 Conflict'
  run -0 patch merge '{"metadata":{"uid":"00000000-0000-4000-8000-000000000000"}}'
  assert_equal "$(code)" 409
  run -0 do_it DELETE "$PODS/vm" '{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"resourceVersion":"1"}}'
  assert_equal "$(code)" 409
  run -0 do_it DELETE "$PODS/vm" '{"gracePeriodSeconds":0,"preconditions":{"uid":"'"$(jq -r .metadata.uid <<<"$object")"'"}}'
  assert_equal "$(code)" 200
}

@test "generateName, finalizers, deletecollection by selector" {
  run -0 do_it POST "$EVENTS" '{"metadata":{"generateName":"e-","labels":{"x":"1"}},"involvedObject":{"kind":"Pod","name":"x"}}'
  assert_equal "$(code)" 201
  [[ $(json .metadata.name) =~ ^e-[a-z0-9]{5}$ ]]
  do_it POST "$EVENTS" "$(event keep)" >/dev/null
  run -0 do_it DELETE "$EVENTS?labelSelector=x%20in%20(1,2)"
  assert_equal "$(code)" 200
  run -0 do_it GET "$EVENTS?fieldSelector=involvedObject.name%3Dx"
  assert_equal "$(json '[.items[].metadata.name]')" '["keep"]'
  do_it POST "$PODS" "$(pod_json vm '"finalizers":["x/a"]')" >/dev/null
  run -0 do_it DELETE "$PODS/vm?gracePeriodSeconds=0"
  assert_equal "$(code)" 200
  run -0 do_it GET "$PODS/vm"
  [[ $(json .metadata.deletionTimestamp) == 20* ]]
  run -0 patch merge '{"metadata":{"finalizers":null}}'
  run -0 do_it GET "$PODS/vm"
  assert_equal "$(code)" 404
}

# owned NAME: an event that belongs to the event "owner" and holds it up; a finalizer holds it, too.
owned() {
  local uid
  uid=$(do_it GET "$EVENTS/owner" | head -n1 | jq -r .metadata.uid)
  jq -c --arg uid "$uid" '.metadata.finalizers = ["x/held"] | .metadata.ownerReferences =
    [{apiVersion: "v1", kind: "Event", name: "owner", uid: $uid, blockOwnerDeletion: true}]' <<<"$(event "$1")"
}
let_go() { do_it PATCH "$EVENTS/$1" '{"metadata":{"finalizers":null}}' application/merge-patch+json; }

@test "propagationPolicy: by query and body, Foreground waits, Orphan leaves behind" {
  local how
  for how in query body; do
    do_it POST "$EVENTS" "$(event owner)" >/dev/null
    do_it POST "$EVENTS" "$(owned child)" >/dev/null
    if [[ $how == query ]]; then
      run -0 do_it DELETE "$EVENTS/owner?propagationPolicy=Foreground"
    else
      run -0 do_it DELETE "$EVENTS/owner" '{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground"}'
    fi
    assert_equal "$(code) $(json .metadata.finalizers)" '200 ["foregroundDeletion"]'
    run -0 do_it GET "$EVENTS/child"
    [[ $(json .metadata.deletionTimestamp) == 20* ]]
    run -0 let_go child
    run -0 do_it GET "$EVENTS/owner"
    assert_equal "$(code)" 404
  done
  for how in '?orphanDependents=true' '?propagationPolicy=Orphan'; do
    do_it POST "$EVENTS" "$(event owner)" >/dev/null
    do_it POST "$EVENTS" "$(owned child)" >/dev/null
    run -0 do_it DELETE "$EVENTS/owner$how"
    assert_equal "$(code)" 200
    run -0 do_it GET "$EVENTS/child"
    assert_equal "$(code) $(json '.metadata | [.ownerReferences, .deletionTimestamp]')" '200 [null,null]'
    let_go child >/dev/null
    do_it DELETE "$EVENTS/child" >/dev/null
  done
  run -0 do_it DELETE "$EVENTS/none?propagationPolicy=Sideways"
  assert_equal "$(code)" 422
  assert_output --partial '\"Background\", \"Foreground\", \"Orphan\"'
  run -0 do_it DELETE "$EVENTS/none?propagationPolicy=Orphan&orphanDependents=true"
  assert_equal "$(code)" 422
  run -0 do_it DELETE "$EVENTS/none?orphanDependents=perhaps"
  assert_equal "$(code)" 400
}

@test "fieldValidation: Strict refuses, Warn warns, Ignore is silent" {
  local body
  body=$(pod_json vm | jq -c '.spec.nonsense=1')
  run -0 do_it POST "$PODS?fieldValidation=Strict" "$body"
  assert_equal "$(code)" 400
  run -0 curl_as_admin -D - -o "$BATS_TEST_TMPDIR/body" -H 'Content-Type: application/json' -d "$body" \
    "$SERVER$PODS?fieldValidation=Warn&dryRun=All"
  assert_line --regexp '^[Ww]arning: 299 - "unknown field \\"spec.nonsense\\""'
  run -0 curl_as_admin -D - -o "$BATS_TEST_TMPDIR/body" -H 'Content-Type: application/json' -d "$body" \
    "$SERVER$PODS?fieldValidation=Ignore&dryRun=All"
  refute_output --partial arning
}

@test "a key given twice: Strict refuses, Warn warns" {
  local body
  body=$(pod_json vm | sed 's/"vpc":"demo"/"vpc":"demo","vpc":"demo"/')
  run -0 do_it POST "$PODS?dryRun=All" "$body"
  assert_equal "$(code)" 400
  run -0 curl_as_admin -D - -o "$BATS_TEST_TMPDIR/body" -H 'Content-Type: application/json' -d "$body" \
    "$SERVER$PODS?fieldValidation=Warn&dryRun=All"
  assert_line --regexp '^[Ww]arning: 299 - ".*duplicate'
}

@test "server-side apply is refused with what to do instead" {
  run -0 do_it PATCH "$PODS/vm?fieldManager=x" '{}' application/apply-patch+yaml
  assert_equal "$(code) $(json .reason)" '415 UnsupportedMediaType'
  assert_output --partial 'kubectl apply without --server-side'
}

@test "limit and continue, until the token has expired" {
  for name in a b c; do do_it POST "$EVENTS" "$(event "$name")" >/dev/null; done
  run -0 do_it GET "$EVENTS?limit=2"
  local token
  token=$(json .metadata.continue)
  assert_equal "$(json '.items|length')" 2
  ((0 < $(json .metadata.remainingItemCount)))
  run -0 do_it GET "$EVENTS?limit=500&continue=$token"
  assert_equal "$(code) $(json '.metadata.continue')" '200 null'
  for i in {1..70}; do do_it POST "$EVENTS" "$(event "more-$i")" >/dev/null; done
  run -0 do_it GET "$EVENTS?continue=$token"
  assert_equal "$(code) $(json .reason)" '410 Expired'
  token=$(json .metadata.continue)
  run -0 do_it GET "$EVENTS?continue=$token"
  assert_equal "$(code)" 200
  run -0 do_it GET "$EVENTS?continue=nonsense"
  assert_equal "$(code)" 400
  do_it DELETE "$EVENTS" >/dev/null
}

@test "the pages of a list show one moment" {
  for name in a b c d; do do_it POST "$EVENTS" "$(event "$name")" >/dev/null; done
  run -0 do_it GET "$EVENTS?limit=2"
  local token version
  token=$(json .metadata.continue)
  version=$(json .metadata.resourceVersion)
  do_it DELETE "$EVENTS/c" >/dev/null
  do_it PATCH "$EVENTS/d" '{"message":"later"}' application/merge-patch+json >/dev/null
  do_it POST "$EVENTS" "$(event cc)" >/dev/null
  run -0 do_it GET "$EVENTS?continue=$token"
  assert_equal "$(code) $(json .metadata.resourceVersion)" "200 $version"
  assert_equal "$(json -c '[.items[].metadata.name]')" '["c","d"]'
  assert_equal "$(json '[.items[].message]|index("later")')" null
  run -0 do_it GET "$EVENTS"
  assert_equal "$(json -c '[.items[].metadata.name]')" '["a","b","cc","d"]'
  do_it DELETE "$EVENTS" >/dev/null
}

@test "a watch from too far back: 410 Expired as an event" {
  run -0 curl_as_admin -m 5 "$SERVER$PODS?watch=1&resourceVersion=1"
  assert_equal "$(jq -rc '[.type,.object.code,.object.reason]' <<<"$output")" '["ERROR",410,"Expired"]'
}

@test "sendInitialEvents: the objects, a bookmark that says so, and on" {
  do_it POST "$PODS" "$(pod_json vm)" >/dev/null
  run -0 curl_as_admin -m 5 \
    "$SERVER$PODS?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
  assert_equal "$(jq -rc '[.type,.object.metadata.name,.object.metadata.annotations["k8s.io/initial-events-end"]]' <<<"$output")" \
    $'["ADDED","vm",null]\n["BOOKMARK",null,"true"]'
}

@test "a large list is packed for who can unpack it" {
  local note
  note=$(printf 'x%.0s' {1..30000})
  for i in {1..6}; do
    do_it POST "$EVENTS" "$(event "big-$i" | jq -c --arg n "$note" '.message=$n')" >/dev/null
  done
  run -0 curl_as_admin -D - -o "$BATS_TEST_TMPDIR/packed" -H 'Accept-Encoding: gzip' "$SERVER$EVENTS"
  assert_line --regexp '^[Cc]ontent-[Ee]ncoding: gzip'
  (($(stat -c %s "$BATS_TEST_TMPDIR/packed") < 20000))
  assert_equal "$(zcat "$BATS_TEST_TMPDIR/packed" | jq '.items|length >= 6')" true
  run -0 curl_as_admin -D - -o "$BATS_TEST_TMPDIR/plain" "$SERVER$EVENTS"
  refute_output --partial gzip
  do_it DELETE "$EVENTS" >/dev/null
}

@test "Table for each kind, wide columns by priority" {
  do_it POST "$PODS" "$(pod_json vm)" >/dev/null
  local path
  for path in "$PODS" "$EVENTS" /api/v1/nodes /api/v1/namespaces \
    /apis/vpc.alkaid.io/v1/{vpcs,subnets,ports,securitygroups} /apis/coordination.k8s.io/v1/leases; do
    run -0 curl_as_admin -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1' "$SERVER$path"
    assert_equal "$(jq -r '.kind, (.columnDefinitions|map(.priority)|unique|.[0]),
      ([.rows[]|(.cells|length)]|unique - [0]|length < 2)' <<<"$output" | xargs)" 'Table 0 true'
  done
  run -0 curl_as_admin -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1' "$SERVER$PODS"
  assert_equal "$(jq -rc '[.columnDefinitions[]|select(.priority>0).name]' <<<"$output")" '["Node","VPC","Addresses"]'
}

@test "more watches than one user may have: 429 and Retry-After" {
  local pids=()
  for i in 1 2 3; do
    hold_a_watch "$BATS_TEST_TMPDIR/head$i" 3>&- &
    pids+=($!)
    wait_until 20 is_served "$BATS_TEST_TMPDIR/head$i"
  done
  run -0 curl_as_admin -m 5 -D - "$SERVER$PODS?watch=1"
  assert_line --regexp '^HTTP/1.1 429'
  assert_line --regexp '^[Rr]etry-[Aa]fter: 1'
  kill "${pids[@]}"
  wait_until 20 not_too_many
}
hold_a_watch() { # FILE: for the answer's head. In the background: the job is curl itself
  local words
  mapfile -t words < <(admin_curl)
  exec "${words[@]}" -N -o /dev/null -D "$1" "$SERVER$PODS?watch=1"
}
watch_code() { curl_as_admin -m 5 -o /dev/null -w '%{http_code}' "$SERVER$PODS?watch=1&timeoutSeconds=1"; }
is_served() { grep -q '^HTTP/1.1 200' "$1" 2>/dev/null; }
not_too_many() { [[ $(watch_code) == 200 ]]; }

@test "the audit log: each write and each refusal, never a read, in bounds" {
  local log=$BATS_FILE_TMPDIR/state/audit.log
  do_it POST "$PODS" "$(pod_json audited)" >/dev/null
  do_it POST "$PODS" "$(pod_json audited)" >/dev/null
  do_it GET "$PODS/audited" >/dev/null
  run -0 jq -rc 'select(.name=="audited")|[.user,.verb,.resource,.namespace,.code]' "$log"
  assert_output $'["admin","create","pods","default",201]\n["admin","create","pods","default",409]'
  assert_equal "$(stat -c %a "$log")" 600
  for i in {1..250}; do do_it POST "$PODS" "$(pod_json audited)" >/dev/null; done
  (($(stat -c %s "$log") <= 65536))
  [[ -s $log.1 ]]
}

@test "a body that is no JSON, no object, too deep" {
  run -0 do_it POST "$PODS" '{"a":'
  assert_equal "$(code)" 400
  run -0 do_it POST "$PODS" '[]'
  assert_equal "$(code)" 400
  run -0 do_it POST "$PODS" "$(printf '[%.0s' {1..100})$(printf ']%.0s' {1..100})"
  assert_output --partial 'deeper than 64'
  run -0 do_it POST "$PODS" x text/yaml
  assert_equal "$(code)" 415
}
