#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # $patch is JSON
# kill -9 of each service and of libvirtd at each step of a plug and of an unplug, and of all of them at once. After
# each: what was asked for is done, nothing is left over, and the VM and its other NIC did not notice.

load helpers
load crash

setup_file() {
  load helpers
  load crash
  VPC=crashvpc
  kubectl create -f <(pod_yaml "$POD" "$VPC" images.test/guest.qcow2 eth0)
  nic_ready "$POD" eth0
  remember
  until_true 60 answers_ping "$(nic_get "$POD" eth0 'ipAddresses[0]')"
  start_ping "$(nic_get "$POD" eth0 'ipAddresses[0]')"
  listen
  echo out >"$BATS_FILE_TMPDIR/eth1"
  echo none >"$BATS_FILE_TMPDIR/port"
}

teardown_file() {
  load helpers
  load crash
  end_background ping
  end_background tap
  report
  delete_pods "$POD"
}

setup() { recall; }

# What a failed test left dead must not spoil the next.
teardown() {
  tell_capture
  [[ ${BATS_TEST_COMPLETED:-} ]] || up_again
}

report() {
  local kills longest late answered sent
  kills=$(wc -l <"$BATS_FILE_TMPDIR/convergence")
  longest=$(sort -n "$BATS_FILE_TMPDIR/convergence" | tail -n 1)
  late=$(cut -d' ' -f2 "$BATS_FILE_TMPDIR/convergence" | sort -n | tail -n 1)
  read -r answered sent < <(replies | sort -nu | awk 'END { print NR, $1 }')
  echo "# $kills kills, at most $late us after the step was told; longest convergence ${longest%% *} ms" \
    "(${longest#* * }); $answered of $sent pings through eth0 answered" >&3
}

now_ms() { printf '%s\n' $((${EPOCHREALTIME/[.,]/} / 1000)); }

patch_eth1() { # in or out
  case $1 in
    in) patch_pod "$POD" '{"spec":{"nics":[{"name":"eth1"}]}}' ;;
    out) patch_pod "$POD" '{"spec":{"nics":[{"$patch":"delete","name":"eth1"}]}}' ;;
  esac
}

converged() { # in or out
  case $1 in
    in) nic_ready "$POD" eth1 60 ;;
    out) nic_gone "$POD" eth0 60 ;;
  esac
}

# The test before this one left eth1 so, unless it failed.
given_eth1() { # in or out
  [[ $(<"$BATS_FILE_TMPDIR/eth1") != "$1" ]] || return 0
  case $1:$(kubectl get pod "$POD" -o 'jsonpath={.spec.nics[*].name}') in
    in:'eth0 eth1' | out:eth0) ;;
    *) patch_eth1 "$1" ;;
  esac
  converged "$1"
  [[ $1 == out ]] || port_id "$POD" eth1 >"$BATS_FILE_TMPDIR/port"
}

kill_all() { # PORT SERVICES STATE PID...
  case $2:$3 in
    *libvirtd*:detached | *libvirtd*:released) until_true 10 libvirt_wrote "$1" ;;
  esac
  kill -KILL "${@:4}" && KILLED=$(now_ms)
}

kill_at_step() { # in|out PORT NOT-PORT SERVICES TYPE STATE
  local service line pid pids=()
  for service in $4; do
    remember_process "$service"
    pids+=("$(pid_of "$service")")
  done
  line=$(($(tap_lines) + 1))
  echo unknown >"$BATS_FILE_TMPDIR/eth1"
  # The server may be killed before it has answered kubectl.
  patch_eth1 "$1" >"$BATS_TEST_TMPDIR/patch" 2>&1 3>&- &
  on_step "$line" "$2" "$3" "$5" "$6" kill_all "$2" "$4" "$6" "${pids[@]}" || {
    cat "$BATS_TEST_TMPDIR/patch" >&2
    return 1
  }
  for pid in "${pids[@]}"; do until_true 5 gone "$pid"; done
  # shellcheck disable=SC2086 # several
  revive $4
}

note_convergence() {
  printf '%s %s %s\n' $(($(now_ms) - KILLED)) "$LATE_US" "$*" >>"$BATS_FILE_TMPDIR/convergence"
}

eth0_unharmed() {
  assert_equal "$(facts_of_eth0)" "$(<"$BATS_FILE_TMPDIR/facts")"
  ping_unharmed
}

plug() { # SERVICES TYPE STATE
  local eth1 address
  given_eth1 out
  # The last one that had the name is still spoken of for a while.
  kill_at_step in '*' "$(<"$BATS_FILE_TMPDIR/port")" "$@"
  converged in
  note_convergence "$@"
  read -r eth1 address < <(kubectl get pod "$POD" \
    -o "jsonpath={$(nic_path eth1 portID)} {$(nic_path eth1 'ipAddresses[0]')}{'\n'}")
  nothing_else_than "$ETH0" "$eth1"
  until_true 20 answers_ping "$address"
  eth0_unharmed
  echo "$eth1" >"$BATS_FILE_TMPDIR/port"
  echo in >"$BATS_FILE_TMPDIR/eth1"
}

unplug() { # SERVICES TYPE STATE
  given_eth1 in
  kill_at_step out "$(<"$BATS_FILE_TMPDIR/port")" none "$@"
  converged out
  note_convergence "$@"
  nothing_else_than "$ETH0"
  eth0_unharmed
  echo out >"$BATS_FILE_TMPDIR/eth1"
}

@test "watcher killed at nic.diff present" { plug watcher nic.diff present; }
@test "watcher killed at nic.diff absent" { unplug watcher nic.diff absent; }
@test "watcher killed at port.status preparing" { plug watcher port.status preparing; }
@test "watcher killed at nic.status detaching" { unplug watcher nic.status detaching; }
@test "watcher killed at port.status ready" { plug watcher port.status ready; }
@test "watcher killed at port.status held" { unplug watcher port.status held; }
@test "watcher killed at nic.status attaching" { plug watcher nic.status attaching; }
@test "watcher killed at nic.status detached" { unplug watcher nic.status detached; }
@test "watcher killed at nic.status waiting" { plug watcher nic.status waiting; }
@test "watcher killed at port.status released" { unplug watcher port.status released; }
@test "watcher killed at nic.status ready" { plug watcher nic.status ready; }

@test "network killed at nic.diff present" { plug network nic.diff present; }
@test "network killed at nic.diff absent" { unplug network nic.diff absent; }
@test "network killed at port.status preparing" { plug network port.status preparing; }
@test "network killed at nic.status detaching" { unplug network nic.status detaching; }
@test "network killed at port.status ready" { plug network port.status ready; }
@test "network killed at port.status held" { unplug network port.status held; }
@test "network killed at nic.status attaching" { plug network nic.status attaching; }
@test "network killed at nic.status detached" { unplug network nic.status detached; }
@test "network killed at nic.status waiting" { plug network nic.status waiting; }
@test "network killed at port.status released" { unplug network port.status released; }
@test "network killed at nic.status ready" { plug network nic.status ready; }

@test "hypervisor killed at nic.diff present" { plug hypervisor nic.diff present; }
@test "hypervisor killed at nic.diff absent" { unplug hypervisor nic.diff absent; }
@test "hypervisor killed at port.status preparing" { plug hypervisor port.status preparing; }
@test "hypervisor killed at nic.status detaching" { unplug hypervisor nic.status detaching; }
@test "hypervisor killed at port.status ready" { plug hypervisor port.status ready; }
@test "hypervisor killed at port.status held" { unplug hypervisor port.status held; }
@test "hypervisor killed at nic.status attaching" { plug hypervisor nic.status attaching; }
@test "hypervisor killed at nic.status detached" { unplug hypervisor nic.status detached; }
@test "hypervisor killed at nic.status waiting" { plug hypervisor nic.status waiting; }
@test "hypervisor killed at port.status released" { unplug hypervisor port.status released; }
@test "hypervisor killed at nic.status ready" { plug hypervisor nic.status ready; }

@test "apiserver killed at nic.diff present" { plug apiserver nic.diff present; }
@test "apiserver killed at nic.diff absent" { unplug apiserver nic.diff absent; }
@test "apiserver killed at port.status preparing" { plug apiserver port.status preparing; }
@test "apiserver killed at nic.status detaching" { unplug apiserver nic.status detaching; }
@test "apiserver killed at port.status ready" { plug apiserver port.status ready; }
@test "apiserver killed at port.status held" { unplug apiserver port.status held; }
@test "apiserver killed at nic.status attaching" { plug apiserver nic.status attaching; }
@test "apiserver killed at nic.status detached" { unplug apiserver nic.status detached; }
@test "apiserver killed at nic.status waiting" { plug apiserver nic.status waiting; }
@test "apiserver killed at port.status released" { unplug apiserver port.status released; }
@test "apiserver killed at nic.status ready" { plug apiserver nic.status ready; }

@test "libvirtd killed at nic.diff present" { plug libvirtd nic.diff present; }
@test "libvirtd killed at nic.diff absent" { unplug libvirtd nic.diff absent; }
@test "libvirtd killed at port.status preparing" { plug libvirtd port.status preparing; }
@test "libvirtd killed at nic.status detaching" { unplug libvirtd nic.status detaching; }
@test "libvirtd killed at port.status ready" { plug libvirtd port.status ready; }
@test "libvirtd killed at port.status held" { unplug libvirtd port.status held; }
@test "libvirtd killed at nic.status attaching" { plug libvirtd nic.status attaching; }
@test "libvirtd killed at nic.status detached" { unplug libvirtd nic.status detached; }
@test "libvirtd killed at nic.status waiting" { plug libvirtd nic.status waiting; }
@test "libvirtd killed at port.status released" { unplug libvirtd port.status released; }
@test "libvirtd killed at nic.status ready" { plug libvirtd nic.status ready; }

everything='apiserver libvirtd network hypervisor watcher'

@test "everything killed at port.status ready" { plug "$everything" port.status ready; }
@test "everything killed at nic.status detaching" { unplug "$everything" nic.status detaching; }
@test "everything killed at nic.status attaching" { plug "$everything" nic.status attaching; }
@test "everything killed at nic.status detached" { unplug "$everything" nic.status detached; }
