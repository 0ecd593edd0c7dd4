#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # run sets output, stderr
# alkaidctl tap, record, show, stats and replay on the bus of a real node with fake backends.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  export NODE=$BATS_FILE_TMPDIR/node
  mkdir "$NODE"
  "$ROOT/tests/lib/fake-node" start "$NODE" "$BIN"
  export KUBECONFIG=$NODE/kubeconfig BUS=$NODE/bus CAPTURE=$BATS_FILE_TMPDIR/capture
  kubectl apply -f "$ROOT/examples/vm-nic-hotplug.yaml"
  ready eth0
}

teardown_file() { "$ROOT/tests/lib/fake-node" stop "$NODE"; }

teardown() { [[ ! ${recorder:-} ]] || kill "$recorder"; }

ready() { "$ROOT/tests/lib/watch-pod" nginx-vm ".status.nicStatuses[?(@.name==\"$1\")].state" Ready 60; }
names() { "$ROOT/tests/lib/watch-pod" nginx-vm '.status.nicStatuses[*].name' "$1" 60; }
plug() { kubectl patch pod nginx-vm -p "{\"spec\":{\"nics\":[{\"name\":\"$1\"}]}}" && ready "$1"; }
unplug() {
  # shellcheck disable=SC2016 # of JSON
  kubectl patch pod nginx-vm -p "{\"spec\":{\"nics\":[{\"\$patch\":\"delete\",\"name\":\"$1\"}]}}" && names eth0
}
ctl() { "$BIN/alkaidctl" "$@"; }

record() { # OPTIONS... FILE: in the background; returns when it has heard what is there
  local file=${!#}
  "$BIN/alkaidctl" record --bus-dir "$BUS" --node-name fake "$@" 3>&- 4>&- 2>"$BATS_TEST_TMPDIR/record" &
  recorder=$!
  wait_until 30 heard_all "$file"
}
heard_all() { [[ $(ctl show --json "$1" 2>/dev/null | jq -r .publisher | sort -u | xargs) == 'hypervisor network watcher' ]]; }

end_record() {
  kill "$recorder"
  wait "$recorder"
  recorder=''
}

@test "tap shows last values to whoever comes, and filters" {
  run -0 ctl tap --bus-dir "$BUS" --for 3s
  # By name once its vm.diff was heard; each publisher is heard by itself.
  assert_output --regexp '= nic.status  (default/nginx-vm|[0-9a-f-]{36}) +eth0 +ready'
  refute_output --partial $'\033'
  run -0 ctl tap --bus-dir "$BUS" --type nic.status --pod nginx-vm --nic eth0 --json --count 1 --for 30s
  run -0 jq -r '[.message.type, .message.state, .publisher, .replayed] | join(" ")' <<<"$output"
  assert_output 'nic.status ready hypervisor true'
  run -0 ctl tap --bus-dir "$BUS" --pod other --for 1s
  assert_output ''
  run -0 ctl tap --bus-dir "one=$BUS" --bus-dir "two=$BUS" --node two --type vm.status --count 1 --for 30s
  assert_output --regexp ' two +vm.status'
  run -2 ctl tap --bus-dir "one=$BUS" --node three
  assert_output --partial "none of --bus-dir is of node 'three'"
}

@test "tap paints on a terminal, unless NO_COLOR says otherwise" {
  local tap="$BIN/alkaidctl tap --bus-dir $BUS --type nic.status --count 1 --for 30s"
  run -0 env -u NO_COLOR TERM=xterm script -qec "$tap" /dev/null
  assert_output --partial $'\033[32mready'
  run -0 env NO_COLOR=1 TERM=xterm script -qec "$tap" /dev/null
  refute_output --partial $'\033'
  run -0 ctl tap --bus-dir "$BUS" --type nic.status --count 1 --for 30s --color always
  assert_output --partial $'\033[32mready'
}

@test "a plug and an unplug are recorded and shown" {
  local since until
  record "$CAPTURE"
  since=$(date -u +%FT%T.%NZ)
  plug eth1
  until=$(date -u +%FT%T.%NZ)
  unplug eth1
  end_record
  run -0 cat "$BATS_TEST_TMPDIR/record"
  assert_output --regexp '^[0-9]+ messages in '
  refute_output --partial dropped
  run -0 ctl show --json --nic eth1 --type nic.status "$CAPTURE"
  run -0 jq -rs '[.[].message.state] | "\(index("ready") != null) \(.[-1]) "' <<<"$output"
  assert_output 'true detached '
  run -0 ctl show --json --since "$since" --until "$until" --nic eth1 "$CAPTURE"
  run -0 jq -rs '[.[].message | select(.type == "nic.diff") | .wanted] | unique | join(" ")' <<<"$output"
  assert_output present
  run -0 ctl show --json --node other "$CAPTURE"
  assert_output ''
  run -0 ctl stats --json "$CAPTURE"
  run -0 jq -r '[.rows[] | select(.type == "port.status") | .topics, .lost] | join(" ")' <<<"$output"
  assert_output '2 0'
}

@test "files are not written over, but with --overwrite" {
  run -1 ctl record --bus-dir "$BUS" --for 1s "$CAPTURE"
  assert_output --partial 'File exists (--overwrite replaces it'
  run -2 ctl record --bus-dir "$BUS" --max-size 1K "$CAPTURE.other"
  run -1 ctl record --bus-dir "$BUS" --for 1s /nonexistent/capture
  run -4 ctl record --bus-dir /nonexistent --for 1s "$CAPTURE.other"
}

@test "a recorder that is killed leaves what it heard; a torn end is told, damage refused" {
  local file=$BATS_TEST_TMPDIR/c size
  record "$file"
  kill -KILL "$recorder"
  run ! wait "$recorder"
  recorder=''
  size=$(stat -c %s "$file")
  truncate -s $((size - 1)) "$file"
  run -0 --separate-stderr ctl show "$file"
  assert_regex "$output" 'nic.diff'
  assert_regex "$stderr" 'ends inside a record, at byte [0-9]+; what is before it is shown'
  run -0 ctl stats "$file"
  assert_output --partial 'ends inside a record'
  printf 'x' | dd of="$file" bs=1 seek=300 conv=notrunc status=none
  run -1 ctl show "$file"
  assert_output --regexp 'at byte [0-9]+: checksum does not match'
  run -1 ctl show "$BATS_TEST_DIRNAME/bus.bats"
  assert_output --partial 'not a capture of alkaidctl record'
  run -2 ctl show --since yesterday "$CAPTURE"
  run -1 ctl replay --core network "$file"
}

@test "stats tells who says what, and since when not" {
  run -0 ctl stats --bus-dir "$BUS" --interval 6s --count 1 --json
  run -0 jq -r '.rows[] | select(.type == "sync.mark" and .messages > 0 and .age_seconds < 6) | .publisher' <<<"$output"
  run -0 sort <<<"$output"
  assert_output $'hypervisor\nnetwork\nwatcher'
  run -0 ctl stats --bus-dir "$BUS" --interval 1s --count 1
  assert_line --regexp '^PUBLISHER +TYPE +MESSAGES'
}

replay_to_network() { # SPEED: sets output and stderr to what a service of its own was asked and answered
  local network code=0
  rm -rf "$BATS_TEST_TMPDIR/state"
  "$BIN/alkaid-network" --bus-dir "$bus" --state-dir "$BATS_TEST_TMPDIR/state" --backend fake --node-name replay \
    --log-level error 3>&- 4>&- &
  network=$!
  run -0 --separate-stderr ctl replay --to network --bus-dir "$bus" --speed "$1" --json "$CAPTURE"
  kill "$network"
  wait "$network" || code=$?
  assert_equal "$code" 0
  assert_regex "$stderr" '[0-9]+ messages sent, [0-9]+ passed over, [0-9]+ answers'
}

@test "a capture is replayed to a live service, and to a core" {
  local bus=$BATS_TEST_TMPDIR/bus
  mkdir -m 0700 "$bus"
  # Of two publishers' messages that are sent at once, either may be heard first: no state is the last one.
  replay_to_network max
  run -0 jq -rs 'any(.message.nic == "eth1")' <<<"$output"
  assert_output true
  replay_to_network 1
  run -0 jq -rs 'map(select(.message.nic == "eth1").message.state)[-1]' <<<"$output"
  assert_output released
  run -4 ctl replay --to network --bus-dir "$bus" --wait 100ms "$CAPTURE"
  assert_output --partial 'network does not listen'
  run -1 ctl replay --to network --bus-dir "$BUS" "$CAPTURE"
  assert_output --partial 'hypervisor runs on the bus'
  run -2 ctl replay --to network --bus-dir "$bus" --speed fast "$CAPTURE"
  run -2 ctl replay --to network --check "$CAPTURE"
  run -0 --separate-stderr ctl replay --core network "$CAPTURE"
  assert_regex "$output" 'released'
}

# What tests/e2e does around its tests, without VMs: the functions are its own.
# shellcheck disable=SC2034,SC2153 # for what is sourced
e2e_ends() { # BATS_TEST_COMPLETED of its test
  (
    # shellcheck source=/dev/null
    source "$ROOT/tests/e2e/setup_suite.bash"
    # shellcheck source=/dev/null
    source <(sed -n '/^tell_capture()/,/^}/p;/^TEST_BEGAN=/p' "$ROOT/tests/e2e/helpers.bash")
    STATE=$NODE NAME=fake ALKAID_E2E_CAPTURES=$BATS_TEST_TMPDIR/e2e
    record_bus
    trap 'kill "$RECORDER"' EXIT
    wait_until 30 heard_all "$CAPTURE"
    BATS_TEST_COMPLETED=$1 BATS_TEST_SKIPPED=
    tell_capture
    trap - EXIT
    keep_capture
  )
}

@test "the capture of a failed e2e run is kept and named, that of another is not" {
  local file=$BATS_TEST_TMPDIR/e2e/bus.akcap
  run -0 e2e_ends ''
  assert_output --regexp "what was said on the bus: .*/alkaidctl show --since [0-9TZ:-]+ $file"
  assert_output --partial "what was said on the bus is kept: $file"
  run -0 heard_all "$file"
  run -0 e2e_ends 1
  refute_output --partial 'is kept'
  assert [ ! -e "$file" ]
}
