# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Measurements (tests/bench/README.md). Whatever one needs is started for it and taken down afterwards.

bench_kinds=(hotplug bus port api node idle fleet soak)

# bench [NAME...] [OPTION...]: the options, from the first word with a dash on, go to each.
cmd_bench() {
  local names=() code=0 name
  while (($#)) && [[ $1 != -* ]]; do
    [[ " ${bench_kinds[*]} all " == *" $1 "* ]] || die "no benchmark '$1'; there are: ${bench_kinds[*]}, and all" 2
    names+=("$1")
    shift
  done
  ((${#names[@]})) || names=(hotplug)
  [[ ${names[*]} != all ]] || names=("${bench_kinds[@]}")
  need_root bench
  packages_need build run guest demo bench
  build_step "$PRESET" >&2 # what is measured alone goes to the output, for --json
  for name in "${names[@]}"; do
    say "--- $name" >&2
    isolated "bench_$name" "$@" || code=1
  done
  return "$code"
}

bench_hotplug() {
  bench_stack_up
  bench_on_the_stack hotplug --bus-dir "$STATE/bus" --alkaidctl "$(bin_dir)/alkaidctl" "$@"
}
bench_soak() {
  bench_stack_up
  bench_on_the_stack soak --state "$STATE" "$@"
}
bench_bus() { "$(bin_dir)/bench-bus" "$@"; }
bench_port() { "$(bin_dir)/bench-port" "$@"; }
bench_api() { bench_on_an_apiserver bench-api "$@"; }
bench_fleet() { bench_on_an_apiserver bench-fleet "$@"; }
bench_node() { "$ROOT/tests/bench/node" --bin "$(bin_dir)" "$@"; }
bench_idle() { "$ROOT/tests/bench/idle" --bin "$(bin_dir)" "$@"; }

# The whole stack, its own libvirtd, the guest of the tests.
bench_stack_up() {
  build_guest >&2
  STATE=$(mktemp -d /var/tmp/alkaid-bench.XXXXXX) NAME=bench PORT='' LIBVIRT=private
  trap bench_down EXIT
  demo_images
  up_or_down >&2
}

bench_on_the_stack() { # PROGRAM OPTIONS...
  local program=$1
  shift
  "$ROOT/tests/bench/$program" --kubeconfig "$STATE/kubeconfig" --libvirt "$LIBVIRT_URI" \
    --image download.cirros-cloud.net/0.3.5/cirros-0.3.5-x86_64-disk.img "$@"
}

# shellcheck disable=SC2317 # a trap
bench_down() { cmd_down --purge >&2; }

# bench_on_an_apiserver PROGRAM OPTIONS...: an apiserver alone, with nothing in it, that lets one client have all.
bench_on_an_apiserver() {
  local program=$1 deadline=$((SECONDS + 60))
  shift
  BENCH_DIR=$(mktemp -d /var/tmp/alkaid-bench.XXXXXX)
  mkdir -m 0700 "$BENCH_DIR/bus"
  "$(bin_dir)/alkaid-apiserver" --listen 127.0.0.1:0 --state-dir "$BENCH_DIR/state" --pki-dir "$BENCH_DIR/pki" \
    --bus-dir "$BENCH_DIR/bus" --max-connections 30000 --max-user-connections 30000 --max-user-watches 30000 \
    --max-objects 5000000 2>"$BENCH_DIR/log" &
  BENCH_SERVER=$!
  trap bench_server_down EXIT
  until grep -qs 'event=listening' "$BENCH_DIR/log"; do
    ((SECONDS < deadline)) || die "the apiserver does not start: $(tail -n 3 "$BENCH_DIR/log")"
    sleep 0.1
  done
  "$(bin_dir)/$program" --pki-dir "$BENCH_DIR/pki" --pid "$BENCH_SERVER" "$@"
}

# shellcheck disable=SC2317 # a trap
bench_server_down() {
  kill "$BENCH_SERVER"
  wait "$BENCH_SERVER"
  rm -rf "$BENCH_DIR"
}
