# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# The single-machine stack: four services and, where the system has none, a libvirtd; all state below $STATE.
#
#   bus/ log/ run/         sockets, logs, pid files
#   apiserver/ network/ hypervisor/ watcher/   the services' own
#   libvirt/               of the libvirtd that we started
#   images/                www/ served in place of the hosts in images/hosts, where there is such a file
#   instance               what `up` chose: name, port, libvirt
#   kubeconfig             the admin's, readable by the user who called sudo

bin_dir() { printf '%s\n' "$ROOT/build/$PRESET/bin"; }
private_libvirtd() { "$ROOT/tests/lib/private-libvirtd" "$@"; }
kc() { kubectl --kubeconfig "$STATE/kubeconfig" "$@"; }

# --- what is written down ----------------------------------------------------------------------------------

instance_load() { # sets NAME, PORT and LIBVIRT_URI as the running (or last) instance has them
  local key value
  LIBVIRT_URI='' LIBVIRT_OURS=no
  [[ -f $STATE/instance ]] || return 1
  while IFS='=' read -r key value; do
    case $key in
      name) NAME=$value ;;
      port) PORT=$value ;;
      libvirt) LIBVIRT_URI=$value ;;
      libvirt_ours) LIBVIRT_OURS=$value ;;
    esac
  done <"$STATE/instance"
}

instance_save() {
  printf 'name=%s\nport=%s\nlibvirt=%s\nlibvirt_ours=%s\n' "$NAME" "$PORT" "$LIBVIRT_URI" "$LIBVIRT_OURS" \
    >"$STATE/instance.new"
  mv "$STATE/instance.new" "$STATE/instance"
}

# What a stack that runs has, an option cannot change; a node's name stays with its data.
instance_choose() {
  local name=$NAME port=$PORT
  instance_load || :
  if [[ -f $STATE/instance && $name && $name != "$NAME" ]]; then
    die "$STATE belongs to node '$NAME'; use another --state for node '$name'"
  fi
  NAME=${NAME:-$(uname -n | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9.-')}
  NAME=${NAME:-node1}
  if [[ $port && $port != "$PORT" ]]; then
    ! service_alive apiserver || die "running on port $PORT; ./dev down first"
    PORT=$port
  fi
  service_alive apiserver || PORT=$(free_port "${PORT:-6443}")
}

free_port() { # free_port FIRST
  local port=$1
  while [[ $(ss -Hltn "sport = :$port") ]]; do
    port=$((port + 1))
  done
  printf '%s\n' "$port"
}

# --- processes ---------------------------------------------------------------------------------------------

service_pid() { # service_pid SERVICE: its pid; fails where it does not run
  local pid exe
  [[ -f $STATE/run/$1.pid ]] || return 1
  pid=$(<"$STATE/run/$1.pid")
  exe=$(readlink "/proc/$pid/exe") || return 1
  exe=${exe% (deleted)}
  [[ ${exe##*/} == "${2:-alkaid-$1}" ]] || return 1
  # A pid may have been given to another instance's process since.
  tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qF -- "$STATE/" || return 1
  printf '%s\n' "$pid"
}

service_alive() { service_pid "$@" >/dev/null; }
service_gone() { ! service_alive "$@"; }

# service_start SERVICE PROGRAM ARGUMENTS...: in the background, in a session of its own, with no descriptor
# of ours.
service_start() {
  local name=$1 fd
  shift
  ! service_alive "$name" || return 0
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      ((fd <= 2)) || eval "exec $fd>&-"
    done
    exec setsid "$@" </dev/null >>"$STATE/log/$name.log" 2>&1
  ) &
  printf '%s\n' $! >"$STATE/run/$name.pid"
  disown
}

service_stop() { # TERM, and KILL for one that does not end
  local pid
  pid=$(service_pid "$@") || return 0
  kill "$pid"
  wait_for 15 service_gone "$@" || {
    say "$1 (pid $pid) does not end; killed"
    kill -KILL "$pid"
    wait_for 5 service_gone "$@"
  }
}

# service_ready SERVICE SECONDS CONDITION...: waits for it; a service that dies meanwhile is reported at once.
service_ready() {
  local name=$1 limit=$2 code=0
  shift 2
  wait_for "$limit" service_ready_or_dead "$name" "$@" || code=1
  ((code == 0)) && service_alive "$name" && return
  say "alkaid-$name is not ready; the end of $STATE/log/$name.log:"
  tail -n 30 "$STATE/log/$name.log"
  return 1
}

service_ready_or_dead() {
  local name=$1
  shift
  service_gone "$name" || "$@"
}

# --- up ----------------------------------------------------------------------------------------------------

stack_directories() {
  mkdir -p "$STATE"/{bus,log,run,apiserver,network,hypervisor,watcher,libvirt}
  # QEMU of a system's libvirtd runs as another user and must reach its disk.
  chmod 0711 "$STATE"
  chmod 0700 "$STATE/bus" "$STATE/apiserver" "$STATE/run"
}

start_libvirt() {
  if [[ $LIBVIRT_OURS == no && $LIBVIRT != private ]] && virsh -q -c qemu:///system version >/dev/null 2>&1; then
    LIBVIRT_URI=qemu:///system
    return
  fi
  LIBVIRT_OURS=yes
  LIBVIRT_URI=$(private_libvirtd start "$STATE/libvirt" {STACK_LOCK}>&-)
}

start_services() {
  local bin level=${ALKAID_DEV_LOG_LEVEL:-info} mirrors=() base host
  bin=$(bin_dir)
  for base in $IMAGE_MIRRORS; do
    mirrors+=(--image-mirror "$base")
  done
  if [[ -f $STATE/images/hosts ]]; then
    base=$("$ROOT/tests/lib/image-server" start "$STATE/images" {STACK_LOCK}>&-)
    while read -r host; do
      mirrors+=(--image-mirror "$host=$base")
    done <"$STATE/images/hosts"
  fi
  service_start apiserver "$bin/alkaid-apiserver" --log-level "$level" --listen "127.0.0.1:$PORT" \
    --node-name "$NAME" --state-dir "$STATE/apiserver" --pki-dir "$STATE/apiserver/pki" --bus-dir "$STATE/bus"
  service_ready apiserver 30 api_answers
  publish_kubeconfig
  service_start network "$bin/alkaid-network" --log-level "$level" --node-name "$NAME" \
    --state-dir "$STATE/network" --bus-dir "$STATE/bus"
  service_start hypervisor "$bin/alkaid-hypervisor" --log-level "$level" --node-name "$NAME" \
    --state-dir "$STATE/hypervisor" --bus-dir "$STATE/bus" --libvirt-uri "$LIBVIRT_URI" ${mirrors[@]+"${mirrors[@]}"}
  service_start watcher "$bin/alkaid-watcher" --log-level "$level" --node-name "$NAME" \
    --state-dir "$STATE/watcher" --bus-dir "$STATE/bus" --kubeconfig "$STATE/apiserver/pki/node.kubeconfig"
  service_ready network 30 test -S "$STATE/bus/network"
  service_ready hypervisor 60 test -S "$STATE/bus/hypervisor"
  service_ready watcher 60 node_ready
}

api_answers() {
  [[ -f $STATE/apiserver/pki/admin.kubeconfig ]] &&
    kubectl --kubeconfig "$STATE/apiserver/pki/admin.kubeconfig" --request-timeout 5s get --raw /readyz >/dev/null 2>&1
}

node_ready() {
  [[ $(kc get node "$NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]]
}

publish_kubeconfig() {
  install -m 0600 -o "${SUDO_UID:-0}" -g "${SUDO_GID:-0}" "$STATE/apiserver/pki/admin.kubeconfig" "$STATE/kubeconfig"
}

stack_up() {
  stack_directories
  exec {STACK_LOCK}>"$STATE/run/lock"
  flock "$STACK_LOCK"
  instance_choose
  ! other_instance || die "another stack on this host has the node name '$NAME'; choose one with --name"
  start_libvirt
  instance_save
  start_services
}

# A second instance of the same node name would take down what this one makes.
other_instance() {
  local pid
  for pid in $(pgrep -x 'alkaid-network'); do
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qE -- "--node-name $NAME( |$)" || continue
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- " $STATE/" || return 0
  done
  return 1
}

cmd_up() {
  need_root up
  while (($#)); do
    case $1 in
      --image-mirror) (($# >= 2)) || die "$1 needs HOST=BASE" 2 ;;&
      --image-mirror) IMAGE_MIRRORS+=" $2" && shift 2 ;;
      --image-mirror=*) IMAGE_MIRRORS+=" ${1#*=}" && shift ;;
      *) die "up: unknown argument '$1'" 2 ;;
    esac
  done
  packages_need build run
  build_step "$PRESET"
  up_or_down
  say "The stack is up: node $NAME, API on port $PORT. To use it:"
  say "  export KUBECONFIG=$STATE/kubeconfig"
}

# A start that fails leaves nothing half-made.
up_or_down() {
  local code=0
  step "Starting the stack" stack_up || code=$?
  if ((code)); then
    isolated stack_down || say "and cannot be stopped; sudo ./dev down --state $STATE"
    die "the stack did not start; logs are in $STATE/log"
  fi
  instance_load
}

# --- down --------------------------------------------------------------------------------------------------

# Domains of this node, by the label in their metadata.
our_domains() {
  local name
  virsh -q -c "$LIBVIRT_URI" list --all --name | while read -r name; do
    [[ $name == alkaid-* ]] || continue
    ! virsh -q -c "$LIBVIRT_URI" dumpxml "$name" | grep -qE "<alkaid:pod[^>]* node=['\"]${NAME}['\"]" ||
      printf '%s\n' "$name"
  done
}

destroy_domains() {
  local name
  virsh -q -c "$LIBVIRT_URI" version >/dev/null 2>&1 || return 0
  our_domains | while read -r name; do
    virsh -q -c "$LIBVIRT_URI" destroy "$name"
    ! virsh -q -c "$LIBVIRT_URI" dominfo "$name" >/dev/null 2>&1 || virsh -q -c "$LIBVIRT_URI" undefine "$name"
  done
}

# Each part is tried, whatever became of the others; what is left then is for stack_leftovers to tell.
stack_down() {
  local code=0
  instance_load || return 0
  service_stop watcher || code=1
  service_stop hypervisor || code=1
  destroy_domains || code=1
  service_stop network || code=1
  "$(bin_dir)/alkaid-network" --teardown --node-name "$NAME" --state-dir "$STATE/network" \
    --bus-dir "$STATE/bus" || code=1
  service_stop apiserver || code=1
  [[ ! -d $STATE/images ]] || "$ROOT/tests/lib/image-server" stop "$STATE/images" || code=1
  [[ $LIBVIRT_OURS == no ]] || private_libvirtd stop "$STATE/libvirt" || code=1
  ((code)) || rm -rf "${STATE:?}/run" "${STATE:?}/bus"
  return "$code"
}

# What is left of this node on the host, one line each.
stack_leftovers() {
  leftover_processes
  leftover_libvirt
  leftover_links
  leftover_namespaces
  awk -v dir="$STATE/" 'index($5 "/", dir) == 1 { print "mount " $5 }' /proc/self/mountinfo
  if virsh -q -c "$LIBVIRT_URI" version >/dev/null 2>&1; then
    our_domains | sed 's/^/domain /'
  fi
}

leftover_processes() {
  local dir pid
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    [[ $pid != "$$" && $pid != "$BASHPID" && -r $dir/cmdline ]] || continue
    # Gone meanwhile is fine; so is whoever merely names the directory, as we do.
    if tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | grep -v '^--state=' | grep -qF -- "$STATE/"; then
      say "process $pid $(tr '\0' ' ' 2>/dev/null <"$dir/cmdline")"
    fi
  done
}

# A libvirtd of our own names no directory: its paths are mounts.
leftover_libvirt() {
  local file
  for file in "$STATE"/libvirt/run/{libvirtd,virtlogd}.pid; do
    [[ ! -f $file || ! -e /proc/$(<"$file")/exe ]] || say "process $(<"$file") $(basename "$file" .pid)"
  done
}

leftover_links() {
  ip -o link show | sed -n "s/^[0-9]*: \([^:@]*\).*alias alkaid node=$NAME .*/link \1/p"
}

leftover_namespaces() {
  local name
  ip netns list | while read -r name _; do
    [[ $name == ak-* ]] || continue
    ! ip -n "$name" -o link show | grep -q "alias alkaid node=$NAME " || say "namespace $name"
  done
}

cmd_down() {
  local purge=no left code=0
  need_root down
  while (($#)); do
    case $1 in
      --purge) purge=yes ;;
      *) die "down: unknown argument '$1'" 2 ;;
    esac
    shift
  done
  if ! instance_load; then
    say "nothing to stop: $STATE has no stack"
    return
  fi
  step "Stopping the stack" stack_down || code=1
  left=$(stack_leftovers)
  [[ ! $left ]] || die "left on this host:"$'\n'"$left"
  ((code == 0)) || die 'not everything ended as it should, see above; nothing is left on this host'
  if [[ $purge == yes ]]; then
    rm -rf "${STATE:?}"
    say "Stopped; data deleted"
  else
    say "Stopped; data kept in $STATE"
  fi
}

# --- looking at it -----------------------------------------------------------------------------------------

cmd_kubeconfig() {
  [[ -f $STATE/kubeconfig ]] || die "no stack in $STATE; sudo ./dev up"
  say "$STATE/kubeconfig"
}

cmd_status() {
  local service pid code=0
  if ! instance_load; then
    say "no stack in $STATE"
    return 3
  fi
  printf '%-12s %-8s %s\n' SERVICE PID LOG
  for service in apiserver watcher network hypervisor; do
    pid=$(service_pid "$service") || { pid=stopped && code=3; }
    printf '%-12s %-8s %s\n' "$service" "$pid" "$STATE/log/$service.log"
  done
  if virsh -q -c "$LIBVIRT_URI" version >/dev/null 2>&1; then
    printf '%-12s %-8s %s\n' libvirt answers "$LIBVIRT_URI"
  else
    printf '%-12s %-8s %s\n' libvirt silent "$LIBVIRT_URI"
    code=3
  fi
  if service_alive apiserver; then
    say '' && kc get nodes && say '' && kc get pods --all-namespaces
  fi
  return "$code"
}
