#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # run sets output
# Two nodes with the services as they are: each a machine of namespaces (network, mounts, processes) with a watcher,
# a network service and a hypervisor service of its own, the last with its fake driver; an apiserver on a third, a
# switch between them. Guests are namespaces on the taps. Nothing is told to a node by the test: who is where comes
# from the API. Needs root.

bats_require_minimum_version 1.5.0
load helpers

NET=192.0.2
GUEST=$BUILD/tests/tap-guest

setup_file() {
  cd "$ROOT" || return
  mkdir -p "$BATS_FILE_TMPDIR"/{bus,home,images}
  truncate -s 1M "$BATS_FILE_TMPDIR/images/vm.qcow2"
  boot center
  in_host center ip link add rack type bridge
  in_host center ip address add $NET.254/24 dev rack
  in_host center ip link set rack up
  start_service apiserver nsenter -t "$(machine center)" -n "$BIN/alkaid-apiserver" --listen $NET.254:6443 \
    --node-name n1 --state-dir "$BATS_FILE_TMPDIR/state" --pki-dir "$PKI" --bus-dir "$BATS_FILE_TMPDIR/bus"
  wait_until 60 ready
  "$BIN/alkaidctl" cert issue --pki-dir "$PKI" --node n2 --server https://$NET.254:6443 --out "$BATS_FILE_TMPDIR/n2.kubeconfig"
  cp "$PKI/node.kubeconfig" "$BATS_FILE_TMPDIR/n1.kubeconfig"
  start_node n1 $NET.1
  start_node n2 $NET.2
}

teardown_file() {
  local file
  stop "$BATS_FILE_TMPDIR/apiserver.pid"
  for file in "$BATS_FILE_TMPDIR"/*.machine; do
    kill -KILL "$(<"$file")"
    wait_until 30 gone "$(<"$file")"
  done
}

setup() {
  cd "$ROOT" || return
  export KUBECONFIG=$PKI/admin.kubeconfig HOME=$BATS_FILE_TMPDIR/home
}

teardown() {
  [[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -n 5 "$BATS_FILE_TMPDIR"/n?/*.log
}

# ------------------------------------------------------------------ machines

# boot NAME: a machine without services; what runs in it ends with its first process.
boot() {
  # shellcheck disable=SC2016 # the machine's shell expands it
  local script='mount -t tmpfs none /run/netns; mount -t sysfs none /sys; ip link set lo up; : >"$0"; sleep infinity & wait'
  rm -f "$BATS_FILE_TMPDIR/$1.up"
  mkdir -p /run/netns
  unshare --net --mount --pid --fork --mount-proc bash -ec "$script" "$BATS_FILE_TMPDIR/$1.up" \
    </dev/null >"$BATS_FILE_TMPDIR/$1.console" 2>&1 3>&- &
  child_of $! >"$BATS_FILE_TMPDIR/$1.machine"
  wait_until 60 test -f "$BATS_FILE_TMPDIR/$1.up" || { cat "$BATS_FILE_TMPDIR/$1.console" >&2 && return 1; }
}
# unshare and nsenter, whose words must be expanded before, go on as the parents of what they start.
child_of() {
  wait_until 60 has_child "$1"
  tr -d ' ' <"/proc/$1/task/$1/children"
}
has_child() { [[ -n $(<"/proc/$1/task/$1/children") ]]; }
stop() { # PID-FILE
  kill "$(<"$1")"
  wait_until 60 gone "$(<"$1")"
  rm "$1"
}
machine() { cat "$BATS_FILE_TMPDIR/$1.machine"; }
# enter NAME: the words, as $enter, that run a command in the machine; one process more, the command's parent.
enter() { enter=(nsenter -t "$(machine "$1")" -n -m -p -w --); }
in_host() { enter "$1" && "${enter[@]}" "${@:2}"; }
in_guest() { in_host "$1" ip netns exec "$(guest "$2")" "${@:3}"; }
kubectl() { nsenter -t "$(machine center)" -n kubectl "$@"; }
# As ready() of the helpers, whose apiserver is on this host.
ready() { [[ -f $PKI/admin.kubeconfig ]] && kubectl --kubeconfig "$PKI/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; }

# start_node NAME ADDRESS: returns when the API knows it at that address. n2 runs the programs in ALKAID_N2_BIN where
# that is set: those of another version.
start_node() {
  local name=$1 address=$2 service options enter bin=$BIN
  [[ $name != n2 ]] || bin=${ALKAID_N2_BIN:-$BIN}
  boot "$name"
  ip link add "under-$name" netns "$(machine center)" type veth peer name under0 netns "$(machine "$name")"
  in_host center ip link set "under-$name" master rack up
  in_host "$name" ip address add "$address/24" dev under0
  in_host "$name" ip link set under0 up
  mkdir -p "$BATS_FILE_TMPDIR/$name"/{bus,network,hypervisor}
  chmod 0700 "$BATS_FILE_TMPDIR/$name/bus"
  enter "$name"
  for service in network hypervisor watcher; do
    options=(--node-name "$name" --bus-dir "$BATS_FILE_TMPDIR/$name/bus")
    case $service in
      network) options+=(--vtep "$address" --state-dir "$BATS_FILE_TMPDIR/$name/network") ;;
      hypervisor) options+=(--driver fake --state-dir "$BATS_FILE_TMPDIR/$name/hypervisor"
        --image-mirror "images.test=$BATS_FILE_TMPDIR/images") ;;
      watcher) options+=(--node-ip "$address" --kubeconfig "$BATS_FILE_TMPDIR/$name.kubeconfig") ;;
    esac
    "${enter[@]}" "$bin/alkaid-$service" "${options[@]}" </dev/null >>"$BATS_FILE_TMPDIR/$name/$service.log" 2>&1 3>&- &
    child_of $! >"$BATS_FILE_TMPDIR/$name/$service.pid"
    disown # it may be killed without a word of the shell
  done
  wait_until 60 node_is "$name" "$address"
}
node_is() { # NAME ADDRESS
  [[ $(kubectl --kubeconfig "$PKI/admin.kubeconfig" get node "$1" \
    -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address} {.status.conditions[?(@.type=="Ready")].status}' \
    2>/dev/null) == "$2 True" ]]
}

# As one that loses power: nothing is said to anybody.
crash() { # NODE
  kill -KILL "$(machine "$1")"
  wait_until 60 gone "$(machine "$1")"
  rm "$BATS_FILE_TMPDIR/$1.machine" "$BATS_FILE_TMPDIR/$1"-*.guest-pid
  wait_until 60 no_link center "under-$1"
}
# What a node has beside its own.
links() { in_host "$1" ip -o link | grep -vE '^[0-9]+: (lo|under0)[:@]' || :; }
bare() { [[ -z $(links "$1") ]]; }
no_link() { ! in_host "$1" ip link show "$2" >/dev/null 2>&1; }

# ------------------------------------------------------------------ pods and guests

# A pod with these NICs on the node; or it is given what it does not have.
apply_pod() { # POD NODE VPC NIC...
  pod_yaml "$1" "${@:4}" | sed "s/^spec:/&\n  nodeName: $2/; s/vpc: demo/vpc: $3/" | kubectl apply -f -
  local nic
  for nic in "${@:4}"; do wait_until 60 nic_ready "$1" "$nic" || { kubectl get pod "$1" -o yaml >&2 && return 1; }; done
}
nic() { # POD NIC FIELD
  kubectl get pod "$1" -o "jsonpath={.status.nicStatuses[?(@.name==\"$2\")].$3}"
}
nic_ready() { [[ $(nic "$1" "$2" state) == Ready ]]; }
address() { nic "$1" "$2" 'ipAddresses[0]'; }
tap() { printf 'ak%.13s' "$(nic "$1" "$2" portID | tr -d -)"; }

# start_guest NODE POD NIC: called POD-NIC
start_guest() {
  local file=$BATS_FILE_TMPDIR/$2-$3.guest enter tap mac
  rm -f "$file"
  enter "$1"
  tap=$(tap "$2" "$3") mac=$(nic "$2" "$3" macAddress)
  "${enter[@]}" "$GUEST" "$2-$3" "$tap" "$mac" </dev/null >"$file" 2>"$file.log" 3>&- &
  child_of $! >"$BATS_FILE_TMPDIR/$1-$2-$3.guest-pid"
  wait_until 60 answered "$file" "$!" || { cat "$file.log" >&2 && return 1; }
  assert_equal "$(sed 's/.* ip=\([^ ]*\) .*/\1/' "$file")" "$(address "$2" "$3")"
}
answered() { [[ -s $1 ]] || ! kill -0 "$2" 2>/dev/null; } # FILE PID
guest() { cut -d' ' -f1 "$BATS_FILE_TMPDIR/$1.guest"; }

pings() { in_guest "$1" "$2" ping -n -c 1 -W 1 "$3" >/dev/null; } # NODE GUEST ADDRESS
# Entries for a MAC among those that a node forwards to others.
entries() { in_host "$1" bridge fdb show | grep -F "$2" | grep -F dst || :; }
forwards() { [[ $(entries "$1" "$2") == *"dst $3 "* ]]; } # NODE MAC ADDRESS
forgets() { [[ -z $(entries "$1" "$2") ]]; }

# ------------------------------------------------------------------ tests

@test "guests of two nodes reach each other; who is where comes from the Node objects" {
  apply_pod a n1 red eth0
  apply_pod b n2 red eth0
  start_guest n1 a eth0
  start_guest n2 b eth0
  wait_until 60 pings n1 a-eth0 "$(address b eth0)"
  wait_until 60 pings n2 b-eth0 "$(address a eth0)"
  run entries n1 "$(nic b eth0 macAddress)"
  assert_output --partial "dst $NET.2 "
  run entries n2 "$(nic a eth0 macAddress)"
  assert_output --partial "dst $NET.1 "
}

@test "a NIC plugged on node 2 is reached from node 1" {
  apply_pod b n2 red eth0 eth1
  start_guest n2 b eth1
  wait_until 60 pings n1 a-eth0 "$(address b eth1)"
}

@test "VPCs of the same addresses do not meet, on one node and across the two" {
  apply_pod c n1 blue eth0
  apply_pod d n2 blue eth0
  start_guest n1 c eth0
  start_guest n2 d eth0
  assert_equal "$(address c eth0) $(address d eth0)" "$(address a eth0) $(address b eth0)"
  wait_until 60 pings n1 c-eth0 "$(address d eth0)"
  # each address means the own VPC's: the MACs that answer are those of its ports
  pings n1 a-eth0 "$(address b eth0)"
  run in_guest n1 a-eth0 ip neigh show "$(address b eth0)"
  assert_output --partial "$(nic b eth0 macAddress)"
  run in_guest n1 c-eth0 ip neigh show "$(address d eth0)"
  assert_output --partial "$(nic d eth0 macAddress)"
  # what only the other VPC has is not reached
  run ! pings n1 c-eth0 "$(address b eth1)"
  run ! pings n2 d-eth0 "$(address b eth1)"
}

@test "a node crashes and comes back at another address: what it has is reached, what it lost is forgotten" {
  local kept lost
  kept=$(nic b eth0 macAddress) lost=$(nic b eth1 macAddress)
  assert forwards n1 "$kept" $NET.2
  assert forwards n1 "$lost" $NET.2
  crash n2
  run ! pings n1 a-eth0 "$(address b eth0)"
  # shellcheck disable=SC2016 # $patch is a word of the API
  kubectl patch pod b -p '{"spec":{"nics":[{"$patch":"delete","name":"eth1"}]}}'
  start_node n2 $NET.22
  wait_until 60 forwards n1 "$kept" $NET.22
  wait_until 60 forgets n1 "$lost"
  run in_host n1 bridge fdb show
  refute_output --partial "dst $NET.2 "
  wait_until 60 nic_ready b eth0
  start_guest n2 b eth0
  wait_until 60 pings n1 a-eth0 "$(address b eth0)"
  wait_until 60 pings n2 b-eth0 "$(address a eth0)"
}

@test "pods that go leave nothing on their nodes: no link, no namespace, no table, no process" {
  local node guest service
  for guest in "$BATS_FILE_TMPDIR"/*.guest-pid; do stop "$guest"; done
  kubectl delete pod a b c d --timeout=60s
  for node in n1 n2; do
    wait_until 60 bare $node || { links $node >&2 && return 1; }
    for service in watcher hypervisor network; do stop "$BATS_FILE_TMPDIR/$node/$service.pid"; done
    in_host $node "$BIN/alkaid-network" --node-name $node --state-dir "$BATS_FILE_TMPDIR/$node/network" \
      --bus-dir "$BATS_FILE_TMPDIR/$node/bus" --teardown
    run -0 in_host $node sh -c 'nft list tables; ls /run/netns; ps -e -o comm= | grep -vxE "bash|sleep|sh|ps|grep" || :'
    assert_output ''
  done
}
