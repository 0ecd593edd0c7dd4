# shellcheck shell=bash disable=SC2016
# SPDX-License-Identifier: Apache-2.0
# The user's document, from `apply` to plug-out, on this machine. Every command is printed, run and timed.

# demo_run COMMAND: prints it as a person would type it, runs it, tells how long it took.
demo_run() {
  local start code=0
  start=$(now_ms)
  printf '\n\033[1m$ %s\033[0m\n' "$1"
  bash -euo pipefail -c "$1" || code=$?
  printf '\033[2m  (%s)\033[0m\n' "$(seconds $(($(now_ms) - start)))"
  ((code == 0)) || die "demo: exit code $code from: $1"
}

# demo_until TITLE POD JSONPATH REGEX: waits for it on a watch, and tells how long that took.
demo_until() {
  local start title=$1
  start=$(now_ms)
  shift
  "$ROOT/tests/lib/watch-pod" "$@" 120 || die "demo: not so within two minutes: $title"
  printf '\033[2m  %s: %s\033[0m\n' "$title" "$(seconds $(($(now_ms) - start)))"
}

demo_nic() { printf '.status.nicStatuses[?(@.name=="%s")].%s' "$1" "$2"; } # NIC FIELD

# What the guest itself prints, over kubectl attach where kubectl and the API speak one protocol for it.
demo_guest() {
  local console start
  if demo_attach_works; then
    console=(script -qfec 'kubectl attach -it nginx-vm' /dev/null)
    printf '\n\033[1m$ kubectl attach -it nginx-vm\033[0m\n'
  else
    console=("$(bin_dir)/alkaidctl" console --bus-dir "$STATE/bus" nginx-vm)
    printf '\n\033[1m$ alkaidctl console nginx-vm\033[0m   (this kubectl is too old for attach over WebSocket)\n'
  fi
  start=$(now_ms)
  for command in "$@"; do
    printf '\033[1mguest# %s\033[0m\n' "$command"
    "$ROOT/tests/lib/guest-run" "$command" -- "${console[@]}"
  done
  printf '\033[2m  (%s)\033[0m\n' "$(seconds $(($(now_ms) - start)))"
}

demo_attach_works() {
  local minor
  minor=$(kubectl version --client -o json | sed -n 's/.*"minor": "\([0-9]*\).*/\1/p')
  ((${minor:-0} >= 31))
}

# The document's image lives on the Internet; here its address is mapped to a guest built from this
# machine's packages, so that the YAML needs no change.
demo_images() {
  local dir=$STATE/images/www/0.3.5
  mkdir -p "$dir"
  cp "$(guest_image)" "$dir/cirros-0.3.5-x86_64-disk.img.new"
  mv "$dir/cirros-0.3.5-x86_64-disk.img.new" "$dir/cirros-0.3.5-x86_64-disk.img"
  say download.cirros-cloud.net >"$STATE/images/hosts"
}

demo_walk() {
  cd "$ROOT/examples" || die 'no examples'
  export KUBECONFIG=$STATE/kubeconfig
  if kubectl get pod nginx-vm >/dev/null 2>&1; then
    say '' && say 'From an earlier demo:'
    demo_run 'kubectl delete pod nginx-vm'
  fi
  say '' && say 'A VM pod with one NIC:'
  demo_run 'kubectl apply -f vm-nic-hotplug.yaml'
  demo_until 'Running after' nginx-vm .status.phase Running
  demo_until 'eth0 Ready after' nginx-vm "$(demo_nic eth0 state)" Ready
  demo_run 'kubectl get pods'
  demo_guest 'ip address' 'netstat -i'
  say '' && say 'A second NIC, while it runs:'
  demo_run 'kubectl patch pod nginx-vm -p "$(cat patch-nic-hotplug.yaml)"'
  demo_until 'eth1 Ready after' nginx-vm "$(demo_nic eth1 state)" Ready
  demo_run 'kubectl get pod nginx-vm -o jsonpath='\''{range .status.nicStatuses[*]}{.name} {.state} {.macAddress} {.ipAddresses} {.timings}{"\n"}{end}'\'
  demo_address
  demo_guest 'ip address' 'netstat -i'
  say '' && say 'And out again:'
  demo_run 'kubectl patch pod nginx-vm -p "$(cat patch-delete-eth1.yaml)"'
  demo_until 'eth1 gone after' nginx-vm '.status.nicStatuses[*].name' eth0
  demo_run 'kubectl get pods'
  demo_guest 'ip address' 'netstat -i'
}

demo_address() { # the lease comes a moment after the driver
  local address start
  start=$(now_ms)
  address=$(kubectl get pod nginx-vm -o "jsonpath={$(demo_nic eth1 'ipAddresses[0]')}")
  wait_for 30 demo_guest_has "${address%%/*}" || die "demo: eth1 got no address from DHCP"
  printf '\033[2m  address by DHCP: %s\033[0m\n' "$(seconds $(($(now_ms) - start)))"
}

demo_guest_has() {
  "$ROOT/tests/lib/guest-run" 'ip address show dev eth1' -- \
    "$(bin_dir)/alkaidctl" console --bus-dir "$STATE/bus" nginx-vm | grep -qF "inet $1/"
}

cmd_demo() {
  local start
  need_root demo
  (($# == 0)) || die "demo: unknown argument '$1'" 2
  start=$(now_ms)
  packages_need build run guest demo
  build_step "$PRESET"
  build_guest
  demo_images
  up_or_down
  isolated demo_walk
  say '' && say "Done in $(seconds $(($(now_ms) - start))). The stack and the VM are still up. To use them:"
  say "  export KUBECONFIG=$STATE/kubeconfig"
  say '  kubectl get pods'
  say '  kubectl attach -it nginx-vm        (the guest gets every key: to leave, close the terminal)'
  say "To stop: sudo ./dev down$(state_option)      (--purge deletes its data, too)"
}
