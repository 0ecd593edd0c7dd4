#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; run sets output
# Four services without a host beneath them (fake backends), on a bus over tcp with certificates: Debian's
# Prometheus scrapes them, promtool reads their metrics, rules and dashboard name only what there is, and one
# NIC's way is drawn from the logs.

bats_require_minimum_version 1.5.0
load helpers

DEPLOY=$ROOT/deploy
SERVICES='apiserver watcher network hypervisor'

free_ports() { # COUNT
  /usr/bin/python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))
PYTHON
}

metrics_port() { # SERVICE
  sed -n 's/.* event=metrics_listening .* port=\([0-9]*\).*/\1/p' "$BATS_FILE_TMPDIR/$1.log" | head -n1
}
listens() { [[ -n $(metrics_port "$1") ]]; }
scrape() { curl -sS --fail "http://127.0.0.1:$(metrics_port "$1")/metrics"; }

# A collector of spans: keeps each request's body as a line.
start_collector() { # PORT
  start_service collector /usr/bin/python3 -u -c '
import http.server, sys
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[2], "ab") as out:
            out.write(body + b"\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
' "$1" "$BATS_FILE_TMPDIR/spans.json"
}

start_node() { # COLLECTOR
  local keys=$BATS_FILE_TMPDIR/keys bus=$BATS_FILE_TMPDIR/bus ports common
  chmod 700 "$bus"
  read -ra ports <<<"$(free_ports 3)"
  "$BIN/alkaidctl" keys generate --bus-keys "$keys" watcher network hypervisor listener
  common=(--node-name node1 --bus-dir "$bus" --bus-keys "$keys" --metrics 127.0.0.1:0
    --otlp "$1" --bus-peer "watcher=tcp://127.0.0.1:${ports[0]}" --bus-peer "network=tcp://127.0.0.1:${ports[1]}"
    --bus-peer "hypervisor=tcp://127.0.0.1:${ports[2]}")
  start_service network "$BIN/alkaid-network" --backend fake --state-dir "$BATS_FILE_TMPDIR/network" \
    "${common[@]}" --bus-listen "tcp://127.0.0.1:${ports[1]}"
  start_service hypervisor "$BIN/alkaid-hypervisor" --driver fake --state-dir "$BATS_FILE_TMPDIR/hypervisor" \
    --image-dir "$BATS_FILE_TMPDIR" "${common[@]}" --bus-listen "tcp://127.0.0.1:${ports[2]}"
  start_service watcher "$BIN/alkaid-watcher" --kubeconfig "$PKI/node.kubeconfig" "${common[@]}" \
    --bus-listen "tcp://127.0.0.1:${ports[0]}"
}

setup_file() {
  local service collector
  read -r collector <<<"$(free_ports 1)"
  start_collector "$collector"
  start_apiserver --node-name node1 --metrics 127.0.0.1:0 --otlp "http://127.0.0.1:$collector/v1/traces"
  start_node "http://127.0.0.1:$collector/v1/traces"
  for service in $SERVICES; do
    wait_until 20 listens "$service" || { cat "$BATS_FILE_TMPDIR/$service.log" >&2 && return 1; }
  done
  qemu-img create -q -f qcow2 "$BATS_FILE_TMPDIR/vm.qcow2" 1M
  pod_yaml vm eth0 | sed "s|images.test/vm.qcow2|$BATS_FILE_TMPDIR/vm.qcow2|" | kubectl apply -f -
  wait_until 60 nic_ready eth0
  kubectl patch pod vm -p '{"spec":{"nics":[{"name":"eth1"}]}}'
  wait_until 60 nic_ready eth1
}

teardown_file() { stop_services; }

nic_ready() {
  [[ $(kubectl get pod vm -o "jsonpath={.status.nicStatuses[?(@.name=='$1')].state}") == Ready ]]
}

# Names of all metrics that the services expose, without what a histogram appends.
exposed() {
  local service
  for service in $SERVICES; do scrape "$service"; done | sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' | sort -u
}
# Names of metrics in expressions on standard input; those of recording rules have colons.
mentioned() {
  grep -oE '\b(alkaid|process)_[a-z_]+' | sed -E 's/_(bucket|count|sum)$//' | sort -u
}
recorded() { sed -n 's/^ *- record: //p' "$DEPLOY/prometheus/alkaid.rules.yml" | sort -u; }

@test "a NIC gets Ready over a bus of tcp and CURVE" {
  for service in watcher network hypervisor; do
    run -0 scrape "$service"
    assert_line 'alkaid_bus_refused_keys_total 0'
    refute_line 'alkaid_bus_received_total 0'
    refute_line 'alkaid_bus_published_total 0'
  done
}

@test "promtool finds nothing to say about the metrics" {
  for service in $SERVICES; do
    scrape "$service" >"$BATS_TEST_TMPDIR/$service"
    run -0 promtool check metrics <"$BATS_TEST_TMPDIR/$service"
    refute_output
  done
}

@test "what the NICs went through is counted" {
  run -0 scrape network
  assert_line --regexp '^alkaid_nic_step_seconds_count\{step="port",outcome="ok"\} [2-9]'
  assert_line --regexp '^alkaid_backend_call_seconds_count\{call="prepare",outcome="ok"\} [2-9]'
  assert_line --regexp '^alkaid_ports [2-9]'
  run -0 scrape hypervisor
  assert_line --regexp '^alkaid_driver_call_seconds_count\{call="attach",outcome="ok"\} [1-9]'
  assert_line --regexp '^alkaid_nic_step_seconds_count\{step="attach",outcome="ok"\} [1-9]'
  assert_line 'alkaid_driver_connected 1'
  assert_line 'alkaid_image_fetches_total{outcome="ok"} 1'
  run -0 scrape watcher
  assert_line --regexp '^alkaid_nic_step_seconds_count\{step="plug",outcome="ok"\} [2-9]'
  assert_line 'alkaid_watcher_nics_ready 2'
  assert_line 'alkaid_api_connected 1'
  run -0 scrape apiserver
  assert_line --regexp '^alkaid_http_request_seconds_count\{verb="patch",code="200"\} [1-9]'
  assert_line --regexp '^alkaid_nic_step_seconds_count\{step="patch",outcome="ok"\} [1-9]'
}

@test "rules are right, and do what they should" {
  run -0 promtool check rules "$DEPLOY/prometheus/alkaid.rules.yml"
  run -0 promtool test rules "$DEPLOY/prometheus/alkaid.test.yml"
  run -0 promtool check config --syntax-only "$DEPLOY/prometheus/prometheus.yml"
}

@test "rules and dashboard name only metrics that there are, and the dashboard most of them" {
  exposed >"$BATS_TEST_TMPDIR/exposed"
  run -0 comm -13 "$BATS_TEST_TMPDIR/exposed" <(sed -n 's/^ *expr: //p; /expr: >-/,/labels:/p' \
    "$DEPLOY/prometheus/alkaid.rules.yml" | sed -E 's/[a-z_]+:[a-z_]+:[a-z0-9_]+//g' | mentioned)
  refute_output
  jq -r '.panels[].targets[]?.expr' "$DEPLOY/grafana/alkaid.json" >"$BATS_TEST_TMPDIR/dashboard"
  run -0 comm -13 "$BATS_TEST_TMPDIR/exposed" <(sed -E 's/[a-z_]+:[a-z_]+:[a-z0-9_]+//g' "$BATS_TEST_TMPDIR/dashboard" | mentioned)
  refute_output
  run -0 comm -13 <(recorded) <(grep -oE '[a-z_]+:[a-z_]+:[a-z0-9_]+' "$BATS_TEST_TMPDIR/dashboard" | sort -u)
  refute_output
  # What neither of them shows is nobody's.
  run -0 comm -23 <(grep '^alkaid_' "$BATS_TEST_TMPDIR/exposed") \
    <(cat "$DEPLOY/prometheus/alkaid.rules.yml" "$BATS_TEST_TMPDIR/dashboard" | mentioned)
  assert_output "$(printf '%s\n' alkaid_bus_duplicates_total alkaid_bus_replays_received_total \
    alkaid_bus_subscriptions_total alkaid_watcher_synced alkaid_watcher_nics_settled alkaid_hypervisor_nics alkaid_hypervisor_nics_ready | sort)"
}

@test "operations.md tells the remedy of every alert, and of none that there is not" {
  run -0 diff <(sed -n 's/^ *- alert: //p' "$DEPLOY/prometheus/alkaid.rules.yml" | sort) \
    <(sed -n 's/^### \(Alkaid[A-Za-z]*\)$/\1/p' "$ROOT/docs/operations.md" | sort)
}

query() { # EXPRESSION: the value of the first series
  curl -sS --get --data-urlencode "query=$1" "http://127.0.0.1:$PROMETHEUS/api/v1/query" |
    jq -r '.data.result[0].value[1]'
}
all_up() { [[ $(query 'sum(up{job=~"alkaid-.*"})') == 4 ]]; }
has_rates() { [[ $(query 'sum(verb_code:alkaid_http_request_seconds:rate_5m) > 0') =~ ^[0-9.]+$ ]]; }

@test "Debian's Prometheus scrapes all services and records the rules" {
  local config=$BATS_TEST_TMPDIR/prometheus.yml service
  read -r PROMETHEUS <<<"$(free_ports 1)"
  cp "$DEPLOY/prometheus/prometheus.yml" "$config"
  cp "$DEPLOY/prometheus/alkaid.rules.yml" "$BATS_TEST_TMPDIR"
  sed -i 's/_interval: 15s/_interval: 1s/' "$config"
  for service in $SERVICES; do
    sed -i "/job_name: alkaid-$service\$/,/targets:/s/127.0.0.1:[0-9]*/127.0.0.1:$(metrics_port "$service")/" "$config"
  done
  prometheus --config.file="$config" --storage.tsdb.path="$BATS_TEST_TMPDIR/data" \
    --web.listen-address="127.0.0.1:$PROMETHEUS" >"$BATS_TEST_TMPDIR/prometheus.log" 2>&1 3>&- &
  local pid=$!
  echo "$pid" >"$BATS_FILE_TMPDIR/prometheus.pid"
  wait_until 60 all_up || { cat "$BATS_TEST_TMPDIR/prometheus.log" && false; }
  wait_until 60 has_rates
  run -0 query 'sum(alkaid_watcher_nics_ready)'
  assert_output 2
  run -0 query 'count(ALERTS{alertname="AlkaidServiceDown"}) or vector(0)'
  assert_output 0
}

@test "alkaidctl trace draws a NIC's way from the services' logs" {
  local logs=() service
  for service in $SERVICES; do logs+=(--log "$BATS_FILE_TMPDIR/$service.log"); done
  run -0 "$BIN/alkaidctl" trace vm eth1 "${logs[@]}"
  for step in patch watch diff plug port attach guest status total; do assert_line --regexp "^$step "; done
  run -0 "$BIN/alkaidctl" trace vm eth1 "${logs[@]}" --output json
  assert_equal "$(jq -sr '[.[].trace]|unique|length' <<<"$output")" 1
  assert_equal "$(jq -sr '[.[]|select(.service!="apiserver" and .name!="watch")|.parent]|unique|length' <<<"$output")" 1
  assert_equal "$(jq -sr '.[]|select(.name=="patch").span' <<<"$output")" \
    "$(jq -sr '.[]|select(.name=="port").parent' <<<"$output")"
  run -0 "$BIN/alkaidctl" trace vm eth0 --log - <"$BATS_FILE_TMPDIR/watcher.log"
  assert_line --regexp '^plug '
  run -1 "$BIN/alkaidctl" trace vm eth9 "${logs[@]}"
  assert_output --partial 'logs tell nothing of NIC eth9'
  run -2 "$BIN/alkaidctl" trace vm
  run -2 "$BIN/alkaidctl" trace vm eth1 "${logs[@]}" --since 2026-01-01T00:00:00Z
}

# The services' logs as systemd would have kept them, beside another program's, in files of systemd's own making.
make_journal() { # DIRECTORY
  /usr/bin/python3 - "$BATS_FILE_TMPDIR" "$SERVICES" <<'PYTHON' | /lib/systemd/systemd-journal-remote -o "$1/alkaid.journal" -
import re, sys
from datetime import datetime
entries = [(1, "other", "ts=1 event=span name=plug trace=1 pod=p nic=eth1")]
for service in sys.argv[2].split():
    for line in open(f"{sys.argv[1]}/{service}.log", errors="replace"):
        when = re.search(r"ts=(\S+)Z ", line)
        if when:
            us = int(datetime.fromisoformat(when[1] + "+00:00").timestamp() * 1e6)
            entries.append((us, f"alkaid-{service}", line.rstrip("\n")))
for us, name, line in sorted(entries):
    print(f"__REALTIME_TIMESTAMP={us}\n__MONOTONIC_TIMESTAMP={us % 10**12}\n_BOOT_ID={'0' * 31}1")
    print(f"PRIORITY=6\nSYSLOG_IDENTIFIER={name}\nMESSAGE={line}\n")
PYTHON
}

@test "alkaidctl trace reads systemd's journal itself" {
  local journal=$BATS_TEST_TMPDIR/journal logs=() service
  mkdir "$journal" "$BATS_TEST_TMPDIR/empty"
  make_journal "$journal"
  for service in $SERVICES; do logs+=(--log "$BATS_FILE_TMPDIR/$service.log"); done
  run -0 "$BIN/alkaidctl" trace vm eth1 "${logs[@]}"
  local drawn=$output
  run -0 "$BIN/alkaidctl" trace vm eth1 --journal "$journal"
  assert_output "$drawn"
  run -1 "$BIN/alkaidctl" trace vm eth1 --journal "$journal" --since 2100-01-01T00:00:00Z
  assert_output --partial 'journal tells nothing of NIC eth1'
  run -1 "$BIN/alkaidctl" trace vm eth1 --journal "$BATS_TEST_TMPDIR/empty"
  assert_output --partial 'has no journal that you may read'
  run -1 "$BIN/alkaidctl" trace vm eth1 --journal "$BATS_TEST_TMPDIR/absent"
  assert_output --partial 'No such file or directory'
}

# Names of services that have sent a span of this trace.
exported_by() { # TRACE
  jq -r --arg trace "$1" '.resourceSpans[] | select(any(.scopeSpans[].spans[]; .traceId == $trace)) |
    .resource.attributes[] | select(.key == "service.name").value.stringValue' "$BATS_FILE_TMPDIR/spans.json" | sort -u
}
exported_by_all() { [[ $(exported_by "$1" | wc -l) == 4 ]]; }

@test "the same spans reach a collector over OTLP" {
  local trace
  trace=$("$BIN/alkaidctl" trace vm eth1 --output json --log "$BATS_FILE_TMPDIR/watcher.log" | jq -sr '.[0].trace')
  wait_until 30 exported_by_all "$trace" || { cat "$BATS_FILE_TMPDIR/spans.json" && false; }
  run -0 exported_by "$trace"
  assert_output "$(printf 'alkaid-%s\n' apiserver hypervisor network watcher)"
}

@test "a client's traceparent is taken over, and stays with the pod" {
  local id=0af7651916cd43dd8448eb211c80319c
  run -0 curl_as_admin -X PATCH -H 'Content-Type: application/merge-patch+json' \
    -H "traceparent: 00-$id-b7ad6b7169203331-01" --data '{"spec":{"nics":[{"name":"eth0"},{"name":"eth1"},{"name":"eth2"}]}}' \
    "$SERVER$PODS/vm"
  assert_equal "$(jq -r '.metadata.annotations["alkaid.io/traceparent"]' <<<"$output" | cut -d- -f2)" "$id"
  wait_until 60 nic_ready eth2
  run -0 grep -h "event=span .*trace=$id" "$BATS_FILE_TMPDIR"/{apiserver,watcher,network,hypervisor}.log
  assert_line --regexp 'service=apiserver .* name=patch .* parent=b7ad6b7169203331 '
  assert_line --regexp 'service=network .* name=port '
  assert_line --regexp 'service=hypervisor .* name=guest '
}

@test "alkaidctl listens with the listener's certificate, and not without" {
  local peers
  mapfile -t peers < <(tr '\0' '\n' <"/proc/$(service_pid watcher)/cmdline" | grep -E '^[a-z]+=tcp://' | sed 's/^/--bus-peer=/')
  mkdir -m 700 "$BATS_TEST_TMPDIR/bus"
  run -0 --separate-stderr "$BIN/alkaidctl" tap --json --count 1 --for 60s --type nic.status \
    --bus-dir "$BATS_TEST_TMPDIR/bus" --bus-keys "$BATS_FILE_TMPDIR/keys" "${peers[@]}"
  assert_equal "$(jq -r .publisher <<<"$output")" hypervisor
  run -4 "$BIN/alkaidctl" tap --for 1s --bus-dir "$BATS_TEST_TMPDIR/bus" "${peers[@]}"
  assert_output --partial '--bus-keys'
}

@test "who has no certificate hears nothing on the bus, and is counted" {
  local endpoint
  endpoint=$(tr '\0' '\n' <"/proc/$(service_pid watcher)/cmdline" | grep -A1 -- --bus-listen | tail -n1)
  run -0 /usr/bin/python3 - "$endpoint" <<'PYTHON'
import sys, zmq
s = zmq.Context().socket(zmq.SUB)
s.setsockopt(zmq.SUBSCRIBE, b"")
s.connect(sys.argv[1])
print("heard" if s.poll(1500) else "nothing")
PYTHON
  assert_output nothing
  run -0 scrape watcher
  refute_line 'alkaid_bus_refused_handshakes_total 0'
}
