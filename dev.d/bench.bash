# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Measurements, on a stack of their own that is taken down afterwards.

cmd_bench() {
  local name=${1:-hotplug} code=0
  (($# == 0)) || shift
  need_root bench
  [[ $name =~ ^[a-z0-9-]+$ && -f $ROOT/tests/bench/$name && -x $ROOT/tests/bench/$name ]] ||
    die "no benchmark '$name'; there are: $(bench_names)" 2
  packages_need build run guest demo bench
  build_step "$PRESET"
  build_guest
  STATE=$(mktemp -d /var/tmp/alkaid-bench.XXXXXX) NAME=bench PORT='' LIBVIRT=private
  trap bench_down EXIT
  demo_images
  up_or_down
  say ''
  "$ROOT/tests/bench/$name" --kubeconfig "$STATE/kubeconfig" --libvirt "$LIBVIRT_URI" \
    --image download.cirros-cloud.net/0.3.5/cirros-0.3.5-x86_64-disk.img \
    --bus-dir "$STATE/bus" --alkaidctl "$(bin_dir)/alkaidctl" "$@" || code=$?
  say ''
  return "$code"
}

bench_names() { find "$ROOT/tests/bench" -maxdepth 1 -type f -executable -printf '%f ' | sort; }

# shellcheck disable=SC2317 # a trap
bench_down() {
  cmd_down --purge
}
