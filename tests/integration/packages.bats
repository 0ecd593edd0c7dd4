# SPDX-License-Identifier: Apache-2.0
# The Debian packages in a clean Debian that a real systemd has booted (systemd-nspawn): apt resolves what they
# need, the units start and are started again, a VM does not notice an upgrade, nothing is left by a purge.
# That lintian finds no errors, and what a chroot without systemd gets, is tested in operations.bats.
#
# The tests build on each other. Where no container can be booted they are skipped, with the reason.
# shellcheck disable=SC2016,SC2030,SC2031 # of single quotes: dpkg's and the container's shell expand
bats_require_minimum_version 1.7.0
load helpers

# Of the tree: what a node has besides; QEMU without a display.
NODE_PACKAGES=(libvirt-daemon-system qemu-system-x86 qemu-utils)
SERVICES=(apiserver network hypervisor watcher)
TREE=$ROOT/build/debian-tree/clean
CONTAINER=$BATS_FILE_TMPDIR/container

# --- the packages of two versions -------------------------------------------------------------------------

# The programs of this build, in a build directory that is configured for /usr; nothing is compiled.
make_packages() {
  local dir=$BATS_FILE_TMPDIR/build
  cmake --preset release -S "$ROOT" -B "$dir" -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_SYSCONFDIR=/etc \
    -DALKAID_PACKAGE_VERSION=0.1.0 >"$BATS_FILE_TMPDIR/configure.log"
  mkdir -p "$dir/bin" "$dir/deploy/man" "$CONTAINER/packages/0.1.0" "$CONTAINER/packages/0.1.0+1"
  cp "$BIN"/alkaid-{apiserver,watcher,network,hypervisor} "$BIN/alkaidctl" "$dir/bin/"
  cp "$BUILD"/deploy/man/*.gz "$dir/deploy/man/"
  (cd "$dir" && cpack >"$BATS_FILE_TMPDIR/cpack.log")
  mv "$dir"/alkaid-{server,node,cli}_*.deb "$CONTAINER/packages/0.1.0/"
}

# The same programs, packaged once more: what an upgrade does hangs on the version and the scripts.
make_next() { # PACKAGE.deb
  local tree=$BATS_FILE_TMPDIR/repack
  rm -rf "$tree"
  dpkg-deb -R "$1" "$tree"
  sed -i -e 's/^Version: .*/Version: 0.1.0+1/' -e 's/(= 0\.1\.0)/(= 0.1.0+1)/' "$tree/DEBIAN/control"
  dpkg-deb -Znone --root-owner-group -b "$tree" "$CONTAINER/packages/0.1.0+1/" >"$BATS_FILE_TMPDIR/repack.log"
}

# --- the container ----------------------------------------------------------------------------------------

init_pid() { pgrep -P "$(<"$CONTAINER/nspawn.pid")" -x systemd; }
inside() { # COMMAND...
  nsenter -t "$(init_pid)" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@" 3>&-
}
booted() {
  local state
  state=$(inside systemctl is-system-running 2>/dev/null) || [[ $state == degraded ]]
  [[ $state == running || $state == degraded ]]
}
dead() { gone "$(<"$CONTAINER/nspawn.pid")"; }
booted_or_dead() { booted || dead; }

# On top of the tree, in memory, with a network of its own.
boot() {
  mkdir -p "$CONTAINER/memory" "$CONTAINER/root"
  mount -t tmpfs none "$CONTAINER/memory"
  mkdir "$CONTAINER/memory/up" "$CONTAINER/memory/work"
  mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$CONTAINER/memory/up,workdir=$CONTAINER/memory/work" \
    "$CONTAINER/root" || return 1
  mkdir -p "$CONTAINER/root/packages" "$CONTAINER/root/srv/images"
  cp -R "$CONTAINER/packages/." "$CONTAINER/root/packages/"
  cp "$ROOT/build/guest/guest.qcow2" "$CONTAINER/root/srv/images/"
  local keep=()
  [[ -d /run/systemd/system ]] || keep=(--keep-unit)
  systemd-nspawn --quiet --register=no "${keep[@]}" --directory="$CONTAINER/root" --machine="alkaid-$$" --boot \
    --private-network --bind=/dev/net/tun --console=read-only </dev/null >"$CONTAINER/console.log" 2>&1 3>&- &
  echo $! >"$CONTAINER/nspawn.pid"
  wait_until 180 booted_or_dead && ! dead
}

why_not() {
  [[ -s $CONTAINER/console.log ]] || { echo 'no overlay file system' && return; }
  tail -n 1 "$CONTAINER/console.log"
}

setup_file() {
  local why=$BATS_FILE_TMPDIR/why file
  mkdir -p "$CONTAINER"
  make_packages
  for file in "$CONTAINER"/packages/0.1.0/*.deb; do make_next "$file"; done
  if ! "$ROOT/tests/lib/debian-tree" "$TREE" "${NODE_PACKAGES[@]}" "$CONTAINER"/packages/0.1.0/*.deb 2>"$why"; then
    tail -n 1 "$why" >"$CONTAINER/skip"
  elif ! boot; then
    echo "no systemd in a container here: $(why_not)" >"$CONTAINER/skip"
  fi
}

setup() { [[ ! -s $CONTAINER/skip ]] || skip "$(<"$CONTAINER/skip")"; }

teardown_file() {
  local pid
  if [[ -f $CONTAINER/nspawn.pid ]] && ! dead; then
    pid=$(<"$CONTAINER/nspawn.pid")
    kill -KILL "$(init_pid || echo "$pid")"
    wait_until 60 gone "$pid"
  fi
  ! mountpoint -q "$CONTAINER/root" || umount "$CONTAINER/root"
  ! mountpoint -q "$CONTAINER/memory" || umount "$CONTAINER/memory"
}

# What the journal has of the units, where a test fails.
teardown() {
  [[ ! ${BATS_TEST_COMPLETED:-} && ! ${BATS_TEST_SKIPPED:-} && ! -s $CONTAINER/skip ]] || return 0
  inside journalctl --no-pager -o short-monotonic -n 60 -u 'alkaid-*' >&2
}

apt_installs() { # VERSION [PACKAGE...]
  inside sh -ec "apt-get -q -y --no-install-recommends install /packages/$1/*.deb ${*:2}" \
    >"$BATS_TEST_TMPDIR/apt.log" 2>&1 || { cat "$BATS_TEST_TMPDIR/apt.log" >&2 && return 1; }
}

property() { inside systemctl show --value -p "$2" "alkaid-$1.service"; } # SERVICE PROPERTY
active() { [[ $(property "$1" ActiveState) == active ]]; }
all_active() {
  local name
  for name in "${SERVICES[@]}"; do active "$name" || return 1; done
}
main_pid_is_not() { active "$1" && [[ $(property "$1" MainPID) != "$2" ]]; } # SERVICE PID

# The host's kubectl, in the container's network.
kubectl_() {
  nsenter -t "$(init_pid)" -n kubectl --kubeconfig \
    "$CONTAINER/root/var/lib/alkaid/apiserver/pki/admin.kubeconfig" "$@" 3>&-
}
node_ready() { [[ $(kubectl_ get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}') == True ]]; }

# --- tests ------------------------------------------------------------------------------------------------

@test "a clean Debian: apt installs the packages with what they need; every unit becomes active, the node Ready" {
  apt_installs 0.1.0 "${NODE_PACKAGES[@]}"
  run inside dpkg-query -W -f '${db:Status-Status} ${Version}\n' alkaid-server alkaid-node alkaid-cli
  assert_output $'installed 0.1.0\ninstalled 0.1.0\ninstalled 0.1.0'
  wait_until 120 all_active
  wait_until 60 node_ready
  run inside systemctl status 'alkaid-*.service' --no-pager --lines=0
  assert_success
  [[ $(grep -c 'Active: active (running)' <<<"$output") == 4 ]]
}

before() { # SERVICE SERVICE: was the first active before the second was started?
  (($(property "$1" ActiveEnterTimestampMonotonic) <= $(property "$2" ExecMainStartTimestampMonotonic)))
}

@test "alkaid.target: as at a boot, the watcher waits for the API server; all are ready, none was started twice" {
  inside systemctl stop alkaid.target 'alkaid-*.service'
  inside rm -rf /var/lib/alkaid/apiserver/pki # as the very first time: the watcher's kubeconfig is made by the API server
  inside systemctl start alkaid.target
  wait_until 120 all_active
  wait_until 60 node_ready
  before apiserver watcher
  local name
  for name in "${SERVICES[@]}"; do
    [[ $(property "$name" NRestarts) == 0 && $(property "$name" Result) == success ]]
  done
}

@test "a service that is killed is started again; a reload keeps it; one that hangs is ended by the watchdog" {
  local pid name
  for name in "${SERVICES[@]}"; do
    pid=$(property "$name" MainPID)
    inside systemctl reload "alkaid-$name"
    active "$name"
    [[ $(property "$name" MainPID) == "$pid" ]]
    inside sh -c "kill -KILL $pid" # the program kill is of a package that is not here
    wait_until 60 main_pid_is_not "$name" "$pid"
  done
  inside sh -ec 'd=/run/systemd/system/alkaid-network.service.d && mkdir -p $d &&
    printf "[Service]\nWatchdogSec=5s\n" >$d/watchdog.conf && systemctl daemon-reload && systemctl restart alkaid-network'
  pid=$(property network MainPID)
  inside sh -c "kill -STOP $pid"
  wait_until 240 main_pid_is_not network "$pid"
  inside journalctl -u alkaid-network -o cat | grep -q 'Watchdog timeout'
  inside sh -ec 'rm -r /run/systemd/system/alkaid-network.service.d && systemctl daemon-reload &&
    systemctl restart alkaid-network'
}

nics() { kubectl_ get pod vm1 -o "jsonpath={range .status.nicStatuses[*]}$1{end}"; } # FIELDS
nics_ready() { [[ $(nics '{.state} ') == 'Ready Ready ' ]]; }
# What an upgrade must not change: the domain's process, its devices, the taps, since when the NICs are as they are.
facts() {
  inside sh -ec 'cat /run/libvirt/qemu/alkaid-default-vm1-*.pid; cd /sys/class/net; grep . ak*/ifindex'
  nics '{.name} {.portID} {.pciAddress} {.deviceAlias} {.state} {.lastTransitionTime} {.attempts}{"\n"}'
}
answers() { grep -q 'icmp_seq=' "$BATS_TEST_TMPDIR/ping.$1"; }
ping_begin() { # ADDRESS, from the VPC's namespace
  nsenter --net="$(echo "/proc/$(init_pid)/root/run/netns"/ak-*)" ping -n -i 0.1 "$1" \
    >"$BATS_TEST_TMPDIR/ping.$1" 2>&1 3>&- &
  echo $! >"$BATS_TEST_TMPDIR/ping.$1.pid"
  wait_until 120 answers "$1"
}
# How many were answered, once each and without a gap from the first to the last.
ping_end() { # ADDRESS
  local pid sequence
  pid=$(<"$BATS_TEST_TMPDIR/ping.$1.pid")
  kill -INT "$pid"
  wait_until 30 gone "$pid"
  sequence=$(sed -n 's/^64 bytes .* icmp_seq=\([0-9]*\) .*/\1/p' "$BATS_TEST_TMPDIR/ping.$1")
  cmp <(printf '%s\n' "$sequence") <(seq "$(head -n 1 <<<"$sequence")" "$(tail -n 1 <<<"$sequence")") >&2 || return 1
  wc -l <<<"$sequence"
}

@test "upgrade with a running VM: of two pings each 0.1 s none is lost, its NICs are as they were" {
  local before address addresses name
  # What the administrator wrote stays, too.
  inside sed -i 's|^# imageDir:.*|imageDir: [/srv/images]|' /etc/alkaid/hypervisor.yaml
  # nspawn shows cgroups of version 1 read-only.
  inside sh -ec '[ ! -d /sys/fs/cgroup/cpu ] || echo "cgroup_controllers = []" >>/etc/libvirt/qemu.conf'
  inside systemctl restart libvirtd alkaid-hypervisor
  wait_until 60 node_ready
  pod_yaml vm1 eth0 eth1 | sed 's|images.test/vm.qcow2|/srv/images/guest.qcow2|; s/memory: .*/memory: 128Mi/' |
    kubectl_ apply -f -
  wait_until 400 nics_ready
  before=$(facts)
  read -ra addresses <<<"$(nics '{.ipAddresses[0]} ')"
  for address in "${addresses[@]}"; do ping_begin "$address"; done
  apt_installs 0.1.0+1
  wait_until 120 all_active
  wait_until 60 node_ready
  for address in "${addresses[@]}"; do
    run ping_end "$address"
    assert_success
    echo "# $address: $output pings in a row were answered" >&3
  done
  assert_equal "$(facts)" "$before"
  # It is the new programs that run, with the administrator's configuration.
  for name in "${SERVICES[@]}"; do
    [[ $(inside readlink "/proc/$(property "$name" MainPID)/exe") == "/usr/bin/alkaid-$name" ]]
  done
  [[ $(inside dpkg-query -W -f '${Version}' alkaid-node) == 0.1.0+1 ]]
  inside grep -qx 'imageDir: \[/srv/images\]' /etc/alkaid/hypervisor.yaml
}

left() { inside find / -xdev -path /packages -prune -o -path /var/cache -prune -o -path /var/log -prune -o \
  -path /proc -prune -o -path /sys -prune -o -iname '*alkaid*' -print; }

@test "purge: the services end, and no file of theirs is left" {
  kubectl_ delete pod vm1 --ignore-not-found --timeout 180s
  inside sh -ec 'apt-get -q -y purge alkaid-server alkaid-node alkaid-cli' >"$BATS_TEST_TMPDIR/purge.log" 2>&1 ||
    { cat "$BATS_TEST_TMPDIR/purge.log" >&2 && return 1; }
  run inside systemctl list-units --all --no-legend 'alkaid*'
  assert_output ''
  run left
  assert_output ''
}
